"""The frames of the IVT-S as data: identifiers, multiplexers, scales, state bits, commands.

11-bit identifiers, big-endian, as delivered. Sources: the maker's data sheet "IVT-S", version 1.02 of
2020-11-03, chapter 8 "CANbus protocol", by a reader's copy of its tables, since the document itself could
not be had as text; and the maker's own description file "IVT-S_12082020.dbc", which ships with foxBMS 2.
Two programs by other authors agree: Gabryel Reyes's library (ivts.cpp), which checks multiplexer and
length, and a script that plays the sensor with "521#0000" and "522#0100" before eight digits of value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Channel:
    """One result frame (data sheet, 8: messages overview, result messages).

    Attributes:
        number: its multiplexer, in byte 0, and its distance from the first result's identifier.
        quantity: what it is in the role's words.
        per_unit: steps to one unit: value = raw / per_unit.
    """

    number: int
    quantity: str
    per_unit: int


CURRENT = Channel(0, "current_a", 1000)
"""IVT_Msg_Result_I in mA; cyclic each 20 ms as delivered, 1 ms at least."""

VOLTAGES: Mapping[int, Channel] = MappingProxyType({n: Channel(n, "voltage_v", 1000) for n in (1, 2, 3)})
"""IVT_Msg_Result_U1 to U3 in mV; cyclic each 60 ms as delivered, 3 ms at least."""

TEMPERATURE = Channel(4, "temperature_degc", 10)
"""IVT_Msg_Result_T in 0.1 degC; disabled as delivered, 100 ms when it is enabled."""

RESULT_LENGTH = 6
FIRST_RESULT = 0x521
COMMAND = 0x411
RESPONSE = 0x511
"""Identifiers as delivered; each can be set on the sensor."""

COUNTS = 16
"""The low nibble of byte 1 counts each channel's own frames, modulo this."""

OVER_CURRENT = 1 << 0
"""State: the over-current signal (OCS) is on. The result stands: no error."""

ERRORS: Mapping[int, str] = MappingProxyType(
    {
        1 << 1: "channel error (out of range, reduced precision or not measured)",
        1 << 2: "measurement error (of any channel)",
        1 << 3: "system error (the sensor's function is not ensured)",
    }
)
"""State, the high nibble of byte 1: what makes a result none."""

SHORTEST_PERIOD_S = 0.003
LONGEST_PERIOD_S = 65.535
"""Cycle time is set in ms, in 16 bits; 3 ms is the least of the voltage channels."""

COMMAND_LENGTH = 8
ANSWER_TO = 0x40
"""A response has its command's number and this added."""

GET_DEVICE = 0x79
GET_SOFTWARE = 0x7A
GET_SERIAL = 0x7B
WRONG_COMMAND = 0xFF

ANSWER_WITHIN_S = 0.5
"""Response messages are on the bus at most 500 ms after the command (data sheet, 8)."""

RANGES_A = (100, 300, 500, 1000, 2500)
"""Nominal currents (IVT-S_12082020.dbc, _B9_Resp_Device_current)."""

DEVICE_TYPES: Mapping[int, str] = MappingProxyType({1: "IVT-Mod", 2: "IVT-S"})
MAKER = "Isabellenhuette"
