"""A far end that says what a test writes down, and the two loops on which a line must behave the same."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import pytest

from harness.clock import VirtualLoop, now_s, rig_loop, run_virtual, run_wall

on_both_loops = pytest.mark.parametrize("run", [run_virtual, run_wall], ids=["virtual", "wall"])

Answer = Callable[[bytes], Iterable[tuple[float, bytes]]]
"""Turns a message into what is said: (rig time before it, bytes); no bytes hang up."""


@contextlib.asynccontextmanager
async def scripted(answer: Answer) -> AsyncIterator[int]:
    """Serve one TCP port as the script says."""
    conversations: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            while message := await reader.read(65536):
                for wait_s, piece in answer(message):
                    await asyncio.sleep(wait_s)
                    if not piece:
                        writer.close()
                        return
                    writer.write(piece)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if conversations:
            await asyncio.wait(conversations, timeout=5.0)
        loop = rig_loop()
        if isinstance(loop, VirtualLoop):
            await loop.settle()


@contextlib.contextmanager
def nobody_accepts() -> Iterator[int]:
    """A port whose queue is full: connecting to it is neither taken nor refused."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def open_files_and_threads() -> tuple[int, int]:
    return sum(1 for _ in Path("/proc/self/fd").iterdir()), threading.active_count()


@contextlib.contextmanager
def takes(seconds: float) -> Iterator[None]:
    """Exactly so much rig time; on the wall clock no less, and a second more at most."""
    began_s = now_s()
    yield
    passed_s = now_s() - began_s
    if rig_loop().is_virtual:
        assert passed_s == pytest.approx(seconds, abs=1e-9)
    else:
        assert seconds - 0.001 <= passed_s <= seconds + 1.0
