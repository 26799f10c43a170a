"""A board of eight relays behind Modbus TCP that opens and closes leads; see README.md."""

from drivers.waveshare_relay.driver import Driver
from drivers.waveshare_relay.emulator import Emulator
from drivers.waveshare_relay.options import Options

ROLE = "fault_inserter"
WIRE = "modbus_tcp"
TRIED = "never on hardware"

__all__ = ["ROLE", "TRIED", "WIRE", "Driver", "Emulator", "Options"]
