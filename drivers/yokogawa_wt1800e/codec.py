"""Answers of the instrument, from text and back; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from harness.errors import CodecError
from harness.roles import Identity

_ERROR = re.compile(r'\s*([+-]?\d{1,9})\s*(?:,\s*"(.*)")?\s*', re.ASCII)


def decode_values(text: str, count: int) -> list[float]:
    """Read the answer to ``:NUMeric:NORMal:VALue?``; NAN and INF become themselves.

    Raises:
        CodecError: not ``count`` numbers.
    """
    fields = text.split(",")
    if len(fields) != count:
        raise CodecError(f"{count} values were asked for and {len(fields)} came: {text[:60]!r}")
    try:
        if "_" in text:
            raise ValueError
        return list(map(float, fields))
    except ValueError:
        return [decode_number(field) for field in fields]  # which says what is wrong


def decode_number(text: str) -> float:
    """Read one number; CodecError where it is none."""
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError as error:
        raise CodecError(f"{text[:40]!r} is no number") from error


def encode_value(value: float, digits: int) -> str:
    """Write a number as the instrument does: three or more digits, an exponent of 0, 3, 6 ...."""
    return _engineering(f"{value:.{digits - 1}e}")


def encode_values(values: Sequence[float], digits: Sequence[int]) -> str:
    """Write the answer to ``:NUMeric:NORMal:VALue?``, each value with its number of digits."""
    return ",".join(map(_engineering, (_template(tuple(digits)) % tuple(values)).split(",")))


@lru_cache(maxsize=8)
def _template(digits: tuple[int, ...]) -> str:
    """One format for all items of an answer: one call of it costs a quarter of as many calls."""
    return ",".join(f"%.{count - 1}e" for count in digits)


_EXPONENTS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {f"e{power:+03d}": (power % 3, f"E{power - power % 3:+03d}") for power in range(-99, 100)}
)
"""How Python ends a number: places by which the point moves, and how the instrument ends it."""


def _engineering(text: str) -> str:
    """Move the point of ``-1.2345e+02``, so that the exponent becomes a multiple of three."""
    known = _EXPONENTS.get(text[-4:])
    if known is None:
        return _unusual(text)
    shift, end = known
    if shift == 0:
        return text[:-4] + end
    point = text.index(".")
    moved = point + 1 + shift
    decimals = text[moved:-4]
    return f"{text[:point]}{text[point + 1 : moved]}{'.' if decimals else ''}{decimals}{end}"


def _unusual(text: str) -> str:
    """Write what is no number, and what only Python can hold: powers of three digits."""
    if text[-1] in "nf":
        return text.upper()
    mantissa, power = text.split("e")
    shift = int(power) % 3
    return f"{_engineering(f'{mantissa}e{shift:+03d}')[:-4]}E{int(power) - shift:+03d}"


def decode_error(text: str) -> tuple[int, str]:
    """Read an entry of the error queue: code and text (empty where messages are off); else CodecError."""
    match = _ERROR.fullmatch(text)
    if match is None:
        raise CodecError(f'{text[:40]!r} is no entry of an error queue, which is <code>,"<text>"')
    return int(match[1]), match[2] or ""


def decode_events(text: str) -> int:
    """Read the extended event register; CodecError where it is no whole number."""
    if not re.fullmatch(r"\s*\d{1,5}\s*", text, re.ASCII):
        raise CodecError(f"{text[:40]!r} is no event register")
    return int(text)


def decode_identity(text: str) -> Identity:
    """Read ``<maker>,<model>,<serial>,<firmware>``; CodecError where there are not four fields."""
    fields = [field.strip() for field in text.split(",")]
    if len(fields) != 4:
        raise CodecError(f"{text[:60]!r} is no identity of four fields")
    return Identity(*fields)
