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
    kind in (
      'top_up_requested', 'low_balance', 'hold_expired', 'account_frozen', 'top_up_paid',
      'top_up_failed', 'payment_unmatched', 'dispute_opened'))
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
  'top_up_requested, top_up_paid, top_up_failed, payment_unmatched, dispute_opened, low_balance, '
  'hold_expired or account_frozen.';
comment on column pgledger.events.payload is 'What happened, by kind; see claim_events.';
comment on column pgledger.events.visible_at is
  'Not handed out before this instant: a claim moves it on by its visibility timeout.';
comment on column pgledger.events.deliveries is 'How often it was handed out.';
comment on column pgledger.events.acked_at is 'When it was acknowledged; null before.';
