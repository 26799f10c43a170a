"""Bytes of the table, written by hand from its README, at both ends of the line; and the codec by itself."""

import asyncio
import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.rackproof_ems import Driver, Emulator, Options, codec, points
from harness.clock import rig_loop, run_virtual
from harness.errors import CodecError, DeviceFault
from harness.plant import RigPlant
from harness.readings import Voice
from harness.wires import ModbusRefusal, Table
from harness.wires.modbus import ModbusTcpLine

from .ems_bench import SITE

# Unit, function and what follows; a header of six bytes goes before them (Modbus Application Protocol
# V1.1b3).
READ_MARK = "01 03 00 00 00 02"
MARK = "01 03 04 45 4D 00 01"
READ_MEASURED = "01 03 01 00 00 0F"
# Beat 7, 10.0 s; demand 6,000 W, sun 1,000 W, grid -7,500 W, battery -2,500 W; 48.25 %, rule 5, 65,536 W, no
# island.
MEASURED = (
    "01 03 1E 00 07 00 64 00 00 17 70 00 00 03 E8 FF FF E2 B4 FF FF F6 3C 12 D9 00 05 00 01 00 00 00 00"
)
READ_CONTRACT = "01 03 04 02 00 02"
NO_CONTRACT = "01 03 04 FF FF FF FF"
WRITE_CONTRACT = "01 10 04 02 00 02 04 00 01 86 A0"  # 100,000 W
WROTE_CONTRACT = "01 10 04 02 00 02"
CONTRACT = "01 03 04 00 01 86 A0"
TURN_ON = "01 06 04 00 00 01"
READ_ON = "01 03 04 00 00 01"
IS_ON = "01 03 02 00 01"
IS_OFF = "01 03 02 00 00"


def on_tape(*exchanges):
    """Run a conversation of the driver against a far end that knows nothing else."""
    ahead = [(bytes.fromhex(ask), bytes.fromhex(answer)) for ask, answer in exchanges]
    departures = []

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(6)
                asked = await reader.readexactly(int.from_bytes(head[4:6], "big"))
                expected, answer = ahead.pop(0) if ahead else (b"", b"")
                if asked != expected:
                    departures.append((expected.hex(" "), asked.hex(" ")))
                writer.write(head[:4] + len(answer).to_bytes(2, "big") + answer)
        writer.close()

    def play(main):
        async def run():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            line = ModbusTcpLine("lan", "127.0.0.1", server.sockets[0].getsockname()[1])
            await line.open()
            try:
                return await main(Driver("ems", line, Options(), Voice("ems")))
            finally:
                await line.close()
                server.close()
                await server.wait_closed()
                await rig_loop().settle()

        found = run_virtual(run)
        assert departures == []
        assert ahead == []
        return found

    return play


def test_opens_on_the_mark():
    on_tape((READ_MARK, MARK))(lambda driver: driver.open())


def test_another_map_is_refused():
    async def main(driver):
        with pytest.raises(
            CodecError, match="mark 0x5375, version 28243; an energy manager has 0x454d and 1"
        ):
            await driver.open()

    on_tape((READ_MARK, "01 03 04 53 75 6E 53"))(main)


def test_every_measurement_is_where_the_table_has_it():
    async def main(driver):
        asks = (driver.demand_w, driver.solar_w, driver.grid_power_w, driver.battery_power_setpoint_w)
        asks += (driver.soc, driver.window_power_w, driver.rule, driver.is_islanded, driver.interval_s)
        return [(await ask()).value for ask in asks]

    found = on_tape(*[(READ_MEASURED, MEASURED)] * 9)(main)
    assert found == [
        6000.0,
        1000.0,
        -7500.0,
        -2500.0,
        pytest.approx(0.4825),
        65_536.0,
        "contract",
        False,
        10.0,
    ]


def test_a_contract_is_written_and_read_back():
    async def main(driver):
        before = (await driver.contract_power_w()).value
        await driver.set_contract_power_w(100_000.0)
        return before

    exchanges = ((READ_CONTRACT, NO_CONTRACT), (WRITE_CONTRACT, WROTE_CONTRACT), (READ_CONTRACT, CONTRACT))
    assert on_tape(*exchanges)(main) == math.inf


