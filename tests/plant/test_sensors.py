"""Sensors that err and fail, and what the battery management notices of it."""

from dataclasses import replace

import numpy as np
import pytest

from harness.plant import BatterySpec, BmsSpec, CellSpread, ConverterSpec, PlantSpec, RigPlant
from harness.plant.bms_spec import SensorSpec
from harness.plant.keyed import normal
from harness.plant.sensors import Sensor, SensorFault, SensorRow

SPEC = PlantSpec(
    battery=BatterySpec(cells_in_parallel=67, spread=CellSpread(capacity=0.0, resistance=0.0)),
    converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
)


def rig_with(**bms):
    return RigPlant(replace(SPEC, bms=BmsSpec(**bms)))


def sensor_of(truth, **spec):
    return Sensor("current", SensorSpec(**spec), lambda: truth[0], seed=3, changed=lambda: None)


def test_a_reading_is_truth_by_gain_and_offset_and_keyed_noise():
    truth = [40.0]
    sensor = sensor_of(truth, gain_error=0.01, offset=-0.5, noise=0.2)
    assert sensor.value() == pytest.approx(39.9)
    assert sensor.reading(7) == pytest.approx(39.9 + 0.2 * normal(3, "bms current", 7))
    assert sensor.reading(7) == sensor.reading(7)
    assert sensor.reading(7) != sensor.reading(8)
    draws = [sensor.reading(sample) - 39.9 for sample in range(2000)]
    assert np.mean(draws) == pytest.approx(0.0, abs=0.02)
    assert np.std(draws) == pytest.approx(0.2, rel=0.05)


def test_a_failed_sensor_shows_what_its_fault_says():
    truth = [40.0]
    sensor = sensor_of(truth, span=(-300.0, 300.0), noise=1.0)
    sensor.fail(SensorFault.FROZEN)
    truth[0] = 10.0
    assert sensor.reading(1) == sensor.reading(2) == 40.0
    sensor.fail(SensorFault.OPEN)
    assert sensor.value() == 0.0
    sensor.fail(SensorFault.STUCK, 12.0)
    assert sensor.value() == 12.0
    assert not sensor.is_out_of_range
    sensor.fail(SensorFault.OUT_OF_RANGE)
    assert sensor.value() == 300.0
    assert sensor.is_out_of_range
    sensor.repair()
    assert sensor.value() == 10.0
    truth[0] = 400.0
    assert sensor.value() == 300.0
    assert sensor.is_out_of_range


def test_a_fault_that_makes_no_sense_is_refused():
    sensor = sensor_of([1.0])
    with pytest.raises(ValueError, match="current sensor: stuck with value=None; allowed: one with 'stuck'"):
        sensor.fail(SensorFault.STUCK)
    with pytest.raises(ValueError, match="frozen with value=3"):
        sensor.fail(SensorFault.FROZEN, 3.0)
    with pytest.raises(ValueError, match="a span without an end"):
        sensor.fail(SensorFault.OUT_OF_RANGE)
    rig = rig_with()
    with pytest.raises(ValueError, match="cell voltage sensor: place 16; allowed: 0 to 15"):
        rig.bms.cell_voltage_sensors.fail(16, SensorFault.OPEN)


def test_a_row_has_keyed_offsets_of_its_own_size():
    row = SensorRow(
        "cell voltage",
        SensorSpec(offset=0.002),
        lambda: np.full(2000, 3.3),
        count=2000,
        seed=4,
        changed=lambda: None,
    )
    assert np.std(row.values() - 3.3) == pytest.approx(0.002, rel=0.05)
    assert row.highest_offset == pytest.approx(float((row.values() - 3.3).max()), rel=1e-9)
    assert np.array_equal(row.values(), row.values())


def test_a_cell_sensor_that_reads_high_trips_before_the_cell_does():
    rig = rig_with(cell_over_voltage_alarm_v=3.40, charge_stop_cell_v=3.6, cell_over_voltage_warning_v=3.39)
    rig.converter.set_power_w(-3_000.0)
    rig.advance(20.0)
    assert rig.bms.warnings == frozenset()
    rig.bms.cell_voltage_sensors.fail(3, SensorFault.STUCK, 3.41)
    assert rig.bms.maximum_cell_v == 3.41
    rig.advance(20.1)
    assert rig.bms.warnings == {"cell_over_voltage"}
    rig.advance(20.3)
    assert rig.bms.alarms == {"cell_over_voltage"}
    assert rig.string.cell_voltages_v.max() < 3.40


