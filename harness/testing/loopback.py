"""Two ends of a line in one loop: a driver's near end, over the real protocol, to an emulator."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

from harness.clock import VirtualLoop, rig_loop
from harness.wires import CanPort, Instrument, ModbusLine, ModbusUnit, VisaLine
from harness.wires.can import CanLine
from harness.wires.faults import StreamFaults
from harness.wires.modbus import ModbusTcpLine, ModbusTcpServer
from harness.wires.visa import InstrumentServer, VisaSocketLine


async def _settle() -> None:
    loop = rig_loop()
    if isinstance(loop, VirtualLoop):
        await loop.settle()


@contextlib.asynccontextmanager
async def modbus_pair(
    units: Mapping[int, ModbusUnit], *, timeout_s: float = 1.0, faults: StreamFaults | None = None
) -> AsyncIterator[ModbusLine]:
    """Serve the units on a loopback port and connect to them."""
    server = ModbusTcpServer("modbus", units, faults)
    await server.start()
    line = ModbusTcpLine("modbus", "127.0.0.1", server.port, timeout_s=timeout_s)
    try:
        await line.open()
        yield line
    finally:
        await line.close()
        await server.stop()
        await _settle()


@contextlib.asynccontextmanager
async def visa_pair(
    instrument: Instrument, *, timeout_s: float = 2.0, faults: StreamFaults | None = None
) -> AsyncIterator[VisaLine]:
    """Serve the instrument on a loopback port and connect to it."""
    server = InstrumentServer("visa", instrument, faults=faults)
    await server.start()
    line = VisaSocketLine("visa", f"TCPIP::127.0.0.1::{server.port}::SOCKET", timeout_s=timeout_s)
    try:
        await line.open()
        yield line
    finally:
        await line.close()
        await server.stop()
        await _settle()


@contextlib.asynccontextmanager
async def can_pair(line: CanLine | None = None) -> AsyncIterator[tuple[CanPort, CanPort]]:
    """Open a loopback line with a near and a far node; hand one in to set faults on it."""
    line = line or CanLine("can")
    await line.open()
    try:
        yield line.port("near"), line.port("far")
    finally:
        await line.close()
