"""What every board has: links to the others, marks in time, and whether the monitor is live."""

from grafana import signals
from grafana.fields import PanelPlace
from grafana.query import BoardSignal, PanelQuery, ValueWords
from grafana.theme import Board
from grafana.words import NOT_KNOWN
from schemas import words
from schemas.states import AMBER, DOWN, LIGHT_GREY, NEUTRAL, ORANGE, STALE, VERMILLION
from schemas.words import SIGNAL_NAMES, Words

#: From point to point of a window of hours or days: so slow a figure needs no more.
HALF_HOUR = "30m"
#: Name of the uid, and title, in the order of the links.
BOARDS = {
    "operations": Words("Operations", "运营"),
    "site": Words("Site", "站点"),
    "coach": Words("Coach", "辅导"),
    "capacity": Words("Capacity", "产能"),
    "quality": Words("Quality assurance", "质检"),
    "pipeline": Words("Pipeline", "数据管道"),
}


def links(board: Board, own: str) -> None:
    """To every other board, and to this one in the other language."""
    for name, title in BOARDS.items():
        if name != own:
            board.link(title, name)
    board.link(Words("中文", "English"), own, edition="-zh" if board.language == "en" else "")


#: What a drift may be of, as its label says.
DRIFT_SIGNALS: ValueWords = {signal: (words, None) for signal, words in SIGNAL_NAMES.items()}
DIRECTIONS = {"down": (Words("▼ down", "▼ 下降"), None), "up": (Words("▲ up", "▲ 上升"), None)}
DIMENSIONS: ValueWords = {by: (words, None) for by, words in words.DIMENSIONS.items()}
EFFECTS = {
    "rate": (Words("same work, worse", "同类工作变差"), None),
    "mix": (Words("more weak work", "较弱工作变多"), None),
}


#: What a table says of a drift, whatever it is of.
DRIFT = (
    signals.DRIFT_EVIDENCE,
    signals.DRIFT_BEFORE,
    signals.DRIFT_SINCE,
    signals.DRIFT_REVIEWS,
    signals.DRIFT_BEGAN,
)
#: What a table says of a person's accuracy.
PERSON = (
    PanelQuery(signals.AGENT_GAP, Words("Against target", "对照目标")),
    PanelQuery(signals.AGENT_RISK),
    PanelQuery(signals.AGENT_ACCURACY),
    PanelQuery(signals.AGENT_LOWER),
    PanelQuery(signals.AGENT_UPPER),
    PanelQuery(signals.AGENT_REVIEWS),
)
#: Of a table with `signals.DRIFT_ORDER`: marks what belongs to the drift above it.
UNDER = ("under", Words(" ", " "))
#: Of `signals.DRIFT_RIVER`.
RIVER_AGREES: ValueWords = {0: ("", None), 1: (Words("river agrees", "river 一致"), NEUTRAL)}
#: Of `signals.DRIFT_WITHIN`.
NONE_WITHIN: ValueWords = {0: ("", None)}


def drift_keys(board: Board) -> dict[str, dict[str, object]]:
    """Field options of the columns that name a drift, in a table with `UNDER`."""
    return {
        "under": {"custom.width": 36},
        "signal": {"mappings": board.mappings(DRIFT_SIGNALS)},
        "direction": {"mappings": board.mappings(DIRECTIONS)},
    }


def site_keys(board: Board) -> dict[str, dict[str, object]]:
    """Field options of the column that names a site: a link to the Site board."""
    return {"site": {"links": board.cell_link(Words("Open the site", "打开站点"), "site", "site")}}


def person_keys(board: Board, title: Words) -> dict[str, dict[str, object]]:
    """Field options of the column that names a person: a link to the Coach board, under a title."""
    return {"agent": {"links": board.cell_link(title, "coach", "agent", "&var-site=${site:percentencode}")}}


def target(signal: BoardSignal, legend: Words | None = None, of: str | None = None) -> PanelQuery:
    """The dashed line of a target beside its figure; the arguments are those of `PanelQuery`."""
    dashed = {"custom.lineStyle": {"fill": "dash", "dash": [8, 6]}}
    return PanelQuery(signal, legend, of=of, colour=ORANGE, props=dashed)


def from_one(colour: str, calm: str = NEUTRAL) -> dict[str, object]:
    """Grafana's thresholds of a count or share: calm below 1, coloured from 1 on."""
    return {"mode": "absolute", "steps": [{"value": None, "color": calm}, {"value": 1, "color": colour}]}


def worst_and_others(worst: BoardSignal, others: BoardSignal, legend: str) -> list[PanelQuery]:
    """The few worst series in colour, and the others as thin grey lines."""
    return [
        PanelQuery(worst, legend, colour=VERMILLION, shades=True),
        PanelQuery(others, legend, colour=LIGHT_GREY, shades=True, props={"custom.lineWidth": 1}),
    ]


def marks(board: Board, of: str | None = None, began: BoardSignal = signals.DRIFT_BEGAN) -> None:
    """Drifts and starts of workers on every time axis.

    Args:
        board: Which gets them.
        of: Matchers of the drifts; None: those of the board.
        began: When they began.
    """
    board.annotate(
        Words("Drift began", "漂移开始"),
        began,
        "▼ {{site}} {{project}} {{signal}} {{direction}}",
        colour=VERMILLION,
        at_value=True,
        tags="site,project,signal",
        of=of,
    )
    starts(board)


def starts(board: Board) -> None:
    """Starts of workers on every time axis."""
    board.annotate(
        signals.STARTED.name, signals.STARTED, "{{instance}}", colour=LIGHT_GREY, at_value=True, tags="instance"
    )


def monitor(
    board: Board, at: PanelPlace, value_size: int = 40, *, presence: bool = False, of: str | None = None
) -> None:
    """Whether the figures are live: a dead monitor must not look calm.

    Args:
        board: Gets the panel.
        at: Where.
        value_size: Of the figures, pixels.
        presence: The board has figures of presence, and it is said where they are estimates.
        of: Matchers of the sites for that; None: those of the board.
    """
    estimated = PanelQuery(
        signals.ESTIMATED_SITES, signals.ESTIMATED_SITES.name.after("≈"), of=of, instant=True, colour=AMBER
    )
    says = Words(
        "LIVE and how old the oldest event is that is not counted yet. STALE, UNREAD (partitions) or DOWN: what the "
        "board shows is old, partly missing, or nothing at all.",
        "“实时”以及尚未计入的最早事件的时长。“滞后”“未读分区”或“中断”：所示内容陈旧、部分缺失或全无。",
    )
    if presence:
        says = Words(
            f"{says.en} ≈: {estimated.signal.says.en}",
            f"{says.zh}≈：{estimated.signal.says.zh}",
        )
    dead = {1: (Words("■ no figures", "■ 无数字"), VERMILLION)}
    board.stat(
        at,
        Words("Monitor", "监控"),
        [
            PanelQuery(signals.LAG, instant=True, colour=NEUTRAL),
            PanelQuery(signals.LATE, signals.LATE.name.after(STALE.glyph), instant=True, colour=AMBER),
            PanelQuery(signals.UNREAD, signals.UNREAD.name.after("■"), instant=True, colour=AMBER),
            PanelQuery(signals.DOWN, signals.DOWN.name.after(DOWN.glyph), instant=True, mapping=dead),
            *([estimated] if presence else ()),
        ],
        says=says,
        value_size=value_size,
        thresholds=((None, VERMILLION),),
        empty=NOT_KNOWN,
    )
