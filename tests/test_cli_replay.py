"""The command that charges usage events from a file."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli_tools import Run, error, failed, runner


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


@pytest.fixture
def usage(tmp_path: Path) -> Callable[[str], str]:
    def write(content: str) -> str:
        (tmp_path / "usage.csv").write_text(content)
        return str(tmp_path / "usage.csv")

    return write


def test_replay_sums_up(run: Run, usage: Callable[[str], str]) -> None:
    run("top-up", "u1", "10")
    file = usage("user,credits,key\nu1,7,a\nu1,7,b\nu1,3,c\n")
    words = ["replay", file, "--map", "account=user", "--map", "amount=credits"]
    result = run(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.sub(r"in [\d.]+ s, \d+ a second", "in", result.stdout) == (
        "rows            3  in\n"
        "charged         2  10 credits in minor units\n"
        "replayed        0  charged before, by the same key\n"
        "refused, LG001  1  insufficient credits\n"
        "bad             0\n"
    )
    summary = json.loads(run(*words, "--json").stdout)
    del summary["seconds"], summary["rows_per_second"]
    assert summary == {
        "rows": 3,
        "charged": 0,
        "credits": 0,
        "replayed": 2,
        "refused": {"LG001": 1},
        "bad": 0,
        "rolled_back": False,
        "problem_count": 0,
        "problems": [],
    }


def test_replay_names_bad_rows_and_exits_with_4(run: Run, usage: Callable[[str], str]) -> None:
    run("top-up", "u1", "10")
    file = usage("account,amount,key\nu1,7,a\nu1,x,b\nu1,1,a\n")
    result = run("replay", file)
    assert result.exit_code == 4
    assert result.stderr == (
        "line 3: amount 'x' is not a whole number of minor units\n"
        "line 4: idempotency conflict: key a of account u1 was used for another movement\n"
    )
    result = run("replay", file, "--json")
    assert (result.exit_code, result.stderr) == (4, "")
    assert [problem["line"] for problem in json.loads(result.stdout)["problems"]] == [3, 4]


def test_replay_strict_says_that_nothing_was_charged(run: Run, usage: Callable[[str], str]) -> None:
    run("top-up", "u1", "10")
    result = run("replay", "--strict", usage("account,amount,key\nu1,7,a\nu1,7,b\n"))
    assert result.exit_code == 4
    assert result.stderr == (
        "line 3: insufficient credits: account u1 has 3 available, 7 requested\n"
        "nothing was charged: --strict charges every row or none\n"
    )
    assert "10  CREDIT" in run("balance", "u1").stdout


def test_replay_tells_which_columns_it_found(run: Run, usage: Callable[[str], str]) -> None:
    told = failed(run("replay", usage("user,amount\nu1,5\n")), 2)
    assert "there is no column 'account'; found: user, amount" in told
    assert "--map account=COLUMN" in told


def test_replay_without_keys_names_the_bad_rows_and_charges_nothing(
    run: Run, usage: Callable[[str], str]
) -> None:
    run("top-up", "u1", "10")
    file = usage("account,amount\nu1,7\nu1,x\n")
    result = run("replay", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("line 3: amount 'x' is")
    told = error(run("replay", file, "--json"), 2)
    assert told["details"]["replay"]["problems"][0]["line"] == 3
    assert "10  CREDIT" in run("balance", "u1").stdout


def test_replay_names_the_rows_that_a_spending_cap_refused(
    run: Run, usage: Callable[[str], str]
) -> None:
    run("top-up", "u1", "100")
    run("cap", "set", "u1", "10")
    result = run("replay", usage("account,amount,key\nu1,5,a\nu1,6,b\nu1,5,c\n"))
    assert (result.exit_code, result.stderr) == (
        *(4, "line 3: spending cap reached: account u1, 6 requested\n"),
    )
    assert "charged         2  10 credits" in result.stdout
    assert "refused, LG008  1  see above" in result.stdout


def test_replay_charges_what_was_used_at_its_price(run: Run, usage: Callable[[str], str]) -> None:
    run("top-up", "u1", "100")
    run("prices", "set", "small", "input_token=0.5", "output_token=2")
    file = usage("account,prompt,completion,model,key\nu1,10,3,small,a\nu1,11,,small,b\n")
    words = ["--quantity", "input_token=prompt", "--quantity", "output_token=completion"]
    assert "17 credits" in run("replay", file, *words, "--map", "code=model").stdout
    assert "replayed  2  charged before" in run("replay", file, *words, "--usage", "small").stdout
    assert "completion" not in run("history", "u1", "--json").stdout


def test_replay_tells_equal_problems_together(run: Run, usage: Callable[[str], str]) -> None:
    run("top-up", "u1", "100")
    run("prices", "set", "gpt-4o", "input_token=0.5", "output_token=2")
    rows = "".join(f"u1,{n},1,gpt-4o,k{n}\n" for n in range(1, 1500))
    file = usage(f"account,prompt,pages,model,key\n{rows}u1,x,,gpt-4o,z\n")
    result = run("replay", file, "--quantity", "input_token=prompt", "--usage", "gpt-4")
    assert result.exit_code == 4
    assert result.stderr == (
        "lines 2, 3, 4 and 1496 more: price not found: gpt-4\n"
        "line 1501: input_token 'x' is not a number of 0 or more\n"
    )
    assert "refused, LG011  1499  see above\n" in result.stdout
    words = ["--quantity", "page=pages", "--usage", "gpt-4o"]
    assert run("replay", file, *words).stderr == (
        "lines 2, 3, 4 and 1496 more: price not found: "
        "gpt-4o has no page; it has input_token, output_token\n"
        "line 1501: quantities are empty\n"
    )


def test_replay_names_two_lines_with_one_problem(run: Run, usage: Callable[[str], str]) -> None:
    result = run("replay", usage("account,amount,key\nu1,x,a\nu1,y,b\nu1,x,c\n"))
    assert result.stderr == (
        "lines 2, 4: amount 'x' is not a whole number of minor units\n"
        "line 3: amount 'y' is not a whole number of minor units\n"
    )


def test_replay_says_what_its_prices_need(run: Run, usage: Callable[[str], str]) -> None:
    file = usage("account,amount\n")
    for words, told in (
        (["--usage", "small"], "--usage needs --quantity"),
        (["--quantity", "token"], "'token' is not a unit, =, and a column"),
        (["--quantity", "a=x", "--quantity", "a=y"], "--quantity names a unit twice"),
        (["--quantity", "a=x", "--usage", "small"], "no column 'x'; found: account, amount"),
        (["--map", "code=amount"], "--map code: there is no use for it"),
    ):
        assert told in failed(run("replay", file, *words), 2)
