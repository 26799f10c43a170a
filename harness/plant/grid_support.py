"""Grid support functions: volt-var, volt-watt, watt-var, constant power factor, frequency droop.

    volt-var    Q / S = curve(V - Vref + 1)                   IEEE 1547-2018, 5.3.3, table 8
    watt-var    Q / S = curve(P / Prated)                     5.3.4, table 9
    constant pf Q = +-|P| tan(acos pf)                        5.3.2
    volt-watt   P / Prated <= curve(V)                        5.4.2, table 10
    droop       dP / Prated = -(df -+ dead band) / (f0 k)     6.5.2.7, tables 22 to 24

Each answers with a first order of its open-loop response time: 90 % of a step at Tr, tau = Tr / 2.303. Only
one reactive function is on at a time (5.3.1). Active power of volt-watt and droop comes on top of the
set-point's own ramp and response. Droop is added to the set-point, also to one that changes meanwhile: where
the set-point stands that is the standard's power before the disturbance plus droop.

The result is cut to the ratings and to the circle of the apparent power, the one or the other first.

Category defaults and ranges are those that OpenDER 2.2 holds settings against (common_file_format.py), for
droop the characteristics 1 and 2 of IEEE 1547.1-2020, 5.15 as the UL1741SB test scripts (ua-kxie) give them.

Not modelled: adjustment of Vref by itself, reaction time apart from the first order, limited rate of Q when
the mode changes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

NormalCategory = Literal["A", "B"]
"""Normal operating performance category of IEEE 1547-2018."""

AbnormalCategory = Literal["I", "II", "III"]
"""Abnormal operating performance category of IEEE 1547-2018."""

STILL = 1e-6
"""By how much of the rating a function that has settled may be off its curve."""

_LEAST_V_PU = {"A": 0.25, "B": 0.44}
"""Reactive power that a category has to absorb, over the apparent power (IEEE 1547-2018, table 7)."""


class Priority(Enum):
    """What gives way where the apparent power, or the current, is not enough for both."""

    ACTIVE = "active"
    """Reactive power gives way."""
    REACTIVE = "reactive"
    """Active power gives way."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a setting may be."""

    low: float
    high: float


def _outside(name: str, value: float, allowed: Range) -> Iterator[str]:
    # A hair for sums like 0.98 - 0.02.
    if not allowed.low - 1e-9 <= value <= allowed.high + 1e-9:
        yield f"{name}={value:g}; allowed {allowed.low:g} to {allowed.high:g}"


def on_curve(points: tuple[tuple[float, float], ...], place: float) -> float:
    """Value of a curve of points, straight between, flat beyond both ends; of a jump the value behind it."""
    above = bisect_right(points, place, key=lambda point: point[0])
    if above == 0:
        return points[0][1]
    if above == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[above - 1], points[above]
    return y0 + (y1 - y0) * (place - x0) / (x1 - x0)


