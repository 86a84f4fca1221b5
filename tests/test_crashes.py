"""A client that dies by `kill -9` right after it sent its COMMIT, or right before.

It never learns what became of its call. Whoever repeats it by its key does: the repeat is the first
time where nothing was committed, a replay where it was, and never a second effect.
"""

import signal
import subprocess
import sys
from typing import LiteralString

import pytest

from tests.races import balances, unsound
from tests.sessions import Connect, Connection, Row, attempt

# The client runs its call in a transaction, sends COMMIT or not, and is gone at once.
CLIENT = """
import os, signal, sys
import psycopg

url, statement, commits = sys.argv[1:]
connection = psycopg.connect(url)
connection.execute(statement)
print(connection.info.backend_pid, flush=True)
if commits == "commits":
    connection.pgconn.send_query(b"commit")
    while connection.pgconn.flush():
        pass
os.kill(os.getpid(), signal.SIGKILL)
"""

# What is asked, and the journal's sum and what is held once it had its effect.
CALLS = [
    pytest.param("select * from pgledger.spend('r0', 30, 'k')", 70, 60, id="spend"),
    pytest.param("select * from pgledger.hold('r0', 30, 'k')", 100, 90, id="hold"),
    pytest.param("select * from pgledger.capture('r0', 'held', 50)", 50, 0, id="capture"),
    pytest.param("select * from pgledger.release('r0', 'held')", 100, 0, id="release"),
    pytest.param("select * from pgledger.refund('r0', 'paid', 30, 'k')", 70, 60, id="refund"),
    pytest.param("select * from pgledger.transfer('r0', 'r1', 30, 'k')", 70, 60, id="transfer"),
]


def found(db: Connection) -> tuple[int, int]:
    (row,) = db.execute("select held from pgledger.balances where account_id = 'r0'").fetchall()
    return balances(db)["r0"], row["held"]


def journal(db: Connection) -> list[Row]:
    return db.execute(
        """
        select x::text from pgledger.transactions x
        union all
        select x::text from pgledger.pending_transactions x
        order by 1
        """
    ).fetchall()


@pytest.mark.parametrize("commits", [True, False], ids=["after COMMIT was sent", "before"])
@pytest.mark.parametrize(("call", "balance", "held"), CALLS)
def test_a_client_killed_at_its_commit_is_repeated_without_a_second_effect(
    connect: Connect,
    db: Connection,
    database_url: str,
    *,
    call: LiteralString,
    balance: int,
    held: int,
    commits: bool,
) -> None:
    db.execute("select pgledger.top_up('r0', 100, 'paid'), pgledger.open_account('r1')")
    db.execute("select pgledger.hold('r0', 60, 'held')")
    db.execute("select pgledger.set_limits('r0', -100)")

    ending = "commits" if commits else "dies"
    killed = subprocess.run(
        [sys.executable, "-c", CLIENT, database_url, call, ending],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    still_there: LiteralString = "select from pg_stat_activity where pid = %s"
    while db.execute(still_there, (int(killed.stdout),)).fetchall():
        pass
    assert found(db) == ((balance, held) if commits else (100, 60))

    again = connect()
    assert attempt(again, call).word == ("replayed" if commits else "ok")
    after = journal(db)
    assert attempt(again, call).word == "replayed"
    assert journal(db) == after
    assert found(db) == (balance, held)
    assert unsound(db) == []
