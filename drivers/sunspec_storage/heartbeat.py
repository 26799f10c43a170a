"""The heartbeats of model 715 as a hardware layer: the unit stops once it misses its controller's."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from drivers.sunspec_storage import codec
from drivers.sunspec_storage.codec import Block
from drivers.sunspec_storage.points import Point
from harness.clock import now_s
from harness.errors import DeviceFault, DeviceRefused
from harness.readings import Reading, Voice

STANDS_STILL_S = 3.0
"""The unit counts its own heartbeat (715.DERHb) once a second; one that stands this long is dead; ours."""

_LOOK_S = 0.1

Read = Callable[[int], Awaitable[Block]]
Write = Callable[[Point, list[int]], Awaitable[None]]


class Heartbeat:
    """The controller's heartbeat, 715.ControllerHb, and the unit's own beside it (a ``Watchdog``).

    The time after which the unit stops is set up by its maker's means: SunSpec has no register for it, and no
    word for what the unit does, or for an end of it. A unit that stopped is taken to say so in 715.OpCtl
    (STOP); one that does not shows at commissioning, where this watchdog then seems to run for ever.
    """

    def __init__(self, name: str, read: Read, write: Write, timeout_s: float | None, voice: Voice) -> None:
        """Prepare.

        Args:
            name: of the unit.
            read: gives a model's block as it stands.
            write: writes from a point on.
            timeout_s: that the unit was set up for; None: it was not.
            voice: of the unit.
        """
        self._name = name
        self._read = read
        self._write = write
        self._timeout_s = timeout_s
        self._voice = voice
        self._armed_s: float | None = None
        self._first = 0
        self._heard = 0
        self._heard_s = 0.0

    async def arm_watchdog(self, timeout_s: float) -> None:
        """See that the unit counts, and begin to beat. A unit that was stopped stays disconnected meanwhile.

        Raises:
            DeviceRefused: another time than the unit was set up for (nothing is sent), a point that is
                missing, a unit that somebody has at its own panel, or one that stands stopped and connected:
                what ends the stop would start it.
            DeviceFault: its own heartbeat stands still.
        """
        asked = f"{self._name}: heartbeat.arm_watchdog({timeout_s:g} s)"
        if self._timeout_s is None:
            raise DeviceRefused(
                f"{asked} refused before sending: allowed none, since nobody says that the unit was set up "
                "to miss a heartbeat; name its time in options.heartbeat_timeout_s"
            )
        if timeout_s != self._timeout_s:
            raise DeviceRefused(
                f"{asked} refused before sending: allowed {self._timeout_s:g} s, for which the unit was set "
                "up (options.heartbeat_timeout_s)"
            )
        controls = await self._read(715)
        for name in ("DERHb", "ControllerHb", "OpCtl"):
            if not controls.is_implemented(name):
                raise DeviceRefused(f"{asked}: it has no 715.{name}, and with it no heartbeat")
        if controls.is_implemented("LocRemCtl") and controls.symbol("LocRemCtl") == "LOCAL":
            raise DeviceRefused(
                f"{asked}: somebody has it at its own panel (715.LocRemCtl is LOCAL), and it misses no "
                "controller; allowed: REMOTE"
            )
        self._voice.command("heartbeat.arm_watchdog", timeout_s)
        if _is_stopped(controls):
            if (await self._read(123)).symbol("Conn") != "DISCONNECT":
                raise DeviceRefused(
                    f"{asked}: it stands stopped and connected (715.OpCtl is STOP, 123.Conn is CONNECT), and "
                    "arming would start it; turn it off first"
                )
            await start(self._name, self._read, self._write)
        await self._hear_it_count()
        self._first, self._armed_s = controls.raw("ControllerHb") + 1, now_s()
        await self._beat(controls)

    async def feed_watchdog(self) -> None:
        """Show the controller's heartbeat, a count of seconds.

        Raises:
            DeviceFault: the unit has stopped, its own heartbeat stands still, or it is not armed.
        """
        controls = await self._read(715)
        if self._armed_s is None:
            raise DeviceFault(f"{self._name}: heartbeat.feed_watchdog: nobody armed it")
        if _is_stopped(controls):
            raise DeviceFault(
                f"{self._name}: heartbeat.feed_watchdog: it missed the controller's heartbeat, or was told "
                "to, and stopped (715.OpCtl is STOP); turn it on anew"
            )
        count = controls.raw("DERHb")
        if count != self._heard:
            self._heard, self._heard_s = count, now_s()
        elif now_s() - self._heard_s > STANDS_STILL_S:
            raise DeviceFault(
                f"{self._name}: heartbeat.feed_watchdog: its own heartbeat (715.DERHb) stands at {count} "
                f"for {now_s() - self._heard_s:.1f} s; allowed {STANDS_STILL_S:g} s: it would not miss ours "
                "either"
            )
        await self._beat(controls)

    async def disarm_watchdog(self) -> None:
        """Beat no more. There is no word that ends it: a unit that runs stops in its time."""
        self._voice.command("heartbeat.disarm_watchdog")
        self._armed_s = None

    async def is_watchdog_running(self) -> Reading[bool]:
        """Whether it was armed here, and the unit has not stopped."""
        controls = await self._read(715)
        is_running = self._armed_s is not None and not _is_stopped(controls)
        return self._voice.reading("heartbeat.is_watchdog_running", is_running, controls.at_s)

    async def _beat(self, controls: Block) -> None:
        assert self._armed_s is not None
        point = controls.model.points["ControllerHb"]
        count = (self._first + math.floor(now_s() - self._armed_s)) % (point.kind.highest + 1)
        await self._write(point, codec.from_int(point, count))

    async def _hear_it_count(self) -> None:
        """Wait for the unit's next heartbeat."""
        first, start_s = (await self._read(715)).raw("DERHb"), now_s()
        while (count := (await self._read(715)).raw("DERHb")) == first:
            if now_s() - start_s > STANDS_STILL_S:
                raise DeviceFault(
                    f"{self._name}: heartbeat.arm_watchdog: its own heartbeat (715.DERHb) stands at {first} "
                    f"for {STANDS_STILL_S:g} s: it would not miss ours either"
                )
            await asyncio.sleep(_LOOK_S)
        self._heard, self._heard_s = count, now_s()


def _is_stopped(controls: Block) -> bool:
    return controls.symbol("OpCtl") == "STOP"


async def start(name: str, read: Read, write: Write) -> None:
    """End a stop (715.OpCtl), where there is one.

    Raises:
        DeviceRefused: the unit says no, or does not read back that it was started.
    """
    controls = await read(715)
    if not controls.is_implemented("OpCtl") or not _is_stopped(controls):
        return
    point = controls.model.points["OpCtl"]
    await write(point, [point.code("START")])
    if _is_stopped(await read(715)):
        raise DeviceRefused(f"{name}: START was answered and not taken: 715.OpCtl is STOP")
