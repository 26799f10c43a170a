"""The source: exact breakpoints, angles and waveforms."""

import numpy as np
import pytest

from harness.plant import (
    BatterySpec,
    ConverterSpec,
    GridSpec,
    Harmonic,
    LoadSpec,
    PlantSpec,
    RigPlant,
    RlcSpec,
)
from harness.plant.grid import Grid
from harness.plant.network import sequences
from harness.roles import GridStep

NOMINAL_V = 115.470053838
ALL = (1.0, 1.0, 1.0)


def plant(**grid):
    return RigPlant(PlantSpec(grid=GridSpec(**grid), load=LoadSpec(power_w=1000.0)))


def test_a_sag_begins_and_ends_to_the_sample():
    rig = plant(source_resistance_ohm=0.0, source_reactance_ohm=0.0)
    rig.advance(0.25)
    rig.grid.play([GridStep(0.1, ALL, 60.0), GridStep(0.3, (0.2, 0.2, 0.2), 60.0), GridStep(0.2, ALL, 60.0)])
    rig.advance(2.0)
    samples = rig.waveform("grid_ac.u1_v", 0.0, 10_000.0, 10_000)
    times_s = np.arange(10_000) / 10_000.0
    level = np.where((times_s >= 0.35 - 1e-9) & (times_s < 0.65 - 1e-9), 0.2, 1.0)
    expected_v = level * NOMINAL_V * np.sqrt(2.0) * np.sin(2.0 * np.pi * 60.0 * times_s)
    assert np.abs(samples - expected_v).max() < 1e-6
    assert not rig.grid.is_playing


def test_phases_are_120_degrees_apart_and_turn_forward():
    rig = plant()
    rig.advance(0.1)
    phasors = [np.dot(rig.waveform(f"grid_ac.u{n}_v", 0.0, 6000.0, 600), _turning()) for n in (1, 2, 3)]
    assert np.angle(phasors[1] / phasors[0], deg=True) == pytest.approx(-120.0, abs=1e-6)
    assert np.angle(phasors[2] / phasors[0], deg=True) == pytest.approx(120.0, abs=1e-6)


def test_channels_that_are_sampled_together_are_what_each_is_alone():
    """In a steady stretch, where they share a sine, and across a sag; mains, load and battery."""
    rig = plant()
    rig.grid.play([GridStep(0.5, ALL, 60.0), GridStep(0.5, (0.7, 0.9, 1.0), 60.0, phase_jump_deg=10.0)])
    rig.advance(1.0)
    names = ["grid_ac.u1_v", "grid_ac.u3_v", "load_ac.u2_v", "grid_ac.i2_a", "battery_dc.u_v"]
    for start_s in (0.2, 0.45, 0.8):
        together = rig.waveforms(names, start_s, 6000.0, 600)
        for name, samples in zip(names, together, strict=True):
            assert np.array_equal(samples, rig.waveform(name, start_s, 6000.0, 600)), name
        assert not np.allclose(together[0], together[1])


def _turning():
    return np.exp(-2j * np.pi * 60.0 * np.arange(600) / 6000.0)


def test_the_angle_of_a_frequency_ramp_is_its_integral():
    rig = plant()
    rig.grid.play(
        [GridStep(1.0, ALL, 60.0), GridStep(2.0, ALL, 62.0, is_ramp=True), GridStep(1.0, ALL, 62.0)]
    )
    rig.advance(3.5)
    assert rig.grid.turns == pytest.approx(60.0 + 2.0 * 61.0 + 0.5 * 62.0, abs=1e-9)
    assert rig.grid.frequency_hz == 62.0
    cycles = rig.totals("grid_ac").cycles
    assert cycles == pytest.approx(rig.grid.turns, abs=1e-9)


def test_a_phase_jump_leads_by_its_angle_at_its_instant():
    rig = plant()
    rig.grid.play([GridStep(0.5, ALL, 60.0), GridStep(0.5, ALL, 60.0, phase_jump_deg=20.0)])
    rig.advance(1.0)
    before = np.dot(rig.waveform("grid_ac.u1_v", 0.3, 6000.0, 600), _turning())
    after = np.dot(rig.waveform("grid_ac.u1_v", 0.6, 6000.0, 600), _turning())
    assert np.angle(after / before, deg=True) == pytest.approx(20.0, abs=0.01)


