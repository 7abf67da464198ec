"""People of one site: who needs coaching, how sure that is, speed beside quality, whose accuracy falls."""

from grafana import shared, signals
from grafana.query import PanelQuery
from grafana.theme import Board
from grafana.words import AGENT, NOT_KNOWN, SITE, WINDOW
from schemas.states import AMBER, BLUE, LIGHT_GREY, ORANGE, SKY, VERMILLION
from schemas.words import Language, Words


def make(language: Language) -> Board:
    """The board in one language."""
    board = Board(
        "coach",
        shared.BOARDS["coach"],
        Words(
            "For team leads and coaches: whom to talk to, about what, and how sure the figures are.",
            "供组长与辅导员使用：该与谁谈、谈什么、数字有多确定。",
        ),
        language,
        of='site="$site",agent=~"$agent"',
        window="$window",
        since="now-7d",
        refresh="1m",
    )
    board.variable("site", SITE, 'label_values(labelwatch_site_info{site!=""}, site)', multi=False)
    board.variable("agent", AGENT, 'label_values(labelwatch_agent_reviews{site="$site",role="agent"}, agent)')
    board.choice("window", WINDOW, ("1h", "24h", "7d"), "7d")
    shared.links(board, "coach")
    shared.marks(board)
    _head(board)
    _who(board)
    _drifts(board)
    _course(board)
    return board


def _head(board: Board) -> None:
    board.stat(
        (0, 0, 15, 4),
        Words("People over $window", "$window 人员"),
        [
            PanelQuery(signals.PEOPLE_ENOUGH, instant=True),
            PanelQuery(signals.PEOPLE_TOO_FEW, signals.PEOPLE_TOO_FEW.name.after("?"), instant=True),
            PanelQuery(signals.PEOPLE_RISK, instant=True, props={"thresholds": shared.from_one(AMBER)}),
            PanelQuery(
                signals.PEOPLE_BELOW,
                signals.PEOPLE_BELOW.name.after("▽"),
                instant=True,
                props={"thresholds": shared.from_one(VERMILLION)},
            ),
        ],
        says=Words(
            "How many people the figures speak of. Proven below target: talk to them first. Not enough data: review more "
            "of their work before a word is said.",
            "数字涉及多少人。确定低于目标：先与其沟通。数据不足：先增加复核再下结论。",
        ),
        empty=NOT_KNOWN,
    )
    board.stat(
        (15, 0, 5, 4),
        Words("Accuracy over $window and the site's target", "$window 准确率与站点目标"),
        [
            PanelQuery(signals.PEOPLE_ACCURACY, instant=True),
            PanelQuery(signals.SITE_TARGET, of='site="$site"', instant=True),
        ],
    )
    shared.monitor(board, (20, 0, 4, 4), presence=True, of='site="$site"')


def _who(board: Board) -> None:
    board.table(
        (0, 4, 15, 11),
        Words("People, worst against target first", "人员，相对目标最差者在前"),
        [("agent", AGENT)],
        [
            *shared.PERSON,
            PanelQuery(signals.AGENT_SPEED, Words("Labels/h", "标注/小时")),
            PanelQuery(signals.AGENT_HANDLE),
            PanelQuery(signals.AGENT_UTILIZATION),
        ],
        says=Words(
            "A hundred people at most, by the points from the target to the upper bound of the interval: below 0 is proven, all "
            "else may be luck. Who has too few reviews is not listed.",
            "最多一百人，按区间上限与目标相差的百分点排列：低于 0 才是确定，其余可能是运气。复核太少的人不列出。",
        ),
        ascending=True,
        hidden=("site",),
        key_props=shared.person_keys(board, Words("Only this person", "只看此人")),
    )
    board.scatter(
        (15, 4, 9, 11),
        Words("Speed against quality", "速度与质量"),
        "agent",
        AGENT,
        (PanelQuery(signals.SCATTER_SPEED), PanelQuery(signals.SCATTER_ACCURACY)),
        says=Words(
            "A point a person. Right and low: haste, slow down. Left and low: train. Left and high: careful, or hard work. "
            "Who has too few reviews has no point.",
            "每点一人。右下：赶工，应放慢。左下：需培训。左上：认真，或任务难。复核太少的人没有点。",
        ),
    )


def _drifts(board: Board) -> None:
    # Those of the site itself, too, for what belongs to them.
    people = 'site="$site",project="",agent=~"$agent|"'
    board.table(
        (0, 15, 13, 7),
        Words("People whose work has changed, drifts open now", "工作发生变化的人员（当前进行中）"),
        [
            shared.UNDER,
            ("agent", Words("Person", "人员")),
            ("signal", Words("What", "指标")),
            ("direction", Words("Moved", "方向")),
        ],
        [PanelQuery(each, of=people) for each in shared.DRIFT],
        says=Words(
            "Open drifts of people, surest first: what changed, from what to what, since when. Ask what happened then. Without "
            "a person: the site's own. Below it, marked ↳, the people whose change belongs to it: the cause is likely not theirs.",
            "人员进行中的漂移，最确定者在前：什么变了、从多少到多少、从何时起。先问当时发生了什么。没有人员名：站点自身的漂移。其下标有 ↳ 的人员变化属于它：原因很可能不在个人。",
        ),
        empty=Words("✓ nobody's work has changed", "✓ 没有人的工作发生变化"),
        order=PanelQuery(signals.DRIFT_ORDER, of=people),
        hidden=("site", "budget", "project"),
        key_props=shared.drift_keys(board),
    )
    board.bars(
        (13, 15, 11, 7),
        Words("Last 24 hours against 7 days, lowest 10", "近 24 小时对照 7 天，最低 10 人"),
        [PanelQuery(signals.AGENTS_FALLING, "{{agent}}", instant=True)],
        thresholds=((None, ORANGE), (0, BLUE)),
        floor=None,
    )


def _course(board: Board) -> None:
    board.lines(
        (0, 22, 12, 8),
        Words("Accuracy of those worst against target, over $window", "相对目标最差者的准确率，$window"),
        [
            PanelQuery(signals.AGENTS_AT_RISK, "{{agent}}", colour=VERMILLION, shades=True),
            shared.target(signals.SITE_TARGET, of='site="$site"'),
        ],
        legend_right=True,
        interval=shared.HALF_HOUR,
    )
    board.lines(
        (12, 22, 12, 8),
        Words("Their labels a productive hour, over $window", "其每生产小时标注，$window"),
        [PanelQuery(signals.AGENTS_RISK_SPEED, "{{agent}}", colour=BLUE, shades=True)],
        legend_right=True,
        soft_floor=0,
        interval=shared.HALF_HOUR,
    )
    board.bars(
        (0, 30, 12, 8),
        Words("Slowest 10 over $window", "$window 最慢 10 人"),
        [PanelQuery(signals.AGENTS_SLOWEST, "{{agent}}", instant=True)],
        thresholds=((None, SKY),),
    )
    board.bars(
        (12, 30, 12, 8),
        Words("Lowest utilization over $window", "$window 利用率最低"),
        [PanelQuery(signals.AGENTS_IDLE, "{{agent}}", instant=True)],
        thresholds=((None, LIGHT_GREY),),
        ceiling=1,
    )
