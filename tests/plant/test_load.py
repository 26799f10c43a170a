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
from harness.plant.load import CriticalLoad
from harness.plant.network import Infeed, balanced, power_va, tie
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
    ("jump_deg", "part"), [(0.0, 0.0), (30.0, 0.517638), (120.0, 1.732051), (180.0, 2.0)]
)
def test_a_jump_of_the_supply_makes_an_inrush_by_its_angle(jump_deg, part):
    rig = plant(power_w=3000.0, inrush_factor=8.0, inrush_time_constant_s=1.0)
    rig.grid.play([GridStep(1.0, ALL, 60.0), GridStep(5.0, ALL, 60.0, phase_jump_deg=jump_deg)])
    rig.advance(1.0)
    reactive_var = rig.converter.flow.load_a[0].imag * -3.0 * NOMINAL_V
    assert reactive_var == pytest.approx(part * 8.0 * 3000.0, rel=0.01, abs=1.0)


@pytest.mark.parametrize("gap_s", [0.001, 0.019, 0.021, 0.06, 2.0])
def test_an_inrush_after_a_gap_fades_into_that_of_a_cold_core(gap_s):
    """No jump of the angle: 1 - exp(-g / 20 ms), with no edge at any gap."""
    rig = plant(power_w=3000.0, inrush_factor=8.0, inrush_time_constant_s=1.0)
    rig.grid.play([GridStep(1.0, ALL, 60.0), GridStep(gap_s, (0.0,) * 3, 60.0), GridStep(9.0, ALL, 60.0)])
    rig.advance(1.0 + gap_s)
    reactive_var = rig.converter.flow.load_a[0].imag * -3.0 * NOMINAL_V
    assert reactive_var == pytest.approx(8.0 * 3000.0 * (1.0 - math.exp(-gap_s / 0.02)), rel=0.01)


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


LINES_OHM = [0.005 + 0.005j, 0.1 + 0.1j, 0.3 + 0.3j, 1.0 + 1.0j, 0.5j, -0.2j]


def hungry(power_w, **load):
    return CriticalLoad(LoadSpec(kind=LoadKind.CONSTANT_POWER, power_w=power_w, **load))


@pytest.mark.parametrize("line_ohm", LINES_OHM)
@pytest.mark.parametrize(
    "load",
    [{}, {"power_factor": 0.7}, {"power_factor": 0.7, "is_capacitive": True}, {"rlc": RlcSpec.tuned(9e3)}],
)
@pytest.mark.parametrize("sun_w", [0.0, 5000.0])
def test_a_constant_power_keeps_kirchhoffs_laws_at_every_level(line_ohm, load, sun_w):
    """Down from nominal and up again, with phases that differ: currents are those of the voltages found."""
    one = hungry(6000.0, **load)
    feeding = set()
    for percent in (*range(120, 20, -1), *range(20, 120)):
        emf_v = balanced(NOMINAL_V * percent / 100.0)
        emf_v = (emf_v[0], 0.9 * emf_v[1], 1.1 * emf_v[2])
        pcs_a = balanced(4.0 - 2.0j)
        found = tie(emf_v, line_ohm, pcs_a, one, frequency_hz=60.0, solar=Infeed(sun_w, 40.0))
        admittance_s = one.admittance_s(60.0)
        for phase, volts in enumerate(found.bus_v):
            into_source_a = pcs_a[phase] + found.solar_a[phase] - found.load_a[phase]
            assert found.source_a[phase] == pytest.approx(into_source_a, abs=1e-9)
            assert volts == pytest.approx(emf_v[phase] + line_ohm * into_source_a, abs=1e-9)
            constant_va = volts * (found.load_a[phase] - admittance_s * volts).conjugate()
            feeding.add(abs(constant_va) > 1.0)
            if abs(constant_va) > 1.0:
                assert constant_va == pytest.approx(one.constant_va / 3.0, rel=1e-9)
                assert abs(volts) >= 0.5 * NOMINAL_V
        sun_va = power_va(found.bus_v, found.solar_a)
        assert sun_va.real <= sun_w + 1e-6
        if percent >= 80:
            assert sun_va.real == pytest.approx(sun_w, rel=1e-9)
    assert feeding >= {False}


