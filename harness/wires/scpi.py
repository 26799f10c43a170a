"""What an emulated instrument understands: program messages of IEEE 488.2 and SCPI-99, without I/O.

An emulator hands over its commands as patterns with a handler each, and answers messages with
``ScpiInterpreter.answer``. Patterns are written as manuals print them: ``:NUMeric[:NORMal]:ITEM<x>``
is a command, ``:RATE?`` a query, ``*IDN?`` a common query. Not modelled: the output queue with its
query errors (-410 and its kin), overlapped commands, expressions in brackets.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from harness.errors import CodecError

Answer: TypeAlias = str | bytes | None

_REMEMBERED_MESSAGES = 256
"""Messages whose resolution is kept; a poll repeats a handful of them."""


class ScpiError(Exception):
    """What an instrument puts into its error queue; raised by handlers, never seen by a plan.

    Args:
        code: negative for SCPI's own (SCPI-99 volume 2, 21.8), else the maker's.
        text: as the maker words it, without quotes.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f'{code},"{text}"')
        self.code = code
        self.text = text


# SCPI-99 volume 2, 21.8.9 to 21.8.11.
NO_ERROR = ScpiError(0, "No error")
SYNTAX_ERROR = ScpiError(-102, "Syntax error")
DATA_TYPE_ERROR = ScpiError(-104, "Data type error")
PARAMETER_NOT_ALLOWED = ScpiError(-108, "Parameter not allowed")
MISSING_PARAMETER = ScpiError(-109, "Missing parameter")
UNDEFINED_HEADER = ScpiError(-113, "Undefined header")
INVALID_SUFFIX = ScpiError(-131, "Invalid suffix")
SETTINGS_CONFLICT = ScpiError(-221, "Settings conflict")
DATA_OUT_OF_RANGE = ScpiError(-222, "Data out of range")
ILLEGAL_PARAMETER_VALUE = ScpiError(-224, "Illegal parameter value")
QUEUE_OVERFLOW = ScpiError(-350, "Queue overflow")


@dataclass(frozen=True, slots=True)
class Call:
    """One command or query as it was sent.

    Attributes:
        suffixes: one number for each ``<x>`` of the pattern; 1 where none was written.
        arguments: as written, blanks around them taken off; a block keeps its ``#`` header and
            travels as latin-1.
    """

    suffixes: tuple[int, ...] = ()
    arguments: tuple[str, ...] = ()

    def only(self) -> str:
        """Give the one argument.

        Raises:
            ScpiError: -109 where there is none, -108 where there are more.
        """
        if not self.arguments:
            raise MISSING_PARAMETER
        if len(self.arguments) > 1:
            raise PARAMETER_NOT_ALLOWED
        return self.arguments[0]


Handler: TypeAlias = Callable[[Call], Answer | Awaitable[Answer]]


