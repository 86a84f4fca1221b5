create or replace function pgledger._is_key(key text) returns boolean
language sql immutable parallel safe
return pgledger._is_label(key) and left(key, 1) <> '#';

comment on function pgledger._is_key(text) is
  'Whether a text can be a caller''s key: a label that does not begin with #, which the ledger '
  'keeps for itself. Null stays null. Small enough for the planner to inline. Private.';

revoke all on function pgledger._is_key(text) from public;
