"""Strings in parallel: Kirchhoff's laws, energies, contactors, and the tree."""

import itertools
import math

import numpy as np
import pytest

from harness.plant import BmsSpec, PlantSpec, RigPlant
from harness.plant.battery import BatteryString
from harness.plant.bms_spec import FuseSpec, PlausibilitySpec
from harness.plant.rack import Rack, battery
from harness.plant.sensors import SensorFault
from harness.plant.spec import BatterySpec, CellSpread, ConverterSpec

UNEVEN = CellSpread(capacity=0.02, resistance=0.05, soc=0.005)


def a_rack(strings=3, **changes):
    return Rack(BatterySpec(cells_in_series=8, strings=strings, soc=0.6, spread=UNEVEN, **changes), 25.0, 4)


def test_a_rack_of_one_string_is_that_string():
    assert isinstance(battery(BatterySpec(), 25.0, 1), BatteryString)
    assert isinstance(battery(BatterySpec(strings=2), 25.0, 1), Rack)


def test_the_tree_counts_its_cells_modules_and_strings():
    rack = a_rack(cells_per_module=4, module_heat_capacity_j_per_k=100.0, module_conductance_w_per_k=0.5)
    assert len(rack.strings) == 3
    assert rack.cell_voltages_v.shape == rack.cell_socs.shape == rack.cell_temperatures_degc.shape == (24,)
    assert rack.module_voltages_v == pytest.approx(rack.cell_voltages_v.reshape(6, 4).sum(axis=1))
    assert rack.module_temperatures_degc.shape == (6,)
    # No two cells of the rack are the same.
    assert len(set(rack.cell_socs.tolist())) == 24


@pytest.mark.parametrize("current_a", [6.0, -5.0, 0.0, 0.01])
def test_currents_add_up_and_strings_share_one_voltage(current_a):
    rack = a_rack()
    for _ in range(600):
        rack.step(current_a, 1.0)
        assert sum(rack.string_currents_a) == pytest.approx(current_a, abs=1e-9)
        # At the end of a step they agree as far as a current that is constant over a second can make them.
        for string in rack.strings:
            assert string.voltage_v == pytest.approx(rack.voltage_v, abs=2e-3)
    assert np.ptp(rack.string_currents_a) > 0.0


def test_strings_at_rest_even_out_as_two_capacitors_would():
    """Two strings without hysteresis, a little apart, where the voltage is all but linear in charge."""
    spec = BatterySpec(
        chemistry="zinc_halogen",
        cells_in_series=8,
        strings=2,
        soc=0.25,
        spread=CellSpread(capacity=0.0, resistance=0.0),
        full_cycles=1e6,
    )
    rack = Rack(spec, 25.0, 1)
    rack.connect(1, is_closed=False)
    rack.step(20.0, 180.0)
    assert rack.string_currents_a == pytest.approx((20.0, 0.0))
    # Long enough for RC branches and heat to be gone.
    rack.step(0.0, 7200.0)
    apart = rack.strings[1].soc - rack.strings[0].soc
    assert apart == pytest.approx(0.01, rel=1e-6)
    rack.connect(1, is_closed=True)
    rack.step(0.0, 0.01)
    one_a, two_a = rack.string_currents_a
    assert one_a == pytest.approx(-two_a)
    assert two_a > 0.1
    for _ in range(600):
        rack.step(0.0, 30.0)
    zinc = rack.chemistry
    slope_v = (zinc.ocv_v(0.250) - zinc.ocv_v(0.240)) / 0.010
    # What comes back was put in with an efficiency of 0.9.
    time_constant_s = 360_000.0 * 0.0028 / slope_v / (0.5 * (1.0 + 0.899))
    left = (rack.strings[1].soc - rack.strings[0].soc) / apart
    assert left == pytest.approx(math.exp(-18_000.0 / time_constant_s), rel=0.05)


def test_energy_is_what_leaves_the_node_plus_losses():
    rack = a_rack(age_days=0.0, full_cycles=0.0)
    out_j = through_j = 0.0
    for current_a, seconds in ((7.0, 1200), (0.0, 300), (-5.0, 900)):
        for _ in range(seconds):
            step_j = rack.step(current_a, 1.0)
            out_j += step_j
            through_j += abs(step_j)
    assert -rack.stored_change_j() == pytest.approx(out_j + rack.loss_j, abs=1e-5 * through_j)


