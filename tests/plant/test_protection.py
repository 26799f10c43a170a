"""Relays: closed forms of their trip times, tolerances, and permissions."""

import math
from dataclasses import replace

import pytest

from harness.plant import (
    GridSpec,
    RocofTrip,
    ieee1547_category_1,
    ieee1547_category_2,
    ieee1547_category_3,
    japan_frt,
)
from harness.plant.network import Triple
from harness.plant.protection import Protection
from harness.plant.ride_through import IEEE1547_ROCOF_HZ_PER_S
from harness.roles import GridStep, OperatingState

from .test_converter import level, rig_with

NOMINAL_V = 115.470053838
FOLLOWING = {"islanding": False, "transfer_below_pu": None}


def three(pu: float) -> Triple:
    return (pu * NOMINAL_V, pu * NOMINAL_V, pu * NOMINAL_V)


@pytest.mark.parametrize("cycles", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    ("step", "clearing_s", "name"),
    [((1.0, 0.30, 0.45), 0.16, "uv2"), ((0.72, 0.68, 0.70), 10.0, "uv1"), ((1.0, 1.25, 1.20), 0.16, "ov2")],
)
def test_a_voltage_trip_is_as_late_as_its_window_makes_it(cycles, step, clearing_s, name):
    from_pu, to_pu, threshold_pu = step
    window_s = cycles / 60.0
    ride = replace(ieee1547_category_2(), voltage_window_s=window_s)
    rig = rig_with(3000.0, ride_through=ride, **FOLLOWING)
    rig.grid.play([level(from_pu, 1.0), level(to_pu, 20.0)])
    rig.advance(6.0 + clearing_s + 0.1)
    crossed = (from_pu - threshold_pu) / (from_pu - to_pu)
    # What the current does behind the microohms of the source.
    assert rig.converter.tripped_s - 6.0 == pytest.approx(clearing_s + window_s * (crossed - 0.5), abs=2e-6)
    assert rig.converter.alarms == {name}


def test_a_step_that_lies_evenly_about_the_threshold_trips_at_the_clearing_time():
    """As IEEE 1547.1-2020, 5.5 steps: from 99 to 101 % of the pickup."""
    ride = replace(ieee1547_category_2(), frequency_window_s=3.0 / 60.0)
    rig = rig_with(ride_through=ride, **FOLLOWING)
    rig.grid.play([level(1.0, 1.0, 61.5), level(1.0, 2.0, 62.5)])
    rig.advance(8.0)
    assert rig.converter.tripped_s == pytest.approx(6.16, abs=1e-6)
    assert rig.converter.alarms == {"of2"}


def test_a_dip_shorter_than_the_window_needs_is_not_seen():
    ride = replace(ieee1547_category_2(), voltage_window_s=1.0 / 60.0)
    for dip_s, is_running in ((0.008, False), (0.016, True)):
        rig = rig_with(3000.0, ride_through=ride, **FOLLOWING)
        # To 0.40: the mean crosses 0.45 pu after 0.917 windows, 15.3 ms.
        rig.grid.play([level(0.40, dip_s), level(1.0, 5.0)])
        seen = []
        for step in range(1, 60):
            rig.advance(5.0 + step * 0.001)
            seen.append(rig.converter.protection._timers.is_running("uv2"))
        assert any(seen) is is_running


