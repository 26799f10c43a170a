"""The whole rack: energy, time, order, waveforms, cost."""

from dataclasses import replace

import numpy as np
import pytest

from harness.plant.server_rack import RackPlant, Swing, hpr_rack, orv3_rack, steady
from harness.plant.server_rack.rack_plant import CHANNELS
from harness.plant.stated_error import RACK
from harness.roles import GridStep


def bad_day(spec, *, scale=1.0):
    """Swings, a sag, one phase gone, a pulled rectifier, an outage with swings on the batteries, a
    recharge."""
    rating_w = spec.shelf.rating_w
    swing = Swing(low_w=0.3 * rating_w, high_w=0.8 * rating_w, frequency_hz=2.0, jitter=0.02, ramp_s=0.01)
    rack = RackPlant(spec, swing.pieces(), step_scale=scale)
    rack.at(3.0, lambda: rack.grid.play([GridStep(0.3, (0.8,) * 3, 50.0), GridStep(0.1, (1.0,) * 3, 50.0)]))
    rack.at(5.01, lambda: rack.grid.play([GridStep(0.05, (0.2,) * 3, 50.0), GridStep(0.1, (1.0,) * 3, 50.0)]))
    rack.at(8.0, lambda: rack.fail_rectifier(1))
    rack.at(10.0033, rack.grid.open_relay)
    rack.at(30.0, rack.grid.close_relay)
    rack.at(35.0, lambda: rack.replace_rectifier(1))
    rack.at(60.0, lambda: rack.set_load(steady(0.2 * rating_w)))
    return rack


SPECS = pytest.mark.parametrize("spec", [orv3_rack(), hpr_rack()], ids=["orv3", "hpr"])


@SPECS
def test_energy_balances_through_a_bad_day(spec):
    rack = bad_day(spec)
    rack.advance(400.0)
    balance = rack.balance()
    assert balance.in_j > 1e6
    assert balance.backup_loss_j > 0.0
    assert balance.residual_fraction < 1e-4
    assert rack.resets == 0


@SPECS
def test_halved_steps_move_results_by_less_than_the_stated_error(spec):
    whole, half = bad_day(spec), bad_day(spec, scale=0.5)
    for until_s in (4.0, 10.5, 29.0, 31.0, 100.0):
        for rack in (whole, half):
            rack.advance(until_s)
        compare(whole, half, RACK.soc)


def compare(whole, half, most_soc):
    assert half.bus_v == pytest.approx(whole.bus_v, abs=RACK.bus_v)
    assert half.least_shelf_v == pytest.approx(whole.least_shelf_v, abs=RACK.bus_v)
    for one, two in zip(whole.modules, half.modules, strict=True):
        assert two.pack.soc == pytest.approx(one.pack.soc, abs=most_soc)
    one, two = whole.balance(), half.balance()
    assert two.in_j == pytest.approx(one.in_j, rel=RACK.energy)
    assert two.used_j == pytest.approx(one.used_j, rel=RACK.energy)
    assert one.residual_fraction < RACK.energy


@SPECS
@pytest.mark.parametrize("high", [0.8, 0.95, 1.0])
def test_halved_steps_move_nothing_from_empty_to_full_under_a_swing(spec, high):
    """Backup until the last module is empty, a blackout, and a charge on what the swing leaves over."""
    rating_w = spec.shelf.rating_w
    spec = replace(spec, backup=replace(spec.backup, pack=replace(spec.backup.pack, soc=0.04)))
    swing = Swing(low_w=0.3 * rating_w, high_w=high * rating_w, frequency_hz=1.0, jitter=0.02, ramp_s=0.02)
    racks = [RackPlant(spec, swing.pieces(), step_scale=scale) for scale in (1.0, 0.5)]
    for rack in racks:
        rack.at(3.0033, rack.grid.open_relay)
        rack.at(60.0, rack.grid.close_relay)
    for until_s in (3.0, 5.0, 10.0):
        for rack in racks:
            rack.advance(until_s)
        compare(*racks, RACK.soc)
    for rack in racks:
        rack.advance(59.0)
    assert all(module.is_empty for rack in racks for module in rack.modules)
    one, two = ([server.last_reset_s for server in rack.servers] for rack in racks)
    ran_s = one[0] - 3.0033
    assert 8.0 < ran_s < 40.0
    assert one == pytest.approx(two, abs=RACK.instant_s + RACK.run_time * ran_s)
    for until_s in (62.0, 200.0, 420.0):
        for rack in racks:
            rack.advance(until_s)
        compare(*racks, RACK.soc)
    assert racks[0].backup_soc > 0.01


@SPECS
@pytest.mark.parametrize("part", [0.2, 0.97])
def test_halved_steps_move_nothing_while_a_charge_ends(spec, part):
    spec = replace(spec, backup=replace(spec.backup, pack=replace(spec.backup.pack, soc=0.95)))
    racks = [RackPlant(spec, steady(part * spec.shelf.rating_w), step_scale=scale) for scale in (1.0, 0.5)]
    until_s = 0.0
    while any(module.is_charging for rack in racks for module in rack.modules) or until_s < 100.0:
        until_s += 20.0
        for rack in racks:
            rack.advance(until_s)
        compare(*racks, RACK.taper_soc)
    assert racks[0].backup_soc > 0.99
    compare(*racks, RACK.soc)


