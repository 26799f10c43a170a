"""A strip to 0 V and the way back, on the product that needs one."""

from dataclasses import replace

import pytest

from harness.plant.bms import BmsMode
from harness.plant.sensors import SensorFault
from harness.rig.files import load_product

from .to_the_ends import Reported, product_spec

ZINC = product_spec("zinc_halogen_rack")
STRIP = load_product("zinc_halogen_rack").strip

ESTIMATE_AFTER_A_CHARGE = 0.01
"""As ``harness.plant.bms`` states it."""


def rack(soc, name="zinc_halogen_rack", **changes):
    spec = product_spec(name)
    battery = replace(spec.battery, soc=soc)
    return Reported(replace(spec, battery=battery, bms=replace(spec.bms, **changes)), 1.0).rig


def run_until(rig, is_done, *, hours, step_s=5.0):
    end_s = rig.now_s + 3600.0 * hours
    while not is_done():
        assert rig.now_s < end_s, (
            f"not within {hours} h: {rig.bms.mode}, {rig.bms.alarms}, {rig.string.voltage_v} V"
        )
        rig.advance(rig.now_s + step_s)


def strip(rig, *, rest_s=0.0):
    """Strip with the rack's own load, contactors open."""
    rig.converter.set_power_w(0.0)
    rig.bms.start_strip(is_permitted=True)
    rig.bms.open_contactors()
    run_until(rig, lambda: rig.string.voltage_v <= STRIP.end_voltage_v, hours=2, step_s=20.0)
    rig.advance(rig.now_s + rest_s)


def refilling(soc=0.0):
    """Stand at 0 V, closed, at the begin of the refill."""
    rig = rack(soc)
    rig.advance(2.0)
    strip(rig)
    rig.bms.close_contactors()
    rig.advance(rig.now_s + 1.0)
    rig.bms.end_strip()
    rig.advance(rig.now_s + 1.0)
    assert rig.bms.mode is BmsMode.REFILL
    assert rig.bms.contactor_closed
    return rig


def test_from_full_to_zero_volts_to_full_again():
    """A cycle leaves metal behind, the strip brings it back, and the next charge is counted right."""
    rig = rack(0.5)
    bms, string = rig.bms, rig.string
    rig.advance(2.0)
    new_ah = string.capacity_ah
    rig.converter.set_power_w(-4500.0)
    run_until(rig, lambda: not bms.is_charge_allowed, hours=5)
    assert bms.soc == pytest.approx(1.0, abs=1e-4)
    rig.converter.set_power_w(5000.0)
    rig.advance(rig.now_s + 60.0)
    run_until(rig, lambda: not bms.is_discharge_allowed, hours=5)
    assert string.capacity_ah < 0.996 * new_ah
    strip(rig)
    assert bms._counted_soc == pytest.approx(string.soc, abs=1e-3)
    assert string.soc < -0.045
    rig.advance(rig.now_s + 4 * 3600.0)
    assert float(abs(string.cell_voltages_v).max()) < 0.2
    assert string.capacity_ah == pytest.approx(new_ah, rel=3e-4)

    bms.close_contactors()
    rig.advance(rig.now_s + 2.0)
    assert bms.contactor_closed
    bms.end_strip()
    rig.converter.set_power_w(-4500.0)
    rig.advance(rig.now_s + 5.0)
    assert bms.mode is BmsMode.REFILL
    assert (bms.charge_current_limit_a, bms.discharge_current_limit_a) == (STRIP.refill_current_a, 0.0)
    assert bms.soc == 0.0
    most_a = 0.0
    while bms.mode is BmsMode.REFILL:
        rig.advance(rig.now_s + 5.0)
        most_a = max(most_a, -string.current_a if bms.mode is BmsMode.REFILL else 0.0)
        assert rig.now_s < 100_000.0
    assert most_a == pytest.approx(STRIP.refill_current_a, rel=1e-3)
    assert bms.mode is BmsMode.NORMAL
    assert float(string.cell_voltages_v.min()) > ZINC.bms.cell_under_voltage_warning_v
    rig.advance(rig.now_s + 30.0)
    assert not bms.warnings
    assert not bms.limits
    assert string.current_a < -70.0
    errors = []
    while bms.is_charge_allowed:
        errors.append(bms._counted_soc - string.soc)
        rig.advance(rig.now_s + 5.0)
        assert rig.now_s < 150_000.0
    assert max(map(abs, errors)) < ESTIMATE_AFTER_A_CHARGE
    assert string.voltage_v > 0.995 * ZINC.bms.charge_voltage_limit_v
    assert bms.soc == pytest.approx(1.0, abs=1e-4)
    assert not bms.alarms
    assert rig.balance().residual_fraction < 1e-3


