"""Bytes of the coupler against its manual's examples, at both ends of the line."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.wago_750 import Driver, Emulator, Options, points
from harness.clock import rig_loop, run_virtual
from harness.errors import CodecError, DeviceFault, DeviceRefused
from harness.plant import PlantSpec, RigPlant
from harness.readings import Voice
from harness.wires import ModbusRefusal, Table
from harness.wires.modbus import ModbusTcpLine, ModbusTcpServer

from ...wires.far_end import scripted
from .coupler_bench import INPUTS, OUTPUTS

# Unit, function and what follows. Manual "750-352/040-000 FC ETHERNET G3 XTR", 1.3.0, pp. 156 to 157, and
# manual "750 ETHERNET TCP/IP", 6.3.1, 6.3.2 and 6.3.5: the examples of functions 1, 2 and 5.
READ_BITS_0_TO_7 = "01 01 00 00 00 08"
BITS_12 = "01 01 01 12"
READ_INPUTS_0_TO_7 = "01 02 00 00 00 08"
INPUTS_12 = "01 02 01 12"
SECOND_OUTPUT_ON = "01 05 00 01 FF 00"

# The same, p. 156: outputs are read back by adding 0x0200.
READ_BACK = "01 01 02 00 00 08"

# The same, pp. 173 to 176: 0x000A in 0x1000 is a second, 0x1770 ten minutes; 0x0010 in 0x1001 is function 5;
# 0x0001 in 0x1003 starts; 0xAA55 or 0x55AA in 0x1008 stops; 0x1006 says 0, 1 or 2. Functions 3 and 6 around
# them are those of Modbus Application Protocol V1.1b3, 6.3 and 6.6.
READ_STATE = "01 03 10 06 00 01"
NOT_ACTIVE, ACTIVE, EXHAUSTED = "01 03 02 00 00", "01 03 02 00 01", "01 03 02 00 02"
ONE_SECOND = "01 06 10 00 00 0A"
TEN_MINUTES = "01 06 10 00 17 70"
MASK_OF_FUNCTION_5 = "01 06 10 01 00 10"
START = "01 06 10 03 00 01"
STOP = "01 06 10 08 55 AA"
OTHER_STOP = "01 06 10 08 AA 55"
STANDARD_TYPE = "01 06 10 0A 00 00"


def with_head(request, text):
    """An answer behind the request's own head."""
    data = bytes.fromhex(text)
    return request[:4] + len(data).to_bytes(2, "big") + data


def on_tape(*exchanges):
    """Run a conversation of the driver against messages and answers, in this order and no other."""

    def play(main):
        ahead = list(exchanges)
        departures = []

        def answer(request):
            expected, text = ahead.pop(0) if ahead else ("nothing", "01 83 04")
            if request[6:].hex(" ").upper() != expected:
                departures.append((expected, request[6:].hex(" ").upper()))
            return [(0.0, with_head(request, text))]

        async def run():
            async with scripted(answer) as port:
                line = ModbusTcpLine("lan", "127.0.0.1", port)
                await line.open()
                options = Options(inputs={"a": 1, "b": 2, "e": 5}, outputs={"x": 1, "y": 2})
                try:
                    return await main(Driver("safety", line, options, Voice("safety")))
                finally:
                    await line.close()

        found = run_virtual(run)
        assert not departures
        assert not ahead
        return found

    return play


async def answers(*asked, waits=(), before=None):
    """Send messages to the emulator's real server, waiting before some; give what comes back."""
    emulator = Emulator("safety", RigPlant(PlantSpec()), Options(inputs=INPUTS, outputs=OUTPUTS))
    if before is not None:
        before(emulator)
    server = ModbusTcpServer("lan", {1: emulator})
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    found = []
    for number, text in enumerate(asked):
        await asyncio.sleep(dict(waits).get(number, 0.0))
        data = bytes.fromhex(text)
        writer.write(number.to_bytes(2, "big") + b"\0\0" + len(data).to_bytes(2, "big") + data)
        head = await reader.readexactly(6)
        assert head[:4] == number.to_bytes(2, "big") + b"\0\0"
        found.append((await reader.readexactly(int.from_bytes(head[4:6], "big"))).hex(" ").upper())
    writer.close()
    await emulator.stop()
    await server.stop()
    await rig_loop().settle()
    return found


