"""Divides a budget of false alarms among streams: the run length of each, and the delay that follows from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detectors.mixture import SHIFTS

DAYS_A_MONTH = 30.44
#: A stream with a smaller volume counts as having this one: a run length of a few reviews would mean nothing.
LEAST_A_MONTH = 1.0
#: Weight of the newest month in the volume that thresholds follow.
ADAPTION = 0.25
_FITTED = 0.95
_NEAREST = 1e-4


def run_length(reviews_a_month: float, streams: int, false_a_month: float) -> float:
    """The run length of a stream, such that all streams together keep the budget.

    A_i = v_i S / N. The expected false alarms a month are at most the sum of v_i / A_i over all streams, which is N.
    Expectations add up, so this holds however the streams depend on one another.

    Args:
        reviews_a_month: v_i, the stream's volume.
        streams: S, how many streams share the budget.
        false_a_month: N, false alarms allowed a month, over all streams.

    Returns:
        A_i in reviews.

    Raises:
        ValueError: A number is not above 0.
    """
    if streams < 1 or not false_a_month > 0 or reviews_a_month < 0:
        raise ValueError(
            f"streams and false_a_month must be above 0 and the volume not below: {streams}, {false_a_month}, "
            f"{reviews_a_month}"
        )
    return max(reviews_a_month, LEAST_A_MONTH) * streams / false_a_month


def adapted(known_a_month: float, seen_a_month: float) -> float:
    """The volume that thresholds follow: each month it moves a quarter of the way, so that they do not follow noise."""
    return seen_a_month if known_a_month <= 0 else known_a_month + ADAPTION * (seen_a_month - known_a_month)


def delay_reviews(
    p0: float, points: float, run_length_reviews: float, shifts: Sequence[float] = SHIFTS, design_effect: float = 1.0
) -> float:
    """About how many reviews it takes to find a rise, from its beginning.

    The log-likelihood ratio of the best shift has to climb to log(A), plus the mixture's share and the overshoot. Each
    review adds its mean under the new rate.

    Args:
        p0: Error rate before; 0 and 1 are replaced by rates very near to them.
        points: The rise, in ratio points.
        run_length_reviews: A.
        shifts: The detector's shifts.
        design_effect: Design effect of clustered errors; the information of each review is divided by it.

    Returns:
        Mean delay in reviews; infinite where no shift finds the rise, or where the rate would rise above 1.

    Source:
        Wald's identity; the constant is fitted to simulation and good to 15% for A of 2,000 to
        200,000, p0 of 2 to 10% and rises of 2 to 10 points, and to 30% for p0 of 0.5 to 90% and in clusters
        (tests/detectors/test_budget.py).
    """
    p0, p1 = min(max(p0, _NEAREST), 1 - _NEAREST), p0 + points
    if p1 > 1:
        return math.inf
    # As the detector does, a shift goes at most half of the way to 1.
    best = max(_drift(p0, p0 + min(shift, (1 - p0) / 2), min(p1, 1 - _NEAREST / 2)) for shift in shifts) / design_effect
    if best <= 0:
        return math.inf
    # In steady state R is about 1 / drift when the change comes.
    climb = math.log(run_length_reviews) - math.log(1 / best) - _FITTED
    return max(climb, 1.0) / best


def _drift(p0: float, assumed: float, true: float) -> float:
    return true * math.log(assumed / p0) + (1 - true) * math.log((1 - assumed) / (1 - p0))


@dataclass(frozen=True, slots=True)
class Bought:
    """What a budget gives one stream.

    Attributes:
        stream: Name of the stream.
        reviews_a_month: Its volume.
        run_length: Promised mean number of reviews to a false alarm.
        delays: Rise in ratio points to (reviews, days) until it is found.
    """

    stream: str
    reviews_a_month: float
    run_length: float
    delays: dict[float, tuple[float, float]]


def plan(
    volumes_a_month: Mapping[str, float],
    false_a_month: float,
    p0: float = 0.05,
    points: Sequence[float] = SHIFTS,
) -> list[Bought]:
    """Divides a budget among streams.

    Args:
        volumes_a_month: Stream to its reviews a month.
        false_a_month: N, over all streams together.
        p0: Error rate in control, for the delays.
        points: Rises whose delays are wanted, in ratio points.

    Returns:
        One entry for each stream, in the order given.
    """
    lines = []
    for stream, volume in volumes_a_month.items():
        length = run_length(volume, len(volumes_a_month), false_a_month)
        delays = {}
        for rise in points:
            reviews = delay_reviews(p0, rise, length)
            delays[rise] = (reviews, reviews / max(volume, LEAST_A_MONTH) * DAYS_A_MONTH)
        lines.append(Bought(stream, volume, length, delays))
    return lines
