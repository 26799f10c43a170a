"""A VISA socket line between pyvisa-py and an emulated instrument, and against bytes written down."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from harness.clock import rig_loop, run_virtual, run_wall
from harness.errors import CodecError, DeviceRefused, WireClosed, WireError, WireTimeout
from harness.testing.loopback import visa_pair
from harness.wires.faults import Direction, StreamFaults
from harness.wires.scpi import encode_block
from harness.wires.traffic import LineTraffic
from harness.wires.visa import InstrumentServer, VisaSocketLine, VisaThreadLine, open_line

from .far_end import free_port, nobody_accepts, on_both_loops, open_files_and_threads, scripted, takes

ALL_BYTES = bytes(range(256))


class Instrument:
    """Says back what it was asked; takes its time where it is told to."""

    def __init__(self):
        self.heard = []
        self.said = {}
        self.thinks_s = 0.0

    async def answer(self, message):
        self.heard.append(message)
        await asyncio.sleep(self.thinks_s)
        if message in self.said:
            return self.said[message]
        return b"said " + message if message.endswith(b"?") else None


@contextlib.asynccontextmanager
async def line_to(answer, *, timeout_s=0.3, traffic=None):
    async with scripted(answer) as port:
        resource = f"TCPIP::127.0.0.1::{port}::SOCKET"
        line = VisaSocketLine("meter_lan", resource, timeout_s=timeout_s, traffic=traffic)
        await line.open()
        try:
            yield line
        finally:
            await line.close()


@on_both_loops
def test_messages_arrive_whole_and_in_order(run):
    async def main():
        instrument = Instrument()
        async with visa_pair(instrument) as line:
            await line.write("VOLT 1")
            assert await line.query("A?") == "said A?"
            await line.write("VOLT 2")
            await line.write("VOLT 3")
            assert await line.query("B?") == "said B?"
        assert instrument.heard == [b"VOLT 1", b"A?", b"VOLT 2", b"VOLT 3", b"B?"]

    run(main)


@on_both_loops
@pytest.mark.parametrize("size", [0, 1, 4096, 32 * 1024, 1024 * 1024])
def test_a_block_of_any_bytes_arrives_whole(run, size):
    async def main():
        instrument = Instrument()
        payload = (ALL_BYTES * (size // 256 + 1))[:size]
        instrument.said[b"DATA?"] = encode_block(payload)
        async with visa_pair(instrument, timeout_s=5.0) as line:
            for _ in range(2):
                assert await line.query_block("DATA?") == payload
            assert await line.query("A?") == "said A?"

    run(main)


@on_both_loops
def test_silence_costs_the_time_out_and_no_more(run):
    async def main():
        instrument = Instrument()
        async with visa_pair(instrument, timeout_s=0.25) as line:
            for ask in (line.query, line.query_block):
                with takes(0.25), pytest.raises(WireTimeout, match=r"visa .*'SILENCE': no complete answer"):
                    await ask("SILENCE")
            assert await line.query("A?") == "said A?"

    run(main)


@on_both_loops
def test_the_instrument_thinks_in_rig_time(run):
    async def main():
        instrument = Instrument()
        instrument.thinks_s = 0.1
        async with visa_pair(instrument, timeout_s=0.25) as line:
            with takes(0.1):
                assert await line.query("A?") == "said A?"

    run(main)


@on_both_loops
@pytest.mark.parametrize("pause_s", [0.0, 0.01, 0.06])
def test_a_late_answer_does_not_answer_the_next_question(run, pause_s):
    async def main():
        instrument = Instrument()
        async with visa_pair(instrument, timeout_s=0.1) as line:
            instrument.thinks_s = 0.13
            with pytest.raises(WireTimeout):
                await line.query("OLD?")
            instrument.thinks_s = 0.05
            await asyncio.sleep(pause_s)
            assert await line.query("NEW?") == "said NEW?"
            assert await line.query("NEWER?") == "said NEWER?"

    run(main)


@on_both_loops
def test_a_question_given_up_by_its_plan_is_not_answered_later(run):
    async def main():
        instrument = Instrument()
        instrument.thinks_s = 0.1
        async with visa_pair(instrument) as line:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await line.query("OLD?")
            assert await line.query("NEW?") == "said NEW?"

    run(main)


@pytest.mark.parametrize("direction", Direction)
def test_a_lost_message_costs_the_time_out_and_the_next_one_is_whole(direction):
    async def main():
        faults = StreamFaults()
        async with visa_pair(Instrument(), timeout_s=0.4, faults=faults) as line:
            faults.drop(2, direction)
            for _ in range(2):
                with takes(0.4), pytest.raises(WireTimeout):
                    await line.query("OLD?")
            with takes(0.0):
                assert await line.query("NEW?") == "said NEW?"

    run_virtual(main)


@pytest.mark.parametrize("direction", Direction)
def test_a_delay_passes_in_rig_time(direction):
    async def main():
        faults = StreamFaults()
        async with visa_pair(Instrument(), timeout_s=0.4, faults=faults) as line:
            faults.delay(0.1, 0.39, direction=direction)
            with takes(0.1):
                assert await line.query("A?") == "said A?"
            with takes(0.39):
                assert await line.query("B?") == "said B?"
            with takes(0.0):
                assert await line.query("C?") == "said C?"

    run_virtual(main)


def test_an_answer_that_comes_twice_is_one_answer():
    async def main():
        faults = StreamFaults()
        async with visa_pair(Instrument(), faults=faults) as line:
            faults.duplicate(3)
            for name in "ABCDE":
                assert await line.query(f"{name}?") == f"said {name}?"

    run_virtual(main)


@on_both_loops
def test_what_is_said_beyond_the_answer_is_thrown_away(run):
    async def main():
        async with line_to(lambda message: [(0.0, b"one\ntwo\nthr"), (0.02, b"ee\n")]) as line:
            for question in ("A?", "B?", "C?"):
                assert await line.query(question) == "one"
                await asyncio.sleep(0.05)

    run(main)


def test_a_question_that_comes_twice_is_asked_twice():
    async def main():
        faults, instrument = StreamFaults(), Instrument()
        async with visa_pair(instrument, faults=faults) as line:
            faults.duplicate(direction=Direction.TO_DEVICE)
            assert await line.query("A?") == "said A?"
            assert await line.query("B?") == "said B?"
        assert instrument.heard == [b"A?", b"A?", b"B?"]

    run_virtual(main)


def test_a_question_that_is_damaged_is_another_question():
    async def main():
        faults, instrument = StreamFaults(), Instrument()
        async with visa_pair(instrument, faults=faults, timeout_s=0.4) as line:
            faults.corrupt(direction=Direction.TO_DEVICE)
            with takes(0.4), pytest.raises(WireTimeout):
                await line.query("A?")
            assert await line.query("B?") == "said B?"
        assert instrument.heard == [b"A" + bytes([ord("?") ^ 0xFF]), b"B?"]

    run_virtual(main)


def test_a_line_can_be_closed_while_the_instrument_talks():
    async def main():
        async with line_to(lambda _: [(0.0, b"one\n"), *[(0.001, b"and on and on\n")] * 100]) as line:
            assert await line.query("A?") == "one"
            await asyncio.sleep(0.01)
        assert not rig_loop().ledger.ends

    run_virtual(main)


@on_both_loops
def test_what_is_said_between_two_questions_answers_neither(run):
    async def main():
        writers = []

        async def serve(reader, writer):
            writers.append(writer)
            while question := await reader.readline():
                writer.write(b"said " + question)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        resource = f"TCPIP::127.0.0.1::{server.sockets[0].getsockname()[1]}::SOCKET"
        line = VisaSocketLine("meter_lan", resource)
        await line.open()
        assert await line.query("A?") == "said A?"
        writers[-1].write(b"by the way\n")
        assert await line.query("B?") == "said B?"  # the loop has had no turn in between
        await line.close()
        server.close()
        await asyncio.sleep(0.01)

    run(main)


def test_a_damaged_block_head_is_a_codec_error_and_the_next_answer_is_whole():
    async def main():
        faults, instrument = StreamFaults(), Instrument()
        instrument.said[b"DATA?"] = encode_block(b"ab")
        async with visa_pair(instrument, faults=faults) as line:
            faults.corrupt()  # the middle of #12ab and a newline is the payload
            assert await line.query_block("DATA?") == bytes([ord("a") ^ 0xFF]) + b"b"
            instrument.said[b"DATA?"] = encode_block(b"")
            faults.corrupt()  # the middle of #10 and a newline is the length
            with pytest.raises(CodecError, match=r"'DATA\?': expected a block"):
                await line.query_block("DATA?")
            assert await line.query("A?") == "said A?"

    run_virtual(main)


def test_a_cable_pulled_out_is_silence_until_it_is_back():
    async def main():
        faults = StreamFaults()
        async with visa_pair(Instrument(), timeout_s=0.4, faults=faults) as line:
            faults.is_cut = True
            with takes(0.4), pytest.raises(WireTimeout):
                await line.query("A?")
            faults.is_cut = False
            assert await line.query("A?") == "said A?"

    run_virtual(main)


def test_a_connection_that_broke_is_found_by_the_exchange_and_made_anew_by_the_next():
    async def main():
        faults, instrument = StreamFaults(), Instrument()
        async with visa_pair(instrument, timeout_s=0.4, faults=faults) as line:
            faults.hang_up()  # in between: the next exchange connects
            await asyncio.sleep(1.0)
            assert await line.query("A?") == "said A?"
            instrument.thinks_s = 0.3
            rig_loop().call_later(0.1, faults.hang_up)  # while an answer is due
            with takes(0.1), pytest.raises(WireClosed, match=r"visa .*'B\?': .*connection"):
                await line.query("B?")
            instrument.thinks_s = 0.0
            with takes(0.0):
                assert await line.query("C?") == "said C?"

    run_virtual(main)


def test_a_device_that_starts_up_refuses_and_comes_back():
    async def main():
        faults = StreamFaults()
        async with visa_pair(Instrument(), faults=faults) as line:
            faults.is_refusing = True
            assert await line.query("A?") == "said A?"  # a connection that stands is not touched
            faults.hang_up()
            await asyncio.sleep(1.0)
            for _ in range(2):
                with pytest.raises(
                    WireClosed, match=r"visa \(TCPIP::127\.0\.0\.1::\d+::SOCKET\): .*refused: "
                ):
                    await line.query("B?")
            faults.is_refusing = False
            assert await line.query("C?") == "said C?"

    run_virtual(main)


def test_an_instrument_that_restarts_on_the_wall_clock_is_found_again():
    async def main():
        instrument = Instrument()
        first = InstrumentServer("meter_lan", instrument)
        await first.start()
        line = VisaSocketLine("meter_lan", f"TCPIP::127.0.0.1::{first.port}::SOCKET", timeout_s=0.5)
        await line.open()
        assert await line.query("A?") == "said A?"
        await first.stop()
        await asyncio.sleep(0.02)
        for _ in range(2):
            with pytest.raises(WireClosed, match="meter_lan"):
                await line.query("B?")
        second = InstrumentServer("meter_lan", instrument)
        await second.start(port=first.port)
        assert await line.query("C?") == "said C?"
        await line.close()
        await second.stop()
        await asyncio.sleep(0.02)

    run_wall(main)


@on_both_loops
def test_an_answer_in_pieces_is_one_answer(run):
    payload = ALL_BYTES * 128
    block = encode_block(payload) + b"\n"

    def answer(message):
        if message == b"TEXT?\n":
            return [(0.0, b"1.2"), (0.02, b"34,5"), (0.02, b".6\n")]
        # Cut inside the header, inside the payload, and before the terminator.
        return [
            (0.0, block[:1]),
            (0.02, block[1:4]),
            (0.02, block[4:20_000]),
            (0.02, block[20_000:-1]),
            (0.02, block[-1:]),
        ]

    async def main():
        async with line_to(answer) as line:
            with takes(0.04):
                assert await line.query("TEXT?") == "1.234,5.6"
            with takes(0.08):
                assert await line.query_block("DATA?") == payload
            with takes(0.04):
                assert await line.query("TEXT?") == "1.234,5.6"

    run(main)


def test_rig_time_goes_on_while_half_an_answer_is_there():
    async def main():
        async with line_to(lambda _: [(0.0, b"half an"), (1000.0, b" answer\n")], timeout_s=2000.0) as line:
            loop = rig_loop()
            loop.livelock_after_turns = 1000
            with takes(1000.0):
                assert await loop.guarded(line.query("A?"), limit_s=3000.0, name="plan") == "half an answer"

    run_virtual(main)


@on_both_loops
def test_half_an_answer_is_none(run):
    async def main():
        async with line_to(lambda _: [(0.0, b"#510000only so much")], timeout_s=0.1) as line:
            with takes(0.1), pytest.raises(WireTimeout, match="no complete answer"):
                await line.query_block("DATA?")
            with takes(0.1), pytest.raises(WireTimeout, match="no complete answer"):
                await line.query("A?")

    run(main)


@pytest.mark.parametrize("said", [b"1.5\n", b"#x\n", b"#0abc\n", b"#3 12abc\n", b"#2-1\n"])
def test_what_is_no_block_is_a_codec_error(said):
    async def main():
        async with line_to(lambda message: [(0.0, said if message == b"DATA?\n" else b"fine\n")]) as line:
            with pytest.raises(CodecError, match=r"meter_lan .*'DATA\?': expected a block"):
                await line.query_block("DATA?")
            assert await line.query("A?") == "fine"

    run_virtual(main)


def test_what_is_no_text_is_a_codec_error():
    async def main():
        async with line_to(lambda _: [(0.0, b"\xfftrue\n")]) as line:
            with pytest.raises(CodecError, match="is no text"):
                await line.query("A?")

    run_virtual(main)


@on_both_loops
def test_an_instrument_that_hangs_up_in_the_middle_of_an_answer_is_closed(run):
    async def main():
        async with line_to(lambda _: [(0.0, b"half an"), (0.02, b"")]) as line:
            with pytest.raises(WireClosed, match=r"meter_lan .*'A\?'"):
                await line.query("A?")

    run(main)


@on_both_loops
def test_many_at_once_each_get_their_own_answer(run):
    async def main():
        async with visa_pair(Instrument()) as line:
            answers = await asyncio.gather(*(line.query(f"{n}?") for n in range(30)))
        assert answers == [f"said {n}?" for n in range(30)]

    run(main)


@on_both_loops
def test_closing_gives_everything_back_and_may_be_done_twice(run):
    async def main():
        before = open_files_and_threads()
        server = InstrumentServer("meter_lan", Instrument())
        await server.start()
        line = VisaSocketLine("meter_lan", f"TCPIP::127.0.0.1::{server.port}::SOCKET")
        await line.close()  # never opened
        await line.open()
        assert await line.query("A?") == "said A?"
        assert open_files_and_threads() > before
        for _ in range(2):
            await line.close()
        for _ in range(2):
            await server.stop()
        for ask in (line.query, line.query_block, line.write):
            with pytest.raises(WireClosed, match=r"meter_lan .*'A\?' not sent: the line is closed"):
                await ask("A?")
        await asyncio.sleep(0.01)  # both ends have noticed
        assert open_files_and_threads() == before

    run(main)


@on_both_loops
def test_nobody_there_names_wire_and_address(run):
    async def main():
        resource = f"TCPIP::127.0.0.1::{free_port()}::SOCKET"
        line = VisaSocketLine("meter_lan", resource, timeout_s=0.2)
        with takes(0.0), pytest.raises(WireClosed, match=rf"meter_lan \({resource}\)"):
            await line.open()
        await line.close()

    run(main)


def test_nobody_who_accepts_costs_the_time_out_and_no_more():
    async def main():
        with nobody_accepts() as port:
            line = VisaSocketLine("meter_lan", f"TCPIP::127.0.0.1::{port}::SOCKET", timeout_s=0.2)
            with (
                takes(0.2),
                pytest.raises(WireTimeout, match=rf"meter_lan .*{port}::SOCKET\): no connection"),
            ):
                await line.open()
            await line.close()

    run_wall(main)


def test_another_terminator_is_kept_both_ways():
    async def main():
        instrument = Instrument()
        server = InstrumentServer("meter_lan", instrument, b"\r\n")
        await server.start()
        resource = f"TCPIP::127.0.0.1::{server.port}::SOCKET"
        line = VisaSocketLine("meter_lan", resource, terminator="\r\n")
        await line.open()
        instrument.said[b"A?"] = b"with\na newline"
        assert await line.query("A?") == "with\na newline"
        instrument.said[b"DATA?"] = encode_block(b"\r\n")
        assert await line.query_block("DATA?") == b"\r\n"
        await line.close()
        await server.stop()
        await rig_loop().settle()
        assert instrument.heard == [b"A?", b"DATA?"]

    run_virtual(main)


@on_both_loops
def test_what_came_too_late_is_in_the_traffic(run, tmp_path):
    async def main():
        traffic = LineTraffic("meter_lan", tmp_path, is_can=False)
        answer = [(0.0, b"one\n"), (0.05, b"two\n")]
        async with line_to(lambda _: answer, traffic=traffic) as line:
            assert await line.query("A?") == "one"
            await asyncio.sleep(0.1)
        traffic.close()

    run(main)
    lines = (tmp_path / "meter_lan.txt").read_text().splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == ["> A?", "< one", "< late: two"]


@pytest.mark.parametrize(
    ("resource", "backend", "kind"),
    [
        ("TCPIP::127.0.0.1::5025::SOCKET", "@py", VisaSocketLine),
        ("tcpip0::127.0.0.1::5025::socket", "@py", VisaSocketLine),
        ("TCPIP::127.0.0.1::inst0::INSTR", "@py", VisaThreadLine),
        ("TCPIP::127.0.0.1::5025::SOCKET", "@ivi", VisaThreadLine),
    ],
)
def test_a_thread_is_taken_where_the_loop_cannot_wait_itself(resource, backend, kind):
    assert type(open_line("meter_lan", resource, backend=backend)) is kind


def test_the_line_with_a_thread_keeps_the_same_promises():
    async def main():
        before = open_files_and_threads()
        instrument = Instrument()
        instrument.said[b"DATA?"] = encode_block(ALL_BYTES)
        server = InstrumentServer("meter_lan", instrument)
        await server.start()
        resource = f"TCPIP::127.0.0.1::{server.port}::SOCKET"
        line = VisaThreadLine("meter_lan", resource, timeout_s=0.2)
        await line.open()
        await line.write("VOLT 1")
        assert await line.query("A?") == "said A?"
        assert await line.query_block("DATA?") == ALL_BYTES
        with pytest.raises(WireTimeout, match=r"meter_lan .*'SILENCE': no answer within 0\.2 s"):
            await line.query("SILENCE")
        for _ in range(2):
            await line.close()
        with pytest.raises(WireClosed, match="the line is closed"):
            await line.query("A?")
        await server.stop()
        await asyncio.sleep(0.05)
        assert open_files_and_threads() == before

    run_wall(main)


def test_the_line_with_a_thread_is_refused_in_virtual_time():
    async def main():
        line = VisaThreadLine("meter_lan", "TCPIP::127.0.0.1::inst0::INSTR")
        with pytest.raises(DeviceRefused, match="virtual time"):
            await line.open()
        await line.close()

    run_virtual(main)
    assert issubclass(WireTimeout, WireError)