def test_offsets_of_the_cell_channels_count_without_a_look_at_all_cells():
    """Bounds of the cells carry the offsets' ends: what is judged never lies between bounds and truth."""
    rig = rig_with(cell_voltage_error_v=0.01)
    rig.converter.set_power_w(-3_000.0)
    for second in range(1, 60):
        rig.advance(second)
        bms = rig.bms
        assert bms._low_v <= bms.minimum_cell_v + 1e-9
        assert bms.maximum_cell_v <= bms._high_v + 1e-9
    errors_v = bms.cell_voltage_sensors.values() - rig.string.cell_voltages_v
    assert 0.005 < errors_v.std() < 0.02


@pytest.mark.parametrize(
    ("fault", "value"),
    [(SensorFault.OPEN, None), (SensorFault.OUT_OF_RANGE, None), (SensorFault.STUCK, 0.05)],
)
def test_a_cell_voltage_that_cannot_be_is_flagged_and_not_believed(fault, value):
    rig = rig_with()
    rig.advance(5.0)
    rig.bms.cell_voltage_sensors.fail(5, fault, value)
    rig.advance(5.9)
    assert not rig.bms.alarms, "before its delay"
    assert 3.2 < rig.bms.minimum_cell_v <= rig.bms.maximum_cell_v < 3.4
    rig.advance(6.0 + 1e-9)
    assert rig.bms.alarms == {"cell_voltage_sensor"}
    rig.advance(6.1)
    assert not rig.bms.contactor_closed
    rig.bms.cell_voltage_sensors.repair(5)
    rig.bms.close_contactors()
    rig.advance(20.0)
    assert rig.bms.contactor_closed
    assert not rig.bms.alarms


@pytest.mark.parametrize("fault", [SensorFault.OPEN, SensorFault.OUT_OF_RANGE])
def test_an_open_or_shorted_thermistor_is_flagged_and_not_read_as_cold_or_hot(fault):
    rig = rig_with()
    rig.advance(5.0)
    rig.bms.temperature_sensors.fail(2, fault)
    rig.advance(5.5)
    assert rig.bms.temperature_degc == pytest.approx(25.0, abs=0.3)
    assert not rig.bms.warnings
    rig.advance(7.0)
    assert rig.bms.alarms == {"temperature_sensor"}


def test_a_thermistor_that_reads_a_plausible_heat_trips():
    rig = rig_with()
    rig.advance(5.0)
    rig.bms.temperature_sensors.fail(2, SensorFault.STUCK, 60.0)
    rig.advance(5.3)
    assert rig.bms.alarms == {"over_temperature"}


@pytest.mark.parametrize(("off_v", "is_found"), [(1.0, False), (-1.0, False), (1.3, True), (-1.3, True)])
def test_the_sum_of_the_cells_is_compared_with_the_string(off_v, is_found):
    """Two per cent of 56 V are 1.12 V."""
    rig = rig_with(voltage_gain_error=0.0)
    rig.advance(5.0)
    rig.bms.voltage_sensor.fail(SensorFault.STUCK, rig.string.voltage_v + off_v)
    rig.advance(5.99)
    assert not rig.bms.alarms
    rig.advance(6.01)
    assert rig.bms.alarms == ({"cell_sum_mismatch"} if is_found else frozenset())


def test_a_voltage_sensor_that_is_off_from_the_start_is_found():
    rig = rig_with(voltage_offset_v=2.0)
    rig.advance(5.0)
    assert rig.bms.alarms == {"cell_sum_mismatch"}
    assert not rig.bms.contactor_closed


def test_a_frozen_current_sensor_is_found_by_a_second_one_and_not_without():
    for second in (None, SensorSpec(span=(-400.0, 400.0))):
        rig = rig_with(second_current_sensor=second)
        rig.converter.set_power_w(2_000.0)
        rig.advance(10.0)
        rig.bms.current_sensor.fail(SensorFault.FROZEN)
        rig.advance(20.0)
        assert not rig.bms.alarms, "the current has not changed yet"
        rig.converter.set_power_w(-2_000.0)
        rig.advance(30.0)
        assert rig.bms.alarms == ({"current_mismatch"} if second else frozenset())


def test_a_stuck_current_sensor_makes_the_estimate_drift_by_what_it_says():
    rig = rig_with(current_gain_error=0.0, current_offset_a=0.0)
    rig.converter.turn_off()
    rig.advance(10.0)
    before = rig.bms.soc
    rig.bms.current_sensor.fail(SensorFault.STUCK, 20.1)
    rig.advance(10.0 + 3600.0)
    assert before - rig.bms.soc == pytest.approx(20.1 / rig.string.capacity_ah, rel=1e-9)
    assert rig.string.soc == pytest.approx(0.5, abs=1e-4)
