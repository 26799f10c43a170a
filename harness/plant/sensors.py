"""Sensors of the battery management: gain, offset, noise, and the ways in which they fail.

    reading = truth (1 + gain error) + offset + noise        cut at the ends of its span

The management's own decisions see readings without noise, as a mean over their delays would; noise is in what
it tells others, keyed and drawn once a sample interval.

Not modelled: drift with temperature and age, delays and filters, steps of the converter (no source gives
one; those of the wire are in the protocol).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from harness.plant.bms_spec import SensorSpec
from harness.plant.keyed import normal

FloatArray = NDArray[np.float64]


class SensorFault(Enum):
    """How a sensor fails."""

    FROZEN = "frozen"
    """Keeps showing what it shows."""
    OPEN = "open"
    """Its wire is open."""
    STUCK = "stuck"
    """Shows a given value."""
    OUT_OF_RANGE = "out of range"
    """Shows the upper end of its span."""


def _failed_value(
    name: str, spec: SensorSpec, fault: SensorFault, shown: float, value: float | None
) -> float:
    """What a failed sensor shows.

    Raises:
        ValueError: stuck without a value, a value without stuck, or no upper end to be out of range at.
    """
    if (value is not None) != (fault is SensorFault.STUCK):
        raise ValueError(
            f"{name} sensor: {fault.value} with value={value}; allowed: one with 'stuck' and with it alone"
        )
    if fault is SensorFault.FROZEN:
        return shown
    if fault is SensorFault.OPEN:
        return spec.open_value
    if value is not None:
        return value
    if spec.span[1] == math.inf:
        raise ValueError(f"{name} sensor: out of range of a span without an end; allowed: a span in its data")
    return spec.span[1]


class Sensor:
    """One channel.

    Attributes:
        gain: that truth is multiplied with.
        offset: that is added.
        held: what it shows whatever the truth; None while it works.
    """

    def __init__(
        self,
        name: str,
        spec: SensorSpec,
        truth: Callable[[], float],
        *,
        seed: int,
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.spec = spec
        self.gain = 1.0 + spec.gain_error
        self.offset = spec.offset
        self.held: float | None = None
        self._truth = truth
        self._seed = seed
        self._changed = changed

    def value(self) -> float:
        """What it shows, free of noise."""
        if self.held is not None:
            return self.held
        low, high = self.spec.span
        return min(max(self._truth() * self.gain + self.offset, low), high)

    def reading(self, sample: int) -> float:
        """What it shows in a sample, counted from time zero."""
        if self.held is not None or self.spec.noise == 0.0:
            return self.value()
        return self.value() + self.spec.noise * normal(self._seed, f"bms {self.name}", sample)

    @property
    def is_out_of_range(self) -> bool:
        """Whether it stands at or beyond an end of its span."""
        low, high = self.spec.span
        return not low < self.value() < high

    def fail(self, fault: SensorFault, value: float | None = None) -> None:
        """Break it; ``value`` is for a stuck one.

        Raises:
            ValueError: see ``_failed_value``.
        """
        self.held = _failed_value(self.name, self.spec, fault, self.value(), value)
        self._changed()

    def repair(self) -> None:
        """Mend it."""
        self.held = None
        self._changed()


class SensorRow:
    """One channel at each place of the string, each with its own offset.

    Attributes:
        lowest_offset: of all channels.
        highest_offset: of all channels.
        mean_offset: likewise.
        is_sound: whether none has failed.
    """

    def __init__(
        self,
        name: str,
        spec: SensorSpec,
        truth: Callable[[], FloatArray],
        *,
        count: int,
        seed: int,
        changed: Callable[[], None],
    ) -> None:
        """Build a row whose offsets are keyed draws with ``spec.offset`` as their standard deviation."""
        self.name = name
        self.spec = spec
        self._truth = truth
        self._changed = changed
        draws = [normal(seed, f"bms {name} offset", place) for place in range(count)]
        self._offsets: FloatArray = spec.offset * np.clip(np.array(draws), -3.0, 3.0)
        self.lowest_offset = float(self._offsets.min())
        self.highest_offset = float(self._offsets.max())
        self.mean_offset = float(self._offsets.mean())
        self._held: dict[int, float] = {}
        self.is_sound = True

    def values(self) -> FloatArray:
        """What they show, free of noise, shape (n,)."""
        shown: FloatArray = self._truth() + self._offsets
        for place, value in self._held.items():
            shown[place] = value
        return shown

    def believed(self, span: tuple[float, float]) -> FloatArray:
        """Those of the values that lie within a span."""
        values = self.values()
        low, high = span
        believed: FloatArray = values[(values > low) & (values < high)]
        return believed

    def fail(self, place: int, fault: SensorFault, value: float | None = None) -> None:
        """Break the one at a place; ``value`` is for a stuck one.

        Raises:
            ValueError: no such place, or see ``_failed_value``.
        """
        self._check(place)
        shown = float(self.values()[place])
        self._held[place] = _failed_value(f"{self.name} {place}", self.spec, fault, shown, value)
        self.is_sound = False
        self._changed()

    def repair(self, place: int) -> None:
        """Mend the one at a place.

        Raises:
            ValueError: no such place.
        """
        self._check(place)
        self._held.pop(place, None)
        self.is_sound = not self._held
        self._changed()

    def _check(self, place: int) -> None:
        count = len(self._offsets)
        if not 0 <= place < count:
            raise ValueError(f"{self.name} sensor: place {place}; allowed: 0 to {count - 1}")
