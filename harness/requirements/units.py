"""Units as standards write them, brought to the SI units that measurements carry.

A limit keeps the unit of its standard until a rig is known: three cycles are 60 ms at 50 Hz and 50 ms
at 60 Hz, and stay three cycles in the report.
"""

from __future__ import annotations

from collections.abc import Mapping

_FIXED: Mapping[str, tuple[str, float]] = {
    "s": ("s", 1.0),
    "ms": ("s", 1e-3),
    "min": ("s", 60.0),
    "h": ("s", 3600.0),
    "Hz": ("Hz", 1.0),
    "Hz/s": ("Hz/s", 1.0),
    "V": ("V", 1.0),
    "mV": ("V", 1e-3),
    "A": ("A", 1.0),
    "W": ("W", 1.0),
    "kW": ("W", 1e3),
    "var": ("var", 1.0),
    "VA": ("VA", 1.0),
    "J": ("J", 1.0),
    "Wh": ("J", 3600.0),
    "kWh": ("J", 3.6e6),
    "C": ("C", 1.0),
    "Ah": ("C", 3600.0),
    "degC": ("degC", 1.0),
    "K": ("K", 1.0),
    "ohm": ("ohm", 1.0),
    "deg": ("deg", 1.0),
    "1": ("1", 1.0),
    "%": ("1", 1e-2),
    "pu": ("1", 1.0),
    "pu/s": ("1/s", 1.0),
    "count": ("count", 1.0),
    "bool": ("bool", 1.0),
}

_OF_FREQUENCY: Mapping[str, str] = {"cycles": "s", "pu_f0": "Hz"}

UNITS = frozenset(_FIXED) | frozenset(_OF_FREQUENCY)
"""Every unit that a requirement file may use."""

SCALABLE = frozenset({"pu", "%", "1"})
"""Units that may be a share ``of`` a nominal value."""

_BY_SUFFIX: Mapping[str, str] = {
    "v": "V",
    "a": "A",
    "w": "W",
    "var": "var",
    "va": "VA",
    "hz": "Hz",
    "s": "s",
    "j": "J",
    "c": "C",
    "degc": "degC",
    "k": "K",
    "ohm": "ohm",
    "deg": "deg",
    "count": "count",
}


def si_unit(unit: str) -> str:
    """Name the SI unit that ``unit`` resolves to."""
    return _OF_FREQUENCY[unit] if unit in _OF_FREQUENCY else _FIXED[unit][0]


def to_si(value: float, unit: str, f0_hz: float) -> float:
    """Convert to SI at the nominal frequency of the rig."""
    if unit == "cycles":
        return value / f0_hz
    if unit == "pu_f0":
        return value * f0_hz
    return value * _FIXED[unit][1]


def unit_of_name(name: str) -> str:
    """Read the unit off a name's suffix: ``inverter.ac_power_w`` is in W, ``bms.soc`` is a plain number."""
    quantity = name.rsplit(".", 1)[-1]
    head, _, suffix = quantity.rpartition("_")
    return _BY_SUFFIX.get(suffix, "1") if head else "1"
