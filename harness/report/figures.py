"""Numbers as people write them: uncertainty to two digits, value to the same place, units with prefixes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.record.record import LETTERS

TONES = {word: "P" if letter == "." else letter for word, letter in LETTERS.items()}
"""The page's style of each verdict: ``v`` and this."""

UNITS: Mapping[str, tuple[str, str]] = {
    "w": ("Active power", "W"),
    "var": ("Reactive power", "var"),
    "va": ("Apparent power", "VA"),
    "v": ("Voltage", "V"),
    "a": ("Current", "A"),
    "hz": ("Frequency", "Hz"),
    "degc": ("Temperature", "degC"),
    "j": ("Energy", "J"),
    "s": ("Time", "s"),
    "fraction": ("State of charge and other shares", "%"),
    "": ("Other", ""),
}
"""Quantity and unit by unit suffix, in the order in which the page has them."""

# degC, counts and fractions take no prefix.
_PREFIXED = frozenset({"V", "A", "W", "var", "VA", "s", "J", "C", "Ah", "Wh", "Hz"})
_LARGER = {"V": 1e4, "A": 1e4, "W": 1e3, "var": 1e3, "VA": 1e3, "J": 1e3, "Wh": 1e3, "C": 1e5}
"""From where on thousands are easier to read."""
_SMALLER = {"s": 1.0, "V": 0.1, "A": 0.1}
"""Up to where thousandths are."""
_MINUS = "\N{MINUS SIGN}"
_WRITTEN = {"degC": "°C", "1": "", "count": "", "bool": "", "Ohm": "Ω"}


def in_words(value: object) -> str:
    """Write what is no number: a flag, a set, a state."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(str, value))) or "none"
    return str(getattr(value, "value", value))


def suffix_of(source: str) -> str:
    """Give the unit suffix of ``<device>.<quantity>_<unit>``; ``fraction`` for shares."""
    quantity = source.rsplit(".", 1)[-1]
    if quantity in {"soc", "soh"} or quantity.endswith(("_soc", "_soh", "_pu")):
        return "fraction"
    last = quantity.rsplit("_", 1)[-1]
    return last if last in UNITS else ""


def scale_of(values: Sequence[float], unit: str) -> tuple[float, str]:
    """Choose a factor and the unit as written, fit for the largest of ``values``.

    Fractions become percent. Multiply by the factor, and write the unit behind.
    """
    largest = max((abs(each) for each in values if math.isfinite(each)), default=0.0)
    if unit in _PREFIXED and largest > 0.0:
        if largest >= 1e6 and unit in _LARGER:
            return 1e-6, f"M{unit}"
        if largest >= _LARGER.get(unit, math.inf):
            return 1e-3, f"k{unit}"
        if largest < _SMALLER.get(unit, 0.0):
            return (1e6, f"µ{unit}") if largest < 1e-3 else (1e3, f"m{unit}")
    return 1.0, _WRITTEN.get(unit, unit)


def figure(value: float, expanded: float = 0.0) -> str:
    """Write a number to the place of two digits of its expanded uncertainty; six digits where it has none."""
    if math.isnan(value):
        return "no number"
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    if expanded > 0.0:
        places = max(0, 1 - math.floor(math.log10(expanded)))
        text = f"{value:.{min(places, 9)}f}"
    else:
        text = f"{value:.6g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}·10^{int(exponent)}"
    return text.replace("-", _MINUS) if float(value) != 0.0 else text.lstrip("-")


def with_uncertainty(value: float, u: float, unit: str, others: Sequence[float] = ()) -> str:
    """Write ``value ± U unit`` with U at k = 2.

    Args:
        value: in ``unit``.
        u: standard uncertainty (k = 1); zero for counts and states.
        unit: SI unit.
        others: values that the reader compares it with, such as limits: they share its prefix.
    """
    factor, written = scale_of([value, *others], unit)
    space = f" {written}" if written else ""
    if u <= 0.0:
        return f"{figure(value * factor)}{space}"
    return f"{figure(value * factor, 2 * u * factor)} ± {_two_digits(2 * u * factor)}{space}"


def _two_digits(expanded: float) -> str:
    places = max(0, 1 - math.floor(math.log10(expanded)))
    return f"{expanded:.{min(places, 9)}f}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) within two bounds: about ``count``, three at least."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * power for nice in (1.0, 2.0, 5.0, 10.0) if nice * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    if last - first < 2 and count < 20:
        return ticks(low, high, count + 2)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def time_ticks(low_s: float, high_s: float) -> tuple[list[float], float, str]:
    """Ticks of a time axis in seconds, the seconds one unit has, and that unit.

    Short stretches are in milliseconds only near zero, where the numbers stay short.
    """
    span = high_s - low_s
    unit, seconds = "s", 1.0
    if span >= 4 * 3600.0:
        unit, seconds = "h", 3600.0
    elif span >= 300.0:
        unit, seconds = "min", 60.0
    elif span < 0.5 and abs(low_s) < 1.0:
        unit, seconds = "ms", 1e-3
    return [each * seconds for each in ticks(low_s / seconds, high_s / seconds, 8)], seconds, unit


def duration(seconds: float) -> str:
    """Write a duration: ``12.4 s``, ``4 min 48 s``, ``2 h 05 min``."""
    if seconds < 60.0:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
