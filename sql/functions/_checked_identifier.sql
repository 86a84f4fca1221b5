create or replace function pgledger._checked_identifier(
  identifier text, kind pgledger.identifier_kind
) returns pgledger.account_identifiers
language plpgsql immutable parallel safe
as $$
declare
  -- What surrounds a copied identifier. A text this long is none, and is not searched.
  v_given text := case when length(identifier) <= 1000 then regexp_replace(
    identifier,
    '^[\u0009-\u000d\u0020\u0085\u00a0\u2000-\u200f\u2028-\u202f\u3000\ufeff]+'
    '|[\u0009-\u000d\u0020\u0085\u00a0\u2000-\u200f\u2028-\u202f\u3000\ufeff]+$', '', 'g') end;
  v_known pgledger.account_identifiers;
begin
  if pgledger._is_placeholder(v_given) then
    perform pgledger._reject('identifier', _checked_identifier.identifier,
      'This is a placeholder, which names nobody: whoever filled it in had no identifier.');
  end if;

  v_known.kind := coalesce(_checked_identifier.kind, pgledger._identifier_kind(v_given));
  if v_known.kind is null then
    perform pgledger._reject('identifier', _checked_identifier.identifier,
      'An email, a UUID, a positive integer, cus_... or pm_...; of anything else give the kind.');
  end if;

  v_known.value := pgledger._identifier_value(v_known.kind, v_given);
  if v_known.value is null then
    perform pgledger._reject('identifier', _checked_identifier.identifier, case v_known.kind
      when 'EMAIL' then 'One @, a dot in the domain, at most 254 characters, no spaces.'
      when 'UUID' then '32 hexadecimal digits, as in 123e4567-e89b-42d3-a456-426614174000.'
      when 'INTEGER' then 'Digits only, from 1 to 2^63 - 1.'
      else 'An id of the provider has 1 to 255 characters, no spaces.' end);
  end if;
  return v_known;
end;
$$;

comment on function pgledger._checked_identifier(text, pgledger.identifier_kind) is
  'The kind and the value of an identifier as account_identifiers keeps them, or 22023 (22004 for '
  'null) for what can be none. Idempotent. Private.';

revoke all on function pgledger._checked_identifier(text, pgledger.identifier_kind) from public;
