"""record_payment_event and process_payment_event: each event has its effect once, or keeps why."""

from typing import Any

import psycopg
import pytest

from tests.payments import announce, handle, process, receive
from tests.support import (
    Ledger,
    ask,
    ask_all,
    events,
    everything,
    in_order,
    journal,
    pending,
    refused,
    value,
)

PAID: dict[str, Any] = {
    "record": "payment",
    "payment_id": "p",
    "status": "SUCCEEDED",
    "account_id": "a",
    "key": "k",
    "amount": 100,
    "paid": 500,
    "currency": "usd",
}
REFUNDED: dict[str, Any] = {
    "record": "refund",
    "refund_id": "r",
    "payment_id": "p",
    "amount": 500,
    "status": "SUCCEEDED",
}
DISPUTED: dict[str, Any] = {
    "record": "dispute",
    "dispute_id": "d",
    "payment_id": "p",
    "amount": 500,
    "status": "OPEN",
}
CHECKED = {"record": "card_check", "check_id": "c", "account_id": "a", "customer": "cus_1"}
CANCELLED = {"record": "cancellation", "account_id": "a", "key": "k"}


def test_an_event_is_recorded_as_it_came(db: Ledger) -> None:
    row = receive(db, occurred_at="2024-01-01T00:00Z", payload="{ }\n")
    assert (row["provider"], row["event_id"], row["type"]) == ("test", "e", "t")
    assert (row["status"], row["attempts"], row["is_new"]) == ("RECEIVED", 0, True)
    assert (row["error"], row["result"], row["processed_at"]) == (None, None, None)
    kept = ask(db, "get_payment_event", provider="test", event_id="e")
    assert kept["payload"] == "{ }\n"
    assert kept["occurred_at"] == row["occurred_at"]


def test_an_event_has_at_most_1_mib(db: Ledger) -> None:
    given = {"provider": "test", "event_id": "e", "type": "t"}
    detail = refused(db, "22023", "record_payment_event", **given, payload="x" * (2**20 + 1))
    assert detail["parameter"] == "payload"
    # Of bytes, not of characters.
    refused(db, "22023", "record_payment_event", **given, payload="\u00e9" * (2**19) + "x")
    assert receive(db, payload="x" * 2**20)["is_new"]


def test_a_duplicate_is_answered_with_what_there_is(db: Ledger) -> None:
    first = receive(db)
    assert receive(db, type="other", payload="other") == first | {"is_new": False}
    assert receive(db, provider="other")["is_new"] is True
    assert receive(db, "f")["is_new"] is True
    done = process(db, PAID)
    assert receive(db) == done
    assert done["is_new"] is False


def test_it_applies_what_an_event_tells(db: Ledger) -> None:
    announce(db)
    row = handle(db, PAID)
    assert (row["status"], row["attempts"], row["error"]) == ("PROCESSED", 1, None)
    assert row["processed_at"] >= row["received_at"]
    assert row["result"] == [
        {
            "record": "payment",
            "payment_id": "p",
            "status": "SUCCEEDED",
            "account_id": "a",
            "key": "k",
            "seq": 1,
            "amount": 100,
        }
    ]
    assert journal(db) == [("TOP_UP", 100)]
    assert in_order(db)


@pytest.mark.parametrize("facts", [[PAID], []])
def test_what_was_processed_or_ignored_is_answered_as_it_is(
    db: Ledger, facts: list[dict[str, Any]]
) -> None:
    first = handle(db, *facts)
    assert first["status"] == ("PROCESSED" if facts else "IGNORED")
    assert first["attempts"] == 1
    before = everything(db)
    assert handle(db, PAID | {"payment_id": "q", "key": "l"}) == first
    assert handle(db, {"record": "nonsense"}) == first
    assert everything(db) == before


def test_every_record_is_dispatched(db: Ledger) -> None:
    row = handle(db, PAID, REFUNDED, CHECKED | {"amount": 5}, CANCELLED | {"key": "l"}, DISPUTED)
    assert row["error"] is None
    assert row["result"][1:] == [
        {
            "record": "refund",
            "refund_id": "r",
            "payment_id": "p",
            "status": "SUCCEEDED",
            "account_id": "a",
            "key": "k",
            "seq": 1,
            "amount": 100,
            "taken": 100,
        },
        {
            "record": "card_check",
            "check_id": "c",
            "account_id": "a",
            "key": "#test-c",
            "seq": 3,
            "amount": 5,
        },
        {"record": "cancellation", "account_id": "a", "key": "l", "cancelled": False},
        {
            "record": "dispute",
            "dispute_id": "d",
            "payment_id": "p",
            "status": "SUCCEEDED",
            "account_id": "a",
            "key": "k",
            "seq": 1,
            "amount": 100,
            "taken": 100,
        },
    ]
    assert journal(db) == [("TOP_UP", 100), ("REFUND", -100), ("CARD_CHECK", 5)]
    assert ask(db, "get_balance", account_id="a")["status"] == "FROZEN"
    assert in_order(db)


