"""Reads an energy manager's numbers and reasons, and sets what it may be told."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.rackproof_ems import codec, points
from drivers.rackproof_ems.options import Options
from drivers.rackproof_ems.points import Point
from harness.clock import now_s
from harness.errors import CodecError, DeviceFault, DeviceRefused, StaleReading
from harness.readings import Reading, Voice
from harness.roles import Identity
from harness.wires import ModbusLine

STALE_INTERVALS = 3
"""Intervals without a decision after which nothing that it says is a reading."""


class Driver:
    """An energy manager on a Modbus line (role ``energy_manager``).

    All measurements lie in one block, which is read whole, so that they are of one decision. The table has
    the project's sign: nothing is turned round. A beat that stands still for three intervals makes them
    stale.
    """

    def __init__(self, name: str, wire: ModbusLine, options: Options, voice: Voice) -> None:
        self.name = name
        self.voice = voice
        self._line = wire
        self._unit = options.unit
        self._beat: tuple[float, float] | None = None

    async def open(self) -> None:
        """Look for the map's mark and version.

        Raises:
            CodecError: another map.
        """
        mark, version = await self._line.read_holding(self._unit, points.IDENTITY[0].address, 2)
        if (mark, version) != (points.MARK, points.VERSION):
            raise CodecError(
                f"{self.name}: mark {mark:#06x}, version {version}; "
                f"an energy manager has {points.MARK:#06x} and {points.VERSION}"
            )

    async def close(self) -> None:
        """Leave it as it is; there is no remote mode."""
        self._beat = None

    async def identity(self) -> Identity:
        """Ask for maker, model, serial number and firmware."""
        first, count = points.extent(points.IDENTITY)
        registers = await self._line.read_holding(self._unit, first, count)

        def text(name: str) -> str:
            point = points.named(points.IDENTITY, name)
            start = point.address - first
            return codec.decode_text(point, registers[start : start + point.count])

        return Identity(text("maker"), text("model"), text("serial"), text("firmware"))

    async def interval_s(self) -> Reading[float]:
        """Time between two decisions."""
        return await self._measured("interval_s")

    async def demand_w(self) -> Reading[float]:
        """Power of everything behind the meter that is neither battery nor sun."""
        return await self._measured("demand_w")

    async def solar_w(self) -> Reading[float]:
        """Power that the sun gives or would give."""
        return await self._measured("solar_w")

    async def grid_power_w(self) -> Reading[float]:
        """Power out of the site at its meter; negative while importing."""
        return await self._measured("grid_power_w")

    async def battery_power_setpoint_w(self) -> Reading[float]:
        """Power out of the battery that it commands; negative charges."""
        return await self._measured("battery_power_setpoint_w")

    async def soc(self) -> Reading[float]:
        """State of charge that it reckons with."""
        return await self._measured("soc")

    async def window_power_w(self) -> Reading[float]:
        """Mean import that it expects of the running demand window."""
        return await self._measured("window_power_w")

    async def is_islanded(self) -> Reading[bool]:
        """Whether it sees the mains gone."""
        return self.voice.reading("is_islanded", bool((await self._block())["is_islanded"]))

    async def rule(self) -> Reading[str]:
        """What bound its last decision, by the words in ``points.RULES``.

        Raises:
            CodecError: a number that the table does not have.
        """
        number = int((await self._block())["rule"])
        if number >= len(points.RULES):
            raise CodecError(f"{self.name}: rule {number} came; there are 0 to {len(points.RULES) - 1}")
        return self.voice.reading("rule", points.RULES[number])

    async def demand_forecast_w(self) -> Reading[tuple[float, ...]]:
        """Means of the demand that it expects, by half hours, the running one first."""
        return self.voice.reading("demand_forecast_w", await self._forecast(points.DEMAND_FORECAST))

    async def solar_forecast_w(self) -> Reading[tuple[float, ...]]:
        """Means of the sun's power that it expects, likewise."""
        return self.voice.reading("solar_forecast_w", await self._forecast(points.SOLAR_FORECAST))

    async def turn_on(self) -> None:
        """Let it command the battery, and read back that it does."""
        await self._set("turn_on", "is_on", 1.0)

    async def turn_off(self) -> None:
        """Let it command no more, and read back that it does not."""
        await self._set("turn_off", "is_on", 0.0)

    async def is_on(self) -> Reading[bool]:
        """Whether it commands the battery."""
        return self.voice.reading("is_on", bool(await self._setting("is_on")))

    async def contract_power_w(self) -> Reading[float]:
        """Mean import that it keeps each demand window below; infinite: none."""
        return self.voice.reading("contract_power_w", await self._setting("contract_power_w"))

    async def set_contract_power_w(self, power_w: float) -> None:
        """Set it; infinite: none. Read back."""
        await self._set("set_contract_power_w", "contract_power_w", power_w)

    async def reserve_soc(self) -> Reading[float]:
        """State of charge that it keeps while there are mains."""
        return self.voice.reading("reserve_soc", await self._setting("reserve_soc"))

    async def set_reserve_soc(self, soc: float) -> None:
        """Set it, and read back."""
        await self._set("set_reserve_soc", "reserve_soc", soc)

    async def export_limit_w(self) -> Reading[float]:
        """Most power that it lets out of the site; infinite: no limit."""
        return self.voice.reading("export_limit_w", await self._setting("export_limit_w"))

    async def set_export_limit_w(self, power_w: float) -> None:
        """Set it; infinite: no limit. Read back."""
        await self._set("set_export_limit_w", "export_limit_w", power_w)

    async def settings(self) -> Mapping[str, float]:
        """Every writable point by name, but for whether it is on."""
        first, count = points.extent(points.SETTINGS)
        registers = await self._line.read_holding(self._unit, first, count)
        return {
            point.name: codec.decode(
                point, registers[point.address - first : point.address - first + point.count]
            )
            for point in points.SETTINGS
            if point.name != "is_on"
        }

    async def restore(self, settings: Mapping[str, float]) -> None:
        """Write back the settings that differ, and read back that they hold."""
        there = await self.settings()
        for name, value in settings.items():
            if there.get(name) != value:
                await self._set("restore", name, value)

    async def _measured(self, name: str) -> Reading[float]:
        return self.voice.reading(name, (await self._block())[name])

    async def _block(self) -> dict[str, float]:
        """Read all measurements of one decision."""
        first, count = points.extent(points.MEASURED)
        registers = await self._line.read_holding(self._unit, first, count)
        values = {
            point.name: codec.decode(
                point, registers[point.address - first : point.address - first + point.count]
            )
            for point in points.MEASURED
        }
        beat, at_s = values["beat"], now_s()
        if self._beat is None or self._beat[0] != beat:
            self._beat = (beat, at_s)
        age_s = at_s - self._beat[1]
        if age_s > STALE_INTERVALS * values["interval_s"]:
            raise StaleReading(
                f"{self.name}: its beat stands at {beat:.0f} for {age_s:g} s; "
                f"a decision is due each {values['interval_s']:g} s"
            )
        return values

    async def _forecast(self, first: int) -> tuple[float, ...]:
        registers = await self._line.read_holding(self._unit, first, 2 * points.FORECAST_STEPS)
        point = Point("forecast_w", first, points.Kind.S32, count=2)
        return tuple(codec.decode(point, registers[i : i + 2]) for i in range(0, len(registers), 2))

    async def _setting(self, name: str) -> float:
        point = points.named(points.SETTINGS, name)
        registers = await self._line.read_holding(self._unit, point.address, point.count)
        return codec.decode(point, registers)

    async def _set(self, verb: str, name: str, value: float) -> None:
        """Write a setting and read it back.

        Raises:
            DeviceRefused: outside of its range (nothing is sent), no such setting, or refused by the device.
            DeviceFault: it reads back as something else.
        """
        point = next((point for point in points.SETTINGS if point.name == name), None)
        if point is None or point.range is None:
            known = ", ".join(point.name for point in points.SETTINGS)
            raise DeviceRefused(f"{self.name}: {verb}({name!r}) refused before sending: allowed {known}")
        low, high = point.range
        if not (low <= value <= high or (point.is_limit and value == float("inf"))):
            none = ", or infinite" if point.is_limit else ""
            raise DeviceRefused(
                f"{self.name}: {verb}({value}) refused before sending: "
                f"{name} allows {low:g} to {high:g} {point.unit}{none}"
            )
        self.voice.command(verb, value)
        registers = codec.encode(point, value)
        await self._line.write_holding(self._unit, point.address, registers)
        there = await self._line.read_holding(self._unit, point.address, point.count)
        if there != registers:
            raise DeviceFault(
                f"{self.name}: {verb}({value}) was answered and not done: "
                f"{name} reads back {codec.decode(point, there):g} {point.unit}"
            )
