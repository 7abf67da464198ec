"""Puts accepted reviews, states, profiles and revisions into the columns of a batch.

Labels, seven of ten events, are put there by the loop itself (`streams.engine.intake`).
"""

from collections.abc import Callable

from schemas.events import (
    AgentProfiled,
    LabelReviewed,
    LabelRevised,
    QueueMeasured,
    ReviewRevised,
    StateChanged,
)
from schemas.policy import OTHER
from streams.engine.batch import ErrorFound, Gathered
from streams.engine.headline import why_not_windowed
from streams.engine.horizon import STATE_ESTIMATED, SiteState
from streams.engine.numbering import Numbering
from streams.engine.times import LONGEST_MS, REFERS_BACK_MS, why_not_duration, why_not_time


def review_taker(  # noqa: PLR0915 - mostly lookups, made once a chunk so that no event pays for them
    names: Numbering, batch: Gathered, *, again: bool = False, keep: bool = False
) -> Callable[[SiteState, LabelReviewed], None]:
    """A function that puts one review into a batch.

    It is made once a batch and holds all attributes in local variables, so that no event pays for looking them up.

    Args:
        names: Gives numbers to new names.
        batch: Gets the reviews.
        again: These reviews were taken before: their errors and their reviewers are not counted a second time.
        keep: The batch keeps the events too.
    """
    person, kind, at, correct, trait, reviewer = (each.append for each in batch.reviews)
    made_by, made_at, review_ms, found_error, is_audit = (each.append for each in batch.made)
    delay_kind, delay_ms = (each.append for each in batch.delays)
    ids, mistakes, reviewed = batch.ids.append, batch.mistakes, batch.reviews.at
    traits, longest_ms, refers_back_ms = names.trait_ids, LONGEST_MS, REFERS_BACK_MS

    def take(site: SiteState, event: LabelReviewed) -> None:
        role, reviewed_at = event.role, event.at
        given = (role, event.source, event.sampling, event.purpose, event.review_round)
        try:
            kind_id = site.verdicts[event.project_id][event.market][event.sop_version][given]
        except KeyError:
            project, market, sop = event.project_id, event.market, event.sop_version
            kind_id = names.verdict_kind(site, project, market, sop, given, counts=not again)
        people = site.qas if role == "qa" else site.agents
        try:
            person_id = people[event.agent_id]
        except KeyError:
            person_id = names.new_person(site, people, event.agent_id)
        is_correct = event.correct
        if not is_correct:
            mistakes[len(reviewed)] = event.task_id
        person(person_id)
        kind(kind_id)
        at(reviewed_at)
        correct(is_correct)
        ids(event.event_id)
        error_type = event.error_type
        if error_type is not None or event.errors:
            error_type = _error_type(event)
            if not again:
                _find_errors(names, batch, event, kind_id)
        try:
            trait(traits[event.label][event.stratum][error_type])
        except KeyError:
            trait(names.trait(event.label, event.stratum, error_type))
        if keep:
            batch.to_hold.append(event)
        reviewer_id = event.reviewer_id
        if reviewer_id is None:
            reviewer(-1)
        else:
            try:
                by = site.reviewers[reviewer_id]
            except KeyError:
                by = names.new_reviewer(site, reviewer_id)
            reviewer(by)
            if not again:
                took_ms = event.review_ms
                made_by(by)
                made_at(reviewed_at)
                review_ms(-1 if took_ms is None else took_ms if took_ms < longest_ms else longest_ms)
                found_error(not is_correct)
                is_audit(role == "qa")
        labeled_at = event.labeled_at
        if labeled_at is not None and not again:
            after_ms = reviewed_at - labeled_at
            if after_ms > refers_back_ms:
                batch.implausible[site.name, "labeled_at", why_not_time(labeled_at, reviewed_at)] += 1
            else:
                delay_kind(kind_id)
                delay_ms(after_ms if after_ms > 0 else 0)

    return take


def _error_type(event: LabelReviewed) -> str | None:
    """The first error that a review found; None where it found the work correct: an error named there is a remark."""
    if event.correct:
        return None
    return event.errors[0].type if event.errors else event.error_type


def _find_errors(names: Numbering, batch: Gathered, event: LabelReviewed, kind: int) -> None:
    found = [(error.type, error.severity) for error in event.errors or ()]
    of_work = event.role != "qa" and not why_not_windowed(event.purpose, event.review_round)
    at = event.at if of_work else -1
    site, table = event.site_id, "remarks" if event.correct else "errors"
    for error_type, severity in found or [(event.error_type or "", event.severity)]:
        project, shown = names.admitted.error(table, site, names.verdicts[kind].project, error_type, severity or "")
        batch.errors.append(ErrorFound(site, project, shown, severity or "", event.correct, at))


def take_state(names: Numbering, batch: Gathered, site: SiteState, event: StateChanged) -> None:
    """Adds the state that a person entered to the batch."""
    person = names.person(site, None, event.agent_id)
    try:
        kind = site.states[event.project_id][event.state]
    except KeyError:
        kind = names.state_kind(site, event.project_id, event.state)
    for values, value in zip(batch.states, (person, kind, event.at, site.clock_ms), strict=True):
        values.append(value)
    if event.estimated:
        site.beat(STATE_ESTIMATED, event.at)


def take_profile(names: Numbering, batch: Gathered, site: SiteState, event: AgentProfiled) -> None:
    """Adds a person's profile, which holds from now on, to the batch."""
    batch.profiles.append((len(batch.states.at), names.person(site, None, event.agent_id), event))


def take_queue(names: Numbering, batch: Gathered, site: SiteState, event: QueueMeasured) -> None:
    """Adds a queue's measurement to the batch, with the names under which it is shown.

    Not of the site `other`: measurements of several sites would take each other's place.
    """
    if site.name != OTHER:
        place = names.admitted.queue(site.name, event.project_id, event.market or "", event.queue)
        batch.queues.append((place, event))


def revise_review(names: Numbering, batch: Gathered, site: SiteState, event: ReviewRevised) -> None:
    """Notes a revised review: the old version leaves its windows (weight -1), the new one enters (weight +1)."""
    names.tally.add("revised_reviews")
    batch.revised.append((len(batch.reviews.at), event))
    person = names.person(site, event.role, event.agent_id)
    changes = batch.review_changes
    for version, weight in ((event.old, -1), (event.new, 1)):
        if version is not None:
            # Without SOP version: totals by SOP version are not revised.
            given = (event.role, version.source, version.sampling, None, None)
            kind = names.verdict_kind(site, event.project_id, version.market, None, given, counts=False)
            changes.person.append(person)
            changes.kind.append(kind)
            changes.at.append(event.reviewed_at)
            changes.correct.append(version.correct)
            changes.weight.append(weight)


def revise_label(names: Numbering, batch: Gathered, site: SiteState, event: LabelRevised) -> None:
    """The same as `revise_review` for a label; skipped versions are in no window."""
    person = names.person(site, None, event.agent_id)
    kind = names.work_kind(site, event.project_id, event.market, None, counts=False)
    changes = batch.label_changes
    for version, weight in ((event.old, -1), (event.new, 1)):
        if version is not None and not version.skipped:
            handle_ms = version.handle_ms
            changes.person.append(person)
            changes.kind.append(kind)
            changes.at.append(event.submitted_at)
            changes.handle_ms.append(-1 if handle_ms is None or why_not_duration(handle_ms) else handle_ms)
            changes.weight.append(weight)
