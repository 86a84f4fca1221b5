import pytest

from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    ask_all,
    everything,
    in_order,
    posted,
    refused,
    refused_as_row,
    replayed,
    value,
    write_history,
)


def announce(db: Ledger, key: str = "k", amount: int = 100, **more: object) -> None:
    ask(db, "top_up", account_id="a", amount=amount, key=key, is_active=False, **more)


def test_enabling_posts_what_was_announced_under_its_key(db: Ledger) -> None:
    announce(db, reference="r", external_id="x", metadata={"plan": 1, "kept": 1})
    row = ask(db, "enable_transaction", account_id="a", key="k", metadata={"plan": 2})
    assert row.pop("created_at") is not None
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": 1,
        "type": "TOP_UP",
        "amount": 100,
        "requested_amount": 100,
        "running_balance": 100,
        "balance": 100,
        "available": 100,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    (recorded,) = ask_all(db, "get_transaction", account_id="a", key="k")
    assert (recorded["status"], recorded["reference"]) == ("POSTED", "r")
    assert recorded["external_id"] == "x"
    assert recorded["metadata"] == {"plan": 2, "kept": 1}
    assert in_order(db)


def test_enabling_twice_credits_once(db: Ledger) -> None:
    announce(db)
    first = ask(db, "enable_transaction", account_id="a", key="k", external_id="x")
    ask(db, "spend", account_id="a", amount=30)
    again = replayed(db, "enable_transaction", account_id="a", key="k")
    assert again == first | {"replayed": True, "balance": 70, "available": 70}
    replayed(db, "enable_transaction", account_id="a", key="k", amount=100, external_id="x")
    assert posted(db, "a") == [100, -30]


def test_enabling_again_with_other_facts_is_a_conflict(db: Ledger) -> None:
    announce(db)
    ask(db, "enable_transaction", account_id="a", key="k", external_id="x")
    details = refused(db, "LG002", "enable_transaction", account_id="a", key="k", amount=99)
    assert (details["recorded"]["amount"], details["given"]["amount"]) == (100, 99)
    details = refused(db, "LG002", "enable_transaction", account_id="a", key="k", external_id="y")
    assert details["recorded"]["external_id"] == "x"
    refused_as_row(db, "LG002", "enable_transaction", account_id="a", key="k", external_id="y")


@pytest.mark.parametrize("final", [1, 70, 100, 250])
def test_the_final_amount_is_what_counts(db: Ledger, final: int) -> None:
    announce(db)
    row = ask(db, "enable_transaction", account_id="a", key="k", amount=final)
    assert (row["amount"], row["balance"]) == (final, final)
    assert replayed(db, "enable_transaction", account_id="a", key="k", amount=final)["seq"] == 1
    assert in_order(db)


def test_a_ceiling_is_not_judged_again(db: Ledger) -> None:
    announce(db, ceiling_balance=100)
    ask(db, "top_up", account_id="a", amount=500)
    assert ask(db, "enable_transaction", account_id="a", key="k")["balance"] == 600


def test_what_a_ceiling_cut_is_still_recorded_once_enabled(db: Ledger) -> None:
    announce(db, amount=100, ceiling_balance=60, external_id="x")
    row = ask(db, "enable_transaction", account_id="a", key="k")
    assert (row["amount"], row["requested_amount"]) == (60, 100)
    (recorded,) = ask_all(db, "get_transaction", account_id="a", key="k")
    assert (recorded["amount"], recorded["requested_amount"]) == (60, 100)
    given = {"account_id": "a", "amount": 100, "external_id": "x", "ceiling_balance": 60}
    assert replayed(db, "top_up", **given, key="page")["key"] == "k"
    assert replayed(db, "enable_transaction", account_id="a", key="k", amount=60)["amount"] == 60
    refused(db, "LG002", "enable_transaction", account_id="a", key="k", amount=100)
    assert in_order(db)


def test_a_cancelled_payment_is_not_enabled_without_proof(db: Ledger) -> None:
    announce(db, external_id="x")
    ask(db, "cancel_transaction", account_id="a", key="k")
    details = refused(db, "LG007", "enable_transaction", account_id="a", key="k")
    assert details == {"account_id": "a", "key": "k", "status": "CANCELLED"}
    row = refused_as_row(db, "LG007", "enable_transaction", account_id="a", key="k")
    assert (row["key"], row["balance"]) == ("k", 0)


