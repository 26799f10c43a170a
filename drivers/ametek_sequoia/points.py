"""Commands and ranges of the California Instruments Lx, Sequoia and RS sources, as data.

Pages: "Sequoia" is the AMETEK Sequoia Series Programming Manual; "RS" is the BPS / MX / RS Series SCPI
Programming Manual, P/N 7003-961 Rev AA; "SVP" is Lib/svpelab/gridsim_ametek.py of sunspec/svp_energy_lab,
which has driven such machines. What none of them states is marked unverified.
"""

from __future__ import annotations

from dataclasses import dataclass

PHASES = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Range:
    """What a setting may be, both ends included."""

    low: float
    high: float
    unit: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g} {self.unit}"


FREQUENCY = Range(16.0, 819.0, "Hz")  # Lx and Sequoia data sheets, output frequency; options go beyond
DWELL = Range(0.001, 9e4, "s")  # Sequoia p. 93
PHASE = Range(-360.0, 360.0, "deg")  # Sequoia p. 101, positive leads
MOST_POINTS = 100  # Sequoia p. 92; p. 164 and RS p. 151 say 32: it depends on the model
VOLTAGE_RANGES_V = (150.0, 300.0, 600.0)  # SVP voltage_max: the three that the series knows, line to neutral
FREQUENCY_SLEW = Range(
    0.001, 2000.0, "Hz/s"
)  # unverified: own bound, narrower than any model is likely to be
SHORTEST_VOLTAGE_SLEW_V_PER_S = 0.01  # unverified: own bound

DWELL_STEP_S = 0.001  # unverified: taken from the shortest dwell
HOLD_S = DWELL.low
"""A last list point of this length keeps TRIG:STAT? at BUSY to the true end (Sequoia p. 142)."""

CLEAR = "*CLS"
ERROR = ":syst:err?"  # Sequoia p. 126: 0,No Error when empty; SVP sees 0,"No error"
ABORT = ":abor"
VOLTAGE = ":inst:coup all;:volt {volts:.3f}"
FREQUENCY_SET = ":freq {hertz:.3f}"
CURRENT_LIMIT = ":inst:coup all;:curr {amps:.2f}"
CURRENT_LIMIT_SET = ":inst:coup none;:inst:nsel 1;:curr?"
PHASE_ANGLE = ":inst:coup none;:inst:nsel {phase};:phas {degrees:.1f}"  # not coupled, Sequoia p. 101
RELAY_ON = ":abor;:outp on"  # SVP relay
RELAY_OFF = ":abor;:outp off"
RELAY = ":outp?"
VOLTAGE_RANGE = ":volt:rang?"
VOLTAGE_SETPOINT = ":inst:coup none;:inst:nsel {phase};:volt?"
FREQUENCY_SETPOINT = ":freq?"
MEASURED_VOLTAGE = ":inst:coup none;:inst:nsel {phase};:meas:volt:ac?"  # Sequoia p. 64: :DC? is another query
MEASURED_FREQUENCY = ":meas:freq?"
START = ":init"
TRIGGER_STATE = ":trig:stat?"  # Sequoia p. 142, RS p. 130

IDLE = "IDLE"
RUNNING_STATES = frozenset({"BUSY", "ARM", "WTRIG"})  # Sequoia p. 142

FIXED_MODES = (
    ":inst:coup all;:volt:mode fix;:volt:slew:mode fix;:func:mode fix;:freq:mode fix;:freq:slew:mode fix"
)
"""In fixed mode the output is always at the immediate level (RS p. 149)."""
FIXED_PHASE_MODE = ":inst:coup none;:inst:nsel {phase};:phas:mode fix"

LIST_SOURCE = (":trig:tran:sour imm", ":list:step auto")  # SVP profile_load
LIST_MODES = ":inst:coup none;:list:coun 1;:freq:mode list;:freq:slew:mode list"
LIST_MODES_OF_PHASE = ":inst:nsel {phase};:volt:mode list;:volt:slew:mode list;:func:mode list"
LIST_PHASE_MODE = ":inst:nsel {phase};:phas:mode list"  # Sequoia p. 101
LIST_START = (":outp:ttlt:sour bot", ":outp:ttlt on", ":trig:sync:sour imm")
"""The edge leaves at the begin of the transient (Sequoia p. 72), which waits for no phase angle (p. 167)."""
