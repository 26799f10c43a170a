"""Answers of the instrument, from text and back; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache, lru_cache
from operator import mul

from harness.errors import CodecError, excerpt
from harness.wires.scpi_talk import LEAST_NO_NUMBER, decode_number, meant


def decode_values(text: str, count: int) -> list[float]:
    """Read the answer to ``:NUMeric:NORMal:VALue?``; NAN and INF become themselves, by SCPI's numbers too.

    Raises:
        CodecError: not ``count`` numbers.
    """
    fields = text.split(",")
    if len(fields) != count:
        raise CodecError(f"{count} values were asked for and {len(fields)} came: {excerpt(text)}")
    try:
        if "_" in text:
            raise ValueError
        values = list(map(float, fields))
    except ValueError:
        return [decode_number(field) for field in fields]  # which says what is wrong
    return list(map(meant, values)) if any(map(LEAST_NO_NUMBER.__le__, map(abs, values))) else values


def encode_value(value: float, digits: int) -> str:
    """Write a number as the instrument does: three or more digits, an exponent of 0, 3, 6 ..."""
    text = f"{value:.{digits - 1}e}"
    if text[-1] in "nf":
        return text.upper()
    mantissa, _, power = text.partition("e")
    shift = int(power) % 3
    point = mantissa.index(".")
    whole, decimals = mantissa[:point] + mantissa[point + 1 :][:shift], mantissa[point + 1 :][shift:]
    return f"{whole}{'.' if decimals else ''}{decimals}E{int(power) - shift:+03d}"


def encode_values(values: Sequence[float], digits: tuple[int, ...]) -> str:
    """Write the answer to ``:NUMeric:NORMal:VALue?``, each value with its number of digits.

    One format writes all of them: which one depends on the decade that each value is in, and as these
    hardly ever change in a steady state, the formats are kept.
    """
    decades = tuple(map(bisect_right, _bounds(digits), map(abs, values)))
    template, factors = _template(decades, digits)
    if template:
        return template % tuple(map(mul, values, factors))
    return ",".join(map(encode_value, values, digits))


_LOWEST, _HIGHEST = -9, 12
"""Powers of ten between which values are written by a common format."""


@cache
def _bounds(digits: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
    """For each item the values at which its next decade begins; items of equal digits share them."""
    return tuple(map(_begins, digits))


@cache
def _begins(digits: int) -> tuple[float, ...]:
    """Values at which the next decade begins, rounded to so many digits; below the first it is zero."""
    begins = (float(f"{10 - 5 * 10.0**-digits:.{digits}f}e{power - 1}") for power in range(_LOWEST, _HIGHEST))
    return 5e-324, *begins


@lru_cache(maxsize=1024)
def _template(decades: tuple[int, ...], digits: tuple[int, ...]) -> tuple[str, tuple[float, ...]]:
    """A format for values in these decades, and the factor of each; empty where one is out of reach."""
    pieces = list(map(_piece, decades, digits))
    if ("", 0.0) in pieces:
        return "", ()
    return ",".join([text for text, _ in pieces]), tuple([factor for _, factor in pieces])


@cache
def _piece(decade: int, digits: int) -> tuple[str, float]:
    """A format for one value in a decade, and its factor; empty where that is out of reach."""
    power = decade + _LOWEST - 2 if decade else 0
    if decade == 1 or power >= _HIGHEST - 1:
        return "", 0.0
    shift = power % 3
    return f"%.{digits - 1 - shift}fE{power - shift:+03d}", 10.0 ** (shift - power)


def decode_events(text: str) -> int:
    """Read the extended event register; CodecError where it is no whole number."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5):
        raise CodecError(f"{excerpt(text)} is no event register")
    return int(digits)
