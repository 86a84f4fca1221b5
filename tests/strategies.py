"""What the state machine asks the ledger with: few names and small numbers, and a few huge ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.model_plans import Plan

# Few names, so that everything meets everything.
ACCOUNTS = st.sampled_from(["anna", "anna", "bert"])
KEYS = st.sampled_from(["k1", "k2", "k3", "k4"])
MAYBE_KEYS = st.none() | KEYS
EXTERNAL_IDS = st.sampled_from([None, None, "pi_1", "pi_2"])
REFERENCES = st.sampled_from([None, "chat 1", "chat 2"])
METADATA = st.sampled_from([None, {"a": 1}, {"b": [2]}, {"a": "3"}])
# Small, so that they meet each other, the floors and the ceilings; and now and then far too large.
AMOUNTS = st.integers(1, 60) | st.sampled_from([10, 20, 20, 20, 2**62, 2**63 - 1])
SIGNED = AMOUNTS | AMOUNTS.map(lambda amount: -amount)
CEILINGS = st.none() | st.none() | st.integers(0, 60)
FLOORS = st.none() | st.integers(-60, 0)
TYPES = st.sampled_from(
    ["TOP_UP", "USAGE", "GRANT", "CARD_CHECK", "ADJUSTMENT", "REFUND", "EXPIRY"]
)
SHORTFALLS = st.sampled_from(["REFUSE", "REFUSE", "PARTIAL", "DEBT"])
STATUSES = st.sampled_from(["OPEN", "OPEN", "FROZEN", "CLOSED"])
# From one noon on and 8 hours apart, so that things end together, and by whole steps of time.
STEP = timedelta(hours=8)
LIFETIMES = st.sampled_from(
    [
        *(None, None, timedelta(hours=4), timedelta(hours=12)),
        *(timedelta(days=10, hours=12), timedelta(hours=-4)),
    ]
)
ENDS = LIFETIMES | st.sampled_from([timedelta(hours=6), timedelta(hours=4), timedelta(hours=12)])
PRIORITIES = st.sampled_from([0, 0, 0, 0, -1, 1, 5])
EXTENSIONS = st.sampled_from([None, None, timedelta(hours=12), timedelta(hours=6), timedelta(0)])
DAY, WEEK = timedelta(days=1), timedelta(days=7)
PLANS = {
    code: Plan(code=code, amount=amount, period=period, policy=policy, anchor=anchor)
    for code, amount, period, policy, anchor in [
        ("drip", 10, DAY, "ADD", "CALENDAR"),
        ("steps", 7, 2 * DAY, "ADD", "ACCOUNT"),
        ("flood", 2**62, 5 * DAY, "ADD", "ACCOUNT"),
        ("full", 200, DAY, "TOP_UP_TO", "ACCOUNT"),
        ("weekly", 50, WEEK, "TOP_UP_TO", "CALENDAR"),
        ("trial", 20, DAY, "RESET", "ACCOUNT"),
        ("daily", 15, DAY, "RESET", "CALENDAR"),
        ("month", 40, 30 * DAY, "RESET", "ACCOUNT"),
    ]
}
STARTS = st.sampled_from(
    [None, None, None, timedelta(hours=4), timedelta(hours=12), timedelta(hours=-12)]
)
CAPS = st.none() | st.integers(0, 60) | st.sampled_from([20, 40, 2**62])
ORIGINALS = KEYS | st.sampled_from(["#1", "#2", "#3", "#auto-1"])
# What waits or was posted is named, or now and then anything at all.
SELDOM = st.sampled_from([False, False, False, True])
SETTLING = st.sampled_from(
    ["capture", "capture", "release", "enable_transaction", "cancel_transaction"]
)
UNDOING = st.sampled_from(["refund", "reverse_transaction"])
# One argument of a call, given anew: what a repeat may change, and what it may not.
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "amount": st.sampled_from([20, 21]),
    "type": st.just("GRANT"),
    "is_active": st.booleans(),
    "key": st.sampled_from(["k1", "k2"]),
    "external_id": EXTERNAL_IDS,
    "reference": st.just("chat 2"),
    "metadata": st.just({"c": 4}),
    "ceiling_balance": st.just(30),
    "expires_at": st.sampled_from([None, datetime(2200, 1, 1, tzinfo=UTC)]),
    "priority": st.sampled_from([0, 1]),
    "extend": EXTENSIONS,
    "at_once": st.booleans(),
    "original_key": ORIGINALS,
    "to_account_id": st.sampled_from(["anna", "bert"]),
    "enabled": st.sampled_from([True]),
    "mode": st.sampled_from(["INTENT", "INSTANT"]),
}
