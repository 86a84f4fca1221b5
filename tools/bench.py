"""Measure the hot path against the bare statements it is made of, as ratios of one run.

A machine is never quiet, so nothing is compared across runs: subject and floor alternate in short
slices, the order turned around each round, and the figure is the median of the rounds' ratios. The
floor works on its own tables, of the same widths and with the same indexes, by one prepared
statement. The server is a new one with durable settings, on disk, unless --database-url names a
database to use (its schemas pgledger and bare are dropped).
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from tools import bench_batches, bench_webhooks

from pgledger import calls, embedded, migrate

ACCOUNTS = 1000
DUE_ACCOUNTS = 7000
# How the accounts with lots are called, how many each has, and how much is in one.
LIVE_LOTS = (
    ("lots1-", 1, 1_000_000_000),
    ("lots10-", 10, 1_000_000_000),
    ("lots1000-", 1000, 1_000_000_000),
    ("small-", 400, 50),
)
FLUSHES_ON_REQUEST = 150_000
SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
)

# The floor: the guarded UPDATE and the INSERT of a spend, with nothing around them.
FLOOR = """\
with b as (
  update bare.balances b
  set balance = b.balance - 5,
      seq = b.seq + 1,
      updated_at = greatest(b.updated_at, clock_timestamp())
  where b.account_id = {account}
    and b.attention_at > statement_timestamp()
    and b.balance - b.held - 5 >= b.floor
  returning b.account_id, b.balance, b.held, b.seq, b.updated_at
)
insert into bare.transactions (
  account_id, seq, amount, running_balance, created_at, type, key, reference)
select b.account_id, b.seq, -5, b.balance, b.updated_at, 'USAGE', {key}, {reference}
from b
{conflict}
returning account_id, key, seq, type, amount, running_balance, created_at"""

BARE_SELECT = "select b.balance - b.held from bare.balances b where b.account_id = {account}"

BARE_TABLES = """
drop schema if exists bare cascade;
create schema bare;
create table bare.balances (like pgledger.balances including all) with (fillfactor = 50);
create table bare.transactions (like pgledger.transactions including all);
"""

FILL = """
insert into pgledger.accounts (account_id)
select 'user-' || i from generate_series(1, %(accounts)s) i;
insert into pgledger.balances (
  account_id, balance, seq, updated_at, held, pending_rows, attention_at, floor)
select 'user-' || i, 1000000000000, 1, now(), 0, 0, 'infinity', 0
from generate_series(1, %(accounts)s) i;
insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at, type)
select 'user-' || i, 1, 1000000000000, 1000000000000, now(), 'TOP_UP'
from generate_series(1, %(accounts)s) i;
-- As in a ledger that has been used for a while: an empty table would be planned for as one.
insert into pgledger.pending_transactions (
  account_id, key, amount, created_at, settled_at, type, status)
select 'past-' || i, 'k', -1, now(), now(), 'USAGE', 'ENABLED' from generate_series(1, 20000) i;
insert into bare.balances select * from pgledger.balances;
insert into bare.transactions select * from pgledger.transactions;
"""

# The same accounts under other names, each with a hold that expires some day, or an auto-top-up.
VARIANTS = """
select pgledger.grant_credits('held-' || i, 1000000000000) from generate_series(1, %(accounts)s) i;
select pgledger.hold('held-' || i, 1, 'h', now() + interval '1 year')
from generate_series(1, %(accounts)s) i;
select pgledger.grant_credits('armed-' || i, 1000000000000) from generate_series(1, %(accounts)s) i;
select pgledger.set_auto_top_up('armed-' || i, 1000, 1000) from generate_series(1, %(accounts)s) i;
"""

# Accounts with so many live lots each, and one with many more used up behind it; written as the
# ledger's functions would leave them, which verify() is asked about afterwards.
LOTS = """
insert into pgledger.accounts (account_id)
select %(prefix)s || i from generate_series(1, %(accounts)s) i;
insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at, type)
select %(prefix)s || i, n, %(amount)s, n * %(amount)s::bigint, now(), 'GRANT'
from generate_series(1, %(accounts)s) i, generate_series(1, %(lots)s) n;
insert into pgledger.lots (
  account_id, seq, priority, expires_at, amount, remaining, granted_expires_at)
