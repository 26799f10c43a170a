"""A bench opens all of a rig or says what it could not open; it leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from harness.clock import now_s, rig_loop, run_virtual
from harness.errors import BenchError, ConfigurationError, NotTestable, StaleReading, Unsafe
from harness.rig.bench import CHAIN_DELAY_S, Bench, Setup, far_side, open_bench
from harness.rig.files import load_product, load_rig
from harness.rig.topology import CriticalLoad
from harness.roles import ROLES
from harness.safety.permit import refuse_command
from harness.seeded_faults import SeededFault
from harness.wires import Table
from rackproof_fixtures.steps import energise

from ..processes import LAB1, LFP_RACK


@pytest.fixture(scope="module")
def lab1():
    return load_rig(LAB1)


def setup_of(rig, **more):
    return Setup(rig=rig, product=load_product(LFP_RACK), f0_hz=60.0, seed=1, **more)


def on(setup, work, **more):
    async def main():
        async with open_bench(setup, emulate=True, **more) as bench:
            return await work(bench)

    return run_virtual(main)


def left_over():
    """Descriptors and threads of this process."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def test_every_device_is_there_by_its_name_and_by_its_role(lab1):
    async def work(bench):
        assert set(bench.devices) == set(lab1.devices)
        for name, device in lab1.devices.items():
            assert bench.role(device.role) is bench.devices[name]
            assert isinstance(bench.devices[name], ROLES[device.role])

    on(setup_of(lab1), work)


def test_what_takes_commands_can_refuse_them_on_a_bench_that_records_no_readings(lab1):
    async def main():
        setup_of(lab1, note=refuse_command).voice("pcs").command("turn_on")

    with pytest.raises(Unsafe, match=r"pcs\.turn_on"):
        run_virtual(main)


def test_a_missing_role_is_not_testable_and_named_with_those_that_are_there(lab1):
    bench = Bench(setup_of(lab1), None)
    with pytest.raises(NotTestable, match=r"one chamber, there is none; it has: battery, .*recorder"):
        bench.role("chamber")


def test_a_role_that_two_devices_fulfil_is_not_testable(lab1):
    """Which of two would be tested must not be left to chance."""
    twice = lab1.model_copy(update={"devices": {**lab1.devices, "relay2": lab1.devices["relay"]}})
    with pytest.raises(NotTestable, match=r"asks for one fault_inserter, there is relay, relay2"):
        Bench(setup_of(twice), None).role("fault_inserter")


def test_a_role_whose_device_is_not_open_is_not_testable(lab1):
    """On the wall clock the bench's own sensors are the guard's."""
    with pytest.raises(NotTestable, match="dc_sensor: shunt is not open here; open are: none"):
        Bench(setup_of(lab1), None).role("dc_sensor")


def test_all_devices_that_cannot_be_opened_are_told_together(lab1):
    def silence(side):
        for name in ("pcs", "analyzer"):
            side.emulators[name].silent = True

    with pytest.raises(BenchError) as caught:
        on(setup_of(lab1, on_far_side=silence), lambda _: asyncio.sleep(0.0))
    head, first, second = str(caught.value).splitlines()
    assert head == "rig lab1: 2 of 8 devices cannot be opened:"
    assert first.startswith("  pcs (sunspec_storage): pcs_lan (Modbus TCP 127.0.0.1:")
    assert second.startswith("  analyzer (yokogawa_wt1800e): analyzer_lan (TCPIP0::127.0.0.1::")


def test_opening_one_device_leaves_the_others_alone(lab1):
    """The others may be switched off, or in somebody's use."""

    def silence(side):
        for name in set(lab1.devices) - {"pcs"}:
            side.emulators[name].silent = True

    async def work(bench):
        assert set(bench.devices) == {"pcs"}
        return (await bench.devices["pcs"].is_on()).value

    assert on(setup_of(lab1, on_far_side=silence), work, only=frozenset({"pcs"})) is False


def test_readings_and_commands_reach_the_record_by_device(lab1):
    readings, commands = [], []
    setup = setup_of(
        lab1, observe=readings.append, note=lambda name, at_s, asked=None: commands.append((name, asked))
    )

    async def work(bench):
        await bench.role("inverter").set_power_w(0.0)
        await bench.role("inverter").ac_power_w()

    on(setup, work)
    assert "pcs.ac_power_w" in {each.source for each in readings}
    assert ("pcs.set_power_w", 0.0) in commands


