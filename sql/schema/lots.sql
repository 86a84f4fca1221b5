create table if not exists pgledger.lots (
  account_id text not null,
  seq bigint not null,
  priority integer not null,
  expires_at timestamptz not null,
  amount bigint not null,
  remaining bigint not null,
  expired bigint not null default 0,
  granted_expires_at timestamptz not null,
  constraint lots_pkey primary key (account_id, seq),
  constraint lots_amounts_in_range check (
    remaining >= 0 and expired >= 0 and amount >= remaining)
);

-- In draw order. What is used up is in neither index, however much of it lies behind an account.
create index if not exists lots_open
  on pgledger.lots (account_id, priority, expires_at, seq) where remaining > 0;
create index if not exists lots_due
  on pgledger.lots (expires_at) where remaining > 0 and expires_at < 'infinity';

comment on table pgledger.lots is
  'Credits with an expiry or a priority of their own, one row per credit that has either. They are '
  'drawn by priority, then expiry, then age; the pool, which is all the rest, stands at priority 0 '
  'and never expires.';
comment on column pgledger.lots.seq is
  'The seq of the transaction that made the lot, and so the lot''s name.';
comment on column pgledger.lots.priority is 'Lower is drawn first; the pool''s is 0.';
comment on column pgledger.lots.expires_at is
  'From this instant on what remains is neither in the balance nor spendable; infinity: never.';
comment on column pgledger.lots.amount is
  'What the credit brought after it paid a debt, minor units.';
comment on column pgledger.lots.remaining is
  'What can still be drawn, minor units. For the head lot of an account balances.head_left is the '
  'truth, and this row is written when the head moves.';
comment on column pgledger.lots.expired is 'What expired of it, minor units.';
comment on column pgledger.lots.granted_expires_at is
  'The expires_at it was granted with; an extension or a revocation changes expires_at only.';
