"""The commands about an account: what it has, what happened, its settings."""

from typing import get_args

import click

from pgledger import terminal
from pgledger.commands.common import account_argument, actor_option, answer, known, reference_option
from pgledger.failures import Exit
from pgledger.options import AMOUNT, SIGNED, Group, Session
from pgledger.records import AccountStatus, AutoTopUpMode, TransactionType
from pgledger.terminal import Unit, say, say_json, unit_of


@click.command()
@account_argument
@click.pass_obj
def balance(session: Session, account: str) -> None:
    """Show what ACCOUNT has."""
    with session.ledger() as ledger:
        found = known(ledger, account)
        if session.json:
            say_json(found)
            return
        unit = unit_of(ledger, found.currency)
    terminal.show_balance(found, unit)


@click.command()
@account_argument
@click.option("--limit", type=int, default=100, show_default=True, help="How many, up to 10000.")
@click.option("--before-seq", type=int, metavar="SEQ", help="Only those before this one.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(get_args(TransactionType), case_sensitive=False),
    metavar="TYPE",
    help="Only those of one type, such as usage.",
)
@click.pass_obj
def history(
    session: Session,
    account: str,
    limit: int,
    before_seq: int | None,
    kind: TransactionType | None,
) -> None:
    """Show the transactions of ACCOUNT, newest first."""
    with session.ledger() as ledger:
        page = ledger.history(account, limit_count=limit, before_seq=before_seq, type=kind)
        found = None if page and session.json else known(ledger, account)
        unit = unit_of(ledger, found.currency) if found else Unit("")
    if session.json:
        say_json(page)
        return
    if not page:
        say("no transactions")
        return
    terminal.show_history(page, unit)
    if len(page) == limit:
        click.echo(f"older ones: --before-seq {page[-1].seq}", err=True)


@click.command()
@click.argument("account", required=False)
@click.pass_obj
def verify(session: Session, account: str | None) -> None:
    """Check that all figures of ACCOUNT, or of everybody, agree.

    Reads everything. Exits with 4 when something disagrees.
    """
    with session.ledger() as ledger:
        found = ledger.verify(account)
        if account is not None and not found:
            known(ledger, account)
    if session.json:
        say_json(found)
    elif found:
        names = ("account_id", "rule", "seq", "key", "expected", "found")
        terminal.say_table(
            {name: name == "seq" for name in names},
            [[getattr(row, name) for name in names] for row in found],
        )
    else:
        say(f"no disagreements in {'the ledger' if account is None else account}")
    if found:
        raise click.exceptions.Exit(Exit.DISAGREES)


@click.command()
@account_argument
@click.option(
    "--status",
    type=click.Choice(get_args(AccountStatus), case_sensitive=False),
    required=True,
    help="FROZEN takes credits but refuses debits that ask; CLOSED refuses everything, and needs "
    "balance 0 and nothing pending.",
)
@actor_option
@click.pass_obj
def account(session: Session, account: str, status: AccountStatus, *, actor: str | None) -> None:
    """Freeze or close ACCOUNT, or open it again."""
    with session.ledger() as ledger:
        settings = ledger.set_account_status(account, status, actor=actor)
    if session.json:
        say_json(settings)
    else:
        say(f"{account} is {settings.status}")


@click.command("open")
@account_argument
@click.option("--currency", help="What it counts in; CREDIT unless said otherwise.")
@click.option("--min-balance", type=SIGNED, metavar="AMOUNT", help="Its floor, 0 or below.")
@click.pass_obj
def open_account(
    session: Session, account: str, *, currency: str | None, min_balance: int | None
) -> None:
    """Open ACCOUNT before its first credit, which opens it as well.

    For a plan or a cap to be set on it. A repeat changes nothing.
    """
    with session.ledger() as ledger:
        settings = ledger.open_account(account, currency=currency, min_balance=min_balance)
    if session.json:
        say_json(settings)
    else:
        say(f"{account} is {settings.status}")


