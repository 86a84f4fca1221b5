create or replace function pgledger._derive_balance(account_id text) returns pgledger.balances
language sql stable
begin atomic
  select
    _derive_balance.account_id,
    coalesce(last.running_balance, 0),
    coalesce(last.seq, 0),
    coalesce(last.created_at, '-infinity'),
    coalesce(pending.held, 0),
    pending.rows,
    pgledger._attention_at(_derive_balance.account_id),
    coalesce(a.min_balance, 0),
    a.low_balance_level,
    pgledger._armed_below(_derive_balance.account_id),
    lots.pool,
    lots.held_in_lots,
    lots.head_lot,
    lots.head_left,
    cap.cap_left
  from (
    select
      count(*) as rows,
      sum(-p.amount) filter (where p.status = 'PENDING' and p.amount < 0)::bigint as held
    from pgledger.pending_transactions p
    where p.account_id = _derive_balance.account_id
  ) pending
  left join (
    select t.seq, t.running_balance, t.created_at
    from pgledger.transactions t
    where t.account_id = _derive_balance.account_id
    order by t.seq desc
    limit 1
  ) last on true
  left join pgledger.accounts a on a.account_id = _derive_balance.account_id
  left join pgledger._pool_told(_derive_balance.account_id, last.running_balance) lots on true
  left join pgledger._cap_now(_derive_balance.account_id, statement_timestamp()) cap on true;
end;

comment on function pgledger._derive_balance(text) is
  'The balance row as the other tables tell it, for an account that has none: imported, '
  'restored, or unknown (then all zeros). Private.';

revoke all on function pgledger._derive_balance(text) from public;
