"""What has flowed: running totals at each node, and a bounded past from which waveforms are made.

The past is a list of stretches in which every phasor and every frequency runs linearly; a steady stretch is
one entry however long it lasts. Energy and squares are the exact integrals over such stretches.

Not modelled: harmonics and switching ripple, the way of DC voltage and current within a battery's step, which
is straight here, and whatever is older than the bounded past.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.plant.network import DEAD, EMF, NODES, STANDBY, ZERO, Flow, Phasors, Triple, means_between

FloatArray = NDArray[np.float64]

KEPT_S = 900.0
"""How much of the past waveforms can be made from."""

KEPT_STRETCHES = 200_000
"""Most stretches kept, so that memory stays flat however restless the rig is."""

LOT = 256
"""How many stretches come between two looks for what is too old."""

AC_CHANNELS = {f"u{n}_v": n - 1 for n in (1, 2, 3)} | {f"i{n}_a": n + 2 for n in (1, 2, 3)}
"""Quantity of an AC node to its place among three voltages and three currents."""


class NodeTotals(NamedTuple):
    """Integrals at one node from time zero; subtract two of them for the means between.

    Attributes:
        time_s: until when.
        energy_out_j: positive power, as the node's sign convention has it.
        energy_in_j: negative power, as a positive number.
        charge_out_c: positive current (direct current only).
        charge_in_c: negative current, as a positive number (direct current only).
        voltage_square_v2s: integral of the squared voltage; three phases, or one for direct current.
        current_square_a2s: likewise.
        reactive_vars: integral of the reactive power, all phases (over-excited is positive).
        cycles: turns of the voltage while there was one.
    """

    time_s: float
    energy_out_j: float
    energy_in_j: float
    charge_out_c: float
    charge_in_c: float
    voltage_square_v2s: tuple[float, ...]
    current_square_a2s: tuple[float, ...]
    reactive_vars: float
    cycles: float

    def __sub__(self, earlier: NodeTotals) -> NodeTotals:
        """What was added since ``earlier``; ``time_s`` is then the duration."""
        return NodeTotals(
            time_s=self.time_s - earlier.time_s,
            energy_out_j=self.energy_out_j - earlier.energy_out_j,
            energy_in_j=self.energy_in_j - earlier.energy_in_j,
            charge_out_c=self.charge_out_c - earlier.charge_out_c,
            charge_in_c=self.charge_in_c - earlier.charge_in_c,
            voltage_square_v2s=_minus(self.voltage_square_v2s, earlier.voltage_square_v2s),
            current_square_a2s=_minus(self.current_square_a2s, earlier.current_square_a2s),
            reactive_vars=self.reactive_vars - earlier.reactive_vars,
            cycles=self.cycles - earlier.cycles,
        )


def _minus(later: tuple[float, ...], earlier: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(later, earlier, strict=True))


class Turning(NamedTuple):
    """An angle that turns: turns at the start, frequency at both ends of a stretch."""

    turns: float
    from_hz: float
    to_hz: float


STILL = Turning(0.0, 0.0, 0.0)
"""Where nothing turns."""


class AcStretch(NamedTuple):
    """A stretch of linear phasors, and how the frames of mains, bus and second source turn in it."""

    start_s: float
    end_s: float
    before: Flow
    after: Flow
    grid: Turning
    bus: Turning
    standby: Turning = STILL

    def is_sine(self, node: str) -> bool:
        """Whether all that flows at a node is a sine of one size and one frequency."""
        turning = self.turning(node)
        return self.before is self.after and turning.from_hz == turning.to_hz and not self.after.overtones

    def turning(self, node: str) -> Turning:
        """Frame of a node's phasors."""
        if node == "grid_ac":
            return self.grid
        return self.standby if node == STANDBY else self.bus


class DcStretch(NamedTuple):
    """A stretch of constant current and linear voltage at battery_dc."""

    start_s: float
    end_s: float
    from_v: float
    to_v: float
    current_a: float


