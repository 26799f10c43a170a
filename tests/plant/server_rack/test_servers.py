"""Servers: the inner store, the throttle, the reset, the boot, the cap."""

from dataclasses import replace

import pytest

from harness.plant.server_rack import RackPlant, orv3_rack, steady, through

from .racks import EVEN, first_time, without_backup


def alone(load_w, off_s):
    """A rack without backup whose rectifiers are all pulled."""
    spec = without_backup(EVEN)

    def make():
        rack = RackPlant(spec, steady(load_w))
        rack.at(off_s, lambda: [rack.fail_rectifier(n) for n in range(6)])
        return rack

    return make


def test_a_server_lives_on_its_store_for_energy_over_power():
    make = alone(8000.0, 1.0)
    open_s = first_time(make, lambda r: not r.servers[0].is_input_closed, 2.0, from_s=0.999)
    reset_s = first_time(make, lambda r: r.resets > 0, 2.0, from_s=0.999)
    rack = make()
    rack.advance(open_s + 0.001)
    # Throttled to 750 W within 0.1 ms, by which time it has taken 1,000 W for less than that.
    assert rack.servers[0].is_throttled
    assert reset_s - open_s == pytest.approx(8.0 / 750.0, abs=3e-5)
    rack.advance(2.0)
    assert rack.resets == 8
    assert rack.servers[0].last_reset_s == pytest.approx(reset_s, abs=1e-6)
    assert rack.load_w == 0.0


def test_an_interruption_shorter_than_the_store_is_survived():
    make = alone(8000.0, 1.0)
    open_s = first_time(make, lambda r: not r.servers[0].is_input_closed, 2.0, from_s=0.999)
    rack = make()
    rack.at(open_s + 0.005, lambda: [rack.replace_rectifier(n) for n in range(6)])
    rack.advance(open_s + 0.006)
    server = rack.servers[0]
    assert server.store_j < 8.0
    # A start takes seconds: they reset after all.
    rack.advance(open_s + 1.0)
    assert rack.resets == 8


def test_the_throttle_acts_before_the_input_opens_and_returns_with_hysteresis():
    """A bus that is pulled from 51 to 47 V by overload of a weak shelf."""
    spec = without_backup(EVEN)
    weak = replace(spec, shelf=replace(spec.shelf, droop_v=9.0, current_limit_factor=3.0))
    load = through([(0.0, 6000.0), (1.0, 6000.0), (2.0, 9600.0), (5.0, 9600.0), (5.0, 3000.0)])
    rack = RackPlant(weak, load)
    while not any(server.is_throttled for server in rack.servers):
        rack.advance(rack.now_s + 0.001)
    throttled_s = rack.now_s
    assert 1.5 < throttled_s < 2.0
    assert rack.load_w == pytest.approx(8 * 0.4 * 1875.0)
    assert 46.75 < rack.least_shelf_v < 46.85
    rack.advance(throttled_s + 0.05)
    assert all(server.is_throttled for server in rack.servers)
    assert rack.bus_v > 47.2
    rack.advance(6.0)
    assert not any(server.is_throttled for server in rack.servers)
    assert rack.resets == 0


def test_thresholds_are_spread_and_keyed():
    spec = orv3_rack()
    levels_v = [server.levels_v[0] for server in RackPlant(spec).servers]
    assert levels_v == [server.levels_v[0] for server in RackPlant(spec).servers]
    assert levels_v != [server.levels_v[0] for server in RackPlant(replace(spec, seed=2)).servers]
    assert max(abs(v - 46.0) for v in levels_v) <= 0.06
    assert len(set(levels_v)) == 8


def test_a_reset_server_boots_and_comes_back():
    spec = without_backup(EVEN)
    rack = RackPlant(spec, steady(8000.0))
    rack.at(1.0, rack.grid.open_relay)
    rack.at(3.0, rack.grid.close_relay)
    rack.advance(3.0)
    assert rack.resets == 8
    rack.advance(30.0)
    assert all(server.is_booting for server in rack.servers)
    assert rack.load_w == pytest.approx(8 * 0.35 * 1875.0)
    rack.advance(200.0)
    assert rack.load_w == pytest.approx(8000.0)
    assert rack.resets == 8


def test_over_voltage_opens_the_input():
    spec = without_backup(EVEN)
    rack = RackPlant(replace(spec, servers=replace(spec.servers, maximum_v=50.9)), steady(0.0))
    rack.advance(0.1)
    assert not any(server.is_input_closed for server in rack.servers)


@pytest.mark.parametrize(
    ("cap_w", "expected_w"), [(12_000.0, 12_000.0), (20_000.0, 15_000.0), (None, 15_000.0)]
)
def test_a_cap_binds_where_it_is_below_the_demand(cap_w, expected_w):
    rack = RackPlant(EVEN, steady(15_000.0))
    rack.advance(1.0)
    rack.set_cap_w(cap_w)
    rack.advance(2.0)
    assert rack.load_w == pytest.approx(expected_w)


def test_a_cap_cuts_a_ramp_where_it_meets_it():
    rack = RackPlant(EVEN, through([(0.0, 5000.0), (1.0, 5000.0), (2.0, 15_000.0), (3.0, 5000.0)]))
    rack.set_cap_w(10_000.0)
    rack.advance(4.0)
    # 5 kW for 2 s, and twice a ramp to 10 kW of half a second, and a second of 10 kW.
    used_j = sum(server.used_j for server in rack.servers)
    assert used_j == pytest.approx(2.0 * 5000.0 + 1.0 * 7500.0 + 1.0 * 10_000.0, rel=1e-9)


def test_a_negative_cap_is_refused():
    with pytest.raises(ValueError, match=r"rack: set_cap_w\(-1\.0\); allowed 0 and above, or None"):
        RackPlant(EVEN).set_cap_w(-1.0)
