"""What the tests of the SQL functions share: calls by name, refusals, and what the tables hold."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

Ledger = psycopg.Connection[DictRow]

LOWEST = -(2**63)
HIGHEST = 2**63 - 1
BEGINNING = datetime.now(UTC)

_EVERYTHING = """
select 'account' as what, x::text as is from pgledger.accounts x
union all select 'auto-top-up', x::text from pgledger.auto_top_ups x
union all select 'balance', to_jsonb(x)::text from pgledger.balances x
union all select 'cap', x::text from pgledger.spending_caps x
union all select 'charge', x::text from pgledger.charges x
union all select 'limits of top-ups', x::text from pgledger.top_up_limits x
union all select 'currency', x::text from pgledger.currencies x
union all select 'draw', x::text from pgledger.draws x
union all select 'event', x::text from pgledger.events x
union all select 'identifier', x::text from pgledger.account_identifiers x
union all select 'lot', x::text from pgledger.lots x
union all select 'payment', x::text from pgledger.payments x
union all select 'payment event', x::text from pgledger.payment_events x
union all select 'pending transaction', x::text from pgledger.pending_transactions x
union all select 'plan', x::text from pgledger.plans x
union all select 'plan of an account', x::text from pgledger.account_plans x
union all select 'price', x::text from pgledger.prices x
union all select 'price list', x::text from pgledger.price_lists x
union all select 'refund request', x::text from pgledger.refund_requests x
union all select 'reservation', x::text from pgledger.reservations x
union all select 'return', x::text from pgledger.payment_returns x
union all select 'transaction', x::text from pgledger.transactions x
order by 1, 2
"""
_AUDITED = "union all select 'audited', x::text from pgledger.audit_log x\norder by"
_TRACES = _EVERYTHING.replace("order by", _AUDITED)
# A posting that was taken back leaves its mark here, and nowhere else.
_TRACES_BUT_UPDATED_AT = _TRACES.replace("to_jsonb(x)", "(to_jsonb(x) - 'updated_at')")


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
    """Return all that the tables hold, but for the audit log, which a setter always writes."""
    return db.execute(_EVERYTHING).fetchall()


def traces(db: Ledger) -> list[DictRow]:
    """Return all that the ledger's tables hold."""
    return db.execute(_TRACES).fetchall()


def refused(db: Ledger, sqlstate: str, function: str, **given: object) -> dict[str, Any]:
    """Require a refusal in words that leaves no trace, and return the values in its detail."""
    before = traces(db)
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
    assert traces(db) == before
    return details


def refused_as_row(db: Ledger, sqlstate: str, function: str, **given: object) -> DictRow:
    """Require a refusal answered as a row that leaves no trace, and return the row."""
    before = _traces_but_updated_at(db)
    row = ask(db, function, **given, raise_refusals=False)
    assert (row["status"], row["refusal"], row["replayed"]) == ("REFUSED", sqlstate, False)
    assert (row["seq"], row["running_balance"], row["created_at"]) == (None, None, None)
    assert row["amount"] == 0
    assert row["error"].keys() == {"message", "detail", "hint"}
    assert None not in row["error"].values()
    assert row["account_id"] == given.get("account_id", given.get("from_account_id"))
    assert _traces_but_updated_at(db) == before
    return row


def replayed(db: Ledger, function: str, **given: object) -> DictRow:
    """Require an answer of a repeat that changes nothing."""
    before = _traces_but_updated_at(db)
    row = ask(db, function, **given)
    assert row["replayed"] is True
    assert row["refusal"] is None
    assert _traces_but_updated_at(db) == before
    return row


def _traces_but_updated_at(db: Ledger) -> list[DictRow]:
    return db.execute(_TRACES_BUT_UPDATED_AT).fetchall()


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


# Lots


def day(number: float) -> datetime:
    """Return the instant that many days after the tests began, the same one whoever asks."""
    return BEGINNING + timedelta(days=number)


def give(
    db: Ledger, key: str, amount: int, expires_at: datetime | None = None, **more: object
) -> DictRow:
    """Grant credits to account a, or another: a lot where they expire or have a priority."""
    given = {"account_id": "a", "amount": amount, "key": key, "expires_at": expires_at}
    return ask(db, "grant_credits", **(given | more))


