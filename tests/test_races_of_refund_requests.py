"""Refund requests under several connections at once: one open, one decision, money once.

As in test_concurrency: rounds that came out wrong are counted, and there are none.
"""

from typing import LiteralString

import pytest

from tests.races import ROUNDS, balances, for_each_account, unsound, words, wrong_rounds
from tests.refunds import approved, available, paid_top_up, request, the_request
from tests.sessions import Call, Connect, Connection, Outcome, stepped
from tests.support import Ledger, ask_all

REQUEST: LiteralString = "select * from pgledger.request_refund(%s, 'paid', key => %s)"
REQUEST_UNSPENT: LiteralString = (
    "select * from pgledger.request_refund(%s, 'paid', key => 'r', tolerance => 0)"
)
APPROVE: LiteralString = "select * from pgledger.approve_refund(%s, 'r')"
REJECT: LiteralString = "select * from pgledger.reject_refund(%s, 'r')"
SPEND: LiteralString = "select * from pgledger.spend(%s, %s)"
CLAIM: LiteralString = "select * from pgledger.claim_refunds(1)"
REFUSE: LiteralString = "select * from pgledger.settle_refund_request(%s, 'r', result => 'no')"
REFUNDED: LiteralString = (
    "select * from pgledger.record_payment_refund('stripe', 're_' || %s, 'pi_' || %s, %s,"
    " 'SUCCEEDED', %s)"
)
PAY: LiteralString = """
insert into pgledger.payments (provider, payment_id, account_id, key, amount, paid,
  paid_currency, status, seq, created_at, updated_at)
select 'stripe', t.external_id, t.account_id, t.key, t.amount, 1000, 'usd', 'SUCCEEDED', t.seq,
  now(), now()
from pgledger.transactions t
"""


@pytest.fixture
def bought(db: Connection) -> Connection:
    """An account for each round that bought 100 credits for 1000 cents."""
    for_each_account(
        db, ROUNDS, "pgledger.top_up(account, 100, 'paid', external_id => 'pi_' || account)"
    )
    db.execute(PAY)
    return db


@pytest.fixture
def asked(bought: Connection) -> Connection:
    """Those accounts, each with an open request r for all of it."""
    for_each_account(bought, ROUNDS, "pgledger.request_refund(account, 'paid', key => 'r')")
    return bought


def statuses(db: Connection) -> dict[str, str]:
    found = db.execute("select account_id, status::text from pgledger.refund_requests").fetchall()
    assert len(found) == ROUNDS
    return {row["account_id"]: row["status"] for row in found}


def test_of_four_requests_for_one_top_up_one_is_open(connect: Connect, bought: Connection) -> None:
    def calls(number: int) -> list[Call]:
        return [(REQUEST, [f"r{number}", f"key {place}"]) for place in range(4)]

    expected = {"ok": 1, "LG002": 3}
    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == expected) == []
    assert set(statuses(bought).values()) == {"PENDING"}
    assert unsound(bought) == []


def test_four_repeats_are_one_request(connect: Connect, bought: Connection) -> None:
    def calls(number: int) -> list[Call]:
        return [(REQUEST, [f"r{number}", "r"])] * 4

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return all(outcome.row == round_[0].row for outcome in round_)

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(statuses(bought).values()) == {"PENDING"}


def test_four_approvals_take_once(connect: Connect, asked: Connection) -> None:
    def calls(number: int) -> list[Call]:
        return [(APPROVE, [f"r{number}"])] * 4

    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == {"ok": 4}) == []
    assert set(statuses(asked).values()) == {"APPROVED"}
    assert set(balances(asked).values()) == {0}
    assert len(ask_all(asked, "list_audit", act="approve_refund", limit_count=1000)) == ROUNDS
    assert unsound(asked) == []


def test_an_approval_against_a_rejection_is_one_of_them(
    connect: Connect, asked: Connection
) -> None:
    def calls(number: int) -> list[Call]:
        account = f"r{number}"
        return [
            (APPROVE, [account]),
            (APPROVE, [account]),
            (REJECT, [account]),
            (REJECT, [account]),
        ]

    expected = {"ok": 2, "LG007": 2}
    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == expected) == []
    left = balances(asked)
    assert {
        account: 0 if status == "APPROVED" else 100 for account, status in statuses(asked).items()
    } == left
    assert unsound(asked) == []


def test_an_approval_beside_spends_takes_all_of_it(connect: Connect, asked: Connection) -> None:
    def calls(number: int) -> list[Call]:
        account = f"r{number}"
        return [(APPROVE, [account]), *[(SPEND, [account, 60])] * 3]

    def is_right(_: int, round_: list[Outcome]) -> bool:
        told = [outcome.word for outcome in round_]
        return told[0] == "ok" and told[1:].count("ok") <= 1 and set(told) <= {"ok", "LG001"}

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(statuses(asked).values()) == {"APPROVED"}
    assert set(balances(asked).values()) <= {0, -60}
    assert unsound(asked) == []


def test_what_is_approved_at_once_was_unspent(connect: Connect, bought: Connection) -> None:
    def calls(number: int) -> list[Call]:
        account = f"r{number}"
        return [(REQUEST_UNSPENT, [account]), (SPEND, [account, 1])]

    def is_right(_: int, round_: list[Outcome]) -> bool:
        status = round_[0].row["status"]
        return (status, round_[1].word) in {("APPROVED", "LG001"), ("PENDING", "ok")}

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(bought).values()) <= {0, 99}
    assert unsound(bought) == []


