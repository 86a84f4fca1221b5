"""Time, which passes by moving what is recorded into the past, and what is done about it."""

from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine import LedgerMachine
from tests.model import Account
from tests.model_records import now
from tests.strategies import ACCOUNTS, DAY, STEP, WEEK

# An account that is older as a whole is as sound as before.
TIMES = """
select table_name, column_name
from information_schema.columns
where table_schema = 'pgledger' and data_type = 'timestamp with time zone'
  and table_name in (
    select table_name from information_schema.columns
    where table_schema = 'pgledger' and column_name = 'account_id')
  and table_name in (
    select table_name from information_schema.tables
    where table_schema = 'pgledger' and table_type = 'BASE TABLE')
order by 1, 2
"""
# The day in a refill's key is that of its period; two steps, because what was the key of one
# becomes that of another.
MOVE_REFILLS = [
    """
    update pgledger.transactions
    set key = '#moved ' || seq, metadata = metadata || jsonb_build_object(
      'period_start', pgledger._utc((metadata ->> 'period_start')::timestamptz - %(by)s),
      'period_end', pgledger._utc((metadata ->> 'period_end')::timestamptz - %(by)s))
    where account_id = %(id)s and key like '#refill-%%'
    """,
    """
    update pgledger.transactions
    set key = '#refill-' || (metadata ->> 'plan') || '-' || to_char(
      (metadata ->> 'period_start')::timestamptz at time zone 'UTC', 'YYYY-MM-DD')
    where account_id = %(id)s and key like '#moved %%'
    """,
]


class Time(LedgerMachine):
    @rule(
        account=ACCOUNTS,
        by=st.sampled_from([STEP, DAY, DAY, 2 * DAY, 5 * STEP, WEEK, 40 * DAY]),
    )
    def time_passes(self, account: str, by: timedelta) -> None:
        self.grow_older(account, by)

    @rule(account=ACCOUNTS, more=st.sampled_from([0, 0, 1]))
    def something_falls_due(self, account: str, more: int) -> None:
        if self.next_due(account) is not None:
            self.let_fall_due(account, more)

    def let_fall_due(self, name: str, more: int) -> None:
        """Let time pass until something falls due that is not, in whole steps, or longer."""
        due = self.next_due(name)
        assert due is not None
        self.grow_older(name, ((due - now()) // STEP + 1 + more) * STEP)

    def next_due(self, name: str) -> datetime | None:
        account = self.accounts[name]
        account.now = now()
        dues = [lot.due_at for lot in account.purse.lots.values()]
        dues += [m.expires_at for m in account.announced.values() if m.is_open_hold]
        dues += [account.plan.refill_at] if account.plan else []
        return min((due for due in dues if due is not None and due > account.now), default=None)

    def grow_older(self, name: str, by: timedelta) -> None:
        known = self.accounts[name]
        by = -(-by // whole(known)) * whole(known)
        moved = {"id": self.account_id(name), "by": by}
        known.grow_older(by)
        times = self.db.execute(TIMES).fetchall()
        with self.db.transaction():
            # Only here is the journal ever changed, and by its owner, who can.
            self.db.execute(
                "alter table pgledger.transactions disable trigger transactions_append_only"
            )
            for table in sorted({row["table_name"] for row in times} - {"audit_log", "events"}):
                columns = [row["column_name"] for row in times if row["table_name"] == table]
                older = ", ".join(f"{column} = {column} - %(by)s" for column in columns)
                update = f"update pgledger.{table} set {older} where account_id = %(id)s"
                self.db.execute(update.encode(), moved)
            for query in MOVE_REFILLS:
                self.db.execute(query.encode(), moved)
            self.db.execute(
                "alter table pgledger.transactions enable always trigger transactions_append_only"
            )
        self.require_account(name)

    @rule(limit_count=st.sampled_from([1, 100]))
    def run_due(self, limit_count: int) -> None:
        due = []
        for name, account in sorted(self.accounts.items()):
            account.now = now()
            if account.is_due:
                due.append(name)
        for name in due[:limit_count]:
            self.accounts[name].settle()
        found = self.db.execute("select pgledger.run_due(%s) as settled", (limit_count,)).fetchall()
        assert found == [{"settled": len(due[:limit_count])}]
        for name in self.accounts:
            self.require_account(name)


def whole(account: Account) -> timedelta:
    """The steps of time that keep an account's periods in the calendar where they are."""
    assigned = account.plan
    plans = [assigned.plan, assigned.next_plan] if assigned else []
    periods = [plan.period for plan in plans if plan and plan.anchor == "CALENDAR"]
    if account.cap is not None:
        periods.append(account.cap.period)
    if WEEK in periods:
        return WEEK
    refilled = any("period_start" in m.metadata for m in account.posted)
    return DAY if periods or refilled or account.auto_top_up else STEP
