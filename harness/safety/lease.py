"""One run a rig: a lock on every wire's address, and what the last holder left behind.

The lock is the kernel's (``flock``), so it ends with its last holder; the test process hands it to its
guard, and both have to be gone before anybody else gets it. What stands beside the lock does not end with a
process: a rig that was energised and never verified safe, or that was found unsafe, stays closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import platform
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.clock import wall_time
from harness.errors import BenchError, Unsafe
from harness.rig.rig_file import CanWire, ModbusTcpWire, RigFile, VisaWire

SAFE = "safe"
ENERGISED = "energised"
UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a rig, and how it stands.

    Attributes:
        rig: its name.
        person: the account.
        host: the computer.
        pid: of the test process.
        since: wall-clock time, ISO 8601.
        run: the run's folder.
        state: ``safe``, ``energised`` or ``unsafe``.
        cause: why it is unsafe.
    """

    rig: str
    person: str
    host: str
    pid: int
    since: str
    run: str = ""
    state: str = SAFE
    cause: str = ""

    @property
    def text(self) -> str:
        """Who, where, since when."""
        return f"{self.person} on {self.host} (process {self.pid}) since {self.since}"


SHARED_STATE = Path("/var/lib/rackproof")
"""Where a computer with several accounts keeps the state of its rigs, once somebody has made that folder."""


def state_folder(name: str) -> Path:
    """Make and give a folder of what outlives a run on this computer; who may write it is the parent's.

    ``$XDG_STATE_HOME/rackproof`` where that is set, else ``/var/lib/rackproof`` where it is there, else
    ``~/.local/state/rackproof``, which other accounts do not see.

    Raises:
        BenchError: it cannot be made.
    """
    chosen = os.environ.get("XDG_STATE_HOME")
    folder = Path(chosen) / "rackproof" if chosen else SHARED_STATE
    if not chosen and not folder.is_dir():
        folder = Path.home() / ".local" / "state" / "rackproof"
    folder /= name
    with state_kept_in(folder):
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(folder.parent.stat().st_mode & 0o7777)
    return folder


@contextlib.contextmanager
def state_kept_in(place: Path) -> Iterator[None]:
    """Make a file or folder of that state, or change it, and say where and why if that cannot be.

    Raises:
        BenchError: the operating system refuses it.
    """
    try:
        yield
    except OSError as error:
        raise BenchError(
            f"{place}: cannot be written: {error.strerror or error}; the state of this computer's rigs is "
            f"kept there. Give {getpass.getuser()} the right to, or name another folder in XDG_STATE_HOME, "
            "the same for all who use these rigs"
        ) from error


def _addresses(rig: RigFile) -> Mapping[str, str]:
    """Give each wire's physical address, by wire: two files of one rig have the same."""
    found = {}
    for name, wire in rig.wires.items():
        match wire:
            case CanWire():
                options = wire.options
                found[name] = (
                    f"can {wire.interface} {wire.channel} {options.get('host')} {options.get('port')}"
                )
            case ModbusTcpWire():
                found[name] = f"modbus {wire.host} {wire.port}"
            case VisaWire():
                found[name] = f"visa {wire.resource}"
    return found


