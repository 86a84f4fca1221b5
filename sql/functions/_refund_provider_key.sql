create or replace function pgledger._refund_provider_key(account_id text, key text) returns text
language sql stable parallel safe
return 'pgledger-' || encode(sha256(convert_to(
  jsonb_build_array('refund', account_id, key)::text, 'UTF8')), 'hex');

comment on function pgledger._refund_provider_key(text, text) is
  'The idempotency key by which a provider knows the refund of a request: always the same for it, '
  'and of one length whatever the ids are. Private.';

revoke all on function pgledger._refund_provider_key(text, text) from public;
