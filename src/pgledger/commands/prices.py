"""The commands about prices: what a unit of usage costs, and lists of them from a file."""

import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from itertools import groupby
from typing import Any, BinaryIO, TypeVar, get_args

import click

from pgledger import calls, pricing
from pgledger.calls import Metadata
from pgledger.client import Ledger
from pgledger.commands.common import (
    actor_option,
    by_unit,
    metadata_option,
    price_rows,
    quantity_option,
    suggesting,
    suggestion,
)
from pgledger.errors import PriceNotFoundError, translated
from pgledger.failures import CommandError, Exit
from pgledger.options import INSTANT, MARKUP, NUMBER, UNITS, Group, Session
from pgledger.pricing import Change, Charged, Comparison, PriceFile, PricingError, Terms
from pgledger.records import PriceRounding, UnitPrice, UsagePrice
from pgledger.terminal import (
    ROUNDED,
    iso,
    printable,
    say,
    say_columns,
    say_json,
    say_table,
    show_breakdown,
    when,
)

# What, code, unit, was, becomes.
_Line = tuple[str, str, str, str, str]
Command = TypeVar("Command", bound=Callable[..., Any])
_LAST = datetime.max.replace(tzinfo=UTC)

code_argument = click.argument("code")
rounding_option = click.option(
    "--rounding",
    type=click.Choice(get_args(PriceRounding), case_sensitive=False),
    default="CEIL",
    show_default=True,
    help="How the sum over all units becomes whole minor units, once.",
)
valid_from_option = click.option(
    "--valid-from",
    type=INSTANT,
    help="From then on instead of from now on, such as 2030-01-31T12:00Z.",
)
at_option = click.option(
    "--at", type=INSTANT, help="At that instant instead of now, such as 2030-01-31T12:00Z."
)
only_option = click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Only codes like this one: 'gpt-5*', 'openai/*'. May be repeated.",
)


@click.group(cls=Group)
def prices() -> None:
    """Say what usage costs, and import prices."""


@prices.command("set")
@code_argument
@click.argument("units", metavar="UNIT=CREDITS...", type=UNITS, nargs=-1, required=True)
@rounding_option
@valid_from_option
@metadata_option
@actor_option
@click.pass_obj
def set_prices(
    session: Session,
    code: str,
    units: Sequence[tuple[str, Decimal]],
    *,
    rounding: PriceRounding,
    valid_from: datetime | None,
    metadata: Metadata | None,
    actor: str | None,
) -> None:
    """Set what each unit of CODE costs.

    CODE is a model or a feature, and CREDITS are minor units, usually
    fractions of one: "pgledger prices set gpt-5 input_token=0.0015
    output_token=0.012". Give all units of CODE: what is left out is not
    sold. What was in force before stays on record.
    """
    with session.ledger() as ledger:
        answered = ledger.set_price(
            code,
            by_unit(units),
            rounding=rounding,
            valid_from=valid_from,
            metadata=metadata,
            actor=actor,
        )
    if session.json:
        say_json(answered)
        return
    if not answered.changed:
        say("nothing changed: these prices hold already")
    _show_list(code, answered.valid_from, answered.rounding, answered.prices)


@prices.command()
@code_argument
@valid_from_option
@actor_option
@click.pass_obj
def end(session: Session, code: str, *, valid_from: datetime | None, actor: str | None) -> None:
    """Sell CODE no longer. Its prices stay on record."""
    with session.ledger() as ledger, suggesting(ledger):
        ended = ledger.set_price(code, {}, valid_from=valid_from, actor=actor)
    if session.json:
        say_json(ended)
    else:
        say(f"{code} is not sold from {iso(ended.valid_from)} on")


