create or replace function pgledger.refund(
  account_id text,
  original_key text,
  amount bigint default null,
  key text default null,
  external_id text default null,
  fail_insufficient_credits boolean default true,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true,
  actor text default null
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
begin
  v_request := pgledger._asked(
    refund.account_id, refund.amount, 'REFUND', refund.key,
    case when refund.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    refund.reference, refund.metadata, refund.raise_refusals, null);
  v_request.external_id := refund.external_id;
  return pgledger._audited(
    pgledger._undo(v_request, refund.original_key collate "default"), 'refund',
    refund.actor collate "default",
    jsonb_build_object(
      'original_key', refund.original_key,
      'amount', refund.amount,
      'key', refund.key,
      'external_id', refund.external_id,
      'fail_insufficient_credits', refund.fail_insufficient_credits,
      'reference', refund.reference));
end;
$$;

comment on function pgledger.refund(
  text, text, bigint, text, text, boolean, text, jsonb, boolean, text) is
  'Takes back the credits of a TOP_UP whose money goes back to the payer: amount > 0 of it, minor '
  'units, or all that remains of it. May be repeated, under other keys, up to what was topped up. '
  'Credits that are spent already are not there to be taken: LG001, unless '
  'fail_insufficient_credits => false (a chargeback), which may leave a debt and also debits a '
  'frozen account. external_id is the provider''s id of the refund or dispute: it has one effect, '
  'ever. A repeat of key or external_id changes nothing and answers with the original. Kept in the '
  'audit log, as done by actor. Refuses with LG001, LG002, LG004, LG006, LG009, 22003, 22023 (not '
  'a TOP_UP) and 22004.';

revoke all on function
  pgledger.refund(text, text, bigint, text, text, boolean, text, jsonb, boolean, text) from public;