_TIMES = """
select c.relname as table, string_agg(quote_ident(a.attname) || ' = ' || quote_ident(a.attname)
  || ' - %(how_long)s::interval', ', ') as moved
from pg_attribute a
join pg_class c on c.oid = a.attrelid and c.relkind = 'r'
where c.relnamespace = 'pgledger'::regnamespace and a.atttypid = 'timestamptz'::regtype
  and a.attnum > 0 and not a.attisdropped
group by 1
"""

APPEND_ONLY = ("transactions", "audit_log")

_LIST_OF_USAGE_MOVED = """
set usage = usage || jsonb_build_object('valid_from', pgledger._utc(
  (usage ->> 'valid_from')::timestamptz - %(how_long)s::interval))
where usage is not null
"""


def let_pass(db: Ledger, how_long: str) -> None:
    """Let time pass: all that is recorded, or is to come, is that much earlier."""
    given = {"how_long": how_long}
    for table in APPEND_ONLY:
        db.execute(f"alter table pgledger.{table} disable trigger {table}_append_only")
    db.execute("alter table pgledger.prices drop constraint prices_list_known")
    for row in db.execute(_TIMES).fetchall():
        db.execute(f"update pgledger.{row['table']} set {row['moved']}", given)
    for table in ("transactions", "pending_transactions"):
        db.execute(f"update pgledger.{table} {_LIST_OF_USAGE_MOVED}", given)
    db.execute(
        "alter table pgledger.prices add constraint prices_list_known"
        " foreign key (code, valid_from) references pgledger.price_lists (code, valid_from)"
        " on delete cascade"
    )
    for table in APPEND_ONLY:
        db.execute(f"alter table pgledger.{table} enable always trigger {table}_append_only")


def journal(db: Ledger, account_id: str = "a") -> list[tuple[str, int]]:
    """Return the type and amount of an account's posted transactions, oldest first."""
    found = db.execute(
        "select type::text, amount from pgledger.transactions where account_id = %s order by seq",
        [account_id],
    )
    return [(row["type"], row["amount"]) for row in found]


def expiries(db: Ledger, account_id: str = "a") -> list[tuple[str, int, datetime]]:
    """Return the lot, the amount and the instant of what expired, oldest first."""
    found = db.execute(
        "select coalesce(l.key, '#' || l.seq) as lot, -t.amount as amount, t.created_at"
        " from pgledger.transactions t join pgledger.transactions l"
        " on l.account_id = t.account_id and l.seq = t.lot"
        " where t.account_id = %s and t.type = 'EXPIRY' and t.original_seq = t.lot order by t.seq",
        [account_id],
    )
    return [(row["lot"], row["amount"], row["created_at"]) for row in found]


def paid(db: Ledger, key: str, account_id: str = "a") -> list[tuple[str | None, int]]:
    """Return which lots (None: the pool) paid how much of a transaction, in order."""
    found = db.execute(
        "select case when d.lot is not null then coalesce(l.key, '#' || d.lot) end as lot, d.amount"
        " from pgledger.transactions t join pgledger.transaction_draws d"
        " on d.account_id = t.account_id and d.seq = t.seq"
        " left join pgledger.transactions l on l.account_id = d.account_id and l.seq = d.lot"
        " where t.account_id = %s and coalesce(t.key, '#' || t.seq) = %s order by d.place",
        [account_id, key],
    )
    return [(row["lot"], row["amount"]) for row in found]


def left(db: Ledger, account_id: str = "a") -> dict[str, int]:
    """Return what is free in an account's lots, in draw order, where there is anything."""
    return {
        row["key"]: row["remaining"]
        for row in ask_all(db, "lots", account_id=account_id)
        if row["remaining"]
    }


def pool(db: Ledger, account_id: str = "a") -> int:
    """Return what the pool holds, with what holds reserve in it."""
    (row,) = db.execute("select pool from pgledger.balances where account_id = %s", [account_id])
    assert isinstance(row["pool"], int)
    return row["pool"]


def head(db: Ledger, account_id: str = "a") -> tuple[str | None, int | None]:
    """Return the lot that the balance row says pays next (None: the pool) and how much it can."""
    (row,) = db.execute(
        "select coalesce(l.key, '#' || l.seq) as lot, b.head_left from pgledger.balances b"
        " left join pgledger.transactions l on l.account_id = b.account_id and l.seq = b.head_lot"
        " where b.account_id = %s",
        [account_id],
    )
    return row["lot"], row["head_left"]


