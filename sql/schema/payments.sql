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
