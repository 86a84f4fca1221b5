-- What _post does for one movement, for all those of a batch at once: one UPDATE of the balance
-- rows and one INSERT into the journal. All rows are locked, so what was judged stays true, the
-- keys included. No plan but by index: one made while the tables were small would be kept. A key is
-- looked up by a scalar subquery, because of EXISTS the planner could make a hash of all keys.
create or replace function pgledger._post_together(
  items pgledger._item[], hots pgledger.balances[], places tid[], apart text[]
) returns pgledger.posting[]
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_answers pgledger.posting[];
begin
  with judged as materialized (
    select t.*
    from pgledger._judge_together(items, hots, places, apart, v_now) t
  ), taken as materialized (
    select j.account_id
    from judged j
    where j.fits and j.key is not null
      and ((
          select t.seq from pgledger.transactions t
          where t.account_id = j.account_id and t.key = j.key) is not null
        or (j.pending_rows > 0 and (
          select p.amount from pgledger.pending_transactions p
          where p.account_id = j.account_id and p.key = j.key) is not null))
  ), moved as (
    update pgledger.balances b
    set balance = j.running_balance, seq = j.seq, updated_at = j.posted_at,
        pool = b.pool + case when b.head_lot is null then j.total else 0 end,
        head_left = b.head_left + j.total, cap_left = b.cap_left + least(j.total, 0)
    from judged j
    where b.account_id = j.account_id and b.ctid = j.place and j.fits and j.is_last
      and j.account_id not in (select t.account_id from taken t)
  ), entered as (
    insert into pgledger.transactions (
      account_id, seq, amount, running_balance, created_at, type, reference, metadata, lot, usage,
      key)
    select j.account_id, j.seq, j.amount, j.running_balance, j.posted_at, j.type, j.reference,
      j.metadata, case when j.amount < 0 then j.head_lot end, j.usage, j.key
    from judged j
    where j.fits and j.account_id not in (select t.account_id from taken t)
  )
  select array_agg(case
      when j.fits and j.account_id not in (select t.account_id from taken t)
      then row(
        j.account_id, coalesce(j.key, '#' || j.seq), j.seq, j.type, j.amount, j.amount,
        j.running_balance, j.running_balance, j.running_balance - j.held, 'POSTED', false, null,
        j.posted_at, null)::pgledger.posting
    end order by j.item)
  into v_answers
  from judged j;
  return v_answers;
end;
$$;

comment on function pgledger._post_together(
  pgledger._item[], pgledger.balances[], tid[], text[]) is
  'Posts those movements of a batch that can be posted without looking at them one by one, none of '
  'them on the accounts to be kept apart, under the locks of all: the answers, null for those left '
  'to be posted. Private.';

revoke all on function pgledger._post_together(
  pgledger._item[], pgledger.balances[], tid[], text[]) from public;
