"""Ageing against the figures that SimSES publishes, and against its own closed forms."""

import math

import numpy as np
import pytest

from harness.plant import chemistries
from harness.plant.ageing import Ageing, cyclic_rates
from harness.plant.battery import BatteryString
from harness.plant.spec import BatterySpec, CellSpread

EQUAL = CellSpread(capacity=0.0, resistance=0.0)
YEAR_S = 365.0 * 86_400.0


def new_cells(count=2, name="lfp", **age):
    return Ageing(chemistries.load(name).file, count, soc=0.5, **{"age_days": 0.0, "full_cycles": 0.0, **age})


def lie(ageing, soc, degc, seconds, parts=10):
    count = len(ageing.capacity)
    for _ in range(parts):
        ageing.live(np.full(count, soc), np.full(count, degc), np.full(count, 3.3), seconds / parts)


def test_a_year_at_half_charge_and_25_degc_costs_what_simses_says():
    ageing = new_cells()
    lie(ageing, 0.5, 25.0, YEAR_S)
    assert 100.0 * ageing.calendar_loss == pytest.approx(4.25, abs=0.05)
    assert 100.0 * (1.0 - ageing.capacity) == pytest.approx(4.25, abs=0.05)
    # k_R b_R t: 1.7 % of the resistance.
    assert ageing.resistance == pytest.approx(1.0 + 3.4194e-10 * 1.5604 * YEAR_S, rel=1e-9)


def test_a_thousand_full_cycles_at_1c_cost_what_simses_says():
    ageing = new_cells()
    for _ in range(1000):
        ageing.move(-1.0, 3600.0)
        ageing.move(1.0, 3600.0)
    ageing.move(-0.1, 360.0)
    assert ageing.full_cycles == pytest.approx(1000.0)
    assert 100.0 * ageing.cyclic_loss == pytest.approx(6.83, abs=0.05)


def test_a_string_ages_as_its_cells_do():
    """The whole way: half a year in steps of an hour, and resting cells that leak in the meantime."""
    spec = BatterySpec(cells_in_series=4, soc=0.55, spread=EQUAL, age_days=0.0, full_cycles=0.0)
    string = BatteryString(spec, 25.0, seed=1)
    new_ohm = string.at_once_ohm
    expected, expected_ohm = 0.0, 0.0
    for hour in range(365 * 12):
        soc = 0.55 - 0.00067 * (hour + 0.5) / 24.0
        expected += 3600.0 * (1.2571e-5 * (2.8575 * (soc - 0.5) ** 3 + 0.60225)) ** 2
        expected_ohm += 3600.0 * 3.4194e-10 * (-3.3903 * (soc - 0.5) ** 2 + 1.5604)
        string.step(0.0, 3600.0)
    assert string.soh == pytest.approx(1.0 - math.sqrt(expected), abs=2e-5)
    assert string.capacity_ah == pytest.approx(3.0 * string.soh)
    assert string.resistance_growth == pytest.approx(1.0 + expected_ohm, rel=1e-4)
    lfp = string.chemistry
    cell_ohm = lfp.resistance_ohm(string.soc, is_charging=False, temperature_degc=string.temperature_degc)
    assert string.at_once_ohm == pytest.approx(4 * 0.4 * cell_ohm * string.resistance_growth, rel=1e-4)
    assert string.at_once_ohm != pytest.approx(new_ohm, rel=1e-3)
    # What went with the capacity is in the balance.
    assert -string.stored_change_j() == pytest.approx(string.loss_j, rel=1e-4)
    assert string.ageing_j > 0.1 * string.loss_j


def test_heat_and_full_cells_age_faster():
    losses = {}
    for soc, degc in ((0.5, 25.0), (0.5, 45.0), (1.0, 25.0)):
        ageing = new_cells(1)
        lie(ageing, soc, degc, YEAR_S)
        losses[soc, degc] = float(ageing.calendar_loss[0])
    arrhenius = math.exp(17126.0 / 8.314462 * (1.0 / 298.15 - 1.0 / 318.15))
    assert losses[0.5, 45.0] == pytest.approx(losses[0.5, 25.0] * arrhenius, rel=1e-6)
    assert losses[1.0, 25.0] == pytest.approx(
        losses[0.5, 25.0] * (2.8575 / 8.0 + 0.60225) / 0.60225, rel=1e-9
    )


def test_a_hot_spell_goes_on_from_what_is_lost():
    """SimSES's virtual time: the loss stands for the time that the new conditions would have taken."""
    ageing = new_cells(1)
    lie(ageing, 0.5, 25.0, YEAR_S, parts=1)
    hot = new_cells(1)
    lie(hot, 0.5, 45.0, YEAR_S, parts=1)
    virtual_s = YEAR_S * float(ageing.calendar_loss[0] / hot.calendar_loss[0]) ** 2
    ageing._rates = None
    lie(ageing, 0.5, 45.0, YEAR_S, parts=1)
    assert ageing.calendar_loss == pytest.approx(hot.calendar_loss * math.sqrt((virtual_s + YEAR_S) / YEAR_S))


def test_an_age_that_is_given_counts_from_there():
    ageing = new_cells(1, age_days=365.0, full_cycles=100.0)
    assert ageing.capacity == pytest.approx(1.0)
    before = ageing.calendar_loss.copy()
    lie(ageing, 0.5, 25.0, YEAR_S)
    assert before == pytest.approx(0.0425, abs=5e-4)
    assert 1.0 - ageing.capacity == pytest.approx(before * (math.sqrt(2.0) - 1.0), rel=1e-6)


def test_small_turns_end_no_half_cycle():
    ageing = new_cells()
    for _ in range(200):
        ageing.move(-0.004, 14.4)
        ageing.move(0.001, 3.6)
    ageing.move(0.2, 720.0)
    assert ageing.full_cycles == pytest.approx(0.5 * (200 * 0.003 + 0.001), rel=1e-9)
    law = chemistries.load("lfp").file.cyclic_ageing
    depth, rate = 0.601, 0.601 * 3600.0 / (200 * 18.0 - 3.6)
    loss, _ = cyclic_rates(law, depth, rate)
    assert ageing.cyclic_loss == pytest.approx(loss * math.sqrt(0.5 * depth), rel=1e-9)


def test_inactive_metal_dissolves_in_a_strip_and_at_no_other_time():
    ageing = new_cells(2, "zinc_halogen", full_cycles=1e6)
    for _ in range(3):
        ageing.move(1.0, 14_400.0)
        ageing.move(-1.0, 7200.0)
    cells_v = np.array([0.1, 1.7])
    ageing.live(np.array([0.0, 0.0]), np.array([25.0, 25.0]), np.array([1.7, 1.7]), 3600.0)
    assert ageing.inactive == pytest.approx(0.03)
    ageing.live(np.array([0.0, 0.0]), np.array([25.0, 25.0]), cells_v, 3600.0)
    assert ageing.inactive[0] == pytest.approx(0.03 / math.e)
    assert ageing.inactive[1] == pytest.approx(0.03)
    assert ageing.capacity[1] == pytest.approx(0.97, abs=1e-5)
