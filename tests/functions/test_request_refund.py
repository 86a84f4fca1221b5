import uuid
from typing import Any

import pytest

from tests.refunds import available, decide, paid_top_up, request, the_request
from tests.support import HIGHEST, Ledger, ask, ask_all, events, everything, in_order, refused


@pytest.fixture
def bought(db: Ledger) -> Ledger:
    """An account a that bought 100 credits, for a payment that is known."""
    paid_top_up(db)
    return db


def acts(db: Ledger) -> list[dict[str, Any]]:
    return ask_all(db, "list_audit")


def test_a_request_waits_and_moves_nothing(bought: Ledger) -> None:
    row = request(bought, key="r", reason="not needed", actor="payer")
    assert (row["account_id"], row["key"], row["original_seq"], row["amount"]) == ("a", "r", 1, 100)
    assert (row["status"], row["reason"], row["requested_by"]) == ("PENDING", "not needed", "payer")
    unknown = ("decision", "decided_by", "decided_at", "seq", "money", "due_at", "result")
    assert [row[name] for name in unknown] == [None] * len(unknown)
    assert available(bought) == 100
    assert acts(bought) == []
    assert in_order(bought)


def test_a_part_may_be_asked_for_and_the_top_up_named_by_its_seq(bought: Ledger) -> None:
    assert request(bought, "#1", amount=30)["amount"] == 30


def test_without_an_amount_it_is_all_that_is_left(bought: Ledger) -> None:
    ask(bought, "refund", account_id="a", original_key="paid", amount=40)
    assert request(bought)["amount"] == 60


def test_without_a_key_it_gets_one_of_its_own(bought: Ledger) -> None:
    key = request(bought)["key"]
    assert key[0] == "#"
    assert uuid.UUID(key[1:])
    assert decide(bought, "approve", key)["key"] == key
    assert ask(bought, "get_transaction", account_id="a", key=key)["amount"] == -100
    assert in_order(bought)


def test_without_an_actor_the_role_that_is_logged_in_asked(bought: Ledger) -> None:
    (me,) = bought.execute("select session_user::text as me")
    assert request(bought)["requested_by"] == me["me"]


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_repeat_answers_with_the_request_as_it_is_now(bought: Ledger, verb: str) -> None:
    first = request(bought, amount=30, key="r", reason="why")
    before = everything(bought)
    assert request(bought, amount=30, key="r") == first
    assert request(bought, "#1", key="r", reason="other words", actor="other") == first
    assert everything(bought) == before
    decided = decide(bought, verb, "r")
    assert request(bought, amount=30, key="r", tolerance=HIGHEST) == decided


@pytest.mark.parametrize("given", [{"amount": 31}, {"original_key": "other"}])
def test_a_repeat_for_something_else_is_a_conflict(bought: Ledger, given: dict[str, Any]) -> None:
    ask(bought, "top_up", account_id="a", amount=100, key="other")
    asked = {"account_id": "a", "original_key": "paid", "amount": 30, "key": "r"}
    ask(bought, "request_refund", **asked)
    details = refused(bought, "LG002", "request_refund", **asked | given)
    assert details["recorded"] == {"original": "#1", "amount": 30, "status": "PENDING"}
    assert details["given"]["amount"] == given.get("amount", 30)


def test_a_repeat_with_an_unknown_top_up_is_a_conflict_too(bought: Ledger) -> None:
    request(bought, key="r")
    asked = {"account_id": "a", "original_key": "unknown", "key": "r"}
    assert refused(bought, "LG002", "request_refund", **asked)["given"]["original"] == "unknown"


def test_one_top_up_has_one_open_request(bought: Ledger) -> None:
    request(bought, amount=10, key="r")
    asked = {"account_id": "a", "original_key": "paid", "amount": 10, "key": "s"}
    details = refused(bought, "LG002", "request_refund", **asked)
    assert (details["original"], details["open"]) == ("#1", "r")
    ask(bought, "top_up", account_id="a", amount=10, key="other")
    assert request(bought, "other", key="o")["status"] == "PENDING"
    decide(bought, "approve", "r")
    assert ask(bought, "request_refund", **asked)["status"] == "PENDING"
    decide(bought, "reject", "s")
    assert request(bought, key="t")["amount"] == 90


def test_accounts_ask_under_keys_of_their_own(bought: Ledger) -> None:
    paid_top_up(bought, account_id="b", payment_id="pi_2", amount=50, key="theirs")
    request(bought, amount=30, key="r")
    row = request(bought, "theirs", key="r", account_id="b")
    assert (row["account_id"], row["amount"], row["status"]) == ("b", 50, "PENDING")
    # Their first movement is that of the request, but it is theirs.
    asked = {"account_id": "a", "original_key": "theirs", "key": "r"}
    refused(bought, "LG002", "request_refund", **asked)


