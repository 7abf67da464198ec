"""Every event of `labeling.events.v1` as a msgspec tagged union: the first thing that touches a record.

An optional field may be absent or null; both mean its default, which the engine
resolves once for each distinct combination rather than once for each event.
"""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

#: Identifiers: 1 to 128 characters; those that hide, turn or show nothing are refused in `streams.engine.decode`,
#: where one scan of a whole batch is far cheaper than a pattern on each field (2 us an event).
Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
FreeText = Annotated[str, Meta(max_length=1000)]
#: Epoch milliseconds up to the end of the year 9999.
EpochMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
#: Milliseconds of work on one item. No upper limit: the engine caps it and counts that it did.
DurationMs = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
PositiveRatio = Annotated[float, Meta(gt=0, le=1)]
IsoDate = Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z")]
Identifiers = Annotated[list[Identifier], Meta(max_length=256)]

Purpose = Literal["production", "gold", "calibration", "training", "test"]
Role = Literal["agent", "qa"]
Source = Literal["qa", "audit", "consensus", "gold"]
Sampling = Literal["random", "stratified", "targeted", "full", "unknown"]
Severity = Literal["minor", "major", "critical"]
State = Literal["productive", "available", "break", "training", "meeting", "offline"]

#: In the order of their codes in the engine's columns; never reorder, they are in checkpoints.
STATES: tuple[str, ...] = ("productive", "available", "break", "training", "meeting", "offline")
SOURCES: tuple[str, ...] = ("qa", "audit", "consensus", "gold")
SAMPLINGS: tuple[str, ...] = ("random", "stratified", "targeted", "full", "unknown")
ROLES: tuple[str, ...] = ("agent", "qa")
SEVERITIES: tuple[str, ...] = ("minor", "major", "critical")

#: `site_id` of an event that speaks to a whole partition rather than to a site.
EVERY_SITE = "*"


class Event(msgspec.Struct, tag_field="type", gc=False):
    """What every event has. `at` is the event time in epoch milliseconds."""

    event_id: Identifier
    at: EpochMs
    site_id: Identifier


class LabelSubmitted(Event, tag="label_submitted", gc=False):
    """An agent handed in a label, or skipped the task."""

    agent_id: Identifier
    project_id: Identifier
    task_id: Identifier
    label: FreeText | None = None
    handle_ms: DurationMs | None = None
    market: Identifier | None = None
    sop_version: Identifier | None = None
    skipped: bool | None = None
    skip_reason: FreeText | None = None
    label_id: Identifier | None = None
    attempt: Positive | None = None
    purpose: Purpose | None = None
    request_id: Identifier | None = None
    queue: Identifier | None = None
    content_type: Identifier | None = None
    language: Identifier | None = None
    skill: Identifier | None = None
    stratum: Identifier | None = None
    policy_code: Identifier | None = None
    shift_id: Identifier | None = None
    prelabel: FreeText | None = None


class ReviewError(msgspec.Struct, gc=False):
    """One error that a review found."""

    type: Identifier
    severity: Severity | None = None
    policy_code: Identifier | None = None


class LabelReviewed(Event, tag="label_reviewed", kw_only=True, gc=False):
    """A label (role `agent`) or a reviewer's verdict (role `qa`) was judged."""

    agent_id: Identifier
    project_id: Identifier
    task_id: Identifier
    reviewer_id: Identifier | None = None
    sampling: Sampling | None = None
    correct: bool
    label: FreeText | None = None
    expected: FreeText | None = None
    error_type: Identifier | None = None
    severity: Severity | None = None
    labeled_at: EpochMs | None = None
    market: Identifier | None = None
    sop_version: Identifier | None = None
    role: Role | None = None
    verdict: bool | None = None
    review_id: Identifier | None = None
    label_id: Identifier | None = None
    review_round: Positive | None = None
    reviewer_org: Literal["vendor", "client"] | None = None
    reviewer_site_id: Identifier | None = None
    source: Source | None = None
    sampling_rate: PositiveRatio | None = None
    blind: bool | None = None
    purpose: Purpose | None = None
    score: Ratio | None = None
    errors: Annotated[list[ReviewError], Meta(max_length=64)] | None = None
    review_ms: DurationMs | None = None
    request_id: Identifier | None = None
    queue: Identifier | None = None
    review_sop_version: Identifier | None = None
    content_type: Identifier | None = None
    language: Identifier | None = None
    skill: Identifier | None = None
    stratum: Identifier | None = None


class StateChanged(Event, tag="state_changed", gc=False):
    """An agent entered a state; it lasts until the next one."""

    agent_id: Identifier
    state: State
    queue: Identifier | None = None
    project_id: Identifier | None = None
    shift_id: Identifier | None = None
    reason: FreeText | None = None
    paid: bool | None = None
    estimated: bool | None = None


class AgentProfiled(Event, tag="agent_profiled", gc=False):
    """What is known of a person: role, status, team, contract."""

    agent_id: Identifier
    role: Role | None = None
    status: Literal["active", "leave", "left"] | None = None
    team: Identifier | None = None
    started_on: IsoDate | None = None
    ended_on: IsoDate | None = None
    moved_to_site_id: Identifier | None = None
    contract_hours_week: Annotated[float, Meta(ge=0, le=168)] | None = None
    markets: Identifiers | None = None
    languages: Identifiers | None = None
    skills: Identifiers | None = None
    person_id: Identifier | None = None


