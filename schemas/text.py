"""Text that others wrote, made safe to show: what moves, hides or turns other text is written out as an escape."""

import unicodedata

#: Control and format characters, line and paragraph separators, halves of characters.
_HIDDEN = frozenset(("Cc", "Cf", "Zl", "Zp", "Cs"))
#: Between letters these shape a word of Persian, Hindi and others; elsewhere they hide.
_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    r"""The text with each control, format and bidirectional character as `\x1b`, `\u202e` and so on."""
    if text.isprintable():
        return text
    return "".join(
        char
        if unicodedata.category(char) not in _HIDDEN or (char in _JOINERS and _joins(text, place))
        else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for place, char in enumerate(text)
    )


def _joins(text: str, place: int) -> bool:
    sides = text[max(place - 1, 0) : place] + text[place + 1 : place + 2]
    return len(sides) == 2 and all(unicodedata.category(side)[0] in "LM" and ord(side) > 0x24F for side in sides)
