create or replace function pgledger._reject(parameter text, given text, rule text) returns void
language plpgsql
as $$
begin
  raise exception using
    errcode = case when _reject.given is null then '22004' else '22023' end,
    message = 'invalid ' || _reject.parameter,
    detail = jsonb_build_object(
      'parameter', _reject.parameter,
      'given', left(_reject.given, 100),
      'length', length(_reject.given))::text,
    hint = _reject.rule;
end;
$$;

comment on function pgledger._reject(text, text, text) is
  'Refuses a misuse: 22004 for a missing argument, 22023 for one that breaks the rule. Private.';

revoke all on function pgledger._reject(text, text, text) from public;
