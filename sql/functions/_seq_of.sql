create or replace function pgledger._seq_of(key text) returns bigint
language sql immutable parallel safe
return case when key ~ '^#[1-9][0-9]{0,17}$' then substr(key, 2)::bigint end;

comment on function pgledger._seq_of(text) is
  'The seq that a key of the form #<seq> stands for, or null. Private.';

revoke all on function pgledger._seq_of(text) from public;
