"""The commands that go on and on: housekeeping, and following the events."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import DictRow

from pgledger import Ledger
from pgledger.commands import background
from tests.cli_tools import ENVIRONMENT, Run, error, failed, interrupted, line, runner, started
from tests.conftest import Connect
from tests.support import journal, let_expire, let_pass

Database = psycopg.Connection[DictRow]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


def expired_hold(db: Database, account: str) -> None:
    db.execute("select pgledger.top_up(%s, 100)", [account])
    db.execute("select pgledger.hold(%s, 60, expires_at => now() + interval '1 hour')", [account])
    let_expire(db, account_id=account)


def freeze(db: Database, account: str) -> None:
    """Cause one event."""
    Ledger(db).open_account(account)
    Ledger(db).set_account_status(account, "OPEN")
    Ledger(db).set_account_status(account, "FROZEN")


# Housekeeping


def test_what_is_due_is_closed_in_as_many_transactions_as_it_takes(run: Run, db: Database) -> None:
    for account in ("u1", "u2", "u3"):
        expired_hold(db, account)
    assert run("run-due", "--limit", "1").stdout == "accounts settled: 3\n"
    assert Ledger(db).get_balance("u2").held == 0
    assert run("run-due").stdout == "nothing was due\n"
    assert json.loads(run("run-due", "--json").stdout) == {"settled": 0}


def test_expired_credits_and_refills_are_posted(run: Run, db: Database) -> None:
    run("grant", "u1", "50", "--expires", "7d")
    run("grant", "u2", "50", "--priority", "1")
    run("plan", "create", "p", "5", "--period", "day", "--policy", "add")
    run("plan", "assign", "u2", "p")
    let_pass(db, "8 days")
    assert run("run-due").stdout == "accounts settled: 2\n"
    assert run("run-due").stdout == "nothing was due\n"
    assert journal(db, "u1") == [("GRANT", 50), ("EXPIRY", -50)]
    # That of today has the key that was taken before time passed.
    assert journal(db, "u2") == [("GRANT", 50), *[("GRANT", 5)] * 8]
    assert Ledger(db).verify() == []


def test_what_is_due_is_closed_time_and_again_until_interrupted(
    db: Database, database_url: str
) -> None:
    expired_hold(db, "u1")
    with started(database_url, "run-due", "--every", "1s") as process:
        assert line(process.stderr) == "posting what falls due; Ctrl-C ends it\n"
        told = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  accounts settled: 1\n")
        assert told.fullmatch(line(process.stdout))
        expired_hold(db, "u2")
        assert told.fullmatch(line(process.stdout))
        rest = interrupted(process)
    assert rest == ("stopped; accounts settled: 2 in all\n", "")


def test_a_lost_connection_is_told_and_opened_again_at_the_next_pass(
    db: Database, database_url: str
) -> None:
    expired_hold(db, "u1")
    with started(database_url, "run-due", "--every", "1s") as process:
        line(process.stdout)
        lose_connections(db)
        line(process.stderr)
        assert line(process.stderr).startswith("error: ")
        assert line(process.stderr) == "the next pass tries again\n"
        expired_hold(db, "u2")
        assert line(process.stdout).endswith("accounts settled: 1\n")
        rest = interrupted(process)
    assert rest == ("stopped; accounts settled: 2 in all\n", "")


def test_housekeeping_tells_a_program_a_document_a_line(db: Database, database_url: str) -> None:
    expired_hold(db, "u1")
    with started(database_url, "run-due", "--every", "1s", "--json") as process:
        settled = json.loads(line(process.stdout))
        assert (set(settled), settled["settled"]) == ({"settled", "at"}, 1)
        lose_connections(db)
        assert set(json.loads(line(process.stdout))) == {"error"}
        rest, told = interrupted(process)
    assert told == ""
    assert json.loads(rest.splitlines()[-1]) == {"settled": 1, "stopped": True}


def test_housekeeping_does_not_begin_without_a_database(run: Run, tmp_path: Path) -> None:
    url = f"host={tmp_path} dbname=x"
    for words in ([], ["--every", "1s"]):
        told = run("run-due", *words, "--database-url", url)
        assert told.exit_code == 3
        assert "cannot connect to the database" in told.stderr


def lose_connections(db: Database) -> None:
    db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name = 'pgledger'"
    )


# Events


def test_the_last_events_are_shown_and_none_is_taken(run: Run, db: Database) -> None:
    run("top-up", "u1", "100")
    run("low-balance", "u1", "50")
    run("spend", "u1", "60", "--key", "s")
    freeze(db, "u2")
    result = run("events", "tail", "--no-follow")
    assert re.sub(r"^\S+ \S+", "at", result.stdout, flags=re.MULTILINE) == (
        "at  low_balance  u1  key s, level 50, available 40\nat  account_frozen  u2\n"
    )
    assert run("events", "tail", "--no-follow", "-n", "1").stdout.count("\n") == 1
    assert run("events", "tail", "--no-follow", "-n", "0").stdout == ""
    assert " u1 " in run("events", "tail", "--no-follow", "--account", "u1").stdout
    assert run("events", "tail", "--no-follow", "--account", "u9").stdout == ""
    assert [event.account_id for event in Ledger(db).claim_events()] == ["u1", "u2"]


def test_events_for_a_program_are_a_document_a_line(run: Run, db: Database) -> None:
    freeze(db, "u1")
    freeze(db, "u1")
    shown = run("events", "tail", "--no-follow", "--json").stdout.splitlines()
    assert [json.loads(event)["seq"] for event in shown] == [1, 2]
    taken = run("events", "tail", "--ack", "--no-follow", "--json").stdout.splitlines()
    assert [json.loads(event)["deliveries"] for event in taken] == [1, 1]
    assert set(json.loads(taken[0])) < set(json.loads(shown[0]))


def test_events_are_followed_as_they_commit(connect: Connect, database_url: str) -> None:
    late, early = connect(autocommit=False), connect()
    freeze(late, "u1")
    freeze(early, "u2")
    with started(database_url, "events", "tail") as process:
        assert line(process.stdout).endswith("account_frozen  u2\n")
        freeze(early, "u3")
        assert line(process.stdout).endswith("account_frozen  u3\n")
        late.commit()
        assert line(process.stdout).endswith("account_frozen  u1\n")
        assert interrupted(process) == ("", "")


def test_a_consumer_prints_and_acknowledges_every_event_once(run: Run, db: Database) -> None:
    for account in ("u1", "u2", "u1"):
        freeze(db, account)
    result = run("events", "tail", "--ack", "--no-follow")
    assert sorted(event.split()[3] for event in result.stdout.splitlines()) == ["u1", "u1", "u2"]
    assert run("events", "tail", "--ack", "--no-follow").stdout == ""
    assert all(event.acked_at for event in Ledger(db).list_events())


def test_an_event_that_could_not_be_printed_comes_again(
    run: Run, db: Database, database_url: str
) -> None:
    freeze(db, "u1")
    nobody_reads, output = os.pipe()
    os.close(nobody_reads)
    ran = subprocess.run(
        [sys.executable, "-m", "pgledger", "events", "tail", "--ack"],
        env={**ENVIRONMENT, "PGLEDGER_DATABASE_URL": database_url},
        stdout=output,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(output)
    assert (ran.returncode, ran.stderr) == (141, b"")
    db.execute("update pgledger.events set visible_at = now()")
    (again,) = run("events", "tail", "--ack", "--no-follow", "--json").stdout.splitlines()
    assert json.loads(again)["deliveries"] == 2


def test_an_event_that_was_printed_and_not_acknowledged_comes_again(
    run: Run, db: Database, connect: Connect, database_url: str
) -> None:
    freeze(db, "u1")
    db.execute(
        "create function pg_temp_wait() returns trigger language plpgsql as $$"
        " begin perform pg_advisory_xact_lock(1); return new; end; $$"
    )
    db.execute(
        "create trigger wait before update on pgledger.events for each row"
        " when (new.acked_at is not null) execute function pg_temp_wait()"
    )
    obstacle = connect()
    obstacle.execute("select pg_advisory_lock(1)")
    with started(database_url, "events", "tail", "--ack", "--json") as process:
        assert json.loads(line(process.stdout))["deliveries"] == 1
        waiting = "select from pg_stat_activity where wait_event = 'advisory'"
        while not db.execute(waiting).fetchall():
            assert process.poll() is None
        assert interrupted(process) == ("", "")
    obstacle.execute("select pg_advisory_unlock(1)")
    db.execute("update pgledger.events set visible_at = now()")
    (again,) = run("events", "tail", "--ack", "--no-follow", "--json").stdout.splitlines()
    assert json.loads(again)["deliveries"] == 2


def test_a_consumer_takes_the_events_of_all_accounts(run: Run) -> None:
    for words in (["--account", "u1"], ["-n", "5"]):
        assert "leave out --account and -n" in failed(run("events", "tail", "--ack", *words), 2)
        error(run("events", "tail", "--ack", *words, "--json"), 2)


def test_more_new_events_than_a_look_reads_are_not_lost(
    db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(background, "FEW", 2)
    monkeypatch.setattr(background, "MANY", 5)
    for _ in range(3):
        freeze(db, "u1")
    look = background._Lookout(Ledger(db), None)  # noqa: SLF001
    assert [event.seq for event in look.first(1)] == [3]
    for _ in range(4):
        freeze(db, "u1")
    assert [event.seq for event in look.again()] == [4, 5, 6, 7]
    assert look.again() == []
    assert capsys.readouterr().err == ""
    for _ in range(6):
        freeze(db, "u1")
    assert [event.seq for event in look.again()] == [9, 10, 11, 12, 13]
    assert "some are left out" in capsys.readouterr().err


def test_old_events_do_not_come_up_when_younger_ones_are_deleted(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FEW", 2)
    for _ in range(5):
        freeze(db, "u1")
    look = background._Lookout(Ledger(db), None)  # noqa: SLF001
    assert [event.seq for event in look.first(2)] == [4, 5]
    db.execute("delete from pgledger.events where seq > 3")
    assert look.again() == []


def test_a_follower_that_loses_its_connection_says_so_in_a_line(
    db: Database, database_url: str
) -> None:
    freeze(db, "u1")
    with started(database_url, "events", "tail", "--json") as process:
        line(process.stdout)
        lose_connections(db)
        told, _ = process.communicate()
    assert process.returncode == 3
    assert set(json.loads(told.splitlines()[-1])) == {"error"}
