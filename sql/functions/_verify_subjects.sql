create or replace function pgledger._verify_subjects() returns setof text
language sql stable
begin atomic
  select t.account_id from pgledger.transactions t
  union
  select p.account_id from pgledger.pending_transactions p
  union
  select b.account_id from pgledger.balances b
  union
  select a.account_id from pgledger.accounts a
  union
  select u.account_id from pgledger.auto_top_ups u
  union
  select l.account_id from pgledger.lots l
  union
  select d.account_id from pgledger.draws d
  union
  select r.account_id from pgledger.reservations r
  union
  select n.account_id from pgledger.account_plans n
  union
  select c.account_id from pgledger.spending_caps c
  union
  select h.account_id from pgledger.charges h
  union
  select q.account_id from pgledger.refund_requests q
  union
  select m.account_id from pgledger.payments m where m.account_id is not null;
end;

comment on function pgledger._verify_subjects() is
  'All accounts that something is recorded of, whether or not there is an account. Private.';

revoke all on function pgledger._verify_subjects() from public;
