"""claim_top_ups: what is to be charged, to one at a time."""

import hashlib
import json
from datetime import timedelta

import pytest

from tests.support import Ledger, ask, ask_all, events, everything, in_order, value
from tests.top_ups import KEY, charge, come_due, decline, owe, settings


def keys(db: Ledger, **given: object) -> list[tuple[str, str]]:
    return [(row["account_id"], row["key"]) for row in ask_all(db, "claim_top_ups", **given)]


def test_an_intent_is_to_be_charged_from_the_moment_it_is_recorded(db: Ledger) -> None:
    assert ask_all(db, "claim_top_ups") == []
    owe(db)
    row = ask(db, "claim_top_ups")
    assert (
        row.pop("created_at") == ask(db, "get_transaction", account_id="a", key=KEY)["created_at"]
    )
    assert row.pop("due_at") is not None
    told = json.dumps(["a", KEY, 0]).encode()
    assert row == {
        "account_id": "a",
        "key": KEY,
        "amount": 200,
        "status": "PENDING",
        "replayed": False,
        "reference": "chat",
        "price": None,
        "price_currency": None,
        "attempt": 0,
        "claims": 1,
        "idempotency_key": f"pgledger-{hashlib.sha256(told).hexdigest()}",
        "customer": None,
        "payment_method": None,
        "is_wanted": True,
    }
    assert in_order(db)


def test_an_instant_top_up_is_nobodys_to_charge(db: Ledger) -> None:
    owe(db, mode="INSTANT")
    assert value(db, "get_credits", account_id="a") == 240
    assert ask_all(db, "claim_top_ups") == []
    assert in_order(db)


def test_what_is_claimed_is_nobody_elses_until_its_lease_is_over(db: Ledger) -> None:
    owe(db)
    first = ask(db, "claim_top_ups")
    before = everything(db)
    assert ask_all(db, "claim_top_ups") == []
    assert everything(db) == before
    come_due(db)
    again = ask(db, "claim_top_ups")
    assert (first["claims"], again["claims"], charge(db)["claims"]) == (1, 2, 2)
    assert again["idempotency_key"] == first["idempotency_key"]
    assert in_order(db)


@pytest.mark.parametrize(
    ("lease", "lasts"),
    [({}, timedelta(minutes=5)), ({"lease": timedelta(hours=7)}, timedelta(hours=7))],
)
def test_a_lease_lasts_as_long_as_asked(
    db: Ledger, lease: dict[str, timedelta], lasts: timedelta
) -> None:
    owe(db)
    (before,) = db.execute("select clock_timestamp() as at").fetchall()
    due_at = ask(db, "claim_top_ups", **lease)["due_at"]
    (after,) = db.execute("select clock_timestamp() as at").fetchall()
    assert before["at"] + lasts <= due_at <= after["at"] + lasts
    assert charge(db)["minutes"] == lasts.total_seconds() / 60


def test_the_longest_due_come_first_and_no_more_than_asked(db: Ledger) -> None:
    for account_id in ("d", "b", "c", "a"):
        owe(db, account_id)
    come_due(db, "d")
    assert keys(db, limit_count=2) == [("b", KEY), ("c", KEY)]
    assert keys(db, limit_count=2) == [("a", KEY), ("d", KEY)]
    assert keys(db) == []
    assert in_order(db)


def test_ten_are_handed_out_where_no_number_is_asked_for(db: Ledger) -> None:
    for n in range(11):
        owe(db, f"r{n}")
    assert len(keys(db)) == 10
    assert len(keys(db)) == 1


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("enable_transaction", {}),
        ("enable_transaction", {"external_id": "pi_1"}),
        ("cancel_transaction", {}),
    ],
)
@pytest.mark.parametrize("claimed", [True, False])
def test_what_is_settled_is_not_charged(
    db: Ledger, verb: str, given: dict[str, object], *, claimed: bool
) -> None:
    owe(db)
    if claimed:
        ask(db, "claim_top_ups")
    ask(db, verb, account_id="a", key=KEY, **given)
    assert charge(db)["due"] is False
    come_due(db)
    assert keys(db) == []
    assert in_order(db)


def test_nothing_but_what_is_pending_is_ever_handed_out(db: Ledger) -> None:
    owe(db)
    ask(db, "cancel_transaction", account_id="a", key=KEY)
    db.execute("update pgledger.charges set due_at = clock_timestamp()")
    assert keys(db) == []


def test_late_money_does_not_make_it_due_again(db: Ledger) -> None:
    owe(db)
    ask(db, "cancel_transaction", account_id="a", key=KEY)
    ask(db, "enable_transaction", account_id="a", key=KEY, external_id="late")
    assert keys(db) == []
    assert in_order(db)


def test_one_settled_intent_leaves_other_accounts_to_be_charged(db: Ledger) -> None:
    owe(db)
    owe(db, "b")
    ask(db, "enable_transaction", account_id="a", key=KEY)
    assert keys(db) == [("b", KEY)]
    assert in_order(db)


