"""A power shelf: rectifiers with a bulk capacitor each, sharing the bus by droop.

Each rectifier has an input stage and an output stage with the bulk capacitor between them.

    loss         = l0 + l1 P + l2 P²                             P: output; a part of it behind the bulk
    input        = min(drain + recharge, I_max V_in) + rest of the loss
    dE/dt        = what the input stage gives - drain            drain = P + the part behind the bulk
    E            = C (V_bulk² - V_empty²) / 2                    hold-up: t = E / drain
    output       = E_set - R I, limited; E_set falls by 3 V when half of E is gone (ORv3)
                   limited on a bus below a level for a while: off, and again after a rest
    reactive     = -2 pi f C_x V_in²; power factor = P / sqrt(P² + Q² + D²), D = distortion times fundamental

The input of one phase pulses, p(t) = P (1 - cos 2 theta), so the bulk stands at E - P / (2 omega) sin 2
theta when the mains vanish at the angle theta; that part is booked when the input stage stops.

Output: Delta and Advanced Energy's ORv3 slides, as named in ``spec``. Not modelled: ripple of the output and
of the running bulk, inrush into the filter and the empty bulk, pulse-load management, fans and temperature
(it bears its current limit for as long as others hold the bus), active sharing's control loop (its residue is
a spread of set-points), over-voltage protection of the output, energy below the lower voltage of the bulk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.plant.keyed import normal
from harness.plant.server_rack.bus import Source
from harness.plant.server_rack.spec import PowerShelfSpec
from harness.plant.timers import Timers

CLOSE_S = 1e-6
"""Events of a bulk's energy are met this well."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase of the input shows at this instant.

    Attributes:
        voltage_v: line to neutral, RMS.
        slope_v_per_s: of it.
        frequency_hz: of it.
        turns: its angle, in turns since some zero crossing upwards.
    """

    voltage_v: float
    slope_v_per_s: float
    frequency_hz: float
    turns: float


class Rectifier:
    """One rectifier.

    Attributes:
        output: its end at the bus.
        bulk_j: hold-up energy that is left.
        phase: its input.
        is_taking: whether its input stage runs.
        is_dropped: whether its output is lowered on purpose.
        is_failed: whether it is broken or pulled.
        ac_losses: how often its input stage has stopped.
        power_w: output at this instant.
        input_power_w: input at this instant.
        input_j: energy taken from the mains since time zero.
        output_j: energy given to the bus since time zero.
        loss_j: lost since time zero.
    """

    def __init__(self, number: int, spec: PowerShelfSpec, seed: int) -> None:
        self.number = number
        self.spec = spec
        draw = max(-3.0, min(3.0, normal(seed, "rectifier set-point", number)))
        self._nominal_v = spec.no_load_v + spec.setpoint_sigma_v * draw
        limit_a = spec.current_limit_factor * spec.rated_current_a
        self.output = Source(self._nominal_v, spec.droop_ohm, limit_a)
        self.output.is_on = True
        self.bulk_j = spec.hold_up_j
        self.phase = Phase(0.0, 0.0, 50.0, 0.0)
        self.is_taking = True
        self.is_dropped = False
        self.is_failed = False
        self.forces_loss = False
        self.is_signalling = False
        self.ac_losses = 0
        self.power_w = 0.0
        self.input_power_w = 0.0
        self.input_j = 0.0
        self.output_j = 0.0
        self.loss_j = 0.0
        self._is_resting = False
        self._given_last_w = 0.0
        self._timers = Timers()

    @property
    def bulk_v(self) -> float:
        """Voltage of the bulk capacitor."""
        return math.sqrt(self.spec.bulk_empty_v**2 + 2.0 * self.bulk_j / self.spec.bulk_capacitance_f)

    @property
    def is_refilling(self) -> bool:
        """Whether its input stage fills the bulk beside carrying the load."""
        return self.is_taking and self.bulk_j < self.spec.hold_up_j

    @property
    def reactive_power_var(self) -> float:
        """Reactive power that it takes; negative, since its filter leads."""
        if self.is_failed:
            return 0.0
        phase = self.phase
        return -2.0 * math.pi * phase.frequency_hz * self.spec.filter_capacitance_f * phase.voltage_v**2

    @property
    def is_input_good(self) -> bool:
        """Whether the mains are inside the window, by the side of its hysteresis that it is on."""
        spec, volts = self.spec, self.phase.voltage_v
        if self.forces_loss:
            return False
        if self.is_taking:
            return spec.brown_out_v <= volts <= spec.over_voltage_v
        return spec.brown_in_v <= volts <= spec.over_voltage_v - 5.0

    def loss_w(self, power_w: float) -> float:
        """Loss of a rectifier whose output is on."""
        spec = self.spec
        return spec.loss_idle_w + power_w * (spec.loss_linear + power_w * spec.loss_square_per_w)

    def drain_w(self, power_w: float) -> float:
        """What the output stage takes from the bulk."""
        if not self.output.is_on:
            return 0.0
        return power_w + self.spec.output_stage_share * self.loss_w(power_w)

    def _given_w(self, power_w: float) -> tuple[float, float]:
        """What the input stage gives to the bulk, and its own loss."""
        spec = self.spec
        if not self.is_taking:
            return 0.0, 0.0
        own_w = (1.0 - spec.output_stage_share) * self.loss_w(power_w)
        if not self.output.is_on:
            own_w = spec.loss_idle_w
        wanted_w = self.drain_w(power_w)
        if self.bulk_j < spec.hold_up_j:
            wanted_w += spec.recharge_power_w
        most_w = max(spec.input_current_limit_a * self.phase.voltage_v - own_w, 0.0)
        return min(wanted_w, most_w), own_w

    def bulk_rate_w(self) -> float:
        """Change of the bulk's energy at this instant."""
        return self._given_w(self.power_w)[0] - self.drain_w(self.power_w)

    def until_s(self) -> float:
        """Time until its bulk, its set-point or its input may reach a level that matters."""
        spec, found_s = self.spec, math.inf
        rate_w = self.bulk_rate_w()
        if rate_w < 0.0 and self.output.is_on:
            levels = [0.0]
            if spec.drops and not self.is_dropped:
                levels.append(spec.drop_at_left * spec.hold_up_j)
            for level_j in levels:
                found_s = min(found_s, _nearly((self.bulk_j - level_j) / -rate_w))
        elif rate_w > 0.0:
            found_s = _nearly((spec.hold_up_j - self.bulk_j) / rate_w)
        if self.output.slope_v_per_s != 0.0:
            found_s = min(
                found_s, max((self._target_v - self.output.set_v) / self.output.slope_v_per_s, 1e-12)
            )
        slope = self.phase.slope_v_per_s
        if slope != 0.0:
            levels_v = (spec.brown_out_v, spec.brown_in_v, spec.over_voltage_v, spec.over_voltage_v - 5.0)
            for level_v in levels_v:
                ahead_s = (level_v - self.phase.voltage_v) / slope
                if ahead_s > 0.0:
                    found_s = min(found_s, ahead_s + CLOSE_S)
        return found_s

    @property
    def next_due_s(self) -> float:
        """Rig time of its next timer."""
        return self._timers.next_due_s

    @property
    def _target_v(self) -> float:
        return self._nominal_v - (self.spec.drop_v if self.is_dropped else 0.0)

    def step(self, power_w: float, duration_s: float) -> None:
        """Let a mean output power flow."""
        given_w, own_w = self._given_w(power_w)
        self._given_last_w = given_w
        drain_w = self.drain_w(power_w)
        # What the bulk's two ends leave over of a step that ends beyond them is not taken, or not there.
        most_j = max(self.bulk_j, self.spec.hold_up_j)
        self.bulk_j = min(max(self.bulk_j + (given_w - drain_w) * duration_s, 0.0), most_j)
        self.input_j += (given_w + own_w) * duration_s
        self.output_j += power_w * duration_s
        self.loss_j += (own_w + drain_w - power_w) * duration_s if self.output.is_on else own_w * duration_s
        output = self.output
        if output.slope_v_per_s:
            output.set_v += output.slope_v_per_s * duration_s

    def look(self, bus_v: float) -> None:
        """Bring its powers up to date with a voltage of the bus."""
        self.power_w = bus_v * self.output.current_a(bus_v)
        given_w, own_w = self._given_w(self.power_w)
        self.input_power_w = given_w + own_w

    def settle(self, now_s: float, bus_v: float) -> bool:
        """Let what is due at this instant happen; say whether anything did."""
        spec, output, timers = self.spec, self.output, self._timers
        before = self._state
        if self.is_failed:
            self.is_taking = self.is_dropped = self.is_signalling = output.is_on = False
            output.slope_v_per_s = 0.0
            timers.clear()
            return before != self._state
        is_good = self.is_input_good
        if self.is_taking and not is_good:
            self._lose_input()
        start_s = spec.resume_s if output.is_on else spec.start_s
        if timers.held("input", now_s, start_s, is_true=is_good and not self.is_taking):
            self.is_taking = True
        # Rounding: what the coming nanosecond would take.
        spent_j = self.drain_w(self.power_w) * CLOSE_S * 1e-3
        is_losing = output.is_on and self.bulk_rate_w() < 0.0
        if is_losing and self.bulk_j <= spent_j:
            output.is_on = False
        is_full = self.bulk_j >= spec.hold_up_j - spec.recharge_power_w * CLOSE_S * 1e-3
        if is_losing and spec.drops and self.bulk_j <= spec.drop_at_left * spec.hold_up_j + spent_j:
            self.is_dropped = True
        elif self.is_taking and is_full:
            self.is_dropped = False
        self.is_signalling = timers.held("signal", now_s, spec.signal_after_s, is_true=not self.is_taking)
        is_short = output.is_limiting(bus_v) and bus_v < spec.limit_below_v
        if timers.held("limit", now_s, spec.limit_hold_s, is_true=is_short):
            output.is_on = False
            self._is_resting = True
        if timers.held("rest", now_s, spec.limit_restart_s, is_true=self._is_resting):
            self._is_resting = False
        if not output.is_on and self.is_taking and is_full and not self._is_resting:
            output.is_on = True
            # A start into a bus that others hold begins at its voltage.
            output.set_v = min(bus_v, self._nominal_v)
        self._aim()
        return before != self._state

    @property
    def _state(self) -> tuple[bool, bool, bool, bool, float]:
        output = self.output
        return (self.is_taking, self.is_dropped, self.is_signalling, output.is_on, output.slope_v_per_s)

    def fail(self) -> None:
        """Break, or be pulled: the output is open from the next settling on."""
        self.is_failed = True

    def replace(self) -> None:
        """Put a new one in its place; it starts as after a loss of mains, its bulk empty.

        What the old one's bulk still held leaves with it, and counts as lost.
        """
        self.is_failed = False
        self.loss_j += self.bulk_j
        self.bulk_j = 0.0

    def _lose_input(self) -> None:
        """Stop the input stage, and book where in its pulse it stopped."""
        phase = self.phase
        self.is_taking = False
        self.ac_losses += 1
        pulse_j = (
            -self._given_last_w / (4.0 * math.pi * phase.frequency_hz) * math.sin(4.0 * math.pi * phase.turns)
        )
        pulse_j = max(pulse_j, -self.bulk_j)
        self.bulk_j += pulse_j
        self.input_j += pulse_j

    def _aim(self) -> None:
        """Let the set-point move towards its target, or stand on it."""
        spec, output = self.spec, self.output
        away_v = self._target_v - output.set_v
        if not output.is_on or abs(away_v) < 1e-9:
            output.slope_v_per_s = 0.0
            if output.is_on:
                output.set_v = self._target_v
        else:
            output.slope_v_per_s = spec.walk_in_v_per_s if away_v > 0.0 else -spec.drop_v_per_s


def _nearly(ahead_s: float) -> float:
    """Step most of the way, since the drain may grow meanwhile; the last microsecond in one."""
    return max(ahead_s, 1e-12) if ahead_s < CLOSE_S else 0.9 * ahead_s


def power_factor(active_w: float, reactive_var: float, distortion: float) -> float:
    """Active over apparent power, distortion of the current included; zero without power."""
    if active_w <= 0.0:
        return 0.0
    fundamental = math.hypot(active_w, reactive_var)
    return active_w / (fundamental * math.hypot(1.0, distortion))
