"""The commands that move credits."""

import json
from datetime import datetime, timedelta

import pytest

from tests.cli_tools import Run, failed, runner


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
