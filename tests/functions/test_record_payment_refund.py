"""Refunds that the provider tells of, whatever else is known of their payment."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.returns import balance, dispute, pay, refund, returns, takes, told
from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    day,
    everything,
    give,
    in_order,
    journal,
    left,
    let_pass,
    paid,
    pool,
    posted,
    refused,
    replayed,
    traces,
)

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = EARLY + timedelta(seconds=1)


def credit(db: Ledger) -> None:
    """Let the payment have become the first movement, and nobody have looked at it since."""
    db.execute(
        "update pgledger.payments"
        " set account_id = 'a', seq = 1, amount = 100, paid = 1000, status = 'SUCCEEDED'"
    )


def test_a_refund_takes_the_credits_that_its_money_stands_for(db: Ledger) -> None:
    pay(db)
    row = refund(db, "re_1", 300, "SUCCEEDED", occurred_at=EARLY)
    assert row.pop("created_at") <= row.pop("updated_at")
    assert row == {
        "provider": "stripe",
        "payment_id": "pi_1",
        "status": "SUCCEEDED",
        "account_id": "a",
        "key": "#1",
        "amount": row["amount"],
        "paid": 1000,
        "paid_currency": "usd",
        "refunded": 300,
        "disputed": 0,
        "taken": 30,
        "reason": None,
        "seq": 1,
    }
    movement = ask(db, "get_transaction", account_id="a", key="#stripe-re_1-1")
    assert movement.pop("created_at")
    assert movement == {
        "account_id": "a",
        "key": "#stripe-re_1-1",
        "seq": 2,
        "type": "REFUND",
        "amount": -30,
        "requested_amount": -30,
        "running_balance": 70,
        "status": "POSTED",
        "reference": None,
        "external_id": "re_1",
        "metadata": {
            "provider": "stripe",
            "payment_id": "pi_1",
            "return_id": "re_1",
            "kind": "REFUND",
        },
        "expires_at": None,
        "original_seq": 1,
        "counterparty": None,
        "usage": None,
    }
    assert in_order(db)


@pytest.mark.parametrize(
    ("facts", "taken"),
    [
        (["PENDING"], 30),
        (["SUCCEEDED"], 30),
        (["FAILED"], 0),
        (["PENDING", "SUCCEEDED"], 30),
        (["SUCCEEDED", "PENDING"], 30),
        (["PENDING", "FAILED"], 0),
        (["SUCCEEDED", "FAILED"], 0),
        (["FAILED", "SUCCEEDED"], 0),
        (["FAILED", "PENDING", "SUCCEEDED", "FAILED"], 0),
    ],
)
def test_of_states_of_one_instant_the_last_one_counts(
    db: Ledger, facts: list[str], taken: int
) -> None:
    for occurred_at, refund_id in ((None, "re_1"), (EARLY, "re_2")):
        for status in facts * 2:
            refund(db, refund_id, 300, status, occurred_at=occurred_at)
    pay(db)
    assert takes(db) == {"re_1": taken, "re_2": taken}
    for refund_id in ("re_1", "re_2"):
        for status in facts:
            refund(db, refund_id, 300, status)
    assert takes(db) == {"re_1": taken, "re_2": taken}
    assert len(posted(db, "a")) == (3 if taken else 1)
    assert in_order(db)


def test_of_several_instants_the_latest_counts(db: Ledger) -> None:
    pay(db)
    refund(db, "re_1", 300, "FAILED", occurred_at=EARLY)
    refund(db, "re_1", 300, "SUCCEEDED", occurred_at=LATE)
    assert takes(db) == {"re_1": 30}
    refund(db, "re_1", 300, "FAILED", occurred_at=EARLY)
    refund(db, "re_1", 300, "FAILED")
    refund(db, "re_1", 300, "PENDING", occurred_at=LATE)
    assert takes(db) == {"re_1": 30}
    refund(db, "re_1", 300, "FAILED", occurred_at=LATE)
    assert takes(db) == {"re_1": 0}
    refund(db, "re_1", 300, "PENDING", occurred_at=LATE + timedelta(microseconds=1))
    assert takes(db) == {"re_1": 30}
    assert journal(db) == [
        ("TOP_UP", 100),
        ("REFUND", -30),
        ("REVERSAL", 30),
        ("REFUND", -30),
    ]
    assert in_order(db)


def test_of_two_amounts_the_later_counts_and_of_one_instant_the_greater(db: Ledger) -> None:
    pay(db)
    for amount, occurred_at, taken in (
        (300, EARLY, 30),
        (200, EARLY, 30),
        (400, EARLY, 40),
        (300, EARLY, 40),
        (100, LATE, 10),
        (900, EARLY, 10),
        (0, LATE + timedelta(days=1), 0),
    ):
        refund(db, "re_1", amount, "SUCCEEDED", occurred_at=occurred_at)
        assert takes(db) == {"re_1": taken}
    assert posted(db, "a") == [100, -30, -10, 10, 20, 10]
    assert in_order(db)


def test_what_is_told_again_changes_nothing(db: Ledger) -> None:
    pay(db, refunded=500)
    first = refund(db, "re_1", 300, "SUCCEEDED", request_key="k", occurred_at=EARLY)
    before = everything(db), returns(db)
    for _ in range(2):
        again = refund(db, "re_1", 300, "SUCCEEDED", request_key="k", occurred_at=EARLY)
        assert again == first
    assert (everything(db), returns(db)) == before


@pytest.mark.parametrize(
    "known", ["nothing", "whose it is", "nothing of its price", "closed", "credited", "told later"]
)
def test_a_repeat_leaves_every_row_as_it_is(db: Ledger, known: str) -> None:
    if known not in {"nothing", "whose it is", "told later"}:
        pay(db, paid=None if known == "nothing of its price" else 1000)
    if known == "closed":
        ask(db, "spend", account_id="a", amount=100)
        ask(db, "set_account_status", account_id="a", status="CLOSED")
    given = {"account_id": "a"} if known == "whose it is" else {}
    facts = [("re_1", "PENDING"), ("re_1", "SUCCEEDED"), ("re_2", "FAILED")]
    facts += [("dp_1", "OPEN"), ("dp_1", "LOST")]

    def tell(return_id: str, status: str) -> None:
        if return_id == "dp_1":
            dispute(db, return_id, 100, status, policy="FREEZE")
        else:
            refund(db, return_id, 300, status, **given)

    for fact in facts:
        tell(*fact)
    if known == "told later":
        pay(db)
    before = traces(db)
    for fact in (*facts, *reversed(facts)):
        tell(*fact)
    assert traces(db) == before


def test_parts_are_rounded_down_together_and_all_money_is_all_credits(db: Ledger) -> None:
    pay(db, amount=10, paid=999)
    for place, (amount, taken) in enumerate([(333, 3), (333, 6), (332, 9), (1, 10)]):
        refund(db, f"re_{place}", amount, "SUCCEEDED")
        assert balance(db) == 10 - taken
    assert posted(db, "a") == [10, -3, -3, -3, -1]
    assert in_order(db)


def test_together_they_take_all_credits_at_most(db: Ledger) -> None:
    pay(db)
    for place, amount in enumerate([700, 700, HIGHEST, HIGHEST]):
        refund(db, f"re_{place}", amount, "SUCCEEDED")
    assert takes(db) == {"re_0": 70, "re_1": 30, "re_2": 0, "re_3": 0}
    refund(db, "re_0", 700, "FAILED")
    assert balance(db) == 0
    refund(db, "re_2", HIGHEST, "FAILED")
    refund(db, "re_3", HIGHEST, "FAILED")
    assert balance(db) == 30
    assert in_order(db)


def test_the_largest_payment_is_refunded_without_overflow(db: Ledger) -> None:
    pay(db, amount=HIGHEST, paid=HIGHEST)
    refund(db, "re_1", HIGHEST - 1, "SUCCEEDED")
    assert balance(db) == 1
    refund(db, "re_2", HIGHEST, "SUCCEEDED")
    assert balance(db) == 0
    refund(db, "re_1", HIGHEST - 1, "FAILED")
    refund(db, "re_2", HIGHEST, "FAILED")
    assert balance(db) == HIGHEST
    assert in_order(db)


def test_credits_that_were_spent_and_a_frozen_account_do_not_stop_it(db: Ledger) -> None:
    pay(db)
    ask(db, "spend", account_id="a", amount=90)
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    refund(db, "re_1", 1000, "SUCCEEDED")
    assert balance(db) == -90
    refund(db, "re_1", 1000, "FAILED")
    assert balance(db) == 10
    assert in_order(db)


def test_a_refund_of_a_payment_that_is_not_known_yet_waits_for_it(db: Ledger) -> None:
    row = refund(db, "re_1", 300, "SUCCEEDED")
    assert (row["status"], row["seq"], row["paid"]) == ("PROCESSING", None, None)
    assert (row["refunded"], row["taken"]) == (300, 0)
    assert in_order(db)
    refund(db, "re_2", 200, "PENDING")
    pay(db)
    assert takes(db) == {"re_1": 30, "re_2": 20}
    assert journal(db) == [("TOP_UP", 100), ("REFUND", -30), ("REFUND", -20)]
    # Each under its own id, so that an application that tells of it as well repeats it.
    for refund_id, amount in (("re_1", 30), ("re_2", 20)):
        given = {"original_key": "#1", "amount": amount, "external_id": refund_id}
        assert replayed(db, "refund", account_id="a", **given)["key"] == f"#stripe-{refund_id}-1"
    assert in_order(db)


def test_whose_payment_it_is_is_taken_from_the_refund_where_nobody_said(db: Ledger) -> None:
    assert refund(db, "re_1", 300, "SUCCEEDED", account_id="b")["account_id"] == "b"
    assert refund(db, "re_2", 300, "SUCCEEDED", account_id="c")["account_id"] == "b"
    pay(db, "pi_2")
    row = refund(db, "re_3", 300, "SUCCEEDED", payment_id="pi_2", account_id="b")
    assert (row["account_id"], row["taken"]) == ("a", 30)
    assert posted(db, "b") == []
    assert in_order(db)


# What the application took itself


def test_a_refund_by_the_application_under_its_id_is_not_taken_again(db: Ledger) -> None:
    pay(db)
    given = {"account_id": "a", "original_key": "#1", "external_id": "re_1"}
    ask(db, "refund", **given, amount=30, key="k")
    for status in ("PENDING", "SUCCEEDED"):
        assert refund(db, "re_1", 300, status)["taken"] == 30
    assert replayed(db, "refund", **given, amount=30)["key"] == "k"
    refund(db, "re_2", 200, "SUCCEEDED")
    assert takes(db) == {"re_1": 30, "re_2": 20}
    refund(db, "re_1", 300, "FAILED")
    assert takes(db) == {"re_1": 0, "re_2": 20}
    assert posted(db, "a") == [100, -30, -20, 30]
    assert ask(db, "get_transaction", account_id="a", key="#stripe-re_1-1")["original_seq"] == 2
    # Given back, it is a refund as any other.
    refund(db, "re_1", 300, "SUCCEEDED", occurred_at=LATE)
    assert takes(db) == {"re_1": 30, "re_2": 20}
    assert balance(db) == 50
    assert in_order(db)


@pytest.mark.parametrize(
    ("own", "target"),
    [(45, 65), (10, 30), (95, 100)],
)
def test_what_the_application_took_counts_as_it_is(db: Ledger, own: int, target: int) -> None:
    pay(db)
    ask(db, "refund", account_id="a", original_key="#1", amount=own, external_id="re_1")
    refund(db, "re_1", 300, "SUCCEEDED")
    assert takes(db) == {"re_1": own}
    refund(db, "re_2", 200, "SUCCEEDED")
    assert takes(db) == {"re_1": own, "re_2": target - own}
    refund(db, "re_3", 900, "SUCCEEDED")
    assert balance(db) == (20 if own == 10 else 0)
    refund(db, "re_3", 900, "FAILED")
    assert balance(db) == 100 - target
    refund(db, "re_2", 200, "FAILED")
    assert takes(db) == {"re_1": own, "re_2": 0, "re_3": 0}
    assert in_order(db)


def test_a_refund_in_whole_by_the_application_stands_for_all_the_money(db: Ledger) -> None:
    pay(db, amount=3, paid=10)
    # A third of the credits, rounded down to a third of the money.
    ask(db, "refund", account_id="a", original_key="#1", amount=1, external_id="re_1")
    refund(db, "re_1", 3, "SUCCEEDED")
    assert balance(db) == 2
    refund(db, "re_2", 7, "SUCCEEDED")
    assert balance(db) == 0
    assert in_order(db)


def test_a_debit_of_another_kind_under_its_id_is_not_taken_again_either(db: Ledger) -> None:
    pay(db)
    ask(
        db,
        "add_transaction",
        account_id="a",
        amount=-30,
        type="ADJUSTMENT",
        key="k",
        external_id="re_1",
    )
    refund(db, "re_1", 300, "SUCCEEDED")
    assert takes(db) == {"re_1": 30}
    # What the application undoes is undone.
    ask(db, "reverse_transaction", account_id="a", original_key="k", amount=10)
    assert in_order(db)
    refund(db, "re_1", 300, "FAILED")
    assert takes(db) == {"re_1": 0}
    assert posted(db, "a") == [100, -30, 10, 20]
    assert in_order(db)


def test_with_a_debit_of_another_kind_they_take_all_credits_at_most(db: Ledger) -> None:
    pay(db)
    debit = {"account_id": "a", "amount": -95, "type": "ADJUSTMENT", "external_id": "re_1"}
    ask(db, "add_transaction", **debit)
    refund(db, "re_1", 300, "SUCCEEDED")
    refund(db, "re_2", 200, "SUCCEEDED")
    assert takes(db) == {"re_1": 95, "re_2": 5}
    assert in_order(db)


@pytest.mark.parametrize("type_", ["EXPIRY", "REVERSAL", "TRANSFER"])
def test_what_could_not_be_given_back_is_not_its_own(db: Ledger, type_: str) -> None:
    pay(db)
    try:
        ask(db, "add_transaction", account_id="a", amount=-30, type=type_, external_id="re_1")
    except psycopg.errors.InvalidParameterValue:
        return
    refund(db, "re_1", 300, "SUCCEEDED")
    assert balance(db) == 40
    refund(db, "re_1", 300, "FAILED")
    assert balance(db) == 70
    assert in_order(db)


def test_credits_under_its_id_are_none_that_were_taken(db: Ledger) -> None:
    pay(db)
    ask(db, "grant_credits", account_id="b", amount=5)
    ask(db, "top_up", account_id="a", amount=5, external_id="re_1")
    ask(db, "spend", account_id="b", amount=1, key="re_1")
    refund(db, "re_1", 300, "SUCCEEDED")
    assert takes(db) == {"re_1": 30}
    refund(db, "re_1", 300, "FAILED")
    assert posted(db, "a") == [100, 5, -30, 30]
    assert in_order(db)


def test_the_refund_of_its_request_is_its_own(db: Ledger) -> None:
    pay(db)
    pay(db, "pi_2")
    ask(db, "refund", account_id="a", original_key="#1", amount=30, key="asked")
    ask(db, "refund", account_id="a", original_key="#2", amount=30, key="other")
    refund(db, "re_1", 300, "SUCCEEDED", request_key="asked")
    refund(db, "re_2", 300, "SUCCEEDED", request_key="other")
    assert takes(db) == {"re_1": 30, "re_2": 30}
    assert posted(db, "a") == [100, 100, -30, -30, -30]
    refund(db, "re_1", 300, "FAILED", occurred_at=EARLY)
    assert balance(db) == 140
    # Made anew at the provider, the same request takes again.
    refund(db, "re_3", 300, "PENDING", request_key="asked")
    assert takes(db) == {"re_1": 0, "re_2": 30, "re_3": 30}
    assert in_order(db)


def test_the_request_may_be_told_later_than_the_refund(db: Ledger) -> None:
    refund(db, "re_1", 300, "SUCCEEDED")
    refund(db, "re_1", 300, "PENDING", request_key="asked")
    refund(db, "re_1", 300, "PENDING", request_key="other")
    ask(db, "top_up", account_id="a", amount=100, external_id="pi_1")
    ask(db, "refund", account_id="a", original_key="#1", amount=30, key="asked")
    credit(db)
    refund(db, "re_1", 300, "PENDING")
    assert posted(db, "a") == [100, -30]
    assert takes(db) == {"re_1": 30}
    assert in_order(db)


def test_one_debit_stands_for_one_refund(db: Ledger) -> None:
    for refund_id in ("re_1", "re_2", "re_3"):
        refund(db, refund_id, 300, "FAILED" if refund_id == "re_1" else "PENDING", request_key="k")
    ask(db, "top_up", account_id="a", amount=100, external_id="pi_1")
    ask(db, "refund", account_id="a", original_key="#1", amount=30, key="k", external_id="re_3")
    credit(db)
    refund(db, "re_1", 300, "FAILED")
    assert takes(db) == {"re_1": 0, "re_2": 30, "re_3": 30}
    assert in_order(db)


def test_of_two_refunds_of_a_request_the_one_that_holds_has_its_debit(db: Ledger) -> None:
    refund(db, "re_1", 300, "FAILED", request_key="k")
    refund(db, "re_2", 300, "PENDING", request_key="k")
    ask(db, "top_up", account_id="a", amount=100, external_id="pi_1")
    ask(db, "refund", account_id="a", original_key="#1", amount=30, key="k")
    credit(db)
    refund(db, "re_2", 300, "PENDING")
    assert posted(db, "a") == [100, -30]
    assert takes(db) == {"re_1": 0, "re_2": 30}
    assert in_order(db)


def test_a_second_debit_for_one_refund_is_given_back(db: Ledger) -> None:
    pay(db)
    ask(db, "refund", account_id="a", original_key="#1", amount=30, key="asked")
    refund(db, "re_1", 300, "PENDING", request_key="asked")
    ask(db, "refund", account_id="a", original_key="#1", amount=30, external_id="re_1")
    assert balance(db) == 40
    refund(db, "re_1", 300, "SUCCEEDED")
    assert posted(db, "a") == [100, -30, -30, 30]
    assert takes(db) == {"re_1": 30}
    assert in_order(db)


def test_what_the_application_refunded_for_other_reasons_cannot_be_taken_twice(
    db: Ledger,
) -> None:
    pay(db)
    ask(db, "refund", account_id="a", original_key="#1", amount=80)
    refund(db, "re_1", 1000, "SUCCEEDED")
    assert takes(db) == {"re_1": 20}
    refund(db, "re_1", 1000, "FAILED")
    assert posted(db, "a") == [100, -80, -20, 20]
    assert in_order(db)


# The sum of refunds


def test_what_is_known_only_as_a_sum_is_taken_once(db: Ledger) -> None:
    pay(db, refunded=300)
    assert takes(db) == {"pi_1": 30}
    refund(db, "re_1", 300, "SUCCEEDED")
    assert takes(db) == {"pi_1": 30, "re_1": 0}
    refund(db, "re_2", 200, "PENDING")
    assert posted(db, "a") == [100, -30, -20]
    assert told(db)["refunded"] == 500
    refund(db, "re_1", 300, "FAILED")
    assert posted(db, "a") == [100, -30, -20, 30]
    assert ask(db, "get_transaction", account_id="a", key="#stripe-pi_1-1")["original_seq"] == 1
    assert ask(db, "get_transaction", account_id="a", key="#stripe-pi_1-2")["external_id"] is None
    assert told(db)["refunded"] == 200
    assert in_order(db)


def test_the_sum_does_not_count_what_failed_twice(db: Ledger) -> None:
    refund(db, "re_1", 300, "FAILED")
    pay(db, refunded=300)
    assert takes(db) == {"re_1": 0}
    assert posted(db, "a") == [100]
    refund(db, "re_2", 300, "SUCCEEDED")
    assert takes(db) == {"re_1": 0, "re_2": 30}
    assert in_order(db)


def test_a_part_of_the_sum_may_be_known(db: Ledger) -> None:
    refund(db, "re_1", 100, "SUCCEEDED")
    pay(db, refunded=300)
    assert takes(db) == {"pi_1": 20, "re_1": 10}
    refund(db, "re_2", 150, "SUCCEEDED")
    assert balance(db) == 70
    refund(db, "re_3", 150, "SUCCEEDED")
    assert balance(db) == 60
    assert in_order(db)


def test_a_dispute_is_no_part_of_the_sum_of_refunds(db: Ledger) -> None:
    dispute(db, "dp_1", 300, "OPEN")
    pay(db, refunded=300)
    assert takes(db) == {"dp_1": 0, "pi_1": 30}
    assert in_order(db)


# Where credits come from and go to


def test_they_come_from_the_lot_that_was_paid_for_and_go_back_to_it(db: Ledger) -> None:
    give(db, "gift", 50, day(1))
    pay(db, key="paid", expires_at=day(2))
    give(db, "more", 50)
    ask(db, "spend", account_id="a", amount=60)
    assert left(db) == {"paid": 90}
    refund(db, "re_1", 1000, "SUCCEEDED")
    assert paid(db, "#stripe-re_1-1") == [("paid", 90), (None, 10)]
    assert (left(db), pool(db)) == ({}, 40)
    refund(db, "re_2", 1000, "SUCCEEDED")
    refund(db, "re_1", 1000, "FAILED")
    assert balance(db) == 40
    refund(db, "re_2", 1000, "FAILED")
    assert paid(db, "#stripe-re_1-2") == [(None, -10), ("paid", -90)]
    assert (left(db), pool(db)) == ({"paid": 90}, 50)
    assert in_order(db)


def test_what_is_given_back_in_parts_goes_to_the_last_drawn_first(db: Ledger) -> None:
    pay(db, key="paid", expires_at=day(1))
    ask(db, "spend", account_id="a", amount=50)
    refund(db, "re_1", 1000, "SUCCEEDED", occurred_at=EARLY)
    assert paid(db, "#stripe-re_1-1") == [("paid", 50), (None, 50)]
    for amount, pool_, lot in ((900, -40, {}), (200, 0, {"paid": 30}), (100, 0, {"paid": 40})):
        refund(db, "re_1", amount, "SUCCEEDED", occurred_at=LATE - timedelta(microseconds=amount))
        assert (pool(db), left(db)) == (pool_, lot)
    assert in_order(db)


def test_what_comes_back_to_a_lot_that_has_ended_expires_at_once(db: Ledger) -> None:
    pay(db, key="paid", expires_at=day(1))
    refund(db, "re_1", 400, "SUCCEEDED")
    let_pass(db, "2 days")
    refund(db, "re_1", 400, "FAILED")
    assert journal(db) == [
        ("TOP_UP", 100),
        ("REFUND", -40),
        ("EXPIRY", -60),
        ("REVERSAL", 40),
        ("EXPIRY", -40),
    ]
    assert in_order(db)


def test_a_refund_of_credits_that_expired_leaves_a_debt(db: Ledger) -> None:
    pay(db, key="paid", expires_at=day(1))
    let_pass(db, "2 days")
    refund(db, "re_1", 400, "SUCCEEDED")
    assert balance(db) == -40
    refund(db, "re_1", 400, "FAILED")
    assert balance(db) == 0
    assert in_order(db)


def test_what_was_given_back_can_be_refunded_again(db: Ledger) -> None:
    pay(db)
    for seconds in range(3):
        for status in ("PENDING", "FAILED"):
            occurred_at = EARLY + timedelta(seconds=seconds)
            refund(db, "re_1", 1000, status, occurred_at=occurred_at)
    assert posted(db, "a") == [100, -100, 100, -100, 100, -100, 100]
    refund(db, "re_2", 600, "SUCCEEDED")
    details = refused(db, "LG009", "refund", account_id="a", original_key="#1", amount=41)
    assert details["remaining"] == 40
    assert ask(db, "refund", account_id="a", original_key="#1")["amount"] == -40
    assert in_order(db)


def test_only_the_ledger_gives_a_refund_back(db: Ledger) -> None:
    pay(db)
    refund(db, "re_1", 300, "SUCCEEDED")
    refused(db, "22023", "reverse_transaction", account_id="a", original_key="#stripe-re_1-1")
    refund(db, "re_1", 300, "FAILED")
    refused(db, "22023", "reverse_transaction", account_id="a", original_key="#stripe-re_1-2")


# What stands in the way


def test_of_a_closed_account_nothing_is_taken_and_the_payment_says_so(db: Ledger) -> None:
    pay(db)
    ask(db, "spend", account_id="a", amount=100)
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    refund(db, "re_2", 300, "FAILED")
    assert told(db)["reason"] is None
    row = refund(db, "re_1", 300, "SUCCEEDED")
    assert (row["reason"], row["taken"]) == ("account not open", 0)
    assert posted(db, "a") == [100, -100]
    ask(db, "set_account_status", account_id="a", status="OPEN")
    row = refund(db, "re_1", 300, "SUCCEEDED")
    assert (row["reason"], row["taken"]) == (None, 30)
    assert in_order(db)


def test_nothing_is_taken_while_nobody_knows_what_was_paid(db: Ledger) -> None:
    pay(db, paid=None)
    refund(db, "re_2", 300, "FAILED")
    assert told(db)["reason"] is None
    row = refund(db, "re_1", 300, "SUCCEEDED")
    assert (row["reason"], row["taken"]) == ("paid unknown", 0)
    ask(db, "refund", account_id="a", original_key="#1", amount=20, external_id="re_1")
    row = refund(db, "re_1", 300, "SUCCEEDED")
    assert (row["reason"], row["taken"]) == (None, 20)
    refund(db, "re_3", 300, "SUCCEEDED")
    db.execute("update pgledger.payments set paid = 1000")
    row = refund(db, "re_1", 300, "SUCCEEDED")
    assert (row["reason"], row["taken"]) == (None, 50)
    assert in_order(db)


def test_of_a_payment_of_nothing_nothing_is_taken(db: Ledger) -> None:
    pay(db, paid=0)
    assert refund(db, "re_1", 300, "SUCCEEDED")["taken"] == 0
    ask(db, "refund", account_id="a", original_key="#1", amount=20, external_id="re_1")
    row = refund(db, "re_1", 300, "SUCCEEDED")
    assert (row["reason"], row["taken"]) == (None, 20)
    assert in_order(db)


def test_a_balance_that_left_its_range_is_refused_in_words(db: Ledger) -> None:
    pay(db)
    ask(db, "set_limits", account_id="a", min_balance=-HIGHEST)
    ask(db, "spend", account_id="a", amount=HIGHEST)
    ask(db, "spend", account_id="a", amount=100)
    refused(
        db,
        "22003",
        "record_payment_refund",
        provider="stripe",
        refund_id="re_1",
        payment_id="pi_1",
        amount=1000,
        status="SUCCEEDED",
    )
    assert returns(db) == []


def test_an_id_is_of_one_payment_and_one_kind(db: Ledger) -> None:
    pay(db)
    refund(db, "re_1", 300, "SUCCEEDED")
    given = {"provider": "stripe", "amount": 300}
    details = refused(
        db,
        "LG002",
        "record_payment_refund",
        **given,
        refund_id="re_1",
        payment_id="pi_2",
        status="SUCCEEDED",
    )
    assert details["recorded"] == {"payment_id": "pi_1", "kind": "REFUND"}
    assert details["given"] == {"payment_id": "pi_2", "kind": "REFUND"}
    refused(
        db,
        "LG002",
        "record_dispute",
        **given,
        dispute_id="re_1",
        payment_id="pi_1",
        status="OPEN",
    )
    assert takes(db) == {"re_1": 30}


def test_two_providers_have_ids_of_their_own(db: Ledger) -> None:
    pay(db)
    refund(db, "re_1", 300, "SUCCEEDED")
    ask(
        db,
        "record_payment_refund",
        provider="other",
        refund_id="re_1",
        payment_id="pi_1",
        amount=300,
        status="SUCCEEDED",
    )
    assert len(returns(db)) == 2
    assert posted(db, "a") == [100, -30]
    assert in_order(db)


def test_an_id_that_would_make_a_key_that_is_taken_finds_another(db: Ledger) -> None:
    pay(db)
    refund(db, "re_1-1", 300, "SUCCEEDED")
    refund(db, "re_1", 300, "SUCCEEDED")
    db.execute("update pgledger.payment_returns set movements = 0")
    db.execute(
        "insert into pgledger.pending_transactions (account_id, key, amount, type, created_at)"
        " values ('a', '#stripe-re_1-2', 5, 'TOP_UP', now())"
    )
    refund(db, "re_1", 300, "FAILED")
    keys = db.execute("select key from pgledger.transactions where seq > 1 order by seq")
    assert [row["key"] for row in keys] == [
        "#stripe-re_1-1-1",
        "#stripe-re_1-1",
        "#stripe-re_1-3",
    ]


def test_history_without_a_balance_row_is_found(db: Ledger) -> None:
    pay(db)
    db.execute("delete from pgledger.balances")
    db.execute("delete from pgledger.accounts")
    db.execute("delete from pgledger.events")
    refund(db, "re_1", 300, "SUCCEEDED")
    assert ask(db, "get_credits", account_id="a") == {"get_credits": 70}
    assert in_order(db)


# The auditor


@pytest.mark.parametrize(
    ("harm", "rules"),
    [
        (
            "update pgledger.payment_returns set taken = 29",
            ["what a refund or dispute took is in the journal"],
        ),
        (
            "update pgledger.payment_returns set taken = 31",
            ["what a refund or dispute took is in the journal"],
        ),
        (
            "update pgledger.payment_returns set refund_seqs = '{1}', taken = 70",
            ["what took for a refund or dispute are debits, of the top-up of its payment"],
        ),
        (
            "update pgledger.payment_returns set refund_seqs = '{2,9}'",
            ["what took for a refund or dispute are debits, of the top-up of its payment"],
        ),
        (
            "update pgledger.payment_returns set refund_seqs = '{4}', taken = 5",
            ["what took for a refund or dispute are debits, of the top-up of its payment"],
        ),
        (
            "update pgledger.payments set account_id = null, seq = null",
            ["a refund or dispute of nobody's payment takes nothing"],
        ),
        (
            "delete from pgledger.payments",
            ["a refund or dispute of nobody's payment takes nothing"],
        ),
        (
            "update pgledger.payment_returns set taken = 101",
            [
                "refunds and disputes take at most what their payment brought",
                "what a refund or dispute took is in the journal",
            ],
        ),
    ],
)
def test_verify_holds_returns_against_the_journal(db: Ledger, harm: str, rules: list[str]) -> None:
    pay(db)
    refund(db, "re_1", 300, "SUCCEEDED")
    pay(db, "pi_2")
    ask(db, "refund", account_id="a", original_key="#3", amount=5)
    assert in_order(db)
    db.execute("alter table pgledger.payments disable trigger all")
    db.execute(harm.encode())
    found = ask_all(db, "verify")
    assert sorted({row["rule"] for row in found if "payment that" not in row["rule"]}) == rules


def test_verify_finds_a_refund_given_back_by_somebody_else(db: Ledger) -> None:
    pay(db)
    refund(db, "re_1", 300, "SUCCEEDED")
    refund(db, "re_1", 300, "FAILED")
    refund(db, "re_2", 1000, "SUCCEEDED")
    assert in_order(db)
    db.execute("alter table pgledger.transactions disable trigger all")
    db.execute("update pgledger.transactions set key = 'own' where key = '#stripe-re_1-2'")
    rules = {row["rule"] for row in ask_all(db, "verify", account_id="a")}
    assert rules - {"the journal is guarded"} == {
        "a refund takes back a top-up, a reversal undoes another movement"
    }
    db.execute("update pgledger.transactions set original_seq = null where key = 'own'")
    found_rules = {row["rule"] for row in ask_all(db, "verify", account_id="a")}
    assert "refunds and reversals are at most their original" in found_rules


def test_a_refund_that_is_numbered_as_another_payment_does_not_hide_the_refunds_of_that(
    db: Ledger,
) -> None:
    pay(db, "3")
    pay(db, "5")
    refund(db, "5", 400, "SUCCEEDED", payment_id="3")
    refund(db, "6", 100, "SUCCEEDED", payment_id="5")
    # The other payment is looked at again.
    refund(db, "7", 0, "SUCCEEDED", payment_id="3")
    assert (takes(db, "3"), takes(db, "5")) == ({"5": 40, "7": 0}, {"6": 10})
    detail = refused(
        db,
        "LG002",
        "record_payment",
        provider="stripe",
        payment_id="5",
        status="SUCCEEDED",
        refunded=300,
    )
    assert detail["recorded"] == {"payment_id": "3", "kind": "REFUND"}
    assert detail["given"] == {"payment_id": "5", "kind": "REFUND"}
    assert takes(db, "3") == {"5": 40, "7": 0}
    assert in_order(db)


def test_refunds_of_two_providers_may_have_one_id(db: Ledger) -> None:
    pay(db, "pi_1")
    pay(db, "pi_2")
    db.execute("update pgledger.payments set provider = 'other' where payment_id = 'pi_2'")
    refund(db, "re_1", 1000, "SUCCEEDED")
    refund(db, "re_1", 1000, "SUCCEEDED", provider="other", payment_id="pi_2")
    assert (takes(db), takes(db, "pi_2")) == ({"re_1": 100}, {"re_1": 100})
    assert balance(db) == 0
    refund(db, "re_1", 1000, "FAILED")
    assert (takes(db), takes(db, "pi_2")) == ({"re_1": 0}, {"re_1": 100})
    assert in_order(db)


def test_what_the_application_took_from_no_top_up_counts_once_however_often_it_is_told(
    db: Ledger,
) -> None:
    pay(db)
    ask(db, "add_transaction", account_id="a", amount=-40, type="ADJUSTMENT", external_id="re_1")
    for _ in range(2):
        refund(db, "re_1", 400, "SUCCEEDED")
        assert takes(db) == {"re_1": 40}
    assert [row["refund_seqs"] for row in returns(db)] == [[2]]
    assert in_order(db)
