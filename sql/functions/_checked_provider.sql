create or replace function pgledger._checked_provider(provider text) returns text
language plpgsql immutable parallel safe
as $$
begin
  -- The ledger's own keys of a payment begin with #<provider>-, those of others with these.
  if not coalesce(_checked_provider.provider ~ '^[a-z][a-z0-9_]{0,49}$', false)
    or _checked_provider.provider in ('auto', 'back', 'excess', 'refill', 'revoke')
  then
    perform pgledger._reject('provider', _checked_provider.provider,
      'A short name such as stripe: a lower-case letter, then up to 49 of them, digits and _; not '
      'auto, back, excess, refill or revoke.');
  end if;
  return _checked_provider.provider;
end;
$$;

comment on function pgledger._checked_provider(text) is
  'The name of a payment provider, or 22023 (22004 for null) when it cannot be one. Private.';

revoke all on function pgledger._checked_provider(text) from public;
