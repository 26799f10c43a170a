"""An emulated battery beside real devices follows a measured current, and no stale one."""

import math
from dataclasses import replace

import pytest

from harness.plant import BatterySpec, BmsSpec, CellSpread, ConverterSpec, PlantSpec, RigPlant
from harness.plant.followed import FollowedBattery

SPEC = PlantSpec(
    battery=BatterySpec(cells_in_parallel=67, spread=CellSpread(capacity=0.0, resistance=0.0)),
    converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
)


def battery(stale_s=3.0, **bms):
    made = FollowedBattery(replace(SPEC, bms=BmsSpec(**bms)), stale_s=stale_s)
    made.advance(10.0)
    assert made.bms.contactor_closed
    return made


def moved_c(made):
    return made.string.capacity_ah * 3600.0 * (0.5 - made.string.soc)


def test_a_current_that_is_measured_each_second_moves_its_charge():
    made = battery()
    before_c = moved_c(made)
    for second in range(600):
        made.follow(100.0, 10.0 + second)
        made.advance(11.0 + second)
    assert made.bms.current_a == pytest.approx(100.0, rel=0.01)
    assert moved_c(made) - before_c == pytest.approx(60_000.0, rel=1e-3)


def test_it_agrees_with_the_whole_plant_under_the_same_current():
    """Both are the same cells: state of charge and voltage follow the plant's own battery current."""
    whole = RigPlant(SPEC)
    made = FollowedBattery(SPEC, stale_s=3.0)
    whole.advance(10.0)
    made.advance(10.0)
    whole.converter.set_power_w(5000.0)
    for second in range(10, 900):
        whole.advance(second + 1.0)
        made.follow(whole.string.current_a, float(second))
        made.advance(second + 1.0)
    assert whole.string.current_a > 50.0
    assert made.string.soc == pytest.approx(whole.string.soc, abs=2e-4)
    assert made.string.voltage_v == pytest.approx(whole.string.voltage_v, abs=0.02)


def test_a_stale_current_counts_as_zero_from_the_moment_it_is_stale():
    """Once it is looked at much later, no more charge has moved than until then."""
    made, at_rest = battery(stale_s=3.0), battery()
    made.follow(100.0, 10.0)
    for each in (made, at_rest):
        each.advance(1000.0)
    assert made.string.current_a == 0.0
    assert moved_c(made) - moved_c(at_rest) == pytest.approx(300.0, rel=1e-3)  # the rest is self-discharge


@pytest.mark.parametrize("no_number", [math.nan, math.inf])
def test_what_is_no_number_is_no_current(no_number):
    made = battery()
    made.follow(100.0, 10.0)
    made.follow(no_number, 11.0)
    made.advance(12.0)
    assert made.string.current_a == 0.0


def test_an_old_answer_neither_turns_time_back_nor_lives_longer():
    made = battery(stale_s=3.0)
    before_c = moved_c(made)
    made.advance(12.0)
    made.follow(100.0, 10.0)
    made.advance(30.0)
    assert moved_c(made) - before_c == pytest.approx(100.0, rel=0.02)
    with pytest.raises(ValueError, match="allowed the present and later"):
        made.advance(29.0)


def test_a_trip_opens_its_contactors_and_what_flows_past_moves_no_charge():
    made = battery(alarm_delay_s=1.0)
    for second in range(5):
        made.follow(5000.0, 10.0 + second)
        made.advance(11.0 + second)
    assert made.bms.alarms
    assert not made.bms.is_supplying
    left_c = moved_c(made)
    made.follow(5000.0, 20.0)
    made.advance(22.0)
    assert moved_c(made) == pytest.approx(left_c, abs=1.0)
