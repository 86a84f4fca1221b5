"""Read what models cost from a file, exactly, and compare it with what the ledger charges.

A file is litellm's JSON (one object a model, dollars per token and so on) or a CSV of the caller's
own. Nothing here is a float, and nothing is guessed: a field becomes a price only when its name
says what one of it is. What else a model's object says of its price is left out by name, with the
reason, for a person to judge.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from fnmatch import fnmatchcase
from typing import Any, Literal

Format = Literal["litellm", "csv"]
Prices = Mapping[str, Decimal]

# Products of what a file says are exact, or an error.
_EXACT = Context(prec=1000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
# What the ledger takes: digits on either side of the point, and units of one code.
_DIGITS = 40
_MOST_UNITS = 100
# A double has 15 digits to rely on: what is written with more has been through one.
_DIGITS_OF_A_DOUBLE = 15
_LONGEST_LABEL = 255
# Control characters, and what a JSON escape can say that is no character.
_NOT_LABEL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PROBLEMS_NAMED = 10

# Describes the fields; it is not a model.
_NOT_A_MODEL = {"sample_spec"}
_ABOUT_PRICES = re.compile(r"cost|pric|multiplier|uplift|surcharge|discount|_fee|_free_|_dbu_")
_STEMS = (
    "cache_creation_input_audio_token_cost",
    "cache_creation_input_token_cost",
    "cache_read_input_audio_token_cost",
    "cache_read_input_image_token_cost",
    "cache_read_input_token_cost",
    "explicit_cache_read_input_token_cost",
    *(
        f"{side}_cost_per_{what}"
        for side in ("input", "output")
        for what in (
            *("token", "audio_token", "image_token", "reasoning_token", "video_token"),
            *("audio_per_second", "character", "image", "pixel", "query", "request", "second"),
            *("text_message", "video_per_second"),
        )
    ),
    "annotation_cost_per_page",
    "citation_cost_per_token",
    "code_interpreter_cost_per_session",
    "computer_use_input_cost_per_1k_tokens",
    "computer_use_output_cost_per_1k_tokens",
    "cost_per_second",
    "file_search_cost_per_1k_calls",
    "file_search_cost_per_gb_per_day",
    "google_maps_grounding_cost_per_query",
    "ocr_cost_per_credit",
    "ocr_cost_per_page",
    "vector_store_cost_per_gb_per_day",
)
# A price that holds only for requests of a size, a way of serving them, or a size of the answer.
_FIELD = re.compile(
    rf"(?P<stem>{'|'.join(sorted(_STEMS, key=len, reverse=True))})"
    r"(?P<condition>(?:_cache_hit)?(?P<size>(?:_above_[0-9]+(?:k_tokens|hr|s_interval))*)"
    r"(?:_(?:batches|flex|priority|ultrafast|balanced|decisions))?"
    r"(?:(?<=_image|second)_[0-9.]+[kKp]?)?)"
)
_SIZE_OF_REQUEST = re.compile("_above_[0-9]+k_tokens")
_SEARCH = "search_context_cost_per_query"
_SEARCH_SIZES = {f"search_context_size_{size}" for size in ("low", "medium", "high")}

# Why a field is left out. What reads them are counts, so they are few.
BY_SIZE = "prices by ranges of size"
BY_TIME = "prices by the hour of the day"
FACTOR = "factors on other prices"
ALLOWANCE = "what the provider gives free"
OTHER_MONEY = "not in dollars"
TABLE = "a table of unknown units"
UNKNOWN = "an unknown field"
NOT_A_NUMBER = "not a number of 0 or more"
OUT_OF_RANGE = f"a number of more than {_DIGITS} digits before or after the point"
_LEFT_OUT = {
    "tiered_pricing": BY_SIZE,
    "off_peak_pricing": BY_TIME,
    "provider_specific_entry": FACTOR,
    "regional_endpoint_uplift_multiplier": FACTOR,
    "regional_processing_uplift_multiplier_eu": FACTOR,
    "regional_processing_uplift_multiplier_us": FACTOR,
    "search_free_requests": ALLOWANCE,
    "input_dbu_cost_per_token": OTHER_MONEY,
    "output_dbu_cost_per_token": OTHER_MONEY,
    "guardrail_cost_per_unit": TABLE,
}

# Why a model is not priced at all.
NO_PRICE = "no price in the file"
FREE = "every price is 0"
NOT_AN_OBJECT = "not an object of fields"
TOO_MANY_UNITS = f"more than {_MOST_UNITS} units"
BAD_CODE = f"its name is empty, longer than {_LONGEST_LABEL}, or has control characters"


class PricingError(Exception):
    """The file cannot be read as prices at all."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a dollar is in credits, and what is added to it.

    ``digits`` rounds each price in dollars to so many significant digits before; None takes them
    as they are written.
    """

    credits_per_dollar: Decimal | None = None
    markup: Decimal = Decimal(1)
    digits: int | None = None

    def credits(self, dollars: Decimal) -> Decimal:
        """Return the credits for so many dollars, exactly."""
        if self.credits_per_dollar is None:
            raise PricingError(
                "its prices are in dollars: say with --credits-per-dollar what a dollar is"
            )
        if self.digits is not None:
            dollars = Context(prec=self.digits).plus(dollars)
        return plain(
            _EXACT.multiply(_EXACT.multiply(dollars, self.credits_per_dollar), self.markup)
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A field of a model that says something of its price and is no price; and why."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What is charged for a code: credits (minor units) of each unit, and what is left out."""

    code: str
    prices: Prices = field(hash=False)
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A code that cannot be priced, and why; ``left_out`` where it is for want of known fields."""

    code: str
    reason: str
    left_out: tuple[LeftOut, ...] = ()


@dataclass(slots=True)
class PriceFile:
    """What a file says: what can be priced, and what cannot.

    ``sized`` names the codes with prices that hold for requests above a size, as units of their
    own; ``noisy`` those with a price that a double has left its traces in; ``free_units`` those of
    which some unit, but not all, costs nothing.
    """

    format: Format
    offers: dict[str, Offer] = field(default_factory=dict)
    unpriced: list[Unpriced] = field(default_factory=list)
    sized: list[str] = field(default_factory=list)
    noisy: list[str] = field(default_factory=list)
    free_units: list[str] = field(default_factory=list)

    @property
    def partly(self) -> list[Offer]:
        """What is priced only in part."""
        return [offer for offer in self.offers.values() if offer.left_out]


@dataclass(frozen=True, slots=True)
class Charged:
    """What the ledger charges for a code; no prices are those of a code that is sold no more.

    ``imported`` is the format of the file that the prices came from; None for any other hand's.
    """

    rounding: str
    prices: Prices = field(hash=False)
    imported: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A unit whose price changes: None is no price, before or after."""

    code: str
    unit: str
    was: Decimal | None
    becomes: Decimal | None


