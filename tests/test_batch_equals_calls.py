"""A batch is what its items are one by one: the same answers, and the same in every table.

From one state of a few accounts, random items are posted in a transaction that is rolled back, each
by a call of its own, and then as a batch. `PGLEDGER_EXAMPLES=5000 pytest` runs it for longer, and
elsewhere each time; without it, the same examples run every time.
"""

import copy
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.batches import Item, post_batch, post_batch_json, post_singly
from tests.plans import let_days_pass
from tests.prices import set_price
from tests.sessions import Connection, Row
from tests.strategies import AMOUNTS, CEILINGS, EXTERNAL_IDS, METADATA, PRIORITIES, REFERENCES
from tests.support import LOWEST, ask, ask_all, unreckoned, write_history

GIVEN_EXAMPLES = os.environ.get("PGLEDGER_EXAMPLES")
EXAMPLES = int(GIVEN_EXAMPLES or 40)

TABLES = {
    "accounts": "account_id",
    "balances": "account_id",
    "transactions": "account_id, seq",
    "pending_transactions": "account_id, key",
    "lots": "account_id, seq",
    "draws": "account_id, seq, place",
    "reservations": "account_id, key, place",
    "events": "account_id, seq",
    "auto_top_ups": "account_id",
    "account_plans": "account_id",
    "spending_caps": "account_id",
}
EVERYTHING = " union all ".join(
    f"(select '{table}' as what, to_jsonb(x) as x from pgledger.{table} x order by {order})"
    for table, order in TABLES.items()
)

# One noon for all examples, on which everything that ends is laid out: nothing ends just now.
NOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
DAY = timedelta(days=1)

# The state that batches find

ACCOUNTS = ["anna", "bert", "Carl"]
ENDS = [timedelta(hours=6), timedelta(hours=6), timedelta(days=2), timedelta(days=40)]

Step = tuple[str, dict[str, Any]]
SMALL = st.integers(1, 40)
FUNDS = st.sampled_from([5, 20, 50, 100, 1000, 2**63 - 100])


def step(verb: str, **given: object) -> st.SearchStrategy[Step]:
    """A call that prepares an account, some of its arguments drawn."""
    drawn = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value)
        for name, value in given.items()
    }
    return st.tuples(st.just(verb), st.fixed_dictionaries(drawn))


ends = st.sampled_from([NOON + later for later in ENDS])
FUNDING = step("grant_credits", amount=FUNDS)
STEPS = st.one_of(
    FUNDING,
    step("grant_credits", amount=SMALL, expires_at=ends, priority=PRIORITIES),
    step("grant_credits", amount=SMALL, expires_at=ends),
    step("grant_credits", amount=SMALL, priority=PRIORITIES),
    step("spend", amount=SMALL, key=st.sampled_from(["k1", "k2"])),
    step("top_up", amount=SMALL, key="k2", external_id="pi_1"),
    step("top_up", amount=SMALL, key="k3", is_active=False, external_id="pi_2"),
    step("hold", amount=SMALL, key="k4", expires_at=st.none() | ends),
    step("hold", amount=SMALL, key="k5", expires_at=ends),
    step("cancel_transaction", key=st.sampled_from(["k3", "k4"])),
    step("capture", key="k5"),
    step("set_limits", min_balance=st.integers(-30, 0), debt_floor=st.integers(-60, -30)),
    step("set_low_balance_level", level=st.integers(-10, 60)),
    step(
        "set_auto_top_up",
        threshold=st.integers(0, 60),
        amount=st.sampled_from([10, 50, 2**62]),
        mode=st.sampled_from(["INTENT", "INSTANT"]),
        daily_count_limit=st.sampled_from([None, None, 1, 2]),
    ),
    step("set_spending_cap", amount=st.integers(0, 60), period=DAY),
    step("assign_plan", plan=st.sampled_from(["add", "reset"]), starts_at=ends),
    step("set_account_status", status=st.sampled_from(["FROZEN", "FROZEN", "CLOSED"])),
    step("lose the balance row"),
    step("bring history"),
    step("two days pass"),
)
# Most have something to spend, and a past.
LIVES = [
    st.lists(STEPS, max_size=4),
    *[st.tuples(FUNDING, *[STEPS] * past).map(list) for past in (1, 3, 5, 7)],
]


