"""The calls about refund requests: who asks for money back, who decides, and who gives it back."""

from datetime import datetime, timedelta

from pgledger.calls._call import Call, bigint, instant, many, one
from pgledger.records import ClaimedRefund, RefundRequest, RefundRequestStatus


def request_refund(
    account_id: str,
    original_key: str,
    amount: int | None = None,
    *,
    key: str | None = None,
    reason: str | None = None,
    tolerance: int | None = None,
    actor: str | None = None,
) -> Call[RefundRequest]:
    """Ask that the money of a TOP_UP be given back: of ``amount`` (positive), or of what is left.

    It moves nothing before approve_refund. With a ``tolerance`` it is approved at once where all
    but so many of the credits are unspent. A repeat of the key returns the request as it is now.
    Raises TransactionNotFoundError, ExceedsOriginalError, and IdempotencyConflictError where the
    top-up has an open request, whose key is ``details["open"]``.
    """
    return one(
        RefundRequest,
        "request_refund",
        {"account_id": account_id, "original_key": original_key},
        amount=bigint("amount", amount),
        key=key,
        reason=reason,
        tolerance=bigint("tolerance", tolerance),
        actor=actor,
    )


def approve_refund(
    account_id: str, key: str, *, reason: str | None = None, actor: str | None = None
) -> Call[RefundRequest]:
    """Take the credits of an open request, and have a worker give the money back.

    Takes them whether or not they are there yet: it may leave a debt. A repeat changes nothing.
    Raises TransactionNotPendingError once it is rejected, and ExceedsOriginalError where less is
    left of the top-up by now; then it stays open.
    """
    return one(
        RefundRequest,
        "approve_refund",
        {"account_id": account_id, "key": key},
        reason=reason,
        actor=actor,
    )


def reject_refund(
    account_id: str, key: str, *, reason: str | None = None, actor: str | None = None
) -> Call[RefundRequest]:
    """Reject an open request; nothing moves. A repeat changes nothing.

    Raises TransactionNotPendingError once it is approved.
    """
    return one(
        RefundRequest,
        "reject_refund",
        {"account_id": account_id, "key": key},
        reason=reason,
        actor=actor,
    )


def claim_refunds(
    *,
    limit_count: int | None = None,
    lease: timedelta | None = None,
    provider: str | None = None,
) -> Call[list[ClaimedRefund]]:
    """Return approved refunds whose money is to be given back, which nobody else is handed then.

    At most ``limit_count`` (10), of one ``provider`` or any, for the time of ``lease`` (5 minutes).
    Commit, have the provider give the money back under the ``idempotency_key``, then tell:
    record_payment_refund with the key as ``request_key``, or settle_refund_request.
    """
    return many(
        ClaimedRefund,
        "claim_refunds",
        {},
        limit_count=bigint("limit_count", limit_count),
        lease=lease,
        provider=provider,
    )


def settle_refund_request(
    account_id: str, key: str, *, return_id: str | None = None, result: str | None = None
) -> Call[RefundRequest]:
    """Tell what became of the money: the provider's ``return_id`` of the refund it made.

    Without one the provider refuses for good, ``result`` says why, and the credits go back. Not to
    be called while the outcome is unknown. A repeat changes nothing.
    """
    return one(
        RefundRequest,
        "settle_refund_request",
        {"account_id": account_id, "key": key},
        return_id=return_id,
        result=result,
    )


def list_refund_requests(
    status: RefundRequestStatus | None = None,
    *,
    account_id: str | None = None,
    limit_count: int | None = None,
    before_at: datetime | None = None,
    before_account_id: str | None = None,
    before_key: str | None = None,
) -> Call[list[RefundRequest]]:
    """Return refund requests, newest first: of one status and account, or any.

    A page has ``limit_count`` (100, up to 10,000); the next one is what came before ``created_at``,
    ``account_id`` and ``key`` of the last one seen.
    """
    return many(
        RefundRequest,
        "list_refund_requests",
        {},
        status=status,
        account_id=account_id,
        limit_count=bigint("limit_count", limit_count),
        before_at=instant("before_at", before_at),
        before_account_id=before_account_id,
        before_key=before_key,
    )
