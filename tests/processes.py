"""pytest and rackproof as a user starts them: real processes, each with a home of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.record.logbook import public_key_hex, verify
from harness.record.record import Record, read_document, record_of

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[1]
LAB1 = REPOSITORY / "fixtures" / "rigs" / "lab1.toml"
LFP_RACK = REPOSITORY / "fixtures" / "products" / "lfp_rack.toml"
FOR_ALL_PLANS = (next(filter(re.compile("plans = ").match, LAB1.read_text().splitlines())), "plans = []")
"""The change that makes a copy of lab1 a rig for plans that a test writes."""
LONGEST_S = 240.0
"""Of any process here, in real time, on a machine that is busy with something else: a bound, not a wait."""
GUARD_ENDS_WITHIN_S = 60.0
"""After the death of the test process: the safe state of a rig that answers to nobody takes half of it."""
CHANGE_WHAT_IS_SAID = {
    *("BUILD_NUMBER", "CI"),
    *("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
}
"""By these pytest and rich say the same in another way: where CI is set, for one, pytest's short summary
repeats every message whole."""
SERVED = "stop with Ctrl-C\n"
"""The last line that ``rackproof emulate`` says before it serves."""


def inherited() -> dict[str, str]:
    """Give the environment of a test's processes: the caller's, less what would change what is tested."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in CHANGE_WHAT_IS_SAID and not name.startswith(("PYTEST_", "COV_", "RACKPROOF"))
    }


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str
    runs: Path

    @property
    def said(self) -> str:
        return self.out + self.err

    @property
    def folder(self) -> Path:
        """Of the one run that it made."""
        folders = run_folders(self.runs)
        assert len(folders) == 1, f"{len(folders)} runs where one was expected:\n{self.said}"
        return folders[0]

    @property
    def record(self) -> Record:
        return record_of(read_document(self.folder / "record.json"))

    @property
    def verdicts(self) -> dict[str, str]:
        return {plan.plan: plan.verdict for plan in self.record.plans}

    @property
    def messages(self) -> dict[str, str]:
        return {plan.plan: plan.message for plan in self.record.plans}


def run_folders(runs: Path) -> list[Path]:
    return sorted(each for each in runs.glob("*") if each.is_dir() and not each.is_symlink())


@dataclass
class Home:
    """A folder that a user's processes keep their state, keys and runs in."""

    path: Path
    count: int = 0
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = inherited() | {
            "XDG_STATE_HOME": str(self.path / "state"),
            "XDG_CONFIG_HOME": str(self.path / "config"),
        }

    def start(
        self, *command: object, cwd: Path = REPOSITORY, terminal: int | None = None, stdin: int | None = None
    ) -> subprocess.Popen[str]:
        """Start a module of Python's, its output piped, or on a terminal's descriptor."""
        return subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", *map(str, command)],
            cwd=cwd,
            env=self.environment,
            stdin=stdin or (subprocess.DEVNULL if terminal is None else terminal),
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.PIPE if terminal is None else terminal,
            text=True,
        )

    def pytest_command(self, *arguments: object) -> tuple[tuple[object, ...], Path]:
        """Give a pytest command with a folder of runs of its own, and that folder."""
        self.count += 1
        runs = self.path / f"runs{self.count}"
        options = ("-p", "no:cacheprovider") if not any("cache_dir" in str(a) for a in arguments) else ()
        return ("pytest", *arguments, *options, f"--runs={runs}", "--no-live"), runs

    def pytest(self, *arguments: object, cwd: Path = REPOSITORY, longest_s: float = LONGEST_S) -> Ended:
        """Run pytest to its end."""
        command, runs = self.pytest_command(*arguments)
        return finish(self.start(*command, cwd=cwd), runs, longest_s)

    def plans(self, text: str) -> tuple[object, ...]:
        """Write plans of a test's own; gives pytest's arguments that run them by the project's settings."""
        folder = self.path / "plans"
        folder.mkdir(exist_ok=True)
        (folder / "test_own.py").write_text(text)
        return "-c", REPOSITORY / "pyproject.toml", folder

    def wrong_with(self, folder: Path) -> tuple[str, ...]:
        """What verification finds wrong with a run, where this home's station is trusted and no other.

        As ``rackproof verify``, without a process, which takes longer than the verification.
        """
        pem = (self.path / "config" / "rackproof" / "station_ed25519.pem").read_bytes()
        key = serialization.load_pem_private_key(pem, password=None)
        assert isinstance(key, Ed25519PrivateKey)
        return verify(folder, {public_key_hex(key)})

    def rackproof(self, *arguments: object, cwd: Path = REPOSITORY, longest_s: float = LONGEST_S) -> Ended:
        """Run ``rackproof`` to its end."""
        return finish(self.start("harness.cli", *arguments, cwd=cwd), self.path / "runs", longest_s)


def changed(source: Path, target: Path, *changes: tuple[str, str]) -> Path:
    """Copy a file with each of some pieces replaced, which must be there."""
    text = source.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    target.write_text(text)
    return target


def finish(process: subprocess.Popen[str], runs: Path, longest_s: float = LONGEST_S) -> Ended:
    """Wait for a process to end by itself."""
    try:
        out, err = process.communicate(timeout=longest_s)
    except subprocess.TimeoutExpired:
        out, err = kill(process)
        raise AssertionError(f"{process.args} did not end within {longest_s:g} s:\n{out}\n{err}") from None
    return Ended(process.returncode, out, err, runs)


def kill(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Kill a process; gives what it and its guard said, which ends by itself after it.

    Raises:
        AssertionError: its guard goes on.
    """
    process.kill()
    try:
        return process.communicate(timeout=GUARD_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        raise AssertionError(
            f"{process.args} was killed, and its guard goes on after {GUARD_ENDS_WITHIN_S:g} s; "
            f"said so far: {error.output!r} {error.stderr!r}"
        ) from None


def until_served(process: subprocess.Popen[str]) -> str:
    """Wait until a ``rackproof emulate`` serves; gives what it said."""
    assert process.stdout is not None
    said = ""
    while not said.endswith(SERVED):
        line = process.stdout.readline()
        assert line, f"{process.args} ended before it served:\n{said}\n{process.communicate()}"
        said += line
    return said


def drill(process: subprocess.Popen[str], words: str) -> None:
    """Do something to the rig of a ``rackproof emulate --drill``, and wait until it is done."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(words + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == f"done: {words}\n"


def wait_until(
    process: subprocess.Popen[str], holds: Callable[[], bool], longest_s: float = LONGEST_S
) -> None:
    """Wait until something holds that a running process brings about."""
    step_s = 0.02
    for _ in range(int(longest_s / step_s)):
        if holds():
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(step_s)
            out, err = process.communicate()
            raise AssertionError(f"{process.args} ended too early, with {process.returncode}:\n{out}\n{err}")
    raise AssertionError(f"nothing of what {process.args} was to bring about within {longest_s:g} s")


def side_by_side(works: Sequence[Callable[[], T]], count: int = 2) -> list[Future[T]]:
    """Begin all, so many at a time: as the smallest machine has cores, or more where they mostly wait."""
    pool = ThreadPoolExecutor(count)
    futures = [pool.submit(work) for work in works]
    pool.shutdown(wait=False)
    return futures


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep the machine busy with endless loops in processes of their own."""
    endless = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
    loops = [subprocess.Popen([sys.executable, "-c", endless]) for _ in range(count)]  # noqa: S603 - the line above
    try:
        yield
    finally:
        for each in loops:
            each.kill()
        for each in loops:
            each.wait()