@prices.command("list")
@click.argument("code", required=False)
@only_option
@at_option
@click.option("--past", is_flag=True, help="Also what held before, latest first.")
@click.pass_obj
def list_prices(
    session: Session,
    code: str | None,
    only: Collection[str],
    *,
    at: datetime | None,
    past: bool,
) -> None:
    """Show what the units of CODE cost, or of all codes."""
    with session.ledger() as ledger:
        found = [
            row
            for row in price_rows(ledger, code, at, include_past=past)
            if pricing.matches(row.code, only)
        ]
        hint = "" if found or code is None else _meant(ledger, code, at)
    if session.json:
        say_json(found)
    elif found:
        _show_lists(found)
        say("credits in minor units")
    else:
        say(f"no prices of {code}" if code is not None else "no prices")
        if hint:
            click.echo(f"hint: {printable(hint)}", err=True)


def _meant(ledger: Ledger, code: str, at: datetime | None) -> str:
    """Say what a code that has no prices was meant to be, most likely."""
    if set(code) & set("*?["):
        return f"patterns go with --only: pgledger prices list --only {shlex.quote(code)}"
    return suggestion(ledger, code, at)


@prices.command()
@code_argument
@quantity_option
@at_option
@click.pass_obj
def show(
    session: Session,
    code: str,
    quantities: Sequence[tuple[str, Decimal]],
    *,
    at: datetime | None,
) -> None:
    """Show the prices of CODE, or what a usage of it costs.

    With --quantity the cost, unit by unit, such as --quantity input_token=1200
    --quantity output_token=350. Nothing is spent.
    """
    with session.ledger() as ledger, suggesting(ledger, at):
        if quantities:
            _answer_price(session, ledger.price(code, by_unit(quantities), at=at))
            return
        found = price_rows(ledger, code, at)
        if not found:
            raise PriceNotFoundError(
                "price not found",
                sqlstate="LG011",
                details={"code": code, "at": at and iso(at)},
                hint=None,
            )
    if session.json:
        say_json(found)
    else:
        listed = {row.unit: row.credits_per_unit for row in found}
        _show_list(code, found[0].valid_from, found[0].rounding, listed)


def _answer_price(session: Session, price: UsagePrice) -> None:
    if session.json:
        say_json(price)
        return
    say(f"{price.code} costs {price.cost}, by the prices of {iso(price.valid_from)}")
    show_breakdown(price.breakdown, price.exact, price.cost, price.rounding)


def _show_list(
    code: str, valid_from: datetime, rounding: str, listed: Mapping[str, Decimal]
) -> None:
    say(f"{code} from {iso(valid_from)} on; the sum is {ROUNDED[rounding]}")
    say_table(
        {"unit": False, "credits each": True},
        [(unit, pricing.show(price)) for unit, price in sorted(listed.items())],
    )


def _show_lists(found: Sequence[UnitPrice]) -> None:
    """Show lists of prices: a line a unit, or on a terminal, too narrow for it, list by list."""
    if not sys.stdout.isatty():
        columns: dict[str, tuple[bool, Callable[[UnitPrice], object]]] = {
            "code": (False, lambda row: row.code),
            "unit": (False, lambda row: row.unit),
            "credits": (True, lambda row: pricing.show(row.credits_per_unit)),
            "from (UTC)": (False, lambda row: when(row.valid_from)),
            "until (UTC)": (False, lambda row: row.valid_until and when(row.valid_until)),
        }
        say_columns(columns, found)
        return
    for (code, begins, ends), rows in groupby(
        found, lambda row: (row.code, row.valid_from, row.valid_until)
    ):
        say(code, f"  from {when(begins)}{f' until {when(ends)}' if ends else ''} UTC")
        say_table(
            {"unit": False, "credits": True},
            [(row.unit, pricing.show(row.credits_per_unit)) for row in rows],
            header=False,
            indent=4,
        )


# Files


