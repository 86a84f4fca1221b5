"""What the tests of plans and spending caps share: a calendar of days, and days that pass.

Time passes by moving all that is recorded into the past by whole days: a calendar of days, or of
weeks when it is seven of them, then fits what was moved as it fitted before.
"""

from datetime import UTC, date, datetime, timedelta

from tests.support import Ledger, ask, let_pass

TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)
# To where it was about noon when the tests began, so that none of them runs into the next day.
_AHEAD = 12 - datetime.now(UTC).hour


def zone() -> str:
    """Name the time zone in which the tests count days."""
    return f"Etc/GMT{-_AHEAD:+}"


def today(days: int = 0) -> date:
    """Return the date there, or that of so many days later."""
    return (datetime.now(UTC) + timedelta(hours=_AHEAD, days=days)).date()


def midnight(days: int = 0) -> datetime:
    """Return the instant at which that date begins there."""
    day = today(days)
    return datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=_AHEAD)


def plan(db: Ledger, code: str = "pro", amount: int = 100, **terms: object) -> None:
    """Create a plan: so many credits each day, that expire with it, unless said otherwise."""
    given = {"period": "1 day", "policy": "RESET", "time_zone": zone()}
    ask(db, "create_plan", code=code, amount=amount, **(given | terms))


def refills(db: Ledger, account_id: str = "a") -> list[tuple[str, int]]:
    """Return the key, without what all have in common, and amount of each refill posted."""
    found = db.execute(
        "select key, amount from pgledger.transactions"
        " where account_id = %s and starts_with(key, '#refill-') order by seq",
        [account_id],
    )
    return [(row["key"].removeprefix("#refill-"), row["amount"]) for row in found]


def let_days_pass(db: Ledger, days: int) -> None:
    """Let days pass, which what names a day must learn, too."""
    let_pass(db, f"{days * 24} hours")
    db.execute("alter table pgledger.transactions disable trigger transactions_append_only")
    for end in ("start", "end"):
        db.execute(
            "update pgledger.transactions set metadata = metadata || jsonb_build_object("
            f" 'period_{end}', pgledger._utc((metadata ->> 'period_{end}')::timestamptz - %s))"
            " where starts_with(key, '#refill-')",
            [timedelta(hours=days * 24)],
        )
    db.execute(
        "update pgledger.transactions"
        " set key = left(key, -10) || (right(key, 10)::date - %s::integer)"
        " where starts_with(key, '#refill-')",
        [days],
    )
    db.execute("alter table pgledger.transactions enable always trigger transactions_append_only")
