"""Times and durations of files, against datetime, zoneinfo and fractions; and what is refused until it is stated."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streams.sources.mapping.durations import duration_reader
from streams.sources.mapping.errors import CellError, MappingError
from streams.sources.mapping.times import TimeReader, pattern_of

ZONES = ("Asia/Manila", "Europe/Berlin", "America/Lima", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York")
moments = st.datetimes(datetime(1975, 1, 1), datetime(2037, 1, 1)).map(  # noqa: DTZ001  # naive on purpose
    lambda each: each.replace(microsecond=each.microsecond // 1000 * 1000)
)


def ms(moment: datetime) -> int:
    """By the standard library, without floats."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(moments, st.integers(-14 * 60, 14 * 60))
def test_what_isoformat_writes_is_read(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    for text in (aware.isoformat(), aware.isoformat(" "), aware.strftime("%Y-%m-%dT%H:%M:%S.%f%z")):
        assert TimeReader("c")(text) == ms(aware)
        assert TimeReader("c", "iso")(text) == ms(aware)


@given(moments, st.sampled_from(ZONES))
def test_a_local_time_is_of_its_zone(moment: datetime, zone: str) -> None:
    local = moment.replace(tzinfo=ZoneInfo(zone))
    read = TimeReader("c", "%d.%m.%Y %H:%M:%S.%f", zone)
    # Into UTC and back: a time that the clocks left out comes back as another one.
    if local.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != moment:
        with pytest.raises(CellError, match="left out"):
            read(moment.strftime("%d.%m.%Y %H:%M:%S.%f"))
        return
    assert read(moment.strftime("%d.%m.%Y %H:%M:%S.%f")) == ms(local)
    assert TimeReader("c", None, zone)(moment.isoformat(" ")) == ms(local)


def test_hours_that_come_twice_and_never_in_berlin() -> None:
    read = TimeReader("c", None, "Europe/Berlin")
    # The first of the two is still summer time, UTC+2.
    assert read("2026-10-25 02:30") == ms(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    assert read.twice == 1
    with pytest.raises(CellError, match=r"'2026-03-29 02:30' is a time that the clocks of Europe/Berlin left out"):
        read("2026-03-29 02:30")
    assert read("2026-03-29 03:00") == ms(datetime(2026, 3, 29, 1, 0, tzinfo=UTC))


@given(moments)
def test_epochs_are_told_by_their_digits(moment: datetime) -> None:
    at_ms = ms(moment.replace(tzinfo=UTC))
    assume(at_ms > 10**12)
    assert TimeReader("c")(str(at_ms)) == TimeReader("c", "epoch_ms")(str(at_ms)) == at_ms
    assert TimeReader("c")(f"{at_ms}999") == TimeReader("c", "epoch_us")(f"{at_ms}999") == at_ms
    assert TimeReader("c")(str(at_ms // 1000)) == at_ms // 1000 * 1000
    assert TimeReader("c", "epoch_s")(f"{at_ms // 1000}.{at_ms % 1000:03}") == at_ms


@given(moments)
def test_the_forms_of_mturk_and_crowdflower(moment: datetime) -> None:
    utc = moment.replace(microsecond=0, tzinfo=UTC)
    # parsedate_to_datetime knows PST and PDT from mail, where they mean the same.
    mturk = utc.strftime("%a %b %d %H:%M:%S PDT %Y")
    by_mail = parsedate_to_datetime(utc.strftime("%a, %d %b %Y %H:%M:%S PDT"))
    assert TimeReader("c", "mturk")(mturk) == ms(by_mail)
    crowdflower = f"{utc.month}/{utc.day}/{utc.year} {utc:%H:%M:%S}"
    assert TimeReader("c", "crowdflower")(crowdflower) == ms(utc)


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("2026/1/2 3:04", None, datetime(2026, 1, 1, 19, 4, tzinfo=UTC)),
        ("2026年1月2日 3:04:05", None, datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)),
        ("2026年1月2日 3时4分", None, datetime(2026, 1, 1, 19, 4, tzinfo=UTC)),
        ("2026-11-30", None, datetime(2026, 11, 29, 16, 0, tzinfo=UTC)),
        ("11/30/26 12:05 AM", "%m/%d/%y %I:%M %p", datetime(2026, 11, 29, 16, 5, tzinfo=UTC)),
        ("11/30/26 12:05 pm", "%m/%d/%y %I:%M %p", datetime(2026, 11, 30, 4, 5, tzinfo=UTC)),
        ("2026-11-30 下午 01:05", "%Y-%m-%d %p %I:%M", datetime(2026, 11, 30, 5, 5, tzinfo=UTC)),
        ("30-Nov-2026 01:05 +0530", "%d-%b-%Y %H:%M %z", datetime(2026, 11, 29, 19, 35, tzinfo=UTC)),
    ],
)
def test_forms_of_spreadsheets(text: str, form: str | None, expected: datetime) -> None:
    assert TimeReader("c", form, "Asia/Shanghai")(text) == ms(expected)


@pytest.mark.parametrize("text", ["03/04/2026", "3.4.2026 10:00", "25/12/2026", "03-04-26 10:00:00"])
def test_a_date_that_may_be_two_is_refused_until_its_format_is_given(text: str) -> None:
    with pytest.raises(MappingError, match=r"may begin with the day or the month; state it: format = '%d/%m/%Y'"):
        TimeReader("column when (at)", None, "UTC")(text)


def test_a_time_without_a_zone_is_refused_until_one_is_given() -> None:
    for form in (None, "iso", "%Y-%m-%d %H:%M"):
        with pytest.raises(MappingError, match=r"names no time zone; state it: zone = 'Asia/Manila'"):
            TimeReader("column when (at)", form)("2026-11-30 10:00")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("soon", None), ("2026-02-30 10:00Z", None), ("2026-11-30 25:00Z", None), ("2026-11-30T10:61Z", None),
        ("12345", None), ("-5", "epoch_s"), ("nan", "epoch_s"), ("inf", "epoch_ms"), ("1e300", "epoch_s"),
        ("0001-01-01 00:00Z", None), ("Mon Nov 30 10:14:55 CST 2026", "mturk"),
        ("\uff12\uff10-11-30 10:00Z", "epoch_ms"),
        ("13:00 PM 30.11.2026", "%I:%M %p %d.%m.%Y"),
    ],
)  # fmt: skip  # a table
def test_what_is_no_time_is_named_with_its_column(text: str, form: str | None) -> None:
    with pytest.raises(CellError, match=r"^column when \(at\): .* is "):
        TimeReader("column when (at)", form, "UTC")(text)


