"""What boards measure: each signal declared once, from recorded series where there are such, for all boards.

`<of>` stands for the matchers of the sites that a board means, `<window>` for the length of its window. Gauges of a
site are taken by `max by (site)`: one worker has a site whole, and during a hand-over two show it. Sums of additive
gauges are made within a worker first, for the same reason.
"""

from grafana.theme import Signal
from grafana.words import Words

_W = Words

# --- the monitor itself

LAG = Signal(
    _W("LIVE", "实时"),
    _W(
        "Age of the oldest event not counted yet. Above a minute the figures speak of the past.",
        "尚未计入的最早事件的时长。超过一分钟时，数字反映的是过去。",
    ),
    'max(labelwatch_consumer_lag_seconds{job="labelwatch"}) <= 60',
    "s",
    1,
)
LATE = Signal(
    _W("STALE", "滞后"),
    _W("As above, past a minute: the figures are old by this much.", "同上，已超过一分钟：数字滞后这么久。"),
    'max(labelwatch_consumer_lag_seconds{job="labelwatch"}) > 60',
    "s",
    0,
)
DOWN = Signal(
    _W("DOWN", "中断"),
    _W(
        "No worker shows a partition: no figure is live and no drift can be found.",
        "没有监控实例提供任何分区：没有实时数字，也无法发现漂移。",
    ),
    'vector(1) unless on () max(labelwatch_consumer_lag_seconds{job="labelwatch"})',
)
UNREAD = Signal(
    _W("PARTITIONS UNREAD", "分区无人读取"),
    _W("Partitions that no worker reads: their sites are not live.", "没有监控实例读取的分区：其站点不是实时的。"),
    'count(max by (topic, partition) (labelwatch_partition_owned{job="labelwatch"}) == 0)',
    "short",
    0,
)
STARTED = Signal(
    _W("Worker started", "监控实例启动"),
    _W("A worker process began: a deployment or a restart.", "监控进程启动：部署或重启。"),
    'max by (instance) (process_start_time_seconds{job="labelwatch"}) * 1000',
    "dateTimeAsIso",
)

# --- states of sites

STATE = Signal(
    _W("State", "状态"),
    _W(
        "The worst that is true of the site now: drift, silent, below target, blind; else calm or asleep.",
        "站点当前最严重的状况：漂移、静默、低于目标、无复核；否则为平稳或无班次。",
    ),
    "site:labelwatch_state:code{<of>}",
    "short",
    0,
)
_STATE = "site:labelwatch_state:code{<of>}"
_OPEN = (
    'max by (site, project, signal, direction) (last_over_time(labelwatch_drift_active{<of>,budget="page"}[10m])) == 1'
)


def sites_in(codes: str) -> str:
    """PromQL: how many sites are in some states; absent, not 0, where no site has a state."""
    return f"count({_STATE} {codes}) or 0 * count({_STATE})"


DRIFTS_OPEN = Signal(
    _W("Drifts open", "进行中的漂移"),
    _W(
        "Changes of accuracy that the detectors hold for real and that are not over. Any: look at the site now.",
        "检测器确认且尚未结束的准确率变化。只要有，就应立即查看该站点。",
    ),
    f"count({_OPEN}) or 0 * count({_STATE})",
    "short",
    0,
)
SITES_BELOW = Signal(
    _W("below target", "低于目标"),
    _W(
        "Sites whose whole 95% interval over 24 hours is below target: proven worse, not unlucky.",
        "24 小时 95% 区间全部低于目标的站点：确实较差，并非偶然。",
    ),
    sites_in("== 3"),
    "short",
    0,
)
SITES_ALL = Signal(
    _W("of all sites", "全部站点"),
    _W("Sites that a worker shows.", "监控实例提供的站点数。"),
    f"count({_STATE})",
    "short",
    0,
)
SITES_SILENT = Signal(
    _W("silent", "静默"),
    _W("Sites that were at work and send no labels.", "应在工作却没有标注的站点。"),
    sites_in("== 4"),
    "short",
    0,
)
SITES_BLIND = Signal(
    _W("blind", "无复核"),
    _W(
        "Sites whose labels are hardly reviewed: their quality is unknown, not good.",
        "几乎没有复核的站点：质量未知，而非良好。",
    ),
    sites_in("== 2"),
    "short",
    0,
)

#: Sites that fit the wall.
WALL = 30
# State first, then the proven gap; a site asleep last. The lower, the worse.
_RANK = f"(site:labelwatch_accuracy_proven_gap:ratio{{<of>}} - 10 * {_STATE}) or -10 * {_STATE}"


