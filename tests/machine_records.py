"""Calls of the ledger and what they answer, told in one way for the ledger and its model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from tests.model import Account
from tests.model_lots import NEVER, Lot
from tests.model_plans import Assignment
from tests.model_records import Event, Movement, Request
from tests.sessions import Row

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
        priority=given.get("priority", 0),
        extend=given.get("extend"),
    )


def shown(account_id: str, movement: Movement, at: datetime) -> Row:
    """A movement as get_transaction and history show it at an instant, but for its time."""
    status, expires_at = movement.recorded_status, None
    if movement.seq is None and movement.amount < 0:
        expires_at = movement.expires_at
        if movement.is_open and expires_at is not None and expires_at <= at:
            status = "EXPIRED"
    return {
        "account_id": account_id,
        "key": movement.known_as,
        "seq": movement.seq,
        "type": movement.type,
        "amount": movement.amount,
        "requested_amount": movement.requested,
        "running_balance": movement.running_balance,
        "status": status,
        "reference": movement.reference,
        "external_id": movement.external_id,
        "metadata": movement.metadata,
        "expires_at": expires_at,
        "original_seq": movement.original,
        "counterparty": movement.counterparty,
        "usage": None,
    }


NOT_IN_A_POSTING = (
    "reference",
    "external_id",
    "metadata",
    "expires_at",
    "original_seq",
    "counterparty",
    "usage",
)


def as_journal(account_id: str, posted: list[Movement]) -> list[Row]:
    """The journal as it must be recorded, its time and who paid included."""
    return [
        shown(account_id, movement, movement.at)
        | {"created_at": movement.at, "parts": [list(part) for part in movement.parts]}
        for movement in posted
    ]


def as_told(rows: list[Row]) -> list[Row]:
    """Rows of the ledger with the times in their metadata as times."""
    return [
        row | {"metadata": timed(row["metadata"])} if "metadata" in row else row for row in rows
    ]


def timed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    times = ("period_start", "period_end")
    return {
        name: datetime.fromisoformat(value) if name in times else value
        for name, value in metadata.items()
    }


def without_time(rows: list[Row]) -> list[Row]:
    return [{name: row[name] for name in row if name != "created_at"} for row in rows]


def as_event(row: Row) -> Event:
    payload = dict(row["payload"])
    if "expired_at" in payload:
        payload["expired_at"] = datetime.fromisoformat(payload["expired_at"])
    return Event(row["kind"], payload)


def as_day(at: datetime | None) -> date | None:
    return None if at is None else at.astimezone(UTC).date()


def as_lots(account: Account) -> list[Row]:
    """The lots as they are listed: open ones in draw order, then closed ones, newest first."""
    lots = account.purse.in_draw_order()
    closed = sorted((lot for lot in lots if not lot.is_open), key=lambda lot: -lot.seq)
    return [as_lot(lot, account) for lot in [*(lot for lot in lots if lot.is_open), *closed]]


def as_lot(lot: Lot, account: Account) -> Row:
    made = account.posted[lot.seq - 1]
    return {
        "lot": lot.seq,
        "key": made.known_as,
        "type": made.type,
        "granted": lot.granted,
        "drawn": lot.drawn,
        "expired": lot.expired,
        "held": lot.held,
        "remaining": lot.remaining,
        "priority": lot.priority,
        "expires_at": None if lot.expires_at == NEVER else lot.expires_at,
        "created_at": made.at,
        "metadata": made.metadata,
    }


def as_assignment(account_id: str, assignment: Assignment) -> Row:
    return {
        "account_id": account_id,
        "plan": assignment.plan.code,
        "starts_at": assignment.starts_at,
        "refill_at": assignment.refill_at,
        "next_plan": assignment.next_plan.code if assignment.next_plan else None,
    }


def as_plan(account: Account) -> list[Row]:
    """The plan of an account as get_plan tells it."""
    assignment = account.plan
    if assignment is None:
        return []
    lot = account.allowance()
    return [
        {
            "plan": assignment.plan.code,
            "policy": assignment.plan.policy,
            "amount": assignment.plan.amount,
            "period": assignment.plan.period,
            "anchor": assignment.plan.anchor,
            "time_zone": "UTC",
            "starts_at": assignment.starts_at,
            "refill_at": assignment.refill_at,
            "next_plan": assignment.next_plan.code if assignment.next_plan else None,
            "allowance_left": None if lot is None else account.purse.lots[lot].remaining,
        }
    ]


def as_cap(account: Account) -> list[Row]:
    """The spending cap of an account as get_spending_cap tells it."""
    if account.cap is None:
        return []
    return [
        {
            "amount": account.cap.amount,
            "period": account.cap.period,
            "time_zone": "UTC",
            "used": account.used,
            "remaining": max(account.cap.amount - account.used, 0),
            "resets_at": account.cap.resets_at(account.now),
        }
    ]