@click.command("low-balance", context_settings={"ignore_unknown_options": True})
@account_argument
@click.argument("level", type=SIGNED, required=False)
@click.option("--off", is_flag=True, help="Tell no more.")
@actor_option
@click.pass_obj
def low_balance(
    session: Session, account: str, level: int | None, *, off: bool, actor: str | None
) -> None:
    """Set or show the level at which ACCOUNT counts as low.

    The event "low_balance" is recorded once by the spend, hold or expiry that
    takes what is available below LEVEL, minor units. See "pgledger events".
    """
    if off and level is not None:
        raise click.UsageError("give a level or --off")
    with session.ledger() as ledger:
        if off or level is not None:
            ledger.set_low_balance_level(account, level, actor=actor)
        settings = known(ledger, account)
        unit = unit_of(ledger, settings.currency)
    if session.json:
        say_json(settings)
    elif settings.low_balance_level is None:
        say(f"no event tells when {account} is low")
    else:
        say(f"an event tells when {account} falls below {unit.name(settings.low_balance_level)}")


@click.group("auto-top-up", cls=Group)
def auto_top_up() -> None:
    """Top an account up when it runs low."""


@auto_top_up.command("set")
@account_argument
@click.option(
    "--threshold", type=SIGNED, required=True, help="Top up when less than this is available."
)
@click.option("--amount", type=AMOUNT, required=True, help="What one top-up adds.")
@click.option(
    "--mode",
    type=click.Choice(get_args(AutoTopUpMode), case_sensitive=False),
    help="Ask for a top-up that somebody collects (INTENT, the default), or post it (INSTANT).",
)
@click.option("--disabled", is_flag=True, help="Keep the settings, but do not top up.")
@click.option("--daily-count", type=AMOUNT, metavar="COUNT", help="At most so many a day of UTC.")
@click.option("--daily-amount", type=AMOUNT, help="At most so much a day.")
@click.option(
    "--monthly-count", type=AMOUNT, metavar="COUNT", help="At most so many a calendar month."
)
@click.option("--monthly-amount", type=AMOUNT, help="At most so much a calendar month.")
@actor_option
@click.pass_obj
def set_auto_top_up(
    session: Session,
    account: str,
    threshold: int,
    amount: int,
    *,
    mode: AutoTopUpMode | None,
    disabled: bool,
    daily_count: int | None,
    daily_amount: int | None,
    monthly_count: int | None,
    monthly_amount: int | None,
    actor: str | None,
) -> None:
    """Set, whole, when ACCOUNT tops itself up.

    A limit that is not given is none. Setting it moves no credits: the next
    spend or hold does, or "auto-top-up check".
    """
    with session.ledger() as ledger:
        settings = ledger.set_auto_top_up(
            account,
            threshold,
            amount,
            mode=mode,
            enabled=not disabled,
            daily_count_limit=daily_count,
            daily_amount_limit=daily_amount,
            monthly_count_limit=monthly_count,
            monthly_amount_limit=monthly_amount,
            actor=actor,
        )
        unit = unit_of(ledger, known(ledger, account).currency)
    if session.json:
        say_json(settings)
    else:
        terminal.show_auto_top_up(settings, unit)


@auto_top_up.command("show")
@account_argument
@click.pass_obj
def show_auto_top_up(session: Session, account: str) -> None:
    """Show when ACCOUNT tops itself up, and what holds it back now."""
    with session.ledger() as ledger:
        settings = ledger.get_auto_top_up(account)
        unit = unit_of(ledger, known(ledger, account).currency)
    if session.json:
        say_json(settings)
    elif settings is None:
        say(f"{account} does not top itself up")
    else:
        terminal.show_auto_top_up(settings, unit)


@auto_top_up.command("check")
@account_argument
@reference_option
@click.pass_obj
def check_auto_top_up(session: Session, account: str, *, reference: str | None) -> None:
    """Top ACCOUNT up now, or ask for it, if it is below its threshold.

    For after setting it, or after a refused spend, which records nothing.
    """
    with session.ledger() as ledger:
        known(ledger, account)
        posting = ledger.check_auto_top_up(account, reference=reference)
        if posting is not None:
            answer(session, ledger, posting)
        elif session.json:
            say_json(None)
        else:
            say("nothing to do")