def test_reads_the_manuals_inputs():
    async def main(driver):
        return (await driver.inputs()).value

    # 0x12: bits 1 and 4.
    assert on_tape((READ_INPUTS_0_TO_7, INPUTS_12))(main) == {"a": False, "b": True, "e": True}


def test_drives_the_manuals_output_and_reads_it_back_0x200_higher():
    async def main(driver):
        await driver.set_output("y", is_on=True)
        return (await driver.outputs()).value

    exchanges = ((SECOND_OUTPUT_ON, SECOND_OUTPUT_ON), (READ_BACK, BITS_12), (READ_BACK, BITS_12))
    assert on_tape(*exchanges)(main) == {"x": False, "y": True}


def test_a_read_back_of_another_output_is_a_fault():
    async def main(driver):
        with pytest.raises(DeviceFault, match=r"set_output\('y', is_on=True\).*output 2 reads back off"):
            await driver.set_output("y", is_on=True)

    on_tape((SECOND_OUTPUT_ON, SECOND_OUTPUT_ON), (READ_BACK, "01 01 01 11"))(main)


def test_arms_a_second_in_the_manuals_registers():
    async def main(driver):
        await driver.arm_watchdog(1.0)
        await driver.disarm_watchdog()
        return (await driver.is_watchdog_running()).value

    mask = "01 06 10 01 40 13"  # functions 1, 2, 5 and 15
    exchanges = (
        (READ_STATE, NOT_ACTIVE),
        (STOP, STOP),
        (STANDARD_TYPE, STANDARD_TYPE),
        (ONE_SECOND, ONE_SECOND),
        (mask, mask),
        ("01 03 10 03 00 01", "01 03 02 00 00"),
        (START, START),
        ("01 03 10 0A 00 01", "01 03 02 00 00"),
        ("01 03 10 00 00 01", "01 03 02 00 0A"),
        ("01 03 10 01 00 01", "01 03 02 40 13"),
        (READ_STATE, ACTIVE),
        (READ_STATE, ACTIVE),
        (STOP, STOP),
        (READ_STATE, NOT_ACTIVE),
        (READ_STATE, NOT_ACTIVE),
    )
    assert on_tape(*exchanges)(main) is False


def test_a_trigger_that_would_be_the_same_as_before_is_another():
    async def main(driver):
        await driver.arm_watchdog(600.0)

    mask = "01 06 10 01 40 13"
    on_tape(
        (READ_STATE, ACTIVE),
        (STOP, STOP),
        (STANDARD_TYPE, STANDARD_TYPE),
        (TEN_MINUTES, TEN_MINUTES),
        (mask, mask),
        ("01 03 10 03 00 01", "01 03 02 00 01"),
        ("01 06 10 03 00 02", "01 06 10 03 00 02"),
        ("01 03 10 0A 00 01", "01 03 02 00 00"),
        ("01 03 10 00 00 01", "01 03 02 17 70"),
        ("01 03 10 01 00 01", "01 03 02 40 13"),
        (READ_STATE, ACTIVE),
    )(main)


@pytest.mark.parametrize(
    ("asked", "found", "said"),
    [
        ("01 03 10 00 00 01", "01 03 02 00 64", "register 0x1000 reads back 0x0064; expected 0x000A"),
        (READ_STATE, NOT_ACTIVE, "register 0x1006 reads back 0x0000; expected 0x0001"),
    ],
    ids=["time", "state"],
)
def test_a_watchdog_that_does_not_read_as_armed_is_a_fault(asked, found, said):
    async def main(driver):
        with pytest.raises(DeviceFault, match=said):
            await driver.arm_watchdog(1.0)

    mask = "01 06 10 01 40 13"
    reads = [
        ("01 03 10 0A 00 01", "01 03 02 00 00"),
        ("01 03 10 00 00 01", "01 03 02 00 0A"),
        ("01 03 10 01 00 01", "01 03 02 40 13"),
        (READ_STATE, ACTIVE),
    ]
    wrong = next(place for place, (ask, _) in enumerate(reads) if ask == asked)
    on_tape(
        (READ_STATE, NOT_ACTIVE),
        *((each, each) for each in (STOP, STANDARD_TYPE, ONE_SECOND, mask)),
        ("01 03 10 03 00 01", "01 03 02 00 00"),
        (START, START),
        *reads[:wrong],
        (asked, found),
    )(main)


