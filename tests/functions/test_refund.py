import pytest

from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    everything,
    in_order,
    posted,
    refused,
    refused_as_row,
    replayed,
    write_history,
)


@pytest.fixture
def paid(db: Ledger) -> Ledger:
    """Pay 100 credits under the key paid, with the payment pi_1."""
    ask(db, "top_up", account_id="a", amount=100, key="paid", external_id="pi_1")
    return db


def test_a_refund_takes_back_what_was_paid(paid: Ledger) -> None:
    row = ask(
        paid,
        "refund",
        account_id="a",
        original_key="paid",
        amount=30,
        key="k",
        external_id="re_1",
        reference="order",
        metadata={"m": 1},
    )
    created_at = row.pop("created_at")
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": 2,
        "type": "REFUND",
        "amount": -30,
        "requested_amount": -30,
        "running_balance": 70,
        "balance": 70,
        "available": 70,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    assert ask(paid, "get_transaction", account_id="a", key="k") == {
        "account_id": "a",
        "key": "k",
        "seq": 2,
        "type": "REFUND",
        "amount": -30,
        "requested_amount": -30,
        "running_balance": 70,
        "status": "POSTED",
        "reference": "order",
        "external_id": "re_1",
        "metadata": {"m": 1},
        "created_at": created_at,
        "expires_at": None,
        "original_seq": 1,
        "counterparty": None,
        "usage": None,
    }
    assert in_order(paid)


def test_without_an_amount_all_that_remains_is_refunded(paid: Ledger) -> None:
    ask(paid, "refund", account_id="a", original_key="paid", amount=30)
    assert ask(paid, "refund", account_id="a", original_key="#1")["amount"] == -70
    details = refused(paid, "LG009", "refund", account_id="a", original_key="paid")
    assert details == {
        "account_id": "a",
        "key": None,
        "original": "#1",
        "remaining": 0,
        "requested": 100,
    }
    assert posted(paid, "a") == [100, -30, -70]
    assert in_order(paid)


def test_refunds_add_up_to_what_was_paid_and_not_one_more(paid: Ledger) -> None:
    ask(paid, "top_up", account_id="a", amount=1000)
    given = {"account_id": "a", "original_key": "paid"}
    for amount in (60, 39):
        ask(paid, "refund", **given, amount=amount)
    for force in (True, False):
        details = refused(
            paid,
            "LG009",
            "refund",
            **given,
            amount=2,
            key="k",
            fail_insufficient_credits=force,
        )
        assert details == {
            "account_id": "a",
            "key": "k",
            "original": "#1",
            "remaining": 1,
            "requested": 2,
        }
    row = refused_as_row(paid, "LG009", "refund", **given, amount=2)
    assert (row["type"], row["requested_amount"], row["balance"]) == ("REFUND", -2, 1001)
    assert ask(paid, "refund", **given, amount=1)["balance"] == 1000
    refused(paid, "LG009", "refund", **given, amount=HIGHEST)
    assert in_order(paid)


def test_each_top_up_has_its_own_remainder(paid: Ledger) -> None:
    ask(paid, "top_up", account_id="a", amount=100, key="second")
    ask(paid, "refund", account_id="a", original_key="paid")
    assert ask(paid, "refund", account_id="a", original_key="second", amount=100)["balance"] == 0
    ask(paid, "top_up", account_id="b", amount=5, key="paid")
    assert ask(paid, "refund", account_id="b", original_key="paid")["amount"] == -5
    assert in_order(paid)


@pytest.mark.parametrize("amount", [30, None])
def test_a_repeat_of_the_key_answers_with_the_original(paid: Ledger, amount: int | None) -> None:
    given = {"account_id": "a", "original_key": "paid", "key": "k"}
    first = ask(paid, "refund", **given, amount=30)
    again = replayed(paid, "refund", **given, amount=amount, reference="x", metadata={"x": 1})
    assert again == first | {"replayed": True}
    ask(paid, "spend", account_id="a", amount=70)
    for status in ("OPEN", "FROZEN", "CLOSED"):
        ask(paid, "set_account_status", account_id="a", status=status)
        assert replayed(paid, "refund", **given, amount=amount)["available"] == 0
    assert posted(paid, "a") == [100, -30, -70]


def test_a_refund_in_whole_is_repeated_as_it_was(paid: Ledger) -> None:
    given = {"account_id": "a", "original_key": "paid", "key": "k"}
    ask(paid, "refund", **given)
    assert replayed(paid, "refund", **given)["amount"] == -100
    assert replayed(paid, "refund", **given, amount=100)["amount"] == -100
    refused(paid, "LG002", "refund", **given, amount=99)


