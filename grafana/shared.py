"""What every board has: its way to the others, its marks in time, and whether the monitor is alive."""

from grafana import signals
from grafana.states import LIGHT_GREY, NEUTRAL, ORANGE, VERMILLION
from grafana.theme import Board, Place, Query
from grafana.words import NOT_KNOWN, Words

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


def marks(board: Board) -> None:
    """Drifts and starts of workers on every time axis. SOP changes where a board has one site: `sop_marks`."""
    board.annotate(
        Words("Drift began", "漂移开始"),
        signals.DRIFT_BEGAN,
        "▼ {{site}} {{project}} {{signal}} {{direction}}",
        colour=VERMILLION,
        at_value=True,
        tags="site,project,signal",
    )
    board.annotate(
        signals.STARTED.name, signals.STARTED, "{{instance}}", colour=LIGHT_GREY, at_value=True, tags="instance"
    )


def monitor(board: Board, at: Place, value_size: int = 40) -> None:
    """Whether the figures are live: a dead monitor must not look calm."""
    dead = {1: (Words("■ no figures", "■ 无数字"), VERMILLION)}
    board.stat(
        at,
        Words("Monitor", "监控"),
        [
            Query(signals.LAG, instant=True, colour=NEUTRAL),
            Query(signals.LATE, signals.LATE.name.after("◔"), instant=True, colour=ORANGE),
            Query(signals.UNREAD, signals.UNREAD.name.after("■"), instant=True, colour=ORANGE),
            Query(signals.DOWN, signals.DOWN.name.after("■"), instant=True, mapping=dead),
        ],
        says=Words(
            "LIVE and how old the oldest event is that is not counted yet. STALE, PARTITIONS UNREAD or DOWN: what the "
            "board shows is old, partly missing, or nothing at all.",
            "“实时”以及尚未计入的最早事件的时长。“滞后”“分区无人读取”或“中断”：所示内容陈旧、部分缺失或全无。",
        ),
        value_size=value_size,
        thresholds=((None, VERMILLION),),
        empty=NOT_KNOWN,
    )
