"""AMETEK California Instruments Lx, Sequoia and RS: an AC source that plays lists of steps."""

from drivers.ametek_sequoia.driver import Driver
from drivers.ametek_sequoia.emulator import Emulator
from drivers.ametek_sequoia.options import Options

ROLE = "grid_source"
WIRE = "visa"
TRIED = "never on hardware"

__all__ = ["ROLE", "TRIED", "WIRE", "Driver", "Emulator", "Options"]
