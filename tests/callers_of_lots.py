"""What is asked about lots, which live and end: what is drawn, comes back and is over."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

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
    SELDOM,
)

calls = Time.calls
PLAIN: dict[str, Any] = {"key": None, "reference": None, "metadata": None}
SMALL = st.integers(1, 30)


class OwnersOfLots(Time):
    @rule(target=calls, account=ACCOUNTS, data=st.data())
    def grant_a_lot(self, account: str, data: st.DataObject) -> Call:
        given = PLAIN | {"metadata": {"a": "lot"}, "expires_at": self.at(data.draw(ENDS))}
        given |= {"amount": data.draw(SMALL), "priority": data.draw(PRIORITIES)}
        return self.made("grant_credits", account, **given)

    @rule(
        account=ACCOUNTS,
        steps=st.lists(
            st.sampled_from(["lot", "spend", "hold", "settle", "undo", "age"]), min_size=3
        ),
        data=st.data(),
    )
    def a_life_of_lots(self, account: str, steps: list[str], data: st.DataObject) -> None:
        """Lots are granted, drawn, reserved, given back and over, of one account in a row."""
        lives: dict[str, Any] = {
            "lot": self.grant_a_lot,
            "spend": self.spend_some,
            "hold": self.hold_some,
            "settle": self.settle_some,
            "undo": self.undo_some,
            "age": self.age,
        }
        for step in steps:
            lives[step](account, data)

    def spend_some(self, account: str, data: st.DataObject) -> None:
        shortfall = data.draw(st.sampled_from(["REFUSE", "PARTIAL", "DEBT"]))
        self.made("spend", account, amount=data.draw(SMALL), shortfall=shortfall, **PLAIN)

    def hold_some(self, account: str, data: st.DataObject) -> None:
        expires_at = self.at(data.draw(LIFETIMES))
        self.made("hold", account, amount=data.draw(SMALL), expires_at=expires_at, **PLAIN)

    def settle_some(self, account: str, data: st.DataObject) -> None:
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
        one = data.draw(st.sampled_from(posted))
        given = PLAIN | {"original_key": one.known_as}
        given["amount"] = data.draw(st.none() | st.integers(1, abs(one.amount)))
        if one.type == "TOP_UP":
            given["fail_insufficient_credits"] = data.draw(st.booleans())
            self.made("refund", account, **given)
        else:
            given["extend"] = data.draw(EXTENSIONS)
            self.made("reverse_transaction", account, **given)

    def age(self, account: str, data: st.DataObject) -> None:
        if self.next_due(account) is not None:
            self.let_fall_due(account, data.draw(st.sampled_from([0, 0, 1])))

    @precondition(lambda self: any(a.purse.lots for a in self.accounts.values()))
    @rule(target=calls, anything=SELDOM, data=st.data())
    def revoke_lot(self, data: st.DataObject, *, anything: bool) -> Call:
        some = sorted(name for name, account in self.accounts.items() if account.purse.lots)
        account = data.draw(st.sampled_from(some))
        known = self.accounts[account]
        lots = [known.posted[lot - 1].known_as for lot in sorted(known.purse.lots)]
        return self.made(
            "revoke_lot",
            account,
            key=data.draw((KEYS | ORIGINALS) if anything else st.sampled_from(lots)),
            reason="a mistake",
            raise_refusals=data.draw(st.booleans()),
        )
