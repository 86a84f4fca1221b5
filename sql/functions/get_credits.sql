create or replace function pgledger.get_credits(account_id text) returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_available bigint;
  v_attention_at timestamptz;
begin
  select b.balance - b.held, b.attention_at into v_available, v_attention_at
  from pgledger.balances b
  where b.account_id = get_credits.account_id collate "default";

  if v_attention_at > statement_timestamp() then
    return v_available;
  end if;
  select n.balance - n.held into v_available
  from pgledger._balance_now(pgledger._checked_account(get_credits.account_id collate "default")) n;
  return v_available;
end;
$$;

comment on function pgledger.get_credits(text) is
  'Available credits as of the start of the statement, minor units: balance minus what holds '
  'reserve. 0 for an unknown account. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_credits(text) from public;
