"""The RLC load and the island that nobody meant: resonance, balance, drift."""

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.plant import (
    BatterySpec,
    ConverterSpec,
    GridSpec,
    LoadSpec,
    PlantSpec,
    RideThrough,
    RigPlant,
    RlcSpec,
)

NOMINAL_V = 115.470053838
FOLLOWER = ConverterSpec(
    starts_on=True, bms_timeout_s=None, islanding=False, transfer_below_pu=None, ride_through=RideThrough()
)
POWER_W = 5000.0


def island(rlc, power_w=POWER_W, reactive_var=0.0, *, step_scale=1.0, load=None, opens_s=20.0):
    """A converter that follows and has no protection, left alone with a resonant load."""
    spec = PlantSpec(
        battery=BatterySpec(cells_in_parallel=67),
        converter=FOLLOWER,
        grid=GridSpec(source_resistance_ohm=1e-6, source_reactance_ohm=1e-6),
        load=replace(load or LoadSpec(), rlc=rlc),
    )
    rig = RigPlant(spec, step_scale=step_scale)
    rig.converter.set_power_w(power_w)
    rig.converter.set_reactive_power_var(reactive_var)
    rig.at(opens_s, rig.grid.open_relay)
    rig.advance(opens_s - 0.5)
    return rig


def test_a_tuned_load_has_its_quality_factor_and_its_resonance():
    rlc = RlcSpec.tuned(POWER_W, 1.0, resonance_hz=60.5, frequency_hz=60.0)
    rig = island(rlc)
    conductance_s = rig.load.admittance_s(60.5).real
    capacitance_f, per_henry = rig.load.circuit()
    assert rlc.resonance_hz == pytest.approx(60.5)
    assert rlc.quality_factor == pytest.approx(1.0)
    assert rig.load.admittance_s(60.5).imag == pytest.approx(0.0, abs=1e-12)
    assert math.sqrt(capacitance_f * per_henry) / conductance_s == pytest.approx(1.0)
    # Slope of the susceptance at the resonance: 2 Q_f G / f_r.
    slope = (rig.load.admittance_s(60.6).imag - rig.load.admittance_s(60.4).imag) / 0.2
    assert slope == pytest.approx(2.0 * conductance_s / 60.5, rel=1e-5)


def test_at_the_mains_coils_and_capacitors_take_their_reactive_power():
    rig = island(RlcSpec(power_w=3000.0, inductive_var=2500.0, capacitive_var=1000.0), 0.0)
    before = rig.totals("load_ac")
    rig.advance(19.9)
    added = rig.totals("load_ac") - before
    assert added.energy_out_j / added.time_s == pytest.approx(3000.0, rel=1e-4)
    assert added.reactive_vars / added.time_s == pytest.approx(1500.0, rel=1e-4)


def test_a_balanced_island_stays_at_its_voltage_and_frequency():
    rig = island(RlcSpec.tuned(POWER_W))
    rig.advance(25.0)
    assert rig.converter.frequency_hz == pytest.approx(60.0, abs=1e-3)
    assert rig.converter.ac_voltage_v(1) == pytest.approx(NOMINAL_V, rel=1e-4)
    assert rig.grid.voltage_v(2) == pytest.approx(NOMINAL_V, rel=1e-4)
    assert rig.converter.power_w == pytest.approx(POWER_W, rel=1e-6)
    assert not rig.load.is_dead


@pytest.mark.parametrize("part", [0.9, 1.0, 1.08])
def test_the_voltage_of_an_island_is_that_of_its_power_in_its_resistance(part):
    rig = island(RlcSpec.tuned(POWER_W), POWER_W * part)
    rig.advance(25.0)
    assert rig.converter.ac_voltage_v(1) == pytest.approx(NOMINAL_V * math.sqrt(part), rel=1e-5)


@pytest.mark.parametrize("reactive_var", [-200.0, 0.0, 150.0])
@pytest.mark.parametrize("resonance_hz", [59.7, 60.3])
def test_the_frequency_of_an_island_is_where_reactive_power_balances(reactive_var, resonance_hz):
    rlc = RlcSpec.tuned(POWER_W, 1.0, resonance_hz=resonance_hz, frequency_hz=60.0)
    rig = island(rlc, POWER_W, reactive_var)
    rig.advance(25.0)
    hertz = rig.converter.frequency_hz
    # What coils take at f less what capacitors give is what the converter gives; V is nominal, as P is.
    given_var = rlc.inductive_var * 60.0 / hertz - rlc.capacitive_var * hertz / 60.0
    assert rig.converter.ac_voltage_v(1) == pytest.approx(NOMINAL_V, rel=1e-6)
    assert given_var == pytest.approx(reactive_var, abs=0.01)
    assert hertz != pytest.approx(60.0, abs=0.05)


