"""How often an account may top itself up, and what happens when a top-up goes wrong."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    events,
    everything,
    in_order,
    let_expire,
    pending,
    posted,
    refused,
    value,
)

TODAY = "date_trunc('day', clock_timestamp() at time zone 'UTC') at time zone 'UTC'"
THIS_MONTH = TODAY.replace("day", "month")
JUST_BEFORE = " - interval '1 microsecond'"
ZONES = ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"]


def arm(db: Ledger, **settings: object) -> dict[str, Any]:
    given = {"threshold": 50, "amount": 20} | settings
    return ask(db, "set_auto_top_up", account_id="a", **given)


def settle(db: Ledger, verb: str = "enable_transaction", **given: object) -> None:
    """Settle the intent that waits, and take a credit, which may ask for the next one."""
    key = ask(db, "get_auto_top_up", account_id="a")["waiting_for"]
    ask(db, verb, account_id="a", key=key, **given)
    ask(db, "spend", account_id="a", amount=1)


def move(db: Ledger, when: str, key: str = "#auto-1") -> None:
    """Let an intent have been recorded at another time, or posted then, after all before it."""
    db.execute(
        f"update pgledger.pending_transactions set created_at = {when} where key = %s", [key]
    )
    db.execute("alter table pgledger.transactions disable trigger transactions_append_only")
    db.execute(
        f"update pgledger.transactions set created_at = {when}"
        " where seq <= (select seq from pgledger.transactions where key = %s)",
        [key],
    )
    db.execute("alter table pgledger.transactions enable always trigger transactions_append_only")


def end_of_pause(db: Ledger) -> datetime | None:
    row = ask(db, "get_auto_top_up", account_id="a")
    assert row["waiting_for"] is None
    return row["resumes_at"]  # type: ignore[no-any-return]


def tomorrow() -> datetime:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=1)


def next_month() -> datetime:
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


@pytest.fixture(params=ZONES)
def low(db: Ledger, request: pytest.FixtureRequest) -> Ledger:
    """An account with 40 credits, seen from anywhere in the world."""
    db.execute(f"set timezone = '{request.param}'")
    ask(db, "top_up", account_id="a", amount=41)
    return db


@pytest.mark.parametrize("mode", ["INTENT", "INSTANT"])
@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({"daily_count_limit": 2}, 2),
        ({"daily_amount_limit": 40}, 2),
        ({"daily_amount_limit": 59}, 2),
        ({"daily_amount_limit": 60}, 3),
        ({"monthly_count_limit": 2}, 2),
        ({"monthly_amount_limit": 59}, 2),
        ({"monthly_amount_limit": 60}, 3),
        ({"daily_count_limit": 1, "monthly_count_limit": 2}, 1),
        ({"daily_count_limit": 2, "monthly_count_limit": 2}, 2),
    ],
)
def test_a_limit_pauses_it_until_the_period_ends(
    low: Ledger, mode: str, limits: dict[str, int], allowed: int
) -> None:
    arm(low, threshold=500, mode=mode, **limits)
    ask(low, "spend", account_id="a", amount=1)
    for _ in range(4):
        if mode == "INSTANT":
            ask(low, "spend", account_id="a", amount=1)
        elif ask(low, "get_auto_top_up", account_id="a")["waiting_for"]:
            settle(low)
    assert ask(low, "get_auto_top_up", account_id="a")["intents"] == allowed
    monthly = limits.keys() & {"monthly_count_limit", "monthly_amount_limit"}
    by_month = bool(monthly) and allowed == 2 + (limits.get("monthly_amount_limit") == 60)
    assert end_of_pause(low) == (next_month() if by_month else tomorrow())
    assert ask_all(low, "check_auto_top_up", account_id="a") == []
    kept = low.execute("select top_up_below, attention_at from pgledger.balances").fetchone()
    assert kept == {"top_up_below": None, "attention_at": end_of_pause(low)}
    assert in_order(low)


@pytest.mark.parametrize(
    ("when", "limit", "counts"),
    [
        (TODAY, "daily_count_limit", True),
        (TODAY + JUST_BEFORE, "daily_count_limit", False),
        (THIS_MONTH, "monthly_count_limit", True),
        (THIS_MONTH + JUST_BEFORE, "monthly_count_limit", False),
    ],
)
@pytest.mark.parametrize("mode", ["INTENT", "INSTANT"])
def test_a_day_and_a_month_begin_at_midnight_of_utc(
    low: Ledger, mode: str, when: str, limit: str, *, counts: bool
) -> None:
    arm(low, mode=mode, **{limit: 1})
    ask(low, "spend", account_id="a", amount=1)
    move(low, when)
    if mode == "INTENT":
        ask(low, "enable_transaction", account_id="a", key="#auto-1")
    ask(low, "spend", account_id="a", amount=20)
    settings = ask(low, "get_auto_top_up", account_id="a")
    assert settings["intents"] == (1 if counts else 2)
    if counts:
        assert settings["resumes_at"] == (next_month() if "month" in limit else tomorrow())
    else:
        assert settings["resumes_at"] is None


@pytest.mark.parametrize(
    ("created", "now", "resumes"),
    [
        ("2030-01-31 23:59:59Z", "2030-02-01 00:00:00Z", None),
        ("2030-02-01 00:00:00Z", "2030-02-01 00:30:00Z", "2030-03-01 00:00Z"),
        ("2030-01-01 00:00:00Z", "2030-01-31 23:59:59Z", "2030-02-01 00:00Z"),
        ("2029-12-31 23:59:59Z", "2030-01-01 00:00:00Z", None),
        ("2029-12-01 00:00:00Z", "2029-12-31 23:59:59Z", "2030-01-01 00:00Z"),
    ],
)
def test_the_month_of_utc_turns_everywhere_at_once(
    low: Ledger, created: str, now: str, resumes: str | None
) -> None:
    arm(low, monthly_count_limit=1)
    ask(low, "spend", account_id="a", amount=1)
    move(low, f"timestamptz '{created}'")
    found = low.execute(
        "select pgledger._auto_top_up_pause(s, %s) is not distinct from %s::timestamptz as so"
        " from pgledger.auto_top_ups s",
        [now, resumes],
    ).fetchone()
    assert found == {"so": True}


def test_top_ups_of_another_account_are_not_counted(low: Ledger) -> None:
    ask(low, "top_up", account_id="b", amount=41)
    given = {"account_id": "b", "threshold": 50, "amount": 20}
    ask(low, "set_auto_top_up", **given, mode="INSTANT")
    ask(low, "spend", account_id="b", amount=1)
    arm(low, daily_count_limit=1)
    ask(low, "spend", account_id="a", amount=1)
    settle(low, "cancel_transaction")
    assert pending(low) == {"#auto-1": "CANCELLED", "#auto-2": "PENDING"}
    ask(low, "set_auto_top_up", **given)
    ask(low, "spend", account_id="b", amount=20)
    assert pending(low, "b") == {"#auto-2": "PENDING"}
    assert in_order(low)


def test_when_another_account_asked_says_nothing(low: Ledger) -> None:
    ask(low, "top_up", account_id="b", amount=41)
    ask(low, "set_auto_top_up", account_id="b", threshold=50, amount=20)
    ask(low, "spend", account_id="b", amount=1)
    low.execute(f"update pgledger.pending_transactions set created_at = {THIS_MONTH}{JUST_BEFORE}")
    arm(low, mode="INSTANT", daily_count_limit=1)
    for _ in range(2):
        ask(low, "spend", account_id="a", amount=20)
    assert end_of_pause(low) == tomorrow()
    assert in_order(low)


@pytest.mark.parametrize("way", ["spend", "check", "settings", "lost row"])
def test_it_goes_on_when_the_period_is_over(low: Ledger, way: str) -> None:
    arm(low, daily_count_limit=1)
    ask(low, "spend", account_id="a", amount=1)
    settle(low)
    ask(low, "spend", account_id="a", amount=20)
    assert end_of_pause(low) == tomorrow()
    ask(low, "spend", account_id="a", amount=1)
    assert pending(low) == {"#auto-1": "ENABLED"}

    move(low, TODAY + JUST_BEFORE)
    low.execute(f"update pgledger.auto_top_ups set resumes_at = {TODAY}")
    low.execute(f"update pgledger.balances set attention_at = {TODAY}")
    if way == "lost row":
        low.execute("delete from pgledger.balances")
    if way == "settings":
        assert arm(low, daily_count_limit=1)["resumes_at"] is None
        assert pending(low) == {"#auto-1": "ENABLED"}
    if way == "check":
        assert ask(low, "check_auto_top_up", account_id="a")["key"] == "#auto-2"
    else:
        ask(low, "spend", account_id="a", amount=1)
    settings = ask(low, "get_auto_top_up", account_id="a")
    assert (settings["waiting_for"], settings["resumes_at"]) == ("#auto-2", None)
    assert in_order(low)


def test_a_lost_balance_row_stays_paused(low: Ledger) -> None:
    arm(low, daily_count_limit=1)
    ask(low, "spend", account_id="a", amount=1)
    settle(low)
    ask(low, "spend", account_id="a", amount=20)
    low.execute("delete from pgledger.balances")
    ask(low, "spend", account_id="a", amount=1)
    assert end_of_pause(low) == tomorrow()
    assert pending(low) == {"#auto-1": "ENABLED"}
    assert in_order(low)


def test_a_pause_ends_for_its_own_account_and_not_for_a_hold_that_expired(low: Ledger) -> None:
    ask(low, "top_up", account_id="b", amount=41)
    for account_id in ("a", "b"):
        given = {"account_id": account_id, "threshold": 50, "amount": 20}
        ask(low, "set_auto_top_up", **given, daily_count_limit=1, mode="INSTANT")
        for _ in range(2):
            ask(low, "spend", account_id=account_id, amount=20)
    ask(low, "hold", account_id="a", amount=1, key="h", expires_at="2200-01-01")
    let_expire(low)
    ask(low, "top_up", account_id="a", amount=1)
    assert pending(low)["h"] == "EXPIRED"
    assert end_of_pause(low) == tomorrow()
    low.execute(f"update pgledger.auto_top_ups set resumes_at = {TODAY}")
    low.execute(f"update pgledger.balances set attention_at = {TODAY}")
    ask(low, "top_up", account_id="a", amount=1)
    assert end_of_pause(low) is None
    assert ask(low, "get_auto_top_up", account_id="b")["resumes_at"] is not None
    assert in_order(low)


def test_changed_settings_end_a_pause(low: Ledger) -> None:
    arm(low, daily_count_limit=1)
    ask(low, "spend", account_id="a", amount=1)
    settle(low)
    ask(low, "spend", account_id="a", amount=20)
    assert arm(low, daily_count_limit=1)["resumes_at"] == tomorrow()
    assert arm(low, daily_count_limit=2)["resumes_at"] is None
    ask(low, "spend", account_id="a", amount=1)
    assert pending(low) == {"#auto-1": "ENABLED", "#auto-2": "PENDING"}
    assert in_order(low)


def test_a_cancelled_top_up_is_not_counted_unless_it_was_paid_late(low: Ledger) -> None:
    arm(low, daily_count_limit=2)
    ask(low, "spend", account_id="a", amount=1)
    for _ in range(3):
        settle(low, "cancel_transaction")
    assert pending(low)["#auto-4"] == "PENDING"
    for key in ("#auto-1", "#auto-2"):
        ask(low, "enable_transaction", account_id="a", key=key, external_id=key)
    settle(low, "cancel_transaction")
    ask(low, "spend", account_id="a", amount=40)
    assert end_of_pause(low) == tomorrow()
    assert in_order(low)


def test_what_was_paid_counts_not_what_was_asked(low: Ledger) -> None:
    arm(low, daily_amount_limit=40)
    ask(low, "spend", account_id="a", amount=1)
    settle(low, amount=21)
    ask(low, "spend", account_id="a", amount=20)
    assert end_of_pause(low) == tomorrow()
    arm(low, daily_amount_limit=41)
    ask(low, "spend", account_id="a", amount=1)
    assert pending(low)["#auto-2"] == "PENDING"


def test_an_intent_that_still_waits_counts(low: Ledger) -> None:
    arm(low, daily_count_limit=1)
    ask(low, "spend", account_id="a", amount=1)
    arm(low, daily_count_limit=1, amount=19)
    ask(low, "spend", account_id="a", amount=1)
    assert end_of_pause(low) == tomorrow()
    assert pending(low) == {"#auto-1": "PENDING"}


def test_amounts_at_the_edge_of_bigint_are_counted(low: Ledger) -> None:
    arm(low, amount=HIGHEST, daily_amount_limit=HIGHEST)
    ask(low, "spend", account_id="a", amount=1)
    settle(low, amount=1)
    assert end_of_pause(low) == tomorrow()
    assert pending(low) == {"#auto-1": "ENABLED"}


def warnings_of(db: Ledger) -> list[dict[str, str | None]]:
    """Listen to the warnings of a session."""
    told: list[dict[str, str | None]] = []
    db.add_notice_handler(
        lambda said: told.append(
            {
                "severity": said.severity_nonlocalized,
                "message": said.message_primary,
                "detail": said.message_detail,
                "hint": said.message_hint,
            }
        )
    )
    return told


@pytest.mark.parametrize("verb", ["spend", "hold"])
def test_an_instant_top_up_beyond_bigint_leaves_the_debit(db: Ledger, verb: str) -> None:
    ask(db, "top_up", account_id="a", amount=HIGHEST)
    arm(db, threshold=HIGHEST, amount=HIGHEST, mode="INSTANT")
    told = warnings_of(db)
    row = ask(db, verb, account_id="a", amount=7, key="k")
    assert (row["amount"], row["available"]) == (-7, HIGHEST - 7)
    (warning,) = told
    assert warning["hint"]
    assert warning["severity"] == "WARNING"
    assert warning["message"] == "auto-top-up failed: balance out of range"
    assert json.loads(warning["detail"] or "") == {"account_id": "a", "sqlstate": "22003"}
    settings = ask(db, "get_auto_top_up", account_id="a")
    assert (settings["intents"], settings["waiting_for"]) == (0, None)
    assert (events(db), in_order(db)) == ([], True)
    ask(db, "spend", account_id="a", amount=HIGHEST - 7)
    assert value(db, "get_credits", account_id="a") == (HIGHEST if verb == "spend" else 0)


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("INTENT", "alter table pgledger.auto_top_ups add check (intents = 0)"),
        ("INTENT", "alter table pgledger.auto_top_ups add check (waiting_for is null)"),
        ("INTENT", "alter table pgledger.events add check (kind <> 'top_up_requested')"),
        ("INTENT", "alter table pgledger.pending_transactions add check (type <> 'TOP_UP')"),
        ("INSTANT", "alter table pgledger.auto_top_ups add check (intents = 0)"),
        ("INSTANT", "alter table pgledger.transactions add check (seq < 3)"),
        ("INSTANT", "alter table pgledger.balances add check (balance <= 60)"),
    ],
)
def test_whatever_goes_wrong_with_a_top_up_the_spend_stands(
    db: Ledger, mode: str, fault: str
) -> None:
    ask(db, "top_up", account_id="a", amount=60)
    arm(db, mode=mode, amount=200)
    ask(db, "set_low_balance_level", account_id="a", level=60)
    told = warnings_of(db)
    db.execute(fault)
    row = ask(db, "spend", account_id="a", amount=20, key="k")
    assert (row["status"], row["running_balance"], row["available"]) == ("POSTED", 40, 40)
    assert len(told) == 1
    assert posted(db, "a") == [60, -20]
    assert pending(db) == {}
    assert [kind for kind, _ in events(db)] == ["low_balance"]
    settings = ask(db, "get_auto_top_up", account_id="a")
    assert (settings["intents"], settings["waiting_for"]) == (0, None)
    assert ask_all(db, "check_auto_top_up", account_id="a") == []
    assert len(told) == 2
    assert in_order(db)


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_what_says_run_it_again_is_passed_on(db: Ledger, code: str) -> None:
    ask(db, "top_up", account_id="a", amount=60)
    arm(db)
    db.execute(
        "create function pg_temp.again() returns trigger language plpgsql as"
        f" $$ begin raise exception 'again' using errcode = '{code}'; end $$"
    )
    db.execute(
        "create trigger again before update on pgledger.auto_top_ups"
        " execute function pg_temp.again()"
    )
    before = everything(db)
    with pytest.raises(psycopg.Error) as caught:
        ask(db, "spend", account_id="a", amount=20)
    assert caught.value.sqlstate == code
    assert everything(db) == before


def test_settings_that_were_lost_and_set_anew_do_not_stumble_over_older_intents(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=100)
    ask(db, "spend", account_id="a", amount=60)
    ask(db, "cancel_transaction", account_id="a", key="#auto-1")
    db.execute("delete from pgledger.auto_top_ups")
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=100)
    ask(db, "spend", account_id="a", amount=1)
    assert ask(db, "get_auto_top_up", account_id="a")["waiting_for"] == "#auto-2"
    assert in_order(db)


def test_an_intent_that_is_gone_leaves_the_limits_as_they_are(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(
        db,
        "set_auto_top_up",
        account_id="a",
        threshold=200,
        amount=60,
        mode="INSTANT",
        monthly_amount_limit=120,
    )
    for _ in range(2):
        ask(db, "spend", account_id="a", amount=60)
    db.execute("set session_replication_role = replica")
    db.execute("alter table pgledger.transactions disable trigger all")
    db.execute("update pgledger.transactions set key = null where key = '#auto-1'")
    db.execute("alter table pgledger.transactions enable always trigger transactions_append_only")
    ask(db, "spend", account_id="a", amount=60)
    ask(db, "spend", account_id="a", amount=60)
    assert ask(db, "get_auto_top_up", account_id="a")["resumes_at"] is not None


def test_an_intent_paid_under_another_key_is_not_paid_once_more(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=100)
    ask(db, "spend", account_id="a", amount=60)
    # The webhook credits the payment by itself; then the success page enables the intent with it.
    ask(db, "top_up", account_id="a", amount=100, key="pi_1", external_id="pi_1")
    answer = ask(db, "enable_transaction", account_id="a", key="#auto-1", external_id="pi_1")
    assert (answer["key"], answer["replayed"], answer["balance"]) == ("pi_1", True, 140)
    refused(db, "LG007", "enable_transaction", account_id="a", key="#auto-1")
    settings = ask(db, "get_auto_top_up", account_id="a")
    assert settings["waiting_for"] is None
    assert in_order(db)
    ask(db, "spend", account_id="a", amount=100)
    assert ask(db, "get_auto_top_up", account_id="a")["waiting_for"] == "#auto-2"
