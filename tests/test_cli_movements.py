"""The commands that move credits."""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.cli_tools import Run, error, failed, runner
from tests.support import let_pass


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


def test_a_top_up_says_what_it_did(run: Run) -> None:
    result = run("top-up", "u1", "8", "--key", "order-1")
    assert result.stdout == "credited 8 CREDIT to u1\navailable 8 CREDIT; seq 1, key order-1\n"
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_repeat_says_that_it_is_one(run: Run) -> None:
    run("top-up", "u1", "8", "--key", "order-1")
    result = run("top-up", "u1", "8", "--key", "order-1")
    assert "this is a repeat and changed nothing" in result.stdout
    assert result.exit_code == 0
    assert json.loads(run("top-up", "u1", "8", "--key", "order-1", "--json").stdout)["replayed"]


def test_a_posting_as_json_is_the_posting(run: Run) -> None:
    run("top-up", "u1", "8")
    words = ["spend", "u1", "5", "--key", "k", "--reference", "chat", "--metadata", '{"a": 1}']
    posting = json.loads(run(*words, "--json").stdout)
    created_at = datetime.fromisoformat(posting.pop("created_at"))
    assert created_at.utcoffset() == timedelta(0)
    assert posting == {
        "account_id": "u1",
        "key": "k",
        "seq": 2,
        "type": "USAGE",
        "amount": -5,
        "requested_amount": -5,
        "running_balance": 3,
        "balance": 3,
        "available": 3,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    (spent, _) = json.loads(run("history", "u1", "--json").stdout)
    assert (spent["reference"], spent["metadata"]) == ("chat", {"a": 1})


def test_a_shortfall_may_be_partial_and_in_any_case(run: Run) -> None:
    run("top-up", "u1", "8")
    result = run("spend", "u1", "10", "--shortfall", "partial")
    assert result.stdout.startswith("spent 8 CREDIT of the 10 asked for from u1\n")


def test_a_payment_may_be_announced_with_its_external_id(run: Run) -> None:
    result = run("top-up", "u1", "8", "--key", "o", "--pending", "--external-id", "pi_1")
    assert result.stdout.startswith("announced 8 CREDIT to u1\navailable 0 CREDIT; key o\n")
    assert json.loads(run("balance", "u1", "--json").stdout)["balance"] == 0


def test_a_ceiling_credits_what_fits_and_then_refuses(run: Run) -> None:
    result = run("top-up", "u1", "80", "--ceiling", "50")
    assert result.stdout.startswith("credited 50 CREDIT of the 80 asked for to u1\n")
    assert "u1 has 50, the ceiling is 50" in failed(run("top-up", "u1", "80", "--ceiling", "50"), 1)


def test_an_announced_payment_is_enabled_or_cancelled(run: Run) -> None:
    announced = run("top-up", "a b", "8", "--key", "o", "--pending")
    assert announced.stdout.endswith("not effective before: pgledger enable 'a b' o\n")
    assert run("enable", "a b", "o", "9", "--external-id", "pi_1").stdout == (
        "credited 9 CREDIT to a b\navailable 9 CREDIT; seq 1, key o\n"
    )
    assert "this is a repeat" in run("enable", "a b", "o").stdout
    run("top-up", "a b", "5", "--key", "p", "--pending")
    assert run("cancel", "a b", "p", "--reason", "not paid").stdout == (
        "cancelled 5 CREDIT to a b\navailable 9 CREDIT; key p\n"
    )
    assert "'p' of a b is CANCELLED" in failed(run("enable", "a b", "p"), 1)


# Holds


def test_a_hold_says_what_it_reserves_and_how_to_go_on(run: Run) -> None:
    run("top-up", "u1", "100")
    result = run("hold", "u1", "60", "--key", "h", "--expires-at", "2999-01-31T13:00+01:00")
    assert result.stdout == (
        "held 60 CREDIT of u1\n"
        "available 40 CREDIT; key h\n"
        "reserved until 2999-01-31T12:00:00Z; then: pgledger capture u1 h\n"
    )
    assert "reserved without an end; then: " in run("hold", "u1", "5").stdout
    assert "held        65  CREDIT\n" in run("balance", "u1").stdout
    assert "u1 has 35 available, 36 requested" in failed(run("hold", "u1", "36"), 1)


def test_a_hold_is_captured_in_part_and_the_rest_is_free_again(run: Run) -> None:
    run("top-up", "u1", "100")
    run("hold", "u1", "60", "--key", "h")
    assert run("capture", "u1", "h", "25").stdout == (
        "captured 25 CREDIT from u1\navailable 75 CREDIT; seq 2, key h\n"
    )
    assert "this is a repeat and changed nothing" in run("capture", "u1", "h").stdout
    assert error(run("capture", "u1", "h", "26", "--json"), 1)["sqlstate"] == "LG002"
    assert "'h' of u1 is POSTED" in failed(run("release", "u1", "h"), 1)


def test_a_hold_is_released(run: Run) -> None:
    run("top-up", "u1", "100")
    run("hold", "u1", "60", "--key", "h")
    assert run("release", "u1", "h", "--reason", "no answer").stdout == (
        "released 60 CREDIT of u1\navailable 100 CREDIT; key h\n"
    )
    assert "this is a repeat and changed nothing" in run("release", "u1", "h").stdout
    assert "u1 has none with the key 'nothing'" in failed(run("release", "u1", "nothing"), 1)


def test_a_capture_above_its_hold_is_a_refusal_with_figures(run: Run) -> None:
    run("top-up", "u1", "100")
    run("hold", "u1", "60", "--key", "h")
    assert failed(run("capture", "u1", "h", "61"), 1).startswith(
        "error: exceeds original: 61 asked for, 60 remain of 'h' of u1\n"
    )
    told = error(run("capture", "u1", "h", "61", "--json"), 1)
    assert (told["sqlstate"], told["details"]["remaining"]) == ("LG009", 60)


def test_a_hold_that_expires_in_some_time_says_when_so_that_it_can_be_repeated(run: Run) -> None:
    run("top-up", "u1", "100")
    before = datetime.now(UTC)
    words = ["hold", "u1", "60", "--key", "h"]
    held = json.loads(run(*words, "--expires-in", "15m", "--json").stdout)
    expires_at = datetime.fromisoformat(held["expires_at"])
    assert expires_at >= before + timedelta(minutes=15)
    assert expires_at <= datetime.now(UTC) + timedelta(minutes=15, seconds=1)
    assert expires_at.microsecond == 0

    repeat = json.loads(run(*words, "--expires-at", held["expires_at"], "--json").stdout)
    assert repeat["replayed"]
    told = failed(run(*words, "--expires-in", "1h"), 1)
    assert f"u1 has recorded expires_at {held['expires_at']} where " in told


# Credits with terms of their own


def test_a_grant_says_what_it_did(run: Run) -> None:
    words = ["grant", "u1", "5", "--key", "g", "--reference", "chat", "--metadata", '{"a": 1}']
    assert run(*words).stdout == "credited 5 CREDIT to u1\navailable 5 CREDIT; seq 1, key g\n"
    (granted,) = json.loads(run("history", "u1", "--json").stdout)
    assert (granted["type"], granted["reference"], granted["metadata"]) == (
        *("GRANT", "chat", {"a": 1}),
    )


@pytest.mark.parametrize("command", ["grant", "top-up"])
def test_a_credit_may_expire_and_have_a_priority(run: Run, command: str) -> None:
    words = [command, "a b", "50", "--key", "g", "--expires", "2999-01-31T13:00+01:00"]
    for repeat in ("", ", before: this is a repeat and changed nothing"):
        assert run(*words, "--priority", "-1").stdout == (
            f"credited 50 CREDIT to a b{repeat}\n"
            "available 50 CREDIT; seq 1, key g\n"
            "expires 2999-01-31T12:00:00Z, priority -1; see pgledger lots 'a b'\n"
        )
    told = json.loads(run(*words, "--priority", "-1", "--json").stdout)
    assert (told["expires_at"], told["priority"]) == ("2999-01-31T12:00:00+00:00", -1)
    assert "a b has recorded priority -1 where 0 is given" in failed(run(*words), 1)
    assert "\npriority 2; see " in run(command, "a b", "5", "--priority", "2").stdout
    told = json.loads(run(command, "a b", "5", "--json").stdout)
    assert (told["expires_at"], told["priority"]) == (None, 0)


def test_credits_that_expire_in_some_time_say_when_so_that_it_can_be_repeated(run: Run) -> None:
    before = datetime.now(UTC)
    words = ["grant", "u1", "50", "--key", "g"]
    granted = json.loads(run(*words, "--expires", "14d", "--json").stdout)
    expires_at = datetime.fromisoformat(granted["expires_at"])
    assert expires_at >= before + timedelta(days=14)
    assert expires_at <= datetime.now(UTC) + timedelta(days=14, seconds=1)
    assert json.loads(run(*words, "--expires", granted["expires_at"], "--json").stdout)["replayed"]
    told = failed(run(*words, "--expires", "15d"), 1)
    assert f"u1 has recorded expires_at {granted['expires_at']} where " in told


def test_an_announced_top_up_keeps_its_terms(run: Run) -> None:
    run("top-up", "u1", "50", "--key", "o", "--pending", "--expires", "14d")
    assert run("lots", "u1").stdout == "u1 has no lots\n"
    run("enable", "u1", "o")
    (lot,) = json.loads(run("lots", "u1", "--json").stdout)
    assert (lot["key"], lot["remaining"]) == ("o", 50)


# What takes back, undoes, moves


def test_a_refund_takes_back_a_part_or_what_remains_of_a_top_up(run: Run) -> None:
    run("top-up", "u1", "100", "--key", "t")
    assert run("refund", "u1", "t", "30", "--key", "r", "--external-id", "re_1").stdout == (
        "refunded 30 CREDIT from u1\navailable 70 CREDIT; seq 2, key r\n"
    )
    assert "this is a repeat" in run("refund", "u1", "t", "30", "--external-id", "re_1").stdout
    told = failed(run("refund", "u1", "t", "71"), 1)
    assert "71 asked for, 70 remain of '#1' of u1" in told
    assert run("refund", "u1", "#1").stdout.startswith("refunded 70 CREDIT from u1\n")


def test_a_chargeback_may_leave_a_debt(run: Run) -> None:
    run("top-up", "u1", "100", "--key", "t")
    run("spend", "u1", "80", "--key", "s")
    assert "20 available, 100 requested" in failed(run("refund", "u1", "t"), 1)
    assert "available -80 CREDIT; " in run("refund", "u1", "t", "--chargeback").stdout
    assert "-80 available, 1 requested (81 missing)" in failed(run("spend", "u1", "1"), 1)


def test_a_reversal_goes_the_other_way(run: Run) -> None:
    run("top-up", "u1", "100", "--key", "t")
    run("spend", "u1", "80", "--key", "s")
    assert run("reverse", "u1", "s", "30", "--key", "v").stdout == (
        "gave back 30 CREDIT to u1\navailable 50 CREDIT; seq 3, key v\n"
    )
    assert "51 asked for, 50 remain of '#2' of u1" in failed(run("reverse", "u1", "s", "51"), 1)
    assert "It is a TOP_UP." in failed(run("reverse", "u1", "t"), 2)
    assert "u1 has none with the key 'x'" in failed(run("reverse", "u1", "x"), 1)


def test_what_is_given_back_to_an_expired_lot_expires_unless_that_is_extended(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    for key in ("a", "b"):
        run("grant", "u1", "50", "--key", key, "--expires", "7d")
        run("spend", "u1", "50", "--key", f"s{key}")
    let_pass(db, "8 days")
    assert "available 0 CREDIT; " in run("reverse", "u1", "sa").stdout
    assert "available 50 CREDIT; " in run("reverse", "u1", "sb", "--extend", "1d").stdout
    assert "'0d' is not a duration" in failed(run("reverse", "u1", "sb", "--extend", "0d"), 2)


def test_a_reversal_of_a_credit_takes_back(run: Run, db: psycopg.Connection[DictRow]) -> None:
    db.execute("select pgledger.grant_credits('u1', 5, key => 'g')")
    assert run("reverse", "u1", "g").stdout.startswith("took back 5 CREDIT from u1\n")


def test_a_transfer_names_both_accounts(run: Run) -> None:
    run("top-up", "u1", "100")
    run("top-up", "u2", "1")
    for repeat in ("", ", before: this is a repeat and changed nothing"):
        assert run("transfer", "u1", "u2", "30", "--key", "m").stdout == (
            f"transferred 30 CREDIT from u1 to u2{repeat}\navailable 70 CREDIT; seq 2, key m\n"
        )
    assert json.loads(run("balance", "u2", "--json").stdout)["balance"] == 31
    assert "the ledger does not know u9" in failed(run("transfer", "u1", "u9", "1"), 1)
    assert error(run("transfer", "u1", "u1", "1", "--json"), 2)["sqlstate"] == "22023"
