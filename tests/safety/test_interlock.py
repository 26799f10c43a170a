"""The interlock trips on what the rig does not survive, and on nothing else."""

from __future__ import annotations

import pytest

from harness.readings import Reading
from harness.rig.files import load_rig
from harness.safety.interlock import Interlock

from ..processes import LAB1

WELL = {"e_stop_released": True, "door_closed": True, "gas_clear": True, "insulation_ok": True}
HEALTHY = {
    "shunt.voltage_v": 52.0,
    "shunt.current_a": 10.0,
    "shunt.temperature_degc": 25.0,
    "safety.inputs": WELL,
    "bms.voltage_v": 52.0,
    "bms.current_a": 10.0,
}


@pytest.fixture
def interlock() -> Interlock:
    return Interlock(load_rig(LAB1), 0.0)


def show(interlock: Interlock, at_s: float, **changes: object) -> None:
    """Show all values as they are at a time, with changes by source (a dot written as two underscores)."""
    values = HEALTHY | {name.replace("__", "."): value for name, value in changes.items()}
    for source, value in values.items():
        interlock.observe(Reading(value, at_s, source))
    interlock.check(at_s)


def test_a_healthy_rig_runs_for_an_hour(interlock):
    for tick in range(36_000):
        show(interlock, 0.1 * tick)
    assert interlock.breach is None


@pytest.mark.parametrize(
    ("source", "inside", "outside"),
    [
        ("shunt.voltage_v", 58.8, 58.801),
        ("shunt.voltage_v", 36.0, 35.999),
        ("shunt.current_a", 280.0, 280.01),
        ("shunt.current_a", -280.0, -280.01),
        ("shunt.temperature_degc", 60.0, 60.1),
        ("shunt.temperature_degc", -5.0, -5.1),
    ],
)
def test_a_limit_trips_at_the_first_reading_beyond_it_and_not_at_it(interlock, source, inside, outside):
    interlock.observe(Reading(inside, 0.0, source))
    assert interlock.breach is None
    interlock.observe(Reading(outside, 0.1, source))
    assert interlock.breach is not None
    assert (interlock.breach.cause, interlock.breach.at_s) == ("limit", 0.1)
    assert source in interlock.breach.text
    assert f"{outside:.6g}" in interlock.breach.text


@pytest.mark.parametrize("contact", WELL)
def test_each_contact_trips_when_it_opens_or_is_not_told(interlock, contact):
    interlock.observe(Reading(WELL | {contact: False}, 0.2, "safety.inputs"))
    assert interlock.breach is not None
    assert interlock.breach.cause == "contact"
    assert f"safety.{contact} is off" in interlock.breach.text
    other = Interlock(load_rig(LAB1), 0.0)
    other.observe(Reading({name: True for name in WELL if name != contact}, 0.2, "safety.inputs"))
    assert other.breach is not None
    assert "not there" in other.breach.text


SILENCES = [("shunt.current_a", 0.3), ("safety.inputs", 0.3), ("bms.voltage_v", 3.0)]


@pytest.mark.parametrize(("source", "allowed_s"), SILENCES)
def test_silence_trips_after_three_periods_of_that_sensor(interlock, source, allowed_s):
    tick_s = 0.05
    for tick in range(200):
        at_s = tick * tick_s
        for each, value in HEALTHY.items():
            if each != source or tick == 0:
                interlock.observe(Reading(value, at_s, each))
        interlock.check(at_s)
        if interlock.breach is not None:
            break
    assert interlock.breach is not None
    assert interlock.breach.cause == "stale"
    assert interlock.breach.text.startswith(f"{source} is silent for ")
    assert allowed_s < interlock.breach.at_s <= allowed_s + 2 * tick_s


def test_a_product_that_says_otherwise_than_the_bench_trips_after_its_time(interlock):
    """A product that lags behind a ramp does not."""
    tripped_s = None
    for tick in range(100):
        at_s = 0.1 * tick
        wrong = 52.0 if tick < 20 or 30 <= tick < 40 else 54.1  # a second apart, then together, then for good
        show(interlock, at_s, bms__voltage_v=wrong)
        if interlock.breach is not None:
            tripped_s = at_s
            break
    assert interlock.breach is not None
    assert interlock.breach.cause == "disagreement"
    assert tripped_s == pytest.approx(4.0 + 3.0, abs=0.11)


def test_a_report_from_before_a_ramp_disagrees_with_nothing():
    """In virtual time the bench's sensor speaks each 5 s, and the product each second."""
    interlock = Interlock(load_rig(LAB1), 0.0, is_virtual=True)
    for second in range(60):
        volts = 52.0 if second < 11 else 56.0
        if second % 5 == 0:
            show(interlock, float(second), shunt__voltage_v=volts, bms__voltage_v=volts)
        interlock.observe(Reading(volts, float(second), "bms.voltage_v"))
        interlock.check(float(second))
        assert interlock.breach is None
    # A frozen product goes on speaking, and is found out all the same.
    for second in range(60, 80):
        interlock.observe(Reading(56.0, float(second), "bms.voltage_v"))
        if second % 5 == 0:
            show(interlock, float(second), shunt__voltage_v=53.0, bms__voltage_v=56.0)
        interlock.check(float(second))
    assert interlock.breach is not None
    assert interlock.breach.cause == "disagreement"


def test_the_first_breach_is_kept(interlock):
    interlock.observe(Reading(300.0, 0.1, "shunt.current_a"))
    first = interlock.breach
    interlock.observe(Reading(99.0, 0.2, "shunt.voltage_v"))
    interlock.check(100.0)
    assert interlock.breach is first


def test_says_what_has_not_spoken_yet(interlock):
    assert set(interlock.unseen) == set(HEALTHY)
    interlock.observe(Reading(52.0, 0.0, "shunt.voltage_v"))
    assert set(interlock.unseen) == HEALTHY.keys() - {"shunt.voltage_v"}


def test_a_fault_that_was_inserted_excuses_the_product_and_never_the_bench(interlock):
    def show_bench(first: int, last: int) -> None:
        for tick in range(first, last):
            at_s = 0.1 * tick
            for source, value in HEALTHY.items():
                if not source.startswith("bms"):
                    interlock.observe(Reading(value, at_s, source))
            interlock.check(at_s)

    show(interlock, 0.0)
    interlock.excuse({"bms", "shunt"}, 0.0)
    show_bench(1, 100)
    assert interlock.breach is None
    interlock.excuse((), 10.0)
    show_bench(100, 140)
    assert interlock.breach is not None
    assert interlock.breach.text.startswith("bms.")
    assert interlock.breach.at_s == pytest.approx(13.0, abs=0.11)
    silent = Interlock(load_rig(LAB1), 0.0)
    silent.excuse({"shunt", "safety"}, 0.0)
    silent.check(0.4)
    assert silent.breach is not None


@pytest.mark.parametrize("value", [None, "n/a", {"value": 3.0}])
def test_a_reading_that_it_cannot_take_is_a_breach(interlock, value):
    """It says so itself: an exception would go to the wire that brought the reading, and end there."""
    interlock.observe(Reading(value, 0.1, "shunt.current_a"))
    assert interlock.breach is not None
    assert interlock.breach.cause == "guard"
    assert "the interlock itself failed: shunt.current_a was" in interlock.breach.text


def test_a_word_of_the_product_that_it_cannot_compare_is_a_breach(interlock):
    show(interlock, 0.0)
    assert interlock.breach is None
    show(interlock, 0.1, bms__voltage_v="n/a")
    assert interlock.breach is not None
    assert interlock.breach.cause == "guard"
    assert "battery_voltage_v: TypeError" in interlock.breach.text
