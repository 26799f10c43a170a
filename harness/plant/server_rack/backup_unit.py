"""Battery backup modules: cells behind an output stage with droop, started by the bus or by a signal.

    U = E(s) - R I        E(s) = E0 + (E1 - E0) s        ds/dt = -I / Q        P = U I at the cells
    output power = eta P while discharging; P = eta_c times the power from the bus while charging

Charging holds its power until U reaches E1, then U. A step of constant power is made with the current at its
middle: second order. With a constant power the time from one state to another has a closed form, by which
tests judge it: with u = E(s), r = sqrt(u² - 4 R P) and k = (E1 - E0) / Q

    t = (F(u1) - F(u2)) / (2 k P)        F(u) = (u² + u r - 4 R P ln(u + r)) / 2

Trigger and return: ``spec``. Not modelled: temperature, ageing over time (old packs are data), differences
between cells, RC branches, self-discharge, a battery management system that opens, the output stage's own
standby loss.
"""

from __future__ import annotations

import math

from harness.plant.keyed import normal
from harness.plant.server_rack.bus import Source
from harness.plant.server_rack.power_shelf import CLOSE_S
from harness.plant.server_rack.spec import BackupSpec, PackSpec
from harness.plant.timers import Timers

SOC_STEP = 0.002
"""Most of the charge in one step: the run time is then right to 1e-5."""

CHARGE_STAIR = 0.002
"""Step of the charge power in a taper, as a fraction of the limit: 0.4 mV at the cells' terminals; ours."""


SAME_W = 1e-6
"""Powers that are one: rounding leaves less; ours."""


class Pack:
    """Cells of one module.

    Attributes:
        soc: state of charge.
        current_a: out of the cells in the last step.
        heat_j: in the resistance since time zero.
    """

    def __init__(self, spec: PackSpec) -> None:
        self.spec = spec
        self.soc = spec.soc
        self.current_a = 0.0
        self.heat_j = 0.0
        self.capacity_c = 3600.0 * spec.capacity_ah * spec.capacity_left
        self.resistance_ohm = spec.resistance_ohm * spec.resistance_factor
        self._start_j = self.energy_j

    @property
    def ocv_v(self) -> float:
        """Open-circuit voltage."""
        return self._ocv_v(self.soc)

    @property
    def voltage_v(self) -> float:
        """At the terminals, with the last step's current."""
        return self.ocv_v - self.resistance_ohm * self.current_a

    @property
    def energy_j(self) -> float:
        """Energy above empty."""
        return self.capacity_c * self.soc * 0.5 * (self.spec.empty_v + self.ocv_v)

    def stored_change_j(self) -> float:
        """Energy now less that at time zero."""
        return self.energy_j - self._start_j

    def current_for_a(self, power_w: float, soc: float | None = None) -> float:
        """Current that gives a power at a state of charge: the smaller root of P = (E - R I) I."""
        ocv_v = self.ocv_v if soc is None else self._ocv_v(soc)
        square = ocv_v * ocv_v - 4.0 * self.resistance_ohm * power_w
        return 2.0 * power_w / (ocv_v + math.sqrt(max(square, 0.0)))

    def full_power_w(self) -> float:
        """Power that holds the terminals at the full voltage; negative, since it charges."""
        full_v = self.spec.full_v
        return -full_v * (full_v - self.ocv_v) / self.resistance_ohm

    def run_time_s(self, power_w: float, until_soc: float = 0.0) -> float:
        """Time for which a constant power can be had: the closed form of this module's docstring."""
        slope_v_per_c = (self.spec.full_v - self.spec.empty_v) / self.capacity_c
        least_v = max(self._ocv_v(until_soc), 2.0 * math.sqrt(self.resistance_ohm * power_w))

        def whole(ocv_v: float) -> float:
            root_v = math.sqrt(max(ocv_v * ocv_v - 4.0 * self.resistance_ohm * power_w, 0.0))
            return 0.5 * (
                ocv_v * ocv_v
                + ocv_v * root_v
                - 4.0 * self.resistance_ohm * power_w * math.log(ocv_v + root_v)
            )

        return max((whole(self.ocv_v) - whole(least_v)) / (2.0 * slope_v_per_c * power_w), 0.0)

    def step(self, power_w: float, duration_s: float) -> None:
        """Let a constant power flow out of the terminals (negative charges)."""
        half_c = 0.5 * duration_s * self.current_for_a(power_w)
        self.current_a = self.current_for_a(power_w, self.soc - half_c / self.capacity_c)
        self.soc -= self.current_a * duration_s / self.capacity_c
        self.heat_j += self.resistance_ohm * self.current_a**2 * duration_s

    def _ocv_v(self, soc: float) -> float:
        return self.spec.empty_v + (self.spec.full_v - self.spec.empty_v) * soc


