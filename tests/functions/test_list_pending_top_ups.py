import pytest

from tests.support import Ledger, ask, ask_all, let_pass


@pytest.fixture
def announced(db: Ledger) -> Ledger:
    """A checkout that was paid, one that is not, an auto-top-up, and what is no top-up."""
    for key in ("paid", "open", "dropped"):
        ask(db, "create_top_up", account_id="a", amount=100, key=key)
    ask(db, "enable_transaction", account_id="a", key="paid", external_id="pi_1")
    ask(db, "cancel_transaction", account_id="a", key="dropped")
    let_pass(db, "1 day")
    ask(db, "hold", account_id="a", amount=10, key="held")
    card = {"amount": 1, "type": "CARD_CHECK", "key": "card", "is_active": False}
    ask(db, "add_transaction", account_id="a", **card)
    ask(db, "top_up", account_id="b", amount=60, key="first")
    ask(db, "set_auto_top_up", account_id="b", threshold=50, amount=500)
    ask(db, "spend", account_id="b", amount=20)
    return db


def listed(db: Ledger, **given: object) -> list[tuple[str, str]]:
    return [(row["account_id"], row["key"]) for row in ask_all(db, "list_pending_top_ups", **given)]


def test_what_is_neither_paid_nor_given_up_is_listed_oldest_first(announced: Ledger) -> None:
    assert listed(announced) == [("a", "open"), ("b", "#auto-1")]
    assert listed(announced, limit_count=1) == [("a", "open")]


def test_it_tells_what_a_claim_would(announced: Ledger) -> None:
    (claimed,) = ask_all(announced, "claim_top_ups")
    checkout, auto = ask_all(announced, "list_pending_top_ups")
    assert auto == claimed
    assert (checkout["amount"], checkout["claims"], checkout["due_at"]) == (100, 0, None)


def test_it_is_of_one_account_where_one_is_given(announced: Ledger) -> None:
    assert listed(announced, account_id="b") == [("b", "#auto-1")]
    assert listed(announced, account_id="unknown") == []


def test_it_is_of_what_was_announced_before_an_instant(announced: Ledger) -> None:
    (checkout, auto) = ask_all(announced, "list_pending_top_ups")
    assert listed(announced, before=auto["created_at"]) == [("a", "open")]
    assert listed(announced, before=checkout["created_at"]) == []


def test_it_keeps_the_order_however_the_rows_are_put_together(db: Ledger) -> None:
    db.execute("set enable_nestloop = off")
    db.execute("set enable_mergejoin = off")
    keys = [f"order-{number}" for number in range(50)]
    for key in keys:
        ask(db, "create_top_up", account_id="a", amount=100, key=key)
    assert [key for _, key in listed(db)] == keys
