create table if not exists pgledger.audit_log (
  account_id text not null,
  id uuid not null,
  act text not null,
  actor text not null,
  arguments jsonb not null,
  created_at timestamptz not null,
  constraint audit_log_pkey primary key (account_id, id)
);

create index if not exists audit_log_of_account
  on pgledger.audit_log (account_id, created_at);
create index if not exists audit_log_created on pgledger.audit_log (created_at);

comment on table pgledger.audit_log is
  'Who did what by hand: settings, approvals, reversals. Append-only, as the journal is.';
comment on column pgledger.audit_log.account_id is
  'Whose account it concerned; empty where it concerned no single one.';
comment on column pgledger.audit_log.id is 'One of a kind.';
comment on column pgledger.audit_log.act is 'The function that was called.';
comment on column pgledger.audit_log.actor is
  'Who did it: as the caller said, else the role that was logged in.';
comment on column pgledger.audit_log.arguments is
  'What was asked, by parameter; those not given are left out.';

create or replace trigger audit_log_append_only
  before update or delete or truncate on pgledger.audit_log
  for each statement execute function pgledger._refuse_change();

-- ALWAYS, as for the journal.
alter table pgledger.audit_log enable always trigger audit_log_append_only;

comment on trigger audit_log_append_only on pgledger.audit_log is
  'What was done stays done (LG010).';
