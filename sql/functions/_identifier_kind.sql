create or replace function pgledger._identifier_kind(given text) returns pgledger.identifier_kind
language sql immutable parallel safe
return (
  case
    when strpos(given, '@') > 0 then 'EMAIL'
    when lower(given collate "C") ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'UUID'
    when given ~ '^[0-9]+$' then 'INTEGER'
    when starts_with(given, 'cus_') then 'CUSTOMER'
    when starts_with(given, 'pm_') then 'PAYMENT_METHOD'
  end)::pgledger.identifier_kind;

comment on function pgledger._identifier_kind(text) is
  'What a trimmed identifier looks like; null where nothing tells. Private.';

revoke all on function pgledger._identifier_kind(text) from public;