@dataclass(frozen=True, kw_only=True, slots=True)
class VoltVar:
    """Reactive power by voltage.

    Attributes:
        curve: (voltage in pu, reactive power over apparent power; positive injects), rising in voltage.
        reference_pu: voltage that the curve is moved to from 1.
        response_s: open-loop response time.
    """

    curve: tuple[tuple[float, float], ...]
    reference_pu: float = 1.0
    response_s: float = 5.0

    @classmethod
    def default(cls, category: NormalCategory) -> VoltVar:
        """Make the default of a category (IEEE 1547-2018, table 8)."""
        if category == "A":
            return cls(curve=((0.90, 0.25), (1.00, 0.0), (1.10, -0.25)), response_s=10.0)
        return cls(curve=((0.92, 0.44), (0.98, 0.0), (1.02, 0.0), (1.08, -0.44)), response_s=5.0)

    def value(self, voltage_pu: float) -> float:
        """Reactive power over apparent power."""
        return on_curve(self.curve, voltage_pu - self.reference_pu + 1.0)

    def mistakes(self, category: NormalCategory) -> tuple[str, ...]:
        """What is out of the category's ranges, each as a sentence; nothing if all is within."""
        points = self.curve
        most = _LEAST_V_PU[category]
        found = [*_outside("reference_pu", self.reference_pu, Range(0.95, 1.05))]
        found += _outside("response_s", self.response_s, Range(1.0, 90.0))
        allowed_points = (3, 4) if category == "A" else (4,)
        if len(points) not in allowed_points:
            return (
                *found,
                f"curve has {len(points)} points; allowed {' or '.join(map(str, allowed_points))}",
            )
        (v1, q1), (v2, q2), (v3, q3), (v4, q4) = (
            points if len(points) == 4 else (points[0], points[1], points[1], points[2])
        )
        band = 0.0 if category == "A" else 0.03
        found += _outside("V2", v2, Range(1.0 - band, 1.0))
        found += _outside("V3", v3, Range(1.0, 1.0 + band))
        found += _outside("V1", v1, Range(1.0 - 0.18, v2 - 0.02))
        found += _outside("V4", v4, Range(v3 + 0.02, 1.0 + 0.18))
        found += _outside("Q1", q1, Range(0.0, 1.0))
        found += _outside("Q2", q2, Range(-most, most))
        found += _outside("Q3", q3, Range(-most, most))
        found += _outside("Q4", q4, Range(-1.0, 0.0))
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class WattVar:
    """Reactive power by active power.

    Attributes:
        curve: (active power over the rating of its direction, reactive power over apparent power), rising;
            negative active power charges.
        response_s: open-loop response time.
    """

    curve: tuple[tuple[float, float], ...]
    response_s: float = 10.0

    @classmethod
    def default(cls, category: NormalCategory) -> WattVar:
        """Make the default of a category (IEEE 1547-2018, table 9)."""
        most = _LEAST_V_PU[category]
        return cls(
            curve=((-1.0, 0.44), (-0.5, 0.0), (-0.2, 0.0), (0.2, 0.0), (0.5, 0.0), (1.0, -most)),
        )

    def value(self, power_pu: float) -> float:
        """Reactive power over apparent power."""
        return on_curve(self.curve, power_pu)

    def mistakes(self, category: NormalCategory) -> tuple[str, ...]:
        """What is out of the category's ranges, each as a sentence; nothing if all is within."""
        points = self.curve
        found = [*_outside("response_s", self.response_s, Range(0.0, 10.0))]
        if len(points) != 6:
            return (*found, f"curve has {len(points)} points; allowed 6")
        (p3n, q3n), (p2n, q2n), (p1n, q1n), (p1, q1), (p2, q2), (p3, q3) = points
        most = Range(-_LEAST_V_PU[category], 0.44)
        found += _outside("P3", p3, Range(p2 + 0.1, 1.0))
        found += _outside("P2", p2, Range(0.4, 0.8))
        found += _outside("P1", p1, Range(0.0, p2 - 0.1))
        found += _outside("P'1", p1n, Range(p2n + 0.1, 0.0))
        found += _outside("P'2", p2n, Range(-0.8, -0.4))
        found += _outside("P'3", p3n, Range(-1.0, p2n - 0.1))
        for name, q in (("Q3", q3), ("Q2", q2), ("Q1", q1), ("Q'1", q1n), ("Q'2", q2n), ("Q'3", q3n)):
            found += _outside(name, q, most)
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConstantPowerFactor:
    """Reactive power in proportion to active power.

    Attributes:
        power_factor: above 0 up to 1.
        injects: whether reactive power is injected (over-excited); else absorbed.
        holds_while_charging: whether it holds in both directions; else no reactive power while charging.
    """

    power_factor: float
    injects: bool = True
    holds_while_charging: bool = True

    def __post_init__(self) -> None:
        """Refuse what is no power factor."""
        if not 0.0 < self.power_factor <= 1.0:
            raise ValueError(f"constant power factor: power_factor={self.power_factor}; allowed above 0 to 1")

    @property
    def ratio(self) -> float:
        """Reactive power over the size of active power."""
        tangent = math.sqrt(1.0 - self.power_factor**2) / self.power_factor
        return tangent if self.injects else -tangent


