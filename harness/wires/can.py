"""CAN: python-can at both ends; emulated, a loopback line that delivers inside the event loop.

The loopback models order, who hears whom, a lead that is open, and frames lost, delayed or damaged on
purpose. It does not model arbitration, bit timing, error frames or bus-off.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Collection, Container, Mapping
from functools import partial
from typing import Any

import can

from harness.clock import now_s, rig_loop
from harness.errors import DeviceRefused, WireClosed, WireTimeout
from harness.wires import Frame, Receive, why_none
from harness.wires.traffic import LineTraffic


class BusPort:
    """A node at any python-can bus; ``wires.CanPort``.

    Args:
        name: of the wire and the node, for messages.
        bus: the open bus.

    Attributes:
        ears: who listens, by identifier.
        echo: hears what this node says, where the adapter does not bring it back (``CanBusLine.beside``).
        failure: why nothing comes any more and nothing can be sent; empty while the adapter works.
    """

    def __init__(self, name: str, bus: can.BusABC, traffic: LineTraffic | None = None) -> None:
        self.name = name
        self._bus: can.BusABC | None = bus
        self.ears: dict[int, tuple[Receive, ...]] = {}
        self._traffic = traffic
        self.is_fenced = False
        self.failure = ""
        self.echo: Callable[[can.Message], None] | None = None

    def send(self, arbitration_id: int, data: bytes) -> None:
        """Put a frame on the line."""
        if self._bus is None or self.is_fenced or self.failure:
            state = self.failure or f"the line is {'fenced' if self.is_fenced else 'closed'}"
            raise WireClosed(f"{self.name}: frame 0x{arbitration_id:03X} not sent: {state}")
        message = can.Message(arbitration_id=arbitration_id, is_extended_id=False, data=data)
        try:
            self._bus.send(message)
        except (can.CanError, OSError) as error:
            raise WireClosed(f"{self.name}: frame 0x{arbitration_id:03X} not sent: {error}") from error
        if self.echo is not None:
            asyncio.get_running_loop().call_soon(self.echo, message)
        if self._traffic is not None:
            self._traffic.frame(now_s(), arbitration_id, data)

    def listen(self, arbitration_ids: Collection[int], receive: Receive) -> Callable[[], None]:
        """Call ``receive`` with each frame of these identifiers; the returned call ends that."""
        for arbitration_id in arbitration_ids:
            self.ears[arbitration_id] = (*self.ears.get(arbitration_id, ()), receive)

        def end() -> None:
            for arbitration_id in arbitration_ids:
                ears = list(self.ears.get(arbitration_id, ()))
                with contextlib.suppress(ValueError):
                    ears.remove(receive)
                self.ears[arbitration_id] = tuple(ears)
                if not ears:
                    del self.ears[arbitration_id]

        return end

    def hear(self, message: can.Message) -> None:
        """Pass a frame to whoever listens for it; error and remote frames are not even logged."""
        arbitration_id = message.arbitration_id
        ears = self.ears.get(arbitration_id)
        if (not ears and self._traffic is None) or message.is_error_frame or message.is_remote_frame:
            return
        now = now_s()
        if self._traffic is not None:
            self._traffic.frame(now, arbitration_id, message.data, is_extended=message.is_extended_id)
        if ears and not message.is_extended_id:
            frame = Frame(arbitration_id, bytes(message.data), now)
            for receive in ears:
                receive(frame)

    def close(self) -> None:
        """Leave the bus."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.shutdown()


class LoopbackBus(can.BusABC):
    """python-can's bus interface on a ``CanLine``; delivers to ``on_message``, in the loop.

    Attributes:
        accepts: identifiers that are brought to it, as a controller's acceptance filter does; None: all.
    """

    def __init__(self, line: CanLine, node: str) -> None:
        super().__init__(channel=line.name)
        self.channel_info = f"{node} at loopback line {line.name}"
        self.node = node
        self.on_message: Callable[[can.Message], None] | None = None
        self.accepts: Container[int] | None = None
        self._line = line
        self._queue: deque[can.Message] = deque(maxlen=1024)

    def send(self, msg: can.Message, timeout: float | None = None) -> None:  # noqa: ARG002 - never blocks
        """Hand the frame to the line; the nodes hear it in the loop's next turn."""
        self._line.carry(self, msg)

    def receive(self, msg: can.Message) -> None:
        """Take a frame that the line brings."""
        if self.on_message is not None:
            self.on_message(msg)
        else:
            self._queue.append(msg)

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:  # noqa: ARG002
        return (self._queue.popleft(), False) if self._queue else (None, False)

    def shutdown(self) -> None:
        """Leave the line."""
        if not self._is_shutdown:
            self._line.leave(self)
        super().shutdown()


