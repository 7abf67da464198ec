"""River's detectors beside ours: fed with the same outcomes by the drift part, their drifts told without a promise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Ints
from detectors.falling import locate_fall
from detectors.mixture import SHIFTS
from detectors.outcomes import locate_change
from detectors.reverse import ReverseTest
from detectors.river_adapter import RiverDetector
from schemas.drift import OURS, DriftRecord
from schemas.policy import Policy
from schemas.river import RiverChoice, watched
from schemas.sentences import agreement
from streams.engine.drift.episodes import (
    Closed,
    Episode,
    level,
    named,
    over,
    record_of,
    reverse_test,
    shows_accuracy,
)
from streams.engine.drift.recent import REVIEW, PackedRows
from streams.engine.drift.river_signals import LEAST_BEFORE, continued, direction_of, signals_of, split
from streams.engine.drift.stream import Call, Stream, watches_fall
from streams.engine.figures import Figures
from streams.engine.panes import Slot

#: Reviews that a signal's change is looked for in: those since the detector's signal before, but no fewer than the
#: first and no more than the second.
_LEAST_SEARCHED, _MOST_SEARCHED = 500, 6_000
_PREFIX = b"drift|river"
_UNKNOWN, _NO, _YES = -1, 0, 1

#: A drift of river's: the stream with the direction, and the detector.
RiverKey = tuple[Stream, str]


class Scene(NamedTuple):
    """What the drift part knows of the segment at hand.

    Attributes:
        key: The stream of a number.
        seen: The newest reviews of a stream's scope up to a position, since a drift was over: rows, newest first.
        explain: Puts causes and examples into an episode.
        temper: 1 / design effect of a stream's errors.
        ids, clock: By position, a review's event id, and when it counts, ms.
    """

    key: Callable[[int], Stream]
    seen: Callable[[Stream, int, Closed | None], PackedRows]
    explain: Callable[[Stream, Episode, int, Closed | None], None]
    temper: Callable[[int], float]
    ids: Sequence[str]
    clock: Ints


class Reported(NamedTuple):
    """A drift that opened or cleared at a place in the batch."""

    position: int
    stream: Stream
    record: DriftRecord


class _Packed(msgspec.Struct, array_like=True):
    """What a stream's slot holds."""

    stream: Stream
    detector: bytes
    name: str
    direction: str
    episode: Episode | None
    closed: Closed | None
    opened: list[tuple[Stream, str, int]]


@dataclass(slots=True)
class _Beside:
    """River's detector of one stream.

    Attributes:
        stream: As ours; for errors found, where ours looks both ways, that of the rise.
        name: The detector that opened `episode`, or the newest.
        detector: None where the policy has it no more, and a drift is still open.
        episode, test, direction: The drift that is open, the test of whether it is over, and its direction.
        closed: The newest that is over.
        opened: How often, by stream with direction and detector.
    """

    stream: Stream
    name: str
    detector: RiverDetector | None
    episode: Episode | None = None
    test: ReverseTest | None = None
    direction: str = ""
    closed: Closed | None = None
    opened: dict[RiverKey, int] = field(default_factory=dict)

    @property
    def directed(self) -> Stream:
        """The stream with the direction of the drift that is open."""
        return self.stream._replace(direction=self.direction)