class Lease:
    """A rig that is held. Make one by ``take``; ``close`` gives it back."""

    def __init__(self, holder: Holder, files: Mapping[Path, int]) -> None:
        self.holder = holder
        self._files = dict(files)

    @classmethod
    def take(
        cls,
        rig: RigFile,
        run: str = "",
        *,
        for_recovery: bool = False,
        to_read: Collection[str] | None = None,
    ) -> Lease:
        """Hold a rig.

        Args:
            rig: the rig file.
            run: the run's folder.
            for_recovery: take a rig that was left energised or unsafe, to make it safe.
            to_read: these wires and no others; None takes all.

        Raises:
            Unsafe: somebody else holds one of its wires, or the rig was not left safe.
            BenchError: the note beside a wire's lock cannot be written.
        """
        folder = state_folder("leases")
        holder = Holder(
            rig=rig.name,
            person=getpass.getuser(),
            host=platform.node(),
            pid=os.getpid(),
            since=wall_time().isoformat(timespec="seconds"),
            run=run,
        )
        files: dict[Path, int] = {}
        left: Holder | None = None
        try:
            for wire, address in sorted(_addresses(rig).items(), key=lambda item: item[1]):
                if to_read is not None and wire not in to_read:
                    continue
                path = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:24]}.json"
                file = _open(path)
                files[path] = file
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Unsafe(
                        f"rig {rig.name}: wire {wire} is held by {_read(file).text}; one run at a time. Wait "
                        "for its end, or stop it"
                    ) from None
                before = _read(file)
                if before.state != SAFE:
                    left = before
            if left is not None and not for_recovery:
                raise Unsafe(_not_safe(left))
        except BaseException:
            for file in files.values():
                os.close(file)
            raise
        lease = cls(replace(holder, state=left.state, cause=left.cause) if left else holder, files)
        lease.write(lease.holder.state, lease.holder.cause)
        return lease

    @property
    def descriptors(self) -> list[int]:
        """The locks, to be handed to the guard."""
        return list(self._files.values())

    @property
    def paths(self) -> list[str]:
        """The files, in the order of ``descriptors``."""
        return [str(path) for path in self._files]

    def adopted(self) -> dict[str, Any]:
        """What another process needs to hold this lease too."""
        return {"holder": asdict(self.holder), "files": dict(zip(self.paths, self.descriptors, strict=True))}

    @classmethod
    def adopt(cls, what: Mapping[str, Any]) -> Lease:
        """Hold a lease whose descriptors were inherited."""
        return cls(Holder(**what["holder"]), {Path(path): file for path, file in what["files"].items()})

    def write(self, state: str, cause: str = "") -> None:
        """Say how the rig stands; on the disk before this returns."""
        self.holder = replace(self.holder, state=state, cause=cause)
        line = json.dumps(asdict(self.holder)).encode()
        for file in self._files.values():
            os.pwrite(file, line + b"\n", 0)
            os.ftruncate(file, len(line) + 1)
            os.fsync(file)

    def leave(self, found: str, *, is_safe: bool) -> None:
        """Say what the verification of the safe state found: safe, or unsafe and what is live."""
        self.write(SAFE if is_safe else UNSAFE, "" if is_safe else found)

    def close(self) -> None:
        """Give the rig back. May be called twice."""
        for file in self._files.values():
            with contextlib.suppress(OSError):
                os.close(file)
        self._files.clear()


def clear(rig: RigFile, person: str) -> str:
    """Open a rig that was left unsafe, on a person's word; gives what it was closed for.

    Raises:
        Unsafe: nobody is named, somebody holds it, or it was never closed.
    """
    if not person.strip():
        raise Unsafe(f"rig {rig.name} cannot be cleared: --person is empty; name who answers for it")
    lease = Lease.take(rig, for_recovery=True)
    try:
        was = lease.holder
        if was.state == SAFE:
            raise Unsafe(f"rig {rig.name} is not closed: there is nothing to clear")
        lease.write(SAFE, f"cleared by {person}: was {was.state}: {was.cause}")
        return was.cause or was.state
    finally:
        lease.close()


def _open(path: Path) -> int:
    """Open a note; in a folder of a group, it is the group's."""
    with state_kept_in(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if path.parent.stat().st_mode & 0o020:
        with contextlib.suppress(PermissionError):  # it is another account's, who did this
            os.fchmod(file, 0o664)
    return file


def _read(file: int) -> Holder:
    """Read who held a rig last; a note that was not written to its end is no reason to believe in safety."""
    text = os.pread(file, 65536, 0)
    nobody = Holder(rig="of this wire", person="nobody", host=platform.node(), pid=0, since="ever")
    if not text:
        return nobody
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return replace(nobody, person="somebody whose note is damaged", state=ENERGISED)


def _not_safe(left: Holder) -> str:
    if left.state == UNSAFE:
        return (
            f"rig {left.rig} was left UNSAFE by {left.text}: {left.cause}. Nothing runs on it until a "
            "person has seen to it: 'rackproof safe RIG' tries to make it safe, 'rackproof clear RIG "
            "--person NAME' opens it"
        )
    return (
        f"rig {left.rig} was left energised by {left.text}, and nobody verified that it is safe: "
        "run 'rackproof safe RIG' first"
    )
