"""Commands, steps and accuracies of the WT1800E, each with where it comes from.

Commands are those of IM WT1801-17EN (communication interface), read in public drivers and sample
programs: the manual itself was not at hand, so pages are those that others cite. Labels: [S] seen in
such a source, [M] from memory, to be verified against the manual before a verdict rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Common and communication group (5-19, 5-102) [S].
CLEAR = "*CLS"
HEADER_OFF = ":COMMunicate:HEADer OFF"
VERBOSE_ON = ":COMMunicate:VERBose ON"
REMOTE = ":COMMunicate:REMote {state}"

# Status group (5-93) [S]: not SYSTem:ERRor.
NEXT_ERROR = ":STATus:ERRor?"
MESSAGES_ON = ":STATus:QMESsage ON"
UPDATE_FILTER = ":STATus:FILTer1 FALL"
EVENTS = ":STATus:EESR?"
UPDATED = 0x01
"""Bit of the extended event register: an update of the measured data has ended (yoko-tool)."""

# Input group (5-57 to 5-66) [S].
WIRING = ":INPut:WIRing {units}"
VOLTAGE_RANGE = ":INPut:VOLTage:RANGe:ELEMent{element} {range_v:g}V"
CURRENT_RANGE = ":INPut:CURRent:RANGe:ELEMent{element} {range_a:g}A"
VOLTAGE_AUTO_OFF = ":INPut:VOLTage:AUTO:ELEMent{element} OFF"
CURRENT_AUTO_OFF = ":INPut:CURRent:AUTO:ELEMent{element} OFF"
SCALING = ":INPut:SCALing:STATe:ELEMent{element} {state}"
CURRENT_RATIO = ":INPut:SCALing:CT:ELEMent{element} {ratio:.4f}"
SYNCHRONIZE = ":INPut:SYNChronize:ELEMent{element} {source}"

# Rate group (5-92) [S].
RATE = ":RATE {milliseconds}MS"
RATE_NOW = ":RATE?"

# Numeric group (5-80 to 5-86) [S].
NUMERIC_FORMAT = ":NUMeric:FORMat ASCii"
NUMERIC_HOLD_OFF = ":NUMeric:HOLD OFF"
ITEM_COUNT = ":NUMeric:NORMal:NUMber {count}"
ITEM = ":NUMeric:NORMal:ITEM{index} {function},{element}"
VALUES = ":NUMeric:NORMal:VALue?"
MOST_ITEMS = 255

# Integrate group (5-67 to 5-69) [S]; MODE and TIMer as yoko-tool sends them; there is no :INTEGrate:VALue?.
INTEGRATION_MODE = ":INTEGrate:MODE NORMal"
INTEGRATION_TIMER = ":INTEGrate:TIMer 0,0,0"
# Energy by its sign at each update, for AC ("sold and bought"), or at each sample, for DC ("charge") [M].
ENERGY_TYPE = ":INTEGrate:WPTYpe:ELEMent{element} {type}"
# DC current, so that the charge has a sign [M].
CHARGE_MODE = ":INTEGrate:QMODe:ELEMent{element} DC"
INTEGRATION_RESET = ":INTEGrate:RESet"
INTEGRATION_START = ":INTEGrate:STARt"
INTEGRATION_STOP = ":INTEGrate:STOP"
INTEGRATION_STATE = ":INTEGrate:STATe?"

# Waveform group (5-100 and 5-101) [S].
WAVE_TRACE = ":WAVeform:TRACe {trace}"
WAVE_FORMAT = ":WAVeform:FORMat ASCii"
WAVE_WHOLE = ":WAVeform:STARt 0;END {last}"
WAVE_LENGTH = ":WAVeform:LENGth?"
WAVE_RATE = ":WAVeform:SRATe?"
WAVE_SEND = ":WAVeform:SEND?"
WAVE_POINTS = 1602
"""Points of a read-out: 801 pairs of a lowest and a highest value (WT1800 manual, second hand)."""

UPDATE_INTERVALS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""[M]."""
VOLTAGE_RANGES_V = (1.5, 3.0, 6.0, 10.0, 15.0, 30.0, 60.0, 100.0, 150.0, 300.0, 600.0, 1000.0)
"""Crest factor 3 [M]."""
CURRENT_RANGES_A: Mapping[int, tuple[float, ...]] = MappingProxyType(
    {
        5: (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
        50: (1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
    }
)
"""By element type, direct input, crest factor 3 [M]."""
OVER_RANGE = 1.4
"""Share of the range beyond which a value is shown as over-range and sent as INF [M]."""

# Errors of the integration (yoko-tool), in our words where the manual's were not seen.
NOT_WHILE_INTEGRATING = (813, "Invalid operation during integration")
ALREADY_STARTED = (842, "Attempted to start integration while it is running")
NOT_STARTED = (844, "Attempted to stop integration while it is not running")
RESET_WHILE_STARTED = (845, "Attempted to reset integration while it is running")
# Error table of the manual: SCPI's codes without the sign.
UNDEFINED_HEADER = (113, "Undefined header")
NO_ERROR = (0, "NO ERROR")


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Limits of an error, as fractions.

    Attributes:
        of_reading: share of the reading.
        of_range: share of the range.
        offset_a: for DC current, a further limit in ampere at the element's terminals.
    """

    of_reading: float
    of_range: float
    offset_a: float = 0.0


# Basic accuracy of the WT1800E at 23 degC, 45 to 66 Hz or DC, six months, crest factor 3 [M: bulletin
# WT1800E-01EN]. The WT1800 before it had 0.1 % and 0.05 % for AC power [S: its specifications].
AC_VOLTAGE = Accuracy(0.0005, 0.0005)
AC_CURRENT = Accuracy(0.0005, 0.0005)
AC_POWER = Accuracy(0.0005, 0.0005)
DC_VOLTAGE = Accuracy(0.0005, 0.0005)
# 1 mA more on a 50 A element, 10 uA on a 5 A element [S: WT1800 specifications].
DC_CURRENT_OFFSET_A: Mapping[int, float] = MappingProxyType({5: 10e-6, 50: 1e-3})
DC_CURRENT = Accuracy(0.0005, 0.0005)
DC_POWER = Accuracy(0.0005, 0.0005)
FREQUENCY_OF_READING = 0.0006
"""[M]."""
INTEGRATION_TIME_OF_READING = 0.0002
"""[M]."""
POWER_FACTOR_OF_REACTIVE = 0.001
"""Share of Q that the active power may be off by at 45 to 66 Hz [S: WT1800, IM WT1801-03EN]."""
REACTIVE_POWER_FACTOR_TERM = 1.0004
"""Q is off by S's accuracy and ((1.0004 - pf^2)^0.5 - (1 - pf^2)^0.5) of the range [S: WT332E, alike]."""
SHORT_UPDATE_OF_READING: Mapping[float, float] = MappingProxyType({0.05: 0.001, 0.1: 0.0005})
"""Added at these update intervals [S: WT1800, IM WT1801-03EN]."""
AFTER_ONE_YEAR = 1.5
"""Factor of the reading's share one year after calibration [M]."""
DIGITS = 5
"""Significant digits of a value that is sent."""
ENERGY_DIGITS = 6
"""Significant digits of an integrated value [S: WT1800 IM WT1801-01EN: 999999]."""
