"""A bidirectional converter (PCS) with an internal transfer switch: grid following and grid forming.

Following, it injects a balanced positive-sequence current:

    set-point -> ramp (W/s) -> first order with Tr = 2.303 tau (IEEE 1547-2018: 90 % of a step at Tr)
    i_ref = conj(P + jQ) / (3 conj(U1)), cut to the current limit and to what the battery may give or take
    di/dt = (i_ref - i) / tau_i       current control and phase lock together, in the frame of the source

so that power falls with the voltage where the current limit binds (P = I_max U). Loss = p0 + k1 |P| + k2 P²
and the DC side carries P + loss. Forming, it holds nominal voltage and frequency and carries the load; beyond
its current or the battery's limit the voltage droops. Every timer and mode change is an exact event.

Not modelled: harmonics, negative and zero sequence current, delay of magnitude and frequency detection (an
RMS of one cycle is taken as the phasor's magnitude), volt-var, volt-watt and frequency-watt functions, active
island detection, DC link dynamics, a droop of frequency in an island.
"""

from __future__ import annotations

import math
from enum import Enum
from itertools import chain
from typing import NamedTuple

from harness.plant.load import CriticalLoad
from harness.plant.network import DEAD, Flow, Triple
from harness.plant.rack import Battery
from harness.plant.spec import ConverterSpec, RideBand, RideMode
from harness.plant.timers import Timers
from harness.roles import OperatingState

BMS_TIMEOUT = "bms_timeout"
DC_LOST = "dc_lost"
OVERLOAD = "overload"

_HELD = 2e-5
"""By how much of its largest DC current a settled converter may be off the battery's limit."""

_BLOCKING = frozenset({RideMode.MOMENTARY_CESSATION, RideMode.CEASE})


