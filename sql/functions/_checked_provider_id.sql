create or replace function pgledger._checked_provider_id(parameter text, id text) returns text
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(
    pgledger._is_label(_checked_provider_id.id) and length(_checked_provider_id.id) <= 200, false)
  then
    perform pgledger._reject(_checked_provider_id.parameter, _checked_provider_id.id,
      'An id of the provider''s has 1 to 200 characters, none of them a control character.');
  end if;
  return _checked_provider_id.id;
end;
$$;

comment on function pgledger._checked_provider_id(text, text) is
  'What a provider calls a payment, an event or the like, or 22023 (22004 for null) when it cannot '
  'be that: short enough that a key is made of it. Private.';

revoke all on function pgledger._checked_provider_id(text, text) from public;
