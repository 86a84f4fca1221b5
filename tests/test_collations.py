"""The collation of an argument, which a column gives it, changes nothing and slows nothing down.

Inside a PL/pgSQL function what is compared to a parameter is compared in the collation of the
caller's argument. In one that takes two texts for one, a call would find another account's rows;
in any but the database's own, no index would be used.
"""

import re
from contextlib import suppress
from datetime import datetime

import psycopg
import pytest

from tests.plans import plan
from tests.prices import set_price
from tests.support import Ledger, ask

# Where the collation goes stands {c}; no account is called A, and nothing by a capital name.
CALLS: list[str] = [
    "spend('A' {c}, 1)",
    "spend('A' {c}, 1, shortfall => 'PARTIAL', key => 'K')",
    "spend_usage('A' {c}, 'm', '{{\"in\": 1}}')",
    "hold('A' {c}, 1)",
    "hold('A' {c}, 1, key => 'K')",
    "hold_usage('A' {c}, 'm', '{{\"in\": 1}}')",
    "capture('A' {c}, 'hold')",
    "capture('a', 'HOLD' {c})",
    "capture_usage('A' {c}, 'usage', '{{\"in\": 1}}')",
    "capture_usage('a', 'USAGE' {c}, '{{\"in\": 1}}')",
    "release('A' {c}, 'hold')",
    "cancel_transaction('a', 'HOLD' {c})",
    "enable_transaction('A' {c}, 'hold')",
    "refund('A' {c}, 'paid')",
    "refund('a', 'PAID' {c})",
    "reverse_transaction('a', 'GIVEN' {c})",
    "revoke_lot('a', 'GIVEN' {c})",
    "transfer('A' {c}, 'b', 1)",
    "add_transaction('A' {c}, -1, 'USAGE')",
    "set_account_status('A' {c}, 'FROZEN')",
    "set_limits('A' {c}, -1)",
    "set_low_balance_level('A' {c}, 1)",
    "set_spending_cap('A' {c}, 1)",
    "set_auto_top_up('A' {c}, 1, 1)",
    "clear_plan('A' {c})",
    "assign_plan('a', 'PLAN' {c})",
    "price('M' {c}, '{{\"in\": 1}}')",
    "spend_usage('a', 'M' {c}, '{{\"in\": 1}}')",
    "hold_usage('a', 'M' {c}, '{{\"in\": 1}}')",
    "open_account('a', 'credit' {c})",
    "spend('a', 1, key => 'new' {c})",
    "spend('a', 1, reference => 'R' {c})",
    "hold('a', 1, 'new', reference => 'R' {c})",
    "hold_usage('a', 'm', '{{\"in\": 1}}', 'new', reference => 'R' {c})",
    "release('a', 'hold', 'R' {c})",
    "cancel_transaction('a', 'hold', 'R' {c})",
    "refund('a', 'paid', key => 'new', reference => 'R' {c})",
    "transfer('a', 'B' {c}, 1)",
    "transfer('a', 'b', 1, reference => 'R' {c})",
    "revoke_lot('a', 'given', 'R' {c})",
    "check_auto_top_up('a', 'R' {c})",
    "set_spending_cap('a', 1, time_zone => 'utc' {c})",
    "create_plan('PLAN' {c}, 1, '1 day', 'RESET')",
    "ack_events(array['A'] {c}, array[1])",
    "set_price('M' {c}, '{{\"in\": 1}}')",
    "top_up('A' {c}, 1)",
    "grant_credits('A' {c}, 1)",
    "top_up('a', 1, external_id => 'R' {c})",
    (
        "post_batch(array['A', 'a', 'A'] {c}, array[-1, -1, 1],"
        " array['USAGE', 'USAGE', 'GRANT']::pgledger.transaction_type[])"
    ),
    "get_credits('A' {c})",
    "get_balance('A' {c})",
    "check_credits('A' {c}, 1)",
    "get_transaction('A' {c}, 'paid')",
    "get_transaction('a', 'PAID' {c})",
    "history('A' {c})",
    "balance_at('A' {c}, 'tomorrow')",
    "usage_by_reference('A' {c})",
    "lots('A' {c})",
    "expiring('A' {c}, '1 year')",
    "explain_balance('A' {c})",
    "explain_transaction('A' {c}, 'paid')",
    "get_auto_top_up('A' {c})",
    "get_plan('A' {c})",
    "get_spending_cap('A' {c})",
    "list_events('A' {c})",
    "list_audit('A' {c})",
    "request_refund('A' {c}, 'paid')",
    "request_refund('a', 'PAID' {c}, tolerance => 0)",
    "request_refund('a', 'paid', key => 'ASKED' {c})",
    "approve_refund('A' {c}, 'asked')",
    "approve_refund('a', 'ASKED' {c}, actor => 'X' {c})",
    "reject_refund('A' {c}, 'asked')",
    "reject_refund('a', 'ASKED' {c}, actor => 'X' {c})",
    "settle_refund_request('A' {c}, 'asked', 'R' {c})",
    "settle_refund_request('a', 'ASKED' {c}, 'R' {c})",
    "claim_refunds(provider => 'STRIPE' {c})",
    "list_refund_requests(account_id => 'A' {c})",
    "list_prices('M' {c})",
    "verify('A' {c})",
    "check_auto_top_up('A' {c})",
    "resolve_account('CUS_A' {c}, 'CUSTOMER')",
    "resolve_account('A' {c}, 'CUSTOMER')",
    "resolve_account('cus_a' {c})",
    "resolve_account('Ada@Example.com' {c})",
    "resolve_account('cus_b' {c}, open => true, account_id => 'new')",
    "resolve_account('cus_b', open => true, account_id => 'A' {c})",
    "link_identifier('A' {c}, 'cus_b')",
    "link_identifier('a' {c}, 'cus_a')",
    "link_identifier('b' {c}, 'cus_a', move => true, actor => 'me')",
    "link_identifier('b' {c}, 'cus_a')",
    "link_identifier('a', 'cus_b' {c}, actor => 'me' {c})",
    "link_identifier('a', 'CUS_A' {c}, 'CUSTOMER')",
    "unlink_identifier('CUS_A' {c}, 'CUSTOMER')",
    "unlink_identifier('cus_a' {c}, actor => 'me' {c})",
    "list_identifiers('A' {c})",
    "set_top_up_limits('A' {c}, 5)",
    "set_top_up_limits('a' {c}, 5, actor => 'me' {c})",
    "get_top_up_limits('A' {c})",
    "create_top_up('A' {c}, 1, 'new')",
    "create_top_up('a', 1, 'PAID' {c})",
    "create_top_up('a', 1, 'new', price => 1, price_currency => 'usd' {c}, reference => 'R' {c})",
    "create_top_up('a', 1, 'new', price => 1, price_currency => 'USD' {c})",
    "decline_top_up('A' {c}, '#auto-1', 0, 'R' {c})",
    "decline_top_up('a', '#AUTO-1' {c}, 0, 'r')",
    "decline_top_up('a' {c}, '#auto-1' {c}, 0, 'r' {c}, 'p' {c}, 'x' {c})",
    "list_pending_top_ups('A' {c})",
    "list_pending_top_ups('a' {c})",
    "defer_top_up('A' {c}, '#auto-1', 0)",
    "defer_top_up('a', '#AUTO-1' {c}, 0, '1 s', 'r' {c})",
]