@pytest.mark.parametrize("form", ["%Q", "%Y-%m", "%Y-%m-%d %Y", "%", "%H:%M"])
def test_a_format_that_is_none_is_named(form: str) -> None:
    with pytest.raises(MappingError, match=r"^format '"):
        pattern_of(form)


@pytest.mark.parametrize("zone", ["Atlantis/Capital", "CET+1", "../etc/passwd", "+99:00"])
def test_a_zone_that_is_none_is_named(zone: str) -> None:
    with pytest.raises(MappingError, match=r"no such zone; use a name such as Asia/Manila, or \+08:00"):
        TimeReader("c", None, zone)


# --- durations


def half_up(value: Fraction) -> int:
    return int(value + Fraction(1, 2))


amounts = st.integers(0, 10**12).map(lambda thousandths: Fraction(thousandths, 1000))


def written(value: Fraction, point: str, group: str) -> str:
    whole, rest = divmod(value, 1)
    return f"{int(whole):,}".replace(",", group) + point + f"{int(rest * 1000):03}"


@given(amounts, st.sampled_from([("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000)]))
def test_numbers_of_each_unit_and_country(value: Fraction, of_unit: tuple[str, int]) -> None:
    unit, factor = of_unit
    assume(value * factor < 3_200_000_000_000)
    expected = half_up(value * factor)
    assert duration_reader("c", unit)(written(value, ".", "")) == expected
    assert duration_reader("c", unit, ".")(written(value, ".", ",")) == expected
    assert duration_reader("c", unit, ",")(written(value, ",", ".")) == expected
    assert duration_reader("c", unit, ",")(written(value, ",", "")) == expected


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_clocks(hours: int, minutes: int, seconds: int) -> None:
    expected = (hours * 3600 + minutes * 60 + seconds) * 1000
    for unit in ("mm:ss", "h:mm", "h:mm:ss"):
        assert duration_reader("c", unit)(f"{hours}:{minutes:02}:{seconds:02}") == expected
    assert duration_reader("c", "mm:ss")(f"{hours}:{seconds:02}") == (hours * 60 + seconds) * 1000
    assert duration_reader("c", "h:mm")(f"{hours}:{minutes:02}") == (hours * 60 + minutes) * 60_000


def test_a_comma_and_a_clock_are_refused_until_they_are_stated() -> None:
    for text in ("12,5", "1,250"):
        with pytest.raises(MappingError, match=r"may be a decimal sign or one of thousands; state it: decimal = ','"):
            duration_reader("c", "s")(text)
    with pytest.raises(MappingError, match=r"is of a clock; state it: unit = 'mm:ss' or 'h:mm'"):
        duration_reader("c", "s")("1:05")


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "nan",
        "inf",
        "1e3",
        "soon",
        "+4",
        "\uff11\uff12",
        "1.2.3",
        "1_000",
        "12,50,0",
        "9" * 20,
        "9" * 5000,
        "." + "9" * 5000 + "x",
    ],
)
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(CellError, match=r"^column took \(handle_ms\): "):
        duration_reader("column took (handle_ms)", "s", ".")(text)


@pytest.mark.parametrize(
    "text", ["1:60", "1:2:3:4", "1.5:30", "5", "a:b", "1:-5", "9" * 40 + ":30", "9" * 5000 + ":1:1"]
)
def test_what_is_no_clock_is_named(text: str) -> None:
    with pytest.raises(CellError, match=r"^column took \(handle_ms\): "):
        duration_reader("column took (handle_ms)", "mm:ss")(text)
