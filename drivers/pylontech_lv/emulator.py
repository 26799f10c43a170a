"""A low-voltage battery on CAN over the plant's battery management.

Not modelled: the 20 ms gaps between the frames of a set (all go out in one instant), arbitration, the frames
from 0x360 on, several batteries on one bus, what SMA inverters send in 0x305.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from drivers.pylontech_lv import codec, points
from drivers.pylontech_lv.codec import Flags, Limits, Measurements, Requests, State, Versions
from drivers.pylontech_lv.options import Options
from drivers.pylontech_lv.points import Kind
from harness.clock import Cycle, now_s
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
        "contactor": points.CONTACTOR,
        "cell_imbalance": points.CELL_IMBALANCE,
        "precharge": points.BMS_INTERNAL,
        "refill": points.UNDER_VOLTAGE,
        "cell_sum_mismatch": points.BMS_INTERNAL,
        "current_mismatch": points.BMS_INTERNAL,
        "voltage_sensor": points.BMS_INTERNAL,
        "current_sensor": points.BMS_INTERNAL,
        "cell_voltage_sensor": points.BMS_INTERNAL,
        "temperature_sensor": points.BMS_INTERNAL,
    }
)
"""The plant's words to the wire's; others (fuse, insulation, hydrogen) go out as the wire's most general."""

SUPPORTED = frozenset(WORDS.values()) | {points.GENERAL}
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
        self._cycle: Cycle | None = None
        self._heard_s = 0.0
        self._messages: tuple[Message, ...] = ()
        self._has_connected = False
        self._encoded: dict[int, tuple[tuple[Any, ...], Message]] = {}
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
        self._cycle = Cycle(self.options.period_s, now_s(), self._speak)

    async def stop(self) -> None:
        """Fall silent; raises what ended the sending before, if anything did."""
        self._stop_listening()
        self._stop_listening = lambda: None
        cycle, self._cycle = self._cycle, None
        if cycle is not None:
            cycle.stop()

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
        is_older = self.options.variant == "359_35c"
        measurements = Measurements(bms.voltage_v, sign * bms.current_a, bms.temperature_degc)
        state = State(bms.soc, bms.soh)
        limits = (
            bms.charge_voltage_limit_v,
            bms.charge_current_limit_a,
            bms.discharge_current_limit_a,
            bms.discharge_voltage_limit_v,
        )
        common = (
            self._steady(points.LIMITS, _limits, limits),
            (points.STATE.identifier, codec.encode_state(state, length=4 if is_older else 6)),
            (points.MEASUREMENTS.identifier, codec.encode_measurements(measurements)),
        )
        is_lonely = now_s() - self._heard_s > self.options.keep_alive_timeout_s
        flags = (bms.alarms, bms.warnings, is_lonely)
        maker = (points.MAKER.identifier, self._maker)
        if is_older:
            allowed = (bms.is_charge_allowed, bms.is_discharge_allowed)
            return (
                *common,
                self._steady(points.PROTECTIONS, self._protections, flags),
                self._steady(points.REQUESTS, _requests, allowed),
                maker,
            )
        return (
            *common,
            self._steady(points.ALARMS, _alarms, flags),
            maker,
            (points.VERSIONS.identifier, self._versions),
        )

    def _steady(self, kind: Kind, encode: Callable[..., bytes], values: tuple[Any, ...]) -> Message:
        """Encode a frame anew only where its values have changed: they stand for hours."""
        known = self._encoded.get(kind.identifier)
        if known is None or known[0] != values:
            known = self._encoded[kind.identifier] = values, (kind.identifier, encode(*values))
        return known[1]

    def _protections(self, alarms: frozenset[str], warnings: frozenset[str], is_lonely: bool) -> bytes:
        return codec.encode_protections(_flags(alarms, warnings, is_lonely), self.options.module_count)


def _limits(*limits: float) -> bytes:
    return codec.encode_limits(Limits(*limits))


def _requests(is_charge_allowed: bool, is_discharge_allowed: bool) -> bytes:
    return codec.encode_requests(Requests(is_charge_allowed, is_discharge_allowed))


def _alarms(alarms: frozenset[str], warnings: frozenset[str], is_lonely: bool) -> bytes:
    return codec.encode_alarms(_flags(alarms, warnings, is_lonely), SUPPORTED)


def _flags(alarms: frozenset[str], warnings: frozenset[str], is_lonely: bool) -> Flags:
    """The plant's words in the wire's; a battery that has heard nobody for long warns."""
    own = {points.BMS_INTERNAL} if is_lonely else set()
    return Flags(
        frozenset(WORDS.get(alarm, alarm) for alarm in alarms),
        frozenset(WORDS.get(warning, warning) for warning in warnings) | own,
    )
