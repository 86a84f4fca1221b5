create or replace function pgledger._is_unspent(
  asked pgledger.refund_requests, hot pgledger.balances, tolerance bigint
) returns boolean
language plpgsql stable
as $$
declare
  v_unspent bigint := greatest(hot.balance - hot.held, 0);
  v_lot pgledger.lots;
begin
  select l.* into v_lot
  from pgledger.lots l
  where l.account_id = asked.account_id and l.seq = asked.original_seq;
  if v_lot.seq is not null then
    v_unspent :=
      case when hot.head_lot = v_lot.seq then hot.head_left else v_lot.remaining end;
  end if;

  return asked.amount - v_unspent <= _is_unspent.tolerance
    and exists (
      select from pgledger.accounts a
      where a.account_id = asked.account_id and a.status = 'OPEN')
    -- Else a dispute that is lost would give the same money back again.
    and not exists (
      select from pgledger.payments p
      join pgledger.payment_returns r on r.provider = p.provider and r.payment_id = p.payment_id
      where p.account_id = asked.account_id and p.seq = asked.original_seq
        and r.status = 'OPEN');
end;
$$;

comment on function
  pgledger._is_unspent(pgledger.refund_requests, pgledger.balances, bigint) is
  'Whether a refund needs no person to decide on it: all but tolerance of its credits are there '
  'yet, in their lot where they formed one, and nobody froze the account or disputes the payment. '
  'Only under the lock of the balance row. Private.';

revoke all on function
  pgledger._is_unspent(pgledger.refund_requests, pgledger.balances, bigint) from public;
