"""Rig time: the running loop's ``time()``, which starts at zero. There is no other clock.

On hardware ``WallLoop`` lets it pass. Fully emulated, ``VirtualLoop`` moves it: when nothing is ready
to run and nothing is in flight, time jumps to the next timer; while bytes are in flight the loop waits
for them for real, and rig time stands still.

Two rules make a virtual run the same every time, whatever the load of the machine:

- **One message in the air.** Whatever is written while another message travels waits in line
  (``Ledger``), so the kernel never decides an order.
- **Bytes come last.** Sockets are only looked at when no callback is ready and no timer is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import resource
import select
import selectors
import signal
import time
import types
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from harness.errors import BenchError, ClockAlarm, Deadlock, Livelock, Overrun, RackproofError, Stall

T = TypeVar("T")
Address = tuple[Any, ...]

STALL_AFTER_REAL_S = 10.0
"""Real time without one byte moving after which bytes in flight count as lost; loopback under six
busy loops was seen to take 0.2 s."""

NO_PAUSE_FOR_S = 2.0
"""After which a thread that goes before others has gone astray. The kernel leaves 5 % to all ordinary
processes together (sched(7)), which is too little to stop it."""

_RLIMIT_RTTIME = 15
"""setrlimit(2): CPU time in us without a blocking call, under a real-time policy. Python does not name it."""

LIVELOCK_AFTER_TURNS = 1_000_000
"""Turns of the loop in one instant. An exchange takes about a dozen: 80,000 of them fit."""


def now_s() -> float:
    """Rig time of the running loop."""
    return get_running_loop().time()


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run ``work`` here and now as far as it goes; a task does the rest, None where there is no rest.

    What answers without waiting then costs no task and no turn of the loop, and a virtual run is made of
    such answers. Up to its first wait ``work`` has no task of its own (``asyncio.timeout`` asks for one).
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    return asyncio.get_running_loop().create_task(_rest(work, waits_for))


@types.coroutine
def _rest(work: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that waits for something already."""
    while True:
        try:
            value = yield waits_for
        except BaseException as error:  # noqa: BLE001 - a cancellation too is for the work to see
            step = partial(work.throw, error)
        else:
            step = partial(work.send, value)
        try:
            waits_for = step()
        except StopIteration:
            return


class Cycle:
    """Does something at exact multiples of a period of rig time.

    It acts at ``start_s``, and at ``start_s + n * period_s`` until it is stopped; past times are left out.

    Each time is computed from the start, so nothing drifts and no rounding adds up. What an act raises ends
    the cycle, and is raised again by ``check`` and ``stop``.

    Args:
        period_s: in rig time.
        start_s: rig time of the first act.
        act: called by the loop itself: a task that wakes up for it would cost two more turns of the loop.
    """

    def __init__(self, period_s: float, start_s: float, act: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._period_s = period_s
        self._start_s = start_s
        self._act = act
        self._count = 0
        self._error: Exception | None = None
        self._is_over = False
        self._timer = self._loop.call_at(start_s, self._due)

    def _due(self) -> None:
        try:
            self._act()
        except Exception as error:  # noqa: BLE001 - told to whoever asks next
            self._error = error
            self._is_over = True
        if self._is_over:
            return
        passed = int((self._loop.time() - self._start_s) / self._period_s)
        self._count = max(self._count, passed) + 1
        self._timer = self._loop.call_at(self._start_s + self._count * self._period_s, self._due)

    def check(self) -> None:
        """Raise what ended it, if anything did."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Act no more; raises as ``check`` does."""
        self._is_over = True
        self._timer.cancel()
        self.check()


def wall_time() -> datetime:
    """Wall-clock time with its zone, for logbooks and folders; never for a measurement."""
    return datetime.now().astimezone()


def go_before_others() -> None:
    """Run the main thread before ordinary processes, where the system lets us; what it starts is ordinary.

    For a process that is this alone, and mostly waits. Should it work without a pause after all, it goes on
    as an ordinary process: two that never pause would starve a machine of two cores.
    """

    def step_back(*_: object) -> None:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    with contextlib.suppress(OSError):
        signal.signal(signal.SIGXCPU, step_back)
        _, hard = resource.getrlimit(_RLIMIT_RTTIME)
        resource.setrlimit(_RLIMIT_RTTIME, (round(1e6 * NO_PAUSE_FOR_S), hard))
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(10))