@pytest.mark.parametrize("power_w", [160.0, -120.0, 0.3, -0.3])
def test_a_rack_gives_the_power_that_it_is_asked_for(power_w):
    rack = a_rack()
    for _ in range(100):
        current_a = rack.current_for_power_a(power_w, 1.0)
        assert rack.step(current_a, 1.0) == pytest.approx(power_w, rel=1e-4, abs=1e-4)


def test_a_source_foretells_the_step():
    rack = a_rack()
    for current_a in itertools.chain([6.0] * 50, [-6.0] * 50):
        a, b, end_v, end_ohm = rack.source(1.0, is_charging=current_a < 0.0)
        energy_j = rack.step(current_a, 1.0)
        assert energy_j / current_a == pytest.approx(a - b * current_a, abs=1e-3)
        assert rack.voltage_v == pytest.approx(end_v - end_ohm * current_a, abs=1e-3)


def test_an_open_string_carries_nothing_and_an_open_rack_refuses():
    rack = a_rack()
    rack.connect(1, is_closed=False)
    for _ in range(60):
        rack.step(6.0, 1.0)
    assert not rack.is_connected(1)
    assert rack.strings[1].current_a == 0.0
    assert rack.strings[1].soc > rack.strings[0].soc + 0.01
    for place in (0, 2):
        rack.connect(place, is_closed=False)
    assert rack.voltage_v == 0.0
    assert rack.current_for_power_a(10.0, 1.0) == 0.0
    rack.step(0.0, 1.0)
    with pytest.raises(ValueError, match="all strings open"):
        rack.step(1.0, 1.0)


def test_balancing_and_cooling_reach_every_string():
    rack = a_rack(bleed_resistance_ohm=33.0)
    mask = np.zeros(24, dtype=bool)
    mask[[0, 9, 23]] = True
    rack.set_balancing(mask)
    assert rack.balancing.tolist() == mask.tolist()
    assert rack.touched
    rack.touched = False
    assert not any(string.touched for string in rack.strings)
    with pytest.raises(ValueError, match=r"shape \(8,\); allowed \(24,\)"):
        rack.set_balancing(mask[:8])


def two_strings(soc=0.5, **bms):
    """A rig whose converter takes what the battery gives."""
    battery = BatterySpec(cells_in_series=16, cells_in_parallel=50, strings=2, soc=soc)
    converter = ConverterSpec(bms_timeout_s=None, starts_on=True)
    rig = RigPlant(PlantSpec(battery=battery, bms=BmsSpec(**bms), converter=converter))
    rig.converter.hear_bms(150.0, 150.0, 56.0)
    rig.advance(5.0)
    return rig


def with_one_apart(**bms):
    """The first string 56 % below the second, which is isolated; at rest."""
    rig = two_strings(soc=0.9, **bms)
    rig.string.connect(1, is_closed=False)
    rig.converter.set_power_w(4000.0)
    rig.advance(3800.0)
    rig.converter.set_power_w(0.0)
    rig.advance(3860.0)
    first, second = rig.string.strings
    assert second.voltage_v - first.voltage_v > 1.5
    return rig


def test_the_sum_of_an_isolated_strings_cells_is_compared_with_nothing():
    rig = with_one_apart(plausibility=PlausibilitySpec(cell_sum_fraction=0.01))
    rig.bms.open_contactors()
    rig.advance(3861.0)
    rig.bms.close_contactors()
    rig.advance(3880.0)
    assert not rig.bms.alarms
    assert rig.bms.contactor_closed
    # The sums of those that hang at the node are compared still.
    rig.bms.cell_voltage_sensors.fail(3, SensorFault.STUCK, 2.5)
    rig.advance(3890.0)
    assert rig.bms.alarms == {"cell_sum_mismatch"}


def test_a_string_that_circulates_is_found_and_isolated():
    """Both strings together carry nothing, so the rack's own sensor sees nothing."""
    rig = with_one_apart()
    rig.at(3900.0, lambda: rig.string.connect(1, is_closed=True))
    rig.advance(3900.05)
    first_a, second_a = rig.string.string_currents_a
    assert first_a == pytest.approx(-second_a, abs=1.0)
    assert second_a > 1.2 * 220.0 / 2
    assert not rig.bms.alarms
    assert {"over_current_charge", "over_current_discharge"} <= rig.bms.warnings
    # 0.2 s, as for the rack's current.
    rig.advance(3900.199)
    assert not rig.bms.alarms
    rig.advance(3900.201)
    assert rig.bms.alarms & {"over_current_charge", "over_current_discharge"}
    rig.advance(3901.0)
    assert rig.string.string_currents_a == pytest.approx((0.0, 0.0), abs=1e-9)
    assert len(rig.string.connected_places) == 1
    assert not rig.bms.contactor_closed
    assert rig.balance().residual_fraction < 1e-5