def _tile(code: int, figure: str) -> str:
    """PromQL: the figure of every site in a state, worst first; NaN where there is none, so that no site vanishes."""
    here = f"({_STATE} == {code})"
    return f"sort((({figure}) and on (site) {here} or NaN * {here}) and on (site) bottomk({WALL}, {_RANK}))"


def _change(of: str) -> str:
    """PromQL: by site, the largest change among its open drifts, points."""
    moved = (
        f"last_over_time(labelwatch_drift_current_ratio{{{of}}}[10m])"
        f" - last_over_time(labelwatch_drift_baseline_ratio{{{of}}}[10m])"
    )
    return f"min by (site) ({moved} and (last_over_time(labelwatch_drift_active{{{of}}}[10m]) == 1))"


# The site's own change where that is open, else the worst of its projects.
DRIFT_TILE = Signal(
    _W("Change of accuracy", "准确率变化"),
    _W("Accuracy since the change minus before, points.", "变化后减变化前的准确率，单位为百分点。"),
    _tile(
        5,
        "100 * (" + _change('<of>,budget="page",project=""') + " or " + _change('<of>,budget="page"') + ")",
    ),
    "points",
    1,
)
SILENT_TILE = Signal(
    _W("Since the last label", "距上次标注"),
    _W(
        "Time since the site's last label. Long in a usual hour: an outage.",
        "距站点最后一条标注的时间。平常时段内过长：中断。",
    ),
    _tile(4, 'time() - max by (site) (labelwatch_site_last_event_timestamp_seconds{<of>,type="label_submitted"})'),
    "s",
    0,
)
_GAP = "100 * site:labelwatch_accuracy_proven_gap:ratio{<of>}"
BELOW_TILE = Signal(
    _W("Proven below target", "确定低于目标"),
    _W("Points by which the whole interval stays below target.", "整个区间低于目标的百分点。"),
    _tile(3, _GAP),
    "points",
    1,
)
BLIND_TILE = Signal(
    _W("Reviews", "复核数"),
    _W("Reviews within 24 hours: too few to say anything.", "24 小时内的复核数：太少，无法下结论。"),
    _tile(2, f'max by (site) (labelwatch_site_reviews{{<of>,role="agent",window="24h"}}) or 0 * {_STATE}'),
    "reviews",
    0,
)
UNDECIDED_TILE = Signal(
    _W("Near target", "接近目标"),
    _W("The target lies inside the interval: neither below nor above is proven.", "目标在区间内：高低都未得到证实。"),
    _tile(1, _GAP),
    "points",
    1,
)
PROVEN_TILE = Signal(
    _W("Proven above target", "确定高于目标"),
    _W("Points by which the whole interval stays above target.", "整个区间高于目标的百分点。"),
    _tile(0, _GAP),
    "points",
    1,
)
ASLEEP_TILE = Signal(
    _W("No shift", "无班次"),
    _W("Nobody was at work for an hour.", "一小时内无人工作。"),
    _tile(-1, _STATE),
    "short",
    0,
)
UNSEEN_TILE = Signal(
    _W("Not live", "失联"),
    _W(
        "No worker shows the site now, though one did within the hour: nothing is known of it.",
        "一小时内曾有、现在没有监控实例提供该站点：情况未知。",
    ),
    f"last_over_time({_STATE}[1h]) unless on (site) {_STATE}",
    "short",
    0,
)
MORE_SITES = Signal(
    _W("more sites, none worse", "其余站点，均不更差"),
    _W(
        "Sites that do not fit the wall; all of them rank behind those shown.", "墙上放不下的站点；均排在所示站点之后。"
    ),
    f"count({_STATE}) - {WALL} > 0",
    "short",
    0,
)
STATES_WORST = Signal(
    _W("Worst sites", "最差站点"),
    _W("States of the eight sites that were worst at any time of the range.", "时间范围内曾经最差的八个站点的状态。"),
    f"{_STATE} and on (site) topk(8, max_over_time({_STATE}[$__range] @ end()))",
    "short",
    0,
)

# --- open drifts, a row each

_OF_OPEN = f"and on (site, project, signal, direction) ({_OPEN})"


def _drift(metric: str, how: str = "max") -> str:
    row = f"{how} by (site, project, signal, direction)"
    return f'{row} (last_over_time(labelwatch_drift_{metric}{{<of>,budget="page"}}[10m])) {_OF_OPEN}'


