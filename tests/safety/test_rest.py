"""A plan leaves zero power, no fault, steady mains and the product's settings behind, wherever it stopped."""

from __future__ import annotations

import asyncio

import pytest

from harness.clock import run_virtual
from harness.errors import BenchError
from harness.rig.bench import Setup, open_bench
from harness.rig.files import load_product, load_rig
from harness.roles import GridStep
from harness.safety.rest import come_to_rest, snapshot, switch_off
from rackproof_fixtures.steps import energise, hold_power

from ..processes import LAB1, LFP_RACK

RATED_W = 10_000.0


def on_lab1(work):
    """Run ``work(bench)`` on an emulated lab1, and give what it gives."""
    setup = Setup(rig=load_rig(LAB1), product=load_product(LFP_RACK), f0_hz=60.0, seed=1)

    async def main():
        async with open_bench(setup, emulate=True) as bench:
            return await work(bench)

    return run_virtual(main)


async def at_power(bench, power_w=5000.0):
    """Energise, and bring the converter to a power."""
    await energise(bench.role("grid_source"), bench.role("inverter"), f0_hz=60.0)
    await hold_power(bench.role("inverter"), power_w, tolerance_w=0.05 * RATED_W)


def plant_of(bench):
    bench.far_side.advance()
    return bench.far_side.plant


@pytest.mark.parametrize("power_w", [5000.0, -4000.0])
def test_power_goes_to_zero_from_discharge_and_from_charge(power_w):
    async def work(bench):
        settings = await snapshot(bench)
        await at_power(bench, power_w)
        before_w = plant_of(bench).converter.power_w
        await come_to_rest(bench, settings)
        return before_w, plant_of(bench).converter.power_w

    before_w, after_w = on_lab1(work)
    assert before_w == pytest.approx(power_w, rel=0.05)
    assert abs(after_w) < 100.0  # the product's dead band


def test_an_inserted_fault_is_removed_and_the_battery_is_heard_again():
    async def work(bench):
        settings = await snapshot(bench)
        await at_power(bench)
        await bench.role("fault_inserter").insert("bms_can_open")
        await asyncio.sleep(5.0)
        await come_to_rest(bench, settings)
        await asyncio.sleep(3.0)
        inserted = await bench.role("fault_inserter").inserted()
        return inserted.value, (await bench.role("battery").voltage_v()).value

    inserted, voltage_v = on_lab1(work)
    assert inserted == frozenset()
    assert voltage_v > 40.0


EMS = """
[wires.ems_lan]
kind = "modbus_tcp"
host = "192.0.2.13"
port = 502
timeout_s = 1.0

[devices.ems]
driver = "rackproof_ems"
wire = "ems_lan"
unit = 10
role = "energy_manager"
options = { capacity_wh = 10000.0, reserve_soc = 0.9 }
"""


def test_an_energy_manager_is_turned_off_before_it_commands_again(tmp_path):
    path = tmp_path / "with_ems.toml"
    path.write_text(LAB1.read_text(encoding="utf-8") + EMS, encoding="utf-8")
    setup = Setup(rig=load_rig(path), product=load_product(LFP_RACK), f0_hz=60.0, seed=1)

    async def main():
        async with open_bench(setup, emulate=True) as bench:
            settings = await snapshot(bench)
            await energise(bench.role("grid_source"), bench.role("inverter"), f0_hz=60.0)
            manager = bench.role("energy_manager")
            await manager.turn_on()
            await asyncio.sleep(25.0)
            during_w = plant_of(bench).converter.power_w
            await come_to_rest(bench, settings)
            await asyncio.sleep(25.0)
            return during_w, plant_of(bench).converter.power_w, (await manager.is_on()).value

    during_w, after_w, is_on = run_virtual(main)
    assert during_w < -1000.0  # below its reserve it charges
    assert abs(after_w) < 100.0
    assert not is_on


def test_mains_are_steady_at_nominal_also_out_of_a_profile():
    async def work(bench):
        settings = await snapshot(bench)
        await at_power(bench)
        grid = bench.role("grid_source")
        await grid.load_profile([GridStep(100.0, (0.9, 0.9, 0.9), 60.0)])
        await grid.start_profile()
        await asyncio.sleep(1.0)
        during_v = plant_of(bench).grid.voltage_v(1)
        await come_to_rest(bench, settings)
        await asyncio.sleep(1.0)
        return during_v, plant_of(bench).grid.voltage_v(1), plant_of(bench).grid.is_playing

    during_v, after_v, is_playing = on_lab1(work)
    assert during_v == pytest.approx(0.9 * 115.47, rel=0.01)
    assert after_v == pytest.approx(115.47, rel=0.01)
    assert not is_playing


