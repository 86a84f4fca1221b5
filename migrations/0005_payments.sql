-- depends: 0004_batches_and_prices

set local lock_timeout = '2s';

-- ---- By hand: tables, types and data; safe to run again.

-- In the order in which a posting takes them, so that one in flight is waited for, not deadlocked.
lock table pgledger.balances, pgledger.pending_transactions, pgledger.events
  in access exclusive mode;

do $$
begin
  if to_regtype('pgledger.payment_event_status') is null then
    create type pgledger.payment_event_status as enum (
      'RECEIVED', 'PROCESSED', 'IGNORED', 'FAILED'
    );
  end if;

  if to_regtype('pgledger.payment_status') is null then
    create type pgledger.payment_status as enum ('PROCESSING', 'FAILED', 'SUCCEEDED');
  end if;

  if to_regtype('pgledger.return_kind') is null then
    create type pgledger.return_kind as enum ('REFUND', 'DISPUTE');
  end if;

  if to_regtype('pgledger.return_status') is null then
    create type pgledger.return_status as enum (
      'PENDING', 'SUCCEEDED', 'FAILED', 'OPEN', 'LOST', 'WON'
    );
  end if;

  if to_regtype('pgledger.dispute_policy') is null then
    create type pgledger.dispute_policy as enum ('FLAG', 'FREEZE', 'DEDUCT');
  end if;

  if to_regtype('pgledger.refund_request_status') is null then
    create type pgledger.refund_request_status as enum ('PENDING', 'APPROVED', 'REJECTED');
  end if;

  if to_regtype('pgledger.identifier_kind') is null then
    create type pgledger.identifier_kind as enum (
      'EMAIL', 'UUID', 'INTEGER', 'CUSTOMER', 'PAYMENT_METHOD'
    );
  end if;

  if to_regtype('pgledger.resolved_account') is null then
    create type pgledger.resolved_account as (
      account_id text,
      kind pgledger.identifier_kind,
      value text,
      opened boolean
    );
  end if;

  if to_regtype('pgledger.payment_event') is null then
    create type pgledger.payment_event as (
      provider text,
      event_id text,
      type text,
      status pgledger.payment_event_status,
      attempts bigint,
      error jsonb,
      result jsonb,
      occurred_at timestamptz,
      received_at timestamptz,
      processed_at timestamptz,
      is_new boolean
    );
  end if;

  if to_regtype('pgledger.payment') is null then
    create type pgledger.payment as (
      provider text,
      payment_id text,
      status pgledger.payment_status,
      account_id text,
      key text,
      amount bigint,
      paid bigint,
      paid_currency text,
      refunded bigint,
      disputed bigint,
      taken bigint,
      reason text,
      seq bigint,
      created_at timestamptz,
      updated_at timestamptz
    );
  end if;

  if to_regtype('pgledger.payment_return') is null then
    create type pgledger.payment_return as (
      provider text,
      return_id text,
      payment_id text,
      kind pgledger.return_kind,
      amount bigint,
      currency text,
      status pgledger.return_status,
      policy pgledger.dispute_policy,
      request_key text,
      account_id text,
      taken bigint,
      occurred_at timestamptz,
      created_at timestamptz,
      updated_at timestamptz
    );
  end if;

  if to_regtype('pgledger.card_check') is null then
    create type pgledger.card_check as (
      account_id text,
      key text,
      seq bigint,
      amount bigint,
      balance bigint,
      replayed boolean
    );
  end if;

  if to_regtype('pgledger.charge') is null then
    create type pgledger.charge as (
      account_id text,
      key text,
      amount bigint,
      status text,
      replayed boolean,
      reference text,
      price bigint,
      price_currency text,
      attempt bigint,
      claims bigint,
      idempotency_key text,
      customer text,
      payment_method text,
      due_at timestamptz,
      created_at timestamptz,
      is_wanted boolean
    );
  end if;

  if to_regtype('pgledger.refund_order') is null then
    create type pgledger.refund_order as (
      account_id text,
      key text,
      amount bigint,
      provider text,
      payment_id text,
      money bigint,
      money_currency text,
      claims bigint,
      idempotency_key text
    );
  end if;
end;
$$;

comment on type pgledger.payment_event_status is
  'RECEIVED is not processed yet; PROCESSED had its effect; IGNORED has none; FAILED had none, and '
  'may be processed again.';
comment on type pgledger.payment_status is
  'PROCESSING until the provider tells; FAILED may still be paid; SUCCEEDED is final.';
comment on type pgledger.return_kind is
  'A REFUND is given back by us; a DISPUTE is taken back by the payer''s bank.';
comment on type pgledger.return_status is
  'A refund is PENDING, SUCCEEDED or FAILED; a dispute is OPEN, LOST (the payer has the money) or '
  'WON.';
comment on type pgledger.dispute_policy is
  'What an open dispute does to its account: FLAG only tells, FREEZE freezes it, DEDUCT takes the '
  'credits at once. A lost one always takes them.';
comment on type pgledger.refund_request_status is
  'PENDING waits for a decision; APPROVED took the credits; REJECTED changed nothing.';
comment on type pgledger.identifier_kind is
  'What names an account elsewhere: an EMAIL, a UUID, an INTEGER of an application, the '
  'provider''s CUSTOMER and PAYMENT_METHOD.';
comment on type pgledger.resolved_account is
  'Whose an identifier is, as resolve_account answers it.';
comment on column pgledger.resolved_account.kind is 'What the identifier was taken for.';
comment on column pgledger.resolved_account.value is 'The identifier in its normal form.';
comment on column pgledger.resolved_account.opened is 'Whether this call opened the account.';
comment on type pgledger.payment_event is
  'An event of the provider as record_payment_event and process_payment_event answer it.';
comment on column pgledger.payment_event.event_id is 'The provider''s id of the event.';
comment on column pgledger.payment_event.attempts is 'How often it was processed.';
comment on column pgledger.payment_event.error is
  'Why the last attempt failed: sqlstate and message; else null.';
comment on column pgledger.payment_event.result is
  'What it did, one element per fact in it; null until it is PROCESSED.';
comment on column pgledger.payment_event.occurred_at is
  'When it happened, by the provider''s clock.';
comment on column pgledger.payment_event.received_at is 'When it came first.';
comment on column pgledger.payment_event.processed_at is 'When it was processed last.';
comment on column pgledger.payment_event.is_new is
  'Whether this call is the first to tell of it.';
comment on type pgledger.payment is
  'What is known of a payment, and what it did.';
comment on column pgledger.payment.payment_id is
  'The provider''s id of the payment; the external_id of its top-up.';
comment on column pgledger.payment.key is 'The key of the top-up.';
comment on column pgledger.payment.amount is 'The credits that were bought, minor units.';
comment on column pgledger.payment.paid is
  'What was paid, in the smallest unit of paid_currency.';
comment on column pgledger.payment.paid_currency is 'The currency of the money, such as usd.';
comment on column pgledger.payment.refunded is
  'What was refunded of it, in the smallest unit of paid_currency.';
comment on column pgledger.payment.disputed is
  'What is disputed, or was lost in a dispute, in the smallest unit of paid_currency.';
comment on column pgledger.payment.taken is
  'The credits that refunds and disputes have taken back, minor units.';
comment on column pgledger.payment.reason is
  'Why it failed, or why it could not be credited; else null.';
comment on column pgledger.payment.seq is
  'Which transaction of the account it became; null until it is credited.';
comment on column pgledger.payment.updated_at is 'When it changed last.';
comment on type pgledger.payment_return is
  'A refund or a dispute of a payment, as list_payment_returns shows it.';
comment on column pgledger.payment_return.return_id is
  'The provider''s id of the refund or dispute; the payment''s own for what is known only as the '
  'sum of its refunds.';
comment on column pgledger.payment_return.payment_id is 'Of which payment.';
comment on column pgledger.payment_return.kind is 'REFUND or DISPUTE.';
comment on column pgledger.payment_return.amount is
  'The money, in the smallest unit of the payment''s currency.';
comment on column pgledger.payment_return.currency is
  'The currency of the payment, such as usd; null while nobody has told.';
comment on column pgledger.payment_return.policy is 'What an open dispute does; null: a refund.';
comment on column pgledger.payment_return.request_key is
  'The refund request that this refund carries out; else null.';
comment on column pgledger.payment_return.account_id is
  'Whose payment it is; null while nobody knows.';
comment on column pgledger.payment_return.taken is
  'The credits it has taken from the account, less what it gave back, minor units.';
comment on column pgledger.payment_return.occurred_at is
  'When what is known last happened, by the provider''s clock.';
comment on column pgledger.payment_return.updated_at is 'When it changed last.';
comment on type pgledger.card_check is
  'What a card that was put on file brought; key, seq and amount are null where nothing.';
comment on column pgledger.card_check.key is 'The key of the CARD_CHECK.';
comment on column pgledger.card_check.seq is 'Its place in the account''s journal.';
comment on column pgledger.card_check.amount is 'The credits it brought, minor units.';
comment on column pgledger.card_check.balance is 'The account''s balance now, after the call.';
comment on type pgledger.charge is
  'What the provider is to be asked for: a checkout for a top-up, or a charge for an auto-top-up.';
comment on column pgledger.charge.key is 'The key of the top-up that is announced.';
comment on column pgledger.charge.amount is 'The credits to be bought, minor units.';
comment on column pgledger.charge.status is
  'Of the announced top-up: PENDING, or on a repeat POSTED, CANCELLED or EXPIRED.';
comment on column pgledger.charge.price is
  'The money, in the smallest unit of price_currency; null for an auto-top-up, which the worker '
  'prices.';
comment on column pgledger.charge.price_currency is 'The currency of the money, such as usd.';
comment on column pgledger.charge.attempt is
  'How often the provider has declined it before; 0 for a checkout.';
comment on column pgledger.charge.claims is
  'How often this attempt was claimed, this time included: above 1 it may have been charged '
  'before.';
comment on column pgledger.charge.idempotency_key is
  'What the provider must know the charge by: the same for the same account, key and attempt.';
comment on column pgledger.charge.is_wanted is
  'Whether it may still be charged. Where not, the account was frozen or its auto-top-up changed: '
  'what was charged before is to be found, and nothing is to be charged.';
comment on column pgledger.charge.customer is
  'The CUSTOMER that is linked to the account, the latest of several; else null.';
comment on column pgledger.charge.payment_method is
  'The PAYMENT_METHOD that is linked to the account, the latest of several; else null.';
comment on column pgledger.charge.due_at is
  'When it may be claimed again; null for a checkout, and where nothing is left to do.';
comment on type pgledger.refund_order is
  'An approved refund whose money the provider is to give back.';
comment on column pgledger.refund_order.key is
  'The key of the refund request, to be given to record_payment_refund as request_key.';
comment on column pgledger.refund_order.amount is 'The credits that were taken, minor units.';
comment on column pgledger.refund_order.payment_id is 'Of which payment.';
comment on column pgledger.refund_order.money is
  'How much money, in the smallest unit of money_currency.';
comment on column pgledger.refund_order.money_currency is
  'The currency of the money, such as usd.';
comment on column pgledger.refund_order.claims is
  'How often it was claimed, this time included: above 1 the money may be on its way already.';
comment on column pgledger.refund_order.idempotency_key is
  'What the provider must know the refund by: always the same for the same request.';

create table if not exists pgledger.top_up_limits (
  account_id text not null,
  minimum bigint,
  multiple_of bigint,
  maximum bigint,
  daily_count_limit bigint,
  daily_amount_limit bigint,
  constraint top_up_limits_pkey primary key (account_id)
);

comment on table pgledger.top_up_limits is
  'What a payer may buy: a row per account, and one, of the empty account_id, for all that have '
  'none. Null: no such limit.';
comment on column pgledger.top_up_limits.minimum is 'The least of one top-up, minor units.';
comment on column pgledger.top_up_limits.multiple_of is
  'One top-up is a multiple of this, minor units.';
comment on column pgledger.top_up_limits.maximum is 'The most of one top-up, minor units.';
comment on column pgledger.top_up_limits.daily_count_limit is
  'At most so many announced a day of UTC, cancelled ones not counted.';
comment on column pgledger.top_up_limits.daily_amount_limit is
  'At most so much announced a day of UTC, minor units, cancelled ones not counted.';

create table if not exists pgledger.charges (
  account_id text not null,
  key text not null,
  due_at timestamptz,
  claims bigint not null default 0,
  declines bigint not null default 0,
  reason text,
  created_at timestamptz not null,
  constraint charges_pkey primary key (account_id, key)
);

create index if not exists charges_due on pgledger.charges (due_at) where due_at is not null;

comment on table pgledger.charges is
  'The auto-top-ups that a worker is to charge: one row per intent of auto_top_ups.';
comment on column pgledger.charges.key is 'The key of the intent, #auto-<n>.';
comment on column pgledger.charges.due_at is
  'When it may be claimed (again): a claim moves it on by its lease, a decline by its pause; null: '
  'nothing is left to do, or the settings that asked for it are no longer those.';
comment on column pgledger.charges.claims is
  'How often it was claimed since it was declined last. From the second time on it may have been '
  'charged before.';
comment on column pgledger.charges.declines is 'How often the provider declined it.';
comment on column pgledger.charges.reason is 'Why it was declined or put off last; else null.';

-- What the provider told of money: kept by the provider's own ids, since a payment may be known
-- before its account is. A payment's row is locked before the balance row of its account.
create table if not exists pgledger.payment_events (
  provider text not null,
  event_id text not null,
  type text not null,
  payload text not null,
  status pgledger.payment_event_status not null default 'RECEIVED',
  attempts bigint not null default 0,
  error jsonb,
  result jsonb,
  occurred_at timestamptz,
  received_at timestamptz not null,
  processed_at timestamptz,
  constraint payment_events_pkey primary key (provider, event_id)
);

create index if not exists payment_events_open
  on pgledger.payment_events (received_at) where status in ('RECEIVED', 'FAILED');
create index if not exists payment_events_received on pgledger.payment_events (received_at);

comment on table pgledger.payment_events is
  'What a payment provider sent, once each however often it came, and what became of it.';
comment on column pgledger.payment_events.event_id is 'The provider''s id of the event.';
comment on column pgledger.payment_events.payload is
  'The body as it came, verbatim; it may hold personal data, which nothing else here does.';
comment on column pgledger.payment_events.attempts is 'How often it was processed.';
comment on column pgledger.payment_events.error is
  'Why the last attempt failed: sqlstate and message, nothing of the payload; else null.';
comment on column pgledger.payment_events.result is
  'What it did, one element per fact in it; null until it is PROCESSED.';
comment on column pgledger.payment_events.occurred_at is
  'When it happened, by the provider''s clock.';
comment on column pgledger.payment_events.received_at is 'When it came first.';
comment on column pgledger.payment_events.processed_at is 'When it was processed last.';

create table if not exists pgledger.payments (
  provider text not null,
  payment_id text not null,
  account_id text,
  key text,
  amount bigint,
  paid bigint,
  paid_currency text,
  refunded bigint not null default 0,
  customer text,
  status pgledger.payment_status not null default 'PROCESSING',
  reason text,
  seq bigint,
  occurred_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint payments_pkey primary key (provider, payment_id),
  constraint payments_credited_once_paid
    check (seq is null or (status = 'SUCCEEDED' and account_id is not null))
);

create index if not exists payments_unmatched
  on pgledger.payments (created_at) where status = 'SUCCEEDED' and seq is null;
-- A top-up is of one payment: who pays twice has paid twice.
create unique index if not exists payments_of_account on pgledger.payments (account_id, seq);
create index if not exists payments_created on pgledger.payments (created_at);

comment on table pgledger.payments is
  'What is known of a payment at the provider, and which top-up it became.';
comment on column pgledger.payments.payment_id is
  'The provider''s id of the payment; the external_id of its top-up.';
comment on column pgledger.payments.account_id is 'Who paid; null while nobody knows.';
comment on column pgledger.payments.key is 'The key of the top-up that was announced; else null.';
comment on column pgledger.payments.amount is
  'The credits that were bought, minor units, where the provider was told; else null.';
comment on column pgledger.payments.paid is
  'What was paid, in the smallest unit of paid_currency; null while unknown.';
comment on column pgledger.payments.paid_currency is 'The currency of the money, such as usd.';
comment on column pgledger.payments.refunded is
  'The most the provider told was refunded in all, in the smallest unit of paid_currency.';
comment on column pgledger.payments.customer is
  'The provider''s CUSTOMER who paid; null while unknown.';
comment on column pgledger.payments.reason is
  'Why it failed, or why it could not be credited; else null.';
comment on column pgledger.payments.seq is
  'Which transaction of the account it became; null until it is credited. A payment that '
  'SUCCEEDED without one is unmatched.';
comment on column pgledger.payments.occurred_at is
  'When what is known last happened, by the provider''s clock.';
comment on column pgledger.payments.updated_at is 'When this row changed last.';

create table if not exists pgledger.payment_returns (
  provider text not null,
  return_id text not null,
  payment_id text not null,
  kind pgledger.return_kind not null,
  amount bigint not null,
  status pgledger.return_status not null,
  policy pgledger.dispute_policy,
  request_key text,
  taken bigint not null default 0,
  movements bigint not null default 0,
  refund_seqs bigint[] not null default '{}',
  own_seq bigint,
  froze_at timestamptz,
  occurred_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint payment_returns_pkey primary key (provider, return_id),
  constraint payment_returns_taken_in_range check (taken >= 0)
);

create index if not exists payment_returns_of_payment
  on pgledger.payment_returns (provider, payment_id);
create index if not exists payment_returns_created on pgledger.payment_returns (created_at);

comment on table pgledger.payment_returns is
  'Money of a payment that went back, or is asked back: refunds and disputes, by the provider''s '
  'id, and the credits that each took.';
comment on column pgledger.payment_returns.return_id is
  'The provider''s id of the refund or dispute; the payment''s own for what is known only as the '
  'sum of its refunds.';
comment on column pgledger.payment_returns.payment_id is 'Of which payment.';
comment on column pgledger.payment_returns.kind is 'REFUND or DISPUTE.';
comment on column pgledger.payment_returns.amount is
  'The money, in the smallest unit of the payment''s currency.';
comment on column pgledger.payment_returns.policy is 'What an open dispute does; null: a refund.';
comment on column pgledger.payment_returns.request_key is
  'The refund request that this refund carries out; else null.';
comment on column pgledger.payment_returns.taken is
  'The credits it has taken from the account, less what it gave back, minor units.';
comment on column pgledger.payment_returns.movements is 'How many movements it made.';
comment on column pgledger.payment_returns.refund_seqs is
  'The seqs of the debits that took for it.';
comment on column pgledger.payment_returns.own_seq is
  'The seq of the debit that the application or a refund request posted for it, as long as it '
  'stands; else null.';
comment on column pgledger.payment_returns.froze_at is
  'When this dispute froze the account, or found it frozen by another; -infinity: it did not; '
  'null: it had no account to freeze yet, or is none that freezes.';
comment on column pgledger.payment_returns.occurred_at is
  'When what is known last happened, by the provider''s clock.';
comment on column pgledger.payment_returns.updated_at is 'When this row changed last.';

create table if not exists pgledger.refund_requests (
  account_id text not null,
  key text not null,
  original_seq bigint not null,
  amount bigint not null,
  status pgledger.refund_request_status not null default 'PENDING',
  reason text,
  requested_by text not null,
  decision text,
  decided_by text,
  decided_at timestamptz,
  seq bigint,
  provider text,
  payment_id text,
  money bigint,
  money_currency text,
  return_id text,
  result text,
  due_at timestamptz,
  claims bigint not null default 0,
  created_at timestamptz not null,
  constraint refund_requests_pkey primary key (account_id, key),
  constraint refund_requests_decided_once check ((status = 'PENDING') = (decided_at is null)),
  constraint refund_requests_amount_positive check (amount > 0)
);

create unique index if not exists refund_requests_one_open
  on pgledger.refund_requests (account_id, original_seq) where status = 'PENDING';
create index if not exists refund_requests_open
  on pgledger.refund_requests (created_at) where status = 'PENDING';
create index if not exists refund_requests_created
  on pgledger.refund_requests (created_at);
create index if not exists refund_requests_due
  on pgledger.refund_requests (due_at) where due_at is not null;

comment on table pgledger.refund_requests is
  'Refunds that a payer or a clerk asked for, what was decided, and what came of it.';
comment on column pgledger.refund_requests.key is
  'The key of the request, and of the REFUND that it becomes: the caller''s, or #<uuid>.';
comment on column pgledger.refund_requests.original_seq is
  'The seq of the top-up whose money is asked back.';
comment on column pgledger.refund_requests.amount is 'Credits, minor units, above 0.';
comment on column pgledger.refund_requests.reason is 'Why it is asked for, in the payer''s words.';
comment on column pgledger.refund_requests.requested_by is 'Who asked.';
comment on column pgledger.refund_requests.decision is
  'Why it was decided so; policy, where nobody had to.';
comment on column pgledger.refund_requests.decided_by is 'Who decided; null while PENDING.';
comment on column pgledger.refund_requests.decided_at is 'When it was decided; null while PENDING.';
comment on column pgledger.refund_requests.seq is
  'The seq of the REFUND that took the credits; null unless APPROVED.';
comment on column pgledger.refund_requests.provider is
  'Who gives the money back; null where the top-up has no payment here.';
comment on column pgledger.refund_requests.payment_id is 'Of which payment; null as provider is.';
comment on column pgledger.refund_requests.money is
  'How much money goes back, in the smallest unit of the payment''s currency; null as provider is.';
comment on column pgledger.refund_requests.money_currency is
  'The currency of the money, such as usd; null as provider is.';
comment on column pgledger.refund_requests.return_id is
  'The provider''s id of the refund; null until it is made.';
comment on column pgledger.refund_requests.result is
  'What became of the money: the provider''s status of the refund, or why it could not be made.';
comment on column pgledger.refund_requests.due_at is
  'When a worker may claim it (again) to have the money given back; null: nothing is left to do.';
comment on column pgledger.refund_requests.claims is
  'How often it was claimed. From the second time on the money may be on its way already.';

create table if not exists pgledger.account_identifiers (
  kind pgledger.identifier_kind not null,
  value text not null,
  account_id text not null,
  linked_at timestamptz not null,
  constraint account_identifiers_pkey primary key (kind, value)
);

create index if not exists account_identifiers_of_account
  on pgledger.account_identifiers (account_id, kind, linked_at);

comment on table pgledger.account_identifiers is
  'By which names others know an account; each belongs to one account.';
comment on column pgledger.account_identifiers.kind is 'What the value is.';
comment on column pgledger.account_identifiers.value is
  'As resolve_account normalises it: an email in lower case, a UUID in its canonical form.';
comment on column pgledger.account_identifiers.linked_at is 'When it came to this account.';

create table if not exists pgledger.audit_log (
  account_id text not null,
  id uuid not null,
  act text not null,
  actor text not null,
  arguments jsonb not null,
  created_at timestamptz not null,
  constraint audit_log_pkey primary key (account_id, id)
);

create index if not exists audit_log_of_account
  on pgledger.audit_log (account_id, created_at);
create index if not exists audit_log_created on pgledger.audit_log (created_at);

comment on table pgledger.audit_log is
  'Who did what by hand: settings, approvals, reversals. Append-only, as the journal is.';
comment on column pgledger.audit_log.account_id is
  'Whose account it concerned; empty where it concerned no single one.';
comment on column pgledger.audit_log.id is 'One of a kind.';
comment on column pgledger.audit_log.act is 'The function that was called.';
comment on column pgledger.audit_log.actor is
  'Who did it: as the caller said, else the role that was logged in.';
comment on column pgledger.audit_log.arguments is
  'What was asked, by parameter; those not given are left out.';

create or replace trigger audit_log_append_only
  before update or delete or truncate on pgledger.audit_log
  for each statement execute function pgledger._refuse_change();

-- ALWAYS, as for the journal.
alter table pgledger.audit_log enable always trigger audit_log_append_only;

comment on trigger audit_log_append_only on pgledger.audit_log is
  'What was done stays done (LG010).';

-- What was announced on a day, without the holds among it, which may be many.
create index if not exists pending_transactions_announced
  on pgledger.pending_transactions (account_id, created_at) where amount > 0;

alter table pgledger.events drop constraint if exists events_kind_known;
alter table pgledger.events add constraint events_kind_known check (
    kind in (
      'top_up_requested', 'low_balance', 'hold_expired', 'account_frozen', 'top_up_paid',
      'top_up_failed', 'payment_unmatched', 'dispute_opened'));
comment on column pgledger.events.kind is
  'top_up_requested, top_up_paid, top_up_failed, payment_unmatched, dispute_opened, low_balance, '
  'hold_expired or account_frozen.';

-- Intents that are open now are a worker's to charge, as the coming ones are: but for those whose
-- settings were changed since, which gave way to others.
insert into pgledger.charges (account_id, key, due_at, created_at)
select p.account_id, p.key, case when s.waiting_for = p.key then clock_timestamp() end, p.created_at
from pgledger.pending_transactions p
left join pgledger.auto_top_ups s on s.account_id = p.account_id
where p.status = 'PENDING' and p.amount > 0 and left(p.key, 6) = '#auto-'
on conflict (account_id, key) do nothing;

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
      and p.proname in ('assign_plan', 'clear_plan', 'create_plan', 'refund', 'reverse_transaction', 'revoke_lot', 'set_account_status', 'set_auto_top_up', 'set_limits', 'set_low_balance_level', 'set_price', 'set_spending_cap')), false);
end
$$;

drop function if exists pgledger.assign_plan(text, text, timestamp with time zone, boolean, boolean);

drop function if exists pgledger.clear_plan(text, boolean);

drop function if exists pgledger.create_plan(text, bigint, interval, pgledger.refill_policy, pgledger.plan_anchor, text, jsonb);

drop function if exists pgledger.refund(text, text, bigint, text, text, boolean, text, jsonb, boolean);

drop function if exists pgledger.reverse_transaction(text, text, bigint, text, text, jsonb, interval, boolean);

drop function if exists pgledger.revoke_lot(text, text, text, boolean);

drop function if exists pgledger.set_account_status(text, pgledger.account_status);

drop function if exists pgledger.set_auto_top_up(text, bigint, bigint, pgledger.auto_top_up_mode, boolean, bigint, bigint, bigint, bigint);

drop function if exists pgledger.set_limits(text, bigint, bigint);

drop function if exists pgledger.set_low_balance_level(text, bigint);

drop function if exists pgledger.set_price(text, jsonb, pgledger.price_rounding, timestamp with time zone, jsonb);

drop function if exists pgledger.set_spending_cap(text, bigint, interval, text);

-- functions/_checked_lease.sql

create or replace function pgledger._checked_lease(lease interval) returns interval
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(
    _checked_lease.lease > interval '0' and _checked_lease.lease <= interval '1 day', false)
  then
    perform pgledger._reject('lease', _checked_lease.lease::text, 'Above 0 and at most a day.');
  end if;
  return _checked_lease.lease;
end;
$$;

comment on function pgledger._checked_lease(interval) is
  'For how long a claim is nobody else''s, or 22023 (22004 for null) when that is not above 0 and '
  'at most a day. Private.';

revoke all on function pgledger._checked_lease(interval) from public;

-- functions/_audit.sql

create or replace function pgledger._audit(
  account_id text, act text, actor text, arguments jsonb
) returns void
language plpgsql
as $$
begin
  if not coalesce(pgledger._is_label(_audit.actor), true) then
    perform pgledger._reject('actor', _audit.actor,
      'A name of 1 to 255 characters, none of them a control character.');
  end if;

  insert into pgledger.audit_log (account_id, id, act, actor, arguments, created_at)
  values (
    coalesce(_audit.account_id, ''), gen_random_uuid(), _audit.act,
    coalesce(_audit.actor, session_user), jsonb_strip_nulls(_audit.arguments), clock_timestamp());
end;
$$;

comment on function pgledger._audit(text, text, text, jsonb) is
  'Writes into the audit log who did what; without an actor the role that is logged in. Refuses '
  'an actor that is no label. Private.';

revoke all on function pgledger._audit(text, text, text, jsonb) from public;

-- functions/_audited.sql