def _rested(rig):
    strip(rig, rest_s=3600.0)
    rig.bms.end_strip()
    rig.bms.close_contactors()


def _closed_in_strip_mode(rig):
    strip(rig, rest_s=3600.0)
    rig.bms.close_contactors()
    rig.advance(rig.now_s + 10.0)
    rig.bms.end_strip()


def _through_the_converter(rig):
    """It ends at the converter's lowest voltage, far above that of the strip."""
    rig.bms.start_strip(is_permitted=True)
    rig.converter.set_power_w(2000.0)
    rig.advance(rig.now_s + 3600.0)
    assert rig.string.voltage_v == pytest.approx(ZINC.converter.minimum_dc_voltage_v, abs=0.2)
    rig.bms.end_strip()


@pytest.mark.parametrize("way", [_rested, _closed_in_strip_mode, _through_the_converter])
def test_every_way_out_of_a_strip_leads_back(way):
    rig = rack(0.02)
    rig.advance(2.0)
    way(rig)
    rig.advance(rig.now_s + 2.0)
    assert rig.bms.mode is BmsMode.REFILL
    rig.converter.set_power_w(-3000.0)
    run_until(rig, lambda: rig.bms.mode is BmsMode.NORMAL, hours=1.5)
    rig.advance(rig.now_s + 600.0)
    assert rig.bms.contactor_closed
    assert not rig.bms.alarms
    assert rig.converter.power_w == pytest.approx(-3000.0, rel=1e-3)
    assert rig.bms._counted_soc == pytest.approx(rig.string.soc, abs=2e-3)


def test_a_strip_that_has_not_begun_to_empty_ends_at_once():
    rig = rack(0.5)
    rig.advance(2.0)
    rig.bms.start_strip(is_permitted=True)
    rig.advance(3.0)
    rig.bms.end_strip()
    assert rig.bms.mode is BmsMode.NORMAL
    assert rig.bms.charge_current_limit_a == 75.0


def test_lfp_is_not_stripped():
    rig = rack(0.5, "lfp_rack")
    rig.advance(2.0)
    with pytest.raises(ValueError, match="battery of lfp, whose data have no strip"):
        rig.bms.start_strip(is_permitted=True)
    rig.bms.end_strip()
    assert rig.bms.mode is BmsMode.NORMAL


def test_at_zero_volts_a_converter_lives_from_the_mains():
    rig = refilling()
    rig.advance(rig.now_s + 600.0)
    assert rig.converter.power_w == pytest.approx(-rig.converter.loss_w(rig.converter.power_w), abs=1e-3)
    assert rig.converter.dc_power_w == pytest.approx(0.0, abs=1e-3)
    assert rig.balance().residual_fraction < 1e-6


@pytest.mark.parametrize("is_closed", [False, True])
def test_what_is_left_at_zero_volts_is_told_and_may_be_tried_again(is_closed):
    rig = refilling()
    bms = rig.bms
    if not is_closed:
        bms.open_contactors()
    began_s = rig.now_s
    rig.advance(began_s + STRIP.refill_timeout_s - 10.0)
    assert not bms.alarms
    rig.advance(began_s + STRIP.refill_timeout_s + 1.0)
    assert bms.alarms == {"refill"}
    assert not bms.is_charge_allowed
    bms.close_contactors()
    rig.converter.set_power_w(-3000.0)
    run_until(rig, lambda: bms.mode is BmsMode.NORMAL, hours=1.5)
    assert not bms.alarms