def test_a_refund_of_another_account_says_nothing_about_the_amount(paid: Ledger) -> None:
    ask(paid, "top_up", account_id="b", amount=9, key="paid")
    given = {"original_key": "paid", "key": "k", "external_id": "re_1"}
    ask(paid, "refund", account_id="b", **given, amount=5)
    assert ask(paid, "refund", account_id="a", **given)["amount"] == -100
    assert in_order(paid)


def test_a_refund_of_the_provider_has_one_effect_whatever_its_key(paid: Ledger) -> None:
    given = {"account_id": "a", "original_key": "paid", "external_id": "re_1"}
    ask(paid, "refund", **given, amount=30, key="webhook")
    for amount in (30, None):
        assert replayed(paid, "refund", **given, amount=amount, key="page")["key"] == "webhook"
        assert replayed(paid, "refund", **given, amount=amount)["key"] == "webhook"
    details = refused(paid, "LG002", "refund", **given, amount=31, key="page")
    assert (details["recorded"]["key"], details["recorded"]["original"]) == ("webhook", "#1")
    assert (details["given"]["amount"], details["given"]["original"]) == (-31, "#1")
    refused_as_row(paid, "LG002", "refund", **given, amount=31, key="page")
    ask(paid, "refund", **(given | {"external_id": "re_2"}), amount=30)
    assert posted(paid, "a") == [100, -30, -30]
    assert in_order(paid)


def test_the_id_of_the_payment_is_no_id_of_a_refund(paid: Ledger) -> None:
    given = {"account_id": "a", "original_key": "paid", "external_id": "pi_1"}
    assert ask(paid, "refund", **given, amount=30)["replayed"] is False
    assert replayed(paid, "refund", **given, amount=30)["seq"] == 2


def test_a_key_used_for_something_else_is_a_conflict(paid: Ledger) -> None:
    ask(paid, "top_up", account_id="a", amount=100, key="second")
    given = {"account_id": "a", "original_key": "paid", "amount": 30}
    ask(paid, "refund", **given, key="k")
    details = refused(paid, "LG002", "refund", **(given | {"original_key": "second"}), key="k")
    assert (details["recorded"]["original"], details["given"]["original"]) == ("#1", "#2")
    refused_as_row(paid, "LG002", "refund", **(given | {"original_key": "second"}), key="k")
    refused(paid, "LG002", "refund", **(given | {"original_key": "second"}), key="paid")
    ask(paid, "spend", account_id="a", amount=30, key="spent")
    details = refused(paid, "LG002", "refund", **given, key="spent")
    assert details["recorded"]["type"] == "USAGE"
    details = refused(
        paid, "LG002", "add_transaction", account_id="a", amount=-30, type="REFUND", key="k"
    )
    assert (details["recorded"]["original"], details["given"]["original"]) == ("#1", None)
    assert in_order(paid)


def test_an_external_id_used_for_another_original_is_a_conflict(paid: Ledger) -> None:
    ask(paid, "top_up", account_id="a", amount=100, key="second")
    given = {"account_id": "a", "amount": 30, "external_id": "re_1"}
    ask(paid, "refund", **given, original_key="paid")
    details = refused(paid, "LG002", "refund", **given, original_key="second")
    assert (details["recorded"]["original"], details["given"]["original"]) == ("#1", "#2")


def test_credits_that_are_spent_are_not_refunded(paid: Ledger) -> None:
    ask(paid, "spend", account_id="a", amount=60)
    ask(paid, "hold", account_id="a", amount=15)
    given = {"account_id": "a", "original_key": "paid", "amount": 26, "key": "k"}
    assert refused(paid, "LG001", "refund", **given) == {
        "account_id": "a",
        "key": "k",
        "balance": 40,
        "held": 15,
        "available": 25,
        "floor": 0,
        "requested": 26,
        "missing": 1,
    }
    row = refused_as_row(paid, "LG001", "refund", **given)
    assert (row["type"], row["requested_amount"]) == ("REFUND", -26)
    assert ask(paid, "refund", **(given | {"amount": 25}))["available"] == 0


def test_a_chargeback_leaves_a_debt(paid: Ledger) -> None:
    ask(paid, "spend", account_id="a", amount=60)
    ask(paid, "hold", account_id="a", amount=15)
    given = {"account_id": "a", "original_key": "paid", "fail_insufficient_credits": False}
    row = ask(paid, "refund", **given, external_id="dp_1")
    assert (row["amount"], row["balance"], row["available"]) == (-100, -60, -75)
    replayed(paid, "refund", **given, external_id="dp_1")
    assert in_order(paid)


def test_a_frozen_account_is_charged_back_and_not_refunded(paid: Ledger) -> None:
    ask(paid, "set_account_status", account_id="a", status="FROZEN")
    given = {"account_id": "a", "original_key": "paid", "amount": 30}
    details = refused(paid, "LG004", "refund", **given)
    assert details == {"account_id": "a", "key": None, "status": "FROZEN", "requested": -30}
    refused_as_row(paid, "LG004", "refund", **given)
    assert ask(paid, "refund", **given, fail_insufficient_credits=False)["balance"] == 70
    assert in_order(paid)


