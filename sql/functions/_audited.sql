create or replace function pgledger._audited(
  answer pgledger.posting, act text, actor text, arguments jsonb
) returns pgledger.posting
language plpgsql
as $$
begin
  -- A repeat did nothing, and a refusal that is answered as a row nothing either.
  if answer.status = 'POSTED' and not answer.replayed then
    -- With the key by which it is found again, where none was given.
    perform pgledger._audit(
      answer.account_id, _audited.act, _audited.actor,
      jsonb_build_object('key', answer.key) || jsonb_strip_nulls(_audited.arguments));
  end if;
  return answer;
end;
$$;

comment on function pgledger._audited(pgledger.posting, text, text, jsonb) is
  'Writes into the audit log who did what was just posted, and hands the answer on. Private.';

revoke all on function pgledger._audited(pgledger.posting, text, text, jsonb) from public;
