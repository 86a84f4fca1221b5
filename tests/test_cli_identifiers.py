"""The commands about who is who."""

import getpass
import json
import re

import psycopg
import pytest
from psycopg.rows import DictRow

from pgledger import Ledger
from tests.cli_tools import Run, error, failed, on_terminal, runner

USER = getpass.getuser()


@pytest.fixture
def run(database_url: str, db: psycopg.Connection[DictRow], monkeypatch: pytest.MonkeyPatch) -> Run:
    for account in ("u1", "u2"):
        Ledger(db).open_account(account)
    monkeypatch.delenv("PGLEDGER_ACTOR", raising=False)
    return runner(database_url, monkeypatch)


def actors(db: psycopg.Connection[DictRow]) -> list[str]:
    found = db.execute("select actor from pgledger.audit_log order by created_at")
    return [row["actor"] for row in found]


def test_identifiers_are_linked_listed_resolved_and_unlinked(run: Run) -> None:
    assert run("identifiers", "list", "u1").stdout == "u1 has no identifiers but its own id\n"
    for _ in range(2):
        assert run("identifiers", "link", "u1", "Ada@Example.com").stdout == (
            "ada@example.com (EMAIL) belongs to u1\n"
        )
    assert run("identifiers", "link", "u1", "42", "--kind", "customer").stdout == (
        "42 (CUSTOMER) belongs to u1\n"
    )
    told = run("identifiers", "list", "u1").stdout
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<instant>", told) == (
        "kind      identifier       at (UTC)\n"
        "EMAIL     ada@example.com  <instant>\n"
        "CUSTOMER  42               <instant>\n"
    )
    assert run("identifiers", "resolve", "ADA@example.com").stdout == "u1\n"
    assert run("identifiers", "unlink", "ADA@example.com").stdout == (
        "ADA@example.com is linked no more\n"
    )
    assert run("identifiers", "unlink", "ADA@example.com").stdout == (
        "ADA@example.com was not linked\n"
    )


def test_as_json_they_are_records(run: Run) -> None:
    linked = json.loads(run("identifiers", "link", "u1", "cus_1", "--json").stdout)
    assert linked.pop("linked_at").endswith("+00:00")
    assert linked == {"kind": "CUSTOMER", "value": "cus_1", "account_id": "u1"}
    (row,) = json.loads(run("identifiers", "list", "u1", "--json").stdout)
    assert row["value"] == "cus_1"
    assert json.loads(run("identifiers", "resolve", "cus_1", "--json").stdout) == {
        "account_id": "u1",
        "kind": "CUSTOMER",
        "value": "cus_1",
        "opened": False,
    }
    for was_linked in (True, False):
        assert json.loads(run("identifiers", "unlink", "cus_1", "--json").stdout) == {
            "identifier": "cus_1",
            "was_linked": was_linked,
        }


def test_who_is_unknown_is_refused_or_opened(run: Run) -> None:
    assert failed(run("identifiers", "resolve", "eve@example.com"), 1) == (
        "error: account not found: nobody is known as eve@example.com\n"
        "hint: Link it with pgledger identifiers link, or open an account with --open.\n"
    )
    assert error(run("identifiers", "resolve", "eve@example.com", "--json"), 1)["details"] == {
        "account_id": None,
        "key": None,
        "kind": "EMAIL",
        "value": "eve@example.com",
    }
    opened = run("identifiers", "resolve", "eve@example.com", "--open", "--account", "u3")
    assert opened.stdout == "u3\n"
    assert run("identifiers", "resolve", "eve@example.com", "--open").stdout == "u3\n"
    assert len(run("identifiers", "resolve", "43", "--open").stdout) == 37
    assert "for --open" in failed(run("identifiers", "resolve", "44", "--account", "u3"), 2)
    assert failed(run("identifiers", "list", "u4"), 1).startswith("error: account not found")
    assert failed(run("identifiers", "link", "u4", "44"), 1).startswith(
        "error: account not found: the ledger does not know u4\n"
    )


def test_another_ones_is_moved_only_when_told_to(run: Run) -> None:
    run("identifiers", "link", "u1", "cus_1")
    assert failed(run("identifiers", "link", "u2", "cus_1"), 1) == (
        "error: idempotency conflict: cus_1 belongs to u1\n"
        "hint: An identifier belongs to one account: --move moves it.\n"
    )
    assert run("identifiers", "link", "u2", "cus_1", "--move").stdout == (
        "cus_1 (CUSTOMER) belongs to u2\n"
    )


def test_a_placeholder_is_refused(run: Run) -> None:
    assert failed(run("identifiers", "resolve", "undefined"), 2) == (
        "error: invalid identifier: 'undefined'\n"
        "hint: This is a placeholder, which names nobody: whoever filled it in had no "
        "identifier.\n"
    )


def test_the_audit_log_knows_who_it_was(
    run: Run, db: psycopg.Connection[DictRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("identifiers", "link", "u1", "cus_1")
    monkeypatch.setenv("PGLEDGER_ACTOR", "eve")
    run("identifiers", "link", "u1", "cus_2")
    run("identifiers", "link", "u1", "cus_3", "--actor", "bob")
    run("identifiers", "unlink", "cus_3")

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.delenv("PGLEDGER_ACTOR")
    monkeypatch.setattr(getpass, "getuser", nobody)
    run("identifiers", "unlink", "cus_2")
    assert actors(db) == [USER, "eve", "bob", "eve", db.info.user]


def test_they_fit_on_a_terminal(run: Run, database_url: str) -> None:
    run("identifiers", "link", "u1", f"{'x' * 64}@{'y' * 40}.example.com")
    run("identifiers", "link", "u1", "123e4567-e89b-42d3-a456-426614174000")
    told = on_terminal(database_url, "identifiers", "list", "u1")
    assert max(map(len, told.splitlines())) <= 80
    assert "123e4567-e89b-42d3-a456-426614174000" in told
