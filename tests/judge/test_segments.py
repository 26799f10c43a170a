"""Ride-through signals: built, linted, and judged on both sides.

The unit under test is drawn here: a current for each moment of the sequence, no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from harness.errors import StimulusMissed
from harness.judge import Judge, Verdict
from harness.judge.segments import (
    MEASURES,
    Findings,
    Segment,
    classify,
    duties,
    examine,
    judge_findings,
    output,
    segments,
    steps,
    unit,
)
from harness.readings import Waveform
from harness.requirements import Mode, Requirements

ACCURACY = 0.002
NOMINAL_V = 200 / math.sqrt(3)
RATED_VA = 10_000.0
RATED_A = RATED_VA / 3 / NOMINAL_V
RATE = 1500.0
REQUIREMENTS = Requirements.load()
TABLE = REQUIREMENTS.sequence("lvrt_2")
SEQUENCE = segments(TABLE, ACCURACY)
BANDS = REQUIREMENTS.bands("II")
BOTH = pytest.mark.parametrize("f0_hz", [50.0, 60.0])

Share = Callable[[Segment, float], float]
"""Current as a share of the rating, by segment and time since its start."""


def healthy(item: Segment, since_s: float) -> float:
    """Carry 91 % everywhere, but cease while the voltage is in B or C."""
    return 0.0 if item.name in "BC" else 0.91


def play(
    share: Share,
    f0_hz: float,
    *,
    volts: Callable[[Segment, float], float] | None = None,
    start_s: float = 3.0,
) -> dict[str, Waveform]:
    """Draw a whole sequence, current in phase with the voltage, in blocks of one segment."""
    length = round(SEQUENCE[-1].end_s * RATE)
    t = np.arange(length) / RATE
    level = np.empty(length)
    current = np.empty(length)
    for item in SEQUENCE:
        inside = (t >= item.start_s - 1e-9) & (t < item.end_s - 1e-9)
        since = t[inside] - item.start_s
        asked = item.from_pu + (item.to_pu - item.from_pu) * since / item.duration_s
        level[inside] = asked if volts is None else [volts(item, s) for s in since.tolist()]
        # A current is drawn on a raster of 5 ms: fine enough for every judgement here.
        raster = np.arange(0.0, item.duration_s + 0.01, 0.005)
        drawn = np.array([share(item, s) for s in raster.tolist()])
        current[inside] = drawn[np.floor(since / 0.005 + 1e-6).astype(int)]
    waveforms = {}
    for k in (1, 2, 3):
        shape = math.sqrt(2) * np.sin(2 * math.pi * f0_hz * t - (k - 1) * 2 * math.pi / 3)
        u, i = f"pcs_ac.u{k}_v", f"pcs_ac.i{k}_a"
        waveforms[u] = Waveform(level * NOMINAL_V * shape, start_s, RATE, u, gain_u=1e-3, offset_u=0.01)
        waveforms[i] = Waveform(current * RATED_A * shape, start_s, RATE, i, gain_u=1e-3, offset_u=0.001)
    return waveforms


def found(share: Share, f0_hz: float, **more) -> Findings:
    of = unit(REQUIREMENTS, rated_va=RATED_VA, nominal_v=NOMINAL_V, f0_hz=f0_hz)
    given = output(play(share, f0_hz, **more), "pcs_ac", f0_hz)
    return examine(SEQUENCE, TABLE, given, of, start_s=3.0, f0_hz=f0_hz, bands=BANDS)


def verdicts(share: Share, f0_hz: float, **more) -> Judge:
    judge = Judge(MEASURES, REQUIREMENTS, f0_hz=f0_hz, given={})
    judge_findings(judge, found(share, f0_hz, **more))
    return judge


def failed(judge: Judge) -> set[tuple[str, str]]:
    return {(item.measure, item.case) for item in judge.judgements if item.verdict is not Verdict.PASS}


def test_the_sequence_lasts_exactly_288_seconds():
    assert "".join(item.name[0] + "'" * (len(item.name) - 1) for item in SEQUENCE) == "ABCDEABCDEFABCD'F"
    assert SEQUENCE[-1].end_s == 288.0
    assert math.fsum(step.duration_s for step in steps(SEQUENCE, 50.0)) == 288.0


def test_edges_are_approached_from_the_side_of_the_duty():
    by_name = {item.name: item for item in SEQUENCE}
    assert by_name["D"].to_pu == pytest.approx(0.65 + ACCURACY)
    assert by_name["C"].to_pu == pytest.approx(0.45 + ACCURACY)
    assert by_name["A"].to_pu == pytest.approx(1.0 - ACCURACY)
    ramp = by_name["E"]
    assert (ramp.to_pu - ramp.from_pu) / ramp.duration_s == pytest.approx(0.115)


@BOTH
def test_steps_move_the_phases_that_are_named(f0_hz):
    made = steps(SEQUENCE, f0_hz, phases=(2,))
    assert made[1].voltage_pu == (1.0, 0.28, 1.0)
    assert made[4].is_ramp
    assert not made[3].is_ramp
    assert {step.frequency_hz for step in made} == {f0_hz}


def test_lint_of_category_2_finds_the_doubtful_segment_alone():
    """Segment D' ends 8.0 s after the start where 3.35 s are the duty; all others stay within."""
    beyond = [duty for duty in duties(SEQUENCE, BANDS) if duty.is_beyond]
    assert [duty.segment.case for duty in beyond] == ["Dp 1"]
    assert beyond[0].since_s == pytest.approx(8.0)
    assert beyond[0].permitted_from_s == pytest.approx(3.0 + 8.7 * 0.04 - 0.32)
    assert "a trip is permitted" in beyond[0].text


