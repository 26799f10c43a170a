"""Response, limits, trips, ride-through, island."""

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.plant import (
    BatterySpec,
    ConverterSpec,
    EnterService,
    GridSpec,
    LoadKind,
    LoadSpec,
    PlantSpec,
    RigPlant,
    ieee1547_category_2,
    ieee1547_category_3,
    japan_frt,
)
from harness.roles import GridStep, OperatingState

NOMINAL_V = 115.470053838
STIFF = GridSpec(source_resistance_ohm=1e-6, source_reactance_ohm=1e-6)


def rig_with(power_w=5000.0, load_w=3000.0, grid=STIFF, soc=0.5, ready_s=5.0, **converter):
    options = {"starts_on": True, "bms_timeout_s": None, **converter}
    rig = RigPlant(
        PlantSpec(
            battery=BatterySpec(cells_in_parallel=67, soc=soc),
            converter=ConverterSpec(**options),
            grid=grid,
            load=LoadSpec(power_w=load_w),
        )
    )
    rig.converter.set_power_w(power_w)
    rig.advance(ready_s)
    return rig


def level(pu, duration_s, frequency_hz=60.0, **more):
    return GridStep(duration_s, (pu, pu, pu), frequency_hz, **more)


def tripped_after_s(rig, since_s, most_s, resolution_s=0.0005):
    """Time from ``since_s`` until the converter stops following; None if it does not."""
    steps = math.ceil(most_s / resolution_s)
    for step in range(1, steps + 1):
        rig.advance(since_s + step * resolution_s)
        if rig.converter.state is OperatingState.FAULT or rig.converter.is_grid_forming:
            return step * resolution_s
    return None


@pytest.mark.parametrize("power_w", [5000.0, -5000.0])
def test_power_reaches_its_setpoint_and_the_battery_pays_the_loss(power_w):
    rig = rig_with(power_w)
    converter = rig.converter
    assert converter.power_w == pytest.approx(power_w, rel=1e-6)
    loss_w = 30.0 + 0.012 * 5000.0 + 2e-6 * 5000.0**2
    assert converter.dc_power_w == pytest.approx(power_w + loss_w, rel=1e-6)
    assert math.copysign(1.0, rig.string.current_a) == math.copysign(1.0, power_w)
    assert rig.grid.voltage_v(1) > 0.0
    assert rig.totals("grid_ac").energy_out_j > 0.0 or power_w < 0.0


def test_a_step_follows_its_open_loop_response():
    rig = rig_with(0.0, response_s=2.0, ramp_w_per_s=1e9)
    rig.converter.set_power_w(5000.0)
    for after_s, fraction in ((0.5, 1 - 10**-0.25), (2.0, 0.9), (4.0, 0.99)):
        rig.advance(5.0 + after_s)
        # The current loop of 5 ms lags behind by 5 ms of the slope.
        assert rig.converter.power_w == pytest.approx(5000.0 * fraction, abs=5000.0 * 0.007)


def test_a_ramp_takes_its_time():
    rig = rig_with(0.0, response_s=0.001, ramp_w_per_s=1000.0)
    rig.converter.set_power_w(4000.0)
    rig.advance(7.0)
    assert rig.converter.power_w == pytest.approx(2000.0, abs=10.0)
    rig.advance(9.1)
    assert rig.converter.power_w == pytest.approx(4000.0, rel=1e-4)


def test_reactive_power_gives_way_to_active_power():
    rig = rig_with(8000.0)
    rig.converter.set_reactive_power_var(9000.0)
    rig.advance(10.0)
    assert rig.converter.power_w == pytest.approx(8000.0, rel=1e-4)
    assert rig.converter.reactive_power_var == pytest.approx(6000.0, rel=1e-4)


def test_setpoints_beyond_the_rating_are_cut():
    rig = rig_with(15_000.0)
    assert rig.converter.power_w == pytest.approx(10_000.0, rel=1e-4)
    assert rig.converter.power_setpoint_w == 15_000.0


