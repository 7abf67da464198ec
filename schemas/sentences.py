"""A drift in a sentence, in English and in Chinese, that can be forwarded to the site as it stands."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from schemas.drift import Cause, DriftRecord, Level

_TASKS_TOLD = 3
_CAUSES_TOLD = 3
_SUBJECT = {
    "accuracy": ("accuracy", "准确率"),
    "accuracy_target": ("accuracy against its target", "准确率，对照目标"),
    "agent_accuracy": ("accuracy", "准确率"),
    "qa_accuracy": ("accuracy of review verdicts", "质检判定准确率"),
    "error_finding": ("share of reviews that find an error", "质检发现错误的比例"),
    "handle_time": ("typical handling time", "单条标注的典型时长"),
    "label_mix": ("share of a label", "某一标签的占比"),
}
_DIMENSION = {
    "agent": ("agent", "标注员"),
    "project": ("project", "项目"),
    "label": ("label", "标签"),
    "error_type": ("error type", "错误类型"),
    "sop_version": ("SOP version", "SOP 版本"),
    "market": ("market", "市场"),
    "reviewer": ("reviewer", "质检员"),
    "stratum": ("difficulty class", "难度分层"),
}


def english(record: DriftRecord, timezone: str) -> str:
    """The drift in English; times in the site's zone."""
    subject = _SUBJECT[record.signal][0]
    who = record.site_id + (f", project {record.project_id}" if record.project_id else "")
    who += f", {record.agent_id}" if record.agent_id else ""
    if record.status == "cleared":
        return (
            f"{who}: {subject} is back to normal ({_value(record, record.before)}) as of {_time(record.at, timezone)}; "
            f"it had been {_value(record, record.since)} over {record.since.n:,} {_unit(record)[0]}."
        )
    moved = "fell" if record.direction == "down" else "rose"
    if record.target is not None:
        subject = f"{subject} of {record.target:.1%}"
    parts = [
        f"{who}: {subject} {moved} from {_value(record, record.before)} to {_value(record, record.since)}"
        f"{_interval(record, 'to', '95% interval ')} over {record.since.n:,} {_unit(record)[0]}, "
        f"since about {_time(record.began_at, timezone)}."
    ]
    if record.verdict == "mix":
        parts.append("More of the work is of a harder kind; like for like it changed less.")
    elif record.verdict == "spread":
        parts.append("It is spread evenly: no person, project or kind of work stands out.")
    if record.causes and record.verdict != "spread":
        told = "; ".join(
            f"{_DIMENSION[cause.by][0]} {cause.member} ({_effect(cause)}, {_part(record, cause)[0]})"
            for cause in record.causes[:_CAUSES_TOLD]
        )
        parts.append(f"Largest causes: {told}.")
    if record.task_ids:
        parts.append(f"For example {', '.join(record.task_ids[:_TASKS_TOLD])}.")
    return " ".join(parts)


def chinese(record: DriftRecord, timezone: str) -> str:
    """The same in Chinese."""
    subject = _SUBJECT[record.signal][1]
    who = record.site_id + (f"，项目 {record.project_id}" if record.project_id else "")
    who += f"，{record.agent_id}" if record.agent_id else ""
    if record.status == "cleared":
        return (
            f"{who}：截至 {_time(record.at, timezone)}，{subject}已恢复正常水平（{_value(record, record.before)}）；"
            f"异常期间为 {_value(record, record.since)}，基于 {record.since.n:,} {_unit(record)[1]}。"
        )
    moved = "下降" if record.direction == "down" else "上升"
    if record.target is not None:
        subject = f"{subject} {record.target:.1%}"
    parts = [
        f"{who}：{subject}由 {_value(record, record.before)} {moved}至 {_value(record, record.since)}"
        f"{_interval(record, '至', '95% 区间 ')}，"
        f"基于 {record.since.n:,} {_unit(record)[1]}，约自 {_time(record.began_at, timezone)} 开始。"
    ]
    if record.verdict == "mix":
        parts.append("主要原因是任务构成发生变化，同类任务的质量并未同等变差。")
    elif record.verdict == "spread":
        parts.append("变化分布均匀，没有特别突出的人员、项目或任务类型。")
    if record.causes and record.verdict != "spread":
        told = "；".join(
            f"{_DIMENSION[cause.by][1]} {cause.member}（{'质量变化' if cause.effect == 'rate' else '占比变化'}，"
            f"{_part(record, cause)[1]}）"
            for cause in record.causes[:_CAUSES_TOLD]
        )
        parts.append(f"主要影响因素：{told}。")
    if record.task_ids:
        parts.append(f"示例任务：{'、'.join(record.task_ids[:_TASKS_TOLD])}。")
    return "".join(parts)


def _interval(record: DriftRecord, to: str, what: str) -> str:
    low, high = record.since.lower, record.since.upper
    if low is None or high is None:
        return ""
    return f" ({what}{low:.1%} {to} {high:.1%})"


def _value(record: DriftRecord, level: Level) -> str:
    return f"{level.value:.1f} s" if record.signal == "handle_time" else f"{level.value:.1%}"


def _unit(record: DriftRecord) -> tuple[str, str]:
    return ("labels", "条标注") if record.signal in ("handle_time", "label_mix") else ("reviews", "条质检")


def _part(record: DriftRecord, cause: Cause) -> tuple[str, str]:
    """How much of the change a cause is, in English and Chinese."""
    if record.signal == "handle_time":
        share = cause.points / math.log(record.since.value / record.before.value)
        return f"{share:.0%} of the change", f"占变化的 {share:.0%}"
    points = f"{cause.points * 100:+.1f}"
    return f"{points} points", f"{points} 个百分点"


def _effect(cause: Cause) -> str:
    return "changed in itself" if cause.effect == "rate" else "another share of the work"


def _time(at_ms: int, timezone: str) -> str:
    zone = ZoneInfo(timezone) if timezone != "UTC" else UTC
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%Y-%m-%d %H:%M ") + timezone
