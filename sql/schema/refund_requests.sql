create table if not exists pgledger.refund_requests (
  account_id text not null,
  key text not null,
  original_seq bigint not null,
  amount bigint not null,
  status pgledger.refund_request_status not null default 'PENDING',
  reason text,
  requested_by text not null,
  decision text,
  decided_by text,
  decided_at timestamptz,
  seq bigint,
  provider text,
  payment_id text,
  money bigint,
  money_currency text,
  return_id text,
  result text,
  due_at timestamptz,
  claims bigint not null default 0,
  created_at timestamptz not null,
  constraint refund_requests_pkey primary key (account_id, key),
  constraint refund_requests_decided_once check ((status = 'PENDING') = (decided_at is null)),
  constraint refund_requests_amount_positive check (amount > 0)
);

create unique index if not exists refund_requests_one_open
  on pgledger.refund_requests (account_id, original_seq) where status = 'PENDING';
create index if not exists refund_requests_open
  on pgledger.refund_requests (created_at) where status = 'PENDING';
create index if not exists refund_requests_created
  on pgledger.refund_requests (created_at);
create index if not exists refund_requests_due
  on pgledger.refund_requests (due_at) where due_at is not null;

comment on table pgledger.refund_requests is
  'Refunds that a payer or a clerk asked for, what was decided, and what came of it.';
comment on column pgledger.refund_requests.key is
  'The key of the request, and of the REFUND that it becomes: the caller''s, or #<uuid>.';
comment on column pgledger.refund_requests.original_seq is
  'The seq of the top-up whose money is asked back.';
comment on column pgledger.refund_requests.amount is 'Credits, minor units, above 0.';
comment on column pgledger.refund_requests.reason is 'Why it is asked for, in the payer''s words.';
comment on column pgledger.refund_requests.requested_by is 'Who asked.';
comment on column pgledger.refund_requests.decision is
  'Why it was decided so; policy, where nobody had to.';
comment on column pgledger.refund_requests.decided_by is 'Who decided; null while PENDING.';
comment on column pgledger.refund_requests.decided_at is 'When it was decided; null while PENDING.';
comment on column pgledger.refund_requests.seq is
  'The seq of the REFUND that took the credits; null unless APPROVED.';
comment on column pgledger.refund_requests.provider is
  'Who gives the money back; null where the top-up has no payment here.';
comment on column pgledger.refund_requests.payment_id is 'Of which payment; null as provider is.';
comment on column pgledger.refund_requests.money is
  'How much money goes back, in the smallest unit of the payment''s currency; null as provider is.';
comment on column pgledger.refund_requests.money_currency is
  'The currency of the money, such as usd; null as provider is.';
comment on column pgledger.refund_requests.return_id is
  'The provider''s id of the refund; null until it is made.';
comment on column pgledger.refund_requests.result is
  'What became of the money: the provider''s status of the refund, or why it could not be made.';
comment on column pgledger.refund_requests.due_at is
  'When a worker may claim it (again) to have the money given back; null: nothing is left to do.';
comment on column pgledger.refund_requests.claims is
  'How often it was claimed. From the second time on the money may be on its way already.';
