create or replace function pgledger._freeze_disputed(payment pgledger.payments) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_dispute pgledger.payment_returns;
  v_status pgledger.account_status;
  v_next pgledger.account_status;
  v_set_at timestamptz;
  v_now timestamptz := clock_timestamp();
begin
  select coalesce(max(l.created_at), '-infinity') into v_set_at
  from pgledger.audit_log l
  where l.account_id = payment.account_id and l.act = 'set_account_status';

  for v_dispute in
    select r.*
    from pgledger.payment_returns r
    where r.provider = payment.provider and r.payment_id = payment.payment_id
      and case
        when r.status = 'WON' then r.froze_at is not null
        else r.froze_at is null and r.policy = 'FREEZE'
      end
    order by r.return_id
  loop
    select a.status into strict v_status
    from pgledger.accounts a
    where a.account_id = payment.account_id;
    v_next := v_status;
    if v_dispute.status = 'WON' then
      if v_status = 'FROZEN' and v_dispute.froze_at > v_set_at
        and not pgledger._frozen_by_disputes(payment.account_id, v_set_at)
      then
        v_next := 'OPEN';
      end if;
      v_dispute.froze_at := null;
    elsif v_status = 'OPEN' or pgledger._frozen_by_disputes(payment.account_id, v_set_at) then
      v_next := 'FROZEN';
      v_dispute.froze_at := v_now;
    else
      v_dispute.froze_at := '-infinity';
    end if;

    update pgledger.payment_returns r
    set froze_at = v_dispute.froze_at
    where r.provider = v_dispute.provider and r.return_id = v_dispute.return_id;
    continue when v_next = v_status;
    perform pgledger._store_status(payment.account_id, v_next);
    perform pgledger._audit(payment.account_id, 'record_dispute', null, jsonb_build_object(
      'provider', v_dispute.provider,
      'dispute_id', v_dispute.return_id,
      'payment_id', v_dispute.payment_id,
      'status', v_next));
  end loop;
end;
$$;

comment on function pgledger._freeze_disputed(pgledger.payments) is
  'Freezes the account of a payment that is disputed, once for each dispute that is to, or opens '
  'it again where the dispute is won, nothing else keeps it frozen and nobody has set its status '
  'since. Only under the locks of the payment and the balance row. Private.';

revoke all on function pgledger._freeze_disputed(pgledger.payments) from public;
