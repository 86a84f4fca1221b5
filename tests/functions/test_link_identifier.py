import hashlib
from datetime import datetime
from typing import Any

import pytest

from tests.support import Ledger, ask, ask_all, everything, in_order, refused, value, write_history

HASH = f"sha256:{hashlib.sha256(b'ada@example.com').hexdigest()}"


@pytest.fixture
def two(db: Ledger) -> Ledger:
    """Two accounts, a and b."""
    for account_id in ("a", "b"):
        ask(db, "open_account", account_id=account_id)
    return db


def owner(db: Ledger, identifier: str) -> str:
    account_id = ask(db, "resolve_account", identifier=identifier)["account_id"]
    assert isinstance(account_id, str)
    return account_id


def audited(db: Ledger) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return what the audit log has: whose, what, by whom, and how it was asked for."""
    found = db.execute("select * from pgledger.audit_log order by created_at")
    return [(row["account_id"], row["act"], row["actor"], row["arguments"]) for row in found]


def test_it_is_linked_in_its_normal_form(two: Ledger) -> None:
    row = ask(two, "link_identifier", account_id="a", identifier=" Ada@Example.com")
    assert isinstance(row.pop("linked_at"), datetime)
    assert row == {"kind": "EMAIL", "value": "ada@example.com", "account_id": "a"}
    assert owner(two, "ADA@EXAMPLE.COM") == "a"
    row = ask(two, "link_identifier", account_id="a", identifier="42", kind="CUSTOMER")
    assert (row["kind"], row["value"]) == ("CUSTOMER", "42")
    assert in_order(two)


def test_an_account_has_any_number_of_them(two: Ledger) -> None:
    for identifier in ("ada@example.com", "lovelace@example.com", "cus_1", "cus_2", "42"):
        ask(two, "link_identifier", account_id="a", identifier=identifier)
    assert owner(two, "lovelace@example.com") == owner(two, "cus_2") == "a"


def test_a_repeat_changes_nothing_and_is_not_audited(two: Ledger) -> None:
    first = ask(two, "link_identifier", account_id="a", identifier="42")
    before = everything(two), audited(two)
    for move in (False, True):
        again = ask(two, "link_identifier", account_id="a", identifier="042", move=move)
        assert again == first
    assert (everything(two), audited(two)) == before


def test_it_belongs_to_one_account(two: Ledger) -> None:
    ask(two, "link_identifier", account_id="a", identifier="cus_1")
    details = refused(two, "LG002", "link_identifier", account_id="b", identifier="cus_1")
    assert details == {
        "account_id": "b",
        "kind": "CUSTOMER",
        "value": "cus_1",
        "recorded": {"account_id": "a"},
        "given": {"account_id": "b"},
    }
    assert owner(two, "cus_1") == "a"
    assert len(audited(two)) == 1


def test_it_is_moved_when_the_caller_says_so(two: Ledger) -> None:
    first = ask(two, "link_identifier", account_id="a", identifier="cus_1")
    moved = ask(two, "link_identifier", account_id="b", identifier="cus_1", move=True, actor="eve")
    assert moved["account_id"] == owner(two, "cus_1") == "b"
    assert moved["linked_at"] > first["linked_at"]
    assert ask_all(two, "list_identifiers", account_id="a") == []
    assert audited(two)[1:] == [
        (
            "b",
            "link_identifier",
            "eve",
            {"kind": "CUSTOMER", "identifier": "cus_1", "moved_from": "a"},
        ),
        (
            "a",
            "link_identifier",
            "eve",
            {"kind": "CUSTOMER", "identifier": "cus_1", "moved_to": "b"},
        ),
    ]


def test_what_else_the_account_has_stays_when_one_is_moved(two: Ledger) -> None:
    for identifier, kind in (("42", "CUSTOMER"), ("43", "CUSTOMER"), ("42", "INTEGER")):
        ask(two, "link_identifier", account_id="a", identifier=identifier, kind=kind)
    given = {"account_id": "b", "identifier": "42", "kind": "CUSTOMER", "move": True}
    ask(two, "link_identifier", **given)
    kept = ask_all(two, "list_identifiers", account_id="a")
    assert [(row["kind"], row["value"]) for row in kept] == [("INTEGER", "42"), ("CUSTOMER", "43")]


def test_whether_to_move_must_be_said_or_left_out(two: Ledger) -> None:
    ask(two, "link_identifier", account_id="a", identifier="42")
    for account_id in ("a", "b"):
        given = {"account_id": account_id, "identifier": "42", "move": None}
        assert refused(two, "22004", "link_identifier", **given)["parameter"] == "move"


@pytest.mark.parametrize("identifier", ["42", "ada@example.com"])
def test_the_id_of_another_account_belongs_to_that_one(two: Ledger, identifier: str) -> None:
    ask(two, "open_account", account_id=identifier)
    details = refused(two, "LG002", "link_identifier", account_id="a", identifier=identifier)
    assert details["recorded"] == {"account_id": identifier}
    ask(two, "link_identifier", account_id="a", identifier=identifier, move=True)
    assert owner(two, identifier) == "a"
    assert [(whose, said.get("moved_from")) for whose, _, _, said in audited(two)] == [
        ("a", identifier),
        (identifier, None),
    ]
    # Linked once, it is nobody else's; and to its own account it is no move.
    ask(two, "link_identifier", account_id="a", identifier=identifier)
    refused(two, "LG002", "link_identifier", account_id=identifier, identifier=identifier)


def test_an_account_may_be_linked_to_its_own_id(two: Ledger) -> None:
    ask(two, "open_account", account_id="42")
    ask(two, "link_identifier", account_id="42", identifier="42")
    assert owner(two, "42") == "42"
    assert [whose for whose, *_ in audited(two)] == ["42"]


def test_an_unknown_account_is_not_found(db: Ledger) -> None:
    details = refused(db, "LG003", "link_identifier", account_id="a", identifier="42")
    assert details == {"account_id": "a", "key": None}
    write_history(db, "a", 100)
    ask(db, "link_identifier", account_id="a", identifier="42")
    assert owner(db, "42") == "a"
    assert value(db, "get_credits", account_id="a") == 100
    assert in_order(db)


@pytest.mark.parametrize("status", ["FROZEN", "CLOSED"])
def test_an_account_that_is_not_open_is_linked_all_the_same(two: Ledger, status: str) -> None:
    ask(two, "set_account_status", account_id="a", status=status)
    ask(two, "link_identifier", account_id="a", identifier="42")
    assert owner(two, "42") == "a"


def test_the_audit_log_knows_an_email_by_its_hash_alone(two: Ledger) -> None:
    ask(two, "link_identifier", account_id="a", identifier="Ada@example.com", actor="eve")
    ask(two, "link_identifier", account_id="b", identifier="Ada@example.com", move=True)
    ask(two, "unlink_identifier", identifier="Ada@example.com", actor="bob")
    role = two.info.user
    assert [(whose, actor, said["identifier"]) for whose, _, actor, said in audited(two)] == [
        ("a", "eve", HASH),
        ("b", role, HASH),
        ("a", role, HASH),
        ("b", "bob", HASH),
    ]
    logged = two.execute("select string_agg(l::text, '') as text from pgledger.audit_log l")
    assert "example.com" not in logged.fetchall()[0]["text"]


def test_what_is_linked_by_the_way_is_linked_when_nobody_has_it(two: Ledger) -> None:
    def link(identifier: str, account_id: str) -> str:
        (row,) = two.execute(
            "select pgledger._link('CUSTOMER', %s, %s) as owner", [identifier, account_id]
        )
        return str(row["owner"])

    assert [link("cus_1", "a"), link("cus_1", "b"), link(" cus_1 ", "b")] == ["a", "a", "a"]
    assert owner(two, "cus_1") == "a"
    assert audited(two) == []
    with pytest.raises(Exception, match="invalid identifier"):
        link("null", "a")