def test_the_relay_opens_the_lead_that_the_topology_says(lab1):
    async def work(bench):
        battery, inserter = bench.role("battery"), bench.role("fault_inserter")
        await battery.voltage_v()
        await inserter.insert("bms_can_open")
        await asyncio.sleep(10.0)
        with pytest.raises(StaleReading, match="bms"):
            await battery.voltage_v()
        await inserter.remove("bms_can_open")
        await asyncio.sleep(3.0)
        return (await battery.voltage_v()).value

    assert on(setup_of(lab1), work) > 40.0


def test_the_chain_stops_source_and_converter_and_starts_neither_again(lab1):
    async def work(bench):
        safety, inverter, grid = (bench.role(role) for role in ("safety_inputs", "inverter", "grid_source"))
        await energise(grid, inverter, f0_hz=60.0)
        await inverter.set_power_w(5000.0)
        await asyncio.sleep(10.0)
        bench.far_side.advance()
        plant = bench.far_side.plant
        found = [(plant.string.current_a > 50.0, plant.grid.is_relay_closed)]
        await safety.set_output("chain", is_on=False)
        await asyncio.sleep(0.5 * CHAIN_DELAY_S)
        bench.far_side.advance()
        assert plant.bms.contactor_closed  # it must not open under load
        assert plant.string.current_a == pytest.approx(0.0, abs=0.1)
        for _ in range(2):
            await asyncio.sleep(1.0)
            bench.far_side.advance()
            found.append((plant.converter.is_on, plant.grid.is_relay_closed))
            assert not plant.bms.contactor_closed
            assert plant.string.current_a == pytest.approx(0.0, abs=0.1)
            # Whatever somebody still commands: the enable is off.
            await grid.turn_on()
            await inverter.turn_on()
        await safety.set_output("chain", is_on=True)
        await asyncio.sleep(1.0)
        bench.far_side.advance()
        found.append((plant.converter.is_on, plant.grid.is_relay_closed))
        for is_on in (False, True):
            await safety.set_output("battery_enable", is_on=is_on)
        await asyncio.sleep(10.0)
        await grid.turn_on()
        await inverter.turn_on()
        await asyncio.sleep(1.0)
        bench.far_side.advance()
        found.append((plant.converter.is_on, plant.grid.is_relay_closed))
        return found

    off, on_again = (False, False), (True, True)
    assert on(setup_of(lab1), work) == [on_again, off, off, off, on_again]


def test_the_battery_enable_moves_the_contactor_and_its_contact_says_so(lab1):
    async def work(bench):
        safety, shunt = bench.role("safety_inputs"), bench.role("dc_sensor")
        await asyncio.sleep(10.0)
        found = []
        for is_on in (False, True):
            await safety.set_output("battery_enable", is_on=is_on)
            await asyncio.sleep(10.0)
            bench.far_side.advance()
            is_closed = bench.far_side.plant.bms.contactor_closed
            contact = (await safety.inputs()).value["battery_contactor_closed"]
            found.append((is_closed, contact, (await shunt.voltage_v()).value > 40.0))
        return found

    # The shunt sits on the battery's side: it sees the battery in both.
    assert on(setup_of(lab1), work) == [(False, False, True), (True, True, True)]


def test_a_watchdog_that_runs_out_stops_the_rig(lab1):
    async def work(bench):
        safety = bench.role("safety_inputs")
        await energise(bench.role("grid_source"), bench.role("inverter"), f0_hz=60.0)
        await asyncio.sleep(5.0)
        await safety.arm_watchdog(1.0)
        await asyncio.sleep(1.0)
        plant = bench.far_side.plant
        stopped = plant.now_s == now_s(), plant.converter.is_on, plant.grid.is_relay_closed
        await asyncio.sleep(CHAIN_DELAY_S)  # a contactor takes its time
        bench.far_side.advance()
        return *stopped, plant.bms.contactor_closed

    assert on(setup_of(lab1), work) == (True, False, False, False)


def test_a_virtual_rig_begins_with_its_chain_closed_and_says_so(lab1):
    async def work(bench):
        safety = bench.role("safety_inputs")
        inputs = await safety.inputs()
        await asyncio.sleep(1.0)
        return inputs.value, (await safety.outputs()).value, (await safety.inputs()).value

    first, outputs, later = on(setup_of(lab1), work)
    assert outputs == {"chain": True, "battery_enable": True}
    assert later == dict.fromkeys(lab1.devices["safety"].options["inputs"], True)
    assert first == {**later, "battery_contactor_closed": False}  # the precharge is under way


