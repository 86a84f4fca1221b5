"""One frozen dataclass per row shape; the fields are the columns, in the words of the database.

Amounts are whole minor units of the account's currency, never floats.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

TransactionType = Literal[
    "TOP_UP",
    "USAGE",
    "GRANT",
    "REFUND",
    "CARD_CHECK",
    "EXPIRY",
    "TRANSFER",
    "REVERSAL",
    "ADJUSTMENT",
]
AccountStatus = Literal["OPEN", "FROZEN", "CLOSED"]
PostingStatus = Literal["POSTED", "PENDING", "CANCELLED", "EXPIRED", "REFUSED"]
TransactionStatus = Literal["POSTED", "PENDING", "CANCELLED", "EXPIRED"]
Shortfall = Literal["REFUSE", "PARTIAL", "DEBT"]
AutoTopUpMode = Literal["INTENT", "INSTANT"]
PriceRounding = Literal["CEIL", "FLOOR", "HALF_EVEN"]
RefillPolicy = Literal["ADD", "TOP_UP_TO", "RESET"]
RefundRequestStatus = Literal["PENDING", "APPROVED", "REJECTED"]
PlanAnchor = Literal["CALENDAR", "ACCOUNT"]
IdentifierKind = Literal["EMAIL", "UUID", "INTEGER", "CUSTOMER", "PAYMENT_METHOD"]
EventKind = Literal[
    "top_up_requested",
    "low_balance",
    "hold_expired",
    "account_frozen",
    "top_up_paid",
    "top_up_failed",
    "payment_unmatched",
    "dispute_opened",
]
PaymentEventStatus = Literal["RECEIVED", "PROCESSED", "IGNORED", "FAILED"]
PaymentStatus = Literal["PROCESSING", "FAILED", "SUCCEEDED"]
ReturnKind = Literal["REFUND", "DISPUTE"]
ReturnStatus = Literal["PENDING", "SUCCEEDED", "FAILED", "OPEN", "LOST", "WON"]
RefundStatus = Literal["PENDING", "SUCCEEDED", "FAILED"]
DisputeStatus = Literal["OPEN", "LOST", "WON"]
DisputePolicy = Literal["FLAG", "FREEZE", "DEDUCT"]

# A period comes as words that PostgreSQL reads again, such as "1 month": psycopg would make 30 days
# of a month.
_PERIOD = {
    "column": "regexp_replace(concat_ws(' ',"
    " nullif(12 * date_part('year', period) + date_part('month', period), 0) || ' months',"
    " nullif(date_part('day', period), 0) || ' days'), '^1 (.*)s$', E'1 \\\\1')"
}


# A price is exact, and no float is: what holds one comes as text, and is read into Decimals.
def _numbers(text: str | None) -> Any:  # noqa: ANN401 - whatever the object holds
    return None if text is None else json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _exact(column: str) -> dict[str, Any]:
    return {"column": f"{column}::text", "read": _numbers}


@dataclass(frozen=True, slots=True)
class Posting:
    """What every posting answers.

    ``amount`` is what was applied or announced, signed; ``requested_amount`` what was asked, which
    differs after a ceiling or a partial spend. ``running_balance`` belongs to this transaction,
    ``balance`` and ``available`` are the account's now. ``seq`` and ``running_balance`` are None
    unless POSTED. ``replayed`` says that the key or external_id had its effect before. ``refusal``
    is the error code of a refusal that was asked for as a row, with ``amount`` 0, and ``error``
    its message, detail and hint; :func:`~pgledger.errors.refusal_of` makes an exception of it.
    """

    account_id: str
    key: str | None
    seq: int | None
    type: TransactionType | None
    amount: int
    requested_amount: int | None
    running_balance: int | None
    balance: int
    available: int
    status: PostingStatus
    replayed: bool
    refusal: str | None
    created_at: datetime | None
    error: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A recorded movement, posted or pending; ``key`` is ``#<seq>`` where the caller gave none.

    ``expires_at`` is that of a hold, ``original_seq`` what a refund or reversal undoes or whose
    credits expired, ``counterparty`` the other account of a transfer; None elsewhere. ``usage`` is
    what was used at which prices, where the amount was made of that: code, valid_from, rounding,
    the exact sum, and a breakdown by unit as in :class:`UsagePrice`, every number a Decimal.
    """

    account_id: str
    key: str
    seq: int | None
    type: TransactionType
    amount: int
    requested_amount: int
    running_balance: int | None
    status: TransactionStatus
    reference: str | None
    external_id: str | None
    metadata: dict[str, Any]
    created_at: datetime
    expires_at: datetime | None
    original_seq: int | None
    counterparty: str | None
    usage: dict[str, Any] | None = field(default=None, metadata=_exact("usage"))


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has: zeros, and None for currency and status, when the ledger knows none.

    ``next_expiry_amount`` credits go at ``next_expiry_at``; both are None when none will.
    """

    account_id: str
    currency: str | None
    status: AccountStatus | None
    balance: int
    held: int
    available: int
    min_balance: int
    debt_floor: int
    low_balance_level: int | None
    next_expiry_at: datetime | None
    next_expiry_amount: int | None


@dataclass(frozen=True, slots=True)
class Account:
    """The settings of an account; the floors are zero or negative minor units.

    ``low_balance_level`` is None where no level is set; ``events`` counts the account's events.
    """

    account_id: str
    currency: str
    status: AccountStatus
    min_balance: int
    debt_floor: int
    metadata: dict[str, Any]
    created_at: datetime
    low_balance_level: int | None
    events: int


@dataclass(frozen=True, slots=True)
class AutoTopUp:
    """When an account tops itself up, and what holds it back now; minor units.

    It is armed while it is ``enabled``, ``waiting_for`` no intent (its key), and not paused at a
    limit (``resumes_at``, the end of the period). ``intents`` counts all there ever were. None is
    no limit.
    """

    account_id: str
    threshold: int
    amount: int
    mode: AutoTopUpMode
    enabled: bool
    daily_count_limit: int | None
    daily_amount_limit: int | None
    monthly_count_limit: int | None
    monthly_amount_limit: int | None
    intents: int
    waiting_for: str | None
    resumes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lot:
    """Credits with an expiry or a priority of their own; minor units.

    ``lot`` is the seq of the transaction that made it, ``key`` and ``type`` are that transaction's.
    ``granted`` is what it brought after it paid a debt, ``drawn`` what was spent or revoked of it
    less what was given back, ``held`` what open holds reserve, ``remaining`` what can be drawn.
    Lower ``priority`` is drawn first. ``expires_at`` is None where it never expires.
    """

    lot: int
    key: str
    type: TransactionType
    granted: int
    drawn: int
    expired: int
    held: int
    remaining: int
    priority: int
    expires_at: datetime | None
    created_at: datetime
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExpiringLot:
    """A lot that is about to expire, and the ``amount`` that would; ``held`` goes when released."""

    lot: int
    key: str
    amount: int
    held: int
    expires_at: datetime
    priority: int


@dataclass(frozen=True, slots=True)
class Draw:
    """One of the sources that a transaction drew from, or gave back to, and why it.

    ``amount`` is above 0 for what was drawn. ``lot`` and ``lot_key`` are None for the pool, which
    stands at priority 0 and never expires.
    """

    place: int
    lot: int | None
    lot_key: str | None
    amount: int
    priority: int | None
    expires_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class BalanceItem:
    """One of the rows that explain a balance, in words too; minor units, signed."""

    item: str
    lot: int | None
    key: str | None
    amount: int | None
    expires_at: datetime | None
    words: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is granted each ``period``; a plan is never changed.

    ADD grants ``amount``, TOP_UP_TO fills the balance up to it, RESET grants it as a lot that
    expires when the period ends. Periods begin with the CALENDAR, or where the ACCOUNT began.
    """

    code: str
    amount: int
    period: str = field(metadata=_PERIOD)
    policy: RefillPolicy
    anchor: PlanAnchor
    time_zone: str
    metadata: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PlanAssignment:
    """The plan an account is on; ``refill_at`` is when the next refill is due, or the change.

    ``next_plan`` is the plan that takes over with the next period, None where none was asked for.
    """

    account_id: str
    plan: str
    starts_at: datetime
    refill_at: datetime
    next_plan: str | None


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """The plan an account is on, with its terms, and what is left of a RESET plan's allowance."""

    plan: str
    policy: RefillPolicy
    amount: int
    period: str = field(metadata=_PERIOD)
    anchor: PlanAnchor
    time_zone: str
    starts_at: datetime
    refill_at: datetime
    next_plan: str | None
    allowance_left: int | None


