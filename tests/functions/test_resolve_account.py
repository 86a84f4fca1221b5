import uuid
from typing import LiteralString

import pytest

from tests.support import Ledger, ask, ask_all, everything, in_order, refused, value, write_history

ID = "123e4567-e89b-42d3-a456-426614174000"
LONG = "x" * 64 + "@" + "y" * 185 + ".com"


def resolve(db: Ledger, identifier: str, **given: object) -> str:
    """Return whose an identifier is."""
    account_id = ask(db, "resolve_account", identifier=identifier, **given)["account_id"]
    assert isinstance(account_id, str)
    return account_id


# What a person or a program may send, what it is, and how it is kept.
DETECTED = [
    ("ada@example.com", "EMAIL", "ada@example.com"),
    ("Ada.Lovelace@EXAMPLE.Com", "EMAIL", "ada.lovelace@example.com"),
    (" ada@example.com\r\n", "EMAIL", "ada@example.com"),
    ("\N{NO-BREAK SPACE}ada@example.com\N{ZERO WIDTH SPACE}", "EMAIL", "ada@example.com"),
    ("\N{ZERO WIDTH NO-BREAK SPACE}ada@example.com", "EMAIL", "ada@example.com"),
    ("a.d.a+news@example.com", "EMAIL", "a.d.a+news@example.com"),
    ("o'neill@mail.example.co.uk", "EMAIL", "o'neill@mail.example.co.uk"),
    ("J\N{LATIN SMALL LETTER U WITH DIAERESIS}@x.de", "EMAIL", "j\xfc@x.de"),
    ("\N{LATIN CAPITAL LETTER U WITH DIAERESIS}@x.de", "EMAIL", "\xdc@x.de"),
    ("KELVIN\N{KELVIN SIGN}@x.de", "EMAIL", "kelvin\N{KELVIN SIGN}@x.de"),
    ("I@EXAMPLE.COM", "EMAIL", "i@example.com"),
    (LONG, "EMAIL", LONG),
    (ID, "UUID", ID),
    (ID.upper(), "UUID", ID),
    (f"\t{ID}\n", "UUID", ID),
    ("1", "INTEGER", "1"),
    (" 42 ", "INTEGER", "42"),
    ("0042", "INTEGER", "42"),
    ("9223372036854775807", "INTEGER", "9223372036854775807"),
    ("0" * 200 + "7", "INTEGER", "7"),
    ("cus_NffrFeUfNV2Hib", "CUSTOMER", "cus_NffrFeUfNV2Hib"),
    ("pm_1Nxyz", "PAYMENT_METHOD", "pm_1Nxyz"),
]


@pytest.mark.parametrize(("given", "kind", "kept"), DETECTED)
def test_an_identifier_is_known_by_how_it_looks(
    db: Ledger, given: str, kind: str, kept: str
) -> None:
    row = ask(db, "resolve_account", identifier=given, open=True, account_id="a")
    assert row == {"account_id": "a", "kind": kind, "value": kept, "opened": True}
    found = {**row, "opened": False}
    for same in (given, kept):
        assert ask(db, "resolve_account", identifier=same) == found
        assert ask(db, "resolve_account", identifier=same, kind=kind) == found
        assert ask(db, "resolve_account", identifier=same, open=True) == found
    (link,) = ask_all(db, "list_identifiers", account_id="a")
    assert (link["kind"], link["value"]) == (kind, kept)


@pytest.mark.parametrize(
    ("given", "kind", "kept"),
    [
        (ID.replace("-", ""), "UUID", ID),
        ("42", "CUSTOMER", "42"),
        ("ctm_01h", "CUSTOMER", "ctm_01h"),
        ("CUS_A", "CUSTOMER", "CUS_A"),
        ("ada@example.com", "CUSTOMER", "ada@example.com"),
        ("card-1", "PAYMENT_METHOD", "card-1"),
        ("x" * 255, "CUSTOMER", "x" * 255),
    ],
)
def test_a_kind_that_is_given_is_not_guessed(db: Ledger, given: str, kind: str, kept: str) -> None:
    row = ask(db, "resolve_account", identifier=given, kind=kind, open=True)
    assert (row["kind"], row["value"]) == (kind, kept)
    assert resolve(db, given, kind=kind) == row["account_id"]


def test_the_same_value_of_another_kind_is_another_identifier(db: Ledger) -> None:
    assert resolve(db, "42", open=True, account_id="a") == "a"
    assert resolve(db, "42", kind="CUSTOMER", open=True, account_id="b") == "b"
    assert resolve(db, "42", kind="PAYMENT_METHOD", open=True, account_id="c") == "c"
    assert [resolve(db, "42", kind=k) for k in ("INTEGER", "CUSTOMER")] == ["a", "b"]


