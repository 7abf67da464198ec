"""Records of `labeling.drift.v1`: one when a drift opens, one when it clears; written with the checkpoint."""

from typing import Literal, get_args

import msgspec

Signal = Literal[
    "accuracy", "accuracy_target", "agent_accuracy", "qa_accuracy", "error_finding", "handle_time", "label_mix"
]
Budget = Literal["page", "ticket"]
Direction = Literal["down", "up"]
#: What tells one cause from another.
Dimension = Literal["agent", "project", "label", "error_type", "sop_version", "market", "reviewer", "stratum"]
#: `rate`: the same work has become worse; `mix`: more of the work is of the weaker kind.
Effect = Literal["rate", "mix"]

SIGNALS: tuple[Signal, ...] = get_args(Signal)
BUDGETS: tuple[str, ...] = get_args(Budget)
DIMENSIONS: tuple[str, ...] = get_args(Dimension)
#: Which budget a signal draws on.
BUDGET_OF: dict[str, Budget] = {signal: "page" if signal == "accuracy" else "ticket" for signal in SIGNALS}
#: Children that a record names at most.
CHILDREN_MAX = 200
#: The detector of a drift that labelwatch's own test has found; all others are river's.
OURS = "labelwatch"


class DriftLevel(msgspec.Struct, frozen=True):
    """A figure before or since a change.

    Attributes:
        value: Accuracy, share of reviews that find an error, or share of a label class; 0 to 1. For handling time the
            typical seconds: the geometric mean.
        n: Reviews, or labels, behind it.
        at_least: Whether there were more, which are no longer remembered one by one.
        lower, upper: Wilson 95% interval of a share of reviews.
    """

    value: float
    n: int
    lower: float | None = None
    upper: float | None = None
    at_least: bool = False


class Cause(msgspec.Struct, frozen=True):
    """A part of the change. Over all members of one dimension, rate and mix parts add up to the change.

    Attributes:
        by: Dimension.
        member: Which agent, project, label and so on; `other` for those too small to tell.
        effect: Rate or mix.
        points: Part of the change, in the unit of the level (0.01 is a point of accuracy). Of handling time it is
            one of the change of its logarithm: 0.1 is about a tenth longer.
    """

    by: Dimension
    member: str
    effect: Effect
    points: float


class Member(msgspec.Struct, frozen=True):
    """Whose a drift is.

    Attributes:
        by: `project`, `agent` or `reviewer`.
        member: Its id.
    """

    by: Dimension
    member: str


class DriftRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A drift as it opened or cleared. Times in epoch ms of event time.

    Attributes:
        status: `opened` or `cleared`.
        drift_id: The same in both records, and again where a drift comes back within 7 days.
        incident_id: What is one thing, and one page: the drift that paged first, or `sop:PROJECT/VERSION` where a new
            SOP version is the cause, at every site.
        parent: The `drift_id` of the site's drift that this one belongs to; empty where it stands alone.
        children: The `drift_id` of those that belong to it by now, in the order in which they came; the first 200.
        within: Of an opening: the projects and people that `children` are of, projects first.
        opening: 1, or how often this drift has opened by now.
        at: Time of this record's event, by the data's own clock.
        site_id, project_id, agent_id: Whose stream; empty where it spans all. `agent_id` may be a reviewer.
        signal, direction, budget: What moved, which way, and whose attention it may cost.
        label: Which label's share moved, where that is the signal; `other` for the rare ones together.
        opened_at, cleared_at: When it was found, and when it was over.
        ended: Of one that is over, `recovered`, or `with_parent`: the site's drift was over, and the stream is watched
            afresh.
        began_at, began_at_low, began_at_high: When the change began, and its 90% interval.
        began_earlier: Whether it may have begun before that: no more is remembered of the stream, or it was still being
            learned from. `since.n` is then what is known at least.
        target: What the stream is held to, where that is a target.
        before, since: The figure before the change and since, with n; n is 0 where nothing is known from before.
        estimate: The new level, shrunk: a figure since a signal overstates, because the signal chose the moment.
        evidence: Statistic / threshold at this record.
        run_length: Promised mean number of reviews (or labels) of this stream to a false alarm; null of river's
            detectors, which promise none.
        run_length_days: How long these take at the stream's volume as the drift opened; null where that is not known.
        verdict: `rate`, `mix`, `spread` where no part of the work stands out, or `unknown` where too little is known
            from before.
        causes: The parts of the change that go furthest beyond their fair share, furthest first.
        task_ids: Examples, newest first.
        detector: `labelwatch`, or the detector of river that found it, such as `ADWIN`: a second opinion, always a
            ticket.
        agrees_with: Where one of ours and one of river's are open on the same stream and direction, the `drift_id` of
            the other one.
        text, text_zh: A sentence that can be forwarded to the site.
    """

    status: Literal["opened", "cleared"]
    drift_id: str
    opening: int = 1
    incident_id: str = ""
    parent: str = ""
    children: tuple[str, ...] = ()
    within: tuple[Member, ...] = ()
    at: int
    site_id: str
    project_id: str = ""
    agent_id: str = ""
    signal: Signal
    direction: Direction
    budget: Budget
    label: str = ""
    opened_at: int
    cleared_at: int | None = None
    ended: Literal["recovered", "with_parent"] | None = None
    began_at: int
    began_at_low: int
    began_at_high: int
    began_earlier: bool = False
    target: float | None = None
    before: DriftLevel
    since: DriftLevel
    estimate: float
    evidence: float
    run_length: float | None
    run_length_days: float | None = None
    verdict: Literal["rate", "mix", "spread", "unknown"] = "spread"
    causes: tuple[Cause, ...] = ()
    task_ids: tuple[str, ...] = ()
    detector: str = OURS
    agrees_with: str = ""
    text: str = ""
    text_zh: str = ""
