-- depends: 0002_holds_transfers_events

set local lock_timeout = '2s';

-- ---- By hand: tables, types and data; safe to run again.

-- In the order in which a posting takes them, so that one in flight is waited for, not deadlocked.
lock table pgledger.balances in access exclusive mode;
lock table pgledger.transactions, pgledger.pending_transactions in access exclusive mode;
lock table pgledger.accounts in access exclusive mode;

do $$
begin
  if to_regtype('pgledger.refill_policy') is null then
    create type pgledger.refill_policy as enum ('ADD', 'TOP_UP_TO', 'RESET');
  end if;

  if to_regtype('pgledger.plan_anchor') is null then
    create type pgledger.plan_anchor as enum ('CALENDAR', 'ACCOUNT');
  end if;

  if not exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = 'pgledger._request'::regclass and a.attname = 'extend'
  ) then
    alter type pgledger._request
      add attribute credits_expire_at timestamptz,
      add attribute priority integer,
      add attribute extend interval;
  end if;

  if to_regtype('pgledger._sources') is null then
    create type pgledger._sources as (
      lots bigint[],
      amounts bigint[],
      from_pool bigint,
      unreserved bigint,
      attention_at timestamptz
    );
  end if;

  if to_regtype('pgledger._movement') is null then
    create type pgledger._movement as (
      due_at timestamptz,
      lot bigint,
      key text,
      amount bigint,
      policy pgledger.refill_policy,
      expires_at timestamptz,
      metadata jsonb,
      to_lot bigint
    );
  end if;
end;
$$;

comment on type pgledger.refill_policy is
  'ADD grants the amount each period; TOP_UP_TO fills the balance up to it; RESET grants it as a '
  'lot that expires with its period.';
comment on type pgledger.plan_anchor is
  'CALENDAR: periods begin with the day, week, month, quarter or year; ACCOUNT: where the account '
  'began the plan.';
comment on type pgledger._sources is
  'Where the credits of one movement come from: lots (null: the pool) and amounts, pairwise, in '
  'draw order, below 0 for what they get back; from_pool, what the pool loses by it; unreserved, '
  'what a hold no longer reserves in lots; and when the lots it touched end. Private.';
comment on type pgledger._movement is
  'A movement that fell due: the expiry of a lot (amount below 0), or a refill (with a key), '
  'to_lot of which will be a lot of its own. Private.';
comment on column pgledger.transaction.original_seq is
  'The seq of the transaction that a refund or reversal undoes, or whose lot expired; else null.';

-- Null is what an account without lots has, so there is nothing to fill in.
alter table pgledger.balances
  add column if not exists pool bigint,
  add column if not exists held_in_lots bigint,
  add column if not exists head_lot bigint,
  add column if not exists head_left bigint,
  add column if not exists cap_left bigint;
comment on column pgledger.balances.pool is
  'What of the balance is in no lot, with what holds reserve of it; negative is a debt. Null while '
  'the account never had a lot: the pool is the balance then. Minor units.';
comment on column pgledger.balances.held_in_lots is
  'What open holds reserve in lots; the rest of held is reserved in the pool. Minor units.';
comment on column pgledger.balances.head_lot is
  'The lot that pays next; null: the pool does.';
comment on column pgledger.balances.head_left is
  'What can still be drawn from the head, minor units: the truth about the head lot, whose own row '
  'is written when the head moves; for the pool a bound only where lots come after it, else null.';
comment on column pgledger.balances.cap_left is
  'What the spending cap leaves in its period, minor units, below 0 when captures went beyond; '
  'null: no cap.';

alter table pgledger.transactions add column if not exists lot bigint;
comment on column pgledger.transactions.lot is
  'The lot that paid for all of a debit, or got all of a reversal back, by the seq of the '
  'transaction that made it; null: the pool; 0: several did, see draws.';
comment on column pgledger.transactions.original_seq is
  'Which transaction of the account a refund or reversal undoes, in part or whole; of an expiry, '
  'the credit whose lot expired; else null.';

alter table pgledger.pending_transactions
  add column if not exists lot bigint,
  add column if not exists credits_expire_at timestamptz,
  add column if not exists priority integer;
comment on column pgledger.pending_transactions.lot is
  'The lot in which a hold reserves all of it; null: the pool; 0: several, see reservations.';
comment on column pgledger.pending_transactions.credits_expire_at is
  'When the credits of an announced credit expire; null: never. Not when the announcement does.';
comment on column pgledger.pending_transactions.priority is
  'The priority of the lot that an announced credit will form; null: 0.';

create table if not exists pgledger.lots (
  account_id text not null,
  seq bigint not null,
  priority integer not null,
  expires_at timestamptz not null,
  amount bigint not null,
  remaining bigint not null,
  expired bigint not null default 0,
  granted_expires_at timestamptz not null,
  constraint lots_pkey primary key (account_id, seq),
  constraint lots_amounts_in_range check (
    remaining >= 0 and expired >= 0 and amount >= remaining)
);

-- In draw order. What is used up is in neither index, however much of it lies behind an account.
create index if not exists lots_open
  on pgledger.lots (account_id, priority, expires_at, seq) where remaining > 0;
create index if not exists lots_due
  on pgledger.lots (expires_at) where remaining > 0 and expires_at < 'infinity';

comment on table pgledger.lots is
  'Credits with an expiry or a priority of their own, one row per credit that has either. They are '
  'drawn by priority, then expiry, then age; the pool, which is all the rest, stands at priority 0 '
  'and never expires.';
comment on column pgledger.lots.seq is
  'The seq of the transaction that made the lot, and so the lot''s name.';
comment on column pgledger.lots.priority is 'Lower is drawn first; the pool''s is 0.';
comment on column pgledger.lots.expires_at is
  'From this instant on what remains is neither in the balance nor spendable; infinity: never.';
comment on column pgledger.lots.amount is
  'What the credit brought after it paid a debt, minor units.';
comment on column pgledger.lots.remaining is
  'What can still be drawn, minor units. For the head lot of an account balances.head_left is the '
  'truth, and this row is written when the head moves.';
comment on column pgledger.lots.expired is 'What expired of it, minor units.';
comment on column pgledger.lots.granted_expires_at is
  'The expires_at it was granted with; an extension or a revocation changes expires_at only.';

create table if not exists pgledger.plans (
  code text not null,
  amount bigint not null,
  period interval not null,
  policy pgledger.refill_policy not null,
  anchor pgledger.plan_anchor not null,
  time_zone text not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint plans_pkey primary key (code),
  -- As _is_label() has it, and short enough to be part of a key.
  constraint plans_code_shape check (
    length(code) between 1 and 200 and code !~ '[\u0001-\u001f\u007f-\u009f]'),
  constraint plans_amount_positive check (amount > 0),
  constraint plans_period_of_days check (period >= interval '1 day')
);

comment on table pgledger.plans is
  'What an account on a plan is granted, and when. Never changed, so that a refill is the same '
  'whenever it is posted; other terms are another plan. Shared by all accounts.';
comment on column pgledger.plans.amount is
  'What a refill grants, or with TOP_UP_TO what it fills the balance up to. Minor units, above 0.';
comment on column pgledger.plans.period is
  'How far one refill is from the next: whole days or whole months.';
comment on column pgledger.plans.policy is
  'ADD grants the amount each period; TOP_UP_TO fills up to it; RESET grants it as a lot that '
  'expires with the period.';
comment on column pgledger.plans.anchor is
  'CALENDAR: periods begin with the day, the week (on Monday), the month, quarter or year; '
  'ACCOUNT: they are counted from where the account began the plan.';
comment on column pgledger.plans.time_zone is
  'In whose local time the periods are counted: a name of pg_timezone_names.';

create table if not exists pgledger.account_plans (
  account_id text not null,
  plan text not null,
  starts_at timestamptz not null,
  refill_at timestamptz not null,
  next_plan text,
  constraint account_plans_pkey primary key (account_id),
  constraint account_plans_plan_known foreign key (plan) references pgledger.plans (code),
  constraint account_plans_next_plan_known
    foreign key (next_plan) references pgledger.plans (code),
  constraint account_plans_next_plan_differs check (next_plan <> plan)
);

create index if not exists account_plans_due on pgledger.account_plans (refill_at);

comment on table pgledger.account_plans is
  'Which plan an account is on. No foreign key to accounts, as the journal has none; verify() '
  'holds that rule.';
comment on column pgledger.account_plans.plan is
  'The code of its plan; from refill_at on that is next_plan, where one waits.';
comment on column pgledger.account_plans.starts_at is
  'When the account began the plan: where the periods of an ACCOUNT plan are counted from.';
comment on column pgledger.account_plans.refill_at is
  'When the next refill falls due. What it grants is posted by the first write from then on, as '
  'of this instant.';
comment on column pgledger.account_plans.next_plan is
  'The code of the plan that takes over at refill_at; null: the plan goes on.';

create table if not exists pgledger.spending_caps (
  account_id text not null,
  amount bigint not null,
  period interval not null,
  time_zone text not null,
  resets_at timestamptz not null,
  constraint spending_caps_pkey primary key (account_id),
  constraint spending_caps_amount_in_range check (amount >= 0),
  constraint spending_caps_period_of_days check (period >= interval '1 day')
);

comment on table pgledger.spending_caps is
  'How much of its credits an account may use in each period of the calendar. What is left of it '
  'now is balances.cap_left.';
comment on column pgledger.spending_caps.amount is
  'At most so much is spent in a period, minor units; 0: nothing.';
comment on column pgledger.spending_caps.period is
  'A day, a week (from Monday), a month, a quarter or a year of the calendar.';
comment on column pgledger.spending_caps.time_zone is
  'In whose local time the periods are counted: a name of pg_timezone_names.';
comment on column pgledger.spending_caps.resets_at is
  'The end of the period that balances.cap_left is about; from then on all of the cap is left.';

-- Who may call what is dropped here may call what takes its place: granted again at the end.
do $$
begin
  perform pg_catalog.set_config('pgledger.kept_grants', (
    select coalesce(jsonb_agg(jsonb_build_object(
      'function', p.proname, 'grantee', g.grantee, 'grantable', g.is_grantable)), '[]')::text
    from pg_catalog.pg_proc p
    cross join lateral pg_catalog.aclexplode(p.proacl) g
    where p.pronamespace = 'pgledger'::regnamespace
      and g.grantee <> p.proowner
      and p.proname in ('add_transaction', 'get_balance', 'grant_credits', 'reverse_transaction', 'top_up')), false);
end
$$;

drop function if exists pgledger._auto_top_up(text, text);

drop function if exists pgledger._pending_by_key(text, text, boolean);

drop function if exists pgledger.add_transaction(text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb, boolean);

drop function if exists pgledger.get_balance(text);

drop function if exists pgledger.grant_credits(text, bigint, text, text, jsonb, boolean);

drop function if exists pgledger.reverse_transaction(text, text, bigint, text, text, jsonb, boolean);

drop function if exists pgledger.top_up(text, bigint, text, boolean, bigint, text, text, jsonb, boolean);

-- schema/draws.sql

create table if not exists pgledger.draws (
  account_id text not null,
  seq bigint not null,
  place bigint not null,
  lot bigint,
  amount bigint not null,
  constraint draws_pkey primary key (account_id, seq, place)
);

comment on table pgledger.draws is
  'Which lots paid how much of a transaction, where several did; where one did, its column lot '
  'says so. See the view transaction_draws for both.';
comment on column pgledger.draws.seq is 'The seq of the transaction.';
comment on column pgledger.draws.place is '1, 2, 3 and so on, in draw order.';
comment on column pgledger.draws.lot is 'The lot that paid, by its seq; null: the pool.';
comment on column pgledger.draws.amount is
  'Minor units: above 0 what was drawn, below 0 what a reversal gave back.';

create or replace view pgledger.transaction_draws as
select t.account_id, t.seq, coalesce(d.place, 1) as place,
  case when t.lot = 0 then d.lot else t.lot end as lot,
  case when t.lot = 0 then d.amount else -t.amount end as amount
from pgledger.transactions t
left join pgledger.draws d on t.lot = 0 and d.account_id = t.account_id and d.seq = t.seq
where t.amount < 0 or t.lot is not null or t.type = 'REVERSAL';

comment on view pgledger.transaction_draws is
  'Which lot paid how much of each debit, or got how much back of each reversal: one row per '
  'source, whether one paid or several did.';
comment on column pgledger.transaction_draws.seq is 'The seq of the transaction.';
comment on column pgledger.transaction_draws.place is '1, 2, 3 and so on, in draw order.';
comment on column pgledger.transaction_draws.lot is 'The lot, by its seq; null: the pool.';
comment on column pgledger.transaction_draws.amount is
  'Minor units: above 0 what was drawn, below 0 what was given back.';

create table if not exists pgledger.reservations (
  account_id text not null,
  key text not null,
  place bigint not null,
  lot bigint,
  amount bigint not null,
  constraint reservations_pkey primary key (account_id, key, place)
);

comment on table pgledger.reservations is
  'In which lots an open hold reserves how much, where it does in several; where it does in one, '
  'pending_transactions.lot says so. Gone when the hold is settled.';
comment on column pgledger.reservations.key is 'The key of the hold.';
comment on column pgledger.reservations.place is '1, 2, 3 and so on, in draw order.';
comment on column pgledger.reservations.lot is 'The lot, by its seq; null: the pool.';
comment on column pgledger.reservations.amount is 'Minor units, above 0.';

-- functions/_allows.sql

-- Neither side may overflow, whatever the bigints: a difference is taken only between operands of
-- one sign, and a sum (floor <= 0 <= held) only between operands of opposite signs.
create or replace function pgledger._allows(
  balance bigint, held bigint, floor bigint, amount bigint
) returns boolean
language sql immutable parallel safe
return case
  when amount > 0 then balance <= 9223372036854775807 - amount
  when balance >= 0 then balance + amount >= floor + held
  else balance - least(floor + held, 0) >= -amount
end;

comment on function pgledger._allows(bigint, bigint, bigint, bigint) is
  'Whether a balance allows a movement over the whole range of bigint but its lowest: a credit '
  'must not overflow it, a debit must leave balance - held at or above the floor. Small enough '
  'for the planner to inline. Private.';

revoke all on function pgledger._allows(bigint, bigint, bigint, bigint) from public;

-- functions/_fits.sql

create or replace function pgledger._fits(
  head_lot bigint, head_left bigint, cap_left bigint, amount bigint, counts boolean
) returns boolean
language sql immutable parallel safe
return case
    when amount < 0 then head_left is null or head_left >= -amount
    else head_lot is null
  end
  and (cap_left is null or (counts and cap_left >= -amount));

comment on function pgledger._fits(bigint, bigint, bigint, bigint, boolean) is
  'Whether a movement can do without looking at lots and the cap''s period: a debit that the '
  'head alone pays, a credit to the pool while the pool is the head; under a spending cap only '
  'what counts towards it, and fits. Null columns are what the account does not have. Small '
  'enough for the planner to inline. Private.';

revoke all on function pgledger._fits(bigint, bigint, bigint, bigint, boolean) from public;

-- functions/_forms_lot.sql

create or replace function pgledger._forms_lot(request pgledger._request) returns boolean
language sql immutable parallel safe
return (request).amount > 0
  and ((request).credits_expire_at is not null or coalesce((request).priority, 0) <> 0);

comment on function pgledger._forms_lot(pgledger._request) is
  'Whether a movement is a credit with an expiry or a priority of its own. Private.';

revoke all on function pgledger._forms_lot(pgledger._request) from public;

-- functions/_checked_span.sql

create or replace function pgledger._checked_span(parameter text, span interval) returns interval
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(
    _checked_span.span > interval '0' and _checked_span.span <= interval '100 years', false)
  then
    perform pgledger._reject(_checked_span.parameter, _checked_span.span::text,
      'A time above 0, and at most 100 years.');
  end if;
  return _checked_span.span;
end;
$$;

comment on function pgledger._checked_span(text, interval) is
  'The time span of a parameter, or 22023 (22004 for null) when it is not above 0 and at most '
  '100 years. Private.';

revoke all on function pgledger._checked_span(text, interval) from public;

-- functions/_check_reason.sql

create or replace function pgledger._check_reason(reason text) returns void
language plpgsql
as $$
begin
  if length(_check_reason.reason) not between 1 and 1000 then
    perform pgledger._reject('reason', _check_reason.reason, 'A reason has 1 to 1000 characters.');
  end if;
end;
$$;

comment on function pgledger._check_reason(text) is
  'Refuses (22023) a reason that is empty or too long. Null is not given, and fine. Private.';

revoke all on function pgledger._check_reason(text) from public;

-- functions/_asked.sql

create or replace function pgledger._asked(
  account_id text, amount bigint, type pgledger.transaction_type, key text, shortfall text,
  reference text, metadata jsonb, raise_refusals boolean
) returns pgledger._request
language plpgsql immutable parallel safe
as $$
declare
  v_request pgledger._request;
begin
  v_request.account_id := _asked.account_id;
  v_request.amount := _asked.amount;
  v_request.type := _asked.type;
  v_request.key := _asked.key;
  v_request.announced := false;
  v_request.shortfall := _asked.shortfall;
  v_request.reference := _asked.reference;
  v_request.metadata := _asked.metadata;
  v_request.raise_refusals := _asked.raise_refusals;
  return v_request;
end;
$$;

comment on function pgledger._asked(
  text, bigint, pgledger.transaction_type, text, text, text, jsonb, boolean) is
  'A movement as asked for, to be posted at once unless the caller says otherwise of it. '
  'Private.';

revoke all on function pgledger._asked(
  text, bigint, pgledger.transaction_type, text, text, text, jsonb, boolean) from public;

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
  if not isfinite(request.credits_expire_at) then
    perform pgledger._reject('expires_at', request.credits_expire_at::text,
      'Give a finite point in time, or none for credits that never expire.');
  end if;
  if request.amount < 0
    and (request.credits_expire_at is not null or coalesce(request.priority, 0) <> 0)
  then
    perform pgledger._reject(
      case when request.credits_expire_at is null then 'priority' else 'expires_at' end,
      coalesce(request.credits_expire_at::text, request.priority::text),
      'Only credits have a priority and expire; a debit draws from what is there.');
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

-- functions/_checked_period.sql

-- By its fields: PostgreSQL takes a month for equal to 30 days.
create or replace function pgledger._checked_period(
  period interval, anchor pgledger.plan_anchor
) returns interval
language plpgsql immutable
as $$
declare
  v_months numeric := extract(year from period) * 12 + extract(month from period);
  v_days numeric := extract(day from period);
  v_seconds numeric := extract(hour from period) * 3600 + extract(minute from period) * 60
    + extract(second from period);
begin
  if _checked_period.anchor = 'CALENDAR'
    and not coalesce((v_months, v_days, v_seconds) in (
      (0, 1, 0), (0, 7, 0), (1, 0, 0), (3, 0, 0), (12, 0, 0)), false)
  then
    perform pgledger._reject('period', _checked_period.period::text,
      'A period of the calendar is 1 day, 7 days, 1 month, 3 months or 12 months.');
  end if;
  if not coalesce(v_seconds = 0 and (
    v_months = 0 and v_days between 1 and 36525
    or v_days = 0 and v_months between 1 and 1200), false)
  then
    perform pgledger._reject('period', _checked_period.period::text,
      'A period is whole days or whole months, up to 100 years.');
  end if;
  return _checked_period.period;
end;
$$;

comment on function pgledger._checked_period(interval, pgledger.plan_anchor) is
  'The period, or 22023 (22004 for null) when accounts cannot be refilled, or caps reset, by it. '
  'Private.';

revoke all on function pgledger._checked_period(interval, pgledger.plan_anchor) from public;

-- functions/_checked_time_zone.sql

create or replace function pgledger._checked_time_zone(time_zone text) returns text
language plpgsql stable
as $$
begin
  if not exists (
    select from pg_catalog.pg_timezone_names z where z.name = _checked_time_zone.time_zone
  ) then
    perform pgledger._reject('time_zone', _checked_time_zone.time_zone,
      'Use a name of pg_timezone_names, such as UTC or Europe/Berlin.');
  end if;
  return _checked_time_zone.time_zone;
end;
$$;

comment on function pgledger._checked_time_zone(text) is
  'The time zone, or 22023 (22004 for null) when it is not the name of one: abbreviations and '
  'offsets know no summer time. Private.';

revoke all on function pgledger._checked_time_zone(text) from public;

-- functions/_check_plan.sql

