"""What the rig file says about one source."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from drivers.ametek_sequoia import points
from harness.rig.toml_file import Part


class Options(Part):
    """The ``options`` table of a source.

    Attributes:
        nominal_voltage_v: line to neutral, what one per unit stands for.
        voltage_range_v: the output range that the machine stands in: 150, 300 or 600 V.
        max_voltage_v: highest voltage that this rig allows, at most the range.
        max_points: points that a list may have; 32 on some models, 100 on others.
        current_limit_a: set before the relay closes.
        voltage_slew_v_per_us: of the machine; a step of a list takes ``rise_time_s``.
        sinks: whether the machine takes power back (a regenerative model, or a load bank beside it).
        phase_list: whether its firmware takes ``LIST:PHASe``. The manual describes PHASe:MODE LIST
            (Sequoia p. 101) but no such list among the others (p. 92): without it a phase jump is refused.
        phase_angles_deg: of the phases; positive leads. Reset values of the Lx manual. Measure the
            rotation when the rig is commissioned: makers do not agree on the direction.
        trigger_out: where the edge at a list's start leaves, for the wiring list.
        trigger_latency_s: between INIT and the list's start; of the emulator.
        trigger_skew_s: from the list's start to the edge; of the emulator.
        output_ratio: volts on the rig for each volt that the machine sets and measures, where a transformer
            stands behind it; of the emulator.
    """

    nominal_voltage_v: float = Field(gt=0.0)
    voltage_range_v: float = 150.0
    max_voltage_v: float = Field(default=150.0, gt=0.0)
    max_points: int = Field(default=points.MOST_POINTS, ge=2, le=points.MOST_POINTS)
    current_limit_a: float = Field(default=30.0, gt=0.0)
    voltage_slew_v_per_us: float = Field(default=0.5, gt=0.0)
    sinks: bool = False
    phase_list: bool = False
    phase_angles_deg: tuple[float, float, float] = (0.0, 240.0, 120.0)
    trigger_out: str = "function strobe, system interface connector"
    trigger_latency_s: float = Field(default=0.0, ge=0.0)
    trigger_skew_s: float = Field(default=0.0, ge=0.0)
    output_ratio: float = Field(default=1.0, gt=0.0)

    @property
    def rise_time_s(self) -> float:
        """How long the machine takes over a step from zero to the nominal voltage's peak."""
        return self.nominal_voltage_v * math.sqrt(2.0) / (self.voltage_slew_v_per_us * 1e6)

    @model_validator(mode="after")
    def _voltages_fit(self) -> Options:
        if self.voltage_range_v not in points.VOLTAGE_RANGES_V:
            raise ValueError(f"voltage_range_v = {self.voltage_range_v:g}: 150, 300 or 600 V is allowed")
        if self.max_voltage_v > self.voltage_range_v:
            raise ValueError(
                f"max_voltage_v = {self.max_voltage_v:g} V:"
                f" at most voltage_range_v = {self.voltage_range_v:g} V"
            )
        if self.nominal_voltage_v > self.max_voltage_v:
            raise ValueError(
                f"nominal_voltage_v = {self.nominal_voltage_v:g} V:"
                f" at most max_voltage_v = {self.max_voltage_v:g} V"
            )
        if any(angle not in points.PHASE for angle in self.phase_angles_deg):
            raise ValueError(f"phase_angles_deg = {self.phase_angles_deg}: {points.PHASE} is allowed")
        return self
