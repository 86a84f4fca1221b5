-- The fixed-width columns a spend changes are in no index, and each page keeps room for new row
-- versions: updates stay heap-only (HOT) and the primary key is never touched. They stand side by
-- side, because WAL leaves out what is alike at both ends of two row versions. No check
-- constraints: PostgreSQL reads each one anew for each statement, a twentieth of a spend; verify()
-- holds what they would. What an account does not have (lots, a cap) is null, which takes no room
-- and, added to, stays null.
create table if not exists pgledger.balances (
  account_id text not null,
  balance bigint not null,
  seq bigint not null,
  updated_at timestamptz not null,
  held bigint not null,
  pending_rows bigint not null,
  attention_at timestamptz not null,
  floor bigint not null,
  low_below bigint,
  top_up_below bigint,
  pool bigint,
  held_in_lots bigint,
  head_lot bigint,
  head_left bigint,
  cap_left bigint,
  constraint balances_pkey primary key (account_id)
) with (fillfactor = 50);

comment on table pgledger.balances is
  'The hot row, one per account: all that one guarded UPDATE must know to decide a spend. '
  'Derived: it can be rebuilt from the other tables, and is, when it is missing.';
comment on column pgledger.balances.balance is
  'The sum of the account''s posted amounts, minor units.';
comment on column pgledger.balances.seq is
  'The seq of the account''s last transaction; 0 before it.';
comment on column pgledger.balances.updated_at is
  'Never before the created_at of the last transaction, which keeps the journal in time order.';
comment on column pgledger.balances.held is
  'What open holds reserve, minor units; available is balance minus held.';
comment on column pgledger.balances.pending_rows is
  'How many pending rows the account ever had: while it is 0, a key can only be a posted one.';
comment on column pgledger.balances.attention_at is
  'From this instant on a posting takes the slow path; -infinity while the account is not OPEN.';
comment on column pgledger.balances.floor is 'Cached from accounts.min_balance.';
comment on column pgledger.balances.low_below is 'Cached from accounts.low_balance_level.';
comment on column pgledger.balances.top_up_below is
  'The threshold of the account''s auto-top-up while it is armed, minor units; else null.';
comment on column pgledger.balances.pool is
  'What of the balance is in no lot, with what holds reserve of it; negative is a debt. Null while '
  'the account never had a lot: the pool is the balance then. Minor units.';
comment on column pgledger.balances.held_in_lots is
  'What open holds reserve in lots; the rest of held is reserved in the pool. Minor units.';
comment on column pgledger.balances.head_lot is
  'The lot that pays next; null: the pool does.';
comment on column pgledger.balances.head_left is
  'What can still be drawn from the head, minor units: the truth about the head lot, whose own row '
  'is written when the head moves; for the pool a bound only where lots come after it, else null.';
comment on column pgledger.balances.cap_left is
  'What the spending cap leaves in its period, minor units, below 0 when captures went beyond; '
  'null: no cap.';
