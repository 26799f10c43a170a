"""The test process's end of the guard: starts it, shows it signs of life, hears what it found."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TextIO

from harness.clock import WallLoop, real_s
from harness.errors import BenchError, Unsafe
from harness.rig.bench import Setup
from harness.safety.lease import Lease
from harness.safety.safe_state import contactor_closes_within_s, safe_within_s

READY_WITHIN_S = 20.0
"""A Python process, its devices and the sensors' first values, on a busy machine; then the battery closes."""

REOPENS_WITHIN_S = 30.0
"""How long the guard may take to open what this process let go of, before it makes the rig safe: the longest
time-outs of a rig in a row; ours."""

ENDS_WITHIN_S = 10.0
"""A guard that never became ready: it closes its devices, and is killed if even that hangs."""

BEATS_A_HEARTBEAT = 5.0
"""Beats within the silence that the guard allows. It answers each, and counts as gone after as many without
one: counted in beats, a stall of this process is none of the guard's."""

_LOOP_LOOK_S = 0.05
"""Between two signs of life of the loop: a hundredth of the hang that a rig file usually looks for; ours."""

_OURS = str(Path(__file__).parents[2])
"""The folder that this process's harness is in."""


class GuardLink:
    """A guard that was started for this process. A thread of its own speaks and hears; plans cannot delay it.

    Attributes:
        tripped: what the guard found; empty while all is well.
        is_dead: whether it died without a word, or was silent and killed: nobody but the run is left to make
            the rig safe.
        outcome: what came of the safe state, once the guard said so.
    """

    def __init__(self, on_trip: Callable[[str], None], terminal: TextIO | None = None) -> None:
        """Prepare.

        Args:
            on_trip: called in the link's thread, once.
            terminal: where the guard speaks to people; standard error if None, which pytest captures, and
                what is captured dies with the test process.
        """
        self._terminal = terminal
        self.tripped = ""
        self.is_dead = False
        self.outcome: Mapping[str, Any] | None = None
        self._on_trip = on_trip
        self._plan = ""
        self._looked_s = real_s()
        self._word = threading.Event()
        self._over = threading.Event()
        self._refused = ""
        self._is_ready = False
        self._is_finishing = False
        self._unanswered = 0
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._period_s = 0.2
        self._outcome_within_s = 0.0
        self._threads: list[threading.Thread] = []

    def start(
        self, loop: WallLoop, setup: Setup, folder: Path, lease: Lease, settings: Mapping[str, float]
    ) -> None:
        """Start the guard, and wait until it watches and the safety chain is closed.

        Args:
            loop: of the plans.
            setup: rig and product.
            folder: the run's.
            lease: of the rig.
            settings: the product's, as they were found: what the guard leaves behind too.

        Raises:
            Unsafe: it says that the rig must not be energised, it died, or it is not ready in time.
        """
        rig, product, f0_hz = setup.rig, setup.product, setup.f0_hz
        assert rig.interlock is not None
        near, far = socket.socketpair()
        self._socket = near
        self._period_s = rig.interlock.heartbeat_s / BEATS_A_HEARTBEAT
        self._outcome_within_s = REOPENS_WITHIN_S + safe_within_s(rig, product)
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            # Of this process's own harness, and of nothing that lies about in the folder where it started.
            [sys.executable, "-P", "-m", "harness.safety.guard", str(far.fileno()), repr(loop.origin_s)],
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(filter(None, [_OURS, os.environ.get("PYTHONPATH")]))},
            pass_fds=(far.fileno(), *lease.descriptors),
            # Ctrl-C in the terminal goes to the whole group; the guard answers to the run alone.
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stderr=None if self._terminal is None else _descriptor(self._terminal),
        )
        far.close()
        self._send(
            {
                "rig": rig.model_dump_json(),
                "product": product.model_dump_json(),
                "f0_hz": f0_hz,
                "folder": str(folder.resolve()),
                "pid": os.getpid(),
                "lease": lease.adopted(),
                "settings": dict(settings),
            }
        )
        for name, work in (("guard", self._hear), ("heartbeat", self._beat)):
            self._threads.append(threading.Thread(target=work, name=name, daemon=True))
            self._threads[-1].start()
        ready_within_s = READY_WITHIN_S + contactor_closes_within_s(product)
        has_word = self._word.wait(ready_within_s)
        if not self._is_ready:
            self.kill()
            if self._refused:
                raise Unsafe(f"rig {rig.name} must not be energised: {self._refused}")
            why = "it ended" if has_word else f"it said nothing within {ready_within_s:.3g} s"
            raise Unsafe(f"rig {rig.name} must not be energised: no guard stands beside it: {why}")
        loop.call_soon_threadsafe(self._look, loop)

    def _look(self, loop: WallLoop) -> None:
        """Note that the loop has a turn."""
        self._looked_s = real_s()
        if not self._over.is_set():
            loop.call_later(_LOOP_LOOK_S, self._look, loop)

    @property
    def is_alive(self) -> bool:
        """Whether the guard stands beside this run, and nothing tripped."""
        return self._is_ready and not self.tripped and not self._over.is_set()

    def plan(self, name: str) -> None:
        """Say which plan runs; empty between plans, where the loop stands still."""
        self._looked_s = real_s()
        self._plan = name

    def excuse(self, devices: Collection[str]) -> None:
        """Say which devices of the product are silenced on purpose."""
        self._send({"excused": sorted(devices)})

    def released(self) -> None:
        """Say that this process commands nothing any more, and has let go of every wire."""
        self._send({"released": True})

    def finish(self) -> Mapping[str, Any]:
        """Ask for the safe state at the run's end, all wires let go; gives what came of it.

        Raises:
            BenchError: the guard is gone, or says nothing in time.
        """
        self._is_finishing = True
        self._send({"finish": True})
        self._over.wait(self._outcome_within_s)
        if self.outcome is None:
            raise BenchError(
                "the guard is gone and gave no word of the safe state: "
                "look at the rig, then run 'rackproof safe RIG'"
            )
        return self.outcome

    def wait_for_outcome(self) -> Mapping[str, Any] | None:
        """Wait for what came of a trip; None where the guard died."""
        self._over.wait(self._outcome_within_s)
        return self.outcome

    def kill(self) -> None:
        """End a guard that never became ready."""
        self._over.set()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def close(self) -> None:
        """Stop speaking; the guard has ended or will end by itself."""
        self._over.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join(5.0)
            self._socket.close()
        if self._process is not None:
            # It waits for this process's end, to seal the run if this could not.
            self._process.returncode = self._process.poll() or 0

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._socket is not None
        with self._lock, contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _beat(self) -> None:
        while not self._over.wait(self._period_s):
            self._send({"beat": real_s() - self._looked_s, "plan": self._plan})
            self._unanswered += 1
            is_watching = self._is_ready and not self._is_finishing and not self.tripped
            if is_watching and self._unanswered > BEATS_A_HEARTBEAT:
                self._give_up_on(self._unanswered * self._period_s)

    def _give_up_on(self, silent_s: float) -> None:
        """Kill a guard that does not answer: should it wake up, two would command one rig."""
        assert self._process is not None
        self._process.kill()
        self.is_dead = True
        self._trip(f"the guard was silent for {silent_s:.1f} s, and was killed: the rig is no longer watched")
        self._over.set()

    def _hear(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError, ValueError), self._socket.makefile("rb") as lines:
            for line in lines:
                self._take(json.loads(line))
        if self._is_ready and not self._is_finishing and self.outcome is None and not self.tripped:
            self.is_dead = True
            self._trip("the guard died: the rig is no longer watched")
        self._over.set()
        self._word.set()

    def _take(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"beat": _}:
                self._unanswered = 0
            case {"ready": _}:
                self._unanswered = 0
                self._is_ready = True
                self._word.set()
            case {"refused": why}:
                self._refused = str(why)
            case {"trip": why}:
                self._trip(f"interlock: {why}")
            case {"outcome": _}:
                self.outcome = message
                if not self._is_finishing:
                    self._trip(f"made safe: {message['outcome']}")
                self._over.set()
            case _:
                pass

    def _trip(self, why: str) -> None:
        if not self.tripped:
            self.tripped = why
            self._on_trip(why)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except OSError:  # a stream in memory has none
        return None
