"""People and their paid time over four weeks: are they enough, where is time lost, at which hours, and what is the trend."""

from grafana import shared, signals
from grafana.query import PanelQuery
from grafana.theme import Board
from grafana.words import MARKET, NOT_KNOWN, PROJECT, QUEUE, SITE, WINDOW
from schemas.states import BLUE, LIGHT_GREY, ORANGE, SKY, VERMILLION, YELLOW
from schemas.words import Language, Words

DAILY = "1h"
NOT_MEASURED = Words("no queue measured", "未测量队列")


def make(language: Language) -> Board:
    """The board in one language."""
    board = Board(
        "capacity",
        shared.BOARDS["capacity"],
        Words(
            "For planners: is paid time worked, at which sites and hours is it not, how fast is work done, what waits, and which way it goes.",
            "供产能规划人员使用：付费时间是否在工作、哪些站点与时段没有、工作多快、积压多少、走势如何。",
        ),
        language,
        of='site=~"$site"',
        window="$window",
        since="now-28d",
        refresh="5m",
    )
    board.variable("site", SITE, 'label_values(labelwatch_site_info{site!=""}, site)')
    board.choice("window", WINDOW, ("1h", "24h", "7d"), "7d")
    shared.links(board, "capacity")
    shared.marks(board, 'site=~"$site",signal=~"handle_time|accuracy"')
    _head(board)
    _utilization(board)
    _hours(board)
    _time(board)
    _speed(board)
    _sites(board)
    _queues(board)
    return board


def _head(board: Board) -> None:
    for place, signal, steps in (
        ((0, 0, 4, 4), signals.UTILIZATION_ALL, ((None, ORANGE), (0.6, SKY), (0.7, BLUE))),
        ((4, 0, 4, 4), signals.OCCUPANCY_ALL, ((None, SKY),)),
        ((8, 0, 4, 4), signals.WAITING_ALL, ((None, SKY), (0.15, ORANGE))),
        ((12, 0, 4, 4), signals.AWAY_ALL, ((None, SKY),)),
        ((16, 0, 4, 4), signals.SPEED_ALL, ((None, SKY),)),
    ):
        title = Words(f"{signal.name.en}, $window", f"{signal.name.zh}，$window")
        board.stat(place, title, [PanelQuery(signal)], names=False, sparkline=True, filled=False, thresholds=steps)
    shared.monitor(board, (20, 0, 4, 4), presence=True)


def _utilization(board: Board) -> None:
    board.lines(
        (0, 4, 14, 9),
        Words("Utilization by day against target", "每日利用率对照目标"),
        [
            *shared.worst_and_others(signals.UTILIZATION_WORST, signals.UTILIZATION_OTHER, "{{site}}"),
            shared.target(signals.UTILIZATION_TARGET),
        ],
        interval=DAILY,
        legend_right=True,
    )
    board.bars(
        (14, 4, 10, 9),
        Words("Utilization against target over $window, lowest 12", "$window 利用率对照目标，最低 12 个"),
        [PanelQuery(signals.UTILIZATION_GAP, "{{site}}", instant=True)],
        thresholds=((None, ORANGE), (0, BLUE)),
        floor=None,
        links=board.site_link(Words("Open the site", "打开站点")),
    )


def _hours(board: Board) -> None:
    hour = Words("hour of day, UTC", "时刻（UTC）")
    for x, signal in ((0, signals.WAITING_BY_HOUR), (8, signals.LABELS_BY_HOUR), (16, signals.SPEED_BY_HOUR)):
        board.heat((x, 13, 8, 9), signal.name, [PanelQuery(signal, "{{hour}}")], axis=hour, interval="1d")


def _time(board: Board) -> None:
    board.lines(
        (0, 22, 12, 8),
        Words("What paid time goes into, by day", "付费时间的去向，每日"),
        [
            PanelQuery(signals.HOURS_PRODUCTIVE, colour=BLUE),
            PanelQuery(signals.HOURS_AVAILABLE, colour=SKY),
            PanelQuery(signals.HOURS_MEETING, colour=YELLOW),
            PanelQuery(signals.HOURS_TRAINING, colour=ORANGE),
            PanelQuery(signals.HOURS_BREAK, colour=LIGHT_GREY),
        ],
        says=Words(
            "Shares of the logged-in hours that ended within a day. Waiting or training that widens for weeks is capacity lost.",
            "一天内结束的已登录小时的构成。等待或培训持续变宽：产能流失。",
        ),
        stacked="percent",
        interval=DAILY,
    )
    board.lines(
        (12, 22, 12, 8),
        Words("People seen within 24 hours", "24 小时内有活动的人员"),
        [
            PanelQuery(signals.PEOPLE_ALL, Words("agents", "标注员"), colour=BLUE),
            PanelQuery(signals.REVIEWERS_ALL, Words("reviewers", "质检员"), colour=ORANGE),
        ],
        floor=0,
        interval=DAILY,
        empty=NOT_KNOWN,
    )


