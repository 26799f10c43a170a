"""CAN: the loopback line and its faults, and the socketcand server spoken to by python-can's own client."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import subprocess
import sys
import time
from ctypes.util import find_library
from importlib.util import find_spec

import can
import pytest

from harness.clock import now_s, rig_loop, run_virtual, run_wall
from harness.errors import DeviceRefused, WireClosed, WireTimeout
from harness.testing.loopback import can_pair
from harness.wires.can import BusPort, CanBusLine, CanLine, LoopbackBus
from harness.wires.socketcand import SocketcandServer
from harness.wires.traffic import LineTraffic

from .far_end import free_port, nobody_accepts, on_both_loops, open_files_and_threads, scripted, takes

NO_FILE, NO_DEVICE, NO_FAMILY = (
    os.strerror(number).lower() for number in (errno.ENOENT, errno.ENODEV, errno.EAFNOSUPPORT)
)

NO_LIBRARY = r"its library is not there \(.+\)"


def skip_where(library):
    """Leave a case out on a computer that has the library, and may have the adapter."""
    return pytest.mark.skipif(library is not None, reason="its library is there")


class Ear:
    """Keeps what it hears: identifier, bytes and time."""

    def __init__(self, port, identifiers=(0x351, 0x355)):
        self.frames = []
        self.end = port.listen(identifiers, self.frames.append)

    def heard(self):
        return [(frame.arbitration_id, frame.data, frame.at_s) for frame in self.frames]

    def data(self):
        return [frame.data for frame in self.frames]


# --- the loopback line ----------------------------------------------------------------------------


@on_both_loops
def test_frames_arrive_in_their_order_at_every_node_but_the_sender(run):
    async def main():
        line = CanLine("battery_can")
        await line.open()
        bms, inverter, logger = (line.port(name) for name in ("bms", "inverter", "logger"))
        ears = [Ear(port) for port in (bms, inverter, logger)]
        for number in range(100):
            (bms if number % 2 else inverter).send(0x351, bytes([number]))
        await asyncio.sleep(0.01)
        await line.close()
        return [ear.data() for ear in ears]

    at_bms, at_inverter, at_logger = run(main)
    assert at_logger == [bytes([number]) for number in range(100)]
    assert at_bms == at_logger[0::2]
    assert at_inverter == at_logger[1::2]


def test_a_frame_is_heard_at_the_instant_it_was_sent_and_only_by_who_listens_for_it():
    async def main():
        async with can_pair() as (near, far):
            ear = Ear(near)
            await asyncio.sleep(1.5)
            far.send(0x351, b"\1")
            far.send(0x352, b"\2")
            far.send(0x355, b"")
            await asyncio.sleep(1.0)
            ear.end()
            far.send(0x351, b"\3")
            await asyncio.sleep(1.0)
            assert ear.heard() == [(0x351, b"\1", 1.5), (0x355, b"", 1.5)]

    run_virtual(main)


def test_an_ear_may_end_itself_and_others_while_it_hears():
    async def main():
        async with can_pair() as (near, far):
            heard = []

            def once(frame):
                heard.append(frame.data)
                end()

            end = near.listen([0x351], once)
            other = Ear(near)
            far.send(0x351, b"\1")
            far.send(0x351, b"\2")
            await asyncio.sleep(1.0)
            end()  # once more is no mistake
            assert heard == [b"\1"]
            assert other.data() == [b"\1", b"\2"]

    run_virtual(main)


def test_an_open_lead_cuts_one_node_off_both_ways_until_it_is_closed():
    async def main():
        line = CanLine("battery_can")
        await line.open()
        bms, inverter, logger = (line.port(name) for name in ("bms", "inverter", "logger"))
        ears = [Ear(port) for port in (bms, inverter, logger)]

        async def both_speak():
            bms.send(0x351, b"\1")
            inverter.send(0x351, b"\2")
            await asyncio.sleep(1.0)
            heard = [ear.data() for ear in ears]
            for ear in ears:
                ear.frames.clear()
            return heard

        whole = [[b"\2"], [b"\1"], [b"\1", b"\2"]]
        assert await both_speak() == whole
        line.open_lead("bms")
        assert await both_speak() == [[], [], [b"\2"]]
        line.close_lead("bms")
        assert await both_speak() == whole
        await line.close()

    run_virtual(main)


def test_what_is_under_way_when_a_lead_opens_is_not_heard():
    async def main():
        line = CanLine("battery_can")
        async with can_pair(line) as (near, far):
            ear = Ear(near)
            line.delay(0x351, 1.0)
            far.send(0x351, b"\1")
            await asyncio.sleep(0.5)
            line.open_lead("near")
            await asyncio.sleep(1.0)
            line.close_lead("near")
            assert ear.heard() == []

    run_virtual(main)


def test_each_fault_acts_on_the_next_frames_of_its_identifier_and_is_used_up():
    async def main():
        line = CanLine("battery_can")
        async with can_pair(line) as (near, far):
            ear = Ear(near)

            async def speak():
                ear.frames.clear()
                began_s = now_s()
                for number in (1, 2, 3):
                    far.send(0x351, bytes([number, number]))
                far.send(0x355, b"other")
                await asyncio.sleep(1.0)
                return [
                    (round(frame.at_s - began_s, 9), frame.data)
                    for frame in ear.frames
                    if frame.arbitration_id == 0x351
                ], [frame.data for frame in ear.frames if frame.arbitration_id == 0x355]

            whole = [(0.0, b"\1\1"), (0.0, b"\2\2"), (0.0, b"\3\3")]
            line.drop(0x351, 2)
            assert await speak() == (whole[2:], [b"other"])
            line.delay(0x351, 0.25, 0.125)
            assert await speak() == ([(0.0, b"\3\3"), (0.125, b"\2\2"), (0.25, b"\1\1")], [b"other"])
            line.duplicate(0x351, 2)
            assert sorted((await speak())[0]) == sorted([*whole, *whole[:2]])
            line.duplicate(0x351)
            line.delay(0x351, 0.5)
            assert await speak() == ([*whole[1:], (0.5, b"\1\1"), (0.5, b"\1\1")], [b"other"])
            line.corrupt(0x351)
            assert await speak() == ([(0.0, b"\1"), *whole[1:]], [b"other"])
            assert await speak() == (whole, [b"other"])

    run_virtual(main)


def test_damage_leaves_the_senders_message_alone_and_an_empty_frame_grows():
    async def main():
        line = CanLine("battery_can")
        async with can_pair(line) as (near, _):
            ear = Ear(near)
            bus = LoopbackBus(line, "logger")
            line.join(bus)
            line.corrupt(0x351, 2)
            message = can.Message(arbitration_id=0x351, data=b"\1\2", is_extended_id=False)
            bus.send(message)
            bus.send(can.Message(arbitration_id=0x351, is_extended_id=False))
            await asyncio.sleep(1.0)
            assert ear.data() == [b"\1", b"\0"]
            assert bytes(message.data) == b"\1\2"
            assert message.dlc == 2

    run_virtual(main)


def test_frames_that_a_driver_cannot_take_are_not_passed_on():
    async def main():
        line = CanLine("battery_can")
        async with can_pair(line) as (near, _):
            ear = Ear(near)
            bus = LoopbackBus(line, "logger")
            line.join(bus)
            bus.send(can.Message(arbitration_id=0x351, data=b"\1", is_extended_id=True))
            bus.send(can.Message(arbitration_id=0x351, is_remote_frame=True, is_extended_id=False))
            bus.send(can.Message(arbitration_id=0x351, is_error_frame=True, is_extended_id=False))
            bus.send(can.Message(arbitration_id=0x351, data=b"\2", is_extended_id=False))
            await asyncio.sleep(1.0)
            assert ear.data() == [b"\2"]

    run_virtual(main)


def test_python_cans_own_receive_finds_what_came_and_never_waits():
    async def main():
        line = CanLine("battery_can")
        async with can_pair(line) as (near, _):
            bus = LoopbackBus(line, "logger")
            line.join(bus)
            line.join(bus)  # once more is no second node
            assert bus.recv(0) is None
            near.send(0x351, b"\1\2")
            near.send(0x355, b"")
            assert bus.recv(0) is None  # it comes in the loop's next turn
            await asyncio.sleep(2.0)
            first, second = bus.recv(0), bus.recv(0)
            assert (first.arbitration_id, bytes(first.data), first.timestamp) == (0x351, b"\1\2", 0.0)
            assert (second.arbitration_id, second.dlc) == (0x355, 0)
            assert bus.recv(0) is None
            bus.set_filters([{"can_id": 0x355, "can_mask": 0x7FF}])
            near.send(0x351, b"\3")
            near.send(0x355, b"\4")
            await asyncio.sleep(1.0)
            assert bus.recv(0) is None  # passed over by the filter
            assert bytes(bus.recv(0).data) == b"\4"
            bus.shutdown()
            near.send(0x355, b"\5")
            await asyncio.sleep(1.0)
            assert bus.recv(0) is None

    run_virtual(main)


def test_a_line_that_is_not_open_says_so_and_may_be_closed_twice():
    async def main():
        line = CanLine("battery_can")
        port = line.port("bms")
        with pytest.raises(
            WireClosed, match=r"battery_can/bms: frame 0x351 not sent: battery_can is not open"
        ):
            port.send(0x351, b"")
        await line.open()
        port.send(0x351, b"")
        for _ in range(2):
            await line.close()
        with pytest.raises(WireClosed, match="not open"):
            port.send(0x351, b"")
        port.close()
        port.close()
        with pytest.raises(WireClosed, match="the line is closed"):
            port.send(0x351, b"")

    run_virtual(main)


def test_what_a_line_carried_is_read_back_by_python_can(tmp_path):
    traffic = LineTraffic("battery_can", tmp_path, is_can=True)
    sent = []

    async def main():
        line = CanLine("battery_can", traffic)
        async with can_pair(line) as (near, far):
            logger = LoopbackBus(line, "logger")
            line.join(logger)
            line.drop(0x359)
            far.send(0x359, b"never seen")
            for number in range(3000):
                port = near if number % 5 == 0 else far
                port.send(0x300 + number % 7, bytes(range(number % 9)))
                sent.append((0x300 + number % 7, bytes(range(number % 9)), False, now_s()))
                await asyncio.sleep(0.125)
            logger.send(can.Message(arbitration_id=0x18FF50E5, data=b"\1", is_extended_id=True))
            sent.append((0x18FF50E5, b"\1", True, now_s()))
            await asyncio.sleep(0.125)

    run_virtual(main)
    traffic.close()
    with can.ASCReader(tmp_path / "battery_can.asc", relative_timestamp=True) as reader:
        read = [
            (message.arbitration_id, bytes(message.data), message.is_extended_id, message.timestamp)
            for message in reader
        ]
    assert read == sent  # an eighth of a second is whole in microseconds and in a float


# --- the socketcand server ------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def outside(line, channel="can0", traffic=None):
    """A server over the line, and python-can's client connected to it."""
    server = SocketcandServer(line, "can0")
    await server.start()
    options = {"host": "127.0.0.1", "port": server.port}
    client = CanBusLine("battery_can", "socketcand", channel, options, timeout_s=2.0, traffic=traffic)
    try:
        await client.open()
        yield client
    finally:
        await client.close()
        await server.stop()
        await asyncio.sleep(0.02)


