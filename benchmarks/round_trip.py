"""Simulated seconds a second of a long charge, beside two floors that the bare libraries set.

    python benchmarks/round_trip.py [--rounds 25] [--seconds 100] [--profile FILE]

Each side polls once a second over the same wires, as many bytes at the same times, in the same virtual loop.

- Rackproof: lab1 on its emulators, polled as ``fixtures/cycles.py`` polls a running charge, everything
  recorded.
- Libraries on the rig: the same emulators and plant, driven by python-can, pymodbus's client and pyvisa-py's
  raw socket, which do nothing with what they read. The ratio to it is what Rackproof adds to a bench.
- Libraries alone: between static ends. The ratio to it holds the physics and the emulated devices too.

All stay open, and take turns of a fraction of a second: a machine that grows busy slows all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import math
import pstats
import socket
import statistics
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import can
import pyvisa
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from pyvisa.constants import StatusCode

from harness.clock import Cycle, VirtualLoop, now_s, real_s, rig_loop
from harness.record.journal import Journal
from harness.rig.bench import Bench, Setup, far_side, open_bench
from harness.rig.files import load_product, load_rig
from harness.wires.can import CanLine, LoopbackBus
from harness.wires.traffic import LineTraffic, Traffic
from rackproof_fixtures.steps import energise, hold_power

ALONE, ON_THE_RIG, RACKPROOF = "libraries alone", "libraries on the rig", "Rackproof"
GOAL = 1.3
POLL_S = 1.0
SETTLE_S = 30
"""Polls before the first turn: ramps, and what is built at first use."""

# What lab1 carries in a second of a charge: six frames of the battery and one to it, and one of a second
# module on the line that nobody here listens to; SunSpec 701 as far as it is used, and 103; the event
# register, and 38 items of 11 or 12 characters.
FRAMES = {0x351: 8, 0x355: 4, 0x356: 6, 0x359: 7, 0x35C: 2, 0x35E: 8, 0x305: 8, 0x370: 8}
BYSTANDER = 0x370
BLOCKS = ((40307, 123), (40072, 52))
ITEMS = b",".join([b"115.47E+00", b"-115.47E+00"] * 19)
QUERIES = {b":STATus:EESR?": b"1", b":NUMeric:NORMal:VALue?": ITEMS}


class Side(Protocol):
    """One of the two that take turns."""

    carried: Counter[str]

    async def open(self) -> None:
        """Open everything, and poll until it is steady."""

    async def run(self, seconds: int) -> None:
        """Poll for a while."""

    async def close(self) -> None:
        """Close everything."""


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
        resource: Any = pyvisa.ResourceManager("@py").open_resource(f"TCPIP::127.0.0.1::{port}::SOCKET")
        self._resource, self._visalib, self._session = resource, resource.visalib, resource.session
        resource.visalib.issue_warning_on.discard(StatusCode.success_max_count_read)
        self._socket: socket.socket = resource.visalib.sessions[resource.session].interface
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = rig_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
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


class BareNear:
    """What a script of the bare libraries has in its hands: a CAN bus, a Modbus client, a VISA resource."""

    def __init__(self) -> None:
        self.carried: Counter[str] = Counter()
        self._stack = contextlib.AsyncExitStack()

    async def connect(self, line: CanLine, modbus_port: int, visa_port: int) -> LoopbackBus:
        """Open the near end of each wire; gives the bus, which hears all frames."""
        self.bus = LoopbackBus(line, "near")
        line.join(self.bus)
        self.bus.on_message = self.hear
        self._modbus = AsyncModbusTcpClient("127.0.0.1", port=modbus_port, retries=0)
        await self._modbus.connect()
        self._stack.callback(self._modbus.close)
        self._visa = BareVisa(visa_port)
        await self._visa.accepted()
        self._stack.callback(self._visa.close)
        return self.bus

    async def close(self) -> None:
        await self._stack.aclose()

    def hear(self, message: can.Message) -> None:
        self.carried["CAN bytes heard"] += len(message.data)

    async def run(self, seconds: int) -> None:
        carried, loop = self.carried, asyncio.get_running_loop()
        start_s = loop.time()
        for number in range(1, seconds + 1):
            for message in QUERIES:
                carried["VISA bytes read"] += len(await self._visa.query(message)) + 1
            for address, count in BLOCKS:
                answer = await self._modbus.read_holding_registers(address, count=count, device_id=1)
                carried["registers read"] += len(answer.registers)
            await asyncio.sleep(start_s + number * POLL_S - loop.time())


class Alone(BareNear):
    """The libraries between static ends."""

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        line = CanLine("battery")
        await line.open()
        self._stack.push_async_callback(line.close)
        buses = {node: LoopbackBus(line, node) for node in ("battery", "inverter", "bystander")}
        for bus in buses.values():
            line.join(bus)
            bus.on_message = self.hear
        buses["bystander"].accepts = ()

        registers = SimData(40000, count=2000, values=1234, datatype=DataType.REGISTERS)
        server = ModbusTcpServer(SimDevice(1, [registers]), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        self._stack.push_async_callback(server.shutdown)
        listening: Any = server.transport
        instrument = await loop.create_server(BareInstrument, "127.0.0.1", 0)
        self._stack.callback(instrument.close)
        near = await self.connect(
            line, listening.sockets[0].getsockname()[1], instrument.sockets[0].getsockname()[1]
        )
        senders = dict.fromkeys(FRAMES, buses["battery"]) | {0x305: near, BYSTANDER: buses["bystander"]}
        speaking = loop.create_task(speak(senders))
        self._stack.callback(speaking.cancel)
        await self.run(SETTLE_S)


class OnTheRig(BareNear):
    """The libraries on lab1's emulators, under charge; nothing is recorded."""

    async def open(self) -> None:
        setup = lab1()
        side = await self._stack.enter_async_context(far_side(setup))
        async with open_bench(setup, emulate=True, side=side) as bench:
            await charge(bench)
        line = side.can_lines["battery_can"]
        bystander = LoopbackBus(line, "bystander")
        line.join(bystander)
        bystander.accepts = ()
        near = await self.connect(line, side.addresses["pcs_lan"][1], side.addresses["analyzer_lan"][1])
        speaking = asyncio.get_running_loop().create_task(speak({0x305: near, BYSTANDER: bystander}))
        self._stack.callback(speaking.cancel)
        await self.run(SETTLE_S)


