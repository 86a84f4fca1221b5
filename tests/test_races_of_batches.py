"""Batches under several connections at once: nobody waits in a circle, nothing is lost or doubled.

`PGLEDGER_RACE_SECONDS=60 pytest tests/test_races_of_batches.py` posts overlapping batches for that
long; without it, so many of them.
"""

import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import LiteralString

import pytest

from tests.batches import Item, arguments_of, credit, fund, spend
from tests.batches import words as told
from tests.races import ROUNDS, for_each_account, unsound, words, wrong_rounds
from tests.sessions import (
    LEVELS,
    RETRY,
    SNAPSHOT_LEVELS,
    Call,
    Connect,
    Connection,
    Outcome,
    begin,
    stepped,
)
from tests.support import everything, posted, unreckoned

GIVEN_SECONDS = os.environ.get("PGLEDGER_RACE_SECONDS")
BATCHES = 60

# All items of an account and of a key, signed amounts, both keyed and not.
BATCH: LiteralString = """
select * from pgledger.post_batch(
  %s::text[], %s::bigint[],
  (select array_agg(case when n < 0 then 'USAGE' else 'GRANT' end::pgledger.transaction_type
    order by place) from unnest(%s::bigint[]) with ordinality u (n, place)),
  %s::text[])
"""
TOP_UP: LiteralString = "select * from pgledger.top_up(%s, %s)"
SPEND: LiteralString = "select * from pgledger.spend(%s, %s)"
TRANSFER: LiteralString = "select * from pgledger.transfer(%s, %s, %s)"
CAPTURE: LiteralString = "select * from pgledger.capture(%s, %s)"


def batch(*items: Item) -> Call:
    """A batch as a call of a racer."""
    amounts = [item["amount"] for item in items]
    accounts, keys = [item["account_id"] for item in items], [item.get("key") for item in items]
    return BATCH, [accounts, amounts, amounts, keys]


def refusals(outcome: Outcome) -> list[str]:
    """Each answer of a batch in one word, or the error of all of it."""
    return told(outcome.rows) if outcome.sqlstate is None else [outcome.sqlstate]


def journal_of(db: Connection) -> Counter[tuple[str, int, str | None]]:
    found = db.execute("select account_id, amount, key from pgledger.transactions").fetchall()
    return Counter((row["account_id"], row["amount"], row["key"]) for row in found)


# Scripts


def test_two_batches_in_opposite_order_wait_for_each_other_and_not_in_a_circle(
    connect: Connect, db: Connection
) -> None:
    fund(db, a=100, b=100, c=100)
    with stepped(connect, 3) as (holder, first, second):
        holder.run("begin")
        holder.run(SPEND, "b", 1)
        # Each has its first lock, of the same account, or waits for it; nobody holds a later one.
        assert first.start(*flat(batch(spend(1, "c"), spend(1, "b"), spend(1, "a"))))
        assert second.start(*flat(batch(spend(1, "a"), spend(1, "b"), spend(1, "c"))))
        with stepped(connect, 1) as (other,):
            other.run(SPEND, "c", 1)
        holder.run("commit")
        assert (refusals(first.finish()), refusals(second.finish())) == (["ok"] * 3, ["ok"] * 3)
    assert posted(db, "a") == [100, -1, -1]
    assert posted(db, "b") == posted(db, "c") == [100, -1, -1, -1]
    assert unsound(db) == []


def flat(call: Call) -> tuple[LiteralString, *tuple[object, ...]]:
    statement, arguments = call
    return statement, *arguments


