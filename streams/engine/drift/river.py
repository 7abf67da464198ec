"""River's detectors beside ours: they get the same outcomes; their drifts come without a promised run length."""

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
from streams.engine.drift.casebook import Casebook, DriftCase, FoundChange, Opening
from streams.engine.drift.episodes import Closed, Episode, level, reverse_test
from streams.engine.drift.recent import REVIEW, PackedRows
from streams.engine.drift.river_signals import LEAST_BEFORE, continued, direction_of, signals_of, split
from streams.engine.drift.stream import Call, Stream
from streams.engine.figures import Figures
from streams.engine.panes import Slot

#: The change behind a signal is looked for in the reviews since the detector's signal before; in at least the first and
#: at most the second number of reviews.
_LEAST_SEARCHED, _MOST_SEARCHED = 500, 6_000
_PREFIX = b"drift|river"
_UNKNOWN, _NO, _YES = -1, 0, 1

#: A drift of river's: the stream with the direction, and the detector.
RiverKey = tuple[Stream, str]


class Scene(NamedTuple):
    """What the drift part knows of the present segment.

    Attributes:
        key: Gives the stream of a number.
        seen: Gives the newest reviews of a stream up to a position, since its last drift was over: rows, newest first.
        explain: Puts causes and examples into an episode; its last argument is how many of the reviews from `seen` the
            episode's figures are of.
        temper: Gives 1 / design effect of a stream's errors.
        ids, clock: By position in the batch, a review's event id, and when it counts, ms.
    """

    key: Callable[[int], Stream]
    seen: Callable[[Stream, int, Closed | None], PackedRows]
    explain: Callable[[Stream, Episode, int, Closed | None, int], None]
    temper: Callable[[int], float]
    ids: Sequence[str]
    clock: Ints


