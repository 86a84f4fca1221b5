"""What the tests of top-ups share: accounts whose auto-top-up has asked, and their charges."""

from typing import Any

from tests.support import Ledger, ask

KEY = "#auto-1"


def owe(db: Ledger, account_id: str = "a", **settings: object) -> None:
    """Let an account's auto-top-up ask for 200 credits."""
    ask(db, "top_up", account_id=account_id, amount=100)
    given = {"threshold": 50, "amount": 200} | settings
    ask(db, "set_auto_top_up", account_id=account_id, **given)
    ask(db, "spend", account_id=account_id, amount=60, reference="chat")


def come_due(db: Ledger, account_id: str = "a") -> None:
    """Let the leases and pauses of an account be over."""
    db.execute(
        "update pgledger.charges set due_at = clock_timestamp() where due_at is not null"
        " and account_id = %s",
        [account_id],
    )


def charge(db: Ledger, key: str = KEY, account_id: str = "a") -> dict[str, Any]:
    """Return the row of charges, how long until it is due in whole minutes instead of when."""
    row = db.execute(
        "select due_at is not null as due, claims, declines, reason,"
        " round(extract(epoch from due_at - clock_timestamp()) / 60)::int as minutes"
        " from pgledger.charges where account_id = %s and key = %s",
        [account_id, key],
    ).fetchone()
    assert row is not None
    return row


def decline(db: Ledger, attempt: int, key: str = KEY, **given: object) -> dict[str, Any]:
    """Let the provider decline a charge."""
    given = {"account_id": "a", "key": key, "reason": "card_declined"} | given
    return ask(db, "decline_top_up", attempt=attempt, **given)


def settings(db: Ledger, account_id: str = "a") -> dict[str, Any]:
    """Return the auto-top-up of an account."""
    return ask(db, "get_auto_top_up", account_id=account_id)


def armed_below(db: Ledger, account_id: str = "a") -> int | None:
    """Return the threshold that the balance row has an eye on."""
    row = db.execute(
        "select top_up_below from pgledger.balances where account_id = %s", [account_id]
    ).fetchone()
    assert row
    return row["top_up_below"]  # type: ignore[no-any-return]
