-- depends:

set local lock_timeout = '2s';

-- schema/schema.sql

-- CREATE SCHEMA IF NOT EXISTS asks for the right to create schemas even where this one exists, and
-- an administrator may have made it for a role without that right.
do $$
begin
  if to_regnamespace('pgledger') is null then
    create schema pgledger;
  end if;
end;
$$;

comment on schema pgledger is
  'A ledger for prepaid credits. Call the functions; the tables are theirs alone to write.';

-- schema/types.sql

-- CREATE TYPE knows no IF NOT EXISTS, and this file must be safe to run again.
do $$
begin
  if to_regtype('pgledger.transaction_type') is null then
    create type pgledger.transaction_type as enum (
      'TOP_UP', 'USAGE', 'GRANT', 'REFUND', 'CARD_CHECK',
      'EXPIRY', 'TRANSFER', 'REVERSAL', 'ADJUSTMENT'
    );
  end if;

  if to_regtype('pgledger.account_status') is null then
    create type pgledger.account_status as enum ('OPEN', 'FROZEN', 'CLOSED');
  end if;

  if to_regtype('pgledger.pending_status') is null then
    create type pgledger.pending_status as enum ('PENDING', 'ENABLED', 'CANCELLED', 'EXPIRED');
  end if;

  if to_regtype('pgledger.posting') is null then
    create type pgledger.posting as (
      account_id text,
      key text,
      seq bigint,
      type pgledger.transaction_type,
      amount bigint,
      requested_amount bigint,
      running_balance bigint,
      balance bigint,
      available bigint,
      status text,
      replayed boolean,
      refusal text,
      created_at timestamptz
    );
  end if;

  if to_regtype('pgledger.transaction') is null then
    create type pgledger.transaction as (
      account_id text,
      key text,
      seq bigint,
      type pgledger.transaction_type,
      amount bigint,
      requested_amount bigint,
      running_balance bigint,
      status text,
      reference text,
      external_id text,
      metadata jsonb,
      created_at timestamptz
    );
  end if;

  if to_regtype('pgledger._request') is null then
    create type pgledger._request as (
      account_id text,
      amount bigint,
      type pgledger.transaction_type,
      key text,
      announced boolean,
      ceiling_balance bigint,
      shortfall text,
      reference text,
      external_id text,
      metadata jsonb,
      raise_refusals boolean
    );
  end if;
end;
$$;

comment on type pgledger.transaction_type is
  'What a movement is for. The sign of its amount, not its type, says which way the credits went.';
comment on type pgledger.account_status is
  'OPEN; FROZEN refuses debits that ask; CLOSED refuses everything and is empty.';
comment on type pgledger.pending_status is
  'A pending transaction waits as PENDING and leaves it once, as ENABLED, CANCELLED or EXPIRED; '
  'money that arrives late, with its external_id, can still enable the last two.';

comment on type pgledger.posting is
  'What every posting function answers: one row, of this shape, whatever happened.';
comment on column pgledger.posting.key is
  'The idempotency key; #<seq> where the caller gave none; null when refused without a key.';
comment on column pgledger.posting.seq is
  'Place in the account''s journal: 1, 2, 3 and so on without a gap; null unless POSTED.';
comment on column pgledger.posting.amount is
  'Minor units, signed: what was applied, or what is announced; 0 when refused.';
comment on column pgledger.posting.requested_amount is
  'Minor units, signed: what was asked; differs from amount after a ceiling or a partial spend.';
comment on column pgledger.posting.running_balance is
  'The balance right after this transaction; on a replay that of the original; null unless POSTED.';
comment on column pgledger.posting.balance is 'The account''s balance now, after the call.';
comment on column pgledger.posting.available is
  'balance minus what holds reserve, now, after the call.';
comment on column pgledger.posting.status is
  'POSTED, PENDING, CANCELLED, EXPIRED, or REFUSED (only when refusals are not raised).';
comment on column pgledger.posting.replayed is
  'True when this key or external_id had its effect before and this call changed nothing.';
comment on column pgledger.posting.refusal is
  'The SQLSTATE of a refusal returned as a row, or null.';
comment on column pgledger.posting.created_at is
  'When the movement was posted or announced; null when refused.';

comment on type pgledger.transaction is
  'A recorded movement as get_transaction and history show it.';
comment on column pgledger.transaction.key is
  'The idempotency key, or #<seq> where the caller gave none.';
comment on column pgledger.transaction.amount is
  'Minor units, signed: what was applied, or what is announced.';
comment on column pgledger.transaction.requested_amount is
  'Minor units, signed: what was asked; differs from amount after a ceiling or a partial spend.';
comment on column pgledger.transaction.status is 'POSTED, PENDING, CANCELLED or EXPIRED.';

comment on type pgledger._request is
  'One movement as a verb asks for it, checked and judged by the private functions. Private.';

-- schema/currencies.sql

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

-- schema/accounts.sql

create table if not exists pgledger.accounts (
  account_id text not null,
  currency text not null default 'CREDIT',
  status pgledger.account_status not null default 'OPEN',
  min_balance bigint not null default 0,
  debt_floor bigint not null default 0,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
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

-- schema/balances.sql

-- The fixed-width columns a spend changes are in no index, and each page keeps room for new row
-- versions: updates stay heap-only (HOT) and the primary key is never touched. They stand side by
-- side, because WAL leaves out what is alike at both ends of two row versions. No check
-- constraints: PostgreSQL reads each one anew for each statement, a twentieth of a spend; verify()
-- holds what they would.
create table if not exists pgledger.balances (
  account_id text not null,
  balance bigint not null,
  seq bigint not null,
  updated_at timestamptz not null,
  held bigint not null,
  pending_rows bigint not null,
  attention_at timestamptz not null,
  floor bigint not null,
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

-- schema/transactions.sql

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
  constraint transactions_pkey primary key (account_id, seq)
);

-- Only what a caller names is indexed, so a plain movement pays for one index entry.
create unique index if not exists transactions_key_once
  on pgledger.transactions (account_id, key) where key is not null;
create unique index if not exists transactions_external_id_once
  on pgledger.transactions (account_id, external_id, (amount > 0)) where external_id is not null;
create index if not exists transactions_reference
  on pgledger.transactions (account_id, reference) where reference is not null;

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

-- schema/pending_transactions.sql

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
  constraint pending_transactions_pkey primary key (account_id, key),
  constraint pending_transactions_settled_once
    check ((status = 'PENDING') = (settled_at is null))
);

create unique index if not exists pending_transactions_external_id_once
  on pgledger.pending_transactions (account_id, external_id, (amount > 0))
  where external_id is not null;
create index if not exists pending_transactions_open
  on pgledger.pending_transactions (account_id) where status = 'PENDING';

comment on table pgledger.pending_transactions is
  'Movements announced but not effective, such as a top-up that is not paid yet. Rows are kept: '
  'a key stays taken after its transaction was enabled or cancelled.';
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

-- functions/_reject.sql

create or replace function pgledger._reject(parameter text, given text, rule text) returns void
language plpgsql
as $$
begin
  raise exception using
    errcode = case when _reject.given is null then '22004' else '22023' end,
    message = 'invalid ' || _reject.parameter,
    detail = jsonb_build_object(
      'parameter', _reject.parameter,
      'given', left(_reject.given, 100),
      'length', length(_reject.given))::text,
    hint = _reject.rule;
end;
$$;

comment on function pgledger._reject(text, text, text) is
  'Refuses a misuse: 22004 for a missing argument, 22023 for one that breaks the rule. Private.';

revoke all on function pgledger._reject(text, text, text) from public;

-- functions/_is_label.sql

create or replace function pgledger._is_label(label text) returns boolean
language sql immutable parallel safe
return length(label) between 1 and 255 and label !~ '[\u0001-\u001f\u007f-\u009f]';

comment on function pgledger._is_label(text) is
  'Whether a text can name something: 1 to 255 characters, no control character in any locale. '
  'Null stays null. Small enough for the planner to inline. Private.';

revoke all on function pgledger._is_label(text) from public;

-- functions/_is_metadata.sql

create or replace function pgledger._is_metadata(metadata jsonb) returns boolean
language sql immutable parallel safe
return jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 65536;

comment on function pgledger._is_metadata(jsonb) is
  'Whether a value can be metadata: a JSON object of at most 64 KiB as stored. Null stays null. '
  'Private.';

revoke all on function pgledger._is_metadata(jsonb) from public;

-- functions/_is_key.sql

create or replace function pgledger._is_key(key text) returns boolean
language sql immutable parallel safe
return pgledger._is_label(key) and left(key, 1) <> '#';

comment on function pgledger._is_key(text) is
  'Whether a text can be a caller''s key: a label that does not begin with #, which the ledger '
  'keeps for itself. Null stays null. Small enough for the planner to inline. Private.';

revoke all on function pgledger._is_key(text) from public;

-- functions/_allows.sql

