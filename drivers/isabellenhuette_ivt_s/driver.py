"""Turns each frame of the sensor into a reading as it arrives; whoever asks is given the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from drivers.isabellenhuette_ivt_s import codec, points
from drivers.isabellenhuette_ivt_s.codec import Result
from drivers.isabellenhuette_ivt_s.options import Options
from drivers.isabellenhuette_ivt_s.points import Channel
from harness.clock import now_s
from harness.errors import (
    BenchError,
    CodecError,
    DeviceFault,
    DeviceRefused,
    StaleReading,
    WireClosed,
    WireTimeout,
)
from harness.readings import Reading, Voice
from harness.roles import Identity
from harness.wires import CanPort, Frame

T = TypeVar("T")

STALE_PERIODS = 3
"""A frame that has not come for so many periods is no reading."""


@dataclass(slots=True)
class _Heard:
    """What one channel has said.

    Attributes:
        last: what its last frame made: a reading, or the reason why it made none.
        at_s: when that frame came.
        counter: of that frame.
        arrived: is set by the first frame.
    """

    last: Reading[float] | BenchError | None = None
    at_s: float = 0.0
    counter: int | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Driver:
    """An IVT-S on a CAN port (role ``dc_sensor``). It sends nothing but the question who the sensor is.

    A result whose state says that it is none, a damaged frame, and one whose counter stands still make no
    reading: what was heard before grows stale. The over-current signal is no error: its result stands.

    Attributes:
        counter_jumps: frames whose counter was not the next: lost ones lie before them, or they came twice.
    """

    def __init__(self, name: str, wire: CanPort, options: Options, voice: Voice) -> None:
        self.name = name
        self.counter_jumps = 0
        self._port = wire
        self._voice = voice
        self._options = options
        channels = (points.CURRENT, points.VOLTAGES[options.voltage_channel], points.TEMPERATURE)
        self._channels = {options.base_id + channel.number: channel for channel in channels}
        self._heard: dict[str, _Heard] = {}
        self._period_s = options.period_s
        self._stop_listening: Callable[[], None] | None = None

    async def open(self) -> None:
        """Listen. A sensor that does not speak shows at the first question."""
        await self.close()
        self._period_s = self._options.period_here_s()
        self._heard = {channel.quantity: _Heard() for channel in self._channels.values()}
        self._stop_listening = self._port.listen(self._channels, self._hear)

    async def close(self) -> None:
        """Listen no longer, and forget what was heard."""
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        self._heard = {}

    async def identity(self) -> Identity:
        """Ask for type, software and serial number.

        Raises:
            DeviceFault: another variant is mounted than the rig file's ``range_a``.
            WireTimeout: no answer within 500 ms.
            DeviceRefused: the sensor does not know the question.
        """
        device = await self._ask(points.GET_DEVICE, codec.decode_device)
        if device.range_a != self._options.range_a:
            raise DeviceFault(
                f"{self.name}: says it is a sensor of {device.range_a} A; allowed: range_a = "
                f"{self._options.range_a}, as the rig file has it"
            )
        software = await self._ask(points.GET_SOFTWARE, codec.decode_software)
        serial = await self._ask(points.GET_SERIAL, codec.decode_serial)
        kind = points.DEVICE_TYPES.get(device.type_number, f"type {device.type_number}")
        return Identity(points.MAKER, f"{kind} {device.range_a} A", str(serial), software)

    async def period_s(self) -> float:
        """Interval of each frame on this loop, from the options."""
        return self._options.period_here_s()

    async def voltage_v(self) -> Reading[float]:
        """Voltage across the battery, as it came last."""
        return await self._last("voltage_v")

    async def current_a(self) -> Reading[float]:
        """Current out of the battery, as it came last."""
        return await self._last("current_a")

    async def temperature_degc(self) -> Reading[float]:
        """Temperature of the shunt, as it came last."""
        return await self._last("temperature_degc")

    def _hear(self, frame: Frame) -> None:
        channel = self._channels[frame.arbitration_id]
        heard = self._heard[channel.quantity]
        try:
            result = codec.decode_result(channel, frame.data)
        except CodecError as error:
            heard.last, heard.at_s = CodecError(f"{self._frame(channel)}: {error}"), frame.at_s
        else:
            before, heard.counter = heard.counter, result.counter
            if before is not None and result.counter != (before + 1) % points.COUNTS:
                self.counter_jumps += 1
                if result.counter == before:
                    return
            heard.last, heard.at_s = self._made(channel, result, frame.at_s), frame.at_s
        heard.arrived.set()

    def _made(self, channel: Channel, result: Result, at_s: float) -> Reading[float] | DeviceFault:
        if result.errors:
            return DeviceFault(f"{self._frame(channel)} says: {', '.join(result.errors)}")
        sign = self._options.sign if channel is points.CURRENT else 1
        return self._voice.reading(channel.quantity, sign * result.value, at_s)

    async def _last(self, quantity: str) -> Reading[float]:
        """Give a channel's last reading.

        Raises:
            WireTimeout: no frame has ever come, and none came within three periods.
            StaleReading: the last is older than three periods.
            DeviceFault: the last frame says that its result is none.
            CodecError: the last frame was damaged.
            WireClosed: the driver is not open.
        """
        if self._stop_listening is None:
            raise WireClosed(f"{self.name}: not open")
        patience_s = STALE_PERIODS * self._period_s
        (channel,) = (each for each in self._channels.values() if each.quantity == quantity)
        heard = self._heard[quantity]
        if not heard.arrived.is_set():
            try:
                async with asyncio.timeout(patience_s):
                    await heard.arrived.wait()
            except TimeoutError as error:
                raise WireTimeout(
                    f"{self._frame(channel)} never came, and not within {patience_s:g} s ({STALE_PERIODS} "
                    f"periods) on {self._port.name}"
                ) from error
        age_s = now_s() - heard.at_s
        if heard.last is None or age_s > patience_s:
            raise StaleReading(
                f"{self._frame(channel)} is {age_s:.3f} s old: it is due each {self._period_s:g} s, and "
                f"{STALE_PERIODS} periods are allowed"
            )
        if isinstance(heard.last, BenchError):
            raise heard.last.with_traceback(None)  # it may be raised often, and would grow each time
        return heard.last

    def _frame(self, channel: Channel) -> str:
        return f"{self.name}: frame 0x{self._options.base_id + channel.number:03X} ({channel.quantity})"

    async def _ask(self, number: int, decode: Callable[[bytes], T]) -> T:
        """Send a command, wait for its response, and read that."""
        if self._stop_listening is None:
            raise WireClosed(f"{self.name}: not open")
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        allowed = {number + points.ANSWER_TO, points.WRONG_COMMAND}

        def hear(frame: Frame) -> None:
            if not answered.done() and frame.data[:1] and frame.data[0] in allowed:
                answered.set_result(frame.data)

        stop = self._port.listen((self._options.response_id,), hear)
        try:
            self._port.send(self._options.command_id, codec.encode_command(number))
            async with asyncio.timeout(points.ANSWER_WITHIN_S):
                data = await answered
        except TimeoutError as error:
            raise WireTimeout(
                f"{self.name}: command 0x{number:02X} (0x{self._options.command_id:03X}) had no answer "
                f"within {points.ANSWER_WITHIN_S:g} s on {self._port.name}"
            ) from error
        finally:
            stop()
        if data[0] == points.WRONG_COMMAND:
            raise DeviceRefused(f"{self.name}: command 0x{number:02X} refused: the sensor does not know it")
        try:
            return decode(data)
        except CodecError as error:
            raise CodecError(f"{self.name}: response 0x{data[0]:02X}: {error}") from error
