"""Credits expire at their instant, whatever runs or does not run; what is posted says when."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support import (
    Ledger,
    ask,
    ask_all,
    day,
    events,
    everything,
    expiries,
    give,
    head,
    journal,
    left,
    let_pass,
    paid,
    pending,
    pool,
    posted,
    refused,
    unreckoned,
    value,
)


@pytest.fixture
def due(db: Ledger) -> Ledger:
    """An account with 10 in the pool, 20 in A and 30 in B, both gone since an hour, 40 in C."""
    give(db, "pool", 10)
    give(db, "A", 20, day(1))
    give(db, "B", 30, day(1.5))
    give(db, "C", 40, day(3))
    let_pass(db, "1.5 days 1 hour")
    return db


AN_HOUR_AGO = day(0) - timedelta(hours=1)
DUE_A = AN_HOUR_AGO - timedelta(days=0.5)


def instants(db: Ledger) -> list[datetime]:
    found = db.execute("select created_at from pgledger.transactions order by account_id, seq")
    return [row["created_at"] for row in found]


# Readers


def test_what_is_due_is_gone_before_anything_is_written(due: Ledger) -> None:
    before = everything(due)
    assert value(due, "get_credits", account_id="a") == 50
    row = ask(due, "get_balance", account_id="a")
    assert (row["balance"], row["held"], row["available"]) == (50, 0, 50)
    assert (row["next_expiry_amount"], row["next_expiry_at"]) == (
        40,
        day(1.5) - timedelta(hours=1),
    )
    assert value(due, "check_credits", account_id="a", required=50) is True
    assert value(due, "check_credits", account_id="a", required=51) is False
    assert left(due) == {"C": 40}
    refused(due, "LG001", "spend", account_id="a", amount=51)
    assert everything(due) == before
    assert unreckoned(due) == []


def test_readers_see_it_on_a_frozen_account_and_without_its_balance_row(due: Ledger) -> None:
    due.execute("update pgledger.accounts set status = 'FROZEN'")
    due.execute("update pgledger.balances set attention_at = '-infinity'")
    for _ in range(2):
        assert value(due, "get_credits", account_id="a") == 50
        assert ask(due, "get_balance", account_id="a")["available"] == 50
        assert left(due) == {"C": 40}
        due.execute("delete from pgledger.balances")
    assert value(due, "run_due") == 1
    assert journal(due)[4:] == [("EXPIRY", -20), ("EXPIRY", -30)]
    assert unreckoned(due) == []


# The first write


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("spend", {"amount": 1}),
        ("spend", {"amount": 50}),
        ("spend", {"amount": 51, "raise_refusals": False}),
        ("top_up", {"amount": 1}),
        ("top_up", {"amount": 1, "is_active": False}),
        ("grant_credits", {"amount": 1, "priority": -1}),
        ("hold", {"amount": 50}),
        ("refund", {"original_key": "#9", "raise_refusals": False}),
        ("reverse_transaction", {"original_key": "pool", "amount": 1}),
        ("revoke_lot", {"key": "C", "reason": "test"}),
        ("release", {"key": "nothing", "raise_refusals": False}),
        ("capture", {"key": "nothing", "raise_refusals": False}),
        ("set_limits", {"min_balance": -1}),
        ("set_account_status", {"status": "FROZEN"}),
        ("set_auto_top_up", {"threshold": 1, "amount": 5}),
        ("run_due", {}),
    ],
)
def test_the_first_write_posts_what_is_due_at_its_own_instants(
    due: Ledger, verb: str, given: dict[str, Any]
) -> None:
    ask_all(due, verb, **({} if verb == "run_due" else {"account_id": "a"}), **given)
    assert expiries(due) == [("A", 20, DUE_A), ("B", 30, AN_HOUR_AGO)]
    assert journal(due)[4:6] == [("EXPIRY", -20), ("EXPIRY", -30)]
    assert instants(due) == sorted(instants(due))
    assert unreckoned(due) == []


def test_an_expiry_is_a_transaction_like_others(due: Ledger) -> None:
    ask(due, "spend", account_id="a", amount=45, key="s")
    assert ask(due, "get_transaction", account_id="a", key="#5") == {
        "account_id": "a",
        "key": "#5",
        "seq": 5,
        "type": "EXPIRY",
        "amount": -20,
        "requested_amount": -20,
        "running_balance": 80,
        "status": "POSTED",
        "reference": None,
        "external_id": None,
        "metadata": {},
        "created_at": DUE_A,
        "expires_at": None,
        "original_seq": 2,
        "counterparty": None,
        "usage": None,
    }
    assert (paid(due, "#5"), paid(due, "#6")) == ([("A", 20)], [("B", 30)])
    assert paid(due, "s") == [("C", 40), (None, 5)]
    refused(due, "22023", "reverse_transaction", account_id="a", original_key="#5")
    assert [row["amount"] for row in ask_all(due, "history", account_id="a", type="EXPIRY")] == [
        -30,
        -20,
    ]
    stored = due.execute("select expired from pgledger.lots order by seq").fetchall()
    assert [row["expired"] for row in stored] == [20, 30, 0]


def test_what_is_due_is_posted_once(due: Ledger) -> None:
    assert value(due, "run_due") == 1
    for _ in range(2):
        assert value(due, "run_due") == 0
        ask(due, "spend", account_id="a", amount=1)
    assert len(expiries(due)) == 2
    (row,) = due.execute("select attention_at from pgledger.balances").fetchall()
    assert row["attention_at"] == day(1.5) - timedelta(hours=1)
    assert unreckoned(due) == []


def test_a_repeat_is_answered_with_the_balance_of_now(due: Ledger) -> None:
    row = ask(due, "grant_credits", account_id="a", amount=10, key="pool")
    assert (row["replayed"], row["running_balance"], row["balance"]) == (True, 10, 50)
    assert unreckoned(due) == []


def test_a_transfer_posts_what_is_due_on_both_sides(due: Ledger) -> None:
    give(due, "A", 20, day(1), account_id="to")
    let_pass(due, "1 day")
    ask(due, "transfer", from_account_id="a", to_account_id="to", amount=50, key="t")
    assert (journal(due, "to"), pool(due, "to")) == (
        [("GRANT", 20), ("EXPIRY", -20), ("TRANSFER", 50)],
        50,
    )
    assert len(expiries(due)) == 2
    assert unreckoned(due) == []


# In what order


def test_two_lots_that_expire_together_are_two_transactions_of_one_instant(db: Ledger) -> None:
    for key, amount in (("A", 1), ("B", 2), ("C", 4)):
        give(db, key, amount, day(1), priority=-amount)
    let_pass(db, "1 day")
    assert give(db, "new", 8)["balance"] == 8
    assert expiries(db) == [(key, n, day(0)) for key, n in (("A", 1), ("B", 2), ("C", 4))]
    assert unreckoned(db) == []


def test_what_is_due_is_posted_in_the_order_of_its_instants(db: Ledger) -> None:
    for key, days in (("A", 5), ("B", 1), ("C", 3), ("D", 4), ("E", 2), ("F", 9)):
        give(db, key, 10, day(days), priority=-int(days))
    ask(db, "hold", account_id="a", amount=1, key="h", expires_at=day(2.5))
    ask(db, "spend", account_id="a", amount=10)
    let_pass(db, "4 days")
    # F paid 9 and A 1; the hold gives 1 back to F.
    assert value(db, "get_credits", account_id="a") == 10
    assert ask(db, "spend", account_id="a", amount=2, key="s")["balance"] == 8
    assert paid(db, "s") == [("F", 1), ("A", 1)]
    assert expiries(db) == [
        (key, 10, day(-n)) for key, n in (("B", 3), ("E", 2), ("C", 1), ("D", 0))
    ]
    assert instants(db) == sorted(instants(db))
    assert unreckoned(db) == []


def test_hundreds_of_lots_expire_before_one_write(db: Ledger) -> None:
    give(db, "pool", 10)
    db.execute(
        "select count(pgledger.grant_credits('a', 1, expires_at =>"
        " %s + n %% 100 * interval '1 minute')) from generate_series(1, 300) n",
        [day(1)],
    )
    let_pass(db, "2 days")
    assert value(db, "get_credits", account_id="a") == 10
    assert ask(db, "spend", account_id="a", amount=10)["balance"] == 0
    while value(db, "run_due"):
        pass
    found = expiries(db)
    assert (len(found), value(db, "get_credits", account_id="a")) == (300, 0)
    listed = {row["key"]: row["expires_at"] for row in ask_all(db, "lots", account_id="a")}
    assert all(at == listed[key] for key, _, at in found)
    assert instants(db) == sorted(instants(db))
    assert unreckoned(db) == []


# What it leaves


def test_only_what_is_left_of_a_lot_expires(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    give(db, "B", 10, day(1))
    give(db, "pool", 10)
    ask(db, "spend", account_id="a", amount=14)
    let_pass(db, "1 day")
    ask(db, "run_due")
    assert expiries(db) == [("B", 6, day(0))]
    assert (head(db)[0], pool(db)) == (None, 10)
    assert unreckoned(db) == []


def test_the_last_credit_of_a_lot_is_seen_to_expire(db: Ledger) -> None:
    give(db, "A", 10, day(3))
    ask(db, "spend", account_id="a", amount=9)
    # What is due is looked for anew when 1 is left.
    ask(db, "hold", account_id="a", amount=1, expires_at=day(1))
    let_pass(db, "1 day")
    ask(db, "run_due")
    let_pass(db, "2 days")
    assert value(db, "get_credits", account_id="a") == 0
    refused(db, "LG001", "spend", account_id="a", amount=1)
    ask(db, "run_due")
    assert expiries(db) == [("A", 1, day(0))]
    assert unreckoned(db) == []


def test_a_lot_that_was_used_up_has_nothing_to_post(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    ask(db, "spend", account_id="a", amount=10)
    let_pass(db, "1 day")
    ask(db, "run_due")
    assert ask(db, "get_balance", account_id="a")["next_expiry_at"] is None
    assert give(db, "B", 1)["balance"] == 1
    assert journal(db) == [("GRANT", 10), ("USAGE", -10), ("GRANT", 1)]
    assert unreckoned(db) == []


def test_an_expiry_may_leave_a_debt(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    ask(db, "spend", account_id="a", amount=10, key="s")
    given = {"account_id": "a", "type": "ADJUSTMENT", "fail_insufficient_credits": False}
    ask(db, "add_transaction", **given, amount=-4)
    ask(db, "reverse_transaction", account_id="a", original_key="s")
    assert (pool(db), left(db), value(db, "get_credits", account_id="a")) == (-4, {"A": 10}, 6)
    refused(db, "LG001", "spend", account_id="a", amount=7)
    ask(db, "spend", account_id="a", amount=1)
    let_pass(db, "1 day")
    assert value(db, "get_credits", account_id="a") == -4
    assert value(db, "run_due") == 1
    assert ask(db, "get_balance", account_id="a")["balance"] == -4
    assert unreckoned(db) == []


def test_an_expiry_tells_of_a_low_balance_and_leaves_the_top_up_to_the_next_debit(
    db: Ledger,
) -> None:
    give(db, "pool", 10)
    give(db, "A", 100, day(1))
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=200)
    ask(db, "set_low_balance_level", account_id="a", level=50)
    let_pass(db, "1 day")
    ask(db, "run_due")
    assert (len(expiries(db)), pending(db)) == (1, {})
    assert [kind for kind, _ in events(db)] == ["low_balance"]
    ask(db, "spend", account_id="a", amount=1, reference="chat")
    assert [kind for kind, _ in events(db)] == ["low_balance", "top_up_requested"]
    assert pending(db) == {"#auto-1": "PENDING"}
    assert unreckoned(db) == []


def test_a_refusal_that_is_raised_posts_nothing_and_one_in_a_row_does(due: Ledger) -> None:
    details = refused(due, "LG001", "spend", account_id="a", amount=60)
    assert (details["balance"], details["available"], details["missing"]) == (50, 50, 10)
    assert expiries(due) == []
    row = ask(due, "spend", account_id="a", amount=60, raise_refusals=False)
    assert (row["refusal"], row["balance"], len(expiries(due))) == ("LG001", 50, 2)
    assert unreckoned(due) == []


# Other accounts


def test_run_due_posts_what_is_due_across_accounts(db: Ledger) -> None:
    for account_id in "abcde":
        give(db, "A", 10, day(1), account_id=account_id)
        give(db, "B", 10, day(1 + "abcde".index(account_id)), account_id=account_id)
    ask(db, "set_account_status", account_id="b", status="FROZEN")
    let_pass(db, "2 days")
    assert value(db, "run_due", limit_count=3) == 3
    assert value(db, "run_due") == 2
    assert value(db, "run_due") == 0
    assert [sum(posted(db, account_id)) for account_id in "abcde"] == [0, 0, 10, 10, 10]
    assert unreckoned(db) == []


def test_an_account_whose_credits_are_in_lots_is_not_closed(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    ask(db, "spend", account_id="a", amount=10, key="s")
    given = {"account_id": "a", "type": "ADJUSTMENT", "fail_insufficient_credits": False}
    ask(db, "add_transaction", **given, amount=-4)
    ask(db, "reverse_transaction", account_id="a", original_key="s", amount=4)
    assert ask(db, "get_balance", account_id="a")["balance"] == 0
    # What is in the lot would expire, and leave a closed account with a debt.
    refused(db, "55000", "set_account_status", account_id="a", status="CLOSED")
    let_pass(db, "1 day")
    refused(db, "55000", "set_account_status", account_id="a", status="CLOSED")
    ask(db, "top_up", account_id="a", amount=4)
    assert ask(db, "set_account_status", account_id="a", status="CLOSED")["status"] == "CLOSED"
    assert unreckoned(db) == []
