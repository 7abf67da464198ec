"""Ratios and their intervals, vectorised: the last step from counts to figures."""

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Floats

#: Two-sided 95% quantile of the normal distribution.
Z95 = 1.959963984540054
#: Bounds the loop, so that no value can hold up a scrape; a hundred million outcomes need fewer steps.
_BETA_STEPS_MAX = 20_000


def ratio(part: NDArray[np.number], whole: NDArray[np.number]) -> Floats:
    """Divides element by element; NaN where the whole is not above 0."""
    out = np.full(len(whole), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def wilson(correct: NDArray[np.number], n: NDArray[np.number], z: float = Z95) -> tuple[Floats, Floats]:
    """Wilson score interval of a proportion.

    Args:
        correct: Successes by row, 0 to n.
        n: Trials by row.
        z: Normal quantile; 1.96 gives 95%.

    Returns:
        Lower and upper bounds, 0 to 1; NaN where n is 0.

    Source:
        Wilson 1927: (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n).
    """
    trials = np.asarray(n, dtype=np.float64)
    p = np.clip(ratio(correct, trials), 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z2n = z * z / trials
        centre = p + z2n / 2
        half = z * np.sqrt(p * (1 - p) / trials + z2n / (4 * trials))
        lower = (centre - half) / (1 + z2n)
        upper = (centre + half) / (1 + z2n)
    return np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)


def below_target_probability(correct: NDArray[np.number], n: NDArray[np.number], target: Floats) -> Floats:
    """Posterior probability that the true rate is below the target, under Jeffreys' prior.

    Args:
        correct: Successes by row.
        n: Trials by row.
        target: Target by row, 0 to 1.

    Returns:
        Probabilities, 0 to 1.

    Source:
        Beta(k + 1/2, n - k + 1/2) distribution function; Brown, Cai and DasGupta 2001.
    """
    trials = np.clip(np.asarray(n, dtype=np.float64), 0.0, None)
    successes = np.clip(np.asarray(correct, dtype=np.float64), 0.0, trials)
    failures = trials - successes
    return regularized_beta(successes + 0.5, failures + 0.5, target)


def regularized_beta(a: Floats, b: Floats, x: Floats) -> Floats:
    """Distribution function of Beta(a, b) at x, all of one length.

    scipy has it too; importing it takes 24 MB and 0.8 s of a worker, for this function alone.

    Args:
        a: First parameter, at least 0.5.
        b: Second parameter, at least 0.5.
        x: 0 to 1; NaN gives NaN.

    Source:
        Abramowitz and Stegun 26.5.8, the continued fraction, by Lentz's method; beyond the middle by symmetry,
        where it converges in about sqrt(a + b) steps.
    """
    beyond = x > (a + 1) / (a + b + 2)
    a, b, x = np.where(beyond, b, a), np.where(beyond, a, b), np.where(beyond, 1 - x, x)
    total = a + b
    with np.errstate(divide="ignore"):  # x = 0 is a logarithm of 0, and the answer exp(-inf)
        logs = a * np.log(x * total / a) + b * np.log((1 - x) * total / b) + np.log(b / (2 * np.pi * a * total)) / 2
    front = np.exp(logs - _stirling_rest(a) - _stirling_rest(b) + _stirling_rest(total))
    d = 1 / (1 - total * x / (a + 1))
    c, fraction = np.ones_like(d), d
    row: NDArray[np.int64] = np.arange(len(d))
    tails = np.empty_like(d)
    for step in range(1, _BETA_STEPS_MAX):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        d, c = 1 / (1 + even * d), 1 + even / c
        fraction = fraction * d * c
        odd = -(a + step) * (total + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        d, c = 1 / (1 + odd * d), 1 + odd / c
        fraction = fraction * d * c
        if step % 8:  # now and then is enough
            continue
        going = np.abs(d * c - 1) > 1e-15
        if not going.all():
            tails[row] = fraction
            row = row[going]
            a, b, x, total, c, d, fraction = (each[going] for each in (a, b, x, total, c, d, fraction))
        if not len(row):
            break
    tails[row] = fraction
    return np.where(beyond, 1 - front * tails, front * tails)


def _stirling_rest(z: Floats) -> Floats:
    """The difference of ln(gamma(z)) from Stirling's formula, for z at least 0.5; Abramowitz and Stegun 6.1.41."""
    rest, z = np.zeros_like(z), z.copy()
    while (small := z < 10).any():
        low = z[small]
        rest[small] += (low + 0.5) * np.log1p(1 / low) - 1
        z[small] += 1
    w = 1 / (z * z)
    return rest + (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w * (1 / 1188 - w * 691 / 360360))))) / z