def test_exception_4_with_the_watchdog_run_out_is_a_fault_that_says_so():
    async def main(driver):
        with pytest.raises(DeviceFault, match="its watchdog has run out"):
            await driver.inputs()

    on_tape((READ_INPUTS_0_TO_7, "01 82 04"), (READ_STATE, EXHAUSTED))(main)


def test_exception_4_without_it_is_a_refusal():
    async def main(driver):
        with pytest.raises(DeviceRefused, match="device failure"):
            await driver.inputs()

    on_tape((READ_INPUTS_0_TO_7, "01 82 04"), (READ_STATE, ACTIVE))(main)


@pytest.mark.parametrize("answer", ["01 02 00", "01 01 01 12", "01 02 02"], ids=str)
def test_an_answer_that_is_none_is_an_error_of_the_line(answer):
    async def main(driver):
        with pytest.raises(CodecError):
            await driver.inputs()

    on_tape((READ_INPUTS_0_TO_7, answer))(main)


def test_says_who_it_is():
    """Manual "750 ETHERNET TCP/IP", 6.5.4: 0x2010 firmware index, 0x2011 series, 0x2012 item, versions."""

    async def main(driver):
        return await driver.identity()

    identity = on_tape(
        ("01 03 20 11 00 01", "01 03 02 02 EE"),
        ("01 03 20 12 00 01", "01 03 02 01 60"),
        ("01 03 20 13 00 01", "01 03 02 00 01"),
        ("01 03 20 14 00 01", "01 03 02 00 04"),
        ("01 03 20 10 00 01", "01 03 02 00 05"),
    )(main)
    assert (identity.maker, identity.model, identity.firmware) == ("WAGO", "750-352", "1.4 (5)")


def test_the_emulator_answers_the_manuals_bits():
    def well(emulator):
        emulator._inputs = [place in {1, 4} for place in range(8)]

    asked = (
        READ_BITS_0_TO_7,
        READ_INPUTS_0_TO_7,
        SECOND_OUTPUT_ON,
        READ_BACK,
        "01 02 02 00 00 08",
        READ_BITS_0_TO_7,
    )
    assert run_virtual(lambda: answers(*asked, before=well)) == [
        BITS_12,
        INPUTS_12,
        SECOND_OUTPUT_ON,
        "01 01 01 02",
        "01 02 01 02",
        BITS_12,  # outputs stand 0x200 higher
    ]


def test_the_emulator_takes_outputs_at_both_addresses_and_several_at_once():
    asked = ("01 05 02 02 FF 00", READ_BACK, "01 0F 00 00 00 08 01 12", READ_BACK)
    assert run_virtual(lambda: answers(*asked)) == [
        "01 05 02 02 FF 00",
        "01 01 01 04",
        "01 0F 00 00 00 08",
        "01 01 01 12",
    ]


def test_the_emulators_watchdog_is_the_manuals():
    """Example p. 176: a second, function 5 feeds; then requests are answered with exception 4."""
    asked = (
        ONE_SECOND,
        MASK_OF_FUNCTION_5,
        START,
        READ_STATE,
        SECOND_OUTPUT_ON,  # at 0.9 s: fed
        READ_STATE,
        READ_INPUTS_0_TO_7,  # at 1.8 s: not fed by this
        READ_STATE,  # at 1.95 s: run out at 1.9 s
        READ_INPUTS_0_TO_7,
        SECOND_OUTPUT_ON,
        "01 03 10 04 00 01",  # the least rest: 0 says that it has run out
        OTHER_STOP,
        READ_STATE,
        READ_BACK,
    )
    waits = ((4, 0.9), (6, 0.9), (7, 0.15))
    assert run_virtual(lambda: answers(*asked, waits=waits)) == [
        ONE_SECOND,
        MASK_OF_FUNCTION_5,
        START,
        ACTIVE,
        SECOND_OUTPUT_ON,
        ACTIVE,
        "01 02 01 83",  # its own three inputs are well
        EXHAUSTED,
        "01 82 04",
        "01 85 04",
        "01 03 02 00 00",
        OTHER_STOP,
        NOT_ACTIVE,
        "01 01 01 00",
    ]