class RiverDrifts:
    """River's detectors that the policy names, by our streams' numbers.

    A detector runs on as its authors meant it, through its own signals. Each signal that is a change in a direction
    that our signal looks for opens a drift, unless one is open; what the change is (when it began, figures, causes) is
    told as for ours. The drift is over by our own test of that: most of river's never say so.

    Args:
        policy: Names them.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._chosen = policy.detection.river.chosen()
        self._of = {signal: watched(signal, detector) for signal, detector in self._chosen.items()}
        self._beside: dict[int, _Beside] = {}
        #: By number of our stream, whether it has one here.
        self._known = np.zeros(0, np.int8)
        #: Drifts that are open, as of the place in the log up to which records were told: stream to (id, detector).
        self._open: dict[str, dict[Stream, tuple[str, str]]] = {"ours": {}, "river": {}}
        self._changed: set[int] = set()
        self._gone: set[int] = set()
        self._committed: dict[RiverKey, int] = {}
        #: What an operator should know of the restore.
        self.notes: list[str] = []

    @property
    def watches(self) -> bool:
        """Whether there is anything to do: a detector is named, or a drift is still open."""
        return bool(self._chosen or self._beside)

    # --- outcomes

    def take(self, call: Call, wrong: Flags, scene: Scene) -> list[Reported]:
        """Takes outcomes, each stream's in the order of the log; what opened and cleared."""
        reported: list[Reported] = []
        if call.touched.max(initial=-1) >= len(self._known):
            more = np.full(max(int(call.touched.max()) + 1, 2 * len(self._known)) - len(self._known), _UNKNOWN, np.int8)
            self._known = np.concatenate((self._known, more))
        known = self._known.take(call.touched)
        for number in call.touched[known == _UNKNOWN].tolist():
            self._known[number] = _YES if self._meet(number, scene.key(number)) else _NO
        errors = wrong.view(np.uint8)
        for place in np.flatnonzero(self._known.take(call.touched) == _YES).tolist():
            start = int(call.starts[place])
            reviews = call.order[start : start + int(call.counts[place])]
            self._feed(int(call.touched[place]), call.positions.take(reviews), errors.take(reviews), scene, reported)
        return reported

    def _meet(self, number: int, stream: Stream) -> bool:
        """Whether a stream that is seen for the first time has a detector of river; makes it."""
        if number in self._beside:
            return True
        chosen = self._chosen_for(stream)
        # A reviewer's errors found are the outcomes of two streams of ours.
        twice = stream.signal == "error_finding" and stream.agent and stream.direction == "down"
        if chosen is None or twice:
            return False
        self._beside[number] = _Beside(stream, chosen.name, RiverDetector(chosen.name, **chosen.params))
        return True

    def _chosen_for(self, stream: Stream) -> RiverChoice | None:
        """What the policy has chosen for a stream's signal, where it is of a scope that is watched."""
        scope = "people" if stream.agent else "projects" if stream.project else "sites"
        return self._chosen.get(stream.signal) if scope in self._of.get(stream.signal, ()) else None

    def _feed(
        self, number: int, positions: Ints, errors: NDArray[np.uint8], scene: Scene, reported: list[Reported]
    ) -> None:
        beside = self._beside[number]
        self._changed.add(number)
        outcomes: list[int] = errors.tolist()
        signals = signals_of(beside.detector, outcomes)
        following, place = next(signals, None), 0
        while True:
            if beside.episode is not None:
                place += self._follow(beside, errors[place:])
                if beside.test is None or not beside.test.cleared:
                    break
                self._clear(number, beside, int(positions[place - 1]), scene, reported)
            while following is not None and following[0] < place:
                following = next(signals, None)
            if following is None:
                break
            place = following[0] + 1
            self._open_drift(number, beside, int(positions[place - 1]), following[1], following[2], scene, reported)
        for _ in signals:  # the detector has had them all
            pass

    @staticmethod
    def _follow(beside: _Beside, errors: NDArray[np.uint8]) -> int:
        """Takes outcomes while a drift is open; how many until it is over, or all."""
        episode, test = beside.episode, beside.test
        assert episode is not None
        assert test is not None
        against = 1 - errors if watches_fall(beside.directed) else errors
        taken = test.update_many(against.tolist())
        episode.n += taken
        episode.wrong += int(errors[:taken].sum())
        return taken

    def _clear(self, number: int, beside: _Beside, position: int, scene: Scene, reported: list[Reported]) -> None:
        episode = beside.episode
        assert episode is not None
        # As of ours: the review may be an old one that comes late.
        at = max(int(scene.clock[position]), episode.opened_at)
        record = record_of(beside.directed, episode, "cleared", at, self._policy, beside.name)
        reported.append(Reported(position, beside.directed, record))
        beside.closed = over(episode, at)
        beside.episode = beside.test = None
        if beside.detector is None:  # the policy has it no more
            del self._beside[number]
            self._known[number] = _NO
            self._changed.discard(number)
            self._gone.add(number)
        else:
            beside.name = beside.detector.name

    def _open_drift(
        self,
        number: int,
        beside: _Beside,
        position: int,
        since: int,
        rises: bool | None,
        scene: Scene,
        reported: list[Reported],
    ) -> None:
        """Opens a drift where a signal is one: the detector has taken `since` outcomes since its signal before."""
        at = int(scene.clock[position])
        closed = beside.closed
        rows = scene.seen(beside.stream, position, closed)[: min(max(since, _LEAST_SEARCHED), _MOST_SEARCHED)]
        wrong = REVIEW.of(rows, "wrong").astype(np.uint8)
        found = split(wrong, rises)
        if found is None:
            return
        direction = direction_of(beside.stream, up := found[1])
        if direction is None:
            return
        stream = beside.stream._replace(direction=direction)
        usual = float(np.clip(wrong[found[0] :].mean(), 1e-4, 1 - 1e-4))
        temper = scene.temper(number)
        change = locate_change(wrong, usual, SHIFTS, temper) if up else locate_fall(wrong, usual, temper)
        times = REVIEW.of(rows, "at")
        n = min(max(change.began_ago, 1), len(wrong) - LEAST_BEFORE)
        began, low, high = (
            int(times[min(max(back, 1), len(times)) - 1]) for back in (n, change.began_ago_high, change.began_ago_low)
        )
        event = f"{beside.name}\x1f{scene.ids[position]}"
        known_as, opening = named(stream, event, closed if beside.direction == direction else None, at)
        beside.direction = direction
        episode = beside.episode = Episode(
            drift_id=known_as,
            opening=opening,
            opened_at=at,
            began_at=(began := min(began, at)),
            began_at_low=min(low, began),
            began_at_high=max(high, began),
            before=level(stream, float(wrong[n:].sum()), len(wrong) - n),
            n=n,
            wrong=int(wrong[:n].sum()),
            estimate=1.0 - change.new_rate if shows_accuracy(stream) else change.new_rate,
            evidence=1.0,
            run_length=0.0,
            test=b"",
            verdict="unknown",
        )
        scene.explain(stream, episode, position, closed)
        beside.test = reverse_test(stream, usual, n, episode.wrong, temper)
        key = (stream, beside.name)
        beside.opened[key] = beside.opened.get(key, 0) + 1
        reported.append(Reported(position, stream, record_of(stream, episode, "opened", at, self._policy, beside.name)))

    def forget(self, number: int) -> None:
        """A stream whose number may become another's."""
        if number < len(self._known):
            self._known[number] = _UNKNOWN
        if self._beside.pop(number, None) is not None:
            self._changed.discard(number)
            self._gone.add(number)

    def open_numbers(self) -> set[int]:
        """Streams with a drift open."""
        return {number for number, beside in self._beside.items() if beside.episode is not None}

    def episodes(self) -> list[tuple[Stream, Episode]]:
        """The drifts that are open: stream with direction, and episode."""
        found = ((beside.directed, beside.episode) for _, beside in sorted(self._beside.items()))
        return [(stream, episode) for stream, episode in found if episode is not None]

    def revised(self) -> None:
        """Says that figures of open drifts have been moved."""
        self._changed |= self.open_numbers()

    # --- who agrees with whom

    def agreed(self, stream: Stream, record: DriftRecord) -> DriftRecord:
        """A record, with the other's drift that is open on the same stream and direction at that place in the log.

        To be called for every record, ours and river's, in the order of the log.
        """
        mine, other = ("ours", "river") if record.detector == OURS else ("river", "ours")
        found = self._open[other].get(stream)
        if record.status == "opened":
            self._open[mine][stream] = (record.drift_id, record.detector)
        else:
            self._open[mine].pop(stream, None)
        if found is not None:
            record = msgspec.structs.replace(record, agrees_with=found[0])
        if found is None and record.detector == OURS:
            return record
        in_english, in_chinese = agreement(record, found[1] if found else None)
        return msgspec.structs.replace(
            record, text=f"{record.text} {in_english}", text_zh=f"{record.text_zh}{in_chinese}"
        )

    # --- figures

    def opened(self) -> dict[RiverKey, int]:
        """How often drifts have opened."""
        return {key: count for beside in self._beside.values() for key, count in beside.opened.items()}

    def committed(self, opened: dict[RiverKey, int]) -> None:
        """Shows counts, now that their checkpoint is acknowledged."""
        self._committed = opened

    def read(self) -> Callable[[Figures], None]:
        """Figures of open drifts, and of every stream of a site or project."""
        rows: list[tuple[str, tuple[str, ...], float]] = []
        counts = dict(self._committed)
        for beside in self._beside.values():
            if beside.episode is not None:
                rows += _figures(beside, beside.episode)
            elif not beside.stream.agent or beside.closed is not None:
                direction = beside.direction or beside.stream.direction
                labels = (*beside.stream._replace(direction=direction), beside.name)
                rows.append(("labelwatch_river_drift_active", labels, 0))
                if not beside.stream.agent:
                    counts.setdefault((beside.stream._replace(direction=direction), beside.name), 0)

        def report(figures: Figures) -> None:
            for name, labels, value in rows:
                figures.add(name, labels, value)
            for (stream, detector), count in counts.items():
                figures.add("labelwatch_river_drifts_total", (*stream, detector), count)

        return report

    # --- the durable form

    def slots(self) -> Iterator[Slot]:
        """One slot for each stream that has changed since the last call; deleted where it has none any more."""
        for number in sorted(self._gone - self._beside.keys()):
            yield b"%s|%d" % (_PREFIX, number), None
        self._gone.clear()
        for number in sorted(self._changed):
            beside = self._beside[number]
            if beside.episode is not None and beside.test is not None:
                beside.episode.test = beside.test.to_bytes()
            packed = _Packed(
                beside.stream,
                b"" if beside.detector is None else beside.detector.to_bytes(),
                beside.name,
                beside.direction,
                beside.episode,
                beside.closed,
                [(*key, count) for key, count in beside.opened.items()],
            )
            yield b"%s|%d" % (_PREFIX, number), msgspec.msgpack.encode(packed)
        self._changed.clear()

    def restore(self, slots: Mapping[bytes, bytes], ours: Mapping[Stream, str]) -> None:
        """Takes its slots, by key, into an empty one.

        A detector whose state this river or this policy cannot go on with starts afresh, and `notes` say so. A drift
        that is open stays open, whatever has become of its detector.

        Args:
            slots: Of the checkpoint.
            ours: Our drifts that are open, by stream.
        """
        why: dict[str, int] = {}
        for key, value in slots.items():
            if not key.startswith(_PREFIX + b"|"):
                continue
            number, packed = int(key.rsplit(b"|", 1)[1]), msgspec.msgpack.decode(value, type=_Packed)
            chosen = self._chosen_for(packed.stream)
            if chosen is None and packed.episode is None:
                self._gone.add(number)
                continue
            detector = None
            if chosen is not None:
                detector, word = continued(packed.detector, chosen.name, chosen.params)
                if word:
                    why[word] = why.get(word, 0) + 1
            beside = _Beside(
                packed.stream,
                packed.name if packed.episode is not None or detector is None else detector.name,
                detector,
                packed.episode,
                None if packed.episode is None else ReverseTest.from_bytes(packed.episode.test),
                packed.direction,
                packed.closed,
                {(Stream(*stream), name): count for stream, name, count in packed.opened},
            )
            self._beside[number] = beside
        self.notes = [
            f"{count} detector{'s' * (count != 1)} of river start{'s' * (count == 1)} afresh: {word}"
            for word, count in sorted(why.items())
        ]
        self._open["ours"] = {stream: (found, OURS) for stream, found in ours.items()}
        self._open["river"] = {
            beside.directed: (beside.episode.drift_id, beside.name)
            for beside in self._beside.values()
            if beside.episode is not None
        }
        self._committed = self.opened()


def _figures(beside: _Beside, episode: Episode) -> list[tuple[str, tuple[str, ...], float]]:
    labels = (*beside.directed, beside.name)
    return [
        ("labelwatch_river_drift_active", labels, 1),
        ("labelwatch_river_drift_baseline_ratio", labels, episode.before.value),
        ("labelwatch_river_drift_current_ratio", labels, level(beside.directed, episode.wrong, episode.n).value),
        ("labelwatch_river_drift_reviews", labels, episode.n),
        ("labelwatch_river_drift_began_timestamp_seconds", labels, episode.began_at / 1000),
        ("labelwatch_river_drift_opened_timestamp_seconds", labels, episode.opened_at / 1000),
    ]