def test_a_closed_account_refuses_a_refund_and_a_chargeback(paid: Ledger) -> None:
    ask(paid, "spend", account_id="a", amount=100)
    ask(paid, "set_account_status", account_id="a", status="CLOSED")
    given = {"account_id": "a", "original_key": "paid", "amount": 30}
    for force in (True, False):
        details = refused(paid, "LG004", "refund", **given, fail_insufficient_credits=force)
        assert details["status"] == "CLOSED"


def test_an_unknown_original_is_not_found(paid: Ledger) -> None:
    ask(paid, "top_up", account_id="a", amount=5, key="unpaid", is_active=False)
    for account_id, original in [
        ("a", "other"),
        ("a", "#2"),
        ("a", "#0"),
        ("a", "unpaid"),
        ("nobody", "paid"),
        ("nobody", "#1"),
    ]:
        given = {"account_id": account_id, "original_key": original, "key": "k"}
        assert refused(paid, "LG006", "refund", **given) == given
        row = refused_as_row(paid, "LG006", "refund", **given, amount=3)
        assert (row["type"], row["requested_amount"]) == ("REFUND", -3)


def test_a_misuse_is_told_whether_or_not_there_is_an_original(paid: Ledger) -> None:
    for original in ("paid", "other"):
        given = {"account_id": "a", "original_key": original, "raise_refusals": False}
        for parameter, wrong in {
            "amount": 0,
            "key": "#1",
            "external_id": "",
            "reference": "a\nb",
            "metadata": [1],
        }.items():
            details = refused(paid, "22023", "refund", **given, **{parameter: wrong})
            assert details["parameter"] == parameter


@pytest.mark.parametrize(
    "type_", ["USAGE", "GRANT", "CARD_CHECK", "ADJUSTMENT", "EXPIRY", "REFUND", "REVERSAL"]
)
@pytest.mark.parametrize("amount", [10, -10])
def test_only_a_top_up_is_refunded(paid: Ledger, type_: str, amount: int) -> None:
    ask(paid, "add_transaction", account_id="a", amount=amount, type=type_, key="other")
    given = {"account_id": "a", "original_key": "other"}
    details = refused(paid, "22023", "refund", **given)
    assert (details["parameter"], details["given"]) == ("original_key", "other")
    refused(paid, "22023", "refund", **given, raise_refusals=False)


def test_a_refund_is_not_refunded_nor_a_top_up_that_took(paid: Ledger) -> None:
    ask(paid, "refund", account_id="a", original_key="paid", amount=5, key="refund")
    ask(paid, "add_transaction", account_id="a", amount=-5, type="TOP_UP", key="taken")
    ask(paid, "open_account", account_id="b")
    ask(paid, "transfer", from_account_id="a", to_account_id="b", amount=5, key="moved")
    for key in ("refund", "taken", "moved"):
        details = refused(paid, "22023", "refund", account_id="a", original_key=key)
        assert details["parameter"] == "original_key"
    refused(paid, "22023", "refund", account_id="b", original_key="moved")


def test_a_top_up_is_refunded_however_it_came(db: Ledger) -> None:
    write_history(db, "a", 100, -30, key="old")
    assert ask(db, "refund", account_id="a", original_key="old1", amount=20)["balance"] == 50
    ask(db, "top_up", account_id="a", amount=50, key="late", is_active=False)
    ask(db, "enable_transaction", account_id="a", key="late", amount=40)
    assert ask(db, "refund", account_id="a", original_key="late")["amount"] == -40
    ask(db, "top_up", account_id="a", amount=100, key="cut", ceiling_balance=60)
    refused(db, "LG009", "refund", account_id="a", original_key="cut", amount=11)
    assert ask(db, "refund", account_id="a", original_key="cut")["amount"] == -10
    assert in_order(db)


def test_refunds_at_the_edges_of_bigint(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=HIGHEST, key="paid")
    given = {"account_id": "a", "original_key": "paid", "fail_insufficient_credits": False}
    ask(db, "spend", account_id="a", amount=HIGHEST)
    ask(db, "refund", **given, amount=HIGHEST - 1)
    db.execute("update pgledger.balances set balance = %s", [LOWEST])
    details = refused(db, "22003", "refund", **given)
    assert details == {"account_id": "a", "balance": LOWEST, "held": 0, "amount": -1}


def test_a_refund_that_is_rolled_back_left_the_original_whole(paid: Ledger) -> None:
    before = everything(paid)
    with paid.transaction(force_rollback=True):
        ask(paid, "refund", account_id="a", original_key="paid", key="k")
    assert everything(paid) == before
    assert ask(paid, "refund", account_id="a", original_key="paid", key="k")["amount"] == -100