@pytest.mark.parametrize("settled", ["CANCELLED", "EXPIRED"])
def test_late_money_with_its_external_id_is_credited_once(db: Ledger, settled: str) -> None:
    announce(db)
    ask(db, "cancel_transaction", account_id="a", key="k", reason="timeout")
    db.execute("update pgledger.pending_transactions set status = %s", [settled])
    refused(db, "LG007", "enable_transaction", account_id="a", key="k")
    given = {"account_id": "a", "key": "k", "external_id": "x"}
    row = ask(db, "enable_transaction", **given)
    assert (row["status"], row["balance"]) == ("POSTED", 100)
    replayed(db, "enable_transaction", **given)
    refused(db, "LG007", "cancel_transaction", account_id="a", key="k")
    assert posted(db, "a") == [100]
    assert in_order(db)


def test_late_money_may_be_another_amount(db: Ledger) -> None:
    announce(db)
    ask(db, "cancel_transaction", account_id="a", key="k")
    row = ask(db, "enable_transaction", account_id="a", key="k", external_id="x", amount=40)
    assert row["balance"] == 40


def test_a_payment_that_was_credited_under_another_key_is_not_credited_again(db: Ledger) -> None:
    announce(db)
    ask(db, "top_up", account_id="a", amount=100, key="webhook", external_id="x")
    given = {"account_id": "a", "key": "k", "external_id": "x"}
    row = ask(db, "enable_transaction", **given)
    assert (row["key"], row["replayed"], row["balance"]) == ("webhook", True, 100)
    # Nor later, by whoever finds the announcement.
    dropped = ask(db, "get_transaction", account_id="a", key="k")
    assert dropped["status"] == "CANCELLED"
    refused(db, "LG007", "enable_transaction", account_id="a", key="k")
    assert replayed(db, "enable_transaction", **given)["key"] == "webhook"
    details = refused(db, "LG002", "enable_transaction", **given, amount=90)
    assert details["recorded"]["key"] == "webhook"
    refused_as_row(db, "LG002", "enable_transaction", **given, amount=90)
    assert posted(db, "a") == [100]
    assert in_order(db)


def test_an_external_id_that_another_announcement_has_is_a_conflict(db: Ledger) -> None:
    announce(db, external_id="x")
    announce(db, key="second")
    details = refused(
        db, "LG002", "enable_transaction", account_id="a", key="second", external_id="x"
    )
    assert (details["recorded"]["key"], details["recorded"]["status"]) == ("k", "PENDING")


def test_the_external_id_given_on_enabling_is_taken_for_good(db: Ledger) -> None:
    announce(db, external_id="first")
    ask(db, "enable_transaction", account_id="a", key="k", external_id="x")
    for external_id in ("first", "x"):
        row = replayed(
            db, "top_up", account_id="a", amount=100, key="other", external_id=external_id
        )
        assert row["key"] == "k"
    announce(db, key="second")
    row = ask(db, "enable_transaction", account_id="a", key="second", external_id="first")
    assert (row["key"], row["replayed"]) == ("k", True)
    assert posted(db, "a") == [100]


def test_a_debit_with_the_same_external_id_does_not_stand_in_the_way(db: Ledger) -> None:
    announce(db)
    ask(
        db,
        "add_transaction",
        account_id="a",
        amount=-100,
        type="REFUND",
        external_id="x",
        fail_insufficient_credits=False,
    )
    row = ask(db, "enable_transaction", account_id="a", key="k", external_id="x")
    assert (row["key"], row["balance"]) == ("k", 0)


def test_an_unknown_key_is_not_found(db: Ledger) -> None:
    for account_id in ("nobody", "a"):
        given = {"account_id": account_id, "key": "k"}
        assert refused(db, "LG006", "enable_transaction", **given) == given
        assert refused_as_row(db, "LG006", "enable_transaction", **given)["key"] == "k"
        refused(db, "LG006", "enable_transaction", **given, external_id="x")
        ask(db, "open_account", account_id="a")
    refused(db, "LG006", "enable_transaction", account_id="a", key="#1")