async def until(is_true, *, within_s=5.0):
    """Wait on the wall clock for what another thread brings about."""
    async with asyncio.timeout(within_s):
        while not is_true():  # noqa: ASYNC110 - no event of this loop's
            await asyncio.sleep(0.001)


def test_python_cans_socketcand_client_hears_and_is_heard():
    async def main():
        line = CanLine("battery_can")
        async with can_pair(line) as (near, far), outside(line) as client:
            inside, far_ear = Ear(near), Ear(far)
            port = client.port("bms")
            ear = Ear(port)
            frames = [(0x351 + 4 * (number % 2), bytes(range(number % 9))) for number in range(300)]
            for arbitration_id, data in frames:
                port.send(arbitration_id, data)
            await until(lambda: len(inside.frames) == len(frames))
            assert [(frame.arbitration_id, frame.data) for frame in inside.frames] == frames
            assert far_ear.data() == inside.data()
            for arbitration_id, data in frames:
                far.send(arbitration_id, data)
            await until(lambda: len(ear.frames) == len(frames))
            assert [(frame.arbitration_id, frame.data) for frame in ear.frames] == frames

    run_wall(main)


def test_the_far_node_of_a_socketcand_server_has_a_lead_too():
    async def main():
        line = CanLine("battery_can")
        async with can_pair(line) as (near, _), outside(line) as client:
            ear = Ear(client.port("bms"))
            line.open_lead("outside")
            near.send(0x351, b"\1")
            await asyncio.sleep(0.01)
            line.close_lead("outside")
            near.send(0x351, b"\2")
            await until(lambda: ear.frames)
            assert ear.data() == [b"\2"]

    run_wall(main)


