"""Insulation against earth and the device that monitors it."""

import math
from dataclasses import replace

import pytest

from harness.plant import BatterySpec, BmsSpec, ConverterSpec, PlantSpec, RigPlant
from harness.plant.bms_spec import InsulationMonitorSpec, InsulationSpec
from harness.plant.insulation import Insulation, InsulationMonitor, Pole

SPEC = InsulationSpec(plus_ohm=10e6, minus_ohm=10e6, monitor=InsulationMonitorSpec())


def rig_with(**monitor):
    insulation = replace(SPEC, monitor=InsulationMonitorSpec(**monitor))
    return RigPlant(
        PlantSpec(
            battery=BatterySpec(cells_in_parallel=67),
            bms=BmsSpec(insulation=insulation),
            converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
        )
    )


def test_a_ground_fault_divides_the_voltage_of_the_string():
    insulation = Insulation(SPEC, lambda: None)
    assert insulation.pole_voltages_v(800.0) == pytest.approx((400.0, 400.0))
    insulation.insert_ground_fault(Pole.PLUS, 2.5e6)
    assert insulation.plus_ohm == pytest.approx(2e6)
    plus_v, minus_v = insulation.pole_voltages_v(800.0)
    assert plus_v == pytest.approx(800.0 * 2.0 / 12.0)
    assert plus_v + minus_v == pytest.approx(800.0)
    assert insulation.resistance_ohm == pytest.approx(2e6 * 10e6 / 12e6)
    insulation.insert_ground_fault(Pole.MINUS, 2.5e6)
    assert insulation.pole_voltages_v(800.0) == pytest.approx((400.0, 400.0)), "a symmetrical fault hides"
    assert insulation.resistance_ohm == pytest.approx(1e6)
    insulation.clear_ground_faults()
    assert insulation.resistance_ohm == pytest.approx(5e6)
    with pytest.raises(ValueError, match="at minus with resistance_ohm=0; allowed: more than 0"):
        insulation.insert_ground_fault(Pole.MINUS, 0)


@pytest.mark.parametrize(("fault_ohm", "level_ohm"), [(250e3, 500e3), (250e3, 750e3), (400e3, 500e3)])
def test_a_level_is_reached_at_the_instant_of_its_exponential(fault_ohm, level_ohm):
    rig = rig_with()
    rig.advance(5.0)
    rig.bms.insulation.insert_ground_fault(Pole.MINUS, fault_ohm)
    sound_s, final_s = 1.0 / 5e6, 1.0 / 5e6 + 1.0 / fault_ohm
    due_s = 5.0 + 10.0 / math.log(2.0) * math.log((final_s - sound_s) / (final_s - 1.0 / level_ohm))
    name = {500e3: "alarms", 750e3: "warnings"}[level_ohm]
    rig.advance(due_s - 1e-6)
    assert "insulation" not in getattr(rig.bms, name)
    rig.advance(due_s + 1e-6)
    assert "insulation" in getattr(rig.bms, name)


def test_a_fault_of_half_the_response_value_is_an_alarm_after_the_response_time():
    """On insulation without end, as IEC 61557-8 measures it."""
    monitor = InsulationMonitor(
        InsulationMonitorSpec(response_s=10.0),
        insulation := Insulation(InsulationSpec(plus_ohm=1e15, minus_ohm=1e15), lambda: None),
    )
    insulation.insert_ground_fault(Pole.PLUS, 250e3)
    monitor.advance(9.999)
    monitor.settle()
    assert monitor.is_warning
    assert not monitor.is_alarm
    monitor.advance(0.0011)
    monitor.settle()
    assert monitor.is_alarm


@pytest.mark.parametrize("fault_ohm", [800e3, 1e6])
def test_above_its_levels_nothing_acts(fault_ohm):
    rig = rig_with()
    rig.advance(1.0)
    rig.bms.insulation.insert_ground_fault(Pole.PLUS, fault_ohm * 5e6 / (5e6 - fault_ohm))
    rig.advance(600.0)
    assert rig.bms.monitor.resistance_ohm == pytest.approx(fault_ohm, rel=1e-4)
    assert not rig.bms.warnings
    assert not rig.bms.alarms
    assert rig.bms.contactor_closed


def test_the_alarm_opens_and_latches_and_the_warning_recovers_with_hysteresis():
    rig = rig_with()
    rig.advance(1.0)
    rig.bms.insulation.insert_ground_fault(Pole.PLUS, 100e3)
    rig.advance(60.0)
    assert rig.bms.alarms == {"insulation"}
    assert not rig.bms.contactor_closed
    rig.bms.close_contactors()
    rig.advance(120.0)
    assert rig.bms.alarms == {"insulation"}, "closed onto a ground fault"
    # 0.9 MOhm is above the warning and below 1.25 times it.
    rig.bms.insulation.clear_ground_faults()
    rig.bms.insulation.insert_ground_fault(Pole.PLUS, 900e3 * 5e6 / (5e6 - 900e3))
    rig.advance(600.0)
    assert rig.bms.warnings == {"insulation"}
    rig.bms.insulation.clear_ground_faults()
    rig.advance(1200.0)
    assert not rig.bms.warnings
    rig.bms.close_contactors()
    rig.advance(1260.0)
    assert rig.bms.contactor_closed
    assert not rig.bms.alarms


def test_an_alarm_need_not_open():
    rig = rig_with(opens=False)
    rig.advance(1.0)
    rig.bms.insulation.insert_ground_fault(Pole.PLUS, 100e3)
    rig.advance(60.0)
    assert rig.bms.alarms == {"insulation"}
    assert rig.bms.contactor_closed


@pytest.mark.parametrize(("error", "is_alarm"), [(-0.15, True), (0.15, False)])
def test_the_devices_own_error_moves_its_level(error, is_alarm):
    rig = rig_with(relative_error=error)
    rig.bms.insulation.insert_ground_fault(Pole.PLUS, 500e3 * 5e6 / (5e6 - 500e3))
    rig.advance(300.0)
    assert rig.bms.monitor.resistance_ohm == pytest.approx(500e3 * (1.0 + error), rel=1e-4)
    assert ("insulation" in rig.bms.alarms) is is_alarm


def test_without_a_device_nobody_notices():
    rig = RigPlant(PlantSpec(bms=BmsSpec()))
    rig.bms.insulation.insert_ground_fault(Pole.PLUS, 1.0)
    rig.advance(100.0)
    assert rig.bms.insulation.resistance_ohm == pytest.approx(1.0, rel=1e-6)
    assert rig.bms.contactor_closed
    assert not rig.bms.warnings