def test_every_setting_is_as_it_was_and_power_is_not_restored():
    """A unit whose protection was left open must not ship; one that starts by itself must not either."""

    async def work(bench):
        inverter = bench.role("inverter")
        await at_power(bench)
        settings = dict(await snapshot(bench))
        # Any setting that takes another value, other than those that command power.
        opened = {}
        for name, value in settings.items():
            try:
                await inverter.restore({name: value * 1.01})
            except BenchError:
                continue
            if (await inverter.settings())[name] != value:
                opened[name] = value
        await come_to_rest(bench, settings)
        after = await inverter.settings()
        return opened, {name: after[name] for name in opened}, plant_of(bench).converter.power_w

    opened, after, power_w = on_lab1(work)
    assert opened, "no setting could be changed: the test shows nothing"
    assert after == opened
    assert abs(power_w) < 100.0


def test_every_step_is_tried_although_an_earlier_one_raised():
    """The relay is dead; power goes all the same, and the error names what did not come true."""

    async def work(bench):
        settings = await snapshot(bench)
        await at_power(bench)
        await bench.role("grid_source").set_voltage_v(0.95 * 115.47)
        bench.far_side.emulators["relay"].silent = True
        with pytest.raises(BenchError) as caught:
            await come_to_rest(bench, settings)
        return str(caught.value), plant_of(bench).converter.power_w, plant_of(bench).grid.voltage_v(1)

    said, power_w, voltage_v = on_lab1(work)
    assert said.startswith("the rig did not come to rest: removing inserted faults: relay_lan ")
    assert "zero power" not in said
    assert abs(power_w) < 100.0
    assert voltage_v == pytest.approx(115.47, rel=0.01)


def test_all_that_did_not_come_true_is_told():
    async def work(bench):
        settings = await snapshot(bench)
        await at_power(bench)
        for name in ("relay", "pcs", "grid"):
            bench.far_side.emulators[name].silent = True
        with pytest.raises(BenchError) as caught:
            await come_to_rest(bench, settings)
        return str(caught.value)

    said = on_lab1(work)
    for piece in ("removing inserted faults: ", "zero power: ", "steady mains: ", "power gone: "):
        assert piece in said


def test_power_that_does_not_go_is_found_out():
    """By the converter's own word: frozen, it goes on to say 5 kW."""

    async def work(bench):
        settings = await snapshot(bench)
        await at_power(bench)
        bench.far_side.emulators["pcs"].frozen = True
        with pytest.raises(BenchError) as caught:
            await come_to_rest(bench, settings)
        return str(caught.value)

    assert "30 s after zero was commanded" in on_lab1(work)


def foreign(*_):
    """Raise what a driver of somebody's own may."""
    raise ValueError("not a number")


@pytest.mark.parametrize(
    ("inserted", "said"),
    [
        (foreign, r"removing inserted faults: ValueError: not a number$"),
        (lambda: asyncio.Event().wait(), r"removing inserted faults: not done within 60 s$"),
    ],
    ids=["raises", "does not end"],
)
def test_power_goes_to_zero_although_a_driver_fails_in_a_way_of_its_own(inserted, said):
    async def work(bench):
        settings = await snapshot(bench)
        await at_power(bench)
        bench.role("fault_inserter").inserted = inserted
        with pytest.raises(BenchError, match=said):
            await come_to_rest(bench, settings)
        return plant_of(bench).converter.power_w

    assert abs(on_lab1(work)) < 100.0


def test_the_converter_is_switched_off_although_it_takes_no_power_command():
    async def work(bench):
        await at_power(bench)
        bench.role("inverter").set_power_w = foreign
        with pytest.raises(BenchError, match=r"switched off: pcs: zero power: ValueError: not a number$"):
            await switch_off(bench)
        await asyncio.sleep(2.0)
        return plant_of(bench).converter.is_on, plant_of(bench).grid.is_relay_closed

    assert on_lab1(work) == (False, False)


def test_switching_off_takes_converter_and_source_off():
    async def work(bench):
        await at_power(bench)
        await switch_off(bench)
        await asyncio.sleep(2.0)
        plant = plant_of(bench)
        return plant.converter.is_on, plant.grid.is_relay_closed, plant.converter.power_w

    assert on_lab1(work) == (False, False, 0.0)


def test_the_source_is_switched_off_although_the_converter_is_dead():
    async def work(bench):
        await at_power(bench)
        bench.far_side.emulators["pcs"].silent = True
        with pytest.raises(BenchError, match=r"the rig could not be switched off: pcs: zero power: pcs_lan"):
            await switch_off(bench)
        await asyncio.sleep(2.0)
        return plant_of(bench).grid.is_relay_closed

    assert on_lab1(work) is False
