"""What boards measure: each signal declared once, from recorded series where there are such, for all boards.

`<of>` is replaced by the matchers of the sites that a board means, `<window>` by the length of its window. Gauges of a
site are taken by `max by (site)`: one worker has a site whole, and during a hand-over two show it. Sums of additive
gauges are made within a worker first, for the same reason.
"""

from dataclasses import replace

from grafana.query import BoardSignal
from schemas import conditions, states
from schemas.conditions import DRIFT_BRIDGED
from schemas.words import Words

_W = Words

# --- the monitor itself

_STALE = conditions.FIGURES_STALE
_LAG = 'max(labelwatch_figures_lag_seconds{job="labelwatch"})'
LAG = BoardSignal(
    states.LIVE.word,
    _W(
        f"Age of the oldest event not counted yet. Above {_STALE.said.en} the figures speak of the past.",
        f"尚未计入的最早事件的时长。超过{_STALE.said.zh}时，数字反映的是过去。",
    ),
    f"{_LAG} {_STALE.is_good}",
    "s",
    1,
)
LATE = BoardSignal(
    states.STALE.word,
    _W(
        f"As above, past {_STALE.said.en}: the figures are old by this much.",
        f"同上，已超过{_STALE.said.zh}：数字滞后这么久。",
    ),
    f"{_LAG} {_STALE.is_bad}",
    "s",
    0,
)
DOWN = BoardSignal(
    states.DOWN.word,
    _W(
        "No worker shows a partition: no figure is live and no drift can be found.",
        "没有监控实例提供任何分区：没有实时数字，也无法发现漂移。",
    ),
    f"vector(1) unless on () {_LAG}",
)
UNREAD = BoardSignal(
    _W("UNREAD", "未读分区"),
    _W("Partitions that no worker reads: their sites are not live.", "没有监控实例读取的分区：其站点不是实时的。"),
    'count(max by (topic, partition) (labelwatch_partition_owned{job="labelwatch"}) == 0)',
    "short",
    0,
)
STARTED = BoardSignal(
    _W("Worker started", "监控实例启动"),
    _W("A worker process began: a deployment or a restart.", "监控进程启动：部署或重启。"),
    'max by (instance) (process_start_time_seconds{job="labelwatch"}) * 1000',
    "dateTimeAsIso",
)

# --- states of sites