def test_a_ramp_starts_where_the_step_before_ended():
    rig = plant(source_resistance_ohm=0.0, source_reactance_ohm=0.0)
    rig.grid.play([GridStep(1.0, (0.9, 1.0, 1.1), 60.0), GridStep(1.0, ALL, 60.0, is_ramp=True)])
    rig.advance(1.5)
    assert [rig.grid.voltage_v(n) / NOMINAL_V for n in (1, 2, 3)] == pytest.approx([0.95, 1.0, 1.05])


def test_stopping_returns_to_the_steady_values_at_once():
    rig = plant()
    rig.grid.play([GridStep(10.0, (0.5, 0.5, 0.5), 58.0)])
    rig.advance(1.0)
    rig.grid.stop()
    rig.advance(1.0)
    assert rig.grid.frequency_hz == 60.0
    assert rig.grid.voltage_v(1) == pytest.approx(NOMINAL_V, rel=1e-3)


def test_the_source_impedance_lowers_the_voltage_of_a_loaded_node():
    rig = plant(source_resistance_ohm=0.5, source_reactance_ohm=0.0)
    rig.advance(1.0)
    load_ohm = 3.0 * NOMINAL_V**2 / 1000.0
    assert rig.grid.voltage_v(1) == pytest.approx(NOMINAL_V * load_ohm / (load_ohm + 0.5), rel=1e-9)


def test_an_open_relay_kills_the_load():
    rig = plant()
    rig.advance(1.0)
    assert not rig.load.is_dead
    rig.grid.open_relay()
    rig.advance(3.0)
    assert rig.load.voltage_v(1) == 0.0
    assert rig.load.dead_s == pytest.approx(2.0)
    assert rig.totals("load_ac").energy_out_j == pytest.approx(1000.0, rel=1e-3)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_impossible_settings_are_refused(bad):
    rig = plant()
    with pytest.raises(ValueError, match="set_voltage_v"):
        rig.grid.set_voltage_v(bad)
    with pytest.raises(ValueError, match="set_frequency_hz"):
        rig.grid.set_frequency_hz(bad)
    with pytest.raises(ValueError, match="duration_s"):
        rig.grid.play([GridStep(bad if bad < 0 else 0.0, ALL, 60.0)])


def test_without_its_enable_the_relay_opens_and_does_not_close():
    plant = RigPlant(PlantSpec())
    plant.advance(1.0)
    plant.grid.enable(is_enabled=False)
    plant.grid.close_relay()
    plant.advance(2.0)
    assert plant.grid.terminal_v == (0.0, 0.0, 0.0)
    plant.grid.enable(is_enabled=True)
    plant.advance(3.0)
    assert not plant.grid.is_relay_closed
    plant.grid.close_relay()
    plant.advance(4.0)
    assert min(plant.grid.terminal_v) > 100.0


def stiff(**grid):
    return plant(source_resistance_ohm=0.0, source_reactance_ohm=0.0, **grid)


# A two-phase short circuit draws the two faulted phases together (type C of Bollen, Understanding Power
# Quality Problems, 2000, from memory): each keeps the half of its voltage that lies against the sound phase,
# so a residual of 0.5 / cos(60 - 41 degrees) goes with a jump of 41 degrees: phase 2 lags, phase 3 leads.
JUMP_DEG = 41.0
RESIDUAL = 0.5 / np.cos(np.radians(60.0 - JUMP_DEG))
TWO_PHASE_SAG = GridStep(0.3, (1.0, RESIDUAL, RESIDUAL), 60.0, angle_deg=(0.0, -JUMP_DEG, JUMP_DEG))


def test_a_two_phase_sag_jumps_by_its_angles_and_has_its_sequences():
    rig = stiff()
    rig.grid.play([GridStep(0.2, ALL, 60.0), TWO_PHASE_SAG, GridStep(0.2, ALL, 60.0)])
    rig.advance(0.4)
    found = sequences(rig.converter.flow.bus_v)
    # In closed form: V1 = (1 + D) / 2 and V2 = (1 - D) / 2 with D the remaining part of the voltage between
    # the faulted phases; no zero sequence.
    between = RESIDUAL * np.sin(np.radians(60.0 - JUMP_DEG)) / np.sin(np.radians(60.0))
    assert found.positive / NOMINAL_V == pytest.approx(0.5 * (1.0 + between))
    assert found.negative / NOMINAL_V == pytest.approx(0.5 * (1.0 - between))
    assert abs(found.zero) == pytest.approx(0.0, abs=1e-9)
    assert found.unbalance == pytest.approx((1.0 - between) / (1.0 + between))
    assert rig.converter.flow.negative_v == found.negative
    rig.advance(0.6)
    for phase, jump_deg in ((1, 0.0), (2, -JUMP_DEG), (3, JUMP_DEG)):
        before = np.dot(rig.waveform(f"grid_ac.u{phase}_v", 0.0, 6000.0, 600), _turning())
        during = np.dot(rig.waveform(f"grid_ac.u{phase}_v", 0.3, 6000.0, 600), _turning())
        assert np.angle(during / before, deg=True) == pytest.approx(jump_deg, abs=1e-6)
        assert abs(during / before) == pytest.approx(1.0 if phase == 1 else RESIDUAL)