@dataclass(frozen=True, slots=True)
class _Import:
    """A file of prices, read; and what the options say of it."""

    file: PriceFile
    terms: Terms
    only: Collection[str]
    rounding: PriceRounding
    valid_from: datetime | None
    overwrite: bool

    def against(self, ledger: Ledger) -> Comparison:
        """Compare it with what the ledger charges, or will, when it would come into force."""
        holding = price_rows(ledger, None, self.valid_from)
        every = price_rows(ledger, None, _LAST, include_past=True)
        # What holds by the clock of the database has begun, whatever the clock is here.
        begun = max([self.valid_from or datetime.now(UTC), *(row.valid_from for row in holding)])
        # What was sold once and is not among what holds has ended.
        charged = {row.code: Charged("", {}) for row in every if row.valid_from <= begun} | {
            code: _charged(list(rows)) for code, rows in groupby(holding, lambda row: row.code)
        }
        return pricing.compare(
            self.file,
            charged,
            self.rounding,
            only=self.only,
            overwrite=self.overwrite,
            to_come={row.code for row in every if row.valid_from > begun}
            | {row.code for row in holding if row.valid_until is not None},
        )


def _charged(rows: Sequence[UnitPrice]) -> Charged:
    listed = {row.unit: row.credits_per_unit for row in rows}
    return Charged(rows[0].rounding, listed, rows[0].metadata.get("imported"))


_FILE_OPTIONS = (
    click.argument("file", type=click.File("rb")),
    click.option(
        "--credits-per-dollar",
        type=NUMBER,
        help="How many credits, in minor units, a dollar is. Needed where FILE has dollars.",
    ),
    click.option(
        "--markup",
        type=MARKUP,
        help="What is charged on top: 30%, or 1.3 for the same, at most 10 without the sign. "
        "Nothing if not given.",
    ),
    click.option(
        "--digits",
        type=click.IntRange(1, 28),
        help="Round each price in dollars to so many significant digits. Not rounded if not given.",
    ),
    rounding_option,
    valid_from_option,
    only_option,
    click.option(
        "--free", is_flag=True, help="Take also models whose every price in litellm's JSON is 0."
    ),
    click.option(
        "--overwrite",
        is_flag=True,
        help="Change also what was set or ended by other means than such a file.",
    ),
)


def _of_file(command: Command) -> Command:
    """Add the argument and the options of a file of prices."""
    return reduce(lambda made, option: option(made), reversed(_FILE_OPTIONS), command)


def _read(
    file: BinaryIO,
    *,
    credits_per_dollar: Decimal | None,
    markup: Decimal | None,
    digits: int | None,
    rounding: PriceRounding,
    valid_from: datetime | None,
    only: Collection[str],
    free: bool,
    overwrite: bool,
) -> _Import:
    name = getattr(file, "name", "<stdin>")
    terms = Terms(credits_per_dollar, Decimal(1) if markup is None else markup, digits)
    try:
        found = pricing.read(file.read(), terms, only=only, free=free)
    except PricingError as error:
        raise CommandError(f"{name}: {error}", Exit.USAGE) from error
    if not found.offers and not found.unpriced:
        raise CommandError(f"{name} has nothing to price, of what is asked for", Exit.USAGE)
    return _Import(found, terms, only, rounding, valid_from, overwrite)


@prices.command("import")
@_of_file
@click.option("--end-gone", is_flag=True, help="Stop selling what FILE had once and has no more.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--names", is_flag=True, help="Name each model that is counted, not only how many.")
@actor_option
@click.pass_obj
def import_prices(
    session: Session,
    /,
    file: BinaryIO,
    *,
    end_gone: bool,
    dry_run: bool,
    names: bool,
    actor: str | None,
    **options: Any,  # noqa: ANN401 - those of a file
) -> None:
    """Import prices from FILE, or from stdin for "-".

    FILE is litellm's JSON of model prices, or a CSV with the columns code,
    unit, and credits_per_unit or usd_per_unit. All of it is one transaction,
    and a second import of the same changes nothing.

    A field of litellm's becomes a unit in its own words: input_token,
    cache_read_input_token, output_token_above_200k_tokens, input_token_batch.
    What is no price of a unit is left out and counted, with the reason: see
    --names. A CSV with a bad row is refused as a whole.

    Prices that were set by other means stay as they are, unless --overwrite is
    given, and so do codes that FILE does not have. Those of an earlier import
    are counted as gone; --end-gone ends them.
    """
    wanted = _read(file, **options)
    with session.ledger() as ledger, ledger.transaction() as transaction:
        found = wanted.against(transaction)
        if not dry_run:
            _write(transaction, wanted, found, end_gone=end_gone, actor=actor)
    if session.json:
        say_json(_record(wanted, found) | {"dry_run": dry_run, "ended": end_gone and not dry_run})
        return
    _show_file(wanted.file, names=names)
    _show_terms(wanted.terms)
    _show_outcome(found, would=dry_run, end_gone=end_gone)


