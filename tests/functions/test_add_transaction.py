import pytest

from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    ask_all,
    in_order,
    labels,
    posted,
    refused,
    refused_as_row,
    replayed,
    value,
    write_history,
)


def test_the_answer_tells_all_about_the_movement(db: Ledger) -> None:
    row = ask(
        db,
        "add_transaction",
        account_id="a",
        amount=100,
        type="TOP_UP",
        key="k",
        reference="r",
        external_id="x",
        metadata={"m": 1},
    )
    created_at = row.pop("created_at")
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
    assert recorded["created_at"] == created_at
    assert (recorded["reference"], recorded["external_id"]) == ("r", "x")
    assert recorded["metadata"] == {"m": 1}


def test_every_type_is_posted_in_both_directions(db: Ledger) -> None:
    for type_ in labels(db, "transaction_type"):
        for amount in (10, -10):
            row = ask(db, "add_transaction", account_id="a", amount=amount, type=type_)
            assert (row["type"], row["amount"], row["status"]) == (type_, amount, "POSTED")
    assert posted(db, "a") == [10, -10] * 9
    assert in_order(db)


def test_a_movement_without_a_key_is_known_by_its_seq(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=1, type="GRANT")
    row = ask(db, "add_transaction", account_id="a", amount=2, type="GRANT")
    assert (row["key"], row["seq"]) == ("#2", 2)
    assert [t["amount"] for t in ask_all(db, "get_transaction", account_id="a", key="#2")] == [2]
    stored = db.execute("select count(*) as n from pgledger.transactions where key is not null")
    assert stored.fetchone() == {"n": 0}


def test_a_key_belongs_to_its_account(db: Ledger) -> None:
    for account_id in ("a", "b"):
        row = ask(db, "add_transaction", account_id=account_id, amount=1, type="GRANT", key="k")
        assert row["replayed"] is False


def test_times_never_go_back(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=1, type="GRANT")
    db.execute("update pgledger.balances set updated_at = '2100-01-01 00:00Z'")
    fast = ask(db, "add_transaction", account_id="a", amount=1, type="GRANT")
    slow = ask(db, "add_transaction", account_id="a", amount=1, type="GRANT", external_id="x")
    assert fast["created_at"].year == slow["created_at"].year == 2100


def test_a_debit_needs_the_credits(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=10, type="GRANT")
    given = {"account_id": "a", "amount": -11, "type": "ADJUSTMENT", "key": "k"}
    assert refused(db, "LG001", "add_transaction", **given) == {
        "account_id": "a",
        "key": "k",
        "balance": 10,
        "held": 0,
        "available": 10,
        "floor": 0,
        "requested": 11,
        "missing": 1,
    }
    row = refused_as_row(db, "LG001", "add_transaction", **given)
    assert (row["key"], row["type"], row["requested_amount"]) == ("k", "ADJUSTMENT", -11)
    assert (row["balance"], row["available"]) == (10, 10)


def test_holds_are_not_available(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=10, type="GRANT")
    db.execute("update pgledger.balances set held = 4")
    details = refused(db, "LG001", "add_transaction", account_id="a", amount=-7, type="USAGE")
    assert (details["available"], details["held"], details["missing"]) == (6, 4, 1)
    row = ask(db, "add_transaction", account_id="a", amount=-6, type="USAGE")
    assert (row["balance"], row["available"]) == (4, 0)


def test_a_debit_of_an_unknown_account_is_short_of_credits(db: Ledger) -> None:
    given = {"account_id": "a", "amount": -1, "type": "USAGE"}
    assert refused(db, "LG001", "add_transaction", **given)["available"] == 0
    assert refused_as_row(db, "LG001", "add_transaction", **given)["available"] == 0


def test_a_forced_debit_goes_below_any_floor(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=10, type="TOP_UP")
    row = ask(
        db,
        "add_transaction",
        account_id="a",
        amount=-25,
        type="REFUND",
        key="chargeback",
        fail_insufficient_credits=False,
    )
    assert (row["status"], row["balance"]) == ("POSTED", -15)
    assert refused(db, "LG001", "spend", account_id="a", amount=1)["missing"] == 16
    assert in_order(db)


def test_a_forced_debit_opens_an_unknown_account(db: Ledger) -> None:
    row = ask(
        db,
        "add_transaction",
        account_id="a",
        amount=-5,
        type="REFUND",
        fail_insufficient_credits=False,
    )
    assert row["balance"] == -5
    assert in_order(db)


