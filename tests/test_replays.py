"""A repeat changes nothing, and a repeat that gives another external_id is no repeat."""

import psycopg
import pytest

from tests.sessions import Connection


@pytest.mark.parametrize("is_active", [True, False], ids=["posted", "announced"])
def test_a_repeat_of_a_key_with_another_external_id_is_a_conflict(
    db: Connection, *, is_active: bool
) -> None:
    call = "select * from pgledger.top_up('anna', 5, 'k', %s, external_id => %s)"
    db.execute(call, (is_active, "pi_1"))
    with pytest.raises(psycopg.Error) as refused:
        db.execute(call, (is_active, "pi_2"))
    assert refused.value.sqlstate == "LG002"


@pytest.mark.parametrize("external_id", [None, "pi_1", "pi_2"])
def test_an_enabled_announcement_is_repeated_with_either_of_its_external_ids_or_none(
    db: Connection, external_id: str | None
) -> None:
    announce = "select * from pgledger.top_up('anna', 5, 'k', false, external_id => %s)"
    db.execute(announce, ("pi_1",))
    db.execute("select pgledger.enable_transaction('anna', 'k', external_id => 'pi_2')")
    repeated = db.execute(announce, (external_id,)).fetchall()
    assert [(row["replayed"], row["seq"]) for row in repeated] == [(True, 1)]


def test_a_repeat_of_imported_history_leaves_the_account_open_for_more_of_it(
    db: Connection,
) -> None:
    record = """
        insert into pgledger.transactions
          (account_id, seq, amount, running_balance, created_at, type, key)
        values ('anna', %s, 5, %s, clock_timestamp(), 'TOP_UP', %s)
        """
    db.execute(record, (1, 5, "k"))
    repeated = db.execute("select * from pgledger.top_up('anna', 5, 'k')").fetchall()
    assert [(row["replayed"], row["seq"], row["balance"]) for row in repeated] == [(True, 1, 5)]
    assert db.execute("select * from pgledger.verify()").fetchall() == []

    # A balance row left behind by the repeat would not know of what is imported next.
    db.execute(record, (2, 10, None))
    spent = db.execute("select * from pgledger.spend('anna', 10)").fetchall()
    assert [(row["seq"], row["running_balance"]) for row in spent] == [(3, 0)]
    assert db.execute("select * from pgledger.verify()").fetchall() == []


def test_an_announcement_paid_by_what_another_key_was_credited_for_is_answered_with_that(
    db: Connection,
) -> None:
    db.execute("select pgledger.top_up('anna', 5, 'webhook', external_id => 'pi_1')")
    db.execute("select pgledger.top_up('anna', 5, 'page', is_active => false)")
    enable = "select * from pgledger.enable_transaction('anna', 'page', external_id => 'pi_1')"
    answers = db.execute(enable).fetchall()
    assert [(row["replayed"], row["key"], row["balance"]) for row in answers] == [
        (True, "webhook", 5)
    ]


@pytest.mark.parametrize(
    ("credited", "is_active"), [(6, True), (5, False)], ids=["another amount", "waiting itself"]
)
def test_an_announcement_is_not_enabled_by_the_payment_of_something_else(
    db: Connection, *, credited: int, is_active: bool
) -> None:
    db.execute(
        "select pgledger.top_up('anna', %s, 'other', %s, external_id => 'pi_1')",
        (credited, is_active),
    )
    db.execute("select pgledger.top_up('anna', 5, 'page', is_active => false)")
    with pytest.raises(psycopg.Error) as refused:
        db.execute("select pgledger.enable_transaction('anna', 'page', external_id => 'pi_1')")
    assert refused.value.sqlstate == "LG002"