@pytest.mark.parametrize("key", ["spent", "held", "paid"])
def test_a_key_that_is_taken_is_a_conflict(bought: Ledger, key: str) -> None:
    ask(bought, "spend", account_id="a", amount=1, key="spent")
    ask(bought, "hold", account_id="a", amount=1, key="held")
    asked = {"account_id": "a", "original_key": "paid", "key": key}
    assert refused(bought, "LG002", "request_refund", **asked)["recorded"]["key"] == key


def test_more_than_is_left_exceeds_the_original(bought: Ledger) -> None:
    ask(bought, "refund", account_id="a", original_key="paid", amount=40)
    asked = {"account_id": "a", "original_key": "paid", "amount": 61}
    details = refused(bought, "LG009", "request_refund", **asked)
    assert (details["original"], details["remaining"], details["requested"]) == ("#1", 60, 61)
    assert request(bought, amount=60)["status"] == "PENDING"


def test_of_what_is_refunded_whole_nothing_is_left(bought: Ledger) -> None:
    ask(bought, "refund", account_id="a", original_key="paid")
    details = refused(bought, "LG009", "request_refund", account_id="a", original_key="paid")
    assert (details["remaining"], details["requested"]) == (0, None)


def test_what_is_spent_can_be_asked_for(bought: Ledger) -> None:
    ask(bought, "spend", account_id="a", amount=100)
    assert request(bought)["amount"] == 100


def test_an_unknown_top_up_is_not_found(bought: Ledger) -> None:
    for account_id, key in (("a", "unknown"), ("a", "#99"), ("b", "paid")):
        details = refused(
            bought, "LG006", "request_refund", account_id=account_id, original_key=key
        )
        assert details["original_key"] == key


def test_an_announced_top_up_is_not_found(bought: Ledger) -> None:
    ask(bought, "top_up", account_id="a", amount=1, key="p", is_active=False)
    refused(bought, "LG006", "request_refund", account_id="a", original_key="p")


def test_only_a_top_up_is_refunded(bought: Ledger) -> None:
    ask(bought, "grant_credits", account_id="a", amount=10, key="gift")
    ask(bought, "add_transaction", account_id="a", amount=-1, type="TOP_UP", key="minus")
    for key in ("gift", "minus"):
        details = refused(bought, "22023", "request_refund", account_id="a", original_key=key)
        assert details["parameter"] == "original_key"


def test_a_closed_account_refuses(db: Ledger) -> None:
    paid_top_up(db)
    ask(db, "spend", account_id="a", amount=100)
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    details = refused(db, "LG004", "request_refund", account_id="a", original_key="paid")
    assert details["status"] == "CLOSED"


# Within tolerance of what is unspent


@pytest.mark.parametrize(
    ("spent", "tolerance", "amount", "status"),
    [
        (0, None, None, "PENDING"),
        (0, 0, None, "APPROVED"),
        (1, 0, None, "PENDING"),
        (1, 0, 99, "APPROVED"),
        (10, 10, None, "APPROVED"),
        (11, 10, None, "PENDING"),
        (100, 99, None, "PENDING"),
        (100, 100, None, "APPROVED"),
        (11, 10, 99, "APPROVED"),
        (100, HIGHEST, None, "APPROVED"),
    ],
)
def test_what_is_unspent_but_for_the_tolerance_is_approved_at_once(
    bought: Ledger, spent: int, tolerance: int | None, amount: int | None, status: str
) -> None:
    if spent:
        ask(bought, "spend", account_id="a", amount=spent)
    row = request(bought, key="r", amount=amount, tolerance=tolerance)
    assert row["status"] == status
    assert available(bought) == 100 - spent - (row["amount"] if status == "APPROVED" else 0)
    assert in_order(bought)


def test_what_is_approved_at_once_is_so_by_policy_and_logged(bought: Ledger) -> None:
    row = request(bought, key="r", reason="private words", tolerance=0, actor="payer")
    assert (row["decision"], row["decided_by"], row["seq"]) == ("policy", "payer", 2)
    assert (row["provider"], row["payment_id"]) == ("stripe", "pi_1")
    assert (row["money"], row["money_currency"]) == (1000, "usd")
    assert row["due_at"] is not None
    (act,) = acts(bought)
    assert (act["act"], act["actor"]) == ("request_refund", "payer")
    assert act["arguments"] == {"original_key": "paid", "amount": 100, "key": "r", "tolerance": 0}
    request(bought, key="r", tolerance=0)
    assert len(acts(bought)) == 1


def test_what_is_held_is_not_unspent(bought: Ledger) -> None:
    ask(bought, "hold", account_id="a", amount=1)
    assert request(bought, tolerance=0)["status"] == "PENDING"


def test_a_debt_counts_as_nothing_unspent(bought: Ledger) -> None:
    ask(bought, "set_limits", account_id="a", min_balance=-50)
    ask(bought, "spend", account_id="a", amount=150)
    assert request(bought, tolerance=100)["status"] == "APPROVED"


