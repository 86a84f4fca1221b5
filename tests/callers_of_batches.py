"""Batches of what callers asked one by one, or ask now, of both accounts."""

import copy
from datetime import datetime
from typing import Any

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.batches import Item, post_batch, post_batch_json
from tests.machine import LedgerMachine
from tests.machine_records import Call, as_request, without_time
from tests.model_records import Misused, Refused, Request, now
from tests.sessions import Row
from tests.strategies import ACCOUNTS, AMOUNTS, KEYS, METADATA, REFERENCES, SHORTFALLS

calls = LedgerMachine.calls

PLAIN: dict[str, Any] = {"key": None, "reference": None, "metadata": None}
# What posts one movement of one account, at once.
POSTING = frozenset({"add_transaction", "spend", "top_up", "grant_credits"})
SMALL = st.integers(1, 12)
SPENDS = st.fixed_dictionaries(
    {
        "amount": SMALL | SMALL | AMOUNTS,
        "key": st.none() | st.none() | KEYS,
        "reference": REFERENCES,
        "metadata": METADATA,
        "shortfall": SHORTFALLS,
    }
)
GRANTS = st.fixed_dictionaries({"amount": SMALL} | {name: st.none() for name in PLAIN})


class Batchers(LedgerMachine):
    @rule(
        several=st.lists(calls, max_size=6),
        spends=st.lists(st.tuples(ACCOUNTS, SPENDS), max_size=8),
        grants=st.lists(st.tuples(ACCOUNTS, GRANTS), max_size=2),
        as_json=st.booleans(),
        atomic=st.sampled_from([False, False, True]),
        data=st.data(),
    )
    def post_a_batch(
        self,
        several: list[Call],
        spends: list[tuple[str, dict[str, Any]]],
        grants: list[tuple[str, dict[str, Any]]],
        *,
        as_json: bool,
        atomic: bool,
        data: st.DataObject,
    ) -> None:
        asked = [call for call in several if call.verb in POSTING and is_posted_at_once(call)]
        asked += [Call("spend", account, given) for account, given in spends]
        asked += [Call("grant_credits", account, given) for account, given in grants]
        asked = data.draw(st.permutations(asked))
        self.make_in_a_batch(asked, as_json=as_json, atomic=atomic)

    def batch_some(self, account: str, data: st.DataObject) -> None:
        """A step in the life of an account with lots."""
        spends = data.draw(st.lists(SPENDS, min_size=1, max_size=5))
        asked = [Call("spend", account, given) for given in spends]
        grants = data.draw(st.lists(GRANTS, max_size=1))
        asked += [Call("grant_credits", account, given) for given in grants]
        self.make_in_a_batch(data.draw(st.permutations(asked)), as_json=False, atomic=False)

    def make_in_a_batch(self, asked: list[Call], *, as_json: bool, atomic: bool) -> None:
        """Post what is asked in a batch, and require what the model answers, item by item."""
        before = copy.deepcopy(self.accounts)
        post = post_batch_json if as_json else post_batch
        items = [as_item(self.account_id(call.account), as_request(call)) for call in asked]
        rows: list[Row] = []
        raised = None
        began = now()
        try:
            with self.a_savepoint_if_in_a_transaction():
                rows = post(self.db, *items, atomic=atomic)
        except psycopg.Error as error:
            raised = error.sqlstate
        refused = self.require_answers(asked, rows, began)
        assert raised == (refused[0] if atomic and refused else None)
        if raised is not None:
            self.accounts = before
        for name in sorted({call.account for call in asked}):
            self.require_account(name)

    def require_answers(self, asked: list[Call], rows: list[Row], began: datetime) -> list[str]:
        """What the model refuses, having answered as the ledger did; if that did at all."""
        refused = []
        for name in self.accounts:
            self.accounts[name].now = began
        for place, call in enumerate(asked):
            row = rows[place] if rows else {}
            account = self.accounts[call.account]
            # Each is judged at an instant of its own, or all of them at one.
            at = row.get("created_at")
            account.now = account.now if at is None else max(account.now, at)
            before = copy.deepcopy(account)
            try:
                (expected,) = self.expect(call, {})
            except Misused as misuse:
                refused.append(misuse.code)
                self.accounts[call.account] = before
            except Refused as refusal:
                refused.append(refusal.code)
                account.settle()
                if rows:
                    self.require_refusal(call, row, refusal.code)
            else:
                assert not rows or without_time([row]) == [expected]
                continue
            assert not rows or (row["status"], row["refusal"]) == ("REFUSED", refused[-1])
        return refused


def is_posted_at_once(call: Call) -> bool:
    return bool(call.arguments.get("is_active", True))


def as_item(account_id: str, request: Request) -> Item:
    return {
        "account_id": account_id,
        "amount": request.amount,
        "type": request.type,
        "key": request.key,
        "reference": request.reference,
        "metadata": request.metadata or None,
        "shortfall": request.shortfall,
        "external_id": request.external_id,
        "ceiling_balance": request.ceiling,
        "expires_at": request.expires_at,
        "priority": request.priority,
    }