def real_s() -> float:
    """Monotonic real time, for speed figures; never for a measurement."""
    return time.monotonic()


class LineFaults(Protocol):
    """What a line does to what it carries."""

    is_refusing: bool
    """Whether new connections are turned away."""

    def __call__(self, is_near: bool, data: bytes) -> Iterable[tuple[float, bytes]]:
        """Turn what one end says into what travels: (delay in s, bytes), or nothing."""


@dataclass(slots=True)
class Line:
    """A listening address that the ledger knows by the name of its wire."""

    name: str
    server: asyncio.Server | None = None
    faults: LineFaults | None = None
    ends: dict[End, None] = field(default_factory=dict)
    """In the order in which they joined: a set's would differ from run to run."""

    def cut(self) -> None:
        """Break every connection of the line at once."""
        for end in tuple(self.ends):
            if end.mouth is not None:
                end.mouth.abort()


@dataclass(slots=True, eq=False)
class End:
    """One end of a connection: what it sent that has not arrived yet."""

    ledger: Ledger
    here: Address
    there: Address
    line: Line | None
    is_near: bool
    peer: End | None = None
    mouth: Mouth | None = None
    in_flight: int = 0
    has_left: bool = False

    def __str__(self) -> str:
        name = self.line.name if self.line else f"{self.here[1]}->{self.there[1]}"
        return f"{name} ({'to' if self.is_near else 'from'} the device)"

    def travels(self, data: bytes) -> Iterable[tuple[float, bytes]]:
        """Give what becomes of a message once the line's faults have seen it: (delay in s, bytes)."""
        faults = self.line.faults if self.line is not None else None
        return ((0.0, data),) if faults is None else faults(self.is_near, data)

    def depart(self, count: int, send: Callable[[], object]) -> None:
        """Send ``count`` bytes as soon as the air is clear."""
        self.ledger.depart(self, count, send)

    def arrive(self, count: int) -> None:
        """Count bytes that this end has received."""
        peer = self.peer
        if peer is None:
            return
        if count > peer.in_flight:
            raise BenchError(
                f"{peer}: {count} bytes arrived and {peer.in_flight} were sent: the ledger is wrong"
            )
        self.ledger.land(peer, count)

    def arrive_all(self) -> None:
        """Count all that was under way: the far end has closed."""
        if self.peer is not None:
            self.ledger.land(self.peer, self.peer.in_flight)

    def close(self, close: Callable[[], object]) -> None:
        """Close this end; until the other end notices, one byte counts as in flight."""
        self.depart(1, close)

    def abort(self, abort: Callable[[], object]) -> None:
        """Break this end: what was under way to it is lost; the other end notices as with ``close``."""
        self.depart(1, abort)
        self.leave()

    def leave(self) -> None:
        """Forget this end, and write off what was under way to it."""
        if self.has_left:
            return
        self.has_left = True
        if self.line is not None:
            self.line.ends.pop(self, None)
        self.arrive_all()
        self.ledger.forget(self)


