create or replace function pgledger._verify_auto_top_up(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, s.waiting_for, r.expected, r.found
  from pgledger.auto_top_ups s
  left join pgledger.accounts a on a.account_id = s.account_id
  left join pgledger.pending_transactions p
    on p.account_id = s.account_id and p.key = s.waiting_for
  cross join lateral (values
    ('an auto-top-up has an account', a.account_id is not null, 'an account', 'none'),
    ('auto-top-ups are counted',
      pgledger._next_auto_top_up(s) = s.intents + 1,
      '#auto-' || s.intents + 1 || ' free', '#auto-' || s.intents + 1 || ' taken'),
    ('an auto-top-up waits for an open intent',
      s.waiting_for is null or (p.status = 'PENDING' and p.type = 'TOP_UP') is true,
      'a pending TOP_UP', coalesce(p.status || ' ' || p.type, 'none'))
  ) r (rule, holds, expected, found)
  where s.account_id = _verify_auto_top_up.account_id and not r.holds;
end;

comment on function pgledger._verify_auto_top_up(text) is
  'Where the auto-top-up of an account waits for what is not there. Private.';

revoke all on function pgledger._verify_auto_top_up(text) from public;
