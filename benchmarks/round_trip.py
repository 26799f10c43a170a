"""Simulated seconds a second of a long charge, beside the floor that the bare libraries set.

    python benchmarks/round_trip.py [--rounds 5] [--seconds 1000] [--profile]

Floor: python-can on the loopback line, pymodbus's client and server, pyvisa-py's raw socket, in the same
virtual loop, carrying as many bytes at the same times, and doing nothing with them. Rackproof: lab1 on its
emulators, polled as ``fixtures/cycles.py`` polls a running charge, everything recorded. The two take turns,
so that a machine that grows busy slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import pstats
import socket
import statistics
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import can
import pyvisa
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from pyvisa.constants import StatusCode

from harness.clock import now_s, real_s, rig_loop, run_virtual
from harness.record.journal import Journal
from harness.rig.bench import Bench, Setup, open_bench
from harness.rig.files import load_product, load_rig
from harness.wires.can import CanLine, LoopbackBus
from harness.wires.traffic import Traffic
from rackproof_fixtures.steps import energise, hold_power

POLL_S = 1.0
SETTLE_S = 30
"""Polls before the clock starts: ramps, and what is built at first use."""

# What lab1 carries in a second of a charge: six frames of the battery's set and its keep-alive; SunSpec 701 as
# far as it is used, and 103; the event register, and 38 items of at most eleven characters.
FRAMES = {0x351: 8, 0x355: 4, 0x356: 6, 0x359: 7, 0x35C: 2, 0x35E: 8, 0x305: 8}
BLOCKS = ((40307, 123), (40072, 52))
QUERIES = {b":STATus:EESR?": b"1", b":NUMeric:NORMal:VALue?": b",".join([b"115.47E+00"] * 38)}


@dataclass(frozen=True, slots=True)
class Result:
    """One round: simulated seconds in real seconds, and what one second carried."""

    simulated_s: float
    real_s: float
    carried: Counter[str]

    @property
    def speed(self) -> float:
        return self.simulated_s / self.real_s


class BareInstrument(asyncio.Protocol):
    """Answers each line with what it has for it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(QUERIES[data[:-1]] + b"\n")


class BareVisa:
    """pyvisa-py's raw socket, waiting in the loop and not in the library."""

    def __init__(self, port: int) -> None:
        self._resource: Any = pyvisa.ResourceManager("@py").open_resource(f"TCPIP::127.0.0.1::{port}::SOCKET")
        self._visalib = self._resource.visalib
        self._visalib.issue_warning_on.discard(StatusCode.success_max_count_read)
        self._session = self._resource.session
        self._socket: socket.socket = self._visalib.sessions[self._session].interface
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop: Any = rig_loop()
        self._end = self._loop.ledger.join(self._socket.getsockname(), self._socket.getpeername())
        self._found: asyncio.Future[int]
        self._loop.add_reader(self._socket, self._look)

    async def accepted(self) -> None:
        await self._loop.ledger.accepted(self._socket.getsockname(), "bare visa")

    async def query(self, message: bytes) -> bytes:
        self._found = self._loop.create_future()
        data = message + b"\n"
        self._end.depart(len(data), lambda: self._visalib.write(self._session, data))
        answer, _ = self._visalib.read(self._session, await self._found)
        return bytes(answer)

    def _look(self) -> None:
        seen = self._socket.recv(65536, socket.MSG_PEEK)
        if seen.endswith(b"\n"):
            self._end.arrive(len(seen))
            self._found.set_result(len(seen))

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._resource.close()
        self._end.leave()


async def floor(seconds: int, measure: Callable[[], contextlib.AbstractContextManager[None]]) -> Result:
    """Exchange with bare libraries for a while."""
    carried: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    line = CanLine("battery")
    await line.open()
    heard = 0

    def hear(message: can.Message) -> None:
        nonlocal heard
        heard += len(message.data)

    battery, inverter, near = (LoopbackBus(line, node) for node in ("battery", "inverter", "near"))
    line._buses += [battery, inverter, near]  # noqa: SLF001 - nodes without a port of ours
    for bus in (battery, inverter, near):
        bus.on_message = hear

    async def speak() -> None:
        count = 0
        while True:
            for identifier, length in FRAMES.items():
                bus = near if identifier == 0x305 else battery
                bus.send(
                    can.Message(
                        timestamp=loop.time(),
                        arbitration_id=identifier,
                        is_extended_id=False,
                        data=bytes(length),
                    )
                )
                carried["frames"] += 1
                carried["CAN bytes"] += length
            count += 1
            await asyncio.sleep(count * POLL_S - loop.time())

    registers = SimData(40000, count=2000, values=1234, datatype=DataType.REGISTERS)
    server = ModbusTcpServer(SimDevice(1, [registers]), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    listening: Any = server.transport
    client = AsyncModbusTcpClient("127.0.0.1", port=listening.sockets[0].getsockname()[1], retries=0)
    await client.connect()
    instrument = await loop.create_server(BareInstrument, "127.0.0.1", 0)
    visa = BareVisa(instrument.sockets[0].getsockname()[1])
    await visa.accepted()
    speaking = loop.create_task(speak())

    async def poll() -> None:
        for message in QUERIES:
            carried["VISA bytes"] += len(message) + 1 + len(await visa.query(message))
            carried["queries"] += 1
        for address, count in BLOCKS:
            answer = await client.read_holding_registers(address, count=count, device_id=1)
            carried["registers"] += len(answer.registers)
            carried["block reads"] += 1

    async def run(count: int) -> None:
        start_s = loop.time()
        for number in range(1, count + 1):
            await poll()
            await asyncio.sleep(start_s + number * POLL_S - loop.time())

    await run(SETTLE_S)
    carried.clear()
    with measure():
        began_s, began_real_s = loop.time(), real_s()
        await run(seconds)
        result = Result(loop.time() - began_s, real_s() - began_real_s, carried)
    speaking.cancel()
    visa.close()
    instrument.close()
    client.close()
    await server.shutdown()
    await line.close()
    return result


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Bench, Journal, Traffic]]:
    """Open lab1 on its emulators, everything recorded."""
    journal = Journal(folder / "journal.jsonl")
    journal.open()
    traffic = Traffic(folder / "traffic")
    setup = Setup(
        rig=load_rig("lab1"),
        product=load_product("lfp_rack"),
        f0_hz=50.0,
        seed=1,
        observe=journal.reading,
        note=lambda name, at_s, asked: journal.event("command", {"command": name, "asked": asked}, at_s),
        traffic=traffic,
    )
    try:
        async with open_bench(setup, emulate=True) as bench:
            yield bench, journal, traffic
    finally:
        journal.close()


