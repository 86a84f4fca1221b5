import pytest

from tests.refunds import (
    approved,
    available,
    decide,
    paid_top_up,
    refunded_money,
    request,
    the_request,
)
from tests.support import Ledger, ask, ask_all, everything, in_order, journal, refused


@pytest.fixture
def asked(db: Ledger) -> Ledger:
    """An account a that bought 100 credits for 1000 cents, and asks for the money under r."""
    paid_top_up(db)
    request(db, key="r", reason="not needed")
    return db


def test_an_approval_takes_the_credits_under_the_key_of_the_request(asked: Ledger) -> None:
    row = decide(asked, "approve", "r", reason="fair", actor="ada")
    assert (row["status"], row["decision"], row["decided_by"]) == ("APPROVED", "fair", "ada")
    refund = ask(asked, "get_transaction", account_id="a", key="r")
    assert (refund["seq"], refund["type"], refund["amount"]) == (row["seq"], "REFUND", -100)
    assert (refund["original_seq"], refund["created_at"]) == (1, row["decided_at"])
    assert (row["provider"], row["payment_id"]) == ("stripe", "pi_1")
    assert (row["money"], row["money_currency"]) == (1000, "usd")
    assert (row["due_at"], row["claims"], row["result"]) == (row["decided_at"], 0, None)
    assert available(asked) == 0
    assert in_order(asked)


def test_an_approval_is_in_the_audit_log(asked: Ledger) -> None:
    decide(asked, "approve", "r", reason="fair", actor="ada")
    decide(asked, "approve", "r", actor="bob")
    (act,) = ask_all(asked, "list_audit")
    assert (act["account_id"], act["act"], act["actor"]) == ("a", "approve_refund", "ada")
    assert act["arguments"] == {"key": "r", "reason": "fair"}


def test_a_repeat_changes_nothing(asked: Ledger) -> None:
    first = decide(asked, "approve", "r", reason="fair")
    before = everything(asked)
    assert decide(asked, "approve", "r", reason="otherwise") == first
    assert everything(asked) == before


def test_what_is_rejected_cannot_be_approved(asked: Ledger) -> None:
    decide(asked, "reject", "r")
    details = refused(asked, "LG007", "approve_refund", account_id="a", key="r")
    assert (details["key"], details["status"]) == ("r", "REJECTED")


def test_an_unknown_request_is_not_found(asked: Ledger) -> None:
    for account_id, key in (("a", "unknown"), ("b", "r"), ("a", "paid")):
        details = refused(asked, "LG006", "approve_refund", account_id=account_id, key=key)
        assert (details["account_id"], details["key"]) == (account_id, key)


def test_credits_that_are_spent_become_a_debt(asked: Ledger) -> None:
    ask(asked, "spend", account_id="a", amount=70)
    assert decide(asked, "approve", "r")["status"] == "APPROVED"
    assert available(asked) == -70
    assert in_order(asked)


def test_a_frozen_account_is_no_obstacle(asked: Ledger) -> None:
    ask(asked, "set_account_status", account_id="a", status="FROZEN")
    assert decide(asked, "approve", "r")["status"] == "APPROVED"


def test_a_closed_account_is(asked: Ledger) -> None:
    ask(asked, "spend", account_id="a", amount=100)
    ask(asked, "set_account_status", account_id="a", status="CLOSED")
    refused(asked, "LG004", "approve_refund", account_id="a", key="r")
    assert decide(asked, "reject", "r")["status"] == "REJECTED"


def test_what_was_refunded_meanwhile_is_not_taken_again(asked: Ledger) -> None:
    ask(asked, "refund", account_id="a", original_key="paid", amount=1)
    details = refused(asked, "LG009", "approve_refund", account_id="a", key="r")
    assert (details["remaining"], details["requested"]) == (99, 100)
    assert the_request(asked)["status"] == "PENDING"


def test_what_was_posted_under_its_key_meanwhile_is_a_conflict(asked: Ledger) -> None:
    # The very refund it asks for, by hand: its money may have been given back by hand, too.
    ask(asked, "refund", account_id="a", original_key="paid", key="r", amount=100)
    details = refused(asked, "LG002", "approve_refund", account_id="a", key="r")
    assert details["recorded"]["type"] == "REFUND"
    assert decide(asked, "reject", "r")["status"] == "REJECTED"


def test_what_was_announced_under_its_key_meanwhile_is_a_conflict(asked: Ledger) -> None:
    ask(asked, "hold", account_id="a", amount=1, key="r")
    refused(asked, "LG002", "approve_refund", account_id="a", key="r")


def test_it_takes_from_the_lot_of_the_top_up(db: Ledger) -> None:
    paid_top_up(db, expires_at="2200-01-01")
    ask(db, "grant_credits", account_id="a", amount=50, expires_at="2100-01-01", key="gift")
    approved(db, amount=40)
    assert {lot["key"]: lot["remaining"] for lot in ask_all(db, "lots", account_id="a")} == {
        "gift": 50,
        "paid": 60,
    }
    assert in_order(db)


