"""The string against closed forms, published figures, another solver, and its equations cell by cell."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import thevenin

from harness.plant import chemistries
from harness.plant.battery import BatteryString
from harness.plant.chemistries import FARADAY_C_PER_MOL
from harness.plant.keyed import normal
from harness.plant.spec import BatterySpec, CellSpread
from tests.plant.cell_by_cell import CellByCell

EQUAL = CellSpread(capacity=0.0, resistance=0.0)

OLD = {"age_days": 3650.0, "full_cycles": 1e6}
"""Cells so old that nothing more is lost within a test."""


def one_cell(soc=0.5, chemistry="lfp", temperature_degc=25.0, ambient_degc=25.0):
    spec = BatterySpec(
        chemistry=chemistry,
        cells_in_series=1,
        soc=soc,
        temperature_degc=temperature_degc,
        spread=EQUAL,
        **OLD,
    )
    return BatteryString(spec, ambient_degc, seed=1)


@pytest.mark.parametrize(("direction", "expected_v"), [(1.0, 3.156), (-1.0, 3.434)])
def test_lfp_at_1c_and_half_full_stands_where_simses_says(direction, expected_v):
    # SimSES has no RC branch, and the figures are without its hysteresis, half of 18.7 mV: ten time constants
    # into the current, at 25 degC.
    cell = one_cell(soc=0.5 + direction * 0.5)
    for _ in range(1800):
        cell.cell_temperatures_degc = np.array([25.0])
        cell.step(direction * 3.0, 1.0)
    assert cell.soc == pytest.approx(0.5, abs=6e-4)
    assert cell.voltage_v - cell.hysteresis_v == pytest.approx(expected_v, abs=0.002)
    assert cell.hysteresis_v == pytest.approx(-direction * 0.0187109 / 2.0, abs=2e-5)


def test_rc_branches_answer_a_step_as_their_closed_form():
    cell = one_cell()
    for _ in range(30):
        cell.step(0.3, 1.0)
    lfp = cell.chemistry
    resistance_ohm = lfp.resistance_ohm(cell.soc, is_charging=False, temperature_degc=cell.temperature_degc)
    one, two = 1.0 - math.exp(-30.0 / 30.0), 1.0 - math.exp(-30.0 / 180.0)
    drop_v = 0.3 * resistance_ohm * (0.4 + 0.35 * one + 0.25 * two)
    assert cell.voltage_v == pytest.approx(lfp.ocv_v(cell.soc) - drop_v + cell.hysteresis_v, abs=2e-6)


def test_hysteresis_follows_its_closed_form():
    # From rest towards the discharge curve, and half-way back: exp(-gamma dQ / Q), gamma 100.
    cell = one_cell()
    for _ in range(120):
        cell.step(0.9, 1.0)
    left = math.exp(-100.0 * 0.01)
    assert cell.hysteresis == pytest.approx(left - 1.0, rel=1e-9)
    for _ in range(60):
        cell.step(-0.9, 1.0)
    assert cell.hysteresis == pytest.approx(1.0 + (left - 2.0) * math.exp(-100.0 * 0.005), rel=1e-9)
    gap_v = np.interp(cell.soc, cell.chemistry.soc, cell.chemistry.half_gap_v)
    assert cell.hysteresis_v == pytest.approx(cell.hysteresis * gap_v, abs=1e-7)


def test_hysteresis_makes_heat_of_every_charge_that_turns_round():
    """A loop of small current: its area is the heat, and none of it is negative on the way."""
    cell = one_cell()
    for amperes in (0.01, -0.01, 0.01):
        before_j, start = cell.heat_j, cell.soc
        for _ in range(400):
            then_j = cell.heat_j
            cell.step(amperes, 300.0)
            assert cell.heat_j >= then_j
        around_j = cell.heat_j - before_j
    # Of the last way: |I| M h^2, with h from +1 to -1, and a little of the resistance.
    charge_c = np.linspace(0.0, 1200.0, 4001)
    soc = start - charge_c / (3600.0 * cell.capacity_ah)
    state = 2.0 * np.exp(-100.0 * charge_c / 10_800.0) - 1.0
    gap_v = np.interp(soc, cell.chemistry.soc, cell.chemistry.half_gap_v)
    resistive_j = 0.01 * 1200.0 * 0.0478
    assert around_j == pytest.approx(np.trapezoid(gap_v * state**2, charge_c) + resistive_j, rel=0.02)


def test_rc_branches_are_exact_whatever_the_steps():
    fine, coarse = one_cell(chemistry="zinc_halogen"), one_cell(chemistry="zinc_halogen")
    for _ in range(1000):
        fine.step(10.0, 0.02)
    coarse.step(10.0, 20.0)
    # What is left is the resistance over a temperature that rose by some millikelvin.
    assert coarse.voltage_v == pytest.approx(fine.voltage_v, abs=5e-6)


def test_zinc_halogen_rises_29_6_mv_a_decade():
    zinc = chemistries.load("zinc_halogen")
    decade = [(x - 0.001) / (2.0 - 0.001) for x in (0.02, 0.2, 2.0)]
    low_v, middle_v, high_v = (zinc.ocv_v(soc) for soc in decade)
    assert middle_v - low_v == pytest.approx(0.0296, abs=1e-4)
    assert high_v - middle_v == pytest.approx(0.0296, abs=1e-4)
    assert zinc.ocv_v((1.0 - 0.001) / 1.999) == pytest.approx(1.82, abs=1e-5)


def test_resistance_is_held_beyond_its_table():
    """As the model says of itself: 10 degC is the coldest point that is published."""

    def drop_v(degc):
        cell = one_cell(soc=0.5, temperature_degc=degc)
        return cell.voltage_at_v(0.0) - cell.voltage_at_v(1.0)

    assert drop_v(-20.0) == pytest.approx(drop_v(10.0), rel=1e-9)
    assert drop_v(10.0) > 1.3 * drop_v(25.0)


def test_self_discharge_alone_empties_at_its_rate():
    cell = one_cell(soc=0.8, chemistry="zinc_halogen")
    for _ in range(24 * 60):
        cell.step(0.0, 60.0)
    assert 0.8 - cell.soc == pytest.approx(0.0143, rel=1e-9)


def test_coulombs_that_do_not_stay_are_lost_while_charging_only():
    cell = one_cell(soc=0.5, chemistry="zinc_halogen")
    leak = 0.0143 / 86_400.0
    cell.step(-18.0, 1000.0)
    gas = 0.001
    expected = (0.90 - gas) * 18.0 * 1000.0 / 360_000.0 - 1000.0 * leak
    # Counted in a capacity of which half of what the charge takes in the end is missing.
    expected *= 1.0 + 0.5 * 0.01 * (0.90 - gas) * 18.0 * 1000.0 / 360_000.0
    assert cell.soc - 0.5 == pytest.approx(expected, rel=1e-5)
    # 1 % of what a full charge of the cell would leave behind in inactive metal comes off the capacity.
    before, capacity_c = cell.soc, 3600.0 * cell.capacity_ah
    cell.step(36.0, 1000.0)
    assert before - cell.soc == pytest.approx(36.0 * 1000.0 / capacity_c + 1000.0 * leak, rel=1e-3)


def test_hydrogen_is_faradays_on_overcharge():
    cell = one_cell(soc=1.0, chemistry="zinc_halogen")
    cell.step(-20.0, 1.0)
    # 2 % of 20 A at full charge, and more beyond: two electrons a molecule.
    assert cell.hydrogen_mol_per_s >= 0.02 * 20.0 / (2.0 * FARADAY_C_PER_MOL)
    soc_before, mol_before = cell.soc, cell.hydrogen_mol
    for _ in range(7200):
        cell.step(-20.0, 1.0)
    # With every coulomb accounted for: what the lumped loss took, what stayed, and the gas.
    charge_c = 7200.0 * 20.0
    lost_c = 0.1 * charge_c + 7200.0 * 0.0143 / 86_400.0 * 360_000.0
    gas_c = (cell.hydrogen_mol - mol_before) * 2.0 * FARADAY_C_PER_MOL
    assert gas_c == pytest.approx(charge_c - lost_c - (cell.soc - soc_before) * 360_000.0, rel=0.01)
    assert cell.soc < 1.06
    # By now all current makes gas but the lumped tenth: 1 Ah sets 0.418 l free at 0 degC (22.414 l/mol, 2 F).
    assert cell.hydrogen_m3_per_h == pytest.approx(0.9 * 20.0 * 0.418e-3 * 298.15 / 273.15, rel=0.01)


def test_lfp_makes_no_hydrogen():
    cell = one_cell(soc=0.98)
    for _ in range(600):
        cell.step(-3.0, 1.0)
    assert cell.hydrogen_mol == 0.0


def test_power_becomes_the_smaller_current_of_the_quadratic():
    cell = one_cell()
    for power_w in (5.0, -5.0):
        current_a = cell.current_for_power_a(power_w, 0.001)
        assert current_a * cell.voltage_at_v(current_a) == pytest.approx(power_w, rel=1e-5)
        assert abs(current_a) < 2.0
    # Voltage falls to half at the largest power: no more comes out, however much is asked.
    a, b, _, _ = cell.source(0.001, is_charging=False)
    assert cell.current_for_power_a(1e6, 0.001) == pytest.approx(a / (2.0 * b))


@pytest.mark.parametrize("power_w", [20.0, -20.0])
def test_a_source_foretells_the_step(power_w):
    string = BatteryString(BatterySpec(cells_in_series=4, soc=0.4, spread=UNEVEN, **OLD), 25.0, seed=2)
    for _ in range(200):
        current_a = string.current_for_power_a(power_w, 1.0)
        _, _, end_v, end_ohm = string.source(1.0, is_charging=power_w < 0.0)
        # Linear in what is not quite: 5e-5 of the power, and 0.1 mV of each cell at its end.
        assert string.step(current_a, 1.0) == pytest.approx(power_w, rel=5e-5)
        assert string.voltage_v == pytest.approx(end_v - end_ohm * current_a, abs=4e-4)


def test_a_resting_cell_cools_to_ambient_exponentially():
    cell = one_cell(temperature_degc=45.0)
    cell.step(0.0, 600.0)
    lfp = cell.chemistry
    tau_s = 0.07 * 1001.0 / lfp.heat_conductance_w_per_k
    # Self-discharge of a quarter of a milliwatt warms by some millikelvins.
    assert cell.temperature_degc == pytest.approx(25.0 + 20.0 * math.exp(-600.0 / tau_s), abs=3e-3)


def test_cold_cells_resist_more_and_charging_differs_from_discharging():
    lfp = chemistries.load("lfp")
    # SimSES: 195 mOhm empty and 69 mOhm half full at 10 degC, 38 mOhm at 40 degC.
    assert lfp.resistance_ohm(0.0, is_charging=False, temperature_degc=10.0) == pytest.approx(0.195, abs=1e-4)
    assert lfp.resistance_ohm(0.5, is_charging=False, temperature_degc=10.0) == pytest.approx(0.069, abs=4e-4)
    assert lfp.resistance_ohm(0.5, is_charging=False, temperature_degc=40.0) == pytest.approx(0.038, abs=4e-4)
    assert lfp.resistance_ohm(0.9, is_charging=True) > lfp.resistance_ohm(0.9, is_charging=False)


UNEVEN = CellSpread(capacity=0.02, resistance=0.05, soc=0.01, thermal=0.1)

IN_MODULES = {
    "cells_per_module": 4,
    "module_heat_capacity_j_per_k": 200.0,
    "module_conductance_w_per_k": 0.3,
    "cooling_conductance_w_per_k": 0.2,
}


@pytest.mark.parametrize("chemistry", ["lfp", "zinc_halogen"])
def test_energy_out_is_energy_stored_less_losses(chemistry):
    """With everything on: spread, modules, balancing, ageing of new cells, overcharge, a strip."""
    bleed_ohm = 33.0 if chemistry == "lfp" else 0.4
    spec = BatterySpec(
        chemistry=chemistry,
        cells_in_series=16,
        soc=0.9,
        spread=UNEVEN,
        bleed_resistance_ohm=bleed_ohm,
        age_days=0.0,
        full_cycles=0.0,
        **IN_MODULES,
    )
    string = BatteryString(spec, 25.0, seed=3)
    size = 0.25 * string.capacity_ah
    out_j = gone_j = 0.0
    for part, (current_a, seconds) in enumerate(
        ((size, 9000), (0.0, 3600), (-size, 14_000), (size, 13_000), (0.0, 9000))
    ):
        string.set_balancing(np.arange(16) % (part + 1) == 0)
        for _ in range(seconds // 5):
            step_j = string.step(current_a, 5.0)
            out_j += step_j
            gone_j += abs(step_j)
    assert string.ageing_j > 0.0
    assert string.balancing_j > 0.0
    # Bleed currents are held between two looks, and some cells here are driven far below 0 V.
    assert -string.stored_change_j() - string.loss_j == pytest.approx(out_j, abs=4e-5 * gone_j)


def test_spread_depends_on_seed_and_place_alone():
    long = BatteryString(BatterySpec(cells_in_series=28, soc=0.1), 25.0, seed=7)
    short = BatteryString(BatterySpec(cells_in_series=16, soc=0.1), 25.0, seed=7)
    other = BatteryString(BatterySpec(cells_in_series=16, soc=0.1), 25.0, seed=8)
    for string in (long, short, other):
        string.step(1.0, 600.0)
    # The stretch of a secant ends where the mean cell is.
    assert long.cell_voltages_v[:16] == pytest.approx(short.cell_voltages_v, abs=1e-5)
    assert np.abs(other.cell_voltages_v - short.cell_voltages_v).min() > 1e-7
    assert np.ptp(short.cell_voltages_v) > 0.0


def a_restless_day():
    """Current and duration, from nearly empty to full and back, with rests, reversals and odd steps."""
    rng = np.random.default_rng(5)
    for current_a, seconds in ((0.0, 300), (-3.0, 3500), (0.0, 900), (4.0, 1200), (-2.0, 600), (3.0, 2600)):
        for _ in range(seconds // 8):
            yield current_a * rng.uniform(0.8, 1.0), float(rng.choice([2.0, 4.0, 8.0, 12.0]))


@pytest.mark.parametrize("chemistry", ["lfp", "zinc_halogen"])
def test_cells_between_two_looks_are_where_a_look_at_all_would_find_them(chemistry):
    """The lines that cells follow, against a string that looks at its cells at every step."""
    spec = BatterySpec(chemistry=chemistry, cells_in_series=16, soc=0.06, spread=UNEVEN, **OLD)
    string, careful = BatteryString(spec, 25.0, seed=4), BatteryString(spec, 25.0, seed=4)
    size = string.capacity_ah / 3.0 if chemistry == "lfp" else string.capacity_ah / 12.0
    worst_v = worst_k = worst_string_v = 0.0
    for current_a, duration_s in a_restless_day():
        careful.cell_temperatures_degc = careful.cell_temperatures_degc
        for one in (string, careful):
            one.step(size * current_a, duration_s)
        worst_v = max(worst_v, np.abs(string.cell_voltages_v - careful.cell_voltages_v).max())
        apart_k = string.cell_temperatures_degc - careful.cell_temperatures_degc
        worst_k = max(worst_k, np.abs(apart_k).max())
        worst_string_v = max(worst_string_v, abs(string.voltage_v - careful.voltage_v))
        assert string.voltage_v == pytest.approx(string.cell_voltages_v.sum(), abs=1e-9)
    assert string.cell_socs == pytest.approx(careful.cell_socs, abs=1e-5)
    # Stated: 0.6 mV of a cell and 0.07 mV of the mean cell, at 1 C; here it goes up to 1.3 C.
    assert worst_v < 8e-4
    assert worst_k < 0.01
    assert worst_string_v < 16 * 9e-5


@pytest.mark.parametrize(
    ("chemistry", "size_a", "modules"),
    [("lfp", 1.0, {}), ("lfp", 1.0, IN_MODULES), ("zinc_halogen", 20.0, IN_MODULES)],
)
def test_the_string_follows_its_equations_cell_by_cell(chemistry, size_a, modules):
    spec = BatterySpec(
        chemistry=chemistry,
        cells_in_series=8,
        soc=0.4,
        spread=UNEVEN,
        bleed_resistance_ohm=33.0,
        **OLD,
        **modules,
    )
    string = BatteryString(spec, 25.0, seed=9)
    oracle = CellByCell(string, 25.0, 9, 0.25)
    bled = np.arange(8) % 3 == 0
    string.set_balancing(bled)
    oracle.bled = bled
    for current_a, looks, is_cooled in (
        (-3.0, 20, True),
        (2.0, 30, True),
        (0.0, 15, False),
        (2.0, 30, False),
        (-1.0, 9, True),
    ):
        string.set_cooling(is_on=is_cooled)
        for _ in range(looks):
            for _ in range(10):
                string.step(size_a * current_a, 1.0)
            oracle.run(size_a * current_a, 10.0, is_cooled=is_cooled)
            expected_v = oracle.voltages_v(size_a * current_a)
            assert string.cell_voltages_v == pytest.approx(expected_v, abs=6e-4)
            assert string.voltage_v == pytest.approx(expected_v.sum(), abs=8 * 7e-5)
            # The bleed current stands between two looks; zinc leaves metal behind, which the oracle does not.
            assert string.cell_socs == pytest.approx(oracle.soc, abs=7e-5)
            # Who warms how much more than another follows the current at the last look.
            assert string.cell_temperatures_degc == pytest.approx(oracle.degc, abs=0.02)
            if modules:
                assert string.module_temperatures_degc == pytest.approx(oracle.module_degc, abs=0.005)
    assert np.ptp(string.cell_temperatures_degc) > 0.05


def test_cooling_and_modules_end_where_ohms_law_of_heat_says():
    spec = BatterySpec(cells_in_series=8, spread=EQUAL, soc=0.9, **OLD, **IN_MODULES)
    ends_k = {}
    for is_on in (True, False):
        string = BatteryString(spec, 20.0, seed=1)
        string.set_cooling(is_on=is_on)
        # A current back and forth, so that the cells stay where they are.
        for turn in range(300):
            string.step(1.5 if turn % 2 else -1.5, 120.0)
        before_j, before_k = string.loss_j - string.ageing_j, string.temperature_degc
        for turn in range(40):
            string.step(1.5 if turn % 2 else -1.5, 120.0)
        heat_w = (string.loss_j - string.ageing_j - before_j) / 40.0 / 120.0
        assert string.temperature_degc == pytest.approx(before_k, abs=0.01)
        out_w_per_k = 0.5 if is_on else 0.3
        ends_k[is_on] = string.module_temperatures_degc.mean() - 20.0
        assert ends_k[is_on] == pytest.approx(0.5 * heat_w / out_w_per_k, rel=0.02)
    assert ends_k[False] > 1.4 * ends_k[True]


def test_air_that_warms_takes_the_cells_along():
    string = one_cell()
    string.ambient_degc = 35.0
    assert string.temperature_degc == pytest.approx(25.0)
    for _ in range(100):
        string.step(0.0, 60.0)
    assert string.temperature_degc == pytest.approx(35.0, abs=0.02)


def test_bleed_resistors_bring_the_full_cells_down():
    spec = BatterySpec(cells_in_series=4, soc=0.8, spread=EQUAL, bleed_resistance_ohm=33.0, **OLD)
    string = BatteryString(spec, 25.0, seed=1)
    mask = np.array([True, False, False, True])
    string.set_balancing(mask)
    assert string.balancing.tolist() == mask.tolist()
    for _ in range(60):
        string.step(0.0, 60.0)
    bled = string.cell_socs[1] - string.cell_socs[0]
    # From 3.3345 V at 0.8 to 3.3265 V at 0.766.
    assert bled == pytest.approx(3.3305 / 33.0 / 3.0, rel=1e-3)
    assert string.balancing_j == pytest.approx(2.0 * 3.3305**2 / 33.0 * 3600.0, rel=1e-3)
    string.set_balancing(np.zeros(4, dtype=bool))
    before = string.cell_socs
    string.step(0.0, 3600.0)
    assert np.ptp(string.cell_socs - before) < 1e-12


def test_balancing_that_cannot_be_is_refused():
    string = one_cell()
    with pytest.raises(ValueError, match="bleed_resistance_ohm"):
        string.set_balancing(np.array([True]))
    with pytest.raises(ValueError, match=r"shape \(2,\); allowed \(1,\)"):
        string.set_balancing(np.array([True, False]))
    string.set_balancing(np.array([False]))
    assert not string.touched


def test_a_strip_brings_back_what_cycles_left_behind():
    spec = BatterySpec(
        chemistry="zinc_halogen", cells_in_series=4, soc=0.5, spread=UNEVEN, bleed_resistance_ohm=0.13, **OLD
    )
    string = BatteryString(spec, 25.0, seed=1)
    new_ah = string.capacity_ah
    for _ in range(3):
        for current_a, seconds in ((-25.0, 7200), (25.0, 6400)):
            for _ in range(seconds // 10):
                string.step(current_a, 10.0)
    # Three charges of 0.45 of capacity, 1 % each for a whole one.
    assert string.capacity_ah == pytest.approx(new_ah * (1.0 - 3 * 0.45 * 0.01), rel=2e-3)
    while string.voltage_v > 4.0:
        string.step(25.0, 10.0)
    string.set_balancing(np.ones(4, dtype=bool))
    for _ in range(8 * 60):
        string.step(0.0, 60.0)
    assert string.cell_voltages_v == pytest.approx(0.0, abs=0.02)
    # At 0 V all stand at the same state of charge again, and the capacity is back.
    assert np.ptp(string.cell_socs) < 1e-3
    assert string.capacity_ah == pytest.approx(new_ah, rel=1e-3)


@pytest.mark.parametrize("chemistry", ["lfp", "zinc_halogen"])
@pytest.mark.parametrize("modules", [{}, IN_MODULES])
def test_bounds_hold_all_cells_and_are_narrow(chemistry, modules):
    spec = BatterySpec(chemistry=chemistry, cells_in_series=16, soc=0.06, spread=UNEVEN, **modules)
    string = BatteryString(spec, 25.0, seed=4)
    string.cell_temperatures_degc = 25.0 + np.arange(16.0)
    size, widths_v = string.capacity_ah / (3.0 if chemistry == "lfp" else 12.0), []
    for current_a, duration_s in a_restless_day():
        string.step(size * current_a, duration_s)
        cells_v, cells_degc = string.cell_voltages_v, string.cell_temperatures_degc
        low_v, high_v = string.voltage_bounds_v()
        low_degc, high_degc = string.temperature_bounds_degc()
        assert low_v - 1e-6 <= cells_v.min() <= cells_v.max() <= high_v + 1e-6
        assert low_degc - 1e-6 <= cells_degc.min() <= cells_degc.max() <= high_degc + 1e-6
        widths_v.append(high_v - low_v - np.ptp(cells_v))
    assert np.median(widths_v) < 0.06


@pytest.mark.parametrize("divide", [2, 4])
def test_dividing_every_step_moves_nothing_that_is_judged(divide):
    spec = BatterySpec(cells_in_series=16, soc=0.9, spread=UNEVEN, **IN_MODULES)
    whole, parts = BatteryString(spec, 25.0, seed=6), BatteryString(spec, 25.0, seed=6)
    for current_a, seconds in ((3.0, 1500), (0.0, 300), (-3.0, 900), (1.0, 300)):
        for _ in range(seconds):
            whole.step(current_a, 1.0)
            for _ in range(divide):
                parts.step(current_a, 1.0 / divide)
            # Resistance is that at the start of a step, and looks fall elsewhere: 0.03 mV of a mean cell.
            assert whole.voltage_v == pytest.approx(parts.voltage_v, abs=16 * 3e-5)
    assert whole.soc == pytest.approx(parts.soc, abs=1e-9)
    assert whole.cell_temperatures_degc == pytest.approx(parts.cell_temperatures_degc, abs=2e-3)
    assert whole.heat_j == pytest.approx(parts.heat_j, rel=1e-4)


def test_keyed_draws_are_normal_and_repeat():
    draws = np.array([normal(1, "x", n) for n in range(4000)])
    assert normal(1, "x", 17) == draws[17]
    # Four standard errors of mean and of standard deviation.
    assert abs(draws.mean()) < 4.0 / math.sqrt(4000)
    assert abs(draws.std() - 1.0) < 4.0 / math.sqrt(8000)


DAY = (
    (1.5, 2.0),
    (0.0, 1.5),
    (1.0, 1.5),
    (0.75, 0.5),
    (3.0, 1.0),
    (0.0, 6.0),
    (0.3, 5.0),
    (1.5, 1.0),
    (0.0, 5.5),
)
"""Amperes and hours, 24 in all."""


# A, and hours: turning back at every point of the charge, and resting in between.
REVERSALS = [
    *((1.0, 1.5), (0.0, 0.5), (-1.0, 1.5), (0.5, 2.0), (-0.5, 2.0), (1.5, 0.75), (0.0, 2.0), (-2.0, 0.5)),
    *((0.2, 5.0), (-0.25, 4.0), (0.0, 1.25), (1.0, 1.0), (-0.5, 2.0)),
]


@pytest.mark.parametrize(
    ("is_charging", "soc0", "day"),
    [
        pytest.param(False, 0.9, [(0.22 * amperes, hours) for amperes, hours in DAY], id="out"),
        pytest.param(True, 0.1, [(-0.22 * amperes, hours) for amperes, hours in DAY], id="in"),
        pytest.param(False, 0.75, REVERSALS, id="to and fro"),
    ],
)
def test_thevenin_agrees_within_a_millivolt_over_a_day(is_charging, soc0, day):
    """Two RC branches, hysteresis and heat; ``thevenin`` has one resistance both ways, and so has ours."""
    lfp = chemistries.load("lfp")
    branches = lfp.file.resistance.branches
    rows = lfp.charge_ohm if is_charging else lfp.discharge_ohm

    @np.vectorize
    def ohm(soc, kelvin):
        column = [np.interp(soc, lfp.soc, row) for row in rows]
        return float(np.interp(kelvin - 273.15, lfp.temperature_degc, column))

    def share(part):
        return lambda soc, kelvin: part * ohm(soc, kelvin)

    def farad(branch):
        return lambda soc, kelvin: branch.time_constant_s / (branch.share * ohm(soc, kelvin))

    oracle = thevenin.Simulation(
        {
            "num_RC_pairs": 2,
            "soc0": soc0,
            "capacity": 3.0,
            "gamma": 100.0,
            "ce": 1.0,
            "mass": 0.07,
            "isothermal": False,
            "Cp": 1001.0,
            "T_inf": 283.15,
            "h_therm": 15.0,
            "A_therm": 0.00637,
            "ocv": lambda soc: np.interp(soc, lfp.soc, lfp.ocv),
            "M_hyst": lambda soc: np.interp(soc, lfp.soc, lfp.half_gap_v),
            "R0": share(lfp.series_share),
            "R1": share(branches[0].share),
            "R2": share(branches[1].share),
            "C1": farad(branches[0]),
            "C2": farad(branches[1]),
        }
    )
    experiment = thevenin.Experiment(max_step=30.0)
    for amperes, hours in day:
        experiment.add_step("current_A", amperes, (3600.0 * hours, 60.0))
    solution = oracle.run(experiment)
    assert solution.vars["time_s"][-1] == pytest.approx(86_400.0)

    file = lfp.file.model_copy(
        update={
            "cell": lfp.file.cell.model_copy(
                update={"coulombic_efficiency": 1.0, "self_discharge_per_day": 0.0}
            )
        }
    )
    spec = BatterySpec(cells_in_series=1, soc=soc0, spread=EQUAL, **OLD)
    same = replace(lfp, file=file, charge_ohm=rows, discharge_ohm=rows)
    string = BatteryString(spec, 10.0, seed=1, chemistry=same)
    ours_v, at_s, now_s = [], [], 0.0
    for amperes, hours in day:
        for minute in range(round(hours * 60)):
            for _ in range(10):
                string.step(amperes, 6.0)
            now_s += 60.0
            # The last sample before a step of the current is that of the next step in one of the two.
            if minute < round(hours * 60) - 1:
                at_s.append(now_s)
                ours_v.append(string.voltage_v)
    theirs_v = np.interp(at_s, solution.vars["time_s"], solution.vars["voltage_V"])
    assert np.abs(np.array(ours_v) - theirs_v).max() < 0.001
    assert string.soc == pytest.approx(solution.vars["soc"][-1], abs=1e-5)


def test_a_week_of_steps_keeps_no_more_than_an_hour():
    """What is kept of the past does not grow: charges, rests, half cycles and looks by the thousand."""
    string = BatteryString(BatterySpec(cells_in_series=16, soc=0.5, spread=UNEVEN), 25.0, seed=1)

    def live(hours):
        for _ in range(hours):
            for current_a in (1.0, -1.0, 0.0):
                for _ in range(20):
                    string.step(current_a, 60.0)

    live(4)
    after_hours = len(pickle.dumps(string))
    live(7 * 24 - 4)
    # Each cell's three numbers may be listed at the end where they were not before, nine bytes for a number;
    # one number kept for each half cycle would be 3 kB by now.
    assert len(pickle.dumps(string)) - after_hours < 16 * 3 * 9
