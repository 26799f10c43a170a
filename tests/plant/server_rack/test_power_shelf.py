"""The power shelf against closed forms: droop, sharing, hold-up, the drop, losses, the window of its
input."""

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.plant.server_rack import RackPlant, hpr_rack, orv3_rack, steady, through
from harness.roles import GridStep

from .racks import EVEN, even, first_time, one_rectifier, without_backup

CUT_S = 0.2
"""A whole number of periods: the mains vanish at a zero crossing of phase 1."""


def cut(spec, load_w, at_s=CUT_S, scale=1.0):
    def make():
        rack = RackPlant(spec, steady(load_w), step_scale=scale)
        rack.at(at_s, rack.grid.open_relay)
        return rack

    return make


def settled_v(no_load_v, ohm, power_w):
    """U of (E - U) / R = P / U."""
    return 0.5 * (no_load_v + math.sqrt(no_load_v**2 - 4.0 * ohm * power_w))


@pytest.mark.parametrize("power_w", [0.0, 1500.0, 7500.0, 15_000.0])
def test_the_bus_stands_where_droop_and_load_meet(power_w):
    rack = RackPlant(EVEN, steady(power_w))
    rack.advance(1.0)
    bus, shelf = EVEN.bus, EVEN.shelf
    ohm = shelf.droop_ohm / 6 + bus.resistance_ohm
    drawn_w = power_w + rack.bus_v**2 / bus.bleed_ohm
    assert rack.bus_v == pytest.approx(settled_v(51.0, ohm, drawn_w), abs=1e-9)
    assert sum(unit.power_w for unit in rack.rectifiers) / rack.shelf_v == pytest.approx(drawn_w / rack.bus_v)


def test_full_load_is_half_a_volt_down():
    spec = one_rectifier(orv3_rack())
    rack = RackPlant(spec, steady(3000.0 - 50.5**2 / 100.0 - 0.0002 * (3000.0 / 50.5) ** 2))
    rack.advance(1.0)
    assert rack.shelf_v == pytest.approx(50.5, abs=1e-3)


def test_rectifiers_share_by_their_set_points():
    spec = replace(orv3_rack(), shelf=replace(orv3_rack().shelf, setpoint_sigma_v=0.02))
    rack = RackPlant(spec, steady(9000.0))
    rack.advance(1.0)
    currents_a = np.array([unit.power_w / rack.shelf_v for unit in rack.rectifiers])
    sets_v = np.array([unit.output.set_v for unit in rack.rectifiers])
    total_a = 9000.0 / rack.bus_v + rack.bus_v / 100.0
    expected_a = total_a / 6 + (sets_v - sets_v.mean()) / spec.shelf.droop_ohm
    assert currents_a == pytest.approx(expected_a, rel=1e-9)
    assert np.ptp(currents_a) > 1.0


def test_one_of_six_may_go_at_full_rating():
    rack = RackPlant(EVEN, steady(15_000.0))
    rack.at(0.5, lambda: rack.fail_rectifier(3))
    rack.advance(1.0)
    assert [unit.output.is_on for unit in rack.rectifiers] == [n != 3 for n in range(6)]
    assert rack.rectifiers[3].input_power_w == rack.rectifiers[3].power_w == 0.0
    # The others carry 3 kW and the bus bar's loss.
    assert all(3000.0 < unit.power_w < 3020.0 for unit in rack.rectifiers if unit.number != 3)
    assert 50.0 < rack.bus_v < 50.5
    assert rack.resets == 0
    assert not rack.is_discharging
    rack.replace_rectifier(3)
    rack.advance(10.0)
    assert rack.rectifiers[3].power_w == pytest.approx(rack.rectifiers[0].power_w, rel=1e-6)


def test_what_the_bulk_of_a_replaced_rectifier_held_is_lost():
    """Each is filled anew with 60 J: at a small load a twentieth of all that flowed."""
    rack = RackPlant(EVEN, steady(500.0))
    rack.advance(1.0)
    before_j = rack.balance().shelf_loss_j
    for number in range(5):
        rack.fail_rectifier(number)
    rack.advance(2.0)
    for number in range(5):
        rack.replace_rectifier(number)
    assert rack.balance().shelf_loss_j - before_j > 5 * 60.0
    rack.advance(10.0)
    assert rack.rectifiers[0].bulk_j == pytest.approx(60.0)
    assert rack.balance().residual_fraction < 1e-6


