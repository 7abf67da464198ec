"""The wall: which site, how bad, since when, what now, readable from five metres; nothing to scroll at 1920x1080."""

from grafana import shared, signals
from grafana.query import BoardSignal, PanelQuery, ValueWords
from grafana.theme import Board
from grafana.words import NOT_ENOUGH, NOT_KNOWN, PROJECT, SITE
from schemas.states import (
    AMBER,
    AT_TARGET,
    BELOW,
    BLIND,
    BLUE,
    DIMMED,
    DRIFT,
    GREY,
    NEAR,
    NEUTRAL,
    NO_SHIFT,
    ORANGE,
    ORCHID,
    SILENT,
    SITE_STATES,
    SKY,
    UNSEEN,
    VERMILLION,
    SiteStatus,
)
from schemas.words import Language, Words

_SITE = Words("{{site}}", "{{site}}")
#: Names in a table of many columns; without it Grafana gives each 150 pixels, and the last columns are out of sight.
_NAME = {"custom.minWidth": 90}
#: What may wake somebody.
_PAGES = 'site!="",budget="page"'


def make(language: Language) -> Board:
    """The board in one language."""
    board = Board(
        "operations",
        shared.BOARDS["operations"],
        Words(
            "For the person on duty: which site needs somebody now, how bad it is, since when, and what to do.",
            "供值班人员使用：哪个站点现在需要处理、多严重、从何时起、该做什么。",
        ),
        language,
        of='site!=""',
        refresh="10s",
    )
    shared.links(board, "operations")
    shared.marks(board, _PAGES, signals.of_incidents(signals.DRIFT_BEGAN))
    _head(board)
    _sites(board)
    _below(board)
    return board


def _head(board: Board) -> None:
    board.stat(
        (0, 0, 4, 4),
        Words("Drifts open", "进行中的漂移"),
        [PanelQuery(signals.DRIFTS_OPEN, instant=True)],
        value_size=72,
        title_size=22,
        names=False,
        thresholds=((None, NEUTRAL), (1, VERMILLION)),
        empty=NOT_KNOWN,
    )
    board.stat(
        (4, 0, 4, 4),
        Words("Sites below target", "低于目标的站点"),
        [
            PanelQuery(signals.SITES_BELOW, signals.SITES_BELOW.name.after(BELOW.glyph), instant=True),
            PanelQuery(signals.SITES_ALL, instant=True, colour=NEUTRAL),
        ],
        value_size=44,
        title_size=20,
        thresholds=((None, NEUTRAL), (1, AMBER)),
        empty=NOT_KNOWN,
    )
    board.stat(
        (8, 0, 4, 4),
        Words("Silent or blind", "静默或无复核"),
        [
            PanelQuery(
                signals.SITES_SILENT,
                signals.SITES_SILENT.name.after(SILENT.glyph),
                instant=True,
                props={"thresholds": shared.from_one(ORCHID)},
            ),
            PanelQuery(
                signals.SITES_BLIND,
                signals.SITES_BLIND.name.after(BLIND.glyph),
                instant=True,
                props={"thresholds": shared.from_one(GREY)},
            ),
        ],
        value_size=44,
        title_size=20,
        empty=NOT_KNOWN,
    )
    board.stat(
        (12, 0, 6, 4),
        Words("All sites, 24 hours", "全部站点，24 小时"),
        [
            PanelQuery(each, instant=True)
            for each in (signals.COMPANY_LOWER, signals.COMPANY_ACCURACY, signals.COMPANY_UPPER)
        ],
        says=signals.COMPANY_ACCURACY.says,
        value_size=38,
        title_size=20,
    )
    board.stat(
        (18, 0, 3, 4),
        Words("Labels an hour", "每小时标注"),
        [PanelQuery(signals.COMPANY_LABELS)],
        value_size=40,
        title_size=22,
        names=False,
        sparkline=True,
        change=True,
        empty=NOT_KNOWN,
    )
    shared.monitor(board, (21, 0, 3, 4), presence=True)


