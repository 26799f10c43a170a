"""Registers to values and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drivers.rackproof_ems.points import NO_LIMIT, Kind, Point
from harness.errors import CodecError


def encode(point: Point, value: float | str) -> list[int]:
    """Lay a value into registers; numbers beyond the kind's range saturate.

    Raises:
        CodecError: a value that is no number, or a text that does not fit.
    """
    if point.kind is Kind.TEXT:
        text = str(value).encode("ascii", "replace")
        if len(text) > 2 * point.count:
            raise CodecError(f"{point.name}: {value!r} is longer than {2 * point.count} characters")
        text = text.ljust(2 * point.count, b"\0")
        return [int.from_bytes(text[i : i + 2]) for i in range(0, len(text), 2)]
    number = float(value)
    if math.isnan(number):
        raise CodecError(f"{point.name}: {value!r} is no number")
    if point.is_limit and number == math.inf:
        counts = NO_LIMIT
    else:
        low, high = _span(point)
        counts = round(min(max(number / point.scale, low), high))
    if point.kind is Kind.U16:
        return [counts]
    return [counts >> 16 & 0xFFFF, counts & 0xFFFF]


def decode(point: Point, registers: Sequence[int]) -> float:
    """Read a number.

    Raises:
        CodecError: not as many registers as the point has.
    """
    _check(point, registers)
    if point.is_limit and list(registers) == [0xFFFF, 0xFFFF]:
        return math.inf
    counts = int.from_bytes(b"".join(register.to_bytes(2) for register in registers))
    if point.kind is Kind.S32 and counts & 0x8000_0000:
        counts -= 1 << 32
    return counts * point.scale


def decode_text(point: Point, registers: Sequence[int]) -> str:
    """Read a text, without what fills it up.

    Raises:
        CodecError: not as many registers as the point has, or no ASCII.
    """
    _check(point, registers)
    data = b"".join(register.to_bytes(2) for register in registers)
    try:
        return data.rstrip(b"\0 ").decode("ascii")
    except UnicodeDecodeError as error:
        raise CodecError(f"{point.name}: {data.hex(' ')} is no ASCII") from error


def _span(point: Point) -> tuple[int, int]:
    if point.kind is Kind.U16:
        return 0, 0xFFFF
    if point.kind is Kind.S32:
        return -0x8000_0000, 0x7FFF_FFFF
    return 0, NO_LIMIT - 1 if point.is_limit else NO_LIMIT


def _check(point: Point, registers: Sequence[int]) -> None:
    if len(registers) != point.count or not all(0 <= register <= 0xFFFF for register in registers):
        raise CodecError(f"{point.name}: {list(registers)} came; it has {point.count} registers of 16 bits")