def test_both_directions_are_in_the_clients_traffic(tmp_path):
    async def main():
        line = CanLine("battery_can")
        traffic = LineTraffic("battery_can", tmp_path, is_can=True)
        async with can_pair(line) as (near, _), outside(line, traffic=traffic) as client:
            ear, inside = Ear(client.port("bms")), Ear(near)
            client.port("bms").send(0x351, b"\1")
            await until(lambda: inside.frames)
            near.send(0x355, b"\2")
            await until(lambda: ear.frames)
        traffic.close()

    run_wall(main)
    with can.ASCReader(tmp_path / "battery_can.asc") as reader:
        assert [(each.arbitration_id, bytes(each.data)) for each in reader] == [
            (0x351, b"\1"),
            (0x355, b"\2"),
        ]


def test_a_channel_that_is_not_served_is_refused_by_name():
    async def main():
        line = CanLine("battery_can")
        async with can_pair(line):
            with pytest.raises(
                WireClosed, match=r"battery_can \(socketcand can7 at .*could not open bus can7"
            ):
                async with outside(line, "can7"):
                    pass

    run_wall(main)


def test_a_second_node_at_the_adapter_hears_the_first_and_all_others_and_is_heard_by_all(tmp_path):
    """Each frame once: at every node but its sender, and in the traffic."""
    traffic = LineTraffic("battery_can", tmp_path, is_can=True)

    async def main():
        line = CanLine("battery_can")
        async with can_pair(line) as (near, _), outside(line, traffic=traffic) as client:
            first, second = client.port("harness"), client.beside("bms")
            ears = inside, of_first, of_second = Ear(near), Ear(first), Ear(second)
            second.send(0x351, b"battery")
            first.send(0x355, b"harness")
            await until(lambda: len(inside.frames) == 2)
            near.send(0x351, b"outside")
            await until(lambda: len(of_second.frames) == len(of_first.frames) == 2)
            assert inside.data() == [b"battery", b"harness"]
            assert of_first.data() == [b"battery", b"outside"]
            assert of_second.data() == [b"harness", b"outside"]
            for ear in ears:
                ear.end()

    run_wall(main)
    traffic.close()
    with can.ASCReader(tmp_path / "battery_can.asc") as reader:
        assert sorted(bytes(frame.data) for frame in reader) == [b"battery", b"harness", b"outside"]