STATE = BoardSignal(
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


def sites_in(codes: str) -> str:
    """PromQL: how many sites are in some states; absent, not 0, where no site has a state."""
    return f"count({_STATE} {codes}) or 0 * count({_STATE})"


DRIFTS_OPEN = BoardSignal(
    _W("Drifts open", "进行中的漂移"),
    _W(
        "Changes of accuracy that the detectors hold for real and that are not over; a site's with those of its projects is "
        "one, as it is one page. Any: look at the site now.",
        "检测器确认且尚未结束的准确率变化；站点与其项目的同一变化计为一次，只告警一次。只要有，就应立即查看该站点。",
    ),
    f"count(count by (incident) (incident:labelwatch_drift_active:max{{<of>}} == 1)) or 0 * count({_STATE})",
    "short",
    0,
)
SITES_BELOW = BoardSignal(
    _W("below target", "低于目标"),
    _W(
        "Sites whose whole 95% interval over 24 hours is below target: proven worse, not unlucky.",
        "24 小时 95% 区间全部低于目标的站点：确实较差，并非偶然。",
    ),
    sites_in("== 3"),
    "short",
    0,
)
SITES_ALL = BoardSignal(
    _W("of all sites", "全部站点"),
    _W("Sites that a worker shows.", "监控实例提供的站点数。"),
    f"count({_STATE})",
    "short",
    0,
)
SITES_SILENT = BoardSignal(
    _W("silent", "静默"),
    _W("Sites that were at work and send no labels.", "应在工作却没有标注的站点。"),
    sites_in("== 4"),
    "short",
    0,
)
SITES_BLIND = BoardSignal(
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
# SiteStatus first, then the proven gap; a site asleep last. The lower, the worse.
_RANK = f"(site:labelwatch_accuracy_proven_gap:ratio{{<of>}} - 10 * {_STATE}) or -10 * {_STATE}"


_REVIEWS_NOW = f'max by (site) (labelwatch_site_reviews{{<of>,role="agent",window="24h"}}) or 0 * {_STATE}'


def _tile(code: int, figure: str, *, every: bool = True) -> str:
    """PromQL: the figure of the sites in a state, worst first; with `every`, NaN where there is none: no site vanishes."""
    here = f"({_STATE} == {code})"
    found = f"({figure}) and on (site) {here}" + (f" or on (site) NaN * {here}" if every else "")
    return f"sort(({found}) and on (site) bottomk({WALL}, {_RANK}))"


_OF_A_DAY = '{<of>,role="agent",window="24h"}'


def _shown(ratio: str) -> str:
    """PromQL: percent to a tenth, for a label; what is below 100 never reads 100."""
    return f"(clamp_max(round(100 * {ratio}, 0.1), 99.9) + 0.1 * ({ratio} >= bool 1))"


def _of_day(metric: str = "labelwatch_site_accuracy_ratio") -> str:
    return f"max by (site) ({metric}{_OF_A_DAY})"


#: PromQL: accuracy of 24 hours by site, with the bounds of its interval, percent, as labels `low` and `high`.
_JUDGED = (
    f"{_of_day()}"
    f' * on (site) group_right () count_values by (site) ("low", {_shown(_of_day("labelwatch_site_accuracy_lower_ratio"))})'
    f' * on (site) group_right (low) count_values by (site) ("high", {_shown(_of_day("labelwatch_site_accuracy_upper_ratio"))})'
)
#: PromQL: 1 by site, with the accuracy of 24 hours as label `day`.
_DAY = f'label_replace(count_values by (site) ("day", {_shown(_of_day())}), "day", "24 h $1%", "day", "(.+)")'


def _of_pages(figure: str, more: str = "") -> str:
    """PromQL: a figure of the drifts that page, each for itself."""
    series = f'{figure}{{<of>,budget="page"{more}}}'
    return f"max by (site, project, signal, direction) (last_over_time({series}[{DRIFT_BRIDGED}]))"


def _moved(more: str = "") -> str:
    """PromQL: how far each of them has moved, 0 to 1, while it is open."""
    moved = (
        f"{_of_pages('labelwatch_drift_current_ratio', more)} - {_of_pages('labelwatch_drift_baseline_ratio', more)}"
    )
    return f"({moved} and ({_of_pages('labelwatch_drift_active', more)} {conditions.DRIFT_OPEN.is_bad}))"


_OWN = ',project=""'
# The site's own drift before those of its projects, else the one that moved furthest down.
_SINCE = (
    f"max by (site, project) ({_of_pages('labelwatch_drift_current_ratio')}"
    f" and bottomk by (site) (1, {_moved(_OWN)} - 10 or {_moved()}))"
)
DRIFT_TILE = BoardSignal(
    _W("Accuracy since the change", "变化后的准确率"),
    _W(
        "Accuracy since the change of the site, or of the project that moved; beside it the accuracy of 24 hours.",
        "站点（或发生变化的项目）变化后的准确率；旁边为 24 小时准确率。",
    ),
    _tile(5, f"{_SINCE} * on (site) group_left (day) ({_DAY} or on (site) 1 + 0 * {_STATE})"),
    "percentunit",
    1,
)
SILENT_TILE = BoardSignal(
    _W("Since the last label", "距上次标注"),
    _W(
        "Time since the site's last label. Long in a usual hour: an outage.",
        "距站点最后一条标注的时间。平常时段内过长：中断。",
    ),
    _tile(4, 'time() - max by (site) (labelwatch_site_last_event_timestamp_seconds{<of>,type="label_submitted"})'),
    "s",
    0,
)
BELOW_TILE = BoardSignal(
    _W("Accuracy, proven below target", "准确率，确定低于目标"),
    _W("Accuracy of 24 hours and its interval, all of it below target.", "24 小时准确率及其区间，区间全部低于目标。"),
    _tile(3, _JUDGED),
    "percentunit",
    1,
)
BLIND_TILE = BoardSignal(
    _W("Reviews", "复核数"),
    _W("Reviews within 24 hours: too few to say anything.", "24 小时内的复核数：太少，无法下结论。"),
    _tile(2, _REVIEWS_NOW),
    "n =",
    0,
)
FEW_TILE = BoardSignal(
    _W("Reviews", "复核数"),
    _W(
        "Reviews within 24 hours of a site whose work is too little to judge: no accuracy, good or bad.",
        "工作量太少而无法判断的站点的 24 小时复核数：没有准确率，也谈不上好坏。",
    ),
    _tile(1, f"({_REVIEWS_NOW}) unless on (site) site:labelwatch_accuracy_proven_gap:ratio{{<of>}}", every=False),
    "n =",
    0,
)
UNDECIDED_TILE = BoardSignal(
    _W("Accuracy, near target", "准确率，接近目标"),
    _W(
        "Accuracy of 24 hours and its interval, which holds the target: neither below nor above is proven.",
        "24 小时准确率及其区间；目标在区间内：高低都未得到证实。",
    ),
    _tile(1, _JUDGED, every=False),
    "percentunit",
    1,
)
PROVEN_TILE = BoardSignal(
    _W("Accuracy, proven at target", "准确率，确定达标"),
    _W(
        "Accuracy of 24 hours and its interval, all of it at or above target.",
        "24 小时准确率及其区间，区间全部达到目标。",
    ),
    _tile(0, _JUDGED),
    "percentunit",
    1,
)
ASLEEP_TILE = BoardSignal(
    _W("No shift", "无班次"),
    _W("Nobody was at work for an hour.", "一小时内无人工作。"),
    _tile(-1, _STATE),
    "short",
    0,
)
UNSEEN_TILE = BoardSignal(
    _W("Not live", "失联"),
    _W(
        "No worker shows the site now, though one did within the hour: nothing is known of it.",
        "一小时内曾有、现在没有监控实例提供该站点：情况未知。",
    ),
    f"last_over_time({_STATE}[1h]) unless on (site) {_STATE}",
    "short",
    0,
)
MORE_SITES = BoardSignal(
    _W("more sites, none worse", "其余站点，均不更差"),
    _W(
        "Sites that do not fit the wall; all of them rank behind those shown.", "墙上放不下的站点；均排在所示站点之后。"
    ),
    f"count({_STATE}) - {WALL} > 0",
    "short",
    0,
)
STATES_WORST = BoardSignal(
    _W("Worst sites", "最差站点"),
    _W("States of the eight sites that were worst at any time of the range.", "时间范围内曾经最差的八个站点的状态。"),
    f"{_STATE} and on (site) topk(8, max_over_time({_STATE}[$__range] @ end()))",
    "short",
    0,
)

# --- open drifts, a row each

_KEYS = "site, project, agent, signal, direction, budget"
_DRIFTING = (
    f"(max by ({_KEYS}) (last_over_time(labelwatch_drift_active{{<of>}}[{DRIFT_BRIDGED}]))"
    f" {conditions.DRIFT_OPEN.is_bad})"
)


def _drift(metric: str, how: str = "max") -> str:
    """PromQL: a figure of every open drift, through a hand-over and a restart of Prometheus as the alert does."""
    return f"{how} by ({_KEYS}) (last_over_time({metric}{{<of>}}[{DRIFT_BRIDGED}])) and {_DRIFTING}"


#: PromQL: the ids of open drifts; the last known ones while nobody shows the site.
_IDS = (
    f"(labelwatch_drift_info{{<of>}} or (last_over_time(labelwatch_drift_info{{<of>}}[{DRIFT_BRIDGED}])"
    ' unless on (site) labelwatch_site_info{site!=""}))'
)
_BY_ID = 'label_replace({}, "parent", "$1", "drift_id", "(.+)")'
#: PromQL: 1 for each open drift that belongs to another one that is open, too.
_UNDER = f"(max by ({_KEYS}) (max by ({_KEYS}, parent) ({_IDS}) and on (parent) {_BY_ID.format(_IDS)}))"


DRIFT_EVIDENCE = BoardSignal(
    _W("Evidence", "证据强度"),
    _W("Statistic over threshold: 1 opens a drift, more is surer.", "统计量与阈值之比：1 即判定漂移，越大越确定。"),
    _drift("labelwatch_drift_evidence"),
    "short",
    1,
)
DRIFT_BEFORE = BoardSignal(
    _W("Before", "此前"),
    _W(
        "The rate before the change; for handling time 100%.",
        "变化前的比率；处理时长记为 100%。",
    ),
    _drift("labelwatch_drift_baseline_ratio"),
    "percentunit",
    1,
)
DRIFT_SINCE = BoardSignal(
    _W("Since", "此后"),
    _W("The rate since the change; for handling time relative to before.", "变化后的比率；处理时长为相对此前的值。"),
    _drift("labelwatch_drift_current_ratio", "min"),
    "percentunit",
    1,
)
DRIFT_REVIEWS = BoardSignal(
    _W("n", "n"),
    _W("Reviews, or labels, since the change.", "变化后的复核数或标注数。"),
    _drift("labelwatch_drift_reviews"),
    "short",
    0,
)
DRIFT_BEGAN = BoardSignal(
    _W("Began", "开始"),
    _W("When the change began, estimated.", "估计的变化开始时间。"),
    f"1000 * ({_drift('labelwatch_drift_began_timestamp_seconds', 'min')})",
    "dateTimeFromNow",
)
_STREAM = "site, project, agent, signal, direction"
_RIVER_TOO = (
    f'max by ({_STREAM}) (last_over_time(labelwatch_river_drift_active{{site=~".+"}}[{DRIFT_BRIDGED}]))'
    f" {conditions.RIVER_DRIFT_OPEN.is_bad}"
)
DRIFT_RIVER = BoardSignal(
    _W("Second opinion", "第二意见"),
    _W(
        "Whether the detector of river that the policy names has the same drift open: a second opinion, no promise.",
        "策略中指定的 river 检测器是否也检出同一漂移：仅为第二意见，不作保证。",
    ),
    f"({_DRIFTING} and on ({_STREAM}) ({_RIVER_TOO})) or 0 * {_DRIFTING}",
    "short",
    0,
)
_EVIDENCE = f"({DRIFT_EVIDENCE.expr})"
_OF_PARENT = f"max by (parent) ({_BY_ID.format(f'{_IDS} * on ({_KEYS}) group_left () {_EVIDENCE}')})"
DRIFT_ORDER = BoardSignal(
    _W("Order", "次序"),
    _W(
        "Surest first, and below each drift those that belong to it, with the label `under`.",
        "最确定者在前，其下为属于它的变化，带标签 under。",
    ),
    # Just below the parent's evidence, the surer the nearer.
    f"label_replace(max by ({_KEYS}) (max by ({_KEYS}, parent) ({_IDS}) * on (parent) group_left () {_OF_PARENT})"
    f' - 1e-6 / (1 + {_EVIDENCE}), "under", "↳", "", "") or on ({_KEYS}) {_EVIDENCE}',
    "short",
)
DRIFT_WITHIN = BoardSignal(
    _W("Within it", "所含"),
    _W(
        "Open drifts of projects and people that belong to this one: the Site board has them below it.",
        "属于此漂移的项目与人员变化数：站点看板上列于其下。",
    ),
    f"max by ({_KEYS}) ({_IDS} * on (drift_id) group_left () label_replace(count by (parent) (max by ({_KEYS}, parent) ("
    + _IDS.replace("<of>", 'site!="",parent!="",signal!="accuracy_target"')
    + f')), "drift_id", "$1", "parent", "(.+)")) or 0 * {_DRIFTING}',
    "short",
    0,
)


def of_incidents(signal: BoardSignal) -> BoardSignal:
    """A figure of open drifts without those that belong to another one."""
    return replace(signal, expr=f"({signal.expr}) unless on ({_KEYS}) {_UNDER}")


_CAUSE = (
    f"sum by ({_KEYS}, by, member, effect) (max without (instance, job) "
    f"(last_over_time(labelwatch_drift_contribution{{<of>}}[{DRIFT_BRIDGED}])))"
)
DRIFT_CAUSE = BoardSignal(
    _W("Points", "点数"),
    _W(
        "The largest part of the change: rate is worse work of the same kind, mix is more of the weaker kind.",
        "变化中最大的部分：rate 指同类工作变差，mix 指较弱的工作变多。",
    ),
    f"100 * ({_CAUSE} and topk by ({_KEYS}) (1, abs({_CAUSE}))) and on ({_KEYS}) {_DRIFTING}",
    "points",
    1,
)
DRIFT_CAUSES = BoardSignal(
    _W("Part of the change", "变化中的份额"),
    _W(
        "Parts of the open changes, in points: rate is worse work of the same kind (train, coach), mix is more of the "
        "weaker kind (nobody does worse: look at routing). Far from 0: start there.",
        "进行中变化的各部分，单位为百分点：rate 指同类工作变差（培训、辅导），mix 指较弱的工作变多（没有人变差：检查任务分配）。离 0 越远越应先处理。",
    ),
    f"100 * {_CAUSE} and on ({_KEYS}) {_DRIFTING}",
    "points",
    1,
)

# --- the whole company

COMPANY_ACCURACY = BoardSignal(
    _W("accuracy", "准确率"),
    _W(
        "Correct share of the reviews of all sites over the window, with its 95% interval. Low: customers get wrong labels.",
        "时间窗内全部站点复核的正确比例及其 95% 区间。过低：客户会得到错误标注。",
    ),
    'company:labelwatch_accuracy:ratio{role="agent",window="<window>"}',
    "percentunit",
    1,
)
COMPANY_LOWER = BoardSignal(
    _W("lower", "下限"),
    _W("Lower bound of the 95% interval.", "95% 区间下限。"),
    'company:labelwatch_accuracy:lower{role="agent",window="<window>"}',
    "percentunit",
    1,
)
COMPANY_UPPER = BoardSignal(
    _W("upper", "上限"),
    _W("Upper bound of the 95% interval.", "95% 区间上限。"),
    'company:labelwatch_accuracy:upper{role="agent",window="<window>"}',
    "percentunit",
    1,
)
COMPANY_LABELS = BoardSignal(
    _W("labels, last hour", "近一小时标注"),
    _W(
        "Labels of all sites within the last hour, and the change since the begin of the range. A fall: work or people are missing.",
        "近一小时全部站点的标注数，以及相对时间范围起点的变化。下降：缺任务或缺人。",
    ),
    'company:labelwatch_labels:sum{window="1h"}',
    "short",
    0,
)
COMPANY_REVIEWS = BoardSignal(
    _W("reviews, last hour", "近一小时复核"),
    _W(
        "Reviews of all sites within the last hour. Few: accuracy cannot be trusted now.",
        "近一小时全部站点的复核数。过少：当前准确率不可信。",
    ),
    'company:labelwatch_headline_reviews:sum{role="agent",window="1h"}',
    "short",
    0,
)
_DELAYS = "sum by (le) (site:labelwatch_review_delay_seconds_bucket:increase1h{<of>})"
_DELAYS_OF_RANGE = "sum by (le) (increase(site:labelwatch_review_delay_seconds_bucket:max{<of>}[$__range]))"
REVIEW_DELAY = BoardSignal(
    _W("median label to review", "标注到复核的中位时长"),
    _W(
        "Half of the reviews look at labels older than this. Long: accuracy speaks of old work.",
        "半数复核针对比这更早的标注。过长：准确率反映的是旧工作。",
    ),
    f"histogram_quantile(0.5, {_DELAYS})",
    "s",
)

# --- people at work

SEEN_WORKING = BoardSignal(
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
    1,
)

# --- one site, or some

SITE_ACCURACY = BoardSignal(
    _W("accuracy", "准确率"),
    _W(
        "Correct share of the site's reviews over the window, with its 95% interval. The whole interval below target: proven worse.",
        "时间窗内该站点复核的正确比例及其 95% 区间。整个区间低于目标：确实较差。",
    ),
    'max by (site) (labelwatch_site_accuracy_ratio{<of>,role="agent",window="<window>"})',
    "percentunit",
    1,
)
SITE_LOWER = BoardSignal(
    _W("lower", "下限"),
    _W("Lower bound of the 95% interval.", "95% 区间下限。"),
    'max by (site) (labelwatch_site_accuracy_lower_ratio{<of>,role="agent",window="<window>"})',
    "percentunit",
    1,
)
SITE_UPPER = BoardSignal(
    _W("upper", "上限"),
    _W("Upper bound of the 95% interval. Below the target: proven below it.", "95% 区间上限。低于目标：确实低于目标。"),
    'max by (site) (labelwatch_site_accuracy_upper_ratio{<of>,role="agent",window="<window>"})',
    "percentunit",
    1,
)
SITE_SINCE = BoardSignal(
    _W("since change", "变化后"),
    _W("Accuracy since the change of the site's open drift.", "站点进行中漂移变化后的准确率。"),
    f"max by (site) ({_of_pages('labelwatch_drift_current_ratio', _OWN)} and bottomk by (site) (1, {_moved(_OWN)}))",
    "percentunit",
    1,
)
SITE_TARGET = BoardSignal(
    _W("target", "目标"),
    _W("The policy's accuracy target.", "策略中的准确率目标。"),
    "site:labelwatch_accuracy_target:ratio{<of>}",
    "percentunit",
    1,
)
SITE_REVIEWS = BoardSignal(
    _W("reviews (n)", "复核数 (n)"),
    _W("Reviews behind the accuracy. Few: the interval is wide.", "准确率所依据的复核数。过少：区间很宽。"),
    'max by (site) (labelwatch_site_reviews{<of>,role="agent",window="<window>"})',
    "short",
    0,
)
SITE_LABELS_HOUR = BoardSignal(
    _W("labels, last hour", "近一小时标注"),
    _W(
        "Labels within the last hour, and the change since the begin of the range.",
        "近一小时标注数及相对时间范围起点的变化。",
    ),
    'max by (site) (labelwatch_site_labels{<of>,window="1h"})',
    "short",
    0,
)
SITE_SPEED = BoardSignal(
    _W("Labels a productive hour", "每生产小时标注"),
    _W(
        "Labels an hour of productive time, both of the people who report states. Low: slow work or harder tasks.",
        "上报状态人员的每生产小时标注数。过低：工作慢或任务更难。",
    ),
    'max by (site) (labelwatch_site_labels_per_productive_hour{<of>,window="<window>"})',
    "short",
    1,
)
SITE_SPEED_OF = BoardSignal(
    _W("of so many labels", "所代表的标注占比"),
    _W(
        "Share of the site's labels made by people who report states: those whose speed is known. Low: the speed is of a few.",
        "上报状态人员的标注占站点标注的比例：只有他们的速度可知。过低：速度仅代表少数人。",
    ),
    'max by (site) (labelwatch_site_timed_labels_ratio{<of>,window="<window>"})',
    "percentunit",
    0,
)
SITE_HANDLE = BoardSignal(
    _W("Handling time", "处理时长"),
    _W(
        "Mean seconds a label. A rise: harder tasks, new rules, or timers that run on.",
        "单条标注平均秒数。上升：任务更难、规则变更或计时未停。",
    ),
    'max by (site) (labelwatch_site_handle_seconds_mean{<of>,window="<window>"})',
    "s",
    1,
)
SITE_HANDLE_TARGET = BoardSignal(
    _W("target", "目标"),
    _W("The policy's target for handling time.", "策略中的处理时长目标。"),
    "site:labelwatch_handle_seconds_target:max{<of>}",
    "s",
    1,
)
SITE_OCCUPANCY = BoardSignal(
    _W("Occupancy", "占用率"),
    _W("Productive / (productive + waiting). Low: people wait for work.", "生产 /（生产 + 等待）。过低：人在等任务。"),
    'max by (site) (labelwatch_site_occupancy_ratio{<of>,window="<window>"})',
    "percentunit",
    1,
)
SITE_UTILIZATION = BoardSignal(
    _W("Utilization", "利用率"),
    _W(
        "Productive share of logged-in time, as the policy defines it. Low: paid time not worked.",
        "已登录时间中的生产占比，按策略定义。过低：付了费却没有工作。",
    ),
    'max by (site) (labelwatch_site_utilization_ratio{<of>,window="<window>"})',
    "percentunit",
    1,
)
SITE_ESTIMATED = BoardSignal(
    _W("Estimated now", "当前估算"),
    _W(
        "1: nobody reported states, presence is estimated from gaps between labels. Utilization, occupancy, waiting, speed "
        "and people logged in are estimates, and no ticket is opened on them.",
        "1：无人上报状态，在岗时间由标注之间的间隔估算。利用率、占用率、等待、速度与登录人数均为估算，不据此开工单。",
    ),
    "max by (site) (labelwatch_site_presence_estimated{<of>})",
    "short",
    0,
)
ESTIMATED_SITES = BoardSignal(
    _W("sites estimated", "个站点为估算"),
    _W(
        "Sites where nobody reported states in the last week: their utilization, occupancy, waiting, people logged in and "
        "labels a productive hour are estimates, in every panel here, of people too.",
        "最近一周无人上报状态的站点：本看板各面板中，其利用率、占用率、等待、登录人数与每生产小时标注均为估算，人员亦然。",
    ),
    "sum(max by (site) (labelwatch_site_presence_estimated{<of>}))",
    "short",
    0,
)
SITE_WAITING = BoardSignal(
    _W("Waiting for work", "等待任务"),
    _W(
        "Share of logged-in time spent waiting: the client's fault, not the site's.",
        "已登录时间中等待任务的占比：责任在客户，不在站点。",
    ),
    'max by (site) (labelwatch_site_available_ratio{<of>,window="<window>"})',
    "percentunit",
    1,
)
SITE_PEOPLE = BoardSignal(
    _W("People seen", "有活动人数"),
    _W(
        "People who label with an event within the window. A fall: absence or attrition.",
        "时间窗内有事件的标注员人数。下降：缺勤或流失。",
    ),
    'max by (site) (labelwatch_site_active_agents{<of>,role="agent",window="<window>"})',
    "short",
    0,
)


def _people_in(state: str) -> str:
    """PromQL: people of the sites who are in a state now; 0 where people are known, and none is in it."""
    return f'(sum(site:labelwatch_agents:sum{{<of>,state="{state}"}}) or 0 * sum(site:labelwatch_agents:sum{{<of>}}))'


PEOPLE_PRODUCTIVE = BoardSignal(
    _W("productive", "生产中"),
    _W("People at work on labels or reviews.", "正在标注或复核的人数。"),
    _people_in("productive"),
)
PEOPLE_AVAILABLE = BoardSignal(
    _W("waiting", "等待任务"), _W("People who wait for work.", "等待任务的人数。"), _people_in("available")
)
PEOPLE_MEETING = BoardSignal(_W("meeting", "会议"), _W("People in a meeting.", "会议中的人数。"), _people_in("meeting"))
PEOPLE_TRAINING = BoardSignal(
    _W("training", "培训"), _W("People in training.", "培训中的人数。"), _people_in("training")
)
PEOPLE_BREAK = BoardSignal(_W("break", "休息"), _W("People on a break.", "休息中的人数。"), _people_in("break"))

# --- parts of a site's work: projects and markets, from additive gauges

_Z2, _Z = 3.8415, 1.95996


def _within(metric: str, by: str, more: str = "") -> str:
    """PromQL: an additive gauge by a dimension of each site; added up within a worker, then the larger of two."""
    matchers = f'<of>{more},window="<window>"'
    return f"max by (site, {by}) (sum by (site, {by}, instance) ({metric}{{{matchers}}}))"


_HEADLINE = ',role="agent",headline="true"'
_MIN = "on (site) group_left () site:labelwatch_min_reviews:max{<of>}"


def _counted(by: str) -> tuple[str, str]:
    """PromQL: correct reviews and reviews of the headline, where there are enough."""
    n = f"({_within('labelwatch_reviews_window', by, _HEADLINE)} >= {_MIN})"
    correct = f"({_within('labelwatch_correct_reviews_window', by, _HEADLINE)} or 0 * {n})"
    return correct, n


def _ratio(by: str) -> str:
    correct, n = _counted(by)
    return f"{correct} / {n}"


def _bound(by: str, sign: str) -> str:
    """PromQL: a bound of the Wilson 95% interval.

    Source: E. B. Wilson, Probable inference, JASA 22 (1927); 3.8415 is the square of 1.95996.
    """
    correct, n = _counted(by)
    wrong = f"({n} - {correct})"
    spread = f"{_Z} * sqrt({correct} * {wrong} / {n} + {_Z2 / 4:.6g})"
    return f"({correct} + {_Z2 / 2:.6g} {sign} {spread}) / ({n} + {_Z2})"


def _worst(expr: str, labels: str, count: int, *, highest: bool = False) -> tuple[str, str]:
    """PromQL: the worst few series at the end of the range, over the whole range; and the others."""
    pick = "topk" if highest else "bottomk"
    chosen = f"{pick}({count}, last_over_time(({expr})[10m:1m] @ end()))"
    return f"({expr}) and on ({labels}) {chosen}", f"({expr}) unless on ({labels}) {chosen}"


def _lowest(by: str, name: _W) -> tuple[BoardSignal, BoardSignal]:
    """Accuracy of a site's projects or markets over time: the two lowest, and the others."""
    worst, others = (
        BoardSignal(
            _W(f"Accuracy by {name.en}", f"各{name.zh}准确率"),
            _W(
                f"Accuracy of the site's {name.en}s; the two lowest at the end in colour.",
                f"该站点各{name.zh}的准确率；末尾最低的两个以颜色标出。",
            ),
            expr,
            "percentunit",
            1,
        )
        for expr in _worst(_ratio(by), f"site, {by}", 2)
    )
    return worst, others


def _judged(by: str, name: _W) -> tuple[BoardSignal, BoardSignal, BoardSignal, BoardSignal]:
    """Accuracy of a site's projects or markets, its bounds, and n."""
    return (
        BoardSignal(
            _W("Accuracy", "准确率"),
            _W(
                f"Correct share of a {name.en}'s reviews at the site; absent with too few.",
                f"该站点某{name.zh}复核的正确比例；复核太少时不显示。",
            ),
            _ratio(by),
            "percentunit",
            1,
        ),
        BoardSignal(_W("Lower", "下限"), _W("Lower bound, 95%.", "95% 下限。"), _bound(by, "-"), "percentunit", 1),
        BoardSignal(_W("Upper", "上限"), _W("Upper bound, 95%.", "95% 上限。"), _bound(by, "+"), "percentunit", 1),
        BoardSignal(
            _W("n", "n"),
            _W(f"Reviews of the {name.en}.", f"该{name.zh}的复核数。"),
            _within("labelwatch_reviews_window", by, _HEADLINE),
            "short",
            0,
        ),
    )


PROJECT_ACCURACY, PROJECT_LOWER, PROJECT_UPPER, PROJECT_REVIEWS = _judged("project", _W("project", "项目"))
PROJECT_LABELS = BoardSignal(
    _W("Labels", "标注数"),
    _W("Labels of the project.", "该项目的标注数。"),
    _within("labelwatch_labels_window", "project"),
    "short",
    0,
)
PROJECT_TARGET = BoardSignal(
    _W("Target", "目标"),
    _W("The policy's target for the project at the site.", "策略中该站点该项目的目标。"),
    # Of the site's projects that had labels: their own target, else the project's at every site, else the site's.
    'max by (site, project) (labelwatch_target_ratio{<of>,kind="accuracy",project!="",market=""})'
    f" or 0 * {_within('labelwatch_labels_window', 'project')} + on (project) group_left ()"
    ' max by (project) (labelwatch_target_ratio{site="",kind="accuracy",project!="",market=""})'
    f" or 0 * {_within('labelwatch_labels_window', 'project')} + on (site) group_left () site:labelwatch_accuracy_target:ratio{{<of>}}",
    "percentunit",
    1,
)
PROJECTS_WORST, PROJECTS_OTHER = _lowest("project", _W("project", "项目"))
MARKET_ACCURACY, MARKET_LOWER, MARKET_UPPER, MARKET_REVIEWS = _judged("market", _W("market", "市场"))
MARKETS_WORST, MARKETS_OTHER = _lowest("market", _W("market", "市场"))
PART_ACCURACY, PART_LOWER, PART_UPPER, PART_REVIEWS = _judged("project, market", _W("project's market", "项目与市场"))


def _errors(more: str = "") -> str:
    """PromQL: errors of agents' work within the window. A window's gauge: a counter would begin with Prometheus."""
    series = f'labelwatch_errors_window{{<of>{more},window="<window>"}}'
    return f"max by (site, project, error_type, severity) ({series})"


ERROR_TYPES = BoardSignal(
    _W("Errors by type", "各类错误"),
    _W(
        "Errors that reviews found within the window, the eight most frequent types. One that stands out names what to train.",
        "时间窗内复核发现的错误，最常见的八类。突出的一类即培训重点。",
    ),
    f"topk(8, sum by (error_type, severity) ({_errors()}))",
    "short",
    0,
)


def _sop(metric: str) -> str:
    """PromQL: all that was counted of a version. Not an increase, which begins when Prometheus first asks."""
    return f"max by (site, project, sop) ({metric}{{<of>}})"


SOP_LABELS = BoardSignal(
    _W("Labels", "标注数"),
    _W("Labels under the version.", "该版本下的标注数。"),
    f"{_sop('labelwatch_sop_labels_total')} > 0",
    "short",
    0,
)
SOP_REVIEWS = BoardSignal(
    _W("n", "n"),
    _W("Reviews of labels made under the version.", "该版本下标注的复核数。"),
    f"{_sop('labelwatch_sop_reviews_total')} > 0",
    "short",
    0,
)
SOP_ACCURACY = BoardSignal(
    _W("Accuracy", "准确率"),
    _W(
        "Accuracy by the SOP version of the label, of all that was counted. A new version below the old: its rules are not understood.",
        "按标注所用 SOP 版本统计的准确率，含全部已计数据。新版本低于旧版本：规则未被理解。",
    ),
    f"{_sop('labelwatch_sop_correct_reviews_total')} / ({_sop('labelwatch_sop_reviews_total')} >= {_MIN})",
    "percentunit",
    1,
)
_SOP_SEEN = "max by (site, project, sop) (present_over_time(labelwatch_sop_labels_total{<of>}"
SOP_STARTS = BoardSignal(
    _W("First labels under an SOP version", "某 SOP 版本的首批标注"),
    _W("The first labels under a version that was not there before.", "此前没有的版本下的首批标注。"),
    # Not where the project itself is new to Prometheus: then every version would be.
    f"{_SOP_SEEN}[2m])) unless on (site, project, sop) {_SOP_SEEN}[1d] offset 2m))"
    " and on (site, project) max by (site, project) (present_over_time(labelwatch_sop_labels_total{<of>}[2m] offset 2m))",
)

# --- people who label

_AGENT = '<of>,role="agent",window="<window>"'


def _of_person(metric: str) -> str:
    """PromQL: a figure of everyone who labels."""
    return f"max by (site, agent) ({metric}{{{_AGENT}}})"


#: Upper bound minus target, 0 to 1: below 0 is proven below target by so much. The lower, the worse.
_AGAINST_TARGET = (
    f"({_of_person('labelwatch_agent_accuracy_upper_ratio')}"
    ' - on (site) group_left () site:labelwatch_accuracy_target:ratio{site!=""})'
)
#: The same, and of equal ones who has more reviews first: so few parts in 10^12 change no other order.
_WORST = f"({_AGAINST_TARGET} - 1e-12 * {_of_person('labelwatch_agent_reviews')})"
#: People in a table at most: the worst first.
PEOPLE = 100


def _person(metric: str) -> str:
    """PromQL: a figure of the people who are worst against their target."""
    return f"{_of_person(metric)} and on (site, agent) bottomk({PEOPLE}, {_WORST})"


AGENT_GAP = BoardSignal(
    _W("Upper bound against target", "上限对照目标"),
    _W(
        "Points from the target to the upper bound of the 95% interval. Below 0: proven below target by so much, coach. "
        "Above 0: nothing bad is proven.",
        "95% 区间上限与目标相差的百分点。低于 0：确定低于目标这么多，应辅导。高于 0：没有证实的问题。",
    ),
    f"100 * bottomk({PEOPLE}, {_WORST})",
    "points",
    # What is proven by a hair is never shown as nothing.
    2,
)
AGENT_RISK = BoardSignal(
    _W("P(below target)", "低于目标概率"),
    _W(
        "Probability that the true accuracy is below target. Above 95%: coach; below 50% says nothing bad.",
        "真实准确率低于目标的概率。高于 95%：应辅导；低于 50% 并无问题。",
    ),
    _person("labelwatch_agent_below_target_probability"),
    "percentunit",
    1,
)
AGENT_ACCURACY = BoardSignal(
    _W("Accuracy", "准确率"),
    _W("Correct share of the person's reviews.", "该标注员复核的正确比例。"),
    _person("labelwatch_agent_accuracy_ratio"),
    "percentunit",
    1,
)
AGENT_LOWER = BoardSignal(
    _W("Lower", "下限"),
    _W("Lower bound, 95%.", "95% 下限。"),
    _person("labelwatch_agent_accuracy_lower_ratio"),
    "percentunit",
    1,
)
AGENT_UPPER = BoardSignal(
    _W("Upper", "上限"),
    _W("Upper bound, 95%. Below the target: proven below it.", "95% 上限。低于目标：确实低于目标。"),
    _person("labelwatch_agent_accuracy_upper_ratio"),
    "percentunit",
    1,
)
AGENT_REVIEWS = BoardSignal(
    _W("n", "n"),
    _W("Reviews of the person's work.", "该标注员工作的复核数。"),
    _person("labelwatch_agent_reviews"),
    "short",
    0,
)
AGENT_SPEED = BoardSignal(
    _W("Labels a productive hour", "每生产小时标注"),
    _W("Labels an hour of productive time. Low: slow or hard work.", "每生产小时标注数。过低：慢或任务难。"),
    _person("labelwatch_agent_labels_per_productive_hour"),
    "short",
    0,
)
AGENT_HANDLE = BoardSignal(
    _W("Handling time", "处理时长"),
    _W("Mean seconds a label. Very low beside low accuracy: haste.", "单条平均秒数。很低且准确率低：赶工。"),
    _person("labelwatch_agent_handle_seconds_mean"),
    "s",
    1,
)
AGENT_UTILIZATION = BoardSignal(
    _W("Utilization", "利用率"),
    _W(
        "Productive share of logged-in time. An estimate where the site's presence is: the Capacity board says where.",
        "已登录时间中的生产占比。站点在岗为估算时，此值也是估算：产能看板中有标明。",
    ),
    _person("labelwatch_agent_utilization_ratio"),
    "percentunit",
    1,
)

# --- reviewers


# Of agents' work alone: who audits other reviewers finds few errors by right, and is not lenient.
_MADE = 'max by (site, agent) (labelwatch_reviewer_agent_reviews{<of>,window="<window>"})'
_FOUND = 'max by (site, agent) (labelwatch_reviewer_agent_errors_found{<of>,window="<window>"})'
_ENOUGH = f"({_MADE} >= {_MIN})"
_USUAL = f"(sum by (site) ({_FOUND}) / sum by (site) ({_MADE}))"
REVIEWER_REVIEWS = BoardSignal(
    _W("Reviews", "复核数"),
    _W("Reviews of agents' work that the person made.", "该质检员对标注员工作的复核数。"),
    _MADE,
    "short",
    0,
)
REVIEWER_FOUND = BoardSignal(
    _W("Errors found", "发现错误占比"),
    _W(
        "Share of the person's reviews that found the work wrong. Near 0: lenient.",
        "该质检员复核中发现错误的占比。接近 0：过宽。",
    ),
    f"{_FOUND} / {_ENOUGH}",
    "percentunit",
    1,
)
REVIEWER_DEVIATION = BoardSignal(
    _W("Against colleagues", "与同事相比"),
    _W(
        "Errors found against the site's usual share, in standard errors. Below -3: lenient or given easy work; above 3: strict. "
        "Audits of other reviewers do not count.",
        "发现错误数与站点平均水平之差，以标准误计。低于 -3：过宽或任务容易；高于 3：过严。对其他质检员的审核不计入。",
    ),
    f"({_FOUND} - on (site, agent) ({_ENOUGH} * on (site) group_left () {_USUAL}))"
    f" / on (site, agent) sqrt({_ENOUGH} * on (site) group_left () ({_USUAL} * (1 - {_USUAL}) > 0))",
    "short",
    1,
)
REVIEWER_SECONDS = BoardSignal(
    _W("Time a review", "单次复核时长"),
    _W(
        "Mean seconds a review, where reviewers report it. Very short: not looked at.",
        "单次复核平均秒数（若有上报）。很短：没有认真看。",
    ),
    'max by (site, agent) (labelwatch_reviewer_seconds{<of>,window="<window>"})'
    ' / (max by (site, agent) (labelwatch_reviewer_reviews{<of>,window="<window>"}) > 0) > 0'
    f" and on (site, agent) {_MADE}",
    "s",
    1,
)

# --- people: how many, and the worst of them over time


def _people(metric: str, having: str = "") -> str:
    """PromQL: how many people have a figure; 0 only where people are known at all."""
    return (
        f"count(max by (site, agent) ({metric}{{{_AGENT}}}){having}) or 0 * count(labelwatch_agent_reviews{{{_AGENT}}})"
    )


PEOPLE_ENOUGH = BoardSignal(
    _W("with enough reviews", "复核足够"),
    _W("People with enough reviews for an accuracy.", "复核数足以计算准确率的人数。"),
    _people("labelwatch_agent_accuracy_ratio"),
    "short",
    0,
)
PEOPLE_TOO_FEW = BoardSignal(
    _W("not enough data", "数据不足"),
    _W(
        "People with too few reviews: nothing can be said of them, good or bad. Many: review more widely.",
        "复核太少的人数：好坏都无法判断。过多：应扩大复核覆盖。",
    ),
    f"count(max by (site, agent) (labelwatch_agent_reviews{{{_AGENT}}})"
    f" unless on (site, agent) labelwatch_agent_accuracy_ratio{{{_AGENT}}}) or 0 * count(labelwatch_agent_reviews{{{_AGENT}}})",
    "short",
    0,
)
PEOPLE_BELOW = BoardSignal(
    _W("proven below target", "确定低于目标"),
    _W(
        "People whose whole 95% interval is below the site's target. By chance alone one in forty is here.",
        "95% 区间全部低于站点目标的人数。仅凭偶然，四十人中也会有一人。",
    ),
    f"count(max by (site, agent) (labelwatch_agent_accuracy_upper_ratio{{{_AGENT}}})"
    ' < on (site) group_left () site:labelwatch_accuracy_target:ratio{site!=""})'
    f" or 0 * count(labelwatch_agent_reviews{{{_AGENT}}})",
    "short",
    0,
)
PEOPLE_RISK = BoardSignal(
    _W("below with 95% probability", "以 95% 概率低于"),
    _W(
        "People whose true accuracy is below target with a probability of 95% and more.",
        "真实准确率低于目标的概率不小于 95% 的人数。",
    ),
    _people("labelwatch_agent_below_target_probability", " >= 0.95"),
    "short",
    0,
)
_PERSON_ACCURACY = f"max by (site, agent) (labelwatch_agent_accuracy_ratio{{{_AGENT}}})"
_PERSON_SPEED = f"max by (site, agent) (labelwatch_agent_labels_per_productive_hour{{{_AGENT}}})"
AGENTS_AT_RISK = BoardSignal(
    _W("Accuracy of people at risk", "有风险人员的准确率"),
    _W("Accuracy over time of the six people worst against their target now.", "当前相对目标最差的六人的准确率走势。"),
    f"{_PERSON_ACCURACY} and on (site, agent) bottomk(6, last_over_time({_WORST}[10m:1m] @ end()))",
    "percentunit",
    1,
)
AGENTS_RISK_SPEED = BoardSignal(
    _W("Their speed", "其速度"),
    _W(
        "Labels a productive hour of the same six. Speed up and accuracy down: haste.",
        "同样六人的每生产小时标注数。速度升、准确率降：赶工。",
    ),
    f"{_PERSON_SPEED} and on (site, agent) bottomk(6, last_over_time({_WORST}[10m:1m] @ end()))",
    "short",
    0,
)
AGENTS_FALLING = BoardSignal(
    _W("24 hours against 7 days", "24 小时对照 7 天"),
    _W(
        "Points by which a person's last 24 hours differ from the last 7 days; the ten lowest. Below 0: going down. Chance moves ten reviews by many points.",
        "近 24 小时与近 7 天之差的百分点；最低的十人。低于 0：在下降。样本少时偶然波动很大。",
    ),
    "bottomk(10, 100 * ("
    'max by (site, agent) (labelwatch_agent_accuracy_ratio{<of>,role="agent",window="24h"})'
    ' - max by (site, agent) (labelwatch_agent_accuracy_ratio{<of>,role="agent",window="7d"})))',
    "points",
    1,
)
PEOPLE_ACCURACY = BoardSignal(
    _W("these people", "这些人员"),
    _W(
        "Correct share of the reviews of the people chosen who have enough of them.",
        "所选且复核足够的人员的复核正确比例。",
    ),
    f"sum by (site) ({_PERSON_ACCURACY} * {_of_person('labelwatch_agent_reviews')})"
    f" / sum by (site) ({_of_person('labelwatch_agent_reviews')} and on (site, agent) {_PERSON_ACCURACY})",
    "percentunit",
    1,
)
SCATTER_SPEED = BoardSignal(
    _W("Labels a productive hour", "每生产小时标注"),
    _W("Speed of everyone with an accuracy.", "有准确率者的速度。"),
    f"max by (agent) ({_PERSON_SPEED} and on (site, agent) {_PERSON_ACCURACY})",
    "short",
    0,
)
SCATTER_ACCURACY = BoardSignal(
    _W("Accuracy", "准确率"),
    _W("Accuracy of everyone with a speed.", "有速度者的准确率。"),
    f"max by (agent) ({_PERSON_ACCURACY} and on (site, agent) {_PERSON_SPEED})",
    "percentunit",
    1,
)
AGENTS_SLOWEST = BoardSignal(
    _W("Slowest", "最慢"),
    _W(
        "The ten people with the fewest labels a productive hour. Slow and right may be hard work: look at the project.",
        "每生产小时标注最少的十人。慢但正确可能是任务难：查看项目。",
    ),
    f"bottomk(10, {_PERSON_SPEED})",
    "short",
    0,
)
AGENTS_IDLE = BoardSignal(
    _W("Lowest utilization", "利用率最低"),
    _W(
        "The ten people with the least productive share of logged-in time. Low: waiting, breaks, or a forgotten login.",
        "已登录时间中生产占比最低的十人。过低：等待、休息或忘记登出。",
    ),
    f"bottomk(10, max by (site, agent) (labelwatch_agent_utilization_ratio{{{_AGENT}}}))",
    "percentunit",
    1,
)

# --- review of reviewers, and of enough work

_QA = '<of>,role="qa",window="<window>"'
_ENOUGH_OF_ALL = "on () company:labelwatch_min_reviews:max"
QA_ACCURACY_ALL = BoardSignal(
    _W("review accuracy", "质检准确率"),
    _W(
        "Share of reviewers' verdicts that an audit found right, all chosen sites together. Low: accuracy figures themselves are wrong.",
        "审核认定正确的质检判定比例，所选站点合计。过低：准确率数字本身就是错的。",
    ),
    f"sum(max by (site) (labelwatch_site_correct_reviews{{{_QA}}}))"
    f" / (sum(max by (site) (labelwatch_site_reviews{{{_QA}}})) >= {_ENOUGH_OF_ALL})",
    "percentunit",
    1,
)
QA_TARGET = BoardSignal(
    _W("target", "目标"),
    _W("The policy's target for reviewers, the lowest of the sites.", "策略中的质检准确率目标，取各站点最低值。"),
    "min(site:labelwatch_qa_accuracy_target:ratio{<of>})",
    "percentunit",
    1,
)
QA_ACCURACY = BoardSignal(
    _W("Review accuracy", "质检准确率"),
    _W("Share of the site's reviewers' verdicts that an audit found right.", "该站点质检判定中审核认定正确的比例。"),
    f"max by (site) (labelwatch_site_accuracy_ratio{{{_QA}}})",
    "percentunit",
    1,
)
QA_LOWER = BoardSignal(
    _W("Lower", "下限"),
    _W("Lower bound, 95%.", "95% 下限。"),
    f"max by (site) (labelwatch_site_accuracy_lower_ratio{{{_QA}}})",
    "percentunit",
    1,
)
QA_UPPER = BoardSignal(
    _W("Upper", "上限"),
    _W("Upper bound, 95%. Below the target: proven below it.", "95% 上限。低于目标：确实低于目标。"),
    f"max by (site) (labelwatch_site_accuracy_upper_ratio{{{_QA}}})",
    "percentunit",
    1,
)
QA_AUDITS = BoardSignal(
    _W("Audits (n)", "审核数 (n)"),
    _W("Verdicts that were audited.", "被审核的判定数。"),
    f"max by (site) (labelwatch_site_reviews{{{_QA}}})",
    "short",
    0,
)
QA_SITE_TARGET = BoardSignal(
    _W("Target", "目标"),
    _W("The policy's target for reviewers of the site.", "策略中该站点的质检准确率目标。"),
    # Without the name of the series, which a table would show as a column.
    "max by (site) (site:labelwatch_qa_accuracy_target:ratio{<of>})",
    "percentunit",
    1,
)
QA_WORST, QA_OTHER = (
    BoardSignal(
        _W("Review accuracy by site", "各站点质检准确率"),
        _W(
            "Review accuracy over time; the three lowest at the end in colour.",
            "质检准确率走势；末尾最低的三个以颜色标出。",
        ),
        expr,
        "percentunit",
        1,
    )
    for expr in _worst(f"max by (site) (labelwatch_site_accuracy_ratio{{{_QA}}})", "site", 3)
)


def _all(metric: str, more: str = "") -> str:
    """PromQL: an additive gauge of all chosen sites, projects and markets."""
    return f'sum(max by (site) (sum by (site, instance) ({metric}{{<of>{more},window="<window>"}})))'


def _by_site(metric: str, more: str = "") -> str:
    return f'max by (site) (sum by (site, instance) ({metric}{{<of>{more},window="<window>"}}))'


_AGENTS_WORK = ',role="agent"'
COVERAGE_ALL = BoardSignal(
    _W("coverage", "覆盖率"),
    _W(
        "Reviews of agents' work over labels within the window. Low: little is known; 0 is said only where labels are.",
        "时间窗内对标注员工作的复核数与标注数之比。过低：所知甚少。",
    ),
    f"({_all('labelwatch_reviews_window', _AGENTS_WORK)} or vector(0)) / {_all('labelwatch_labels_window')}",
    "percentunit",
    1,
)
COVERAGE = BoardSignal(
    _W("Coverage by site", "各站点覆盖率"),
    _W(
        "Reviews over labels by site, the twelve lowest. Low beside a high volume: blind where it matters.",
        "各站点复核数与标注数之比，最低的十二个。量大而低：在要紧处没有复核。",
    ),
    f"bottomk(12, ({_by_site('labelwatch_reviews_window', _AGENTS_WORK)} or 0 * {_by_site('labelwatch_labels_window')}) / {_by_site('labelwatch_labels_window')})",
    "percentunit",
    1,
)


def _sampled(sampling: str) -> str:
    return _all("labelwatch_reviews_window", f'{_AGENTS_WORK},sampling="{sampling}"')


SAMPLED_RANDOM = BoardSignal(
    _W("random", "随机"), _W("Reviews of a random sample.", "随机抽样的复核。"), _sampled("random"), "short", 0
)
SAMPLED_STRATIFIED = BoardSignal(
    _W("stratified", "分层"),
    _W("Reviews of a stratified sample.", "分层抽样的复核。"),
    _sampled("stratified"),
    "short",
    0,
)
SAMPLED_TARGETED = BoardSignal(
    _W("targeted", "定向"),
    _W("Reviews of work under suspicion; never in the headline.", "针对可疑工作的复核；不计入总体准确率。"),
    _sampled("targeted"),
    "short",
    0,
)
SAMPLED_OTHER = BoardSignal(
    _W("full or not said", "全检或未注明"),
    _W("Reviews of everything, or that do not say how they were chosen.", "全部复核，或未注明抽样方式。"),
    _all("labelwatch_reviews_window", f'{_AGENTS_WORK},sampling!~"random|stratified|targeted"'),
    "short",
    0,
)
SOURCE_REVIEWS = BoardSignal(
    _W("n", "n"),
    _W("Reviews by whose verdict they are.", "按判定来源统计的复核数。"),
    'sum by (role, source) (max by (site, role, source) (sum by (site, role, source, instance) (labelwatch_reviews_window{<of>,window="<window>"})))',
    "short",
    0,
)
SOURCE_ACCURACY = BoardSignal(
    _W("Found correct", "认定正确"),
    _W(
        "Share found correct by role and source. Gold far below QA: reviewers overlook what gold knows.",
        "按角色与来源统计的正确比例。金标远低于质检：质检员漏看了金标已知的错误。",
    ),
    'sum by (role, source) (max by (site, role, source) (sum by (site, role, source, instance) (labelwatch_correct_reviews_window{<of>,window="<window>"})))'
    ' / (sum by (role, source) (max by (site, role, source) (sum by (site, role, source, instance) (labelwatch_reviews_window{<of>,window="<window>"})))'
    " >= on () group_left () company:labelwatch_min_reviews:max)",
    "percentunit",
    1,
)
_CRITICAL = ',severity="critical"'
CRITICAL_SHARE = BoardSignal(
    _W("critical errors", "严重错误"),
    _W(
        "Critical errors over reviews within the window. Above the target: customers are hurt.",
        "时间窗内严重错误数与复核数之比。高于目标：客户受损。",
    ),
    f"(sum({_errors(_CRITICAL)}) or vector(0)) / ({_all('labelwatch_reviews_window', _AGENTS_WORK)} >= {_ENOUGH_OF_ALL})",
    "percentunit",
    2,
)
CRITICAL_TARGET = BoardSignal(
    _W("target", "目标"),
    _W("The policy's most for critical errors.", "策略允许的严重错误上限。"),
    "max(site:labelwatch_critical_error_target:ratio{<of>})",
    "percentunit",
    2,
)
SEVERITIES = BoardSignal(
    _W("Errors by severity", "各级错误"),
    _W("Errors that reviews found within the window by severity.", "时间窗内复核发现的错误，按严重程度。"),
    f"sum by (severity) ({_errors()})",
    "short",
    0,
)
REVIEWERS_LENIENT = BoardSignal(
    _W("Most lenient", "最宽"),
    _W(
        "The eight reviewers who find the fewest errors against their colleagues, standard errors. Below -3: calibrate, or easy work.",
        "与同事相比发现错误最少的八名质检员，以标准误计。低于 -3：需校准，或任务容易。",
    ),
    f"bottomk(8, {REVIEWER_DEVIATION.expr})",
    "short",
    1,
)
REVIEWERS_STRICT = BoardSignal(
    _W("Strictest", "最严"),
    _W(
        "The eight reviewers who find the most errors against their colleagues, standard errors. Above 3: calibrate, or hard work.",
        "与同事相比发现错误最多的八名质检员，以标准误计。高于 3：需校准，或任务难。",
    ),
    f"topk(8, {REVIEWER_DEVIATION.expr})",
    "short",
    1,
)
DELAY_BUCKETS = BoardSignal(
    _W("Label to review", "标注到复核"),
    _W(
        "How old labels are when they are reviewed. Rising to the top: accuracy speaks of ever older work.",
        "标注被复核时的时长。越往上：准确率反映的工作越旧。",
    ),
    _DELAYS,
    "short",
)
DELAY_MEDIAN_NOW = BoardSignal(
    _W("median", "中位数"),
    _W("Half of the reviews of the range looked at labels older than this.", "时间范围内半数复核针对比这更早的标注。"),
    f"histogram_quantile(0.5, {_DELAYS_OF_RANGE})",
    "s",
    0,
)
DELAY_LATE_NOW = BoardSignal(
    _W("90% within", "90% 不超过"),
    _W(
        "Nine of ten reviews looked at labels younger than this. Above a shift: mistakes are repeated for hours.",
        "十分之九的复核针对比这更新的标注。超过一个班次：错误会重复数小时。",
    ),
    f"histogram_quantile(0.9, {_DELAYS_OF_RANGE})",
    "s",
    0,
)
# --- capacity: paid time and what becomes of it


def _seconds(states: str, window: str = "<window>") -> str:
    """PromQL: people's seconds in some states of all chosen sites within the window."""
    return f'sum(site:labelwatch_state_seconds:sum{{<of>,state{states},window="{window}"}})'


_PRODUCTIVE = _seconds('="productive"')
_AVAILABLE = _seconds('="available"')
_PRESENT = _seconds('!="offline"')
_AWAY = _seconds('=~"break|training|meeting"')


UTILIZATION_ALL = BoardSignal(
    _W("Utilization", "利用率"),
    _W(
        "Productive share of logged-in time of all chosen sites. Low: paid time not worked; above 90% for long: people "
        "wear out. An estimate where presence is estimated: the table of sites says where.",
        "所选站点已登录时间中的生产占比。过低：付了费却没有工作；长期高于 90%：人会疲惫。在岗为估算的站点，此值也是估算：站点表格中有标明。",
    ),
    f"{_PRODUCTIVE} / ({_PRESENT} > 0)",
    "percentunit",
    1,
)
WAITING_ALL = BoardSignal(
    _W("Waiting for work", "等待任务"),
    _W(
        "Share of logged-in time spent waiting. High: the client sends too little work; not the sites' fault.",
        "已登录时间中等待任务的占比。过高：客户派发的任务太少，不是站点的责任。",
    ),
    f"({_AVAILABLE} or vector(0)) / ({_PRESENT} > 0)",
    "percentunit",
    1,
)
OCCUPANCY_ALL = BoardSignal(
    _W("Occupancy", "占用率"),
    _W(
        "Productive / (productive + waiting). Low: too many people for the work; above 95%: no slack, queues grow.",
        "生产 /（生产 + 等待）。过低：人多活少；高于 95%：没有余量，积压增长。",
    ),
    f"{_PRODUCTIVE} / ((({_AVAILABLE} or vector(0)) + {_PRODUCTIVE}) > 0)",
    "percentunit",
    1,
)
AWAY_ALL = BoardSignal(
    _W("Break, training, meeting", "休息、培训、会议"),
    _W(
        "Share of logged-in time in breaks, training and meetings. A rise eats capacity.",
        "已登录时间中休息、培训与会议的占比。上升会吞掉产能。",
    ),
    f"({_AWAY} or vector(0)) / ({_PRESENT} > 0)",
    "percentunit",
    1,
)
SPEED_ALL = BoardSignal(
    _W("Labels a productive hour", "每生产小时标注"),
    _W(
        "Labels over productive hours of all chosen sites. A fall: harder work or slower people.",
        "所选站点标注数与生产小时之比。下降：任务更难或人更慢。",
    ),
    f'sum(max by (site) (labelwatch_site_labels{{<of>,window="<window>"}})) / ({_PRODUCTIVE} / 3600 > 0)',
    "short",
    1,
)
PEOPLE_ALL = BoardSignal(
    _W("People seen in 24 h", "24 小时有活动人数"),
    _W(
        "People who label with an event within 24 hours. A fall: absence or attrition.",
        "24 小时内有事件的标注员人数。下降：缺勤或流失。",
    ),
    'sum(max by (site) (labelwatch_site_active_agents{<of>,role="agent",window="24h"}))',
    "short",
    0,
)
REVIEWERS_ALL = BoardSignal(
    _W("Reviewers seen in 24 h", "24 小时有活动质检员"),
    _W("Reviewers with an event within 24 hours.", "24 小时内有事件的质检员人数。"),
    'sum(max by (site) (labelwatch_site_active_agents{<of>,role="qa",window="24h"}))',
    "short",
    0,
)
# Windows, not increases of counters: these know the day before Prometheus came, and count open states too.
_DAY_STATES = 'site:labelwatch_state_seconds:sum{<of>,window="24h"'
_DAY_UTILIZATION = (
    f'sum by (site) ({_DAY_STATES},state="productive"}}) / (sum by (site) ({_DAY_STATES},state!="offline"}}) > 0)'
)
UTILIZATION_WORST, UTILIZATION_OTHER = (
    BoardSignal(
        _W("Utilization by day", "每日利用率"),
        _W(
            "Productive share of the logged-in time of 24 hours, by site; the three lowest at the end in colour. "
            "A line that falls for weeks: too many people, or too little work. An estimate where presence is estimated: "
            "the table of sites says where.",
            "各站点 24 小时已登录时间中的生产占比；末尾最低的三个以颜色标出。连续数周下降：人多或活少。"
            "在岗为估算的站点，此值也是估算：站点表格中有标明。",
        ),
        expr,
        "percentunit",
        1,
    )
    for expr in _worst(_DAY_UTILIZATION, "site", 3)
)
UTILIZATION_TARGET = BoardSignal(
    _W("target", "目标"),
    _W("The policy's utilization target, the lowest of the sites.", "策略中的利用率目标，取各站点最低值。"),
    "min(site:labelwatch_utilization_target:ratio{<of>})",
    "percentunit",
    1,
)
UTILIZATION_GAP = BoardSignal(
    _W("Utilization against target", "利用率对照目标"),
    _W(
        "Points by which the utilization of the window misses (below 0) or clears the site's target; the twelve lowest.",
        "时间窗利用率低于（负）或高于站点目标的百分点；最低的十二个。",
    ),
    'bottomk(12, 100 * (max by (site) (labelwatch_site_utilization_ratio{<of>,window="<window>"})'
    " - on (site) site:labelwatch_utilization_target:ratio{<of>}))",
    "points",
    1,
)


def _by_hour(figure: str) -> str:
    """PromQL: the mean of a figure over the past day by hour of day, UTC, as label `hour`."""
    hour = 'label_replace(count_values("hour", hour()), "hour", "0$1", "hour", "(.)")'
    return f"avg_over_time((({figure}) * on () group_left (hour) {hour})[1d:15m])"


WAITING_BY_HOUR = BoardSignal(
    _W("People waiting, by hour", "各小时等待人数"),
    _W(
        "People who wait for work, by day and hour (UTC), all chosen sites. A bright row: work comes at other hours than people.",
        "所选站点按日与小时（UTC）统计的等待任务人数。亮行：任务到达的时段与人员不匹配。",
    ),
    _by_hour(_people_in("available")),
    "short",
    1,
)
LABELS_BY_HOUR = BoardSignal(
    _W("Labels an hour, by hour", "各小时标注数"),
    _W(
        "Labels an hour by day and hour (UTC), all chosen sites. Dark where people are at work: slow or missing work.",
        "所选站点按日与小时（UTC）统计的每小时标注数。有人工作却暗：工作慢或缺任务。",
    ),
    _by_hour('sum(max by (site) (labelwatch_site_labels{<of>,window="1h"}))'),
    "short",
    0,
)
SPEED_BY_HOUR = BoardSignal(
    _W("Labels a productive hour, by hour", "各小时的每生产小时标注"),
    _W(
        "Labels over productive hours of the people who report states, by day and hour (UTC). Dark rows: the shift in which work goes slowly.",
        "按日与小时（UTC）统计的上报状态人员的标注数与生产小时之比。暗行：该时段工作慢。",
    ),
    _by_hour(
        'sum(max by (site) (labelwatch_site_labels_per_productive_hour{<of>,window="1h"})'
        " * on (site) site:labelwatch_productive_hours:sum1h{<of>})"
        " / (sum(site:labelwatch_productive_hours:sum1h{<of>}) > 0)"
    ),
    "short",
    0,
)


def _day_of(states: str) -> str:
    return f"sum({_DAY_STATES},state{states}}}) / 3600"


HOURS_PRODUCTIVE = BoardSignal(
    _W("productive", "生产"),
    _W("Hours of work within 24 hours.", "24 小时内的生产小时。"),
    _day_of('="productive"'),
    "hours",
    0,
)
HOURS_AVAILABLE = BoardSignal(
    _W("waiting", "等待任务"), _W("Hours of waiting for work.", "等待任务的小时。"), _day_of('="available"'), "hours", 0
)
HOURS_MEETING = BoardSignal(
    _W("meeting", "会议"), _W("Hours in meetings.", "会议小时。"), _day_of('="meeting"'), "hours", 0
)
HOURS_TRAINING = BoardSignal(
    _W("training", "培训"), _W("Hours in training.", "培训小时。"), _day_of('="training"'), "hours", 0
)
HOURS_BREAK = BoardSignal(_W("break", "休息"), _W("Hours of breaks.", "休息小时。"), _day_of('="break"'), "hours", 0)
_DAY_LABELS = 'max by (site) (labelwatch_site_labels{<of>,window="24h"})'
LABELS_DAY = BoardSignal(
    _W("labels a day", "每日标注"),
    _W(
        "Labels of the past day, all chosen sites. A trend downwards: less work, fewer people, or slower.",
        "所选站点过去一天的标注数。持续下降：任务少、人少或变慢。",
    ),
    f"sum({_DAY_LABELS})",
    "short",
    0,
)
SPEED_WORST, SPEED_OTHER = (
    BoardSignal(
        _W("Labels a productive hour by day", "每日每生产小时标注"),
        _W(
            "Labels over productive hours within 24 hours by site, of the people who report states; the three lowest at the end in colour.",
            "各站点 24 小时内上报状态人员的标注数与生产小时之比；末尾最低的三个以颜色标出。",
        ),
        expr,
        "short",
        1,
    )
    for expr in _worst('max by (site) (labelwatch_site_labels_per_productive_hour{<of>,window="24h"})', "site", 3)
)
_HANDLE = "avg by (project) (site_project:labelwatch_handle_seconds:mean1d{<of>})"
HANDLE_WORST, HANDLE_OTHER = (
    BoardSignal(
        _W("Handling time by project", "各项目处理时长"),
        _W(
            "Mean seconds a label over the past day by project, the sites' mean; the two slowest at the end in colour. A step: new rules or harder tasks.",
            "各项目过去一天单条标注平均秒数（站点均值）；末尾最慢的两个以颜色标出。阶跃：规则变更或任务更难。",
        ),
        expr,
        "s",
        1,
    )
    for expr in _worst(_HANDLE, "project", 2, highest=True)
)
HANDLE_TARGET = BoardSignal(
    _W("target", "目标"),
    _W("The policy's target for handling time, the lowest of the sites.", "策略中的处理时长目标，取各站点最低值。"),
    "min(site:labelwatch_handle_seconds_target:max{<of>})",
    "s",
    0,
)
_QUEUE = "site, project, market, queue"
_QUEUE_WAITS = f"time() - max by ({_QUEUE}) (labelwatch_queue_oldest_task_timestamp_seconds{{<of>}})"
_QUEUE_WAITING = f"max by ({_QUEUE}) (labelwatch_queue_waiting_tasks{{<of>}})"
QUEUE_WAITING_WORST, QUEUE_WAITING_OTHER = (
    BoardSignal(
        _W("Tasks waiting by project", "各项目等待任务数"),
        _W(
            "Tasks that wait in all queues of a project at a site, as last measured; the three longest at the end in colour. Rising for days: more comes than is done.",
            "站点各项目所有队列中等待的任务数（最近一次测量）；末尾最长的三个以颜色标出。连日上升：来的比做的多。",
        ),
        expr,
        "short",
        0,
    )
    for expr in _worst(f"sum by (site, project) ({_QUEUE_WAITING})", "site, project", 3, highest=True)
)
QUEUE_ARRIVED_ALL = BoardSignal(
    _W("arrive an hour", "每小时到达"),
    _W(
        "Tasks that arrived within an hour, all measured queues. Above the labels for long: queues grow.",
        "一小时内到达的任务数，所有已测量队列。长期高于标注数：队列增长。",
    ),
    f'sum(max by ({_QUEUE}) (labelwatch_queue_arrived_tasks_window{{<of>,window="1h"}}))',
    "short",
    0,
)
QUEUE_LABELED_ALL = BoardSignal(
    _W("labeled an hour", "每小时标注"),
    _W(
        "Labels within an hour of the projects that have measured queues.",
        "有已测量队列的项目一小时内的标注数。",
    ),
    'sum(max by (site, project, market) (labelwatch_labels_window{<of>,window="1h"})'
    " and on (site, project) labelwatch_queue_waiting_tasks{<of>})",
    "short",
    0,
)
QUEUE_WAITING = BoardSignal(
    _W("Waiting", "等待"),
    _W("Tasks that wait in the queue, as last measured.", "队列中等待的任务数（最近一次测量）。"),
    _QUEUE_WAITING,
    "short",
    0,
)
QUEUE_OLDEST = BoardSignal(
    _W("Oldest waits", "最早已等待"),
    _W(
        "How long the oldest task waits; absent where none waits or the tool does not say.",
        "最早的任务已等待多久；没有任务等待或工具未给出时不显示。",
    ),
    _QUEUE_WAITS,
    "s",
    0,
)
QUEUE_OVERDUE = BoardSignal(
    _W("Of target", "占目标"),
    _W(
        "The oldest task's wait as a share of the policy's turnaround target. From 100% on it is late already.",
        "最早任务的等待时间占策略周转目标的比例。达到 100% 即已超时。",
    ),
    f"({_QUEUE_WAITS}) / max by ({_QUEUE}) (labelwatch_queue_turnaround_target_seconds{{<of>}})",
    "percentunit",
    0,
)
QUEUE_ARRIVED = BoardSignal(
    _W("Arrive an hour", "每小时到达"),
    _W("Tasks that arrived in the queue within an hour.", "一小时内到达该队列的任务数。"),
    f'max by ({_QUEUE}) (labelwatch_queue_arrived_tasks_window{{<of>,window="1h"}})',
    "short",
    0,
)
QUEUE_CLEAR = BoardSignal(
    _W("Project cleared in", "项目清空需"),
    _W(
        "Time to clear all queues of the project at the site, at the rate of the last hour's labels; absent where nothing is labeled.",
        "按最近一小时的标注速度，清空该站点此项目所有队列所需时间；无标注时不显示。",
    ),
    f"0 * {_QUEUE_WAITING} + on (site, project) group_left () site_project:labelwatch_queue_clear:seconds{{<of>}}",
    "s",
    0,
)
QUEUE_MEASURED = BoardSignal(
    _W("Measured", "测量于"),
    _W(
        "How long ago the queue was measured; after 24 hours it is no longer shown.",
        "队列多久前被测量；超过 24 小时不再显示。",
    ),
    f"time() - max by ({_QUEUE}) (labelwatch_queue_measured_timestamp_seconds{{<of>}})",
    "s",
    0,
)
SITE_VENDOR = BoardSignal(
    _W("Logged in now", "当前已登录"),
    _W("People logged in now, with vendor and time zone of the site.", "当前已登录人数，以及站点的供应商与时区。"),
    '(max by (site) (sum by (site, instance) (labelwatch_site_agents{<of>,role="agent",state!="offline"}))'
    " or 0 * max by (site) (labelwatch_site_info{<of>}))"
    " * on (site) group_right () max by (site, vendor, timezone) (labelwatch_site_info{<of>})",
    "short",
    0,
)

# --- pipeline: is the monitor itself well

WORKERS_UP = BoardSignal(
    _W("answer", "有应答"),
    _W("Workers that answer Prometheus. 0: no figure is live.", "向 Prometheus 应答的监控实例数。0：没有实时数字。"),
    'count(up{job="labelwatch"} == 1) or 0 * count(up{job="labelwatch"})',
    "short",
    0,
)
WORKERS_ALL = BoardSignal(
    _W("of", "共"),
    _W("Workers that Prometheus knows.", "Prometheus 已知的监控实例数。"),
    'count(up{job="labelwatch"})',
    "short",
    0,
)
PARTITIONS_READ = BoardSignal(
    _W("read", "已读取"),
    _W(
        "Partitions that some worker owns. Fewer than there are: their sites are not live.",
        "有监控实例负责的分区数。少于总数：其站点不是实时的。",
    ),
    "count(max by (topic, partition) (labelwatch_partition_owned{<of>}) == 1) or 0 * count(labelwatch_partition_owned{<of>})",
    "short",
    0,
)
PARTITIONS_ALL = BoardSignal(
    _W("of", "共"),
    _W("Partitions of the events topic.", "事件主题的分区数。"),
    "max(labelwatch_topic_partitions{<of>})",
    "short",
    0,
)
_RATE = "[$__rate_interval]"


def _counted_by(series: str, more: str = "") -> str:
    """PromQL: rate of a durable counter of the partitions that the chosen workers own. Panels' least step is a minute."""
    rate = f'rate({series}{{job="labelwatch"{more}}}{_RATE})'
    return f"{rate} and on (topic, partition) labelwatch_partition_owned{{<of>}} == 1"


EVENTS_ALL = BoardSignal(
    _W("events a second", "每秒事件"),
    _W(
        "Events accepted, as of the last checkpoints. A fall to 0 in working hours: producers or the broker are away.",
        "截至最近检查点接收的事件。工作时段降为 0：生产者或 broker 中断。",
    ),
    f"sum({_counted_by('partition:labelwatch_events_total:max')})",
    "short",
    1,
)
REJECTED_HOUR = BoardSignal(
    _W("rejected, last hour", "近一小时拒收"),
    _W(
        "Records that could not be used within an hour; their bytes are in labeling.rejected.v1. Any that grows: a producer is wrong.",
        "一小时内无法使用的记录；原始字节在 labeling.rejected.v1。持续增长：生产者有误。",
    ),
    "sum(increase(max without (instance) (labelwatch_rejected_total{<of>})[1h:1m]))",
    "short",
    0,
)
ALERTS_FIRING = BoardSignal(
    _W("alerts firing", "告警触发"),
    _W("Alerts of the monitor that fire now. Pages first.", "当前触发的监控告警。page 优先。"),
    'count(ALERTS{alertname=~"Labelwatch.+",alertstate="firing",severity=~"page|ticket"}) or 0 * count(up{job="labelwatch"})',
    "short",
    0,
)
ALERTS_NOW = BoardSignal(
    _W("Now", "当前"),
    _W(
        "Alerts that fire now; each has a runbook of its name in docs/runbooks.",
        "当前触发的告警；docs/runbooks 中有同名处置手册。",
    ),
    'max by (severity, alertname, site, project, partition) (ALERTS{alertname=~"Labelwatch.+",alertstate="firing",severity=~"page|ticket"})',
    "short",
    0,
)
LAG_SECONDS = BoardSignal(
    _W("Lag by partition", "各分区滞后"),
    _W(
        "Age of the oldest record that no checkpoint holds; some seconds under load. It grows while a partition is stuck or no checkpoint can be written.",
        "尚未写入检查点的最早记录的时长；有负载时为数秒。卡住或无法写入检查点时增长。",
    ),
    "max by (partition) (labelwatch_consumer_lag_seconds{<of>})",
    "s",
)
LAG_RECORDS = BoardSignal(
    _W("Records waiting", "待处理记录"),
    _W(
        "Records that no checkpoint holds yet, by partition. Rising for minutes: the worker is too slow or stuck, or cannot write.",
        "各分区尚未写入检查点的记录数。持续数分钟上升：处理太慢、卡住或无法写入。",
    ),
    "max by (partition) (labelwatch_consumer_lag_records{<of>})",
    "short",
    0,
)


def _events(types: str) -> str:
    return f"sum({_counted_by('partition:labelwatch_events_total:max', f',type{types}')})"


EVENTS_LABELS = BoardSignal(
    _W("labels", "标注"), _W("Labels a second.", "每秒标注。"), _events('="label_submitted"'), "short", 1
)
EVENTS_REVIEWS = BoardSignal(
    _W("reviews", "复核"), _W("Reviews a second.", "每秒复核。"), _events('="label_reviewed"'), "short", 1
)
EVENTS_STATES = BoardSignal(
    _W("states", "状态"), _W("Changes of state a second.", "每秒状态变更。"), _events('="state_changed"'), "short", 1
)
EVENTS_OTHER = BoardSignal(
    _W("others", "其他"),
    _W("Events of other types a second.", "每秒其他类型事件。"),
    _events('!~"label_submitted|label_reviewed|state_changed"'),
    "short",
    1,
)
REJECTED_REASONS = BoardSignal(
    _W("Rejected by reason", "按原因拒收"),
    _W(
        "Records rejected a second by reason. Any for long: look into labeling.rejected.v1 for who sends them.",
        "每秒按原因拒收的记录。持续出现：到 labeling.rejected.v1 查看来源。",
    ),
    f"sum by (reason) ({_counted_by('partition:labelwatch_rejected_total:max')})",
    "short",
    2,
)


def _odd(series: str) -> str:
    return f"sum({_counted_by(series)})"


ODD_DUPLICATES = BoardSignal(
    _W("duplicates", "重复"),
    _W("Repeated events, counted once.", "重复事件，只计一次。"),
    _odd("partition:labelwatch_duplicates_total:max"),
    "short",
    2,
)
ODD_LATE = BoardSignal(
    _W("too late", "过晚"),
    _W("Events older than every window: in totals only.", "早于所有时间窗的事件：只计入总数。"),
    _odd("partition:labelwatch_late_events_total:max"),
    "short",
    2,
)
ODD_UNCHECKED = BoardSignal(
    _W("past the duplicate horizon", "超出查重范围"),
    _W("Events too old to be checked for duplicates, taken as new.", "过旧而无法查重的事件，按新事件处理。"),
    _odd("partition:labelwatch_unchecked_events_total:max"),
    "short",
    2,
)
ODD_UNKNOWN = BoardSignal(
    _W("unknown type", "未知类型"),
    _W("Events of a type that this version does not know.", "此版本不认识的事件类型。"),
    _odd("partition:labelwatch_unknown_events_total:max"),
    "short",
    2,
)
ODD_REVISED = BoardSignal(
    _W("verdicts changed later", "事后更改的判定"),
    _W(
        "Reviews changed after the fact, by appeal or audit. A rise: verdicts are disputed.",
        "因申诉或审核而事后更改的复核。上升：判定有争议。",
    ),
    "sum(rate(max without (instance) (labelwatch_revised_reviews_total{<of>})[$__rate_interval:15s]))",
    "short",
    2,
)
ODD_LOST = BoardSignal(
    _W("lost by retention", "因保留期丢失"),
    _W(
        "Records that the topic deleted before they were read. Any: figures are too low for good.",
        "在读取前已被主题删除的记录。只要有：数字永久偏低。",
    ),
    _odd("partition:labelwatch_lost_records_total:max"),
    "short",
    2,
)
EVENT_DELAY = BoardSignal(
    _W("Event to figure", "事件到数字"),
    _W(
        "Time from an event to its figure. Rising to the top: late producers or a slow worker.",
        "从事件发生到进入数字的时间。上移：生产者迟到或处理变慢。",
    ),
    f"sum by (le) (rate(labelwatch_event_delay_seconds_bucket{{<of>}}{_RATE}))",
    "short",
)


def _quantile(metric: str, q: str) -> str:
    return f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{<of>}}{_RATE})))"


