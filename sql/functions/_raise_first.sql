create or replace function pgledger._raise_first(answers pgledger.posting[]) returns void
language plpgsql
as $$
declare
  v_item bigint;
  v_code text;
  v_error jsonb;
begin
  select u.item, u.refusal, u.error into v_item, v_code, v_error
  from unnest(answers) with ordinality u (
    account_id, key, seq, type, amount, requested_amount, running_balance, balance, available,
    status, replayed, refusal, created_at, error, item)
  where u.refusal is not null
  order by u.item
  limit 1;

  if found then
    raise exception using
      errcode = v_code,
      message = v_error ->> 'message',
      detail = (v_error -> 'detail' || jsonb_build_object('item', v_item))::text,
      hint = v_error ->> 'hint';
  end if;
end;
$$;

comment on function pgledger._raise_first(pgledger.posting[]) is
  'Raises the first refusal among the answers to a batch, with its place in the batch. Private.';

revoke all on function pgledger._raise_first(pgledger.posting[]) from public;
