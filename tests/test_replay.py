"""Usage events from a file: each charged once, as one careful clerk would, whatever happens."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from pgledger import replay as replaying
from pgledger.records import Shortfall
from pgledger.replay import Event, Problem, ReplayError, Summary, UsageFile, parse_amount

Row = tuple[str, int]
Charge = Callable[..., Summary]


@pytest.fixture
def charge(database_url: str) -> Charge:
    def charge(content: bytes, **options: Any) -> Summary:  # noqa: ANN401 - replay's own
        summary = Summary()
        columns = {name: options.pop(name, None) for name in ("names", "code", "quantities")}
        replaying.replay(
            UsageFile(io.BytesIO(content), **columns),
            lambda: psycopg.connect(database_url, autocommit=True),
            summary,
            **options,
        )
        return summary

    return charge


@pytest.fixture
def funded(db: psycopg.Connection[DictRow]) -> Callable[..., None]:
    def top_up(**accounts: int) -> None:
        for account, amount in accounts.items():
            db.execute("select pgledger.top_up(%s, %s)", [account, amount])

    return top_up


def charged_keys(db: psycopg.Connection[DictRow], account: str) -> list[str]:
    """The keys of an account's spends, in the order in which they were charged."""
    rows = db.execute(
        "select key from pgledger.transactions where account_id = %s and type = 'USAGE'"
        " order by seq",
        [account],
    )
    return [row["key"] for row in rows]


def used(db: psycopg.Connection[DictRow]) -> dict[str, int]:
    rows = db.execute(
        "select account_id, -sum(amount)::bigint as used from pgledger.transactions"
        " where type = 'USAGE' group by account_id"
    )
    return {row["account_id"]: row["used"] for row in rows}


def sequentially(rows: Sequence[Row], limit: int, shortfall: Shortfall = "REFUSE") -> Counter[str]:
    """What each account may use in all: the rows one after the other, in plain Python."""
    left: dict[str, int] = {}
    total: Counter[str] = Counter()
    for account, amount in rows:
        there = left.setdefault(account, limit)
        taken = amount if amount <= there else there if shortfall == "PARTIAL" else 0
        left[account] -= taken
        total[account] += taken
    return total


def some_rows(count: int, accounts: int, seed: int) -> list[Row]:
    dice = random.Random(seed)  # noqa: S311
    return [(f"user-{dice.randrange(accounts)}", dice.randint(1, 30)) for _ in range(count)]


def as_csv(rows: Sequence[Row]) -> bytes:
    lines = [f"{account},{amount},req-{n}" for n, (account, amount) in enumerate(rows)]
    return "\n".join(["account,amount,key", *lines, ""]).encode()


def read(content: bytes, **names: str) -> list[Event | Problem]:
    return list(UsageFile(io.BytesIO(content), names).rows())


def problem(row: bytes) -> str:
    """The words for a bad row that stands on line 2, with a good one after it."""
    bad, good = read(b"account,amount,key\n" + row + b"\nu1,1,k1\n")
    assert isinstance(bad, Problem)
    assert bad.line == 2
    assert isinstance(good, Event)
    return bad.reason


# Reading


def test_a_row_is_an_event_and_what_has_no_place_of_its_own_is_metadata() -> None:
    (event,) = read(b"when,account,amount,key,reference,model\n2026,u1,5,k1,chat-1,small\n")
    assert event == Event(2, "u1", 5, "k1", "chat-1", {"when": "2026", "model": "small"})


def test_columns_may_have_other_names() -> None:
    (event,) = read(b"user,credits,request_id\nu1,5,k1\n", account="user", amount="credits",
                    key="request_id", reference="request_id")  # fmt: skip
    assert event == Event(2, "u1", 5, "k1", "k1", None)


