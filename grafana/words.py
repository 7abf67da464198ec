"""Everything that a board says, in English and in Chinese side by side: neither edition can lack a sentence."""

from typing import Literal, NamedTuple

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Words(NamedTuple):
    """One text in both languages.

    Attributes:
        en: English.
        zh: Simplified Chinese.
    """

    en: str
    zh: str

    def of(self, language: Language) -> str:
        """The text in one language."""
        return self.en if language == "en" else self.zh

    def after(self, glyph: str) -> "Words":
        """The same behind a glyph, which both languages share."""
        return Words(f"{glyph} {self.en}", f"{glyph} {self.zh}")


#: What a figure says where it is absent: too few reviews are no bad accuracy.
NOT_ENOUGH = Words("not enough data", "数据不足")
NOT_KNOWN = Words("■ NOT KNOWN", "■ 未知")
SITE = Words("Site", "站点")
PROJECT = Words("Project", "项目")
MARKET = Words("Market", "市场")
AGENT = Words("Agent", "标注员")
REVIEWER = Words("Reviewer", "质检员")
WINDOW = Words("Window", "时间窗")
