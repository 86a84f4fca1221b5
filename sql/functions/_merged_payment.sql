-- Facts come in any order, and more than once: what is known depends only on which came.
create or replace function pgledger._merged_payment(
  known pgledger.payments, told pgledger.payments
) returns pgledger.payments
language plpgsql immutable parallel safe
as $$
declare
  v_merged pgledger.payments := known;
begin
  v_merged.account_id := coalesce(known.account_id, told.account_id);
  v_merged.key := coalesce(known.key, told.key);
  v_merged.amount := coalesce(known.amount, told.amount);
  v_merged.paid := coalesce(known.paid, told.paid);
  v_merged.paid_currency := coalesce(known.paid_currency, told.paid_currency);
  v_merged.customer := coalesce(known.customer, told.customer);
  v_merged.refunded := greatest(known.refunded, told.refunded);

  if known.status = 'SUCCEEDED' then
    return v_merged;
  elsif told.status = 'SUCCEEDED'
    or (coalesce(told.occurred_at, '-infinity'), told.status)
      > (coalesce(known.occurred_at, '-infinity'), known.status)
  then
    v_merged.status := told.status;
    v_merged.reason := case told.status when 'FAILED' then told.reason end;
    v_merged.occurred_at := told.occurred_at;
  end if;
  return v_merged;
end;
$$;

comment on function pgledger._merged_payment(pgledger.payments, pgledger.payments) is
  'A payment as it is known with what is told of it now: SUCCEEDED is final, of the other states '
  'the later holds, and what was known is never overwritten. Private.';

revoke all on function pgledger._merged_payment(pgledger.payments, pgledger.payments) from public;
