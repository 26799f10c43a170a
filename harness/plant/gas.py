"""Hydrogen in the air of a battery's enclosure.

    V dC/dt = q - Q C        C share of hydrogen, q hydrogen made, Q air through the enclosure, V its volume

solved exactly for a constant q; a fan that fails leaves the part of the airflow that needs none.

Not modelled: layers under the roof, the hydrogen's own share of the flow, a detector's delay and drift.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.plant.bms_spec import HydrogenSpec

_HAIR = 1e-9
"""Protections act strictly beyond their level."""


class Enclosure:
    """The air around the cells.

    Attributes:
        share: hydrogen in it, by volume.
        is_fan_running: whether its fan runs.
    """

    def __init__(self, spec: HydrogenSpec, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.share = 0.0
        self.is_fan_running = True
        self._changed = changed

    @property
    def airflow_m3_per_h(self) -> float:
        """Air that passes now."""
        spec = self.spec
        return spec.airflow_m3_per_h * (1.0 if self.is_fan_running else spec.natural_fraction)

    def set_fan(self, *, is_running: bool) -> None:
        """Let the fan run, or fail."""
        self.is_fan_running = is_running
        self._changed()

    def advance(self, duration_s: float, hydrogen_m3_per_h: float) -> None:
        """Let air pass while hydrogen is made at a constant rate."""
        final, time_constant_s = self._goal(hydrogen_m3_per_h)
        self.share = final + (self.share - final) * math.exp(-duration_s / time_constant_s)
        if hydrogen_m3_per_h == 0.0 and self.share < 1e-9:
            self.share = 0.0

    def due_in_s(self, level: float, hydrogen_m3_per_h: float) -> float:
        """How long until a share is passed by a hair, up or down; infinite if it never is, or has been."""
        final, time_constant_s = self._goal(hydrogen_m3_per_h)
        beyond = level * (1.0 + _HAIR if final > level else 1.0 - _HAIR)
        if not (self.share <= level < beyond < final or final < beyond < level < self.share):
            return math.inf
        return time_constant_s * math.log((final - self.share) / (final - beyond))

    def _goal(self, hydrogen_m3_per_h: float) -> tuple[float, float]:
        airflow_m3_per_h = self.airflow_m3_per_h
        return hydrogen_m3_per_h / airflow_m3_per_h, 3600.0 * self.spec.volume_m3 / airflow_m3_per_h
