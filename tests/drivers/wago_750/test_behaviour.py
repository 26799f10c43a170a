"""The driver against the emulator over Modbus TCP: order, watchdog, silence, refusal, negative controls."""

import asyncio

import pytest
from pydantic import ValidationError

from drivers.wago_750 import Options
from harness.clock import now_s, run_virtual
from harness.errors import CodecError, ConfigurationError, DeviceFault, DeviceRefused, WireTimeout
from harness.readings import Voice
from harness.roles import Identity
from harness.wires import ModbusRefusal

from .coupler_bench import INPUTS, OUTPUTS, stand


def test_an_output_changes_at_the_present_and_is_told_once():
    async def main():
        async with stand() as at:
            await at.driver.open()
            await asyncio.sleep(2.5)
            await at.driver.set_output("battery_enable", is_on=True)
            await at.driver.set_output("battery_enable", is_on=True)
            await asyncio.sleep(1.0)
            await at.driver.set_output("battery_enable", is_on=False)
            return at.changes

    assert run_virtual(main) == [(2.5, "battery_enable", True), (3.5, "battery_enable", False)]


def test_the_watchdog_acts_at_its_own_time_and_tells_of_what_was_on():
    async def main():
        async with stand() as at:
            await at.driver.set_output("chain", is_on=True)
            await asyncio.sleep(0.25)
            await at.driver.arm_watchdog(1.5)
            await asyncio.sleep(0.5)
            await at.driver.inputs()
            await asyncio.sleep(10.0)
            return at.changes

    assert run_virtual(main) == [(0.0, "chain", True), (2.25, "chain", False)]


@pytest.mark.parametrize(
    ("feeds", "ends_s"),
    [("inputs", 5.0), ("outputs", 5.0), ("is_watchdog_running", 1.0), ("identity", 1.0)],
)
def test_the_process_feeds_it_and_registers_do_not(feeds, ends_s):
    async def main():
        async with stand() as at:
            await at.driver.set_output("chain", is_on=True)
            await at.driver.arm_watchdog(1.0)
            for _ in range(8):
                await asyncio.sleep(0.5)
                await getattr(at.driver, feeds)()
            await asyncio.sleep(10.0)
            return at.changes[-1]

    assert run_virtual(main) == (ends_s, "chain", False)


def test_a_command_feeds_it():
    async def main():
        async with stand() as at:
            await at.driver.set_output("chain", is_on=True)
            await at.driver.arm_watchdog(1.0)
            for n in range(4):
                await asyncio.sleep(0.75)
                await at.driver.set_output("battery_enable", is_on=n % 2 == 0)
            return at.emulator.outputs["chain"], (await at.driver.is_watchdog_running()).value

    assert run_virtual(main) == (True, True)


def test_once_it_has_run_out_everything_says_so():
    async def main():
        async with stand() as at:
            await at.driver.set_output("chain", is_on=True)
            await at.driver.arm_watchdog(0.1)
            await asyncio.sleep(1.0)
            for ask in (at.driver.inputs, at.driver.outputs):
                with pytest.raises(
                    DeviceFault, match="safety: its watchdog has run out and dropped all outputs"
                ):
                    await ask()
            with pytest.raises(DeviceFault, match="arm or disarm it"):
                await at.driver.set_output("chain", is_on=True)
            await at.driver.open()
            identity = await at.driver.identity()
            await at.driver.disarm_watchdog()
            return identity, (await at.driver.outputs()).value, (await at.driver.inputs()).value

    identity, outputs, inputs = run_virtual(main)
    assert identity == Identity("WAGO", "750-352", "", "1.4 (3)")
    assert outputs == dict.fromkeys(OUTPUTS, False)
    assert inputs == dict.fromkeys(INPUTS, True)


def test_what_a_coupler_still_holds_after_its_watchdog_is_driven_off():
    async def main():
        async with stand() as at:
            await at.driver.set_output("chain", is_on=True)
            await at.driver.arm_watchdog(0.1)
            await asyncio.sleep(1.0)
            at.emulator._outputs[0] = at.emulator._outputs[6] = True  # channels 1 and, unnamed, 7
            await at.driver.arm_watchdog(5.0)
            return at.emulator._outputs, (await at.driver.is_watchdog_running()).value

    assert run_virtual(main) == ([False] * 8, True)


def test_feedback_follows_the_plant():
    async def main():
        async with stand() as at:
            at.emulator.feedback["battery_contactor_closed"] = lambda: at.plant.bms.contactor_closed
            found = []
            for act in (lambda: None, at.plant.bms.open_contactors, at.plant.bms.close_contactors):
                await asyncio.sleep(5.0)
                at.plant.advance(now_s())
                act()
                await asyncio.sleep(5.0)
                found.append((await at.driver.inputs()).value["battery_contactor_closed"])
            with pytest.raises(
                ConfigurationError, match=r"set_input\('battery_contactor_closed'\): allowed e_stop"
            ):
                at.emulator.set_input("battery_contactor_closed", False)
            return found

    assert run_virtual(main) == [True, False, True]


