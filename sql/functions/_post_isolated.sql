create or replace function pgledger._post_isolated(request pgledger._request, apart boolean)
returns pgledger.posting
language plpgsql
as $$
declare
  v_code text;
  v_message text;
  v_detail text;
  v_hint text;
  v_hot pgledger.balances;
begin
  return pgledger._post_item(request, _post_isolated.apart);
exception when data_exception then
  get stacked diagnostics v_code = returned_sqlstate, v_message = message_text,
    v_detail = pg_exception_detail, v_hint = pg_exception_hint;
  perform pgledger._forget_unopened(request.account_id);
  v_hot := pgledger._balance_now(request.account_id);
  return row(
    request.account_id, request.key, null, request.type, 0, request.amount, null,
    coalesce(v_hot.balance, 0), coalesce(v_hot.balance - v_hot.held, 0), 'REFUSED', false, v_code,
    null, jsonb_build_object(
      'message', v_message, 'detail', coalesce(nullif(v_detail, ''), '{}')::jsonb, 'hint', v_hint)
  )::pgledger.posting;
end;
$$;

comment on function pgledger._post_isolated(pgledger._request, boolean) is
  'Posts one movement of a batch, and answers a misuse (class 22) as the refusal of this movement '
  'alone, by a subtransaction. Private.';

revoke all on function pgledger._post_isolated(pgledger._request, boolean) from public;
