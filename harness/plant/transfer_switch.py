"""A transfer switch: two inputs, one output, and never both.

It judges each input by its voltages and its frequency. Lost mains for ``detect_s`` make it open, if the other
input is good; ``gap_s`` later it closes there, or as soon as that input is good again. Good mains for
``return_s`` bring it back. Before it opens it looks at the angle between the inputs (of lost mains, as they
would stand now, had they turned on): out of phase it takes ``out_of_phase_gap_s`` for its gap, or waits until
the inputs have slipped into phase, which it computes from their frequencies. Without that check it closes at
any angle; what comes of it is the load's (see its inrush) and the converter's.

Not modelled: bounce and arc of contacts, commutation of thyristors into a fault, its own drop and losses,
a neutral that is switched too, closed transition.
"""

from __future__ import annotations

import math
from enum import Enum

from harness.plant.generator import Generator
from harness.plant.grid import Grid
from harness.plant.spec import TransferSwitchSpec
from harness.plant.timers import Timers

Source = Grid | Generator


class Side(Enum):
    """What the output hangs at."""

    MAINS = "mains"
    STANDBY = "standby"
    OPEN = "open"


class TransferSwitch:
    """The switch and its logic.

    Attributes:
        side: what the output hangs at.
        is_automatic: whether it moves by itself.
        transfers: how often it has closed on another input.
        is_waiting: whether it would move, were the inputs in phase.
        touched: whether a command awaits ``settle``.
    """

    def __init__(self, spec: TransferSwitchSpec, mains: Grid, standby: Source) -> None:
        self.spec = spec
        self.side = Side.MAINS
        self.is_automatic = True
        self.transfers = 0
        self.is_waiting = False
        self.touched = False
        self._inputs: dict[Side, Source] = {Side.MAINS: mains, Side.STANDBY: standby}
        self._now_s = 0.0
        self._wanted = Side.MAINS
        self._closes_s = math.inf
        self._in_phase_s = math.inf
        self._timers = Timers()
        self._left = Side.MAINS
        self._has_called = False

    @property
    def source(self) -> Source | None:
        """Input that the output hangs at."""
        return None if self.side is Side.OPEN else self._inputs[self.side]

    @property
    def next_event_s(self) -> float:
        """A delay that ends, a closing, an angle that fits."""
        due_s = self._timers.next_due_s
        for event_s in (self._closes_s, self._in_phase_s):
            if self._now_s < event_s < due_s:
                due_s = event_s
        return due_s

    @property
    def is_steady(self) -> bool:
        """Between its events nothing of it moves."""
        return True

    @property
    def step_hint_s(self) -> float:
        """No limit."""
        return math.inf

    @property
    def apart_deg(self) -> float:
        """By how much the second input leads the mains, -180 to 180."""
        turns = self._inputs[Side.STANDBY].turns - self._inputs[Side.MAINS].turns
        return 360.0 * (turns - round(turns))

    def transfer_to(self, side: Side) -> None:
        """Move by command, as soon as that input is good and in phase.

        Raises:
            ValueError: not a side that it can close on.
        """
        if side is Side.OPEN:
            raise ValueError("transfer switch: transfer_to(open); allowed mains, standby")
        self._wanted = side
        self.touched = True

    def is_good(self, side: Side) -> bool:
        """Whether an input may feed the output."""
        source, spec = self._inputs[side], self.spec
        if isinstance(source, Generator) and not source.is_ready:
            return False
        low_v, high_v = spec.low_pu * source.nominal_voltage_v, spec.high_pu * source.nominal_voltage_v
        return (
            source.is_live
            and min(source.terminal_v) >= low_v
            and max(source.terminal_v) <= high_v
            and abs(source.frequency_hz - source.nominal_hz) <= spec.frequency_window_hz
        )

    def advance(self, to_s: float) -> None:
        """Let time pass."""
        self._now_s = to_s

    def settle(self) -> None:
        """Do nothing: it is judged once the voltages of its inputs are known."""
        self.touched = False

    def judge(self) -> None:
        """Look at both inputs: open, close, start and stop the generator."""
        mains, standby = self.is_good(Side.MAINS), self.is_good(Side.STANDBY)
        if self.is_automatic:
            self._choose(mains=mains, standby=standby)
            self._call_generator(mains=mains)
        if self.side is Side.OPEN:
            if self._now_s >= self._closes_s and self.is_good(self._wanted):
                self.side, self._closes_s = self._wanted, math.inf
                self.transfers += self.side is not self._left
                self.touched = True
            return
        self.is_waiting = False
        self._in_phase_s = math.inf
        if self._wanted is self.side or not self.is_good(self._wanted):
            return
        gap_s = self._gap_s()
        if gap_s is None:
            self.is_waiting = True
            return
        self._left, self.side = self.side, Side.OPEN
        self._closes_s = self._now_s + gap_s
        self.touched = True

    def _choose(self, *, mains: bool, standby: bool) -> None:
        spec, now_s, held = self.spec, self._now_s, self._timers.held
        if held("lost", now_s, spec.detect_s, is_true=not mains and self.side is Side.MAINS) and standby:
            self._wanted = Side.STANDBY
        on_standby = self.side is Side.STANDBY
        lost = held("standby lost", now_s, spec.detect_s, is_true=on_standby and not standby)
        back = spec.return_s is not None and held(
            "return", now_s, spec.return_s, is_true=on_standby and mains
        )
        if mains and (lost or back):
            self._wanted = Side.MAINS
        if self.side is Side.OPEN and not self.is_good(self._wanted):
            other = Side.MAINS if self._wanted is Side.STANDBY else Side.STANDBY
            if self.is_good(other):
                self._wanted = other

    def _call_generator(self, *, mains: bool) -> None:
        generator, start_s = self._inputs[Side.STANDBY], self.spec.start_after_s
        if not isinstance(generator, Generator) or start_s is None:
            return
        if self._timers.held("start", self._now_s, start_s, is_true=not mains):
            if not generator.fault and not self._has_called:
                self._has_called = True
                generator.start()
        elif mains and self._has_called and self.side is self._wanted is Side.MAINS:
            self._has_called = False
            generator.stop()

    def _gap_s(self) -> float | None:
        """Gap of a transfer that starts now; None where it has to wait."""
        spec, apart_deg = self.spec, self.apart_deg
        # A hair of slack: it opens in the instant in which the angle has just got there.
        if not spec.checks_phase or abs(apart_deg) <= spec.in_phase_deg + 1e-6:
            return spec.gap_s
        if spec.out_of_phase_gap_s is not None:
            return spec.out_of_phase_gap_s
        slip_deg_per_s = 360.0 * (
            self._inputs[Side.STANDBY].frequency_hz - self._inputs[Side.MAINS].frequency_hz
        )
        if slip_deg_per_s != 0.0:
            # The near edge of the window lies ahead in the direction of the slip.
            edge_deg = -math.copysign(spec.in_phase_deg, slip_deg_per_s)
            way_deg = math.copysign(1.0, slip_deg_per_s) * (edge_deg - apart_deg) % 360.0
            self._in_phase_s = self._now_s + way_deg / abs(slip_deg_per_s)
        return None
