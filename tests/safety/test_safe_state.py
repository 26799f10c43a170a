"""The way to safe, step by step, on an emulated rig whose plant says what really happens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.clock import run_virtual
from harness.plant.contactors import ContactorFault
from harness.rig.bench import Setup, far_side, open_bench
from harness.rig.files import load_product, load_rig
from harness.rig.rig_file import RigFile
from harness.safety.interlock import Breach, Interlock
from harness.safety.safe_state import RECIPES, MakeSafe, Means, Outcome, safe_within_s, silenced_within_s
from harness.safety.watch import watching
from rackproof_fixtures.steps import energise

from ..processes import LAB1, LFP_RACK, changed

DONE = {
    "the converter ceases to energise": "done",
    "the AC source opens its output": "done",
    "the battery's contactor opens": "done",
    "the safety chain drops": "done",
    "inserted faults are taken out": "done",
}


@dataclass
class Seen:
    """What came of a safe state, and what was true."""

    outcome: Outcome
    plant: Any
    said: list[tuple[str, object]] = field(default_factory=list)

    @property
    def steps(self) -> dict[str, str]:
        return {step.means: step.outcome for step in self.outcome.steps}

    def broken_a(self) -> float:
        """The largest current that a contactor broke."""
        operations = self.plant.bms.connection.operations
        return max((abs(each.current_a) for each in operations if each.was_opening), default=0.0)


def rig_with_sensor(period_s: float) -> RigFile:
    """lab1, its shunt reporting as often in virtual time too."""
    rig = load_rig(LAB1)
    shunt = rig.devices["shunt"]
    options = {**shunt.options, "virtual_period_s": period_s}
    devices = {**rig.devices, "shunt": shunt.model_copy(update={"options": options})}
    return rig.model_copy(update={"devices": devices})


def make_safe(
    spoil=lambda side: None,
    cause: str = "limit",
    power_w: float = 5000.0,
    breaks=lambda bench: None,
    *,
    period_s: float = 0.1,
    settled_s: float = 10.0,
    built: Path = LFP_RACK,
) -> Seen:
    """Discharge, spoil something, and go to the safe state.

    Args:
        built: the product that stands on the rig, whatever its file says.
    """

    async def main() -> Seen:
        setup = Setup(rig=rig_with_sensor(period_s), product=load_product(LFP_RACK), f0_hz=60.0, seed=1)
        stands = Setup(rig=setup.rig, product=load_product(built), f0_hz=60.0, seed=1)
        async with far_side(stands) as side, open_bench(setup, emulate=True, side=side) as bench:
            grid, inverter = bench.role("grid_source"), bench.role("inverter")
            await energise(grid, inverter, f0_hz=60.0)
            await inverter.set_power_w(power_w)
            await asyncio.sleep(settled_s)
            side.advance()
            assert abs(side.plant.string.current_a) > 80.0
            spoil(side)
            breaks(bench)
            said: list[tuple[str, object]] = []
            maker = MakeSafe(bench, cause, "a test", lambda kind, body: said.append((kind, body)))
            outcome = await maker.run({})
            side.advance()
            return Seen(outcome, side.plant, said)

    return run_virtual(main)


def is_off(plant: Any) -> bool:
    return (
        abs(plant.string.current_a) < 0.5
        and not plant.bms.contactor_closed
        and not plant.grid.is_relay_closed
        and not plant.converter.is_on
    )


@pytest.mark.parametrize("power_w", [5000.0, -5000.0])
def test_a_healthy_rig_is_off_without_a_contactor_that_broke_a_current(power_w):
    seen = make_safe(power_w=power_w)
    assert seen.outcome.is_safe, seen.outcome.text
    assert seen.steps == DONE
    assert is_off(seen.plant)
    assert seen.broken_a() < 10.0
    assert set(seen.outcome.seen) == {"battery_current", "ac_voltage", "battery contactor"}
    assert [kind for kind, _ in seen.said][-1] == "safe state"


def test_the_measured_way_down_is_kept():
    way = make_safe().outcome.way_down
    assert way
    assert abs(way[-1][2]) <= 10.0
    assert [at_s for at_s, _, _ in way] == sorted(at_s for at_s, _, _ in way)


def test_a_converter_that_does_not_answer_is_stopped_by_the_chain_and_the_contactor_waits_for_that():
    """Source off, it carries the critical load as an island; the contactor's gate stays shut under 60 A."""
    seen = make_safe(lambda side: setattr(side.emulators["pcs"], "silent", True))
    outcomes = [(step.means, step.outcome) for step in seen.outcome.steps]
    assert outcomes[0] == ("the converter ceases to energise", "failed")
    assert ("the battery's contactor opens", "held back") in outcomes
    assert outcomes[-2][1] == "done"
    assert seen.outcome.is_safe, seen.outcome.text
    assert is_off(seen.plant)
    assert seen.broken_a() < 10.0


