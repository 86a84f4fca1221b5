"""The public API as a user's type checker sees it; checked by mypy, never run."""

from datetime import UTC, datetime
from typing import Any, assert_type

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pgledger import (
    Account,
    AsyncLedger,
    Balance,
    Disagreement,
    Ledger,
    Posting,
    ReferenceUsage,
    Transaction,
)


def sync_facade(connection: psycopg.Connection[Any], pool: ConnectionPool) -> None:
    ledger = Ledger(connection)
    Ledger(pool)
    assert_type(ledger.spend("u", 1, key="k", shortfall="PARTIAL"), Posting)
    assert_type(ledger.open_account("u"), Account)
    assert_type(ledger.get_balance("u"), Balance)
    assert_type(ledger.get_credits("u"), int)
    assert_type(ledger.check_credits("u", 1), bool)
    assert_type(ledger.get_transaction("u", "k"), Transaction | None)
    assert_type(ledger.balance_at("u", datetime.now(UTC)), int)
    assert_type(ledger.history("u"), list[Transaction])
    assert_type(ledger.usage_by_reference("u"), list[ReferenceUsage])
    assert_type(ledger.verify(), list[Disagreement])
    with ledger.transaction() as tx:
        assert_type(tx, Ledger)
    assert_type(ledger.transact(lambda tx: tx.get_credits("u")), int)

    ledger.spend("u", "1")  # type: ignore[arg-type]
    ledger.spend("u", 1, "k")  # type: ignore[call-arg]
    ledger.spend("u", 1, shortfall="NO")  # type: ignore[arg-type]
    ledger.add_transaction("u", 1, "NO")  # type: ignore[arg-type]
    ledger.top_up("u")  # type: ignore[call-arg]


async def async_facade(connection: psycopg.AsyncConnection[Any], pool: AsyncConnectionPool) -> None:
    ledger = AsyncLedger(connection)
    AsyncLedger(pool)
    assert_type(await ledger.spend("u", 1, key="k"), Posting)
    assert_type(await ledger.history("u"), list[Transaction])
    async with ledger.transaction() as tx:
        assert_type(tx, AsyncLedger)

    _ = ledger.spend("u", 1).balance  # type: ignore[attr-defined]
