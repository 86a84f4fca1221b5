create or replace function pgledger._verify_nobodys_returns()
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select 'a refund or dispute of nobody''s payment takes nothing', null::bigint, r.return_id, '0',
    r.taken::text
  from pgledger.payment_returns r
  left join pgledger.payments p on p.provider = r.provider and p.payment_id = r.payment_id
  where r.taken <> 0 and p.account_id is null;
end;

comment on function pgledger._verify_nobodys_returns() is
  'Refunds and disputes that took credits though nobody was credited with their payment. Private.';

revoke all on function pgledger._verify_nobodys_returns() from public;
