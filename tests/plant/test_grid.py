"""The source: exact breakpoints, angles and waveforms."""

import numpy as np
import pytest

from harness.plant import GridSpec, LoadSpec, PlantSpec, RigPlant
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