PLACEHOLDERS = [
    *("", " ", "\t\n", "null", "none", "nil", "undefined", "nan", "n/a", "#N/A", "unknown"),
    *("string", "true", "false", "email", "user_id", "id", "NULL", " Null ", "None", "NaN"),
    *(
        "<email>",
        "<your id>",
        "<>",
        "{id}",
        "{}",
        "{{user.email}}",
        "${USER_ID}",
        "[object Object]",
    ),
    *("[email protected]", "(null)", "%s", "%d", "%(email)s", "<ada@example.com>", "{{a@b.de}}"),
    *("0", "000", "-", "00000000-0000-0000-0000-000000000000", "0" * 32),
    *("ffffffff-ffff-ffff-ffff-ffffffffffff", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"),
]


@pytest.mark.parametrize("kind", [None, "EMAIL", "UUID", "INTEGER", "CUSTOMER", "PAYMENT_METHOD"])
def test_a_placeholder_is_nobody_whatever_the_kind(db: Ledger, kind: str | None) -> None:
    # Nor is an account of that name found.
    for account_id in {placeholder.strip() for placeholder in PLACEHOLDERS} - {""}:
        ask(db, "open_account", account_id=account_id)
    for placeholder in PLACEHOLDERS:
        for opens in (True, False):
            details = refused(
                db, "22023", "resolve_account", identifier=placeholder, kind=kind, open=opens
            )
            assert details["parameter"] == "identifier"


NOBODY = [
    *("plain", "ada", "cu_1", "CUS_1", "-1", "+1", "1.5", "1e3", "0x1", "12 34", "٣"),
    *("9223372036854775808", "9" * 255, "1" * 256, ID[:-1], ID + "0", ID.replace("-", "_")),
    *("@", "a@", "@b.de", "a@b", "a@b.", "a@.de", "a@b..de", "a@@b.de", "a@b@c.de", "a@b.de."),
    *("a b@c.de", "a@b c.de", "a\tb@c.de", "a\x00b@c.de"[:1] + "\x01@c.de", "a\x7f@c.de"),
    *("a\x85b@c.de", "a\xa0b@c.de", "a\xadb@c.de", "a\u200bb@c.de", "a\u2028b@c.de"),
    *("a\u202eb@c.de", "a\u3000b@c.de", "a\ufeffb@c.de", "a\u2060b@c.de"),
    *("Ada <ada@c.de>", "mailto:ada@c.de", "a,b@c.de", "a;b@c.de", '"a"@c.de', "a\\b@c.de"),
    *("a@c.de/x", "a@[127.0.0.1]", "{{name}}@c.de", "<name>@c.de", "(a)b@c.de"),
    *("x" * 65 + LONG[64:], "a@" + "b" * 300 + ".de", "cus_" + "x" * 252, "cus_a b", "pm_\x01"),
]


def test_what_is_no_identifier_is_refused(db: Ledger) -> None:
    for identifier in NOBODY:
        details = refused(db, "22023", "resolve_account", identifier=identifier, open=True)
        assert details["parameter"] == "identifier"


@pytest.mark.parametrize(
    ("identifier", "kind"),
    [
        ("42", "EMAIL"),
        ("42", "UUID"),
        (ID, "INTEGER"),
        (ID, "EMAIL"),
        ("ada@example.com", "UUID"),
        ("ada@example.com", "INTEGER"),
        ("a b", "CUSTOMER"),
        ("a\u200bb", "PAYMENT_METHOD"),
        ("x" * 256, "CUSTOMER"),
        ("123e4567e89b42d3a45642661417400", "UUID"),
        ("{" + ID + "}", "UUID"),
    ],
)
def test_what_is_none_of_its_kind_is_refused(db: Ledger, identifier: str, kind: str) -> None:
    refused(db, "22023", "resolve_account", identifier=identifier, kind=kind, open=True)


def test_spaces_around_an_identifier_are_nothing_however_it_goes_on(db: Ledger) -> None:
    resolve(db, "ada@example.com", open=True)
    assert resolve(db, "ada@example.com" + " " * 985)
    refused(db, "22023", "resolve_account", identifier="ada@example.com" + " " * 986)


def test_an_unknown_identifier_is_not_found_and_opens_nothing(db: Ledger) -> None:
    details = refused(db, "LG003", "resolve_account", identifier="Ada@example.com")
    assert details == {"account_id": None, "key": None, "kind": "EMAIL", "value": "ada@example.com"}
    refused(db, "LG003", "resolve_account", identifier="42", account_id="a")


def test_whether_to_open_must_be_said_or_left_out(db: Ledger) -> None:
    resolve(db, "42", open=True)
    for identifier in ("42", "43"):
        details = refused(db, "22004", "resolve_account", identifier=identifier, open=None)
        assert details["parameter"] == "open"


def test_the_account_that_is_opened_has_the_id_that_was_given_or_a_random_one(db: Ledger) -> None:
    assert resolve(db, "42", open=True, account_id="user-42") == "user-42"
    first = resolve(db, "43", open=True)
    assert str(uuid.UUID(first)) == first
    assert uuid.UUID(first).version == 4
    assert resolve(db, "44", open=True) != first
    for account_id in ("user-42", first):
        assert ask(db, "get_balance", account_id=account_id)["status"] == "OPEN"
    assert ask(db, "top_up", account_id=first, amount=5)["balance"] == 5
    assert in_order(db)


def test_an_account_that_is_there_is_linked_and_not_opened(db: Ledger) -> None:
    before = ask(db, "open_account", account_id="a", min_balance=-5, metadata={"m": 1})
    row = ask(db, "resolve_account", identifier="42", open=True, account_id="a")
    assert (row["account_id"], row["opened"]) == ("a", False)
    assert ask(db, "open_account", account_id="a") == before
    assert resolve(db, "42") == "a"


def test_an_account_with_history_alone_is_not_opened_but_known(db: Ledger) -> None:
    write_history(db, "a", 100)
    row = ask(db, "resolve_account", identifier="42", open=True, account_id="a")
    assert (row["account_id"], row["opened"]) == ("a", False)
    assert value(db, "get_credits", account_id="a") == 100
    write_history(db, "43", 100)
    assert resolve(db, "43") == "43"
    assert in_order(db)


def test_who_is_known_is_found_whatever_account_was_to_be_opened(db: Ledger) -> None:
    resolve(db, "42", open=True, account_id="a")
    before = everything(db)
    row = ask(db, "resolve_account", identifier="42", open=True, account_id="b")
    assert (row["account_id"], row["opened"]) == ("a", False)
    assert everything(db) == before


@pytest.mark.parametrize("account_id", ["ada@example.com", "Ada@Example.com", ID, ID.upper(), "42"])
def test_an_account_whose_id_it_is_needs_no_link(db: Ledger, account_id: str) -> None:
    ask(db, "open_account", account_id=account_id)
    before = everything(db)
    row = ask(db, "resolve_account", identifier=account_id, open=True, account_id="other")
    assert (row["account_id"], row["opened"]) == (account_id, False)
    assert everything(db) == before


def test_an_account_is_found_by_the_normal_form_of_its_id(db: Ledger) -> None:
    for account_id, others in {
        "ada@example.com": ["ADA@example.com", " ada@example.com "],
        ID: [ID.upper(), f"{ID}\n"],
        "42": ["042", " 42"],
    }.items():
        ask(db, "open_account", account_id=account_id)
        assert {resolve(db, other) for other in others} == {account_id}
    # The very id goes before its normal form, and a link before both.
    ask(db, "open_account", account_id="042")
    assert [resolve(db, given) for given in ("42", "042", "0042")] == ["42", "042", "42"]
    ask(db, "link_identifier", account_id="042", identifier="42", move=True)
    assert [resolve(db, given) for given in ("42", "042", "0042")] == ["042", "042", "042"]


def test_an_id_that_is_no_account_is_not_made_one_by_a_lookup(db: Ledger) -> None:
    ask(db, "grant_credits", account_id="a", amount=5)
    for identifier in ("42", ID, "ada@example.com"):
        refused(db, "LG003", "resolve_account", identifier=identifier)


def test_a_closed_account_is_still_who_it_is(db: Ledger) -> None:
    resolve(db, "42", open=True, account_id="a")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    row = ask(db, "resolve_account", identifier="42", open=True)
    assert (row["account_id"], row["opened"]) == ("a", False)


def test_a_lookup_works_where_nothing_may_be_written(db: Ledger) -> None:
    resolve(db, "42", open=True, account_id="a")
    db.execute("set default_transaction_read_only = on")
    assert resolve(db, "42") == "a"
    assert resolve(db, "42", open=True) == "a"


def test_what_was_opened_is_rolled_back_with_its_link(db: Ledger) -> None:
    before = everything(db)
    with db.transaction(force_rollback=True):
        resolve(db, "42", open=True)
    assert everything(db) == before
    refused(db, "LG003", "resolve_account", identifier="42")


@pytest.mark.parametrize("locale", ["tr_TR.utf8", "C", "en-x-icu", "tr-x-icu"])
def test_the_normal_form_is_that_of_ascii_in_any_locale(db: Ledger, locale: str) -> None:
    if not db.execute("select from pg_collation where collname = %s", [locale]).fetchall():
        pytest.skip("this PostgreSQL does not have it")
    # As in a database of that locale.
    given: LiteralString = "select pgledger._identifier_value('EMAIL', %s collate \"{}\") as value"
    for email, kept in {"TITI@X.DE": "titi@x.de", "\xdc@x.de": "\xdc@x.de"}.items():
        (row,) = db.execute(given.replace("{}", locale).encode(), [email]).fetchall()
        assert row["value"] == kept
    query: LiteralString = "resolve_account('TITI@X.DE' collate \"{}\", 'EMAIL', true)"
    (row,) = db.execute(f"select * from pgledger.{query.format(locale)}".encode()).fetchall()
    assert row["value"] == "titi@x.de"
    (row,) = db.execute(
        f"select pgledger._is_placeholder('NIL' collate \"{locale}\") as nil".encode()
    ).fetchall()
    assert row["nil"]
