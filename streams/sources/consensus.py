"""Reviews by consensus, for files without reviews: each label beside what the other people say of its task."""

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from schemas.text import choice, visible
from streams.sources import dawid_skene
from streams.sources.mapping.errors import MappingError
from streams.sources.mapping.fields import FIELDS

Fields = dict[str, Any]
#: Rules by name, and what each does, in words.
RULES = {
    "majority": "what more than half of the other people say, of whom there are at least two",
    "dawid-skene": "what is more likely than not by the labels of the other people, of whom there are at least two, "
    "each weighed by how well they seem to know",
}
#: Fewer agree too easily: of one other, every difference would be somebody's error.
OTHERS = 2
#: More different labels are texts that everybody writes anew; people do not agree on such.
_LABELS = 10_000
#: Of a label, and of its review as well: its work, and the circumstances that boards tell apart.
_SHARED = tuple(
    name for name in FIELDS["label_reviewed"] if name in FIELDS["label_submitted"] and name not in ("event_id", "at")
)

_Ints = npt.NDArray[np.int64]


class Consensus:
    """Takes the labels of all files, then says of each what the others say.

    A person has one vote on a task, the label that they gave last. Nobody's own vote counts for or against them: with
    it, everybody would agree with themselves. So by majority, of three people of whom one differs, that one
    alone is judged; the other two each see the others at odds.

    Votes are numbered by their texts, whatever their places in a file: the same labels have the same reviews.

    Memory: 28 bytes a label while they are taken, 32 for each person and task then; `dawid-skene` needs about 100 more
    for these, and its tables.

    Args:
        rule: One of `RULES`.

    Attributes:
        rule: By which the others are heard.
        labels: Labels taken.
        judged: Labels of whose task the others say enough.
        equal: Of those, how many are what they say.

    Raises:
        MappingError: There is no such rule.
    """

    def __init__(self, rule: str = "majority") -> None:
        if rule not in RULES:
            raise MappingError(f"consensus {rule!r}: use {choice(RULES)}")
        self.rule = rule
        self._tasks, self._people, self._times = array("q"), array("q"), array("q")
        self._given = array("i")
        self._codes: dict[str, int] = {}
        self._keys: _Ints = np.zeros(0, np.int64)
        self._expected: _Ints = np.zeros(0, np.int64)
        self._known_at: _Ints = np.zeros(0, np.int64)
        self._texts: list[str] = []
        self.labels = self.judged = self.equal = 0

    def take(self, event: Fields) -> None:
        """Takes an event; those that are no label with a text are no votes.

        Raises:
            MappingError: There are too many different labels.
        """
        label = event.get("label")
        if event["type"] != "label_submitted" or label is None or event.get("skipped"):
            return
        code = self._codes.get(label)
        if code is None:
            code = self._codes[label] = len(self._codes)
            if code == _LABELS:
                raise MappingError(
                    f"consensus: more than {_LABELS:,} different labels, such as {visible(label[:60])!r}; people agree "
                    "on choices, not on texts of their own: leave out --consensus, or map label to a choice"
                )
        task, person = _keys_of(event)
        self._tasks.append(task)
        self._people.append(person)
        self._times.append(event["at"])
        self._given.append(code)

    def close(self) -> None:
        """Counts the votes, when all labels were taken."""
        self.labels = len(self._tasks)
        if not self.labels:
            return
        tasks, people, times = (np.frombuffer(each, np.int64) for each in (self._tasks, self._people, self._times))
        given = np.frombuffer(self._given, np.int32).astype(np.int64)
        # Votes by task and person, in order of time; equal times in order of arrival.
        order = np.lexsort((np.arange(self.labels), times, people, tasks))
        tasks, people, times, given = tasks[order], people[order], times[order], given[order]
        is_last = np.append((tasks[1:] != tasks[:-1]) | (people[1:] != people[:-1]), True)
        task_of, begins = _numbered(tasks)
        known_at = np.maximum.reduceat(times, begins)
        votes, voted = task_of[is_last], given[is_last]
        others = np.bincount(votes)[votes] - 1
        if self.rule == "majority":
            expected = _by_majority(votes, voted, others, len(begins))
        else:
            expected = self._by_dawid_and_skene(votes, people[is_last], voted)
        expected[others < OTHERS] = -1
        # By label, of which a person may have given several.
        by_label = expected[np.cumsum(np.append(True, is_last[:-1])) - 1]
        self.judged, self.equal = int((by_label >= 0).sum()), int((by_label == given).sum())
        has = expected >= 0
        keys = _mixed(tasks[is_last][has], people[is_last][has])
        sort = np.argsort(keys)
        self._keys, self._expected, self._known_at = keys[sort], expected[has][sort], known_at[votes[has]][sort]
        self._texts = list(self._codes)
        self._tasks, self._people, self._times, self._given = array("q"), array("q"), array("q"), array("i")

    def _by_dawid_and_skene(self, tasks: _Ints, people: _Ints, voted: _Ints) -> _Ints:
        """For each vote what the others say.

        Raises:
            MappingError: There are too many tasks, people and labels for its tables.
        """
        # Sums depend a little on their order: by text, which label has come first does not matter.
        by_text = np.array(sorted(range(len(self._codes)), key=list(self._codes).__getitem__))
        number = np.argsort(by_text)
        votes = dawid_skene.Votes(tasks, np.unique(people, return_inverse=True)[1], number[voted])
        if votes.cells > dawid_skene.MOST_CELLS:
            n_tasks, n_people, n_labels = votes.sizes
            raise MappingError(
                f"consensus: dawid-skene needs too large a table for {n_tasks:,} tasks, {n_people:,} people and "
                f"{n_labels:,} different labels; use majority, or map label to fewer choices"
            )
        expected = dawid_skene.by_others(votes)
        return np.where(expected >= 0, by_text[expected], -1)

    def review(self, event: Fields) -> Fields | None:
        """The review of a label, dated when the last vote of its task came; None where the others say too little."""
        label = event.get("label")
        if event["type"] != "label_submitted" or label is None or event.get("skipped") or not len(self._keys):
            return None
        task, person = _keys_of(event)
        key = _mixed(np.array([task]), np.array([person]))[0]
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return None
        expected = self._texts[self._expected[place]]
        return {
            "type": "label_reviewed",
            **{name: event[name] for name in _SHARED if name in event},
            "at": int(self._known_at[place]),
            "labeled_at": event["at"],
            "source": "consensus",
            "expected": expected,
            "correct": label == expected,
        }


