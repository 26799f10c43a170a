"""Yokogawa WT1800E: a power analyzer with one to six elements."""

from drivers.yokogawa_wt1800e.driver import Driver
from drivers.yokogawa_wt1800e.emulator import Emulator
from drivers.yokogawa_wt1800e.options import Options

ROLE = "power_analyzer"
WIRE = "visa"
TRIED = "never on hardware"

__all__ = ["ROLE", "TRIED", "WIRE", "Driver", "Emulator", "Options"]