def test_heard_current_limits_bind_on_the_dc_side():
    rig = rig_with(10_000.0)
    rig.converter.hear_bms(20.0, 50.0, 60.0)
    rig.advance(8.0)
    assert rig.string.current_a == pytest.approx(50.0, rel=1e-3)
    assert rig.converter.state is OperatingState.THROTTLED
    rig.converter.set_power_w(-10_000.0)
    rig.advance(15.0)
    assert rig.string.current_a == pytest.approx(-20.0, rel=1e-3)


def test_the_heard_voltage_limit_is_held_while_charging():
    rig = rig_with(-10_000.0)
    limit_v = rig.string.voltage_v - 0.5
    rig.converter.hear_bms(200.0, 200.0, limit_v)
    for second in range(6, 120):
        rig.advance(second)
    assert rig.string.voltage_v == pytest.approx(limit_v, abs=0.005)


@pytest.mark.parametrize(
    ("pu", "expected_s"), [(0.30, 0.16), (0.60, 10.0), (1.15, 2.0), (1.25, 0.16), (0.72, None), (1.09, None)]
)
def test_category_2_voltage_trips_are_those_of_opender(pu, expected_s):
    rig = rig_with(9500.0, islanding=False, ride_through=ieee1547_category_2())
    rig.grid.play([level(pu, 12.0)])
    resolution_s = 0.0005 if expected_s and expected_s < 1.0 else 0.01
    found_s = tripped_after_s(rig, 5.0, 11.0, resolution_s)
    assert found_s == (None if expected_s is None else pytest.approx(expected_s, abs=0.001))


@pytest.mark.parametrize(("pu", "expected_s"), [(0.49, 2.0), (0.80, 21.0), (1.15, 13.0), (1.25, 0.16)])
def test_category_3_voltage_trips_are_those_of_opender(pu, expected_s):
    rig = rig_with(9500.0, islanding=False, ride_through=ieee1547_category_3())
    rig.grid.play([level(pu, 30.0)])
    rig.advance(5.0 + expected_s - 0.0005)
    assert rig.converter.state is not OperatingState.FAULT
    rig.advance(5.0 + expected_s + 0.0005)
    assert rig.converter.state is OperatingState.FAULT


@pytest.mark.parametrize(
    ("hertz", "name", "expected_s"), [(56.0, "uf2", 0.16), (58.0, "uf1", 300.0), (62.5, "of2", 0.16)]
)
def test_frequency_trips_after_their_clearing_time(hertz, name, expected_s):
    rig = rig_with(islanding=False)
    rig.grid.play([level(1.0, 400.0, hertz)])
    rig.advance(5.0 + expected_s - 0.0005)
    assert not rig.converter.alarms
    rig.advance(5.0 + expected_s + 0.0005)
    assert rig.converter.alarms == {name}
    assert rig.converter.power_w == 0.0


def test_a_ramp_trips_its_clearing_time_after_it_crosses():
    rig = rig_with(islanding=False)
    rig.grid.play([level(1.0, 2.0, 64.0, is_ramp=True), level(1.0, 1.0, 64.0)])
    # 2 Hz/s from 60 Hz: 62.0 Hz at 1 s, and OF2 clears in 0.16 s.
    rig.advance(5.0 + 1.16 - 0.001)
    assert not rig.converter.alarms
    rig.advance(5.0 + 1.16 + 0.001)
    assert rig.converter.alarms == {"of2"}


def test_an_excursion_that_ends_in_time_starts_the_timer_anew():
    rig = rig_with(islanding=False)
    rig.grid.play([level(0.3, 0.15), level(1.0, 0.01), level(0.3, 0.15), level(1.0, 1.0)])
    rig.advance(6.5)
    assert not rig.converter.alarms
    assert rig.converter.power_w == pytest.approx(5000.0, rel=1e-3)


def test_power_falls_with_the_voltage_where_the_current_limit_binds():
    # OpenDER 2.2 at 0.95 pu power: 0.516 at 0.43 pu, 0.78 at 0.65 pu, 0.95 at 0.88 pu (category II).
    rig = rig_with(9500.0, ride_through=ieee1547_category_2(widest_under_voltage=True))
    rig.grid.play([level(0.43, 0.16), level(0.65, 2.68), level(0.88, 2.0)])
    for at_s, expected_pu in ((5.15, 0.516), (7.0, 0.78), (9.0, 0.95)):
        rig.advance(at_s)
        assert rig.converter.power_w / 10_000.0 == pytest.approx(expected_pu, abs=0.001)


