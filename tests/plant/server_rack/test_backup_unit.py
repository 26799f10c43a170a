"""The backup unit against closed forms: when it starts, how long it runs, how it is charged."""

import math
from dataclasses import replace

import pytest

from harness.plant.server_rack import PackSpec, RackPlant, end_of_life, hpr_rack, orv3_rack, steady, through
from harness.plant.server_rack.backup_unit import Pack

from .racks import EVEN, even, first_time

FULL_W = 14_950.0
"""With bleed and bus bar 15 kW at the backup unit's output."""

HPR = even(hpr_rack())


def cut(spec, load_w, at_s=1.0, scale=1.0):
    def make():
        rack = RackPlant(spec, steady(load_w), step_scale=scale)
        rack.at(at_s, rack.grid.open_relay)
        return rack

    return make


def test_a_constant_power_empties_a_pack_in_the_closed_form():
    pack = Pack(PackSpec())
    whole_s = pack.run_time_s(3000.0)
    step_s = 0.05
    steps = int(whole_s / step_s)
    for _ in range(steps):
        pack.step(3000.0, step_s)
    assert pack.run_time_s(3000.0) == pytest.approx(whole_s - steps * step_s, abs=1e-4 * whole_s)
    assert 0.0 <= pack.soc < 1e-3


def test_without_resistance_the_run_time_is_energy_over_power():
    spec = PackSpec(resistance_ohm=1e-9)
    pack = Pack(spec)
    energy_j = 3600.0 * spec.capacity_ah * 0.5 * (spec.empty_v + spec.full_v)
    assert pack.energy_j == pytest.approx(energy_j, rel=1e-12)
    assert pack.run_time_s(3000.0) == pytest.approx(energy_j / 3000.0, rel=1e-6)


def test_energy_out_and_heat_are_what_the_cells_lost():
    pack = Pack(PackSpec())
    for _ in range(1000):
        pack.step(3000.0, 0.1)
    for _ in range(1000):
        pack.step(-250.0, 0.5)
    given_j = 1000 * 0.1 * 3000.0 - 1000 * 0.5 * 250.0
    assert pack.stored_change_j() == pytest.approx(-given_j - pack.heat_j, rel=1e-6)


@pytest.mark.parametrize(
    ("spec", "load_w", "gone", "floor_s", "most_s"),
    [
        (EVEN, FULL_W, 1, 240.0, 270.0),
        (end_of_life(EVEN), FULL_W, 1, 90.0, 110.0),
        (HPR, 19_950.0, 1, 240.0, 250.0),
        (HPR, 23_950.0, 0, 240.0, 250.0),
        (HPR, 27_450.0, 1, 90.0, 180.0),
        (end_of_life(HPR), 27_450.0, 1, 90.0, 100.0),
        (end_of_life(HPR), 32_950.0, 0, 90.0, 100.0),
    ],
    ids=["orv3 new", "orv3 old", "hpr 5+0", "hpr 6+0", "hpr new full", "hpr old 5+0", "hpr old 6+0"],
)
def test_runs_for_its_published_time_and_little_longer(spec, load_w, gone, floor_s, most_s):
    """ORv3: 240 s new, 90 s old at full load; HPR: 240 s at 20 and 24 kW, 90 s at 27.5 and 33 kW (OCP)."""
    rack = cut(spec, load_w)()
    for number in range(gone):
        rack.fail_module(number)
    rack.advance(1.0 + floor_s)
    assert rack.resets == 0
    assert min(server.store_j for server in rack.servers) == spec.servers.hold_up_j
    rack.advance(1.0 + most_s)
    assert rack.resets == len(rack.servers)
    assert not rack.is_discharging