select %(prefix)s || i, n, 0, e.expires_at, %(amount)s, %(amount)s, e.expires_at
from generate_series(1, %(accounts)s) i, generate_series(1, %(lots)s) n,
  lateral (values (date_trunc('day', now()) + interval '1 year' + n * interval '1 minute')
  ) e (expires_at);
insert into pgledger.balances (
  account_id, balance, seq, updated_at, held, pending_rows, attention_at, floor, pool,
  held_in_lots, head_lot, head_left)
select l.account_id, sum(l.amount), count(*), now(), 0, 0, min(l.expires_at), 0, 0, 0, 1, %(amount)s
from pgledger.lots l
where l.account_id like %(prefix)s || '%%'
group by l.account_id;
"""

CLOSED_LOTS = """
insert into pgledger.transactions (
  account_id, seq, amount, running_balance, created_at, type, lot)
select 'closed', n, case n % 2 when 1 then 7 else -7 end, case n % 2 when 1 then 7 else 0 end,
  now() - interval '1 day',
  case n % 2 when 1 then 'GRANT' else 'USAGE' end::pgledger.transaction_type,
  case n % 2 when 0 then n - 1 end
from generate_series(1, 200000) n;
insert into pgledger.lots (
  account_id, seq, priority, expires_at, amount, remaining, granted_expires_at)
select 'closed', n, 0, now() + interval '1 year', 7, 0, now() + interval '1 year'
from generate_series(1, 199999, 2) n;
select from pgledger.grant_credits(
  'closed', 1000000000000, expires_at => now() + interval '1 year');
select from pgledger.grant_credits(
  'open', 1000000000000, expires_at => now() + interval '1 year');
"""

# Accounts on which an expiry or a refill fell due a minute ago; each is good for one spend.
DUE = """
insert into pgledger.accounts (account_id)
select kind || i from generate_series(1, %(accounts)s) i, unnest(array['ended-', 'refill-']) kind;
insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at, type)
select kind || i, n, 1000000, n * 1000000, now() - interval '2 days', 'GRANT'
from generate_series(1, %(accounts)s) i, unnest(array['ended-', 'refill-']) kind,
  generate_series(1, 2) n;
insert into pgledger.lots (
  account_id, seq, priority, expires_at, amount, remaining, granted_expires_at)
select 'ended-' || i, 2, 0, e.expires_at, 1000000, 1000000, e.expires_at
from generate_series(1, %(accounts)s) i,
  lateral (values (now() - interval '1 minute')) e (expires_at);
select from pgledger.create_plan('bench', 1000, '1 day', 'ADD', 'ACCOUNT');
insert into pgledger.account_plans (account_id, plan, starts_at, refill_at)
select 'refill-' || i, 'bench', now() - interval '1 day 1 minute', now() - interval '1 minute'
from generate_series(1, %(accounts)s) i;
insert into pgledger.balances (
  account_id, balance, seq, updated_at, held, pending_rows, attention_at, floor, pool,
  held_in_lots, head_lot, head_left)
select 'ended-' || i, 2000000, 2, now() - interval '2 days', 0, 0, now() - interval '1 minute', 0,
  1000000, 0, 2, 1000000
from generate_series(1, %(accounts)s) i;
insert into pgledger.balances (
  account_id, balance, seq, updated_at, held, pending_rows, attention_at, floor)
