"""Intervals and probabilities, each by its definition and not as the engine computes them."""

import math
from decimal import Context, Decimal
from functools import cache

Z = 1.959963984540054


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share, as docs/domain.md writes it."""
    p, z2 = correct / n, Z * Z
    middle = p + z2 / (2 * n)
    half = Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)


@cache
def beta_below(correct: int, n: int, target: float) -> float:
    """Probability that a Beta(correct + 1/2, n - correct + 1/2) variable is below the target.

    The front factor in 40 decimal digits (with half-integer parameters the beta function is pi times
    binomial coefficients), the rest by the usual continued fraction (Abramowitz and Stegun 26.5.8).
    """
    a, b = correct + 0.5, n - correct + 0.5
    if target > (a + 1) / (a + b + 2):
        return 1 - beta_below_at(n - correct, n, 1 - Decimal(target))
    return beta_below_at(correct, n, Decimal(target))


def beta_below_at(correct: int, n: int, x: Decimal) -> float:
    a, b = correct + 0.5, n - correct + 0.5
    context = Context(prec=40)
    wrong = n - correct
    # Beta(a, b) = pi C(2k, k) C(2m, m) / (4^n C(n, k)), for k correct and m wrong.
    shape = Decimal(math.comb(2 * correct, correct) * math.comb(2 * wrong, wrong))
    inverse = context.divide(Decimal(4**n * math.comb(n, correct)), shape)
    power = context.multiply(context.power(x, correct), context.power(1 - x, wrong))
    root = context.sqrt(context.multiply(x, 1 - x))
    front = float(context.multiply(context.multiply(inverse, power), root)) / math.pi / a
    return front * _fraction(a, b, float(x))


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction, by Lentz' method."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 100_000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + step * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + step / c
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return value
