"""verify: the intents of auto-top-ups and what is to be charged agree."""

import pytest

from tests.support import Ledger, ask, ask_all, in_order
from tests.top_ups import KEY, decline, owe


def rules(db: Ledger, account_id: str | None = None) -> list[tuple[str, str | None]]:
    return [(row["rule"], row["key"]) for row in ask_all(db, "verify", account_id=account_id)]


@pytest.mark.parametrize(
    ("mistake", "found"),
    [
        ("delete from pgledger.charges", ["an open intent has a charge"]),
        (
            "update pgledger.charges set due_at = null",
            ["an intent that is waited for is charged"],
        ),
        ("update pgledger.charges set claims = -1", ["claims and declines are counted"]),
        ("update pgledger.charges set declines = -1", ["claims and declines are counted"]),
        (
            "update pgledger.pending_transactions set type = 'GRANT'",
            ["a charge has its intent", "an auto-top-up waits for an open intent"],
        ),
        (
            "delete from pgledger.pending_transactions",
            [
                "a charge has its intent",
                "a settled intent is not charged",
                "an auto-top-up waits for an open intent",
            ],
        ),
    ],
)
def test_a_mistake_is_found(db: Ledger, mistake: str, found: list[str]) -> None:
    owe(db)
    assert in_order(db)
    db.execute(mistake.encode())
    theirs = [(rule, key) for rule, key in rules(db) if "pending" not in rule]
    assert theirs == [(rule, KEY) for rule in found]
    assert rules(db) == rules(db, "a")
    assert rules(db, "b") == []


def test_a_settled_intent_that_is_due_is_found(db: Ledger) -> None:
    owe(db)
    ask(db, "cancel_transaction", account_id="a", key=KEY)
    assert in_order(db)
    db.execute("delete from pgledger.charges")
    assert in_order(db)
    db.execute(
        "insert into pgledger.charges values"
        " ('a', '#auto-1', clock_timestamp(), 0, 0, null, clock_timestamp())"
    )
    assert rules(db) == [("a settled intent is not charged", KEY)]


def test_a_charge_of_an_account_that_is_not_there_is_found(db: Ledger) -> None:
    db.execute(
        "insert into pgledger.charges values ('x', '#auto-9', null, 0, 0, null, clock_timestamp())"
    )
    assert rules(db) == [("a charge has its intent", "#auto-9")]


def test_what_settings_wait_for_no_more_need_not_be_charged(db: Ledger) -> None:
    owe(db)
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=200, enabled=False)
    assert in_order(db)
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=200)
    ask(db, "spend", account_id="a", amount=1)
    decline(db, 0, key="#auto-2")
    assert in_order(db)