class History:
    """Totals since time zero, and the last ``KEPT_S`` seconds.

    Attributes:
        now_s: until when it reaches.
    """

    def __init__(self, more_nodes: Sequence[str] = ()) -> None:
        self.now_s = 0.0
        self._nodes = (*NODES, *more_nodes)
        self._all_nodes = (*self._nodes, EMF)
        # At the AC nodes until the start of the last stretch.
        self._closed = dict.fromkeys(self._all_nodes, _NOTHING)
        self._ac: list[AcStretch] = []
        self._dc: list[DcStretch] = []
        # The last stretch: it reaches until now, whatever end it was made with.
        self._open: AcStretch | None = None
        self._ac_count = self._dc_count = 0
        self._rates: dict[str, _Rate] = {}
        self._dc_out_j = self._dc_in_j = self._dc_out_c = self._dc_in_c = 0.0
        self._dc_voltage_square = self._dc_current_square = 0.0

    def add_ac(self, stretch: AcStretch) -> None:
        """Take the next stretch; a steady one lengthens the one before."""
        is_steady = stretch.before is stretch.after
        if not (is_steady and self.goes_on(stretch.after, stretch.grid, stretch.bus, stretch.standby)):
            if self._open is not None:
                self._close(self._open, stretch.start_s)
            self._open = stretch
            self._rates = {}
        self.now_s = stretch.end_s

    def goes_on(self, flow: Flow, grid: Turning, bus: Turning, standby: Turning = STILL) -> bool:
        """Whether the last stretch is steady and these phasors and angles go on from it."""
        last = self._open
        if last is None or not (last.before is last.after is flow):
            return False
        duration_s = self.now_s - last.start_s
        return (
            _goes_on(last.grid, grid, duration_s)
            and _goes_on(last.bus, bus, duration_s)
            and _goes_on(last.standby, standby, duration_s)
        )

    def lengthen(self, end_s: float) -> None:
        """Let the last stretch, one that goes on, reach to a time."""
        self.now_s = end_s

    def _close(self, last: AcStretch, end_s: float) -> None:
        rates = self._last_rates(last)
        self._closed = {node: _grown(totals, rates[node], end_s) for node, totals in self._closed.items()}
        self._ac.append(last._replace(end_s=end_s))
        self._ac_count += 1
        if self._ac_count % LOT == 0:
            _forget(self._ac, end_s)

    def _last_rates(self, last: AcStretch) -> dict[str, _Rate]:
        """By how much the totals at each node grow in a second of the last stretch."""
        if not self._rates:
            grid_hz = _turns_a_second(last.grid, last.before.grid_v, last.after.grid_v)
            bus_hz = _turns_a_second(last.bus, last.before.bus_v, last.after.bus_v)
            standby_hz = _turns_a_second(last.standby, last.before.standby_v, last.after.standby_v)
            own_hz = {"grid_ac": grid_hz, STANDBY: standby_hz}
            means = means_between(last.before, last.after, self._all_nodes)
            self._rates = {
                node: (*mean, own_hz.get(node, bus_hz))
                for node, mean in zip(self._closed, means, strict=True)
            }
        return self._rates

    def add_dc(self, stretch: DcStretch, energy_j: float) -> None:
        """Take the next stretch at battery_dc with the energy that flowed out of the battery in it."""
        start_s, end_s, u0, u1, current_a = stretch
        duration_s = end_s - start_s
        charge_c = current_a * duration_s
        if charge_c >= 0.0:
            self._dc_out_c += charge_c
            self._dc_out_j += energy_j
        else:
            self._dc_in_c -= charge_c
            self._dc_in_j -= energy_j
        self._dc_voltage_square += duration_s * (u0 * u0 + u0 * u1 + u1 * u1) / 3.0
        self._dc_current_square += charge_c * current_a
        self._dc.append(stretch)
        self._dc_count += 1
        if self._dc_count % LOT == 0:
            _forget(self._dc, end_s)

    def totals(self, node: str) -> NodeTotals:
        """Integrals at a node until now.

        Raises:
            ValueError: no such node.
        """
        if node == "battery_dc":
            return NodeTotals(
                self.now_s,
                self._dc_out_j,
                self._dc_in_j,
                self._dc_out_c,
                self._dc_in_c,
                (self._dc_voltage_square,),
                (self._dc_current_square,),
                0.0,
                0.0,
            )
        if node not in self._nodes:
            raise ValueError(f"plant: no node {node!r}; there are {', '.join(self._nodes)}, battery_dc")
        return self._ac_totals(node)

    def source_energy_j(self) -> tuple[float, float]:
        """Energy out of and into the source's EMF."""
        totals = self._ac_totals(EMF)
        return totals.energy_in_j, totals.energy_out_j

    def source_current_square_a2s(self) -> float:
        """Integral of the squared source current, all phases."""
        return sum(self._ac_totals(EMF).current_square_a2s)

    def _ac_totals(self, node: str) -> NodeTotals:
        totals, last = self._closed[node], self._open
        return totals if last is None else _grown(totals, self._last_rates(last)[node], self.now_s)

    def waveforms(
        self, channels: Sequence[str], start_s: float, sample_rate_hz: float, count: int
    ) -> list[FloatArray]:
        """Instantaneous values of channels sampled together; the sample at a jump is the one after it.

        Raises:
            ValueError: no such channel, or a window that is not in the kept past.
        """
        times_s = start_s + np.arange(count) / sample_rate_hz
        end_s = start_s + count / sample_rate_hz
        kept = [*self._ac, self._open._replace(end_s=self.now_s)] if self._open else []
        ac = _within(kept, times_s, end_s)
        sines: _Sines = {}
        samples = []
        for channel in channels:
            node, _, quantity = channel.partition(".")
            is_dc = node == "battery_dc" and quantity in {"u_v", "i_a"}
            if not is_dc and not (node in self._nodes and quantity in AC_CHANNELS):
                raise ValueError(
                    f"plant: no channel {channel!r}; there are {', '.join(self._nodes)} with "
                    f"{', '.join(AC_CHANNELS)}, and battery_dc.u_v, battery_dc.i_a"
                )
            first_s = next((stretch.start_s for stretch in (self._dc if is_dc else kept)), 0.0)
            # A nanosecond of slack: a window may end at now by another sum of the same durations.
            if start_s < first_s - 1e-9 or end_s > self.now_s + 1e-9:
                raise ValueError(
                    f"plant: waveform of {channel} from {start_s} s to {end_s} s; "
                    f"kept {first_s} s to {self.now_s} s"
                )
            samples.append(
                _dc_samples(self._dc, times_s, end_s, quantity)
                if is_dc
                else _ac_samples(ac, times_s, node, AC_CHANNELS[quantity], sines)
            )
        return samples


