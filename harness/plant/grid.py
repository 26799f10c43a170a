"""The AC source as three phasors and a frequency, piecewise linear in time with exact breakpoints.

Each phase has its voltage and an angle from its place in a symmetric system; magnitude, angle and frequency
run linearly between breakpoints, or jump. With a rise time the voltage runs at 0.8 nominal / rise time where
a jump or a faster ramp was asked for. Distortion is a list of harmonics behind the source impedance, in step
with each phase: order h of a phase whose fundamental stands at the angle a stands at h a + its own angle.
Beyond its current limit, or with more power flowing back than it can sink, for the delay of its protection,
the source opens its relay and stays off until it is closed again.

Not modelled: a current limit that lowers the voltage instead of tripping, slew of angle and frequency, output
impedance that depends on frequency beyond X = h X1, flicker, direct voltage.
"""

from __future__ import annotations

import cmath
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from harness.plant.network import SEQUENCE, Phasors, Triple
from harness.plant.spec import GridSpec
from harness.plant.timers import Timers
from harness.roles import GridStep

STRAIGHT: Triple = (0.0, 0.0, 0.0)
"""Angles of a symmetric system."""

OVER_CURRENT = "over_current"
CANNOT_SINK = "cannot_sink"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch in which voltages, angles and frequency run linearly."""

    start_s: float
    end_s: float
    from_v: Triple
    to_v: Triple
    from_hz: float
    to_hz: float
    jump_turns: float = 0.0
    from_deg: Triple = STRAIGHT
    to_deg: Triple = STRAIGHT

    @property
    def is_level(self) -> bool:
        return self.from_v == self.to_v and self.from_deg == self.to_deg

    def emf_v(self, time_s: float) -> Phasors:
        """Phasors behind the source impedance."""
        one, two, three = self.voltage_v(time_s)
        degrees = self.angle_deg(time_s)
        if degrees == STRAIGHT:
            return (one + 0j, two * SEQUENCE[1], three * SEQUENCE[2])
        lead1, lead2, lead3 = (cmath.rect(1.0, math.radians(angle)) for angle in degrees)
        return (one * lead1, two * SEQUENCE[1] * lead2, three * SEQUENCE[2] * lead3)

    def voltage_v(self, time_s: float) -> Triple:
        if self._has_arrived(time_s) or self.from_v == self.to_v:
            return self.to_v
        return _between(self.from_v, self.to_v, self._part(time_s))

    def angle_deg(self, time_s: float) -> Triple:
        if self._has_arrived(time_s) or self.from_deg == self.to_deg:
            return self.to_deg
        return _between(self.from_deg, self.to_deg, self._part(time_s))

    def frequency_hz(self, time_s: float) -> float:
        if self._has_arrived(time_s) or self.from_hz == self.to_hz:
            return self.to_hz
        return self.from_hz + self._part(time_s) * (self.to_hz - self.from_hz)

    def _has_arrived(self, time_s: float) -> bool:
        """Whether it stands at its end: exactly there, not a rounding beside it; so does one of no length."""
        return time_s >= self.end_s

    def _part(self, time_s: float) -> float:
        return (time_s - self.start_s) / (self.end_s - self.start_s)


class Grid:
    """The source behind its output relay.

    Attributes:
        turns: angle of phase 1's place since time zero, in whole turns; phase jumps included.
        emf_v: line-to-neutral phasors behind the source impedance, in the frame of ``turns``.
        terminal_v: line-to-neutral voltages at the output, zero with the relay open and nothing alive behind.
        is_steady: whether voltages, angles and frequency stand until ``next_event_s``.
        is_playing: whether a profile runs.
        tripped: protection that has opened the relay: ``over_current`` or ``cannot_sink``; else empty.
        is_enabled: whether its enable contact is closed; without it the relay does not close.
        touched: whether a command awaits ``settle``.
    """

    def __init__(self, spec: GridSpec) -> None:
        self.spec = spec
        self.impedance_ohm = complex(spec.source_resistance_ohm, spec.source_reactance_ohm)
        self.turns = spec.angle_deg / 360.0
        self.is_relay_closed = spec.starts_closed
        self.is_enabled = True
        self.tripped = ""
        self._now_s = 0.0
        volts = spec.nominal_voltage_v
        self._steady_v: Triple = (volts, volts, volts)
        self._steady_hz = spec.frequency_hz
        self._queue: deque[_Piece] = deque()
        self._piece = self._steady()
        self.is_steady = True
        self.is_playing = False
        self.touched = False
        self.emf_v = self._piece.emf_v(0.0)
        self.terminal_v: Triple = self._steady_v if self.is_relay_closed else (0.0, 0.0, 0.0)
        self._timers = Timers()
        self._slew_v_per_s = 0.8 * volts / spec.rise_time_s if spec.rise_time_s > 0.0 else math.inf
        self.is_protected = spec.current_limit_a is not None or spec.sink_power_w is not None

    @property
    def nominal_voltage_v(self) -> float:
        """Line to neutral."""
        return self.spec.nominal_voltage_v

    @property
    def nominal_hz(self) -> float:
        """Its steady frequency at time zero."""
        return self.spec.frequency_hz

    @property
    def is_live(self) -> bool:
        """Whether something stands behind its terminals."""
        return self.is_relay_closed

    @property
    def frequency_hz(self) -> float:
        """Frequency at this instant."""
        return self._piece.frequency_hz(self._now_s)

    @property
    def next_event_s(self) -> float:
        """Next breakpoint, or trip of its protection."""
        if self.is_protected:
            return min(self._piece.end_s, self._timers.next_due_s)
        return self._piece.end_s

    @property
    def step_hint_s(self) -> float:
        """Longest step that follows the present ramp; infinite where nothing changes."""
        piece = self._piece
        if self.is_steady:
            return math.inf
        span_s = piece.end_s - piece.start_s
        if piece.from_deg != piece.to_deg:
            # A phasor that turns is no line: at a fortieth of the way the chord of 60 degrees is off by 1e-4.
            return min(span_s / 40.0, 0.1)
        return min(max(span_s / 400.0, 0.005), 0.1)

    @property
    def slopes_v_per_s(self) -> Triple:
        """Change of each phase's voltage."""
        piece = self._piece
        if piece.from_v == piece.to_v:
            return (0.0, 0.0, 0.0)
        span_s = piece.end_s - piece.start_s
        (a1, a2, a3), (b1, b2, b3) = piece.from_v, piece.to_v
        return ((b1 - a1) / span_s, (b2 - a2) / span_s, (b3 - a3) / span_s)

    @property
    def rocof_hz_per_s(self) -> float:
        """Change of the frequency."""
        piece = self._piece
        if piece.from_hz == piece.to_hz:
            return 0.0
        return (piece.to_hz - piece.from_hz) / (piece.end_s - piece.start_s)

    def voltage_v(self, phase: int) -> float:
        """Line-to-neutral voltage at the output, phase 1 to 3."""
        return self.terminal_v[phase - 1]

    def time_of_angle_s(self, angle_deg: float, phase: int = 1) -> float:
        """Next instant at which a phase of the steady source stands at an angle; its voltage rises at zero.

        For an action at a point on wave: ``plant.at(grid.time_of_angle_s(90.0), grid.open_relay)``.

        Raises:
            ValueError: the frequency runs, or a breakpoint comes first.
        """
        lag_turns = (phase - 1) / 3.0 - self._piece.angle_deg(self._now_s)[phase - 1] / 360.0
        wait_s = ((angle_deg / 360.0 + lag_turns - self.turns) % 1.0) / self.frequency_hz
        if not self.is_steady or self._now_s + wait_s > self._piece.end_s:
            raise ValueError(
                f"grid: time_of_angle_s({angle_deg}): the source changes within a cycle; "
                "allowed while it stands"
            )
        return self._now_s + wait_s

    def set_voltage_v(self, voltage_v: float | Triple) -> None:
        """Set the steady voltage; acts at once, or when the profile that runs has ended."""
        triple = voltage_v if isinstance(voltage_v, tuple) else (voltage_v, voltage_v, voltage_v)
        if not all(0.0 <= volts < math.inf for volts in triple):
            raise ValueError(f"grid: set_voltage_v({voltage_v}); allowed 0 and above")
        self._steady_v = triple
        self._take_steady()

    def set_frequency_hz(self, frequency_hz: float) -> None:
        """Set the steady frequency; acts at once, or when the profile that runs has ended."""
        if not 0.0 < frequency_hz < math.inf:
            raise ValueError(f"grid: set_frequency_hz({frequency_hz}); allowed above 0")
        self._steady_hz = frequency_hz
        self._take_steady()

    def play(self, steps: Sequence[GridStep]) -> None:
        """Play a profile from this instant; after its last step the steady values come back."""
        now_s, piece = self._now_s, self._piece
        volts, angles, hertz = piece.voltage_v(now_s), piece.angle_deg(now_s), piece.frequency_hz(now_s)
        stand = _Piece(now_s, now_s, volts, volts, hertz, hertz, from_deg=angles, to_deg=angles)
        path = _Path(stand, self.turns, self._slew_v_per_s)
        nominal_v = self.spec.nominal_voltage_v
        for step in steps:
            if not 0.0 < step.duration_s < math.inf:
                raise ValueError(f"grid: play: duration_s={step.duration_s}; allowed above 0")
            if not all(math.isfinite(angle) for angle in step.angle_deg):
                raise ValueError(f"grid: play: angle_deg={step.angle_deg}; allowed three finite angles")
            path.add(step, nominal_v)
        self._queue = deque(path.pieces)
        if self._queue:
            self.is_playing = True
            self._enter(self._queue.popleft())

    def stop(self) -> None:
        """Return to the steady values at once, or at the source's own slew."""
        self._go_steady()

    def close_relay(self) -> None:
        """Close the output relay, and forget a trip; does nothing while the enable contact is open."""
        if not self.is_enabled:
            return
        self.is_relay_closed = True
        self.tripped = ""
        self._timers.clear()
        self.touched = True

    def open_relay(self) -> None:
        """Open the output relay: a loss of mains."""
        self.is_relay_closed = False
        self._timers.clear()
        self.touched = True

    def enable(self, *, is_enabled: bool) -> None:
        """Close or open the enable contact: open, the relay opens; closing it closes no relay."""
        self.is_enabled = is_enabled
        if not is_enabled:
            self.open_relay()

    def advance(self, to_s: float) -> None:
        """Run to a time no later than ``next_event_s``; the angle is exact for a linear frequency."""
        piece, from_s = self._piece, self._now_s
        self._now_s = to_s
        if self.is_steady:
            self.turns += piece.to_hz * (to_s - from_s)
            return
        mean_hz = 0.5 * (piece.frequency_hz(from_s) + piece.frequency_hz(to_s))
        self.turns += mean_hz * (to_s - from_s)
        self.emf_v = piece.emf_v(to_s)

    def settle(self) -> None:
        """Pass the breakpoints that are due at this instant."""
        while self._piece.end_s <= self._now_s:
            if self._queue:
                self._enter(self._queue.popleft())
            else:
                self._go_steady()
        self.touched = False

    def judge(self, power_in_w: float, currents_a: Triple) -> None:
        """Let its protections look at what flows.

        Args:
            power_in_w: into the source at its terminals.
            currents_a: RMS of each phase.
        """
        spec, is_on = self.spec, self.is_relay_closed
        limit_a, sink_w = spec.current_limit_a, spec.sink_power_w
        for name, is_beyond in (
            (OVER_CURRENT, limit_a is not None and max(currents_a) > limit_a * (1.0 + 1e-9)),
            # A watt of slack: the drop on its own line at no power.
            (CANNOT_SINK, sink_w is not None and power_in_w > sink_w + 1.0),
        ):
            if self._timers.held(name, self._now_s, spec.protection_delay_s, is_true=is_beyond and is_on):
                self.open_relay()
                self.tripped = name

    def _enter(self, piece: _Piece) -> None:
        self.touched = True
        self._piece = piece
        self.is_steady = piece.is_level and piece.from_hz == piece.to_hz
        self.emf_v = piece.emf_v(piece.start_s)
        self.turns += piece.jump_turns

    def _steady(self) -> _Piece:
        v, f = self._steady_v, self._steady_hz
        return _Piece(self._now_s, math.inf, v, v, f, f)

    def _take_steady(self) -> None:
        if not self.is_playing:
            self._go_steady()

    def _go_steady(self) -> None:
        self.is_playing = False
        self._queue.clear()
        now_s, hertz = self._now_s, self._steady_hz
        from_v = self._piece.voltage_v(now_s)
        rise_s = max(abs(a - b) for a, b in zip(from_v, self._steady_v, strict=True)) / self._slew_v_per_s
        there_s = now_s + rise_s
        if there_s == now_s:
            self._enter(self._steady())
        else:
            self._enter(_Piece(now_s, there_s, from_v, self._steady_v, hertz, hertz))


