"""A bidirectional converter (PCS) with an internal transfer switch: grid following and grid forming.

Following, it injects a balanced positive-sequence current:

    set-point -> ramp (W/s) -> first order with Tr = 2.303 tau (IEEE 1547-2018: 90 % of a step at Tr)
    -> grid support (volt-var, droop and the like) -> limits of enter service, rating and battery
    i_ref = conj(P + jQ) / (3 conj(U1)), cut to the current limit, one part first
    di/dt = (i_ref - i) / tau_i       current control and phase lock together, in the frame of the source

so that power falls with the voltage where the current limit binds (P = I_max U). The DC side carries P +
loss. Forming, it holds nominal voltage and frequency and carries the load less what the sun gives; beyond its
current or the battery's limit the voltage droops, and where no voltage would hold it collapses, which trips
it at once (``island_level.py``). Where the sun gives more than load, battery and its own charge rating take,
it raises the frequency of the island each 0.1 s,

    df/dt = shift_hz_per_s (surplus / rated apparent power)

between nominal and the highest shift, for the frequency-watt response of the arrays. Until they follow, the
battery takes the surplus; one that stays at the highest frequency trips the converter.

Mains that have been good for the delay of enter service it joins in phase: the island slips by the angle
delta (in turns, from -1/2 to 1/2) by which they lead it then,

    f = f_mains + delta / synchronise_s        so never by more than 1 / (2 synchronise_s) from the mains

and the switch closes at the end of the slip where no more than 3.6 degrees are left; else it slips again.

Every timer and mode change is an exact event. The current answers exactly to a reference that runs straight
within a step, and steps are as long as a straight line is off by less than 0.3 % of the rated current.

Relays see voltage and frequency as means over their windows (``protection.py``); bands, enter service and
transfer look at the phasors of the instant. Not modelled: harmonics, negative and zero sequence current, DC
link dynamics, a droop of frequency in an island, a rise of its voltage by a surplus, a shift while the island
is brought in phase with the mains, the way of its frequency to that of the slip, where it is at once. Nor is
the detection of a loss: the converter is told that its source has opened, and forms ``transfer_gap_s`` later
even where the load takes just what it gives, which a real unit finds last; only a load that resonates hides
it. A source that stays connected it leaves by its voltage alone, ``transfer_after_s`` below
``transfer_below_pu``, and the load has what is left of that voltage until then.
"""

from __future__ import annotations

import cmath
import math
from enum import Enum
from itertools import chain
from typing import NamedTuple

from harness.plant import keyed
from harness.plant.converter_spec import ConverterSpec, EnterService
from harness.plant.efficiency import Losses
from harness.plant.grid_support import GridSupport, GridSupportSpec, in_circle, within
from harness.plant.island_level import carried_va, highest_level
from harness.plant.load import CriticalLoad
from harness.plant.network import DEAD, Flow, Infeed, Triple
from harness.plant.protection import Protection
from harness.plant.rack import Battery
from harness.plant.ride_through import RideBand, RideMode
from harness.plant.set_point import SetPoint
from harness.plant.timers import Timers
from harness.roles import OperatingState

BMS_TIMEOUT = "bms_timeout"
DC_LOST = "dc_lost"
OVERLOAD = "overload"
SURPLUS = "surplus"

_SHIFT_S = 0.1
"""Between two changes of an island's frequency (ours: of the order of a frame of the BMS)."""
_NO_SURPLUS = 1e-4
"""Of the rated apparent power: less than a BMS resolves."""

_AT_ONCE = 0.02
"""Of the rated current: what a step much longer than the current's time constant moves it by at its start."""

_HELD = 2e-5
"""By how much of its largest DC current a settled converter may be off the battery's limit."""


class Mode(Enum):
    """What the converter is about."""

    OFF = "off"
    STARTING = "starting"
    FOLLOWING = "following"
    FORMING = "forming"
    SYNCHRONISING = "synchronising"
    RETURNING = "returning"
    TRIPPED = "tripped"


_ISLAND = frozenset({Mode.FORMING, Mode.SYNCHRONISING, Mode.RETURNING})


class Mains(NamedTuple):
    """What the converter sees of the mains.

    Attributes:
        voltage_v: line-to-neutral magnitudes on the mains side of the transfer switch.
        frequency_hz: of the mains.
        is_present: whether there is a source at all (its relay is closed).
        ahead_turns: angle by which the mains lead the converter's own voltage, -0.5 to 0.5.
    """

    voltage_v: Triple
    frequency_hz: float
    is_present: bool
    ahead_turns: float


class Heard(NamedTuple):
    """Limits that the battery last said.

    Attributes:
        charge_a: largest charge current.
        discharge_a: largest discharge current.
        charge_v: voltage to hold while charging.
    """

    charge_a: float
    discharge_a: float
    charge_v: float


