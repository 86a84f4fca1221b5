import pytest
from psycopg.rows import DictRow

from tests.support import Ledger, ask, ask_all, everything, refused, write_history


def spend(db: Ledger, *references: str | None) -> list[DictRow]:
    return [
        ask(db, "spend", account_id="a", amount=n, reference=reference)
        for n, reference in enumerate(references, start=1)
    ]


def groups(db: Ledger, **given: object) -> list[tuple[str | None, int, int]]:
    found = ask_all(db, "usage_by_reference", account_id="a", **given)
    return [(row["reference"], row["spends"], row["amount"]) for row in found]


def test_an_unknown_account_has_none(db: Ledger) -> None:
    before = everything(db)
    assert groups(db) == []
    assert everything(db) == before


def test_the_spends_of_one_reference_are_one_row(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100, reference="chat")
    first, _, last = spend(db, "chat", "other", "chat")
    assert ask_all(db, "usage_by_reference", account_id="a") == [
        {
            "reference": "chat",
            "spends": 2,
            "amount": -4,
            "first_seq": 2,
            "last_seq": 4,
            "first_at": first["created_at"],
            "last_at": last["created_at"],
        },
        {
            "reference": "other",
            "spends": 1,
            "amount": -2,
            "first_seq": 3,
            "last_seq": 3,
        }
        | {
            at: ask(db, "get_transaction", account_id="a", key="#3")["created_at"]
            for at in ("first_at", "last_at")
        },
    ]


def test_spends_without_a_reference_are_rows_of_their_own(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    spend(db, None, "chat", None)
    assert groups(db) == [(None, 1, -3), ("chat", 1, -2), (None, 1, -1)]


def test_only_usage_counts(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100, reference="chat")
    ask(db, "add_transaction", account_id="a", amount=-5, type="ADJUSTMENT", reference="chat")
    assert groups(db) == []
    spend(db, "chat")
    ask(db, "add_transaction", account_id="a", amount=-5, type="ADJUSTMENT", reference="chat")
    assert groups(db) == [("chat", 1, -1)]


def test_pages_join_without_a_group_twice_or_missing(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=1000)
    spend(db, "a", "b", "a", None, "c", "b", "d", "a", None, "c", "e")
    everyone = groups(db)
    assert [reference for reference, _, _ in everyone] == ["e", "c", None, "a", "d", "b", None]
    for size in (1, 2, 3, 6, 7, 8):
        pages: list[tuple[str | None, int, int]] = []
        before_seq = None
        while page := ask_all(
            db,
            "usage_by_reference",
            account_id="a",
            limit_count=size,
            before_seq=before_seq,
        ):
            assert len(page) <= size
            pages += [(row["reference"], row["spends"], row["amount"]) for row in page]
            before_seq = page[-1]["last_seq"]
        assert pages == everyone


def test_accounts_do_not_share_references(db: Ledger) -> None:
    for account_id in ("a", "b"):
        ask(db, "top_up", account_id=account_id, amount=10)
        ask(db, "spend", account_id=account_id, amount=3, reference="chat")
    assert groups(db) == [("chat", 1, -3)]


def test_history_of_another_system_is_told(db: Ledger) -> None:
    write_history(db, "a", 100, -30, -5, reference="chat")
    assert groups(db) == [("chat", 2, -35)]


@pytest.mark.parametrize("limit_count", [0, -1, 10_001])
def test_a_page_has_at_least_one_row_and_an_end(db: Ledger, limit_count: int) -> None:
    details = refused(db, "22023", "usage_by_reference", account_id="a", limit_count=limit_count)
    assert details["parameter"] == "limit_count"
