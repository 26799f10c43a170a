"""The guard: a process that outlives the test process, and brings the rig to its safe state when that ends.

It holds the bench's own sensors and the safety chain, watches the envelope, and listens to the test process.
When that process ends in any way, is silent, computes for too long, or asks for the end, and when a limit is
passed, the guard fences it off, takes the wires over, carries the recipe out, verifies, and writes its own
journal.

    test process                               guard
      beat, plan, excused, finish, released ->
                                    <- ready, beat, trip, outcome

The protocol is one JSON object a line on a pair of sockets. ``python -m harness.safety.guard FD`` is started
by ``harness.safety.guard_link`` and by nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.clock import WallLoop, go_before_others, now_s, wall_time
from harness.errors import BenchError, RackproofError
from harness.readings import Reading
from harness.record.journal import GUARD_JOURNAL, Journal
from harness.rig.bench import Bench, Setup, reach
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile
from harness.safety.interlock import Breach, Interlock, watched_devices
from harness.safety.lease import ENERGISED, Lease
from harness.safety.recovery import open_what_answers
from harness.safety.safe_state import MakeSafe, Outcome, contactor_closes_within_s
from harness.safety.unsafe import HEADLINE, unsafe_lines
from harness.safety.watch import armed_watchdogs, disarm_watchdogs, fed_watchdog, watching

RELEASE_WITHIN_S = 0.5
"""How long a living test process has to let go of its wires after a breach; then it is killed. Ours: a
thread's turn takes milliseconds, and the converter is told to cease meanwhile."""

FENCED_WITHIN_S = 5.0
"""How long a killed process may take to be gone: the kernel frees its memory first; ours."""

FIRST_VALUES_WITHIN_S = 5.0
"""How long the sensors may take to say something once the guard listens: several of their periods; ours."""

_LOOKS_A_HEARTBEAT = 10.0
"""At the signs of life, within the silence that is allowed: it is found a tenth late at most; ours."""

_LOOK_S = 0.02
"""Between two looks at what is waited for while nothing is energised; ours."""

_LINE_LIMIT = 1 << 22
"""Longest message: rig and product files, a hundred times over."""