class CanLine:
    """A CAN line inside the loop, with as many nodes as ask for a port.

    Args:
        name: of the wire.
        traffic: logs each frame once, whoever hears it.
    """

    def __init__(self, name: str, traffic: LineTraffic | None = None) -> None:
        self.name = name
        self.open_leads: set[str] = set()
        self._traffic = traffic
        self._buses: tuple[LoopbackBus, ...] = ()
        self._is_open = False
        self._dropped: dict[int, int] = {}
        self._delays_s: dict[int, list[float]] = {}
        self._duplicated: dict[int, int] = {}
        self._damaged: dict[int, int] = {}
        self._in_the_air: deque[tuple[LoopbackBus, can.Message]] = deque()

    async def open(self) -> None:
        """Let frames pass."""
        rig_loop()
        self._is_open = True

    async def close(self) -> None:
        """Take all nodes off the line."""
        self._is_open = False
        for bus in self._buses:
            bus.shutdown()

    def port(self, node: str) -> BusPort:
        """Add a node; its lead carries the node's name (``open_lead``)."""
        bus = LoopbackBus(self, node)
        port = BusPort(f"{self.name}/{node}", bus)
        bus.on_message = port.hear
        bus.accepts = port.ears
        self.join(bus)
        return port

    def join(self, bus: LoopbackBus) -> None:
        """Put a node on the line, once."""
        if bus not in self._buses:
            self._buses = (*self._buses, bus)

    def leave(self, bus: LoopbackBus) -> None:
        """Take a node off the line."""
        self._buses = tuple(each for each in self._buses if each is not bus)

    def open_lead(self, node: str) -> None:
        """Cut a node off: nothing it says is heard, and it hears nothing."""
        self.open_leads.add(node)

    def close_lead(self, node: str) -> None:
        """Connect the node again."""
        self.open_leads.discard(node)

    def drop(self, arbitration_id: int, count: int = 1) -> None:
        """Lose the next ``count`` frames of this identifier."""
        self._dropped[arbitration_id] = self._dropped.get(arbitration_id, 0) + count

    def delay(self, arbitration_id: int, *delays_s: float) -> None:
        """Delay the next frames of this identifier, one value each."""
        self._delays_s.setdefault(arbitration_id, []).extend(delays_s)

    def duplicate(self, arbitration_id: int, count: int = 1) -> None:
        """Bring the next ``count`` frames of this identifier twice, as after a lost acknowledgement."""
        self._duplicated[arbitration_id] = self._duplicated.get(arbitration_id, 0) + count

    def corrupt(self, arbitration_id: int, count: int = 1) -> None:
        """Shorten the next ``count`` frames of this identifier by a byte; an empty one gets one.

        A damaged bit never passes a CAN controller's CRC; what reaches a driver in the field is a
        frame of another length or another sender's.
        """
        self._damaged[arbitration_id] = self._damaged.get(arbitration_id, 0) + count

    def carry(self, sender: LoopbackBus, message: can.Message) -> None:
        """Bring a frame to all other nodes whose leads are whole."""
        if not self._is_open:
            raise can.CanOperationError(f"{self.name} is not open")
        if sender.node in self.open_leads:
            return
        if self._dropped or self._damaged or self._delays_s or self._duplicated:
            self._carry_badly(sender, message)
        else:
            self._carry(sender, message)

    def _carry(self, sender: LoopbackBus, message: can.Message) -> None:
        if not self._in_the_air:
            asyncio.get_running_loop().call_soon(self._deliver_all)
        self._in_the_air.append((sender, message))

    def _carry_badly(self, sender: LoopbackBus, message: can.Message) -> None:
        """Do to a frame what was set for its identifier."""
        loop = asyncio.get_running_loop()
        arbitration_id = message.arbitration_id
        if self._dropped.get(arbitration_id, 0):
            self._dropped[arbitration_id] -= 1
            return
        if self._damaged.get(arbitration_id, 0):
            self._damaged[arbitration_id] -= 1
            message = can.Message(
                timestamp=message.timestamp,
                arbitration_id=arbitration_id,
                is_extended_id=message.is_extended_id,
                data=message.data[:-1] if message.data else b"\0",
            )
        delays = self._delays_s.get(arbitration_id)
        delay_s = delays.pop(0) if delays else 0.0
        if self._duplicated.get(arbitration_id, 0):
            self._duplicated[arbitration_id] -= 1
            loop.call_later(delay_s, self._deliver, sender, message)
        if delay_s > 0:
            loop.call_later(delay_s, self._deliver, sender, message)
        else:
            self._carry(sender, message)

    def _deliver_all(self) -> None:
        """Deliver what was said in one turn of the loop together: batteries speak in sets."""
        try:
            for _ in range(len(self._in_the_air)):
                self._deliver(*self._in_the_air.popleft())
        finally:
            if self._in_the_air:  # said meanwhile, or left by a receiver that raised
                asyncio.get_running_loop().call_soon(self._deliver_all)

    def _deliver(self, sender: LoopbackBus, message: can.Message) -> None:
        arbitration_id, open_leads = message.arbitration_id, self.open_leads
        if self._traffic is not None:
            self._traffic.frame(now_s(), arbitration_id, message.data, is_extended=message.is_extended_id)
        for bus in self._buses:
            accepts = bus.accepts
            is_for_it = bus is not sender and (accepts is None or arbitration_id in accepts)
            if is_for_it and bus.node not in open_leads:
                bus.receive(message)


