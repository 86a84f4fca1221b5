"""Faults planted in holds, auto-top-ups, originals and transfers, each named by verify."""

import pytest

from tests.functions.test_verify import BALANCE, JOURNAL, PENDING, plant
from tests.support import Ledger, ask, ask_all, in_order, let_expire

AUTO = "update pgledger.auto_top_ups set "
HELD = "held is the sum of open holds"
LOW = "low_below is low_balance_level"
ARMED = "top_up_below is the armed threshold"
ATTENTION = "attention_at is not after what is due"
WAITS = "an auto-top-up waits for an open intent"
SETTLED = "a settled intent is not charged"
EARLIER = "an original is an earlier transaction"
AT_MOST = "refunds and reversals are at most their original"
OPPOSITE = "a refund takes back a top-up, a reversal undoes another movement"
EXPIRES = "a hold expires at expires_at, and is captured before"
COUNTED = "auto-top-ups are counted"
EVENTS = "events are counted"
LEGS = "a transfer has two legs"
ENABLED = "posted exactly when enabled"
ANNOUNCED = "posted as announced"


@pytest.fixture
def busy(db: Ledger) -> Ledger:
    """A ledger with some of everything in it: accounts a, armed and to."""
    ask(db, "open_account", account_id="to")
    ask(db, "top_up", account_id="armed", amount=100)
    ask(db, "set_auto_top_up", account_id="armed", threshold=5, amount=50)
    ask(db, "top_up", account_id="a", amount=100, key="paid")
    ask(db, "set_low_balance_level", account_id="a", level=50)
    for key, amount in (("open", 10), ("part", 20), ("gone", 1)):
        ask(db, "hold", account_id="a", amount=amount, key=key, expires_at="2200-01-01")
    ask(db, "capture", account_id="a", key="part", amount=15)
    ask(db, "release", account_id="a", key="gone")
    ask(db, "refund", account_id="a", original_key="paid", amount=5, key="refund")
    ask(db, "spend", account_id="a", amount=30, key="spent")
    ask(db, "reverse_transaction", account_id="a", original_key="spent", amount=10, key="reversal")
    ask(db, "transfer", from_account_id="a", to_account_id="to", amount=7, key="moved")
    ask(db, "set_auto_top_up", account_id="a", threshold=60, amount=50)
    ask(db, "check_auto_top_up", account_id="a")
    assert in_order(db)
    return db


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (BALANCE + "held = 0 where account_id = 'a'", [(HELD, 6)]),
        (BALANCE + "held = 30 where account_id = 'a'", [(HELD, 6)]),
        (PENDING + "amount = -11 where key = 'open'", [(HELD, 6)]),
        (PENDING + "status = 'PENDING', settled_at = null where key = 'gone'", [(HELD, 6)]),
        (
            PENDING + "status = 'PENDING', settled_at = null where key = 'part'",
            [(HELD, 6), (ENABLED, 2)],
        ),
        (PENDING + "status = 'EXPIRED' where key = 'part'", [(ENABLED, 2), (EXPIRES, 2)]),
        (PENDING + "status = 'ENABLED' where key = 'gone'", [(ENABLED, None)]),
        (PENDING + "amount = -14 where key = 'part'", [(ANNOUNCED, 2)]),
        (PENDING + "amount = 20 where key = 'part'", [(ANNOUNCED, 2)]),
        (BALANCE + "low_below = 49 where account_id = 'a'", [(LOW, 6)]),
        (BALANCE + "low_below = null where account_id = 'a'", [(LOW, 6)]),
        (
            "update pgledger.accounts set low_balance_level = null where account_id = 'a'",
            [(LOW, 6)],
        ),
        (BALANCE + "top_up_below = 60 where account_id = 'a'", [(ARMED, 6)]),
        (BALANCE + "top_up_below = null where account_id = 'armed'", [(ARMED, 1)]),
        (BALANCE + "top_up_below = 6 where account_id = 'armed'", [(ARMED, 1)]),
        (AUTO + "threshold = 6 where account_id = 'armed'", [(ARMED, 1)]),
        (AUTO + "enabled = false where account_id = 'armed'", [(ARMED, 1)]),
        (
            AUTO + "resumes_at = '2100-01-01' where account_id = 'armed'",
            [(ARMED, 1), (ATTENTION, 1)],
        ),
        (
            AUTO + "waiting_for = '#auto-1' where account_id = 'armed'",
            [(ARMED, 1), (WAITS, None)],
        ),
        (AUTO + "waiting_for = null where account_id = 'a'", [(ARMED, 6)]),
        (AUTO + "waiting_for = '#auto-2' where account_id = 'a'", [(WAITS, None)]),
        (AUTO + "waiting_for = 'open' where account_id = 'a'", [(WAITS, None)]),
        (
            PENDING + "status = 'CANCELLED', settled_at = now() where key = '#auto-1'",
            [(SETTLED, None), (WAITS, None)],
        ),
        (
            PENDING + "type = 'GRANT' where key = '#auto-1'",
            [("a charge has its intent", None), (WAITS, None)],
        ),
        (
            (
                "insert into pgledger.auto_top_ups (account_id, threshold, amount, mode, enabled)"
                " values ('d', 1, 1, 'INTENT', true)"
            ),
            [("an auto-top-up has an account", None)],
        ),
        (BALANCE + "attention_at = 'infinity' where account_id = 'a'", [(ATTENTION, 6)]),
        (BALANCE + "attention_at = '2200-01-02' where account_id = 'a'", [(ATTENTION, 6)]),
        (BALANCE + "attention_at = '-infinity' where account_id = 'a'", [(ATTENTION, 6)]),
        (PENDING + "expires_at = '2100-01-01' where key = 'open'", [(ATTENTION, 6)]),
        (JOURNAL + "original_seq = 9 where key = 'reversal'", [(EARLIER, 5)]),
        (JOURNAL + "original_seq = 0 where key = 'reversal'", [(EARLIER, 5)]),
        (JOURNAL + "original_seq = 5 where key = 'reversal'", [(EARLIER, 5), (OPPOSITE, 5)]),
        (
            JOURNAL + "original_seq = 6 where key = 'reversal'",
            [(EARLIER, 5), (OPPOSITE, 5), (AT_MOST, 5)],
        ),
        (JOURNAL + "original_seq = 3 where key = 'reversal'", [(OPPOSITE, 5), (AT_MOST, 5)]),
        (JOURNAL + "original_seq = 1 where key = 'reversal'", [(OPPOSITE, 5)]),
        (
            JOURNAL + "original_seq = 2 where key in ('refund', 'spent')",
            [(OPPOSITE, 3), (OPPOSITE, 4), (AT_MOST, 4)],
        ),
        (JOURNAL + "type = 'REFUND' where key = 'reversal'", [(OPPOSITE, 5)]),
        (PENDING + "status = 'EXPIRED' where key = 'gone'", [(EXPIRES, None)]),
        (PENDING + "settled_at = '2200-01-02' where key = 'part'", [(EXPIRES, 2)]),
        (
            PENDING + "status = 'EXPIRED', settled_at = now() where key = '#auto-1'",
            [(EXPIRES, None), (SETTLED, None), (WAITS, None)],
        ),
        (AUTO + "intents = 0 where account_id = 'a'", [(COUNTED, None)]),
        ("update pgledger.accounts set events = 0 where account_id = 'a'", [(EVENTS, 6)]),
    ],
)
def test_a_planted_fault_is_named(
    busy: Ledger, fault: str, named: list[tuple[str, int | None]]
) -> None:
    plant(busy, fault)
    found = ask_all(busy, "verify")
    assert sorted((row["rule"], str(row["seq"])) for row in found) == sorted(
        (rule, str(seq)) for rule, seq in named
    )
    (account_id,) = {row["account_id"] for row in found}
    for row in found:
        assert row["expected"] is not None
        assert row["found"] is not None
    assert ask_all(busy, "verify", account_id=account_id) == found
    assert ask_all(busy, "verify", account_id="to") == []


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        ("counterparty = 'armed' where account_id = 'a' and key = 'moved'", ["a", "to"]),
        ("counterparty = 'nobody' where account_id = 'a' and key = 'moved'", ["a", "to"]),
        ("counterparty = null where account_id = 'a' and key = 'moved'", ["to"]),
        ("counterparty_seq = 2 where account_id = 'a' and key = 'moved'", ["a", "to"]),
        ("counterparty_seq = null where account_id = 'to' and key = 'moved'", ["a", "to"]),
        ("key = 'other' where account_id = 'to' and key = 'moved'", ["a", "to"]),
        ("key = null where account_id = 'to' and key = 'moved'", ["a", "to"]),
        ("amount = 8 where account_id = 'to' and key = 'moved'", ["a", "to"]),
        ("counterparty = 'to', counterparty_seq = 1 where key = 'spent'", ["a"]),
    ],
)
def test_legs_that_do_not_fit_are_named_on_either_side(
    busy: Ledger, fault: str, where: list[str]
) -> None:
    plant(busy, JOURNAL + fault)
    found = [row for row in ask_all(busy, "verify") if row["rule"] == LEGS]
    assert [row["account_id"] for row in found] == where
    for row in found:
        assert row["found"] is not None
        assert [row] == [
            again
            for again in ask_all(busy, "verify", account_id=row["account_id"])
            if again["rule"] == LEGS
        ]


def test_a_leg_that_was_lost_is_named_by_the_other(busy: Ledger) -> None:
    plant(busy, "delete from pgledger.transactions where account_id = 'to'")
    found = {row["account_id"]: row for row in ask_all(busy, "verify") if row["rule"] == LEGS}
    assert found.keys() == {"a"}
    assert (found["a"]["seq"], found["a"]["key"]) == (6, "moved")
    assert (found["a"]["expected"], found["a"]["found"]) == ("to #1 7", "none")


def test_attention_may_come_early(busy: Ledger) -> None:
    busy.execute(BALANCE + "attention_at = '2100-01-01'")
    assert in_order(busy)


def test_an_expired_hold_is_in_order_before_and_after_it_is_closed(busy: Ledger) -> None:
    let_expire(busy, "open")
    assert in_order(busy)
    ask(busy, "run_due")
    assert in_order(busy)


def test_what_was_undone_in_whole_is_in_order(busy: Ledger) -> None:
    for verb, original in (("refund", "paid"), ("reverse_transaction", "spent")):
        given = {"fail_insufficient_credits": False} if verb == "refund" else {}
        ask(busy, verb, account_id="a", original_key=original, **given)
    ask(busy, "top_up", account_id="a", amount=500)
    assert in_order(busy)