create or replace function pgledger._audited(
  answer pgledger.posting, act text, actor text, arguments jsonb
) returns pgledger.posting
language plpgsql
as $$
begin
  -- A repeat did nothing, and a refusal that is answered as a row nothing either.
  if answer.status = 'POSTED' and not answer.replayed then
    -- With the key by which it is found again, where none was given.
    perform pgledger._audit(
      answer.account_id, _audited.act, _audited.actor,
      jsonb_build_object('key', answer.key) || jsonb_strip_nulls(_audited.arguments));
  end if;
  return answer;
end;
$$;

comment on function pgledger._audited(pgledger.posting, text, text, jsonb) is
  'Writes into the audit log who did what was just posted, and hands the answer on. Private.';

revoke all on function pgledger._audited(pgledger.posting, text, text, jsonb) from public;

-- functions/_words.sql

create or replace function pgledger._words(code text, out message text, out hint text)
language plpgsql immutable parallel safe
as $$
#variable_conflict use_column
begin
  select w.message, w.hint into strict message, hint
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
      'reversed.'),
    ('LG011', 'price not found', 'Set the price with set_price, or check the code, the unit and '
      'the instant.'),
    ('LG012', 'top-up limit reached', 'Choose another amount, wait until the limit resets, or '
      'change it: see set_top_up_limits.'),
    ('22003', 'cost out of range', 'A cost is a bigint, at most 2^63 - 1 minor units: check the '
      'quantities and the prices.')
  ) w (code, message, hint)
  where w.code = _words.code;
end;
$$;

comment on function pgledger._words(text) is
  'What a refusal says: its message and its hint. Private.';

revoke all on function pgledger._words(text) from public;

-- functions/_require_empty.sql

create or replace function pgledger._require_empty(account_id text) returns void
language plpgsql
as $$
declare
  v_balance bigint;
  v_pool bigint;
  v_pending bigint;
  v_now timestamptz := clock_timestamp();
begin
  select b.balance, b.pool, count(p.key) into strict v_balance, v_pool, v_pending
  from pgledger.balances b
  left join pgledger.pending_transactions p
    on p.account_id = b.account_id
    and pgledger._pending_status(p.status, p.expires_at, v_now) = 'PENDING'
  where b.account_id = _require_empty.account_id
  group by b.balance, b.pool;

  -- Credits in a lot would expire, and leave a closed account with the debt that they cover.
  if v_balance <> 0 or v_pool <> 0 or v_pending > 0 then
    raise exception using
      errcode = '55000',
      message = 'account not empty',
      detail = jsonb_build_object(
        'account_id', _require_empty.account_id,
        'balance', v_balance,
        'in_lots', coalesce(v_balance - v_pool, 0),
        'pending', v_pending)::text,
      hint = 'Bring the balance and each lot to 0, settle what is pending, then close it.';
  end if;
end;
$$;

comment on function pgledger._require_empty(text) is
  'Refuses (55000) to close an account that has something left, in whichever lot, or pending. '
  'Only under the lock of the balance row. Private.';

revoke all on function pgledger._require_empty(text) from public;

-- functions/_is_placeholder.sql

create or replace function pgledger._is_placeholder(given text) returns boolean
language sql immutable parallel safe
return
  lower(given collate "C") = any (array[
    'null', 'none', 'nil', 'undefined', 'nan', 'n/a', '#n/a', 'unknown', 'string', 'true', 'false',
    'email', 'user_id', 'id', 'ffffffff-ffff-ffff-ffff-ffffffffffff'])
  or given ~ '^[0-]*$'
  or given ~ '^(<.*>|\{.*\}|\$\{.*\}|\[.*\]|\(.*\)|\u0025.|\u0025\(.*\).)$';

comment on function pgledger._is_placeholder(text) is
  'Whether a text stands where an identifier was to be filled in: what programs write for nothing '
  '(null, undefined, NaN, the nil UUID, 0), and templates nobody filled in. Private.';

revoke all on function pgledger._is_placeholder(text) from public;

-- functions/_identifier_kind.sql

create or replace function pgledger._identifier_kind(given text) returns pgledger.identifier_kind
language sql immutable parallel safe
return (
  case
    when strpos(given, '@') > 0 then 'EMAIL'
    when lower(given collate "C") ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'UUID'
    when given ~ '^[0-9]+$' then 'INTEGER'
    when starts_with(given, 'cus_') then 'CUSTOMER'
    when starts_with(given, 'pm_') then 'PAYMENT_METHOD'
  end)::pgledger.identifier_kind;

comment on function pgledger._identifier_kind(text) is
  'What a trimmed identifier looks like; null where nothing tells. Private.';

revoke all on function pgledger._identifier_kind(text) from public;

-- functions/_identifier_value.sql

create or replace function pgledger._identifier_value(
  kind pgledger.identifier_kind, given text
) returns text
language plpgsql immutable parallel safe
as $$
begin
  -- Spaces and invisible characters of any script: two that look alike would be two accounts.
  if length(given) > 255 or given ~ (
    '[\u0001-\u0020\u007f-\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f'
    '\u3000\ufeff]')
  then
    return null;
  end if;

  case _identifier_value.kind
    when 'EMAIL' then
      if length(given) <= 254 and given ~ (
        '^[^@<>()\[\]{},;:\\"]+@[^@<>()\[\]{},;:\\"./]+(\.[^@<>()\[\]{},;:\\"./]+)+$')
      then
        -- "C" knows ASCII only, and is the same in every database.
        return lower(given collate "C");
      end if;
    when 'UUID' then
      if lower(given collate "C") ~ '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' then
        return given::uuid::text;
      end if;
    when 'INTEGER' then
      if given ~ '^[0-9]+$' then
        if given::numeric between 1 and 9223372036854775807 then
          return given::bigint::text;
        end if;
      end if;
    else
      return given;
  end case;
  return null;
end;
$$;

comment on function pgledger._identifier_value(pgledger.identifier_kind, text) is
  'A trimmed identifier in the one form in which it is kept, by its kind: an email in lower case '
  '(ASCII; nothing else about it is changed), a UUID in canonical form, an integer without leading '
  'zeros. Null where it is none of its kind. Private.';

revoke all on function pgledger._identifier_value(pgledger.identifier_kind, text) from public;

-- functions/_checked_identifier.sql

create or replace function pgledger._checked_identifier(
  identifier text, kind pgledger.identifier_kind
) returns pgledger.account_identifiers
language plpgsql immutable parallel safe
as $$
declare
  -- What surrounds a copied identifier. A text this long is none, and is not searched.
  v_given text := case when length(identifier) <= 1000 then regexp_replace(
    identifier,
    '^[\u0009-\u000d\u0020\u0085\u00a0\u2000-\u200f\u2028-\u202f\u3000\ufeff]+'
    '|[\u0009-\u000d\u0020\u0085\u00a0\u2000-\u200f\u2028-\u202f\u3000\ufeff]+$', '', 'g') end;
  v_known pgledger.account_identifiers;
begin
  if pgledger._is_placeholder(v_given) then
    perform pgledger._reject('identifier', _checked_identifier.identifier,
      'This is a placeholder, which names nobody: whoever filled it in had no identifier.');
  end if;

  v_known.kind := coalesce(_checked_identifier.kind, pgledger._identifier_kind(v_given));
  if v_known.kind is null then
    perform pgledger._reject('identifier', _checked_identifier.identifier,
      'An email, a UUID, a positive integer, cus_... or pm_...; of anything else give the kind.');
  end if;

  v_known.value := pgledger._identifier_value(v_known.kind, v_given);
  if v_known.value is null then
    perform pgledger._reject('identifier', _checked_identifier.identifier, case v_known.kind
      when 'EMAIL' then 'One @, a dot in the domain, at most 254 characters, no spaces.'
      when 'UUID' then '32 hexadecimal digits, as in 123e4567-e89b-42d3-a456-426614174000.'
      when 'INTEGER' then 'Digits only, from 1 to 2^63 - 1.'
      else 'An id of the provider has 1 to 255 characters, no spaces.' end);
  end if;
  return v_known;
end;
$$;

comment on function pgledger._checked_identifier(text, pgledger.identifier_kind) is
  'The kind and the value of an identifier as account_identifiers keeps them, or 22023 (22004 for '
  'null) for what can be none. Idempotent. Private.';

revoke all on function pgledger._checked_identifier(text, pgledger.identifier_kind) from public;

-- functions/_is_known.sql

create or replace function pgledger._is_known(account_id text) returns boolean
language plpgsql stable
as $$
begin
  -- History without an account row was written by another system: the account exists.
  return exists (
    select from pgledger.accounts a where a.account_id = _is_known.account_id
  ) or exists (
    select from pgledger.transactions t where t.account_id = _is_known.account_id);
end;
$$;

comment on function pgledger._is_known(text) is
  'Whether there is an account of this id. Private.';

revoke all on function pgledger._is_known(text) from public;

-- functions/_link.sql

create or replace function pgledger._link(
  kind pgledger.identifier_kind, value text, account_id text
) returns text
language plpgsql
as $$
#variable_conflict use_column
declare
  v_known pgledger.account_identifiers := pgledger._checked_identifier(_link.value, _link.kind);
  v_account_id text;
begin
  select i.account_id into v_account_id
  from pgledger.account_identifiers i
  where i.kind = v_known.kind and i.value = v_known.value;

  if not found then
    -- Two at once: the second waits, and is told whom the first has linked.
    insert into pgledger.account_identifiers as i (kind, value, account_id, linked_at)
    values (v_known.kind, v_known.value, _link.account_id, clock_timestamp())
    on conflict (kind, value) do update set value = excluded.value
    returning i.account_id into v_account_id;
  end if;
  return v_account_id;
end;
$$;

comment on function pgledger._link(pgledger.identifier_kind, text, text) is
  'Links an identifier to an account when nobody has it, and answers with the account that has it '
  'now: another one, where it was linked before. After the lock of the balance row, if any, never '
  'before it. Private.';

revoke all on function pgledger._link(pgledger.identifier_kind, text, text) from public;

-- functions/_identified.sql

create or replace function pgledger._identified(
  known pgledger.account_identifiers, given text
) returns text
language plpgsql stable
as $$
declare
  v_account_id text;
begin
  select i.account_id into v_account_id
  from pgledger.account_identifiers i
  where i.kind = known.kind and i.value = known.value;

  if not found then
    v_account_id := case
      when pgledger._is_known(_identified.given) then _identified.given
      when pgledger._is_known(known.value) then known.value end;
  end if;
  return v_account_id;
end;
$$;

comment on function pgledger._identified(pgledger.account_identifiers, text) is
  'The account that an identifier is linked to, else the one whose id it is: as it was given, or '
  'in its normal form. Null where there is none. Private.';

revoke all on function pgledger._identified(pgledger.account_identifiers, text) from public;

-- functions/_open_identified.sql

create or replace function pgledger._open_identified(
  known pgledger.account_identifiers, account_id text
) returns pgledger.resolved_account
language plpgsql
as $$
declare
  v_account_id text := coalesce(_open_identified.account_id, gen_random_uuid()::text);
  v_resolved pgledger.resolved_account;
begin
  perform pgledger._lock_balance(v_account_id);
  v_resolved.opened := not pgledger._is_known(v_account_id);
  v_resolved.account_id := pgledger._link(known.kind, known.value, v_account_id);

  if v_resolved.account_id = v_account_id then
    perform pgledger._open_if_new(v_account_id);
  else
    -- Somebody else was faster, and what was to be opened is not needed.
    perform pgledger._forget_unopened(v_account_id);
    v_resolved.opened := false;
  end if;
  return v_resolved;
end;
$$;

comment on function pgledger._open_identified(pgledger.account_identifiers, text) is
  'Opens an account, under a random UUID unless an id is given, for an identifier that nobody has, '
  'and links it; answers with the account that has it then, and whether it is new. Private.';

revoke all on function pgledger._open_identified(pgledger.account_identifiers, text) from public;

-- functions/_refuse_link.sql

create or replace function pgledger._refuse_link(
  link pgledger.account_identifiers, recorded text, given text
) returns void
language plpgsql
as $$
begin
  raise exception using
    errcode = 'LG002',
    message = (pgledger._words('LG002')).message,
    detail = jsonb_build_object(
      'account_id', given,
      'kind', link.kind,
      'value', link.value,
      'recorded', jsonb_build_object('account_id', recorded),
      'given', jsonb_build_object('account_id', given))::text,
    hint = 'An identifier belongs to one account. If it now belongs to this one, say move => true.';
end;
$$;

comment on function pgledger._refuse_link(pgledger.account_identifiers, text, text) is
  'Refuses (LG002) to link an identifier of one account to another. Private.';

revoke all on function
  pgledger._refuse_link(pgledger.account_identifiers, text, text) from public;

-- functions/_audit_identifier.sql

create or replace function pgledger._audit_identifier(
  account_id text, act text, actor text, known pgledger.account_identifiers, arguments jsonb
) returns void
language plpgsql
as $$
begin
  -- The log is for ever. An email can be looked for in it by its hash, and yet be forgotten.
  perform pgledger._audit(
    _audit_identifier.account_id, _audit_identifier.act, _audit_identifier.actor,
    jsonb_build_object(
      'kind', known.kind,
      'identifier', case known.kind
        when 'EMAIL' then 'sha256:' || encode(sha256(convert_to(known.value, 'UTF8')), 'hex')
        else known.value end) || _audit_identifier.arguments);
end;
$$;

comment on function pgledger._audit_identifier(
  text, text, text, pgledger.account_identifiers, jsonb) is
  'Writes into the audit log what was done with an identifier: an email as its SHA-256. Private.';

revoke all on function pgledger._audit_identifier(
  text, text, text, pgledger.account_identifiers, jsonb) from public;

-- functions/_original_left.sql

