create or replace function pgledger._without_due(hot pgledger.balances, at timestamptz)
returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances := hot;
begin
  if hot.attention_at <= _without_due.at then
    v_hot.held := hot.held - pgledger._held_expired(hot.account_id, _without_due.at);

    select (hot.balance + coalesce(sum(d.amount), 0))::bigint into v_hot.balance
    from pgledger._due(hot, _without_due.at) d;

    if hot.cap_left is not null then
      select c.amount into v_hot.cap_left
      from pgledger.spending_caps c
      where c.account_id = hot.account_id and c.resets_at <= _without_due.at;
      v_hot.cap_left := coalesce(v_hot.cap_left, hot.cap_left);
    end if;
  end if;
  return v_hot;
end;
$$;

comment on function pgledger._without_due(pgledger.balances, timestamptz) is
  'The balance row as it is at an instant: without what expired holds still reserve, with what '
  'expired or was refilled and is not posted yet, and with the cap of the period. Private.';

revoke all on function pgledger._without_due(pgledger.balances, timestamptz) from public;
