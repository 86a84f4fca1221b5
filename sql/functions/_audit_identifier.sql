create or replace function pgledger._audit_identifier(
  account_id text, act text, actor text, known pgledger.account_identifiers, arguments jsonb
) returns void
language plpgsql
as $$
begin
  -- The log is for ever. An email can be looked for in it by its hash, and yet be forgotten.
  perform pgledger._audit(
    _audit_identifier.account_id, _audit_identifier.act, _audit_identifier.actor,
    jsonb_build_object(
      'kind', known.kind,
      'identifier', case known.kind
        when 'EMAIL' then 'sha256:' || encode(sha256(convert_to(known.value, 'UTF8')), 'hex')
        else known.value end) || _audit_identifier.arguments);
end;
$$;

comment on function pgledger._audit_identifier(
  text, text, text, pgledger.account_identifiers, jsonb) is
  'Writes into the audit log what was done with an identifier: an email as its SHA-256. Private.';

revoke all on function pgledger._audit_identifier(
  text, text, text, pgledger.account_identifiers, jsonb) from public;
