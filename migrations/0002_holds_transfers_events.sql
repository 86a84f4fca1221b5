-- depends: 0001_ledger

set local lock_timeout = '2s';

-- ---- By hand: tables, types and data; safe to run again.

-- In the order in which a posting takes them, so that one in flight is waited for, not deadlocked.
lock table pgledger.balances in access exclusive mode;
lock table pgledger.transactions, pgledger.pending_transactions in access exclusive mode;
lock table pgledger.accounts in access exclusive mode;

do $$
begin
  if to_regtype('pgledger.auto_top_up_mode') is null then
    create type pgledger.auto_top_up_mode as enum ('INTENT', 'INSTANT');
  end if;

  if not exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = 'pgledger.transaction'::regclass and a.attname = 'expires_at'
  ) then
    alter type pgledger.transaction
      add attribute expires_at timestamptz,
      add attribute original_seq bigint,
      add attribute counterparty text;
    alter type pgledger._request
      add attribute expires_at timestamptz,
      add attribute original_seq bigint,
      add attribute counterparty text,
      add attribute counterparty_seq bigint,
      add attribute released bigint;
  end if;

  if pg_get_indexdef(to_regclass('pgledger.pending_transactions_open')) !~ 'expires_at' then
    drop index pgledger.pending_transactions_open;
  end if;
end;
$$;

comment on type pgledger.auto_top_up_mode is
  'INTENT records a pending top-up for somebody to collect; INSTANT posts it, for accounts that '
  'need no payment.';
comment on column pgledger.transaction.expires_at is
  'From this instant on a hold reserves nothing; null where it does not expire.';
comment on column pgledger.transaction.original_seq is
  'The seq of the transaction that a refund or reversal undoes; else null.';
comment on column pgledger.transaction.counterparty is
  'The account on the other side of a transfer; else null.';

alter table pgledger.accounts
  add column if not exists low_balance_level bigint,
  add column if not exists events bigint not null default 0;
comment on column pgledger.accounts.low_balance_level is
  'A debit or hold that takes available from this level or above to below it records an event; '
  'null: none does. Minor units.';
comment on column pgledger.accounts.events is 'How many events the account ever had.';

alter table pgledger.balances
  add column if not exists low_below bigint,
  add column if not exists top_up_below bigint;
comment on column pgledger.balances.low_below is 'Cached from accounts.low_balance_level.';
comment on column pgledger.balances.top_up_below is
  'The threshold of the account''s auto-top-up while it is armed, minor units; else null.';

alter table pgledger.transactions
  add column if not exists original_seq bigint,
  add column if not exists counterparty text,
  add column if not exists counterparty_seq bigint;
create index if not exists transactions_original
  on pgledger.transactions (account_id, original_seq) where original_seq is not null;
comment on column pgledger.transactions.original_seq is
  'Which transaction of the account a refund or reversal undoes, in part or whole; else null.';
comment on column pgledger.transactions.counterparty is
  'The account on the other side of a transfer; else null.';
comment on column pgledger.transactions.counterparty_seq is
  'The seq of the other leg of a transfer, in the counterparty''s journal; else null.';

alter table pgledger.pending_transactions
  add column if not exists expires_at timestamptz;
create index if not exists pending_transactions_open
  on pgledger.pending_transactions (account_id, expires_at) where status = 'PENDING';
create index if not exists pending_transactions_due
  on pgledger.pending_transactions (expires_at)
  where status = 'PENDING' and expires_at is not null;
comment on table pgledger.pending_transactions is
  'Movements announced but not effective: a top-up that is not paid yet (amount > 0), or a hold '
  '(amount < 0), which reserves credits. Rows are kept: a key stays taken after its transaction '
  'was enabled or cancelled.';
comment on column pgledger.pending_transactions.expires_at is
  'From this instant on a hold reserves nothing, whether or not its row says EXPIRED yet; null: it '
  'stays until it is settled.';

create table if not exists pgledger.auto_top_ups (
  account_id text not null,
  threshold bigint not null,
  amount bigint not null,
  mode pgledger.auto_top_up_mode not null,
  enabled boolean not null,
  daily_count_limit bigint,
  daily_amount_limit bigint,
  monthly_count_limit bigint,
  monthly_amount_limit bigint,
  intents bigint not null default 0,
  waiting_for text,
  resumes_at timestamptz,
  constraint auto_top_ups_pkey primary key (account_id),
  constraint auto_top_ups_amount_positive check (amount > 0)
);

comment on table pgledger.auto_top_ups is
  'When an account tops itself up, and what holds it back now. It is armed while it is enabled, '
  'waits for nothing and is not paused; balances.top_up_below is the threshold then.';
comment on column pgledger.auto_top_ups.threshold is
  'A debit or hold that leaves available below this asks for a top-up. Minor units.';
comment on column pgledger.auto_top_ups.amount is 'What one top-up adds, minor units, above 0.';
comment on column pgledger.auto_top_ups.daily_count_limit is
  'At most so many a day of UTC, cancelled ones not counted; null: any number.';
comment on column pgledger.auto_top_ups.daily_amount_limit is
  'At most so much a day of UTC, minor units; null: any amount.';
comment on column pgledger.auto_top_ups.monthly_count_limit is
  'At most so many a calendar month of UTC; null: any number.';
comment on column pgledger.auto_top_ups.monthly_amount_limit is
  'At most so much a calendar month of UTC, minor units; null: any amount.';
comment on column pgledger.auto_top_ups.intents is
  'How many were recorded ever; the last one has the key #auto-<intents>.';
comment on column pgledger.auto_top_ups.waiting_for is
  'The key of the intent that must be enabled or cancelled before the next one; else null.';
comment on column pgledger.auto_top_ups.resumes_at is
  'When the period ends whose limit is reached; else null.';
comment on column pgledger.auto_top_ups.mode is
  'INTENT asks for a top-up that somebody collects; INSTANT posts it.';
comment on column pgledger.auto_top_ups.enabled is 'Whether it tops up at all.';

create table if not exists pgledger.events (
  account_id text not null,
  seq bigint not null,
  kind text not null,
  payload jsonb not null,
  created_at timestamptz not null,
  visible_at timestamptz not null,
  deliveries bigint not null default 0,
  acked_at timestamptz,
  constraint events_pkey primary key (account_id, seq),
  constraint events_kind_known check (
    kind in ('top_up_requested', 'low_balance', 'hold_expired', 'account_frozen'))
);

create index if not exists events_unacked
  on pgledger.events (account_id, seq) where acked_at is null;
create index if not exists events_claimable
  on pgledger.events (visible_at) where acked_at is null;
create index if not exists events_created on pgledger.events (created_at);

comment on table pgledger.events is
  'The outbox: what others must be told, written in the transaction that caused it. Rows that were '
  'acknowledged may be deleted; nothing refers to them.';
comment on column pgledger.events.seq is '1, 2, 3 and so on per account, in commit order.';
comment on column pgledger.events.kind is
  'top_up_requested, low_balance, hold_expired or account_frozen.';
comment on column pgledger.events.payload is 'What happened, by kind; see claim_events.';
comment on column pgledger.events.visible_at is
  'Not handed out before this instant: a claim moves it on by its visibility timeout.';
comment on column pgledger.events.deliveries is 'How often it was handed out.';
comment on column pgledger.events.acked_at is 'When it was acknowledged; null before.';

drop function if exists pgledger._check_range(pgledger.balances, bigint);

drop function if exists pgledger.get_balance(text);

-- functions/_is_low.sql

create or replace function pgledger._is_low(
  available bigint, change bigint, low_below bigint, top_up_below bigint
) returns boolean
language sql immutable parallel safe
return available < top_up_below
  or (available < low_below and available - change >= low_below);

comment on function pgledger._is_low(bigint, bigint, bigint, bigint) is
  'Whether a debit or hold that changed available leaves something to do: it is below the armed '
  'threshold, or this very change took it below the low-balance level. Null levels are none. '
  'Small enough for the planner to inline. Private.';

revoke all on function pgledger._is_low(bigint, bigint, bigint, bigint) from public;

-- functions/_pending_status.sql

create or replace function pgledger._pending_status(
  status pgledger.pending_status, expires_at timestamptz, at timestamptz
) returns pgledger.pending_status
language sql immutable parallel safe
return case when status = 'PENDING' and expires_at <= at then 'EXPIRED' else status end;

comment on function pgledger._pending_status(pgledger.pending_status, timestamptz, timestamptz) is
  'What a pending transaction is at an instant: a hold is EXPIRED from its expires_at on, also '
  'while its row still says PENDING. Private.';

revoke all on function
  pgledger._pending_status(pgledger.pending_status, timestamptz, timestamptz) from public;

-- functions/_check_request.sql

create or replace function pgledger._check_request(request pgledger._request) returns void
language plpgsql
as $$
begin
  perform pgledger._checked_account(request.account_id);

  -- The lowest bigint has no positive twin, and a debit is judged by its positive amount.
  if not coalesce(request.amount <> 0 and request.amount > -9223372036854775808, false) then
    perform pgledger._reject('amount', request.amount::text,
      'An amount is a whole number of minor units, not 0, within plus or minus 2^63 - 1.');
  end if;
  if request.type is null then
    perform pgledger._reject('type', null, 'Name a pgledger.transaction_type.');
  end if;
  if request.announced is null then
    perform pgledger._reject('is_active', null, 'true posts at once, false announces.');
  end if;
  if request.announced and request.amount < 0 and request.shortfall = 'FORCE' then
    perform pgledger._reject('fail_insufficient_credits', 'false',
      'A hold reserves credits that are there; only a posted debit may go below the floor.');
  end if;
  if not isfinite(request.expires_at) then
    perform pgledger._reject('expires_at', request.expires_at::text,
      'Give a finite point in time, or none for a hold that stays until it is settled.');
  end if;
  if left(request.key, 1) = '#' then
    perform pgledger._reject('key', request.key,
      'Keys that begin with # are the ledger''s own; choose another.');
  end if;

  perform pgledger._check_labels(
    request.key, request.reference, request.external_id, request.metadata);
end;
$$;

comment on function pgledger._check_request(pgledger._request) is
  'Refuses (22023, 22004) what could never be posted, before anything is locked. Private.';

revoke all on function pgledger._check_request(pgledger._request) from public;

-- functions/_check_auto_top_up.sql

create or replace function pgledger._check_auto_top_up(settings pgledger.auto_top_ups)
returns void
language plpgsql
as $$
declare
  v_limit record;
begin
  if settings.threshold is null then
    perform pgledger._reject('threshold', null, 'Say below what to top up, in minor units.');
  end if;
  if not coalesce(settings.amount > 0, false) then
    perform pgledger._reject('amount', settings.amount::text,
      'A top-up is a positive whole number of minor units.');
  end if;
  if settings.mode is null then
    perform pgledger._reject('mode', null, 'One of INTENT, INSTANT.');
  end if;
  if settings.enabled is null then
    perform pgledger._reject('enabled', null, 'true or false.');
  end if;

  for v_limit in
    select l.name, l.value, l.lowest
    from (values
      ('daily_count_limit', settings.daily_count_limit, 1::bigint),
      ('daily_amount_limit', settings.daily_amount_limit, settings.amount),
      ('monthly_count_limit', settings.monthly_count_limit, 1::bigint),
      ('monthly_amount_limit', settings.monthly_amount_limit, settings.amount)
    ) l (name, value, lowest)
    where l.value < l.lowest
  loop
    perform pgledger._reject(v_limit.name, v_limit.value::text,
      'A limit leaves room for one top-up, here at least ' || v_limit.lowest || '.');
  end loop;
end;
$$;

comment on function pgledger._check_auto_top_up(pgledger.auto_top_ups) is
  'Refuses (22023, 22004) settings that could never top up. Private.';

revoke all on function pgledger._check_auto_top_up(pgledger.auto_top_ups) from public;

-- functions/_check_range.sql

create or replace function pgledger._check_range(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns void
language plpgsql
as $$
declare
  v_is_hold boolean := request.announced and _check_range.applied < 0;
  v_balance numeric := hot.balance::numeric;
  v_held numeric := hot.held::numeric;
begin
  if v_is_hold then
    v_held := v_held - _check_range.applied;
  else
    v_balance := v_balance + _check_range.applied;
    v_held := v_held - coalesce(request.released, 0);
  end if;

  -- Available must be a bigint too, so the lowest balance leaves room for what is held.
  if v_held > 9223372036854775807
    or v_balance not between -9223372036854775808 + v_held and 9223372036854775807
  then
    raise exception using
      errcode = '22003',
      message = 'balance out of range',
      detail = jsonb_build_object(
        'account_id', hot.account_id,
        'balance', hot.balance,
        'held', hot.held,
        'amount', _check_range.applied)::text,
      hint = 'A balance is a bigint, within plus or minus 2^63 - 1 minor units.';
  end if;
end;
$$;

comment on function pgledger._check_range(pgledger._request, pgledger.balances, bigint) is
  'Refuses (22003) a movement that would take the balance, or what holds reserve of it, out of '
  'the range of bigint. Private.';

revoke all on function
  pgledger._check_range(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_attention_at.sql

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
        select s.resumes_at
        from pgledger.auto_top_ups s
        where s.account_id = _attention_at.account_id
      ),
      'infinity'::timestamptz)
  end;
end;

comment on function pgledger._attention_at(text) is
  'When a posting must look at more than the balance row: always while the account is not OPEN, '
  'else when its next hold expires or its auto-top-up is no longer paused. Private.';

revoke all on function pgledger._attention_at(text) from public;

-- functions/_armed_below.sql

create or replace function pgledger._armed_below(account_id text) returns bigint
language sql stable
begin atomic
  select s.threshold
  from pgledger.auto_top_ups s
  where s.account_id = _armed_below.account_id
    and s.enabled
    and s.waiting_for is null
    and s.resumes_at is null;
end;

comment on function pgledger._armed_below(text) is
  'The threshold of the account''s auto-top-up while it is armed, else null. Private.';

revoke all on function pgledger._armed_below(text) from public;

-- functions/_derive_balance.sql

create or replace function pgledger._derive_balance(account_id text) returns pgledger.balances
language sql stable
begin atomic
  select
    _derive_balance.account_id,
    coalesce(last.running_balance, 0),
    coalesce(last.seq, 0),
    coalesce(last.created_at, '-infinity'),
    coalesce(pending.held, 0),
    pending.rows,
    pgledger._attention_at(_derive_balance.account_id),
    coalesce(a.min_balance, 0),
    a.low_balance_level,
    pgledger._armed_below(_derive_balance.account_id)
  from (
    select
      count(*) as rows,
      sum(-p.amount) filter (where p.status = 'PENDING' and p.amount < 0)::bigint as held
    from pgledger.pending_transactions p
    where p.account_id = _derive_balance.account_id
  ) pending
  left join (
    select t.seq, t.running_balance, t.created_at
    from pgledger.transactions t
    where t.account_id = _derive_balance.account_id
    order by t.seq desc
    limit 1
  ) last on true
  left join pgledger.accounts a on a.account_id = _derive_balance.account_id;
