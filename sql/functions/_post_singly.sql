create or replace function pgledger._post_singly(
  requests pgledger._request[], answers pgledger.posting[], apart text[], isolated boolean
) returns pgledger.posting[]
language plpgsql
as $$
declare
  v_answers pgledger.posting[] := answers;
  v_apart boolean;
begin
  for v_place in 1 .. cardinality(requests) loop
    continue when (v_answers[v_place]).status is not null;
    v_apart := (requests[v_place]).account_id = any (_post_singly.apart);
    if _post_singly.isolated then
      v_answers[v_place] := pgledger._post_isolated(requests[v_place], v_apart);
    else
      v_answers[v_place] := pgledger._post_item(requests[v_place], v_apart);
    end if;
  end loop;
  return v_answers;
end;
$$;

comment on function pgledger._post_singly(
  pgledger._request[], pgledger.posting[], text[], boolean) is
  'Posts those movements of a batch that have no answer yet one by one, in their order; apart are '
  'the accounts that had no balance row. Private.';

revoke all on function
  pgledger._post_singly(pgledger._request[], pgledger.posting[], text[], boolean) from public;