class CanBusLine:
    """A CAN line through any python-can interface: a SocketCAN adapter, or a socketcand server.

    It is read in the loop wherever the interface has a descriptor to wait on, else in python-can's thread.
    An adapter that fails or a server that goes away ends the reading: the drivers notice that their readings
    grow stale, and who sends is told why.

    Args:
        name: of the wire.
        interface: python-can's name for it, for example ``socketcan`` or ``socketcand``.
        channel: as the interface counts them.
        options: passed to the interface (bit rate, host, port).
        timeout_s: how long opening may take.
    """

    def __init__(
        self,
        name: str,
        interface: str,
        channel: str,
        options: Mapping[str, Any],
        *,
        timeout_s: float = 2.0,
        traffic: LineTraffic | None = None,
    ) -> None:
        self.name = name
        self._interface = interface
        self._channel = channel
        self._options = dict(options)
        self._timeout_s = timeout_s
        self._traffic = traffic
        self._bus: can.BusABC | None = None
        self._port: BusPort | None = None
        self._beside: list[BusPort] = []
        self._reader = -1
        self._notifier: can.Notifier | None = None

    def __str__(self) -> str:
        host = f" at {self._options['host']}:{self._options['port']}" if "host" in self._options else ""
        return f"{self.name} ({self._interface} {self._channel}{host})"

    async def open(self) -> None:
        """Open the adapter and start listening.

        Raises:
            WireTimeout: it did not open in time.
            WireClosed: it cannot be opened (no such channel, no driver, no permission).
            DeviceRefused: on a virtual loop, whose time a library's thread cannot keep.
        """
        loop = rig_loop()
        if loop.is_virtual:
            raise DeviceRefused(f"{self}: emulated in virtual time, CAN is a CanLine")
        try:
            async with asyncio.timeout(self._timeout_s):
                make: Callable[..., can.BusABC] = partial(can.Bus, interface=self._interface)
                if self._interface == "socketcand":
                    from harness.wires.socketcand import SocketcandClient  # noqa: PLC0415 - loads an XML parser

                    await self._greet()
                    make = SocketcandClient
                bus = await _open_bus(partial(make, channel=self._channel, **self._options))
        except TimeoutError as error:
            raise WireTimeout(f"{self}: did not open within {self._timeout_s:g} s") from error
        except ConnectionError as error:
            raise WireClosed(f"{self}: no connection: {why_none(error)}") from error
        except (can.CanError, OSError, ValueError) as error:
            why = why_none(error) if isinstance(error, OSError) else error
            raise WireClosed(f"{self}: cannot be opened: {why}") from error
        except (ImportError, NameError) as error:  # how some of python-can's interfaces miss theirs
            raise WireClosed(f"{self}: cannot be opened: its library is not there ({error})") from error
        self._bus = bus
        self._port = BusPort(self.name, bus, self._traffic)
        try:
            self._reader = bus.fileno()
        except NotImplementedError:
            self._notifier = can.Notifier(bus, [_Ear(self)], timeout=0.05, loop=loop)
        else:
            loop.add_reader(self._reader, self._read)

    def _read(self) -> None:
        """Take all that has come."""
        assert self._bus is not None
        try:
            while (message := self._bus.recv(0.0)) is not None:
                self.hear(message)
        except (can.CanError, OSError) as error:
            self.fail(error)

    def hear(self, message: can.Message) -> None:
        """Bring a frame of the adapter to every node of this side."""
        assert self._port is not None
        self._port.hear(message)
        for each in self._beside:
            each.hear(message)

    def fail(self, error: Exception) -> None:
        """Read no more, and tell who sends."""
        self._stop_reading()
        for each in (self._port, *self._beside):
            if each is not None:
                each.failure = f"{self}: {error}"

    def _stop_reading(self) -> None:
        if self._reader >= 0:
            rig_loop().remove_reader(self._reader)
            self._reader = -1

    async def _greet(self) -> None:
        """Ask a socketcand server as the client will, who waits without end and keeps what it opened."""
        reader, writer = await asyncio.open_connection(self._options["host"], self._options["port"])
        try:
            for question, expected in (("", "< hi >"), (f"< open {self._channel} >", "< ok >")):
                writer.write(question.encode())
                answer = (await reader.read(256)).decode("ascii", "replace")
                if answer != expected:
                    raise WireClosed(
                        f"{self}: cannot be opened: {question or 'connecting'!r} was answered {answer!r}"
                    )
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def port(self, node: str) -> BusPort:  # noqa: ARG002 - one adapter is one node; all drivers share it
        """Give the one port that all drivers of this line share."""
        if self._port is None:
            raise WireClosed(f"{self}: not open")
        return self._port

    def fence(self) -> None:
        """Send nothing on this line any more, from any thread; others stand on it and go on."""
        if self._port is not None:
            self._port.is_fenced = True

    def beside(self, node: str) -> BusPort:
        """Add a second node at the adapter, for an emulator: the two hear each other and all others."""
        if self._port is None or self._bus is None:
            raise WireClosed(f"{self}: not open")
        beside = BusPort(f"{self.name}/{node}", self._bus)
        self._port.echo, beside.echo = beside.hear, self._port.hear
        self._beside.append(beside)
        return beside

    async def close(self) -> None:
        """Stop listening and give the adapter back."""
        self._stop_reading()
        if self._notifier is not None:
            await asyncio.to_thread(self._notifier.stop, 1.0)
            self._notifier = None
        if self._port is not None:
            self._port.close()
            self._port = None


class _Ear(can.Listener):
    """Hears for a line what python-can's thread reads."""

    def __init__(self, line: CanBusLine) -> None:
        super().__init__()
        self._line = line

    def on_message_received(self, msg: can.Message) -> None:
        self._line.hear(msg)

    def on_error(self, exc: Exception) -> None:
        self._line.fail(exc)


async def _open_bus(make: Callable[[], can.BusABC]) -> can.BusABC:
    """Open an adapter, which may block without end, in a thread that neither loop nor process waits for."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[can.BusABC] = loop.create_future()

    def take(bus: can.BusABC | None, error: Exception | None) -> None:
        if opened.done():  # nobody waits any more
            if bus is not None:
                bus.shutdown()
        elif bus is not None:
            opened.set_result(bus)
        elif error is not None:
            opened.set_exception(error)

    def run() -> None:
        bus, trouble = None, None
        try:
            bus = make()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            trouble = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(take, bus, trouble)

    thread = threading.Thread(target=run, name="open can", daemon=True)
    thread.start()
    try:
        return await opened
    finally:
        if opened.done() and not opened.cancelled():
            thread.join()  # its last act was to say so