async def rackproof(seconds: int, measure: Callable[[], contextlib.AbstractContextManager[None]]) -> Result:
    """Poll a running charge of lab1 for a while."""
    carried: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder)) as (bench, journal, traffic):
            battery, inverter, grid, analyzer = (
                bench.role(role) for role in ("battery", "inverter", "grid_source", "power_analyzer")
            )
            await energise(grid, inverter, f0_hz=50.0)
            power_w = bench.product.ratings.charge_power_w
            await hold_power(inverter, -0.5 * power_w, tolerance_w=0.05 * power_w)
            await analyzer.set_update_interval_s(POLL_S)
            await analyzer.start_integration()

            async def run(count: int) -> None:
                start_s = now_s()
                for number in range(1, count + 1):
                    battery_dc = await analyzer.values("battery_dc")
                    pcs_ac = await analyzer.values("pcs_ac")
                    await inverter.ac_power_w()
                    await inverter.dc_power_w()
                    await battery.current_a()
                    # What a plan keeps of a poll, with its uncertainty.
                    samples.append((battery_dc.voltage_v, battery_dc.current_a, pcs_ac.power_w))
                    await battery.is_charge_allowed()
                    await asyncio.sleep(max(0.0, start_s + number * POLL_S - now_s()))

            samples: list[object] = []
            await run(SETTLE_S)
            events = journal.sequence
            messages = {name: _messages(line) for name, line in traffic.lines.items()}
            with measure():
                began_s, began_real_s = now_s(), real_s()
                await run(seconds)
                result = Result(now_s() - began_s, real_s() - began_real_s, carried)
            carried["readings"] = journal.sequence - events
            for name, line in traffic.lines.items():
                carried[f"messages of {name}"] = _messages(line) - messages[name]
    return result


def _messages(line: Any) -> int:
    line.flush()
    return int(line.count)


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Measure as it is."""
    yield


def breakdown(profile: cProfile.Profile) -> Iterator[tuple[str, float]]:
    """Share of the time that each part of the house spends in itself, largest first."""
    parts: dict[str, float] = {}
    stats: Any = pstats.Stats(profile)
    for (file, _, function), (_, _, own_s, _, _) in stats.stats.items():
        parts[_part(file, function)] = parts.get(_part(file, function), 0.0) + own_s
    total = sum(parts.values())
    for name, own_s in sorted(parts.items(), key=lambda item: -item[1]):
        yield name, own_s / total


def _part(file: str, function: str) -> str:
    """Name the folder or library that a function belongs to."""
    path = Path(file)
    if file == "~":
        return "built-in functions" + (" (waiting for sockets)" if "poll" in function else "")
    for known in ("pymodbus", "pyvisa_py", "pyvisa", "can", "asyncio", "numpy"):
        if known in path.parts:
            return known
    if "drivers" in path.parts:
        return f"drivers/{path.parent.name}/{path.name}"
    if "harness" in path.parts:
        return f"harness/{path.parent.name}" if path.parent.name != "harness" else f"harness/{path.name}"
    return "the rest"


def main() -> None:
    """Print both speeds, their ratio, and where Rackproof's time goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1000)
    parser.add_argument("--profile", metavar="FILE", help="also write the profile of Rackproof's side")
    chosen = parser.parse_args()
    sides = {"floor": floor, "Rackproof": rackproof}
    results: dict[str, list[Result]] = {name: [] for name in sides}
    for number in range(chosen.rounds):
        for name, side in sides.items():
            results[name].append(run_virtual(lambda side=side: side(chosen.seconds, untouched)))  # type: ignore[misc]
        speeds = ", ".join(f"{name} {found[-1].speed:.0f}" for name, found in results.items())
        print(f"round {number + 1}: simulated seconds a second: {speeds}")
    medians = {name: statistics.median(each.speed for each in found) for name, found in results.items()}
    for name, found in results.items():
        carried = ", ".join(f"{count / chosen.seconds:.3g} {what}" for what, count in found[-1].carried.items())
        print(f"{name}: median {medians[name]:.0f}, {1e6 / medians[name]:.0f} us a second of: {carried}")
    print(f"ratio of the medians: {medians['floor'] / medians['Rackproof']:.2f} (goal 1.3)")

    profile = cProfile.Profile()

    @contextlib.contextmanager
    def profiled() -> Iterator[None]:
        profile.enable()
        try:
            yield
        finally:
            profile.disable()

    run_virtual(lambda: rackproof(chosen.seconds, profiled))
    print("where Rackproof's time goes (profiled, which inflates small functions):")
    for name, share in breakdown(profile):
        if share >= 0.01:
            print(f"  {share:5.1%}  {name}")
    if chosen.profile:
        profile.dump_stats(chosen.profile)


if __name__ == "__main__":
    main()