-- Neither side may overflow, whatever the bigints: a difference is taken only between operands of
-- one sign, and a sum (floor <= 0 <= held) only between operands of opposite signs.
create or replace function pgledger._allows(
  balance bigint, held bigint, floor bigint, amount bigint
) returns boolean
language sql immutable parallel safe
return case
  when amount > 0 then balance <= 9223372036854775807 - amount
  when balance >= 0 then balance + amount >= floor + held
  else balance - least(floor + held, 0) >= -amount
end;

comment on function pgledger._allows(bigint, bigint, bigint, bigint) is
  'Whether a balance allows a movement over the whole range of bigint but its lowest: a credit '
  'must not overflow it, a debit must leave balance - held at or above the floor. Small enough '
  'for the planner to inline. Private.';

revoke all on function pgledger._allows(bigint, bigint, bigint, bigint) from public;

-- functions/_seq_of.sql

create or replace function pgledger._seq_of(key text) returns bigint
language sql immutable parallel safe
return case when key ~ '^#[1-9][0-9]{0,17}$' then substr(key, 2)::bigint end;

comment on function pgledger._seq_of(text) is
  'The seq that a key of the form #<seq> stands for, or null. Private.';

revoke all on function pgledger._seq_of(text) from public;

-- functions/_checked_account.sql

create or replace function pgledger._checked_account(account_id text) returns text
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(pgledger._is_label(_checked_account.account_id), false) then
    perform pgledger._reject('account_id', _checked_account.account_id,
      'An account id has 1 to 255 characters, none of them a control character.');
  end if;
  return _checked_account.account_id;
end;
$$;

comment on function pgledger._checked_account(text) is
  'The account id, or 22023 (22004 for null) when it cannot be one. Private.';

revoke all on function pgledger._checked_account(text) from public;

-- functions/_checked_key.sql

create or replace function pgledger._checked_key(key text) returns text
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(pgledger._is_label(_checked_key.key), false) then
    perform pgledger._reject('key', _checked_key.key,
      'Name the transaction by its key, or by #<seq>: 1 to 255 characters, no control character.');
  end if;
  return _checked_key.key;
end;
$$;

comment on function pgledger._checked_key(text) is
  'The key of a recorded transaction, or 22023 (22004 for null) when it cannot be one. Private.';

revoke all on function pgledger._checked_key(text) from public;

-- functions/_checked_limit.sql

create or replace function pgledger._checked_limit(limit_count bigint) returns bigint
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(_checked_limit.limit_count between 1 and 10000, false) then
    perform pgledger._reject('limit_count', _checked_limit.limit_count::text,
      'A page has 1 to 10000 rows; continue with before_seq.');
  end if;
  return _checked_limit.limit_count;
end;
$$;

comment on function pgledger._checked_limit(bigint) is
  'The page size, or 22023 (22004 for null) when it is not within 1 and 10000. Private.';

revoke all on function pgledger._checked_limit(bigint) from public;

-- functions/_check_labels.sql

create or replace function pgledger._check_labels(
  key text, reference text, external_id text, metadata jsonb
) returns void
language plpgsql
as $$
begin
  if not pgledger._is_label(_check_labels.key) then
    perform pgledger._reject('key', _check_labels.key,
      'A key has 1 to 255 characters, none of them a control character.');
  end if;
  if not pgledger._is_label(_check_labels.reference) then
    perform pgledger._reject('reference', _check_labels.reference,
      'A reference has 1 to 255 characters, none of them a control character.');
  end if;
  if not pgledger._is_label(_check_labels.external_id) then
    perform pgledger._reject('external_id', _check_labels.external_id,
      'An external_id has 1 to 255 characters, none of them a control character.');
  end if;
  if not pgledger._is_metadata(_check_labels.metadata) then
    perform pgledger._reject('metadata', _check_labels.metadata::text,
      'Metadata is a JSON object of at most 64 KiB; keep large documents elsewhere.');
  end if;
end;
$$;

comment on function pgledger._check_labels(text, text, text, jsonb) is
  'Refuses (22023) texts that cannot name a movement, and metadata that is no small object. '
  'Null is not given, and fine. Private.';

revoke all on function pgledger._check_labels(text, text, text, jsonb) from public;

-- functions/_check_request.sql

create or replace function pgledger._check_request(request pgledger._request) returns void
language plpgsql
as $$
begin
  perform pgledger._checked_account(request.account_id);

  -- The lowest bigint has no positive twin, and a debit is judged by its positive amount.
  if not coalesce(request.amount <> 0 and request.amount > -9223372036854775808, false) then
    perform pgledger._reject('amount', request.amount::text,
      'An amount is a whole number of minor units, not 0, within plus or minus 2^63 - 1.');
  end if;
  if request.type is null then
    perform pgledger._reject('type', null, 'Name a pgledger.transaction_type.');
  end if;
  if request.announced is null then
    perform pgledger._reject('is_active', null, 'true posts at once, false announces.');
  end if;
  if request.announced and request.amount < 0 then
    perform pgledger._reject('is_active', 'false',
      'Only a credit can be announced; a debit is posted at once.');
  end if;
  if left(request.key, 1) = '#' then
    perform pgledger._reject('key', request.key,
      'Keys that begin with # are the ledger''s own; choose another.');
  end if;

  perform pgledger._check_labels(
    request.key, request.reference, request.external_id, request.metadata);
end;
$$;

comment on function pgledger._check_request(pgledger._request) is
  'Refuses (22023, 22004) what could never be posted, before anything is locked. Private.';

revoke all on function pgledger._check_request(pgledger._request) from public;

-- functions/_check_final_amount.sql

create or replace function pgledger._check_final_amount(request pgledger._request) returns void
language plpgsql
as $$
begin
  if request.amount <= 0 then
    perform pgledger._reject('amount', request.amount::text,
      'A final amount is a positive whole number of minor units.');
  end if;
  perform pgledger._check_labels(null, null, request.external_id, request.metadata);
end;
$$;

comment on function pgledger._check_final_amount(pgledger._request) is
  'Refuses (22023) what no announced credit could be enabled with. Private.';

revoke all on function pgledger._check_final_amount(pgledger._request) from public;

-- functions/_check_range.sql

create or replace function pgledger._check_range(hot pgledger.balances, amount bigint)
returns void
language plpgsql
as $$
begin
  -- Available must be a bigint too, so the lowest balance leaves room for what is held.
  if hot.balance::numeric + _check_range.amount
    not between -9223372036854775808 + hot.held::numeric and 9223372036854775807
  then
    raise exception using
      errcode = '22003',
      message = 'balance out of range',
      detail = jsonb_build_object(
        'account_id', hot.account_id,
        'balance', hot.balance,
        'amount', _check_range.amount)::text,
      hint = 'A balance is a bigint, within plus or minus 2^63 - 1 minor units.';
  end if;
end;
$$;

comment on function pgledger._check_range(pgledger.balances, bigint) is
  'Refuses (22003) a movement that would take the balance out of the range of bigint. Private.';

revoke all on function pgledger._check_range(pgledger.balances, bigint) from public;

-- functions/_derive_balance.sql

create or replace function pgledger._derive_balance(account_id text) returns pgledger.balances
language sql stable
begin atomic
  select
    _derive_balance.account_id,
    coalesce(last.running_balance, 0),
    coalesce(last.seq, 0),
    coalesce(last.created_at, '-infinity'),
    coalesce(pending.held, 0),
    pending.rows,
    case when a.status <> 'OPEN' then '-infinity' else 'infinity' end::timestamptz,
    coalesce(a.min_balance, 0)
  from (
    select
      count(*) as rows,
      sum(-p.amount) filter (where p.status = 'PENDING' and p.amount < 0)::bigint as held
    from pgledger.pending_transactions p
    where p.account_id = _derive_balance.account_id
  ) pending
  left join (
    select t.seq, t.running_balance, t.created_at
    from pgledger.transactions t
    where t.account_id = _derive_balance.account_id
    order by t.seq desc
    limit 1
  ) last on true
  left join pgledger.accounts a on a.account_id = _derive_balance.account_id;
end;

comment on function pgledger._derive_balance(text) is
  'The balance row as the other tables tell it, for an account that has none: imported, '
  'restored, or unknown (then all zeros). Private.';

revoke all on function pgledger._derive_balance(text) from public;

-- functions/_balance_now.sql

create or replace function pgledger._balance_now(account_id text) returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances;
begin
  select b.* into v_hot
  from pgledger.balances b
  where b.account_id = _balance_now.account_id;

  if not found then
    v_hot := pgledger._derive_balance(_balance_now.account_id);
  end if;
  return v_hot;
end;
$$;

comment on function pgledger._balance_now(text) is
  'The balance row as it is, or as the other tables tell it where it is missing; without a lock. '
  'Private.';

revoke all on function pgledger._balance_now(text) from public;

-- functions/_lock_balance.sql

-- Three statements on purpose. Under READ COMMITTED each sees a new snapshot: the insert waits for
-- a first movement in flight, and only what is read after that wait, under the lock, is true.
create or replace function pgledger._lock_balance(account_id text) returns pgledger.balances
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances;
begin
  select b.* into v_hot
  from pgledger.balances b
  where b.account_id = _lock_balance.account_id
  for update;

  if not found then
    insert into pgledger.balances
    select d.*
    from pgledger._derive_balance(_lock_balance.account_id) d
    on conflict (account_id) do nothing;

    select b.* into strict v_hot
    from pgledger.balances b
    where b.account_id = _lock_balance.account_id
    for update;
  end if;

  return v_hot;
