"""A rig's emulators in a process of their own, in real time, and the rig file that points at them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import IO, Any, cast

from harness.clock import WallLoop, rig_loop
from harness.errors import ConfigurationError
from harness.rig.bench import FarSide, Setup, far_side
from harness.rig.rig_file import CanWire, ModbusTcpWire, RigFile, VisaWire

_PACE_S = 0.05
"""How often the plant is brought to the present when nobody asks: far below any time-out in it."""

_TRUTH_PACE_S = 0.005
"""How often the truth is written: a twentieth of the shortest reaction that an envelope allows."""


@contextlib.asynccontextmanager
async def serve(
    setup: Setup, without: Collection[str] = (), truth: Path | None = None
) -> AsyncIterator[tuple[RigFile, FarSide]]:
    """Serve the devices of a rig on loopback ports.

    Args:
        setup: the rig and its product.
        without: devices on CAN that are not served.
        truth: where to write what the plant really does, one JSON object a line; nowhere if None.

    Yields:
        The rig file of what is served, and the emulated world.

    Raises:
        ConfigurationError: a device to leave out is unknown, or stands on no CAN wire.
    """
    rig = setup.rig
    for name in without:
        wire = rig.devices[name].wire
        if not isinstance(rig.wires[wire], CanWire):
            raise ConfigurationError(
                f"--without {name}: it stands on wire {wire}, which is {rig.wires[wire].kind}; "
                "allowed: a device on CAN, where another may speak in its place"
            )
    async with far_side(setup, expose_can=True, is_enabled=False, without=without) as side:
        with contextlib.ExitStack() as files:
            file = None if truth is None else files.enter_context(truth.open("w", encoding="utf-8"))
            pace = asyncio.create_task(_keep_pace(side, file), name="plant")
            try:
                yield pointed_at(setup.rig, side.addresses), side
            finally:
                pace.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pace


async def _keep_pace(side: FarSide, file: IO[str] | None) -> None:
    last = ""
    while True:
        side.advance()
        if file is None:
            await asyncio.sleep(_PACE_S)
            continue
        said = json.dumps(truth_of(side))
        if said != last:
            file.write(
                f'{{"at_s": {rig_loop().time() + cast("WallLoop", rig_loop()).origin_s!r}, "is": {said}}}\n'
            )
            file.flush()
            last = said
        await asyncio.sleep(_TRUTH_PACE_S)


def truth_of(side: FarSide) -> dict[str, Any]:
    """What really is on the rig at the plant's present, free of sensors."""
    plant = side.plant
    return {
        "battery_current_a": round(plant.string.current_a, 3),
        "contactor_closed": plant.bms.contactor_closed,
        "converter_power_w": round(plant.converter.power_w, 1),
        "converter_on": plant.converter.is_on,
        "source_on": plant.grid.is_relay_closed,
        "ac_voltage_v": round(plant.converter.ac_voltage_v(1), 2),
        "load_power_w": round(plant.load.power_w, 1),
    }


def drill(side: FarSide, words: str) -> None:
    """Do to the emulated world what a person or a fault would do to a rig; for drills and tests.

    ``input safety.door_closed off``, ``silent pcs on``, ``frozen bms on``, ``locked pcs on``,
    ``lifeless pcs on``, ``disturb shunt.current_a 400``, ``mains off``.

    Raises:
        ConfigurationError: no such drill, device or input.
    """
    side.advance()
    match words.split():
        case ["input", name, state] if "." in name:
            device, _, contact = name.partition(".")
            _emulator(side, device).set_input(contact, state == "on")
        case ["silent" | "frozen" | "locked" | "lifeless" as flag, device, state] if hasattr(
            _emulator(side, device), flag
        ):
            setattr(_emulator(side, device), flag, state == "on")
        case ["disturb", name, amount] if "." in name:
            device, _, quantity = name.partition(".")
            _emulator(side, device).disturbance[quantity] = float(amount)
        case ["mains", state]:
            (side.plant.grid.close_relay if state == "on" else side.plant.grid.open_relay)()
        case _:
            raise ConfigurationError(
                f"{words!r} is no drill; allowed: input DEVICE.NAME on|off, silent DEVICE on|off, "
                "frozen DEVICE on|off, locked|lifeless INVERTER on|off, "
                "disturb DEVICE.QUANTITY AMOUNT, mains on|off"
            )
    side.advance()


def _emulator(side: FarSide, device: str) -> Any:
    if device not in side.emulators:
        raise ConfigurationError(f"no device {device!r} on this rig; there are {', '.join(side.emulators)}")
    return side.emulators[device]


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