def test_sequences_come_apart_and_together():
    phasors = (3.0 + 1j, -2.0 + 0.5j, 0.1 - 4j)
    apart = sequences(phasors)
    assert apart.phasors() == pytest.approx(phasors)
    assert sequences((1.0, 1.0, 1.0)) == pytest.approx((1.0, 0.0, 0.0))
    turn = np.exp(2j * np.pi / 3.0)
    assert sequences((1.0, turn**2, turn)) == pytest.approx((0.0, 1.0, 0.0), abs=1e-12)
    assert sequences((1.0, turn, turn**2)) == pytest.approx((0.0, 0.0, 1.0), abs=1e-12)


def test_angles_of_a_ramp_run_with_it_and_the_next_step_is_straight_again():
    rig = stiff()
    rig.grid.play(
        [
            GridStep(1.0, ALL, 60.0),
            GridStep(1.0, ALL, 60.0, is_ramp=True, angle_deg=(0.0, 30.0, 0.0)),
            GridStep(1.0, ALL, 60.0),
        ]
    )
    straight = rig.grid.emf_v
    rig.advance(1.5)
    assert np.angle(rig.grid.emf_v[1] / straight[1], deg=True) == pytest.approx(15.0)
    assert [rig.grid.voltage_v(n) for n in (1, 2, 3)] == pytest.approx([NOMINAL_V] * 3)
    rig.advance(2.5)
    assert rig.grid.emf_v == pytest.approx(straight)


def test_a_step_waits_for_its_point_on_wave():
    rig = stiff()
    rig.advance(0.1)
    rig.grid.play(
        [
            GridStep(0.1003, ALL, 60.0),
            GridStep(0.05, (0.0, 0.0, 0.0), 60.0, starts_at_deg=90.0),
            GridStep(0.1, ALL, 60.0),
        ]
    )
    rig.advance(0.5)
    # The first 90 degrees after 0.2003 s: 12.25 cycles of 60 Hz.
    starts_s = 12.25 / 60.0
    samples = rig.waveform("grid_ac.u1_v", 0.2, 1e6, 60_000)
    dark = np.flatnonzero(samples == 0.0)
    assert 0.2 + dark[0] * 1e-6 == pytest.approx(starts_s, abs=1.1e-6)
    assert samples[dark[0] - 1] == pytest.approx(NOMINAL_V * np.sqrt(2.0), rel=1e-6)
    assert rig.load.dead_s == pytest.approx(0.05, abs=1e-9)


def test_an_interruption_comes_at_the_angle_it_was_asked_for():
    rig = stiff()
    rig.advance(1.003)
    open_s = rig.grid.time_of_angle_s(270.0, phase=2)
    assert 0.0 <= open_s - 1.003 < 1.0 / 60.0
    rig.at(open_s, rig.grid.open_relay)
    rig.advance(1.1)
    last_v = rig.waveform("load_ac.u2_v", open_s - 1e-6, 1e6, 1)[0]
    assert last_v == pytest.approx(-NOMINAL_V * np.sqrt(2.0), rel=1e-5)
    rig.grid.play([GridStep(1.0, ALL, 60.0), GridStep(1.0, ALL, 59.0, is_ramp=True)])
    rig.advance(2.5)
    with pytest.raises(ValueError, match="time_of_angle_s"):
        rig.grid.time_of_angle_s(0.0)


