"""Traces and waveforms as inline SVG, in the page's own colours; decimated to what a screen shows.

Where a column of the picture holds more samples than can be told apart, its first, smallest, largest and
last one are drawn, so that no peak is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from harness.readings import Waveform
from harness.record.traces import Series
from harness.report.figures import UNITS, figure, scale_of, suffix_of, ticks, time_ticks

Array = NDArray[np.float64]

WIDTH, LEFT, RIGHT, TOP, PANEL, FOOT = 1000, 66, 12, 8, 150, 34
"""Sizes of the picture in its own units."""
COLUMNS = 2 * (WIDTH - LEFT - RIGHT) // 3
COLOURS = 8

_PHASE = re.compile(r"\.[ui][1-3]_[va]$")
_SPLIT = frozenset({"v", "hz", "degc", ""})
"""Units whose series are drawn apart when their ranges lie apart: 48 V and 115 V on one axis show neither."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One line of a panel; times and values of equal length."""

    name: str
    at_s: Array
    values: Array


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: quantity, in words.
        unit: as written at the axis.
        svg: the picture.
        legend: (colour number, name, range in words) of each line.
        left_out: how many lines did not fit the colours.
    """

    title: str
    unit: str
    svg: str
    legend: tuple[tuple[int, str, str], ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Lane:
    """One source of states over time: (from, to, words)."""

    name: str
    spans: tuple[tuple[float, float, str], ...]


def decimate(
    at_s: Array, values: Array, low_s: float, high_s: float, columns: int = COLUMNS
) -> tuple[Array, Array]:
    """Keep first, smallest, largest and last of each column; everything where it is few already."""
    if len(at_s) <= 8 * columns or not high_s > low_s:
        return at_s, values
    edges = np.searchsorted(at_s, np.linspace(low_s, high_s, columns + 1)[:-1])
    starts = np.unique(edges[edges < len(at_s)])
    ends = np.append(starts[1:], len(at_s)) - 1
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    times = np.repeat(at_s[starts], 4)
    return times, np.column_stack((values[starts], low, high, values[ends])).ravel()


def decimate_samples(
    samples: Array, start_s: float, rate_hz: float, columns: int = COLUMNS
) -> tuple[Array, Array]:
    """Keep smallest and largest of each column of equally spaced samples."""
    block = len(samples) // columns
    if block < 8:
        return start_s + np.arange(len(samples)) / rate_hz, samples
    whole = len(samples) // block * block
    blocks, tail = samples[:whole].reshape(-1, block), samples[whole:]
    low, high = blocks.min(axis=1), blocks.max(axis=1)
    if len(tail):
        low, high = np.append(low, tail.min()), np.append(high, tail.max())
    times = start_s + np.arange(len(low)) * block / rate_hz
    return np.repeat(times, 2), np.column_stack((low, high)).ravel()


def rms_by_cycle(samples: Array, start_s: float, rate_hz: float, f0_hz: float) -> tuple[Array, Array]:
    """Root mean square over each whole cycle, at the cycle's end."""
    per_cycle = rate_hz / f0_hz
    cycles = int(len(samples) / per_cycle + 1e-9)
    if cycles < 1:
        return np.empty(0), np.empty(0)
    if per_cycle == round(per_cycle):
        whole = samples[: cycles * round(per_cycle)].reshape(cycles, -1)
        sums = np.einsum("ij,ij->i", whole, whole)
    else:  # at 60 Hz and 5 kS/s a cycle has 83 1/3 samples: the part of a sample counts as a part
        squares = np.square(samples)
        so_far = np.zeros(len(samples) + 1)
        np.cumsum(squares, out=so_far[1:])
        edges = np.minimum(np.arange(cycles + 1) * per_cycle, len(samples))
        whole_edges = edges.astype(int)
        begun = squares[np.minimum(whole_edges, len(samples) - 1)]
        sums = np.diff(so_far[whole_edges] + (edges - whole_edges) * begun)
    return start_s + (np.arange(cycles) + 1) / f0_hz, np.sqrt(sums / per_cycle)


