"""The tool that writes the next migration."""

import re
import subprocess
from pathlib import Path

import pytest
from tools.new_migration import (
    GRANT_AGAIN,
    KEEP_GRANTS,
    LOCK_TIMEOUT,
    pin,
    write,
)

from pgledger.migrate import (
    known_migrations,
)

# Writing the next migration


@pytest.fixture
def toy(tmp_path: Path) -> tuple[Path, Path]:
    sources, migrations = tmp_path / "sql", tmp_path / "toy_migrations"
    sources.mkdir()
    migrations.mkdir()
    files = {
        "install.sql": "-- A toy\n\\ir schema.sql\n\\ir two.sql\n\\ir one.sql\n",
        "schema.sql": "create schema if not exists pgledger;\n"
        "create table if not exists pgledger.things (a int primary key);\n",
        "one.sql": "create or replace function pgledger.one(a int) returns int\n"
        "language sql as $$ select 1 $$;\n",
        "two.sql": "create or replace function pgledger.two(a int) returns int\n"
        "language sql as $$ select 2 $$;\n"
        "comment on function pgledger.two is 'The second; of two.';\n",
    }
    for name, text in files.items():
        (sources / name).write_text(text)
    return sources, migrations


def test_the_first_migration_is_the_whole_ledger_in_order(
    toy: tuple[Path, Path], server_url: str, pg_bin: Path
) -> None:
    sources, migrations = toy
    assert write("begin", server_url, pg_bin, *toy).startswith("wrote 0001_begin")
    text = (migrations / "0001_begin.sql").read_text()
    assert text.startswith(f"-- depends:\n\n{LOCK_TIMEOUT}\n")
    places = [
        text.index((sources / f"{name}.sql").read_text()) for name in ("schema", "two", "one")
    ]
    assert places == sorted(places)
    assert write("again", server_url, pg_bin, *toy) == "nothing differs"
    assert known_migrations(migrations) == ["0001_begin"]


def test_the_next_migration_brings_over_whole_files_and_lists_the_rest(
    toy: tuple[Path, Path], server_url: str, pg_bin: Path
) -> None:
    sources, migrations = toy
    write("begin", server_url, pg_bin, *toy)
    with (sources / "schema.sql").open("a") as schema:
        schema.write("create table if not exists pgledger.more (b int);\n")
        schema.write("insert into pgledger.things values (7) on conflict (a) do nothing;\n")
    one = "create or replace function pgledger.one(a int, b int default 0) returns int\n"
    (sources / "one.sql").write_text(one + "language sql as $$ select 1 $$;\n")
    (sources / "install.sql").write_text("\\ir schema.sql\n\\ir one.sql\n")
    write("more", server_url, pg_bin, *toy)
    text = (migrations / "0002_more.sql").read_text()
    head, by_hand, rest = re.split(r"(?=-- ---- By hand)|(?=\n-- Who may call)", text, maxsplit=2)
    assert head == f"-- depends: 0001_begin\n\n{LOCK_TIMEOUT}\n\n"
    assert "-- + CREATE TABLE pgledger.more (" in by_hand
    assert "-- + INSERT INTO pgledger.things VALUES (7);" in by_hand
    assert not [line for line in by_hand.splitlines() if line and not line.startswith("--")]
    assert re.findall("drop .*", rest) == [
        "drop function if exists pgledger.one(integer);",
        "drop function if exists pgledger.two(integer);",
    ]
    kept = KEEP_GRANTS.replace("{names}", "'one', 'two'")
    assert rest.startswith(f"\n{kept}\ndrop function")
    assert rest.endswith(f"{(sources / 'one.sql').read_text()}\n{GRANT_AGAIN}")
    assert "schema.sql" not in rest
    # With the part by hand written, they agree.
    (migrations / "0002_more.sql").write_text(text + (sources / "schema.sql").read_text())
    assert write("again", server_url, pg_bin, *toy) == "nothing differs"


def test_a_comment_or_a_privilege_alone_brings_a_function_over(
    toy: tuple[Path, Path], server_url: str, pg_bin: Path
) -> None:
    sources, migrations = toy
    write("begin", server_url, pg_bin, *toy)
    for number, line in enumerate(
        (
            "comment on function pgledger.two is 'New.';",
            "revoke all on function pgledger.two from public;",
        )
    ):
        with (sources / "two.sql").open("a") as file:
            file.write(line + "\n")
        write("more", server_url, pg_bin, *toy)
        text = (migrations / f"{number + 2:04d}_more.sql").read_text()
        assert text.endswith((sources / "two.sql").read_text())
        assert "drop" not in text
        assert "By hand" not in text
        assert "pgledger.one" not in text


def test_a_migration_has_a_plain_name(
    toy: tuple[Path, Path], server_url: str, pg_bin: Path
) -> None:
    with pytest.raises(ValueError, match="lower_case_words"):
        write("Not so; plain", server_url, pg_bin, *toy)


def test_what_is_pinned_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("select 1;")
    assert pin(tmp_path) == "pinned: 0001_a.sql"
    subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, check=True)
    (tmp_path / "0002_b.sql").write_text("select 2;")
    assert pin(tmp_path) == "pinned: 0002_b.sql"
    (tmp_path / "0001_a.sql").write_text("select 3;")
    with pytest.raises(ValueError, match=r"changed since: 0001_a\.sql"):
        pin(tmp_path)
