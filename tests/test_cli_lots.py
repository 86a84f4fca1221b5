"""The commands about lots, and about where credits came from and went."""

import json
import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.cli_tools import Run, error, failed, runner
from tests.support import let_pass

IN_A_WEEK = (datetime.now(UTC) + timedelta(days=7)).replace(microsecond=0)


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


@pytest.fixture
def spent(run: Run) -> Run:
    """Give u1 the pool and two lots, and spend of all three."""
    run("top-up", "u1", "100", "--key", "order")
    run("grant", "u1", "50", "--key", "trial", "--expires", IN_A_WEEK.isoformat())
    run("grant", "u1", "20", "--key", "promotion", "--priority", "-1", "--metadata", '{"a": 1}')
    run("spend", "u1", "60", "--key", "s")
    return run


def table(text: str) -> list[list[str]]:
    return [re.split(" {2,}", row.strip()) for row in text.splitlines()]


def test_lots_are_shown_in_draw_order_and_what_is_used_up_last(spent: Run) -> None:
    spent("grant", "u1", "5", "--key", "reserve", "--priority", "7")
    ends = f"{IN_A_WEEK:%Y-%m-%d %H:%M:%S}"
    assert table(spent("lots", "u1").stdout) == [
        ["key", "granted", "drawn", "remaining", "priority", "expires (UTC)"],
        ["trial", "50", "40", "10", "0", ends],
        ["reserve", "5", "0", "5", "7", "never"],
        ["promotion", "20", "20", "0", "-1", "never"],
        ["amounts in CREDIT"],
    ]
    assert "promotion" not in spent("lots", "u1", "--open").stdout
    assert "reserve" not in spent("lots", "u1", "--limit", "1").stdout
    told = json.loads(spent("lots", "u1", "--json").stdout)[2]
    assert told.pop("created_at")
    assert told == {
        "lot": 3,
        "key": "promotion",
        "type": "GRANT",
        "granted": 20,
        "drawn": 20,
        "expired": 0,
        "held": 0,
        "remaining": 0,
        "priority": -1,
        "expires_at": None,
        "metadata": {"a": 1},
    }


def test_columns_in_which_nothing_stands_are_left_out(run: Run) -> None:
    run("grant", "u1", "5", "--expires", IN_A_WEEK.isoformat())
    assert table(run("lots", "u1").stdout)[0] == ["key", "granted", "remaining", "expires (UTC)"]
    run("hold", "u1", "2")
    assert table(run("lots", "u1").stdout)[0][2] == "held"
    run("top-up", "u2", "5")
    assert run("lots", "u2").stdout == "u2 has no lots\n"
    assert run("lots", "u2", "--open").stdout == "u2 has no open lots\n"
    assert json.loads(run("lots", "u2", "--json").stdout) == []


def test_what_expires_soon_is_told(spent: Run) -> None:
    spent("hold", "u1", "4")
    assert spent("expiring", "u1").stdout == (
        "expires (UTC)        amount  held  key\n"
        f"{IN_A_WEEK:%Y-%m-%d %H:%M:%S}       6     4  trial\n"
        "in all 6 CREDIT\n"
    )
    assert spent("expiring", "u1", "--within", "6d").stdout == "nothing expires in that time\n"
    assert json.loads(spent("expiring", "u1", "--within", "6d", "--json").stdout) == []
    assert json.loads(spent("expiring", "u1", "--within", "8d", "--json").stdout) == [
        {
            "lot": 2,
            "key": "trial",
            "amount": 6,
            "held": 4,
            "expires_at": IN_A_WEEK.isoformat(),
            "priority": 0,
        }
    ]


def test_a_balance_tells_the_next_expiry(spent: Run) -> None:
    assert spent("balance", "u1").stdout.endswith(
        f"10 CREDIT expire at {IN_A_WEEK:%Y-%m-%dT%H:%M:%S}Z\n"
    )
    told = json.loads(spent("balance", "u1", "--json").stdout)
    assert (told["next_expiry_at"], told["next_expiry_amount"]) == (IN_A_WEEK.isoformat(), 10)


