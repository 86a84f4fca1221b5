"""Every operation, once: a pure function from arguments to the call of one SQL function.

The arguments are those of the SQL functions, whose comments tell the rules; None means "not given",
and the defaults live in the database. Amounts are whole minor units. A refusal raises a
:class:`~pgledger.errors.LedgerError`, or comes back as a :class:`~pgledger.records.Posting` with
status REFUSED where ``raise_refusals=False``. ``actor`` is who does it, as list_audit tells it;
when not given it is the role that is logged in.
"""

from pgledger.calls._call import Call, Metadata, Period, Quantities
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
from pgledger.calls.batches import BatchItem, BatchShortfall, post_batch
from pgledger.calls.credits import expiring, lots, revoke_lot
from pgledger.calls.identifiers import (
    link_identifier,
    list_identifiers,
    resolve_account,
    unlink_identifier,
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
from pgledger.calls.plans import (
    assign_plan,
    clear_plan,
    create_plan,
    get_plan,
    get_spending_cap,
    list_plans,
    set_spending_cap,
)
from pgledger.calls.prices import (
    capture_usage,
    hold_usage,
    list_prices,
    price,
    set_price,
    spend_usage,
)
from pgledger.calls.reading import (
    balance_at,
    check_credits,
    explain_balance,
    explain_transaction,
    get_balance,
    get_credits,
    get_transaction,
    history,
    list_audit,
    usage_by_reference,
    verify,
)

__all__ = [
    "BatchItem",
    "BatchShortfall",
    "Call",
    "Metadata",
    "Period",
    "Quantities",
    "ack_events",
    "add_transaction",
    "assign_plan",
    "balance_at",
    "cancel_transaction",
    "capture",
    "capture_usage",
    "check_auto_top_up",
    "check_credits",
    "claim_events",
    "clear_plan",
    "create_plan",
    "enable_transaction",
    "expiring",
    "explain_balance",
    "explain_transaction",
    "get_auto_top_up",
    "get_balance",
    "get_credits",
    "get_plan",
    "get_spending_cap",
    "get_transaction",
    "grant_credits",
    "history",
    "hold",
    "hold_usage",
    "link_identifier",
    "list_audit",
    "list_events",
    "list_identifiers",
    "list_plans",
    "list_prices",
    "lots",
    "open_account",
    "post_batch",
    "price",
    "refund",
    "release",
    "resolve_account",
    "reverse_transaction",
    "revoke_lot",
    "run_due",
    "set_account_status",
    "set_auto_top_up",
    "set_limits",
    "set_low_balance_level",
    "set_price",
    "set_spending_cap",
    "spend",
    "spend_usage",
    "top_up",
    "transfer",
    "unlink_identifier",
    "usage_by_reference",
    "verify",
]
