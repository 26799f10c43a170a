"""A rack on a rig: one energy, one outage, one clock."""

from dataclasses import replace

import pytest

from harness.plant import BatterySpec, ConverterSpec, GridSpec, LoadSpec, PlantSpec, RigPlant
from harness.plant.server_rack import RackPlant, Swing, hang_on, orv3_rack, steady
from harness.roles import GridStep

RIG = PlantSpec(
    battery=BatterySpec(cells_in_parallel=67),
    converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
    load=LoadSpec(power_w=2000.0),
)
"""200 V between lines at 60 Hz, a converter of 10 kVA that islands."""

RACK = replace(orv3_rack(), nominal_voltage_v=200.0, frequency_hz=60.0)


def stand(load=None, *, rig=RIG, rack=RACK):
    rig_plant = RigPlant(rig)
    rack_plant = RackPlant(rack, load or steady(6000.0))
    return rig_plant, rack_plant, hang_on(rig_plant, rack_plant, is_line_to_line=True)


def test_the_rig_feels_what_the_rack_draws():
    rig, rack, load = stand()
    rig.advance(100.0)
    assert rack.now_s == pytest.approx(100.0, abs=0.051)
    assert load.power_w == pytest.approx(rack.ac_power_w, rel=1e-4)
    assert rig.grid.terminal_v[0] < 115.47  # the source's impedance carries it


@pytest.mark.parametrize("frequency_hz", [0.5, 3.0])
def test_energy_at_the_node_is_the_energy_into_the_rack(frequency_hz):
    swing = Swing(low_w=2000.0, high_w=8000.0, frequency_hz=frequency_hz, ramp_s=0.02)
    rig, rack, _ = stand(swing.pieces())
    rig.advance(10.0)
    node_j = rig.totals("load_ac").energy_out_j
    assert node_j == pytest.approx(rack.balance().in_j, rel=1e-3)
    assert rack.balance().residual_fraction < 1e-3
    assert rig.balance().residual_fraction < 1e-3


@pytest.mark.parametrize(
    ("line_ohm", "level", "is_carried"),
    [(0.1, 0.9, True), (0.2, 0.95, True), (0.3, 0.9, False), (0.6, 0.5, False)],
)
def test_behind_a_weak_line_the_rack_has_what_the_line_carries(line_ohm, level, is_carried):
    """Rectifiers that stop at 0.85 pu, and 6.2 kW that take 0.03 pu at 0.1 + 0.1j ohm."""
    source = GridSpec(source_resistance_ohm=line_ohm, source_reactance_ohm=line_ohm)
    rig, rack, load = stand(rig=replace(RIG, grid=source, converter=ConverterSpec(bms_timeout_s=None)))
    rig.grid.play([GridStep(5.0, (1.0,) * 3, 60.0), GridStep(20.0, (level,) * 3, 60.0)])
    rig.advance(4.9)
    assert load.power_w == pytest.approx(rack.ac_power_w, rel=1e-3)
    # Behind 0.3 ohm the rectifiers start and stop 25 times a second: three seconds of that will do.
    rig.advance(20.0 if is_carried else 8.0)
    assert any(module.discharges for module in rack.modules) is not is_carried
    assert rack.resets == 0
    assert rig.totals("load_ac").energy_out_j == pytest.approx(rack.balance().in_j, rel=3e-3)
    assert rig.balance().residual_fraction < 1e-3


def test_a_transfer_to_the_island_is_carried_by_the_bulk_alone():
    """8 ms without voltage: the rectifiers hold, the backup unit never starts, nobody resets."""
    rig, rack, load = stand()
    rig.at(5.0, rig.grid.open_relay)
    rig.advance(20.0)
    assert rig.converter.is_grid_forming
    assert rack.resets == 0
    assert all(unit.ac_losses == 1 for unit in rack.rectifiers)
    assert sum(module.discharges for module in rack.modules) == 0
    assert rig.converter.power_w == pytest.approx(rack.ac_power_w, rel=1e-3)
    assert load.dead_s == pytest.approx(RIG.converter.transfer_gap_s, abs=2e-3)


def test_without_an_island_the_backup_unit_carries_the_rack():
    rig, rack, load = stand(rig=replace(RIG, converter=replace(RIG.converter, islanding=False)))
    rig.at(5.0, rig.grid.open_relay)
    rig.at(65.0, rig.grid.close_relay)
    rig.advance(64.0)
    assert rack.is_discharging
    assert load.power_w == 0.0
    assert rack.resets == 0
    rig.advance(80.0)
    assert not rack.is_discharging
    assert rack.resets == 0
    assert load.power_w > 6000.0
    assert rig.totals("load_ac").energy_out_j == pytest.approx(rack.balance().in_j, rel=1e-3)


def test_whoever_looks_at_the_rig_moves_nothing():
    swing = Swing(low_w=2000.0, high_w=8000.0, frequency_hz=1.0, ramp_s=0.02)
    found = []
    for looks in (1, 500):
        rig, rack, _ = stand(swing.pieces())
        rig.at(3.3, rig.grid.open_relay)
        rig.at(6.1, rig.grid.close_relay)
        for look in range(1, looks + 1):
            rig.advance(20.0 * look / looks)
        found.append((rack.balance().in_j, rack.least_shelf_v, rig.string.soc))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    assert found[1][1] == pytest.approx(found[0][1], abs=1e-2)
    assert found[1][2] == pytest.approx(found[0][2], abs=1e-5)


def test_a_rack_for_another_voltage_is_refused():
    with pytest.raises(ValueError, match=r"nominal_voltage_v=230\.0; its rectifiers would see 200\.0 V"):
        hang_on(RigPlant(RIG), RackPlant(orv3_rack()), is_line_to_line=True)


def test_a_rack_of_another_time_is_refused():
    rack = RackPlant(RACK)
    rack.advance(1.0)
    with pytest.raises(ValueError, match=r"the rack stands at 1\.0 s, the rig at 0\.0 s"):
        hang_on(RigPlant(RIG), rack, is_line_to_line=True)