def test_a_credit_is_cut_at_the_ceiling(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=70, type="TOP_UP")
    given = {"account_id": "a", "amount": 100, "type": "GRANT", "key": "k", "ceiling_balance": 90}
    row = ask(db, "add_transaction", **given)
    assert (row["amount"], row["requested_amount"], row["balance"]) == (20, 100, 90)
    (recorded,) = ask_all(db, "get_transaction", account_id="a", key="k")
    assert (recorded["amount"], recorded["requested_amount"]) == (20, 100)
    assert in_order(db)


def test_a_cut_credit_replays_what_was_asked_not_what_was_applied(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=70, type="TOP_UP")
    given = {"account_id": "a", "type": "GRANT", "key": "k", "ceiling_balance": 90}
    ask(db, "add_transaction", amount=100, **given)
    row = replayed(db, "add_transaction", amount=100, **given)
    assert (row["amount"], row["requested_amount"], row["running_balance"]) == (20, 100, 90)
    details = refused(db, "LG002", "add_transaction", amount=20, **given)
    assert (details["recorded"]["amount"], details["given"]["amount"]) == (100, 20)


def test_a_credit_that_just_fits_under_the_ceiling_is_whole(db: Ledger) -> None:
    row = ask(db, "add_transaction", account_id="a", amount=90, type="GRANT", ceiling_balance=90)
    assert (row["amount"], row["requested_amount"]) == (90, 90)
    stored = db.execute("select requested_amount from pgledger.transactions").fetchone()
    assert stored == {"requested_amount": None}


@pytest.mark.parametrize("ceiling", [90, 89, 0, -1, LOWEST])
def test_at_the_ceiling_nothing_is_credited(db: Ledger, ceiling: int) -> None:
    ask(db, "add_transaction", account_id="a", amount=90, type="TOP_UP")
    given = {
        "account_id": "a",
        "amount": 5,
        "type": "GRANT",
        "key": "k",
        "ceiling_balance": ceiling,
    }
    assert refused(db, "LG005", "add_transaction", **given) == {
        "account_id": "a",
        "key": "k",
        "balance": 90,
        "ceiling_balance": ceiling,
        "requested": 5,
    }
    assert refused_as_row(db, "LG005", "add_transaction", **given)["balance"] == 90


def test_the_ceiling_is_far_from_a_deep_debt_without_overflow(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=LOWEST)
    ask(db, "spend", account_id="a", amount=HIGHEST)
    row = ask(
        db,
        "add_transaction",
        account_id="a",
        amount=HIGHEST,
        type="GRANT",
        ceiling_balance=HIGHEST,
    )
    assert (row["amount"], row["balance"]) == (HIGHEST, 0)


def test_an_announced_credit_is_not_yet_there(db: Ledger) -> None:
    row = ask(
        db, "add_transaction", account_id="a", amount=50, type="TOP_UP", key="k", is_active=False
    )
    assert (row["status"], row["seq"], row["running_balance"]) == ("PENDING", None, None)
    assert (row["amount"], row["balance"], row["available"]) == (50, 0, 0)
    assert row["created_at"] is not None
    assert refused(db, "LG001", "spend", account_id="a", amount=1)["available"] == 0
    assert in_order(db)


def test_an_announced_credit_without_a_key_gets_one(db: Ledger) -> None:
    row = ask(db, "add_transaction", account_id="a", amount=5, type="TOP_UP", is_active=False)
    assert row["key"].startswith("#")
    assert ask(db, "enable_transaction", account_id="a", key=row["key"])["key"] == row["key"]
    assert in_order(db)


def test_the_ceiling_cuts_what_is_announced(db: Ledger) -> None:
    given = {
        "account_id": "a",
        "amount": 100,
        "type": "TOP_UP",
        "key": "k",
        "is_active": False,
        "ceiling_balance": 60,
    }
    row = ask(db, "add_transaction", **given)
    assert (row["status"], row["amount"], row["requested_amount"]) == ("PENDING", 60, 100)
    again = replayed(db, "add_transaction", **given)
    assert (again["amount"], again["requested_amount"]) == (60, 100)
    ask(db, "add_transaction", account_id="b", amount=60, type="GRANT")
    refused(db, "LG005", "add_transaction", **(given | {"account_id": "b"}))


def test_a_repeat_answers_with_the_original_and_the_balance_of_now(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "type": "GRANT", "key": "k"}
    first = ask(db, "add_transaction", **given)
    ask(db, "spend", account_id="a", amount=4)
    again = replayed(db, "add_transaction", **given, reference="other", metadata={"other": 1})
    assert again == first | {"replayed": True, "balance": 6, "available": 6}


