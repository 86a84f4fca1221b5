create table if not exists pgledger.plans (
  code text not null,
  amount bigint not null,
  period interval not null,
  policy pgledger.refill_policy not null,
  anchor pgledger.plan_anchor not null,
  time_zone text not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint plans_pkey primary key (code)
);

create table if not exists pgledger.account_plans (
  account_id text not null,
  plan text not null,
  starts_at timestamptz not null,
  refill_at timestamptz not null,
  next_plan text,
  constraint account_plans_pkey primary key (account_id)
);

create index if not exists account_plans_due on pgledger.account_plans (refill_at);