@pytest.mark.parametrize("is_rising", [True, False])
@pytest.mark.parametrize(("category", "limit_hz_per_s"), IEEE1547_ROCOF_HZ_PER_S.items())
def test_a_unit_set_to_its_categorys_rate_rides_through_it_and_trips_beyond(
    category, limit_hz_per_s, is_rising
):
    """Over 2.9 Hz, all that the frequency relays leave: at 3.3 Hz/s longer than windows and hold together."""
    make = {"I": ieee1547_category_1, "II": ieee1547_category_2, "III": ieee1547_category_3}[category]
    rocof = RocofTrip(threshold_hz_per_s=1.02 * limit_hz_per_s)
    from_hz, to_hz = (58.9, 61.8) if is_rising else (61.8, 58.9)
    for factor in (1.0, 1.1):
        rig = rig_with(ride_through=replace(make(), rocof=rocof), **FOLLOWING)
        approach_s, span_s = 4.0 / limit_hz_per_s, 2.9 / (factor * limit_hz_per_s)
        rig.grid.play(
            [
                level(1.0, approach_s, from_hz, is_ramp=True),
                level(1.0, 1.0, from_hz),
                level(1.0, span_s, to_hz, is_ramp=True),
                level(1.0, 1.0, to_hz),
            ]
        )
        start_s = 5.0 + approach_s + 1.0
        rig.advance(start_s + span_s + 0.9)
        if factor == 1.0:
            assert not rig.converter.alarms
            continue
        assert rig.converter.alarms == {"rocof"}
        # Between one window and two the share of the rate that is measured is 1 - (2 W - t)² / 2 W².
        missing = 1.0 - 1.02 / 1.1
        crossed_s = rocof.window_s * (2.0 - math.sqrt(2.0 * missing))
        # It looks where steps end, and those of a ramp are 5 ms.
        late_s = rig.converter.tripped_s - start_s - crossed_s - rocof.hold_s
        assert -1e-6 <= late_s <= 0.005 + 1e-6


def test_the_rate_is_measured_over_two_windows():
    ride = replace(ieee1547_category_2(), rocof=RocofTrip(threshold_hz_per_s=5.0, window_s=0.1))
    rig = rig_with(ride_through=ride, **FOLLOWING)
    rig.grid.play([level(1.0, 0.5, 61.0, is_ramp=True), level(1.0, 2.0, 61.0)])
    for after_s, share in ((0.1, 0.5), (0.2, 1.0), (0.35, 1.0)):
        rig.advance(5.0 + after_s)
        found = rig.converter.protection.rocof_hz_per_s(rig.now_s)
        # s t² / 2 W² until one window, then up to s at two.
        assert found == pytest.approx(2.0 * share, rel=1e-6)


def test_a_phase_jump_trips_a_quick_rate_relay_and_not_one_that_holds():
    """20 degrees over windows of 0.1 s: 5.6 Hz/s up for 0.1 s, then down for 0.1 s."""
    for hold_s, trips in ((0.15, True), (0.3, False)):
        rocof = RocofTrip(threshold_hz_per_s=3.0, window_s=0.1, hold_s=hold_s)
        rig = rig_with(ride_through=replace(ieee1547_category_2(), rocof=rocof), **FOLLOWING)
        rig.grid.play([level(1.0, 1.0), level(1.0, 5.0, phase_jump_deg=20.0)])
        rig.advance(8.0)
        assert (rig.converter.alarms == {"rocof"}) is trips


@pytest.mark.parametrize(("jump_deg", "trips"), [(20.0, False), (-20.0, False), (25.1, True), (-25.1, True)])
def test_a_phase_jump_beyond_what_it_can_follow_trips(jump_deg, trips):
    ride = replace(ieee1547_category_2(), phase_jump_trip_deg=25.0, frequency_window_s=0.05)
    rig = rig_with(ride_through=ride, **FOLLOWING)
    rig.grid.play([level(1.0, 1.0), level(1.0, 5.0, phase_jump_deg=jump_deg)])
    rig.advance(7.0)
    assert (rig.converter.alarms == {"phase_jump"}) is trips
    if trips:
        assert rig.converter.tripped_s == pytest.approx(6.05)


def test_a_jump_of_20_degrees_shows_in_the_frequency_and_trips_nothing():
    ride = replace(ieee1547_category_2(), frequency_window_s=5.0 / 60.0)
    rig = rig_with(ride_through=ride, **FOLLOWING)
    rig.grid.play([level(1.0, 1.0), level(1.0, 5.0, phase_jump_deg=20.0)])
    rig.advance(6.04)
    assert rig.converter.protection.frequency_hz(6.04, 60.0) == pytest.approx(60.667, abs=0.001)
    rig.advance(8.0)
    assert not rig.converter.alarms


def test_the_worst_unit_that_conforms_trips_where_the_duty_ends():
    """Category II at 0.75 pu: 3 + 8.7 x 0.10 = 3.87 s; at 0.50 pu 0.32 s; at 1.17 pu 0.5 s."""
    ride = replace(ieee1547_category_2(widest_under_voltage=True), trips_when_permitted=True)
    for pu, expected_s in ((0.75, 3.87), (0.50, 0.32), (1.17, 0.5)):
        rig = rig_with(ride_through=ride, **FOLLOWING)
        rig.grid.play([level(pu, 30.0)])
        rig.advance(5.0 + 4.5)
        assert rig.converter.tripped_s - 5.0 == pytest.approx(expected_s, abs=1e-5)
        assert rig.converter.alarms == {"may_trip"}


