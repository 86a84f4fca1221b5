create or replace function pgledger._judge_debit(
  request pgledger._request, hot pgledger.balances, min_balance bigint, debt_floor bigint,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql
as $$
declare
  v_floor bigint := case request.shortfall
    when 'DEBT' then _judge_debit.debt_floor
    else _judge_debit.min_balance
  end;
  v_room numeric := hot.balance::numeric - hot.held - v_floor;
begin
  if request.expires_at <= clock_timestamp() then
    perform pgledger._reject('expires_at', request.expires_at::text,
      'A hold expires in the future.');
  end if;

  if request.shortfall = 'FORCE' or v_room >= -request.amount then
    applied := request.amount;
    perform pgledger._check_range(request, hot, applied);
  elsif request.shortfall = 'PARTIAL' and v_room > 0 then
    applied := (-v_room)::bigint;
  else
    code := 'LG001';
    detail := jsonb_build_object(
      'balance', hot.balance,
      'held', hot.held,
      'available', hot.balance - hot.held,
      'floor', v_floor,
      'requested', -request.amount,
      'missing', -request.amount - v_room);
  end if;
end;
$$;

comment on function pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) is
  'How much of a debit applies: all of it above the floor, what is there with PARTIAL, any amount '
  'with FORCE; else LG001; 22003 when the balance would leave the range of bigint. Private.';

revoke all on function
  pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) from public;
