create or replace function pgledger._sources_of(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger._sources
language plpgsql
as $$
declare
  v_own_lot bigint;
begin
  if request.released is not null then
    return pgledger._unreserve(hot, request.key, -_sources_of.applied);
  elsif _sources_of.applied > 0 and request.original_seq is not null then
    return pgledger._give_back(request, hot, _sources_of.applied);
  elsif pgledger._forms_lot(request) then
    return pgledger._form_lot(request, hot, _sources_of.applied);
  elsif _sources_of.applied > 0 then
    return pgledger._sources_from(-_sources_of.applied, 'infinity'::timestamptz);
  end if;

  select l.seq into v_own_lot
  from pgledger.lots l
  where l.account_id = request.account_id and l.seq = request.original_seq;
  return pgledger._draw(
    hot, -_sources_of.applied, v_own_lot, request.original_seq is not null and v_own_lot is null);
end;
$$;

comment on function pgledger._sources_of(pgledger._request, pgledger.balances, bigint) is
  'Where the credits of a movement about to be posted come from, or go to, among the pool and '
  'the lots; the lots are changed, the pool is for the caller to change. Private.';

revoke all on function
  pgledger._sources_of(pgledger._request, pgledger.balances, bigint) from public;
