create table if not exists pgledger.spending_caps (
  account_id text not null,
  amount bigint not null,
  period interval not null,
  time_zone text not null,
  resets_at timestamptz not null,
  constraint spending_caps_pkey primary key (account_id)
);
