create table if not exists pgledger.draws (
  account_id text not null,
  seq bigint not null,
  place bigint not null,
  lot bigint,
  amount bigint not null,
  constraint draws_pkey primary key (account_id, seq, place)
);

comment on table pgledger.draws is
  'Which lots paid how much of a transaction, where several did; where one did, its column lot '
  'says so. See the view transaction_draws for both.';
comment on column pgledger.draws.seq is 'The seq of the transaction.';
comment on column pgledger.draws.place is '1, 2, 3 and so on, in draw order.';
comment on column pgledger.draws.lot is 'The lot that paid, by its seq; null: the pool.';
comment on column pgledger.draws.amount is
  'Minor units: above 0 what was drawn, below 0 what a reversal gave back.';

create or replace view pgledger.transaction_draws as
select t.account_id, t.seq, coalesce(d.place, 1) as place,
  case when t.lot = 0 then d.lot else t.lot end as lot,
  case when t.lot = 0 then d.amount else -t.amount end as amount
from pgledger.transactions t
left join pgledger.draws d on t.lot = 0 and d.account_id = t.account_id and d.seq = t.seq
where t.amount < 0 or t.lot is not null or t.type = 'REVERSAL';

comment on view pgledger.transaction_draws is
  'Which lot paid how much of each debit, or got how much back of each reversal: one row per '
  'source, whether one paid or several did.';
comment on column pgledger.transaction_draws.seq is 'The seq of the transaction.';
comment on column pgledger.transaction_draws.place is '1, 2, 3 and so on, in draw order.';
comment on column pgledger.transaction_draws.lot is 'The lot, by its seq; null: the pool.';
comment on column pgledger.transaction_draws.amount is
  'Minor units: above 0 what was drawn, below 0 what was given back.';

create table if not exists pgledger.reservations (
  account_id text not null,
  key text not null,
  place bigint not null,
  lot bigint,
  amount bigint not null,
  constraint reservations_pkey primary key (account_id, key, place)
);

comment on table pgledger.reservations is
  'In which lots an open hold reserves how much, where it does in several; where it does in one, '
  'pending_transactions.lot says so. Gone when the hold is settled.';
comment on column pgledger.reservations.key is 'The key of the hold.';
comment on column pgledger.reservations.place is '1, 2, 3 and so on, in draw order.';
comment on column pgledger.reservations.lot is 'The lot, by its seq; null: the pool.';
comment on column pgledger.reservations.amount is 'Minor units, above 0.';
