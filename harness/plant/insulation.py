"""Insulation of the string against earth, and the device that monitors it.

The string floats; each pole has a resistance to earth, and a ground fault lies beside one of them:

    1/R = 1/R+ + 1/R-                     what an active device measures against both poles
    U+ = U R+ / (R+ + R-), U- = U - U+    the poles' voltages against earth

The device follows the conductance with one time constant, chosen so that a fault of half its alarm level, on
sound insulation, is an alarm after its response time. Ground faults are resistances; levels are reached at
exact instants.

Not modelled: leakage capacitance (it is in the response time), faults inside the string, insulation of what
stands behind the contactors, two devices that disturb each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

from harness.plant.bms_spec import InsulationMonitorSpec, InsulationSpec


class Pole(Enum):
    """Of the string."""

    PLUS = "plus"
    MINUS = "minus"


class Insulation:
    """Both poles' resistances to earth, ground faults included."""

    def __init__(self, spec: InsulationSpec, changed: Callable[[], None]) -> None:
        self.spec = spec
        self._changed = changed
        self._fault_s = {Pole.PLUS: 0.0, Pole.MINUS: 0.0}

    @property
    def plus_ohm(self) -> float:
        """From the positive pole to earth."""
        return 1.0 / (1.0 / self.spec.plus_ohm + self._fault_s[Pole.PLUS])

    @property
    def minus_ohm(self) -> float:
        """From the negative pole to earth."""
        return 1.0 / (1.0 / self.spec.minus_ohm + self._fault_s[Pole.MINUS])

    @property
    def resistance_ohm(self) -> float:
        """Of both poles together."""
        return 1.0 / (1.0 / self.plus_ohm + 1.0 / self.minus_ohm)

    def pole_voltages_v(self, string_v: float) -> tuple[float, float]:
        """Magnitudes of the voltages of the positive and the negative pole against earth."""
        plus_v = string_v * self.plus_ohm / (self.plus_ohm + self.minus_ohm)
        return plus_v, string_v - plus_v

    def insert_ground_fault(self, pole: Pole, resistance_ohm: float) -> None:
        """Connect a pole to earth through a resistance; a new one replaces the pole's last.

        Raises:
            ValueError: a resistance that is not positive.
        """
        if not resistance_ohm > 0.0:
            raise ValueError(
                f"insulation: ground fault at {pole.value} with resistance_ohm={resistance_ohm}; "
                "allowed: more than 0"
            )
        self._fault_s[pole] = 1.0 / resistance_ohm
        self._changed()

    def clear_ground_faults(self) -> None:
        """Take all ground faults out."""
        self._fault_s = dict.fromkeys(Pole, 0.0)
        self._changed()


class InsulationMonitor:
    """Measures the insulation, and says when it is low.

    Attributes:
        is_warning: whether the resistance is below the warning level.
        is_alarm: whether it is below the alarm level.
    """

    def __init__(self, spec: InsulationMonitorSpec, insulation: Insulation) -> None:
        self.spec = spec
        self._insulation = insulation
        self._conductance_s = 1.0 / insulation.resistance_ohm
        self.is_warning = self.is_alarm = False
        # 1 - exp(-t/tau) = 1/2 at the response time: half the level's resistance is twice its conductance.
        self._time_constant_s = spec.response_s / math.log(2.0)
        # Its own error moves its levels.
        scale = 1.0 + spec.relative_error
        self._levels_s = (scale / spec.warning_ohm, scale / spec.alarm_ohm)
        self.settle()

    @property
    def resistance_ohm(self) -> float:
        """What it shows."""
        return (1.0 + self.spec.relative_error) / self._conductance_s

    @property
    def is_steady(self) -> bool:
        """Whether it shows all there is."""
        final_s = 1.0 / self._insulation.resistance_ohm
        return abs(self._conductance_s - final_s) <= 1e-6 * final_s

    @property
    def due_in_s(self) -> float:
        """How long until it reaches its next level; infinite if it does not."""
        final_s = 1.0 / self._insulation.resistance_ohm
        now_s = self._conductance_s
        return min(
            (
                self._time_constant_s * math.log((final_s - now_s) / (final_s - level_s))
                for level_s in self._next_levels_s()
                if min(now_s, final_s) < level_s < max(now_s, final_s)
            ),
            default=math.inf,
        )

    def advance(self, duration_s: float) -> None:
        """Measure on."""
        final_s = 1.0 / self._insulation.resistance_ohm
        self._conductance_s = final_s + (self._conductance_s - final_s) * math.exp(
            -duration_s / self._time_constant_s
        )

    def settle(self) -> None:
        """Compare with both levels."""
        warning_s, alarm_s = self._next_levels_s()
        # A hair, so that an instant computed for a level reaches it.
        reached_s = self._conductance_s
        self.is_warning = reached_s >= warning_s * (1.0 + (1e-9 if self.is_warning else -1e-9))
        self.is_alarm = reached_s >= alarm_s * (1.0 + (1e-9 if self.is_alarm else -1e-9))

    def _next_levels_s(self) -> tuple[float, float]:
        warning_s, alarm_s = self._levels_s
        back = self.spec.recovery_factor
        return (
            warning_s / back if self.is_warning else warning_s,
            alarm_s / back if self.is_alarm else alarm_s,
        )
