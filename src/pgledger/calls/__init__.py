"""Every operation, once: a pure function from arguments to the call of one SQL function.

The arguments are those of the SQL functions, whose comments tell the rules; None means "not given",
and the defaults live in the database. Amounts are whole minor units. A refusal raises a
:class:`~pgledger.errors.LedgerError`, or comes back as a :class:`~pgledger.records.Posting` with
status REFUSED where ``raise_refusals=False``.
"""

from pgledger.calls._call import Call, Metadata
from pgledger.calls.accounts import (
    check_auto_top_up,
    get_auto_top_up,
    open_account,
    set_account_status,
    set_auto_top_up,
    set_limits,
    set_low_balance_level,
)
from pgledger.calls.background import (
    ack_events,
    claim_events,
    list_events,
    run_due,
)
from pgledger.calls.movements import (
    add_transaction,
    cancel_transaction,
    capture,
    enable_transaction,
    grant_credits,
    hold,
    refund,
    release,
    reverse_transaction,
    spend,
    top_up,
    transfer,
)
from pgledger.calls.reading import (
    balance_at,
    check_credits,
    get_balance,
    get_credits,
    get_transaction,
    history,
    usage_by_reference,
    verify,
)

__all__ = [
    "Call",
    "Metadata",
    "ack_events",
    "add_transaction",
    "balance_at",
    "cancel_transaction",
    "capture",
    "check_auto_top_up",
    "check_credits",
    "claim_events",
    "enable_transaction",
    "get_auto_top_up",
    "get_balance",
    "get_credits",
    "get_transaction",
    "grant_credits",
    "history",
    "hold",
    "list_events",
    "open_account",
    "refund",
    "release",
    "reverse_transaction",
    "run_due",
    "set_account_status",
    "set_auto_top_up",
    "set_limits",
    "set_low_balance_level",
    "spend",
    "top_up",
    "transfer",
    "usage_by_reference",
    "verify",
]