DRIFT_EVIDENCE = Signal(
    _W("Evidence", "证据强度"),
    _W("Statistic over threshold: 1 opens a drift, more is surer.", "统计量与阈值之比：1 即判定漂移，越大越确定。"),
    _drift("evidence"),
    "short",
    1,
)
DRIFT_BEFORE = Signal(
    _W("Before", "此前"),
    _W("Accuracy before the change.", "变化前的准确率。"),
    _drift("baseline_ratio"),
    "percentunit",
    1,
)
DRIFT_SINCE = Signal(
    _W("Since", "此后"),
    _W("Accuracy since the change.", "变化后的准确率。"),
    _drift("current_ratio", "min"),
    "percentunit",
    1,
)
DRIFT_REVIEWS = Signal(
    _W("n", "n"),
    _W("Reviews since the change.", "变化后的复核数。"),
    _drift("reviews"),
    "short",
    0,
)
DRIFT_BEGAN = Signal(
    _W("Began", "开始"),
    _W("When the change began, estimated.", "估计的变化开始时间。"),
    f"1000 * ({_drift('began_timestamp_seconds', 'min')})",
    "dateTimeFromNow",
)
_CAUSE = (
    "sum by (site, project, signal, direction, by, member, effect) (max without (instance, job) "
    '(last_over_time(labelwatch_drift_contribution{<of>,budget="page"}[10m])))'
)
DRIFT_CAUSE = Signal(
    _W("Points of it", "其中点数"),
    _W(
        "The largest part of the change: rate is worse work of the same kind, mix is more of the weaker kind.",
        "变化中最大的部分：rate 指同类工作变差，mix 指较弱的工作变多。",
    ),
    f"100 * ({_CAUSE} and topk by (site, project, signal, direction) (1, abs({_CAUSE}))) {_OF_OPEN}",
    "points",
    1,
)
# --- the whole company

COMPANY_ACCURACY = Signal(
    _W("accuracy", "准确率"),
    _W(
        "Correct share of the reviews of all sites over the window, with its 95% interval. Low: customers get wrong labels.",
        "时间窗内全部站点复核的正确比例及其 95% 区间。过低：客户会得到错误标注。",
    ),
    'company:labelwatch_accuracy:ratio{role="agent",window="<window>"}',
    "percentunit",
    1,
)
COMPANY_LOWER = Signal(
    _W("lower", "下限"),
    _W("Lower bound of the 95% interval.", "95% 区间下限。"),
    'company:labelwatch_accuracy:lower{role="agent",window="<window>"}',
    "percentunit",
    1,
)
COMPANY_UPPER = Signal(
    _W("upper", "上限"),
    _W("Upper bound of the 95% interval.", "95% 区间上限。"),
    'company:labelwatch_accuracy:upper{role="agent",window="<window>"}',
    "percentunit",
    1,
)
COMPANY_LABELS = Signal(
    _W("labels, last hour", "近一小时标注"),
    _W(
        "Labels of all sites within the last hour, and the change since the begin of the range. A fall: work or people are missing.",
        "近一小时全部站点的标注数，以及相对时间范围起点的变化。下降：缺任务或缺人。",
    ),
    'company:labelwatch_labels:sum{window="1h"}',
    "short",
    0,
)
COMPANY_REVIEWS = Signal(
    _W("reviews, last hour", "近一小时复核"),
    _W(
        "Reviews of all sites within the last hour. Few: accuracy cannot be trusted now.",
        "近一小时全部站点的复核数。过少：当前准确率不可信。",
    ),
    'company:labelwatch_headline_reviews:sum{role="agent",window="1h"}',
    "short",
    0,
)
REVIEW_DELAY = Signal(
    _W("median label to review", "标注到复核的中位时长"),
    _W(
        "Half of the reviews look at labels older than this. Long: accuracy speaks of old work.",
        "半数复核针对比这更早的标注。过长：准确率反映的是旧工作。",
    ),
    "histogram_quantile(0.5, sum by (le) (rate(labelwatch_review_delay_seconds_bucket{<of>}[$__rate_interval])))",
    "s",
)

# --- people at work

SEEN_WORKING = Signal(
    _W("Seen working", "在岗比例"),
    _W(
        "People with an event within 15 minutes, as a share of those logged in. Low: logged in and not working, or their events do not arrive.",
        "15 分钟内有事件的人数占已登录人数的比例。过低：登录但未工作，或其事件未到达。",
    ),
    "bottomk(6, clamp_max("
    'max by (site) (labelwatch_site_active_agents{<of>,role="agent",window="15m"}) / on (site) '
    "(max by (site) (sum by (site, instance) "
    '(labelwatch_site_agents{<of>,role="agent",state!="offline"})) > 0), 1))',
    "percentunit",
    0,
)
