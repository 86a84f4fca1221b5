create or replace function pgledger._refuse_price(usage jsonb) returns void
language plpgsql immutable
as $$
declare
  v_code text := _refuse_price.usage #>> '{refusal,sqlstate}';
  v_message text;
  v_hint text;
begin
  select w.message, w.hint into v_message, v_hint
  from pgledger._words(v_code) w;
  raise exception using
    errcode = v_code, message = v_message, hint = v_hint,
    detail = (_refuse_price.usage #> '{refusal,detail}')::text;
end;
$$;

comment on function pgledger._refuse_price(jsonb) is
  'Raises the refusal in the record of usage that has no price, where no account is asked of '
  'anything. Private.';

revoke all on function pgledger._refuse_price(jsonb) from public;
