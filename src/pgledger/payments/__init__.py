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
from pgledger.payments.comparison import Difference, Report, reconcile
from pgledger.payments.local import LocalProvider
from pgledger.payments.worker import Done, TopUpWorker

__all__ = [
    "Books",
    "Charged",
    "Charger",
    "Declined",
    "Difference",
    "Done",
    "Fact",
    "LocalProvider",
    "Money",
    "Outcome",
    "Processing",
    "ProviderUnavailableError",
    "RefundOrder",
    "RefundRefusedError",
    "Refunder",
    "Report",
    "TopUpWorker",
    "reconcile",
]
