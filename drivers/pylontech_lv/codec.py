"""Bytes of the low-voltage battery frames to values and back: pure, in SI, positive out of the battery."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from struct import Struct

from drivers.pylontech_lv import points
from drivers.pylontech_lv.points import Field, Kind
from harness.errors import CodecError

_REQUESTS = Struct("<H")
_ALARMS = Struct("<II")
_PROTECTIONS = Struct("<HH")
_MODULES = Struct("<B2s")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the battery allows (0x351); currents are magnitudes.

    Attributes:
        discharge_voltage_limit_v: None where the sender leaves it out.
    """

    charge_voltage_limit_v: float
    charge_current_limit_a: float
    discharge_current_limit_a: float
    discharge_voltage_limit_v: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """State of charge and of health (0x355), fractions."""

    soc: float
    soh: float


@dataclass(frozen=True, slots=True)
class Measurements:
    """What the battery measures (0x356); current out of the battery."""

    voltage_v: float
    current_a: float
    temperature_degc: float


@dataclass(frozen=True, slots=True)
class Flags:
    """Protections that have acted, and warnings (0x359 or 0x35A), in the words of ``points``."""

    alarms: frozenset[str]
    warnings: frozenset[str]


@dataclass(frozen=True, slots=True)
class Requests:
    """What the battery allows and asks for (0x35C)."""

    is_charge_allowed: bool
    is_discharge_allowed: bool
    wants_charge_at_once: bool = False


@dataclass(frozen=True, slots=True)
class Versions:
    """Type, firmware and capacity (0x35F)."""

    battery_type: int
    major: int
    minor: int
    capacity_ah: int


def _checked(kind: Kind, data: bytes) -> bytes:
    """Give the data back where its length is one of the kind's."""
    if len(data) not in kind.lengths:
        allowed = " or ".join(map(str, sorted(kind.lengths)))
        raise CodecError(f"frame {kind}: {len(data)} bytes came ({data.hex(' ')}): {allowed} are allowed")
    return data


def _numbers(kind: Kind, data: bytes) -> list[float]:
    """Read the fields that every sender sends."""
    raw = kind.layout.unpack_from(_checked(kind, data))
    return [number / field.per_unit for number, field in zip(raw, kind.fields, strict=True)]


def _extra(kind: Kind, data: bytes) -> float | None:
    """Read the field that only some senders send."""
    if kind.extra is None or len(data) < kind.layout.size + kind.extra_layout.size:
        return None
    (raw,) = kind.extra_layout.unpack_from(data, kind.layout.size)
    return float(raw / kind.extra.per_unit)


def _raw(field: Field, value: float) -> int:
    """Round to the field's steps; what does not fit becomes the nearest that does."""
    lowest, highest = points.RANGES[field.code]
    return max(lowest, min(highest, round(value * field.per_unit)))


def _packed(kind: Kind, *values: float) -> bytes:
    try:
        return kind.layout.pack(
            *[round(value * each.per_unit) for value, each in zip(values, kind.fields, strict=True)]
        )
    except struct.error:  # one does not fit
        return kind.layout.pack(*map(_raw, kind.fields, values))


def decode_limits(data: bytes) -> Limits:
    """Read 0x351.

    Some senders put a sign on the discharge current limit (diyBMSv4ESP32 says so of its own); a limit
    has none, and it is taken off.
    """
    voltage_v, charge_a, discharge_a = _numbers(points.LIMITS, data)
    return Limits(voltage_v, abs(charge_a), abs(discharge_a), _extra(points.LIMITS, data))


def encode_limits(limits: Limits) -> bytes:
    """Write 0x351, with 8 bytes where the discharge voltage limit is known, else with 6."""
    kind = points.LIMITS
    data = _packed(
        kind,
        limits.charge_voltage_limit_v,
        limits.charge_current_limit_a,
        limits.discharge_current_limit_a,
    )
    if limits.discharge_voltage_limit_v is None or kind.extra is None:
        return data
    return data + kind.extra_layout.pack(_raw(kind.extra, limits.discharge_voltage_limit_v))


def decode_state(data: bytes) -> State:
    """Read 0x355; a fine state of charge counts where it agrees with the coarse one.

    Raises:
        CodecError: another length, or more than 100 %.
    """
    soc, soh = _numbers(points.STATE, data)
    if soc > 1.0 or soh > 1.0:
        raise CodecError(
            f"frame {points.STATE}: {100 * soc:g} % of charge and {100 * soh:g} % of health came "
            f"({data.hex(' ')}): 0 to 100 is allowed"
        )
    fine = _extra(points.STATE, data)
    is_fine_sent = fine is not None and fine <= 1.0 and abs(fine - soc) < 0.0101
    return State(fine if fine is not None and is_fine_sent else soc, soh)


