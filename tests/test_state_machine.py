"""Random operations against a plain-Python model: every answer, every reader and verify() agree.

`PGLEDGER_EXAMPLES=5000 pytest tests/test_state_machine.py` runs it for longer, and elsewhere each
time; without it, the same examples run every time.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine_reading import Reading
from tests.machine_world import TheWorld
from tests.sessions import Connection
from tests.strategies import PLANS

GIVEN_EXAMPLES = os.environ.get("PGLEDGER_EXAMPLES")
EXAMPLES = int(GIVEN_EXAMPLES or 24)
STEPS = 40


# The examples of a run resemble each other; another name of the machine makes it begin elsewhere.
@pytest.mark.parametrize("name", ["Ada", "Bob", "Cleo", "Dora"])
def test_random_operations_and_a_plain_model_agree(db: Connection, name: str) -> None:
    db.execute("insert into pgledger.currencies (code, exponent) values ('EUR', 2)")
    for plan in PLANS.values():
        db.execute(
            "select pgledger.create_plan(%s, %s, %s, %s, %s)",
            (plan.code, plan.amount, plan.period, plan.policy, plan.anchor),
        )
    Reading.db = db
    Reading.example = 0
    run_state_machine_as_test(
        type(name, (TheWorld,), {}),
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
