import pytest

from tests.support import Ledger, ask, everything, refused, value


@pytest.fixture
def linked(db: Ledger) -> Ledger:
    """Account a, which ada@example.com, cus_1 and 42 belong to, and 42 as a customer too."""
    ask(db, "open_account", account_id="a")
    for identifier in ("ada@example.com", "cus_1", "42"):
        ask(db, "link_identifier", account_id="a", identifier=identifier)
    ask(db, "link_identifier", account_id="a", identifier="42", kind="CUSTOMER")
    return db


def identifiers(db: Ledger) -> list[tuple[str, str]]:
    found = db.execute("select kind::text, value from pgledger.list_identifiers('a')")
    return [(row["kind"], row["value"]) for row in found]


def test_it_is_nobodys_then(linked: Ledger) -> None:
    assert value(linked, "unlink_identifier", identifier=" Ada@Example.com") is True
    refused(linked, "LG003", "resolve_account", identifier="ada@example.com")
    assert identifiers(linked) == [("INTEGER", "42"), ("CUSTOMER", "cus_1"), ("CUSTOMER", "42")]
    ask(linked, "open_account", account_id="b")
    ask(linked, "link_identifier", account_id="b", identifier="ada@example.com")


def test_only_that_of_its_kind_is(linked: Ledger) -> None:
    assert value(linked, "unlink_identifier", identifier="42", kind="CUSTOMER") is True
    assert identifiers(linked) == [
        ("EMAIL", "ada@example.com"),
        ("INTEGER", "42"),
        ("CUSTOMER", "cus_1"),
    ]


def test_what_was_not_linked_is_told_and_not_audited(linked: Ledger) -> None:
    value(linked, "unlink_identifier", identifier="42")
    logged = linked.execute("select * from pgledger.audit_log").fetchall()
    before = everything(linked)
    for identifier in ("42", "43", "nobody@example.com"):
        assert value(linked, "unlink_identifier", identifier=identifier) is False
    assert everything(linked) == before
    assert linked.execute("select * from pgledger.audit_log").fetchall() == logged


def test_it_is_audited(linked: Ledger) -> None:
    value(linked, "unlink_identifier", identifier="cus_1", actor="eve")
    (row,) = linked.execute(
        "select account_id, actor, arguments from pgledger.audit_log"
        " where act = 'unlink_identifier'"
    ).fetchall()
    assert row == {
        "account_id": "a",
        "actor": "eve",
        "arguments": {"kind": "CUSTOMER", "identifier": "cus_1"},
    }
