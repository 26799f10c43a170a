"""Modbus TCP: pymodbus at both ends, its time-outs in rig time, its answers told apart by what to do."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ConnectionException, ModbusIOException, NoSuchIdException
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadHoldingRegistersResponse
from pymodbus.server import ModbusTcpServer as _Server
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from harness.clock import VirtualLoop, now_s, rig_loop
from harness.errors import CodecError, DeviceRefused, WireClosed, WireTimeout
from harness.wires import ModbusRefusal, ModbusUnit, Table
from harness.wires.faults import StreamFaults
from harness.wires.fence import sever
from harness.wires.traffic import LineTraffic

_EXCEPTIONS = {
    1: "illegal function (0x01)",
    2: "illegal address (0x02)",
    3: "illegal value (0x03)",
    4: "device failure (0x04)",
    5: "acknowledged, still working (0x05)",
    6: "device busy (0x06)",
    8: "memory parity error (0x08)",
    10: "gateway path unavailable (0x0A)",
    11: "gateway target did not answer (0x0B)",
}
"""Exception codes: Modbus Application Protocol V1.1b3, section 7."""

_MANY = 1_000_000_000

# What pymodbus would print is in the errors that are raised here; a host may still ask for its log.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())


class _Registers(ReadHoldingRegistersResponse):
    """An answer whose registers are packed at once: pymodbus packs, and spells for its log, each alone."""

    def encode(self) -> bytes:
        count = len(self.registers)
        return struct.pack(f">B{count}H", 2 * count, *self.registers)

    def decode(self, data: bytes) -> None:
        if data[0] >= len(data):
            super().decode(data)  # which says what is wrong
        self.registers = list(struct.unpack_from(f">{data[0] // 2}H", data, 1))

    def __str__(self) -> str:
        return f"{len(self.registers)} registers"


class _ReadRegisters(ReadHoldingRegistersRequest):
    """A request that is answered by ``_Registers``."""

    async def datastore_update(self, context: Any, device_id: int) -> ModbusPDU:
        values = await context.async_getValues(device_id, self.function_code, self.address, self.count)
        if isinstance(values, ExcCodes):
            return ExceptionResponse(self.function_code, values)
        return _Registers(registers=values, dev_id=device_id, transaction_id=self.transaction_id)

    def __str__(self) -> str:
        return f"{self.count} registers at {self.address}"


class ModbusTcpLine:
    """The near end of a Modbus TCP line; ``wires.ModbusLine``. One exchange at a time.

    Args:
        name: of the wire.
        host: numeric address or host name.
        port: TCP port.
        timeout_s: of connecting and of each exchange, in rig time.
    """

    def __init__(
        self, name: str, host: str, port: int, *, timeout_s: float = 1.0, traffic: LineTraffic | None = None
    ) -> None:
        self.name = name
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._traffic = traffic
        self._client: AsyncModbusTcpClient | None = None
        self._arrived = 0
        self._is_fenced = False

    def __str__(self) -> str:
        return f"{self.name} (Modbus TCP {self._host}:{self._port})"

    async def open(self) -> None:
        """Connect.

        Raises:
            WireTimeout, WireClosed: nobody listens there, or not in time.
        """
        rig_loop()
        client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            name=self.name,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0.0,
            trace_packet=self._sent,
        )
        # A cut is found by the exchange that meets it, which then connects anew: never in between.
        client.set_max_no_responses(_MANY)
        client.register(_Registers)
        # Arrivals are logged here: pymodbus's own trace repeats its buffer when a frame comes in pieces.
        passed_on = client.ctx.data_received

        def arrived(data: bytes) -> None:
            self._arrived += len(data)
            if self._traffic is not None:
                self._traffic.message(now_s(), False, data)
            # What cannot be decoded would break the connection; that no answer came, the exchange says.
            with contextlib.suppress(ModbusIOException):
                passed_on(data)

        setattr(client.ctx, "data_received", arrived)  # noqa: B010 - a method of the instance
        self._client = client
        await self._connect(client)

    async def _connect(self, client: AsyncModbusTcpClient) -> None:
        if not await client.connect():
            raise WireClosed(f"{self}: no connection within {self._timeout_s:g} s")

    def _sent(self, sending: bool, data: bytes) -> bytes:
        if sending:
            self._arrived = 0
            if self._traffic is not None:
                self._traffic.message(now_s(), True, data)
        return data

    def fence(self) -> None:
        """Cut the connection for good, from any thread: nothing is sent on this line any more."""
        self._is_fenced = True
        transport = None if self._client is None else self._client.ctx.transport
        if transport is not None:
            sever(transport.get_extra_info("socket"))

    async def close(self) -> None:
        """Disconnect; may be called twice."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _exchange(
        self, function: int, what: str, ask: Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]]
    ) -> ModbusPDU:
        client = self._client
        if client is None or self._is_fenced:
            raise WireClosed(
                f"{self}: {what} not sent: the line is {'fenced' if self._is_fenced else 'closed'}"
            )
        try:
            if not client.connected:
                await self._connect(client)
            answer = await ask(client)
        except ModbusIOException as error:
            if client.connected and self._arrived:
                raise CodecError(
                    f"{self}: {what}: {self._arrived} bytes came that are no answer to it"
                ) from error
            if not client.connected:
                raise WireClosed(f"{self}: {what}: the connection broke") from error
            raise WireTimeout(f"{self}: {what}: no answer within {self._timeout_s:g} s") from error
        except ConnectionException as error:
            raise WireClosed(f"{self}: {what}: {error}") from error
        if answer.function_code & 0x7F != function:
            raise CodecError(
                f"{self}: {what}: function {answer.function_code:#04x} answered function {function:#04x}"
            )
        if isinstance(answer, ExceptionResponse):
            code = answer.exception_code
            raise DeviceRefused(f"{self}: {what} refused: {_EXCEPTIONS.get(code, f'exception {code:#04x}')}")
        return answer

    async def read_holding(self, unit: int, address: int, count: int) -> list[int]:
        """Read 1 to 125 holding registers (function 3)."""
        what = f"unit {unit}, read of {count} registers at {address}"
        answer = await self._exchange(
            3, what, lambda client: client.read_holding_registers(address, count=count, device_id=unit)
        )
        if len(answer.registers) != count:
            raise CodecError(f"{self}: {what}: {len(answer.registers)} registers came")
        return list(answer.registers)

    async def write_holding(self, unit: int, address: int, values: Sequence[int]) -> None:
        """Write 1 to 123 holding registers (function 6 for one, 16 for more)."""
        what = f"unit {unit}, write of {list(values)} at {address}"
        if len(values) == 1:
            await self._exchange(
                6, what, lambda client: client.write_register(address, values[0], device_id=unit)
            )
        else:
            await self._exchange(
                16, what, lambda client: client.write_registers(address, list(values), device_id=unit)
            )

    async def read_coils(self, unit: int, address: int, count: int) -> list[bool]:
        """Read coils (function 1)."""
        what = f"unit {unit}, read of {count} coils at {address}"
        answer = await self._exchange(
            1, what, lambda client: client.read_coils(address, count=count, device_id=unit)
        )
        if len(answer.bits) < count:
            raise CodecError(f"{self}: {what}: {len(answer.bits)} coils came")
        return list(answer.bits[:count])

    async def read_discrete_inputs(self, unit: int, address: int, count: int) -> list[bool]:
        """Read discrete inputs (function 2)."""
        what = f"unit {unit}, read of {count} discrete inputs at {address}"
        answer = await self._exchange(
            2, what, lambda client: client.read_discrete_inputs(address, count=count, device_id=unit)
        )
        if len(answer.bits) < count:
            raise CodecError(f"{self}: {what}: {len(answer.bits)} discrete inputs came")
        return list(answer.bits[:count])

    async def write_coil(self, unit: int, address: int, value: bool) -> None:
        """Write one coil (function 5)."""
        await self._exchange(
            5,
            f"unit {unit}, write of coil {address} to {value}",
            lambda client: client.write_coil(address, value, device_id=unit),
        )


