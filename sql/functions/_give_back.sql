create or replace function pgledger._give_back(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger._sources
language plpgsql
as $$
#variable_conflict use_column
declare
  v_sources pgledger._sources := pgledger._sources_from(0::bigint, 'infinity'::timestamptz);
  v_left bigint := _give_back.applied;
  v_skip bigint;
  v_part record;
  v_back bigint;
  v_expires_at timestamptz;
  v_extended timestamptz :=
    (hot.updated_at at time zone 'UTC' + request.extend) at time zone 'UTC';
begin
  -- Earlier reversals gave back from the end too, so what they gave is at the end, in one piece.
  select coalesce(sum(t.amount), 0)::bigint into v_skip
  from pgledger.transactions t
  where t.account_id = request.account_id and t.original_seq = request.original_seq;

  for v_part in
    select d.lot, d.amount
    from pgledger.transaction_draws d
    where d.account_id = request.account_id and d.seq = request.original_seq
    order by d.place desc
  loop
    v_back := least(greatest(v_part.amount - v_skip, 0), v_left);
    v_skip := greatest(v_skip - v_part.amount, 0);
    v_left := v_left - v_back;
    continue when v_back = 0;
    v_sources := pgledger._with_source(v_sources, v_part.lot, -v_back);
    continue when v_part.lot is null;

    update pgledger.lots l
    set remaining = l.remaining + v_back,
        expires_at = case
          when l.expires_at <= hot.updated_at and request.extend is not null
          then v_extended
          else l.expires_at
        end
    where l.account_id = request.account_id and l.seq = v_part.lot
    returning l.expires_at into v_expires_at;
    v_sources.attention_at := least(v_sources.attention_at, v_expires_at);
  end loop;
  return v_sources;
end;
$$;

comment on function pgledger._give_back(pgledger._request, pgledger.balances, bigint) is
  'Gives what a reversal credits back to the sources that its original drew from, the last '
  'drawn first; a lot that has ended lives on for request.extend where that is given. Private.';

revoke all on function
  pgledger._give_back(pgledger._request, pgledger.balances, bigint) from public;