def test_files_come_with_a_mark_with_carriage_returns_with_quotes_and_with_blank_lines() -> None:
    content = '\ufeffaccount,amount,key,note\r\n\r\n"u, ""1""", 5 ,k1,"two\r\nlines"\r\nü,6,k2,\r\n'
    assert read(content.encode()) == [
        Event(3, 'u, "1"', 5, "k1", None, {"note": "two\r\nlines"}),
        Event(5, "ü", 6, "k2", None, {"note": ""}),
    ]


def test_a_column_without_a_name_is_known_by_its_place() -> None:
    (event,) = read(b",account,amount,key\n0,u1,5,k1\n")
    assert isinstance(event, Event)
    assert event.metadata == {"column_1": "0"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("0", "not positive"),
        ("000", "not positive"),
        ("-3", "not positive"),
        ("+3", "not a whole number"),
        ("12.5", "not a whole number"),
        ("5.0", "not a whole number"),
        ("1e3", "not a whole number"),
        ("1_000", "not a whole number"),
        ("abc", "not a whole number"),
        ("٣", "not a whole number"),
        ("NaN", "not a whole number"),
        ("9223372036854775808", "more than a bigint"),
        ("9" * 5000, "more than a bigint"),
    ],
)
def test_an_amount_is_a_positive_whole_number_within_bigint(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        parse_amount(text)
    assert len(str(refused.value)) < 120


def test_an_amount_may_be_as_large_as_a_bigint_and_have_leading_zeros() -> None:
    assert parse_amount("9223372036854775807") == 2**63 - 1
    assert parse_amount(" " + "0" * 30 + "7") == 7


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"u1,abc,k", "amount 'abc' is not a whole number of minor units"),
        (b"u1,5", "2 fields, where the header has 3"),
        (b"u1,5,k,x", "4 fields, where the header has 3"),
        (b",5,k", "account is empty"),
        (b"u1,5,", "key is empty"),
        (b"u1,5,#7", "key '#7' begins with #, as only the ledger's own keys do"),
        (b"u1,5,a\tb", r"key 'a\tb' has a control character"),
        (b'"u\n1",5,k', r"account 'u\n1' has a control character"),
        (b"u\x001,5,k", "account has a NUL character"),
        (b"u1,5,\xff\xfe", "key is not UTF-8"),
        (b"u1,5," + b"k" * 256, "longer than 255 characters"),
        (b'u1,5,"k"x', "not CSV: ',' expected after '\"'"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_goes_on(row: bytes, words: str) -> None:
    assert words in problem(row)


def test_a_quote_that_is_never_closed_is_one_bad_row_and_says_how_far_it_reached() -> None:
    (bad,) = read(b'account,amount,key\nu1,5,"k1\nu1,5,k2\n')
    assert bad == Problem(2, "not CSV: unexpected end of data (read up to line 3)")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"user,credits\nu1,5\n", r"no column 'account'; found: user, credits.*--map account="),
        (
            b"account,credits\nu1,5\n",
            r"no column 'amount'; found.*: --map amount=COLUMN, or --quantity UNIT=COLUMN where ",
        ),
        (b"account;amount\nu1;5\n", r"no column 'account'; found: account;amount"),
        (b"account,amount,amount\nu1,5,6\n", "column 'amount' is there twice"),
        ("account,amount\n".encode("utf-16"), "not a CSV header in UTF-8"),
        (b'"account\n', "not a CSV header"),
        (b"account,amount\ru1,5\r", "a carriage return that is neither in quotes nor at the end"),
        (b"\x1f\x8b\x08\x00\x00gzip,\n", "not a CSV header in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ReplayError, match=words):
        UsageFile(io.BytesIO(content))


def test_a_column_that_was_named_must_be_there() -> None:
    with pytest.raises(ReplayError, match="no column 'request'; found: account, amount, key"):
        UsageFile(io.BytesIO(b"account,amount,key\n"), {"key": "request"})


# Charging


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("shortfall", ["REFUSE", "PARTIAL"])
def test_what_runs_short_is_what_one_after_the_other_would_run_short(
    charge: Charge,
    db: psycopg.Connection[DictRow],
    funded: Callable[..., None],
    connections: int,
    shortfall: Shortfall,
) -> None:
    rows = some_rows(5000, accounts=12, seed=connections)
    funded(**{f"user-{n}": 5000 for n in range(12)})
    summary = charge(as_csv(rows), connections=connections, shortfall=shortfall)
    expected = sequentially(rows, 5000, shortfall)
    assert used(db) == expected
    assert summary.rows == 5000
    assert summary.credits == sum(expected.values())
    assert summary.charged + summary.refused["LG001"] == 5000
    assert summary.refused["LG001"] > 0
    assert summary.problems == []
    assert db.execute("select * from pgledger.verify()").fetchall() == []


def test_an_account_is_charged_in_the_order_of_the_file(
    charge: Charge, db: psycopg.Connection[DictRow], funded: Callable[..., None]
) -> None:
    rows = [(f"user-{n % 7}", 1) for n in range(7000)]
    funded(**{f"user-{n}": 1000 for n in range(7)})
    charge(as_csv(rows), connections=4)
    for account in range(7):
        assert charged_keys(db, f"user-{account}") == [f"req-{n}" for n in range(account, 7000, 7)]


def test_a_second_run_charges_nothing_twice(
    charge: Charge, db: psycopg.Connection[DictRow], funded: Callable[..., None]
) -> None:
    rows = some_rows(300, accounts=5, seed=1)
    funded(**{f"user-{n}": 500 for n in range(5)})
    first = charge(as_csv(rows))
    before = used(db)
    second = charge(as_csv(rows), connections=2)
    assert (second.charged, second.credits) == (0, 0)
    assert second.replayed == first.charged
    assert second.refused == first.refused
    assert used(db) == before


def test_bad_rows_and_conflicts_are_named_and_the_rest_goes_on(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow]
) -> None:
    funded(u1=100, u2=100)
    db.execute("select pgledger.set_account_status('u2', 'FROZEN')")
    summary = charge(b"account,amount,key\nu1,5,a\nu1,x,b\nu1,6,a\nu2,1,c\nu1,500,d\nu1,7,e\n")
    assert (summary.rows, summary.charged, summary.credits, summary.bad) == (6, 2, 12, 1)
    assert summary.refused == {"LG001": 1, "LG002": 1, "LG004": 1}
    assert [(p.line, p.sqlstate) for p in summary.problems] == [
        (3, None), (4, "LG002"), (5, "LG004"),
    ]  # fmt: skip


