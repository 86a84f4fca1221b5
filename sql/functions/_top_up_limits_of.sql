create or replace function pgledger._top_up_limits_of(account_id text)
returns setof pgledger.top_up_limits
language sql stable rows 1
begin atomic
  select l.*
  from pgledger.top_up_limits l
  where l.account_id in (_top_up_limits_of.account_id, '')
  order by l.account_id = ''
  limit 1;
end;

comment on function pgledger._top_up_limits_of(text) is
  'The limits that an account''s top-ups keep to: its own, else those of all; no row when there '
  'are neither. Private.';

revoke all on function pgledger._top_up_limits_of(text) from public;
