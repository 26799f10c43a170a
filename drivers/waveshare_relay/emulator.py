"""Eight relays over nothing: what a channel does to the rig is told by ``on_change``.

Not modelled: the 10 ms of a relay, bouncing and welded contacts, flash and toggle commands, function 15.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from drivers.waveshare_relay import points
from drivers.waveshare_relay.options import Options
from harness.clock import now_s
from harness.wires import ModbusRefusal, Refusal, Table

if TYPE_CHECKING:
    from harness.plant import RigPlant

SOFTWARE_VERSION = 200


def _connected_to_nothing(channel: int, is_on: bool) -> None:
    """Take a change of a channel that has no lead behind it."""


class Emulator:
    """Eight coils (``wires.ModbusUnit``).

    Attributes:
        on_change: is told each change: channel 1 to 8, and whether the relay is on.
        frozen: coils read as they were when that began; commands still act.
        jammed: commands are answered and do not act.
        swapped_sign: acts on nothing: a relay has no sign.
        silent: no answers, and nothing done.
    """

    def __init__(self, name: str, plant: RigPlant, options: Options) -> None:
        self.name = name
        self.options = options
        self.on_change: Callable[[int, bool], None] = _connected_to_nothing
        self.frozen = False
        self.jammed = False
        self.swapped_sign = False
        self.silent = False
        self._plant = plant
        self._relays = [False] * points.CHANNELS
        self._sample = tuple(self._relays)

    @property
    def relays(self) -> tuple[bool, ...]:
        """Whether each relay is on, from channel 1."""
        return tuple(self._relays)

    async def start(self) -> None:
        """Do nothing: a board does nothing by itself."""

    async def stop(self) -> None:
        """Do nothing."""

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Answer coils and the software version."""
        self._check_voice()
        if table is Table.HOLDING:
            if (address, count) != (points.SOFTWARE_VERSION, 1):
                raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
            return [SOFTWARE_VERSION]
        first = self._first(table, address, count)
        if not self.frozen:
            self._sample = tuple(self._relays)
        return [int(is_on) for is_on in self._sample[first : first + count]]

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        """Switch one relay."""
        self._check_voice()
        first = self._first(table, address, len(values))
        if len(values) != 1:
            raise ModbusRefusal(Refusal.ILLEGAL_FUNCTION)
        is_on = bool(values[0])
        if self.jammed or self._relays[first] == is_on:
            return
        # What the contact does happens at the present, not at the plant's last stop.
        self._plant.advance(now_s())
        self._relays[first] = is_on
        self.on_change(first + 1, is_on)

    def _check_voice(self) -> None:
        if self.silent:
            raise TimeoutError(f"{self.name} is silent")

    def _first(self, table: Table, address: int, count: int) -> int:
        if table is not Table.COILS:
            raise ModbusRefusal(Refusal.ILLEGAL_FUNCTION)
        first = address - points.FIRST_COIL
        if not 0 <= first < first + count <= points.CHANNELS:
            raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
        return first
