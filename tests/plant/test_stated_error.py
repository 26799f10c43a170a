"""Halving every internal step moves nothing that is judged by more than what is stated, to the ends."""

from dataclasses import replace

import numpy as np
import pytest

from harness.plant import (
    BatterySpec,
    ConverterSpec,
    GridSpec,
    LoadKind,
    LoadSpec,
    PlantSpec,
    RigPlant,
    ieee1547_category_2,
)
from harness.plant.stated_error import CONVERTER
from harness.roles import GridStep

from .to_the_ends import Pair

POWER_W = {"lfp_rack": (-8000.0, 5000.0), "zinc_halogen_rack": (-4500.0, 4000.0)}
"""With which each product is charged and discharged."""

PRODUCTS = pytest.mark.parametrize("product", POWER_W)

IN_PARALLEL = {
    "lfp_rack": {"strings": 2, "cells_in_parallel": 50},
    "zinc_halogen_rack": {"strings": 3, "cells_in_parallel": 1},
}


def to_an_end_and_back(pair, there_w, back_w, is_allowed):
    """Until the battery management ends it, a rest, and a while the other way."""
    pair.command(there_w)
    for _ in range(40):
        pair.run(50.0)
        if not is_allowed():
            break
    assert not is_allowed()
    pair.run(20.0)
    assert abs(pair.one.string.current_a) < 2.0
    pair.command(0.0)
    pair.run(600.0)
    pair.command(back_w)
    for _ in range(4):
        pair.run(25.0)
    assert pair.beyond() == {}


@PRODUCTS
@pytest.mark.parametrize(("seed", "is_parallel"), [(5, False), (6, True)])
def test_charged_to_the_end_condition_rested_and_discharged(product, seed, is_parallel):
    pair = Pair(product, seed=seed, soc=0.96, **(IN_PARALLEL[product] if is_parallel else {}))
    charge_w, discharge_w = POWER_W[product]
    pair.run(5.0)
    to_an_end_and_back(pair, charge_w, discharge_w, lambda: pair.one.bms.is_charge_allowed)


@PRODUCTS
@pytest.mark.parametrize("seed", [5, 6])
def test_discharged_to_empty_rested_and_charged(product, seed):
    pair = Pair(product, seed=seed, soc=0.035)
    charge_w, discharge_w = POWER_W[product]
    pair.run(5.0)
    to_an_end_and_back(pair, discharge_w, charge_w, lambda: pair.one.bms.is_discharge_allowed)


@PRODUCTS
@pytest.mark.parametrize("soc", [0.985, 0.03])
def test_under_a_swing_at_an_end(product, soc):
    """Power goes back and forth each 2.5 s, where the curves are steepest."""
    pair = Pair(product, soc=soc)
    pair.run(5.0)
    charge_w, discharge_w = POWER_W[product]
    there_w, back_w = (charge_w, -0.2 * charge_w) if soc > 0.5 else (discharge_w, -0.2 * discharge_w)
    for turn in range(80):
        pair.command(back_w if turn % 2 else there_w)
        pair.run(2.5)
    assert pair.beyond() == {}


@PRODUCTS
@pytest.mark.parametrize("soc", [0.9, 0.004])
def test_days_at_rest(product, soc):
    """Self-discharge and ageing, to where the first cells are empty."""
    pair = Pair(product, soc=soc)
    for each in pair.both:
        each.is_heard = False
        each.rig.converter.turn_off()
    for _ in range(6):
        pair.run(43_200.0)
    assert pair.beyond() == {}


def test_a_strip_to_zero_volts():
    pair = Pair("zinc_halogen_rack", soc=0.004)
    pair.run(5.0)
    pair.command(-4500.0)
    pair.run(300.0)
    for each in pair.both:
        each.is_heard = False
        each.rig.converter.turn_off()
        each.rig.bms.open_contactors()
    pair.run(30.0)
    plated_ah = pair.one.string.capacity_ah
    for each in pair.both:
        each.rig.bms.start_strip(is_permitted=True)
    for _ in range(20):
        pair.run(300.0)
    assert pair.one.string.voltage_v < 0.3
    for each in pair.both:
        each.rig.string.set_balancing(np.ones(len(each.rig.string.cell_socs), dtype=bool))
    for _ in range(10):
        pair.run(600.0)
    assert float(pair.one.string.cell_voltages_v.max()) < 0.2
    assert pair.one.string.capacity_ah > plated_ah * 1.0001
    assert pair.beyond() == {}


