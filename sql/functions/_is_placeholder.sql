create or replace function pgledger._is_placeholder(given text) returns boolean
language sql immutable parallel safe
return
  lower(given collate "C") = any (array[
    'null', 'none', 'nil', 'undefined', 'nan', 'n/a', '#n/a', 'unknown', 'string', 'true', 'false',
    'email', 'user_id', 'id', 'ffffffff-ffff-ffff-ffff-ffffffffffff'])
  or given ~ '^[0-]*$'
  or given ~ '^(<.*>|\{.*\}|\$\{.*\}|\[.*\]|\(.*\)|\u0025.|\u0025\(.*\).)$';

comment on function pgledger._is_placeholder(text) is
  'Whether a text stands where an identifier was to be filled in: what programs write for nothing '
  '(null, undefined, NaN, the nil UUID, 0), and templates nobody filled in. Private.';

revoke all on function pgledger._is_placeholder(text) from public;
