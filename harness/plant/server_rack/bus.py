"""The 48 V bus: sources with droop at one end of a bus bar, servers and their capacitance at the other.

A source gives I = (E - U) / R towards the shelf's end, never below zero (an ORing diode) and never above its
limit; E may move along a line. So all sources together are I = a + a' t - b U between two kinks. With a bus
bar of resistance Rb, U = V + Rb I, and at the servers' end

    C dV/dt = I - P(t) / V - V / Rbleed

P / V is taken as its tangent at the start of a step, which leaves dx/dt = f0 + f1 t - k x for x = V - V(0):

    x(t) = f0 t phi1(k t) + f1 t² phi2(k t)      phi1(z) = (1 - exp(-z)) / z, phi2(z) = (1 - phi1(z)) / z

solved exactly, also where k is zero or negative (a load of constant power without a source). A step ends
where x has gone 0.1 V, so the tangent is off by (0.1 / 48)², 4e-6 of the load's current.

Not modelled: inductance of the bus bar (ringing above some 10 kHz), ripple of the rectifiers, control loops
of the sources (their output follows its line at once), differences along the bar.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BESIDE_V = 1e-9
"""How far beyond a kink or a level a step ends, so that it is clear on which side it stands."""


class Source:
    """One output with droop on the bus.

    Attributes:
        ohm: its droop.
        limit_a: its current limit.
        set_v: its voltage at no load.
        slope_v_per_s: at which that moves.
        is_on: whether it gives anything.
    """

    __slots__ = ("is_on", "limit_a", "ohm", "set_v", "slope_v_per_s")

    def __init__(self, set_v: float, ohm: float, limit_a: float) -> None:
        self.ohm = ohm
        self.limit_a = limit_a
        self.set_v = set_v
        self.slope_v_per_s = 0.0
        self.is_on = False

    def current_a(self, bus_v: float) -> float:
        """Current at a voltage of the bus."""
        if not self.is_on:
            return 0.0
        return min(max((self.set_v - bus_v) / self.ohm, 0.0), self.limit_a)

    def is_limiting(self, bus_v: float) -> bool:
        """Whether its current limit holds it."""
        return self.is_on and self.set_v - bus_v > self.limit_a * self.ohm

    def kinks(self) -> tuple[tuple[float, float], ...]:
        """Voltages of the bus at which its line bends, and how fast they move."""
        if not self.is_on:
            return ()
        slope = self.slope_v_per_s
        return ((self.set_v, slope), (self.set_v - self.limit_a * self.ohm, slope))

    def line(self, bus_v: float) -> tuple[float, float, float]:
        """Give a, a', b of I = a + a' t - b U around a voltage of the bus."""
        if not self.is_on or bus_v > self.set_v:
            return (0.0, 0.0, 0.0)
        if self.set_v - bus_v > self.limit_a * self.ohm:
            return (self.limit_a, 0.0, 0.0)
        return (self.set_v / self.ohm, self.slope_v_per_s / self.ohm, 1.0 / self.ohm)


class Line(NamedTuple):
    """A quantity of a step: at + rate t + gain x, with x as in the module's docstring."""

    at: float
    rate: float
    gain: float

    def value(self, time_s: float, x_v: float) -> float:
        """Value at a time within the step."""
        return self.at + self.rate * time_s + self.gain * x_v


@dataclass(frozen=True, slots=True)
class Course:
    """How x = V - V(0) runs in a step: dx/dt = f0 + f1 t - k x."""

    f0: float
    f1: float
    k: float

    @property
    def is_standing(self) -> bool:
        """Whether nothing moves: less than a nanovolt is left to go."""
        return self.f1 == 0.0 and (self.f0 == 0.0 or (self.k > 0.0 and abs(self.f0) < BESIDE_V * self.k))

    def x_v(self, time_s: float) -> float:
        """Way gone after a time."""
        z = self.k * time_s
        return time_s * (self.f0 * phi1(z) + self.f1 * time_s * phi2(z))

    def mean_x_v(self, duration_s: float) -> float:
        """Mean of the way over a step."""
        z = self.k * duration_s
        return duration_s * (self.f0 * phi2(z) + self.f1 * duration_s * phi3(z))

    def xs_v(self, times_s: FloatArray) -> FloatArray:
        """Ways gone after times, shape (n,)."""
        if self.is_standing:
            return np.zeros(len(times_s))
        return np.array([self.x_v(float(time_s)) for time_s in times_s])


def phi1(z: float) -> float:
    """(1 - exp(-z)) / z."""
    return 1.0 - 0.5 * z if abs(z) < 1e-8 else -math.expm1(-z) / z


def phi2(z: float) -> float:
    """(1 - phi1(z)) / z; by its series where that would cancel."""
    if abs(z) < 1e-2:
        return 0.5 - z / 6.0 + z * z / 24.0 - z**3 / 120.0 + z**4 / 720.0
    return (1.0 - phi1(z)) / z


def phi3(z: float) -> float:
    """(1/2 - phi2(z)) / z; by its series where that would cancel."""
    if abs(z) < 1e-2:
        return 1.0 / 6.0 - z / 24.0 + z * z / 120.0 - z**3 / 720.0 + z**4 / 5040.0
    return (0.5 - phi2(z)) / z


def shelf_voltage_v(
    bus_v: float, bar_ohm: float, sources: Iterable[Source], sink_w: float, guess_v: float
) -> float:
    """Voltage at the shelf's end, from that at the servers' end; ``sink_w`` is drawn at the shelf's end.

    U = V + Rb I(U), by Newton on lines between kinks.
    """
    sources = tuple(sources)
    shelf_v = guess_v
    for _ in range(60):
        a = b = 0.0
        for source in sources:
            line = source.line(shelf_v)
            a += line[0]
            b += line[2]
        if sink_w:
            a -= 2.0 * sink_w / shelf_v
            b -= sink_w / (shelf_v * shelf_v)
        found_v = (bus_v + bar_ohm * a) / (1.0 + bar_ohm * b)
        if abs(found_v - shelf_v) < 1e-12 * max(1.0, abs(found_v)):
            return found_v
        shelf_v = found_v
    return shelf_v


def crossing_s(line: Line, course: Course, until_s: float) -> float:
    """Time at which a quantity has just run through zero within a step; infinite if it does not."""
    first = line.at
    last = line.value(until_s, course.x_v(until_s))
    if first == 0.0 or (first > 0.0) == (last > 0.0):
        return math.inf
    low_s, high_s = 0.0, until_s
    # Halving, with the chord where it lands well inside: a dozen rounds for a smooth course.
    low, high = first, last
    for turn in range(200):
        width_s = high_s - low_s
        if width_s <= 1e-15 + 1e-13 * high_s or abs(high) < BESIDE_V:
            break
        middle_s = low_s - low * width_s / (high - low) if turn % 2 == 0 else low_s + 0.5 * width_s
        if turn % 2 == 0:
            middle_s += 0.5 * BESIDE_V * width_s / abs(high - low)  # aims just beyond, so that high closes in
        if not low_s < middle_s < high_s:
            middle_s = low_s + 0.5 * width_s
        found = line.value(middle_s, course.x_v(middle_s))
        if (found > 0.0) == (first > 0.0):
            low_s, low = middle_s, found
        else:
            high_s, high = middle_s, found
    return high_s