def test_a_source_with_a_rise_time_takes_it_from_10_to_90_percent():
    rig = stiff(rise_time_s=0.004)
    rig.grid.play([GridStep(0.1, (0.0, 0.0, 0.0), 60.0), GridStep(0.1, ALL, 60.0)])
    rig.at(0.15, lambda: rig.grid.set_frequency_hz(60.5))
    times_s = {}
    for k in range(200):
        rig.advance(0.1 + k * 5e-5)
        level = rig.grid.voltage_v(1) / NOMINAL_V
        for edge in (0.1, 0.9):
            if level >= edge - 1e-9:
                times_s.setdefault(edge, rig.now_s)
    assert times_s[0.9] - times_s[0.1] == pytest.approx(0.004, abs=1e-4)
    rig.advance(0.15)
    assert rig.grid.voltage_v(1) == pytest.approx(NOMINAL_V)
    assert not rig.grid.is_steady or rig.grid.next_event_s == pytest.approx(0.2)


def test_a_step_that_is_shorter_than_the_rise_ends_half_way():
    rig = stiff(rise_time_s=0.08)  # 0.1 s for the whole way
    rig.grid.play([GridStep(0.05, (0.0, 0.0, 0.0), 60.0), GridStep(1.0, (0.0, 0.0, 0.0), 60.0)])
    rig.advance(0.05)
    assert rig.grid.voltage_v(1) == pytest.approx(0.5 * NOMINAL_V)
    rig.advance(0.075)
    assert rig.grid.voltage_v(1) == pytest.approx(0.25 * NOMINAL_V)
    rig.grid.stop()
    rig.advance(0.1)
    assert rig.grid.voltage_v(1) == pytest.approx(0.5 * NOMINAL_V)
    rig.advance(0.2)
    assert rig.grid.voltage_v(1) == pytest.approx(NOMINAL_V)
    assert not rig.grid.is_playing


def left_alone(grid, to_s):
    """Pass all breakpoints of a grid until a time; returns the instants of those."""
    passed_s = []
    while grid.next_event_s < to_s:
        passed_s.append(grid.next_event_s)
        grid.advance(passed_s[-1])
        grid.settle()
    grid.advance(to_s)
    return passed_s


@pytest.mark.parametrize("nominal_v", [100.0, 115.470053838, 200.0 / 3.0**0.5, 230.0])
@pytest.mark.parametrize("way", ["ends", "is stopped", "is set"])
def test_a_source_with_a_rise_time_comes_back_exactly_from_every_level(nominal_v, way):
    for percent in range(121):
        grid = Grid(GridSpec(rise_time_s=0.0005, nominal_voltage_v=nominal_v))
        level = percent / 100.0
        if way == "is set":
            grid.set_voltage_v(level * nominal_v)
            left_alone(grid, 0.3)
            assert grid.emf_v[0] == level * nominal_v
            grid.set_voltage_v(nominal_v)
        else:
            grid.play([GridStep(0.3 if way == "ends" else 9.0, (level,) * 3, 60.0)])
            left_alone(grid, 0.2)
            if way == "is stopped":
                grid.stop()
        assert len(left_alone(grid, 1.2)) <= 3
        assert grid.emf_v[0] == nominal_v
        assert grid.is_steady
        assert not grid.is_playing


@pytest.mark.parametrize("is_ramp", [False, True])
def test_a_step_too_short_for_the_clock_is_where_it_leads_to(is_ramp):
    rig = stiff(rise_time_s=0.0005)
    rig.advance(1.0)
    half = (0.5, 0.5, 0.5)
    rig.grid.play(
        [
            GridStep(1e-18, half, 59.0, phase_jump_deg=90.0, angle_deg=(0.0, 5.0, 0.0), is_ramp=is_ramp),
            GridStep(1.0, ALL, 60.0, phase_jump_deg=90.0),
        ]
    )
    rig.advance(1.5)
    assert rig.grid.voltage_v(1) == pytest.approx(NOMINAL_V)
    assert rig.grid.turns == pytest.approx(60.0 + 0.5 + 0.5 * 60.0, abs=1e-9)


def exporting(power_w, **grid):
    spec = PlantSpec(
        battery=BatterySpec(cells_in_parallel=67),
        converter=ConverterSpec(starts_on=True, bms_timeout_s=None, islanding=False),
        grid=GridSpec(**grid),
        load=LoadSpec(power_w=1000.0),
    )
    rig = RigPlant(spec)
    rig.advance(5.0)
    rig.converter.set_power_w(power_w)
    rig.advance(7.0)
    return rig