select 'refill-' || i, 2000000, 2, now() - interval '2 days', 0, 0, now() - interval '1 minute', 0
from generate_series(1, %(accounts)s) i;
"""

LONG_HISTORY = """
insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at, type)
select 'long', i, 1000000, i * 1000000::bigint, now() - interval '1 second' * (1000000 - i), 'GRANT'
from generate_series(1, 1000000) i;
select from pgledger.grant_credits('long', 1);
"""


@dataclass(frozen=True)
class Figure:
    """One comparison: the subject's rate as a share of the floor's, and what was hoped for."""

    name: str
    clients: int
    ratio: float
    low: float
    high: float
    goal: float | None
    subject_per_second: float
    floor_per_second: float


def spend_script(account: str, key: str, reference: str) -> str:
    """Write the statement that the Python wrapper sends for a spend, as a pgbench script."""
    call = calls.spend(account, 5, key=key if key != "null" else None, reference=reference or None)
    values = {"account_id": account, "amount": "5", "key": key, "reference": f"'{reference}'"}
    return call.query.decode() % {name: values[name] for name in call.arguments}


def hold_script(account: str, key: str) -> str:
    """Write a hold and its capture, two statements, as a pgbench script."""
    hold, capture = calls.hold(account, 5, key=key), calls.capture(account, key)
    values = {"account_id": account, "amount": "5", "key": key}
    return f"{hold.query.decode() % values};\n{capture.query.decode() % values}"


def floor_script(account: str, key: str, reference: str) -> str:
    """Write the floor of the same spend."""
    return FLOOR.format(
        account=account,
        key=key,
        reference=f"'{reference}'" if reference else "null",
        conflict=""
        if key == "null"
        else "on conflict (account_id, key) where key is not null do nothing",
    )


class Bench:
    """Runs scripts in alternating slices and keeps the figures."""

    def __init__(
        self, url: str, directory: Path, rounds: int, seconds: int, only: str = ""
    ) -> None:
        """Write the scripts into ``directory``; each slice takes ``seconds``."""
        self.url = url
        self.directory = directory
        self.rounds = rounds
        self.only = only
        self.seconds = seconds
        self.figures: list[Figure] = []

    def compare(
        self,
        name: str,
        subject: str,
        floor: str,
        *,
        clients: int,
        goal: float | None,
        floor_clients: int | None = None,
        worth: int = 1,
    ) -> None:
        """Measure ``subject`` against ``floor`` and print the figure.

        ``floor_clients`` where they differ; ``worth``: how many of the floor's a run stands for.
        """
        if self.only not in name:
            return
        rates: dict[str, list[float]] = {"subject": [], "floor": []}
        scripts = {
            "subject": self._script("subject", subject),
            "floor": self._script("floor", floor),
        }
        for number in range(self.rounds):
            order = ("subject", "floor") if number % 2 else ("floor", "subject")
            for side in order:
                count = clients if side == "subject" else floor_clients or clients
                rate = self._slice(scripts[side], count)
                rates[side].append(rate * (worth if side == "subject" else 1))
        ratios = [a / b for a, b in zip(rates["subject"], rates["floor"], strict=True)]
        self._keep(name, clients, ratios, rates, goal)

    def _keep(
        self,
        name: str,
        clients: int,
        ratios: list[float],
        rates: dict[str, list[float]],
        goal: float | None,
    ) -> None:
        figure = Figure(
            name=name,
            clients=clients,
            ratio=round(statistics.median(ratios), 3),
            low=round(min(ratios), 3),
            high=round(max(ratios), 3),
            goal=goal,
            subject_per_second=round(statistics.median(rates["subject"])),
            floor_per_second=round(statistics.median(rates["floor"])),
        )
        self.figures.append(figure)
        goal_text = "" if goal is None else f"goal {goal:.2f}"
        print(
            f"{name:<52} {clients:>2} clients  {figure.ratio:>6.2f}"
            f"  ({figure.low:.2f} to {figure.high:.2f})  {goal_text}",
            flush=True,
        )

    def compare_runs(
        self,
        name: str,
        subject: Callable[[], float],
        floor: Callable[[], float],
        *,
        goal: float | None,
        clients: int = 1,
    ) -> None:
        """Measure one rate against another, each told by a call, in turn."""
        if self.only not in name:
            return
        rates: dict[str, list[float]] = {"subject": [], "floor": []}
        for number in range(self.rounds):
            for side in ("subject", "floor") if number % 2 else ("floor", "subject"):
                rates[side].append(subject() if side == "subject" else floor())
        ratios = [a / b for a, b in zip(rates["subject"], rates["floor"], strict=True)]
        self._keep(name, clients, ratios, rates, goal)

    def compare_once(self, name: str, account: str, floor: str, *, goal: float | None) -> None:
        """Measure spends on accounts that are good for one each against ``floor``, 1 client."""
        if self.only not in name:
            return
        spend = spend_script(f"'{account}' || :n", "'k' || :k", "")
        scripts = {
            "subject": self._script("subject", spend, r"\set n :n + 1" + "\n"),
            "floor": self._script("floor", floor, r"\set n :n + 1" + "\n"),
        }
        ratios = []
        rates: dict[str, list[float]] = {"subject": [], "floor": []}
        each = DUE_ACCOUNTS // self.rounds
        for number in range(self.rounds):
            for side in ("subject", "floor") if number % 2 else ("floor", "subject"):
                counted = (f"--transactions={each}", f"--define=n={number * each}")
                rates[side].append(self._pgbench(scripts[side], *counted))
            ratios.append(rates["subject"][-1] / rates["floor"][-1])
        self._keep(name, 1, ratios, rates, goal)

    def _script(self, name: str, statement: str, count: str = "") -> Path:
        path = self.directory / f"{name}.sql"
        draws = f"\\set a random(1, {ACCOUNTS})\n\\set k random(1, 9000000000000000000)\n"
        lines = (" ".join(line.split()) for line in statement.split(";\n"))
        path.write_text(count + draws + ";\n".join(lines) + ";\n", encoding="utf-8")
        return path

    def _slice(self, script: Path, clients: int) -> float:
        return self._pgbench(
            script, f"--client={clients}", f"--jobs={min(clients, 2)}", f"--time={self.seconds}"
        )

    def _pgbench(self, script: Path, *options: str) -> float:
        done = subprocess.run(
            [
                embedded.binaries() / "pgbench",
                *("--no-vacuum", "--protocol=prepared", f"--file={script}"),
                *options,
                self.url,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"tps = ([0-9.]+)", done.stdout)
        if done.returncode or not found:
            raise SystemExit(f"pgbench failed:\n{done.stdout}{done.stderr}")
        return float(found[1])


def run_script(connection: psycopg.Connection, script: str, **given: object) -> None:
    """Execute each statement of a script; one without parameters may hold percent signs."""
    for statement in script.split(";\n"):
        if statement.strip():
            connection.execute(statement.encode(), given or None)


def prepare(url: str) -> None:
    """Install the ledger and its bare twin, filled alike."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop schema if exists pgledger cascade")
        connection.execute(migrate.install_script().encode())
        connection.execute(BARE_TABLES)
        run_script(connection, FILL + VARIANTS, accounts=ACCOUNTS)
        for prefix, lots, amount in LIVE_LOTS:
            run_script(connection, LOTS, accounts=ACCOUNTS, prefix=prefix, lots=lots, amount=amount)
        run_script(connection, DUE, accounts=DUE_ACCOUNTS)
        run_script(connection, bench_batches.FILL, accounts=bench_batches.ACCOUNTS)
        run_script(connection, CLOSED_LOTS)
        connection.execute("vacuum analyze")


