"""What a device said, and what a measurement found: values that know where they come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from harness.clock import now_s

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Reading(NamedTuple, Generic[T_co]):
    """What a device said, and when; a tuple because there are so many.

    Attributes:
        value: in SI units; the unit is the suffix of ``source``.
        at_s: rig time at which the value was true as far as the bench can know: the arrival of
            the frame, or the answer to the query.
        source: ``<device>.<quantity>``, for example ``inverter.ac_power_w``.
    """

    value: T_co
    at_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What a capture or a computation found, with its uncertainty.

    Attributes:
        value: in SI units, or a fraction.
        u: standard uncertainty (k = 1), same unit as ``value``; zero only for counts and states.
        unit: of SI, as limits have it (``V``, ``var``, ``s``, ``Hz/s``, ``degC`` ...); ``1`` is a fraction,
            ``count`` a number of things, ``bool`` is 1 or 0.
        window_s: rig time from and to which the value stands for; None where it has no window.
        sources: the readings, channels or nodes it was computed from.
        parts: the terms of ``u`` by name, for the report.
    """

    value: float
    u: float
    unit: str
    window_s: tuple[float, float] | None = None
    sources: tuple[str, ...] = ()
    parts: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.u >= 0.0 or math.isinf(self.u):
            raise ValueError(
                f"uncertainty of {self.sources or 'a value'} is {self.u!r}; allowed: finite, zero or more"
            )


@dataclass(frozen=True, slots=True)
class Waveform:
    """Equally spaced samples of one channel.

    Attributes:
        samples: shape (n,), in the unit of ``channel``'s suffix (``load.u1_v``, ``grid.i2_a``).
        start_s: rig time of the first sample; uncertain by ``trigger_skew_s``.
        sample_rate_hz: samples a second.
        channel: ``<node>.<quantity>``.
        gain_u: standard uncertainty as a fraction of the sample.
        offset_u: standard uncertainty in the unit of the samples.
        trigger_skew_s: standard uncertainty of ``start_s``.
    """

    samples: NDArray[np.float64]
    start_s: float
    sample_rate_hz: float
    channel: str
    gain_u: float = 0.0
    offset_u: float = 0.0
    trigger_skew_s: float = 0.0

    @property
    def end_s(self) -> float:
        """Rig time just after the last sample."""
        return self.start_s + len(self.samples) / self.sample_rate_hz


class Observe(Protocol):
    """Takes readings at their birth; the record's way of missing none."""

    def __call__(self, *readings: Reading[Any]) -> None:
        """Take what one answer of a device brought."""


Note = Callable[[str, float, object], None]
"""Takes each command: ``<device>.<verb>``, rig time, what was asked."""


def ignore_readings(*readings: Reading[Any]) -> None:
    """Take readings and keep nothing (a device that stands outside a run)."""


def ignore_command(command: str, at_s: float, asked: object) -> None:
    """Take a command and keep nothing (a device that stands outside a run)."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How one device speaks to the record: each reading and each command passes here once."""

    device: str
    observe: Observe = ignore_readings
    note: Note = ignore_command

    def reading(self, quantity: str, value: T, at_s: float | None = None) -> Reading[T]:
        """Make a Reading of ``<device>.<quantity>``, recorded; ``at_s`` defaults to now."""
        reading = Reading(value, now_s() if at_s is None else at_s, f"{self.device}.{quantity}")
        self.observe(reading)
        return reading

    def readings(self, values: Mapping[str, object], at_s: float) -> None:
        """Record what one answer brought, by quantity: all at once costs little more than one."""
        device = self.device
        self.observe(*[Reading(value, at_s, f"{device}.{quantity}") for quantity, value in values.items()])

    def command(self, verb: str, asked: object = None) -> None:
        """Record that the bench is about to command ``<device>.<verb>``."""
        self.note(f"{self.device}.{verb}", now_s(), asked)
