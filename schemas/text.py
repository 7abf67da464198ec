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
#: Emoji that are drawn as text unless U+FE0F follows (Unicode's Emoji without Emoji_Presentation; new ones never).
_TEXT_STYLE = (
    "\xa9\xae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u2328\u23cf\u23ed-\u23ef\u23f1\u23f2\u23f8-\u23fa"
    "\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb\u25fc\u2600-\u2604\u260e\u2611\u2618\u261d\u2620\u2622\u2623\u2626"
    "\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u265f\u2660\u2663\u2665\u2666\u2668\u267b\u267e\u2692"
    "\u2694-\u2697\u2699\u269b\u269c\u26a0\u26a7\u26b0\u26b1\u26c8\u26cf\u26d1\u26d3\u26e9\u26f0\u26f1\u26f4"
    "\u26f7-\u26f9\u2702\u2708\u2709\u270c\u270d\u270f\u2712\u2714\u2716\u271d\u2721\u2733\u2734\u2744\u2747"
    "\u2763\u2764\u27a1\u2934\u2935\u2b05-\u2b07\u3030\u303d\u3297\u3299\U0001f170\U0001f171\U0001f17e\U0001f17f"
    "\U0001f202\U0001f237\U0001f321\U0001f324-\U0001f32c\U0001f336\U0001f37d\U0001f396\U0001f397"
    "\U0001f399-\U0001f39b\U0001f39e\U0001f39f\U0001f3cb-\U0001f3ce\U0001f3d4-\U0001f3df\U0001f3f3\U0001f3f5"
    "\U0001f3f7\U0001f43f\U0001f441\U0001f4fd\U0001f549\U0001f54a\U0001f56f\U0001f570\U0001f573-\U0001f579"
    "\U0001f587\U0001f58a-\U0001f58d\U0001f590\U0001f5a5\U0001f5a8\U0001f5b1\U0001f5b2\U0001f5bc"
    "\U0001f5c2-\U0001f5c4\U0001f5d1-\U0001f5d3\U0001f5dc-\U0001f5de\U0001f5e1\U0001f5e3\U0001f5e8\U0001f5ef"
    "\U0001f5f3\U0001f5fa\U0001f6cb\U0001f6cd-\U0001f6cf\U0001f6e0-\U0001f6e5\U0001f6e9\U0001f6f0\U0001f6f3"
)
#: What selects another shape of the character before it: Mongolian's selectors, and the emoji selector.
_SELECTORS = "\u180b-\u180d\u180f\ufe0f"
#: Where joiners and selectors are seen: joiners shape a word or put emoji together, selectors change the letter or sign
#: before them. Elsewhere they make twins that look alike.
_SEEN = (
    f"(?<=[{_SHAPED}])[\u200c\u200d](?=[{_SHAPED}])|(?<=[{_EMOJI}])\u200d(?=[{_EMOJI}])"
    f"|(?<=[\u1820-\u18aa])[\u180b-\u180d\u180f]|(?<=[{_TEXT_STYLE}])\ufe0f|(?<=[#*0-9])\ufe0f(?=\u20e3)"
)
#: Control and format characters (Unicode's Cc and Cf), line and paragraph separators, halves of characters; and what is
#: drawn as nothing: Unicode's Default_Ignorable_Code_Point (Hangul fillers, variation selectors) and the empty Braille
#: cell. Written out, since what is refused may not depend on the Python that reads.
_NEVER = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180e"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
#: What `visible` escapes, and what no identifier may have.
HIDDEN = re.compile(f"[{_NEVER}]|(?!{_SEEN})[\u200c\u200d{_SELECTORS}]")
#: One class of characters, which a scan of much text passes quickly: a backslash, since JSON may escape any character,
#: and all that may hide, joiners and selectors wherever they are. C0 is left out: JSON allows it only escaped.
SUSPECT = re.compile(f"[\\\\\u200c\u200d{_SELECTORS}" + _NEVER.removeprefix("\x00-\x1f") + "]")


def visible(text: str) -> str:
    r"""The text with each character that hides, turns or shows nothing as `\x1b`, `\u202e` and so on."""
    return text if text.isascii() and text.isprintable() else HIDDEN.sub(_escaped, text)


def cell(text: str) -> str:
    """The same for a table that a spreadsheet may open: what it would take for a formula begins with an apostrophe."""
    return f"'{visible(text)}" if text.startswith(_FORMULA) else visible(text)


def choice(values: Iterable[object]) -> str:
    """What may be given, for the end of an error: `a`, `a or b`, `a, b or c`."""
    *others, last = map(str, values)
    return f"{', '.join(others)} or {last}" if others else last


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "backslashreplace").decode("ascii")
