"""The part of the bench about throughput: batches, batchers and a replayed file.

What pgbench can run is compared as the rest is. What Python does is timed here, both ways in turn.
"""

import asyncio
import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
from psycopg_pool import AsyncConnectionPool

from pgledger import AsyncLedger, Ledger, calls
from pgledger.calls import BatchItem
from pgledger.replay import Summary, UsageFile, replay

if TYPE_CHECKING:
    from tools.bench import Bench

ACCOUNTS = 10_000
ITEMS = 1000
TASKS = 256
TRACE_ROWS = 8819
TRACE_ACCOUNTS = 100

FILL = """
insert into pgledger.accounts (account_id)
select 'many-' || i from generate_series(1, %(accounts)s) i;
insert into pgledger.balances (
  account_id, balance, seq, updated_at, held, pending_rows, attention_at, floor)
select 'many-' || i, 1000000000000, 1, now(), 0, 0, 'infinity', 0
from generate_series(1, %(accounts)s) i;
insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at, type)
select 'many-' || i, 1, 1000000000000, 1000000000000, now(), 'TOP_UP'
from generate_series(1, %(accounts)s) i;
insert into bare.balances select b.* from pgledger.balances b where b.account_id like 'many-%%';
insert into bare.transactions
select t.* from pgledger.transactions t where t.account_id like 'many-%%';
"""

# Both sides make their items like this: pgbench cannot send arrays.
ANY_ACCOUNTS = (
    "array(select 'many-' || 1 + floor(random() * 10000)::int from generate_series(1, 1000))"
)
# A quarter of them for each of 4 clients, as when a pipeline is shared out by account.
OWN_ACCOUNTS = (
    "array(select 'many-' || 1 + :client_id * 2500 + floor(random() * 2500)::int"
    " from generate_series(1, 1000))"
)
ONE_ACCOUNT = f"array_fill('user-1'::text, array[{ITEMS}])"
AMOUNTS = f"array_fill((-5)::bigint, array[{ITEMS}])"
TYPES = f"array_fill('USAGE'::pgledger.transaction_type, array[{ITEMS}])"
KEYS = "array(select 'k' || :k || '-' || i from generate_series(1, 1000) i)"
NO_KEYS = f"array_fill(null::text, array[{ITEMS}])"

# The same rows and the same balances, in one statement that checks nothing and answers nothing.
FLOOR = f"""\
with items as materialized (
  select u.account_id, u.amount, u.type, u.key, u.place
  from unnest({ANY_ACCOUNTS}, {AMOUNTS}, {TYPES}, {{keys}})
    with ordinality u (account_id, amount, type, key, place)
), moved as (
  update bare.balances b
  set balance = b.balance + s.amount,
      seq = b.seq + s.items,
      updated_at = greatest(b.updated_at, clock_timestamp())
  from (
    select i.account_id, sum(i.amount)::bigint as amount, count(*) as items
    from items i
    group by i.account_id
  ) s
  where b.account_id = s.account_id
  returning b.account_id, b.balance - s.amount as balance, b.seq - s.items as seq, b.updated_at
)
insert into bare.transactions (
  account_id, seq, amount, running_balance, created_at, type, key)
select i.account_id, m.seq + row_number() over w, i.amount, m.balance + sum(i.amount) over w,
  m.updated_at, i.type, i.key
from items i
join moved m on m.account_id = i.account_id
window w as (partition by i.account_id order by i.place)
{{conflict}}"""  # noqa: S608 - of constants


def batch_script(accounts: str, keys: str | None) -> str:
    """Write the statement that the Python wrapper sends for a batch, as a pgbench script."""
    item = BatchItem("x", -5, "USAGE", key="k" if keys else None)
    call = calls.post_batch([item])
    values = {"account_ids": accounts, "amounts": AMOUNTS, "types": TYPES, "keys": keys}
    return call.query.decode() % {name: values[name] for name in call.arguments}