def _sites(board: Board) -> None:
    nothing = {"nothing": (NOT_ENOUGH, None)}

    interval = Words(*["{{site}} {{low}} – {{high}}"] * 2)
    # 24 hours are of the site, what follows of the project that moved, where it is one.
    since = Words("{{site}} {{day}}, {{project}} since:", "{{site}} {{day}}，{{project}} 此后：")

    def tile(
        signal: BoardSignal,
        state: SiteStatus,
        whose: Words = _SITE,
        *,
        is_calm: bool = False,
        mapping: ValueWords | None = None,
    ) -> PanelQuery:
        # A calm one has its glyph alone, so that the interval has room.
        name = Words(
            *(
                f"{state.glyph} {one if is_calm else f'{word}  {one}'}"
                for word, one in zip(state.word, whose, strict=True)
            )
        )
        mapped = {**(mapping or {}), **nothing}
        return PanelQuery(signal, name, instant=True, colour=state.colour, mapping=mapped)

    asleep = {-1: (NO_SHIFT.name, None)}
    unseen = {"-9..9": (UNSEEN.word, None)}
    board.stat(
        (0, 4, 24, 12),
        Words(
            "Sites, worst first: accuracy of 24 hours and its 95% interval; in a drift, accuracy since the change",
            "站点，最差在前：24 小时准确率及其 95% 区间；漂移时为变化后的准确率",
        ),
        [
            tile(signals.DRIFT_TILE, DRIFT, since),
            tile(signals.SILENT_TILE, SILENT),
            tile(signals.BELOW_TILE, BELOW, interval),
            tile(signals.BLIND_TILE, BLIND),
            tile(signals.UNSEEN_TILE, UNSEEN, mapping=unseen),
            tile(signals.FEW_TILE, NEAR._replace(glyph="…", word=NOT_ENOUGH)),
            tile(signals.UNDECIDED_TILE, NEAR, interval, is_calm=True),
            tile(signals.PROVEN_TILE, AT_TARGET, interval, is_calm=True),
            tile(signals.ASLEEP_TILE, NO_SHIFT, mapping=asleep),
            PanelQuery(signals.MORE_SITES, instant=True, colour=DIMMED),
        ],
        says=Words(
            "A tile a site, worst first: the accuracy of 24 hours with its 95% interval; in a drift the accuracy since the "
            "change, with that of 24 hours behind the name. Grey is unknown, never good. At most 30 sites; the last tile counts "
            "the others. Click for the why.",
            "每个站点一格，最差在前：24 小时准确率及其 95% 区间；漂移时为变化后的准确率，站点名后为 24 小时准确率。灰色表示未知，绝非良好。最多 30 个站点，最后一格为其余站点数。点击查看原因。",
        ),
        value_size=34,
        title_size=22,
        empty=NOT_KNOWN,
        links=board.site_link(Words("Why? Open the site", "为什么?打开站点")),
    )


def _below(board: Board) -> None:
    board.table(
        (0, 16, 18, 6),
        Words("What now", "现在处理"),
        [
            ("site", SITE),
            ("project", PROJECT),
            ("direction", Words("Accuracy", "准确率")),
            ("by", Words("Largest cause", "最大原因")),
            ("member", Words("Which", "哪个")),
            ("effect", Words("Effect", "效应")),
        ],
        [
            PanelQuery(signals.of_incidents(each), of=_PAGES, mapping=mapping)
            for each, mapping in (
                *((each, None) for each in shared.DRIFT),
                (signals.DRIFT_WITHIN, shared.NONE_WITHIN),
                (signals.DRIFT_RIVER, shared.RIVER_AGREES),
                (signals.DRIFT_CAUSE, None),
            )
        ],
        says=Words(
            "The open drifts, surest first: from what to what, over how many reviews, since when, how many changes of projects "
            "and people belong to it, and the largest cause (the same work is done worse, or there is more of the weaker work). "
            "Open the site and follow the runbook.",
            "进行中的漂移，最确定者在前：从多少到多少、基于多少复核、从何时起、所含项目与人员变化数、最大原因（同类工作变差，或较弱的工作变多）。打开站点并按处置手册操作。",
        ),
        empty=Words("✓ No open drift", "✓ 没有进行中的漂移"),
        most=4,
        hidden=("budget", "signal"),
        key_props={
            "site": {**_NAME, "links": board.cell_link(Words("Why? Open the site", "为什么?打开站点"), "site", "site")},
            "project": _NAME,
            "member": _NAME,
            "direction": {"mappings": board.mappings(shared.DIRECTIONS), "custom.width": 78},
            "by": {"mappings": board.mappings(shared.DIMENSIONS), "custom.width": 120},
            "effect": {"mappings": board.mappings(shared.EFFECTS), "custom.width": 144},
        },
    )
    board.timeline(
        (18, 16, 6, 6),
        Words("Last 24 hours, worst sites", "近 24 小时，最差站点"),
        [PanelQuery(signals.STATES_WORST, "{{site}}", states=True)],
    )
    board.bars(
        (0, 22, 10, 5),
        Words("Staffing now: seen working of those logged in, lowest 6", "当前人员：已登录者中在岗比例，最低 6 个"),
        [PanelQuery(signals.SEEN_WORKING, "{{site}}", instant=True)],
        empty=Words("☾ nobody is logged in", "☾ 无人登录"),
        thresholds=((None, ORANGE), (0.7, SKY), (0.9, BLUE)),
        ceiling=1,
        links=board.site_link(Words("Open the site", "打开站点")),
    )
    board.lines(
        (10, 22, 8, 5),
        Words("Reviews flowing", "复核情况"),
        [
            PanelQuery(signals.COMPANY_REVIEWS, colour=BLUE),
            PanelQuery(
                signals.REVIEW_DELAY,
                colour=ORANGE,
                props={"custom.axisPlacement": "right", "custom.lineStyle": {"fill": "dash", "dash": [6, 6]}},
            ),
        ],
        says=Words(
            "Reviews an hour, and how old the labels are that are reviewed. Few or late reviews: accuracy cannot be trusted now.",
            "每小时复核数，以及被复核标注的时长。复核少或晚：当前准确率不可信。",
        ),
        floor=0,
        interval="5m",
    )
    rows = [f"**{each.glyph} {board.say(each.word)}** {board.say(each.means)}" for each in (*SITE_STATES, UNSEEN)]
    between = "; " if board.language == "en" else "；"
    board.note(
        (18, 22, 6, 5),
        Words("Legend", "图例"),
        between.join(rows),
        Words("What the states mean, worst first.", "状态的含义，最差在前。"),
    )
