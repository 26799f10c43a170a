"""Commands, limits and accuracy of the generic recorder, as data.

The dialect is our own, so there is no manual and there are no pages: its shape follows what digital
oscilloscopes and data recorders have in common (acquire, trigger, waveform subsystems; IEEE 488.2 blocks).
"""

from __future__ import annotations

CLEAR = "*CLS"
ERROR = "SYST:ERR?"
TIME = "SYST:TIME?"
"""Seconds since the instrument was switched on, by its own clock."""
MEMORY = "SYST:MEM?"
"""Samples that each channel can hold."""
RANGE = "CHAN:RANG {channel},{full_scale:g}"
CHANNELS = "ACQ:CHAN {channels}"
SAMPLE_RATE = "ACQ:SRAT {hertz:.9g}"
SAMPLE_RATE_SETPOINT = "ACQ:SRAT?"
BEFORE = "ACQ:PRE {samples}"
AFTER = "ACQ:POST {samples}"
TRIGGER = "TRIG:SOUR {source}"
ARM = "ACQ:ARM"
ABORT = "ACQ:ABOR"
STATE = "ACQ:STAT?"
COUNT = "WAV:COUN?"
START = "WAV:STAR?"
"""Time of the first sample, in seconds after the trigger (negative: before)."""
TRIGGERED_AT = "WAV:TRIG?"
"""Time of the trigger by the instrument's own clock."""
OVER_RANGE = "WAV:OVER?"
"""Channels that left their range during the capture, or 0."""
DATA = "WAV:DATA? {channel},{first},{count}"

TRIGGER_SOURCES = {"external": "EXT", "now": "IMM"}
PREFILL, READY, TRIGGERED, COMPLETE, IDLE = "PREFILL", "READY", "TRIGGERED", "COMPLETE", "IDLE"
STATES = frozenset({PREFILL, READY, TRIGGERED, COMPLETE, IDLE})

MOST_SAMPLES_A_QUERY = 16_384
MEMORY_SAMPLES = 4_000_000
CODES = 32_768
"""Codes on each side of zero: 16 bits, little-endian, full scale at plus or minus this."""
CLIPPED = 32_767

GAIN_LIMIT = 0.001  # of the reading; own figure, unverified: what a 16-bit recorder of the lab class promises
OFFSET_LIMIT = 0.0005  # of the range; own figure, unverified
