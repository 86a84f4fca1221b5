create or replace function pgledger._post_singly(
  requests pgledger._request[], answers pgledger.posting[], isolated boolean
) returns pgledger.posting[]
language plpgsql
as $$
declare
  v_answers pgledger.posting[] := answers;
begin
  for v_place in 1 .. cardinality(requests) loop
    if (v_answers[v_place]).status is not null then
      continue;
    elsif _post_singly.isolated then
      v_answers[v_place] := pgledger._post_isolated(requests[v_place]);
    else
      v_answers[v_place] := pgledger._post_item(requests[v_place]);
    end if;
  end loop;
  return v_answers;
end;
$$;

comment on function pgledger._post_singly(pgledger._request[], pgledger.posting[], boolean) is
  'Posts those movements of a batch that have no answer yet one by one, in their order. Private.';

revoke all on function
  pgledger._post_singly(pgledger._request[], pgledger.posting[], boolean) from public;
