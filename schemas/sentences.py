"""A drift in a sentence, in English and in Chinese, that can be forwarded to the site unchanged.

What is said agrees with the record: a figure "fell" only where the figures shown fell, and parts are in its own unit.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.drift import CHILDREN_MAX, OURS, Cause, DriftRecord
from schemas.words import DIMENSIONS, SUBJECTS

_TASKS_TOLD = 3
_CAUSES_NAMED = 3
_MEMBERS_TOLD = 5
#: Decimals at most: what is equal at so many is equal.
_DECIMALS_MAX = 4
#: What there is more of where the kind of work has changed, by signal (accuracy where not named) and direction.
_KIND_OF_WORK = {
    ("handle_time", "up"): "slower",
    ("handle_time", "down"): "quicker",
    ("error_finding", "down"): "easier",
}


def english(record: DriftRecord, timezone: str) -> str:
    """The drift in English; times in the site's zone."""
    subject = _subject(record)[0]
    who = record.site_id + (f", project {record.project_id}" if record.project_id else "")
    who += f", {record.agent_id}" if record.agent_id else ""
    before, since = _figures(record)
    over = f"over {'at least ' if record.began_earlier else ''}{record.since.n:,} {unit(record)[0]}"
    if record.ended == "with_parent":
        return (
            f"{who}: the site's drift {record.parent}, which this one belonged to, is over as of "
            f"{_time(record.at, timezone)}; {subject}, {since} {over}, is watched afresh."
        )
    if record.status == "cleared":
        back = f"back to normal (usually {before})" if record.target is None else f"back at its target of {before}"
        return f"{who}: {subject} is {back} as of {_time(record.at, timezone)}; it had been {since} {over}."
    seen = f"{since}{_interval(record, 'to', '95% interval ')} {over}"
    began = f"since about {_time(record.began_at, timezone)}{' or earlier' if record.began_earlier else ''}"
    fell, fall = ("fell", "fall") if record.direction == "down" else ("rose", "rise")
    if record.target is not None:
        earlier = f"; before that {_value(record, record.before.value)}" if record.before.n else ""
        below = f"below its target of {before}"
        parts = [
            f"{who}: {subject} is {below}: {seen}, {began}{earlier}."
            if has_moved(record)
            else f"{who}: {subject} has fallen {below}, though the average does not show it: {seen}, {began}{earlier}."
        ]
    elif has_moved(record):
        parts = [f"{who}: {subject} {fell} from {before} to {seen}, {began}."]
    else:
        parts = [f"{who}: a {fall} of {subject} was found that averages do not show: {before} before, {seen}, {began}."]
    parts += _why(record, _ENGLISH)
    if record.parent:
        parts.append(f"It belongs to the site's drift {record.parent}.")
    if record.children:
        found = (
            "1 drift that was found before belongs"
            if len(record.children) == 1
            else (f"{_at_least(record, 'At least ')}{len(record.children)} drifts that were found before belong")
        )
        parts.append(f"{found} to it{_within(record, ': ', ', ', ' and {}{} more', 0)}.")
    if record.task_ids:
        parts.append(f"For example {', '.join(record.task_ids[:_TASKS_TOLD])}.")
    return " ".join(parts)


def chinese(record: DriftRecord, timezone: str) -> str:
    """The same in Chinese."""
    subject = _subject(record)[1]
    who = record.site_id + (f"，项目 {record.project_id}" if record.project_id else "")
    who += f"，{record.agent_id}" if record.agent_id else ""
    before, since = _figures(record)
    over = f"基于{'至少' if record.began_earlier else ''} {record.since.n:,} {unit(record)[1]}"
    if record.ended == "with_parent":
        return (
            f"{who}：所属的站点异常 {record.parent} 截至 {_time(record.at, timezone)} 已结束；"
            f"{subject}（期间为 {since}，{over}）重新开始监测。"
        )
    if record.status == "cleared":
        back = f"已恢复正常水平（通常为 {before}）" if record.target is None else f"已回到目标 {before}"
        return f"{who}：截至 {_time(record.at, timezone)}，{subject}{back}；异常期间为 {since}，{over}。"
    seen = f"{since}{_interval(record, '至', '95% 区间 ')}，{over}"
    began = f"约自 {_time(record.began_at, timezone)} {'或更早' if record.began_earlier else ''}开始"
    moved = "下降" if record.direction == "down" else "上升"
    if record.target is not None:
        earlier = f"；此前为 {_value(record, record.before.value)}" if record.before.n else ""
        parts = [
            f"{who}：{subject}低于目标 {before}，为 {seen}，{began}{earlier}。"
            if has_moved(record)
            else f"{who}：{subject}已降至目标 {before} 以下，但平均值尚未体现：{seen}，{began}{earlier}。"
        ]
    elif has_moved(record):
        parts = [f"{who}：{subject}由 {before} {moved}至 {seen}，{began}。"]
    else:
        parts = [f"{who}：检测到{subject}{moved}，但平均值尚未体现：此前为 {before}，其后为 {seen}，{began}。"]
    parts += _why(record, _CHINESE)
    if record.parent:
        parts.append(f"属于站点异常 {record.parent}。")
    if record.children:
        named = _within(record, "：", "、", " 等，另有{} {} 项", 1)
        parts.append(f"此前检出的{_at_least(record, '至少')} {len(record.children)} 项变化属于此次异常{named}。")
    if record.task_ids:
        parts.append(f"示例任务：{'、'.join(record.task_ids[:_TASKS_TOLD])}。")
    return "".join(parts)


