"""What a converter loses, as a map over AC power and DC voltage.

Straight between the points of the map in both directions; beyond it the loss goes on along the last piece in
power and stands in voltage. At one voltage ``P + loss(P)`` rises, so it has one inverse, piece by piece.

Not modelled: loss by reactive power, by temperature and by switching frequency.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

_SAME_V = 0.1
"""By how much the DC voltage may move until losses are looked up anew: half a per cent of a usual window,
ours."""


@dataclass(frozen=True, slots=True)
class LossMap:
    """Loss over AC power and DC voltage, at the points of a grid.

    Attributes:
        power_w: AC powers out of the converter, rising, zero among them.
        dc_voltage_v: DC voltages, rising.
        loss_w: for each voltage the losses at each power.

    Raises:
        ValueError: the points do not rise, the shapes disagree, a loss is negative, or more AC power would
            take less DC power.
    """

    power_w: tuple[float, ...]
    dc_voltage_v: tuple[float, ...]
    loss_w: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        """Refuse what is no map."""
        for name, places in (("power_w", self.power_w), ("dc_voltage_v", self.dc_voltage_v)):
            if any(after <= before for before, after in pairwise(places)):
                raise ValueError(f"loss map: {name}={list(places)}; allowed rising numbers")
        if len(self.power_w) < 2 or 0.0 not in self.power_w:
            raise ValueError(f"loss map: power_w={list(self.power_w)}; allowed two or more, with 0")
        if not self.dc_voltage_v:
            raise ValueError("loss map: dc_voltage_v is empty; allowed one or more")
        shape = [len(row) for row in self.loss_w]
        if shape != [len(self.power_w)] * len(self.dc_voltage_v):
            raise ValueError(
                f"loss map: loss_w has rows of {shape}; allowed {len(self.dc_voltage_v)} rows "
                f"(one a voltage) of {len(self.power_w)} (one a power)"
            )
        for volts, row in zip(self.dc_voltage_v, self.loss_w, strict=True):
            if min(row) < 0.0:
                raise ValueError(f"loss map: loss_w at {volts} V is {min(row)}; allowed 0 and above")
            for (p0, p1), (l0, l1) in zip(pairwise(self.power_w), pairwise(row), strict=True):
                if l1 - l0 <= p0 - p1:
                    raise ValueError(
                        f"loss map: at {volts} V the loss falls from {l0} W to {l1} W between "
                        f"{p0} W and {p1} W; allowed: slower than the power rises"
                    )

    def at(self, dc_voltage_v: float) -> tuple[float, ...]:
        """Losses at each power of the map, at one voltage."""
        volts = self.dc_voltage_v
        above = bisect_right(volts, dc_voltage_v)
        if above == 0:
            return self.loss_w[0]
        if above == len(volts):
            return self.loss_w[-1]
        share = (dc_voltage_v - volts[above - 1]) / (volts[above] - volts[above - 1])
        low, high = self.loss_w[above - 1], self.loss_w[above]
        return tuple(a + share * (b - a) for a, b in zip(low, high, strict=True))

    def loss_at_w(self, power_w: float, dc_voltage_v: float) -> float:
        """Loss at an AC power and a DC voltage."""
        return along(self.power_w, self.at(dc_voltage_v), power_w)

    def efficiency(self, power_w: float, dc_voltage_v: float) -> float:
        """Power out over power in, either direction; zero at no power."""
        dc_w = power_w + self.loss_at_w(power_w, dc_voltage_v)
        if power_w > 0.0:
            return power_w / dc_w
        return dc_w / power_w if power_w < 0.0 and dc_w < 0.0 else 0.0


class Losses:
    """A map at the DC voltage of the hour, looked up anew only where the voltage has moved.

    Attributes:
        map: of all voltages.
    """

    def __init__(self, loss_map: LossMap) -> None:
        self.map = loss_map
        self._has_one_row = len(loss_map.dc_voltage_v) == 1
        self._look_up(0.0)

    def is_stale(self, dc_voltage_v: float) -> bool:
        """Whether the voltage has moved."""
        return not self._has_one_row and abs(dc_voltage_v - self._looked_up_v) > _SAME_V

    def follow(self, dc_voltage_v: float) -> None:
        """Take the voltage of the hour."""
        if self.is_stale(dc_voltage_v):
            self._look_up(dc_voltage_v)

    def loss_w(self, power_w: float) -> float:
        """Loss at an AC power."""
        return along(self.map.power_w, self._row, power_w)

    def ac_power_w(self, dc_power_w: float) -> float:
        """AC power at a DC power: the inverse of P + loss(P)."""
        return along(self._taken_w, self.map.power_w, dc_power_w)

    def _look_up(self, dc_voltage_v: float) -> None:
        self._looked_up_v = dc_voltage_v
        self._row = self.map.at(dc_voltage_v)
        self._taken_w = tuple(p + loss for p, loss in zip(self.map.power_w, self._row, strict=True))


def along(places: tuple[float, ...], values: tuple[float, ...], place: float) -> float:
    """Value at a place of a line through points, going on straight beyond both ends."""
    piece = min(max(bisect_right(places, place), 1), len(places) - 1)
    left, right = places[piece - 1], places[piece]
    low, high = values[piece - 1], values[piece]
    return low + (high - low) * (place - left) / (right - left)


def quadratic(
    *,
    idle_w: float,
    linear: float,
    square_per_w: float,
    most_w: float,
    dc_voltage_v: float = 50.0,
    pieces: int = 40,
) -> LossMap:
    """Make a map of ``idle + linear |P| + square P²``, off by at most ``square (step / 2)²``.

    Args:
        idle_w: whenever it is on.
        linear: per active power, a fraction.
        square_per_w: per square of active power.
        most_w: up to which power, either direction.
        dc_voltage_v: of the only row; it holds at every voltage.
        pieces: of the map on each side of zero.
    """
    powers = tuple(most_w * place / pieces for place in range(-pieces, pieces + 1))
    row = tuple(idle_w + linear * abs(p) + square_per_w * p * p for p in powers)
    return LossMap(powers, (dc_voltage_v,), (row,))
