create or replace function pgledger._watched(
  answer pgledger.posting, change bigint, reference text
) returns pgledger.posting
language plpgsql
as $$
declare
  v_answer pgledger.posting := answer;
  v_hot pgledger.balances;
  v_top_up pgledger.posting;
begin
  select b.* into strict v_hot
  from pgledger.balances b
  where b.account_id = answer.account_id;
  perform pgledger._tell_low(
    v_hot, answer.available, _watched.change, answer.key, _watched.reference);

  v_top_up := pgledger._auto_top_up(
    answer.account_id, _watched.reference, answer.created_at);
  if v_top_up.status = 'POSTED' then
    v_answer.balance := v_top_up.balance;
    v_answer.available := v_top_up.available;
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._watched(pgledger.posting, bigint, text) is
  'What a debit or hold causes by the level it leaves: an event when change took available below '
  'the low-balance level, and the auto-top-up when it is armed and available below its threshold. '
  'The answer again, with the balance after an INSTANT top-up. Private.';

revoke all on function pgledger._watched(pgledger.posting, bigint, text) from public;
