"""A fieldbus coupler with eight inputs, eight outputs and a watchdog of its own; see README.md."""

from drivers.wago_750.driver import Driver
from drivers.wago_750.emulator import Emulator
from drivers.wago_750.options import Options

ROLE = "safety_inputs"
WIRE = "modbus_tcp"
TRIED = "never on hardware"

__all__ = ["ROLE", "TRIED", "WIRE", "Driver", "Emulator", "Options"]