def test_nobody_there_names_wire_and_address():
    async def main():
        port = free_port()
        client = CanBusLine("battery_can", "socketcand", "can0", {"host": "127.0.0.1", "port": port})
        words = rf"battery_can \(socketcand can0 at 127\.0\.0\.1:{port}\)"
        with takes(0.0), pytest.raises(WireClosed, match=words):
            await client.open()
        with pytest.raises(WireClosed, match=words):
            client.port("bms")
        await client.close()

    run_wall(main)


def test_nobody_who_accepts_and_nobody_who_greets_cost_the_time_out_and_no_more():
    async def main():
        def client(port):
            options = {"host": "127.0.0.1", "port": port}
            return CanBusLine("battery_can", "socketcand", "can0", options, timeout_s=0.2)

        with nobody_accepts() as port, takes(0.2), pytest.raises(WireTimeout, match=f"{port}.*within"):
            await client(port).open()
        async with scripted(lambda _: []) as port:
            with takes(0.2), pytest.raises(WireTimeout, match=f"{port}.*within"):
                await client(port).open()

    run_wall(main)


@pytest.mark.parametrize(
    ("interface", "channel", "says"),
    [
        # No such channel, or on a kernel without CAN no such family of sockets.
        ("socketcan", "can_nowhere", f"({NO_DEVICE}|{NO_FAMILY})"),
        ("serial", "/dev/nowhere", NO_FILE),
        ("no_such_interface", "can0", ".*no_such_interface.*"),
        # Where their libraries are missing, python-can stumbles over a name, or raises an ImportError.
        pytest.param("kvaser", "0", NO_LIBRARY, marks=skip_where(find_library("canlib"))),
        pytest.param("neovi", "0", NO_LIBRARY, marks=skip_where(find_spec("ics"))),
    ],
)
def test_an_adapter_that_cannot_be_opened_says_why_in_the_systems_own_words(interface, channel, says):
    """No connection is what a port that refuses gives; here there is none to be had."""

    async def main():
        line = CanBusLine("battery_can", interface, channel, {})
        with pytest.raises(WireClosed) as caught:
            await line.open()
        assert re.fullmatch(
            rf"battery_can \({interface} {channel}\): cannot be opened: {says}", str(caught.value)
        )

    run_wall(main)


