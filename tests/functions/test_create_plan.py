"""create_plan and list_plans: terms that are recorded once, and never changed."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.conftest import Connect
from tests.support import HIGHEST, Ledger, ask, ask_all, everything, labels, refused, value

PRO = {"code": "pro", "amount": 1000, "period": "1 month", "policy": "RESET"}


def test_a_plan_is_recorded_as_given(db: Ledger) -> None:
    made = ask(
        db,
        "create_plan",
        **PRO,
        anchor="ACCOUNT",
        time_zone="Europe/Berlin",
        metadata={"price": "20 EUR"},
    )
    created_at = made.pop("created_at")
    (moment,) = db.execute("select %s <= clock_timestamp() as past", [created_at]).fetchall()
    assert moment["past"]
    assert made == {
        "code": "pro",
        "amount": 1000,
        "period": timedelta(days=30),  # psycopg's reading of a month
        "policy": "RESET",
        "anchor": "ACCOUNT",
        "time_zone": "Europe/Berlin",
        "metadata": {"price": "20 EUR"},
    }
    (row,) = db.execute("select period::text from pgledger.plans").fetchall()
    assert row["period"] == "1 mon"


def test_a_plan_is_of_the_calendar_in_utc_unless_said_otherwise(db: Ledger) -> None:
    made = ask(db, "create_plan", **PRO)
    assert (made["anchor"], made["time_zone"], made["metadata"]) == ("CALENDAR", "UTC", {})


def test_a_repeat_changes_nothing_and_answers_with_what_is_recorded(db: Ledger) -> None:
    first = ask(db, "create_plan", **PRO, metadata={"a": 1})
    before = everything(db)
    assert ask(db, "create_plan", **PRO, metadata={"a": 1}) == first
    assert ask(db, "create_plan", **PRO, metadata={"b": 2}) == first
    assert ask(db, "create_plan", **(PRO | {"period": "P1M"})) == first
    assert everything(db) == before


@pytest.mark.parametrize(
    "other",
    [
        {"amount": 1001},
        {"period": "3 months"},
        {"period": "30 days"},
        {"policy": "ADD"},
        {"anchor": "CALENDAR"},
        {"time_zone": "Europe/Paris"},
    ],
    ids=str,
)
def test_other_terms_under_one_code_are_refused(db: Ledger, other: dict[str, Any]) -> None:
    given = PRO | {"anchor": "ACCOUNT", "time_zone": "Europe/Berlin"}
    ask(db, "create_plan", **given)
    details = refused(db, "LG002", "create_plan", **(given | other))
    assert details["plan"] == "pro"
    ((term, _),) = other.items()
    assert details["recorded"][term] != details["given"][term]
    del details["recorded"][term], details["given"][term]
    assert details["recorded"] == details["given"]
    assert sorted(details["given"] | other) == sorted(given)


def test_a_year_is_not_360_days(db: Ledger) -> None:
    given = PRO | {"anchor": "ACCOUNT", "period": "12 months"}
    ask(db, "create_plan", **given)
    refused(db, "LG002", "create_plan", **(given | {"period": "360 days"}))


@pytest.mark.parametrize("period", ["1 day", "7 days", "1 week", "1 month", "3 months", "1 year"])
def test_the_calendar_has_days_weeks_months_quarters_and_years(db: Ledger, period: str) -> None:
    ask(db, "create_plan", **(PRO | {"period": period}))


@pytest.mark.parametrize(
    "period",
    ["2 days", "14 days", "30 days", "360 days", "2 months", "6 months", "24 months", "8 days"],
)
def test_other_periods_are_counted_from_the_account(db: Ledger, period: str) -> None:
    details = refused(db, "22023", "create_plan", **(PRO | {"period": period}))
    assert details["parameter"] == "period"
    ask(db, "create_plan", **(PRO | {"period": period}), anchor="ACCOUNT")


@pytest.mark.parametrize("anchor", ["CALENDAR", "ACCOUNT"])
@pytest.mark.parametrize(
    "period",
    [
        "0 days",
        "-1 day",
        "-1 month",
        "24 hours",
        "1 day 1 hour",
        "1 day 1 minute",
        "1 day 1 second",
        "1 day 0.000001 seconds",
        "1 month 1 second",
        "1 month 1 day",
        "1 month -1 day",
        "-1 month 40 days",
        "36526 days",
        "1201 months",
    ],
)
def test_a_period_is_whole_days_or_whole_months(db: Ledger, anchor: str, period: str) -> None:
    given = PRO | {"period": period, "anchor": anchor}
    details = refused(db, "22023", "create_plan", **given)
    assert details["parameter"] == "period"


@pytest.mark.parametrize("period", ["1 day", "36525 days", "1 month", "1200 months"])
def test_a_period_of_an_account_is_up_to_100_years(db: Ledger, period: str) -> None:
    ask(db, "create_plan", **(PRO | {"period": period}), anchor="ACCOUNT")


@pytest.mark.parametrize("anchor", ["CALENDAR", "ACCOUNT"])
def test_a_period_is_finite(db: Ledger, anchor: str) -> None:
    if db.info.server_version < 170000:
        pytest.skip("this server knows no infinite interval")
    refused(db, "22023", "create_plan", **(PRO | {"period": "infinity", "anchor": anchor}))


@pytest.mark.parametrize("anchor", ["CALENDAR", "ACCOUNT"])
@pytest.mark.parametrize("missing", ["code", "amount", "period", "policy", "anchor", "time_zone"])
def test_terms_must_be_given(db: Ledger, anchor: str, missing: str) -> None:
    given = PRO | {"anchor": anchor, "time_zone": "UTC", missing: None}
    assert refused(db, "22004", "create_plan", **given)["parameter"] == missing


@pytest.mark.parametrize("amount", [0, -1])
def test_a_refill_is_above_nothing(db: Ledger, amount: int) -> None:
    details = refused(db, "22023", "create_plan", **(PRO | {"amount": amount}))
    assert details["parameter"] == "amount"
    for enough in (1, HIGHEST):
        ask(db, "create_plan", **(PRO | {"amount": enough, "code": str(enough)}))


@pytest.mark.parametrize("code", ["", "a\nb", "x" * 201, "x" * 256])
def test_a_code_is_short_and_printable(db: Ledger, code: str) -> None:
    assert refused(db, "22023", "create_plan", **(PRO | {"code": code}))["parameter"] == "code"


def test_the_longest_code_makes_a_key(db: Ledger) -> None:
    ask(db, "create_plan", **(PRO | {"code": "ü" * 200}))
    ask(db, "open_account", account_id="a")
    ask(db, "assign_plan", account_id="a", plan="ü" * 200)
    (row,) = ask_all(db, "history", account_id="a")
    assert row["key"].startswith("#refill-" + "ü" * 200 + "-")
    assert value(db, "_is_label", label=row["key"])


@pytest.mark.parametrize("time_zone", ["", "Nowhere/Else", "+02", "UTC+2", "europe/berlin", "CEST"])
def test_a_time_zone_is_a_name_that_the_server_knows(db: Ledger, time_zone: str) -> None:
    details = refused(db, "22023", "create_plan", **PRO, time_zone=time_zone)
    assert details["parameter"] == "time_zone"


def test_metadata_is_an_object(db: Ledger) -> None:
    assert refused(db, "22023", "create_plan", **PRO, metadata=[1])["parameter"] == "metadata"


def test_the_table_holds_what_the_function_checks(db: Ledger) -> None:
    for column, wrong in [
        ("code", ""),
        ("code", "a\tb"),
        ("code", "x" * 201),
        ("amount", 0),
        ("period", "23 hours"),
    ]:
        given = PRO | {"anchor": "ACCOUNT", "time_zone": "UTC"} | {column: wrong}
        with pytest.raises(psycopg.errors.CheckViolation):
            db.execute(
                f"insert into pgledger.plans ({', '.join(given)}) values (%s, %s, %s, %s, %s, %s)",
                list(given.values()),
            )


def test_plans_are_listed_by_code(db: Ledger) -> None:
    assert ask_all(db, "list_plans") == []
    made = {code: ask(db, "create_plan", **(PRO | {"code": code})) for code in ("b", "a", "B")}
    assert ask_all(db, "list_plans") == [made["B"], made["a"], made["b"]]


def test_who_comes_second_waits_and_answers_with_the_first(connect: Connect) -> None:
    first, second = connect(autocommit=False), connect()
    made = ask(first, "create_plan", **PRO)
    second.execute("set lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        ask(second, "create_plan", **PRO)
    first.commit()
    assert ask(second, "create_plan", **PRO) == made


def test_the_policies_and_anchors_are_these(db: Ledger) -> None:
    assert labels(db, "refill_policy") == ["ADD", "TOP_UP_TO", "RESET"]
    assert labels(db, "plan_anchor") == ["CALENDAR", "ACCOUNT"]