def test_what_remains_of_a_lot_is_revoked_once(spent: Run) -> None:
    for repeat in ("", ", before: this is a repeat and changed nothing"):
        assert spent("revoke-lot", "u1", "trial", "--reason", "fraud").stdout == (
            f"took back 10 CREDIT from u1{repeat}\navailable 100 CREDIT; seq 5, key #revoke-2\n"
        )
    revoked, *_ = json.loads(spent("history", "u1", "--json").stdout)
    assert (revoked["type"], revoked["metadata"]) == ("REVERSAL", {"reason": "fraud"})


@pytest.mark.parametrize(
    ("key", "code", "sqlstate", "told"),
    [
        ("order", 2, "22023", "made no lot"),
        ("promotion", 1, "LG009", "0 remain of 'promotion' of u1"),
        ("unknown", 1, "LG006", "u1 has none with the key 'unknown'"),
    ],
)
def test_what_cannot_be_revoked_is_told(
    spent: Run, key: str, code: int, sqlstate: str, told: str
) -> None:
    assert told in failed(spent("revoke-lot", "u1", key), code)
    assert error(spent("revoke-lot", "u1", key, "--json"), code)["sqlstate"] == sqlstate


def test_a_spend_is_explained(spent: Run) -> None:
    head, columns, *rows = table(spent("explain", "u1", "s").stdout)
    assert re.fullmatch(r"USAGE -60 CREDIT at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, key s", head[0])
    assert columns == ["amount", "lot", "why"]
    assert [row[:2] for row in rows] == [["20", "promotion"], ["40", "trial"]]
    assert all(row[2] for row in rows)
    told = json.loads(spent("explain", "u1", "s", "--json").stdout)
    assert (told["key"], told["amount"], told["status"], told["usage"]) == (
        *("s", -60, "POSTED", None),
    )
    assert set(told["draws"][0]) == {
        *("place", "lot", "lot_key", "amount", "priority", "expires_at", "reason"),
    }
    assert "u1 has none with the key 'x'" in failed(spent("explain", "u1", "x"), 1)
    assert error(spent("explain", "u1", "x", "--json"), 1)["sqlstate"] == "LG006"


def test_a_hold_and_a_credit_are_explained(spent: Run) -> None:
    spent("hold", "u1", "30", "--key", "h")
    told = spent("explain", "u1", "h").stdout
    assert told.startswith("PENDING USAGE -30 CREDIT at ")
    assert [row[:2] for row in table(told)[2:]] == [["10", "trial"], ["20", "the pool"]]
    assert "GRANT 50 CREDIT at " in spent("explain", "u1", "#2").stdout


def test_a_balance_is_explained(spent: Run) -> None:
    spent("hold", "u1", "30")
    rows = table(spent("explain", "u1").stdout)
    assert rows[0] == ["item", "amount", "key", "at (UTC)", "words"]
    assert rows[2][2:4] == ["trial", f"{IN_A_WEEK:%Y-%m-%d %H:%M:%S}"]
    assert [row[:2] for row in rows[1:6]] == [
        ["pool", "100"],
        ["lot", "10"],
        ["balance", "110"],
        ["held", "-30"],
        ["available", "80"],
    ]
    told = json.loads(spent("explain", "u1", "--json").stdout)
    assert set(told[0]) == {"item", "lot", "key", "amount", "expires_at", "words"}


def test_what_has_expired_is_shown_as_such_before_it_is_posted(
    spent: Run, db: psycopg.Connection[DictRow]
) -> None:
    let_pass(db, "8 days")
    trial = next(
        lot for lot in json.loads(spent("lots", "u1", "--json").stdout) if lot["key"] == "trial"
    )
    assert (trial["expired"], trial["remaining"]) == (10, 0)
    assert "expire at" not in spent("balance", "u1").stdout
    assert any(row[:2] == ["due", "-10"] for row in table(spent("explain", "u1").stdout))
    spent("spend", "u1", "1")
    assert re.search(r" EXPIRY .* ends #2$", spent("history", "u1").stdout, re.MULTILINE)
