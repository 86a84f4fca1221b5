"""Makes every call on both sides, the ledger's and the model's, and requires that they agree."""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, ClassVar

import psycopg
from hypothesis.stateful import RuleBasedStateMachine
from psycopg import sql
from psycopg.types.json import Jsonb

from tests import model
from tests.model_auto_top_up import Settings
from tests.model_records import Answer, Event, Misused, Movement, Refused, Request
from tests.sessions import Connection, Row

GENERATED_KEY = re.compile(r"#[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

SETTERS = frozenset(
    {"open_account", "set_account_status", "set_limits", "set_low_balance_level", "set_auto_top_up"}
)
# These name what is recorded already, so their refusals tell neither its type nor its amount.
SETTLERS = frozenset({"enable_transaction", "cancel_transaction", "capture", "release"})
UNDOERS = {"refund": "REFUND", "reverse_transaction": "REVERSAL"}


@dataclass(frozen=True)
class Call:
    """A call of the ledger, to be made again, or changed a little and made again."""

    verb: str
    account: str
    arguments: dict[str, Any]

    def changed(self, **changes: object) -> "Call":
        known = {name: value for name, value in changes.items() if name in self.arguments}
        return replace(self, arguments=self.arguments | known)

    @property
    def refusal_as_row(self) -> bool:
        return self.arguments.get("raise_refusals") is False

    @property
    def accounts(self) -> list[str]:
        other = self.arguments.get("to_account_id", self.account)
        return [self.account] if other == self.account else [self.account, other]


def as_request(call: Call) -> Request:
    """What add_transaction and its special cases, and undoing, ask for."""
    given = call.arguments
    fixed = {"spend": "USAGE", "hold": "USAGE", "top_up": "TOP_UP", "grant_credits": "GRANT"}
    fixed |= UNDOERS | {"transfer": "TRANSFER"}
    forced = given.get("fail_insufficient_credits") is False or call.verb == "reverse_transaction"
    debits = call.verb in {"spend", "hold", "transfer"}
    return Request(
        amount=-given["amount"] if debits else given["amount"] or 0,
        type=fixed.get(call.verb) or given["type"],
        key=given["key"],
        announced=call.verb == "hold" or not given.get("is_active", True),
        ceiling=given.get("ceiling_balance"),
        shortfall="FORCE" if forced else given.get("shortfall", "REFUSE"),
        reference=given["reference"],
        external_id=given.get("external_id"),
        metadata=given["metadata"] or {},
        expires_at=given.get("expires_at"),
    )


def shown(account_id: str, movement: Movement) -> Row:
    """A movement as get_transaction and history show it, but for its time."""
    return {
        "account_id": account_id,
        "key": movement.known_as,
        "seq": movement.seq,
        "type": movement.type,
        "amount": movement.amount,
        "requested_amount": movement.requested,
        "running_balance": movement.running_balance,
        "status": movement.status,
        "reference": movement.reference,
        "external_id": movement.external_id,
        "metadata": movement.metadata,
        "expires_at": movement.expires_at,
        "original_seq": movement.original,
        "counterparty": movement.counterparty,
    }


NOT_IN_A_POSTING = (
    "reference",
    "external_id",
    "metadata",
    "expires_at",
    "original_seq",
    "counterparty",
)


def without_time(rows: list[Row]) -> list[Row]:
    return [{name: row[name] for name in row if name != "created_at"} for row in rows]


def as_event(row: Row) -> Event:
    payload = dict(row["payload"])
    if "expired_at" in payload:
        payload["expired_at"] = datetime.fromisoformat(payload["expired_at"])
    return Event(row["kind"], payload)


def as_day(at: datetime | None) -> date | None:
    return None if at is None else at.astimezone(UTC).date()


class LedgerMachine(RuleBasedStateMachine):
    """The ledger and its model, side by side, without anybody who calls them yet."""

    db: ClassVar[Connection]
    example: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        # Fresh accounts per example: the journal cannot be emptied, and need not be.
        LedgerMachine.example += 1
        self.accounts = {name: model.Account() for name in ("anna", "bert")}

    def account_id(self, name: str) -> str:
        return f"{name} {self.example}"

    # Making a call, on both sides

    def make(self, call: Call) -> None:
        """Make the call, and require what the model answers."""
        before = copy.deepcopy(self.accounts)
        rows, raised = self.execute(call)
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
            return [self.expect_settings(call, account)]
        # Only the ledger knows what it calls an announcement without a key.
        generated = row.get("key") or ""
        answer = self.ask_model(
            call, account, generated if GENERATED_KEY.fullmatch(generated) else "no such key"
        )
        if answer is None:
            return []
        movement = shown(self.account_id(call.account), answer.movement)
        for name in NOT_IN_A_POSTING:
            del movement[name]
        return [
            movement
            | {
                "balance": account.balance,
                "available": account.available,
                "replayed": answer.replayed,
                "refusal": None,
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
            case "refund" | "reverse_transaction":
                return account.undo(as_request(call), given["original_key"], given["amount"])
            case "transfer":
                return self.transfer_in_model(call, account)
            case _:
                return account.add(as_request(call), generated_key=generated_key)

    def transfer_in_model(self, call: Call, sender: model.Account) -> Answer:
        receiver = call.arguments["to_account_id"]
        if receiver == call.account:
            raise Misused("22023")
        debit = replace(as_request(call), counterparty=self.account_id(receiver))
        return model.transfer(sender, self.accounts[receiver], debit, self.account_id(call.account))

    def expect_settings(self, call: Call, account: model.Account) -> Row:
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
                return self.auto_top_up(call.account)
        return {
            "account_id": self.account_id(call.account),
            "currency": account.currency,
            "status": account.status,
            "min_balance": account.min_balance,
            "debt_floor": account.debt_floor,
            "metadata": {},
            "low_balance_level": account.low_balance_level,
            "events": len(account.events),
        }

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
        if call.verb not in SETTLERS:
            request = as_request(call)
            expected["type"] = request.type
            if call.verb not in UNDOERS:
                expected["requested_amount"] = request.amount
        assert {name: row.get(name) for name in expected} == expected

    # Reading what there is

    def require_account(self, name: str) -> None:
        """What the readers and the tables say of an account is what the model says."""
        account, account_id = self.accounts[name], self.account_id(name)
        found = self.db.execute(
            """
            select g.*,
              pgledger.get_credits(%(id)s) as credits,
              exists (select from pgledger.accounts a where a.account_id = %(id)s) as opened,
              exists (select from pgledger.balances b where b.account_id = %(id)s) as hot,
              (select to_jsonb(s) from pgledger.get_auto_top_up(%(id)s) s) as auto_top_up
            from pgledger.get_balance(%(id)s) g
            """,
            {"id": account_id},
        ).fetchone()
        assert found is not None
        # An account that was never opened leaves nothing that could be in the way of its history.
        assert found.pop("hot") <= account.opened
        self.require_auto_top_up(name, found.pop("auto_top_up"))
        assert found == {
            "account_id": account_id,
            "currency": account.currency if account.known else None,
            "status": account.status if account.known else None,
            "balance": account.balance,
            "held": account.held,
            "available": account.available,
            "min_balance": account.min_balance,
            "debt_floor": account.debt_floor,
            "low_balance_level": account.low_balance_level,
            "credits": account.available,
            "opened": account.opened,
        }
        told = self.db.execute(
            "select kind, payload from pgledger.events where account_id = %s order by seq",
            (account_id,),
        ).fetchall()
        assert [as_event(row) for row in told] == account.events
        unsound = self.db.execute("select * from pgledger.verify(%s)", (account_id,)).fetchall()
        assert unsound == []

    def require_auto_top_up(self, name: str, found: Row | None) -> None:
        if self.accounts[name].auto_top_up is None:
            assert found is None
            return
        assert found is not None
        if found["resumes_at"] is not None:
            found["resumes_at"] = as_day(datetime.fromisoformat(found["resumes_at"]))
        assert found == self.auto_top_up(name)