def test_a_library_with_a_thread_is_refused_in_virtual_time():
    async def main():
        with pytest.raises(DeviceRefused, match="battery_can"):
            await CanBusLine("battery_can", "virtual", "can0", {}).open()

    run_virtual(main)


def test_closing_gives_everything_back_and_may_be_done_twice():
    async def main():
        line = CanLine("battery_can")
        await line.open()
        before = open_files_and_threads()
        server = SocketcandServer(line)
        await server.start()
        client = CanBusLine("battery_can", "socketcand", "can0", {"host": "127.0.0.1", "port": server.port})
        await client.close()  # never opened
        await client.open()
        port = client.port("bms")
        port.send(0x351, b"\1")
        assert open_files_and_threads()[0] > before[0]
        await until(lambda: open_files_and_threads()[1] == before[1])  # opened in a thread, read in the loop
        for _ in range(2):
            await client.close()
        with pytest.raises(WireClosed, match="the line is closed"):
            port.send(0x351, b"\1")
        for _ in range(2):
            await server.stop()
        await asyncio.sleep(0.02)
        assert open_files_and_threads() == before
        await line.close()

    run_wall(main)


def test_frames_right_behind_an_answer_are_no_part_of_it():
    """A busy line: a frame comes in the same segment as the answer to ``rawmode``."""

    async def main():
        async def serve(reader, writer):
            writer.write(b"< hi >")
            await reader.readuntil(b">")
            writer.write(b"< ok >")
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b">")
                writer.write(b"< ok >< frame 351 1.000000 01 >< frame 355 1.000000 02 >")
                await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        options = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
        client = CanBusLine("battery_can", "socketcand", "can0", options)
        await client.open()
        ear = Ear(client.port("bms"))
        await until(lambda: len(ear.frames) == 2)
        assert ear.data() == [b"\1", b"\2"]
        await client.close()
        server.close()
        await asyncio.sleep(0.02)

    run_wall(main)


def test_a_server_that_went_away_is_named_to_who_sends_and_costs_nothing():
    async def main():
        line = CanLine("battery_can")
        await line.open()
        server = SocketcandServer(line)
        await server.start()
        client = CanBusLine("battery_can", "socketcand", "can0", {"host": "127.0.0.1", "port": server.port})
        await client.open()
        ports = client.port("bms"), client.beside("other")
        ear, inside = Ear(ports[0]), LoopbackBus(line, "bms")
        line.join(inside)
        inside.send(can.Message(arbitration_id=0x351, is_extended_id=False, data=b"last"))
        await asyncio.sleep(0.02)
        await server.stop()
        await until(lambda: ports[0].failure)
        assert ear.data() == [b"last"]
        for port in ports:
            with pytest.raises(
                WireClosed, match=r"0x351 not sent: battery_can .*: the socketcand server closed"
            ):
                port.send(0x351, b"\1")
        begin_s, worked_s = asyncio.get_running_loop().time(), time.process_time()
        await asyncio.sleep(0.5)
        worked_s = time.process_time() - worked_s
        assert worked_s < 0.2 * (asyncio.get_running_loop().time() - begin_s)
        await client.close()
        await line.close()

    run_wall(main)


