create or replace function pgledger._decline_pause(declines bigint) returns interval
language sql immutable parallel safe
return case declines
  when 1 then interval '1 hour'
  when 2 then interval '6 hours'
  when 3 then interval '24 hours'
end;

comment on function pgledger._decline_pause(bigint) is
  'How long to wait after so many declines before the payer is charged again; null: not again. '
  'Private.';

revoke all on function pgledger._decline_pause(bigint) from public;
