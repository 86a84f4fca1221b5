create or replace function pgledger._verify_payments(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, p.seq, p.payment_id, r.expected, r.found
  from pgledger.payments p
  left join pgledger.transactions t on t.account_id = p.account_id and t.seq = p.seq
  cross join lateral (values
    ('a payment that was credited has its top-up',
      t.type = 'TOP_UP' and t.amount > 0,
      'a TOP_UP', coalesce(t.type::text, 'none')),
    ('a payment and its top-up are of one amount',
      t.amount is null or p.amount = t.amount, t.amount::text, p.amount::text),
    ('the top-up of a payment has its id',
      t.external_id is null or t.external_id = p.payment_id, p.payment_id, t.external_id)
  ) r (rule, holds, expected, found)
  where p.account_id = _verify_payments.account_id and p.seq is not null
    and r.holds is not true;
end;

comment on function pgledger._verify_payments(text) is
  'Where a payment that was credited is not what the journal of its account says. Private.';

revoke all on function pgledger._verify_payments(text) from public;
