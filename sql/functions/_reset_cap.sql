create or replace function pgledger._reset_cap(account_id text, at timestamptz) returns bigint
language plpgsql
as $$
declare
  v_cap pgledger.spending_caps;
begin
  select c.* into v_cap
  from pgledger.spending_caps c
  where c.account_id = _reset_cap.account_id;

  if v_cap.resets_at > _reset_cap.at then
    return (
      select b.cap_left
      from pgledger.balances b
      where b.account_id = _reset_cap.account_id);
  end if;

  v_cap.resets_at := pgledger._period_end(
    v_cap.period, v_cap.time_zone, null, _reset_cap.at);
  update pgledger.spending_caps c
  set resets_at = v_cap.resets_at
  where c.account_id = _reset_cap.account_id;
  return v_cap.amount;
end;
$$;

comment on function pgledger._reset_cap(text, timestamptz) is
  'Begins the period of an account''s spending cap that holds an instant, where the one before '
  'has ended, and answers with what the cap leaves then: all of it, or as before; null without a '
  'cap. Only under the lock of the balance row. Private.';

revoke all on function pgledger._reset_cap(text, timestamptz) from public;
