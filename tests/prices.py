"""What the tests of prices and usage share."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tests.support import Ledger, ask, ask_all


def set_price(db: Ledger, code: str, prices: dict[str, Any], **more: object) -> DictRow:
    """Set the prices of a code."""
    return ask(db, "set_price", code=code, prices=Jsonb(prices), **more)


def list_of(db: Ledger, code: str) -> list[DictRow]:
    """Return every price list of a code, withdrawn ones too, oldest first."""
    return db.execute(
        "select code, valid_from, rounding::text from pgledger.price_lists"
        " where code = %s order by valid_from",
        [code],
    ).fetchall()


def in_force(db: Ledger, code: str, at: datetime | None = None) -> dict[str, Decimal]:
    """Return what each unit costs, as list_prices tells it."""
    return {
        row["unit"]: row["credits_per_unit"] for row in ask_all(db, "list_prices", code=code, at=at)
    }