async def speak(senders: Mapping[int, LoopbackBus]) -> None:
    """Send each frame once a second."""
    loop = asyncio.get_running_loop()
    start_s, count = loop.time(), 0
    while True:
        for identifier, bus in senders.items():
            data = bytes(FRAMES[identifier])
            bus.send(
                can.Message(timestamp=loop.time(), arbitration_id=identifier, is_extended_id=False, data=data)
            )
        count += 1
        await asyncio.sleep(start_s + count * POLL_S - loop.time())


def lab1(**recorded: Any) -> Setup:
    """Set lab1 up on its emulators."""
    return Setup(rig=load_rig("lab1"), product=load_product("lfp_rack"), f0_hz=50.0, seed=1, **recorded)


async def charge(bench: Bench) -> None:
    """Bring the rack to a charge, and the analyzer to an update and an integration a poll."""
    inverter, analyzer = bench.role("inverter"), bench.role("power_analyzer")
    await energise(bench.role("grid_source"), inverter, f0_hz=50.0)
    power_w = bench.product.ratings.charge_power_w
    await hold_power(inverter, -0.5 * power_w, tolerance_w=0.05 * power_w)
    await analyzer.set_update_interval_s(POLL_S)
    await analyzer.start_integration()


class House:
    """lab1 under charge on its emulators, everything recorded."""

    def __init__(self, folder: Path) -> None:
        self.carried: Counter[str] = Counter()
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()
        self._kept: list[object] = []

    async def open(self) -> None:
        journal, self._bench = await self._stack.enter_async_context(opened(self._folder))
        role = self._bench.role
        self._battery, self._inverter, self._analyzer = (
            role("battery"),
            role("inverter"),
            role("power_analyzer"),
        )
        await charge(self._bench)
        self._journal, self._lines = journal, self._bench.setup.traffic.lines
        far_side = self._bench.far_side
        assert far_side is not None
        bystander = far_side.can_lines["battery_can"].port("bystander")
        speaking = Cycle(
            POLL_S, math.ceil(now_s()), lambda: bystander.send(BYSTANDER, bytes(FRAMES[BYSTANDER]))
        )
        self._stack.callback(speaking.stop)
        await self.run(SETTLE_S)

    async def close(self) -> None:
        await self._stack.aclose()

    async def run(self, seconds: int) -> None:
        self._count(-1)
        battery, inverter, analyzer = self._battery, self._inverter, self._analyzer
        start_s = now_s()
        for number in range(1, seconds + 1):
            battery_dc = await analyzer.values("battery_dc")
            pcs_ac = await analyzer.values("pcs_ac")
            await inverter.ac_power_w()
            await inverter.dc_power_w()
            current_a = await battery.current_a()
            # What a plan keeps of each poll.
            self._kept.append((battery_dc.voltage_v, battery_dc.current_a, pcs_ac.power_w, current_a))
            await battery.is_charge_allowed()
            await asyncio.sleep(max(0.0, start_s + number * POLL_S - now_s()))
        self._count(1)

    def _count(self, sign: int) -> None:
        self.carried["readings recorded"] += sign * self._journal.sequence
        for name, line in self._lines.items():
            self.carried[f"messages of {name}"] += sign * _messages(line)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Journal, Bench]]:
    """Open lab1 on its emulators, everything recorded."""
    journal = Journal(folder / "journal.jsonl")
    journal.open()
    setup = lab1(
        observe=journal.reading,
        note=lambda name, at_s, asked: journal.event("command", {"command": name, "asked": asked}, at_s),
        traffic=Traffic(folder / "traffic"),
    )
    try:
        async with open_bench(setup, emulate=True) as bench:
            yield journal, bench
    finally:
        journal.close()


