create or replace function pgledger._identifier_value(
  kind pgledger.identifier_kind, given text
) returns text
language plpgsql immutable parallel safe
as $$
begin
  -- Spaces and invisible characters of any script: two that look alike would be two accounts.
  if length(given) > 255 or given ~ (
    '[\u0001-\u0020\u007f-\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f'
    '\u3000\ufeff]')
  then
    return null;
  end if;

  case _identifier_value.kind
    when 'EMAIL' then
      if length(given) <= 254 and given ~ (
        '^[^@<>()\[\]{},;:\\"]+@[^@<>()\[\]{},;:\\"./]+(\.[^@<>()\[\]{},;:\\"./]+)+$')
      then
        -- "C" knows ASCII only, and is the same in every database.
        return lower(given collate "C");
      end if;
    when 'UUID' then
      if lower(given collate "C") ~ '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' then
        return given::uuid::text;
      end if;
    when 'INTEGER' then
      if given ~ '^[0-9]+$' then
        if given::numeric between 1 and 9223372036854775807 then
          return given::bigint::text;
        end if;
      end if;
    else
      return given;
  end case;
  return null;
end;
$$;

comment on function pgledger._identifier_value(pgledger.identifier_kind, text) is
  'A trimmed identifier in the one form in which it is kept, by its kind: an email in lower case '
  '(ASCII; nothing else about it is changed), a UUID in canonical form, an integer without leading '
  'zeros. Null where it is none of its kind. Private.';

revoke all on function pgledger._identifier_value(pgledger.identifier_kind, text) from public;
