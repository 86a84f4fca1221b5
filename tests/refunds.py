"""What the tests of refund requests share: a top-up that was paid, and what became of requests."""

from typing import Any

from psycopg.rows import DictRow

from tests.support import Ledger, ask, ask_all, value


def paid_top_up(
    db: Ledger,
    key: str = "paid",
    amount: int = 100,
    *,
    paid: int = 1000,
    account_id: str = "a",
    payment_id: str = "pi_1",
    provider: str = "stripe",
    **more: object,
) -> None:
    """Credit a top-up, and know of its payment: 1000 cents for 100 credits."""
    given = {"account_id": account_id, "amount": amount, "key": key, "external_id": payment_id}
    credit = ask(db, "top_up", **given, **more)
    db.execute(
        "insert into pgledger.payments (provider, payment_id, account_id, key, amount, paid,"
        " paid_currency, status, seq, created_at, updated_at)"
        " values (%s, %s, %s, %s, %s, %s, 'usd', 'SUCCEEDED', %s, now(), now())",
        [provider, payment_id, account_id, key, amount, paid, credit["seq"]],
    )


def request(db: Ledger, original_key: str = "paid", **more: object) -> DictRow:
    """Ask for the refund of a top-up of account a, unless said otherwise."""
    return ask(db, "request_refund", **{"account_id": "a", "original_key": original_key} | more)


def decide(db: Ledger, verb: str, key: str, **more: object) -> DictRow:
    """Approve or reject a request of account a, unless said otherwise."""
    return ask(db, f"{verb}_refund", **{"account_id": "a", "key": key} | more)


def approved(db: Ledger, key: str = "r", **more: Any) -> DictRow:  # noqa: ANN401 - of request()
    """Ask for a refund of account a under a key, and approve it."""
    return decide(db, "approve", request(db, key=key, **more)["key"])


def refunded_money(db: Ledger, return_id: str, money: int, status: str, **more: object) -> DictRow:
    """Tell what the provider says of a refund of the payment pi_1."""
    given = {"provider": "stripe", "refund_id": return_id, "payment_id": "pi_1"}
    return ask(db, "record_payment_refund", **given, amount=money, status=status, **more)


def the_request(db: Ledger, key: str = "r") -> dict[str, Any]:
    """Return a request as it is now."""
    (found,) = [row for row in ask_all(db, "list_refund_requests") if row["key"] == key]
    return found


def available(db: Ledger, account_id: str = "a") -> int:
    """Return the available credits of an account."""
    found: int = value(db, "get_credits", account_id=account_id)
    return found
