create or replace function pgledger._apply_cancellation(fact jsonb) returns jsonb
language plpgsql
as $$
declare
  v_account_id text := pgledger._checked_account(fact ->> 'account_id');
  v_key text := pgledger._checked_key(fact ->> 'key');
  v_reason text := coalesce(fact ->> 'reason', 'cancelled by the provider');
  v_dropped pgledger.posting;
begin
  perform pgledger._check_reason(v_reason);
  -- An auto-top-up is asked for again after a pause: see decline_top_up.
  if left(v_key, 6) <> '#auto-' then
    v_dropped := pgledger._drop_announced(v_account_id, v_key, v_reason);
  end if;

  if v_dropped.key is not null then
    perform pgledger._emit(v_account_id, 'top_up_failed', array[jsonb_build_object(
      'key', v_key,
      'amount', v_dropped.amount,
      'reason', v_reason,
      'final', true)]);
  end if;
  return jsonb_build_object(
    'account_id', v_account_id, 'key', v_key, 'cancelled', v_dropped.key is not null);
end;
$$;

comment on function pgledger._apply_cancellation(jsonb) is
  'Cancels an announced top-up of which a fact tells that it will not be paid, where it still '
  'waits, and tells the outbox. Private.';

revoke all on function pgledger._apply_cancellation(jsonb) from public;