def test_a_top_up_without_a_payment_has_no_money_to_give_back(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100, key="paid")
    row = approved(db)
    assert [row[name] for name in ("provider", "payment_id", "money", "due_at", "result")] == (
        [None] * 5
    )


def test_nor_has_one_whose_seq_is_that_of_another_accounts_payment(asked: Ledger) -> None:
    ask(asked, "top_up", account_id="b", amount=100, key="paid")
    request(asked, key="r", account_id="b")
    row = decide(asked, "approve", "r", account_id="b")
    assert (row["account_id"], row["payment_id"], row["due_at"]) == ("b", None, None)
    # The same key, and still open.
    assert ask_all(asked, "list_refund_requests", account_id="a")[0]["status"] == "PENDING"


def test_what_is_due_is_posted_before_it_is_taken(db: Ledger) -> None:
    paid_top_up(db, expires_at="2200-01-01")
    request(db, key="r")
    db.execute("update pgledger.lots set expires_at = now() - interval '1 hour'")
    db.execute("update pgledger.balances set attention_at = now() - interval '1 hour'")
    assert decide(db, "approve", "r")["status"] == "APPROVED"
    assert journal(db) == [("TOP_UP", 100), ("EXPIRY", -100), ("REFUND", -100)]


def test_nor_has_a_payment_of_an_unknown_sum(asked: Ledger) -> None:
    asked.execute("update pgledger.payments set paid = null")
    row = decide(asked, "approve", "r")
    assert [row[name] for name in ("provider", "payment_id", "money", "due_at")] == [None] * 4


def test_the_money_is_that_of_the_very_top_up(db: Ledger) -> None:
    paid_top_up(db)
    paid_top_up(db, "second", 50, paid=333, payment_id="pi_2")
    paid_top_up(db, "paid", account_id="b", payment_id="pi_3", paid=7)
    row = approved(db, "r", original_key="second")
    assert (row["payment_id"], row["money"]) == ("pi_2", 333)


@pytest.mark.parametrize(
    ("amount", "paid", "parts", "money"),
    [
        (3, 10, [1, 1, 1], [3, 3, 4]),
        (3, 10, [2, 1], [6, 4]),
        (1000, 1, [999, 1], [0, 1]),
        (2**63 - 1, 2**63 - 1, [2**62, 2**62 - 1], [2**62, 2**62 - 1]),
        (7, 5, [3, 2, 2], [2, 1, 2]),
    ],
)
def test_parts_are_rounded_down_and_make_the_whole(
    db: Ledger, amount: int, paid: int, parts: list[int], money: list[int]
) -> None:
    paid_top_up(db, amount=amount, paid=paid)
    for number, (part, expected) in enumerate(zip(parts, money, strict=True)):
        row = approved(db, f"r{number}", amount=part)
        assert (row["amount"], row["money"]) == (part, expected)
        assert row["result"] == (None if expected else "nothing to give back")
        assert (row["due_at"] is None) is (expected == 0)
    assert in_order(db)


def test_money_that_went_back_already_is_not_given_back_again(db: Ledger) -> None:
    paid_top_up(db, amount=3, paid=10)
    # The provider's own screen: half of the money, which takes one of three credits.
    refunded_money(db, "re_1", 5, "SUCCEEDED")
    assert available(db) == 2
    row = approved(db)
    assert (row["amount"], row["money"]) == (2, 5)


@pytest.mark.parametrize("told", [None, "PENDING", "SUCCEEDED"])
def test_money_that_is_about_to_go_back_counts_as_gone_once(db: Ledger, told: str | None) -> None:
    # So few credits are left that only what is left of the money holds the second one back.
    paid_top_up(db, amount=3, paid=10)
    approved(db, "r", amount=1)
    db.execute("update pgledger.refund_requests set money = 8")
    if told:
        # What the provider says of it takes the place of what was promised.
        refunded_money(db, "re_1", 8, told, request_key="r")
    assert approved(db, "s", amount=2)["money"] == 2


def test_a_lost_dispute_leaves_no_money_to_give_back(asked: Ledger) -> None:
    dispute = {"provider": "stripe", "dispute_id": "dp_1", "payment_id": "pi_1", "amount": 600}
    ask(asked, "record_dispute", **dispute, status="LOST")
    refused(asked, "LG009", "approve_refund", account_id="a", key="r")
    decide(asked, "reject", "r")
    assert approved(asked, "s")["money"] == 400
    assert journal(asked) == [("TOP_UP", 100), ("REFUND", -60), ("REFUND", -40)]


def test_the_refund_that_the_provider_makes_takes_nothing_more(asked: Ledger) -> None:
    decide(asked, "approve", "r")
    for status in ("PENDING", "SUCCEEDED"):
        refunded_money(asked, "re_1", 1000, status, request_key="r")
        row = the_request(asked)
        assert (row["return_id"], row["result"], row["due_at"]) == ("re_1", status, None)
    assert journal(asked) == [("TOP_UP", 100), ("REFUND", -100)]
    assert in_order(asked)


