"""A driver's talk with an instrument that speaks SCPI: checked commands, checked answers."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from harness.errors import CodecError, DeviceRefused, excerpt
from harness.roles import Identity
from harness.wires import VisaLine

IDENTITY = "*IDN?"
"""IEEE 488.2, 10.14: maker, model, serial number and firmware."""
LEAST_NO_NUMBER = 9.9e37
"""SCPI-1999, volume 1, 7.2.1: 9.9E37 stands for infinity, its negative too, and 9.91E37 for no number."""
MOST_ERRORS = 32
"""Longest error queue that is read; a longer one is rubbish (makers give room for 10 to 30)."""

_ERROR = re.compile(r"\s*([+-]?\d{1,9})\s*(?:,(.*))?", re.ASCII | re.DOTALL)


def meant(value: float) -> float:
    """Give what a number of SCPI's stands for: infinity, or not a number, where it is none."""
    if not LEAST_NO_NUMBER <= abs(value) < math.inf:
        return value
    return math.copysign(math.inf, value) if abs(value) == LEAST_NO_NUMBER else math.nan


def decode_number(text: str) -> float:
    """Read one number, which may be infinite or none; CodecError where it is no SCPI."""
    try:
        if "_" in text:  # which Python would take
            raise ValueError
        return meant(float(text))
    except ValueError as error:
        raise CodecError(f"{excerpt(text)} is no number") from error


def decode_error(text: str) -> tuple[int, str]:
    """Read an entry of an error queue: code, and text (empty where there is none); else CodecError."""
    match = _ERROR.fullmatch(text)
    if match is None:
        raise CodecError(f'{excerpt(text)} is no entry of an error queue, which is <code>,"<text>"')
    return int(match[1]), (match[2] or "").strip().strip('"')


def decode_identity(text: str) -> Identity:
    """Read ``<maker>,<model>,<serial>,<firmware>``; CodecError where there are not four fields."""
    fields = [field.strip() for field in text.split(",")]
    if len(fields) != 4:
        raise CodecError(f"{excerpt(text)} is no identity of four fields")
    return Identity(*fields)


@dataclass(frozen=True, slots=True)
class ScpiTalk:
    """One driver's talk with its instrument.

    Attributes:
        name: of the device, for messages.
        line: to the instrument.
        error_query: that takes one error off the queue, answered ``<code>,<text>``, code 0 when empty.
    """

    name: str
    line: VisaLine
    error_query: str = "SYSTem:ERRor?"

    async def command(self, *messages: str) -> None:
        """Send a group of commands, then empty the error queue.

        Raises:
            DeviceRefused: the queue was not empty; the message has its codes and texts.
            CodecError: the queue's answer is no error, or finds no end.
        """
        for message in messages:
            await self.line.write(message)
        await self.check_errors(" ".join(messages))

    async def check_errors(self, asked: str) -> None:
        """Empty the error queue.

        Args:
            asked: what was sent before, for the message.

        Raises:
            DeviceRefused: it was not empty; the message has its codes and texts.
            CodecError: its answer is no error, or finds no end.
        """
        errors: list[str] = []
        while True:
            answer = await self.line.query(self.error_query)
            try:
                code, text = decode_error(answer)
            except CodecError as error:
                raise CodecError(f"{self.name}: {self.error_query}: {error}") from error
            if code == 0:
                break
            errors.append(f"{code} {text}".rstrip())
            if len(errors) == MOST_ERRORS:
                raise CodecError(f"{self.name}: {self.error_query} finds no end: {'; '.join(errors)}")
        if errors:
            raise DeviceRefused(f"{self.name}: {asked!r} refused: {'; '.join(errors)}")

    async def identity(self) -> Identity:
        """Ask for maker, model, serial number and firmware.

        Raises:
            CodecError: the answer has not four fields.
        """
        answer = await self.line.query(IDENTITY)
        try:
            return decode_identity(answer)
        except CodecError as error:
            raise CodecError(f"{self.name}: {IDENTITY}: {error}") from error

    async def number(self, query: str) -> float:
        """Ask for one number.

        Raises:
            CodecError: the answer is no finite number.
        """
        answer = await self.line.query(query)
        try:
            value = decode_number(answer)
        except CodecError as error:
            raise CodecError(f"{self.name}: {query}: {error}") from error
        if not math.isfinite(value):
            raise CodecError(
                f"{self.name}: {query} was answered {excerpt(answer)}: a finite number is expected"
            )
        return value

    async def word(self, query: str, known: Collection[str]) -> str:
        """Ask for one of a few words; gives it in capitals.

        Raises:
            CodecError: another one came.
        """
        answer = await self.line.query(query)
        word = answer.strip().upper()
        if word not in known:
            raise CodecError(
                f"{self.name}: {query} was answered {excerpt(answer)}: "
                f"{' or '.join(sorted(known))} is expected"
            )
        return word