def test_of_a_lot_it_counts_what_remains_in_it(db: Ledger) -> None:
    paid_top_up(db, expires_at="2200-01-01")
    ask(db, "grant_credits", account_id="a", amount=500)
    ask(db, "spend", account_id="a", amount=30)
    assert request(db, key="r", tolerance=29)["status"] == "PENDING"
    decide(db, "reject", "r")
    assert request(db, key="s", tolerance=30)["status"] == "APPROVED"
    assert available(db) == 500 - 30
    assert in_order(db)


def test_of_a_lot_that_is_not_the_next_to_pay_as_well(db: Ledger) -> None:
    paid_top_up(db, expires_at="2200-01-01")
    ask(db, "spend", account_id="a", amount=30)
    ask(db, "grant_credits", account_id="a", amount=500, priority=-1)
    assert request(db, key="r", tolerance=29)["status"] == "PENDING"
    decide(db, "reject", "r")
    assert request(db, key="s", tolerance=30)["status"] == "APPROVED"


def test_of_a_lot_no_more_than_is_available(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-50)
    ask(db, "spend", account_id="a", amount=50)
    paid_top_up(db, expires_at="2200-01-01")
    assert request(db, tolerance=49)["status"] == "PENDING"


def test_what_is_in_its_lot_is_unspent_though_as_much_is_held_on_credit(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-50)
    ask(db, "hold", account_id="a", amount=50)
    paid_top_up(db, expires_at="2200-01-01")
    assert request(db, key="r", tolerance=0)["status"] == "APPROVED"
    assert available(db) == -50
    assert in_order(db)


def test_the_lot_of_another_account_is_another_matter(bought: Ledger) -> None:
    paid_top_up(bought, account_id="b", payment_id="pi_2", expires_at="2200-01-01")
    ask(bought, "spend", account_id="b", amount=90)
    # Another one pays next there, so that the row of the first says what remains in it.
    ask(bought, "grant_credits", account_id="b", amount=5, priority=-1)
    assert request(bought, tolerance=0)["status"] == "APPROVED"


@pytest.mark.parametrize("tolerance", [0, HIGHEST])
def test_on_a_frozen_account_a_person_decides(bought: Ledger, tolerance: int) -> None:
    ask(bought, "open_account", account_id="b")
    ask(bought, "set_account_status", account_id="a", status="FROZEN")
    assert request(bought, key="r", tolerance=tolerance)["status"] == "PENDING"
    assert decide(bought, "approve", "r")["status"] == "APPROVED"
    assert available(bought) == 0


@pytest.mark.parametrize(("status", "decided"), [("OPEN", "PENDING"), ("WON", "APPROVED")])
def test_of_a_disputed_payment_a_person_decides(bought: Ledger, status: str, decided: str) -> None:
    dispute = {"provider": "stripe", "dispute_id": "dp_1", "payment_id": "pi_1", "amount": 1000}
    ask(bought, "record_dispute", **dispute, status=status, policy="FLAG")
    assert request(bought, tolerance=0)["status"] == decided


@pytest.mark.parametrize(
    ("account_id", "key", "provider", "payment_id"),
    [
        ("b", "paid", "stripe", "pi_2"),
        ("a", "second", "stripe", "pi_2"),
        ("b", "paid", "other", "pi_1"),
    ],
)
def test_a_dispute_of_another_payment_is_another_matter(
    bought: Ledger, account_id: str, key: str, provider: str, payment_id: str
) -> None:
    paid_top_up(bought, key, account_id=account_id, provider=provider, payment_id=payment_id)
    dispute = {"provider": provider, "payment_id": payment_id, "dispute_id": "dp_1", "amount": 9}
    ask(bought, "record_dispute", **dispute, status="OPEN", policy="FLAG")
    assert request(bought, tolerance=0)["status"] == "APPROVED"


def test_a_second_part_is_approved_at_once_as_well(bought: Ledger) -> None:
    assert request(bought, key="r", amount=60, tolerance=0)["money"] == 600
    assert request(bought, key="s", amount=40, tolerance=0)["money"] == 400
    assert available(bought) == 0


def test_a_top_up_without_a_payment_is_approved_without_money(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100, key="paid")
    row = request(db, key="r", tolerance=0)
    assert row["status"] == "APPROVED"
    assert [row[name] for name in ("provider", "payment_id", "money", "due_at")] == [None] * 4
    assert in_order(db)


def test_what_expired_is_still_money_that_was_paid(db: Ledger) -> None:
    paid_top_up(db, expires_at="2200-01-01")
    db.execute("update pgledger.lots set expires_at = now() - interval '1 hour'")
    db.execute("update pgledger.balances set attention_at = now() - interval '1 hour'")
    row = request(db, key="r", tolerance=99)
    assert (row["amount"], row["status"]) == (100, "PENDING")


def test_no_event_is_told_of_a_request(bought: Ledger) -> None:
    request(bought, key="r")
    assert events(bought) == []
    assert the_request(bought)["status"] == "PENDING"
