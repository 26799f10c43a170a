"""Bytes of the board against published examples, at both ends of the line."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.waveshare_relay import Driver, Emulator, Options
from harness.clock import rig_loop, run_virtual
from harness.errors import CodecError, DeviceFault, DeviceRefused, WireError
from harness.plant import PlantSpec, RigPlant
from harness.readings import Voice
from harness.wires import ModbusRefusal, Table
from harness.wires.modbus import ModbusTcpLine, ModbusTcpServer

# Unit, function and what follows. Waveshare's wiki prints them for the serial line, where two bytes of CRC
# follow; on TCP a header of six bytes goes before them instead.
READ_ALL = "01 01 00 00 00 08"
ALL_OFF = "01 01 01 00"
FIRST_ON = "01 05 00 00 FF 00"
FIRST_OFF = "01 05 00 00 00 00"
SECOND_ON = "01 05 00 01 FF 00"
READ_VERSION = "01 03 80 00 00 01"
VERSION_2 = "01 03 02 00 C8"


class Tape:
    """A far end that knows one conversation, message by message, and says where it was left."""

    def __init__(self, *exchanges):
        self._exchanges = [(bytes.fromhex(ask), bytes.fromhex(answer)) for ask, answer in exchanges]
        self.departures = []

    async def serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(6)
                asked = await reader.readexactly(int.from_bytes(head[4:6], "big"))
                expected, answer = self._exchanges.pop(0) if self._exchanges else (b"", b"")
                if asked != expected:
                    self.departures.append((expected.hex(" "), asked.hex(" ")))
                writer.write(head[:4] + len(answer).to_bytes(2, "big") + answer)
        writer.close()

    def check(self):
        assert not self.departures
        assert not self._exchanges


@contextlib.asynccontextmanager
async def playing(tape):
    """A line to the tape."""
    server = await asyncio.start_server(tape.serve, "127.0.0.1", 0)
    line = ModbusTcpLine("lan", "127.0.0.1", server.sockets[0].getsockname()[1])
    await line.open()
    try:
        yield line
    finally:
        await line.close()
        server.close()
        await server.wait_closed()
        await rig_loop().settle()


def on_tape(*exchanges, unit=1):
    """Run a conversation of the driver against a tape."""

    def play(main):
        tape = Tape(*exchanges)

        async def run():
            async with playing(tape) as line:
                driver = Driver("relay", line, Options(unit=unit, faults={"a": 1, "b": 2}), Voice("relay"))
                return await main(driver)

        found = run_virtual(run)
        tape.check()
        return found

    return play


async def answers(*asked):
    """Send messages to the emulator's real server, and give what comes back."""
    emulator = Emulator("relay", RigPlant(PlantSpec()), Options(faults={"a": 1}))
    server = ModbusTcpServer("lan", {1: emulator})
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    found = []
    for number, text in enumerate(asked):
        data = bytes.fromhex(text)
        writer.write(number.to_bytes(2, "big") + b"\0\0" + len(data).to_bytes(2, "big") + data)
        head = await reader.readexactly(6)
        assert head[:4] == number.to_bytes(2, "big") + b"\0\0"
        found.append((await reader.readexactly(int.from_bytes(head[4:6], "big"))).hex(" ").upper())
    writer.close()
    await server.stop()
    await rig_loop().settle()
    return found


def test_the_line_speaks_the_protocols_own_examples():
    """Modbus Application Protocol V1.1b3, 6.1 (coils 20 to 38) and 6.5 (coil 173 on)."""
    tape = Tape(("01 01 00 13 00 13", "01 01 03 CD 6B 05"), ("01 05 00 AC FF 00", "01 05 00 AC FF 00"))

    async def main():
        async with playing(tape) as line:
            coils = await line.read_coils(1, 0x13, 19)
            await line.write_coil(1, 0xAC, True)
            return "".join(str(int(coil)) for coil in coils)

    # CD 6B 05, each byte from its lowest bit.
    assert run_virtual(main) == "10110011" + "11010110" + "101"
    tape.check()