_Rate = tuple[complex, Triple, Triple, float]
"""Means of a node, and the turns of its voltage in a second."""

_NOTHING = NodeTotals(0.0, 0.0, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0, 0.0)


def _grown(totals: NodeTotals, rate: _Rate, until_s: float) -> NodeTotals:
    """Let totals grow at a rate."""
    start_s, out_j, in_j, _, _, (u1, u2, u3), (i1, i2, i3), reactive_vars, cycles = totals
    power_va, (du1, du2, du3), (di1, di2, di3), hertz = rate
    duration_s = until_s - start_s
    energy_j = power_va.real * duration_s
    if energy_j > 0.0:
        out_j += energy_j
    else:
        in_j -= energy_j
    return NodeTotals(
        until_s,
        out_j,
        in_j,
        0.0,
        0.0,
        (u1 + du1 * duration_s, u2 + du2 * duration_s, u3 + du3 * duration_s),
        (i1 + di1 * duration_s, i2 + di2 * duration_s, i3 + di3 * duration_s),
        reactive_vars + power_va.imag * duration_s,
        cycles + hertz * duration_s,
    )


def _turns_a_second(turning: Turning, before_v: Phasors, after_v: Phasors) -> float:
    """Mean frequency, zero where there is no voltage."""
    if before_v == after_v == ZERO:
        return 0.0
    return 0.5 * (turning.from_hz + turning.to_hz)


def _goes_on(last: Turning, following: Turning, duration_s: float) -> bool:
    """Whether an angle has turned at one steady frequency, without a jump."""
    if not last.from_hz == last.to_hz == following.from_hz == following.to_hz:
        return False
    # A millionth of a turn: what rounding adds up to in months, far below any jump worth the name.
    return abs(following.turns - last.turns - last.from_hz * duration_s) < 1e-6


