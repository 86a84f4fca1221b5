"""Random operations against a plain-Python model: every answer, every reader and verify() agree.

`PGLEDGER_EXAMPLES=5000 pytest tests/test_state_machine.py` runs it for longer, and elsewhere each
time; without it, the same examples run every time.
"""

import copy
import os
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, multiple, rule, run_state_machine_as_test

from tests.machine import Call, LedgerMachine, shown, without_time
from tests.model_records import HIGHEST, now
from tests.sessions import Connection

GIVEN_EXAMPLES = os.environ.get("PGLEDGER_EXAMPLES")
EXAMPLES = int(GIVEN_EXAMPLES or 80)
STEPS = 40

# Few names, so that everything meets everything.
ACCOUNTS = st.sampled_from(["anna", "anna", "bert"])
KEYS = st.sampled_from(["k1", "k2", "k3", "k4"])
MAYBE_KEYS = st.none() | KEYS
EXTERNAL_IDS = st.sampled_from([None, None, "pi_1", "pi_2"])
REFERENCES = st.sampled_from([None, "chat 1", "chat 2"])
METADATA = st.sampled_from([None, {"a": 1}, {"b": [2]}, {"a": "3"}])
# Small, so that they meet each other, the floors and the ceilings; and now and then far too large.
AMOUNTS = st.integers(1, 60) | st.sampled_from([10, 20, 20, 20, 2**62, 2**63 - 1])
SIGNED = AMOUNTS | AMOUNTS.map(lambda amount: -amount)
CEILINGS = st.none() | st.none() | st.integers(0, 60)
FLOORS = st.none() | st.integers(-60, 0)
TYPES = st.sampled_from(["TOP_UP", "USAGE", "GRANT", "CARD_CHECK", "ADJUSTMENT", "REFUND"])
SHORTFALLS = st.sampled_from(["REFUSE", "REFUSE", "PARTIAL", "DEBT"])
STATUSES = st.sampled_from(["OPEN", "OPEN", "FROZEN", "CLOSED"])
LIFETIMES = st.sampled_from(
    [None, None, timedelta(hours=12), timedelta(days=10, hours=12), timedelta(hours=-1)]
)
ORIGINALS = KEYS | st.sampled_from(["#1", "#2", "#3", "#auto-1"])
REPEATS = st.sampled_from(
    [
        {"amount": 20},
        {"amount": 21},
        {"type": "GRANT"},
        {"is_active": False},
        {"is_active": True},
        {"key": "k1"},
        {"key": "k2"},
        {"external_id": None},
        {"external_id": "pi_1"},
        {"external_id": "pi_2"},
        {"reference": "chat 2", "metadata": {"c": 4}},
        {"ceiling_balance": 30},
        {"expires_at": None},
        {"original_key": "#1"},
        {"to_account_id": "anna"},
        {"enabled": True, "mode": "INSTANT"},
    ]
)

# A journal whose account is older as a whole is as sound as before.
GROW_OLDER = [
    """
    update pgledger.transactions set created_at = created_at - %(by)s
    where account_id = %(id)s
    """,
    """
    update pgledger.pending_transactions
    set created_at = created_at - %(by)s, expires_at = expires_at - %(by)s
    where account_id = %(id)s
    """,
    """
    update pgledger.auto_top_ups set resumes_at = resumes_at - %(by)s
    where account_id = %(id)s
    """,
    """
    update pgledger.balances set attention_at = attention_at - %(by)s
    where account_id = %(id)s and isfinite(attention_at)
    """,
]


