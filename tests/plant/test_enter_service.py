"""Coming back to the mains: windows, delays, what is drawn, the ramp, the gap on the way from an island."""

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.plant import EnterService, PlantSpec, RigPlant
from harness.roles import OperatingState

from .test_converter import NOMINAL_V, level, rig_with

ALONE = {"islanding": False, "transfer_below_pu": None}


def tripped_rig(**enter):
    """A converter that UV2 takes off at 5.16 s, with good mains from 5.3 s on."""
    rig = rig_with(8000.0, enter_service=EnterService(**enter), response_s=0.001, **ALONE)
    rig.grid.play([level(0.3, 0.3), level(1.0, 5000.0)])
    rig.advance(5.4)
    assert rig.converter.state is OperatingState.FAULT
    return rig


@pytest.mark.parametrize(("delay_s", "ramp_s"), [(300.0, 300.0), (1.0, 1000.0), (600.0, 1.0), (10.0, 0.0)])
def test_no_export_before_the_delay_and_the_rating_at_the_end_of_the_ramp(delay_s, ramp_s):
    """IEEE 1547-2018, table 4; judged at 98.5 % by IEEE 1547.1."""
    rig = tripped_rig(delay_s=delay_s, ramp_s=ramp_s)
    began_s = 5.3 + delay_s
    rig.advance(began_s - 0.001)
    assert rig.converter.power_w == 0.0
    assert rig.converter.enter_service_left_s == pytest.approx(0.001, abs=1e-9)
    for part in (0.25, 0.5):
        rig.advance(began_s + part * ramp_s)
        expected_w = min(part * 10_000.0, 8000.0) if ramp_s else 0.0
        # Five milliseconds of the current behind the ramp.
        assert rig.converter.power_w == pytest.approx(expected_w, abs=1.0 + 60.0 / max(ramp_s, 1.0))
    rig.advance(began_s + ramp_s + 1.0)
    assert rig.converter.power_w == pytest.approx(8000.0, rel=1e-4)


def test_the_delay_starts_anew_after_a_short_excursion():
    rig = rig_with(8000.0, enter_service=EnterService(delay_s=10.0), **ALONE)
    rig.grid.play([level(0.3, 0.3), level(1.0, 6.0), level(1.0, 0.08, 60.2), level(1.0, 5000.0)])
    rig.advance(5.3 + 6.0 + 0.08 + 9.99)
    assert rig.converter.power_w == 0.0
    rig.advance(5.3 + 6.0 + 0.08 + 11.0)
    assert rig.converter.power_w > 0.0


@pytest.mark.parametrize(
    ("steady", "is_good"),
    [
        (level(0.92, 99.0), True), (level(0.91, 99.0), False), (level(1.04, 99.0), True),
        (level(1.06, 99.0), False), (level(1.0, 99.0, 59.52), True), (level(1.0, 99.0, 59.48), False),
        (level(1.0, 99.0, 60.12), False),
    ],
)  # fmt: skip
def test_only_a_good_grid_counts(steady, is_good):
    rig = rig_with(8000.0, enter_service=EnterService(delay_s=10.0), **ALONE)
    rig.grid.play([level(0.3, 0.3), steady])
    rig.advance(30.0)
    assert (rig.converter.power_w > 0.0) is is_good


def test_what_is_drawn_differs_by_seed_and_time_and_not_by_run():
    def entered_s(seed, times=1):
        enter = EnterService(delay_s=1.0, random_delay_s=100.0)
        base = rig_with(8000.0, ready_s=0.0, enter_service=enter, **ALONE)
        rig = RigPlant(replace(base.spec, seed=seed))
        rig.converter.set_power_w(8000.0)
        found = []
        rig.advance(150.0)
        for _ in range(times):
            start_s = rig.now_s
            rig.grid.play([level(0.3, 0.3), level(1.0, 150.0)])
            rig.advance(start_s + 0.4)
            found.append(rig.converter.enter_service_left_s + 0.1 - 1.0)
            rig.advance(start_s + 150.0)
            assert rig.converter.power_w > 0.0
        return found

    first, second = entered_s(1, 2)
    assert [first, second] == entered_s(1, 2)
    assert first != second
    assert first != entered_s(2)[0]
    assert all(0.0 < drawn_s < 100.0 for drawn_s in (first, second))


def test_what_ieee_1547_leaves_is_said():
    assert EnterService(delay_s=300.0, ramp_s=300.0).mistakes(10_000.0) == ()
    assert EnterService(random_delay_s=300.0).mistakes(10_000.0) == ()
    assert "delay_s=900; allowed 0 to 600" in EnterService(delay_s=900.0).mistakes(10_000.0)
    assert any("below 500 kVA" in mistake for mistake in EnterService(random_delay_s=3.0).mistakes(600e3))
    assert EnterService(random_delay_s=3.0, ramp_s=5.0).mistakes(10_000.0)


@pytest.mark.parametrize("gap_s", [0.004, 0.02])
def test_the_way_back_from_an_island_has_its_gap(gap_s):
    rig = rig_with(-4000.0, load_w=3000.0, enter_service=EnterService(delay_s=2.0), return_gap_s=gap_s)
    rig.grid.open_relay()
    rig.advance(6.0)
    rig.grid.close_relay()
    rig.advance(8.5)
    assert rig.converter.is_grid_forming
    dead_s = rig.load.dead_s
    rig.advance(12.0)
    assert rig.converter.is_connected
    assert rig.load.dead_s - dead_s == pytest.approx(gap_s, abs=1e-9)
    samples = np.abs(rig.waveform("load_ac.u1_v", 8.5, 100_000.0, 100_000))
    assert np.count_nonzero(samples == 0.0) * 1e-5 == pytest.approx(gap_s, abs=3e-5)
    assert rig.load.voltage_v(1) == pytest.approx(NOMINAL_V, rel=1e-3)
    assert rig.converter.power_w == pytest.approx(-4000.0, rel=1e-3)


def test_an_island_forgets_a_ramp_of_enter_service():
    rig = rig_with(4000.0, load_w=3000.0, enter_service=EnterService(delay_s=2.0, ramp_s=100.0), ready_s=3.0)
    early_w = rig.converter.power_w
    rig.advance(3.5)
    assert rig.converter.power_w - early_w == pytest.approx(50.0, abs=0.1)
    rig.grid.open_relay()
    rig.advance(4.0)
    assert rig.converter.power_w == pytest.approx(3000.0)
    assert math.isinf(rig.converter._entered_s)
    assert isinstance(rig.spec, PlantSpec)
