"""A low-voltage battery that speaks the Pylontech, Victron and SMA frames on CAN; see README.md."""

from drivers.pylontech_lv.driver import Driver
from drivers.pylontech_lv.emulator import Emulator
from drivers.pylontech_lv.options import Options

ROLE = "battery"
WIRE = "can"
TRIED = "never on hardware"

__all__ = ["ROLE", "TRIED", "WIRE", "Driver", "Emulator", "Options"]
