"""VISA: PyVISA at the near end; at the far end a message server on a raw socket.

With pyvisa-py's raw sockets the loop waits for the answer and the library's own ``read`` then finds it
complete, so no thread is needed and time-outs are rig time's. Every other back end or interface runs
on the wall clock, with one worker thread an instrument.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
from collections import deque
from typing import Any

import pyvisa
from pyvisa.constants import StatusCode

from harness.clock import End, VirtualLoop, begin, now_s, rig_loop
from harness.errors import CodecError, DeviceRefused, WireClosed, WireTimeout
from harness.wires import Instrument, why_none
from harness.wires.faults import StreamFaults
from harness.wires.fence import sever
from harness.wires.scpi import block_span
from harness.wires.traffic import LineTraffic

_PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT
_MOST = 4_194_304
"""Most bytes that are taken at once; a longer answer is put together."""
_USUAL = 16_384
"""What is looked at first: offering megabytes costs more than reading an answer."""


def _peek(sock: socket.socket) -> bytes:
    """Look at what has come, without taking it."""
    seen = sock.recv(_USUAL, _PEEK)
    return seen if len(seen) < _USUAL else sock.recv(_MOST, _PEEK)


class VisaSocketLine:
    """A raw socket through pyvisa-py, driven from the loop; ``wires.VisaLine``.

    Args:
        name: of the wire.
        resource: ``TCPIP::<host>::<port>::SOCKET``.
        timeout_s: of connecting and of each answer, in rig time.
        terminator: that ends each message, both ways.
    """

    def __init__(
        self,
        name: str,
        resource: str,
        *,
        timeout_s: float = 2.0,
        terminator: str = "\n",
        traffic: LineTraffic | None = None,
    ) -> None:
        self.name = name
        self._resource_name = resource
        self._timeout_s = timeout_s
        self._terminator = terminator.encode()
        self._traffic = traffic
        self._resource: Any = None
        self._socket: socket.socket | None = None
        self._end: End | None = None
        self._found: asyncio.Future[bytes] | None = None
        self._part = b""
        self._is_block = False
        self._is_lost = False
        self._is_fenced = False
        self._lock = asyncio.Lock()

    def __str__(self) -> str:
        return f"{self.name} ({self._resource_name})"

    async def open(self) -> None:
        """Connect.

        Raises:
            WireTimeout, WireClosed: nobody listens there, or not in time.
        """
        loop = rig_loop()
        parts = self._resource_name.split("::")
        host, port = parts[1], int(parts[2])
        if isinstance(loop, VirtualLoop):
            try:
                line = loop.listener(host, port)
            except ConnectionRefusedError as error:
                raise WireClosed(f"{self}: no connection: {why_none(error)}") from error
        else:
            # pyvisa-py takes a refused connection for an open one: ask the address first.
            try:
                async with asyncio.timeout(self._timeout_s):
                    _, writer = await asyncio.open_connection(host, port)
                    writer.close()
                    await writer.wait_closed()
            except TimeoutError as error:
                raise WireTimeout(f"{self}: no connection within {self._timeout_s:g} s") from error
            except OSError as error:
                raise WireClosed(f"{self}: no connection: {why_none(error)}") from error
        manager = pyvisa.ResourceManager("@py")
        try:
            self._resource = manager.open_resource(
                self._resource_name, open_timeout=int(self._timeout_s * 1000), read_termination=None
            )
        except pyvisa.Error as error:
            raise WireClosed(f"{self}: cannot be opened: {error}") from error
        self._is_lost = False
        session = self._resource.visalib.sessions[self._resource.session]
        session.max_recv_size = _MOST  # it reads an answer whole, and nothing behind it
        self._socket = session.interface
        assert self._socket is not None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Answers are read by their exact length, which the library would warn of each time.
        self._resource.visalib.issue_warning_on.discard(StatusCode.success_max_count_read)
        loop.add_reader(self._socket, self._look)
        if isinstance(loop, VirtualLoop):
            here, there = self._socket.getsockname(), self._socket.getpeername()
            self._end = loop.ledger.join(here, there)
            await loop.ledger.accepted(here, line.name)

    def fence(self) -> None:
        """Cut the connection for good, from any thread: nothing is sent on this line any more."""
        self._is_fenced = True
        if self._socket is not None:
            sever(self._socket)

    async def close(self) -> None:
        """Disconnect; may be called twice."""
        self._is_lost = False
        await self._disconnect()

    async def _disconnect(self) -> None:
        resource, self._resource = self._resource, None
        if resource is None:
            return
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            loop.remove_reader(self._socket)
        self._socket = None
        end, self._end = self._end, None
        if end is None:
            resource.close()
            return
        closed = loop.create_future()

        def close() -> None:
            resource.close()
            closed.set_result(None)

        end.abort(close)
        await closed

    async def write(self, message: str) -> None:
        """Send one message; the line adds the terminator."""
        async with self._lock:
            await self._send(message)

    async def query(self, message: str) -> str:
        """Send one message and read one answer, terminator taken off."""
        async with self._lock:
            await self._send(message)
            answer = await self._receive(message, is_block=False)
        try:
            return answer[: -len(self._terminator)].decode("ascii")
        except UnicodeDecodeError as error:
            raise CodecError(f"{self}: {message!r}: the answer {answer[:32]!r} is no text") from error

    async def query_block(self, message: str) -> bytes:
        """Send one message and read one definite-length block, header taken off."""
        async with self._lock:
            await self._send(message)
            answer = await self._receive(message, is_block=True)
        return answer[2 + int(answer[1:2]) : -len(self._terminator)]

    async def _send(self, message: str) -> None:
        if self._is_fenced:
            raise WireClosed(f"{self}: {message!r} not sent: the line is fenced")
        if self._is_lost:
            await self._disconnect()
            await self.open()
        if self._resource is None or self._socket is None:
            raise WireClosed(f"{self}: {message!r} not sent: the line is closed")
        data = message.encode("ascii") + self._terminator
        if self._traffic is not None:
            self._traffic.text(now_s(), True, data)
        if self._end is None:
            self._discard(self._socket)
            self._write(self._resource, message, data)
            return
        for delay_s, piece in self._end.travels(data):
            if delay_s > 0:
                asyncio.get_running_loop().call_later(delay_s, self._depart, self._end, message, piece)
            else:
                await self._depart(self._end, message, piece)

    def _depart(self, end: End, message: str, data: bytes) -> asyncio.Future[None]:
        """Send in turn, unless the connection is gone that it was meant for; done when it is on its way."""
        sent = asyncio.get_running_loop().create_future()
        resource = self._resource

        def write() -> None:
            try:
                self._write(resource, message, data)
            except WireClosed as error:
                sent.set_exception(error)
            else:
                sent.set_result(None)

        if end is self._end:
            end.depart(len(data), write)
        return sent

    def _write(self, resource: Any, message: str, data: bytes) -> None:
        try:
            resource.visalib.write(resource.session, data)
        except (pyvisa.Error, OSError) as error:
            raise WireClosed(f"{self}: {message!r} not sent: {error}") from error

    async def _receive(self, message: str, *, is_block: bool) -> bytes:
        """Wait in the loop while the answer comes; the library reads what is there, which cannot block."""
        loop = asyncio.get_running_loop()
        self._is_block = is_block
        self._part = b""
        self._found = found = loop.create_future()
        timer = loop.call_later(self._timeout_s, self._give_up, found, message)
        try:
            answer: bytes = await found
        except (WireClosed, CodecError) as error:
            raise type(error)(f"{self}: {message!r}: {error}") from error
        finally:
            timer.cancel()
            self._found = None
            if found.cancelled() or found.exception() is not None:
                # What is still to come would answer the next question: that one connects anew.
                self._is_lost = True
                if self._socket is not None:
                    self._discard(self._socket)
        return answer

    def _give_up(self, found: asyncio.Future[bytes], message: str) -> None:
        if not found.done():
            found.set_exception(
                WireTimeout(f"{self}: {message!r}: no complete answer within {self._timeout_s:g} s")
            )

    def _look(self) -> None:
        """Take note of bytes: an answer that is awaited, or one that came after its time-out."""
        sock, found = self._socket, self._found
        if sock is None or (found is not None and found.done()):
            return
        if found is None:
            self._discard(sock)
            return
        try:
            answer = self._take(sock)
        except (WireClosed, CodecError) as error:
            found.set_exception(error)
        else:
            if answer is not None:
                found.set_result(answer)

    def _discard(self, sock: socket.socket) -> None:
        """Throw away an answer that came after its time-out, as a device clear would."""
        try:
            late = sock.recv(_USUAL, socket.MSG_DONTWAIT)
            if len(late) == _USUAL:
                with contextlib.suppress(BlockingIOError):
                    late += sock.recv(_MOST, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            late = b""
        if not late:
            asyncio.get_running_loop().remove_reader(sock)
            self._is_lost = True  # the next query finds out
            if self._end is not None:
                self._end.leave()
            return
        if self._end is not None:
            self._end.arrive(len(late))
        if self._traffic is not None:
            self._traffic.text(now_s(), False, b"late: " + late)

    def _take(self, sock: socket.socket) -> bytes | None:
        """Let the library read what has come; give the answer once it is whole.

        Raises:
            WireClosed: the connection broke.
            CodecError: a block was due, and what came is none.
        """
        try:
            seen = _peek(sock)
        except BlockingIOError:
            return None
        except OSError as error:
            raise WireClosed(f"the connection broke: {error}") from error
        if not seen:
            raise WireClosed("the instrument closed the connection")
        part = self._part + seen
        if self._is_block:
            span = block_span(part)
            size = None if span is None else span[1] + len(self._terminator)
        else:
            at = part.find(self._terminator)
            size = None if at < 0 else at + len(self._terminator)
        if size is not None and len(part) < size:
            size = None
        count = len(seen) if size is None else size - len(self._part)
        answer, status = self._resource.visalib.read(self._resource.session, count)
        if len(answer) != count:
            raise CodecError(f"the library read {len(answer)} of {count} bytes ({status.name})")
        if self._end is not None:
            self._end.arrive(count)
        if size is None:
            self._part = part
            return None
        part = part[:size]
        if self._traffic is not None:
            self._traffic.text(now_s(), False, part)
        return part


class VisaThreadLine:
    """Any VISA resource and back end, with a worker thread of its own; ``wires.VisaLine``, wall clock only.

    Args:
        name: of the wire.
        resource: VISA resource name.
        backend: of PyVISA, for example ``@py`` or a path to a VISA library.
        timeout_s: of each answer.
        terminator: that ends each message.
    """

    def __init__(
        self,
        name: str,
        resource: str,
        *,
        backend: str = "@py",
        timeout_s: float = 2.0,
        terminator: str = "\n",
        traffic: LineTraffic | None = None,
    ) -> None:
        self.name = name
        self._resource_name = resource
        self._backend = backend
        self._timeout_s = timeout_s
        self._terminator = terminator
        self._traffic = traffic
        self._resource: Any = None
        self._is_fenced = False
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"visa-{name}")

    def __str__(self) -> str:
        return f"{self.name} ({self._resource_name})"

    async def open(self) -> None:
        """Connect.

        Raises:
            WireClosed: it cannot be opened.
            DeviceRefused: on a virtual loop, whose time a thread cannot keep.
        """
        if rig_loop().is_virtual:
            raise DeviceRefused(f"{self}: only raw sockets through pyvisa-py can be emulated in virtual time")

        def open_() -> Any:
            return pyvisa.ResourceManager(self._backend).open_resource(
                self._resource_name,
                timeout=int(self._timeout_s * 1000),
                write_termination=self._terminator,
                read_termination=self._terminator,
            )

        self._resource = await self._run("opening", open_)

    def fence(self) -> None:
        """Send nothing on this line any more; what its thread has begun goes on to its end."""
        self._is_fenced = True

    async def close(self) -> None:
        """Disconnect; may be called twice."""
        resource, self._resource = self._resource, None
        if resource is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, resource.close)
        self._thread.shutdown(wait=False)

    async def _run(self, what: str, call: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except pyvisa.VisaIOError as error:
            if error.error_code == StatusCode.error_timeout:
                raise WireTimeout(f"{self}: {what}: no answer within {self._timeout_s:g} s") from error
            raise WireClosed(f"{self}: {what}: {error}") from error
        except (pyvisa.Error, OSError, ValueError) as error:
            raise WireClosed(f"{self}: {what}: {error}") from error

    def _opened(self, message: str) -> Any:
        if self._resource is None or self._is_fenced:
            raise WireClosed(
                f"{self}: {message!r} not sent: the line is {'fenced' if self._is_fenced else 'closed'}"
            )
        if self._traffic is not None:
            self._traffic.text(now_s(), True, message.encode())
        return self._resource

    def _heard(self, answer: bytes) -> None:
        if self._traffic is not None:
            self._traffic.text(now_s(), False, answer)

    async def write(self, message: str) -> None:
        """Send one message; the line adds the terminator."""
        resource = self._opened(message)
        await self._run(repr(message), lambda: resource.write(message))

    async def query(self, message: str) -> str:
        """Send one message and read one answer, terminator taken off."""
        resource = self._opened(message)
        answer: str = await self._run(repr(message), lambda: resource.query(message))
        self._heard(answer.encode())
        return answer

    async def query_block(self, message: str) -> bytes:
        """Send one message and read one definite-length block, header taken off."""
        resource = self._opened(message)
        answer: bytes = await self._run(
            repr(message), lambda: resource.query_binary_values(message, datatype="B", container=bytes)
        )
        self._heard(answer)
        return answer


class InstrumentServer:
    """The far end of a VISA line: serves one emulated instrument on a raw socket, message by message.

    Args:
        name: of the wire.
        instrument: that answers.
        terminator: that ends each message, both ways.
        faults: what the line does to messages, in virtual time.

    A message ends at its terminator wherever that stands: a block sent to the instrument must not hold it.
    """

    def __init__(
        self,
        name: str,
        instrument: Instrument,
        terminator: bytes = b"\n",
        faults: StreamFaults | None = None,
    ) -> None:
        self.name = name
        self.port = 0
        self.faults = faults or StreamFaults()
        self._instrument = instrument
        self._terminator = terminator
        self._server: asyncio.Server | None = None
        self._conversations: set[_Conversation] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; ``port`` says where."""
        loop = rig_loop()
        self._server = await loop.create_server(
            lambda: _Conversation(self._instrument, self._terminator, self._conversations), host, port
        )
        self.port = self._server.sockets[0].getsockname()[1]
        if isinstance(loop, VirtualLoop):
            self.faults.line = loop.name_line(self._server, self.name, self.faults)

    async def stop(self) -> None:
        """Stop listening and drop all clients."""
        if self._server is not None:
            self._server.close()
            for conversation in tuple(self._conversations):
                conversation.close()
            self._server = None