def compare_all(bench: Bench) -> None:
    """Measure everything that has a goal, and what explains it."""
    many, hot = "'user-' || :a", "'user-1'"
    for clients in (1, 8):
        for name, key, reference in (
            ("spend", "null", ""),
            ("spend, key", "'k' || :k", ""),
            ("spend, reference", "null", "chat"),
            ("spend, key and reference", "'k' || :k", "chat"),
        ):
            arguments = (key, reference)
            bench.compare(
                f"{name} / bare statements",
                spend_script(many, *arguments),
                floor_script(many, *arguments),
                clients=clients,
                goal=0.85,
            )
    bench.compare(
        "spend, one hot account / bare, one row",
        spend_script(hot, "null", ""),
        floor_script(hot, "null", ""),
        clients=8,
        goal=None,
    )
    for clients in (1, 8):
        keyed = spend_script(many, "'k' || :k", "")
        bench.compare(
            "hold and capture / two spends with a key",
            hold_script(many, "'h' || :k"),
            keyed + ";\n" + spend_script(many, "'l' || :k", ""),
            clients=clients,
            goal=0.8,
        )
        for name, account in (
            ("auto-top-up armed", "'armed-' || :a"),
            ("one open hold", "'held-' || :a"),
        ):
            bench.compare(
                f"spend, key, {name} / plain",
                spend_script(account, "'k' || :k", ""),
                keyed,
                clients=clients,
                goal=0.9,
            )
    compare_lots(bench)
    for clients in (1, 8):
        bench.compare(
            "get_credits / bare primary-key select",
            calls.get_credits("x").query.decode() % {"account_id": many},
            BARE_SELECT.format(account=many),
            clients=clients,
            goal=0.8,
        )
    with psycopg.connect(bench.url, autocommit=True) as connection:
        run_script(connection, LONG_HISTORY)
        connection.execute("vacuum analyze")
    bench.compare(
        "spend after 1,000,000 transactions / after few",
        spend_script("'long'", "null", ""),
        spend_script("'user-2'", "null", ""),
        clients=1,
        goal=0.95,
    )


