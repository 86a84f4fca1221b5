"""Everything that callers ask of a ledger: each verb, repeats, and several in one transaction."""

import copy
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, multiple, precondition, rule

from tests.callers_of_batches import Batchers
from tests.callers_of_lots import OwnersOfLots
from tests.callers_of_settings import Owners
from tests.machine import LedgerMachine
from tests.machine_records import Call
from tests.model_records import HIGHEST
from tests.strategies import (
    ACCOUNTS,
    AMOUNTS,
    CEILINGS,
    CHANGES,
    ENDS,
    EXTENSIONS,
    EXTERNAL_IDS,
    LIFETIMES,
    MAYBE_KEYS,
    METADATA,
    ORIGINALS,
    PRIORITIES,
    REFERENCES,
    SELDOM,
    SETTLING,
    SHORTFALLS,
    SIGNED,
    TYPES,
    UNDOING,
)

PLAIN: dict[str, Any] = {
    "key": None,
    "reference": None,
    "metadata": None,
    "raise_refusals": True,
}
LIMITS = (
    "daily_count_limit",
    "daily_amount_limit",
    "monthly_count_limit",
    "monthly_amount_limit",
)


calls = LedgerMachine.calls


class Callers(OwnersOfLots, Batchers, Owners):
    @initialize(
        funds=st.sampled_from([0, 50, 100]),
        low=st.none() | st.integers(0, 40),
        auto=st.none() | st.tuples(st.integers(0, 40), st.sampled_from(["INTENT", "INSTANT"])),
        limit=st.sampled_from([None, 1, 2]),
    )
    def some_are_funded(
        self, funds: int, low: int | None, auto: tuple[int, str] | None, limit: int | None
    ) -> None:
        for name in self.accounts if funds else ():
            self.made("grant_credits", name, amount=funds, **PLAIN)
            self.made("set_low_balance_level", name, level=low)
            if auto is not None:
                settings = dict.fromkeys(LIMITS) | {"daily_count_limit": limit}
                settings |= {"threshold": auto[0], "mode": auto[1], "amount": 20, "enabled": True}
                self.made("set_auto_top_up", name, **settings)

    # The verbs

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=SIGNED,
        type_=TYPES,
        anything=SELDOM,
        key=MAYBE_KEYS,
        is_active=st.sampled_from([True, True, True, False]),
        ceiling_balance=CEILINGS,
        fail_insufficient_credits=st.sampled_from([True, True, True, False]),
        reference=REFERENCES,
        external_id=EXTERNAL_IDS,
        metadata=METADATA,
        lifetime=LIFETIMES,
        priority=PRIORITIES,
        raise_refusals=st.booleans(),
    )
    def add_transaction(
        self,
        account: str,
        type_: str,
        amount: int,
        lifetime: timedelta | None,
        *,
        is_active: bool,
        anything: bool,
        **arguments: object,
    ) -> Call:
        # An active debit has neither, and a hold no priority: that is asked for but seldom.
        if amount < 0 and not anything:
            lifetime, arguments["priority"] = None if is_active else lifetime, 0
        arguments |= {"amount": amount, "type": type_, "is_active": is_active}
        return self.made("add_transaction", account, expires_at=self.at(lifetime), **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        reference=REFERENCES,
        metadata=METADATA,
        shortfall=SHORTFALLS,
        raise_refusals=st.booleans(),
    )
    def spend(self, account: str, **arguments: object) -> Call:
        return self.made("spend", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        is_active=st.booleans(),
        ceiling_balance=CEILINGS,
        reference=REFERENCES,
        external_id=EXTERNAL_IDS,
        metadata=METADATA,
        lifetime=ENDS,
        priority=PRIORITIES,
        raise_refusals=st.booleans(),
    )
    def top_up(self, account: str, lifetime: timedelta | None, **arguments: object) -> Call:
        return self.made("top_up", account, expires_at=self.at(lifetime), **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        lifetime=ENDS,
        priority=PRIORITIES,
        reference=REFERENCES,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def grant_credits(self, account: str, lifetime: timedelta | None, **arguments: object) -> Call:
        return self.made("grant_credits", account, expires_at=self.at(lifetime), **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=st.integers(1, 40) | AMOUNTS,
        key=MAYBE_KEYS,
        lifetime=LIFETIMES,
        reference=REFERENCES,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def hold(self, account: str, lifetime: timedelta | None, **arguments: object) -> Call:
        return self.made("hold", account, expires_at=self.at(lifetime), **arguments)

    @precondition(lambda self: any(a.announced for a in self.accounts.values()))
    @rule(target=calls, verb=SETTLING, anything=SELDOM, data=st.data())
    def settle(self, verb: str, anything: bool, data: st.DataObject) -> Call:  # noqa: FBT001 - it is drawn
        some = sorted(name for name, account in self.accounts.items() if account.announced)
        account = data.draw(st.sampled_from(some))
        waiting = list(self.accounts[account].announced)
        return self.settle_one(
            account, verb, data.draw(ORIGINALS if anything else st.sampled_from(waiting)), data
        )

    def settle_one(self, account: str, verb: str, key: str, data: st.DataObject) -> Call:
        given: dict[str, Any] = {
            "key": key,
            "raise_refusals": data.draw(st.booleans()),
        }
        if verb in {"capture", "enable_transaction"}:
            given["amount"] = data.draw(st.none() | st.integers(1, 30) | AMOUNTS)
            given["metadata"] = data.draw(METADATA)
        if verb == "enable_transaction":
            given["external_id"] = data.draw(EXTERNAL_IDS)
        return self.made(verb, account, **given)

    @rule(
        target=calls,
        account=ACCOUNTS,
        verb=SETTLING,
        key=MAYBE_KEYS,
        amount=st.integers(1, 40),
        lifetime=st.sampled_from([None, timedelta(hours=12)]),
        data=st.data(),
    )
    def hold_and_settle(  # noqa: PLR0917 - hypothesis draws them all
        self,
        account: str,
        verb: str,
        key: str | None,
        amount: int,
        lifetime: timedelta | None,
        data: st.DataObject,
    ) -> Call:
        expires_at = self.at(lifetime)
        before = set(self.accounts[account].announced)
        held = self.made(
            "hold", account, amount=amount, expires_at=expires_at, **PLAIN | {"key": key}
        )
        between = data.draw(st.sampled_from([None, None, "repeat", "freeze", "limits"]))
        if between == "repeat":
            self.make(held.changed(expires_at=data.draw(CHANGES["expires_at"])))
        elif between == "freeze":
            self.made("set_account_status", account, status="FROZEN")
        elif between == "limits":
            self.made("set_limits", account, min_balance=0, debt_floor=None)
        new = [k for k in self.accounts[account].announced if k not in before] or [key or "k1"]
        return self.settle_one(account, verb, data.draw(st.sampled_from(new)), data)

    @precondition(lambda self: any(a.posted for a in self.accounts.values()))
    @rule(target=calls, verb=UNDOING, anything=SELDOM, data=st.data())
    def undo(self, verb: str, anything: bool, data: st.DataObject) -> Call:  # noqa: FBT001 - so is this
        some = sorted(name for name, account in self.accounts.items() if account.posted)
        account = data.draw(st.sampled_from(some))
        posted = [
            m.known_as
            for m in self.accounts[account].posted
            if (m.type == "TOP_UP") is (verb == "refund")
        ]
        given: dict[str, Any] = {
            "original_key": data.draw(
                ORIGINALS if anything or not posted else st.sampled_from(posted)
            ),
            "amount": data.draw(st.none() | st.integers(1, 20) | AMOUNTS),
            "key": data.draw(MAYBE_KEYS),
            "reference": data.draw(REFERENCES),
            "metadata": data.draw(METADATA),
            "raise_refusals": data.draw(st.booleans()),
        }
        if verb == "refund":
            given["external_id"] = data.draw(EXTERNAL_IDS)
            given["fail_insufficient_credits"] = data.draw(st.booleans())
        else:
            given["extend"] = data.draw(EXTENSIONS)
        return self.made(verb, account, **given)

    @rule(
        target=calls,
        account=ACCOUNTS,
        to_account_id=st.sampled_from(["bert", "bert", "anna"]),
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        reference=REFERENCES,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def transfer(self, account: str, **arguments: object) -> Call:
        return self.made("transfer", account, **arguments)

    # What else callers do

    @rule(call=calls)
    def repeat(self, call: Call) -> None:
        self.make(call)

    @rule(call=calls, data=st.data())
    def repeat_with_a_change(self, call: Call, data: st.DataObject) -> None:
        names = sorted(CHANGES.keys() & call.arguments.keys())
        if names:
            name = data.draw(st.sampled_from(names))
            self.make(call.changed(**{name: data.draw(CHANGES[name])}))

    @rule(
        target=calls,
        account=ACCOUNTS,
        verb=st.sampled_from(["spend", "hold"]),
        level=st.sampled_from(["threshold", "low", "floor"]),
        above=st.sampled_from([0, 0, 1, -1]),
        key=MAYBE_KEYS,
    )
    def debit_down_to_a_level(
        self, account: str, verb: str, level: str, above: int, key: str | None
    ) -> Any:  # noqa: ANN401 - of hypothesis
        known = self.accounts[account]
        auto = known.auto_top_up
        levels = {
            "threshold": auto.settings.threshold if auto else None,
            "low": known.low_balance_level,
            "floor": known.min_balance,
        }
        target = levels[level]
        amount = 0 if target is None else known.available - target - above
        if not 0 < amount <= HIGHEST:
            return multiple()
        more = {"expires_at": self.at(timedelta(hours=12))} if verb == "hold" else {}
        return self.made(
            verb,
            account,
            amount=amount,
            key=key,
            reference="chat 1",
            metadata=None,
            raise_refusals=True,
            **more,
        )

    @rule(several=st.lists(calls, min_size=1, max_size=3), commits=st.booleans())
    def several_in_one_transaction(self, several: list[Call], *, commits: bool) -> None:
        before = copy.deepcopy(self.accounts)
        with self.db.transaction(force_rollback=not commits):
            for call in several:
                self.make(call)
        if not commits:
            self.accounts = before
        for name in {name for call in several for name in call.accounts}:
            self.require_account(name)
