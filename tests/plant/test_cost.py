"""What simulating costs, counted in looks and calls: it grows with events and cells, not with idle time."""

import sys

import pytest

from harness.plant import LoadKind, LoadSpec, PlantSpec, RigPlant, RlcSpec, ieee1547_category_2
from harness.plant.battery import BatteryString
from harness.plant.rack import battery
from harness.plant.spec import BatterySpec, CellSpread, ConverterSpec

UNEVEN = CellSpread(capacity=0.01, resistance=0.03, soc=0.005, thermal=0.1)


LOOK = BatteryString._look.__code__


def cost(act):
    """Count the looks at all cells of a string, and the calls of any function, that an act makes."""
    looks = count = 0

    def note(frame, event, _function):
        nonlocal looks, count
        count += event in {"call", "c_call"}
        looks += event == "call" and frame.f_code is LOOK

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return looks, count


def calls(act):
    return cost(act)[1]


def cycled(string, times):
    for _ in range(times):
        for current_a, seconds in ((1.0, 400), (0.0, 100), (-1.0, 400)):
            for _ in range(seconds):
                string.step(current_a * string.capacity_ah, 1.0)


def rest(one, seconds):
    for _ in range(seconds):
        one.step(0.0, 1.0)


def test_a_day_of_rest_costs_no_more_looks_than_what_leaks_asks_for():
    one = battery(BatterySpec(cells_in_series=16, spread=UNEVEN), 25.0, 1)
    one.step(one.capacity_ah, 120.0)
    rest(one, 7200)
    looks, _ = cost(lambda: rest(one, 86_400))
    # One where a ten-thousandth of the charge has leaked.
    leaked = one.chemistry.self_discharge_per_day / 1e-4
    assert leaked - 1 <= looks <= leaked + 1


@pytest.mark.parametrize("strings", [1, 4])
def test_looks_and_calls_grow_with_what_happens(strings):
    one = battery(BatterySpec(cells_in_series=16, strings=strings, spread=UNEVEN), 25.0, 1)
    cycled(one, 1)
    looks, few = cost(lambda: cycled(one, 1))
    more_looks, many = cost(lambda: cycled(one, 3))
    # A tenth of charge each way, a look each hundredth, and as many again for heat and for nodes.
    assert 20 <= looks / strings <= 60
    assert more_looks == pytest.approx(3 * looks, rel=0.1)
    assert many == pytest.approx(3 * few, rel=0.05)


def test_a_cell_more_costs_no_call():
    few, many = (
        calls(lambda count=count: cycled(battery(BatterySpec(cells_in_series=count), 25.0, 1), 1))
        for count in (64, 640)
    )
    # What is drawn at the start is drawn for each cell: capacity, resistance, state of charge and heat.
    built = [
        calls(lambda count=count: battery(BatterySpec(cells_in_series=count), 25.0, 1)) for count in (64, 640)
    ]
    # Cells of a longer string pass more nodes one by one.
    assert many - built[1] < 1.25 * (few - built[0])


def test_a_rig_at_rest_costs_a_step_a_minute():
    rig = RigPlant(PlantSpec(converter=ConverterSpec(bms_timeout_s=None)))
    rig.advance(3600.0)
    hour = calls(lambda: rig.advance(7200.0))
    day = calls(lambda: rig.advance(7200.0 + 86_400.0))
    assert day == pytest.approx(24 * hour, rel=0.1)
    # Looked at each second it steps each second, and looks at its cells no more often.

    def each_second():
        for second in range(1, 3601):
            rig.advance(93_600.0 + second)

    looks, _ = cost(each_second)
    assert looks <= 1


def left_alone(kind):
    """Opens the mains of coils, capacitors and a load that takes more than the converter gives."""
    spec = PlantSpec(
        battery=BatterySpec(cells_in_parallel=67),
        converter=ConverterSpec(
            starts_on=True,
            bms_timeout_s=None,
            islanding=False,
            ride_through=ieee1547_category_2(widest_under_voltage=True),
        ),
        load=LoadSpec(kind=kind, power_w=4000.0, rlc=RlcSpec.tuned(3000.0)),
    )
    rig = RigPlant(spec)
    rig.converter.hear_bms(200.0, 200.0, 56.0)
    rig.converter.set_power_w(4000.0)
    rig.advance(10.0)
    rig.grid.open_relay()
    return rig


def test_a_constant_power_that_gives_up_in_an_island_is_one_event():
    rigs = [left_alone(kind) for kind in (LoadKind.RESISTIVE, LoadKind.CONSTANT_POWER)]
    one, other = (calls(lambda rig=rig: rig.advance(10.02)) for rig in rigs)
    assert rigs[1].load.is_dead
    assert other < 2 * one
    assert rigs[1].load.power_w == pytest.approx(4000.0, rel=0.05)
