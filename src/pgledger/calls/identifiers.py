"""The calls about who is who: by which names others know an account."""

from uuid import UUID

from pgledger.calls._call import Call, many, one, scalar, whole
from pgledger.records import Identifier, IdentifierKind, ResolvedAccount


def resolve_account(
    identifier: str | int | UUID,
    *,
    kind: IdentifierKind | None = None,
    open: bool | None = None,  # noqa: A002 - as the function calls it
    account_id: str | None = None,
) -> Call[ResolvedAccount]:
    """Return whose an identifier is: an email, a UUID, an integer, the provider's customer id.

    The account that it is linked to, else the one that has it as its id. Where there is none,
    AccountNotFoundError is raised, or with ``open=True`` an account is opened, as ``account_id`` or
    a random UUID, and linked; several calls at once open one. ``kind`` is for what does not look
    like what it is. Raises InvalidArgumentError for what is no identifier, and for placeholders,
    such as "undefined" or "<email>", whatever the kind.
    """
    return one(
        ResolvedAccount,
        "resolve_account",
        {"identifier": _text(identifier)},
        kind=kind,
        open=open,
        account_id=account_id,
    )


def link_identifier(
    account_id: str,
    identifier: str | int | UUID,
    *,
    kind: IdentifierKind | None = None,
    move: bool | None = None,
    actor: str | None = None,
) -> Call[Identifier]:
    """Link an identifier to an account; a repeat changes nothing.

    An identifier belongs to one account: IdempotencyConflictError where it is another one's, unless
    ``move=True`` moves it. ``actor`` is who does it, for the audit log. Raises
    AccountNotFoundError.
    """
    return one(
        Identifier,
        "link_identifier",
        {"account_id": account_id, "identifier": _text(identifier)},
        kind=kind,
        move=move,
        actor=actor,
    )


def unlink_identifier(
    identifier: str | int | UUID,
    *,
    kind: IdentifierKind | None = None,
    actor: str | None = None,
) -> Call[bool]:
    """Take an identifier away from its account; False where it was linked to none."""
    return scalar("unlink_identifier", {"identifier": _text(identifier)}, kind=kind, actor=actor)


def list_identifiers(account_id: str) -> Call[list[Identifier]]:
    """Return the identifiers that are linked to an account, by kind, oldest first."""
    return many(Identifier, "list_identifiers", {"account_id": account_id})


def _text(identifier: str | int | UUID) -> str:
    """Send whatever names somebody as text, which SQL judges."""
    if isinstance(identifier, str) or identifier is None:
        return identifier
    return str(identifier if isinstance(identifier, UUID) else whole("identifier", identifier))
