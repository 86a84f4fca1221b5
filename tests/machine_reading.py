"""Reads what the ledger says and holds, and requires that it is what the model says."""

from datetime import datetime, timedelta
from typing import ClassVar

from hypothesis.stateful import RuleBasedStateMachine

from tests import model
from tests.machine_records import (
    as_cap,
    as_day,
    as_event,
    as_journal,
    as_lots,
    as_plan,
    as_told,
)
from tests.model_records import now
from tests.sessions import Connection, Row

VERIFIED_EVERY = 5

READERS = """
select g.*,
  pgledger.get_credits(%(id)s) as credits,
  exists (select from pgledger.accounts a where a.account_id = %(id)s) as opened,
  exists (select from pgledger.balances b where b.account_id = %(id)s) as hot,
  (select to_jsonb(s) from pgledger.get_auto_top_up(%(id)s) s) as auto_top_up
from pgledger.get_balance(%(id)s) g
"""
JOURNAL = """
select t.account_id, coalesce(t.key, '#' || t.seq) as key, t.seq, t.type::text, t.amount,
  coalesce(t.requested_amount, t.amount) as requested_amount, t.running_balance,
  'POSTED' as status, t.reference, t.external_id, coalesce(t.metadata, '{}') as metadata,
  null as expires_at, t.original_seq, t.counterparty, t.usage,
  t.created_at,
  array(
    select jsonb_build_array(d.lot, d.amount)
    from pgledger.transaction_draws d
    where d.account_id = t.account_id and d.seq = t.seq
    order by d.place
  ) as parts
from pgledger.transactions t
where t.account_id = %(id)s
order by t.seq
"""


class Reading(RuleBasedStateMachine):
    """The ledger and its model, side by side, without anybody who calls them yet."""

    db: ClassVar[Connection]
    example: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        # Fresh accounts per example: the journal cannot be emptied, and need not be.
        Reading.example += 1
        self.accounts = {name: model.Account() for name in ("anna", "bert")}
        # Where all that expires is laid on one grid, so that it meets, and never meets now.
        self.noon = now()
        self.required = 0

    def account_id(self, name: str) -> str:
        return f"{name} {self.example}"

    def at(self, later: timedelta | None) -> datetime | None:
        return None if later is None else self.noon + later

    def seen(self, name: str, at: datetime | None = None) -> model.Account:
        """The model's account as readers see it now, with all that fell due."""
        self.accounts[name].now = at or now()
        return self.accounts[name].seen()

    def read(self, query: str, name: str, **given: object) -> list[Row]:
        return as_told(
            self.db.execute(query.encode(), {"id": self.account_id(name)} | given).fetchall()
        )

    def lose_the_balance_row_of(self, name: str) -> None:
        """As a restore may: what it knows must come back from the other tables."""
        self.read("delete from pgledger.balances where account_id = %(id)s returning 1", name)
        self.require_account(name)

    # What is required of every account after every step

    def require_account(self, name: str) -> None:
        """What the readers and the tables say of an account is what the model says."""
        self.require_journal(name)
        seen = self.seen(name)
        self.require_balance(name, seen)
        self.require_lots(name, seen)
        self.require_plan(name, seen)
        # It looks at the same tables, and costs more than all the rest: now and then will do.
        self.required += 1
        if self.required % VERIFIED_EVERY == 0:
            self.require_sound(name)

    def require_sound(self, name: str) -> None:
        assert self.read("select * from pgledger.verify(%(id)s)", name) == []

    def require_journal(self, name: str) -> None:
        """All that was posted, when, and who paid for it; and what the outbox was told."""
        account, account_id = self.accounts[name], self.account_id(name)
        assert self.read(JOURNAL, name) == as_journal(account_id, account.posted)
        told = self.read(
            "select kind, payload from pgledger.events where account_id = %(id)s order by seq", name
        )
        assert [as_event(row) for row in told] == account.events

    def require_balance(self, name: str, account: model.Account) -> None:
        (found,) = self.read(READERS, name)
        # An account that was never opened leaves nothing that could be in the way of its history.
        assert found.pop("hot") <= self.accounts[name].opened
        self.require_auto_top_up(name, found.pop("auto_top_up"))
        next_expiry_at, next_expiry_amount = account.next_expiry
        assert found == {
            "account_id": self.account_id(name),
            "currency": account.currency if account.known else None,
            "status": account.status if account.known else None,
            "balance": account.balance,
            "held": account.purse.held,
            "available": account.available,
            "min_balance": account.min_balance,
            "debt_floor": account.debt_floor,
            "low_balance_level": account.low_balance_level,
            "credits": account.available,
            "opened": self.accounts[name].opened,
            "next_expiry_at": next_expiry_at,
            "next_expiry_amount": next_expiry_amount,
        }

    def require_auto_top_up(self, name: str, found: Row | None) -> None:
        if self.accounts[name].auto_top_up is None:
            assert found is None
            return
        assert found is not None
        if found["resumes_at"] is not None:
            found["resumes_at"] = as_day(datetime.fromisoformat(found["resumes_at"]))
        assert found == self.auto_top_up(name)

    def auto_top_up(self, name: str) -> Row:
        """The model's auto-top-up, as get_auto_top_up shows it, a pause by its last day."""
        auto = self.accounts[name].auto_top_up
        assert auto is not None
        return vars(auto.settings) | {
            "account_id": self.account_id(name),
            "intents": auto.intents,
            "waiting_for": auto.waiting_for,
            "resumes_at": auto.paused_until,
        }

    def require_lots(self, name: str, account: model.Account) -> None:
        found = self.read("select * from pgledger.lots(%(id)s)", name)
        # A refill that fell due counts, but has no name of its own before it is posted.
        known = len(self.accounts[name].posted)
        assert found == [row for row in as_lots(account) if row["lot"] <= known]

    def require_plan(self, name: str, account: model.Account) -> None:
        """The plan and the cap, with what they leave now."""
        found = self.read("select * from pgledger.get_plan(%(id)s)", name)
        assert found == as_plan(account)
        found = self.read("select * from pgledger.get_spending_cap(%(id)s)", name)
        assert found == as_cap(account)