def test_what_a_payer_announced_is_not_charged(db: Ledger) -> None:
    ask(db, "create_top_up", account_id="a", amount=5, key="k")
    ask(db, "top_up", account_id="a", amount=5, key="l", is_active=False)
    assert keys(db) == []


def test_who_is_frozen_is_not_charged_until_open_again(db: Ledger) -> None:
    owe(db)
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert keys(db) == []
    ask(db, "set_account_status", account_id="a", status="OPEN")
    assert keys(db) == [("a", KEY)]


def test_what_may_have_been_charged_is_seen_to_whatever_the_account_is(db: Ledger) -> None:
    owe(db)
    ask(db, "claim_top_ups")
    come_due(db)
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert keys(db) == [("a", KEY)]
    decline(db, 0)
    come_due(db)
    assert keys(db) == []
    assert in_order(db)


@pytest.mark.parametrize("change", [{"enabled": False}, {"amount": 300}, {"mode": "INSTANT"}])
def test_settings_that_changed_ask_anew_and_nothing_is_charged_twice(
    db: Ledger, change: dict[str, object]
) -> None:
    owe(db)
    owe(db, "b")
    ask(db, "set_auto_top_up", **({"account_id": "a", "threshold": 50, "amount": 200} | change))
    assert keys(db) == [("b", KEY)]
    assert in_order(db)


def test_the_same_settings_again_leave_it_due(db: Ledger) -> None:
    owe(db)
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=200)
    assert keys(db) == [("a", KEY)]


def test_what_was_claimed_before_the_settings_changed_is_seen_to(db: Ledger) -> None:
    owe(db)
    ask(db, "claim_top_ups")
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=300)
    ask(db, "spend", account_id="a", amount=1)
    come_due(db)
    assert sorted(keys(db)) == [("a", KEY), ("a", "#auto-2")]
    assert in_order(db)


@pytest.mark.parametrize("limit", ["daily_count_limit", "monthly_count_limit"])
def test_limits_hold_however_often_a_worker_dies(db: Ledger, limit: str) -> None:
    given: dict[str, object] = {limit: 1}
    owe(db, "a", **given)
    for claims in (1, 2, 3):
        assert ask(db, "claim_top_ups")["claims"] == claims
        ask(db, "spend", account_id="a", amount=1)
        come_due(db)
    ask(db, "enable_transaction", account_id="a", key=KEY, external_id="pi_1")
    ask(db, "spend", account_id="a", amount=230)
    told = settings(db)
    assert (told["intents"], told["waiting_for"]) == (1, None)
    assert told["resumes_at"] is not None
    assert keys(db) == []
    assert in_order(db)


def test_a_spend_that_was_rolled_back_charges_nobody(db: Ledger) -> None:
    with db.transaction(force_rollback=True):
        owe(db)
        assert len(keys(db)) == 1
    assert keys(db) == []
    owe(db)
    with db.transaction(force_rollback=True):
        assert len(keys(db)) == 1
    assert ask(db, "claim_top_ups")["claims"] == 1


def test_the_customer_and_the_card_that_were_linked_last_are_told(db: Ledger) -> None:
    owe(db)
    for kind, account_id, identifier, age in (
        ("CUSTOMER", "a", "cus_1", 9),
        ("CUSTOMER", "a", "cus_2", 8),
        ("PAYMENT_METHOD", "a", "pm_3", 7),
        ("PAYMENT_METHOD", "a", "pm_2", 7),
        ("PAYMENT_METHOD", "a", "pm_1", 8),
        ("EMAIL", "a", "a@example.com", 0),
        ("CUSTOMER", "b", "cus_0", 0),
        ("PAYMENT_METHOD", "b", "pm_0", 0),
    ):
        db.execute(
            "insert into pgledger.account_identifiers (kind, value, account_id, linked_at)"
            " values (%s, %s, %s, timestamptz '2026-01-01' - %s * interval '1 s')",
            [kind, identifier, account_id, age],
        )
    row = ask(db, "claim_top_ups")
    assert (row["customer"], row["payment_method"]) == ("cus_2", "pm_2")


def test_a_number_that_was_charged_is_never_used_again(db: Ledger) -> None:
    # The provider would answer the new charge with what became of the old one.
    owe(db)
    ask(db, "cancel_transaction", account_id="a", key=KEY)
    db.execute("delete from pgledger.pending_transactions")
    db.execute("update pgledger.auto_top_ups set intents = 0")
    ask(db, "spend", account_id="a", amount=1)
    assert settings(db)["waiting_for"] == "#auto-2"
    assert len(events(db)) == 2


def test_accounts_and_keys_that_read_alike_have_idempotency_keys_of_their_own(db: Ledger) -> None:
    found = db.execute(
        "select pgledger._provider_key(a, k, n) as key from (values"
        " ('a', 'b', 0), ('a', 'b', 1), ('a', 'b0', 1), ('ab', '', 0), ('a\", \"b', 'c', 0),"
        " ('a', 'b\", \"c', 0)) v (a, k, n)"
    ).fetchall()
    assert len({row["key"] for row in found}) == 6
    assert {len(row["key"]) for row in found} == {len("pgledger-") + 64}