def test_a_batch_locks_in_the_order_in_which_a_transfer_does(
    connect: Connect, db: Connection
) -> None:
    # Upper case comes first by bytes, and last by most languages.
    fund(db, b=100, A=100)
    with stepped(connect, 3) as (holder, poster, sender):
        holder.run("begin")
        holder.run(SPEND, "A", 1)
        assert poster.start(*flat(batch(spend(1, "b"), spend(1, "A"))))
        assert sender.start(TRANSFER, "b", "A", 5)
        with stepped(connect, 1) as (other,):
            other.run(SPEND, "b", 1)
        holder.run("commit")
        assert refusals(poster.finish()) == ["ok", "ok"]
        assert sender.finish().word == "ok"
    assert unsound(db) == []


def test_a_batch_and_a_transfer_lock_in_one_order_where_a_balance_row_is_missing(
    connect: Connect, db: Connection
) -> None:
    fund(db, b=100, A=100)
    db.execute("delete from pgledger.balances where account_id = 'A'")
    with stepped(connect, 3) as (holder, poster, sender):
        holder.run("begin")
        holder.run(SPEND, "A", 1)
        assert poster.start(*flat(batch(spend(1, "b"), spend(1, "A"))))
        assert sender.start(TRANSFER, "b", "A", 5)
        with stepped(connect, 1) as (other,):
            other.run(SPEND, "b", 1)
        holder.run("commit")
        assert refusals(poster.finish()) == ["ok", "ok"]
        assert sender.finish().word == "ok"
    assert unsound(db) == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_batch_waits_for_a_top_up_in_flight_and_follows_its_ending(
    connect: Connect, db: Connection, end: LiteralString
) -> None:
    fund(db, a=5, b=5)
    with stepped(connect) as (payer, poster):
        payer.run("begin")
        payer.run(TOP_UP, "a", 10)
        assert poster.start(*flat(batch(spend(12, "a"), spend(3, "a"), spend(3, "b"))))
        payer.run(end)
        outcome = poster.finish()
    assert refusals(outcome) == ["ok" if end == "commit" else "LG001", "ok", "ok"]
    balances = [row["balance"] for row in outcome.rows]
    assert balances == ([3, 0, 2] if end == "commit" else [5, 2, 2])
    assert unsound(db) == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("known", [True, False], ids=["history", "unknown"])
def test_a_batch_waits_for_a_first_movement_in_flight(
    connect: Connect, db: Connection, end: LiteralString, *, known: bool
) -> None:
    if known:
        fund(db, a=5)
        db.execute("delete from pgledger.balances")
    with stepped(connect) as (first, poster):
        first.run("begin")
        first.run(TOP_UP, "a", 10)
        assert poster.start(*flat(batch(spend(12, "a"), credit(4, "a"), spend(7, "a"))))
        first.run(end)
        outcome = poster.finish()
    expected = {
        (True, "commit"): ["ok", "ok", "ok"],
        (True, "rollback"): ["LG001", "ok", "ok"],
        (False, "commit"): ["LG001", "ok", "ok"],
        (False, "rollback"): ["LG001", "ok", "LG001"],
    }
    assert refusals(outcome) == expected[known, end]
    assert unsound(db) == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_first_movement_waits_for_a_batch_that_makes_the_balance_row(
    connect: Connect, db: Connection, end: LiteralString
) -> None:
    with stepped(connect) as (poster, spender):
        poster.run("begin")
        poster.run(*flat(batch(credit(5, "a"), credit(5, "b"), spend(2, "a"))))
        assert spender.start(SPEND, "a", 3)
        poster.run(end)
        assert spender.finish().word == ("ok" if end == "commit" else "LG001")
    assert posted(db, "a") == ([5, -2, -3] if end == "commit" else [])
    assert unsound(db) == []


def test_what_a_batch_only_looked_at_is_free_when_it_ends(connect: Connect, db: Connection) -> None:
    with stepped(connect) as (poster, payer):
        poster.run("begin")
        poster.run(*flat(batch(spend(1, "a"), spend(1, "b"))))
        payer.start(TOP_UP, "b", 5)
        poster.run("commit")
        assert payer.finish().word == "ok"
        assert refusals(poster.run(*flat(batch(spend(1, "a"), spend(1, "b"))))) == ["LG001", "ok"]
    assert unsound(db) == []