@dataclass(slots=True)
class Comparison:
    """What a file would change: codes, and for the changed ones what of them.

    ``kept`` are codes that the file has otherwise and does not change, since they came from another
    hand. ``rounding`` tells the rounding that a changed or kept code has, where that is another
    one. ``gone`` are codes that an earlier file of the same format brought and this one does not.
    ``followed`` are those of the file whose prices end what it brings, since they are to come.
    """

    added: list[Offer] = field(default_factory=list)
    changed: dict[str, list[Change]] = field(default_factory=dict)
    kept: dict[str, list[Change]] = field(default_factory=dict)
    rounding: dict[str, str] = field(default_factory=dict)
    same: int = 0
    gone: dict[str, Charged] = field(default_factory=dict)
    followed: list[str] = field(default_factory=list)

    @property
    def to_set(self) -> list[str]:
        """The codes whose list of prices must be written."""
        return [*(offer.code for offer in self.added), *self.changed]


def read(
    content: bytes, terms: Terms, *, only: Collection[str] = (), free: bool = False
) -> PriceFile:
    """Read prices from a file's content, in whichever of the two formats it is.

    ``only`` are shell patterns of codes; ``free`` prices a model of a JSON file whose every price
    is 0, which is often how such a file says that it does not know. Raises PricingError for a file
    that cannot be read; a CSV with a bad row is one, since it is the caller's own.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PricingError("not UTF-8") from error
    if not text.strip():
        raise PricingError("the file is empty")
    if text.lstrip().startswith(("{", "[")):
        return _read_litellm(text, terms, only, free=free)
    return _read_csv(text, terms, only)


def compare(
    file: PriceFile,
    charged: Mapping[str, Charged],
    rounding: str,
    *,
    only: Collection[str] = (),
    overwrite: bool = False,
    to_come: Collection[str] = (),
) -> Comparison:
    """Tell what the file would change of what the ledger charges.

    What was set or ended by another hand than a file of this format stays, so that an exception
    outlives the next file; ``overwrite`` changes it, too. ``to_come`` are codes with prices that
    begin later than those of the file would.
    """
    found = Comparison(followed=[code for code in file.offers if code in to_come])
    for code, offer in file.offers.items():
        now = charged.get(code)
        if now is None or (overwrite and not now.prices):
            found.added.append(offer)
            continue
        changes = list(_changes(offer, now))
        rounds_otherwise = bool(now.prices) and now.rounding != rounding
        if not changes and not rounds_otherwise:
            found.same += 1
            continue
        if rounds_otherwise:
            found.rounding[code] = now.rounding
        mine = overwrite or now.imported == file.format
        (found.changed if mine else found.kept)[code] = changes
    found.gone = {
        code: now
        for code, now in charged.items()
        if code not in file.offers and now.imported == file.format and matches(code, only)
    }
    return found


def plain(number: Decimal) -> Decimal:
    """Return the same number without zeros at its end."""
    return _EXACT.normalize(number)


def show(number: Decimal) -> str:
    """Write a number exactly, without an exponent."""
    return format(plain(number), "f")


def parse_number(text: str) -> Decimal:
    """Return a number of 0 or more. Raises ValueError, in words."""
    if not re.fullmatch(r"[0-9]*\.?[0-9]*(?:[eE][-+]?[0-9]{1,4})?", text.strip(), re.ASCII):
        raise ValueError(f"{text.strip()[:40]!r} is {NOT_A_NUMBER}")
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"{text.strip()[:40]!r} is {NOT_A_NUMBER}") from None
    if reason := _misfit(number):
        raise ValueError(f"{text.strip()[:40]!r} is {reason}")
    return plain(number)


def _changes(offer: Offer, now: Charged) -> Iterator[Change]:
    for unit in {**now.prices, **offer.prices}:
        was, becomes = now.prices.get(unit), offer.prices.get(unit)
        if was != becomes:
            yield Change(offer.code, unit, was, becomes)


def matches(code: str, only: Collection[str]) -> bool:
    """Tell whether a code is like one of the shell patterns, or there is none."""
    return not only or any(fnmatchcase(code, pattern) for pattern in only)


def _misfit(number: Decimal) -> str | None:
    """Say what keeps a number from being a price, or nothing."""
    if not number.is_finite() or number < 0:
        return NOT_A_NUMBER
    # Before anything is computed: an exponent may ask for more digits than there is room for.
    shape = number.as_tuple()
    if abs(int(shape.exponent)) + len(shape.digits) > 3 * _DIGITS:
        return OUT_OF_RANGE if number else None
    number = plain(number)
    if number.adjusted() >= _DIGITS or int(number.as_tuple().exponent) < -_DIGITS:
        return OUT_OF_RANGE
    return None


def _bad_label(label: str) -> bool:
    return not label or len(label) > _LONGEST_LABEL or _NOT_LABEL.search(label) is not None


# litellm's JSON


def _read_litellm(text: str, terms: Terms, only: Collection[str], *, free: bool) -> PriceFile:
    try:
        models = json.loads(
            text,
            parse_float=_decimal,
            parse_int=_decimal,
            parse_constant=_decimal,
            object_pairs_hook=_once,
        )
    except (ValueError, RecursionError) as error:
        raise PricingError(f"not JSON: {error}") from error
    if not isinstance(models, dict):
        raise PricingError("not a JSON object with one object for each model")
    found = PriceFile("litellm")
    for code, fields in models.items():
        if code in _NOT_A_MODEL or not matches(code, only):
            continue
        _read_model(found, code, fields, terms, free=free)
    return found


def _decimal(text: str) -> Decimal:
    """Read a number; one whose exponent is beyond all bounds is none."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise PricingError(f"{twice[:80]!r} is there twice in one object")
    return made