end;

comment on function pgledger._derive_balance(text) is
  'The balance row as the other tables tell it, for an account that has none: imported, '
  'restored, or unknown (then all zeros). Private.';

revoke all on function pgledger._derive_balance(text) from public;

-- functions/_without_due.sql

create or replace function pgledger._without_due(hot pgledger.balances, at timestamptz)
returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances := hot;
begin
  if hot.attention_at <= _without_due.at then
    select (hot.held + coalesce(sum(p.amount), 0))::bigint into v_hot.held
    from pgledger.pending_transactions p
    where p.account_id = hot.account_id
      and p.status = 'PENDING'
      and p.expires_at <= _without_due.at;
  end if;
  return v_hot;
end;
$$;

comment on function pgledger._without_due(pgledger.balances, timestamptz) is
  'The balance row without what expired holds still reserve in it at an instant. Private.';

revoke all on function pgledger._without_due(pgledger.balances, timestamptz) from public;

-- functions/_balance_now.sql

create or replace function pgledger._balance_now(account_id text) returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances;
begin
  select b.* into v_hot
  from pgledger.balances b
  where b.account_id = _balance_now.account_id;

  if not found then
    v_hot := pgledger._derive_balance(_balance_now.account_id);
  end if;
  return pgledger._without_due(v_hot, statement_timestamp());
end;
$$;

comment on function pgledger._balance_now(text) is
  'The balance row as it is, or as the other tables tell it where it is missing, without what '
  'expired holds still reserve in it; without a lock. Private.';

revoke all on function pgledger._balance_now(text) from public;

-- functions/_lock_balance.sql

-- Three statements on purpose. Under READ COMMITTED each sees a new snapshot: the insert waits for
-- a first movement in flight, and only what is read after that wait, under the lock, is true.
create or replace function pgledger._lock_balance(account_id text) returns pgledger.balances
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances;
begin
  select b.* into v_hot
  from pgledger.balances b
  where b.account_id = _lock_balance.account_id
  for update;

  if not found then
    insert into pgledger.balances
    select d.*
    from pgledger._derive_balance(_lock_balance.account_id) d
    on conflict (account_id) do nothing;

    select b.* into strict v_hot
    from pgledger.balances b
    where b.account_id = _lock_balance.account_id
    for update;
  end if;

  return pgledger._without_due(v_hot, clock_timestamp());
end;
$$;

comment on function pgledger._lock_balance(text) is
  'Locks the account''s balance row until the transaction ends, making it from history where it '
  'is missing, and returns it as it is under the lock, by the clock read under it: without what '
  'expired holds still reserve. Always the first lock taken. Private.';

revoke all on function pgledger._lock_balance(text) from public;

-- functions/_emit.sql

create or replace function pgledger._emit(account_id text, kind text, payloads jsonb[])
returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_count bigint := cardinality(_emit.payloads)::bigint;
  v_last bigint;
  v_now timestamptz := clock_timestamp();
begin
  if coalesce(v_count, 0) = 0 then
    return;
  end if;

  perform pgledger._open_if_new(_emit.account_id);
  -- The count may be older than the events where settings were restored without them.
  select max(e.seq) into v_last
  from pgledger.events e
  where e.account_id = _emit.account_id;
  update pgledger.accounts a
  set events = greatest(a.events, v_last) + v_count
  where a.account_id = _emit.account_id
  returning a.events into strict v_last;

  insert into pgledger.events (account_id, seq, kind, payload, created_at, visible_at)
  select _emit.account_id, v_last - v_count + p.place, _emit.kind, p.payload, v_now, v_now
  from unnest(_emit.payloads) with ordinality p (payload, place);

  -- Sent at commit, once for each kind in it. A queue that an idle listener elsewhere has let fill
  -- up would fail that commit; so before that nobody is woken, and consumers find it by polling.
  if pg_notification_queue_usage() < 0.5 then
    perform pg_notify('pgledger_events', _emit.kind);
  end if;
end;
$$;

comment on function pgledger._emit(text, text, jsonb[]) is
  'Writes events of one kind into the outbox, in order, and wakes who listens; nothing for none. '
  'Only under the lock of the balance row. Private.';

revoke all on function pgledger._emit(text, text, jsonb[]) from public;

-- functions/_settle_due.sql

-- Closes a bounded number of holds, so that no single call pays for all that expired before it; the
-- rest is closed by the next ones and reserves nothing meanwhile.
create or replace function pgledger._settle_due(hot pgledger.balances) returns pgledger.balances
language plpgsql
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_hot pgledger.balances := hot;
  v_released bigint;
  v_expired jsonb[];
begin
  if hot.attention_at > v_now then
    return hot;
  end if;

  with closed as (
    update pgledger.pending_transactions p
    set status = 'EXPIRED', settled_at = p.expires_at
    where p.account_id = hot.account_id
      and p.key = any (array(
        select d.key
        from pgledger.pending_transactions d
        where d.account_id = hot.account_id and d.status = 'PENDING' and d.expires_at <= v_now
        order by d.expires_at
        limit 100))
    returning p.key, p.amount, p.expires_at, p.reference,
      to_char(p.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as expired_at
  )
  select
    coalesce(sum(-c.amount), 0)::bigint,
    array_agg(
      jsonb_build_object(
        'key', c.key, 'amount', -c.amount, 'expired_at', c.expired_at, 'reference', c.reference)
      order by c.expires_at, c.key)
  into v_released, v_expired
  from closed c;
  perform pgledger._emit(hot.account_id, 'hold_expired', v_expired);

  update pgledger.auto_top_ups s
  set resumes_at = null
  where s.account_id = hot.account_id and s.resumes_at <= v_now;

  v_hot.attention_at := pgledger._attention_at(hot.account_id);
  v_hot.top_up_below := pgledger._armed_below(hot.account_id);
  update pgledger.balances b
  set held = b.held - v_released,
      attention_at = v_hot.attention_at,
      top_up_below = v_hot.top_up_below
  where b.account_id = hot.account_id
  returning b.* into v_hot;

  v_hot := pgledger._without_due(v_hot, v_now);
  -- Seen to, as far as this call is concerned: a second look would close as many again.
  v_hot.attention_at := 'infinity';
  return v_hot;
end;
$$;

comment on function pgledger._settle_due(pgledger.balances) is
  'Posts what fell due on an account, under its lock: closes expired holds, up to 100 a call, and '
  'arms an auto-top-up whose pause is over. The balance row after that. Private.';

revoke all on function pgledger._settle_due(pgledger.balances) from public;

-- functions/_refuse.sql

create or replace function pgledger._refuse(
  request pgledger._request, hot pgledger.balances, code text, detail jsonb
) returns pgledger.posting
language plpgsql
as $$
declare
  v_message text;
  v_hint text;
  v_hot pgledger.balances;
begin
  if request.raise_refusals is not false then
    select w.message, w.hint into strict v_message, v_hint
    from (values
      ('LG001', 'insufficient credits', 'Top up, spend less, or spend what is there with PARTIAL.'),
      ('LG002', 'idempotency conflict', 'A retry must repeat its call; a new movement needs a new '
        'key and external_id. To make an announced movement effective, enable it.'),
      ('LG003', 'account not found', 'Open the account first, or check its id.'),
      ('LG004', 'account not open', 'See set_account_status.'),
      ('LG005', 'ceiling reached', 'Spend first, or raise ceiling_balance.'),
      ('LG006', 'transaction not found', 'Check the account and the key.'),
      ('LG007', 'transaction not pending', 'It was settled before, or has expired: see its status. '
        'Only money that came late is still enabled, with its external_id.'),
      ('LG009', 'exceeds original', 'At most what remains of it can be captured, refunded or '
        'reversed.')
    ) w (code, message, hint)
    where w.code = _refuse.code;

    raise exception using
      errcode = _refuse.code,
      message = v_message,
      detail = (jsonb_build_object('account_id', request.account_id, 'key', request.key)
        || _refuse.detail)::text,
      hint = v_hint;
  end if;

  v_hot := pgledger._settle_due(hot);
  perform pgledger._forget_unopened(request.account_id);
  return row(
    request.account_id, request.key, null, request.type, 0, request.amount, null,
    v_hot.balance, v_hot.balance - v_hot.held, 'REFUSED', false, _refuse.code, null
  )::pgledger.posting;
end;
$$;

comment on function pgledger._refuse(pgledger._request, pgledger.balances, text, jsonb) is
  'The one place that refuses: raises the LG code with its words and detail, or returns it as a '
  'row when raise_refusals is false. Private.';

revoke all on function
  pgledger._refuse(pgledger._request, pgledger.balances, text, jsonb) from public;

-- functions/_conflict.sql

create or replace function pgledger._conflict(
  request pgledger._request, hot pgledger.balances,
  posted pgledger.transactions, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
begin
  return pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
    'recorded', jsonb_build_object(
      'key', coalesce(posted.key, pending.key, '#' || posted.seq),
      'type', coalesce(posted.type, pending.type),
      'amount', coalesce(
        posted.requested_amount, posted.amount, pending.requested_amount, pending.amount),
      'external_id', coalesce(posted.external_id, pending.external_id),
      'expires_at', pending.expires_at,
      'original', '#' || posted.original_seq,
      'counterparty', posted.counterparty,
      'status', coalesce(
        case when posted.seq is not null then 'POSTED' end, pending.status::text)),
    'given', jsonb_build_object(
      'key', request.key,
      'type', request.type,
      'amount', request.amount,
      'external_id', request.external_id,
      'expires_at', request.expires_at,
      'original', '#' || request.original_seq,
      'counterparty', request.counterparty,
      'announced', request.announced)));
end;
$$;

comment on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions) is
  'Refuses with LG002 and shows what is recorded beside what was given. Private.';

revoke all on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions)
  from public;

-- functions/_lock_account.sql

create or replace function pgledger._lock_account(account_id text) returns pgledger.accounts
language plpgsql
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_account pgledger.accounts;
begin
  v_request.account_id := pgledger._checked_account(_lock_account.account_id);
  v_hot := pgledger._lock_balance(_lock_account.account_id);

  select a.* into v_account
  from pgledger.accounts a
  where a.account_id = _lock_account.account_id;

  -- History without an account row was written by another system: the account exists.
  if not found and v_hot.seq = 0 then
    perform pgledger._refuse(v_request, v_hot, 'LG003', '{}');
  elsif not found then
    perform pgledger._open_if_new(_lock_account.account_id);
    select a.* into strict v_account
    from pgledger.accounts a
    where a.account_id = _lock_account.account_id;
  end if;

  perform pgledger._settle_due(v_hot);
  return v_account;
end;
$$;

comment on function pgledger._lock_account(text) is
  'Locks the balance row of an account that must exist (LG003), posts what is due on it, and '
  'returns its settings. Private.';

revoke all on function pgledger._lock_account(text) from public;

-- functions/_replay.sql

create or replace function pgledger._replay(request pgledger._request, hot pgledger.balances)
returns pgledger.posting
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
  v_pending pgledger.pending_transactions;
begin
  if request.key is not null then
    select t.* into v_posted
    from pgledger.transactions t
    where t.account_id = request.account_id and t.key = request.key;

    select p.* into v_pending
    from pgledger.pending_transactions p
    where p.account_id = request.account_id and p.key = request.key;
    v_pending.status :=
      pgledger._pending_status(v_pending.status, v_pending.expires_at, clock_timestamp());
  end if;

  if v_posted.seq is null and v_pending.key is null then
    return pgledger._replay_external_id(request, hot);
  end if;

  -- An announcement that was enabled is still repeated as the announcement it was.
  if request.announced = (v_pending.key is not null)
    and request.type = coalesce(v_pending.type, v_posted.type)
    and request.amount = coalesce(
      v_pending.requested_amount, v_pending.amount, v_posted.requested_amount, v_posted.amount)
    and request.original_seq is not distinct from v_posted.original_seq
    and request.counterparty is not distinct from v_posted.counterparty
    and request.expires_at is not distinct from v_pending.expires_at
    and (
      request.external_id is null
      or coalesce(v_posted.external_id, v_pending.external_id) is null
      or request.external_id in (v_posted.external_id, v_pending.external_id))
  then
    return pgledger._as_posting(v_posted, v_pending, hot, true);
  end if;

  return pgledger._conflict(request, hot, v_posted, v_pending);
end;
$$;

comment on function pgledger._replay(pgledger._request, pgledger.balances) is
  'The original of a repeated key or external_id; LG002 when that was for something else; null '
  'when this is new. Only under the lock of the balance row. Private.';

revoke all on function pgledger._replay(pgledger._request, pgledger.balances) from public;

-- functions/_replay_external_id.sql

