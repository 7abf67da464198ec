"""The states of a site and of the monitor: glyph, words and colours, once for terminal, boards, alerts and runbooks."""

from typing import NamedTuple

from schemas.words import Words

# Okabe and Ito's colours: told apart with every common kind of colour blindness, and never red beside green.
VERMILLION = "#B24A00"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
BLUE = "#0072B2"
SKY = "#56B4E9"
YELLOW = "#F0E442"
# As backgrounds on a board: Grafana writes white on anything darker than these, and white on plain orange or purple
# cannot be read.
AMBER = "#F2B640"
ORCHID = "#E3A6C8"
GREY = "#6E6E6E"
LIGHT_GREY = "#999999"
NEUTRAL = "#2B2F36"
DIMMED = "#1B1E23"

_BRIGHT = f"bold #000000 on {ORANGE}"
_GREY = f"#ffffff on {GREY}"
_LIVE = f"bold #ffffff on {BLUE}"


class SiteStatus(NamedTuple):
    """One state of a site, as `site:labelwatch_state:code` gives it; never shown by colour alone.

    Attributes:
        code: Value of the series. The greater, the worse.
        glyph: Tells it without colour.
        word: Tells it in words.
        colour: Its background on a board. Only what is work is bright.
        means: A sentence for the board's legend.
        short: Its word in the terminal's narrow column.
        brief: The sentence in the terminal's legend.
        style: Its style in the terminal.
    """

    code: int
    glyph: str
    word: Words
    colour: str
    means: Words
    short: str
    brief: str
    style: str

    @property
    def name(self) -> Words:
        """Glyph and word."""
        return self.word.after(self.glyph)

    @property
    def is_bright(self) -> bool:
        """Whether it must catch the eye in the terminal: the style has a background of its own."""
        return " on " in self.style


DRIFT = SiteStatus(
    5, "▼", Words("DRIFT", "漂移"), VERMILLION,
    Words("accuracy has changed, and is not chance", "准确率已变，并非偶然"),
    "DRIFT", "change proven", f"bold #ffffff on {VERMILLION}",
)  # fmt: skip
SILENT = SiteStatus(
    4, "■", Words("SILENT", "静默"), ORCHID, Words("was at work, sends no labels", "应在工作却无标注"),
    "SILENT", "people work, no labels", f"bold #000000 on {PURPLE}",
)  # fmt: skip
BELOW = SiteStatus(
    3, "▽", Words("BELOW", "低于目标"), AMBER, Words("whole 95% interval below target", "95% 区间全在目标以下"),
    "BELOW", "proven below target", _BRIGHT,
)  # fmt: skip
BLIND = SiteStatus(
    2, "?", Words("BLIND", "无复核"), GREY, Words("labels flow, too few reviews", "有标注，复核太少"),
    "BLIND", "too few reviews", _GREY,
)  # fmt: skip
NEAR = SiteStatus(
    1, "≈", Words("near target", "接近目标"), NEUTRAL, Words("target inside the interval", "目标在区间之内"),
    "near", "target in the interval", "#D8DADF",
)  # fmt: skip
AT_TARGET = SiteStatus(
    0, "✓", Words("at target", "达标"), BLUE, Words("whole interval at or above target", "区间全在目标之上"),
    "above", "proven at or above", SKY,
)  # fmt: skip
NO_SHIFT = SiteStatus(
    -1, "☾", Words("no shift", "无班次"), DIMMED, Words("nobody at work for an hour", "一小时内无人工作"),
    "quiet", "nobody works", "#9AA0A6",
)  # fmt: skip
#: Worst first, as the wall shows them.
SITE_STATES = (DRIFT, SILENT, BELOW, BLIND, NEAR, AT_TARGET, NO_SHIFT)
#: No code: the series is gone, since no worker shows the site.
UNSEEN = SiteStatus(
    -2, "·", Words("NOT LIVE", "失联"), GREY, Words("no worker shows the site now", "暂无监控实例提供该站点"),
    "UNKNOWN", "no figures any more", _GREY,
)  # fmt: skip


class LiveStatus(NamedTuple):
    """Whether the monitor's figures are live, as the terminal says it.

    Attributes:
        glyph: Tells it without colour.
        word: Tells it in words.
        means: A sentence.
        style: Its style in the terminal.
    """

    glyph: str
    word: Words
    means: str
    style: str


LIVE = LiveStatus("●", Words("LIVE", "实时"), "figures are of now", _LIVE)
REPLAY = LiveStatus("◷", Words("REPLAY", "回放"), "figures are of the events' own time", _LIVE)
STARTING = LiveStatus("…", Words("STARTING", "启动中"), "no figures yet", _GREY)
STALE = LiveStatus("◔", Words("STALE", "滞后"), "figures are behind", _BRIGHT)
NO_EVENTS = LiveStatus("■", Words("NO EVENTS", "无事件"), "nothing arrives from any site", _BRIGHT)
DOWN = LiveStatus("■", Words("DOWN", "中断"), "no figures come", _BRIGHT)