class Callers(LedgerMachine):
    calls: Bundle[Call] = Bundle("calls")

    # The verbs

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=SIGNED,
        type_=TYPES,
        key=MAYBE_KEYS,
        is_active=st.sampled_from([True, True, True, False]),
        ceiling_balance=CEILINGS,
        fail_insufficient_credits=st.sampled_from([True, True, True, False]),
        reference=REFERENCES,
        external_id=EXTERNAL_IDS,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def add_transaction(self, account: str, type_: str, **arguments: object) -> Call:
        return self.made("add_transaction", account, type=type_, **arguments)

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
        raise_refusals=st.booleans(),
    )
    def top_up(self, account: str, **arguments: object) -> Call:
        return self.made("top_up", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        reference=REFERENCES,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def grant_credits(self, account: str, **arguments: object) -> Call:
        return self.made("grant_credits", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        key=KEYS,
        external_id=EXTERNAL_IDS,
        metadata=METADATA,
        amount=st.none() | AMOUNTS,
        raise_refusals=st.booleans(),
    )
    def enable_transaction(self, account: str, **arguments: object) -> Call:
        return self.made("enable_transaction", account, **arguments)

    @rule(target=calls, account=ACCOUNTS, key=KEYS, raise_refusals=st.booleans())
    def cancel_transaction(self, account: str, **arguments: object) -> Call:
        return self.made("cancel_transaction", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        lifetime=LIFETIMES,
        reference=REFERENCES,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def hold(self, account: str, lifetime: timedelta | None, **arguments: object) -> Call:
        expires_at = None if lifetime is None else now() + lifetime
        return self.made("hold", account, expires_at=expires_at, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        key=KEYS,
        amount=st.none() | AMOUNTS,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def capture(self, account: str, **arguments: object) -> Call:
        return self.made("capture", account, **arguments)

    @rule(target=calls, account=ACCOUNTS, key=KEYS, raise_refusals=st.booleans())
    def release(self, account: str, **arguments: object) -> Call:
        return self.made("release", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        original_key=ORIGINALS,
        amount=st.none() | st.none() | AMOUNTS,
        key=MAYBE_KEYS,
        external_id=EXTERNAL_IDS,
        fail_insufficient_credits=st.booleans(),
        reference=REFERENCES,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def refund(self, account: str, **arguments: object) -> Call:
        return self.made("refund", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        original_key=ORIGINALS,
        amount=st.none() | st.none() | AMOUNTS,
        key=MAYBE_KEYS,
        reference=REFERENCES,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def reverse_transaction(self, account: str, **arguments: object) -> Call:
        return self.made("reverse_transaction", account, **arguments)

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

    @rule(target=calls, account=ACCOUNTS, reference=REFERENCES)
    def check_auto_top_up(self, account: str, **arguments: object) -> Call:
        return self.made("check_auto_top_up", account, **arguments)

    @rule(target=calls, account=ACCOUNTS, level=st.none() | st.integers(-20, 60))
    def set_low_balance_level(self, account: str, **arguments: object) -> Call:
        return self.made("set_low_balance_level", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        currency=st.sampled_from(["CREDIT", "CREDIT", "EUR"]),
        min_balance=st.integers(-60, 0),
    )
    def open_account(self, account: str, **arguments: object) -> Call:
        return self.made("open_account", account, **arguments)

    @rule(target=calls, account=ACCOUNTS, status=STATUSES)
    def set_account_status(self, account: str, **arguments: object) -> Call:
        return self.made("set_account_status", account, **arguments)

    @rule(target=calls, account=ACCOUNTS, min_balance=FLOORS, debt_floor=FLOORS)
    def set_limits(self, account: str, **arguments: object) -> Call:
        return self.made("set_limits", account, **arguments)

    def made(self, verb: str, account: str, **arguments: object) -> Call:
        call = Call(verb, account, arguments)
        self.make(call)
        return call

    # What else callers do

    @rule(call=calls)
    def repeat(self, call: Call) -> None:
        self.make(call)

    @rule(call=calls, change=REPEATS)
    def repeat_with_a_change(self, call: Call, change: dict[str, object]) -> None:
        self.make(call.changed(**change))

    @rule(target=calls, account=ACCOUNTS, data=st.data())
    def settle_what_waits(self, account: str, data: st.DataObject) -> Any:  # noqa: ANN401 - of hypothesis
        waiting = sorted(self.accounts[account].announced)
        if not waiting:
            return multiple()
        key = data.draw(st.sampled_from(waiting))
        verb = data.draw(st.sampled_from(["enable", "enable", "cancel", "capture", "release"]))
        if verb in {"cancel", "release"}:
            verb = "cancel_transaction" if verb == "cancel" else verb
            return self.made(verb, account, key=key, raise_refusals=True)
        if verb == "capture":
            return self.made(
                "capture",
                account,
                key=key,
                amount=data.draw(st.none() | AMOUNTS),
                metadata=data.draw(METADATA),
                raise_refusals=data.draw(st.booleans()),
            )
        return self.made(
            "enable_transaction",
            account,
            key=key,
            external_id=data.draw(EXTERNAL_IDS),
            metadata=data.draw(METADATA),
            amount=data.draw(st.none() | AMOUNTS),
            raise_refusals=data.draw(st.booleans()),
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

    # Time, which passes by moving what is recorded into the past

    @rule(account=ACCOUNTS, data=st.data())
    def a_hold_expires(self, account: str, data: st.DataObject) -> None:
        announced = self.accounts[account].announced
        holds = [m for m in announced.values() if m.amount < 0 and m.status == "PENDING"]
        if not holds:
            return
        hold = data.draw(st.sampled_from(sorted(holds, key=lambda m: m.known_as)))
        hold.expires_at = now() - timedelta(minutes=1)
        moved = {"id": self.account_id(account), "key": hold.key, "at": hold.expires_at}
        self.db.execute(
            """
            update pgledger.pending_transactions set expires_at = %(at)s
            where account_id = %(id)s and key = %(key)s
            """,
            moved,
        )
        self.db.execute(
            """
            update pgledger.balances set attention_at = least(attention_at, %(at)s)
            where account_id = %(id)s
            """,
            moved,
        )
        self.require_account(account)

    @rule(account=ACCOUNTS, by=st.sampled_from([timedelta(days=1), timedelta(days=40)]))
    def time_passes(self, account: str, by: timedelta) -> None:
        self.accounts[account].grow_older(by)
        with self.db.transaction():
            # Only here is the journal ever changed, and by its owner, who can.
            self.db.execute(
                "alter table pgledger.transactions disable trigger transactions_append_only"
            )
            for query in GROW_OLDER:
                self.db.execute(query, {"id": self.account_id(account), "by": by})
            self.db.execute(
                "alter table pgledger.transactions enable always trigger transactions_append_only"
            )
        self.require_account(account)

    @rule(limit_count=st.sampled_from([1, 100]))
    def run_due(self, limit_count: int) -> None:
        rows = self.db.execute("select account_id from pgledger.balances").fetchall()
        hot = {row["account_id"] for row in rows}
        due = [
            name
            for name, account in sorted(self.accounts.items())
            if any(m.is_due for m in account.announced.values()) and self.account_id(name) in hot
        ][:limit_count]
        for name in due:
            self.accounts[name].settle()
        found = self.db.execute("select pgledger.run_due(%s) as settled", (limit_count,)).fetchall()
        assert found == [{"settled": len(due)}]
        for name in self.accounts:
            self.require_account(name)

    # What happens to a database

    @rule(account=ACCOUNTS)
    def lose_the_balance_row(self, account: str) -> None:
        self.db.execute(
            "delete from pgledger.balances where account_id = %s", (self.account_id(account),)
        )
        self.require_account(account)

    @rule(account=ACCOUNTS, amount=st.integers(1, 60), key=MAYBE_KEYS, external_id=EXTERNAL_IDS)
    def import_history(
        self, account: str, amount: int, key: str | None, external_id: str | None
    ) -> None:
        known = self.accounts[account]
        records = [*known.posted, *known.announced.values()]
        if (
            known.status == "CLOSED"
            or known.balance + amount > HIGHEST
            or any(
                (key is not None and key == record.key)
                or (external_id is not None and external_id == record.external_id)
                for record in records
            )
        ):
            return
        if known.opened:
            self.lose_the_balance_row(account)
        movement = known.import_movement(amount=amount, key=key, external_id=external_id)
        self.db.execute(
            """
            insert into pgledger.transactions
              (account_id, seq, amount, running_balance, created_at, type, key, external_id)
            values (%s, %s, %s, %s, clock_timestamp(), 'TOP_UP', %s, %s)
            """,
            (
                self.account_id(account),
                movement.seq,
                amount,
                movement.running_balance,
                key,
                external_id,
            ),
        )
        self.require_account(account)

    # The readers

    @rule(account=ACCOUNTS, required=AMOUNTS)
    def check_credits(self, account: str, required: int) -> None:
        found = self.db.execute(
            "select pgledger.check_credits(%s, %s) as covered",
            (self.account_id(account), required),
        ).fetchall()
        assert found == [{"covered": self.accounts[account].covers(required)}]

    @rule(account=ACCOUNTS, key=KEYS | st.sampled_from(["#1", "#2", "#7", "#0", "#01"]))
    def get_transaction(self, account: str, key: str) -> None:
        found = self.db.execute(
            "select * from pgledger.get_transaction(%s, %s)", (self.account_id(account), key)
        ).fetchall()
        movement = self.accounts[account].find(key)
        expected = [] if movement is None else [shown(self.account_id(account), movement)]
        assert without_time(found) == expected

    @rule(
        account=ACCOUNTS,
        limit=st.sampled_from([1, 2, 100]),
        before=st.none() | st.integers(0, 9),
        type_=st.none() | TYPES,
    )
    def history(self, account: str, limit: int, before: int | None, type_: str | None) -> None:
        found = self.db.execute(
            "select * from pgledger.history(%s, %s, %s, %s::pgledger.transaction_type)",
            (self.account_id(account), limit, before, type_),
        ).fetchall()
        expected = [
            shown(self.account_id(account), movement)
            for movement in reversed(self.accounts[account].posted)
            if (before is None or (movement.seq or 0) < before) and type_ in {None, movement.type}
        ]
        assert without_time(found) == expected[:limit]

    def teardown(self) -> None:
        for name, account in self.accounts.items():
            self.history(name, 100, None, None)
            for key in account.announced:
                self.get_transaction(name, key)
            self.require_account(name)
        # Nothing is left that would be due in the next example.
        while self.db.execute("select pgledger.run_due() as n").fetchall() != [{"n": 0}]:
            pass


def test_random_operations_and_a_plain_model_agree(db: Connection) -> None:
    db.execute("insert into pgledger.currencies (code, exponent) values ('EUR', 2)")
    LedgerMachine.db = db
    LedgerMachine.example = 0
    run_state_machine_as_test(
        Callers,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=GIVEN_EXAMPLES is None,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert db.execute("select * from pgledger.verify()").fetchall() == []
