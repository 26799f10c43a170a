"""A storage inverter that speaks SunSpec over Modbus TCP; see README.md."""

from drivers.sunspec_storage.driver import Driver
from drivers.sunspec_storage.emulator import Emulator
from drivers.sunspec_storage.options import Options

ROLE = "inverter"
WIRE = "modbus_tcp"
TRIED = "never on hardware"

__all__ = ["ROLE", "TRIED", "WIRE", "Driver", "Emulator", "Options"]