create or replace function pgledger._original_left(account_id text, seq bigint) returns bigint
language sql stable
begin atomic
  select greatest(
    abs(o.amount)
      - coalesce(abs((
        select sum(t.amount + coalesce(b.amount, 0))
        from pgledger.transactions t
        -- What a refund took and gave back, since the money did not leave, can be taken again.
        left join lateral (
          select sum(g.amount) as amount
          from pgledger.transactions g
          where t.type = 'REFUND'
            and g.account_id = _original_left.account_id and g.original_seq = t.seq
        ) b on true
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
  'what expired of a grant is gone as well, what a refund gave back is there again. Private.';

revoke all on function pgledger._original_left(text, bigint) from public;

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

  update pgledger.charges c
  set due_at = null
  where c.account_id = _rearm.account_id and c.key = _rearm.key and c.due_at is not null;

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
  'When an intent of an auto-top-up was enabled or cancelled: nobody charges it any more, and the '
  'auto-top-up that waited for it is armed again. Private.';

revoke all on function pgledger._rearm(text, text) from public;

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
  insert into pgledger.charges (account_id, key, due_at, created_at)
  values (request.account_id, request.key, hot.updated_at, hot.updated_at);
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
  'Records the intent of an auto-top-up and that it is to be charged, tells the outbox, and asks '
  'for no other until it is settled. Private.';

revoke all on function pgledger._request_top_up(pgledger._request, pgledger.balances) from public;

-- functions/_price_all.sql

create or replace function pgledger._price_all(requests pgledger._request[])
returns pgledger._request[]
language plpgsql stable
as $$
declare
  v_requests pgledger._request[] := requests;
  v_now timestamptz := clock_timestamp();
  v_usage jsonb;
  v_cost bigint;
begin
  for v_place in 1 .. cardinality(requests) loop
    v_usage := v_requests[v_place].usage;
    continue when v_requests[v_place].amount is not null
      or not pgledger._is_usage(v_usage ->> 'code', v_usage -> 'quantities');
    select p.cost, p.usage into v_cost, v_usage
    from pgledger._priced(v_usage ->> 'code', v_usage -> 'quantities', v_now) p;
    v_requests[v_place].amount := -v_cost;
    v_requests[v_place].usage := v_usage;
  end loop;
  return v_requests;
end;
$$;

comment on function pgledger._price_all(pgledger._request[]) is
  'The movements of a batch, those priced that are usage: code and quantities as asked for give '
  'way to the record of what they cost. Left as asked for is what cannot have been used. Private.';

revoke all on function pgledger._price_all(pgledger._request[]) from public;

-- functions/_raise_first.sql

create or replace function pgledger._raise_first(answers pgledger.posting[]) returns void
language plpgsql
as $$
declare
  v_item bigint;
  v_code text;
  v_error jsonb;
begin
  select u.item, u.refusal, u.error into v_item, v_code, v_error
  from unnest(answers) with ordinality u (
    account_id, key, seq, type, amount, requested_amount, running_balance, balance, available,
    status, replayed, refusal, created_at, error, item)
  where u.refusal is not null
  order by u.item
  limit 1;

  if found then
    raise exception using
      errcode = v_code,
      message = v_error ->> 'message',
      detail = (v_error -> 'detail' || jsonb_build_object('item', v_item))::text,
      hint = v_error ->> 'hint';
  end if;
end;
$$;

comment on function pgledger._raise_first(pgledger.posting[]) is
  'Raises the first refusal among the answers to a batch, with its place in the batch. Private.';

revoke all on function pgledger._raise_first(pgledger.posting[]) from public;

-- functions/_store_status.sql

create or replace function pgledger._store_status(
  account_id text, status pgledger.account_status
) returns pgledger.accounts
language plpgsql
as $$
#variable_conflict use_column
declare
  v_account pgledger.accounts;
  v_before pgledger.account_status;
  v_attention_at timestamptz;
begin
  select a.status into strict v_before
  from pgledger.accounts a
  where a.account_id = _store_status.account_id;
  update pgledger.accounts a
  set status = _store_status.status
  where a.account_id = _store_status.account_id
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

comment on function pgledger._store_status(text, pgledger.account_status) is
  'Stores the status of an account where the fast path sees it, ends the plan of one that is '
  'closed, and tells when one is frozen. Only under the lock of its balance row, after what was '
  'due is posted. Private.';

revoke all on function pgledger._store_status(text, pgledger.account_status) from public;

-- functions/set_account_status.sql

create or replace function pgledger.set_account_status(
  account_id text,
  status pgledger.account_status,
  actor text default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
begin
  if set_account_status.status is null then
    perform pgledger._reject('status', null, 'One of OPEN, FROZEN, CLOSED.');
  end if;

  v_account := pgledger._lock_account(set_account_status.account_id collate "default");

  if set_account_status.status = 'CLOSED' then
    perform pgledger._require_empty(v_account.account_id);
  end if;

  v_account := pgledger._store_status(v_account.account_id, set_account_status.status);
  perform pgledger._audit(
    v_account.account_id, 'set_account_status', set_account_status.actor collate "default",
    jsonb_build_object('status', set_account_status.status));
  return v_account;
end;
$$;

comment on function pgledger.set_account_status(text, pgledger.account_status, text) is
  'Opens, freezes or closes an account and answers with its settings. FROZEN refuses debits that '
  'ask, not credits, and not movements with fail_insufficient_credits => false. CLOSED refuses '
  'everything; 55000 unless the balance is 0, in each lot as well, and nothing is pending; it ends '
  'the account''s plan. A repeat changes nothing. Kept in the audit log, as done by actor. Refuses '
  'with LG003, 55000, 22023 and 22004.';

revoke all on function
  pgledger.set_account_status(text, pgledger.account_status, text) from public;

-- functions/set_limits.sql

create or replace function pgledger.set_limits(
  account_id text,
  min_balance bigint default null,
  debt_floor bigint default null,
  actor text default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
  v_min_balance bigint;
  v_debt_floor bigint;
begin
  if set_limits.min_balance is null and set_limits.debt_floor is null then
    perform pgledger._reject('min_balance', null, 'Give min_balance, debt_floor or both.');
  end if;

  v_account := pgledger._lock_account(set_limits.account_id collate "default");

  v_min_balance := coalesce(set_limits.min_balance, v_account.min_balance);
  v_debt_floor := coalesce(set_limits.debt_floor, v_min_balance);
  if v_min_balance > 0 then
    perform pgledger._reject('min_balance', v_min_balance::text,
      'A floor is 0 or negative, in minor units.');
  end if;
  if v_debt_floor > v_min_balance then
    perform pgledger._reject('debt_floor', v_debt_floor::text,
      'debt_floor is at most min_balance, which is ' || v_min_balance || '.');
  end if;

  update pgledger.accounts a
  set min_balance = v_min_balance, debt_floor = v_debt_floor
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  update pgledger.balances b
  set floor = v_account.min_balance
  where b.account_id = v_account.account_id;

  perform pgledger._audit(
    v_account.account_id, 'set_limits', set_limits.actor collate "default",
    jsonb_build_object(
      'min_balance', set_limits.min_balance, 'debt_floor', set_limits.debt_floor));
  return v_account;
end;
$$;

comment on function pgledger.set_limits(text, bigint, bigint, text) is
  'Sets the floors of an account, minor units, and answers with its settings. min_balance <= 0 '
  'floors spends, and stays as it is when not given; debt_floor <= min_balance floors spends with '
  'shortfall DEBT, and equals min_balance when not given. Moves no credits. A repeat changes '
  'nothing. Kept in the audit log, as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_limits(text, bigint, bigint, text) from public;

-- functions/set_low_balance_level.sql

create or replace function pgledger.set_low_balance_level(
  account_id text,
  level bigint default null,
  actor text default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
begin
  v_account := pgledger._lock_account(set_low_balance_level.account_id collate "default");

  update pgledger.accounts a
  set low_balance_level = set_low_balance_level.level
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  update pgledger.balances b
  set low_below = v_account.low_balance_level
  where b.account_id = v_account.account_id;

  perform pgledger._audit(
    v_account.account_id, 'set_low_balance_level', set_low_balance_level.actor collate "default",
    jsonb_build_object('level', set_low_balance_level.level));
  return v_account;
end;
$$;

comment on function pgledger.set_low_balance_level(text, bigint, text) is
  'Sets the level, minor units, below which available counts as low, and answers with the '
  'account''s settings: a debit or hold that crosses it records the event low_balance. Null, the '
  'default, is none. Setting it records no event. A repeat changes nothing. Kept in the audit log, '
  'as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_low_balance_level(text, bigint, text) from public;

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
      add_transaction.account_id collate "default", add_transaction.amount, add_transaction.type,
      add_transaction.key, add_transaction.reference, add_transaction.metadata,
      'REFUSE', add_transaction.raise_refusals, null);
  end if;

  v_request := pgledger._asked(
    add_transaction.account_id, add_transaction.amount, add_transaction.type, add_transaction.key,
    case when add_transaction.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    add_transaction.reference, add_transaction.metadata, add_transaction.raise_refusals, null);
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
  raise_refusals boolean default true,
  actor text default null
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
    refund.reference, refund.metadata, refund.raise_refusals, null);
  v_request.external_id := refund.external_id;
  return pgledger._audited(
    pgledger._undo(v_request, refund.original_key collate "default"), 'refund',
    refund.actor collate "default",
    jsonb_build_object(
      'original_key', refund.original_key,
      'amount', refund.amount,
      'key', refund.key,
      'external_id', refund.external_id,
      'fail_insufficient_credits', refund.fail_insufficient_credits,
      'reference', refund.reference));
end;
$$;

comment on function pgledger.refund(
  text, text, bigint, text, text, boolean, text, jsonb, boolean, text) is
  'Takes back the credits of a TOP_UP whose money goes back to the payer: amount > 0 of it, minor '
  'units, or all that remains of it. May be repeated, under other keys, up to what was topped up. '
  'Credits that are spent already are not there to be taken: LG001, unless '
  'fail_insufficient_credits => false (a chargeback), which may leave a debt and also debits a '
  'frozen account. external_id is the provider''s id of the refund or dispute: it has one effect, '
  'ever. A repeat of key or external_id changes nothing and answers with the original. Kept in the '
  'audit log, as done by actor. Refuses with LG001, LG002, LG004, LG006, LG009, 22003, 22023 (not '
  'a TOP_UP) and 22004.';

revoke all on function
  pgledger.refund(text, text, bigint, text, text, boolean, text, jsonb, boolean, text) from public;

-- functions/reverse_transaction.sql

create or replace function pgledger.reverse_transaction(
  account_id text,
  original_key text,
  amount bigint default null,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  extend interval default null,
  raise_refusals boolean default true,
  actor text default null
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
    reverse_transaction.metadata, reverse_transaction.raise_refusals, null);
  v_request.extend := reverse_transaction.extend;
  return pgledger._audited(
    pgledger._undo(v_request, reverse_transaction.original_key collate "default"),
    'reverse_transaction', reverse_transaction.actor collate "default",
    jsonb_build_object(
      'original_key', reverse_transaction.original_key,
      'amount', reverse_transaction.amount,
      'key', reverse_transaction.key,
      'reference', reverse_transaction.reference,
      'extend', reverse_transaction.extend));
end;
$$;

comment on function pgledger.reverse_transaction(
  text, text, bigint, text, text, jsonb, interval, boolean, text) is
  'Undoes a posted USAGE, GRANT, CARD_CHECK or ADJUSTMENT by a REVERSAL the other way: amount > 0 '
  'of it, minor units, or all that remains of it. May be repeated, under other keys, up to the '
  'original. What a debit drew goes back to the very lots that paid, the last drawn first; what '
  'comes back to a lot that has ended expires at once, unless extend (above 0, at most 100 years) '
  'lets that lot live on for so long from now. To reverse a credit takes from its own lot first, '
  'and may leave a debt; what expired of it is gone already. A TOP_UP is undone by refund. A '
  'repeat of the key changes nothing and answers with the original reversal. Kept in the audit '
  'log, as done by actor. Refuses with LG002, LG004 (closed), LG006, LG009, 22003, 22023 (cannot '
  'be reversed) and 22004.';

revoke all on function pgledger.reverse_transaction(
  text, text, bigint, text, text, jsonb, interval, boolean, text) from public;

-- functions/revoke_lot.sql

create or replace function pgledger.revoke_lot(
  account_id text,
  key text,
  reason text default null,
  raise_refusals boolean default true,
  actor text default null
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
  return pgledger._audited(
    pgledger._apply(v_request, v_hot, v_request.amount), 'revoke_lot',
    revoke_lot.actor collate "default",
    jsonb_build_object('key', revoke_lot.key, 'reason', revoke_lot.reason));
end;
$$;

comment on function pgledger.revoke_lot(text, text, text, boolean, text) is
  'Takes back all that is free in one lot, named by the key of the credit that made it, and ends '
  'the lot: what holds or reversals give back to it later expires at once. Posted as a REVERSAL of '
  'that credit under the key #revoke-<seq>, so it counts as undone for refund and '
  'reverse_transaction. reason: 1 to 1000 characters, kept in its metadata. A repeat changes '
  'nothing and answers with the original. Kept in the audit log, as done by actor. Refuses with '
  'LG004 (closed), LG006, LG009 (nothing free in it), 22023 (made no lot) and 22004.';

revoke all on function pgledger.revoke_lot(text, text, text, boolean, text) from public;

-- functions/_check_label.sql

create or replace function pgledger._check_label(parameter text, label text) returns void
language plpgsql
as $$
begin
  if not pgledger._is_label(_check_label.label) then
    perform pgledger._reject(_check_label.parameter, _check_label.label,
      'A name of 1 to 255 characters, none of them a control character.');
  end if;
end;
$$;

comment on function pgledger._check_label(text, text) is
  'Refuses (22023) a text that cannot name something. Null is not given, and fine. Private.';

revoke all on function pgledger._check_label(text, text) from public;

-- functions/_checked_provider.sql

create or replace function pgledger._checked_provider(provider text) returns text
language plpgsql immutable parallel safe
as $$
begin
  -- The ledger's own keys of a payment begin with #<provider>-, those of others with these.
  if not coalesce(_checked_provider.provider ~ '^[a-z][a-z0-9_]{0,49}$', false)
    or _checked_provider.provider in ('auto', 'back', 'excess', 'refill', 'revoke')
  then
    perform pgledger._reject('provider', _checked_provider.provider,
      'A short name such as stripe: a lower-case letter, then up to 49 of them, digits and _; not '
      'auto, back, excess, refill or revoke.');
  end if;
  return _checked_provider.provider;
end;
$$;

comment on function pgledger._checked_provider(text) is
  'The name of a payment provider, or 22023 (22004 for null) when it cannot be one. Private.';

revoke all on function pgledger._checked_provider(text) from public;

-- functions/_checked_provider_id.sql

create or replace function pgledger._checked_provider_id(parameter text, id text) returns text
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(
    pgledger._is_label(_checked_provider_id.id) and length(_checked_provider_id.id) <= 200, false)
  then
    perform pgledger._reject(_checked_provider_id.parameter, _checked_provider_id.id,
      'An id of the provider''s has 1 to 200 characters, none of them a control character.');
  end if;
  return _checked_provider_id.id;
end;
$$;

comment on function pgledger._checked_provider_id(text, text) is
  'What a provider calls a payment, an event or the like, or 22023 (22004 for null) when it cannot '
  'be that: short enough that a key is made of it. Private.';

revoke all on function pgledger._checked_provider_id(text, text) from public;

-- functions/_check_return.sql

create or replace function pgledger._check_return(given pgledger.payment_returns, parameter text)
returns void
language plpgsql
as $$
begin
  perform pgledger._checked_provider(given.provider);
  perform pgledger._checked_provider_id(_check_return.parameter, given.return_id);
  perform pgledger._checked_provider_id('payment_id', given.payment_id);
  perform pgledger._check_label('request_key', given.request_key);

  if given.return_id = given.payment_id then
    perform pgledger._reject(_check_return.parameter, given.return_id,
      'Give the id of the refund or dispute, not that of its payment.');
  end if;
  if not coalesce(given.amount >= 0, false) then
    perform pgledger._reject('amount', given.amount::text,
      'Money is a whole number of the smallest unit of its currency, not negative.');
  end if;
  if not coalesce(
    (given.status in ('PENDING', 'SUCCEEDED', 'FAILED')) = (given.kind = 'REFUND'), false)
  then
    perform pgledger._reject('status', given.status::text,
      'A refund is PENDING, SUCCEEDED or FAILED; a dispute is OPEN, LOST or WON.');
  end if;
  if given.kind = 'DISPUTE' and given.policy is null then
    perform pgledger._reject('policy', null, 'One of FLAG, FREEZE, DEDUCT.');
  end if;
  if not isfinite(given.occurred_at) then
    perform pgledger._reject('occurred_at', given.occurred_at::text,
      'Give a finite point in time, or none where it is not known.');
  end if;
end;
$$;

comment on function pgledger._check_return(pgledger.payment_returns, text) is
  'Refuses (22023, 22004) what cannot be a refund or a dispute, before anything is locked; its id '
  'is refused as the parameter that gave it. Private.';

revoke all on function pgledger._check_return(pgledger.payment_returns, text) from public;

-- functions/_is_in_effect.sql

create or replace function pgledger._is_in_effect(
  status pgledger.return_status, policy pgledger.dispute_policy
) returns boolean
language sql immutable parallel safe
return status in ('PENDING', 'SUCCEEDED', 'LOST')
  or (status = 'OPEN' and policy = 'DEDUCT');

comment on function pgledger._is_in_effect(pgledger.return_status, pgledger.dispute_policy) is
  'Whether a refund or dispute takes credits: a refund unless it failed, a dispute that is lost, '
  'or open under DEDUCT. Small enough for the planner to inline. Private.';

revoke all on function
  pgledger._is_in_effect(pgledger.return_status, pgledger.dispute_policy) from public;

-- functions/_store_return.sql

-- What is known of a refund or a dispute is the greatest that was told of it, in an order in which
-- no two facts are equal: so it does not matter which of them came first, or how often.
create or replace function pgledger._store_return(given pgledger.payment_returns)
returns boolean
language plpgsql
as $$
#variable_conflict use_column
declare
  v_known pgledger.payment_returns;
  v_is_new boolean;
  v_now timestamptz := clock_timestamp();
begin
  insert into pgledger.payment_returns (
    provider, return_id, payment_id, kind, amount, status, policy, request_key, occurred_at,
    created_at, updated_at)
  values (
    given.provider, given.return_id, given.payment_id, given.kind, given.amount, given.status,
    given.policy, given.request_key, given.occurred_at, v_now, v_now)
  on conflict (provider, return_id) do nothing;
  v_is_new := found;

  select r.* into strict v_known
  from pgledger.payment_returns r
  where r.provider = given.provider and r.return_id = given.return_id;
  if v_known.payment_id <> given.payment_id or v_known.kind <> given.kind then
    perform pgledger._refuse(null, null, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object('payment_id', v_known.payment_id, 'kind', v_known.kind),
      'given', jsonb_build_object('payment_id', given.payment_id, 'kind', given.kind)));
  end if;

  update pgledger.payment_returns r
  set amount = given.amount, status = given.status, policy = given.policy,
      occurred_at = given.occurred_at, updated_at = v_now
  where r.provider = given.provider and r.return_id = given.return_id
    and row(coalesce(given.occurred_at, '-infinity'), given.status, given.amount, given.policy)
      > row(coalesce(r.occurred_at, '-infinity'), r.status, r.amount, r.policy);
  update pgledger.payment_returns r
  set request_key = given.request_key, updated_at = v_now
  where r.provider = given.provider and r.return_id = given.return_id
    and r.request_key is null and given.request_key is not null;
  return v_is_new;
end;
$$;

comment on function pgledger._store_return(pgledger.payment_returns) is
  'Keeps what was told of a refund or a dispute, if it is later than what is known; whether it is '
  'the first that is. LG002 where the id is that of another payment''s, or of another kind. Only '
  'under the lock of the payment. Private.';

revoke all on function pgledger._store_return(pgledger.payment_returns) from public;

-- functions/_told_refunds.sql

create or replace function pgledger._told_refunds(payment pgledger.payments) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_known numeric;
  v_rest bigint;
  v_taken_by text;
  v_kind pgledger.return_kind;
  v_now timestamptz := clock_timestamp();
begin
  -- Those that failed as well: the sum was told while they had not.
  select coalesce(sum(r.amount), 0) into v_known
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.payment_id = payment.payment_id
    and r.kind = 'REFUND' and r.return_id <> payment.payment_id;
  v_rest := greatest(payment.refunded - v_known, 0)::bigint;

  update pgledger.payment_returns r
  set amount = v_rest, updated_at = v_now
  where r.provider = payment.provider and r.return_id = payment.payment_id
    and r.payment_id = payment.payment_id and r.amount <> v_rest;
  if v_rest > 0 then
    insert into pgledger.payment_returns
      (provider, return_id, payment_id, kind, amount, status, created_at, updated_at)
    values (
      payment.provider, payment.payment_id, payment.payment_id, 'REFUND', v_rest, 'SUCCEEDED',
      v_now, v_now)
    on conflict (provider, return_id) do nothing;

    -- A provider may number its refunds as it numbers its payments.
    select r.payment_id, r.kind into strict v_taken_by, v_kind
    from pgledger.payment_returns r
    where r.provider = payment.provider and r.return_id = payment.payment_id;
    if v_taken_by <> payment.payment_id then
      perform pgledger._refuse(null, null, 'LG002', jsonb_build_object(
        'recorded', jsonb_build_object('payment_id', v_taken_by, 'kind', v_kind),
        'given', jsonb_build_object('payment_id', payment.payment_id, 'kind', 'REFUND')));
    end if;
  end if;
end;
$$;

comment on function pgledger._told_refunds(pgledger.payments) is
  'Keeps, as a refund under the payment''s own id, what was refunded of a payment that is known '
  'only as a part of the sum, until its refunds are told one by one. Only under the lock of the '
  'payment. Private.';

revoke all on function pgledger._told_refunds(pgledger.payments) from public;

-- functions/_own_refunds.sql

create or replace function pgledger._own_refunds(payment pgledger.payments) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  update pgledger.payment_returns r
  set own_seq = o.seq, refund_seqs = r.refund_seqs || o.seq
  from (
    -- One debit counts for one of them.
    select distinct on (f.seq) f.seq, n.return_id
    from pgledger.payment_returns n
    cross join lateral (
      select t.seq, t.original_seq
      from pgledger.transactions t
      where t.account_id = payment.account_id and t.external_id = n.return_id
        and t.amount < 0 and t.type not in ('REVERSAL', 'EXPIRY', 'TRANSFER')
      union all
      select t.seq, t.original_seq
      from pgledger.transactions t
      where t.account_id = payment.account_id and t.original_seq = payment.seq
        and (t.key = n.request_key or exists (
          select from pgledger.refund_requests q
          where q.account_id = t.account_id and q.key = t.key and q.return_id = n.return_id))
        -- Not one whose credits went back because the provider had refused it.
        and pgledger._original_left(t.account_id, t.seq) > 0
    ) f
    where n.provider = payment.provider and n.payment_id = payment.payment_id
      -- Nor for one of another payment: another provider may give the same ids.
      and not exists (
        select from pgledger.payments p
        join pgledger.payment_returns x
          on x.provider = p.provider and x.payment_id = p.payment_id
        where p.account_id = payment.account_id and p.seq in (payment.seq, f.original_seq)
          and f.seq = any (x.refund_seqs))
    order by f.seq, not pgledger._is_in_effect(n.status, n.policy), n.return_id
  ) o
  where r.provider = payment.provider and r.return_id = o.return_id;

  -- From the journal, because an application may have reversed what it posted itself.
  update pgledger.payment_returns r
  set taken = o.left_over
  from (
    select n.return_id,
      coalesce(sum(pgledger._original_left(payment.account_id, s.seq)), 0)::bigint as left_over
    from pgledger.payment_returns n
    left join lateral unnest(n.refund_seqs) s (seq) on true
    where n.provider = payment.provider and n.payment_id = payment.payment_id
    group by n.return_id
  ) o
  where r.provider = payment.provider and r.return_id = o.return_id and r.taken <> o.left_over;
end;
$$;

comment on function pgledger._own_refunds(pgledger.payments) is
  'Finds what the application itself has taken for the refunds and disputes of a payment: the '
  'debit with the provider''s id, or that of the refund request. Only under the locks of the '
  'payment and the balance row. Private.';

revoke all on function pgledger._own_refunds(pgledger.payments) from public;

-- functions/_return_targets.sql

-- What the application took itself counts as it is. Of all else a part of the money stands for its
-- part of the credits, rounded down once over all of it, so that all money stands for all credits.
create or replace function pgledger._return_targets(
  payment pgledger.payments, credits bigint, last_id text
) returns table (place bigint, return_id text, target bigint)
language sql stable
begin atomic
  select n.place, n.return_id,
    least(
      credits,
      n.own + div(
        credits * greatest(least(n.money, coalesce((payment).paid, 0) - n.own_money), 0),
        greatest((payment).paid, 1))
    )::bigint
  from (
    select
      row_number() over w as place,
      r.return_id,
      coalesce(sum(r.amount) filter (where r.own_seq is null) over w, 0) as money,
      coalesce(sum(r.amount) filter (where r.own_seq is not null) over w, 0) as own_money,
      coalesce(sum(pgledger._original_left((payment).account_id, r.own_seq)) over w, 0) as own
    from pgledger.payment_returns r
    where r.provider = (payment).provider and r.payment_id = (payment).payment_id
      and pgledger._is_in_effect(r.status, r.policy)
    window w as (
      order by r.own_seq is null, r.return_id is not distinct from last_id, r.created_at,
        r.return_id)
  ) n
  order by n.place;
end;

comment on function pgledger._return_targets(pgledger.payments, bigint, text) is
  'How many of the credits of a payment its refunds and disputes take in all, those in effect, one '
  'after the other: last_id last, and what the application took itself first, so that it never '
  'falls. Private.';

revoke all on function pgledger._return_targets(pgledger.payments, bigint, text) from public;

-- functions/_move_return.sql

create or replace function pgledger._move_return(
  payment pgledger.payments, return_id text, original_seq bigint, amount bigint
) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_request pgledger._request;
  v_return pgledger.payment_returns;
  v_posted pgledger.posting;
begin
  select r.* into strict v_return
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.return_id = _move_return.return_id;

  -- Whatever the ids are, they must not make a key that is taken.
  loop
    v_return.movements := v_return.movements + 1;
    v_request.key :=
      '#' || payment.provider || '-' || v_return.return_id || '-' || v_return.movements;
    exit when not exists (
      select from pgledger.transactions t
      where t.account_id = payment.account_id and t.key = v_request.key
      union all
      select from pgledger.pending_transactions p
      where p.account_id = payment.account_id and p.key = v_request.key);
  end loop;

  v_request := pgledger._asked(
    payment.account_id, _move_return.amount,
    case when _move_return.amount < 0 then 'REFUND' else 'REVERSAL' end::pgledger.transaction_type,
    v_request.key, 'FORCE', null,
    jsonb_build_object(
      'provider', payment.provider,
      'payment_id', payment.payment_id,
      'return_id', v_return.return_id,
      'kind', v_return.kind),
    true, null);
  v_request.original_seq := _move_return.original_seq;
  if not exists (
    select from pgledger.transactions t
    where t.account_id = payment.account_id and t.external_id = v_return.return_id
      and (t.amount > 0) = (v_request.amount > 0))
  then
    v_request.external_id := v_return.return_id;
  end if;
  v_posted := pgledger._post_locked(
    v_request, pgledger._settle_due(pgledger._lock_balance(payment.account_id)));

  update pgledger.payment_returns r
  set taken = r.taken - v_posted.amount,
      movements = v_return.movements,
      refund_seqs = case when v_posted.amount < 0 then r.refund_seqs || v_posted.seq
        else r.refund_seqs end,
      own_seq = nullif(r.own_seq, _move_return.original_seq)
  where r.provider = payment.provider and r.return_id = v_return.return_id;
end;
$$;

comment on function pgledger._move_return(pgledger.payments, text, bigint, bigint) is
  'Takes credits of a payment for one of its refunds or disputes (amount below 0), or gives back '
  'what a debit took for it. Only under the locks of the payment and the balance row. Private.';

revoke all on function
  pgledger._move_return(pgledger.payments, text, bigint, bigint) from public;

-- functions/_level_returns.sql

create or replace function pgledger._level_returns(payment pgledger.payments, last_id text)
returns text
language plpgsql
as $$
#variable_conflict use_column
declare
  v_credits bigint;
  v_taken bigint;
  v_target bigint;
  v_part bigint;
  v_step record;
begin
  perform pgledger._own_refunds(payment);
  select t.amount into strict v_credits
  from pgledger.transactions t
  where t.account_id = payment.account_id and t.seq = payment.seq;
  select coalesce(sum(r.taken), 0)::bigint into v_taken
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.payment_id = payment.payment_id;
  select coalesce(max(t.target), 0) into v_target
  from pgledger._return_targets(payment, v_credits, null) t;
  if v_target <> v_taken and exists (
    select from pgledger.accounts a
    where a.account_id = payment.account_id and a.status = 'CLOSED')
  then
    return 'account not open';
  end if;

  for v_step in
    select t.return_id, t.target
    from pgledger._return_targets(payment, v_credits, _level_returns.last_id) t
    order by t.place
  loop
    -- What the application has refunded of it for other reasons cannot be taken twice.
    v_part := least(
      v_step.target - v_taken, pgledger._original_left(payment.account_id, payment.seq));
    continue when v_part <= 0;
    perform pgledger._move_return(payment, v_step.return_id, payment.seq, -v_part);
    v_taken := v_taken + v_part;
  end loop;

  for v_step in
    select r.return_id, s.seq, pgledger._original_left(payment.account_id, s.seq) as left_over
    from pgledger.payment_returns r
    cross join lateral unnest(r.refund_seqs) s (seq)
    where r.provider = payment.provider and r.payment_id = payment.payment_id
    order by pgledger._is_in_effect(r.status, r.policy) and r.amount > 0,
      s.seq is not distinct from r.own_seq, s.seq desc
  loop
    v_part := least(v_taken - v_target, v_step.left_over);
    continue when v_part <= 0;
    perform pgledger._move_return(payment, v_step.return_id, v_step.seq, v_part);
    v_taken := v_taken - v_part;
  end loop;

  return case
    when payment.paid is null and exists (
      select from pgledger.payment_returns r
      where r.provider = payment.provider and r.payment_id = payment.payment_id
        and r.own_seq is null and pgledger._is_in_effect(r.status, r.policy))
    then 'paid unknown'
  end;
end;
$$;

comment on function pgledger._level_returns(pgledger.payments, text) is
  'Takes what the refunds and disputes of a credited payment are to take by now and have not, or '
  'gives back what they have taken beyond it; why it could not, else null: of a closed account, or '
  'where nobody knows what was paid. Only under the locks of the payment and the balance row. '
  'Private.';

revoke all on function pgledger._level_returns(pgledger.payments, text) from public;

-- functions/_frozen_by_disputes.sql

create or replace function pgledger._frozen_by_disputes(account_id text, since timestamptz)
returns boolean
language sql stable
begin atomic
  select exists (
    select
    from pgledger.payments p
    join pgledger.payment_returns r on r.provider = p.provider and r.payment_id = p.payment_id
    where p.account_id = _frozen_by_disputes.account_id
      and r.status in ('OPEN', 'LOST')
      and r.froze_at > _frozen_by_disputes.since);
end;

comment on function pgledger._frozen_by_disputes(text, timestamptz) is
  'Whether a dispute that is open or lost has frozen an account since an instant. Private.';

revoke all on function pgledger._frozen_by_disputes(text, timestamptz) from public;

-- functions/_freeze_disputed.sql

create or replace function pgledger._freeze_disputed(payment pgledger.payments) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_dispute pgledger.payment_returns;
  v_status pgledger.account_status;
  v_next pgledger.account_status;
  v_set_at timestamptz;
  v_now timestamptz := clock_timestamp();
begin
  select coalesce(max(l.created_at), '-infinity') into v_set_at
  from pgledger.audit_log l
  where l.account_id = payment.account_id and l.act = 'set_account_status';

  for v_dispute in
    select r.*
    from pgledger.payment_returns r
    where r.provider = payment.provider and r.payment_id = payment.payment_id
      and case
        when r.status = 'WON' then r.froze_at is not null
        else r.froze_at is null and r.policy = 'FREEZE'
      end
    order by r.return_id
  loop
    select a.status into strict v_status
    from pgledger.accounts a
    where a.account_id = payment.account_id;
    v_next := v_status;
    if v_dispute.status = 'WON' then
      if v_status = 'FROZEN' and v_dispute.froze_at > v_set_at
        and not pgledger._frozen_by_disputes(payment.account_id, v_set_at)
      then
        v_next := 'OPEN';
      end if;
      v_dispute.froze_at := null;
    elsif v_status = 'OPEN' or pgledger._frozen_by_disputes(payment.account_id, v_set_at) then
      v_next := 'FROZEN';
      v_dispute.froze_at := v_now;
    else
      v_dispute.froze_at := '-infinity';
    end if;

    update pgledger.payment_returns r
    set froze_at = v_dispute.froze_at
    where r.provider = v_dispute.provider and r.return_id = v_dispute.return_id;
    continue when v_next = v_status;
    perform pgledger._store_status(payment.account_id, v_next);
    perform pgledger._audit(payment.account_id, 'record_dispute', null, jsonb_build_object(
      'provider', v_dispute.provider,
      'dispute_id', v_dispute.return_id,
      'payment_id', v_dispute.payment_id,
      'status', v_next));
  end loop;
end;
$$;

comment on function pgledger._freeze_disputed(pgledger.payments) is
  'Freezes the account of a payment that is disputed, once for each dispute that is to, or opens '
  'it again where the dispute is won, nothing else keeps it frozen and nobody has set its status '
  'since. Only under the locks of the payment and the balance row. Private.';

revoke all on function pgledger._freeze_disputed(pgledger.payments) from public;

-- functions/_settle_returns.sql

create or replace function pgledger._settle_returns(
  payment pgledger.payments, return_id text default null
) returns void
language plpgsql
as $$
declare
  v_reason text;
  v_now timestamptz := clock_timestamp();
begin
  perform pgledger._told_refunds(payment);
  if payment.seq is null or not exists (
    select from pgledger.payment_returns r
    where r.provider = payment.provider and r.payment_id = payment.payment_id)
  then
    return;
  end if;

  perform pgledger._settle_due(pgledger._lock_balance(payment.account_id));
  perform pgledger._open_if_new(payment.account_id);
  perform pgledger._freeze_disputed(payment);
  v_reason := pgledger._level_returns(payment, _settle_returns.return_id);
  update pgledger.payments p
  set reason = v_reason, updated_at = v_now
  where p.provider = payment.provider and p.payment_id = payment.payment_id
    and p.reason is distinct from v_reason;
end;
$$;

comment on function pgledger._settle_returns(pgledger.payments, text) is
  'Brings the account of a payment to what is known of its refunds and disputes, once it is '
  'credited; return_id: the one that changed. To be called whenever something changed: its credit, '
  'what was paid or refunded of it, or a return; it may change reason in the payment''s row. Only '
  'under the lock of the payment. Private.';

revoke all on function pgledger._settle_returns(pgledger.payments, text) from public;

-- functions/_tell_refund_request.sql

create or replace function pgledger._tell_refund_request(
  payment pgledger.payments, return_id text
) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_return pgledger.payment_returns;
begin
  select r.* into strict v_return
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.return_id = _tell_refund_request.return_id;

  update pgledger.refund_requests q
  set return_id = v_return.return_id, result = v_return.status, due_at = null
  where q.account_id = payment.account_id and q.original_seq = payment.seq
    and q.status = 'APPROVED'
    and (
      q.return_id = v_return.return_id
      or (q.return_id is null and q.key = v_return.request_key));
end;
$$;

comment on function pgledger._tell_refund_request(pgledger.payments, text) is
  'Tells the refund request that a refund carries out what has become of the money, so that no '
  'worker does it again. Only under the lock of the payment. Private.';

revoke all on function pgledger._tell_refund_request(pgledger.payments, text) from public;

-- functions/_return_told.sql

create or replace function pgledger._return_told(
  told pgledger.payment_returns, account_id text default null
) returns pgledger.payment
language plpgsql
as $$
#variable_conflict use_column
declare
  v_payment pgledger.payments;
  v_now timestamptz := clock_timestamp();
begin
  update pgledger.payments p
  set account_id = _return_told.account_id, updated_at = v_now
  where p.provider = told.provider and p.payment_id = told.payment_id
    and p.account_id is null and _return_told.account_id is not null;
  select p.* into strict v_payment
  from pgledger.payments p
  where p.provider = told.provider and p.payment_id = told.payment_id;
  perform pgledger._settle_returns(v_payment, told.return_id);
  perform pgledger._tell_refund_request(v_payment, told.return_id);

  select p.* into strict v_payment
  from pgledger.payments p
  where p.provider = told.provider and p.payment_id = told.payment_id;
  return pgledger._payment_told(v_payment);
end;
$$;

comment on function pgledger._return_told(pgledger.payment_returns, text) is
  'Brings a payment to what was just told of one of its refunds or disputes, and answers with it. '
  'Only under the lock of the payment. Private.';

revoke all on function pgledger._return_told(pgledger.payment_returns, text) from public;

-- functions/_tell_dispute.sql

create or replace function pgledger._tell_dispute(
  payment pgledger.payments, dispute pgledger.payment_returns, reason text
) returns void
language plpgsql
as $$
declare
  v_account_id text := coalesce(payment.account_id, '#payments');
begin
  perform pgledger._lock_balance(v_account_id);
  perform pgledger._emit(v_account_id, 'dispute_opened', array[jsonb_build_object(
    'provider', dispute.provider,
    'dispute_id', dispute.return_id,
    'payment_id', dispute.payment_id,
    'amount', dispute.amount,
    'currency', payment.paid_currency,
    'status', dispute.status,
    'reason', _tell_dispute.reason,
    'policy', dispute.policy)]);
end;
$$;

comment on function pgledger._tell_dispute(
  pgledger.payments, pgledger.payment_returns, text) is
  'Writes the event that tells of a new dispute, of #payments where nobody knows whose payment it '
  'is. Only under the lock of the payment. Private.';

revoke all on function pgledger._tell_dispute(
  pgledger.payments, pgledger.payment_returns, text) from public;

-- functions/record_payment_refund.sql

create or replace function pgledger.record_payment_refund(
  provider text,
  refund_id text,
  payment_id text,
  amount bigint,
  status pgledger.return_status,
  request_key text default null,
  account_id text default null,
  occurred_at timestamptz default null
) returns pgledger.payment
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_return pgledger.payment_returns;
begin
  v_return.provider := record_payment_refund.provider collate "default";
  v_return.return_id := record_payment_refund.refund_id collate "default";
  v_return.payment_id := record_payment_refund.payment_id collate "default";
  v_return.kind := 'REFUND';
  v_return.amount := record_payment_refund.amount;
  v_return.status := record_payment_refund.status;
  v_return.request_key := record_payment_refund.request_key collate "default";
  v_return.occurred_at := record_payment_refund.occurred_at;
  perform pgledger._check_return(v_return, 'refund_id');
  perform pgledger._check_label(
    'account_id', record_payment_refund.account_id collate "default");

  perform pgledger._lock_payment(v_return.provider, v_return.payment_id);
  perform pgledger._store_return(v_return);
  return pgledger._return_told(
    v_return, record_payment_refund.account_id collate "default");
end;
$$;

comment on function pgledger.record_payment_refund(
  text, text, text, bigint, pgledger.return_status, text, text, timestamptz) is
  'Tells that a payment was refunded, or that it is to be: amount is the money, in the smallest '
  'unit of the payment''s currency. PENDING and SUCCEEDED take the credits that it stands for '
  'back, whether or not they are there and the account is frozen, by a REFUND of the top-up; '
  'FAILED gives them back to where they came from. All refunds and lost disputes of a payment '
  'together never take more than it brought. The latest by occurred_at counts, then FAILED before '
  'SUCCEEDED before PENDING; what is told again, in whatever order, changes nothing. What is told '
  'of a payment that is not known or not credited yet takes effect when it is. What the '
  'application has refunded itself under external_id => refund_id, or through the refund request '
  'of request_key, is not taken again. account_id: whose it is, where the payment does not say. '
  'Answers with the payment. Refuses with LG002 (the id is another payment''s, or a dispute''s), '
  '22003, 22023 and 22004.';

revoke all on function pgledger.record_payment_refund(
  text, text, text, bigint, pgledger.return_status, text, text, timestamptz) from public;

-- functions/record_dispute.sql

create or replace function pgledger.record_dispute(
  provider text,
  dispute_id text,
  payment_id text,
  amount bigint,
  status pgledger.return_status,
  policy pgledger.dispute_policy default 'FREEZE',
  reason text default null,
  occurred_at timestamptz default null
) returns pgledger.payment
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_return pgledger.payment_returns;
  v_payment pgledger.payments;
begin
  v_return.provider := record_dispute.provider collate "default";
  v_return.return_id := record_dispute.dispute_id collate "default";
  v_return.payment_id := record_dispute.payment_id collate "default";
  v_return.kind := 'DISPUTE';
  v_return.amount := record_dispute.amount;
  v_return.status := record_dispute.status;
  v_return.policy := record_dispute.policy;
  v_return.occurred_at := record_dispute.occurred_at;
  perform pgledger._check_return(v_return, 'dispute_id');
  perform pgledger._check_reason(record_dispute.reason collate "default");

  v_payment := pgledger._lock_payment(v_return.provider, v_return.payment_id);
  if pgledger._store_return(v_return) then
    perform pgledger._tell_dispute(
      v_payment, v_return, record_dispute.reason collate "default");
  end if;
  return pgledger._return_told(v_return);
end;
$$;

comment on function pgledger.record_dispute(
  text, text, text, bigint, pgledger.return_status, pgledger.dispute_policy, text, timestamptz) is
  'Tells that a payment is disputed: amount is the money, in the smallest unit of the payment''s '
  'currency. The first that is heard of it writes the event dispute_opened. While it is OPEN, '
  'policy says what it does to the account: FLAG nothing, FREEZE freezes it if it is open, DEDUCT '
  'takes the credits at once. LOST takes them in any case, whether or not they are there, and '
  'leaves the account frozen. WON gives back what it took, and opens the account again if this '
  'dispute froze it, no other one keeps it frozen, and nobody has set its status since. Freezing '
  'and opening are kept in the audit log. The latest by occurred_at counts, then WON before LOST '
  'before OPEN; what is told again, in whatever order, changes nothing. reason: 1 to 1000 '
  'characters, for the event. More in record_payment_refund. Answers with the payment. Refuses '
  'with LG002 (the id is another payment''s, or a refund''s), 22003, 22023 and 22004.';

revoke all on function pgledger.record_dispute(
  text, text, text, bigint, pgledger.return_status, pgledger.dispute_policy, text, timestamptz)
  from public;

-- functions/list_payment_returns.sql

-- Planned for what is asked, as in _payments_found().
create or replace function pgledger.list_payment_returns(
  provider text default null,
  payment_id text default null,
  account_id text default null,
  since timestamptz default null,
  until timestamptz default null,
  limit_count bigint default 100
) returns setof pgledger.payment_return
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_payment_returns.limit_count);
  v_provider text collate "default" := list_payment_returns.provider;
  v_payment_id text collate "default" := list_payment_returns.payment_id;
  v_account_id text collate "default" := list_payment_returns.account_id;
begin
  if v_account_id is not null then
    perform pgledger._checked_account(v_account_id);
  end if;

  return query
    select r.provider, r.return_id, r.payment_id, r.kind, r.amount, p.paid_currency, r.status,
      r.policy, r.request_key, p.account_id, r.taken, r.occurred_at, r.created_at, r.updated_at
    from pgledger.payment_returns r
    left join pgledger.payments p on p.provider = r.provider and p.payment_id = r.payment_id
    where (v_provider is null or r.provider = v_provider)
      and (v_payment_id is null or r.payment_id = v_payment_id)
      and (v_account_id is null or p.account_id = v_account_id)
      and r.created_at >= coalesce(list_payment_returns.since, '-infinity')
      and r.created_at < coalesce(list_payment_returns.until, 'infinity')
    order by r.created_at desc, r.provider collate "C", r.return_id collate "C"
    limit v_limit;
end;
$$;

comment on function pgledger.list_payment_returns(
  text, text, text, timestamptz, timestamptz, bigint) is
  'Refunds and disputes as they are known, the latest first: limit_count of them (1 to 10000), '
  'first told of from since on and before until (the created_at of the last one seen), of one '
  'provider, payment and account where given. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_payment_returns(
  text, text, text, timestamptz, timestamptz, bigint) from public;

-- functions/resolve_account.sql

create or replace function pgledger.resolve_account(
  identifier text,
  kind pgledger.identifier_kind default null,
  open boolean default false,
  account_id text default null
) returns pgledger.resolved_account
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_known pgledger.account_identifiers := pgledger._checked_identifier(
    resolve_account.identifier collate "default", resolve_account.kind);
  v_resolved pgledger.resolved_account;
  v_request pgledger._request;
begin
  if resolve_account.open is null then
    perform pgledger._reject('open', null, 'true or false.');
  end if;
  if resolve_account.account_id is not null then
    perform pgledger._checked_account(resolve_account.account_id collate "default");
  end if;

  v_resolved.account_id := pgledger._identified(
    v_known, resolve_account.identifier collate "default");
  v_resolved.opened := false;

  if v_resolved.account_id is null and resolve_account.open then
    v_resolved := pgledger._open_identified(
      v_known, resolve_account.account_id collate "default");
  elsif v_resolved.account_id is null then
    perform pgledger._refuse(v_request, null, 'LG003', jsonb_build_object(
      'kind', v_known.kind, 'value', v_known.value));
  end if;

  v_resolved.kind := v_known.kind;
  v_resolved.value := v_known.value;
  return v_resolved;
end;
$$;

comment on function pgledger.resolve_account(text, pgledger.identifier_kind, boolean, text) is
  'Whose an identifier is: of the account that it is linked to, else of the one that has it as its '
  'id. Where there is none: LG003, or with open => true an account is opened, as account_id or a '
  'random UUID, and linked; two calls at once open one. The kind need not be given of an email, a '
  'UUID with hyphens, a positive integer, and the provider''s cus_... and pm_...; emails are '
  'compared in lower case (ASCII). A placeholder, such as null, undefined, <email>, 0 or the nil '
  'UUID, is refused whatever the kind. Refuses with LG003, 22023 and 22004.';

revoke all on function
  pgledger.resolve_account(text, pgledger.identifier_kind, boolean, text) from public;

-- functions/link_identifier.sql

create or replace function pgledger.link_identifier(
  account_id text,
  identifier text,
  kind pgledger.identifier_kind default null,
  move boolean default false,
  actor text default null
) returns pgledger.account_identifiers
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_link pgledger.account_identifiers := pgledger._checked_identifier(
    link_identifier.identifier collate "default", link_identifier.kind);
  v_from pgledger.account_identifiers;
  v_account pgledger.accounts;
  v_now timestamptz;
begin
  if link_identifier.move is null then
    perform pgledger._reject('move', null, 'true or false.');
  end if;
  v_account := pgledger._lock_account(link_identifier.account_id collate "default");

  -- Changes nothing of a link that is there, but locks it.
  v_now := clock_timestamp();
  insert into pgledger.account_identifiers as i (kind, value, account_id, linked_at)
  values (v_link.kind, v_link.value, v_account.account_id, v_now)
  on conflict (kind, value) do update set value = excluded.value
  returning i.* into v_link;

  if v_link.account_id <> v_account.account_id then
    v_from.account_id := v_link.account_id;
  elsif v_link.linked_at <> v_now then
    return v_link;
  elsif v_link.value <> v_account.account_id and pgledger._is_known(v_link.value) then
    v_from.account_id := v_link.value;
  end if;

  if v_from.account_id is not null and not link_identifier.move then
    perform pgledger._refuse_link(v_link, v_from.account_id, v_account.account_id);
  end if;

  update pgledger.account_identifiers i
  set account_id = v_account.account_id, linked_at = v_now
  where i.account_id = v_link.account_id and i.kind = v_link.kind and i.value = v_link.value
  returning i.* into v_link;
  perform pgledger._audit_identifier(
    v_account.account_id, 'link_identifier', link_identifier.actor collate "default", v_link,
    jsonb_build_object('moved_from', v_from.account_id));
  if v_from.account_id is not null then
    perform pgledger._audit_identifier(
      v_from.account_id, 'link_identifier', link_identifier.actor collate "default", v_link,
      jsonb_build_object('moved_to', v_account.account_id));
  end if;
  return v_link;
end;
$$;

comment on function pgledger.link_identifier(
  text, text, pgledger.identifier_kind, boolean, text) is
  'Links an identifier (see resolve_account) to an account that must exist, and answers with the '
  'link. A repeat changes nothing. An identifier belongs to one account: LG002 where it is linked '
  'to another one, or is the id of another one, unless move => true moves it. In the audit log of '
  'each account that it concerns, an email as its SHA-256. Refuses with LG002, LG003, 22023 and '
  '22004.';

revoke all on function pgledger.link_identifier(
  text, text, pgledger.identifier_kind, boolean, text) from public;

-- functions/unlink_identifier.sql

create or replace function pgledger.unlink_identifier(
  identifier text,
  kind pgledger.identifier_kind default null,
  actor text default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_link pgledger.account_identifiers;
  v_known pgledger.account_identifiers := pgledger._checked_identifier(
    unlink_identifier.identifier collate "default", unlink_identifier.kind);
begin
  select i.* into v_link
  from pgledger.account_identifiers i
  where i.kind = v_known.kind and i.value = v_known.value
  for update;

  if not found then
    return false;
  end if;

  delete from pgledger.account_identifiers i
  where i.account_id = v_link.account_id and i.kind = v_link.kind and i.value = v_link.value;
  perform pgledger._audit_identifier(v_link.account_id, 'unlink_identifier',
    unlink_identifier.actor collate "default", v_link, '{}');
  return true;
end;
$$;

comment on function pgledger.unlink_identifier(text, pgledger.identifier_kind, text) is
  'Takes an identifier (see resolve_account) away from its account; answers whether it was linked. '
  'In the audit log of that account, an email as its SHA-256. Refuses with 22023 and 22004.';

revoke all on function
  pgledger.unlink_identifier(text, pgledger.identifier_kind, text) from public;

-- functions/create_plan.sql

create or replace function pgledger.create_plan(
  code text,
  amount bigint,
  period interval,
  policy pgledger.refill_policy,
  anchor pgledger.plan_anchor default 'CALENDAR',
  time_zone text default 'UTC',
  metadata jsonb default null,
  actor text default null
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
  if found then
    perform pgledger._audit(null, 'create_plan', create_plan.actor collate "default",
      to_jsonb(v_given) - array['metadata', 'created_at']);
  end if;

  select p.* into strict v_recorded
  from pgledger.plans p
  where p.code = create_plan.code collate "default";

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
  text, bigint, interval, pgledger.refill_policy, pgledger.plan_anchor, text, jsonb, text) is
  'Records a plan and answers with it. code is 1 to 200 characters; amount > 0 in minor units is '
  'granted each period (ADD), filled up to (TOP_UP_TO), or granted as a lot that expires with the '
  'period (RESET). Periods of the CALENDAR in time_zone are 1 day, 7 days (from Monday), 1, 3 or '
  '12 months; with anchor ACCOUNT they are any whole days or months, from where the account began. '
  'A plan is never changed: a repeat changes nothing and answers with what is recorded, LG002 when '
  'its terms (all but metadata) differ. Kept in the audit log, as done by actor. Refuses with '
  'LG002, 22023 and 22004.';

revoke all on function pgledger.create_plan(
  text, bigint, interval, pgledger.refill_policy, pgledger.plan_anchor, text, jsonb, text)
  from public;

-- functions/assign_plan.sql

create or replace function pgledger.assign_plan(
  account_id text,
  plan text,
  starts_at timestamptz default null,
  at_once boolean default false,
  expire_allowance boolean default false,
  actor text default null
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
  if v_on.plan <> assign_plan.plan collate "default" and assign_plan.starts_at is not null
    or v_on.starts_at <> assign_plan.starts_at
  then
    perform pgledger._reject('starts_at', assign_plan.starts_at::text,
      'The account is on a plan: another begins with its next refill, or at_once.');
  end if;

  -- The old allowance ends and the new one begins at one instant.
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_account.account_id));
  if assign_plan.expire_allowance and v_on.plan <> assign_plan.plan collate "default" then
    v_hot := pgledger._expire_allowance(v_hot);
  end if;
  perform pgledger._store_plan(
    v_account.account_id, assign_plan.plan collate "default", assign_plan.starts_at,
    assign_plan.at_once, v_hot.updated_at);
  v_hot.attention_at := v_hot.updated_at;
  perform pgledger._settle_due(v_hot);

  select p.* into strict v_on
  from pgledger.account_plans p
  where p.account_id = v_account.account_id;
  perform pgledger._audit(
    v_account.account_id, 'assign_plan', assign_plan.actor collate "default",
    jsonb_build_object(
      'plan', assign_plan.plan,
      'starts_at', assign_plan.starts_at,
      'at_once', assign_plan.at_once,
      'expire_allowance', assign_plan.expire_allowance));
  return v_on;
end;
$$;

comment on function pgledger.assign_plan(text, text, timestamptz, boolean, boolean, text) is
  'Puts an account on a plan, grants what that makes due now, and answers with the assignment. On '
  'no plan yet it begins at starts_at (default: now); one in the past only says where the periods '
  'of an ACCOUNT plan are counted from, and grants the period that holds now; one in the future '
  'waits. Another plan takes over with the next refill, or now with at_once => true, where '
  'expire_allowance => true lets what remains of a RESET allowance expire. The plan it is on '
  'already changes nothing but drops a change that waits. A period is granted once per plan, '
  'however often the account comes back to it. Kept in the audit log, as done by actor. Refuses '
  'with LG003, LG004 (closed), 22023 (no such plan, starts_at of an account on a plan) and 22004.';

revoke all on function
  pgledger.assign_plan(text, text, timestamptz, boolean, boolean, text) from public;

-- functions/clear_plan.sql

create or replace function pgledger.clear_plan(
  account_id text,
  expire_allowance boolean default false,
  actor text default null
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

  v_account := pgledger._lock_account(clear_plan.account_id collate "default");
  return query
    select p.*
    from pgledger.account_plans p
    where p.account_id = v_account.account_id;

  if clear_plan.expire_allowance then
    perform pgledger._expire_allowance(
      pgledger._settle_due(pgledger._lock_balance(v_account.account_id)));
  end if;
  perform pgledger._clear_plan(v_account.account_id);
  perform pgledger._audit(
    v_account.account_id, 'clear_plan', clear_plan.actor collate "default",
    jsonb_build_object('expire_allowance', clear_plan.expire_allowance));
end;
$$;

comment on function pgledger.clear_plan(text, boolean, text) is
  'Takes an account off its plan, after what is due was granted, and answers with what it was on; '
  'no row when on none. What was granted stays, unless expire_allowance => true lets what remains '
  'of the current allowance of a RESET plan expire now. A repeat changes nothing. Kept in the '
  'audit log, as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.clear_plan(text, boolean, text) from public;

-- functions/set_spending_cap.sql

create or replace function pgledger.set_spending_cap(
  account_id text,
  amount bigint,
  period interval default '1 month',
  time_zone text default 'UTC',
  actor text default null
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

  v_account := pgledger._lock_account(set_spending_cap.account_id collate "default");
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

  perform pgledger._audit(
    v_account.account_id, 'set_spending_cap', set_spending_cap.actor collate "default",
    jsonb_build_object(
      'amount', set_spending_cap.amount,
      'period', set_spending_cap.period,
      'time_zone', set_spending_cap.time_zone));
  return query
    select c.*
    from pgledger.spending_caps c
    where c.account_id = v_account.account_id;
end;
$$;

comment on function pgledger.set_spending_cap(text, bigint, interval, text, text) is
  'Sets, whole, what an account may use in each period of the calendar in time_zone (1 day, 7 days '
  'from Monday, 1, 3 or 12 months), and answers with the cap; amount >= 0 in minor units, null '
  'takes the cap away and answers with no row. USAGE counts when it is posted, so a hold when it '
  'is captured, and what was used in this period counts already; the reversal of usage of this '
  'period gives room back. A spend or hold beyond what is left is refused with LG008; captures and '
  'fail_insufficient_credits => false go through, and count. Moves no credits. A repeat changes '
  'nothing. Kept in the audit log, as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_spending_cap(text, bigint, interval, text, text) from public;

-- functions/set_price.sql

create or replace function pgledger.set_price(
  code text,
  prices jsonb,
  rounding pgledger.price_rounding default 'CEIL',
  valid_from timestamptz default null,
  metadata jsonb default null,
  actor text default null
) returns pgledger.price_list
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz;
  v_list pgledger.price_lists;
  v_recorded jsonb;
  v_given jsonb;
  v_changed boolean;
begin
  perform pgledger._check_price_list(
    set_price.code, set_price.prices, set_price.rounding, set_price.valid_from, set_price.metadata);
  -- One at a time: two that write the same are one change, and two that write many never deadlock.
  lock table pgledger.price_lists in share row exclusive mode;
  v_now := clock_timestamp();

  v_list := pgledger._price_list_at(
    set_price.code collate "default", coalesce(set_price.valid_from, v_now));
  v_recorded := pgledger._prices_of(v_list);
  select coalesce(jsonb_object_agg(e.key, pgledger._number(e.value, true)), '{}') into v_given
  from jsonb_each(set_price.prices) e;
  if v_list.code is null and v_given = '{}' then
    perform pgledger._refuse_price(pgledger._no_price(
      set_price.code, v_list, null, coalesce(set_price.valid_from, v_now)));
  end if;

  v_changed := v_list.code is null or v_recorded <> v_given
    or (v_list.rounding <> set_price.rounding and v_given <> '{}');
  if v_changed then
    if set_price.valid_from < v_now then
      perform pgledger._reject('valid_from', set_price.valid_from::text,
        'What was in force stays as it was: set prices from now on, which is the default, or '
        'from an instant to come.');
    end if;
    v_list := row(set_price.code, coalesce(set_price.valid_from, v_now), set_price.rounding,
      set_price.metadata)::pgledger.price_lists;
    perform pgledger._store_price_list(v_list, set_price.prices);
    perform pgledger._audit(null, 'set_price', set_price.actor collate "default",
      jsonb_build_object(
        'code', set_price.code,
        'prices', v_given,
        'rounding', set_price.rounding,
        'valid_from', set_price.valid_from));
  end if;
  return row(v_list.code, v_list.valid_from, v_list.rounding, pgledger._prices_of(v_list),
    coalesce(v_list.metadata, '{}'), v_changed)::pgledger.price_list;
end;
$$;

comment on function pgledger.set_price(
  text, jsonb, pgledger.price_rounding, timestamptz, jsonb, text) is
  'Sets what is charged for a code (a model, a feature) from now on, or from valid_from, an '
  'instant to come. prices has the credits per unit for all its units, such as {"input_token": '
  '0.0015}: minor units, exact, 0 or more, as JSON numbers or strings of digits. rounding says how '
  'the sum over the units becomes whole minor units. What is or was in force never changes; a list '
  'that is to come is replaced by another one of the same instant. {} means no longer sold. Prices '
  'and rounding that are in force at that instant already change nothing, and the answer, the list '
  'in force, says so. Kept in the audit log, as done by actor. Refuses with LG011 ({} for what is '
  'not sold anyway), 22023 and 22004.';

revoke all on function pgledger.set_price(
  text, jsonb, pgledger.price_rounding, timestamptz, jsonb, text) from public;

-- functions/_provider_key.sql

create or replace function pgledger._provider_key(account_id text, key text, attempt bigint)
returns text
language sql stable parallel safe
return 'pgledger-' || encode(sha256(convert_to(
  jsonb_build_array(account_id, key, attempt)::text, 'UTF8')), 'hex');

comment on function pgledger._provider_key(text, text, bigint) is
  'The idempotency key by which a provider knows one attempt at the payment of a top-up: always '
  'the same for it, and of one length whatever the ids are. Private.';

revoke all on function pgledger._provider_key(text, text, bigint) from public;

-- functions/_latest_identifier.sql

create or replace function pgledger._latest_identifier(
  account_id text, kind pgledger.identifier_kind
) returns text
language sql stable
begin atomic
  select i.value
  from pgledger.account_identifiers i
  where i.account_id = _latest_identifier.account_id and i.kind = _latest_identifier.kind
  order by i.linked_at desc, i.value collate "C"
  limit 1;
end;

comment on function pgledger._latest_identifier(text, pgledger.identifier_kind) is
  'The identifier of a kind that was linked to an account last; else null. Private.';

revoke all on function pgledger._latest_identifier(text, pgledger.identifier_kind) from public;

-- functions/_as_charge.sql

create or replace function pgledger._as_charge(
  pending pgledger.pending_transactions, charge pgledger.charges, replayed boolean
) returns pgledger.charge
language plpgsql stable
as $$
declare
  v_answer pgledger.charge;
begin
  v_answer.account_id := pending.account_id;
  v_answer.key := pending.key;
  v_answer.amount := pending.amount;
  v_answer.status := case pending.status when 'ENABLED' then 'POSTED' else pending.status::text end;
  v_answer.replayed := _as_charge.replayed;
  v_answer.reference := pending.reference;
  v_answer.attempt := coalesce(charge.declines, 0);
  v_answer.claims := coalesce(charge.claims, 0);
  v_answer.due_at := charge.due_at;
  v_answer.idempotency_key :=
    pgledger._provider_key(pending.account_id, pending.key, v_answer.attempt);
  v_answer.customer := pgledger._latest_identifier(pending.account_id, 'CUSTOMER');
  v_answer.payment_method := pgledger._latest_identifier(pending.account_id, 'PAYMENT_METHOD');
  v_answer.created_at := pending.created_at;
  v_answer.is_wanted := pending.status = 'PENDING' and (
    charge.key is null
    or exists (
      select from pgledger.accounts a
      where a.account_id = pending.account_id and a.status = 'OPEN')
    and exists (
      select from pgledger.auto_top_ups s
      where s.account_id = pending.account_id and s.waiting_for = pending.key));
  return v_answer;
end;
$$;

comment on function pgledger._as_charge(
  pgledger.pending_transactions, pgledger.charges, boolean) is
  'An announced top-up, with the row of charges where it has one, as what the provider is to be '
  'asked for. Private.';

revoke all on function pgledger._as_charge(
  pgledger.pending_transactions, pgledger.charges, boolean) from public;

-- functions/_charge_by_key.sql

create or replace function pgledger._charge_by_key(
  hot pgledger.balances, key text, attempt bigint
) returns pgledger.charges
language plpgsql
as $$
declare
  v_request pgledger._request;
  v_charge pgledger.charges;
begin
  select c.* into v_charge
  from pgledger.charges c
  where c.account_id = hot.account_id and c.key = _charge_by_key.key;

  if not found then
    v_request.account_id := hot.account_id;
    v_request.key := _charge_by_key.key;
    perform pgledger._refuse(v_request, hot, 'LG006', '{}');
  end if;
  if not coalesce(_charge_by_key.attempt between 0 and v_charge.declines, false) then
    perform pgledger._reject('attempt', _charge_by_key.attempt::text,
      'The attempt that the claim told: how often it was declined before, now '
      || v_charge.declines || '.');
  end if;
  return v_charge;
end;
$$;

comment on function pgledger._charge_by_key(pgledger.balances, text, bigint) is
  'The charge of an auto-top-up by its key (LG006), where attempt is one that was made or is to be '
  'made (22023, 22004). Only under the lock of the balance row. Private.';

revoke all on function pgledger._charge_by_key(pgledger.balances, text, bigint) from public;

-- functions/_decline_pause.sql

create or replace function pgledger._decline_pause(declines bigint) returns interval
language sql immutable parallel safe
return case declines
  when 1 then interval '1 hour'
  when 2 then interval '6 hours'
  when 3 then interval '24 hours'
end;

comment on function pgledger._decline_pause(bigint) is
  'How long to wait after so many declines before the payer is charged again; null: not again. '
  'Private.';

revoke all on function pgledger._decline_pause(bigint) from public;

-- functions/_switch_off.sql

create or replace function pgledger._switch_off(account_id text) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  update pgledger.auto_top_ups s
  set enabled = false
  where s.account_id = _switch_off.account_id;

  update pgledger.balances b
  set top_up_below = null
  where b.account_id = _switch_off.account_id;
end;
$$;

comment on function pgledger._switch_off(text) is
  'Switches an auto-top-up off until somebody sets it again. Private.';

revoke all on function pgledger._switch_off(text) from public;

-- functions/_decline.sql

create or replace function pgledger._decline(
  charge pgledger.charges, pending pgledger.pending_transactions, hot pgledger.balances,
  told jsonb, give_up boolean
) returns pgledger.charges
language plpgsql
as $$
#variable_conflict use_column
declare
  v_charge pgledger.charges := charge;
  v_awaited boolean;
  v_enabled boolean;
begin
  -- Settings that changed meanwhile do not ask for this one any more: it is not tried again, and
  -- they are not switched off for it.
  select coalesce(s.waiting_for = charge.key, false) into v_awaited
  from pgledger.auto_top_ups s
  where s.account_id = charge.account_id;

  v_charge.declines := charge.declines + 1;
  v_charge.claims := 0;
  v_charge.reason := told ->> 'reason';
  v_charge.due_at := hot.updated_at + case when v_awaited and not _decline.give_up
    then pgledger._decline_pause(v_charge.declines) end;
  update pgledger.charges c
  set declines = v_charge.declines, claims = 0, reason = v_charge.reason, due_at = v_charge.due_at
  where c.account_id = charge.account_id and c.key = charge.key;

  if v_charge.due_at is null then
    perform pgledger._cancel(pending, hot, v_charge.reason);
    if v_awaited then
      perform pgledger._switch_off(charge.account_id);
    end if;
    select coalesce(bool_or(s.enabled), false) into v_enabled
    from pgledger.auto_top_ups s
    where s.account_id = charge.account_id;
  end if;

  perform pgledger._emit(charge.account_id, 'top_up_failed', array[
    told || jsonb_build_object(
      'key', charge.key,
      'amount', pending.amount,
      'declines', v_charge.declines,
      'final', v_charge.due_at is null)
    || case when v_charge.due_at is null
      then jsonb_build_object('auto_top_up', case when v_enabled then 'enabled' else 'disabled' end)
      else jsonb_build_object('next_attempt_at', pgledger._utc(v_charge.due_at)) end]);
  return v_charge;
end;
$$;

comment on function pgledger._decline(
  pgledger.charges, pgledger.pending_transactions, pgledger.balances, jsonb, boolean) is
  'Counts a decline of an open auto-top-up: puts it off, or the last time cancels it and switches '
  'the auto-top-up off; tells the outbox. The charge after that. Only under the lock of the '
  'balance row. Private.';

revoke all on function pgledger._decline(
  pgledger.charges, pgledger.pending_transactions, pgledger.balances, jsonb, boolean) from public;

-- functions/_top_up_limits_of.sql

create or replace function pgledger._top_up_limits_of(account_id text)
returns setof pgledger.top_up_limits
language sql stable rows 1
begin atomic
  select l.*
  from pgledger.top_up_limits l
  where l.account_id in (_top_up_limits_of.account_id, '')
  order by l.account_id = ''
  limit 1;
end;

comment on function pgledger._top_up_limits_of(text) is
  'The limits that an account''s top-ups keep to: its own, else those of all; no row when there '
  'are neither. Private.';

revoke all on function pgledger._top_up_limits_of(text) from public;

-- functions/_check_top_up_limits.sql

create or replace function pgledger._check_top_up_limits(limits pgledger.top_up_limits)
returns void
language plpgsql
as $$
declare
  v_multiple bigint := coalesce(limits.multiple_of, 1);
  v_minimum bigint := coalesce(limits.minimum, 1);
  v_least numeric;
  v_limit record;
begin
  -- Only once what it is made of is known to be positive. mod(), because a quotient is rounded.
  if v_multiple > 0 and v_minimum > 0 then
    v_least := v_minimum::numeric + mod(v_multiple - mod(v_minimum, v_multiple), v_multiple);
  end if;
  for v_limit in
    select l.name, l.value, l.lowest
    from (values
      ('minimum', limits.minimum, 1::numeric),
      ('multiple_of', limits.multiple_of, 1::numeric),
      ('maximum', limits.maximum, v_least),
      ('daily_count_limit', limits.daily_count_limit, 1::numeric),
      ('daily_amount_limit', limits.daily_amount_limit, v_least)
    ) l (name, value, lowest)
    where l.value < l.lowest
  loop
    perform pgledger._reject(v_limit.name, v_limit.value::text,
      'A limit leaves room for one top-up, here at least ' || v_limit.lowest || '.');
  end loop;
  if v_least > 9223372036854775807 then
    perform pgledger._reject('minimum', limits.minimum::text,
      'No amount of at least this is such a multiple.');
  end if;
end;
$$;

comment on function pgledger._check_top_up_limits(pgledger.top_up_limits) is
  'Refuses (22023) limits within which there is no top-up. Private.';

revoke all on function pgledger._check_top_up_limits(pgledger.top_up_limits) from public;

-- functions/_judge_top_up.sql

-- What was announced is counted where it is recorded, so there is no counter that could disagree:
-- what was cancelled drops out, and what was paid late all the same is back in.
create or replace function pgledger._judge_top_up(
  request pgledger._request, hot pgledger.balances
) returns void
language plpgsql
as $$
declare
  v_limits pgledger.top_up_limits;
  v_day timestamp := date_trunc('day', hot.updated_at at time zone 'UTC');
  v_begins_at timestamptz := v_day at time zone 'UTC';
  v_count bigint := 0::bigint;
  v_sum numeric := 0::numeric;
  v_detail jsonb;
begin
  select l.* into v_limits
  from pgledger._top_up_limits_of(request.account_id) l;

  if num_nonnulls(v_limits.daily_count_limit, v_limits.daily_amount_limit) > 0 then
    select count(p.key), coalesce(sum(p.amount), 0) into v_count, v_sum
    from pgledger.pending_transactions p
    where p.account_id = request.account_id and p.amount > 0 and p.created_at >= v_begins_at
      and p.type = 'TOP_UP' and p.status in ('PENDING', 'ENABLED');
  end if;

  select jsonb_build_object(
    'limit', l.name,
    'allowed', l.allowed,
    'requested', l.requested,
    'used', l.used,
    'resets_at', case when l.used is not null then
      to_char(v_day + interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') end)
  into v_detail
  from (values
    (1, 'minimum', v_limits.minimum, request.amount, null, request.amount >= v_limits.minimum),
    (2, 'multiple_of', v_limits.multiple_of, request.amount, null,
      mod(request.amount, v_limits.multiple_of) = 0),
    (3, 'maximum', v_limits.maximum, request.amount, null, request.amount <= v_limits.maximum),
    (4, 'daily_count_limit', v_limits.daily_count_limit, 1::bigint, v_count::numeric,
      v_count < v_limits.daily_count_limit),
    (5, 'daily_amount_limit', v_limits.daily_amount_limit, request.amount, v_sum,
      v_sum + request.amount <= v_limits.daily_amount_limit)
  ) l (place, name, allowed, requested, used, holds)
  where not l.holds
  order by l.place
  limit 1;

  if found then
    perform pgledger._refuse(request, hot, 'LG012', v_detail);
  end if;
end;
$$;

comment on function pgledger._judge_top_up(pgledger._request, pgledger.balances) is
  'Refuses (LG012) a top-up beyond the limits of its account, or of its day. Only under the lock '
  'of the balance row. Private.';

revoke all on function pgledger._judge_top_up(pgledger._request, pgledger.balances) from public;

-- functions/_with_price.sql

create or replace function pgledger._with_price(
  metadata jsonb, price bigint, price_currency text
) returns jsonb
language plpgsql immutable
as $$
begin
  if (_with_price.price is null) <> (_with_price.price_currency is null) then
    perform pgledger._reject(
      case when _with_price.price is null then 'price' else 'price_currency' end, null,
      'Give both the price and its currency, or neither.');
  end if;
  if _with_price.price <= 0 then
    perform pgledger._reject('price', _with_price.price::text,
      'Money above 0, in the smallest unit of price_currency.');
  end if;
  if _with_price.price_currency !~ '^[a-z]{3}$' then
    perform pgledger._reject('price_currency', _with_price.price_currency,
      'The code of a currency in lower case, such as usd.');
  end if;
  if _with_price.metadata ?| array['price', 'price_currency'] then
    perform pgledger._reject('metadata', _with_price.metadata::text,
      'price and price_currency are kept there: give them as arguments.');
  end if;

  if _with_price.price is null then
    return _with_price.metadata;
  end if;
  return coalesce(_with_price.metadata, '{}') || jsonb_build_object(
    'price', _with_price.price, 'price_currency', _with_price.price_currency);
end;
$$;

comment on function pgledger._with_price(jsonb, bigint, text) is
  'The metadata of a top-up with what it costs; refuses (22023, 22004) what is no price. Private.';

revoke all on function pgledger._with_price(jsonb, bigint, text) from public;

-- functions/_same_price.sql

create or replace function pgledger._same_price(
  request pgledger._request, pending pgledger.pending_transactions, hot pgledger.balances
) returns void
language plpgsql
as $$
begin
  if (request.metadata -> 'price', request.metadata -> 'price_currency')
    is distinct from (pending.metadata -> 'price', pending.metadata -> 'price_currency')
  then
    perform pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object(
        'key', pending.key,
        'price', pending.metadata -> 'price',
        'price_currency', pending.metadata -> 'price_currency',
        'status', pending.status),
      'given', jsonb_build_object(
        'key', request.key,
        'price', request.metadata -> 'price',
        'price_currency', request.metadata -> 'price_currency')));
  end if;
end;
$$;

comment on function pgledger._same_price(
  pgledger._request, pgledger.pending_transactions, pgledger.balances) is
  'Refuses (LG002) the repeat of a top-up at another price. Private.';

revoke all on function pgledger._same_price(
  pgledger._request, pgledger.pending_transactions, pgledger.balances) from public;

-- functions/set_top_up_limits.sql

create or replace function pgledger.set_top_up_limits(
  account_id text default null,
  minimum bigint default null,
  multiple_of bigint default null,
  maximum bigint default null,
  daily_count_limit bigint default null,
  daily_amount_limit bigint default null,
  actor text default null
) returns setof pgledger.top_up_limits
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_limits pgledger.top_up_limits;
begin
  v_limits.account_id := coalesce(set_top_up_limits.account_id, '') collate "default";
  v_limits.minimum := set_top_up_limits.minimum;
  v_limits.multiple_of := set_top_up_limits.multiple_of;
  v_limits.maximum := set_top_up_limits.maximum;
  v_limits.daily_count_limit := set_top_up_limits.daily_count_limit;
  v_limits.daily_amount_limit := set_top_up_limits.daily_amount_limit;
  perform pgledger._check_top_up_limits(v_limits);
  if set_top_up_limits.account_id is not null then
    perform pgledger._lock_account(v_limits.account_id);
  end if;

  if num_nonnulls(v_limits.minimum, v_limits.multiple_of, v_limits.maximum,
    v_limits.daily_count_limit, v_limits.daily_amount_limit) = 0
  then
    delete from pgledger.top_up_limits l
    where l.account_id = v_limits.account_id;
  else
    insert into pgledger.top_up_limits as l (
      account_id, minimum, multiple_of, maximum, daily_count_limit, daily_amount_limit)
    values (
      v_limits.account_id, v_limits.minimum, v_limits.multiple_of, v_limits.maximum,
      v_limits.daily_count_limit, v_limits.daily_amount_limit)
    on conflict (account_id) do update
    set minimum = excluded.minimum, multiple_of = excluded.multiple_of,
        maximum = excluded.maximum, daily_count_limit = excluded.daily_count_limit,
        daily_amount_limit = excluded.daily_amount_limit;
  end if;

  perform pgledger._audit(
    set_top_up_limits.account_id, 'set_top_up_limits', set_top_up_limits.actor,
    to_jsonb(v_limits) - 'account_id');
  return query select l.* from pgledger._top_up_limits_of(v_limits.account_id) l;
end;
$$;

comment on function pgledger.set_top_up_limits(
  text, bigint, bigint, bigint, bigint, bigint, text) is
  'Sets, whole, within which limits an account''s top-ups are created, or without an account those '
  'of every account that has none of its own: minimum, multiple_of and maximum of one, '
  'daily_count_limit and daily_amount_limit of all that are announced in a day of UTC, cancelled '
  'ones not counted, those of an auto-top-up counted but not limited; minor units, null is no '
  'limit. With none given an account goes by those of all again. Answers with the limits that '
  'apply now, of an empty account_id where they are those of all; no row where there are none. '
  'Writes the audit log: actor is who did it. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_top_up_limits(
  text, bigint, bigint, bigint, bigint, bigint, text) from public;

-- functions/create_top_up.sql

create or replace function pgledger.create_top_up(
  account_id text,
  amount bigint,
  key text default null,
  price bigint default null,
  price_currency text default null,
  reference text default null,
  metadata jsonb default null,
  expires_at timestamptz default null,
  priority integer default 0
) returns pgledger.charge
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_posting pgledger.posting;
  v_pending pgledger.pending_transactions;
  v_answer pgledger.charge;
begin
  if not coalesce(create_top_up.amount > 0, false) then
    perform pgledger._reject('amount', create_top_up.amount::text,
      'A top-up is a positive whole number of minor units.');
  end if;
  if create_top_up.priority is null then
    perform pgledger._reject('priority', null, 'A whole number; the pool''s priority is 0.');
  end if;
  v_request := pgledger._asked(
    create_top_up.account_id collate "default", create_top_up.amount, 'TOP_UP', create_top_up.key,
    'REFUSE', create_top_up.reference,
    pgledger._with_price(create_top_up.metadata, create_top_up.price,
      create_top_up.price_currency collate "default"), true, null);
  v_request.announced := true;
  v_request.credits_expire_at := create_top_up.expires_at;
  v_request.priority := create_top_up.priority;
  perform pgledger._check_request(v_request);

  v_hot := pgledger._lock_balance(v_request.account_id);
  -- A repeat asks for nothing: the limits, which count the first, are not judged again.
  v_posting := pgledger._replay(v_request, v_hot);
  if v_posting.status is null then
    perform pgledger._judge_top_up(v_request, v_hot);
    v_posting := pgledger._post_locked(v_request, v_hot);
  end if;

  select p.* into strict v_pending
  from pgledger.pending_transactions p
  where p.account_id = v_request.account_id and p.key = v_posting.key;
  perform pgledger._same_price(v_request, v_pending, v_hot);

  v_answer := pgledger._as_charge(v_pending, null, v_posting.replayed);
  v_answer.price := create_top_up.price;
  v_answer.price_currency := create_top_up.price_currency;
  return v_answer;
end;
$$;

comment on function pgledger.create_top_up(
  text, bigint, text, bigint, text, text, jsonb, timestamptz, integer) is
  'Announces a top-up that somebody is about to pay: amount > 0 credits, minor units, for price '
  'in the smallest unit of price_currency, which are kept in its metadata. Commit, then ask the '
  'provider for a checkout under the answer''s idempotency_key, with the key as its reference; '
  'record_payment or enable_transaction makes it effective when it is paid, cancel_transaction '
  'drops it. Within the limits of set_top_up_limits, which are judged once. expires_at and '
  'priority are those of the credits. A repeat of the key changes nothing and answers with the '
  'first, at whatever status it is; another price is LG002. Refuses with LG002, LG004 (closed), '
  'LG012, 22003, 22023 and 22004.';

revoke all on function pgledger.create_top_up(
  text, bigint, text, bigint, text, text, jsonb, timestamptz, integer) from public;

-- functions/claim_top_ups.sql

-- No balance row is locked here, so a claim waits for nobody and nobody's movements wait for it. A
-- claim in flight and a settlement in flight exclude each other by the lock on the charge.
create or replace function pgledger.claim_top_ups(
  limit_count bigint default 10,
  lease interval default '5 minutes'
) returns setof pgledger.charge
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_limit bigint := pgledger._checked_limit(claim_top_ups.limit_count);
  v_lease interval := pgledger._checked_lease(claim_top_ups.lease);
  v_now timestamptz := clock_timestamp();
  v_due record;
  v_charge pgledger.charges;
begin
  for v_due in
    select c.key, p as pending
    from pgledger.charges c
    join pgledger.pending_transactions p on p.account_id = c.account_id and p.key = c.key
    join pgledger.accounts a on a.account_id = c.account_id
    where c.due_at <= v_now
      and p.status = 'PENDING'
      -- Who is frozen is not charged anew; but what may have been charged is seen to.
      and (a.status = 'OPEN' or c.claims > 0)
    order by c.due_at
    limit v_limit
    for update of c skip locked
  loop
    update pgledger.charges c
    set claims = c.claims + 1, due_at = v_now + v_lease
    where c.account_id = (v_due.pending).account_id and c.key = v_due.key
    returning c.* into strict v_charge;
    return next pgledger._as_charge(v_due.pending, v_charge, false);
  end loop;
end;
$$;

comment on function pgledger.claim_top_ups(bigint, interval) is
  'Hands out up to limit_count auto-top-ups (1 to 10000) that are to be charged, the oldest first, '
  'and none of them to anybody else before lease (above 0, at most a day) is over. Commit, then '
  'charge each under its idempotency_key, and tell what came of it: record_payment or '
  'enable_transaction, decline_top_up, defer_top_up. Where claims is above 1 somebody may have '
  'charged it before and not come to tell: ask the provider first. The idempotency_key changes '
  'only with a decline, so one attempt is charged once, however often it is claimed. None of a '
  'frozen account, unless it was claimed before; then, and where the settings have changed since, '
  'is_wanted is false: find what was charged, and charge nothing. Takes no lock on a balance and '
  'waits for nobody. Refuses with 22023 and 22004.';

revoke all on function pgledger.claim_top_ups(bigint, interval) from public;

-- functions/decline_top_up.sql

create or replace function pgledger.decline_top_up(
  account_id text,
  key text,
  attempt bigint,
  reason text,
  provider text default null,
  payment_id text default null,
  give_up boolean default false
) returns pgledger.charge
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request := pgledger._settlement(
    decline_top_up.account_id collate "default", decline_top_up.key collate "default", true);
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_charge pgledger.charges;
begin
  perform pgledger._check_reason(decline_top_up.reason);
  perform pgledger._check_label('provider', decline_top_up.provider);
  perform pgledger._check_label('payment_id', decline_top_up.payment_id);
  if decline_top_up.give_up is null then
    perform pgledger._reject('give_up', null, 'true does not try again, false may.');
  end if;

  v_hot := pgledger._settle_due(pgledger._lock_balance(v_request.account_id));
  v_charge := pgledger._charge_by_key(v_hot, v_request.key, decline_top_up.attempt);
  v_pending := pgledger._pending_by_key(v_hot, v_request.key, false);
  -- The worker and the provider's message both tell of it; and what was paid after all, or given
  -- up, is not declined any more.
  if v_pending.status <> 'PENDING' or decline_top_up.attempt < v_charge.declines then
    return pgledger._as_charge(v_pending, v_charge, true);
  end if;

  v_charge := pgledger._decline(v_charge, v_pending, v_hot, jsonb_build_object(
    'reason', decline_top_up.reason,
    'provider', decline_top_up.provider,
    'payment_id', decline_top_up.payment_id), decline_top_up.give_up);
  return pgledger._as_charge(
    pgledger._pending_by_key(v_hot, v_request.key, false), v_charge, false);
end;
$$;

comment on function pgledger.decline_top_up(
  text, text, bigint, text, text, text, boolean) is
  'Says that the provider declined an auto-top-up, at the attempt that its claim told, and why (1 '
  'to 1000 characters; null: not told). After the first, second and third decline it is due again '
  'in 1 hour, 6 hours and 24 hours, as another attempt; after the fourth, or with give_up (nothing '
  'to charge, such as no card), it is cancelled and the auto-top-up is switched off. One that the '
  'auto-top-up does not wait for any more, because its settings changed, is cancelled at once and '
  'switches nothing off. Each tells the outbox: top_up_failed. An attempt counts once; a repeat, '
  'and one of a top-up that was settled, changes nothing. Refuses with LG006, 22023 and 22004.';

revoke all on function pgledger.decline_top_up(
  text, text, bigint, text, text, text, boolean) from public;

-- functions/defer_top_up.sql

create or replace function pgledger.defer_top_up(
  account_id text,
  key text,
  attempt bigint,
  pause interval default '5 minutes',
  reason text default null
) returns pgledger.charge
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_request pgledger._request := pgledger._settlement(
    defer_top_up.account_id collate "default", defer_top_up.key collate "default", true);
  v_pause interval := pgledger._checked_span('pause', defer_top_up.pause);
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_charge pgledger.charges;
  v_due_at timestamptz;
begin
  perform pgledger._check_reason(defer_top_up.reason);

  v_hot := pgledger._lock_balance(v_request.account_id);
  v_charge := pgledger._charge_by_key(v_hot, v_request.key, defer_top_up.attempt);
  v_pending := pgledger._pending_by_key(v_hot, v_request.key, false);
  -- What nobody has claimed waits out its pause.
  if v_pending.status <> 'PENDING' or defer_top_up.attempt < v_charge.declines
    or v_charge.claims = 0
  then
    return pgledger._as_charge(v_pending, v_charge, true);
  end if;

  v_due_at := v_hot.updated_at + v_pause;
  update pgledger.charges c
  set due_at = v_due_at, reason = defer_top_up.reason
  where c.account_id = v_charge.account_id and c.key = v_charge.key
  returning c.* into strict v_charge;
  return pgledger._as_charge(v_pending, v_charge, false);
end;
$$;

comment on function pgledger.defer_top_up(text, text, bigint, interval, text) is
  'Says that what came of charging an auto-top-up is not known yet, at the attempt that its claim '
  'told (the provider is still processing it, or could not be reached): it may be claimed again '
  'after pause (above 0, at most 100 years), earlier or later than its lease, as the same attempt. '
  'An attempt that was declined or that nobody has claimed, and a top-up that was settled, are '
  'answered as they are. Refuses with LG006, 22023 and 22004.';

revoke all on function pgledger.defer_top_up(text, text, bigint, interval, text) from public;

-- functions/list_pending_top_ups.sql

-- A top-up is above 0 in any case: that it is said names the index, without the holds.
create or replace function pgledger.list_pending_top_ups(
  account_id text default null,
  before timestamptz default null,
  limit_count bigint default 100
) returns setof pgledger.charge
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select a.*
  from (
    select p.account_id, p.key
    from pgledger.pending_transactions p
    where p.status = 'PENDING' and p.amount > 0 and p.type = 'TOP_UP'
      and (list_pending_top_ups.account_id is null
        or p.account_id = pgledger._checked_account(list_pending_top_ups.account_id))
      and p.created_at < coalesce(list_pending_top_ups.before, 'infinity')
    order by p.created_at, p.account_id collate "C", p.key collate "C"
    limit pgledger._checked_limit(list_pending_top_ups.limit_count)
  ) o
  join pgledger.pending_transactions p on p.account_id = o.account_id and p.key = o.key
  left join pgledger.charges c on c.account_id = o.account_id and c.key = o.key
  cross join lateral pgledger._as_charge(p, c, false) a
  order by p.created_at, p.account_id collate "C", p.key collate "C";
end;

comment on function pgledger.list_pending_top_ups(text, timestamptz, bigint) is
  'Top-ups that were announced and are neither paid nor given up, of one account or of all, the '
  'oldest first: limit_count of them (1 to 10000), announced before an instant where one is given. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.list_pending_top_ups(text, timestamptz, bigint) from public;

-- functions/_lock_payment.sql

-- Three statements on purpose, as in _lock_balance(): the insert waits for who tells of the same
-- payment first, and only what is read after that wait, under the lock, is true.
create or replace function pgledger._lock_payment(provider text, payment_id text)
returns pgledger.payments
language plpgsql
as $$
#variable_conflict use_column
declare
  v_payment pgledger.payments;
  v_now timestamptz := clock_timestamp();
begin
  select p.* into v_payment
  from pgledger.payments p
  where p.provider = _lock_payment.provider and p.payment_id = _lock_payment.payment_id
  for update;

  if not found then
    insert into pgledger.payments (provider, payment_id, created_at, updated_at)
    values (_lock_payment.provider, _lock_payment.payment_id, v_now, v_now)
    on conflict (provider, payment_id) do nothing;

    select p.* into strict v_payment
    from pgledger.payments p
    where p.provider = _lock_payment.provider and p.payment_id = _lock_payment.payment_id
    for update;
  end if;
  return v_payment;
end;
$$;

comment on function pgledger._lock_payment(text, text) is
  'Locks the row of a payment until the transaction ends, making it, as PROCESSING, where nobody '
  'has told of the payment yet, and returns it as it stands under the lock. Never after the lock '
  'of a balance row. Private.';

revoke all on function pgledger._lock_payment(text, text) from public;

-- functions/_payment_told.sql

create or replace function pgledger._payment_told(payment pgledger.payments)
returns pgledger.payment
language plpgsql stable
as $$
declare
  v_key text := payment.key;
  v_known numeric;
  v_refunded numeric;
  v_disputed numeric;
  v_taken numeric;
begin
  if payment.seq is not null then
    select coalesce(t.key, '#' || t.seq) into v_key
    from pgledger.transactions t
    where t.account_id = payment.account_id and t.seq = payment.seq;
  end if;

  -- What goes under the payment's own id is known only as a sum, which payment.refunded tells.
  select
    sum(r.amount) filter (where r.kind = 'REFUND'),
    sum(r.amount) filter (where r.kind = 'REFUND' and r.status <> 'FAILED'),
    sum(r.amount) filter (where r.kind = 'DISPUTE' and r.status <> 'WON')
  into v_known, v_refunded, v_disputed
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.payment_id = payment.payment_id
    and r.return_id <> payment.payment_id;

  select sum(r.taken) into v_taken
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.payment_id = payment.payment_id;

  return row(
    payment.provider, payment.payment_id, payment.status, payment.account_id, v_key,
    payment.amount, payment.paid, payment.paid_currency,
    least(
      coalesce(v_refunded, 0) + greatest(payment.refunded - coalesce(v_known, 0), 0),
      9223372036854775807),
    least(coalesce(v_disputed, 0), 9223372036854775807), coalesce(v_taken, 0),
    payment.reason, payment.seq, payment.created_at, payment.updated_at
  )::pgledger.payment;
end;
$$;

comment on function pgledger._payment_told(pgledger.payments) is
  'A payment as the functions answer it, with what its refunds and disputes have come to. Private.';

revoke all on function pgledger._payment_told(pgledger.payments) from public;

-- functions/_check_payment.sql

create or replace function pgledger._check_payment(told pgledger.payments, attempt bigint)
returns void
language plpgsql
as $$
begin
  perform pgledger._checked_provider(told.provider);
  perform pgledger._checked_provider_id('payment_id', told.payment_id);
  if told.status is null then
    perform pgledger._reject('status', null, 'One of PROCESSING, FAILED, SUCCEEDED.');
  end if;
  if told.account_id is not null then
    perform pgledger._checked_account(told.account_id);
  end if;
  perform pgledger._check_labels(told.key, null, null, null);
  if told.amount <= 0 then
    perform pgledger._reject('amount', told.amount::text,
      'The credits that were bought: a positive whole number of minor units, or none.');
  end if;
  if told.paid < 0 then
    perform pgledger._reject('paid', told.paid::text,
      'What was paid, in the smallest unit of its currency: 0 or more.');
  end if;
  if told.paid_currency !~ '^[a-z0-9]{3,10}$' then
    perform pgledger._reject('currency', told.paid_currency, 'A code such as usd.');
  end if;
  if told.refunded < 0 then
    perform pgledger._reject('refunded', told.refunded::text,
      'What was refunded in all, in the smallest unit of the currency: 0 or more.');
  end if;
  perform pgledger._check_reason(told.reason);
  if not isfinite(told.occurred_at) then
    perform pgledger._reject('occurred_at', told.occurred_at::text,
      'Give a finite point in time, or none.');
  end if;
  if _check_payment.attempt < 0 then
    perform pgledger._reject('attempt', _check_payment.attempt::text,
      'How often the auto-top-up was declined before: 0 or more.');
  end if;
end;
$$;

comment on function pgledger._check_payment(pgledger.payments, bigint) is
  'Refuses (22023, 22004) what can be told of no payment, before anything is locked. Private.';

revoke all on function pgledger._check_payment(pgledger.payments, bigint) from public;

-- functions/_merged_payment.sql

-- Facts come in any order, and more than once: what is known depends only on which came.
create or replace function pgledger._merged_payment(
  known pgledger.payments, told pgledger.payments
) returns pgledger.payments
language plpgsql immutable parallel safe
as $$
declare
  v_merged pgledger.payments := known;
begin
  v_merged.account_id := coalesce(known.account_id, told.account_id);
  v_merged.key := coalesce(known.key, told.key);
  v_merged.amount := coalesce(known.amount, told.amount);
  v_merged.paid := coalesce(known.paid, told.paid);
  v_merged.paid_currency := coalesce(known.paid_currency, told.paid_currency);
  v_merged.customer := coalesce(known.customer, told.customer);
  v_merged.refunded := greatest(known.refunded, told.refunded);

  if known.status = 'SUCCEEDED' then
    return v_merged;
  elsif told.status = 'SUCCEEDED'
    or (coalesce(told.occurred_at, '-infinity'), told.status)
      > (coalesce(known.occurred_at, '-infinity'), known.status)
  then
    v_merged.status := told.status;
    v_merged.reason := case told.status when 'FAILED' then told.reason end;
    v_merged.occurred_at := told.occurred_at;
  end if;
  return v_merged;
end;
$$;

comment on function pgledger._merged_payment(pgledger.payments, pgledger.payments) is
  'A payment as it is known with what is told of it now: SUCCEEDED is final, of the other states '
  'the later holds, and what was known is never overwritten. Private.';

revoke all on function pgledger._merged_payment(pgledger.payments, pgledger.payments) from public;

-- functions/_refuse_payment.sql

create or replace function pgledger._refuse_payment(
  payment pgledger.payments, code text, detail jsonb
) returns void
language plpgsql
as $$
declare
  v_message text;
  v_hint text;
begin
  select w.message, w.hint into v_message, v_hint
  from (values
    ('LG002', 'idempotency conflict',
      'This payment was credited otherwise, and is not credited again: see list_payments.'),
    ('LG006', 'payment not found', 'Nobody has told of it: check the provider and the payment id.'),
    ('LG007', 'payment not succeeded', 'It is matched once its money is there: see its status.')
  ) w (code, message, hint)
  where w.code = _refuse_payment.code;

  raise exception using
    errcode = _refuse_payment.code,
    message = v_message,
    detail = (jsonb_build_object('provider', payment.provider, 'payment_id', payment.payment_id)
      || _refuse_payment.detail)::text,
    hint = v_hint;
end;
$$;

comment on function pgledger._refuse_payment(pgledger.payments, text, jsonb) is
  'Raises what a payment is refused with: LG002, LG006 or LG007. Private.';

revoke all on function pgledger._refuse_payment(pgledger.payments, text, jsonb) from public;

-- functions/_matched_by_hand.sql

create or replace function pgledger._matched_by_hand(payment pgledger.payments) returns boolean
language sql stable
begin atomic
  select exists (
    select from pgledger.audit_log l
    where l.account_id = (payment).account_id and l.act = 'match_payment'
      and l.arguments ->> 'provider' = (payment).provider
      and l.arguments ->> 'payment_id' = (payment).payment_id);
end;

comment on function pgledger._matched_by_hand(pgledger.payments) is
  'Whether a person said whose a payment is that was credited. Private.';

revoke all on function pgledger._matched_by_hand(pgledger.payments) from public;

-- functions/_post_payment.sql

create or replace function pgledger._post_payment(
  payment pgledger.payments, hot pgledger.balances, final_amount bigint, raise_refusals boolean
) returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request;
  v_pending pgledger.pending_transactions;
  v_answer pgledger.posting;
begin
  v_request := pgledger._asked(
    payment.account_id, _post_payment.final_amount, 'TOP_UP', payment.key, 'REFUSE', null, null,
    _post_payment.raise_refusals, null);
  v_request.external_id := payment.payment_id;
  v_pending := pgledger._pending_by_key(hot, payment.key, false);

  -- A hold is not captured, nor another credit given, by who pays for a top-up.
  if v_pending.type = 'TOP_UP' and v_pending.amount > 0 then
    return pgledger._enable_by_key(v_request, false);
  elsif v_pending.key is not null then
    return pgledger._conflict(v_request, hot, null, v_pending);
  elsif left(payment.key, 1) = '#' then
    return pgledger._refuse(v_request, hot, 'LG006', '{}');
  end if;

  -- Where the application posted that key itself, its amount is what was bought.
  v_request.amount := coalesce(_post_payment.final_amount, payment.amount, (
    select abs(coalesce(t.requested_amount, t.amount))
    from pgledger.transactions t
    where t.account_id = payment.account_id and t.key = payment.key));
  if v_request.amount is null then
    if _post_payment.raise_refusals then
      perform pgledger._reject('amount', null, 'Nothing tells how many credits were bought: say.');
    end if;
    v_answer.error := jsonb_build_object('message', 'amount unknown');
    return v_answer;
  end if;
  v_request.key := coalesce(payment.key, '#' || payment.provider || '-' || payment.payment_id);
  return pgledger._post_locked(v_request, hot);
end;
$$;

comment on function pgledger._post_payment(
  pgledger.payments, pgledger.balances, bigint, boolean) is
  'Posts the top-up of a payment: the one announced under its key, else one of the amount it '
  'tells, under that key or one of the ledger''s own. final_amount, where given, is what it '
  'brings. Under the lock of the balance row. Private.';

revoke all on function
  pgledger._post_payment(pgledger.payments, pgledger.balances, bigint, boolean) from public;

-- functions/_drop_announced.sql

create or replace function pgledger._drop_announced(
  account_id text, key text, reason text
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
begin
  v_hot := pgledger._settle_due(pgledger._lock_balance(_drop_announced.account_id));
  v_pending := pgledger._pending_by_key(v_hot, _drop_announced.key, false);
  if v_pending.type = 'TOP_UP' and v_pending.amount > 0 and v_pending.status = 'PENDING' then
    return pgledger._cancel(v_pending, v_hot, _drop_announced.reason);
  end if;
  perform pgledger._forget_unopened(_drop_announced.account_id);
  return null;
end;
$$;

comment on function pgledger._drop_announced(text, text, text) is
  'Cancels an announced top-up that is still pending; null, and nothing done, where there is none. '
  'Private.';

revoke all on function pgledger._drop_announced(text, text, text) from public;

-- functions/_credit_payment.sql

create or replace function pgledger._credit_payment(
  payment pgledger.payments, final_amount bigint, raise_refusals boolean
) returns pgledger.payments
language plpgsql
as $$
declare
  v_payment pgledger.payments := payment;
  v_hot pgledger.balances;
  v_posted pgledger.transactions;
  v_answer pgledger.posting;
begin
  if payment.account_id is null then
    select i.account_id into v_payment.account_id
    from pgledger.account_identifiers i
    where i.kind = 'CUSTOMER' and i.value = payment.customer;
    if not found then
      v_payment.reason := 'account unknown';
      return v_payment;
    end if;
  end if;

  v_hot := pgledger._lock_balance(v_payment.account_id);
  select t.* into v_posted
  from pgledger.transactions t
  where t.account_id = v_payment.account_id and t.external_id = payment.payment_id
    and t.amount > 0;
  if not found then
    v_answer := pgledger._post_payment(
      v_payment, v_hot, _credit_payment.final_amount, _credit_payment.raise_refusals);
    select t.* into v_posted
    from pgledger.transactions t
    where t.account_id = v_payment.account_id and t.seq = v_answer.seq;
  end if;

  if v_posted.seq is null then
    v_payment.account_id := payment.account_id;
    v_payment.reason := case v_answer.refusal
      when 'LG002' then 'key already used' else v_answer.error ->> 'message' end;
    return v_payment;
  elsif v_posted.type <> 'TOP_UP' or exists (
    select from pgledger.payments p
    where p.account_id = v_payment.account_id and p.seq = v_posted.seq)
  then
    -- The application may have posted it without an external_id: it is still one payment's.
    if _credit_payment.raise_refusals then
      perform pgledger._refuse_payment(payment, 'LG002',
        jsonb_build_object('account_id', v_payment.account_id, 'seq', v_posted.seq));
    end if;
    v_payment.account_id := payment.account_id;
    v_payment.reason := 'key already used';
    return v_payment;
  end if;

  v_payment.seq := v_posted.seq;
  v_payment.amount := v_posted.amount;
  v_payment.reason := null;
  return v_payment;
end;
$$;

comment on function pgledger._credit_payment(pgledger.payments, bigint, boolean) is
  'Credits a payment that succeeded, or finds the top-up that was posted for it: its seq, else the '
  'reason why there is none. Under the lock of its row. Private.';

revoke all on function pgledger._credit_payment(pgledger.payments, bigint, boolean) from public;

-- functions/_tell_paid.sql

create or replace function pgledger._tell_paid(payment pgledger.payments) returns void
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_key text;
begin
  v_hot := pgledger._lock_balance(payment.account_id);
  select coalesce(t.key, '#' || t.seq) into v_key
  from pgledger.transactions t
  where t.account_id = payment.account_id and t.seq = payment.seq;

  perform pgledger._emit(payment.account_id, 'top_up_paid', array[jsonb_build_object(
    'provider', payment.provider,
    'payment_id', payment.payment_id,
    'key', v_key,
    'amount', payment.amount,
    'balance', v_hot.balance,
    'paid', payment.paid,
    'currency', payment.paid_currency)]);
end;
$$;

comment on function pgledger._tell_paid(pgledger.payments) is
  'Tells the outbox of a payment that was credited just now. Private.';

revoke all on function pgledger._tell_paid(pgledger.payments) from public;

-- functions/_tell_unmatched.sql

create or replace function pgledger._tell_unmatched(payment pgledger.payments) returns void
language plpgsql
as $$
declare
  v_account_id text := coalesce(payment.account_id, '#payments');
begin
  perform pgledger._lock_balance(v_account_id);
  perform pgledger._emit(v_account_id, 'payment_unmatched', array[jsonb_build_object(
    'provider', payment.provider,
    'payment_id', payment.payment_id,
    'paid', payment.paid,
    'currency', payment.paid_currency,
    'account_id', payment.account_id,
    'key', payment.key,
    'reason', payment.reason)]);
end;
$$;

comment on function pgledger._tell_unmatched(pgledger.payments) is
  'Tells the outbox of money that could not be credited: that of its account, or, where nobody '
  'knows whose it is, of the account #payments, which is there for this. Private.';

revoke all on function pgledger._tell_unmatched(pgledger.payments) from public;

-- functions/_tell_failed.sql

create or replace function pgledger._tell_failed(
  known pgledger.payments, payment pgledger.payments, attempt bigint
) returns void
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
begin
  if payment.account_id is null or payment.key is null then
    return;
  elsif left(payment.key, 6) = '#auto-' then
    -- Each attempt is a payment of its own, and counts once, whoever tells of it.
    if _tell_failed.attempt is not null and exists (
      select from pgledger.charges c
      where c.account_id = payment.account_id and c.key = payment.key)
    then
      perform pgledger.decline_top_up(
        payment.account_id, payment.key, _tell_failed.attempt, payment.reason, payment.provider,
        payment.payment_id);
    end if;
    return;
  elsif known.status = 'FAILED' then
    return;
  end if;

  v_hot := pgledger._lock_balance(payment.account_id);
  v_pending := pgledger._pending_by_key(v_hot, payment.key, false);
  if v_pending.type = 'TOP_UP' and v_pending.amount > 0 and v_pending.status = 'PENDING' then
    perform pgledger._emit(payment.account_id, 'top_up_failed', array[jsonb_build_object(
      'provider', payment.provider,
      'payment_id', payment.payment_id,
      'key', payment.key,
      'reason', payment.reason,
      'final', false)]);
  else
    perform pgledger._forget_unopened(payment.account_id);
  end if;
end;
$$;

comment on function pgledger._tell_failed(pgledger.payments, pgledger.payments, bigint) is
  'Tells of a payment that failed: the outbox, where its top-up is still announced and may be paid '
  'otherwise, or the auto-top-up that it was an attempt of. Private.';

revoke all on function
  pgledger._tell_failed(pgledger.payments, pgledger.payments, bigint) from public;

-- functions/_keep_payment.sql

-- What follows from a payment being credited is done where it is kept, whoever found it out.
create or replace function pgledger._keep_payment(
  known pgledger.payments, payment pgledger.payments
) returns pgledger.payment
language plpgsql
as $$
#variable_conflict use_column
declare
  v_payment pgledger.payments := payment;
  v_now timestamptz := clock_timestamp();
begin
  if payment is distinct from known then
    update pgledger.payments p
    set account_id = payment.account_id, key = payment.key, amount = payment.amount,
      paid = payment.paid, paid_currency = payment.paid_currency, refunded = payment.refunded,
      customer = payment.customer, status = payment.status, reason = payment.reason,
      seq = payment.seq, occurred_at = payment.occurred_at,
      updated_at = v_now
    where p.provider = payment.provider and p.payment_id = payment.payment_id;
  end if;

  if payment.seq is not null then
    if known.seq is null then
      perform pgledger._tell_paid(payment);
    end if;
    if payment.key is not null and (known.seq is null or known.key is null) then
      perform pgledger._drop_announced(
        payment.account_id, payment.key, 'recorded as #' || payment.seq);
    end if;
    if payment.customer is not null and (known.seq is null or known.customer is null) then
      perform pgledger._link('CUSTOMER', payment.customer, payment.account_id);
    end if;
  end if;

  if (payment.seq, payment.refunded, payment.paid)
    is distinct from (known.seq, known.refunded, known.paid)
  then
    perform pgledger._settle_returns(payment);
  end if;

  select p.* into strict v_payment
  from pgledger.payments p
  where p.provider = payment.provider and p.payment_id = payment.payment_id;
  return pgledger._payment_told(v_payment);
end;
$$;

comment on function pgledger._keep_payment(pgledger.payments, pgledger.payments) is
  'Keeps what became of a payment, and does what follows from it: tells the outbox, drops what was '
  'announced for it, links the customer, and takes back what was refunded before. Private.';

revoke all on function pgledger._keep_payment(pgledger.payments, pgledger.payments) from public;

-- functions/record_payment.sql

create or replace function pgledger.record_payment(
  provider text,
  payment_id text,
  status pgledger.payment_status,
  account_id text default null,
  key text default null,
  amount bigint default null,
  paid bigint default null,
  currency text default null,
  refunded bigint default null,
  customer text default null,
  reason text default null,
  occurred_at timestamptz default null,
  attempt bigint default null
) returns pgledger.payment
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_told pgledger.payments;
  v_known pgledger.payments;
  v_payment pgledger.payments;
begin
  v_told.provider := record_payment.provider;
  v_told.payment_id := record_payment.payment_id;
  v_told.status := record_payment.status;
  v_told.account_id := record_payment.account_id;
  v_told.key := record_payment.key;
  v_told.amount := record_payment.amount;
  v_told.paid := record_payment.paid;
  v_told.paid_currency := lower(record_payment.currency collate "C");
  v_told.refunded := record_payment.refunded;
  v_told.reason := record_payment.reason;
  v_told.occurred_at := record_payment.occurred_at;
  perform pgledger._check_payment(v_told, record_payment.attempt);
  if record_payment.customer is not null then
    v_told.customer := (pgledger._checked_identifier(
      record_payment.customer collate "default", 'CUSTOMER')).value;
  end if;

  v_known := pgledger._lock_payment(v_told.provider, v_told.payment_id);
  if v_known.seq is not null
    and (v_told.account_id <> v_known.account_id or v_told.key <> v_known.key)
  then
    if not pgledger._matched_by_hand(v_known) then
      perform pgledger._refuse_payment(v_known, 'LG002', jsonb_build_object(
        'recorded', jsonb_build_object('account_id', v_known.account_id, 'key', v_known.key),
        'given', jsonb_build_object('account_id', v_told.account_id, 'key', v_told.key)));
    end if;
    -- Who said otherwise knew what the provider tells, and it will tell it again with each refund.
    v_told.key := null;
  end if;

  v_payment := pgledger._merged_payment(v_known, v_told);
  if v_payment.status = 'SUCCEEDED' and v_payment.seq is null then
    v_payment := pgledger._credit_payment(v_payment, null, false);
    if v_payment.seq is null and v_known.status <> 'SUCCEEDED' then
      perform pgledger._tell_unmatched(v_payment);
    end if;
  elsif v_payment.status = 'FAILED' then
    perform pgledger._tell_failed(v_known, v_payment, record_payment.attempt);
  end if;
  return pgledger._keep_payment(v_known, v_payment);
end;
$$;

comment on function pgledger.record_payment(
  text, text, pgledger.payment_status, text, text, bigint, bigint, text, bigint, text, text,
  timestamptz, bigint) is
  'Tells what is known of a payment, by the provider''s id: from an event, from the answer to a '
  'charge, from a listing, in any order and however often. One that SUCCEEDED is credited to '
  'account_id, or to the account that customer is linked to: an announced top-up of that key is '
  'enabled with the amount announced, else amount (credits, minor units) is topped up; a top-up '
  'that has the payment''s id already is taken for it. What cannot be credited is kept with its '
  'reason and told as payment_unmatched, of the account #payments where nobody knows whose it is, '
  'and is tried again with whatever is told next, or by match_payment. paid and refunded (the sum) '
  'are money, in the smallest unit of currency. Of FAILED and PROCESSING the later occurred_at '
  'holds; SUCCEEDED is final. attempt is that of an auto-top-up which FAILED: how often it was '
  'declined before. Refuses with LG002 (credited to another account or key, unless match_payment '
  'said so), 22003, 22023 and 22004.';

revoke all on function pgledger.record_payment(
  text, text, pgledger.payment_status, text, text, bigint, bigint, text, bigint, text, text,
  timestamptz, bigint) from public;

-- functions/_key_to_match.sql

-- Read before the lock of the balance row, and judged again under it: whoever paid in between
-- makes it a refusal, not a second effect.
create or replace function pgledger._key_to_match(payment pgledger.payments, account_id text)
returns text
language sql stable
begin atomic
  select (payment).key
  where coalesce((payment).account_id, _key_to_match.account_id) = _key_to_match.account_id
    and not exists (
      select from pgledger.transactions t
      where t.account_id = _key_to_match.account_id and t.key = (payment).key)
    and (left((payment).key, 1) <> '#' or exists (
      select from pgledger.pending_transactions p
      where p.account_id = _key_to_match.account_id and p.key = (payment).key));
end;

comment on function pgledger._key_to_match(pgledger.payments, text) is
  'The key that was told of an unmatched payment, where it is of use: of that account, and nobody '
  'has paid for it; else null. Private.';

revoke all on function pgledger._key_to_match(pgledger.payments, text) from public;

-- functions/_rematched_payment.sql

create or replace function pgledger._rematched_payment(
  known pgledger.payments, told pgledger.payments
) returns pgledger.payment
language plpgsql
as $$
declare
  v_answer pgledger.payment := pgledger._payment_told(known);
begin
  if told.account_id <> known.account_id
    or told.amount <> known.amount
    or told.key not in (v_answer.key, coalesce(known.key, v_answer.key))
  then
    perform pgledger._refuse_payment(known, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object(
        'account_id', known.account_id, 'amount', known.amount, 'key', v_answer.key),
      'given', jsonb_build_object(
        'account_id', told.account_id, 'amount', told.amount, 'key', told.key)));
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._rematched_payment(pgledger.payments, pgledger.payments) is
  'A payment that was credited before, as the answer to whoever matches it again; LG002 for '
  'another account, amount or key. Private.';

revoke all on function
  pgledger._rematched_payment(pgledger.payments, pgledger.payments) from public;

-- functions/match_payment.sql

create or replace function pgledger.match_payment(
  provider text,
  payment_id text,
  account_id text,
  amount bigint default null,
  key text default null,
  actor text default null
) returns pgledger.payment
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_told pgledger.payments;
  v_known pgledger.payments;
  v_payment pgledger.payments;
  v_answer pgledger.payment;
begin
  v_told.provider := match_payment.provider;
  v_told.payment_id := match_payment.payment_id;
  v_told.status := 'SUCCEEDED';
  v_told.account_id := pgledger._checked_account(match_payment.account_id);
  v_told.amount := match_payment.amount;
  v_told.key := match_payment.key;
  perform pgledger._check_payment(v_told, null);

  select p.* into v_known
  from pgledger.payments p
  where p.provider = v_told.provider and p.payment_id = v_told.payment_id
  for update;
  if not found then
    perform pgledger._refuse_payment(v_told, 'LG006', '{}');
  elsif v_known.status <> 'SUCCEEDED' then
    perform pgledger._refuse_payment(v_told, 'LG007', jsonb_build_object('status', v_known.status));
  elsif v_known.seq is not null then
    return pgledger._rematched_payment(v_known, v_told);
  end if;

  v_payment := v_known;
  v_payment.account_id := v_told.account_id;
  v_payment.key := coalesce(v_told.key, pgledger._key_to_match(v_known, v_told.account_id));
  v_payment := pgledger._credit_payment(v_payment, v_told.amount, true);
  v_answer := pgledger._keep_payment(v_known, v_payment);
  perform pgledger._audit(v_told.account_id, 'match_payment', match_payment.actor,
    jsonb_build_object('provider', v_told.provider, 'payment_id', v_told.payment_id,
      'amount', v_told.amount, 'key', v_told.key));
  return v_answer;
end;
$$;

comment on function pgledger.match_payment(text, text, text, bigint, text, text) is
  'Says whose an unmatched payment is, and credits it: amount, minor units, or what was told or '
  'announced; under key, or as it was told, or under a key of the ledger''s own. actor is who says '
  'so, for the audit log. A repeat changes nothing. Refuses with LG002 (credited otherwise), LG004 '
  '(closed), LG006 (no such payment, or nobody announced the key), LG007 (it has not succeeded), '
  '22003, 22023 and 22004.';

revoke all on function
  pgledger.match_payment(text, text, text, bigint, text, text) from public;

-- functions/_link_own.sql

create or replace function pgledger._link_own(
  kind pgledger.identifier_kind, value text, account_id text
) returns void
language plpgsql
as $$
declare
  v_request pgledger._request;
  v_account_id text;
begin
  if _link_own.value is null then
    return;
  end if;
  v_account_id := pgledger._link(_link_own.kind, _link_own.value, _link_own.account_id);
  if v_account_id <> _link_own.account_id then
    v_request.account_id := _link_own.account_id;
    perform pgledger._refuse(v_request, null, 'LG002', jsonb_build_object(
      'kind', _link_own.kind, 'linked_to', v_account_id));
  end if;
end;
$$;

comment on function pgledger._link_own(pgledger.identifier_kind, text, text) is
  'Links an identifier to an account; LG002 where it is another account''s, nothing for null. '
  'Private.';

revoke all on function pgledger._link_own(pgledger.identifier_kind, text, text) from public;

-- functions/_post_card_check.sql

create or replace function pgledger._post_card_check(
  request pgledger._request, hot pgledger.balances, own_key text
) returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request := request;
  v_pending pgledger.pending_transactions;
begin
  v_pending := pgledger._pending_by_key(hot, request.key, false);
  if v_pending.type = 'CARD_CHECK' and v_pending.amount > 0 then
    v_request.amount := null;
    return pgledger._enable_by_key(v_request, false);
  elsif v_pending.key is not null then
    return pgledger._conflict(request, hot, null, v_pending);
  elsif left(request.key, 1) = '#' then
    return pgledger._refuse(request, hot, 'LG006', '{}');
  elsif request.amount is null then
    perform pgledger._forget_unopened(request.account_id);
    return null;
  end if;
  v_request.key := coalesce(request.key, _post_card_check.own_key);
  return pgledger._post_locked(v_request, hot);
end;
$$;

comment on function pgledger._post_card_check(pgledger._request, pgledger.balances, text) is
  'Gives what a card on file brings: what was announced under the request''s key, or its amount; '
  'null where it brings nothing. Under the lock of the balance row. Private.';

revoke all on function
  pgledger._post_card_check(pgledger._request, pgledger.balances, text) from public;

-- functions/record_card_check.sql

create or replace function pgledger.record_card_check(
  provider text,
  check_id text,
  account_id text,
  key text default null,
  amount bigint default null,
  customer text default null,
  payment_method text default null
) returns pgledger.card_check
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_answer pgledger.posting;
begin
  v_request := pgledger._asked(
    pgledger._checked_account(record_card_check.account_id), record_card_check.amount,
    'CARD_CHECK', record_card_check.key, 'REFUSE', null, null, true, null);
  v_request.external_id := record_card_check.check_id;
  perform pgledger._checked_provider(record_card_check.provider collate "default");
  perform pgledger._checked_provider_id('check_id', v_request.external_id);
  perform pgledger._check_labels(v_request.key, null, null, null);
  if v_request.amount <= 0 then
    perform pgledger._reject('amount', v_request.amount::text,
      'The credits that a card on file brings: a positive whole number of minor units, or none.');
  end if;

  v_hot := pgledger._lock_balance(v_request.account_id);
  v_answer := pgledger._post_card_check(
    v_request, v_hot, '#' || record_card_check.provider || '-' || v_request.external_id);
  perform pgledger._link_own(
    'CUSTOMER', record_card_check.customer collate "default", v_request.account_id);
  perform pgledger._link_own(
    'PAYMENT_METHOD', record_card_check.payment_method collate "default", v_request.account_id);
  return row(
    v_request.account_id, v_answer.key, v_answer.seq, v_answer.amount,
    coalesce(v_answer.balance, v_hot.balance), coalesce(v_answer.replayed, false)
  )::pgledger.card_check;
end;
$$;

comment on function pgledger.record_card_check(text, text, text, text, bigint, text, text) is
  'Tells that an account put a card on file, by the provider''s id of that: enables the CARD_CHECK '
  'that was announced under key, else gives amount credits (minor units), under key or one of the '
  'ledger''s own, where there is an amount; once. Links customer and payment_method to the '
  'account. seq is null where nothing was given. Refuses with LG002 (also where the customer or '
  'the card is another account''s), LG004 (closed), 22003, 22023 and 22004.';

revoke all on function
  pgledger.record_card_check(text, text, text, text, bigint, text, text) from public;

-- functions/_payment_result.sql

create or replace function pgledger._payment_result(payment pgledger.payment) returns jsonb
language sql immutable parallel safe
return jsonb_build_object(
  'payment_id', (payment).payment_id,
  'status', (payment).status,
  'account_id', (payment).account_id,
  'key', (payment).key,
  'seq', (payment).seq,
  'amount', (payment).amount,
  'taken', nullif((payment).taken, 0),
  'reason', (payment).reason);

comment on function pgledger._payment_result(pgledger.payment) is
  'What the result of an event tells of a payment. Private.';

revoke all on function pgledger._payment_result(pgledger.payment) from public;

-- functions/_apply_payment.sql

create or replace function pgledger._apply_payment(event pgledger.payment_events, fact jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_payment pgledger.payment;
begin
  v_payment := pgledger.record_payment(
    provider => event.provider,
    payment_id => fact ->> 'payment_id',
    status => (fact ->> 'status')::pgledger.payment_status,
    account_id => fact ->> 'account_id',
    key => fact ->> 'key',
    amount => (fact ->> 'amount')::bigint,
    paid => (fact ->> 'paid')::bigint,
    currency => fact ->> 'currency',
    refunded => (fact ->> 'refunded')::bigint,
    customer => fact ->> 'customer',
    reason => fact ->> 'reason',
    occurred_at => coalesce((fact ->> 'occurred_at')::timestamptz, event.occurred_at),
    attempt => (fact ->> 'attempt')::bigint);
  return pgledger._payment_result(v_payment);
end;
$$;

comment on function pgledger._apply_payment(pgledger.payment_events, jsonb) is
  'Records the payment that a fact tells of; when the event happened where it does not say. '
  'Private.';

revoke all on function pgledger._apply_payment(pgledger.payment_events, jsonb) from public;

-- functions/_apply_refund.sql

create or replace function pgledger._apply_refund(event pgledger.payment_events, fact jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_payment pgledger.payment;
begin
  v_payment := pgledger.record_payment_refund(
    provider => event.provider,
    refund_id => fact ->> 'refund_id',
    payment_id => fact ->> 'payment_id',
    amount => (fact ->> 'amount')::bigint,
    status => (fact ->> 'status')::pgledger.return_status,
    request_key => fact ->> 'request_key',
    account_id => fact ->> 'account_id',
    occurred_at => coalesce((fact ->> 'occurred_at')::timestamptz, event.occurred_at));
  return jsonb_build_object('refund_id', fact -> 'refund_id')
    || pgledger._payment_result(v_payment);
end;
$$;

comment on function pgledger._apply_refund(pgledger.payment_events, jsonb) is
  'Records the refund that a fact tells of; when the event happened where it does not say. '
  'Private.';

revoke all on function pgledger._apply_refund(pgledger.payment_events, jsonb) from public;

-- functions/_apply_dispute.sql

create or replace function pgledger._apply_dispute(event pgledger.payment_events, fact jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_payment pgledger.payment;
begin
  v_payment := pgledger.record_dispute(
    provider => event.provider,
    dispute_id => fact ->> 'dispute_id',
    payment_id => fact ->> 'payment_id',
    amount => (fact ->> 'amount')::bigint,
    status => (fact ->> 'status')::pgledger.return_status,
    policy => coalesce(fact ->> 'policy', 'FREEZE')::pgledger.dispute_policy,
    reason => fact ->> 'reason',
    occurred_at => coalesce((fact ->> 'occurred_at')::timestamptz, event.occurred_at));
  return jsonb_build_object('dispute_id', fact -> 'dispute_id')
    || pgledger._payment_result(v_payment);
end;
$$;

comment on function pgledger._apply_dispute(pgledger.payment_events, jsonb) is
  'Records the dispute that a fact tells of; when the event happened where it does not say. '
  'Private.';

revoke all on function pgledger._apply_dispute(pgledger.payment_events, jsonb) from public;

-- functions/_apply_card_check.sql

create or replace function pgledger._apply_card_check(event pgledger.payment_events, fact jsonb)
returns jsonb
language sql
begin atomic
  select jsonb_build_object(
    'check_id', fact -> 'check_id',
    'account_id', c.account_id,
    'key', c.key,
    'seq', c.seq,
    'amount', c.amount)
  from pgledger.record_card_check(
    provider => (event).provider,
    check_id => fact ->> 'check_id',
    account_id => fact ->> 'account_id',
    key => fact ->> 'key',
    amount => (fact ->> 'amount')::bigint,
    customer => fact ->> 'customer',
    payment_method => fact ->> 'payment_method') c;
end;

comment on function pgledger._apply_card_check(pgledger.payment_events, jsonb) is
  'Records the card that a fact tells was put on file. Private.';

revoke all on function pgledger._apply_card_check(pgledger.payment_events, jsonb) from public;

-- functions/_apply_cancellation.sql

create or replace function pgledger._apply_cancellation(fact jsonb) returns jsonb
language plpgsql
as $$
declare
  v_account_id text := pgledger._checked_account(fact ->> 'account_id');
  v_key text := pgledger._checked_key(fact ->> 'key');
  v_reason text := coalesce(fact ->> 'reason', 'cancelled by the provider');
  v_dropped pgledger.posting;
begin
  perform pgledger._check_reason(v_reason);
  -- An auto-top-up is asked for again after a pause: see decline_top_up.
  if left(v_key, 6) <> '#auto-' then
    v_dropped := pgledger._drop_announced(v_account_id, v_key, v_reason);
  end if;

  if v_dropped.key is not null then
    perform pgledger._emit(v_account_id, 'top_up_failed', array[jsonb_build_object(
      'key', v_key,
      'amount', v_dropped.amount,
      'reason', v_reason,
      'final', true)]);
  end if;
  return jsonb_build_object(
    'account_id', v_account_id, 'key', v_key, 'cancelled', v_dropped.key is not null);
end;
$$;

comment on function pgledger._apply_cancellation(jsonb) is
  'Cancels an announced top-up of which a fact tells that it will not be paid, where it still '
  'waits, and tells the outbox. Private.';

revoke all on function pgledger._apply_cancellation(jsonb) from public;

-- functions/_check_facts.sql

create or replace function pgledger._check_facts(facts jsonb) returns void
language plpgsql
as $$
declare
  v_where text;
  v_given jsonb;
  v_rule text;
  v_text text := '^"';
  v_whole text := '^-?[0-9]+$';
  v_instant text := '^"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9.]+)?'
    '(Z|[+-][0-9]{2}(:?[0-9]{2})?)"$';
begin
  select 'facts[' || f.place || ']', f.fact, 'An object, whose record is payment, refund, '
    'dispute, card_check or cancellation.'
  into v_where, v_given, v_rule
  from jsonb_array_elements(facts) with ordinality f (fact, place)
  where case jsonb_typeof(f.fact) when 'object' then
    coalesce(f.fact ->> 'record', '') not in (
      'payment', 'refund', 'dispute', 'card_check', 'cancellation')
    else true end
  order by f.place
  limit 1;

  if not found then
    -- What no record has is not named: it is the provider's, and may be anything.
    select 'facts[' || f.place || ']' || coalesce('.' || e.name, ''), p.given,
      coalesce('As the function that records it takes it; as JSON: ' || e.pattern,
        'There is no such parameter of this record.')
    into v_where, v_given, v_rule
    from jsonb_array_elements(facts) with ordinality f (fact, place)
    cross join jsonb_each(f.fact) p (name, given)
    left join (values
      ('payment', '^"(PROCESSING|FAILED|SUCCEEDED)"$', ' payment_id status account_id key amount '
        'paid currency refunded customer reason occurred_at attempt '),
      ('refund', '^"(PENDING|SUCCEEDED|FAILED)"$', ' refund_id payment_id amount status '
        'request_key account_id occurred_at '),
      ('dispute', '^"(OPEN|LOST|WON)"$', ' dispute_id payment_id amount status policy reason '
        'occurred_at '),
      ('card_check', '', ' check_id account_id key amount customer payment_method '),
      ('cancellation', '', ' account_id key reason ')
    ) r (record, status, names)
      on r.record = f.fact ->> 'record'
        and strpos(p.name, ' ') = 0 and strpos(r.names, ' ' || p.name || ' ') > 0
    cross join lateral (
      select case when r.record is not null then p.name end as name, case
        when r.record is null then null
        when p.name in ('amount', 'paid', 'refunded', 'attempt') then v_whole
        when p.name = 'occurred_at' then v_instant
        when p.name = 'status' then r.status
        when p.name = 'policy' then '^"(FLAG|FREEZE|DEDUCT)"$'
        else v_text end as pattern
      offset 0
    ) e
    where p.name <> 'record' and (e.name is null or (p.given <> 'null' and case
      when p.given::text !~ e.pattern then true
      when e.pattern = v_whole then
        p.given::numeric not between -9223372036854775808 and 9223372036854775807
      else false end))
    order by f.place, p.name
    limit 1;
  end if;
  if v_where is not null then
    perform pgledger._reject(v_where, v_given::text, v_rule);
  end if;
end;
$$;

comment on function pgledger._check_facts(jsonb) is
  'Refuses (22023) an array of what are no facts: another record, a parameter that it does not '
  'have, a value of another kind. Private.';

revoke all on function pgledger._check_facts(jsonb) from public;

-- functions/_apply_facts.sql

create or replace function pgledger._apply_facts(event pgledger.payment_events, facts jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_fact jsonb;
  v_payment_id text;
  v_results jsonb := '[]'::jsonb;
begin
  perform pgledger._check_facts(_apply_facts.facts);

  -- All payments before any balance, and in one order, whoever else tells of several.
  if jsonb_array_length(_apply_facts.facts) > 1 then
    for v_payment_id in
      select distinct f.fact ->> 'payment_id' collate "C" as payment_id
      from jsonb_array_elements(_apply_facts.facts) f (fact)
      where f.fact ->> 'payment_id' is not null
      order by payment_id
    loop
      perform pgledger._lock_payment(
        event.provider, pgledger._checked_provider_id('payment_id', v_payment_id));
    end loop;
  end if;

  for v_fact in
    select f.fact
    from jsonb_array_elements(_apply_facts.facts) with ordinality f (fact, place)
    order by f.place
  loop
    v_results := v_results || jsonb_build_array(jsonb_strip_nulls(
      jsonb_build_object('record', v_fact -> 'record')
      || case v_fact ->> 'record'
        when 'payment' then pgledger._apply_payment(event, v_fact)
        when 'refund' then pgledger._apply_refund(event, v_fact)
        when 'dispute' then pgledger._apply_dispute(event, v_fact)
        when 'card_check' then pgledger._apply_card_check(event, v_fact)
        when 'cancellation' then pgledger._apply_cancellation(v_fact)
      end));
  end loop;
  return v_results;
end;
$$;

comment on function pgledger._apply_facts(pgledger.payment_events, jsonb) is
  'Applies what an event tells, in its order, and answers what each fact did. Private.';

revoke all on function pgledger._apply_facts(pgledger.payment_events, jsonb) from public;

-- functions/_try_facts.sql

create or replace function pgledger._try_facts(event pgledger.payment_events, facts jsonb)
returns pgledger.payment_events
language plpgsql
as $$
declare
  v_event pgledger.payment_events := event;
  v_code text;
  v_message text;
  v_detail text;
  v_hint text;
begin
  v_event.result := pgledger._apply_facts(event, _try_facts.facts);
  v_event.status := 'PROCESSED';
  return v_event;
exception when others then
  get stacked diagnostics v_code = returned_sqlstate, v_message = message_text,
    v_detail = pg_exception_detail, v_hint = pg_exception_hint;
  -- Whoever runs the transaction again may succeed: that is no failure of the event.
  if left(v_code, 2) in ('08', '25', '40', '53', '57', '58', 'XX') or v_code = '55P03' then
    raise;
  end if;

  v_event.status := 'FAILED';
  -- The ledger's own words hold no data, nor does what PostgreSQL says of rules and rights (but
  -- for their details); of values it says what they were.
  v_event.error := jsonb_build_object('sqlstate', v_code, 'message', case
    when left(v_code, 2) in ('23', '42') or (left(v_detail, 1) = '{' and v_hint <> '')
      then v_message
    else 'refused by PostgreSQL' end);
  return v_event;
end;
$$;

comment on function pgledger._try_facts(pgledger.payment_events, jsonb) is
  'Applies the facts of an event in a subtransaction: the event as PROCESSED with what they did, '
  'or as FAILED with the error. Private.';

revoke all on function pgledger._try_facts(pgledger.payment_events, jsonb) from public;

-- functions/_event_told.sql

create or replace function pgledger._event_told(
  event pgledger.payment_events, is_new boolean
) returns pgledger.payment_event
language sql immutable parallel safe
return row(
  (event).provider, (event).event_id, (event).type, (event).status, (event).attempts,
  (event).error, (event).result, (event).occurred_at, (event).received_at, (event).processed_at,
  is_new)::pgledger.payment_event;

comment on function pgledger._event_told(pgledger.payment_events, boolean) is
  'An event of a provider as the functions answer it: without its payload. Private.';

revoke all on function pgledger._event_told(pgledger.payment_events, boolean) from public;

-- functions/record_payment_event.sql

-- Three statements, as in _lock_payment().
create or replace function pgledger.record_payment_event(
  provider text,
  event_id text,
  type text,
  payload text,
  occurred_at timestamptz default null
) returns pgledger.payment_event
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_event pgledger.payment_events;
  v_is_new boolean;
  v_now timestamptz := clock_timestamp();
begin
  perform pgledger._checked_provider(record_payment_event.provider collate "default");
  perform pgledger._checked_provider_id(
    'event_id', record_payment_event.event_id collate "default");
  perform pgledger._checked_provider_id('type', record_payment_event.type collate "default");
  if not coalesce(octet_length(record_payment_event.payload) between 1 and 1048576, false) then
    perform pgledger._reject('payload', record_payment_event.payload,
      'The body as it came, at most 1 MiB.');
  end if;
  if not isfinite(record_payment_event.occurred_at) then
    perform pgledger._reject('occurred_at', record_payment_event.occurred_at::text,
      'Give a finite point in time, or none.');
  end if;

  insert into pgledger.payment_events (provider, event_id, type, payload, occurred_at, received_at)
  values (
    record_payment_event.provider, record_payment_event.event_id, record_payment_event.type,
    record_payment_event.payload, record_payment_event.occurred_at, v_now)
  on conflict (provider, event_id) do nothing;
  v_is_new := found;

  select e.* into strict v_event
  from pgledger.payment_events e
  where e.provider = record_payment_event.provider collate "default"
    and e.event_id = record_payment_event.event_id collate "default"
  for update;
  return pgledger._event_told(v_event, v_is_new);
end;
$$;

comment on function pgledger.record_payment_event(text, text, text, text, timestamptz) is
  'Records what a provider sent, by its own event_id, as RECEIVED; a repeat, at once or a year '
  'later, is answered with what there is, is_new false, and changes nothing. payload is the body, '
  'verbatim, at most 1 MiB. The event is locked until the transaction ends: call '
  'process_payment_event in the same one. Refuses with 22023 and 22004.';

revoke all on function
  pgledger.record_payment_event(text, text, text, text, timestamptz) from public;

-- functions/process_payment_event.sql

create or replace function pgledger.process_payment_event(
  provider text,
  event_id text,
  facts jsonb
) returns pgledger.payment_event
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_event pgledger.payment_events;
begin
  perform pgledger._checked_provider(process_payment_event.provider collate "default");
  perform pgledger._checked_provider_id(
    'event_id', process_payment_event.event_id collate "default");
  if jsonb_typeof(process_payment_event.facts) is distinct from 'array' then
    perform pgledger._reject('facts', process_payment_event.facts::text,
      'A JSON array of objects, each with its record and what is told of it; empty for none.');
  end if;

  select e.* into v_event
  from pgledger.payment_events e
  where e.provider = process_payment_event.provider collate "default"
    and e.event_id = process_payment_event.event_id collate "default"
  for update;
  if not found then
    raise exception using
      errcode = 'LG006',
      message = 'payment event not found',
      detail = jsonb_build_object(
        'provider', process_payment_event.provider,
        'event_id', process_payment_event.event_id)::text,
      hint = 'Record it first, with record_payment_event.';
  elsif v_event.status in ('PROCESSED', 'IGNORED') then
    return pgledger._event_told(v_event, false);
  end if;

  v_event.attempts := v_event.attempts + 1;
  v_event.error := null;
  if process_payment_event.facts = '[]' then
    v_event.status := 'IGNORED';
  else
    v_event := pgledger._try_facts(v_event, process_payment_event.facts);
  end if;
  v_event.processed_at := greatest(v_event.received_at, clock_timestamp());

  update pgledger.payment_events e
  set status = v_event.status, attempts = v_event.attempts, error = v_event.error,
    result = v_event.result, processed_at = v_event.processed_at
  where e.provider = v_event.provider and e.event_id = v_event.event_id;
  return pgledger._event_told(v_event, false);
end;
$$;

comment on function pgledger.process_payment_event(text, text, jsonb) is
  'Applies what a recorded event tells, all of it or nothing: an array of facts, objects with '
  'record (payment, refund, dispute, card_check or cancellation) and, by name, the parameters of '
  'record_payment, record_payment_refund, record_dispute and record_card_check but for the '
  'provider; a cancellation has account_id, key and reason, and drops an announced top-up that '
  'still waits. An event without facts is IGNORED. One whose facts are refused is FAILED, keeps '
  'the sqlstate and a message without any data, and may be processed again; what says that the '
  'transaction should be run again, or that the server is at fault, is raised. A PROCESSED or '
  'IGNORED event is answered as it is. Refuses with LG006 (nobody recorded it), 22023 and 22004.';

revoke all on function pgledger.process_payment_event(text, text, jsonb) from public;

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

  -- They will ask anew: nobody is charged for what the old ones asked, unless that is under way.
  if found then
    update pgledger.charges c
    set due_at = null
    where c.account_id = settings.account_id and c.due_at is not null and c.claims = 0;
  end if;

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
  'Writes checked settings, under the lock of the balance row, and arms them when they changed; '
  'what those before them asked for is not charged any more. Private.';

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
  monthly_amount_limit bigint default null,
  actor text default null
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
  perform pgledger._audit(
    v_settings.account_id, 'set_auto_top_up', set_auto_top_up.actor collate "default",
    to_jsonb(v_settings) - 'account_id');
  return pgledger._store_auto_top_up(v_settings);
end;
$$;

comment on function pgledger.set_auto_top_up(
  text, bigint, bigint, pgledger.auto_top_up_mode, boolean, bigint, bigint, bigint, bigint, text) is
  'Sets, whole, when an account tops itself up, and answers with the settings; moves no credits. A '
  'debit or hold that leaves available below threshold records one pending TOP_UP of amount > 0 '
  '(INTENT; an event tells, enabling or cancelling it arms the next) or posts it at once '
  '(INSTANT). The limits count top-ups and their amounts per day and calendar month of UTC, '
  'cancelled ones not counted; null is no limit; at a limit it pauses until the period ends. '
  'Changed settings arm it anew; a repeat changes nothing. Amounts in minor units. Kept in the '
  'audit log, as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_auto_top_up(
  text, bigint, bigint, pgledger.auto_top_up_mode, boolean, bigint, bigint, bigint, bigint, text)
  from public;

-- functions/_lock_paid.sql

create or replace function pgledger._lock_paid(account_id text, seq bigint) returns void
language plpgsql
as $$
begin
  perform from pgledger.payments p
  where p.account_id = _lock_paid.account_id and p.seq = _lock_paid.seq
  for update;
end;
$$;

comment on function pgledger._lock_paid(text, bigint) is
  'Locks the payment that became a top-up, where there is one: before the balance row, since that '
  'is the order in which refunds and disputes are recorded. Private.';

revoke all on function pgledger._lock_paid(text, bigint) from public;

-- functions/_require_unused.sql

create or replace function pgledger._require_unused(
  request pgledger._request, hot pgledger.balances
) returns void
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
  v_pending pgledger.pending_transactions;
begin
  select t.* into v_posted
  from pgledger.transactions t
  where t.account_id = request.account_id and t.key = request.key;
  select p.* into v_pending
  from pgledger.pending_transactions p
  where p.account_id = request.account_id and p.key = request.key;

  if v_posted.seq is not null or v_pending.key is not null then
    perform pgledger._conflict(request, hot, v_posted, v_pending);
  end if;
end;
$$;

comment on function pgledger._require_unused(pgledger._request, pgledger.balances) is
  'Refuses with LG002 a key under which something is posted or announced already. Only under the '
  'lock of the balance row. Private.';

revoke all on function
  pgledger._require_unused(pgledger._request, pgledger.balances) from public;

-- functions/_refund_money.sql

create or replace function pgledger._refund_money(payment pgledger.payments, amount bigint)
returns bigint
language plpgsql stable
as $$
declare
  v_credits numeric;
  v_gone numeric;
  v_out numeric;
begin
  select t.amount::numeric,
    (t.amount - pgledger._original_left(t.account_id, t.seq))::numeric
  into strict v_credits, v_gone
  from pgledger.transactions t
  where t.account_id = payment.account_id and t.seq = payment.seq;

  select coalesce(sum(o.money), 0) into strict v_out
  from (
    select r.amount as money
    from pgledger.payment_returns r
    where r.provider = payment.provider and r.payment_id = payment.payment_id
      and pgledger._is_in_effect(r.status, r.policy)
    union all
    select q.money
    from pgledger.refund_requests q
    where q.account_id = payment.account_id and q.original_seq = payment.seq
      and q.due_at is not null
  ) o;

  -- Of all that is gone then, less what was for the rest: parts that make the whole make all of it.
  return greatest(
    least(
      div(payment.paid * (v_gone + _refund_money.amount), v_credits)
        - div(payment.paid * v_gone, v_credits),
      payment.paid - v_out),
    0)::bigint;
end;
$$;

comment on function pgledger._refund_money(pgledger.payments, bigint) is
  'The money that an amount of credits of a payment stands for, rounded down over all of its '
  'refunds, and never more than has neither gone back nor is about to. Only under the lock of the '
  'payment. Private.';

revoke all on function pgledger._refund_money(pgledger.payments, bigint) from public;

-- functions/_approve_refund.sql

create or replace function pgledger._approve_refund(
  asked pgledger.refund_requests, decision text, decided_by text
) returns pgledger.refund_requests
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := pgledger._lock_balance(asked.account_id);
  v_request pgledger._request;
  v_payment pgledger.payments;
  v_money bigint;
  v_posted pgledger.posting;
  v_decided pgledger.refund_requests;
begin
  select p.* into v_payment
  from pgledger.payments p
  where p.account_id = asked.account_id and p.seq = asked.original_seq and p.paid is not null;
  if found then
    v_money := pgledger._refund_money(v_payment, asked.amount);
  end if;

  v_request := pgledger._asked(
    asked.account_id, -asked.amount, 'REFUND', asked.key, 'FORCE', null, null, true, null);
  v_request.original_seq := asked.original_seq;
  -- What was posted under its key meanwhile may have had its money given back already.
  perform pgledger._require_unused(v_request, v_hot);
  v_posted := pgledger._post_locked(v_request, v_hot);

  update pgledger.refund_requests q
  set status = 'APPROVED', decision = _approve_refund.decision,
      decided_by = _approve_refund.decided_by, decided_at = v_posted.created_at,
      seq = v_posted.seq, provider = v_payment.provider, payment_id = v_payment.payment_id,
      money = v_money, money_currency = v_payment.paid_currency,
      result = case when v_money = 0 then 'nothing to give back' end,
      due_at = case when v_money > 0 then v_posted.created_at end
  where q.account_id = asked.account_id and q.key = asked.key;

  -- The provider may have told of the very refund already, as after a restore from a backup: then
  -- its money is gone, and what it took gives way to what the request takes.
  perform pgledger._settle_returns(v_payment, r.return_id),
    pgledger._tell_refund_request(v_payment, r.return_id)
  from pgledger.payment_returns r
  where r.provider = v_payment.provider and r.payment_id = v_payment.payment_id
    and r.request_key = asked.key and pgledger._is_in_effect(r.status, r.policy);
  select q.* into strict v_decided
  from pgledger.refund_requests q
  where q.account_id = asked.account_id and q.key = asked.key;
  return v_decided;
end;
$$;

comment on function pgledger._approve_refund(pgledger.refund_requests, text, text) is
  'Takes the credits of an open refund request, whether or not they are there, and lets a worker '
  'give the money back, where there is a payment. Only under the locks of the payment and the '
  'balance row. Private.';

revoke all on function pgledger._approve_refund(pgledger.refund_requests, text, text) from public;

-- functions/_is_unspent.sql

create or replace function pgledger._is_unspent(
  asked pgledger.refund_requests, hot pgledger.balances, tolerance bigint
) returns boolean
language plpgsql stable
as $$
declare
  v_unspent bigint := greatest(hot.balance - hot.held, 0);
  v_lot pgledger.lots;
begin
  select l.* into v_lot
  from pgledger.lots l
  where l.account_id = asked.account_id and l.seq = asked.original_seq;
  if v_lot.seq is not null then
    v_unspent :=
      case when hot.head_lot = v_lot.seq then hot.head_left else v_lot.remaining end;
  end if;

  return asked.amount - v_unspent <= _is_unspent.tolerance
    and exists (
      select from pgledger.accounts a
      where a.account_id = asked.account_id and a.status = 'OPEN')
    -- Else a dispute that is lost would give the same money back again.
    and not exists (
      select from pgledger.payments p
      join pgledger.payment_returns r on r.provider = p.provider and r.payment_id = p.payment_id
      where p.account_id = asked.account_id and p.seq = asked.original_seq
        and r.status = 'OPEN');
end;
$$;

comment on function
  pgledger._is_unspent(pgledger.refund_requests, pgledger.balances, bigint) is
  'Whether a refund needs no person to decide on it: all but tolerance of its credits are there '
  'yet, in their lot where they formed one, and nobody froze the account or disputes the payment. '
  'Only under the lock of the balance row. Private.';

revoke all on function
  pgledger._is_unspent(pgledger.refund_requests, pgledger.balances, bigint) from public;

-- functions/_check_refund_request.sql

create or replace function pgledger._check_refund_request(
  request pgledger._request, original_key text, reason text, tolerance bigint, actor text
) returns void
language plpgsql
as $$
declare
  v_request pgledger._request := request;
begin
  perform pgledger._checked_key(_check_refund_request.original_key);
  if request.amount <= 0 then
    perform pgledger._reject('amount', request.amount::text,
      'Ask for a positive whole number of minor units, or for all that is left without an amount.');
  end if;
  v_request.amount := coalesce(request.amount, 1);
  perform pgledger._check_request(v_request);
  perform pgledger._check_reason(_check_refund_request.reason);
  if _check_refund_request.tolerance < 0 then
    perform pgledger._reject('tolerance', _check_refund_request.tolerance::text,
      'How many of the credits may be spent, 0 or more; none where a person is to decide.');
  end if;
  perform pgledger._check_label('actor', _check_refund_request.actor);
end;
$$;

comment on function
  pgledger._check_refund_request(pgledger._request, text, text, bigint, text) is
  'Refuses (22023, 22004) what cannot be a refund request, before anything is locked. Private.';

revoke all on function
  pgledger._check_refund_request(pgledger._request, text, text, bigint, text) from public;

-- functions/_judge_refund_request.sql

create or replace function pgledger._judge_refund_request(
  request pgledger._request, original_key text, hot pgledger.balances
) returns bigint
language plpgsql
as $$
declare
  v_original pgledger.transactions;
  v_status pgledger.account_status;
  v_open text;
  v_left bigint;
begin
  select t.* into v_original
  from pgledger.transactions t
  where t.account_id = request.account_id
    and (
      t.key = _judge_refund_request.original_key
      or t.seq = pgledger._seq_of(_judge_refund_request.original_key));
  if not found then
    perform pgledger._refuse(request, hot, 'LG006',
      jsonb_build_object('original_key', _judge_refund_request.original_key));
  elsif v_original.type <> 'TOP_UP' or v_original.amount < 0 then
    perform pgledger._reject('original_key', _judge_refund_request.original_key,
      'It is a ' || v_original.type || ': only the money of a TOP_UP can be given back.');
  end if;

  select a.status into v_status
  from pgledger.accounts a
  where a.account_id = request.account_id;
  if v_status = 'CLOSED' then
    perform pgledger._refuse(request, hot, 'LG004', jsonb_build_object('status', v_status));
  end if;
  select q.key into v_open
  from pgledger.refund_requests q
  where q.account_id = request.account_id and q.original_seq = v_original.seq
    and q.status = 'PENDING';
  if found then
    perform pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
      'original', '#' || v_original.seq, 'open', v_open));
  end if;

  v_left := pgledger._original_left(request.account_id, v_original.seq);
  if v_left = 0 or request.amount > v_left then
    perform pgledger._refuse(request, hot, 'LG009', jsonb_build_object(
      'original', '#' || v_original.seq, 'remaining', v_left, 'requested', request.amount));
  end if;
  perform pgledger._require_unused(request, hot);
  return v_original.seq;
end;
$$;

comment on function
  pgledger._judge_refund_request(pgledger._request, text, pgledger.balances) is
  'The seq of the top-up that a new refund request is of, or its refusal. Only under the lock of '
  'the balance row. Private.';

revoke all on function
  pgledger._judge_refund_request(pgledger._request, text, pgledger.balances) from public;

-- functions/_replay_refund_request.sql

create or replace function pgledger._replay_refund_request(
  request pgledger._request, original_key text, hot pgledger.balances
) returns pgledger.refund_requests
language plpgsql
as $$
declare
  v_asked pgledger.refund_requests;
  v_original bigint;
begin
  select q.* into v_asked
  from pgledger.refund_requests q
  where q.account_id = request.account_id and q.key = request.key;
  if not found then
    return null;
  end if;

  select t.seq into v_original
  from pgledger.transactions t
  where t.account_id = request.account_id
    and (
      t.key = _replay_refund_request.original_key
      or t.seq = pgledger._seq_of(_replay_refund_request.original_key));
  if v_original is distinct from v_asked.original_seq
    or coalesce(request.amount, v_asked.amount) <> v_asked.amount
  then
    perform pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object(
        'original', '#' || v_asked.original_seq, 'amount', v_asked.amount,
        'status', v_asked.status),
      'given', jsonb_build_object(
        'original', coalesce('#' || v_original, _replay_refund_request.original_key),
        'amount', request.amount)));
  end if;
  return v_asked;
end;
$$;

comment on function
  pgledger._replay_refund_request(pgledger._request, text, pgledger.balances) is
  'The refund request of a repeated key; LG002 where that is of another top-up or amount; null '
  'when it is new. Only under the lock of the balance row. Private.';

revoke all on function
  pgledger._replay_refund_request(pgledger._request, text, pgledger.balances) from public;

-- functions/_refuse_decided.sql

create or replace function pgledger._refuse_decided(asked pgledger.refund_requests) returns void
language plpgsql
as $$
begin
  perform pgledger._refuse(
    pgledger._settlement(asked.account_id, asked.key, true), null, 'LG007',
    jsonb_build_object('status', asked.status));
end;
$$;

comment on function pgledger._refuse_decided(pgledger.refund_requests) is
  'Refuses with LG007 what does not fit how a refund request was decided, or that it is open. '
  'Private.';

revoke all on function pgledger._refuse_decided(pgledger.refund_requests) from public;

-- functions/_lock_refund_request.sql

create or replace function pgledger._lock_refund_request(account_id text, key text)
returns pgledger.refund_requests
language plpgsql
as $$
declare
  v_request pgledger._request :=
    pgledger._settlement(_lock_refund_request.account_id, _lock_refund_request.key, true);
  v_asked pgledger.refund_requests;
begin
  select q.* into v_asked
  from pgledger.refund_requests q
  where q.account_id = v_request.account_id and q.key = v_request.key;
  if not found then
    perform pgledger._refuse(v_request, null, 'LG006', '{}');
  end if;

  perform pgledger._lock_paid(v_asked.account_id, v_asked.original_seq);
  perform pgledger._lock_balance(v_asked.account_id);
  -- A statement of its own: it must see what was decided during the wait.
  select q.* into strict v_asked
  from pgledger.refund_requests q
  where q.account_id = v_request.account_id and q.key = v_request.key;
  return v_asked;
end;
$$;

comment on function pgledger._lock_refund_request(text, text) is
  'Locks the payment and the balance row that a refund request is of, and returns it as it stands '
  'then; LG006 where there is none. Private.';

revoke all on function pgledger._lock_refund_request(text, text) from public;

-- functions/request_refund.sql

create or replace function pgledger.request_refund(
  account_id text,
  original_key text,
  amount bigint default null,
  key text default null,
  reason text default null,
  tolerance bigint default null,
  actor text default null
) returns pgledger.refund_requests
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_key text collate "default" := request_refund.original_key;
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_asked pgledger.refund_requests;
begin
  v_request := pgledger._asked(
    request_refund.account_id, request_refund.amount, 'REFUND', request_refund.key, 'FORCE', null,
    null, true, null);
  perform pgledger._check_refund_request(
    v_request, v_key, request_refund.reason, request_refund.tolerance,
    request_refund.actor collate "default");

  if request_refund.tolerance is not null then
    perform pgledger._lock_paid(v_request.account_id, t.seq)
    from pgledger.transactions t
    where t.account_id = v_request.account_id
      and (t.key = v_key or t.seq = pgledger._seq_of(v_key));
  end if;
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_request.account_id));
  v_asked := pgledger._replay_refund_request(v_request, v_key, v_hot);
  if v_asked.key is not null then
    return v_asked;
  end if;

  v_asked.original_seq := pgledger._judge_refund_request(v_request, v_key, v_hot);
  insert into pgledger.refund_requests
    (account_id, key, original_seq, amount, reason, requested_by, created_at)
  values (
    v_request.account_id, coalesce(v_request.key, '#' || gen_random_uuid()), v_asked.original_seq,
    coalesce(
      v_request.amount, pgledger._original_left(v_request.account_id, v_asked.original_seq)),
    request_refund.reason, coalesce(request_refund.actor, session_user), v_hot.updated_at)
  returning * into strict v_asked;

  if pgledger._is_unspent(v_asked, v_hot, request_refund.tolerance) then
    v_asked := pgledger._approve_refund(v_asked, 'policy', v_asked.requested_by);
    perform pgledger._audit(
      v_asked.account_id, 'request_refund', v_asked.requested_by,
      jsonb_build_object(
        'original_key', v_key, 'amount', v_asked.amount, 'key', v_asked.key,
        'tolerance', request_refund.tolerance));
  end if;
  return v_asked;
