"""What the tests of the SQL functions share: calls by name, refusals, and what the tables hold."""

import json
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

Ledger = psycopg.Connection[DictRow]

LOWEST = -(2**63)
HIGHEST = 2**63 - 1

_EVERYTHING = """
select 'account' as what, x::text as is from pgledger.accounts x
union all select 'auto-top-up', x::text from pgledger.auto_top_ups x
union all select 'balance', to_jsonb(x)::text from pgledger.balances x
union all select 'currency', x::text from pgledger.currencies x
union all select 'event', x::text from pgledger.events x
union all select 'pending transaction', x::text from pgledger.pending_transactions x
union all select 'transaction', x::text from pgledger.transactions x
order by 1, 2
"""
# A posting that was taken back leaves its mark here, and nowhere else.
_EVERYTHING_BUT_UPDATED_AT = _EVERYTHING.replace("to_jsonb(x)", "(to_jsonb(x) - 'updated_at')")


def ask_all(db: Ledger, function: str, **given: object) -> list[DictRow]:
    """Call a function of the ledger with named arguments; a dict or list is given as jsonb."""
    arguments = ", ".join(f"{name} => %({name})s" for name in given)
    values = {
        name: Jsonb(value) if isinstance(value, dict | list) else value
        for name, value in given.items()
    }
    return db.execute(f"select * from pgledger.{function}({arguments})", values).fetchall()


def ask(db: Ledger, function: str, **given: object) -> DictRow:
    """Call a function that answers with exactly one row."""
    (row,) = ask_all(db, function, **given)
    return row


def value(db: Ledger, function: str, **given: object) -> Any:  # noqa: ANN401 - whatever it returns
    """Call a function that answers with one value."""
    ((answer,),) = (row.values() for row in ask_all(db, function, **given))
    return answer


def everything(db: Ledger) -> list[DictRow]:
    """Return all that the ledger's tables hold."""
    return db.execute(_EVERYTHING).fetchall()


def refused(db: Ledger, sqlstate: str, function: str, **given: object) -> dict[str, Any]:
    """Require a refusal in words that leaves no trace, and return the values in its detail."""
    before = everything(db)
    with pytest.raises(psycopg.Error) as caught:
        ask_all(db, function, **given)
    said = caught.value.diag
    assert said.sqlstate == sqlstate, str(caught.value)
    assert said.message_primary
    assert said.message_primary == said.message_primary.lower()
    assert said.message_hint
    assert said.message_detail
    details = json.loads(said.message_detail)
    assert isinstance(details, dict)
    assert everything(db) == before
    return details


def refused_as_row(db: Ledger, sqlstate: str, function: str, **given: object) -> DictRow:
    """Require a refusal answered as a row that leaves no trace, and return the row."""
    before = _everything_but_updated_at(db)
    row = ask(db, function, **given, raise_refusals=False)
    assert (row["status"], row["refusal"], row["replayed"]) == ("REFUSED", sqlstate, False)
    assert (row["seq"], row["running_balance"], row["created_at"]) == (None, None, None)
    assert row["amount"] == 0
    assert row["account_id"] == given.get("account_id", given.get("from_account_id"))
    assert _everything_but_updated_at(db) == before
    return row


def replayed(db: Ledger, function: str, **given: object) -> DictRow:
    """Require an answer of a repeat that changes nothing."""
    before = _everything_but_updated_at(db)
    row = ask(db, function, **given)
    assert row["replayed"] is True
    assert row["refusal"] is None
    assert _everything_but_updated_at(db) == before
    return row


def _everything_but_updated_at(db: Ledger) -> list[DictRow]:
    return db.execute(_EVERYTHING_BUT_UPDATED_AT).fetchall()


def write_history(
    db: Ledger, account_id: str, *amounts: int, key: str | None = None, reference: str | None = None
) -> None:
    """Write what another system would import: posted USAGE and TOP_UP rows, an hour ago."""
    balance = 0
    for seq, amount in enumerate(amounts, start=1):
        balance += amount
        db.execute(
            "insert into pgledger.transactions"
            " (account_id, seq, amount, running_balance, created_at, type, key, reference)"
            " values (%s, %s, %s, %s, now() - interval '1 hour', %s, %s, %s)",
            [
                account_id,
                seq,
                amount,
                balance,
                "TOP_UP" if amount > 0 else "USAGE",
                key and f"{key}{seq}",
                reference,
            ],
        )


def let_expire(db: Ledger, *keys: str, account_id: str = "a", before: str = "1 minute") -> None:
    """Move open holds of an account, all or those named, to have expired some time ago."""
    moved = db.execute(
        "update pgledger.pending_transactions"
        " set expires_at = clock_timestamp() - %(before)s::interval"
        " where account_id = %(account_id)s and status = 'PENDING' and amount < 0"
        " and (key = any(%(keys)s) or %(keys)s::text[] = '{}')",
        {"before": before, "account_id": account_id, "keys": list(keys)},
    )
    assert moved.rowcount >= max(len(keys), 1)
    db.execute(
        "update pgledger.balances set attention_at = least(attention_at, (select min(expires_at)"
        " from pgledger.pending_transactions where account_id = %(account_id)s"
        " and status = 'PENDING')) where account_id = %(account_id)s",
        {"account_id": account_id},
    )


def events(db: Ledger, account_id: str = "a") -> list[tuple[str, dict[str, Any]]]:
    """Return the kind and payload of an account's events, oldest first."""
    found = db.execute(
        "select kind, payload from pgledger.events where account_id = %s order by seq", [account_id]
    )
    return [(row["kind"], row["payload"]) for row in found]


def pending(db: Ledger, account_id: str = "a") -> dict[str, str]:
    """Return the stored status of an account's pending transactions by key."""
    found = db.execute(
        "select key, status::text from pgledger.pending_transactions"
        " where account_id = %s order by key",
        [account_id],
    )
    return {row["key"]: row["status"] for row in found}


def in_order(db: Ledger) -> bool:
    """Tell whether the ledger's own auditor finds nothing wrong."""
    return ask_all(db, "verify") == []


def posted(db: Ledger, account_id: str) -> list[int]:
    """Return the amounts in the account's journal, oldest first."""
    found = db.execute(
        "select amount from pgledger.transactions where account_id = %s order by seq", [account_id]
    )
    return [row["amount"] for row in found]


def labels(db: Ledger, enum: str) -> list[str]:
    """Return the labels of one of the ledger's enums, in order."""
    found = db.execute("select unnest(enum_range(null::pgledger." + enum + "))::text as label")
    return [row["label"] for row in found]
