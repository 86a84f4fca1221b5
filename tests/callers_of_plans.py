"""What is asked about plans and spending caps."""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine import LedgerMachine
from tests.machine_records import Call
from tests.strategies import ACCOUNTS, CAPS, DAY, PLANS, STARTS, WEEK

calls = LedgerMachine.calls


class Planners(LedgerMachine):
    @rule(
        target=calls,
        account=ACCOUNTS,
        plan=st.sampled_from([None, *sorted(PLANS)]),
        starts=STARTS,
        at_once=st.booleans(),
        expire_allowance=st.booleans(),
    )
    def assign_plan(
        self,
        account: str,
        plan: str | None,
        starts: timedelta | None,
        *,
        at_once: bool,
        expire_allowance: bool,
    ) -> Call:
        if plan is None:
            return self.made("clear_plan", account, expire_allowance=expire_allowance)
        # Only an account without a plan is asked when to begin, but for a few mistakes.
        if self.accounts[account].plan is None and starts is not None:
            at_once = expire_allowance = False
        given = {"plan": plan, "starts_at": self.at(starts), "at_once": at_once}
        return self.made("assign_plan", account, expire_allowance=expire_allowance, **given)

    @rule(target=calls, account=ACCOUNTS, amount=CAPS, period=st.sampled_from([DAY, DAY, WEEK]))
    def set_spending_cap(self, account: str, **arguments: object) -> Call:
        return self.made("set_spending_cap", account, **arguments)
