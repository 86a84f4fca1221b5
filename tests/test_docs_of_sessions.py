"""The page on session patterns under test: each example runs in the framework that it is for."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from pgledger import InsufficientCreditsError, Ledger
from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs" / "sessions.md"
Db = psycopg.Connection[DictRow]
Names = dict[str, Any]


@pytest.fixture
def answers(db: Db) -> Db:
    """The table of the examples."""
    db.execute("create table answers (key text primary key, seq bigint)")
    return db


def keys(db: Db, table: str = "answers") -> list[str]:
    return [row["key"] for row in db.execute(f"select key from {table} order by 1".encode())]


def defined(block: int, **names: object) -> Names:
    """Run an example, with what it has from those before, and return what it defines."""
    found: Names = {"InsufficientCreditsError": InsufficientCreditsError, "Ledger": Ledger, **names}
    exec(blocks(PAGE, "python")[block], found)  # noqa: S102 - that is the test
    return found


def test_a_refusal_is_caught_around_a_nested_block(
    answers: Db, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    defined(0, database_url=database_url)
    assert capsys.readouterr().out == "refused: 800 are missing\nleft: 100\n"
    assert keys(answers) == ["welcome"]


def test_the_worker_charges_for_each_job_once(db: Db, database_url: str) -> None:
    db.execute("create table jobs (id int primary key, account_id text)")
    db.execute("create table outcomes (id int primary key, outcome text)")
    db.execute("insert into jobs select n, 'u' || n % 2 from generate_series(1, 8) n")
    Ledger(db).top_up("u0", 1000)
    Ledger(db).top_up("u1", 90)
    with ConnectionPool(database_url, min_size=2, open=True) as pool:
        work = defined(1)["work"]
        stop = threading.Event()
        workers = [threading.Thread(target=work, args=(pool, stop)) for _ in range(2)]
        for worker in workers:
            worker.start()
        while db.execute("select count(*) as n from outcomes").fetchall()[0]["n"] < 8:
            pass
        stop.set()
        for worker in workers:
            worker.join()
    outcomes = db.execute("select outcome, count(*) as n from outcomes group by 1").fetchall()
    assert {row["outcome"]: row["n"] for row in outcomes} == {"done": 6, "not paid": 2}
    assert [Ledger(db).get_credits(account) for account in ("u0", "u1")] == [840, 10]


def test_fastapi_answers_when_it_is_committed(answers: Db, database_url: str) -> None:
    Ledger(answers).top_up("dave", 50)
    app = defined(2, database_url=database_url)["app"]

    async def story() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://app") as client,
        ):

            async def ask(key: str) -> tuple[int, Any]:
                response = await client.post(f"/users/dave/answers/{key}")
                is_json = response.headers["content-type"] == "application/json"
                return response.status_code, response.json() if is_json else None

            for _ in range(2):
                assert await ask("a1") == (200, {"available": 20})
            assert await ask("a2") == (402, {"missing": 10})
            # Refused by the application's own table: the spend is rolled back with it.
            answers.execute("insert into answers values ('a3')")
            Ledger(answers).top_up("dave", 50)
            assert await ask("a3") == (500, None)
            assert await ask("a4") == (200, {"available": 40})

    asyncio.run(story())
    assert keys(answers) == ["a1", "a3", "a4"]


DJANGO = """
import json, sys
import django
from django.conf import settings

database = json.loads(sys.argv[1])
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **database}},
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="no", USE_TZ=True,
)
django.setup()
"""
URLS = """
from django.test import Client
from django.urls import path

urlpatterns = [path("users/<account_id>/answers/<key>", answer)]
client = Client(raise_request_exception=False)
for key in ("a1", "a1", "a2", "a3", "a4"):
    response = client.post(f"/users/dave/answers/{key}")
    said = response.json() if response["Content-Type"] == "application/json" else None
    print(response.status_code, said)
    if key == "a2":
        the_ledger().top_up("dave", 50, metadata={"by": "hand"})
posted = the_ledger().history("dave")
print(posted[1].metadata, posted[0].created_at.utcoffset() is not None)
"""


def test_django_commits_or_undoes_both(answers: Db, database_url: str) -> None:
    Ledger(answers).top_up("dave", 50)
    answers.execute("insert into answers values ('a3')")
    given = conninfo_to_dict(database_url)
    database = {
        name: str(given.get(parameter) or "")
        for name, parameter in {
            "NAME": "dbname",
            "USER": "user",
            "PASSWORD": "password",
            "HOST": "host",
            "PORT": "port",
        }.items()
    }
    ran = subprocess.run(
        [sys.executable, "-c", DJANGO + blocks(PAGE, "python")[3] + URLS, json.dumps(database)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "200 {'available': 20}",
        "200 {'available': 20}",
        "402 {'missing': 10}",
        "500 None",
        "200 {'available': 40}",
        "{'by': 'hand'} True",
    ]
    assert keys(answers) == ["a1", "a3", "a4"]


def test_the_sql_runs(database_url: str) -> None:
    (block,) = blocks(PAGE, "sql")
    with psycopg.connect(database_url, autocommit=True) as connection:
        said = [
            cursor.fetchall()
            for statement in block.split(";\n")[:-1]
            if (cursor := connection.execute(statement.encode())).description
        ]
    assert said == [[(50,)], [("REFUSED", "LG001")], [(30,)]]
