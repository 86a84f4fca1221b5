"""Write the next migration: what takes a database from the newest migration to what sql/ says.

    python tools/new_migration.py add_limits    writes the next migration and its rollback
    python tools/new_migration.py --pin         writes the checksums of what is to be released

One throw-away database is built from sql/ and one from migrations/, and their dumps are compared.
What can be replaced (functions and views) is brought over by appending its file whole, so nobody
copies a function body. Tables and data cannot be written by a program: a person does that, in the
marked part, with the differences listed there. To start an unreleased migration afresh, delete it
and run this again.

yoyo cuts a file into statements with sqlparse. It knows $$ bodies, DO blocks and BEGIN ATOMIC, but
takes a backslash for an escape: outside $$ no string may end in one. A cut in the wrong place is a
syntax error, so the test that migrates a database tells.
"""

import argparse
import difflib
import hashlib
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from pgledger.embedded import binaries, throwaway_server
from pgledger.migrate import (
    MigrationError,
    install_script,
    known_migrations,
    manifest,
    migrate,
    migrations_directory,
    source_directory,
)

# While a migration waits for a table, every posting queues behind it: better to try again later.
LOCK_TIMEOUT = "set local lock_timeout = '2s';"

HAND_WRITTEN = """\
-- ---- By hand: tables, types and data; safe to run again (if not exists, on conflict do nothing).
-- ---- These are the differences; take the lines away when they are brought over:
"""

ROLLBACK = """\
-- The ledger only goes forward: what has been posted stays. Only an empty ledger is rolled back.
{lock_timeout}
do $$
begin
  if pg_catalog.to_regclass('pgledger.transactions') is null then
    return;
  end if;
  lock table pgledger.transactions, pgledger.pending_transactions in access exclusive mode;
  if exists (select from pgledger.transactions)
     or exists (select from pgledger.pending_transactions) then
    raise exception using
      errcode = 'object_not_in_prerequisite_state',
      message = 'the ledger has movements: {id} is not rolled back',
      hint = 'The ledger only goes forward: write a new migration.';
  end if;
{undo}end
$$;
"""

# The schema itself stays where yoyo keeps its tables in it, for yoyo is about to write there.
DROP_EVERYTHING = """\
  execute (
    select 'drop table ' || string_agg(c.oid::regclass::text, ', ') || ' cascade'
    from pg_catalog.pg_class as c
    where c.relnamespace = 'pgledger'::regnamespace and c.relkind = 'r' and c.relname !~ '^_?yoyo_'
  );
  execute (
    select 'drop routine ' || string_agg(p.oid::regprocedure::text, ', ') || ' cascade'
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'pgledger'::regnamespace
  );
  execute (
    select 'drop type ' || string_agg(t.oid::regtype::text, ', ') || ' cascade'
    from pg_catalog.pg_type as t
    left join pg_catalog.pg_class as c on c.oid = t.typrelid
    where t.typnamespace = 'pgledger'::regnamespace
      and (t.typtype in ('d', 'e') or c.relkind = 'c')
  );
  if not exists (select from pg_class as c where c.relnamespace = 'pgledger'::regnamespace) then
    drop schema pgledger;
  end if;
"""


# A setting of the session carries them, because a hardened database allows no temporary tables.
KEEP_GRANTS = """\
-- Who may call what is dropped here may call what takes its place: granted again at the end.
do $$
begin
  perform pg_catalog.set_config('pgledger.kept_grants', (
    select coalesce(jsonb_agg(jsonb_build_object(
      'function', p.proname, 'grantee', g.grantee, 'grantable', g.is_grantable)), '[]')::text
    from pg_catalog.pg_proc p
    cross join lateral pg_catalog.aclexplode(p.proacl) g
    where p.pronamespace = 'pgledger'::regnamespace
      and g.grantee <> p.proowner
      and p.proname in ({names})), false);
end
$$;
"""
GRANT_AGAIN = """\
do $$
declare
  v_grant record;
begin
  for v_grant in
    select p.oid::regprocedure as function, k.grantable,
      case k.grantee when 0 then 'public' else k.grantee::regrole::text end as grantee
    from jsonb_to_recordset(pg_catalog.current_setting('pgledger.kept_grants')::jsonb)
      k (function name, grantee oid, grantable boolean)
    join pg_catalog.pg_proc p
      on p.pronamespace = 'pgledger'::regnamespace and p.proname = k.function
  loop
    execute 'grant execute on function ' || v_grant.function || ' to ' || v_grant.grantee
      || case when v_grant.grantable then ' with grant option' else '' end;
  end loop;
  perform pg_catalog.set_config('pgledger.kept_grants', '', false);
end
$$;
"""

