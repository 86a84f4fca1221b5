import pytest

from tests.refunds import available, decide, paid_top_up, request
from tests.support import Ledger, ask_all, everything, in_order, refused


@pytest.fixture
def asked(db: Ledger) -> Ledger:
    """An account a that bought 100 credits for 1000 cents, and asks for the money under r."""
    paid_top_up(db)
    request(db, key="r", reason="not needed")
    return db


def test_a_rejection_moves_nothing(asked: Ledger) -> None:
    row = decide(asked, "reject", "r", reason="too late", actor="ada")
    assert (row["status"], row["decision"], row["decided_by"]) == ("REJECTED", "too late", "ada")
    assert row["decided_at"] > row["created_at"]
    assert (row["reason"], row["seq"], row["due_at"]) == ("not needed", None, None)
    assert available(asked) == 100
    assert in_order(asked)


def test_a_rejection_is_in_the_audit_log(asked: Ledger) -> None:
    decide(asked, "reject", "r", reason="too late", actor="ada")
    decide(asked, "reject", "r", actor="bob")
    (act,) = ask_all(asked, "list_audit")
    assert (act["account_id"], act["act"], act["actor"]) == ("a", "reject_refund", "ada")
    assert act["arguments"] == {"key": "r", "reason": "too late"}


def test_without_an_actor_it_is_the_role_that_is_logged_in(asked: Ledger) -> None:
    (me,) = asked.execute("select session_user::text as me")
    assert decide(asked, "reject", "r")["decided_by"] == me["me"]


def test_a_repeat_changes_nothing(asked: Ledger) -> None:
    first = decide(asked, "reject", "r", reason="too late")
    before = everything(asked)
    assert decide(asked, "reject", "r", reason="otherwise") == first
    assert everything(asked) == before


def test_what_is_approved_cannot_be_rejected(asked: Ledger) -> None:
    decide(asked, "approve", "r")
    details = refused(asked, "LG007", "reject_refund", account_id="a", key="r")
    assert (details["key"], details["status"]) == ("r", "APPROVED")


def test_an_unknown_request_is_not_found(asked: Ledger) -> None:
    assert refused(asked, "LG006", "reject_refund", account_id="a", key="x")["key"] == "x"


def test_another_request_may_follow(asked: Ledger) -> None:
    decide(asked, "reject", "r")
    assert request(asked, key="s")["status"] == "PENDING"
    assert request(asked, key="r")["status"] == "REJECTED"
