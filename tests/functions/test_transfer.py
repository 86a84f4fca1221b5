import pytest

from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    everything,
    in_order,
    let_expire,
    pending,
    posted,
    refused,
    refused_as_row,
    replayed,
    value,
    write_history,
)

AB = {"from_account_id": "a", "to_account_id": "b"}
BA = {"from_account_id": "b", "to_account_id": "a"}


@pytest.fixture
def two(db: Ledger) -> Ledger:
    """Two accounts, with 100 and with 10 credits."""
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "top_up", account_id="b", amount=10)
    return db


def test_a_transfer_moves_credits_and_answers_with_the_senders_leg(two: Ledger) -> None:
    row = ask(two, "transfer", **AB, amount=30, key="k", reference="r", metadata={"m": 1})
    assert row.pop("created_at") is not None
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": 2,
        "type": "TRANSFER",
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
    for account_id, other, amount, balance in [("a", "b", -30, 70), ("b", "a", 30, 40)]:
        leg = ask(two, "get_transaction", account_id=account_id, key="k")
        assert leg.pop("created_at") is not None
        assert leg == {
            "account_id": account_id,
            "key": "k",
            "seq": 2,
            "type": "TRANSFER",
            "amount": amount,
            "requested_amount": amount,
            "running_balance": balance,
            "status": "POSTED",
            "reference": "r",
            "external_id": None,
            "metadata": {"m": 1},
            "expires_at": None,
            "original_seq": None,
            "counterparty": other,
            "usage": None,
        }
    assert value(two, "get_credits", account_id="b") == 40
    assert in_order(two)


def test_each_leg_knows_the_place_of_the_other(two: Ledger) -> None:
    ask(two, "top_up", account_id="b", amount=1)
    ask(two, "transfer", **AB, amount=30, key="k")
    ask(two, "transfer", **BA, amount=1)
    legs = two.execute(
        "select account_id, seq, counterparty_seq from pgledger.transactions"
        " where counterparty is not null order by account_id, seq"
    ).fetchall()
    assert [tuple(leg.values()) for leg in legs] == [
        ("a", 2, 3),
        ("a", 3, 4),
        ("b", 3, 2),
        ("b", 4, 3),
    ]
    assert in_order(two)


def test_a_transfer_without_a_key_is_known_by_its_place(two: Ledger) -> None:
    assert ask(two, "transfer", **AB, amount=30)["key"] == "#2"
    assert ask(two, "transfer", **AB, amount=30)["key"] == "#3"
    assert posted(two, "b") == [10, 30, 30]
    assert in_order(two)


def test_the_last_credit_can_be_moved_and_not_one_more(two: Ledger) -> None:
    ask(two, "hold", account_id="a", amount=15)
    assert refused(two, "LG001", "transfer", **AB, amount=86, key="k") == {
        "account_id": "a",
        "key": "k",
        "balance": 100,
        "held": 15,
        "available": 85,
        "floor": 0,
        "requested": 86,
        "missing": 1,
    }
    row = refused_as_row(two, "LG001", "transfer", **AB, amount=86, key="k")
    assert (row["type"], row["requested_amount"]) == ("TRANSFER", -86)
    assert (row["balance"], row["available"]) == (100, 85)
    assert ask(two, "transfer", **AB, amount=85, key="k")["available"] == 0
    assert in_order(two)


def test_a_transfer_goes_down_to_min_balance(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-5)
    ask(db, "set_limits", account_id="a", debt_floor=-50)
    ask(db, "open_account", account_id="b")
    assert refused(db, "LG001", "transfer", **AB, amount=6)["floor"] == -5
    assert ask(db, "transfer", **AB, amount=5)["balance"] == -5
    assert in_order(db)


def test_a_repeat_answers_with_the_senders_original(two: Ledger) -> None:
    first = ask(two, "transfer", **AB, amount=30, key="k")
    ask(two, "spend", account_id="a", amount=70)
    again = replayed(two, "transfer", **AB, amount=30, key="k", reference="x", metadata={"x": 1})
    assert again == first | {"replayed": True, "balance": 0, "available": 0}
    ask(two, "spend", account_id="b", amount=40)
    for status in ("FROZEN", "CLOSED"):
        for account_id in ("a", "b"):
            ask(two, "set_account_status", account_id=account_id, status=status)
        replayed(two, "transfer", **AB, amount=30, key="k")
    assert posted(two, "b") == [10, 30, -40]


