create or replace function pgledger._provider_key(account_id text, key text, attempt bigint)
returns text
language sql stable parallel safe
return 'pgledger-' || encode(sha256(convert_to(
  jsonb_build_array(account_id, key, attempt)::text, 'UTF8')), 'hex');

comment on function pgledger._provider_key(text, text, bigint) is
  'The idempotency key by which a provider knows one attempt at the payment of a top-up: always '
  'the same for it, and of one length whatever the ids are. Private.';

revoke all on function pgledger._provider_key(text, text, bigint) from public;