def _read_model(found: PriceFile, code: str, fields: object, terms: Terms, *, free: bool) -> None:
    if _bad_label(code):
        found.unpriced.append(Unpriced(code, BAD_CODE))
        return
    if not isinstance(fields, dict):
        found.unpriced.append(Unpriced(code, NOT_AN_OBJECT))
        return
    dollars, left_out = _dollars(fields)
    if not dollars:
        reason = f"{left_out[0].field}: {left_out[0].reason}" if left_out else NO_PRICE
        found.unpriced.append(Unpriced(code, reason, left_out))
    elif not any(dollars.values()) and not free:
        found.unpriced.append(Unpriced(code, FREE, left_out))
    else:
        prices = {unit: terms.credits(price) for unit, price in dollars.items()}
        if len(prices) > _MOST_UNITS or any(map(_misfit, prices.values())):
            reason = TOO_MANY_UNITS if len(prices) > _MOST_UNITS else OUT_OF_RANGE
            found.unpriced.append(Unpriced(code, reason, left_out))
            return
        found.offers[code] = Offer(code, prices, left_out)
        if any(_SIZE_OF_REQUEST.search(unit) for unit in prices):
            found.sized.append(code)
        longest = max(len(price.as_tuple().digits) for price in dollars.values())
        if longest > _DIGITS_OF_A_DOUBLE and terms.digits is None:
            found.noisy.append(code)
        if any(dollars.values()) and not all(dollars.values()):
            found.free_units.append(code)