_UNRECKONED = """
with held as (
  select p.account_id, p.key, p.lot, -p.amount as amount
  from pgledger.pending_transactions p
  where p.status = 'PENDING' and p.amount < 0 and p.lot is distinct from 0
  union all
  select r.account_id, r.key, r.lot, r.amount
  from pgledger.reservations r
), lots as (
  select l.account_id, l.seq, l.priority, l.expires_at, l.amount, l.expired,
    case when b.head_lot = l.seq then b.head_left else l.remaining end as free,
    coalesce((
      select sum(d.amount) from pgledger.transaction_draws d
      where d.account_id = l.account_id and d.lot = l.seq), 0) as drawn,
    coalesce((
      select sum(h.amount) from held h
      where h.account_id = l.account_id and h.lot = l.seq), 0) as held,
    coalesce((
      select -sum(t.amount) from pgledger.transactions t
      where t.account_id = l.account_id and t.lot = l.seq and t.type = 'EXPIRY'
        and t.original_seq = l.seq
    ), 0) as expiries
  from pgledger.lots l
  left join pgledger.balances b on b.account_id = l.account_id
), accounts as (
  select b.*, coalesce(s.free, 0) as free, coalesce(s.held, 0) as lots_held,
    b.pool - (b.held - b.held_in_lots) as free_pool, f.seq as first, f.free as first_free,
    f.priority as first_priority
  from pgledger.balances b
  left join lateral (
    select sum(l.free) as free, sum(l.held) as held from lots l where l.account_id = b.account_id
  ) s on true
  left join lateral (
    select l.seq, l.free, l.priority
    from lots l where l.account_id = b.account_id and l.free > 0
    order by l.priority, l.expires_at, l.seq limit 1
  ) f on true
)
select 'a lot is what is left, held and drawn of it' as rule, to_jsonb(l) as found
from lots l where l.amount <> l.free + l.held + l.drawn or l.free < 0 or l.expired <> l.expiries
union all
select 'draws add up', to_jsonb(t) from pgledger.transactions t
where t.lot = 0 and (
  select sum(d.amount) from pgledger.draws d where d.account_id = t.account_id and d.seq = t.seq
) is distinct from -t.amount
union all
select 'draws belong to a transaction of several', to_jsonb(d)
from pgledger.draws d
left join pgledger.transactions t on t.account_id = d.account_id and t.seq = d.seq
where t.lot is distinct from 0
union all
select 'reservations add up', to_jsonb(p) from pgledger.pending_transactions p
where p.lot = 0 and p.status = 'PENDING' and (
  select sum(r.amount) from pgledger.reservations r
  where r.account_id = p.account_id and r.key = p.key
) is distinct from -p.amount
union all
select 'reservations belong to an open hold of several', to_jsonb(r)
from pgledger.reservations r
left join pgledger.pending_transactions p on p.account_id = r.account_id and p.key = r.key
where p.lot is distinct from 0 or p.status <> 'PENDING'
union all
select 'pool and lots are the balance', to_jsonb(a) from accounts a
where a.pool + a.free + a.lots_held <> a.balance or a.held_in_lots <> a.lots_held
  or (a.pool is null and a.free > 0)
union all
-- The fast path may leave a head with nothing left in it, and what is due may end the head: the
-- next posting moves it.
select 'the head is what pays next', to_jsonb(a) from accounts a
where a.head_left is distinct from 0 and a.attention_at > statement_timestamp() and case
  when a.first is null then coalesce(a.head_left, 0) <> 0
  when a.first_priority <= 0 or a.free_pool <= 0
    then (a.head_lot, a.head_left) is distinct from (a.first, a.first_free)
  else (a.head_lot, a.head_left) is distinct from (null, a.free_pool)
end
union all
select v.rule, to_jsonb(v) from pgledger.verify() v
"""


def unreckoned(db: Ledger) -> list[DictRow]:
    """Return what is wrong by verify() and by a reckoning of lots that shares no line with it."""
    return db.execute(_UNRECKONED).fetchall()
