"""Batches as the tests give them: a list of items, each a dict of what it asks for.

An item is posted in a batch, from arrays or from JSON, or by a call of its own; either way its
answer is a row, and a misuse is told as one.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tests.sessions import Connection, Row
from tests.support import ask

Item = dict[str, Any]

# What an item may say, and the array of post_batch that says it for all of them.
ARRAYS = {
    "account_id": ("account_ids", "text"),
    "amount": ("amounts", "bigint"),
    "type": ("types", "pgledger.transaction_type"),
    "key": ("keys", "text"),
    "reference": ("reference_ids", "text"),
    "metadata": ("metadata", "jsonb"),
    "shortfall": ("shortfalls", "text"),
    "external_id": ("external_ids", "text"),
    "ceiling_balance": ("ceiling_balances", "bigint"),
    "expires_at": ("expires_at", "timestamptz"),
    "priority": ("priorities", "integer"),
    "code": ("codes", "text"),
    "quantities": ("quantities", "jsonb"),
}
REQUIRED = ("account_id", "amount", "type")

# What an item is when it says nothing of it.
PLAIN: Item = {
    "key": None,
    "reference": None,
    "metadata": None,
    "shortfall": None,
    "external_id": None,
    "ceiling_balance": None,
    "expires_at": None,
    "priority": None,
}


def spend(amount: int, account_id: str | None = "a", **more: object) -> Item:
    return {"account_id": account_id, "amount": -amount, "type": "USAGE"} | more


def credit(amount: int, account_id: str | None = "a", **more: object) -> Item:
    return {"account_id": account_id, "amount": amount, "type": "GRANT"} | more


def usage(
    code: str, quantities: dict[str, Any], account_id: str | None = "a", **more: object
) -> Item:
    given = {"account_id": account_id, "amount": None, "type": "USAGE"}
    return given | {"code": code, "quantities": quantities} | more


def fund(db: Connection, **credits_of: int) -> None:
    """Give so many credits to each account, by a call of its own."""
    for account_id, amount in credits_of.items():
        ask(db, "top_up", account_id=account_id, amount=amount)


def arguments_of(items: Sequence[Item]) -> tuple[str, dict[str, object]]:
    """The named arguments that give these items, and their values; what none says is left out."""
    said = [name for name in ARRAYS if name in REQUIRED or any(name in item for item in items)]
    named = (f"{ARRAYS[name][0]} => %({name})s::{ARRAYS[name][1]}[]" for name in said)
    return ", ".join(named), {name: [_as_element(item, name) for item in items] for name in said}


def _as_element(item: Item, name: str) -> object:
    value = item.get(name)
    return Jsonb(value) if ARRAYS[name][1] == "jsonb" and value is not None else value


def as_json(items: Sequence[Item]) -> Jsonb:
    return Jsonb([{name: _as_json(value) for name, value in item.items()} for item in items])


def _as_json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def post_batch(db: Connection, *items: Item, atomic: bool = False) -> list[Row]:
    arguments, values = arguments_of(items)
    return db.execute(
        f"select * from pgledger.post_batch({arguments}, atomic => %(atomic)s)".encode(),
        values | {"atomic": atomic},
    ).fetchall()


def post_batch_json(db: Connection, *items: Item, atomic: bool = False) -> list[Row]:
    return db.execute(
        "select * from pgledger.post_batch_json(%s, %s)", (as_json(items), atomic)
    ).fetchall()


def post_singly(db: Connection, *items: Item) -> list[Row]:
    """Post the items one after the other in one transaction, each by a call of its own."""
    with db.transaction():
        return [_post_one(db, item) for item in items]


def call_of(item: Item) -> tuple[str, Item]:
    """The verb that does what an item asks for, and its arguments."""
    given: Item = PLAIN | item
    shortfall = given.pop("shortfall") or "REFUSE"
    if "code" in item:
        names = ("account_id", "code", "quantities", "key", "reference", "metadata")
        return "spend_usage", {name: given[name] for name in names} | {"shortfall": shortfall}
    if shortfall in {"PARTIAL", "DEBT"}:
        said = {name for name, value in given.items() if value is not None}
        assert given["type"] == "USAGE", "no verb does this"
        assert said <= {*REQUIRED, "key", "reference", "metadata"}, "no verb does this"
        plain = {name: given[name] for name in ("account_id", "key", "reference", "metadata")}
        return "spend", plain | {"amount": -given["amount"], "shortfall": shortfall}
    given["priority"] = given["priority"] or 0
    given["metadata"] = None if given["metadata"] is None else Jsonb(given["metadata"])
    return "add_transaction", given | {"fail_insufficient_credits": shortfall != "FORCE"}


def _post_one(db: Connection, item: Item) -> Row:
    verb, given = call_of(item)
    try:
        with db.transaction():
            return ask(db, verb, **given, raise_refusals=False)
    except psycopg.Error as error:
        return _as_row(item, error)


def _as_row(item: Item, error: psycopg.Error) -> Row:
    """How a batch tells a misuse, which a call of its own raises."""
    raised = error.diag
    return {
        "account_id": item["account_id"],
        "key": item.get("key"),
        "seq": None,
        "type": item["type"],
        "amount": 0,
        "requested_amount": item["amount"],
        "running_balance": None,
        "status": "REFUSED",
        "replayed": False,
        "refusal": raised.sqlstate,
        "created_at": None,
        "error": {
            "message": raised.message_primary,
            "detail": json.loads(raised.message_detail or ""),
            "hint": raised.message_hint,
        },
    }


def words(rows: Sequence[Row]) -> list[str]:
    """Each answer in one word: `ok`, `replayed`, or the SQLSTATE of its refusal."""
    return [row["refusal"] or ("replayed" if row["replayed"] else "ok") for row in rows]
