"""The commands about plans and spending caps."""

import json
import re
from dataclasses import fields
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from pgledger import AccountPlan, Ledger, Plan, PlanAssignment, SpendingCapUsage
from tests.cli_tools import Run, error, failed, runner
from tests.support import let_pass


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


def names_of(record: type[Any]) -> set[str]:
    return {field.name for field in fields(record)}


def create(run: Run, code: str, amount: int, *more: str) -> str:
    words = ["plan", "create", code, str(amount)]
    return run(*words, *(more or ("--period", "month", "--policy", "reset"))).stdout


def without_instants(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<instant>", text)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--period", "month", "--policy", "reset"],
            "p: 300 every month, and what remains of it expires\nperiods by the calendar of UTC\n",
        ),
        (
            ["--period", "week", "--policy", "TOP_UP_TO", "--time-zone", "Europe/Berlin"],
            "p: filled up to 300 every week\nperiods by the calendar of Europe/Berlin\n",
        ),
        (
            ["--period", "10d", "--policy", "add", "--anchor", "account"],
            "p: 300 more every 10 days\nperiods from where the account began, in UTC\n",
        ),
    ],
)
def test_a_plan_is_created_once_and_never_changed(run: Run, words: list[str], told: str) -> None:
    for _ in range(2):
        assert create(run, "p", 300, *words) == told
    assert failed(run("plan", "create", "p", "400", *words), 1).startswith(
        "error: idempotency conflict: plan p has recorded amount 300 where 400 is given\n"
    )


def test_plans_are_listed(run: Run) -> None:
    assert run("plan", "list").stdout == "no plans\n"
    assert json.loads(run("plan", "list", "--json").stdout) == []
    create(run, "small", 300)
    create(run, "large", 9000, "--period", "quarter", "--policy", "add", "--metadata", '{"a": 1}')
    assert run("plan", "list").stdout == (
        "code   amount  period    policy  anchor    time zone\n"
        "large    9000  3 months  ADD     CALENDAR  UTC\n"
        "small     300  1 month   RESET   CALENDAR  UTC\n"
        "amounts in minor units\n"
    )
    large, _ = json.loads(run("plan", "list", "--json").stdout)
    assert large.pop("created_at")
    assert large == {
        "code": "large",
        "amount": 9000,
        "period": "3 months",
        "policy": "ADD",
        "anchor": "CALENDAR",
        "time_zone": "UTC",
        "metadata": {"a": 1},
    }


