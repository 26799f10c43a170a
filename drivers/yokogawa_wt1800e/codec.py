"""Answers of the instrument, from text and back; pure."""

from __future__ import annotations

import math
import re

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
    return [decode_number(field) for field in fields]


def decode_number(text: str) -> float:
    """Read one number; CodecError where it is none."""
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError as error:
        raise CodecError(f"{text[:40]!r} is no number") from error


def encode_value(value: float, digits: int) -> str:
    """Write a number as the instrument does: an exponent that is a multiple of three."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INF" if value > 0 else "-INF"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    shift = int(exponent) % 3
    return f"{float(mantissa) * 10.0**shift:.{max(digits - 1 - shift, 0)}f}E{int(exponent) - shift:+03d}"


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
