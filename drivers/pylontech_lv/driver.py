"""Listens to a low-voltage battery's frames, keeps the last of each kind, and keeps the battery company."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from drivers.pylontech_lv import codec, points
from drivers.pylontech_lv.codec import Flags, Limits, Measurements, State
from drivers.pylontech_lv.options import Options
from drivers.pylontech_lv.points import KINDS, Kind
from harness.clock import Cycle, now_s
from harness.errors import CodecError, StaleReading, WireClosed, WireTimeout
from harness.readings import Reading, Voice
from harness.roles import Identity
from harness.wires import CanPort, Frame

T = TypeVar("T")

STALE_PERIODS = 3
"""A frame that has not come for so many periods is no reading."""


class Driver:
    """A battery on a CAN port (role ``battery``).

    The battery speaks by itself: a reading is its last frame, dated when it arrived, and costs no time.
    Only the first reading waits, for a frame that has never come. Which of the two variants the battery
    speaks is known one period after its first frame; readings that depend on it wait until then.

    On the wire charging current is positive; it is turned round in ``codec``.
    """

    def __init__(self, name: str, wire: CanPort, options: Options, voice: Voice) -> None:
        self.name = name
        self._port = wire
        self._voice = voice
        self._period_s = options.period_s
        self._patience_s = STALE_PERIODS * options.period_s
        self._frames: dict[int, Frame] = {}
        self._awaited: dict[int, asyncio.Event] = {}
        self._any = asyncio.Event()
        self._first_s = 0.0
        self._stop_listening: Callable[[], None] | None = None
        self._keep_alive: Cycle | None = None

    async def open(self) -> None:
        """Listen, and begin to send 0x305. A battery that does not speak shows at its first reading."""
        await self.close()
        self._stop_listening = self._port.listen(KINDS, self._hear)
        self._keep_alive = Cycle(points.KEEP_ALIVE_PERIOD_S, now_s(), self._say_alive)

    async def close(self) -> None:
        """Send and listen no longer, and forget what was heard."""
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        cycle, self._keep_alive = self._keep_alive, None
        if cycle is not None:
            with contextlib.suppress(WireClosed):  # told to whoever asked for a reading
                cycle.stop()
        self._frames.clear()
        self._awaited.clear()
        self._any.clear()

    async def identity(self) -> Identity:
        """Read maker (0x35E), type and firmware (0x35F); empty what the battery does not send."""
        maker, _ = await self._latest(points.MAKER, codec.decode_maker)
        await self._variant()
        if not self._has(points.VERSIONS):
            return Identity(maker, "low-voltage BMS", "", "")
        versions, _ = await self._latest(points.VERSIONS, codec.decode_versions)
        return Identity(
            maker, f"type 0x{versions.battery_type:04X}", "", f"{versions.major}.{versions.minor}"
        )

    async def voltage_v(self) -> Reading[float]:
        """Voltage at the battery's terminals (0x356)."""
        values, at_s = await self._measurements()
        return self._voice.reading("voltage_v", values.voltage_v, at_s)

    async def current_a(self) -> Reading[float]:
        """Current out of the battery (0x356, where charging is positive)."""
        values, at_s = await self._measurements()
        return self._voice.reading("current_a", values.current_a, at_s)

    async def temperature_degc(self) -> Reading[float]:
        """Temperature (0x356)."""
        values, at_s = await self._measurements()
        return self._voice.reading("temperature_degc", values.temperature_degc, at_s)

    async def soc(self) -> Reading[float]:
        """State of charge (0x355): steps of 0.01, or of 0.0001 where the battery sends them."""
        state, at_s = await self._state()
        return self._voice.reading("soc", state.soc, at_s)

    async def soh(self) -> Reading[float]:
        """State of health (0x355), in steps of 0.01."""
        state, at_s = await self._state()
        return self._voice.reading("soh", state.soh, at_s)

    async def charge_voltage_limit_v(self) -> Reading[float]:
        """Highest voltage that it asks a charger to hold (0x351)."""
        limits, at_s = await self._limits()
        return self._voice.reading("charge_voltage_limit_v", limits.charge_voltage_limit_v, at_s)

    async def charge_current_limit_a(self) -> Reading[float]:
        """Largest charge current it allows (0x351)."""
        limits, at_s = await self._limits()
        return self._voice.reading("charge_current_limit_a", limits.charge_current_limit_a, at_s)

    async def discharge_current_limit_a(self) -> Reading[float]:
        """Largest discharge current it allows (0x351)."""
        limits, at_s = await self._limits()
        return self._voice.reading("discharge_current_limit_a", limits.discharge_current_limit_a, at_s)

    async def is_charge_allowed(self) -> Reading[bool]:
        """Whether charging is allowed: 0x35C, else a charge current limit above zero (0x351)."""
        await self._variant()
        if self._has(points.REQUESTS):
            requests, at_s = await self._latest(points.REQUESTS, codec.decode_requests)
            return self._voice.reading("is_charge_allowed", requests.is_charge_allowed, at_s)
        limits, at_s = await self._limits()
        return self._voice.reading("is_charge_allowed", limits.charge_current_limit_a > 0.0, at_s)

    async def is_discharge_allowed(self) -> Reading[bool]:
        """Whether discharging is allowed: 0x35C, else a discharge current limit above zero (0x351)."""
        await self._variant()
        if self._has(points.REQUESTS):
            requests, at_s = await self._latest(points.REQUESTS, codec.decode_requests)
            return self._voice.reading("is_discharge_allowed", requests.is_discharge_allowed, at_s)
        limits, at_s = await self._limits()
        return self._voice.reading("is_discharge_allowed", limits.discharge_current_limit_a > 0.0, at_s)

    async def alarms(self) -> Reading[frozenset[str]]:
        """Protections that have acted, from 0x359 or 0x35A, or both where both come."""
        flags, at_s = await self._flags()
        return self._voice.reading("alarms", flags.alarms, at_s)

    async def warnings(self) -> Reading[frozenset[str]]:
        """Warnings that are raised, from 0x359 or 0x35A, or both where both come."""
        flags, at_s = await self._flags()
        return self._voice.reading("warnings", flags.warnings, at_s)

    def _hear(self, frame: Frame) -> None:
        if not self._any.is_set():
            self._first_s = frame.at_s
            self._any.set()
        self._frames[frame.arbitration_id] = frame
        if self._awaited and frame.arbitration_id in self._awaited:
            self._awaited.pop(frame.arbitration_id).set()

    def _say_alive(self) -> None:
        self._port.send(points.KEEP_ALIVE, points.KEEP_ALIVE_DATA)

    def _has(self, kind: Kind) -> bool:
        return kind.identifier in self._frames

    async def _measurements(self) -> tuple[Measurements, float]:
        return await self._latest(points.MEASUREMENTS, codec.decode_measurements)

    async def _state(self) -> tuple[State, float]:
        return await self._latest(points.STATE, codec.decode_state)

    async def _limits(self) -> tuple[Limits, float]:
        return await self._latest(points.LIMITS, codec.decode_limits)

    async def _flags(self) -> tuple[Flags, float]:
        """Take the flags of every kind that the battery sends, dated by the older."""
        await self._variant()
        heard: list[tuple[Flags, float]] = []
        if self._has(points.PROTECTIONS):
            heard.append(await self._latest(points.PROTECTIONS, codec.decode_protections))
        if self._has(points.ALARMS) or not heard:
            heard.append(await self._latest(points.ALARMS, codec.decode_alarms))
        alarms = frozenset[str]().union(*(flags.alarms for flags, _ in heard))
        warnings = frozenset[str]().union(*(flags.warnings for flags, _ in heard))
        return Flags(alarms, warnings), min(at_s for _, at_s in heard)

    async def _variant(self) -> None:
        """Wait until the battery has spoken for a period, so that each kind it sends has come."""
        if not self._any.is_set():
            await self._wait(self._any, "no frame of the battery")
        self._check_company()
        rest_s = self._first_s + self._period_s - now_s()
        if rest_s > 0.0:
            await asyncio.sleep(rest_s)

    async def _latest(self, kind: Kind, decode: Callable[[bytes], T]) -> tuple[T, float]:
        """Decode the last frame of a kind, and say when it came.

        Raises:
            WireTimeout: none has ever come, and none came within three periods.
            StaleReading: the last is older than three periods.
            CodecError: it is damaged.
            WireClosed: 0x305 could not be sent, or the driver is not open.
        """
        if kind.identifier not in self._frames:
            arrived = self._awaited.setdefault(kind.identifier, asyncio.Event())
            await self._wait(arrived, f"frame {kind}")
        self._check_company()
        frame = self._frames[kind.identifier]
        age_s = now_s() - frame.at_s
        if age_s > self._patience_s:
            raise StaleReading(
                f"{self.name}: frame {kind} is {age_s:.3f} s old: it is due each {self._period_s:g} s, and "
                f"{STALE_PERIODS} periods are allowed"
            )
        try:
            return decode(frame.data), frame.at_s
        except CodecError as error:
            raise CodecError(f"{self.name}: {error}") from error

    async def _wait(self, arrived: asyncio.Event, what: str) -> None:
        self._check_company()
        try:
            async with asyncio.timeout(self._patience_s):
                await arrived.wait()
        except TimeoutError as error:
            raise WireTimeout(
                f"{self.name}: {what} never came, and not within {self._patience_s:g} s "
                f"({STALE_PERIODS} periods) on {self._port.name}"
            ) from error

    def _check_company(self) -> None:
        """Tell why 0x305 is no longer sent: a battery that hears nothing may stop."""
        if self._keep_alive is None:
            raise WireClosed(f"{self.name}: not open")
        self._keep_alive.check()
