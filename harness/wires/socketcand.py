"""socketcand: a CAN line at a TCP port, as linux-can/socketcand's doc/protocol.md describes it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence

import can
from can.interfaces.socketcand import SocketCanDaemonBus

from harness.clock import now_s
from harness.wires.can import CanLine, LoopbackBus


class SocketcandClient(SocketCanDaemonBus):
    """python-can's client of a socketcand server, which also says when the server has gone.

    The library's own reads an ended connection without pause and hears nothing for ever; and it takes a frame
    that comes right behind an answer for a part of the answer.
    """

    @property
    def _stream(self) -> socket.socket:
        stream: socket.socket = vars(self)["_SocketCanDaemonBus__socket"]
        return stream

    def fileno(self) -> int:
        """Give the descriptor that shows when something has come."""
        return self._stream.fileno()

    def _expect_msg(self, msg: str) -> None:
        """Read one answer, and nothing of what is behind it."""
        answer = b""
        while not answer.endswith(b">"):
            byte = self._stream.recv(1)
            if not byte:
                raise can.CanOperationError(f"the socketcand server closed the connection after {answer!r}")
            answer += byte
        if answer != msg.encode():
            raise can.CanOperationError(f"the socketcand server answered {answer!r}; expected {msg!r}")

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        found: tuple[can.Message | None, bool] = super()._recv_internal(timeout)  # type: ignore[no-untyped-call]
        if found[0] is None:
            with contextlib.suppress(BlockingIOError):
                if not self._stream.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    raise can.CanOperationError("the socketcand server closed the connection")
        return found


class SocketcandServer:
    """Puts a ``CanLine`` at a loopback TCP port, in the raw mode of the socketcand protocol.

    Does not answer: broadcast-manager and ISO-TP modes, statistics, beacons.

    Args:
        line: whose frames go out, and which hears what comes in.
        node: the name that the outside has at the line.
    """

    def __init__(self, line: CanLine, channel: str = "can0", node: str = "outside") -> None:
        self._line = line
        self._channel = channel
        self._node = node
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop all clients."""
        if self._server is not None:
            self._server.close()
            clients = dict(self._clients)
            for writer in clients.values():
                writer.close()
            # Each ends by itself once its stream has; asyncio complains of one that is cancelled instead.
            await asyncio.gather(*filter(None, clients))
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients[asyncio.current_task()] = writer
        bus = LoopbackBus(self._line, self._node)
        bus.on_message = lambda message: writer.write(_as_frame(message))
        try:
            writer.write(b"< hi >")
            while True:
                command = await reader.readuntil(b">")
                writer.write(self._answer(bus, command.decode("ascii", "replace").strip(" <>\r\n").split()))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # gone, or no socketcand client
        finally:
            bus.shutdown()
            del self._clients[asyncio.current_task()]
            writer.close()

    def _answer(self, bus: LoopbackBus, command: Sequence[str]) -> bytes:
        match command:
            case ["open", channel]:
                known = channel == self._channel
                return b"< ok >" if known else f"< error could not open bus {channel} >".encode()
            case ["rawmode"]:
                self._line.join(bus)
                return b"< ok >"
            case ["send", arbitration_id, count, *data] if count == f"{len(data):X}":
                try:
                    bus.send(
                        can.Message(
                            arbitration_id=int(arbitration_id, 16),
                            is_extended_id=len(arbitration_id) > 3,
                            data=bytes(int(byte, 16) for byte in data),
                            timestamp=now_s(),
                            check=True,
                        )
                    )
                except (ValueError, can.CanError) as error:
                    return f"< error {error} >".encode()
                return b""
            case ["echo"]:
                return b"< echo >"
            case _:
                return b"< error unknown command >"


def _as_frame(message: can.Message) -> bytes:
    data = bytes(message.data).hex().upper()
    width = 8 if message.is_extended_id else 3
    return f"< frame {message.arbitration_id:0{width}X} {now_s():.6f} {data} >".encode()
