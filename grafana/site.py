"""One site: how bad, since when, and why: parts of the change, projects, errors, people, reviewers, SOP versions."""

from grafana import shared, signals
from grafana.query import PanelQuery
from grafana.theme import Board
from grafana.words import AGENT, MARKET, NOT_KNOWN, PROJECT, REVIEWER, SITE, WINDOW
from schemas.states import BLUE, LIGHT_GREY, ORANGE, SKY, VERMILLION, YELLOW
from schemas.words import Language, Words


def make(language: Language) -> Board:
    """The board in one language."""
    board = Board(
        "site",
        shared.BOARDS["site"],
        Words(
            "For quality managers: why a site is where it is: which part of the work, whose, since when.",
            "供质量经理使用：站点为何如此：哪部分工作、哪些人、从何时起。",
        ),
        language,
        of='site="$site"',
        window="$window",
        refresh="30s",
    )
    board.variable("site", SITE, 'label_values(labelwatch_site_info{site!=""}, site)', multi=False)
    board.choice("window", WINDOW, ("1h", "24h", "7d"), "24h")
    shared.links(board, "site")
    shared.marks(board)
    board.annotate(
        signals.SOP_STARTS.name, signals.SOP_STARTS, "{{project}} {{sop}}", colour=SKY, tags="site,project,sop"
    )
    _head(board)
    _why(board)
    _course(board)
    _parts(board)
    _people(board)
    _work(board)
    return board


def _head(board: Board) -> None:
    board.stat(
        (0, 0, 4, 4),
        Words("State now", "当前状态"),
        [PanelQuery(signals.STATE, instant=True, states=True)],
        value_size=44,
        names=False,
        empty=NOT_KNOWN,
    )
    board.stat(
        (4, 0, 7, 4),
        Words("Accuracy over $window, 95% interval", "$window 准确率，95% 区间"),
        [
            PanelQuery(each, instant=True)
            for each in (signals.SITE_LOWER, signals.SITE_ACCURACY, signals.SITE_UPPER, signals.SITE_SINCE)
        ],
        says=signals.SITE_ACCURACY.says,
    )
    board.stat(
        (11, 0, 5, 4),
        Words("Target and n", "目标与复核数"),
        [PanelQuery(signals.SITE_TARGET, instant=True), PanelQuery(signals.SITE_REVIEWS, instant=True)],
        says=Words(
            "The accuracy that the policy asks for, and the reviews behind the figure beside it.",
            "策略要求的准确率，以及左侧数字所依据的复核数。",
        ),
    )
    board.stat(
        (16, 0, 4, 4),
        Words("Labels an hour", "每小时标注"),
        [PanelQuery(signals.SITE_LABELS_HOUR)],
        names=False,
        sparkline=True,
        change=True,
        empty=Words("no label in the hour", "一小时内无标注"),
    )
    shared.monitor(board, (20, 0, 4, 4), presence=True)


def _why(board: Board) -> None:
    board.table(
        (0, 4, 14, 6),
        Words("What has changed: drifts open now", "发生了什么变化：当前进行中的漂移"),
        [
            shared.UNDER,
            ("project", PROJECT),
            ("agent", Words("Person", "人员")),
            ("signal", Words("What", "指标")),
            ("direction", Words("Moved", "方向")),
        ],
        [
            *(PanelQuery(each) for each in shared.DRIFT),
            PanelQuery(signals.DRIFT_RIVER, mapping=shared.RIVER_AGREES),
        ],
        says=Words(
            "Open drifts of the site, its projects and its people, surest first: from what to what, over how many reviews, since "
            "when. Below each, marked ↳, what belongs to it: the same news, and no incident of its own.",
            "该站点及其项目、人员进行中的漂移，最确定者在前：从多少到多少、基于多少复核、从何时起。其下标有 ↳ 的变化属于它：同一件事，不单独计为事件。",
        ),
        empty=Words("✓ no open drift", "✓ 没有进行中的漂移"),
        order=PanelQuery(signals.DRIFT_ORDER),
        hidden=("site", "budget"),
        key_props=shared.drift_keys(board),
    )
    board.table(
        (14, 4, 10, 6),
        Words("Why: parts of the changes open now", "原因：当前变化的组成"),
        [
            ("project", PROJECT),
            ("signal", Words("Of", "指标")),
            ("by", Words("By", "维度")),
            ("member", Words("Which", "哪个")),
            ("effect", Words("Effect", "效应")),
        ],
        [PanelQuery(signals.DRIFT_CAUSES)],
        empty=Words("✓ no open drift", "✓ 没有进行中的漂移"),
        ascending=True,
        hidden=("site", "budget", "direction", "agent"),
        key_props={
            "signal": {"mappings": board.mappings(shared.DRIFT_SIGNALS)},
            "by": {"mappings": board.mappings(shared.DIMENSIONS)},
            "effect": {"mappings": board.mappings(shared.EFFECTS), "custom.width": 144},
        },
    )


