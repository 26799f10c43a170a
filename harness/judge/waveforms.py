"""What waveforms say: RMS, power, phasors, frequency, and times at which a level was crossed.

Two kinds of value, for two kinds of question. One-cycle values (IEC 61000-4-30 Urms(1/2): the RMS of one
cycle, refreshed each half cycle) cannot see an event's end better than half a cycle on either side; that
half cycle is part of every time taken from them. Questions of 1, 4 or 10 ms are for the instantaneous
deviation from the sine before the event, sampled at 10 kS/s or more.

A value stands at the centre of its window. A time that never came is infinite, never missing.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from harness.judge.uncertainty import measured, rectangular
from harness.readings import Measured, Waveform

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Signal = TypeVar("Signal", Floats, Complexes)

Window = tuple[float, float]
"""From and to, in rig time."""

_A = complex(-0.5, math.sqrt(3.0) / 2.0)
"""The operator that turns a phasor by 120 degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Values over time, each standing for a window around its instant.

    Attributes:
        at_s: rig time of each window's centre, rising.
        values: in ``unit``; not a number where nothing can be said.
        unit: SI.
        window_s: width of the window that one value stands for; zero for samples.
        step_s: usual distance of two values.
        source: channels it was made from.
        gain_u: standard uncertainty as a fraction of a value.
        offset_u: standard uncertainty in ``unit``.
        trigger_skew_s: standard uncertainty of ``at_s`` against other instruments.
    """

    at_s: Floats
    values: Floats
    unit: str
    window_s: float
    step_s: float
    source: tuple[str, ...]
    gain_u: float = 0.0
    offset_u: float = 0.0
    trigger_skew_s: float = 0.0

    def between(self, window: Window) -> Series:
        """Keep the values whose windows lie wholly inside."""
        half = self.window_s / 2.0
        tolerance = 1e-9
        keep = (self.at_s >= window[0] + half - tolerance) & (self.at_s <= window[1] - half + tolerance)
        return _with(self, self.at_s[keep], self.values[keep])


def _with(series: Series, at_s: Floats, values: Floats) -> Series:
    return Series(
        at_s,
        values,
        series.unit,
        series.window_s,
        series.step_s,
        series.source,
        series.gain_u,
        series.offset_u,
        series.trigger_skew_s,
    )


def _sample_times_s(waveform: Waveform) -> Floats:
    return np.asarray(
        waveform.start_s + np.arange(len(waveform.samples)) / waveform.sample_rate_hz, dtype=np.float64
    )


def samples(waveform: Waveform, unit: str) -> Series:
    """Take a waveform's samples as they are."""
    step_s = 1.0 / waveform.sample_rate_hz
    at_s = _sample_times_s(waveform)
    return Series(
        at_s,
        waveform.samples,
        unit,
        0.0,
        step_s,
        (waveform.channel,),
        waveform.gain_u,
        waveform.offset_u,
        waveform.trigger_skew_s,
    )


def half_cycle_marks(waveform: Waveform, f0_hz: float, *, from_crossings: bool = True) -> Floats:
    """Rig times at which half cycles begin, one-cycle windows reaching over two of them.

    Where the waveform crosses zero they stand at its crossings; where it has none, as in an interruption,
    or one that comes too early or late, they go on at ``f0_hz`` from the last good one.

    Args:
        waveform: a voltage; its crossings divide the current's cycles too.
        f0_hz: nominal frequency.
        from_crossings: False divides by ``f0_hz`` alone, from the first sample on.
    """
    half_s = 0.5 / f0_hz
    end_s = waveform.start_s + (len(waveform.samples) - 1) / waveform.sample_rate_hz
    if not from_crossings:
        count = int((end_s - waveform.start_s) / half_s + 1e-9) + 1
        return np.asarray(waveform.start_s + np.arange(count) * half_s, dtype=np.float64)
    crossings = _crossings_s(waveform)
    if len(crossings) == 0:
        return half_cycle_marks(waveform, f0_hz, from_crossings=False)
    # The stretch before the first crossing is divided backwards from it.
    lead = crossings[0] - np.arange(int((crossings[0] - waveform.start_s) / half_s + 1e-9), 0, -1) * half_s
    marks = [lead, crossings[:1]]
    gaps = np.diff(crossings)
    good = np.abs(gaps - half_s) < 0.3 * half_s
    if good.all():
        marks.append(crossings[1:])
    else:
        marks.append(_bridged(crossings, half_s))
    last = float(marks[-1][-1]) if len(marks[-1]) else float(crossings[0])
    tail = last + np.arange(1, int((end_s - last) / half_s + 1e-9) + 1) * half_s
    return np.concatenate([*marks, tail])