@prices.command()
@_of_file
@click.pass_obj
def diff(session: Session, /, file: BinaryIO, **options: Any) -> None:  # noqa: ANN401 - those of a file
    """Show what an import of FILE would change.

    One line a unit: what it costs now, and what it would cost. What FILE had
    once and has no more is gone; an import ends it only with --end-gone.
    """
    wanted = _read(file, **options)
    with session.ledger() as ledger:
        found = wanted.against(ledger)
    if session.json:
        say_json(_record(wanted, found))
        return
    _show_lines(list(_lines(found, wanted)))
    _show_terms(wanted.terms)
    _show_outcome(found, would=True, end_gone=False)


def _write(
    ledger: Ledger, wanted: _Import, found: Comparison, *, end_gone: bool, actor: str | None
) -> None:
    """Set what is new or other, in one pipeline: a round trip each would take minutes."""
    metadata: dict[str, Any] = {"imported": wanted.file.format}
    if wanted.terms.credits_per_dollar is not None:
        metadata |= {
            "credits_per_dollar": pricing.show(wanted.terms.credits_per_dollar),
            "markup": pricing.show(wanted.terms.markup),
        }
    lists = [
        calls.set_price(
            code,
            wanted.file.offers[code].prices,
            rounding=wanted.rounding,
            valid_from=wanted.valid_from,
            metadata=metadata,
            actor=actor,
        )
        for code in found.to_set
    ]
    ends = [
        calls.set_price(code, {}, valid_from=wanted.valid_from, actor=actor)
        for code in (found.gone if end_gone else ())
    ]
    with translated(), ledger.connection.cursor() as cursor:
        for batch in (lists, ends):
            if batch:
                cursor.executemany(batch[0].query, [call.arguments for call in batch])


def _lines(found: Comparison, wanted: _Import) -> Iterator[_Line]:
    for offer in found.added:
        for unit, price in offer.prices.items():
            yield "added", offer.code, unit, "", pricing.show(price)
    for what, changed in (("changed", found.changed), ("kept", found.kept)):
        for code, changes in changed.items():
            for change in changes:
                was, becomes = (
                    "" if price is None else pricing.show(price)
                    for price in (change.was, change.becomes)
                )
                yield what, code, change.unit, was, becomes
            if code in found.rounding:
                yield what, code, "(rounding)", found.rounding[code], wanted.rounding
    for code, charged in found.gone.items():
        for unit, price in charged.prices.items():
            yield "gone", code, unit, pricing.show(price), ""


def _show_lines(lines: Sequence[_Line]) -> None:
    """Show what changes: a line a unit, or on a terminal, too narrow for it, code by code."""
    if not sys.stdout.isatty():
        if lines:
            names = {"what": False, "code": False, "unit": False, "was": True, "becomes": True}
            say_table(names, lines)
        return
    for (what, code), units in groupby(lines, lambda line: line[:2]):
        say(f"{what} {code}")
        say_table(
            {"unit": False, "was": True, "": False, "becomes": False},
            [
                (unit, was, "->" if was and becomes else "", becomes)
                for _, _, unit, was, becomes in units
            ],
            header=False,
            indent=4,
        )