def test_an_account_is_put_on_a_plan_moved_to_another_and_taken_off(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    Ledger(db).open_account("u1")
    create(run, "small", 300)
    create(run, "large", 900)
    assert run("plan", "show", "u1").stdout == "u1 is on no plan\n"
    assert json.loads(run("plan", "show", "u1", "--json").stdout) is None
    assert without_instants(run("plan", "assign", "u1", "small").stdout) == (
        "u1 is on small: 300 CREDIT every month, and what remains of it expires\n"
        "periods by the calendar of UTC\n"
        "300 CREDIT left of this period's allowance\n"
        "next refill: <instant>\n"
    )
    run("spend", "u1", "100")
    told = run("plan", "assign", "u1", "large").stdout
    assert "u1 is on small: " in told
    assert "200 CREDIT left of " in told
    assert told.endswith("Z\nfrom then on: large\n")
    assert "from then on" not in run("plan", "assign", "u1", "small").stdout

    told = run("plan", "assign", "u1", "large", "--at-once", "--expire-allowance").stdout
    assert "u1 is on large: 900 CREDIT every month" in told
    shown = json.loads(run("plan", "show", "u1", "--json").stdout)
    assert (shown["plan"], shown["allowance_left"], shown["next_plan"]) == ("large", 900, None)
    assert json.loads(run("balance", "u1", "--json").stdout)["available"] == 900

    assert run("plan", "clear", "u1", "--expire-allowance").stdout == "u1 is on large no more\n"
    assert run("plan", "clear", "u1").stdout == "u1 was on no plan\n"
    assert json.loads(run("plan", "clear", "u1", "--json").stdout) is None
    assert json.loads(run("balance", "u1", "--json").stdout)["available"] == 0


def test_a_plan_may_begin_later(run: Run) -> None:
    run("top-up", "u1", "1")
    create(run, "p", 300, "--period", "2 months", "--policy", "add", "--anchor", "account")
    told = run("plan", "assign", "u1", "p", "--starts-at", "2999-01-31T13:00+01:00").stdout
    assert told == (
        "u1 is on p: 300 CREDIT more every 2 months\n"
        "periods from where the account began, in UTC\n"
        "next refill: 2999-01-31T12:00:00Z\n"
    )
    cleared = json.loads(run("plan", "clear", "u1", "--json").stdout)
    assert (cleared["plan"], cleared["starts_at"]) == ("p", "2999-01-31T12:00:00+00:00")


def test_an_assignment_that_cannot_be_is_told(run: Run) -> None:
    run("top-up", "u1", "1")
    create(run, "p", 300)
    for account, plan, code, sqlstate in (("u1", "x", 2, "22023"), ("u9", "p", 1, "LG003")):
        assert "error: " in failed(run("plan", "assign", account, plan), code)
        assert error(run("plan", "assign", account, plan, "--json"), code)["sqlstate"] == sqlstate
    told = failed(run("plan", "assign", "u1", "p", "--expire-allowance"), 2)
    assert "when the plan changes at once" in told


def test_a_spending_cap_is_set_shown_and_taken_away(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    run("top-up", "u1", "100")
    assert run("cap", "show", "u1").stdout == "u1 has no spending cap\n"
    assert json.loads(run("cap", "show", "u1", "--json").stdout) is None
    run("spend", "u1", "20")
    words = ["cap", "set", "u1", "30", "--period", "day", "--time-zone", "Asia/Tokyo"]
    capped = (
        "u1 may use 30 CREDIT a day, in Asia/Tokyo\n"
        "used 20 CREDIT, 10 CREDIT left until <instant>\n"
    )
    assert without_instants(run(*words).stdout) == capped
    assert without_instants(run("cap", "show", "u1").stdout) == capped
    told = without_instants(failed(run("spend", "u1", "11"), 1))
    assert told.startswith(
        "error: spending cap reached: u1 has used 20 of 30, 11 requested"
        " (10 left until <instant>)\nhint: "
    )
    refused = error(run("spend", "u1", "11", "--json"), 1)
    assert (refused["sqlstate"], refused["details"]["remaining"]) == ("LG008", 10)
    let_pass(db, "2 days")
    shown = json.loads(run("cap", "show", "u1", "--json").stdout)
    assert set(shown) == {"amount", "period", "time_zone", "used", "remaining", "resets_at"}
    assert (shown["period"], shown["used"], shown["remaining"]) == ("1 day", 0, 30)

    assert run("cap", "clear", "u1").stdout == "u1 has no spending cap\n"
    assert run("cap", "clear", "u1").stdout == "u1 had no spending cap\n"
    assert json.loads(run("cap", "clear", "u1", "--json").stdout) is None
    assert run("spend", "u1", "50").exit_code == 0


def test_a_cap_may_be_nought_and_is_a_month_by_default(run: Run) -> None:
    run("top-up", "u1", "100")
    assert run("cap", "set", "u1", "0").stdout.startswith("u1 may use 0 CREDIT a month, in UTC\n")
    assert "u1 has used 0 of 0, 1 requested" in failed(run("spend", "u1", "1"), 1)
    assert "-5 is not positive" in failed(run("cap", "set", "u1", "-5"), 2)
    assert "the ledger does not know u9" in failed(run("cap", "set", "u9", "5"), 1)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("plan create p 5 --period day --policy add", names_of(Plan)),
        ("plan assign u1 q", names_of(AccountPlan)),
        ("plan show u1", names_of(AccountPlan)),
        ("plan clear u1", names_of(PlanAssignment)),
        ("cap set u1 5", names_of(SpendingCapUsage)),
        ("cap show u1", names_of(SpendingCapUsage)),
        ("cap clear u1", names_of(SpendingCapUsage)),
    ],
)
def test_each_answer_as_json_is_a_record(run: Run, words: str, names: set[str]) -> None:
    run("top-up", "u1", "1")
    create(run, "q", 5)
    run("plan", "assign", "u1", "q")
    run("cap", "set", "u1", "7")
    told = json.loads(run(*words.split(), "--json").stdout)
    assert set(told) == names


def test_plans_and_caps_are_shown_in_the_accounts_currency(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    db.execute("insert into pgledger.currencies values ('EUR', 2)")
    db.execute("select pgledger.open_account('u1', 'EUR')")
    create(run, "p", 1250)
    told = run("plan", "assign", "u1", "p").stdout
    assert told.startswith("u1 is on p: 12.50 EUR (1250 minor units) every month")
    assert "u1 may use 5.00 EUR (500 minor units) a month" in run("cap", "set", "u1", "500").stdout