def test_every_parameter_arrives(db: Ledger) -> None:
    full = {
        "payment": PAID
        | {"refunded": 100, "customer": "cus_1", "reason": "x", "occurred_at": "2024-01-01T00:00Z"}
        | {"attempt": 0},
        "refund": REFUNDED
        | {"request_key": "q", "account_id": "a", "occurred_at": "2024-01-01T00:00:00.5+01:00"},
        "dispute": DISPUTED
        | {"policy": "FLAG", "reason": "fraud", "occurred_at": "2024-01-01 00:00:00+0100"},
        "card_check": CHECKED | {"key": "c", "amount": 5, "payment_method": "pm_1"},
        "cancellation": CANCELLED | {"reason": "late"},
    }
    for number, fact in enumerate(full.values()):
        row = handle(db, fact, event_id=f"e{number}")
        assert (row["status"], row["error"]) == ("PROCESSED", None)
    kept = db.execute("select * from pgledger.payments").fetchall()[0]
    assert (kept["refunded"], kept["customer"]) == (100, "cus_1")
    assert kept["occurred_at"].isoformat().startswith("2024-01-01T00:00:00")
    refund, dispute = db.execute(
        "select * from pgledger.payment_returns where return_id in ('d', 'r') order by 1, 2 desc"
    ).fetchall()
    assert (refund["request_key"], refund["amount"]) == ("q", 500)
    assert refund["occurred_at"].timestamp() % 1 == 0.5
    assert (dispute["policy"], dispute["status"]) == ("FLAG", "OPEN")
    linked = db.execute("select value from pgledger.account_identifiers order by 1").fetchall()
    assert [row["value"] for row in linked] == ["cus_1", "pm_1"]


def test_null_is_not_given(db: Ledger) -> None:
    row = handle(db, PAID | {"customer": None, "refunded": None, "occurred_at": None})
    assert row["status"] == "PROCESSED"
    assert handle(db, DISPUTED | {"policy": None}, event_id="f")["status"] == "PROCESSED"


@pytest.mark.parametrize("fact", [PAID | {"status": "FAILED"}, REFUNDED, DISPUTED])
def test_a_fact_happened_when_its_event_did(db: Ledger, fact: dict[str, Any]) -> None:
    receive(db, occurred_at="2024-01-01T00:00Z")
    assert process(db, fact)["error"] is None
    table = "payments" if fact["record"] == "payment" else "payment_returns"
    (kept,) = db.execute(f"select occurred_at from pgledger.{table}").fetchall()
    assert kept["occurred_at"].isoformat().startswith("2024-01-01T00:00:00")


WRONG: list[tuple[Any, str]] = [
    (1, "facts[1]"),
    ("payment", "facts[1]"),
    (None, "facts[1]"),
    ([PAID], "facts[1]"),
    ({}, "facts[1]"),
    ({"record": None}, "facts[1]"),
    ({"record": ["payment"]}, "facts[1]"),
    ({"record": "charge"}, "facts[1]"),
    (PAID | {"4242424242424242": "x"}, "facts[1]"),
    (PAID | {"provider": "x"}, "facts[1]"),
    (CANCELLED | {"amount": 1}, "facts[1]"),
    (PAID | {"payment_id": 1}, "facts[1].payment_id"),
    (PAID | {"payment_id": ""}, "payment_id"),
    (PAID | {"status": "LOST"}, "facts[1].status"),
    (PAID | {"status": 1}, "facts[1].status"),
    (PAID | {"status": None}, "status"),
    (PAID | {"amount": "100"}, "facts[1].amount"),
    (PAID | {"amount": 1.5}, "facts[1].amount"),
    (PAID | {"amount": 2**63}, "facts[1].amount"),
    (PAID | {"paid": {}}, "facts[1].paid"),
    (PAID | {"refunded": True}, "facts[1].refunded"),
    (PAID | {"attempt": "0"}, "facts[1].attempt"),
    (PAID | {"occurred_at": 1704067200}, "facts[1].occurred_at"),
    (PAID | {"occurred_at": "2024-01-01T00:00:00"}, "facts[1].occurred_at"),
    (PAID | {"occurred_at": "yesterday"}, "facts[1].occurred_at"),
    (REFUNDED | {"status": "OPEN"}, "facts[1].status"),
    (DISPUTED | {"status": "SUCCEEDED"}, "facts[1].status"),
    (DISPUTED | {"policy": "HOLD"}, "facts[1].policy"),
    (CANCELLED | {"account_id": None}, "account_id"),
    (CANCELLED | {"key": None}, "key"),
    (CANCELLED | {"reason": ""}, "reason"),
    (CHECKED | {"check_id": None}, "check_id"),
]


