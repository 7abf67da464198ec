"""Reviews of reviews: can the accuracy figures be trusted, is enough reviewed, who is lenient, how late are reviews."""

from grafana import shared, signals
from grafana.query import PanelQuery
from grafana.theme import Board
from grafana.words import REVIEWER, SITE, WINDOW
from schemas.states import BLUE, GREY, LIGHT_GREY, ORANGE, PURPLE, SKY, VERMILLION
from schemas.words import Language, Words


def make(language: Language) -> Board:
    """The board in one language."""
    board = Board(
        "quality",
        shared.BOARDS["quality"],
        Words(
            "For who runs reviews: whether verdicts are right, whether enough work is looked at, and who judges otherwise.",
            "供质检负责人使用：判定是否正确、复核是否足够、谁的尺度不同。",
        ),
        language,
        of='site=~"$site"',
        window="$window",
        refresh="1m",
    )
    board.variable("site", SITE, 'label_values(labelwatch_site_info{site!=""}, site)')
    board.choice("window", WINDOW, ("1h", "24h", "7d"), "24h")
    shared.links(board, "quality")
    shared.marks(board, 'site=~"$site",signal=~"qa_accuracy|error_finding"')
    _head(board)
    _verdicts(board)
    _coverage(board)
    _reviewers(board)
    _delay(board)
    return board


def _head(board: Board) -> None:
    board.stat(
        (0, 0, 6, 4),
        Words("Review accuracy over $window", "$window 质检准确率"),
        [PanelQuery(signals.QA_ACCURACY_ALL, instant=True), PanelQuery(signals.QA_TARGET, instant=True)],
    )
    board.stat(
        (6, 0, 4, 4),
        Words("Coverage over $window", "$window 覆盖率"),
        [PanelQuery(signals.COVERAGE_ALL, instant=True)],
        names=False,
    )
    board.stat(
        (10, 0, 4, 4),
        Words("Label to review, over the range", "标注到复核，时间范围内"),
        [PanelQuery(signals.DELAY_MEDIAN_NOW, instant=True), PanelQuery(signals.DELAY_LATE_NOW, instant=True)],
        says=signals.DELAY_LATE_NOW.says,
        value_size=32,
    )
    board.stat(
        (14, 0, 6, 4),
        Words("Critical errors over $window and most allowed", "$window 严重错误与上限"),
        [PanelQuery(signals.CRITICAL_SHARE, instant=True), PanelQuery(signals.CRITICAL_TARGET, instant=True)],
    )
    shared.monitor(board, (20, 0, 4, 4))


def _verdicts(board: Board) -> None:
    board.table(
        (0, 4, 12, 8),
        Words("Review accuracy by site over $window", "$window 各站点质检准确率"),
        [("site", SITE)],
        [
            PanelQuery(signals.QA_ACCURACY),
            PanelQuery(signals.QA_LOWER),
            PanelQuery(signals.QA_UPPER),
            PanelQuery(signals.QA_AUDITS),
            PanelQuery(signals.QA_SITE_TARGET),
        ],
        says=Words(
            "Lowest first. An upper bound below target: the site's accuracy figures cannot be trusted. Not enough data: audit more.",
            "最低者在前。上限低于目标：该站点的准确率数字不可信。数据不足：增加审核。",
        ),
        ascending=True,
        key_props=shared.site_keys(board),
    )
    board.lines(
        (12, 4, 12, 8),
        Words("Review accuracy over time, $window", "质检准确率走势，$window"),
        [
            PanelQuery(signals.QA_WORST, "{{site}}", colour=VERMILLION, shades=True),
            PanelQuery(signals.QA_OTHER, "{{site}}", colour=LIGHT_GREY, shades=True),
            shared.target(signals.QA_TARGET),
        ],
        interval=shared.HALF_HOUR,
    )


def _coverage(board: Board) -> None:
    board.bars(
        (0, 12, 8, 8),
        Words("Coverage by site over $window, lowest 12", "$window 各站点覆盖率，最低 12 个"),
        [PanelQuery(signals.COVERAGE, "{{site}}", instant=True)],
        links=board.site_link(Words("Open the site", "打开站点")),
    )
    board.lines(
        (8, 12, 8, 8),
        Words("Reviews by sampling, over $window", "按抽样方式的复核，$window"),
        [
            PanelQuery(signals.SAMPLED_RANDOM, colour=BLUE),
            PanelQuery(signals.SAMPLED_STRATIFIED, colour=SKY),
            PanelQuery(signals.SAMPLED_TARGETED, colour=ORANGE),
            PanelQuery(signals.SAMPLED_OTHER, colour=LIGHT_GREY),
        ],
        says=Words(
            "How the reviewed work was chosen. Without random or stratified reviews nothing is known of the work as a whole.",
            "被复核工作的抽取方式。没有随机或分层复核，就无从知道整体情况。",
        ),
        stacked="normal",
        interval=shared.HALF_HOUR,
    )
    board.table(
        (16, 12, 8, 8),
        Words("By whose verdict, over $window", "按判定来源，$window"),
        [("role", Words("Work of", "谁的工作")), ("source", Words("Judged by", "判定来源"))],
        [PanelQuery(signals.SOURCE_ACCURACY), PanelQuery(signals.SOURCE_REVIEWS)],
        ascending=True,
        key_props={
            "role": {"mappings": board.mappings(ROLES)},
            "source": {"mappings": board.mappings(SOURCES)},
        },
    )


ROLES = {"agent": (Words("agents", "标注员"), None), "qa": (Words("reviewers", "质检员"), None)}
SOURCES = {
    "qa": (Words("review", "质检"), None),
    "audit": (Words("audit", "审核"), None),
    "consensus": (Words("consensus", "共识"), None),
    "gold": (Words("gold", "金标"), None),
}


def _reviewers(board: Board) -> None:
    board.bars(
        (0, 20, 7, 9),
        Words("Most lenient over $window, standard errors", "$window 最宽，标准误"),
        [PanelQuery(signals.REVIEWERS_LENIENT, "{{agent}}", instant=True)],
        thresholds=((None, VERMILLION), (-3, GREY)),
        floor=None,
    )
    board.bars(
        (7, 20, 7, 9),
        Words("Strictest over $window, standard errors", "$window 最严，标准误"),
        [PanelQuery(signals.REVIEWERS_STRICT, "{{agent}}", instant=True)],
        thresholds=((None, GREY), (3, PURPLE)),
        floor=None,
    )
    board.table(
        (14, 20, 10, 9),
        Words("Reviewers over $window", "$window 质检员"),
        [("site", SITE), ("agent", REVIEWER)],
        [
            PanelQuery(signals.REVIEWER_DEVIATION),
            PanelQuery(signals.REVIEWER_FOUND),
            PanelQuery(signals.REVIEWER_REVIEWS),
            PanelQuery(signals.REVIEWER_SECONDS, props={"custom.width": 124}),
        ],
        says=signals.REVIEWER_DEVIATION.says,
        ascending=True,
        most=100,
    )


def _delay(board: Board) -> None:
    board.heat(
        (0, 29, 12, 8),
        Words("How old labels are when they are reviewed, each hour", "每小时：标注被复核时的时长"),
        [PanelQuery(signals.DELAY_BUCKETS, "{{le}}")],
        axis_unit="s",
        interval=shared.HALF_HOUR,
        buckets=True,
    )
    board.bars(
        (12, 29, 12, 8),
        Words("Errors by severity over $window", "$window 各级错误"),
        [PanelQuery(signals.SEVERITIES, "{{severity}}", instant=True)],
        empty=Words("no error found in the window", "时间窗内未发现错误"),
    )