class ErrorQueue:
    """An instrument's errors, oldest first; when full, the newest place says overflow."""

    def __init__(
        self, capacity: int = 30, *, empty: ScpiError = NO_ERROR, overflow: ScpiError = QUEUE_OVERFLOW
    ) -> None:
        self._errors: deque[ScpiError] = deque()
        self._capacity = capacity
        self._empty = empty
        self._overflow = overflow
        self.event_status = 0

    def __len__(self) -> int:
        return len(self._errors)

    def push(self, error: ScpiError) -> None:
        """Add an error, and set its bit of the standard event status register."""
        # IEEE 488.2 11.5.1.1: bit 5 command, 4 execution, 3 device, 2 query error; makers' positive
        # codes keep the hundreds, Yokogawa's 800s are execution errors.
        self.event_status |= {1: 0x20, 2: 0x10, 3: 0x08, 4: 0x04, 8: 0x10}.get(abs(error.code) // 100, 0x08)
        if len(self._errors) < self._capacity:
            self._errors.append(error)
        else:
            self._errors[-1] = self._overflow

    def pop(self) -> ScpiError:
        """Take the oldest error out, or the maker's word for none."""
        return self._errors.popleft() if self._errors else self._empty

    def clear(self) -> None:
        """Forget all errors and events."""
        self._errors.clear()
        self.event_status = 0


class CommonCommands:
    """The common commands of IEEE 488.2, to be merged into an instrument's own.

    Args:
        identity: answers ``*IDN?``.
        errors: cleared by ``*CLS``.
        reset: does ``*RST``.
        trigger: does ``*TRG``.
        status: the instrument's own bits of the status byte.
    """

    def __init__(
        self,
        identity: Callable[[], str],
        errors: ErrorQueue,
        reset: Callable[[], None],
        *,
        trigger: Callable[[], None] = lambda: None,
        status: Callable[[], int] = lambda: 0,
    ) -> None:
        self._errors = errors
        self._status = status
        self._event_enable = 0
        self._service_enable = 0
        self.commands: Mapping[str, Handler] = {
            "*IDN?": lambda _: identity(),
            "*RST": lambda _: reset(),
            "*CLS": lambda _: errors.clear(),
            "*ESE": self._set_event_enable,
            "*ESE?": lambda _: str(self._event_enable),
            "*ESR?": self._take_event_status,
            "*SRE": self._set_service_enable,
            "*SRE?": lambda _: str(self._service_enable),
            "*STB?": lambda _: str(self.status_byte()),
            "*OPC": self._complete,
            "*OPC?": lambda _: "1",
            "*WAI": lambda _: None,
            "*TRG": lambda _: trigger(),
            "*TST?": lambda _: "0",
        }

    def status_byte(self) -> int:
        """Bit 2 error available, 5 event summary, 6 master summary; the rest is the instrument's."""
        byte = self._status() | (0x04 if len(self._errors) else 0)
        byte |= 0x20 if self._errors.event_status & self._event_enable else 0
        return byte | (0x40 if byte & self._service_enable & ~0x40 else 0)

    def _set_event_enable(self, call: Call) -> None:
        self._event_enable = int(number(call.only(), minimum=0, maximum=255))

    def _set_service_enable(self, call: Call) -> None:
        self._service_enable = int(number(call.only(), minimum=0, maximum=255))

    def _take_event_status(self, _: Call) -> str:
        events, self._errors.event_status = self._errors.event_status, 0
        return str(events)

    def _complete(self, _: Call) -> None:
        self._errors.event_status |= 0x01


class ScpiInterpreter:
    """Resolves messages to handlers and answers them.

    After an undefined header or a syntax error the rest of the message is dropped; after a handler's
    own error the rest is done.

    Args:
        commands: handlers by pattern.
        errors: where errors go; the emulator owns it and answers its query.
        undefined: what an unknown header puts there.
        syntax: what a message that cannot be read puts there.
        abbreviates_freely: whether any form between short and long is understood (``CURSO`` for
            ``CURSor``, as Yokogawa does), or only these two, as SCPI says.
    """

    def __init__(
        self,
        commands: Mapping[str, Handler],
        errors: ErrorQueue,
        *,
        undefined: ScpiError = UNDEFINED_HEADER,
        syntax: ScpiError = SYNTAX_ERROR,
        abbreviates_freely: bool = False,
    ) -> None:
        self._errors = errors
        self._undefined = undefined
        self._syntax = syntax
        self._commands = [
            (_opening(pattern), _expression(pattern, abbreviates_freely=abbreviates_freely), handler)
            for pattern, handler in commands.items()
        ]
        self._headers: dict[str, tuple[Handler, tuple[int, ...]] | None] = {}
        self._programs: dict[bytes, list[tuple[Handler, Call]]] = {}

    async def answer(self, message: bytes) -> bytes | None:
        """Do what a message asks; several answers are joined by semicolons, None where none is due."""
        program = self._programs.get(message)
        if program is None:
            program = self._program(message)
        answers = []
        for handler, call in program:
            try:
                answer = handler(call)
                if answer is not None and not isinstance(answer, (str, bytes)):
                    answer = await answer
            except ScpiError as error:
                self._errors.push(error)
                continue
            if answer is not None:
                answers.append(answer.encode("latin-1") if isinstance(answer, str) else answer)
        return b";".join(answers) if answers else None

    def _program(self, message: bytes) -> list[tuple[Handler, Call]]:
        """Resolve a message; what is sound is remembered, what is not ends in ``_fail``."""
        program: list[tuple[Handler, Call]] = []
        path = ""
        try:
            for unit in _split(message.decode("latin-1"), ";"):
                text = _strip(unit)
                if not text:
                    continue
                header, *rest = text.split(maxsplit=1)
                header = header.upper()
                if not header.startswith("*"):
                    header = header if header.startswith(":") else f"{path}:{header}"
                    path = header.rpartition(":")[0]
                found = self._find(header)
                if found is None:
                    return [*program, (self._fail, Call((), ("undefined",)))]
                handler, suffixes = found
                arguments = tuple(_strip(part) for part in _split(rest[0], ",")) if rest else ()
                program.append((handler, Call(suffixes, arguments)))
        except CodecError:
            return [*program, (self._fail, Call((), ("syntax",)))]
        if len(self._programs) >= _REMEMBERED_MESSAGES:
            self._programs.clear()
        self._programs[message] = program
        return program

    def _fail(self, call: Call) -> None:
        raise self._undefined if call.arguments[0] == "undefined" else self._syntax

    def _find(self, header: str) -> tuple[Handler, tuple[int, ...]] | None:
        if header in self._headers:
            return self._headers[header]
        found = None
        for opening, expression, handler in self._commands:
            # Most expressions are never asked for, and compiling takes longer than all else here.
            if header.startswith(opening) and (match := re.fullmatch(expression, header)):
                found = handler, tuple(int(suffix) if suffix else 1 for suffix in match.groups())
                break
        if len(self._headers) >= 16 * _REMEMBERED_MESSAGES:
            self._headers.clear()
        self._headers[header] = found
        return found


def number(
    argument: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    default: float | None = None,
) -> float:
    """Read decimal numeric data in ``unit``, with MINimum, MAXimum, DEFault, INFinity where they are given.

    Args:
        argument: ``2.5``, ``100MS``, ``1 KV``, ``MAX``.
        unit: suffix that may follow (``S``, ``V``, ``HZ``), with multipliers of IEEE 488.2 7.7.3.
        minimum: lowest value allowed.
        maximum: highest value allowed.
        default: what DEFault stands for.

    Raises:
        ScpiError: -104 no number, -131 a suffix that does not belong, -222 out of range.
    """
    text = argument.strip().upper()
    for words, value in (
        (("MIN", "MINIMUM"), minimum),
        (("MAX", "MAXIMUM"), maximum),
        (("DEF", "DEFAULT"), default),
    ):
        if text in words:
            if value is None:
                raise ILLEGAL_PARAMETER_VALUE
            return value
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise DATA_TYPE_ERROR
    suffix = match["suffix"]
    value = float(match["digits"])
    if suffix:
        if not unit or not suffix.endswith(unit.upper()):
            raise INVALID_SUFFIX
        multiplier = suffix[: -len(unit)]
        # M is mega before HZ and OHM (IEEE 488.2 table 7-2).
        if multiplier == "M" and unit.upper() in {"HZ", "OHM"}:
            multiplier = "MA"
        if multiplier not in _MULTIPLIERS:
            raise INVALID_SUFFIX
        value *= _MULTIPLIERS[multiplier]
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        raise DATA_OUT_OF_RANGE
    return value


def boolean(argument: str) -> bool:
    """Read ON, OFF, or a number that rounds to zero or not; ScpiError -104 for anything else."""
    text = argument.strip().upper()
    if text in {"ON", "OFF"}:
        return text == "ON"
    return round(number(text)) != 0


def choice(argument: str, *options: str) -> str:
    """Give the one of ``options`` (``ASCii``, ``FLOat``) that was written; ScpiError -224 for another."""
    text = argument.strip()
    for option in options:
        if re.fullmatch(_mnemonic(option, freely=True), text, re.IGNORECASE):
            return option
    raise ILLEGAL_PARAMETER_VALUE


def string(argument: str) -> str:
    """Read a quoted string, a doubled quote standing for one; ScpiError -104 for anything else."""
    text = argument.strip()
    if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
        raise DATA_TYPE_ERROR
    return text[1:-1].replace(text[0] * 2, text[0])


def encode_block(payload: bytes, *, digits: int | None = None) -> bytes:
    """Write a definite-length block (IEEE 488.2 8.7.9): ``#``, how many digits, the length, the bytes.

    Args:
        payload: any bytes.
        digits: how many digits the length has (makers fix it); as few as it takes by default.
    """
    length = str(len(payload)).rjust(digits or 1, "0")
    if len(length) > 9 or (digits is not None and len(length) > digits):
        raise ValueError(f"a block of {len(payload)} bytes does not fit {digits or 9} digits")
    return b"#%d%s%s" % (len(length), length.encode(), payload)


def block_span(data: bytes) -> tuple[int, int] | None:
    """Where the payload of the definite-length block that ``data`` begins with starts and ends.

    None: the header has not come whole.

    Raises:
        CodecError: it is no such block.
    """
    mark, digits = data[:1], data[1:2]
    start = 2 + int(digits) if digits.isdigit() else 2
    length = data[2:start]
    if mark not in {b"", b"#"} or digits not in b"123456789" or not (length.isdigit() or not length):
        raise CodecError(f"expected a block '#<digits><length>...', got {data[:16]!r}")
    return (start, start + int(length)) if digits and len(data) >= start else None


_NUMBER = re.compile(
    r"(?P<digits>[+-]?(?:\d+\.?\d*|\.\d+)(?:\s*E\s*[+-]?\d+)?)\s*(?P<suffix>[A-Z/%]*)", re.ASCII
)

# IEEE 488.2 table 7-2.
_MULTIPLIERS: Mapping[str, float] = {
    "": 1.0,
    "EX": 1e18,
    "PE": 1e15,
    "T": 1e12,
    "G": 1e9,
    "MA": 1e6,
    "K": 1e3,
    "M": 1e-3,
    "U": 1e-6,
    "N": 1e-9,
    "P": 1e-12,
    "F": 1e-15,
    "A": 1e-18,
}

_PATTERN_PART = re.compile(
    r"(?P<open>\[)?(?P<colon>:)?(?P<name>\*?[A-Za-z_]\w*)(?P<suffix><\w+>)?(?P<close>\])?"
)


def _opening(pattern: str) -> str:
    """Give what every header begins with that can be meant by a pattern: ``:NUM`` of ``:NUMeric:HOLD``."""
    opening = re.match(r"[:*]?[A-Z0-9_]*", pattern, re.ASCII)
    return opening.group() if opening else ""


def _expression(pattern: str, *, abbreviates_freely: bool) -> str:
    """Turn ``:NUMeric[:NORMal]:ITEM<x>?`` into a regular expression over upper-case headers."""
    body, query = (pattern[:-1], r"\?") if pattern.endswith("?") else (pattern, "")
    pieces = []
    position = 0
    while position < len(body):
        part = _PATTERN_PART.match(body, position)
        if part is None or bool(part["open"]) != bool(part["close"]):
            raise ValueError(f"command pattern {pattern!r} cannot be read from {body[position:]!r}")
        position = part.end()
        name = part["name"]
        if name.startswith("*"):
            pieces.append(re.escape(name.upper()))
            continue
        node = ":" + _mnemonic(name, freely=abbreviates_freely) + (r"(\d*)" if part["suffix"] else "")
        pieces.append(f"(?:{node})?" if part["open"] else node)
    return "".join(pieces) + query


def _mnemonic(name: str, *, freely: bool) -> str:
    """Turn ``NUMeric`` into an expression for its short and its long form, or all between."""
    short = re.match(r"[A-Z0-9_]*", name, re.ASCII)
    length = (short.end() if short else 0) or len(name)
    head, tail = name[:length].upper(), name[length:].upper()
    if not tail:
        return re.escape(head)
    if not freely:
        return f"{re.escape(head)}(?:{re.escape(tail)})?"
    optional = ""
    for letter in reversed(tail):
        optional = f"(?:{re.escape(letter)}{optional})?"
    return re.escape(head) + optional


def _strip(text: str) -> str:
    """Take blanks off, but for what may be the end of a block."""
    return text.lstrip() if "#" in text else text.strip()


def _split(text: str, separator: str) -> list[str]:
    """Split outside strings and blocks; CodecError for one that does not end."""
    if not any(mark in text for mark in "\"'#"):
        return text.split(separator)
    pieces = []
    start = position = 0
    while position < len(text):
        letter = text[position]
        if letter in "\"'":
            end = text.find(letter, position + 1)
            if end < 0:
                raise CodecError(f"a string does not end: {text[position : position + 20]!r}")
            position = end + 1
        elif letter == "#" and text[position + 1 : position + 2].isdigit():
            if text[position + 1] == "0":  # it ends with the message
                break
            span = block_span(text[position:].encode("latin-1"))
            if span is None or position + span[1] > len(text):
                raise CodecError(f"a block does not end: {text[position : position + 12]!r}")
            position += span[1]
        elif letter == separator:
            pieces.append(text[start:position])
            position += 1
            start = position
        else:
            position += 1
    pieces.append(text[start:])
    return pieces
