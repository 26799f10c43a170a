"""How the battery is connected: two main contactors, precharge, fuses, DC link, and the order they follow.

Closing: negative, precharge, then the positive main contactor once the link has its share of the string's
voltage; then the precharge contactor opens. Opening: positive (and precharge) first, then negative. A step
waits for the auxiliary contact of the one before.

Supervised: a link that is charged too soon or too late ends the try; after the last try it gives up. Of a
string near 0 V, as after a strip, a share says nothing: there a link within ``LEVEL_V`` is charged. A
contactor whose auxiliary contact disagrees with its command for too long is a fault, and nothing closes while
one does. A positive contactor that does not come apart leaves the current to the negative one. Each string of
a rack has its own fuse: one that melts takes its string off the node. All strings share the contactors here.

All of it happens at exact instants. The order within one instant is that of ``contactors``.

Not modelled: contactors' and fuses' own resistance, the inductance of the loop, a link that leaks through
open contactors, contactors of its own for each string (``rack`` has one each, without delay or wear).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

from harness.plant.bms_spec import BmsSpec
from harness.plant.contactors import Contactor, ContactorFault, ContactorOperation
from harness.plant.fuse import Fuse
from harness.plant.link import DcLink
from harness.plant.rack import Battery, Rack

PRECHARGE = "precharge"
CONTACTOR = "contactor"
FUSE = "fuse"


class Stage(Enum):
    """Where the order of the contactors stands."""

    OPEN = "open"
    CLOSING_NEGATIVE = "closing the negative contactor"
    CLOSING_PRECHARGE = "closing the precharge contactor"
    PRECHARGING = "precharging"
    CLOSING_POSITIVE = "closing the positive contactor"
    CLOSED = "closed"
    OPENING_POSITIVE = "opening the positive contactor"
    OPENING_NEGATIVE = "opening the negative contactor"


_INSTANT_S = 1e-9
"""What is left of a time that was computed to be over by now."""

LEVEL_V = 1.0
"""Difference of voltages that needs no precharge: less than what a share of 95 % leaves of 48 V; ours."""

KEPT_OPERATIONS = 1000
"""A hundred times on and off and more, which no plan comes near; a run without end stays small. Ours."""

_CLOSING = frozenset(
    {Stage.CLOSING_NEGATIVE, Stage.CLOSING_PRECHARGE, Stage.PRECHARGING, Stage.CLOSING_POSITIVE}
)


class Connection:
    """Contactors, fuses and link of a battery.

    Attributes:
        stage: of the order.
        is_closed: whether string and link are connected through main contactors and fuse.
        negative: main contactor at the negative pole.
        positive: main contactor at the positive pole.
        precharge: contactor of the precharge resistor, beside the positive one.
        fuses: one in each string; none where there are none.
        link: behind the contactors.
        operations: the last ``KEPT_OPERATIONS`` that contactors did, in the order of time.
        is_resting: whether nothing of it moves or waits.
    """

    def __init__(
        self,
        spec: BmsSpec,
        string: Battery,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        """Build it open, and the link empty.

        Args:
            spec: what it is made of.
            string: what it connects.
            clock: tells the present.
            changed: told that something was changed from outside, or has begun to move.
        """
        self.spec = spec
        self._string = string
        self._clock = clock
        self._changed = changed
        self.operations: list[ContactorOperation] = []
        self.negative, self.precharge, self.positive = (
            Contactor(name, spec.contactor, self._keep, self._note)
            for name in ("negative", "precharge", "positive")
        )
        self.contactors = (self.negative, self.precharge, self.positive)
        fuse = spec.fuse
        self.fuses = () if fuse is None else tuple(Fuse(fuse) for _ in string.string_currents_a)
        self.link = DcLink(spec.precharge, self._note)
        self.stage = Stage.OPEN
        self.is_closed = False
        self.is_resting = True
        self._precharge_start_s = self._shortest_s = 0.0
        self._failed_tries = 0
        self._next_try_s = math.inf
        self._fuse_noticed_s = math.inf
        self._link_after_v = 0.0

    def _keep(self, operation: ContactorOperation) -> None:
        self.operations.append(operation)
        del self.operations[:-KEPT_OPERATIONS]

    @property
    def now_s(self) -> float:
        """The present."""
        return self._clock()

    @property
    def is_cut(self) -> bool:
        """Whether no string has a fuse that is whole."""
        return bool(self.fuses) and all(fuse.is_blown for fuse in self.fuses)

    @property
    def wants_closed(self) -> bool:
        """Whether it is closed, or about to be."""
        return self.stage is Stage.CLOSED or self.stage in _CLOSING or self._next_try_s < math.inf

    @property
    def is_supplying(self) -> bool:
        """Whether the converter has the string's voltage: closed onto a link that is no short."""
        return self.is_closed and not self.link.is_shorted

    @property
    def is_precharging(self) -> bool:
        """Whether the link is fed through the precharge resistor."""
        return (
            self.negative.is_closed
            and self.precharge.is_closed
            and not self.positive.is_closed
            and not self.is_cut
        )

    @property
    def link_voltage_v(self) -> float:
        """Voltage of the link."""
        if not self.is_closed:
            return self.link.voltage_v
        return self._string.voltage_v

    @property
    def step_hint_s(self) -> float:
        """A part of the time constant while it precharges or a short empties the string."""
        if self.is_closed:
            return 0.001 if self.link.is_shorted else math.inf
        if self.is_precharging:
            link = self.link
            return max(min(link.precharge_ohm, link.short_ohm) * link.capacitance_f / 20.0, 0.001)
        return math.inf

    @property
    def next_event_s(self) -> float:
        """When the next thing happens that is known by now."""
        if self.is_resting:
            return math.inf
        dues_s = [contactor.next_event_s for contactor in self.contactors]
        dues_s.append(self._fuse_noticed_s)
        if self.stage is Stage.OPEN:
            dues_s.append(self._next_try_s)
        for fuse, coming_a in zip(self.fuses, self._coming_currents_a(), strict=False):
            dues_s.append(self.now_s + fuse.due_in_s(coming_a))
        if self.stage is Stage.PRECHARGING:
            dues_s.append(self._precharge_start_s + self.spec.precharge.longest_s)
            dues_s.append(self.now_s + self._precharge_left_s())
        return min(dues_s)

    def close(self) -> None:
        """Begin to close; nothing where it is closed or about to be."""
        self._failed_tries = 0
        if any(fuse.is_blown for fuse in self.fuses):
            self._fuse_noticed_s = self.now_s
        if not self.wants_closed:
            self._next_try_s = self.now_s
        self._note()

    def open(self) -> None:
        """Begin to open."""
        self._next_try_s = math.inf
        if self.stage is not Stage.OPEN and self.stage is not Stage.OPENING_NEGATIVE:
            self._begin_opening()
        self._note()

    def fail(self, contactor: Contactor, fault: ContactorFault, *, slowness: float = 20.0) -> None:
        """Break a contactor now: stuck open drops out, welded closes, slow takes so many times its delays."""
        current_a = self._breaking_a() if contactor.is_closed else self._making_a(contactor)
        contactor.fail(fault, self.now_s, current_a=current_a, slowness=slowness)
        self._follow_paths()
        self._note()

    def fail_feedback(self, contactor: Contactor, *, is_closed: bool) -> None:
        """Let a contactor's auxiliary contact stick."""
        contactor.fail_feedback(self.now_s, is_closed=is_closed)

    def repair(self, contactor: Contactor) -> None:
        """Put a new contactor in."""
        contactor.repair(self.now_s)

    def current_a(self, duration_s: float) -> float:
        """Mean current of a coming step into whatever is not the converter: precharge, link, short."""
        string, link = self._string, self.link
        if self.is_closed:
            if not link.is_shorted:
                return 0.0
            mean_v, mean_ohm, _, _ = string.source(duration_s, is_charging=False)
            return max(mean_v, 0.0) / (mean_ohm + link.short_ohm)
        is_fed = self.is_precharging
        source_v, source_ohm = self._source() if is_fed else (0.0, math.inf)
        self._link_after_v, current_a = link.run(
            duration_s, source_v, source_ohm, is_drained=self._is_drained
        )
        return current_a if is_fed else 0.0

    def advance(self, duration_s: float) -> None:
        """Follow the step that the string has just made."""
        for fuse, carried_a in zip(self.fuses, self._string.string_currents_a, strict=False):
            if not (fuse.is_cold and abs(carried_a) < fuse.least_current_a):
                fuse.carry(carried_a, duration_s)
                self.is_resting = False
        if not self.is_closed:
            self.link.voltage_v = self._link_after_v

    def settle(self) -> frozenset[str]:
        """Let everything that is due at this instant happen; says what is to be an alarm."""
        found: set[str] = set()
        self._settle_fuse(found)
        for contactor in self.contactors:
            if contactor.move(self.now_s, lambda mover=contactor: self._moving_a(mover)):  # type: ignore[misc]
                self._follow_paths()
            if contactor.has_failed(self.now_s):
                found.add(CONTACTOR)
        while self._go_on(found):
            pass
        self._note_rest()
        return frozenset(found)

    def _go_on(self, found: set[str]) -> bool:
        """Take the next step of the order if it is time; says whether it did."""
        stage, now_s = self.stage, self.now_s
        negative, precharge, positive = self.contactors
        if found and stage in _CLOSING | {Stage.CLOSED}:
            self._begin_opening()
        elif stage is Stage.OPEN and now_s >= self._next_try_s:
            self._next_try_s = math.inf
            if any(contactor.disagrees for contactor in self.contactors):
                found.add(CONTACTOR)
                return False
            negative.command(now_s, is_closed=True)
            self.stage = Stage.CLOSING_NEGATIVE
        elif stage is Stage.CLOSING_NEGATIVE and negative.feedback_is_closed:
            precharge.command(now_s, is_closed=True)
            self.stage = Stage.CLOSING_PRECHARGE
        elif stage is Stage.CLOSING_PRECHARGE and precharge.feedback_is_closed:
            self._precharge_start_s = now_s
            self._shortest_s = self._shortest_precharge_s()
            self.stage = Stage.PRECHARGING
        elif stage is Stage.PRECHARGING:
            return self._judge_precharge(found)
        elif stage is Stage.CLOSING_POSITIVE and positive.feedback_is_closed:
            precharge.command(now_s, is_closed=False)
            self._failed_tries = 0
            self.stage = Stage.CLOSED
        elif stage is Stage.OPENING_POSITIVE and self._has_left(positive) and self._has_left(precharge):
            negative.command(now_s, is_closed=False)
            self.stage = Stage.OPENING_NEGATIVE
        elif stage is Stage.OPENING_NEGATIVE and self._has_left(negative):
            self.stage = Stage.OPEN
        else:
            return False
        return True

    def _has_left(self, contactor: Contactor) -> bool:
        """Whether a contactor that was told to open has, or has been found not to."""
        return not contactor.feedback_is_closed or contactor.next_event_s == math.inf

    def _judge_precharge(self, found: set[str]) -> bool:
        spec, now_s = self.spec.precharge, self.now_s
        is_done = self._precharge_left_s() <= _INSTANT_S
        is_late = now_s >= self._precharge_start_s + spec.longest_s
        if not is_done and not is_late:
            return False
        if is_done and now_s >= self._precharge_start_s + self._shortest_s:
            self.positive.command(now_s, is_closed=True)
            self.stage = Stage.CLOSING_POSITIVE
            return True
        self._failed_tries += 1
        self._begin_opening()
        if self._failed_tries < spec.tries:
            self._next_try_s = now_s + spec.pause_s
        else:
            found.add(PRECHARGE)
        return True

    def _shortest_precharge_s(self) -> float:
        """Shortest time of an exponential from where the link is now; a link from empty has the spec's."""
        spec, source_v = self.spec.precharge, self._string.voltage_at_v(0.0)
        if source_v <= 0.0:
            return 0.0
        missing = 1.0 - self.link.voltage_v / source_v
        left, whole = 1.0 - self._charged_v(source_v) / source_v, 1.0 - spec.done_fraction
        return spec.shortest_s * math.log(missing / left) / math.log(1.0 / whole) if missing > left else 0.0

    def _charged_v(self, source_v: float) -> float:
        """Voltage at which the link is charged."""
        return min(self.spec.precharge.done_fraction * source_v, source_v - LEVEL_V)

    def _precharge_left_s(self) -> float:
        """How long until the link has its share of the string's voltage."""
        level_v = self._charged_v(self._string.voltage_v)
        if not self.is_precharging:
            return 0.0 if self.link.voltage_v >= level_v else math.inf
        return self.link.time_to_s(level_v, *self._source())

    def _begin_opening(self) -> None:
        self.positive.command(self.now_s, is_closed=False)
        self.precharge.command(self.now_s, is_closed=False)
        self.stage = Stage.OPENING_POSITIVE

    def _settle_fuse(self, found: set[str]) -> None:
        string = self._string
        blown = [place for place, fuse in enumerate(self.fuses) if fuse.is_blown]
        if blown:
            is_new = self.is_cut and self.is_closed
            if isinstance(string, Rack):
                for place in blown:
                    is_new = is_new or string.is_connected(place)
                    string.connect(place, is_closed=False)
            if is_new and self._fuse_noticed_s == math.inf:
                self._fuse_noticed_s = self.now_s + self.spec.alarm_delay_s
            self._follow_paths()
        if self.now_s >= self._fuse_noticed_s:
            self._fuse_noticed_s = math.inf
            if blown:
                self._next_try_s = math.inf
                found.add(FUSE)

    def _follow_paths(self) -> None:
        """Note whether string and link are connected, and end a current that has no way left."""
        is_whole = self.negative.is_closed and not self.is_cut
        is_closed = is_whole and self.positive.is_closed
        if self.is_closed and not is_closed:
            loaded_v = self._string.interrupt()
            self.link.voltage_v = 0.0 if self.link.is_shorted else max(loaded_v, 0.0)
        self.is_closed = is_closed
        if not is_closed and not self.is_precharging:
            self._string.interrupt()

    def _note_rest(self) -> None:
        """Say whether anything moves or waits."""
        is_still = self.is_closed or not (
            self.is_precharging or (self.link.voltage_v > 0.0 and self._is_drained)
        )
        self.is_resting = (
            self.stage in {Stage.OPEN, Stage.CLOSED}
            and is_still
            and not self.link.is_shorted
            and self._next_try_s == math.inf
            and self._fuse_noticed_s == math.inf
            and all(fuse.is_cold for fuse in self.fuses)
            and all(contactor.next_event_s == math.inf for contactor in self.contactors)
        )

    @property
    def _is_drained(self) -> bool:
        """Whether the discharge resistor lies across the link."""
        return not self.positive.is_closed and not self.precharge.is_closed

    def _note(self) -> None:
        self.is_resting = False
        self._changed()

    def _source(self) -> tuple[float, float]:
        """Open-circuit voltage of the string at this instant, and the resistance that it has at once."""
        source_v = self._string.voltage_at_v(0.0)
        return source_v, source_v - self._string.voltage_at_v(1.0)

    def _moving_a(self, contactor: Contactor) -> float:
        return self._breaking_a() if contactor.is_closed else self._making_a(contactor)

    def _breaking_a(self) -> float:
        """Current that a contactor of the string breaks: all there is."""
        return self._string.current_a if self.is_closed or self.is_precharging else 0.0

    def _making_a(self, contactor: Contactor) -> float:
        """First current when a contactor closes: the difference of voltages over what lies between."""
        if self.is_closed or self.is_cut:
            return 0.0
        others = [other.is_closed for other in (self.negative, self.positive) if other is not contactor]
        source_v, source_ohm = self._source()
        difference_v = source_v - self.link.voltage_v
        if contactor is not self.precharge and all(others):
            return difference_v / source_ohm
        if contactor is not self.positive and (self.negative.is_closed or contactor is self.negative):
            is_way = contactor is self.precharge or self.precharge.is_closed
            return difference_v / (source_ohm + self.link.precharge_ohm) if is_way else 0.0
        return 0.0

    def _coming_currents_a(self) -> tuple[float, ...]:
        """Current that each fuse is about to carry, as far as it is known; a short's in equal parts."""
        currents = self._string.string_currents_a
        if self.is_closed and self.link.is_shorted:
            source_v, source_ohm = self._source()
            part_a = source_v / (source_ohm + self.link.short_ohm) / len(self._string.connected_places)
            return (part_a,) * len(currents)
        return currents