create or replace function pgledger._check_plan(plan pgledger.plans) returns void
language plpgsql
as $$
begin
  -- Short enough to be part of a key.
  if not coalesce(pgledger._is_label(plan.code) and length(plan.code) <= 200, false) then
    perform pgledger._reject('code', plan.code,
      'A code has 1 to 200 characters, none of them a control character.');
  end if;
  if not coalesce(plan.amount > 0, false) then
    perform pgledger._reject('amount', plan.amount::text,
      'A refill is a positive whole number of minor units.');
  end if;
  if plan.policy is null then
    perform pgledger._reject('policy', null, 'One of ADD, TOP_UP_TO, RESET.');
  end if;
  if plan.anchor is null then
    perform pgledger._reject('anchor', null, 'One of CALENDAR, ACCOUNT.');
  end if;
  perform pgledger._checked_period(plan.period, plan.anchor);
  perform pgledger._checked_time_zone(plan.time_zone);
  perform pgledger._check_labels(null, null, null, plan.metadata);
end;
$$;

comment on function pgledger._check_plan(pgledger.plans) is
  'Refuses (22023, 22004) terms that no account could be refilled by. Private.';

revoke all on function pgledger._check_plan(pgledger.plans) from public;

-- functions/_check_assignment.sql

create or replace function pgledger._check_assignment(
  plan text, starts_at timestamptz, at_once boolean, expire_allowance boolean
) returns void
language plpgsql stable
as $$
begin
  if not exists (select from pgledger.plans p where p.code = _check_assignment.plan) then
    perform pgledger._reject('plan', _check_assignment.plan,
      'Use the code of a plan, or create it first.');
  end if;
  -- Within these years a date has ten characters.
  if _check_assignment.starts_at not between '0002-01-01Z' and '9000-01-01Z' then
    perform pgledger._reject('starts_at', _check_assignment.starts_at::text,
      'Give a point in time of the years 2 to 8999.');
  end if;
  if _check_assignment.at_once is null then
    perform pgledger._reject('at_once', null, 'true or false.');
  end if;
  if _check_assignment.at_once and _check_assignment.starts_at is not null then
    perform pgledger._reject('starts_at', _check_assignment.starts_at::text,
      'A plan begins at once, or at starts_at: give one of the two.');
  end if;
  if _check_assignment.expire_allowance is null then
    perform pgledger._reject('expire_allowance', null, 'true or false.');
  end if;
  if _check_assignment.expire_allowance and not _check_assignment.at_once then
    perform pgledger._reject('expire_allowance', 'true',
      'An allowance is only ended before its time when the plan changes at once.');
  end if;
end;
$$;

comment on function pgledger._check_assignment(text, timestamptz, boolean, boolean) is
  'Refuses (22023, 22004) what assign_plan cannot be asked. Private.';

revoke all on function
  pgledger._check_assignment(text, timestamptz, boolean, boolean) from public;

-- functions/_utc.sql

create or replace function pgledger._utc(at timestamptz) returns text
language sql stable parallel safe
return to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

comment on function pgledger._utc(timestamptz) is
  'An instant as JSON has it, whatever the session''s time zone. Private.';

revoke all on function pgledger._utc(timestamptz) from public;

-- functions/_period_local.sql

create or replace function pgledger._period_local(
  period interval, time_zone text, anchor timestamptz, number bigint
) returns timestamp
language sql immutable parallel safe
begin atomic
  -- 1 January 2001 was a Monday: a day, a week, a month, a quarter and a year begin with it.
  select coalesce(
      _period_local.anchor at time zone _period_local.time_zone, timestamp '2001-01-01')
    + _period_local.period * _period_local.number::double precision;
end;

comment on function pgledger._period_local(interval, text, timestamptz, bigint) is
  'The local time at which the numbered period begins, always counted from the anchor, so that '
  '31 January leads to 31 March; without an anchor, from the calendar. Private.';

revoke all on function pgledger._period_local(interval, text, timestamptz, bigint) from public;

-- functions/_period_begin.sql

-- A local time that the clocks skip is read as if they had not been put forward yet. Of one that
-- comes twice the server takes the second; a period begins with the first, which is found by the
-- offset of a day before. Hours only: a day of a timestamptz is one of the session's time zone.
create or replace function pgledger._period_begin(
  period interval, time_zone text, anchor timestamptz, number bigint
) returns timestamptz
language plpgsql immutable parallel safe
as $$
declare
  v_local timestamp := pgledger._period_local(
    _period_begin.period, _period_begin.time_zone, _period_begin.anchor, _period_begin.number);
  v_begin timestamptz := v_local at time zone _period_begin.time_zone;
  v_day_before timestamptz := v_begin - interval '24 hours';
  v_first timestamptz;
begin
  -- An anchor may itself be the second of two that read alike.
  if _period_begin.number = 0 and _period_begin.anchor is not null then
    return _period_begin.anchor;
  end if;

  v_first := (v_local
    - (v_day_before at time zone _period_begin.time_zone - v_day_before at time zone 'UTC')
  ) at time zone 'UTC';
  return case
    when v_first at time zone _period_begin.time_zone = v_local then v_first
    else v_begin
  end;
end;
$$;

comment on function pgledger._period_begin(interval, text, timestamptz, bigint) is
  'The instant at which the numbered period begins in a time zone: 0 at the anchor, or with '
  '1 January 2001 where there is none. Private.';

revoke all on function pgledger._period_begin(interval, text, timestamptz, bigint) from public;

-- functions/_period_number.sql

create or replace function pgledger._period_number(
  period interval, time_zone text, anchor timestamptz, at timestamptz
) returns bigint
language plpgsql immutable parallel safe
as $$
declare
  v_from timestamp := pgledger._period_local(
    _period_number.period, _period_number.time_zone, _period_number.anchor, 0);
  v_to timestamp := _period_number.at at time zone _period_number.time_zone;
  v_months numeric := extract(year from period) * 12 + extract(month from period);
  v_number bigint;
begin
  -- By local time this is right but for one: compare the instants, from the one after it down.
  v_number := 1 + floor(case
    when v_months > 0 then
      ((extract(year from v_to) - extract(year from v_from)) * 12
        + extract(month from v_to) - extract(month from v_from)) / v_months
    else extract(epoch from v_to - v_from) / (extract(day from period) * 86400)
  end)::bigint;
  while pgledger._period_begin(
    _period_number.period, _period_number.time_zone, _period_number.anchor, v_number)
    > _period_number.at
  loop
    v_number := v_number - 1;
  end loop;
  return v_number;
end;
$$;

comment on function pgledger._period_number(interval, text, timestamptz, timestamptz) is
  'The number of the period that holds an instant: the last one that begins at it or before. Of '
  'periods that begin together, because the clocks skipped what was between, all but the last '
  'hold nothing. Private.';

revoke all on function
  pgledger._period_number(interval, text, timestamptz, timestamptz) from public;

-- functions/_period_start.sql

create or replace function pgledger._period_start(
  period interval, time_zone text, anchor timestamptz, at timestamptz
) returns timestamptz
language sql immutable parallel safe
begin atomic
  select pgledger._period_begin(
    _period_start.period, _period_start.time_zone, _period_start.anchor,
    pgledger._period_number(
      _period_start.period, _period_start.time_zone, _period_start.anchor, _period_start.at));
end;

comment on function pgledger._period_start(interval, text, timestamptz, timestamptz) is
  'When the period began that holds an instant; counted in local time from the anchor, or where '
  'it is null from the calendar, in which weeks begin on Monday. Private.';

revoke all on function
  pgledger._period_start(interval, text, timestamptz, timestamptz) from public;

-- functions/_period_end.sql

create or replace function pgledger._period_end(
  period interval, time_zone text, anchor timestamptz, at timestamptz
) returns timestamptz
language sql immutable parallel safe
begin atomic
  select pgledger._period_begin(
    _period_end.period, _period_end.time_zone, _period_end.anchor,
    pgledger._period_number(
      _period_end.period, _period_end.time_zone, _period_end.anchor, _period_end.at) + 1);
end;

comment on function pgledger._period_end(interval, text, timestamptz, timestamptz) is
  'When the period ends that holds an instant: always after it, and where the next one begins. '
  'Private.';

revoke all on function pgledger._period_end(interval, text, timestamptz, timestamptz) from public;

-- functions/_period_anchor.sql

create or replace function pgledger._period_anchor(
  assignment pgledger.account_plans, plan pgledger.plans
) returns timestamptz
language sql immutable parallel safe
return case when (plan).anchor = 'ACCOUNT' then (assignment).starts_at end;

comment on function pgledger._period_anchor(pgledger.account_plans, pgledger.plans) is
  'Where the periods of a plan are counted from on an account; null: by the calendar. Private.';

revoke all on function pgledger._period_anchor(pgledger.account_plans, pgledger.plans) from public;

-- functions/_plan_now.sql

create or replace function pgledger._plan_now(account_id text, at timestamptz)
returns setof pgledger.account_plans
language sql stable
begin atomic
  select
    p.account_id,
    case when s.over then p.next_plan else p.plan end,
    case when s.over then p.refill_at else p.starts_at end,
    p.refill_at,
    case when s.over then null else p.next_plan end
  from pgledger.account_plans p
  cross join lateral (
    values (p.next_plan is not null and p.refill_at <= _plan_now.at)
  ) s (over)
  where p.account_id = _plan_now.account_id;
end;

comment on function pgledger._plan_now(text, timestamptz) is
  'The plan an account is on at an instant: where a change of plan fell due, the new one, begun '
  'when it did. refill_at is as recorded. Private.';

revoke all on function pgledger._plan_now(text, timestamptz) from public;

-- functions/_refill_key.sql

-- The day as the plan counts it: where clocks skip midnight two periods can begin on one date.
create or replace function pgledger._refill_key(
  plan pgledger.plans, anchor timestamptz, number bigint
) returns text
language sql stable
begin atomic
  select '#refill-' || (plan).code || '-' || to_char(
    pgledger._period_local(
      (plan).period, (plan).time_zone, _refill_key.anchor, _refill_key.number),
    'YYYY-MM-DD');
end;

comment on function pgledger._refill_key(pgledger.plans, timestamptz, bigint) is
  'The key of the refill of a plan''s numbered period, by which it is granted once. Private.';

revoke all on function pgledger._refill_key(pgledger.plans, timestamptz, bigint) from public;

-- functions/_refills_due.sql

create or replace function pgledger._refills_due(
  account_id text, at timestamptz, owes boolean
) returns table (
  due_at timestamptz,
  key text,
  policy pgledger.refill_policy,
  amount bigint,
  expires_at timestamptz,
  metadata jsonb
)
language plpgsql stable
as $$
declare
  v_on pgledger.account_plans;
  v_plan pgledger.plans;
  v_anchor timestamptz;
  v_first bigint;
  v_last bigint;
  v_begins_at timestamptz;
  v_ends_at timestamptz;
begin
  select n.* into v_on
  from pgledger._plan_now(_refills_due.account_id, _refills_due.at) n
  where n.refill_at <= _refills_due.at;
  if not found then
    return;
  end if;

  select p.* into strict v_plan
  from pgledger.plans p
  where p.code = v_on.plan;
  v_anchor := pgledger._period_anchor(v_on, v_plan);
  v_last := pgledger._period_number(v_plan.period, v_plan.time_zone, v_anchor, _refills_due.at);
  v_first := case
    when v_plan.policy = 'TOP_UP_TO' or (v_plan.policy = 'RESET' and not _refills_due.owes)
    then v_last
    else pgledger._period_number(
      v_plan.period, v_plan.time_zone, v_anchor, v_on.refill_at)
  end;

  for v_number in v_first::integer..v_last::integer loop
    v_begins_at := pgledger._period_begin(v_plan.period, v_plan.time_zone, v_anchor, v_number);
    v_ends_at := pgledger._period_begin(v_plan.period, v_plan.time_zone, v_anchor, v_number + 1);
    _refills_due.key := pgledger._refill_key(v_plan, v_anchor, v_number);
    -- A period that the clocks skip whole is none.
    continue when v_begins_at >= v_ends_at or exists (
      select from pgledger.transactions t
      where t.account_id = _refills_due.account_id and t.key = _refills_due.key);

    _refills_due.due_at := greatest(v_begins_at, v_on.refill_at);
    _refills_due.policy := v_plan.policy;
    _refills_due.amount := v_plan.amount;
    _refills_due.expires_at :=
      case when v_plan.policy = 'RESET' then v_ends_at else 'infinity'::timestamptz end;
    _refills_due.metadata := jsonb_build_object(
      'plan', v_plan.code,
      'period_start', pgledger._utc(v_begins_at),
      'period_end', pgledger._utc(v_ends_at));
    return next;
  end loop;
end;
$$;

comment on function pgledger._refills_due(text, timestamptz, boolean) is
  'The refills of an account that fell due up to and including an instant and are not posted '
  'yet, in order: under ADD of each period since, and under RESET too where the pool owes, for '
  'what is left of a period that is over is the debt that it paid (see _due); else of the '
  'current one only. amount is the plan''s, minor units; expires_at is the period''s end under '
  'RESET, else infinity. Private.';

revoke all on function pgledger._refills_due(text, timestamptz, boolean) from public;

-- functions/_advance_plan.sql

create or replace function pgledger._advance_plan(account_id text, at timestamptz) returns void
language plpgsql
as $$
declare
  v_on pgledger.account_plans;
  v_plan pgledger.plans;
  v_refill_at timestamptz;
begin
  select n.* into v_on
  from pgledger._plan_now(_advance_plan.account_id, _advance_plan.at) n
  where n.refill_at <= _advance_plan.at;
  if not found then
    return;
  end if;

  select p.* into strict v_plan
  from pgledger.plans p
  where p.code = v_on.plan;
  v_refill_at := pgledger._period_end(
    v_plan.period, v_plan.time_zone, pgledger._period_anchor(v_on, v_plan), _advance_plan.at);

  update pgledger.account_plans p
  set plan = v_on.plan, starts_at = v_on.starts_at, next_plan = v_on.next_plan,
      refill_at = v_refill_at
  where p.account_id = _advance_plan.account_id;
end;
$$;

comment on function pgledger._advance_plan(text, timestamptz) is
  'Moves an account''s plan on, after what _refills_due() told up to that instant was posted: a '
  'change that fell due is made, and the next refill is that of the period after. Only under the '
  'lock of the balance row. Private.';

revoke all on function pgledger._advance_plan(text, timestamptz) from public;

-- functions/_last_seq_before.sql

-- created_at never decreases with seq: found by bisection over the primary key, about log2(n) index
-- probes, as balance_at() does.
create or replace function pgledger._last_seq_before(account_id text, at timestamptz)
returns bigint
language plpgsql stable
as $$
declare
  v_low bigint := 0::bigint;
  v_high bigint;
  v_middle bigint;
  v_found record;
begin
  select max(t.seq) into v_high
  from pgledger.transactions t
  where t.account_id = _last_seq_before.account_id;

  -- All up to v_low is before; all above v_high is not.
  while v_low < v_high loop
    v_middle := v_high - (v_high - v_low) / 2;
    -- At or below, not equal: the history of another system may have gaps, or begin late.
    select t.seq, t.created_at into v_found
    from pgledger.transactions t
    where t.account_id = _last_seq_before.account_id and t.seq <= v_middle
    order by t.seq desc
    limit 1;

    if v_found.created_at >= _last_seq_before.at then
      v_high := v_found.seq - 1;
    else
      v_low := v_middle;
    end if;
  end loop;

  return v_low;
end;
$$;

comment on function pgledger._last_seq_before(text, timestamptz) is
  'A seq that parts what an account posted before an instant, at or below it, from what it '
  'posted since, above it; 0 where nothing was before. Private.';

revoke all on function pgledger._last_seq_before(text, timestamptz) from public;

-- functions/_cap_now.sql

create or replace function pgledger._cap_now(account_id text, at timestamptz)
returns table (amount bigint, cap_left bigint, resets_at timestamptz)
language plpgsql stable rows 1
as $$
declare
  v_cap pgledger.spending_caps;
  v_end timestamptz;
  v_before bigint;
  v_used numeric;
begin
  select c.* into v_cap
  from pgledger.spending_caps c
  where c.account_id = _cap_now.account_id;
  if not found then
    return;
  end if;

  v_end := pgledger._period_end(v_cap.period, v_cap.time_zone, null, _cap_now.at);
  v_before := pgledger._last_seq_before(_cap_now.account_id,
    pgledger._period_start(v_cap.period, v_cap.time_zone, null, _cap_now.at));
  select coalesce(-sum(t.amount), 0) into v_used
  from pgledger.transactions t
  where t.account_id = _cap_now.account_id
    and t.seq > v_before
    and t.created_at < v_end
    and case
      when t.type = 'USAGE' then t.amount < 0
      -- Looked up one by one: a join might read all that the account ever posted.
      when t.original_seq > v_before then (
        select o.type = 'USAGE' and o.amount < 0
        from pgledger.transactions o
        where o.account_id = _cap_now.account_id and o.seq = t.original_seq)
    end;

  -- What was used may be more than a bigint: credits can be spent, and topped up, for ever.
  return query select v_cap.amount,
    greatest(v_cap.amount - v_used, -9223372036854775808)::bigint, v_end;
end;
$$;

comment on function pgledger._cap_now(text, timestamptz) is
  'The spending cap of an account, what it leaves in the period that holds an instant, minor '
  'units, by the journal, and when that period ends; no row without a cap. Usage counts when it '
  'is posted; the reversal of usage of the same period gives back. Private.';

revoke all on function pgledger._cap_now(text, timestamptz) from public;

