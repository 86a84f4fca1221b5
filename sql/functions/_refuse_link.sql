create or replace function pgledger._refuse_link(
  link pgledger.account_identifiers, recorded text, given text
) returns void
language plpgsql
as $$
begin
  raise exception using
    errcode = 'LG002',
    message = (pgledger._words('LG002')).message,
    detail = jsonb_build_object(
      'account_id', given,
      'kind', link.kind,
      'value', link.value,
      'recorded', jsonb_build_object('account_id', recorded),
      'given', jsonb_build_object('account_id', given))::text,
    hint = 'An identifier belongs to one account. If it now belongs to this one, say move => true.';
end;
$$;

comment on function pgledger._refuse_link(pgledger.account_identifiers, text, text) is
  'Refuses (LG002) to link an identifier of one account to another. Private.';

revoke all on function
  pgledger._refuse_link(pgledger.account_identifiers, text, text) from public;