@pytest.mark.parametrize("line_ohm", [0.8 + 0j, 0.8j, 0.5 + 0.5j])
def test_no_more_power_than_a_line_can_carry(line_ohm):
    """At a load without reactive power E² / 2 (|Z| + R) a phase, the maximum power transfer theorem's."""
    most_w = 3.0 * NOMINAL_V**2 / (2.0 * (abs(line_ohm) + line_ohm.real))
    below, above = (hungry(part * most_w, dead_below_pu=0.1) for part in (0.9999, 1.0001))
    emf_v, none_a = balanced(NOMINAL_V), balanced(0.0)
    drawn = tie(emf_v, line_ohm, none_a, below, frequency_hz=60.0)
    assert power_va(drawn.bus_v, drawn.load_a) == pytest.approx(0.9999 * most_w, rel=1e-9)
    gone = tie(emf_v, line_ohm, none_a, above, frequency_hz=60.0)
    assert gone.bus_v == emf_v
    assert gone.load_a == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("line_ohm", "power_w", "level"), [(0.1, 12_000.0, 0.54), (0.1, 6000.0, 0.51), (1.0, 12_000.0, 1.0)]
)
@pytest.mark.parametrize("restart_delay_s", [None, 0.05, 1.0])
def test_what_a_weak_source_does_not_carry_is_dead_and_the_energy_balances(
    line_ohm, power_w, level, restart_delay_s
):
    spec = PlantSpec(
        grid=GridSpec(source_resistance_ohm=line_ohm, source_reactance_ohm=line_ohm),
        load=LoadSpec(kind=LoadKind.CONSTANT_POWER, power_w=power_w, restart_delay_s=restart_delay_s),
    )
    rig = RigPlant(spec)
    rig.grid.play([GridStep(1.0, ALL, 60.0), GridStep(9.0, (level,) * 3, 60.0)])
    rig.advance(9.5)
    assert rig.load.is_dead
    assert rig.load.power_w == 0.0
    assert rig.load.dead_s == pytest.approx(8.5 if level < 1.0 else 9.5, abs=1e-9)
    assert rig.balance().residual_fraction < 1e-9
    rig.load.set_power_w(500.0)
    rig.advance(13.0)
    assert not rig.load.is_dead
    assert rig.load.power_w == pytest.approx(500.0)
    assert rig.balance().residual_fraction < 1e-6


@pytest.mark.parametrize("hold_up_s", [0.0, 0.02])
def test_an_impedance_that_a_weak_source_does_not_carry_tries_again_each_delay(hold_up_s):
    spec = PlantSpec(
        grid=GridSpec(source_resistance_ohm=1.0, source_reactance_ohm=1.0),
        load=LoadSpec(power_w=9000.0, dead_below_pu=0.85, restart_delay_s=1.0, hold_up_s=hold_up_s),
    )
    rig = RigPlant(spec)
    rig.advance(10.5)
    assert rig.load.is_off
    # What is carried meanwhile is carried for the hold-up of each try, at 0.80 pu.
    tries, level = 1 + int(10.5 / (1.0 + hold_up_s)), rig.spec.load.nominal_voltage_v
    carried_w = 9000.0 / abs(1.0 + (1.0 + 1.0j) * 9000.0 / 3.0 / level**2) ** 2
    assert rig.totals("load_ac").energy_out_j == pytest.approx(tries * hold_up_s * carried_w, rel=1e-6)
    assert rig.balance().residual_fraction < 1e-9


def test_what_died_is_back_above_the_dead_band_and_not_within_it():
    rig = plant(kind=LoadKind.CONSTANT_POWER, power_w=3000.0, dead_band_pu=0.04)
    found = []
    for level in (0.51, 0.49, 0.51, 0.53, 0.55, 0.51, 0.49):
        rig.grid.set_voltage_v(level * NOMINAL_V)
        rig.advance(rig.now_s + 1.0)
        assert rig.load.power_w == pytest.approx(0.0 if rig.load.is_dead else 3000.0)
        found.append(rig.load.is_dead)
    assert found == [False, True, True, True, False, False, True]
    assert rig.load.dead_s == pytest.approx(4.0, abs=1e-9)


@pytest.mark.parametrize("kind", list(LoadKind))
def test_a_slow_ramp_kills_and_revives_at_its_levels(kind):
    rig = plant(kind=kind, power_w=3000.0, dead_band_pu=0.1)
    rig.grid.play(
        [GridStep(80.0, (0.2, 0.2, 0.2), 60.0, is_ramp=True), GridStep(80.0, ALL, 60.0, is_ramp=True)]
    )
    rig.advance(160.0)
    # A volt in 0.87 s: the line takes a few millivolt.
    assert rig.load.dead_s == pytest.approx(30.0 + 40.0, abs=0.02)
    halves = plant(0.5, kind=kind, power_w=3000.0, dead_band_pu=0.1)
    halves.grid.play(
        [GridStep(80.0, (0.2, 0.2, 0.2), 60.0, is_ramp=True), GridStep(80.0, ALL, 60.0, is_ramp=True)]
    )
    halves.advance(160.0)
    assert halves.load.dead_s == pytest.approx(rig.load.dead_s, abs=2e-5)


@pytest.mark.parametrize(
    "bad",
    [
        {"power_factor": 0.0},
        {"power_factor": 1.1},
        {"power_w": -1.0},
        {"dead_below_pu": -0.1},
        {"dead_band_pu": -0.1},
        {"inrush_factor": -1.0},
        {"inrush_time_constant_s": 0.0},
        {"hold_up_s": math.nan},
        {"restart_delay_s": -1.0},
        {"restart_delay_s": 0.0},
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
