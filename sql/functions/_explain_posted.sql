create or replace function pgledger._explain_posted(posted pgledger.transactions)
returns table (
  lot bigint, amount bigint, priority integer, expires_at timestamptz, reason text, place bigint
)
language plpgsql stable
as $$
declare
  v_lot pgledger.lots;
  v_is_capture boolean;
begin
  if posted.amount < 0 or posted.type = 'REVERSAL' then
    v_is_capture := exists (
      select from pgledger.pending_transactions p
      where p.account_id = posted.account_id and p.key = posted.key);
    return query
      select d.lot, case when posted.amount < 0 then d.amount else -d.amount end, l.priority,
        l.expires_at, pgledger._why_drawn(posted, l, v_is_capture), d.place
      from pgledger.transaction_draws d
      left join pgledger.lots l on l.account_id = posted.account_id and l.seq = d.lot
      where d.account_id = posted.account_id and d.seq = posted.seq;
    return;
  end if;

  select l.* into v_lot
  from pgledger.lots l
  where l.account_id = posted.account_id and l.seq = posted.seq;
  return query
    select null::bigint, n.amount, 0, 'infinity'::timestamptz,
      case when v_lot.seq is null then 'into the pool' else 'paid a debt first' end, 1::bigint
    from (values (posted.amount - coalesce(v_lot.amount, 0))) n (amount)
    where n.amount > 0
    union all
    select v_lot.seq, v_lot.amount, v_lot.priority, v_lot.expires_at, 'a lot of its own', 2::bigint
    where v_lot.amount > 0;
end;
$$;

comment on function pgledger._explain_posted(pgledger.transactions) is
  'Where the credits of a posted transaction came from or went to, and why; amounts above 0. '
  'Private.';

revoke all on function pgledger._explain_posted(pgledger.transactions) from public;