def silence_pcs(side):
    side.emulators["pcs"].silent = True


OPENS, DROPS = Means.OPEN_BATTERY.value, Means.DROP_CHAIN.value
SILENCES = Means.SILENCE_BATTERY.value


@pytest.mark.parametrize("power_w", [5000.0, -5000.0])
def test_a_converter_that_obeys_nobody_stops_by_itself_once_it_misses_its_battery(power_w):
    """Nothing was beyond its limits: neither contactor nor breaker opens under a current."""

    def spoil(side):
        silence_pcs(side)
        side.emulators["grid"].silent = True

    seen = make_safe(spoil, cause="run", power_w=power_w)
    steps = [(step.means, step.outcome) for step in seen.outcome.steps]
    assert steps[2:6] == [(OPENS, "held back"), (SILENCES, "done"), (OPENS, "done"), (DROPS, "done")]
    (took_s,) = (step.took_s for step in seen.outcome.steps if step.means == SILENCES)
    rig, product = load_rig(LAB1), load_product(LFP_RACK)
    assert product.inverter.bms_timeout_s - 1.0 < took_s <= silenced_within_s(rig, product)
    assert seen.broken_a() < 10.0
    assert abs(seen.plant.string.current_a) < 0.5
    assert not seen.plant.bms.contactor_closed
    # What was cut is whole again: the battery is heard at the verification.
    assert isinstance(seen.outcome.seen["battery_current"]["bms.current_a"], float)


def test_where_a_limit_is_passed_nobody_waits_for_a_time_out():
    """A current beyond the envelope is the chain's breaker's to end."""
    for cause in RECIPES.keys() - {"run", "command"}:
        assert Means.SILENCE_BATTERY not in RECIPES[cause]
    seen = make_safe(silence_pcs, cause="limit")
    assert SILENCES not in seen.steps


@pytest.mark.parametrize(("quantity", "amount"), [("current_a", 400.0), ("voltage_v", 10.0)])
def test_the_wait_for_the_time_out_ends_where_the_battery_leaves_the_envelope(quantity, amount):
    def spoil(side):
        silence_pcs(side)
        side.emulators["shunt"].disturbance.update({quantity: amount})

    seen = make_safe(spoil, cause="run")
    (step,) = (step for step in seen.outcome.steps if step.means == SILENCES)
    assert step.outcome == "held back"
    assert "nothing slower than the chain is waited for" in step.text
    assert step.took_s < 0.5
    assert seen.steps[DROPS] == "done"


def test_a_converter_that_misses_no_battery_is_stopped_by_the_chain(tmp_path):
    """Its product file promised a time-out; the bound that follows from that is all the time it gets."""
    built = changed(LFP_RACK, tmp_path / "lfp_rack.toml", ("bms_timeout_s = 3.0", "bms_timeout_s = 60.0"))
    seen = make_safe(silence_pcs, cause="run", built=built)
    (step,) = (step for step in seen.outcome.steps if step.means == SILENCES)
    assert step.outcome == "held back"
    assert "A after 4.15 s" in step.text
    assert seen.steps[DROPS] == "done"
    assert seen.outcome.is_safe, seen.outcome.text
    assert is_off(seen.plant)
    assert seen.broken_a() < 10.0


@pytest.mark.parametrize("breaks", ["relay", "shunt"])
def test_a_battery_is_not_silenced_where_nobody_can_or_would_see_it(breaks):
    """No relay, no way; no meter, no sight of whether the current goes. Neither costs time."""

    def spoil(side):
        silence_pcs(side)
        if breaks == "shunt":
            side.emulators["shunt"].disturbance.update(voltage_v=-1000.0)

    def loses(bench):
        if breaks == "relay":
            del bench.devices["relay"]

    seen = make_safe(spoil, cause="run", breaks=loses)
    (step,) = (step for step in seen.outcome.steps if step.means == SILENCES)
    assert step.outcome == {"relay": "not there", "shunt": "failed"}[breaks]
    assert step.took_s < 0.5
    assert is_off(seen.plant)


def test_the_way_to_safe_ends_within_its_bound_though_nothing_answers():
    """What waits for the guard's last word waits that long."""

    def spoil(side):
        for emulator in side.emulators.values():
            emulator.silent = True

    seen = make_safe(spoil, cause="run")
    assert not seen.outcome.is_safe
    first, last = seen.outcome.steps[0], seen.outcome.steps[-1]
    assert last.at_s + last.took_s - first.at_s < safe_within_s(load_rig(LAB1), load_product(LFP_RACK))