-- functions/_reset_cap.sql

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
        select min(l.expires_at)
        from pgledger.lots l
        where l.account_id = _attention_at.account_id and l.remaining > 0
      ),
      (
        select n.refill_at
        from pgledger.account_plans n
        where n.account_id = _attention_at.account_id
      ),
      (
        select c.resets_at
        from pgledger.spending_caps c
        where c.account_id = _attention_at.account_id
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
  'else when its next hold or lot expires, its plan refills it, its spending cap begins a new '
  'period, or its auto-top-up is no longer paused. Private.';

revoke all on function pgledger._attention_at(text) from public;

-- functions/_reserved.sql

create or replace function pgledger._reserved(account_id text)
returns table (key text, expires_at timestamptz, place bigint, lot bigint, amount bigint)
language sql stable
begin atomic
  select p.key, p.expires_at, coalesce(r.place, 1), coalesce(r.lot, nullif(p.lot, 0)),
    coalesce(r.amount, -p.amount)
  from pgledger.pending_transactions p
  left join pgledger.reservations r
    on p.lot = 0 and r.account_id = _reserved.account_id and r.key = p.key
  where p.account_id = _reserved.account_id
    and p.status = 'PENDING'
    and p.amount < 0;
end;

comment on function pgledger._reserved(text) is
  'What the open holds of an account reserve, in draw order by place: lot by lot, null for the '
  'pool, minor units above 0. Private.';

revoke all on function pgledger._reserved(text) from public;

-- functions/_lots_told.sql

-- One sum over everything, and no join between lots and what was drawn: whatever the planner thinks
-- of an account, the work is that of reading it once.
create or replace function pgledger._lots_told(account_id text)
returns table (
  lot bigint, remaining bigint, held bigint, drawn bigint, expired bigint, stored pgledger.lots
)
language sql stable
begin atomic
  select n.lot,
    (sum(n.granted) - sum(n.drawn) - sum(n.expired) - sum(n.held))::bigint,
    sum(n.held)::bigint, sum(n.drawn)::bigint, sum(n.expired)::bigint,
    (array_agg(n.stored) filter (where n.granted is not null))[1]
  from (
    select l.seq as lot, l as stored, l.amount as granted, 0::bigint as drawn, 0::bigint as expired,
      0::bigint as held
    from pgledger.lots l
    where l.account_id = _lots_told.account_id
    union all
    select case t.lot when 0 then d.lot else t.lot end, null, null,
      case when e.own then 0 else s.amount end, case when e.own then s.amount else 0 end, 0
    from pgledger.transactions t
    left join pgledger.draws d
      on t.lot = 0 and d.account_id = _lots_told.account_id and d.seq = t.seq
    cross join lateral (values (case t.lot when 0 then d.amount else -t.amount end)) s (amount)
    cross join lateral (values (
      t.type = 'EXPIRY' and coalesce(t.original_seq = t.lot, false))) e (own)
    where t.account_id = _lots_told.account_id and t.lot is not null
    union all
    select r.lot, null, null, 0, 0, r.amount
    from pgledger._reserved(_lots_told.account_id) r
  ) n
  where n.lot is not null
  group by n.lot
  having count(n.granted) > 0;
end;

comment on function pgledger._lots_told(text) is
  'What the journal, the draws and the open holds of an account tell of its lots: what remains '
  'free of each, is held in it, was drawn and expired, minor units; and its row as it stands. '
  'Private.';

revoke all on function pgledger._lots_told(text) from public;

-- functions/_pool_told.sql

create or replace function pgledger._pool_told(account_id text, balance bigint)
returns table (pool bigint, held_in_lots bigint, head_lot bigint, head_left bigint)
language plpgsql stable rows 1
as $$
begin
  if not exists (
    select from pgledger.lots l where l.account_id = _pool_told.account_id)
  then
    return;
  end if;
  -- Only the row of the lot that was the head may be behind: it is named, to be put back.
  return query
    select (_pool_told.balance - sum(n.remaining) - sum(n.held))::bigint, sum(n.held)::bigint,
      min(n.lot) filter (where (n.stored).remaining <> n.remaining),
      coalesce(min(n.remaining) filter (where (n.stored).remaining <> n.remaining), 0)
    from pgledger._lots_told(_pool_told.account_id) n;
end;
$$;

comment on function pgledger._pool_told(text, bigint) is
  'The pool of an account that has lots, what holds reserve in them, and the lot whose own row '
  'is behind, as the other tables tell; no row for an account without lots. Private.';

revoke all on function pgledger._pool_told(text, bigint) from public;

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
    pgledger._armed_below(_derive_balance.account_id),
    lots.pool,
    lots.held_in_lots,
    lots.head_lot,
    lots.head_left,
    cap.cap_left
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
  left join pgledger.accounts a on a.account_id = _derive_balance.account_id
  left join pgledger._pool_told(_derive_balance.account_id, last.running_balance) lots on true
  left join pgledger._cap_now(_derive_balance.account_id, statement_timestamp()) cap on true;
end;

comment on function pgledger._derive_balance(text) is
  'The balance row as the other tables tell it, for an account that has none: imported, '
  'restored, or unknown (then all zeros). Private.';

revoke all on function pgledger._derive_balance(text) from public;

-- functions/_balance_row.sql

create or replace function pgledger._balance_row(account_id text) returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances;
begin
  select b.* into v_hot
  from pgledger.balances b
  where b.account_id = _balance_row.account_id;
  if not found then
    v_hot := pgledger._derive_balance(_balance_row.account_id);
  end if;
  return v_hot;
end;
$$;

comment on function pgledger._balance_row(text) is
  'The balance row as it stands, or as the other tables tell it where it is missing; without a '
  'lock. Private.';

revoke all on function pgledger._balance_row(text) from public;

-- functions/_lots_asked.sql

create or replace function pgledger._lots_asked(account_id text, all_of_them boolean)
returns setof pgledger.lots
language plpgsql stable
as $$
begin
  if _lots_asked.all_of_them then
    return query
      select l.*
      from pgledger.lots l
      where l.account_id = _lots_asked.account_id;
    return;
  end if;
  -- By the indexes of the few, however many are used up.
  return query
    select l.*
    from pgledger.lots l
    where l.account_id = _lots_asked.account_id and l.remaining > 0
    union all
    select l.*
    from pgledger.lots l
    where l.account_id = _lots_asked.account_id and l.remaining = 0
      and l.seq = any (array(
        select r.lot from pgledger._reserved(_lots_asked.account_id) r));
end;
$$;

comment on function pgledger._lots_asked(text, boolean) is
  'The rows of an account''s lots: all of them, or those with something left or held in them. '
  'Private.';

revoke all on function pgledger._lots_asked(text, boolean) from public;

-- functions/_lots_now.sql

create or replace function pgledger._lots_now(account_id text, at timestamptz, all_of_them boolean)
returns table (
  lot bigint, priority integer, expires_at timestamptz, granted bigint, remaining bigint,
  held bigint, expired bigint
)
language plpgsql stable
as $$
declare
  v_row pgledger.balances := pgledger._balance_row(_lots_now.account_id);
begin
  return query
    with reserved as (
      select r.lot,
        sum(r.amount) filter (where r.expires_at <= _lots_now.at) as released,
        sum(r.amount) filter (where (r.expires_at <= _lots_now.at) is not true) as held
      from pgledger._reserved(_lots_now.account_id) r
      where r.lot is not null
      group by r.lot
    )
    select l.seq, l.priority, l.expires_at, l.amount,
      case when l.expires_at <= _lots_now.at then 0 else n.free end::bigint,
      coalesce(r.held, 0)::bigint,
      (l.expired + case when l.expires_at <= _lots_now.at then n.free else 0 end)::bigint
    from pgledger._lots_asked(_lots_now.account_id, _lots_now.all_of_them) l
    left join reserved r on r.lot = l.seq
    cross join lateral (values (
      case when l.seq = v_row.head_lot then v_row.head_left else l.remaining end
        + coalesce(r.released, 0)
    )) n (free);
end;
$$;

comment on function pgledger._lots_now(text, timestamptz, boolean) is
  'The lots of an account as they are at an instant, what is due counted: all of them, or those '
  'that have or reserve something. Minor units. Private.';

revoke all on function pgledger._lots_now(text, timestamptz, boolean) from public;

-- functions/_expiries_due.sql

-- A hold that expires gives back to its lots first: what it gives to a lot that has ended expires
-- at that moment, what it gives to one that ends later expires with it.
create or replace function pgledger._expiries_due(hot pgledger.balances, at timestamptz)
returns table (due_at timestamptz, lot bigint, amount bigint)
language sql stable
begin atomic
  select e.due_at, e.lot, sum(e.amount)::bigint
  from (
    select l.expires_at as due_at, l.seq as lot,
      case when l.seq = (hot).head_lot then (hot).head_left else l.remaining end as amount
    from pgledger.lots l
    where l.account_id = (hot).account_id
      and l.remaining > 0
      and l.expires_at <= _expiries_due.at
    union all
    select greatest(l.expires_at, r.expires_at), l.seq, r.amount
    from pgledger._reserved((hot).account_id) r
    join pgledger.lots l on l.account_id = (hot).account_id and l.seq = r.lot
    where (hot).held_in_lots > 0
      and r.expires_at <= _expiries_due.at and l.expires_at <= _expiries_due.at
  ) e
  group by e.due_at, e.lot
  having sum(e.amount) > 0;
end;

comment on function pgledger._expiries_due(pgledger.balances, timestamptz) is
  'What fell due up to an instant and is not posted yet of lots that ended: when, which, and '
  'how much of it, minor units above 0. Private.';

revoke all on function pgledger._expiries_due(pgledger.balances, timestamptz) from public;

-- functions/_held_expired.sql

create or replace function pgledger._held_expired(account_id text, at timestamptz) returns bigint
language sql stable
begin atomic
  select coalesce(-sum(p.amount), 0)::bigint
  from pgledger.pending_transactions p
  where p.account_id = _held_expired.account_id
    and p.status = 'PENDING'
    and p.expires_at <= _held_expired.at;
end;

comment on function pgledger._held_expired(text, timestamptz) is
  'What holds that expired up to an instant, and are not closed yet, still reserve in the '
  'balance row, minor units. Private.';

revoke all on function pgledger._held_expired(text, timestamptz) from public;

-- functions/_due.sql

create or replace function pgledger._due(hot pgledger.balances, at timestamptz)
returns setof pgledger._movement
language plpgsql stable
as $$
declare
  v_all pgledger._movement[] := '{}'::pgledger._movement[];
  v_balance bigint := hot.balance;
  v_due pgledger._movement;
  v_wanted numeric;
  v_pool numeric := coalesce(hot.pool, hot.balance)::numeric;
  v_debt numeric;
begin
  -- Asked one by one: in one query with a condition the planner would plan it anew each time.
  if hot.pool is not null then
    v_all := array(
      select row(e.due_at, e.lot, null, -e.amount, null, null, null, null)::pgledger._movement
      from pgledger._expiries_due(hot, _due.at) e);
  end if;
  v_all := v_all || array(
    select row(r.due_at, null, r.key, r.amount, r.policy, r.expires_at, r.metadata, null)
      ::pgledger._movement
    from pgledger._refills_due(hot.account_id, _due.at, v_pool < 0) r);

  for v_due in select m.* from unnest(v_all) m order by m.due_at, m.lot nulls last loop
    if v_due.lot is null then
      v_wanted := v_due.amount::numeric;
      v_debt := greatest(-v_pool, 0);
      if v_due.policy = 'TOP_UP_TO' then
        v_wanted := greatest(v_wanted - v_balance, 0);
      elsif v_due.expires_at <= _due.at then
        -- An allowance of a period that is over: all that is left of it is the debt that it paid.
        v_wanted := least(v_wanted, v_debt);
      end if;
      -- Settling never fails: of a refill that the range of bigint has no room for, what fits.
      v_due.amount := least(v_wanted, 9223372036854775807::numeric - v_balance)::bigint;
      continue when v_due.amount = 0;
      if v_due.policy = 'RESET' then
        v_due.to_lot := greatest(v_due.amount - v_debt, 0)::bigint;
      end if;
      v_pool := v_pool + v_due.amount - coalesce(v_due.to_lot, 0);
    end if;
    v_balance := v_balance + v_due.amount;
    return next v_due;
  end loop;
end;
$$;

comment on function pgledger._due(pgledger.balances, timestamptz) is
  'The movements that fell due on an account up to an instant and are not posted yet, in the '
  'order they fell due: expiries (amount below 0, of a lot) and refills (amount above 0, with a '
  'key). Private.';

revoke all on function pgledger._due(pgledger.balances, timestamptz) from public;

-- functions/_allowance_due.sql

create or replace function pgledger._allowance_due(hot pgledger.balances, at timestamptz)
returns table (key text, amount bigint, expires_at timestamptz)
language sql stable
begin atomic
  select d.key, d.to_lot, d.expires_at
  from pgledger._due(_allowance_due.hot, _allowance_due.at) d
  where (hot).attention_at <= _allowance_due.at
    and d.to_lot > 0;
end;

comment on function pgledger._allowance_due(pgledger.balances, timestamptz) is
  'The allowance that fell due up to an instant and will be a lot when it is posted, after it '
  'paid a debt: its key, how much, and when it ends. Private.';

revoke all on function pgledger._allowance_due(pgledger.balances, timestamptz) from public;

-- functions/_without_due.sql

create or replace function pgledger._without_due(hot pgledger.balances, at timestamptz)
returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances := hot;
begin
  if hot.attention_at <= _without_due.at then
    v_hot.held := hot.held - pgledger._held_expired(hot.account_id, _without_due.at);

    select (hot.balance + coalesce(sum(d.amount), 0))::bigint into v_hot.balance
    from pgledger._due(hot, _without_due.at) d;

    if hot.cap_left is not null then
      select c.amount into v_hot.cap_left
      from pgledger.spending_caps c
      where c.account_id = hot.account_id and c.resets_at <= _without_due.at;
      v_hot.cap_left := coalesce(v_hot.cap_left, hot.cap_left);
    end if;
  end if;
  return v_hot;
end;
$$;

comment on function pgledger._without_due(pgledger.balances, timestamptz) is
  'The balance row as it is at an instant: without what expired holds still reserve, with what '
  'expired or was refilled and is not posted yet, and with the cap of the period. Private.';

revoke all on function pgledger._without_due(pgledger.balances, timestamptz) from public;

-- functions/_balance_now.sql

create or replace function pgledger._balance_now(account_id text) returns pgledger.balances
language plpgsql stable
as $$
begin
  return pgledger._without_due(
    pgledger._balance_row(_balance_now.account_id), statement_timestamp());
end;
$$;

comment on function pgledger._balance_now(text) is
  'The balance row as of the start of the statement, what is due counted; without a lock. '
  'Private.';

revoke all on function pgledger._balance_now(text) from public;

-- functions/_put_head_back.sql

create or replace function pgledger._put_head_back(hot pgledger.balances)
returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
begin
  if hot.head_lot is not null then
    update pgledger.lots l
    set remaining = hot.head_left
    where l.account_id = hot.account_id
      and l.seq = hot.head_lot
      and l.remaining <> hot.head_left;
  end if;
  v_hot.head_lot := null;
  v_hot.head_left := null;
  return v_hot;
end;
$$;

comment on function pgledger._put_head_back(pgledger.balances) is
  'Writes what remains of the head lot into its own row, before lots are changed; the balance '
  'row without a head, which _write_balance chooses anew. Only under the lock of the balance '
  'row. Private.';

revoke all on function pgledger._put_head_back(pgledger.balances) from public;

-- functions/_choose_head.sql

create or replace function pgledger._choose_head(hot pgledger.balances) returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances := hot;
  v_free bigint := hot.pool - (hot.held - hot.held_in_lots);
begin
  select l.seq, l.remaining into v_hot.head_lot, v_hot.head_left
  from pgledger.lots l
  where l.account_id = hot.account_id and l.remaining > 0 and l.priority <= 0
  order by l.priority, l.expires_at, l.seq
  limit 1;
  if not found then
    select l.seq, l.remaining into v_hot.head_lot, v_hot.head_left
    from pgledger.lots l
    where l.account_id = hot.account_id and l.remaining > 0 and l.priority > 0
    order by l.priority, l.expires_at, l.seq
    limit 1;
    if found and v_free > 0 then
      v_hot.head_lot := null;
      v_hot.head_left := v_free;
    end if;
  end if;
  return v_hot;
end;
$$;

comment on function pgledger._choose_head(pgledger.balances) is
  'The balance row with the head that pays next: the first lot before the pool, else the pool '
  'while it has something, else the first lot after it. Needs the lots as they are, and none '
  'that has ended. Private.';

revoke all on function pgledger._choose_head(pgledger.balances) from public;

-- functions/_write_balance.sql

create or replace function pgledger._write_balance(hot pgledger.balances, held_change bigint)
returns void
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
begin
  if hot.pool is not null then
    -- Two statements: what the first writes is what the second chooses from.
    v_hot := pgledger._put_head_back(hot);
    v_hot := pgledger._choose_head(v_hot);
  end if;
  update pgledger.balances b
  set balance = v_hot.balance, seq = v_hot.seq, updated_at = v_hot.updated_at,
      held = b.held + _write_balance.held_change,
      attention_at = least(b.attention_at, v_hot.attention_at),
      pool = v_hot.pool, held_in_lots = v_hot.held_in_lots,
      head_lot = v_hot.head_lot, head_left = v_hot.head_left,
      cap_left = v_hot.cap_left
  where b.account_id = v_hot.account_id;
end;
$$;

comment on function pgledger._write_balance(pgledger.balances, bigint) is
  'Writes the balance row after movements were entered, with the head that pays next. held '
  'changes by what is given, since hot may leave out expired holds that are not closed yet. '
  'Private.';

revoke all on function pgledger._write_balance(pgledger.balances, bigint) from public;

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
    if v_hot.pool is not null then
      v_hot := pgledger._put_head_back(v_hot);
      -- A statement of its own again: it must see what the one before wrote.
      v_hot := pgledger._choose_head(v_hot);
      update pgledger.balances b
      set head_lot = v_hot.head_lot, head_left = v_hot.head_left
      where b.account_id = _lock_balance.account_id;
    end if;
  end if;

  v_hot.updated_at := greatest(v_hot.updated_at, clock_timestamp());
  return v_hot;
end;
$$;

comment on function pgledger._lock_balance(text) is
  'Locks the account''s balance row until the transaction ends, making it from history where it '
  'is missing, and returns it as it stands under the lock. Its updated_at is the instant of the '
  'call: the clock read under the lock, by which all that follows is judged and recorded. '
  'Always the first lock taken. Private.';

revoke all on function pgledger._lock_balance(text) from public;

-- functions/_tell_low.sql

create or replace function pgledger._tell_low(
  hot pgledger.balances, available bigint, change bigint, key text, reference text
) returns void
language plpgsql
as $$
begin
  if _tell_low.available < hot.low_below
    and _tell_low.available - _tell_low.change >= hot.low_below
  then
    perform pgledger._emit(hot.account_id, 'low_balance', array[jsonb_build_object(
      'available', _tell_low.available,
      'level', hot.low_below,
      'key', _tell_low.key,
      'reference', _tell_low.reference)]);
  end if;
end;
$$;

comment on function pgledger._tell_low(pgledger.balances, bigint, bigint, text, text) is
  'Tells the outbox when a change took available below the account''s low-balance level. '
  'Private.';

revoke all on function
  pgledger._tell_low(pgledger.balances, bigint, bigint, text, text) from public;

-- functions/_sources_from.sql

create or replace function pgledger._sources_from(from_pool bigint, attention_at timestamptz)
returns pgledger._sources
language sql immutable parallel safe
return row(
  '{}'::bigint[], '{}'::bigint[], from_pool, 0::bigint, attention_at)::pgledger._sources;

comment on function pgledger._sources_from(bigint, timestamptz) is
  'Sources of a movement that names none yet: what the pool loses by it, and when a lot it '
  'touched ends. Private.';

revoke all on function pgledger._sources_from(bigint, timestamptz) from public;

-- functions/_with_source.sql

create or replace function pgledger._with_source(
  sources pgledger._sources, lot bigint, amount bigint
) returns pgledger._sources
language plpgsql immutable
as $$
declare
  v_sources pgledger._sources := sources;
  v_last integer := cardinality(sources.lots);
begin
  if _with_source.lot is null then
    v_sources.from_pool := sources.from_pool + _with_source.amount;
  end if;
  -- What the pool has and then owes is one source, not two.
  if v_last > 0 and sources.lots[v_last] is not distinct from _with_source.lot then
    v_sources.amounts[v_last] := sources.amounts[v_last] + _with_source.amount;
  else
    v_sources.lots := sources.lots || _with_source.lot;
    v_sources.amounts := sources.amounts || _with_source.amount;
  end if;
  return v_sources;
end;
$$;

comment on function pgledger._with_source(pgledger._sources, bigint, bigint) is
  'Sources of a movement and one more: a lot, or null for the pool, and how much of it, below 0 '
  'for what it gets back. Private.';

revoke all on function pgledger._with_source(pgledger._sources, bigint, bigint) from public;

-- functions/_take_lots.sql

create or replace function pgledger._take_lots(
  account_id text, wanted bigint, own_lot bigint, lowest integer, highest integer
) returns table (lot bigint, amount bigint)
language plpgsql
as $$
#variable_conflict use_column
declare
  v_left bigint := _take_lots.wanted;
  v_lot record;
  v_taken bigint;
begin
  for v_lot in
    select l.seq, l.remaining
    from pgledger.lots l
    where l.account_id = _take_lots.account_id
      and l.remaining > 0
      and l.priority between _take_lots.lowest and _take_lots.highest
      and (_take_lots.own_lot is null or l.seq = _take_lots.own_lot)
    order by l.priority, l.expires_at, l.seq
  loop
    exit when v_left = 0;
    v_taken := least(v_left, v_lot.remaining);
    update pgledger.lots l
    set remaining = l.remaining - v_taken
    where l.account_id = _take_lots.account_id and l.seq = v_lot.seq;
    return query select v_lot.seq, v_taken;
    v_left := v_left - v_taken;
  end loop;
end;
$$;

comment on function pgledger._take_lots(text, bigint, bigint, integer, integer) is
  'Takes up to wanted credits out of the lots with a priority from lowest to highest, or out of '
  'its own lot where that is named, in draw order: which, and how much of each. Private.';

revoke all on function pgledger._take_lots(text, bigint, bigint, integer, integer) from public;

-- functions/_draw.sql

create or replace function pgledger._draw(
  hot pgledger.balances, wanted bigint, own_lot bigint, own_pool boolean
) returns pgledger._sources
language plpgsql
as $$
declare
  v_sources pgledger._sources := pgledger._sources_from(0::bigint, 'infinity'::timestamptz);
  v_left bigint := _draw.wanted;
  v_pool bigint := greatest(hot.pool - (hot.held - hot.held_in_lots), 0);
  v_lowest integer := -2147483648;
  v_highest integer := 2147483647;
  v_step text;
  v_part record;
begin
  foreach v_step in array
    case
      when _draw.own_lot is not null then '{OWN,BEFORE,POOL,AFTER,DEBT}'::text[]
      when _draw.own_pool then '{POOL,BEFORE,AFTER,DEBT}'::text[]
      else '{BEFORE,POOL,AFTER,DEBT}'::text[]
    end
  loop
    for v_part in
      select null::bigint as lot, case v_step when 'POOL' then least(v_left, v_pool) else v_left end
        as amount
      where v_step in ('POOL', 'DEBT')
      union all
      select t.lot, t.amount
      from pgledger._take_lots(
        hot.account_id, v_left,
        case v_step when 'OWN' then _draw.own_lot end,
        case v_step when 'AFTER' then 1 else v_lowest end,
        case v_step when 'BEFORE' then 0 else v_highest end) t
      where v_step not in ('POOL', 'DEBT')
    loop
      continue when v_part.amount = 0;
      v_sources := pgledger._with_source(v_sources, v_part.lot, v_part.amount);
      v_left := v_left - v_part.amount;
    end loop;
  end loop;
  return v_sources;
end;
$$;

comment on function pgledger._draw(pgledger.balances, bigint, bigint, boolean) is
  'Takes credits out of the lots of an account and says where they came from: out of a credit''s '
  'own lot, or the pool where it went there, first where given; then in draw order; the pool '
  'owes what is not there. What comes out of the pool is for the caller to subtract. Private.';

revoke all on function pgledger._draw(pgledger.balances, bigint, bigint, boolean) from public;

-- functions/_unreserve.sql

create or replace function pgledger._unreserve(
  hot pgledger.balances, key text, captured bigint
) returns pgledger._sources
language plpgsql
as $$
#variable_conflict use_column
declare
  v_sources pgledger._sources := pgledger._sources_from(0::bigint, 'infinity'::timestamptz);
  v_left bigint := _unreserve.captured;
  v_part record;
  v_taken bigint;
  v_expires_at timestamptz;
begin
  for v_part in
    select case p.lot when 0 then r.lot else p.lot end as lot,
      coalesce(r.amount, -p.amount) as amount
    from pgledger.pending_transactions p
    left join pgledger.reservations r
      on p.lot = 0 and r.account_id = hot.account_id and r.key = p.key
    where p.account_id = hot.account_id and p.key = _unreserve.key
    order by r.place
  loop
    v_taken := least(v_left, v_part.amount);
    v_left := v_left - v_taken;
    if v_taken > 0 then
      v_sources := pgledger._with_source(v_sources, v_part.lot, v_taken);
    end if;
    continue when v_part.lot is null;

    v_sources.unreserved := v_sources.unreserved + v_part.amount;
    update pgledger.lots l
    set remaining = l.remaining + v_part.amount - v_taken
    where l.account_id = hot.account_id and l.seq = v_part.lot and v_taken < v_part.amount
    returning l.expires_at into v_expires_at;
    v_sources.attention_at := least(v_sources.attention_at, v_expires_at);
  end loop;

  delete from pgledger.reservations r
  where r.account_id = hot.account_id and r.key = _unreserve.key;
  return v_sources;
end;
$$;

comment on function pgledger._unreserve(pgledger.balances, text, bigint) is
  'Ends what a hold reserves: what is captured of it is drawn from where it was reserved, in '
  'that order, and the rest of what was reserved in lots goes back to them. Private.';

revoke all on function pgledger._unreserve(pgledger.balances, text, bigint) from public;

-- functions/_give_back.sql

create or replace function pgledger._give_back(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger._sources
language plpgsql
as $$
#variable_conflict use_column
declare
  v_sources pgledger._sources := pgledger._sources_from(0::bigint, 'infinity'::timestamptz);
  v_left bigint := _give_back.applied;
  v_skip bigint;
  v_part record;
  v_back bigint;
  v_expires_at timestamptz;
  v_extended timestamptz :=
    (hot.updated_at at time zone 'UTC' + request.extend) at time zone 'UTC';
begin
  -- Earlier reversals gave back from the end too, so what they gave is at the end, in one piece.
  select coalesce(sum(t.amount), 0)::bigint into v_skip
  from pgledger.transactions t
  where t.account_id = request.account_id and t.original_seq = request.original_seq;

  for v_part in
    select d.lot, d.amount
    from pgledger.transaction_draws d
    where d.account_id = request.account_id and d.seq = request.original_seq
    order by d.place desc
  loop
    v_back := least(greatest(v_part.amount - v_skip, 0), v_left);
    v_skip := greatest(v_skip - v_part.amount, 0);
    v_left := v_left - v_back;
    continue when v_back = 0;
    v_sources := pgledger._with_source(v_sources, v_part.lot, -v_back);
    continue when v_part.lot is null;

    update pgledger.lots l
    set remaining = l.remaining + v_back,
        expires_at = case
          when l.expires_at <= hot.updated_at and request.extend is not null
          then v_extended
          else l.expires_at
        end
    where l.account_id = request.account_id and l.seq = v_part.lot
    returning l.expires_at into v_expires_at;
    v_sources.attention_at := least(v_sources.attention_at, v_expires_at);
  end loop;
  return v_sources;
end;
$$;

comment on function pgledger._give_back(pgledger._request, pgledger.balances, bigint) is
  'Gives what a reversal credits back to the sources that its original drew from, the last '
  'drawn first; a lot that has ended lives on for request.extend where that is given. Private.';

revoke all on function
  pgledger._give_back(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_form_lot.sql

create or replace function pgledger._form_lot(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger._sources
language plpgsql
as $$
declare
  -- What holds reserve is no debt: they may be released, and then nobody owed it.
  v_paid bigint := greatest(-greatest(coalesce(hot.pool, hot.balance), -_form_lot.applied), 0);
  v_expires_at timestamptz := coalesce(request.credits_expire_at, 'infinity');
begin
  insert into pgledger.lots (
    account_id, seq, priority, expires_at, amount, remaining, granted_expires_at)
  values (
    request.account_id, hot.seq + 1, coalesce(request.priority, 0), v_expires_at,
    _form_lot.applied - v_paid, _form_lot.applied - v_paid, v_expires_at);
  return pgledger._sources_from(-v_paid, v_expires_at);
end;
$$;

comment on function pgledger._form_lot(pgledger._request, pgledger.balances, bigint) is
  'Makes a lot of a credit about to be posted, after it paid the pool''s debt. Private.';

revoke all on function pgledger._form_lot(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_sources_of.sql

create or replace function pgledger._sources_of(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger._sources
language plpgsql
as $$
declare
  v_own_lot bigint;
begin
  if request.released is not null then
    return pgledger._unreserve(hot, request.key, -_sources_of.applied);
  elsif _sources_of.applied > 0 and request.original_seq is not null then
    return pgledger._give_back(request, hot, _sources_of.applied);
  elsif pgledger._forms_lot(request) then
    return pgledger._form_lot(request, hot, _sources_of.applied);
  elsif _sources_of.applied > 0 then
    return pgledger._sources_from(-_sources_of.applied, 'infinity'::timestamptz);
  end if;

  select l.seq into v_own_lot
  from pgledger.lots l
  where l.account_id = request.account_id and l.seq = request.original_seq;
  return pgledger._draw(
    hot, -_sources_of.applied, v_own_lot, request.original_seq is not null and v_own_lot is null);
end;
$$;

comment on function pgledger._sources_of(pgledger._request, pgledger.balances, bigint) is
  'Where the credits of a movement about to be posted come from, or go to, among the pool and '
  'the lots; the lots are changed, the pool is for the caller to change. Private.';

revoke all on function
  pgledger._sources_of(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_record.sql

create or replace function pgledger._record(
  request pgledger._request, hot pgledger.balances, applied bigint, sources pgledger._sources
) returns void
language plpgsql
as $$
declare
  v_several boolean := coalesce(cardinality(sources.lots) > 1, false);
begin
  insert into pgledger.transactions (
    account_id, seq, amount, running_balance, requested_amount, created_at, type, key, reference,
    external_id, metadata, original_seq, counterparty, counterparty_seq, lot)
  values (
    request.account_id, hot.seq, _record.applied, hot.balance,
    nullif(request.amount, _record.applied), hot.updated_at, request.type, request.key,
    request.reference, request.external_id, request.metadata, request.original_seq,
    request.counterparty, request.counterparty_seq,
    case when v_several then 0 else sources.lots[1] end);

  if v_several then
    insert into pgledger.draws (account_id, seq, place, lot, amount)
    select request.account_id, hot.seq, s.place, s.lot, s.amount
    from unnest(sources.lots, sources.amounts) with ordinality s (lot, amount, place);
  end if;
end;
$$;

comment on function pgledger._record(
  pgledger._request, pgledger.balances, bigint, pgledger._sources) is
  'Writes a movement into the journal, and its draws beside it where several sources paid. hot '
  'is the balance row right after the movement. Private.';

revoke all on function
  pgledger._record(pgledger._request, pgledger.balances, bigint, pgledger._sources) from public;

-- functions/_cap_change.sql

create or replace function pgledger._cap_change(
  request pgledger._request, applied bigint, at timestamptz
) returns bigint
language plpgsql stable
as $$
declare
  v_cap pgledger.spending_caps;
  v_counts boolean;
begin
  if request.type = 'USAGE' then
    return least(_cap_change.applied, 0);
  elsif _cap_change.applied < 0 or request.original_seq is null then
    return 0::bigint;
  end if;

  select c.* into strict v_cap
  from pgledger.spending_caps c
  where c.account_id = request.account_id;
  select t.type = 'USAGE' and t.created_at >= pgledger._period_start(
    v_cap.period, v_cap.time_zone, null, _cap_change.at) into v_counts
  from pgledger.transactions t
  where t.account_id = request.account_id and t.seq = request.original_seq;
  return case when v_counts then _cap_change.applied else 0 end;
end;
$$;

comment on function pgledger._cap_change(pgledger._request, bigint, timestamptz) is
  'What a movement takes of the account''s spending cap (below 0), or gives back to it: usage '
  'counts, and the reversal of usage of the same period. Private.';

revoke all on function pgledger._cap_change(pgledger._request, bigint, timestamptz) from public;

-- functions/_enter.sql

create or replace function pgledger._enter(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_sources pgledger._sources;
begin
  if hot.pool is not null or pgledger._forms_lot(request) then
    v_hot := pgledger._put_head_back(hot);
    v_sources := pgledger._sources_of(request, hot, _enter.applied);
    v_hot.pool := coalesce(hot.pool, hot.balance) - v_sources.from_pool;
    v_hot.held_in_lots := coalesce(hot.held_in_lots, 0) - v_sources.unreserved;
    v_hot.attention_at := least(hot.attention_at, v_sources.attention_at);
  end if;
  if hot.cap_left is not null then
    -- What was used may be more than a bigint: credits can be spent, and topped up, for ever.
    v_hot.cap_left := greatest(-9223372036854775808, hot.cap_left::numeric
      + pgledger._cap_change(request, _enter.applied, hot.updated_at))::bigint;
  end if;
  v_hot.balance := hot.balance + _enter.applied;
  v_hot.held := hot.held - coalesce(request.released, 0);
  v_hot.seq := hot.seq + 1;
  perform pgledger._record(request, v_hot, _enter.applied, v_sources);
  return v_hot;
end;
$$;

comment on function pgledger._enter(pgledger._request, pgledger.balances, bigint) is
  'Enters one movement into the journal, the lots and the draws, at hot.updated_at; the balance '
  'row after it, which the caller writes. Private.';

revoke all on function pgledger._enter(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_expire.sql

create or replace function pgledger._expire(hot pgledger.balances, lot bigint, amount bigint)
returns pgledger.balances
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := hot;
  v_request pgledger._request;
begin
  update pgledger.lots l
  set remaining = l.remaining - _expire.amount, expired = l.expired + _expire.amount
  where l.account_id = hot.account_id and l.seq = _expire.lot;

  v_request.account_id := hot.account_id;
  v_request.type := 'EXPIRY';
  v_request.amount := -_expire.amount;
  v_request.original_seq := _expire.lot;
  v_hot.balance := hot.balance - _expire.amount;
  v_hot.seq := hot.seq + 1;
  perform pgledger._record(v_request, v_hot, -_expire.amount,
    row(array[_expire.lot], array[_expire.amount], 0, 0, null)::pgledger._sources);
  return v_hot;
end;
$$;

comment on function pgledger._expire(pgledger.balances, bigint, bigint) is
  'Posts the expiry of an amount of a lot, at hot.updated_at; the balance row after it, which '
  'the caller writes. Private.';

revoke all on function pgledger._expire(pgledger.balances, bigint, bigint) from public;

-- functions/_expire_ended.sql

create or replace function pgledger._expire_ended(hot pgledger.balances)
returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_lot record;
begin
  for v_lot in
    select l.seq, l.remaining
    from pgledger.lots l
    where l.account_id = hot.account_id
      and l.remaining > 0
      and l.expires_at <= hot.updated_at
    order by l.seq
  loop
    v_hot := pgledger._expire(v_hot, v_lot.seq, v_lot.remaining);
  end loop;
  return v_hot;
end;
$$;

comment on function pgledger._expire_ended(pgledger.balances) is
  'Posts the expiry of what has just come back to lots that ended before. Private.';

revoke all on function pgledger._expire_ended(pgledger.balances) from public;

-- functions/_reserve.sql

create or replace function pgledger._reserve(
  hot pgledger.balances, key text, amount bigint
) returns pgledger.balances
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := pgledger._put_head_back(hot);
  v_sources pgledger._sources;
  v_several boolean;
begin
  v_sources := pgledger._draw(hot, _reserve.amount, null, false);
  v_several := cardinality(v_sources.lots) > 1;
  update pgledger.pending_transactions p
  set lot = case when v_several then 0 else v_sources.lots[1] end
  where p.account_id = hot.account_id and p.key = _reserve.key;

  if v_several then
    insert into pgledger.reservations (account_id, key, place, lot, amount)
    select hot.account_id, _reserve.key, s.place, s.lot, s.amount
    from unnest(v_sources.lots, v_sources.amounts) with ordinality s (lot, amount, place);
  end if;
  v_hot.held_in_lots := hot.held_in_lots + _reserve.amount - v_sources.from_pool;
  return v_hot;
end;
$$;

comment on function pgledger._reserve(pgledger.balances, text, bigint) is
  'Reserves what a hold holds in the lots and the pool, in draw order; the balance row after '
  'it, which the caller writes. Private.';

revoke all on function pgledger._reserve(pgledger.balances, text, bigint) from public;

-- functions/_close_holds.sql

-- Closes a bounded number of holds, so that no single call pays for all that expired before it; the
-- rest is closed by the next ones and reserves nothing meanwhile. Those in lots are all closed:
-- what they give back there decides what expires.
create or replace function pgledger._close_holds(hot pgledger.balances, at timestamptz)
returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_released bigint;
  v_expired jsonb[];
  v_in_lots text[];
  v_keys text[];
  v_key text;
begin
  v_keys := array(
    select d.key
    from pgledger.pending_transactions d
    where d.account_id = hot.account_id and d.status = 'PENDING' and d.expires_at <= _close_holds.at
    order by d.expires_at
    limit 100);
  if hot.held_in_lots > 0 then
    v_keys := v_keys || array(
      select d.key
      from pgledger.pending_transactions d
      where d.account_id = hot.account_id and d.status = 'PENDING'
        and d.expires_at <= _close_holds.at and d.lot is not null);
  end if;

  with closed as (
    update pgledger.pending_transactions p
    set status = 'EXPIRED', settled_at = p.expires_at
    where p.account_id = hot.account_id and p.key = any (v_keys)
    returning p.key, p.amount, p.lot, p.expires_at, p.reference,
      pgledger._utc(p.expires_at) as expired_at
  )
  select
    coalesce(sum(-c.amount), 0)::bigint,
    array_agg(
      jsonb_build_object(
        'key', c.key, 'amount', -c.amount, 'expired_at', c.expired_at, 'reference', c.reference)
      order by c.expires_at, c.key),
    coalesce(array_agg(c.key) filter (where c.lot is not null), '{}')
  into v_released, v_expired, v_in_lots
  from closed c;
  perform pgledger._emit(hot.account_id, 'hold_expired', v_expired);

  v_hot.held := hot.held - v_released;
  foreach v_key in array v_in_lots loop
    v_hot.held_in_lots := v_hot.held_in_lots
      - (pgledger._unreserve(hot, v_key, 0)).unreserved;
  end loop;
  return v_hot;
end;
$$;

comment on function pgledger._close_holds(pgledger.balances, timestamptz) is
  'Closes holds that expired up to an instant, those in lots and 100 more, and tells the '
  'outbox. What they reserved in lots is back in them. The balance row after that, which the '
  'caller writes. Private.';

revoke all on function pgledger._close_holds(pgledger.balances, timestamptz) from public;

-- functions/_enter_due.sql

create or replace function pgledger._enter_due(
  hot pgledger.balances, due pgledger._movement[]
) returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_movement pgledger._movement;
  v_request pgledger._request;
begin
  foreach v_movement in array _enter_due.due loop
    v_hot.updated_at := greatest(v_hot.updated_at, v_movement.due_at);
    if v_movement.lot is not null then
      v_hot := pgledger._expire(v_hot, v_movement.lot, -v_movement.amount);
    else
      v_request.account_id := hot.account_id;
      v_request.type := 'GRANT';
      v_request.amount := v_movement.amount;
      v_request.key := v_movement.key;
      v_request.metadata := v_movement.metadata;
      v_request.credits_expire_at := nullif(v_movement.expires_at, 'infinity');
      v_hot := pgledger._enter(v_request, v_hot, v_movement.amount);
    end if;
  end loop;
  return v_hot;
end;
$$;

comment on function pgledger._enter_due(pgledger.balances, pgledger._movement[]) is
  'Enters what fell due, each movement as of the instant it did. The balance row after that, '
  'which the caller writes. Private.';

revoke all on function pgledger._enter_due(pgledger.balances, pgledger._movement[]) from public;

-- functions/_settle_due.sql

create or replace function pgledger._settle_due(hot pgledger.balances) returns pgledger.balances
language plpgsql
as $$
declare
  v_now timestamptz := hot.updated_at;
  v_hot pgledger.balances;
  v_due pgledger._movement[];
  v_held bigint;
  v_available bigint;
  v_unclosed bigint;
begin
  if hot.attention_at > v_now then
    return hot;
  end if;

  select b.* into strict v_hot
  from pgledger.balances b
  where b.account_id = hot.account_id;
  v_held := v_hot.held;
  v_available := v_hot.balance - v_hot.held;
  -- Listed before the holds are closed, because it is their expiry that decides what expires when.
  v_due := array(select d from pgledger._due(v_hot, v_now) d);
  v_hot := pgledger._put_head_back(v_hot);
  v_hot := pgledger._close_holds(v_hot, v_now);
  v_unclosed := pgledger._held_expired(hot.account_id, v_now);
  v_hot.held := v_hot.held - v_unclosed;
  v_hot := pgledger._enter_due(v_hot, v_due);

  update pgledger.auto_top_ups s
  set resumes_at = null
  where s.account_id = hot.account_id and s.resumes_at <= v_now;
  if v_hot.cap_left is not null then
    v_hot.cap_left := pgledger._reset_cap(hot.account_id, v_now);
  end if;
  perform pgledger._advance_plan(hot.account_id, v_now);
  perform pgledger._tell_low(v_hot, v_hot.balance - v_hot.held,
    v_hot.balance - v_hot.held - v_available, '#' || v_hot.seq, null);

  perform pgledger._write_balance(v_hot, v_hot.held + v_unclosed - v_held);
  v_hot.attention_at := pgledger._attention_at(hot.account_id);
  v_hot.top_up_below := pgledger._armed_below(hot.account_id);
  update pgledger.balances b
  set attention_at = v_hot.attention_at, top_up_below = v_hot.top_up_below
  where b.account_id = hot.account_id
  returning b.* into v_hot;

  v_hot.held := v_hot.held - v_unclosed;
  v_hot.updated_at := v_now;
  -- Seen to, as far as this call is concerned: a second look would close as many again.
  v_hot.attention_at := 'infinity';
  return v_hot;
end;
$$;

comment on function pgledger._settle_due(pgledger.balances) is
  'Posts what fell due on an account up to hot.updated_at, under its lock, in the order it fell '
  'due and as of then: closes expired holds, expires lots, refills, begins a new period of the '
  'cap, tells when what expired took available below the low-balance level, and arms an '
  'auto-top-up whose pause is over. The balance row after that. Private.';

revoke all on function pgledger._settle_due(pgledger.balances) from public;

-- functions/_expire_lot.sql

create or replace function pgledger._expire_lot(hot pgledger.balances, lot bigint)
returns pgledger.balances
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := hot;
begin
  update pgledger.lots l
  set expires_at = least(l.expires_at, hot.updated_at)
  where l.account_id = hot.account_id and l.seq = _expire_lot.lot;
  v_hot.attention_at := hot.updated_at;
  return pgledger._settle_due(v_hot);
end;
$$;

comment on function pgledger._expire_lot(pgledger.balances, bigint) is
  'Ends a lot now: what is free in it expires, and what comes back to it later. The balance row '
  'after that. Only under its lock, after what was due is posted. Private.';

revoke all on function pgledger._expire_lot(pgledger.balances, bigint) from public;

-- functions/_as_replay.sql

create or replace function pgledger._as_replay(
  posted pgledger.transactions, pending pgledger.pending_transactions, hot pgledger.balances
) returns pgledger.posting
language plpgsql stable
as $$
begin
  return pgledger._as_posting(
    posted, pending, pgledger._without_due(hot, hot.updated_at), true);
end;
$$;

comment on function pgledger._as_replay(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances) is
  'The original of a repeated call as its answer, with the balance as it is now, what is due '
  'counted. Private.';

revoke all on function pgledger._as_replay(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances) from public;

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
      ('LG008', 'spending cap reached', 'Wait until the cap resets, or raise it: see '
        'set_spending_cap.'),
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
declare
  v_lot pgledger.lots;
begin
  select l.* into v_lot
  from pgledger.lots l
  where l.account_id = posted.account_id and l.seq = posted.seq;
  return pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
    'recorded', jsonb_build_object(
      'key', coalesce(posted.key, pending.key, '#' || posted.seq),
      'type', coalesce(posted.type, pending.type),
      'amount', coalesce(
        posted.requested_amount, posted.amount, pending.requested_amount, pending.amount),
      'external_id', coalesce(posted.external_id, pending.external_id),
      'expires_at', coalesce(pending.expires_at, pending.credits_expire_at,
        nullif(v_lot.granted_expires_at, 'infinity')),
      'priority', coalesce(pending.priority, v_lot.priority, 0),
      'original', '#' || posted.original_seq,
      'counterparty', posted.counterparty,
      'status', coalesce(
        case when posted.seq is not null then 'POSTED' end, pending.status::text)),
    'given', jsonb_build_object(
      'key', request.key,
      'type', request.type,
      'amount', request.amount,
      'external_id', request.external_id,
      'expires_at', coalesce(request.expires_at, request.credits_expire_at),
      'priority', coalesce(request.priority, 0),
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

-- functions/_same_lot.sql

create or replace function pgledger._same_lot(
  request pgledger._request, posted pgledger.transactions, pending pgledger.pending_transactions
) returns boolean
language plpgsql stable
as $$
declare
  v_expires_at timestamptz := pending.credits_expire_at;
  v_priority integer := pending.priority;
begin
  if pending.key is null and posted.amount > 0 then
    select nullif(l.granted_expires_at, 'infinity'), l.priority into v_expires_at, v_priority
    from pgledger.lots l
    where l.account_id = posted.account_id and l.seq = posted.seq;
  end if;
  return request.credits_expire_at is not distinct from v_expires_at
    and coalesce(request.priority, 0) = coalesce(v_priority, 0);
end;
$$;

comment on function pgledger._same_lot(
  pgledger._request, pgledger.transactions, pgledger.pending_transactions) is
  'Whether a credit asks for the expiry and the priority that the recorded one was granted '
  'with. Private.';

revoke all on function pgledger._same_lot(
  pgledger._request, pgledger.transactions, pgledger.pending_transactions) from public;

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
      pgledger._pending_status(v_pending.status, v_pending.expires_at, hot.updated_at);
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
    and pgledger._same_lot(request, v_posted, v_pending)
    and (
      request.external_id is null
      or coalesce(v_posted.external_id, v_pending.external_id) is null
      or request.external_id in (v_posted.external_id, v_pending.external_id))
  then
    return pgledger._as_replay(v_posted, v_pending, hot);
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
    return pgledger._as_replay(v_posted, v_pending, hot);
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
  select greatest(
    abs(o.amount)
      - coalesce(abs((
        select sum(t.amount)
        from pgledger.transactions t
        where t.account_id = _original_left.account_id and t.original_seq = _original_left.seq
          -- A refund is of money that was paid, whatever became of the credits.
          and (t.type <> 'EXPIRY' or o.type <> 'TOP_UP')
      )), 0),
    0)::bigint
  from pgledger.transactions o
  where o.account_id = _original_left.account_id and o.seq = _original_left.seq;
end;

comment on function pgledger._original_left(text, bigint) is
  'What refunds and reversals have left of a posted transaction, minor units, not negative; '
  'what expired of a grant is gone as well. Private.';

revoke all on function pgledger._original_left(text, bigint) from public;

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
  v_cap bigint := case when request.type = 'USAGE' then hot.cap_left end;
  v_most numeric := least(v_room, v_cap);
begin
  if request.expires_at <= hot.updated_at then
    perform pgledger._reject('expires_at', request.expires_at::text,
      'A hold expires in the future.');
  end if;

  if request.shortfall = 'FORCE' or v_most >= -request.amount then
    applied := request.amount;
    perform pgledger._check_range(request, hot, applied);
  elsif request.shortfall = 'PARTIAL' and v_most > 0 then
    applied := (-v_most)::bigint;
  -- The cap first: nobody should be told to top up for what is capped anyway.
  elsif v_cap < (case when request.shortfall = 'PARTIAL' then 1 else -request.amount end) then
    code := 'LG008';
    select jsonb_build_object(
      'cap', c.amount,
      'used', c.amount::numeric - v_cap,
      'remaining', v_cap,
      'requested', -request.amount,
      'resets_at', to_char(c.resets_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
    into detail
    from pgledger.spending_caps c
    where c.account_id = request.account_id;
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
  'How much of a debit applies: all of it above the floor and within the spending cap, what both '
  'leave with PARTIAL, any amount with FORCE; else LG001, or LG008 for the cap; 22003 when the '
  'balance would leave the range of bigint. Private.';

revoke all on function
  pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) from public;

-- functions/_auto_top_up.sql

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

-- functions/_watched.sql

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

-- functions/_apply.sql

create or replace function pgledger._apply(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_answer pgledger.posting;
  v_released bigint := coalesce(request.released, 0);
begin
  perform pgledger._open_if_new(request.account_id);
  v_hot := pgledger._enter(request, hot, _apply.applied);
  v_answer := row(
    request.account_id, coalesce(request.key, '#' || v_hot.seq), v_hot.seq, request.type,
    _apply.applied, request.amount, v_hot.balance, null, null, 'POSTED', false, null,
    v_hot.updated_at)::pgledger.posting;

  if v_hot.pool is not null and (_apply.applied > 0 or v_released > 0) then
    v_hot := pgledger._expire_ended(v_hot);
  end if;
  perform pgledger._write_balance(v_hot, -v_released);

  v_answer.balance := v_hot.balance;
  v_answer.available := v_hot.balance - v_hot.held;
  if _apply.applied < 0
    and pgledger._is_low(
      v_answer.available, _apply.applied + v_released, v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, _apply.applied + v_released, request.reference);
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
    expires_at, credits_expire_at, priority)
  values (
    request.account_id, coalesce(request.key, '#' || gen_random_uuid()), _announce.applied,
    nullif(request.amount, _announce.applied), hot.updated_at, request.type,
    request.reference, request.external_id, request.metadata, request.expires_at,
    request.credits_expire_at, nullif(request.priority, 0))
  returning p.* into v_pending;

  if v_reserved > 0 and hot.pool is not null then
    v_hot := pgledger._reserve(hot, v_pending.key, v_reserved);
  end if;
  v_hot.held := hot.held + v_reserved;
  v_hot.attention_at := least(hot.attention_at, request.expires_at);
  update pgledger.balances b
  set pending_rows = b.pending_rows + 1
  where b.account_id = request.account_id;
  perform pgledger._write_balance(v_hot, v_reserved);

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
  -- Not asked again when an announced payment is enabled: who paid late is credited all the same.
  if request.credits_expire_at <= v_hot.updated_at then
    perform pgledger._reject('expires_at', request.credits_expire_at::text,
      'Credits expire in the future.');
  end if;
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

-- functions/_take_back.sql

create or replace function pgledger._take_back(account_id text, amount bigint) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  update pgledger.balances b
  set balance = b.balance - _take_back.amount, seq = b.seq - 1,
      pool = b.pool - case when b.head_lot is null then _take_back.amount else 0 end,
      head_left = b.head_left - _take_back.amount,
      cap_left = b.cap_left - least(_take_back.amount, 0)
  where b.account_id = _take_back.account_id;
end;
$$;

comment on function pgledger._take_back(text, bigint) is
  'Takes back what the fast path added to a balance row that it still has locked. Private.';

revoke all on function pgledger._take_back(text, bigint) from public;

-- functions/_take_back_hold.sql

create or replace function pgledger._take_back_hold(account_id text, amount bigint) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_attention_at timestamptz := pgledger._attention_at(_take_back_hold.account_id);
begin
  update pgledger.balances b
  set held = b.held - _take_back_hold.amount, pending_rows = b.pending_rows - 1,
      attention_at = v_attention_at,
      held_in_lots = b.held_in_lots
        - case when b.head_lot is null then 0 else _take_back_hold.amount end,
      head_left = b.head_left + _take_back_hold.amount
  where b.account_id = _take_back_hold.account_id;
end;
$$;

comment on function pgledger._take_back_hold(text, bigint) is
  'Takes back what the fast path of a hold added to a balance row that it still has locked. '
  'Private.';

revoke all on function pgledger._take_back_hold(text, bigint) from public;

-- functions/_take_back_capture.sql

create or replace function pgledger._take_back_capture(
  account_id text, amount bigint, held bigint, lot bigint, counts boolean
) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_pool bigint :=
    case when _take_back_capture.lot is null then _take_back_capture.amount else 0 end;
  v_in_lots bigint :=
    case when _take_back_capture.lot is null then 0 else _take_back_capture.held end;
  v_cap bigint := case when _take_back_capture.counts then _take_back_capture.amount else 0 end;
begin
  update pgledger.balances b
  set balance = b.balance - _take_back_capture.amount, seq = b.seq - 1,
      held = b.held + _take_back_capture.held,
      pool = b.pool - v_pool,
      held_in_lots = b.held_in_lots + v_in_lots,
      head_left = b.head_left - (_take_back_capture.held + _take_back_capture.amount),
      cap_left = b.cap_left - v_cap
  where b.account_id = _take_back_capture.account_id;
end;
$$;

comment on function pgledger._take_back_capture(text, bigint, bigint, bigint, boolean) is
  'Takes back what the fast path of a capture changed in a balance row that it still has '
  'locked: an amount below 0, of what was held in a lot or, null, in the pool; counts says '
  'whether under the spending cap. Private.';

revoke all on function
  pgledger._take_back_capture(text, bigint, bigint, bigint, boolean) from public;

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
  v_lot bigint;
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
        updated_at = greatest(b.updated_at, v_now),
        pool = b.pool + case when b.head_lot is null then _post.amount else 0 end,
        head_left = b.head_left + _post.amount, cap_left = b.cap_left + least(_post.amount, 0)
    where b.account_id = _post.account_id and b.attention_at > greatest(b.updated_at, v_now)
      and pgledger._allows(b.balance, b.held, b.floor, _post.amount)
      and pgledger._fits(b.head_lot, b.head_left, b.cap_left, _post.amount, _post.type = 'USAGE')
    returning b.balance, b.balance - b.held, b.seq, b.pending_rows, b.updated_at, b.head_lot,
      _post.amount < 0
      and pgledger._is_low(b.balance - b.held, _post.amount, b.low_below, b.top_up_below)
    into v_balance, v_available, v_seq, v_pending_rows, v_created_at, v_lot, v_is_low;
    exit try when not found;
    <<once>>
    begin
      if _post.key is null then
        insert into pgledger.transactions (
          account_id, seq, amount, running_balance, created_at, type, reference, metadata, lot)
        values (_post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata, v_lot);
      else
        if v_pending_rows > 0 then
          exit once when exists (select from pgledger.pending_transactions p
            where p.account_id = _post.account_id and p.key = _post.key);
        end if;
        insert into pgledger.transactions (
          account_id, seq, amount, running_balance, created_at, type, reference, metadata, lot, key)
        values (_post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata, v_lot, _post.key)
        on conflict (account_id, key) where key is not null do nothing;
        exit once when not found;
      end if;
      v_answer := row(_post.account_id, coalesce(_post.key, '#' || v_seq), v_seq, _post.type,
        _post.amount, _post.amount, v_balance, v_balance, v_available, 'POSTED', false, null,
        v_created_at)::pgledger.posting;
      return case when v_is_low
        then pgledger._watched(v_answer, _post.amount, _post.reference) else v_answer end;
    end;
    perform pgledger._take_back(_post.account_id, _post.amount);
  end;
  return pgledger._post_under_lock(pgledger._asked(
    _post.account_id, _post.amount, _post.type, _post.key, _post.shortfall, _post.reference,
    _post.metadata, _post.raise_refusals));
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
  v_lot bigint;
  v_is_low boolean;
  v_answer pgledger.posting;
  v_request pgledger._request;
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
        attention_at = least(b.attention_at, _hold.expires_at),
        held_in_lots = b.held_in_lots + case when b.head_lot is null then 0 else _hold.amount end,
        head_left = b.head_left - _hold.amount
    where b.account_id = _hold.account_id and b.attention_at > v_now
      and b.held <= 9223372036854775807 - _hold.amount
      and pgledger._allows(b.balance, b.held, b.floor, -_hold.amount)
      and pgledger._fits(b.head_lot, b.head_left, b.cap_left, -_hold.amount, true)
    returning b.balance, b.balance - b.held, b.head_lot, pgledger._is_low(
      b.balance - b.held, -_hold.amount, b.low_below, b.top_up_below)
    into v_balance, v_available, v_lot, v_is_low;
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
        account_id, key, amount, created_at, type, reference, metadata, expires_at, lot)
      values (
        _hold.account_id, v_key, -_hold.amount, v_now, 'USAGE', _hold.reference, _hold.metadata,
        _hold.expires_at, v_lot)
      on conflict (account_id, key) do nothing;
      exit once when not found;
      v_answer := row(_hold.account_id, v_key, null, 'USAGE', -_hold.amount, -_hold.amount, null,
        v_balance, v_available, 'PENDING', false, null, v_now)::pgledger.posting;
      return case when v_is_low
        then pgledger._watched(v_answer, -_hold.amount, _hold.reference) else v_answer end;
    end;
    perform pgledger._take_back_hold(_hold.account_id, _hold.amount);
  end;
  v_request := pgledger._asked(
    _hold.account_id, -_hold.amount, 'USAGE', _hold.key, 'REFUSE', _hold.reference, _hold.metadata,
    _hold.raise_refusals);
  v_request.announced := true;
  v_request.expires_at := _hold.expires_at;
  return pgledger._post_under_lock(v_request);
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
  v_lot bigint;
  v_amount bigint;
  v_balance bigint;
  v_available bigint;
  v_seq bigint;
  v_created_at timestamptz;
  v_is_low boolean;
  v_answer pgledger.posting;
begin
  select -p.amount, p.type, p.reference, p.external_id, p.metadata, p.lot
  into v_held, v_type, v_reference, v_external_id, v_metadata, v_lot
  from pgledger.pending_transactions p
  where p.account_id = _capture.account_id and p.key = _capture.key
    and p.status = 'PENDING' and p.amount < 0 and (p.lot > 0 or p.lot is null);
  if not found then return null; end if;
  v_amount := coalesce(-_capture.amount, -v_held);
  if v_amount < -v_held then return null; end if;

  update pgledger.balances b
  set balance = b.balance + v_amount, seq = b.seq + 1, updated_at = greatest(b.updated_at, v_now),
      held = b.held - v_held,
      pool = b.pool + case when v_lot is null then v_amount else 0 end,
      held_in_lots = b.held_in_lots - case when v_lot is null then 0 else v_held end,
      head_left = b.head_left + (v_held + v_amount),
      cap_left = b.cap_left + case when v_type = 'USAGE' then v_amount else 0 end
  where b.account_id = _capture.account_id and b.attention_at > greatest(b.updated_at, v_now)
    and b.held >= v_held and coalesce(b.cap_left, 0) >= 0
    -- What is not captured goes back to the head, or else the slow way finds where.
    and (v_amount = -v_held or b.head_lot is not distinct from v_lot)
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
    perform pgledger._take_back_capture(
      _capture.account_id, v_amount, v_held, v_lot, v_type = 'USAGE');
    return null;
  end if;

  insert into pgledger.transactions (
    account_id, seq, amount, running_balance, created_at, type, key, reference, external_id,
    metadata, lot)
  values (
    _capture.account_id, v_seq, v_amount, v_balance, v_created_at, v_type, _capture.key,
    v_reference, v_external_id, v_metadata, v_lot);

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
  return pgledger._asked(
    pgledger._checked_account(_settlement.account_id), null, null,
    pgledger._checked_key(_settlement.key), 'REFUSE', null, null, _settlement.raise_refusals);
end;
$$;

comment on function pgledger._settlement(text, text, boolean) is
  'The request to settle a pending transaction, its account and key checked. Private.';

revoke all on function pgledger._settlement(text, text, boolean) from public;

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
  v_final.credits_expire_at := pending.credits_expire_at;
  v_final.priority := pending.priority;

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
  set status = 'ENABLED', settled_at = hot.updated_at
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

create or replace function pgledger._pending_by_key(
  hot pgledger.balances, key text, is_hold boolean
) returns pgledger.pending_transactions
language plpgsql
as $$
declare
  v_pending pgledger.pending_transactions;
begin
  select p.* into v_pending
  from pgledger.pending_transactions p
  where p.account_id = hot.account_id and p.key = _pending_by_key.key;

  if _pending_by_key.is_hold and v_pending.amount > 0 then
    perform pgledger._reject('key', _pending_by_key.key,
      'This is an announced credit, not a hold: use enable_transaction or cancel_transaction.');
  end if;
  v_pending.status := pgledger._pending_status(
    v_pending.status, v_pending.expires_at, hot.updated_at);
  return v_pending;
end;
$$;

comment on function pgledger._pending_by_key(pgledger.balances, text, boolean) is
  'The pending transaction of a key as it is at hot.updated_at; its key null when there is '
  'none; 22023 when it is no hold and must be one. Only under the lock of the balance row. '
  'Private.';

revoke all on function pgledger._pending_by_key(pgledger.balances, text, boolean) from public;

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
  v_sources pgledger._sources;
begin
  update pgledger.pending_transactions p
  set status = 'CANCELLED', settled_at = hot.updated_at, reason = _cancel.reason
  where p.account_id = pending.account_id and p.key = pending.key
  returning p.* into strict v_pending;

  v_hot.held := hot.held - v_reserved;
  if v_reserved > 0 and hot.pool is not null then
    v_hot := pgledger._put_head_back(v_hot);
    v_sources := pgledger._unreserve(hot, pending.key, 0);
    v_hot.held_in_lots := hot.held_in_lots - v_sources.unreserved;
    v_hot.attention_at := least(hot.attention_at, v_sources.attention_at);
    v_hot := pgledger._expire_ended(v_hot);
  end if;
  -- Nothing changes without its balance row, so that an older snapshot meets a conflict (40001).
  perform pgledger._write_balance(v_hot, -v_reserved);

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
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  v_pending := pgledger._pending_by_key(v_hot, request.key, _enable_by_key.is_hold);

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
      v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
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
  perform pgledger._check_reason(_cancel_by_key.reason);

  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  v_pending := pgledger._pending_by_key(v_hot, request.key, _cancel_by_key.is_hold);
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

  -- What is due first: what expired of the original is not left to be undone.
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
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
  v_pool bigint;
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
    select b.balance, b.pool, count(p.key) into strict v_balance, v_pool, v_pending
    from pgledger.balances b
    left join pgledger.pending_transactions p
      on p.account_id = b.account_id
      and pgledger._pending_status(p.status, p.expires_at, v_now) = 'PENDING'
    where b.account_id = v_account.account_id
    group by b.balance, b.pool;

    -- Credits in a lot would expire, and leave a closed account with the debt that they cover.
    if v_balance <> 0 or v_pool <> 0 or v_pending > 0 then
      raise exception using
        errcode = '55000',
        message = 'account not empty',
        detail = jsonb_build_object(
          'account_id', v_account.account_id,
          'balance', v_balance,
          'in_lots', coalesce(v_balance - v_pool, 0),
          'pending', v_pending)::text,
        hint = 'Bring the balance and each lot to 0, settle what is pending, then close it.';
    end if;
  end if;

  update pgledger.accounts a
  set status = set_account_status.status
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  if v_account.status = 'CLOSED' then
    perform pgledger._clear_plan(v_account.account_id);
  end if;
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
  'Opens, freezes or closes an account and answers with its settings. FROZEN refuses debits '
  'that ask, not credits, and not movements with fail_insufficient_credits => false. CLOSED '
  'refuses everything; 55000 unless the balance is 0, in each lot as well, and nothing is '
  'pending; it ends the account''s plan. A repeat changes nothing. Refuses with LG003, 55000, '
  '22023 and 22004.';

revoke all on function
  pgledger.set_account_status(text, pgledger.account_status) from public;

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
  expires_at timestamptz default null,
  priority integer default 0,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
begin
  if add_transaction.priority is null then
    perform pgledger._reject('priority', null, 'A whole number; the pool''s priority is 0.');
  end if;
  -- What the fast path knows nothing of is judged under the lock, and so is what is no movement.
  if add_transaction.is_active
    and add_transaction.fail_insufficient_credits is not false
    and add_transaction.ceiling_balance is null
    and add_transaction.external_id is null
    and add_transaction.expires_at is null
    and add_transaction.priority = 0
    and add_transaction.amount <> 0
    and add_transaction.amount > -9223372036854775808
    and add_transaction.type is not null
  then
    return pgledger._post(
      add_transaction.account_id, add_transaction.amount, add_transaction.type,
      add_transaction.key, add_transaction.reference, add_transaction.metadata,
      'REFUSE', add_transaction.raise_refusals);
  end if;


  v_request := pgledger._asked(
    add_transaction.account_id, add_transaction.amount, add_transaction.type, add_transaction.key,
    case when add_transaction.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    add_transaction.reference, add_transaction.metadata, add_transaction.raise_refusals);
  v_request.announced := not add_transaction.is_active;
  v_request.ceiling_balance := add_transaction.ceiling_balance;
  v_request.external_id := add_transaction.external_id;
  v_request.priority := add_transaction.priority;
  if add_transaction.amount < 0 and v_request.announced then
    v_request.expires_at := add_transaction.expires_at;
  else
    v_request.credits_expire_at := add_transaction.expires_at;
  end if;
  return pgledger._post_under_lock(v_request);
end;
$$;

comment on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  timestamptz, integer, boolean) is
  'Posts one movement of any type: amount > 0 credits, amount < 0 debits, in minor units. The '
  'first credit opens the account. is_active => false announces it, to be enabled or cancelled '
  'later; a debit is then a hold. ceiling_balance posts only what fits under it. '
  'fail_insufficient_credits => false debits whatever the balance, even of a frozen account (a '
  'chargeback). A credit with expires_at, an instant in the future, or with a priority other '
  'than 0 forms a lot: lower priorities are drawn first, then what expires first; from '
  'expires_at on what remains is gone. Of an announced debit expires_at is the hold''s own. A '
  'repeat of the key, or of the external_id in the same direction, changes nothing and answers '
  'with the original. Refuses with LG001, LG002, LG004, LG005, LG008, 22003, 22023 and 22004.';

revoke all on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  timestamptz, integer, boolean) from public;

-- functions/spend.sql

create or replace function pgledger.spend(
  account_id text,
  amount bigint,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  shortfall text default 'REFUSE',
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(spend.amount > 0, false) then
    perform pgledger._reject('amount', spend.amount::text,
      'A spend is a positive whole number of minor units.');
  end if;
  if not coalesce(spend.shortfall in ('REFUSE', 'PARTIAL', 'DEBT'), false) then
    perform pgledger._reject('shortfall', spend.shortfall, 'One of REFUSE, PARTIAL, DEBT.');
  end if;

  return pgledger._post(
    spend.account_id, -spend.amount, 'USAGE', spend.key, spend.reference, spend.metadata,
    spend.shortfall, spend.raise_refusals);
end;
$$;

comment on function pgledger.spend(text, bigint, text, text, jsonb, text, boolean) is
  'Takes credits for usage: amount > 0, minor units. When available credits above min_balance '
  'do not cover it, shortfall decides: REFUSE refuses, PARTIAL spends what is there (the '
  'answer''s amount) and refuses when nothing is, DEBT goes down to debt_floor. An account that '
  'never had a credit is short of credits. A repeat of the key changes nothing and answers with '
  'the original. A spending cap limits every spend, PARTIAL to what it leaves. Refuses with '
  'LG001, LG002, LG004, LG008, 22023 and 22004.';

revoke all on function pgledger.spend(text, bigint, text, text, jsonb, text, boolean) from public;

-- functions/top_up.sql

create or replace function pgledger.top_up(
  account_id text,
  amount bigint,
  key text default null,
  is_active boolean default true,
  ceiling_balance bigint default null,
  reference text default null,
  external_id text default null,
  metadata jsonb default null,
  expires_at timestamptz default null,
  priority integer default 0,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(top_up.amount > 0, false) then
    perform pgledger._reject('amount', top_up.amount::text,
      'A top-up is a positive whole number of minor units.');
  end if;

  return pgledger.add_transaction(
    account_id => top_up.account_id,
    amount => top_up.amount,
    type => 'TOP_UP',
    key => top_up.key,
    is_active => top_up.is_active,
    ceiling_balance => top_up.ceiling_balance,
    reference => top_up.reference,
    external_id => top_up.external_id,
    metadata => top_up.metadata,
    expires_at => top_up.expires_at,
    priority => top_up.priority,
    raise_refusals => top_up.raise_refusals);
end;
$$;

comment on function pgledger.top_up(
  text, bigint, text, boolean, bigint, text, text, jsonb, timestamptz, integer, boolean) is
  'Credits what was paid: amount > 0, minor units. is_active => false announces a payment that '
  'is not made yet; enable_transaction makes it effective, cancel_transaction drops it. '
  'external_id is the provider''s id: it has one effect, ever, whatever the key. expires_at and '
  'priority are those of the credits, not of the announcement. Otherwise as add_transaction. '
  'Refuses with LG002, LG004, LG005, 22003, 22023 and 22004.';

revoke all on function pgledger.top_up(
  text, bigint, text, boolean, bigint, text, text, jsonb, timestamptz, integer, boolean)
  from public;

-- functions/grant_credits.sql

create or replace function pgledger.grant_credits(
  account_id text,
  amount bigint,
  key text default null,
  expires_at timestamptz default null,
  priority integer default 0,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(grant_credits.amount > 0, false) then
    perform pgledger._reject('amount', grant_credits.amount::text,
      'A grant is a positive whole number of minor units.');
  end if;

  return pgledger.add_transaction(
    account_id => grant_credits.account_id,
    amount => grant_credits.amount,
    type => 'GRANT',
    key => grant_credits.key,
    reference => grant_credits.reference,
    metadata => grant_credits.metadata,
    expires_at => grant_credits.expires_at,
    priority => grant_credits.priority,
    raise_refusals => grant_credits.raise_refusals);
end;
$$;

comment on function pgledger.grant_credits(
  text, bigint, text, timestamptz, integer, text, jsonb, boolean) is
  'Credits what nobody paid for: a trial, a promotion, goodwill. amount > 0, minor units. With '
  'expires_at they are gone from that instant on, with no job running; priority says what is '
  'drawn first, the lowest; the pool''s is 0. Otherwise as add_transaction. Refuses with LG002, '
  'LG004, 22003, 22023 and 22004.';

revoke all on function
  pgledger.grant_credits(
  text, bigint, text, timestamptz, integer, text, jsonb, boolean) from public;

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
  'available above min_balance. capture spends them, release gives them back. From expires_at '
  'on, an instant in the future, it reserves nothing, with no job running; without one it stays '
  'until it is settled. The answer is PENDING, its amount negative. A repeat of the key changes '
  'nothing and answers with the original, if it repeats expires_at too: compute that once. '
  'Refuses with LG001, LG002, LG004, LG008 (larger than what the spending cap leaves), 22003, '
  '22023 and 22004.';

revoke all on function
  pgledger.hold(text, bigint, text, timestamptz, text, jsonb, boolean) from public;

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
declare
  v_request pgledger._request;
begin
  v_request := pgledger._asked(
    refund.account_id, refund.amount, 'REFUND', refund.key,
    case when refund.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    refund.reference, refund.metadata, refund.raise_refusals);
  v_request.external_id := refund.external_id;
  return pgledger._undo(v_request, refund.original_key);
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
  extend interval default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
begin
  if reverse_transaction.extend is not null then
    perform pgledger._checked_span('extend', reverse_transaction.extend);
  end if;
  v_request := pgledger._asked(
    reverse_transaction.account_id, reverse_transaction.amount, 'REVERSAL',
    reverse_transaction.key, 'REFUSE', reverse_transaction.reference,
    reverse_transaction.metadata, reverse_transaction.raise_refusals);
  v_request.extend := reverse_transaction.extend;
  return pgledger._undo(v_request, reverse_transaction.original_key);
end;
$$;

comment on function pgledger.reverse_transaction(
  text, text, bigint, text, text, jsonb, interval, boolean) is
  'Undoes a posted USAGE, GRANT, CARD_CHECK or ADJUSTMENT by a REVERSAL the other way: amount > '
  '0 of it, minor units, or all that remains of it. May be repeated, under other keys, up to '
  'the original. What a debit drew goes back to the very lots that paid, the last drawn first; '
  'what comes back to a lot that has ended expires at once, unless extend (above 0, at most 100 '
  'years) lets that lot live on for so long from now. To reverse a credit takes from its own '
  'lot first, and may leave a debt; what expired of it is gone already. A TOP_UP is undone by '
  'refund. A repeat of the key changes nothing and answers with the original reversal. Refuses '
  'with LG002, LG004 (closed), LG006, LG009, 22003, 22023 (cannot be reversed) and 22004.';

revoke all on function pgledger.reverse_transaction(
  text, text, bigint, text, text, jsonb, interval, boolean) from public;

-- functions/_lot_of.sql

create or replace function pgledger._lot_of(account_id text, key text) returns pgledger.lots
language plpgsql stable
as $$
declare
  v_seq bigint;
  v_lot pgledger.lots;
begin
  select t.seq into v_seq
  from pgledger.transactions t
  where t.account_id = _lot_of.account_id
    and (t.key = _lot_of.key or t.seq = pgledger._seq_of(_lot_of.key));
  if not found then
    return null;
  end if;

  select l.* into v_lot
  from pgledger.lots l
  where l.account_id = _lot_of.account_id and l.seq = v_seq;
  if not found then
    perform pgledger._reject('key', _lot_of.key,
      'It made no lot: only a credit with an expiry or a priority does.');
  end if;
  return v_lot;
end;
$$;

comment on function pgledger._lot_of(text, text) is
  'The lot that the transaction of a key made; null when there is no such transaction, 22023 '
  'when it made none. Private.';

revoke all on function pgledger._lot_of(text, text) from public;

-- functions/revoke_lot.sql

create or replace function pgledger.revoke_lot(
  account_id text,
  key text,
  reason text default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_lot pgledger.lots;
  v_posted pgledger.transactions;
  v_code text;
  v_detail jsonb;
begin
  v_request := pgledger._settlement(
    revoke_lot.account_id, revoke_lot.key, revoke_lot.raise_refusals);
  perform pgledger._check_reason(revoke_lot.reason);
  v_request.type := 'REVERSAL';
  v_request.shortfall := 'FORCE';
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_request.account_id));
  v_lot := pgledger._lot_of(v_request.account_id, v_request.key);
  if v_lot.seq is null then
    return pgledger._refuse(v_request, v_hot, 'LG006', '{}');
  end if;

  v_request.key := '#revoke-' || v_lot.seq;
  select t.* into v_posted
  from pgledger.transactions t
  where t.account_id = v_request.account_id and t.key = v_request.key;
  if found then
    return pgledger._as_posting(v_posted, null, v_hot, true);
  end if;
  if v_hot.head_lot = v_lot.seq then
    v_lot.remaining := v_hot.head_left;
  end if;
  v_request.amount := -greatest(v_lot.remaining, 1);
  select j.code, j.detail into v_code, v_detail from pgledger._judge(v_request, v_hot) j;
  if v_code is not null then
    return pgledger._refuse(v_request, v_hot, v_code, v_detail);
  elsif v_lot.remaining = 0 then
    return pgledger._refuse(v_request, v_hot, 'LG009', jsonb_build_object(
      'original', revoke_lot.key, 'remaining', 0, 'requested', 1));
  end if;

  -- What holds give back to it later, or reversals, is not to be spent either.
  update pgledger.lots l
  set expires_at = least(l.expires_at, v_hot.updated_at)
  where l.account_id = v_request.account_id and l.seq = v_lot.seq;
  v_request.original_seq := v_lot.seq;
  v_request.metadata := jsonb_strip_nulls(jsonb_build_object('reason', revoke_lot.reason));
  return pgledger._apply(v_request, v_hot, v_request.amount);
end;
$$;

comment on function pgledger.revoke_lot(text, text, text, boolean) is
  'Takes back all that is free in one lot, named by the key of the credit that made it, and '
  'ends the lot: what holds or reversals give back to it later expires at once. Posted as a '
  'REVERSAL of that credit under the key #revoke-<seq>, so it counts as undone for refund and '
  'reverse_transaction. reason: 1 to 1000 characters, kept in its metadata. A repeat changes '
  'nothing and answers with the original. Refuses with LG004 (closed), LG006, LG009 (nothing '
  'free in it), 22023 (made no lot) and 22004.';

revoke all on function pgledger.revoke_lot(text, text, text, boolean) from public;

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
  v_debit := pgledger._asked(
    transfer.from_account_id, -transfer.amount, 'TRANSFER', transfer.key, 'REFUSE',
    transfer.reference, transfer.metadata, transfer.raise_refusals);
  v_debit.counterparty := transfer.to_account_id;
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

-- functions/_allowance.sql

create or replace function pgledger._allowance(account_id text, at timestamptz) returns bigint
language plpgsql stable
as $$
declare
  v_on pgledger.account_plans;
  v_plan pgledger.plans;
  v_anchor timestamptz;
  v_key text;
begin
  select n.* into v_on
  from pgledger._plan_now(_allowance.account_id, _allowance.at) n;
  select p.* into v_plan
  from pgledger.plans p
  where p.code = v_on.plan;

  v_anchor := pgledger._period_anchor(v_on, v_plan);
  v_key := pgledger._refill_key(v_plan, v_anchor, pgledger._period_number(
    v_plan.period, v_plan.time_zone, v_anchor, _allowance.at));
  return (
    select l.seq
    from pgledger.transactions t
    join pgledger.lots l on l.account_id = _allowance.account_id and l.seq = t.seq
    where t.account_id = _allowance.account_id and t.key = v_key);
end;
$$;

comment on function pgledger._allowance(text, timestamptz) is
  'The lot that its plan granted an account for the period that holds an instant; null where '
  'there is none: no plan, one that resets nothing, or not posted yet. Private.';

revoke all on function pgledger._allowance(text, timestamptz) from public;

-- functions/_expire_allowance.sql

create or replace function pgledger._expire_allowance(hot pgledger.balances)
returns pgledger.balances
language plpgsql
as $$
declare
  v_lot bigint := pgledger._allowance(hot.account_id, hot.updated_at);
begin
  if v_lot is null then
    return hot;
  end if;
  return pgledger._expire_lot(hot, v_lot);
end;
$$;

comment on function pgledger._expire_allowance(pgledger.balances) is
  'Lets what remains of the current allowance of an account''s RESET plan expire now. The '
  'balance row after that. Only under its lock, after what was due is posted. Private.';

revoke all on function pgledger._expire_allowance(pgledger.balances) from public;

-- functions/_store_plan.sql

create or replace function pgledger._store_plan(
  account_id text, plan text, starts_at timestamptz, at_once boolean, at timestamptz
) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  -- What lies behind is not granted: the first refill is that of the period that holds now.
  insert into pgledger.account_plans as p (account_id, plan, starts_at, refill_at)
  values (
    _store_plan.account_id, _store_plan.plan,
    coalesce(_store_plan.starts_at, _store_plan.at),
    greatest(_store_plan.starts_at, _store_plan.at))
  on conflict (account_id) do nothing;

  if not found then
    update pgledger.account_plans p
    set next_plan = nullif(_store_plan.plan, p.plan)
    where p.account_id = _store_plan.account_id;

    if _store_plan.at_once then
      update pgledger.account_plans p
      set plan = p.next_plan, next_plan = null, starts_at = _store_plan.at,
          refill_at = _store_plan.at
      where p.account_id = _store_plan.account_id and p.next_plan is not null;
    end if;
  end if;
end;
$$;

comment on function pgledger._store_plan(text, text, timestamptz, boolean, timestamptz) is
  'Puts an account on a plan, under the lock of its balance row: at an instant where it is on no '
  'plan yet, or where at_once says so; else with its next refill. Its own plan again only drops a '
  'change that waits. What this makes due the caller settles. Private.';

revoke all on function
  pgledger._store_plan(text, text, timestamptz, boolean, timestamptz) from public;

-- functions/_clear_plan.sql

create or replace function pgledger._clear_plan(account_id text) returns void
language plpgsql
as $$
begin
  delete from pgledger.account_plans p
  where p.account_id = _clear_plan.account_id;
end;
$$;

comment on function pgledger._clear_plan(text) is
  'Takes an account off its plan, under the lock of its balance row. Private.';

revoke all on function pgledger._clear_plan(text) from public;

-- functions/create_plan.sql

create or replace function pgledger.create_plan(
  code text,
  amount bigint,
  period interval,
  policy pgledger.refill_policy,
  anchor pgledger.plan_anchor default 'CALENDAR',
  time_zone text default 'UTC',
  metadata jsonb default null
) returns pgledger.plans
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_given pgledger.plans;
  v_recorded pgledger.plans;
  v_terms jsonb;
  v_others jsonb;
begin
  v_given.code := create_plan.code;
  v_given.amount := create_plan.amount;
  v_given.period := create_plan.period;
  v_given.policy := create_plan.policy;
  v_given.anchor := create_plan.anchor;
  v_given.time_zone := create_plan.time_zone;
  v_given.metadata := coalesce(create_plan.metadata, '{}');
  perform pgledger._check_plan(v_given);

  insert into pgledger.plans (code, amount, period, policy, anchor, time_zone, metadata)
  values (
    v_given.code, v_given.amount, v_given.period, v_given.policy, v_given.anchor,
    v_given.time_zone, v_given.metadata)
  on conflict (code) do nothing;

  select p.* into strict v_recorded
  from pgledger.plans p
  where p.code = create_plan.code;

  -- As texts: a month is no term of 30 days, though the two intervals are equal.
  v_terms := to_jsonb(v_recorded) - array['metadata', 'created_at'];
  v_others := to_jsonb(v_given) - array['metadata', 'created_at'];
  if v_terms <> v_others then
    raise exception using
      errcode = 'LG002',
      message = 'idempotency conflict',
      detail = jsonb_build_object(
        'plan', create_plan.code, 'recorded', v_terms, 'given', v_others)::text,
      hint = 'A plan is never changed: give other terms another code.';
  end if;
  return v_recorded;
end;
$$;

comment on function pgledger.create_plan(
  text, bigint, interval, pgledger.refill_policy, pgledger.plan_anchor, text, jsonb) is
  'Records a plan and answers with it. code is 1 to 200 characters; amount > 0 in minor units is '
  'granted each period (ADD), filled up to (TOP_UP_TO), or granted as a lot that expires with the '
  'period (RESET). Periods of the CALENDAR in time_zone are 1 day, 7 days (from Monday), 1, 3 or '
  '12 months; with anchor ACCOUNT they are any whole days or months, from where the account '
  'began. A plan is never changed: a repeat changes nothing and answers with what is recorded, '
  'LG002 when its terms (all but metadata) differ. Refuses with LG002, 22023 and 22004.';

revoke all on function pgledger.create_plan(
  text, bigint, interval, pgledger.refill_policy, pgledger.plan_anchor, text, jsonb) from public;

-- functions/assign_plan.sql

create or replace function pgledger.assign_plan(
  account_id text,
  plan text,
  starts_at timestamptz default null,
  at_once boolean default false,
  expire_allowance boolean default false
) returns pgledger.account_plans
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_account pgledger.accounts;
  v_hot pgledger.balances;
  v_on pgledger.account_plans;
begin
  v_request.account_id := pgledger._checked_account(assign_plan.account_id);
  perform pgledger._check_assignment(
    assign_plan.plan, assign_plan.starts_at, assign_plan.at_once, assign_plan.expire_allowance);

  v_account := pgledger._lock_account(v_request.account_id);
  if v_account.status = 'CLOSED' then
    perform pgledger._refuse(v_request, v_hot, 'LG004',
      jsonb_build_object('status', v_account.status));
  end if;

  select p.* into v_on
  from pgledger.account_plans p
  where p.account_id = v_account.account_id;
  if v_on.plan <> assign_plan.plan and assign_plan.starts_at is not null
    or v_on.starts_at <> assign_plan.starts_at
  then
    perform pgledger._reject('starts_at', assign_plan.starts_at::text,
      'The account is on a plan: another begins with its next refill, or at_once.');
  end if;

  -- The old allowance ends and the new one begins at one instant.
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_account.account_id));
  if assign_plan.expire_allowance and v_on.plan <> assign_plan.plan then
    v_hot := pgledger._expire_allowance(v_hot);
  end if;
  perform pgledger._store_plan(v_account.account_id, assign_plan.plan, assign_plan.starts_at,
    assign_plan.at_once, v_hot.updated_at);
  v_hot.attention_at := v_hot.updated_at;
  perform pgledger._settle_due(v_hot);

  select p.* into strict v_on
  from pgledger.account_plans p
  where p.account_id = v_account.account_id;
  return v_on;
end;
$$;

comment on function pgledger.assign_plan(text, text, timestamptz, boolean, boolean) is
  'Puts an account on a plan, grants what that makes due now, and answers with the assignment. On '
  'no plan yet it begins at starts_at (default: now); one in the past only says where the periods '
  'of an ACCOUNT plan are counted from, and grants the period that holds now; one in the future '
  'waits. Another plan takes over with the next refill, or now with at_once => true, where '
  'expire_allowance => true lets what remains of a RESET allowance expire. The plan it is on '
  'already changes nothing but drops a change that waits. A period is granted once per plan, '
  'however often the account comes back to it. Refuses with LG003, LG004 (closed), 22023 (no '
  'such plan, starts_at of an account on a plan) and 22004.';

revoke all on function
  pgledger.assign_plan(text, text, timestamptz, boolean, boolean) from public;

-- functions/clear_plan.sql

create or replace function pgledger.clear_plan(
  account_id text,
  expire_allowance boolean default false
) returns setof pgledger.account_plans
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
begin
  if clear_plan.expire_allowance is null then
    perform pgledger._reject('expire_allowance', null, 'true or false.');
  end if;

  v_account := pgledger._lock_account(clear_plan.account_id);
  return query
    select p.*
    from pgledger.account_plans p
    where p.account_id = v_account.account_id;

  if clear_plan.expire_allowance then
    perform pgledger._expire_allowance(
      pgledger._settle_due(pgledger._lock_balance(v_account.account_id)));
  end if;
  perform pgledger._clear_plan(v_account.account_id);
end;
$$;

comment on function pgledger.clear_plan(text, boolean) is
  'Takes an account off its plan, after what is due was granted, and answers with what it was on; '
  'no row when on none. What was granted stays, unless expire_allowance => true lets what remains '
  'of the current allowance of a RESET plan expire now. A repeat changes nothing. Refuses with '
  'LG003, 22023 and 22004.';

revoke all on function pgledger.clear_plan(text, boolean) from public;

-- functions/set_spending_cap.sql

create or replace function pgledger.set_spending_cap(
  account_id text,
  amount bigint,
  period interval default '1 month',
  time_zone text default 'UTC'
) returns setof pgledger.spending_caps
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_account pgledger.accounts;
  v_hot pgledger.balances;
  v_cap record;
begin
  if set_spending_cap.amount < 0 then
    perform pgledger._reject('amount', set_spending_cap.amount::text,
      'A cap is 0 or a positive whole number of minor units; null takes it away.');
  end if;
  perform pgledger._checked_period(set_spending_cap.period, 'CALENDAR');
  perform pgledger._checked_time_zone(set_spending_cap.time_zone);

  v_account := pgledger._lock_account(set_spending_cap.account_id);
  v_hot := pgledger._lock_balance(v_account.account_id);
  delete from pgledger.spending_caps c
  where c.account_id = v_account.account_id;
  if set_spending_cap.amount is not null then
    insert into pgledger.spending_caps (account_id, amount, period, time_zone, resets_at)
    values (
      v_account.account_id, set_spending_cap.amount, set_spending_cap.period,
      set_spending_cap.time_zone,
      pgledger._period_end(
        set_spending_cap.period, set_spending_cap.time_zone, null, v_hot.updated_at));
  end if;

  -- What was used in this period counts already. Without a cap there is no row, and all is null.
  select n.* into v_cap
  from pgledger._cap_now(v_account.account_id, v_hot.updated_at) n;
  update pgledger.balances b
  set cap_left = v_cap.cap_left, attention_at = least(b.attention_at, v_cap.resets_at)
  where b.account_id = v_account.account_id;

  return query
    select c.*
    from pgledger.spending_caps c
    where c.account_id = v_account.account_id;
end;
$$;

comment on function pgledger.set_spending_cap(text, bigint, interval, text) is
  'Sets, whole, what an account may use in each period of the calendar in time_zone (1 day, 7 '
  'days from Monday, 1, 3 or 12 months), and answers with the cap; amount >= 0 in minor units, '
  'null takes the cap away and answers with no row. USAGE counts when it is posted, so a hold '
  'when it is captured, and what was used in this period counts already; the reversal of usage '
  'of this period gives room back. A spend or hold beyond what is left is refused with LG008; '
  'captures and fail_insufficient_credits => false go through, and count. Moves no credits. A '
  'repeat changes nothing. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_spending_cap(text, bigint, interval, text) from public;

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
    v_answer := pgledger._auto_top_up(
      v_account, check_auto_top_up.reference, v_hot.updated_at);
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
    select d.account_id
    from (
      select p.account_id
      from pgledger.pending_transactions p
      where p.status = 'PENDING' and p.expires_at <= v_now
      union
      select l.account_id
      from pgledger.lots l
      where l.remaining > 0 and l.expires_at < 'infinity' and l.expires_at <= v_now
      union
      select n.account_id
      from pgledger.account_plans n
      where n.refill_at <= v_now
    ) d
    order by d.account_id collate "C"
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
    v_hot.updated_at := greatest(v_hot.updated_at, v_now);
    continue when v_hot.attention_at > v_hot.updated_at;

    perform pgledger._settle_due(v_hot);
    v_left := v_left - 1;
  end loop;

  return run_due.limit_count - v_left;
end;
$$;

comment on function pgledger.run_due(bigint) is
  'Posts what fell due across accounts: closes expired holds, expires lots and refills, up to '
  'limit_count accounts (1 to 10000), and 100 holds of each where they are in no lot; returns '
  'how many accounts it settled, 0 when nothing is left that nobody else works on. Only '
  'housekeeping: what is due counts anyway, and the next write posts it. May run any number of '
  'times, several at once. Refuses with 22023 and 22004.';

revoke all on function pgledger.run_due(bigint) from public;

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
  low_balance_level bigint,
  next_expiry_at timestamptz,
  next_expiry_amount bigint
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
    a.low_balance_level,
    next.expires_at,
    next.amount
  from pgledger._balance_now(pgledger._checked_account(get_balance.account_id)) now
  left join pgledger.accounts a on a.account_id = now.account_id
  left join lateral (
    -- Over a debt two lots may be more than a bigint, though no balance is.
    select e.expires_at, least(sum(e.amount), 9223372036854775807)::bigint as amount
    from (
      select n.expires_at, n.remaining as amount
      from pgledger._lots_now(now.account_id, statement_timestamp(), false) n
      where now.pool is not null and n.remaining > 0 and n.expires_at < 'infinity'
      union all
      select d.expires_at, d.amount
      from pgledger._allowance_due(
        pgledger._balance_row(now.account_id), statement_timestamp()) d
      where now.attention_at <= statement_timestamp()
    ) e
    group by e.expires_at
    order by e.expires_at
    limit 1
  ) next on true;
end;

comment on function pgledger.get_balance(text) is
  'One row: the balance, what holds reserve of it, what is available, the account''s floors and '
  'its low-balance level, in minor units, with its currency and status, and when credits expire '
  'next and how much then (both null when none do). Zeros and a null status for an unknown '
  'account. Refuses with 22023 and 22004.';

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
    and coalesce(v_now.cap_left >= check_credits.required, true)
    and pgledger._allows(v_now.balance, v_now.held, v_now.floor, -check_credits.required);
end;
$$;

comment on function pgledger.check_credits(text, bigint) is
  'Whether a spend of required > 0 minor units would be accepted now; it promises nothing, only '
  'the spend itself decides. False for an unknown, frozen or closed account; never true when it '
  'could not be told. Refuses with 22023 and 22004.';

revoke all on function pgledger.check_credits(text, bigint) from public;

-- functions/balance_at.sql

-- created_at never decreases with seq, so the last transaction up to an instant is found by
-- bisection over the primary key: about log2(n) index probes, and no index of its own.
create or replace function pgledger.balance_at(account_id text, at timestamptz) returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text := pgledger._checked_account(balance_at.account_id);
  v_low bigint := 0::bigint;
  v_high bigint;
  v_middle bigint;
  v_found record;
  v_balance bigint := 0::bigint;
  v_hot pgledger.balances;
begin
  if not coalesce(isfinite(balance_at.at), false) then
    perform pgledger._reject('at', balance_at.at::text, 'Give a finite point in time.');
  end if;

  select max(t.seq) into v_high
  from pgledger.transactions t
  where t.account_id = v_account;

  -- All up to v_low is in time; all above v_high is not.
  while v_low < v_high loop
    v_middle := v_high - (v_high - v_low) / 2;
    -- At or below, not equal: the history of another system may have gaps.
    select t.seq, t.created_at, t.running_balance into v_found
    from pgledger.transactions t
    where t.account_id = v_account and t.seq <= v_middle
    order by t.seq desc
    limit 1;

    if v_found.created_at > balance_at.at then
      v_high := v_found.seq - 1;
    else
      -- In time, or nothing there: that history may also begin late.
      v_balance := coalesce(v_found.running_balance, v_balance);
      v_low := v_middle;
    end if;
  end loop;

  v_hot := pgledger._balance_row(v_account);
  -- What will be posted is what is due now, as of when it fell due.
  if v_hot.attention_at <= least(balance_at.at, statement_timestamp()) then
    select (v_balance + coalesce(sum(d.amount), 0))::bigint into v_balance
    from pgledger._due(v_hot, statement_timestamp()) d
    where d.due_at <= balance_at.at;
  end if;
  return v_balance;
end;
$$;

comment on function pgledger.balance_at(text, timestamptz) is
  'The balance right after the last transaction up to and including an instant, minor units, '
  'with what fell due by then and is not posted yet; 0 before the first, and for an unknown '
  'account. Of refills that a plan grants only for the current period (TOP_UP_TO, RESET) those '
  'of periods that went by unposted are not in it. Refuses an infinite or missing instant with '
  '22023 and 22004.';

revoke all on function pgledger.balance_at(text, timestamptz) from public;

-- functions/lots.sql

create or replace function pgledger.lots(
  account_id text,
  include_closed boolean default true,
  limit_count bigint default 1000
) returns table (
  lot bigint,
  key text,
  type pgledger.transaction_type,
  granted bigint,
  drawn bigint,
  expired bigint,
  held bigint,
  remaining bigint,
  priority integer,
  expires_at timestamptz,
  created_at timestamptz,
  metadata jsonb
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select n.lot, coalesce(t.key, '#' || n.lot), t.type, n.granted,
    n.granted - n.remaining - n.held - n.expired, n.expired, n.held, n.remaining, n.priority,
    nullif(n.expires_at, 'infinity'), t.created_at, coalesce(t.metadata, '{}')
  from pgledger._lots_now(
    pgledger._checked_account(lots.account_id), statement_timestamp(),
    lots.include_closed is not false) n
  left join pgledger.transactions t on t.account_id = lots.account_id and t.seq = n.lot
  where lots.include_closed is not false or n.remaining + n.held > 0
  order by n.remaining + n.held > 0 desc,
    case when n.remaining + n.held > 0 then n.priority end,
    case when n.remaining + n.held > 0 then n.expires_at end,
    case when n.remaining + n.held > 0 then n.lot else -n.lot end
  limit pgledger._checked_limit(lots.limit_count);
end;

comment on function pgledger.lots(text, boolean, bigint) is
  'The lots of an account as of the start of the statement, limit_count of them (1 to 10000): '
  'first those with something left, in the order they are drawn, then, unless include_closed is '
  'false, those used up, newest first. granted is what the lot got; it is drawn + expired + '
  'held + remaining, in minor units. drawn is net of what reversals gave back, and includes '
  'what was revoked. key is that of the credit that made it; expires_at is null where it never '
  'does. Refuses with 22023 and 22004.';

revoke all on function pgledger.lots(text, boolean, bigint) from public;

-- functions/expiring.sql

create or replace function pgledger.expiring(
  account_id text,
  within interval default '30 days'
) returns table (
  lot bigint,
  key text,
  amount bigint,
  held bigint,
  expires_at timestamptz,
  priority integer
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgledger._checked_span('within', expiring.within);
  return query
    select n.lot, coalesce(t.key, '#' || n.lot), n.remaining, n.held, n.expires_at, n.priority
    from pgledger._lots_now(
      pgledger._checked_account(expiring.account_id), statement_timestamp(), false) n
    left join pgledger.transactions t on t.account_id = expiring.account_id and t.seq = n.lot
    where n.remaining > 0
      and n.expires_at < 'infinity'
      and n.expires_at <=
        (statement_timestamp() at time zone 'UTC' + expiring.within) at time zone 'UTC'
    order by n.expires_at, n.lot;
end;
$$;

comment on function pgledger.expiring(text, interval) is
  'What of an account is about to expire within a time above 0 and of at most 100 years, '
  'soonest first: which lot, how much would go (minor units), what holds reserve in it besides, '
  'which goes when they are released. Refuses with 22023 and 22004.';

revoke all on function pgledger.expiring(text, interval) from public;

-- functions/_why_drawn.sql

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

-- functions/_explain_posted.sql

create or replace function pgledger._explain_posted(posted pgledger.transactions)
returns table (
  lot bigint, amount bigint, priority integer, expires_at timestamptz, reason text, place bigint
)
language plpgsql stable
as $$
declare
  v_lot pgledger.lots;
  v_is_capture boolean;
begin
  if posted.amount < 0 or posted.type = 'REVERSAL' then
    v_is_capture := exists (
      select from pgledger.pending_transactions p
      where p.account_id = posted.account_id and p.key = posted.key);
    return query
      select d.lot, case when posted.amount < 0 then d.amount else -d.amount end, l.priority,
        l.expires_at, pgledger._why_drawn(posted, l, v_is_capture), d.place
      from pgledger.transaction_draws d
      left join pgledger.lots l on l.account_id = posted.account_id and l.seq = d.lot
      where d.account_id = posted.account_id and d.seq = posted.seq;
    return;
  end if;

  select l.* into v_lot
  from pgledger.lots l
  where l.account_id = posted.account_id and l.seq = posted.seq;
  return query
    select null::bigint, n.amount, 0, 'infinity'::timestamptz,
      case when v_lot.seq is null then 'into the pool' else 'paid a debt first' end, 1::bigint
    from (values (posted.amount - coalesce(v_lot.amount, 0))) n (amount)
    where n.amount > 0
    union all
    select v_lot.seq, v_lot.amount, v_lot.priority, v_lot.expires_at, 'a lot of its own', 2::bigint
    where v_lot.amount > 0;
end;
$$;

comment on function pgledger._explain_posted(pgledger.transactions) is
  'Where the credits of a posted transaction came from or went to, and why; amounts above 0. '
  'Private.';

revoke all on function pgledger._explain_posted(pgledger.transactions) from public;

-- functions/explain_transaction.sql

create or replace function pgledger.explain_transaction(account_id text, key text)
returns table (
  place bigint,
  lot bigint,
  lot_key text,
  amount bigint,
  priority integer,
  expires_at timestamptz,
  reason text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  with sources as (
    select e.lot, e.amount, e.priority, e.expires_at, e.reason, e.place
    from pgledger.transactions t
    cross join lateral pgledger._explain_posted(t) e
    where t.account_id = pgledger._checked_account(explain_transaction.account_id)
      and (
        t.key = pgledger._checked_key(explain_transaction.key)
        or t.seq = pgledger._seq_of(explain_transaction.key))
    union all
    select r.lot, r.amount, l.priority, l.expires_at,
      'reserved; ' || pgledger._why_drawn(null, l, false), r.place
    from pgledger._reserved(explain_transaction.account_id) r
    left join pgledger.lots l on l.account_id = explain_transaction.account_id and l.seq = r.lot
    where r.key = explain_transaction.key
      and (r.expires_at <= statement_timestamp()) is not true
  )
  select row_number() over (order by s.place), s.lot, coalesce(t.key, '#' || s.lot), s.amount,
    coalesce(s.priority, 0), nullif(s.expires_at, 'infinity'), s.reason
  from sources s
  left join pgledger.transactions t
    on t.account_id = explain_transaction.account_id and t.seq = s.lot
  order by s.place;
end;

comment on function pgledger.explain_transaction(text, text) is
  'Which lots paid for the transaction of a key, or of #<seq>, and why in that order: one row '
  'per source, lot null for the pool. Of a credit, where it went; of a reversal, what it gave '
  'back to whom; of an open hold, what it reserves. amount is above 0, minor units; expires_at '
  'is the lot''s as it is now, null where it never expires. No row when there is no such '
  'transaction. Refuses with 22023 and 22004.';

revoke all on function pgledger.explain_transaction(text, text) from public;

-- functions/explain_balance.sql

create or replace function pgledger.explain_balance(account_id text)
returns table (
  item text,
  lot bigint,
  key text,
  amount bigint,
  expires_at timestamptz,
  words text
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text := pgledger._checked_account(explain_balance.account_id);
  v_now timestamptz := statement_timestamp();
  v_row pgledger.balances := pgledger._balance_row(v_account);
  v_hot pgledger.balances := pgledger._without_due(v_row, v_now);
  v_pool bigint;
begin
  select (v_hot.balance - coalesce(sum(n.amount), 0))::bigint into v_pool
  from (
    select n.remaining + n.held as amount
    from pgledger._lots_now(v_account, v_now, false) n
    union all
    select d.amount
    from pgledger._allowance_due(v_row, v_now) d
  ) n;

  return query
    select i.item, i.lot, i.key, i.amount, i.expires_at, i.words
    from (
      select 1 as place, 0::bigint as rank, 'pool' as item, null::bigint as lot, null::text as key,
        greatest(v_pool, 0) as amount, null::timestamptz as expires_at,
        'credits without an expiry or a priority' as words
      union all
      select 2, row_number() over (order by l.priority, l.expires_at, l.lot), 'lot', l.lot, l.key,
        l.remaining + l.held, l.expires_at,
        'priority ' || l.priority || case when l.held > 0 then ', held: ' || l.held else '' end
      from pgledger.lots(v_account, false, 10000) l
      union all
      select 2, 9223372036854775807, 'lot', null, d.key, d.amount, d.expires_at,
        'priority 0, not posted yet'
      from pgledger._allowance_due(v_row, v_now) d
      union all
      select 3, 0, 'debt', null, null, v_pool, null, 'the next credits pay it first'
      where v_pool < 0
      union all
      select 4, 0, 'balance', null, null, v_hot.balance, null, 'all of the above'
      union all
      select 5, 0, 'held', null, null, -v_hot.held, null, 'reserved by open holds'
      union all
      select 6, 0, 'available', null, null, v_hot.balance - v_hot.held, null,
        'the balance without what is held'
      union all
      select 7, row_number() over (order by d.due_at), 'due', d.lot,
        coalesce(d.key, t.key, '#' || d.lot), d.amount, d.due_at,
        case when d.lot is null then 'refill' else 'expiry' end
          || ' counted above, posted with the next write'
      from pgledger._due(v_row, v_now) d
      left join pgledger.transactions t on t.account_id = v_account and t.seq = d.lot
      union all
      select 8, 0, 'refill', null, n.plan, n.amount, n.refill_at,
        case n.policy when 'TOP_UP_TO' then 'plan, fills up to the amount' else 'plan' end
      from pgledger.get_plan(v_account) n
    ) i
    order by i.place, i.rank;
end;
$$;

comment on function pgledger.explain_balance(text) is
  'The balance of an account in rows and words, as of the start of the statement, minor units: '
  'the pool, each lot with something left, a debt where there is one; the balance, which is '
  'their sum; what holds reserve of it (below 0) and what is available; then what fell due and '
  'is counted above but not posted yet (expires_at says when), and the next refill (expires_at '
  'says when). Refuses with 22023 and 22004.';

revoke all on function pgledger.explain_balance(text) from public;

-- functions/list_plans.sql

create or replace function pgledger.list_plans() returns setof pgledger.plans
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select p.*
  from pgledger.plans p
  order by p.code collate "C";
end;

comment on function pgledger.list_plans() is
  'All plans, by their codes. Refuses nothing.';

revoke all on function pgledger.list_plans() from public;

-- functions/_allowance_left.sql

create or replace function pgledger._allowance_left(account_id text, at timestamptz)
returns bigint
language plpgsql stable
as $$
declare
  v_lot bigint := pgledger._allowance(_allowance_left.account_id, _allowance_left.at);
  v_hot pgledger.balances := pgledger._balance_row(_allowance_left.account_id);
begin
  if v_lot is not null then
    return coalesce(
      (
        select n.remaining
        from pgledger._lots_now(_allowance_left.account_id, _allowance_left.at, false) n
        where n.lot = v_lot
      ), 0);
  end if;

  -- Due and not posted yet: it pays a debt of the pool first.
  return (
    select d.to_lot
    from pgledger._due(v_hot, _allowance_left.at) d
    where d.policy = 'RESET' and d.expires_at > _allowance_left.at);
end;
$$;

comment on function pgledger._allowance_left(text, timestamptz) is
  'What can still be drawn, at an instant, of what a RESET plan granted an account for the period '
  'that holds it, or is about to; minor units, null where there is none. Private.';

revoke all on function pgledger._allowance_left(text, timestamptz) from public;

-- functions/get_plan.sql

create or replace function pgledger.get_plan(account_id text)
returns table (
  plan text,
  policy pgledger.refill_policy,
  amount bigint,
  period interval,
  anchor pgledger.plan_anchor,
  time_zone text,
  starts_at timestamptz,
  refill_at timestamptz,
  next_plan text,
  allowance_left bigint
)
language plpgsql stable rows 1 security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := statement_timestamp();
  v_account text := pgledger._checked_account(get_plan.account_id);
  v_on pgledger.account_plans;
  v_plan pgledger.plans;
begin
  select n.* into v_on
  from pgledger._plan_now(v_account, v_now) n;
  if not found then
    return;
  end if;

  select p.* into strict v_plan
  from pgledger.plans p
  where p.code = v_on.plan;
  if v_on.refill_at <= v_now then
    v_on.refill_at := pgledger._period_end(v_plan.period, v_plan.time_zone,
      pgledger._period_anchor(v_on, v_plan), v_now);
  end if;

  return query select v_on.plan, v_plan.policy, v_plan.amount, v_plan.period, v_plan.anchor,
    v_plan.time_zone, v_on.starts_at, v_on.refill_at, v_on.next_plan,
    pgledger._allowance_left(v_account, v_now);
end;
$$;

comment on function pgledger.get_plan(text) is
  'The plan an account is on now, its terms and what comes next: refill_at, and next_plan where a '
  'change waits for that. allowance_left is what remains of the allowance of this period, minor '
  'units, null but for RESET. No row when on no plan. What is due counts. Refuses with 22023 and '
  '22004.';

revoke all on function pgledger.get_plan(text) from public;

-- functions/get_spending_cap.sql

create or replace function pgledger.get_spending_cap(account_id text)
returns table (
  amount bigint,
  period interval,
  time_zone text,
  used bigint,
  remaining bigint,
  resets_at timestamptz
)
language plpgsql stable rows 1 security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := statement_timestamp();
  v_cap pgledger.spending_caps;
  v_left bigint;
begin
  select c.* into v_cap
  from pgledger.spending_caps c
  where c.account_id = pgledger._checked_account(get_spending_cap.account_id);
  if not found then
    return;
  end if;

  if v_cap.resets_at > v_now then
    select b.cap_left into v_left
    from pgledger.balances b
    where b.account_id = v_cap.account_id;
  end if;
  -- The period has ended, or the balance row is not there yet.
  if v_left is null then
    select n.cap_left, n.resets_at into strict v_left, v_cap.resets_at
    from pgledger._cap_now(v_cap.account_id, v_now) n;
  end if;

  return query select v_cap.amount, v_cap.period, v_cap.time_zone,
    least(v_cap.amount::numeric - v_left, 9223372036854775807)::bigint,
    greatest(v_left, 0), v_cap.resets_at;
end;
$$;

comment on function pgledger.get_spending_cap(text) is
  'The spending cap of an account, what was used of it in the current period (reversals '
  'deducted), what remains and when it resets; minor units, both 0 or above. remaining is 0 when '
  'captures went beyond the cap. No row without one. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_spending_cap(text) from public;

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

-- functions/_verify_originals.sql

create or replace function pgledger._verify_originals(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, u.seq, u.key, r.expected, r.found
  from (
    select t.*, sum(t.amount) filter (where t.type <> 'EXPIRY')
        over (partition by t.original_seq order by t.seq) as undone
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
          and (
            (u.type = case o.type when 'TOP_UP' then 'REFUND' else 'REVERSAL' end
                ::pgledger.transaction_type
              and o.type not in ('REVERSAL', 'REFUND', 'EXPIRY', 'TRANSFER'))
            or u.key = '#revoke-' || o.seq
            or (u.type = 'EXPIRY' and u.lot = o.seq)),
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

-- functions/_verify_lots.sql

create or replace function pgledger._verify_lots(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, l.seq, t.key, r.expected, r.found
  from pgledger._lots_told(_verify_lots.account_id) n
  cross join lateral (select (n.stored).*) l
  left join pgledger.balances b on b.account_id = _verify_lots.account_id
  left join pgledger.transactions t on t.account_id = _verify_lots.account_id and t.seq = n.lot
  cross join lateral (values
    ('a lot is of a credit, and at most that credit',
      coalesce(l.amount between 0 and t.amount, false),
      'at most ' || coalesce(t.amount::text, 'no transaction'), l.amount::text),
    ('a lot is what was drawn, has expired, is held and remains',
      -- Without a balance row, which is no fault, the row of the lot that was the head is behind.
      case
        when b.account_id is null then l.remaining >= n.remaining
        when b.head_lot = l.seq then b.head_left = n.remaining
        else l.remaining = n.remaining
      end,
      n.remaining::text,
      case when b.head_lot = l.seq then b.head_left else l.remaining end::text),
    ('nothing of a lot is below 0',
      least(n.remaining, n.held, n.drawn, n.expired) >= 0, '0',
      least(n.remaining, n.held, n.drawn, n.expired)::text),
    ('a lot ends when it was granted to, was revoked or is extended',
      case
        when l.expires_at = l.granted_expires_at then true
        when l.expires_at < l.granted_expires_at
          and l.expires_at <= greatest(b.updated_at, statement_timestamp()) then true
        -- Extended, after it had ended or was revoked.
        else exists (
          select from pgledger.transaction_draws d
          join pgledger.transactions v on v.account_id = d.account_id and v.seq = d.seq
          where d.account_id = l.account_id and d.lot = l.seq and d.amount < 0
            -- An allowance may have been ended early without a trace, when nothing was left of it.
            and (starts_with(t.key, '#refill-') or v.created_at >= least(l.granted_expires_at, (
              select r.created_at
              from pgledger.transactions r
              where r.account_id = l.account_id and r.key = '#revoke-' || l.seq))))
      end,
      l.granted_expires_at::text, l.expires_at::text),
    ('expired is the sum of expiries',
      l.expired = n.expired, n.expired::text, l.expired::text),
    ('attention_at is not after a lot ends',
      coalesce(b.attention_at <= l.expires_at, true) or n.remaining = 0,
      l.expires_at::text, b.attention_at::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_lots(text) is
  'Where the lots of an account disagree with the journal, the draws and the open holds. '
  'Private.';

revoke all on function pgledger._verify_lots(text) from public;

-- functions/_verify_draws.sql

create or replace function pgledger._verify_draws(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, t.seq, t.key, r.expected, r.found
  from pgledger.transactions t
  left join lateral (
    select d.seq, sum(d.amount) as drawn, count(*) as sources, max(d.place) as last_place
    from pgledger.draws d
    where d.account_id = _verify_draws.account_id and d.seq = t.seq
    group by d.seq
  ) d on true
  -- A limit, so that it is looked up: the planner, who takes an account for a row, would join.
  left join lateral (
    select l.seq,
      -- An allowance may have been ended early, and lived on later.
      case when starts_with(o.key, '#refill-') then '-infinity'::timestamptz
        else least(l.expires_at, l.granted_expires_at) end as ended_at
    from pgledger.lots l
    left join pgledger.transactions o
      on o.account_id = _verify_draws.account_id and o.seq = l.seq
    where l.account_id = _verify_draws.account_id and l.seq = t.lot
    limit 1
  ) l on true
  cross join lateral (values
    ('draws are there where several sources paid',
      case when t.lot = 0
        then coalesce(d.sources > 1 and d.sources = d.last_place, false) else d.seq is null end,
      case when t.lot = 0 then 'several' else 'none' end, coalesce(d.sources, 0)::text),
    ('draws add up to their transaction',
      coalesce(d.drawn = -t.amount, true), (-t.amount)::text, d.drawn::text),
    ('only debits and reversals draw',
      t.lot is null or t.amount < 0 or t.type = 'REVERSAL', 'none', t.type || ' ' || t.amount),
    ('a lot that paid is there, and was before',
      coalesce(t.lot, 0) = 0 or coalesce(l.seq < t.seq, false), 'a lot before #' || t.seq,
      coalesce('#' || l.seq, 'none')),
    ('an expiry is of one lot, from its end on',
      t.type <> 'EXPIRY' or t.original_seq is null
        or coalesce(t.amount < 0 and t.lot = t.original_seq
          and t.created_at >= l.ended_at, false),
      'from ' || coalesce(l.ended_at::text, 'no lot'),
      t.created_at::text)
  ) r (rule, holds, expected, found)
  where t.account_id = _verify_draws.account_id and not r.holds
  union all
  select 'a draw is of a lot of a transaction', d.seq, null, 'both', coalesce('#' || d.lot, 'pool')
  from pgledger.draws d
  left join pgledger.transactions t on t.account_id = d.account_id and t.seq = d.seq
  left join pgledger.lots l on l.account_id = d.account_id and l.seq = d.lot
  where d.account_id = _verify_draws.account_id
    and (t.seq is null or (d.lot is not null and l.seq is null));
end;

comment on function pgledger._verify_draws(text) is
  'Where the draws of an account disagree with its transactions and lots. Private.';

revoke all on function pgledger._verify_draws(text) from public;

-- functions/_verify_reservations.sql

create or replace function pgledger._verify_reservations(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, k.key, r.expected, r.found
  from (
    select p.key
    from pgledger.pending_transactions p
    where p.account_id = _verify_reservations.account_id and p.lot is not null
    union
    select r.key
    from pgledger.reservations r
    where r.account_id = _verify_reservations.account_id
  ) k
  left join pgledger.pending_transactions p
    on p.account_id = _verify_reservations.account_id and p.key = k.key
  left join pgledger.lots l on l.account_id = _verify_reservations.account_id and l.seq = p.lot
  cross join lateral (
    select sum(r.amount) as amount, count(*) as sources, max(r.place) as last_place,
      count(*) filter (where r.lot is not null and not exists (
        select from pgledger.lots o
        where o.account_id = _verify_reservations.account_id and o.seq = r.lot)) as unknown
    from pgledger.reservations r
    where r.account_id = _verify_reservations.account_id and r.key = k.key
  ) s
  cross join lateral (values
    ('reservations are there while a hold is open in several sources',
      case when p.lot = 0 and p.status = 'PENDING'
        then s.sources > 1 and s.sources = s.last_place else s.sources = 0 end,
      case when p.lot = 0 and p.status = 'PENDING' then 'several' else 'none' end,
      s.sources::text),
    ('reservations add up to their hold',
      coalesce(s.amount = -p.amount, true), (-p.amount)::text, s.amount::text),
    ('a hold reserves in lots that are there',
      p.amount < 0 and s.unknown = 0 and (p.lot = 0 or l.seq is not null),
      'known lots', coalesce('#' || nullif(p.lot, 0), s.unknown || ' unknown'))
  ) r (rule, holds, expected, found)
  where r.holds is not true;
end;

comment on function pgledger._verify_reservations(text) is
  'Where what holds reserve in lots disagrees with the holds. Private.';

revoke all on function pgledger._verify_reservations(text) from public;

-- functions/_verify_pool.sql

create or replace function pgledger._verify_pool(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  with told as materialized (
    select n.* from pgledger._lots_told(_verify_pool.account_id) n
  )
  select r.rule, b.seq, null::text, r.expected, r.found
  from pgledger.balances b
  left join (
    select sum(n.remaining) as remaining, sum(n.held) as held
    from told n
    having count(*) > 0
  ) lots on true
  left join lateral (
    select n.lot, n.remaining, (n.stored).priority > 0 as after_pool
    from told n
    where n.remaining > 0
    order by (n.stored).priority, (n.stored).expires_at, n.lot
    limit 1
  ) first on true
  cross join lateral (values (b.pool - (b.held - b.held_in_lots))) f (free)
  cross join lateral (values
    ('balance is the pool and the lots',
      case when lots.held is null then b.pool is null
        else coalesce(b.pool = b.balance - lots.remaining - lots.held, false) end,
      coalesce((b.balance - lots.remaining - lots.held)::text, 'none'),
      coalesce(b.pool::text, 'none')),
    ('held_in_lots is what holds reserve in lots',
      b.held_in_lots is not distinct from lots.held,
      coalesce(lots.held::text, 'none'), coalesce(b.held_in_lots::text, 'none')),
    -- A head that is used up is replaced by the next posting, and so is one while something is due.
    ('the head is first in draw order',
      b.head_left = 0 or b.attention_at <= statement_timestamp()
        or b.head_lot is not distinct from
          case when first.after_pool and f.free > 0 then null else first.lot end,
      coalesce('#' || first.lot, 'the pool'), coalesce('#' || b.head_lot, 'the pool')),
    ('head_left is what the head can pay',
      case
        when b.head_left < 0 then false
        when b.head_lot is not null then b.head_left is not null
        when first.lot is null or b.attention_at <= statement_timestamp() then true
        else coalesce(b.head_left <= greatest(f.free, 0), false)
      end,
      case when b.head_lot is null and first.lot is not null then f.free::text else 'any' end,
      coalesce(b.head_left::text, 'none'))
  ) r (rule, holds, expected, found)
  where b.account_id = _verify_pool.account_id and not r.holds;
end;

comment on function pgledger._verify_pool(text) is
  'Where the pool and the head of an account disagree with its lots. Private.';

revoke all on function pgledger._verify_pool(text) from public;

-- functions/_verify_plans.sql

create or replace function pgledger._verify_plans(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, null::text, r.expected, r.found
  from pgledger.account_plans n
  join pgledger.plans p on p.code = n.plan
  left join pgledger.accounts a on a.account_id = n.account_id
  left join pgledger.balances b on b.account_id = n.account_id
  cross join lateral (
    select pgledger._period_start(p.period, p.time_zone,
      pgledger._period_anchor(n, p), n.refill_at) as begins_at,
      pgledger._period_end(p.period, p.time_zone,
        pgledger._period_anchor(n, p),
        greatest(n.starts_at, b.updated_at, statement_timestamp())) as next_at
  ) d
  cross join lateral (values
    ('a plan is of an account that is not closed',
      (a.status <> 'CLOSED') is true, 'an account', coalesce(a.status::text, 'none')),
    ('a refill falls due when a period begins',
      n.refill_at in (d.begins_at, n.starts_at) and n.refill_at <= d.next_at,
      least(d.begins_at, d.next_at)::text, n.refill_at::text)
  ) r (rule, holds, expected, found)
  where n.account_id = _verify_plans.account_id and not r.holds
  union all
  select r.rule, t.seq, t.key, r.expected, r.found
  from pgledger.transactions t
  left join pgledger.account_plans n on n.account_id = t.account_id
  left join pgledger.plans p on p.code = t.metadata ->> 'plan'
  left join pgledger.lots l on l.account_id = t.account_id and l.seq = t.seq
  cross join lateral (values
    ('a refill is a grant of the plan in its key',
      t.type = 'GRANT' and starts_with(t.key, '#refill-' || p.code || '-') is true,
      'GRANT of a plan', t.type || coalesce(' of ' || (t.metadata ->> 'plan'), '')),
    ('an allowance ends with its period, other refills do not',
      case
        when p.policy = 'RESET'
        then pgledger._utc(l.granted_expires_at) is not distinct from t.metadata ->> 'period_end'
        else l.seq is null
      end,
      case when p.policy = 'RESET' then t.metadata ->> 'period_end' end,
      pgledger._utc(l.granted_expires_at)),
    ('what was granted is not due again',
      coalesce(t.created_at < n.refill_at, true),
      'after ' || t.created_at, n.refill_at::text)
  ) r (rule, holds, expected, found)
  where t.account_id = _verify_plans.account_id
    and starts_with(t.key, '#refill-')
    and not r.holds;
end;

comment on function pgledger._verify_plans(text) is
  'Where the plan of an account, or what it was granted by plans, breaks the rules. Private.';

revoke all on function pgledger._verify_plans(text) from public;

-- functions/_verify_caps.sql

create or replace function pgledger._verify_caps(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, null::text, r.expected, r.found
  from (values (_verify_caps.account_id)) s (account_id)
  left join pgledger.spending_caps c on c.account_id = s.account_id
  left join pgledger.balances b on b.account_id = s.account_id
  left join pgledger.accounts a on a.account_id = s.account_id
  left join lateral pgledger._cap_now(
    s.account_id, c.resets_at - interval '1 microsecond') n on true
  cross join lateral (values (
    pgledger._period_end(c.period, c.time_zone, null,
      greatest(b.updated_at, statement_timestamp()))
  )) e (ends_at)
  cross join lateral (values
    ('a spending cap has an account',
      c.account_id is null or a.account_id is not null, 'an account', 'none'),
    ('a spending cap resets when a period ends',
      coalesce(c.resets_at = n.resets_at and c.resets_at <= e.ends_at, true),
      least(n.resets_at, e.ends_at)::text, c.resets_at::text),
    ('cap_left is what the cap leaves',
      b.account_id is null
        or b.cap_left is not distinct from n.cap_left
        or (c.resets_at <= statement_timestamp() and b.cap_left is not null) is true,
      coalesce(n.cap_left::text, 'no cap'), coalesce(b.cap_left::text, 'no cap'))
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_caps(text) is
  'Where the spending cap of an account, or what is cached of it, breaks the rules. Private.';

revoke all on function pgledger._verify_caps(text) from public;

-- functions/verify.sql

-- JIT is off: to compile so large a query takes far longer than to run it.
create or replace function pgledger.verify(account_id text default null)
returns table (account_id text, rule text, seq bigint, key text, expected text, found text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
set jit = off
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
    union
    select l.account_id from pgledger.lots l where verify.account_id is null
    union
    select d.account_id from pgledger.draws d where verify.account_id is null
    union
    select r.account_id from pgledger.reservations r where verify.account_id is null
    union
    select n.account_id from pgledger.account_plans n where verify.account_id is null
    union
    select c.account_id from pgledger.spending_caps c where verify.account_id is null
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
    union all
    select n.* from pgledger._verify_lots(s.account_id) n
    union all
    select d.* from pgledger._verify_draws(s.account_id) d
    union all
    select r.* from pgledger._verify_reservations(s.account_id) r
    union all
    select h.* from pgledger._verify_pool(s.account_id) h
    union all
    select q.* from pgledger._verify_plans(s.account_id) q
    union all
    select c.* from pgledger._verify_caps(s.account_id) c
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
as $$ select '0003_lots_plans_caps' $$;

comment on function pgledger._schema_version() is
  'The newest migration that is in this database. Private.';

revoke all on function pgledger._schema_version() from public;

do $$
declare
  v_grant record;
begin
  for v_grant in
    select p.oid::regprocedure as function, k.grantable,
      case k.grantee when 0 then 'public' else k.grantee::regrole::text end as grantee
    from jsonb_to_recordset(pg_catalog.current_setting('pgledger.kept_grants')::jsonb)
      k (function name, grantee oid, grantable boolean)
    join pg_catalog.pg_proc p
      on p.pronamespace = 'pgledger'::regnamespace and p.proname = k.function
  loop
    execute 'grant execute on function ' || v_grant.function || ' to ' || v_grant.grantee
      || case when v_grant.grantable then ' with grant option' else '' end;
  end loop;
  perform pg_catalog.set_config('pgledger.kept_grants', '', false);
end
$$;
