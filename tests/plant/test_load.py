"""The load: power factor, inrush, restart."""

import math

import pytest

from harness.plant import (
    BatterySpec,
    ConverterSpec,
    GridSpec,
    LoadKind,
    LoadSpec,
    PlantSpec,
    RigPlant,
    RlcSpec,
)
from harness.roles import GridStep

NOMINAL_V = 115.470053838
ALL = (1.0, 1.0, 1.0)


def plant(step_scale=1.0, **load):
    grid = GridSpec(source_resistance_ohm=1e-4, source_reactance_ohm=1e-4)
    return RigPlant(PlantSpec(grid=grid, load=LoadSpec(**load)), step_scale=step_scale)


def mean_va(rig, from_s, to_s):
    rig.advance(from_s)
    start = rig.totals("load_ac")
    rig.advance(to_s)
    added = rig.totals("load_ac") - start
    return complex(added.energy_out_j, added.reactive_vars) / added.time_s


@pytest.mark.parametrize("kind", list(LoadKind))
@pytest.mark.parametrize("is_capacitive", [True, False])
def test_a_power_factor_makes_reactive_power(kind, is_capacitive):
    rig = plant(kind=kind, power_w=2000.0, power_factor=0.8, is_capacitive=is_capacitive)
    sign = -1.0 if is_capacitive else 1.0
    assert mean_va(rig, 1.0, 2.0) == pytest.approx(complex(2000.0, sign * 1500.0), rel=1e-3)
    rig.grid.set_voltage_v(0.9 * NOMINAL_V)
    part = 0.81 if kind is LoadKind.RESISTIVE else 1.0
    assert mean_va(rig, 3.0, 4.0) == pytest.approx(part * complex(2000.0, sign * 1500.0), rel=1e-3)
    rig.load.set_power_w(1000.0)
    assert mean_va(rig, 5.0, 6.0) == pytest.approx(0.5 * part * complex(2000.0, sign * 1500.0), rel=1e-3)


def test_a_load_restarts_a_delay_after_its_voltage_and_not_before():
    rig = plant(power_w=1000.0, restart_delay_s=3.0, hold_up_s=0.02)
    rig.grid.play(
        [
            GridStep(1.0, ALL, 60.0),
            GridStep(0.015, (1.0, 0.2, 1.0), 60.0),
            GridStep(1.0, ALL, 60.0),
            GridStep(0.5, (1.0, 0.2, 1.0), 60.0),
            GridStep(10.0, ALL, 60.0),
        ]
    )
    rig.advance(1.5)
    assert not rig.load.is_off
    rig.advance(2.015 + 0.0199)
    assert not rig.load.is_off
    rig.advance(2.015 + 0.0201)
    assert rig.load.is_off
    assert rig.load.power_w == 0.0
    rig.advance(2.515 + 2.9999)
    assert rig.load.power_w == 0.0
    rig.advance(2.515 + 3.0001)
    assert rig.load.power_w == pytest.approx(1000.0, rel=1e-3)
    assert rig.load.dead_s == pytest.approx(0.515, abs=1e-9)


def test_an_inrush_is_inductive_and_decays_with_its_time_constant():
    found = []
    for scale in (1.0, 0.5):
        rig = plant(power_w=3000.0, inrush_factor=8.0, inrush_time_constant_s=0.05, step_scale=scale)
        rig.advance(1.0)
        rig.grid.open_relay()
        rig.advance(2.0)
        rig.grid.close_relay()
        rig.advance(2.0)
        current_a = abs(rig.converter.flow.load_a[0])
        assert current_a == pytest.approx(math.hypot(1.0, 8.0) * 3000.0 / 3.0 / NOMINAL_V, rel=0.01)
        start = rig.totals("load_ac")
        rig.advance(2.05)
        added = rig.totals("load_ac") - start
        # The integral of 8 exp(-t / tau) over one time constant.
        expected_vars = 3000.0 * 8.0 * 0.05 * (1.0 - math.exp(-1.0))
        assert added.reactive_vars == pytest.approx(expected_vars, rel=3e-3)
        assert added.energy_out_j == pytest.approx(150.0, rel=1e-3)
        found.append(added.reactive_vars)
        rig.advance(4.0)
        assert mean_va(rig, 4.0, 5.0) == pytest.approx(3000.0, rel=1e-3)
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.parametrize(
    ("jump_deg", "part"), [(0.0, 0.0), (30.0, 0.258819), (120.0, 0.866025), (180.0, 1.0)]
)
def test_a_jump_of_the_supply_makes_an_inrush_by_its_angle(jump_deg, part):
    rig = plant(power_w=3000.0, inrush_factor=8.0, inrush_time_constant_s=1.0)
    rig.grid.play([GridStep(1.0, ALL, 60.0), GridStep(5.0, ALL, 60.0, phase_jump_deg=jump_deg)])
    rig.advance(1.0)
    reactive_var = rig.converter.flow.load_a[0].imag * -3.0 * NOMINAL_V
    assert reactive_var == pytest.approx(part * 8.0 * 3000.0, rel=0.01, abs=1.0)


@pytest.mark.parametrize(("inductive_var", "trips"), [(5000.0, False), (9000.0, True)])
def test_an_island_carries_reactive_power_up_to_the_converters_rating(inductive_var, trips):
    """6 kW with 5 kvar are 7.8 kVA, with 9 kvar 10.8 kVA: more than the 10 kVA that it may carry for long."""
    spec = PlantSpec(
        battery=BatterySpec(cells_in_parallel=67),
        converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
        load=LoadSpec(
            power_w=6000.0, rlc=RlcSpec(power_w=0.0, inductive_var=inductive_var, capacitive_var=0.0)
        ),
    )
    rig = RigPlant(spec)
    rig.at(5.0, rig.grid.open_relay)
    rig.advance(10.0)
    assert rig.converter.is_grid_forming
    assert rig.converter.reactive_power_var == pytest.approx(inductive_var, rel=1e-6)
    rig.advance(20.0)
    assert rig.converter.alarms == ({"overload"} if trips else set())


@pytest.mark.parametrize(
    "bad",
    [
        {"power_factor": 0.0},
        {"power_factor": 1.1},
        {"power_w": -1.0},
        {"inrush_factor": -1.0},
        {"inrush_time_constant_s": 0.0},
        {"hold_up_s": math.nan},
        {"restart_delay_s": -1.0},
    ],
)
def test_impossible_loads_are_refused(bad):
    with pytest.raises(ValueError, match=rf"load: {next(iter(bad))}=.*; allowed"):
        LoadSpec(**bad)


def test_impossible_sources_are_refused():
    with pytest.raises(ValueError, match=r"grid: rise_time_s=-1.0; allowed"):
        GridSpec(rise_time_s=-1.0)
    with pytest.raises(ValueError, match=r"rlc load: inductive_var=-1.0; allowed"):
        RlcSpec(power_w=1.0, inductive_var=-1.0, capacitive_var=0.0)