@dataclass(frozen=True, slots=True)
class SpendingCap:
    """How much an account may use in a calendar period; this one ends at ``resets_at``."""

    account_id: str
    amount: int
    period: str = field(metadata=_PERIOD)
    time_zone: str
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class SpendingCapUsage:
    """A spending cap, and what was used and remains of it in this period; minor units."""

    amount: int
    period: str = field(metadata=_PERIOD)
    time_zone: str
    used: int
    remaining: int
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class PriceList:
    """What a code costs from ``valid_from`` on, per unit; minor units of credits, exact.

    ``rounding`` says how the sum over all units becomes whole minor units. ``changed`` is False
    where this was in force already, and nothing was written.
    """

    code: str
    valid_from: datetime
    rounding: PriceRounding
    prices: dict[str, Decimal] = field(metadata=_exact("prices"))
    metadata: dict[str, Any]
    changed: bool


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """What one unit of a code costs; ``valid_until`` is None where nothing follows."""

    code: str
    valid_from: datetime
    valid_until: datetime | None
    rounding: PriceRounding
    unit: str
    credits_per_unit: Decimal
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UsagePrice:
    """What usage costs: ``cost`` in whole minor units, ``exact`` before it was rounded.

    ``breakdown`` has by unit the ``quantity``, the ``credits_per_unit`` and their product,
    ``credits``: Decimals all.
    """

    code: str
    valid_from: datetime
    rounding: PriceRounding
    cost: int
    exact: Decimal
    breakdown: dict[str, dict[str, Decimal]] = field(metadata=_exact("breakdown"))


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event to be handled and then acknowledged by account and ``seq``."""

    account_id: str
    seq: int
    kind: EventKind
    payload: dict[str, Any]
    created_at: datetime
    deliveries: int


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the outbox; ``acked_at`` is None until somebody has handled it."""

    account_id: str
    seq: int
    kind: EventKind
    payload: dict[str, Any]
    created_at: datetime
    visible_at: datetime
    deliveries: int
    acked_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what by hand; ``account_id`` is empty where it concerned no single account."""

    account_id: str
    id: UUID
    act: str
    actor: str
    arguments: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """A refund that somebody asked for, what was decided, and what came of it.

    ``amount`` is in credits, minor units; ``money`` in the smallest unit of ``money_currency``,
    None where the top-up has no payment here. ``seq`` is that of the REFUND, None unless APPROVED.
    ``due_at`` is when a worker may claim it to have the money given back, None where nothing is
    left to do; ``result`` what became of that.
    """

    account_id: str
    key: str
    original_seq: int
    amount: int
    status: RefundRequestStatus
    reason: str | None
    requested_by: str
    decision: str | None
    decided_by: str | None
    decided_at: datetime | None
    seq: int | None
    provider: str | None
    payment_id: str | None
    money: int | None
    money_currency: str | None
    return_id: str | None
    result: str | None
    due_at: datetime | None
    claims: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClaimedRefund:
    """An approved refund whose money the provider is to give back, in ``money_currency``.

    ``idempotency_key`` is always the same for the same request. Above 1 ``claims`` the money may be
    on its way already.
    """

    account_id: str
    key: str
    amount: int
    provider: str
    payment_id: str
    money: int
    money_currency: str
    claims: int
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class ReferenceUsage:
    """What one execution used: its spends as one row; ``amount`` is their sum, signed."""

    reference: str | None
    spends: int
    amount: int
    first_seq: int
    last_seq: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Charge:
    """What a provider is to be asked for: a checkout for a top-up, a charge for an auto-top-up.

    ``amount`` is credits, ``price`` money in the smallest unit of ``price_currency``: None for an
    auto-top-up, which the worker prices. ``attempt`` counts the declines before, ``claims`` how
    often this attempt was claimed: above 1 it may have been charged before. ``idempotency_key`` is
    what the provider must know it by. ``due_at`` is when it may be claimed again; None for a
    checkout, and where nothing is left to do. Where it is not ``is_wanted`` any more, what was
    charged before is to be found, and nothing is to be charged.
    """

    account_id: str
    key: str
    amount: int
    status: TransactionStatus
    replayed: bool
    reference: str | None
    price: int | None
    price_currency: str | None
    attempt: int
    claims: int
    idempotency_key: str
    customer: str | None
    payment_method: str | None
    created_at: datetime
    due_at: datetime | None = None
    is_wanted: bool = True


@dataclass(frozen=True, slots=True)
class TopUpLimits:
    """What top-ups keep to; minor units, None is no limit.

    ``account_id`` is empty where these are the limits of all accounts that have none of their own.
    """

    account_id: str
    minimum: int | None
    multiple_of: int | None
    maximum: int | None
    daily_count_limit: int | None
    daily_amount_limit: int | None


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """An event of the provider, and what became of it.

    ``error`` is the sqlstate and the message of the last attempt where that FAILED, ``result`` has
    an element per fact in the event, what it did. ``is_new`` says that nobody told of it before.
    """

    provider: str
    event_id: str
    type: str
    status: PaymentEventStatus
    attempts: int
    error: Mapping[str, Any] | None = field(hash=False)
    result: list[Any] | None = field(hash=False)
    occurred_at: datetime | None
    received_at: datetime
    processed_at: datetime | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class StoredPaymentEvent:
    """An event of the provider with its ``payload``, verbatim, which may hold personal data."""

    provider: str
    event_id: str
    type: str
    payload: str
    status: PaymentEventStatus
    attempts: int
    error: Mapping[str, Any] | None = field(hash=False)
    result: list[Any] | None = field(hash=False)
    occurred_at: datetime | None
    received_at: datetime
    processed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Payment:
    """What is known of a payment at the provider, and what it did.

    ``amount`` and ``taken`` are credits: what was bought, and what refunds and disputes have taken
    back. ``paid``, ``refunded`` and ``disputed`` are money in the smallest unit of
    ``paid_currency``. ``seq`` is the transaction it became: a payment that SUCCEEDED without one is
    unmatched, and ``reason`` says why.
    """

    provider: str
    payment_id: str
    status: PaymentStatus
    account_id: str | None
    key: str | None
    amount: int | None
    paid: int | None
    paid_currency: str | None
    refunded: int
    disputed: int
    taken: int
    reason: str | None
    seq: int | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentReturn:
    """A refund or a dispute of a payment: ``amount`` of money, in the smallest unit of currency.

    ``return_id`` is the provider's id, or the payment's own for what is known only as the sum of
    its refunds. ``taken`` is the credits it has taken, less what it gave back.
    """

    provider: str
    return_id: str
    payment_id: str
    kind: ReturnKind
    amount: int
    currency: str | None
    status: ReturnStatus
    policy: DisputePolicy | None
    request_key: str | None
    account_id: str | None
    taken: int
    occurred_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CardCheck:
    """A card that was put on file, and the credits that are given for it, where there are any.

    ``key``, ``seq`` and ``amount`` are None where none were; ``replayed`` says that they were given
    before. ``balance`` is the account's now.
    """

    account_id: str
    key: str | None
    seq: int | None
    amount: int | None
    balance: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One finding of verify(): what the rest of the record says, and what stands there."""

    account_id: str | None
    rule: str
    seq: int | None
    key: str | None
    expected: str | None
    found: str | None


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name by which others know an account, in its normal form: an email in lower case."""

    kind: IdentifierKind
    value: str
    account_id: str
    linked_at: datetime


@dataclass(frozen=True, slots=True)
class ResolvedAccount:
    """Whose an identifier is; ``opened`` says that this call opened the account."""

    account_id: str
    kind: IdentifierKind
    value: str
    opened: bool
