"""Droop, volt-var, volt-watt, watt-var, power factor, priority: closed forms on the plant."""

import math
from dataclasses import replace

import pytest

from harness.plant import (
    ConstantPowerFactor,
    FrequencyDroop,
    GridSpec,
    GridSupportSpec,
    PlantSpec,
    Priority,
    RigPlant,
    VoltVar,
    VoltWatt,
    WattVar,
)
from harness.plant.grid_support import in_circle, on_curve
from harness.plant.ride_through import ieee1547_category_3, japan_frt

from .test_converter import STIFF, level, rig_with

QUICK = {"response_s": 0.001, "ramp_w_per_s": 1e9, "ramp_var_per_s": 1e9, "transfer_below_pu": None}
WIDE = ieee1547_category_3()


@pytest.mark.parametrize(("hertz", "percent"), [(50.0, 4.0), (60.0, 100.0 / 30.0)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_droop_of_5_percent_gives_its_share_of_the_rating_for_a_tenth_of_a_hertz(hertz, percent, sign):
    """4.00 % at 50 Hz and 3.33 % at 60 Hz, beyond the dead band."""
    droop = FrequencyDroop.japan_primary_reserve()
    rig = rig_with(
        2000.0,
        grid=replace(STIFF, frequency_hz=hertz),
        nominal_frequency_hz=hertz,
        ride_through=japan_frt(hertz),
        grid_support=GridSupportSpec(droop=droop),
        **QUICK,
    )
    moved_hz = sign * (0.1 + droop.over_dead_band_hz)
    rig.grid.play([level(1.0, 200.0, hertz + moved_hz)])
    rig.advance(rig.now_s + 60.0)
    change = (rig.converter.power_w - 2000.0) / 10_000.0
    assert change == pytest.approx(-sign * percent / 100.0, rel=1e-4)


def test_nothing_happens_in_the_dead_band():
    rig = rig_with(2000.0, grid_support=GridSupportSpec(droop=FrequencyDroop.default()), **QUICK)
    rig.grid.play([level(1.0, 200.0, 60.035)])
    rig.advance(65.0)
    assert rig.converter.power_w == pytest.approx(2000.0, rel=1e-5)


def test_droop_is_cut_at_the_rating_and_reaches_into_charging():
    rig = rig_with(9500.0, grid_support=GridSupportSpec(droop=FrequencyDroop.default()), **QUICK)
    rig.grid.play([level(1.0, 60.0, 59.0), level(1.0, 60.0, 61.1)])
    rig.advance(60.0)
    assert rig.converter.power_w == pytest.approx(10_000.0, rel=1e-4)
    rig.converter.set_power_w(1000.0)
    rig.advance(110.0)
    expected_w = 1000.0 - 10_000.0 * (1.1 - 0.036) / (60.0 * 0.05)
    assert rig.converter.power_w == pytest.approx(expected_w, abs=2.0)
    assert rig.string.current_a < 0.0


@pytest.mark.parametrize(
    ("support", "stimulus", "response_s", "whole"),
    [
        (GridSupportSpec(droop=FrequencyDroop.default()), level(1.0, 99.0, 60.336), 5.0, -1000.0 + 0j),
        (GridSupportSpec(reactive=VoltVar.default("B")), level(0.95, 99.0), 5.0, 0.22e4j),
        (GridSupportSpec(reactive=VoltVar.default("A")), level(1.05, 99.0), 10.0, -0.125e4j),
        (GridSupportSpec(volt_watt=VoltWatt.default()), level(1.09, 99.0), 10.0, -2000.0 + 0j),
    ],
)
def test_ninety_percent_are_there_at_the_response_time(support, stimulus, response_s, whole):
    """Y(t) = Y0 + (Yss - Y0) (1 - exp(-2.303 t / Tr)); volt-watt limits what lies above it, from 1.0 down."""
    rig = rig_with(6000.0, ride_through=WIDE, grid_support=support, **QUICK)
    rig.grid.play([stimulus])
    for part in (0.5, 1.0, 2.0):
        rig.advance(5.0 + part * response_s)
        given = complex(rig.converter.power_w - 6000.0, rig.converter.reactive_power_var)
        share = 1.0 - 10.0**-part
        expected = whole * share
        if support.volt_watt is not None:
            expected = min(10_000.0 - 6000.0 * share, 6000.0) - 6000.0
        # A current loop of 5 ms behind.
        assert given == pytest.approx(expected, abs=0.004 * abs(whole))


@pytest.mark.parametrize(
    ("priority", "expected"),
    [(Priority.ACTIVE, 9000.0 + 4358.9j), (Priority.REACTIVE, 8979.98 + 4400.0j)],
)
def test_the_one_or_the_other_gives_way_at_the_circle(priority, expected):
    support = GridSupportSpec(reactive=VoltVar.default("B"), priority=priority)
    rig = rig_with(9000.0, ride_through=WIDE, grid_support=support, **QUICK)
    rig.grid.play([level(0.90, 99.0)])
    rig.advance(60.0)
    given = complex(rig.converter.power_w, rig.converter.reactive_power_var)
    assert given == pytest.approx(expected, abs=2.0)


def test_a_constant_power_factor_holds_at_the_circle_too():
    support = GridSupportSpec(reactive=ConstantPowerFactor(power_factor=0.9, injects=False))
    rig = rig_with(10_000.0, grid_support=support, **QUICK)
    power, reactive = rig.converter.power_w, rig.converter.reactive_power_var
    assert math.hypot(power, reactive) == pytest.approx(10_000.0, rel=1e-4)
    assert reactive / power == pytest.approx(-math.tan(math.acos(0.9)), rel=1e-4)


def test_watt_var_knows_charging():
    support = GridSupportSpec(reactive=WattVar.default("B"))
    rig = rig_with(-7500.0, ready_s=60.0, grid_support=support, **QUICK)
    assert rig.converter.reactive_power_var == pytest.approx(0.22 * 10_000.0, abs=5.0)


def test_the_current_limit_leaves_the_power_that_has_priority():
    """At 0.6 pu the limit of 1.2 pu is 7.2 kVA."""
    for priority, expected in (
        (Priority.ACTIVE, complex(6000.0, math.sqrt(7200.0**2 - 6000.0**2))),
        (Priority.REACTIVE, complex(math.sqrt(7200.0**2 - 6000.0**2), 6000.0)),
    ):
        rig = rig_with(6000.0, ride_through=WIDE, grid_support=GridSupportSpec(priority=priority), **QUICK)
        rig.converter.set_reactive_power_var(6000.0)
        rig.grid.play([level(1.0, 1.0), level(0.6, 5.0)])
        rig.advance(8.0)
        given = complex(rig.converter.power_w, rig.converter.reactive_power_var)
        assert given == pytest.approx(expected, abs=5.0)


def test_a_function_that_is_switched_while_it_runs_takes_over():
    rig = rig_with(6000.0, grid_support=GridSupportSpec(), **QUICK)
    rig.converter.set_reactive_power_var(1000.0)
    rig.advance(7.0)
    assert rig.converter.reactive_power_var == pytest.approx(1000.0, rel=1e-4)
    function = ConstantPowerFactor(power_factor=0.95)
    rig.converter.set_grid_support(rig.converter.grid_support.with_reactive(function))
    rig.advance(9.0)
    assert rig.converter.reactive_power_var == pytest.approx(6000.0 * function.ratio, rel=1e-3)
    rig.converter.set_grid_support(rig.converter.grid_support.with_reactive(None))
    rig.advance(11.0)
    assert rig.converter.reactive_power_var == pytest.approx(1000.0, rel=1e-3)


def test_halving_each_step_moves_nothing_that_is_judged():
    """All functions at once behind a source of 3 % impedance, through a ramp and a sag; stated: 0.1 %."""
    support = GridSupportSpec(
        reactive=VoltVar.default("B"),
        volt_watt=VoltWatt.default(),
        droop=FrequencyDroop.default(),
        priority=Priority.REACTIVE,
    )
    ends = []
    for scale in (1.0, 0.5):
        base = rig_with(0.0, ready_s=0.0).spec
        spec = PlantSpec(
            battery=base.battery,
            converter=replace(base.converter, ride_through=WIDE, grid_support=support),
            grid=GridSpec(source_resistance_ohm=0.04, source_reactance_ohm=0.12),
            load=base.load,
        )
        rig = RigPlant(spec, step_scale=scale)
        rig.converter.set_power_w(7000.0)
        rig.advance(10.0)
        rig.grid.play(
            [level(0.95, 4.0, 60.4, is_ramp=True), level(0.95, 5.0, 60.4), level(0.6, 0.5), level(1.0, 9.0)]
        )
        seen = []
        for at_s in (11.0, 13.5, 16.0, 19.0, 19.3, 19.6, 22.0):
            rig.advance(at_s)
            seen.append(complex(rig.converter.power_w, rig.converter.reactive_power_var))
        seen.append(complex(rig.totals("pcs_ac").energy_out_j / 20.0))
        ends.append(seen)
    assert ends[0] == pytest.approx(ends[1], abs=10.0)


def test_what_is_off_leaves_no_trace():
    """A converter without functions makes the same steps and currents as one that never heard of them."""
    rig = rig_with(5000.0)
    assert rig.converter._support is None
    rig.advance(100.0)
    assert rig.converter.is_standing


@pytest.mark.parametrize(
    ("value", "priority", "expected"),
    [
        (3 + 4j, Priority.ACTIVE, 3 + 4j),
        (4 + 9j, Priority.ACTIVE, 4 + 3j),
        (4 - 9j, Priority.ACTIVE, 4 - 3j),
        (9 + 4j, Priority.REACTIVE, 3 + 4j),
        (-9 + 4j, Priority.REACTIVE, -3 + 4j),
        (9 + 1j, Priority.ACTIVE, 5 + 0j),
    ],
)
def test_the_circle(value, priority, expected):
    assert in_circle(value, 5.0, priority) == pytest.approx(expected)


def test_a_curve_is_flat_beyond_its_ends_and_takes_the_far_side_of_a_jump():
    points = ((0.9, 1.0), (1.0, 0.5), (1.0, 0.2), (1.1, 0.0))
    found = [on_curve(points, place) for place in (0.5, 0.95, 1.0, 1.05, 2.0)]
    assert found == pytest.approx([1.0, 0.75, 0.2, 0.1, 0.0])


@pytest.mark.parametrize("normal", ["A", "B"])
@pytest.mark.parametrize("abnormal", ["I", "II", "III"])
def test_defaults_lie_in_the_ranges_of_their_categories(normal, abnormal):
    support = GridSupportSpec(
        reactive=VoltVar.default(normal), volt_watt=VoltWatt.default(), droop=FrequencyDroop.default()
    )
    assert support.mistakes(normal, abnormal) == ()
    assert support.with_reactive(WattVar.default(normal)).mistakes(normal, abnormal) == ()


@pytest.mark.parametrize(
    ("support", "words"),
    [
        (
            GridSupportSpec(droop=FrequencyDroop(over_droop=0.02)),
            "droop.over_droop=0.02; allowed 0.03 to 0.05",
        ),
        (GridSupportSpec(droop=FrequencyDroop(response_s=0.5)), "droop.response_s=0.5; allowed 1 to 10"),
        (GridSupportSpec(volt_watt=VoltWatt(response_s=61.0)), "volt_watt.response_s=61; allowed 0.5 to 60"),
        (GridSupportSpec(most_absorbed_pu=0.4), "most_absorbed_pu=0.4; allowed 0.44 to 1"),
        (
            GridSupportSpec(reactive=VoltVar(curve=((0.92, 0.44), (0.9, 0.0), (1.02, 0.0), (1.08, -0.44)))),
            "volt_var.V2=0.9; allowed 0.97 to 1",
        ),
    ],
)
def test_a_setting_out_of_its_range_is_said_with_what_is_allowed(support, words):
    assert words in support.mistakes("B", "II")