def test_a_row_that_only_the_database_finds_bad_takes_no_other_with_it(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow]
) -> None:
    funded(u1=100)
    dice = random.Random(1)  # noqa: S311
    incompressible = "".join(dice.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=120_000))
    summary = charge(
        f"account,amount,key,note\nu1,5,a,\nu1,6,b,{incompressible}\nu1,7,c,\n".encode()
    )
    assert (summary.charged, summary.credits, summary.bad) == (2, 12, 1)
    assert [(p.line, p.sqlstate) for p in summary.problems] == [(3, "22023")]
    assert charged_keys(db, "u1") == ["a", "c"]


def test_metadata_and_reference_are_kept(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow]
) -> None:
    funded(u1=100)
    charge(b"account,amount,key,reference,tokens\nu1,5,a,chat-1,77\nu1,5,b,,\n")
    rows = db.execute("select reference, metadata from pgledger.history('u1')").fetchall()
    assert rows[:2] == [
        {"reference": None, "metadata": {"tokens": ""}},
        {"reference": "chat-1", "metadata": {"tokens": "77"}},
    ]


def test_problems_are_counted_when_there_are_too_many_to_remember(charge: Charge) -> None:
    summary = charge(b"account,amount,key\n" + b"u1,x,k\n" * 1200)
    assert (summary.bad, summary.problem_count, len(summary.problems)) == (1200, 1200, 1000)
    assert summary.reasons.total() == 1200


