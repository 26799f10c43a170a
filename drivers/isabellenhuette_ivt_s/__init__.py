"""A shunt sensor on CAN that reports current, voltage and its own temperature; see README.md."""

from drivers.isabellenhuette_ivt_s.driver import Driver
from drivers.isabellenhuette_ivt_s.emulator import Emulator
from drivers.isabellenhuette_ivt_s.options import Options

ROLE = "dc_sensor"
WIRE = "can"
TRIED = "never on hardware"

__all__ = ["ROLE", "TRIED", "WIRE", "Driver", "Emulator", "Options"]
