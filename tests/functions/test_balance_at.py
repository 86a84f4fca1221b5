from datetime import UTC, datetime, timedelta

import pytest

from tests.support import Ledger, ask, everything, refused, value, write_history

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)


def write_movements(db: Ledger, *movements: tuple[int, datetime]) -> None:
    """Write movements of 1 each, with the seq and the instant given."""
    for position, (seq, at) in enumerate(movements, start=1):
        db.execute(
            "insert into pgledger.transactions"
            " (account_id, seq, amount, running_balance, created_at, type)"
            " values ('a', %s, 1, %s, %s, 'GRANT')",
            [seq, position, at],
        )


def balance_at(db: Ledger, at: datetime) -> int:
    answer = value(db, "balance_at", account_id="a", at=at)
    assert isinstance(answer, int)
    return answer


def test_an_unknown_account_was_always_empty(db: Ledger) -> None:
    before = everything(db)
    assert balance_at(db, NOON) == 0
    assert everything(db) == before


def test_an_instant_counts_what_was_posted_up_to_and_including_it(db: Ledger) -> None:
    write_movements(db, (1, NOON), (2, NOON + SECOND))
    assert balance_at(db, NOON - TICK) == 0
    assert balance_at(db, NOON) == 1
    assert balance_at(db, NOON + TICK) == 1
    assert balance_at(db, NOON + SECOND - TICK) == 1
    assert balance_at(db, NOON + SECOND) == 2
    assert balance_at(db, datetime.max.replace(tzinfo=UTC)) == 2
    assert balance_at(db, datetime.min.replace(tzinfo=UTC)) == 0


def test_of_equal_instants_the_last_counts(db: Ledger) -> None:
    write_movements(db, (1, NOON), (2, NOON), (3, NOON), (4, NOON + SECOND), (5, NOON + SECOND))
    assert balance_at(db, NOON) == 3
    assert balance_at(db, NOON + SECOND) == 5
    assert balance_at(db, NOON - TICK) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 33])
def test_every_instant_of_a_journal_is_exact(db: Ledger, count: int) -> None:
    write_movements(db, *((n, NOON + n * SECOND) for n in range(1, count + 1)))
    for n in range(count + 2):
        assert balance_at(db, NOON + n * SECOND) == min(n, count)


@pytest.mark.parametrize(
    "seqs",
    [
        (5,),
        (2, 3),
        (1, 100),
        (7, 8, 9),
        (1, 2, 50, 51, 1000),
        (10, 1_000_000_000_000),
        (3, 2**63 - 1),
    ],
)
def test_gaps_in_the_history_of_another_system_do_not_matter(
    db: Ledger, seqs: tuple[int, ...]
) -> None:
    write_movements(db, *((seq, NOON + n * SECOND) for n, seq in enumerate(seqs, start=1)))
    for n in range(len(seqs) + 2):
        assert balance_at(db, NOON + n * SECOND) == min(n, len(seqs))


def test_it_agrees_with_the_journal(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "top_up", account_id="a", amount=100, is_active=False)
    for amount in (1, 2, 3, 4, 5):
        row = ask(db, "spend", account_id="a", amount=amount)
        assert balance_at(db, row["created_at"]) == row["running_balance"]
    write_history(db, "b", 7)
    assert value(db, "balance_at", account_id="b", at=row["created_at"]) == 7


@pytest.mark.parametrize("at", ["infinity", "-infinity"])
def test_an_infinite_instant_is_refused(db: Ledger, at: str) -> None:
    details = refused(db, "22023", "balance_at", account_id="a", at=at)
    assert (details["parameter"], details["given"]) == ("at", at)