class Mode(Enum):
    """What the converter is about."""

    OFF = "off"
    STARTING = "starting"
    FOLLOWING = "following"
    FORMING = "forming"
    SYNCHRONISING = "synchronising"
    TRIPPED = "tripped"


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
        touched: whether a command awaits ``settle``.
    """

    def __init__(self, spec: ConverterSpec, ambient_degc: float) -> None:
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
        self.dc_voltage_v = 0.0
        self.dc_current_a = 0.0
        self.dc_power_w = 0.0
        self.flow: Flow = DEAD
        self.touched = False
        self._ambient_degc = ambient_degc
        self._now_s = 0.0
        self._is_dead = False
        self._timers = Timers()
        self._has_dc = False
        timeout_s = math.inf if spec.bms_timeout_s is None else spec.bms_timeout_s
        self._bms_timeout_s = timeout_s
        self._bms_due_s = timeout_s if spec.starts_on else math.inf
        self._heard_charge_a = spec.maximum_dc_current_a
        self._heard_discharge_a = spec.maximum_dc_current_a
        self._heard_charge_v = math.inf
        self._is_bms_lost = False
        self._target = 0j
        self._ramped = 0j
        self._response = 0j
        self._level = 1.0
        self._is_throttled = False
        self._recovery_s = 0.0
        self._recovered_s = -math.inf
        self._synchronised_s = math.inf
        self._range_w = (-math.inf, math.inf)
        self._active_w = 0.0
        self._lead_a = 0.0
        self._held_a = _HELD * spec.maximum_dc_current_a
        self._rated_a = spec.rated_apparent_power_va / (3.0 * spec.nominal_voltage_v)
        self._cooling = (0.0, 1.0)
        self._tau_s = spec.response_s / math.log(10.0)
        self._was_quiet = False
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
        self._heard_charge_a = max(charge_current_limit_a, 0.0)
        self._heard_discharge_a = max(discharge_current_limit_a, 0.0)
        self._heard_charge_v = charge_voltage_limit_v

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
    def is_grid_forming(self) -> bool:
        """Whether it forms the voltage of an island."""
        return self.mode is Mode.FORMING or self.mode is Mode.SYNCHRONISING

    @property
    def is_connected(self) -> bool:
        """Whether the transfer switch joins load and converter to the mains."""
        return self.mode is not Mode.FORMING and self.mode is not Mode.SYNCHRONISING

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
        due_s = self._timers.next_due_s
        if self.mode is Mode.SYNCHRONISING:
            due_s = min(due_s, self._synchronised_s)
        now_s = self._now_s
        if now_s < self._bms_due_s < due_s:
            due_s = self._bms_due_s
        if now_s < self._recovered_s < due_s:
            due_s = self._recovered_s
        if self._target == self._ramped:
            return due_s
        ramp = self._ramp()
        for target, now, rate in (
            (self._target.real, self._ramped.real, ramp.real),
            (self._target.imag, self._ramped.imag, ramp.imag),
        ):
            if target != now:
                arrival_s = self._now_s + abs(target - now) / rate
                if arrival_s > self._now_s:
                    due_s = min(due_s, arrival_s)
        return due_s

    @property
    def step_hint_s(self) -> float:
        """Longest step that follows what its current is doing; infinite when settled."""
        if self.mode is not Mode.FOLLOWING:
            return math.inf
        reference_a = self._reference_a(self.flow.positive_v)
        if abs(reference_a - self.current_a) > 0.01 * self._rated_a:
            return self.spec.current_time_constant_s / 5.0
        if not self._is_still():
            # The response itself is exact in any step; finer than a millisecond nobody looks.
            return min(max(self._tau_s / 10.0, 0.001), self.spec.current_time_constant_s)
        return math.inf

    @property
    def is_standing(self) -> bool:
        """Whether its current is settled, or it forms an island: only an event moves the AC side then."""
        if self.mode is Mode.FORMING:
            return True
        if self.mode is Mode.SYNCHRONISING or not self._is_still():
            return False
        gap_a = self._reference_a(self.flow.positive_v) - self.current_a
        return self.mode is not Mode.FOLLOWING or abs(gap_a) < 1e-7 * self._rated_a

    @property
    def formed_v(self) -> float:
        """Line-to-neutral voltage that it forms."""
        if self._is_dead or not self._has_dc:
            return 0.0
        return self._level * self.spec.nominal_voltage_v

    def loss_w(self, power_w: float) -> float:
        """Loss at an active power; none unless it is on with a live DC side."""
        if not self._is_awake():
            return 0.0
        spec = self.spec
        return spec.loss_idle_w + spec.loss_linear * abs(power_w) + spec.loss_square_per_w * power_w**2

    def turn_frame(self, turns: float) -> None:
        """Keep the current where it is in space while the frame of the source jumps."""
        if turns and self.is_connected:
            self.current_a *= complex(math.cos(2 * math.pi * turns), -math.sin(2 * math.pi * turns))

    def settle(self, mains: Mains, dc_voltage_v: float, load: CriticalLoad) -> None:
        """Judge the present instant: protections, modes and timers."""
        self.touched = False
        self.grid_hz = mains.frequency_hz
        self.dc_voltage_v = dc_voltage_v
        self._notice_dc(dc_voltage_v > 0.0)
        self._notice_bms()
        if self.mode is Mode.FOLLOWING:
            self._follow(mains)
            self._retarget()
            return
        good = self._is_good(mains)
        if self.mode is Mode.STARTING:
            self._start(good=good, mains=mains)
        elif self.mode is Mode.TRIPPED:
            ready = good and self._has_dc and not self._is_bms_lost
            if self._timers.held("return", self._now_s, self.spec.return_delay_s, is_true=ready):
                self.alarms = frozenset()
                self._enter_following(0.0)
        elif self.mode is not Mode.OFF:
            self._form(mains, load, good=good)
        self._retarget()

    def prepare(self, string: Battery, duration_s: float, load: CriticalLoad) -> None:
        """Find what the battery may give and take in a coming step, and what the island's voltage will be."""
        if not self._is_awake():
            return
        self._range_w = self._battery_range_w(string, duration_s)
        self._lead_a = 0.0
        if self.is_grid_forming:
            self._level = self._island_level(load)

    def allows(self, string: Battery, current_a: float, duration_s: float) -> bool:
        """Whether the battery's limits in a coming step leave the mean current that stands.

        A power that they cut follows them once it is off by ``_HELD``, and then as far ahead of them.
        """
        is_forming = self.mode is Mode.FORMING
        wanted_w = 1.0 if is_forming else self._response.real
        if wanted_w == 0.0 or not self._is_awake():
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
        self._move_reference(duration_s)
        self._now_s = to_s
        if self.mode is not Mode.FOLLOWING:
            self.current_a = 0j
            return True
        reference_a = self._reference_a(positive_v)
        gap_a = reference_a - self.current_a
        if abs(gap_a) < 1e-9 * self._rated_a:
            return True
        tau_s = self.spec.current_time_constant_s
        if duration_s > 10.0 * tau_s and abs(gap_a) < 0.02 * self._rated_a:
            self.current_a = reference_a
            return True
        self.current_a += gap_a * -math.expm1(-duration_s / tau_s)
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
        spec = self.spec
        ride = spec.ride_through
        inner = chain(ride.under_voltage, ride.over_voltage)
        edges = chain.from_iterable((band.low_pu, band.high_pu) for band in ride.bands)
        below = () if spec.transfer_below_pu is None else (spec.transfer_below_pu,)
        levels = chain((trip.threshold_pu for trip in inner), edges, spec.enter_voltage_pu, below)
        self.voltage_levels_v = tuple(sorted({level * spec.nominal_voltage_v for level in levels}))
        trips = chain(ride.under_frequency, ride.over_frequency)
        blocking = [band for band in ride.bands if band.mode in _BLOCKING]
        # Within these no protection runs and no band blocks.
        self._quiet_pu = (
            max(
                *(trip.threshold_pu for trip in ride.under_voltage),
                *(band.high_pu for band in blocking if band.high_pu < 1.0),
                *below,
                0.0,
                0.0,
            ),
            min(
                *(trip.threshold_pu for trip in ride.over_voltage),
                # A band begins at its lower edge: stay a hair below.
                *(band.low_pu * (1.0 - 1e-12) for band in blocking if band.low_pu > 1.0),
                math.inf,
                math.inf,
            ),
        )
        self._quiet_hz = (
            max(*(trip.threshold_hz for trip in ride.under_frequency), 0.0, 0.0),
            min(*(trip.threshold_hz for trip in ride.over_frequency), math.inf, math.inf),
        )
        entry = (spec.nominal_frequency_hz + offset for offset in spec.enter_frequency_hz)
        self.frequency_levels_hz = tuple(sorted({*(trip.threshold_hz for trip in trips), *entry}))

    # Modes.

    def _start(self, *, good: bool, mains: Mains) -> None:
        delay_s = self.spec.start_delay_s
        ready = self._has_dc and not self._is_bms_lost
        if self._timers.held("start", self._now_s, delay_s, is_true=good and ready):
            self._enter_following(0.0)
            return
        alone = ready and self.spec.islanding and not mains.is_present
        if self._timers.held("black start", self._now_s, delay_s, is_true=alone):
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
        (low_pu, high_pu), (low_hz, high_hz) = self._quiet_pu, self._quiet_hz
        is_quiet = low_pu <= lowest and highest <= high_pu and low_hz <= mains.frequency_hz <= high_hz
        if is_quiet and self._was_quiet and not lost:
            return
        self._was_quiet = is_quiet
        if self._timers.held("lost", now_s, spec.transfer_gap_s, is_true=lost and self._can_form()):
            self._enter_forming()
            return
        if spec.transfer_below_pu is not None:
            low = lowest < spec.transfer_below_pu and self._can_form()
            if self._timers.held("sag", now_s, spec.transfer_after_s, is_true=low):
                self._enter_forming()
                return
        tripped = self._trips(lowest, highest, mains.frequency_hz)
        if tripped:
            self.alarms |= tripped
            if self._can_form():
                self._enter_forming()
            else:
                self._stop(Mode.TRIPPED)
            return
        self._ride(lowest, highest)

    def _trips(self, lowest_pu: float, highest_pu: float, frequency_hz: float) -> frozenset[str]:
        """Names of the protections that are due."""
        ride, held, now_s = self.spec.ride_through, self._timers.held, self._now_s
        due = [
            trip.name
            for trip in ride.under_voltage
            if held(trip.name, now_s, trip.clearing_s, is_true=lowest_pu < trip.threshold_pu)
        ]
        due += [
            trip.name
            for trip in ride.over_voltage
            if held(trip.name, now_s, trip.clearing_s, is_true=highest_pu > trip.threshold_pu)
        ]
        due += [
            trip.name
            for trip in ride.under_frequency
            if held(trip.name, now_s, trip.clearing_s, is_true=frequency_hz < trip.threshold_hz)
        ]
        due += [
            trip.name
            for trip in ride.over_frequency
            if held(trip.name, now_s, trip.clearing_s, is_true=frequency_hz > trip.threshold_hz)
        ]
        return frozenset(due)

    def _ride(self, lowest_pu: float, highest_pu: float) -> None:
        """Block the gates in bands that ask for it, and come back along their recovery."""
        blocking: RideBand | None = None
        for band in self.spec.ride_through.bands:
            inside = band.low_pu <= lowest_pu < band.high_pu or band.low_pu <= highest_pu < band.high_pu
            if inside and band.mode in _BLOCKING:
                blocking = band
                break
        response_s = blocking.response_s if blocking else 0.0
        held = self._timers.held("block", self._now_s, response_s, is_true=blocking is not None)
        if held and blocking:
            self.is_blocked = True
            self.current_a = 0j
            self._recovery_s = blocking.recovery_s
        elif self.is_blocked and blocking is None:
            self.is_blocked = False
            self._recovered_s = self._now_s + self._recovery_s

    def _form(self, mains: Mains, load: CriticalLoad, *, good: bool) -> None:
        spec, now_s = self.spec, self._now_s
        if not self._can_form():
            self._stop(Mode.TRIPPED)
            return
        self._level = self._island_level(load)
        over = abs(load.demand_va) > spec.rated_apparent_power_va or self._level < 1.0
        if self._timers.held(OVERLOAD, now_s, spec.overload_s, is_true=over):
            self.alarms |= {OVERLOAD}
            self._stop(Mode.TRIPPED)
            return
        returned = self._timers.held("return", now_s, spec.return_delay_s, is_true=good)
        if self.mode is Mode.FORMING and returned:
            self.mode = Mode.SYNCHRONISING
            self.island_hz = mains.frequency_hz + mains.ahead_turns / spec.synchronise_s
            self._synchronised_s = now_s + spec.synchronise_s
        elif self.mode is Mode.SYNCHRONISING and not good:
            self._enter_forming()
        elif self.mode is Mode.SYNCHRONISING and now_s >= self._synchronised_s:
            # A hundredth of a turn is 3.6 degrees; a mains frequency that moved meanwhile needs another slip.
            if abs(mains.ahead_turns) > 0.01:
                self.mode = Mode.FORMING
            else:
                self.alarms = frozenset()
                self._enter_following(self.flow.power_va.real)
                self.current_a = self.flow.pcs_a[0]

    def _enter_forming(self) -> None:
        self.mode = Mode.FORMING
        self.island_hz = self.spec.nominal_frequency_hz
        self.is_blocked = False
        self.current_a = 0j
        self._level = 1.0
        self._timers.clear()

    def _enter_following(self, power_w: float) -> None:
        self.mode = Mode.FOLLOWING
        self.is_blocked = False
        self._recovered_s = -math.inf
        self._ramped = self._response = complex(power_w, 0.0)
        self._timers.clear()
        self._was_quiet = False

    def _stop(self, mode: Mode) -> None:
        self.mode = mode
        self.is_blocked = False
        self.current_a = 0j
        self._ramped = self._response = 0j
        self._recovered_s = -math.inf
        self._timers.clear()

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
        self.current_a = self._ramped = self._response = 0j

    def _notice_bms(self) -> None:
        lost = self._now_s >= self._bms_due_s
        if lost != self._is_bms_lost:
            self._is_bms_lost = lost
            self.alarms = self.alarms | {BMS_TIMEOUT} if lost else self.alarms - {BMS_TIMEOUT}

    def _is_good(self, mains: Mains) -> bool:
        spec = self.spec
        (low_pu, high_pu), (down_hz, up_hz) = spec.enter_voltage_pu, spec.enter_frequency_hz
        low_v, high_v = low_pu * spec.nominal_voltage_v, high_pu * spec.nominal_voltage_v
        return (
            mains.is_present
            and min(mains.voltage_v) >= low_v
            and max(mains.voltage_v) <= high_v
            and down_hz <= mains.frequency_hz - spec.nominal_frequency_hz <= up_hz
        )

    # References.

    def _retarget(self) -> None:
        """Bring set-points within the ratings, active power first; zero where it must not run."""
        spec = self.spec
        if self._is_bms_lost or not self._has_dc or self.mode is not Mode.FOLLOWING:
            self._target = 0j
            return
        active_w = min(max(self.power_setpoint_w, -spec.rated_charge_power_w), spec.rated_power_w)
        room_var = math.sqrt(max(spec.rated_apparent_power_va**2 - active_w**2, 0.0))
        self._target = complex(active_w, min(max(self.reactive_power_setpoint_var, -room_var), room_var))

    def _ramp(self) -> complex:
        spec = self.spec
        if self._is_bms_lost:
            return complex(spec.fast_ramp_w_per_s, spec.fast_ramp_w_per_s)
        return complex(spec.ramp_w_per_s, spec.ramp_var_per_s)

    def _is_still(self) -> bool:
        return self._ramped == self._response == self._target and self._now_s >= self._recovered_s

    def _move_reference(self, duration_s: float) -> None:
        """Run ramp and first-order response; exact while the ramp is linear."""
        if self.mode is not Mode.FOLLOWING:
            return
        target, before = self._target, self._ramped
        if self._response == before == target:
            return
        ramp = self._ramp()
        self._ramped = after = complex(
            _towards(before.real, target.real, ramp.real * duration_s),
            _towards(before.imag, target.imag, ramp.imag * duration_s),
        )
        lag = (after - before) * (self._tau_s / duration_s)
        decay = math.exp(-duration_s / self._tau_s)
        self._response = after - lag + (self._response - before + lag) * decay
        # A ten-thousandth of the rating: two orders below what any instrument of the rig resolves.
        if after == target and abs(self._response - after) < 1e-4 * self.spec.rated_apparent_power_va:
            self._response = after

    def _reference_a(self, positive_v: complex) -> complex:
        """Current that the control asks for at a bus voltage."""
        volts = abs(positive_v)
        # Below 1 % there is nothing to lock to.
        if self.is_blocked or self._is_dead or not self._has_dc or volts < 0.01 * self.spec.nominal_voltage_v:
            return 0j
        factor = 1.0
        if self._now_s < self._recovered_s:
            factor = 1.0 - min((self._recovered_s - self._now_s) / self._recovery_s, 1.0)
        wanted = self._response * factor
        low_w, high_w = self._range_w
        active_w = min(max(wanted.real, low_w), high_w)
        self._active_w = active_w
        self._is_throttled = abs(active_w - wanted.real) > 1.0
        power = complex(active_w, wanted.imag)
        current_a = (power / (3.0 * positive_v)).conjugate()
        limit_a = self.spec.current_limit_pu * self._rated_a
        size_a = abs(current_a)
        return current_a * (limit_a / size_a) if size_a > limit_a else current_a

    def _battery_range_w(self, string: Battery, duration_s: float) -> tuple[float, float]:
        """AC power that DC current limits, the heard charge voltage and the least DC voltage leave."""
        a, b, _, _ = string.source(duration_s, is_charging=False)
        most_a = max(self._most_a(string, duration_s) + self._lead_a, 0.0)
        high_w = max(self._ac_power_w(most_a * (a - b * most_a)), 0.0)
        a, b, _, _ = string.source(duration_s, is_charging=True)
        least_a = max(self._most_charge_a(string, duration_s) + self._lead_a, 0.0)
        low_w = min(self._ac_power_w(-least_a * (a + b * least_a)), 0.0)
        return low_w, high_w

    def _most_a(self, string: Battery, duration_s: float) -> float:
        """Largest mean discharge current of a coming step."""
        spec = self.spec
        a, b, end_a, end_b = string.source(duration_s, is_charging=False)
        room_a = (end_a - spec.minimum_dc_voltage_v) / end_b
        # Beyond a / 2b more current means less power.
        return max(min(self._heard_discharge_a, spec.maximum_dc_current_a, room_a, 0.5 * a / b), 0.0)

    def _most_charge_a(self, string: Battery, duration_s: float) -> float:
        """Largest mean charge current of a coming step, a positive number."""
        _, _, end_a, end_b = string.source(duration_s, is_charging=True)
        room_a = (self._heard_charge_v - end_a) / end_b
        return max(min(self._heard_charge_a, self.spec.maximum_dc_current_a, room_a), 0.0)

    def _ac_power_w(self, dc_power_w: float) -> float:
        """AC power at a DC power: the inverse of P + loss(P)."""
        spec = self.spec
        rest_w = dc_power_w - spec.loss_idle_w
        slope = 1.0 + math.copysign(spec.loss_linear, rest_w)
        square = slope * slope + 4.0 * spec.loss_square_per_w * rest_w
        return 2.0 * rest_w / (slope + math.sqrt(max(square, 0.0)))

    def _island_level(self, load: CriticalLoad) -> float:
        """Part of nominal voltage at which a constant impedance stays within current limit and battery."""
        demand_va = load.demand_va
        power_w = demand_va.real
        if not demand_va:
            return 1.0
        spec = self.spec
        current_room = spec.current_limit_pu * spec.rated_apparent_power_va / abs(demand_va)
        battery_room = math.sqrt(max(self._range_w[1], 0.0) / power_w) if power_w > 0.0 else 1.0
        return min(1.0, current_room, battery_room)


def _towards(value: float, target: float, most: float) -> float:
    """Move towards a target by no more than so much; arrives exactly."""
    gap = target - value
    # An ulp of slack: a step that was cut at the time of arrival arrives.
    return target if abs(gap) <= most * (1.0 + 1e-9) else value + math.copysign(most, gap)
