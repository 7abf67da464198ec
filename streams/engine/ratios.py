"""Ratios and their intervals, vectorised; the last step between counts and figures."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

Floats = NDArray[np.float64]

#: Two-sided 95% quantile of the normal distribution.
Z95 = 1.959963984540054


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
    probabilities: Floats = betainc(successes + 0.5, failures + 0.5, target)
    return probabilities
