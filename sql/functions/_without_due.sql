create or replace function pgledger._without_due(hot pgledger.balances, at timestamptz)
returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances := hot;
begin
  if hot.attention_at <= _without_due.at then
    select (hot.held + coalesce(sum(p.amount), 0))::bigint into v_hot.held
    from pgledger.pending_transactions p
    where p.account_id = hot.account_id
      and p.status = 'PENDING'
      and p.expires_at <= _without_due.at;
  end if;
  return v_hot;
end;
$$;

comment on function pgledger._without_due(pgledger.balances, timestamptz) is
  'The balance row without what expired holds still reserve in it at an instant. Private.';

revoke all on function pgledger._without_due(pgledger.balances, timestamptz) from public;