class BackupModule:
    """One module.

    Attributes:
        output: its end at the bus.
        pack: its cells.
        is_charging: whether it takes ``charge_w`` from the bus.
        charge_w: what it takes.
        charge_slope_w_per_s: by which that moves, where it is all that the shelf has to spare.
        is_failed: whether it is broken or pulled.
        discharges: how often it has started.
        power_w: output at this instant.
        output_j: given to the bus since time zero.
        input_j: taken from the bus since time zero.
        stage_loss_j: lost in output stage and charger since time zero.
    """

    def __init__(self, number: int, spec: BackupSpec, seed: int, *, step_scale: float = 1.0) -> None:
        self.number = number
        self._step_scale = step_scale
        self.spec = spec
        draw = max(-3.0, min(3.0, normal(seed, "backup set-point", number)))
        limit_a = spec.current_limit_factor * spec.rated_current_a
        self.output = Source(spec.output_v + spec.setpoint_sigma_v * draw, spec.droop_ohm, limit_a)
        self.pack = Pack(spec.pack)
        self.is_charging = False
        self.charge_w = self.charge_slope_w_per_s = 0.0
        # What rating and cells leave it to take, and what the shelf has to spare and how that moves.
        self._most_w = self._spare_w = self._spare_w_per_s = 0.0
        self.is_failed = False
        self.discharges = 0
        self.power_w = 0.0
        self.output_j = 0.0
        self.input_j = 0.0
        self.stage_loss_j = 0.0
        # Where the current that holds the full voltage has fallen to the end of charge.
        swing_v = spec.pack.full_v - spec.pack.empty_v
        self._full_soc = 1.0 - spec.charge_end_a * self.pack.resistance_ohm / swing_v
        self._held_w_per_soc = (
            spec.pack.full_v * swing_v / (self.pack.resistance_ohm * spec.charge_efficiency)
        )
        self._stair_w = step_scale * CHARGE_STAIR * spec.charge_power_w
        self._is_starting = False
        self._wants_charge = spec.pack.soc < spec.charge_below_soc
        self._timers = Timers()

    @property
    def is_discharging(self) -> bool:
        """Whether its output stage runs, current or not."""
        return self.output.is_on

    @property
    def is_empty(self) -> bool:
        """Whether its cells can give no more."""
        return self.pack.soc <= 1e-9

    @property
    def next_due_s(self) -> float:
        """Rig time of its next timer."""
        return self._timers.next_due_s

    def run_time_s(self) -> float:
        """Time for which it can go on as at this instant; infinite without output."""
        power_w = self.power_w / self.spec.efficiency
        return self.pack.run_time_s(power_w) if power_w > 0.0 else math.inf

    def until_s(self) -> float:
        """Longest step: of charge, to an end of it, and to where spare power begins or ends to bind."""
        pack, most_soc = self.pack, self._step_scale * SOC_STEP
        if self.power_w > 0.0:
            power_w = self.power_w / self.spec.efficiency
            ahead_s = pack.soc * pack.capacity_c / pack.current_for_a(power_w)
            most_s = most_soc * pack.capacity_c / pack.current_for_a(power_w)
            return min(most_s, max(ahead_s, 1e-9) if ahead_s < CLOSE_S else 0.9 * ahead_s)
        if not self.is_charging:
            return math.inf
        current_a = -pack.current_for_a(-self.spec.charge_efficiency * self.charge_w)
        a_second = max(current_a, 1e-6) / pack.capacity_c
        # To the taper, and there from stair to stair.
        to_taper_soc = (self._held_w - self.spec.charge_power_w) / self._held_w_per_soc
        stair_soc = self._stair_w / self._held_w_per_soc
        until_s = min(most_soc, max(to_taper_soc, stair_soc)) / a_second
        until_s = min(until_s, max((self._full_soc - pack.soc) / a_second, CLOSE_S))
        slope = self._spare_w_per_s
        if slope != 0.0:
            for level_w in (0.0, self._most_w):
                way_w = level_w - self._spare_w
                if abs(way_w) > SAME_W and way_w / slope > 0.0:
                    until_s = min(until_s, way_w / slope)
        return until_s

    def step(self, power_w: float, duration_s: float) -> None:
        """Let a mean output power flow, or the charge power in."""
        spec = self.spec
        if power_w > 0.0:
            self.pack.step(power_w / spec.efficiency, duration_s)
            self.output_j += power_w * duration_s
            self.stage_loss_j += power_w * (1.0 / spec.efficiency - 1.0) * duration_s
        elif self.charge_w > 0.0 or self.charge_slope_w_per_s > 0.0:
            risen_w = self.charge_slope_w_per_s * duration_s
            mean_w = max(self.charge_w + 0.5 * risen_w, 0.0)
            self.charge_w = max(self.charge_w + risen_w, 0.0)
            self.pack.step(-spec.charge_efficiency * mean_w, duration_s)
            self.input_j += mean_w * duration_s
            self.stage_loss_j += (1.0 - spec.charge_efficiency) * mean_w * duration_s
        else:
            self.pack.current_a = 0.0

    def look(self, bus_v: float) -> None:
        """Bring its output up to date with a voltage of the bus."""
        self.power_w = bus_v * self.output.current_a(bus_v)

    def settle(
        self,
        now_s: float,
        bus_v: float,
        *,
        is_signalled: bool,
        is_fed: bool,
        spare_w: float,
        spare_w_per_s: float,
    ) -> bool:
        """Let what is due at this instant happen.

        Args:
            now_s: rig time.
            bus_v: at the shelf's end.
            is_signalled: whether AC_LOSS is there.
            is_fed: whether the shelf's mains are good, so that charging is allowed.
            spare_w: that the shelf has to spare for this module; negative: it has too little.
            spare_w_per_s: by which that moves.

        Returns:
            Whether anything changed.
        """
        spec, output, timers = self.spec, self.output, self._timers
        before = self._state
        is_able = not (self.is_failed or self.is_empty)
        is_low = timers.held("low", now_s, spec.trigger_s, is_true=bus_v < spec.trigger_v)
        is_called = is_low or (is_signalled and spec.heeds_signal)
        if is_called and is_able and not output.is_on:
            self._is_starting = True
        if not is_able:
            self._is_starting = False
        if timers.held("start", now_s, spec.start_s, is_true=self._is_starting):
            self._is_starting = False
            output.is_on = True
            self.discharges += 1
        is_back = output.is_on and bus_v > spec.trigger_v and not is_called
        if timers.held("back", now_s, spec.return_s, is_true=is_back) or not is_able:
            output.is_on = False
        if self.pack.soc < spec.charge_below_soc:
            self._wants_charge = True
        may_charge = (
            is_fed and bus_v > spec.trigger_v and not (output.is_on or self._is_starting or self.is_failed)
        )
        is_ready = timers.held(
            "charge", now_s, spec.charge_delay_s, is_true=may_charge and self._wants_charge
        )
        self.is_charging = is_ready
        if is_ready and self._is_full():
            self._wants_charge = self.is_charging = False
            timers.clear("charge")
        self._spare_w, self._spare_w_per_s = spare_w, spare_w_per_s
        self._take()
        return before != self._state

    def fail(self) -> None:
        """Break, or be pulled."""
        self.is_failed = True

    @property
    def _state(self) -> tuple[object, ...]:
        """What the bus and the other units follow from."""
        return (
            self.output.is_on,
            self._is_starting,
            self.is_charging,
            self.charge_w,
            self.charge_slope_w_per_s,
        )

    @property
    def _held_w(self) -> float:
        """Power from the bus that holds the cells at the full voltage."""
        return -self.pack.full_power_w() / self.spec.charge_efficiency

    def _take(self) -> None:
        """Bring what it takes from the bus up to date."""
        if not self.is_charging:
            self.charge_w = self.charge_slope_w_per_s = self._most_w = 0.0
            return
        spec, spare_w, slope = self.spec, self._spare_w, self._spare_w_per_s
        most_w = max(min(spec.charge_power_w, self._held_w), 0.0)
        # Held while it hardly changes, so that a taper is a staircase and the bus stands in between.
        if not most_w <= self._most_w <= most_w + 0.5 * self._stair_w:
            self._most_w = most_w
        most_w = self._most_w
        has_enough = spare_w > most_w + (SAME_W if slope < 0.0 else -SAME_W)
        has_none = spare_w < (SAME_W if slope <= 0.0 else -SAME_W)
        if has_enough or has_none:
            self.charge_w, self.charge_slope_w_per_s = 0.0 if has_none else most_w, 0.0
            return
        self.charge_slope_w_per_s = slope
        if abs(self.charge_w - spare_w) > SAME_W:
            self.charge_w = max(spare_w, 0.0)

    def _is_full(self) -> bool:
        return self.pack.soc >= self._full_soc
