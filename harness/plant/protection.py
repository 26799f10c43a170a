"""The relays of a converter: what they measure, how late they see it, and when they trip.

Voltage relays compare the mean of each phase's magnitude over a window, frequency relays the mean of the
frequency; the crossing is found exactly, and the timer counts from it. After a step from a to b a mean of
window W crosses a level c at W (a - c) / (a - b), half the window where the step lies evenly about the level,
as IEEE 1547.1-2020, 5.4 and 5.5 step. The intentional delay is set by that much shorter than the clearing
time (ours), so that

    trip time = clearing time + W ((a - c) / (a - b) - 1/2)

lies within half a window of the clearing time, and is exact without windows.

Not modelled: noise and harmonics in what is measured, opening time of the switch apart from the clearing
time, jumps that lie in the angles of phases (``GridStep.angle_deg``): relays see those of the whole source,
by a step's ``phase_jump_deg``, a transfer or a reclosing.
"""

from __future__ import annotations

import math
from itertools import chain

from harness.plant.moving_mean import MovingMean
from harness.plant.network import Triple
from harness.plant.ride_through import FrequencyTrip, RideThrough, TripStep
from harness.plant.timers import Timers

SAME_PU, SAME_HZ = 1e-3, 1e-3
"""Drift below which a mean counts as settled: a tenth of the accuracies of IEEE 1547-2018, table 3.

A relay whose mean crosses its level by such a drift is found at the next step, and counts from the crossing.
"""

MAY_TRIP = "may_trip"
PHASE_JUMP = "phase_jump"

_NONE: frozenset[str] = frozenset()