def test_a_server_that_greets_and_then_says_nothing_costs_the_time_out_and_the_process_may_end():
    """python-can's client waits without end: a thread that anybody waited for would never let go."""
    program = """
import asyncio, sys
from harness.clock import run_wall
from harness.errors import WireTimeout
from harness.wires.can import CanBusLine

greetings = iter((True, False))

async def serve(reader, writer):
    if next(greetings):
        writer.write(b"< hi >")
        await reader.read(99)
        writer.write(b"< ok >")
    await reader.read()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    options = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
    client = CanBusLine("battery_can", "socketcand", "can0", options, timeout_s=0.3)
    try:
        await client.open()
    except WireTimeout as error:
        print(error)
    await client.close()

run_wall(main)
"""
    ended = subprocess.run(  # noqa: S603 - the lines above
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60.0
    )
    assert ended.returncode == 0, ended.stderr
    assert "did not open within 0.3 s" in ended.stdout


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"< open can0 >", b"< ok >"),
        (b"< open can1 >", b"< error could not open bus can1 >"),
        (b"< rawmode >", b"< ok >"),
        (b"< echo >", b"< echo >"),
        (b"< bcmmode >", b"< error unknown command >"),
        (b"< send 123 2 1 >", b"< error unknown command >"),
        (b"< send 123 x 1 >", b"< error unknown command >"),
        (b"< send xyz 1 1 >", b"< error "),
        (b"< send 123 1 1FF >", b"< error "),
        (b"< send FFF 1 1 >", b"< error "),
        (b"< send 123 9 1 2 3 4 5 6 7 8 9 >", b"< error "),
        (b"\xff\xfe >", b"< error unknown command >"),
    ],
)
def test_commands_of_the_socketcand_protocol(command, answer):
    # The commands and answers of the protocol as linux-can/socketcand, doc/protocol.md, lists them.
    async def main():
        line = CanLine("battery_can")
        await line.open()
        ear = Ear(line.port("bms"), range(0x800))
        server = SocketcandServer(line)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.readuntil(b">") == b"< hi >"
        writer.write(command)
        assert (await reader.readuntil(b">")).startswith(answer)
        writer.write(b"< rawmode >< send 7FF 2 A 0b >")  # and the conversation goes on
        assert await reader.readuntil(b">") == b"< ok >"
        await asyncio.sleep(0.01)
        assert ear.data() == [b"\x0a\x0b"]
        writer.close()
        await server.stop()
        await line.close()
        await rig_loop().settle()

    run_virtual(main)


def test_frames_go_out_as_the_protocol_writes_them():
    async def main():
        line = CanLine("battery_can")
        await line.open()
        bms = line.port("bms")
        server = SocketcandServer(line)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"< open can0 >< rawmode >")
        assert [await reader.readuntil(b">") for _ in range(3)] == [b"< hi >", b"< ok >", b"< ok >"]
        await asyncio.sleep(1.5)
        bms.send(0x35, b"\1\xab")
        bms.send(0x351, b"")
        assert await reader.readuntil(b">") == b"< frame 035 1.500000 01AB >"
        assert await reader.readuntil(b">") == b"< frame 351 1.500000  >"
        writer.close()
        await server.stop()
        await line.close()
        await rig_loop().settle()

    run_virtual(main)


def test_what_is_no_client_is_hung_up_on():
    async def main():
        line = CanLine("battery_can")
        await line.open()
        server = SocketcandServer(line)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"x" * 200_000)
        assert await reader.read() == b"< hi >"
        writer.close()
        await server.stop()
        await line.close()
        await rig_loop().settle()

    run_virtual(main)


def test_a_port_that_was_closed_says_so():
    bus = can.Bus("test_can", interface="virtual")
    port = BusPort("battery_can", bus)
    port.close()
    port.close()

    async def main():
        with pytest.raises(WireClosed, match="battery_can: frame 0x351 not sent"):
            port.send(0x351, b"")

    run_virtual(main)
