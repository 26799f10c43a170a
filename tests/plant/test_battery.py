"""The string against closed forms, published figures and an independent solver."""

import math

import numpy as np
import pytest
import thevenin

from harness.errors import ConfigurationError
from harness.plant import chemistries
from harness.plant.battery import BatteryString
from harness.plant.keyed import normal
from harness.plant.spec import BatterySpec, CellSpread

EQUAL = CellSpread(capacity=0.0, resistance=0.0)


def one_cell(soc=0.5, chemistry="lfp", temperature_degc=25.0, ambient_degc=25.0):
    spec = BatterySpec(
        chemistry=chemistry, cells_in_series=1, soc=soc, temperature_degc=temperature_degc, spread=EQUAL
    )
    return BatteryString(spec, ambient_degc, seed=1)


def test_every_chemistry_loads_and_its_voltage_rises_with_charge():
    assert chemistries.names() == ("lfp", "zinc_halogen")
    for name in chemistries.names():
        assert np.all(np.diff(chemistries.load(name).curves[:, 0]) > 0.0)


def test_an_unknown_chemistry_is_named_with_what_there_is():
    with pytest.raises(ConfigurationError, match=r"'lead'.*lfp, zinc_halogen"):
        chemistries.load("lead")


def test_lfp_nodes_are_the_published_ones():
    lfp = chemistries.load("lfp")
    assert lfp.ocv_v(0.95) == pytest.approx(3.3447, abs=1e-12)
    assert lfp.ocv_v(0.01) == pytest.approx(2.783, abs=1e-12)
    assert lfp.resistance_ohm(0.5, is_charging=True) == pytest.approx(0.0448, abs=1e-12)
    assert lfp.resistance_ohm(0.0, is_charging=False) == pytest.approx(0.0617, abs=1e-12)


@pytest.mark.parametrize(("direction", "expected_v"), [(1.0, 3.156), (-1.0, 3.434)])
def test_lfp_at_1c_and_half_full_stands_where_simses_says(direction, expected_v):
    # SimSES 2.1.1 has no RC branch: compare ten time constants into the current, at 25 degC.
    cell = one_cell(soc=0.5 + direction * 300.0 / 3600.0)
    for _ in range(300):
        cell.cell_temperatures_degc = np.array([25.0])
        cell.step(direction * 3.0, 1.0)
    assert cell.soc == pytest.approx(0.5, abs=2e-4)
    assert cell.voltage_v == pytest.approx(expected_v, abs=0.002)


def test_the_rc_branch_answers_a_step_as_its_closed_form():
    cell = one_cell()
    for _ in range(30):
        cell.step(0.3, 1.0)
    lfp = cell.chemistry
    resistance_ohm = lfp.resistance_ohm(cell.soc, is_charging=False, temperature_degc=cell.temperature_degc)
    expected_v = (
        lfp.ocv_v(cell.soc)
        - 0.3 * 0.4 * resistance_ohm
        - 0.3 * 0.6 * resistance_ohm * (1.0 - math.exp(-30.0 / 30.0))
    )
    assert cell.voltage_v == pytest.approx(expected_v, abs=2e-6)


def test_the_rc_branch_is_exact_whatever_the_steps():
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


def test_self_discharge_alone_empties_at_its_rate():
    cell = one_cell(soc=0.8, chemistry="zinc_halogen")
    for _ in range(24 * 60):
        cell.step(0.0, 60.0)
    assert 0.8 - cell.soc == pytest.approx(0.0041, rel=1e-9)


def test_coulombs_that_do_not_stay_are_lost_while_charging_only():
    cell = one_cell(soc=0.5, chemistry="zinc_halogen")
    leak = 0.0041 / 86_400.0
    cell.step(-36.0, 1000.0)
    assert cell.soc - 0.5 == pytest.approx(0.90 * 36.0 * 1000.0 / 360_000.0 - 1000.0 * leak, rel=1e-9)
    before = cell.soc
    cell.step(36.0, 1000.0)
    assert before - cell.soc == pytest.approx(36.0 * 1000.0 / 360_000.0 + 1000.0 * leak, rel=1e-9)


def test_power_becomes_the_smaller_current_of_the_quadratic():
    cell = one_cell()
    for power_w in (5.0, -5.0):
        current_a = cell.current_for_power_a(power_w, 0.001)
        assert current_a * cell.voltage_at_v(current_a) == pytest.approx(power_w, rel=1e-5)
        assert abs(current_a) < 2.0
    # Voltage falls to half at the largest power: no more comes out, however much is asked.
    a, b, _, _ = cell.source(0.001, is_charging=False)
    assert cell.current_for_power_a(1e6, 0.001) == pytest.approx(a / (2.0 * b))


