"""Standard output and error on any machine: what their encoding lacks is written in ASCII, in place of an error."""

import codecs
import io
import sys

_ERRORS = "labelwatch-ascii"
#: Signs of the board and of tables, one for one so that columns stay; other characters become escapes, which say which.
_SIGNS = {
    "■": "#", "●": "o", "▼": "v", "▽": "v", "▲": "^", "△": "^", "✓": "+", "☾": "z", "◷": "@", "◔": "@", "≈": "~",
    "━": "-", "─": "-", "┃": "|", "│": "|", "·": ".", "…": "~", "–": "-", "—": "-", "−": "-", "×": "x", "µ": "u",
    "±": "~", "≤": "<", "≥": ">", "→": ">", "←": "<",
    "∞": "8", "“": '"', "”": '"', "‘": "'", "’": "'", "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip  # a table


def prepare() -> None:
    """Makes standard output and error take every character, whatever their encoding (cp1252, latin-1, C)."""
    codecs.register_error(_ERRORS, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def say(text: object, *, err: bool = False) -> None:
    """Writes a line. click's echo takes an encoding of ASCII for a mistake, and writes UTF-8 in its place."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{text}\n")
    # In the order in which a person reads them, where both go to one place.
    stream.flush()


def write_utf_8() -> None:
    """Makes standard output UTF-8: for programs that read JSON, which is nothing else."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lacking), error.end
