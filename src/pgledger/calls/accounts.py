"""The calls that open accounts and set how they behave."""

from pgledger.calls._call import Call, Metadata, bigint, first, jsonb, many, one
from pgledger.records import Account, AccountStatus, AutoTopUp, AutoTopUpMode, Posting


def open_account(
    account_id: str,
    currency: str | None = None,
    *,
    min_balance: int | None = None,
    metadata: Metadata | None = None,
) -> Call[Account]:
    """Open an account; not required, since a first credit opens one in CREDIT.

    ``min_balance`` (zero or negative) is the floor its spends keep to. A repeat changes nothing and
    returns the settings as they are now. Raises IdempotencyConflictError for another currency.
    """
    return one(
        Account,
        "open_account",
        {"account_id": account_id},
        currency=currency,
        min_balance=bigint("min_balance", min_balance),
        metadata=jsonb("metadata", metadata),
    )


def set_account_status(
    account_id: str, status: AccountStatus, *, actor: str | None = None
) -> Call[Account]:
    """Open, freeze or close an account. Raises AccountNotFoundError, AccountNotEmptyError."""
    return one(
        Account,
        "set_account_status",
        {"account_id": account_id, "status": status},
        actor=actor,
    )


def set_limits(
    account_id: str,
    *,
    min_balance: int | None = None,
    debt_floor: int | None = None,
    actor: str | None = None,
) -> Call[Account]:
    """Set the floors of an account, minor units, zero or negative; moves no credits.

    ``debt_floor`` is at most ``min_balance`` and equals it when not given.
    """
    return one(
        Account,
        "set_limits",
        {"account_id": account_id},
        min_balance=bigint("min_balance", min_balance),
        debt_floor=bigint("debt_floor", debt_floor),
        actor=actor,
    )


def set_low_balance_level(
    account_id: str, level: int | None = None, *, actor: str | None = None
) -> Call[Account]:
    """Set below which level of available credits an event tells; None for none. Moves nothing."""
    return one(
        Account,
        "set_low_balance_level",
        {"account_id": account_id},
        level=bigint("level", level),
        actor=actor,
    )


def set_auto_top_up(
    account_id: str,
    threshold: int,
    amount: int,
    *,
    mode: AutoTopUpMode | None = None,
    enabled: bool | None = None,
    daily_count_limit: int | None = None,
    daily_amount_limit: int | None = None,
    monthly_count_limit: int | None = None,
    monthly_amount_limit: int | None = None,
    actor: str | None = None,
) -> Call[AutoTopUp]:
    """Set, whole, when an account tops itself up; moves no credits.

    A debit or hold that leaves available below ``threshold`` records one pending TOP_UP of
    ``amount`` (INTENT, the default) or posts it (INSTANT). Limits are per day and calendar month of
    UTC; None is none. Changed settings arm it anew; a repeat changes nothing. Raises
    AccountNotFoundError.
    """
    return one(
        AutoTopUp,
        "set_auto_top_up",
        {
            "account_id": account_id,
            "threshold": bigint("threshold", threshold),
            "amount": bigint("amount", amount),
        },
        mode=mode,
        enabled=enabled,
        daily_count_limit=bigint("daily_count_limit", daily_count_limit),
        daily_amount_limit=bigint("daily_amount_limit", daily_amount_limit),
        monthly_count_limit=bigint("monthly_count_limit", monthly_count_limit),
        monthly_amount_limit=bigint("monthly_amount_limit", monthly_amount_limit),
        actor=actor,
    )


def get_auto_top_up(account_id: str) -> Call[AutoTopUp | None]:
    """Return the auto-top-up of an account and what holds it back now; None when never set."""
    return first(many(AutoTopUp, "get_auto_top_up", {"account_id": account_id}))


def check_auto_top_up(account_id: str, *, reference: str | None = None) -> Call[Posting | None]:
    """Top up, or ask for it, if armed and below the threshold; after setting it, or a refusal.

    Returns the intent or the INSTANT top-up, the intent that waits already with ``replayed`` set,
    or None when nothing is to be done.
    """
    return first(
        many(Posting, "check_auto_top_up", {"account_id": account_id}, reference=reference)
    )
