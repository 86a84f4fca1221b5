create or replace function pgledger._utc(at timestamptz) returns text
language sql stable parallel safe
return to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

comment on function pgledger._utc(timestamptz) is
  'An instant as JSON has it, whatever the session''s time zone. Private.';

revoke all on function pgledger._utc(timestamptz) from public;
