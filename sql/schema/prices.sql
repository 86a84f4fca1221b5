-- Two tables, because how a list rounds is said once however many units it has.
create table if not exists pgledger.price_lists (
  code text not null,
  valid_from timestamptz not null,
  rounding pgledger.price_rounding not null,
  metadata jsonb,
  constraint price_lists_pkey primary key (code, valid_from)
);

comment on table pgledger.price_lists is
  'From when on what is used under a code (a model, a feature) has which prices: one row per code '
  'and change. What was in force once stays, so every amount made of it can be made again.';
comment on column pgledger.price_lists.code is
  'The caller''s own name of a model or feature: 1 to 255 characters.';
comment on column pgledger.price_lists.valid_from is
  'From this instant on it holds, until the next one of its code does.';
comment on column pgledger.price_lists.rounding is
  'How the sum over all units becomes whole minor units, once.';
comment on column pgledger.price_lists.metadata is
  'What the caller keeps with it, such as where the prices are from.';

create table if not exists pgledger.prices (
  code text not null,
  valid_from timestamptz not null,
  unit text not null,
  credits_per_unit numeric not null,
  constraint prices_pkey primary key (code, valid_from, unit),
  constraint prices_list_known foreign key (code, valid_from)
    references pgledger.price_lists (code, valid_from) on delete cascade,
  constraint prices_credits_per_unit_in_range check (
    credits_per_unit >= 0 and credits_per_unit < 'infinity')
);

comment on table pgledger.prices is
  'What one unit costs under a price list, one row per unit.';
comment on column pgledger.prices.valid_from is
  'Which list of the code it belongs to.';
comment on column pgledger.prices.unit is
  'The caller''s own name of what is counted, such as input_token or image.';
comment on column pgledger.prices.credits_per_unit is
  'Minor units of credits, exact, 0 or more; fractions are usual: only the sum is rounded.';
