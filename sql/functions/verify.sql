-- JIT is off: to compile so large a query takes far longer than to run it.
create or replace function pgledger.verify(account_id text default null)
returns table (account_id text, rule text, seq bigint, key text, expected text, found text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
set jit = off
begin atomic
  with subjects as (
    select case when verify.account_id is not null
      then pgledger._checked_account(verify.account_id) end as account_id
    where verify.account_id is not null
    union
    select a.account_id
    from pgledger._verify_subjects() a (account_id)
    where verify.account_id is null
  )
  select s.account_id, v.rule, v.seq, v.key, v.expected, v.found
  from subjects s
  cross join lateral (
    select j.* from pgledger._verify_journal(s.account_id) j
    union all
    select b.* from pgledger._verify_balance(s.account_id) b
    union all
    select p.* from pgledger._verify_pending(s.account_id) p
    union all
    select a.* from pgledger._verify_account(s.account_id) a
    union all
    select o.* from pgledger._verify_originals(s.account_id) o
    union all
    select l.* from pgledger._verify_transfers(s.account_id) l
    union all
    select u.* from pgledger._verify_auto_top_up(s.account_id) u
    union all
    select n.* from pgledger._verify_lots(s.account_id) n
    union all
    select d.* from pgledger._verify_draws(s.account_id) d
    union all
    select r.* from pgledger._verify_reservations(s.account_id) r
    union all
    select h.* from pgledger._verify_pool(s.account_id) h
    union all
    select q.* from pgledger._verify_plans(s.account_id) q
    union all
    select c.* from pgledger._verify_caps(s.account_id) c
    union all
    select g.* from pgledger._verify_usage(s.account_id) g
    union all
    select w.* from pgledger._verify_returns(s.account_id) w
    union all
    select x.* from pgledger._verify_charges(s.account_id) x
    union all
    select f.* from pgledger._verify_refund_requests(s.account_id) f
    union all
    select y.* from pgledger._verify_payments(s.account_id) y
  ) v
  union all
  select null, g.rule, null, null, g.expected, g.found
  from pgledger._verify_guard() g
  union all
  select null, n.rule, n.seq, n.key, n.expected, n.found
  from pgledger._verify_nobodys_returns() n
  where verify.account_id is null
  order by 1, 2, 3, 4;
end;

comment on function pgledger.verify(text) is
  'One row per disagreement between what is recorded and the ledger''s invariants, for one account '
  'or for all; no row when all is well. expected is what the rest of the record says, found what '
  'stands there. Reads one snapshot, so it is right while others write. For all accounts it reads '
  'everything.';

revoke all on function pgledger.verify(text) from public;