@pytest.mark.parametrize(("fact", "where"), WRONG)
def test_what_is_no_fact_fails_and_is_named(db: Ledger, fact: Any, where: str) -> None:  # noqa: ANN401
    receive(db)
    row = ask(db, "process_payment_event", provider="test", event_id="e", facts=[fact])
    assert (row["status"], row["attempts"], row["result"]) == ("FAILED", 1, None)
    assert row["error"]["message"] == f"invalid {where}"
    assert row["error"]["sqlstate"] in {"22023", "22004"}
    assert row["error"].keys() == {"sqlstate", "message"}
    assert ask_all(db, "list_payments") == []


def test_a_fact_is_named_by_its_place(db: Ledger) -> None:
    row = handle(db, PAID, CANCELLED, PAID | {"amount": "x"}, PAID | {"amount": "x"})
    assert row["error"]["message"] == "invalid facts[3].amount"


def test_an_event_has_its_effect_whole_or_not_at_all(db: Ledger) -> None:
    announce(db)
    row = handle(db, PAID, CHECKED | {"amount": 5, "key": "#no"})
    assert (row["status"], row["error"]["sqlstate"]) == ("FAILED", "LG006")
    assert row["error"]["message"] == "transaction not found"
    assert journal(db) == []
    assert pending(db) == {"k": "PENDING"}
    assert ask_all(db, "list_payments") == []
    assert events(db) == []


def test_a_failed_event_may_be_processed_again(db: Ledger) -> None:
    assert handle(db, PAID, CHECKED | {"amount": 5, "key": "#no"})["attempts"] == 1
    row = process(db, {"record": "charge"})
    assert (row["status"], row["attempts"]) == ("FAILED", 2)
    assert row["error"]["sqlstate"] == "22023"
    # The provider delivers it again, or somebody retries it.
    assert receive(db)["status"] == "FAILED"
    row = process(db, PAID)
    assert (row["status"], row["attempts"], row["error"]) == ("PROCESSED", 3, None)
    assert value(db, "get_credits", account_id="a") == 100


def test_a_failed_event_may_turn_out_to_be_none(db: Ledger) -> None:
    handle(db, {"record": "charge"})
    row = process(db)
    assert (row["status"], row["error"]) == ("IGNORED", None)


def test_the_error_holds_nothing_of_the_data(db: Ledger) -> None:
    secret = "4242424242424242"  # noqa: S105
    for number, fact in enumerate(
        (
            PAID | {secret: secret},
            PAID | {"amount": secret},
            PAID | {"status": secret},
            PAID | {"customer": f"<{secret}>"},
            PAID | {"occurred_at": f"{secret[:4]}-99-99T00:00:00Z"},
            {"record": secret},
        )
    ):
        row = handle(db, fact, event_id=f"e{number}")
        assert row["status"] == "FAILED"
        assert secret[:4] not in str(row["error"])


def test_words_of_postgresql_are_kept_only_where_they_hold_no_data(db: Ledger) -> None:
    row = handle(db, PAID | {"occurred_at": "2024-99-99T00:00:00Z"})
    assert row["error"] == {"sqlstate": "22008", "message": "refused by PostgreSQL"}
    db.execute("alter table pgledger.payments add constraint mine check (paid < 100)")
    row = handle(db, PAID, event_id="f")
    assert row["error"]["sqlstate"] == "23514"
    assert row["error"]["message"].endswith('violates check constraint "mine"')
    assert "500" not in row["error"]["message"]


@pytest.mark.parametrize(
    ("sqlstate", "detail", "hint", "is_kept"),
    [
        ("42501", "", "", True),
        ("23503", "secret", "h", True),
        ("P0001", '{"given": 1}', "h", True),
        ("P0001", '{"given": 1}', "", False),
        ("P0001", "", "h", False),
    ],
)
def test_words_are_kept_of_rules_of_rights_and_of_the_ledger(
    db: Ledger, sqlstate: str, detail: str, hint: str, *, is_kept: bool
) -> None:
    db.execute(
        "create function public.fail() returns trigger language plpgsql as $$ begin"
        f" raise exception 'words' using errcode = '{sqlstate}', detail = '{detail}',"
        f" hint = '{hint}'; end $$;"
        " create trigger fail before insert on pgledger.transactions"
        " for each row execute function public.fail()"
    )
    assert handle(db, PAID)["error"] == {
        "sqlstate": sqlstate,
        "message": "words" if is_kept else "refused by PostgreSQL",
    }


