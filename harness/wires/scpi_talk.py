"""A driver's talk with an instrument that has a SCPI error queue: checked commands, checked numbers."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import CodecError, DeviceRefused, excerpt
from harness.wires import VisaLine

LEAST_NO_NUMBER = 9.9e37
"""SCPI-1999, volume 1, 7.2.1: 9.9E37 stands for infinity, its negative too, and 9.91E37 for no number."""
MOST_ERRORS = 32
"""Longest error queue that is read; a longer one is rubbish (makers give room for 10 to 30)."""


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
        errors: list[str] = []
        while True:
            answer = await self.line.query(self.error_query)
            code, _, text = answer.partition(",")
            try:
                is_error = int(code) != 0
            except ValueError as error:
                raise CodecError(
                    f"{self.name}: {self.error_query} was answered "
                    f"{excerpt(answer)}: <code>,<text> is expected"
                ) from error
            if not is_error:
                break
            errors.append(f"{int(code)} {text.strip().strip(chr(34))}")
            if len(errors) == MOST_ERRORS:
                raise CodecError(f"{self.name}: {self.error_query} finds no end: {'; '.join(errors)}")
        if errors:
            raise DeviceRefused(f"{self.name}: {' '.join(messages)!r} refused: {'; '.join(errors)}")

    async def number(self, query: str) -> float:
        """Ask for one number.

        Raises:
            CodecError: the answer is no finite number.
        """
        answer = await self.line.query(query)
        try:
            value = float(answer)
        except ValueError as error:
            raise CodecError(
                f"{self.name}: {query} was answered {excerpt(answer)}: a number is expected"
            ) from error
        if not abs(value) < LEAST_NO_NUMBER:
            raise CodecError(
                f"{self.name}: {query} was answered {excerpt(answer)}: a finite number is expected"
            )
        return value
