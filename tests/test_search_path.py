"""No search_path of the caller, however hostile, changes what the ledger does."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.support import Ledger, ask, ask_all, in_order, labels, let_expire, posted, value

Connect = Callable[..., psycopg.Connection[DictRow]]

TYPES = [
    "TOP_UP",
    "USAGE",
    "GRANT",
    "REFUND",
    "CARD_CHECK",
    "EXPIRY",
    "TRANSFER",
    "REVERSAL",
    "ADJUSTMENT",
]

# Everything in here takes precedence under SET search_path = traps, and goes off when touched.
TRAPS = """
create schema traps;
create function traps.sprung(text) returns boolean language plpgsql as $$
begin raise exception 'a trap was sprung'; end $$;
create function traps.sprung(text, text) returns boolean language sql return traps.sprung('');
create function traps.sprung(bigint, bigint) returns boolean language sql return traps.sprung('');
create function traps.sprung(jsonb, jsonb) returns boolean language sql return traps.sprung('');
create function traps.sprung(timestamptz, timestamptz) returns boolean
  language sql return traps.sprung('');
create table traps.accounts (trap text check (traps.sprung(trap)));
create table traps.balances (like traps.accounts including all);
create table traps.currencies (like traps.accounts including all);
create table traps.transactions (like traps.accounts including all);
create table traps.pending_transactions (like traps.accounts including all);
create table traps.auto_top_ups (like traps.accounts including all);
create table traps.charges (like traps.accounts including all);
create table traps.top_up_limits (like traps.accounts including all);
create table traps.events (like traps.accounts including all);
create table traps.pg_trigger (like traps.accounts including all);
create domain traps.transaction_type as text check (traps.sprung(value));
create domain traps.account_status as text check (traps.sprung(value));
create domain traps.pending_status as text check (traps.sprung(value));
create domain traps.auto_top_up_mode as text check (traps.sprung(value));
create domain traps."interval" as pg_catalog.interval check (traps.sprung(value::text));
create domain traps.text as pg_catalog.text check (traps.sprung(value));
create domain traps.int8 as bigint check (traps.sprung(value::text));
create domain traps.numeric as pg_catalog.numeric check (traps.sprung(value::text));
create domain traps.jsonb as pg_catalog.jsonb check (traps.sprung(value::text));
create domain traps.timestamptz as pg_catalog.timestamptz check (traps.sprung(value::text));
create type traps.posting as (trap text);
create type traps.transaction as (trap text);
create type traps._request as (trap text);
do $$
declare
  v_name text;
  v_type text;
begin
  foreach v_name in array array['=', '<>', '<', '<=', '>', '>=', '+', '-', '||', '~', '!~'] loop
    foreach v_type in array array['text', 'bigint', 'jsonb', 'timestamptz'] loop
      execute format(
        'create operator traps.%s (leftarg = pg_catalog.%s, rightarg = pg_catalog.%2$s,'
        ' function = traps.sprung)', v_name, case v_type when 'bigint' then 'int8' else v_type end);
    end loop;
  end loop;
  foreach v_name in array array['clock_timestamp', 'statement_timestamp', 'gen_random_uuid'] loop
    execute format('create function traps.%I() returns boolean language sql'
      ' return traps.sprung('''')', v_name);
  end loop;
  foreach v_name in array array['length', 'upper'] loop
    execute format('create function traps.%I(pg_catalog.text) returns boolean language sql'
      ' return traps.sprung('''')', v_name);
  end loop;
  execute 'create function traps.left(pg_catalog.text, integer) returns boolean language sql'
    ' return traps.sprung('''')';
  execute 'create function traps.isfinite(pg_catalog.timestamptz) returns boolean language sql'
    ' return traps.sprung('''')';
  execute 'create function traps.jsonb_typeof(pg_catalog.jsonb) returns boolean language sql'
    ' return traps.sprung('''')';
  execute 'create function traps.pg_notify(pg_catalog.text, pg_catalog.text) returns boolean'
    ' language sql return traps.sprung('''')';
  execute 'create function traps.cardinality(pg_catalog._text) returns boolean language sql'
    ' return traps.sprung('''')';
  execute 'create function traps.abs(pg_catalog.int8) returns boolean language sql'
    ' return traps.sprung('''')';
  execute 'create function traps.date_trunc(pg_catalog.text, pg_catalog.timestamp)'
    ' returns boolean language sql return traps.sprung('''')';
  execute 'create function traps.sum(pg_catalog.int8) returns boolean language sql'
    ' return traps.sprung('''')';