class _Path:
    """A profile on its way into pieces: where it stands after the steps so far."""

    def __init__(self, before: _Piece, turns: float, slew_v_per_s: float) -> None:
        """Start where a piece that ends now has got to."""
        self.pieces: list[_Piece] = []
        self._slew_v_per_s = slew_v_per_s
        self._durations_s: list[float] = []
        self._zero_s = before.end_s
        self._last = before
        self._turns = turns

    def add(self, step: GridStep, nominal_v: float) -> None:
        """Append a step: the wait for its point on wave, its way, and what is left of it."""
        if step.starts_at_deg is not None:
            wait_s = ((step.starts_at_deg / 360.0 - self._turns) % 1.0) / self._last.to_hz
            if wait_s > 0.0:
                self._lay(wait_s)
        last, duration_s, hertz = self._last, step.duration_s, step.frequency_hz
        one, two, three = step.voltage_pu
        target_v = (one * nominal_v, two * nominal_v, three * nominal_v)
        furthest_v = max(abs(a - b) for a, b in zip(last.to_v, target_v, strict=True))
        needs_s = furthest_v / self._slew_v_per_s
        reached_v = target_v
        if needs_s > duration_s:
            # What is faster than the machine ends short of its target.
            reached_v = _between(last.to_v, target_v, duration_s / needs_s)
        angles, jump_turns = step.angle_deg, step.phase_jump_deg / 360.0
        if step.is_ramp:
            self._lay(duration_s, to_v=reached_v, to_deg=angles, to_hz=hertz, jump_turns=jump_turns)
            return
        rise_s = min(needs_s, duration_s)
        if rise_s > 0.0:
            self._lay(
                rise_s,
                to_v=reached_v,
                from_deg=angles,
                to_deg=angles,
                from_hz=hertz,
                to_hz=hertz,
                jump_turns=jump_turns,
            )
            jump_turns = 0.0
        if duration_s > rise_s:
            self._lay(
                duration_s - rise_s,
                from_v=reached_v,
                to_v=reached_v,
                from_deg=angles,
                to_deg=angles,
                from_hz=hertz,
                to_hz=hertz,
                jump_turns=jump_turns,
            )

    def _lay(
        self,
        duration_s: float,
        *,
        from_v: Triple | None = None,
        to_v: Triple | None = None,
        from_deg: Triple | None = None,
        to_deg: Triple | None = None,
        from_hz: float | None = None,
        to_hz: float | None = None,
        jump_turns: float = 0.0,
    ) -> None:
        """Append a piece; what is not given goes on from the last one's end."""
        last = self._last
        # Summed from the start, so that breakpoints do not gather rounding.
        self._durations_s.append(duration_s)
        piece = _Piece(
            start_s=last.end_s,
            end_s=self._zero_s + math.fsum(self._durations_s),
            from_v=last.to_v if from_v is None else from_v,
            to_v=last.to_v if to_v is None else to_v,
            from_hz=last.to_hz if from_hz is None else from_hz,
            to_hz=last.to_hz if to_hz is None else to_hz,
            jump_turns=jump_turns,
            from_deg=last.to_deg if from_deg is None else from_deg,
            to_deg=last.to_deg if to_deg is None else to_deg,
        )
        self._turns += jump_turns + 0.5 * (piece.from_hz + piece.to_hz) * (piece.end_s - piece.start_s)
        self.pieces.append(piece)
        self._last = piece


def _between(some: Triple, others: Triple, part: float) -> Triple:
    (a1, a2, a3), (b1, b2, b3) = some, others
    return (a1 + part * (b1 - a1), a2 + part * (b2 - a2), a3 + part * (b3 - a3))