def test_the_same_batch_twice_at_once_is_posted_once(connect: Connect, db: Connection) -> None:
    fund(db, a=100, b=100)
    items = [spend(n, "ab"[n % 2], key=f"k{n}") for n in range(1, 6)]
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(*flat(batch(*items)))
        assert second.start(*flat(batch(*reversed(items))))
        first.run("commit")
        assert refusals(second.finish()) == ["replayed"] * 5
    assert journal_of(db) == Counter(
        {("a", 100, None): 1, ("b", 100, None): 1}
        | {(item["account_id"], item["amount"], item["key"]): 1 for item in items}
    )
    assert unsound(db) == []


def test_of_a_batch_that_is_rolled_back_the_keys_are_free(connect: Connect, db: Connection) -> None:
    fund(db, a=100)
    items = [spend(n, key=f"k{n}") for n in range(1, 4)]
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(*flat(batch(*items)))
        assert second.start(*flat(batch(*items)))
        first.run("rollback")
        assert refusals(second.finish()) == ["ok"] * 3
    assert posted(db, "a") == [100, -1, -2, -3]


@pytest.mark.parametrize("captures_first", [True, False])
def test_a_batch_against_the_capture_of_a_hold_with_its_key(
    connect: Connect, db: Connection, *, captures_first: bool
) -> None:
    db.execute("select pgledger.top_up('a', 100), pgledger.hold('a', 5, 'k')")
    posting = batch(spend(5, key="k"), spend(1))
    with stepped(connect) as (first, second):
        first.run("begin")
        capture: Call = (CAPTURE, ["a", "k"])
        one, other = (capture, posting) if captures_first else (posting, capture)
        first.run(*flat(one))
        assert second.start(*flat(other))
        first.run("commit")
        outcome = second.finish()
    # The key is the hold's, and stays it.
    assert refusals(outcome) == (["LG002", "ok"] if captures_first else ["ok"])
    assert Counter(posted(db, "a")) == Counter([100, -5, -1])
    assert unsound(db) == []


def test_a_batch_waits_for_a_freeze(connect: Connect, db: Connection) -> None:
    fund(db, a=10, b=10)
    with stepped(connect) as (officer, poster):
        officer.run("begin")
        officer.run("select * from pgledger.set_account_status('a', 'FROZEN')")
        assert poster.start(*flat(batch(spend(1, "b"), spend(1, "a"), credit(1, "a"))))
        officer.run("commit")
        assert refusals(poster.finish()) == ["ok", "LG004", "ok"]


def test_a_batch_sees_the_pending_row_that_was_made_while_it_waited(
    connect: Connect, db: Connection
) -> None:
    fund(db, a=10)
    with stepped(connect) as (announcer, poster):
        announcer.run("begin")
        announcer.run("select * from pgledger.top_up('a', 5, 'k', is_active => false)")
        assert poster.start(*flat(batch(spend(1, key="k"), spend(1))))
        announcer.run("commit")
        assert refusals(poster.finish()) == ["LG002", "ok"]
    assert posted(db, "a") == [10, -1]


def test_the_clock_of_a_batch_that_waited_is_read_again(connect: Connect, db: Connection) -> None:
    fund(db, a=10, b=10)
    with stepped(connect) as (holder, poster):
        holder.run("begin")
        holder.run(SPEND, "a", 1)
        assert poster.start(*flat(batch(spend(1, "b"), spend(1, "a"))))
        at = holder.run("select clock_timestamp() as at").row["at"]
        holder.run("commit")
        assert all(row["created_at"] >= at for row in poster.finish().rows)
    assert unsound(db) == []