def _speed(board: Board) -> None:
    board.lines(
        (0, 30, 8, 8),
        Words("Labels a day", "每日标注"),
        [PanelQuery(signals.LABELS_DAY, colour=BLUE)],
        floor=0,
        interval=DAILY,
        empty=NOT_KNOWN,
    )
    board.lines(
        (8, 30, 8, 8),
        Words("Labels a productive hour by day", "每日每生产小时标注"),
        shared.worst_and_others(signals.SPEED_WORST, signals.SPEED_OTHER, "{{site}}"),
        interval=DAILY,
    )
    board.lines(
        (16, 30, 8, 8),
        Words("Handling time by project, by day", "各项目每日处理时长"),
        [
            PanelQuery(signals.HANDLE_WORST, "{{project}}", colour=VERMILLION, shades=True),
            PanelQuery(signals.HANDLE_OTHER, "{{project}}", colour=LIGHT_GREY, shades=True),
            shared.target(signals.HANDLE_TARGET),
        ],
        interval=DAILY,
    )


def _sites(board: Board) -> None:
    board.table(
        (0, 38, 24, 9),
        Words("Sites over $window", "$window 各站点"),
        [("site", SITE), ("vendor", Words("Vendor", "供应商")), ("timezone", Words("Time zone", "时区"))],
        [
            PanelQuery(signals.SITE_UTILIZATION),
            PanelQuery(signals.SITE_ESTIMATED),
            PanelQuery(signals.SITE_OCCUPANCY),
            PanelQuery(signals.SITE_WAITING),
            PanelQuery(signals.SITE_SPEED),
            PanelQuery(signals.SITE_SPEED_OF),
            PanelQuery(signals.SITE_HANDLE),
            PanelQuery(signals.SITE_PEOPLE),
            PanelQuery(signals.SITE_VENDOR),
        ],
        says=Words(
            "Each site's paid time and speed, lowest utilization first. Waiting is the client's to mend, the rest is the site's.",
            "各站点的付费时间与速度，利用率最低者在前。等待由客户解决，其余由站点解决。",
        ),
        ascending=True,
        key_props=shared.site_keys(board),
    )


def _queues(board: Board) -> None:
    board.lines(
        (0, 47, 12, 8),
        Words("Tasks waiting now, by project", "当前等待的任务，按项目"),
        shared.worst_and_others(signals.QUEUE_WAITING_WORST, signals.QUEUE_WAITING_OTHER, "{{site}} {{project}}"),
        floor=0,
        interval=DAILY,
        empty=NOT_MEASURED,
        legend_right=True,
    )
    board.lines(
        (12, 47, 12, 8),
        Words("Tasks that arrive and labels, an hour", "每小时到达的任务与标注"),
        [
            PanelQuery(signals.QUEUE_ARRIVED_ALL, colour=ORANGE),
            PanelQuery(signals.QUEUE_LABELED_ALL, colour=BLUE),
        ],
        says=Words(
            "Of the projects whose queues are measured. Where arrivals stay above labels, queues grow.",
            "仅含已测量队列的项目。到达持续高于标注时，队列增长。",
        ),
        floor=0,
        interval=DAILY,
        empty=NOT_MEASURED,
    )
    board.table(
        (0, 55, 24, 9),
        Words("Queues now, the closest to their target first", "当前队列，最接近目标者在前"),
        [("site", SITE), ("project", PROJECT), ("market", MARKET), ("queue", QUEUE)],
        [
            PanelQuery(signals.QUEUE_OVERDUE, props={"thresholds": shared.from_one(ORANGE, calm=SKY)}),
            PanelQuery(signals.QUEUE_OLDEST),
            PanelQuery(signals.QUEUE_WAITING),
            PanelQuery(signals.QUEUE_ARRIVED),
            PanelQuery(signals.QUEUE_CLEAR),
            PanelQuery(signals.QUEUE_MEASURED),
        ],
        says=Words(
            "Each queue as last measured: how long its oldest task waits, against the policy's turnaround target.",
            "各队列最近一次测量：最早的任务等待多久，对照策略的周转目标。",
        ),
        empty=NOT_MEASURED,
        key_props=shared.site_keys(board),
    )
