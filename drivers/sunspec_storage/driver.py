"""Speaks to a storage inverter through the SunSpec models 1, 103, 123, 701, 702, 703, 704 and 715."""

from __future__ import annotations

import math
from collections.abc import Mapping

from drivers.sunspec_storage import codec, heartbeat, points
from drivers.sunspec_storage.codec import Block
from drivers.sunspec_storage.heartbeat import Heartbeat
from drivers.sunspec_storage.options import Options
from drivers.sunspec_storage.points import Model, Point
from harness.clock import now_s
from harness.errors import CodecError, DeviceFault, DeviceRefused, WireClosed, near_miss
from harness.readings import Reading, Voice
from harness.roles import Identity, OperatingState
from harness.wires import ModbusLine

_NEEDED = {
    1: "identity",
    103: "the DC side",
    123: "connecting and disconnecting",
    701: "AC measurements and state",
    702: "ratings",
    704: "the power command",
}
_MOST_MODELS = 100  # a longer chain is rubbish: SunSpec has numbered about as many models


class Driver:
    """A SunSpec storage inverter on a Modbus line (role ``inverter``).

    Everything measured comes from two blocks, 701 and 103, each read once for all calls of one instant of
    rig time. SunSpec counts generation positive, which is this project's sign: nothing is turned round.

    It is a watchdog itself, by its reversion timer, and has another one beside it.

    Attributes:
        heartbeat: the watchdog of model 715.
    """

    heartbeat: Heartbeat

    def __init__(self, name: str, wire: ModbusLine, options: Options, voice: Voice) -> None:
        self.name = name
        self.voice = voice
        self._line = wire
        self._unit = options.unit
        self._places: dict[int, tuple[Model, int]] = {}
        self._blocks: dict[tuple[int, int], Block] = {}
        self._charge_rating_w = 0.0
        self._discharge_rating_w = 0.0
        self._before_arming: dict[str, float] = {}
        self.heartbeat = Heartbeat(name, self._block, self._write, options.heartbeat_timeout_s, voice)

    async def open(self) -> None:
        """Find the map, check every model's length, and read the ratings.

        Raises:
            CodecError: no map, or a model whose length is not the one of its definition.
            DeviceRefused: a model that this driver needs is not there.
        """
        self._places.clear()
        self._blocks.clear()
        places = await self._discover(await self._base())
        for number, purpose in _NEEDED.items():
            if number not in places:
                raise DeviceRefused(
                    f"{self.name}: has no model {number} ({purpose}); it has {', '.join(map(str, places))}"
                )
        self._places = places
        ratings = await self._block(702)
        ceiling_w = ratings.value("WMaxRtg") if ratings.is_implemented("WMaxRtg") else math.inf
        self._discharge_rating_w, self._charge_rating_w = (
            ratings.value(name) if ratings.is_implemented(name) else ceiling_w
            for name in ("WDisChaRteMaxRtg", "WChaRteMaxRtg")
        )
        if math.isinf(self._discharge_rating_w) or math.isinf(self._charge_rating_w):
            self._places = {}
            raise DeviceRefused(
                f"{self.name}: model 702 implements neither WMaxRtg nor both of WDisChaRteMaxRtg and "
                "WChaRteMaxRtg: no power command could be checked"
            )

    async def close(self) -> None:
        """Forget what was learnt; SunSpec has no remote mode to leave."""
        self._places = {}
        self._blocks.clear()

    async def identity(self) -> Identity:
        """Ask the device who it is (model 1)."""
        common = await self._block(1)
        return Identity(common.text("Mn"), common.text("Md"), common.text("SN"), common.text("Vr"))

    async def rated_power_w(self) -> Reading[float]:
        """Rated discharge power (702.WDisChaRteMaxRtg, else WMaxRtg)."""
        ratings = await self._block(702)
        name = "WDisChaRteMaxRtg" if ratings.is_implemented("WDisChaRteMaxRtg") else "WMaxRtg"
        return self.voice.reading("rated_power_w", ratings.value(name), ratings.at_s)

    async def ac_power_w(self) -> Reading[float]:
        """Active power out of its AC terminals (701.W)."""
        return await self._measured("ac_power_w", 701, "W")

    async def reactive_power_var(self) -> Reading[float]:
        """Reactive power out of its AC terminals (701.Var)."""
        return await self._measured("reactive_power_var", 701, "Var")

    async def ac_voltage_v(self) -> Reading[float]:
        """Line-to-neutral voltage, mean of the phases (701.LNV)."""
        return await self._measured("ac_voltage_v", 701, "LNV")

    async def ac_current_a(self) -> Reading[float]:
        """AC current, sum of the phases (701.A)."""
        return await self._measured("ac_current_a", 701, "A")

    async def frequency_hz(self) -> Reading[float]:
        """Frequency at its AC terminals (701.Hz)."""
        return await self._measured("frequency_hz", 701, "Hz")

    async def dc_voltage_v(self) -> Reading[float]:
        """Voltage at its DC terminals (103.DCV)."""
        return await self._measured("dc_voltage_v", 103, "DCV")

    async def dc_power_w(self) -> Reading[float]:
        """Power into its DC terminals out of the battery (103.DCW, whose sign is that of 103.W).

        Not 802.W: its definition says "to/from" and leaves the sign to the maker.
        """
        return await self._measured("dc_power_w", 103, "DCW")

    async def state(self) -> Reading[OperatingState]:
        """What it says it is doing (701.InvSt)."""
        block = await self._block(701)
        return self.voice.reading("state", points.STATES[block.symbol("InvSt")], block.at_s)

    async def is_grid_forming(self) -> Reading[bool]:
        """Whether it forms the voltage of an island (701.DERMode)."""
        block = await self._block(701)
        return self.voice.reading("is_grid_forming", "GRID_FORMING" in block.bits("DERMode"), block.at_s)

    async def alarms(self) -> Reading[frozenset[str]]:
        """Bits of 701.Alrm by name, in small letters; the maker's own by the text of 701.MnAlrmInfo."""
        block = await self._block(701)
        names = {name.lower() for name in block.bits("Alrm")}
        if "manufacturer_alrm" in names:
            text = points.model(701).points["MnAlrmInfo"]
            words = (await self._block(701, text.offset)).text("MnAlrmInfo").split(",")
            if own := {word.strip() for word in words if word.strip()}:
                names = names - {"manufacturer_alrm"} | own
        return self.voice.reading("alarms", frozenset(names), block.at_s)

    async def set_power_w(self, power_w: float) -> None:
        """Command active power through 704 (WSetEna, WSetMod and WSet in one write), and read it back.

        Raises:
            DeviceRefused: beyond the ratings of 702 (nothing is sent), refused by the device, or not
                there when read back.
        """
        if not -self._charge_rating_w <= power_w <= self._discharge_rating_w:
            self._address(704)
            raise DeviceRefused(
                f"{self.name}: set_power_w({power_w:g}) refused before sending: "
                f"{-self._charge_rating_w:g} to {self._discharge_rating_w:g} W is allowed (702 ratings)"
            )
        controls = await self._block(704)
        enable, mode, command = (controls.model.points[name] for name in ("WSetEna", "WSetMod", "WSet"))
        raw = codec.unscaled(power_w, controls.exponent("WSet"))
        controls.raw("WSet")  # a device that has the model and not the point says so here
        registers = [enable.code("ENABLED"), mode.code("WATTS"), *codec.from_int(command, raw)]
        self.voice.command("set_power_w", power_w)
        await self._write(enable, registers)
        controls = await self._block(704)
        first = enable.offset - controls.start
        if list(controls.registers[first : first + len(registers)]) != registers:
            raise DeviceRefused(
                f"{self.name}: set_power_w({power_w:g}) was answered and not taken: 704 reads back "
                f"WSetEna={controls.raw('WSetEna')}, WSetMod={controls.raw('WSetMod')}, "
                f"WSet={controls.value('WSet'):g}"
            )

    async def power_setpoint_w(self) -> Reading[float]:
        """Active power that it says it was commanded (704.WSet, or WSetPct of 702.WMax).

        Raises:
            DeviceRefused: none is: WSetEna is DISABLED.
        """
        controls = await self._block(704)
        if controls.symbol("WSetEna") != "ENABLED":
            raise DeviceRefused(f"{self.name}: no active power is commanded (704.WSetEna is DISABLED)")
        if controls.symbol("WSetMod") == "WATTS":
            return self.voice.reading("power_setpoint_w", controls.value("WSet"), controls.at_s)
        capacity = await self._block(702)
        power_w = controls.value("WSetPct") / 100 * capacity.value("WMax")
        return self.voice.reading("power_setpoint_w", power_w, controls.at_s)

    async def turn_on(self) -> None:
        """Connect through 123.Conn, and end a stop of model 715, where there is one.

        Not through 703.ES: that is the network operator's permit, which starts the enter-service
        criteria and their delay, and a setting that a plan must leave as it was.

        Raises:
            DeviceRefused: 703.ES forbids it, the device says no, or it does not read back.
        """
        if 703 in self._places:
            self._blocks.clear()  # somebody else's permit is asked for anew, whatever came at this instant
            permit = await self._block(703)
            if permit.is_implemented("ES") and permit.symbol("ES") == "DISABLED":
                raise DeviceRefused(f"{self.name}: turn_on refused before sending: 703.ES is DISABLED")
        await self._connect("turn_on", "CONNECT")
        if 715 in self._places:
            await heartbeat.start(self.name, self._block, self._write)

    async def turn_off(self) -> None:
        """Cease to energise and disconnect, through 123.Conn.

        Raises:
            DeviceRefused: the device says no, or Conn does not read back.
        """
        await self._connect("turn_off", "DISCONNECT")

    async def is_on(self) -> Reading[bool]:
        """Whether it is connected and allowed to run: 701.St, else 701.InvSt.

        What the device measures of itself, so it follows a command with the device's refresh. Not
        ConnSt: that is the connection to the grid, which an island does not have.
        """
        block = await self._block(701)
        if block.is_implemented("St"):
            is_on = block.symbol("St") == "ON"
        else:
            is_on = block.symbol("InvSt") not in {"OFF", "SLEEPING"}
        return self.voice.reading("is_on", is_on, block.at_s)

    async def settings(self) -> Mapping[str, float]:
        """Every writable point that is implemented, as ``<model>.<point>`` in the point's unit."""
        settings: dict[str, float] = {}
        for number in points.SETTINGS_MODELS:
            if number in self._places:
                block = await self._block(number)
                settings |= {
                    str(point): block.value(point.name)
                    for point in block.model.points.values()
                    if point.is_writable and block.is_implemented(point.name)
                }
        return settings

    async def restore(self, settings: Mapping[str, float]) -> None:
        """Write back the settings that differ, power commands excepted, and read them back.

        One that is refused does not keep the others from being written.

        Raises:
            DeviceRefused: an unknown name (nothing is sent), or all that is not as it should be.
        """
        now = await self.settings()
        for name in settings:
            if name not in now:
                hint = near_miss(name, now)
                raise DeviceRefused(f"{self.name}: restore: it has no setting {name!r}{hint}")
        differing = {
            name: value
            for name, value in settings.items()
            if value != now[name] and name not in points.POWER_COMMANDS
        }
        if not differing:
            return
        self.voice.command("restore", dict(differing))
        why = dict.fromkeys(differing, "answered and not taken")
        for name, value in differing.items():
            point = self._point(name)
            block = await self._block(point.model)
            raw = codec.unscaled(value, block.exponent(point.name))
            try:
                await self._write(point, codec.from_int(point, raw))
            except DeviceRefused as refusal:
                why[name] = str(refusal)
        after = await self.settings()
        if left := [
            f"{name} is {after[name]:g} for {differing[name]:g} ({why[name]})"
            for name in differing
            if after[name] != differing[name]
        ]:
            raise DeviceRefused(f"{self.name}: restore: {'; '.join(left)}")

    async def arm_watchdog(self, timeout_s: float) -> None:
        """Let the converter itself take active power to zero, after this time in which nobody commanded it.

        Its reversion timer (704.WSetRvrtTms), with the command enabled at 0 W to fall back to: not disabled,
        since what a converter does without a command is its maker's choice. A command of power feeds it too.

        Raises:
            DeviceRefused: no whole number of seconds (nothing is sent), no reversion timer, or not taken.
        """
        longest_s = points.model(704).points["WSetRvrtTms"].kind.highest
        if not 1 <= timeout_s <= longest_s or timeout_s != int(timeout_s):
            raise DeviceRefused(
                f"{self.name}: arm_watchdog({timeout_s} s) refused before sending: allowed 1 to {longest_s} "
                "s in whole seconds (704.WSetRvrtTms)"
            )
        controls = await self._block(704)
        for name in ("WSetRvrtTms", "WSetRvrtRem", "WSetEnaRvrt", "WSetRvrt"):
            if not controls.is_implemented(name):
                raise DeviceRefused(f"{self.name}: arm_watchdog: it has no 704.{name}, and with it no timer")
        percent = {"WSetPctRvrt": 0} if controls.is_implemented("WSetPctRvrt") else {}
        enabled = controls.model.points["WSetEnaRvrt"].code("ENABLED")
        # The time comes last: it starts the timer, which then falls back to what stands already.
        wanted = {"WSetRvrt": 0, **percent, "WSetEnaRvrt": enabled, "WSetRvrtTms": int(timeout_s)}
        self._before_arming = self._before_arming or {f"704.{name}": controls.value(name) for name in wanted}
        self.voice.command("arm_watchdog", timeout_s)
        for name, raw in wanted.items():
            point = controls.model.points[name]
            await self._write(point, codec.from_int(point, raw))
        controls = await self._block(704)
        if left := [
            f"{name} is {controls.raw(name)}" for name in wanted if controls.raw(name) != wanted[name]
        ]:
            raise DeviceRefused(
                f"{self.name}: arm_watchdog({timeout_s:g} s) was answered and not taken, in 704: "
                f"{', '.join(left)}"
            )

    async def feed_watchdog(self) -> None:
        """Write the reversion time anew, which starts it anew and leaves the command to whoever commands.

        Raises:
            DeviceFault: it has run out and power has gone to zero, or it is not armed.
        """
        controls = await self._block(704)
        if not _counts_down(controls):
            raise DeviceFault(
                f"{self.name}: feed_watchdog: "
                + (
                    "nobody refreshed its power command in time, and it went to zero by itself "
                    "(704.WSetRvrtRem is 0); command it anew"
                    if controls.raw("WSetRvrtTms")
                    else "no reversion timer is armed (704.WSetRvrtTms is 0)"
                )
            )
        point = controls.model.points["WSetRvrtTms"]
        await self._write(point, codec.from_int(point, controls.raw("WSetRvrtTms")))

    async def disarm_watchdog(self) -> None:
        """Put the reversion points back to where arming found them; power stays as it is commanded.

        Raises:
            DeviceRefused: they did not take it.
        """
        self.voice.command("disarm_watchdog")
        await self.restore(self._before_arming or {"704.WSetRvrtTms": 0.0})
        self._before_arming = {}

    async def is_watchdog_running(self) -> Reading[bool]:
        """Whether a reversion timer is armed that has not run out."""
        controls = await self._block(704)
        return self.voice.reading("is_watchdog_running", _counts_down(controls), controls.at_s)

    async def _measured(self, quantity: str, number: int, name: str) -> Reading[float]:
        block = await self._block(number)
        return self.voice.reading(quantity, block.value(name), block.at_s)

    async def _connect(self, verb: str, word: str) -> None:
        point = points.model(123).points["Conn"]
        self._address(123)
        self.voice.command(verb)
        await self._write(point, [point.code(word)])
        controls = await self._block(123)
        if controls.symbol("Conn") != word:
            raise DeviceRefused(f"{self.name}: {verb} was answered and not taken: 123.Conn is not {word}")

    async def _base(self) -> int:
        """Look for the map's start; silence is not looked past."""
        came = []
        for base in points.BASES:
            try:
                registers = await self._line.read_holding(self._unit, base, 2)
            except DeviceRefused as refusal:
                came.append(f"at {base}: {refusal}")
                continue
            if tuple(registers) == points.MARKER:
                return base
            came.append(f"at {base}: {' '.join(f'0x{register:04X}' for register in registers)}")
        raise CodecError(f"{self.name}: no SunSpec map (SunS, 0x5375 0x6E53) found; {'; '.join(came)}")

    async def _discover(self, base: int) -> dict[int, tuple[Model, int]]:
        """Walk the chain of models, and check the lengths of those that are known here."""
        places: dict[int, tuple[Model, int]] = {}
        address = base + len(points.MARKER)
        for _ in range(_MOST_MODELS):
            number, length = await self._header(address)
            if number == points.END:
                return places
            if not places and number != 1:
                raise CodecError(f"{self.name}: the map starts with model {number}; model 1 is due")
            if number in points.MODELS and number not in places:
                known = points.model(number)
                codec.check_header(self.name, known, (number, length))
                places[number] = known, address
            address += 2 + length
            if address > 0xFFFF:
                raise CodecError(
                    f"{self.name}: model {number} of {length} registers leads to {address}, out of the map"
                )
        raise CodecError(f"{self.name}: the chain of models has no end after {_MOST_MODELS}")

    async def _header(self, address: int) -> tuple[int, int]:
        """Read ID and length; the end's length may be missing."""
        if address < 0xFFFF:
            try:
                number, length = await self._line.read_holding(self._unit, address, 2)
            except DeviceRefused:
                pass
            else:
                return number, length
        (number,) = await self._line.read_holding(self._unit, address, 1)
        if number != points.END:
            raise CodecError(f"{self.name}: model {number} at {address} has no length register")
        return number, 0

    async def _block(self, number: int, start: int = 0) -> Block:
        """Read a model from ``start``, or take what came at this same instant of rig time."""
        known = self._blocks.get((number, start))
        if known is not None and known.at_s == now_s():
            return known
        model, address = self._address(number)
        count = model.size - start
        if number == 701 and start == 0:
            count = points.MEASURED_701
        elif number == 1:
            count = points.model(1).points["DA"].offset
        registers = await self._line.read_holding(self._unit, address + start, count)
        if len(registers) != count:
            raise CodecError(f"{self.name}: {len(registers)} registers of model {number} came for {count}")
        if start == 0:
            codec.check_header(self.name, model, registers)
        block = Block(self.name, model, start, registers, now_s())
        self._blocks[number, start] = block
        return block

    async def _write(self, point: Point, registers: list[int]) -> None:
        """Write from a point on; what was read before is no longer true."""
        _, address = self._address(point.model)
        self._blocks.clear()
        await self._line.write_holding(self._unit, address + point.offset, registers)

    def _address(self, number: int) -> tuple[Model, int]:
        if not self._places:
            raise WireClosed(f"{self.name}: is not open")
        if number not in self._places:
            raise DeviceRefused(f"{self.name}: has no model {number}")
        return self._places[number]

    def _point(self, setting: str) -> Point:
        number, name = setting.split(".", 1)
        return points.model(int(number)).points[name]


def _counts_down(controls: Block) -> bool:
    """Whether power reverts by itself; a timer without a command to end starts with the next command."""
    is_armed = controls.is_implemented("WSetRvrtTms") and controls.raw("WSetRvrtTms") > 0
    return is_armed and (controls.symbol("WSetEna") != "ENABLED" or controls.raw("WSetRvrtRem") > 0)