def _course(board: Board) -> None:
    upper = board.say(signals.SITE_UPPER.name)
    board.lines(
        (0, 10, 12, 8),
        Words("Accuracy over $window against target", "$window 准确率对照目标"),
        [
            PanelQuery(signals.SITE_UPPER, colour=SKY, props={"custom.lineWidth": 1}),
            PanelQuery(
                signals.SITE_LOWER,
                colour=SKY,
                props={"custom.lineWidth": 1, "custom.fillBelowTo": upper, "custom.fillOpacity": 15},
            ),
            PanelQuery(signals.SITE_ACCURACY, colour=BLUE, props={"custom.lineWidth": 3}),
            shared.target(signals.SITE_TARGET),
        ],
        says=Words(
            "The band is the 95% interval. Band below the dashed target: proven worse. A gap: too few reviews, or no worker.",
            "色带为 95% 区间。色带低于虚线目标：确实较差。缺口：复核太少或没有监控实例。",
        ),
    )
    board.lines(
        (12, 10, 12, 8),
        Words("Accuracy by project over $window", "$window 各项目准确率"),
        [
            PanelQuery(signals.PROJECTS_WORST, "{{project}}", colour=VERMILLION, shades=True),
            PanelQuery(signals.PROJECTS_OTHER, "{{project}}", colour=LIGHT_GREY, shades=True),
            shared.target(signals.SITE_TARGET, Words("site's target", "站点目标")),
        ],
    )


def _parts(board: Board) -> None:
    board.table(
        (0, 18, 13, 7),
        Words("Projects over $window", "$window 各项目"),
        [("project", PROJECT)],
        [
            PanelQuery(signals.PROJECT_ACCURACY),
            PanelQuery(signals.PROJECT_LOWER),
            PanelQuery(signals.PROJECT_UPPER),
            PanelQuery(signals.PROJECT_TARGET),
            PanelQuery(signals.PROJECT_REVIEWS),
            PanelQuery(signals.PROJECT_LABELS),
        ],
        says=Words(
            "The site's projects, lowest accuracy first. An upper bound below the target is proven worse.",
            "该站点的项目，准确率最低者在前。上限低于目标即确实较差。",
        ),
        ascending=True,
        hidden=("site",),
    )
    board.bars(
        (13, 18, 11, 7),
        Words("Errors by type over $window", "$window 各类错误"),
        [PanelQuery(signals.ERROR_TYPES, "{{error_type}} ({{severity}})", instant=True)],
        empty=Words("no error found in the window", "时间窗内未发现错误"),
    )
    board.table(
        (0, 25, 13, 8),
        Words("Projects by market over $window", "$window 各项目在各市场"),
        [("project", PROJECT), ("market", MARKET)],
        [
            PanelQuery(signals.PART_ACCURACY),
            PanelQuery(signals.PART_LOWER),
            PanelQuery(signals.PART_UPPER),
            PanelQuery(signals.PART_REVIEWS),
        ],
        says=Words(
            "The site's work by project and market, lowest accuracy first; who has too few reviews stands without a figure.",
            "该站点按项目与市场划分的工作，准确率最低者在前；复核太少者没有数字。",
        ),
        ascending=True,
        hidden=("site",),
    )
    board.lines(
        (13, 25, 11, 8),
        Words("Accuracy by market over $window", "$window 各市场准确率"),
        [
            PanelQuery(signals.MARKETS_WORST, "{{market}}", colour=VERMILLION, shades=True),
            PanelQuery(signals.MARKETS_OTHER, "{{market}}", colour=LIGHT_GREY, shades=True),
            shared.target(signals.SITE_TARGET, Words("site's target", "站点目标")),
        ],
    )