class Ledger:
    """Counts bytes in flight per direction, and keeps to one message in the air."""

    def __init__(self) -> None:
        self.ends: dict[tuple[Address, Address], End] = {}
        self.lines: dict[Address, Line] = {}
        self.pending = 0
        self.waiting: deque[tuple[End, int, Callable[[], object]]] = deque()
        self._errands: dict[str, int] = {}
        self._accepts: dict[Address, asyncio.Future[None]] = {}

    def join(self, here: Address, there: Address) -> End:
        """Add one end of a connection."""
        near = there in self.lines
        line = self.lines.get(there) or self.lines.get(here)
        end = End(self, here, there, line, near)
        self.ends[here, there] = end
        peer = self.ends.get((there, here))
        if peer is not None and not peer.has_left:
            end.peer, peer.peer = peer, end
        if line is not None:
            line.ends[end] = None
        if not near and (accepted := self._accepts.pop(there, None)) is not None and not accepted.done():
            accepted.set_result(None)
        return end

    async def accepted(self, near: Address, name: str) -> None:
        """Wait until the listening end has taken the connection that came from ``near``."""
        if any(there == near for _, there in self.ends):
            return
        self._accepts[near] = asyncio.get_running_loop().create_future()
        with self.errand(f"{name}: waiting to be accepted"):
            await self._accepts[near]

    def depart(self, end: End, count: int, send: Callable[[], object]) -> None:
        """Send now if the air is clear, else in turn."""
        if self.pending or self.waiting:
            self.waiting.append((end, count, send))
        else:
            self._launch(end, count, send)

    def _launch(self, end: End, count: int, send: Callable[[], object]) -> None:
        if end.peer is not None and not end.peer.has_left:
            end.in_flight += count
            self.pending += count
        send()

    def land(self, end: End, count: int) -> None:
        """Take ``count`` bytes of ``end``'s out of the air, and let the next message go."""
        end.in_flight -= count
        self.pending -= count
        if end.has_left:
            self.forget(end)
        while not self.pending and self.waiting:
            self._launch(*self.waiting.popleft())

    def forget(self, end: End) -> None:
        """Strike an end that has left and has nothing in flight any more."""
        if not end.in_flight and self.ends.get((end.here, end.there)) is end:
            del self.ends[end.here, end.there]

    @contextlib.contextmanager
    def errand(self, name: str) -> Generator[None, None, None]:
        """Hold rig time while something real is under way that is no byte: a connect, a thread."""
        self._errands[name] = self._errands.get(name, 0) + 1
        self.pending += 1
        try:
            yield
        finally:
            self._errands[name] -= 1
            if not self._errands[name]:
                del self._errands[name]
            self.pending -= 1
            while not self.pending and self.waiting:
                self._launch(*self.waiting.popleft())

    def who(self) -> str:
        """Name what is in flight, for an alarm."""
        flights = [f"{end}: {end.in_flight} bytes" for end in self.ends.values() if end.in_flight]
        return "; ".join([*flights, *self._errands]) or "nothing"


