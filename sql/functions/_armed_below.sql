create or replace function pgledger._armed_below(account_id text) returns bigint
language sql stable
begin atomic
  select s.threshold
  from pgledger.auto_top_ups s
  where s.account_id = _armed_below.account_id
    and s.enabled
    and s.waiting_for is null
    and s.resumes_at is null;
end;

comment on function pgledger._armed_below(text) is
  'The threshold of the account''s auto-top-up while it is armed, else null. Private.';

revoke all on function pgledger._armed_below(text) from public;
