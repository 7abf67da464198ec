"""The states of a site: code, glyph, word and colour, the same on every board, never by colour alone."""

from typing import NamedTuple

from grafana.words import Words

# Okabe and Ito's colours: told apart with every common kind of colour blindness, and never red beside green.
VERMILLION = "#B24A00"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
# As backgrounds: Grafana writes white on anything darker than this, and white on plain orange cannot be read.
AMBER = "#F2B640"
ORCHID = "#E3A6C8"
BLUE = "#0072B2"
SKY = "#56B4E9"
YELLOW = "#F0E442"
GREY = "#6E6E6E"
LIGHT_GREY = "#999999"
NEUTRAL = "#2B2F36"
DIMMED = "#1B1E23"


class State(NamedTuple):
    """One state of a site, as `site:labelwatch_state:code` gives it.

    Attributes:
        code: Value of the series.
        glyph: Tells it without colour.
        word: Tells it in words.
        colour: Background. Only what is work is bright.
        means: A sentence for the legend.
    """

    code: int
    glyph: str
    word: Words
    colour: str
    means: Words

    @property
    def name(self) -> Words:
        """Glyph and word."""
        return self.word.after(self.glyph)


DRIFT = State(
    5, "▼", Words("DRIFT", "漂移"), VERMILLION, Words("accuracy has changed, and is not chance", "准确率已变，并非偶然")
)
SILENT = State(4, "■", Words("SILENT", "静默"), ORCHID, Words("was at work, sends no labels", "应在工作却无标注"))
BELOW = State(
    3, "▽", Words("BELOW", "低于目标"), AMBER, Words("whole 95% interval below target", "95% 区间全在目标以下")
)
BLIND = State(2, "?", Words("BLIND", "无复核"), GREY, Words("labels flow, too few reviews", "有标注，复核太少"))
UNDECIDED = State(
    1, "≈", Words("near target", "接近目标"), NEUTRAL, Words("target inside the interval", "目标在区间之内")
)
PROVEN = State(0, "✓", Words("at target", "达标"), BLUE, Words("whole interval at or above target", "区间全在目标之上"))
NO_SHIFT = State(-1, "☾", Words("no shift", "无班次"), DIMMED, Words("nobody at work for an hour", "一小时内无人工作"))
#: Worst first, as the wall shows them.
STATES = (DRIFT, SILENT, BELOW, BLIND, UNDECIDED, PROVEN, NO_SHIFT)
#: No code: the series is gone, since no worker shows the site.
UNSEEN = State(
    -2, "·", Words("NOT LIVE", "失联"), GREY, Words("no worker shows the site now", "暂无监控实例提供该站点")
)