end;
$$;

comment on function pgledger._lock_balance(text) is
  'Locks the account''s balance row until the transaction ends, making it from history where it '
  'is missing, and returns it as it is under the lock. Always the first lock taken. Private.';

revoke all on function pgledger._lock_balance(text) from public;

-- functions/_lock_account.sql

create or replace function pgledger._lock_account(account_id text) returns pgledger.accounts
language plpgsql
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_account pgledger.accounts;
begin
  v_request.account_id := pgledger._checked_account(_lock_account.account_id);
  v_hot := pgledger._lock_balance(_lock_account.account_id);

  select a.* into v_account
  from pgledger.accounts a
  where a.account_id = _lock_account.account_id;

  -- History without an account row was written by another system: the account exists.
  if not found and v_hot.seq = 0 then
    perform pgledger._refuse(v_request, v_hot, 'LG003', '{}');
  elsif not found then
    perform pgledger._open_if_new(_lock_account.account_id);
    select a.* into strict v_account
    from pgledger.accounts a
    where a.account_id = _lock_account.account_id;
  end if;

  return v_account;
end;
$$;

comment on function pgledger._lock_account(text) is
  'Locks the balance row of an account that must exist (LG003) and returns its settings. Private.';

revoke all on function pgledger._lock_account(text) from public;

-- functions/_open_if_new.sql

create or replace function pgledger._open_if_new(account_id text) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  if not exists (
    select from pgledger.accounts a where a.account_id = _open_if_new.account_id
  ) then
    insert into pgledger.accounts (account_id) values (_open_if_new.account_id)
    on conflict (account_id) do nothing;
  end if;
end;
$$;

comment on function pgledger._open_if_new(text) is
  'Opens, with default settings, the account of a movement about to be recorded. Only under the '
  'lock of the balance row. Private.';

revoke all on function pgledger._open_if_new(text) from public;

-- functions/_forget_unopened.sql

create or replace function pgledger._forget_unopened(account_id text) returns void
language plpgsql
as $$
begin
  delete from pgledger.balances b
  where b.account_id = _forget_unopened.account_id
    and not exists (
      select from pgledger.accounts a where a.account_id = _forget_unopened.account_id);
end;
$$;

comment on function pgledger._forget_unopened(text) is
  'Takes away the balance row that was made only to be locked, where nothing opened the account: '
  'an answer that changes nothing leaves no trace. Private.';

revoke all on function pgledger._forget_unopened(text) from public;

-- functions/_as_posting.sql

create or replace function pgledger._as_posting(
  posted pgledger.transactions, pending pgledger.pending_transactions, hot pgledger.balances,
  replayed boolean
) returns pgledger.posting
language plpgsql stable
as $$
begin
  if posted.seq is not null then
    return row(
      posted.account_id, coalesce(posted.key, '#' || posted.seq), posted.seq, posted.type,
      posted.amount, coalesce(posted.requested_amount, posted.amount), posted.running_balance,
      hot.balance, hot.balance - hot.held, 'POSTED', _as_posting.replayed, null, posted.created_at
    )::pgledger.posting;
  end if;

  return row(
    pending.account_id, pending.key, null, pending.type,
    pending.amount, coalesce(pending.requested_amount, pending.amount), null,
    hot.balance, hot.balance - hot.held, pending.status, _as_posting.replayed, null,
    pending.created_at
  )::pgledger.posting;
end;
$$;

comment on function pgledger._as_posting(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances, boolean) is
  'A recorded movement as the answer of a call: the posted one, else the pending one. Private.';

revoke all on function pgledger._as_posting(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances, boolean) from public;

-- functions/_refuse.sql

create or replace function pgledger._refuse(
  request pgledger._request, hot pgledger.balances, code text, detail jsonb
) returns pgledger.posting
language plpgsql
as $$
declare
  v_message text;
  v_hint text;
begin
  if request.raise_refusals is not false then
    select w.message, w.hint into strict v_message, v_hint
    from (values
      ('LG001', 'insufficient credits', 'Top up, spend less, or spend what is there with PARTIAL.'),
      ('LG002', 'idempotency conflict', 'A retry must repeat its call; a new movement needs a new '
        'key and external_id. To make an announced movement effective, enable it.'),
      ('LG003', 'account not found', 'Open the account first, or check its id.'),
      ('LG004', 'account not open', 'See set_account_status.'),
      ('LG005', 'ceiling reached', 'Spend first, or raise ceiling_balance.'),
      ('LG006', 'transaction not found', 'Check the account and the key.'),
      ('LG007', 'transaction not pending', 'It can no longer be enabled or cancelled; money that '
        'came late is enabled with its external_id.')
    ) w (code, message, hint)
    where w.code = _refuse.code;

    raise exception using
      errcode = _refuse.code,
      message = v_message,
      detail = (jsonb_build_object('account_id', request.account_id, 'key', request.key)
        || _refuse.detail)::text,
      hint = v_hint;
  end if;

  perform pgledger._forget_unopened(request.account_id);
  return row(
    request.account_id, request.key, null, request.type, 0, request.amount, null,
    hot.balance, hot.balance - hot.held, 'REFUSED', false, _refuse.code, null
  )::pgledger.posting;
end;
$$;

comment on function pgledger._refuse(pgledger._request, pgledger.balances, text, jsonb) is
  'The one place that refuses: raises the LG code with its words and detail, or returns it as a '
  'row when raise_refusals is false. Private.';

revoke all on function
  pgledger._refuse(pgledger._request, pgledger.balances, text, jsonb) from public;

-- functions/_conflict.sql

create or replace function pgledger._conflict(
  request pgledger._request, hot pgledger.balances,
  posted pgledger.transactions, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
begin
  return pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
    'recorded', jsonb_build_object(
      'key', coalesce(posted.key, pending.key, '#' || posted.seq),
      'type', coalesce(posted.type, pending.type),
      'amount', coalesce(
        posted.requested_amount, posted.amount, pending.requested_amount, pending.amount),
      'external_id', coalesce(posted.external_id, pending.external_id),
      'status', coalesce(
        case when posted.seq is not null then 'POSTED' end, pending.status::text)),
    'given', jsonb_build_object(
      'key', request.key,
      'type', request.type,
      'amount', request.amount,
      'external_id', request.external_id,
      'announced', request.announced)));
end;
$$;

comment on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions) is
  'Refuses with LG002 and shows what is recorded beside what was given. Private.';

revoke all on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions)
  from public;

-- functions/_replay.sql

create or replace function pgledger._replay(request pgledger._request, hot pgledger.balances)
returns pgledger.posting
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
  v_pending pgledger.pending_transactions;
begin
  if request.key is not null then
    select t.* into v_posted
    from pgledger.transactions t
    where t.account_id = request.account_id and t.key = request.key;

    select p.* into v_pending
    from pgledger.pending_transactions p
    where p.account_id = request.account_id and p.key = request.key;
  end if;

  if v_posted.seq is null and v_pending.key is null then
    return pgledger._replay_external_id(request, hot);
  end if;

  -- An announcement that was enabled is still repeated as the announcement it was.
  if request.announced = (v_pending.key is not null)
    and request.type = coalesce(v_pending.type, v_posted.type)
    and request.amount = coalesce(
      v_pending.requested_amount, v_pending.amount, v_posted.requested_amount, v_posted.amount)
    and (
      request.external_id is null
      or coalesce(v_posted.external_id, v_pending.external_id) is null
      or request.external_id in (v_posted.external_id, v_pending.external_id))
  then
    return pgledger._as_posting(v_posted, v_pending, hot, true);
  end if;

  return pgledger._conflict(request, hot, v_posted, v_pending);
end;
$$;

comment on function pgledger._replay(pgledger._request, pgledger.balances) is
  'The original of a repeated key or external_id; LG002 when that was for something else; null '
  'when this is new. Only under the lock of the balance row. Private.';

revoke all on function pgledger._replay(pgledger._request, pgledger.balances) from public;

-- functions/_replay_external_id.sql