def test_a_virtual_rig_begins_enabled_and_nobody_is_told():
    async def main():
        async with stand() as at:
            at.emulator.enable()
            first = (await at.driver.outputs()).value
            await at.driver.set_output("chain", is_on=False)
            return first, at.emulator._outputs, [change[1:] for change in at.changes]

    first, outputs, changes = run_virtual(main)
    assert first == {"chain": True, "battery_enable": True}
    assert outputs == [place == OUTPUTS["battery_enable"] - 1 for place in range(8)]
    assert changes == [("chain", False)]


def test_each_command_is_noted_before_it_acts_and_each_reading_passes_the_record():
    async def main():
        seen, notes = [], []
        voice = Voice("safety", seen.append, lambda *note: notes.append(note))
        async with stand(voice) as at:
            await asyncio.sleep(1.0)
            await at.driver.set_output("chain", is_on=True)
            await at.driver.arm_watchdog(10.0)
            await at.driver.disarm_watchdog()
            given = [
                await at.driver.inputs(),
                await at.driver.outputs(),
                await at.driver.is_watchdog_running(),
            ]
            at.faults.is_cut = True
            with pytest.raises(WireTimeout):
                await at.driver.set_output("chain", is_on=False)
            for refused in (
                lambda: at.driver.set_output("chian", is_on=True),
                lambda: at.driver.arm_watchdog(0.33),
            ):
                with pytest.raises(DeviceRefused):
                    await refused()
            return seen == given, notes

    is_seen, notes = run_virtual(main)
    assert is_seen
    assert notes == [
        ("safety.set_output", 1.0, {"chain": True}),
        ("safety.arm_watchdog", 1.0, 10.0),
        ("safety.disarm_watchdog", 1.0, None),
        ("safety.set_output", 1.0, {"chain": False}),
    ]


def test_a_near_miss_is_suggested():
    async def main():
        async with stand() as at:
            await at.driver.set_output("chian", is_on=True)

    with pytest.raises(DeviceRefused, match=r"safety: set_output\('chian'\).*did you mean 'chain'"):
        run_virtual(main)


def test_silence_is_a_timeout_in_rig_time():
    async def main():
        async with stand(unit=1, served=2) as at:  # nobody at unit 1: the line stays silent
            with pytest.raises(WireTimeout, match="no answer within 1 s"):
                await at.driver.open()
            return now_s()

    assert run_virtual(main) == 1.0


def test_a_lost_answer_to_a_command_leaves_the_output_on_and_raises():
    async def main():
        async with stand() as at:
            at.faults.drop()
            with pytest.raises(WireTimeout):
                await at.driver.set_output("chain", is_on=True)
            return (await at.driver.outputs()).value["chain"]

    assert run_virtual(main) is True


def test_a_damaged_answer_is_no_reading():
    async def main():
        async with stand() as at:
            at.faults.corrupt()
            with pytest.raises((CodecError, WireTimeout)):
                await at.driver.inputs()
            return (await at.driver.inputs()).value

    assert run_virtual(main) == dict.fromkeys(INPUTS, True)


def test_frozen_bits_show_at_the_read_back_although_the_output_acted():
    async def main():
        async with stand() as at:
            await at.driver.inputs()
            at.emulator.frozen = True
            at.emulator.set_input("door_closed", False)
            with pytest.raises(DeviceFault, match="output 1 reads back off"):
                await at.driver.set_output("chain", is_on=True)
            inputs = (await at.driver.inputs()).value
            at.emulator.frozen = False
            return (
                at.emulator.outputs["chain"],
                inputs["door_closed"],
                (await at.driver.inputs()).value["door_closed"],
            )

    assert run_virtual(main) == (True, True, False)


def test_another_refusal_stays_one():
    async def main():
        async with stand() as at:
            at.emulator.read = _refusing(at.emulator.read)
            await at.driver.inputs()

    with pytest.raises(DeviceRefused, match="device busy"):
        run_virtual(main)


def _refusing(read):
    from harness.wires import Refusal, Table  # noqa: PLC0415 - beside its one use

    def busy(table, address, count):
        if table is Table.DISCRETE_INPUTS:
            raise ModbusRefusal(Refusal.DEVICE_BUSY)
        return read(table, address, count)

    return busy


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"inputs": {}},
        {"outputs": {}},
        {"inputs": {"a": 0}},
        {"outputs": {"a": 9}},
        {"inputs": {"a": 1, "b": 1}},
        {"outputs": {"a": 2, "b": 2}},
        {"unit": 256},
        {"watchdog_s": 1.0},
    ],
    ids=str,
)
def test_options_refuse_what_cannot_be(wrong):
    with pytest.raises(ValidationError):
        Options(**({"inputs": INPUTS, "outputs": OUTPUTS} | wrong if wrong else {}))
