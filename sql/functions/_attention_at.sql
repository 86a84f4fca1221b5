create or replace function pgledger._attention_at(account_id text) returns timestamptz
language sql stable
begin atomic
  select case
    when exists (
      select from pgledger.accounts a
      where a.account_id = _attention_at.account_id and a.status <> 'OPEN')
    then '-infinity'::timestamptz
    else least(
      (
        select min(p.expires_at)
        from pgledger.pending_transactions p
        where p.account_id = _attention_at.account_id and p.status = 'PENDING'
      ),
      (
        select min(l.expires_at)
        from pgledger.lots l
        where l.account_id = _attention_at.account_id and l.remaining > 0
      ),
      (
        select n.refill_at
        from pgledger.account_plans n
        where n.account_id = _attention_at.account_id
      ),
      (
        select c.resets_at
        from pgledger.spending_caps c
        where c.account_id = _attention_at.account_id
      ),
      (
        select s.resumes_at
        from pgledger.auto_top_ups s
        where s.account_id = _attention_at.account_id
      ),
      'infinity'::timestamptz)
  end;
end;

comment on function pgledger._attention_at(text) is
  'When a posting must look at more than the balance row: always while the account is not OPEN, '
  'else when its next hold or lot expires, its plan refills it, its spending cap begins a new '
  'period, or its auto-top-up is no longer paused. Private.';

revoke all on function pgledger._attention_at(text) from public;
