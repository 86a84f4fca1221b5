create table if not exists pgledger.transactions (
  account_id text not null,
  seq bigint not null,
  amount bigint not null,
  running_balance bigint not null,
  requested_amount bigint,
  created_at timestamptz not null,
  type pgledger.transaction_type not null,
  key text,
  reference text,
  external_id text,
  metadata jsonb,
  original_seq bigint,
  counterparty text,
  counterparty_seq bigint,
  lot bigint,
  usage jsonb,
  constraint transactions_pkey primary key (account_id, seq)
);

-- Only what a caller names is indexed, so a plain movement pays for one index entry.
create unique index if not exists transactions_key_once
  on pgledger.transactions (account_id, key) where key is not null;
create unique index if not exists transactions_external_id_once
  on pgledger.transactions (account_id, external_id, (amount > 0)) where external_id is not null;
create index if not exists transactions_reference
  on pgledger.transactions (account_id, reference) where reference is not null;
create index if not exists transactions_original
  on pgledger.transactions (account_id, original_seq) where original_seq is not null;

comment on table pgledger.transactions is
  'The journal: every posted movement of every account, append-only. No foreign key to accounts: '
  'it would slow each posting and refuse the history of another system; verify() holds that rule.';
comment on column pgledger.transactions.seq is
  '1, 2, 3 and so on per account, without a gap, in commit order.';
comment on column pgledger.transactions.amount is
  'Minor units, signed: what was applied.';
comment on column pgledger.transactions.running_balance is
  'The account''s balance right after this movement, minor units.';
comment on column pgledger.transactions.requested_amount is
  'Minor units, signed: what was asked, where that is not amount; else null.';
comment on column pgledger.transactions.created_at is
  'Never earlier than that of the previous seq.';
comment on column pgledger.transactions.key is
  'The caller''s idempotency key; null where none was given: the transaction is known as #<seq>.';
comment on column pgledger.transactions.reference is
  'The caller''s correlation id (an execution, a chat, an order); many transactions may share it.';
comment on column pgledger.transactions.external_id is
  'The payment provider''s id; one effect per account and direction, ever.';
comment on column pgledger.transactions.original_seq is
  'Which transaction of the account a refund or reversal undoes, in part or whole; of an expiry, '
  'the credit whose lot expired; else null.';
comment on column pgledger.transactions.counterparty is
  'The account on the other side of a transfer; else null.';
comment on column pgledger.transactions.counterparty_seq is
  'The seq of the other leg of a transfer, in the counterparty''s journal; else null.';
comment on column pgledger.transactions.lot is
  'The lot that paid for all of a debit, or got all of a reversal back, by the seq of the '
  'transaction that made it; null: the pool; 0: several did, see draws.';
comment on column pgledger.transactions.usage is
  'What was used, at which price, where the amount was made of that; else null. See price.';

create or replace function pgledger._refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'LG010',
    message = 'append only',
    detail = jsonb_build_object('operation', tg_op, 'table', tg_table_name)::text,
    hint = 'Post a correcting transaction instead; what was posted is never changed or deleted.';
end;
$$;

comment on function pgledger._refuse_change() is
  'Guards the journal against UPDATE, DELETE and TRUNCATE. Private.';
revoke all on function pgledger._refuse_change() from public;

create or replace trigger transactions_append_only
  before update or delete or truncate on pgledger.transactions
  for each statement execute function pgledger._refuse_change();

-- ALWAYS: replication and restore tools set a role in which ordinary triggers stay silent.
alter table pgledger.transactions enable always trigger transactions_append_only;

comment on trigger transactions_append_only on pgledger.transactions is
  'A posted transaction is never changed or deleted (LG010).';
