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
