"""What is asked about plans and spending caps."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine import LedgerMachine
from tests.machine_records import Call
from tests.strategies import ACCOUNTS, CAPS, DAY, PLANS, SELDOM, STARTS, WEEK

calls = LedgerMachine.calls


class Planners(LedgerMachine):
    @rule(target=calls, account=ACCOUNTS, data=st.data())
    def assign_or_clear_plan(self, account: str, data: st.DataObject) -> Call:
        plan = data.draw(st.sampled_from([None, *PLANS]))
        starts, at_once = data.draw(STARTS), data.draw(st.booleans())
        given: dict[str, Any] = {"expire_allowance": data.draw(st.booleans())}
        if plan is None:
            return self.made("clear_plan", account, **given)
        # Who has no plan is asked when to begin, and the others seldom, since it is a mistake.
        if starts is not None and (self.accounts[account].plan is None or data.draw(SELDOM)):
            at_once = given["expire_allowance"] = False
        else:
            starts = None
        given |= {"plan": plan, "starts_at": self.at(starts), "at_once": at_once}
        return self.made("assign_plan", account, **given)

    @rule(target=calls, account=ACCOUNTS, data=st.data())
    def set_spending_cap(self, account: str, data: st.DataObject) -> Call:
        period = data.draw(st.sampled_from([DAY, DAY, WEEK]))
        return self.made("set_spending_cap", account, amount=data.draw(CAPS), period=period)
