create or replace function pgledger._post_all(requests pgledger._request[], account_ids text[])
returns pgledger.posting[]
language plpgsql
as $$
declare
  v_items pgledger._item[] := pgledger._weigh(requests);
  v_hots pgledger.balances[];
  v_places tid[];
  v_missing text[];
  v_answers pgledger.posting[];
begin
  select l.hots, l.places, l.missing into v_hots, v_places, v_missing
  from pgledger._lock_balances(_post_all.account_ids) l;
  v_answers := pgledger._post_together(v_items, v_hots, v_places, v_missing);
  if array_position(v_answers, null) is null then
    return v_answers;
  end if;

  -- Hardly ever is a movement misused, so one subtransaction does for all of them.
  begin
    return pgledger._post_singly(requests, v_answers, v_missing, false);
  exception when data_exception then
    return pgledger._post_singly(requests, v_answers, v_missing, true);
  end;
end;
$$;

comment on function pgledger._post_all(pgledger._request[], text[]) is
  'Posts the movements of a batch, given with their accounts once more: together where that can '
  'be, the others one by one. Private.';

revoke all on function pgledger._post_all(pgledger._request[], text[]) from public;
