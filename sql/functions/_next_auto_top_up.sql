create or replace function pgledger._next_auto_top_up(settings pgledger.auto_top_ups)
returns bigint
language plpgsql stable
as $$
declare
  v_number bigint := settings.intents;
begin
  -- Mostly at once; settings that were restored without their intents, or after them, skip.
  loop
    v_number := v_number + 1;
    exit when not exists (
      select from pgledger.pending_transactions p
      where p.account_id = settings.account_id and p.key = '#auto-' || v_number
      union all
      select from pgledger.transactions t
      where t.account_id = settings.account_id and t.key = '#auto-' || v_number
      union all
      -- Its number is spent at the provider, whatever became of the intent here.
      select from pgledger.charges c
      where c.account_id = settings.account_id and c.key = '#auto-' || v_number);
  end loop;
  return v_number;
end;
$$;

comment on function pgledger._next_auto_top_up(pgledger.auto_top_ups) is
  'The number of the next auto-top-up: the first after those counted whose key is free. Private.';

revoke all on function pgledger._next_auto_top_up(pgledger.auto_top_ups) from public;