def _dollars(fields: Mapping[str, Any]) -> tuple[dict[str, Decimal], tuple[LeftOut, ...]]:
    """Return the price of each unit in dollars, and what is left out."""
    dollars: dict[str, Decimal] = {}
    left_out = []
    for name, value in fields.items():
        if name == _SEARCH and isinstance(value, dict) and value.keys() <= _SEARCH_SIZES:
            nested = {f"{size}_query": price for size, price in value.items()}
        elif (unit := unit_of_field(name)) is not None:
            nested = {unit: value}
        else:
            if reason := _why_left_out(name, value, fields):
                left_out.append(LeftOut(name, reason))
            continue
        for unit, price in nested.items():
            if not isinstance(price, Decimal):
                left_out.append(LeftOut(name, NOT_A_NUMBER))
            elif reason := _misfit(price):
                left_out.append(LeftOut(name, reason))
            else:
                dollars[unit] = plain(_EXACT.scaleb(price, -3) if "_per_1k_" in name else price)
    return dollars, tuple(left_out)


def unit_of_field(name: str) -> str | None:
    """Return the unit that a field of litellm's gives the price of, in the field's own words.

    ``input_cost_per_token_above_200k_tokens`` is the price of an input_token_above_200k_tokens.
    None for any other field.
    """
    read = _FIELD.fullmatch(name)
    if read is None:
        return None
    words = re.sub("(?:^|_)cost(?=_|$)|_per(?=_)", "", read["stem"]).removeprefix("_")
    unit = re.sub("_1k_(call|token)s$", r"_\1", words)
    return unit + re.sub("_batches", "_batch", read["condition"])


def _why_left_out(name: str, value: object, fields: Mapping[str, Any]) -> str | None:
    """Say why a field that is no price is left out; None when it is not about prices."""
    reason = _LEFT_OUT.get(name)
    if reason is OTHER_MONEY and name.replace("_dbu", "") in fields:
        # The same price in the provider's own measure.
        return None
    if name == "provider_specific_entry":
        return FACTOR if _has_number(value) else None
    if reason is None and _ABOUT_PRICES.search(name) and _has_number(value):
        return TABLE if isinstance(value, dict | list) else UNKNOWN
    return reason


