"""Waveforms in closed form: what comes out is known before."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.judge.waveforms import (
    Series,
    closing,
    deviation_from_projection,
    frequency_series,
    half_cycle_marks,
    longest_interruption,
    maximum,
    mean,
    mean_frequency_hz,
    minimum,
    moving_mean,
    positive_sequence,
    power_one_cycle_w,
    reactive_power_one_cycle_var,
    rms_half_cycle,
    samples,
    settling,
    time_from,
    time_until,
)
from harness.readings import Waveform

RATE = 10_000.0
BOTH = pytest.mark.parametrize("f0_hz", [50.0, 60.0])


def sine(
    rms=100.0, f_hz=50.0, length_s=1.0, phase=0.0, *, rate=RATE, start_s=0.0, channel="pcs_ac.u1_v", **extra
) -> Waveform:
    """``rms`` may be a function of rig time."""
    t = start_s + np.arange(round(length_s * rate)) / rate
    level = np.vectorize(rms)(t) if callable(rms) else rms
    x = level * math.sqrt(2) * np.sin(2 * math.pi * f_hz * t + phase)
    return Waveform(x, start_s, rate, channel, **extra)


def three(rms, f_hz, phase=0.0, letter="u", **extra) -> list[Waveform]:
    return [
        sine(rms, f_hz, phase=phase - k * 2 * math.pi / 3, channel=f"pcs_ac.{letter}{k + 1}", **extra)
        for k in range(3)
    ]


def stairs(values, step_s=0.01, window_s=0.0, **extra) -> Series:
    values = np.array(values, dtype=float)
    return Series(np.arange(len(values)) * step_s, values, "V", window_s, step_s, ("x",), **extra)


@BOTH
@given(
    rms=st.floats(1.0, 500.0),
    phase=st.floats(0.0, 6.3),
    off_hz=st.floats(-2.5, 2.5),
)
@settings(max_examples=25)
def test_rms_of_a_steady_sine_has_no_ripple_at_any_phase_or_frequency(f0_hz, rms, phase, off_hz):
    series = rms_half_cycle(sine(rms, f0_hz + off_hz, 0.3, phase), f0_hz)
    inner = series.values[1:-1]
    assert inner == pytest.approx(np.full(len(inner), rms), rel=2e-3)
    assert len(series.values) == pytest.approx(0.3 * 2 * (f0_hz + off_hz) - 2, abs=1.1)


@BOTH
def test_rms_takes_a_whole_cycle_and_moves_by_half(f0_hz):
    series = rms_half_cycle(sine(100.0, f0_hz), f0_hz)
    assert series.window_s == pytest.approx(1 / f0_hz, rel=1e-3)
    assert np.diff(series.at_s) == pytest.approx(np.full(len(series.at_s) - 1, 0.5 / f0_hz), abs=1e-5)


@BOTH
def test_a_sag_that_begins_at_a_zero_crossing_takes_exactly_one_cycle_to_show(f0_hz):
    """Urms(1/2) is full, then the RMS of half a cycle each, then the residual."""
    step_s = 10 / f0_hz
    series = rms_half_cycle(sine(lambda t: 100.0 if t < step_s - 1e-9 else 20.0, f0_hz), f0_hz)
    around = series.values[np.searchsorted(series.at_s, step_s - 0.6 / f0_hz) :][:3]
    between = math.sqrt((100.0**2 + 20.0**2) / 2)
    assert around == pytest.approx([100.0, between, 20.0], rel=1e-3)


@BOTH
def test_marks_go_on_through_an_interruption(f0_hz):
    gone = (0.3, 0.6)
    quiet = sine(lambda t: 0.0 if gone[0] <= t < gone[1] else 100.0, f0_hz, phase=0.4)
    marks = half_cycle_marks(quiet, f0_hz)
    assert np.diff(marks) == pytest.approx(np.full(len(marks) - 1, 0.5 / f0_hz), rel=0.35)
    lowest = minimum(rms_half_cycle(quiet, f0_hz), gone)
    assert lowest.value == pytest.approx(0.0, abs=1e-9)


def test_noise_in_an_interruption_is_no_crossing():
    rng = np.random.default_rng(7)
    quiet = sine(lambda t: 0.0 if 0.3 <= t < 0.6 else 100.0, 50.0)
    noisy = Waveform(quiet.samples + rng.normal(0, 0.3, len(quiet.samples)), 0.0, RATE, "x", offset_u=0.3)
    marks = half_cycle_marks(noisy, 50.0)
    assert np.diff(marks) == pytest.approx(np.full(len(marks) - 1, 0.01), rel=0.35)


def test_a_dead_channel_is_divided_by_the_nominal_frequency():
    series = rms_half_cycle(sine(0.0, 60.0), 60.0)
    assert len(series.values) == 118
    assert maximum(series).value == 0.0


@BOTH
@given(angle=st.floats(-3.1, 3.1), current=st.floats(0.1, 60.0))
@settings(max_examples=25)
def test_power_of_a_balanced_system(f0_hz, angle, current):
    u = three(115.0, f0_hz, length_s=0.2)
    i = three(current, f0_hz, -angle, "i", length_s=0.2)
    apparent = 3 * 115.0 * current
    p1 = power_one_cycle_w(u, i, f0_hz)
    q1 = reactive_power_one_cycle_var(u, i, f0_hz)
    assert p1.values == pytest.approx(
        np.full(len(p1.values), apparent * math.cos(angle)), abs=1e-3 * apparent
    )
    assert q1.values == pytest.approx(
        np.full(len(q1.values), apparent * math.sin(angle)), abs=2e-3 * apparent
    )


def test_one_cycle_power_of_one_phase_has_no_double_frequency():
    p = power_one_cycle_w([sine(100.0, 60.0)], [sine(10.0, 60.0, phase=0.5)], 60.0)
    assert p.values == pytest.approx(np.full(len(p.values), 1000 * math.cos(0.5)), rel=1e-3)


def test_positive_sequence_does_not_see_a_negative_one():
    u = three(100.0, 50.0)
    swapped = [u[0], u[2], u[1]]
    assert np.abs(positive_sequence(u, 50.0)[1]) == pytest.approx(np.full(98, 100.0), rel=1e-3, abs=1)
    assert np.abs(positive_sequence(swapped, 50.0)[1]).max() < 0.1


@BOTH
def test_a_long_recording_says_the_same_from_its_first_cycle_to_its_last(f0_hz):
    """Samples are worked on in blocks, and windows reach over their ends."""
    u = three(115.0, f0_hz, length_s=15.0, start_s=7.0)
    i = three(20.0, f0_hz, -0.5, "i", length_s=15.0, start_s=7.0)
    marks = half_cycle_marks(u[0], f0_hz, from_crossings=False)
    apparent = 3 * 115.0 * 20.0
    for found, expected in (
        (rms_half_cycle(u[0], f0_hz, marks=marks), 115.0),
        (power_one_cycle_w(u, i, f0_hz, marks=marks), apparent * math.cos(0.5)),
        (reactive_power_one_cycle_var(u, i, f0_hz, marks=marks), apparent * math.sin(0.5)),
    ):
        assert found.values == pytest.approx(np.full(len(marks) - 2, expected), rel=2e-5)
    _, phasors = positive_sequence(u, f0_hz, marks=marks)
    assert np.ptp(np.angle(phasors)) < 1e-6


def test_channels_that_were_not_sampled_together_are_refused():
    with pytest.raises(ValueError, match="not sampled together"):
        power_one_cycle_w([sine(100.0, 50.0)], [sine(10.0, 50.0, start_s=0.1)], 50.0)


@BOTH
@given(off_hz=st.floats(-2.0, 2.0), phase=st.floats(0.0, 6.3))
@settings(max_examples=25)
def test_frequency_of_three_phases(f0_hz, off_hz, phase):
    u = three(115.0, f0_hz + off_hz, phase, length_s=0.4)
    assert mean_frequency_hz(u, f0_hz, between=(0.0, 0.4)).value == pytest.approx(f0_hz + off_hz, abs=2e-3)
    series = frequency_series(u, f0_hz, window_s=5 / f0_hz)
    assert series.values == pytest.approx(np.full(len(series.values), f0_hz + off_hz), abs=2e-3)


@BOTH
def test_a_phase_jump_reads_as_a_frequency_unless_it_is_blanked(f0_hz):
    """20 degrees across a window of five cycles: 0.67 Hz at 60 Hz (its four cycles of span: 0.83 Hz)."""
    jump_s = 0.5
    u = []
    for k in range(3):
        t = np.arange(int(RATE)) / RATE
        angle = 2 * math.pi * f0_hz * t - k * 2 * math.pi / 3 + math.radians(20) * (t >= jump_s)
        u.append(Waveform(100 * np.sin(angle), 0.0, RATE, f"u{k}"))
    raw = frequency_series(u, f0_hz, window_s=5 / f0_hz)
    assert raw.values.max() - f0_hz == pytest.approx(20 / 360 * f0_hz / 4, rel=0.02)
    blanked = frequency_series(u, f0_hz, window_s=5 / f0_hz, blanked=[(jump_s - 1e-3, jump_s + 1e-3)])
    assert np.isnan(blanked.values).sum() > 5
    assert np.nanmax(np.abs(blanked.values - f0_hz)) < 1e-3
    assert math.isnan(maximum(blanked).value)


def test_a_window_of_one_cycle_gives_no_frequency():
    with pytest.raises(ValueError, match="shorter than two cycles"):
        frequency_series(three(100.0, 50.0), 50.0, window_s=0.02)


def test_frequency_where_all_is_blanked_is_no_number():
    assert math.isnan(
        mean_frequency_hz(three(100.0, 50.0), 50.0, between=(0.0, 0.1), blanked=[(0.0, 0.1)]).value
    )


@BOTH
@given(gap_ms=st.integers(1, 12), off_hz=st.floats(-0.2, 0.2), phase=st.floats(0.0, 6.3))
@settings(max_examples=25)
def test_an_interruption_of_milliseconds_shows_against_the_projected_sine(f0_hz, gap_ms, off_hz, phase):
    """A half-cycle RMS cannot tell 4 from 8 ms; the deviation sees each sample that is missing."""
    event_s, end_s = 0.4, 0.4 + gap_ms / 1000
    x = sine(100.0, f0_hz + off_hz, 0.6, phase)
    t = np.arange(len(x.samples)) / RATE
    gone = (t >= event_s - 1e-9) & (t < end_s - 1e-9)
    cut = Waveform(np.where(gone, 0.0, x.samples), 0.0, RATE, "load_ac.u1_v")
    deviation = deviation_from_projection(cut, f0_hz, event_s=event_s)
    assert deviation.values[~gone].max() < 5e-3
    assert deviation.values[gone] == pytest.approx(np.abs(x.samples[gone]) / 100 / math.sqrt(2), abs=5e-3)


def test_projection_wants_its_cycles_before_the_event():
    with pytest.raises(ValueError, match="10 cycles before"):
        deviation_from_projection(sine(), 50.0, event_s=0.1)


def test_extremes_carry_gain_and_offset():
    series = stairs([100.0, 80.0, 120.0], gain_u=0.003, offset_u=0.4)
    lowest = minimum(series)
    assert lowest.value == 80.0
    assert lowest.u == pytest.approx(math.hypot(0.24, 0.4))
    assert dict(lowest.parts) == pytest.approx({"gain": 0.24, "offset": 0.4})
    assert maximum(series, (0.0, 0.011)).value == 100.0
    assert mean(series, (0.0, 1.0)).value == 100.0


def test_an_empty_window_is_no_number():
    assert math.isnan(minimum(stairs([1.0, 2.0]), (5.0, 6.0)).value)
    assert math.isnan(mean(stairs([1.0, 2.0]), (5.0, 6.0)).value)


def test_windows_that_reach_out_are_left_out():
    series = stairs([0.0, 5.0, 1.0], step_s=0.01, window_s=0.02)
    assert maximum(series, (0.01, 0.03)).value == 1.0


@BOTH
@given(rise_s=st.floats(0.02, 0.5))
@settings(max_examples=30)
def test_a_restore_time_is_right_within_its_half_cycle(f0_hz, rise_s):
    event_s = 0.2
    x = sine(lambda t: 20.0 if t < event_s + rise_s else 100.0, f0_hz, 1.2)
    found = time_until(rms_half_cycle(x, f0_hz), 80.0, start_s=event_s, rising=True, dwell_s=0.1)
    assert found.value == pytest.approx(rise_s, abs=0.5 / f0_hz)
    assert dict(found.parts)["window"] == pytest.approx(0.5 / f0_hz / math.sqrt(3), rel=1e-2)


def test_a_straight_line_crosses_where_it_should():
    ramp = stairs(np.arange(11.0))
    assert time_until(ramp, 5.5, start_s=0.0, rising=True).value == pytest.approx(0.055)
    down = stairs(10.0 - np.arange(11.0))
    assert time_until(down, 2.5, start_s=0.02, rising=False).value == pytest.approx(0.055)


def test_never_is_infinite_and_says_when_the_capture_ended():
    found = time_until(stairs([0.0] * 11), 5.0, start_s=0.02, rising=True, dwell_s=0.03)
    assert found.value == math.inf
    assert found.window_s == pytest.approx((0.02, 0.07))


def test_a_crossing_that_does_not_stay_does_not_count():
    values = [0.0] * 10 + [9.0] * 2 + [0.0] * 10 + [9.0] * 20
    assert time_until(stairs(values), 5.0, start_s=0.0, rising=True).value == pytest.approx(0.0956, abs=1e-3)
    stays = time_until(stairs(values), 5.0, start_s=0.0, rising=True, dwell_s=0.1)
    assert stays.value == pytest.approx(0.2156, abs=1e-3)
    assert time_until(stairs(values), 5.0, start_s=0.0, rising=True, dwell_s=0.3).value == math.inf


def test_skew_counts_between_instruments_only():
    series = stairs(np.arange(11.0), trigger_skew_s=0.001)
    far = time_until(series, 5.0, start_s=0.0, rising=True)
    near = time_until(series, 5.0, start_s=0.0, rising=True, is_same_clock=True)
    between = time_from(
        stairs([9, 9, 0, 0, 9, 9], trigger_skew_s=1.0), 4.5, until=4.5, start_s=0.0, rising=False, dwell_s=0.0
    )
    assert dict(far.parts)["trigger skew"] == 0.001
    assert "trigger skew" not in dict(near.parts)
    assert between.value == pytest.approx(0.02, abs=1e-3)
    assert between.u < 0.01


def test_a_slow_edge_turns_the_instruments_error_into_time():
    slow = time_until(stairs(np.arange(101.0) / 10, offset_u=0.05), 5.0, start_s=0.0, rising=True)
    assert dict(slow.parts)["instrument"] == pytest.approx(0.005)


def test_time_between_two_levels_of_one_capture():
    bus = stairs([51, 51, 50, 48, 47, 46.5, 46.6, 47, 48, 50])
    found = time_from(bus, 48.5, until=47.5, start_s=0.0, rising=False, dwell_s=0.01)
    assert found.value == pytest.approx(0.075 - 0.0275)
    assert time_from(bus, 40.0, until=47.5, start_s=0.0, rising=False, dwell_s=0.01).value == math.inf
    assert time_from(bus, 48.5, until=60.0, start_s=0.0, rising=False, dwell_s=0.01).value == math.inf


def test_the_longest_of_several_interruptions():
    values = [9.0] * 5 + [0.0] * 3 + [9.0] * 5 + [0.0] * 7 + [9.0] * 5
    found = longest_interruption(stairs(values), 4.5)
    assert found.value == pytest.approx(0.07)
    assert longest_interruption(stairs([9.0] * 5), 4.5).value == 0.0
    assert longest_interruption(stairs([9.0, 9.0, 0.0, 0.0]), 4.5).value == math.inf
    assert math.isnan(longest_interruption(stairs([9.0]), 4.5).value)


def test_an_interruption_in_samples_has_samples_uncertainty():
    cut = samples(sine(lambda t: 0.0 if 0.4 <= t < 0.404 else 100.0), "V")
    deviating = deviation_from_projection(
        sine(lambda t: 0.0 if 0.4 <= t < 0.404 else 100.0), 50.0, event_s=0.4
    )
    assert cut.window_s == 0.0
    found = longest_interruption(
        Series(deviating.at_s, 1 - deviating.values, "1", 0.0, 1 / RATE, ("x",)), 0.9, between=(0.3, 0.5)
    )
    assert found.value == pytest.approx(0.004, abs=4e-4)
    assert found.u < 1e-4


@pytest.mark.parametrize("tau_s", [0.05, 0.2])
def test_settling_of_a_first_order_step(tau_s):
    """1 - exp(-t/tau) enters plus or minus 2 % at tau ln 50 (3.912 tau)."""
    t = np.arange(0, 3, 1e-3)
    step = Series(t, 1 - np.exp(-t / tau_s), "W", 0.0, 1e-3, ("x",))
    found = settling(step, target=1.0, band=0.02, start_s=0.0, dwell_s=1.0, window_s=0.0)
    assert found.value == pytest.approx(tau_s * math.log(50), abs=1e-3)


def test_settling_wants_its_dwell():
    t = np.arange(0, 2, 1e-3)
    ringing = Series(t, 1 + np.exp(-t / 0.3) * np.cos(2 * math.pi * 2 * t), "W", 0.0, 1e-3, ("x",))
    soon = settling(ringing, target=1.0, band=0.05, start_s=0.0, dwell_s=0.0, window_s=0.0)
    late = settling(ringing, target=1.0, band=0.05, start_s=0.0, dwell_s=0.5, window_s=0.0)
    assert soon.value < 0.2
    assert late.value > 0.7
    cut = settling(ringing, target=1.0, band=0.05, start_s=0.0, dwell_s=1.5, window_s=0.0)
    assert cut.value == math.inf


def test_a_moving_mean_takes_the_ripple_out():
    t = np.arange(0, 1, 1e-3)
    rippled = Series(t, 5 + np.sin(2 * math.pi * 100 * t), "W", 0.0, 1e-3, ("x",))
    smooth = moving_mean(rippled, 0.02 - 1e-3)
    assert np.abs(smooth.values - 5).max() < 1e-9
    assert smooth.at_s[0] == pytest.approx(0.0095)
    assert moving_mean(rippled, 0.0) is rippled
    assert len(moving_mean(rippled, 9.0).values) == 0


def joined_at(
    joined_s, f0_hz, *, off_hz=0.0, slip_hz=0.0, ahead_deg=0.0, side_v=100.0, gap_s=0.0, length_s=2.0
):
    """An island and mains: joined at an instant, when the island leads by an angle; dead for a gap before."""
    t = np.arange(round(length_s * 4000.0)) / 4000.0
    turns = (f0_hz + off_hz) * t + 0.1
    before = turns + slip_hz * (t - joined_s) + ahead_deg / 360.0
    island = np.where(t < joined_s - gap_s, side_v, 0.0) * np.sin(2 * math.pi * before)
    mains = 100.0 * np.sin(2 * math.pi * turns)
    sides = np.where(t < joined_s, island, mains) * math.sqrt(2), mains * math.sqrt(2)
    names = ("load_ac.u1_v", "grid_ac.u1_v")
    island_u, mains_u = (Waveform(x, 0.0, 4000.0, name) for x, name in zip(sides, names, strict=True))
    return closing(island_u, mains_u, f0_hz, nominal_v=100.0, gap_s=0.02)


@BOTH
@given(
    joined_s=st.floats(0.6, 1.5),
    ahead_deg=st.floats(-180.0, 180.0).filter(lambda deg: abs(deg) > 10.0),
    drift_hz=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.3, 0.3)),
    gap_s=st.sampled_from([0.0, 0.004, 0.02]),
)
@settings(max_examples=40)
def test_a_closing_out_of_phase_is_found_with_its_angle(f0_hz, joined_s, ahead_deg, drift_hz, gap_s):
    slip_hz, off_hz = drift_hz
    found = joined_at(
        joined_s, f0_hz, off_hz=off_hz, slip_hz=slip_hz, ahead_deg=ahead_deg, side_v=97.0, gap_s=gap_s
    )
    assert found.at_s == pytest.approx(joined_s, abs=1.0 / f0_hz)
    assert math.remainder(found.angle.value - ahead_deg, 360.0) == pytest.approx(0.0, abs=4.0)
    assert found.frequency.value == pytest.approx(slip_hz, abs=1e-4 + 3.0 * found.frequency.u)
    assert found.voltage.value == pytest.approx(-3.0, abs=0.8)


@BOTH
@pytest.mark.parametrize("slip_hz", [-0.2, -0.05, 0.05, 0.2])
def test_sides_that_drift_together_are_joined_at_next_to_no_angle(f0_hz, slip_hz):
    found = joined_at(1.2, f0_hz, off_hz=0.05, slip_hz=slip_hz, length_s=3.0)
    assert abs(found.angle.value) < 2.0 * found.angle.u + 1.5
    assert found.frequency.value == pytest.approx(slip_hz, abs=2.0 * found.frequency.u)
    assert found.voltage.value == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize(
    "never",
    [
        {"joined_s": 5.0, "ahead_deg": 90.0},  # not within the capture
        {"joined_s": 0.1, "ahead_deg": 90.0},  # before anybody could have looked
        {"joined_s": 1.0, "side_v": 0.0},  # a dead side
        {"joined_s": 0.0},  # together all the time
    ],
)
def test_what_was_never_seen_side_by_side_was_never_in_phase(never):
    found = joined_at(f0_hz=50.0, **never)
    assert math.isinf(found.angle.value)
    assert math.isinf(found.frequency.value)
    assert math.isinf(found.voltage.value)