def _crossings_s(waveform: Waveform) -> Floats:
    """Times of sign changes, interpolated; those of a channel that is next to silent are no crossings."""
    x = waveform.samples
    floor = max(0.02 * float(np.max(np.abs(x), initial=0.0)), 3.0 * waveform.offset_u)
    is_up = x >= 0.0
    at = np.flatnonzero(is_up[1:] != is_up[:-1])
    if len(at) == 0:
        return np.empty(0)
    # A crossing counts when the half cycle on either side of it rises above the floor.
    highest = np.maximum.reduceat(np.abs(x), np.concatenate([[0], at + 1]))
    loud = (highest[:-1] > floor) | (highest[1:] > floor)
    at = at[loud]
    share = x[at] / (x[at] - x[at + 1])
    return waveform.start_s + (at + share) / waveform.sample_rate_hz


def _bridged(crossings: Floats, half_s: float) -> Floats:
    """Walk over the crossings, leave out those too near, and fill in where they are too far."""
    marks: list[float] = []
    last = float(crossings[0])
    for crossing in crossings[1:].tolist():
        while crossing - last > 1.3 * half_s:
            last += half_s
            marks.append(last)
        if crossing - last >= 0.7 * half_s:
            last = crossing
            marks.append(last)
    return np.array(marks)


_BLOCK = 1 << 15
"""Samples that are worked on at a time, and stay in the processor's cache: minutes of samples go through in a
third of the time. Ours."""


