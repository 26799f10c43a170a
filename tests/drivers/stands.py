"""What the tests of several drivers stand on: a driver over a real socket, to its emulator or to bytes."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.clock import run_virtual
from harness.errors import BenchError, StaleReading
from harness.plant import PlantSpec, RigPlant
from harness.readings import Voice
from harness.testing.loopback import modbus_pair, visa_pair
from harness.wires.faults import StreamFaults


class Tape:
    """An instrument that knows one conversation, and says where it was left.

    Lines begin with ``> `` for what it is asked and ``< `` for what it says; ``changes`` are other answers.
    """

    def __init__(self, path: Path, changes: dict[str, str] | None = None) -> None:
        self._lines = deque(
            line for line in path.read_text().splitlines() if line and not line.startswith("#")
        )
        self._changes = changes or {}
        self.departure = ""

    async def answer(self, message: bytes) -> bytes | None:
        expected = self._lines.popleft() if self._lines else "nothing"
        if expected != f"> {message.decode()}" and not self.departure:
            self.departure = f"expected {expected!r}, got {message!r}"
        answer = self._changes.get(message.decode())
        if self._lines and self._lines[0].startswith("<"):
            answer = answer or self._lines[0][2:]
            self._lines.popleft()
        if answer is None:
            return None
        octets = re.sub(r"\\x(..)", lambda match: chr(int(match[1], 16)), answer)
        return octets.encode("latin-1")

    def check(self) -> None:
        assert not self.departure, self.departure
        assert not self._lines, f"never asked: {self._lines[0]}"


class Answering:
    """An instrument with the same answer to every query; None is silence."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self.messages: list[bytes] = []

    async def answer(self, message: bytes) -> bytes | None:
        self.messages.append(message)
        return self._answer if b"?" in message else None


def over(instrument: Any, make: Callable[[Any], Any], main: Callable[[Any], Awaitable[Any]]) -> Any:
    """Run ``main`` with the driver that ``make`` makes of a line to an instrument; gives what it gives."""

    async def run() -> Any:
        async with visa_pair(instrument) as line:
            return await main(make(line))

    return run_virtual(run)


async def meets_only_bench_errors(*asks: Callable[[], Awaitable[Any]]) -> None:
    for ask in asks:
        with contextlib.suppress(BenchError):
            await ask()


async def refuses(emulator: Any, message: bytes, code: int) -> None:
    """A message that an instrument does not understand: no answer, and a code in its error queue."""
    assert await emulator.answer(message) is None
    answer = await emulator.answer(b"SYST:ERR?")
    assert answer is not None
    assert answer.startswith(b"%d," % code)


@contextlib.asynccontextmanager
async def on_visa(
    folder: Any,
    name: str,
    plant: RigPlant,
    options: Any,
    *,
    voice: Voice | None = None,
    faults: StreamFaults | None = None,
) -> AsyncIterator[tuple[Any, Any, RigPlant]]:
    """Open the driver of a folder over a real socket to its emulator."""
    emulator = folder.Emulator(name, plant, options)
    await emulator.start()
    try:
        async with visa_pair(emulator, faults=faults) as line:
            driver = folder.Driver(name, line, options, voice or Voice(name))
            await driver.open()
            yield driver, emulator, plant
            await driver.close()
    finally:
        await emulator.stop()


@dataclass
class CoilStand:
    """A device with coils; ``changes`` is what its emulator told the rig, and when the plant stood."""

    plant: RigPlant
    emulator: Any
    driver: Any
    faults: StreamFaults
    changes: list[Any] = field(default_factory=list)


@contextlib.asynccontextmanager
async def on_modbus(
    folder: Any, name: str, options: Any, *, tells: str, voice: Voice | None = None, served: int | None = None
) -> AsyncIterator[CoilStand]:
    """Stand a driver before its emulator, not open yet; ``served`` is another unit than the driver asks."""
    plant = RigPlant(PlantSpec())
    emulator = folder.Emulator(name, plant, options)
    faults = StreamFaults()
    await emulator.start()
    try:
        async with modbus_pair({served or options.unit: emulator}, faults=faults) as line:
            at = CoilStand(plant, emulator, folder.Driver(name, line, options, voice or Voice(name)), faults)
            setattr(emulator, tells, lambda what, is_on: at.changes.append((plant.now_s, what, is_on)))
            yield at
            await at.driver.close()
    finally:
        await emulator.stop()


async def until(at_s: float) -> None:
    """Sleep until a rig time."""
    await asyncio.sleep(at_s - asyncio.get_running_loop().time())


def stale_after_three_periods(stand: Callable[..., Any], period_s: float) -> str:
    """Silence a device that reports a voltage, and let it speak again; gives what was said meanwhile."""

    async def main() -> str:
        async with stand(period_s=period_s) as at:
            await until(10.5 * period_s)
            at.emulator.silent = True
            last_s = (await at.driver.voltage_v()).at_s
            await until(last_s + 2.99 * period_s)
            assert (await at.driver.voltage_v()).at_s == last_s
            await until(last_s + 3.25 * period_s)
            with pytest.raises(StaleReading) as raised:
                await at.driver.voltage_v()
            at.emulator.silent = False
            await until(last_s + 4.5 * period_s)
            assert (await at.driver.voltage_v()).at_s > last_s
            return str(raised.value)

    said: str = run_virtual(main)
    assert f"{3.25 * period_s:.3f} s old" in said
    assert f"each {period_s:g} s" in said
    return said
