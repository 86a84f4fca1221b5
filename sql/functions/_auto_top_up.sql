-- The one place that catches what it cannot know: whatever goes wrong with a top-up, the debit that
-- asked for it stands. What says "run the transaction again" is passed on.
create or replace function pgledger._auto_top_up(
  account_id text, reference text, at timestamptz
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_settings pgledger.auto_top_ups;
  v_resumes_at timestamptz;
  v_number bigint;
  v_request pgledger._request;
begin
  select b.* into strict v_hot
  from pgledger.balances b
  where b.account_id = _auto_top_up.account_id;
  v_hot.updated_at := greatest(v_hot.updated_at, _auto_top_up.at);
  v_hot := pgledger._without_due(v_hot, v_hot.updated_at);
  if not coalesce(v_hot.balance - v_hot.held < v_hot.top_up_below, false)
    or v_hot.attention_at = '-infinity'
  then
    return null;
  end if;

  select s.* into strict v_settings
  from pgledger.auto_top_ups s
  where s.account_id = _auto_top_up.account_id;

  v_resumes_at := pgledger._auto_top_up_pause(v_settings, _auto_top_up.at);
  if v_resumes_at is not null then
    perform pgledger._disarm(_auto_top_up.account_id, null, v_resumes_at);
    return null;
  end if;

  v_number := pgledger._next_auto_top_up(v_settings);
  update pgledger.auto_top_ups s
  set intents = v_number
  where s.account_id = _auto_top_up.account_id;

  v_request.account_id := _auto_top_up.account_id;
  v_request.amount := v_settings.amount;
  v_request.type := 'TOP_UP';
  v_request.key := '#auto-' || v_number;
  v_request.announced := v_settings.mode = 'INTENT';
  v_request.reference := _auto_top_up.reference;

  if v_request.announced then
    return pgledger._request_top_up(v_request, v_hot);
  end if;
  perform pgledger._check_range(v_request, v_hot, v_request.amount);
  return pgledger._apply(v_request, v_hot, v_request.amount);
exception when others then
  if left(sqlstate, 2) = '40' then
    raise;
  end if;
  raise warning using
    message = 'auto-top-up failed: ' || sqlerrm,
    detail = jsonb_build_object(
      'account_id', _auto_top_up.account_id, 'sqlstate', sqlstate)::text,
    hint = 'The debit stands. Call check_auto_top_up when the cause is mended.';
  return null;
end;
$$;

comment on function pgledger._auto_top_up(text, text, timestamptz) is
  'Tops an account up, or asks for it, when its auto-top-up is armed and available is below the '
  'threshold; at a limit it is paused until the period ends. What was recorded, or null. Only '
  'under the lock of the balance row. Private.';

revoke all on function pgledger._auto_top_up(text, text, timestamptz) from public;
