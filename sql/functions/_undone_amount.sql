create or replace function pgledger._undone_amount(request pgledger._request) returns bigint
language sql stable
begin atomic
  select coalesce(
    (
      select abs(t.amount)
      from pgledger.transactions t
      where t.account_id = (request).account_id
        and t.original_seq = (request).original_seq
        and (t.key = (request).key or t.external_id = (request).external_id)
      order by t.seq
      limit 1
    ),
    nullif(pgledger._original_left((request).account_id, (request).original_seq), 0));
end;

comment on function pgledger._undone_amount(pgledger._request) is
  'The amount of an undoing that names none: that of the call it repeats, else all that remains '
  'of the original, else null. Private.';

revoke all on function pgledger._undone_amount(pgledger._request) from public;
