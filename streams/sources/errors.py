"""What a source says when it cannot go on."""


class SourceError(Exception):
    """A source that cannot go on; the message is one sentence that says what to do."""