class Converter:
    """The power stage, its control and its protections.

    Attributes:
        mode: what it is about.
        current_a: phasor of phase 1's current while following, in the frame of the source.
        island_hz: frequency that it forms.
        alarms: alarms that are raised.
        is_blocked: whether its gates are blocked by a voltage band.
        is_enabled: whether its enable contact is closed; without it it does not start.
        power_setpoint_w: as commanded.
        reactive_power_setpoint_var: as commanded.
        temperature_degc: of the heat sink.
        loss_j: since time zero.
        energy_injected_j: out of its AC terminals since time zero.
        energy_absorbed_j: into its AC terminals since time zero.
        dc_voltage_v: at its DC terminals.
        dc_current_a: into its DC terminals out of the battery.
        dc_power_w: likewise.
        flow: phasors of the network at this instant.
        enter_service: when and how it comes back to the mains.
        protection: its relays.
        tripped_s: when it last tripped; never: before time zero.
        touched: whether a command awaits ``settle``.
    """

    def __init__(self, spec: ConverterSpec, ambient_degc: float, seed: int = 0) -> None:
        self.spec = spec
        self.mode = Mode.STARTING if spec.starts_on else Mode.OFF
        self.current_a = 0j
        self.island_hz = spec.nominal_frequency_hz
        self.grid_hz = spec.nominal_frequency_hz
        self.alarms: frozenset[str] = frozenset()
        self.is_blocked = False
        self.is_enabled = True
        self.power_setpoint_w = 0.0
        self.reactive_power_setpoint_var = 0.0
        self.temperature_degc = ambient_degc
        self.loss_j = 0.0
        self.energy_injected_j = 0.0
        self.energy_absorbed_j = 0.0
        self.dc_voltage_v = self.dc_current_a = self.dc_power_w = 0.0
        self.flow: Flow = DEAD
        self.touched = False
        self._ambient_degc = ambient_degc
        self._now_s = 0.0
        self._is_dead = False
        self._timers = Timers()
        self.enter_service = spec.enter_service
        self.protection = Protection(spec.ride_through, spec.nominal_voltage_v)
        self._seed, self._entries = seed, 0
        self.tripped_s = -math.inf
        self._has_dc = False
        timeout_s = math.inf if spec.bms_timeout_s is None else spec.bms_timeout_s
        self._bms_timeout_s = timeout_s
        self._bms_due_s = timeout_s if spec.starts_on else math.inf
        self._heard = Heard(spec.maximum_dc_current_a, spec.maximum_dc_current_a, math.inf)
        self._is_bms_lost = False
        self._set_point = SetPoint(spec.response_s, spec.rated_apparent_power_va)
        self._level = 1.0
        self._is_throttled = self._was_low = False
        self._carried = (0.0, 0j)
        self._recovery_s = 0.0
        self._recovered_s = self._entered_s = -math.inf
        self._synchronised_s = self._returned_s = self._shift_s = math.inf
        self._range_w = (-math.inf, math.inf)
        self._active_w = self._wanted_w = self._lead_a = 0.0
        self._lag_a = 0j
        self._losses = Losses(spec.losses)
        self._held_a = _HELD * spec.maximum_dc_current_a
        self._rated_a = spec.rated_apparent_power_va / (3.0 * spec.nominal_voltage_v)
        self._cooling = (0.0, 1.0)
        self._support: GridSupport | None = None
        self.grid_support = spec.grid_support
        self._engage(spec.grid_support)
        self._note_levels()

    # What it is told.

    def set_power_w(self, power_w: float) -> None:
        """Command active power out of the AC terminals; cut to its ratings."""
        self.power_setpoint_w = power_w
        self.touched = True
        self._retarget()

    def set_reactive_power_var(self, reactive_power_var: float) -> None:
        """Command reactive power out of the AC terminals; cut to what active power leaves."""
        self.reactive_power_setpoint_var = reactive_power_var
        self.touched = True
        self._retarget()

    def set_grid_support(self, spec: GridSupportSpec) -> None:
        """Switch grid support functions; they start from their rest."""
        self.grid_support = spec
        self._engage(spec)
        self.touched = True
        self._retarget()

    def set_enter_service(self, enter_service: EnterService) -> None:
        """Change when and how it comes back; a delay that runs starts anew."""
        self.enter_service = enter_service
        self._timers.clear("return")
        self._note_levels()
        self.touched = True

    def turn_on(self) -> None:
        """Start; the last set-points hold. Does nothing when on, or while the enable contact is open."""
        self.touched = True
        if self.mode is Mode.OFF and self.is_enabled:
            self.mode = Mode.STARTING
            self._bms_due_s = self._now_s + self._bms_timeout_s
            self._timers.clear()

    def turn_off(self) -> None:
        """Cease to energize, forget alarms, and leave the load to the mains."""
        self.touched = True
        self._stop(Mode.OFF)
        self.alarms = frozenset()
        self._is_bms_lost = False
        self._bms_due_s = math.inf

    def enable(self, *, is_enabled: bool) -> None:
        """Close or open the enable contact: open, it turns off; closing it starts nothing."""
        self.is_enabled = is_enabled
        if not is_enabled:
            self.turn_off()

    def hear_bms(
        self, charge_current_limit_a: float, discharge_current_limit_a: float, charge_voltage_limit_v: float
    ) -> None:
        """Take the limits of a BMS frame that arrives at this instant."""
        if self.mode is not Mode.OFF:
            self._bms_due_s = self._now_s + self._bms_timeout_s
        self.touched |= self._is_bms_lost
        self._heard = Heard(
            max(charge_current_limit_a, 0.0), max(discharge_current_limit_a, 0.0), charge_voltage_limit_v
        )

    # What it says.

    @property
    def dead(self) -> bool:
        """Negative control: whether the power stage never conducts although commanded."""
        return self._is_dead

    @dead.setter
    def dead(self, is_dead: bool) -> None:
        self._is_dead = is_dead
        self.touched = True

    @property
    def is_on(self) -> bool:
        """Whether it is allowed to run."""
        return self.mode is not Mode.OFF

    @property
    def ride_mode(self) -> RideMode:
        """What its bands ask for at this instant, while it follows."""
        nominal_v = self.spec.nominal_voltage_v
        magnitudes_pu = [abs(volts) / nominal_v for volts in self.flow.grid_v]
        return self.spec.ride_through.mode(min(magnitudes_pu), max(magnitudes_pu))

    @property
    def is_grid_forming(self) -> bool:
        """Whether it forms the voltage of an island, or just did and is on its way to the mains."""
        return self.mode in _ISLAND

    @property
    def is_connected(self) -> bool:
        """Whether the transfer switch joins load and converter to the mains."""
        return self.mode not in _ISLAND

    @property
    def enter_service_left_s(self) -> float:
        """What is left of the delay before it comes back; zero when none runs."""
        due_s = self._timers.due_s("return") or self._timers.due_s("start")
        return 0.0 if due_s is None else max(due_s - self._now_s, 0.0)

    @property
    def state(self) -> OperatingState:
        """What it says it is doing."""
        if self.mode is Mode.OFF:
            return OperatingState.OFF
        if self.mode is Mode.STARTING:
            return OperatingState.STARTING
        if self.mode is Mode.TRIPPED:
            return OperatingState.FAULT
        if self._is_bms_lost or not self._has_dc:
            return OperatingState.STANDBY
        return OperatingState.THROTTLED if self._is_throttled else OperatingState.RUNNING

    @property
    def power_w(self) -> float:
        """Active power out of its AC terminals."""
        return self.flow.power_va.real

    @property
    def reactive_power_var(self) -> float:
        """Reactive power out of its AC terminals."""
        return self.flow.power_va.imag

    @property
    def apparent_power_va(self) -> float:
        """Sum over the phases of voltage times current."""
        return sum(abs(v) * abs(i) for v, i in zip(self.flow.bus_v, self.flow.pcs_a, strict=True))

    @property
    def frequency_hz(self) -> float:
        """Frequency at its AC terminals; zero where there is no voltage."""
        if abs(self.flow.positive_v) < 0.05 * self.spec.nominal_voltage_v:
            return 0.0
        return self.bus_hz

    @property
    def bus_hz(self) -> float:
        """Frequency of the bus, alive or dead."""
        return self.grid_hz if self.is_connected else self.island_hz

    def ac_voltage_v(self, phase: int) -> float:
        """Line-to-neutral voltage at its terminals, phase 1 to 3."""
        return abs(self.flow.bus_v[phase - 1])

    def ac_current_a(self, phase: int) -> float:
        """Current out of its terminals, phase 1 to 3."""
        return abs(self.flow.pcs_a[phase - 1])

    # What the plant asks.

    @property
    def next_event_s(self) -> float:
        """Next instant at which something is due."""
        due_s = min(self._timers.next_due_s, self.protection.next_event_s)
        if self.mode is Mode.FORMING:
            due_s = min(due_s, self._shift_s)
        elif self.mode is Mode.SYNCHRONISING:
            due_s = min(due_s, self._synchronised_s)
        elif self.mode is Mode.RETURNING:
            due_s = min(due_s, self._returned_s)
        now_s = self._now_s
        if now_s < self._entered_s < due_s:
            due_s = self._entered_s
        if now_s < self._bms_due_s < due_s:
            due_s = self._bms_due_s
        if now_s < self._recovered_s < due_s:
            due_s = self._recovered_s
        if self._set_point.target == self._set_point.ramped:
            return due_s
        return min(due_s, self._set_point.arrival_s(now_s, self._ramp()))

    @property
    def step_hint_s(self) -> float:
        """Longest step that follows what its current is doing; infinite when settled."""
        hint_s = self.protection.step_hint_s(self._now_s)
        if self.mode is not Mode.FOLLOWING:
            return hint_s
        tau_s = self.spec.current_time_constant_s
        gap_pu = abs(self._reference_a(self.flow.positive_v) - self.current_a - self._lag_a) / self._rated_a
        if gap_pu > 1e-3:
            # The chord of the exponential is off by gap (h / tau)² / 8, here 0.3 % of the rated current.
            hint_s = min(hint_s, tau_s * min(0.15 / math.sqrt(gap_pu), 1.0))
        if not self._is_still():
            hint_s = min(hint_s, self._reference_hint_s())
        return hint_s

    @property
    def jump_hint_s(self) -> float:
        """Step that follows a reference that a new limit has moved by much; infinite where none has."""
        if self.mode is not Mode.FOLLOWING:
            return math.inf
        gap_a = abs(self._reference_a(self.flow.positive_v) - self.current_a - self._lag_a)
        return self.step_hint_s if gap_a >= _AT_ONCE * self._rated_a else math.inf

    def _reference_hint_s(self) -> float:
        """Longest step in which power may be taken to run straight, and the voltage to stand."""
        hint_s = self._set_point.step_hint_s(self._ramp())
        if self._now_s < self._recovered_s:
            hint_s = min(hint_s, max(self._recovery_s / 40.0, 0.001))
        if self._now_s < self._entered_s:
            hint_s = min(hint_s, max(self.enter_service.ramp_s / 20.0, 0.001))
        if self._support is not None:
            hint_s = min(hint_s, max(self._support.step_hint_s, 0.001))
        return hint_s

    @property
    def is_standing(self) -> bool:
        """Whether its current is settled, or it forms an island: only an event moves the AC side then."""
        if self.protection.step_hint_s(self._now_s) < math.inf:
            return False
        if self.mode is Mode.FORMING:
            return self._shift_s == math.inf
        if self.mode is Mode.SYNCHRONISING or not self._is_still():
            return False
        gap_a = self._reference_a(self.flow.positive_v) - self.current_a
        return self.mode is not Mode.FOLLOWING or abs(gap_a) < 1e-7 * self._rated_a

    @property
    def formed_v(self) -> float:
        """Line-to-neutral voltage that it forms."""
        if self._is_dead or not self._has_dc or self.mode is Mode.RETURNING:
            return 0.0
        return self._level * self.spec.nominal_voltage_v

    def loss_w(self, power_w: float) -> float:
        """Loss at an active power; none unless it is on with a live DC side."""
        if not self._is_awake():
            return 0.0
        return self._losses.loss_w(power_w)

    def watch(self, start_s: float, end_s: float, before: Mains, after: Mains) -> None:
        """Let the relays measure a stretch of the mains, in which all runs linearly."""
        volts, hertz = (before.voltage_v, after.voltage_v), (before.frequency_hz, after.frequency_hz)
        self.protection.watch(start_s, end_s, volts, hertz)

    def turn_frame(self, turns: float) -> None:
        """Keep the current where it is in space while the frame of the source jumps."""
        if not turns:
            return
        self.protection.jump(self._now_s, turns)
        if self.is_connected:
            self.current_a *= complex(math.cos(2 * math.pi * turns), -math.sin(2 * math.pi * turns))

    def settle(self, mains: Mains, dc_voltage_v: float, load: CriticalLoad, sun: Infeed) -> None:
        """Judge the present instant: protections, modes and timers."""
        self.touched = False
        self.grid_hz = mains.frequency_hz
        self.dc_voltage_v = dc_voltage_v
        self.protection.meet(self._now_s, mains.voltage_v, mains.frequency_hz)
        self._notice_dc(dc_voltage_v > 0.0)
        self._notice_bms()
        if self.mode is Mode.FOLLOWING:
            self._follow(mains)
            self._retarget()
            if self._support is not None:
                self._look(mains)
            return
        good = self._is_good(mains)
        if self.mode is Mode.STARTING:
            self._start(good=good, mains=mains)
        elif self.mode is Mode.TRIPPED:
            ready = good and self._has_dc and not self._is_bms_lost
            delay_s = self._enter_delay_s(self.enter_service.delay_s)
            if self._timers.held("return", self._now_s, delay_s, is_true=ready):
                self.alarms = frozenset()
                self._enter_service()
        elif self.mode is not Mode.OFF:
            self._form(mains, load, sun, good=good)
        self._retarget()

    def prepare(self, string: Battery, duration_s: float, load: CriticalLoad, sun: Infeed) -> None:
        """Find what the battery may give and take in a coming step, and what the island's voltage will be.

        An island that has none, or a new surplus, then asks to be settled before time passes.
        """
        if not self._is_awake():
            return
        self._losses.follow(self.dc_voltage_v)
        self._range_w = self._battery_range_w(string, duration_s)
        self._lead_a = 0.0
        if self.is_grid_forming and self.mode is not Mode.RETURNING:
            self._level = self._island_level(load, sun)
            is_steady = self.mode is Mode.FORMING and self._shift_s == math.inf
            whole_w = self._whole_va(load, sun).real
            self.touched |= self._level == 0.0 or (is_steady and self._surplus(whole_w) > _NO_SURPLUS)

    def allows(self, string: Battery, current_a: float, duration_s: float) -> bool:
        """Whether the battery's limits in a coming step leave the mean current that stands.

        A power that they cut follows them once it is off by ``_HELD``, and then as far ahead of them.
        """
        is_forming = self.mode is Mode.FORMING
        wanted_w = current_a if is_forming else self._wanted_w
        if not self._is_awake():
            return True
        if self._losses.is_stale(self.dc_voltage_v):
            return False
        if wanted_w == 0.0:
            return True
        if wanted_w > 0.0:
            limit_a, size_a = self._most_a(string, duration_s), current_a
        else:
            limit_a, size_a = self._most_charge_a(string, duration_s), -current_a
        is_cut = self._level < 1.0 if is_forming else self._active_w != wanted_w
        room_a = limit_a - size_a
        # Loss alone may be more than a limit of zero.
        has_less = room_a < -self._held_a and (not is_cut or is_forming or self._active_w != 0.0)
        has_more = room_a > self._held_a and is_cut
        # Not to the edge: a limit that goes on so is crossed half-way.
        self._lead_a = 0.8 * self._held_a * (has_more - has_less)
        return not (has_less or has_more)

    def stand(self, to_s: float, power_w: float, loss_w: float) -> None:
        """Let time pass with nothing moving."""
        self._count(power_w, loss_w, to_s - self._now_s)
        self._now_s = to_s

    def advance(self, to_s: float, positive_v: complex) -> bool:
        """Let ramps, response and current run, for a bus voltage that stays.

        Returns:
            Whether the current may be taken as constant over the step (long steps, small changes).
        """
        duration_s = to_s - self._now_s
        if self.mode is not Mode.FOLLOWING:
            self._now_s = to_s
            self.current_a = 0j
            return True
        before_a = after_a = self._reference_a(positive_v)
        if not self._is_still():
            if self._support is not None:
                self._support.run(duration_s)
            self._set_point.run(duration_s, self._ramp())
            self._now_s = to_s
            after_a = self._reference_a(positive_v)
        self._now_s = to_s
        tau_s = self.spec.current_time_constant_s
        self._lag_a = lag_a = (after_a - before_a) * (tau_s / duration_s)
        gap_a = self.current_a - before_a + lag_a
        if lag_a == 0.0:
            if abs(gap_a) < 1e-9 * self._rated_a:
                return True
            if duration_s > 10.0 * tau_s and abs(gap_a) < _AT_ONCE * self._rated_a:
                self.current_a = after_a
                return True
        self.current_a = after_a - lag_a + gap_a * math.exp(-duration_s / tau_s)
        return False

    def count(self, power_w: float, duration_s: float) -> float:
        """Count energy and heat of a step at a mean active power; returns the loss in W."""
        loss_w = self.loss_w(power_w)
        self._count(power_w, loss_w, duration_s)
        return loss_w

    def _count(self, power_w: float, loss_w: float, duration_s: float) -> None:
        self.loss_j += loss_w * duration_s
        if power_w > 0.0:
            self.energy_injected_j += power_w * duration_s
        else:
            self.energy_absorbed_j -= power_w * duration_s
        final_degc = self._ambient_degc + self.spec.thermal_resistance_k_per_w * loss_w
        if duration_s != self._cooling[0]:
            self._cooling = (duration_s, math.exp(-duration_s / self.spec.thermal_time_constant_s))
        self.temperature_degc = final_degc + self._cooling[1] * (self.temperature_degc - final_degc)

    def _note_levels(self) -> None:
        """Note the levels that matter to step lengths, and the range in which nothing has to be judged."""
        spec, enter = self.spec, self.enter_service
        ride = spec.ride_through
        inner = chain(ride.under_voltage, ride.over_voltage)
        edges = chain.from_iterable((band.low_pu, band.high_pu) for band in ride.bands)
        below = () if spec.transfer_below_pu is None else (spec.transfer_below_pu,)
        levels = chain((trip.threshold_pu for trip in inner), edges, enter.voltage_pu, below)
        self.voltage_levels_v = tuple(sorted({level * spec.nominal_voltage_v for level in levels}))
        trips = chain(ride.under_frequency, ride.over_frequency)
        entry = (spec.nominal_frequency_hz + offset for offset in enter.frequency_hz)
        self.frequency_levels_hz = tuple(sorted({*(trip.threshold_hz for trip in trips), *entry}))

    def _engage(self, spec: GridSupportSpec) -> None:
        converter = self.spec
        self._support = (
            None
            if spec.is_off
            else GridSupport(
                spec,
                rated_w=converter.rated_power_w,
                charge_w=converter.rated_charge_power_w,
                apparent_va=converter.rated_apparent_power_va,
                nominal_hz=converter.nominal_frequency_hz,
            )
        )

    def _look(self, mains: Mains) -> None:
        """Let the grid support functions measure."""
        one, two, three = self.flow.bus_v
        voltage_pu = (abs(one) + abs(two) + abs(three)) / (3.0 * self.spec.nominal_voltage_v)
        support = self._support
        if support is not None:
            hertz = self.protection.frequency_hz(self._now_s, mains.frequency_hz)
            support.look(voltage_pu, hertz, support.active_w(self._set_point.response.real))

    # Modes.

    def _start(self, *, good: bool, mains: Mains) -> None:
        delay_s = self._enter_delay_s(self.spec.start_delay_s)
        ready = self._has_dc and not self._is_bms_lost
        if self._timers.held("start", self._now_s, delay_s, is_true=good and ready):
            self._enter_service()
            return
        alone = ready and self.spec.islanding and not mains.is_present
        if self._timers.held("black start", self._now_s, self.spec.start_delay_s, is_true=alone):
            self._enter_forming()

    def _follow(self, mains: Mains) -> None:
        spec, now_s = self.spec, self._now_s
        lost = not mains.is_present
        if lost:
            self.current_a = 0j
        lowest, highest = (
            min(mains.voltage_v) / spec.nominal_voltage_v,
            max(mains.voltage_v) / spec.nominal_voltage_v,
        )
        below_pu = spec.transfer_below_pu
        is_low = below_pu is not None and lowest < below_pu
        is_quiet = self.protection.is_quiet(now_s, lowest, highest, mains.frequency_hz)
        if is_quiet and not (lost or is_low or self._was_low):
            return
        self._was_low = is_low
        if self._timers.held("lost", now_s, spec.transfer_gap_s, is_true=lost and self._can_form()):
            self._enter_forming()
            return
        if self._timers.held("sag", now_s, spec.transfer_after_s, is_true=is_low and self._can_form()):
            self._enter_forming()
            return
        tripped = self.protection.due(now_s, mains.voltage_v, mains.frequency_hz)
        if tripped:
            self.alarms |= tripped
            if self._can_form():
                self._enter_forming()
            else:
                self._stop(Mode.TRIPPED)
            return
        self._ride(lowest, highest)

    def _ride(self, lowest_pu: float, highest_pu: float) -> None:
        """Block the gates in bands that ask for it, and come back along their recovery."""
        blocking: RideBand | None = None
        for band in self.spec.ride_through.bands:
            if band.does_block and (band.holds(lowest_pu) or band.holds(highest_pu)):
                blocking = band
                break
        response_s = blocking.response_s if blocking else 0.0
        held = self._timers.held("block", self._now_s, response_s, is_true=blocking is not None)
        if held and blocking:
            # The voltage may come back through a quicker band.
            self._recovery_s = max(blocking.recovery_s, self._recovery_s if self.is_blocked else 0.0)
            self.is_blocked = True
            self.current_a = 0j
        elif self.is_blocked and blocking is None:
            self.is_blocked = False
            # Until the ramp of the current has passed the current limit.
            self._recovered_s = self._now_s + self._recovery_s * self.spec.current_limit_pu

    def _form(self, mains: Mains, load: CriticalLoad, sun: Infeed, *, good: bool) -> None:
        spec, now_s = self.spec, self._now_s
        if self.mode is Mode.RETURNING:
            if now_s >= self._returned_s:
                self._join()
            return
        if not self._can_form():
            self._stop(Mode.TRIPPED)
            return
        burden = self._burden(load, sun)
        if burden:
            self.alarms |= burden
            self._stop(Mode.TRIPPED)
            return
        returned = self._timers.held("return", now_s, self.enter_service.delay_s, is_true=good)
        if self.mode is Mode.FORMING and returned:
            self.mode = Mode.SYNCHRONISING
            self._shift_s = math.inf
            self.island_hz = mains.frequency_hz + mains.ahead_turns / spec.synchronise_s
            self._synchronised_s = now_s + spec.synchronise_s
        elif self.mode is Mode.SYNCHRONISING and not good:
            self._enter_forming()
        elif self.mode is Mode.SYNCHRONISING and now_s >= self._synchronised_s:
            # A hundredth of a turn is 3.6 degrees; a mains frequency that moved meanwhile needs another slip.
            if abs(mains.ahead_turns) > 0.01:
                self.mode = Mode.FORMING
            else:
                self._carried = (self.flow.power_va.real, self.flow.pcs_a[0])
                if spec.return_gap_s > 0.0:
                    self.mode = Mode.RETURNING
                    self._returned_s = now_s + spec.return_gap_s
                else:
                    self._join()

    def _burden(self, load: CriticalLoad, sun: Infeed) -> frozenset[str]:
        """Find the island's level and frequency; what it can no longer carry, if anything."""
        spec, now_s, held = self.spec, self._now_s, self._timers.held
        self._level = self._island_level(load, sun)
        whole_va = self._whole_va(load, sun)
        over = abs(whole_va) > spec.rated_apparent_power_va or self._level < 1.0
        if self._level == 0.0 or held(OVERLOAD, now_s, spec.overload_s, is_true=over):
            # What it cannot take in is the sun's doing, not the load's.
            return frozenset({SURPLUS if whole_va.real < 0.0 else OVERLOAD})
        in_vain = self.mode is Mode.FORMING and self._shift(self._surplus(whole_va.real))
        return frozenset({SURPLUS} if held(SURPLUS, now_s, spec.overload_s, is_true=in_vain) else ())

    def _whole_va(self, load: CriticalLoad, sun: Infeed) -> complex:
        """P + jQ that it carries where it holds nominal voltage."""
        return carried_va(1.0, self.spec.nominal_voltage_v, self.island_hz, load, sun)

    def _surplus(self, carried_w: float) -> float:
        """Part of the rated apparent power that an island gives it beyond what battery and rating take."""
        least_w = max(self._range_w[0], -self.spec.rated_charge_power_w)
        return (least_w - carried_w) / self.spec.rated_apparent_power_va

    def _shift(self, surplus: float) -> bool:
        """Raise the island's frequency by a surplus that lasts, and lower it where there is room again.

        Returns:
            Whether the frequency is as high as it goes, and there is still a surplus.
        """
        spec, now_s, nominal_hz = self.spec, self._now_s, self.spec.nominal_frequency_hz
        highest_hz = nominal_hz + spec.most_shift_hz
        if now_s >= self._shift_s:
            shifted_hz = self.island_hz + spec.shift_hz_per_s * _SHIFT_S * surplus
            self.island_hz = min(max(shifted_hz, nominal_hz), highest_hz)
            self._shift_s = math.inf
        is_busy = surplus > _NO_SURPLUS or self.island_hz != nominal_hz
        if self._shift_s == math.inf and is_busy:
            self._shift_s = now_s + _SHIFT_S
        return surplus > _NO_SURPLUS and self.island_hz == highest_hz

    def _join(self) -> None:
        """Take the mains over with the power that the island had."""
        power_w, current_a = self._carried
        self.alarms = frozenset()
        self._enter_following(power_w)
        self.current_a = current_a

    def _enter_delay_s(self, delay_s: float) -> float:
        """Delay of the next entry, with what is drawn for it."""
        most_s = self.enter_service.random_delay_s
        if most_s == 0.0:
            return delay_s
        return delay_s + most_s * keyed.uniform(self._seed, "converter.enter_service", self._entries)

    def _enter_service(self) -> None:
        """Begin to follow from no power, along the ramp of enter service."""
        self._entries += 1
        self._enter_following(0.0)
        if self.enter_service.ramp_s > 0.0:
            self._entered_s = self._now_s + self.enter_service.ramp_s

    def _enter_forming(self) -> None:
        self.mode = Mode.FORMING
        self.island_hz = self.spec.nominal_frequency_hz
        self._shift_s = math.inf
        self.is_blocked = False
        self.current_a = 0j
        self._level = 1.0
        self._entered_s = -math.inf
        self._timers.clear()
        self.protection.clear(self._now_s)

    def _enter_following(self, power_w: float) -> None:
        self.mode = Mode.FOLLOWING
        self.is_blocked = False
        self._recovered_s = self._entered_s = -math.inf
        self._set_point.start(complex(power_w, 0.0))
        self._lag_a = 0j
        self._engage(self.grid_support)
        self._timers.clear()
        self.protection.clear(self._now_s)

    def _stop(self, mode: Mode) -> None:
        if mode is Mode.TRIPPED:
            self.tripped_s = self._now_s
        self.mode = mode
        self.is_blocked = False
        self.current_a = 0j
        self._set_point.start(0j)
        self._recovered_s = self._entered_s = -math.inf
        self._lag_a = 0j
        self._timers.clear()
        self.protection.clear(self._now_s)

    def _can_form(self) -> bool:
        return self.spec.islanding and self._has_dc and not self._is_bms_lost

    def _is_awake(self) -> bool:
        """Whether the power stage takes part in anything."""
        stopped = self.mode is Mode.OFF or self.mode is Mode.TRIPPED
        return self._has_dc and not self._is_dead and not stopped

    def _notice_dc(self, has_dc: bool) -> None:
        self._has_dc = has_dc
        if self.mode is Mode.OFF or has_dc:
            self.alarms -= {DC_LOST}
            return
        self.alarms |= {DC_LOST}
        self.current_a = 0j
        self._set_point.start(0j)

    def _notice_bms(self) -> None:
        lost = self._now_s >= self._bms_due_s
        if lost != self._is_bms_lost:
            self._is_bms_lost = lost
            self.alarms = self.alarms | {BMS_TIMEOUT} if lost else self.alarms - {BMS_TIMEOUT}

    def _is_good(self, mains: Mains) -> bool:
        spec = self.spec
        (low_pu, high_pu), (down_hz, up_hz) = self.enter_service.voltage_pu, self.enter_service.frequency_hz
        low_v, high_v = low_pu * spec.nominal_voltage_v, high_pu * spec.nominal_voltage_v
        return (
            mains.is_present
            and min(mains.voltage_v) >= low_v
            and max(mains.voltage_v) <= high_v
            and down_hz <= mains.frequency_hz - spec.nominal_frequency_hz <= up_hz
        )

    # References.

    def _retarget(self) -> None:
        """Bring set-points within the ratings, one of them first; zero where it must not run."""
        spec = self.spec
        if self._is_bms_lost or not self._has_dc or self.mode is not Mode.FOLLOWING:
            self._set_point.target = 0j
            return
        active_w = min(max(self.power_setpoint_w, -spec.rated_charge_power_w), spec.rated_power_w)
        reactive_var = self.reactive_power_setpoint_var if self.grid_support.reactive is None else 0.0
        self._set_point.target = within(
            self.grid_support, spec.rated_apparent_power_va, active_w, reactive_var
        )

    def _ramp(self) -> complex:
        spec = self.spec
        if self._is_bms_lost:
            return complex(spec.fast_ramp_w_per_s, spec.fast_ramp_w_per_s)
        return complex(spec.ramp_w_per_s, spec.ramp_var_per_s)

    def _is_still(self) -> bool:
        return (
            self._set_point.is_still
            and self._now_s >= self._recovered_s
            and self._now_s >= self._entered_s
            and (self._support is None or self._support.is_still)
        )

    def _reference_a(self, positive_v: complex) -> complex:
        """Current that the control asks for at a bus voltage."""
        volts = abs(positive_v)
        # Below 1 % there is nothing to lock to.
        if self.is_blocked or self._is_dead or not self._has_dc or volts < 0.01 * self.spec.nominal_voltage_v:
            return 0j
        spec, now_s = self.spec, self._now_s
        wanted = self._set_point.response
        if self._support is not None and not self._is_bms_lost:
            wanted = self._support.wanted_va(wanted)
        if now_s < self._recovered_s:
            limit_pu = spec.current_limit_pu - (self._recovered_s - now_s) / self._recovery_s
            most_w = limit_pu * self._rated_a * 3.0 * volts
            wanted = complex(min(max(wanted.real, -most_w), most_w), wanted.imag)
        low_w, high_w = self._range_w
        if now_s < self._entered_s:
            share = 1.0 - (self._entered_s - now_s) / self.enter_service.ramp_s
            wanted = complex(
                min(max(wanted.real, -share * spec.rated_charge_power_w), share * spec.rated_power_w),
                wanted.imag,
            )
        active_w = min(max(wanted.real, low_w), high_w)
        self._active_w, self._wanted_w = active_w, wanted.real
        self._is_throttled = abs(active_w - wanted.real) > 1.0
        current_a = (complex(active_w, wanted.imag) / (3.0 * positive_v)).conjugate()
        if spec.anti_islanding is not None:
            current_a *= cmath.exp(1j * spec.anti_islanding.lead_rad(self.grid_hz))
        limit_a = spec.current_limit_pu * self._rated_a
        if abs(current_a) > limit_a:
            along_u = positive_v / volts
            current_a = in_circle(current_a / along_u, limit_a, self.grid_support.priority) * along_u
        return current_a

    def _battery_range_w(self, string: Battery, duration_s: float) -> tuple[float, float]:
        """AC power that DC current limits, the heard charge voltage and the least DC voltage leave."""
        a, b, _, _ = string.source(duration_s, is_charging=False)
        most_a = max(self._most_a(string, duration_s) + self._lead_a, 0.0)
        high_w = self._losses.ac_power_w(most_a * (a - b * most_a))
        if high_w < 0.0:
            # What it is not allowed to discharge it still loses; what the battery cannot give, the mains do.
            room_a = self._room_a(a, b)
            high_w = min(max(high_w, self._losses.ac_power_w(room_a * (a - b * room_a))), 0.0)
        a, b, _, _ = string.source(duration_s, is_charging=True)
        least_a = max(self._most_charge_a(string, duration_s) + self._lead_a, 0.0)
        low_w = min(self._losses.ac_power_w(-least_a * (a + b * least_a)), 0.0)
        return low_w, high_w

    def _most_a(self, string: Battery, duration_s: float) -> float:
        """Largest mean discharge current of a coming step."""
        spec = self.spec
        a, b, _, _ = string.source(duration_s, is_charging=False)
        return min(self._heard.discharge_a, spec.maximum_dc_current_a, self._room_a(a, b))

    def _room_a(self, a: float, b: float) -> float:
        """Largest mean discharge current that the voltage of a battery leaves, which gives U = a - b I."""
        # The mean voltage of a step is held, so that steps of any length leave the same charge.
        room_a = (a - self.spec.minimum_dc_voltage_v) / b
        # Beyond a / 2b more current means less power.
        return max(min(room_a, 0.5 * a / b), 0.0)

    def _most_charge_a(self, string: Battery, duration_s: float) -> float:
        """Largest mean charge current of a coming step, a positive number."""
        a, b, _, _ = string.source(duration_s, is_charging=True)
        room_a = (self._heard.charge_v - a) / b
        return max(min(self._heard.charge_a, self.spec.maximum_dc_current_a, room_a), 0.0)

    def _island_level(self, load: CriticalLoad, sun: Infeed) -> float:
        """Part of nominal voltage that current limit and battery leave; 0 where it collapses."""
        spec = self.spec
        return highest_level(
            spec.nominal_voltage_v,
            self.island_hz,
            load,
            sun,
            most_a=spec.current_limit_pu * self._rated_a,
            most_w=max(self._range_w[1], 0.0),
        )
