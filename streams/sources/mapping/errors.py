"""What is wrong with a mapping, which ends the command, and with a cell, which costs its row."""

from streams.sources.errors import SourceError


class MappingError(SourceError):
    """A mapping that cannot be used, or that the data asks more of; the message is a sentence that says what to do."""


class CellError(Exception):
    """A cell that cannot be used, and so its row.

    Args:
        reason: A few words, by which such rows are counted.
        detail: A sentence that names column, value and what to do.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
