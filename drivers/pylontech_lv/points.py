"""The frames of a low-voltage battery as data: identifiers, lengths, fields and flags.

11-bit identifiers at 500 kbit/s, little-endian. The makers' own tables (Pylontech "CAN-Bus-protocol-PYLON-
low-voltage", SMA "FSS-ConnectingBat-TI-en-10") could not be had as text. What stands here is where three
open implementations agree, by frame:

    0x351       diyBMSv4ESP32 victron_canbus.cpp, pylon_canbus.cpp; bsc_fw Canbus.cpp; OpenDTU-OnBattery
                pylontech/Provider.cpp; Safiery manual p. 12
    0x355       the same; 8 bytes from bsc_fw for BYD
    0x356       bsc_fw Canbus.cpp, which states each type; OpenDTU-OnBattery
    0x359       OpenDTU-OnBattery; bsc_fw Canbus.cpp "Pylontech V1.2"; diyBMSv4ESP32 pylon_canbus.cpp
    0x35A       bsc_fw sendCanMsg_Alarm_35a; OpenDTU-OnBattery pytes/Provider.cpp; diyBMSv4ESP32
    0x35C       OpenDTU-OnBattery; diyBMSv4ESP32; Battery-Emulator PYLON-LV-CAN.cpp
    0x35E 0x35F OpenDTU-OnBattery pytes/Provider.cpp; published captures
    0x305       diyBMSv4ESP32 main.cpp: eight zeros about once a second

Left out: 0x360 and above (cell extremes, names, counters, serial numbers), whose meaning differs by maker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct
from types import MappingProxyType

RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"B": (0, 0xFF), "H": (0, 0xFFFF), "h": (-0x8000, 0x7FFF)}
)
"""Lowest and highest of each code of the struct module that is used here."""


@dataclass(frozen=True, slots=True)
class Field:
    """One number in a frame.

    Attributes:
        name: with its unit.
        code: of the struct module.
        per_unit: steps to one unit: value = raw / per_unit.
    """

    name: str
    code: str
    per_unit: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of frame.

    Attributes:
        identifier: on the bus.
        name: in words.
        lengths: data lengths that senders use.
        fields: numbers that every sender sends, from byte 0 on.
        extra: a number that follows where the frame is long enough.
    """

    identifier: int
    name: str
    lengths: tuple[int, ...]
    fields: tuple[Field, ...] = ()
    extra: Field | None = None
    layout: Struct = field(init=False, repr=False, compare=False)
    extra_layout: Struct = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layout", Struct("<" + "".join(f.code for f in self.fields)))
        object.__setattr__(self, "extra_layout", Struct("<" + (self.extra.code if self.extra else "")))

    def __str__(self) -> str:
        return f"0x{self.identifier:03X} ({self.name})"


LIMITS = Kind(
    0x351,
    "limits",
    (6, 8),  # Battery-Emulator sends 6, without the last
    (
        Field("charge_voltage_limit_v", "H", 10),
        Field("charge_current_limit_a", "h", 10),
        Field("discharge_current_limit_a", "h", 10),
    ),
    Field("discharge_voltage_limit_v", "H", 10),
)
"""Both current limits are magnitudes."""

STATE = Kind(
    0x355,
    "state of charge",
    (4, 6, 8),
    (Field("soc", "H", 100), Field("soh", "H", 100)),
    Field("fine_soc", "H", 10_000),
)
"""SMA and Victron may add the state of charge in steps of 0.01 %; Pylontech v1.3 adds zeros."""

MEASUREMENTS = Kind(
    0x356,
    "measurements",
    (6, 8),
    (Field("voltage_v", "h", 100), Field("charging_current_a", "h", 10), Field("temperature_degc", "h", 10)),
)
"""Current is positive while charging: the opposite of this project's sign."""

PROTECTIONS = Kind(0x359, "protections and warnings, Pylontech", (7, 8))
ALARMS = Kind(0x35A, "alarms and warnings, Victron and SMA", (8,))
REQUESTS = Kind(0x35C, "requests", (2,))
MAKER = Kind(0x35E, "maker", (8,))
VERSIONS = Kind(
    0x35F,
    "type and versions",
    (8,),
    (
        Field("battery_type", "H", 1),
        Field("major", "B", 1),
        Field("minor", "B", 1),
        Field("capacity_ah", "H", 1),
    ),
)
"""Two more bytes follow, whose meaning differs by maker."""

KINDS: Mapping[int, Kind] = MappingProxyType(
    {
        kind.identifier: kind
        for kind in (LIMITS, STATE, MEASUREMENTS, PROTECTIONS, ALARMS, REQUESTS, MAKER, VERSIONS)
    }
)

KEEP_ALIVE = 0x305
KEEP_ALIVE_DATA = bytes(8)
KEEP_ALIVE_PERIOD_S = 1.0

OVER_VOLTAGE = "over_voltage"
UNDER_VOLTAGE = "under_voltage"
OVER_TEMPERATURE = "over_temperature"
UNDER_TEMPERATURE = "under_temperature"
OVER_CURRENT_CHARGE = "over_current_charge"
OVER_CURRENT_DISCHARGE = "over_current_discharge"
CONTACTOR = "contactor"
CELL_IMBALANCE = "cell_imbalance"
BMS_INTERNAL = "bms_internal"
GENERAL = "general"

PROTECTION_BITS: Mapping[str, int] = MappingProxyType(
    {
        OVER_VOLTAGE: 1,
        UNDER_VOLTAGE: 2,
        OVER_TEMPERATURE: 3,
        UNDER_TEMPERATURE: 4,
        OVER_CURRENT_DISCHARGE: 7,
        OVER_CURRENT_CHARGE: 8,
        BMS_INTERNAL: 11,
    }
)
"""0x359: bit of each protection in bytes 0 and 1, and of the warning of the same name two bytes on."""

PROTECTION_MARK = b"PN"
"""0x359: the last two of its seven bytes."""

ALARM_PLACES: Mapping[str, int] = MappingProxyType(
    {
        name: 2 * place
        for place, name in enumerate(
            (
                GENERAL,
                OVER_VOLTAGE,
                UNDER_VOLTAGE,
                OVER_TEMPERATURE,
                UNDER_TEMPERATURE,
                "over_temperature_charge",
                "under_temperature_charge",
                OVER_CURRENT_DISCHARGE,
                OVER_CURRENT_CHARGE,
                CONTACTOR,
                "short_circuit",
                BMS_INTERNAL,
                CELL_IMBALANCE,
            )
        )
    }
)
"""0x35A: lowest bit of each two-bit field in bytes 0 to 3; the warning of that name is four bytes on."""

ACTIVE = 0b01
"""Two-bit fields: 01 is active, 10 is good, 00 is not supported.

The published "10 is active" (Safiery) counts bits from the other end, as diyBMSv4ESP32 victron_canbus.cpp
explains; bsc_fw, OpenDTU-OnBattery and diyBMSv4ESP32 agree on the low bit."""
GOOD = 0b10

CHARGE_ENABLED = 1 << 7
DISCHARGE_ENABLED = 1 << 6
CHARGE_AT_ONCE = 1 << 5
"""0x35C, byte 0. Bits 4 (charge, second level) and 3 (full charge) are requests that nobody here reads."""
