create or replace function pgledger._refuse_payment(
  payment pgledger.payments, code text, detail jsonb
) returns void
language plpgsql
as $$
declare
  v_message text;
  v_hint text;
begin
  select w.message, w.hint into v_message, v_hint
  from (values
    ('LG002', 'idempotency conflict',
      'This payment was credited otherwise, and is not credited again: see list_payments.'),
    ('LG006', 'payment not found', 'Nobody has told of it: check the provider and the payment id.'),
    ('LG007', 'payment not succeeded', 'It is matched once its money is there: see its status.')
  ) w (code, message, hint)
  where w.code = _refuse_payment.code;

  raise exception using
    errcode = _refuse_payment.code,
    message = v_message,
    detail = (jsonb_build_object('provider', payment.provider, 'payment_id', payment.payment_id)
      || _refuse_payment.detail)::text,
    hint = v_hint;
end;
$$;

comment on function pgledger._refuse_payment(pgledger.payments, text, jsonb) is
  'Raises what a payment is refused with: LG002, LG006 or LG007. Private.';

revoke all on function pgledger._refuse_payment(pgledger.payments, text, jsonb) from public;