class Guard:
    """The guard of one run."""

    def __init__(self, config: Mapping[str, Any], say: Callable[[Mapping[str, Any]], None]) -> None:
        self._rig = RigFile.model_validate_json(config["rig"])
        self._product = ProductFile.model_validate_json(config["product"])
        self._lease = Lease.adopt(config["lease"])
        self._folder = Path(config["folder"])
        self._say_to_run = say
        self._journal = Journal(self._folder / GUARD_JOURNAL)
        self._setup = Setup(
            rig=self._rig,
            product=self._product,
            f0_hz=float(config["f0_hz"]),
            observe=self._observe,
            note=self._command,
        )
        self._bench = Bench(self._setup, None)
        self._stack = contextlib.AsyncExitStack()
        self._interlock: Interlock | None = None
        self._settings: dict[str, float] = dict(config["settings"])
        self._fired: asyncio.Future[Breach] = asyncio.get_running_loop().create_future()
        self._released = asyncio.Event()
        self._run = _RunProcess(config["pid"])
        self._beat_s = now_s()
        self._plan = ""
        self._loop_age_s = 0.0
        self.has_watched = False
        self._first_command_s: float | None = None

    # What it hears

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take a message of the test process."""
        match message:
            case {"beat": age_s, "plan": plan}:
                self._beat_s = now_s()
                self._loop_age_s, self._plan = age_s, plan
                self._say_to_run({"beat": self._beat_s})
            case {"excused": devices}:
                if self._interlock is not None:
                    self._interlock.excuse(devices, now_s())
            case {"released": _}:
                self._released.set()
            case {"finish": _}:
                self._released.set()
                self._fire(Breach("command", "the run's end", now_s()))
            case _:
                self._write("unknown message", {"keys": sorted(message)})

    def hear_end(self) -> None:
        """Take the end of the connection: the test process is gone, or about to be."""
        self._fire(Breach("run", "the end of the test process", now_s()))

    def told_to(self, why: str) -> None:
        """Go to the safe state because somebody said so."""
        self._fire(Breach("command", why, now_s()))

    def _observe(self, *readings: Reading[Any]) -> None:
        interlock = self._interlock
        if interlock is not None:
            for reading in readings:
                interlock.observe(reading)
            if interlock.breach is not None:
                self._fire(interlock.breach)

    def _command(self, command: str, at_s: float, asked: object) -> None:
        if self._fired.done() and self._first_command_s is None:
            self._first_command_s = now_s()
        self._write("command", {"command": command, "asked": asked}, at_s)

    def take_failure(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Take an error that nobody caught."""
        self.fail(context.get("exception") or context.get("message"))

    def fail(self, error: object) -> None:
        """Make the rig safe: a guard that does not know what it does is none."""
        self._fire(Breach("guard", f"the guard itself failed: {type(error).__name__}: {error}", now_s()))

    def _fire(self, breach: Breach) -> None:
        if not self._fired.done():
            self._fired.set_result(breach)

    # Its life

    async def serve(self) -> Outcome:
        """Open what is watched, watch until something ends it, make the rig safe; gives what came of it."""
        self._journal.open()
        self._journal.event("guard", {"pid": os.getpid(), "run": self._run.pid}, now_s())
        async with self._stack:
            try:
                await self._open_eyes()
            except RackproofError as error:
                return self._refuse(error)
            be_prompt()  # now that all it needs is loaded
            self._lease.write(ENERGISED)
            assert self._interlock is not None
            async with watching(self._bench, self._interlock, self._fire), contextlib.AsyncExitStack() as fed:
                try:
                    await self._enable(fed)
                except RackproofError as error:
                    return await self._take_back(error)
                self.has_watched = True
                self._say_to_run({"ready": True})
                pulse = asyncio.create_task(self._feel_pulse(), name="pulse")
                try:
                    breach = await self._fired
                finally:
                    pulse.cancel()
            # Whatever watches may have failed itself: from here on nobody asks but the recipe.
            return await self._make_safe(breach)

    def _refuse(self, error: RackproofError) -> Outcome:
        """Say that nothing may be energised; nothing was."""
        self._write("refused", str(error))
        self._say_to_run({"refused": str(error)})
        return Outcome(str(error), is_safe=True)

    async def _take_back(self, error: RackproofError) -> Outcome:
        """Undo what was enabled; the run, which commanded nothing yet, keeps its wires and hears why."""
        maker = MakeSafe(self._bench, "guard", f"the rig could not be enabled: {error}", self._write)
        outcome = await maker.run({})
        await disarm_watchdogs(self._bench)
        self._lease.leave(outcome.text, is_safe=outcome.is_safe)
        self._say_to_run({"refused": str(error)})
        return outcome

    async def _open_eyes(self) -> None:
        """Open the devices that are the guard's own or shared, and wait until each sensor has spoken."""
        rig = self._rig
        watched = watched_devices(rig)
        for name, device in rig.devices.items():
            wire = rig.wires[device.wire]
            is_free = device.protective or wire.sharing == "shared"
            if name in watched and not is_free:
                raise BenchError(
                    f"{name}: the interlock reads it, and wire {device.wire} is exclusive to the test "
                    "process; mark the device protective, or the wire shared"
                )
            if is_free and device.role != "fault_inserter":
                await reach(name, self._bench, self._stack)
        self._interlock = Interlock(rig, now_s())
        async with watching(self._bench, self._interlock, self._fire):
            end_s = now_s() + FIRST_VALUES_WITHIN_S
            while (unseen := self._interlock.unseen) and not self._fired.done():
                if now_s() >= end_s:
                    raise BenchError(f"the guard's sensors are silent: {', '.join(unseen)}")
                await asyncio.sleep(_LOOK_S)
        if self._fired.done():
            raise BenchError(f"the rig is not to be energised: {self._fired.result().text}")

    async def _enable(self, fed: contextlib.AsyncExitStack) -> None:
        """Arm the hardware layers, then close the safety chain: from here on outputs may be switched on.

        Args:
            fed: until its end the layers are fed.
        """
        await fed.enter_async_context(armed_watchdogs(self._bench, self._fire))
        chain = self._rig.topology.safety_chain
        if chain is None:
            return
        device = self._bench.devices[chain.device]
        await device.set_output(chain.chain, is_on=True)
        await device.set_output(chain.battery_enable, is_on=True)
        within_s = contactor_closes_within_s(self._product)
        end_s = now_s() + within_s
        while not (await device.inputs()).value.get(chain.contactor_feedback):
            if now_s() >= end_s:
                raise BenchError(
                    f"{chain.device}.{chain.contactor_feedback} is off {within_s:.3g} s after "
                    f"{chain.battery_enable} was driven: the battery's contactor did not close"
                )
            await asyncio.sleep(0.05)

    async def _feel_pulse(self) -> None:
        part = self._rig.interlock
        assert part is not None
        while True:
            await asyncio.sleep(part.heartbeat_s / _LOOKS_A_HEARTBEAT)
            silent_s = now_s() - self._beat_s
            if silent_s > part.heartbeat_s:
                self._fire(
                    Breach(
                        "run",
                        f"silence of the test process for {silent_s:.2f} s in {self._plan or 'no plan'}",
                        now_s(),
                    )
                )
            if self._plan and self._loop_age_s > part.loop_hang_s:
                self._fire(
                    Breach(
                        "run",
                        f"{self._plan}: its loop had no turn for {self._loop_age_s:.2f} s, it hangs",
                        now_s(),
                    )
                )

    # The way to safe

    async def _make_safe(self, breach: Breach) -> Outcome:
        begin_s = now_s()
        self._write("breach", asdict(breach), begin_s)
        # The chain must not drop under load meanwhile. What takes power to zero by itself may do so.
        chain = self._rig.topology.safety_chain
        layers = self._rig.safe_state.hardware_layers if self._rig.safe_state else {}
        async with contextlib.AsyncExitStack() as kept:
            for name, layer in layers.items():
                if chain and layer.device == chain.device:
                    await kept.enter_async_context(fed_watchdog(self._bench, name, layer, self._fire))
            fenced = await self._take_over(breach)
            maker = MakeSafe(self._bench, breach.cause, breach.text, self._write)
            outcome = await maker.run(self._settings)
        latency_s = None if self._first_command_s is None else self._first_command_s - breach.at_s
        self._write(
            "outcome",
            {
                "is_safe": outcome.is_safe,
                "text": outcome.text,
                "latency_s": latency_s,
                "took_s": now_s() - begin_s,
                "fence": fenced,
            },
        )
        await disarm_watchdogs(self._bench)
        self._lease.leave(outcome.text, is_safe=outcome.is_safe)
        self._say_to_run(
            {
                "outcome": outcome.text,
                "is_safe": outcome.is_safe,
                "live": outcome.live,
                "cause": breach.cause,
                "settings": outcome.settings,
                "took_s": now_s() - begin_s,
            }
        )
        return outcome

    async def _take_over(self, breach: Breach) -> str:
        """Fence the test process, cease, and open what it held; says how it was fenced.

        Ceasing waits for nothing but the fence: to open an instrument that hangs takes seconds.
        """
        ceasing = None
        if breach.cause != "run" and not self._released.is_set():
            # What the guard holds acts at once; the wires of the test process come with the fence.
            ceasing = asyncio.create_task(self._cease_at_once(), name="cease")
            self._say_to_run({"trip": breach.text})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_WITHIN_S):
                    await self._run.ended_or(self._released)
        fenced = await self._fence()
        ceasing = ceasing or asyncio.create_task(self._cease_at_once(), name="cease")
        # What does not open is missing, and the recipe says so.
        await open_what_answers(self._bench, self._stack, self._write)
        await ceasing
        return fenced

    async def _cease_at_once(self) -> None:
        with contextlib.suppress(RackproofError):
            await self._bench.role("inverter").turn_off()

    async def _fence(self) -> str:
        """Make sure that the test process commands nothing any more."""
        if self._released.is_set():
            return "released"
        if self._run.has_ended:
            return "ended"
        self._run.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FENCED_WITHIN_S):
                await self._run.ended_or(None)
        return "killed" if self._run.has_ended else "killed, and still there"

    def _write(self, kind: str, body: object, at_s: float | None = None) -> None:
        """Write to the journal; a full disk must not stand between a rig and its safe state."""
        with contextlib.suppress(BenchError):
            self._journal.event(kind, body, now_s() if at_s is None else at_s)

    @property
    def is_alone(self) -> bool:
        """Whether nobody else is left to tell a person what happened."""
        return self._run.has_ended

    def close(self) -> None:
        """Close journal and lease."""
        self._journal.close()
        self._lease.close()

    async def seal_for_the_dead(self) -> None:
        """Wait for the end of the test process, and seal its run if it could not."""
        from harness.record.run import seal_folder  # noqa: PLC0415 - numpy and pyarrow load after the rig is safe

        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        await self._run.ended_or(None)
        if not (self._folder / "logbook.json").exists():
            with contextlib.suppress(BenchError, OSError):
                seal_folder(self._folder, wall_time())
                print(
                    f"guard: the run is sealed; 'rackproof seal {self._folder}' draws its page",
                    file=sys.stderr,
                    flush=True,
                )