@pytest.mark.parametrize(
    "other", [{"amount": 11}, {"amount": -10}, {"type": "TOP_UP"}, {"is_active": False}]
)
def test_a_key_used_for_something_else_is_a_conflict(db: Ledger, other: dict[str, object]) -> None:
    given: dict[str, object] = {"account_id": "a", "amount": 10, "type": "GRANT", "key": "k"}
    ask(db, "add_transaction", **given)
    details = refused(db, "LG002", "add_transaction", **(given | other))
    assert details["recorded"] == {
        "key": "k",
        "type": "GRANT",
        "amount": 10,
        "external_id": None,
        "expires_at": None,
        "priority": 0,
        "original": None,
        "counterparty": None,
        "usage": None,
        "status": "POSTED",
    }
    assert details["given"]["type"] == other.get("type", "GRANT")
    assert details["given"]["amount"] == other.get("amount", 10)
    assert details["given"]["announced"] is (not other.get("is_active", True))
    row = refused_as_row(db, "LG002", "add_transaction", **(given | other))
    assert (row["key"], row["balance"]) == ("k", 10)


def test_the_key_of_an_announced_credit_is_taken_for_a_posted_one(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "type": "TOP_UP", "key": "k"}
    ask(db, "add_transaction", **given, is_active=False)
    details = refused(db, "LG002", "add_transaction", **given)
    assert details["recorded"]["status"] == "PENDING"
    ask(db, "add_transaction", account_id="a", amount=100, type="TOP_UP")
    refused(db, "LG002", "add_transaction", account_id="a", amount=-10, type="USAGE", key="k")
    assert in_order(db)


def test_a_repeat_is_answered_before_status_and_funds_are_judged(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=10, type="GRANT")
    given = {"account_id": "a", "amount": -10, "type": "USAGE", "key": "k"}
    ask(db, "add_transaction", **given)
    for status in ("OPEN", "FROZEN", "CLOSED"):
        ask(db, "set_account_status", account_id="a", status=status)
        assert replayed(db, "add_transaction", **given)["amount"] == -10


def test_the_same_external_id_under_another_key_replays_the_first(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "type": "TOP_UP", "external_id": "x"}
    ask(db, "add_transaction", **given, key="webhook")
    assert replayed(db, "add_transaction", **given, key="page")["key"] == "webhook"
    assert replayed(db, "add_transaction", **given)["key"] == "webhook"
    details = refused(db, "LG002", "add_transaction", **(given | {"amount": 11}), key="page")
    assert (details["recorded"]["key"], details["recorded"]["external_id"]) == ("webhook", "x")
    assert posted(db, "a") == [10]


def test_an_external_id_has_an_effect_in_each_direction(db: Ledger) -> None:
    given = {"account_id": "a", "type": "TOP_UP", "external_id": "x"}
    ask(db, "add_transaction", amount=10, key="in", **given)
    ask(db, "add_transaction", amount=-10, key="out", **given)
    assert replayed(db, "add_transaction", amount=-10, key="third", **given)["key"] == "out"
    assert replayed(db, "add_transaction", amount=10, key="fourth", **given)["key"] == "in"
    assert posted(db, "a") == [10, -10]


def test_an_external_id_belongs_to_its_account(db: Ledger) -> None:
    for account_id in ("a", "b"):
        row = ask(
            db,
            "add_transaction",
            account_id=account_id,
            amount=10,
            type="TOP_UP",
            external_id="x",
        )
        assert row["replayed"] is False


def test_a_repeat_with_another_external_id_is_a_conflict(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "type": "TOP_UP", "key": "k"}
    ask(db, "add_transaction", **given, external_id="x")
    details = refused(db, "LG002", "add_transaction", **given, external_id="y")
    assert details["recorded"]["external_id"] == "x"
    assert details["given"]["external_id"] == "y"


def test_a_repeat_may_leave_out_or_add_the_external_id(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "type": "TOP_UP"}
    ask(db, "add_transaction", **given, key="with", external_id="x")
    ask(db, "add_transaction", **given, key="without")
    replayed(db, "add_transaction", **given, key="with")
    replayed(db, "add_transaction", **given, key="without", external_id="y")


def test_an_announced_external_id_is_not_taken_for_money_that_arrived(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "type": "TOP_UP", "external_id": "x"}
    ask(db, "add_transaction", **given, key="announced", is_active=False)
    details = refused(db, "LG002", "add_transaction", **given, key="arrived")
    assert details["recorded"]["status"] == "PENDING"
    row = replayed(db, "add_transaction", **given, key="again", is_active=False)
    assert (row["key"], row["status"]) == ("announced", "PENDING")


def test_an_enabled_external_id_replays_under_any_key(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "type": "TOP_UP", "external_id": "x"}
    ask(db, "add_transaction", **given, key="announced", is_active=False)
    ask(db, "enable_transaction", account_id="a", key="announced", external_id="other")
    assert replayed(db, "add_transaction", **given, key="late")["key"] == "announced"
    assert posted(db, "a") == [10]