@st.composite
def states(draw: st.DrawFn) -> list[tuple[str, Step]]:
    """What happened before the batch; account by account, but for days, which pass for all."""
    lives = {account: draw(draw(st.sampled_from(LIVES))) for account in ACCOUNTS}
    return [(account, step) for account, life in lives.items() for step in life]


def prepare(db: Connection, steps: Sequence[tuple[str, Step]]) -> None:
    for account, (verb, arguments) in steps:
        if verb == "two days pass":
            let_days_pass(db, 2)
        elif verb == "lose the balance row":
            db.execute("delete from pgledger.balances where account_id = %s", [account])
        elif verb == "bring history":
            if not ask_all(db, "history", account_id=account) + ask_all(
                db, "get_plan", account_id=account
            ):
                db.execute("delete from pgledger.balances where account_id = %s", [account])
                write_history(db, account, 40, -10, key="k")
        else:
            # Some of it makes no sense, and is refused.
            with suppress(psycopg.Error), db.transaction():
                ask_all(db, verb, account_id=account, **arguments)


def is_without_a_past(db: Connection, account: str) -> bool:
    return not any(ask_all(db, reader, account_id=account) for reader in ("history", "get_plan"))


# The items

KNOWN = [*ACCOUNTS, "nobody", "someone"]
WHO = st.sampled_from([*ACCOUNTS, "anna", "anna", "bert", "nobody", "someone"])
KEYS = st.none() | st.sampled_from(["k1", "k2", "k3", "k4", "k5", "k6"])
NEW_KEYS = st.none() | st.integers(1, 99).map(lambda number: f"new {number}")
LIFETIMES = st.sampled_from([None, None, NOON + DAY, NOON + 3 * DAY, NOON - 9 * DAY])
TYPES = st.sampled_from(["TOP_UP", "USAGE", "GRANT", "REFUND", "CARD_CHECK", "ADJUSTMENT"])


def item(**given: st.SearchStrategy[Any]) -> st.SearchStrategy[Item]:
    return st.fixed_dictionaries({"account_id": WHO} | given)


MINUS = [-amount for amount in (1, 2, 3, 5, 8, 13)]
CALM = item(
    amount=st.sampled_from([*MINUS, *MINUS, 1, 5, 20, 50]),
    type=st.just("USAGE"),
    key=NEW_KEYS,
    reference=REFERENCES,
    metadata=METADATA,
)
SPENDS = item(
    amount=st.sampled_from([*MINUS, *MINUS, -20, -40, -100, -(2**62)]),
    type=st.just("USAGE"),
    key=KEYS,
    reference=REFERENCES,
    metadata=METADATA,
    shortfall=st.sampled_from([None, "REFUSE", "PARTIAL", "DEBT"]),
)
CREDITS = item(
    amount=AMOUNTS,
    type=TYPES,
    key=KEYS,
    reference=REFERENCES,
    metadata=METADATA,
    external_id=EXTERNAL_IDS,
    ceiling_balance=CEILINGS,
    expires_at=LIFETIMES,
    priority=PRIORITIES,
)
DEBITS = item(
    amount=AMOUNTS.map(lambda amount: -amount),
    type=TYPES,
    key=KEYS,
    shortfall=st.sampled_from([None, "REFUSE", "FORCE"]),
    external_id=EXTERNAL_IDS,
)
MISUSED: dict[str, list[Any]] = {
    "account_id": [None, "", "a\nb", "x" * 256],
    "amount": [None, 0, LOWEST],
    "type": [None],
    "key": ["", "#1", "#", "a\tb", "x" * 256],
    "reference": ["", "\x7f"],
    "metadata": [[1], 5, {"x": "y" * 70_000}],
    "external_id": ["", "\x01"],
    "expires_at": [NOON, NOON - 900 * DAY],
    "priority": [1],
}