@pytest.mark.parametrize(
    ("again", "state"),
    [
        ("01 06 10 03 00 01", EXHAUSTED),  # the same value as before starts nothing
        ("01 06 10 03 00 02", ACTIVE),
        ("01 06 10 07 00 01", ACTIVE),
        ("01 06 10 08 55 AA", NOT_ACTIVE),
        ("01 06 10 05 55 55", EXHAUSTED),  # the second word without the first
    ],
    ids=["same trigger", "other trigger", "restart", "simple stop", "half a stop"],
)
def test_what_ends_a_watchdog_that_has_run_out(again, state):
    asked = ("01 05 00 00 FF 00", ONE_SECOND, START, READ_STATE, again, READ_STATE)
    found = run_virtual(lambda: answers(*asked, waits=((3, 1.5),)))
    assert found[3] == EXHAUSTED
    assert found[5] == state


def test_two_words_stop_it():
    asked = (
        ONE_SECOND,
        START,
        "01 06 10 05 AA AA",
        READ_STATE,
        "01 06 10 05 55 55",
        READ_STATE,
        "01 06 10 07 00 01",
        READ_STATE,
    )
    found = run_virtual(lambda: answers(*asked))
    assert (found[3], found[5]) == (ACTIVE, NOT_ACTIVE)
    assert found[7] == NOT_ACTIVE  # one that was stopped is not restarted


def test_time_zero_cannot_be_started_and_the_default_is_ten_seconds():
    asked = ("01 03 10 00 00 01", "01 06 10 00 00 00", START, READ_STATE)
    assert run_virtual(lambda: answers(*asked)) == ["01 03 02 00 64", "01 06 10 00 00 00", START, NOT_ACTIVE]


def test_the_emulator_refuses_what_the_coupler_does_not_have():
    asked = (
        "01 05 00 08 FF 00",  # a ninth output
        "01 01 00 00 00 09",  # a ninth input
        "01 02 04 00 00 01",  # beyond the process image
        "01 03 10 06 00 02",  # two registers at once
        "01 03 30 00 00 01",  # no such register
        "01 06 20 12 00 01",  # who it is
        "01 06 10 06 00 01",  # the state
        "01 06 10 0A 00 01",  # the alternative watchdog is not emulated
        START,
        ONE_SECOND,  # while it runs
        MASK_OF_FUNCTION_5,
    )
    assert run_virtual(lambda: answers(*asked)) == [
        "01 85 02",
        "01 81 02",
        "01 82 02",
        "01 83 02",
        "01 83 02",
        "01 86 03",
        "01 86 03",
        "01 86 03",
        START,
        "01 86 03",
        "01 86 03",
    ]


@given(
    table=st.sampled_from(Table),
    address=st.integers(0, 0xFFFF) | st.integers(0, 9) | st.integers(0x0FFF, 0x100C),
    values=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=10),
)
def test_any_request_is_answered_or_refused(table, address, values):
    async def main():
        emulator = Emulator("safety", RigPlant(PlantSpec()), Options(inputs=INPUTS, outputs=OUTPUTS))
        with contextlib.suppress(ModbusRefusal):
            assert len(emulator.read(table, address, len(values))) == len(values)
        with contextlib.suppress(ModbusRefusal):
            emulator.write(table, address, values)
        await emulator.stop()

    run_virtual(main)


def test_the_mask_has_a_bit_for_each_function_that_feeds():
    """Manual p. 173: bit 0 for function 1."""
    assert [n + 1 for n in range(16) if points.FEEDING_MASK >> n & 1] == [1, 2, 5, 15]