@dataclass(frozen=True, kw_only=True, slots=True)
class VoltWatt:
    """A limit of active power by voltage.

    Attributes:
        curve: (voltage in pu, limit over the discharge rating; below zero asks to charge), rising in voltage.
        response_s: open-loop response time.
    """

    curve: tuple[tuple[float, float], ...] = ((1.06, 1.0), (1.10, 0.2))
    response_s: float = 10.0

    @classmethod
    def default(cls) -> VoltWatt:
        """Make the default of both categories (IEEE 1547-2018, table 10)."""
        return cls()

    def value(self, voltage_pu: float) -> float:
        """Limit over the discharge rating."""
        return on_curve(self.curve, voltage_pu)

    def mistakes(self) -> tuple[str, ...]:
        """What is out of the ranges, each as a sentence; nothing if all is within."""
        found = [*_outside("response_s", self.response_s, Range(0.5, 60.0))]
        if len(self.curve) != 2:
            return (*found, f"curve has {len(self.curve)} points; allowed 2")
        (v1, p1), (v2, p2) = self.curve
        found += _outside("V1", v1, Range(1.05, 1.09))
        found += _outside("V2", v2, Range(v1 + 0.01, 1.10))
        found += _outside("P1", p1, Range(1.0, 1.0))
        found += _outside("P2", p2, Range(-1.0, 1.0))
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class FrequencyDroop:
    """Active power by frequency.

    Attributes:
        over_dead_band_hz: above nominal.
        under_dead_band_hz: below nominal, a positive number.
        over_droop: relative frequency for the whole rating, above nominal.
        under_droop: the same below nominal.
        response_s: open-loop response time.
    """

    over_dead_band_hz: float = 0.036
    under_dead_band_hz: float = 0.036
    over_droop: float = 0.05
    under_droop: float = 0.05
    response_s: float = 5.0

    @classmethod
    def default(cls) -> FrequencyDroop:
        """Make the default of all categories (IEEE 1547-2018, table 24)."""
        return cls()

    @classmethod
    def japan_primary_reserve(cls) -> FrequencyDroop:
        """Make the droop of primary reserve in Japan: 5 % (ITmedia), dead band 0.01 Hz (from memory).

        Full within 10 s (ITmedia); half of that as response time is ours: 99 % at twice Tr.
        """
        return cls(over_dead_band_hz=0.01, under_dead_band_hz=0.01, response_s=5.0)

    def value(self, deviation_hz: float, nominal_hz: float) -> float:
        """Active power over the rating, to be added."""
        if deviation_hz > self.over_dead_band_hz:
            return -(deviation_hz - self.over_dead_band_hz) / (nominal_hz * self.over_droop)
        if deviation_hz < -self.under_dead_band_hz:
            return -(deviation_hz + self.under_dead_band_hz) / (nominal_hz * self.under_droop)
        return 0.0

    def mistakes(self, category: AbnormalCategory) -> tuple[str, ...]:
        """What is out of the category's ranges, each as a sentence; nothing if all is within."""
        droop, response_s = (
            (Range(0.02, 0.05), Range(0.2, 10.0))
            if category == "III"
            else (Range(0.03, 0.05), Range(1.0, 10.0))
        )
        found = [*_outside("over_dead_band_hz", self.over_dead_band_hz, Range(0.017, 1.0))]
        found += _outside("under_dead_band_hz", self.under_dead_band_hz, Range(0.017, 1.0))
        found += _outside("over_droop", self.over_droop, droop)
        found += _outside("under_droop", self.under_droop, droop)
        found += _outside("response_s", self.response_s, response_s)
        return tuple(found)


ReactiveFunction = VoltVar | WattVar | ConstantPowerFactor


@dataclass(frozen=True, kw_only=True, slots=True)
class GridSupportSpec:
    """Which functions are on.

    Attributes:
        reactive: how reactive power is found; None: it is commanded.
        volt_watt: None: off.
        droop: None: off.
        priority: what gives way.
        most_injected_pu: reactive power over apparent power that it can inject.
        most_absorbed_pu: the same for absorbing, a positive number.
    """

    reactive: ReactiveFunction | None = None
    volt_watt: VoltWatt | None = None
    droop: FrequencyDroop | None = None
    priority: Priority = Priority.ACTIVE
    most_injected_pu: float = 1.0
    most_absorbed_pu: float = 1.0

    @property
    def is_off(self) -> bool:
        """Whether no function is on."""
        return self.reactive is None and self.volt_watt is None and self.droop is None

    def mistakes(self, normal: NormalCategory, abnormal: AbnormalCategory) -> tuple[str, ...]:
        """What is out of the ranges of the categories, each as a sentence; nothing if all is within."""
        reactive, most_pu = self.reactive, _LEAST_V_PU[normal]
        found = []
        if isinstance(reactive, VoltVar):
            found += [f"volt_var.{mistake}" for mistake in reactive.mistakes(normal)]
        elif isinstance(reactive, WattVar):
            found += [f"watt_var.{mistake}" for mistake in reactive.mistakes(normal)]
        if self.volt_watt is not None:
            found += [f"volt_watt.{mistake}" for mistake in self.volt_watt.mistakes()]
        if self.droop is not None:
            found += [f"droop.{mistake}" for mistake in self.droop.mistakes(abnormal)]
        # Table 7: what it must be able to do at least.
        found += _outside("most_injected_pu", self.most_injected_pu, Range(0.44, 1.0))
        found += _outside("most_absorbed_pu", self.most_absorbed_pu, Range(most_pu, 1.0))
        return tuple(found)

    def with_reactive(self, function: ReactiveFunction | None) -> GridSupportSpec:
        """Make the same with another reactive function."""
        return replace(self, reactive=function)


class _FirstOrder:
    """A value that follows its reference: 90 % of a step at the response time, exact in any step."""

    def __init__(self, value: float, response_s: float) -> None:
        self.value = self.reference = value
        self._tau_s = response_s / math.log(10.0)

    @property
    def is_still(self) -> bool:
        return abs(self.reference - self.value) <= STILL

    def run(self, duration_s: float) -> None:
        gap = self.reference - self.value
        if abs(gap) <= STILL or self._tau_s == 0.0:
            self.value = self.reference
        else:
            self.value -= gap * math.expm1(-duration_s / self._tau_s)

    def hint_s(self) -> float:
        # A third of the chord's step: the voltage that it looks at moves with what it does.
        return math.inf if self.is_still else follow_s(self.reference - self.value, self._tau_s) / 3.0


