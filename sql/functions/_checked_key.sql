create or replace function pgledger._checked_key(key text) returns text
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(pgledger._is_label(_checked_key.key), false) then
    perform pgledger._reject('key', _checked_key.key,
      'Name the transaction by its key, or by #<seq>: 1 to 255 characters, no control character.');
  end if;
  return _checked_key.key;
end;
$$;

comment on function pgledger._checked_key(text) is
  'The key of a recorded transaction, or 22023 (22004 for null) when it cannot be one. Private.';

revoke all on function pgledger._checked_key(text) from public;
