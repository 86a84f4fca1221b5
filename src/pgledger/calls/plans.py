"""The calls about plans, which refill accounts, and about spending caps."""

from datetime import datetime

from pgledger.calls._call import Call, Metadata, Period, bigint, first, instant, jsonb, many, one
from pgledger.records import (
    AccountPlan,
    Plan,
    PlanAnchor,
    PlanAssignment,
    RefillPolicy,
    SpendingCap,
    SpendingCapUsage,
)


def create_plan(
    code: str,
    amount: int,
    period: Period,
    policy: RefillPolicy,
    *,
    anchor: PlanAnchor | None = None,
    time_zone: str | None = None,
    metadata: Metadata | None = None,
    actor: str | None = None,
) -> Call[Plan]:
    """Create a plan: ``amount`` (positive, minor units) each ``period``, such as ``"1 month"``.

    ``policy`` ADD grants it, TOP_UP_TO fills the balance up to it, RESET grants it as a lot that
    expires when the period ends. Periods are of the CALENDAR in ``time_zone`` (UTC), or begin where
    the ACCOUNT began (``anchor``). A plan is never changed: a repeat changes nothing, other terms
    raise IdempotencyConflictError.
    """
    return one(
        Plan,
        "create_plan",
        {"code": code, "amount": bigint("amount", amount), "period": period, "policy": policy},
        anchor=anchor,
        time_zone=time_zone,
        metadata=jsonb("metadata", metadata),
        actor=actor,
    )


def list_plans() -> Call[list[Plan]]:
    """Return all plans."""
    return many(Plan, "list_plans", {})


def assign_plan(
    account_id: str,
    plan: str,
    *,
    starts_at: datetime | None = None,
    at_once: bool | None = None,
    expire_allowance: bool | None = None,
    actor: str | None = None,
) -> Call[PlanAssignment]:
    """Put an account on a plan, and grant what is due now.

    A first plan begins now or at ``starts_at``, where one in the past only anchors the periods.
    Another plan takes over with the next period, or now with ``at_once``, when ``expire_allowance``
    lets what remains of the old plan's allowance expire. The plan it is on already drops a change
    that was to come. Raises AccountNotFoundError, and InvalidArgumentError for an unknown plan.
    """
    return one(
        PlanAssignment,
        "assign_plan",
        {"account_id": account_id, "plan": plan},
        starts_at=instant("starts_at", starts_at),
        at_once=at_once,
        expire_allowance=expire_allowance,
        actor=actor,
    )


def clear_plan(
    account_id: str, *, expire_allowance: bool | None = None, actor: str | None = None
) -> Call[PlanAssignment | None]:
    """Take an account off its plan; return what it was on, None when on none.

    What was granted stays, unless ``expire_allowance`` lets what remains of the allowance expire.
    """
    return first(
        many(
            PlanAssignment,
            "clear_plan",
            {"account_id": account_id},
            expire_allowance=expire_allowance,
            actor=actor,
        )
    )


def get_plan(account_id: str) -> Call[AccountPlan | None]:
    """Return the plan an account is on, its terms and what comes next; None when on none."""
    return first(many(AccountPlan, "get_plan", {"account_id": account_id}))


def set_spending_cap(
    account_id: str,
    amount: int | None,
    *,
    period: Period | None = None,
    time_zone: str | None = None,
    actor: str | None = None,
) -> Call[SpendingCap | None]:
    """Cap what an account may use in each calendar ``period``, such as ``"1 month"``.

    ``amount`` is minor units; None takes the cap away. What was used in this period counts already.
    A spend beyond it raises SpendingCapReachedError; captures always go through. Raises
    AccountNotFoundError.
    """
    return first(
        many(
            SpendingCap,
            "set_spending_cap",
            {"account_id": account_id, "amount": bigint("amount", amount)},
            period=period,
            time_zone=time_zone,
            actor=actor,
        )
    )


def get_spending_cap(account_id: str) -> Call[SpendingCapUsage | None]:
    """Return the spending cap of an account and what it leaves now; None when it has none."""
    return first(many(SpendingCapUsage, "get_spending_cap", {"account_id": account_id}))