def _keys_of(event: Fields) -> tuple[int, int]:
    """A task, which people of several sites may share, and a person: numbers that are the same in any process."""
    return _number(event["project_id"], event["task_id"]), _number(event["site_id"], event["agent_id"])


def _number(first: str, second: str) -> int:
    return int(xxhash.xxh3_64_intdigest(f"{len(first)} {first}{second}".encode())) - (1 << 63)


def _by_majority(tasks: _Ints, voted: _Ints, others: _Ints, count: int) -> _Ints:
    """For each vote what more than half of the others say; -1 where they differ."""
    first, first_count, second, second_count = _most_given(tasks, voted, count)
    first_of_others = first_count[tasks] - (voted == first[tasks])
    second_of_others = second_count[tasks] - (voted == second[tasks])
    expected = np.where(2 * first_of_others > others, first[tasks], -1)
    return np.where(2 * second_of_others > others, second[tasks], expected)


def _mixed(tasks: _Ints, people: _Ints) -> _Ints:
    """One number of both: a multiplication by an odd number loses nothing, and keeps sums of two from being others'."""
    with np.errstate(over="ignore"):
        return tasks * np.int64(-7046029254386353131) + people


def _numbered(ordered: _Ints) -> tuple[_Ints, _Ints]:
    """Of equal numbers that are beside each other: the number of each one's group, and where groups begin."""
    is_first = np.append(True, ordered[1:] != ordered[:-1])
    return np.cumsum(is_first) - 1, np.flatnonzero(is_first)


def _most_given(tasks: _Ints, labels: _Ints, count: int) -> tuple[_Ints, _Ints, _Ints, _Ints]:
    """The label given most of each task and how often, and the next; -2 and 0 where there is none."""
    width = int(labels.max()) + 1
    pairs, often = np.unique(tasks * width + labels, return_counts=True)
    of, label = np.divmod(pairs, width)
    # Within each task by count, the most last.
    order = np.lexsort((often, of))
    of, label, often = of[order], label[order], often[order]
    last = np.flatnonzero(np.append(of[1:] != of[:-1], True))
    second, second_count = np.full(count, -2), np.zeros(count, np.int64)
    before = last - 1
    has = (before >= 0) & (of[np.maximum(before, 0)] == of[last])
    second[has], second_count[has] = label[before[has]], often[before[has]]
    return label[last], often[last], second, second_count