end
$$;
"""

PATHS = {
    "empty": "''",
    "foreign": "traps, pg_catalog",
    "temporary": "pg_temp, traps, pg_catalog",
}


@pytest.fixture(params=sorted(PATHS))
def path(db: Ledger, request: pytest.FixtureRequest) -> str:
    db.execute(TRAPS)
    return PATHS[request.param]


@pytest.fixture
def astray(path: str, connect: Connect) -> Ledger:
    """A connection under a search_path that leads into traps, with temporary traps of its own."""
    connection = connect()
    for table in (
        "accounts",
        "auto_top_ups",
        "balances",
        "events",
        "pending_transactions",
        "transactions",
    ):
        connection.execute(f"create temp table {table} (trap text check (traps.sprung(trap)))")
    connection.execute(f"set search_path = {path}")
    return connection


def refused(astray: Ledger, sqlstate: str, function: str, **given: object) -> None:
    with pytest.raises(psycopg.Error) as caught:
        ask(astray, function, **given)
    assert caught.value.sqlstate == sqlstate
    assert caught.value.diag.message_hint


def test_the_traps_work(db: Ledger) -> None:
    db.execute(TRAPS)
    db.execute(f"set search_path = {PATHS['foreign']}")
    for careless in (
        "select 1::int8 = 1::int8",
        "select length('x'::pg_catalog.text)",
        "select 'x'::transaction_type",
        "insert into balances values ('x')",
    ):
        with pytest.raises(psycopg.Error, match="a trap was sprung"):
            db.execute(careless)


def test_the_types_are_all_here(db: Ledger) -> None:
    assert labels(db, "transaction_type") == TYPES


def test_every_type_is_posted_from_python(db: Ledger, astray: Ledger) -> None:
    for type_ in TYPES:
        for amount in (10, -10):
            row = ask(astray, "add_transaction", account_id="a", amount=amount, type=type_)
            assert (row["type"], row["amount"], row["status"]) == (type_, amount, "POSTED")
    assert posted(db, "a") == [10, -10] * len(TYPES)
    assert in_order(db)


def test_every_type_is_posted_from_psql(
    db: Ledger, path: str, database_url: str, pg_bin: Path
) -> None:
    calls = "".join(
        f"select type, amount, status"
        f" from pgledger.add_transaction('a', {amount}, '{type_}', key => '{type_}{amount}');\n"
        for type_ in TYPES
        for amount in (10, -10)
    )
    script = f"set search_path = {path};\n{calls}"
    done = subprocess.run(
        [pg_bin / "psql", database_url, "-XqAt", "-v", "ON_ERROR_STOP=1", "-F", " "],
        input=script,
        text=True,
        capture_output=True,
        check=False,
        env=os.environ | {"PGOPTIONS": ""},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{type_} {amount} POSTED" for type_ in TYPES for amount in (10, -10)
    ]
    assert posted(db, "a") == [10, -10] * len(TYPES)
    assert in_order(db)


def test_every_verb_and_reader_works(db: Ledger, astray: Ledger) -> None:
    ask(astray, "open_account", account_id="a", min_balance=-5, metadata={"m": 1})
    ask(astray, "set_limits", account_id="a", min_balance=-5, debt_floor=-9)
    given = {"account_id": "a", "amount": 100, "external_id": "x", "metadata": {"m": 1}}
    ask(astray, "top_up", **given, key="k", reference="r", ceiling_balance=60)
    assert ask(astray, "top_up", **given, key="l", ceiling_balance=60)["replayed"] is True
    ask(astray, "grant_credits", account_id="a", amount=1, key="g")
    assert ask(astray, "grant_credits", account_id="a", amount=1, key="g")["replayed"] is True
    refused(astray, "LG002", "grant_credits", account_id="a", amount=2, key="g")
    for key in ("paid", "dropped"):
        ask(astray, "top_up", account_id="a", amount=5, key=key, is_active=False)
    ask(astray, "enable_transaction", account_id="a", key="paid", metadata={"m": 2})
    ask(astray, "cancel_transaction", account_id="a", key="dropped", reason="late")
    ask(astray, "enable_transaction", account_id="a", key="dropped", external_id="late")
    refused(astray, "LG006", "cancel_transaction", account_id="a", key="none")
    ask(astray, "spend", account_id="a", amount=70, reference="chat")
    ask(astray, "spend", account_id="a", amount=50, shortfall="PARTIAL")
    refused(astray, "LG001", "spend", account_id="a", amount=5)
    refused(astray, "22023", "spend", account_id="a", amount=5, key="a\tb")
    ask(astray, "spend", account_id="a", amount=4, shortfall="DEBT")
    ask(astray, "set_account_status", account_id="a", status="FROZEN")
    ask(astray, "add_transaction", account_id="b", amount=1, type="GRANT")

    assert value(astray, "get_credits", account_id="a") == -9
    assert value(astray, "get_credits", account_id="none") == 0
    assert ask(astray, "get_balance", account_id="a")["status"] == "FROZEN"
    assert value(astray, "check_credits", account_id="b", required=1) is True
    assert ask(astray, "get_transaction", account_id="a", key="#1")["key"] == "k"
    assert value(astray, "balance_at", account_id="a", at="2200-01-01") == -9
    assert len(ask_all(astray, "history", account_id="a", type="TOP_UP")) == 3
    assert len(ask_all(astray, "usage_by_reference", account_id="a")) == 3
    assert in_order(astray)
    assert posted(db, "a") == [60, 1, 5, 5, -70, -6, -4]


def test_every_type_is_held_and_captured_from_psql(
    db: Ledger, path: str, database_url: str, pg_bin: Path
) -> None:
    ask(db, "top_up", account_id="a", amount=1000)
    calls = "".join(
        f"select type, amount, status from pgledger.add_transaction"
        f"('a', -10, '{type_}', key => '{type_}', is_active => false);\n"
        f"select type, amount, status from pgledger.capture('a', '{type_}', 3);\n"
        for type_ in TYPES
    )
    done = subprocess.run(
        [pg_bin / "psql", database_url, "-XqAt", "-v", "ON_ERROR_STOP=1", "-F", " "],
        input=f"set search_path = {path};\n{calls}",
        text=True,
        capture_output=True,
        check=False,
        env=os.environ | {"PGOPTIONS": ""},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        line for type_ in TYPES for line in (f"{type_} -10 PENDING", f"{type_} -3 POSTED")
    ]
    assert posted(db, "a") == [1000] + [-3] * len(TYPES)
    assert in_order(db)


def test_every_verb_around_the_core_works(db: Ledger, astray: Ledger) -> None:
    ask(astray, "top_up", account_id="a", amount=100, key="paid")
    ask(astray, "open_account", account_id="b")
    ask(astray, "set_low_balance_level", account_id="a", level=90)
    for key in ("all", "part", "gone", "due"):
        ask(astray, "hold", account_id="a", amount=5, key=key, expires_at="2200-01-01 00:00Z")
    refused(astray, "LG001", "hold", account_id="a", amount=500)
    ask(astray, "capture", account_id="a", key="all")
    ask(astray, "capture", account_id="a", key="part", amount=2, metadata={"m": 1})
    refused(astray, "LG002", "capture", account_id="a", key="part", amount=3)
    ask(astray, "release", account_id="a", key="gone", reason="late")
    let_expire(db, "due")
    assert value(astray, "get_credits", account_id="a") == 93
    assert value(astray, "run_due") == 1
    ask(astray, "refund", account_id="a", original_key="paid", amount=3, external_id="re")
    ask(astray, "spend", account_id="a", amount=10, key="spent")
    ask(astray, "reverse_transaction", account_id="a", original_key="spent", amount=4)
    refused(astray, "LG009", "reverse_transaction", account_id="a", original_key="#5", amount=7)
    given = {"from_account_id": "a", "to_account_id": "b", "amount": 4, "key": "moved"}
    ask(astray, "transfer", **given)
    assert ask(astray, "transfer", **given)["replayed"] is True
    given = {"account_id": "a", "threshold": 85, "amount": 50, "daily_count_limit": 2}
    ask(astray, "set_auto_top_up", **given)
    assert ask(astray, "check_auto_top_up", account_id="a")["key"] == "#auto-1"
    ask(astray, "enable_transaction", account_id="a", key="#auto-1")
    ask(astray, "set_auto_top_up", **given | {"mode": "INSTANT"})
    assert ask(astray, "spend", account_id="a", amount=50)["available"] == 130
    ask(astray, "spend", account_id="a", amount=50)
    assert ask(astray, "get_auto_top_up", account_id="a")["resumes_at"] is not None
    ask(astray, "set_account_status", account_id="a", status="FROZEN")
    ask(astray, "set_top_up_limits", account_id="a", multiple_of=5, daily_count_limit=5)
    given = {"account_id": "a", "key": "bought", "price": 9, "price_currency": "usd"}
    refused(astray, "LG012", "create_top_up", **given, amount=6)
    assert ask(astray, "create_top_up", **given, amount=5)["status"] == "PENDING"
    given = {"account_id": "c", "threshold": 85, "amount": 50}
    ask(astray, "top_up", account_id="c", amount=80)
    ask(astray, "set_auto_top_up", **given)
    ask(astray, "check_auto_top_up", account_id="c")
    assert ask(astray, "claim_top_ups")["account_id"] == "c"
    given = {"account_id": "c", "key": "#auto-1", "reason": "x"}
    assert ask(astray, "defer_top_up", **given, attempt=0)["claims"] == 1
    assert ask(astray, "decline_top_up", **given, attempt=0)["status"] == "PENDING"
    assert ask(astray, "decline_top_up", **given, attempt=1, give_up=True)["attempt"] == 2
    kinds = [row["kind"] for row in ask_all(astray, "list_events", account_id="a")]
    assert sorted(set(kinds)) == [
        "account_frozen",
        "hold_expired",
        "low_balance",
        "top_up_requested",
    ]
    assert ask(astray, "claim_events", limit_count=1)["seq"] == 1
    assert value(astray, "ack_events", account_ids="{a}", seqs="{1}") == 1
    assert in_order(astray)


def test_the_journal_is_guarded(astray: Ledger) -> None:
    ask(astray, "top_up", account_id="a", amount=5)
    with pytest.raises(psycopg.Error, match="append only") as caught:
        astray.execute("delete from pgledger.transactions")
    assert caught.value.sqlstate == "LG010"
