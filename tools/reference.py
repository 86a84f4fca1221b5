"""Write docs/reference.md and docs/errors.md from what the database and the package say.

The comments in sql/ are the source: nothing is written twice. ``--check`` writes nothing and fails
when a file is out of date.
"""

import re
import sys
from pathlib import Path

import psycopg

from pgledger import embedded, errors, migrate

DOCS = Path(__file__).parent.parent / "docs"

FUNCTIONS = """
select p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
  obj_description(p.oid, 'pg_proc')
from pg_proc p
where p.pronamespace = 'pgledger'::regnamespace and left(p.proname, 1) <> '_'
order by p.proname
"""

RELATIONS = """
select c.oid, coalesce(t.typname, c.relname), c.relkind,
  coalesce(obj_description(c.oid, 'pg_class'), obj_description(t.oid, 'pg_type'))
from pg_class c
join pg_type t on t.typrelid = c.oid
where c.relnamespace = 'pgledger'::regnamespace and c.relkind in ('r', 'v', 'c')
  and left(c.relname, 1) <> '_'
order by c.relname
"""

KINDS = {"r": "table", "v": "view", "c": "type"}

COLUMNS = """
select a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
from pg_attribute a
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""

ENUMS = """
select t.typname, string_agg(e.enumlabel, ', ' order by e.enumsortorder),
  obj_description(t.oid, 'pg_type')
from pg_type t
join pg_enum e on e.enumtypid = t.oid
where t.typnamespace = 'pgledger'::regnamespace
group by t.oid, t.typname
order by t.typname
"""


def reference(connection: psycopg.Connection) -> str:
    """Describe the functions, tables and types of an installed ledger."""
    parts = [
        "# Reference\n",
        "Made from the comments in `sql/` by `make reference`; do not edit.\n",
        "Every amount is a whole number of minor units (`bigint`). The errors are listed in",
        "[errors.md](errors.md).\n",
        "## Functions\n",
    ]
    for name, arguments, result, comment in connection.execute(FUNCTIONS).fetchall():
        parts += [
            f"### {name}\n",
            "```sql",
            signature(name, arguments, result),
            "```\n",
            comment + "\n",
        ]
    parts.append("## Tables and row types\n")
    for oid, name, kind, comment in connection.execute(RELATIONS).fetchall():
        parts += [f"### {name} ({KINDS[kind]})\n", comment + "\n"]
        parts += ["| column | type | meaning |", "|---|---|---|"]
        parts += [
            f"| {column} | {kind_of.removeprefix('pgledger.')} | {meaning or ''} |"
            for column, kind_of, meaning in connection.execute(COLUMNS, (oid,)).fetchall()
        ]
        parts.append("")
    parts.append("## Enums\n")
    for name, labels, comment in connection.execute(ENUMS).fetchall():
        parts += [f"### {name}\n", f"`{labels}`\n", comment + "\n"]
    return "\n".join(parts).rstrip() + "\n"


def signature(name: str, arguments: str, result: str) -> str:
    """Break a signature into one argument a line."""
    short = arguments.replace("timestamp with time zone", "timestamptz")
    plain = re.sub(r" DEFAULT NULL::[\w.]+", " default null", short).replace(
        " DEFAULT ", " default "
    )
    plain = re.sub(r"(default '[^']*')::[\w.]+", r"\1", plain)
    listed = ",\n".join(f"  {argument}" for argument in plain.split(", ") if argument)
    call = f"pgledger.{name}(\n{listed}\n)" if listed else f"pgledger.{name}()"
    result = result.replace("timestamp with time zone", "timestamptz")
    return f"{call} -> {result}".replace("pgledger.transaction_type", "transaction_type")


def errors_page() -> str:
    """Describe the error codes and their Python classes."""
    parts = [
        "# Errors\n",
        "Made from `pgledger.errors` by `make reference`; do not edit.\n",
        "A refusal is a SQL exception: branch on its SQLSTATE. MESSAGE is a fixed phrase, DETAIL",
        "one JSON object with the values, HINT says what to do. Nothing was written. Python raises",
        "the class, a `LedgerError` with `.sqlstate`, `.details` and `.hint`. With",
        "`raise_refusals => false` an LG code comes back as a row of status `REFUSED` instead.\n",
        "| SQLSTATE | Python class | when |",
        "|---|---|---|",
    ]
    for kind in dict.fromkeys(errors.ERRORS.values()):
        when = (kind.__doc__ or "").rpartition(" (")[0]
        parts.append(f"| {', '.join(kind.sqlstates)} | `{kind.__name__}` | {when} |")
    parts += [
        "",
        "A conflict with another transaction under REPEATABLE READ or SERIALIZABLE is 40001, a",
        "deadlock (of callers that lock several accounts in different orders) 40P01: run the",
        "transaction again. Python leaves these, and every other database error, as psycopg's own.",
    ]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Write the pages, or say which are out of date."""
    with embedded.throwaway_server() as server, psycopg.connect(server.url()) as connection:
        connection.execute(migrate.install_script().encode())
        pages = {DOCS / "reference.md": reference(connection), DOCS / "errors.md": errors_page()}
    stale = [
        path
        for path, text in pages.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.relative_to(DOCS.parent)} is out of date: run make reference")
        else:
            path.write_text(pages[path], encoding="utf-8")
            print(f"wrote {path.relative_to(DOCS.parent)}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
