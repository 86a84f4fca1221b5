create or replace function pgledger.decline_top_up(
  account_id text,
  key text,
  attempt bigint,
  reason text,
  provider text default null,
  payment_id text default null,
  give_up boolean default false
) returns pgledger.charge
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request := pgledger._settlement(
    decline_top_up.account_id collate "default", decline_top_up.key collate "default", true);
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_charge pgledger.charges;
begin
  perform pgledger._check_reason(decline_top_up.reason);
  perform pgledger._check_label('provider', decline_top_up.provider);
  perform pgledger._check_label('payment_id', decline_top_up.payment_id);
  if decline_top_up.give_up is null then
    perform pgledger._reject('give_up', null, 'true does not try again, false may.');
  end if;

  v_hot := pgledger._settle_due(pgledger._lock_balance(v_request.account_id));
  v_charge := pgledger._charge_by_key(v_hot, v_request.key, decline_top_up.attempt);
  v_pending := pgledger._pending_by_key(v_hot, v_request.key, false);
  -- The worker and the provider's message both tell of it; and what was paid after all, or given
  -- up, is not declined any more.
  if v_pending.status <> 'PENDING' or decline_top_up.attempt < v_charge.declines then
    return pgledger._as_charge(v_pending, v_charge, true);
  end if;

  v_charge := pgledger._decline(v_charge, v_pending, v_hot, jsonb_build_object(
    'reason', decline_top_up.reason,
    'provider', decline_top_up.provider,
    'payment_id', decline_top_up.payment_id), decline_top_up.give_up);
  return pgledger._as_charge(
    pgledger._pending_by_key(v_hot, v_request.key, false), v_charge, false);
end;
$$;

comment on function pgledger.decline_top_up(
  text, text, bigint, text, text, text, boolean) is
  'Says that the provider declined an auto-top-up, at the attempt that its claim told, and why (1 '
  'to 1000 characters; null: not told). After the first, second and third decline it is due again '
  'in 1 hour, 6 hours and 24 hours, as another attempt; after the fourth, or with give_up (nothing '
  'to charge, such as no card), it is cancelled and the auto-top-up is switched off. One that the '
  'auto-top-up does not wait for any more, because its settings changed, is cancelled at once and '
  'switches nothing off. Each tells the outbox: top_up_failed. An attempt counts once; a repeat, '
  'and one of a top-up that was settled, changes nothing. Refuses with LG006, 22023 and 22004.';

revoke all on function pgledger.decline_top_up(
  text, text, bigint, text, text, text, boolean) from public;
