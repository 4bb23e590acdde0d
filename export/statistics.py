"""What a measured share or time is worth."""

import math

_Z95 = 1.959963984540054  # the standard normal's 97.5% quantile


def wilson(share: float, n: float) -> tuple[float, float]:
    """95% interval of a share of n observations (Wilson 1927, https://doi.org/10.2307/2276774).

    n need not be whole: clustered observations are worth fewer. NaN without any.
    """
    if n <= 0:
        return math.nan, math.nan
    z2 = _Z95**2 / n
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z95 / (1 + z2) * math.sqrt(share * (1 - share) / n + z2 / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """`wilson` of a count; `ValueError` unless 0 ≤ successes ≤ trials and trials ≥ 1."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"successes, trials: got {successes}, {trials}; need 0 ≤ s ≤ t, t ≥ 1")
    return wilson(successes / trials, trials)
