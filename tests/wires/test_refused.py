"""A port that nobody listens at is told in the same words on every wire."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from harness.clock import run_wall
from harness.errors import WireClosed
from harness.wires import why_none
from harness.wires.can import CanBusLine
from harness.wires.modbus import ModbusTcpLine
from harness.wires.visa import VisaSocketLine

from .far_end import free_port, takes


def can(port: int) -> CanBusLine:
    return CanBusLine("battery_can", "socketcand", "can0", {"host": "127.0.0.1", "port": port})


def modbus(port: int) -> ModbusTcpLine:
    return ModbusTcpLine("pcs_lan", "127.0.0.1", port)


def visa(port: int) -> VisaSocketLine:
    return VisaSocketLine("meter_lan", f"TCPIP::127.0.0.1::{port}::SOCKET")


@pytest.mark.parametrize("line_at", [can, modbus, visa])
def test_a_refused_connection_says_so_on_every_wire(line_at: Callable[[int], Any]):
    async def main() -> None:
        line = line_at(free_port())
        with takes(0.0), pytest.raises(WireClosed) as caught:
            await line.open()
        assert str(caught.value) == f"{line}: no connection: refused: nobody listens there"
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        await line.close()

    run_wall(main)


def test_what_the_system_has_a_word_for_is_told_by_it():
    asyncio_says = OSError(errno.EHOSTUNREACH, "Connect call failed ('192.0.2.20', 5025)")
    assert why_none(asyncio_says) == "no route to host"
    assert why_none(OSError("Multiple exceptions")) == "Multiple exceptions"