end;
$$;

comment on function pgledger.request_refund(text, text, bigint, text, text, bigint, text) is
  'Asks that the money of a TOP_UP be given back: of amount > 0 of its credits, minor units, or of '
  'all that is left of it. Moves nothing, until approve_refund takes the credits. With a tolerance '
  'it is approved at once where all but so many of them are not spent: the credits are available, '
  'or yet in their lot where they formed one; never on a frozen account, nor while the payment is '
  'disputed. key becomes that of the REFUND, #<uuid> when not given. One top-up has one open '
  'request: another is LG002 with its key in the detail. reason: 1 to 1000 characters, in the '
  'payer''s words. actor is who asks; what was approved at once is kept in the audit log. A repeat '
  'of the key changes nothing and answers with the request as it is now. Refuses with LG002, LG004 '
  '(closed), LG006, LG009, 22023 (not a TOP_UP) and 22004.';

revoke all on function
  pgledger.request_refund(text, text, bigint, text, text, bigint, text) from public;

-- functions/approve_refund.sql

create or replace function pgledger.approve_refund(
  account_id text,
  key text,
  reason text default null,
  actor text default null
) returns pgledger.refund_requests
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_asked pgledger.refund_requests;
begin
  perform pgledger._check_reason(approve_refund.reason);
  perform pgledger._check_label('actor', approve_refund.actor collate "default");
  v_asked := pgledger._lock_refund_request(
    approve_refund.account_id collate "default", approve_refund.key collate "default");
  if v_asked.status = 'APPROVED' then
    return v_asked;
  elsif v_asked.status = 'REJECTED' then
    perform pgledger._refuse_decided(v_asked);
  end if;

  v_asked := pgledger._approve_refund(
    v_asked, approve_refund.reason, coalesce(approve_refund.actor, session_user));
  perform pgledger._audit(
    v_asked.account_id, 'approve_refund', approve_refund.actor collate "default",
    jsonb_build_object('key', v_asked.key, 'reason', approve_refund.reason));
  return v_asked;