def compare_batches(bench: "Bench", trace: Path | None) -> None:
    """Measure batches against the bare statements, and against calls one by one."""
    for name, keys, conflict in (
        ("without keys", None, ""),
        ("with keys", KEYS, ""),
        ("with keys, none twice", KEYS, "on conflict (account_id, key) where key is not null"),
    ):
        bench.compare(
            f"post_batch, 1,000 items, {name} / bare",
            batch_script(ANY_ACCOUNTS, keys),
            FLOOR.format(keys=keys or NO_KEYS, conflict=conflict and f"{conflict} do nothing"),
            clients=1,
            goal=0.7,
        )
    for name, accounts in (("", ANY_ACCOUNTS), (" on their own accounts", OWN_ACCOUNTS)):
        script = batch_script(accounts, KEYS)
        bench.compare(
            f"post_batch, with keys, 4 clients{name} / 1",
            script,
            script,
            clients=4,
            floor_clients=1,
            goal=1.2,
        )
    spend = calls.spend("x", 5).query.decode() % {"account_id": "'user-1'", "amount": "5"}
    bench.compare(
        "items of a batch on one account / spends, 8 clients",
        batch_script(ONE_ACCOUNT, None),
        spend,
        clients=1,
        floor_clients=8,
        goal=25,
        worth=ITEMS,
    )
    bench.compare_runs(
        f"AsyncLedger.batcher, {TASKS} tasks, one account / without",
        lambda: asyncio.run(spend_in_tasks(bench.url, batched=True)),
        lambda: asyncio.run(spend_in_tasks(bench.url, batched=False)),
        goal=10,
    )
    rows = read_trace(trace) if trace else made_trace()
    bench.compare_runs(
        f"replay of {len(rows):,} rows / single spends",
        lambda: replay_rows(bench.url, rows),
        lambda: spend_rows(bench.url, rows),
        goal=8,
    )


def wal_per_item(url: str, keys: str | None, batches: int = 40) -> float:
    """Count the WAL bytes of an item of a batch, after the pages are warm."""
    script = batch_script(ANY_ACCOUNTS, keys)
    position = b"select pg_current_wal_lsn() - '0/0'::pg_lsn"
    with psycopg.connect(url, autocommit=True) as connection:

        def run(times: int) -> float:
            for _ in range(times):
                named = script.replace(":k", str(uuid4().int % 10**18))
                connection.execute(named.encode())
            (row,) = connection.execute(position).fetchall()
            return float(row[0])

        connection.execute("checkpoint")
        # Full-page images belong to checkpoints, not to movements: let the pages have theirs first.
        before = run(2 * batches)
        return (run(batches) - before) / (batches * ITEMS)


async def spend_in_tasks(url: str, *, batched: bool) -> float:
    """Return how many spends a second 256 tasks make on one account, 20 each one after another."""
    spends = 20
    async with AsyncConnectionPool(
        url, min_size=8, max_size=8, kwargs={"autocommit": True}
    ) as pool:
        ledger = AsyncLedger(pool)

        async def tasks(spend: Callable[..., object]) -> float:
            async def task() -> None:
                for _ in range(spends):
                    await spend("user-1", 5, key=str(uuid4()))  # type: ignore[misc] # either ledger's

            began = time.perf_counter()
            await asyncio.gather(*(task() for _ in range(TASKS)))
            return TASKS * spends / (time.perf_counter() - began)

        if not batched:
            return await tasks(ledger.spend)
        async with ledger.batcher() as batcher:
            return await tasks(batcher.spend)


def made_trace() -> list[tuple[str, int]]:
    """Make as many rows as a day of a service has, spread over accounts by their number."""
    return [
        (f"many-{row % TRACE_ACCOUNTS + 1}", 1 + row * 7919 % 1000) for row in range(TRACE_ROWS)
    ]


def read_trace(path: Path) -> list[tuple[str, int]]:
    """Read the rows of a trace with a column GeneratedTokens."""
    with path.open(newline="", encoding="utf-8") as file:
        tokens = [int(row["GeneratedTokens"]) for row in csv.DictReader(file)]
    return [
        (f"many-{row % TRACE_ACCOUNTS + 1}", amount) for row, amount in enumerate(tokens) if amount
    ]


def replay_rows(url: str, rows: list[tuple[str, int]]) -> float:
    """Replay the rows as a file, each with a key of its own; return rows a second."""
    run = uuid4()
    lines = ["account,amount,key"]
    lines += [f"{account},{amount},{run}-{n}" for n, (account, amount) in enumerate(rows)]
    usage = UsageFile(io.BytesIO("\n".join(lines).encode()))
    summary = Summary()
    began = time.perf_counter()
    replay(usage, lambda: psycopg.connect(url, autocommit=True), summary)
    if summary.charged != len(rows):
        raise SystemExit(f"replay charged {summary.charged} of {len(rows)} rows")
    return len(rows) / (time.perf_counter() - began)


def spend_rows(url: str, rows: list[tuple[str, int]]) -> float:
    """Spend the rows by single calls over one connection; return rows a second."""
    run = uuid4()
    with psycopg.connect(url, autocommit=True) as connection:
        ledger = Ledger(connection)
        began = time.perf_counter()
        for n, (account, amount) in enumerate(rows):
            ledger.spend(account, amount, key=f"{run}-{n}")
        return len(rows) / (time.perf_counter() - began)