CHECKPOINT_MEDIAN = BoardSignal(
    _W("median", "中位数"),
    _W("Half of the checkpoints take no longer.", "半数检查点不超过此时长。"),
    _quantile("labelwatch_checkpoint_seconds", "0.5"),
    "s",
    3,
)
CHECKPOINT_SLOW = BoardSignal(
    _W("99%", "99%"),
    _W(
        "Checkpoints as slow as one in a hundred. Above a second: the broker or the disk is slow, and a restart takes longer.",
        "百分之一最慢的检查点时长。超过一秒：broker 或磁盘慢，重启也更久。",
    ),
    _quantile("labelwatch_checkpoint_seconds", "0.99"),
    "s",
    3,
)
COMMIT_AGE = BoardSignal(
    _W("Since the last checkpoint", "距上次检查点"),
    _W(
        f"Age of the newest checkpoint by partition. Above {conditions.CHECKPOINT_OLD.said.en} with lag: the worker is stalled. "
        "A quiet night writes none.",
        f"各分区最新检查点的时长。超过{conditions.CHECKPOINT_OLD.said.zh}且有滞后：处理停滞。安静的夜里不写检查点。",
    ),
    "time() - max by (partition) (labelwatch_last_commit_timestamp_seconds{<of>})",
    "s",
    0,
)
UNCOMMITTED = BoardSignal(
    _W("records", "记录"),
    _W(
        "Records behind an open transaction, by partition: nobody may read them before it ends. Rising: its producer hangs.",
        "各分区排在未结束事务之后的记录：事务结束前无人可读。持续上升：其生产者挂起。",
    ),
    "max by (partition) (labelwatch_uncommitted_records{<of>})",
    "short",
    0,
)
OPEN_TRANSACTION = BoardSignal(
    _W("open since", "已打开"),
    _W(
        f"Age of the oldest open transaction by partition; 0 where none is open. Above {conditions.TRANSACTION_HANGS.said.en}: "
        "its producer hangs.",
        f"各分区最早未结束事务的时长；没有则为 0。超过 {conditions.TRANSACTION_HANGS.said.zh}：其生产者挂起。",
    ),
    "max by (partition) (labelwatch_open_transaction_seconds{<of>})",
    "s",
    0,
)