class Mouth(asyncio.Transport):
    """A transport whose writes and closes pass the ledger."""

    def __init__(self, transport: asyncio.Transport, end: End, loop: VirtualLoop) -> None:
        super().__init__()
        self._transport = transport
        self._end = end
        self._loop = loop
        self._closing = False
        end.mouth = self

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send in turn; the line's faults see it first."""
        if self._closing or not data:
            return
        for delay_s, piece in self._end.travels(bytes(data)):
            if delay_s > 0:
                self._loop.call_later(delay_s, self._send, piece)
            else:
                self._send(piece)

    def _send(self, data: bytes) -> None:
        if not self._closing:
            self._end.depart(len(data), lambda: self._transport.write(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send all pieces as one message."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Close in turn, behind what was written."""
        if not self._closing:
            self._closing = True
            self._end.close(self._transport.close)

    def abort(self) -> None:
        """Break the connection; what was under way to this end is lost."""
        self._closing = True
        self._end.abort(self._transport.abort)

    def is_closing(self) -> bool:
        """Whether close was called, or the far end went."""
        return self._closing or self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Ask the socket's own transport."""
        return self._transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pass to the socket's own transport."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Pass to the socket's own transport."""
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Pass to the socket's own transport."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Pass to the socket's own transport."""
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        """Pass to the socket's own transport."""
        return self._transport.is_reading()

    def can_write_eof(self) -> bool:
        """Half-closed connections are not modelled."""
        return False


class Ear(asyncio.Protocol):
    """Stands between a socket and its protocol, and counts what arrives."""

    def __init__(self, loop: VirtualLoop, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        self.mouth: Mouth | None = None
        self._loop = loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter the connection in the ledger."""
        here, there = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        self.end = self._loop.ledger.join(here, there)
        assert isinstance(transport, asyncio.Transport)
        self.mouth = Mouth(transport, self.end, self._loop)
        self.protocol.connection_made(self.mouth)

    def data_received(self, data: bytes) -> None:
        """Count, and pass on; what comes before an abort has had its turn is lost."""
        if not self.end.has_left:
            self.end.arrive(len(data))
            self.protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Count the far end's close, and pass on: some protocols keep a half-closed connection."""
        self.end.arrive_all()
        return self.protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle the ledger, and pass on."""
        self.end.leave()
        self.protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on."""
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self.protocol.resume_writing()


class _Ticker:
    """Calls something between two turns of the loop, a few times a real second (a live view)."""

    def __init__(self) -> None:
        self.call: Callable[[], None] | None = None
        self.period_s = 0.1
        self.next_s = 0.0

    def tick(self) -> None:
        if self.call is not None and (now := time.monotonic()) >= self.next_s:
            self.next_s = now + self.period_s
            self.call()


class _VirtualSelector(selectors.EpollSelector):
    """Looks at sockets only while something is in flight; otherwise moves rig time."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Give the events of what is in flight, or none after time has jumped."""
        loop = self.loop
        loop.ticker.tick()
        if timeout is not None and timeout <= 0:
            loop.turns += 1
            if loop.turns > loop.livelock_after_turns:
                loop.turns = 0
                loop.raise_alarm(
                    Livelock(
                        f"rig time stands at {loop.time():.6f} s after {loop.livelock_after_turns} turns "
                        f"of the loop: a task polls without waiting; running: {_tasks(loop)}"
                    )
                )
            return []
        if loop.ledger.pending:
            events = super().select(loop.stall_after_real_s)
            if not events:
                loop.raise_alarm(
                    Stall(f"nobody takes what is in flight at {loop.time():.6f} s: {loop.ledger.who()}")
                )
            return events
        # The timer's own time: adding differences drifts. BaseEventLoop has no public word for it.
        scheduled: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined]  # noqa: SLF001
        if scheduled:
            to_s = scheduled[0].when()
            if to_s > loop.limit_s and loop.overrun is not None:
                loop.jump(loop.limit_s)
                loop.raise_alarm(loop.overrun)
            else:
                loop.jump(to_s)
            return []
        loop.raise_alarm(
            Deadlock(
                f"nothing can happen after {loop.time():.6f} s: no timer, no byte in flight; {_tasks(loop)}"
            )
        )
        return []


def _tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Name the tasks that are not done, and where each waits."""
    places = []
    for task in asyncio.all_tasks(loop):
        frames = task.get_stack(limit=1)
        place = f"{frames[0].f_code.co_filename.rsplit('/', 1)[-1]}:{frames[0].f_lineno}" if frames else "?"
        places.append(f"{task.get_name()} at {place}")
    return ", ".join(sorted(places)) or "no task"


class _RigLoop(asyncio.SelectorEventLoop):
    """What both loops share: alarms that reach the plan, and a ticker for the live view."""

    is_virtual: bool

    def __init__(self, selector: selectors.BaseSelector) -> None:
        super().__init__(selector)
        self.ticker = _Ticker()
        self._alarm: asyncio.Future[None] | None = None

    def timers(self) -> Iterable[tuple[asyncio.TimerHandle, Callable[..., object]]]:
        """Give what is to be called at a later time, soonest first."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        for timer in sorted(scheduled):
            if not timer.cancelled():
                yield timer, timer._callback  # type: ignore[attr-defined]  # noqa: SLF001 - no public word

    def sound(self, alarm: RackproofError) -> None:
        """Hand an alarm to the plan that ``guarded`` runs; nothing where there is none."""
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_exception(alarm)

    def raise_alarm(self, alarm: ClockAlarm) -> None:
        """Hand the alarm to the plan that ``guarded`` runs; where there is none, stop the loop with it."""
        if self._alarm is None or self._alarm.done():
            raise alarm
        self._alarm.set_exception(alarm)

    async def guarded(self, work: Coroutine[Any, Any, T], *, limit_s: float, name: str) -> T:
        """Run ``work`` as a task, until it ends, an alarm sounds or ``limit_s`` of rig time has passed.

        Raises:
            Overrun: after ``limit_s``.
            ClockAlarm: what the loop found; the work has been cancelled and has ended.
        """
        __tracebackhide__ = True  # whoever reads of a plan's mistake sees the plan
        alarm = self.create_future()
        outer, self._alarm = self._alarm, alarm
        overrun = Overrun(
            f"{name} is not over after {limit_s:g} s of rig time, which is all that it declared"
        )
        release = self._limit(self.time() + limit_s, overrun)
        task = self.create_task(work, name=name)
        try:
            await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if alarm.done():
                alarm.result()
            return await task
        finally:
            release()
            self._alarm = outer
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=60.0)
            if task.done() and not task.cancelled():
                task.exception()  # seen: an alarm outranks what the cancelled work raised
            alarm.cancel()

    def _limit(self, at_s: float, overrun: Overrun) -> Callable[[], None]:
        """Sound ``overrun`` once rig time passes ``at_s``; the returned call lifts the limit."""
        return self.call_at(at_s, self.raise_alarm, overrun).cancel


class VirtualLoop(_RigLoop):
    """An event loop in which only waiting is free: sockets, protocols and libraries are the real ones.

    What it does not do: subprocesses, datagrams, TLS, and connections to anything outside the loop.
    """

    is_virtual = True

    def __init__(self) -> None:
        selector = _VirtualSelector()
        selector.loop = self
        self._now = 0.0
        self.turns = 0
        self.jumps = 0
        self.ledger = Ledger()
        self.stall_after_real_s = STALL_AFTER_REAL_S
        self.livelock_after_turns = LIVELOCK_AFTER_TURNS
        self.limit_s = math.inf
        self.overrun: Overrun | None = None
        super().__init__(selector)

    def _limit(self, at_s: float, overrun: Overrun) -> Callable[[], None]:
        # No timer: one that is always there would hide a deadlock.
        outer = self.limit_s, self.overrun
        self.limit_s, self.overrun = at_s, overrun

        def release() -> None:
            self.limit_s, self.overrun = outer

        return release

    def time(self) -> float:
        """Rig time in seconds since the loop was made."""
        return self._now

    def jump(self, to_s: float) -> None:
        """Move rig time to a timer's own time."""
        self._now = to_s
        self.turns = 0
        self.jumps += 1
        # A timer fires once its time is within one resolution of now; beyond 97 days the resolution of
        # a float is coarser than the nanosecond that asyncio assumes.
        self._clock_resolution = max(1e-9, 2.0 * math.ulp(to_s))

    def call_soon_threadsafe(  # type: ignore[override]  # as broad as the caller needs
        self, callback: Callable[..., object], *args: Any, **kwargs: Any
    ) -> asyncio.Handle:
        """Skip the wake-up byte where the caller is the loop's own thread (pymodbus's server is)."""
        if asyncio._get_running_loop() is self:  # noqa: SLF001 - the public call raises where there is none
            return self.call_soon(callback, *args, **kwargs)
        return super().call_soon_threadsafe(callback, *args, **kwargs)

    def run_in_executor(  # type: ignore[override]  # as broad as the caller needs
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run in a thread; rig time stands until it is back."""
        future = super().run_in_executor(executor, func, *args)
        errand = self.ledger.errand(f"thread {getattr(func, '__name__', func)!s}")
        errand.__enter__()
        future.add_done_callback(lambda _: errand.__exit__(None, None, None))
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        """Wait for the threads' end, which no timer announces."""
        with self.ledger.errand("threads ending"):
            await super().shutdown_default_executor()

    async def settle(self) -> None:
        """Wait until nothing is in flight any more: closes have been noticed at both ends."""
        await asyncio.sleep(1e-6)

    def name_line(self, server: asyncio.Server, name: str, faults: LineFaults | None = None) -> Line:
        """Tell the ledger which wire listens here; its alarms name it and its faults act on it."""
        address = server.sockets[0].getsockname()
        line = self.ledger.lines.setdefault(address, Line(name))
        line.name, line.server, line.faults = name, server, faults
        return line

    async def create_server(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **kwargs: Any
    ) -> asyncio.Server:
        """Listen, with every connection in the ledger."""
        server = await super().create_server(lambda: Ear(self, protocol_factory()), host, port, **kwargs)
        for listener in server.sockets:
            address = listener.getsockname()
            self.ledger.lines[address] = Line(f"{address[0]}:{address[1]}", server)
        return server

    def listener(self, host: str, port: int) -> Line:
        """Find who listens at an address of this loop.

        Raises:
            ConnectionRefusedError: nobody in this loop does; a virtual loop reaches nothing outside.
        """
        line = self.ledger.lines.get((host, port))
        if line is None or line.server is None or not line.server.is_serving():
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"nobody listens at {host}:{port} inside this emulated rig"
            )
        if line.faults is not None and line.faults.is_refusing:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{host}:{port} refuses connections")
        return line

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **kwargs: Any
    ) -> Any:
        """Connect to a listener of this loop; rig time stands until both ends know of each other."""
        line = self.listener(host, port)
        ears: list[Ear] = []

        def ear() -> Ear:
            ears.append(Ear(self, protocol_factory()))
            return ears[-1]

        with self.ledger.errand(f"{line.name}: connecting"):
            transport, _ = await super().create_connection(ear, host, port, **kwargs)
            await self.ledger.accepted(transport.get_extra_info("sockname"), line.name)
        return ears[0].mouth, ears[0].protocol


