"""What each field of `labeling.events.v1` means and how it looks: for schemas/json and docs/reference/events.md."""

from typing import Any, NamedTuple


class About(NamedTuple):
    """A field in words, and a value that it may have.

    Attributes:
        means: One phrase; units and defaults included.
        example: Any value that a worker takes, as JSON has it.
    """

    means: str
    example: Any


_ERRORS = [{"type": "brand_confusion", "severity": "major"}]
#: By field. A name means the same in every event, but for those of `OF_EVENT`.
FIELDS: dict[str, About] = {
    "type": About("which event it is", "label_submitted"),
    "event_id": About(
        "your own id of this event, the same when it is sent again: with the same `at` it counts once at its site, "
        "within 15 minutes",
        "01K9X5",
    ),
    "at": About(
        "when it happened, epoch milliseconds; not when it was sent. More than 5 minutes after the broker's time is "
        "rejected",
        1763800000000,
    ),
    "site_id": About("the labeling site; also the record's key. `other` is reserved", "manila-1"),
    "agent_id": About("the person who labels, as the site calls them; a text, also if it is a number", "a-1007"),
    "project_id": About("the labeling project", "counterfeit"),
    "task_id": About("the item that is labeled", "t-88"),
    "label": About("the label that was given", "violating"),
    "handle_ms": About(
        "time on the item, milliseconds; above 30 minutes it counts as 30, below 100 ms or from a week on not at all",
        31200,
    ),
    "market": About("market whose rules apply", "US"),
    "sop_version": About("version of the labeling rules under which the label was made", "v3"),
    "skipped": About("true: the task was passed over, no label was given; default false", False),
    "skip_reason": About("why, in the person's words", "video does not play"),
    "label_id": About("your own id of the label, which later events name", "l-88-1"),
    "attempt": About("1 is the first label of the item by this person, 2 and more is rework; default 1", 1),
    "purpose": About("what the work is for; default `production`, and only that is in headline accuracy", "production"),
    "request_id": About("the labeling request that it belongs to", "r-2025-117"),
    "queue": About("the queue that it came from", "counterfeit-us"),
    "content_type": About("kind of content", "video"),
    "language": About("language of the content", "en"),
    "skill": About("skill that the item asks for", "brand"),
    "stratum": About("risk or difficulty class of the item", "hard"),
    "policy_code": About("paragraph of the rules", "4.2"),
    "shift_id": About("the shift that it happened in", "s-0412"),
    "prelabel": About("what a model had proposed", "ok"),
    "reviewer_id": About("the person who judged", "q-12"),
    "sampling": About(
        "how the label was chosen for review; `targeted` is in no headline accuracy. Default `unknown`", "random"
    ),
    "correct": About("whether it was right", False),
    "expected": About("what would have been right", "ok"),
    "error_type": About("the error, by its name in your rules; the first of `errors`", "brand_confusion"),
    "severity": About("how bad the error is", "major"),
    "labeled_at": About(
        "when the label was handed in, epoch milliseconds; at most 5 minutes after `at`", 1763799940000
    ),
    "role": About("whose work it is: an agent's, or a reviewer's (`qa`); default `agent`", "agent"),
    "verdict": About("with `role` `qa`: what the reviewer had said, true for a right label", True),
    "review_id": About("your own id of the review, which later events name", "v-88-1"),
    "review_round": About("1 is the first review of the label; 2 and more is in no headline accuracy. Default 1", 1),
    "reviewer_org": About("who employs the reviewer", "vendor"),
    "reviewer_site_id": About("the reviewer's site, where it is another one", "lima-2"),
    "source": About("what the verdict rests on; default `qa`", "qa"),
    "sampling_rate": About("share of labels that are chosen, above 0", 0.05),
    "blind": About("whether the reviewer could not see the label", True),
    "score": About("points of a graded review, as a share of all", 0.9),
    "errors": About("every error that was found; with `correct` true they are remarks", _ERRORS),
    "review_ms": About("time of the review, milliseconds", 12000),
    "review_sop_version": About("version of the rules that the review went by", "v3"),
    "state": About("the state that the person is in from now on", "break"),
    "reason": About("why, in words", "lunch"),
    "paid": About("whether the time is paid", True),
    "estimated": About(
        "true: nobody reported it, it was estimated from gaps between labels. Utilization of the site is then marked",
        True,
    ),
    "status": About("whether the person works, is on leave, or has left", "active"),
    "team": About("team within the site", "red"),
    "started_on": About("first day at work, YYYY-MM-DD", "2025-09-01"),
    "ended_on": About("last day at work, YYYY-MM-DD", "2026-03-31"),
    "moved_to_site_id": About("the site that the person has moved to", "lima-2"),
    "contract_hours_week": About("hours a week by contract", 40),
    "markets": About("markets that the person may work for", ["US", "PH"]),
    "languages": About("languages that the person works in", ["en", "tl"]),
    "skills": About("skills that the person has", ["brand"]),
    "person_id": About("the same person under ids of several sites", "p-553"),
    "reviewed_at": About("`at` of the review that it is about, epoch milliseconds", 1763800060000),
    "submitted_at": About("`at` of the label that it is about, epoch milliseconds", 1763800000000),
    "old": About("as it was", {"correct": False, "sampling": "random"}),
    "new": About("as it is now", {"correct": True, "sampling": "random"}),
    "cause": About("what changed it", "appeal"),
    "by": About("who changed it", "q-3"),
    "outcome": About("how it ended", "overturned"),
    "items": About("items of the request, this site's share", 12000),
    "due_at": About("when it is due, epoch milliseconds", 1764400000000),
    "requester": About("who asked for it", "policy-team"),
    "waiting": About("items that wait", 340),
    "oldest_at": About("since when the oldest of them waits, epoch milliseconds", 1763790000000),
    "arrived_total": About("items that ever arrived", 120340),
    "starts_at": About("begin, epoch milliseconds", 1763800000000),
    "ends_at": About("end, epoch milliseconds", 1763828800000),
    "plan_version": About("version of the plan, a number or a text", 3),
    "activity": About("what is planned", "production"),
    "cancelled": About("true: it does not take place", False),
    "summary": About("what is new in it", "replicas of logos count as counterfeit"),
    "session_id": About("the calibration session", "c-14"),
    "round": About("round of the session, from 1", 1),
    "item_id": About("the item of the session", "i-7"),
    "answer": About("the person's answer", "violating"),
    "drift_id": About("`drift_id` of the record on `labeling.drift.v1`", "d-7f3a"),
    "owner": About("who looks after it", "q-3"),
    "note": About("what was found", "new joiners had not read v3"),
    "due_on": About("by which day, YYYY-MM-DD", "2025-12-01"),
}
#: Where a field means something else, or its values are others, by event or part of one.
OF_EVENT: dict[str, dict[str, About]] = {
    "LabelReviewed": {
        "agent_id": About("the person whose work was judged", "a-1007"),
        "review_id": About("your own id of the review, which later events name; default `event_id`", "v-88-1"),
    },
    "ReviewError": {"type": About("the error, by its name in your rules", "brand_confusion")},
    "AgentProfiled": {"role": About("what the person does at the site", "agent")},
    "LabelRevised": {
        "old": About("as it was", {"label": "violating", "handle_ms": 31200}),
        "new": About("as it is now; a deleted label has none", {"label": "ok", "handle_ms": 35000}),
        "cause": About("what changed it", "updated"),
    },
    "ReviewRevised": {
        "new": About("as it is now; a void review has none", {"correct": True, "sampling": "random"}),
    },
    "RequestClosed": {"outcome": About("how it ended", "done")},
    "DriftNoted": {"status": About("what the person says of it", "explained")},
    "ClockAdvanced": {"site_id": About("`*`: every site of the partition", "*")},
    "SopPublished": {"sop_version": About("the new version", "v4")},
}


def about(owner: str, field: str) -> About:
    """What a field is, in an event or part of one, by the class's name.

    Raises:
        KeyError: Nothing is said of it.
    """
    return OF_EVENT.get(owner, {}).get(field) or FIELDS[field]