def _window_means(signal: Callable[[slice], Signal], waveform: Waveform, marks: Floats) -> Signal:
    """Mean over each two neighbouring half cycles; exact for what is linear between samples.

    Args:
        signal: what is to be averaged, for a stretch of samples.
        waveform: one that was sampled with it.
        marks: the half cycles.
    """
    last = len(waveform.samples) - 1
    position = np.clip((marks - waveform.start_s) * waveform.sample_rate_hz, 0.0, float(last))
    index = np.minimum(position.astype(np.int64), last - 1)
    integrals, so_far = [], 0.0
    for start in range(0, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        block = signal(slice(start, stop + 1))
        cumulative = np.empty_like(block)
        cumulative[0] = so_far
        np.cumsum((block[1:] + block[:-1]) * 0.5, out=cumulative[1:])
        cumulative[1:] += so_far
        of_block = slice(*np.searchsorted(index, (start, stop)))
        at = index[of_block] - start
        share = position[of_block] - index[of_block]
        slope = block[at + 1] - block[at]
        integrals.append(cumulative[at] + share * block[at] + 0.5 * share * share * slope)
        so_far = cumulative[-1]
    integral = np.concatenate(integrals)
    return cast("Signal", (integral[2:] - integral[:-2]) / (position[2:] - position[:-2]))


def _check_alike(waveforms: Sequence[Waveform]) -> Waveform:
    first = waveforms[0]
    for other in waveforms[1:]:
        if (
            other.start_s != first.start_s
            or other.sample_rate_hz != first.sample_rate_hz
            or len(other.samples) != len(first.samples)
        ):
            raise ValueError(f"{first.channel} and {other.channel} were not sampled together")
    if len(first.samples) < 2:
        raise ValueError(f"{first.channel} has {len(first.samples)} samples; two or more are needed")
    return first


def _series(
    waveforms: Sequence[Waveform], marks: Floats, values: Floats, unit: str, *, gain_u: float, offset_u: float
) -> Series:
    windows = np.sort(marks[2:] - marks[:-2])
    # Their median; numpy has one, and imports its masked arrays for it.
    width = (
        float(windows[(len(windows) - 1) // 2] + windows[len(windows) // 2]) / 2.0 if len(windows) else 0.0
    )
    return Series(
        (marks[2:] + marks[:-2]) / 2.0,
        values,
        unit,
        width,
        width / 2.0,
        tuple(waveform.channel for waveform in waveforms),
        gain_u,
        offset_u,
        max(waveform.trigger_skew_s for waveform in waveforms),
    )


def rms_half_cycle(
    waveform: Waveform, f0_hz: float, *, marks: Floats | None = None, unit: str = "V"
) -> Series:
    """Urms(1/2): RMS of one cycle, refreshed each half cycle (IEC 61000-4-30:2015, 3.22 [from memory]).

    Args:
        waveform: a voltage or a current.
        f0_hz: nominal frequency.
        marks: half cycles of another channel, as the current takes them from its voltage.
        unit: of the samples.
    """
    _check_alike([waveform])
    marks = half_cycle_marks(waveform, f0_hz) if marks is None else marks
    x = waveform.samples
    squares = _window_means(lambda part: x[part] * x[part], waveform, marks)
    values = np.sqrt(np.maximum(squares, 0.0))
    return _series([waveform], marks, values, unit, gain_u=waveform.gain_u, offset_u=waveform.offset_u)


def rms_across_phases(voltages: Sequence[Waveform]) -> Series:
    """Root of the mean square over the phases at each instant: no window, so it sees a gap of 1 ms.

    Constant, and the RMS of each phase, while the three phases are balanced sines; an unbalance ripples.
    """
    first = _check_alike(voltages)
    squares = sum(waveform.samples**2 for waveform in voltages)
    return Series(
        _sample_times_s(first),
        np.sqrt(np.asarray(squares) / len(voltages)),
        "V",
        0.0,
        1.0 / first.sample_rate_hz,
        tuple(waveform.channel for waveform in voltages),
        first.gain_u,
        first.offset_u,
        first.trigger_skew_s,
    )


def _products(voltages: Sequence[Waveform], currents: Sequence[Waveform], part: slice) -> Floats:
    """Sum over the phases of voltage times current, for a stretch of samples."""
    total = np.zeros(len(voltages[0].samples[part]))
    for voltage, current in zip(voltages, currents, strict=True):
        total += voltage.samples[part] * current.samples[part]
    return total


def _power_u(voltages: Sequence[Waveform], currents: Sequence[Waveform]) -> tuple[float, float]:
    """Gain and offset of a power: gains add in squares; each offset works on the other factor's RMS."""
    gain_u = math.hypot(
        max(waveform.gain_u for waveform in voltages), max(waveform.gain_u for waveform in currents)
    )
    terms = []
    for voltage, current in zip(voltages, currents, strict=True):
        if voltage.offset_u or current.offset_u:
            terms.append(voltage.offset_u * _rms(current.samples))
            terms.append(current.offset_u * _rms(voltage.samples))
    return gain_u, math.hypot(*terms)


def _rms(x: Floats) -> float:
    return math.sqrt(float(np.einsum("i,i", x, x)) / len(x))


def power_one_cycle_w(
    voltages: Sequence[Waveform], currents: Sequence[Waveform], f0_hz: float, *, marks: Floats | None = None
) -> Series:
    """Active power of all phases, mean of one cycle, refreshed each half cycle."""
    first = _check_alike([*voltages, *currents])
    marks = half_cycle_marks(voltages[0], f0_hz) if marks is None else marks
    values = _window_means(lambda part: _products(voltages, currents, part), first, marks)
    gain_u, offset_u = _power_u(voltages, currents)
    return _series([*voltages, *currents], marks, values, "W", gain_u=gain_u, offset_u=offset_u)


def positive_sequence(
    waveforms: Sequence[Waveform], f0_hz: float, *, marks: Floats | None = None
) -> tuple[Floats, Complexes]:
    """Centres of the one-cycle windows, and the positive-sequence RMS phasor in each.

    The phasor turns with the deviation from ``f0_hz``: its angle's slope over 2 pi is f - f0.

    Args:
        waveforms: three phases in positive order, or one.
        f0_hz: frequency of the frame in which the phasor stands.
        marks: half cycles of another channel.
    """
    first = _check_alike(waveforms)
    if len(waveforms) not in (1, 3):
        raise ValueError(f"{len(waveforms)} waveforms; one phase or three are allowed")
    marks = half_cycle_marks(first, f0_hz) if marks is None else marks
    turn = -2j * math.pi * f0_hz
    # Each block's samples are turned back alike, but for the angle that it begins at.
    turning = np.exp(turn / first.sample_rate_hz * np.arange(_BLOCK + 1))
    turning *= math.sqrt(2.0) / len(waveforms)

    def turned(part: slice) -> Complexes:
        begins = cmath.exp(turn * (first.start_s + part.start / first.sample_rate_hz))
        total = np.zeros(part.stop - part.start, dtype=np.complex128)
        for phase, waveform in enumerate(waveforms):
            total += waveform.samples[part] * (begins * _A**phase)
        total *= turning[: len(total)]
        return total

    return (marks[2:] + marks[:-2]) / 2.0, _window_means(turned, first, marks)


def reactive_power_one_cycle_var(
    voltages: Sequence[Waveform], currents: Sequence[Waveform], f0_hz: float, *, marks: Floats | None = None
) -> Series:
    """Reactive power of the fundamental's positive sequence over one cycle; positive where current lags."""
    marks = half_cycle_marks(voltages[0], f0_hz) if marks is None else marks
    _, u = positive_sequence(voltages, f0_hz, marks=marks)
    _, i = positive_sequence(currents, f0_hz, marks=marks)
    values = (len(voltages) * u * np.conj(i)).imag
    gain_u, offset_u = _power_u(voltages, currents)
    return _series([*voltages, *currents], marks, values, "var", gain_u=gain_u, offset_u=offset_u)


def frequency_series(
    voltages: Sequence[Waveform], f0_hz: float, *, window_s: float, blanked: Sequence[Window] = ()
) -> Series:
    """Frequency from the turning of the positive-sequence phasor across ``window_s``.

    A phase jump of 20 degrees reads as 0.67 Hz in five cycles: windows that touch a ``blanked`` stretch
    hold no number.

    Args:
        voltages: three phases, or one, whose estimate ripples away from ``f0_hz``.
        f0_hz: nominal frequency.
        window_s: width over which one value is taken, the phasor's own cycle included; two cycles at least.
        blanked: stretches around known jumps and interruptions.

    Raises:
        ValueError: the window is shorter than two cycles.
    """
    if window_s < 2.0 / f0_hz - 1e-9:
        raise ValueError(f"a window of {window_s:g} s is shorter than two cycles of {f0_hz:g} Hz")
    marks = half_cycle_marks(voltages[0], f0_hz, from_crossings=False)
    at_s, phasor = positive_sequence(voltages, f0_hz, marks=marks)
    steps = max(1, round((window_s - 1.0 / f0_hz) * f0_hz * 2.0))
    angle = np.unwrap(np.angle(phasor))
    span = at_s[steps:] - at_s[:-steps]
    values = f0_hz + (angle[steps:] - angle[:-steps]) / (2.0 * math.pi * span)
    centre = (at_s[steps:] + at_s[:-steps]) / 2.0
    for start_s, end_s in blanked:
        values[(centre + window_s / 2.0 > start_s) & (centre - window_s / 2.0 < end_s)] = math.nan
    return Series(
        centre,
        values,
        "Hz",
        window_s,
        0.5 / f0_hz,
        tuple(waveform.channel for waveform in voltages),
        trigger_skew_s=max(waveform.trigger_skew_s for waveform in voltages),
    )


def mean_frequency_hz(
    voltages: Sequence[Waveform], f0_hz: float, *, between: Window, blanked: Sequence[Window] = ()
) -> Measured:
    """Frequency over a steady stretch: the slope of a line through the phasor's angle.

    The uncertainty is that of the slope, from what is left beside the line. Not a number where fewer than
    three one-cycle windows are free of ``blanked``.
    """
    marks = half_cycle_marks(voltages[0], f0_hz, from_crossings=False)
    at_s, phasor = positive_sequence(voltages, f0_hz, marks=marks)
    half = 0.5 / f0_hz
    keep = (at_s - half >= between[0] - 1e-9) & (at_s + half <= between[1] + 1e-9)
    for start_s, end_s in blanked:
        keep &= (at_s + half <= start_s) | (at_s - half >= end_s)
    sources = tuple(waveform.channel for waveform in voltages)
    if np.count_nonzero(keep) < 3:
        return measured(math.nan, "Hz", {}, window_s=between, sources=sources)
    time_s = at_s[keep] - at_s[keep].mean()
    angle = np.unwrap(np.angle(phasor[keep]))
    spread = float(time_s @ time_s)
    slope = float(time_s @ angle) / spread
    left = angle - angle.mean() - slope * time_s
    noise = math.sqrt(float(left @ left) / max(len(left) - 2, 1) / spread)
    return measured(
        f0_hz + slope / (2.0 * math.pi),
        "Hz",
        {"fit": noise / (2.0 * math.pi)},
        window_s=between,
        sources=sources,
    )


def deviation_from_projection(
    waveform: Waveform, f0_hz: float, *, event_s: float, cycles: int = 10
) -> Series:
    """Distance from the sine before the event, drawn on beyond it, as a share of that sine's peak.

    For 1, 4 and 10 ms: there is no window. A source that afterwards runs at another phase or frequency
    deviates for ever; ask for the amplitude by ``rms_half_cycle`` then.

    Args:
        waveform: a voltage, at 10 kS/s or more for judgements of a millisecond.
        f0_hz: nominal frequency; the sine's own is fitted.
        event_s: rig time before which all is as it should be.
        cycles: how many cycles before the event are fitted.

    Raises:
        ValueError: the capture holds fewer cycles before the event.
    """
    rate = waveform.sample_rate_hz
    last = math.floor((event_s - waveform.start_s) * rate + 1e-6)
    first = last - round(cycles * rate / f0_hz)
    if first < 0 or last > len(waveform.samples):
        raise ValueError(f"{waveform.channel}: {cycles} cycles before {event_s:g} s are not in the capture")
    time_s = _sample_times_s(waveform) - event_s
    amplitude, f_hz = _fitted_sine(time_s[first:last], waveform.samples[first:last], f0_hz)
    projected = np.real(amplitude * np.exp(2j * math.pi * f_hz * time_s))
    values = np.abs(waveform.samples - projected) / abs(amplitude)
    return Series(
        time_s + event_s,
        values,
        "1",
        0.0,
        1.0 / rate,
        (waveform.channel,),
        waveform.gain_u,
        waveform.offset_u / abs(amplitude),
        waveform.trigger_skew_s,
    )


def _fitted_sine(time_s: Floats, x: Floats, f0_hz: float) -> tuple[complex, float]:
    """Least-squares sine with a free frequency, by a few Gauss-Newton steps (IEEE 1057, four parameters)."""
    f_hz = f0_hz
    amplitude = 0j
    for _ in range(6):
        angle = 2.0 * math.pi * f_hz * time_s
        cosine, sine = np.cos(angle), np.sin(angle)
        along = 2.0 * math.pi * time_s * (-amplitude.real * sine - amplitude.imag * cosine)
        columns = [cosine, -sine] if amplitude == 0j else [cosine, -sine, along]
        solution = np.linalg.lstsq(np.stack(columns, axis=1), x, rcond=None)[0]
        amplitude = complex(solution[0], solution[1])
        if len(solution) == 3:
            f_hz += float(np.clip(solution[2], -0.05 * f0_hz, 0.05 * f0_hz))
    return amplitude, f_hz


_SEEN_CYCLES = 10
"""Of both sides before a closing, for a line through their angle: 0.2 s at 50 Hz, as IEC 61000-4-30
aggregates (10 or 12 cycles, from memory)."""

_TOGETHER = 0.05
"""Of nominal voltage: two sides that are not further apart are joined, or next to it; 2.9 degrees. Ours: well
above what two channels and the impedance between them make, well below any limit of synchronism."""

_DEAD = 0.5
"""Of nominal voltage: below it there is no angle to speak of. Ours."""


@dataclass(frozen=True, slots=True)
class Closing:
    """How two sides stood to one another when a switch joined them; infinite where nobody can have known.

    Attributes:
        at_s: rig time from which they stay together.
        voltage: magnitude of the first side less that of the other, in V.
        frequency: likewise, in Hz.
        angle: by which the first side led the other, in degrees from -180 to 180.
    """

    at_s: float
    voltage: Measured
    frequency: Measured
    angle: Measured


def closing(side: Waveform, other: Waveform, f0_hz: float, *, nominal_v: float, gap_s: float) -> Closing:
    """Find when a switch joined two sides for good, and how they stood to one another just before.

    One-cycle phasors U of both; they are together while |U1 - U2| stays within 5 % of nominal. Over ten
    cycles that end ``gap_s`` and a cycle before that, the angle of U1 / U2 is a line: its slope is the
    difference of the frequencies, its end at the closing the angle. Sides that drift slowly are called
    together where they are 2.9 degrees apart, so no less than about that is ever found there: it counts as
    resolution. A phase alone that is off f0 by d has an image in its phasor, of d / 2 f0 in the angle and
    d^2 / f0 in the frequency: both count too.

    Infinite where they never stay together, or where either was not alive for those ten cycles: what nobody
    could see nobody brought in phase.

    Args:
        side: voltage of a phase on one side of the switch.
        other: the same phase on the other side, captured together.
        f0_hz: nominal frequency.
        nominal_v: of both.
        gap_s: longest break of either side that is allowed on the way, which tells nothing of its angle.

    Raises:
        ValueError: they were not sampled together.
    """
    _check_alike([side, other])
    cycle_s, sources = 1.0 / f0_hz, (side.channel, other.channel)
    marks = half_cycle_marks(other, f0_hz, from_crossings=False)
    at_s, one = positive_sequence([side], f0_hz, marks=marks)
    two = positive_sequence([other], f0_hz, marks=marks)[1]
    apart = np.flatnonzero(np.abs(one - two) > _TOGETHER * nominal_v)
    never = [measured(math.inf, unit, {}, sources=sources) for unit in ("V", "Hz", "deg")]
    if len(apart) == 0 or apart[-1] == len(at_s) - 1:
        return Closing(math.inf, *never)
    # The first window with both sides together begins there.
    closed_s = float(at_s[apart[-1] + 1]) - 0.5 * cycle_s
    end_s = closed_s - gap_s - 1.5 * cycle_s
    window = (end_s - _SEEN_CYCLES * cycle_s, end_s + 0.5 * cycle_s)
    seen = (at_s >= window[0]) & (at_s <= end_s)
    one, two, time_s = one[seen], two[seen], at_s[seen] - closed_s
    least_v = min(np.abs(one).min(initial=math.inf), np.abs(two).min(initial=math.inf))
    if len(time_s) < 2 * _SEEN_CYCLES or least_v < _DEAD * nominal_v:
        return Closing(closed_s, *never)
    volts = float(np.abs(one).mean() - np.abs(two).mean())
    channels_v = math.hypot(*(w.gain_u * nominal_v for w in (side, other)), side.offset_u, other.offset_u)
    slope, at_end, slope_u, at_end_u = _line(time_s, np.unwrap(np.angle(one / two)))
    off_hz = [abs(_line(time_s, np.unwrap(np.angle(each)))[0]) / (2.0 * math.pi) for each in (one, two)]
    image = sum(off_hz) / (2.0 * f0_hz)
    image_hz = sum(off**2 for off in off_hz) / f0_hz
    angle_parts = {"fit": at_end_u, "resolution": rectangular(_TOGETHER), "image": rectangular(image)}
    return Closing(
        closed_s,
        measured(volts, "V", {"channels": channels_v}, window_s=window, sources=sources),
        measured(
            slope / (2.0 * math.pi),
            "Hz",
            {"fit": slope_u / (2.0 * math.pi), "image": rectangular(image_hz)},
            window_s=window,
            sources=sources,
        ),
        measured(
            math.degrees(math.remainder(at_end, 2.0 * math.pi)),
            "deg",
            {name: math.degrees(u) for name, u in angle_parts.items()},
            window_s=(window[0], closed_s),
            sources=sources,
        ),
    )


def _line(x: Floats, y: Floats) -> tuple[float, float, float, float]:
    """Slope of the least-squares line and its value at zero, then the standard uncertainty of each."""
    middle, height = float(x.mean()), float(y.mean())
    away = x - middle
    spread = float(away @ away)
    slope = float(away @ y) / spread
    left = y - height - slope * away
    noise = math.sqrt(float(left @ left) / (len(x) - 2))
    at_zero_u = noise * math.hypot(1.0 / math.sqrt(len(x)), middle / math.sqrt(spread))
    return slope, height - slope * middle, noise / math.sqrt(spread), at_zero_u


def minimum(series: Series, between: Window | None = None) -> Measured:
    """Lowest value whose window lies inside ``between``; not a number where there is none."""
    return _extreme(series, between, lowest=True)


def maximum(series: Series, between: Window | None = None) -> Measured:
    """Highest value whose window lies inside ``between``; not a number where there is none."""
    return _extreme(series, between, lowest=False)


def _extreme(series: Series, between: Window | None, *, lowest: bool) -> Measured:
    inside = series if between is None else series.between(between)
    if len(inside.values) == 0 or np.isnan(inside.values).any():
        return _value(series, math.nan, between)
    return _value(series, float(inside.values.min() if lowest else inside.values.max()), between)


def mean(series: Series, between: Window) -> Measured:
    """Mean of the values whose windows lie inside ``between``; not a number where there is none."""
    inside = series.between(between).values
    return _value(series, float(inside.mean()) if len(inside) else math.nan, between)


def _value(series: Series, value: float, window: Window | None) -> Measured:
    if window is None and len(series.at_s):
        window = (float(series.at_s[0]), float(series.at_s[-1]))
    gain = 0.0 if math.isnan(value) else series.gain_u * abs(value)
    parts = {} if math.isnan(value) else {"gain": gain, "offset": series.offset_u}
    return measured(value, series.unit, parts, window_s=window, sources=series.source)


@dataclass(frozen=True, slots=True)
class _Crossing:
    at_s: float
    parts: tuple[tuple[str, float], ...]


def time_until(
    series: Series,
    level: float,
    *,
    start_s: float,
    rising: bool,
    dwell_s: float = 0.0,
    is_same_clock: bool = False,
) -> Measured:
    """Time from ``start_s`` until the series has crossed ``level``, and stays there for ``dwell_s``.

    Zero where it stands there already; infinite where it never comes, or does not stay, before the series
    ends (``window_s`` says when that is). The trigger's skew counts, unless ``start_s`` was taken from the
    same capture.

    Args:
        series: what crosses.
        level: in the unit of the series.
        start_s: rig time of the event.
        rising: True waits for values of ``level`` or more, False for values of ``level`` or less.
        dwell_s: how long it has to stay.
        is_same_clock: whether ``start_s`` comes from the capture that the series comes from.
    """
    # The latest instant at which a crossing that lasts could have been seen.
    end_s = max(start_s, float(series.at_s[-1]) - dwell_s) if len(series.at_s) else start_s
    crossing = _first_crossing(series, level, start_s, rising=rising, dwell_s=dwell_s)
    parts = dict(crossing.parts)
    if not is_same_clock and math.isfinite(crossing.at_s):
        parts["trigger skew"] = series.trigger_skew_s
    return measured(
        max(0.0, crossing.at_s - start_s), "s", parts, window_s=(start_s, end_s), sources=series.source
    )


def time_from(
    series: Series, level: float, *, until: float, start_s: float, rising: bool, dwell_s: float
) -> Measured:
    """Time from the first crossing of ``level`` to the next crossing of ``until`` in the other direction.

    Both ends come from one capture, so the trigger's skew cancels. Infinite where either never comes.

    Args:
        series: what crosses.
        level: begins the time; in the unit of the series.
        until: ends it.
        start_s: rig time before which nothing counts.
        rising: whether ``level`` is crossed upwards, and ``until`` downwards.
        dwell_s: how long the series has to stay beyond ``until``; longer than it needs to pass from one
            level to the other, where ``until`` is the farther one.
    """
    end_s = float(series.at_s[-1]) if len(series.at_s) else start_s
    first = _first_crossing(series, level, start_s, rising=rising, dwell_s=0.0)
    if not math.isfinite(first.at_s):
        return measured(math.inf, "s", {}, window_s=(start_s, end_s), sources=series.source)
    second = _first_crossing(series, until, first.at_s, rising=not rising, dwell_s=dwell_s)
    parts = {f"{name}, start": u for name, u in first.parts} | {f"{name}, end": u for name, u in second.parts}
    if not math.isfinite(second.at_s):
        parts = {}
    return measured(second.at_s - first.at_s, "s", parts, window_s=(first.at_s, end_s), sources=series.source)


def longest_interruption(series: Series, below: float, *, between: Window | None = None) -> Measured:
    """Longest unbroken stretch of values under ``below``; zero where there is none.

    A stretch that is still running when the series ends is infinite: nobody knows how long it lasts.
    """
    inside = series if between is None else series.between(between)
    window = between or _span(inside)
    if len(inside.values) < 2 or np.isnan(inside.values).any():
        return measured(math.nan, "s", {}, window_s=window, sources=series.source)
    low = inside.values < below
    if not low.any():
        return measured(0.0, "s", {}, window_s=window, sources=series.source)
    edges = np.diff(low.astype(np.int8))
    starts = [_interpolated(inside, below, int(k)) for k in np.flatnonzero(edges == 1)]
    ends = [_interpolated(inside, below, int(k)) for k in np.flatnonzero(edges == -1)]
    if low[-1]:
        return measured(math.inf, "s", {}, window_s=window, sources=series.source)
    if low[0]:
        starts.insert(0, _Crossing(float(inside.at_s[0]), ()))
    first, last = max(zip(starts, ends, strict=True), key=lambda pair: pair[1].at_s - pair[0].at_s)
    parts = {f"{name}, start": u for name, u in first.parts} | {f"{name}, end": u for name, u in last.parts}
    return measured(
        last.at_s - first.at_s, "s", parts, window_s=(first.at_s, last.at_s), sources=series.source
    )


def settling(
    series: Series, *, target: float, band: float, start_s: float, dwell_s: float, window_s: float
) -> Measured:
    """Time from ``start_s`` until the series is within ``band`` of ``target``, and stays for ``dwell_s``.

    Args:
        series: what settles.
        target: where it should come to rest.
        band: allowed distance on either side, in the unit of the series.
        start_s: rig time of the command.
        dwell_s: how long it has to stay; the series has to reach that far.
        window_s: width of the moving mean that is taken first; the series' own window counts towards it.
    """
    smoothed = moving_mean(series, window_s)
    keep = smoothed.at_s >= start_s
    distance = _with(smoothed, smoothed.at_s[keep], np.abs(smoothed.values[keep] - target))
    return time_until(distance, band, start_s=start_s, rising=False, dwell_s=dwell_s)


def moving_mean(series: Series, window_s: float) -> Series:
    """Mean over ``window_s`` around each instant; the series itself where its own window is as wide."""
    count = round((window_s - series.window_s) / series.step_s) + 1
    if count <= 1:
        return series
    if count > len(series.values):
        return _with(series, series.at_s[:0], series.values[:0])
    cumulative = np.concatenate([[0.0], np.cumsum(series.values)])
    values = (cumulative[count:] - cumulative[:-count]) / count
    lead = (count - 1) // 2
    at_s = (
        (series.at_s[: len(values)] + series.at_s[count - 1 :]) / 2.0
        if count % 2 == 0
        else (series.at_s[lead : lead + len(values)])
    )
    return Series(
        at_s,
        values,
        series.unit,
        window_s,
        series.step_s,
        series.source,
        series.gain_u,
        series.offset_u,
        series.trigger_skew_s,
    )


def _span(series: Series) -> Window | None:
    return (float(series.at_s[0]), float(series.at_s[-1])) if len(series.at_s) else None


def _first_crossing(
    series: Series, level: float, start_s: float, *, rising: bool, dwell_s: float
) -> _Crossing:
    """First instant from ``start_s`` on at which the series is beyond ``level`` and stays for the dwell."""
    beyond = series.values >= level if rising else series.values <= level
    first = int(np.searchsorted(series.at_s, start_s - 1e-9))
    beyond = beyond[first:]
    at_s = series.at_s[first:]
    if not beyond.any():
        return _Crossing(math.inf, ())
    edges = np.diff(beyond.astype(np.int8))
    starts = np.flatnonzero(edges == 1) + 1
    if beyond[0]:
        starts = np.concatenate([[0], starts])
    ends = np.flatnonzero(edges == -1) + 1
    for begin in starts.tolist():
        later = ends[ends > begin]
        stays_until = (
            _interpolated(series, level, first + int(later[0]) - 1).at_s if len(later) else float(at_s[-1])
        )
        here = (
            _interpolated(series, level, first + begin - 1)
            if begin > 0
            else _Crossing(float(at_s[0]), _time_parts(series, level, 0.0))
        )
        is_open_end = not len(later)
        if stays_until - here.at_s >= dwell_s - 1e-9 or (is_open_end and dwell_s == 0.0):
            return here
    return _Crossing(math.inf, ())


def _interpolated(series: Series, level: float, index: int) -> _Crossing:
    """Crossing between a value and the next, on the straight line between them."""
    t0, t1 = float(series.at_s[index]), float(series.at_s[index + 1])
    x0, x1 = float(series.values[index]), float(series.values[index + 1])
    if math.isnan(x0) or math.isnan(x1) or x1 == x0:
        return _Crossing(t1, _time_parts(series, level, 0.0))
    slope = (x1 - x0) / (t1 - t0)
    return _Crossing(t0 + (level - x0) / slope, _time_parts(series, level, slope))


def _time_parts(series: Series, level: float, slope: float) -> tuple[tuple[str, float], ...]:
    """Terms of a crossing's time.

    The window sees an end within half a cycle on either side; samples stand half a step apart from what
    happened; what the instrument's gain and offset move the level by, the slope turns into time.
    """
    parts = {
        "window": rectangular(series.window_s / 2.0),
        "sampling": rectangular(series.step_s / 2.0) if series.window_s == 0.0 else 0.0,
        "instrument": min(math.hypot(series.gain_u * level, series.offset_u) / abs(slope), series.step_s)
        if slope
        else 0.0,
    }
    return tuple((name, u) for name, u in parts.items() if u)
