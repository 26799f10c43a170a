"""The driver against the emulator over Modbus TCP: order, silence, refusal, negative controls."""

import asyncio

import pytest
from pydantic import ValidationError

from drivers.waveshare_relay import Options
from harness.clock import now_s, run_virtual
from harness.errors import CodecError, DeviceFault, DeviceRefused, WireTimeout
from harness.readings import Voice

from .relay_bench import FAULTS, stand


def test_a_channel_changes_at_the_present():
    async def main():
        async with stand() as at:
            await at.driver.open()
            await asyncio.sleep(2.5)
            await at.driver.insert("pcs_can_open")
            await asyncio.sleep(1.0)
            await at.driver.remove("pcs_can_open")
            return at.changes

    assert run_virtual(main) == [(2.5, 3, True), (3.5, 3, False)]


def test_a_channel_that_does_not_change_is_not_told_of():
    async def main():
        async with stand() as at:
            await at.driver.remove("earth_fault")
            await at.driver.insert("earth_fault")
            await at.driver.insert("earth_fault")
            return [change[1:] for change in at.changes], at.emulator.relays

    changes, relays = run_virtual(main)
    assert changes == [(8, True)]
    assert relays == (False,) * 7 + (True,)


def test_each_command_is_noted_before_it_acts_and_each_reading_passes_the_record():
    async def main():
        seen, notes = [], []
        voice = Voice("relay", seen.append, lambda *note: notes.append(note))
        async with stand(voice) as at:
            await asyncio.sleep(1.0)
            await at.driver.insert("bms_can_open")
            reading = await at.driver.inserted()
            at.faults.is_cut = True
            with pytest.raises(WireTimeout):
                await at.driver.remove("bms_can_open")
            with pytest.raises(DeviceRefused):
                await at.driver.insert("nothing")
            return seen == [reading], notes

    is_seen, notes = run_virtual(main)
    assert is_seen
    assert notes == [("relay.insert", 1.0, "bms_can_open"), ("relay.remove", 1.0, "bms_can_open")]


def test_a_near_miss_is_suggested():
    async def main():
        async with stand() as at:
            await at.driver.insert("bms_can_opne")

    with pytest.raises(DeviceRefused, match=r"relay: insert\('bms_can_opne'\).*did you mean 'bms_can_open'"):
        run_virtual(main)


def test_silence_is_a_timeout_in_rig_time():
    async def main():
        async with stand(unit=1, served=2) as at:  # nobody at unit 1: the line stays silent
            with pytest.raises(WireTimeout, match="no answer within 1 s"):
                await at.driver.open()
            return now_s()

    assert run_virtual(main) == 1.0


def test_a_silent_board_does_nothing_and_comes_back():
    async def main():
        async with stand() as at:
            at.emulator.silent = True
            with pytest.raises(WireTimeout):
                await at.driver.insert("bms_can_open")
            at.emulator.silent = False
            return (await at.driver.inserted()).value, at.changes

    assert run_virtual(main) == (frozenset(), [])


def test_a_lost_answer_to_a_write_leaves_the_relay_on_and_raises():
    async def main():
        async with stand() as at:
            at.faults.drop()
            with pytest.raises(WireTimeout):
                await at.driver.insert("bms_can_open")
            return (await at.driver.inserted()).value

    assert run_virtual(main) == {"bms_can_open"}


def test_a_damaged_answer_is_no_reading():
    async def main():
        async with stand() as at:
            at.faults.corrupt()
            with pytest.raises((CodecError, WireTimeout)):
                await at.driver.inserted()
            return (await at.driver.inserted()).value

    assert run_virtual(main) == frozenset()


def test_frozen_coils_show_at_the_read_back_although_the_relay_acted():
    async def main():
        async with stand() as at:
            at.emulator.frozen = True
            with pytest.raises(DeviceFault, match="relay 1 reads back off"):
                await at.driver.insert("bms_can_open")
            return at.emulator.relays[0], [change[1:] for change in at.changes]

    assert run_virtual(main) == (True, [(1, True)])


def test_other_relays_of_the_board_are_no_faults():
    async def main():
        async with stand() as at:
            at.emulator.on_change = lambda channel, is_on: None
            await at.driver.insert("bms_can_open")
            await at.driver._line.write_coil(1, 4, True)
            return (await at.driver.inserted()).value, at.emulator.relays

    there, relays = run_virtual(main)
    assert there == {"bms_can_open"}
    assert relays == (True, False, False, False, True, False, False, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"faults": {}},
        {"faults": {"a": 0}},
        {"faults": {"a": 9}},
        {"faults": {"a": 1, "b": 1}},
        {"faults": FAULTS, "unit": 256},
        {"faults": FAULTS, "host": "192.0.2.1"},
    ],
    ids=str,
)
def test_options_refuse_what_cannot_be(wrong):
    with pytest.raises(ValidationError):
        Options(**wrong)
