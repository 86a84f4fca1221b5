"""What was meant, most likely, by a code or a unit that has no price."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

_UNITS_NAMED = 8


def units_told(unit: str, units: Sequence[str]) -> str:
    """Name the units that a code has: all, or of many those most like the given one."""
    if len(units) <= _UNITS_NAMED:
        return ", ".join(units)
    some = get_close_matches(unit, units) or units[:3]
    return f"{len(units)} units, such as {', '.join(some)}"


def nearest(code: str, codes: Collection[str]) -> list[str]:
    """Return the codes most like a given one, the likeliest first.

    Those of the same name come first, whatever the capitals and whoever stands before a slash.
    """
    name = _name(code)
    same = sorted(other for other in codes if _name(other) == name)
    by_folded = {other.casefold(): other for other in codes}
    close = [by_folded[found] for found in get_close_matches(code.casefold(), by_folded)]
    return list(dict.fromkeys([*same, *close]))[:3]


def _name(code: str) -> str:
    return code.casefold().rpartition("/")[2]
