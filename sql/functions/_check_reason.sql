create or replace function pgledger._check_reason(reason text) returns void
language plpgsql
as $$
begin
  if length(_check_reason.reason) not between 1 and 1000 then
    perform pgledger._reject('reason', _check_reason.reason, 'A reason has 1 to 1000 characters.');
  end if;
end;
$$;

comment on function pgledger._check_reason(text) is
  'Refuses (22023) a reason that is empty or too long. Null is not given, and fine. Private.';

revoke all on function pgledger._check_reason(text) from public;
