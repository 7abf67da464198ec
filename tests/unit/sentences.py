"""Reads a drift's sentences back, and says where they disagree with the record: an oracle that shares no code."""

import math
import re
from datetime import datetime
from zoneinfo import ZoneInfo

from schemas.drift import DriftRecord

#: A figure as it is shown, with an optional sign: digits and decimals, then its unit.
_FIGURE = r"([+-]?[\d,]+(?:\.\d+)?)(?: ?)(%|s\b|points|秒|个百分点)"
_TIME = r"(\d{4}-\d\d-\d\d \d\d:\d\d) ([A-Za-z_]+(?:/[A-Za-z_]+)*)"


def _shows(text: str, unit: str, value: float) -> bool:
    """Whether a shown figure is a value, rounded to the decimals that it is shown with."""
    scale = 1 if unit in ("s", "秒") else 100
    decimals = len(text.partition(".")[2])
    return bool(abs(float(text.replace(",", "")) - scale * value) <= 0.5000001 * 10**-decimals)


def _cut_names(record: DriftRecord, text: str) -> str:
    """The sentence without names, which may say anything."""
    names = {record.site_id, record.project_id, record.agent_id, record.label, *record.task_ids}
    names |= {cause.member for cause in record.causes} | {each.member for each in record.within}
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = text.replace(name, "\x00")
    return text


def disagreements(record: DriftRecord, timezone: str) -> list[str]:
    """What the sentences say that the record does not, and what they leave out; empty where both agree."""
    return [
        f"{language}: {complaint}"
        for language, text in (("en", record.text), ("zh", record.text_zh))
        for complaint in _disagreements(record, text, timezone, language == "en")
    ]


def _disagreements(  # noqa: C901 - one check after another
    record: DriftRecord, text: str, timezone: str, english: bool
) -> list[str]:
    wrong: list[str] = []
    plain = _cut_names(record, text)
    head, _, rest = plain.partition(". " if english else "。")
    # Times first, so that their digits are no figures.
    times = re.findall(_TIME, plain)
    when = record.at if record.status == "cleared" else record.began_at
    zone = ZoneInfo(timezone)
    expected = datetime.fromtimestamp(when / 1000, zone).strftime("%Y-%m-%d %H:%M")
    if times != [(expected, timezone)]:
        wrong.append(f"times {times}, not {expected} {timezone}")
    figures = re.findall(_FIGURE, re.sub(_TIME, "", head))
    values = [number for number, _ in figures]
    if not record.began_at_low <= record.began_at <= record.began_at_high:
        wrong.append("the interval of the beginning does not hold it")
    if not record.began_at <= record.opened_at <= (record.cleared_at or record.opened_at) <= max(record.at, 0):
        wrong.append("beginning, finding and end are not in order")
    # Every figure of the first sentence is one of the record's.
    known = [record.before.value, record.since.value]
    known += [each for each in (record.target, record.since.lower, record.since.upper, 0.95) if each is not None]
    for number, unit in figures:
        if not any(_shows(number, unit, value) for value in known):
            wrong.append(f"{number}{unit} is no figure of the record")
    if not any(_shows(number, unit, record.since.value) for number, unit in figures):
        wrong.append("the figure since the change is missing")
    unit = {"handle_time": "s"}.get(record.signal, "%")
    if any(each != unit for _, each in figures):
        wrong.append(f"units {figures}, not {unit}")
    if f"{record.since.n:,}" not in head:
        wrong.append("n is missing")
    # 100% and 0% are said of nothing less.
    for number, of in figures:
        if of == "%" and float(number.replace(",", "")) in (0, 100) and not any(v in (0, 1) for v in known):
            wrong.append(f"{number}% is rounded to what it is not")
    if record.signal == "label_mix" and record.label and record.label not in text:
        wrong.append("whose share it is, is missing")
    # Direction. "fell" and "rose" only where the figures shown did.
    verb = re.search(r" (fell|rose) from | (下降)至 |(上升)至 ", head)
    if verb:
        down = verb[0].strip(" 至").startswith(("fell", "下降"))
        first, second = (float(value.replace(",", "")) for value in values[:2])
        if down != (record.direction == "down") or (second < first) != down or record.target is not None:
            wrong.append(f"{verb[0]!r} of {values[:2]}, record {record.direction}")
    if record.target is not None and record.status == "opened":
        below = ("below its target of" in head or "低于目标" in head) and "does not show" not in head
        below &= "尚未体现" not in head
        # The target comes first, then the figure since.
        target, now = (float(value.replace(",", "")) for value in values[:2])
        if below and not now < target:
            wrong.append(f"below the target: {values[:2]}")
        if not _shows(values[0], "%", record.target):
            wrong.append("the target is missing")
    beyond = "went the other way" in text or "方向相反" in text
    return wrong + _parts_disagree(record, rest, english, beyond)


def _parts_disagree(record: DriftRecord, rest: str, english: bool, others: bool) -> list[str]:
    wrong: list[str] = []
    parts = re.findall(_FIGURE, rest)
    if record.status == "cleared":
        return ["parts of a drift that is over"] if parts else []
    unit = ("s" if english else "秒") if record.signal == "handle_time" else ("points" if english else "个百分点")
    if any(each != unit for _, each in parts):
        wrong.append(f"parts {parts}, not in {unit}")
    if not parts:
        return wrong
    change = record.since.value - record.before.value
    if (change < 0) != (record.direction == "down"):
        wrong.append(f"parts of a change the other way: {change:+}")
    # Seconds of a part of the logarithm: the logarithmic mean.
    log = record.signal == "handle_time" and change
    scale = change / math.log(record.since.value / record.before.value) if log else 1.0
    told = [cause for cause in record.causes if record.signal != "label_mix" or cause.member != record.label][:3]
    told.sort(key=lambda cause: abs(cause.points), reverse=True)
    expected = [cause.points * scale for cause in told]
    if record.signal != "label_mix":
        expected.insert(0, change)
    if len(parts) != len(expected) or not all(
        _shows(number, of if of in ("s", "秒") else "%", value)
        for (number, of), value in zip(parts, expected, strict=True)
    ):
        wrong.append(f"parts {parts}, not {expected}")
    if any(float(number.replace(",", "")) == 0 for number, _ in parts):
        wrong.append("a part of nothing")
    beyond = record.signal != "label_mix" and any(abs(part) > abs(change) for part in expected[1:])
    if beyond != others:
        wrong.append("a part beyond the whole, and not said why")
    return wrong
