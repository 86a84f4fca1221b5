"""The command line, for people and for programs: output, errors, exit codes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow

from pgledger import embedded, migrate
from pgledger.cli import cli

Run = Callable[..., Result]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PGLEDGER_DATABASE_URL"},
    "PYTHONPATH": str(Path(embedded.__file__).parents[1]),
}


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on the test's database, which the environment names."""
    monkeypatch.setenv("PGLEDGER_DATABASE_URL", database_url)
    return lambda *words: CliRunner().invoke(cli, words)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for an embedded server that the server's user can enter."""
    path = Path(tempfile.mkdtemp(prefix="test-", dir=embedded._roomy()))  # noqa: SLF001
    path.chmod(0o755)
    monkeypatch.setenv("PGLEDGER_HOME", str(path))
    monkeypatch.delenv("PGLEDGER_DATABASE_URL", raising=False)
    monkeypatch.delenv("PGLEDGER_PG_BIN", raising=False)
    yield path
    for mark in path.rglob("pgledger.lock"):
        with suppress(embedded.EmbeddedServerError):
            embedded.stop(mark.parent)
    shutil.rmtree(path)


def program(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
    """Run a command as a process of its own."""
    options = {"env": ENVIRONMENT, "capture_output": True, **options}
    return subprocess.run(
        [sys.executable, "-m", "pgledger", *words], text=True, check=False, **options
    )


def error(result: Result, code: int) -> dict[str, Any]:
    """Return the error that a command told as JSON, the only thing that it said."""
    assert (result.exit_code, result.stderr) == (code, "")
    told = json.loads(result.stdout)
    assert set(told) == {"error"}
    assert set(told["error"]) == {"sqlstate", "message", "details", "hint"}
    return told["error"]  # type: ignore[no-any-return]


def failed(result: Result, code: int) -> str:
    """Return the words of a command that failed; its stdout is empty."""
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    return result.stderr


# Postings


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


# Errors


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


@pytest.mark.parametrize("command", ["balance", "history", "verify"])
def test_an_account_that_the_ledger_does_not_know_is_told(run: Run, command: str) -> None:
    assert "the ledger does not know u9" in failed(run(command, "u9"), 1)
    assert error(run(command, "u9", "--json"), 1)["sqlstate"] == "LG003"


@pytest.mark.parametrize("amount", ["12.5", "0", "-5", "1e3", "abc", "", "9223372036854775808"])
@pytest.mark.parametrize("command", ["top-up", "spend"])
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


# Reading


def test_a_balance_is_aligned(run: Run) -> None:
    run("top-up", "u1", "1200")
    assert run("balance", "u1").stdout == (
        "u1 is OPEN\n"
        "balance    1200  CREDIT\n"
        "held          0  CREDIT\n"
        "available  1200  CREDIT\n"
    )  # fmt: skip


def test_a_currency_with_decimals_is_shown_with_them_and_in_minor_units(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    db.execute("insert into pgledger.currencies values ('EUR', 2)")
    db.execute("select pgledger.open_account('u1', 'EUR', min_balance => -50)")
    assert run("top-up", "u1", "1250").stdout.startswith(
        "credited 12.50 EUR (1250 minor units) to u1\n"
    )
    run("spend", "u1", "1255")
    assert "balance      -0.05  EUR   -5  minor units\n" in run("balance", "u1").stdout
    assert "min_balance  -0.50  EUR  -50  minor units\n" in run("balance", "u1").stdout
    history = run("history", "u1").stdout
    assert "  -12.55    -0.05  " in history
    assert "amounts in EUR; 1 minor unit is 0.01\n" in history
    assert json.loads(run("balance", "u1", "--json").stdout)["balance"] == -5


def test_history_is_newest_first_with_whole_keys_and_numbers_in_a_pipe(run: Run) -> None:
    key = "k" * 255
    run("top-up", "u1", str(2**63 - 1))
    run("spend", "u1", "5", "--key", key, "--reference", "[red]chat:smile:")
    lines = run("history", "u1").stdout.splitlines()
    assert lines[0].split() == [
        "seq",
        "at",
        "(UTC)",
        "type",
        "amount",
        "balance",
        "key",
        "reference",
    ]
    assert lines[1].split()[0] == "2"
    assert lines[1].split()[3:] == ["USAGE", "-5", str(2**63 - 6), key, "[red]chat:smile:"]
    assert lines[2].split()[3:] == ["TOP_UP", str(2**63 - 1), str(2**63 - 1), "#1"]
    assert lines[3:] == ["amounts in CREDIT"]


def test_history_goes_on_page_by_page(run: Run) -> None:
    for amount in range(1, 6):
        run("top-up", "u1", str(amount))
    result = run("history", "u1", "--limit", "2")
    assert result.stderr == "older ones: --before-seq 4\n"
    older = json.loads(run("history", "u1", "--limit", "2", "--before-seq", "4", "--json").stdout)
    assert [row["seq"] for row in older] == [3, 2]
    assert run("history", "u1", "--before-seq", "1").stdout == "no transactions\n"
    assert json.loads(run("history", "u1", "--type", "usage", "--json").stdout) == []


def test_verify_tells_a_disagreement_and_exits_with_4(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    run("top-up", "u1", "8")
    assert run("verify").stdout == "no disagreements in the ledger\n"
    assert run("verify", "u1").stdout == "no disagreements in u1\n"
    assert json.loads(run("verify", "--json").stdout) == []
    db.execute("update pgledger.balances set balance = 9")
    result = run("verify")
    assert (result.exit_code, result.stderr) == (4, "")
    assert re.search(r"^u1 .* 8 +9$", result.stdout, re.MULTILINE)
    result = run("verify", "u1", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)[0]["account_id"] == "u1"


def test_what_would_steer_a_terminal_is_shown_as_an_escape(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    db.execute(
        "insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at,"
        " type, key) values ('u1', 1, 5, 5, now(), 'TOP_UP', E'a\\x1b[31mb')"
    )
    assert r"a\x1b[31mb" in run("history", "u1").stdout


# The database


def test_migrate_tells_what_it_would_do_what_it_did_and_that_it_is_done(
    run: Run, empty_database: str
) -> None:
    words = ["migrate", "--database-url", empty_database]
    known = migrate.known_migrations()
    assert known[0] in run(*words, "--dry-run").stdout
    assert json.loads(run(*words, "--dry-run", "--json").stdout)["pending"] == known
    status = run("status", "--database-url", empty_database)
    assert (status.exit_code, "needs pgledger migrate" in status.stdout) == (0, True)
    assert run(*words, "--to", known[0]).stdout == f"applied {known[0]}\n"
    assert json.loads(run(*words, "--json").stdout) == {"applied": known[1:]}
    assert run(*words).stdout == "nothing to do\n"
    assert run(*words, "--dry-run").stdout == "-- nothing to do\n"
    assert "up to date" in run("status", "--database-url", empty_database).stdout


def test_sql_is_the_script_for_psql(run: Run) -> None:
    assert run("sql").stdout == migrate.migration_script()
    assert json.loads(run("sql", "--json").stdout) == {"script": migrate.migration_script()}


def test_the_option_wins_over_the_environment_before_and_after_the_command(
    run: Run, empty_database: str
) -> None:
    run("top-up", "u1", "8")
    for words in (
        ["--database-url", empty_database, "balance", "u1"],
        ["balance", "u1", "--database-url", empty_database],
    ):
        assert run(*words).exit_code == 5


def test_an_embedded_server_comes_and_goes(home: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, words)

    assert "is not running" in run("status").stdout
    assert run("status").exit_code == 3
    assert json.loads(run("status", "--json").stdout)["running"] is False
    for words in (["balance", "u1"], ["migrate"], ["verify"]):
        assert failed(run(*words), 3) == (
            'error: no database: run "pgledger up" or give --database-url\n'
        )
    assert run("down").stdout == "it was not running\n"

    started = run("up")
    assert started.exit_code == 0
    assert str(home) in started.stdout
    url = re.search(r"^url: +(\S+)$", started.stdout, re.MULTILINE)
    assert url
    again = json.loads(run("up", "--json").stdout)
    assert (again["started"], again["applied"], again["url"]) == (False, [], url[1])
    assert run("top-up", "u1", "8").exit_code == 0
    assert run("status").exit_code == 0
    assert json.loads(run("status", "--json").stdout)["pending_migrations"] == []
    with psycopg.connect(url[1]) as connection:
        assert connection.execute("select pgledger.get_credits('u1')").fetchone() == (8,)

    assert json.loads(run("down", "--json").stdout) == {"running": False, "stopped": True}
    run("up")
    assert json.loads(run("balance", "u1", "--json").stdout)["balance"] == 8


def test_without_postgresql_binaries_it_says_what_to_do(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGLEDGER_PG_BIN", str(home / "nothing"))
    told = failed(CliRunner().invoke(cli, ["balance", "u1"]), 3)
    assert told.startswith("error: no database: give --database-url\nhint: There is no program")
    assert "PGLEDGER_PG_BIN" in failed(CliRunner().invoke(cli, ["up"]), 3)


# Replay


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


# As a process


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


@pytest.mark.parametrize("command", [None, *cli.commands])
def test_every_command_has_help_that_fits_a_terminal(command: str | None) -> None:
    words = [command, "--help"] if command else ["--help"]
    result = CliRunner().invoke(cli, words, terminal_width=80)
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "--database-url" in result.stdout
    assert "--json" in result.stdout