@pytest.mark.parametrize(
    ("spec", "rated_w"), [(orv3_rack(), 3000.0), (hpr_rack(), 5500.0)], ids=["orv3", "hpr"]
)
@pytest.mark.parametrize("load", [0.5, 1.0, 1.2])
def test_hold_up_is_the_bulks_energy_over_its_drain(spec, rated_w, load):
    """t = C (V1² - V2²) / 2 / drain; a load of constant power does not feel the drop of ORv3."""
    spec = one_rectifier(spec)
    spec = replace(spec, shelf=replace(spec.shelf, current_limit_factor=1.4))
    make = cut(spec, load * rated_w - 40.0)
    rack = make()
    rack.advance(0.1)
    unit, shelf = rack.rectifiers[0], spec.shelf
    stored_j = 0.5 * shelf.bulk_capacitance_f * (shelf.bulk_full_v**2 - shelf.bulk_empty_v**2)
    assert stored_j == pytest.approx(shelf.hold_up_j, rel=1e-12)
    closed_s = stored_j / unit.drain_w(unit.power_w)
    held_s = first_time(make, lambda r: not r.rectifiers[0].output.is_on, 0.4, from_s=0.199) - CUT_S
    if shelf.drops:
        # What the bus capacitor gives on its way down by 3 V comes on top.
        before_v = rack.bus_v
        rack.advance(CUT_S + 0.9 * held_s)
        lent_s = 0.5 * spec.bus.capacitance_f * (before_v**2 - rack.bus_v**2) / unit.drain_w(unit.power_w)
        assert held_s == pytest.approx(closed_s + lent_s, rel=0.002)
    else:
        assert held_s == pytest.approx(closed_s, abs=2e-6)
        floor_s = 0.020 if load <= 1.0 else 0.01667
        assert held_s > floor_s


def test_hold_up_depends_on_the_angle_of_the_loss():
    """E at the angle theta is E - P / (2 omega) sin 2 theta."""
    spec = one_rectifier(hpr_rack())
    held_s = {}
    for angle_deg in (0.0, 45.0, 90.0, 135.0):
        at_s = CUT_S + angle_deg / 360.0 / 50.0
        off_s = first_time(
            cut(spec, 5000.0, at_s), lambda r: not r.rectifiers[0].output.is_on, 0.4, from_s=0.199
        )
        held_s[angle_deg] = off_s - at_s
    rack = RackPlant(spec, steady(5000.0))
    unit = rack.rectifiers[0]
    drain_w = unit.drain_w(unit.power_w)
    swing_s = drain_w / (2.0 * 2.0 * math.pi * 50.0) / drain_w
    assert held_s[0.0] == pytest.approx(held_s[90.0], abs=1e-6)
    assert held_s[45.0] - held_s[0.0] == pytest.approx(-swing_s, abs=1e-6)
    assert held_s[135.0] - held_s[0.0] == pytest.approx(swing_s, abs=1e-6)


def test_the_output_drops_by_three_volts_at_half_the_hold_up_energy():
    spec = one_rectifier(orv3_rack())
    make = cut(spec, 2900.0)
    rack = make()
    rack.advance(0.1)
    unit = rack.rectifiers[0]
    half_s = 0.5 * spec.shelf.hold_up_j / unit.drain_w(unit.power_w)
    drop_s = first_time(make, lambda r: r.rectifiers[0].is_dropped, 0.4, from_s=0.199) - CUT_S
    assert drop_s == pytest.approx(half_s, abs=2e-6)
    rack = make()
    rack.advance(CUT_S + drop_s + 0.0005)
    assert rack.rectifiers[0].output.set_v == pytest.approx(49.5, abs=0.002)
    rack.advance(CUT_S + drop_s + 0.002)
    assert rack.rectifiers[0].output.set_v == pytest.approx(48.0, abs=1e-9)
    assert rack.rectifiers[0].bulk_v < math.sqrt(0.5 * (430.0**2 + 330.0**2))


