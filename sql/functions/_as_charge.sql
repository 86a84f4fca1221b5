create or replace function pgledger._as_charge(
  pending pgledger.pending_transactions, charge pgledger.charges, replayed boolean
) returns pgledger.charge
language plpgsql stable
as $$
declare
  v_answer pgledger.charge;
begin
  v_answer.account_id := pending.account_id;
  v_answer.key := pending.key;
  v_answer.amount := pending.amount;
  v_answer.status := case pending.status when 'ENABLED' then 'POSTED' else pending.status::text end;
  v_answer.replayed := _as_charge.replayed;
  v_answer.reference := pending.reference;
  v_answer.attempt := coalesce(charge.declines, 0);
  v_answer.claims := coalesce(charge.claims, 0);
  v_answer.due_at := charge.due_at;
  v_answer.idempotency_key :=
    pgledger._provider_key(pending.account_id, pending.key, v_answer.attempt);
  v_answer.customer := pgledger._latest_identifier(pending.account_id, 'CUSTOMER');
  v_answer.payment_method := pgledger._latest_identifier(pending.account_id, 'PAYMENT_METHOD');
  v_answer.created_at := pending.created_at;
  v_answer.is_wanted := pending.status = 'PENDING' and (
    charge.key is null
    or exists (
      select from pgledger.accounts a
      where a.account_id = pending.account_id and a.status = 'OPEN')
    and exists (
      select from pgledger.auto_top_ups s
      where s.account_id = pending.account_id and s.waiting_for = pending.key));
  return v_answer;
end;
$$;

comment on function pgledger._as_charge(
  pgledger.pending_transactions, pgledger.charges, boolean) is
  'An announced top-up, with the row of charges where it has one, as what the provider is to be '
  'asked for. Private.';

revoke all on function pgledger._as_charge(
  pgledger.pending_transactions, pgledger.charges, boolean) from public;