def test_a_frozen_account_refuses_debits_that_ask_and_nothing_else(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=10, type="GRANT")
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    given = {"account_id": "a", "amount": -1, "type": "USAGE", "key": "k"}
    assert refused(db, "LG004", "add_transaction", **given) == {
        "account_id": "a",
        "key": "k",
        "status": "FROZEN",
        "requested": -1,
    }
    assert refused_as_row(db, "LG004", "add_transaction", **given)["balance"] == 10
    ask(db, "add_transaction", account_id="a", amount=5, type="TOP_UP")
    forced = ask(db, "add_transaction", **given, fail_insufficient_credits=False)
    assert forced["balance"] == 14


@pytest.mark.parametrize(
    "movement", [{"amount": 1}, {"amount": -1}, {"amount": 1, "is_active": False}]
)
def test_a_closed_account_refuses_everything(db: Ledger, movement: dict[str, object]) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    for forced in (True, False):
        details = refused(
            db,
            "LG004",
            "add_transaction",
            account_id="a",
            type="ADJUSTMENT",
            fail_insufficient_credits=forced,
            **movement,
        )
        assert details["status"] == "CLOSED"


@pytest.mark.parametrize("opened", [False, True])
def test_history_of_another_system_is_spendable_at_once(db: Ledger, *, opened: bool) -> None:
    write_history(db, "a", 100, -30, key="old")
    if opened:
        db.execute("insert into pgledger.accounts (account_id) values ('a')")
    details = refused(db, "LG001", "add_transaction", account_id="a", amount=-71, type="USAGE")
    assert details["available"] == 70
    row = ask(db, "add_transaction", account_id="a", amount=-70, type="USAGE")
    assert (row["seq"], row["balance"]) == (3, 0)
    assert in_order(db)


def test_a_refusal_as_a_row_leaves_history_of_another_system_alone(db: Ledger) -> None:
    write_history(db, "a", 100)
    row = refused_as_row(db, "LG001", "add_transaction", account_id="a", amount=-101, type="USAGE")
    assert (row["balance"], row["available"]) == (100, 100)
    assert in_order(db)


def test_settings_hold_where_the_balance_row_is_missing(db: Ledger) -> None:
    write_history(db, "a", 100)
    db.execute(
        "insert into pgledger.accounts (account_id, status, min_balance, debt_floor)"
        " values ('a', 'FROZEN', -10, -10)"
    )
    refused(db, "LG004", "add_transaction", account_id="a", amount=-1, type="USAGE")
    ask(db, "add_transaction", account_id="a", amount=1, type="GRANT")
    refused(db, "LG004", "add_transaction", account_id="a", amount=-1, type="USAGE")
    ask(db, "set_account_status", account_id="a", status="OPEN")
    row = ask(db, "add_transaction", account_id="a", amount=-111, type="USAGE")
    assert row["balance"] == -10
    assert in_order(db)


def test_a_key_in_the_history_of_another_system_replays(db: Ledger) -> None:
    write_history(db, "a", 100, -30, key="old")
    row = replayed(db, "add_transaction", account_id="a", amount=-30, type="USAGE", key="old2")
    assert (row["seq"], row["running_balance"], row["balance"]) == (2, 70, 70)
    refused(db, "LG002", "add_transaction", account_id="a", amount=-31, type="USAGE", key="old2")
    assert in_order(db)


def test_a_refusal_as_a_row_lets_the_rest_of_the_transaction_commit(db: Ledger) -> None:
    with db.transaction():
        ask(db, "add_transaction", account_id="a", amount=10, type="GRANT")
        for account_id in ("a", "unknown"):
            row = refused_as_row(
                db, "LG001", "add_transaction", account_id=account_id, amount=-11, type="USAGE"
            )
            assert row["status"] == "REFUSED"
        ask(db, "add_transaction", account_id="a", amount=-4, type="USAGE")
    assert posted(db, "a") == [10, -4]
    assert value(db, "get_credits", account_id="a") == 6
    assert in_order(db)


def test_a_posted_transaction_is_never_changed_or_deleted(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=10, type="GRANT")
    for role in ("origin", "replica"):
        db.execute(f"set session_replication_role = {role}")
        for attempt in (
            "update pgledger.transactions set amount = 11",
            "update pgledger.transactions set metadata = null where false",
            "delete from pgledger.transactions",
            "truncate pgledger.transactions",
            "truncate pgledger.transactions, pgledger.accounts cascade",
        ):
            with pytest.raises(Exception, match="append only") as caught:
                db.execute(attempt)
            assert getattr(caught.value, "sqlstate", None) == "LG010"
    assert posted(db, "a") == [10]
