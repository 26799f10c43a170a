"""One device of a rig emulated, the others real: a bench without its battery, on the wall clock.

A battery can be emulated beside real devices where a bench source stands at its terminals: its management
speaks on the real wire, its cells follow the current that a named instrument measures. Nothing else can: an
emulated converter moves no power, and an emulated instrument measures none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from typing import TYPE_CHECKING, Any

from harness.clock import now_s
from harness.errors import RackproofError
from harness.rig.plant_spec import plant_spec
from harness.rig.rig_file import CanWire, Device, RigFile

if TYPE_CHECKING:
    from harness.plant.followed import FollowedBattery
    from harness.rig.bench import Bench

_WHY_NOT: Mapping[str, str] = {
    "inverter": "it would move no power, and the plans would judge power that does not flow",
    "grid_source": "it would feed nothing, and the real devices would stand without mains",
    "power_analyzer": "it would measure a world that is not there",
    "recorder": "it would record a world that is not there",
    "fault_inserter": "a real lead cannot be opened by a relay that is not there",
}
"""Why a role cannot be emulated beside real devices."""

_INSTEAD = "leave it real, or emulate all devices with --emulate alone"


def stand_in_refusals(rig: RigFile, names: Collection[str]) -> list[str]:
    """Say why devices cannot be emulated while the others are real, and what to do; empty where they can."""
    if names and set(names) >= set(rig.devices):
        return [
            f"--emulate={','.join(names)}: these are all devices of rig {rig.name}; write --emulate alone"
        ]
    found = []
    for name in names:
        if rig.devices[name].role == "battery":
            reason = _of_battery(rig, rig.devices[name], names)
        else:
            reason = _of_others(rig.devices[name])
        if reason:
            found.append(f"--emulate={name}: {reason}")
    return found


def _of_others(device: Device) -> str:
    why = _WHY_NOT.get(device.role, "only a battery can follow what is measured beside it")
    if device.protective:
        why = "it protects the rig or feeds the interlock (protective = true)"
    return f"{device.role} beside real devices: {why}; {_INSTEAD}"


def _of_battery(rig: RigFile, device: Device, names: Collection[str]) -> str:
    wire = rig.wires[device.wire]
    if rig.topology.battery_side != "bench_source":
        return (
            "it protects the battery at battery_dc, and emulated it would protect nothing; where a bench "
            'source hangs there instead, write topology.battery_side = "bench_source" into the rig file'
        )
    if not isinstance(wire, CanWire):
        return f"wire {device.wire} is {wire.kind}, and only a CAN line can be shared; {_INSTEAD}"
    if rig.emulation is None:
        return (
            "nothing says which current its cells follow; write [emulation] with "
            f'battery_current = "{_an_analyzer(rig)}.battery_dc.current_a" into the rig file'
        )
    if rig.emulation.battery_current.partition(".")[0] in names:
        return f"its cells follow {rig.emulation.battery_current}, which would be emulated too; {_INSTEAD}"
    return ""


def _an_analyzer(rig: RigFile) -> str:
    return next((name for name, each in rig.devices.items() if each.role == "power_analyzer"), "<analyzer>")


class StandIn:
    """The emulated battery of a bench, and the instrument that it follows."""

    def __init__(self, plant: FollowedBattery, bench: Bench) -> None:
        self._plant = plant
        self._bench = bench

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Let the battery follow the instrument, which is open by now."""
        part = self._bench.rig.emulation
        assert part is not None  # stand_in_refusals
        device, node, _ = part.battery_current.split(".")
        analyzer = self._bench.devices.get(device)
        if analyzer is None:  # one device alone was asked for, or another process holds it
            yield
            return
        task = asyncio.create_task(self._follow(analyzer, node, part.poll_s), name="measured current")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self, analyzer: Any, node: str, poll_s: float) -> None:
        while True:
            begun_s = now_s()
            # Silence and refusals are told to whoever asks for a value: here they make it stale.
            with contextlib.suppress(RackproofError):
                current = (await analyzer.values(node)).current_a
                self._plant.follow(current.value, begun_s)
            await asyncio.sleep(max(poll_s - (now_s() - begun_s), 0.0))


@contextlib.asynccontextmanager
async def standing_in(bench: Bench) -> AsyncIterator[StandIn]:
    """Stand the setup's ``stand_ins`` on emulators, on the real wires that are open.

    Args:
        bench: whose lines are open, and whose devices are about to.
    """
    from harness.plant.followed import FollowedBattery  # noqa: PLC0415 - numpy loads with the plant

    setup = bench.setup
    part = setup.rig.emulation
    assert part is not None  # stand_in_refusals
    spec = plant_spec(setup.rig, setup.product, setup.f0_hz, setup.seed)
    plant = FollowedBattery(spec, stale_s=part.stale_s)
    plant.advance(now_s())
    async with contextlib.AsyncExitStack() as stack:
        for name in setup.stand_ins:
            device = setup.rig.devices[name]
            if device.wire not in bench.lines:
                continue
            folder = setup.find_driver(device.driver)
            emulator: Any = folder.Emulator(name, plant, folder.Options.model_validate(device.options))
            emulator.attach(bench.lines[device.wire].beside(name))
            await emulator.start()
            stack.push_async_callback(emulator.stop)
        yield StandIn(plant, bench)
