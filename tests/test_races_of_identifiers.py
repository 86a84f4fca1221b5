"""Who is who under several connections at once: a newcomer is one account, a name is one's."""

from typing import LiteralString

import pytest

from tests.races import ROUNDS, for_each_account, unsound, words, wrong_rounds
from tests.sessions import (
    LEVELS,
    SNAPSHOT_LEVELS,
    Call,
    Connect,
    Connection,
    Outcome,
    Session,
    begin,
    stepped,
)
from tests.support import ask, ask_all, in_order, value

RESOLVE: LiteralString = "select * from pgledger.resolve_account(%s, open => true)"
RESOLVE_AS: LiteralString = (
    "select * from pgledger.resolve_account(%s, open => true, account_id => %s)"
)
LINK: LiteralString = "select * from pgledger.link_identifier(%s, %s)"
MOVE: LiteralString = "select * from pgledger.link_identifier(%s, %s, move => true)"
UNLINK: LiteralString = "select pgledger.unlink_identifier(%s) as was_linked"
BY_THE_WAY: LiteralString = "select pgledger._link('CUSTOMER', %s, %s) as owner"


def accounts(db: Connection) -> list[str]:
    found = db.execute("select account_id from pgledger.accounts order by 1")
    return [row["account_id"] for row in found]


def traces(db: Connection) -> list[str]:
    """Balance rows of accounts that nobody opened."""
    found = db.execute(
        "select account_id from pgledger.balances b where not exists ("
        " select from pgledger.accounts a where a.account_id = b.account_id)"
    )
    return [row["account_id"] for row in found]


def owner(db: Connection, identifier: str) -> str:
    account_id = ask(db, "resolve_account", identifier=identifier)["account_id"]
    assert isinstance(account_id, str)
    return account_id


def audited(db: Connection) -> list[tuple[str, dict[str, str]]]:
    found = db.execute("select account_id, arguments from pgledger.audit_log order by created_at")
    return [
        (
            row["account_id"],
            {name: is_ for name, is_ in row["arguments"].items() if name.startswith("moved")},
        )
        for row in found
    ]


@pytest.mark.parametrize("named", ["nothing", "the same", "others"])
def test_a_newcomer_from_four_connections_is_one_account(
    connect: Connect, db: Connection, named: str
) -> None:
    def calls(number: int) -> list[Call]:
        identifier = f"r{number}@example.com"
        if named == "nothing":
            return [(RESOLVE, [identifier])] * 4
        return [
            (RESOLVE_AS, [identifier, f"r{number}-{n if named == 'others' else 0}"])
            for n in range(4)
        ]

    def is_one(_: int, round_: list[Outcome]) -> bool:
        rows = [outcome.row for outcome in round_]
        return (
            len({row["account_id"] for row in rows}) == 1
            and [row["opened"] for row in rows].count(True) == 1
        )

    assert wrong_rounds(connect, calls, is_one) == []
    assert len(accounts(db)) == ROUNDS
    assert traces(db) == []
    assert unsound(db) == []


def test_links_from_four_connections_have_one_owner(connect: Connect, db: Connection) -> None:
    for_each_account(db, 4, "pgledger.open_account(account)")

    def calls(number: int) -> list[Call]:
        return [(LINK, [f"r{n}", f"cus_{number}"]) for n in range(4)]

    expected = {"ok": 1, "LG002": 3}
    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == expected) == []
    assert len(audited(db)) == ROUNDS


