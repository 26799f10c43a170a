"""Ride-through signals: built from the tables, compared with the duty, and judged segment by segment.

A judgement is two-sided. A unit that carries on has to show its current, in its direction, and not more
than its rating; one that ceased where it may has to come back in time. A dead unit carries nothing in the
first segment and is found there. What a unit does beyond the duty of IEEE 1547-2018, Tables 14 to 16, is
permitted: no verdict is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judge.uncertainty import difference, measured, scaled
from harness.judge.verdicts import Judge, Judgement
from harness.judge.waveforms import (
    Floats,
    Series,
    half_cycle_marks,
    mean,
    power_one_cycle_w,
    reactive_power_one_cycle_var,
    rms_half_cycle,
    time_until,
)
from harness.readings import Measured, Waveform
from harness.requirements import Mode, Requirements, RideThroughBand, SequenceTable
from harness.roles import GridStep

MEASURES = (
    "segment modes",
    "mandatory current",
    "restore time",
    "highest power",
    "power after an event",
)
"""What ``judge_findings`` judges; a plan declares these. Restore time only of units that ceased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment as it is played.

    Attributes:
        case: name and how often it has come (``D 2``).
        name: of the table's row.
        start_s: from the start of the sequence.
        duration_s: exactly the shortest dwell.
        from_pu: residual voltage at its start.
        to_pu: residual voltage at its end; the same but for a ramp.
        is_ramp: whether the voltage runs linearly, or jumped at the start.
        allowed: modes that are right, by the mode shown in the segment before.
        is_event: whether it is outside the continuous band.
    """

    case: str
    name: str
    start_s: float
    duration_s: float
    from_pu: float
    to_pu: float
    is_ramp: bool
    allowed: Mapping[Mode, frozenset[Mode]]
    is_event: bool

    @property
    def end_s(self) -> float:
        """From the start of the sequence."""
        return self.start_s + self.duration_s

    def voltage_pu(self, at_s: float) -> float:
        """Residual voltage at a time from the start of the sequence."""
        share = (at_s - self.start_s) / self.duration_s
        return self.from_pu + (self.to_pu - self.from_pu) * share


def segments(table: SequenceTable, source_accuracy_pu: float) -> tuple[Segment, ...]:
    """Lay out a sequence for a source that holds a voltage within ``source_accuracy_pu``."""
    made: list[Segment] = []
    done: list[float] = []
    for index, name in enumerate(table.order):
        row = table.rows[name]
        level = row.level_pu + row.accuracies * source_accuracy_pu
        made.append(
            Segment(
                case=f"{name} {table.order[: index + 1].count(name)}",
                name=name,
                start_s=math.fsum(done),
                duration_s=row.duration_s,
                from_pu=made[-1].to_pu if row.is_ramp and made else level,
                to_pu=level,
                is_ramp=row.is_ramp,
                allowed=row.allowed,
                is_event=row.is_event,
            )
        )
        done.append(row.duration_s)
    return tuple(made)


def steps(
    sequence: Sequence[Segment], f0_hz: float, *, phases: Sequence[int] = (1, 2, 3)
) -> tuple[GridStep, ...]:
    """Make a grid profile of a sequence; phases that are not named stay at nominal."""
    return tuple(
        GridStep(
            duration_s=item.duration_s,
            voltage_pu=(
                item.to_pu if 1 in phases else 1.0,
                item.to_pu if 2 in phases else 1.0,
                item.to_pu if 3 in phases else 1.0,
            ),
            frequency_hz=f0_hz,
            is_ramp=item.is_ramp,
        )
        for item in sequence
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One segment beside the tables.

    Attributes:
        segment: which.
        since_s: time since the voltage left the continuous band, at the segment's end.
        permitted_from_s: from the segment's start, when a trip becomes permitted; infinite where
            it never does.
    """

    segment: Segment
    since_s: float
    permitted_from_s: float

    @property
    def is_beyond(self) -> bool:
        """Whether part of the segment lies beyond the duty."""
        return self.permitted_from_s < self.segment.duration_s

    @property
    def text(self) -> str:
        """What the lint says of the segment."""
        item = self.segment
        levels = f"{item.from_pu:g}" if not item.is_ramp else f"{item.from_pu:g} to {item.to_pu:g}"
        if not self.is_beyond:
            return f"{item.case} ({levels} pu, {item.duration_s:g} s): within the duty"
        return (
            f"{item.case} ({levels} pu, {item.duration_s:g} s) ends {self.since_s:g} s after the start of the"
            f" event: beyond the duty from {self.permitted_from_s:g} s on, where a trip is permitted"
        )


