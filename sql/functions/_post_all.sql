create or replace function pgledger._post_all(requests pgledger._request[], atomic boolean)
returns setof pgledger.posting
language plpgsql
as $$
declare
  v_requests pgledger._request[] := pgledger._price_all(requests);
  v_hots pgledger.balances[];
  v_places tid[];
  v_missing text[];
  v_answers pgledger.posting[];
begin
  select l.hots, l.places, l.missing into v_hots, v_places, v_missing
  from pgledger._lock_balances(array(select r.account_id from unnest(requests) r)) l;
  -- What has no balance row yet may have no account either: that is seen to one by one.
  v_answers := array(
    select p from pgledger._post_together(v_requests, v_hots, v_places, v_missing) p);

  if exists (select from unnest(v_answers) a where a.status is null) then
    -- Hardly ever is a movement misused, so one subtransaction does for all of them.
    begin
      v_answers := pgledger._post_singly(v_requests, v_answers, false);
    exception when data_exception then
      v_answers := pgledger._post_singly(v_requests, v_answers, true);
    end;
    if _post_all.atomic then
      perform pgledger._raise_first(v_answers);
    end if;
  end if;
  return query select a.* from unnest(v_answers) a;
end;
$$;

comment on function pgledger._post_all(pgledger._request[], boolean) is
  'Posts the movements of a batch: together where that can be, the others one by one. Refuses each '
  'on its own, or with atomic all of them by the first refusal. Private.';

revoke all on function pgledger._post_all(pgledger._request[], boolean) from public;
