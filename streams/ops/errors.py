"""What a command says when it cannot go on: one sentence and an exit code."""

DONE, FAILED, WRONG_USE = 0, 1, 2


class CommandError(Exception):
    """A command that cannot go on.

    Args:
        message: One sentence: what was wrong, where, what to do.
        code: 1 where something failed, 2 where the command was used wrongly.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
