"""Bits and registers of the coupler: WAGO's manual "750-352/040-000 FC ETHERNET G3 XTR", version 1.3.0.

Pages of that manual: 156 to 157 bits, 173 to 176 watchdog. The bit map is also in the manual of the 750-843,
version 1.2.0, p. 167, and the identity in that of the 750 series "ETHERNET TCP/IP", 6.5.4.
"""

from __future__ import annotations

CHANNELS = 8
"""Of inputs and of outputs: one module 750-430 and one 750-530, or others of eight channels."""

INPUTS = 0x0000
"""Read with function 1 or 2: the first digital input."""

OUTPUTS = 0x0000
"""Written with function 5 or 15: the first digital output."""

READ_BACK = 0x0200
"""Read with function 1 or 2: the first digital output; written it is an output too."""

WATCHDOG_TIME = 0x1000
"""In steps of 100 ms; not to be written while the watchdog runs."""

WATCHDOG_MASK = 0x1001
"""Function codes 1 to 16 that feed it, bit 0 for code 1; not to be written while the watchdog runs."""

WATCHDOG_MASK_ABOVE_16 = 0x1002
"""The same for codes 17 to 32, which are not supported."""

WATCHDOG_TRIGGER = 0x1003
"""A value other than the one before feeds it; other than zero it starts it, also after it has run out."""

WATCHDOG_LEAST = 0x1004
"""The shortest rest that was seen, in steps; 0 says that it has run out."""

WATCHDOG_STOP = 0x1005
"""0xAAAA and then 0x5555 stop it."""

WATCHDOG_STATE = 0x1006
WATCHDOG_RESTART = 0x1007
"""1 restarts it after it has run out; a stopped one stays stopped."""

WATCHDOG_SIMPLE_STOP = 0x1008
"""0x55AA or 0xAA55 stops it and takes the fault back that it made."""

CLOSE_SOCKET = 0x1009
"""1 closes the connections when it runs out."""

WATCHDOG_TYPE = 0x100A
"""0 standard; 1 alternative, which lets outputs work again by itself once somebody speaks: not used here."""

STOP_WORD = 0x55AA
STANDARD = 0

NOT_ACTIVE, ACTIVE, EXHAUSTED = 0, 1, 2
"""What 0x1006 says."""

STEP_S = 0.1
LONGEST_STEPS = 0xFFFF

FEEDING_FUNCTIONS = (1, 2, 5, 15)
"""Ours: who looks at the chain or drives it feeds its watchdog; a tool that reads registers does not."""

FEEDING_MASK = sum(1 << function - 1 for function in FEEDING_FUNCTIONS)

FIRMWARE_INDEX = 0x2010
SERIES = 0x2011
ITEM = 0x2012
MAJOR = 0x2013
MINOR = 0x2014

MAKER = "WAGO"
