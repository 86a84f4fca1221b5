create or replace function pgledger._disarm(
  account_id text, waiting_for text, resumes_at timestamptz
) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  update pgledger.auto_top_ups s
  set waiting_for = _disarm.waiting_for, resumes_at = _disarm.resumes_at
  where s.account_id = _disarm.account_id;

  update pgledger.balances b
  set top_up_below = null, attention_at = least(b.attention_at, _disarm.resumes_at)
  where b.account_id = _disarm.account_id;
end;
$$;

comment on function pgledger._disarm(text, text, timestamptz) is
  'Keeps an auto-top-up from asking until an intent is settled, or until a period ends. Private.';

revoke all on function pgledger._disarm(text, text, timestamptz) from public;
