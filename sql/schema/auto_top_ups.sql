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