@st.composite
def misused(draw: st.DrawFn) -> Item:
    """An item that cannot be, or can and is only strange, for one thing that it says."""
    name = draw(st.sampled_from(sorted(MISUSED)))
    plain = draw(CALM)
    return plain | {name: draw(st.sampled_from(MISUSED[name]))}


USAGE = st.fixed_dictionaries(
    {
        "account_id": WHO,
        "amount": st.none(),
        "type": st.just("USAGE"),
        "code": st.sampled_from(["m", "m", "m", "free", "free", "free", "unknown"]),
        "quantities": st.dictionaries(
            st.sampled_from(["in", "out", "out", "in", "?"]), st.integers(0, 9), min_size=1
        )
        | st.just({"out": 2**63 - 1}),
        "key": NEW_KEYS | KEYS,
        "shortfall": st.sampled_from([None, "REFUSE", "PARTIAL", "DEBT"]),
    }
)

# What is drawn more often is there more often; most are small, and some refused.
KINDS = {
    "calm": [CALM],
    "tight": [CALM, SPENDS],
    "metered": [CALM, USAGE, USAGE],
    "wild": [CALM, SPENDS, SPENDS, USAGE, CREDITS, CREDITS, DEBITS, misused()],
}
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "account_id": WHO,
    "reference": REFERENCES,
    "key": KEYS,
}
OF_AMOUNTS = {"amount": st.sampled_from([-1, -2, 5]), "type": TYPES}
OF_USAGE = {"quantities": st.just({"in": 3})}


@st.composite
def batches(draw: st.DrawFn) -> list[list[Item]]:
    """One batch or two; items come again, in their own and in the next, as they were or changed."""
    some: list[list[Item]] = []
    before: list[Item] = []
    for _ in range(draw(st.sampled_from([1, 2, 2]))):
        kind = KINDS[draw(st.sampled_from([*KINDS, "wild", "wild"]))]
        items: list[Item] = []
        for _ in range(draw(st.sampled_from([3, 6, 9, 12, 20, 30]))):
            again = draw(st.integers(0, 9)) if before else 9
            one = draw(st.sampled_from(before if again < 2 else [None]))
            one = one or draw(draw(st.sampled_from(kind)))
            if again == 0:
                changes = CHANGES | (OF_USAGE if "code" in one else OF_AMOUNTS)
                name = draw(st.sampled_from(sorted(changes)))
                one = one | {name: draw(changes[name])}
            if can_be_posted_singly(one):
                items.append(one)
                before.append(one)
        some.append(items)
    return some


def can_be_posted_singly(one: Item) -> bool:
    """Whether there is a verb for it: only spends can be PARTIAL, or go into DEBT."""
    is_spend = one["type"] == "USAGE" and (one["amount"] or 0) < 0
    return one.get("shortfall") not in {"PARTIAL", "DEBT"} or is_spend


# What is compared


def told(rows: Sequence[Row], began: datetime) -> list[Any]:
    """Rows as JSON, but for the times that are when this very call was made."""
    return [_told(json.loads(json.dumps(row, default=str)), began) for row in rows]


def _told(value: Any, began: datetime) -> Any:  # noqa: ANN401 - it is JSON
    if isinstance(value, dict):
        return {name: _told(inner, began) for name, inner in value.items()}
    if isinstance(value, str) and value[:2] == "20" and "infinity" not in value:
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return value
        return "now" if began <= at <= datetime.now(UTC) else value
    return value


def recorded(db: Connection, began: datetime) -> dict[str, list[Any]]:
    """All that the tables hold; of the clock, only when something fell due."""
    found = db.execute(EVERYTHING.encode()).fetchall()
    held = {
        table: told([row["x"] for row in found if row["what"] == table], began) for table in TABLES
    }
    # Of the head lot the balance row tells what is left, and the lot's own row when it moves.
    heads = {(hot["account_id"], hot["head_lot"]): hot["head_left"] for hot in held["balances"]}
    for lot in held["lots"]:
        lot["remaining"] = heads.get((lot["account_id"], lot["seq"]), lot["remaining"])
    return held