@SPECS
def test_results_do_not_depend_on_who_looks_when(spec):
    seldom, often = bad_day(spec), bad_day(spec)
    seldom.advance(40.0)
    for look in range(1, 40 * 64 + 1):
        often.advance(look / 64.0)
    assert often.bus_v == pytest.approx(seldom.bus_v, abs=1e-3)
    assert often.least_shelf_v == pytest.approx(seldom.least_shelf_v, abs=1e-3)
    assert often.backup_soc == pytest.approx(seldom.backup_soc, abs=1e-5)
    assert often.balance().in_j == pytest.approx(seldom.balance().in_j, rel=1e-4)


def test_equal_runs_are_equal_to_the_last_bit():
    runs = [bad_day(orv3_rack()) for _ in range(2)]
    for rack in runs:
        rack.advance(32.0)
    assert runs[0].balance() == runs[1].balance()
    assert runs[0].least_shelf_v == runs[1].least_shelf_v


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_equal_instants_moves_nothing(order):
    def run(order):
        rack = RackPlant(orv3_rack(), steady(12_000.0))
        actions = (rack.grid.open_relay, lambda: rack.fail_module(2), lambda: rack.set_cap_w(10_000.0))
        for number in order:
            rack.at(1.0, actions[number])
        rack.advance(3.0)
        return rack.balance(), rack.least_shelf_v, rack.bus_v, [module.pack.soc for module in rack.modules]

    assert run(order) == run((0, 1, 2))


def test_a_waveform_shows_the_extremes_and_joins():
    rack = bad_day(orv3_rack())
    rack.advance(9.9)
    rack.forget_extremes()
    rack.advance(10.1)
    volts = rack.waveform("shelf.u_v", 9.9, 1e5, 20_000)
    assert volts.min() == pytest.approx(rack.least_shelf_v, abs=0.01)
    assert volts.max() == pytest.approx(rack.most_shelf_v, abs=0.01)
    bus_v = rack.waveform("bus.u_v", 9.9, 1e5, 20_000)
    assert np.abs(np.diff(bus_v)).max() < 0.3  # a capacitor of 20 mF cannot jump
    shelf_a, backup_a, servers_a = (
        rack.waveform(channel, 9.9, 1e5, 20_000) for channel in ("shelf.i_a", "backup.i_a", "servers.i_a")
    )
    assert shelf_a + backup_a == pytest.approx(servers_a, abs=1e-6)
    assert volts - bus_v == pytest.approx(0.0002 * servers_a, abs=1e-9)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (("bus.i_a", 0.0, 1e3, 10), rf"no channel 'bus\.i_a'; there are {', '.join(CHANNELS)}"),
        (("bus.u_v", 0.5, 1e3, 1000), r"from 0\.5 s to 1\.5 s; kept 0\.0 s to 1\.0 s"),
    ],
)
def test_a_waveform_that_cannot_be_says_so(ask, message):
    rack = RackPlant(orv3_rack(), steady(3000.0))
    rack.advance(1.0)
    with pytest.raises(ValueError, match=message):
        rack.waveform(*ask)


def test_going_back_is_refused():
    rack = RackPlant(orv3_rack())
    rack.advance(1.0)
    with pytest.raises(ValueError, match=r"advance\(0\.5\) from 1\.0 s"):
        rack.advance(0.5)
    with pytest.raises(ValueError, match=r"at\(0\.5\) from 1\.0 s"):
        rack.at(0.5, rack.grid.open_relay)


def test_a_rack_of_nothing_is_refused():
    spec = orv3_rack()
    with pytest.raises(ValueError, match="0 rectifiers, 8 servers; allowed 1"):
        RackPlant(replace(spec, shelf=replace(spec.shelf, rectifiers=0)))


def test_steady_time_costs_next_to_nothing_and_keeps_nothing():
    rack = RackPlant(orv3_rack(), steady(9000.0))
    rack.advance(1.0)
    kept = len(rack._stretches)
    steps = 0
    commit = rack._commit

    def counted(*step):
        nonlocal steps
        steps += 1
        commit(*step)

    rack._commit = counted
    rack.advance(86_400.0)
    assert steps <= 86_400.0 / 60.0 + 2
    assert len(rack._stretches) == kept


def test_memory_stays_flat_under_swings():
    rack = RackPlant(orv3_rack(), Swing(low_w=3000.0, high_w=12_000.0, frequency_hz=1.0, ramp_s=0.0).pieces())
    rack.advance(950.0)
    one = len(rack._stretches)
    rack.advance(1050.0)
    assert len(rack._stretches) < 1.2 * one
    assert rack._stretches[0].end_s > 1050.0 - 900.0 - 150.0
