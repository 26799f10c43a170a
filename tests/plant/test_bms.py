"""Limits in levels, ends of charge, contactors."""

import math
from dataclasses import replace

import pytest

from harness.plant import BatterySpec, BmsSpec, CellSpread, ConverterSpec, PlantSpec, RigPlant
from harness.roles import OperatingState

EQUAL = CellSpread(capacity=0.0, resistance=0.0)
SPEC = PlantSpec(
    battery=BatterySpec(cells_in_parallel=67, spread=EQUAL),
    converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
)


def rig_with(soc=0.5, **bms):
    battery = replace(SPEC.battery, soc=soc)
    return RigPlant(replace(SPEC, battery=battery, bms=BmsSpec(**bms)))


def charge_until(rig, power_w, until, most_s=40_000):
    """Run with a BMS frame heard each second, as an emulator does."""
    rig.converter.set_power_w(power_w)
    bms = rig.bms
    for second in range(math.ceil(rig.now_s), most_s):
        rig.advance(second)
        rig.converter.hear_bms(
            bms.charge_current_limit_a, bms.discharge_current_limit_a, bms.charge_voltage_limit_v
        )
        if until():
            return
    pytest.fail(f"not reached in {most_s} s; soc {rig.string.soc}, {rig.string.voltage_v} V")


def test_contactors_stay_open_when_told_so():
    rig = rig_with(closes_on_start=False)
    rig.advance(5.0)
    assert not rig.bms.contactor_closed
    assert rig.bms.charge_current_limit_a == 0.0
    rig.bms.close_contactors()
    rig.advance(6.0)
    assert rig.bms.contactor_closed


def test_a_level_warns_at_once_and_opens_after_its_delay():
    rig = rig_with(
        soc=0.5, cell_over_voltage_warning_v=3.36, cell_over_voltage_alarm_v=3.38, alarm_delay_s=0.25
    )
    rig.converter.set_power_w(-10_000.0)
    crossed_s = None
    for step in range(1, 40_000):
        rig.advance(step / 1000.0)
        if crossed_s is None and rig.bms.maximum_cell_v > 3.38:
            crossed_s = rig.now_s
            assert rig.bms.warnings == {"cell_over_voltage"}
            assert not rig.bms.alarms
        if not rig.bms.contactor_closed and rig.now_s > 1.0:
            break
    assert crossed_s is not None
    # The delay, and what the positive contactor takes to open.
    assert rig.now_s - crossed_s == pytest.approx(0.25 + 0.025, abs=0.0011)
    assert rig.bms.alarms == {"cell_over_voltage"}
    assert rig.string.current_a == 0.0
    opened_v = rig.string.voltage_v
    rig.advance(rig.now_s + 1.0)
    # The link's discharge resistor: 100 Ohm and 10 mF.
    assert rig.converter.dc_voltage_v == pytest.approx(opened_v * math.exp(-1.0), rel=0.02)
    assert rig.converter.power_w == 0.0
    assert rig.converter.state is OperatingState.STANDBY
    assert "dc_lost" in rig.converter.alarms


def test_below_its_level_nothing_acts():
    rig = rig_with(soc=0.5, cell_over_voltage_alarm_v=3.50)
    rig.converter.set_power_w(-10_000.0)
    rig.advance(60.0)
    assert rig.bms.contactor_closed
    assert not rig.bms.alarms
    assert not rig.bms.warnings


def test_alarms_latch_until_told_to_close():
    rig = rig_with(over_temperature_alarm_degc=20.0, over_temperature_warning_degc=19.0)
    rig.advance(5.0)
    assert rig.bms.alarms == {"over_temperature"}
    assert not rig.bms.contactor_closed
    rig.bms.close_contactors()
    rig.advance(5.0)
    assert not rig.bms.alarms
    rig.advance(5.25)
    assert rig.bms.alarms == {"over_temperature"}


def test_a_full_charge_holds_the_voltage_tapers_and_ends_full():
    rig = rig_with(soc=0.9, soc_error=-0.05)
    highest_v = 0.0

    def full():
        nonlocal highest_v
        highest_v = max(highest_v, rig.string.voltage_v)
        return not rig.bms.is_charge_allowed and rig.now_s > 1.0

    charge_until(rig, -10_000.0, full)
    # The converter holds 56.0 V; 0.2 % is what a one-second step of constant current lets it move.
    assert 55.9 < highest_v < 56.0 * 1.002
    assert rig.bms.soc == 1.0
    assert rig.string.soc > 0.97
    assert not rig.bms.alarms
    rig.advance(rig.now_s + 5.0)
    assert rig.converter.dc_power_w == pytest.approx(0.0, abs=40.0)
    charge_until(rig, 8_000.0, lambda: rig.bms.is_charge_allowed)
    assert rig.bms.soc == pytest.approx(0.98, abs=0.003)


def test_a_discharge_ends_at_the_lowest_cell_without_an_alarm():
    rig = rig_with(soc=0.15)
    charge_until(rig, 8_000.0, lambda: rig.now_s > 2.0 and not rig.bms.is_discharge_allowed)
    assert not rig.bms.alarms
    assert rig.bms.contactor_closed
    assert rig.string.soc < 0.05


def test_limits_taper_with_charge_and_temperature():
    assert rig_full_limit(0.5) == pytest.approx(200.0)
    # The charge of the precharge, 0.5 C, is counted too.
    assert rig_full_limit(0.975) == pytest.approx(200.0 * 0.55, rel=1e-4)
    cold = RigPlant(replace(SPEC, ambient_degc=5.0))
    cold.advance(1.0)
    assert cold.bms.charge_current_limit_a == pytest.approx(200.0 * 0.6, rel=1e-3)


def rig_full_limit(soc):
    rig = rig_with(soc=soc, current_offset_a=0.0)
    rig.converter.turn_off()
    rig.advance(1.0)
    return rig.bms.charge_current_limit_a


def test_the_estimate_drifts_with_the_sensor_and_no_faster():
    rig = rig_with(soc=0.5, current_offset_a=2.0, current_gain_error=0.0)
    rig.converter.turn_off()
    rig.advance(3600.0)
    assert 0.5 - rig.bms.soc == pytest.approx(2.0 * (1.0 - 0.29957 / 3600.0) / 201.0, rel=1e-3)


def test_noise_repeats_within_an_interval_and_between_runs():
    one, two = rig_with(), rig_with()
    for rig in (one, two):
        rig.advance(1.02)
    assert one.bms.current_a == two.bms.current_a
    first = one.bms.voltage_v
    one.advance(1.03)
    assert one.bms.voltage_v == pytest.approx(first, abs=1e-5)
    one.advance(1.52)
    assert one.bms.voltage_v != pytest.approx(first, abs=1e-5)
