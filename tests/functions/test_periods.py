"""Periods in local time: where each begins, and which one holds an instant.

The expectations are made with Python's own time zones, local times counted from the anchor and
instants looked for one by one, or written out by hand.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support import Ledger, value

TICK = timedelta(microseconds=1)
SESSIONS = ["UTC", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"]
DAYS = {"1 day": 1, "7 days": 7, "10 days": 10, "30 days": 30, "365 days": 365}
MONTHS = {"1 month": 1, "3 months": 3, "5 months": 5, "12 months": 12, "14 months": 14}
CALENDAR = ["1 day", "7 days", "1 month", "3 months", "12 months"]
# Clocks that change at midnight, skip a day, change by half an hour, or at another hour of the day.
ZONES = [
    "UTC",
    "Africa/Cairo",
    "America/Havana",
    "America/New_York",
    "America/Santiago",
    "America/Sao_Paulo",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Kwajalein",
]


def at(text: str, zone: str | None = None) -> datetime:
    """Read an instant: in UTC, or as a local time of a zone, the first of two that read alike."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone) if zone else UTC)


def read(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def begins(period: str, zone: str, anchor: datetime | None, number: int) -> datetime:
    """Tell where a period begins, by Python's reading of local times."""
    if anchor is not None and number == 0:
        return anchor
    local = read(anchor, zone) if anchor else datetime(2001, 1, 1)  # noqa: DTZ001 - a local time
    if period in DAYS:
        local += timedelta(days=DAYS[period] * number)
    else:
        months = local.year * 12 + local.month - 1 + MONTHS[period] * number
        year, month = divmod(months, 12)
        last = monthrange(year, month + 1)[1]
        local = local.replace(year=year, month=month + 1, day=min(local.day, last))
    # An anchor may be the second of two that read alike: what is counted from it is the first.
    return local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def expected(
    period: str, zone: str, anchor: datetime | None, instant: datetime
) -> tuple[datetime, datetime]:
    """Look for the period that holds an instant among all that are near."""
    first = anchor or datetime(2001, 1, 1, tzinfo=UTC)
    length = DAYS.get(period) or MONTHS[period] * 30.436875
    guess = int((instant - first).total_seconds() // (length * 86400))
    near = [begins(period, zone, anchor, number) for number in range(guess - 4, guess + 6)]
    assert near == sorted(near)
    assert near[0] <= instant < near[-1]
    return (
        max(start for start in near if start <= instant),
        min(start for start in near if start > instant),
    )


def period(
    db: Ledger, length: str, zone: str, anchor: datetime | None, instant: datetime
) -> tuple[datetime, datetime]:
    row = db.execute(
        "select pgledger._period_start(%(length)s, %(zone)s, %(anchor)s, %(at)s) as starts,"
        " pgledger._period_end(%(length)s, %(zone)s, %(anchor)s, %(at)s) as ends",
        {"length": length, "zone": zone, "anchor": anchor, "at": instant},
    ).fetchone()
    assert row
    return row["starts"].astimezone(UTC), row["ends"].astimezone(UTC)


def starts(db: Ledger, length: str, zone: str, anchor: datetime, count: int) -> list[str]:
    """Return the first starts after an anchor as local times, each found from the last one."""
    found = []
    instant = anchor
    for _ in range(count):
        _, instant = period(db, length, zone, anchor, instant)
        found.append(read(instant, zone).isoformat(sep=" "))
    return found


INSTANTS = st.datetimes(
    datetime(1992, 1, 1),  # noqa: DTZ001 - hypothesis wants it without a zone
    datetime(2022, 6, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@st.composite
def near_a_change(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and an instant, more often than not within two days of a change of its clocks."""
    zone = draw(st.sampled_from(ZONES))
    instant = draw(INSTANTS)
    offset = instant.astimezone(ZoneInfo(zone)).utcoffset()
    for days in range(1, 400) if draw(st.sampled_from([True, True, False])) else ():
        later = instant + timedelta(days=days)
        if later.astimezone(ZoneInfo(zone)).utcoffset() != offset:
            instant = later + draw(
                st.timedeltas(timedelta(days=-2), timedelta(days=2))
                | st.integers(-48, 48).map(lambda halves: timedelta(minutes=30 * halves))
            )
            break
    return zone, instant


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    length=st.sampled_from([*DAYS, *MONTHS]),
    where=near_a_change(),
    apart=st.integers(0, 900) | st.integers(0, 12).map(lambda months: months * 30),
    minutes=st.integers(-120, 120),
    session=st.sampled_from(SESSIONS),
)
@example(
    length="12 months",
    where=("Asia/Tehran", datetime(1999, 9, 21, 19, 30, tzinfo=UTC)),
    apart=0,
    minutes=-1,
    session="UTC",
)
def test_a_period_of_an_account_is_the_one_a_search_of_local_times_finds(
    db: Ledger,
    *,
    length: str,
    where: tuple[str, datetime],
    apart: int,
    minutes: int,
    session: str,
) -> None:
    db.execute("select set_config('timezone', %s, false)", [session])
    zone, anchor = where
    instant = anchor + timedelta(days=apart, minutes=minutes)
    starts_at, ends_at = period(db, length, zone, anchor, instant)
    assert starts_at <= instant < ends_at
    assert (starts_at, ends_at) == expected(length, zone, anchor, instant)
    # Each end is the next start, up to the last tick before.
    assert period(db, length, zone, anchor, starts_at) == (starts_at, ends_at)
    assert period(db, length, zone, anchor, ends_at - TICK) == (starts_at, ends_at)
    assert period(db, length, zone, anchor, starts_at - TICK)[1] == starts_at
    assert period(db, length, zone, anchor, ends_at)[0] == ends_at


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    length=st.sampled_from(CALENDAR),
    where=near_a_change(),
    session=st.sampled_from(SESSIONS),
)
def test_a_period_of_the_calendar_is_the_one_a_search_of_local_times_finds(
    db: Ledger, length: str, where: tuple[str, datetime], session: str
) -> None:
    db.execute("select set_config('timezone', %s, false)", [session])
    zone, instant = where
    starts_at, ends_at = period(db, length, zone, None, instant)
    assert (starts_at, ends_at) == expected(length, zone, None, instant)
    assert period(db, length, zone, None, ends_at - TICK) == (starts_at, ends_at)
    assert period(db, length, zone, None, ends_at)[0] == ends_at


@pytest.mark.parametrize(
    ("length", "starts_at", "ends_at"),
    [
        ("1 day", "2024-02-29", "2024-03-01"),
        ("7 days", "2024-02-26", "2024-03-04"),
        ("1 month", "2024-02-01", "2024-03-01"),
        ("3 months", "2024-01-01", "2024-04-01"),
        ("12 months", "2024-01-01", "2025-01-01"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Kiritimati"])
def test_a_period_of_the_calendar_begins_at_local_midnight_and_a_week_on_monday(
    db: Ledger, length: str, starts_at: str, ends_at: str, zone: str
) -> None:
    both = (at(starts_at, zone).astimezone(UTC), at(ends_at, zone).astimezone(UTC))
    assert period(db, length, zone, None, at("2024-02-29 13:30", zone)) == both
    assert period(db, length, zone, None, both[0]) == both
    assert period(db, length, zone, None, both[1] - TICK) == both
    assert period(db, length, zone, None, both[1])[0] == both[1]
    assert period(db, length, zone, None, both[0] - TICK)[1] == both[0]


def test_the_calendar_counts_backwards_before_it_begins(db: Ledger) -> None:
    for length, starts_at, ends_at in [
        ("1 day", "1999-12-31", "2000-01-01"),
        ("7 days", "1999-12-27", "2000-01-03"),
        ("1 month", "1999-12-01", "2000-01-01"),
        ("3 months", "1999-10-01", "2000-01-01"),
        ("12 months", "1999-01-01", "2000-01-01"),
    ]:
        both = (at(starts_at), at(ends_at))
        assert period(db, length, "UTC", None, at("1999-12-31 23:59:59.999999")) == both


def test_the_last_of_january_leads_to_the_last_of_each_month(db: Ledger) -> None:
    assert starts(db, "1 month", "UTC", at("2023-12-31 10:00"), 5) == [
        "2024-01-31 10:00:00",
        "2024-02-29 10:00:00",
        "2024-03-31 10:00:00",
        "2024-04-30 10:00:00",
        "2024-05-31 10:00:00",
    ]


def test_the_last_of_january_holds_february_up_to_its_last_day(db: Ledger) -> None:
    anchor = at("2023-01-31 10:00")
    ends_at = at("2023-02-28 10:00")
    assert period(db, "1 month", "UTC", anchor, ends_at - TICK) == (anchor, ends_at)
    assert period(db, "1 month", "UTC", anchor, ends_at) == (ends_at, at("2023-03-31 10:00"))


def test_a_leap_day_comes_back_in_leap_years_only(db: Ledger) -> None:
    assert starts(db, "12 months", "UTC", at("2020-02-29 12:00"), 4) == [
        "2021-02-28 12:00:00",
        "2022-02-28 12:00:00",
        "2023-02-28 12:00:00",
        "2024-02-29 12:00:00",
    ]


def test_local_time_stays_over_a_change_of_the_clocks(db: Ledger) -> None:
    anchor = at("2024-02-29 18:00", "Europe/Berlin")
    assert starts(db, "1 month", "Europe/Berlin", anchor, 9) == [
        f"2024-{month:02}-29 18:00:00" for month in range(3, 12)
    ]


@pytest.mark.parametrize(
    ("zone", "day", "first", "hours"),
    [
        # The clocks skip midnight: the day begins with the first moment there is.
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04 01:00:00", 23),
        ("Africa/Cairo", "2014-05-16", "2014-05-16 01:00:00", 23),
        ("Asia/Beirut", "2022-03-27", "2022-03-27 01:00:00", 23),
        # The hour before midnight comes twice, on the day before.
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17 00:00:00", 25),
        ("Asia/Beirut", "2021-10-30", "2021-10-30 00:00:00", 25),
        # Midnight comes twice: the day begins with the first one.
        ("America/Havana", "2021-11-07", "2021-11-07 00:00:00", 25),
        ("Atlantic/Azores", "2021-10-31", "2021-10-31 00:00:00", 25),
        # Clocks change by day.
        ("Europe/Berlin", "2021-03-28", "2021-03-28 00:00:00", 23),
        ("Europe/Berlin", "2021-10-31", "2021-10-31 00:00:00", 25),
        ("Australia/Lord_Howe", "2021-04-04", "2021-04-04 00:00:00", 24.5),
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(
    db: Ledger, zone: str, day: str, first: str, hours: float
) -> None:
    noon = at(f"{day} 12:00", zone)
    starts_at, ends_at = period(db, "1 day", zone, None, noon)
    assert read(starts_at, zone).isoformat(sep=" ") == first
    assert ends_at - starts_at == timedelta(hours=hours)
    assert period(db, "1 day", zone, None, ends_at - TICK)[0] == starts_at
    assert period(db, "1 day", zone, None, starts_at - TICK)[1] == starts_at


def test_a_midnight_that_comes_twice_begins_one_day(db: Ledger) -> None:
    midnight = at("2021-11-07 04:00")
    assert read(midnight, "America/Havana").isoformat() == "2021-11-07T00:00:00"
    assert read(midnight + timedelta(hours=1), "America/Havana").hour == 0
    for minutes in (0, 30, 60, 90):
        found = period(db, "1 day", "America/Havana", None, midnight + timedelta(minutes=minutes))
        assert found == (midnight, midnight + timedelta(hours=25))


def test_a_start_that_the_clocks_skip_is_as_late_as_it_would_have_been(db: Ledger) -> None:
    anchor = at("2021-03-26 02:30", "Europe/Berlin")
    assert starts(db, "1 day", "Europe/Berlin", anchor, 3) == [
        "2021-03-27 02:30:00",
        "2021-03-28 03:30:00",
        "2021-03-29 02:30:00",
    ]
    # By local time 03:10 is after 02:30, but the period begins at 03:30 that day.
    found = period(db, "1 day", "Europe/Berlin", anchor, at("2021-03-28 03:10", "Europe/Berlin"))
    assert [read(instant, "Europe/Berlin").day for instant in found] == [27, 28]


def test_periods_count_from_the_very_anchor_also_where_it_reads_like_another(db: Ledger) -> None:
    first = at("2021-10-31 00:30")
    second = at("2021-10-31 01:30")
    assert read(first, "Europe/Berlin") == read(second, "Europe/Berlin")
    next_day = at("2021-11-01 01:30")
    for anchor in (first, second):
        found = period(db, "1 day", "Europe/Berlin", anchor, anchor)
        assert found == (anchor, next_day)
        assert period(db, "1 day", "Europe/Berlin", anchor, anchor - TICK)[1] == anchor


def test_a_later_period_holds_what_reads_earlier_when_an_hour_comes_twice(db: Ledger) -> None:
    anchor = at("2021-11-05 00:45", "America/Havana")
    again = at("2021-11-07 05:15")
    assert read(again, "America/Havana").isoformat() == "2021-11-07T00:15:00"
    starts_at, ends_at = period(db, "1 day", "America/Havana", anchor, again)
    assert starts_at == at("2021-11-07 04:45")
    assert ends_at == at("2021-11-08 05:45")


def test_a_day_that_the_clocks_skip_is_none(db: Ledger) -> None:
    change = at("2011-12-30 10:00")
    assert read(change - TICK, "Pacific/Apia").day == 29
    assert read(change, "Pacific/Apia").isoformat() == "2011-12-31T00:00:00"
    day = timedelta(days=1)
    assert period(db, "1 day", "Pacific/Apia", None, change - TICK) == (change - day, change)
    assert period(db, "1 day", "Pacific/Apia", None, change) == (change, change + day)

    anchor = at("2011-12-28 15:00", "Pacific/Apia")
    assert starts(db, "1 day", "Pacific/Apia", anchor, 3) == [
        "2011-12-29 15:00:00",
        "2011-12-31 15:00:00",
        "2012-01-01 15:00:00",
    ]


def test_an_instant_before_the_anchor_is_in_a_period_too(db: Ledger) -> None:
    anchor = at("2024-03-31 10:00")
    found = period(db, "1 month", "UTC", anchor, at("2024-02-10"))
    assert found == (at("2024-01-31 10:00"), at("2024-02-29 10:00"))


def test_a_month_is_not_thirty_days(db: Ledger) -> None:
    anchor = at("2024-01-01")
    assert period(db, "30 days", "UTC", anchor, anchor)[1] == at("2024-01-31")
    assert period(db, "1 month", "UTC", anchor, anchor)[1] == at("2024-02-01")
    assert period(db, "360 days", "UTC", anchor, anchor)[1] == at("2024-12-26")
    assert period(db, "12 months", "UTC", anchor, anchor)[1] == at("2025-01-01")


def test_a_period_far_away_is_found_in_a_few_steps(db: Ledger) -> None:
    anchor = at("0002-01-31 10:00")
    far = at("8999-05-15 12:00")
    assert period(db, "1 day", "Europe/Berlin", anchor, far)[0] <= far
    found = period(db, "1 month", "UTC", anchor, far)
    assert found == (at("8999-04-30 10:00"), at("8999-05-31 10:00"))


def test_instants_are_told_in_utc_whatever_the_session_says(db: Ledger) -> None:
    for session in SESSIONS:
        db.execute("select set_config('timezone', %s, false)", [session])
        told = value(db, "_utc", at=at("2024-02-29 01:02:03.000004"))
        assert told == "2024-02-29T01:02:03.000004Z"
