"""Every error that Rackproof raises, by what its reader can do about it.

    RackproofError
    ├── ConfigurationError     a file or an option is wrong: mend it, nothing was opened
    ├── BenchError             the bench could not do it: verdict ERROR
    │   ├── WireError          a line is broken
    │   │   ├── WireTimeout    nobody answered in time
    │   │   ├── WireClosed     the line is not open, or was cut
    │   │   └── CodecError     bytes came that do not follow the protocol
    │   ├── DeviceRefused      the device (or its driver, beforehand) said no
    │   ├── DeviceFault        the device answered that it is in trouble
    │   ├── StaleReading       the last value is too old to be a reading
    │   ├── PreconditionFailed the state a plan starts from could not be brought about
    │   ├── StimulusMissed     the bench did not do to the product what the plan asked
    │   ├── JudgementError     a measure without a limit, a limit without a measure
    │   └── ClockAlarm         rig time cannot go on
    │       ├── Stall          bytes that nobody takes
    │       ├── Deadlock       nothing can ever happen again
    │       ├── Livelock       work is done for ever in one instant
    │       └── Overrun        a plan past the rig time it declared
    ├── NotTestable            this rig has no such role or capability: verdict NOT TESTABLE
    ├── Unsafe                 refused, or found, because something would stay energised
    └── Aborted                stopped from outside or by the interlock: verdict ABORTED

A missed requirement is no error: it is the product's fault, and a verdict.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RackproofError(Exception):
    """Anything that Rackproof itself raises."""


class ConfigurationError(RackproofError):
    """A file or an option is wrong; ``mistakes`` lists every one of them.

    Args:
        mistakes: one line a mistake, each with file, key, what came, what is allowed.
    """

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class BenchError(RackproofError):
    """The bench could not do what the plan asked."""


class WireError(BenchError):
    """A line is broken."""


class WireTimeout(WireError):
    """Nobody answered in time."""


class WireClosed(WireError):
    """The line is not open, or was cut."""


class CodecError(WireError):
    """Bytes came that do not follow the protocol."""


class DeviceRefused(BenchError):
    """The device, or its driver beforehand, said no."""


class DeviceFault(BenchError):
    """The device answered that it is in trouble."""


class StaleReading(BenchError):
    """The last value is too old to be a reading."""


class PreconditionFailed(BenchError):
    """The state that a plan starts from could not be brought about."""


class StimulusMissed(BenchError):
    """The bench did not do to the product what the plan asked."""


class JudgementError(BenchError):
    """A measure was judged without a limit, or declared and never judged."""


class ClockAlarm(BenchError):
    """Rig time cannot go on."""


class Stall(ClockAlarm):
    """Bytes are in flight that nobody takes."""


class Deadlock(ClockAlarm):
    """No byte in flight, no timer set: nothing can ever happen again."""


class Livelock(ClockAlarm):
    """Work is done for ever in one instant of rig time."""


class Overrun(ClockAlarm):
    """A plan ran past the rig time that it declared."""


class NotTestable(RackproofError):
    """This rig has no such role or capability; the message names it."""


class Unsafe(RackproofError):
    """Refused, or found, because something would stay energised."""


class Aborted(RackproofError):
    """The run was stopped from outside or by the interlock."""


LONGEST_EXCERPT = 60
"""Characters of an answer that a message quotes; ours."""


def excerpt(came: str) -> str:
    """Quote what came; of what is long, its beginning."""
    if len(came) <= LONGEST_EXCERPT:
        return repr(came)
    return f"{came[:LONGEST_EXCERPT]!r}... ({len(came)} characters)"


def told(error: BaseException) -> str:
    """Say what an error says: one of ours by its message, another's with its kind."""
    return str(error) if isinstance(error, RackproofError) else f"{type(error).__name__}: {error}"


def near_miss(came: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where a known word is close, or the only one to begin like that; or nothing."""
    words = list(known)
    close = difflib.get_close_matches(came, words, n=1, cutoff=0.6)
    longer = [word for word in words if came and word.startswith(came)]
    meant = close or (longer if len(longer) == 1 else [])
    return f"; did you mean {meant[0]!r}?" if meant else ""
