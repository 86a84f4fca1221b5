"""Databases to migrate, and the ways there: psql, yoyo, another process."""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgledger.migrate import (
    known_migrations,
    migrations_directory,
)

KNOWN = known_migrations()
FILES = sorted(migrations_directory().glob("*.sql"))
VERSIONS = Path(__file__).parent / "versions"

MIGRATE = """
import pathlib, sys
from pgledger.migrate import migrate
print(migrate(sys.argv[1], directory=pathlib.Path(sys.argv[2])))
"""


@contextmanager
def database(server_url: str, prefix: str = "migrations_") -> Iterator[str]:
    name = f"{prefix}{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        quoted = sql.Identifier(name).as_string()
        connection.execute(f"create database {quoted}".encode())
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            connection.execute(f"drop database {quoted} with (force)".encode())


def execute(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def marks(url: str) -> list[str]:
    rows = execute(url, "select migration_id from pgledger._yoyo_migration order by 1")
    return [migration for (migration,) in rows]


def set_for_the_database(url: str, setting: str) -> None:
    ((name,),) = execute(url, "select quote_ident(current_database())")
    execute(url, f"alter database {name} set {setting}")


def psql(url: str, pg_bin: Path, *arguments: str | Path, script: str | None = None) -> str:
    return subprocess.run(
        [pg_bin / "psql", "--no-psqlrc", "--quiet", f"--dbname={url}", *arguments],
        input=script,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def yoyo_url(url: str, **more: str) -> str:
    return "postgresql+psycopg:///?" + urlencode(conninfo_to_dict(url) | more)


def yoyo(
    command: str, url: str, *options: str, directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "yoyo", command, "--batch", "--no-config-file", *options),
            *("--database", url, str(directory or migrations_directory())),
        ],
        check=False,
        capture_output=True,
        text=True,
    )


def start_migrating(url: str, directory: Path) -> subprocess.Popen[str]:
    command: list[str | Path] = [sys.executable, "-c", MIGRATE, url, directory]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not come about"


def add(history: Path, name: str, body: str) -> str:
    newest = known_migrations(history)[-1]
    migration = f"{int(newest[:4]) + 1:04d}_{name}"
    (history / f"{migration}.sql").write_text(f"-- depends: {newest}\n{body}\n")
    return migration
