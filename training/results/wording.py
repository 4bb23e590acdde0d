"""How figures are written, everywhere the same."""

import math


def percent(share: float) -> str:
    """0.93412 → 93.41%."""
    return f"{100 * share:.2f}%" if math.isfinite(share) else "–"


def percent_interval(interval: dict[str, float]) -> str:
    """Value and its 95% interval, in percent."""
    low, high = 100 * interval["low"], 100 * interval["high"]
    return f"{percent(interval['value'])} ({low:.2f} to {high:.2f})"


def plain_interval(interval: dict[str, float]) -> str:
    """Value and its 95% interval as they are."""
    return f"{interval['value']:.4f} ({interval['low']:.4f} to {interval['high']:.4f})"


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed."""
    return f"{100 * difference:+.2f}"


def p_value(p: float) -> str:
    """Three digits, or that it is smaller than the last of them."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """One figure in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.2f} h"


def size(count: float) -> str:
    """Bytes as MiB or GiB."""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"


def number(count: float) -> str:
    """Thousands apart; one digit after the point where it is small."""
    return f"{count:,.0f}" if count >= 100 or count == int(count) else f"{count:.1f}"


def parameters(count: int) -> str:
    """22713216 → 22.7 M."""
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"


def learning_rate(rate: float | None) -> str:
    """0.0005 → 5e-4."""
    if rate is None:
        return "–"
    mantissa, exponent = f"{rate:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def listed(names: list[str]) -> str:
    """`a`, `b` and `c`: in code, so that a name is never read as prose."""
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
