"""Makes every call on both sides, the ledger's and the model's, and requires that they agree."""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import psycopg
from hypothesis.stateful import Bundle
from psycopg import sql
from psycopg.types.json import Jsonb

from tests import model
from tests.machine_reading import Reading
from tests.machine_records import (
    NOT_IN_A_POSTING,
    UNDOERS,
    Call,
    as_assignment,
    as_day,
    as_request,
    shown,
    without_time,
)
from tests.model_auto_top_up import Settings
from tests.model_plans import Cap
from tests.model_records import Answer, Misused, Refused, now
from tests.sessions import Row
from tests.strategies import PLANS

GENERATED_KEY = re.compile(r"#[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

RECORDED = """
select max(at) as at
from (
  select created_at from pgledger.transactions where account_id = %(id)s
  union all
  select expires_at from pgledger.lots where account_id = %(id)s
) instants (at)
where at between %(began)s and %(ended)s
"""
# These answer with the settings they leave.
SETTERS = frozenset(
    {
        "open_account",
        "set_account_status",
        "set_limits",
        "set_low_balance_level",
        "set_auto_top_up",
    }
)
PLANNERS = frozenset({"assign_plan", "clear_plan", "set_spending_cap"})
# These name what is recorded already, so their refusals tell neither its type nor its amount.
SETTLERS = frozenset({"enable_transaction", "cancel_transaction", "capture", "release"})


class LedgerMachine(Reading):
    calls: Bundle[Call] = Bundle("calls")

    # Making a call, on both sides

    def made(self, verb: str, account: str, **arguments: object) -> Call:
        call = Call(verb, account, arguments)
        self.make(call)
        return call

    def make(self, call: Call) -> None:
        """Make the call, and require what the model answers."""
        before = copy.deepcopy(self.accounts)
        began = now()
        rows, raised = self.execute(call)
        self.learn_when(call, rows, began)
        refusal = None
        try:
            expected = self.expect(call, rows[0] if rows else {})
        except (Misused, Refused) as refused:
            refusal = refused
        if refusal is None:
            assert (raised, rows) == (None, expected)
        elif isinstance(refusal, Refused) and call.refusal_as_row:
            # A refusal that is returned posts what is due, as whatever succeeds does.
            self.accounts[call.account].settle()
            assert raised is None
            self.require_refusal(call, rows[0], refusal.code)
        else:
            self.accounts = before
            assert raised == refusal.code
        for name in call.accounts:
            self.require_account(name)

    def learn_when(self, call: Call, rows: list[Row], began: datetime) -> None:
        """Tell the model at which instant the ledger judged, which must lie within the call."""
        ended = now()
        for name in call.accounts:
            (found,) = self.read(RECORDED, name, began=began, ended=ended)
            starts = (row.get("starts_at") for row in rows)
            within = [at for at in starts if at is not None and began <= at <= ended]
            self.accounts[name].now = max([found["at"] or began, *within])

    def execute(self, call: Call) -> tuple[list[Row], str | None]:
        """The rows that the ledger answers, without their time, or the SQLSTATE that it raises."""
        arguments = {
            name: Jsonb(value) if isinstance(value, dict) else value
            for name, value in call.arguments.items()
        }
        account = "from_account_id" if call.verb == "transfer" else "account_id"
        arguments[account] = self.account_id(call.account)
        if call.verb == "transfer":
            arguments["to_account_id"] = self.account_id(call.arguments["to_account_id"])
        query = sql.SQL("select * from pgledger.{}({})").format(
            sql.Identifier(call.verb),
            sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name))
                for name in arguments
            ),
        )
        try:
            with self.a_savepoint_if_in_a_transaction():
                rows = self.db.execute(query, arguments).fetchall()
        except psycopg.Error as error:
            return [], error.sqlstate
        if call.verb == "set_auto_top_up":
            return [row | {"resumes_at": as_day(row["resumes_at"])} for row in rows], None
        if call.verb in PLANNERS:
            return rows, None
        assert all((row["created_at"] is None) is (row.get("status") == "REFUSED") for row in rows)
        return without_time(rows), None

    @contextmanager
    def a_savepoint_if_in_a_transaction(self) -> Iterator[None]:
        if self.db.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            yield
        else:
            with self.db.transaction():
                yield

    def expect(self, call: Call, row: Row) -> list[Row]:
        """The model's answer, as rows."""
        account = self.accounts[call.account]
        if call.verb in SETTERS:
            return self.expect_settings(call, account)
        if call.verb in PLANNERS:
            return self.expect_plan(call, account)
        # Only the ledger knows what it calls an announcement without a key.
        generated = row.get("key") or ""
        answer = self.ask_model(
            call, account, generated if GENERATED_KEY.fullmatch(generated) else "no such key"
        )
        if answer is None:
            return []
        account = self.seen(call.account, account.now)
        movement = shown(self.account_id(call.account), answer.movement, account.now)
        for name in NOT_IN_A_POSTING:
            del movement[name]
        return [
            movement
            | {
                "balance": account.balance,
                "available": account.available,
                "replayed": answer.replayed,
                "refusal": None,
                "error": None,
            }
        ]

    def ask_model(self, call: Call, account: model.Account, generated_key: str) -> Answer | None:
        given = call.arguments
        match call.verb:
            case "cancel_transaction" | "release":
                return account.cancel(given["key"], only_hold=call.verb == "release")
            case "enable_transaction" | "capture":
                return account.enable(
                    given["key"],
                    amount=given["amount"],
                    external_id=given.get("external_id"),
                    metadata=given["metadata"] or {},
                    only_hold=call.verb == "capture",
                )
            case "check_auto_top_up":
                return account.check_auto_top_up(given["reference"])
            case "refund" | "reverse_transaction" | "revoke_lot":
                return self.undo_in_model(call, account)
            case "transfer":
                return self.transfer_in_model(call, account)
            case _:
                return account.add(as_request(call), generated_key=generated_key)

    def undo_in_model(self, call: Call, account: model.Account) -> Answer:
        given = call.arguments
        if call.verb == "revoke_lot":
            return account.revoke_lot(given["key"], given["reason"])
        return account.undo(as_request(call), given["original_key"], given["amount"])

    def transfer_in_model(self, call: Call, sender: model.Account) -> Answer:
        receiver = call.arguments["to_account_id"]
        if receiver == call.account:
            raise Misused("22023")
        debit = replace(as_request(call), counterparty=self.account_id(receiver))
        return model.transfer(sender, self.accounts[receiver], debit, self.account_id(call.account))

    def expect_settings(self, call: Call, account: model.Account) -> list[Row]:
        given = call.arguments
        match call.verb:
            case "open_account":
                account.open(**given)
            case "set_account_status":
                account.set_status(given["status"])
            case "set_limits":
                account.set_limits(**given)
            case "set_low_balance_level":
                account.set_low_balance_level(given["level"])
            case _:
                account.set_auto_top_up(Settings(**given))
                return [self.auto_top_up(call.account)]
        return [
            {
                "account_id": self.account_id(call.account),
                "currency": account.currency,
                "status": account.status,
                "min_balance": account.min_balance,
                "debt_floor": account.debt_floor,
                "metadata": {},
                "low_balance_level": account.low_balance_level,
                "events": len(account.events),
            }
        ]

    def expect_plan(self, call: Call, account: model.Account) -> list[Row]:
        given, account_id = call.arguments, self.account_id(call.account)
        if call.verb == "assign_plan":
            account.assign_plan(**given | {"plan": PLANS[given["plan"]]})
            assert account.plan is not None
            return [as_assignment(account_id, account.plan)]
        if call.verb == "clear_plan":
            cleared = account.clear_plan(**given)
            return [as_assignment(account_id, cleared)] if cleared else []
        amount, period = given["amount"], given["period"]
        account.set_cap(None if amount is None else Cap(amount=amount, period=period))
        if account.cap is None:
            return []
        resets_at = account.cap.resets_at(account.now)
        zone = {"account_id": account_id, "time_zone": "UTC"}
        return [zone | {"amount": amount, "period": period, "resets_at": resets_at}]

    def require_refusal(self, call: Call, row: Row, code: str) -> None:
        account = self.accounts[call.account]
        expected: Row = {
            "account_id": self.account_id(call.account),
            "key": call.arguments["key"],
            "seq": None,
            "amount": 0,
            "running_balance": None,
            "balance": account.balance,
            "available": account.available,
            "status": "REFUSED",
            "replayed": False,
            "refusal": code,
        }
        assert (row["error"] or {}).keys() == {"message", "detail", "hint"}
        if call.verb == "revoke_lot":
            # What it would have recorded has a key of the ledger's own.
            del expected["key"]
            expected["type"] = "REVERSAL"
        elif call.verb not in SETTLERS:
            request = as_request(call)
            expected["type"] = request.type
            if call.verb not in UNDOERS:
                expected["requested_amount"] = request.amount
        assert {name: row.get(name) for name in expected} == expected
