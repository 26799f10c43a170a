"""The order of equal instants moves nothing, not by a bit: commands, mains, contactors, faults, loads."""

from dataclasses import replace

import numpy as np
import pytest

from harness.plant import RigPlant, Side
from harness.plant.contactors import ContactorFault
from harness.plant.server_rack import RackPlant, Swing, hpr_rack, orv3_rack
from harness.roles import GridStep

from .test_everything_on import EVERYTHING

INSTANT_S = 8.0
"""At which all of it happens; the mains have a breakpoint there too."""


def one(draw, choices):
    return choices[int(draw.integers(len(choices)))]


def some(draw, choices, count):
    return [choices[place] for place in draw.permutation(len(choices))[:count]]


def of_a_rig(rig, draw):
    """One act for each thing that can be told something, so that none takes another back."""
    connection, value = rig.bms.connection, draw.uniform
    contactor = connection.contactors[int(draw.integers(3))]
    fault = one(draw, list(ContactorFault))
    relay = rig.grid.open_relay
    switch = one(draw, [lambda: rig.switch.transfer_to(Side.STANDBY), rig.standby.start])
    load_w, power_w, reactive_var = value(0.0, 9000.0), value(-8000.0, 8000.0), value(-4000.0, 4000.0)
    curtailed_w, heard_a, degc = value(0.0, 4000.0), value(20.0, 200.0), value(10.0, 40.0)
    acts = [
        lambda: rig.load.set_power_w(load_w),
        lambda: rig.converter.set_power_w(power_w),
        lambda: rig.converter.set_reactive_power_var(reactive_var),
        lambda: rig.solar.curtail(curtailed_w),
        lambda: rig.converter.hear_bms(heard_a, heard_a, 56.0),
        switch,
        one(draw, [relay, lambda: rig.grid.play([GridStep(0.4, (0.4, 1.0, 0.7), 60.5)])]),
        one(draw, [rig.bms.open_contactors, lambda: connection.link.fail(discharge_ohm=40.0)]),
        lambda: connection.fail(contactor, fault),
        one(
            draw,
            [
                lambda: setattr(rig.string, "ambient_degc", degc),
                lambda: rig.string.set_cooling(is_on=False),
            ],
        ),
    ]
    return some(draw, acts, int(draw.integers(4, len(acts) + 1)))


def rig_of(seed):
    """A rig, the same for a seed each time, and what happens to it."""
    draw = np.random.default_rng(seed)
    spec = replace(
        EVERYTHING,
        seed=seed,
        battery=replace(EVERYTHING.battery, strings=one(draw, [1, 1, 2]), soc=one(draw, [0.02, 0.5, 0.98])),
        converter=replace(EVERYTHING.converter, islanding=one(draw, [True, True, False])),
    )
    rig = RigPlant(spec)
    rig.grid.play([GridStep(INSTANT_S, (1.0,) * 3, 60.0), GridStep(1.0, (0.95,) * 3, 60.0)])
    rig.converter.set_power_w(one(draw, [-1000.0, 2000.0]))
    return rig, of_a_rig(rig, draw)


def said_by(rig):
    """Everything that is judged, to the last bit."""
    nodes = ("grid_ac", "pcs_ac", "load_ac", "standby_ac", "solar_ac", "battery_dc")
    operations = rig.bms.connection.operations
    return {
        **{node: rig.totals(node) for node in nodes},
        "cells": rig.string.cell_voltages_v.tolist(),
        "warmth": rig.string.cell_temperatures_degc.tolist(),
        "soc": (rig.string.soc, rig.bms.soc),
        "contactors": [(each.time_s, each.name, each.was_opening, each.is_closed) for each in operations],
        "alarms": (rig.bms.alarms, rig.converter.alarms, rig.converter.mode),
        "instants": (rig.converter.tripped_s, rig.load.dead_s, rig.standby.turns, rig.switch.transfers),
        "power": (rig.converter.power_w, rig.converter.reactive_power_var, rig.converter.frequency_hz),
    }


@pytest.mark.parametrize("seed", range(24))
def test_a_rig_tells_the_same_in_any_order(seed):
    found = []
    for turn in range(3):
        rig, acts = rig_of(seed)
        if turn:
            acts = some(np.random.default_rng((seed, turn)), acts, len(acts))
        for act in acts:
            rig.at(INSTANT_S, act)
        rig.advance(INSTANT_S + 12.0)
        found.append(said_by(rig))
    for other in found[1:]:
        assert {name for name in other if other[name] != found[0][name]} == set()


def of_a_rack(rack, draw):
    rectifier, module = int(draw.integers(len(rack.rectifiers))), int(draw.integers(len(rack.modules)))
    cap_w = draw.uniform(4000.0, 12_000.0)
    swing = Swing(low_w=3000.0, high_w=9000.0, frequency_hz=1.0, ramp_s=0.02, seed=int(draw.integers(9)))
    sag = [GridStep(0.4, (0.3, 1.0, 0.6), 50.0), GridStep(1.0, (1.0,) * 3, 50.0)]
    acts = [
        lambda: rack.fail_rectifier(rectifier),
        lambda: rack.fail_module(module),
        lambda: rack.set_cap_w(cap_w),
        lambda: rack.set_load(swing.pieces()),
        one(draw, [rack.grid.open_relay, lambda: rack.grid.play(sag)]),
        lambda: rack.force_ac_loss(is_forced=True),
    ]
    return some(draw, acts, int(draw.integers(3, len(acts) + 1)))


@pytest.mark.parametrize("seed", range(16))
def test_a_rack_tells_the_same_in_any_order(seed):
    found = []
    for turn in range(3):
        draw = np.random.default_rng(seed)
        spec = one(draw, [orv3_rack, hpr_rack])()
        pack = replace(spec.backup.pack, soc=one(draw, [0.003, 0.6]))
        # The load steps at the same instant by itself.
        base = Swing(low_w=4000.0, high_w=12_000.0, frequency_hz=0.5, ramp_s=0.0, seed=seed)
        rack = RackPlant(replace(spec, seed=seed, backup=replace(spec.backup, pack=pack)), base.pieces())
        acts = of_a_rack(rack, draw)
        if turn:
            acts = some(np.random.default_rng((seed, turn)), acts, len(acts))
        for act in acts:
            rack.at(3.0, act)
        rack.at(5.0, lambda rack=rack: rack.force_ac_loss(is_forced=False))
        rack.at(5.0, rack.grid.close_relay)
        rack.advance(12.0)
        modules = [(m.pack.soc, m.charge_w, m.discharges, m.is_charging) for m in rack.modules]
        servers = [(s.resets, s.last_reset_s, s.is_throttled) for s in rack.servers]
        found.append((rack.balance(), rack.bus_v, rack.least_shelf_v, modules, servers))
    assert found[1] == found[0]
    assert found[2] == found[0]
