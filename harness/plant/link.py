"""The DC link behind the contactors: a capacitor, fed through the precharge resistor, emptied by another.

    C dU/dt = (E - U) / (R + r) - U / R_s      fed through the precharge resistor R, r the string's own
    C dU/dt = -U / R_d - U / R_s               left alone, with the discharge resistor R_d switched in

solved exactly for a constant source E; R_s is a short that a fault puts across it. While the main contactors
are closed the link has the string's voltage.

Not modelled: inductance, the capacitor's own resistance, the charge that evens the last step out when the
main contactor closes, what the converter draws from a link that is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.plant.bms_spec import PrechargeSpec

TOUCH_SAFE_V = 60.0
"""Direct voltage that may be touched, IEC 60364-4-41 (from memory)."""

_EMPTY_V = 1e-3


class DcLink:
    """One link.

    Attributes:
        voltage_v: across it, while the main contactors are open.
        capacitance_f: of the capacitor.
        precharge_ohm: of the precharge resistor.
        discharge_ohm: of the discharge resistor.
        short_ohm: of a short across it; infinite without one.
    """

    def __init__(self, spec: PrechargeSpec, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.voltage_v = 0.0
        self.capacitance_f = spec.link_capacitance_f
        self.precharge_ohm = spec.resistance_ohm
        self.discharge_ohm = spec.discharge_resistance_ohm
        self.short_ohm = math.inf
        self._changed = changed

    @property
    def is_shorted(self) -> bool:
        """Whether a short lies across it."""
        return self.short_ohm < math.inf

    def fail(
        self,
        *,
        capacitance_f: float | None = None,
        precharge_ohm: float | None = None,
        discharge_ohm: float | None = None,
        short_ohm: float | None = None,
    ) -> None:
        """Change what it is made of: an open resistor is infinite, a short a few milliohms.

        Raises:
            ValueError: a value that is not positive.
        """
        for name, value in (
            ("capacitance_f", capacitance_f),
            ("precharge_ohm", precharge_ohm),
            ("discharge_ohm", discharge_ohm),
            ("short_ohm", short_ohm),
        ):
            if value is None:
                continue
            if not value > 0.0:
                raise ValueError(f"DC link: {name}={value}; allowed: more than 0")
            setattr(self, name, value)
        self._changed()

    def repair(self) -> None:
        """Make it what its data say."""
        spec = self.spec
        self.capacitance_f, self.precharge_ohm = spec.link_capacitance_f, spec.resistance_ohm
        self.discharge_ohm, self.short_ohm = spec.discharge_resistance_ohm, math.inf
        self._changed()

    def time_to_safe_s(self, level_v: float = TOUCH_SAFE_V) -> float:
        """How long it takes, left alone from now on, to fall below a voltage."""
        if self.voltage_v <= level_v:
            return 0.0
        _, tau_s = self._goal(0.0, math.inf, is_drained=True)
        return tau_s * math.log(self.voltage_v / level_v)

    def time_to_s(self, level_v: float, source_v: float, source_ohm: float) -> float:
        """How long it takes, fed by a source, to rise to a voltage; infinite if it never does."""
        if self.voltage_v >= level_v:
            return 0.0
        final_v, tau_s = self._goal(source_v, source_ohm, is_drained=False)
        if final_v <= level_v:
            return math.inf
        return tau_s * math.log((final_v - self.voltage_v) / (final_v - level_v))

    def run(
        self, duration_s: float, source_v: float, source_ohm: float, *, is_drained: bool
    ) -> tuple[float, float]:
        """Find where it is after a time, and the mean current out of the source meanwhile.

        Args:
            duration_s: how long.
            source_v: open-circuit voltage of what feeds it.
            source_ohm: resistance of what feeds it, without the precharge resistor; infinite: not fed.
            is_drained: whether the discharge resistor is switched in.
        """
        final_v, tau_s = self._goal(source_v, source_ohm, is_drained=is_drained)
        before_v = self.voltage_v
        gone = -math.expm1(-duration_s / tau_s)
        after_v = before_v + (final_v - before_v) * gone
        mean_v = final_v if tau_s == math.inf else final_v + (before_v - final_v) * gone * tau_s / duration_s
        feed_ohm = self.precharge_ohm + source_ohm
        return after_v if after_v > _EMPTY_V else 0.0, (source_v - mean_v) / feed_ohm

    def _goal(self, source_v: float, source_ohm: float, *, is_drained: bool) -> tuple[float, float]:
        """Voltage that it runs to, and the time constant of its way."""
        feed_s = 1.0 / (self.precharge_ohm + source_ohm)
        whole_s = feed_s + 1.0 / self.short_ohm + (1.0 / self.discharge_ohm if is_drained else 0.0)
        if whole_s == 0.0:
            return self.voltage_v, math.inf
        return source_v * feed_s / whole_s, self.capacitance_f / whole_s