def test_a_resting_cell_cools_to_ambient_exponentially():
    cell = one_cell(temperature_degc=45.0)
    cell.step(0.0, 600.0)
    lfp = cell.chemistry
    tau_s = 0.07 * 1001.0 / lfp.heat_conductance_w_per_k
    # Self-discharge of a quarter of a milliwatt warms by some millikelvins.
    assert cell.temperature_degc == pytest.approx(25.0 + 20.0 * math.exp(-600.0 / tau_s), abs=3e-3)


def test_cold_cells_resist_more_and_charging_differs_from_discharging():
    lfp = chemistries.load("lfp")
    cold = lfp.resistance_ohm(0.5, is_charging=False, temperature_degc=10.0)
    assert cold == pytest.approx(0.069, abs=1e-5)
    assert lfp.resistance_ohm(0.9, is_charging=True) > lfp.resistance_ohm(0.9, is_charging=False)


def test_energy_out_is_energy_stored_less_losses():
    string = BatteryString(BatterySpec(cells_in_series=16, cells_in_parallel=4, soc=0.9), 25.0, seed=3)
    out_j = sum(string.step(12.0, 1.0) for _ in range(2400))
    out_j += sum(string.step(-12.0, 1.0) for _ in range(1200))
    losses_j = string.heat_j + string.coulombic_loss_j + string.self_discharge_j
    assert -string.stored_change_j() == pytest.approx(out_j + losses_j, rel=1e-6)


def test_spread_depends_on_seed_and_place_alone():
    long = BatteryString(BatterySpec(cells_in_series=28, soc=0.1), 25.0, seed=7)
    short = BatteryString(BatterySpec(cells_in_series=16, soc=0.1), 25.0, seed=7)
    other = BatteryString(BatterySpec(cells_in_series=16, soc=0.1), 25.0, seed=8)
    for string in (long, short, other):
        string.step(1.0, 600.0)
    assert np.array_equal(long.cell_voltages_v[:16], short.cell_voltages_v)
    assert not np.array_equal(other.cell_voltages_v, short.cell_voltages_v)
    assert np.ptp(short.cell_voltages_v) > 0.0


def test_keyed_draws_are_normal_and_repeat():
    draws = np.array([normal(1, "x", n) for n in range(4000)])
    assert normal(1, "x", 17) == draws[17]
    # Four standard errors of mean and of standard deviation.
    assert abs(draws.mean()) < 4.0 / math.sqrt(4000)
    assert abs(draws.std() - 1.0) < 4.0 / math.sqrt(8000)


def test_thevenin_agrees_within_a_millivolt():
    lfp = chemistries.load("lfp")
    soc, curves = lfp.soc, lfp.curves

    def share_of_resistance(share):
        return lambda soc_now, _: share * float(np.interp(soc_now, soc, curves[:, 2]))

    def capacitance_f(soc_now, _):
        return 30.0 / (0.6 * float(np.interp(soc_now, soc, curves[:, 2])))

    oracle = thevenin.Simulation(
        {
            "num_RC_pairs": 1,
            "soc0": 0.8,
            "capacity": 3.0,
            "gamma": 0.0,
            "ce": 1.0,
            "mass": 0.07,
            "isothermal": True,
            "Cp": 1001.0,
            "T_inf": 298.15,
            "h_therm": 15.0,
            "A_therm": 0.00637,
            "ocv": lambda soc_now: np.interp(soc_now, soc, curves[:, 0]),
            "M_hyst": lambda _: 0.0,
            "R0": share_of_resistance(0.4),
            "R1": share_of_resistance(0.6),
            "C1": capacitance_f,
        }
    )
    experiment = thevenin.Experiment(max_step=1.0)
    experiment.add_step("current_A", 3.0, (300.0, 10.0))
    experiment.add_step("current_A", 0.0, (120.0, 10.0))
    solution = oracle.run(experiment)
    theirs_v = np.interp([100.0, 290.0, 310.0, 400.0], solution.vars["time_s"], solution.vars["voltage_V"])

    cell = one_cell(soc=0.8)
    ours_v = []
    for second in range(1, 421):
        cell.cell_temperatures_degc = np.array([25.0])
        cell.step(3.0 if second <= 300 else 0.0, 1.0)
        if second in {100, 290, 310, 400}:
            ours_v.append(cell.voltage_v)
    assert np.abs(np.array(ours_v) - theirs_v).max() < 0.001
