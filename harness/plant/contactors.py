"""A contactor: delays, an auxiliary contact, wear, and the ways in which it fails.

It moves a delay after its command. Breaking a current I uses 1/N(I) of its life, N from the maker's break
curve; the break after the last one welds it, and so does any current above the curve. The sum of parts
(Miner) and the weld at its end are ours: a data sheet says only how often. A command and a fault of the same
instant come to the same in either order: what is under way is slowed or repaired for the rest of its way, and
a disagreement keeps the time that its command gave it.

Not modelled: bounce, the arc's length and energy, the direction of the current (the curve's is the better
one of a polarised contactor), wear by making a current, contact resistance that rises with wear, the coil.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from harness.plant.bms_spec import ContactorSpec
from harness.plant.lines import log_line_at


@dataclass(frozen=True, slots=True)
class ContactorOperation:
    """What a contactor did, or failed to do.

    Attributes:
        time_s: when its contacts moved, or did not come apart.
        name: of the contactor.
        is_closed: after it; True with ``was_opening`` is a weld.
        current_a: that it made or broke.
        was_opening: whether it was to open.
    """

    time_s: float
    name: str
    is_closed: bool
    current_a: float
    was_opening: bool


class ContactorFault(Enum):
    """How a contactor fails."""

    STUCK_OPEN = "stuck open"
    WELDED = "welded"
    SLOW = "slow"


class Contactor:
    """One contactor.

    Attributes:
        is_closed: whether its contacts touch.
        is_commanded: whether its coil is energised.
        fault: how it has failed; None while it works.
        wear: used share of its life; beyond 1 it welds.
    """

    def __init__(
        self,
        name: str,
        spec: ContactorSpec,
        record: Callable[[ContactorOperation], None],
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.spec = spec
        self.is_closed = False
        self.is_commanded = False
        self.fault: ContactorFault | None = None
        self.wear = 0.0
        self._record = record
        self._changed = changed
        self._slowness = 1.0
        self._moves_s = math.inf
        self._late_s = math.inf
        self._feedback_stuck: bool | None = None

    @property
    def feedback_is_closed(self) -> bool:
        """What its auxiliary contact says."""
        return self.is_closed if self._feedback_stuck is None else self._feedback_stuck

    @property
    def disagrees(self) -> bool:
        """Whether the auxiliary contact says otherwise than the command."""
        return self.feedback_is_closed is not self.is_commanded

    @property
    def next_event_s(self) -> float:
        """When it moves, or its disagreement becomes a fault."""
        return min(self._moves_s, self._late_s)

    def breaks_before_weld(self, current_a: float) -> float:
        """How often it can break a current; infinite below the curve, never above it."""
        points = self.spec.breaks
        current_a = abs(current_a)
        if current_a < points[0][0]:
            return math.inf
        return 0.0 if current_a > points[-1][0] else log_line_at(points, current_a)

    def command(self, now_s: float, *, is_closed: bool) -> None:
        """Energise or release its coil."""
        if is_closed is self.is_commanded:
            return
        self.is_commanded = is_closed
        delay_s = self.spec.close_delay_s if is_closed else self.spec.open_delay_s
        self._moves_s = math.inf if is_closed is self.is_closed else now_s + self._slowness * delay_s
        self._late_s = now_s + delay_s + self.spec.feedback_delay_s if self.disagrees else math.inf

    def move(self, now_s: float, current_a: Callable[[], float]) -> bool:
        """Move if it is due; says whether it did.

        Args:
            now_s: the present.
            current_a: that it breaks or makes.
        """
        if now_s < self._moves_s:
            return False
        self._moves_s = math.inf
        if self.fault in {ContactorFault.WELDED, ContactorFault.STUCK_OPEN}:
            return False
        return self._move(now_s, current_a(), is_closed=self.is_commanded)

    def has_failed(self, now_s: float) -> bool:
        """Whether auxiliary contact and command have disagreed for too long; once for each disagreement."""
        if not self.disagrees:
            self._late_s = math.inf
        if now_s < self._late_s:
            return False
        self._late_s = math.inf
        return True

    def fail(
        self, fault: ContactorFault, now_s: float, *, current_a: float = 0.0, slowness: float = 20.0
    ) -> None:
        """Break it: stuck open drops out, welded closes, slow takes ``slowness`` times its delays."""
        self.fault = fault
        if fault is ContactorFault.SLOW:
            self._moves_s = now_s + (self._moves_s - now_s) * slowness / self._slowness
            self._slowness = slowness
        else:
            is_closed = fault is ContactorFault.WELDED
            self._moves_s = math.inf
            if is_closed is not self.is_closed:
                self._record(ContactorOperation(now_s, self.name, is_closed, current_a, not is_closed))
                self.is_closed = is_closed
        self._watch(now_s)
        self._changed()

    def fail_feedback(self, now_s: float, *, is_closed: bool) -> None:
        """Let its auxiliary contact stick."""
        self._feedback_stuck = is_closed
        self._watch(now_s)
        self._changed()

    def repair(self, now_s: float) -> None:
        """Put a new one in, released or energised as it is commanded."""
        self.fault = None
        self._feedback_stuck = None
        self.wear = 0.0
        self._late_s = math.inf
        if self.is_closed is self.is_commanded:
            self._moves_s = math.inf
        elif self._moves_s == math.inf:
            self._moves_s = now_s
        else:
            self._moves_s = now_s + (self._moves_s - now_s) / self._slowness
        self._slowness = 1.0
        self._changed()

    def _watch(self, now_s: float) -> None:
        """Give a disagreement that no command made its time; one that is timed keeps it."""
        if not self.disagrees:
            self._late_s = math.inf
        elif self._moves_s == self._late_s == math.inf:
            self._late_s = now_s + self.spec.feedback_delay_s

    def _move(self, now_s: float, current_a: float, *, is_closed: bool) -> bool:
        if not is_closed:
            breaks = self.breaks_before_weld(current_a)
            self.wear += 1.0 / breaks if breaks > 0.0 else math.inf
            if self.wear > 1.0 + 1e-9:
                self.fault = ContactorFault.WELDED
                self._record(ContactorOperation(now_s, self.name, True, current_a, True))
                return False
        self.is_closed = is_closed
        self._record(ContactorOperation(now_s, self.name, is_closed, current_a, not is_closed))
        return True