def test_a_served_rig_begins_dead_until_its_outputs_are_driven(lab1):
    async def main():
        async with far_side(setup_of(lab1), is_enabled=False) as side:
            safety, plant, found = side.emulators["safety"], side.plant, []

            def look():
                plant.advance(now_s())
                found.append(
                    (
                        plant.bms.contactor_closed,
                        plant.grid.is_relay_closed,
                        plant.converter.is_on,
                        safety.outputs,
                    )
                )

            await asyncio.sleep(10.0)
            plant.grid.close_relay()
            look()
            for place in (0, 1):
                safety.write(Table.COILS, place, [1])
            await asyncio.sleep(10.0)
            look()
            plant.grid.close_relay()
            look()
        await rig_loop().settle()
        return found

    dead, enabled, energised = run_virtual(main)
    assert dead == (False, False, False, {"chain": False, "battery_enable": False})
    assert enabled == (True, False, False, {"chain": True, "battery_enable": True})
    assert energised[:2] == (True, True)


def test_a_rig_without_a_chain_is_connected_however_it_is_served(lab1):
    bare = lab1.model_copy(
        update={"topology": lab1.topology.model_copy(update={"safety_chain": None}), "interlock": None}
    )

    async def main():
        async with far_side(setup_of(bare), is_enabled=False) as side:
            await asyncio.sleep(10.0)
            side.advance()
            found = side.plant.bms.contactor_closed, side.plant.grid.is_relay_closed
        await rig_loop().settle()
        return found

    assert run_virtual(main) == (True, True)


def test_the_chain_stops_the_converter_on_the_public_mains_and_not_the_mains(lab1):
    update = {"source": None, "critical_load": CriticalLoad(power_w=0.0)}
    on_the_mains = lab1.model_copy(update={"topology": lab1.topology.model_copy(update=update)})

    async def main():
        found = []
        async with far_side(setup_of(on_the_mains), is_enabled=False) as side:
            safety, plant = side.emulators["safety"], side.plant
            for outputs in ([0, 0], [1, 1], [0, 1]):
                for place, is_on in enumerate(outputs):
                    safety.write(Table.COILS, place, [is_on])
                await asyncio.sleep(10.0)
                side.advance()
                if outputs == [1, 1]:
                    plant.converter.turn_on()
                    await asyncio.sleep(400.0)  # mains that are there long enough to enter service
                    side.advance()
                found.append((plant.converter.is_on, plant.bms.contactor_closed, plant.grid.is_relay_closed))
        await rig_loop().settle()
        return found

    assert run_virtual(main) == [(False, False, True), (True, True, True), (False, False, True)]


def test_20_openings_leave_no_descriptor_and_no_thread(lab1):
    setup = setup_of(lab1)

    async def work(bench):
        await bench.role("battery").voltage_v()

    on(setup, work)  # loads libraries
    before = left_over()
    for _ in range(20):
        on(setup, work)
    assert left_over() == before


def test_an_opening_that_failed_half_way_leaves_nothing_either(lab1):
    def silence(side):
        side.emulators["recorder"].silent = True  # the last one to be opened

    setup = setup_of(lab1, on_far_side=silence)

    def fail():
        with pytest.raises(BenchError, match="recorder"):
            on(setup, lambda _: asyncio.sleep(0.0))

    fail()
    before = left_over()
    for _ in range(5):
        fail()
    assert left_over() == before


def test_an_error_inside_the_block_closes_the_bench_and_comes_out_as_it_was(lab1):
    async def work(_):
        raise ValueError("in the middle")

    def fail():
        with pytest.raises(ValueError, match="in the middle"):
            on(setup_of(lab1), work)

    fail()
    before = left_over()
    fail()
    assert left_over() == before


# Seeded faults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frosen:bms", r"unknown kind 'frosen'; known: dead, .*did you mean 'frozen'\?"),
        ("frozen:bmss", r"no device 'bmss'; it has: bms, .*did you mean 'bms'\?"),
        ("frozen", r"no device ''"),
        (":bms", r"unknown kind ''"),
        ("", r"unknown kind ''"),
        ("dead:analyzer", r"dead is a fault of an inverter"),
        ("powerless:bms", r"powerless is a fault of an inverter"),
    ],
)
def test_a_seeded_fault_that_cannot_be_is_refused_with_what_can(lab1, text, said):
    with pytest.raises(ConfigurationError, match=said):
        SeededFault.parse(text, lab1)


def test_a_frozen_battery_repeats_what_it_said_first(lab1):
    fault = SeededFault.parse("frozen:bms", lab1)

    async def work(bench):
        battery = bench.role("battery")
        first = (await battery.current_a()).value
        await energise(bench.role("grid_source"), bench.role("inverter"), f0_hz=60.0)
        await bench.role("inverter").set_power_w(5000.0)
        await asyncio.sleep(10.0)
        bench.far_side.advance()
        return first, (await battery.current_a()).value, bench.far_side.plant.string.current_a

    first, last, real = on(setup_of(lab1, on_far_side=fault.sow), work)
    assert last == first
    assert real > 50.0
