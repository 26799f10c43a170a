"""20,000 exchanges over three wires at once, and a digest of every byte, time and order."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Sequence

from harness.clock import now_s, run_virtual
from harness.errors import WireTimeout
from harness.testing.loopback import can_pair, modbus_pair, visa_pair
from harness.wires import Frame, Table
from harness.wires.faults import StreamFaults


class Unit:
    """Answers registers that tell address and time."""

    def read(self, table: Table, address: int, count: int) -> list[int]:
        return [(address + index + int(now_s() * 10)) & 0xFFFF for index in range(count)]

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        del table, address, values


class Slow:
    """Answers after a while of its own."""

    async def answer(self, message: bytes) -> bytes | None:
        await asyncio.sleep(0.05)
        return b"%s %.6f" % (message, now_s())


def digest(seconds: int) -> tuple[str, int, list[float]]:
    """Run ten exchanges a second for a while; gives digest, exchanges, and the times of lost answers."""

    async def main() -> tuple[str, int, list[float]]:
        seen = hashlib.sha256()
        count = 0
        lost: list[float] = []
        modbus_faults, visa_faults = StreamFaults(), StreamFaults()

        def note(*what: object) -> None:
            seen.update(repr((round(now_s(), 9), *what)).encode())

        def heard(frame: Frame) -> None:
            nonlocal count
            count += 1
            note("can", frame.arbitration_id, frame.data)

        async with (
            modbus_pair({1: Unit()}, timeout_s=0.5, faults=modbus_faults) as modbus,
            visa_pair(Slow(), timeout_s=0.5, faults=visa_faults) as visa,
            can_pair() as (near, far),
        ):
            near.listen(range(0x351, 0x357), heard)

            async def frames() -> None:
                for number in range(seconds):
                    for arbitration_id in range(0x351, 0x357):
                        far.send(arbitration_id, number.to_bytes(8, "little"))
                    await asyncio.sleep(1.0)

            async def registers() -> None:
                nonlocal count
                for number in range(seconds):
                    if number % 100 == 50:
                        modbus_faults.drop()
                    began_s = now_s()
                    try:
                        note("modbus", await modbus.read_holding(1, number % 1000, 20))
                        note("modbus", await modbus.read_holding(1, 40000, 50))
                    except WireTimeout:
                        note("modbus lost")
                        lost.append(now_s() - began_s)
                    count += 2
                    await asyncio.sleep(1.0)

            async def values() -> None:
                nonlocal count
                for number in range(seconds):
                    if number % 100 == 70:
                        visa_faults.drop()
                    began_s = now_s()
                    try:
                        note("visa", await visa.query(f"READ {number}?"))
                        note("visa", await visa.query("STATE?"))
                    except WireTimeout:
                        note("visa lost")
                        lost.append(now_s() - began_s)
                    count += 2
                    await asyncio.sleep(1.0)

            await asyncio.gather(frames(), registers(), values())
        return seen.hexdigest(), count, lost

    return run_virtual(main)


if __name__ == "__main__":
    sys.stdout.write(f"{digest(int(sys.argv[1]))[0]}\n")
