from tests.support import Ledger, ask, ask_all


def test_they_come_by_kind_and_then_oldest_first(db: Ledger) -> None:
    for account_id in ("a", "b"):
        ask(db, "open_account", account_id=account_id)
    links = [
        ask(db, "link_identifier", account_id="a", identifier=identifier)
        for identifier in ("pm_1", "cus_2", "cus_1", "42", "7", "b@example.com", "a@example.com")
    ]
    ask(db, "link_identifier", account_id="b", identifier="c@example.com")
    found = ask_all(db, "list_identifiers", account_id="a")
    assert [row["value"] for row in found] == [
        *("b@example.com", "a@example.com", "42", "7", "cus_2", "cus_1", "pm_1")
    ]
    assert all(link in found for link in links)


def test_what_came_in_one_instant_is_in_order_of_its_bytes(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    for identifier in ("cus_b", "cus_B", "cus_a"):
        ask(db, "link_identifier", account_id="a", identifier=identifier)
    db.execute("update pgledger.account_identifiers set linked_at = 'today'")
    found = ask_all(db, "list_identifiers", account_id="a")
    assert [row["value"] for row in found] == ["cus_B", "cus_a", "cus_b"]


def test_who_has_none_has_no_rows(db: Ledger) -> None:
    assert ask_all(db, "list_identifiers", account_id="unknown") == []
    ask(db, "open_account", account_id="42")
    assert ask_all(db, "list_identifiers", account_id="42") == []