def follow_s(gap_pu: float, tau_s: float) -> float:
    """Step in which an exponential way of a gap, taken as straight, is off by less than 0.001 of the rating.

    The error of a chord is gap (h / tau)² / 8.
    """
    return tau_s * min(0.09 / math.sqrt(abs(gap_pu)), 0.5)


class GridSupport:
    """The functions that are on, and where they stand."""

    def __init__(
        self, spec: GridSupportSpec, *, rated_w: float, charge_w: float, apparent_va: float, nominal_hz: float
    ) -> None:
        self.spec = spec
        self._rated_w, self._charge_w, self._apparent_va = rated_w, charge_w, apparent_va
        self._nominal_hz = nominal_hz
        reactive = spec.reactive
        self._reactive = (
            _FirstOrder(0.0, reactive.response_s) if isinstance(reactive, VoltVar | WattVar) else None
        )
        self._limit = _FirstOrder(1.0, spec.volt_watt.response_s) if spec.volt_watt else None
        self._droop = _FirstOrder(0.0, spec.droop.response_s) if spec.droop else None
        self._moving = tuple(one for one in (self._reactive, self._limit, self._droop) if one)

    @property
    def is_still(self) -> bool:
        """Whether all functions stand on their curves."""
        return all(one.is_still for one in self._moving)

    @property
    def step_hint_s(self) -> float:
        """Longest step that follows what moves."""
        return min((one.hint_s() for one in self._moving), default=math.inf)

    def look(self, voltage_pu: float, frequency_hz: float, power_w: float) -> None:
        """Take what is measured: mean of the phases' voltages, frequency, and active power that is wanted."""
        spec = self.spec
        if self._reactive is not None:
            if isinstance(spec.reactive, VoltVar):
                self._reactive.reference = spec.reactive.value(voltage_pu)
            elif isinstance(spec.reactive, WattVar):
                rating_w = self._rated_w if power_w >= 0.0 else self._charge_w
                self._reactive.reference = spec.reactive.value(power_w / rating_w)
        if self._limit is not None and spec.volt_watt is not None:
            self._limit.reference = spec.volt_watt.value(voltage_pu)
        if self._droop is not None and spec.droop is not None:
            deviation_hz = frequency_hz - self._nominal_hz
            self._droop.reference = spec.droop.value(deviation_hz, self._nominal_hz)

    def run(self, duration_s: float) -> None:
        """Let the responses run."""
        for one in self._moving:
            one.run(duration_s)

    def active_w(self, power_w: float) -> float:
        """Active power that is wanted at a set-point, before the circle."""
        if self._droop is not None:
            power_w += self._droop.value * self._rated_w
        if self._limit is not None:
            power_w = min(power_w, self._limit.value * self._rated_w)
        return min(max(power_w, -self._charge_w), self._rated_w)

    def wanted_va(self, setpoint_va: complex) -> complex:
        """Active and reactive power that the converter is to give at its set-points."""
        power_w = self.active_w(setpoint_va.real)
        function = self.spec.reactive
        if self._reactive is not None:
            reactive_var = self._reactive.value * self._apparent_va
        elif isinstance(function, ConstantPowerFactor):
            reactive_var = abs(power_w) * function.ratio
            if power_w < 0.0 and not function.holds_while_charging:
                reactive_var = 0.0
            size = math.hypot(power_w, reactive_var)
            if size > self._apparent_va:
                # Both give way, so that the power factor holds.
                power_w, reactive_var = (
                    power_w * self._apparent_va / size,
                    reactive_var * self._apparent_va / size,
                )
        else:
            reactive_var = setpoint_va.imag
        return within(self.spec, self._apparent_va, power_w, reactive_var)


def within(spec: GridSupportSpec, apparent_va: float, power_w: float, reactive_var: float) -> complex:
    """Cut to what it can inject and absorb, and to the circle of the apparent power."""
    reactive_var = min(
        max(reactive_var, -spec.most_absorbed_pu * apparent_va), spec.most_injected_pu * apparent_va
    )
    return in_circle(complex(power_w, reactive_var), apparent_va, spec.priority)


def in_circle(value: complex, radius: float, priority: Priority) -> complex:
    """Cut a complex number to a circle; the part without priority gives way."""
    first, second = value.real, value.imag
    if first * first + second * second <= radius * radius:
        return value
    if priority is Priority.REACTIVE:
        first, second = second, first
    first = min(max(first, -radius), radius)
    room = math.sqrt(max(radius * radius - first * first, 0.0))
    second = min(max(second, -room), room)
    return complex(second, first) if priority is Priority.REACTIVE else complex(first, second)
