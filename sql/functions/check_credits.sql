create or replace function pgledger.check_credits(account_id text, required bigint)
returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now pgledger.balances;
begin
  if not coalesce(check_credits.required > 0, false) then
    perform pgledger._reject('required', check_credits.required::text,
      'Ask for a positive whole number of minor units.');
  end if;

  v_now := pgledger._balance_now(
    pgledger._checked_account(check_credits.account_id collate "default"));
  return v_now.attention_at > '-infinity'
    and coalesce(v_now.cap_left >= check_credits.required, true)
    and pgledger._allows(v_now.balance, v_now.held, v_now.floor, -check_credits.required);
end;
$$;

comment on function pgledger.check_credits(text, bigint) is
  'Whether a spend of required > 0 minor units would be accepted now; it promises nothing, only '
  'the spend itself decides. False for an unknown, frozen or closed account; never true when it '
  'could not be told. Refuses with 22023 and 22004.';

revoke all on function pgledger.check_credits(text, bigint) from public;
