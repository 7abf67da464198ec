"""Figures of people by window: agents' labels, handling time and reviews; reviewers' own work."""

from collections.abc import Sequence

import numpy as np

from detectors.arrays import Ints
from schemas.policy import Policy
from streams.engine.batch import EventBatch, VerdictKind
from streams.engine.headline import is_headline
from streams.engine.intake import CAP_MS, Intake
from streams.engine.panes import Key, Panes, Rings, Table
from streams.engine.parts import Numbers, Report, handled_columns, rows_of_people

_COUNT = Panes(np.int16, np.int16)
_TIME = Panes(np.int32, np.int32)


class PeoplePart:
    """The work of people, by (site, role, agent); the role is the one that the event gives.

    Counts are 16 bits wide in a pane, wider only where needed, so that the panes of 100,000 people fit in memory.

    Args:
        rings: The partition's rings.
        policy: Which sources make the headline. Reviews counted under an older policy stay as they were counted.
    """

    def __init__(self, rings: Rings, policy: Policy) -> None:
        self.table = Table(
            "people",
            rings,
            {
                "labels": _COUNT,
                # Labels and skips handed in, whatever revisions come: shows who was active.
                "acts": _COUNT,
                "handled": _COUNT,
                "handle_ms": _TIME,
                "reviews": _COUNT,
                "correct": _COUNT,
            },
        )
        self.tables: Sequence[Table] = (self.table,)
        self._rows: Numbers[Key] = rows_of_people(self.table)
        self._headline: Numbers[VerdictKind] = Numbers(lambda kind: is_headline(kind, policy))

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Adds labels, skips, headline reviews and revisions."""
        self._rows.sync(intake.persons)
        self._headline.sync(intake.verdicts)
        if self._rows.incomplete:
            for events in (batch.labels, batch.skips, batch.reviews, batch.label_changes, batch.review_changes):
                intake.tally.add("unnamed", int((self._rows.of(events.person) < 0).sum()))
        labels, skips, changes = batch.labels, batch.skips, batch.label_changes
        if len(labels.person):
            columns = handled_columns(labels.handle_ms)
            self._add(labels.person, labels.at, {**columns, "acts": columns["labels"]})
        if len(skips.person):
            self._add(skips.person, skips.at, {"acts": np.ones(len(skips.person), np.int64)})
        if len(changes.person):
            self._add(changes.person, changes.at, handled_columns(changes.handle_ms, changes.weight))
        if len(batch.reviews.person):
            persons, kinds, at, correct, *_ = batch.reviews
            self._add_reviews(persons, kinds, at, correct, np.ones(len(persons), np.int64))
        if len(batch.review_changes.person):
            self._add_reviews(*batch.review_changes)

    def _add_reviews(self, persons: Ints, kinds: Ints, at: Ints, correct: Ints, weights: Ints) -> None:
        headline = self._headline.of(kinds) > 0
        if not headline.all():
            persons, at, correct, weights = persons[headline], at[headline], correct[headline], weights[headline]
        if len(persons):
            self._add(persons, at, {"reviews": weights, "correct": weights * correct})

    def _add(self, persons: Ints, at: Ints, columns: dict[str, Ints]) -> None:
        add_named(self.table, self._rows, persons, at, columns)

    def restored(self) -> None:
        """Nothing is kept beside the table."""

    def read(self, at_ms: int, policy: Policy) -> Report:
        """Nothing for the sites' page: people have a page of their own (`PeopleView`)."""
        return _nothing


class ReviewersPart:
    """Reviewers' own work: reviews made, time spent, errors found, by (site, reviewer).

    Audits of other reviewers' verdicts are also counted by themselves: they rightly find few errors, and a person who
    makes them is not a lenient reviewer. In an older checkpoint these counts are absent, and begin at 0.
    """

    def __init__(self, rings: Rings) -> None:
        columns = {"reviews": _COUNT, "review_ms": _TIME, "errors": _COUNT, "audits": _COUNT, "audit_errors": _COUNT}
        self.table = Table("reviewers", rings, columns)
        self.tables: Sequence[Table] = (self.table,)
        self._rows: Numbers[Key] = rows_of_people(self.table)

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Adds reviews made: every round, purpose and role."""
        self._rows.sync(intake.reviewers)
        reviewers, at, review_ms, found_error, is_audit = batch.made
        if len(reviewers):
            if self._rows.incomplete:
                intake.tally.add("unnamed", int((self._rows.of(reviewers) < 0).sum()))
            columns = {
                "reviews": np.ones(len(reviewers), np.int64),
                "review_ms": np.clip(review_ms, 0, CAP_MS),
                "errors": found_error,
            }
            if is_audit.any():
                columns |= {"audits": is_audit, "audit_errors": found_error & is_audit}
            add_named(self.table, self._rows, reviewers, at, columns)

    def restored(self) -> None:
        """Nothing is kept beside the table."""

    def read(self, at_ms: int, policy: Policy) -> Report:
        """Nothing for the sites' page: reviewers are on the people's page."""
        return _nothing


def add_named(table: Table, rows: Numbers[Key], people: Ints, at: Ints, columns: dict[str, Ints]) -> None:
    """Adds values to the rows of people; values of people without a row are left out."""
    found = rows.of(people)
    if rows.incomplete:
        named = found >= 0
        found, at, columns = found[named], at[named], {name: column[named] for name, column in columns.items()}
    if len(found):
        table.add(found, at, columns)


def _nothing(figures: object) -> None:
    """Adds nothing to the figures."""