def _record(wanted: _Import, found: Comparison) -> dict[str, Any]:
    file = wanted.file
    return {
        "format": file.format,
        "credits_per_dollar": wanted.terms.credits_per_dollar,
        "markup": wanted.terms.markup,
        "rounding": wanted.rounding,
        "valid_from": wanted.valid_from,
        "priced": len(file.offers),
        "partly": [
            {"code": offer.code, "left_out": [asdict(left) for left in offer.left_out]}
            for offer in file.partly
        ],
        "unpriced": [asdict(row) for row in file.unpriced],
        "by_size": file.sized,
        "long": file.noisy,
        "free_units": file.free_units,
        "added": [{"code": offer.code, "prices": offer.prices} for offer in found.added],
        "changed": _changed(found, found.changed),
        "kept": _changed(found, found.kept),
        "followed": found.followed,
        "same": found.same,
        "gone": [{"code": code, "prices": charged.prices} for code, charged in found.gone.items()],
    }


def _changed(found: Comparison, changed: Mapping[str, list[Change]]) -> list[dict[str, Any]]:
    return [
        {
            "code": code,
            "rounding_was": found.rounding.get(code),
            "units": [
                {"unit": change.unit, "was": change.was, "becomes": change.becomes}
                for change in changes
            ],
        }
        for code, changes in changed.items()
    ]


def _show_file(file: PriceFile, *, names: bool) -> None:
    """Say what of a file can be priced, and what cannot and why."""
    partly = f", {len(file.partly)} of them in part" if file.partly else ""
    unpriced = f"; {len(file.unpriced)} not priced" if file.unpriced else ""
    say(f"{len(file.offers)} priced{partly}{unpriced}")
    by_reason: dict[str, list[str]] = {}
    for row in file.unpriced:
        by_reason.setdefault(row.reason, []).append(row.code)
    if pricing.FREE in by_reason:
        by_reason[f"{pricing.FREE} (--free takes them)"] = by_reason.pop(pricing.FREE)
    left_out = {
        f"{field}: {reason}": codes
        for (field, reason), codes in pricing.count_reasons(file.partly).items()
    }
    to_know = {
        "cost more above a size; units such as input_token_above_200k_tokens": file.sized,
        "have units that cost nothing": file.free_units,
        "have prices of more than 15 digits (--digits 12 rounds them)": file.noisy,
    }
    for title, counted in (
        ("not priced:", by_reason),
        ("left out of what is priced in part:", left_out),
        ("to know:", {words: codes for words, codes in to_know.items() if codes}),
    ):
        if counted:
            say(title)
        for words, codes in sorted(counted.items(), key=lambda item: -len(item[1])):
            say(f"{len(codes):7} {words}")
            if names:
                say(*(f"{'':10}{code}" for code in codes))


def _show_terms(terms: Terms) -> None:
    """Say at which rate dollars became credits: a wrong one looks like any other in the prices."""
    if terms.credits_per_dollar is None:
        return
    rate = format(pricing.plain(terms.credits_per_dollar), ",f")
    on_top = pricing.show((terms.markup - 1).scaleb(2))
    say(f"at $1 = {rate} credits, {'no markup' if on_top == '0' else f'+{on_top}%'}")


def _show_outcome(found: Comparison, *, would: bool, end_gone: bool) -> None:
    done = {
        "added": len(found.added),
        "changed": len(found.changed),
        "ended": len(found.gone) if end_gone else 0,
    }
    if any(done.values()):
        verb = "would be " if would else ""
        counted = ", ".join(f"{count} {verb}{word}" for word, count in done.items() if count)
        say(counted + (f"; {found.same} the same already" if found.same else ""))
    else:
        say(
            f"nothing {'would change' if would else 'changed'}"
            + (f": {found.same} the same already" if found.same else "")
        )
    if found.kept:
        say(f"{len(found.kept)} kept, set by other means; to change: --overwrite")
    if found.followed:
        say(f"{len(found.followed)} have other prices to come: see pgledger prices list --at")
    if found.gone and not end_gone:
        say(f"{len(found.gone)} gone from the file, still sold; to end: --end-gone")
