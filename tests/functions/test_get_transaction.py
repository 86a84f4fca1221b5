from datetime import UTC, datetime

from tests.support import Ledger, ask, ask_all, let_expire, write_history


def test_a_posted_transaction_is_told_in_full(db: Ledger) -> None:
    row = ask(
        db,
        "top_up",
        account_id="a",
        amount=100,
        key="k",
        reference="r",
        external_id="x",
        metadata={"m": 1},
        ceiling_balance=60,
    )
    assert ask_all(db, "get_transaction", account_id="a", key="k") == [
        {
            "account_id": "a",
            "key": "k",
            "seq": 1,
            "type": "TOP_UP",
            "amount": 60,
            "requested_amount": 100,
            "running_balance": 60,
            "status": "POSTED",
            "reference": "r",
            "external_id": "x",
            "metadata": {"m": 1},
            "created_at": row["created_at"],
            "expires_at": None,
            "original_seq": None,
            "counterparty": None,
            "usage": None,
        }
    ]


def test_a_seq_names_any_transaction(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10, key="k")
    ask(db, "spend", account_id="a", amount=3)
    (keyed,) = ask_all(db, "get_transaction", account_id="a", key="#1")
    (plain,) = ask_all(db, "get_transaction", account_id="a", key="#2")
    assert (keyed["key"], keyed["amount"]) == ("k", 10)
    assert (plain["key"], plain["amount"], plain["requested_amount"]) == ("#2", -3, -3)
    assert plain["metadata"] == {}


def test_a_pending_transaction_is_told_with_its_status(db: Ledger) -> None:
    given = {"account_id": "a", "key": "k"}
    row = ask(
        db,
        "top_up",
        **given,
        amount=100,
        is_active=False,
        ceiling_balance=60,
        reference="r",
        external_id="x",
        metadata={"m": 1},
    )
    (recorded,) = ask_all(db, "get_transaction", **given)
    assert recorded == {
        "account_id": "a",
        "key": "k",
        "seq": None,
        "type": "TOP_UP",
        "amount": 60,
        "requested_amount": 100,
        "running_balance": None,
        "status": "PENDING",
        "reference": "r",
        "external_id": "x",
        "metadata": {"m": 1},
        "created_at": row["created_at"],
        "expires_at": None,
        "original_seq": None,
        "counterparty": None,
        "usage": None,
    }
    ask(db, "cancel_transaction", **given)
    assert ask(db, "get_transaction", **given)["status"] == "CANCELLED"
    ask(db, "enable_transaction", **given, external_id="x")
    assert ask(db, "get_transaction", **given)["status"] == "POSTED"


def test_an_announcement_without_a_key_is_found_by_the_one_it_got(db: Ledger) -> None:
    row = ask(db, "top_up", account_id="a", amount=5, is_active=False)
    assert ask(db, "get_transaction", account_id="a", key=row["key"])["amount"] == 5
    ask(db, "enable_transaction", account_id="a", key=row["key"])
    assert ask(db, "get_transaction", account_id="a", key=row["key"])["seq"] == 1
    assert ask(db, "get_transaction", account_id="a", key="#1")["key"] == row["key"]


def test_what_is_not_there_is_no_row(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10, key="k")
    for account_id, key in [
        ("a", "other"),
        ("b", "k"),
        ("b", "#1"),
        ("a", "#2"),
        ("a", "#0"),
        ("a", "#-1"),
        ("a", "#01"),
        ("a", "#1 "),
        ("a", "#"),
        ("a", "#9223372036854775808"),
        ("a", "#" + "9" * 200),
    ]:
        assert ask_all(db, "get_transaction", account_id=account_id, key=key) == []


def test_history_of_another_system_is_told(db: Ledger) -> None:
    write_history(db, "a", 100, -30, key="old")
    assert ask(db, "get_transaction", account_id="a", key="old2")["running_balance"] == 70
    assert ask(db, "get_transaction", account_id="a", key="#1")["key"] == "old1"


def test_a_hold_is_told_with_what_became_of_it(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    given = {"account_id": "a", "key": "k"}
    ask(db, "hold", **given, amount=10, expires_at="2200-01-01 00:00Z")
    held = ask(db, "get_transaction", **given)
    assert (held["status"], held["amount"], held["seq"]) == ("PENDING", -10, None)
    assert held["expires_at"] == datetime(2200, 1, 1, tzinfo=UTC)
    let_expire(db)
    assert ask(db, "get_transaction", **given)["status"] == "EXPIRED"
    ask(db, "run_due")
    assert ask(db, "get_transaction", **given)["status"] == "EXPIRED"
    ask(db, "hold", account_id="a", key="l", amount=10, expires_at="2200-01-01")
    ask(db, "capture", account_id="a", key="l", amount=4)
    captured = ask(db, "get_transaction", account_id="a", key="l")
    assert (captured["status"], captured["amount"]) == ("POSTED", -4)
    assert captured["expires_at"] is None


def test_a_transaction_tells_what_it_undoes_and_who_is_on_the_other_side(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "open_account", account_id="b")
    ask(db, "refund", account_id="a", original_key="#1", amount=10)
    ask(db, "transfer", from_account_id="a", to_account_id="b", amount=10)
    told = [ask(db, "get_transaction", account_id="a", key=f"#{n}") for n in (1, 2, 3)]
    assert [(t["original_seq"], t["counterparty"]) for t in told] == [
        (None, None),
        (1, None),
        (None, "b"),
    ]