@pytest.mark.parametrize("level", SNAPSHOT_LEVELS)
@pytest.mark.parametrize("start", ["rich", "history", "unknown"])
def test_a_conflict_of_a_snapshot_is_40001_and_never_a_refusal(
    connect: Connect, db: Connection, level: LiteralString, start: str
) -> None:
    fund(db, b=5)
    if start != "unknown":
        fund(db, a=5)
    if start == "history":
        db.execute("delete from pgledger.balances where account_id = 'a'")
    before = posted(db, "a")
    with stepped(connect) as (payer, poster):
        begin(poster, level)
        payer.run(TOP_UP, "a", 10)
        call = flat(batch(spend(1, "b"), spend(12, "a")))
        assert refusals(poster.run(*call)) == ["40001"]
        poster.run("rollback")
        assert posted(db, "a") == [*before, 10]
        begin(poster, level)
        assert refusals(poster.run(*call)) == ["ok", "ok" if before else "LG001"]
        poster.run("commit")
    assert unsound(db) == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_batch_alone_is_the_same_at_every_level(
    connect: Connect, db: Connection, level: LiteralString
) -> None:
    items = [credit(9, "a"), spend(4, "a", key="k"), spend(4, "a", key="k"), spend(9, "a")]
    with stepped(connect, 1) as (poster,):
        for expected in (["ok", "ok", "replayed", "LG001"], ["ok", "replayed", "replayed", "ok"]):
            begin(poster, level)
            assert refusals(poster.run(*flat(batch(*items)))) == expected
            poster.run("commit")
    assert unsound(db) == []


def test_a_batch_that_is_cut_short_leaves_nothing_behind(connect: Connect, db: Connection) -> None:
    fund(db, a=100, b=100)
    before = everything(db)
    with stepped(connect) as (holder, poster):
        holder.run("begin")
        holder.run(SPEND, "b", 1)
        assert poster.start(*flat(batch(spend(1, "a"), spend(1, "b"), credit(1, "new"))))
        db.execute("select pg_cancel_backend(%s)", (poster.pid,))
        assert refusals(poster.finish()) == ["57014"]
        holder.run("rollback")
    assert everything(db) == before


# Races


def test_first_credits_of_an_account_by_batches_and_calls_at_once_are_all_there(
    connect: Connect, db: Connection
) -> None:
    def calls(number: int) -> list[Call]:
        account, other = f"r{number}", f"R{number}"
        return [
            batch(credit(5, account), credit(5, other)),
            batch(credit(5, other), credit(5, account), spend(1, account)),
            (TOP_UP, [account, 5]),
            (SPEND, [other, 100]),
        ]

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return refusals(round_[1]) == ["ok"] * 3 and words(round_)["LG001"] == 1

    assert wrong_rounds(connect, calls, is_right) == []
    totals = db.execute(
        "select left(account_id, 1) as kind, sum(amount)::int as total from pgledger.transactions"
        " group by 1 order by 1"
    ).fetchall()
    assert {row["kind"]: row["total"] for row in totals} == {"r": 14 * ROUNDS, "R": 10 * ROUNDS}
    assert unsound(db) == []


def test_the_last_credits_go_to_exactly_as_many_items_as_they_cover(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 10)")
    for_each_account(db, ROUNDS, "pgledger.grant_credits('x' || account, 10)")

    def calls(number: int) -> list[Call]:
        one, other = f"r{number}", f"xr{number}"
        there = [spend(3, one), spend(3, other)] * 2
        return [batch(*there), batch(*reversed(there)), (SPEND, [one, 3]), (SPEND, [other, 3])]

    def is_right(_: int, round_: list[Outcome]) -> bool:
        taken = Counter(word for outcome in round_ for word in refusals(outcome))
        return taken == Counter({"ok": 6, "LG001": 4})

    assert wrong_rounds(connect, calls, is_right) == []
    assert unsound(db) == []


# The long proof: what was accepted is in the journal, once, and nothing else is.

ACCOUNTS = [f"account {n}" for n in range(12)] + [f"Account {n}" for n in range(4)]


