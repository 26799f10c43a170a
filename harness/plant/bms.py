"""Battery management: sensors, limits in three levels, contactors in their order, coulomb counting.

Each quantity has a warning (said at once), a limit (after a delay the direction that makes it worse is
forbidden, until it has been back for a time) and an alarm (after a delay it latches and the contactors open).
The limits of current follow its own estimate of the state of charge and its own temperature. Full is a small
current at the charge voltage limit, as a charger that holds the voltage brings about; empty is the lowest
cell. The estimate counts what its current sensor says, offset and gain error included, and is set right at
full, at empty (where its data say so) and by a strip.

In strip mode, for batteries that are emptied to 0 V from time to time, no under-voltage level acts, charging
is forbidden, discharging is allowed up to the strip's current, and while the contactors are open a load of
its own empties the string.

A strip leaves cells below every level of normal operation. From its end until the lowest cell is back it is
refilling: still no under-voltage level, discharging is forbidden, charging is allowed up to a small current;
then it goes on in normal mode by itself. Where the lowest cell does not rise for a time, closed or open, it
is an alarm. In both modes a cell is believed as far below 0 V as in ``StripSpec.least_cell_v``: near 0 V an
open wire looks like a cell, and is found as one that does not rise, or by the sum.

Below the window of normal operation the curve is steep, and the voltage knows better than the count. There a
strip and a refill take as the estimate of a string of n cells with V at its terminals

    SoC = OCV^-1(V / n)

which is below 0 (-0.05 at 0 V, for zinc), so that what brings the cells back to their curve is not counted as
theirs. 0 is said meanwhile. A whole charge after it is counted to 1 % of capacity: what leaks and gasses in
its five hours, and a tenth of a per cent of the current, are not known to the count.

Measurements that contradict each other, or leave their span, are an alarm of their own and not believed.

Of a rack it watches each string's current as the rack's, with the string's part of the limits; strings that
are out leave their part of the limits. A string that is beyond its alarm alone, as one that circulates, is
isolated, since opening the rack would not stop it. The estimate of the state of charge is that of all
strings, those that are out included.

Not modelled: cells' sensors with errors of gain, the time that a round of measurements takes, sleep, a mode
that outlives a restart, levels of current of its own for a strip and a refill, the drop over the resistances
in the inverted curve (30 A from zinc cells of 300 Ah: 28 mV of 1.7 V, 0.1 % of capacity).
"""

from __future__ import annotations

import math
from enum import Enum

import numpy as np

from harness.plant.battery import FloatArray
from harness.plant.bms_spec import BmsSpec, SensorSpec
from harness.plant.connection import CONTACTOR, FUSE, PRECHARGE, Connection
from harness.plant.gas import Enclosure
from harness.plant.insulation import Insulation, InsulationMonitor
from harness.plant.lines import Line
from harness.plant.rack import Battery, Rack
from harness.plant.sensors import Sensor, SensorRow
from harness.plant.timers import Timers

CELL_OVER_VOLTAGE = "cell_over_voltage"
CELL_UNDER_VOLTAGE = "cell_under_voltage"
OVER_CURRENT_CHARGE = "over_current_charge"
OVER_CURRENT_DISCHARGE = "over_current_discharge"
OVER_TEMPERATURE = "over_temperature"
UNDER_TEMPERATURE = "under_temperature"
HYDROGEN = "hydrogen"
CELL_IMBALANCE = "cell_imbalance"
INSULATION = "insulation"
CELL_SUM_MISMATCH = "cell_sum_mismatch"
CURRENT_MISMATCH = "current_mismatch"
REFILL = "refill"
VOLTAGE_SENSOR = "voltage_sensor"
CURRENT_SENSOR = "current_sensor"
CELL_VOLTAGE_SENSOR = "cell_voltage_sensor"
TEMPERATURE_SENSOR = "temperature_sensor"

ALARMS = (
    CELL_OVER_VOLTAGE,
    CELL_UNDER_VOLTAGE,
    OVER_CURRENT_CHARGE,
    OVER_CURRENT_DISCHARGE,
    OVER_TEMPERATURE,
    UNDER_TEMPERATURE,
    HYDROGEN,
    INSULATION,
    CELL_SUM_MISMATCH,
    CURRENT_MISMATCH,
    VOLTAGE_SENSOR,
    CURRENT_SENSOR,
    CELL_VOLTAGE_SENSOR,
    TEMPERATURE_SENSOR,
    REFILL,
    CONTACTOR,
    PRECHARGE,
    FUSE,
)
"""Every alarm there is; each may be a warning, and ``CELL_IMBALANCE`` is one alone."""