class _Conversation(asyncio.Protocol):
    """One client's messages, answered in their order."""

    def __init__(self, instrument: Instrument, terminator: bytes, others: set[_Conversation]) -> None:
        self._instrument = instrument
        self._terminator = terminator
        self._others = others
        self._buffer = b""
        self._messages: deque[bytes] = deque()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._others.add(self)

    def data_received(self, data: bytes) -> None:
        *messages, self._buffer = (self._buffer + data).split(self._terminator)
        self._messages.extend(messages)
        if messages and self._task is None:
            self._task = begin(self._answer())

    async def _answer(self) -> None:
        try:
            while self._messages:
                answer = await self._instrument.answer(self._messages.popleft())
                if answer is not None and self._transport is not None:
                    self._transport.write(answer + self._terminator)
        finally:
            self._task = None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either way it is gone
        self._others.discard(self)
        self._transport = None
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.close()


def open_line(
    name: str,
    resource: str,
    *,
    backend: str = "@py",
    timeout_s: float = 2.0,
    terminator: str = "\n",
    traffic: LineTraffic | None = None,
) -> VisaSocketLine | VisaThreadLine:
    """Choose how a VISA resource is driven: pyvisa-py's raw sockets from the loop, all else in a thread."""
    if backend == "@py" and resource.upper().startswith("TCPIP") and resource.upper().endswith("::SOCKET"):
        return VisaSocketLine(name, resource, timeout_s=timeout_s, terminator=terminator, traffic=traffic)
    return VisaThreadLine(
        name, resource, backend=backend, timeout_s=timeout_s, terminator=terminator, traffic=traffic
    )
