"""Taking a connection away from whoever holds it."""

from __future__ import annotations

import contextlib
import socket
from typing import Any


def sever(connection: Any) -> None:
    """End a TCP connection both ways, from any thread; its owner finds it broken."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
