"""A fuse that melts by what flowed through it.

At a constant current I it melts after T(I), its time-current curve:

    dw/dt = 1 / T(I)           w is the melted share; blown at w = 1
    dw/dt = -w / cooling       below the curve's first current

so a current that changes in steps melts it by Miner's sum, exactly. Beyond the curve's last point T falls
with the square of the current: I^2 t is constant, as in any adiabatic melting.

Not modelled: pre-loading of the curve below its first current, the arc and its energy, ambient temperature.
"""

from __future__ import annotations

import math

from harness.plant.bms_spec import FuseSpec
from harness.plant.lines import log_line_at

_BLOWN = 1.0 - 1e-9


class Fuse:
    """One fuse.

    Attributes:
        is_blown: whether it has melted; for good, until ``replace``.
    """

    def __init__(self, spec: FuseSpec) -> None:
        self.spec = spec
        self.is_blown = False
        self._melted = 0.0
        self.least_current_a = spec.melting[0][0]

    @property
    def is_cold(self) -> bool:
        """Whether it has nothing to forget."""
        return self._melted == 0.0

    def melting_time_s(self, current_a: float) -> float:
        """How long a cold fuse carries a constant current."""
        current_a = abs(current_a)
        if current_a < self.least_current_a:
            return math.inf
        last_a, last_s = self.spec.melting[-1]
        if current_a >= last_a:
            return last_s * (last_a / current_a) ** 2
        return log_line_at(self.spec.melting, current_a)

    def due_in_s(self, current_a: float) -> float:
        """How long it goes on carrying a current."""
        return math.inf if self.is_blown else (1.0 - self._melted) * self.melting_time_s(current_a)

    def carry(self, current_a: float, duration_s: float) -> None:
        """Let a constant current flow."""
        time_s = self.melting_time_s(current_a)
        if time_s == math.inf:
            self._melted *= math.exp(-duration_s / self.spec.cooling_s)
            if self._melted < 1e-6:
                self._melted = 0.0
        else:
            self._melted += duration_s / time_s
        if self._melted >= _BLOWN:
            self.is_blown = True

    def replace(self) -> None:
        """Put a new one in."""
        self.is_blown = False
        self._melted = 0.0
