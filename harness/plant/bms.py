"""Battery management: sensors, limits in levels, contactors with precharge, coulomb counting.

Warning and alarm levels with one delay; alarms latch and open the contactors. Limits follow its own estimate
of the state of charge and its own temperature. Full is a small current at the charge voltage limit, as a
charger that holds the voltage brings about; empty is the lowest cell.

Not modelled: balancing, per-cell sensor errors, contactor bounce and weld, insulation monitoring, the inrush
at the end of precharge (link at its done fraction; the energy that fills it counts as lost).
"""

from __future__ import annotations

import math
from bisect import bisect_right

from harness.plant.battery import BatteryString
from harness.plant.keyed import normal
from harness.plant.spec import BmsSpec
from harness.plant.timers import Timers

CELL_OVER_VOLTAGE = "cell_over_voltage"
CELL_UNDER_VOLTAGE = "cell_under_voltage"
OVER_CURRENT_CHARGE = "over_current_charge"
OVER_CURRENT_DISCHARGE = "over_current_discharge"
OVER_TEMPERATURE = "over_temperature"
UNDER_TEMPERATURE = "under_temperature"


class Bms:
    """What watches the string.

    Attributes:
        soc: its estimate, 0 to 1.
        alarms: protections that have acted; they latch.
        warnings: levels that are passed now.
        contactor_closed: whether the main contactors are closed.
        touched: whether a command awaits ``settle``.
    """

    def __init__(self, spec: BmsSpec, string: BatteryString, seed: int) -> None:
        self.spec = spec
        self.string = string
        self._seed = seed
        self._now_s = 0.0
        self._timers = Timers()
        self.soc = min(max(string.soc + spec.soc_error, 0.0), 1.0)
        self.alarms: frozenset[str] = frozenset()
        self.warnings: frozenset[str] = frozenset()
        self.contactor_closed = False
        self._precharge_start_s: float | None = 0.0 if spec.closes_on_start else None
        self._charge_stopped_soc: float | None = None
        self._discharge_stopped_soc: float | None = None
        self.touched = False
        self._was_quiet = False
        # Between these no level is reached, and a look at all cells is left out.
        self._quiet_v = (
            max(
                spec.discharge_stop_cell_v, spec.cell_under_voltage_warning_v, spec.cell_under_voltage_alarm_v
            ),
            min(spec.charge_stop_cell_v, spec.cell_over_voltage_warning_v, spec.cell_over_voltage_alarm_v),
        )
        self._quiet_degc = (
            max(spec.under_temperature_warning_degc, spec.under_temperature_alarm_degc),
            min(spec.over_temperature_warning_degc, spec.over_temperature_alarm_degc),
        )
        self._over_current = min(spec.over_current_warning_factor, spec.over_current_alarm_factor)
        self._charge_taper = _Curve(spec.charge_taper)
        self._discharge_taper = _Curve(spec.discharge_taper)
        self._temperature_derating = _Curve(spec.temperature_derating)
        self._gain = 1.0 + spec.current_gain_error
        self._low_v = self._high_v = 0.0
        self._look()
        self._drift_v_per_s = (0.0, 0.0)

    @property
    def soh(self) -> float:
        """State of health: the string's, known exactly."""
        return self.string.soh

    @property
    def minimum_cell_v(self) -> float:
        """Lowest cell."""
        return float(self.string.cell_voltages_v.min())

    @property
    def maximum_cell_v(self) -> float:
        """Highest cell."""
        return float(self.string.cell_voltages_v.max())

    @property
    def voltage_v(self) -> float:
        """String voltage as its sensor sees it."""
        gain = 1.0 + self.spec.voltage_gain_error
        return self.string.voltage_v * gain + self._noise("voltage", self.spec.voltage_noise_v)

    @property
    def current_a(self) -> float:
        """String current as its sensor sees it."""
        return self._sensed_a(self.string.current_a) + self._noise("current", self.spec.current_noise_a)

    @property
    def temperature_degc(self) -> float:
        """Mean temperature as its sensors see it."""
        return self.string.temperature_degc + self._noise("temperature", self.spec.temperature_noise_k)

    @property
    def charge_voltage_limit_v(self) -> float:
        """String voltage that a charger is to hold."""
        return self.spec.charge_voltage_limit_v

    @property
    def discharge_voltage_limit_v(self) -> float:
        """String voltage to stop at."""
        return self.spec.discharge_voltage_limit_v

    @property
    def is_charge_allowed(self) -> bool:
        """Whether charging is allowed."""
        return self.contactor_closed and self._charge_stopped_soc is None

    @property
    def is_discharge_allowed(self) -> bool:
        """Whether discharging is allowed."""
        return self.contactor_closed and self._discharge_stopped_soc is None

    @property
    def charge_current_limit_a(self) -> float:
        """Largest charge current, a positive number; zero where charging is not allowed."""
        if not self.is_charge_allowed:
            return 0.0
        return self.spec.charge_current_limit_a * self._charge_taper.at(self.soc) * self._derating()

    @property
    def discharge_current_limit_a(self) -> float:
        """Largest discharge current, a positive number; zero where discharging is not allowed."""
        if not self.is_discharge_allowed:
            return 0.0
        return self.spec.discharge_current_limit_a * self._discharge_taper.at(self.soc) * self._derating()

    @property
    def is_precharging(self) -> bool:
        """Whether the precharge contactor is closed."""
        return self._precharge_start_s is not None

    @property
    def link_voltage_v(self) -> float:
        """Voltage of the DC link behind the contactors: V (1 - exp(-t/RC)) while precharging."""
        if self.contactor_closed:
            return self.string.voltage_v
        if self._precharge_start_s is None:
            return 0.0
        ratio = (self._now_s - self._precharge_start_s) / self._precharge_time_constant_s
        return self.string.voltage_v * -math.expm1(-ratio)

    @property
    def next_event_s(self) -> float:
        """Next alarm or contactor that is due."""
        if self._precharge_start_s is None:
            return self._timers.next_due_s
        return min(self._timers.next_due_s, self._precharge_end_s(self._precharge_start_s))

    @property
    def step_hint_s(self) -> float:
        """Step that halves the way to the next cell-voltage level; a few ms while precharging."""
        if self._precharge_start_s is not None:
            return self._precharge_time_constant_s / 20.0
        spec = self.spec
        down, up = self._drift_v_per_s
        hint_s = math.inf
        if up > 0.0:
            for level_v in (spec.charge_stop_cell_v, spec.cell_over_voltage_alarm_v):
                if level_v > self._high_v:
                    hint_s = min(hint_s, 0.5 * (level_v - self._high_v) / up)
        if down < 0.0:
            for level_v in (spec.discharge_stop_cell_v, spec.cell_under_voltage_alarm_v):
                if level_v < self._low_v:
                    hint_s = min(hint_s, 0.5 * (level_v - self._low_v) / down)
        return max(hint_s, 0.02)

    def close_contactors(self) -> None:
        """Forget latched alarms, precharge and close; a cause that is still there opens them again."""
        self.alarms = frozenset()
        self.touched = True
        self._timers.clear()
        if not self.contactor_closed and self._precharge_start_s is None:
            self._precharge_start_s = self._now_s

    def open_contactors(self) -> None:
        """Open at once."""
        self.contactor_closed = False
        self._precharge_start_s = None
        self.touched = True
        self.string.interrupt()
        self._look()

    def precharge_current_a(self, duration_s: float) -> float:
        """Mean current into the link over a coming step of the precharge."""
        if self._precharge_start_s is None:
            return 0.0
        tau_s = self._precharge_time_constant_s
        since_s = self._now_s - self._precharge_start_s
        drop = math.exp(-since_s / tau_s) * -math.expm1(-duration_s / tau_s)
        return self.spec.link_capacitance_f * self.string.voltage_v * drop / duration_s

    def advance(self, to_s: float) -> None:
        """Count the charge of the step that the string has just made."""
        duration_s = to_s - self._now_s
        self._now_s = to_s
        if self.contactor_closed:
            current_a = self._sensed_a(self.string.current_a)
            if current_a < 0.0:
                current_a *= self.spec.assumed_coulombic_efficiency
            soc = self.soc - current_a * duration_s / (3600.0 * self.string.capacity_ah)
            self.soc = 0.0 if soc < 0.0 else min(soc, 1.0)
        low_v, high_v = self._low_v, self._high_v
        self._look()
        self._drift_v_per_s = ((self._low_v - low_v) / duration_s, (self._high_v - high_v) / duration_s)

    def settle(self) -> None:
        """Judge the present instant: levels, delays, ends of charge, contactors."""
        self.touched = False
        start_s = self._precharge_start_s
        if start_s is not None and self._now_s >= self._precharge_end_s(start_s):
            self._precharge_start_s = None
            self.contactor_closed = True
        self._judge_levels()
        if self.contactor_closed:
            self._judge_ends()

    def _look(self) -> None:
        """Note the lowest and the highest cell; bounds of them where no level is near."""
        low_v, high_v = self.string.voltage_bounds_v()
        quiet_low_v, quiet_high_v = self._quiet_v
        if quiet_low_v < low_v and high_v < quiet_high_v:
            self._low_v, self._high_v = low_v, high_v
            return
        # Sixteen numbers: Python's min and max are faster than numpy's.
        cells_v = self.string.cell_voltages_v.tolist()
        self._low_v, self._high_v = min(cells_v), max(cells_v)

    def _is_quiet(self, discharge_a: float) -> bool:
        """Whether no level is reached, as bounds of the cells' voltages and temperatures tell."""
        (low_v, high_v), (cold_degc, hot_degc) = self._quiet_v, self._quiet_degc
        coldest_degc, hottest_degc = self.string.temperature_bounds_degc()
        spec, over = self.spec, self._over_current
        return (
            low_v < self._low_v
            and self._high_v < high_v
            and cold_degc <= coldest_degc
            and hottest_degc <= hot_degc
            and -over * spec.charge_current_limit_a <= discharge_a <= over * spec.discharge_current_limit_a
        )

    def _judge_levels(self) -> None:
        spec = self.spec
        discharge_a = self._sensed_a(self.string.current_a)
        is_quiet = self._is_quiet(discharge_a)
        if is_quiet and self._was_quiet:
            return
        self._was_quiet = is_quiet
        cells_degc = self.string.cell_temperatures_degc.tolist()
        hot, cold = max(cells_degc), min(cells_degc)
        charge_factor = -discharge_a / spec.charge_current_limit_a
        discharge_factor = discharge_a / spec.discharge_current_limit_a
        low, high = -self._low_v, self._high_v
        warn, alarm = spec.over_current_warning_factor, spec.over_current_alarm_factor
        levels = (
            (CELL_OVER_VOLTAGE, high, spec.cell_over_voltage_warning_v, spec.cell_over_voltage_alarm_v),
            (CELL_UNDER_VOLTAGE, low, -spec.cell_under_voltage_warning_v, -spec.cell_under_voltage_alarm_v),
            (OVER_CURRENT_CHARGE, charge_factor, warn, alarm),
            (OVER_CURRENT_DISCHARGE, discharge_factor, warn, alarm),
            (OVER_TEMPERATURE, hot, spec.over_temperature_warning_degc, spec.over_temperature_alarm_degc),
            (
                UNDER_TEMPERATURE,
                -cold,
                -spec.under_temperature_warning_degc,
                -spec.under_temperature_alarm_degc,
            ),
        )
        warnings = [name for name, value, warning, _ in levels if value > warning]
        self.warnings = frozenset(warnings)
        for name, value, _, level in levels:
            held = self._timers.held(name, self._now_s, spec.alarm_delay_s, is_true=value > level)
            if held and name not in self.alarms:
                self.alarms |= {name}
                self.open_contactors()

    def _judge_ends(self) -> None:
        spec, string = self.spec, self.string
        charge_a = -string.current_a
        # Half a per cent: regulation of the charger and error of the two voltage sensors.
        at_limit = 0.0 < charge_a < spec.full_current_a and (
            string.voltage_v > 0.995 * spec.charge_voltage_limit_v
        )
        is_full = self._timers.held("full", self._now_s, spec.full_delay_s, is_true=at_limit)
        has_stopped = self._charge_stopped_soc is not None or self._discharge_stopped_soc is not None
        if self._was_quiet and not is_full and not has_stopped:
            return
        if self._charge_stopped_soc is None:
            if is_full and spec.resets_soc_at_full:
                self.soc = 1.0
            if is_full or (charge_a > 0.0 and self._high_v >= spec.charge_stop_cell_v):
                self._charge_stopped_soc = self.soc
        elif self.soc <= self._charge_stopped_soc - spec.restart_soc_step:
            self._charge_stopped_soc = None
        if self._discharge_stopped_soc is None:
            if charge_a < 0.0 and self._low_v <= spec.discharge_stop_cell_v:
                self._discharge_stopped_soc = self.soc
        elif self.soc >= self._discharge_stopped_soc + spec.restart_soc_step:
            self._discharge_stopped_soc = None

    @property
    def _precharge_time_constant_s(self) -> float:
        return self.spec.precharge_resistance_ohm * self.spec.link_capacitance_f

    def _precharge_end_s(self, start_s: float) -> float:
        missing = 1.0 - self.spec.precharge_done_fraction
        return start_s - self._precharge_time_constant_s * math.log(missing)

    def _sensed_a(self, current_a: float) -> float:
        return current_a * self._gain + self.spec.current_offset_a

    def _derating(self) -> float:
        return self._temperature_derating.at(self.string.temperature_degc)

    def _noise(self, quantity: str, deviation: float) -> float:
        if deviation == 0.0:
            return 0.0
        return deviation * normal(
            self._seed, f"bms {quantity}", int(self._now_s / self.spec.sample_interval_s)
        )


class _Curve:
    """Lines between points, constant outside."""

    def __init__(self, points: tuple[tuple[float, float], ...]) -> None:
        self._x = [x for x, _ in points]
        self._y = [y for _, y in points]

    def at(self, x: float) -> float:
        """Value at a place."""
        place = bisect_right(self._x, x)
        if place == 0:
            return self._y[0]
        y = self._y[place - 1]
        if place == len(self._x) or self._y[place] == y:
            return y
        x0 = self._x[place - 1]
        return y + (self._y[place] - y) * (x - x0) / (self._x[place] - x0)
