"""Mains, second source, sun, converter, battery and a moody load in one rig: energy, steps, order, memory."""

import pickle

import pytest

from harness.plant import (
    BatterySpec,
    ConverterSpec,
    EnterService,
    GeneratorSpec,
    GridSpec,
    Harmonic,
    LoadKind,
    LoadSpec,
    PlantSpec,
    RigPlant,
    Side,
    SolarSpec,
    TransferSwitchSpec,
)
from harness.plant.history import KEPT_S
from harness.roles import GridStep

EVERYTHING = PlantSpec(
    battery=BatterySpec(cells_in_parallel=67),
    converter=ConverterSpec(
        starts_on=True,
        bms_timeout_s=None,
        enter_service=EnterService(delay_s=3.0, frequency_hz=(-3.0, 1.0)),
    ),
    grid=GridSpec(rise_time_s=0.0005, harmonics=(Harmonic(order=5, fraction=0.02),)),
    load=LoadSpec(
        kind=LoadKind.CONSTANT_POWER,
        power_w=3000.0,
        power_factor=0.95,
        inrush_factor=4.0,
        restart_delay_s=0.5,
        hold_up_s=0.02,
    ),
    generator=GeneratorSpec(start_s=8.0),
    transfer_switch=TransferSwitchSpec.mechanical(return_s=10.0),
    solar=SolarSpec(starts_at_s=11.0 * 3600.0, restart_s=5.0),
)


def a_day_of_trouble(rig):
    """A two-phase sag, the mains lost for half a minute, load steps on the generator, a curtailment."""
    rig.converter.set_power_w(-1500.0)
    low = GridStep(0.3, (1.0, 0.53, 0.53), 60.0, angle_deg=(0.0, -41.0, 41.0), starts_at_deg=90.0)
    for time_s, action in (
        (6.0, lambda: rig.grid.play([low, GridStep(1.0, (1.0,) * 3, 60.0)])),
        (12.0, rig.grid.open_relay),
        (40.0, lambda: rig.load.set_power_w(5000.0)),
        (42.0, rig.grid.close_relay),
        (70.0, lambda: rig.solar.curtail(1000.0)),
    ):
        rig.at(time_s, action)


def found_in(rig):
    nodes = ("grid_ac", "pcs_ac", "load_ac", "standby_ac", "solar_ac", "battery_dc")
    return {node: rig.totals(node) for node in nodes}


def test_energy_balances_with_everything_on():
    rig = RigPlant(EVERYTHING)
    a_day_of_trouble(rig)
    rig.advance(30.0)
    assert rig.switch.side is Side.STANDBY
    rig.advance(90.0)
    assert rig.switch.side is Side.MAINS
    found = found_in(rig)
    assert all(found[node].energy_out_j + found[node].energy_in_j > 1000.0 for node in found)
    balance = rig.balance()
    assert balance.residual_fraction < 1e-4
    # Kirchhoff at the bus: what converter and array give goes to load and sources, but for the line's loss.
    given = found["pcs_ac"].energy_out_j - found["pcs_ac"].energy_in_j + found["solar_ac"].energy_out_j
    taken = sum(
        found[node].energy_out_j - found[node].energy_in_j for node in ("grid_ac", "standby_ac", "load_ac")
    )
    assert given == pytest.approx(taken, abs=1e-6 * balance.throughput_j)


def test_halved_steps_move_nothing_by_more_than_the_stated_error():
    whole, half = RigPlant(EVERYTHING), RigPlant(EVERYTHING, step_scale=0.5)
    for rig in (whole, half):
        a_day_of_trouble(rig)
        rig.advance(90.0)
    for node, one in found_in(whole).items():
        two = half.totals(node)
        assert two.energy_out_j == pytest.approx(one.energy_out_j, rel=2e-4, abs=20.0), node
        assert two.energy_in_j == pytest.approx(one.energy_in_j, rel=2e-4, abs=20.0), node
    assert half.load.dead_s == pytest.approx(whole.load.dead_s, abs=1e-9)
    assert half.string.soc == pytest.approx(whole.string.soc, abs=1e-6)
    assert half.switch.transfers == whole.switch.transfers == 2


def test_looking_more_often_moves_nothing_either():
    seldom, often = RigPlant(EVERYTHING), RigPlant(EVERYTHING)
    a_day_of_trouble(seldom)
    a_day_of_trouble(often)
    seldom.advance(60.0)
    for k in range(1, 601):
        often.advance(0.1 * k)
    for node, one in found_in(seldom).items():
        two = often.totals(node)
        assert two.energy_out_j == pytest.approx(one.energy_out_j, rel=2e-4, abs=20.0), node
    assert often.load.dead_s == pytest.approx(seldom.load.dead_s, abs=1e-9)


def test_the_order_of_equal_instants_moves_nothing():
    found = []
    for order in (1, -1):
        rig = RigPlant(EVERYTHING)
        rig.converter.set_power_w(-1000.0)
        acts = (
            rig.grid.open_relay,
            lambda rig=rig: rig.load.set_power_w(4000.0),
            lambda rig=rig: rig.converter.set_power_w(500.0),
            lambda rig=rig: rig.solar.curtail(800.0),
            rig.standby.start,
        )
        for act in acts[::order]:
            rig.at(8.0, act)
        rig.advance(25.0)
        found.append((found_in(rig), rig.standby.turns, rig.load.dead_s, rig.string.soc))
    assert found[0] == found[1]


def test_a_week_leaves_no_more_behind_than_two_days():
    """Rest, and each day ten minutes of charge, a sag and an island; kept is the last quarter of an hour."""
    spec = PlantSpec(
        battery=BatterySpec(cells_in_parallel=67),
        converter=ConverterSpec(bms_timeout_s=None),
        load=LoadSpec(power_w=500.0),
        solar=SolarSpec(interval_s=600.0),
    )
    rig = RigPlant(spec)
    sizes = []
    for day in range(7):
        noon_s = 86_400.0 * day + 43_200.0
        rig.advance(noon_s)
        rig.converter.turn_on()
        rig.converter.set_power_w(-2000.0)
        rig.grid.play([GridStep(300.0, (1.0,) * 3, 60.0), GridStep(0.3, (0.3,) * 3, 60.0)])
        rig.at(noon_s + 400.0, rig.grid.open_relay)
        rig.at(noon_s + 500.0, rig.grid.close_relay)
        rig.advance(noon_s + 600.0)
        rig.converter.turn_off()
        rig.advance(86_400.0 * (day + 1))
        sizes.append(len(pickle.dumps((rig._history, rig.grid, rig.solar, rig.load, rig.converter))))
    # What is kept of the last quarter of an hour has more stretches on one day than on another; what grew
    # with the days would be seven times as much.
    assert max(sizes[2:]) < 2.0 * max(sizes[:2])
    assert len(rig.waveform("load_ac.u1_v", rig.now_s - KEPT_S, 10.0, 100)) == 100
    assert rig.balance().residual_fraction < 1e-3