def _within(record: DriftRecord, head: str, between: str, more: str, language: int) -> str:
    """Whose belong to it, by name as far as one reads; empty where all of them are the site's own."""
    if not record.within:
        return ""
    named = between.join(f"{DIMENSIONS[each.by][language]} {each.member}" for each in record.within[:_MEMBERS_TOLD])
    # Of the site's own, which have no name, too: what is named and the rest are as many as were counted.
    rest = len(record.children) - min(len(record.within), _MEMBERS_TOLD)
    return head + named + (more.format(_at_least(record, ("at least ", "至少")[language]), rest) if rest > 0 else "")


def _at_least(record: DriftRecord, words: str) -> str:
    """The words where a record may not name all that belong to its drift."""
    return words if len(record.children) >= CHILDREN_MAX else ""


def has_moved(record: DriftRecord) -> bool:
    """Whether the figures, as they are shown, have moved the way that the record says."""
    compared = record.before.value if record.target is None else record.target
    differ = not _same(record, compared, record.since.value, _DECIMALS_MAX)
    return differ and (record.since.value < compared) == (record.direction == "down")


def part(record: DriftRecord, cause: Cause) -> tuple[str, str]:
    """A part of the change in the figure's own unit, points or seconds, in English and Chinese."""
    return _change(record, _points(record, cause))


# --- why


class _Say(NamedTuple):
    """How a language says why: texts by verdict, and the sentence of causes."""

    mix: Callable[[DriftRecord], str]
    spread: str
    unknown: str
    causes: Callable[[DriftRecord, list[Cause], float, bool], str]


def _why(record: DriftRecord, say: _Say) -> list[str]:
    """The sentences about causes: none where averages do not show the change that they would take apart."""
    if record.verdict == "unknown":
        return [say.unknown]
    whole = _whole(record)
    if whole is None:
        return []
    if record.verdict == "spread":
        return [say.spread]
    named = [cause for cause in record.causes if not (record.signal == "label_mix" and cause.member == record.label)]
    # Chosen by how far each goes beyond its fair share; read by size.
    named = sorted(named[:_CAUSES_NAMED], key=lambda cause: -abs(cause.points))
    parts = [say.mix(record)] if record.verdict == "mix" else []
    if named:
        beyond = record.signal != "label_mix" and any(abs(_points(record, each)) > abs(whole) for each in named)
        parts.append(say.causes(record, named, whole, beyond))
    return parts


def _whole(record: DriftRecord) -> float | None:
    """The change that causes are parts of: from before to since; None where it does not go the record's way."""
    change = record.since.value - record.before.value
    if not record.before.n or (change < 0) != (record.direction == "down") or not has_moved(record):
        return None
    return change


def _points(record: DriftRecord, cause: Cause) -> float:
    """A part in the unit of the level.

    Of handling time, whose parts add up to the change of the logarithm, the logarithmic mean makes seconds of them that
    add up to the change in seconds (Ang 2004).
    """
    if record.signal != "handle_time":
        return cause.points
    before, since = record.before.value, record.since.value
    return cause.points * ((since - before) / math.log(since / before) if since != before else before)


def _mix_english(record: DriftRecord) -> str:
    kind = _KIND_OF_WORK.get((record.signal, record.direction), "harder")
    return f"More of the work is of {'an' if kind == 'easier' else 'a'} {kind} kind; like for like it changed less."


def _mix_chinese(_record: DriftRecord) -> str:
    return "主要原因是任务构成发生变化，同类任务的变化较小。"


def _causes_english(record: DriftRecord, named: list[Cause], whole: float, beyond: bool) -> str:
    if record.signal == "label_mix":
        listed = "; ".join(f"{DIMENSIONS[each.by][0]} {each.member} ({part(record, each)[0]})" for each in named)
        return f"What else moved: {listed}."
    listed = "; ".join(
        f"{DIMENSIONS[each.by][0]} {each.member} ({_effect(each)[0]}, {part(record, each)[0]})" for each in named
    )
    text = f"Largest causes of the {_change(record, whole)[0]}: {listed}."
    return text + " Other parts went the other way, so that one part can be more than the whole." * beyond