def test_a_key_used_for_another_transfer_is_a_conflict(two: Ledger) -> None:
    ask(two, "top_up", account_id="c", amount=1)
    ask(two, "transfer", **AB, amount=5, key="k")
    details = refused(two, "LG002", "transfer", **(AB | {"to_account_id": "c"}), amount=5, key="k")
    assert (details["account_id"], details["key"]) == ("a", "k")
    assert (details["recorded"]["counterparty"], details["given"]["counterparty"]) == ("b", "c")
    for other in (AB | {"amount": 6}, AB | {"to_account_id": "c", "amount": 5}, BA | {"amount": 5}):
        refused(two, "LG002", "transfer", **other, key="k")
        row = refused_as_row(two, "LG002", "transfer", **other, key="k")
        assert row["requested_amount"] == -other["amount"]  # type: ignore[operator]
    assert in_order(two)


def test_a_key_that_the_receiver_used_is_a_conflict_before_anything_moves(two: Ledger) -> None:
    ask(two, "top_up", account_id="b", amount=5, key="paid")
    ask(two, "top_up", account_id="b", amount=5, key="unpaid", is_active=False)
    ask(two, "hold", account_id="b", amount=5, key="held")
    ask(two, "transfer", from_account_id="b", to_account_id="a", amount=1, key="moved")
    ask(two, "top_up", account_id="c", amount=9)
    for key in ("paid", "unpaid", "held"):
        details = refused(two, "LG002", "transfer", **AB, amount=5, key=key)
        assert (details["account_id"], details["key"]) == ("b", key)
        refused_as_row(two, "LG002", "transfer", **AB, amount=5, key=key)
    for sender in ("a", "c"):
        refused(
            two, "LG002", "transfer", **(AB | {"from_account_id": sender}), amount=1, key="moved"
        )
    assert in_order(two)


def test_a_key_that_the_sender_used_is_a_conflict(two: Ledger) -> None:
    ask(two, "spend", account_id="a", amount=5, key="spent")
    ask(two, "hold", account_id="a", amount=5, key="held")
    for key in ("spent", "held"):
        details = refused(two, "LG002", "transfer", **AB, amount=5, key=key)
        assert details["recorded"]["type"] == "USAGE"
    ask(two, "add_transaction", account_id="a", amount=-5, type="TRANSFER", key="own")
    refused(two, "LG002", "transfer", **AB, amount=5, key="own")
    ask(two, "transfer", **AB, amount=5, key="moved")
    details = refused(
        two, "LG002", "add_transaction", account_id="a", amount=-5, type="TRANSFER", key="moved"
    )
    assert details["recorded"]["counterparty"] == "b"


def test_the_receiver_must_exist(two: Ledger) -> None:
    given = {"from_account_id": "a", "to_account_id": "nobody", "amount": 5, "key": "k"}
    assert refused(two, "LG003", "transfer", **given) == {"account_id": "nobody", "key": "k"}
    row = refused_as_row(two, "LG003", "transfer", **given)
    assert (row["account_id"], row["balance"]) == ("a", 100)
    ask(two, "open_account", account_id="nobody")
    assert ask(two, "transfer", **given)["balance"] == 95


def test_a_conflict_leaves_an_unknown_receiver_unknown(two: Ledger) -> None:
    ask(two, "spend", account_id="a", amount=5, key="k")
    given = {"from_account_id": "a", "to_account_id": "nobody", "amount": 5, "key": "k"}
    refused(two, "LG002", "transfer", **given)
    refused_as_row(two, "LG002", "transfer", **given)
    assert ask(two, "get_balance", account_id="nobody")["status"] is None


def test_an_unknown_sender_is_short_of_credits(two: Ledger) -> None:
    given = {"from_account_id": "nobody", "to_account_id": "a", "amount": 5}
    assert refused(two, "LG001", "transfer", **given)["available"] == 0
    assert refused_as_row(two, "LG001", "transfer", **given)["available"] == 0


def test_two_unknown_accounts_are_left_unknown(db: Ledger) -> None:
    assert refused(db, "LG003", "transfer", **AB, amount=5) == {"account_id": "b", "key": None}
    refused_as_row(db, "LG003", "transfer", **AB, amount=5)


@pytest.mark.parametrize(
    ("frozen", "code"), [("a", "LG004"), ("b", None)], ids=["sender", "receiver"]
)
def test_a_frozen_account_receives_and_does_not_send(
    two: Ledger, frozen: str, code: str | None
) -> None:
    ask(two, "set_account_status", account_id=frozen, status="FROZEN")
    if code is None:
        assert ask(two, "transfer", **AB, amount=5)["balance"] == 95
    else:
        details = refused(two, code, "transfer", **AB, amount=5, key="k")
        assert details == {"account_id": "a", "key": "k", "status": "FROZEN", "requested": -5}
        refused_as_row(two, code, "transfer", **AB, amount=5)
    assert in_order(two)


