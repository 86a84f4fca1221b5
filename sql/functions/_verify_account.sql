create or replace function pgledger._verify_account(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, b.seq, null::text, r.expected, r.found
  from pgledger.balances b
  left join pgledger.accounts a on a.account_id = b.account_id
  cross join lateral (values
    ('a balance row has an account',
      a.account_id is not null, 'an account', 'none'),
    ('events are counted',
      coalesce(a.events >= (
        select max(e.seq) from pgledger.events e where e.account_id = b.account_id), true),
      'at least the seq of the last', a.events::text),
    ('a closed account is empty',
      a.status is distinct from 'CLOSED'
        or (b.balance = 0 and not exists (
          select from pgledger.pending_transactions p
          where p.account_id = b.account_id
            and pgledger._pending_status(p.status, p.expires_at, statement_timestamp())
              = 'PENDING')),
      'balance 0 and nothing pending', 'balance ' || b.balance)
  ) r (rule, holds, expected, found)
  where b.account_id = _verify_account.account_id and not r.holds;
end;

comment on function pgledger._verify_account(text) is
  'Where the settings of an account disagree with its balance row. Private.';

revoke all on function pgledger._verify_account(text) from public;
