"""What holds the voltage of an island: the converter's current, and what the battery gives."""

import cmath
import math
from dataclasses import replace

import numpy as np
import pytest

from harness.plant import (
    BatterySpec,
    BmsSpec,
    ConverterSpec,
    CriticalLoad,
    LoadKind,
    LoadSpec,
    PlantSpec,
    RigPlant,
    RlcSpec,
)
from harness.plant.island_level import carried_va, highest_level
from harness.plant.network import NO_INFEED, Infeed

NOMINAL_V = 115.470053838
RATED_A = 10_000.0 / (3.0 * NOMINAL_V)
MOST_A = 1.2 * RATED_A
STRONG = PlantSpec(
    battery=BatterySpec(cells_in_parallel=400),
    bms=BmsSpec(charge_current_limit_a=1000.0, discharge_current_limit_a=1000.0, fuse=None),
    converter=ConverterSpec(bms_timeout_s=None, starts_on=True, maximum_dc_current_a=1000.0),
)
"""A battery that gives far more than the converter's 10 kVA."""


def resistor(power_w):
    return RlcSpec(power_w=power_w, inductive_var=0.0, capacitive_var=0.0)


def island(power_w, *, spec=STRONG, kind=LoadKind.CONSTANT_POWER, rlc=None, ready_s=10.0, **load):
    """A rig with its mains lost at ten seconds."""
    rig = RigPlant(replace(spec, load=LoadSpec(power_w=power_w, kind=kind, rlc=rlc, **load)))
    rig.at(10.0, rig.grid.open_relay)
    rig.advance(ready_s)
    return rig


def largest_a(rig, from_s, to_s, step_s=0.001):
    """Largest phase current out of the converter, each millisecond and as a sine of the waveform."""
    found_a = 0.0
    for step in range(round((to_s - from_s) / step_s) + 1):
        rig.advance(from_s + step * step_s)
        found_a = max(found_a, rig.converter.ac_current_a(1))
    wave_a = np.abs(rig.waveform("pcs_ac.i1_a", from_s, 20_000.0, round((to_s - from_s) * 20_000.0)))
    return max(found_a, wave_a.max() / math.sqrt(2.0))


def test_a_constant_power_beyond_the_current_limit_collapses_and_trips():
    """15 kVA ask for 1.5 times the rated current at nominal voltage, and for more at any lower one."""
    rig = island(15_000.0)
    assert largest_a(rig, 10.001, 10.2) == 0.0
    assert rig.converter.alarms == {"overload"}
    # At the instant in which it would have formed.
    assert rig.converter.tripped_s == pytest.approx(10.0 + rig.spec.converter.transfer_gap_s, abs=1e-9)
    assert rig.load.is_dead


def test_beside_an_impedance_a_constant_power_is_carried_at_the_current_limit():
    """8 kW of resistors and 4.5 kW at any voltage: u 8 + 4.5 / u = 12, the higher root."""
    rig = island(4_500.0, rlc=resistor(8_000.0))
    assert largest_a(rig, 10.001, 10.2) <= MOST_A * (1.0 + 1e-9)
    assert rig.converter.is_grid_forming
    level = (12.0 + math.sqrt(144.0 - 4.0 * 8.0 * 4.5)) / 16.0
    assert rig.load.voltage_v(1) / NOMINAL_V == pytest.approx(level, rel=1e-6)
    assert rig.converter.ac_current_a(1) == pytest.approx(MOST_A, rel=1e-9)
    rig.advance(10.008 + 10.001)
    assert rig.converter.alarms == {"overload"}


def test_a_load_that_grows_past_the_limit_takes_the_voltage_with_it_at_once():
    rig = island(9_000.0, ready_s=15.0)
    assert rig.converter.power_w == pytest.approx(9_000.0, rel=1e-9)
    rig.at(15.5, lambda: rig.load.set_power_w(11_900.0))
    rig.at(16.0, lambda: rig.load.set_power_w(12_100.0))
    assert largest_a(rig, 15.0, 16.2) <= MOST_A
    assert rig.converter.alarms == {"overload"}
    assert rig.converter.tripped_s == 16.0