def test_an_approval_beside_refunds_at_the_provider_never_takes_more_than_was_paid(
    connect: Connect, asked: Connection
) -> None:
    def calls(number: int) -> list[Call]:
        account = f"r{number}"
        refunds = [(REFUNDED, [f"{n}{account}", account, 300, None]) for n in range(2)]
        return [(APPROVE, [account]), (APPROVE, [account]), *refunds]

    # Whoever comes first: after a refund there is less left than was asked for.
    outcomes = wrong_rounds(
        connect,
        calls,
        lambda _, round_: words(round_) in ({"ok": 4}, {"ok": 2, "LG009": 2}),
    )
    assert outcomes == []
    left = balances(asked)
    assert {
        account: 0 if status == "APPROVED" else 40 for account, status in statuses(asked).items()
    } == left
    assert unsound(asked) == []


def test_a_refusal_beside_the_refund_that_was_made_after_all_ends_as_it_was_made(
    connect: Connect, asked: Connection
) -> None:
    for_each_account(asked, ROUNDS, "pgledger.approve_refund(account, 'r')")

    def calls(number: int) -> list[Call]:
        account = f"r{number}"
        return [(REFUSE, [account]), (REFUNDED, [account, account, 1000, "r"])]

    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == {"ok": 2}) == []
    assert set(balances(asked).values()) == {0}
    found = asked.execute("select distinct result from pgledger.refund_requests").fetchall()
    assert [row["result"] for row in found] == ["SUCCEEDED"]
    assert unsound(asked) == []


def test_each_refund_is_claimed_by_one(connect: Connect, asked: Connection) -> None:
    for_each_account(asked, ROUNDS, "pgledger.approve_refund(account, 'r')")
    claimed: list[str] = []

    def calls(_: int) -> list[Call]:
        return [(CLAIM, [])] * 4

    def is_right(number: int, round_: list[Outcome]) -> bool:
        claimed.extend(row["account_id"] for outcome in round_ for row in outcome.rows)
        # One that meets what another is just taking may go without; the rest is claimed later.
        return {outcome.sqlstate for outcome in round_} == {None} and number < ROUNDS

    assert wrong_rounds(connect, calls, is_right) == []
    assert len(claimed) == len(set(claimed)) == ROUNDS


# Scripts


@pytest.fixture
def one(db: Ledger) -> Ledger:
    """An account a that bought 100 credits for 1000 cents, and asks for the money under r."""
    paid_top_up(db)
    request(db, key="r")
    return db


def test_an_approval_waits_for_the_payment_before_it_locks_the_balance(
    connect: Connect, one: Ledger
) -> None:
    with stepped(connect, 3) as (provider, clerk, user):
        provider.run("begin")
        provider.run("select from pgledger.payments for update")
        assert clerk.start(APPROVE, "a")
        # What the refund does next; and nobody's movements wait for the clerk.
        assert user.run(SPEND, "a", 1).word == "ok"
        assert provider.run(REFUNDED, "1", "1", 500, None).word == "ok"
        provider.run("commit")
        assert clerk.finish().sqlstate == "LG009"
    assert the_request(one)["status"] == "PENDING"
    assert available(one) == 49


@pytest.mark.parametrize("tolerance", ["0", "null"])
def test_a_request_waits_for_the_payment_only_where_it_may_be_approved_at_once(
    connect: Connect, db: Ledger, tolerance: LiteralString
) -> None:
    paid_top_up(db)
    ask: LiteralString = (
        "select * from pgledger.request_refund('a', 'paid', tolerance => " + tolerance + ")"
    )
    with stepped(connect, 3) as (provider, payer, user):
        provider.run("begin")
        provider.run("select from pgledger.payments for update")
        assert payer.start(ask) is (tolerance == "0")
        assert user.run(SPEND, "a", 1).word == "ok"
        provider.run("commit")
        assert payer.finish().row["status"] == "PENDING"


def test_a_decision_waits_for_the_one_in_flight_and_sees_it(connect: Connect, one: Ledger) -> None:
    # With no payment to wait for, the balance is what keeps them apart.
    one.execute("delete from pgledger.payments")
    with stepped(connect) as (first, second):
        first.run("begin")
        assert first.run(REJECT, "a").word == "ok"
        assert second.start(APPROVE, "a")
        first.run("commit")
        assert second.finish().sqlstate == "LG007"
    assert available(one) == 100


def test_a_claim_waits_for_nobody(connect: Connect, db: Ledger) -> None:
    paid_top_up(db)
    approved(db, "r")
    with stepped(connect, 3) as (user, first, second):
        user.run("begin")
        user.run("select from pgledger.payments for update")
        user.run("select * from pgledger.top_up('a', 1)")
        first.run("begin")
        assert len(first.run(CLAIM).rows) == 1
        assert second.run(CLAIM).rows == []
        first.run("rollback")
        assert len(second.run(CLAIM).rows) == 1


def test_a_claim_holds_nobodys_movements_up(connect: Connect, db: Ledger) -> None:
    paid_top_up(db, amount=100)
    approved(db, "r", amount=40)
    with stepped(connect) as (worker, user):
        worker.run("begin")
        worker.run(CLAIM)
        assert user.run(SPEND, "a", 60).word == "ok"
