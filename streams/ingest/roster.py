"""Who a tool's users are here: agents and sites from a CSV file; unknown ones get a name and site that say so."""

import csv
from collections.abc import Mapping
from pathlib import Path

from streams.ingest.ledger import RosterEntry

COLUMNS = ("user", "agent_id", "site_id")
_LENGTH_MAX = 128


class RosterError(ValueError):
    """A roster that cannot be used; the message names file, line and remedy."""


class Roster:
    """Users by the tool's number.

    Args:
        people: Who is known.
        source: The tool's name: an unknown user 7 of `ls` is agent `ls-7`, and `ls-nobody` is one who was deleted.
        default_site: Where unknown users count.
    """

    def __init__(self, people: Mapping[int, RosterEntry], source: str, default_site: str) -> None:
        self._people = dict(people)
        self._source = source
        self._default_site = default_site
        #: Users that were asked for and are not known.
        self.unknown: set[int | None] = set()

    def person(self, user: int | None) -> RosterEntry:
        """Who a user is; None is a user that the tool has deleted."""
        if user is not None and (known := self._people.get(user)) is not None:
            return known
        self.unknown.add(user)
        return RosterEntry(self._default_site, f"{self._source}-{'nobody' if user is None else user}")

    def __len__(self) -> int:
        return len(self._people)


def read_roster(path: Path) -> dict[int, RosterEntry]:
    """Reads a roster: columns `user`, `agent_id`, `site_id`; others are left alone.

    Raises:
        RosterError: The file cannot be read, or a line of it is wrong.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise RosterError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RosterError(f"{path} is not UTF-8: save it as CSV UTF-8") from error
    people: dict[int, RosterEntry] = {}
    reader = csv.DictReader(text.splitlines())
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise RosterError(f"{path}: no column {', '.join(missing)}; the first line must name {', '.join(COLUMNS)}")
    for row in reader:
        user, person = _person(path, reader.line_num, row)
        if people.setdefault(user, person) != person:
            raise RosterError(f"{path}, line {reader.line_num}: user {user} is there twice, differently; keep one line")
    return people


def _person(path: Path, line: int, row: dict[str, str | None]) -> tuple[int, RosterEntry]:
    values = [(row[name] or "").strip() for name in COLUMNS]
    if not values[0].isascii() or not values[0].isdecimal():
        raise RosterError(f"{path}, line {line}: user {values[0][:40]!r} is no number; Label Studio's users have one")
    for name, value in zip(COLUMNS[1:], values[1:], strict=True):
        if not 1 <= len(value) <= _LENGTH_MAX or not value.isprintable():
            raise RosterError(f"{path}, line {line}: {name} {value[:40]!r} must have 1 to {_LENGTH_MAX} characters")
    return int(values[0]), RosterEntry(values[2], values[1])
