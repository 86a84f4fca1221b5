"""Refusals as a person reads them."""

import re
from typing import Any

import pytest

from pgledger import Ledger, TopUpLimitError
from pgledger.failures import Exit, explained
from tests.conftest import Connect


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"minimum": 70}, "may buy at least 70 at a time, 60 requested"),
        ({"multiple_of": 50}, "may buy multiples of 50, 60 requested"),
        ({"maximum": 50}, "may buy at most 50 at a time, 60 requested"),
        ({"daily_count_limit": 1}, r"may buy 1 times a day, 1 used until 20\S+T00:00:00Z"),
        (
            {"daily_amount_limit": 100},
            r"may buy at most 100 a day, 60 requested \(60 used until 20\S+Z\)",
        ),
    ],
)
def test_a_limit_of_top_ups_is_said_in_words(
    connect: Connect, limits: dict[str, Any], words: str
) -> None:
    ledger = Ledger(connect())
    ledger.create_top_up("u", 60)
    ledger.set_top_up_limits(**limits)
    with pytest.raises(TopUpLimitError) as caught:
        ledger.create_top_up("u", 60)
    told = explained(caught.value)
    assert told is not None
    assert re.fullmatch(f"top-up limit reached: u {words}", str(told))
    assert told.code == Exit.REFUSED
    assert told.hint is not None
