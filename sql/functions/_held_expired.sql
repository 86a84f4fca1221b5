create or replace function pgledger._held_expired(account_id text, at timestamptz) returns bigint
language sql stable
begin atomic
  select coalesce(-sum(p.amount), 0)::bigint
  from pgledger.pending_transactions p
  where p.account_id = _held_expired.account_id
    and p.status = 'PENDING'
    and p.expires_at <= _held_expired.at;
end;

comment on function pgledger._held_expired(text, timestamptz) is
  'What holds that expired up to an instant, and are not closed yet, still reserve in the '
  'balance row, minor units. Private.';

revoke all on function pgledger._held_expired(text, timestamptz) from public;