def _has_number(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_number(part) for part in value.values())
    if isinstance(value, list):
        return any(_has_number(part) for part in value)
    return isinstance(value, Decimal)


# A CSV of the caller's own

_MONEY = ("credits_per_unit", "usd_per_unit")


def _read_csv(text: str, terms: Terms, only: Collection[str]) -> PriceFile:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    problems: list[str] = []
    sheet = _Sheet(terms, only)
    try:
        columns = _columns(next(reader))
        for row in filter(None, reader):
            try:
                code, unit, number, is_dollars = _csv_price(row, columns)
                sheet.add(code, unit, number, is_dollars=is_dollars)
            except ValueError as error:
                problems.append(f"line {reader.line_num}: {error}")
    except csv.Error as error:
        raise PricingError(f"not CSV: line {reader.line_num}: {error}") from error
    if problems:
        more = len(problems) - _PROBLEMS_NAMED
        raise PricingError(
            "; ".join(problems[:_PROBLEMS_NAMED]) + (f"; and {more} more" if more > 0 else "")
        )
    if sheet.prices and not sheet.in_dollars and terms != Terms():
        raise PricingError(
            "its prices are in credits already: --credits-per-dollar, --markup and --digits are "
            "for prices in dollars"
        )
    return PriceFile("csv", {code: Offer(code, units) for code, units in sheet.prices.items()})


class _Sheet:
    """The prices of a CSV, row by row."""

    def __init__(self, terms: Terms, only: Collection[str]) -> None:
        self.prices: dict[str, dict[str, Decimal]] = {}
        self.in_dollars = False
        self._terms = terms
        self._only = only

    def add(self, code: str, unit: str, number: Decimal, *, is_dollars: bool) -> None:
        """Take a row that is asked for; raises ValueError for one that cannot be."""
        if not matches(code, self._only):
            return
        units = self.prices.setdefault(code, {})
        price = self._terms.credits(number) if is_dollars else number
        if unit in units:
            raise ValueError(f"{unit} of {code} is there twice")
        if _misfit(price):
            raise ValueError(f"the price in credits is {OUT_OF_RANGE}")
        if len(units) == _MOST_UNITS:
            raise ValueError(f"{code} has {TOO_MANY_UNITS}")
        units[unit] = price
        self.in_dollars = self.in_dollars or is_dollars


def _columns(header: Sequence[str]) -> dict[str, int]:
    names = [name.strip() for name in header]
    wanted = ("code", "unit", *_MONEY)
    missing = [name for name in ("code", "unit") if name not in names]
    if missing or not set(_MONEY) & set(names):
        raise PricingError(
            "neither litellm's JSON nor a CSV with the columns code, unit, and credits_per_unit or "
            f"usd_per_unit; found: {', '.join(names)[:200]}"
        )
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise PricingError(f"column {twice[0]} is there twice")
    return {name: names.index(name) for name in wanted if name in names}


def _csv_price(row: Sequence[str], columns: Mapping[str, int]) -> tuple[str, str, Decimal, bool]:
    if len(row) <= max(columns.values()):
        raise ValueError(f"{len(row)} fields, where the header has more")
    code, unit = (row[columns[name]].strip() for name in ("code", "unit"))
    for name, label in (("code", code), ("unit", unit)):
        if _bad_label(label):
            raise ValueError(
                f"{name} is empty, longer than {_LONGEST_LABEL}, or has control characters"
            )
    given = {
        name: row[columns[name]].strip()
        for name in _MONEY
        if name in columns and row[columns[name]].strip()
    }
    if len(given) != 1:
        raise ValueError(f"{'both prices are' if given else 'no price is'} given: give one")
    ((name, number),) = given.items()
    return code, unit, parse_number(number), name == "usd_per_unit"


def count_reasons(items: Iterable[Offer | Unpriced]) -> dict[tuple[str, str], list[str]]:
    """Return the codes by what is left out of them: by field and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for item in items:
        for left in item.left_out:
            found.setdefault((left.field, left.reason), []).append(item.code)
    return found
