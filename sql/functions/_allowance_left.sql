create or replace function pgledger._allowance_left(account_id text, at timestamptz)
returns bigint
language plpgsql stable
as $$
declare
  v_lot bigint := pgledger._allowance(_allowance_left.account_id, _allowance_left.at);
  v_hot pgledger.balances := pgledger._balance_row(_allowance_left.account_id);
begin
  if v_lot is not null then
    return coalesce(
      (
        select n.remaining
        from pgledger._lots_now(_allowance_left.account_id, _allowance_left.at, false) n
        where n.lot = v_lot
      ), 0);
  end if;

  -- Due and not posted yet: it pays a debt of the pool first.
  return (
    select d.to_lot
    from pgledger._due(v_hot, _allowance_left.at) d
    where d.policy = 'RESET' and d.expires_at > _allowance_left.at);
end;
$$;

comment on function pgledger._allowance_left(text, timestamptz) is
  'What can still be drawn, at an instant, of what a RESET plan granted an account for the period '
  'that holds it, or is about to; minor units, null where there is none. Private.';

revoke all on function pgledger._allowance_left(text, timestamptz) from public;
