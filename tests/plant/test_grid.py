"""The source: exact breakpoints, angles and waveforms."""

import numpy as np
import pytest

from harness.plant import GridSpec, LoadSpec, PlantSpec, RigPlant
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
