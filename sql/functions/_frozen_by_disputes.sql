create or replace function pgledger._frozen_by_disputes(account_id text, since timestamptz)
returns boolean
language sql stable
begin atomic
  select exists (
    select
    from pgledger.payments p
    join pgledger.payment_returns r on r.provider = p.provider and r.payment_id = p.payment_id
    where p.account_id = _frozen_by_disputes.account_id
      and r.status in ('OPEN', 'LOST')
      and r.froze_at > _frozen_by_disputes.since);
end;

comment on function pgledger._frozen_by_disputes(text, timestamptz) is
  'Whether a dispute that is open or lost has frozen an account since an instant. Private.';

revoke all on function pgledger._frozen_by_disputes(text, timestamptz) from public;
