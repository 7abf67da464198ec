"""Durations as files write them, to milliseconds: seconds, minutes and seconds, with the decimal sign of a country."""

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

from schemas.text import choice
from streams.sources.mapping.errors import CellError, MappingError

#: Milliseconds of each unit; those with a colon are of clocks.
_FACTORS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
_CLOCKS = {"mm:ss": (60_000, 1000), "h:mm": (3_600_000, 60_000), "h:mm:ss": (3_600_000, 60_000, 1000)}
UNITS = (*_FACTORS, *_CLOCKS)
DECIMALS = (".", ",")
_PLAIN = re.compile(r"\d+(\.\d+)?|\.\d+")
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")
#: More than a hundred years is no duration of work.
_LONGEST_MS = 3_200_000_000_000

_SWAPPED = str.maketrans(",.", ".,")


def number_reader(where: str, decimal: str | None) -> Callable[[str], Decimal]:
    """Reads numbers that may have a decimal sign and groups of three digits; without signs, exponents and names.

    Args:
        where: Column and field, for errors.
        decimal: `.` or `,`; None refuses a comma until it is stated.

    Raises:
        MappingError: There is no such decimal sign.
    """
    if decimal not in (*DECIMALS, None):
        raise MappingError(f"decimal {decimal!r}: use {choice(map(repr, DECIMALS))}")

    def read(text: str) -> Decimal:
        number = text
        if decimal == ",":
            number = number.translate(_SWAPPED)
        elif decimal is None and "," in number:
            raise MappingError(
                f"{where}: {text[:60]!r} has a comma, which may be a decimal sign or one of thousands; state it: "
                "decimal = ',' or '.' under [numbers] (--decimal)"
            )
        if _PLAIN.fullmatch(number) is None or not number.isascii():
            if _GROUPED.fullmatch(number) is None or not number.isascii():
                raise CellError("number", f"{where}: {text[:60]!r} is no number of 0 or more")
            number = number.replace(",", "")
        return Decimal(number)

    return read


def duration_reader(where: str, unit: str, decimal: str | None = None) -> Callable[[str], int]:
    """Reads durations of one unit, in whole milliseconds, halves up.

    Args:
        where: Column and field, for errors.
        unit: One of `UNITS`.
        decimal: Decimal sign of its numbers; None refuses a comma until it is stated.

    Raises:
        MappingError: There is no such unit or decimal sign.
    """
    if unit not in UNITS:
        raise MappingError(f"{where}: unit {unit!r} is not known; use {choice(UNITS)}")
    number = number_reader(where, decimal)

    def ms_of(value: Decimal, text: str) -> int:
        if value > _LONGEST_MS:
            raise CellError("duration", f"{where}: {text[:60]!r} is longer than a hundred years; check the unit")
        return int(value.to_integral_value(ROUND_HALF_UP))

    if unit in _CLOCKS:
        factors = _CLOCKS[unit]

        def of_clock(text: str) -> int:
            parts = text.split(":")
            if len(parts) == 3:
                used: tuple[int, ...] = _CLOCKS["h:mm:ss"]
            elif len(parts) == len(factors):
                used = factors
            else:
                raise CellError("duration", f"{where}: {text[:60]!r} is no duration in the form {unit}")
            values = [number(part) for part in parts]
            if (
                any(value > _LONGEST_MS for value in values)
                or any(value >= 60 for value in values[1:])
                or any(value % 1 for value in values[:-1])
            ):
                raise CellError("duration", f"{where}: {text[:60]!r} is no duration in the form {unit}")
            return ms_of(sum((value * each for value, each in zip(values, used, strict=True)), Decimal()), text)

        return of_clock
    factor = _FACTORS[unit]
    thousandths = unit == "s" and decimal != ","

    def of_number(text: str) -> int:
        # As nearly all are, three times as fast, and as exact: digits, and of seconds up to three more behind a point.
        if len(text) < 7 and text.isascii():
            if text.isdigit():
                return int(text) * factor
            whole, _, part = text.partition(".")
            if thousandths and len(part) < 4 and whole.isdigit() and part.isdigit():
                return int(whole) * 1000 + int(f"{part:<03}")
        if ":" in text:
            raise MappingError(f"{where}: {text[:60]!r} is of a clock; state it: unit = 'mm:ss' or 'h:mm'")
        return ms_of(number(text) * factor, text)

    return of_number
