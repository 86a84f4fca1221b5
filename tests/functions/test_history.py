import pytest

from tests.support import Ledger, ask, ask_all, everything, refused, write_history


def seqs(db: Ledger, **given: object) -> list[int]:
    return [row["seq"] for row in ask_all(db, "history", **given)]


def test_an_unknown_account_has_none(db: Ledger) -> None:
    before = everything(db)
    assert ask_all(db, "history", account_id="a") == []
    assert everything(db) == before


def test_it_is_told_newest_first_as_get_transaction_tells_it(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100, key="k", external_id="x", ceiling_balance=60)
    ask(db, "spend", account_id="a", amount=3, reference="r", metadata={"m": 1})
    ask(db, "top_up", account_id="a", amount=5, key="pending", is_active=False)
    ask(db, "top_up", account_id="b", amount=5)
    assert ask_all(db, "history", account_id="a") == [
        ask(db, "get_transaction", account_id="a", key=key) for key in ("#2", "k")
    ]


def test_it_is_paged_by_seq(db: Ledger) -> None:
    for _ in range(7):
        ask(db, "grant_credits", account_id="a", amount=1)
    assert seqs(db, account_id="a", limit_count=3) == [7, 6, 5]
    assert seqs(db, account_id="a", limit_count=3, before_seq=5) == [4, 3, 2]
    assert seqs(db, account_id="a", limit_count=3, before_seq=2) == [1]
    assert seqs(db, account_id="a", limit_count=3, before_seq=1) == []
    assert seqs(db, account_id="a", before_seq=None) == [7, 6, 5, 4, 3, 2, 1]


def test_a_page_has_100_rows_unless_told_otherwise(db: Ledger) -> None:
    write_history(db, "a", *[1] * 102)
    assert len(seqs(db, account_id="a")) == 100
    assert len(seqs(db, account_id="a", limit_count=10_000)) == 102


def test_it_is_told_of_one_type(db: Ledger) -> None:
    for type_ in ("TOP_UP", "GRANT", "TOP_UP", "GRANT", "TOP_UP"):
        ask(db, "add_transaction", account_id="a", amount=1, type=type_)
    assert seqs(db, account_id="a", type="TOP_UP") == [5, 3, 1]
    assert seqs(db, account_id="a", type="TOP_UP", limit_count=1, before_seq=5) == [3]
    assert seqs(db, account_id="a", type="USAGE") == []


def test_history_of_another_system_is_told(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    assert [row["running_balance"] for row in ask_all(db, "history", account_id="a")] == [70, 100]


@pytest.mark.parametrize("limit_count", [0, -1, 10_001, -(2**31), 2**31 - 1])
def test_a_page_has_at_least_one_row_and_an_end(db: Ledger, limit_count: int) -> None:
    details = refused(db, "22023", "history", account_id="a", limit_count=limit_count)
    assert (details["parameter"], details["given"]) == ("limit_count", str(limit_count))
