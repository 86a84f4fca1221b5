"""A second pair of eyes over every PL/pgSQL function, where the server has the extension."""

import pytest

from tests.support import Ledger

CHECKED = """
select f.name, f.signature, c.lineno, c.level, c.message, c.detail, c.hint
from (
  select p.oid, p.proname as name, p.oid::regprocedure::text as signature,
    coalesce((select t.tgrelid from pg_trigger t where t.tgfoid = p.oid limit 1), 0) as relid
  from pg_proc p
  join pg_language l on l.oid = p.prolang
  where p.pronamespace = 'pgledger'::regnamespace and l.lanname = 'plpgsql'
) f
cross join lateral plpgsql_check_function_tb(
  f.oid, f.relid, fatal_errors => false, all_warnings => true) c
order by 2, 3
"""

# The checker takes what follows a block for unreachable when the block ends in RETURN, although
# EXIT leaves it before; that block is how the hot path does without a variable.
FALSE_ALARMS = {("_post", "unreachable code"), ("_hold", "unreachable code")}


@pytest.fixture
def checker(db: Ledger) -> Ledger:
    """A database with plpgsql_check, which Debian has for its own PostgreSQL only."""
    known = db.execute("select 1 from pg_available_extensions where name = 'plpgsql_check'")
    if known.fetchone() is None:
        pytest.skip("this server has no plpgsql_check: install postgresql-15-plpgsql-check")
    db.execute("create extension plpgsql_check")
    return db


def warnings(checker: Ledger) -> list[str]:
    return [
        " ".join(str(value) for value in row.values() if value)
        for row in checker.execute(CHECKED)
        if (row["name"], row["message"]) not in FALSE_ALARMS
    ]


def test_no_function_has_a_warning_of_any_level(checker: Ledger) -> None:
    assert warnings(checker) == []


def test_the_checker_sees_a_mistake(checker: Ledger) -> None:
    checker.execute(
        "create function pgledger.mistaken(account_id text) returns text language plpgsql"
        " as $$ declare v_unused int; begin return mistaken.nothing; end $$"
    )
    found = warnings(checker)
    assert len(found) >= 2
    assert all(warning.startswith("mistaken ") for warning in found)