def duties(sequence: Sequence[Segment], bands: Sequence[RideThroughBand]) -> tuple[Duty, ...]:
    """Compare each segment with the ride-through tables, by the time since the continuous band was left.

    Where a table gives no time the unit ceases without a trip, so none is permitted. Ramps are looked at
    in a thousand points. Not looked at: how many events in a row Table 17 demands.

    Raises:
        ValueError: a voltage for which the tables have no row.
    """
    found = []
    since_s = 0.0
    for item in sequence:
        points = np.linspace(0.0, item.duration_s, 1001 if item.is_ramp else 2)
        permitted_s = math.inf
        at_start_s = since_s
        for point in points.tolist():
            voltage = item.voltage_pu(item.start_s + point)
            band = _band(bands, voltage)
            if band.mode == "continuous":
                since_s = 0.0
                continue
            since_s = at_start_s + point
            duty_s = band.duty_at_s(voltage)
            if duty_s is not None and since_s > duty_s + 1e-9:
                beyond = point if item.is_ramp else max(0.0, duty_s - at_start_s)
                permitted_s = min(permitted_s, beyond)
        found.append(Duty(segment=item, since_s=since_s, permitted_from_s=permitted_s))
    return tuple(found)


def _band(bands: Sequence[RideThroughBand], voltage_pu: float) -> RideThroughBand:
    for band in bands:
        if band.contains(voltage_pu):
            return band
    raise ValueError(f"no ride-through row for {voltage_pu:g} pu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a unit gave, one-cycle values refreshed each half cycle.

    Attributes:
        voltage_v: RMS per phase.
        current_a: sum of the phases' RMS.
        power_w: all phases.
        reactive_var: all phases, fundamental.
    """

    voltage_v: tuple[Series, ...]
    current_a: Series
    power_w: Series
    reactive_var: Series


def output(
    waveforms: Mapping[str, Waveform], node: str, f0_hz: float, *, voltage_node: str | None = None
) -> Output:
    """Reduce three currents and three voltages to one-cycle values.

    The cycles are those of ``f0_hz`` from the first sample on: a ride-through signal keeps the frequency,
    and has stretches without a zero crossing.

    Args:
        waveforms: by channel.
        node: where the unit's current flows.
        f0_hz: nominal frequency.
        voltage_node: on the grid's side of the unit's own switch: a unit that leaves the grid for an island
            makes the voltage at its terminals itself, and is judged by the signal all the same. None: the
            voltage is that of ``node``.
    """
    voltages = [waveforms[f"{voltage_node or node}.u{phase}_v"] for phase in (1, 2, 3)]
    currents = [waveforms[f"{node}.i{phase}_a"] for phase in (1, 2, 3)]
    marks = half_cycle_marks(voltages[0], f0_hz, from_crossings=False)
    rms = [rms_half_cycle(current, f0_hz, marks=marks, unit="A") for current in currents]
    total = rms[0].values + rms[1].values + rms[2].values
    first = rms[0]
    return Output(
        voltage_v=tuple(rms_half_cycle(voltage, f0_hz, marks=marks) for voltage in voltages),
        current_a=Series(
            first.at_s,
            total,
            "A",
            first.window_s,
            first.step_s,
            tuple(current.channel for current in currents),
            first.gain_u,
            math.hypot(*(current.offset_u for current in currents)),
            first.trigger_skew_s,
        ),
        power_w=power_one_cycle_w(voltages, currents, f0_hz, marks=marks),
        reactive_var=reactive_power_one_cycle_var(voltages, currents, f0_hz, marks=marks),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a segment's judgement has to know of the unit and of the words' meaning.

    Attributes:
        rated_va: rating, for shares of it.
        nominal_v: line-to-neutral voltage of one per unit.
        mandatory_share: share of the current before the event that is carrying.
        ceased_active: active power that still counts as none, as a share of the rating at the voltage left.
        ceased_reactive: reactive power below which a unit has ceased, as a share of the rating.
    """

    rated_va: float
    nominal_v: float
    mandatory_share: float
    ceased_active: float
    ceased_reactive: float


def unit(requirements: Requirements, *, rated_va: float, nominal_v: float, f0_hz: float) -> Unit:
    """Take the meaning of carrying and ceased from the requirements; from 500 kVA less Q is allowed."""
    reactive = "ceased_reactive_power" if rated_va < 500e3 else "ceased_reactive_power_large"
    share = requirements["ieee1547_1.mandatory_current"].resolve(f0_hz, {}).minimum
    active = requirements["ieee1547_1.ceased_active_power"].resolve(f0_hz, {}).maximum
    ceased = requirements[f"ieee1547_1.{reactive}"].resolve(f0_hz, {}).maximum
    return Unit(
        rated_va=rated_va,
        nominal_v=nominal_v,
        mandatory_share=share or 0.0,
        ceased_active=active or 0.0,
        ceased_reactive=ceased or 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What the unit gave before the event: the reference of all that follows."""

    current_a: Measured
    power_w: Measured


def classify(given: Output, window: tuple[float, float], before: Before, of: Unit) -> Mapping[Mode, int]:
    """Half cycles in each mode that was shown, where one-cycle windows lie inside ``window`` (rig time).

    Carrying is looked for first. Ceased means next to no active current at the voltage that is left, and
    little Q; so a small power in a deep sag is not taken for none.
    """
    current = given.current_a.between(window).values
    power = given.power_w.between(window).values
    reactive = given.reactive_var.between(window).values
    volts = np.mean([series.between(window).values for series in given.voltage_v], axis=0)
    carrying = _carrying(current, power, before, of)
    none_w = of.rated_va * np.maximum(of.ceased_active * volts / of.nominal_v, of.ceased_active / 10.0)
    ceased = (np.abs(power) <= none_w) & (np.abs(reactive) < of.ceased_reactive * of.rated_va)
    counts = {
        Mode.CARRYING: int(np.count_nonzero(carrying)),
        Mode.CEASED: int(np.count_nonzero(ceased & ~carrying)),
        Mode.PARTIAL: int(np.count_nonzero(~ceased & ~carrying)),
    }
    return {mode: count for mode, count in counts.items() if count}


def _has_reference(before: Before, of: Unit) -> bool:
    """Whether there was a tenth of the rating before the event: a share of less means nothing."""
    return abs(before.power_w.value) >= 0.1 * of.rated_va and before.current_a.value > 0.0


def _carrying(current: Floats, power: Floats, before: Before, of: Unit) -> NDArray[np.bool_]:
    """Enough current, in the direction of before; nothing carries where nothing was carried before."""
    if not _has_reference(before, of):
        return np.zeros(len(current), dtype=np.bool_)
    enough = current >= of.mandatory_share * before.current_a.value * (1.0 - 1e-9)
    return enough & (power * math.copysign(1.0, before.power_w.value) > 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one segment showed.

    Attributes:
        segment: which.
        mode: carrying or ceased where all judged half cycles were, else partial.
        allowed: modes that were right, given the segment before.
        judged_s: rig time that was judged, transient and permission left out.
        violations: half cycles in a mode that was not right; not a number where none could be judged;
            None where the segment lies wholly beyond the duty.
        lowest_current: as a share of the current before; None where carrying is not demanded.
        restore_s: time to carrying again; None where the unit had not stopped.
        power_change: power at its end less the power before, as a share of the rating; None but where the
            voltage has come back.
        voltage_error_pu: largest distance of the voltage from what was asked, signed.
        is_permitted_trip: whether the unit stopped where that is permitted, here or before.
    """

    segment: Segment
    mode: Mode
    allowed: frozenset[Mode]
    judged_s: tuple[float, float]
    violations: Measured | None
    lowest_current: Measured | None
    restore_s: Measured | None
    power_change: Measured | None
    voltage_error_pu: Measured
    is_permitted_trip: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a whole sequence showed.

    Attributes:
        findings: per segment, in order.
        before: power and current before the first event.
        highest_power: as a share of the rating, without sign, transients left out.
    """

    findings: tuple[Finding, ...]
    before: Before
    highest_power: Measured


def examine(
    sequence: Sequence[Segment],
    table: SequenceTable,
    given: Output,
    of: Unit,
    *,
    start_s: float,
    f0_hz: float,
    bands: Sequence[RideThroughBand],
    phases: Sequence[int] = (1, 2, 3),
) -> Findings:
    """Look at each segment in turn, each in the light of the one before.

    The last half cycle of a segment is left out: a one-cycle window knows no end better than that.

    Args:
        sequence: as it was played.
        table: the times in which the unit has to follow.
        given: what the unit gave, for the whole sequence.
        of: its rating and the meaning of the words.
        start_s: rig time at which the first segment began.
        f0_hz: nominal frequency.
        bands: ride-through tables of the unit's category.
        phases: those that the profile moved.
    """
    cycle_s = 1.0 / f0_hz
    first = sequence[0]
    # The second half of the first segment: what was there before has died away.
    window = (start_s + first.duration_s / 2.0, start_s + first.duration_s - cycle_s / 2.0)
    before = Before(current_a=mean(given.current_a, window), power_w=mean(given.power_w, window))
    found: list[Finding] = []
    mode = Mode.CARRYING
    is_tripped = False
    highest = 0.0
    for item, duty in zip(sequence, duties(sequence, bands), strict=True):
        allowed = item.allowed[mode]
        begin_s = start_s + item.start_s
        end_s = start_s + item.end_s
        has_stopped = mode is not Mode.CARRYING
        respond_s = _respond_s(table, allowed, cycle_s, has_stopped=has_stopped)
        judged_s = (
            begin_s + max(0.0, min(respond_s, item.duration_s - 2.0 * cycle_s)),
            end_s - cycle_s / 2.0,
        )
        permitted_s = begin_s + duty.permitted_from_s
        modes = classify(given, judged_s, before, of)
        bound_s = (judged_s[0], min(judged_s[1], permitted_s))
        bound = classify(given, bound_s, before, of)
        wrong = sum(count for shown, count in bound.items() if shown not in allowed)
        if duty.is_beyond and wrong == 0 and any(shown not in allowed for shown in modes):
            is_tripped = True
        is_demanded = allowed == {Mode.CARRYING} and permitted_s > judged_s[0]
        found.append(
            Finding(
                segment=item,
                mode=_whole(modes),
                allowed=allowed,
                judged_s=bound_s,
                violations=None
                if permitted_s <= judged_s[0]
                else Measured(
                    float(wrong) if bound else math.nan, 0.0, "count", bound_s, given.current_a.source
                ),
                lowest_current=_lowest_share(given, bound_s, before, of) if is_demanded else None,
                restore_s=_restore_s(given, (begin_s, end_s), before, of)
                if has_stopped and is_demanded
                else None,
                power_change=_power_change(given, end_s, before, of)
                if item is not first and not item.is_event
                else None,
                voltage_error_pu=_voltage_error_pu(item, given, of, start_s=start_s, phases=phases),
                is_permitted_trip=is_tripped,
            )
        )
        power = given.power_w.between(judged_s).values
        highest = max(highest, float(np.abs(power).max(initial=0.0)))
        mode = _whole(modes)
    return Findings(
        findings=tuple(found),
        before=before,
        highest_power=measured(
            highest / of.rated_va,
            "1",
            {
                "gain": given.power_w.gain_u * highest / of.rated_va,
                "offset": given.power_w.offset_u / of.rated_va,
            },
            window_s=(start_s, start_s + sequence[-1].end_s),
            sources=given.power_w.source,
        ),
    )


def _respond_s(table: SequenceTable, allowed: frozenset[Mode], cycle_s: float, *, has_stopped: bool) -> float:
    """Time from the start of a segment after which its mode is judged."""
    if Mode.CARRYING not in allowed:
        return table.cease_s
    return table.restore_s if has_stopped else table.transient_cycles * cycle_s


def _whole(modes: Mapping[Mode, int]) -> Mode:
    [*shown] = modes
    return shown[0] if len(shown) == 1 else Mode.PARTIAL


def _power_change(given: Output, end_s: float, before: Before, of: Unit) -> Measured:
    """Power over the last second of a segment, less the power before the first event."""
    end_s -= given.power_w.window_s / 2.0
    after = mean(given.power_w, (end_s - 1.0, end_s))
    return scaled(difference(after, before.power_w), 1.0 / of.rated_va, "1")


def _share(given: Output, before: Before, of: Unit) -> Series:
    """Current as a share of the current before; no share of nothing."""
    series = given.current_a
    reference = before.current_a.value if _has_reference(before, of) else 0.0
    values = series.values / reference if reference > 0.0 else np.zeros(len(series.values))
    return Series(
        series.at_s,
        values,
        "1",
        series.window_s,
        series.step_s,
        series.source,
        # Numerator and reference share the gain, so it cancels.
        0.0,
        math.sqrt(2.0) * series.offset_u / reference if reference > 0.0 else 0.0,
        series.trigger_skew_s,
    )


def _lowest_share(given: Output, window: tuple[float, float], before: Before, of: Unit) -> Measured:
    inside = _share(given, before, of).between(window)
    value = float(inside.values.min()) if len(inside.values) else math.nan
    return measured(value, "1", {"offset": inside.offset_u}, window_s=window, sources=inside.source)


def _restore_s(given: Output, window: tuple[float, float], before: Before, of: Unit) -> Measured:
    """Time from the start of the segment to carrying, five cycles of which have to follow."""
    share = _share(given, before, of)
    cycle_s = share.window_s
    keep = share.at_s <= window[1] - cycle_s / 2.0
    carrying = _carrying(given.current_a.values, given.power_w.values, before, of)
    # Where the current flows in the wrong direction it counts as none.
    values = np.where(carrying, share.values, np.minimum(share.values, 0.0))
    segment = Series(
        share.at_s[keep],
        values[keep],
        "1",
        share.window_s,
        share.step_s,
        share.source,
        share.gain_u,
        share.offset_u,
        share.trigger_skew_s,
    )
    return time_until(
        segment,
        of.mandatory_share,
        start_s=window[0],
        rising=True,
        dwell_s=5.0 * cycle_s,
    )


def _voltage_error_pu(
    item: Segment, given: Output, of: Unit, *, start_s: float, phases: Sequence[int]
) -> Measured:
    """Largest distance of any phase from what was asked.

    Two cycles of rise are left out at the start (IEEE 1547.1, 5.4.2), and half a cycle at the end.
    """
    cycle_s = given.voltage_v[0].window_s
    window = (start_s + item.start_s + 2.0 * cycle_s, start_s + item.end_s - cycle_s / 2.0)
    worst = math.nan
    for phase, series in enumerate(given.voltage_v, start=1):
        inside = series.between(window)
        asked = (
            np.array([item.voltage_pu(at_s - start_s) for at_s in inside.at_s.tolist()])
            if item.is_ramp and phase in phases
            else np.full(len(inside.at_s), item.to_pu if phase in phases else 1.0)
        )
        errors = inside.values / of.nominal_v - asked
        if len(errors):
            largest = float(errors[np.argmax(np.abs(errors))])
            worst = largest if math.isnan(worst) or abs(largest) > abs(worst) else worst
    series = given.voltage_v[0]
    return measured(
        worst,
        "1",
        {"gain": series.gain_u * max(item.from_pu, item.to_pu), "offset": series.offset_u / of.nominal_v},
        window_s=window,
        sources=tuple(series.source[0] for series in given.voltage_v),
    )


def judge_findings(judge: Judge, findings: Findings, *, case: str = "") -> tuple[Judgement, ...]:
    """Judge the stimulus of every segment, and then all that the unit showed.

    After a permitted trip nothing more is judged: a permission is no verdict.

    Args:
        judge: of a plan that declares ``MEASURES``.
        findings: of one sequence.
        case: which sequence, where a plan plays several.

    Raises:
        StimulusMissed: the source did not play what was asked.
    """
    prefix = f"{case}, " if case else ""
    made = [
        judge.stimulus(
            "residual voltage",
            item.voltage_error_pu,
            "rackproof_bench.stimulus_level",
            case=prefix + item.segment.case,
        )
        for item in findings.findings
    ]
    was_tripped = False
    has_restored = False
    for item in findings.findings:
        if was_tripped:
            break
        was_tripped = item.is_permitted_trip
        name = prefix + item.segment.case
        if item.violations is not None:
            made.append(judge("segment modes", item.violations, "ieee1547_1.segment_violations", case=name))
        if item.lowest_current is not None:
            made.append(
                judge("mandatory current", item.lowest_current, "ieee1547_1.mandatory_current", case=name)
            )
        if item.restore_s is not None:
            has_restored = True
            made.append(judge("restore time", item.restore_s, "ieee1547_1.restore_output", case=name))
        if item.power_change is not None:
            made.append(
                judge("power after an event", item.power_change, "ieee1547_1.post_event_power", case=name)
            )
    if not has_restored:
        # The unit never stopped: it needed no time to come back.
        sources = findings.highest_power.sources
        none = Measured(0.0, 0.0, "s", findings.highest_power.window_s, sources)
        made.append(judge("restore time", none, "ieee1547_1.restore_output", case=f"{prefix}never stopped"))
    made.append(judge("highest power", findings.highest_power, "ieee1547_1.highest_power", case=case))
    return tuple(made)