def test_a_string_is_closed_only_at_the_voltage_of_the_others():
    """Half a per cent of 56 V, and 20 A; the current that is left is a fraction of a string's limit."""
    rig = with_one_apart()
    with pytest.raises(ValueError, match=r"close_string\(1\) refused: \+1\.\d+ V off .* \+-0\.280 V"):
        rig.bms.close_string(1)
    assert rig.string.connected_places == (0,)
    first, second = rig.string.strings
    rig.converter.set_power_w(-4000.0)
    while rig.now_s < 20_000.0 and first.soc < second.soc - 0.03:
        rig.advance(rig.now_s + 60.0)
    with pytest.raises(ValueError, match=r"carry 7\d\.\d A each; allowed .* and 20\.0 A"):
        rig.bms.close_string(1)
    rig.converter.set_power_w(0.0)
    rig.advance(rig.now_s + 600.0)
    rig.bms.close_string(1)
    rig.advance(rig.now_s + 0.1)
    assert 0.1 < max(rig.string.string_currents_a) < 55.0
    rig.advance(rig.now_s + 600.0)
    assert not rig.bms.alarms
    assert not rig.bms.warnings
    rig.bms.open_string(0)
    rig.bms.open_string(1)
    # With nothing at the node there is nothing to compare it with.
    rig.bms.close_string(0)
    assert rig.string.connected_places == (0,)


def test_a_string_that_is_not_there_is_neither_closed_nor_opened():
    with pytest.raises(ValueError, match=r"close_string\(2\) of a battery of 2 strings; allowed 0 to 1"):
        two_strings().bms.close_string(2)
    with pytest.raises(ValueError, match="of a rack of several"):
        RigPlant(PlantSpec()).bms.open_string(0)


def test_what_is_out_leaves_its_part_of_the_limits():
    rig = two_strings()
    assert rig.bms.discharge_current_limit_a == pytest.approx(220.0)
    rig.string.connect(0, is_closed=False)
    assert rig.bms.discharge_current_limit_a == pytest.approx(110.0)
    assert rig.bms.charge_current_limit_a == pytest.approx(100.0)


def test_each_string_has_a_fuse_and_a_melted_one_takes_it_out():
    """150 A a string melt a fuse in 10 s that 300 A through one would melt in 2.5 s."""
    fuse = FuseSpec(melting=((120.0, 15.625), (300.0, 2.5)))
    rig = two_strings(fuse=fuse, over_current_alarm_factor=9.0, discharge_current_limit_a=400.0)
    rig.converter.hear_bms(400.0, 400.0, 56.0)
    connection = rig.bms.connection
    first, second = connection.fuses
    assert first.melting_time_s(150.0) == pytest.approx(10.0, rel=1e-6)
    first.carry(150.0, 4.0)
    rig.converter.set_power_w(10_000.0)
    rig.advance(6.0)
    each_a = rig.string.string_currents_a[0]
    assert 80.0 < each_a < 120.0
    rig.string.connect(1, is_closed=False)
    rig.advance(7.0)
    alone_a = rig.string.string_currents_a[0]
    assert alone_a > 160.0
    rig.advance(7.0 + first.melting_time_s(alone_a))
    assert first.is_blown
    assert not second.is_blown
    assert rig.string.connected_places == ()
    rig.advance(20.0)
    assert rig.bms.alarms == {"fuse"}
    assert not rig.bms.contactor_closed


def test_a_rig_runs_on_a_rack():
    spec = PlantSpec(
        battery=BatterySpec(cells_in_series=16, cells_in_parallel=25, strings=4, spread=UNEVEN),
        converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
    )
    rig = RigPlant(spec)
    rig.converter.set_power_w(4000.0)
    rig.advance(600.0)
    assert rig.converter.power_w == pytest.approx(4000.0, rel=1e-3)
    assert sum(rig.string.string_currents_a) == pytest.approx(rig.string.current_a)
    assert rig.balance().residual_fraction < 1e-5
