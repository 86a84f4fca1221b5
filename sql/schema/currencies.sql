create table if not exists pgledger.currencies (
  code text not null,
  exponent smallint not null,
  constraint currencies_pkey primary key (code),
  constraint currencies_code_shape check (code ~ '^[A-Z][A-Z0-9_]{0,31}$'),
  constraint currencies_exponent_range check (exponent between 0 and 18)
);

comment on table pgledger.currencies is
  'What credits are counted in. Display only: every amount is a whole number of minor units.';
comment on column pgledger.currencies.exponent is
  'How many decimal digits a person is shown: 2 shows 1250 as 12.50.';

insert into pgledger.currencies (code, exponent) values ('CREDIT', 0)
on conflict (code) do nothing;