def test_moves_from_four_connections_all_move_it_and_are_all_audited(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, 5, "pgledger.open_account(account)")
    for number in range(ROUNDS):
        ask(db, "link_identifier", account_id="r4", identifier=f"cus_{number}")

    def calls(number: int) -> list[Call]:
        return [(MOVE, [f"r{n}", f"cus_{number}"]) for n in range(4)]

    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == {"ok": 4}) == []
    # From one to the next: each owner but the last was left exactly once.
    for number in range(ROUNDS):
        steps = db.execute(
            "select arguments ->> 'moved_from' as was, account_id as is_ from pgledger.audit_log"
            " where arguments ->> 'identifier' = %s and arguments ? 'moved_from'",
            [f"cus_{number}"],
        ).fetchall()
        path = {row["was"]: row["is_"] for row in steps}
        at, seen = "r4", 0
        while at in path:
            at, seen = path.pop(at), seen + 1
        assert (at, seen, path) == (owner(db, f"cus_{number}"), 4, {})


@pytest.fixture
def three(db: Connection) -> Connection:
    """Accounts a, b and c."""
    for account_id in ("a", "b", "c"):
        ask(db, "open_account", account_id=account_id)
    return db


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_link_waits_for_another_of_the_same(
    connect: Connect, three: Connection, ending: LiteralString
) -> None:
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(LINK, "a", "cus_1")
        assert second.start(LINK, "b", "cus_1")
        first.run(ending)
        outcome = second.finish()
    assert outcome.word == {"commit": "LG002", "rollback": "ok"}[ending]
    assert owner(three, "cus_1") == {"commit": "a", "rollback": "b"}[ending]


def test_a_move_takes_it_from_whoever_has_it_by_then(connect: Connect, three: Connection) -> None:
    ask(three, "link_identifier", account_id="a", identifier="cus_1")
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(MOVE, "b", "cus_1")
        assert second.start(MOVE, "c", "cus_1")
        first.run("commit")
        assert second.finish().row["account_id"] == "c"
    assert owner(three, "cus_1") == "c"
    assert audited(three)[-2:] == [("c", {"moved_from": "b"}), ("b", {"moved_to": "c"})]


def test_what_was_moved_away_meanwhile_is_not_linked(connect: Connect, three: Connection) -> None:
    ask(three, "link_identifier", account_id="a", identifier="cus_1")
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(MOVE, "b", "cus_1")
        assert second.start(LINK, "a", "cus_1")
        first.run("commit")
        assert second.finish().sqlstate == "LG002"


@pytest.mark.parametrize("call", [LINK, MOVE])
def test_what_is_unlinked_meanwhile_is_linked_anew(
    connect: Connect, three: Connection, call: LiteralString
) -> None:
    ask(three, "link_identifier", account_id="a", identifier="cus_1")
    with stepped(connect) as (first, second):
        first.run("begin")
        assert first.run(UNLINK, "cus_1").row["was_linked"]
        assert second.start(call, "b", "cus_1")
        first.run("commit")
        assert second.finish().row["account_id"] == "b"
    assert audited(three)[-1] == ("b", {})


def test_an_unlink_is_of_whoever_has_it_by_then(connect: Connect, three: Connection) -> None:
    ask(three, "link_identifier", account_id="a", identifier="cus_1")
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(MOVE, "b", "cus_1")
        assert second.start(UNLINK, "cus_1")
        first.run("commit")
        assert second.finish().row["was_linked"]
    assert ask_all(three, "list_identifiers", account_id="b") == []
    assert audited(three)[-1] == ("b", {})


def test_of_two_unlinks_one_was(connect: Connect, three: Connection) -> None:
    ask(three, "link_identifier", account_id="a", identifier="cus_1")
    with stepped(connect) as (first, second):
        first.run("begin")
        assert first.run(UNLINK, "cus_1").row["was_linked"]
        assert second.start(UNLINK, "cus_1")
        first.run("commit")
        assert not second.finish().row["was_linked"]
    assert len(audited(three)) == 2


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_what_is_linked_by_the_way_waits_for_whoever_links_it(
    connect: Connect, ending: LiteralString
) -> None:
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(LINK, "a", "cus_1")
        assert second.start(BY_THE_WAY, "cus_1", "b")
        first.run(ending)
        assert second.finish().row["owner"] == {"commit": "a", "rollback": "b"}[ending]