RAISED = ["40001", "40P01", "53100", "57P01", "58030", "55P03", "XX000", "08006", "25006"]


@pytest.mark.parametrize("sqlstate", [*RAISED, "55006", "P0001"])
def test_what_is_not_the_events_fault_is_raised(db: Ledger, sqlstate: str) -> None:
    db.execute(
        "create function public.fail() returns trigger language plpgsql as $$ begin"
        f" raise exception 'secret' using errcode = '{sqlstate}', hint = 'h'; end $$;"
        " create trigger fail before insert on pgledger.transactions"
        " for each row execute function public.fail()"
    )
    receive(db)
    if sqlstate in RAISED:
        with pytest.raises(psycopg.Error) as caught:
            process(db, PAID)
        assert caught.value.sqlstate == sqlstate
        assert ask_all(db, "list_payment_events")[0]["status"] == "RECEIVED"
    else:
        row = process(db, PAID)
        assert row["error"] == {"sqlstate": sqlstate, "message": "refused by PostgreSQL"}


def test_an_event_that_nobody_recorded_is_refused(db: Ledger) -> None:
    receive(db, provider="other")
    given = {"provider": "test", "event_id": "e", "facts": []}
    assert refused(db, "LG006", "process_payment_event", **given) == {
        "provider": "test",
        "event_id": "e",
    }


def test_a_cancellation_drops_what_still_waits(db: Ledger) -> None:
    announce(db)
    row = handle(db, CANCELLED | {"reason": "expired"})
    assert row["result"][0]["cancelled"] is True
    assert pending(db) == {"k": "CANCELLED"}
    assert events(db) == [
        ("top_up_failed", {"key": "k", "amount": 100, "reason": "expired", "final": True})
    ]
    again = handle(db, CANCELLED, event_id="f")
    assert again["result"][0]["cancelled"] is False
    assert len(events(db)) == 1
    # The money may come all the same.
    assert handle(db, PAID, event_id="g")["result"][0]["seq"] == 1


def test_a_cancellation_posts_first_what_is_due(db: Ledger) -> None:
    ask(db, "grant_credits", account_id="a", amount=5, expires_at="2200-01-01")
    announce(db)
    db.execute("update pgledger.lots set expires_at = now() - interval '1 hour'")
    db.execute("update pgledger.balances set attention_at = now() - interval '1 hour'")
    handle(db, CANCELLED)
    assert journal(db) == [("GRANT", 5), ("EXPIRY", -5)]
    assert in_order(db)


def test_a_cancellation_says_why_in_its_own_words_where_nobody_did(db: Ledger) -> None:
    announce(db)
    handle(db, CANCELLED)
    ((_, told),) = events(db)
    (kept,) = db.execute("select reason from pgledger.pending_transactions")
    assert told["reason"] == kept["reason"] == "cancelled by the provider"


@pytest.mark.parametrize("what", ["paid", "hold", "grant", "debit", "auto", "unknown"])
def test_a_cancellation_drops_nothing_else(db: Ledger, what: str) -> None:
    ask(db, "grant_credits", account_id="a", amount=50)
    key = "k"
    if what == "paid":
        announce(db)
        handle(db, PAID)
    elif what == "hold":
        ask(db, "hold", account_id="a", amount=5, key="k")
    elif what == "grant":
        grant = {"account_id": "a", "amount": 5, "type": "GRANT", "key": "k"}
        ask(db, "add_transaction", **grant, is_active=False)
    elif what == "debit":
        debit = {"account_id": "a", "amount": -5, "type": "TOP_UP", "key": "k"}
        ask(db, "add_transaction", **debit, is_active=False)
    elif what == "auto":
        ask(db, "set_auto_top_up", account_id="a", threshold=100, amount=100)
        ask(db, "check_auto_top_up", account_id="a")
        key = "#auto-1"
    before = pending(db), len(events(db))
    row = handle(db, CANCELLED | {"key": key}, event_id="f")
    assert (row["status"], row["result"][0]["cancelled"]) == ("PROCESSED", False)
    assert (pending(db), len(events(db))) == before


def test_a_cancellation_opens_no_account(db: Ledger) -> None:
    handle(db, CANCELLED)
    assert db.execute("select from pgledger.balances").fetchall() == []
    assert db.execute("select from pgledger.accounts").fetchall() == []
