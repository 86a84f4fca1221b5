"""What is asked about lots, which live and end: what is drawn, comes back and is over."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.callers_of_batches import Batchers
from tests.callers_of_plans import Planners
from tests.machine_records import Call
from tests.machine_time import Time
from tests.strategies import (
    ACCOUNTS,
    ENDS,
    EXTENSIONS,
    KEYS,
    LIFETIMES,
    ORIGINALS,
    PRIORITIES,
)

calls = Time.calls
PLAIN: dict[str, Any] = {"key": None, "reference": None, "metadata": None}
SMALL = st.integers(1, 30)


# What happens in the life of an account with lots; who is named twice happens twice as often.
LIFE = [
    *("lot", "lot", "spend", "spend", "spend", "hold", "hold", "enable", "release"),
    *("undo", "undo", "undo"),
    *("age", "age", "grant", "announce", "transfer", "revoke", "lose_balance_row"),
    *("plan", "plan", "cap", "cap", "batch", "batch", "batch"),
]


class OwnersOfLots(Planners, Batchers, Time):
    @rule(target=calls, account=ACCOUNTS, data=st.data())
    def grant_a_lot(self, account: str, data: st.DataObject) -> Call:
        given = PLAIN | {"metadata": {"a": "lot"}, "expires_at": self.at(data.draw(ENDS))}
        given |= {"amount": data.draw(SMALL), "priority": data.draw(PRIORITIES)}
        return self.made("grant_credits", account, **given)

    @rule(account=ACCOUNTS, steps=st.lists(st.sampled_from(LIFE), min_size=4), data=st.data())
    def a_life_of_lots(self, account: str, steps: list[str], data: st.DataObject) -> None:
        """Lots are granted, drawn, reserved, given back and over, of one account in a row."""
        self.grant_a_lot(account, data)
        for step in steps:
            getattr(self, f"{step}_some")(account, data)

    # Rules are drawn evenly: what there is twice is drawn twice as often.
    another_life_of_lots = rule(
        account=ACCOUNTS, steps=st.lists(st.sampled_from(LIFE), min_size=4), data=st.data()
    )(lambda self, account, steps, data: self.a_life_of_lots(account, steps, data))

    def lot_some(self, account: str, data: st.DataObject) -> None:
        self.grant_a_lot(account, data)

    def grant_some(self, account: str, data: st.DataObject) -> None:
        self.made("grant_credits", account, amount=data.draw(SMALL), **PLAIN)

    def announce_some(self, account: str, data: st.DataObject) -> None:
        given = PLAIN | {"amount": data.draw(SMALL), "expires_at": self.at(data.draw(ENDS))}
        self.made("top_up", account, is_active=False, priority=data.draw(PRIORITIES), **given)

    def transfer_some(self, account: str, data: st.DataObject) -> None:
        to = "bert" if account == "anna" else "anna"
        self.made("transfer", account, to_account_id=to, amount=data.draw(SMALL), **PLAIN)

    def plan_some(self, account: str, data: st.DataObject) -> None:
        self.assign_or_clear_plan(account, data)

    def cap_some(self, account: str, data: st.DataObject) -> None:
        self.set_spending_cap(account, data)

    def lose_balance_row_some(self, account: str, data: st.DataObject) -> None:
        del data
        self.lose_the_balance_row_of(account)

    def spend_some(self, account: str, data: st.DataObject) -> None:
        shortfall = data.draw(st.sampled_from(["REFUSE", "PARTIAL", "DEBT"]))
        self.made("spend", account, amount=data.draw(SMALL), shortfall=shortfall, **PLAIN)

    def hold_some(self, account: str, data: st.DataObject) -> None:
        expires_at = self.at(data.draw(LIFETIMES))
        self.made("hold", account, amount=data.draw(SMALL), expires_at=expires_at, **PLAIN)

    def release_some(self, account: str, data: st.DataObject) -> None:
        waiting = [m for m in self.accounts[account].announced.values() if m.is_open_hold]
        if waiting:
            self.made("release", account, key=data.draw(st.sampled_from(waiting)).key)

    def enable_some(self, account: str, data: st.DataObject) -> None:
        waiting = [m for m in self.accounts[account].announced.values() if m.is_open]
        if waiting:
            one = data.draw(st.sampled_from(waiting))
            amount = data.draw(st.none() | st.integers(1, abs(one.amount)))
            given = {"key": one.key, "amount": amount, "metadata": None}
            self.made("enable_transaction", account, **given)

    def undo_some(self, account: str, data: st.DataObject) -> None:
        posted = [m for m in self.accounts[account].posted if m.type not in {"EXPIRY", "REVERSAL"}]
        if not posted:
            return
        # Spends are most likely to be undone, above all those that several paid, and bit by bit.
        spent = [m for m in posted if m.type == "USAGE" and m.amount < 0]
        several = [m for m in spent if len(m.parts) > 1]
        one = data.draw(st.sampled_from([*posted, *spent * 3, *several * 6]))
        given = PLAIN | {"original_key": one.known_as}
        given["amount"] = data.draw(st.none() | SMALL | st.integers(1, abs(one.amount)))
        if one.type == "TOP_UP":
            given["fail_insufficient_credits"] = data.draw(st.booleans())
            self.made("refund", account, **given)
        else:
            given["extend"] = data.draw(EXTENSIONS)
            self.made("reverse_transaction", account, **given)

    def age_some(self, account: str, data: st.DataObject) -> None:
        if self.next_due(account) is not None:
            self.let_fall_due(account, data.draw(st.sampled_from([0, 0, 1])))

    def revoke_some(self, account: str, data: st.DataObject) -> None:
        lots = list(self.accounts[account].purse.lots)
        if lots:
            lot = self.accounts[account].posted[data.draw(st.sampled_from(lots)) - 1]
            self.made("revoke_lot", account, key=lot.known_as, reason="a mistake")

    @rule(target=calls, account=ACCOUNTS, key=KEYS | ORIGINALS, raise_refusals=st.booleans())
    def revoke_lot(self, account: str, **arguments: object) -> Call:
        return self.made("revoke_lot", account, reason="a mistake", **arguments)