def reading_panels(series: Mapping[str, Series], low_s: float, high_s: float) -> list[Panel]:
    """Draw the numbers among the readings of a plan, a panel a unit; the last one carries the time axis."""
    by_suffix: dict[str, list[Trace]] = {}
    for name, each in series.items():
        is_state = bool(each.texts) or _is_flag(name, each.values)
        if not is_state and np.isfinite(each.values).any():
            factor = 100.0 if suffix_of(name) == "fraction" else 1.0
            at_s, values = _with_gaps(each.at_s, each.values * factor, (high_s - low_s) / 100.0)
            by_suffix.setdefault(suffix_of(name), []).append(Trace(name, at_s, values))
    groups = [
        (*UNITS[suffix], group)
        for suffix in UNITS
        if suffix in by_suffix
        for group in (_apart(by_suffix[suffix]) if suffix in _SPLIT else [by_suffix[suffix]])
    ]
    return _panels(groups, low_s, high_s)


def _is_flag(name: str, values: Array) -> bool:
    """Whether a source without a unit says yes and no: a power may be zero all the time, and is none."""
    return not suffix_of(name) and bool(np.isin(values, (0.0, 1.0)).all())


def _with_gaps(at_s: Array, values: Array, least_s: float) -> tuple[Array, Array]:
    """Put no number, and so no line, where nobody looked for ten times as long as usual and ``least_s``."""
    pauses_s = np.diff(at_s)
    if len(pauses_s) < 3:
        return at_s, values
    (before,) = np.nonzero(pauses_s > max(10.0 * float(np.median(pauses_s)), least_s))
    middle_s = at_s[before] + 0.5 * pauses_s[before]
    return np.insert(at_s, before + 1, middle_s), np.insert(values, before + 1, np.nan)


def _apart(traces: Sequence[Trace]) -> list[list[Trace]]:
    """Group traces whose ranges, widened by a quarter of their height, touch; largest first."""
    spans = []
    for trace in traces:
        low, high = float(np.nanmin(trace.values)), float(np.nanmax(trace.values))
        pad = 0.25 * max(abs(low), abs(high))
        spans.append((low - pad, high + pad, trace))
    groups: list[tuple[float, list[Trace]]] = []
    for low, high, trace in sorted(spans, key=lambda span: (span[0], span[2].name)):
        if groups and low <= groups[-1][0]:
            groups[-1] = (max(groups[-1][0], high), [*groups[-1][1], trace])
        else:
            groups.append((high, [trace]))
    return [sorted(group, key=lambda trace: trace.name) for _, group in reversed(groups)]


def _panels(groups: Sequence[tuple[str, str, Sequence[Trace]]], low_s: float, high_s: float) -> list[Panel]:
    return [
        draw(title, unit, traces, low_s, high_s, is_last=index == len(groups) - 1)
        for index, (title, unit, traces) in enumerate(groups)
    ]


def phases_rms(channels: Mapping[str, Waveform], f0_hz: float | None) -> dict[str, tuple[Array, Array]]:
    """Root mean square by cycle of every channel that is a phase and has four cycles at least."""
    return {
        name: rms_by_cycle(wave.samples, wave.start_s, wave.sample_rate_hz, f0_hz)
        for name, wave in sorted(channels.items())
        if f0_hz and _PHASE.search(name) and len(wave.samples) > 4 * wave.sample_rate_hz / f0_hz
    }


def capture_panels(channels: Mapping[str, Waveform], rms: Mapping[str, tuple[Array, Array]]) -> list[Panel]:
    """Draw a capture whole: phases by ``rms``, everything else as its samples."""
    by_unit: dict[tuple[str, str], list[Trace]] = {}
    for name, wave in sorted(channels.items()):
        title, unit = UNITS[suffix_of(name)]
        if name in rms:
            at_s, values = rms[name]
            title = f"{title}, rms of each cycle"
        else:
            at_s, values = decimate_samples(wave.samples, wave.start_s, wave.sample_rate_hz)
        by_unit.setdefault((title, unit), []).append(Trace(name, at_s, values))
    low_s = min((wave.start_s for wave in channels.values()), default=0.0)
    high_s = max((wave.end_s for wave in channels.values()), default=1.0)
    return _panels([(*key, traces) for key, traces in sorted(by_unit.items(), reverse=True)], low_s, high_s)