class Protection:
    """Trips by voltage, frequency, its rate, its angle, and by permission."""

    def __init__(self, spec: RideThrough, nominal_v: float) -> None:
        self.spec = spec
        self._nominal_v = nominal_v
        self._timers = Timers()
        rocof_s = spec.rocof.window_s if spec.rocof else 0.0
        kept_s = max(spec.frequency_window_s, 2.0 * rocof_s)
        window_s = spec.voltage_window_s
        self._volts = tuple(MovingMean(window_s, SAME_PU) for _ in range(3)) if window_s else ()
        self._hertz = MovingMean(kept_s, SAME_HZ) if kept_s else None
        # A crossing is found within its step, so steps need only be shorter than any delay behind it; the
        # rate of change is looked at where steps end.
        fine = (0.5 * window_s, 0.5 * spec.frequency_window_s, rocof_s / 8.0)
        self._fine_s = min((step_s for step_s in fine if step_s), default=math.inf)
        self._looked_s = 0.0
        self._was_quiet = False
        self._left_s = math.inf
        self._may_trip_s = math.inf
        self._lost_s = math.inf
        self._note_quiet()

    @property
    def measures(self) -> bool:
        """Whether any relay looks at more than the instant."""
        return self._fine_s < math.inf

    @property
    def next_event_s(self) -> float:
        """Next instant at which a relay is due."""
        return min(self._timers.next_due_s, self._may_trip_s, self._lost_s)

    def settled_s(self) -> float:
        """When the last change leaves the last window."""
        settled_s = self._volts[0].settled_s if self._volts else 0.0
        for mean in self._volts[1:]:
            settled_s = max(settled_s, mean.settled_s)
        return max(settled_s, self._hertz.settled_s) if self._hertz else settled_s

    def step_hint_s(self, now_s: float) -> float:
        """Longest step while means move; infinite once they stand."""
        if self._fine_s == math.inf or self.settled_s() <= now_s:
            return math.inf
        return self._fine_s

    def watch(
        self, start_s: float, end_s: float, volts: tuple[Triple, Triple], hertz: tuple[float, float]
    ) -> None:
        """Take a stretch in which magnitudes and frequency run linearly, from the first to the second."""
        (before_v, after_v), (before_hz, after_hz) = volts, hertz
        for mean, before, after in zip(self._volts, before_v, after_v, strict=False):
            mean.run(start_s, end_s, before / self._nominal_v, after / self._nominal_v)
        if self._hertz is not None:
            self._hertz.run(start_s, end_s, before_hz, after_hz)

    def meet(self, now_s: float, voltage_v: Triple, frequency_hz: float) -> None:
        """Take what magnitudes and frequency are at an instant, which may be the other side of a step."""
        for mean, volts in zip(self._volts, voltage_v, strict=False):
            mean.meet(now_s, volts / self._nominal_v)
        if self._hertz is not None:
            self._hertz.meet(now_s, frequency_hz)

    def jump(self, now_s: float, turns: float) -> None:
        """Take a jump of the angle: frequency relays read it as a frequency for a window."""
        limit_deg = self.spec.phase_jump_trip_deg
        if limit_deg is not None and abs(turns) * 360.0 > limit_deg:
            self._lost_s = now_s + self.spec.frequency_window_s
        if self._hertz is not None:
            self._hertz.jump(now_s, turns)

    def frequency_hz(self, now_s: float, frequency_hz: float) -> float:
        """Frequency as it is measured."""
        window_s = self.spec.frequency_window_s
        if self._hertz is None or not window_s or not self._hertz.has_past:
            return frequency_hz
        return self._hertz.mean(now_s, window_s)

    def rocof_hz_per_s(self, now_s: float) -> float:
        """Rate of change of the frequency as its relay measures it; zero without a relay."""
        rocof = self.spec.rocof
        if rocof is None or self._hertz is None or self._hertz.settled_s <= now_s:
            return 0.0
        window_s = rocof.window_s
        late, early = self._hertz.mean(now_s, window_s), self._hertz.mean(now_s - window_s, window_s)
        return (late - early) / window_s

    def clear(self, now_s: float) -> None:
        """Forget what runs, where the converter leaves or joins the mains."""
        self._timers.clear()
        self._looked_s = now_s
        self._was_quiet = False
        self._left_s = self._may_trip_s = self._lost_s = math.inf

    def is_quiet(self, now_s: float, lowest_pu: float, highest_pu: float, frequency_hz: float) -> bool:
        """Whether nothing can be due: all stands within all levels, and did so when last asked."""
        (low_pu, high_pu), (low_hz, high_hz) = self._quiet_pu, self._quiet_hz
        inside = low_pu <= lowest_pu and highest_pu <= high_pu and low_hz <= frequency_hz <= high_hz
        is_quiet = inside and self._lost_s == math.inf
        if is_quiet and self._fine_s != math.inf:
            is_quiet = self.settled_s() <= now_s
        self._looked_s = now_s if is_quiet else self._looked_s
        was_quiet, self._was_quiet = self._was_quiet, is_quiet
        return is_quiet and was_quiet

    def due(self, now_s: float, voltage_v: Triple, frequency_hz: float) -> frozenset[str]:
        """Names of the relays that are due."""
        spec, since_s = self.spec, self._looked_s
        self._looked_s = now_s
        volts = tuple(volt / self._nominal_v for volt in voltage_v)
        due = self._voltage_due(now_s, since_s, volts) + self._frequency_due(now_s, since_s, frequency_hz)
        rocof = spec.rocof
        if rocof is not None:
            is_beyond = abs(self.rocof_hz_per_s(now_s)) > rocof.threshold_hz_per_s
            if self._timers.held(rocof.name, now_s, rocof.hold_s, is_true=is_beyond):
                due.append(rocof.name)
        if now_s >= self._lost_s:
            due.append(PHASE_JUMP)
        if spec.trips_when_permitted and self._is_permitted(now_s, min(volts), max(volts)):
            due.append(MAY_TRIP)
        return frozenset(due) if due else _NONE

    def _voltage_due(self, now_s: float, since_s: float, volts: tuple[float, ...]) -> list[str]:
        spec = self.spec
        window_s = spec.voltage_window_s
        measured = [mean.mean(now_s, window_s) for mean in self._volts] if self._volts else volts
        lowest, highest = min(measured), max(measured)
        due = []
        for trips, beyond, sign in (
            (spec.under_voltage, lowest, -1.0),
            (spec.over_voltage, highest, 1.0),
        ):
            for trip in trips:
                is_beyond = sign * (beyond - trip.threshold_pu) > 0.0
                began_s = None
                if is_beyond and self._volts and not self._timers.is_running(trip.name):
                    began_s = min(
                        mean.crossing_s(since_s, now_s, window_s, trip.threshold_pu)
                        for mean, now_pu in zip(self._volts, measured, strict=True)
                        if sign * (now_pu - trip.threshold_pu) > 0.0
                    )
                if self._held(trip, now_s, window_s, is_beyond, began_s):
                    due.append(trip.name)
        return due

    def _frequency_due(self, now_s: float, since_s: float, frequency_hz: float) -> list[str]:
        spec, hertz = self.spec, self._hertz
        window_s = spec.frequency_window_s
        measured = self.frequency_hz(now_s, frequency_hz)
        due = []
        for trips, sign in ((spec.under_frequency, -1.0), (spec.over_frequency, 1.0)):
            for trip in trips:
                is_beyond = sign * (measured - trip.threshold_hz) > 0.0
                began_s = None
                if is_beyond and window_s and hertz is not None and not self._timers.is_running(trip.name):
                    began_s = hertz.crossing_s(since_s, now_s, window_s, trip.threshold_hz)
                if self._held(trip, now_s, window_s, is_beyond, began_s):
                    due.append(trip.name)
        return due

    def _held(
        self,
        trip: TripStep | FrequencyTrip,
        now_s: float,
        window_s: float,
        is_beyond: bool,
        began_s: float | None,
    ) -> bool:
        delay_s = max(trip.clearing_s - 0.5 * window_s, 0.0)
        return self._timers.held(trip.name, now_s, delay_s, is_true=is_beyond, began_s=began_s)

    def _is_permitted(self, now_s: float, lowest_pu: float, highest_pu: float) -> bool:
        """Whether the duty of the band that the voltage lies in is over."""
        duties = self.spec.duties
        least = max((duty.high_pu for duty in duties if duty.high_pu < 1.0), default=0.0)
        most = min((duty.low_pu for duty in duties if duty.low_pu > 1.0), default=math.inf)
        if least <= lowest_pu and highest_pu <= most:
            self._left_s = self._may_trip_s = math.inf
            return False
        self._left_s = min(self._left_s, now_s)
        self._may_trip_s = min(
            (
                self._left_s + duty.ends_s(volts)
                for duty in duties
                for volts, is_in in (
                    (lowest_pu, duty.low_pu <= lowest_pu < duty.high_pu < 1.0),
                    (highest_pu, 1.0 < duty.low_pu < highest_pu <= duty.high_pu),
                )
                if is_in
            ),
            default=math.inf,
        )
        return now_s >= self._may_trip_s

    def _note_quiet(self) -> None:
        """Note the range in which nothing has to be judged."""
        ride = self.spec
        blocking = [band for band in ride.bands if band.does_block]
        duties = ride.duties if ride.trips_when_permitted else ()
        self._quiet_pu = (
            max(
                chain(
                    (trip.threshold_pu for trip in ride.under_voltage),
                    (band.high_pu for band in blocking if band.high_pu < 1.0),
                    (duty.high_pu for duty in duties if duty.high_pu < 1.0),
                ),
                default=0.0,
            ),
            min(
                chain(
                    (trip.threshold_pu for trip in ride.over_voltage),
                    # A band begins at its lower edge: stay a hair below.
                    (band.low_pu * (1.0 - 1e-12) for band in blocking if band.low_pu > 1.0),
                    (duty.low_pu for duty in duties if duty.low_pu > 1.0),
                ),
                default=math.inf,
            ),
        )
        self._quiet_hz = (
            max((trip.threshold_hz for trip in ride.under_frequency), default=0.0),
            min((trip.threshold_hz for trip in ride.over_frequency), default=math.inf),
        )