end;
$$;

comment on function pgledger.approve_refund(text, text, text, text) is
  'Approves an open refund request: takes its credits by a REFUND of the top-up under the same '
  'key, and has a worker give the money back where the top-up has a payment. What was asked for is '
  'taken whether or not it is there yet, so an approval may leave a debt; where refunds and '
  'disputes have left less of the top-up it is LG009, and the request stays open. reason: 1 to '
  '1000 characters. A repeat changes nothing and answers with the request as it is now; LG007 once '
  'it is rejected. Kept in the audit log, as done by actor. Refuses with LG002 (something else was '
  'posted under its key), LG004 (closed), LG006, LG007, LG009, 22003, 22023 and 22004.';

revoke all on function pgledger.approve_refund(text, text, text, text) from public;

-- functions/reject_refund.sql

create or replace function pgledger.reject_refund(
  account_id text,
  key text,
  reason text default null,
  actor text default null
) returns pgledger.refund_requests
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_asked pgledger.refund_requests;
  v_now timestamptz;
begin
  perform pgledger._check_reason(reject_refund.reason);
  perform pgledger._check_label('actor', reject_refund.actor collate "default");
  v_asked := pgledger._lock_refund_request(
    reject_refund.account_id collate "default", reject_refund.key collate "default");
  if v_asked.status = 'REJECTED' then
    return v_asked;
  elsif v_asked.status = 'APPROVED' then
    perform pgledger._refuse_decided(v_asked);
  end if;

  v_now := clock_timestamp();
  update pgledger.refund_requests q
  set status = 'REJECTED', decision = reject_refund.reason,
      decided_by = coalesce(reject_refund.actor, session_user), decided_at = v_now
  where q.account_id = v_asked.account_id and q.key = v_asked.key
  returning q.* into strict v_asked;
  perform pgledger._audit(
    v_asked.account_id, 'reject_refund', reject_refund.actor collate "default",
    jsonb_build_object('key', v_asked.key, 'reason', reject_refund.reason));
  return v_asked;