_FORBIDS_CHARGE = frozenset(
    {CELL_OVER_VOLTAGE, OVER_CURRENT_CHARGE, OVER_TEMPERATURE, UNDER_TEMPERATURE, HYDROGEN}
)
_FORBIDS_DISCHARGE = frozenset(
    {CELL_UNDER_VOLTAGE, OVER_CURRENT_DISCHARGE, OVER_TEMPERATURE, UNDER_TEMPERATURE}
)


NEAR_S = 0.1
"""Until a cell reaches a level: from here on the step ends there, before half-way; ours."""

LATE_S = 0.001
"""How late a cell's level is judged: the shortest step before one; ours."""


class BmsMode(Enum):
    """What the battery is being used for."""

    NORMAL = "normal"
    STRIP = "strip"
    REFILL = "refill"


class _Levels:
    """Three levels of one quantity that grows towards them, with its names of timers."""

    __slots__ = ("alarm", "held", "hysteresis", "limit", "limited", "name", "recovered", "warning")

    def __init__(self, name: str, warning: float, limit: float, alarm: float, hysteresis: float) -> None:
        self.name = name
        self.warning, self.limit, self.alarm = warning, limit, alarm
        self.hysteresis = hysteresis
        self.held, self.limited, self.recovered = f"{name} alarm", f"{name} limit", f"{name} recovery"

    @property
    def lowest(self) -> float:
        """Below this it is quiet whatever was before."""
        return min(self.warning - self.hysteresis, self.limit - self.hysteresis, self.alarm)