def _lately(metric: str, by: str = "") -> str:
    """PromQL: increase of a process's own counter within 15 minutes."""
    return f"sum{by} (increase({metric}{{<of>}}[15m]))"


FAILED_CHECKPOINTS = BoardSignal(
    _W("checkpoints not written", "检查点写入失败"),
    _W(
        "Checkpoints that could not be written, by reason, within 15 minutes; each is tried again. Any: figures go on, and "
        "nothing of them is durable.",
        "15 分钟内写入失败的检查点，按原因；会重试。只要有：数字继续更新，但都未持久化。",
    ),
    _lately("labelwatch_checkpoint_failures_total", " by (reason)"),
    "short",
    0,
)
FAILED_RESTORES = BoardSignal(
    _W("state not read back", "状态恢复失败"),
    _W(
        "Times within 15 minutes that a partition's state could not be read back. Any: its figures are missing.",
        "15 分钟内分区状态恢复失败的次数。只要有：该分区数字缺失。",
    ),
    _lately("labelwatch_restore_failures_total"),
    "short",
    0,
)
FAILED_DEAD_LETTERS = BoardSignal(
    _W("dead letters not written", "死信写入失败"),
    _W(
        "Rejected records within 15 minutes that could not be written to labeling.rejected.v1; each is tried again.",
        "15 分钟内未能写入 labeling.rejected.v1 的拒收记录；会重试。",
    ),
    _lately("labelwatch_dead_letter_failures_total"),
    "short",
    0,
)
FAILED_PAGES = BoardSignal(
    _W("pages not rendered", "页面生成失败"),
    _W(
        "Pages of metrics within 15 minutes that could not be rendered whole. Any: figures are missing.",
        "15 分钟内未能完整生成的指标页面。只要有：数字缺失。",
    ),
    _lately("labelwatch_render_errors_total"),
    "short",
    0,
)
READERS_CUT_OFF = BoardSignal(
    _W("Readers cut off within 15 minutes", "15 分钟内被中断的读取者"),
    _W(
        "Readers of a page who did not get it whole, by reason: slow; place or full, others needed theirs; memory, an older page. "
        "Prometheus among them: figures are missing.",
        "未能读完页面的读取者，按原因：slow 过慢；place 或 full 位置被占；memory 页面过旧。若是 Prometheus：数字缺失。",
    ),
    _lately("labelwatch_page_readers_cut_off_total", " by (reason)"),
    "short",
    0,
)
CERTIFICATES = BoardSignal(
    _W("Certificates end in", "证书剩余有效期"),
    _W(
        "Time until the first certificate of any worker ends, by use: the metrics pages, or Kafka. Below "
        f"{conditions.CERTIFICATE_ENDS.said.en}: renew it; at 0 nobody scrapes the worker, or it is locked out.",
        "各实例中最先到期证书的剩余时间，按用途：指标页面或 Kafka。不足 "
        f"{conditions.CERTIFICATE_ENDS.said.zh}：应更新；为 0：无法抓取，或实例被拒绝连接。",
    ),
    "min by (use) (labelwatch_certificate_expiry_timestamp_seconds{<of>}) - time()",
    "s",
    0,
)
OWNERS = BoardSignal(
    _W("Owners of partitions", "分区负责者"),
    _W(
        "How many workers own a partition: 1 is right, 0 is unread, 2 is a hand-over or a split group.",
        "分区由几个实例负责：1 正常，0 无人读取，2 为交接或消费组分裂。",
    ),
    "sum by (partition) (labelwatch_partition_owned{<of>})",
    "short",
    0,
)
READY = BoardSignal(
    _W("Ready", "就绪"),
    _W(
        "What the workers are ready for; what one is not is the reason why figures are missing.",
        "各实例的就绪情况；只要有一个未就绪，该项即数字缺失的原因。",
    ),
    "min by (reason) (labelwatch_ready{<of>})",
    "short",
    0,
)
WORKER_STARTED = BoardSignal(
    _W("Started", "启动"),
    _W("When the process began, with version and Python.", "进程启动时间，以及版本与 Python。"),
    "1000 * max by (instance) (process_start_time_seconds{<of>}) * on (instance) group_right () max by (instance, version, python) (labelwatch_build_info{<of>})",
    "dateTimeFromNow",
)
WORKER_MEMORY = BoardSignal(
    _W("Memory", "内存"),
    _W(
        f"Resident memory. Above {conditions.MEMORY_NEAR_LIMIT.said.en} of the container's limit: people or sites have grown; see "
        "docs/scaling.md.",
        f"常驻内存。超过容器上限的 {conditions.MEMORY_NEAR_LIMIT.said.zh}：人员或站点增长；见 docs/scaling.md。",
    ),
    "max by (instance) (process_resident_memory_bytes{<of>})",
    "bytes",
    0,
)
WORKER_CPU = BoardSignal(
    _W("CPU", "CPU 占用"),
    _W("Cores used. Near 1: the loop is full; add a worker.", "占用核数。接近 1：循环已满，应增加实例。"),
    f"max by (instance) (rate(process_cpu_seconds_total{{<of>}}{_RATE}))",
    "short",
    2,
)
WORKER_LOOP = BoardSignal(
    _W("Loop turned", "循环最近一次"),
    _W(
        "Age of the event loop's last turn. Above a few seconds: the worker hangs.",
        "事件循环最近一次运行距今。超过数秒：进程挂起。",
    ),
    "time() - max by (instance) (labelwatch_loop_timestamp_seconds{<of>})",
    "s",
    1,
)
RENDER_SECONDS = BoardSignal(
    _W("Time to render a page", "页面生成耗时"),
    _W(
        "Time to render a page of metrics. Near the scrape's time limit: figures will be missing.",
        "生成指标页面的耗时。接近抓取时限：数字会缺失。",
    ),
    "max by (page) (labelwatch_render_duration_seconds{<of>})",
    "s",
    3,
)
SERIES_DROPPED = BoardSignal(
    _W("Series left out", "被省略的序列"),
    _W(
        "Series left out by the cap, or of sites in two partitions. Any: some people's figures are missing.",
        "因上限或站点跨分区而省略的序列。只要有：部分人员数字缺失。",
    ),
    "sum(labelwatch_dropped_series{<of>}) or 0 * count(labelwatch_build_info{<of>})",
    "short",
    0,
)
_SKEWED = conditions.SITE_CLOCK_WRONG.said
CLOCK_SKEW = BoardSignal(
    _W("Clock skew by site", "各站点时钟偏差"),
    _W(
        f"Broker time minus event time, the ten largest. Above {_SKEWED.en}: late arrival; below -{_SKEWED.en} the site's clock "
        "is ahead, and at 5 minutes its events are rejected.",
        f"broker 时间减事件时间，最大的十个。高于 {_SKEWED.zh}：到达迟；低于 -{_SKEWED.zh}：站点时钟超前，达 5 分钟事件将被拒收。",
    ),
    "topk(10, max by (site) (labelwatch_clock_skew_seconds{<of>}))",
    "s",
    1,
)

