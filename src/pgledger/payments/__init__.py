"""Between the ledger and a payment provider: charging, giving back, comparing the books."""

from pgledger.payments.charging import (
    Books,
    Charged,
    Charger,
    Declined,
    Fact,
    Money,
    Outcome,
    Processing,
    ProviderUnavailableError,
    Refunder,
    RefundOrder,
    RefundRefusedError,
)

__all__ = [
    "Books",
    "Charged",
    "Charger",
    "Declined",
    "Fact",
    "Money",
    "Outcome",
    "Processing",
    "ProviderUnavailableError",
    "RefundOrder",
    "RefundRefusedError",
    "Refunder",
]
