"""A server rack as the critical load of a rig: it draws from load_ac, and lives through what happens there.

The rig sees a load of constant power, renewed at each coupling: what the rectifiers take now, and what they
took more or less than was said since the coupling before, so that energy is kept with the delay of one
interval. The rack sees the voltages at load_ac: a jump at its own instant, a ramp in the rig's steps of some
milliseconds. Couplings are actions planned in the rig, so that whoever advances the rig advances the rack:
each millisecond while the rack's power moves, seldom while it stands, and at every event of the rack.

Not modelled: reactive power and distortion at load_ac, and different powers of the phases: the rig's load is
equal in its three phases.
"""

from __future__ import annotations

import math

from harness.plant.load import CriticalLoad
from harness.plant.rig_plant import RigPlant
from harness.plant.server_rack.rack_plant import RackPlant
from harness.plant.spec import LoadKind, LoadSpec

RESTLESS_S = 0.001
"""Interval while the rack's power moves."""

QUIET_S = 0.05
"""Interval while it stands."""

SOON_S = 1e-6
"""From a jump of the voltage until the rig's load is renewed."""

JUMP_PU = 0.01
"""Change of the voltage, in per unit, that the load is renewed for; what its own power makes is less."""

CATCH_UP = 1.1
"""At most so many times its power while it makes good what was not said: a line carries no burst (ours)."""

SAME_W = 0.05
"""The rig's load is left alone where it would change by less."""

Triple = tuple[float, float, float]


class RackLoad(CriticalLoad):
    """The load of a rig, with a rack behind it; hang it on with ``hang_on``.

    Attributes:
        rack: what is behind.
    """

    def __init__(self, rig: RigPlant, rack: RackPlant, *, is_line_to_line: bool) -> None:
        self.rack = rack
        self._rig = rig
        self._is_line_to_line = is_line_to_line
        self._terminal_v: Triple = rig.load.terminal_v
        self._planned_s = -math.inf
        self._told_j = 0.0
        self._told_since_s = rig.now_s
        shelf, nominal_v = rack.spec.shelf, rack.spec.nominal_voltage_v
        dead_pu = shelf.brown_out_v / nominal_v
        spec = LoadSpec(
            kind=LoadKind.CONSTANT_POWER,
            power_w=rack.ac_power_w,
            nominal_voltage_v=rig.spec.load.nominal_voltage_v,
            dead_below_pu=dead_pu,
        )
        self._is_hung = False  # the load's own beginnings, without a voltage, are not the rack's
        super().__init__(spec)
        self._is_hung = True

    @property
    def terminal_v(self) -> Triple:
        """Line-to-neutral voltages that it sees."""
        return self._terminal_v

    @terminal_v.setter
    def terminal_v(self, voltage_v: Triple) -> None:
        if not self._is_hung or voltage_v == self._terminal_v:
            return
        now_s, rack = self._rig.now_s, self.rack
        if now_s > rack.now_s:
            rack.advance(now_s)
        self._count()
        jumped_v = max(abs(after - before) for after, before in zip(voltage_v, self._terminal_v, strict=True))
        self._terminal_v = voltage_v
        one, two, three = voltage_v
        if self._is_line_to_line:
            voltage_v = (_between(one, two), _between(two, three), _between(three, one))
        rack.grid.set_voltage_v(voltage_v)
        if jumped_v > JUMP_PU * self.spec.nominal_voltage_v:
            # The rig may be done with this instant.
            self.plan(now_s + SOON_S)

    def see(self, terminal_v: Triple) -> None:
        """Let the rack see, on a line that cannot carry it, what its current leaves of the voltage."""
        one, two, three = (min(volts, live_v) for volts, live_v in zip(terminal_v, self.live_v, strict=True))
        super().see((one, two, three))

    def couple(self) -> None:
        """Bring the rack to the rig's present, renew the power, and plan the next time."""
        now_s, rack = self._rig.now_s, self.rack
        if now_s < self._planned_s:  # another coupling was planned since
            return
        self._count()
        rack.advance(now_s)
        power_w = rack.ac_power_w
        interval_s = RESTLESS_S if rack.is_moving or abs(power_w - self.power_setpoint_w) > 1.0 else QUIET_S
        interval_s = min(interval_s, max(rack.next_event_s - now_s, RESTLESS_S))
        owed_j = sum(unit.input_j for unit in rack.rectifiers) - self._told_j
        power_w = min(max(power_w + owed_j / interval_s, 0.0), CATCH_UP * power_w)
        if abs(power_w - self.power_setpoint_w) > SAME_W:
            self.set_power_w(power_w)
        self.plan(now_s + interval_s)

    def _count(self) -> None:
        """Count the energy that the rig was told of."""
        now_s = self._rig.now_s
        if not self.is_dead:
            self._told_j += self.power_setpoint_w * (now_s - self._told_since_s)
        self._told_since_s = now_s

    def plan(self, time_s: float) -> None:
        """Couple at a time, and not at the one planned before."""
        self._planned_s = time_s
        self._rig.at(time_s, self.couple)


def hang_on(rig: RigPlant, rack: RackPlant, *, is_line_to_line: bool = False) -> RackLoad:
    """Make a rack the critical load of a rig; both at time zero.

    Args:
        rig: its load of constant or resistive power goes.
        rack: its own ``grid`` is steered from now on.
        is_line_to_line: whether rectifiers are wired between lines, as 200 V three-phase in Japan asks for.

    Raises:
        ValueError: the two stand at different times, or the rack's rectifiers would see another nominal
            voltage.
    """
    seen_v = rig.spec.load.nominal_voltage_v * (math.sqrt(3.0) if is_line_to_line else 1.0)
    if abs(seen_v - rack.spec.nominal_voltage_v) > 0.01 * seen_v:
        raise ValueError(
            f"rack: hang_on: nominal_voltage_v={rack.spec.nominal_voltage_v}; "
            f"its rectifiers would see {seen_v:.1f} V"
        )
    if rack.now_s != rig.now_s:
        raise ValueError(f"rack: hang_on: the rack stands at {rack.now_s} s, the rig at {rig.now_s} s")
    load = RackLoad(rig, rack, is_line_to_line=is_line_to_line)
    rig.load = load
    load.plan(rig.now_s)
    return load


def _between(one_v: float, other_v: float) -> float:
    """Voltage between two lines 120 degrees apart."""
    return math.sqrt(one_v * one_v + other_v * other_v + one_v * other_v)
