"""What the tests of refunds and disputes share: a payment, and what is told of it."""

from psycopg.rows import DictRow

from tests.support import Ledger, ask, posted


def pay(
    db: Ledger,
    payment_id: str = "pi_1",
    *,
    amount: int = 100,
    paid: int | None = 1000,
    refunded: int = 0,
    **top_up: object,
) -> None:
    """Pay 10.00 for 100 credits of account a, or whatever else is given; tell it once more."""
    given = {"account_id": "a", "amount": amount, "external_id": payment_id} | top_up
    told: dict[str, object] = {"provider": "stripe", "payment_id": payment_id}
    told |= {"status": "SUCCEEDED", "account_id": given["account_id"], "currency": "usd"}
    with db.transaction():
        ask(db, "top_up", **given)
        if paid is None:
            ask(db, "record_payment", **told, refunded=refunded)
        else:
            ask(db, "record_payment", **told, refunded=refunded, paid=paid)


def refund(db: Ledger, refund_id: str, amount: int, status: str, **given: object) -> DictRow:
    """Tell of a refund of the payment pi_1, or of another one."""
    told = {"provider": "stripe", "refund_id": refund_id, "payment_id": "pi_1", "amount": amount}
    return ask(db, "record_payment_refund", **(told | {"status": status} | given))


def dispute(db: Ledger, dispute_id: str, amount: int, status: str, **given: object) -> DictRow:
    """Tell of a dispute of the payment pi_1, or of another one; it does nothing while open."""
    told = {"provider": "stripe", "dispute_id": dispute_id, "payment_id": "pi_1", "amount": amount}
    return ask(db, "record_dispute", **(told | {"status": status, "policy": "FLAG"} | given))


def takes(db: Ledger, payment_id: str = "pi_1") -> dict[str, int]:
    """Return what each refund or dispute of a payment has taken, by id."""
    found = db.execute(
        "select return_id, taken from pgledger.payment_returns where payment_id = %s"
        " order by return_id",
        [payment_id],
    )
    return {row["return_id"]: row["taken"] for row in found}


def balance(db: Ledger, account_id: str = "a") -> int:
    """Return what the journal of an account adds up to."""
    return sum(posted(db, account_id))


def told(db: Ledger, payment_id: str = "pi_1") -> DictRow:
    """What a payment looks like now."""
    (row,) = db.execute(
        "select (pgledger._payment_told(p)).* from pgledger.payments p where p.payment_id = %s",
        [payment_id],
    ).fetchall()
    return row


def returns(db: Ledger) -> list[DictRow]:
    """Return all that is kept of refunds and disputes."""
    return db.execute("select * from pgledger.payment_returns order by return_id").fetchall()