def test_the_worst_unit_still_rides_through_the_signal_up_to_its_doubtful_segment():
    """A, B, C, D, E of category II hold no longer than the duty; D' (7.68 s) does."""
    ride = replace(ieee1547_category_2(widest_under_voltage=True), trips_when_permitted=True)
    first = [level(0.94, 1.0), level(0.28, 0.16), level(0.46, 0.155), level(0.652, 2.68)]
    ramp = [level(0.88, 2.0, is_ramp=True), level(0.94, 10.0)]
    rig = rig_with(ride_through=ride, **FOLLOWING)
    rig.grid.play([*first, *ramp])
    rig.advance(20.0)
    assert not rig.converter.alarms
    rig = rig_with(ride_through=ride, **FOLLOWING)
    rig.grid.play([*first[:3], level(0.69, 7.68)])
    rig.advance(20.0)
    assert rig.converter.alarms == {"may_trip"}


@pytest.mark.parametrize("hertz", [50.0, 60.0])
def test_japanese_relays_and_ride_through_coexist_on_one_settings_file(hertz):
    """Frequency: a step for 3 cycles of +0.8 Hz (50 Hz) or +1.0 Hz (60 Hz), and 2 Hz/s to the edges."""
    edges = {50.0: (0.8, 47.5, 51.5), 60.0: (1.0, 57.0, 61.8)}
    step_hz, low_hz, high_hz = edges[hertz]
    ride = replace(japan_frt(hertz), voltage_window_s=1.0 / hertz, frequency_window_s=3.0 / hertz)
    options = {"ride_through": ride, "nominal_frequency_hz": hertz, **FOLLOWING}
    grid = GridSpec(source_resistance_ohm=1e-6, source_reactance_ohm=1e-6, frequency_hz=hertz)
    rig = rig_with(5000.0, grid=grid, **options)
    steady = level(1.0, 1.0, hertz)
    steps = [level(1.0, 3.0 / hertz, hertz + step_hz), steady]
    for edge_hz in (high_hz, low_hz):
        span_s = abs(edge_hz - hertz) / 2.0
        steps += [
            GridStep(span_s, (1.0,) * 3, edge_hz, is_ramp=True),
            level(1.0, 2.0, edge_hz),
            GridStep(span_s, (1.0,) * 3, hertz, is_ramp=True),
            steady,
        ]
    rig.grid.play([*steps, level(0.0, 0.3, hertz), steady, level(1.0, 5.0, high_hz + 0.1)])
    while rig.now_s < 5.0 + sum(step.duration_s for step in steps) + 1.3:
        rig.advance(rig.now_s + 0.25)
        assert not rig.converter.alarms
    rig.advance(rig.now_s + 3.0)
    assert rig.converter.alarms == {"ofr"}
    assert rig.converter.state is OperatingState.FAULT


def test_a_relay_that_looks_only_now_and_then_counts_from_the_same_crossing():
    """Whoever looks in between changes nothing: the trip is due at the same instant."""
    found = []
    for looks_s in (0.0007, 0.003, 0.05):
        ride = replace(ieee1547_category_2(), voltage_window_s=1.0 / 60.0)
        rig = rig_with(3000.0, ride_through=ride, **FOLLOWING)
        rig.grid.play([level(0.40, 5.0)])
        while rig.now_s < 5.4:
            rig.advance(rig.now_s + looks_s)
        found.append(rig.converter.tripped_s)
    assert max(found) - min(found) < 1e-7


def test_means_forget_what_no_window_reaches():
    protection = Protection(replace(ieee1547_category_2(), voltage_window_s=0.02), NOMINAL_V)
    for step in range(5000):
        start_s = step * 0.01
        protection.watch(start_s, start_s + 0.01, (three(1.0), three(0.9 + 0.1 * (step % 2))), (60.0, 60.0))
    assert len(protection._volts[0]._times_s) < 400
