create or replace function pgledger._check_refund_request(
  request pgledger._request, original_key text, reason text, tolerance bigint, actor text
) returns void
language plpgsql
as $$
declare
  v_request pgledger._request := request;
begin
  perform pgledger._checked_key(_check_refund_request.original_key);
  if request.amount <= 0 then
    perform pgledger._reject('amount', request.amount::text,
      'Ask for a positive whole number of minor units, or for all that is left without an amount.');
  end if;
  v_request.amount := coalesce(request.amount, 1);
  perform pgledger._check_request(v_request);
  perform pgledger._check_reason(_check_refund_request.reason);
  if _check_refund_request.tolerance < 0 then
    perform pgledger._reject('tolerance', _check_refund_request.tolerance::text,
      'How many of the credits may be spent, 0 or more; none where a person is to decide.');
  end if;
  perform pgledger._check_label('actor', _check_refund_request.actor);
end;
$$;

comment on function
  pgledger._check_refund_request(pgledger._request, text, text, bigint, text) is
  'Refuses (22023, 22004) what cannot be a refund request, before anything is locked. Private.';

revoke all on function
  pgledger._check_refund_request(pgledger._request, text, text, bigint, text) from public;
