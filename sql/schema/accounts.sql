create table if not exists pgledger.accounts (
  account_id text not null,
  currency text not null default 'CREDIT',
  status pgledger.account_status not null default 'OPEN',
  min_balance bigint not null default 0,
  debt_floor bigint not null default 0,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  low_balance_level bigint,
  events bigint not null default 0,
  constraint accounts_pkey primary key (account_id),
  constraint accounts_currency_known foreign key (currency) references pgledger.currencies (code),
  -- As _is_label() has it: a character class such as [:cntrl:] would depend on the locale.
  constraint accounts_account_id_shape check (
    length(account_id) between 1 and 255 and account_id !~ '[\u0001-\u001f\u007f-\u009f]'),
  constraint accounts_floors_ordered check (debt_floor <= min_balance and min_balance <= 0)
);

comment on table pgledger.accounts is
  'Who holds credits: the settings of an account. Read on the slow path only; the hot row '
  'in balances caches what a spend needs of them.';
comment on column pgledger.accounts.account_id is
  'The caller''s own id: 1 to 255 characters, none of them a control character.';
comment on column pgledger.accounts.min_balance is
  'The floor for spends: available credits do not fall below it. 0 or negative, minor units.';
comment on column pgledger.accounts.debt_floor is
  'The floor for spends that may leave a debt (shortfall DEBT). At most min_balance, minor units.';
comment on column pgledger.accounts.low_balance_level is
  'A debit or hold that takes available from this level or above to below it records an event; '
  'null: none does. Minor units.';
comment on column pgledger.accounts.events is 'How many events the account ever had.';
