from tests.support import Ledger, ask, ask_all, write_history


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