def category_2_sequence():
    # IEEE 1547.1-2020, as in SANDIA p1547.py: ABCDE, ABCDEF, ABCD'F.
    a, b, c, d = level(0.94, 10.0), level(0.28, 0.16), level(0.43, 0.16), level(0.651, 2.68)
    # Back at the first level's start the source ramps by 0.115 pu/s for 2 s.
    e, f, late = level(0.88, 2.0, is_ramp=True), level(0.94, 120.0), level(0.69, 7.68)
    return [a, b, c, d, e, a, b, c, d, e, f, a, b, c, late, f]


def test_the_category_2_sequence_rides_through_and_the_load_stays_on_the_mains():
    rig = rig_with(9100.0, ride_through=ieee1547_category_2(widest_under_voltage=True))
    rig.grid.play(category_2_sequence())
    rig.advance(15.0 + 0.155)
    assert rig.converter.power_w == 0.0
    rig.advance(15.0 + 0.31)
    assert rig.converter.is_connected
    while rig.grid.is_playing:
        rig.advance(rig.now_s + 0.5)
        assert rig.converter.is_connected
        assert not rig.converter.alarms
    rig.advance(rig.now_s + 2.0)
    assert rig.converter.power_w == pytest.approx(9100.0, rel=1e-3)


def test_category_3_ceases_at_once_and_comes_back():
    rig = rig_with(9500.0, ride_through=ieee1547_category_3(), islanding=False)
    rig.grid.play([level(0.03, 1.0), level(1.0, 10.0)])
    rig.advance(5.083)
    assert rig.converter.power_w == 0.0
    rig.advance(6.4)
    assert rig.converter.power_w >= 0.8 * 9500.0
    assert not rig.converter.alarms


@pytest.mark.parametrize("hertz", [50.0, 60.0])
@pytest.mark.parametrize("power_w", [9000.0, 5000.0, -9000.0])
@pytest.mark.parametrize(("residual", "back_s"), [(0.20, 0.1), (0.0, 1.0)])
def test_japanese_sags_are_ridden_through(hertz, power_w, residual, back_s):
    grid = replace(STIFF, frequency_hz=hertz)
    ride = japan_frt(hertz)
    rig = rig_with(power_w, grid=grid, ride_through=ride, nominal_frequency_hz=hertz)
    rig.grid.play([level(residual, 0.3, hertz), level(1.0, 5.0, hertz)])
    rig.advance(5.29)
    assert rig.converter.is_connected
    assert abs(rig.converter.power_w) < 0.25 * 10_000.0
    rig.advance(5.3 + back_s)
    assert abs(rig.converter.power_w) >= 0.8 * abs(power_w)
    assert not rig.converter.alarms


def test_the_relay_of_the_same_settings_trips_on_a_long_sag():
    rig = rig_with(9000.0, ride_through=japan_frt(60.0), islanding=False)
    rig.grid.play([level(0.79, 5.0)])
    assert tripped_after_s(rig, 5.0, 2.0) == pytest.approx(1.0, abs=0.001)
    assert rig.converter.alarms == {"uvr"}


def test_a_phase_jump_is_survived_and_settles():
    rig = rig_with(8000.0)
    rig.grid.play([level(1.0, 1.0), level(1.0, 5.0, phase_jump_deg=20.0)])
    rig.advance(6.0)
    at_jump_w = rig.converter.power_w
    assert at_jump_w == pytest.approx(8000.0 * math.cos(math.radians(20.0)), rel=1e-3)
    rig.advance(6.1)
    assert rig.converter.power_w == pytest.approx(8000.0, rel=1e-3)


@pytest.mark.parametrize("gap_s", [0.004, 0.008])
def test_loss_of_mains_forms_an_island_after_exactly_the_gap(gap_s):
    rig = rig_with(-4000.0, load_w=3000.0, transfer_gap_s=gap_s)
    rig.at(6.0, rig.grid.open_relay)
    rig.advance(6.0 + gap_s - 1e-6)
    assert rig.load.voltage_v(1) == 0.0
    rig.advance(6.0 + gap_s)
    assert rig.load.voltage_v(1) == pytest.approx(NOMINAL_V)
    assert rig.converter.is_grid_forming
    rig.advance(7.0)
    assert rig.converter.power_w == pytest.approx(3000.0)
    assert rig.string.current_a > 0.0
    samples = np.abs(rig.waveform("load_ac.u1_v", 5.99, 100_000.0, 5000))
    zero = np.flatnonzero(samples == 0.0)
    assert len(zero) * 1e-5 == pytest.approx(gap_s, abs=3e-5)