def test_inserts_and_removes_in_the_makers_bytes():
    async def main(driver):
        await driver.open()
        await driver.insert("a")
        await driver.remove("a")
        return (await driver.inserted()).value

    exchanges = (
        (READ_ALL, ALL_OFF),
        (FIRST_ON, FIRST_ON),
        (READ_ALL, "01 01 01 01"),
        (FIRST_OFF, FIRST_OFF),
        (READ_ALL, ALL_OFF),
        (READ_ALL, "01 01 01 FE"),
    )
    assert on_tape(*exchanges)(main) == {"b"}


def test_the_version_is_in_hundredths():
    async def main(driver):
        return await driver.identity()

    identity = on_tape((READ_VERSION, VERSION_2))(main)
    assert (identity.maker, identity.model, identity.firmware) == (
        "Waveshare",
        "Modbus POE ETH Relay",
        "2.00",
    )


def test_a_board_without_a_version_is_still_a_board():
    async def main(driver):
        return await driver.identity()

    assert on_tape((READ_VERSION, "01 83 02"))(main).firmware == ""


def test_a_read_back_of_another_relay_is_a_fault():
    async def main(driver):
        with pytest.raises(DeviceFault, match=r"insert\('b'\).*relay 2 reads back off"):
            await driver.insert("b")

    on_tape((SECOND_ON, SECOND_ON), (READ_ALL, "01 01 01 01"))(main)


def test_a_refusal_is_not_read_back():
    async def main(driver):
        with pytest.raises(DeviceRefused, match="device failure"):
            await driver.insert("a")

    on_tape((FIRST_ON, "01 85 04"))(main)


@pytest.mark.parametrize("answer", ["01 01 00", "01 05 00 00 FF 00", "01 01 02"], ids=str)
def test_an_answer_that_is_none_is_an_error_of_the_line(answer):
    async def main(driver):
        with pytest.raises(CodecError):
            await driver.inserted()

    on_tape((READ_ALL, answer))(main)


def test_the_emulator_answers_the_makers_bytes():
    asked = (READ_ALL, FIRST_ON, READ_ALL, SECOND_ON, READ_ALL, FIRST_OFF, READ_ALL, READ_VERSION)
    assert run_virtual(lambda: answers(*asked)) == [
        ALL_OFF,
        FIRST_ON,
        "01 01 01 01",
        SECOND_ON,
        "01 01 01 03",
        FIRST_OFF,
        "01 01 01 02",
        VERSION_2,
    ]


def test_the_emulator_refuses_what_the_board_does_not_have():
    asked = (
        "01 05 00 AC FF 00",  # the protocol's example: coil 173
        "01 01 00 13 00 13",  # the protocol's example: coils 20 to 38
        "01 01 00 07 00 02",  # partly beyond
        "01 02 00 00 00 08",  # discrete inputs
        "01 03 00 00 00 01",  # another register
        "01 06 80 00 00 01",  # the version is not written
        "01 0F 00 00 00 08 01 FF",  # several at once are not emulated
    )
    assert run_virtual(lambda: answers(*asked)) == [
        "01 85 02",
        "01 81 02",
        "01 81 02",
        "01 82 01",
        "01 83 02",
        "01 86 01",
        "01 8F 01",
    ]


@given(
    table=st.sampled_from(Table),
    address=st.integers(0, 0xFFFF) | st.integers(0, 9),
    values=st.lists(st.integers(0, 1), min_size=1, max_size=10),
)
def test_any_request_is_answered_or_refused(table, address, values):
    async def main():
        emulator = Emulator("relay", RigPlant(PlantSpec()), Options(faults={"a": 1}))
        is_coil = table is Table.COILS and address + len(values) <= 8
        if is_coil and len(values) == 1:
            emulator.write(table, address, values)
            assert emulator.read(table, address, 1) == values
        else:
            with pytest.raises(ModbusRefusal):
                emulator.write(table, address, values)
            assert emulator.relays == (False,) * 8

    run_virtual(main)


@given(answer=st.binary(min_size=2, max_size=12))
def test_no_answer_raises_anything_but_errors_of_the_line(answer):
    async def main(driver):
        try:
            relays = (await driver.inserted()).value
        except (WireError, DeviceRefused):
            return True
        return relays <= {"a", "b"}

    assert on_tape((READ_ALL, answer.hex()))(main)