# --- pipeline: what brings events from elsewhere; processes of their own, whose series begin with their first scrape


def _by_the_second(metric: str, more: str = "", by: str = "") -> str:
    """PromQL: rate of a process's own counter. Panels' least step is a minute."""
    return f"sum{by} (rate({metric}{{<of>{more}}}{_RATE}))"


HOOKS_READ = BoardSignal(
    _W("read", "已读取"),
    _W(
        "Webhooks read and kept a second. 0 while people label: the tool sends none, or not to here.",
        "每秒读取并保存的 webhook。有人标注时为 0：工具没有发送，或没有发到这里。",
    ),
    _by_the_second("labelwatch_ingest_hooks_total"),
    "short",
    2,
)
HOOKS_REFUSED = BoardSignal(
    _W("refused", "已拒绝"),
    _W(
        "Requests refused a second by reason. secret: a stranger, or the tool has another secret; spool: the disk is full, and hooks "
        "get lost until the next sweep.",
        "每秒拒绝的请求，按原因。secret：陌生来源，或工具的密钥不同；spool：磁盘已满，下次比对前 webhook 会丢失。",
    ),
    _by_the_second("labelwatch_ingest_refused_total", by=" by (reason)"),
    "short",
    2,
)
SPOOL_RECORDS = BoardSignal(
    _W("events waiting", "等待中的事件"),
    _W(
        "Events on the receiver's disk that Kafka does not have yet. Rising: Kafka is away; nothing is lost until the disk is full.",
        "接收器磁盘上尚未写入 Kafka 的事件。持续上升：Kafka 中断；磁盘写满之前不会丢失。",
    ),
    "max by (instance) (labelwatch_ingest_spool_records{<of>})",
    "short",
    0,
)
SPOOL_AGE = BoardSignal(
    _W("oldest waits for", "最早等待时长"),
    _W(
        "Age of the oldest event that waits; 0 where none does. Above 5 minutes a ticket says so.",
        "最早等待事件的时长；没有则为 0。超过 5 分钟发出工单。",
    ),
    "max by (instance) (labelwatch_ingest_spool_age_seconds{<of>})",
    "s",
    0,
)
HOOKS_MISSING = BoardSignal(
    _W("missing, within an hour", "一小时内缺失"),
    _W(
        "Changes within an hour that a comparison with the tool found and no webhook had reported. Any: webhooks get lost on the way; "
        "these count now, late.",
        "一小时内与工具比对时发现、而没有 webhook 报告过的变更。只要有：webhook 在途中丢失；它们现已计入，只是晚了。",
    ),
    "sum by (kind) (increase(labelwatch_ingest_missing_total{<of>}[1h]))",
    "short",
    0,
)
SWEEPS_FAILED = BoardSignal(
    _W("sweeps failed, within an hour", "一小时内比对失败"),
    _W(
        "Comparisons with the tool within an hour that failed; the next does their work. Any that goes on: lost webhooks stay lost.",
        "一小时内失败的比对；下一次会补做。持续出现：丢失的 webhook 无法找回。",
    ),
    "sum(increase(labelwatch_ingest_sweep_failures_total{<of>}[1h]))",
    "short",
    0,
)
BRIDGE_MAPPED = BoardSignal(
    _W("mapped to events", "已映射为事件"),
    _W("Records a second that became events.", "每秒成为事件的记录。"),
    _by_the_second("labelwatch_bridge_records_total", ',outcome="mapped"'),
    "short",
    1,
)
BRIDGE_PASSED = BoardSignal(
    _W("of no event", "不产生事件"),
    _W("Records a second of which the mapping makes nothing.", "每秒按映射不产生事件的记录。"),
    _by_the_second("labelwatch_bridge_records_total", ',outcome="passed"'),
    "short",
    1,
)
BRIDGE_REJECTED = BoardSignal(
    _W("rejected", "已拒收"),
    _W(
        "Records a second that cannot be used, by reason. Rising at once: the tool or the mapping has changed.",
        "每秒无法使用的记录，按原因。突然上升：工具或映射已改变。",
    ),
    _by_the_second("labelwatch_bridge_rejected_total", by=" by (reason)"),
    "short",
    1,
)
BRIDGE_WAITING = BoardSignal(
    _W("records waiting", "等待中的记录"),
    _W(
        "Records of a partition of the source behind the last commit. Rising: one process is too slow, start a second one.",
        "来源各分区在最近一次提交之后的记录。持续上升：一个进程太慢，再启动一个。",
    ),
    "max by (instance, partition) (labelwatch_bridge_waiting_records{<of>})",
    "short",
    0,
)
BRIDGE_COMMIT_AGE = BoardSignal(
    _W("since the last commit", "距上次提交"),
    _W(
        "How long ago something of the partition was committed. Old with records waiting: stuck; old without: the topic is still.",
        "该分区距最近一次提交的时长。旧且有记录等待：卡住；没有等待：主题安静。",
    ),
    "time() - max by (instance, partition) (labelwatch_bridge_last_commit_timestamp_seconds{<of>})",
    "s",
    0,
)
BRIDGE_TRANSACTIONS = BoardSignal(
    _W("committed a second", "每秒提交"),
    _W(
        "Transactions committed a second. 0 with records waiting: nothing goes on.",
        "每秒提交的事务。为 0 且有记录等待：没有进展。",
    ),
    _by_the_second("labelwatch_bridge_transactions_total"),
    "short",
    2,
)
BRIDGE_FAILURES = BoardSignal(
    _W("failed, within 15 minutes", "15 分钟内失败"),
    _W(
        "Times within 15 minutes that Kafka failed and all began anew at the last commit; nothing is lost or counted twice by it.",
        "15 分钟内 Kafka 失败并从最近一次提交处重新开始的次数；不会丢失，也不会重复计入。",
    ),
    _lately("labelwatch_bridge_failures_total"),
    "short",
    0,
)