def disturbance(rms: Mapping[str, tuple[Array, Array]]) -> tuple[float, float] | None:
    """Find from when to when the phases' root mean square jumps from one cycle to the next.

    A jump is a change by at least half of the channel's largest one; None where that is not a twentieth
    of its largest value.
    """
    found: list[float] = []
    for at_s, values in rms.values():
        if len(values) > 2 and values.max() > 0:
            steps = np.abs(np.diff(values)) / values.max()
            if steps.max() > 0.05:
                found += at_s[:-1][steps >= 0.5 * steps.max()].tolist()
    return (min(found), max(found)) if found else None


def zoom_panels(channels: Mapping[str, Waveform], low_s: float, high_s: float) -> list[Panel]:
    """Draw the samples themselves, from one rig time to another."""
    by_unit: dict[tuple[str, str], list[Trace]] = {}
    for name, wave in sorted(channels.items()):
        first = max(0, int((low_s - wave.start_s) * wave.sample_rate_hz))
        last = max(first, int((high_s - wave.start_s) * wave.sample_rate_hz) + 1)
        samples = wave.samples[first:last]
        if len(samples):
            start_s = wave.start_s + first / wave.sample_rate_hz
            at_s, values = decimate_samples(samples, start_s, wave.sample_rate_hz)
            by_unit.setdefault(UNITS[suffix_of(name)], []).append(Trace(name, at_s, values))
    groups = [
        (title, unit, group)
        for (title, unit), traces in sorted(by_unit.items(), reverse=True)
        for group in (_apart_by_node(traces))
    ]
    return _panels(groups, low_s, high_s)


