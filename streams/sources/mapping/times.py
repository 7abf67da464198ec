"""Times as files write them, to epoch milliseconds; what could be meant in two ways is refused until it is stated."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from schemas.text import choice
from streams.sources.mapping.errors import CellError, MappingError

_NO_ZONE = re.compile(r"([+-])(\d{2}):?(\d{2})")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
#: Names of zones that mean one thing alone where MTurk writes them. CST is China's as well as Chicago's.
_ABBREVIATED = {"UTC": 0, "GMT": 0, "PST": -480, "PDT": -420}
#: What `format` may name; a pattern, or None where digits are counted or the text says itself how it is meant.
NAMED: dict[str, str | None] = {
    "iso": None,
    "epoch_s": None,
    "epoch_ms": None,
    "epoch_us": None,
    "crowdflower": "%m/%d/%Y %H:%M:%S",
    "mturk": "%a %b %d %H:%M:%S %Z %Y",
}
_EPOCHS = {"epoch_s": (10, 1000.0), "epoch_ms": (13, 1.0), "epoch_us": (16, 0.001)}
_MONTH = r"(?P<b>[A-Za-z]{3})[a-z]*\.?"
_DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})", "y": r"(?P<y>\d{2})", "m": r"(?P<m>\d{1,2})", "d": r"(?P<d>\d{1,2})",
    "H": r"(?P<H>\d{1,2})", "I": r"(?P<I>\d{1,2})", "M": r"(?P<M>\d{2})", "S": r"(?P<S>\d{2})",
    "f": r"(?P<f>\d{1,9})", "p": r"(?P<p>[AaPp]\.?[Mm]\.?|上午|下午)", "z": r"(?P<z>[Zz]|[+-]\d{2}(?::?\d{2})?)",
    "Z": r"(?P<Z>[A-Z]{3,4})", "b": _MONTH, "B": _MONTH, "a": "[A-Za-z]{3}", "A": "[A-Za-z]+", "%": "%",
}  # fmt: skip  # a table
#: ISO 8601's form, with the blank, the slashes and the single digits that spreadsheets write; the year comes first.
_ISO = re.compile(
    r"(?P<Y>\d{4})(?P<mark>[-/.])(?P<m>\d{1,2})(?P=mark)(?P<d>\d{1,2})"
    r"(?:[Tt ]\s*(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?)?"
    r"\s*(?P<z>[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?"
)
_CHINESE = re.compile(
    r"(?P<Y>\d{4})年(?P<m>\d{1,2})月(?P<d>\d{1,2})日(?:\s*(?P<H>\d{1,2})[:时](?P<M>\d{1,2})(?:[:分](?P<S>\d{1,2})?秒?)?)?"
)
_EITHER = re.compile(r"\d{1,2}([/.-])\d{1,2}\1\d{2,4}\b.*", re.DOTALL)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # local times are counted from it before their zone is known
_EPOCH_DAY = date(1970, 1, 1).toordinal()
#: The longest span in which no zone changes its offset but at its begin.
_QUARTER_MS = 900_000
#: What `schemas.events.EpochMs` allows.
_LAST_MS = 253_402_300_799_999

Parts = dict[str, str | None]


def zone_of(name: str) -> tzinfo:
    """A zone by its IANA name, `Asia/Manila`, or as an offset, `+08:00`.

    Raises:
        MappingError: There is no such zone.
    """
    if name.upper() in ("UTC", "Z", "GMT"):
        return UTC
    if found := _NO_ZONE.fullmatch(name):
        minutes = int(found[2]) * 60 + int(found[3])
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise MappingError(f"zone {name!r}: no such zone; use a name such as Asia/Manila, or +08:00") from None


class TimeReader:
    """Reads the times of one column.

    Args:
        where: Column and field, for errors.
        form: One of `NAMED`, a pattern such as `%d/%m/%Y %H:%M`, or None: ISO's form, or epoch by number of digits.
        zone: Of times that name none; None refuses those.

    Attributes:
        days_only: How many had no time of day; midnight was taken. One that repeats the last is not counted.
        twice: How many were in an hour that the clocks showed twice; the first was taken. Likewise.
    """

    def __init__(self, where: str, form: str | None = None, zone: str | None = None) -> None:
        self._where = where
        self._zone = zone_of(zone) if zone else UTC if form == "crowdflower" else None
        self._zone_name = zone or "UTC"
        self._offsets: dict[int, int] = {}
        self._last = ("", 0)
        self.days_only = self.twice = 0
        if form is None:
            self._read: Callable[[str], int] = self._automatic
        elif form in _EPOCHS:
            factor = _EPOCHS[form][1]
            self._read = lambda text: self._epoch(text, factor)
        elif form == "iso":
            self._read = self._iso
        else:
            self._pattern, self._form = pattern_of(NAMED.get(form) or form), form
            self._read = self._by_pattern

    def __call__(self, text: str) -> int:
        """Epoch milliseconds.

        Raises:
            CellError: The text is no such time.
            MappingError: It could be one in several ways: zone or format must be stated.
        """
        # A row's events have the same time.
        last, at_ms = self._last
        if text != last:
            at_ms = self._read(text)
            if not 0 <= at_ms <= _LAST_MS:
                raise self._bad(text, "a time before 1970 or after 9999")
            self._last = (text, at_ms)
        return at_ms

    def _bad(self, text: str, why: str) -> CellError:
        return CellError("time", f"{self._where}: {text[:60]!r} is {why}")

    def _automatic(self, text: str) -> int:
        if text.isdigit() and text.isascii():
            for digits, factor in _EPOCHS.values():
                if len(text) == digits:
                    return self._epoch(text, factor)
        elif _EITHER.match(text):
            raise MappingError(
                f"{self._where}: {text[:60]!r} may begin with the day or the month; state it: format = "
                "'%d/%m/%Y' or '%m/%d/%Y', with what follows, such as %H:%M (--time-format)"
            )
        return self._iso(text)

    def _epoch(self, text: str, factor: float) -> int:
        try:
            # Whole numbers as such: a float has no room for microseconds times a thousand.
            if text.isascii() and text.isdigit():
                return int(text) * 1000 if factor == 1000 else int(text) if factor == 1 else int(text) // 1000
            return round(float(text) * factor)
        except (ValueError, OverflowError):
            raise self._bad(text, "no number of an epoch; give its format (--time-format)") from None

    def _iso(self, text: str) -> int:
        # As most programs write it, three times as fast; the form is asked since Python's reads others, too.
        if len(text) == 19 and text[4] == text[7] == "-" and text[13] == text[16] == ":" and text[10] in "T ":
            try:
                took = datetime.fromisoformat(text) - _EPOCH
            except ValueError as error:
                raise self._bad(text, f"no time: {error}") from None
            local_ms = (took.days * 86_400 + took.seconds) * 1000
            return local_ms - self._offset_ms(text, local_ms)
        found = _ISO.fullmatch(text) or _CHINESE.fullmatch(text)
        if found is None:
            raise self._bad(text, "no time in ISO's form; give its format (--time-format), such as %d.%m.%Y %H:%M")
        return self._ms(text, found.groupdict())

    def _by_pattern(self, text: str) -> int:
        found = self._pattern.fullmatch(text)
        if found is None:
            raise self._bad(text, f"no time in the form {self._form}")
        return self._ms(text, found.groupdict())

    def _ms(self, text: str, parts: Parts) -> int:
        try:
            day = date(_year(parts), _month(parts), int(parts.get("d") or 1)).toordinal() - _EPOCH_DAY
        except ValueError as error:
            raise self._bad(text, f"no date: {error}") from None
        hour, minute, second = _hour(parts), int(parts.get("M") or 0), int(parts.get("S") or 0)
        if hour > 23 or minute > 59 or second > 59:
            raise self._bad(text, "no time of day")
        if parts.get("H") is None and parts.get("I") is None:
            self.days_only += 1
        local_ms = ((day * 24 + hour) * 60 + minute) * 60_000 + second * 1000
        local_ms += int(f"{(parts.get('f') or '0')[:3]:<03}")
        offset = parts.get("z")
        if offset is not None:
            return local_ms - _offset_minutes(offset) * 60_000
        name = parts.get("Z")
        if name is not None:
            if name not in _ABBREVIATED:
                raise self._bad(text, f"of a zone {name} that may be several; use {choice(_ABBREVIATED)}")
            return local_ms - _ABBREVIATED[name] * 60_000
        return local_ms - self._offset_ms(text, local_ms)

    def _offset_ms(self, text: str, local_ms: int) -> int:
        quarter = local_ms // _QUARTER_MS
        known = self._offsets.get(quarter)
        if known is not None:
            return known
        if self._zone is None:
            raise MappingError(
                f"{self._where}: {text[:60]!r} names no time zone; state it: zone = 'Asia/Manila' under [time] (--zone)"
            )
        local = _EPOCH + timedelta(milliseconds=local_ms)
        first, second = (local.replace(tzinfo=self._zone, fold=fold).utcoffset() for fold in (0, 1))
        assert first is not None, "zones of a place and fixed offsets have one"
        assert second is not None, "likewise"
        if first < second:
            raise self._bad(text, f"a time that the clocks of {self._zone_name} left out; the zone may be another")
        offset = int(first.total_seconds() * 1000)
        if first > second:
            self.twice += 1
        else:
            self._offsets[quarter] = offset
        return offset


def pattern_of(form: str) -> re.Pattern[str]:
    """A pattern of strptime's kind as an expression; months are English, whatever the machine's language.

    Raises:
        MappingError: A directive that is not known, or one twice.
    """
    parts = re.split(r"(%.?)", form)
    directives = [part[1:] for part in parts[1::2]]
    allowed = choice(f"%{each}" for each in _DIRECTIVES)
    unknown = [each for each in directives if each not in _DIRECTIVES]
    if unknown:
        raise MappingError(f"format {form!r}: %{unknown[0]} is not known; use {allowed}, or {choice(NAMED)}")
    if not {"Y", "y"} & set(directives) or not {"m", "b", "B"} & set(directives) or "d" not in directives:
        raise MappingError(f"format {form!r}: year, month and day are needed; use {allowed}, or {choice(NAMED)}")
    text = "".join(
        _DIRECTIVES[part[1:]] if number % 2 else re.sub(r"(?:\\ )+", r"\\s+", re.escape(part))
        for number, part in enumerate(parts)
    )
    try:
        return re.compile(text)
    except re.error:
        raise MappingError(f"format {form!r}: a part of a time is there twice; give each once") from None


def _year(parts: Parts) -> int:
    return int(parts.get("Y") or 2000 + int(parts.get("y") or 0))


def _month(parts: Parts) -> int:
    name = parts.get("b")
    return int(parts.get("m") or 0) if name is None else _MONTHS.index(name.lower()) + 1


def _hour(parts: Parts) -> int:
    hour, half = parts.get("H"), (parts.get("p") or "").lower()
    if hour is not None:
        return int(hour)
    of_twelve = int(parts.get("I") or 0)
    if not half or not of_twelve:
        return of_twelve
    return 99 if of_twelve > 12 else of_twelve % 12 + 12 * (half[0] in "p下")


def _offset_minutes(text: str) -> int:
    if text[0] not in "+-":
        return 0
    digits = text[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
    return -minutes if text[0] == "-" else minutes