def _messages(line: LineTraffic) -> int:
    line.flush()
    return line.count


def breakdown(profile: cProfile.Profile) -> Iterator[tuple[str, float]]:
    """Share of the time that each part of the house spends in itself, largest first."""
    parts: dict[str, float] = {}
    stats: Any = pstats.Stats(profile)
    for (file, _, _), (_, _, own_s, _, _) in stats.stats.items():
        parts[_part(file)] = parts.get(_part(file), 0.0) + own_s
    total = sum(parts.values())
    for name, own_s in sorted(parts.items(), key=lambda item: -item[1]):
        yield name, own_s / total


def _part(file: str) -> str:
    """Name the folder or library that a function belongs to."""
    path = Path(file)
    if file == "~":
        return "built-in functions, sockets and files among them"
    for known in ("pymodbus", "pyvisa_py", "pyvisa", "can", "asyncio", "numpy"):
        if known in path.parts:
            return known
    if "drivers" in path.parts:
        return f"drivers/{path.parent.name}/{path.name}"
    if "harness" in path.parts:
        return f"harness/{path.name}" if path.parent.name == "harness" else f"harness/{path.parent.name}"
    return "the rest"


def main() -> None:
    """Print the speeds, the ratios, and where Rackproof's time goes."""
    parser = argparse.ArgumentParser(description="Simulated seconds a second, beside its floors.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seconds", type=int, default=100, help="simulated seconds of each turn")
    parser.add_argument("--profile", metavar="FILE", help="keep the profile of Rackproof's side")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sides: dict[str, Side] = {ALONE: Alone(), ON_THE_RIG: OnTheRig(), RACKPROOF: House(folder)}
        runners = {name: stack.enter_context(asyncio.Runner(loop_factory=VirtualLoop)) for name in sides}
        for name, side in sides.items():
            runners[name].run(side.open())
            side.carried.clear()
        took_s: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(chosen.rounds):
            for name, side in sides.items():
                began_s = real_s()
                runners[name].run(side.run(chosen.seconds))
                took_s[name].append(real_s() - began_s)
        speeds = {name: [chosen.seconds / each for each in found] for name, found in took_s.items()}
        medians = {name: statistics.median(found) for name, found in speeds.items()}
        for name, side in sides.items():
            polls = chosen.rounds * chosen.seconds
            carried = ", ".join(
                f"{count / polls:.4g} {what}" for what, count in side.carried.items() if count
            )
            print(
                f"{name}: {medians[name]:.0f} simulated seconds a second (median of {chosen.rounds};"
                f" {min(speeds[name]):.0f} to {max(speeds[name]):.0f}), each {1e6 / medians[name]:.0f} us"
            )
            print(f"    of {carried}")
        for floor, meaning in (
            (ON_THE_RIG, f"what it adds to a bench; goal {GOAL}"),
            (ALONE, "with all physics and emulated devices"),
        ):
            paired = statistics.median(
                house / bare for bare, house in zip(took_s[floor], took_s[RACKPROOF], strict=True)
            )
            print(
                f"{RACKPROOF} to {floor}: {medians[floor] / medians[RACKPROOF]:.2f} of the medians,"
                f" {paired:.2f} median of the ratios ({meaning})"
            )

        profile = cProfile.Profile()
        profile.enable()
        runners[RACKPROOF].run(sides[RACKPROOF].run(5 * chosen.seconds))
        profile.disable()
        for name, side in sides.items():
            runners[name].run(side.close())
    print("where Rackproof's time goes (profiled, which inflates small functions):")
    for name, share in breakdown(profile):
        if share >= 0.01:
            print(f"  {share:5.1%}  {name}")
    if chosen.profile:
        profile.dump_stats(chosen.profile)


if __name__ == "__main__":
    main()
