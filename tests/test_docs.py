"""The documentation under test: every example runs, every generated page is current."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from pgledger import AsyncLedger, IdempotencyConflictError
from tests.support import let_pass

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def roles(db: psycopg.Connection[dict[str, Any]]) -> Any:  # noqa: ANN401 - a generator fixture
    """Make the roles of the examples, under their own names, and take them away again."""
    names = ("app", "support")
    for name in names:
        db.execute(sql.SQL("create role {}").format(sql.Identifier(name)))
    yield
    for name in names:
        db.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


def test_the_sql_of_the_readme_runs(db: psycopg.Connection[dict[str, Any]]) -> None:
    block = "".join(blocks(ROOT / "README.md", "sql"))
    answers = [db.execute(statement.encode()).fetchall() for statement in block.split(";\n")[:-1]]

    assert [rows[0] if rows else None for rows in answers] == [
        {"balance": 1000},
        {"balance": 970},
        {"replayed": True},
        {"get_credits": 970},
        {"check_credits": False},
        {"status": "PENDING"},
        {"balance": 1470},
        {"replayed": True},
        {"available": 1270},
        {"balance": 1425},
        {"seq": 4, "type": "USAGE", "amount": -45, "running_balance": 1425},
        None,
        {"available": 50},
        {"available": 150},
        {"available": 80},
        {"lot_key": "trial", "amount": 50},
        {"code": "pro"},
        {"plan": "pro"},
        {"amount": 200},
        {"item": "pool", "amount": 80},
        {"changed": True},
        {"cost": 6, "exact": Decimal("5.94")},
        {"amount": -6, "balance": 1419},
    ]
    assert [row["amount"] for row in answers[19]] == [80, 300, 380]


def test_the_sql_of_the_concepts_page_runs(db: psycopg.Connection[dict[str, Any]]) -> None:
    who, block = blocks(ROOT / "docs" / "concepts.md", "sql")
    opened, found, linked, listed = [
        db.execute(statement.encode()).fetchall() for statement in who.split(";\n")[:-1]
    ]
    assert (opened, found) == (
        [{"account_id": "user-7", "opened": True}],
        [{"account_id": "user-7", "opened": False}],
    )
    assert linked == [{"kind": "CUSTOMER"}]
    assert [row["value"] for row in listed] == ["ada@example.com", "cus_NffrFeUfNV2Hib"]
    *_, draws, lots, items = [
        db.execute(statement.encode()).fetchall() for statement in block.split(";\n")[:-1]
    ]
    assert [(row["lot_key"], row["amount"]) for row in draws] == [
        ("promotion", 20),
        ("trial", 50),
        (None, 20),
    ]
    assert [(row["key"], row["remaining"]) for row in lots] == [("promotion", 0), ("trial", 0)]
    assert [(row["item"], row["amount"]) for row in items] == [
        ("pool", 80),
        ("balance", 80),
        ("held", 0),
        ("available", 80),
    ]


def test_the_python_of_the_readme_runs(
    db: psycopg.Connection[dict[str, Any]], database_url: str
) -> None:
    db.execute("create table answers (seq bigint)")
    alone, together, _payments = blocks(ROOT / "README.md", "python")
    for _ in range(4):
        exec(alone, {"database_url": database_url})  # noqa: S102 - that is the test
    assert db.execute("select pgledger.get_credits('bob')").fetchone() == {"get_credits": 70}
    db.execute("""select pgledger.set_price('gpt-small', '{"output_token": 0.012}')""")
    for _ in range(2):
        exec(together, {"database_url": database_url})  # noqa: S102 - and that
    assert db.execute("select pgledger.get_credits('bob')").fetchone() == {"get_credits": 20}


def test_the_python_of_the_operations_page_runs(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    batch, batcher = blocks(ROOT / "docs" / "operations.md", "python")
    told = ["order-1 100", "request-1 -30", "answer-1 -6", "request-2 insufficient credits"]
    for block, lines in ((batch, told), (batcher, ["70", "64", "64"])):
        exec(block, {"database_url": database_url})  # noqa: S102 - that is the test
        assert capsys.readouterr().out.splitlines() == lines
        exec(block, {"database_url": database_url})  # noqa: S102 - again, by the same keys
        assert len(capsys.readouterr().out.splitlines()) == len(lines)


@pytest.mark.usefixtures("roles")
def test_the_sql_of_the_operations_page_runs(
    db: psycopg.Connection[dict[str, Any]],
) -> None:
    for block in blocks(ROOT / "docs" / "operations.md", "sql"):
        db.execute(block.encode())

    assert db.execute("select * from pgledger.verify('carol')").fetchall() == []
    batch = "select account_id, status, refusal from pgledger.post_batch_json(%s)"
    again = {"account_id": "frank", "amount": -30, "type": "USAGE", "key": "request-3"}
    assert db.execute("select * from pgledger.get_credits('frank')").fetchone() == {
        "get_credits": 59
    }
    assert db.execute(batch.encode(), (Jsonb([again]),)).fetchone() == {
        "account_id": "frank",
        "status": "POSTED",
        "refusal": None,
    }
    assert db.execute("select balance from pgledger.spend('carol', 300)").fetchone() == {
        "balance": 0
    }


@pytest.mark.usefixtures("roles")
def test_a_role_with_the_documented_grants_can_use_the_ledger_and_touch_no_table(
    db: psycopg.Connection[dict[str, Any]],
) -> None:
    (grants, narrow) = (
        block for block in blocks(ROOT / "docs" / "operations.md", "sql") if "grant" in block
    )
    db.execute(grants.encode())
    db.execute(narrow.encode())

    db.execute("set role app")
    assert db.execute("select balance from pgledger.top_up('u', 5)").fetchone() == {"balance": 5}
    assert db.execute("select balance from pgledger.spend('u', 2)").fetchone() == {"balance": 3}
    for statement in (
        "select * from pgledger.balances",
        "insert into pgledger.transactions select * from pgledger.transactions",
        "select pgledger._open_if_new('x')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement.encode())

    db.execute("set role support")
    assert db.execute("select balance from pgledger.get_balance('u')").fetchone() == {"balance": 3}
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("select pgledger.spend('u', 1)")
    db.execute("reset role")


def test_the_console_of_the_prices_page_tells_what_it_says(
    database_url: str, tmp_path: Path
) -> None:
    page = ROOT / "docs" / "prices.md"
    (tmp_path / "models.json").write_text("".join(blocks(page, "json")))
    (tmp_path / "own.csv").write_text("".join(blocks(page, "csv")))
    (tmp_path / "pgledger").write_text(f'#!/bin/sh\nexec {sys.executable} -m pgledger "$@"\n')
    (tmp_path / "pgledger").chmod(0o755)
    console = "".join(blocks(page, "console"))
    said = []
    for command in re.findall(r"^\$ (.*)$", console, re.MULTILINE):
        ran = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT / "src"),
                "PGLEDGER_DATABASE_URL": database_url,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(f"$ {command}\n{ran.stdout}")
    instant = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+Z|Z)?"
    assert re.sub(instant, "<instant>", "".join(said)) == console


Names = dict[str, Any]


@pytest.fixture
def streaming(database_url: str, capsys: pytest.CaptureFixture[str]) -> Names:
    """Run the example of a stream, which leaves erin 487, and return what it defines."""
    (block,) = blocks(ROOT / "docs" / "prices.md", "python")
    names: Names = {"database_url": database_url}
    exec(block, names)  # noqa: S102 - that is the test
    assert capsys.readouterr().out.split() == ["forty", "-", "two", "487", "left"]
    return names


def stream(names: Names, key: str, send: Callable[[str], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncConnectionPool(names["database_url"], open=False) as pool:
            try:
                await names["answer"](AsyncLedger(pool), "erin", key, "What is it then?", send)
            finally:
                await asyncio.gather(*names["settling"])

    asyncio.run(main())


def erin(db: psycopg.Connection[dict[str, Any]]) -> tuple[int, dict[str, str]]:
    """Return what is available to erin, and what became of what she asked for."""
    available = db.execute("select pgledger.get_credits('erin')").fetchone()
    assert available
    rows = db.execute(
        "select key, 'POSTED' as status from pgledger.transactions where account_id = 'erin'"
        " union all select key, status::text from pgledger.pending_transactions"
        " where account_id = 'erin' and status <> 'ENABLED'"
    ).fetchall()
    return available["get_credits"], {row["key"]: row["status"] for row in rows}


def test_the_stream_of_the_prices_page_charges_what_a_client_had_who_is_gone(
    db: psycopg.Connection[dict[str, Any]], streaming: Names
) -> None:
    settle = streaming["settle"]
    tasks: list[asyncio.Task[None]] = []

    async def leave(token: str) -> None:
        if token == "two":  # noqa: S105 - no secret
            answering = asyncio.current_task()
            assert answering
            tasks.append(answering)
            answering.cancel()
            await asyncio.Event().wait()

    async def cancelled_once_more(*arguments: object) -> None:
        tasks[0].cancel()
        for _ in range(2):  # again with the same counts: nothing changes
            await settle(*arguments)

    streaming["settle"] = cancelled_once_more
    with pytest.raises(asyncio.CancelledError):
        stream(streaming, "answer-2", leave)
    assert erin(db) == (477, {"order-1": "POSTED", "answer-1": "POSTED", "answer-2": "POSTED"})


def test_the_stream_of_the_prices_page_is_free_when_nothing_was_delivered(
    db: psycopg.Connection[dict[str, Any]], streaming: Names
) -> None:
    async def fail(_token: str) -> None:
        raise ConnectionResetError

    async def fail_late(_token: str) -> None:
        let_pass(db, "20 minutes")
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        stream(streaming, "answer-2", fail)
    with pytest.raises(ConnectionResetError):
        stream(streaming, "answer-3", fail_late)
    available, became = erin(db)
    assert (available, became["answer-2"]) == (487, "CANCELLED")
    assert became.get("answer-3") != "POSTED"


def test_the_stream_of_the_prices_page_is_charged_after_its_hold_has_expired(
    db: psycopg.Connection[dict[str, Any]], streaming: Names
) -> None:
    async def dawdle(token: str) -> None:
        if token == "two":  # noqa: S105 - no secret
            let_pass(db, "20 minutes")

    stream(streaming, "answer-2", dawdle)
    available, became = erin(db)
    assert (available, became["answer-2-late"]) == (474, "POSTED")


def test_the_stream_of_the_prices_page_begins_once_under_a_key(
    db: psycopg.Connection[dict[str, Any]], streaming: Names
) -> None:
    sent = []

    async def keep(token: str) -> None:
        sent.append(token)

    with pytest.raises(IdempotencyConflictError):
        stream(streaming, "answer-1", keep)
    assert (sent, erin(db)[0]) == ([], 487)


def test_the_sql_example_prints_what_its_output_file_says(database_url: str, pg_bin: Path) -> None:
    ran = subprocess.run(
        [
            *(pg_bin / "psql", "-X", "-e", "-v", "ON_ERROR_STOP=1", "-d", database_url),
            *("-f", ROOT / "examples" / "credits.sql"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == (ROOT / "examples" / "credits.out").read_text()


def test_the_python_example_tells_its_story(database_url: str) -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / "credits.py", database_url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == [
        "answer: 42",
        "again:  42",
        "refused: 10 credits are missing",
        "streamed: forty two",
        "left: 12",
    ]


def test_the_generated_pages_are_current() -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "reference.py", "--check"], check=True)


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        mentioned = set(re.findall(r"(?:`|\$ )make ([a-z]+)", page.read_text()))
        assert mentioned <= targets, page.name


def test_every_command_that_is_mentioned_exists() -> None:
    from pgledger.cli import cli  # noqa: PLC0415 - the command line is an extra

    for page in PAGES:
        mentioned = set(re.findall(r"(?:`|\$ |/)pgledger ([a-z][a-z-]*)", page.read_text()))
        assert mentioned <= set(cli.commands), page.name
