"""A low-voltage battery on CAN over the plant's battery management.

Not modelled: the 20 ms gaps between the frames of a set (all go out in one instant), arbitration, the frames
from 0x360 on, several batteries on one bus, what SMA inverters send in 0x305.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from drivers.pylontech_lv import codec, points
from drivers.pylontech_lv.codec import Flags, Limits, Measurements, Requests, State, Versions
from drivers.pylontech_lv.cycle import end, every
from drivers.pylontech_lv.options import Options
from harness.clock import now_s
from harness.wires import CanPort, Frame

if TYPE_CHECKING:
    from harness.plant import RigPlant

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "cell_over_voltage": points.OVER_VOLTAGE,
        "cell_under_voltage": points.UNDER_VOLTAGE,
        "over_current_charge": points.OVER_CURRENT_CHARGE,
        "over_current_discharge": points.OVER_CURRENT_DISCHARGE,
        "over_temperature": points.OVER_TEMPERATURE,
        "under_temperature": points.UNDER_TEMPERATURE,
    }
)
"""The plant's words to the wire's; others go out as the wire's most general."""

SUPPORTED = frozenset(WORDS.values()) | {points.GENERAL, points.BMS_INTERNAL}
"""What 0x35A says active or good of; the rest is "not supported"."""

Message = tuple[int, bytes]


class Emulator:
    """Sends one set of frames a period, and listens for 0x305.

    Attributes:
        frozen: every frame stays as it was; sampled once the battery's contactors have closed.
        swapped_sign: current with the wrong sign.
        silent: no frames at all.
    """

    def __init__(self, name: str, plant: RigPlant, options: Options) -> None:
        self.name = name
        self.options = options
        self.frozen = False
        self.swapped_sign = False
        self.silent = False
        self._plant = plant
        self._port: CanPort | None = None
        self._stop_listening: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None
        self._heard_s = 0.0
        self._messages: tuple[Message, ...] = ()
        self._has_connected = False
        self._maker = codec.encode_maker(options.maker)
        major, minor = options.firmware
        self._versions = codec.encode_versions(
            Versions(options.battery_type, major, minor, round(plant.string.capacity_ah))
        )

    def attach(self, port: CanPort) -> None:
        """Give the battery its plug at the CAN line; it speaks from ``start`` on."""
        self._port = port

    async def start(self) -> None:
        """Send the first set now, and one each period after."""
        if self._port is None:
            return
        self._heard_s = now_s()
        self._stop_listening = self._port.listen((points.KEEP_ALIVE,), self._hear)
        self._task = asyncio.create_task(
            every(self.options.period_s, now_s(), self._speak), name=f"{self.name} frames"
        )

    async def stop(self) -> None:
        """Fall silent; raises what ended the sending before, if anything did."""
        self._stop_listening()
        self._stop_listening = lambda: None
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    def _hear(self, frame: Frame) -> None:
        self._heard_s = frame.at_s

    def _speak(self) -> None:
        if self.silent or self._port is None:
            return
        if not (self.frozen and self._has_connected):
            self._plant.advance(now_s())
            self._messages = self._set()
            self._has_connected = self._has_connected or self._plant.bms.contactor_closed
        for arbitration_id, data in self._messages:
            self._port.send(arbitration_id, data)

    def _set(self) -> tuple[Message, ...]:
        """Encode what the battery says at the plant's present, in the order of a set."""
        bms = self._plant.bms
        sign = -1.0 if self.swapped_sign else 1.0
        limits = Limits(
            bms.charge_voltage_limit_v,
            bms.charge_current_limit_a,
            bms.discharge_current_limit_a,
            bms.discharge_voltage_limit_v,
        )
        measurements = Measurements(bms.voltage_v, sign * bms.current_a, bms.temperature_degc)
        state, flags = State(bms.soc, bms.soh), self._flags()
        is_older = self.options.variant == "359_35c"
        common = (
            (points.LIMITS.identifier, codec.encode_limits(limits)),
            (points.STATE.identifier, codec.encode_state(state, length=4 if is_older else 6)),
            (points.MEASUREMENTS.identifier, codec.encode_measurements(measurements)),
        )
        if is_older:
            requests = Requests(bms.is_charge_allowed, bms.is_discharge_allowed)
            return (
                *common,
                (points.PROTECTIONS.identifier, codec.encode_protections(flags, self.options.module_count)),
                (points.REQUESTS.identifier, codec.encode_requests(requests)),
                (points.MAKER.identifier, self._maker),
            )
        return (
            *common,
            (points.ALARMS.identifier, codec.encode_alarms(flags, SUPPORTED)),
            (points.MAKER.identifier, self._maker),
            (points.VERSIONS.identifier, self._versions),
        )

    def _flags(self) -> Flags:
        bms = self._plant.bms
        alarms = frozenset(WORDS.get(alarm, alarm) for alarm in bms.alarms)
        warnings = frozenset(WORDS.get(warning, warning) for warning in bms.warnings)
        if now_s() - self._heard_s > self.options.keep_alive_timeout_s:
            warnings |= {points.BMS_INTERNAL}
        return Flags(alarms, warnings)
