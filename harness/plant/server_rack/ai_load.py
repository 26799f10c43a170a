"""Power of AI work over time: pieces that join end to end, each linear in time; jumps are allowed.

A profile is an iterator of ``Piece`` from time zero; profiles take profiles. Nothing here draws from a
stream: jitter is keyed by (seed, index).

Swings of 0.2 to 3 Hz and 1 to 50 ms: published measurements of training clusters, second hand. Not modelled:
why the power is what it is (no computation, no clocks, no temperature), and swings above the kilohertz that
the servers' own converters filter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import NamedTuple

from harness.plant.keyed import normal


class Piece(NamedTuple):
    """A stretch of linear power."""

    start_s: float
    end_s: float
    from_w: float
    to_w: float

    @property
    def slope_w_per_s(self) -> float:
        """Change of the power."""
        if self.from_w == self.to_w:
            return 0.0
        return (self.to_w - self.from_w) / (self.end_s - self.start_s)

    def at_w(self, time_s: float) -> float:
        """Power at a time within."""
        if self.from_w == self.to_w:
            return self.to_w
        return self.from_w + (time_s - self.start_s) * self.slope_w_per_s


Profile = Iterator[Piece]

_NEAR_S = 1e-10
"""Times closer than this are one: rounding of rig time after months, far below any ramp."""


def steady(power_w: float) -> Profile:
    """Draw the same forever."""
    _check("steady", power_w=power_w)
    yield Piece(0.0, math.inf, power_w, power_w)


def through(points: Sequence[tuple[float, float]]) -> Profile:
    """Draw lines through (time in s, power in W); before the first and after the last it stands.

    Two points at one time make a jump: idle to full in no time, or a trip, in which everything drops at once.

    Raises:
        ValueError: no points, or times that fall.
    """
    if not points or any(b[0] < a[0] for a, b in pairwise(points)) or points[0][0] < 0.0:
        raise ValueError(
            f"load profile: through({points}); allowed one point or more, times from 0 and not falling"
        )
    first_s, first_w = points[0]
    if first_s > 0.0:
        yield Piece(0.0, first_s, first_w, first_w)
    for (a_s, a_w), (b_s, b_w) in pairwise(points):
        if b_s > a_s:
            yield Piece(a_s, b_s, a_w, b_w)
    last_s, last_w = points[-1]
    yield Piece(last_s, math.inf, last_w, last_w)


@dataclass(frozen=True, kw_only=True, slots=True)
class Swing:
    """A square wave with ramps: compute at ``high_w``, exchange at ``low_w``.

    Attributes:
        low_w: power between.
        high_w: power while computing.
        frequency_hz: of the steps.
        duty: part of the period at ``high_w``, ramps half counted.
        ramp_s: from one level to the other.
        jitter: standard deviation of each edge, as a fraction of the period; keyed normal draws, cut at 3.
        start_s: of the first rise.
        seed: keys the draws.
    """

    low_w: float
    high_w: float
    frequency_hz: float
    duty: float = 0.5
    ramp_s: float = 0.005
    jitter: float = 0.0
    start_s: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        _check("swing", low_w=self.low_w, high_w=self.high_w, start_s=self.start_s, jitter=self.jitter)
        period_s = 1.0 / self.frequency_hz if self.frequency_hz > 0.0 else 0.0
        least_s = min(self.duty, 1.0 - self.duty) * period_s
        # Both edges of a level may move towards each other by three deviations.
        room_s = least_s - 6.0 * self.jitter * period_s
        if not 0.0 <= self.ramp_s < room_s:
            raise ValueError(
                f"load swing: ramp_s={self.ramp_s}, duty={self.duty} and jitter={self.jitter} at "
                f"{self.frequency_hz} Hz; allowed ramps from 0 to below {room_s:g} s"
            )

    def pieces(self) -> Profile:
        """Give the profile."""
        period_s = 1.0 / self.frequency_hz
        levels = (self.low_w, self.high_w)
        now_s = 0.0
        for edge in count():
            is_rise = edge % 2 == 0
            late = (
                self.jitter * max(-3.0, min(3.0, normal(self.seed, "load edge", edge)))
                if self.jitter
                else 0.0
            )
            part = edge // 2 + (0.0 if is_rise else self.duty) + late
            begin_s = max(self.start_s + part * period_s, 0.0)
            before_w, after_w = levels if is_rise else levels[::-1]
            if begin_s > now_s:
                yield Piece(now_s, begin_s, before_w, before_w)
            now_s = begin_s + self.ramp_s
            if self.ramp_s > 0.0:
                yield Piece(begin_s, now_s, before_w, after_w)


def checkpoints(full_w: float, floor_w: float, *, every_s: float, pause_s: float, ramp_s: float) -> Profile:
    """Work at full power, and pause for a checkpoint each ``every_s``, ramps on both sides of the pause.

    Raises:
        ValueError: a pause that does not fit.
    """
    _check("checkpoints", full_w=full_w, floor_w=floor_w, ramp_s=ramp_s)
    if not 0.0 < pause_s + 2.0 * ramp_s < every_s:
        raise ValueError(
            f"load checkpoints: pause_s={pause_s} with ramps of {ramp_s} s; allowed below {every_s} s"
        )
    for number in count(1):
        begin_s = number * every_s - pause_s - 2.0 * ramp_s
        yield Piece((number - 1) * every_s, begin_s, full_w, full_w)
        down_s, up_s = begin_s + ramp_s, begin_s + ramp_s + pause_s
        if ramp_s > 0.0:
            yield Piece(begin_s, down_s, full_w, floor_w)
        yield Piece(down_s, up_s, floor_w, floor_w)
        if ramp_s > 0.0:
            yield Piece(up_s, number * every_s, floor_w, full_w)


def tripped(profile: Profile, at_s: float) -> Profile:
    """Follow a profile, and drop to nothing at once."""
    for piece in profile:
        if piece.end_s <= at_s:
            yield piece
            continue
        if piece.start_s < at_s:
            yield Piece(piece.start_s, at_s, piece.from_w, piece.at_w(at_s))
        break
    yield Piece(at_s, math.inf, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoothing:
    """Power smoothing as GPUs of the Blackwell generation have it, by NVML's profile parameters.

    target(t) = max(demand, floor), or demand alone once it has been below the floor for the hysteresis;
    power follows the target, no faster than the two ramps. What is drawn beyond the demand is burnt; what is
    below it is work that waits (not modelled: it is not made up for later).

    Attributes:
        floor_w: that is kept while work is expected.
        up_w_per_s: fastest rise.
        down_w_per_s: fastest fall.
        hysteresis_s: time below the floor until it is given up.
    """

    floor_w: float
    up_w_per_s: float
    down_w_per_s: float
    hysteresis_s: float

    def pieces(self, demand: Profile) -> Profile:
        """Smooth a profile; begins at its first power."""
        power_w: float | None = None
        below_since_s: float | None = None
        for piece in demand:
            now_s = piece.start_s
            if power_w is None:
                power_w = piece.from_w
            while now_s < piece.end_s:
                demand_w, slope = piece.at_w(now_s), piece.slope_w_per_s
                is_below = demand_w < self.floor_w or (demand_w == self.floor_w and slope < 0.0)
                if not is_below:
                    below_since_s = None
                elif below_since_s is None:
                    below_since_s = now_s
                until_s = min(piece.end_s, _meet_s(now_s, demand_w, slope, self.floor_w, 0.0))
                target_w, target_slope = demand_w, slope
                if below_since_s is not None and now_s < below_since_s + self.hysteresis_s:
                    until_s = min(until_s, below_since_s + self.hysteresis_s)
                    target_w, target_slope = self.floor_w, 0.0
                moving = self._moving(power_w - target_w, target_slope)
                if abs(power_w - target_w) <= abs(moving - target_slope) * _NEAR_S:
                    power_w = target_w
                    moving = self._moving(0.0, target_slope)
                met_s = _meet_s(now_s, power_w, moving, target_w, target_slope)
                until_s = min(until_s, met_s)
                reached_w = power_w + moving * (until_s - now_s) if moving else power_w
                if until_s == met_s or (power_w, moving) == (target_w, target_slope):
                    reached_w = target_w + target_slope * (until_s - now_s) if target_slope else target_w
                yield Piece(now_s, until_s, power_w, reached_w)
                now_s, power_w = until_s, reached_w

    def _moving(self, above_w: float, target_slope: float) -> float:
        """Slope of the power, by how far it is above its target."""
        if above_w > 0.0:
            return -self.down_w_per_s
        if above_w < 0.0:
            return self.up_w_per_s
        return min(self.up_w_per_s, max(-self.down_w_per_s, target_slope))


def _meet_s(now_s: float, value: float, slope: float, other: float, other_slope: float) -> float:
    """Time at which two lines meet that have not met yet; infinite if never, or if they meet now."""
    if value == other or slope == other_slope:
        return math.inf
    ahead_s = (other - value) / (slope - other_slope)
    return now_s + ahead_s if ahead_s > _NEAR_S else math.inf


def total(profiles: Sequence[Profile]) -> Profile:
    """Add profiles up."""
    pieces = [next(profile) for profile in profiles]
    now_s = 0.0
    while now_s < math.inf:
        end_s = min(piece.end_s for piece in pieces)
        to_s = end_s if end_s < math.inf else now_s
        yield Piece(now_s, end_s, sum(p.at_w(now_s) for p in pieces), sum(p.at_w(to_s) for p in pieces))
        if end_s == math.inf:
            return
        pieces = [
            next(profile) if piece.end_s <= end_s else piece
            for piece, profile in zip(pieces, profiles, strict=True)
        ]
        now_s = end_s


def _check(who: str, **values: float) -> None:
    for name, value in values.items():
        if not 0.0 <= value < math.inf:
            raise ValueError(f"load {who}: {name}={value}; allowed 0 and above")
