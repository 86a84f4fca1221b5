"""Charge for work and record what was paid for, in one transaction.

Run it with a database that has the ledger: python examples/credits.py "postgresql:///app"
"""

import sys
from datetime import UTC, datetime, timedelta

import psycopg

from pgledger import InsufficientCreditsError, Ledger


def answer(ledger: Ledger, account: str, request: str) -> str:
    """Charge one request and store its answer, both or neither; a retry answers the same."""
    with ledger.transaction() as tx:
        paid = tx.spend(account, 30, key=request, reference="chat-7")
        if not paid.replayed:
            tx.connection.execute(
                "insert into answers (request, text) values (%s, %s)", (request, "42")
            )
        row = tx.connection.execute(
            "select text from answers where request = %s", (request,)
        ).fetchone()
        return str(row[0]) if row else ""


def stream(ledger: Ledger, account: str, request: str) -> str:
    """Hold an estimate, work outside of any transaction, and charge what was delivered."""
    # Should this process die, the hold ends by itself.
    expires_at = datetime.now(UTC) + timedelta(minutes=15)
    ledger.hold(account, 15, key=request, expires_at=expires_at, reference="chat-7")
    sent: list[str] = []
    try:
        # Come in from a model, one by one, until they are all there or something fails.
        sent.extend(("forty", "two"))
    finally:
        if sent:
            ledger.capture(account, request, amount=4 * len(sent))
        else:
            ledger.release(account, request)
    return " ".join(sent)


def main(database_url: str) -> None:
    """Tell the story of one customer."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "create table if not exists answers (request text primary key, text text)"
        )
        ledger = Ledger(connection)
        ledger.top_up("bob", 50, key="order-1", external_id="pi_1")
        print("answer:", answer(ledger, "bob", "request-1"))
        print("again: ", answer(ledger, "bob", "request-1"))
        try:
            answer(ledger, "bob", "request-2")
        except InsufficientCreditsError as refused:
            print("refused:", refused.details["missing"], "credits are missing")
        print("streamed:", stream(ledger, "bob", "request-3"))
        print("left:", ledger.get_credits("bob"))


if __name__ == "__main__":
    main(sys.argv[1])
