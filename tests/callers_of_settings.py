"""What owners of accounts set: how far an account may go, and how it tops itself up."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine import LedgerMachine
from tests.machine_records import Call
from tests.strategies import ACCOUNTS, FLOORS, REFERENCES, STATUSES

calls = LedgerMachine.calls

# One rule for all of them, so that they leave most of the steps to movements.
SETTINGS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "set_low_balance_level": {"level": st.none() | st.integers(-20, 60)},
    "open_account": {
        "currency": st.sampled_from(["CREDIT", "CREDIT", "EUR"]),
        "min_balance": st.integers(-60, 0),
    },
    "set_account_status": {"status": STATUSES},
    "check_auto_top_up": {"reference": REFERENCES},
    "set_limits": {"min_balance": FLOORS, "debt_floor": FLOORS},
}


class Owners(LedgerMachine):
    @rule(target=calls, account=ACCOUNTS, verb=st.sampled_from(sorted(SETTINGS)), data=st.data())
    def set_something(self, account: str, verb: str, data: st.DataObject) -> Call:
        given = {name: data.draw(values) for name, values in SETTINGS[verb].items()}
        return self.made(verb, account, **given)

    @rule(
        target=calls,
        account=ACCOUNTS,
        threshold=st.integers(-30, 60) | st.just(2**62),
        amount=st.sampled_from([1, 10, 20, 2**62]),
        mode=st.sampled_from(["INTENT", "INSTANT"]),
        enabled=st.sampled_from([True, True, True, False]),
        daily_count_limit=st.sampled_from([None, None, 0, 1, 2]),
        daily_amount_limit=st.sampled_from([None, None, 10, 20, 45]),
        monthly_count_limit=st.sampled_from([None, None, 1, 3]),
        monthly_amount_limit=st.sampled_from([None, None, 20, 2**62]),
    )
    def set_auto_top_up(self, account: str, **arguments: object) -> Call:
        return self.made("set_auto_top_up", account, **arguments)
