"""The commands about plans, which refill accounts, and about spending caps."""

from datetime import datetime
from typing import get_args

import click

from pgledger.calls import Metadata
from pgledger.client import Ledger
from pgledger.commands.common import account_argument, actor_option, known, metadata_option
from pgledger.options import AMOUNT, INSTANT, PERIOD, PERIODS, SIGNED, Group, Session
from pgledger.records import AccountPlan, Plan, PlanAnchor, RefillPolicy
from pgledger.terminal import Unit, iso, say, say_json, say_table, unit_of

period_option = click.option(
    "--period",
    type=PERIOD,
    help="day, week (begins on Monday), month (the default), quarter or year.",
)
time_zone_option = click.option(
    "--time-zone", help="Where days begin and end, such as Europe/Berlin; UTC if not given."
)
expire_allowance_option = click.option(
    "--expire-allowance", is_flag=True, help="Let what remains of the old allowance expire now."
)
_NAMES = {period: name for name, period in PERIODS.items()}


@click.group(cls=Group)
def plan() -> None:
    """Refill accounts every month, week or day."""


@plan.command("create")
@click.argument("code")
@click.argument("amount", type=AMOUNT)
@click.option(
    "--policy",
    type=click.Choice(get_args(RefillPolicy), case_sensitive=False),
    required=True,
    help="ADD grants AMOUNT each period, TOP_UP_TO fills the balance up to it, RESET grants it "
    "and lets what remains expire when the period ends.",
)
@click.option(
    "--period",
    type=PERIOD,
    required=True,
    help='day, week (begins on Monday), month, quarter, year; with --anchor account also "10d" or '
    '"2 months".',
)
@click.option(
    "--anchor",
    type=click.Choice(get_args(PlanAnchor), case_sensitive=False),
    help="Periods begin with the CALENDAR (the default), or where the ACCOUNT began.",
)
@time_zone_option
@metadata_option
@actor_option
@click.pass_obj
def create(
    session: Session,
    code: str,
    amount: int,
    *,
    policy: RefillPolicy,
    period: str,
    anchor: PlanAnchor | None,
    time_zone: str | None,
    metadata: Metadata | None,
    actor: str | None,
) -> None:
    """Create the plan CODE: AMOUNT each period.

    A plan is never changed, since refills that are due would change with it:
    create another and assign that.
    """
    with session.ledger() as ledger:
        created = ledger.create_plan(
            code,
            amount,
            period,
            policy,
            anchor=anchor,
            time_zone=time_zone,
            metadata=metadata,
            actor=actor,
        )
    if session.json:
        say_json(created)
    else:
        grants, begins = _terms(created, str(created.amount))
        say(f"{created.code}: {grants}", begins)


@plan.command("list")
@click.pass_obj
def list_plans(session: Session) -> None:
    """Show all plans."""
    with session.ledger() as ledger:
        found = ledger.list_plans()
    if session.json:
        say_json(found)
    elif found:
        say_table(
            {
                "code": False,
                "amount": True,
                "period": False,
                "policy": False,
                "anchor": False,
                "time zone": False,
            },
            [
                (row.code, row.amount, row.period, row.policy, row.anchor, row.time_zone)
                for row in found
            ],
        )
        say("amounts in minor units")
    else:
        say("no plans")


@plan.command()
@account_argument
@click.argument("code", metavar="PLAN")
@click.option(
    "--starts-at",
    type=INSTANT,
    help="For a first plan: begin there instead of now, such as 2030-01-31T12:00Z. In the past it "
    "only says where periods begin.",
)
@click.option(
    "--at-once", is_flag=True, help="Change from another plan now, not with the next period."
)
@expire_allowance_option
@actor_option
@click.pass_obj
def assign(
    session: Session,
    account: str,
    code: str,
    *,
    starts_at: datetime | None,
    at_once: bool,
    expire_allowance: bool,
    actor: str | None,
) -> None:
    """Put ACCOUNT on PLAN, and grant what is due.

    From another plan it changes with the next period, or now with --at-once.
    """
    with session.ledger() as ledger:
        ledger.assign_plan(
            account,
            code,
            starts_at=starts_at,
            at_once=at_once or None,
            expire_allowance=expire_allowance or None,
            actor=actor,
        )
        _answer_plan(session, ledger, account)