def test_a_closed_account_neither_sends_nor_receives(two: Ledger) -> None:
    ask(two, "spend", account_id="b", amount=10)
    ask(two, "set_account_status", account_id="b", status="CLOSED")
    details = refused(two, "LG004", "transfer", **AB, amount=5, key="k")
    assert details == {"account_id": "b", "key": "k", "status": "CLOSED", "requested": 5}
    assert refused_as_row(two, "LG004", "transfer", **AB, amount=5)["account_id"] == "a"
    details = refused(two, "LG004", "transfer", **BA, amount=5)
    assert (details["account_id"], details["status"]) == ("b", "CLOSED")


def test_both_accounts_must_have_one_currency(two: Ledger) -> None:
    two.execute("insert into pgledger.currencies (code, exponent) values ('EUR', 2)")
    ask(two, "open_account", account_id="e", currency="EUR", min_balance=-50)
    write_history(two, "h", 100)
    for sender, receiver in [("a", "e"), ("e", "a"), ("e", "h"), ("h", "e")]:
        given = {"from_account_id": sender, "to_account_id": receiver, "amount": 5}
        details = refused(two, "22023", "transfer", **given)
        assert (details["parameter"], details["given"]) == ("to_account_id", receiver)
        refused(two, "22023", "transfer", **given, raise_refusals=False)
    ask(two, "open_account", account_id="f", currency="EUR")
    ask(two, "transfer", from_account_id="e", to_account_id="f", amount=5)
    ask(two, "transfer", from_account_id="a", to_account_id="h", amount=5)
    assert in_order(two)


def test_a_transfer_is_between_two_accounts(two: Ledger) -> None:
    given = {"from_account_id": "a", "to_account_id": "a", "amount": 5}
    assert refused(two, "22023", "transfer", **given)["parameter"] == "to_account_id"


@pytest.mark.parametrize("amount", [0, -1, -HIGHEST, LOWEST])
def test_an_amount_is_positive(two: Ledger, amount: int) -> None:
    details = refused(two, "22023", "transfer", **AB, amount=amount)
    assert (details["parameter"], details["given"]) == ("amount", str(amount))


def test_history_of_another_system_is_sent_and_added_to(db: Ledger) -> None:
    write_history(db, "a", 100, -30, key="old")
    write_history(db, "b", 5)
    refused(db, "LG002", "transfer", **AB, amount=30, key="old2")
    refused_as_row(db, "LG001", "transfer", **AB, amount=71)
    assert ask(db, "transfer", **AB, amount=70)["seq"] == 3
    assert posted(db, "b") == [5, 70]
    assert in_order(db)


def test_a_receiver_beyond_bigint_is_refused_before_anything_moves(two: Ledger) -> None:
    ask(two, "top_up", account_id="b", amount=HIGHEST - 12)
    details = refused(two, "22003", "transfer", **AB, amount=3)
    assert details == {"account_id": "b", "balance": HIGHEST - 2, "held": 0, "amount": 3}
    refused(two, "22003", "transfer", **AB, amount=3, raise_refusals=False)
    assert ask(two, "transfer", **AB, amount=2)["balance"] == 98
    assert in_order(two)


def test_the_largest_amount_is_moved(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=HIGHEST)
    ask(db, "open_account", account_id="b", min_balance=LOWEST)
    assert ask(db, "transfer", **AB, amount=HIGHEST)["balance"] == 0
    assert ask(db, "transfer", **BA, amount=HIGHEST)["balance"] == 0
    ask(db, "spend", account_id="a", amount=HIGHEST)
    assert ask(db, "transfer", **BA, amount=HIGHEST)["balance"] == -HIGHEST
    assert in_order(db)


def test_what_is_due_on_both_sides_is_closed_first(two: Ledger) -> None:
    for account_id in ("a", "b"):
        ask(two, "hold", account_id=account_id, amount=10, key="k", expires_at="2200-01-01")
        let_expire(two, account_id=account_id)
    assert ask(two, "transfer", **AB, amount=100)["available"] == 0
    assert pending(two, "a") == pending(two, "b") == {"k": "EXPIRED"}
    assert in_order(two)


def test_a_transfer_that_is_rolled_back_moved_nothing(two: Ledger) -> None:
    before = everything(two)
    with two.transaction(force_rollback=True):
        ask(two, "transfer", **AB, amount=30, key="k")
    assert everything(two) == before
    assert ask(two, "transfer", **BA, amount=3, key="k")["replayed"] is False


def test_a_refusal_as_a_row_lets_the_rest_of_the_transaction_commit(two: Ledger) -> None:
    with two.transaction():
        refused_as_row(two, "LG001", "transfer", **AB, amount=101)
        refused_as_row(two, "LG003", "transfer", **(AB | {"to_account_id": "c"}), amount=1)
        ask(two, "transfer", **AB, amount=100)
    assert posted(two, "a") == [100, -100]
    assert in_order(two)
