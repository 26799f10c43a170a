"""Standard uncertainties (k = 1): where they come from and how they add.

Terms are independent of each other, as in the Guide to the expression of uncertainty in measurement
(JCGM 100:2008, 4.3 and 5.1.2). A limit of error without a stated distribution is taken as rectangular.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import itemgetter

from harness.readings import Measured, Reading
from harness.requirements.units import unit_of_name

Parts = tuple[tuple[str, float], ...]
_size = itemgetter(1)  # every analyzer value of a long run passes here


def rectangular(half_width: float) -> float:
    """Standard uncertainty of a value that lies anywhere within plus or minus ``half_width``."""
    return half_width / math.sqrt(3.0)


def normal(expanded: float, k: float = 2.0) -> float:
    """Standard uncertainty behind an expanded one, as a calibration certificate states it."""
    return expanded / k


def combine(parts: Mapping[str, float]) -> tuple[float, Parts]:
    """Root sum square of the terms, and the terms that are not zero, largest first."""
    kept = [(name, abs(u)) for name, u in parts.items() if u != 0.0]
    kept.sort(key=_size, reverse=True)
    return math.hypot(*map(_size, kept)), tuple(kept)


def accuracy(reading: float, of_reading: float, range_: float, of_range: float) -> float:
    """Standard uncertainty from an analyzer's accuracy, as its makers write it.

    Args:
        reading: what it showed.
        of_reading: share of the reading, a fraction (0.1 % is 0.001).
        range_: the range it was in.
        of_range: share of the range, a fraction.
    """
    return rectangular(abs(reading) * of_reading + abs(range_) * of_range)


def measured(
    value: float,
    unit: str,
    parts: Mapping[str, float],
    *,
    window_s: tuple[float, float] | None = None,
    sources: tuple[str, ...] = (),
) -> Measured:
    """Make a Measured whose uncertainty is the root sum square of its parts."""
    u, kept = combine(parts)
    return Measured(value, u, unit, window_s, sources, kept)


def as_measured(reading: Reading[float], u: float = 0.0) -> Measured:
    """Take what a device said, to be compared with what an instrument found.

    Args:
        reading: its unit is the suffix of its source.
        u: what is known of the device's own accuracy; zero where the comparison is about that.
    """
    return Measured(
        reading.value,
        u,
        unit_of_name(reading.source),
        (reading.at_s, reading.at_s),
        (reading.source,),
        (("device", u),) if u else (),
    )


def difference(left: Measured, right: Measured) -> Measured:
    """``left`` less ``right``, as independent values of one unit; of temperatures in K.

    Raises:
        ValueError: the units differ.
    """
    _same_unit(left, right)
    return measured(
        left.value - right.value,
        "K" if left.unit == "degC" else left.unit,
        {"of the first": left.u, "of the second": right.u},
        window_s=_hull(left, right),
        sources=left.sources + right.sources,
    )


def ratio(numerator: Measured, denominator: Measured) -> Measured:
    """Quotient of two independent values of one unit, a plain number; not a number over zero.

    Raises:
        ValueError: the units differ.
    """
    _same_unit(numerator, denominator)
    below = denominator.value
    if below == 0.0:
        return measured(math.nan, "1", {}, sources=numerator.sources + denominator.sources)
    value = numerator.value / below
    return measured(
        value,
        "1",
        {
            "of the numerator": numerator.u / abs(below),
            "of the denominator": abs(value) * denominator.u / abs(below) if math.isfinite(value) else 0.0,
        },
        window_s=_hull(numerator, denominator),
        sources=numerator.sources + denominator.sources,
    )


def scaled(value: Measured, factor: float, unit: str) -> Measured:
    """Multiply by an exact factor, as when a power becomes a share of the rating."""
    parts = {name: u * abs(factor) for name, u in value.parts} or {"": value.u * abs(factor)}
    return measured(value.value * factor, unit, parts, window_s=value.window_s, sources=value.sources)


def _same_unit(left: Measured, right: Measured) -> None:
    if left.unit != right.unit:
        raise ValueError(f"units differ: {left.sources} in {left.unit}, {right.sources} in {right.unit}")


def _hull(left: Measured, right: Measured) -> tuple[float, float] | None:
    windows = [item.window_s for item in (left, right) if item.window_s is not None]
    return (min(w[0] for w in windows), max(w[1] for w in windows)) if windows else None
