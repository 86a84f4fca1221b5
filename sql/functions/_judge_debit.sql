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
  v_cap bigint := case when request.type = 'USAGE' then hot.cap_left end;
  v_most numeric := least(v_room, v_cap);
begin
  if request.expires_at <= hot.updated_at then
    perform pgledger._reject('expires_at', request.expires_at::text,
      'A hold expires in the future.');
  end if;

  -- An amount of 0 comes here only for an account that is not there.
  if request.shortfall = 'FORCE' or (v_most >= -request.amount and request.amount < 0) then
    applied := request.amount;
    perform pgledger._check_range(request, hot, applied);
  elsif request.shortfall = 'PARTIAL' and v_most > 0 then
    applied := (-v_most)::bigint;
  -- The cap first: nobody should be told to top up for what is capped anyway.
  elsif v_cap < (case when request.shortfall = 'PARTIAL' then 1 else -request.amount end) then
    code := 'LG008';
    select jsonb_build_object(
      'cap', c.amount,
      'used', c.amount::numeric - v_cap,
      'remaining', v_cap,
      'requested', -request.amount,
      'resets_at', to_char(c.resets_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
    into detail
    from pgledger.spending_caps c
    where c.account_id = request.account_id;
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
  'How much of a debit applies: all of it above the floor and within the spending cap, what both '
  'leave with PARTIAL, any amount with FORCE; else LG001, or LG008 for the cap; 22003 when the '
  'balance would leave the range of bigint. Private.';

revoke all on function
  pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) from public;