_TABLES = {
    1: Table.COILS,
    5: Table.COILS,
    15: Table.COILS,
    2: Table.DISCRETE_INPUTS,
    3: Table.HOLDING,
    6: Table.HOLDING,
    16: Table.HOLDING,
    22: Table.HOLDING,
    23: Table.HOLDING,
    4: Table.INPUT,
}


_BITS = {Table.COILS, Table.DISCRETE_INPUTS}

_ECHOED = {5, 6}
"""Functions whose answer is the request's own value (Modbus Application Protocol V1.1b3, 6.5 and 6.6).

pymodbus asks its registers what to answer, and a unit may read something else where it is written."""


class _Units:
    """Stands where pymodbus's server looks for its registers, and asks the emulated units."""

    def __init__(self, units: Mapping[int, ModbusUnit]) -> None:
        self._units = units
        self._written: Sequence[int] = ()

    def device_ids(self) -> list[int]:
        return list(self._units)

    def _unit(self, device_id: int) -> ModbusUnit:
        if device_id not in self._units:
            raise NoSuchIdException  # silence, as on a real line
        return self._units[device_id]

    async def async_getValues(self, device_id: int, func_code: int, address: int, count: int = 1) -> Any:  # noqa: N802
        if func_code in _ECHOED:
            return self._written
        try:
            values = self._unit(device_id).read(_TABLES[func_code], address, count)
        except ModbusRefusal as refusal:
            return ExcCodes(refusal.refusal.value)
        except TimeoutError:
            raise NoSuchIdException from None  # a silent unit
        return [bool(value) for value in values] if _TABLES[func_code] in _BITS else values

    async def async_setValues(  # noqa: N802
        self, device_id: int, func_code: int, address: int, values: Sequence[int]
    ) -> ExcCodes | None:
        self._written = values
        try:
            self._unit(device_id).write(_TABLES[func_code], address, [int(value) for value in values])
        except ModbusRefusal as refusal:
            return ExcCodes(refusal.refusal.value)
        except TimeoutError:
            raise NoSuchIdException from None  # a silent unit
        return None