def test_a_problem_of_its_own_is_remembered_after_a_thousand_others(charge: Charge) -> None:
    others = b"".join(b"u1,y%d,k\n" % number for number in range(1200))
    summary = charge(b"account,amount,key\n" + b"u1,x,k\n" * 1200 + others)
    assert [problem.line for problem in summary.problems[1000:1002]] == [1202, 1203]
    assert (summary.problem_count, summary.reasons.total(), len(summary.problems)) == (
        *(2400, 2199, 1999),
    )


def test_a_chunk_that_lost_a_deadlock_is_charged_again(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow],
    connect: Callable[..., psycopg.Connection[DictRow]],
) -> None:  # fmt: skip
    funded(a=100, b=100)
    other = connect(autocommit=False)
    other.execute("set deadlock_timeout = '1h'")  # so that it is the replay which finds out
    other.execute("select pgledger.spend('b', 1)")
    done: list[Summary] = []
    replaying_thread = threading.Thread(
        target=lambda: done.append(charge(b"account,amount,key\na,5,k\nb,6,l\n"))
    )
    replaying_thread.start()
    waiting = (
        "select from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 20
    while not db.execute(waiting).fetchall():
        assert time.monotonic() < deadline
    other.execute("select pgledger.spend('a', 1)")
    other.commit()
    replaying_thread.join()
    assert (done[0].charged, done[0].credits) == (2, 11)


# At their price


TOKENS = {"token": "tokens", "page": "pages"}


@pytest.fixture
def priced(db: psycopg.Connection[DictRow]) -> None:
    db.execute("""select pgledger.set_price('small', '{"token": 0.5, "page": 3}')""")
    db.execute("""select pgledger.set_price('large', '{"token": 2}')""")


@pytest.mark.usefixtures("priced")
def test_rows_are_charged_what_they_used_by_the_prices_of_their_code(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow]
) -> None:
    funded(u1=100)
    file = (
        b"account,model,key,tokens,pages,amount\n"
        b"u1,small,a,1.5,1,x\nu1,large,b,4,0,x\nu1,large,c,4,,x\nu1,small,d,0,0,x\n"
    )
    for charged in (4, 0):
        summary = charge(file, names={"code": "model"}, quantities=TOKENS)
        assert (summary.charged, summary.bad, summary.refused) == (charged, 0, {})
        assert summary.credits == (20 if charged else 0)
    rows = db.execute("select amount, usage, metadata from pgledger.history('u1')").fetchall()
    assert [row["amount"] for row in rows] == [0, -8, -8, -4, 100]
    assert rows[0]["metadata"] == {"amount": "x"}
    assert rows[1]["usage"]["breakdown"].keys() == {"token"}
    assert db.execute("select * from pgledger.verify()").fetchall() == []


@pytest.mark.usefixtures("priced")
def test_one_code_may_be_said_for_all_rows(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow]
) -> None:
    funded(u1=100)
    file = b"account,key,tokens,code\nu1,a,10,17\nu1,b,11,18\n"
    assert charge(file, code="small", quantities={"token": "tokens"}, strict=True).credits == 11
    (row,) = db.execute("select metadata from pgledger.history('u1', 1)").fetchall()
    assert row["metadata"] == {"code": "18"}


