"""Random operations against a plain-Python model: every answer, every reader and verify() agree.

`PGLEDGER_EXAMPLES=5000 pytest tests/test_state_machine.py` runs it for longer, and elsewhere each
time; without it, the same examples run every time.
"""

import copy
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    multiple,
    rule,
    run_state_machine_as_test,
)
from psycopg import sql
from psycopg.types.json import Jsonb

from tests import model
from tests.sessions import Connection, Row

GIVEN_EXAMPLES = os.environ.get("PGLEDGER_EXAMPLES")
EXAMPLES = int(GIVEN_EXAMPLES or 200)
STEPS = 40

GENERATED_KEY = re.compile(r"#[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

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
TYPES = st.sampled_from(["TOP_UP", "USAGE", "GRANT", "CARD_CHECK", "ADJUSTMENT", "REFUND"])
SHORTFALLS = st.sampled_from(["REFUSE", "REFUSE", "PARTIAL", "DEBT"])
STATUSES = st.sampled_from(["OPEN", "OPEN", "FROZEN", "CLOSED"])

SETTERS = frozenset({"open_account", "set_account_status", "set_limits"})


@dataclass(frozen=True)
class Call:
    """A call of the ledger, to be made again, or changed a little and made again."""

    verb: str
    account: str
    arguments: dict[str, Any]

    def changed(self, **changes: object) -> "Call":
        known = {name: value for name, value in changes.items() if name in self.arguments}
        return replace(self, arguments=self.arguments | known)

    @property
    def refusal_as_row(self) -> bool:
        return self.arguments.get("raise_refusals") is False


def as_request(call: Call) -> model.Request:
    """What add_transaction and its special cases ask for."""
    given = call.arguments
    fixed = {"spend": "USAGE", "top_up": "TOP_UP", "grant_credits": "GRANT"}
    forced = given.get("fail_insufficient_credits") is False
    return model.Request(
        amount=-given["amount"] if call.verb == "spend" else given["amount"],
        type=fixed.get(call.verb) or given["type"],
        key=given["key"],
        announced=not given.get("is_active", True),
        ceiling=given.get("ceiling_balance"),
        shortfall="FORCE" if forced else given.get("shortfall", "REFUSE"),
        reference=given["reference"],
        external_id=given.get("external_id"),
        metadata=given["metadata"] or {},
    )


def shown(account_id: str, movement: model.Movement) -> Row:
    """A movement as get_transaction and history show it, but for its time."""
    return {
        "account_id": account_id,
        "key": movement.known_as,
        "seq": movement.seq,
        "type": movement.type,
        "amount": movement.amount,
        "requested_amount": movement.requested,
        "running_balance": movement.running_balance,
        "status": movement.status,
        "reference": movement.reference,
        "external_id": movement.external_id,
        "metadata": movement.metadata,
    }


def without_time(rows: list[Row]) -> list[Row]:
    return [{name: row[name] for name in row if name != "created_at"} for row in rows]


class LedgerMachine(RuleBasedStateMachine):
    calls: Bundle[Call] = Bundle("calls")
    db: ClassVar[Connection]
    example: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        # Fresh accounts per example: the journal cannot be emptied, and need not be.
        type(self).example += 1
        self.accounts = {name: model.Account() for name in ("anna", "bert")}

    def account_id(self, name: str) -> str:
        return f"{name} {self.example}"

    # Making a call, on both sides

    def make(self, call: Call) -> None:
        """Make the call, and require what the model answers."""
        account = self.accounts[call.account]
        row, raised = self.execute(call)
        refusal = None
        try:
            expected = self.expect(call, account, row)
        except (model.Misused, model.Refused) as refused:
            refusal = refused
        if refusal is None:
            assert (raised, row) == (None, expected)
        elif isinstance(refusal, model.Refused) and call.refusal_as_row:
            self.require_refusal(call, account, row, refusal.code)
        else:
            assert raised == refusal.code
        self.require_account(call.account)

    def execute(self, call: Call) -> tuple[Row, str | None]:
        """The row that the ledger answers, without its time, or the SQLSTATE that it raises."""
        arguments = {
            name: Jsonb(value) if isinstance(value, dict) else value
            for name, value in call.arguments.items()
        }
        query = sql.SQL("select * from pgledger.{}({})").format(
            sql.Identifier(call.verb),
            sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name))
                for name in ["account_id", *arguments]
            ),
        )
        arguments["account_id"] = self.account_id(call.account)
        try:
            with self.a_savepoint_if_in_a_transaction():
                rows = self.db.execute(query, arguments).fetchall()
        except psycopg.Error as error:
            return {}, error.sqlstate
        (row,) = rows
        assert (row["created_at"] is None) is (row.get("status") == "REFUSED")
        return without_time(rows)[0], None

    @contextmanager
    def a_savepoint_if_in_a_transaction(self) -> Iterator[None]:
        if self.db.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            yield
        else:
            with self.db.transaction():
                yield

    def expect(self, call: Call, account: model.Account, row: Row) -> Row:
        """The model's answer, as a row."""
        given = call.arguments
        if call.verb in SETTERS:
            return self.expect_settings(call, account)
        if call.verb == "cancel_transaction":
            answer = account.cancel(given["key"])
        elif call.verb == "enable_transaction":
            answer = account.enable(
                given["key"],
                amount=given["amount"],
                external_id=given["external_id"],
                metadata=given["metadata"] or {},
            )
        else:
            # Only the ledger knows what it calls an announcement without a key.
            generated = row.get("key") or ""
            answer = account.add(
                as_request(call),
                generated_key=generated if GENERATED_KEY.fullmatch(generated) else "no such key",
            )
        movement = shown(self.account_id(call.account), answer.movement)
        for name in ("reference", "external_id", "metadata"):
            del movement[name]
        return movement | {
            "balance": account.balance,
            "available": account.balance,
            "replayed": answer.replayed,
            "refusal": None,
        }

    def expect_settings(self, call: Call, account: model.Account) -> Row:
        given = call.arguments
        if call.verb == "open_account":
            account.open(**given)
        elif call.verb == "set_account_status":
            account.set_status(given["status"])
        else:
            account.set_limits(**given)
        return {
            "account_id": self.account_id(call.account),
            "currency": account.currency,
            "status": account.status,
            "min_balance": account.min_balance,
            "debt_floor": account.debt_floor,
            "metadata": {},
        }

    def require_refusal(self, call: Call, account: model.Account, row: Row, code: str) -> None:
        expected: Row = {
            "account_id": self.account_id(call.account),
            "key": call.arguments["key"],
            "seq": None,
            "amount": 0,
            "running_balance": None,
            "balance": account.balance,
            "available": account.balance,
            "status": "REFUSED",
            "replayed": False,
            "refusal": code,
        }
        asked = call.arguments.get("amount")
        if call.verb not in {"enable_transaction", "cancel_transaction"}:
            request = as_request(call)
            asked = request.amount
            expected["type"] = request.type
        if asked is not None:
            expected["requested_amount"] = asked
        assert {name: row.get(name) for name in expected} == expected

    def require_account(self, name: str) -> None:
        """What the readers and the tables say of an account is what the model says."""
        account, account_id = self.accounts[name], self.account_id(name)
        found = self.db.execute(
            """
            select g.*,
              pgledger.get_credits(%(id)s) as credits,
              exists (select from pgledger.accounts a where a.account_id = %(id)s) as opened,
              exists (select from pgledger.balances b where b.account_id = %(id)s) as hot
            from pgledger.get_balance(%(id)s) g
            """,
            {"id": account_id},
        ).fetchone()
        assert found is not None
        # An account that was never opened leaves nothing that could be in the way of its history.
        assert found.pop("hot") <= account.opened
        assert found == {
            "account_id": account_id,
            "currency": account.currency if account.known else None,
            "status": account.status if account.known else None,
            "balance": account.balance,
            "held": 0,
            "available": account.balance,
            "min_balance": account.min_balance,
            "debt_floor": account.debt_floor,
            "credits": account.balance,
            "opened": account.opened,
        }
        assert self.db.execute("select * from pgledger.verify(%s)", (account_id,)).fetchall() == []

    # The verbs

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=SIGNED,
        type_=TYPES,
        key=MAYBE_KEYS,
        is_active=st.sampled_from([True, True, True, False]),
        ceiling_balance=CEILINGS,
        fail_insufficient_credits=st.sampled_from([True, True, True, False]),
        reference=REFERENCES,
        external_id=EXTERNAL_IDS,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def add_transaction(self, account: str, type_: str, **arguments: object) -> Call:
        return self.made("add_transaction", account, type=type_, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        reference=REFERENCES,
        metadata=METADATA,
        shortfall=SHORTFALLS,
        raise_refusals=st.booleans(),
    )
    def spend(self, account: str, **arguments: object) -> Call:
        return self.made("spend", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        is_active=st.booleans(),
        ceiling_balance=CEILINGS,
        reference=REFERENCES,
        external_id=EXTERNAL_IDS,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def top_up(self, account: str, **arguments: object) -> Call:
        return self.made("top_up", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        reference=REFERENCES,
        metadata=METADATA,
        raise_refusals=st.booleans(),
    )
    def grant_credits(self, account: str, **arguments: object) -> Call:
        return self.made("grant_credits", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        key=KEYS,
        external_id=EXTERNAL_IDS,
        metadata=METADATA,
        amount=st.none() | AMOUNTS,
        raise_refusals=st.booleans(),
    )
    def enable_transaction(self, account: str, **arguments: object) -> Call:
        return self.made("enable_transaction", account, **arguments)

    @rule(target=calls, account=ACCOUNTS, key=KEYS, raise_refusals=st.booleans())
    def cancel_transaction(self, account: str, **arguments: object) -> Call:
        return self.made("cancel_transaction", account, **arguments)

    @rule(
        target=calls,
        account=ACCOUNTS,
        currency=st.sampled_from(["CREDIT", "CREDIT", "EUR"]),
        min_balance=st.integers(-60, 0),
    )
    def open_account(self, account: str, **arguments: object) -> Call:
        return self.made("open_account", account, **arguments)

    @rule(target=calls, account=ACCOUNTS, status=STATUSES)
    def set_account_status(self, account: str, **arguments: object) -> Call:
        return self.made("set_account_status", account, **arguments)

    @rule(target=calls, account=ACCOUNTS, min_balance=FLOORS, debt_floor=FLOORS)
    def set_limits(self, account: str, **arguments: object) -> Call:
        return self.made("set_limits", account, **arguments)

    def made(self, verb: str, account: str, **arguments: object) -> Call:
        call = Call(verb, account, arguments)
        self.make(call)
        return call

    # What else callers do

    @rule(call=calls)
    def repeat(self, call: Call) -> None:
        self.make(call)

    @rule(
        call=calls,
        change=st.sampled_from(
            [
                {"amount": 20},
                {"amount": 21},
                {"type": "GRANT"},
                {"is_active": False},
                {"is_active": True},
                {"key": "k1"},
                {"key": "k2"},
                {"external_id": None},
                {"external_id": "pi_1"},
                {"external_id": "pi_2"},
                {"reference": "chat 2", "metadata": {"c": 4}},
                {"ceiling_balance": 30},
            ]
        ),
    )
    def repeat_with_a_change(self, call: Call, change: dict[str, object]) -> None:
        self.make(call.changed(**change))

    @rule(target=calls, account=ACCOUNTS, data=st.data())
    def settle_what_waits(self, account: str, data: st.DataObject) -> Any:  # noqa: ANN401 - of hypothesis
        waiting = sorted(self.accounts[account].announced)
        if not waiting:
            return multiple()
        key = data.draw(st.sampled_from(waiting))
        if data.draw(st.booleans()):
            return self.made("cancel_transaction", account, key=key, raise_refusals=True)
        return self.made(
            "enable_transaction",
            account,
            key=key,
            external_id=data.draw(EXTERNAL_IDS),
            metadata=data.draw(METADATA),
            amount=data.draw(st.none() | AMOUNTS),
            raise_refusals=data.draw(st.booleans()),
        )

    @rule(several=st.lists(calls, min_size=1, max_size=3), commits=st.booleans())
    def several_in_one_transaction(self, several: list[Call], *, commits: bool) -> None:
        before = copy.deepcopy(self.accounts)
        with self.db.transaction(force_rollback=not commits):
            for call in several:
                self.make(call)
        if not commits:
            self.accounts = before
        for name in {call.account for call in several}:
            self.require_account(name)

    # What happens to a database

    @rule(account=ACCOUNTS)
    def lose_the_balance_row(self, account: str) -> None:
        self.db.execute(
            "delete from pgledger.balances where account_id = %s", (self.account_id(account),)
        )
        self.require_account(account)

    @rule(account=ACCOUNTS, amount=st.integers(1, 60), key=MAYBE_KEYS, external_id=EXTERNAL_IDS)
    def import_history(
        self, account: str, amount: int, key: str | None, external_id: str | None
    ) -> None:
        known = self.accounts[account]
        records = [*known.posted, *known.announced.values()]
        if (
            known.status == "CLOSED"
            or known.balance + amount > model.HIGHEST
            or any(
                (key is not None and key == record.key)
                or (external_id is not None and external_id == record.external_id)
                for record in records
            )
        ):
            return
        if known.opened:
            self.lose_the_balance_row(account)
        movement = known.import_movement(amount=amount, key=key, external_id=external_id)
        self.db.execute(
            """
            insert into pgledger.transactions
              (account_id, seq, amount, running_balance, created_at, type, key, external_id)
            values (%s, %s, %s, %s, clock_timestamp(), 'TOP_UP', %s, %s)
            """,
            (
                self.account_id(account),
                movement.seq,
                amount,
                movement.running_balance,
                key,
                external_id,
            ),
        )
        self.require_account(account)

    # The readers

    @rule(account=ACCOUNTS, required=AMOUNTS)
    def check_credits(self, account: str, required: int) -> None:
        found = self.db.execute(
            "select pgledger.check_credits(%s, %s) as covered",
            (self.account_id(account), required),
        ).fetchall()
        assert found == [{"covered": self.accounts[account].covers(required)}]

    @rule(account=ACCOUNTS, key=KEYS | st.sampled_from(["#1", "#2", "#7", "#0", "#01"]))
    def get_transaction(self, account: str, key: str) -> None:
        found = self.db.execute(
            "select * from pgledger.get_transaction(%s, %s)", (self.account_id(account), key)
        ).fetchall()
        movement = self.accounts[account].find(key)
        expected = [] if movement is None else [shown(self.account_id(account), movement)]
        assert without_time(found) == expected

    @rule(
        account=ACCOUNTS,
        limit=st.sampled_from([1, 2, 100]),
        before=st.none() | st.integers(0, 9),
        type_=st.none() | TYPES,
    )
    def history(self, account: str, limit: int, before: int | None, type_: str | None) -> None:
        found = self.db.execute(
            "select * from pgledger.history(%s, %s, %s, %s::pgledger.transaction_type)",
            (self.account_id(account), limit, before, type_),
        ).fetchall()
        expected = [
            shown(self.account_id(account), movement)
            for movement in reversed(self.accounts[account].posted)
            if (before is None or (movement.seq or 0) < before) and type_ in {None, movement.type}
        ]
        assert without_time(found) == expected[:limit]

    def teardown(self) -> None:
        for name, account in self.accounts.items():
            self.history(name, 100, None, None)
            for key in account.announced:
                self.get_transaction(name, key)
            self.require_account(name)


def test_random_operations_and_a_plain_model_agree(db: Connection) -> None:
    db.execute("insert into pgledger.currencies (code, exponent) values ('EUR', 2)")
    LedgerMachine.db = db
    LedgerMachine.example = 0
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=GIVEN_EXAMPLES is None,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert db.execute("select * from pgledger.verify()").fetchall() == []