def require_the_same_tables(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> None:
    one, other = copy.deepcopy(one), copy.deepcopy(other)
    for hot, its_twin in zip(one["balances"], other["balances"], strict=False):
        # A posting that was taken back leaves its mark here.
        hot["updated_at"] = its_twin["updated_at"] = None
        # A head that is used up moves with whatever is posted next.
        if 0 in (hot["head_left"], its_twin["head_left"]):
            hot["head_lot"] = hot["head_left"] = None
            its_twin["head_lot"] = its_twin["head_left"] = None
    for table in TABLES:
        assert one[table] == other[table], table


def tried(db: Connection, post: partial[list[Row]]) -> tuple[list[Any], dict[str, list[Any]]]:
    """The answers, and what the ledger holds after them; nothing of it is kept."""
    began = datetime.now(UTC)
    with db.transaction(force_rollback=True):
        answers = told(post(), began)
        # What a refusal leaves to be posted later is posted now, by whichever way it went.
        while ask(db, "run_due")["run_due"]:
            pass
        db.execute("select pgledger._lock_balance(account_id) from pgledger.accounts")
        assert post.func is not post_batch or unreckoned(db) == []
        return answers, recorded(db, began)


def require_the_same(db: Connection, items: Sequence[Item]) -> None:
    answers, held = tried(db, partial(post_singly, db, *items))
    for post in (post_batch, post_batch_json):
        if post is post_batch_json and any(one["amount"] == LOWEST for one in items):
            continue  # it is no amount there
        batch_answers, batch_held = tried(db, partial(post, db, *items))
        assert len(batch_answers) == len(answers)
        for place, (one, other) in enumerate(zip(batch_answers, answers, strict=True)):
            assert {name: one[name] for name in other} == other, (post.__name__, place)
        require_the_same_tables(batch_held, held)
    require_the_same_of_an_atomic_one(db, items, answers, held)


def require_the_same_of_an_atomic_one(
    db: Connection, items: Sequence[Item], answers: list[Any], held: dict[str, list[Any]]
) -> None:
    """All of it, or the error of the first that is refused, and nothing."""
    refused = [place for place, row in enumerate(answers) if row["refusal"] is not None]
    if not refused:
        batch_answers, batch_held = tried(db, partial(post_batch, db, *items, atomic=True))
        assert batch_answers == answers
        require_the_same_tables(batch_held, held)
        return
    first = answers[refused[0]]
    began = datetime.now(UTC)
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        post_batch(db, *items, atomic=True)
    raised = caught.value.diag
    assert raised.sqlstate == first["refusal"]
    assert {
        "message": raised.message_primary,
        "detail": _told(json.loads(raised.message_detail or ""), began),
        "hint": raised.message_hint,
    } == first["error"] | {"detail": first["error"]["detail"] | {"item": refused[0] + 1}}


@pytest.mark.parametrize(("start", "known"), [(1, True), (2, True), (3, False)])
def test_a_batch_is_what_its_items_are_one_by_one(
    db: Connection, start: int, *, known: bool
) -> None:
    set_price(db, "m", {"in": "0.3", "out": 4})
    set_price(db, "free", {"in": 0, "out": "0.1"}, rounding="FLOOR")
    ask(db, "create_plan", code="add", amount=30, period="1 day", policy="ADD", anchor="ACCOUNT")
    ask(db, "create_plan", code="reset", amount=9, period="1 day", policy="RESET", anchor="ACCOUNT")

    @settings(
        max_examples=EXAMPLES,
        derandomize=GIVEN_EXAMPLES is None,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=states(), several=batches())
    def compare(steps: list[tuple[str, Step]], several: list[list[Item]]) -> None:
        opened: list[tuple[str, Step]] = (
            [(name, ("open_account", {})) for name in KNOWN] if known else []
        )
        with db.transaction(force_rollback=True):
            prepare(db, [*opened, *steps])
            for items in several:
                require_the_same(db, items)
                post_batch(db, *items)

    (compare if GIVEN_EXAMPLES else seed(start)(compare))()