@pytest.mark.usefixtures("priced")
def test_rows_that_cannot_be_priced_are_named_and_the_rest_goes_on(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow]
) -> None:
    funded(u1=100)
    rows = [
        "u1,small,a,1,",
        "u1,tiny,b,1,",
        "u1,large,c,1,1",
        "u1,small,d,-1,",
        "u1,small,e,,",
        "u1,,f,1,",
        "u1,small,g,900,",
        "u1,small,a,2,",
        "u1,small,h,1e39,",
        "u1,small,i,2,",
    ]
    content = "\n".join(["account,code,key,tokens,pages", *rows, ""]).encode()
    summary = charge(content, quantities=TOKENS)
    assert (summary.charged, summary.credits, summary.bad) == (2, 2, 4)
    assert summary.refused == {"LG001": 1, "LG002": 1, "LG011": 2}
    assert [(p.line, p.reason.split(":")[0], p.sqlstate) for p in summary.problems] == [
        (3, "price not found", "LG011"),
        (4, "price not found", "LG011"),
        (5, "token '-1' is not a number of 0 or more", None),
        (6, "quantities are empty", None),
        (7, "code is empty", None),
        (9, "idempotency conflict", "LG002"),
        (10, "cost out of range", "22003"),
    ]
    assert [p.reason for p in summary.problems if p.sqlstate == "LG011"] == [
        "price not found: tiny",
        "price not found: large has no page; it has token",
    ]
    assert charged_keys(db, "u1") == ["a", "i"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no column 'pages'; found: account, tokens.*: --quantity page=COLUMN$"),
        (
            {"code": None, "quantities": {"token": "tokens"}},
            "no column 'code'.*--map code=COLUMN, or --usage CODE",
        ),
        ({"names": {"amount": "tokens"}}, "--map amount: there is no use"),
        ({"names": {"code": "tokens"}}, "--map code: there is no use"),
        ({"names": {"code": "tokens"}, "code": None, "quantities": None}, "--map code: there is"),
    ],
)
def test_a_priced_file_needs_the_columns_of_its_quantities_and_no_amount(
    options: dict[str, Any], words: str
) -> None:
    given: dict[str, Any] = {"code": "small", "quantities": TOKENS} | options
    with pytest.raises(ReplayError, match=words):
        UsageFile(io.BytesIO(b"account,tokens\nu1,5\n"), **given)


# Without keys


KEYLESS = b"account,amount\nu1,5\nu1,5\nu1,6\n"


def test_without_keys_the_same_file_is_charged_once(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow]
) -> None:
    funded(u1=100)
    assert charge(KEYLESS).credits == 16
    assert charge(KEYLESS).replayed == 3
    assert used(db) == {"u1": 16}
    assert [key.split(":")[1] for key in charged_keys(db, "u1")] == ["2", "3", "4"]


def test_without_keys_another_file_is_charged_anew(
    charge: Charge, funded: Callable[..., None]
) -> None:
    funded(u1=100)
    charge(KEYLESS)
    assert charge(KEYLESS + b"u1,7\n").charged == 4


def test_without_keys_a_file_with_a_bad_row_is_not_charged_because_mending_it_would_double_it(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow]
) -> None:
    funded(u1=100)
    with pytest.raises(ReplayError, match="nothing was charged"):
        charge(KEYLESS + b"u1,x\n")
    assert used(db) == {}


# All or nothing


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"u1,x,k9\n", id="a bad row"),
        pytest.param(b"u1,2000,k9\n", id="insufficient credits"),
        pytest.param(b"u1,6,k1\n", id="a conflict"),
        pytest.param(b"u1,6,k9," + os.urandom(80_000).hex().encode() + b"\n", id="the database"),
    ],
)
def test_strict_charges_nothing_when_one_row_cannot_be_charged(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow], bad: bytes
) -> None:
    funded(u1=1900)
    good = b"".join(b"u1,1,k%d,\n" % n for n in range(1250))
    if bad.count(b",") == 2:
        bad = bad.replace(b"\n", b",\n")
    summary = charge(b"account,amount,key,note\n" + good + bad + b"u1,1,last,\n", strict=True)
    assert summary.rolled_back
    assert (summary.rows, summary.charged, summary.credits) == (1252, 0, 0)
    assert [p.line for p in summary.problems] == [1252]
    assert used(db) == {}