class ReviewVersion(msgspec.Struct, gc=False):
    """A review as it stood before or after a revision."""

    correct: bool
    source: Source | None = None
    sampling: Sampling | None = None
    market: Identifier | None = None
    sop_version: Identifier | None = None
    errors: Annotated[list[ReviewError], Meta(max_length=64)] | None = None


class ReviewRevised(Event, tag="review_revised", kw_only=True, gc=False):
    """A review changed: the engine takes `old` out of the pane of `reviewed_at` and puts `new` in."""

    review_id: Identifier
    agent_id: Identifier
    project_id: Identifier
    task_id: Identifier
    reviewed_at: EpochMs
    old: ReviewVersion
    new: ReviewVersion | None = None
    cause: Literal["appeal", "audit", "reviewer", "void"]
    by: Identifier | None = None
    role: Role | None = None


class LabelVersion(msgspec.Struct, gc=False):
    """A label as it stood before or after a revision."""

    label: FreeText | None = None
    handle_ms: DurationMs | None = None
    skipped: bool | None = None


class LabelRevised(Event, tag="label_revised", kw_only=True, gc=False):
    """A label changed or was deleted: minus `old`, plus `new`, in the pane of `submitted_at`."""

    label_id: Identifier
    agent_id: Identifier
    project_id: Identifier
    task_id: Identifier
    submitted_at: EpochMs
    old: LabelVersion
    new: LabelVersion | None = None
    cause: Literal["updated", "deleted", "unskipped"]
    by: Identifier | None = None
    market: Identifier | None = None


class AppealOpened(Event, tag="appeal_opened", gc=False):
    """An agent disputes a review. Counted; figures come later."""

    review_id: Identifier
    agent_id: Identifier
    project_id: Identifier
    task_id: Identifier
    reviewed_at: EpochMs
    reason: FreeText | None = None


class AppealClosed(Event, tag="appeal_closed", gc=False):
    """A dispute was decided. Counted; figures come later."""

    review_id: Identifier
    agent_id: Identifier
    project_id: Identifier
    task_id: Identifier
    reviewed_at: EpochMs
    reason: FreeText | None = None
    outcome: Literal["upheld", "overturned"] | None = None


class RequestOpened(Event, tag="request_opened", gc=False):
    """A labeling request reached the site. Counted; figures come later."""

    request_id: Identifier
    project_id: Identifier
    items: Annotated[int, Meta(ge=0, le=1_000_000_000)]
    due_at: EpochMs | None = None
    market: Identifier | None = None
    sop_version: Identifier | None = None
    requester: Identifier | None = None


class RequestClosed(Event, tag="request_closed", gc=False):
    """A labeling request ended. Counted; figures come later."""

    request_id: Identifier
    outcome: Literal["done", "cancelled"] | None = None


class QueueMeasured(Event, tag="queue_measured", gc=False):
    """How much work waits in a queue: tasks, since when the oldest waits, and how many have ever arrived."""

    queue: Identifier
    project_id: Identifier
    waiting: Annotated[int, Meta(ge=0)]
    market: Identifier | None = None
    oldest_at: EpochMs | None = None
    arrived_total: Annotated[int, Meta(ge=0)] | None = None


class ShiftPlanned(Event, tag="shift_planned", gc=False):
    """When a person should work. Counted; figures come later."""

    agent_id: Identifier
    shift_id: Identifier
    starts_at: EpochMs
    ends_at: EpochMs
    plan_version: Annotated[int, Meta(ge=0)] | Identifier | None = None
    activity: Identifier | None = None
    queue: Identifier | None = None
    cancelled: bool | None = None


class SopPublished(Event, tag="sop_published", gc=False):
    """A new version of a project's labeling rules. Counted; figures come later."""

    project_id: Identifier
    sop_version: Identifier
    summary: FreeText | None = None


class CalibrationAnswered(Event, tag="calibration_answered", gc=False):
    """One answer of a calibration session. Counted; figures come later."""

    session_id: Identifier
    round: Positive
    item_id: Identifier
    agent_id: Identifier
    answer: FreeText
    expected: FreeText | None = None
    project_id: Identifier | None = None
    sop_version: Identifier | None = None


class DriftNoted(Event, tag="drift_noted", gc=False):
    """A person answered a drift. Counted; figures come later."""

    drift_id: Identifier
    status: Literal["acknowledged", "explained", "false_alarm", "action", "closed"]
    owner: Identifier | None = None
    note: FreeText | None = None
    due_on: IsoDate | None = None


class ClockAdvanced(Event, tag="clock_advanced", gc=False):
    """The end of a replay: every partition's event clock stands at `at`. `site_id` is `*`."""


AnyEvent = (
    LabelSubmitted
    | LabelReviewed
    | StateChanged
    | AgentProfiled
    | ReviewRevised
    | LabelRevised
    | AppealOpened
    | AppealClosed
    | RequestOpened
    | RequestClosed
    | QueueMeasured
    | ShiftPlanned
    | SopPublished
    | CalibrationAnswered
    | DriftNoted
    | ClockAdvanced
)


class Envelope(msgspec.Struct, gc=False):
    """What an event of an unknown type must have to be counted and skipped, not rejected."""

    type: Identifier
    event_id: Identifier
    at: EpochMs
    site_id: Identifier


def event_types() -> dict[str, type[Event]]:
    """Every event class by its wire tag, in the order of the contract."""
    classes: tuple[type[Event], ...] = get_args(AnyEvent)
    return {str(cls.__struct_config__.tag): cls for cls in classes}
