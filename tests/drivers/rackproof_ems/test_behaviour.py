"""The driver against the emulator on a plant: order, staleness, refusal, negative controls, the sun."""

import asyncio
from dataclasses import replace

import pytest
from pydantic import ValidationError

from drivers.rackproof_ems import Options, points
from harness.clock import run_virtual
from harness.errors import DeviceRefused, StaleReading, WireTimeout
from harness.plant.energy import Rule
from harness.readings import Voice
from harness.wires import Table

from .ems_bench import SITE, SUNNY, PlantWorld, stand


def test_the_rules_of_table_and_controller_are_the_same():
    assert tuple(rule.name.lower() for rule in sorted(Rule, key=lambda rule: rule.value)) == points.RULES


def test_decides_on_a_grid_of_rig_time():
    async def main():
        async with stand(interval_s=8.0) as at:
            await asyncio.sleep(800.5)
            return at.emulator.manager.last.time_s, at.emulator.read(Table.HOLDING, 0x0100, 1)

    assert run_virtual(main) == (800.0, [101])


def test_carries_the_load_from_the_battery_and_leaves_the_meter_at_zero():
    async def main():
        async with stand() as at:
            await at.driver.turn_on()
            await asyncio.sleep(35.0)
            world = PlantWorld(at)
            return await world.battery_power_w(), await world.grid_power_w(), (await at.driver.rule()).value

    battery_w, grid_w, rule = run_virtual(main)
    assert battery_w == pytest.approx(2000.0, rel=0.01)
    assert grid_w == pytest.approx(0.0, abs=20.0)
    assert rule == "self_consumption"


def test_charges_from_the_sun_and_curtails_what_may_not_go_out():
    async def main():
        async with stand(site=replace(SITE, solar=SUNNY), charge_limit_w=3000.0, export_limit_w=500.0) as at:
            await at.driver.turn_on()
            await asyncio.sleep(60.0)
            world = PlantWorld(at)
            told = [(await ask()).value for ask in (at.driver.solar_w, at.driver.grid_power_w)]
            found = await world.battery_power_w(), await world.grid_power_w(), at.plant.solar.power_w
            await at.driver.turn_off()
            await asyncio.sleep(10.0)
            at.plant.advance(at.plant.now_s)
            return told, found, at.plant.solar.power_w

    (solar_told_w, grid_told_w), (battery_w, grid_w, solar_w), free_w = run_virtual(main)
    assert battery_w == pytest.approx(-3000.0, rel=0.01)
    assert grid_w == pytest.approx(500.0, abs=30.0)
    assert grid_told_w == pytest.approx(grid_w, abs=30.0)
    assert solar_w == pytest.approx(5500.0, abs=30.0)
    assert solar_told_w == pytest.approx(free_w, rel=0.01)
    assert free_w > 5800.0


def test_an_island_is_told_and_carried():
    async def main():
        async with stand() as at:
            await at.driver.turn_on()
            await asyncio.sleep(25.0)
            at.plant.advance(25.0)
            at.plant.grid.open_relay()
            await asyncio.sleep(30.0)
            return (
                (await at.driver.is_islanded()).value,
                (await at.driver.rule()).value,
                at.plant.load.power_w,
            )

    assert run_virtual(main) == (True, "island", pytest.approx(2000.0, rel=0.02))


def test_the_demand_windows_count_by_the_clock():
    async def main():
        async with stand(starts_at_s=1700.0, interval_s=10.0) as at:
            await asyncio.sleep(2000.0)
            return at.emulator.manager.demand.ahead_w(1), (await at.driver.demand_forecast_w()).value[0]

    ahead_w, told_w = run_virtual(main)
    assert ahead_w[0] == pytest.approx(2000.0, rel=0.01)
    assert told_w == pytest.approx(ahead_w[0], abs=1.0)


def test_a_beat_that_stands_is_no_reading():
    async def main():
        async with stand() as at:
            await at.driver.demand_w()
            await at.emulator.stop()
            await asyncio.sleep(30.0)
            await at.driver.demand_w()
            await asyncio.sleep(1.0)
            with pytest.raises(StaleReading, match=r"ems: its beat stands at 1 for 31 s; .* each 10 s"):
                await at.driver.demand_w()
            await at.emulator.start()
            await asyncio.sleep(1.0)
            await at.driver.demand_w()

    run_virtual(main)


def test_frozen_it_tells_the_past_and_acts():
    async def main():
        async with stand() as at:
            await asyncio.sleep(15.0)
            at.emulator.frozen = True
            at.plant.advance(15.0)
            at.plant.load.set_power_w(4000.0)
            await at.driver.turn_on()
            await asyncio.sleep(60.0)
            at.plant.advance(75.0)
            return (await at.driver.demand_w()).value, at.plant.converter.power_w

    told_w, battery_w = run_virtual(main)
    assert told_w == pytest.approx(2000.0, rel=0.01)
    assert battery_w == pytest.approx(4000.0, rel=0.01)


def test_a_swapped_sign_shows_against_the_meter():
    async def main():
        async with stand() as at:
            at.emulator.swapped_sign = True
            await at.driver.turn_on()
            await asyncio.sleep(25.0)
            told_w = (await at.driver.battery_power_setpoint_w()).value
            return told_w, await PlantWorld(at).battery_power_w()

    told_w, battery_w = run_virtual(main)
    assert told_w == pytest.approx(-battery_w, rel=0.01)


def test_silence_costs_one_time_out():
    async def main():
        async with stand() as at:
            at.emulator.silent = True
            with pytest.raises(WireTimeout):
                await at.driver.demand_w()
            at.emulator.silent = False
            return (await at.driver.demand_w()).value

    assert run_virtual(main) == pytest.approx(2000.0, rel=0.01)


def test_each_command_is_noted_before_it_acts_and_each_reading_passes_the_record():
    async def main():
        seen, notes = [], []
        voice = Voice("ems", seen.append, lambda *note: notes.append(note))
        async with stand(voice) as at:
            await asyncio.sleep(1.0)
            await at.driver.set_reserve_soc(0.4)
            reading = await at.driver.soc()
            at.faults.is_cut = True
            with pytest.raises(WireTimeout):
                await at.driver.turn_on()
            with pytest.raises(DeviceRefused, match=r"ems: set_reserve_soc\(0\.95\) refused before sending"):
                await at.driver.set_reserve_soc(0.95)
            return seen == [reading], notes

    is_seen, notes = run_virtual(main)
    assert is_seen
    assert notes == [("ems.set_reserve_soc", 1.0, 0.4), ("ems.turn_on", 1.0, 1.0)]


def test_a_setting_that_is_none_is_refused_by_name():
    async def main():
        async with stand() as at:
            await at.driver.restore({"contract_w": 1.0})

    with pytest.raises(
        DeviceRefused, match=r"restore\('contract_w'\).*allowed is_on, reserve_soc, contract_power_w"
    ):
        run_virtual(main)


@pytest.mark.parametrize(
    "options", [{"reserve_soc": 1.0}, {"capacity_wh": 0.0}, {"interval_s": 7.0}, {"unknown": 1}]
)
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(ValidationError):
        Options(**options)
