"""Faults that can be set on an emulated line: drop, delay, duplicate, corrupt, refuse, cut, hang up.

None can be built for hardware.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from harness.clock import Line


class Direction(Enum):
    """Which way a fault acts."""

    TO_DEVICE = "to the device"
    FROM_DEVICE = "from the device"


@dataclass(slots=True)
class StreamFaults:
    """What an emulated stream line does to the messages it carries.

    Counted faults act on the next messages of one direction and are then used up, so a plan says
    exactly which answer is lost, and a run repeats.

    Attributes:
        dropped: messages still to be lost, by direction.
        delays_s: delays for the next messages, by direction.
        duplicated: messages still to be sent twice, by direction.
        corrupted: messages still to be damaged (every bit of the middle byte inverted), by direction.
        is_cut: nothing passes at all, and nobody is told: a cable pulled out.
        is_refusing: new connections are turned away: a device that starts up.
        line: what the faults act on; the server that serves the line enters it.
    """

    dropped: dict[Direction, int] = field(default_factory=dict)
    delays_s: dict[Direction, list[float]] = field(default_factory=dict)
    duplicated: dict[Direction, int] = field(default_factory=dict)
    corrupted: dict[Direction, int] = field(default_factory=dict)
    is_cut: bool = False
    is_refusing: bool = False
    line: Line | None = None

    def drop(self, count: int = 1, direction: Direction = Direction.FROM_DEVICE) -> None:
        """Lose the next ``count`` messages."""
        self.dropped[direction] = self.dropped.get(direction, 0) + count

    def delay(self, *delays_s: float, direction: Direction = Direction.FROM_DEVICE) -> None:
        """Delay the next messages, one value each."""
        self.delays_s.setdefault(direction, []).extend(delays_s)

    def duplicate(self, count: int = 1, direction: Direction = Direction.FROM_DEVICE) -> None:
        """Send the next ``count`` messages twice."""
        self.duplicated[direction] = self.duplicated.get(direction, 0) + count

    def corrupt(self, count: int = 1, direction: Direction = Direction.FROM_DEVICE) -> None:
        """Damage the next ``count`` messages."""
        self.corrupted[direction] = self.corrupted.get(direction, 0) + count

    def hang_up(self) -> None:
        """Break every connection at once, as a device without power does; the next exchange connects anew."""
        if self.line is not None:
            self.line.cut()

    def __call__(self, is_near: bool, data: bytes) -> Iterable[tuple[float, bytes]]:
        """Apply the faults to one message; the clock's ledger asks."""
        if self.is_cut:
            return ()
        if not (self.dropped or self.corrupted or self.delays_s or self.duplicated):
            return ((0.0, data),)  # none was ever set: nearly all messages
        direction = Direction.TO_DEVICE if is_near else Direction.FROM_DEVICE
        if self.dropped.get(direction, 0):
            self.dropped[direction] -= 1
            return ()
        if self.corrupted.get(direction, 0):
            self.corrupted[direction] -= 1
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
        delays = self.delays_s.get(direction)
        message = (delays.pop(0) if delays else 0.0, data)
        if self.duplicated.get(direction, 0):
            self.duplicated[direction] -= 1
            return (message, message)
        return (message,)