def encode_state(state: State, *, length: int = 4) -> bytes:
    """Write 0x355 in whole per cent; beyond four bytes with zeros, as Pylontech v1.3 does."""
    return _packed(points.STATE, min(state.soc, 1.0), min(state.soh, 1.0)).ljust(length, b"\0")


def decode_measurements(data: bytes) -> Measurements:
    """Read 0x356; the wire's current is positive while charging."""
    voltage_v, charging_a, temperature_degc = _numbers(points.MEASUREMENTS, data)
    return Measurements(voltage_v, 0.0 - charging_a, temperature_degc)


def encode_measurements(measurements: Measurements) -> bytes:
    """Write 0x356; the wire's current is positive while charging."""
    return _packed(
        points.MEASUREMENTS, measurements.voltage_v, -measurements.current_a, measurements.temperature_degc
    )


def _protections(word: int) -> frozenset[str]:
    return frozenset(name for name, bit in points.PROTECTION_BITS.items() if word >> bit & 1)


def _protection_bits(names: Collection[str]) -> int:
    other = points.PROTECTION_BITS[points.BMS_INTERNAL]
    return sum({1 << points.PROTECTION_BITS.get(name, other) for name in names})


def decode_protections(data: bytes) -> Flags:
    """Read 0x359."""
    alarms, warnings = _PROTECTIONS.unpack_from(_checked(points.PROTECTIONS, data))
    return Flags(_protections(alarms), _protections(warnings))


def encode_protections(flags: Flags, module_count: int) -> bytes:
    """Write 0x359 with 7 bytes; a word that it has no bit for goes out as ``bms_internal``."""
    words = _PROTECTIONS.pack(_protection_bits(flags.alarms), _protection_bits(flags.warnings))
    return words + _MODULES.pack(module_count, points.PROTECTION_MARK)


def _active(word: int) -> frozenset[str]:
    return frozenset(
        name for name, place in points.ALARM_PLACES.items() if word >> place & 0b11 == points.ACTIVE
    )


def decode_alarms(data: bytes) -> Flags:
    """Read 0x35A."""
    alarms, warnings = _ALARMS.unpack(_checked(points.ALARMS, data))
    return Flags(_active(alarms), _active(warnings))


def encode_alarms(flags: Flags, supported: Collection[str]) -> bytes:
    """Write 0x35A: what is supported as active or good; a word that it has no field for as ``general``."""
    words = []
    for names in (flags.alarms, flags.warnings):
        raised = {name if name in points.ALARM_PLACES else points.GENERAL for name in names}
        words.append(
            sum(
                (points.ACTIVE if name in raised else points.GOOD) << points.ALARM_PLACES[name]
                for name in raised.union(supported)
            )
        )
    return _ALARMS.pack(*words)


def decode_requests(data: bytes) -> Requests:
    """Read 0x35C."""
    (flags,) = _REQUESTS.unpack(_checked(points.REQUESTS, data))
    return Requests(
        bool(flags & points.CHARGE_ENABLED),
        bool(flags & points.DISCHARGE_ENABLED),
        bool(flags & points.CHARGE_AT_ONCE),
    )


def encode_requests(requests: Requests) -> bytes:
    """Write 0x35C."""
    return _REQUESTS.pack(
        requests.is_charge_allowed * points.CHARGE_ENABLED
        | requests.is_discharge_allowed * points.DISCHARGE_ENABLED
        | requests.wants_charge_at_once * points.CHARGE_AT_ONCE
    )


def decode_maker(data: bytes) -> str:
    """Read 0x35E: up to eight printable ASCII characters, padded with blanks or zeros.

    Raises:
        CodecError: another length, or bytes that are no printable ASCII.
    """
    text = _checked(points.MAKER, data).rstrip(b" \0").decode("latin-1")
    if not (text.isascii() and text.isprintable()):
        raise CodecError(f"frame {points.MAKER}: {data.hex(' ')} came: printable ASCII is allowed")
    return text


def encode_maker(maker: str) -> bytes:
    """Write 0x35E, padded with blanks."""
    return maker.encode("ascii")[:8].ljust(8)


def decode_versions(data: bytes) -> Versions:
    """Read 0x35F."""
    return Versions(*map(int, _numbers(points.VERSIONS, data)))


def encode_versions(versions: Versions) -> bytes:
    """Write 0x35F; the maker's own last two bytes are zeros."""
    data = _packed(
        points.VERSIONS, versions.battery_type, versions.major, versions.minor, versions.capacity_ah
    )
    return data.ljust(8, b"\0")