@pytest.mark.parametrize("key", ["k", "#1"])
def test_a_transaction_that_was_posted_at_once_is_not_pending(db: Ledger, key: str) -> None:
    ask(db, "top_up", account_id="a", amount=5, key="k")
    details = refused(db, "LG007", "enable_transaction", account_id="a", key=key)
    assert (details["key"], details["status"]) == (key, "POSTED")
    refused(db, "LG007", "enable_transaction", account_id="a", key=key, external_id="x")


def test_a_transaction_without_a_key_is_not_pending(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=5)
    assert refused(db, "LG007", "enable_transaction", account_id="a", key="#1")["status"] == (
        "POSTED"
    )


def test_an_enabled_announcement_answers_to_its_seq_as_not_pending(db: Ledger) -> None:
    announce(db)
    ask(db, "enable_transaction", account_id="a", key="k")
    refused(db, "LG007", "enable_transaction", account_id="a", key="#1")


def test_a_frozen_account_is_credited_and_a_closed_one_is_not(db: Ledger) -> None:
    announce(db)
    announce(db, key="late")
    ask(db, "cancel_transaction", account_id="a", key="late")
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert ask(db, "enable_transaction", account_id="a", key="k")["balance"] == 100
    ask(db, "set_account_status", account_id="a", status="OPEN")
    ask(db, "spend", account_id="a", amount=100)
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    given = {"account_id": "a", "key": "late", "external_id": "x"}
    assert refused(db, "LG004", "enable_transaction", **given) == {
        "account_id": "a",
        "key": "late",
        "status": "CLOSED",
        "requested": 100,
    }
    refused_as_row(db, "LG004", "enable_transaction", **given)
    assert replayed(db, "enable_transaction", account_id="a", key="k")["balance"] == 0
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert ask(db, "enable_transaction", **given)["balance"] == 100
    assert in_order(db)


def test_history_of_another_system_is_added_to(db: Ledger) -> None:
    announce(db)
    db.execute("delete from pgledger.balances")
    write_history(db, "a", 70)
    assert value(db, "get_credits", account_id="a") == 70
    refused(db, "LG002", "spend", account_id="a", amount=1, key="k")
    row = ask(db, "enable_transaction", account_id="a", key="k")
    assert (row["seq"], row["balance"]) == (2, 170)
    assert in_order(db)


@pytest.mark.parametrize("final", [0, -1, LOWEST])
def test_a_final_amount_is_positive(db: Ledger, final: int) -> None:
    announce(db)
    details = refused(db, "22023", "enable_transaction", account_id="a", key="k", amount=final)
    assert (details["parameter"], details["given"]) == ("amount", str(final))


def test_a_balance_beyond_bigint_is_refused_and_stays_announced(db: Ledger) -> None:
    announce(db)
    ask(db, "top_up", account_id="a", amount=HIGHEST - 50)
    details = refused(db, "22003", "enable_transaction", account_id="a", key="k")
    assert (details["balance"], details["amount"]) == (HIGHEST - 50, 100)
    refused(db, "22003", "enable_transaction", account_id="a", key="k", amount=HIGHEST)
    assert ask(db, "enable_transaction", account_id="a", key="k", amount=50)["balance"] == HIGHEST


def test_a_refusal_as_a_row_lets_the_rest_of_the_transaction_commit(db: Ledger) -> None:
    with db.transaction():
        announce(db)
        refused_as_row(db, "LG006", "enable_transaction", account_id="a", key="other")
        refused_as_row(db, "LG006", "enable_transaction", account_id="nobody", key="k")
        ask(db, "enable_transaction", account_id="a", key="k")
    assert posted(db, "a") == [100]
    assert in_order(db)


def test_a_repeat_on_imported_history_leaves_no_trace(db: Ledger) -> None:
    write_history(db, "a", 100)
    db.execute(
        "insert into pgledger.pending_transactions"
        " (account_id, key, amount, created_at, settled_at, type, status)"
        " values ('a', 'k', 5, now(), now(), 'TOP_UP', 'CANCELLED')"
    )
    before = everything(db)
    assert ask(db, "cancel_transaction", account_id="a", key="k")["replayed"]
    assert everything(db) == before
    assert in_order(db)