def opened_s(product, soc, power_w, scale, **levels):
    """When a rack opens that is driven beyond a level of its cells, with nobody to hear it."""
    spec = replace(Pair(product, soc=soc).one.spec)
    spec = replace(
        spec,
        bms=replace(spec.bms, **levels),
        converter=replace(spec.converter, bms_timeout_s=None),
    )
    rig = RigPlant(spec, step_scale=scale)
    rig.converter.turn_on()
    rig.converter.hear_bms(500.0, 500.0, 80.0)
    rig.advance(5.0)
    rig.converter.set_power_w(power_w)
    while not rig.bms.alarms and rig.now_s < 4000.0:
        rig.advance(rig.now_s + 10.0)
    # The precharge contactor has opened before, once the link was charged.
    opened = [each for each in rig.bms.connection.operations if each.was_opening and each.time_s > 5.0]
    first = opened[0]
    return first.time_s, rig.bms.alarms


@pytest.mark.parametrize(
    ("product", "soc", "power_w", "alarm", "levels"),
    [
        ("lfp_rack", 0.985, -8000.0, "cell_over_voltage", {"charge_stop_cell_v": 9.0}),
        ("lfp_rack", 0.03, 5000.0, "cell_under_voltage", {"discharge_stop_cell_v": 0.1}),
    ],
)
def test_the_instant_at_which_a_cells_level_trips(product, soc, power_w, alarm, levels):
    (one_s, one), (two_s, two) = (opened_s(product, soc, power_w, scale, **levels) for scale in (1.0, 0.5))
    assert alarm in one
    assert one == two
    assert one_s == pytest.approx(two_s, abs=CONVERTER.level_s)


def struck(scale, steps, **converter):
    """A grid-tied rig with a load through a profile of the mains, and what became of it."""
    spec = PlantSpec(
        battery=BatterySpec(cells_in_parallel=67),
        converter=ConverterSpec(
            starts_on=True, bms_timeout_s=None, ride_through=ieee1547_category_2(), **converter
        ),
        grid=GridSpec(rise_time_s=0.0005, source_resistance_ohm=0.02, source_reactance_ohm=0.02),
        load=LoadSpec(kind=LoadKind.CONSTANT_POWER, power_w=3000.0, hold_up_s=0.02, restart_delay_s=0.5),
    )
    rig = RigPlant(spec, step_scale=scale)
    rig.converter.set_power_w(4000.0)
    rig.advance(10.0)
    rig.grid.play(list(steps))
    rig.advance(60.0)
    totals = rig.totals("pcs_ac")
    return {
        "tripped": rig.converter.tripped_s,
        "dead": rig.load.dead_s,
        "alarms": rig.converter.alarms,
        "mode": rig.converter.mode,
        "energy": (totals.energy_out_j, totals.energy_in_j),
        "hertz": rig.converter.frequency_hz,
        "residual": rig.balance().residual_fraction,
    }


SAGS = {
    "step down": [GridStep(3.0, (0.3,) * 3, 60.0)],
    "one phase": [GridStep(12.0, (1.0, 0.4, 1.0), 60.0)],
    "ramp down": [GridStep(4.0, (0.4,) * 3, 60.0, is_ramp=True), GridStep(3.0, (0.4,) * 3, 60.0)],
    "swell": [GridStep(2.0, (1.22,) * 3, 60.0)],
    "frequency ramp": [GridStep(3.0, (1.0,) * 3, 57.0, is_ramp=True), GridStep(5.0, (1.0,) * 3, 57.0)],
    "phase jump": [GridStep(2.0, (0.8,) * 3, 60.0, phase_jump_deg=40.0), GridStep(2.0, (1.0,) * 3, 60.0)],
    "recovers": [GridStep(0.1, (0.4,) * 3, 60.0), GridStep(5.0, (1.0,) * 3, 60.0)],
}


@pytest.mark.parametrize("islanding", [False, True])
@pytest.mark.parametrize("sag", SAGS)
def test_trips_transfers_and_dropouts(sag, islanding):
    one, two = (struck(scale, SAGS[sag], islanding=islanding) for scale in (1.0, 0.5))
    assert (one["alarms"], one["mode"]) == (two["alarms"], two["mode"])
    assert one["tripped"] == pytest.approx(two["tripped"], abs=CONVERTER.trip_s)
    assert one["dead"] == pytest.approx(two["dead"], abs=CONVERTER.trip_s)
    assert one["hertz"] == pytest.approx(two["hertz"], rel=CONVERTER.island)
    most_j = CONVERTER.change_s * 10_000.0 * 10.0
    assert one["energy"] == pytest.approx(two["energy"], rel=CONVERTER.energy, abs=most_j)
    assert one["residual"] < 1e-3
