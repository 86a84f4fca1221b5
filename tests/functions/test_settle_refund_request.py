from typing import Any

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
def promised(db: Ledger) -> Ledger:
    """An account a whose refund of 40 credits, 400 cents, is approved under r."""
    paid_top_up(db)
    approved(db, amount=40)
    return db


def settle(db: Ledger, **given: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a case gives
    return ask(db, "settle_refund_request", **{"account_id": "a", "key": "r"} | given)


def test_money_on_its_way_is_nobodys_task_any_more(promised: Ledger) -> None:
    row = settle(promised, return_id="re_1", result="pending")
    assert (row["return_id"], row["result"], row["due_at"]) == ("re_1", "pending", None)
    assert ask_all(promised, "claim_refunds") == []
    assert available(promised) == 60
    assert in_order(promised)


def test_money_that_was_given_back_by_hand_is_noted(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100, key="paid")
    approved(db)
    assert settle(db, return_id="wire 17")["return_id"] == "wire 17"
    assert settle(db, return_id="wire 17", result="again")["result"] is None
    assert available(db) == 0


def test_what_the_provider_refuses_gives_the_credits_back(promised: Ledger) -> None:
    row = settle(promised, result="charge_already_refunded")
    assert (row["status"], row["result"]) == ("APPROVED", "charge_already_refunded")
    assert (row["return_id"], row["due_at"]) == (None, None)
    assert journal(promised) == [("TOP_UP", 100), ("REFUND", -40), ("REVERSAL", 40)]
    assert ask_all(promised, "claim_refunds") == []
    again = approved(promised, "again")
    assert (again["amount"], again["money"]) == (100, 1000)
    assert in_order(promised)


@pytest.mark.parametrize("money", [0, 100])
def test_what_went_back_already_does_not_go_back_again(db: Ledger, money: int) -> None:
    paid_top_up(db)
    request(db, key="r", amount=40)
    # A refund of the request that had failed before anybody approved it.
    refunded_money(db, "re_1", 300, "FAILED", request_key="r")
    decide(db, "approve", "r")
    refunded_money(db, "re_2", money, "PENDING")
    assert journal(db)[1:] == [("REFUND", -40), ("REVERSAL", 40 - money // 10)]
    settle(db, result="no")
    assert available(db) == 100 - money // 10
    assert in_order(db)


def test_they_go_back_to_their_lot(db: Ledger) -> None:
    paid_top_up(db, expires_at="2200-01-01")
    ask(db, "spend", account_id="a", amount=10)
    approved(db, amount=40)
    settle(db, result="no")
    (lot,) = ask_all(db, "lots", account_id="a")
    assert lot["remaining"] == 90
    assert in_order(db)


@pytest.mark.parametrize("given", [{"result": "no"}, {"return_id": "re_1", "result": "sent"}])
def test_a_repeat_changes_nothing(promised: Ledger, given: dict[str, str]) -> None:
    first = settle(promised, **given)
    before = everything(promised)
    assert settle(promised, **given) == first
    assert settle(promised, **given | {"result": "other"}) == first
    assert everything(promised) == before


def test_a_refusal_after_the_refund_was_made_changes_nothing(promised: Ledger) -> None:
    first = settle(promised, return_id="re_1", result="sent")
    assert settle(promised, result="no") == first
    assert available(promised) == 60


def test_a_refund_that_was_made_after_the_refusal_is_noted(promised: Ledger) -> None:
    settle(promised, result="no")
    assert settle(promised, return_id="re_1", result="sent")["return_id"] == "re_1"
    # It is the provider's word that takes the credits again.
    assert available(promised) == 100
    refunded_money(promised, "re_1", 400, "SUCCEEDED", request_key="r")
    assert available(promised) == 60
    assert in_order(promised)


def test_accounts_use_keys_of_their_own(promised: Ledger) -> None:
    paid_top_up(promised, account_id="b", payment_id="pi_2")
    request(promised, key="r", account_id="b")
    decide(promised, "approve", "r", account_id="b")
    assert settle(promised, account_id="b", result="no")["account_id"] == "b"
    assert (available(promised), available(promised, "b")) == (60, 100)


def test_what_became_of_it_may_be_long(promised: Ledger) -> None:
    assert settle(promised, result="x" * 1000)["result"] == "x" * 1000


def test_another_refund_for_the_same_request_is_a_conflict(promised: Ledger) -> None:
    settle(promised, return_id="re_1", result="sent")
    asked = {"account_id": "a", "key": "r", "return_id": "re_2"}
    details = refused(promised, "LG002", "settle_refund_request", **asked)
    assert (details["recorded"], details["given"]) == ("re_1", "re_2")


def test_what_the_provider_told_meanwhile_stays(promised: Ledger) -> None:
    refunded_money(promised, "re_1", 400, "SUCCEEDED", request_key="r")
    assert settle(promised, return_id="re_1", result="PENDING")["result"] == "SUCCEEDED"


def test_what_the_provider_tells_later_takes_its_place(promised: Ledger) -> None:
    settle(promised, return_id="re_1", result="sent")
    refunded_money(promised, "re_1", 400, "FAILED", request_key="r")
    assert the_request(promised)["result"] == "FAILED"
    assert available(promised) == 100


def test_a_refund_that_was_made_after_all_takes_the_credits_again(promised: Ledger) -> None:
    settle(promised, result="no")
    refunded_money(promised, "re_1", 400, "SUCCEEDED", request_key="r")
    row = the_request(promised)
    assert (row["return_id"], row["result"]) == ("re_1", "SUCCEEDED")
    assert available(promised) == 60
    assert in_order(promised)


def test_money_that_left_another_way_keeps_the_credits(promised: Ledger) -> None:
    # Somebody gives all of it back on the provider's own screen before the worker does.
    refunded_money(promised, "re_9", 1000, "SUCCEEDED")
    assert available(promised) == 0
    settle(promised, result="charge_already_refunded")
    assert available(promised) == 0
    assert in_order(promised)


def test_the_payments_of_another_provider_are_another_matter(promised: Ledger) -> None:
    paid_top_up(promised, account_id="b", provider="another")
    # What is told of that one next takes them, not what is told of this one.
    promised.execute("update pgledger.payments set refunded = 1000 where provider = 'another'")
    settle(promised, result="no")
    assert (available(promised), available(promised, "b")) == (100, 100)


def test_a_frozen_account_is_no_obstacle(promised: Ledger) -> None:
    ask(promised, "set_account_status", account_id="a", status="FROZEN")
    settle(promised, result="no")
    assert available(promised) == 100


def test_nothing_goes_back_to_a_closed_account(promised: Ledger) -> None:
    ask(promised, "open_account", account_id="b")
    ask(promised, "spend", account_id="a", amount=60)
    ask(promised, "set_account_status", account_id="a", status="CLOSED")
    assert settle(promised, result="no")["result"] == "no"
    assert available(promised) == 0
    assert in_order(promised)


@pytest.mark.parametrize("verb", [None, "reject"])
def test_what_is_not_approved_is_not_settled(db: Ledger, verb: str | None) -> None:
    paid_top_up(db)
    request(db, key="r")
    if verb:
        decide(db, verb, "r")
    asked = {"account_id": "a", "key": "r", "return_id": "re_1"}
    details = refused(db, "LG007", "settle_refund_request", **asked)
    assert details["status"] == ("REJECTED" if verb else "PENDING")


def test_an_unknown_request_is_not_found(promised: Ledger) -> None:
    asked = {"account_id": "a", "key": "x", "return_id": "re_1"}
    refused(promised, "LG006", "settle_refund_request", **asked)


def test_without_a_refund_it_must_say_why(promised: Ledger) -> None:
    assert refused(promised, "22004", "settle_refund_request", account_id="a", key="r")


def test_what_the_provider_tells_without_the_request_is_taken_once(promised: Ledger) -> None:
    settle(promised, return_id="re_1", result="made by hand")
    refunded_money(promised, "re_1", 400, "SUCCEEDED")
    assert available(promised) == 60
    assert the_request(promised)["result"] == "SUCCEEDED"
    # Another one is another one's.
    refunded_money(promised, "re_2", 100, "SUCCEEDED")
    assert available(promised) == 50
    refunded_money(promised, "re_1", 400, "FAILED")
    assert available(promised) == 90
    assert in_order(promised)


def test_what_the_provider_told_before_is_given_back(promised: Ledger) -> None:
    refunded_money(promised, "re_1", 400, "SUCCEEDED")
    assert available(promised) == 20
    settle(promised, return_id="re_1", result="made by hand")
    assert available(promised) == 60
    assert in_order(promised)


def test_of_two_requests_for_one_payment_each_has_its_own(promised: Ledger) -> None:
    approved(promised, "s", amount=10)
    settle(promised, return_id="re_1", result="made by hand")
    refunded_money(promised, "re_1", 400, "SUCCEEDED")
    refunded_money(promised, "re_2", 100, "SUCCEEDED", request_key="s")
    taken = promised.execute("select refund_seqs from pgledger.payment_returns order by return_id")
    assert [row["refund_seqs"] for row in taken] == [[2], [3]]
    assert available(promised) == 50
    # Whatever else names the request: its money is that of the first.
    refunded_money(promised, "re_3", 100, "SUCCEEDED", request_key="r")
    assert the_request(promised)["return_id"] == "re_1"
    assert in_order(promised)
