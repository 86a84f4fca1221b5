create or replace function pgledger._enter_due(
  hot pgledger.balances, due pgledger._movement[]
) returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_movement pgledger._movement;
  v_request pgledger._request;
begin
  foreach v_movement in array _enter_due.due loop
    v_hot.updated_at := greatest(v_hot.updated_at, v_movement.due_at);
    if v_movement.lot is not null then
      v_hot := pgledger._expire(v_hot, v_movement.lot, -v_movement.amount);
    else
      v_request.account_id := hot.account_id;
      v_request.type := 'GRANT';
      v_request.amount := v_movement.amount;
      v_request.key := v_movement.key;
      v_request.metadata := v_movement.metadata;
      v_request.credits_expire_at := nullif(v_movement.expires_at, 'infinity');
      v_hot := pgledger._enter(v_request, v_hot, v_movement.amount);
    end if;
  end loop;
  return v_hot;
end;
$$;

comment on function pgledger._enter_due(pgledger.balances, pgledger._movement[]) is
  'Enters what fell due, each movement as of the instant it did. The balance row after that, '
  'which the caller writes. Private.';

revoke all on function pgledger._enter_due(pgledger.balances, pgledger._movement[]) from public;
