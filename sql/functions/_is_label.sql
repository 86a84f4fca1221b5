create or replace function pgledger._is_label(label text) returns boolean
language sql immutable parallel safe
return length(label) between 1 and 255 and label !~ '[\u0001-\u001f\u007f-\u009f]';

comment on function pgledger._is_label(text) is
  'Whether a text can name something: 1 to 255 characters, no control character in any locale. '
  'Null stays null. Small enough for the planner to inline. Private.';

revoke all on function pgledger._is_label(text) from public;
