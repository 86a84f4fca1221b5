import pytest

from tests.support import (
    HIGHEST,
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
def spent(db: Ledger) -> Ledger:
    """Spend 60 of 100 granted credits; the keys are granted and spent."""
    ask(db, "grant_credits", account_id="a", amount=100, key="granted")
    ask(db, "spend", account_id="a", amount=60, key="spent")
    return db


def test_the_reversal_of_a_spend_gives_back(spent: Ledger) -> None:
    row = ask(
        spent,
        "reverse_transaction",
        account_id="a",
        original_key="spent",
        amount=20,
        key="k",
        reference="chat",
        metadata={"m": 1},
    )
    created_at = row.pop("created_at")
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": 3,
        "type": "REVERSAL",
        "amount": 20,
        "requested_amount": 20,
        "running_balance": 60,
        "balance": 60,
        "available": 60,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    assert ask(spent, "get_transaction", account_id="a", key="k") == {
        "account_id": "a",
        "key": "k",
        "seq": 3,
        "type": "REVERSAL",
        "amount": 20,
        "requested_amount": 20,
        "running_balance": 60,
        "status": "POSTED",
        "reference": "chat",
        "external_id": None,
        "metadata": {"m": 1},
        "created_at": created_at,
        "expires_at": None,
        "original_seq": 2,
        "counterparty": None,
        "usage": None,
    }
    assert in_order(spent)


def test_the_reversal_of_a_credit_may_leave_a_debt(spent: Ledger) -> None:
    ask(spent, "hold", account_id="a", amount=15)
    row = ask(spent, "reverse_transaction", account_id="a", original_key="granted")
    assert (row["type"], row["amount"]) == ("REVERSAL", -100)
    assert (row["balance"], row["available"]) == (-60, -75)
    assert in_order(spent)


@pytest.mark.parametrize("original", ["spent", "granted"])
def test_reversals_add_up_to_the_original_and_not_one_more(spent: Ledger, original: str) -> None:
    whole = {"spent": 60, "granted": 100}[original]
    seq = {"spent": 2, "granted": 1}[original]
    given = {"account_id": "a", "original_key": original}
    details = refused(spent, "LG009", "reverse_transaction", **given, amount=whole + 1)
    assert details["remaining"] == whole
    ask(spent, "reverse_transaction", **given, amount=10)
    ask(spent, "reverse_transaction", **given, amount=whole - 11)
    details = refused(spent, "LG009", "reverse_transaction", **given, amount=2, key="k")
    assert details == {
        "account_id": "a",
        "key": "k",
        "original": f"#{seq}",
        "remaining": 1,
        "requested": 2,
    }
    row = refused_as_row(spent, "LG009", "reverse_transaction", **given, amount=2)
    assert (row["type"], abs(row["requested_amount"])) == ("REVERSAL", 2)
    assert abs(ask(spent, "reverse_transaction", **given)["amount"]) == 1
    assert refused(spent, "LG009", "reverse_transaction", **given)["remaining"] == 0
    refused(spent, "LG009", "reverse_transaction", **given, amount=HIGHEST)
    assert in_order(spent)


@pytest.mark.parametrize("amount", [20, None])
def test_a_repeat_of_the_key_answers_with_the_original(spent: Ledger, amount: int | None) -> None:
    given = {"account_id": "a", "original_key": "spent", "key": "k"}
    first = ask(spent, "reverse_transaction", **given, amount=20)
    again = replayed(spent, "reverse_transaction", **given, amount=amount, reference="other")
    assert again == first | {"replayed": True}
    again = replayed(spent, "reverse_transaction", **(given | {"original_key": "#2"}))
    assert again["seq"] == 3
    ask(spent, "spend", account_id="a", amount=60)
    for status in ("FROZEN", "CLOSED"):
        ask(spent, "set_account_status", account_id="a", status=status)
        replayed(spent, "reverse_transaction", **given, amount=amount)
    assert posted(spent, "a") == [100, -60, 20, -60]


def test_a_reversal_in_whole_is_repeated_as_it_was(spent: Ledger) -> None:
    given = {"account_id": "a", "original_key": "spent", "key": "k"}
    ask(spent, "reverse_transaction", account_id="a", original_key="spent", amount=1)
    ask(spent, "reverse_transaction", **given)
    assert replayed(spent, "reverse_transaction", **given)["amount"] == 59
    assert replayed(spent, "reverse_transaction", **given, amount=59)["amount"] == 59
    refused(spent, "LG002", "reverse_transaction", **given, amount=60)


def test_a_key_used_for_something_else_is_a_conflict(spent: Ledger) -> None:
    ask(spent, "spend", account_id="a", amount=20, key="second")
    given = {"account_id": "a", "original_key": "spent", "amount": 20, "key": "k"}
    ask(spent, "reverse_transaction", **given)
    for other in ({"original_key": "second"}, {"amount": 19}, {"key": "spent"}):
        details = refused(spent, "LG002", "reverse_transaction", **(given | other))
        assert details["given"]["type"] == "REVERSAL"
        refused_as_row(spent, "LG002", "reverse_transaction", **(given | other))
    details = refused(
        spent, "LG002", "add_transaction", account_id="a", amount=20, type="REVERSAL", key="k"
    )
    assert details["recorded"]["original"] == "#2"
    assert in_order(spent)


@pytest.mark.parametrize("type_", ["USAGE", "GRANT", "CARD_CHECK", "ADJUSTMENT"])
@pytest.mark.parametrize("amount", [10, -10])
def test_what_can_be_reversed_is_reversed_the_other_way(
    spent: Ledger, type_: str, amount: int
) -> None:
    ask(spent, "add_transaction", account_id="a", amount=amount, type=type_)
    row = ask(spent, "reverse_transaction", account_id="a", original_key="#3")
    assert (row["type"], row["amount"], row["balance"]) == ("REVERSAL", -amount, 40)
    assert in_order(spent)


@pytest.mark.parametrize("type_", ["TOP_UP", "REFUND", "REVERSAL", "EXPIRY", "TRANSFER"])
@pytest.mark.parametrize("amount", [10, -10])
def test_what_cannot_be_reversed_is_refused(spent: Ledger, type_: str, amount: int) -> None:
    ask(spent, "add_transaction", account_id="a", amount=amount, type=type_, key="other")
    for key in ("other", "#3"):
        given = {"account_id": "a", "original_key": key, "key": "k"}
        details = refused(spent, "22023", "reverse_transaction", **given)
        assert (details["parameter"], details["given"]) == ("original_key", key)
        refused(spent, "22023", "reverse_transaction", **given, raise_refusals=False)


def test_a_leg_of_a_transfer_a_reversal_and_a_refund_are_not_reversed(spent: Ledger) -> None:
    ask(spent, "top_up", account_id="b", amount=9, key="paid")
    ask(spent, "refund", account_id="b", original_key="paid", amount=1, key="refund")
    ask(spent, "transfer", from_account_id="a", to_account_id="b", amount=5, key="moved")
    ask(spent, "reverse_transaction", account_id="a", original_key="spent", key="reversal")
    for account_id, key in [("a", "moved"), ("b", "moved"), ("a", "reversal"), ("b", "refund")]:
        details = refused(
            spent, "22023", "reverse_transaction", account_id=account_id, original_key=key
        )
        assert details["parameter"] == "original_key"


def test_a_captured_hold_is_reversed_and_an_open_one_is_not_found(spent: Ledger) -> None:
    ask(spent, "hold", account_id="a", amount=30, key="held")
    given = {"account_id": "a", "original_key": "held"}
    assert refused(spent, "LG006", "reverse_transaction", **given)["original_key"] == "held"
    ask(spent, "capture", account_id="a", key="held", amount=20)
    refused(spent, "LG009", "reverse_transaction", **given, amount=21)
    assert ask(spent, "reverse_transaction", **given)["amount"] == 20
    assert in_order(spent)


def test_an_unknown_original_is_not_found(spent: Ledger) -> None:
    for account_id, original in [("a", "other"), ("a", "#3"), ("nobody", "spent"), ("b", "#1")]:
        given = {"account_id": account_id, "original_key": original, "key": "k"}
        assert refused(spent, "LG006", "reverse_transaction", **given) == given
        row = refused_as_row(spent, "LG006", "reverse_transaction", **given)
        assert (row["type"], row["key"]) == ("REVERSAL", "k")


def test_a_misuse_is_told_whether_or_not_there_is_an_original(spent: Ledger) -> None:
    for original in ("spent", "other"):
        given = {"account_id": "a", "original_key": original, "raise_refusals": False}
        for parameter, wrong in {
            "amount": -1,
            "key": "#1",
            "reference": "",
            "metadata": [1],
        }.items():
            details = refused(spent, "22023", "reverse_transaction", **given, **{parameter: wrong})
            assert details["parameter"] == parameter


@pytest.mark.parametrize("original", ["spent", "granted"])
def test_a_frozen_account_is_reversed_and_a_closed_one_is_not(spent: Ledger, original: str) -> None:
    ask(spent, "set_account_status", account_id="a", status="FROZEN")
    given = {"account_id": "a", "original_key": original}
    ask(spent, "reverse_transaction", **given, amount=1)
    ask(spent, "set_account_status", account_id="a", status="OPEN")
    amount = -41 if original == "spent" else -39
    ask(spent, "add_transaction", account_id="a", amount=amount, type="ADJUSTMENT")
    ask(spent, "set_account_status", account_id="a", status="CLOSED")
    details = refused(spent, "LG004", "reverse_transaction", **given, amount=1)
    assert details["status"] == "CLOSED"
    refused_as_row(spent, "LG004", "reverse_transaction", **given, amount=1)


def test_history_of_another_system_is_reversed(db: Ledger) -> None:
    write_history(db, "a", 100, -30, key="old")
    row = ask(db, "reverse_transaction", account_id="a", original_key="old2", amount=10)
    assert (row["seq"], row["balance"]) == (3, 80)
    assert ask(db, "reverse_transaction", account_id="a", original_key="#2")["balance"] == 100
    assert in_order(db)


def test_a_reversal_beyond_bigint_is_refused_with_the_numbers(db: Ledger) -> None:
    ask(db, "grant_credits", account_id="a", amount=10)
    ask(db, "spend", account_id="a", amount=10, key="spent")
    ask(db, "grant_credits", account_id="a", amount=HIGHEST - 9)
    given = {"account_id": "a", "original_key": "spent"}
    details = refused(db, "22003", "reverse_transaction", **given)
    assert details == {"account_id": "a", "balance": HIGHEST - 9, "held": 0, "amount": 10}
    assert ask(db, "reverse_transaction", **given, amount=9)["balance"] == HIGHEST
    assert in_order(db)


def test_what_is_left_of_an_original_is_found_by_index(spent: Ledger) -> None:
    plan = spent.execute(
        "explain select sum(amount) from pgledger.transactions"
        " where account_id = 'a' and original_seq = 2"
    ).fetchall()
    assert "transactions_original" in str(plan)


def test_a_reversal_that_is_rolled_back_left_the_original_whole(spent: Ledger) -> None:
    before = everything(spent)
    with spent.transaction(force_rollback=True):
        ask(spent, "reverse_transaction", account_id="a", original_key="spent", key="k")
    assert everything(spent) == before
    row = ask(spent, "reverse_transaction", account_id="a", original_key="spent", key="k")
    assert row["amount"] == 60