def test_the_signal_warns_five_milliseconds_before_the_output_leaves_regulation():
    spec = without_backup(even(hpr_rack()))
    make = cut(spec, 27_500.0)
    signal_s = first_time(make, lambda r: r.is_signalling, 0.4, from_s=0.199)
    leaves_s = first_time(make, lambda r: r.shelf_v < 48.5, 0.4, from_s=0.199)
    assert signal_s == pytest.approx(CUT_S + spec.shelf.signal_after_s, abs=1e-6)
    assert leaves_s - signal_s > 0.005


def test_efficiency_and_power_factor_are_those_of_the_acceptance_limits():
    spec = one_rectifier(orv3_rack())
    found = {}
    for share in (0.1, 0.3, 0.5, 1.0):
        rack = RackPlant(spec, steady(share * 3000.0))
        rack.advance(1.0)
        found[share] = (rack.rectifiers[0].power_w / rack.ac_power_w, rack.power_factor)
    assert found[0.1][0] > 0.94
    assert found[0.3][0] > 0.965
    assert found[1.0][0] > 0.965
    assert max(efficiency for efficiency, _ in found.values()) > 0.975
    assert found[1.0][1] > 0.995 > found[0.1][1] > 0.9


def test_the_power_factor_is_active_over_apparent_power():
    rack = RackPlant(EVEN, steady(6000.0))
    rack.advance(1.0)
    reactive_var = -6 * 2.0 * math.pi * 50.0 * 5e-6 * 230.0**2
    assert rack.reactive_power_var == pytest.approx(reactive_var)
    apparent_va = math.hypot(rack.ac_power_w, reactive_var) * math.hypot(1.0, 0.04)
    assert rack.power_factor == pytest.approx(rack.ac_power_w / apparent_va, rel=1e-12)


@pytest.mark.parametrize(("volts", "runs"), [(171.0, True), (169.0, False), (309.0, True), (311.0, False)])
def test_the_input_has_a_window(volts, runs):
    rack = RackPlant(EVEN, steady(9000.0))
    rack.at(1.0, lambda: rack.grid.set_voltage_v(volts))
    rack.advance(5.0)
    assert all(unit.is_taking is runs for unit in rack.rectifiers)
    assert rack.is_discharging is not runs
    assert rack.resets == 0


def test_a_brown_out_has_hysteresis():
    rack = RackPlant(EVEN, steady(9000.0))
    rack.at(1.0, lambda: rack.grid.set_voltage_v(165.0))
    rack.at(2.0, lambda: rack.grid.set_voltage_v(175.0))
    rack.advance(10.0)
    assert not any(unit.is_taking for unit in rack.rectifiers)
    rack.grid.set_voltage_v(180.0)
    rack.advance(20.0)
    assert all(unit.is_taking and unit.output.is_on for unit in rack.rectifiers)


def test_a_ramp_of_the_mains_stops_the_input_where_it_crosses():
    rack = RackPlant(EVEN, steady(6000.0))
    rack.at(1.0, lambda: rack.grid.play([GridStep(10.0, (0.0,) * 3, 50.0, is_ramp=True)]))
    crossing_s = 1.0 + 10.0 * (230.0 - 170.0) / 230.0
    rack.advance(crossing_s - 1e-4)
    assert all(unit.is_taking for unit in rack.rectifiers)
    rack.advance(crossing_s + 1e-4)
    assert not any(unit.is_taking for unit in rack.rectifiers)


def test_a_short_input_empties_the_bulk_slowly():
    """Between what the input's current limit gives and what the output needs, the bulk carries the
    difference."""
    spec = one_rectifier(hpr_rack())
    spec = replace(spec, shelf=replace(spec.shelf, input_current_limit_a=26.0))
    rack = RackPlant(spec, steady(5000.0))
    rack.at(1.0, lambda: rack.grid.set_voltage_v(180.0))
    rack.advance(1.0)
    unit = rack.rectifiers[0]
    missing_w = unit.power_w + unit.loss_w(unit.power_w) - 26.0 * 180.0
    assert missing_w > 100.0
    rack.advance(1.1)
    assert unit.bulk_j == pytest.approx(spec.shelf.hold_up_j - 0.1 * missing_w, rel=1e-6)
    assert unit.input_power_w == pytest.approx(26.0 * 180.0)