def test_what_somebody_has_is_linked_by_the_way_without_a_wait(
    connect: Connect, three: Connection
) -> None:
    ask(three, "link_identifier", account_id="a", identifier="cus_1")
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run("select from pgledger.account_identifiers for update")
        assert second.run(BY_THE_WAY, "cus_1", "a").row["owner"] == "a"
        assert second.run(RESOLVE, "cus_1").row["account_id"] == "a"


@pytest.mark.parametrize("ending", ["commit", "rollback"])
@pytest.mark.parametrize("account_id", ["a", "b"])
def test_a_newcomer_waits_for_whoever_opens_its_account(
    connect: Connect, db: Connection, account_id: str, ending: LiteralString
) -> None:
    with stepped(connect) as (first, second):
        first.run("begin")
        assert first.run(RESOLVE_AS, "42", "a").row["opened"]
        assert second.start(RESOLVE_AS, "42", account_id)
        first.run(ending)
        row = second.finish().row
    if ending == "commit":
        assert (row["account_id"], row["opened"]) == ("a", False)
    else:
        assert (row["account_id"], row["opened"]) == (account_id, True)
    assert accounts(db) == [row["account_id"]]
    assert traces(db) == []
    assert in_order(db)


def test_a_credit_that_opens_the_account_meanwhile_is_kept(
    connect: Connect, db: Connection
) -> None:
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run("select pgledger.grant_credits('a', 5)")
        assert second.start(RESOLVE_AS, "42", "a")
        first.run("commit")
        row = second.finish().row
    assert (row["account_id"], row["opened"]) == ("a", False)
    assert value(db, "get_credits", account_id="a") == 5
    assert in_order(db)


def test_the_balance_row_is_locked_before_the_identifier(
    connect: Connect, three: Connection
) -> None:
    # Whoever holds the balance row links under it: the other order would be a deadlock.
    for call, arguments in ((RESOLVE_AS, ("cus_1", "a")), (LINK, ("a", "cus_1"))):
        with stepped(connect) as (first, second):
            first.run("begin")
            first.run("select pgledger.grant_credits('a', 5)")
            assert second.start(call, *arguments)
            assert first.run(BY_THE_WAY, "cus_1", "a").row["owner"] == "a"
            first.run("commit")
            assert second.finish().row["account_id"] == "a"
        value(three, "unlink_identifier", identifier="cus_1")


@pytest.mark.parametrize("level", SNAPSHOT_LEVELS)
@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (RESOLVE, ["cus_1"]),
        (RESOLVE_AS, ["cus_1", "d"]),
        (LINK, ["b", "cus_1"]),
        (MOVE, ["b", "cus_1"]),
    ],
)
def test_a_snapshot_that_does_not_see_the_link_is_run_again(
    connect: Connect,
    three: Connection,
    level: LiteralString,
    call: LiteralString,
    arguments: list[str],
) -> None:
    with stepped(connect) as (first, second):
        begin(second, level)
        first.run(LINK, "a", "cus_1")
        assert second.run(call, *arguments).sqlstate == "40001"
        second.run("rollback")
    assert owner(three, "cus_1") == "a"


@pytest.mark.parametrize("level", LEVELS)
def test_at_any_level_a_newcomer_is_one_account(
    connect: Connect, db: Connection, level: LiteralString
) -> None:
    def resolve(session: Session) -> str:
        row = session.run(RESOLVE, "42").row
        return str(row["account_id"])

    with stepped(connect) as (first, second):
        begin(first, level)
        begin(second, level)
        account_id = resolve(first)
        assert second.start(RESOLVE, "42")
        first.run("commit")
        outcome = second.finish()
        if level == "read committed":
            assert outcome.row["account_id"] == account_id
        else:
            assert outcome.sqlstate == "40001"
        second.run("rollback")
        assert resolve(second) == account_id
    assert accounts(db) == [account_id]
    assert in_order(db)