end;
$$;

comment on function pgledger.reject_refund(text, text, text, text) is
  'Rejects an open refund request; nothing was taken, and nothing is. reason: 1 to 1000 '
  'characters. A repeat changes nothing and answers with the request as it is now; LG007 once it '
  'is approved. Kept in the audit log, as done by actor. Refuses with LG006, LG007, 22023 and '
  '22004.';

revoke all on function pgledger.reject_refund(text, text, text, text) from public;

-- functions/_refund_provider_key.sql

create or replace function pgledger._refund_provider_key(account_id text, key text) returns text
language sql stable parallel safe
return 'pgledger-' || encode(sha256(convert_to(
  jsonb_build_array('refund', account_id, key)::text, 'UTF8')), 'hex');

comment on function pgledger._refund_provider_key(text, text) is
  'The idempotency key by which a provider knows the refund of a request: always the same for it, '
  'and of one length whatever the ids are. Private.';

revoke all on function pgledger._refund_provider_key(text, text) from public;

-- functions/claim_refunds.sql

-- As in claim_top_ups(): no balance row is locked: a claim waits for nobody.
create or replace function pgledger.claim_refunds(
  limit_count bigint default 10,
  lease interval default '5 minutes',
  provider text default null
) returns setof pgledger.refund_order
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_limit bigint := pgledger._checked_limit(claim_refunds.limit_count);
  v_lease interval := pgledger._checked_lease(claim_refunds.lease);
  v_provider text collate "default" := claim_refunds.provider;
  v_now timestamptz := clock_timestamp();
  v_due record;
  v_claimed pgledger.refund_requests;