create or replace function pgledger._replay_external_id(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
  v_pending pgledger.pending_transactions;
begin
  if request.external_id is null then
    return null;
  end if;

  select t.* into v_posted
  from pgledger.transactions t
  where t.account_id = request.account_id
    and t.external_id = request.external_id
    and (t.amount > 0) = (request.amount > 0);

  if not found then
    select p.* into v_pending
    from pgledger.pending_transactions p
    where p.account_id = request.account_id
      and p.external_id = request.external_id
      and (p.amount > 0) = (request.amount > 0)
      and p.key is distinct from request.key;

    if not found then
      return null;
    end if;

    select t.* into v_posted
    from pgledger.transactions t
    where t.account_id = request.account_id and t.key = v_pending.key;
  end if;

  -- Money that arrived must not be answered with an announcement that is still waiting for it.
  if (request.announced or v_posted.seq is not null)
    and request.original_seq is not distinct from v_posted.original_seq
    and request.amount = coalesce(
      v_posted.requested_amount, v_posted.amount, v_pending.requested_amount, v_pending.amount)
  then
    return pgledger._as_posting(v_posted, v_pending, hot, true);
  end if;

  return pgledger._conflict(request, hot, v_posted, v_pending);
end;
$$;

comment on function pgledger._replay_external_id(pgledger._request, pgledger.balances) is
  'The original of an external_id that had its effect under another key, in the same direction; '
  'LG002 when the amount differs or the original still waits to be enabled; null when it is new. '
  'Only under the lock of the balance row. Private.';

revoke all on function
  pgledger._replay_external_id(pgledger._request, pgledger.balances) from public;

-- functions/_original_left.sql

create or replace function pgledger._original_left(account_id text, seq bigint) returns bigint
language sql stable
begin atomic
  select abs(o.amount) - coalesce(abs((
    select sum(t.amount)
    from pgledger.transactions t
    where t.account_id = _original_left.account_id and t.original_seq = _original_left.seq
  )), 0)::bigint
  from pgledger.transactions o
  where o.account_id = _original_left.account_id and o.seq = _original_left.seq;
end;

comment on function pgledger._original_left(text, bigint) is
  'What refunds and reversals have left of a posted transaction, minor units, not negative. '
  'Private.';

revoke all on function pgledger._original_left(text, bigint) from public;

-- functions/_judge_credit.sql

create or replace function pgledger._judge_credit(
  request pgledger._request, hot pgledger.balances,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql stable
as $$
begin
  if hot.balance >= request.ceiling_balance then
    code := 'LG005';
    detail := jsonb_build_object(
      'balance', hot.balance,
      'ceiling_balance', request.ceiling_balance,
      'requested', request.amount);
    return;
  end if;

  -- least() ignores null: without a ceiling the whole amount applies.
  applied := least(request.amount, request.ceiling_balance::numeric - hot.balance)::bigint;
  perform pgledger._check_range(request, hot, applied);
end;
$$;

comment on function pgledger._judge_credit(pgledger._request, pgledger.balances) is
  'How much of a credit applies: all of it, or what fits under ceiling_balance; LG005 when '
  'nothing fits; 22003 when the balance would leave the range of bigint. Private.';

revoke all on function pgledger._judge_credit(pgledger._request, pgledger.balances) from public;

-- functions/_judge_debit.sql

create or replace function pgledger._judge_debit(
  request pgledger._request, hot pgledger.balances, min_balance bigint, debt_floor bigint,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql
as $$
declare
  v_floor bigint := case request.shortfall
    when 'DEBT' then _judge_debit.debt_floor
    else _judge_debit.min_balance
  end;
  v_room numeric := hot.balance::numeric - hot.held - v_floor;
begin
  if request.expires_at <= clock_timestamp() then
    perform pgledger._reject('expires_at', request.expires_at::text,
      'A hold expires in the future.');
  end if;

  if request.shortfall = 'FORCE' or v_room >= -request.amount then
    applied := request.amount;
    perform pgledger._check_range(request, hot, applied);
  elsif request.shortfall = 'PARTIAL' and v_room > 0 then
    applied := (-v_room)::bigint;
  else
    code := 'LG001';
    detail := jsonb_build_object(
      'balance', hot.balance,
      'held', hot.held,
      'available', hot.balance - hot.held,
      'floor', v_floor,
      'requested', -request.amount,
      'missing', -request.amount - v_room);
  end if;
end;
$$;

comment on function pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) is
  'How much of a debit applies: all of it above the floor, what is there with PARTIAL, any amount '
  'with FORCE; else LG001; 22003 when the balance would leave the range of bigint. Private.';

revoke all on function
  pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) from public;

-- functions/_judge.sql

create or replace function pgledger._judge(
  request pgledger._request, hot pgledger.balances,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql
as $$
declare
  v_account pgledger.accounts;
  v_left bigint;
begin
  select a.* into v_account
  from pgledger.accounts a
  where a.account_id = request.account_id;

  if v_account.status = 'CLOSED'
    or (v_account.status = 'FROZEN' and request.amount < 0 and request.shortfall <> 'FORCE')
  then
    code := 'LG004';
    detail := jsonb_build_object('status', v_account.status, 'requested', request.amount);
    return;
  end if;

  if request.original_seq is not null then
    v_left := pgledger._original_left(request.account_id, request.original_seq);
    if abs(request.amount) > v_left then
      code := 'LG009';
      detail := jsonb_build_object(
        'original', '#' || request.original_seq,
        'remaining', v_left,
        'requested', abs(request.amount));
      return;
    end if;
  end if;

  if request.amount > 0 then
    select c.applied, c.code, c.detail into applied, code, detail
    from pgledger._judge_credit(request, hot) c;
  else
    select d.applied, d.code, d.detail into applied, code, detail
    from pgledger._judge_debit(
      request, hot, coalesce(v_account.min_balance, 0), coalesce(v_account.debt_floor, 0)) d;
  end if;
end;
$$;

comment on function pgledger._judge(pgledger._request, pgledger.balances) is
  'Decides a new movement under the lock: the amount that applies, or the code and detail of its '
  'refusal. Private.';

revoke all on function pgledger._judge(pgledger._request, pgledger.balances) from public;

-- functions/_disarm.sql

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

-- functions/_rearm.sql

create or replace function pgledger._rearm(account_id text, key text) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_armed_below bigint;
begin
  if left(_rearm.key, 6) <> '#auto-' then
    return;
  end if;

  update pgledger.auto_top_ups s
  set waiting_for = null
  where s.account_id = _rearm.account_id and s.waiting_for = _rearm.key;

  if found then
    v_armed_below := pgledger._armed_below(_rearm.account_id);
    update pgledger.balances b
    set top_up_below = v_armed_below
    where b.account_id = _rearm.account_id;
  end if;
end;
$$;

comment on function pgledger._rearm(text, text) is
  'Arms an auto-top-up again when the intent it waited for was enabled or cancelled. Private.';

revoke all on function pgledger._rearm(text, text) from public;

-- functions/_auto_top_up_pause.sql

-- What was asked for is counted where it is recorded, newest first, so there is no counter that
-- could disagree: an intent that was cancelled drops out, one that was paid counts what was paid.
create or replace function pgledger._auto_top_up_pause(
  settings pgledger.auto_top_ups, at timestamptz
) returns timestamptz
language plpgsql stable
as $$
declare
  v_month timestamp := date_trunc('month', _auto_top_up_pause.at at time zone 'UTC');
  v_day timestamp := date_trunc('day', _auto_top_up_pause.at at time zone 'UTC');
  v_past record;
  v_daily_count bigint := 1::bigint;
  v_daily_amount numeric := settings.amount::numeric;
  v_monthly_count bigint := 1::bigint;
  v_monthly_amount numeric := settings.amount::numeric;
begin
  -- Without a limit there is nothing to count, however many there were this month.
  if num_nonnulls(settings.daily_count_limit, settings.daily_amount_limit,
    settings.monthly_count_limit, settings.monthly_amount_limit) = 0
  then
    return null;
  end if;

  for v_number in reverse settings.intents::integer..1 loop
    select coalesce(p.created_at, t.created_at) at time zone 'UTC' as created_at,
      coalesce(t.amount, p.amount) as amount,
      t.seq is not null or p.status = 'PENDING' as counts
    into v_past
    from (values ('#auto-' || v_number)) k (key)
    left join pgledger.transactions t on t.account_id = settings.account_id and t.key = k.key
    left join pgledger.pending_transactions p
      on p.account_id = settings.account_id and p.key = k.key;

    exit when v_past.created_at < v_month;
    continue when v_past.counts is not true;
    v_monthly_count := v_monthly_count + 1;
    v_monthly_amount := v_monthly_amount + v_past.amount;
    if v_past.created_at >= v_day then
      v_daily_count := v_daily_count + 1;
      v_daily_amount := v_daily_amount + v_past.amount;
    end if;
  end loop;

  return case
    when v_monthly_count > settings.monthly_count_limit
      or v_monthly_amount > settings.monthly_amount_limit
    then (v_month + interval '1 month') at time zone 'UTC'
    when v_daily_count > settings.daily_count_limit
      or v_daily_amount > settings.daily_amount_limit
    then (v_day + interval '1 day') at time zone 'UTC'
  end;
end;
$$;

comment on function pgledger._auto_top_up_pause(pgledger.auto_top_ups, timestamptz) is
  'When the period ends whose limit one more top-up would exceed, a day or a month of UTC; null '
  'when none would be. Private.';

revoke all on function pgledger._auto_top_up_pause(pgledger.auto_top_ups, timestamptz) from public;

-- functions/_next_auto_top_up.sql

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
      where t.account_id = settings.account_id and t.key = '#auto-' || v_number);
  end loop;
  return v_number;
end;
$$;

comment on function pgledger._next_auto_top_up(pgledger.auto_top_ups) is
  'The number of the next auto-top-up: the first after those counted whose key is free. Private.';

revoke all on function pgledger._next_auto_top_up(pgledger.auto_top_ups) from public;

-- functions/_request_top_up.sql

create or replace function pgledger._request_top_up(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_answer pgledger.posting;
begin
  v_answer := pgledger._announce(request, hot, request.amount);
  perform pgledger._disarm(request.account_id, request.key, null);
  perform pgledger._emit(request.account_id, 'top_up_requested', array[jsonb_build_object(
    'key', request.key,
    'amount', request.amount,
    'available', hot.balance - hot.held,
    'threshold', hot.top_up_below,
    'reference', request.reference)]);
  return v_answer;
end;
$$;

comment on function pgledger._request_top_up(pgledger._request, pgledger.balances) is
  'Records the intent of an auto-top-up, tells the outbox, and asks for no other until it is '
  'settled. Private.';

revoke all on function pgledger._request_top_up(pgledger._request, pgledger.balances) from public;

-- functions/_auto_top_up.sql

-- The one place that catches what it cannot know: whatever goes wrong with a top-up, the debit that
-- asked for it stands. What says "run the transaction again" is passed on.
create or replace function pgledger._auto_top_up(account_id text, reference text)
returns pgledger.posting
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
  v_hot := pgledger._without_due(v_hot, clock_timestamp());
  if not coalesce(v_hot.balance - v_hot.held < v_hot.top_up_below, false)
    or v_hot.attention_at = '-infinity'
  then
    return null;
  end if;

  select s.* into strict v_settings
  from pgledger.auto_top_ups s
  where s.account_id = _auto_top_up.account_id;

  v_resumes_at := pgledger._auto_top_up_pause(v_settings, clock_timestamp());
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

comment on function pgledger._auto_top_up(text, text) is
  'Tops an account up, or asks for it, when its auto-top-up is armed and available is below the '
  'threshold; at a limit it is paused until the period ends. What was recorded, or null. Only '
  'under the lock of the balance row. Private.';

revoke all on function pgledger._auto_top_up(text, text) from public;

-- functions/_watched.sql

create or replace function pgledger._watched(
  answer pgledger.posting, change bigint, reference text
) returns pgledger.posting
language plpgsql
as $$
declare
  v_answer pgledger.posting := answer;
  v_level bigint;
  v_top_up pgledger.posting;
begin
  select b.low_below into strict v_level
  from pgledger.balances b
  where b.account_id = answer.account_id;

  if answer.available < v_level and answer.available - _watched.change >= v_level then
    perform pgledger._emit(answer.account_id, 'low_balance', array[jsonb_build_object(
      'available', answer.available,
      'level', v_level,
      'key', answer.key,
      'reference', _watched.reference)]);
  end if;

  v_top_up := pgledger._auto_top_up(answer.account_id, _watched.reference);
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

-- functions/_apply.sql

create or replace function pgledger._apply(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_posted pgledger.transactions;
  v_answer pgledger.posting;
  v_change bigint := _apply.applied + coalesce(request.released, 0);
begin
  perform pgledger._open_if_new(request.account_id);

  v_hot.balance := hot.balance + _apply.applied;
  v_hot.seq := hot.seq + 1;
  v_hot.held := hot.held - coalesce(request.released, 0);
  v_hot.updated_at := greatest(hot.updated_at, clock_timestamp());

  update pgledger.balances b
  set balance = v_hot.balance, seq = v_hot.seq, updated_at = v_hot.updated_at,
      held = b.held - coalesce(request.released, 0)
  where b.account_id = request.account_id;

  insert into pgledger.transactions as t (
    account_id, seq, amount, running_balance, requested_amount, created_at, type, key, reference,
    external_id, metadata, original_seq, counterparty, counterparty_seq)
  values (
    request.account_id, v_hot.seq, _apply.applied, v_hot.balance,
    nullif(request.amount, _apply.applied), v_hot.updated_at, request.type, request.key,
    request.reference, request.external_id, request.metadata, request.original_seq,
    request.counterparty, request.counterparty_seq)
  returning t.* into v_posted;

  v_answer := pgledger._as_posting(v_posted, null, v_hot, false);
  if _apply.applied < 0
    and pgledger._is_low(v_answer.available, v_change, v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, v_change, request.reference);
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._apply(pgledger._request, pgledger.balances, bigint) is
  'Posts what was judged, under the lock. Private.';

revoke all on function pgledger._apply(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_announce.sql

create or replace function pgledger._announce(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_pending pgledger.pending_transactions;
  v_reserved bigint := greatest(-_announce.applied, 0);
  v_answer pgledger.posting;
begin
  perform pgledger._open_if_new(request.account_id);

  insert into pgledger.pending_transactions as p (
    account_id, key, amount, requested_amount, created_at, type, reference, external_id, metadata,
    expires_at)
  values (
    request.account_id, coalesce(request.key, '#' || gen_random_uuid()), _announce.applied,
    nullif(request.amount, _announce.applied), clock_timestamp(), request.type,
    request.reference, request.external_id, request.metadata, request.expires_at)
  returning p.* into v_pending;

  update pgledger.balances b
  set pending_rows = b.pending_rows + 1,
      held = b.held + v_reserved,
      attention_at = least(b.attention_at, request.expires_at)
  where b.account_id = request.account_id;

  v_hot.held := hot.held + v_reserved;
  v_answer := pgledger._as_posting(null, v_pending, v_hot, false);
  if v_reserved > 0
    and pgledger._is_low(
      v_answer.available, _announce.applied, v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, _announce.applied, request.reference);
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._announce(pgledger._request, pgledger.balances, bigint) is
  'Records what was judged as a pending transaction, under the lock; a debit reserves what it '
  'announces. Private.';

revoke all on function pgledger._announce(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_post_locked.sql

create or replace function pgledger._post_locked(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_answer pgledger.posting;
  v_applied bigint;
  v_code text;
  v_detail jsonb;
begin
  -- A repeat is answered before anything is judged: it asks for nothing.
  v_answer := pgledger._replay(request, hot);
  if v_answer.status is not null then
    perform pgledger._forget_unopened(request.account_id);
    return v_answer;
  end if;

  v_hot := pgledger._settle_due(hot);
  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(request, v_hot) j;

  if v_code is not null then
    return pgledger._refuse(request, v_hot, v_code, v_detail);
  elsif request.announced then
    return pgledger._announce(request, v_hot, v_applied);
  else
    return pgledger._apply(request, v_hot, v_applied);
  end if;
end;
$$;

comment on function pgledger._post_locked(pgledger._request, pgledger.balances) is
  'Replays, or posts what is due, judges, and records or refuses, on what is seen under the lock. '
  'Private.';

revoke all on function pgledger._post_locked(pgledger._request, pgledger.balances) from public;

-- functions/_post_under_lock.sql

create or replace function pgledger._post_under_lock(request pgledger._request)
returns pgledger.posting
language plpgsql
as $$
begin
  perform pgledger._check_request(request);
  return pgledger._post_locked(request, pgledger._lock_balance(request.account_id));
end;
$$;

comment on function pgledger._post_under_lock(pgledger._request) is
  'The slow path: checks, locks in a statement of its own, then judges under the lock. Private.';

revoke all on function pgledger._post_under_lock(pgledger._request) from public;

-- functions/_post.sql

-- The hot path. The guarded UPDATE decides: it takes the row lock, re-checks its condition on the
-- newest row after any wait, and only adds, so that what it did can be taken back when the key
-- turns out to be taken (a subtransaction would cost more than both statements).
--
-- PL/pgSQL sets each expression up anew in each transaction, so conditions are nested rather than
-- joined by AND: what was not given costs nothing. ON CONFLICT writes 40 percent more WAL
-- (its insertion is confirmed afterwards), so a movement without a key does without.
create or replace function pgledger._post(
  account_id text, amount bigint, type pgledger.transaction_type, key text, reference text,
  metadata jsonb, shortfall text, raise_refusals boolean
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_balance bigint;
  v_available bigint;
  v_seq bigint;
  v_pending_rows bigint;
  v_created_at timestamptz;
  v_is_low boolean;
  v_answer pgledger.posting;
begin
  <<try>>
  begin
    if _post.key is not null then exit try when not pgledger._is_key(_post.key); end if;
    if _post.reference is not null or _post.metadata is not null then
      exit try when not (
        pgledger._is_label(_post.reference) and pgledger._is_metadata(_post.metadata));
    end if;
    update pgledger.balances b
    set balance = b.balance + _post.amount, seq = b.seq + 1,
        updated_at = greatest(b.updated_at, v_now)
    where b.account_id = _post.account_id and b.attention_at > v_now
      and pgledger._allows(b.balance, b.held, b.floor, _post.amount)
    returning b.balance, b.balance - b.held, b.seq, b.pending_rows, b.updated_at, _post.amount < 0
      and pgledger._is_low(b.balance - b.held, _post.amount, b.low_below, b.top_up_below)
    into v_balance, v_available, v_seq, v_pending_rows, v_created_at, v_is_low;
    exit try when not found;
    <<once>>
    begin
      if _post.key is null then
        insert into pgledger.transactions (
          account_id, seq, amount, running_balance, created_at, type, reference, metadata)
        values (_post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata);
      else
        if v_pending_rows > 0 then
          exit once when exists (
            select from pgledger.pending_transactions p
            where p.account_id = _post.account_id and p.key = _post.key);
        end if;
        insert into pgledger.transactions (
          account_id, seq, amount, running_balance, created_at, type, reference, metadata, key)
        values (_post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata, _post.key)
        on conflict (account_id, key) where key is not null do nothing;
        exit once when not found;
      end if;

      v_answer := row(_post.account_id, coalesce(_post.key, '#' || v_seq), v_seq, _post.type,
        _post.amount, _post.amount, v_balance, v_balance, v_available, 'POSTED', false, null,
        v_created_at)::pgledger.posting;
      return case when v_is_low
        then pgledger._watched(v_answer, _post.amount, _post.reference) else v_answer end;
    end;

    update pgledger.balances b set balance = b.balance - _post.amount, seq = b.seq - 1
    where b.account_id = _post.account_id;
  end;
  return pgledger._post_under_lock(row(
    _post.account_id, _post.amount, _post.type, _post.key, false, null, _post.shortfall,
    _post.reference, null, _post.metadata, _post.raise_refusals, null, null, null, null, null
  )::pgledger._request);
end;
$$;

comment on function pgledger._post(
  text, bigint, pgledger.transaction_type, text, text, jsonb, text, boolean) is
  'Posts a plain movement in two statements when everything allows it, and otherwise judges it '
  'under the lock. The caller has checked amount (not 0, not the lowest bigint), type and '
  'shortfall. Private.';

revoke all on function pgledger._post(
  text, bigint, pgledger.transaction_type, text, text, jsonb, text, boolean) from public;

-- functions/_hold.sql

-- The fast path of a hold, as _post is that of a posting: one guarded UPDATE decides and only adds,
-- so that it can be taken back when the key turns out to be taken.
create or replace function pgledger._hold(
  account_id text, amount bigint, key text, expires_at timestamptz, reference text,
  metadata jsonb, raise_refusals boolean
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_key text := _hold.key;
  v_balance bigint;
  v_available bigint;
  v_is_low boolean;
  v_attention_at timestamptz;
  v_answer pgledger.posting;
begin
  <<try>>
  begin
    if _hold.key is not null then exit try when not pgledger._is_key(_hold.key); end if;
    if _hold.reference is not null or _hold.metadata is not null then
      exit try when not (
        pgledger._is_label(_hold.reference) and pgledger._is_metadata(_hold.metadata));
    end if;
    exit try when not (_hold.expires_at > v_now and _hold.expires_at < 'infinity');
    update pgledger.balances b
    set held = b.held + _hold.amount, pending_rows = b.pending_rows + 1,
        attention_at = least(b.attention_at, _hold.expires_at)
    where b.account_id = _hold.account_id
      and b.attention_at > v_now
      and b.held <= 9223372036854775807 - _hold.amount
      and pgledger._allows(b.balance, b.held, b.floor, -_hold.amount)
    returning b.balance, b.balance - b.held, pgledger._is_low(
      b.balance - b.held, -_hold.amount, b.low_below, b.top_up_below)
    into v_balance, v_available, v_is_low;
    exit try when not found;
    <<once>>
    begin
      exit once when _hold.expires_at <= clock_timestamp();
      if v_key is null then
        v_key := '#' || gen_random_uuid();
      else
        exit once when exists (
          select from pgledger.transactions t
          where t.account_id = _hold.account_id and t.key = _hold.key);
      end if;
      insert into pgledger.pending_transactions (
        account_id, key, amount, created_at, type, reference, metadata, expires_at)
      values (
        _hold.account_id, v_key, -_hold.amount, v_now, 'USAGE', _hold.reference, _hold.metadata,
        _hold.expires_at)
      on conflict (account_id, key) do nothing;
      exit once when not found;
      v_answer := row(_hold.account_id, v_key, null, 'USAGE', -_hold.amount, -_hold.amount, null,
        v_balance, v_available, 'PENDING', false, null, v_now)::pgledger.posting;
      return case when v_is_low
        then pgledger._watched(v_answer, -_hold.amount, _hold.reference) else v_answer end;
    end;
    v_attention_at := pgledger._attention_at(_hold.account_id);
    update pgledger.balances b
    set held = b.held - _hold.amount, pending_rows = b.pending_rows - 1,
        attention_at = v_attention_at
    where b.account_id = _hold.account_id;
  end;
  return pgledger._post_under_lock(row(
    _hold.account_id, -_hold.amount, 'USAGE', _hold.key, true, null, 'REFUSE', _hold.reference,
    null, _hold.metadata, _hold.raise_refusals, _hold.expires_at, null, null, null, null
  )::pgledger._request);
end;
$$;

comment on function pgledger._hold(text, bigint, text, timestamptz, text, jsonb, boolean) is
  'Reserves credits in two statements when everything allows it, and otherwise judges the hold '
  'under the lock. The caller has checked amount (above 0). Private.';

revoke all on function
  pgledger._hold(text, bigint, text, timestamptz, text, jsonb, boolean) from public;

-- functions/_capture.sql

-- The fast path of a capture. The UPDATE of the balance row takes the lock with what the hold said
-- before; whether the hold is still open is then decided under the lock, by the clock read under
-- it, and if it is not, what the UPDATE did is taken back.
create or replace function pgledger._capture(account_id text, key text, amount bigint)
returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_held bigint;
  v_type pgledger.transaction_type;
  v_reference text;
  v_external_id text;
  v_metadata jsonb;
  v_amount bigint;
  v_balance bigint;
  v_available bigint;
  v_seq bigint;
  v_created_at timestamptz;
  v_is_low boolean;
  v_answer pgledger.posting;
begin
  select -p.amount, p.type, p.reference, p.external_id, p.metadata
  into v_held, v_type, v_reference, v_external_id, v_metadata
  from pgledger.pending_transactions p
  where p.account_id = _capture.account_id and p.key = _capture.key
    and p.status = 'PENDING' and p.amount < 0;
  if not found then return null; end if;

  v_amount := coalesce(-_capture.amount, -v_held);
  if v_amount < -v_held then return null; end if;

  update pgledger.balances b
  set balance = b.balance + v_amount, seq = b.seq + 1, updated_at = greatest(b.updated_at, v_now),
      held = b.held - v_held
  where b.account_id = _capture.account_id and b.attention_at > v_now and b.held >= v_held
  returning b.balance, b.balance - b.held, b.seq, b.updated_at, pgledger._is_low(
    b.balance - b.held, v_amount + v_held, b.low_below, b.top_up_below)
  into v_balance, v_available, v_seq, v_created_at, v_is_low;
  if not found then return null; end if;

  v_now := clock_timestamp();
  update pgledger.pending_transactions p
  set status = 'ENABLED', settled_at = v_now
  where p.account_id = _capture.account_id and p.key = _capture.key
    and p.status = 'PENDING' and (p.expires_at > v_now or p.expires_at is null);
  if not found then
    update pgledger.balances b
    set balance = b.balance - v_amount, seq = b.seq - 1, held = b.held + v_held
    where b.account_id = _capture.account_id;
    return null;
  end if;

  insert into pgledger.transactions (
    account_id, seq, amount, running_balance, created_at, type, key, reference, external_id,
    metadata)
  values (
    _capture.account_id, v_seq, v_amount, v_balance, v_created_at, v_type, _capture.key,
    v_reference, v_external_id, v_metadata);

  v_answer := row(_capture.account_id, _capture.key, v_seq, v_type, v_amount, v_amount, v_balance,
    v_balance, v_available, 'POSTED', false, null, v_created_at)::pgledger.posting;
  return case when v_is_low
    then pgledger._watched(v_answer, v_amount + v_held, v_reference) else v_answer end;
end;
$$;

comment on function pgledger._capture(text, text, bigint) is
  'Captures an open hold, of amount > 0 or whole, when nothing is in the way, else null and '
  'nothing done. Private.';

revoke all on function pgledger._capture(text, text, bigint) from public;

-- functions/_settlement.sql

create or replace function pgledger._settlement(
  account_id text, key text, raise_refusals boolean
) returns pgledger._request
language plpgsql immutable parallel safe
as $$
begin
  return row(
    pgledger._checked_account(_settlement.account_id), null, null,
    pgledger._checked_key(_settlement.key), false, null, 'REFUSE', null, null, null,
    _settlement.raise_refusals, null, null, null, null, null
  )::pgledger._request;
end;
$$;

comment on function pgledger._settlement(text, text, boolean) is
  'The request to settle a pending transaction, its account and key checked. Private.';

revoke all on function pgledger._settlement(text, text, boolean) from public;

-- functions/_refuse_settled.sql

create or replace function pgledger._refuse_settled(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_status text;
begin
  select t.status into v_status
  from pgledger.get_transaction(request.account_id, request.key) t;

  if v_status is null then
    return pgledger._refuse(request, hot, 'LG006', '{}');
  end if;
  -- The reader goes by the clock of the statement: what it still sees pending expired while this
  -- call waited for its lock.
  return pgledger._refuse(request, hot, 'LG007', jsonb_build_object(
    'status', case v_status when 'PENDING' then 'EXPIRED' else v_status end));
end;
$$;

comment on function pgledger._refuse_settled(pgledger._request, pgledger.balances) is
  'Refuses to settle what is not pending: LG006 when there is no such key, LG007 with its status '
  'when there is. Private.';

revoke all on function pgledger._refuse_settled(pgledger._request, pgledger.balances) from public;

-- functions/_enable.sql

create or replace function pgledger._enable(
  request pgledger._request, hot pgledger.balances, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_final pgledger._request := request;
  v_applied bigint;
  v_code text;
  v_detail jsonb;
begin
  v_final.type := pending.type;
  v_final.reference := pending.reference;

  if pending.amount < 0 then
    -- What was reserved is there, whatever the floor and the status say now.
    v_final.shortfall := 'FORCE';
    v_final.released := -pending.amount;
    if request.amount < pending.amount then
      return pgledger._refuse(v_final, hot, 'LG009', jsonb_build_object(
        'original', pending.key, 'remaining', -pending.amount, 'requested', -request.amount));
    end if;
  end if;
  v_final.metadata :=
    case when request.metadata is null then pending.metadata
    else coalesce(pending.metadata, '{}') || request.metadata end;
  perform pgledger._check_labels(null, null, null, v_final.metadata);

  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(v_final, hot) j;
  if v_code is not null then
    return pgledger._refuse(v_final, hot, v_code, v_detail);
  end if;

  update pgledger.pending_transactions p
  set status = 'ENABLED', settled_at = pending.settled_at
  where p.account_id = pending.account_id and p.key = pending.key;

  -- What a ceiling left of the announcement is recorded beside what was asked, here too.
  if v_applied = pending.amount then
    v_final.amount := coalesce(pending.requested_amount, pending.amount);
  end if;
  perform pgledger._rearm(pending.account_id, pending.key);
  return pgledger._apply(v_final, hot, v_applied);
end;
$$;

comment on function pgledger._enable(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) is
  'Judges and posts a pending transaction with its final amount, under the lock. Private.';

revoke all on function pgledger._enable(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) from public;

-- functions/_pending_by_key.sql

create or replace function pgledger._pending_by_key(account_id text, key text, is_hold boolean)
returns pgledger.pending_transactions
language plpgsql
as $$
declare
  v_pending pgledger.pending_transactions;
begin
  select p.* into v_pending
  from pgledger.pending_transactions p
  where p.account_id = _pending_by_key.account_id and p.key = _pending_by_key.key;

  if _pending_by_key.is_hold and v_pending.amount > 0 then
    perform pgledger._reject('key', _pending_by_key.key,
      'This is an announced credit, not a hold: use enable_transaction or cancel_transaction.');
  end if;

  -- Judged by the clock read under the lock: what a reader saw as free stays free. Whoever settles
  -- it does so as of that instant, which is not past its expiry.
  v_pending.settled_at := clock_timestamp();
  v_pending.status := pgledger._pending_status(
    v_pending.status, v_pending.expires_at, v_pending.settled_at);
  return v_pending;
end;
$$;

comment on function pgledger._pending_by_key(text, text, boolean) is
  'The pending transaction of a key as it is now, settled_at being now; its key null when there '
  'is none; 22023 when it is no hold and must be one. Only under the lock of the balance row. '
  'Private.';

revoke all on function pgledger._pending_by_key(text, text, boolean) from public;

-- functions/_cancel.sql

create or replace function pgledger._cancel(
  pending pgledger.pending_transactions, hot pgledger.balances, reason text
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := hot;
  v_pending pgledger.pending_transactions;
  v_reserved bigint := greatest(-pending.amount, 0);
  v_now timestamptz := clock_timestamp();
begin
  update pgledger.pending_transactions p
  set status = 'CANCELLED', settled_at = v_now, reason = _cancel.reason
  where p.account_id = pending.account_id and p.key = pending.key
  returning p.* into strict v_pending;

  -- Nothing changes without its balance row, so that an older snapshot meets a conflict (40001).
  v_hot.held := hot.held - v_reserved;
  update pgledger.balances b
  set held = b.held - v_reserved, updated_at = greatest(b.updated_at, v_now)
  where b.account_id = pending.account_id;

  perform pgledger._rearm(pending.account_id, pending.key);
  return pgledger._as_posting(null, v_pending, v_hot, false);
end;
$$;

comment on function pgledger._cancel(pgledger.pending_transactions, pgledger.balances, text) is
  'Drops an open pending transaction, under the lock, and gives back what it reserves. Private.';

revoke all on function
  pgledger._cancel(pgledger.pending_transactions, pgledger.balances, text) from public;

-- functions/_enable_by_key.sql

create or replace function pgledger._enable_by_key(request pgledger._request, is_hold boolean)
returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request := request;
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_answer pgledger.posting;
begin
  perform pgledger._check_final_amount(request);
  -- What is due is posted before the hold is looked up: were it the other way round, one that
  -- expires between two looks at the clock would be closed, and then released once more.
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  v_pending := pgledger._pending_by_key(request.account_id, request.key, _enable_by_key.is_hold);

  v_request.amount := request.amount
    * case when _enable_by_key.is_hold or v_pending.amount < 0 then -1 else 1 end;

  -- Late money, known by its external_id, is owed to the payer whatever became of the announcement.
  if v_pending.key is null
    or (v_pending.status in ('CANCELLED', 'EXPIRED')
      and (request.external_id is null or v_pending.amount < 0))
  then
    return pgledger._refuse_settled(v_request, v_hot);
  elsif v_pending.status = 'ENABLED' then
    perform pgledger._forget_unopened(request.account_id);
    return pgledger._replay_enabled(v_request, v_hot);
  end if;

  v_request.amount := coalesce(v_request.amount, v_pending.amount);
  v_request.external_id := coalesce(request.external_id, v_pending.external_id);
  v_answer := pgledger._replay_external_id(v_request, v_hot);
  if v_answer.status is not null then
    -- It had its effect under another key: what was announced here must not have it once more.
    if v_answer.replayed and v_pending.status = 'PENDING' then
      perform pgledger._cancel(v_pending, v_hot, 'recorded as ' || v_answer.key);
      v_hot := pgledger._lock_balance(request.account_id);
      v_answer.available := v_hot.balance - v_hot.held;
    end if;
    return v_answer;
  end if;

  return pgledger._enable(v_request, v_hot, v_pending);
end;
$$;

comment on function pgledger._enable_by_key(pgledger._request, boolean) is
  'Enables the pending transaction of a key, or the hold where only a hold will do, with the '
  'final amount (above 0) where one is given. Private.';

revoke all on function pgledger._enable_by_key(pgledger._request, boolean) from public;

-- functions/_cancel_by_key.sql

create or replace function pgledger._cancel_by_key(
  request pgledger._request, reason text, is_hold boolean
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
begin
  if length(_cancel_by_key.reason) not between 1 and 1000 then
    perform pgledger._reject('reason', _cancel_by_key.reason, 'A reason has 1 to 1000 characters.');
  end if;

  -- What is due first, or a hold that expires just now would be closed and then released again.
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  v_pending := pgledger._pending_by_key(request.account_id, request.key, _cancel_by_key.is_hold);
  if v_pending.status = 'CANCELLED' then
    perform pgledger._forget_unopened(request.account_id);
    return pgledger._as_posting(null, v_pending, v_hot, true);
  elsif v_pending.status is distinct from 'PENDING' then
    return pgledger._refuse_settled(request, v_hot);
  end if;

  return pgledger._cancel(v_pending, v_hot, _cancel_by_key.reason);
end;
$$;

comment on function pgledger._cancel_by_key(pgledger._request, text, boolean) is
  'Cancels the pending transaction of a key, or the hold where only a hold will do, and gives '
  'back what it reserves. Private.';

revoke all on function pgledger._cancel_by_key(pgledger._request, text, boolean) from public;

-- functions/_undone_amount.sql

create or replace function pgledger._undone_amount(request pgledger._request) returns bigint
language sql stable
begin atomic
  select coalesce(
    (
      select abs(t.amount)
      from pgledger.transactions t
      where t.account_id = (request).account_id
        and t.original_seq = (request).original_seq
        and (t.key = (request).key or t.external_id = (request).external_id)
      order by t.seq
      limit 1
    ),
    nullif(pgledger._original_left((request).account_id, (request).original_seq), 0));
end;

comment on function pgledger._undone_amount(pgledger._request) is
  'The amount of an undoing that names none: that of the call it repeats, else all that remains '
  'of the original, else null. Private.';

revoke all on function pgledger._undone_amount(pgledger._request) from public;

-- functions/_undo.sql

create or replace function pgledger._undo(request pgledger._request, original_key text)
returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request := request;
  v_hot pgledger.balances;
  v_original pgledger.transactions;
begin
  perform pgledger._checked_key(_undo.original_key);
  if request.amount <= 0 then
    perform pgledger._reject('amount', request.amount::text,
      'Undo a positive whole number of minor units, or all that remains without an amount.');
  end if;
  -- A misuse is refused as one, whether or not there is such an original.
  v_request.amount := coalesce(request.amount, 1);
  perform pgledger._check_request(v_request);
  v_request.amount := request.amount * case request.type when 'REFUND' then -1 else 1 end;

  v_hot := pgledger._lock_balance(request.account_id);
  select t.* into v_original
  from pgledger.transactions t
  where t.account_id = request.account_id
    and (t.key = _undo.original_key or t.seq = pgledger._seq_of(_undo.original_key));

  if not found then
    return pgledger._refuse(
      v_request, v_hot, 'LG006', jsonb_build_object('original_key', _undo.original_key));
  elsif (request.type = 'REFUND') <> (v_original.type = 'TOP_UP')
    or v_original.type in ('REVERSAL', 'REFUND', 'EXPIRY', 'TRANSFER')
    or (request.type = 'REFUND' and v_original.amount < 0)
  then
    perform pgledger._reject('original_key', _undo.original_key, 'It is a ' || v_original.type
      || '. refund gives back a TOP_UP; reverse_transaction undoes USAGE, GRANT, CARD_CHECK and '
      'ADJUSTMENT; nothing undoes the others.');
  end if;

  v_request.original_seq := v_original.seq;
  v_request.amount := -sign(v_original.amount)::bigint
    * coalesce(request.amount, pgledger._undone_amount(v_request), abs(v_original.amount));
  if request.type = 'REVERSAL' then
    v_request.shortfall := 'FORCE';
  end if;
  perform pgledger._check_request(v_request);
  return pgledger._post_locked(v_request, v_hot);
end;
$$;

comment on function pgledger._undo(pgledger._request, text) is
  'Posts a refund or a reversal of a posted transaction, of the request''s amount (above 0) or of '
  'all that remains. Private.';

revoke all on function pgledger._undo(pgledger._request, text) from public;

-- functions/_judge_transfer.sql

create or replace function pgledger._judge_transfer(
  debit pgledger._request, credit pgledger._request,
  sender pgledger.balances, receiver pgledger.balances,
  out code text, out detail jsonb
)
language plpgsql
as $$
declare
  v_from_currency text;
  v_to_currency text;
begin
  select a.currency into v_from_currency
  from pgledger.accounts a
  where a.account_id = debit.account_id;
  select a.currency into v_to_currency
  from pgledger.accounts a
  where a.account_id = credit.account_id;

  -- The sender has nothing under this key, so on the receiver it stands for something else.
  if credit.key is not null
    and exists (select from pgledger.get_transaction(credit.account_id, credit.key))
  then
    code := 'LG002';
    select jsonb_build_object(
      'account_id', credit.account_id,
      'recorded', jsonb_build_object(
        'key', t.key, 'type', t.type, 'amount', t.requested_amount, 'status', t.status,
        'counterparty', t.counterparty),
      'given', jsonb_build_object(
        'key', credit.key, 'type', credit.type, 'amount', credit.amount,
        'counterparty', credit.counterparty))
    into detail
    from pgledger.get_transaction(credit.account_id, credit.key) t
    limit 1;
  elsif v_to_currency is null and receiver.seq = 0 then
    code := 'LG003';
    detail := jsonb_build_object('account_id', credit.account_id);
  elsif coalesce(v_from_currency, 'CREDIT') <> coalesce(v_to_currency, 'CREDIT') then
    perform pgledger._reject('to_account_id', credit.account_id,
      'Both accounts must have one currency; this one has '
      || coalesce(v_to_currency, 'CREDIT') || '.');
  else
    select j.code, j.detail into code, detail from pgledger._judge(debit, sender) j;
    if code is null then
      select j.code, j.detail || jsonb_build_object('account_id', credit.account_id)
      into code, detail
      from pgledger._judge(credit, receiver) j;
    end if;
  end if;
end;
$$;

comment on function pgledger._judge_transfer(
  pgledger._request, pgledger._request, pgledger.balances, pgledger.balances) is
  'The code and detail of a transfer''s refusal, or null; under both locks. Private.';

revoke all on function pgledger._judge_transfer(
  pgledger._request, pgledger._request, pgledger.balances, pgledger.balances) from public;

-- functions/_transfer.sql

create or replace function pgledger._transfer(
  debit pgledger._request, credit pgledger._request,
  sender pgledger.balances, receiver pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_debit pgledger._request := debit;
  v_credit pgledger._request := credit;
  v_from pgledger.balances;
  v_to pgledger.balances;
  v_answer pgledger.posting;
  v_code text;
  v_detail jsonb;
begin
  v_answer := pgledger._replay(debit, sender);
  if v_answer.status is not null then
    perform pgledger._forget_unopened(debit.account_id);
    perform pgledger._forget_unopened(credit.account_id);
    return v_answer;
  end if;

  v_from := pgledger._settle_due(sender);
  v_to := pgledger._settle_due(receiver);
  select j.code, j.detail into v_code, v_detail
  from pgledger._judge_transfer(debit, credit, v_from, v_to) j;
  if v_code is not null then
    perform pgledger._forget_unopened(credit.account_id);
    return pgledger._refuse(debit, v_from, v_code, v_detail);
  end if;

  v_debit.counterparty_seq := v_to.seq + 1;
  v_credit.counterparty_seq := v_from.seq + 1;
  perform pgledger._apply(v_credit, v_to, v_credit.amount);
  return pgledger._apply(v_debit, v_from, v_debit.amount);
end;
$$;

comment on function pgledger._transfer(
  pgledger._request, pgledger._request, pgledger.balances, pgledger.balances) is
  'Replays, judges and posts both legs of a transfer, under both locks. Private.';

revoke all on function pgledger._transfer(
  pgledger._request, pgledger._request, pgledger.balances, pgledger.balances) from public;

-- functions/set_account_status.sql

create or replace function pgledger.set_account_status(
  account_id text,
  status pgledger.account_status
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
  v_balance bigint;
  v_pending bigint;
  v_before pgledger.account_status;
  v_attention_at timestamptz;
  v_now timestamptz;
begin
  if set_account_status.status is null then
    perform pgledger._reject('status', null, 'One of OPEN, FROZEN, CLOSED.');
  end if;

  v_account := pgledger._lock_account(set_account_status.account_id);
  v_before := v_account.status;

  if set_account_status.status = 'CLOSED' then
    v_now := clock_timestamp();
    select b.balance, count(p.key) into strict v_balance, v_pending
    from pgledger.balances b
    left join pgledger.pending_transactions p
      on p.account_id = b.account_id
      and pgledger._pending_status(p.status, p.expires_at, v_now) = 'PENDING'
    where b.account_id = v_account.account_id
    group by b.balance;

    if v_balance <> 0 or v_pending > 0 then
      raise exception using
        errcode = '55000',
        message = 'account not empty',
        detail = jsonb_build_object(
          'account_id', v_account.account_id,
          'balance', v_balance,
          'pending', v_pending)::text,
        hint = 'Bring the balance to 0 and settle what is pending, then close the account.';
    end if;
  end if;

  update pgledger.accounts a
  set status = set_account_status.status
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  -- Away from the fast path, so that the status is looked at.
  v_attention_at := pgledger._attention_at(v_account.account_id);
  update pgledger.balances b
  set attention_at = v_attention_at
  where b.account_id = v_account.account_id;

  if v_account.status = 'FROZEN' and v_before <> 'FROZEN' then
    perform pgledger._emit(v_account.account_id, 'account_frozen', array['{}'::jsonb]);
    v_account.events := v_account.events + 1;
  end if;

  return v_account;
end;
$$;

comment on function pgledger.set_account_status(text, pgledger.account_status) is
  'Opens, freezes or closes an account and answers with its settings. FROZEN refuses debits that '
  'ask, not credits, and not movements with fail_insufficient_credits => false. CLOSED refuses '
  'everything; 55000 unless the balance is 0 and nothing is pending. A repeat changes nothing. '
  'Refuses with LG003, 55000, 22023 and 22004.';

revoke all on function
  pgledger.set_account_status(text, pgledger.account_status) from public;

-- functions/set_low_balance_level.sql

create or replace function pgledger.set_low_balance_level(
  account_id text,
  level bigint default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
begin
  v_account := pgledger._lock_account(set_low_balance_level.account_id);

  update pgledger.accounts a
  set low_balance_level = set_low_balance_level.level
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  update pgledger.balances b
  set low_below = v_account.low_balance_level
  where b.account_id = v_account.account_id;

  return v_account;
end;
$$;

comment on function pgledger.set_low_balance_level(text, bigint) is
  'Sets the level, minor units, below which available counts as low, and answers with the '
  'account''s settings: a debit or hold that crosses it records the event low_balance. Null, the '
  'default, is none. Setting it records nothing. A repeat changes nothing. Refuses with LG003, '
  '22023 and 22004.';

revoke all on function pgledger.set_low_balance_level(text, bigint) from public;

-- functions/add_transaction.sql

create or replace function pgledger.add_transaction(
  account_id text,
  amount bigint,
  type pgledger.transaction_type,
  key text default null,
  is_active boolean default true,
  ceiling_balance bigint default null,
  fail_insufficient_credits boolean default true,
  reference text default null,
  external_id text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What the fast path knows nothing of is judged under the lock, and so is what is no movement.
  if add_transaction.is_active
    and add_transaction.fail_insufficient_credits is not false
    and add_transaction.ceiling_balance is null
    and add_transaction.external_id is null
    and add_transaction.amount <> 0
    and add_transaction.amount > -9223372036854775808
    and add_transaction.type is not null
  then
    return pgledger._post(
      add_transaction.account_id, add_transaction.amount, add_transaction.type,
      add_transaction.key, add_transaction.reference, add_transaction.metadata,
      'REFUSE', add_transaction.raise_refusals);
  end if;

  return pgledger._post_under_lock(row(
    add_transaction.account_id, add_transaction.amount, add_transaction.type, add_transaction.key,
    not add_transaction.is_active, add_transaction.ceiling_balance,
    case when add_transaction.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    add_transaction.reference, add_transaction.external_id, add_transaction.metadata,
    add_transaction.raise_refusals, null, null, null, null, null
  )::pgledger._request);
end;
$$;

comment on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  boolean) is
  'Posts one movement of any type: amount > 0 credits, amount < 0 debits, in minor units. The '
  'first credit opens the account. is_active => false announces it, to be enabled or cancelled '
  'later; a debit is then a hold. ceiling_balance posts only what fits under it. '
  'fail_insufficient_credits => false debits whatever the balance, even of a frozen account (a '
  'chargeback). A repeat of the key, or of the external_id in the same direction, changes nothing '
  'and answers with the original. Refuses with LG001, LG002, LG004, LG005, 22003, 22023 and '
  '22004.';

revoke all on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  boolean) from public;

-- functions/enable_transaction.sql

create or replace function pgledger.enable_transaction(
  account_id text,
  key text,
  external_id text default null,
  metadata jsonb default null,
  amount bigint default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
begin
  v_request := pgledger._settlement(
    enable_transaction.account_id, enable_transaction.key, enable_transaction.raise_refusals);
  v_request.amount := enable_transaction.amount;
  v_request.external_id := enable_transaction.external_id;
  v_request.metadata := enable_transaction.metadata;
  return pgledger._enable_by_key(v_request, false);
end;
$$;

comment on function pgledger.enable_transaction(text, text, text, jsonb, bigint, boolean) is
  'Makes a pending transaction effective: posts it under its own key. amount > 0 is the final '
  'amount where it differs from the announced one, minor units; external_id and metadata are '
  'added (metadata is merged). A ceiling is not judged again: who paid is credited. With an '
  'external_id it also enables a credit that was cancelled. Of a hold it is the capture. When the '
  'external_id had its effect under another key, that one is the answer and this announcement is '
  'dropped. A repeat, with the same amount or none, changes nothing and answers with the posted '
  'transaction. Refuses with LG002, LG004 (closed), LG006, LG007, LG009, 22003, 22023 and 22004.';

revoke all on function
  pgledger.enable_transaction(text, text, text, jsonb, bigint, boolean) from public;

-- functions/cancel_transaction.sql

create or replace function pgledger.cancel_transaction(
  account_id text,
  key text,
  reason text default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return pgledger._cancel_by_key(
    pgledger._settlement(
      cancel_transaction.account_id, cancel_transaction.key, cancel_transaction.raise_refusals),
    cancel_transaction.reason, false);
end;
$$;

comment on function pgledger.cancel_transaction(text, text, text, boolean) is
  'Drops a pending transaction: it will not become effective, unless its money arrives after all '
  '(see enable_transaction). Its key stays taken. reason: 1 to 1000 characters, kept. A repeat '
  'changes nothing. Refuses with LG006, LG007 (already enabled), 22023 and 22004.';

revoke all on function pgledger.cancel_transaction(text, text, text, boolean) from public;

-- functions/hold.sql

create or replace function pgledger.hold(
  account_id text,
  amount bigint,
  key text default null,
  expires_at timestamptz default null,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(hold.amount > 0, false) then
    perform pgledger._reject('amount', hold.amount::text,
      'A hold is a positive whole number of minor units.');
  end if;

  return pgledger._hold(
    hold.account_id, hold.amount, hold.key, hold.expires_at, hold.reference, hold.metadata,
    hold.raise_refusals);
end;
$$;

comment on function pgledger.hold(text, bigint, text, timestamptz, text, jsonb, boolean) is
  'Reserves credits for usage whose cost is not known yet: amount > 0, minor units, of what is '
  'available above min_balance. capture spends them, release gives them back. From expires_at on, '
  'an instant in the future, it reserves nothing, with no job running; without one it stays until '
  'it is settled. The answer is PENDING, its amount negative. A repeat of the key changes nothing '
  'and answers with the original, if it repeats expires_at too: compute that once. Refuses with '
  'LG001, LG002, LG004, 22003, 22023 and 22004.';

revoke all on function
  pgledger.hold(text, bigint, text, timestamptz, text, jsonb, boolean) from public;

-- functions/capture.sql

create or replace function pgledger.capture(
  account_id text,
  key text,
  amount bigint default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_answer pgledger.posting;
begin
  if capture.metadata is null and coalesce(capture.amount > 0, true) then
    v_answer := pgledger._capture(capture.account_id, capture.key, capture.amount);
    if v_answer.status is not null then
      return v_answer;
    end if;
  end if;

  v_request := pgledger._settlement(capture.account_id, capture.key, capture.raise_refusals);
  v_request.amount := capture.amount;
  v_request.metadata := capture.metadata;
  return pgledger._enable_by_key(v_request, true);
end;
$$;

comment on function pgledger.capture(text, text, bigint, jsonb, boolean) is
  'Spends what a hold reserves, once, under the hold''s own key: amount > 0 of it, minor units, '
  'or all of it; the rest is released. metadata is merged. Also on a frozen account. A repeat, '
  'with the same amount or none, changes nothing and answers with the posted transaction. Refuses '
  'with LG002 (captured with another amount), LG006, LG007 (released, expired), LG009 (more than '
  'was held), 22023 and 22004.';

revoke all on function pgledger.capture(text, text, bigint, jsonb, boolean) from public;

-- functions/release.sql

create or replace function pgledger.release(
  account_id text,
  key text,
  reason text default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return pgledger._cancel_by_key(
    pgledger._settlement(release.account_id, release.key, release.raise_refusals),
    release.reason, true);
end;
$$;

comment on function pgledger.release(text, text, text, boolean) is
  'Gives back what a hold reserves; nothing is spent. reason: 1 to 1000 characters, kept. A '
  'repeat changes nothing. Refuses with LG006, LG007 (captured, expired), 22023 and 22004.';

revoke all on function pgledger.release(text, text, text, boolean) from public;

-- functions/refund.sql

create or replace function pgledger.refund(
  account_id text,
  original_key text,
  amount bigint default null,
  key text default null,
  external_id text default null,
  fail_insufficient_credits boolean default true,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return pgledger._undo(row(
    refund.account_id, refund.amount, 'REFUND', refund.key, false, null,
    case when refund.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    refund.reference, refund.external_id, refund.metadata, refund.raise_refusals,
    null, null, null, null, null
  )::pgledger._request, refund.original_key);
end;
$$;

comment on function pgledger.refund(
  text, text, bigint, text, text, boolean, text, jsonb, boolean) is
  'Takes back the credits of a TOP_UP whose money goes back to the payer: amount > 0 of it, minor '
  'units, or all that remains of it. May be repeated, under other keys, up to what was topped up. '
  'Credits that are spent already are not there to be taken: LG001, unless '
  'fail_insufficient_credits => false (a chargeback), which may leave a debt and also debits a '
  'frozen account. external_id is the provider''s id of the refund or dispute: it has one effect, '
  'ever. A repeat of key or external_id changes nothing and answers with the original. Refuses '
  'with LG001, LG002, LG004, LG006, LG009, 22003, 22023 (not a TOP_UP) and 22004.';

revoke all on function
  pgledger.refund(text, text, bigint, text, text, boolean, text, jsonb, boolean) from public;

-- functions/reverse_transaction.sql

create or replace function pgledger.reverse_transaction(
  account_id text,
  original_key text,
  amount bigint default null,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return pgledger._undo(row(
    reverse_transaction.account_id, reverse_transaction.amount, 'REVERSAL',
    reverse_transaction.key, false, null, 'REFUSE', reverse_transaction.reference, null,
    reverse_transaction.metadata, reverse_transaction.raise_refusals,
    null, null, null, null, null
  )::pgledger._request, reverse_transaction.original_key);
end;
$$;

comment on function pgledger.reverse_transaction(text, text, bigint, text, text, jsonb, boolean) is
  'Undoes a posted USAGE, GRANT, CARD_CHECK or ADJUSTMENT by a REVERSAL the other way: amount > 0 '
  'of it, minor units, or all that remains of it. May be repeated, under other keys, up to the '
  'original. To reverse a credit may leave a debt. A TOP_UP is undone by refund. A repeat of the '
  'key changes nothing and answers with the original reversal. Refuses with LG002, LG004 '
  '(closed), LG006, LG009, 22003, 22023 (cannot be reversed) and 22004.';

revoke all on function
  pgledger.reverse_transaction(text, text, bigint, text, text, jsonb, boolean) from public;

-- functions/transfer.sql

create or replace function pgledger.transfer(
  from_account_id text,
  to_account_id text,
  amount bigint,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_debit pgledger._request;
  v_credit pgledger._request;
  v_from pgledger.balances;
  v_to pgledger.balances;
begin
  if not coalesce(transfer.amount > 0, false) then
    perform pgledger._reject('amount', transfer.amount::text,
      'A transfer is a positive whole number of minor units.');
  end if;
  v_debit := row(
    transfer.from_account_id, -transfer.amount, 'TRANSFER', transfer.key, false, null, 'REFUSE',
    transfer.reference, null, transfer.metadata, transfer.raise_refusals,
    null, null, transfer.to_account_id, null, null)::pgledger._request;
  v_credit := v_debit;
  v_credit.account_id := pgledger._checked_account(transfer.to_account_id);
  v_credit.amount := transfer.amount;
  v_credit.counterparty := pgledger._checked_account(transfer.from_account_id);
  if transfer.from_account_id = transfer.to_account_id then
    perform pgledger._reject('to_account_id', transfer.to_account_id,
      'A transfer is between two accounts.');
  end if;
  perform pgledger._check_request(v_debit);

  -- One order for everybody, so that transfers in opposite directions wait instead of deadlocking.
  if transfer.from_account_id collate "C" < transfer.to_account_id collate "C" then
    v_from := pgledger._lock_balance(transfer.from_account_id);
    v_to := pgledger._lock_balance(transfer.to_account_id);
  else
    v_to := pgledger._lock_balance(transfer.to_account_id);
    v_from := pgledger._lock_balance(transfer.from_account_id);
  end if;
  return pgledger._transfer(v_debit, v_credit, v_from, v_to);
end;
$$;

comment on function pgledger.transfer(text, text, bigint, text, text, jsonb, boolean) is
  'Moves credits between two accounts of one currency: amount > 0, minor units; both legs are '
  'posted, or none. One key on both: a repeat changes nothing and answers with the sender''s '
  'original. The answer is the sender''s leg. The receiver must exist (LG003). Refuses with '
  'LG001, LG002, LG003, LG004 (sender frozen or closed, receiver closed), 22003, 22023 (other '
  'currency, same account) and 22004.';

revoke all on function
  pgledger.transfer(text, text, bigint, text, text, jsonb, boolean) from public;

-- functions/_store_auto_top_up.sql

create or replace function pgledger._store_auto_top_up(settings pgledger.auto_top_ups)
returns pgledger.auto_top_ups
language plpgsql
as $$
#variable_conflict use_column
declare
  v_stored pgledger.auto_top_ups;
  v_armed_below bigint;
begin
  insert into pgledger.auto_top_ups as s (
    account_id, threshold, amount, mode, enabled, daily_count_limit, daily_amount_limit,
    monthly_count_limit, monthly_amount_limit)
  values (
    settings.account_id, settings.threshold, settings.amount, settings.mode, settings.enabled,
    settings.daily_count_limit, settings.daily_amount_limit,
    settings.monthly_count_limit, settings.monthly_amount_limit)
  on conflict (account_id) do update
  set threshold = excluded.threshold, amount = excluded.amount, mode = excluded.mode,
      enabled = excluded.enabled,
      daily_count_limit = excluded.daily_count_limit,
      daily_amount_limit = excluded.daily_amount_limit,
      monthly_count_limit = excluded.monthly_count_limit,
      monthly_amount_limit = excluded.monthly_amount_limit,
      waiting_for = null, resumes_at = null
  where (s.threshold, s.amount, s.mode, s.enabled, s.daily_count_limit, s.daily_amount_limit,
      s.monthly_count_limit, s.monthly_amount_limit)
    is distinct from (excluded.threshold, excluded.amount, excluded.mode, excluded.enabled,
      excluded.daily_count_limit, excluded.daily_amount_limit,
      excluded.monthly_count_limit, excluded.monthly_amount_limit);

  select s.* into strict v_stored
  from pgledger.auto_top_ups s
  where s.account_id = settings.account_id;

  v_armed_below := pgledger._armed_below(settings.account_id);
  update pgledger.balances b
  set top_up_below = v_armed_below
  where b.account_id = settings.account_id;
  return v_stored;
end;
$$;

comment on function pgledger._store_auto_top_up(pgledger.auto_top_ups) is
  'Writes checked settings, under the lock of the balance row, and arms them when they changed. '
  'Private.';

revoke all on function pgledger._store_auto_top_up(pgledger.auto_top_ups) from public;

-- functions/set_auto_top_up.sql

create or replace function pgledger.set_auto_top_up(
  account_id text,
  threshold bigint,
  amount bigint,
  mode pgledger.auto_top_up_mode default 'INTENT',
  enabled boolean default true,
  daily_count_limit bigint default null,
  daily_amount_limit bigint default null,
  monthly_count_limit bigint default null,
  monthly_amount_limit bigint default null
) returns pgledger.auto_top_ups
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_settings pgledger.auto_top_ups;
begin
  v_settings.account_id := pgledger._checked_account(set_auto_top_up.account_id);
  v_settings.threshold := set_auto_top_up.threshold;
  v_settings.amount := set_auto_top_up.amount;
  v_settings.mode := set_auto_top_up.mode;
  v_settings.enabled := set_auto_top_up.enabled;
  v_settings.daily_count_limit := set_auto_top_up.daily_count_limit;
  v_settings.daily_amount_limit := set_auto_top_up.daily_amount_limit;
  v_settings.monthly_count_limit := set_auto_top_up.monthly_count_limit;
  v_settings.monthly_amount_limit := set_auto_top_up.monthly_amount_limit;
  perform pgledger._check_auto_top_up(v_settings);

  perform pgledger._lock_account(v_settings.account_id);
  return pgledger._store_auto_top_up(v_settings);
end;
$$;

comment on function pgledger.set_auto_top_up(
  text, bigint, bigint, pgledger.auto_top_up_mode, boolean, bigint, bigint, bigint, bigint) is
  'Sets, whole, when an account tops itself up, and answers with the settings; moves no credits. '
  'A debit or hold that leaves available below threshold records one pending TOP_UP of amount > 0 '
  '(INTENT; an event tells, enabling or cancelling it arms the next) or posts it at once '
  '(INSTANT). The limits count top-ups and their amounts per day and calendar month of UTC, '
  'cancelled ones not counted; null is no limit; at a limit it pauses until the period ends. '
  'Changed settings arm it anew; a repeat changes nothing. Amounts in minor units. Refuses with '
  'LG003, 22023 and 22004.';

revoke all on function pgledger.set_auto_top_up(
  text, bigint, bigint, pgledger.auto_top_up_mode, boolean, bigint, bigint, bigint, bigint)
  from public;

-- functions/check_auto_top_up.sql

create or replace function pgledger.check_auto_top_up(
  account_id text,
  reference text default null
) returns setof pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text := pgledger._checked_account(check_auto_top_up.account_id);
  v_hot pgledger.balances;
  v_waiting pgledger.pending_transactions;
  v_answer pgledger.posting;
begin
  perform pgledger._check_labels(null, check_auto_top_up.reference, null, null);
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_account));

  select p.* into v_waiting
  from pgledger.auto_top_ups s
  join pgledger.pending_transactions p on p.account_id = v_account and p.key = s.waiting_for
  where s.account_id = v_account;

  if found then
    return next pgledger._as_posting(null, v_waiting, v_hot, true);
  else
    v_answer := pgledger._auto_top_up(v_account, check_auto_top_up.reference);
    if v_answer.status is not null then
      return next v_answer;
    end if;
  end if;
  perform pgledger._forget_unopened(v_account);
end;
$$;

comment on function pgledger.check_auto_top_up(text, text) is
  'Tops an account up now, or asks for it, if its auto-top-up is armed and available is below the '
  'threshold; for an application to call after setting it, or after a refused spend, which '
  'records nothing. One row: the intent or the INSTANT top-up; the intent that waits already, '
  'replayed; no row when nothing is to be done. Refuses with 22023 and 22004.';

revoke all on function pgledger.check_auto_top_up(text, text) from public;

-- functions/_first_events.sql

create or replace function pgledger._first_events(at timestamptz)
returns table (account_id text, seq bigint)
language sql stable
begin atomic
  with recursive heads as (
    (
      select e.account_id, e.seq, e.visible_at
      from pgledger.events e
      where e.acked_at is null
      order by e.account_id, e.seq
      limit 1
    )
    union all
    select n.account_id, n.seq, n.visible_at
    from heads h
    cross join lateral (
      select e.account_id, e.seq, e.visible_at
      from pgledger.events e
      where e.acked_at is null and e.account_id > h.account_id
      order by e.account_id, e.seq
      limit 1
    ) n
  )
  select h.account_id, h.seq
  from heads h
  where h.visible_at <= _first_events.at
  order by h.visible_at, h.account_id collate "C";
end;

comment on function pgledger._first_events(timestamptz) is
  'The first event of each account that is not acknowledged, where it may be handed out at an '
  'instant: one index probe an account. Private.';

revoke all on function pgledger._first_events(timestamptz) from public;

-- functions/_claim_run.sql

create or replace function pgledger._claim_run(
  account_id text, first_seq bigint, limit_count bigint, visible_at timestamptz
) returns setof pgledger.events
language plpgsql
as $$
#variable_conflict use_column
declare
  v_last bigint;
begin
  select max(r.seq) into strict v_last
  from (
    select e.seq
    from pgledger.events e
    where e.account_id = _claim_run.account_id and e.acked_at is null
      and e.seq >= _claim_run.first_seq
    order by e.seq
    limit _claim_run.limit_count
  ) r;

  return query
    with claimed as (
      update pgledger.events e
      set visible_at = _claim_run.visible_at, deliveries = e.deliveries + 1
      where e.account_id = _claim_run.account_id and e.acked_at is null
        and e.seq between _claim_run.first_seq and v_last
      returning e.*
    )
    select c.* from claimed c order by c.seq;
end;
$$;

comment on function pgledger._claim_run(text, bigint, bigint, timestamptz) is
  'Hands out an account''s events from its first on, in order. Only under the lock of that event. '
  'Private.';

revoke all on function pgledger._claim_run(text, bigint, bigint, timestamptz) from public;

-- functions/claim_events.sql

-- An account's events are handed out as a run, from the first that is not acknowledged: the lock on
-- that one, and then its being invisible, keep everybody else away from the rest, so that an
-- account's events are handled in order. The first ones are found by skipping from account to
-- account, since a backlog may be thousands of events of a few accounts.
create or replace function pgledger.claim_events(
  limit_count bigint default 100,
  visibility_timeout interval default '1 minute'
) returns table (
  account_id text,
  seq bigint,
  kind text,
  payload jsonb,
  created_at timestamptz,
  deliveries bigint
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_left bigint := pgledger._checked_limit(claim_events.limit_count);
  v_now timestamptz := clock_timestamp();
  v_head record;
  v_event record;
begin
  if not coalesce(claim_events.visibility_timeout > interval '0'
    and claim_events.visibility_timeout <= interval '1 day', false)
  then
    perform pgledger._reject('visibility_timeout', claim_events.visibility_timeout::text,
      'Above 0 and at most a day.');
  end if;

  for v_head in select h.account_id, h.seq from pgledger._first_events(v_now) h loop
    exit when v_left = 0;
    perform from pgledger.events e
    where e.account_id = v_head.account_id and e.seq = v_head.seq
      and e.acked_at is null and e.visible_at <= v_now
    for update skip locked;
    continue when not found;

    for v_event in
      select c.* from pgledger._claim_run(
        v_head.account_id, v_head.seq, v_left, v_now + claim_events.visibility_timeout) c
    loop
      v_left := v_left - 1;
      return query select v_event.account_id, v_event.seq, v_event.kind, v_event.payload,
        v_event.created_at, v_event.deliveries;
    end loop;
  end loop;
end;
$$;

comment on function pgledger.claim_events(bigint, interval) is
  'Hands out up to limit_count events (1 to 10000), those of an account together and in order, '
  'and none of that account to anybody else before visibility_timeout (above 0, at most a day) is '
  'over or they are acknowledged. Handle them in the order they come, each followed by '
  'ack_events: each is handed out at least once. deliveries counts how often it was. LISTEN '
  'pgledger_events to be woken, and poll all the same. Refuses with 22023 and 22004.';

revoke all on function pgledger.claim_events(bigint, interval) from public;

-- functions/ack_events.sql

create or replace function pgledger.ack_events(account_ids text[], seqs bigint[]) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_event record;
  v_acked bigint := 0::bigint;
begin
  if ack_events.account_ids is null then
    perform pgledger._reject('account_ids', null, 'Name the account of each event.');
  end if;
  if cardinality(ack_events.account_ids) is distinct from cardinality(ack_events.seqs) then
    perform pgledger._reject('seqs', cardinality(ack_events.seqs)::text,
      'Give one seq for each account id.');
  end if;

  -- In one order for everybody, so that two of these never wait for each other.
  for v_event in
    select g.account_id, g.seq
    from unnest(ack_events.account_ids, ack_events.seqs) g (account_id, seq)
    order by g.account_id collate "C", g.seq
  loop
    if v_event.account_id is null or v_event.seq is null then
      perform pgledger._reject(
        case when v_event.account_id is null then 'account_ids' else 'seqs' end, null,
        'Name each event by its account and its seq.');
    end if;
    update pgledger.events e
    set acked_at = v_now
    where e.account_id = v_event.account_id and e.seq = v_event.seq and e.acked_at is null;
    if found then
      v_acked := v_acked + 1;
    end if;
  end loop;
  return v_acked;
end;
$$;

comment on function pgledger.ack_events(text[], bigint[]) is
  'Acknowledges events by account and seq, pairwise: they are handed out no more. Returns how '
  'many were not acknowledged before; unknown ones are not counted. A repeat changes nothing. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.ack_events(text[], bigint[]) from public;

-- functions/run_due.sql

-- Lists without locks, then settles each account by itself and skips those that somebody works on:
-- whoever does settles them. So it waits for nobody, and several can run at once.
create or replace function pgledger.run_due(limit_count bigint default 100) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_left bigint := pgledger._checked_limit(run_due.limit_count);
  v_now timestamptz := clock_timestamp();
  v_due record;
  v_hot pgledger.balances;
begin
  for v_due in
    select p.account_id
    from pgledger.pending_transactions p
    where p.status = 'PENDING' and p.expires_at <= v_now
    group by p.account_id
    order by p.account_id collate "C"
  loop
    exit when v_left = 0;
    select b.* into v_hot
    from pgledger.balances b
    where b.account_id = v_due.account_id
    for update skip locked;
    if not found and not exists (
      select from pgledger.balances b where b.account_id = v_due.account_id)
    then
      v_hot := pgledger._lock_balance(v_due.account_id);
    elsif not found then
      continue;
    end if;
    continue when v_hot.attention_at > v_now;

    perform pgledger._settle_due(v_hot);
    v_left := v_left - 1;
  end loop;

  return run_due.limit_count - v_left;
end;
$$;

comment on function pgledger.run_due(bigint) is
  'Closes expired holds across accounts, up to limit_count accounts (1 to 10000) and 100 holds of '
  'each; returns how many accounts it settled, 0 when nothing is left that nobody else works on. '
  'Only housekeeping: an expired hold reserves nothing anyway. May run any number of times, '
  'several at once. Refuses with 22023 and 22004.';

revoke all on function pgledger.run_due(bigint) from public;

-- functions/get_credits.sql

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
  where b.account_id = get_credits.account_id;

  if v_attention_at > statement_timestamp() then
    return v_available;
  end if;
  select n.balance - n.held into v_available
  from pgledger._balance_now(pgledger._checked_account(get_credits.account_id)) n;
  return v_available;
end;
$$;

comment on function pgledger.get_credits(text) is
  'Available credits as of the start of the statement, minor units: balance minus what holds '
  'reserve. 0 for an unknown account. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_credits(text) from public;

-- functions/get_balance.sql

create or replace function pgledger.get_balance(account_id text)
returns table (
  account_id text,
  currency text,
  status pgledger.account_status,
  balance bigint,
  held bigint,
  available bigint,
  min_balance bigint,
  debt_floor bigint,
  low_balance_level bigint
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select
    now.account_id,
    coalesce(a.currency, case when now.seq > 0 then 'CREDIT' end),
    coalesce(a.status, case when now.seq > 0 then 'OPEN'::pgledger.account_status end),
    now.balance,
    now.held,
    now.balance - now.held,
    coalesce(a.min_balance, 0),
    coalesce(a.debt_floor, 0),
    a.low_balance_level
  from pgledger._balance_now(pgledger._checked_account(get_balance.account_id)) now
  left join pgledger.accounts a on a.account_id = now.account_id;
end;

comment on function pgledger.get_balance(text) is
  'One row: the balance, what holds reserve of it, what is available, the account''s floors and '
  'its low-balance level, in minor units, with its currency and status. Zeros and a null status '
  'for an unknown account. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_balance(text) from public;

-- functions/check_credits.sql

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

  v_now := pgledger._balance_now(pgledger._checked_account(check_credits.account_id));
  return v_now.attention_at > '-infinity'
    and pgledger._allows(v_now.balance, v_now.held, v_now.floor, -check_credits.required);
end;
$$;

comment on function pgledger.check_credits(text, bigint) is
  'Whether a spend of required > 0 minor units would be accepted now; it promises nothing, only '
  'the spend itself decides. False for an unknown, frozen or closed account; never true when it '
  'could not be told. Refuses with 22023 and 22004.';

revoke all on function pgledger.check_credits(text, bigint) from public;

-- functions/get_transaction.sql

create or replace function pgledger.get_transaction(account_id text, key text)
returns setof pgledger.transaction
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select t.account_id, coalesce(t.key, '#' || t.seq), t.seq, t.type, t.amount,
    coalesce(t.requested_amount, t.amount), t.running_balance, 'POSTED', t.reference,
    t.external_id, coalesce(t.metadata, '{}'), t.created_at, null::timestamptz, t.original_seq,
    t.counterparty
  from pgledger.transactions t
  where t.account_id = pgledger._checked_account(get_transaction.account_id)
    and (
      t.key = pgledger._checked_key(get_transaction.key)
      or t.seq = pgledger._seq_of(get_transaction.key))
  union all
  select p.account_id, p.key, null, p.type, p.amount, coalesce(p.requested_amount, p.amount),
    null, pgledger._pending_status(p.status, p.expires_at, statement_timestamp())::text,
    p.reference, p.external_id, coalesce(p.metadata, '{}'), p.created_at, p.expires_at, null, null
  from pgledger.pending_transactions p
  where p.account_id = pgledger._checked_account(get_transaction.account_id)
    and p.key = pgledger._checked_key(get_transaction.key)
    and p.status <> 'ENABLED';
end;

comment on function pgledger.get_transaction(text, text) is
  'The transaction of a key, or of #<seq>: the posted one, or the pending one that was not '
  'enabled; no row when there is none. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_transaction(text, text) from public;

-- functions/history.sql

create or replace function pgledger.history(
  account_id text,
  limit_count bigint default 100,
  before_seq bigint default null,
  type pgledger.transaction_type default null
) returns setof pgledger.transaction
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select t.account_id, coalesce(t.key, '#' || t.seq), t.seq, t.type, t.amount,
    coalesce(t.requested_amount, t.amount), t.running_balance, 'POSTED', t.reference,
    t.external_id, coalesce(t.metadata, '{}'), t.created_at, null::timestamptz, t.original_seq,
    t.counterparty
  from pgledger.transactions t
  where t.account_id = pgledger._checked_account(history.account_id)
    and t.seq < coalesce(history.before_seq, 9223372036854775807)
    and (history.type is null or t.type = history.type)
  order by t.seq desc
  limit pgledger._checked_limit(history.limit_count);
end;

comment on function pgledger.history(text, bigint, bigint, pgledger.transaction_type) is
  'The account''s posted transactions, newest first: limit_count of them (1 to 10000), before '
  'before_seq (the seq of the last row seen) where given, of one type where given. Refuses with '
  '22023 and 22004.';

revoke all on function
  pgledger.history(text, bigint, bigint, pgledger.transaction_type) from public;

-- functions/get_auto_top_up.sql

create or replace function pgledger.get_auto_top_up(account_id text)
returns setof pgledger.auto_top_ups
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select s.*
  from pgledger.auto_top_ups s
  where s.account_id = pgledger._checked_account(get_auto_top_up.account_id);
end;

comment on function pgledger.get_auto_top_up(text) is
  'The auto-top-up of an account, and what holds it back now: waiting_for, the key of an open '
  'intent, or resumes_at, the end of a period whose limit is reached; no row when none was set. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.get_auto_top_up(text) from public;

-- functions/list_events.sql

create or replace function pgledger.list_events(
  account_id text default null,
  limit_count bigint default 100
) returns setof pgledger.events
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_events.limit_count);
begin
  if list_events.account_id is null then
    return query
      select e.*
      from pgledger.events e
      order by e.created_at desc, e.account_id collate "C", e.seq desc
      limit v_limit;
  else
    return query
      select e.*
      from pgledger.events e
      where e.account_id = pgledger._checked_account(list_events.account_id)
      order by e.seq desc
      limit v_limit;
  end if;
end;
$$;

comment on function pgledger.list_events(text, bigint) is
  'The latest events, of one account or of all, newest first, limit_count of them (1 to 10000), '
  'acknowledged or not; takes none from whoever claims them. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_events(text, bigint) from public;

-- functions/_verify_journal.sql

create or replace function pgledger._verify_journal(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, t.seq, t.key, r.expected, r.found
  from (
    select
      t.*,
      lag(t.seq, 1, 0::bigint) over w as previous_seq,
      lag(t.running_balance, 1, 0::bigint) over w as previous_balance,
      lag(t.created_at, 1, t.created_at) over w as previous_at
    from pgledger.transactions t
    where t.account_id = _verify_journal.account_id
    window w as (order by t.seq)
  ) t
  cross join lateral (values
    ('seq without a gap',
      t.seq = t.previous_seq + 1, (t.previous_seq + 1)::text, t.seq::text),
    ('running_balance is the previous one plus amount',
      t.running_balance = t.previous_balance::numeric + t.amount,
      (t.previous_balance::numeric + t.amount)::text, t.running_balance::text),
    ('created_at never decreases',
      isfinite(t.created_at) and t.created_at >= t.previous_at,
      t.previous_at::text, t.created_at::text),
    ('amount is part of requested_amount',
      coalesce(
        sign(t.requested_amount) = sign(t.amount)
          and abs(t.requested_amount::numeric) > abs(t.amount::numeric),
        t.requested_amount is null),
      t.requested_amount::text, t.amount::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_journal(text) is
  'What is wrong with the posted transactions of an account, each against the one before. Private.';

revoke all on function pgledger._verify_journal(text) from public;

-- functions/_verify_balance.sql

create or replace function pgledger._verify_balance(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, b.seq, null::text, r.expected, r.found
  from pgledger.balances b
  cross join lateral pgledger._derive_balance(b.account_id) d
  cross join lateral (values
    ('balance is the last running_balance',
      b.balance = d.balance, d.balance::text, b.balance::text),
    ('balance.seq is the last seq', b.seq = d.seq, d.seq::text, b.seq::text),
    ('held is the sum of open holds', b.held = d.held, d.held::text, b.held::text),
    ('floor is min_balance', b.floor = d.floor, d.floor::text, b.floor::text),
    ('pending_rows counts pending transactions',
      b.pending_rows = d.pending_rows, d.pending_rows::text, b.pending_rows::text),
    ('low_below is low_balance_level',
      b.low_below is not distinct from d.low_below,
      coalesce(d.low_below::text, 'none'), coalesce(b.low_below::text, 'none')),
    ('top_up_below is the armed threshold',
      b.top_up_below is not distinct from d.top_up_below,
      coalesce(d.top_up_below::text, 'none'), coalesce(b.top_up_below::text, 'none')),
    -- It may come early, as after a capture: then the next posting looks, and finds nothing due.
    ('attention_at is not after what is due',
      b.attention_at <= d.attention_at
        and (b.attention_at = '-infinity') = (d.attention_at = '-infinity'),
      d.attention_at::text, b.attention_at::text),
    ('updated_at is not before the last transaction',
      b.updated_at >= d.updated_at, d.updated_at::text, b.updated_at::text)
  ) r (rule, holds, expected, found)
  where b.account_id = _verify_balance.account_id and not r.holds
  union all
  select 'balance is the sum of amounts', b.seq, null, t.total::text, b.balance::text
  from pgledger.balances b
  cross join lateral (
    select coalesce(sum(t.amount), 0) as total
    from pgledger.transactions t
    where t.account_id = b.account_id
  ) t
  where b.account_id = _verify_balance.account_id and t.total <> b.balance;
end;

comment on function pgledger._verify_balance(text) is
  'Where the hot row of an account differs from what the other tables tell. Private.';

revoke all on function pgledger._verify_balance(text) from public;

-- functions/_verify_pending.sql

create or replace function pgledger._verify_pending(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, t.seq, p.key, r.expected, r.found
  from pgledger.pending_transactions p
  left join pgledger.transactions t on t.account_id = p.account_id and t.key = p.key
  cross join lateral (values
    ('posted exactly when enabled',
      (p.status = 'ENABLED') = (t.seq is not null), p.status::text,
      case when t.seq is null then 'not posted' else 'posted' end),
    ('posted as announced',
      coalesce(
        p.type = t.type and sign(p.amount) = sign(t.amount)
          and (p.amount > 0 or t.amount >= p.amount),
        true),
      p.type || ' ' || p.amount, t.type || ' ' || t.amount),
    ('a hold expires at expires_at, and is captured before',
      case
        when p.status = 'EXPIRED' then coalesce(p.settled_at = p.expires_at, false)
        when p.status = 'ENABLED' then coalesce(p.settled_at < p.expires_at, true)
        else true
      end,
      'expires at ' || coalesce(p.expires_at::text, 'no time'),
      p.status || ' at ' || p.settled_at),
    ('amount is part of requested_amount',
      coalesce(
        sign(p.requested_amount) = sign(p.amount)
          and abs(p.requested_amount::numeric) > abs(p.amount::numeric),
        p.requested_amount is null),
      p.requested_amount::text, p.amount::text)
  ) r (rule, holds, expected, found)
  where p.account_id = _verify_pending.account_id and not r.holds;
end;

comment on function pgledger._verify_pending(text) is
  'Where the pending transactions of an account disagree with what was posted. Private.';

revoke all on function pgledger._verify_pending(text) from public;

-- functions/_verify_account.sql

create or replace function pgledger._verify_account(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, b.seq, null::text, r.expected, r.found
  from pgledger.balances b
  left join pgledger.accounts a on a.account_id = b.account_id
  cross join lateral (values
    ('a balance row has an account',
      a.account_id is not null, 'an account', 'none'),
    ('events are counted',
      coalesce(a.events >= (
        select max(e.seq) from pgledger.events e where e.account_id = b.account_id), true),
      'at least the seq of the last', a.events::text),
    ('a closed account is empty',
      a.status is distinct from 'CLOSED'
        or (b.balance = 0 and not exists (
          select from pgledger.pending_transactions p
          where p.account_id = b.account_id
            and pgledger._pending_status(p.status, p.expires_at, statement_timestamp())
              = 'PENDING')),
      'balance 0 and nothing pending', 'balance ' || b.balance)
  ) r (rule, holds, expected, found)
  where b.account_id = _verify_account.account_id and not r.holds;
end;

comment on function pgledger._verify_account(text) is
  'Where the settings of an account disagree with its balance row. Private.';

revoke all on function pgledger._verify_account(text) from public;

-- functions/_verify_originals.sql

create or replace function pgledger._verify_originals(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, u.seq, u.key, r.expected, r.found
  from (
    select t.*, sum(t.amount) over (partition by t.original_seq order by t.seq) as undone
    from pgledger.transactions t
    where t.account_id = _verify_originals.account_id and t.original_seq is not null
  ) u
  left join pgledger.transactions o
    on o.account_id = _verify_originals.account_id and o.seq = u.original_seq
  cross join lateral (values
    ('an original is an earlier transaction',
      o.seq is not null and o.seq < u.seq, 'one before #' || u.seq, '#' || u.original_seq),
    ('a refund takes back a top-up, a reversal undoes another movement',
      coalesce(
        sign(u.amount) = -sign(o.amount)
          and u.type = case o.type when 'TOP_UP' then 'REFUND' else 'REVERSAL' end
            ::pgledger.transaction_type
          and o.type not in ('REVERSAL', 'REFUND', 'EXPIRY', 'TRANSFER'),
        true),
      'the opposite of ' || o.type || ' ' || o.amount, u.type || ' ' || u.amount),
    ('refunds and reversals are at most their original',
      coalesce(abs(u.undone) <= abs(o.amount::numeric), true),
      'at most ' || -o.amount::numeric, u.undone::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_originals(text) is
  'Where refunds and reversals of an account do not fit what they undo. Private.';

revoke all on function pgledger._verify_originals(text) from public;

-- functions/_verify_transfers.sql

create or replace function pgledger._verify_transfers(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select 'a transfer has two legs', t.seq, t.key,
    t.counterparty || ' #' || t.counterparty_seq || ' ' || -t.amount,
    coalesce(o.account_id || ' #' || o.seq || ' ' || o.amount, 'none')
  from pgledger.transactions t
  left join pgledger.transactions o
    on o.account_id = t.counterparty and o.seq = t.counterparty_seq
  where t.account_id = _verify_transfers.account_id
    and t.counterparty is not null
    and (
      o.amount = -t.amount
      and o.counterparty = t.account_id
      and o.counterparty_seq = t.seq
      and o.key is not distinct from t.key
    ) is not true;
end;

comment on function pgledger._verify_transfers(text) is
  'Where a leg of a transfer misses the other, or disagrees with it. Private.';

revoke all on function pgledger._verify_transfers(text) from public;

-- functions/_verify_auto_top_up.sql

create or replace function pgledger._verify_auto_top_up(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, s.waiting_for, r.expected, r.found
  from pgledger.auto_top_ups s
  left join pgledger.accounts a on a.account_id = s.account_id
  left join pgledger.pending_transactions p
    on p.account_id = s.account_id and p.key = s.waiting_for
  cross join lateral (values
    ('an auto-top-up has an account', a.account_id is not null, 'an account', 'none'),
    ('auto-top-ups are counted',
      pgledger._next_auto_top_up(s) = s.intents + 1,
      '#auto-' || s.intents + 1 || ' free', '#auto-' || s.intents + 1 || ' taken'),
    ('an auto-top-up waits for an open intent',
      s.waiting_for is null or (p.status = 'PENDING' and p.type = 'TOP_UP') is true,
      'a pending TOP_UP', coalesce(p.status || ' ' || p.type, 'none'))
  ) r (rule, holds, expected, found)
  where s.account_id = _verify_auto_top_up.account_id and not r.holds;
end;

comment on function pgledger._verify_auto_top_up(text) is
  'Where the auto-top-up of an account waits for what is not there. Private.';

revoke all on function pgledger._verify_auto_top_up(text) from public;

-- functions/verify.sql

create or replace function pgledger.verify(account_id text default null)
returns table (account_id text, rule text, seq bigint, key text, expected text, found text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  with subjects as (
    select case when verify.account_id is not null
      then pgledger._checked_account(verify.account_id) end as account_id
    where verify.account_id is not null
    union
    select t.account_id from pgledger.transactions t where verify.account_id is null
    union
    select p.account_id from pgledger.pending_transactions p where verify.account_id is null
    union
    select b.account_id from pgledger.balances b where verify.account_id is null
    union
    select a.account_id from pgledger.accounts a where verify.account_id is null
    union
    select u.account_id from pgledger.auto_top_ups u where verify.account_id is null
  )
  select s.account_id, v.rule, v.seq, v.key, v.expected, v.found
  from subjects s
  cross join lateral (
    select j.* from pgledger._verify_journal(s.account_id) j
    union all
    select b.* from pgledger._verify_balance(s.account_id) b
    union all
    select p.* from pgledger._verify_pending(s.account_id) p
    union all
    select a.* from pgledger._verify_account(s.account_id) a
    union all
    select o.* from pgledger._verify_originals(s.account_id) o
    union all
    select l.* from pgledger._verify_transfers(s.account_id) l
    union all
    select u.* from pgledger._verify_auto_top_up(s.account_id) u
  ) v
  union all
  select null, g.rule, null, null, g.expected, g.found
  from pgledger._verify_guard() g
  order by 1, 2, 3, 4;
end;

comment on function pgledger.verify(text) is
  'One row per disagreement between what is recorded and the ledger''s invariants, for one account '
  'or for all; no row when all is well. expected is what the rest of the record says, found what '
  'stands there. Reads one snapshot, so it is right while others write. For all accounts it reads '
  'everything.';

revoke all on function pgledger.verify(text) from public;

-- functions/_schema_version.sql

-- Written by tools/new_migration.py. In the database itself, in the transaction of the migration,
-- so that it is true also where the marks of migrations are elsewhere or lost.
create or replace function pgledger._schema_version() returns text
language sql immutable parallel safe
as $$ select '0002_holds_transfers_events' $$;

comment on function pgledger._schema_version() is
  'The newest migration that is in this database. Private.';

revoke all on function pgledger._schema_version() from public;
