"""claim_top_ups: what is to be charged, to one at a time."""

from tests.support import Ledger, ask, ask_all, in_order


def test_an_intent_is_handed_out_once_until_its_lease_is_over(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=200)
    assert ask_all(db, "claim_top_ups") == []
    ask(db, "spend", account_id="a", amount=60)
    assert ask(db, "claim_top_ups")["key"] == "#auto-1"
    assert ask_all(db, "claim_top_ups") == []
    assert in_order(db)