begin
  if v_provider is not null then
    perform pgledger._checked_provider(v_provider);
  end if;
  for v_due in
    select q.account_id, q.key
    from pgledger.refund_requests q
    where q.due_at <= v_now and (v_provider is null or q.provider = v_provider)
    order by q.due_at, q.account_id collate "C", q.key collate "C"
    limit v_limit
    for update skip locked
  loop
    update pgledger.refund_requests q
    set claims = q.claims + 1, due_at = v_now + v_lease
    where q.account_id = v_due.account_id and q.key = v_due.key
    returning q.* into strict v_claimed;
    return next row(
      v_claimed.account_id, v_claimed.key, v_claimed.amount, v_claimed.provider,
      v_claimed.payment_id, v_claimed.money, v_claimed.money_currency, v_claimed.claims,
      pgledger._refund_provider_key(v_claimed.account_id, v_claimed.key))::pgledger.refund_order;
  end loop;
end;
$$;

comment on function pgledger.claim_refunds(bigint, interval, text) is
  'Hands out up to limit_count approved refunds (1 to 10000) whose money is to be given back, by '
  'one provider or by any, the oldest first, and none of them to anybody else before lease (above '
  '0, at most a day) is over. Commit, then have the provider give the money back under the '
  'idempotency_key, and tell what came of it: record_payment_refund with key as request_key, or '
  'settle_refund_request. Where claims is above 1 somebody may have had it given back before and '
  'not come to tell: ask the provider first. The idempotency_key of a request never changes. Takes '
  'no lock on a balance and waits for nobody. Refuses with 22023 and 22004.';

