-- Walks the journal backwards and stops at the page's end: a group appears where its last spend
-- is, and is summed by the reference index, however far back it goes.
create or replace function pgledger.usage_by_reference(
  account_id text,
  limit_count bigint default 100,
  before_seq bigint default null
) returns table (
  reference text,
  spends bigint,
  amount bigint,
  first_seq bigint,
  last_seq bigint,
  first_at timestamptz,
  last_at timestamptz
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_left bigint := pgledger._checked_limit(usage_by_reference.limit_count);
  v_account text collate "default" := pgledger._checked_account(usage_by_reference.account_id);
  v_before bigint := coalesce(usage_by_reference.before_seq, 9223372036854775807);
  v_seen text[] collate "default" := '{}'::text[];
  v_spend record;
begin
  for v_spend in
    select t.seq, t.reference, t.amount, t.created_at
    from pgledger.transactions t
    where t.account_id = v_account and t.type = 'USAGE' and t.seq < v_before
    order by t.seq desc
  loop
    continue when v_spend.reference = any (v_seen);

    if v_spend.reference is null then
      return query select null::text, 1::bigint, v_spend.amount, v_spend.seq, v_spend.seq,
        v_spend.created_at, v_spend.created_at;
    else
      v_seen := v_seen || v_spend.reference;
      return query
        select v_spend.reference, count(*), sum(t.amount)::bigint, min(t.seq), max(t.seq),
          min(t.created_at), max(t.created_at)
        from pgledger.transactions t
        where t.account_id = v_account and t.reference = v_spend.reference and t.type = 'USAGE'
        having max(t.seq) < v_before;
      -- A group that also has later spends was on an earlier page.
      continue when not found;
    end if;

    v_left := v_left - 1;
    exit when v_left = 0;
  end loop;
end;
$$;

comment on function pgledger.usage_by_reference(text, bigint, bigint) is
  'What was used, one row per reference (an execution, a chat, an order), the latest first: how '
  'many spends and their sum, signed, in minor units. A spend without a reference is a row of its '
  'own. limit_count rows (1 to 10000), before before_seq (the last_seq of the last row seen) '
  'where given. Refuses with 22023 and 22004.';

revoke all on function pgledger.usage_by_reference(text, bigint, bigint) from public;
