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
    # A cell's drop is a share of the string's, so that the last digit knows of the others.
    assert long.cell_voltages_v[:16] == pytest.approx(short.cell_voltages_v, abs=1e-9)
    assert np.abs(other.cell_voltages_v - short.cell_voltages_v).min() > 1e-7
    assert np.ptp(short.cell_voltages_v) > 0.0


UNEVEN = CellSpread(capacity=0.02, resistance=0.05, soc=0.01)


def a_restless_day():
    """Current and duration, from nearly empty to full and back, with rests, reversals and odd steps."""
    rng = np.random.default_rng(5)
    for current_a, seconds in ((0.0, 300), (-3.0, 3500), (0.0, 900), (4.0, 1200), (-2.0, 600), (3.0, 2600)):
        for _ in range(seconds // 2):
            yield current_a * rng.uniform(0.8, 1.0), float(rng.choice([0.5, 1.0, 2.0, 3.0]))


@pytest.mark.parametrize("chemistry", ["lfp", "zinc_halogen"])
def test_cells_between_two_anchors_are_where_a_look_at_all_would_find_them(chemistry):
    """The shares that cells keep between anchors, against a string that looks at its cells at every step."""
    spec = BatterySpec(chemistry=chemistry, cells_in_series=16, soc=0.06, spread=UNEVEN)
    string, careful = BatteryString(spec, 25.0, seed=4), BatteryString(spec, 25.0, seed=4)
    size = string.capacity_ah / 3.0
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
    assert string.cell_socs == pytest.approx(careful.cell_socs, abs=1e-12)
    # Stated: 5e-4 of a cell's drop, which goes up to 0.2 V here, and 4e-5 of the string's, up to 3 V.
    assert worst_v < 1e-4
    assert worst_k < 2e-3
    assert worst_string_v < 1e-4


def test_one_cell_of_a_string_follows_the_equations_alone():
    """Each cell of a string against a cell of its capacity and resistance, integrated here in fine steps."""
    spec = BatterySpec(cells_in_series=4, soc=0.3, spread=UNEVEN)
    string = BatteryString(spec, 25.0, seed=9)
    lfp = string.chemistry
    capacity_c = 3.0 * 3600.0 * (1.0 + 0.02 * _draws("capacity", 4))
    scale = 1.0 + 0.05 * _draws("resistance", 4)
    socs, branches_v = 0.3 + 0.01 * _draws("soc", 4), np.zeros(4)
    degc, leak = np.full(4, 25.0), lfp.self_discharge_per_day / 86_400.0
    heat_capacity, conductance, dt_s = lfp.heat_capacity_j_per_k, lfp.heat_conductance_w_per_k, 0.05
    for current_a, seconds in ((-3.0, 300), (2.0, 300)):
        for _ in range(seconds):
            string.step(current_a, 1.0)
        kept_a = current_a * (lfp.coulombic_efficiency if current_a < 0.0 else 1.0)
        column = 1 if current_a < 0.0 else 2
        for _ in range(round(seconds / dt_s)):
            factor = np.interp(degc, lfp.temperature_degc, lfp.temperature_factor)
            ohm = scale * factor * np.interp(socs, lfp.soc, lfp.curves[:, column])
            lost_w = (current_a - kept_a) * -np.interp(socs, lfp.soc, lfp.curves[:, 0])
            heat_w = current_a * (0.4 * current_a * ohm + branches_v) + lost_w
            degc = degc + dt_s * (heat_w - conductance * (degc - 25.0)) / heat_capacity
            branches_v = branches_v + dt_s * (0.6 * current_a * ohm - branches_v) / 30.0
            socs = socs - dt_s * (kept_a / capacity_c + leak)
        expected_v = np.interp(socs, lfp.soc, lfp.curves[:, 0]) - branches_v - 0.4 * current_a * ohm
        assert string.cell_voltages_v == pytest.approx(expected_v, abs=2e-4)
        assert string.cell_socs == pytest.approx(socs, abs=1e-9)
        # Leakage of a quarter of a milliwatt is left out here: some millikelvins.
        assert string.cell_temperatures_degc == pytest.approx(degc, abs=0.01)


def _draws(quantity, count):
    return np.clip([normal(9, f"cell {quantity}", index) for index in range(count)], -3.0, 3.0)


@pytest.mark.parametrize("chemistry", ["lfp", "zinc_halogen"])
def test_bounds_hold_all_cells_and_are_narrow(chemistry):
    spec = BatterySpec(chemistry=chemistry, cells_in_series=16, soc=0.06, spread=UNEVEN)
    string = BatteryString(spec, 25.0, seed=4)
    string.cell_temperatures_degc = 25.0 + np.arange(16.0)
    size, widths_v = string.capacity_ah / 3.0, []
    for current_a, duration_s in a_restless_day():
        string.step(size * current_a, duration_s)
        cells_v, cells_degc = string.cell_voltages_v, string.cell_temperatures_degc
        low_v, high_v = string.voltage_bounds_v()
        low_degc, high_degc = string.temperature_bounds_degc()
        assert low_v - 1e-6 <= cells_v.min() <= cells_v.max() <= high_v + 1e-6
        assert low_degc - 1e-6 <= cells_degc.min() <= cells_degc.max() <= high_degc + 1e-6
        widths_v.append(high_v - low_v - np.ptp(cells_v))
    assert np.median(widths_v) < 0.02


@pytest.mark.parametrize("name", chemistries.names())
def test_lines_between_nodes_stay_within_their_error(name):
    cell = chemistries.load(name)
    for values, curve, error in zip(cell.node_values, cell.curves.T, chemistries.NODE_ERROR, strict=True):
        assert np.abs(np.interp(cell.soc, cell.nodes, values) - curve).max() <= error
    assert 0.0 in cell.nodes
    assert len(cell.nodes) < 80


def test_a_published_table_keeps_its_own_nodes():
    table = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0]
    assert chemistries.load("lfp").nodes.tolist() == [-0.05, *table, 1.05]


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
