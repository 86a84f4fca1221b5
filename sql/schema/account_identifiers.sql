create table if not exists pgledger.account_identifiers (
  kind pgledger.identifier_kind not null,
  value text not null,
  account_id text not null,
  linked_at timestamptz not null,
  constraint account_identifiers_pkey primary key (kind, value)
);

create index if not exists account_identifiers_of_account
  on pgledger.account_identifiers (account_id, kind, linked_at);

comment on table pgledger.account_identifiers is
  'By which names others know an account; each belongs to one account.';
comment on column pgledger.account_identifiers.kind is 'What the value is.';
comment on column pgledger.account_identifiers.value is
  'As resolve_account normalises it: an email in lower case, a UUID in its canonical form.';
comment on column pgledger.account_identifiers.linked_at is 'When it came to this account.';