def compare_lots(bench: Bench) -> None:
    """Measure what lots, expiries and refills cost a spend."""
    many = "'user-' || :a"
    for clients in (1, 8):
        for lots in (1, 10, 1000):
            bench.compare(
                f"spend, key, {lots} live lots / none",
                spend_script(f"'lots{lots}-' || :a", "'k' || :k", ""),
                spend_script(many, "'k' || :k", ""),
                clients=clients,
                goal=0.9,
            )
    bench.compare(
        "spend, key, a lot used up every 10 / none",
        spend_script("'small-' || :a", "'k' || :k", ""),
        spend_script(many, "'k' || :k", ""),
        clients=1,
        goal=None,
    )
    for name, account in (("an expiry", "ended-"), ("a refill", "refill-")):
        bench.compare_once(
            f"spend, {name} due / two spends",
            account,
            spend_script(many, "'k' || :k", "") + ";\n" + spend_script(many, "'l' || :k", ""),
            goal=None,
        )
    bench.compare(
        "spend, 100,000 used up lots behind it / few",
        spend_script("'closed'", "null", ""),
        spend_script("'open'", "null", ""),
        clients=1,
        goal=0.95,
    )


def costs(url: str, spends: int = 20_000) -> dict[str, float]:
    """Count what a spend writes: HOT updates, WAL and disk bytes, after the pages are warm."""
    sizes = """
      select pg_current_wal_lsn() - '0/0'::pg_lsn as wal,
        pg_total_relation_size('pgledger.transactions') as disk,
        pg_indexes_size('pgledger.transactions') as indexes"""
    counted = """
      select n_tup_upd as updates, n_tup_hot_upd as hot
      from pg_stat_user_tables where relid = 'pgledger.balances'::regclass"""
    with psycopg.connect(url, autocommit=True) as connection:
        spend = calls.spend("user-3", 5)

        def run(times: int) -> None:
            for number in range(times):
                account = f"user-{number % ACCOUNTS + 1}"
                connection.execute(spend.query, {**spend.arguments, "account_id": account})

        def figures() -> dict[str, float]:
            if connection.info.server_version >= FLUSHES_ON_REQUEST:
                connection.execute("select pg_stat_force_next_flush()")
            row: dict[str, float] = {}
            for query in (sizes, counted):
                (values,) = connection.cursor(row_factory=dict_row).execute(query.encode())
                row.update({name: float(value) for name, value in values.items()})
            return row

        connection.execute("checkpoint")
        # Full-page images belong to checkpoints, not to spends: let the pages have theirs first.
        run(2 * ACCOUNTS)
        before = figures()
        run(spends)
        after = figures()
    change = {name: after[name] - before[name] for name in before}
    return {
        "hot_update_share": round(change["hot"] / max(change["updates"], 1), 4),
        "wal_bytes_per_spend": round(change["wal"] / spends, 1),
        "disk_bytes_per_spend": round(change["disk"] / spends, 1),
        "index_bytes_per_spend": round(change["indexes"] / spends, 1),
    }