@plan.command("clear")
@account_argument
@expire_allowance_option
@actor_option
@click.pass_obj
def clear_plan(
    session: Session, account: str, *, expire_allowance: bool, actor: str | None
) -> None:
    """Take ACCOUNT off its plan; what was granted stays."""
    with session.ledger() as ledger:
        cleared = ledger.clear_plan(account, expire_allowance=expire_allowance or None, actor=actor)
        known(ledger, account)
    if session.json:
        say_json(cleared)
    elif cleared is None:
        say(f"{account} was on no plan")
    else:
        say(f"{account} is on {cleared.plan} no more")


@plan.command("show")
@account_argument
@click.pass_obj
def show_plan(session: Session, account: str) -> None:
    """Show the plan of ACCOUNT, and when it is refilled."""
    with session.ledger() as ledger:
        _answer_plan(session, ledger, account)


def _answer_plan(session: Session, ledger: Ledger, account: str) -> None:
    found = ledger.get_plan(account)
    unit = unit_of(ledger, known(ledger, account).currency)
    if session.json:
        say_json(found)
        return
    if found is None:
        say(f"{account} is on no plan")
        return
    grants, begins = _terms(found, unit.name(found.amount))
    say(f"{account} is on {found.plan}: {grants}", begins)
    if found.allowance_left is not None:
        say(f"{unit.name(found.allowance_left)} left of this period's allowance")
    say(f"next refill: {iso(found.refill_at)}")
    if found.next_plan is not None:
        say(f"from then on: {found.next_plan}")


def _terms(terms: Plan | AccountPlan, amount: str) -> tuple[str, str]:
    """Say what a plan grants, and when."""
    every = f"every {_name(terms.period)}"
    grants = {
        "ADD": f"{amount} more {every}",
        "TOP_UP_TO": f"filled up to {amount} {every}",
        "RESET": f"{amount} {every}, and what remains of it expires",
    }
    begins = {
        "CALENDAR": f"periods by the calendar of {terms.time_zone}",
        "ACCOUNT": f"periods from where the account began, in {terms.time_zone}",
    }
    return grants[terms.policy], begins[terms.anchor]


def _name(period: str) -> str:
    return _NAMES.get(period, period)


@click.group(cls=Group)
def cap() -> None:
    """Limit what an account may use in a period."""


@cap.command("set")
@account_argument
@click.argument("amount", type=SIGNED)
@period_option
@time_zone_option
@actor_option
@click.pass_obj
def set_cap(
    session: Session,
    account: str,
    amount: int,
    *,
    period: str | None,
    time_zone: str | None,
    actor: str | None,
) -> None:
    """Let ACCOUNT use at most AMOUNT in each period.

    What it used in this period counts already. A spend beyond it is refused
    until the period ends; the capture of a hold always goes through.
    """
    with session.ledger() as ledger:
        ledger.set_spending_cap(account, amount, period=period, time_zone=time_zone, actor=actor)
        _answer_cap(session, ledger, account)


@cap.command("clear")
@account_argument
@actor_option
@click.pass_obj
def clear_cap(session: Session, account: str, *, actor: str | None) -> None:
    """Take the cap of ACCOUNT away."""
    with session.ledger() as ledger:
        known(ledger, account)
        cleared = ledger.get_spending_cap(account)
        ledger.set_spending_cap(account, None, actor=actor)
    if session.json:
        say_json(cleared)
    else:
        say(f"{account} {'had' if cleared is None else 'has'} no spending cap")


@cap.command("show")
@account_argument
@click.pass_obj
def show_cap(session: Session, account: str) -> None:
    """Show the cap of ACCOUNT, and what it leaves."""
    with session.ledger() as ledger:
        _answer_cap(session, ledger, account)


def _answer_cap(session: Session, ledger: Ledger, account: str) -> None:
    found = ledger.get_spending_cap(account)
    unit: Unit = unit_of(ledger, known(ledger, account).currency)
    if session.json:
        say_json(found)
    elif found is None:
        say(f"{account} has no spending cap")
    else:
        say(
            f"{account} may use {unit.name(found.amount)} a {_name(found.period)}, "
            f"in {found.time_zone}",
            f"used {unit.name(found.used)}, {unit.name(found.remaining)} left until "
            f"{iso(found.resets_at)}",
        )