def test_a_lost_phase_takes_a_third_of_the_rectifiers():
    rack = RackPlant(EVEN, steady(10_000.0))
    rack.at(1.0, lambda: rack.grid.set_voltage_v((230.0, 0.0, 230.0)))
    rack.advance(2.0)
    assert [unit.is_taking for unit in rack.rectifiers] == [True, False, True, True, False, True]
    # On their way down the two give what is left above 48 V, and then nothing: the bus stands higher.
    assert [unit.power_w > 0.0 for unit in rack.rectifiers] == [True, False, True, True, False, True]
    assert all(2500.0 < unit.power_w < 2600.0 for unit in rack.rectifiers if unit.is_taking)
    assert rack.resets == 0
    assert not rack.is_discharging


def test_an_overload_shuts_down_and_tries_again_after_ten_seconds():
    spec = without_backup(EVEN)
    spec = replace(spec, servers=replace(spec.servers, throttle_v=46.0, release_v=46.0))
    # Within the limit of 6 x 71 A at first, beyond it with two pulled.
    rack = RackPlant(spec, through([(0.0, 15_000.0), (3.0, 15_000.0), (3.0, 0.0)]))
    rack.at(1.0, lambda: [rack.fail_rectifier(n) for n in (0, 1)])
    rack.advance(1.05)
    assert rack.resets > 0
    rack.advance(2.0)
    off = [unit for unit in rack.rectifiers if not unit.is_failed and not unit.output.is_on]
    assert len(off) in {0, 4}
    rack.advance(20.0)
    assert all(unit.output.is_on for unit in rack.rectifiers if not unit.is_failed)
    assert 50.0 < rack.bus_v < 51.0
    assert all(server.is_booting for server in rack.servers)


def test_in_its_limit_on_a_bus_that_the_backup_holds_it_stays():
    """Two rectifiers are left at 12 kW: they give their limit, and the backup unit the rest."""
    rack = RackPlant(EVEN, steady(12_000.0))
    rack.at(1.0, lambda: [rack.fail_rectifier(n) for n in range(4)])
    rack.advance(60.0)
    limit_a = 1.2 * EVEN.shelf.rated_current_a
    assert [unit.output.current_a(rack.shelf_v) for unit in rack.rectifiers[4:]] == [limit_a] * 2
    assert rack.is_discharging
    given_w = sum(module.power_w for module in rack.modules)
    assert given_w == pytest.approx(12_000.0 - 2.0 * limit_a * rack.shelf_v, rel=0.01)
    assert 47.5 < rack.bus_v < 48.0
    assert rack.resets == 0


def test_a_start_is_soft():
    spec = without_backup(EVEN)
    rack = RackPlant(spec, steady(3000.0))
    rack.at(1.0, rack.grid.open_relay)
    rack.at(61.0, rack.grid.close_relay)
    rack.advance(61.0)
    assert rack.resets == 8
    assert rack.bus_v < 1.0
    rack.advance(70.0)
    volts = rack.waveform("shelf.u_v", 61.0, 100.0, 900)
    rising = volts[(volts > 2.0) & (volts < 50.0)]
    assert np.diff(rising) * 100.0 == pytest.approx(10.0, abs=0.5)
    assert rack.bus_v == pytest.approx(51.0, abs=0.05)


def test_a_forced_loss_of_input_is_one():
    rack = RackPlant(even(hpr_rack()), steady(20_000.0))
    rack.at(1.0, lambda: rack.force_ac_loss(is_forced=True))
    rack.advance(3.0)
    assert rack.is_discharging
    assert all(unit.ac_losses == 1 for unit in rack.rectifiers)
    rack.force_ac_loss(is_forced=False)
    rack.advance(10.0)
    assert not rack.is_discharging
    assert rack.resets == 0
