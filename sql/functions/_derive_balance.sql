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
    null::bigint, null::bigint, null::bigint, null::bigint, null::bigint
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
  left join pgledger.accounts a on a.account_id = _derive_balance.account_id;
end;

comment on function pgledger._derive_balance(text) is
  'The balance row as the other tables tell it, for an account that has none: imported, '
  'restored, or unknown (then all zeros). Private.';

revoke all on function pgledger._derive_balance(text) from public;