# By what an object is called and what it is, such as ("f(integer)", "FUNCTION"): its SQL.
Sections = dict[tuple[str, str], str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description="Write the next migration, or pin.")
    parser.add_argument("name", nargs="?", help="what it does, in_lower_case")
    parser.add_argument("--pin", action="store_true", help="write the checksums for a release")
    options = parser.parse_args(arguments)
    if options.pin == bool(options.name):
        parser.error("give a name, or --pin")
    try:
        if options.pin:
            print(pin(migrations_directory()))
        else:
            with throwaway_server() as server:
                url = server.url("postgres")
                sources, migrations = source_directory(), migrations_directory()
                print(write(options.name, url, binaries(), sources, migrations))
    except (ValueError, MigrationError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def pin(migrations: Path) -> str:
    """Add what is not pinned yet to SHA256SUMS, and say what was done.

    Raises ValueError when a migration that is pinned has been changed: databases have run it.
    """
    sums = migrations / "SHA256SUMS"
    pinned = read_sums(migrations)
    current = {file.name: checksum(file) for file in sorted(migrations.glob("*.sql"))}
    if changed := [name for name, value in pinned.items() if current.get(name) != value]:
        raise ValueError(
            f"released, and changed since: {', '.join(changed)}. Restore it and write a new "
            "migration; if no release ever had it, take its line out of SHA256SUMS first."
        )
    sums.write_text("".join(f"{value}  {name}\n" for name, value in current.items()))
    return f"pinned: {', '.join(sorted(current.keys() - pinned.keys())) or 'nothing new'}"


def read_sums(migrations: Path) -> dict[str, str]:
    """Return the pinned checksums by file name."""
    sums = migrations / "SHA256SUMS"
    lines = sums.read_text().splitlines() if sums.exists() else []
    return {name: value for value, name in (line.split("  ") for line in lines)}


def checksum(file: Path) -> str:
    """Return the checksum of a file as sha256sum prints it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write(name: str, server_url: str, programs: Path, sources: Path, migrations: Path) -> str:
    """Write the next migration, if there is a difference, and say what was done.

    ``server_url`` is that of a server on which databases may be made, ``programs`` the directory
    of its pg_dump. Raises ValueError for a name that is none.
    """
    if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name):
        raise ValueError(f"{name!r} is not a name for a migration: use lower_case_words")
    known = known_migrations(migrations)
    fresh = _installed(server_url, programs, sources)
    migrated = {}
    if known:
        with _database(server_url) as url:
            migrate(url, directory=migrations)
            migrated = _everything(url, programs)
    if fresh == migrated:
        return "nothing differs"
    number = int(known[-1].partition("_")[0]) + 1 if known else 1
    new = f"{number:04d}_{name}"
    set_version(sources, new)
    fresh = _installed(server_url, programs, sources)
    parts = [f"-- depends: {known[-1] if known else ''}".rstrip() + "\n", LOCK_TIMEOUT + "\n"]
    parts += _update(sources, migrated, fresh) if known else _texts(sources, manifest(sources))
    rollback = ROLLBACK.format(
        lock_timeout=LOCK_TIMEOUT, id=new, undo="" if known else DROP_EVERYTHING
    )
    (migrations / f"{new}.sql").write_text("\n".join(parts))
    (migrations / f"{new}.rollback.sql").write_text(rollback)
    return f"wrote {new}: finish the part by hand, if it has one, and run the tests"


def set_version(sources: Path, migration: str) -> None:
    """Let the sources say that they are what a database is after this migration."""
    file = sources / "functions" / "_schema_version.sql"
    if file.exists():
        file.write_text(
            re.sub(r"\$\$ select '\w+' \$\$", f"$$ select '{migration}' $$", file.read_text())
        )


def dump(url: str, programs: Path, *options: str) -> str:
    """Return what pg_dump says of the ledger's schema, without yoyo's tables."""
    command: list[str | Path] = [
        programs / "pg_dump",
        f"--dbname={url}",
        "--schema=pgledger",
        "--exclude-table=pgledger._yoyo_*",
        "--exclude-table=pgledger.yoyo_lock",
        "--no-owner",
        *options,
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Newer ones fence the dump with a random word.
    return re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.MULTILINE)


def sections(text: str) -> Sections:
    """Split a dump at its headers."""
    header = re.compile(r"^--\n-- (?:Data for )?Name: (.*?); Type: (.*?); .*\n--\n", re.MULTILINE)
    # The last words of a dump would count as part of whatever comes last.
    _, *rest = header.split(text.partition("\n--\n-- PostgreSQL database dump complete")[0])
    return {
        (name, kind): body.strip()
        for name, kind, body in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    }


@contextmanager
def _database(server_url: str) -> Iterator[str]:
    """Make a database, give its connection string, drop it at the end."""
    name = f"new_migration_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            connection.execute(f"drop database {name} with (force)".encode())


def _installed(server_url: str, programs: Path, sources: Path) -> Sections:
    """Return the dump of a database made from the sources."""
    with _database(server_url) as url:
        with psycopg.connect(url) as connection:
            connection.execute(install_script(sources).encode())
        return _everything(url, programs)


def _everything(url: str, programs: Path) -> Sections:
    # With the rows: a ledger is born with some, such as its currency.
    return sections(dump(url, programs, "--inserts"))


def _update(sources: Path, old: Sections, new: Sections) -> list[str]:
    """Return the parts of a migration that turns the old dump into the new one."""
    homes = _homes(sources)
    changed = [key for key in [*old, *new] if old.get(key) != new.get(key)]
    gone = {
        key: text
        for key, text in old.items()
        if key[1] in {"FUNCTION", "PROCEDURE", "VIEW"} and _head(new.get(key, "")) != _head(text)
    }
    replaced = {_subject(key) for key in changed}
    files = [file for file in manifest(sources) if replaced & homes[file]]
    by_file = set().union(*homes.values()) | {_subject(key) for key in gone}
    by_hand = [key for key in dict.fromkeys(changed) if _subject(key) not in by_file]
    parts = [HAND_WRITTEN + _differences(by_hand, old, new)] if by_hand else []
    drops = [f"drop {kind.lower()} if exists pgledger.{name};\n" for name, kind in gone]
    names = dict.fromkeys(_subject(key) for key in gone if key[1] == "FUNCTION")
    if public := ", ".join(f"'{name}'" for name in names if not name.startswith("_")):
        return [
            *parts,
            KEEP_GRANTS.replace("{names}", public),
            *drops,
            *_texts(sources, files),
            GRANT_AGAIN,
        ]
    return [*parts, *drops, *_texts(sources, files)]


def _homes(sources: Path) -> dict[Path, set[str]]:
    """Return what each file of the manifest defines that can be replaced."""
    kinds = "function|procedure|view"
    define = re.compile(rf"^create or replace (?:{kinds}) pgledger\.(\w+)", re.MULTILINE)
    return {file: set(define.findall(file.read_text())) for file in manifest(sources)}


def _subject(key: tuple[str, str]) -> str:
    """Return the bare name a section is about: f for f(int), FUNCTION f(x int) and COLUMN f.c."""
    match = re.match(r"(?:[A-Z]+ )*(\w+)", key[0])
    return match[1] if match else key[0]


def _head(text: str) -> str:
    """Return what CREATE OR REPLACE cannot change: what a function takes and returns."""
    return re.split(r"\n    LANGUAGE | AS\n", text, maxsplit=1)[0]


def _differences(
    keys: Sequence[tuple[str, str]],
    old: Sections,
    new: Sections,
) -> str:
    lines = []
    for key in keys:
        lines.append(f"{key[1]} {key[0]}")
        before, after = old.get(key, "").splitlines(), new.get(key, "").splitlines()
        lines += [line for line in difflib.ndiff(before, after) if line[0] in "-+"]
    return "".join(f"-- {line}\n" for line in lines if line.strip("+- "))


def _texts(sources: Path, files: Sequence[Path]) -> list[str]:
    return [f"-- {file.relative_to(sources)}\n\n{file.read_text()}" for file in files]


if __name__ == "__main__":
    sys.exit(main())
