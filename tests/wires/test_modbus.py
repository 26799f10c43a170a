"""Modbus TCP between pymodbus at both ends, and against bytes written down from the specification."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest

from harness.clock import now_s, rig_loop, run_virtual, run_wall
from harness.errors import BenchError, CodecError, DeviceRefused, WireClosed, WireError, WireTimeout
from harness.testing.loopback import modbus_pair
from harness.wires import ModbusRefusal, Refusal, Table
from harness.wires.faults import Direction, StreamFaults
from harness.wires.modbus import ModbusTcpLine, ModbusTcpServer

from .far_end import free_port, nobody_accepts, on_both_loops, open_files_and_threads, scripted, takes


class Unit:
    """Holds in each register its own address, and keeps what is written."""

    def __init__(self):
        self.written = []
        self.refusal = None
        self.silent = False

    def _mood(self):
        if self.refusal is not None:
            raise ModbusRefusal(self.refusal)
        if self.silent:
            raise TimeoutError

    def read(self, table, address, count):
        self._mood()
        if table is Table.COILS:
            return [number % 3 == 0 for number in range(address, address + count)]
        if table is Table.DISCRETE_INPUTS:
            return [number % 2 for number in range(address, address + count)]
        if table is Table.INPUT:
            return [65535 - number for number in range(address, address + count)]
        return list(range(address, address + count))

    def write(self, table, address, values):
        self._mood()
        self.written.append((table, address, list(values)))


def adu(request, pdu, *, transaction=None, unit=None):
    """Frame a PDU as an answer to a request (Modbus Messaging on TCP/IP Guide V1.0b, 3.1.3)."""
    asked, _, _, asked_unit = struct.unpack(">HHHB", request[:7])
    head = struct.pack(
        ">HHHB",
        asked if transaction is None else transaction,
        0,
        len(pdu) + 1,
        asked_unit if unit is None else unit,
    )
    return head + pdu


@contextlib.asynccontextmanager
async def line_to(answer, *, timeout_s=0.3):
    async with scripted(answer) as port:
        line = ModbusTcpLine("pcs_lan", "127.0.0.1", port, timeout_s=timeout_s)
        await line.open()
        try:
            yield line
        finally:
            await line.close()


@on_both_loops
def test_reads_and_writes_reach_the_unit_whole(run):
    async def main():
        unit = Unit()
        async with modbus_pair({7: unit}) as line:
            assert await line.read_holding(7, 0, 1) == [0]
            assert await line.read_holding(7, 40000, 125) == list(range(40000, 40125))
            assert await line.read_input(7, 2, 3) == [65533, 65532, 65531]
            assert await line.read_coils(7, 0, 9) == [True, False, False] * 3
            assert await line.read_discrete_inputs(7, 1, 9) == [True, False] * 4 + [True]
            await line.write_holding(7, 100, [65535])
            await line.write_holding(7, 200, list(range(123)))
            await line.write_coil(7, 5, True)
            await line.write_coil(7, 6, False)
        assert unit.written == [
            (Table.HOLDING, 100, [65535]),
            (Table.HOLDING, 200, list(range(123))),
            (Table.COILS, 5, [1]),
            (Table.COILS, 6, [0]),
        ]

    run(main)


def test_an_emulator_that_is_wrong_is_told_by_its_own_error(caplog):
    class Wrong(Unit):
        def read(self, table, address, count):
            return {}[address]

    async def main():
        async with modbus_pair({5: Wrong()}) as line:
            await line.read_holding(5, 3111, 2)

    async def plan():
        await rig_loop().guarded(main(), limit_s=60.0, name="a plan")

    with pytest.raises(BenchError, match=r"^the emulator of Modbus unit 5 failed: KeyError: 3111$"):
        run_virtual(plan)
    assert "in read\n    return {}[address]" in caplog.text


def test_the_bytes_are_those_of_the_specification():
    # Modbus Application Protocol V1.1b3, 6.3, 6.4, 6.6, 6.12, 6.1, 6.2 and 6.5: the examples there.
    examples = {
        bytes.fromhex("03 006B 0003"): bytes.fromhex("03 06 022B 0000 0064"),
        bytes.fromhex("04 0008 0001"): bytes.fromhex("04 02 000A"),
        bytes.fromhex("06 0001 0003"): bytes.fromhex("06 0001 0003"),
        bytes.fromhex("10 0001 0002 04 000A 0102"): bytes.fromhex("10 0001 0002"),
        bytes.fromhex("01 0013 0013"): bytes.fromhex("01 03 CD 6B 05"),
        bytes.fromhex("02 00C4 0016"): bytes.fromhex("02 03 AC DB 35"),
        bytes.fromhex("05 00AC FF00"): bytes.fromhex("05 00AC FF00"),
    }

    async def main():
        async with line_to(lambda request: [(0.0, adu(request, examples[request[7:]]))]) as line:
            assert await line.read_holding(17, 0x6B, 3) == [0x022B, 0, 0x64]
            assert await line.read_input(17, 8, 1) == [10]
            await line.write_holding(17, 1, [3])
            await line.write_holding(17, 1, [0x000A, 0x0102])
            # Coils 20 to 38: 27-20 are CD, 35-28 are 6B, 38-36 are 05.
            coils = await line.read_coils(17, 0x13, 19)
            assert "".join(str(int(coil)) for coil in reversed(coils[:8])) == f"{0xCD:08b}"
            assert coils[16:] == [True, False, True]
            # Inputs 197 to 218: 204-197 are AC, 212-205 are DB, 218-213 are 35.
            inputs = await line.read_discrete_inputs(17, 0xC4, 22)
            assert "".join(str(int(each)) for each in reversed(inputs)) == f"{0x35:06b}{0xDB:08b}{0xAC:08b}"
            await line.write_coil(17, 0xAC, True)

    run_virtual(main)


@pytest.mark.parametrize("answered", ["01 01 05", "01 00", "01 04 CD 6B 05 00"])
def test_bits_come_in_the_bytes_that_were_asked_for(answered):
    """A server that echoes, or counts otherwise, must not be taken for one whose relays are all open."""

    async def main():
        async with line_to(lambda request: [(0.0, adu(request, bytes.fromhex(answered)))]) as line:
            with pytest.raises(
                CodecError, match=r"unit 17, read of 19 coils at 19: .* bits came; expected 24"
            ):
                await line.read_coils(17, 0x13, 19)

    run_virtual(main)


@pytest.mark.parametrize("request_pdu", ["05 0001 FF00", "05 0000 0000", "06 0003 ABCD"])
def test_a_single_write_is_answered_by_its_echo_whatever_reads_there(request_pdu):
    async def main():
        server = ModbusTcpServer("echo", {1: Unit()})
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        pdu = bytes.fromhex(request_pdu)
        writer.write(bytes.fromhex("0007 0000 0006 01") + pdu)
        answer = await reader.readexactly(12)
        writer.close()
        await server.stop()
        await rig_loop().settle()
        return answer[7:] == pdu

    assert run_virtual(main)


@on_both_loops
def test_a_silent_unit_and_one_that_is_not_there_cost_the_time_out_and_no_more(run):
    async def main():
        unit = Unit()
        async with modbus_pair({1: unit}, timeout_s=0.25) as line:
            with takes(0.25), pytest.raises(WireTimeout, match=r"modbus .*unit 2, read of 3 registers at 40"):
                await line.read_holding(2, 40, 3)
            unit.silent = True
            with takes(0.25), pytest.raises(WireTimeout, match=r"no answer within 0\.25 s"):
                await line.write_coil(1, 0, True)
            unit.silent = False
            with takes(0.0):
                assert await line.read_holding(1, 40, 1) == [40]
            assert unit.written == []

    run(main)


@pytest.mark.parametrize("refusal", Refusal)
def test_a_refusal_carries_its_code_in_words(refusal):
    async def main():
        unit = Unit()
        async with modbus_pair({1: unit}) as line:
            unit.refusal = refusal
            words = refusal.name.lower().replace("_", " ")
            with pytest.raises(DeviceRefused, match=rf"unit 1, .* refused: {words} \(0x0{refusal.value}\)"):
                await line.read_holding(1, 40, 3)
            with pytest.raises(DeviceRefused, match=words):
                await line.write_holding(1, 40, [1, 2])
            with pytest.raises(DeviceRefused, match=words):
                await line.write_coil(1, 40, True)
            unit.refusal = None
            assert await line.read_holding(1, 40, 1) == [40]

    run_virtual(main)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (5, "acknowledged, still working"),
        (8, "memory parity error"),
        (10, "gateway path unavailable"),
        (11, "gateway target did not answer"),
        (0x55, "exception 0x55"),
    ],
)
def test_refusals_of_other_devices_are_in_words_too(code, words):
    async def main():
        async with line_to(lambda request: [(0.0, adu(request, bytes([0x83, code])))]) as line:
            with pytest.raises(DeviceRefused, match=words):
                await line.read_holding(1, 0, 1)

    run_virtual(main)


@pytest.mark.parametrize("direction", Direction)
def test_a_lost_message_costs_the_time_out_and_the_next_one_is_whole(direction):
    async def main():
        faults = StreamFaults()
        async with modbus_pair({1: Unit()}, timeout_s=0.4, faults=faults) as line:
            faults.drop(2, direction)
            for _ in range(2):
                with takes(0.4), pytest.raises(WireTimeout):
                    await line.read_holding(1, 0, 1)
            with takes(0.0):
                assert await line.read_holding(1, 9, 1) == [9]

    run_virtual(main)


@pytest.mark.parametrize("direction", Direction)
def test_a_delay_passes_in_rig_time(direction):
    async def main():
        faults = StreamFaults()
        async with modbus_pair({1: Unit()}, timeout_s=0.4, faults=faults) as line:
            faults.delay(0.1, 0.39, direction=direction)
            with takes(0.1):
                assert await line.read_holding(1, 1, 1) == [1]
            with takes(0.39):
                assert await line.read_holding(1, 2, 1) == [2]
            with takes(0.0):
                assert await line.read_holding(1, 3, 1) == [3]

    run_virtual(main)


@pytest.mark.parametrize("pause_s", [0.0, 0.05, 0.2])
def test_a_late_answer_does_not_answer_the_next_question(pause_s):
    async def main():
        faults = StreamFaults()
        async with modbus_pair({1: Unit()}, timeout_s=0.4, faults=faults) as line:
            faults.delay(0.5)
            with pytest.raises(WireTimeout):
                await line.read_holding(1, 100, 2)
            await asyncio.sleep(pause_s)
            faults.delay(0.15)  # the late answer overtakes the next one
            assert await line.read_holding(1, 200, 2) == [200, 201]
            assert await line.read_holding(1, 300, 2) == [300, 301]

    run_virtual(main)


def test_an_answer_that_comes_twice_is_one_answer():
    async def main():
        faults = StreamFaults()
        async with modbus_pair({1: Unit()}, faults=faults) as line:
            faults.duplicate(3)
            for address in range(5):
                assert await line.read_holding(1, address, 1) == [address]

    run_virtual(main)


def test_a_question_that_comes_twice_is_written_twice():
    async def main():
        faults, unit = StreamFaults(), Unit()
        async with modbus_pair({1: unit}, faults=faults) as line:
            faults.duplicate(direction=Direction.TO_DEVICE)
            await line.write_holding(1, 5, [77])
            assert await line.read_holding(1, 6, 1) == [6]
        assert unit.written == [(Table.HOLDING, 5, [77])] * 2

    run_virtual(main)


def test_a_damaged_head_is_no_answer_and_a_damaged_value_is_a_value():
    async def main():
        faults = StreamFaults()
        async with modbus_pair({1: Unit()}, timeout_s=0.4, faults=faults) as line:
            faults.corrupt()  # the middle of eleven bytes is the length
            with pytest.raises(CodecError, match="11 bytes came that are no answer"):
                await line.read_holding(1, 1, 1)
            faults.corrupt()  # the middle of 29 bytes is a register: Modbus TCP has no checksum of its own
            assert await line.read_holding(1, 0, 10) == [0, 1, 2 ^ 0xFF, *range(3, 10)]
            assert await line.read_holding(1, 1, 1) == [1]

    run_virtual(main)


def test_a_cable_pulled_out_is_silence_until_it_is_back():
    async def main():
        faults = StreamFaults()
        async with modbus_pair({1: Unit()}, timeout_s=0.4, faults=faults) as line:
            faults.is_cut = True
            with takes(0.4), pytest.raises(WireTimeout):
                await line.read_holding(1, 1, 1)
            faults.is_cut = False
            assert await line.read_holding(1, 1, 1) == [1]

    run_virtual(main)


def test_a_connection_that_broke_is_found_by_the_exchange_and_made_anew_by_the_next():
    async def main():
        faults = StreamFaults()
        async with modbus_pair({1: Unit()}, timeout_s=0.4, faults=faults) as line:
            faults.hang_up()  # in between: the next exchange connects
            await asyncio.sleep(1.0)
            assert await line.read_holding(1, 1, 1) == [1]
            faults.delay(0.3)
            rig_loop().call_later(0.1, faults.hang_up)  # while an answer is due
            with takes(0.4), pytest.raises(WireError):
                await line.read_holding(1, 2, 1)
            with takes(0.0):
                assert await line.read_holding(1, 3, 1) == [3]

    run_virtual(main)


def test_a_device_that_starts_up_refuses_and_comes_back():
    async def main():
        faults = StreamFaults()
        async with modbus_pair({1: Unit()}, timeout_s=0.4, faults=faults) as line:
            faults.is_refusing = True
            assert await line.read_holding(1, 1, 1) == [1]  # a connection that stands is not touched
            faults.hang_up()
            for _ in range(2):
                with pytest.raises(WireClosed, match=r"modbus \(Modbus TCP 127\.0\.0\.1:\d+\)"):
                    await line.read_holding(1, 1, 1)
            faults.is_refusing = False
            assert await line.read_holding(1, 1, 1) == [1]

    run_virtual(main)


@on_both_loops
def test_an_answer_in_pieces_is_one_answer(run):
    def answer(request):
        whole = adu(request, bytes.fromhex("03 04 0102 0304"))
        return [(0.0, whole[:1]), (0.02, whole[1:7]), (0.02, whole[7:10]), (0.02, whole[10:])]

    async def main():
        async with line_to(answer) as line:
            with takes(0.06):
                assert await line.read_holding(1, 0, 2) == [0x0102, 0x0304]

    run(main)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (lambda request: adu(request, bytes.fromhex("04 02 0001")), "function 0x04 answered function 0x03"),
        (lambda request: adu(request, bytes.fromhex("84 02")), "function 0x84 answered function 0x03"),
        (lambda request: adu(request, bytes.fromhex("03 02 0001")), "1 registers came"),
        (
            lambda request: adu(request, bytes.fromhex("03 04 0001 0002"), transaction=0xBEEF),
            "no answer to it",
        ),
        (lambda request: adu(request, bytes.fromhex("03 04 0001 0002"), unit=9), "no answer to it"),
        (lambda request: adu(request, bytes.fromhex("03 04 0001")), "no answer to it"),
        (lambda request: adu(request, b""), "no answer to it"),
        (lambda request: adu(request, bytes.fromhex("2B 00")), "answer"),
        (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "no answer to it"),
        (lambda _: b"\x00", "1 bytes came that are no answer to it"),
    ],
    ids=[
        "other function",
        "refusal of another function",
        "too few registers",
        "other transaction",
        "other unit",
        "fewer bytes than it says",
        "empty",
        "unknown function",
        "another protocol",
        "one byte",
    ],
)
def test_what_is_no_answer_is_a_codec_error(said, why):
    async def main():
        async with line_to(lambda request: [(0.0, said(request))]) as line:
            with pytest.raises(CodecError, match=why):
                await line.read_holding(1, 0, 2)
            assert now_s() <= 0.3 + 1e-9

    run_virtual(main)


@on_both_loops
def test_a_device_that_hangs_up_in_the_middle_of_an_answer_is_closed(run):
    def answer(request):
        return [(0.0, adu(request, bytes.fromhex("03 04 0102 0304"))[:9]), (0.02, b"")]

    async def main():
        async with line_to(answer) as line:
            with pytest.raises(WireClosed, match="the connection broke"):
                await line.read_holding(1, 0, 2)

    run(main)


@on_both_loops
def test_many_at_once_each_get_their_own_answer(run):
    async def main():
        async with modbus_pair({1: Unit(), 2: Unit()}) as line:
            answers = await asyncio.gather(*(line.read_holding(1 + n % 2, 10 * n, 3) for n in range(30)))
        assert answers == [[10 * n, 10 * n + 1, 10 * n + 2] for n in range(30)]

    run(main)


@on_both_loops
def test_closing_gives_everything_back_and_may_be_done_twice(run):
    async def main():
        before = open_files_and_threads()
        server = ModbusTcpServer("pcs_lan", {1: Unit()})
        await server.start()
        line = ModbusTcpLine("pcs_lan", "127.0.0.1", server.port)
        await line.close()  # never opened
        await line.open()
        assert await line.read_holding(1, 1, 1) == [1]
        assert open_files_and_threads() > before
        for _ in range(2):
            await line.close()
        for _ in range(2):
            await server.stop()
        with pytest.raises(WireClosed, match=r"pcs_lan .* not sent: the line is closed"):
            await line.read_holding(1, 1, 1)
        await asyncio.sleep(0.01)  # both ends have noticed
        assert open_files_and_threads() == before

    run(main)


@on_both_loops
def test_nobody_there_names_wire_and_address(run):
    async def main():
        port = free_port()
        line = ModbusTcpLine("pcs_lan", "127.0.0.1", port, timeout_s=0.2)
        with takes(0.0), pytest.raises(WireClosed, match=rf"pcs_lan \(Modbus TCP 127\.0\.0\.1:{port}\)"):
            await line.open()
        await line.close()

    run(main)


def test_nobody_who_accepts_costs_the_time_out_and_no_more():
    async def main():
        with nobody_accepts() as port:
            line = ModbusTcpLine("pcs_lan", "127.0.0.1", port, timeout_s=0.2)
            with (
                takes(0.2),
                pytest.raises(WireTimeout, match=rf"127\.0\.0\.1:{port}\): no connection within"),
            ):
                await line.open()
            await line.close()

    run_wall(main)
