"""The AC source as three phasors and a frequency, piecewise linear in time with exact breakpoints.

Not modelled: rise time of the machine, its current limit and sink ability, harmonics, angles that differ from
120 degrees between the phases.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from harness.plant.spec import GridSpec
from harness.roles import GridStep

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch in which voltages and frequency run linearly."""

    start_s: float
    end_s: float
    from_v: Triple
    to_v: Triple
    from_hz: float
    to_hz: float
    jump_turns: float = 0.0

    def voltage_v(self, time_s: float) -> Triple:
        if self.from_v == self.to_v:
            return self.to_v
        part = (time_s - self.start_s) / (self.end_s - self.start_s)
        (a1, a2, a3), (b1, b2, b3) = self.from_v, self.to_v
        return (a1 + part * (b1 - a1), a2 + part * (b2 - a2), a3 + part * (b3 - a3))

    def frequency_hz(self, time_s: float) -> float:
        if self.from_hz == self.to_hz:
            return self.to_hz
        part = (time_s - self.start_s) / (self.end_s - self.start_s)
        return self.from_hz + part * (self.to_hz - self.from_hz)


class Grid:
    """The source behind its output relay.

    Attributes:
        turns: angle of phase 1 since time zero, in whole turns; phase jumps included.
        emf_v: line-to-neutral voltages behind the source impedance.
        terminal_v: line-to-neutral voltages at the output, zero with the relay open.
        is_enabled: whether its enable contact is closed; without it the relay does not close.
        is_steady: whether voltages and frequency stand until ``next_event_s``.
        touched: whether a command awaits ``settle``.
    """

    def __init__(self, spec: GridSpec) -> None:
        self.spec = spec
        self.turns = 0.0
        self.is_relay_closed = spec.starts_closed
        self.is_enabled = True
        self._now_s = 0.0
        volts = spec.nominal_voltage_v
        self._steady_v: Triple = (volts, volts, volts)
        self._steady_hz = spec.frequency_hz
        self._queue: deque[_Piece] = deque()
        self._piece = self._steady()
        self.is_steady = True
        self._jumped_turns = 0.0
        self.touched = False
        self.emf_v = self._steady_v
        self.terminal_v: Triple = self._steady_v if self.is_relay_closed else (0.0, 0.0, 0.0)

    @property
    def frequency_hz(self) -> float:
        """Frequency at this instant."""
        return self._piece.frequency_hz(self._now_s)

    @property
    def is_playing(self) -> bool:
        """Whether a profile runs."""
        return self._piece.end_s < math.inf

    @property
    def next_event_s(self) -> float:
        """Next breakpoint."""
        return self._piece.end_s

    @property
    def step_hint_s(self) -> float:
        """Longest step that follows the present ramp; infinite where nothing changes."""
        piece = self._piece
        if self.is_steady:
            return math.inf
        return min(max((piece.end_s - piece.start_s) / 400.0, 0.005), 0.1)

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
        start_s = self._now_s
        volts, hertz = self._piece.voltage_v(start_s), self._piece.frequency_hz(start_s)
        durations_s: list[float] = []
        pieces: list[_Piece] = []
        for step in steps:
            if not step.duration_s > 0.0:
                raise ValueError(f"grid: play: duration_s={step.duration_s}; allowed above 0")
            durations_s.append(step.duration_s)
            end_s = self._now_s + math.fsum(durations_s)
            one, two, three = step.voltage_pu
            nominal_v = self.spec.nominal_voltage_v
            target_v = (one * nominal_v, two * nominal_v, three * nominal_v)
            pieces.append(
                _Piece(
                    start_s,
                    end_s,
                    volts if step.is_ramp else target_v,
                    target_v,
                    hertz if step.is_ramp else step.frequency_hz,
                    step.frequency_hz,
                    step.phase_jump_deg / 360.0,
                )
            )
            start_s, volts, hertz = end_s, target_v, step.frequency_hz
        self._queue = deque(pieces)
        if self._queue:
            self._enter(self._queue.popleft())

    def stop(self) -> None:
        """Return to the steady values at once."""
        self._queue.clear()
        self._enter(self._steady())

    def close_relay(self) -> None:
        """Close the output relay; does nothing while the enable contact is open."""
        if not self.is_enabled:
            return
        self.is_relay_closed = True
        self.touched = True

    def open_relay(self) -> None:
        """Open the output relay: a loss of mains."""
        self.is_relay_closed = False
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
        self.emf_v = piece.voltage_v(to_s)

    def settle(self) -> None:
        """Pass the breakpoints that are due at this instant."""
        while self._piece.end_s <= self._now_s:
            self._enter(self._queue.popleft() if self._queue else self._steady())
        self.touched = False

    def take_jump_turns(self) -> float:
        """Say by how much the phase has jumped since last asked."""
        jumped, self._jumped_turns = self._jumped_turns, 0.0
        return jumped

    def _enter(self, piece: _Piece) -> None:
        self.touched = True
        self._piece = piece
        self.is_steady = piece.from_v == piece.to_v and piece.from_hz == piece.to_hz
        self.emf_v = piece.from_v
        self.turns += piece.jump_turns
        self._jumped_turns += piece.jump_turns

    def _steady(self) -> _Piece:
        v, f = self._steady_v, self._steady_hz
        return _Piece(self._now_s, math.inf, v, v, f, f)

    def _take_steady(self) -> None:
        if not self.is_playing:
            self._enter(self._steady())
