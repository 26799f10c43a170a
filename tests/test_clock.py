"""Rig time: it stands while bytes fly, jumps exactly, and says what is wrong when it cannot go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time

import pytest

from harness.clock import VirtualLoop, WallLoop, begin, now_s, rig_loop, run_virtual, run_wall
from harness.errors import BenchError, Deadlock, Livelock, Overrun, Stall


async def settle() -> None:
    loop = rig_loop()
    assert isinstance(loop, VirtualLoop)
    await loop.settle()


def test_waiting_is_free_and_lands_on_the_timers_own_time() -> None:
    async def main() -> list[float]:
        times = []
        for _ in range(1000):
            await asyncio.sleep(0.1)
            times.append(now_s())
        await asyncio.sleep(1e6)
        return [*times, now_s()]

    began = time.monotonic()
    times = run_virtual(main)
    assert time.monotonic() - began < 10.0  # a million seconds were not waited for
    expected = 0.0
    for at_s in times[:1000]:
        expected += 0.1
        assert at_s == expected  # the same sums as asyncio's, to the last bit
    assert times[-1] == expected + 1e6


def test_timers_still_fire_after_years() -> None:
    async def main() -> float:
        await asyncio.sleep(3.2e7)  # a year: a float's resolution is coarser than a nanosecond there
        await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        return now_s()

    assert run_virtual(main) == pytest.approx(3.2e7 + 0.002, abs=1e-6)


def test_equal_instants_keep_their_order() -> None:
    async def main() -> list[int]:
        order: list[int] = []
        loop = asyncio.get_running_loop()
        for number in range(8):
            loop.call_at(1.0, order.append, number)
        await asyncio.sleep(2.0)
        return order

    assert run_virtual(main) == run_virtual(main)


def test_rig_time_stands_while_bytes_are_in_flight() -> None:
    async def main() -> list[tuple[bytes, float]]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                await asyncio.sleep(0.25)  # the far end thinks in rig time
                writer.write(line)
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        seen = []
        for number in range(5):
            writer.write(b"%d\n" % number)
            seen.append((await reader.readline(), now_s()))
            await asyncio.sleep(0.75)
        writer.close()
        await writer.wait_closed()
        server.close()
        loop = rig_loop()
        assert isinstance(loop, VirtualLoop)
        await loop.settle()
        assert loop.ledger.pending == 0
        assert not loop.ledger.ends
        return seen

    assert run_virtual(main) == [(b"%d\n" % number, number + 0.25) for number in range(5)]


def test_a_large_message_arrives_whole_at_the_instant_it_was_sent() -> None:
    async def main() -> tuple[int, float]:
        got: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.set_result(len(await reader.readexactly(8_000_000)))
            writer.close()

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        await asyncio.sleep(1.0)
        writer.write(bytes(8_000_000))
        size = await got
        at_s = now_s()
        writer.close()
        server.close()
        await settle()
        return size, at_s

    assert run_virtual(main) == (8_000_000, 1.0)


def test_a_thread_holds_rig_time() -> None:
    async def main() -> float:
        ticks = []

        async def tick() -> None:
            while True:
                await asyncio.sleep(1.0)
                ticks.append(now_s())

        task = asyncio.create_task(tick())
        await asyncio.to_thread(time.sleep, 0.05)
        task.cancel()
        return float(len(ticks))

    assert run_virtual(main) == 0.0


def test_nobody_outside_the_loop_can_be_reached() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError, match="inside this emulated rig"):
            await asyncio.open_connection("127.0.0.1", 9)

    run_virtual(main)


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


async def _spin() -> None:
    while True:  # noqa: ASYNC110 - what the alarm is for
        await asyncio.sleep(0)


async def _long() -> None:
    await asyncio.sleep(100.0)


@pytest.mark.parametrize(
    ("work", "alarm", "words"),
    [
        (_forever, Deadlock, "no timer, no byte in flight; .*the plan at test_clock.py"),
        (_spin, Livelock, "a task polls without waiting; running: .*the plan at test_clock.py"),
        (_long, Overrun, "the plan is not over after 10 s"),
    ],
)
def test_each_alarm_reaches_the_plan_and_names_it(work, alarm, words) -> None:
    async def main() -> float:
        loop = rig_loop()
        assert isinstance(loop, VirtualLoop)
        loop.livelock_after_turns = 10_000
        with pytest.raises(alarm, match=words):
            await loop.guarded(work(), limit_s=10.0, name="the plan")
        await asyncio.sleep(1.0)  # the loop goes on: a bench can still be closed
        return now_s()

    assert run_virtual(main) >= 1.0


@pytest.mark.parametrize("deaf", ["to", "from"])
def test_bytes_that_nobody_takes_are_a_stall_that_names_the_line_and_a_cut_ends_it(deaf) -> None:
    async def main() -> None:
        loop = rig_loop()
        assert isinstance(loop, VirtualLoop)
        loop.stall_after_real_s = 0.1
        far: asyncio.Future[asyncio.StreamWriter] = loop.create_future()
        server = await asyncio.start_server(lambda _, writer: far.set_result(writer), "127.0.0.1", 0)
        line = loop.name_line(server, "pcs_lan")
        _, near = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        listener, speaker = (await far, near) if deaf == "to" else (near, await far)
        listener.transport.pause_reading()
        speaker.write(b"hello")
        with pytest.raises(Stall, match=rf"pcs_lan \({deaf} the device\): 5 bytes"):
            await loop.guarded(asyncio.sleep(5.0), limit_s=10.0, name="the plan")
        line.cut()
        server.close()
        await settle()
        assert not loop.ledger.ends
        assert loop.ledger.pending == 0

    run_virtual(main)


def test_a_cut_while_bytes_fly_loses_them_and_no_more(caplog) -> None:
    async def main() -> tuple[list[bytes], float]:
        heard: list[bytes] = []

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(100):
                    heard.append(data)
            writer.close()

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        other_server = await asyncio.start_server(take, "127.0.0.1", 0)
        line = rig_loop().name_line(server, "pcs_lan")
        port, other_port = (each.sockets[0].getsockname()[1] for each in (server, other_server))
        _, before = await asyncio.open_connection("127.0.0.1", port)
        _, other = await asyncio.open_connection("127.0.0.1", other_port)
        before.write(b"one")
        await asyncio.sleep(1.0)
        before.write(b"two")  # in the air
        other.write(b"on another line")  # in line behind it
        before.write(b"three")
        line.cut()
        await asyncio.sleep(1.0)
        _, after = await asyncio.open_connection("127.0.0.1", port)
        after.write(b"four")
        await asyncio.sleep(1.0)
        after.close()
        other.close()
        server.close()
        other_server.close()
        await settle()
        assert not rig_loop().ledger.ends
        return heard, now_s()

    heard, at_s = run_virtual(main)
    assert heard == [b"one", b"on another line", b"four"]
    assert caplog.messages == []  # asyncio logs what a protocol raises
    assert at_s == pytest.approx(3.0, abs=1e-5)


def test_an_overrun_on_the_wall_clock_is_the_same_error() -> None:
    async def main() -> None:
        with pytest.raises(Overrun, match=r"the plan is not over after 0\.05 s"):
            await rig_loop().guarded(asyncio.sleep(5.0), limit_s=0.05, name="the plan")

    run_wall(main)


def test_the_wall_loop_keeps_fine_time() -> None:
    async def main() -> float:
        late = []
        for _ in range(50):
            due = now_s() + 0.0012
            await asyncio.sleep(0.0012)
            late.append(now_s() - due)
        return sorted(late)[len(late) // 2]

    # Whole milliseconds of epoll would make the median 0.8 ms late.
    assert run_wall(main) < 0.0006


def test_a_plan_that_ends_gives_its_value_and_its_own_error() -> None:
    async def value() -> int:
        await asyncio.sleep(0.01)
        return 7

    async def trouble() -> None:
        await asyncio.sleep(0.01)
        raise BenchError("the plan's own")

    async def main() -> int:
        loop = rig_loop()
        with pytest.raises(BenchError, match="the plan's own"):
            await loop.guarded(trouble(), limit_s=10.0, name="the plan")
        return await loop.guarded(value(), limit_s=10.0, name="the plan")

    assert run_virtual(main) == 7
    assert run_wall(main) == 7


def test_a_loop_without_rig_time_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(BenchError, match="keeps no rig time"):
            rig_loop()

    asyncio.run(main())
    assert WallLoop is not VirtualLoop


def test_work_that_does_not_wait_is_over_at_once_and_needs_no_task() -> None:
    async def main() -> None:
        done: list[str] = []

        async def work() -> None:
            done.append("work")

        assert begin(work()) is None
        assert done == ["work"]

    run_virtual(main)


def test_work_that_waits_goes_on_as_a_task_and_sees_its_cancellation() -> None:
    async def main() -> None:
        seen: list[object] = []

        async def work() -> None:
            seen.append("begun")
            await asyncio.sleep(1.0)
            seen.append(now_s())
            try:
                await asyncio.sleep(10.0)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        task = begin(work())
        assert seen == ["begun"]
        assert task is not None
        await asyncio.sleep(2.0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert seen == ["begun", 1.0, "cancelled"]

    run_virtual(main)


def test_what_begun_work_raises_is_its_tasks() -> None:
    async def main() -> None:
        async def work() -> None:
            await asyncio.sleep(1.0)
            raise ValueError("of its own")

        task = begin(work())
        assert task is not None
        with pytest.raises(ValueError, match="of its own"):
            await task

    run_virtual(main)


GREEDY = """
import os, subprocess, sys, time
from harness.clock import go_before_others

def work(seconds):
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        pass

go_before_others()
before = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
for _ in range(5):
    work(0.5)
    time.sleep(0.001)
while_it_pauses = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
asks = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"]
child = subprocess.run(asks, capture_output=True)
work(4.0)
print(before, while_it_pauses, int(child.stdout), os.sched_getscheduler(0))
"""


def test_a_process_that_goes_before_others_and_works_without_a_pause_goes_on_as_an_ordinary_one():
    ended = subprocess.run(  # noqa: S603 - the lines above
        [sys.executable, "-c", GREEDY], check=False, capture_output=True, text=True, timeout=60.0
    )
    assert ended.returncode == 0, ended.stderr
    may = subprocess.run(
        [sys.executable, "-c", "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))"],
        check=False, capture_output=True,
    )  # fmt: skip
    before = os.SCHED_FIFO if may.returncode == 0 else os.SCHED_OTHER
    assert ended.stdout == f"{before} {before} {os.SCHED_OTHER} {os.SCHED_OTHER}\n"
