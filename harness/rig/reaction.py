"""How long the rig takes from a breach of its envelope until the current is gone, end to end.

    reaction = max(report interval, stale rule) + latency + actuator

A breach may begin just after a report, and the sensor may die before its next one: then the stale rule is
what acts. Where that is longer than the time that the envelope allows, the rig must not be energised.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from harness.rig.rig_file import RigFile
from harness.rig.topology import AtMost, Between, Envelope

STALE_PERIODS = 3.0
"""Reports that may be missing before silence counts: as every reading of the project."""


def stale_after_s(period_s: float, longest_s: float) -> float:
    """Silence that trips: three of a sensor's periods, and never longer than the envelope says."""
    return min(STALE_PERIODS * period_s, longest_s)


def limits_of(envelope: Envelope) -> Mapping[str, tuple[float, float]]:
    """Give lowest and highest value of each limit that the envelope has."""
    limits: dict[str, tuple[float, float]] = {}
    for name in type(envelope).model_fields:
        limit = getattr(envelope, name)
        match limit:
            case Between():
                limits[name] = limit.value
            case AtMost():
                limits[name] = (-limit.value, limit.value)
            case None:
                pass
            case _:
                limits[name] = (limit.value, math.inf)
    return limits


def reactions_s(rig: RigFile) -> Mapping[str, tuple[float, float]]:
    """Give for each limit that software watches: (reaction, time that the envelope allows)."""
    assert rig.envelope is not None
    assert rig.interlock is not None
    part = rig.interlock
    found: dict[str, tuple[float, float]] = {}
    for limit, sensors in part.watch.items():
        slowest_s = max(part.periods_s[sensor.partition(".")[0]] for sensor in sensors)
        seen_s = max(slowest_s, stale_after_s(slowest_s, rig.envelope.stale_s.value))
        allowed = getattr(rig.envelope, limit)
        if allowed is not None:
            found[limit] = (seen_s + part.latency_s + part.actuator_s, allowed.within_s)
    return found


def too_slow(rig: RigFile) -> Iterator[str]:
    """Say which limits software cannot hold in time, and what helps."""
    for limit, (reaction_s, allowed_s) in reactions_s(rig).items():
        if reaction_s > allowed_s:
            yield (
                f"envelope.{limit}: the reaction takes {reaction_s:.3g} s end to end, the rig survives "
                f"{allowed_s:g} s; use a faster sensor, or put the limit into an instrument's own protection "
                "(interlock.guarded_by_instrument)"
            )