def _forget(stretches: list[AcStretch] | list[DcStretch], now_s: float) -> None:
    """Drop what is too old; called once in ``LOT`` stretches, so that each costs next to nothing."""
    old = bisect_right(stretches, now_s - KEPT_S, key=_start) - 1
    del stretches[: max(old, len(stretches) - KEPT_STRETCHES, 0)]


def _within(stretches: list[AcStretch], times_s: FloatArray, end_s: float) -> list[AcStretch]:
    """Stretches that overlap a window."""
    if not len(times_s):
        return []
    start = max(bisect_right(stretches, times_s[0], key=_start) - 1, 0)
    stop = bisect_right(stretches, end_s, key=_start)
    return stretches[start:stop]


def _start(stretch: AcStretch | DcStretch) -> float:
    return stretch.start_s


_Sines = dict[Turning, tuple[FloatArray, FloatArray]]
"""Sine and cosine of an angle at the sampled times: what all channels that turn with it are made of."""


def _ac_samples(
    part: list[AcStretch], times_s: FloatArray, node: str, place: int, sines: _Sines
) -> FloatArray:
    """sqrt(2) Im(phasor exp(j angle)): a voltage of phase 1 rises through zero at angle zero."""
    if not part:
        return np.zeros(0)
    if len(part) == 1 and part[0].is_sine(node):
        # Most windows; a sine costs a fifth of looking up each sample's phasor.
        only = part[0]
        turning = only.turning(node)
        if turning not in sines:
            angle = (times_s - only.start_s) * (2.0 * math.pi * turning.from_hz)
            angle += 2.0 * math.pi * (turning.turns % 1.0)
            sines[turning] = np.sin(angle), np.cos(angle)
        sine, cosine = sines[turning]
        phasor = math.sqrt(2.0) * _phasor(only.after, 1, node, place)
        return np.asarray(phasor.real * sine + phasor.imag * cosine, dtype=np.float64)
    starts_s = np.array([s.start_s for s in part])
    index = np.clip(np.searchsorted(starts_s, times_s, side="right") - 1, 0, len(part) - 1)
    durations_s = np.array([s.end_s - s.start_s for s in part])
    turnings = np.array([s.turning(node) for s in part])
    since_s = times_s - starts_s[index]
    share = since_s / durations_s[index]
    from_hz, to_hz = turnings[index, 1], turnings[index, 2]
    turns = turnings[index, 0] % 1.0 + since_s * (from_hz + 0.5 * share * (to_hz - from_hz))
    samples = np.zeros(len(times_s))
    for order in sorted(
        {1, *(order for s in part for flow in (s.before, s.after) for order, _ in flow.overtones)}
    ):
        before = np.array([_phasor(s.before, order, node, place) for s in part])
        after = np.array([_phasor(s.after, order, node, place) for s in part])
        phasor = before[index] + share * (after[index] - before[index])
        samples += math.sqrt(2.0) * (phasor * np.exp(2j * np.pi * order * turns)).imag
    return samples


def _phasor(flow: Flow, order: int, node: str, place: int) -> complex:
    """One voltage or current of an order."""
    of_order = flow if order == 1 else dict(flow.overtones).get(order, DEAD)
    is_current, phase = place >= 3, place % 3
    return of_order.at(node)[is_current][phase]


def _dc_samples(stretches: list[DcStretch], times_s: FloatArray, end_s: float, quantity: str) -> FloatArray:
    if not len(times_s):
        return np.zeros(0)
    start = max(bisect_right(stretches, times_s[0], key=_start) - 1, 0)
    part = stretches[start : bisect_right(stretches, end_s, key=_start)]
    table = np.array(part)
    index = np.clip(np.searchsorted(table[:, 0], times_s, side="right") - 1, 0, len(part) - 1)
    rows = table[index]
    if quantity == "i_a":
        return np.asarray(rows[:, 4], dtype=np.float64)
    share = (times_s - rows[:, 0]) / (rows[:, 1] - rows[:, 0])
    return np.asarray(rows[:, 2] + share * (rows[:, 3] - rows[:, 2]), dtype=np.float64)
