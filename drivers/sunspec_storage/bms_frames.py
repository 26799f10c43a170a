"""The frames of a low-voltage battery that the emulated inverter hears on CAN.

Little-endian, 11-bit identifiers, as three open implementations agree (diyBMS ``victron_canbus.cpp``,
bsc_fw ``Canbus.cpp``, OpenDTU-OnBattery ``pylontech/Provider.cpp``). A decoder of the inverter's own:
drivers do not know each other.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

LIMITS = 0x351
STATE_OF_CHARGE = 0x355
MEASUREMENTS = 0x356


@dataclass(frozen=True, slots=True)
class Limits:
    """What the battery allows (0x351); magnitudes."""

    charge_voltage_limit_v: float
    charge_current_limit_a: float
    discharge_current_limit_a: float


def limits(octets: bytes) -> Limits | None:
    """Read a frame 0x351; None where it is too short, as an inverter drops what it cannot read."""
    if len(octets) < 6:
        return None
    voltage, charge, discharge = struct.unpack_from("<Hhh", octets)
    return Limits(voltage * 0.1, abs(charge) * 0.1, abs(discharge) * 0.1)


def state_of_charge(octets: bytes) -> tuple[float, float] | None:
    """Read a frame 0x355: state of charge and of health, fractions; None where it is too short."""
    if len(octets) < 4:
        return None
    soc, soh = struct.unpack_from("<HH", octets)
    return soc * 0.01, soh * 0.01


def measurements(octets: bytes) -> tuple[float, float] | None:
    """Read a frame 0x356: V, and A out of the battery (sent positive while charging)."""
    if len(octets) < 4:
        return None
    voltage, current = struct.unpack_from("<hh", octets)
    return voltage * 0.01, -current * 0.1