def test_a_refund_that_failed_at_the_provider_gives_the_credits_back(asked: Ledger) -> None:
    decide(asked, "approve", "r")
    refunded_money(asked, "re_1", 1000, "FAILED", request_key="r")
    row = the_request(asked)
    assert (row["status"], row["result"], row["due_at"]) == ("APPROVED", "FAILED", None)
    assert available(asked) == 100
    again = approved(asked, "again")
    assert (again["amount"], again["money"]) == (100, 1000)
    assert in_order(asked)


def test_of_two_refunds_for_one_request_the_first_is_its_own(asked: Ledger) -> None:
    decide(asked, "approve", "r")
    refunded_money(asked, "re_1", 500, "SUCCEEDED", request_key="r")
    refunded_money(asked, "re_2", 500, "PENDING", request_key="r")
    assert (the_request(asked)["return_id"], the_request(asked)["result"]) == ("re_1", "SUCCEEDED")


def test_a_refund_for_no_request_or_an_open_one_changes_none(asked: Ledger) -> None:
    refunded_money(asked, "re_1", 10, "SUCCEEDED", request_key="r")
    refunded_money(asked, "re_2", 10, "SUCCEEDED", request_key="unknown")
    row = the_request(asked)
    assert (row["status"], row["return_id"], row["result"]) == ("PENDING", None, None)
    assert in_order(asked)


@pytest.mark.parametrize("amount", [50, 40])
def test_a_refund_that_the_provider_made_before_the_approval_is_the_one(
    db: Ledger, amount: int
) -> None:
    paid_top_up(db)
    request(db, key="r", amount=amount)
    refunded_money(db, "re_1", 500, "SUCCEEDED", request_key="r")
    row = decide(db, "approve", "r")
    assert (row["return_id"], row["result"], row["due_at"]) == ("re_1", "SUCCEEDED", None)
    assert ask_all(db, "claim_refunds") == []
    assert available(db) == 100 - amount
    before = everything(db)
    refunded_money(db, "re_1", 500, "SUCCEEDED", request_key="r")
    assert everything(db) == before
    assert in_order(db)


def test_what_was_refunded_under_the_key_of_another_request_is_not_its_own(db: Ledger) -> None:
    paid_top_up(db)
    request(db, key="r", amount=50)
    refunded_money(db, "re_1", 500, "SUCCEEDED", request_key="s")
    row = decide(db, "approve", "r")
    assert (row["return_id"], row["due_at"]) == (None, row["decided_at"])
    assert available(db) == 0


def test_a_refund_of_another_payment_is_not_that_of_the_request(asked: Ledger) -> None:
    paid_top_up(asked, "second", payment_id="pi_2")
    decide(asked, "approve", "r")
    given = {"provider": "stripe", "refund_id": "re_9", "payment_id": "pi_2", "amount": 10}
    ask(asked, "record_payment_refund", **given, status="SUCCEEDED", request_key="r")
    assert the_request(asked)["return_id"] is None


def test_a_refund_of_another_payment_that_was_told_before_is_not_either(asked: Ledger) -> None:
    paid_top_up(asked, "second", payment_id="pi_2")
    given = {"provider": "stripe", "refund_id": "re_9", "payment_id": "pi_2", "amount": 10}
    ask(asked, "record_payment_refund", **given, status="SUCCEEDED", request_key="r")
    row = decide(asked, "approve", "r")
    assert (row["return_id"], row["due_at"]) == (None, row["decided_at"])


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        ("set seq = 1", "an approved refund request has its refund, any other has none"),
        ("set seq = null", "an approved refund request has its refund, any other has none"),
        ("set amount = 99", "an approved refund request has its refund, any other has none"),
        ("set key = 'other'", "an approved refund request has its refund, any other has none"),
        ("set original_seq = 3", "an approved refund request has its refund, any other has none"),
        (
            "set status = 'REJECTED'",
            "an approved refund request has its refund, any other has none",
        ),
        ("set original_seq = 2", "a refund request is of a top-up"),
        ("set original_seq = 99", "a refund request is of a top-up"),
        ("set amount = 101", "a refund request is of a top-up"),
    ],
)
def test_verify_compares_requests_with_the_journal(asked: Ledger, damage: str, rule: str) -> None:
    decide(asked, "approve", "r")
    ask(asked, "top_up", account_id="a", amount=100)
    assert in_order(asked)
    asked.execute(f"update pgledger.refund_requests {damage}".encode())
    found = ask_all(asked, "verify")
    assert rule in {row["rule"] for row in found}
    assert ask_all(asked, "verify", account_id="a") == found


def test_verify_finds_requests_of_an_account_that_is_not_there(db: Ledger) -> None:
    db.execute(
        "insert into pgledger.refund_requests"
        " (account_id, key, original_seq, amount, requested_by, created_at)"
        " values ('nobody', 'r', 1, 5, 'x', now())"
    )
    assert [row["rule"] for row in ask_all(db, "verify")] == ["a refund request is of a top-up"]
