create or replace function pgledger._refuse_decided(asked pgledger.refund_requests) returns void
language plpgsql
as $$
begin
  perform pgledger._refuse(
    pgledger._settlement(asked.account_id, asked.key, true), null, 'LG007',
    jsonb_build_object('status', asked.status));
end;
$$;

comment on function pgledger._refuse_decided(pgledger.refund_requests) is
  'Refuses with LG007 what does not fit how a refund request was decided, or that it is open. '
  'Private.';

revoke all on function pgledger._refuse_decided(pgledger.refund_requests) from public;
