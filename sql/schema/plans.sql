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