def test_the_run_time_of_the_rack_is_that_of_its_packs():
    make = cut(EVEN, 9000.0)
    rack = make()
    rack.advance(2.0)
    module = rack.modules[0]
    told_s = rack.now_s + module.run_time_s()
    assert module.run_time_s() == pytest.approx(module.pack.run_time_s(module.power_w / 0.97))
    empty_s = first_time(
        make, lambda r: not r.modules[0].output.is_on, 1000.0, step_s=100.0, resolution_s=0.01
    )
    # The five others were started before it ends, all empty together: the power is constant to the bar's
    # loss.
    assert empty_s == pytest.approx(told_s, rel=1e-4) or empty_s < 1.1


def test_starts_four_milliseconds_after_the_bus_fell_below_its_trigger():
    make = cut(EVEN, 12_000.0)
    low_s = first_time(make, lambda r: r.shelf_v < 48.5, 2.0, from_s=0.999)
    on_s = first_time(make, lambda r: r.is_discharging, 2.0, from_s=0.999)
    assert on_s - low_s == pytest.approx(0.004, abs=1e-6)


def test_a_dip_shorter_than_the_trigger_starts_nothing():
    """Two rectifiers of three phases each: a drop that comes back within 2 ms is none."""
    spec = replace(EVEN, backup=replace(EVEN.backup, trigger_v=50.6))
    load = through([(0.0, 1000.0), (1.0, 1000.0), (1.0, 15_000.0), (1.0019, 15_000.0), (1.0019, 1000.0)])
    rack = RackPlant(spec, load)
    rack.advance(1.1)
    assert rack.least_shelf_v < 50.6
    assert rack.modules[0].discharges == 0
    longer = through([(0.0, 1000.0), (1.0, 1000.0), (1.0, 15_000.0), (1.0021, 15_000.0), (1.0021, 1000.0)])
    rack = RackPlant(spec, longer)
    rack.advance(1.1)
    assert rack.modules[0].discharges == 1


@pytest.mark.parametrize(
    "spec", [EVEN, even(hpr_rack()), orv3_rack(), hpr_rack()], ids=["even", "even hpr", "orv3", "hpr"]
)
@pytest.mark.parametrize("angle_deg", [0.0, 45.0, 90.0, 180.0])
def test_a_loss_of_mains_at_full_load_never_leaves_the_window(spec, angle_deg):
    load_w = spec.shelf.rating_w - 50.0
    rack = cut(spec, load_w, at_s=1.0 + angle_deg / 360.0 / 50.0)()
    rack.advance(3.0)
    assert 47.4 < rack.least_shelf_v < 48.5
    assert rack.resets == 0
    assert all(server.store_j == spec.servers.hold_up_j for server in rack.servers)
    assert all(module.discharges == 1 for module in rack.modules)
    powers_w = [module.power_w for module in rack.modules]
    assert sum(powers_w) == pytest.approx(load_w + rack.bus_v**2 / 100.0, rel=2e-3)
    rack.grid.close_relay()
    rack.advance(20.0)
    assert not rack.is_discharging
    assert rack.resets == 0


def test_the_signal_starts_it_before_the_voltage_falls():
    make = cut(even(hpr_rack()), 20_000.0)
    on_s = first_time(make, lambda r: r.is_discharging, 2.0, from_s=0.999)
    low_s = first_time(make, lambda r: r.shelf_v < 48.5, 2.0, from_s=0.999)
    assert on_s == pytest.approx(1.0 + 0.004 + 0.002, abs=1e-6)
    assert on_s < low_s


def test_goes_back_to_standby_after_200_ms_of_a_good_bus():
    def make():
        rack = cut(EVEN, 12_000.0)()
        rack.at(11.0, rack.grid.close_relay)
        return rack

    back_s = first_time(
        make, lambda r: r.now_s > 11.0 and r.shelf_v > 48.5, 20.0, from_s=11.001, resolution_s=1e-6
    )
    off_s = first_time(
        make, lambda r: r.now_s > 11.0 and not r.is_discharging, 20.0, from_s=11.001, resolution_s=1e-6
    )
    assert off_s - back_s == pytest.approx(0.2, abs=2e-6)


