"""What every line carried: files that the field's own tools read, and a digest of the bytes in order.

CAN goes to Vector ASC (read back by python-can, SavvyCAN, CANoe); Modbus and SCPI go to text, one
message a line: rig time, direction, bytes. Times are rig times. Long files are packed when their line closes
(``.asc.gz``, ``.txt.gz``): python-can reads them as they are, and ``zless`` and ``zgrep`` do.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

_ASC_HEAD = "date Thu Jan 01 12:00:00.000 am 1970\nbase hex  timestamps absolute\nno internal events logged\n"

_TOGETHER = 1024
"""Pieces that are spelled and written together: a thousand cost a third of what each costs alone."""


def _frame(at_s: float, arbitration_id: int, data: bytes, is_extended: bool) -> str:
    name = f"{arbitration_id:X}x" if is_extended else f"{arbitration_id:X}"
    return f"{at_s:11.6f} 1  {name:<15} Rx   d {len(data)} {data.hex(' ').upper()}\n"


def _message(at_s: float, sent: bool, data: bytes) -> str:
    return f"{at_s:.6f} {'>' if sent else '<'} {data.hex()}\n"


def _text(at_s: float, sent: bool, data: bytes) -> str:
    shown = (
        data.decode("ascii")
        if data.isascii() and len(data) < 4096
        else f"#{len(data)} bytes {data[:64].hex()} SHA-256 {hashlib.sha256(data).hexdigest()}"
    )
    shown = shown.rstrip("\r\n").replace("\n", "\\n")
    return f"{at_s:.6f} {'>' if sent else '<'} {shown}\n"


LONG_BYTES = 1_000_000
"""A file beyond this is packed when its line closes; ours, about an hour of a busy line."""


def _pack(path: Path) -> None:
    """Pack a long file with gzip at level 1: a tenth of its size, for 4 ms a megabyte.

    While a line is open its file stays as it is: it can be followed, and a kill leaves it whole.
    """
    if path.stat().st_size <= LONG_BYTES:
        return
    packed, partial = path.with_name(f"{path.name}.gz"), path.with_name(f".{path.name}.gz")
    try:
        # No time and no name in its head: equal texts make equal files.
        with (
            path.open("rb") as source,
            partial.open("wb") as target,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=target, mtime=0) as stream,
        ):
            shutil.copyfileobj(source, stream, 1 << 20)
        partial.replace(packed)
        path.unlink()
    except OSError:  # no room: the long file is as good
        partial.unlink(missing_ok=True)


class LineTraffic:
    """The traffic of one line.

    Args:
        name: of the wire.
        folder: where the file goes; None keeps the digest alone.
        is_can: whether frames or messages travel.
    """

    def __init__(self, name: str, folder: Path | None, *, is_can: bool) -> None:
        self.name = name
        self.count = 0
        self._gathered: list[tuple[Callable[..., str], tuple[object, ...]]] = []
        self._digest = hashlib.sha256()
        self._file: TextIO | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / f"{name}.{'asc' if is_can else 'txt'}").open("w", encoding="utf-8")
            if is_can:
                # Every plan's rig time starts at zero; the wall clock is in the logbook.
                self._file.write(_ASC_HEAD + "Begin Triggerblock Thu Jan 01 12:00:00.000 am 1970\n")
                self._file.write("   0.000000 Start of measurement\n")

    def frame(
        self, at_s: float, arbitration_id: int, data: bytes | bytearray, *, is_extended: bool = False
    ) -> None:
        """Log one CAN frame, whose data nobody changes afterwards."""
        self._gathered.append((_frame, (at_s, arbitration_id, data, is_extended)))
        if len(self._gathered) >= _TOGETHER:
            self.flush()

    def message(self, at_s: float, sent: bool, data: bytes) -> None:
        """Log the bytes of one write, or of one arrival."""
        self._gathered.append((_message, (at_s, sent, data)))
        if len(self._gathered) >= _TOGETHER:
            self.flush()

    def text(self, at_s: float, sent: bool, data: bytes) -> None:
        """Log one message of an instrument, readable where it is text."""
        self._gathered.append((_text, (at_s, sent, data)))
        if len(self._gathered) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Spell, digest and write what has been gathered."""
        if not self._gathered:
            return
        text = "".join([spell(*what) for spell, what in self._gathered])
        self.count += len(self._gathered)
        self._gathered.clear()
        self._digest.update(text.encode())
        if self._file is not None:
            self._file.write(text)

    def digest(self) -> str:
        """SHA-256 of all bytes, directions and rig times in their order."""
        self.flush()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Finish the file."""
        self.flush()
        if self._file is not None:
            if self._file.name.endswith(".asc"):
                self._file.write("End TriggerBlock\n")
            self._file.close()
            _pack(Path(self._file.name))
            self._file = None


class Traffic:
    """The traffic of all lines of one bench; lines ask for their own part by name."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self.lines: dict[str, LineTraffic] = {}

    def line(self, name: str, *, is_can: bool = False) -> LineTraffic:
        """Give the log of one line, made on first use."""
        if name not in self.lines:
            self.lines[name] = LineTraffic(name, self._folder, is_can=is_can)
        return self.lines[name]

    def digests(self) -> dict[str, str]:
        """Give each line's digest."""
        return {name: line.digest() for name, line in sorted(self.lines.items())}

    def close(self) -> None:
        """Finish all files."""
        for line in self.lines.values():
            line.close()
