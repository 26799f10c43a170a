"""When the battery management bleeds which cells."""

from dataclasses import replace

import numpy as np
import pytest

from harness.plant import BatterySpec, BmsSpec, CellSpread, ConverterSpec, PlantSpec, RigPlant
from harness.plant.bms_spec import BalancingSpec

SPEC = PlantSpec(
    battery=BatterySpec(
        cells_in_parallel=1,
        soc=0.98,
        spread=CellSpread(capacity=0.0, resistance=0.0, soc=0.005),
        bleed_resistance_ohm=40.0,
    ),
    bms=BmsSpec(
        charge_current_limit_a=3.0,
        discharge_current_limit_a=3.0,
        full_current_a=0.1,
        balancing=BalancingSpec(rest_current_a=0.1),
        current_offset_a=0.0,
    ),
    converter=ConverterSpec(starts_on=False, bms_timeout_s=None),
)


def rig_with(**balancing):
    bms = replace(SPEC.bms, balancing=BalancingSpec(**{"rest_current_a": 0.1} | balancing))
    return RigPlant(replace(SPEC, bms=bms))


def test_it_begins_at_its_interval_and_bleeds_the_cells_above_the_lowest():
    rig = rig_with()
    rig.advance(59.9)
    assert not rig.string.balancing.any()
    before_v = rig.string.cell_voltages_v
    rig.advance(60.0)
    assert np.array_equal(rig.string.balancing, before_v > before_v.min() + 0.005)
    assert 0 < rig.string.balancing.sum() < 16


def test_it_goes_on_until_the_spread_is_gone_and_then_ends():
    rig = rig_with()
    rig.advance(60.0)
    start = np.ptp(rig.string.cell_socs)
    rig.advance(86_400.0)
    assert not rig.string.balancing.any()
    assert np.ptp(rig.string.cell_voltages_v) <= 0.0101
    assert np.ptp(rig.string.cell_socs) < 0.9 * start
    assert rig.balance().residual_fraction < 1e-3


@pytest.mark.parametrize(
    "balancing", [{"from_cell_v": 3.6}, {"start_spread_v": 1.0}, {"while_resting": False}]
)
def test_it_does_not_begin_where_its_data_say_no(balancing):
    rig = rig_with(**balancing)
    rig.advance(600.0)
    assert not rig.string.balancing.any()


@pytest.mark.parametrize(("power_w", "is_bled"), [(-60.0, True), (60.0, False)])
def test_it_bleeds_while_charging_and_not_while_discharging(power_w, is_bled):
    rig = rig_with(while_resting=False)
    rig.converter.turn_on()
    rig.converter.set_power_w(power_w)
    rig.advance(119.0)
    assert abs(rig.string.current_a) > 0.2
    assert bool(rig.string.balancing.any()) is is_bled


def test_a_wide_spread_warns():
    rig = rig_with(warning_spread_v=0.011)
    rig.advance(59.0)
    assert not rig.bms.warnings
    rig.advance(61.0)
    assert rig.bms.warnings == {"cell_imbalance"}
    assert rig.bms.contactor_closed


def test_who_looks_when_changes_no_decision():
    seldom, often = rig_with(), rig_with()
    seldom.advance(3_600.0)
    for look in range(1, 3_601, 7):
        often.advance(look)
    often.advance(3_600.0)
    assert np.array_equal(seldom.string.balancing, often.string.balancing)
    assert seldom.string.cell_socs == pytest.approx(often.string.cell_socs, abs=5e-6)