def _people(board: Board) -> None:
    board.table(
        (0, 33, 13, 8),
        Words("People at risk over $window", "$window 有风险的人员"),
        [("agent", AGENT)],
        shared.PERSON,
        says=Words(
            "People worst against target first: below 0, the whole 95% interval is below it by so many points. Open a name to "
            "coach. Who has too few reviews is not listed.",
            "相对目标最差的人员在前：低于 0 表示整个 95% 区间低于目标这么多百分点。点击姓名查看辅导。复核太少的人不列出。",
        ),
        ascending=True,
        most=10,
        hidden=("site",),
        key_props=shared.person_keys(board, shared.BOARDS["coach"]),
    )
    board.table(
        (13, 33, 11, 8),
        Words("Reviewers over $window", "$window 质检员"),
        [("agent", REVIEWER)],
        [
            PanelQuery(signals.REVIEWER_DEVIATION),
            PanelQuery(signals.REVIEWER_FOUND),
            PanelQuery(signals.REVIEWER_REVIEWS),
        ],
        says=signals.REVIEWER_DEVIATION.says,
        ascending=True,
        hidden=("site",),
    )


def _work(board: Board) -> None:
    board.table(
        (0, 41, 8, 7),
        Words("SOP versions, all that was counted", "SOP 版本，全部已计数据"),
        [("project", PROJECT), ("sop", Words("SOP version", "SOP 版本"))],
        [PanelQuery(signals.SOP_ACCURACY), PanelQuery(signals.SOP_REVIEWS), PanelQuery(signals.SOP_LABELS)],
        ascending=True,
        hidden=("site",),
    )
    board.table(
        (8, 41, 8, 7),
        Words("Markets over $window", "$window 各市场"),
        [("market", MARKET)],
        [
            PanelQuery(signals.MARKET_ACCURACY),
            PanelQuery(signals.MARKET_LOWER),
            PanelQuery(signals.MARKET_UPPER),
            PanelQuery(signals.MARKET_REVIEWS),
        ],
        ascending=True,
        hidden=("site",),
    )
    board.lines(
        (16, 41, 8, 7),
        Words("People by state, at each moment", "各时刻人员状态"),
        [
            PanelQuery(signals.PEOPLE_PRODUCTIVE, colour=BLUE),
            PanelQuery(signals.PEOPLE_AVAILABLE, colour=SKY),
            PanelQuery(signals.PEOPLE_MEETING, colour=YELLOW),
            PanelQuery(signals.PEOPLE_TRAINING, colour=ORANGE),
            PanelQuery(signals.PEOPLE_BREAK, colour=LIGHT_GREY),
        ],
        says=Words(
            "People logged in, by what they do. Many waiting: work is missing. A step to nothing: an outage.",
            "已登录人员按状态划分。等待者多：缺任务。骤降为零：中断。",
        ),
        stacked="normal",
        empty=Words("☾ nobody is logged in", "☾ 无人登录"),
    )
    board.lines(
        (0, 48, 12, 7),
        Words("Labels a productive hour, over $window", "$window 每生产小时标注"),
        [
            PanelQuery(signals.SITE_SPEED, colour=BLUE),
            PanelQuery(
                signals.SITE_SPEED_OF,
                colour=LIGHT_GREY,
                props={"unit": "percentunit", "custom.axisPlacement": "right", "min": 0, "max": 1},
            ),
        ],
        soft_floor=0,
    )
    board.lines(
        (12, 48, 12, 7),
        Words("Handling time over $window against target", "$window 处理时长对照目标"),
        [
            PanelQuery(signals.SITE_HANDLE, colour=BLUE),
            shared.target(signals.SITE_HANDLE_TARGET),
        ],
        soft_floor=0,
    )