@pytest.mark.parametrize(("name", "category"), [("lvrt_3", "III"), ("hvrt_2", "II"), ("hvrt_3", "III")])
def test_lint_of_the_other_sequences_is_clean(name, category):
    table = REQUIREMENTS.sequence(name)
    found = duties(segments(table, ACCURACY), REQUIREMENTS.bands(category))
    assert [duty.text for duty in found if duty.is_beyond] == []


def test_lint_finds_segment_d_at_a_random_level():
    """At 0.55 pu the duty ends 0.32 s after the start, which is before segment D begins."""
    wrong = [_moved(item, 0.55) if item.name == "D" else item for item in SEQUENCE]
    duty = duties(wrong, BANDS)[3]
    assert duty.is_beyond
    assert duty.permitted_from_s == 0.0


def test_lint_finds_a_source_that_is_taken_for_better_than_it_is():
    assert not duties(segments(TABLE, 0.0), BANDS)[3].is_beyond
    assert duties(segments(TABLE, -0.001), BANDS)[3].is_beyond


def _moved(item: Segment, level_pu: float) -> Segment:
    return Segment(
        case=item.case,
        name=item.name,
        start_s=item.start_s,
        duration_s=item.duration_s,
        from_pu=level_pu,
        to_pu=level_pu,
        is_ramp=False,
        allowed=item.allowed,
        is_event=True,
    )


@BOTH
def test_a_healthy_unit_passes(f0_hz):
    judge = verdicts(healthy, f0_hz)
    assert failed(judge) == set()
    assert judge.verdict() is Verdict.PASS


@BOTH
def test_a_unit_that_carries_throughout_passes(f0_hz):
    assert verdicts(lambda item, since_s: 0.91, f0_hz).verdict() is Verdict.PASS


def test_a_unit_that_charges_throughout_passes():
    assert verdicts(lambda item, since_s: -0.91, 60.0).verdict() is Verdict.PASS


@BOTH
def test_a_dead_unit_fails(f0_hz):
    judge = verdicts(lambda item, since_s: 0.0, f0_hz)
    assert judge.verdict() is Verdict.FAIL
    assert ("segment modes", "A 1") in failed(judge)
    assert ("mandatory current", "A 1") in failed(judge)
    assert ("restore time", "A 2") in failed(judge)


def test_a_dead_unit_with_a_filter_current_fails():
    judge = verdicts(lambda item, since_s: 0.02, 60.0)
    assert ("segment modes", "D 1") in failed(judge)
    assert ("mandatory current", "D 1") in failed(judge)


@BOTH
def test_a_frozen_recording_is_an_error_of_the_bench(f0_hz):
    with pytest.raises(StimulusMissed, match=r"residual voltage \[B 1\]"):
        verdicts(healthy, f0_hz, volts=lambda item, since_s: 0.998)


def test_a_sag_that_is_too_shallow_is_an_error_of_the_bench():
    def shallow(item, since_s):
        asked = item.from_pu + (item.to_pu - item.from_pu) * since_s / item.duration_s
        return 0.69 if item.case == "D 2" else asked

    with pytest.raises(StimulusMissed, match=r"\[D 2\]: 0.038"):
        verdicts(healthy, 60.0, volts=shallow)


def test_a_unit_that_trips_in_a_mandatory_segment_fails():
    def trips(item, since_s):
        at_s = item.start_s + since_s
        return healthy(item, since_s) if at_s < 12.0 else 0.0

    judge = verdicts(trips, 60.0)
    assert ("segment modes", "D 1") in failed(judge)
    assert ("restore time", "F 1") in failed(judge)
    assert ("power after an event", "F 2") in failed(judge)


def test_a_trip_beyond_the_duty_is_permitted_and_ends_the_judgement():
    """Segment D' demands 3.348 s since the start, 3.028 s of its own; after that nothing is judged."""

    def trips_late(item, since_s):
        is_off = (item.name == "Dp" and since_s > 3.1) or item.case == "F 2"
        return 0.0 if is_off else healthy(item, since_s)

    def trips_early(item, since_s):
        is_off = (item.name == "Dp" and since_s > 2.9) or item.case == "F 2"
        return 0.0 if is_off else healthy(item, since_s)

    late = verdicts(trips_late, 60.0)
    assert late.verdict() is Verdict.PASS
    assert "F 2" not in {item.case for item in late.judgements if not item.is_stimulus}
    early = verdicts(trips_early, 60.0)
    assert ("segment modes", "Dp 1") in failed(early)
    assert ("restore time", "F 2") in failed(early)


