"""What a preview says when it cannot go on."""


class PreviewError(Exception):
    """A board cannot be drawn; the message says which board and panel, why, and what to do."""
