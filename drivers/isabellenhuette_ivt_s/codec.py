"""Bytes of the IVT-S's frames to values and back: pure, in SI, signs as on the wire."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from drivers.isabellenhuette_ivt_s import points
from drivers.isabellenhuette_ivt_s.points import Channel
from harness.errors import CodecError

_RESULT = struct.Struct(">BBi")
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1


@dataclass(frozen=True, slots=True)
class Result:
    """One result frame.

    Attributes:
        value: in the channel's unit; without meaning where ``errors`` is not empty.
        counter: of this channel's frames, modulo 16.
        state: the four state bits.
    """

    value: float
    counter: int
    state: int = 0

    @property
    def errors(self) -> tuple[str, ...]:
        """What makes the value none, in words."""
        return tuple(word for bit, word in points.ERRORS.items() if self.state & bit)


@dataclass(frozen=True, slots=True)
class DeviceIs:
    """What the sensor says it is (response 0xB9)."""

    type_number: int
    range_a: int


def decode_result(channel: Channel, data: bytes) -> Result:
    """Read a result frame; CodecError for another length or another channel's multiplexer."""
    if len(data) != points.RESULT_LENGTH:
        raise CodecError(f"{len(data)} bytes came ({data.hex(' ')}): {points.RESULT_LENGTH} are allowed")
    number, state_and_counter, raw = _RESULT.unpack(data)
    if number != channel.number:
        raise CodecError(
            f"multiplexer 0x{number:02X} came ({data.hex(' ')}): 0x{channel.number:02X} is allowed here"
        )
    return Result(raw / channel.per_unit, state_and_counter & 0x0F, state_and_counter >> 4)


def encode_result(channel: Channel, result: Result) -> bytes:
    """Write a result frame; what does not fit becomes the nearest that does."""
    raw = max(_LOWEST, min(_HIGHEST, round(result.value * channel.per_unit)))
    return _RESULT.pack(channel.number, result.state << 4 | result.counter % points.COUNTS, raw)


def encode_command(number: int) -> bytes:
    """Write a command without arguments; bytes that are not used are zero."""
    return bytes([number]).ljust(points.COMMAND_LENGTH, b"\0")


def decode_device(data: bytes) -> DeviceIs:
    """Read response 0xB9: type in byte 1, nominal current in the twelve bits from byte 2 on."""
    _check_response(data)
    return DeviceIs(data[1], data[2] << 4 | data[3] >> 4)


def encode_device(device: DeviceIs) -> bytes:
    """Write response 0xB9 of a sensor with three voltage channels and CAN without termination."""
    head = bytes([points.GET_DEVICE + points.ANSWER_TO, device.type_number])
    return head + bytes([device.range_a >> 4, (device.range_a & 0x0F) << 4 | 3, 3, 2, 1, 0])


def decode_software(data: bytes) -> str:
    """Read response 0xBA: major, minor and revision in bytes 1 to 3; the date after them is left out."""
    _check_response(data)
    return f"{data[1]}.{data[2]}.{data[3]}"


def encode_software(major: int, minor: int, revision: int) -> bytes:
    """Write response 0xBA without a date."""
    return bytes([points.GET_SOFTWARE + points.ANSWER_TO, major, minor, revision, 0, 0, 0, 0])


def decode_serial(data: bytes) -> int:
    """Read response 0xBB: 32 bits from byte 1 on."""
    _check_response(data)
    return int.from_bytes(data[1:5], "big")


def encode_serial(serial: int) -> bytes:
    """Write response 0xBB."""
    return bytes([points.GET_SERIAL + points.ANSWER_TO]) + serial.to_bytes(4, "big") + bytes(3)


def _check_response(data: bytes) -> None:
    if len(data) != points.COMMAND_LENGTH:
        raise CodecError(f"{len(data)} bytes came ({data.hex(' ')}): {points.COMMAND_LENGTH} are allowed")
