"""Modbus TCP: pymodbus at both ends, its time-outs in rig time, its answers told apart by what to do."""

from __future__ import annotations

import asyncio
import logging
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusIOException, NoSuchIdException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)
from pymodbus.server import ModbusTcpServer as _Server
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.transaction import TransactionManager
from pymodbus.transport import CommParams, CommType

from harness.clock import VirtualLoop, now_s, rig_loop
from harness.errors import BenchError, CodecError, DeviceRefused, WireClosed, WireTimeout, told
from harness.wires import ModbusRefusal, ModbusUnit, Table, why_none
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

_READ_HOLDING = 3
_HEAD = struct.Struct(">HHHB")
"""Transaction, protocol (zero), length of what follows, unit: Modbus Messaging on TCP/IP V1.0b, 3.1.3."""
_READ_QUESTION = struct.Struct(">HHHBBHH")
_READ_ANSWER = struct.Struct(">HHHBBB")

# What pymodbus would print is in the errors that are raised here; a host may still ask for its log.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())


class _Registers(ReadHoldingRegistersResponse):
    """An answer whose registers are packed at once, which pymodbus does one by one."""

    def encode(self) -> bytes:
        count = len(self.registers)
        return struct.pack(f">B{count}H", 2 * count, *self.registers)


class _ReadRegisters(ReadHoldingRegistersRequest):
    """A request that is answered by ``_Registers``."""

    async def datastore_update(self, context: Any, device_id: int) -> ModbusPDU:
        values = await context.async_getValues(device_id, self.function_code, self.address, self.count)
        if isinstance(values, ExcCodes):
            return ExceptionResponse(self.function_code, values)
        return _Registers(registers=values, dev_id=device_id, transaction_id=self.transaction_id)


class _Framer(FramerSocket):
    """pymodbus's framing of Modbus TCP, with the head packed at once."""

    def encode(self, payload: bytes, device_id: int, tid: int) -> bytes:
        return _HEAD.pack(tid, 0, len(payload) + 1, device_id) + payload


class _QuestionFramer(_Framer):
    """Takes a read of holding registers that came whole and alone at once; all else is pymodbus's."""

    def handleFrame(self, data: bytes, exp_devid: int, exp_tid: int) -> tuple[int, ModbusPDU | None]:  # noqa: N802
        if len(data) == _READ_QUESTION.size:
            tid, protocol, length, unit, function, address, count = _READ_QUESTION.unpack(data)
            if function == _READ_HOLDING and length == 6 and protocol == 0 and 1 <= count <= 125:
                return len(data), _ReadRegisters(unit, tid, address, count)
        return super().handleFrame(data, exp_devid, exp_tid)


class _AnswerFramer(_Framer):
    """Takes the holding registers that were asked for, if they came whole and alone, at once; likewise."""

    def handleFrame(self, data: bytes, exp_devid: int, exp_tid: int) -> tuple[int, ModbusPDU | None]:  # noqa: N802
        if len(data) >= _READ_ANSWER.size:
            tid, protocol, length, unit, function, size = _READ_ANSWER.unpack_from(data)
            is_whole = len(data) == length + 6 == size + 9
            if is_whole and function == _READ_HOLDING and (tid, unit, protocol) == (exp_tid, exp_devid, 0):
                registers = struct.unpack_from(f">{size // 2}H", data, 9)
                return len(data), _Registers(unit, tid, registers=registers)
        return super().handleFrame(data, exp_devid, exp_tid)


class _Connection(TransactionManager):
    """pymodbus's connection, framing and messages; what is waited for, and how long, is the line's.

    pymodbus's own exchange makes a task's worth of objects for its time-out and writes to a log twice.
    """

    def __init__(
        self, name: str, host: str, port: int, timeout_s: float, traffic: LineTraffic | None
    ) -> None:
        address = CommParams(
            comm_name=name,
            comm_type=CommType.TCP,
            host=host,
            port=port,
            reconnect_delay=0.0,  # a cut is mended by the next exchange: never in between
            timeout_connect=timeout_s,
        )
        super().__init__(address, _AnswerFramer(DecodePDU(False)), 0, False, None, None, None)
        self.trouble: OSError | None = None
        self._create = self.call_create
        self.call_create = self._create_or_tell
        self.arrived = 0
        self._timeout_s = timeout_s
        self._traffic = traffic

    async def _create_or_tell(self) -> Any:
        """Keep the cause of what pymodbus only says no to."""
        self.trouble = None
        try:
            return await self._create()
        except OSError as error:
            self.trouble = error
            raise

    async def ask(self, request: ModbusPDU) -> ModbusPDU | None:
        """Send a request; give what answers it, or None where nothing did in time."""
        transaction = self.next_tid % 65000 + 1
        request.transaction_id = self.request_transaction_id = self.next_tid = transaction
        self.request_dev_id = request.dev_id
        question = self.framer.buildFrame(request)
        self.recv_buffer, self.arrived = b"", 0
        self.response_future = found = self.loop.create_future()
        if self._traffic is not None:
            self._traffic.message(now_s(), True, question)
        transport: Any = self.transport
        transport.write(question)
        timer = self.loop.call_later(self._timeout_s, _give_up, found)
        try:
            answer: ModbusPDU | None = await found
        finally:
            timer.cancel()
        return answer

    def data_received(self, data: bytes) -> None:
        """Take what comes: an answer that nobody awaits any more is dropped, and so is rubbish."""
        self.arrived += len(data)
        if self._traffic is not None:
            self._traffic.message(now_s(), False, data)
        came = self.recv_buffer + data
        if len(came) > self.max_buffer_size:
            self.recv_buffer = b""
            return
        self.recv_buffer = came
        try:
            used, answer = self.framer.handleFrame(came, self.request_dev_id, self.request_transaction_id)
        except ModbusIOException:
            return  # that no answer came, the exchange says
        self.recv_buffer = came[used:]
        if answer is not None and not self.response_future.done():
            self.response_future.set_result(answer)


