"""What lists payments reads what it lists, however many there are."""

import pytest

from tests.conftest import Connect
from tests.support import Ledger, ask_all

MANY = 20_000

FILL = """
insert into pgledger.payments (
  provider, payment_id, account_id, amount, paid, paid_currency, status, seq, created_at,
  updated_at)
select 'test', 'p' || i, 'a' || i / 4, 100, 1000, 'usd', 'SUCCEEDED',
  case when i % 5000 > 0 then i end, at, at
from generate_series(1, %(many)s) i, lateral (select now() - interval '1 second' * i) t (at);
insert into pgledger.payment_returns (
  provider, return_id, payment_id, kind, amount, status, created_at, updated_at)
select 'test', 'r' || i, 'p' || i, 'REFUND', 10, 'SUCCEEDED', now(), now()
from generate_series(1, %(many)s) i;
insert into pgledger.payment_events (provider, event_id, type, payload, status, received_at)
select 'test', 'e' || i, 't', '{}', case when i % 5000 > 0 then 'PROCESSED' else 'FAILED' end
    ::pgledger.payment_event_status, now() - interval '1 second' * i
from generate_series(1, %(many)s) i;
insert into pgledger.refund_requests (
  account_id, key, original_seq, amount, status, requested_by, decided_at, created_at)
select 'a' || i, 'k', 1, 1,
  case when i % 5000 > 0 then 'REJECTED' else 'PENDING' end::pgledger.refund_request_status, 'x',
  case when i % 5000 > 0 then now() end, now() - interval '1 second' * i
from generate_series(1, %(many)s) i;
analyze;
"""


@pytest.mark.usefixtures("postgresql")
def test_a_list_of_few_reads_few(db: Ledger, connect: Connect) -> None:
    db.execute(FILL.replace("%(many)s", str(MANY)))
    asking = connect(autocommit=False)
    # What the server comes to by itself where it takes the filters for cheap.
    asking.execute("set plan_cache_mode = force_generic_plan")
    read = 0
    for function, given, found in (
        ("list_payments", {"unmatched": True}, 4),
        ("list_payments", {"account_id": "a7"}, 4),
        ("list_payments", {"limit_count": 4}, 4),
        ("list_payment_returns", {"payment_id": "p7", "provider": "test"}, 1),
        ("list_payment_returns", {"account_id": "a7"}, 4),
        ("list_payment_events", {"status": "FAILED"}, 4),
        ("list_payment_events", {"limit_count": 4}, 4),
        ("list_refund_requests", {"status": "PENDING"}, 4),
        ("list_refund_requests", {"account_id": "a7"}, 1),
    ):
        assert len(ask_all(asking, function, **given)) == found
        before, read = read, rows_read(asking)
        assert read - before < MANY / 10, (function, given)


def rows_read(db: Ledger) -> int:
    """Return how many rows this transaction has read."""
    (row,) = db.execute(
        "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint as many"
        " from pg_stat_xact_user_tables"
    ).fetchall()
    return int(row["many"])
