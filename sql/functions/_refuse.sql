create or replace function pgledger._refuse(
  request pgledger._request, hot pgledger.balances, code text, detail jsonb
) returns pgledger.posting
language plpgsql
as $$
declare
  v_message text;
  v_hint text;
  v_detail jsonb :=
    jsonb_build_object('account_id', request.account_id, 'key', request.key) || _refuse.detail;
  v_hot pgledger.balances;
begin
  select w.message, w.hint into v_message, v_hint
  from pgledger._words(_refuse.code) w;

  if request.raise_refusals is not false then
    raise exception using
      errcode = _refuse.code, message = v_message, detail = v_detail::text, hint = v_hint;
  end if;

  v_hot := pgledger._settle_due(hot);
  perform pgledger._forget_unopened(request.account_id);
  return row(
    request.account_id, request.key, null, request.type, 0, request.amount, null,
    v_hot.balance, v_hot.balance - v_hot.held, 'REFUSED', false, _refuse.code, null,
    jsonb_build_object('message', v_message, 'detail', v_detail, 'hint', v_hint)
  )::pgledger.posting;
end;
$$;

comment on function pgledger._refuse(pgledger._request, pgledger.balances, text, jsonb) is
  'The one place that refuses: raises the LG code with its words and detail, or returns it as a '
  'row when raise_refusals is false. Private.';

revoke all on function
  pgledger._refuse(pgledger._request, pgledger.balances, text, jsonb) from public;
