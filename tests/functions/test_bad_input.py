"""Whatever is given, every parameter of every public function refuses in words, or accepts it."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Json, Jsonb

from tests.payments import receive, tell
from tests.support import HIGHEST, LOWEST, Ledger, ask, everything, in_order, traces

# Twice the largest that anything takes: a payload of 1 MB. More would only take longer.
HUGE = "x" * 2_000_000
CONTROLS = ["a\tb", "a\nb", "a\x7fb", "a\x85b", "\x01", "a\x1f", "a\x9f"]
NO_LABEL = ["", HUGE, "x" * 256, *CONTROLS]
NO_ACCOUNT = [None, *NO_LABEL]
NO_METADATA = [
    Jsonb([1]),
    Jsonb(1),
    Jsonb("text"),
    Jsonb(None),
    Jsonb(obj=True),
    Jsonb({"huge": HUGE}),
    Jsonb({str(n): n for n in range(20_000)}),
]
NO_AMOUNT = [None, 0, LOWEST]
NO_CREDIT = [*NO_AMOUNT, -1, -HIGHEST]
NO_PAGE = [None, 0, -1, 10_001, LOWEST, HIGHEST]
DIGITS = Jsonb({"in": "1" * 200_000})
NO_UNITS = [
    *(Jsonb(given) for given in ([1], 1, "text", None, True)),
    Jsonb({"": 1}),
    Jsonb({HUGE: 1}),
    Jsonb({"a\nb": 1}),
    Jsonb({"in": -1}),
    Jsonb({"in": None}),
    Jsonb({"in": "NaN"}),
    Jsonb({"in": [HUGE]}),
    Jsonb({"in": 10**40}),
    Jsonb({"in": 10**4_000}),
    Jsonb({str(n): n for n in range(101)}),
]
# A provider's name and its ids are parts of the ledger's own keys.
NO_PROVIDER = [
    None,
    *NO_LABEL,
    "x" * 51,
    "Stripe",
    "str\u00efpe",
    "1a",
    "a-b",
    "auto",
    "back",
    "revoke",
]
NO_PROVIDERS_ID = [None, *NO_LABEL, "x" * 201]
NO_MONEY = [None, -1, LOWEST]
NO_FACTS = [None, *map(Jsonb, ({}, {"record": "payment"}, "x", 1, None, True))]
NO_INSTANT = [None, "infinity", "-infinity"]
NO_BATCH: list[Any] = [None, []]
NO_IDENTIFIER = [None, *NO_LABEL, "null", "<email>", "0", "plain", "a@b", "a@b.de" + " " * 1000]
OWN_KEYS = ["#", "#1", "#auto-1", "#" + "x" * 254]

# A call of every public function that would be accepted, on the account that the fixture fills.
GOOD: dict[str, dict[str, object]] = {
    "open_account": {"account_id": "new"},
    "add_transaction": {"account_id": "a", "amount": 1, "type": "GRANT"},
    "spend": {"account_id": "a", "amount": 1},
    "top_up": {"account_id": "a", "amount": 1},
    "post_batch": {"account_ids": ["a"], "amounts": [1], "types": ["GRANT"], "atomic": True},
    "post_batch_json": {
        "items": Jsonb([{"account_id": "a", "amount": 1, "type": "GRANT"}]),
        "atomic": True,
    },
    "grant_credits": {"account_id": "a", "amount": 1},
    "enable_transaction": {"account_id": "a", "key": "pending"},
    "cancel_transaction": {"account_id": "a", "key": "pending"},
    "get_credits": {"account_id": "a"},
    "get_balance": {"account_id": "a"},
    "check_credits": {"account_id": "a", "required": 1},
    "get_transaction": {"account_id": "a", "key": "k"},
    "balance_at": {"account_id": "a", "at": "2020-01-01"},
    "history": {"account_id": "a"},
    "usage_by_reference": {"account_id": "a"},
    "set_account_status": {"account_id": "a", "status": "FROZEN"},
    "set_limits": {"account_id": "a", "min_balance": -1},
    "hold": {"account_id": "a", "amount": 1},
    "capture": {"account_id": "a", "key": "held"},
    "release": {"account_id": "a", "key": "held"},
    "refund": {"account_id": "a", "original_key": "k"},
    "reverse_transaction": {"account_id": "a", "original_key": "spent"},
    "transfer": {"from_account_id": "a", "to_account_id": "b", "amount": 1},
    "set_auto_top_up": {"account_id": "a", "threshold": 1, "amount": 5},
    "get_auto_top_up": {"account_id": "a"},
    "check_auto_top_up": {"account_id": "a"},
    "set_low_balance_level": {"account_id": "a", "level": 1},
    "set_top_up_limits": {"account_id": "a", "minimum": 10, "multiple_of": 5},
    "get_top_up_limits": {"account_id": "a"},
    "create_top_up": {"account_id": "a", "amount": 1, "price": 5, "price_currency": "usd"},
    "claim_top_ups": {},
    "decline_top_up": {"account_id": "c", "key": "#auto-1", "attempt": 0, "reason": "declined"},
    "defer_top_up": {"account_id": "c", "key": "#auto-1", "attempt": 0},
    "claim_events": {},
    "ack_events": {"account_ids": ["b"], "seqs": [1]},
    "list_events": {"account_id": "b"},
    "list_audit": {},
    "request_refund": {"account_id": "a", "original_key": "k", "tolerance": 0},
    "approve_refund": {"account_id": "a", "key": "asked"},
    "reject_refund": {"account_id": "a", "key": "asked"},
    "claim_refunds": {},
    "settle_refund_request": {"account_id": "a", "key": "approved", "return_id": "re_1"},
    "list_refund_requests": {},
    "run_due": {},
    "verify": {"account_id": "a"},
    "revoke_lot": {"account_id": "a", "key": "lot"},
    "lots": {"account_id": "a"},
    "expiring": {"account_id": "a"},
    "explain_transaction": {"account_id": "a", "key": "k"},
    "explain_balance": {"account_id": "a"},
    "create_plan": {"code": "new", "amount": 1, "period": "1 month", "policy": "ADD"},
    "assign_plan": {"account_id": "a", "plan": "basic"},
    "clear_plan": {"account_id": "a"},
    "get_plan": {"account_id": "a"},
    "set_spending_cap": {"account_id": "a", "amount": 10},
    "get_spending_cap": {"account_id": "a"},
    "set_price": {"code": "new", "prices": Jsonb({"in": 1})},
    "price": {"code": "m", "quantities": Jsonb({"in": 1})},
    "list_prices": {},
    "hold_usage": {"account_id": "a", "code": "m", "quantities": Jsonb({"in": 1})},
    "capture_usage": {"account_id": "a", "key": "used", "quantities": Jsonb({"in": 1})},
    "spend_usage": {"account_id": "a", "code": "m", "quantities": Jsonb({"in": 1})},
    "record_payment_refund": {
        "provider": "stripe",
        "refund_id": "re_1",
        "payment_id": "pi_1",
        "amount": 1,
        "status": "SUCCEEDED",
    },
    "record_dispute": {
        "provider": "stripe",
        "dispute_id": "dp_1",
        "payment_id": "pi_1",
        "amount": 1,
        "status": "OPEN",
    },
    "list_payment_returns": {},
    "list_pending_top_ups": {},
    "resolve_account": {"identifier": "new@example.com", "open": True},
    "link_identifier": {"account_id": "a", "identifier": "new@example.com"},
    "unlink_identifier": {"identifier": "ada@example.com"},
    "list_identifiers": {"account_id": "a"},
    "record_payment_event": {
        "provider": "test",
        "event_id": "new",
        "type": "t",
        "payload": "{}",
    },
    "process_payment_event": {"provider": "test", "event_id": "e", "facts": Jsonb([])},
    "record_payment": {
        "provider": "test",
        "payment_id": "new",
        "status": "SUCCEEDED",
        "account_id": "a",
        "amount": 5,
    },
    "match_payment": {
        "provider": "test",
        "payment_id": "unmatched",
        "account_id": "a",
        "amount": 5,
    },
    "record_card_check": {
        "provider": "test",
        "check_id": "c",
        "account_id": "a",
        "amount": 5,
    },
    "get_payment_event": {"provider": "test", "event_id": "e"},
    "list_payment_events": {},
    "list_payments": {},
}
# Null stands for all accounts here.
ALL_ACCOUNTS = {
    "get_top_up_limits",
    "list_audit",
    "list_events",
    "list_payment_returns",
    "list_pending_top_ups",
    "record_payment_refund",
    "list_refund_requests",
    "list_payments",
    "record_payment",
    "set_top_up_limits",
    "verify",
}
# And here for one that is yet to get its id.
NO_ACCOUNTS = {"resolve_account"}

# What each parameter refuses, whatever the function; below, where a function differs.
REFUSED: dict[str, list[Any]] = {
    "amounts": [*NO_BATCH, *([bad] for bad in NO_AMOUNT)],
    "atomic": [None],
    "ceiling_balances": [[], [1], [LOWEST], [1, 1]],
    "codes": [[], ["m"], [""], ["m", "m"]],
    "external_ids": [[], *([bad] for bad in NO_LABEL)],
    "items": [
        None,
        *map(Jsonb, ({}, [1], [{"reference_id": "x"}], [{"account_id": 1}], "x", 1)),
        Jsonb([{"account_id": "a", "amount": 1.5, "type": "GRANT"}]),
        Jsonb([{"account_id": "a", "amount": 2**63, "type": "GRANT"}]),
        Jsonb([{"account_id": "a", "amount": 1, "type": "grant"}]),
        Jsonb([{}]),
    ],
    "keys": [[], *([bad] for bad in (*NO_LABEL, *OWN_KEYS))],
    "priorities": [[], [1, 1]],
    "reference_ids": [[], *([bad] for bad in NO_LABEL)],
    "types": [*NO_BATCH, [None], [""], ["grant"]],
    "shortfalls": [[], [""], ["partial"], [HUGE]],
    "account_id": NO_ACCOUNT,
    "actor": NO_LABEL,
    "identifier": NO_IDENTIFIER,
    "kind": ["", "email", "PHONE", "UUID", "INTEGER", HUGE],
    "move": [None],
    "open": [None],
    "account_ids": [None, [], [None], ["b", "b"]],
    "attempt": [None, 1, -1, LOWEST, HIGHEST],
    "give_up": [None],
    "lease": [None, "0", "-1 s", "1 day 1 microsecond", "1 month", "178000000 years"],
    "maximum": [0, 9, -1, LOWEST],
    "minimum": [0, -1, LOWEST, HIGHEST],
    "multiple_of": [0, -1, LOWEST],
    "pause": [None, "0", "-1 s", "178000000 years"],
    "price": [None, 0, -1, LOWEST],
    "price_currency": [None, "", "USD", "us", "usdt", "us1", "u\u00e9d", "usd\n", HUGE],
    "amount": NO_CREDIT,
    "anchor": [None, "", "calendar", HUGE],
    "at_once": [None],
    "code": [None, *NO_LABEL, "x" * 201],
    "expire_allowance": [None],
    "period": [None, "0", "-1 day", "2 days", "1 month 1 day", "1 hour", "178000000 years"],
    "plan": [None, *NO_LABEL, "unknown"],
    "prices": [None, *NO_UNITS, Jsonb({"in": HUGE}), Jsonb({"in": "1e100"}), DIGITS],
    "quantities": [None, *NO_UNITS, Jsonb({}), Jsonb({"in": "1"}), Jsonb({"unknown": 1})],
    "rounding": [None, "", "ceil", "UP", HUGE],
    "valid_from": ["infinity", "-infinity", "2000-01-01"],
    "policy": [None, "", "add", "HOLD", HUGE],
    "starts_at": ["infinity", "-infinity"],
    "time_zone": [None, "", "utc", "Mars", "+01", HUGE, "a\nb"],
    "at": NO_INSTANT,
    "currency": [None, "", "XXX", "credit", HUGE, "a\nb"],
    "check_id": NO_PROVIDERS_ID,
    "customer": [*NO_LABEL, "null", "<customer>", "a b"],
    "daily_amount_limit": [0, 4, -1, LOWEST],
    "daily_count_limit": [0, -1, LOWEST],
    "enabled": [None],
    "event_id": NO_PROVIDERS_ID,
    "expires_at": ["infinity", "-infinity", "2000-01-01"],
    "facts": NO_FACTS,
    "extend": ["0", "-1 s", "178000000 years"],
    "external_id": NO_LABEL,
    "from_account_id": [*NO_ACCOUNT, "b", "unknown"],
    "is_active": [None],
    "key": [*NO_LABEL, *OWN_KEYS],
    "limit_count": NO_PAGE,
    "metadata": NO_METADATA,
    "min_balance": [1, HIGHEST],
    "mode": [None, "", "intent", "POST", HUGE],
    "monthly_amount_limit": [0, 4, -1, LOWEST],
    "monthly_count_limit": [0, -1, LOWEST],
    "priority": [None],
    "within": [None, "0", "-1 s", "178000000 years"],
    "occurred_at": ["infinity", "-infinity"],
    "refund_id": [*NO_PROVIDERS_ID, "pi_1"],
    "dispute_id": [*NO_PROVIDERS_ID, "pi_1"],
    "request_key": NO_LABEL,
    "paid": [-1, LOWEST],
    "payload": [None, "", HUGE],
    "payment_id": NO_PROVIDERS_ID,
    "payment_method": [*NO_LABEL, "null", "<card>", "a b"],
    "provider": NO_PROVIDER,
    "refunded": [-1, LOWEST],
    "original_key": [None, *NO_LABEL, "unknown", "#", "#0", "#99", "#-1"],
    "reason": ["", "x" * 1001, HUGE],
    "reference": NO_LABEL,
    "result": ["", "x" * 1001, HUGE],
    "return_id": [None, *NO_LABEL],
    "required": NO_CREDIT,
    "seqs": [None, [], [None], [1, 2]],
    "shortfall": [None, "", "FORCE", "partial", HUGE, "a\nb"],
    "status": [None, "", "frozen", "EXPIRED", HUGE],
    "threshold": [None],
    "to_account_id": [*NO_ACCOUNT, "a", "unknown"],
    "tolerance": [-1, LOWEST],
    "type": [None, "", "top_up", "HOLD", HUGE],
    "visibility_timeout": [None, "0", "-1 s", "1 day 1 microsecond", "1 month", "178000000 years"],
    "debt_floor": [0, 1, HIGHEST],
}
REFUSED_BY: dict[tuple[str, str], list[Any]] = {
    ("record_payment_refund", "provider"): NO_PROVIDER,
    ("record_payment_refund", "payment_id"): [*NO_PROVIDERS_ID, "re_1"],
    ("record_payment_refund", "amount"): NO_MONEY,
    ("record_payment_refund", "status"): [None, "", "pending", "OPEN", "LOST", "WON", HUGE],
    ("record_payment_refund", "account_id"): NO_LABEL,
    ("record_dispute", "provider"): NO_PROVIDER,
    ("record_dispute", "payment_id"): [*NO_PROVIDERS_ID, "dp_1"],
    ("record_dispute", "amount"): NO_MONEY,
    ("record_dispute", "status"): [None, "", "open", "PENDING", "SUCCEEDED", "FAILED", HUGE],
    ("record_dispute", "policy"): [None, "", "freeze", "HOLD", HUGE],
    ("list_payment_returns", "account_id"): NO_LABEL,
    ("claim_refunds", "provider"): [bad for bad in NO_PROVIDER if bad is not None],
    ("list_pending_top_ups", "account_id"): NO_LABEL,
    ("resolve_account", "account_id"): NO_LABEL,
    ("link_identifier", "account_id"): [*NO_ACCOUNT, "unknown"],
    ("link_identifier", "identifier"): [*NO_IDENTIFIER, "bob@example.com"],
    ("post_batch", "account_ids"): [*NO_BATCH, ["a", "a"], *([bad] for bad in NO_ACCOUNT)],
    ("post_batch", "expires_at"): [[], ["infinity"], ["-infinity"], ["2000-01-01"]],
    ("post_batch", "quantities"): [[], [Jsonb({"in": 1})], [Jsonb({})]],
    ("post_batch", "metadata"): [[], *([bad] for bad in NO_METADATA)],
    ("add_transaction", "amount"): NO_AMOUNT,
    ("enable_transaction", "amount"): [0, -1, -HIGHEST, LOWEST],
    ("enable_transaction", "key"): [None, *NO_LABEL, *OWN_KEYS, "unknown"],
    ("cancel_transaction", "key"): [None, *NO_LABEL, *OWN_KEYS, "unknown"],
    ("capture", "amount"): [0, -1, 11, HIGHEST, -HIGHEST, LOWEST],
    ("capture", "key"): [None, *NO_LABEL, *OWN_KEYS, "unknown", "k", "pending"],
    ("release", "key"): [None, *NO_LABEL, *OWN_KEYS, "unknown", "k", "pending"],
    ("refund", "amount"): [0, -1, 101, HIGHEST, -HIGHEST, LOWEST],
    ("reverse_transaction", "amount"): [0, -1, 11, HIGHEST, -HIGHEST, LOWEST],
    ("list_audit", "account_id"): NO_LABEL,
    ("request_refund", "amount"): [0, -1, 101, HIGHEST, -HIGHEST, LOWEST],
    ("approve_refund", "key"): [None, *NO_LABEL, "unknown", "k", "#1"],
    ("reject_refund", "key"): [None, *NO_LABEL, "unknown", "k", "approved", "#1"],
    ("settle_refund_request", "key"): [None, *NO_LABEL, "unknown", "k", "asked", "#1"],
    ("list_refund_requests", "account_id"): NO_LABEL,
    ("list_refund_requests", "status"): ["", "pending", "OPEN", HUGE],
    ("list_events", "account_id"): NO_LABEL,
    ("get_top_up_limits", "account_id"): NO_LABEL,
    ("set_top_up_limits", "account_id"): [*NO_LABEL, "unknown"],
    ("set_top_up_limits", "daily_amount_limit"): [0, 9, -1, LOWEST],
    ("create_top_up", "metadata"): [*NO_METADATA, Jsonb({"price": 1}), Jsonb(["price_currency"])],
    ("decline_top_up", "account_id"): [*NO_ACCOUNT, "unknown", "a"],
    ("decline_top_up", "key"): [None, *NO_LABEL, *OWN_KEYS[:2], "unknown"],
    ("defer_top_up", "account_id"): [*NO_ACCOUNT, "unknown", "a"],
    ("defer_top_up", "key"): [None, *NO_LABEL, *OWN_KEYS[:2], "unknown"],
    ("get_transaction", "key"): [None, *NO_LABEL],
    ("history", "type"): ["", "top_up", "HOLD", HUGE],
    ("revoke_lot", "key"): [None, *NO_LABEL, "unknown", "k", "spent", "pending", "#", "#99"],
    ("explain_transaction", "key"): [None, *NO_LABEL],
    ("open_account", "min_balance"): [None, 1, HIGHEST],
    ("verify", "account_id"): NO_LABEL,
    ("set_spending_cap", "amount"): [-1, -HIGHEST, LOWEST],
    ("assign_plan", "account_id"): [*NO_ACCOUNT, "unknown"],
    ("clear_plan", "account_id"): [*NO_ACCOUNT, "unknown"],
    ("set_spending_cap", "account_id"): [*NO_ACCOUNT, "unknown"],
    ("set_price", "code"): [None, *NO_LABEL],
    ("price", "code"): [None, *NO_LABEL, "unknown"],
    ("capture_usage", "key"): [None, *NO_LABEL, *OWN_KEYS, "unknown", "k", "pending", "held"],
    ("hold_usage", "code"): [None, *NO_LABEL, "unknown"],
    ("hold_usage", "quantities"): [None, *NO_UNITS, Jsonb({}), Jsonb({"in": 0})],
    ("spend_usage", "code"): [None, *NO_LABEL, "unknown"],
    ("decline_top_up", "payment_id"): NO_LABEL,
    ("decline_top_up", "provider"): NO_LABEL,
    ("record_payment", "account_id"): NO_LABEL,
    ("record_payment", "attempt"): [-1, LOWEST],
    ("record_payment", "amount"): [0, -1, LOWEST],
    ("record_payment", "currency"): ["", "us", "$$$", "us d", "a\nb", HUGE],
    ("record_payment", "key"): NO_LABEL,
    ("record_payment", "status"): [None, "", "succeeded", "PENDING", HUGE],
    ("match_payment", "amount"): [None, 0, -1, LOWEST],
    ("match_payment", "key"): [*NO_LABEL, *OWN_KEYS],
    ("match_payment", "payment_id"): [*NO_PROVIDERS_ID, "unknown"],
    ("record_card_check", "amount"): [0, -1, LOWEST],
    ("record_payment_event", "type"): NO_PROVIDERS_ID,
    ("list_payment_events", "status"): ["", "failed", HUGE],
    ("list_payments", "account_id"): NO_LABEL,
    ("price", "at"): ["infinity", "-infinity", "2000-01-01"],
}
# Any value of these is an answer.
FREE: dict[str, list[Any]] = {
    "before": [None, "infinity", "-infinity", "2000-01-01"],
    "customer": [None, "cus_1", "\N{PILE OF POO}"],
    "occurred_at": [None, "2000-01-01", "2200-01-01"],
    "paid": [None, 0, HIGHEST],
    "payment_method": [None, "pm_1"],
    "refunded": [None, 0],
    "since": [None, "infinity", "-infinity", "2000-01-01"],
    "unmatched": [None, True, False],
    "until": [None, "infinity", "-infinity", "2000-01-01"],
    "actor": [None, " ", "\N{PILE OF POO}" * 255],
    "atomic": [True, False],
    "ceiling_balances": [None, [None], [HIGHEST]],
    "codes": [None, [None]],
    "external_ids": [None, [None], ["x" * 255]],
    "items": [Jsonb([])],
    "keys": [None, [None], ["x" * 255]],
    "priorities": [None, [None], [0], [2**31 - 1]],
    "reference_ids": [None, [None], ["x" * 255]],
    "shortfalls": [None, [None], ["REFUSE"], ["PARTIAL"], ["DEBT"], ["FORCE"]],
    "give_up": [True, False],
    "lease": ["1 microsecond", "1 day"],
    "maximum": [None, 10, HIGHEST],
    "minimum": [None, 1, HIGHEST - 7],
    "multiple_of": [None, 1, 10, HIGHEST],
    "pause": ["1 microsecond", "100 years"],
    "price": [1, HIGHEST],
    "price_currency": ["eur"],
    "before_seq": [None, 0, -1, LOWEST, HIGHEST],
    "fail_insufficient_credits": [None, True, False],
    "raise_refusals": [None, True, False],
    "ceiling_balance": [None, HIGHEST],
    "level": [None, 0, LOWEST, HIGHEST],
    "threshold": [0, LOWEST, HIGHEST],
    "daily_amount_limit": [None, 5, HIGHEST],
    "daily_count_limit": [None, 1, HIGHEST],
    "monthly_amount_limit": [None, 5, HIGHEST],
    "monthly_count_limit": [None, 1, HIGHEST],
    "mode": ["INTENT", "INSTANT"],
    "enabled": [True, False],
    "expires_at": [None, "2200-01-01"],
    "priority": [0, -(2**31), 2**31 - 1],
    "extend": [None, "1 microsecond", "100 years"],
    "within": ["1 microsecond", "100 years"],
    "include_closed": [None, True, False],
    "visibility_timeout": ["1 microsecond", "1 day", "24 hours"],
    "anchor": ["CALENDAR", "ACCOUNT"],
    "at_once": [True, False],
    "rounding": ["CEIL", "FLOOR", "HALF_EVEN"],
    "valid_from": [None, "2200-01-01"],
    "period": ["1 day", "7 days", "1 month", "3 months", "1 year"],
    "policy": ["ADD", "TOP_UP_TO", "RESET"],
    "starts_at": [None, "2020-01-01", "2200-01-01"],
    "tolerance": [None, 0, HIGHEST],
    "time_zone": ["UTC", "Europe/Berlin", "America/St_Johns"],
    "kind": [None, "EMAIL", "CUSTOMER", "PAYMENT_METHOD"],
    "move": [True, False],
}
FREE_BY: dict[tuple[str, str], list[Any]] = {
    ("record_payment_refund", "provider"): ["s", "x" * 50],
    ("record_payment_refund", "refund_id"): ["#", "x" * 200],
    ("record_payment_refund", "payment_id"): ["#", "x" * 200],
    ("record_payment_refund", "amount"): [0, HIGHEST],
    ("record_payment_refund", "status"): ["PENDING", "SUCCEEDED", "FAILED"],
    ("record_payment_refund", "request_key"): [None, "x" * 255, "#1"],
    ("record_payment_refund", "account_id"): [None, "b"],
    ("record_payment_refund", "occurred_at"): [None, "2020-01-01"],
    ("record_dispute", "provider"): ["s", "x" * 50],
    ("record_dispute", "dispute_id"): ["#", "x" * 200],
    ("record_dispute", "payment_id"): ["#", "x" * 200],
    ("record_dispute", "amount"): [0, HIGHEST],
    ("record_dispute", "status"): ["OPEN", "LOST", "WON"],
    ("record_dispute", "policy"): ["FLAG", "FREEZE", "DEDUCT"],
    ("record_dispute", "reason"): [None, "x" * 1000],
    ("record_dispute", "occurred_at"): [None, "2020-01-01"],
    ("list_payment_returns", "provider"): [None, "stripe", "", HUGE],
    ("list_payment_returns", "payment_id"): [None, "pi_1", "", HUGE],
    ("list_payment_returns", "account_id"): [None, "a", "unknown"],
    ("list_payment_returns", "since"): [None, "infinity", "-infinity", "2000-01-01"],
    ("list_payment_returns", "until"): [None, "infinity", "-infinity", "2000-01-01"],
    ("record_payment_event", "event_id"): ["e", "\N{PILE OF POO}" * 200],
    ("record_payment_event", "payload"): ["x" * 2**20, "\N{PILE OF POO}"],
    ("process_payment_event", "facts"): [Jsonb([]), Jsonb([1]), Jsonb([{"record": HUGE}])],
    ("record_payment", "provider"): ["a", "x" * 50, "my_bank2"],
    ("record_payment", "payment_id"): ["\N{PILE OF POO}" * 200, "#", " "],
    ("decline_top_up", "payment_id"): [None, "x" * 255],
    ("decline_top_up", "provider"): [None, "x" * 255],
    ("record_payment", "account_id"): [None, "new"],
    ("record_payment", "attempt"): [None, 0, HIGHEST],
    ("record_payment", "key"): [None, *OWN_KEYS, "pending", "spent", "x" * 255],
    ("record_payment", "amount"): [None, 1],
    ("record_payment", "currency"): [None, "usd", "USD", "usdc"],
    ("record_payment", "reason"): [None, "x" * 1000],
    ("match_payment", "key"): [None, "pending", "x" * 255],
    ("match_payment", "actor"): [None, "\N{PILE OF POO}" * 255],
    ("record_card_check", "amount"): [None, 1],
    ("record_card_check", "key"): [None, "x" * 255],
    ("list_payment_events", "status"): [None, "RECEIVED", "PROCESSED", "IGNORED", "FAILED"],
    ("list_payment_events", "provider"): [None, "test", "", "unknown"],
    ("list_payments", "account_id"): [None, "unknown"],
    ("list_payments", "provider"): [None, "test", "", "unknown"],
    ("list_pending_top_ups", "account_id"): [None, "a", "unknown"],
    ("list_pending_top_ups", "before"): [None, "infinity", "-infinity", "2000-01-01"],
    ("resolve_account", "account_id"): [None, "a", "x" * 255, "\N{PILE OF POO}" * 255],
    ("link_identifier", "actor"): [None, "\N{PILE OF POO}" * 255],
    ("link_identifier", "identifier"): ["\N{PILE OF POO}" * 50 + "@example.com", " 7 "],
    ("unlink_identifier", "identifier"): ["ADA@EXAMPLE.COM", "unknown@example.com"],
    ("post_batch", "expires_at"): [None, [None], ["2200-01-01"]],
    ("post_batch", "metadata"): [None, [None], [Jsonb({})]],
    ("post_batch", "quantities"): [None, [None]],
    ("set_price", "code"): ["x" * 255, " ", "\u2028", "m"],
    ("set_price", "prices"): [Jsonb({"x" * 255: "1e39"}), Jsonb({str(n): 0 for n in range(100)})],
    ("price", "quantities"): [Jsonb({"in": 0}), Jsonb({"in": 1e-40}), Jsonb({"in": 2**63 - 1})],
    ("price", "at"): [None, "2200-01-01"],
    ("list_prices", "code"): [None, "m", "", "unknown"],
    ("list_prices", "after_code"): [None, "m", ""],
    ("list_prices", "at"): [None, "infinity", "-infinity", "2000-01-01"],
    ("list_prices", "include_past"): [None, True, False],
    ("add_transaction", "ceiling_balance"): [None, HIGHEST],
    ("enable_transaction", "external_id"): [None, "x" * 255],
    ("capture", "amount"): [None, 1, 10],
    ("capture", "metadata"): [None, Jsonb({}), Jsonb({"x": "y" * 60_000})],
    ("refund", "amount"): [None, 1, 100],
    ("refund", "key"): [None, "x" * 255],
    ("refund", "external_id"): [None, "\N{PILE OF POO}" * 255],
    ("refund", "original_key"): ["k", "#1"],
    ("reverse_transaction", "amount"): [None, 1, 10],
    ("reverse_transaction", "original_key"): ["spent", "#2"],
    ("release", "reason"): [None, "x" * 1000],
    ("add_transaction", "expires_at"): [None, "2200-01-01"],
    ("revoke_lot", "key"): ["lot", "#4"],
    ("revoke_lot", "reason"): [None, "x" * 1000],
    ("explain_transaction", "key"): ["k", "held", "unknown", "#1", "#99"],
    ("set_auto_top_up", "amount"): [1, HIGHEST],
    ("get_top_up_limits", "account_id"): [None, "unknown"],
    ("set_top_up_limits", "account_id"): [None],
    ("set_top_up_limits", "daily_amount_limit"): [None, 10, HIGHEST],
    ("decline_top_up", "reason"): [None, "x" * 1000],
    ("defer_top_up", "reason"): [None, "x" * 1000],
    ("check_auto_top_up", "reference"): [None, "\N{PILE OF POO}" * 255],
    ("ack_events", "account_ids"): [["b"], ["unknown"], [""]],
    ("ack_events", "seqs"): [[1], [2], [LOWEST]],
    ("create_plan", "code"): ["x" * 200, " ", "\u2028"],
    ("create_plan", "amount"): [1, HIGHEST],
    ("set_spending_cap", "amount"): [None, 0, HIGHEST],
    ("clear_plan", "expire_allowance"): [True, False],
    ("list_audit", "account_id"): [None, "unknown"],
    ("request_refund", "amount"): [None, 1, 100],
    ("request_refund", "original_key"): ["k", "#1"],
    ("request_refund", "key"): [None, "x" * 255, "\u2028"],
    ("request_refund", "reason"): [None, "x" * 1000],
    ("approve_refund", "key"): ["asked", "approved"],
    ("approve_refund", "reason"): [None, "x" * 1000],
    ("reject_refund", "reason"): [None, "x" * 1000],
    ("settle_refund_request", "return_id"): ["x" * 255],
    ("settle_refund_request", "result"): [None, "x" * 1000],
    ("list_refund_requests", "account_id"): [None, "unknown"],
    ("list_refund_requests", "before_account_id"): [None, "a", "", HUGE],
    ("list_refund_requests", "before_at"): [None, "infinity", "-infinity", "2000-01-01"],
    ("list_refund_requests", "before_key"): [None, "k", "", HUGE],
    ("list_refund_requests", "status"): [None, "PENDING", "APPROVED", "REJECTED"],
    ("list_audit", "act"): [None, "refund", "", HUGE],
    ("list_audit", "actor"): [None, "ada", "", HUGE],
    ("list_audit", "before_at"): [None, "infinity", "-infinity", "2000-01-01"],
    ("list_audit", "before_id"): [None, "00000000-0000-0000-0000-000000000000"],
    ("list_events", "account_id"): [None, "unknown"],
    ("transfer", "to_account_id"): ["b"],
    ("transfer", "key"): [None, "x" * 255, "\u2028"],
    ("hold", "key"): [None, "x" * 255, "k#", " "],
    ("history", "type"): [None],
    ("open_account", "min_balance"): [0, LOWEST],
    ("set_limits", "debt_floor"): [None, LOWEST],
    ("add_transaction", "key"): [None, "x" * 255, "k#", " ", "\u2028", "\N{PILE OF POO}" * 255],
    ("open_account", "account_id"): ["x" * 255, " ", "\u2028", "\N{PILE OF POO}" * 255],
    ("top_up", "account_id"): ["\N{PILE OF POO}" * 255, "\u2028"],
    ("spend", "reference"): [None, "\N{PILE OF POO}" * 255],
    ("top_up", "external_id"): [None, "\N{PILE OF POO}" * 255],
    ("spend", "metadata"): [None, Jsonb({}), Jsonb({"x": "y" * 60_000})],
}


def parameters(connection: Ledger) -> set[tuple[str, str]]:
    """Return every parameter of every public function, from the catalog."""
    found = connection.execute(
        "select p.proname, n.name"
        " from pg_proc p, unnest(p.proargnames[:p.pronargs]) n (name)"
        " where p.pronamespace = 'pgledger'::regnamespace and p.proname not like '\\_%'"
    )
    return {(row["proname"], row["name"]) for row in found}


def call(db: Ledger, function: str, given: dict[str, object]) -> None:
    arguments = ", ".join(f"{name} => %({name})s" for name in given)
    db.execute(f"select * from pgledger.{function}({arguments})", given)


def short(given: object) -> str:
    if isinstance(given, Json | Jsonb):
        given = json.dumps(given.obj)
    text = ascii(given)
    return text if len(text) < 30 else f"{text[:10]}... {len(text)} long"


def cases() -> Iterator[tuple[str, str]]:
    parameters_of: dict[str, str] = {
        "open_account": "account_id currency min_balance metadata",
        "add_transaction": "account_id amount type key is_active reference external_id metadata"
        " expires_at priority",
        "spend": "account_id amount key reference metadata shortfall",
        "top_up": "account_id amount key is_active reference external_id metadata"
        " expires_at priority",
        "grant_credits": "account_id amount key expires_at priority reference metadata",
        "enable_transaction": "account_id key external_id metadata amount",
        "cancel_transaction": "account_id key reason",
        "get_credits": "account_id",
        "get_balance": "account_id",
        "check_credits": "account_id required",
        "get_transaction": "account_id key",
        "balance_at": "account_id at",
        "history": "account_id limit_count type",
        "usage_by_reference": "account_id limit_count",
        "set_account_status": "account_id status actor",
        "set_limits": "account_id min_balance debt_floor actor",
        "hold": "account_id amount key expires_at reference metadata",
        "capture": "account_id key amount metadata",
        "release": "account_id key reason",
        "refund": "account_id original_key amount key external_id reference metadata actor",
        "reverse_transaction": "account_id original_key amount key reference metadata extend actor",
        "transfer": "from_account_id to_account_id amount key reference metadata",
        "set_auto_top_up": "account_id threshold amount mode enabled daily_count_limit"
        " daily_amount_limit monthly_count_limit monthly_amount_limit actor",
        "get_auto_top_up": "account_id",
        "check_auto_top_up": "account_id reference",
        "set_low_balance_level": "account_id actor",
        "claim_events": "limit_count visibility_timeout",
        "ack_events": "account_ids seqs",
        "list_audit": "account_id limit_count",
        "request_refund": "account_id original_key amount key reason tolerance actor",
        "approve_refund": "account_id key reason actor",
        "reject_refund": "account_id key reason actor",
        "claim_refunds": "limit_count lease provider",
        "settle_refund_request": "account_id key return_id result",
        "list_refund_requests": "status account_id limit_count",
        "list_events": "account_id limit_count",
        "run_due": "limit_count",
        "verify": "account_id",
        "revoke_lot": "account_id key reason actor",
        "lots": "account_id limit_count",
        "expiring": "account_id within",
        "explain_transaction": "account_id key",
        "explain_balance": "account_id",
        "create_plan": "code amount period policy anchor time_zone metadata actor",
        "assign_plan": "account_id plan starts_at at_once expire_allowance actor",
        "clear_plan": "account_id expire_allowance actor",
        "get_plan": "account_id",
        "set_spending_cap": "account_id amount period time_zone actor",
        "get_spending_cap": "account_id",
        "post_batch": "account_ids amounts types keys reference_ids metadata shortfalls"
        " external_ids ceiling_balances expires_at priorities codes quantities atomic",
        "post_batch_json": "items atomic",
        "record_payment_event": "provider event_id type payload occurred_at",
        "process_payment_event": "provider event_id facts",
        "record_payment": "provider payment_id status account_id key amount paid currency refunded"
        " customer reason occurred_at attempt",
        "match_payment": "provider payment_id account_id amount key actor",
        "record_card_check": "provider check_id account_id key amount customer payment_method",
        "get_payment_event": "provider event_id",
        "list_payment_events": "status limit_count",
        "list_payments": "account_id limit_count",
        "set_price": "code prices rounding valid_from metadata actor",
        "price": "code quantities at",
        "list_prices": "limit_count",
        "spend_usage": "account_id code quantities key reference metadata shortfall",
        "hold_usage": "account_id code quantities key expires_at reference metadata",
        "capture_usage": "account_id key quantities shortfall metadata",
        "record_payment_refund": "provider refund_id payment_id amount status request_key"
        " account_id occurred_at",
        "record_dispute": "provider dispute_id payment_id amount status policy reason occurred_at",
        "list_payment_returns": "account_id limit_count",
        "list_pending_top_ups": "account_id limit_count",
        "resolve_account": "identifier kind open account_id",
        "link_identifier": "account_id identifier kind move actor",
        "unlink_identifier": "identifier kind actor",
        "list_identifiers": "account_id",
        "set_top_up_limits": "account_id minimum multiple_of maximum daily_count_limit"
        " daily_amount_limit actor",
        "get_top_up_limits": "account_id",
        "create_top_up": "account_id amount key price price_currency reference metadata expires_at"
        " priority",
        "claim_top_ups": "limit_count lease",
        "decline_top_up": "account_id key attempt reason provider payment_id give_up",
        "defer_top_up": "account_id key attempt pause reason",
    }
    for function, names in parameters_of.items():
        for parameter in names.split():
            yield function, parameter


CASES = list(cases())


@pytest.fixture
def filled(db: Ledger) -> Ledger:
    ask(db, "top_up", account_id="a", amount=100, key="k")
    ask(db, "spend", account_id="a", amount=10, key="spent")
    ask(db, "top_up", account_id="a", amount=100, key="pending", is_active=False)
    ask(db, "top_up", account_id="a", amount=500)
    ask(db, "hold", account_id="a", amount=10, key="held")
    ask(db, "open_account", account_id="b")
    ask(db, "set_account_status", account_id="b", status="FROZEN")
    ask(db, "grant_credits", account_id="a", amount=50, key="lot", expires_at="2100-01-01")
    ask(db, "set_price", code="m", prices={"in": 1})
    ask(db, "hold_usage", account_id="a", code="m", quantities={"in": 1}, key="used")
    ask(db, "top_up", account_id="a", amount=5, key="back")
    ask(db, "request_refund", account_id="a", original_key="back", amount=2, key="approved")
    ask(db, "approve_refund", account_id="a", key="approved")
    ask(db, "request_refund", account_id="a", original_key="back", key="asked")
    ask(db, "create_plan", code="basic", amount=5, period="1 day", policy="RESET")
    ask(db, "link_identifier", account_id="a", identifier="ada@example.com")
    ask(db, "link_identifier", account_id="b", identifier="bob@example.com")
    ask(db, "top_up", account_id="c", amount=10)
    ask(db, "set_auto_top_up", account_id="c", threshold=10, amount=5)
    ask(db, "spend", account_id="c", amount=1)
    receive(db)
    tell(db, payment_id="unmatched", account_id=None, key=None)
    return db


def refusal(db: Ledger, function: str, given: dict[str, object]) -> psycopg.Error:
    try:
        call(db, function, given)
    except psycopg.Error as error:
        return error
    pytest.fail(f"{function} accepted {[short(value) for value in given.values()]}")


def require_words(error: psycopg.Error, what: str) -> None:
    state = error.sqlstate or ""
    # 22P02 is what the server says to a label that an enum does not have.
    assert state[:2] in {"22", "LG"}, f"{what}: {error}"
    assert state not in {"22P05", "22021"}, f"{what}: {error}"
    if state != "22P02":
        assert error.diag.message_primary, what
        assert error.diag.message_hint, what
        assert isinstance(json.loads(error.diag.message_detail or ""), dict), what
        assert len(error.diag.message_detail or "") < 2000, what


@pytest.mark.parametrize(("function", "parameter"), CASES)
def test_what_makes_no_sense_is_refused_and_leaves_no_trace(
    filled: Ledger, function: str, parameter: str
) -> None:
    before = traces(filled)
    for value in REFUSED_BY.get((function, parameter), REFUSED[parameter]):
        given = GOOD[function] | {parameter: value}
        error = refusal(filled, function, given)
        require_words(error, f"{function}({parameter} => {short(value)})")
        assert traces(filled) == before


def test_every_parameter_is_covered(db: Ledger) -> None:
    free = {(f, p) for f, p in parameters(db) if p in FREE} | FREE_BY.keys()
    assert parameters(db) == set(CASES) | free
    assert {function for function, _ in parameters(db)} == GOOD.keys()


def test_what_makes_sense_is_accepted(filled: Ledger) -> None:
    tried = 0
    for function, parameter in sorted(parameters(filled)):
        for value in FREE_BY.get((function, parameter), FREE.get(parameter, [])):
            with filled.transaction(force_rollback=True):
                call(filled, function, GOOD[function] | {parameter: value})
            tried += 1
    assert tried > 40


@pytest.mark.parametrize(
    ("function", "parameter"),
    [
        case
        for case in CASES
        if "account_id" in case[1] and case[0] not in ALL_ACCOUNTS | NO_ACCOUNTS
    ],
)
def test_an_empty_ledger_refuses_a_missing_account_too(
    db: Ledger, function: str, parameter: str
) -> None:
    error = refusal(db, function, GOOD[function] | {parameter: None})
    assert error.sqlstate == "22004"


@pytest.mark.parametrize("function", sorted(ALL_ACCOUNTS))
def test_an_empty_ledger_refuses_an_account_id_that_cannot_be_one(
    db: Ledger, function: str
) -> None:
    error = refusal(db, function, GOOD[function] | {"account_id": ""})
    assert error.sqlstate == "22023"


@pytest.mark.parametrize(
    ("balance", "held", "amount", "fits"),
    [
        (HIGHEST, 0, 1, False),
        (HIGHEST - 1, 0, 1, True),
        (HIGHEST - 1, 0, 2, False),
        (1, 0, HIGHEST, False),
        (0, 0, HIGHEST, True),
        (-1, 0, HIGHEST, True),
        (LOWEST, 0, HIGHEST, True),
        (LOWEST, 0, -1, False),
        (LOWEST + 1, 0, -1, True),
        (LOWEST + 1, 0, -2, False),
        (-2, 0, -HIGHEST, False),
        (-1, 0, -HIGHEST, True),
        (0, 1, -HIGHEST, True),
        (0, 2, -HIGHEST, False),
        (0, HIGHEST, -1, True),
        (0, HIGHEST, -2, False),
        (-1, HIGHEST, -1, False),
        (HIGHEST, HIGHEST, 1, False),
        (HIGHEST, HIGHEST, -HIGHEST, True),
        (LOWEST + 5, 5, -1, False),
        (LOWEST + 6, 5, -1, True),
    ],
)
@pytest.mark.parametrize("external_id", [None, "x"])
def test_balance_and_available_stay_bigints_or_the_movement_is_refused(
    db: Ledger, balance: int, held: int, amount: int, external_id: str | None, *, fits: bool
) -> None:
    ask(db, "open_account", account_id="a", min_balance=LOWEST)
    db.execute("update pgledger.balances set balance = %s, held = %s", [balance, held])
    given: dict[str, object] = {
        "account_id": "a",
        "amount": amount,
        "type": "ADJUSTMENT",
        "external_id": external_id,
        "fail_insufficient_credits": False,
    }
    before = everything(db)
    if fits:
        row = ask(db, "add_transaction", **given)
        assert row["balance"] == balance + amount
        assert row["available"] == balance + amount - held
    else:
        error = refusal(db, "add_transaction", given)
        assert error.sqlstate == "22003"
        require_words(error, "add_transaction")
        assert everything(db) == before


def test_a_movement_refused_for_its_size_leaves_room_for_others(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=HIGHEST, key="k")
    refusal(db, "top_up", {"account_id": "a", "amount": 1, "key": "l"})
    assert ask(db, "spend", account_id="a", amount=HIGHEST, key="l")["balance"] == 0
    assert in_order(db)


@pytest.mark.parametrize("merged", [{"y": "y" * 40_000}, {str(n): "x" for n in range(4000)}])
def test_metadata_that_grows_too_large_by_merging_is_refused(
    db: Ledger, merged: dict[str, str]
) -> None:
    given = {"account_id": "a", "key": "k"}
    ask(db, "top_up", **given, amount=1, is_active=False, metadata={"x": "x" * 40_000})
    before = everything(db)
    error = refusal(db, "enable_transaction", {**given, "metadata": Jsonb(merged)})
    require_words(error, "enable_transaction")
    assert everything(db) == before
    assert ask(db, "enable_transaction", **given)["status"] == "POSTED"


def test_a_nul_never_reaches_the_ledger(db: Ledger) -> None:
    with pytest.raises(psycopg.Error):
        call(db, "get_credits", {"account_id": "a\x00b"})
    with pytest.raises(psycopg.Error):
        call(db, "top_up", {"account_id": "a", "amount": 1, "metadata": Jsonb({"a": "\x00"})})
    assert everything(db) == [{"what": "currency", "is": "(CREDIT,0)"}]
