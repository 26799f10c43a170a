"""The critical load, equal in its three phases.

Resistive: I = V / R with R = 3 V_n² / P. Constant power: I = conj(P/3 / V), nothing below its dead level.
Not modelled: reactive and distorted current, inrush, hold-up inside the load, restart after it was dead.
"""

from __future__ import annotations

from harness.plant.spec import LoadKind, LoadSpec


class CriticalLoad:
    """What must never drop.

    Attributes:
        power_setpoint_w: three phases together, at nominal voltage.
        terminal_v: line-to-neutral voltages that it sees.
        power_w: drawn at this instant.
        dead_s: time since zero in which it was dead.
        touched: whether a command awaits the plant.
    """

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.power_setpoint_w = 0.0
        self.terminal_v: tuple[float, float, float] = (0.0, 0.0, 0.0)
        self.power_w = 0.0
        self.dead_s = 0.0
        self.touched = False
        self.set_power_w(spec.power_w)

    @property
    def is_dead(self) -> bool:
        """Whether a phase is below the level that the load needs."""
        return min(self.terminal_v) < self.spec.dead_below_pu * self.spec.nominal_voltage_v

    def voltage_v(self, phase: int) -> float:
        """Line-to-neutral voltage, phase 1 to 3."""
        return self.terminal_v[phase - 1]

    def set_power_w(self, power_w: float) -> None:
        """Set the power that it draws at nominal voltage."""
        if not 0.0 <= power_w < float("inf"):
            raise ValueError(f"load: set_power_w({power_w}); allowed 0 and above")
        self.power_setpoint_w = power_w
        self.touched = True

    def conductance_s(self) -> float:
        """Conductance of each phase of a resistive load."""
        return self.power_setpoint_w / (3.0 * self.spec.nominal_voltage_v**2)

    def phase_current_a(self, voltage_v: complex) -> complex:
        """Phasor of one phase's current at a voltage phasor."""
        if self.spec.kind is LoadKind.RESISTIVE:
            return voltage_v * self.conductance_s()
        if abs(voltage_v) < self.spec.dead_below_pu * self.spec.nominal_voltage_v:
            return 0j
        return (self.power_setpoint_w / 3.0 / voltage_v).conjugate()