def test_what_a_meter_said_before_the_current_flowed_opens_no_contactor():
    """Its last report is no older than its period: to its driver it is not stale."""
    seen = make_safe(breaks=lambda bench: bench.devices.pop("pcs"), period_s=1.4, settled_s=1.0)
    assert abs(seen.outcome.way_down[0][2]) < 1.0, "it was to say that no current flows"
    assert ("the battery's contactor opens", "held back") in [
        (step.means, step.outcome) for step in seen.outcome.steps
    ]
    assert is_off(seen.plant)
    assert seen.broken_a() < 10.0


def test_a_meter_that_reads_zero_on_everything_opens_no_contactor():
    """A battery is never at zero volts: the sensor is dead, and so is its zero current."""

    def spoil(side):
        side.emulators["shunt"].disturbance.update(voltage_v=-1000.0, current_a=-98.0)

    seen = make_safe(spoil)
    first = next(step for step in seen.outcome.steps if step.means == "the battery's contactor opens")
    assert first.outcome == "failed"
    assert "is not to be trusted" in first.text
    assert is_off(seen.plant)
    assert isinstance(seen.outcome.seen["battery_current"]["shunt.current_a"], str)


def test_a_welded_contactor_is_unsafe_and_said_so():
    def spoil(side):
        for contactor in side.plant.bms.connection.contactors:
            side.plant.bms.connection.fail(contactor, ContactorFault.WELDED)

    seen = make_safe(spoil)
    assert not seen.outcome.is_safe
    assert any("contactor is closed" in each for each in seen.outcome.live)
    assert abs(seen.plant.string.current_a) < 0.5


def test_a_sensor_that_sees_something_alive_outvotes_two_that_do_not():
    seen = make_safe(lambda side: side.emulators["shunt"].disturbance.update(current_a=5.0))
    assert not seen.outcome.is_safe
    assert any("battery_current is live: shunt.current_a" in each for each in seen.outcome.live)


def test_one_sensor_alone_verifies_nothing():
    def spoil(side):
        for name in ("bms", "analyzer"):
            side.emulators[name].silent = True

    seen = make_safe(spoil)
    assert not seen.outcome.is_safe
    assert any("battery_current is not verified by two sensors" in each for each in seen.outcome.live)


def test_after_an_opened_contact_the_chain_drops_first():
    seen = make_safe(cause="contact")
    assert seen.outcome.steps[0].means == "the safety chain drops"
    assert seen.outcome.is_safe
    assert is_off(seen.plant)


def test_an_interlock_that_fails_itself_is_a_breach():
    """Whoever watches and cannot has to say so: what is not watched is not safe."""

    async def main() -> Breach:
        setup = Setup(rig=rig_with_sensor(0.1), product=load_product(LFP_RACK), f0_hz=60.0, seed=1)
        async with open_bench(setup, emulate=True) as bench:
            found: asyncio.Future[Breach] = asyncio.get_running_loop().create_future()
            interlock = Interlock(setup.rig, 0.0, is_virtual=True)
            bench.devices["safety"].inputs = None  # no question at all
            async with watching(bench, interlock, lambda breach: found.done() or found.set_result(breach)):
                return await asyncio.wait_for(found, 60.0)

    breach = run_virtual(main)
    assert breach.cause == "guard"
    assert "interlock safety failed: TypeError" in breach.text


def test_a_driver_that_fails_with_anything_keeps_no_step_from_being_tried():
    """A fault in one driver's code is no reason to leave the others' devices on."""

    def spoil(side):
        side.emulators["pcs"].silent = True

    async def broken() -> None:
        raise AttributeError("a fault of the driver's own")

    seen = make_safe(spoil, breaks=lambda bench: setattr(bench.devices["grid"], "turn_off", broken))
    outcomes = {(step.means, step.outcome) for step in seen.outcome.steps}
    assert ("the AC source opens its output", "failed") in outcomes
    assert ("the safety chain drops", "done") in outcomes
    assert not seen.plant.bms.contactor_closed
    assert abs(seen.plant.string.current_a) < 0.5


def test_a_released_e_stop_closes_no_contactor():
    """The contactor takes an edge: off and on again, by whoever has seen to it."""

    async def main() -> list[bool]:
        setup = Setup(rig=rig_with_sensor(0.1), product=load_product(LFP_RACK), f0_hz=60.0, seed=1)
        async with open_bench(setup, emulate=True) as bench:
            side, safety = bench.far_side, bench.role("safety_inputs")
            seen = []

            async def look() -> None:
                await asyncio.sleep(10.0)
                side.advance()
                seen.append(side.plant.bms.contactor_closed)

            await look()
            for is_released in (False, True):
                side.advance()
                side.emulators["safety"].set_input("e_stop_released", is_released)
                await look()
            for is_on in (True, False, True):
                await safety.set_output("battery_enable", is_on=is_on)
                await look()
            return seen

    assert run_virtual(main) == [True, False, False, False, False, True]