def test_a_refill_in_the_cold_is_slow_and_no_fault():
    rig = refilling()
    rig.string.cell_temperatures_degc = [6.0] * 28
    rig.string.ambient_degc = 6.0
    rig.converter.set_power_w(-3000.0)
    rig.advance(rig.now_s + 10.0)
    assert -rig.string.current_a < 0.3 * STRIP.refill_current_a
    rig.advance(rig.now_s + 2.0 * STRIP.refill_timeout_s)
    assert not rig.bms.alarms
    assert rig.bms.mode is BmsMode.REFILL


@pytest.mark.parametrize(
    ("fault", "value", "mode", "alarm"),
    [
        (SensorFault.OPEN, None, BmsMode.STRIP, "cell_sum_mismatch"),
        (SensorFault.FROZEN, None, BmsMode.STRIP, "cell_sum_mismatch"),
        (SensorFault.OUT_OF_RANGE, None, BmsMode.STRIP, "cell_voltage_sensor"),
        (SensorFault.STUCK, -1.0, BmsMode.STRIP, "cell_voltage_sensor"),
        # What shows 0 V tells the truth at first, and then does not rise.
        (SensorFault.OPEN, None, BmsMode.REFILL, "refill"),
        (SensorFault.FROZEN, None, BmsMode.REFILL, "refill"),
        (SensorFault.OUT_OF_RANGE, None, BmsMode.REFILL, "cell_voltage_sensor"),
        (SensorFault.STUCK, -1.0, BmsMode.REFILL, "cell_voltage_sensor"),
        (SensorFault.STUCK, 1.8, BmsMode.REFILL, "cell_sum_mismatch"),
    ],
)
def test_a_cell_that_is_measured_wrongly_is_found_in_both_modes(fault, value, mode, alarm):
    if mode is BmsMode.STRIP:
        rig = rack(0.0)
        rig.advance(2.0)
        rig.bms.start_strip(is_permitted=True)
        rig.bms.open_contactors()
    else:
        rig = refilling()
        rig.converter.set_power_w(-3000.0)
    rig.advance(rig.now_s + 2.0)
    assert not rig.bms.alarms
    rig.bms.cell_voltage_sensors.fail(7, fault, value)
    run_until(rig, lambda: rig.bms.alarms, hours=1.5)
    assert rig.bms.alarms == {alarm}
    assert rig.bms.mode is mode
    assert not rig.bms.contactor_closed


@pytest.mark.parametrize("is_refilling", [False, True])
def test_heat_and_a_shorted_link_are_alarms_as_ever(is_refilling):
    rig = refilling()
    if not is_refilling:
        rig.bms.start_strip(is_permitted=True)
    rig.string.cell_temperatures_degc = [60.0] * 28
    rig.advance(rig.now_s + 1.0)
    assert rig.bms.alarms == {"over_temperature"}
    rig = rack(-0.03)
    rig.bms.start_strip(is_permitted=True)
    if is_refilling:
        rig.bms.end_strip()
    rig.bms.connection.link.fail(short_ohm=0.005)
    rig.advance(20.0)
    assert rig.bms.alarms == {"precharge"}


def test_a_voltage_that_contradicts_the_cells_sets_no_estimate():
    rig = rack(0.5)
    rig.advance(2.0)
    rig.bms.start_strip(is_permitted=True)
    rig.bms.voltage_sensor.fail(SensorFault.STUCK, 0.0)
    rig.advance(60.0)
    assert rig.bms.alarms == {"cell_sum_mismatch"}
    assert rig.bms.soc == pytest.approx(rig.string.soc + ZINC.bms.soc_error, abs=1e-3)