def some_items(choose: random.Random, keys: list[str]) -> list[Item]:
    """Spends that often are too much, credits, and keys that others use or will use, too."""
    items = []
    for _ in range(choose.choice([1, 5, 20, 50])):
        account_id = choose.choice(ACCOUNTS)
        key = choose.choice(keys) if choose.random() < 0.7 else None
        # What is asked under a key is always the same.
        amount = 1 + hash_of(key) % 9 if key else choose.randint(1, 9)
        one = credit if (hash_of(key) if key else choose.randint(0, 99)) % 10 < 4 else spend
        items.append(one(amount, account_id, key=key))
    return items


def hash_of(key: str) -> int:
    return int(key.rsplit(maxsplit=1)[-1]) * 7919


class Poster:
    """Posts batches until told to stop, each in a transaction of its own, and keeps the answers."""

    def __init__(self, connection: Connection, seed: int) -> None:
        self.connection = connection
        self.choose = random.Random(seed)  # noqa: S311 - the races are no secret
        self.answers: Counter[tuple[str, int, str | None]] = Counter()
        self.said: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def post(self, number: int) -> None:
        # New keys come up as old ones are still repeated, by everybody.
        keys = [f"key {n}" for n in range(number * 4, number * 4 + 60)]
        items = some_items(self.choose, keys)
        arguments, values = arguments_of(items)
        statement = f"select * from pgledger.post_batch({arguments})".encode()
        level = self.choose.choice(["read committed"] * 4 + ["repeatable read"])
        rolls_back = self.choose.random() < 0.1
        with self.connection.transaction(force_rollback=rolls_back):
            self.connection.execute(f"set transaction isolation level {level}".encode())
            rows = self.connection.execute(statement, values).fetchall()
            assert [(row["account_id"], row["requested_amount"]) for row in rows] == [
                (item["account_id"], item["amount"]) for item in items
            ]
        if not rolls_back:
            self.said.update(told(rows))
            for row, item in zip(rows, items, strict=True):
                if row["status"] == "POSTED" and not row["replayed"]:
                    self.answers[row["account_id"], row["seq"], item.get("key")] += 1


def post_until(poster: Poster, barrier: threading.Barrier, ends_at: float | None) -> Poster:
    barrier.wait()
    for number in range(BATCHES) if ends_at is None else count():
        if ends_at is not None and time.monotonic() > ends_at:
            break
        try:
            poster.post(number)
        except Exception as error:
            sqlstate = getattr(error, "sqlstate", None)
            if sqlstate is None:
                raise
            poster.errors[sqlstate] += 1
    return poster


def test_what_was_accepted_of_overlapping_batches_is_in_the_journal_once(
    connect: Connect, db: Connection
) -> None:
    fund(db, **dict.fromkeys(ACCOUNTS, 9))
    posters = [Poster(connect(), seed) for seed in range(4)]
    barrier = threading.Barrier(len(posters), timeout=30)
    ends_at = time.monotonic() + float(GIVEN_SECONDS) if GIVEN_SECONDS else None
    with ThreadPoolExecutor(max_workers=len(posters)) as threads:
        running = [threads.submit(post_until, poster, barrier, ends_at) for poster in posters]
        for future in running:
            future.result()
    # Who keeps a snapshot may be told to try again; nobody waited in a circle.
    assert set().union(*(poster.errors for poster in posters)) <= RETRY - {"40P01"}
    accepted = sum((poster.answers for poster in posters), Counter())
    said = sum((poster.said for poster in posters), Counter())
    assert min(said[word] for word in ("ok", "replayed", "LG001")) > len(posters) * BATCHES
    recorded = db.execute(
        "select account_id, seq, key from pgledger.transactions where type <> 'TOP_UP'"
    ).fetchall()
    assert Counter((r["account_id"], r["seq"], r["key"]) for r in recorded) == accepted
    assert unsound(db) == []
    assert unreckoned(db) == []