@BOTH
def test_mandatory_current_flips_at_80_percent(f0_hz):
    def carries(share):
        return lambda item, since_s: 0.91 * share if item.name == "D" else 0.91

    assert failed(verdicts(carries(0.81), f0_hz)) == set()
    assert failed(verdicts(carries(0.79), f0_hz)) >= {
        (measure, case) for measure in ("segment modes", "mandatory current") for case in ("D 1", "D 2")
    }


@BOTH
@pytest.mark.parametrize(("delay_s", "verdict"), [(0.385, Verdict.PASS), (0.42, Verdict.FAIL)])
def test_restore_flips_at_400_milliseconds(f0_hz, delay_s, verdict):
    """A unit that ceased in C has 0.4 s of segment D to come back; half a cycle is the window's own."""
    judge = verdicts(
        lambda item, s: 0.0 if item.name == "D" and s < delay_s - 1e-6 else healthy(item, s), f0_hz
    )
    assert judge.verdict() is verdict
    times = [item for item in judge.judgements if item.measure == "restore time" and item.case == "D 1"]
    assert times[0].value == pytest.approx(delay_s, abs=0.5 / f0_hz)


def test_a_unit_that_never_stopped_gets_no_time_to_restore():
    """A dip of the current at the start of D is bearable after a cessation and a fault without one."""

    def dips(item, since_s):
        return 0.3 if item.name == "D" and 0.1 < since_s < 0.3 else 0.91

    def dips_after_ceasing(item, since_s):
        return 0.0 if item.name in "BC" else dips(item, since_s)

    assert verdicts(dips_after_ceasing, 60.0).verdict() is Verdict.PASS
    assert ("segment modes", "D 1") in failed(verdicts(dips, 60.0))


@pytest.mark.parametrize(("peak", "verdict"), [(1.045, Verdict.PASS), (1.06, Verdict.FAIL)])
def test_power_above_the_rating_fails(peak, verdict):
    judge = verdicts(lambda item, s: peak if item.case == "F 1" else 1.02, 60.0)
    assert (("highest power", "") in failed(judge)) is (verdict is Verdict.FAIL)


@pytest.mark.parametrize(("change", "verdict"), [(0.045, Verdict.PASS), (0.06, Verdict.FAIL)])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_power_after_the_event_is_judged_on_both_sides(change, verdict, sign):
    judge = verdicts(lambda item, s: 0.85 + sign * change if item.name == "F" else 0.85, 60.0)
    assert judge.verdict() is verdict


def test_a_unit_that_turns_its_power_round_fails():
    judge = verdicts(lambda item, s: -0.91 if item.name in ("D", "E") else healthy(item, s), 60.0)
    assert ("segment modes", "D 1") in failed(judge)
    assert ("restore time", "D 1") in failed(judge)


def test_half_a_current_is_neither_carrying_nor_ceased():
    of = unit(REQUIREMENTS, rated_va=RATED_VA, nominal_v=NOMINAL_V, f0_hz=60.0)
    half = found(lambda item, s: 0.4 if item.name == "D" else healthy(item, s), 60.0)
    modes = {item.segment.case: item.mode for item in half.findings}
    assert modes["A 1"] is Mode.CARRYING
    assert modes["C 1"] is Mode.CEASED
    assert modes["D 1"] is Mode.PARTIAL
    given = output(play(healthy, 60.0), "pcs_ac", 60.0)
    assert set(classify(given, (4.0, 9.0), half.before, of)) == {Mode.CARRYING}


def test_from_500_kva_on_less_reactive_power_is_allowed_while_ceased():
    small = unit(REQUIREMENTS, rated_va=499e3, nominal_v=NOMINAL_V, f0_hz=60.0)
    large = unit(REQUIREMENTS, rated_va=500e3, nominal_v=NOMINAL_V, f0_hz=60.0)
    assert (small.ceased_reactive, large.ceased_reactive) == (0.10, 0.03)


def test_allowed_modes_depend_on_the_segment_before():
    """Category III, C: a unit that ceased may stay so; one that carries has to go on."""
    row = REQUIREMENTS.sequence("lvrt_3").rows["C"]
    assert row.allowed[Mode.CEASED] == {Mode.CARRYING, Mode.CEASED}
    assert row.allowed[Mode.CARRYING] == {Mode.CARRYING}


def test_several_sequences_in_one_plan_are_told_apart():
    judge = Judge(MEASURES, REQUIREMENTS, f0_hz=60.0, given={})
    findings = found(healthy, 60.0)
    judge_findings(judge, findings, case="half power")
    judge_findings(judge, findings, case="full power")
    assert judge.verdict() is Verdict.PASS
    assert {item.case for item in judge.judgements} >= {"half power, D 1", "full power, D 1"}