def test_return_of_mains_takes_the_load_back_without_a_gap():
    rig = rig_with(-4000.0, load_w=3000.0, synchronise_s=1.0)
    rig.grid.open_relay()
    rig.advance(8.3)
    rig.grid.set_frequency_hz(59.95)
    rig.grid.close_relay()
    rig.advance(18.2)
    assert rig.converter.is_grid_forming
    dead_s = rig.load.dead_s
    rig.advance(30.0)
    assert rig.converter.is_connected
    assert rig.load.dead_s == dead_s
    assert rig.converter.power_w == pytest.approx(-4000.0, rel=1e-3)
    # Neither gap nor jump: no sample is off the sine that its neighbours make by more than a slip explains.
    samples = rig.waveform("load_ac.u1_v", 17.0, 10_000.0, 60_000)
    turn = 2.0 * math.pi * 60.0 / 10_000.0
    curvature = samples[2:] - 2.0 * math.cos(turn) * samples[1:-1] + samples[:-2]
    assert np.abs(curvature).max() < 0.5


@pytest.mark.parametrize("mains_hz", [59.95, 60.05])
def test_whole_turns_that_an_island_fell_behind_are_no_jump_of_the_mains(mains_hz):
    rig = rig_with(
        3000.0,
        ride_through=replace(ieee1547_category_2(), phase_jump_trip_deg=25.0, frequency_window_s=0.05),
        enter_service=EnterService(delay_s=45.0),
    )
    rig.grid.open_relay()
    rig.advance(8.0)
    rig.grid.set_frequency_hz(mains_hz)
    rig.grid.close_relay()
    rig.advance(60.0)
    assert abs(rig.grid.turns - 60.0 * rig.now_s) > 2.0
    assert rig.converter.is_connected
    assert not rig.converter.alarms
    assert rig.converter.power_w == pytest.approx(3000.0, rel=1e-3)


@pytest.mark.parametrize("ahead_s", [3.0, 9.0, 12.0])
def test_an_island_is_brought_in_phase_by_no_more_than_half_a_turn_in_the_time_of_the_slip(ahead_s):
    rig = rig_with(3000.0, load_w=3000.0, synchronise_s=2.5, enter_service=EnterService(delay_s=ahead_s))
    rig.grid.open_relay()
    rig.advance(8.0)
    rig.grid.set_frequency_hz(60.05)
    rig.grid.close_relay()
    rig.advance(8.0 + ahead_s)
    ahead = math.remainder(0.05 * ahead_s, 1.0)
    assert rig.converter.frequency_hz == pytest.approx(60.05 + ahead / 2.5, abs=1e-6)
    assert abs(rig.converter.frequency_hz - 60.05) <= 0.2 + 1e-6
    rig.advance(8.0 + ahead_s + 2.4)
    assert rig.converter.is_grid_forming
    rig.advance(8.0 + ahead_s + 2.6)
    assert rig.converter.is_connected
    assert rig.converter.frequency_hz == 60.05
    assert rig.balance().residual_fraction < 1e-4


def test_without_islanding_the_load_dies_and_comes_back_with_the_mains():
    rig = rig_with(5000.0, islanding=False)
    rig.grid.open_relay()
    rig.advance(10.0)
    assert rig.converter.state is OperatingState.FAULT
    assert rig.load.is_dead
    rig.grid.close_relay()
    rig.advance(10.0)
    assert not rig.load.is_dead
    rig.advance(19.9)
    assert rig.converter.power_w == 0.0
    rig.advance(25.0)
    assert rig.converter.power_w == pytest.approx(5000.0, rel=1e-3)


