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
