"""The command line, for people and for programs: errors, exit codes, help, pipes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow

from pgledger.cli import cli
from tests.cli_tools import ENVIRONMENT, Run, error, failed, program, runner


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


def test_insufficient_credits_are_told_with_exact_numbers(run: Run) -> None:
    run("top-up", "u1", "3")
    told = failed(run("spend", "u1", "5"), 1)
    assert told.startswith(
        "error: insufficient credits: u1 has 3 available, 5 requested (2 missing)\nhint: "
    )
    as_json = error(run("spend", "u1", "5", "--json"), 1)
    assert as_json["sqlstate"] == "LG001"
    assert as_json["details"]["missing"] == 2


def test_a_floor_is_part_of_the_sentence(run: Run, db: psycopg.Connection[DictRow]) -> None:
    run("top-up", "u1", "3")
    db.execute("select pgledger.set_limits('u1', min_balance => -10)")
    told = failed(run("spend", "u1", "20"), 1)
    assert "u1 has 3 available, may go down to -10, 20 requested (7 missing)" in told


def test_a_conflict_shows_what_differs(run: Run) -> None:
    run("top-up", "u1", "8", "--key", "k")
    assert "u1 has recorded amount 8 where 9 is given" in failed(
        run("top-up", "u1", "9", "--key", "k"), 1
    )
    told = failed(run("spend", "u1", "8", "--key", "k"), 1)
    assert "type TOP_UP where USAGE is given" in told
    told = failed(run("top-up", "u1", "8", "--key", "k", "--pending"), 1)
    assert "u1 has recorded it as POSTED" in told


def test_a_frozen_account_is_told(run: Run, db: psycopg.Connection[DictRow]) -> None:
    run("top-up", "u1", "8")
    db.execute("select pgledger.set_account_status('u1', 'FROZEN')")
    assert "account not open: u1 is FROZEN" in failed(run("spend", "u1", "8"), 1)


@pytest.mark.parametrize(
    "command",
    [
        *("balance", "history", "verify", "explain", "lots", "expiring", "plan show"),
        *("plan clear", "cap show", "cap clear"),
    ],
)
def test_an_account_that_the_ledger_does_not_know_is_told(run: Run, command: str) -> None:
    words = command.split()
    assert "the ledger does not know u9" in failed(run(*words, "u9"), 1)
    assert error(run(*words, "u9", "--json"), 1)["sqlstate"] == "LG003"


@pytest.mark.parametrize("amount", ["12.5", "0", "-5", "1e3", "abc", "", "9223372036854775808"])
@pytest.mark.parametrize("command", ["top-up", "grant", "spend", "hold"])
def test_an_amount_is_a_positive_whole_number(run: Run, command: str, amount: str) -> None:
    failed(run(command, "u1", amount), 2)
    error(run(command, "u1", amount, "--json"), 2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["spend", "u1", "5", "--key", "#1"], "invalid key: '#1'"),
        (["spend", "u\n1", "5"], r"invalid account_id: 'u\n1'"),
        (["spend", "u1", "5", "--metadata", "[1]"], "not a JSON object"),
        (["spend", "u1", "5", "--metadata", "{"], "not JSON"),
        (["spend", "u1", "5", "--metadata", '{"a": NaN}'], "invalid"),
        (["spend", "u1", "5", "--metadata", '{"a": "\\u0000"}'], "Unicode"),
        (["spend", "u1", "5", "--shortfall", "x"], "not one of"),
        (["hold", "u1", "5", "--expires-in", "15"], "'15' is not a duration"),
        (["hold", "u1", "5", "--expires-in", "0m"], "'0m' is not a duration"),
        (["hold", "u1", "5", "--expires-in", "-5m"], "'-5m' is not a duration"),
        (["hold", "u1", "5", "--expires-in", "9" * 5000 + "d"], "is longer than 36500 days"),
        (
            ["hold", "u1", "5", "--expires-at", "tomorrow"],
            "'tomorrow' is not an instant",
        ),
        (["hold", "u1", "5", "--expires-at", "2999-01-01T00:00"], "has no time zone: add Z"),
        (["hold", "u1", "5", "--expires-at", "0001-01-01T00:00+14:00"], "is out of range"),
        (["hold", "u1", "5", "--expires-at", "2001-01-01T00:00Z"], "expires in the future"),
        (["hold", "u1", "5", "--expires-in", "1m", "--expires-at", "2999-01-01Z"], "--expires-at"),
        (
            ["grant", "u1", "5", "--expires", "tomorrow"],
            "'tomorrow' is not a length of time, such as 14d, or an instant",
        ),
        (["grant", "u1", "5", "--expires", "0d"], "'0d' is not a duration"),
        (["grant", "u1", "5", "--expires", "15x"], "'15x' is not a duration"),
        (["grant", "u1", "5", "--expires", "2999-01-01T00:00"], "has no time zone: add Z"),
        (["grant", "u1", "5", "--expires", "2001-01-01T00:00Z"], "in the future"),
        (["top-up", "u1", "5", "--priority", "high"], "'high' is not a valid integer"),
        (["top-up", "u1", "5", "--priority", str(2**31)], "out of range for type integer"),
        (["expiring", "u1", "--within", "soon"], "'soon' is not a duration"),
        (["lots", "u1", "--limit", "0"], "invalid limit_count"),
        (["plan"], "Missing command"),
        (["plan", "create", "p", "5", "--policy", "add"], "Missing option '--period'"),
        (["plan", "create", "p", "5", "--period", "day"], "Missing option '--policy'"),
        (["plan", "create", "p", "0", "--period", "day", "--policy", "add"], "is not positive"),
        (["plan", "create", "p", "5", "--period", "2d", "--policy", "add"], "invalid period"),
        (["plan", "create", "p", "5", "--period", "0d", "--policy", "add"], "'0d' is not a period"),
        (["plan", "create", "p", "5", "--period", "day", "--policy", "x"], "not one of"),
        (
            ["plan", "create", "p", "5", "--period", "day", "--policy", "add", "--time-zone", "x"],
            "invalid time_zone: 'x'",
        ),
        (["plan", "assign", "u1", "p", "--starts-at", "now"], "'now' is not an instant"),
        (["cap", "set", "u1", "x"], "'x' is not a whole number"),
        (["cap", "set", "u1", "5", "--period", "fortnight"], "'fortnight' is not a period: day, "),
        (["run-due", "--every", "never"], "'never' is not a duration"),
        (["run-due", "--limit", "0"], "--limit"),
        (["events"], "Missing command"),
        (["events", "tail", "-n", "-1"], "-n"),
        (["events", "tail", "--ack", "--account", "u1"], "leave out --account and -n"),
        (["events", "tail", "--no-follow", "--account", ""], "account_id"),
        (["spend", "u1"], "Missing argument 'AMOUNT'"),
        (["spend", "\udcff", "5"], "not UTF-8"),
        (["history", "u1", "--limit", "0"], "invalid limit_count"),
        (["history", "u1", "--limit", "10001"], "invalid limit_count"),
        (["nothing"], "No such command 'nothing'"),
        (["replay", "no such file.csv"], "no such file.csv"),
        (["replay", "/"], "/"),
        (["replay", "-", "--map", "x=y"], "--map"),
        (["replay", "-", "--connections", "0"], "connections"),
        (["replay", "-", "--strict", "--connections", "2"], "one connection"),
        (["migrate", "--to", "9999_never"], "there is no migration '9999_never'"),
        (["up", "--database-url", "dbname=x"], "embedded server"),
        (["balance", "u1", "--database-url", ""], "empty"),
    ],
)
def test_what_cannot_be_is_told_in_words_and_as_json(run: Run, words: list[str], told: str) -> None:
    code = 5 if "migrate" in words else 2
    assert told in failed(run(*words), code)
    error(run(*words, "--json"), code)
    error(run("--json", *words), code)


def test_a_url_that_cannot_be_read_is_not_repeated(run: Run) -> None:
    told = failed(run("balance", "u1", "--database-url", "postgresql://u:secret%zz@h/x"), 2)
    assert "postgresql://user:password@host:5432/database" in told
    assert "secret" not in told


def test_a_server_that_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    for url in (f"host={tmp_path} dbname=x", "postgresql://u:secret@localhost:1/x"):
        for words in (["balance", "u1"], ["migrate"], ["status"], ["verify"]):
            told = failed(run(*words, "--database-url", url), 3)
            assert told.startswith("error: cannot connect to the database: ")
            assert "secret" not in told
        error(run("balance", "u1", "--json", "--database-url", url), 3)


def test_a_database_without_a_ledger_is_told(run: Run, empty_database: str) -> None:
    for words in (["balance", "u1"], ["spend", "u1", "5"], ["verify"]):
        assert "hint: run pgledger migrate\n" in failed(
            run(*words, "--database-url", empty_database), 5
        )


def test_a_role_that_may_only_call_functions_gets_along_and_one_that_may_not_is_told(
    run: Run, db: psycopg.Connection[DictRow], database_url: str
) -> None:
    run("top-up", "u1", "8")
    role = f"caller_{os.getpid()}"
    db.execute(f"create role {role} login password 'x'".encode())
    try:
        url = make_conninfo(database_url, options=f"-c role={role}")
        told = failed(run("balance", "u1", "--database-url", url), 3)
        assert "grant this role usage on schema pgledger" in told
        db.execute(f"grant usage on schema pgledger to {role}".encode())
        db.execute(f"grant execute on all functions in schema pgledger to {role}".encode())
        result = run("balance", "u1", "--database-url", url)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "8  CREDIT" in result.stdout
    finally:
        db.execute(f"drop owned by {role}; drop role {role}".encode())


def test_what_is_said_goes_where_it_belongs(database_url: str) -> None:
    url = ["--database-url", database_url]
    done = program("top-up", "u1", "8", *url)
    assert (done.returncode, done.stderr) == (0, "")
    done = program("spend", "u1", "9", *url)
    assert (done.returncode, done.stdout) == (1, "")
    done = program("spend", "u1", "9", "--json", *url)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["error"]["sqlstate"] == "LG001"


def test_a_reader_that_leaves_early_is_no_error(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "select pgledger.top_up('u1', 1, reference => repeat('x', 250))"
            " from generate_series(1, 3000)"
        )
    command = [sys.executable, "-m", "pgledger", "history", "u1", "--limit", "3000"]
    environment = {**ENVIRONMENT, "PGLEDGER_DATABASE_URL": database_url}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_interrupted_it_exits_with_130(database_url: str) -> None:
    with psycopg.connect(database_url) as holder:
        holder.execute("select pgledger.top_up('u1', 1)")
        command = [sys.executable, "-m", "pgledger", "spend", "u1", "1"]
        environment = {**ENVIRONMENT, "PGLEDGER_DATABASE_URL": database_url}
        with (
            psycopg.connect(database_url, autocommit=True) as watcher,
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process,
        ):
            waiting = (
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and wait_event_type = 'Lock'"
            )
            while watcher.execute(waiting).fetchone() != (1,):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, told = process.communicate()
    assert process.returncode == 130
    assert told.strip() == b"error: interrupted"


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['click'] = None; from pgledger.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'pgledger[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_tells_the_exit_codes_and_version_the_version() -> None:
    done = program()
    assert done.returncode == 0
    assert "Exit codes:\n" in done.stdout
    assert all(f"\n    {code} " in done.stdout for code in range(6))
    assert program("--help").stdout == done.stdout
    assert re.fullmatch(r"pgledger, version \d+\.\d+\.\d+\n", program("--version").stdout)


def all_commands(group: click.Group, *above: str) -> Iterator[list[str]]:
    for name, command in group.commands.items():
        yield [*above, name]
        if isinstance(command, click.Group):
            yield from all_commands(command, *above, name)


@pytest.mark.parametrize("command", [[], *all_commands(cli)], ids=" ".join)
def test_every_command_has_help_that_fits_a_terminal(command: list[str]) -> None:
    result = CliRunner().invoke(cli, [*command, "--help"], terminal_width=80)
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "--database-url" in result.stdout
    assert "--json" in result.stdout


def test_the_list_of_commands_is_complete_and_says_each_in_one_whole_sentence() -> None:
    listed = CliRunner().invoke(cli, ["--help"], terminal_width=80).stdout
    for name in cli.commands:
        line = re.search(rf"^  {name} +(.*)$", listed, re.MULTILINE)
        assert line, name
        assert line[1].endswith("."), name
        assert "..." not in line[1], name
