"""The journal: one line an event, handed to the kernel at once, so that it survives a kill.

A line is the JSON array ``[sequence, rig time in s, kind, body]``. A reading is kind ``r`` with body
``[source, value]``: the hot path, spelled by hand. The last line may be torn by a kill; every other
damage is an error.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import BenchError
from harness.readings import Reading
from harness.record.canonical import plain, revive, spell

GUARD_JOURNAL = "guard.jsonl"
"""The journal of the guard, beside the run's own."""

READING = "r"
"""The kind of a reading."""
SAFE_STATE = "safe state"
"""The kind of what came of a safe state; the body has ``is_safe``."""


_WORDS = {True: "true", False: "false"}


class Event(NamedTuple):
    """One line of a journal; numbers are as ``revive`` gives them.

    Attributes:
        sequence: 0, 1, 2 ... without gaps.
        rig_s: rig time.
        kind: ``r`` for a reading, else a word.
        body: a plain value.
    """

    sequence: int
    rig_s: float
    kind: str
    body: Any


class Journal:
    """An open journal, at ``path``, which must not be there yet.

    The first write that fails raises. What comes after is counted in ``lost`` and does not raise, since
    a full disk must not stand between a bench and its safe state; ``check`` raises again, and whoever
    ends a plan or a run calls it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sequence = 0
        self.last_s = 0.0
        self._spelled_s: float | None = None
        self._when = ""
        self.lost = 0
        self._failure: str | None = None
        self._sources: dict[str, str] = {}
        self._file = -1

    def open(self) -> None:
        """Create the file; FileExistsError where there is one: a journal is never overwritten."""
        self._file = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
        )

    def reading(self, *readings: Reading[Any]) -> None:
        """Write readings, a line each, in one go.

        Raises:
            BenchError: not all of them could be written.
        """
        lines = []
        sequence = self.sequence
        for value, at_s, source in readings:
            name = self._sources.get(source)
            if name is None:
                name = self._sources[source] = spell(source)
            # x - x is zero for finite numbers only, and cheaper than a call.
            if type(value) is float and value - value == 0.0:
                said = repr(value)
            else:
                said = _WORDS[value] if type(value) is bool else spell(plain(value))
            if at_s is not self._spelled_s:  # readings of one answer share their time
                self._when = repr(at_s) if type(at_s) is float and at_s - at_s == 0.0 else spell(plain(at_s))
                self._spelled_s = self.last_s = at_s
            lines.append(f'[{sequence},{self._when},"r",[{name},{said}]]\n')
            sequence += 1
        self._write("".join(lines), len(lines))

    def event(self, kind: str, body: object, rig_s: float) -> None:
        """Write anything else; ``body`` is whatever has a plain form.

        Raises:
            BenchError: it could not be written.
            TypeError: ``body`` has no plain form; nothing was written.
        """
        line = spell([self.sequence, plain(float(rig_s)), kind, plain(body)])
        if math.isfinite(rig_s):
            self.last_s = float(rig_s)
            self._spelled_s = None
        self._write(f"{line}\n", 1)

    def _write(self, text: str, count: int) -> None:
        """Write ``count`` lines, in one call unless the kernel takes less."""
        if self._failure is not None:
            self.lost += count
            return
        lines = text.encode()
        written = 0
        try:
            written = os.write(self._file, lines)
            while written < len(lines):
                written += os.write(self._file, lines[written:])
        except OSError as error:
            whole = lines.count(b"\n", 0, written)
            self.sequence += whole
            self.lost += count - whole
            self._failure = (
                f"{self.path}: event {self.sequence} could not be written ({error.strerror or error}); "
                "free space on the disk that holds the runs, and run again"
            )
            raise BenchError(self._failure) from error
        self.sequence += count

    def check(self) -> None:
        """Say whether everything was written.

        Raises:
            BenchError: events were lost, and how many.
        """
        if self._failure is not None:
            raise BenchError(f"{self._failure} ({self.lost} events lost)")

    def sync(self) -> None:
        """Wait until the disk has it: what a power cut then leaves."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Torn(NamedTuple):
    """A journal as it was read back.

    Attributes:
        events: every whole line.
        tail: what stood after the last whole line; empty unless a kill tore a write.
    """

    events: list[Event]
    tail: bytes


def read_journal(path: Path) -> Torn:
    """Read a journal back, torn or whole.

    Raises:
        BenchError: it cannot be read, a line before the last is damaged, or sequence numbers have a gap.
    """
    try:
        whole, _, tail = path.read_bytes().rpartition(b"\n")
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror or error}): is this a run's?") from error
    lines = whole.split(b"\n") if whole else []
    try:
        raw = json.loads(b"[" + b",".join(lines) + b"]")
        if len(raw) != len(lines):
            raise ValueError
    except ValueError:
        raw = [_line(path, number, line) for number, line in enumerate(lines, 1)]
    events: list[Event] = []
    for number, parts in enumerate(raw):
        if not (
            isinstance(parts, list) and len(parts) == 4 and parts[0] == number and isinstance(parts[2], str)
        ):
            raise BenchError(
                f"{path}:{number + 1}: {str(parts)[:80]} is no event {number}; "
                "allowed [sequence, rig time, kind, body], with sequence 0, 1, 2 ..."
            )
        sequence, rig_s, kind, body = parts
        if type(rig_s) is not float:
            rig_s = float(revive(rig_s))
        if kind != READING or type(body[1]) is not float:
            body = revive(body)
        events.append(Event(sequence, rig_s, kind, body))
    return Torn(events, tail)


def _line(path: Path, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise BenchError(
            f"{path}:{number}: {line[:80]!r} is no JSON ({error}); the journal was damaged"
        ) from error
