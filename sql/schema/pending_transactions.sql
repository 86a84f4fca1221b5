create table if not exists pgledger.pending_transactions (
  account_id text not null,
  key text not null,
  amount bigint not null,
  requested_amount bigint,
  created_at timestamptz not null,
  settled_at timestamptz,
  type pgledger.transaction_type not null,
  status pgledger.pending_status not null default 'PENDING',
  reference text,
  external_id text,
  metadata jsonb,
  reason text,
  expires_at timestamptz,
  lot bigint,
  credits_expire_at timestamptz,
  priority integer,
  usage jsonb,
  constraint pending_transactions_pkey primary key (account_id, key),
  constraint pending_transactions_settled_once
    check ((status = 'PENDING') = (settled_at is null))
);

create unique index if not exists pending_transactions_external_id_once
  on pgledger.pending_transactions (account_id, external_id, (amount > 0))
  where external_id is not null;
create index if not exists pending_transactions_open
  on pgledger.pending_transactions (account_id, expires_at) where status = 'PENDING';
-- What was announced on a day, without the holds among it, which may be many.
create index if not exists pending_transactions_announced
  on pgledger.pending_transactions (account_id, created_at) where amount > 0;
create index if not exists pending_transactions_due
  on pgledger.pending_transactions (expires_at)
  where status = 'PENDING' and expires_at is not null;

comment on table pgledger.pending_transactions is
  'Movements announced but not effective: a top-up that is not paid yet (amount > 0), or a hold '
  '(amount < 0), which reserves credits. Rows are kept: a key stays taken after its transaction '
  'was enabled or cancelled.';
comment on column pgledger.pending_transactions.key is
  'The caller''s idempotency key, or #<uuid> where none was given.';
comment on column pgledger.pending_transactions.amount is
  'Minor units, signed: what enabling will post, unless a final amount is given then.';
comment on column pgledger.pending_transactions.requested_amount is
  'Minor units, signed: what was asked, where a ceiling made amount smaller; else null.';
comment on column pgledger.pending_transactions.settled_at is
  'When it left PENDING last; null while PENDING.';
comment on column pgledger.pending_transactions.reason is
  'Why it was cancelled, in the caller''s words.';
comment on column pgledger.pending_transactions.expires_at is
  'From this instant on a hold reserves nothing, whether or not its row says EXPIRED yet; null: it '
  'stays until it is settled.';
comment on column pgledger.pending_transactions.lot is
  'The lot in which a hold reserves all of it; null: the pool; 0: several, see reservations.';
comment on column pgledger.pending_transactions.credits_expire_at is
  'When the credits of an announced credit expire; null: never. Not when the announcement does.';
comment on column pgledger.pending_transactions.priority is
  'The priority of the lot that an announced credit will form; null: 0.';
comment on column pgledger.pending_transactions.usage is
  'What is expected to be used, at which price, where the amount was made of that; else null.';