class _FineSelector(selectors.EpollSelector):
    """epoll rounds up to milliseconds; select on the epoll descriptor does not."""

    loop: WallLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait with the resolution of select."""
        ticker = self.loop.ticker
        ticker.tick()
        if timeout is None or timeout > 0:
            if ticker.call is not None:
                timeout = ticker.period_s if timeout is None else min(timeout, ticker.period_s)
            select.select([self.fileno()], [], [], timeout)
        return super().select(0)


class WallLoop(_RigLoop):
    """An event loop in which rig time is wall time, counted from when the loop was made."""

    is_virtual = False

    def __init__(self, origin_s: float | None = None) -> None:
        """Begin at zero, or share the zero of another process's loop on this computer."""
        selector = _FineSelector()
        selector.loop = self
        self.origin_s = time.monotonic() if origin_s is None else origin_s
        super().__init__(selector)

    def time(self) -> float:
        """Rig time in seconds since the loop was made."""
        return time.monotonic() - self.origin_s


def rig_loop() -> _RigLoop:
    """Give the running loop as the rig's own kind.

    Raises:
        BenchError: the running loop keeps no rig time.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, _RigLoop):
        raise BenchError(f"{type(loop).__name__} keeps no rig time: run on a VirtualLoop or a WallLoop")
    return loop


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main()`` on a fresh virtual loop, at zero."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def run_wall(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main()`` on a fresh wall-clock loop."""
    with asyncio.Runner(loop_factory=WallLoop) as runner:
        return runner.run(main())
