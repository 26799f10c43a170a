"""A rig's emulators in a process of their own, in real time, and the rig file that points at them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from harness.rig.bench import FarSide, Setup, far_side
from harness.rig.rig_file import CanWire, ModbusTcpWire, RigFile, VisaWire

_PACE_S = 0.05
"""How often the plant is brought to the present when nobody asks: far below any time-out in it."""


@contextlib.asynccontextmanager
async def serve(setup: Setup) -> AsyncIterator[RigFile]:
    """Serve all devices of a rig on loopback ports; yields the rig file of what is served."""
    async with far_side(setup, expose_can=True) as side:
        pace = asyncio.create_task(_keep_pace(side), name="plant")
        try:
            yield pointed_at(setup.rig, side.addresses)
        finally:
            pace.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pace


async def _keep_pace(side: FarSide) -> None:
    while True:
        side.advance()
        await asyncio.sleep(_PACE_S)


def pointed_at(rig: RigFile, addresses: Mapping[str, tuple[str, int]]) -> RigFile:
    """Give the rig with the addresses of served emulators, marked as emulated."""
    wires = {}
    for name, wire in rig.wires.items():
        host, port = addresses[name]
        match wire:
            case CanWire():
                changes: dict[str, object] = {
                    "interface": "socketcand",
                    "options": {"host": host, "port": port},
                }
            case ModbusTcpWire():
                changes = {"host": host, "port": port}
            case VisaWire():
                changes = {"resource": f"TCPIP0::{host}::{port}::SOCKET", "backend": "@py"}
        wires[name] = wire.model_copy(update=changes)
    return rig.model_copy(update={"wires": wires, "emulated": True})
