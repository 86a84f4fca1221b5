create or replace function pgledger.capture_usage(
  account_id text,
  key text,
  quantities jsonb,
  shortfall text default 'REFUSE',
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_request pgledger._request := pgledger._settlement(
    capture_usage.account_id, capture_usage.key, capture_usage.raise_refusals);
  v_estimate jsonb;
  v_cost bigint;
  v_answer pgledger.posting;
begin
  perform pgledger._check_quantities(capture_usage.quantities);
  if not coalesce(capture_usage.shortfall in ('REFUSE', 'PARTIAL', 'DEBT'), false) then
    perform pgledger._reject('shortfall', capture_usage.shortfall, 'One of REFUSE, PARTIAL, DEBT.');
  end if;
  perform pgledger._check_labels(null, null, null, capture_usage.metadata);

  -- What a hold was made of never changes, so it is read before anything is locked.
  select p.usage into v_estimate
  from pgledger.pending_transactions p
  where p.account_id = capture_usage.account_id collate "default"
    and p.key = capture_usage.key collate "default";
  if v_estimate is not null and capture_usage.metadata is null then
    select p.cost, p.usage into v_cost, v_request.usage
    from pgledger._priced(v_estimate ->> 'code', capture_usage.quantities,
      (v_estimate ->> 'valid_from')::timestamptz) p;
    if v_cost > 0 then
      v_answer := pgledger._capture(
        capture_usage.account_id collate "default", capture_usage.key, v_cost, v_request.usage);
      if v_answer.status is not null then
        return v_answer;
      end if;
    end if;
  end if;

  v_request.shortfall := capture_usage.shortfall;
  v_request.metadata := capture_usage.metadata;
  return pgledger._capture_usage(v_request, capture_usage.quantities);
end;
$$;

comment on function pgledger.capture_usage(text, text, jsonb, text, jsonb, boolean) is
  'Charges what was really used to a hold of hold_usage, under the hold''s own key, at the prices '
  'of the hold: what it costs is captured, the rest released; what costs nothing releases all of '
  'it (the answer is CANCELLED). What costs more captures the whole hold, and what is above it is '
  'a transaction of its own, #excess-<seq>, in the same call; where credits do not cover that, '
  'shortfall decides: REFUSE refuses the whole call and leaves the hold open, PARTIAL takes what '
  'is there, DEBT goes down to debt_floor. The answer is the capture, its requested_amount all '
  'that was used. metadata is merged. A repeat with the same quantities changes nothing. Refuses '
  'with LG001, LG002, LG004 and LG008 (of what is above the hold), LG006, LG007 (released, '
  'expired: spend_usage under another key), LG011, 22003, 22023 and 22004.';

revoke all on function
  pgledger.capture_usage(text, text, jsonb, text, jsonb, boolean) from public;
