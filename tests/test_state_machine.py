"""Random operations against a plain-Python model: every answer, every reader and verify() agree.

`PGLEDGER_EXAMPLES=5000 pytest tests/test_state_machine.py` runs it for longer, and elsewhere each
time; without it, the same examples run every time.
"""

import os
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.callers import Callers
from tests.machine import LedgerMachine, shown, without_time
from tests.model_records import HIGHEST, now
from tests.sessions import Connection
from tests.strategies import (
    ACCOUNTS,
    AMOUNTS,
    EXTERNAL_IDS,
    KEYS,
    MAYBE_KEYS,
    TYPES,
)

GIVEN_EXAMPLES = os.environ.get("PGLEDGER_EXAMPLES")
EXAMPLES = int(GIVEN_EXAMPLES or 30)
STEPS = 40

# An account that is older as a whole is as sound as before.
GROW_OLDER = [
    """
    update pgledger.pending_transactions
    set created_at = created_at - %(by)s, settled_at = settled_at - %(by)s,
        expires_at = expires_at - %(by)s
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


class TheWorld(Callers):
    """What happens besides: time, other systems, and readers."""

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
        known, moved = self.accounts[account], {"id": self.account_id(account), "by": by}
        known.grow_older(by)
        for query in GROW_OLDER:
            self.db.execute(query, moved)
        # The journal is only looked at for the day of a top-up that was posted at once.
        if any(m.known_as.startswith("#auto-") for m in known.posted):
            self.move_the_journal(moved)
        self.require_account(account)

    def move_the_journal(self, moved: dict[str, object]) -> None:
        with self.db.transaction():
            # Only here is it ever changed, and by its owner, who can.
            self.db.execute(
                "alter table pgledger.transactions disable trigger transactions_append_only"
            )
            self.db.execute(
                """
                update pgledger.transactions set created_at = created_at - %(by)s
                where account_id = %(id)s
                """,
                moved,
            )
            self.db.execute(
                "alter table pgledger.transactions enable always trigger transactions_append_only"
            )

    @rule(limit_count=st.sampled_from([1, 100]))
    def run_due(self, limit_count: int) -> None:
        due = [
            name
            for name, account in sorted(self.accounts.items())
            if any(m.is_due for m in account.announced.values())
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


# The examples of a run resemble each other; another name of the machine makes it begin elsewhere.
@pytest.mark.parametrize("name", ["Ada", "Bob", "Cleo", "Dora"])
def test_random_operations_and_a_plain_model_agree(db: Connection, name: str) -> None:
    db.execute("insert into pgledger.currencies (code, exponent) values ('EUR', 2)")
    LedgerMachine.db = db
    LedgerMachine.example = 0
    run_state_machine_as_test(
        type(name, (TheWorld,), {}),
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