def test_what_does_not_read_back_is_a_fault():
    async def main(driver):
        with pytest.raises(
            DeviceFault, match=r"turn_on\(1\.0\) was answered and not done: is_on reads back 0"
        ):
            await driver.turn_on()

    on_tape((TURN_ON, TURN_ON), (READ_ON, IS_OFF))(main)
    on_tape((TURN_ON, TURN_ON), (READ_ON, IS_ON))(lambda driver: driver.turn_on())


def test_a_rule_that_is_none_is_an_error_of_the_line():
    async def main(driver):
        with pytest.raises(CodecError, match="rule 12 came; there are 0 to 9"):
            await driver.rule()

    on_tape((READ_MEASURED, MEASURED.replace("00 05", "00 0C")))(main)


def served(ask):
    """The emulator's answer, past any line."""
    unit, function, *rest = bytes.fromhex(ask)
    assert unit == 1
    emulator = Emulator("ems", RigPlant(SITE), Options())
    first, number = int.from_bytes(bytes(rest[0:2])), int.from_bytes(bytes(rest[2:4]))
    if function == 3:
        return emulator.read(Table.HOLDING, first, number)
    values = [number] if function == 6 else [int.from_bytes(bytes(rest[i : i + 2])) for i in (5, 7)]
    emulator.write(Table.HOLDING, first, values)
    return emulator.read(Table.HOLDING, first, len(values))


@pytest.mark.parametrize(
    ("ask", "answer"), [(READ_MARK, MARK), (READ_CONTRACT, NO_CONTRACT), (READ_ON, IS_OFF)], ids=str
)
def test_the_emulator_has_the_same_table(ask, answer):
    registers = bytes.fromhex(answer)[3:]
    assert served(ask) == [int.from_bytes(registers[i : i + 2]) for i in range(0, len(registers), 2)]


def test_the_emulator_takes_the_same_writes():
    assert served(WRITE_CONTRACT) == [0x0001, 0x86A0]
    assert served("01 06 04 01 13 88") == [5000]


@pytest.mark.parametrize(
    ("address", "values"),
    [(0x0401, [9001]), (0x0400, [2]), (0x0406, [0, 0]), (0x0402, [1]), (0x0403, [1]), (0x0102, [0, 1])],
)
def test_the_emulator_refuses_what_the_table_does_not_allow(address, values):
    emulator = Emulator("ems", RigPlant(SITE), Options())
    with pytest.raises(ModbusRefusal):
        emulator.write(Table.HOLDING, address, values)


@pytest.mark.parametrize(("table", "address", "count"), [(Table.INPUT, 0, 1), (Table.HOLDING, 0x01F0, 1)])
def test_the_emulator_has_nothing_else(table, address, count):
    with pytest.raises(ModbusRefusal):
        Emulator("ems", RigPlant(SITE), Options()).read(table, address, count)


ALL = (*points.IDENTITY, *points.MEASURED, *points.SETTINGS)
NUMBERS = [point for point in ALL if point.kind is not points.Kind.TEXT]


@given(point=st.sampled_from(NUMBERS), registers=st.lists(st.integers(0, 0xFFFF), min_size=2, max_size=2))
def test_encode_and_decode_are_inverse(point, registers):
    registers = registers[: point.count]
    assert codec.encode(point, codec.decode(point, registers)) == registers


@given(point=st.sampled_from(ALL), registers=st.lists(st.integers(-1, 0x1_0000), max_size=9))
def test_no_registers_raise_anything_but_codec_errors(point, registers):
    read = codec.decode_text if point.kind is points.Kind.TEXT else codec.decode
    with contextlib.suppress(CodecError):
        read(point, registers)


@given(value=st.floats(allow_nan=False), point=st.sampled_from(NUMBERS))
def test_any_number_saturates(value, point):
    registers = codec.encode(point, value)
    assert len(registers) == point.count
    assert all(0 <= register <= 0xFFFF for register in registers)


def test_points_do_not_overlap():
    taken = [register for point in ALL for register in range(point.address, point.address + point.count)]
    for first in (points.DEMAND_FORECAST, points.SOLAR_FORECAST):
        taken += range(first, first + 2 * points.FORECAST_STEPS)
    assert len(taken) == len(set(taken))
