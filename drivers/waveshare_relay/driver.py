"""Switches relays one by one, and believes none of them until it has read all eight."""

from __future__ import annotations

from drivers.waveshare_relay import points
from drivers.waveshare_relay.options import Options
from harness.errors import DeviceFault, DeviceRefused, near_miss
from harness.readings import Reading, Voice
from harness.roles import Identity
from harness.wires import ModbusLine


class Driver:
    """A relay board on a Modbus line (role ``fault_inserter``).

    What is read back is the coil, not the contact: a welded contact does not show here. A plan sees the
    fault by what it does.
    """

    def __init__(self, name: str, wire: ModbusLine, options: Options, voice: Voice) -> None:
        self.name = name
        self._line = wire
        self._unit = options.unit
        self._faults = dict(options.faults)
        self._voice = voice

    async def open(self) -> None:
        """Read all relays, to know that the board is there."""
        await self._relays()

    async def close(self) -> None:
        """Leave all relays as they are; the board has no remote mode."""

    async def identity(self) -> Identity:
        """Ask for the software version; a board that has no such register leaves it empty."""
        try:
            (version,) = await self._line.read_holding(self._unit, points.SOFTWARE_VERSION, 1)
        except DeviceRefused:
            return Identity(points.MAKER, points.MODEL, "", "")
        return Identity(points.MAKER, points.MODEL, "", f"{version / 100:.2f}")

    async def faults(self) -> frozenset[str]:
        """Faults that have a channel in the rig file."""
        return frozenset(self._faults)

    async def insert(self, fault: str) -> None:
        """Energise the fault's relay, and read back that it is on.

        Raises:
            DeviceRefused: no such fault (nothing is sent), or the board said no.
            DeviceFault: the relay reads back as off.
        """
        await self._switch("insert", fault, is_on=True)

    async def remove(self, fault: str) -> None:
        """Release the fault's relay, and read back that it is off.

        Raises:
            DeviceRefused: no such fault (nothing is sent), or the board said no.
            DeviceFault: the relay reads back as on.
        """
        await self._switch("remove", fault, is_on=False)

    async def inserted(self) -> Reading[frozenset[str]]:
        """Faults whose relays are on."""
        relays = await self._relays()
        there = frozenset(name for name, channel in self._faults.items() if relays[channel - 1])
        return self._voice.reading("inserted", there)

    async def _switch(self, verb: str, fault: str, *, is_on: bool) -> None:
        if fault not in self._faults:
            hint = near_miss(fault, self._faults)
            raise DeviceRefused(
                f"{self.name}: {verb}({fault!r}) refused before sending: "
                f"allowed {', '.join(self._faults)}{hint}"
            )
        channel = self._faults[fault]
        self._voice.command(verb, fault)
        await self._line.write_coil(self._unit, points.coil(channel), is_on)
        if (await self._relays())[channel - 1] is not is_on:
            raise DeviceFault(
                f"{self.name}: {verb}({fault!r}) was answered and not done: relay {channel} reads back "
                f"{'off' if is_on else 'on'}"
            )

    async def _relays(self) -> list[bool]:
        """Read all relays: some of these boards answer a read of eight coils and no other."""
        return await self._line.read_coils(self._unit, points.FIRST_COIL, points.CHANNELS)
