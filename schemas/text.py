"""Text that others wrote, made safe to show: what moves, hides or turns other text is written out as an escape."""

import re
from collections.abc import Iterable

#: Scripts whose words joiners shape: Arabic, Syriac and the like, those of India, Myanmar, Khmer, Mongolian, Balinese.
_SHAPED = (
    "\u0600-\u07ff\u0840-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18af\u1b00-\u1bff\ua840-\ua8ff"
    "\ufb50-\ufdff\ufe70-\ufefe"
)
#: What a spreadsheet takes for the beginning of a formula; the wide ones where it speaks Chinese or Japanese.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_EMOJI = "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
#: Joiners that shape a word or put emoji together; elsewhere they make twins that look alike.
_JOINING = f"(?<=[{_SHAPED}])[\u200c\u200d](?=[{_SHAPED}])|(?<=[{_EMOJI}])\u200d(?=[{_EMOJI}])"
#: Control and format characters (Unicode's Cc and Cf), line and paragraph separators, halves of characters. Written
#: out, since what is refused may not depend on the Python that reads.
_NEVER = (
    "\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064"
    "\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
#: What `visible` escapes, and what no identifier may have.
HIDDEN = re.compile(f"[{_NEVER}]|(?!{_JOINING})[\u200c\u200d]")
#: One class of characters, which a scan of much text passes quickly: a backslash, since JSON may escape any character,
#: and all that may hide, joiners wherever they are. C0 is left out: JSON allows it only escaped.
SUSPECT = re.compile("[\\\\\u200c\u200d" + _NEVER.removeprefix("\x00-\x1f") + "]")


def visible(text: str) -> str:
    r"""The text with each control, format and bidirectional character as `\x1b`, `\u202e` and so on."""
    return text if text.isprintable() else HIDDEN.sub(_escaped, text)


def cell(text: str) -> str:
    """The same for a table that a spreadsheet may open: what it would take for a formula begins with an apostrophe."""
    return f"'{visible(text)}" if text.startswith(_FORMULA) else visible(text)


def choice(values: Iterable[object]) -> str:
    """What may be given, for the end of an error: `a`, `a or b`, `a, b or c`."""
    *others, last = map(str, values)
    return f"{', '.join(others)} or {last}" if others else last


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "backslashreplace").decode("ascii")
