create or replace function pgledger._why_drawn(
  posted pgledger.transactions, lot pgledger.lots, is_capture boolean
) returns text
language plpgsql stable
as $$
declare
  v_place text := case
    when lot.seq is null and posted.running_balance < 0
      then 'the pool, which owes up to ' || -posted.running_balance || ' of it: a debt'
    when lot.seq is null then 'the pool: priority 0, never expires'
    when lot.priority = 0 then 'priority 0, before the pool because it expires'
    when lot.priority < 0 then 'priority ' || lot.priority || ', before the pool'
    else 'priority ' || lot.priority || ', after the pool'
  end;
begin
  return case
    when posted.amount > 0 then 'given back, the last drawn first'
    when posted.type = 'EXPIRY' then 'the lot ended'
    when _why_drawn.is_capture then 'reserved by the hold; ' || v_place
    when posted.original_seq = lot.seq then 'the lot of what is undone'
    else v_place
  end;
end;
$$;

comment on function pgledger._why_drawn(pgledger.transactions, pgledger.lots, boolean) is
  'Why a source paid for a transaction, or got something back, in words. Private.';

revoke all on function
  pgledger._why_drawn(pgledger.transactions, pgledger.lots, boolean) from public;
