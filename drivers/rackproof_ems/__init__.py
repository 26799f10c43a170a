"""An energy manager behind Modbus TCP, with a register table of our own; see README.md."""

from drivers.rackproof_ems.driver import Driver
from drivers.rackproof_ems.emulator import Emulator
from drivers.rackproof_ems.options import Options

ROLE = "energy_manager"
WIRE = "modbus_tcp"
TRIED = "never on hardware"

__all__ = ["ROLE", "TRIED", "WIRE", "Driver", "Emulator", "Options"]