@pytest.fixture
def rich(db: Ledger) -> Ledger:
    """One account a, with something of everything, and none called A."""
    ask(db, "top_up", account_id="a", amount=1000, key="paid")
    ask(db, "grant_credits", account_id="a", amount=1000, key="given", priority=1)
    set_price(db, "m", {"in": 1})
    plan(db, "plan", amount=1)
    ask(db, "assign_plan", account_id="a", plan="plan")
    ask(db, "hold", account_id="a", amount=5, key="hold")
    ask(db, "hold_usage", account_id="a", code="m", quantities={"in": 5}, key="usage")
    ask(db, "spend", account_id="a", amount=1, key="k", reference="r")
    ask(db, "set_low_balance_level", account_id="a", level=1)
    ask(db, "set_spending_cap", account_id="a", amount=1000)
    ask(db, "set_auto_top_up", account_id="a", threshold=1, amount=1)
    ask(db, "open_account", account_id="b")
    ask(db, "set_auto_top_up", account_id="a", threshold=10_000, amount=1)
    ask(db, "check_auto_top_up", account_id="a")
    for identifier in ("cus_a", "ada@example.com"):
        ask(db, "link_identifier", account_id="a", identifier=identifier)
    ask(db, "request_refund", account_id="a", original_key="paid", amount=1, key="asked")
    return db


def everything_said(db: Ledger, call: str) -> tuple[object, object]:
    """What a call answers with or refuses, and what is in the journal and held then; undone."""
    with db.transaction(force_rollback=True):
        try:
            with db.transaction():
                rows: object = [
                    {name: is_ for name, is_ in row.items() if not isinstance(is_, datetime)}
                    for row in db.execute(f"select * from pgledger.{call}".encode())
                ]
        except psycopg.Error as error:
            rows = error.sqlstate
        state = db.execute(
            "select t.account_id, t.seq, t.key, t.amount, t.running_balance"
            " from pgledger.transactions t union all"
            " select b.account_id, null, null, b.balance, b.held from pgledger.balances b union all"
            " select p.account_id, null, p.key, p.amount, (p.settled_at is null)::int"
            " from pgledger.pending_transactions p order by 1, 2, 3, 4"
        ).fetchall()
        return rows, state


def tables_read_whole(db: Ledger, call: str) -> set[str]:
    """Which tables of the ledger a call, undone, reads from beginning to end."""

    def scans() -> dict[str, int]:
        rows = db.execute(
            "select c.relname, pg_stat_get_xact_numscans(c.oid) as scans from pg_class c"
            " where c.relnamespace = 'pgledger'::regnamespace and c.relkind = 'r'"
        )
        return {row["relname"]: row["scans"] for row in rows}

    with db.transaction(force_rollback=True):
        before = scans()
        with suppress(psycopg.Error), db.transaction():
            db.execute(f"select * from pgledger.{call}".encode())
        return {table for table, count in scans().items() if count > before[table]}


def test_an_index_is_used_whatever_the_collation(rich: Ledger) -> None:
    rich.execute("set enable_seqscan = off")
    calls = CALLS + [
        re.sub(r"'[A-Z]+'(?=\]? \{c\})", lambda name: name[0].lower(), c) for c in CALLS
    ]
    for call in calls:
        bytewise = tables_read_whole(rich, call.format(c='collate "C"'))
        assert bytewise == tables_read_whole(rich, call.format(c="")), call


def test_a_collation_that_takes_two_texts_for_one_finds_no_other_account(rich: Ledger) -> None:
    try:
        rich.execute(
            "create collation public.loose"
            " (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.InvalidParameterValue):
        pytest.skip("this PostgreSQL has no ICU")
    for call in CALLS:
        loose, plain = call.format(c="collate public.loose"), call.format(c="")
        assert everything_said(rich, loose) == everything_said(rich, plain), call
