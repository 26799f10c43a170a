"""What a standard gives as a table rather than as one limit: ride-through bands, trips, sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from harness.requirements.requirement import Label


class Mode(Enum):
    """What a unit does during a stretch of disturbed voltage, as far as its terminals show."""

    CARRYING = "carrying"
    """At least the demanded share of the current before the event, in the same direction."""

    PARTIAL = "partial"
    """Neither carrying nor ceased, or changing between them."""

    CEASED = "ceased"
    """No active power and next to no reactive power: ceased, tripped or dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RideThroughBand:
    """One row of the tables that say how long a unit has to bear a voltage (IEEE 1547, Tables 14 to 16).

    Attributes:
        category: ``I``, ``II`` or ``III``.
        low_pu: lower edge.
        high_pu: upper edge.
        mode: ``continuous``, ``mandatory``, ``permissive``, ``momentary cessation`` or ``cease``.
        duty_s: time to bear it at the lower edge; None where the table gives no time.
        slope_s_per_pu: seconds more for each per unit above the lower edge.
        label: where the row was seen.
    """

    category: str
    low_pu: float
    high_pu: float
    mode: str
    duty_s: float | None
    slope_s_per_pu: float
    label: Label

    def contains(self, voltage_pu: float) -> bool:
        """Whether a voltage falls into the row; an edge belongs to the row nearer to nominal."""
        if self.mode == "continuous":
            return self.low_pu <= voltage_pu <= self.high_pu
        if voltage_pu < 1.0:
            return self.low_pu <= voltage_pu < self.high_pu
        return self.low_pu < voltage_pu <= self.high_pu

    def duty_at_s(self, voltage_pu: float) -> float | None:
        """Time to bear this voltage, counted since it left the continuous band."""
        return None if self.duty_s is None else self.duty_s + self.slope_s_per_pu * (voltage_pu - self.low_pu)


@dataclass(frozen=True, slots=True, kw_only=True)
class TripSetting:
    """One row of the tables that say when a unit shall trip (IEEE 1547, Tables 11 to 13 and 18).

    Attributes:
        category: ``I``, ``II``, ``III`` or ``all``.
        function: ``OV2``, ``OV1``, ``UV1``, ``UV2``, ``OF2``, ``OF1``, ``UF1``, ``UF2``.
        threshold: default, in ``unit``.
        threshold_range: lowest and highest setting.
        unit: ``pu`` or ``Hz``.
        clearing_s: default.
        clearing_range_s: shortest and longest setting.
        label: where the row was seen.
    """

    category: str
    function: str
    threshold: float
    threshold_range: tuple[float, float]
    unit: str
    clearing_s: float
    clearing_range_s: tuple[float, float]
    label: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRow:
    """One segment of a ride-through signal, as the standard bounds it and as this house runs it.

    Attributes:
        name: ``A`` to ``F``; a prime is written ``p``.
        low_pu: lowest residual voltage of the segment.
        high_pu: highest residual voltage.
        duration_s: shortest dwell; run exactly this long.
        level_pu: the level that is run; a ramp's end.
        accuracies: source accuracies added to that level, to stay on the intended side of an edge.
        is_ramp: whether the level is reached linearly from the segment before.
        allowed: modes that are right, by the mode shown in the segment before.
        is_event: whether the voltage is outside the continuous band.
    """

    name: str
    low_pu: float
    high_pu: float
    duration_s: float
    level_pu: float
    accuracies: float
    is_ramp: bool
    allowed: Mapping[Mode, frozenset[Mode]]
    is_event: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceTable:
    """A whole ride-through signal and the times in which a unit has to follow it.

    Attributes:
        name: ``lvrt_2``, for example.
        category: whose ride-through duty it examines.
        total_s: length of the whole, stated so that a slip of the pen shows.
        cease_s: time in which a unit that has to cease has ceased.
        restore_s: time in which a unit that ceased carries again.
        transient_cycles: cycles after a step of the voltage that are not judged.
        rows: by segment name.
        order: names in the order of play.
    """

    name: str
    category: str
    total_s: float
    cease_s: float
    restore_s: float
    transient_cycles: float
    rows: Mapping[str, SegmentRow]
    order: tuple[str, ...]