class _Handler(ServerRequestHandler):
    """Answers in the loop's next turn: the units never wait.

    pymodbus makes a task of each request, by way of a future for threads: three turns, and as many objects.
    """

    def handle_later(self) -> None:
        handling = self.handle_request()  # type: ignore[no-untyped-call]  # pymodbus has not typed it
        try:
            handling.send(None)
        except StopIteration:
            return
        handling.close()
        raise RuntimeError("an emulated Modbus unit waited: it must answer at once")


class _DirectServer(_Server):
    """pymodbus's server with that handler."""

    def callback_new_connection(self) -> _Handler:
        return _Handler(self, self.trace_packet, self.trace_pdu, self.trace_connect)  # type: ignore[no-untyped-call]


class ModbusTcpServer:
    """The far end of a Modbus TCP line: pymodbus's server over emulated units; others stay silent.

    Args:
        name: of the wire.
        units: emulators by unit identifier.
        faults: what the line does to messages, in virtual time.
    """

    def __init__(
        self, name: str, units: Mapping[int, ModbusUnit], faults: StreamFaults | None = None
    ) -> None:
        self.name = name
        self.port = 0
        self.faults = faults or StreamFaults()
        self._units = _Units(units)
        self._server: _DirectServer | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; ``port`` says where."""
        nothing = SimDevice(0, [SimData(0, values=0, datatype=DataType.REGISTERS)])
        server = _DirectServer(
            nothing, address=(host, port), ignore_missing_devices=True, custom_pdu=[_ReadRegisters]
        )
        server.context = self._units  # type: ignore[assignment]  # asked by the same two calls
        await server.serve_forever(background=True)
        listening: Any = server.transport
        self.port = listening.sockets[0].getsockname()[1]
        self._server = server
        loop = rig_loop()
        if isinstance(loop, VirtualLoop):
            self.faults.line = loop.name_line(listening, self.name, self.faults)

    async def stop(self) -> None:
        """Stop listening and drop all clients."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # nor this
            self._server = None
