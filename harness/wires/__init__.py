"""The lines that carry frames and bytes, each in two ends.

A driver holds the near end (``CanPort``, ``ModbusLine``, ``VisaLine``); an emulator is put at the far
end (``CanPort``, ``ModbusUnit``, ``Instrument``). Only the modules beside this one, and pure codecs,
import a vendor's library; importing this package imports none of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import NamedTuple, Protocol


class Frame(NamedTuple):
    """One CAN data frame as it was seen.

    Attributes:
        arbitration_id: 11-bit identifier.
        data: 0 to 8 bytes.
        at_s: rig time of arrival.
    """

    arbitration_id: int
    data: bytes
    at_s: float


Receive = Callable[[Frame], None]


def why_none(error: OSError) -> str:
    """Say why there is no connection, in the same words on every wire."""
    if isinstance(error, ConnectionRefusedError):
        return "refused: nobody listens there"
    number = error.errno or 0
    return os.strerror(number).lower() if number in errno.errorcode else str(error)


class CanPort(Protocol):
    """One node at a CAN line: a driver's, or an emulator's."""

    name: str

    def send(self, arbitration_id: int, data: bytes) -> None:
        """Put a frame on the line; WireClosed where it is not open."""

    def listen(self, arbitration_ids: Collection[int], receive: Receive) -> Callable[[], None]:
        """Call ``receive`` with each frame of these identifiers; the returned call ends that."""


class ModbusLine(Protocol):
    """The near end of a Modbus line, shared by all units on it.

    Each call is one exchange with a bounded time-out. Raises WireTimeout (silence), WireClosed,
    CodecError (an answer that is no Modbus), DeviceRefused (an exception answer, its code in words).
    """

    name: str

    async def read_holding(self, unit: int, address: int, count: int) -> list[int]:
        """Read 1 to 125 holding registers (function 3)."""

    async def read_input(self, unit: int, address: int, count: int) -> list[int]:
        """Read 1 to 125 input registers (function 4)."""

    async def write_holding(self, unit: int, address: int, values: Sequence[int]) -> None:
        """Write 1 to 123 holding registers (function 6 for one, 16 for more)."""

    async def read_coils(self, unit: int, address: int, count: int) -> list[bool]:
        """Read coils (function 1)."""

    async def read_discrete_inputs(self, unit: int, address: int, count: int) -> list[bool]:
        """Read discrete inputs (function 2)."""

    async def write_coil(self, unit: int, address: int, value: bool) -> None:
        """Write one coil (function 5)."""


class VisaLine(Protocol):
    """The near end of a message-based instrument line.

    Raises WireTimeout, WireClosed, CodecError (a block that is no IEEE 488.2 block).
    """

    name: str

    async def write(self, message: str) -> None:
        """Send one message; the line adds the terminator."""

    async def query(self, message: str) -> str:
        """Send one message and read one answer, terminator taken off."""

    async def query_block(self, message: str) -> bytes:
        """Send one message and read one definite-length block, header taken off."""


class Table(Enum):
    """The data tables of a Modbus unit."""

    COILS = "coils"
    DISCRETE_INPUTS = "discrete inputs"
    HOLDING = "holding registers"
    INPUT = "input registers"


class Refusal(Enum):
    """Why a Modbus unit says no (exception codes of the Modbus application protocol, 7)."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    DEVICE_FAILURE = 4
    DEVICE_BUSY = 6


class ModbusRefusal(Exception):
    """Raised by an emulated unit to answer with an exception code."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.name)
        self.refusal = refusal


class ModbusUnit(Protocol):
    """The far end of a Modbus line: one emulated unit. Called in the loop; must not wait.

    Coils and discrete inputs travel as 0 and 1. ModbusRefusal answers with an exception code,
    TimeoutError stays silent.
    """

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Answer a read with ``count`` values."""

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        """Take a write, whole or not at all."""


class Instrument(Protocol):
    """The far end of a VISA line: one emulated instrument."""

    async def answer(self, message: bytes) -> bytes | None:
        """Take one message (terminator taken off); answer with bytes, or None where none is due.

        The line adds the terminator. May wait in rig time.
        """
