create or replace function pgledger._verify_refund_requests(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select v.rule, q.seq, q.key, v.expected, v.found
  from pgledger.refund_requests q
  left join pgledger.transactions o
    on o.account_id = _verify_refund_requests.account_id and o.seq = q.original_seq
  left join pgledger.transactions t
    on t.account_id = _verify_refund_requests.account_id and t.seq = q.seq
  cross join lateral (values
    ('a refund request is of a top-up',
      coalesce(o.type = 'TOP_UP' and o.amount >= q.amount, false),
      'a TOP_UP of at least ' || q.amount, coalesce(o.type || ' ' || o.amount, 'nothing')),
    ('an approved refund request has its refund, any other has none',
      case when q.status = 'APPROVED'
        then coalesce(
          t.type = 'REFUND' and t.key = q.key and t.amount = -q.amount
            and t.original_seq = q.original_seq,
          false)
        else q.seq is null
      end,
      case when q.status = 'APPROVED'
        then 'REFUND ' || -q.amount || ' of #' || q.original_seq || ' under ' || q.key
        else 'nothing'
      end,
      coalesce(
        t.type || ' ' || t.amount || coalesce(' of #' || t.original_seq, '')
          || coalesce(' under ' || t.key, ''),
        '#' || q.seq, 'nothing'))
  ) v (rule, holds, expected, found)
  where q.account_id = _verify_refund_requests.account_id and not v.holds;
end;

comment on function pgledger._verify_refund_requests(text) is
  'Where the refund requests of an account disagree with the journal. Private.';

revoke all on function pgledger._verify_refund_requests(text) from public;
