"""Faults that can be set on an emulated line: drop, delay, corrupt, cut. None can be built for hardware."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


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
        corrupted: messages still to be damaged (every bit of the middle byte inverted), by direction.
        is_cut: nothing passes at all.
    """

    dropped: dict[Direction, int] = field(default_factory=dict)
    delays_s: dict[Direction, list[float]] = field(default_factory=dict)
    corrupted: dict[Direction, int] = field(default_factory=dict)
    is_cut: bool = False

    def drop(self, count: int = 1, direction: Direction = Direction.FROM_DEVICE) -> None:
        """Lose the next ``count`` messages."""
        self.dropped[direction] = self.dropped.get(direction, 0) + count

    def delay(self, *delays_s: float, direction: Direction = Direction.FROM_DEVICE) -> None:
        """Delay the next messages, one value each."""
        self.delays_s.setdefault(direction, []).extend(delays_s)

    def corrupt(self, count: int = 1, direction: Direction = Direction.FROM_DEVICE) -> None:
        """Damage the next ``count`` messages."""
        self.corrupted[direction] = self.corrupted.get(direction, 0) + count

    def __call__(self, is_near: bool, data: bytes) -> Iterable[tuple[float, bytes]]:
        """Apply the faults to one message; the clock's ledger asks."""
        direction = Direction.TO_DEVICE if is_near else Direction.FROM_DEVICE
        if self.is_cut:
            return ()
        if self.dropped.get(direction, 0):
            self.dropped[direction] -= 1
            return ()
        if self.corrupted.get(direction, 0):
            self.corrupted[direction] -= 1
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
        delays = self.delays_s.get(direction)
        return ((delays.pop(0) if delays else 0.0, data),)
