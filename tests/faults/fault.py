"""What a fault is, and the table in which each declares itself."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.harness import (
    Round,
)

Drive = Callable[[Round], None]


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: As the command line and the table have it.
        drive: Drives it.
        about: What is done, for the table.
        weight: Rounds of a hundred.
        topics: Settings of the round's topics, by topic name; `checkpoints` for that one.
    """

    name: str
    drive: Drive
    about: str
    weight: int
    topics: dict[str, dict[str, str]]


#: By name, as the modules are imported.
DECLARED: dict[str, Fault] = {}


def fault(weight: int, about: str, **topics: dict[str, str]) -> Callable[[Drive], Drive]:
    """Declares a fault under its function's name."""

    def declare(drive: Drive) -> Drive:
        DECLARED[drive.__name__] = Fault(drive.__name__, drive, about, weight, topics)
        return drive

    return declare
