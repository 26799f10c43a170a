"""A waveform recorder with a dialect of our own, for a site to replace with its instrument's."""

from drivers.generic_daq.driver import Driver
from drivers.generic_daq.emulator import Emulator
from drivers.generic_daq.options import Channel, Options

ROLE = "recorder"
WIRE = "visa"
TRIED = "never on hardware"

__all__ = ["ROLE", "TRIED", "WIRE", "Channel", "Driver", "Emulator", "Options"]
