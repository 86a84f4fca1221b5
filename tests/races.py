"""What the races share: accounts made for every round, and how a round is judged.

Every race counts the rounds that came out wrong, so that what the racers were told is there to read
when one did.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import LiteralString

from tests.sessions import Call, Connect, Connection, Outcome, Row, race

ROUNDS = 200


def for_each_account(db: Connection, accounts: int, call: LiteralString) -> None:
    """Run a call on every account of the race, named as `account`, before it starts."""
    db.execute(
        f"select {call} from (select 'r' || n as account from generate_series(0, %s) n) a",
        (accounts - 1,),
    )


def balances(db: Connection) -> dict[str, int]:
    """What the journal sums up to, per account: the truth that nothing caches."""
    summed = db.execute(
        "select account_id, sum(amount)::bigint as total from pgledger.transactions group by 1"
    )
    return {row["account_id"]: row["total"] for row in summed}


def unsound(db: Connection) -> list[Row]:
    """Disagreements by verify(), and by a reckoning that does not share a line with it."""
    reckoned = db.execute(
        """
        with journal as (
          select t.account_id, t.seq, t.running_balance,
            row_number() over w as place, sum(t.amount) over w as total
          from pgledger.transactions t
          window w as (partition by t.account_id order by t.seq)
        ), last as (
          select distinct on (account_id) account_id, seq, running_balance
          from journal
          order by account_id, seq desc
        )
        select account_id, seq from journal where seq <> place or running_balance <> total
        union all
        select b.account_id, b.seq
        from pgledger.balances b
        left join last l on l.account_id = b.account_id
        where b.balance <> coalesce(l.running_balance, 0) or b.seq <> coalesce(l.seq, 0)
        """
    ).fetchall()
    return reckoned + db.execute("select * from pgledger.verify()").fetchall()


def words(outcomes: Sequence[Outcome]) -> Counter[str]:
    return Counter(outcome.word for outcome in outcomes)


Judge = Callable[[int, list[Outcome]], bool]


def wrong_rounds(
    connect: Connect, calls: Callable[[int], Sequence[Call]], is_right: Judge
) -> list[tuple[int, list[str]]]:
    """Run the race; the rounds that came out wrong, with what each racer was told."""
    outcomes = race(connect, ROUNDS, calls)
    assert len(outcomes) == ROUNDS
    return [
        (number, [outcome.word for outcome in round_])
        for number, round_ in enumerate(outcomes)
        if not is_right(number, round_)
    ]
