create or replace function pgledger._audit(
  account_id text, act text, actor text, arguments jsonb
) returns void
language plpgsql
as $$
begin
  if not coalesce(pgledger._is_label(_audit.actor), true) then
    perform pgledger._reject('actor', _audit.actor,
      'A name of 1 to 255 characters, none of them a control character.');
  end if;

  insert into pgledger.audit_log (account_id, id, act, actor, arguments, created_at)
  values (
    coalesce(_audit.account_id, ''), gen_random_uuid(), _audit.act,
    coalesce(_audit.actor, session_user), jsonb_strip_nulls(_audit.arguments), clock_timestamp());
end;
$$;

comment on function pgledger._audit(text, text, text, jsonb) is
  'Writes into the audit log who did what; without an actor the role that is logged in. Refuses '
  'an actor that is no label. Private.';

revoke all on function pgledger._audit(text, text, text, jsonb) from public;