def _apart_by_node(traces: Iterable[Trace]) -> list[list[Trace]]:
    nodes: dict[str, list[Trace]] = {}
    for trace in traces:
        nodes.setdefault(trace.name.split(".", 1)[0], []).append(trace)
    return list(nodes.values())


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where times and values lie in a picture."""

    low_s: float
    high_s: float
    low: float = 0.0
    high: float = 1.0
    left: int = LEFT
    top: int = TOP
    height: int = PANEL

    @property
    def bottom(self) -> int:
        return self.top + self.height

    def x(self, at_s: float) -> float:
        return self.left + (at_s - self.low_s) / (self.high_s - self.low_s) * (WIDTH - RIGHT - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * self.height

    def line(self, at_s: Array, values: Array) -> str:
        xs = self.left + (at_s - self.low_s) / (self.high_s - self.low_s) * (WIDTH - RIGHT - self.left)
        return _path(xs, self.bottom - (values - self.low) / (self.high - self.low) * self.height)

    def time_axis(self, *, with_numbers: bool) -> list[str]:
        """Draw the grid lines of time, and below them the numbers and the unit."""
        at, unit_s, unit = time_ticks(self.low_s, self.high_s)
        parts = [_stroke("grid", f"M{self.x(each):.1f} {self.top}V{self.bottom}") for each in at]
        if with_numbers:
            labels = [(self.x(each), figure(round(each / unit_s, 9))) for each in at]
            parts += [_text("tick", x, self.bottom + 16, words, "middle") for x, words in labels]
            middle = (self.left + WIDTH - RIGHT) / 2
            parts.append(_text("unit", middle, self.bottom + FOOT - 3, f"rig time / {unit}", "middle"))
        return parts


def _text(style: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _stroke(style: str, path: str, inside: str = "") -> str:
    return (
        f'<path class="{style}" d="{path}">{inside}</path>'
        if inside
        else f'<path class="{style}" d="{path}"/>'
    )


def _picture(style: str, height: int, label: str, parts: Iterable[str], attributes: str = "") -> str:
    opening = f'<svg class="{style}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}"'
    return f"{opening}{attributes}>{''.join(parts)}</svg>"


def draw(
    title: str, unit: str, traces: Sequence[Trace], low_s: float, high_s: float, *, is_last: bool
) -> Panel:
    """Draw one panel; the time axis has its numbers only where ``is_last``."""
    shown = traces[:COLOURS]
    peaks = [float(np.nanmax(np.abs(trace.values))) for trace in shown]
    factor, written = scale_of(peaks, unit)
    low, high = _y_range(shown, factor)
    axes = _Axes(low_s, high_s if high_s > low_s else low_s + 1.0, low, high)
    parts = axes.time_axis(with_numbers=is_last)
    for value in ticks(low, high, 4):
        parts.append(_stroke("grid", f"M{LEFT} {axes.y(value):.1f}H{WIDTH - RIGHT}"))
        parts.append(_text("tick", LEFT - 8, axes.y(value) + 4, figure(value), "end"))
    if low < 0.0 < high:
        parts.append(_stroke("zero", f"M{LEFT} {axes.y(0.0):.1f}H{WIDTH - RIGHT}"))
    parts.append(_stroke("axis", f"M{LEFT} {TOP}V{axes.bottom}H{WIDTH - RIGHT}"))
    turned = f'transform="translate(13 {TOP + PANEL / 2}) rotate(-90)" text-anchor="middle"'
    parts.append(f'<text class="unit" {turned}>{escape(written)}</text>')
    legend = []
    for number, trace in enumerate(shown, 1):
        path = axes.line(*decimate(trace.at_s, trace.values * factor, axes.low_s, axes.high_s))
        parts.append(f'<path class="line c{number}" data-name="{escape(trace.name)}" d="{path}"/>')
        legend.append((number, trace.name, _range_words(trace, factor, high - low, written)))
    _, unit_s, time_unit = time_ticks(axes.low_s, axes.high_s)
    scale = (
        f' data-x="{axes.low_s!r},{axes.high_s!r},{unit_s!r},{time_unit}" data-y="{low!r},{high!r},{written}"'
    )
    height = axes.bottom + (FOOT if is_last else 8)
    svg = _picture("plot", height, title, parts, scale)
    return Panel(title, written, svg, tuple(legend), len(traces) - len(shown))


def _range_words(trace: Trace, factor: float, height: float, unit: str) -> str:
    least, most = float(np.nanmin(trace.values)) * factor, float(np.nanmax(trace.values)) * factor
    fine = max(height / 20.0, abs(most) * 1e-6, 1e-9)
    low, high = figure(least, fine), figure(most, fine)
    return (low if low == high else f"{low} … {high}") + (f" {unit}" if unit else "")


def _y_range(traces: Sequence[Trace], factor: float) -> tuple[float, float]:
    low = min((float(np.nanmin(trace.values)) for trace in traces), default=0.0) * factor
    high = max((float(np.nanmax(trace.values)) for trace in traces), default=1.0) * factor
    if 0.0 < low < 0.4 * high:
        low = 0.0
    if 0.4 * low < high < 0.0:
        high = 0.0
    least = max(abs(low), abs(high)) * 0.01 or 1.0  # noise of the last digit is not stretched over the panel
    pad = max(0.06 * (high - low), 0.5 * (least - (high - low)))
    return (low - pad if low else low), high + pad


def _path(xs: Array, ys: Array) -> str:
    """Spell a polyline in tenths of a unit, broken where there is no number."""
    good = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = np.round(xs, 1), np.round(ys, 1)
    if len(ys) > 2:  # the inner points of a level stretch say nothing
        level = np.zeros(len(ys), bool)
        level[1:-1] = (ys[1:-1] == ys[:-2]) & (ys[1:-1] == ys[2:])
        good, xs, ys = good[~level], xs[~level], ys[~level]
    pieces: list[str] = []
    pen_down = False
    for is_good, x, y in zip(good.tolist(), xs.tolist(), ys.tolist(), strict=True):
        if is_good:  # a point alone is a dot, by its round ends
            pieces.append(f"L{x:g} {y:g}" if pen_down else f"M{x:g} {y:g}h0")
        pen_down = is_good
    return "".join(pieces)


def lanes_of(series: Mapping[str, Series], until_s: float) -> list[Lane]:
    """Give states, flags and sets over time, equal neighbours joined."""
    lanes = []
    for name, each in sorted(series.items()):
        if each.texts:
            words = [
                text if text is not None else figure(float(value))
                for text, value in zip(each.texts, each.values, strict=True)
            ]
        elif _is_flag(name, each.values):
            words = ["yes" if value else "no" for value in each.values]
        else:
            continue
        spans: list[tuple[float, float, str]] = []
        for at_s, word in zip(each.at_s.tolist(), words, strict=True):
            if spans and spans[-1][2] == word:
                continue
            if spans:
                spans[-1] = (spans[-1][0], at_s, spans[-1][2])
            spans.append((at_s, until_s, word))
        lanes.append(Lane(name, tuple(spans)))
    return lanes


def draw_lanes(
    lanes: Sequence[Lane], commands: Sequence[tuple[float, str]], low_s: float, high_s: float
) -> str:
    """Draw states as strips and commands as marks, one row each; empty where there is neither."""
    rows = len(lanes) + bool(commands)
    if not rows:
        return ""
    row, left = 24, 210
    axes = _Axes(low_s, high_s if high_s > low_s else low_s + 1.0, left=left, top=0, height=rows * row)
    parts = axes.time_axis(with_numbers=True)
    for index, lane in enumerate(lanes):
        top = index * row
        parts.append(_text("tick", left - 8, top + 16, lane.name, "end"))
        tones: dict[str, int] = {}
        for from_s, to_s, word in lane.spans:
            tone = tones.setdefault(word, len(tones)) % 4
            x, width = axes.x(from_s), max(1.0, axes.x(to_s) - axes.x(from_s))
            place = f'x="{x:.1f}" y="{top + 4}" width="{width:.1f}" height="{row - 7}" rx="2"'
            tip = f"{escape(_short(word))}: {figure(from_s)} s to {figure(to_s)} s"
            parts.append(f'<rect class="span t{tone}" {place}><title>{tip}</title></rect>')
            if width > 7 * len(_short(word)) + 8:
                parts.append(_text("inside", x + 5, top + 16, _short(word)))
    if commands:
        top = len(lanes) * row
        parts.append(_text("tick", left - 8, top + 16, "commands", "end"))
        for at_s, words in commands:
            tip = f"<title>{figure(at_s)} s: {escape(words)}</title>"
            parts.append(_stroke("command", f"M{axes.x(at_s):.1f} {top + 4}v{row - 8}", tip))
    return _picture("plot lanes", rows * row + FOOT, "States and commands", parts)


def _short(word: str) -> str:
    text = word.strip('"')
    return "none" if text == "[]" else text.strip("[]").replace('"', "").replace(",", ", ")


def gauge(value: float, u: float, minimum: float | None, maximum: float | None, tone: str) -> str:
    """Draw a value with its uncertainty against its limits, small enough for a table."""
    bounds = [each for each in (minimum, maximum) if each is not None]
    if not bounds or not np.isfinite([value, *bounds]).all():
        return ""
    seen = [value - 2 * u, value + 2 * u, *bounds]
    low, high = min(seen), max(seen)
    if minimum is not None and maximum is not None and maximum > minimum:
        span = max(high - low, maximum - minimum)
    else:
        span = max(high - low, 0.25 * max(abs(each) for each in bounds), 1e-12)
    low, high = low - 0.18 * span, high + 0.18 * span
    width, height = 132, 22

    def x(at: float) -> float:
        return (at - low) / (high - low) * width

    left = x(minimum) if minimum is not None else 0.0
    right = x(maximum) if maximum is not None else float(width)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg class="gauge" {size} aria-hidden="true">',
        f'<rect class="rail" x="0" y="8" width="{width}" height="6" rx="3"/>',
        f'<rect class="allowed" x="{left:.1f}" y="8" width="{max(2.0, right - left):.1f}" height="6"/>',
        *(_stroke("bound", f"M{x(each):.1f} 3V19") for each in bounds),
    ]
    if u > 0:
        parts.append(_stroke(f"spread v{tone}", f"M{x(value - 2 * u):.1f} 11H{x(value + 2 * u):.1f}"))
    parts.append(f'<circle class="dot v{tone}" cx="{x(value):.1f}" cy="11" r="4"/></svg>')
    return "".join(parts)
