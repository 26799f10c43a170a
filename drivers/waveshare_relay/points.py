"""The coils and the register of the board, from Waveshare's wiki page "Modbus POE ETH Relay"."""

from __future__ import annotations

FIRST_COIL = 0x0000
CHANNELS = 8
"""Coils 0x0000 to 0x0007 are relays 1 to 8; one is on (energised)."""

SOFTWARE_VERSION = 0x8000
"""Holding register, hundredths: 200 is V2.00; from the page of the RS-485 sister, "Modbus RTU Relay"."""

MAKER = "Waveshare"
MODEL = "Modbus POE ETH Relay"
"""The board has no register that names it."""


def coil(channel: int) -> int:
    """Give the coil of a channel, 1 to 8."""
    return FIRST_COIL + channel - 1