def test_charges_with_its_limit_and_in_the_time_that_this_takes():
    rack = RackPlant(EVEN, steady(9000.0))
    rack.at(10.0, rack.grid.open_relay)
    rack.at(100.0, rack.grid.close_relay)
    rack.advance(120.0)
    module = rack.modules[0]
    assert module.is_charging
    assert module.charge_w == 250.0
    start_s, input_j, energy_j = rack.now_s, module.input_j, module.pack.energy_j
    missing_j = 3600.0 * 6.1 * 0.5 * (33.0 + 45.1) - energy_j
    while module.is_charging:
        rack.advance(rack.now_s + 10.0)
    took_j = module.input_j - input_j
    # Resistance and taper cost little at 250 W.
    assert 0.95 * took_j == pytest.approx(missing_j, rel=0.01)
    # The taper falls from 5.4 A to 0.5 A with R Q / (E1 - E0).
    taper_s = 0.03 * 3600.0 * 6.1 / (45.1 - 33.0)
    assert took_j / 250.0 < rack.now_s - start_s < took_j / 250.0 + math.log(5.4 / 0.5) * taper_s
    assert module.pack.soc > 0.998
    rack.advance(rack.now_s + 1.0)
    heard_w = rack.ac_power_w
    rack.advance(rack.now_s + 100.0)
    assert rack.ac_power_w == pytest.approx(heard_w, rel=1e-6)


def test_charging_leaves_the_shelf_its_rating():
    spec = replace(EVEN, backup=replace(EVEN.backup, pack=replace(EVEN.backup.pack, soc=0.5)))
    rack = RackPlant(spec, through([(0.0, 14_100.0), (60.0, 14_100.0), (60.0, 15_100.0)]))
    rack.advance(50.0)
    assert rack.modules[0].charge_w == pytest.approx(150.0)
    rack.advance(70.0)
    assert rack.modules[0].charge_w == 0.0


@pytest.mark.parametrize(("load_w", "charge_w"), [(8500.0, 500.0), (9900.0, 0.0), (10_500.0, 0.0)])
def test_charging_takes_what_the_rectifiers_that_are_left_can_spare(load_w, charge_w):
    """Three of six are left, 9 kW: the rating of 15 kW counts on rectifiers that are not there."""
    spec = replace(EVEN, backup=replace(EVEN.backup, pack=replace(EVEN.backup.pack, soc=0.5)))
    rack = RackPlant(spec, steady(load_w))
    for number in range(3):
        rack.fail_rectifier(number)
    rack.advance(60.0)
    assert sum(module.charge_w for module in rack.modules) == pytest.approx(charge_w, abs=1e-6)
    assert [unit.output.is_on for unit in rack.rectifiers] == [False] * 3 + [True] * 3
    assert rack.bus_v > 50.0
    assert rack.resets == 0
    assert not rack.is_discharging
    # A rectifier that comes back brings its part.
    rack.replace_rectifier(0)
    rack.advance(120.0)
    spare_w = min(6 * 250.0, 12_000.0 - load_w)
    assert sum(module.charge_w for module in rack.modules) == pytest.approx(spare_w, abs=1e-6)


def test_a_second_outage_after_the_recharge_runs_as_long_as_the_first():
    def run_s(rack, from_s):
        rack.advance(from_s + 1.0)
        return rack.modules[0].run_time_s()

    rack = RackPlant(EVEN, steady(9000.0))
    rack.at(10.0, rack.grid.open_relay)
    rack.at(200.0, rack.grid.close_relay)
    first_s = run_s(rack, 10.0)
    rack.advance(10_000.0)
    rack.grid.open_relay()
    assert run_s(rack, 10_000.0) == pytest.approx(first_s, rel=0.01)
    rack.advance(10_100.0)
    assert [module.discharges for module in rack.modules] == [2] * 6
    assert rack.resets == 0
    assert math.isfinite(first_s)