def test_an_overloaded_island_droops_then_trips():
    rig = rig_with(0.0, load_w=14_000.0, overload_s=3.0)
    rig.grid.open_relay()
    rig.advance(6.0)
    assert rig.load.voltage_v(1) < 0.93 * NOMINAL_V
    rig.advance(5.008 + 2.999)
    assert rig.converter.is_grid_forming
    rig.advance(5.008 + 3.001)
    assert rig.converter.alarms == {"overload"}
    assert rig.load.is_dead


def test_a_deep_long_sag_transfers_and_a_short_one_does_not():
    rig = rig_with(0.0, ride_through=ieee1547_category_2(widest_under_voltage=True))
    rig.grid.play([level(0.4, 0.9), level(1.0, 1.0), level(0.4, 3.0)])
    rig.advance(7.5)
    assert rig.converter.is_connected
    rig.advance(5.0 + 1.9 + 1.001)
    assert rig.converter.is_grid_forming


def test_a_silent_bms_brings_power_to_zero_at_exactly_the_timeout():
    rig = rig_with(8000.0, bms_timeout_s=5.0, ready_s=4.0)
    rig.converter.hear_bms(200.0, 200.0, 58.0)
    rig.advance(9.0 - 1e-6)
    assert rig.converter.power_w == pytest.approx(8000.0, rel=1e-3)
    assert not rig.converter.alarms
    rig.advance(9.0)
    assert rig.converter.alarms == {"bms_timeout"}
    rig.advance(10.0)
    assert rig.converter.power_w == pytest.approx(0.0, abs=1.0)
    assert rig.converter.state is OperatingState.STANDBY
    rig.converter.hear_bms(200.0, 200.0, 58.0)
    rig.advance(12.0)
    assert not rig.converter.alarms
    assert rig.converter.power_w == pytest.approx(8000.0, rel=1e-3)


def test_a_bms_that_never_spoke_times_out_from_turning_on():
    rig = rig_with(8000.0, bms_timeout_s=3.0, starts_on=False, ready_s=10.0)
    assert rig.converter.state is OperatingState.OFF
    rig.converter.turn_on()
    rig.advance(12.9)
    assert rig.converter.power_w > 0.0
    rig.advance(13.0)
    assert rig.converter.alarms == {"bms_timeout"}


def test_a_dead_power_stage_never_conducts():
    rig = rig_with(5000.0)
    rig.converter.dead = True
    rig.advance(6.0)
    assert rig.converter.power_w == pytest.approx(0.0, abs=1e-6)
    assert rig.converter.power_setpoint_w == 5000.0
    rig.grid.open_relay()
    rig.advance(8.0)
    assert rig.load.is_dead


def test_turning_off_stops_and_turning_on_starts_after_the_delay():
    rig = rig_with(5000.0)
    rig.converter.turn_off()
    rig.advance(5.0)
    assert rig.converter.power_w == 0.0
    assert rig.converter.state is OperatingState.OFF
    assert not rig.load.is_dead
    rig.converter.turn_on()
    rig.advance(5.99)
    assert rig.converter.state is OperatingState.STARTING
    rig.advance(9.0)
    assert rig.converter.power_w == pytest.approx(5000.0, rel=1e-3)


def test_a_constant_power_load_draws_the_same_from_a_lower_voltage():
    spec = PlantSpec(load=LoadSpec(kind=LoadKind.CONSTANT_POWER, power_w=3000.0))
    rig = RigPlant(spec)
    rig.grid.set_voltage_v(0.8 * NOMINAL_V)
    rig.advance(1.0)
    assert rig.load.power_w == pytest.approx(3000.0, rel=1e-9)
    rig.grid.set_voltage_v(0.4 * NOMINAL_V)
    rig.advance(2.0)
    assert rig.load.power_w == 0.0


def test_without_its_enable_it_stops_and_does_not_start():
    plant = RigPlant(PlantSpec(converter=ConverterSpec(bms_timeout_s=None)))
    plant.advance(5.0)
    for is_enabled, expected in ((True, True), (False, False), (True, True)):
        plant.converter.enable(is_enabled=is_enabled)
        assert not plant.converter.is_on
        plant.converter.turn_on()
        plant.advance(plant.now_s + 5.0)
        assert plant.converter.is_on is expected
        plant.converter.enable(is_enabled=False)
        plant.advance(plant.now_s + 1.0)
        assert not plant.converter.is_on