def test_strict_charges_everything_when_every_row_can_be_charged(
    charge: Charge, funded: Callable[..., None], db: psycopg.Connection[DictRow]
) -> None:
    funded(**{f"user-{n}": 10_000 for n in range(5)})
    rows = some_rows(500, accounts=5, seed=3)
    summary = charge(as_csv(rows), strict=True)
    assert (summary.rows, summary.charged, summary.rolled_back) == (500, 500, False)
    assert used(db) == sequentially(rows, 10_000)
    assert charge(as_csv(rows), strict=True).replayed == 500


# As a program


def replay_process(database_url: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
    return subprocess.Popen(
        [sys.executable, "-m", "pgledger", "replay", *arguments],
        env={
            **os.environ,
            "PGLEDGER_DATABASE_URL": database_url,
            "PYTHONPATH": str(Path(replaying.__file__).parents[1]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def wait_for_spends(
    db: psycopg.Connection[DictRow], process: subprocess.Popen[bytes], count: int
) -> None:
    query = "select count(*) as spends from pgledger.transactions where type = 'USAGE'"
    while (row := db.execute(query).fetchone()) and row["spends"] < count:
        assert process.poll() is None, "it was over before it could be killed"
        time.sleep(0.001)


def test_killed_at_any_moment_and_run_again_it_ends_as_if_nothing_had_happened(
    database_url: str,
    db: psycopg.Connection[DictRow],
    funded: Callable[..., None],
    tmp_path: Path,
) -> None:
    rows = some_rows(30_000, accounts=40, seed=5)
    expected = sequentially(rows, 10_000)
    funded(**{f"user-{n}": 10_000 for n in range(40)})
    file = tmp_path / "usage.csv"
    file.write_bytes(as_csv(rows))
    arguments = [str(file), "--connections", "4", "--json"]

    for count in sorted(random.sample(range(1, 16_000), 4)):
        with replay_process(database_url, *arguments) as process:
            wait_for_spends(db, process, count)
            process.kill()
        assert process.returncode == -signal.SIGKILL
    before = sum(used(db).values())
    with replay_process(database_url, *arguments) as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")

    summary = json.loads(output)
    assert 0 < before < sum(expected.values())
    assert before + summary["credits"] == sum(expected.values())
    assert summary["charged"] + summary["replayed"] + summary["refused"]["LG001"] == 30_000
    assert used(db) == expected
    assert any(sum(a for u, a in rows if u == user) > total for user, total in expected.items())
    twice = "select from pgledger.transactions group by account_id, key having count(key) > 1"
    assert db.execute(twice).fetchall() == []
    assert db.execute("select * from pgledger.verify()").fetchall() == []


def test_interrupted_it_says_so_and_how_to_go_on(
    database_url: str,
    db: psycopg.Connection[DictRow],
    funded: Callable[..., None],
    tmp_path: Path,
) -> None:
    funded(u1=1_000_000)
    file = tmp_path / "usage.csv"
    file.write_bytes(as_csv([("u1", 1)] * 20_000))
    with replay_process(database_url, str(file)) as process:
        wait_for_spends(db, process, 200)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert process.returncode == 130
    assert output == b""
    assert b"rows were charged; run it again for the rest" in errors
    assert b"error: interrupted" in errors
    assert b"Traceback" not in errors


@pytest.mark.parametrize("header", [b"account,amount,key", b"account,amount,other"])
def test_stdin_may_be_a_pipe_even_where_it_is_read_twice(
    database_url: str, db: psycopg.Connection[DictRow], funded: Callable[..., None], header: bytes
) -> None:
    funded(u1=1000)
    lines = b"".join(b"u1,1,k%d\n" % n for n in range(500))
    for charged in (500, 0):
        with replay_process(database_url, "-", "--json", stdin=subprocess.PIPE) as process:
            output, errors = process.communicate(header + b"\n" + lines)
        assert errors == b""
        assert json.loads(output)["charged"] == charged
    assert used(db) == {"u1": 500}