class Bms:
    """What watches the string.

    Attributes:
        alarms: protections that have acted; they latch.
        limits: second levels that hold a direction forbidden now.
        warnings: levels that are passed now.
        mode: normal, being stripped, or being charged after a strip.
        contactor_closed: whether string and link are connected.
        is_supplying: whether the converter has the string's voltage.
        connection: contactors, fuse and link.
        insulation: between string and earth.
        monitor: what measures it; None: nothing does.
        enclosure: the air around the cells, with the hydrogen in it; None: nobody looks.
        current_sensor: of the string's current.
        second_current_sensor: where there is one.
        voltage_sensor: of the string's voltage.
        cell_voltage_sensors: one at each place.
        temperature_sensors: one at each place.
        own_load_a: current of its own strip load in the last step; it passes no contactor.
        touched: whether something awaits ``settle``.
    """

    def __init__(self, spec: BmsSpec, string: Battery, seed: int) -> None:
        self.spec = spec
        self.string = string
        self._now_s = 0.0
        self._timers = Timers()
        # Below 0 after a strip alone.
        self._counted_soc = min(max(string.soc + spec.soc_error, 0.0), 1.0)
        self.alarms: frozenset[str] = frozenset()
        self.limits: frozenset[str] = frozenset()
        self.warnings: frozenset[str] = frozenset()
        self._level_warnings: frozenset[str] = frozenset()
        self._other_warnings: frozenset[str] = frozenset()
        self.mode = BmsMode.NORMAL
        self._risen_v = math.inf
        self.own_load_a = 0.0
        self._charge_stopped_soc: float | None = None
        self._discharge_stopped_soc: float | None = None
        self.touched = self.contactor_closed = self.is_supplying = False
        # Nothing but the string's levels needs a look: contactors, insulation and sensors are as they were.
        self._is_calm = False
        self._is_suspect = True
        self._was_quiet = False
        self._charge_taper = Line(spec.charge_taper)
        self._discharge_taper = Line(spec.discharge_taper)
        self._temperature_derating = Line(spec.temperature_derating)
        self._build_sensors(seed)
        self._are_rows_sound = True
        self.connection = Connection(spec, string, lambda: self._now_s, self._note)
        self.insulation = Insulation(spec.insulation, self._note)
        monitor = spec.insulation.monitor
        self.monitor = InsulationMonitor(monitor, self.insulation) if monitor is not None else None
        fuses = self.connection.fuses
        hydrogen, balancing = spec.hydrogen, spec.balancing
        self.enclosure = Enclosure(hydrogen, self._note) if hydrogen is not None else None
        self._next_balance_s = math.inf if balancing is None else balancing.interval_s
        self._is_balancing = False
        # What a plausible difference of voltages is a fraction of; an empty string has the same tolerance.
        self._nominal_v = spec.charge_voltage_limit_v
        self._is_far = False
        self._fuse_a = fuses[0].least_current_a if fuses else math.inf
        self._rack = string if isinstance(string, Rack) else None
        self._set_levels()
        self._low_v = self._high_v = 0.0
        self._look()
        self._drift_v_per_s = (0.0, 0.0)
        if spec.closes_on_start:
            self.connection.close()

    def _build_sensors(self, seed: int) -> None:
        spec, string = self.spec, self.string
        count = len(string.cell_voltages_v)

        def sensor(name: str, data: SensorSpec, attribute: str) -> Sensor:
            return Sensor(
                name, data, lambda: float(getattr(string, attribute)), seed=seed, changed=self._note_sensors
            )

        self.current_sensor = sensor(
            "current",
            SensorSpec(
                gain_error=spec.current_gain_error, offset=spec.current_offset_a, noise=spec.current_noise_a
            ),
            "current_a",
        )
        second = spec.second_current_sensor
        self.second_current_sensor = sensor("second current", second, "current_a") if second else None
        self.voltage_sensor = sensor(
            "voltage",
            SensorSpec(
                gain_error=spec.voltage_gain_error, offset=spec.voltage_offset_v, noise=spec.voltage_noise_v
            ),
            "voltage_v",
        )
        self.cell_voltage_sensors = SensorRow(
            "cell voltage",
            SensorSpec(offset=spec.cell_voltage_error_v, span=spec.cell_voltage_span_v),
            lambda: string.cell_voltages_v,
            count=count,
            seed=seed,
            changed=self._note_sensors,
        )
        # A thermistor with an open wire reads as colder than anything.
        self.temperature_sensors = SensorRow(
            "temperature",
            SensorSpec(
                offset=spec.temperature_error_k,
                span=spec.temperature_span_degc,
                open_value=spec.temperature_span_degc[0],
            ),
            lambda: string.cell_temperatures_degc,
            count=count,
            seed=seed,
            changed=self._note_sensors,
        )
        self._temperature_mean = Sensor(
            "temperature",
            SensorSpec(noise=spec.temperature_noise_k),
            self._mean_degc,
            seed=seed,
            changed=self._note_sensors,
        )

    @property
    def soc(self) -> float:
        """Its estimate of the state of charge, 0 to 1; 0 as well while the string is below its curve."""
        return max(self._counted_soc, 0.0)

    @property
    def soh(self) -> float:
        """State of health: the string's, known exactly."""
        return self.string.soh

    @property
    def minimum_cell_v(self) -> float:
        """Lowest cell as its sensors see it."""
        return float(self._believed_cells_v().min())

    @property
    def maximum_cell_v(self) -> float:
        """Highest cell as its sensors see it."""
        return float(self._believed_cells_v().max())

    @property
    def voltage_v(self) -> float:
        """String voltage as its sensor sees it."""
        return self.voltage_sensor.reading(self._sample)

    @property
    def current_a(self) -> float:
        """String current as its sensor sees it."""
        return self.current_sensor.reading(self._sample)

    @property
    def temperature_degc(self) -> float:
        """Mean temperature as its sensors see it."""
        return self._temperature_mean.reading(self._sample)

    @property
    def charge_voltage_limit_v(self) -> float:
        """String voltage that a charger is to hold."""
        return self.spec.charge_voltage_limit_v

    @property
    def discharge_voltage_limit_v(self) -> float:
        """String voltage to stop at."""
        strip = self.spec.strip
        if self.mode is BmsMode.STRIP and strip is not None:
            return strip.end_voltage_v
        return self.spec.discharge_voltage_limit_v

    @property
    def is_charge_allowed(self) -> bool:
        """Whether charging is allowed."""
        return (
            self._is_ready
            and self._charge_stopped_soc is None
            and self.mode is not BmsMode.STRIP
            and self.limits.isdisjoint(_FORBIDS_CHARGE)
        )

    @property
    def is_discharge_allowed(self) -> bool:
        """Whether discharging is allowed."""
        return (
            self._is_ready
            and self._discharge_stopped_soc is None
            and self.mode is not BmsMode.REFILL
            and self.limits.isdisjoint(_FORBIDS_DISCHARGE)
        )

    @property
    def charge_current_limit_a(self) -> float:
        """Largest charge current, a positive number; zero where charging is not allowed."""
        if not self.is_charge_allowed:
            return 0.0
        strip = self.spec.strip
        if self.mode is BmsMode.REFILL and strip is not None:
            return strip.refill_current_a * self._connected_share * self._derating()
        most_a = self.spec.charge_current_limit_a * self._connected_share
        return most_a * self._charge_taper.at(self.soc) * self._derating()

    @property
    def discharge_current_limit_a(self) -> float:
        """Largest discharge current, a positive number; zero where discharging is not allowed."""
        if not self.is_discharge_allowed:
            return 0.0
        strip = self.spec.strip
        if self.mode is BmsMode.STRIP and strip is not None:
            return strip.discharge_current_a * self._derating()
        most_a = self.spec.discharge_current_limit_a * self._connected_share
        return most_a * self._discharge_taper.at(self.soc) * self._derating()

    @property
    def is_precharging(self) -> bool:
        """Whether the link is charged through the precharge resistor."""
        return self.connection.is_precharging

    @property
    def link_voltage_v(self) -> float:
        """Voltage of the DC link behind the contactors."""
        return self.connection.link_voltage_v

    @property
    def next_event_s(self) -> float:
        """Next alarm, contactor or level that is due."""
        due_s = min(self._timers.next_due_s, self._next_balance_s)
        if self.enclosure is not None:
            made_m3_per_h = self.string.hydrogen_m3_per_h
            for level in self._hydrogen_levels:
                due_s = min(due_s, self._now_s + self.enclosure.due_in_s(level, made_m3_per_h))
        if self._is_calm:
            return due_s
        if self.monitor is not None:
            due_s = min(due_s, self._now_s + self.monitor.due_in_s)
        return min(due_s, self.connection.next_event_s)

    @property
    def step_hint_s(self) -> float:
        """Step half-way to the next cell-voltage level, and near it onto it; shorter while precharging."""
        if not self._is_calm:
            hint_s = self.connection.step_hint_s
            if hint_s < math.inf:
                return hint_s
        hint_s = math.inf
        down, up = self._drift_v_per_s
        if up > 0.0:
            for level_v in self._rising_levels_v:
                if level_v > self._high_v:
                    hint_s = min(hint_s, (level_v - self._high_v) / up)
        if down < 0.0:
            for level_v in self._falling_levels_v:
                if level_v < self._low_v:
                    hint_s = min(hint_s, (level_v - self._low_v) / down)
        elif down > 0.0 and self._refilled_v > self._low_v:
            hint_s = min(hint_s, (self._refilled_v - self._low_v) / down)
        return max(0.5 * hint_s if hint_s > NEAR_S else hint_s, LATE_S)

    def close_contactors(self) -> None:
        """Forget latched alarms, precharge and close; a cause that is still there opens them again."""
        self.alarms = frozenset()
        self._timers.clear()
        self.connection.close()
        self._was_quiet = False
        self._is_suspect = True

    def open_contactors(self) -> None:
        """Open, the positive one first."""
        self.connection.open()

    def open_string(self, place: int) -> None:
        """Isolate a string of a rack by its own contactor.

        Raises:
            ValueError: this battery is one string.
        """
        self._parallel("open_string", place).connect(place, is_closed=False)

    def close_string(self, place: int) -> None:
        """Close a string of a rack onto the others, once it is at their voltage and they carry little.

        Raises:
            ValueError: this battery is one string, or voltage or current are outside of the window.
        """
        rack = self._parallel("close_string", place)
        others = [other for other in rack.connected_places if other != place]
        if others:
            apart_v = rack.strings[place].voltage_v - rack.voltage_v
            most_v = self.spec.string_window_fraction * self.spec.charge_voltage_limit_v
            mean_a = sum(abs(rack.string_currents_a[other]) for other in others) / len(others)
            if abs(apart_v) > most_v or mean_a > self.spec.string_window_current_a:
                raise ValueError(
                    f"bms: close_string({place}) refused: {apart_v:+.3f} V off the node, whose strings carry "
                    f"{mean_a:.1f} A each; allowed +-{most_v:.3f} V and "
                    f"{self.spec.string_window_current_a} A: bring the rack to the string's voltage first"
                )
        rack.connect(place, is_closed=True)

    def start_strip(self, *, is_permitted: bool = False) -> None:
        """Enter strip mode: under-voltage may not act, charging is forbidden.

        Raises:
            ValueError: the battery knows no strip, or needs a permission that was not given.
        """
        strip = self.spec.strip
        chemistry = self.string.chemistry.name
        if strip is None:
            raise ValueError(
                f"bms: strip mode asked of a battery of {chemistry}, whose data have no strip; "
                "allowed: batteries with a strip, since others are ruined by 0 V"
            )
        if strip.needs_permission and not is_permitted:
            raise ValueError(
                f"bms: strip mode asked of a battery of {chemistry} without permission; "
                "allowed: is_permitted=True, given by who answers for the load"
            )
        self._enter(BmsMode.STRIP)

    def end_strip(self) -> None:
        """End strip mode: cells below their window are refilled first, and normal mode follows by itself."""
        if self.mode is not BmsMode.STRIP:
            return
        self._enter(BmsMode.REFILL)
        if self._low_v >= self._refilled_v:
            self._enter(BmsMode.NORMAL)

    def own_current_a(self, duration_s: float) -> float:
        """Mean current of a coming step into everything but the converter."""
        strip = self.spec.strip
        self.own_load_a = 0.0
        if strip is not None and self.mode is BmsMode.STRIP and not self.connection.is_closed:
            mean_v, mean_ohm, _, _ = self.string.source(duration_s, is_charging=False)
            self.own_load_a = min(strip.discharge_current_a, max(mean_v, 0.0) / (mean_ohm + strip.load_ohm))
        return self.own_load_a + self.connection.current_a(duration_s)

    def advance(self, to_s: float) -> None:
        """Count the charge of the step that the string has just made."""
        duration_s = to_s - self._now_s
        self._now_s = to_s
        true_a = self.string.current_a
        most_a = abs(true_a) if self._rack is None else max(map(abs, self._rack.string_currents_a))
        if not self._is_calm or most_a >= self._fuse_a:
            self._advance_parts(duration_s)
        if self.enclosure is not None:
            self.enclosure.advance(duration_s, self.string.hydrogen_m3_per_h)
        if true_a != 0.0 or self.contactor_closed:
            sensor = self.current_sensor
            current_a = true_a * sensor.gain + sensor.offset if sensor.held is None else sensor.held
            if current_a < 0.0:
                current_a *= self.spec.assumed_coulombic_efficiency
            before = self._counted_soc
            soc = before - current_a * duration_s / (3600.0 * self.string.capacity_ah)
            # No further below 0 than a strip has brought it.
            self._counted_soc = max(soc, min(before, 0.0)) if soc < 0.0 else min(soc, 1.0)
        low_v, high_v = self._low_v, self._high_v
        self._look()
        self._drift_v_per_s = ((self._low_v - low_v) / duration_s, (self._high_v - high_v) / duration_s)

    def settle(self) -> None:
        """Judge the present instant: contactors, levels, delays, ends of charge."""
        self.touched = False
        if not self._is_calm:
            self._settle_parts()
        self._judge_levels()
        if self.contactor_closed:
            self._judge_ends()
        else:
            self._timers.clear("full")
        if self._now_s >= self._next_balance_s:
            self._balance()

    @property
    def _is_ready(self) -> bool:
        return self.contactor_closed and self.connection.wants_closed

    @property
    def _sample(self) -> int:
        return int(self._now_s / self.spec.sample_interval_s)

    def _note(self) -> None:
        """Something was changed from outside, or has begun to move."""
        self.touched = True
        self._is_calm = False
        self._note_paths()

    def _note_paths(self) -> None:
        self.contactor_closed, self.is_supplying = self.connection.is_closed, self.connection.is_supplying

    def _note_sensors(self) -> None:
        self._is_suspect = True
        self._are_rows_sound = self.cell_voltage_sensors.is_sound and self.temperature_sensors.is_sound
        self._was_quiet = False
        self._note()
        self._look()

    def _enter(self, mode: BmsMode) -> None:
        self.mode = mode
        self._risen_v = math.inf
        self._timers.clear(REFILL, "refilled")
        self._charge_stopped_soc = self._discharge_stopped_soc = None
        self._set_levels()
        self._was_quiet = False
        self._note()
        self._look()

    def _advance_parts(self, duration_s: float) -> None:
        self.connection.advance(duration_s)
        self._is_calm = False
        if self.monitor is not None:
            self.monitor.advance(duration_s)

    def _settle_parts(self) -> None:
        found = self.connection.settle()
        self._note_paths()
        if found:
            self._raise(found)
        if self.monitor is not None:
            self._judge_insulation(self.monitor)
        if self._is_suspect:
            self._judge_plausibility()
        if self.mode is not BmsMode.NORMAL:
            self._count_by_voltage()
        if self.mode is BmsMode.REFILL:
            self._judge_refill()
        self._is_calm = (
            self.connection.is_resting
            and (self.monitor is None or self.monitor.is_steady)
            and not self._is_suspect
            and self.mode is BmsMode.NORMAL
        )

    def _raise(self, names: frozenset[str] | set[str]) -> None:
        """Latch alarms, and open."""
        self.alarms |= names
        self.connection.open()

    def _judge_insulation(self, monitor: InsulationMonitor) -> None:
        monitor.settle()
        low = {INSULATION} if monitor.is_warning else set()
        self._other_warnings = self._other_warnings - {INSULATION} | low
        self.warnings = self._level_warnings | self._other_warnings
        if monitor.is_alarm and INSULATION not in self.alarms:
            self.alarms |= {INSULATION}
            if monitor.spec.opens:
                self.connection.open()

    def _balance(self) -> None:
        """Decide which cells are bled, and whether the cells differ too much."""
        spec = self.spec.balancing
        if spec is None:
            return
        self._next_balance_s = spec.interval_s * (math.floor(self._now_s / spec.interval_s + 1e-9) + 1)
        cells_v = self.cell_voltage_sensors.values()
        low_v, high_v = float(cells_v.min()), float(cells_v.max())
        is_wide = high_v - low_v > spec.warning_spread_v
        self._other_warnings = self._other_warnings - {CELL_IMBALANCE} | (
            {CELL_IMBALANCE} if is_wide else set()
        )
        self.warnings = self._level_warnings | self._other_warnings
        current_a = self.current_sensor.value()
        is_resting = abs(current_a) < spec.rest_current_a
        may = (spec.while_resting and is_resting) or (
            spec.while_charging and current_a <= -spec.rest_current_a
        )
        spread_v = spec.stop_spread_v if self._is_balancing else spec.start_spread_v
        bled = (cells_v > low_v + spec.stop_spread_v) & (cells_v >= spec.from_cell_v)
        if not may or high_v - low_v <= spread_v:
            bled[:] = False
        self._is_balancing = bool(bled.any())
        if not np.array_equal(bled, self.string.balancing):
            self.string.set_balancing(bled)

    def _count_by_voltage(self) -> None:
        """Set the estimate right below the window, as far as its measurements agree with each other."""
        cell_v = self.voltage_sensor.value() / self.string.spec.cells_in_series
        if cell_v < self._window_v and not self._is_suspect:
            chemistry = self.string.chemistry
            self._counted_soc = float(np.interp(cell_v, chemistry.ocv, chemistry.soc))

    def _judge_refill(self) -> None:
        """Go on in normal mode once the lowest cell is back; raise the alarm where it does not rise."""
        spec, timers, now_s = self.spec, self._timers, self._now_s
        is_back = self._low_v >= self._refilled_v
        if timers.held("refilled", now_s, spec.limit_recovery_s, is_true=is_back):
            self._enter(BmsMode.NORMAL)
            return
        strip = spec.strip
        if strip is None or is_back:
            timers.clear(REFILL)
            return
        if self._low_v >= self._risen_v:
            self._risen_v = math.inf
            timers.clear(REFILL)
        self._risen_v = min(self._risen_v, self._low_v + spec.voltage_hysteresis_v)
        held = timers.held(REFILL, now_s, strip.refill_timeout_s, is_true=True)
        if held and REFILL not in self.alarms:
            self._raise({REFILL})

    def _set_levels(self) -> None:
        """Note the levels of this mode, and between which values none of them is near."""
        spec, volts, kelvins = self.spec, self.spec.voltage_hysteresis_v, self.spec.temperature_hysteresis_k
        amperes = spec.current_hysteresis_factor
        factors = (
            spec.over_current_warning_factor,
            spec.over_current_limit_factor,
            spec.over_current_alarm_factor,
        )
        is_low = self.mode is not BmsMode.NORMAL
        low_levels_v = (
            (-math.inf,) * 3
            if is_low
            else (
                spec.cell_under_voltage_warning_v,
                spec.cell_under_voltage_limit_v,
                spec.cell_under_voltage_alarm_v,
            )
        )
        self._discharge_stop_v = -math.inf if is_low else spec.discharge_stop_cell_v
        low, high = spec.cell_voltage_span_v
        self._cell_span_v = (spec.strip.least_cell_v if is_low and spec.strip is not None else low, high)
        # Above all that acts on a low cell, so that normal mode begins without any of it.
        self._window_v = max(
            spec.discharge_stop_cell_v,
            volts + max(spec.cell_under_voltage_warning_v, spec.cell_under_voltage_limit_v),
        )
        self._refilled_v = self._window_v if self.mode is BmsMode.REFILL else -math.inf
        over = _Levels(
            CELL_OVER_VOLTAGE,
            spec.cell_over_voltage_warning_v,
            spec.cell_over_voltage_limit_v,
            spec.cell_over_voltage_alarm_v,
            volts,
        )
        warning_v, limit_v, alarm_v = low_levels_v
        under = _Levels(CELL_UNDER_VOLTAGE, -warning_v, -limit_v, -alarm_v, volts)
        charge = _Levels(OVER_CURRENT_CHARGE, *factors, amperes)
        discharge = _Levels(OVER_CURRENT_DISCHARGE, *factors, amperes)
        hot = _Levels(
            OVER_TEMPERATURE,
            spec.over_temperature_warning_degc,
            spec.over_temperature_limit_degc,
            spec.over_temperature_alarm_degc,
            kelvins,
        )
        cold = _Levels(
            UNDER_TEMPERATURE,
            -spec.under_temperature_warning_degc,
            -spec.under_temperature_limit_degc,
            -spec.under_temperature_alarm_degc,
            kelvins,
        )
        hydrogen = spec.hydrogen
        gas = _Levels(HYDROGEN, math.inf, math.inf, math.inf, 0.0)
        if hydrogen is not None:
            gas = _Levels(HYDROGEN, hydrogen.warning, hydrogen.limit, hydrogen.alarm, hydrogen.hysteresis)
        self._levels = (over, under, charge, discharge, hot, cold, gas)
        self._quiet_hydrogen = gas.lowest
        self._hydrogen_levels = (
            gas.warning,
            gas.limit,
            gas.alarm,
            gas.warning - gas.hysteresis,
            gas.limit - gas.hysteresis,
        )
        # Between these no level is reached, and a look at all cells is left out.
        cells, degc = self.cell_voltage_sensors, self.temperature_sensors
        self._cell_errors_v = (cells.lowest_offset, cells.highest_offset)
        self._quiet_v = (
            max(-under.lowest, self._discharge_stop_v, self._refilled_v) - cells.lowest_offset,
            min(over.lowest, spec.charge_stop_cell_v) - cells.highest_offset,
        )
        self._quiet_degc = (-cold.lowest - degc.lowest_offset, hot.lowest - degc.highest_offset)
        self._quiet_a = (
            charge.lowest * spec.charge_current_limit_a,
            discharge.lowest * spec.discharge_current_limit_a,
        )
        self._rising_levels_v = tuple(
            level_v for level_v in (spec.charge_stop_cell_v, over.limit, over.alarm) if level_v < math.inf
        )
        self._falling_levels_v = tuple(
            level_v for level_v in (self._discharge_stop_v, limit_v, alarm_v) if level_v > -math.inf
        )

    def _look(self) -> None:
        """Note the lowest and the highest cell; bounds of them where no level is near."""
        low_v, high_v = self.string.voltage_bounds_v()
        quiet_low_v, quiet_high_v = self._quiet_v
        if quiet_low_v < low_v and high_v < quiet_high_v and self._are_rows_sound:
            low_error_v, high_error_v = self._cell_errors_v
            self._low_v, self._high_v = low_v + low_error_v, high_v + high_error_v
            self._is_far = True
            return
        self._is_far = False
        # Sixteen numbers: Python's min and max are faster than numpy's.
        cells_v = self._believed_cells_v().tolist()
        self._low_v, self._high_v = min(cells_v), max(cells_v)

    def _believed_cells_v(self) -> FloatArray:
        """Cell voltages that lie within what is believed; all of them where none does."""
        sensors = self.cell_voltage_sensors
        if sensors.is_sound:
            return sensors.values()
        believed = sensors.believed(self._cell_span_v)
        return believed if believed.size else sensors.values()

    def _believed_degc(self) -> FloatArray:
        sensors = self.temperature_sensors
        if sensors.is_sound:
            return sensors.values()
        believed = sensors.believed(self.spec.temperature_span_degc)
        return believed if believed.size else sensors.values()

    def _mean_degc(self) -> float:
        if self.temperature_sensors.is_sound:
            return self.string.temperature_degc + self.temperature_sensors.mean_offset
        return float(self._believed_degc().mean())

    @property
    def _connected_share(self) -> float:
        """Of the strings, how many hang at the node."""
        return len(self.string.connected_places) / len(self.string.string_currents_a)

    def _is_quiet(self, discharge_a: float, charge_a: float) -> bool:
        """Whether no level is near, as bounds of the cells' voltages and temperatures tell."""
        if not self._is_far:
            return False
        (cold_degc, hot_degc), (most_charge_a, most_a) = self._quiet_degc, self._quiet_a
        coldest_degc, hottest_degc = self.string.temperature_bounds_degc()
        return (
            cold_degc <= coldest_degc
            and hottest_degc <= hot_degc
            and charge_a <= most_charge_a
            and discharge_a <= most_a
            and (self.enclosure is None or self.enclosure.share <= self._quiet_hydrogen)
        )

    def _judge_levels(self) -> None:
        spec, sensor = self.spec, self.current_sensor
        if sensor.held is None:
            discharge_a = self.string.current_a * sensor.gain + sensor.offset
        else:
            discharge_a = sensor.held
        charge_a = -discharge_a
        rack_a = abs(discharge_a)
        if self._rack is not None:
            # As much as the rack would carry, did all strings so.
            each_a = [sensor.gain * a for a in self._rack.string_currents_a]
            charge_a = max(charge_a, -len(each_a) * min(each_a))
            discharge_a = max(discharge_a, len(each_a) * max(each_a))
        is_quiet = self._is_quiet(discharge_a, charge_a)
        if is_quiet and self._was_quiet and not self.limits:
            return
        self._was_quiet = is_quiet
        cells_degc = self._believed_degc().tolist()
        values = (
            self._high_v,
            -self._low_v,
            charge_a / spec.charge_current_limit_a,
            discharge_a / spec.discharge_current_limit_a,
            max(cells_degc),
            -min(cells_degc),
            0.0 if self.enclosure is None else self.enclosure.share,
        )
        warnings = []
        for levels, value in zip(self._levels, values, strict=True):
            is_warned = levels.name in self._level_warnings
            if value > (levels.warning - levels.hysteresis if is_warned else levels.warning):
                warnings.append(levels.name)
            self._judge_limit(levels, value)
            is_high = value > levels.alarm
            held = self._timers.held(levels.held, self._now_s, spec.alarm_delay_s, is_true=is_high)
            if held and levels.name not in self.alarms:
                self._raise({levels.name})
                self._isolate(levels, rack_a)
        self._level_warnings = frozenset(warnings)
        self.warnings = self._level_warnings | self._other_warnings

    def _parallel(self, asked: str, place: int) -> Rack:
        """Give the rack that has this string."""
        count = len(self.string.string_currents_a)
        if self._rack is None or not 0 <= place < count:
            raise ValueError(
                f"bms: {asked}({place}) of a battery of {count} strings; allowed 0 to {count - 1} of a rack"
                " of several"
            )
        return self._rack

    def _isolate(self, levels: _Levels, rack_a: float) -> None:
        """Open the contactor of the string that carries too much while the rack does not."""
        spec, rack = self.spec, self._rack
        rated = {
            OVER_CURRENT_CHARGE: spec.charge_current_limit_a,
            OVER_CURRENT_DISCHARGE: spec.discharge_current_limit_a,
        }
        rated_a = rated.get(levels.name)
        if rack is None or rated_a is None or rack_a > levels.alarm * rated_a:
            return
        currents = rack.string_currents_a
        worst_a = min(currents) if levels.name == OVER_CURRENT_CHARGE else max(currents)
        # The other one of two is still again by the time that its own alarm is raised.
        if abs(worst_a) * len(currents) > levels.alarm * rated_a:
            rack.connect(currents.index(worst_a), is_closed=False)

    def _judge_limit(self, levels: _Levels, value: float) -> None:
        """Forbid, or allow again, what makes a value worse."""
        spec, timers, name = self.spec, self._timers, levels.name
        if name in self.limits:
            is_back = value <= levels.limit - levels.hysteresis
            if timers.held(levels.recovered, self._now_s, spec.limit_recovery_s, is_true=is_back):
                self.limits -= {name}
                timers.clear(levels.recovered)
        elif timers.held(levels.limited, self._now_s, spec.limit_delay_s, is_true=value > levels.limit):
            self.limits |= {name}
            timers.clear(levels.limited)

    def _judge_plausibility(self) -> None:
        """Compare measurements with each other and with their spans; suspicion ends when all is well."""
        spec = self.spec.plausibility
        sensors, second = self.cell_voltage_sensors, self.second_current_sensor
        span_degc = self.spec.temperature_span_degc
        cells_v, degc = sensors.values(), self.temperature_sensors.values()
        low_v, high_v = self._cell_span_v
        string_v, current_a = self.voltage_sensor.value(), self.current_sensor.value()
        sums_v = cells_v.reshape(-1, self.string.spec.cells_in_series).sum(axis=1)
        # A string that is isolated has a voltage of its own.
        apart_v = np.abs(sums_v[list(self.string.connected_places)] - string_v)
        are_cells_believed = bool(((cells_v > low_v) & (cells_v < high_v)).all())
        findings = (
            (CELL_VOLTAGE_SENSOR, not are_cells_believed),
            (TEMPERATURE_SENSOR, not bool(((degc > span_degc[0]) & (degc < span_degc[1])).all())),
            (VOLTAGE_SENSOR, self.voltage_sensor.is_out_of_range),
            (CURRENT_SENSOR, self.current_sensor.is_out_of_range),
            # A cell that is not believed cannot be added up.
            (
                CELL_SUM_MISMATCH,
                are_cells_believed and bool((apart_v > spec.cell_sum_fraction * self._nominal_v).any()),
            ),
            (CURRENT_MISMATCH, second is not None and abs(second.value() - current_a) > spec.current_a),
        )
        for name, is_true in findings:
            held = self._timers.held(name, self._now_s, spec.delay_s, is_true=is_true)
            if held and name not in self.alarms:
                self._raise({name})
        are_sound = sensors.is_sound and self.temperature_sensors.is_sound
        scalars = (self.current_sensor, self.voltage_sensor, *((second,) if second else ()))
        self._is_suspect = (
            not are_sound
            or any(sensor.held is not None for sensor in scalars)
            or any(is_true for _, is_true in findings)
        )

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
                self._counted_soc = 1.0
            if is_full or (charge_a > 0.0 and self._high_v >= spec.charge_stop_cell_v):
                self._charge_stopped_soc = self.soc
        elif self.soc <= self._charge_stopped_soc - spec.restart_soc_step:
            self._charge_stopped_soc = None
        if self._discharge_stopped_soc is None:
            if charge_a < 0.0 and self._low_v <= self._discharge_stop_v:
                if spec.resets_soc_at_empty:
                    self._counted_soc = 0.0
                self._discharge_stopped_soc = self.soc
        elif self.soc >= self._discharge_stopped_soc + spec.restart_soc_step:
            self._discharge_stopped_soc = None

    def _derating(self) -> float:
        """Fraction of the current limits that the temperature leaves."""
        return self._temperature_derating.at(self._mean_degc())