@pytest.mark.parametrize(
    ("sink_power_w", "trips"), [(None, False), (0.0, True), (1500.0, True), (2500.0, False)]
)
def test_a_source_that_cannot_take_the_power_trips_its_own_protection(sink_power_w, trips):
    rig = exporting(3000.0, sink_power_w=sink_power_w)
    assert rig.grid.tripped == ("cannot_sink" if trips else "")
    assert rig.grid.is_relay_closed is not trips
    if trips:
        rig.converter.set_power_w(500.0)
        rig.grid.close_relay()
        rig.advance(30.0)
        assert rig.grid.tripped == ""
        assert rig.grid.is_relay_closed


def test_a_source_trips_a_delay_after_its_current_limit():
    rig = plant(current_limit_a=5.0, protection_delay_s=0.1)
    rig.advance(1.0)
    assert rig.grid.tripped == ""
    rig.load.set_power_w(3.0 * 5.5 * NOMINAL_V)
    rig.advance(1.0999)
    assert rig.grid.is_relay_closed
    rig.advance(1.1001)
    assert rig.grid.tripped == "over_current"
    assert rig.load.voltage_v(1) == 0.0


DISTORTED = (Harmonic(order=5, fraction=0.06, angle_deg=30.0), Harmonic(order=7, fraction=0.03))


def test_harmonics_stand_in_the_waveform_and_in_the_totals():
    rig = stiff(harmonics=DISTORTED)
    rig.advance(1.0)
    start = rig.totals("load_ac")
    rig.advance(3.0)
    added = rig.totals("load_ac") - start
    times_s = np.arange(6000) / 12_000.0
    samples = rig.waveform("load_ac.u3_v", 2.0, 12_000.0, 6000)
    turns = 60.0 * times_s - 1.0 / 3.0 - 1.0 / 3.0
    expected = np.sin(2 * np.pi * turns)
    for order, fraction, angle_deg in ((5, 0.06, 30.0), (7, 0.03, 0.0)):
        expected += fraction * np.sin(2 * np.pi * order * turns + np.radians(angle_deg))
    assert samples == pytest.approx(expected * NOMINAL_V * np.sqrt(2.0), abs=1e-6)
    distortion = 1.0 + 0.06**2 + 0.03**2
    assert added.voltage_square_v2s[2] / 2.0 == pytest.approx(NOMINAL_V**2 * distortion)
    assert np.mean(samples**2) == pytest.approx(NOMINAL_V**2 * distortion)
    assert added.energy_out_j == pytest.approx(2.0 * 1000.0 * distortion)
    assert rig.load.voltage_v(1) == pytest.approx(NOMINAL_V)
    assert rig.balance().residual_fraction < 1e-9


def test_a_harmonic_divides_between_line_and_capacitor():
    rlc = RlcSpec(power_w=0.0, inductive_var=0.0, capacitive_var=3000.0)
    spec = PlantSpec(
        grid=GridSpec(source_resistance_ohm=0.1, source_reactance_ohm=0.2, harmonics=DISTORTED[:1]),
        load=LoadSpec(rlc=rlc),
    )
    rig = RigPlant(spec)
    rig.advance(1.0)
    samples = rig.waveform("load_ac.u1_v", 0.5, 12_000.0, 6000)
    turned = np.exp(-2j * np.pi * 300.0 * np.arange(6000) / 12_000.0)
    found_v = abs(np.dot(samples, turned)) * 2.0 / 6000.0 / np.sqrt(2.0)
    susceptance_s = 5.0 * 1000.0 / NOMINAL_V**2
    expected_v = 0.06 * NOMINAL_V / abs(1.0 + (0.1 + 1.0j) * 1j * susceptance_s)
    assert found_v == pytest.approx(expected_v, rel=1e-6)


def test_distortion_follows_a_sag_and_a_ramp():
    rig = stiff(harmonics=DISTORTED)
    rig.grid.play([GridStep(1.0, (0.5, 1.0, 1.0), 60.0), GridStep(1.0, ALL, 60.0, is_ramp=True)])
    rig.advance(1.0)
    assert rig.totals("load_ac").voltage_square_v2s[0] == pytest.approx((0.5 * NOMINAL_V) ** 2 * 1.0045)
    rig.advance(2.0)
    # The mean of (0.5 + 0.5 t)² is 7/12.
    ramp = rig.totals("load_ac").voltage_square_v2s[0] - (0.5 * NOMINAL_V) ** 2 * 1.0045
    assert ramp == pytest.approx(7.0 / 12.0 * NOMINAL_V**2 * 1.0045, rel=1e-6)