create or replace function pgledger._replay_external_id(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
  v_pending pgledger.pending_transactions;
begin
  if request.external_id is null then
    return null;
  end if;

  select t.* into v_posted
  from pgledger.transactions t
  where t.account_id = request.account_id
    and t.external_id = request.external_id
    and (t.amount > 0) = (request.amount > 0);

  if not found then
    select p.* into v_pending
    from pgledger.pending_transactions p
    where p.account_id = request.account_id
      and p.external_id = request.external_id
      and (p.amount > 0) = (request.amount > 0)
      and p.key is distinct from request.key;

    if not found then
      return null;
    end if;

    select t.* into v_posted
    from pgledger.transactions t
    where t.account_id = request.account_id and t.key = v_pending.key;
  end if;

  -- Money that arrived must not be answered with an announcement that is still waiting for it.
  if (request.announced or v_posted.seq is not null)
    and request.amount = coalesce(
      v_posted.requested_amount, v_posted.amount, v_pending.requested_amount, v_pending.amount)
  then
    return pgledger._as_posting(v_posted, v_pending, hot, true);
  end if;

  return pgledger._conflict(request, hot, v_posted, v_pending);
end;
$$;

comment on function pgledger._replay_external_id(pgledger._request, pgledger.balances) is
  'The original of an external_id that had its effect under another key, in the same direction; '
  'LG002 when the amount differs or the original still waits to be enabled; null when it is new. '
  'Only under the lock of the balance row. Private.';

revoke all on function
  pgledger._replay_external_id(pgledger._request, pgledger.balances) from public;

-- functions/_replay_enabled.sql

create or replace function pgledger._replay_enabled(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
begin
  select t.* into strict v_posted
  from pgledger.transactions t
  where t.account_id = request.account_id and t.key = request.key;

  if coalesce(request.amount = v_posted.amount, true)
    and coalesce(request.external_id = v_posted.external_id, true)
  then
    return pgledger._as_posting(v_posted, null, hot, true);
  end if;

  return pgledger._conflict(request, hot, v_posted, null);
end;
$$;

comment on function pgledger._replay_enabled(pgledger._request, pgledger.balances) is
  'The posted transaction of a pending one that was enabled before; LG002 when another amount or '
  'external_id is given now. Private.';

revoke all on function pgledger._replay_enabled(pgledger._request, pgledger.balances) from public;

-- functions/_judge_credit.sql

create or replace function pgledger._judge_credit(
  request pgledger._request, hot pgledger.balances,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql stable
as $$
begin
  if hot.balance >= request.ceiling_balance then
    code := 'LG005';
    detail := jsonb_build_object(
      'balance', hot.balance,
      'ceiling_balance', request.ceiling_balance,
      'requested', request.amount);
    return;
  end if;

  -- least() ignores null: without a ceiling the whole amount applies.
  applied := least(request.amount, request.ceiling_balance::numeric - hot.balance)::bigint;
  perform pgledger._check_range(hot, applied);
end;
$$;

comment on function pgledger._judge_credit(pgledger._request, pgledger.balances) is
  'How much of a credit applies: all of it, or what fits under ceiling_balance; LG005 when '
  'nothing fits; 22003 when the balance would leave the range of bigint. Private.';

revoke all on function pgledger._judge_credit(pgledger._request, pgledger.balances) from public;

-- functions/_judge_debit.sql

create or replace function pgledger._judge_debit(
  request pgledger._request, hot pgledger.balances, min_balance bigint, debt_floor bigint,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql stable
as $$
declare
  v_floor bigint := case request.shortfall
    when 'DEBT' then _judge_debit.debt_floor
    else _judge_debit.min_balance
  end;
  v_room numeric := hot.balance::numeric - hot.held - v_floor;
begin
  if request.shortfall = 'FORCE' or v_room >= -request.amount then
    applied := request.amount;
    perform pgledger._check_range(hot, applied);
  elsif request.shortfall = 'PARTIAL' and v_room > 0 then
    applied := (-v_room)::bigint;
  else
    code := 'LG001';
    detail := jsonb_build_object(
      'balance', hot.balance,
      'held', hot.held,
      'available', hot.balance - hot.held,
      'floor', v_floor,
      'requested', -request.amount,
      'missing', -request.amount - v_room);
  end if;
end;
$$;

comment on function pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) is
  'How much of a debit applies: all of it above the floor, what is there with PARTIAL, any amount '
  'with FORCE; else LG001; 22003 when the balance would leave the range of bigint. Private.';

revoke all on function
  pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) from public;

-- functions/_judge.sql

create or replace function pgledger._judge(
  request pgledger._request, hot pgledger.balances,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql stable
as $$
declare
  v_account pgledger.accounts;
begin
  select a.* into v_account
  from pgledger.accounts a
  where a.account_id = request.account_id;

  if v_account.status = 'CLOSED'
    or (v_account.status = 'FROZEN' and request.amount < 0 and request.shortfall <> 'FORCE')
  then
    code := 'LG004';
    detail := jsonb_build_object('status', v_account.status, 'requested', request.amount);
  elsif request.amount > 0 then
    select c.applied, c.code, c.detail into applied, code, detail
    from pgledger._judge_credit(request, hot) c;
  else
    select d.applied, d.code, d.detail into applied, code, detail
    from pgledger._judge_debit(
      request, hot, coalesce(v_account.min_balance, 0), coalesce(v_account.debt_floor, 0)) d;
  end if;
end;
$$;

comment on function pgledger._judge(pgledger._request, pgledger.balances) is
  'Decides a new movement under the lock: the amount that applies, or the code and detail of its '
  'refusal. Private.';

revoke all on function pgledger._judge(pgledger._request, pgledger.balances) from public;

-- functions/_apply.sql

create or replace function pgledger._apply(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_posted pgledger.transactions;
begin
  perform pgledger._open_if_new(request.account_id);

  v_hot.balance := hot.balance + _apply.applied;
  v_hot.seq := hot.seq + 1;
  v_hot.updated_at := greatest(hot.updated_at, clock_timestamp());

  update pgledger.balances b
  set balance = v_hot.balance, seq = v_hot.seq, updated_at = v_hot.updated_at
  where b.account_id = request.account_id;

  insert into pgledger.transactions as t (
    account_id, seq, amount, running_balance, requested_amount, created_at, type, key, reference,
    external_id, metadata)
  values (
    request.account_id, v_hot.seq, _apply.applied, v_hot.balance,
    nullif(request.amount, _apply.applied), v_hot.updated_at, request.type, request.key,
    request.reference, request.external_id, request.metadata)
  returning t.* into v_posted;

  return pgledger._as_posting(v_posted, null, v_hot, false);
end;
$$;

comment on function pgledger._apply(pgledger._request, pgledger.balances, bigint) is
  'Posts what was judged, under the lock. Private.';

revoke all on function pgledger._apply(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_announce.sql

create or replace function pgledger._announce(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_pending pgledger.pending_transactions;
begin
  perform pgledger._open_if_new(request.account_id);

  insert into pgledger.pending_transactions as p (
    account_id, key, amount, requested_amount, created_at, type, reference, external_id, metadata)
  values (
    request.account_id, coalesce(request.key, '#' || gen_random_uuid()), _announce.applied,
    nullif(request.amount, _announce.applied), clock_timestamp(), request.type,
    request.reference, request.external_id, request.metadata)
  returning p.* into v_pending;

  update pgledger.balances b
  set pending_rows = b.pending_rows + 1
  where b.account_id = request.account_id;

  return pgledger._as_posting(null, v_pending, hot, false);
end;
$$;

comment on function pgledger._announce(pgledger._request, pgledger.balances, bigint) is
  'Records what was judged as a pending transaction, under the lock. Private.';

revoke all on function pgledger._announce(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_post_under_lock.sql

create or replace function pgledger._post_under_lock(request pgledger._request)
returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_answer pgledger.posting;
  v_applied bigint;
  v_code text;
  v_detail jsonb;
begin
  perform pgledger._check_request(request);
  v_hot := pgledger._lock_balance(request.account_id);

  -- A repeat is answered before anything is judged: it asks for nothing.
  v_answer := pgledger._replay(request, v_hot);
  if v_answer.status is not null then
    perform pgledger._forget_unopened(request.account_id);
    return v_answer;
  end if;

  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(request, v_hot) j;

  if v_code is not null then
    return pgledger._refuse(request, v_hot, v_code, v_detail);
  elsif request.announced then
    return pgledger._announce(request, v_hot, v_applied);
  else
    return pgledger._apply(request, v_hot, v_applied);
  end if;
end;
$$;

comment on function pgledger._post_under_lock(pgledger._request) is
  'The slow path: lock first, in a statement of its own, then replay, judge, and record or refuse '
  'on what is seen under the lock. Private.';

revoke all on function pgledger._post_under_lock(pgledger._request) from public;

-- functions/_post.sql

-- The hot path. The guarded UPDATE decides: it takes the row lock, re-checks its condition on the
-- newest row after any wait, and only adds, so that what it did can be taken back when the key
-- turns out to be taken (a subtransaction would cost more than both statements).
--
-- PL/pgSQL sets each expression up anew in each transaction, so conditions are nested rather than
-- joined by AND: what was not given costs nothing. ON CONFLICT writes 40 percent more WAL
-- (its insertion is confirmed afterwards), so a movement without a key does without.
create or replace function pgledger._post(
  account_id text, amount bigint, type pgledger.transaction_type, key text, reference text,
  metadata jsonb, shortfall text, raise_refusals boolean
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_balance bigint;
  v_held bigint;
  v_seq bigint;
  v_pending_rows bigint;
  v_created_at timestamptz;
begin
  <<try>>
  begin
    if _post.key is not null then exit try when not pgledger._is_key(_post.key); end if;
    if _post.reference is not null or _post.metadata is not null then
      exit try when not (
        pgledger._is_label(_post.reference) and pgledger._is_metadata(_post.metadata));
    end if;
    update pgledger.balances b
    set balance = b.balance + _post.amount, seq = b.seq + 1,
        updated_at = greatest(b.updated_at, v_now)
    where b.account_id = _post.account_id
      and b.attention_at > v_now
      and pgledger._allows(b.balance, b.held, b.floor, _post.amount)
    returning b.balance, b.held, b.seq, b.pending_rows, b.updated_at
    into v_balance, v_held, v_seq, v_pending_rows, v_created_at;
    exit try when not found;
    <<once>>
    begin
      if _post.key is null then
        insert into pgledger.transactions (
          account_id, seq, amount, running_balance, created_at, type, reference, metadata)
        values (
          _post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata);
      else
        if v_pending_rows > 0 then
          exit once when exists (
            select from pgledger.pending_transactions p
            where p.account_id = _post.account_id and p.key = _post.key);
        end if;
        insert into pgledger.transactions (
          account_id, seq, amount, running_balance, created_at, type, reference, metadata, key)
        values (
          _post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata, _post.key)
        on conflict (account_id, key) where key is not null do nothing;
        exit once when not found;
      end if;

      return row(_post.account_id, coalesce(_post.key, '#' || v_seq), v_seq, _post.type,
        _post.amount, _post.amount, v_balance, v_balance, v_balance - v_held, 'POSTED', false,
        null, v_created_at)::pgledger.posting;
    end;

    update pgledger.balances b
    set balance = b.balance - _post.amount, seq = b.seq - 1
    where b.account_id = _post.account_id;
  end;

  return pgledger._post_under_lock(row(
    _post.account_id, _post.amount, _post.type, _post.key, false, null, _post.shortfall,
    _post.reference, null, _post.metadata, _post.raise_refusals)::pgledger._request);
end;
$$;

comment on function pgledger._post(
  text, bigint, pgledger.transaction_type, text, text, jsonb, text, boolean) is
  'Posts a plain movement in two statements when everything allows it, and otherwise judges it '
  'under the lock. The caller has checked amount (not 0, not the lowest bigint), type and '
  'shortfall. Private.';

revoke all on function pgledger._post(
  text, bigint, pgledger.transaction_type, text, text, jsonb, text, boolean) from public;

-- functions/_settlement.sql

create or replace function pgledger._settlement(
  account_id text, key text, raise_refusals boolean
) returns pgledger._request
language plpgsql immutable parallel safe
as $$
begin
  return row(
    pgledger._checked_account(_settlement.account_id), null, null,
    pgledger._checked_key(_settlement.key), false, null, 'REFUSE', null, null, null,
    _settlement.raise_refusals
  )::pgledger._request;
end;
$$;

comment on function pgledger._settlement(text, text, boolean) is
  'The request to settle a pending transaction, its account and key checked. Private.';

revoke all on function pgledger._settlement(text, text, boolean) from public;

-- functions/_refuse_settled.sql

create or replace function pgledger._refuse_settled(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_status text;
begin
  select t.status into v_status
  from pgledger.get_transaction(request.account_id, request.key) t;

  if v_status is null then
    return pgledger._refuse(request, hot, 'LG006', '{}');
  end if;
  return pgledger._refuse(request, hot, 'LG007', jsonb_build_object('status', v_status));
end;
$$;

comment on function pgledger._refuse_settled(pgledger._request, pgledger.balances) is
  'Refuses to settle what is not pending: LG006 when there is no such key, LG007 with its status '
  'when there is. Private.';

revoke all on function pgledger._refuse_settled(pgledger._request, pgledger.balances) from public;

-- functions/_enable.sql

create or replace function pgledger._enable(
  request pgledger._request, hot pgledger.balances, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_final pgledger._request := request;
  v_applied bigint;
  v_code text;
  v_detail jsonb;
  v_now timestamptz;
begin
  v_final.type := pending.type;
  v_final.reference := pending.reference;
  v_final.metadata :=
    case when request.metadata is null then pending.metadata
    else coalesce(pending.metadata, '{}') || request.metadata end;
  perform pgledger._check_labels(null, null, null, v_final.metadata);

  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(v_final, hot) j;
  if v_code is not null then
    return pgledger._refuse(v_final, hot, v_code, v_detail);
  end if;

  v_now := clock_timestamp();
  update pgledger.pending_transactions p
  set status = 'ENABLED', settled_at = v_now
  where p.account_id = pending.account_id and p.key = pending.key;

  -- What a ceiling left of the announcement is recorded beside what was asked, here too.
  if v_applied = pending.amount then
    v_final.amount := coalesce(pending.requested_amount, pending.amount);
  end if;
  return pgledger._apply(v_final, hot, v_applied);
end;
$$;

comment on function pgledger._enable(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) is
  'Judges and posts a pending transaction with its final amount, under the lock. Private.';

revoke all on function pgledger._enable(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) from public;

-- functions/open_account.sql

create or replace function pgledger.open_account(
  account_id text,
  currency text default 'CREDIT',
  min_balance bigint default 0,
  metadata jsonb default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_account pgledger.accounts;
begin
  v_request.account_id := pgledger._checked_account(open_account.account_id);
  perform pgledger._check_labels(null, null, null, open_account.metadata);
  if not exists (select from pgledger.currencies c where c.code = open_account.currency) then
    perform pgledger._reject('currency', open_account.currency,
      'Use a code of pgledger.currencies, or add one there first.');
  end if;
  if not coalesce(open_account.min_balance <= 0, false) then
    perform pgledger._reject('min_balance', open_account.min_balance::text,
      'A floor is 0 or negative, in minor units.');
  end if;

  v_hot := pgledger._lock_balance(v_request.account_id);
  insert into pgledger.accounts as a (account_id, currency, min_balance, debt_floor, metadata)
  values (
    v_request.account_id, open_account.currency, open_account.min_balance,
    open_account.min_balance, coalesce(open_account.metadata, '{}'))
  on conflict (account_id) do nothing
  returning a.* into v_account;

  if found then
    update pgledger.balances b
    set floor = v_account.min_balance
    where b.account_id = v_request.account_id;
    return v_account;
  end if;

  select a.* into strict v_account
  from pgledger.accounts a
  where a.account_id = v_request.account_id;

  if v_account.currency <> open_account.currency then
    perform pgledger._refuse(v_request, v_hot, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object('currency', v_account.currency),
      'given', jsonb_build_object('currency', open_account.currency)));
  end if;
  return v_account;
end;
$$;

comment on function pgledger.open_account(text, text, bigint, jsonb) is
  'Opens an account and answers with its settings. min_balance <= 0 is its floor in minor units, '
  'and its debt_floor too until set_limits says otherwise. A repeat changes nothing and answers '
  'with the settings as they are now; LG002 when it names another currency. Not required: a first '
  'credit opens an account in CREDIT. Refuses with LG002, 22023 and 22004.';

revoke all on function pgledger.open_account(text, text, bigint, jsonb) from public;

-- functions/set_account_status.sql

create or replace function pgledger.set_account_status(
  account_id text,
  status pgledger.account_status
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
  v_balance bigint;
  v_pending bigint;
begin
  if set_account_status.status is null then
    perform pgledger._reject('status', null, 'One of OPEN, FROZEN, CLOSED.');
  end if;

  v_account := pgledger._lock_account(set_account_status.account_id);

  if set_account_status.status = 'CLOSED' then
    select b.balance, count(p.key) into strict v_balance, v_pending
    from pgledger.balances b
    left join pgledger.pending_transactions p
      on p.account_id = b.account_id and p.status = 'PENDING'
    where b.account_id = v_account.account_id
    group by b.balance;

    if v_balance <> 0 or v_pending > 0 then
      raise exception using
        errcode = '55000',
        message = 'account not empty',
        detail = jsonb_build_object(
          'account_id', v_account.account_id,
          'balance', v_balance,
          'pending', v_pending)::text,
        hint = 'Bring the balance to 0 and settle what is pending, then close the account.';
    end if;
  end if;

  update pgledger.accounts a
  set status = set_account_status.status
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  -- Away from the fast path, so that the status is looked at.
  update pgledger.balances b
  set attention_at =
    case v_account.status when 'OPEN' then 'infinity' else '-infinity' end::timestamptz
  where b.account_id = v_account.account_id;

  return v_account;
end;
$$;

comment on function pgledger.set_account_status(text, pgledger.account_status) is
  'Opens, freezes or closes an account and answers with its settings. FROZEN refuses debits that '
  'ask, not credits, and not movements with fail_insufficient_credits => false. CLOSED refuses '
  'everything; 55000 unless the balance is 0 and nothing is pending. A repeat changes nothing. '
  'Refuses with LG003, 55000, 22023 and 22004.';

revoke all on function
  pgledger.set_account_status(text, pgledger.account_status) from public;

-- functions/set_limits.sql

create or replace function pgledger.set_limits(
  account_id text,
  min_balance bigint default null,
  debt_floor bigint default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
  v_min_balance bigint;
  v_debt_floor bigint;
begin
  if set_limits.min_balance is null and set_limits.debt_floor is null then
    perform pgledger._reject('min_balance', null, 'Give min_balance, debt_floor or both.');
  end if;

  v_account := pgledger._lock_account(set_limits.account_id);

  v_min_balance := coalesce(set_limits.min_balance, v_account.min_balance);
  v_debt_floor := coalesce(set_limits.debt_floor, v_min_balance);
  if v_min_balance > 0 then
    perform pgledger._reject('min_balance', v_min_balance::text,
      'A floor is 0 or negative, in minor units.');
  end if;
  if v_debt_floor > v_min_balance then
    perform pgledger._reject('debt_floor', v_debt_floor::text,
      'debt_floor is at most min_balance, which is ' || v_min_balance || '.');
  end if;

  update pgledger.accounts a
  set min_balance = v_min_balance, debt_floor = v_debt_floor
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  update pgledger.balances b
  set floor = v_account.min_balance
  where b.account_id = v_account.account_id;

  return v_account;
end;
$$;

comment on function pgledger.set_limits(text, bigint, bigint) is
  'Sets the floors of an account, minor units, and answers with its settings. min_balance <= 0 '
  'floors spends, and stays as it is when not given; debt_floor <= min_balance floors spends with '
  'shortfall DEBT, and equals min_balance when not given. Moves no credits. A repeat changes '
  'nothing. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_limits(text, bigint, bigint) from public;

-- functions/add_transaction.sql

create or replace function pgledger.add_transaction(
  account_id text,
  amount bigint,
  type pgledger.transaction_type,
  key text default null,
  is_active boolean default true,
  ceiling_balance bigint default null,
  fail_insufficient_credits boolean default true,
  reference text default null,
  external_id text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What the fast path knows nothing of is judged under the lock, and so is what is no movement.
  if add_transaction.is_active
    and add_transaction.fail_insufficient_credits is not false
    and add_transaction.ceiling_balance is null
    and add_transaction.external_id is null
    and add_transaction.amount <> 0
    and add_transaction.amount > -9223372036854775808
    and add_transaction.type is not null
  then
    return pgledger._post(
      add_transaction.account_id, add_transaction.amount, add_transaction.type,
      add_transaction.key, add_transaction.reference, add_transaction.metadata,
      'REFUSE', add_transaction.raise_refusals);
  end if;

  return pgledger._post_under_lock(row(
    add_transaction.account_id, add_transaction.amount, add_transaction.type, add_transaction.key,
    not add_transaction.is_active, add_transaction.ceiling_balance,
    case when add_transaction.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    add_transaction.reference, add_transaction.external_id, add_transaction.metadata,
    add_transaction.raise_refusals
  )::pgledger._request);
end;
$$;

comment on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  boolean) is
  'Posts one movement of any type: amount > 0 credits, amount < 0 debits, in minor units. The '
  'first credit opens the account. is_active => false announces a credit, to be enabled or '
  'cancelled later. ceiling_balance posts only what fits under it. fail_insufficient_credits => '
  'false debits whatever the balance, even of a frozen account (a chargeback). A repeat of the '
  'key, or of the external_id in the same direction, changes nothing and answers with the '
  'original. Refuses with LG001, LG002, LG004, LG005, 22003, 22023 and 22004.';

revoke all on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  boolean) from public;

-- functions/spend.sql

create or replace function pgledger.spend(
  account_id text,
  amount bigint,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  shortfall text default 'REFUSE',
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(spend.amount > 0, false) then
    perform pgledger._reject('amount', spend.amount::text,
      'A spend is a positive whole number of minor units.');
  end if;
  if not coalesce(spend.shortfall in ('REFUSE', 'PARTIAL', 'DEBT'), false) then
    perform pgledger._reject('shortfall', spend.shortfall, 'One of REFUSE, PARTIAL, DEBT.');
  end if;

  return pgledger._post(
    spend.account_id, -spend.amount, 'USAGE', spend.key, spend.reference, spend.metadata,
    spend.shortfall, spend.raise_refusals);
end;
$$;

comment on function pgledger.spend(text, bigint, text, text, jsonb, text, boolean) is
  'Takes credits for usage: amount > 0, minor units. When available credits above min_balance do '
  'not cover it, shortfall decides: REFUSE refuses, PARTIAL spends what is there (the answer''s '
  'amount) and refuses when nothing is, DEBT goes down to debt_floor. An account that never had a '
  'credit is short of credits. A repeat of the key changes nothing and answers with the original. '
  'Refuses with LG001, LG002, LG004, 22023 and 22004.';

revoke all on function pgledger.spend(text, bigint, text, text, jsonb, text, boolean) from public;

-- functions/top_up.sql

create or replace function pgledger.top_up(
  account_id text,
  amount bigint,
  key text default null,
  is_active boolean default true,
  ceiling_balance bigint default null,
  reference text default null,
  external_id text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(top_up.amount > 0, false) then
    perform pgledger._reject('amount', top_up.amount::text,
      'A top-up is a positive whole number of minor units.');
  end if;

  return pgledger.add_transaction(
    account_id => top_up.account_id,
    amount => top_up.amount,
    type => 'TOP_UP',
    key => top_up.key,
    is_active => top_up.is_active,
    ceiling_balance => top_up.ceiling_balance,
    reference => top_up.reference,
    external_id => top_up.external_id,
    metadata => top_up.metadata,
    raise_refusals => top_up.raise_refusals);
end;
$$;

comment on function pgledger.top_up(
  text, bigint, text, boolean, bigint, text, text, jsonb, boolean) is
  'Credits what was paid: amount > 0, minor units. is_active => false announces a payment that is '
  'not made yet; enable_transaction makes it effective, cancel_transaction drops it. '
  'external_id is the provider''s id: it has one effect, ever, whatever the key. Otherwise as '
  'add_transaction. Refuses with LG002, LG004, LG005, 22003, 22023 and 22004.';

revoke all on function pgledger.top_up(
  text, bigint, text, boolean, bigint, text, text, jsonb, boolean) from public;

-- functions/grant_credits.sql

create or replace function pgledger.grant_credits(
  account_id text,
  amount bigint,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(grant_credits.amount > 0, false) then
    perform pgledger._reject('amount', grant_credits.amount::text,
      'A grant is a positive whole number of minor units.');
  end if;

  return pgledger.add_transaction(
    account_id => grant_credits.account_id,
    amount => grant_credits.amount,
    type => 'GRANT',
    key => grant_credits.key,
    reference => grant_credits.reference,
    metadata => grant_credits.metadata,
    raise_refusals => grant_credits.raise_refusals);
end;
$$;

comment on function pgledger.grant_credits(text, bigint, text, text, jsonb, boolean) is
  'Credits what nobody paid for: a trial, a promotion, goodwill. amount > 0, minor units. '
  'Otherwise as add_transaction. Refuses with LG002, LG004, 22003, 22023 and 22004.';

revoke all on function
  pgledger.grant_credits(text, bigint, text, text, jsonb, boolean) from public;

-- functions/enable_transaction.sql

create or replace function pgledger.enable_transaction(
  account_id text,
  key text,
  external_id text default null,
  metadata jsonb default null,
  amount bigint default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_answer pgledger.posting;
begin
  v_request := pgledger._settlement(
    enable_transaction.account_id, enable_transaction.key, enable_transaction.raise_refusals);
  v_request.amount := enable_transaction.amount;
  v_request.external_id := enable_transaction.external_id;
  v_request.metadata := enable_transaction.metadata;
  perform pgledger._check_final_amount(v_request);

  v_hot := pgledger._lock_balance(v_request.account_id);
  select p.* into v_pending
  from pgledger.pending_transactions p
  where p.account_id = v_request.account_id and p.key = v_request.key;

  -- Late money, known by its external_id, is owed to the payer whatever became of the announcement.
  if not found or (v_pending.status in ('CANCELLED', 'EXPIRED') and v_request.external_id is null)
  then
    return pgledger._refuse_settled(v_request, v_hot);
  elsif v_pending.status = 'ENABLED' then
    return pgledger._replay_enabled(v_request, v_hot);
  end if;

  v_request.amount := coalesce(v_request.amount, v_pending.amount);
  v_request.external_id := coalesce(v_request.external_id, v_pending.external_id);
  v_answer := pgledger._replay_external_id(v_request, v_hot);
  if v_answer.status is not null then
    return v_answer;
  end if;

  return pgledger._enable(v_request, v_hot, v_pending);
end;
$$;

comment on function pgledger.enable_transaction(text, text, text, jsonb, bigint, boolean) is
  'Makes a pending transaction effective: posts it under its own key. amount > 0 is the final '
  'amount where it differs from the announced one, minor units; external_id and metadata are '
  'added (metadata is merged). A ceiling is not judged again: who paid is credited. With an '
  'external_id it also enables what was cancelled or expired. A repeat, with the same amount or '
  'none, changes nothing and answers with the posted transaction. Refuses with LG002, LG004 '
  '(closed), LG006, LG007, 22003, 22023 and 22004.';

revoke all on function
  pgledger.enable_transaction(text, text, text, jsonb, bigint, boolean) from public;

-- functions/cancel_transaction.sql

create or replace function pgledger.cancel_transaction(
  account_id text,
  key text,
  reason text default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_now timestamptz;
begin
  v_request := pgledger._settlement(
    cancel_transaction.account_id, cancel_transaction.key, cancel_transaction.raise_refusals);
  if length(cancel_transaction.reason) not between 1 and 1000 then
    perform pgledger._reject('reason', cancel_transaction.reason,
      'A reason has 1 to 1000 characters.');
  end if;

  v_hot := pgledger._lock_balance(v_request.account_id);
  v_now := clock_timestamp();
  update pgledger.pending_transactions p
  set status = 'CANCELLED', settled_at = v_now, reason = cancel_transaction.reason
  where p.account_id = v_request.account_id and p.key = v_request.key and p.status = 'PENDING'
  returning p.* into v_pending;

  if found then
    -- Nothing changes without its balance row, so that an older snapshot meets a conflict (40001).
    update pgledger.balances b
    set updated_at = greatest(b.updated_at, v_now)
    where b.account_id = v_request.account_id;

    return pgledger._as_posting(null, v_pending, v_hot, false);
  end if;

  select p.* into v_pending
  from pgledger.pending_transactions p
  where p.account_id = v_request.account_id and p.key = v_request.key and p.status = 'CANCELLED';

  if found then
    return pgledger._as_posting(null, v_pending, v_hot, true);
  end if;
  return pgledger._refuse_settled(v_request, v_hot);
end;
$$;

comment on function pgledger.cancel_transaction(text, text, text, boolean) is
  'Drops a pending transaction: it will not become effective, unless its money arrives after all '
  '(see enable_transaction). Its key stays taken. reason: 1 to 1000 characters, kept. A repeat '
  'changes nothing. Refuses with LG006, LG007 (already enabled), 22023 and 22004.';

revoke all on function pgledger.cancel_transaction(text, text, text, boolean) from public;

-- functions/get_credits.sql

create or replace function pgledger.get_credits(account_id text) returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_available bigint;
begin
  select b.balance - b.held into v_available
  from pgledger.balances b
  where b.account_id = get_credits.account_id;

  if not found then
    select d.balance - d.held into v_available
    from pgledger._derive_balance(pgledger._checked_account(get_credits.account_id)) d;
  end if;
  return v_available;
end;
$$;

comment on function pgledger.get_credits(text) is
  'Available credits now, minor units: balance minus what holds reserve. 0 for an unknown '
  'account. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_credits(text) from public;

-- functions/get_balance.sql

create or replace function pgledger.get_balance(account_id text)
returns table (
  account_id text,
  currency text,
  status pgledger.account_status,
  balance bigint,
  held bigint,
  available bigint,
  min_balance bigint,
  debt_floor bigint
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select
    now.account_id,
    coalesce(a.currency, case when now.seq > 0 then 'CREDIT' end),
    coalesce(a.status, case when now.seq > 0 then 'OPEN'::pgledger.account_status end),
    now.balance,
    now.held,
    now.balance - now.held,
    coalesce(a.min_balance, 0),
    coalesce(a.debt_floor, 0)
  from pgledger._balance_now(pgledger._checked_account(get_balance.account_id)) now
  left join pgledger.accounts a on a.account_id = now.account_id;
end;

comment on function pgledger.get_balance(text) is
  'One row: the balance, what holds reserve of it, what is available, and the account''s floors, '
  'in minor units, with its currency and status. Zeros and a null status for an unknown account. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.get_balance(text) from public;

-- functions/check_credits.sql

create or replace function pgledger.check_credits(account_id text, required bigint)
returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now pgledger.balances;
begin
  if not coalesce(check_credits.required > 0, false) then
    perform pgledger._reject('required', check_credits.required::text,
      'Ask for a positive whole number of minor units.');
  end if;

  v_now := pgledger._balance_now(pgledger._checked_account(check_credits.account_id));
  return v_now.attention_at > statement_timestamp()
    and pgledger._allows(v_now.balance, v_now.held, v_now.floor, -check_credits.required);
end;
$$;

comment on function pgledger.check_credits(text, bigint) is
  'Whether a spend of required > 0 minor units would be accepted now; it promises nothing, only '
  'the spend itself decides. False for an unknown, frozen or closed account; never true when it '
  'could not be told. Refuses with 22023 and 22004.';

revoke all on function pgledger.check_credits(text, bigint) from public;

-- functions/get_transaction.sql

create or replace function pgledger.get_transaction(account_id text, key text)
returns setof pgledger.transaction
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select t.account_id, coalesce(t.key, '#' || t.seq), t.seq, t.type, t.amount,
    coalesce(t.requested_amount, t.amount), t.running_balance, 'POSTED', t.reference,
    t.external_id, coalesce(t.metadata, '{}'), t.created_at
  from pgledger.transactions t
  where t.account_id = pgledger._checked_account(get_transaction.account_id)
    and (
      t.key = pgledger._checked_key(get_transaction.key)
      or t.seq = pgledger._seq_of(get_transaction.key))
  union all
  select p.account_id, p.key, null, p.type, p.amount, coalesce(p.requested_amount, p.amount),
    null, p.status::text, p.reference, p.external_id, coalesce(p.metadata, '{}'), p.created_at
  from pgledger.pending_transactions p
  where p.account_id = pgledger._checked_account(get_transaction.account_id)
    and p.key = pgledger._checked_key(get_transaction.key)
    and p.status <> 'ENABLED';
end;

comment on function pgledger.get_transaction(text, text) is
  'The transaction of a key, or of #<seq>: the posted one, or the pending one that was not '
  'enabled; no row when there is none. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_transaction(text, text) from public;

-- functions/history.sql

create or replace function pgledger.history(
  account_id text,
  limit_count bigint default 100,
  before_seq bigint default null,
  type pgledger.transaction_type default null
) returns setof pgledger.transaction
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select t.account_id, coalesce(t.key, '#' || t.seq), t.seq, t.type, t.amount,
    coalesce(t.requested_amount, t.amount), t.running_balance, 'POSTED', t.reference,
    t.external_id, coalesce(t.metadata, '{}'), t.created_at
  from pgledger.transactions t
  where t.account_id = pgledger._checked_account(history.account_id)
    and t.seq < coalesce(history.before_seq, 9223372036854775807)
    and (history.type is null or t.type = history.type)
  order by t.seq desc
  limit pgledger._checked_limit(history.limit_count);
end;

comment on function pgledger.history(text, bigint, bigint, pgledger.transaction_type) is
  'The account''s posted transactions, newest first: limit_count of them (1 to 10000), before '
  'before_seq (the seq of the last row seen) where given, of one type where given. Refuses with '
  '22023 and 22004.';

revoke all on function
  pgledger.history(text, bigint, bigint, pgledger.transaction_type) from public;

-- functions/usage_by_reference.sql

-- Walks the journal backwards and stops at the page's end: a group appears where its last spend
-- is, and is summed by the reference index, however far back it goes.
create or replace function pgledger.usage_by_reference(
  account_id text,
  limit_count bigint default 100,
  before_seq bigint default null
) returns table (
  reference text,
  spends bigint,
  amount bigint,
  first_seq bigint,
  last_seq bigint,
  first_at timestamptz,
  last_at timestamptz
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_left bigint := pgledger._checked_limit(usage_by_reference.limit_count);
  v_account text := pgledger._checked_account(usage_by_reference.account_id);
  v_before bigint := coalesce(usage_by_reference.before_seq, 9223372036854775807);
  v_seen text[] := '{}'::text[];
  v_spend record;
begin
  for v_spend in
    select t.seq, t.reference, t.amount, t.created_at
    from pgledger.transactions t
    where t.account_id = v_account and t.type = 'USAGE' and t.seq < v_before
    order by t.seq desc
  loop
    continue when v_spend.reference = any (v_seen);

    if v_spend.reference is null then
      return query select null::text, 1::bigint, v_spend.amount, v_spend.seq, v_spend.seq,
        v_spend.created_at, v_spend.created_at;
    else
      v_seen := v_seen || v_spend.reference;
      return query
        select v_spend.reference, count(*), sum(t.amount)::bigint, min(t.seq), max(t.seq),
          min(t.created_at), max(t.created_at)
        from pgledger.transactions t
        where t.account_id = v_account and t.reference = v_spend.reference and t.type = 'USAGE'
        having max(t.seq) < v_before;
      -- A group that also has later spends was on an earlier page.
      continue when not found;
    end if;

    v_left := v_left - 1;
    exit when v_left = 0;
  end loop;
end;
$$;

comment on function pgledger.usage_by_reference(text, bigint, bigint) is
  'What was used, one row per reference (an execution, a chat, an order), the latest first: how '
  'many spends and their sum, signed, in minor units. A spend without a reference is a row of its '
  'own. limit_count rows (1 to 10000), before before_seq (the last_seq of the last row seen) '
  'where given. Refuses with 22023 and 22004.';

revoke all on function pgledger.usage_by_reference(text, bigint, bigint) from public;

-- functions/balance_at.sql

-- created_at never decreases with seq, so the last transaction up to an instant is found by
-- bisection over the primary key: about log2(n) index probes, and no index of its own.
create or replace function pgledger.balance_at(account_id text, at timestamptz) returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text := pgledger._checked_account(balance_at.account_id);
  v_low bigint := 0::bigint;
  v_high bigint;
  v_middle bigint;
  v_found record;
  v_balance bigint := 0::bigint;
begin
  if not coalesce(isfinite(balance_at.at), false) then
    perform pgledger._reject('at', balance_at.at::text, 'Give a finite point in time.');
  end if;

  select max(t.seq) into v_high
  from pgledger.transactions t
  where t.account_id = v_account;

  -- All up to v_low is in time; all above v_high is not.
  while v_low < v_high loop
    v_middle := v_high - (v_high - v_low) / 2;
    -- At or below, not equal: the history of another system may have gaps.
    select t.seq, t.created_at, t.running_balance into v_found
    from pgledger.transactions t
    where t.account_id = v_account and t.seq <= v_middle
    order by t.seq desc
    limit 1;

    if v_found.created_at > balance_at.at then
      v_high := v_found.seq - 1;
    else
      -- In time, or nothing there: that history may also begin late.
      v_balance := coalesce(v_found.running_balance, v_balance);
      v_low := v_middle;
    end if;
  end loop;

  return v_balance;
end;
$$;

comment on function pgledger.balance_at(text, timestamptz) is
  'The balance right after the last transaction up to and including an instant, minor units; 0 '
  'before the first, and for an unknown account. Refuses an infinite or missing instant with '
  '22023 and 22004.';

revoke all on function pgledger.balance_at(text, timestamptz) from public;

-- functions/_verify_journal.sql

create or replace function pgledger._verify_journal(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, t.seq, t.key, r.expected, r.found
  from (
    select
      t.*,
      lag(t.seq, 1, 0::bigint) over w as previous_seq,
      lag(t.running_balance, 1, 0::bigint) over w as previous_balance,
      lag(t.created_at, 1, t.created_at) over w as previous_at
    from pgledger.transactions t
    where t.account_id = _verify_journal.account_id
    window w as (order by t.seq)
  ) t
  cross join lateral (values
    ('seq without a gap',
      t.seq = t.previous_seq + 1, (t.previous_seq + 1)::text, t.seq::text),
    ('running_balance is the previous one plus amount',
      t.running_balance = t.previous_balance::numeric + t.amount,
      (t.previous_balance::numeric + t.amount)::text, t.running_balance::text),
    ('created_at never decreases',
      isfinite(t.created_at) and t.created_at >= t.previous_at,
      t.previous_at::text, t.created_at::text),
    ('amount is part of requested_amount',
      coalesce(
        sign(t.requested_amount) = sign(t.amount)
          and abs(t.requested_amount::numeric) > abs(t.amount::numeric),
        t.requested_amount is null),
      t.requested_amount::text, t.amount::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_journal(text) is
  'What is wrong with the posted transactions of an account, each against the one before. Private.';

revoke all on function pgledger._verify_journal(text) from public;

-- functions/_verify_balance.sql

create or replace function pgledger._verify_balance(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, b.seq, null::text, r.expected, r.found
  from pgledger.balances b
  cross join lateral pgledger._derive_balance(b.account_id) d
  cross join lateral (values
    ('balance is the last running_balance',
      b.balance = d.balance, d.balance::text, b.balance::text),
    ('balance.seq is the last seq', b.seq = d.seq, d.seq::text, b.seq::text),
    ('held is the sum of open holds', b.held = d.held, d.held::text, b.held::text),
    ('floor is min_balance', b.floor = d.floor, d.floor::text, b.floor::text),
    ('pending_rows counts pending transactions',
      b.pending_rows = d.pending_rows, d.pending_rows::text, b.pending_rows::text),
    ('attention_at follows the status',
      b.attention_at = d.attention_at, d.attention_at::text, b.attention_at::text),
    ('updated_at is not before the last transaction',
      b.updated_at >= d.updated_at, d.updated_at::text, b.updated_at::text)
  ) r (rule, holds, expected, found)
  where b.account_id = _verify_balance.account_id and not r.holds
  union all
  select 'balance is the sum of amounts', b.seq, null, t.total::text, b.balance::text
  from pgledger.balances b
  cross join lateral (
    select coalesce(sum(t.amount), 0) as total
    from pgledger.transactions t
    where t.account_id = b.account_id
  ) t
  where b.account_id = _verify_balance.account_id and t.total <> b.balance;
end;

comment on function pgledger._verify_balance(text) is
  'Where the hot row of an account differs from what the other tables tell. Private.';

revoke all on function pgledger._verify_balance(text) from public;

-- functions/_verify_pending.sql

create or replace function pgledger._verify_pending(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, t.seq, p.key, r.expected, r.found
  from pgledger.pending_transactions p
  left join pgledger.transactions t on t.account_id = p.account_id and t.key = p.key
  cross join lateral (values
    ('posted exactly when enabled',
      (p.status = 'ENABLED') = (t.seq is not null), p.status::text,
      case when t.seq is null then 'not posted' else 'posted' end),
    ('posted as announced',
      coalesce(p.type = t.type and sign(p.amount) = sign(t.amount), true),
      p.type || ' ' || p.amount, t.type || ' ' || t.amount),
    ('amount is part of requested_amount',
      coalesce(
        sign(p.requested_amount) = sign(p.amount)
          and abs(p.requested_amount::numeric) > abs(p.amount::numeric),
        p.requested_amount is null),
      p.requested_amount::text, p.amount::text)
  ) r (rule, holds, expected, found)
  where p.account_id = _verify_pending.account_id and not r.holds;
end;

comment on function pgledger._verify_pending(text) is
  'Where the pending transactions of an account disagree with what was posted. Private.';

revoke all on function pgledger._verify_pending(text) from public;

-- functions/_verify_account.sql

create or replace function pgledger._verify_account(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, b.seq, null::text, r.expected, r.found
  from pgledger.balances b
  left join pgledger.accounts a on a.account_id = b.account_id
  cross join lateral (values
    ('a balance row has an account',
      a.account_id is not null, 'an account', 'none'),
    ('a closed account is empty',
      a.status is distinct from 'CLOSED'
        or (b.balance = 0 and not exists (
          select from pgledger.pending_transactions p
          where p.account_id = b.account_id and p.status = 'PENDING')),
      'balance 0 and nothing pending', 'balance ' || b.balance)
  ) r (rule, holds, expected, found)
  where b.account_id = _verify_account.account_id and not r.holds;
end;

comment on function pgledger._verify_account(text) is
  'Where the settings of an account disagree with its balance row. Private.';

revoke all on function pgledger._verify_account(text) from public;

-- functions/_verify_guard.sql

create or replace function pgledger._verify_guard()
returns table (rule text, expected text, found text)
language sql stable
begin atomic
  select 'the journal is guarded', 'enabled always', coalesce(g.state, 'no trigger')
  from (
    select max(case t.tgenabled
      when 'A' then 'enabled always' when 'D' then 'disabled' else 'enabled in part' end) as state
    from pg_catalog.pg_trigger t
    where t.tgrelid = 'pgledger.transactions'::regclass
      and t.tgname = 'transactions_append_only'
  ) g
  where g.state is distinct from 'enabled always';
end;

comment on function pgledger._verify_guard() is
  'Whether the append-only guard of the journal is missing or off. Private.';

revoke all on function pgledger._verify_guard() from public;

-- functions/verify.sql

create or replace function pgledger.verify(account_id text default null)
returns table (account_id text, rule text, seq bigint, key text, expected text, found text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  with subjects as (
    select case when verify.account_id is not null
      then pgledger._checked_account(verify.account_id) end as account_id
    where verify.account_id is not null
    union
    select t.account_id from pgledger.transactions t where verify.account_id is null
    union
    select p.account_id from pgledger.pending_transactions p where verify.account_id is null
    union
    select b.account_id from pgledger.balances b where verify.account_id is null
    union
    select a.account_id from pgledger.accounts a where verify.account_id is null
  )
  select s.account_id, v.rule, v.seq, v.key, v.expected, v.found
  from subjects s
  cross join lateral (
    select j.* from pgledger._verify_journal(s.account_id) j
    union all
    select b.* from pgledger._verify_balance(s.account_id) b
    union all
    select p.* from pgledger._verify_pending(s.account_id) p
    union all
    select a.* from pgledger._verify_account(s.account_id) a
  ) v
  union all
  select null, g.rule, null, null, g.expected, g.found
  from pgledger._verify_guard() g
  order by 1, 2, 3, 4;
end;

comment on function pgledger.verify(text) is
  'One row per disagreement between what is recorded and the ledger''s invariants, for one account '
  'or for all; no row when all is well. expected is what the rest of the record says, found what '
  'stands there. Reads one snapshot, so it is right while others write. For all accounts it reads '
  'everything.';

revoke all on function pgledger.verify(text) from public;