class _RunProcess:
    """The test process, by its pidfd: a number that is used again can never be meant."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = asyncio.Event()
        try:
            self._file = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended.set()
            return
        asyncio.get_running_loop().add_reader(self._file, self._take_end)

    def _take_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._file)
        self._ended.set()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._file, signal.SIGKILL)

    async def ended_or(self, other: asyncio.Event | None) -> None:
        """Wait for its end, or for something else."""
        waits = [asyncio.create_task(each.wait()) for each in (self._ended, other) if each is not None]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def _main(link: socket.socket) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=link, limit=_LINE_LIMIT)

    def say(message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            writer.write(json.dumps(message).encode() + b"\n")

    config = json.loads(await reader.readline())
    guard = Guard(config, say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, guard.told_to, f"{number.name} to the guard")
    loop.set_exception_handler(guard.take_failure)
    ears = asyncio.create_task(_listen(reader, guard), name="ears")
    try:
        outcome = await guard.serve()
    finally:
        ears.cancel()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.drain()
    guard.close()
    for line in last_words(outcome, json.loads(config["rig"])["name"], is_alone=guard.is_alone):
        print(line, file=sys.stderr, flush=True)
    gc.enable()
    if guard.has_watched:
        await guard.seal_for_the_dead()
    writer.close()
    return 0 if outcome.is_safe else 1


def last_words(outcome: Outcome, rig: str, *, is_alone: bool) -> list[str]:
    """Write for the terminal what came of it: all of it where no run is left that does."""
    if outcome.is_safe:
        return [f"guard: rig {outcome.text}"] if is_alone or outcome.settings else []
    if not is_alone:
        return [f"guard: {HEADLINE}"]
    return [f"guard: after {outcome.cause}", *unsafe_lines(tuple(outcome.live), rig)]


def be_prompt() -> None:
    """Let nothing of this process's own come in between a frame and the command that it causes.

    The collector would stop everything for tens of milliseconds. Before other processes, where we may.
    """
    gc.freeze()
    gc.disable()
    go_before_others()


async def _listen(reader: asyncio.StreamReader, guard: Guard) -> None:
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            try:
                guard.hear(json.loads(line))
            except Exception as error:  # noqa: BLE001 - whatever it was, the run may mean what was not understood
                guard.fail(error)
    guard.hear_end()


def _run(work: Callable[[], Coroutine[Any, Any, int]], origin_s: float) -> int:
    with asyncio.Runner(loop_factory=lambda: WallLoop(origin_s)) as runner:
        return runner.run(work())


def main() -> int:
    """Guard the run whose socket was inherited."""
    link = socket.socket(fileno=int(sys.argv[1]))
    return _run(lambda: _main(link), float(sys.argv[2]))


if __name__ == "__main__":
    sys.exit(main())