def _causes_chinese(record: DriftRecord, named: list[Cause], whole: float, beyond: bool) -> str:
    if record.signal == "label_mix":
        listed = "；".join(f"{DIMENSIONS[each.by][1]} {each.member}（{part(record, each)[1]}）" for each in named)
        return f"其他变化：{listed}。"
    listed = "；".join(
        f"{DIMENSIONS[each.by][1]} {each.member}（{_effect(each)[1]}，{part(record, each)[1]}）" for each in named
    )
    text = f"总变化 {_change(record, whole)[1]}，主要影响因素：{listed}。"
    return text + "其他部分方向相反，因此单个部分可能大于总变化。" * beyond


def _effect(cause: Cause) -> tuple[str, str]:
    return ("changed in itself", "自身变化") if cause.effect == "rate" else ("another share of the work", "占比变化")


_ENGLISH = _Say(
    _mix_english,
    "It is spread evenly: no person, project or kind of work stands out.",
    "Too little is known from before to say what has changed.",
    _causes_english,
)
_CHINESE = _Say(
    _mix_chinese,
    "变化分布均匀，没有特别突出的人员、项目或任务类型。",
    "变化前的数据太少，无法判断原因。",
    _causes_chinese,
)


# --- figures


def _subject(record: DriftRecord) -> tuple[str, str]:
    if record.signal != "label_mix":
        return SUBJECTS[record.signal]
    if not record.label:
        return SUBJECTS["label_mix"]
    return f"share of label {record.label}", f"标签 {record.label} 的占比"


def _figures(record: DriftRecord) -> tuple[str, str]:
    """What it is compared with, and the figure since: with as many decimals as tell them apart."""
    compared = record.before.value if record.target is None else record.target
    decimals = 1
    while decimals < _DECIMALS_MAX and _same(record, compared, record.since.value, decimals):
        decimals += 1
    return _value(record, compared, decimals), _value(record, record.since.value, decimals)


def _same(record: DriftRecord, one: float, other: float, decimals: int) -> bool:
    scale = 1 if record.signal == "handle_time" else 100
    return round(scale * one, decimals) == round(scale * other, decimals)


# --- river beside ours


def agreement(record: DriftRecord, other: str | None) -> tuple[str, str]:
    """What ours and river's detectors say of each other, in English and Chinese.

    Args:
        record: Of river's, or of ours where the other is open, too.
        other: The other detector whose drift is open on the same stream and direction; None where there is none.
    """
    if record.detector == OURS:
        if record.status == "opened":
            return f"River's {other} agrees.", f"river 的 {other} 也检出了同一变化。"
        return f"River's {other} has it open still.", f"river 的 {other} 仍视其为进行中。"
    found = f"Found by river's {record.detector}, no promise: nobody knows how often it is wrong"
    in_chinese = f"由 river 的 {record.detector} 检出，不作保证：其误报频率未知"
    if record.status == "cleared":
        more = (
            ("; labelwatch's own drift is open still.", "；labelwatch 自身的检测仍为进行中。") if other else (".", "。")
        )
    elif other:
        more = "; labelwatch's own test agrees.", "；labelwatch 自身的检测结论一致。"
    else:
        more = "; labelwatch's own test does not find it so far.", "；labelwatch 自身的检测目前未发现变化。"
    return found + more[0], in_chinese + more[1]


def _interval(record: DriftRecord, to: str, what: str) -> str:
    low, high = record.since.lower, record.since.upper
    if low is None or high is None:
        return ""
    return f" ({what}{_percent(low)} {to} {_percent(high)})"


def _value(record: DriftRecord, value: float, decimals: int = 1) -> str:
    return f"{value:,.{decimals}f} s" if record.signal == "handle_time" else _percent(value, decimals)


def _percent(ratio: float, decimals: int = 1) -> str:
    """A ratio in percent; 100% and 0% are said of nothing less and nothing more."""
    while decimals < _DECIMALS_MAX and 0 < ratio < 1 and round(100 * ratio, decimals) in (0, 100):
        decimals += 1
    return f"{100 * ratio:.{decimals}f}%"


def _change(record: DriftRecord, change: float) -> tuple[str, str]:
    """A change with its sign, in points or seconds; with as many decimals as it takes to be none of zero."""
    amount = change if record.signal == "handle_time" else 100 * change
    decimals = 1
    while decimals < _DECIMALS_MAX and amount and not round(amount, decimals):
        decimals += 1
    english, chinese = ("s", "秒") if record.signal == "handle_time" else ("points", "个百分点")
    return f"{amount:+.{decimals}f} {english}", f"{amount:+.{decimals}f} {chinese}"


def unit(record: DriftRecord) -> tuple[str, str]:
    """What its n counts, in English and Chinese."""
    return ("labels", "条标注") if record.signal in ("handle_time", "label_mix") else ("reviews", "条质检")


def _time(at_ms: int, timezone: str) -> str:
    zone = ZoneInfo(timezone) if timezone != "UTC" else UTC
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%Y-%m-%d %H:%M ") + timezone