def environment(url: str) -> dict[str, Any]:
    """Tell what the figures were measured on."""
    with psycopg.connect(url) as connection:
        settings = {
            name: connection.execute("select current_setting(%s)", (name,)).fetchone()
            for name in SETTINGS
        }
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "settings": {name: row[0] if row else None for name, row in settings.items()},
    }


@contextmanager
def durable_server() -> Iterator[str]:
    """Start a server with durable settings, on disk, and remove it afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="pgledger-bench-", dir="/var/tmp"))
    # The server runs as another user when we are root.
    directory.chmod(0o711)
    try:
        yield embedded.start(directory / "server").url()
    finally:
        embedded.stop(directory / "server")
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--database-url", help="use this database, whatever is in it")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="length of a slice")
    parser.add_argument("--only", default="", help="only what has this text in its name")
    parser.add_argument(
        "--trace", type=Path, help="replay this CSV file (GeneratedTokens) instead of made rows"
    )
    parser.add_argument("--output", type=Path, default=Path("bench-result.json"))
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as scripts:
        if options.database_url:
            return measure(options.database_url, Path(scripts), options)
        with durable_server() as url:
            return measure(url, Path(scripts), options)


def measure(url: str, scripts: Path, options: argparse.Namespace) -> int:
    """Run everything against one database."""
    prepare(url)
    about = environment(url)
    print(f"PostgreSQL {about['settings']['server_version']}, {about['cpus']} CPUs,", end=" ")
    print(f"{options.rounds} rounds of {options.seconds} s; a ratio above 1 is faster\n")
    bench = Bench(url, scripts, options.rounds, options.seconds, options.only)
    compare_all(bench)
    bench_batches.compare_batches(bench, options.trace)
    bench_webhooks.compare_webhooks(bench)
    written = costs(url)
    written["wal_bytes_per_batch_item"] = round(bench_batches.wal_per_item(url, None), 1)
    written["wal_bytes_per_keyed_batch_item"] = round(
        bench_batches.wal_per_item(url, bench_batches.KEYS), 1
    )
    written |= bench_webhooks.times(url)
    print()
    print(f"HOT share of balance updates   {written['hot_update_share']:.2%}  goal 95%")
    print(f"WAL bytes per spend            {written['wal_bytes_per_spend']:.0f}")
    print(f"WAL bytes per item of a batch  {written['wal_bytes_per_batch_item']:.0f}", end=" ")
    print(f"(with a key {written['wal_bytes_per_keyed_batch_item']:.0f})")
    print(f"disk bytes per spend           {written['disk_bytes_per_spend']:.0f}", end=" ")
    print(f"(indexes {written['index_bytes_per_spend']:.0f})")
    print(f"webhook, median ms             {written['webhook_median_ms']:.1f}  goal 5")
    print(f"webhooks/s, 8 connections      {written['webhooks_per_second_from_8']:.0f}  goal 500")
    result = {
        "environment": about,
        "figures": [asdict(figure) for figure in bench.figures],
        "costs": written,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