def _give_up(found: asyncio.Future[ModbusPDU | None]) -> None:
    if not found.done():
        found.set_result(None)


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
        self._connection: _Connection | None = None
        self._lock = asyncio.Lock()
        self._is_fenced = False

    def __str__(self) -> str:
        return f"{self.name} (Modbus TCP {self._host}:{self._port})"

    async def open(self) -> None:
        """Connect.

        Raises:
            WireTimeout, WireClosed: nobody listens there, or not in time.
        """
        rig_loop()
        self._connection = _Connection(self.name, self._host, self._port, self._timeout_s, self._traffic)
        await self._connect(self._connection)

    async def _connect(self, connection: _Connection) -> None:
        if await connection.connect():
            return
        if connection.trouble is not None:
            raise WireClosed(f"{self}: no connection: {why_none(connection.trouble)}") from connection.trouble
        raise WireTimeout(f"{self}: no connection within {self._timeout_s:g} s")

    def fence(self) -> None:
        """Cut the connection for good, from any thread: nothing is sent on this line any more."""
        self._is_fenced = True
        transport = None if self._connection is None else self._connection.transport
        if transport is not None:
            sever(transport.get_extra_info("socket"))

    async def close(self) -> None:
        """Disconnect; may be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _exchange(self, request: ModbusPDU, what: Callable[[], str]) -> Any:
        """Ask, and give the answer; ``what`` says for an error what was asked."""
        async with self._lock:
            connection = self._connection
            if connection is None or self._is_fenced:
                state = "fenced" if self._is_fenced else "closed"
                raise WireClosed(f"{self}: {what()} not sent: the line is {state}")
            if not connection.is_active():
                await self._connect(connection)
            answer = await connection.ask(request)
            if answer is None:
                if not connection.is_active():
                    raise WireClosed(f"{self}: {what()}: the connection broke")
                if connection.arrived:
                    raise CodecError(
                        f"{self}: {what()}: {connection.arrived} bytes came that are no answer to it"
                    )
                raise WireTimeout(f"{self}: {what()}: no answer within {self._timeout_s:g} s")
        function = request.function_code
        if answer.function_code & 0x7F != function:
            raise CodecError(
                f"{self}: {what()}: function {answer.function_code:#04x} answered function {function:#04x}"
            )
        if isinstance(answer, ExceptionResponse):
            code = answer.exception_code
            raise DeviceRefused(
                f"{self}: {what()} refused: {_EXCEPTIONS.get(code, f'exception {code:#04x}')}"
            )
        return answer

    async def read_holding(self, unit: int, address: int, count: int) -> list[int]:
        """Read 1 to 125 holding registers (function 3)."""
        return await self._read_registers(ReadHoldingRegistersRequest(unit, 0, address, count), "registers")

    async def read_input(self, unit: int, address: int, count: int) -> list[int]:
        """Read 1 to 125 input registers (function 4)."""
        return await self._read_registers(
            ReadInputRegistersRequest(unit, 0, address, count), "input registers"
        )

    async def _read_registers(self, request: ModbusPDU, kind: str) -> list[int]:
        count = request.count

        def what() -> str:
            return f"unit {request.dev_id}, read of {count} {kind} at {request.address}"

        answer = await self._exchange(request, what)
        if len(answer.registers) != count:
            raise CodecError(f"{self}: {what()}: {len(answer.registers)} registers came")
        return list(answer.registers)

    async def write_holding(self, unit: int, address: int, values: Sequence[int]) -> None:
        """Write 1 to 123 holding registers (function 6 for one, 16 for more)."""
        kind = WriteSingleRegisterRequest if len(values) == 1 else WriteMultipleRegistersRequest
        await self._exchange(
            kind(dev_id=unit, address=address, registers=list(values)),
            lambda: f"unit {unit}, write of {list(values)} at {address}",
        )

    async def read_coils(self, unit: int, address: int, count: int) -> list[bool]:
        """Read coils (function 1)."""
        return await self._bits(ReadCoilsRequest(dev_id=unit, address=address, count=count), "coils")

    async def read_discrete_inputs(self, unit: int, address: int, count: int) -> list[bool]:
        """Read discrete inputs (function 2)."""
        request = ReadDiscreteInputsRequest(dev_id=unit, address=address, count=count)
        return await self._bits(request, "discrete inputs")

    async def _bits(self, request: ReadCoilsRequest | ReadDiscreteInputsRequest, table: str) -> list[bool]:
        """Read bits, which come in whole bytes (Modbus Application Protocol V1.1b3, 6.1 and 6.2)."""
        count: int = request.count

        def what() -> str:
            return f"unit {request.dev_id}, read of {count} {table} at {request.address}"

        answer = await self._exchange(request, what)
        whole = 8 * math.ceil(count / 8)
        if len(answer.bits) != whole:
            raise CodecError(
                f"{self}: {what()}: {len(answer.bits)} bits came; expected {whole}, in whole bytes"
            )
        return list(answer.bits[:count])

    async def write_coil(self, unit: int, address: int, value: bool) -> None:
        """Write one coil (function 5)."""
        await self._exchange(
            WriteSingleCoilRequest(dev_id=unit, address=address, bits=[value]),
            lambda: f"unit {unit}, write of coil {address} to {value}",
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
        unit = self._unit(device_id)
        try:
            values = unit.read(_TABLES[func_code], address, count)
        except ModbusRefusal as refusal:
            return ExcCodes(refusal.refusal.value)
        except TimeoutError:
            raise NoSuchIdException from None  # a silent unit
        except Exception as error:  # noqa: BLE001 - pymodbus would say "device failure", and no more
            return _failed(device_id, error)
        return [bool(value) for value in values] if _TABLES[func_code] in _BITS else values

    async def async_setValues(  # noqa: N802
        self, device_id: int, func_code: int, address: int, values: Sequence[int]
    ) -> ExcCodes | None:
        self._written = values
        unit = self._unit(device_id)
        try:
            unit.write(_TABLES[func_code], address, [int(value) for value in values])
        except ModbusRefusal as refusal:
            return ExcCodes(refusal.refusal.value)
        except TimeoutError:
            raise NoSuchIdException from None  # a silent unit
        except Exception as error:  # noqa: BLE001 - as above
            return _failed(device_id, error)
        return None


def _failed(device_id: int, error: Exception) -> ExcCodes:
    """Tell whoever wrote an emulator what is wrong with it: the plan that runs, and the log, line by line."""
    what = f"the emulator of Modbus unit {device_id} failed"
    loop = rig_loop()
    loop.sound(BenchError(f"{what}: {told(error)}"))
    loop.call_exception_handler({"message": what, "exception": error})
    return ExcCodes.DEVICE_FAILURE


class _Handler(ServerRequestHandler):
    """Answers at once: the units never wait.

    pymodbus makes a task of each request, by way of a future for threads: four turns, and as many objects.
    """

    def data_received(self, data: bytes) -> None:
        """Answer each request that has come whole."""
        rest = self.recv_buffer + data
        while rest:
            try:
                used, request = self.framer.handleFrame(rest, 0, 0)
            except ModbusIOException as error:
                refusal = ExceptionResponse(error.fcode or 0, ExcCodes.ILLEGAL_FUNCTION)
                refusal.dev_id, refusal.transaction_id = error.dev_id, error.transaction_id
                self.server_send(refusal, None)
                rest = b""
                break
            rest = rest[used:]
            if request is not None:
                self._answer(request)
            elif not used:
                break
        self.recv_buffer = rest if len(rest) <= self.max_buffer_size else b""

    def _answer(self, request: ModbusPDU) -> None:
        self.last_pdu = request
        handling = self.handle_request()  # type: ignore[no-untyped-call]  # pymodbus has not typed it
        try:
            handling.send(None)
        except StopIteration:
            return
        handling.close()
        raise RuntimeError("an emulated Modbus unit waited: it must answer at once")

    def server_send(self, pdu: ModbusPDU, addr: object) -> None:  # noqa: ARG002 - datagrams have one
        """Send an answer, unless the client has gone."""
        transport: Any = self.transport
        if transport is not None:
            transport.write(self.framer.buildFrame(pdu))


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
        server = _DirectServer(nothing, address=(host, port), ignore_missing_devices=True)
        server.framer = _QuestionFramer
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