class _Packed(msgspec.Struct, array_like=True):
    """The content of a stream's slot."""

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
        stream: Our stream; where ours look for errors found in both directions, the one for a rise.
        name: The detector that opened the drift that is open; if none is open, the present detector.
        detector: None where the policy no longer names one, but a drift is still open.
        direction: Direction of the last drift that opened; empty before the first.
        opened: How often drifts have opened, by stream with direction, and detector.
    """

    stream: Stream
    name: str
    detector: RiverDetector | None
    direction: str = ""
    opened: dict[RiverKey, int] = field(default_factory=dict)


class RiverDrifts:
    """River's detectors that the policy names, by our streams' numbers.

    A detector runs as its authors meant it, on through its own signals. A signal opens a drift if there is a change in
    a direction that our signal looks for, and no drift is open. When the change began, its figures and its causes are
    found and reported as for our own drifts. The drift is over by our own test, since most of river's detectors have
    none.

    Args:
        policy: Names the detectors.
    """

    def __init__(self, policy: Policy) -> None:
        self.book = Casebook(policy)
        self._chosen = policy.detection.river.chosen()
        self._of = {signal: watched(signal, detector) for signal, detector in self._chosen.items()}
        self._beside: dict[int, _Beside] = {}
        #: By number of our stream, whether it has a detector of river.
        self._known = np.zeros(0, np.int8)
        #: Drifts that are open after the last record reported: stream to (id, detector), ours and river's.
        self._open: dict[str, dict[Stream, tuple[str, str]]] = {"ours": {}, "river": {}}
        self._changed: set[int] = set()
        self._gone: set[int] = set()
        self._committed: dict[RiverKey, int] = {}
        #: Sentences on what an operator should know about the restore.
        self.notes: list[str] = []

    @property
    def watches(self) -> bool:
        """Whether there is anything to do: the policy names a detector, or a drift is still open."""
        return bool(self._chosen or self._beside)

    # --- outcomes

    def take(self, call: Call, wrong: Flags, scene: Scene) -> None:
        """Feeds outcomes to the detectors, each stream's in the order of the log."""
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
            self._feed(int(call.touched[place]), call.positions.take(reviews), errors.take(reviews), scene)

    def _meet(self, number: int, stream: Stream) -> bool:
        """Makes the detector of a stream that is met for the first time; returns whether it has one."""
        if number in self._beside:
            return True
        chosen = self._chosen_for(stream)
        # A reviewer has two streams of ours with the same outcomes, for a rise and a fall; one detector is enough.
        twice = stream.signal == "error_finding" and stream.agent and stream.direction == "down"
        if chosen is None or twice:
            return False
        self._beside[number] = _Beside(stream, chosen.name, RiverDetector(chosen.name, **chosen.params))
        return True

    def _chosen_for(self, stream: Stream) -> RiverChoice | None:
        """The detector that the policy names for a stream's signal; None where it does not watch the stream's scope."""
        scope = "people" if stream.agent else "projects" if stream.project else "sites"
        return self._chosen.get(stream.signal) if scope in self._of.get(stream.signal, ()) else None

    def _feed(self, number: int, positions: Ints, errors: NDArray[np.uint8], scene: Scene) -> None:
        beside = self._beside[number]
        self._changed.add(number)
        outcomes: list[int] = errors.tolist()
        signals = signals_of(beside.detector, outcomes)
        following, place = next(signals, None), 0
        while True:
            if number in self.book.drifts:
                place += self.book.follow(number, outcomes[place:])
                if not self.book.is_over(number):
                    break
                self._end(number, beside, int(positions[place - 1]), scene)
            while following is not None and following[0] < place:
                following = next(signals, None)
            if following is None:
                break
            place = following[0] + 1
            self._open_drift(number, beside, int(positions[place - 1]), following[1], following[2], scene)
        for _ in signals:  # so that the detector gets all outcomes
            pass

    def _end(self, number: int, beside: _Beside, position: int, scene: Scene) -> None:
        self.book.end(number, position, int(scene.clock[position]))
        if beside.detector is not None:
            beside.name = beside.detector.name
        else:  # the policy no longer names it
            self.forget(number)
            self._known[number] = _NO

    def _open_drift(
        self,
        number: int,
        beside: _Beside,
        position: int,
        since: int,
        rises: bool | None,
        scene: Scene,
    ) -> None:
        """Opens a drift if there is a change behind a signal; `since`: outcomes since the detector's signal before."""
        at = int(scene.clock[position])
        closed = self.book.closed.get(number)
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
        same = closed if beside.direction == direction else None
        beside.direction = direction
        wrong_since, before = int(wrong[:n].sum()), level(stream, float(wrong[n:].sum()), len(wrong) - n)
        self.book.open(
            number,
            stream,
            Opening(position, at, f"{beside.name}\x1f{scene.ids[position]}"),
            FoundChange(began, low, high, before, n, wrong_since, change.new_rate, usual),
            same,
            reverse_test(stream, usual, n, wrong_since, temper),
            lambda episode: scene.explain(stream, episode, position, closed, len(rows)),
            beside.name,
        )
        key = (stream, beside.name)
        beside.opened[key] = beside.opened.get(key, 0) + 1

    def forget(self, number: int) -> None:
        """Drops what is kept of a stream, whose number may become another's."""
        if number < len(self._known):
            self._known[number] = _UNKNOWN
        self.book.closed.pop(number, None)
        if self._beside.pop(number, None) is not None:
            self._changed.discard(number)
            self._gone.add(number)

    def revised(self) -> None:
        """Marks open drifts as changed, after their figures were revised."""
        self._changed |= self.book.drifts.keys()

    # --- who agrees with whom

    def agreed(self, stream: Stream, record: DriftRecord) -> DriftRecord:
        """The record; where the other (river, or ours) has a drift open on the same stream then, it names that drift.

        Must be called for every record, ours and river's, in the order of the log.
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
        """How often drifts have opened, by stream and detector."""
        return {key: count for beside in self._beside.values() for key, count in beside.opened.items()}

    def committed(self, opened: dict[RiverKey, int]) -> None:
        """Exports counts from now on, since their checkpoint is acknowledged."""
        self._committed = opened

    def read(self) -> Callable[[Figures], None]:
        """Figures of open drifts, and of every stream of a site or project."""
        rows: list[tuple[str, tuple[str, ...], float]] = []
        counts = dict(self._committed)
        for number, beside in self._beside.items():
            if number in self.book.drifts:
                rows += _figures(self.book.drifts[number])
            elif not beside.stream.agent or number in self.book.closed:
                stream = beside.stream._replace(direction=beside.direction or beside.stream.direction)
                rows.append(("labelwatch_river_drift_active", (*stream, beside.name), 0))
                if not beside.stream.agent:
                    counts.setdefault((stream, beside.name), 0)

        def report(figures: Figures) -> None:
            for name, labels, value in rows:
                figures.add(name, labels, value)
            for (stream, detector), count in counts.items():
                figures.add("labelwatch_river_drifts_total", (*stream, detector), count)

        return report

    # --- the durable form

    def slots(self) -> Iterator[Slot]:
        """One slot for each stream that has changed since the last call; slots of forgotten streams are deleted."""
        for number in sorted(self._gone - self._beside.keys()):
            yield b"%s|%d" % (_PREFIX, number), None
        self._gone.clear()
        self.book.pack()
        for number in sorted(self._changed):
            beside, drift = self._beside[number], self.book.drifts.get(number)
            packed = _Packed(
                beside.stream,
                b"" if beside.detector is None else beside.detector.to_bytes(),
                beside.name,
                beside.direction,
                None if drift is None else drift.episode,
                self.book.closed.get(number),
                [(*key, count) for key, count in beside.opened.items()],
            )
            yield b"%s|%d" % (_PREFIX, number), msgspec.msgpack.encode(packed)
        self._changed.clear()

    def restore(self, slots: Mapping[bytes, bytes], ours: Mapping[Stream, str]) -> None:
        """Restores an empty one from its slots, by key.

        Where this version of river, or this policy, cannot use a detector's state, the detector starts afresh, and
        `notes` say so. An open drift stays open in any case.

        Args:
            slots: The checkpoint's slots, by key.
            ours: Ids of our own open drifts, by stream.
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
            name = packed.name if packed.episode is not None or detector is None else detector.name
            opened = {(Stream(*stream), each): count for stream, each, count in packed.opened}
            self._beside[number] = _Beside(packed.stream, name, detector, packed.direction, opened)
            if packed.episode is not None:
                stream = packed.stream._replace(direction=packed.direction)
                test = ReverseTest.from_bytes(packed.episode.test)
                self.book.drifts[number] = DriftCase(stream, packed.episode, test, name)
            if packed.closed is not None:
                self.book.closed[number] = packed.closed
        self.notes = [
            f"{count} detector{'s' * (count != 1)} of river start{'s' * (count == 1)} afresh: {word}"
            for word, count in sorted(why.items())
        ]
        self._open["ours"] = {stream: (found, OURS) for stream, found in ours.items()}
        self._open["river"] = {
            drift.stream: (drift.episode.drift_id, drift.detector) for drift in self.book.drifts.values()
        }
        self._committed = self.opened()


def _figures(drift: DriftCase) -> list[tuple[str, tuple[str, ...], float]]:
    episode, labels = drift.episode, (*drift.stream, drift.detector)
    return [
        ("labelwatch_river_drift_active", labels, 1),
        ("labelwatch_river_drift_baseline_ratio", labels, episode.before.value),
        ("labelwatch_river_drift_current_ratio", labels, level(drift.stream, episode.wrong, episode.n).value),
        ("labelwatch_river_drift_reviews", labels, episode.n),
        ("labelwatch_river_drift_began_timestamp_seconds", labels, episode.began_at / 1000),
        ("labelwatch_river_drift_opened_timestamp_seconds", labels, episode.opened_at / 1000),
    ]
