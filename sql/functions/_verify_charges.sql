create or replace function pgledger._verify_charges(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, coalesce(c.key, p.key), r.expected, r.found
  from (
    select i.*
    from pgledger.pending_transactions i
    where i.account_id = _verify_charges.account_id and left(i.key, 6) = '#auto-'
  ) p
  full join (
    select d.*
    from pgledger.charges d
    where d.account_id = _verify_charges.account_id
  ) c on c.key = p.key
  left join pgledger.auto_top_ups s
    on s.account_id = _verify_charges.account_id and s.waiting_for = p.key
  cross join lateral (values
    ('an open intent has a charge', c.key is not null or p.status <> 'PENDING',
      'a row of charges', 'none'),
    ('a charge has its intent', p.type = 'TOP_UP', 'a TOP_UP',
      coalesce(p.type::text, 'none')),
    ('a settled intent is not charged', c.due_at is null or p.status = 'PENDING',
      'not due', c.due_at::text),
    ('an intent that is waited for is charged',
      not coalesce(s.enabled, false) or c.key is null or c.due_at is not null, 'due', 'not due'),
    ('claims and declines are counted', coalesce(c.claims >= 0 and c.declines >= 0, true),
      '0 or more', c.claims || ' and ' || c.declines)
  ) r (rule, holds, expected, found)
  where r.holds is not true;
end;

comment on function pgledger._verify_charges(text) is
  'Where the intents of an account''s auto-top-up and what is to be charged disagree. Private.';

revoke all on function pgledger._verify_charges(text) from public;