def test_the_way_to_the_new_voltage_is_that_of_the_averaged_circuit():
    """The outside oracle is the circuit itself, a phase of it, integrated by a fine Runge-Kutta."""
    rlc = RlcSpec.tuned(POWER_W)
    rig = island(rlc, 0.9 * POWER_W)
    rig.advance(20.2)
    current_a = rig.waveform("pcs_ac.i1_a", 19.99, 100_000.0, 11_000)
    found_v = rig.waveform("pcs_ac.u1_v", 19.99, 100_000.0, 11_000)
    conductance_s = rig.load.admittance_s(60.0).real
    capacitance_f, per_henry = rig.load.circuit()
    dt_s = 1e-5
    volts = found_v[1000]
    # Coil current in the steady state before: a quarter of a turn behind the voltage.
    omega = 2.0 * math.pi * 60.0
    coil_a = -(found_v[1001] - found_v[999]) / (2.0 * dt_s) * per_henry / omega**2
    expected_v = []
    for k in range(1000, 10_990):
        expected_v.append(volts)

        def slope(v, i, a):
            return (a - conductance_s * v - i) / capacitance_f, v * per_henry

        a0, a1 = current_a[k], current_a[k + 1]
        k1 = slope(volts, coil_a, a0)
        k2 = slope(volts + 0.5 * dt_s * k1[0], coil_a + 0.5 * dt_s * k1[1], 0.5 * (a0 + a1))
        k3 = slope(volts + 0.5 * dt_s * k2[0], coil_a + 0.5 * dt_s * k2[1], 0.5 * (a0 + a1))
        k4 = slope(volts + dt_s * k3[0], coil_a + dt_s * k3[1], a1)
        volts += dt_s * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0]) / 6.0
        coil_a += dt_s * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1]) / 6.0
    # The envelope leaves out terms of second order: 1.5 % of the peak on the way, nothing at its end.
    error_v = np.abs(np.array(expected_v) - found_v[1000:10_990])
    assert error_v.max() < 0.015 * NOMINAL_V * math.sqrt(2.0)
    assert error_v[-1667:].max() < 1e-4 * NOMINAL_V * math.sqrt(2.0)


def test_a_stopped_converter_lets_the_circuit_ring_down():
    rlc = RlcSpec.tuned(POWER_W, 2.5, resonance_hz=61.0, frequency_hz=60.0)
    rig = island(rlc)
    rig.advance(25.0)
    rig.converter.turn_off()
    rig.advance(25.0)
    start_v, start_s = rig.converter.ac_voltage_v(1), rig.now_s
    assert rig.converter.frequency_hz == pytest.approx(61.0)
    rig.advance(start_s + 0.02)
    # 2 R C = Q_f / (pi f_r)
    tau_s = rlc.quality_factor / (math.pi * 61.0)
    assert rig.converter.ac_voltage_v(1) / start_v == pytest.approx(math.exp(-0.02 / tau_s), rel=1e-3)
    rig.advance(start_s + 1.0)
    assert rig.converter.ac_voltage_v(1) == 0.0
    assert rig.load.is_dead


def test_a_load_without_resonance_dies_with_its_mains():
    for rlc in (None, RlcSpec(power_w=POWER_W, inductive_var=1000.0, capacitive_var=0.0)):
        rig = island(rlc, load=LoadSpec(power_w=1000.0))
        rig.advance(20.0)
        assert rig.converter.ac_voltage_v(1) == 0.0
        assert rig.converter.power_w == 0.0


def test_mains_that_come_back_take_the_island_over_at_their_own_angle():
    rlc = RlcSpec.tuned(POWER_W, 1.0, resonance_hz=60.5, frequency_hz=60.0)
    rig = island(rlc)
    rig.at(21.0, rig.grid.close_relay)
    rig.advance(21.5)
    assert rig.converter.frequency_hz == 60.0
    assert rig.converter.power_w == pytest.approx(POWER_W, rel=1e-6)
    # Half a cycle ahead after a second: 0.5 turns, all of it seen as a jump of the voltage.
    samples = rig.waveform("load_ac.u1_v", 20.9, 10_000.0, 2000)
    sine = np.exp(-2j * np.pi * 60.0 * np.arange(500) / 10_000.0)
    turned = np.angle(np.dot(samples[1000:1500], sine) / np.dot(samples[500:1000], sine))
    assert abs(turned) > 2.5


def test_energy_balances_and_halved_steps_move_nothing():
    found = []
    for scale in (1.0, 0.5):
        rig = island(
            RlcSpec.tuned(POWER_W, 1.0, resonance_hz=60.4, frequency_hz=60.0),
            0.95 * POWER_W,
            step_scale=scale,
        )
        rig.advance(20.5)
        rig.converter.set_power_w(0.8 * POWER_W)
        rig.advance(22.0)
        assert rig.balance().residual_fraction < 1e-4
        found.append(
            (rig.converter.ac_voltage_v(1), rig.converter.frequency_hz, rig.totals("load_ac").cycles)
        )
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_a_standing_island_costs_no_solutions():
    rig = island(RlcSpec.tuned(POWER_W))
    rig.advance(30.0)
    flow = rig.converter.flow
    rig.advance(90.0)
    assert rig.converter.flow is flow
    assert (rig.totals("load_ac")).cycles == pytest.approx(90.0 * 60.0, abs=0.01)
