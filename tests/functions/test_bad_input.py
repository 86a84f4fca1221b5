"""Whatever is given, every parameter of every public function refuses in words, or accepts it."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Json, Jsonb

from tests.support import HIGHEST, LOWEST, Ledger, ask, everything, in_order

HUGE = "x" * 10_000_000
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
NO_INSTANT = [None, "infinity", "-infinity"]
OWN_KEYS = ["#", "#1", "#auto-1", "#" + "x" * 254]

# A call of every public function that would be accepted, on the account that the fixture fills.
GOOD: dict[str, dict[str, object]] = {
    "open_account": {"account_id": "new"},
    "add_transaction": {"account_id": "a", "amount": 1, "type": "GRANT"},
    "spend": {"account_id": "a", "amount": 1},
    "top_up": {"account_id": "a", "amount": 1},
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
    "verify": {"account_id": "a"},
}

# What each parameter refuses, whatever the function; below, where a function differs.
REFUSED: dict[str, list[Any]] = {
    "account_id": NO_ACCOUNT,
    "amount": NO_CREDIT,
    "at": NO_INSTANT,
    "currency": [None, "", "XXX", "credit", HUGE, "a\nb"],
    "external_id": NO_LABEL,
    "is_active": [None],
    "key": [*NO_LABEL, *OWN_KEYS],
    "limit_count": NO_PAGE,
    "metadata": NO_METADATA,
    "min_balance": [1, HIGHEST],
    "reason": ["", "x" * 1001, HUGE],
    "reference": NO_LABEL,
    "required": NO_CREDIT,
    "shortfall": [None, "", "FORCE", "partial", HUGE, "a\nb"],
    "status": [None, "", "frozen", "EXPIRED", HUGE],
    "type": [None, "", "top_up", "HOLD", HUGE],
    "debt_floor": [0, 1, HIGHEST],
}
REFUSED_BY: dict[tuple[str, str], list[Any]] = {
    ("add_transaction", "amount"): NO_AMOUNT,
    ("enable_transaction", "amount"): [0, -1, -HIGHEST, LOWEST],
    ("enable_transaction", "key"): [None, *NO_LABEL, *OWN_KEYS, "unknown"],
    ("cancel_transaction", "key"): [None, *NO_LABEL, *OWN_KEYS, "unknown"],
    ("get_transaction", "key"): [None, *NO_LABEL],
    ("history", "type"): ["", "top_up", "HOLD", HUGE],
    ("open_account", "min_balance"): [None, 1, HIGHEST],
    ("verify", "account_id"): NO_LABEL,
}
# Any value of these is an answer.
FREE: dict[str, list[Any]] = {
    "before_seq": [None, 0, -1, LOWEST, HIGHEST],
    "fail_insufficient_credits": [None, True, False],
    "raise_refusals": [None, True, False],
    "ceiling_balance": [None, HIGHEST],
}
FREE_BY: dict[tuple[str, str], list[Any]] = {
    ("add_transaction", "ceiling_balance"): [None, HIGHEST],
    ("enable_transaction", "external_id"): [None, "x" * 255],
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
        "add_transaction": "account_id amount type key is_active reference external_id metadata",
        "spend": "account_id amount key reference metadata shortfall",
        "top_up": "account_id amount key is_active reference external_id metadata",
        "grant_credits": "account_id amount key reference metadata",
        "enable_transaction": "account_id key external_id metadata amount",
        "cancel_transaction": "account_id key reason",
        "get_credits": "account_id",
        "get_balance": "account_id",
        "check_credits": "account_id required",
        "get_transaction": "account_id key",
        "balance_at": "account_id at",
        "history": "account_id limit_count type",
        "usage_by_reference": "account_id limit_count",
        "set_account_status": "account_id status",
        "set_limits": "account_id min_balance debt_floor",
        "verify": "account_id",
    }
    for function, names in parameters_of.items():
        for parameter in names.split():
            yield function, parameter


CASES = list(cases())


@pytest.fixture
def filled(db: Ledger) -> Ledger:
    ask(db, "top_up", account_id="a", amount=100, key="k")
    ask(db, "top_up", account_id="a", amount=100, key="pending", is_active=False)
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
    before = everything(filled)
    for value in REFUSED_BY.get((function, parameter), REFUSED[parameter]):
        given = GOOD[function] | {parameter: value}
        error = refusal(filled, function, given)
        require_words(error, f"{function}({parameter} => {short(value)})")
        assert everything(filled) == before


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


@pytest.mark.parametrize("function", sorted(GOOD.keys() - {"verify"}))
def test_an_empty_ledger_refuses_a_missing_account_too(db: Ledger, function: str) -> None:
    error = refusal(db, function, GOOD[function] | {"account_id": None})
    assert error.sqlstate == "22004"


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