def test_the_batterys_limit_holds_for_a_constant_power():
    """100 A at some 52 V are less than 6 kW."""
    rig = island(6_000.0)
    rig.converter.hear_bms(1000.0, 100.0, 58.0)
    most_a = 0.0
    for step in range(1, 400):
        rig.advance(10.0 + 0.001 * step)
        most_a = max(most_a, rig.converter.dc_current_a)
    assert most_a <= 100.0 + 1e-6
    assert rig.converter.alarms == {"overload"}


def test_a_battery_limit_that_falls_below_the_load_ends_the_island_before_it_is_broken():
    rig = island(6_000.0, ready_s=15.0)
    current_a = rig.converter.dc_current_a
    assert current_a > 110.0
    for step in range(60):
        limit_a = current_a + 1.0 - 0.1 * step
        rig.converter.hear_bms(1000.0, limit_a, 58.0)
        rig.advance(15.0 + 0.5 * step + 0.5)
        # Held to 2e-5 of the largest DC current.
        assert rig.converter.dc_current_a <= limit_a + 2e-5 * rig.spec.converter.maximum_dc_current_a
    assert rig.converter.alarms == {"overload"}
    assert 15.0 < rig.converter.tripped_s < 40.0
    assert rig.balance().residual_fraction < 1e-4


def test_an_inrush_bends_the_voltage_and_not_the_current_limit():
    """Six times 3 kVA on energising, for a decay of 50 ms: the island holds its current, and comes up."""
    spec = replace(STRONG, converter=replace(STRONG.converter, transfer_gap_s=0.1))
    rig = island(3_000.0, spec=spec, inrush_factor=6.0, kind=LoadKind.RESISTIVE)
    assert largest_a(rig, 10.001, 10.6) == pytest.approx(MOST_A, rel=2e-3)
    assert rig.load.voltage_v(1) == pytest.approx(NOMINAL_V)
    assert not rig.converter.alarms


@pytest.mark.parametrize("impedance_va", [0j, 4e3 + 0j, 9e3 + 3e3j, 30e3 - 10e3j])
@pytest.mark.parametrize("constant_w", [0.0, 3e3, 7e3, 11e3, 12.5e3])
@pytest.mark.parametrize("sun_w", [0.0, 2e3, 8e3])
@pytest.mark.parametrize("most_w", [math.inf, 6e3])
def test_no_higher_level_is_within_the_limits(impedance_va, constant_w, sun_w, most_w):
    """Against a search from nominal down, over levels a ten-thousandth apart."""
    rlc = RlcSpec(
        power_w=impedance_va.real,
        inductive_var=max(impedance_va.imag, 0.0),
        capacitive_var=max(-impedance_va.imag, 0.0),
    )
    load = CriticalLoad(LoadSpec(power_w=constant_w, kind=LoadKind.CONSTANT_POWER, rlc=rlc))
    load.live_at((NOMINAL_V, NOMINAL_V, NOMINAL_V))
    sun = Infeed(sun_w, 8e3 / (3.0 * NOMINAL_V)) if sun_w else NO_INFEED

    def holds(level):
        va = 3.0 * NOMINAL_V**2 * load.admittance_s(60.0).conjugate() * level**2
        va += (constant_w if level >= load.spec.dead_below_pu else 0.0) - min(sun_w, 8e3 * level)
        assert cmath.isclose(carried_va(level, NOMINAL_V, 60.0, load, sun), va, abs_tol=1e-6)
        return abs(va) <= 12e3 * level + 1e-6 and va.real <= most_w + 1e-6

    found = highest_level(NOMINAL_V, 60.0, load, sun, most_a=MOST_A, most_w=most_w)
    searched = next((0.0001 * k for k in range(10_000, 0, -1) if holds(0.0001 * k)), 0.0)
    if found:
        assert holds(found)
        assert found == pytest.approx(searched, abs=1.01e-4)
    else:
        # The level just below the one at which the load gives up is none: there it would wake again.
        assert searched < load.spec.dead_below_pu
        assert constant_w