revoke all on function pgledger.claim_refunds(bigint, interval, text) from public;

-- functions/_give_refund_back.sql

create or replace function pgledger._give_refund_back(asked pgledger.refund_requests)
returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := pgledger._lock_balance(asked.account_id);
  v_request pgledger._request;
  v_left bigint := pgledger._original_left(asked.account_id, asked.seq);
begin
  -- Nothing goes to a closed account; its balance must stay 0.
  if v_left > 0 and exists (
    select from pgledger.accounts a
    where a.account_id = asked.account_id and a.status <> 'CLOSED')
  then
    v_request := pgledger._asked(
      asked.account_id, v_left, 'REVERSAL', '#back-' || asked.seq, 'FORCE', null, null, true, null);
    v_request.original_seq := asked.seq;
    perform pgledger._post_locked(v_request, v_hot);
  end if;
end;
$$;

comment on function pgledger._give_refund_back(pgledger.refund_requests) is
  'Gives back the credits that an approved refund took, since its money cannot be given back, to '
  'where they came from. Only under the locks of the payment and the balance row. Private.';

revoke all on function pgledger._give_refund_back(pgledger.refund_requests) from public;

-- functions/settle_refund_request.sql

create or replace function pgledger.settle_refund_request(
  account_id text,
  key text,
  return_id text default null,
  result text default null
) returns pgledger.refund_requests
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_return text collate "default" := settle_refund_request.return_id;
  v_asked pgledger.refund_requests;
  v_settled pgledger.refund_requests;
begin
  perform pgledger._check_label('return_id', v_return);
  if coalesce(length(settle_refund_request.result) not between 1 and 1000, v_return is null) then
    perform pgledger._reject('result', settle_refund_request.result,
      'What became of it, in 1 to 1000 characters; without a return_id, why it cannot be made.');
  end if;
  v_asked := pgledger._lock_refund_request(
    settle_refund_request.account_id collate "default",
    settle_refund_request.key collate "default");

  if v_asked.status <> 'APPROVED' then
    perform pgledger._refuse_decided(v_asked);
  elsif v_asked.return_id <> v_return then
    perform pgledger._refuse(
      pgledger._settlement(v_asked.account_id, v_asked.key, true), null, 'LG002',
      jsonb_build_object('recorded', v_asked.return_id, 'given', v_return));
  -- What the provider has told of it since knows better.
  elsif v_asked.return_id is not null or (v_return is null and v_asked.result is not null) then
    return v_asked;
  end if;

  update pgledger.refund_requests q
  set return_id = v_return, result = settle_refund_request.result, due_at = null
  where q.account_id = v_asked.account_id and q.key = v_asked.key
  returning q.* into strict v_settled;
  if v_return is null then
    perform pgledger._give_refund_back(v_settled);
  end if;
  -- The provider may have told of this refund before whose it is was known; or have refused because
  -- the money had left another way, which takes the credits again.
  perform pgledger._settle_returns(p, v_return)
  from pgledger.payments p
  where p.provider = v_settled.provider and p.payment_id = v_settled.payment_id;
  return v_settled;
end;
$$;

comment on function pgledger.settle_refund_request(text, text, text, text) is
  'Tells what became of the money of an approved refund. With the provider''s return_id it is on '
  'its way, or was given back by hand: no worker is to do it any more. Without one the provider '
  'refuses it for good, and result says why: the credits go back to where they came from, unless '
  'the account is closed or the money has left in another way. Never to be called when the outcome '
  'is not known: then it is claimed again. A repeat changes nothing, nor does what comes after '
  'record_payment_refund told of it; another return_id is LG002. Refuses with LG002, LG006, LG007 '
  '(not approved), 22003, 22023 and 22004.';

revoke all on function pgledger.settle_refund_request(text, text, text, text) from public;

-- functions/list_identifiers.sql

create or replace function pgledger.list_identifiers(account_id text)
returns setof pgledger.account_identifiers
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select i.*
  from pgledger.account_identifiers i
  where i.account_id = pgledger._checked_account(list_identifiers.account_id)
  order by i.kind, i.linked_at, i.value collate "C";
end;

comment on function pgledger.list_identifiers(text) is
  'The identifiers that are linked to an account, by kind, oldest first. Refuses with 22023 and '
  '22004.';

revoke all on function pgledger.list_identifiers(text) from public;

-- functions/get_top_up_limits.sql

create or replace function pgledger.get_top_up_limits(account_id text default null)
returns setof pgledger.top_up_limits
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select l.*
  from pgledger._top_up_limits_of(case
    when get_top_up_limits.account_id is null then ''
    else pgledger._checked_account(get_top_up_limits.account_id) end) l;
end;

comment on function pgledger.get_top_up_limits(text) is
  'The limits that an account''s top-ups keep to: its own, or those of all, whose account_id is '
  'empty; without an account those of all. No row where there are none. Refuses with 22023.';

revoke all on function pgledger.get_top_up_limits(text) from public;

-- functions/list_audit.sql

create or replace function pgledger.list_audit(
  account_id text default null,
  act text default null,
  actor text default null,
  limit_count bigint default 100,
  before_at timestamptz default null,
  before_id uuid default null
) returns setof pgledger.audit_log
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_audit.limit_count);
  v_act text collate "default" := list_audit.act;
  v_actor text collate "default" := list_audit.actor;
  v_before_at timestamptz := coalesce(list_audit.before_at, 'infinity');
  v_before_id uuid :=
    coalesce(list_audit.before_id, '00000000-0000-0000-0000-000000000000');
begin
  if list_audit.account_id is null then
    return query
      select l.*
      from pgledger.audit_log l
      where (v_act is null or l.act = v_act)
        and (v_actor is null or l.actor = v_actor)
        and (l.created_at, l.id) < (v_before_at, v_before_id)
      order by l.created_at desc, l.id desc
      limit v_limit;
  else
    return query
      select l.*
      from pgledger.audit_log l
      where l.account_id = pgledger._checked_account(list_audit.account_id collate "default")
        and (v_act is null or l.act = v_act)
        and (v_actor is null or l.actor = v_actor)
        and (l.created_at, l.id) < (v_before_at, v_before_id)
      order by l.created_at desc, l.id desc
      limit v_limit;
  end if;
end;
$$;

comment on function pgledger.list_audit(text, text, text, bigint, timestamptz, uuid) is
  'Who did what by hand, newest first, limit_count of it (1 to 10000): on one account or anywhere, '
  'one act (the name of a function) or all, by one actor or all. The next page is what came '
  'before created_at and id of the last row, given as before_at and before_id. What concerns no '
  'single account, such as a price, has the empty account_id. Refuses with 22023 and 22004.';

revoke all on function
  pgledger.list_audit(text, text, text, bigint, timestamptz, uuid) from public;

-- functions/list_refund_requests.sql

-- Planned for what is asked, as in _payments_found().
create or replace function pgledger.list_refund_requests(
  status pgledger.refund_request_status default null,
  account_id text default null,
  limit_count bigint default 100,
  before_at timestamptz default null,
  before_account_id text default null,
  before_key text default null
) returns setof pgledger.refund_requests
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_refund_requests.limit_count);
  v_before_at timestamptz := coalesce(list_refund_requests.before_at, 'infinity');
  v_before_account text collate "default" := coalesce(list_refund_requests.before_account_id, '');
  v_before_key text collate "default" := coalesce(list_refund_requests.before_key, '');
  v_status pgledger.refund_request_status := list_refund_requests.status;
begin
  if list_refund_requests.account_id is null then
    return query
      select q.*
      from pgledger.refund_requests q
      where (v_status is null or q.status = v_status)
        and (q.created_at, q.account_id collate "C", q.key collate "C")
          < (v_before_at, v_before_account collate "C", v_before_key collate "C")
      order by q.created_at desc, q.account_id collate "C" desc, q.key collate "C" desc
      limit v_limit;
  else
    return query
      select q.*
      from pgledger.refund_requests q
      where q.account_id
          = pgledger._checked_account(list_refund_requests.account_id collate "default")
        and (v_status is null or q.status = v_status)
        and (q.created_at, q.account_id collate "C", q.key collate "C")
          < (v_before_at, v_before_account collate "C", v_before_key collate "C")
      order by q.created_at desc, q.key collate "C" desc
      limit v_limit;
  end if;
end;
$$;

comment on function pgledger.list_refund_requests(
  pgledger.refund_request_status, text, bigint, timestamptz, text, text) is
  'The refund requests of one account or of all, of one status or any, newest first, limit_count '
  'of them (1 to 10000). The next page is what came before created_at, account_id and key of the '
  'last row, given as before_at, before_account_id and before_key. result is what became of the '
  'money. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_refund_requests(
  pgledger.refund_request_status, text, bigint, timestamptz, text, text) from public;

-- functions/get_payment_event.sql

create or replace function pgledger.get_payment_event(provider text, event_id text)
returns setof pgledger.payment_events
language sql stable security definer rows 1
set search_path = pg_catalog, pg_temp
begin atomic
  select e.*
  from pgledger.payment_events e
  where e.provider = pgledger._checked_provider(get_payment_event.provider)
    and e.event_id = pgledger._checked_provider_id('event_id', get_payment_event.event_id);
end;

comment on function pgledger.get_payment_event(text, text) is
  'What a provider sent, with the payload, and what became of it; no row when nobody recorded it. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.get_payment_event(text, text) from public;

-- functions/list_payment_events.sql

-- Planned for what is asked, as in _payments_found().
create or replace function pgledger.list_payment_events(
  status pgledger.payment_event_status default null,
  provider text default null,
  limit_count bigint default 100,
  before timestamptz default null
) returns setof pgledger.payment_event
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_payment_events.limit_count);
  v_provider text collate "default" := list_payment_events.provider;
begin
  return query
    select e.provider, e.event_id, e.type, e.status, e.attempts, e.error, e.result, e.occurred_at,
      e.received_at, e.processed_at, false
    from pgledger.payment_events e
    where (list_payment_events.status is null or e.status = list_payment_events.status)
      and (v_provider is null or e.provider = v_provider)
      and e.received_at < coalesce(list_payment_events.before, 'infinity')
    order by e.received_at desc, e.provider collate "C", e.event_id collate "C"
    limit v_limit;
end;
$$;

comment on function pgledger.list_payment_events(
  pgledger.payment_event_status, text, bigint, timestamptz) is
  'What providers sent, without the payload, the latest first: limit_count of them (1 to 10000), '
  'received before an instant where given (the received_at of the last one seen), of one status '
  'and provider where given. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_payment_events(
  pgledger.payment_event_status, text, bigint, timestamptz) from public;

-- functions/_payments_found.sql

-- Planned for what is asked each time: a plan for all that might be asked reads all payments to
-- find the few that are unmatched, or an account's.
create or replace function pgledger._payments_found(
  provider text,
  account_id text,
  since timestamptz,
  until timestamptz,
  unmatched boolean,
  limit_count bigint
) returns setof pgledger.payments
language plpgsql stable
set plan_cache_mode = force_custom_plan
as $$
begin
  return query
    select p.*
    from pgledger.payments p
    where (_payments_found.provider is null or p.provider = _payments_found.provider)
      and (_payments_found.account_id is null or p.account_id = _payments_found.account_id)
      and p.created_at >= _payments_found.since
      and p.created_at < _payments_found.until
      and (not _payments_found.unmatched or (p.status = 'SUCCEEDED' and p.seq is null))
    order by p.created_at desc, p.provider collate "C", p.payment_id collate "C"
    limit _payments_found.limit_count;
end;
$$;

comment on function pgledger._payments_found(
  text, text, timestamptz, timestamptz, boolean, bigint) is
  'The payments that list_payments lists, newest first. Private.';

revoke all on function pgledger._payments_found(
  text, text, timestamptz, timestamptz, boolean, bigint) from public;

-- functions/list_payments.sql

create or replace function pgledger.list_payments(
  provider text default null,
  account_id text default null,
  since timestamptz default null,
  until timestamptz default null,
  unmatched boolean default false,
  limit_count bigint default 100
) returns setof pgledger.payment
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_payments.limit_count);
begin
  if list_payments.account_id is not null then
    perform pgledger._checked_account(list_payments.account_id);
  end if;

  return query
    select (t.told).provider, (t.told).payment_id, (t.told).status, (t.told).account_id,
      (t.told).key, (t.told).amount, (t.told).paid, (t.told).paid_currency, (t.told).refunded,
      (t.told).disputed, (t.told).taken, (t.told).reason, (t.told).seq, (t.told).created_at,
      (t.told).updated_at
    from pgledger._payments_found(
      list_payments.provider collate "default", list_payments.account_id collate "default",
      coalesce(list_payments.since, '-infinity'), coalesce(list_payments.until, 'infinity'),
      list_payments.unmatched is true, v_limit) p
    cross join lateral (select pgledger._payment_told(p) as told offset 0) t
    order by (t.told).created_at desc, (t.told).provider collate "C",
      (t.told).payment_id collate "C";
end;
$$;

comment on function pgledger.list_payments(
  text, text, timestamptz, timestamptz, boolean, bigint) is
  'Payments as they are known, the latest first: limit_count of them (1 to 10000), first told of '
  'from since on and before until (the created_at of the last one seen), of one provider and '
  'account where given; with unmatched only those that succeeded and are not credited, whose '
  'reason says why. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_payments(
  text, text, timestamptz, timestamptz, boolean, bigint) from public;

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
  -- What earlier refunds of it gave back can be taken again.
  cross join lateral (
    select coalesce(sum(g.amount), 0) as amount
    from pgledger.transactions t
    join pgledger.transactions g
      on g.account_id = _verify_originals.account_id and g.original_seq = t.seq
    where u.type = 'REFUND' and t.type = 'REFUND' and g.seq < u.seq
      and t.account_id = _verify_originals.account_id and t.original_seq = u.original_seq
  ) b
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
            -- Of a refund only the ledger gives back, when the money did not leave.
            or (u.type = 'REVERSAL' and o.type = 'REFUND' and starts_with(u.key, '#'))
            or (u.type = 'EXPIRY' and u.lot = o.seq)),
        true),
      'the opposite of ' || o.type || ' ' || o.amount, u.type || ' ' || u.amount),
    ('refunds and reversals are at most their original',
      coalesce(abs(u.undone + b.amount) <= abs(o.amount::numeric), true),
      'at most ' || -o.amount::numeric, (u.undone + b.amount)::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_originals(text) is
  'Where refunds and reversals of an account do not fit what they undo. Private.';

revoke all on function pgledger._verify_originals(text) from public;

-- functions/_verify_charges.sql

create or replace function pgledger._verify_charges(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, coalesce(c.key, p.key), r.expected, r.found
  from (
    select i.*
    from pgledger.pending_transactions i
    where i.account_id = _verify_charges.account_id and left(i.key, 6) = '#auto-'
  ) p
  full join (
    select d.*
    from pgledger.charges d
    where d.account_id = _verify_charges.account_id
  ) c on c.key = p.key
  left join pgledger.auto_top_ups s
    on s.account_id = _verify_charges.account_id and s.waiting_for = p.key
  cross join lateral (values
    ('an open intent has a charge', c.key is not null or p.status <> 'PENDING',
      'a row of charges', 'none'),
    ('a charge has its intent', p.type = 'TOP_UP', 'a TOP_UP',
      coalesce(p.type::text, 'none')),
    ('a settled intent is not charged', c.due_at is null or p.status = 'PENDING',
      'not due', c.due_at::text),
    ('an intent that is waited for is charged',
      not coalesce(s.enabled, false) or c.key is null or c.due_at is not null, 'due', 'not due'),
    ('claims and declines are counted', coalesce(c.claims >= 0 and c.declines >= 0, true),
      '0 or more', c.claims || ' and ' || c.declines)
  ) r (rule, holds, expected, found)
  where r.holds is not true;
end;

comment on function pgledger._verify_charges(text) is
  'Where the intents of an account''s auto-top-up and what is to be charged disagree. Private.';

revoke all on function pgledger._verify_charges(text) from public;

-- functions/_verify_returns.sql

create or replace function pgledger._verify_returns(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select v.rule, p.seq, r.return_id, v.expected, v.found
  from pgledger.payments p
  join pgledger.payment_returns r on r.provider = p.provider and r.payment_id = p.payment_id
  -- What the application posted itself it may also have undone since.
  cross join lateral (
    select coalesce(sum(pgledger._original_left(p.account_id, t.seq)), 0) as amount,
      count(*) as movements,
      bool_and(coalesce(
        t.amount < 0 and (t.original_seq = p.seq or t.external_id = r.return_id), false)
      ) as all_fit,
      bool_or(t.type <> 'REFUND') as may_be_undone
    from pgledger.transactions t
    where t.account_id = p.account_id and t.seq = any (r.refund_seqs)
  ) n
  cross join lateral (values
    ('what a refund or dispute took is in the journal',
      case when n.may_be_undone then r.taken >= n.amount else r.taken = n.amount end,
      n.amount::text, r.taken::text),
    ('what took for a refund or dispute are debits, of the top-up of its payment',
      n.movements = cardinality(r.refund_seqs) and coalesce(n.all_fit, true),
      cardinality(r.refund_seqs)::text, n.movements::text)
  ) v (rule, holds, expected, found)
  where p.account_id = _verify_returns.account_id and not v.holds
  union all
  select 'refunds and disputes take at most what their payment brought', p.seq, p.payment_id,
    'at most ' || coalesce(t.amount, 0), n.taken::text
  from pgledger.payments p
  left join pgledger.transactions t on t.account_id = p.account_id and t.seq = p.seq
  cross join lateral (
    select sum(r.taken) as taken
    from pgledger.payment_returns r
    where r.provider = p.provider and r.payment_id = p.payment_id
  ) n
  where p.account_id = _verify_returns.account_id
    and n.taken > coalesce(t.amount, 0);
end;

comment on function pgledger._verify_returns(text) is
  'Where the refunds and disputes of an account''s payments disagree with the journal. Private.';

revoke all on function pgledger._verify_returns(text) from public;

-- functions/_verify_nobodys_returns.sql

create or replace function pgledger._verify_nobodys_returns()
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select 'a refund or dispute of nobody''s payment takes nothing', null::bigint, r.return_id, '0',
    r.taken::text
  from pgledger.payment_returns r
  left join pgledger.payments p on p.provider = r.provider and p.payment_id = r.payment_id
  where r.taken <> 0 and p.account_id is null;
end;

comment on function pgledger._verify_nobodys_returns() is
  'Refunds and disputes that took credits though nobody was credited with their payment. Private.';

revoke all on function pgledger._verify_nobodys_returns() from public;

-- functions/_verify_refund_requests.sql

create or replace function pgledger._verify_refund_requests(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select v.rule, q.seq, q.key, v.expected, v.found
  from pgledger.refund_requests q
  left join pgledger.transactions o
    on o.account_id = _verify_refund_requests.account_id and o.seq = q.original_seq
  left join pgledger.transactions t
    on t.account_id = _verify_refund_requests.account_id and t.seq = q.seq
  cross join lateral (values
    ('a refund request is of a top-up',
      coalesce(o.type = 'TOP_UP' and o.amount >= q.amount, false),
      'a TOP_UP of at least ' || q.amount, coalesce(o.type || ' ' || o.amount, 'nothing')),
    ('an approved refund request has its refund, any other has none',
      case when q.status = 'APPROVED'
        then coalesce(
          t.type = 'REFUND' and t.key = q.key and t.amount = -q.amount
            and t.original_seq = q.original_seq,
          false)
        else q.seq is null
      end,
      case when q.status = 'APPROVED'
        then 'REFUND ' || -q.amount || ' of #' || q.original_seq || ' under ' || q.key
        else 'nothing'
      end,
      coalesce(
        t.type || ' ' || t.amount || coalesce(' of #' || t.original_seq, '')
          || coalesce(' under ' || t.key, ''),
        '#' || q.seq, 'nothing'))
  ) v (rule, holds, expected, found)
  where q.account_id = _verify_refund_requests.account_id and not v.holds;
end;

comment on function pgledger._verify_refund_requests(text) is
  'Where the refund requests of an account disagree with the journal. Private.';

revoke all on function pgledger._verify_refund_requests(text) from public;

-- functions/_verify_payments.sql

create or replace function pgledger._verify_payments(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, p.seq, p.payment_id, r.expected, r.found
  from pgledger.payments p
  left join pgledger.transactions t on t.account_id = p.account_id and t.seq = p.seq
  cross join lateral (values
    ('a payment that was credited has its top-up',
      t.type = 'TOP_UP' and t.amount > 0,
      'a TOP_UP', coalesce(t.type::text, 'none')),
    ('a payment and its top-up are of one amount',
      t.amount is null or p.amount = t.amount, t.amount::text, p.amount::text),
    ('the top-up of a payment has its id',
      t.external_id is null or t.external_id = p.payment_id, p.payment_id, t.external_id)
  ) r (rule, holds, expected, found)
  where p.account_id = _verify_payments.account_id and p.seq is not null
    and r.holds is not true;
end;

comment on function pgledger._verify_payments(text) is
  'Where a payment that was credited is not what the journal of its account says. Private.';

revoke all on function pgledger._verify_payments(text) from public;

-- functions/_verify_subjects.sql

create or replace function pgledger._verify_subjects() returns setof text
language sql stable
begin atomic
  select t.account_id from pgledger.transactions t
  union
  select p.account_id from pgledger.pending_transactions p
  union
  select b.account_id from pgledger.balances b
  union
  select a.account_id from pgledger.accounts a
  union
  select u.account_id from pgledger.auto_top_ups u
  union
  select l.account_id from pgledger.lots l
  union
  select d.account_id from pgledger.draws d
  union
  select r.account_id from pgledger.reservations r
  union
  select n.account_id from pgledger.account_plans n
  union
  select c.account_id from pgledger.spending_caps c
  union
  select h.account_id from pgledger.charges h
  union
  select q.account_id from pgledger.refund_requests q
  union
  select m.account_id from pgledger.payments m where m.account_id is not null;
end;

comment on function pgledger._verify_subjects() is
  'All accounts that something is recorded of, whether or not there is an account. Private.';

revoke all on function pgledger._verify_subjects() from public;

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
    select a.account_id
    from pgledger._verify_subjects() a (account_id)
    where verify.account_id is null
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
    union all
    select g.* from pgledger._verify_usage(s.account_id) g
    union all
    select w.* from pgledger._verify_returns(s.account_id) w
    union all
    select x.* from pgledger._verify_charges(s.account_id) x
    union all
    select f.* from pgledger._verify_refund_requests(s.account_id) f
    union all
    select y.* from pgledger._verify_payments(s.account_id) y
  ) v
  union all
  select null, g.rule, null, null, g.expected, g.found
  from pgledger._verify_guard() g
  union all
  select null, n.rule, n.seq, n.key, n.expected, n.found
  from pgledger._verify_nobodys_returns() n
  where verify.account_id is null
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
as $$ select '0005_payments' $$;

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
