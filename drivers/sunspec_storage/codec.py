"""SunSpec registers to values and back; no I/O.

Registers and words are big-endian; ``value = raw * 10 ** scale``; each type has one raw value that
says "not implemented" (SunSpec Device Information Model Specification, 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.sunspec_storage.points import Model, Point
from harness.errors import CodecError, DeviceRefused


def to_int(point: Point, registers: Sequence[int]) -> int:
    """Put a number's registers together.

    Raises:
        CodecError: another number of registers, or one beyond 16 bits.
    """
    kind, size = point.kind, point.size
    if len(registers) != size or kind.registers != size:
        raise CodecError(f"{point}: {len(registers)} registers came for {size} of {point.type}")
    if size == 1 and 0 <= (raw := registers[0]) <= 0xFFFF:  # nearly all points
        return raw - 0x10000 if raw > 0x7FFF and kind.is_signed else raw
    raw = 0
    for register in registers:
        if not 0 <= register <= 0xFFFF:
            raise CodecError(f"{point}: register {register} is not 16 bits wide")
        raw = raw << 16 | register
    if kind.is_signed and raw >> 16 * kind.registers - 1:
        raw -= 1 << 16 * kind.registers
    return raw


def from_int(point: Point, raw: int) -> list[int]:
    """Split a number into registers; the one for "not implemented" is taken too.

    Raises:
        DeviceRefused: a number that the type cannot hold.
    """
    kind = point.kind
    if not (kind.lowest <= raw <= kind.highest or raw == kind.unimplemented):
        raise DeviceRefused(f"{point}={raw} refused: {point.type} holds {kind.lowest} to {kind.highest}")
    return [raw >> 16 * place & 0xFFFF for place in range(kind.registers - 1, -1, -1)]


def to_text(point: Point, registers: Sequence[int]) -> str:
    """Read a string; empty where it is not implemented.

    Raises:
        CodecError: another number of registers, or bytes that are no UTF-8.
    """
    if len(registers) != point.size:
        raise CodecError(f"{point}: {len(registers)} registers came for {point.size}")
    try:
        octets = b"".join(register.to_bytes(2, "big") for register in registers)
        return octets.split(b"\0", 1)[0].decode().strip()
    except (UnicodeDecodeError, OverflowError) as error:
        raise CodecError(f"{point}: {list(registers)} is no text: {error}") from error


def from_text(point: Point, text: str) -> list[int]:
    """Write a string, padded with NUL.

    Raises:
        DeviceRefused: a text that is too long.
    """
    octets = text.encode()
    if len(octets) > 2 * point.size:
        raise DeviceRefused(f"{point}={text!r} refused: {2 * point.size} bytes at most")
    octets = octets.ljust(2 * point.size, b"\0")
    return [int.from_bytes(octets[place : place + 2], "big") for place in range(0, len(octets), 2)]


def scaled(raw: int, exponent: int) -> float:
    """Apply a scale factor; dividing keeps 1155 * 0.1 at 115.5."""
    return raw * 10.0**exponent if exponent >= 0 else raw / 10.0**-exponent


def unscaled(value: float, exponent: int) -> int:
    """Find the nearest raw value."""
    return round(value / 10.0**exponent if exponent >= 0 else value * 10.0**-exponent)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive registers of one model, as one answer brought them.

    Attributes:
        device: whose they are, for messages.
        start: the first one's offset from the model's ID register.
        at_s: rig time of the answer.
    """

    device: str
    model: Model
    start: int
    registers: Sequence[int]
    at_s: float

    def _registers_of(self, point: Point) -> Sequence[int]:
        first = point.offset - self.start
        return self.registers[first : first + point.size] if first >= 0 else ()

    def is_implemented(self, name: str) -> bool:
        """Whether the device has the point, and its scale factor."""
        point = self.model.points[name]
        if to_int(point, self._registers_of(point)) == point.kind.unimplemented:
            return False
        return not point.scale or self.is_implemented(point.scale)

    def raw(self, name: str) -> int:
        """Give a number as it came.

        Raises:
            DeviceRefused: the device does not implement the point.
        """
        point = self.model.points[name]
        raw = to_int(point, self._registers_of(point))
        if raw == point.kind.unimplemented:
            raise DeviceRefused(f"{self.device}: point {point} is not implemented (raw value {raw})")
        return raw

    def exponent(self, name: str) -> int:
        """Give the power of ten that belongs to a point, 0 where it has none.

        Raises:
            DeviceRefused: the scale factor is not implemented, so that the point is of no use.
            CodecError: a scale factor beyond -10 to 10.
        """
        scale = self.model.points[name].scale
        if not scale:
            return 0
        exponent = self.raw(scale)
        if not -10 <= exponent <= 10:
            raise CodecError(
                f"{self.device}: {self.model.number}.{scale} is {exponent}; -10 to 10 is allowed"
            )
        return exponent

    def value(self, name: str) -> float:
        """Give a number in the point's unit; raises as ``raw`` and ``exponent`` do."""
        return scaled(self.raw(name), self.exponent(name))

    def symbol(self, name: str) -> str:
        """Give an enumeration's word.

        Raises:
            DeviceRefused: the device does not implement the point.
            CodecError: a code without a word.
        """
        point = self.model.points[name]
        code = self.raw(name)
        try:
            return point.symbols[code]
        except KeyError:
            allowed = ", ".join(f"{code} {word}" for code, word in point.symbols.items())
            raise CodecError(f"{self.device}: {point} is {code}; {allowed} are allowed") from None

    def bits(self, name: str) -> frozenset[str]:
        """Give the words of the bits that are set; a bit without a word is ``<point>.bit<n>``."""
        point = self.model.points[name]
        raw = self.raw(name)
        return frozenset(
            point.symbols.get(bit, f"{point}.bit{bit}") for bit in range(16 * point.size) if raw >> bit & 1
        )

    def text(self, name: str) -> str:
        """Give a string, empty where the device does not implement it."""
        point = self.model.points[name]
        return to_text(point, self._registers_of(point))


def check_header(device: str, known: Model, registers: Sequence[int]) -> None:
    """Check the ID and length registers of a model that is in the map here.

    Raises:
        CodecError: another model, or another length.
    """
    number, length = registers[:2]
    # A common model of 65 registers has no pad at its end.
    allowed = (65, 66) if known.number == 1 else (known.length,)
    if number != known.number or length not in allowed:
        lengths = " or ".join(str(length) for length in allowed)
        raise CodecError(
            f"{device}: model {number} of {length} registers came where model {known.number} has {lengths}"
        )
