"""A rig's emulators in a process of their own, in real time, and the rig file that points at them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping

from harness.errors import ConfigurationError
from harness.rig.bench import FarSide, Setup, far_side
from harness.rig.rig_file import CanWire, ModbusTcpWire, RigFile, VisaWire
from harness.rig.toml_file import unknown

_PACE_S = 0.05
"""How often the plant is brought to the present when nobody asks: far below any time-out in it."""


@contextlib.asynccontextmanager
async def serve(setup: Setup, without: Collection[str] = ()) -> AsyncIterator[RigFile]:
    """Serve the devices of a rig on loopback ports; yields the rig file of what is served.

    Args:
        setup: the rig and its product.
        without: devices on CAN that are not served.

    Raises:
        ConfigurationError: a device to leave out is unknown, or stands on no CAN wire.
    """
    rig = setup.rig
    for name in without:
        if name not in rig.devices:
            raise ConfigurationError(f"--without {name}: {unknown('device', name, rig.devices)}")
        wire = rig.devices[name].wire
        if not isinstance(rig.wires[wire], CanWire):
            raise ConfigurationError(
                f"--without {name}: it stands on wire {wire}, which is {rig.wires[wire].kind}; "
                "allowed: a device on CAN, where another may speak in its place"
            )
    async with far_side(setup, expose_can=True, without=without) as side:
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
