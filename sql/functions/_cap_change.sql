create or replace function pgledger._cap_change(
  request pgledger._request, applied bigint, at timestamptz
) returns bigint
language plpgsql stable
as $$
declare
  v_cap pgledger.spending_caps;
  v_counts boolean;
begin
  if request.type = 'USAGE' then
    return least(_cap_change.applied, 0);
  elsif _cap_change.applied < 0 or request.original_seq is null then
    return 0::bigint;
  end if;

  select c.* into strict v_cap
  from pgledger.spending_caps c
  where c.account_id = request.account_id;
  select t.type = 'USAGE' and t.created_at >= pgledger._period_start(
    v_cap.period, v_cap.time_zone, null, _cap_change.at) into v_counts
  from pgledger.transactions t
  where t.account_id = request.account_id and t.seq = request.original_seq;
  return case when v_counts then _cap_change.applied else 0 end;
end;
$$;

comment on function pgledger._cap_change(pgledger._request, bigint, timestamptz) is
  'What a movement takes of the account''s spending cap (below 0), or gives back to it: usage '
  'counts, and the reversal of usage of the same period. Private.';

revoke all on function pgledger._cap_change(pgledger._request, bigint, timestamptz) from public;
