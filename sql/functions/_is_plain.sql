create or replace function pgledger._is_plain(key text, reference text, metadata jsonb)
returns boolean
language sql immutable parallel safe
return (key is null or (pgledger._is_label(key) and left(key, 1) <> '#'))
  and (reference is null or pgledger._is_label(reference))
  and (metadata is null or pgledger._is_metadata(metadata));

comment on function pgledger._is_plain(text, text, jsonb) is
  'Whether a movement may be tried on the fast path; what is not plain is refused with words on '
  'the slow one. Small enough for the planner to inline. Private.';

revoke all on function pgledger._is_plain(text, text, jsonb) from public;
