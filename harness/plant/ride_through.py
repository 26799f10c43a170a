"""What a converter does at abnormal voltage and frequency, as data: trips, bands, duties, tolerances.

Three curves, as IEEE 1547-2018, 6.4 and 6.5 draw them: beyond a *must-trip* step for its clearing time the
converter ceases and trips; within a *band* it operates in a mode; until the end of a *duty* it may not trip,
and behind it it may (``trips_when_permitted``: the worst unit that still conforms).

Japanese numbers are from memory of JEAC 9701 unless said otherwise, and were never checked against its text.

Not modelled: how many disturbances in a row must be ridden through, and how far apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class RideMode(Enum):
    """What a converter does while the voltage at its terminals lies in a band (IEEE 1547-2018, 6.4.2)."""

    CONTINUOUS = "continuous operation"
    """Follows its set-points."""
    MANDATORY = "mandatory operation"
    """Keeps exchanging current; power falls where the current limit binds."""
    PERMISSIVE = "permissive operation"
    """May stop: keeps exchanging current, as OpenDER 2.2 does, unless the band says that it blocks."""
    MOMENTARY_CESSATION = "momentary cessation"
    """Blocks its gates and comes back by itself."""
    CEASE = "cease to energize"
    """Blocks its gates without tripping, and comes back by itself."""


_STRICTNESS = tuple(RideMode)

_BLOCKING = frozenset({RideMode.MOMENTARY_CESSATION, RideMode.CEASE})


@dataclass(frozen=True, kw_only=True, slots=True)
class RideBand:
    """One voltage band and what the converter does in it.

    Bands look at the phasors of the instant: gates block on a fast comparison, whose own delay is part of
    ``response_s``. Trips look at means over a window.

    Attributes:
        low_pu: lower edge.
        high_pu: upper edge.
        mode: what the converter does.
        response_s: time in the band until the gates block (only bands that block). IEEE 1547-2018 allows
            0.083 s for momentary cessation and 0.16 s for cease to energize (OpenDER 2.2, rt_perf.py).
        recovery_s: time of the linear way from zero back to full current after blocking ends; of the bands
            that one dip went through, the slowest counts.
        blocks_when_permitted: whether it blocks although the mode (permissive operation) leaves it the
            choice.
    """

    low_pu: float
    high_pu: float
    mode: RideMode
    response_s: float = 0.01
    recovery_s: float = 0.3
    blocks_when_permitted: bool = False

    def holds(self, voltage_pu: float) -> bool:
        """Whether a voltage lies in the band; an edge belongs to the band on the side of nominal voltage."""
        if voltage_pu < 1.0:
            return self.low_pu <= voltage_pu < self.high_pu
        return self.low_pu < voltage_pu <= self.high_pu

    @property
    def does_block(self) -> bool:
        """Whether the gates block in this band."""
        return self.mode in _BLOCKING or (self.mode is RideMode.PERMISSIVE and self.blocks_when_permitted)


@dataclass(frozen=True, kw_only=True, slots=True)
class TripStep:
    """A voltage protection: beyond the threshold for the clearing time, the converter trips.

    Attributes:
        threshold_pu: of the nominal line-to-neutral voltage; any one phase strictly beyond it counts.
        clearing_s: time from leaving to ceasing to energize.
        name: word for the alarm, for example ``uv2``.
    """

    threshold_pu: float
    clearing_s: float
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FrequencyTrip:
    """A frequency protection: strictly beyond the threshold for the clearing time, the converter trips.

    Attributes:
        threshold_hz: limit of the frequency.
        clearing_s: time from leaving to ceasing to energize.
        name: word for the alarm, for example ``of1``.
    """

    threshold_hz: float
    clearing_s: float
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RocofTrip:
    """A loss-of-mains relay on the rate of change of frequency.

    The rate is the difference of two adjacent means of the frequency over ``window_s``, over ``window_s``. A
    phase jump reads as jump over window squared, with one sign for a window and the other for the next: 20
    degrees and 0.1 s as 5.6 Hz/s for 0.2 s. A relay that has to ride through it holds longer than two
    windows.

    Attributes:
        threshold_hz_per_s: either sign.
        window_s: of each mean.
        hold_s: beyond the threshold until it trips.
        name: word for the alarm.
    """

    threshold_hz_per_s: float
    window_s: float = 0.1
    hold_s: float = 0.3
    name: str = "rocof"


@dataclass(frozen=True, kw_only=True, slots=True)
class Duty:
    """A may-trip boundary: how long a voltage band has to be ridden through.

    Attributes:
        low_pu: lower edge of the band.
        high_pu: upper edge.
        minimum_s: at the lower edge, counted from when the voltage left the continuous band.
        slope_s_per_pu: by how much longer for each per unit above the lower edge.
    """

    low_pu: float
    high_pu: float
    minimum_s: float
    slope_s_per_pu: float = 0.0

    def ends_s(self, voltage_pu: float) -> float:
        """How long it lasts at a voltage of the band."""
        return self.minimum_s + self.slope_s_per_pu * (voltage_pu - self.low_pu)


@dataclass(frozen=True, kw_only=True, slots=True)
class RideThrough:
    """A converter's protections and its behaviour by voltage band.

    Attributes:
        under_voltage: trips below.
        over_voltage: trips above.
        under_frequency: trips below.
        over_frequency: trips above.
        bands: behaviour by voltage; where none fits the converter operates continuously. The lowest phase
            and the highest phase are looked up apart, and the stricter mode acts.
        duties: how long voltage bands have to be ridden through; outside of all of them it is in its
            continuous band.
        trips_when_permitted: whether it trips at the end of a duty.
        rocof: relay on the rate of change of frequency; None: any rate is tolerated.
        phase_jump_trip_deg: jump of the positive sequence's angle beyond which it loses synchronism and trips
            (``phase_jump``), either sign; None: any jump is tolerated.
        voltage_window_s: of the mean that voltage trips look at; zero for the phasors of the instant.
        frequency_window_s: of the mean that frequency trips and droop look at; zero likewise.
    """

    under_voltage: tuple[TripStep, ...] = ()
    over_voltage: tuple[TripStep, ...] = ()
    under_frequency: tuple[FrequencyTrip, ...] = ()
    over_frequency: tuple[FrequencyTrip, ...] = ()
    bands: tuple[RideBand, ...] = ()
    duties: tuple[Duty, ...] = ()
    trips_when_permitted: bool = False
    rocof: RocofTrip | None = None
    phase_jump_trip_deg: float | None = None
    voltage_window_s: float = 0.0
    frequency_window_s: float = 0.0

    def mode(self, lowest_pu: float, highest_pu: float) -> RideMode:
        """What the lowest and the highest phase ask for, the stricter of both."""
        found = [band.mode for band in self.bands if band.holds(lowest_pu) or band.holds(highest_pu)]
        return max(found, key=_STRICTNESS.index, default=RideMode.CONTINUOUS)


IEEE1547_FREQUENCY_HZ = 60.0
"""IEEE 1547-2018 knows no other nominal frequency."""

IEEE1547_ROCOF_HZ_PER_S = {"I": 0.5, "II": 2.0, "III": 3.0}
"""Rates that have to be ridden through by category (IEEE 1547-2018, table 21), means over 0.1 s at least."""

_IEEE1547_FREQUENCY = RideThrough(
    # IEEE 1547-2018 table 18, defaults.
    over_frequency=(
        FrequencyTrip(threshold_hz=61.2, clearing_s=300.0, name="of1"),
        FrequencyTrip(threshold_hz=62.0, clearing_s=0.16, name="of2"),
    ),
    under_frequency=(
        FrequencyTrip(threshold_hz=58.5, clearing_s=300.0, name="uf1"),
        FrequencyTrip(threshold_hz=56.5, clearing_s=0.16, name="uf2"),
    ),
)

_HIGH_DUTIES = (
    # IEEE 1547-2018 tables 14 and 15 (OpenDER 2.2, rt_crit.py).
    Duty(low_pu=1.10, high_pu=1.15, minimum_s=1.0),
    Duty(low_pu=1.15, high_pu=1.175, minimum_s=0.5),
    Duty(low_pu=1.175, high_pu=1.20, minimum_s=0.2),
)

_HIGH_BANDS = (
    RideBand(low_pu=0.88, high_pu=1.10, mode=RideMode.CONTINUOUS),
    RideBand(low_pu=1.10, high_pu=1.20, mode=RideMode.PERMISSIVE),
    RideBand(low_pu=1.20, high_pu=10.0, mode=RideMode.CEASE),
)


def _with_trips(over: tuple[tuple[float, float], ...], under: tuple[tuple[float, float], ...]) -> RideThrough:
    """Make the voltage trips of an IEEE 1547-2018 category, step 1 first, with its frequency trips."""
    return replace(
        _IEEE1547_FREQUENCY,
        over_voltage=tuple(
            TripStep(threshold_pu=v, clearing_s=t, name=f"ov{n}") for n, (v, t) in enumerate(over, 1)
        ),
        under_voltage=tuple(
            TripStep(threshold_pu=v, clearing_s=t, name=f"uv{n}") for n, (v, t) in enumerate(under, 1)
        ),
    )


def ieee1547_category_1() -> RideThrough:
    """Category I of IEEE 1547-2018 (tables 11, 14 and 18) for a 60 Hz grid, at its defaults."""
    return replace(
        _with_trips(((1.10, 2.0), (1.20, 0.16)), ((0.70, 2.0), (0.45, 0.16))),
        bands=(
            RideBand(low_pu=0.0, high_pu=0.50, mode=RideMode.CEASE),
            RideBand(low_pu=0.50, high_pu=0.70, mode=RideMode.PERMISSIVE),
            RideBand(low_pu=0.70, high_pu=0.88, mode=RideMode.MANDATORY),
            *_HIGH_BANDS,
        ),
        duties=(
            Duty(low_pu=0.50, high_pu=0.70, minimum_s=0.16),
            Duty(low_pu=0.70, high_pu=0.88, minimum_s=0.7, slope_s_per_pu=4.0),
            *_HIGH_DUTIES,
        ),
    )


def ieee1547_category_2(*, widest_under_voltage: bool = False) -> RideThrough:
    """Category II of IEEE 1547-2018 (tables 12, 15 and 18) for a 60 Hz grid, at its defaults.

    Args:
        widest_under_voltage: set the under-voltage trips to the slow end of their ranges (UV1 21 s, UV2 2 s),
            as the consecutive LVRT sequence of IEEE 1547.1 needs: its B and C hold 0.32 s below 0.45 pu, and
            UV2's default is 0.16 s.
    """
    under = ((0.70, 21.0), (0.45, 2.0)) if widest_under_voltage else ((0.70, 10.0), (0.45, 0.16))
    return replace(
        _with_trips(((1.10, 2.0), (1.20, 0.16)), under),
        bands=(
            RideBand(low_pu=0.0, high_pu=0.30, mode=RideMode.CEASE),
            RideBand(low_pu=0.30, high_pu=0.65, mode=RideMode.PERMISSIVE),
            RideBand(low_pu=0.65, high_pu=0.88, mode=RideMode.MANDATORY),
            *_HIGH_BANDS,
        ),
        duties=(
            Duty(low_pu=0.30, high_pu=0.45, minimum_s=0.16),
            Duty(low_pu=0.45, high_pu=0.65, minimum_s=0.32),
            Duty(low_pu=0.65, high_pu=0.88, minimum_s=3.0, slope_s_per_pu=8.7),
            *_HIGH_DUTIES,
        ),
    )


def ieee1547_category_3(*, widest_under_voltage: bool = False) -> RideThrough:
    """Category III of IEEE 1547-2018 (tables 13, 16 and 18) for a 60 Hz grid, at its defaults.

    Args:
        widest_under_voltage: set the under-voltage trips to the slow end of their ranges (UV1 50 s, UV2
            21 s), as the consecutive LVRT sequence of IEEE 1547.1 needs: it holds 10 s below 0.50 pu, and
            UV2's default is 2 s.
    """
    under = ((0.88, 50.0), (0.50, 21.0)) if widest_under_voltage else ((0.88, 21.0), (0.50, 2.0))
    return replace(
        _with_trips(((1.10, 13.0), (1.20, 0.16)), under),
        bands=(
            RideBand(low_pu=0.0, high_pu=0.50, mode=RideMode.MOMENTARY_CESSATION),
            RideBand(low_pu=0.50, high_pu=0.88, mode=RideMode.MANDATORY),
            RideBand(low_pu=0.88, high_pu=1.10, mode=RideMode.CONTINUOUS),
            RideBand(low_pu=1.10, high_pu=1.20, mode=RideMode.MOMENTARY_CESSATION),
            RideBand(low_pu=1.20, high_pu=10.0, mode=RideMode.CEASE),
        ),
        duties=(
            Duty(low_pu=0.0, high_pu=0.50, minimum_s=1.0),
            Duty(low_pu=0.50, high_pu=0.70, minimum_s=10.0),
            Duty(low_pu=0.70, high_pu=0.88, minimum_s=20.0),
            Duty(low_pu=1.10, high_pu=1.20, minimum_s=12.0),
        ),
    )


def japan_frt(frequency_hz: float) -> RideThrough:
    """Japanese FRT behaviour and relays; from memory of JEAC 9701, never checked against its text.

    Continues down to a residual of 20 %, blocks below it, and is back at 80 % within 0.8 s of recovery then.
    Relays: OVR 115 % 1 s and UVR 80 % 1 s, as usual in Japan; OFR 51.5 or 61.8 Hz and UFR 47.5 or 57.0 Hz for
    1 s. 51.5, 61.8 and 47.5 Hz are those of JEAC 9701-2019 as an excerpt gives them, and wider than the 51.0
    and 61.2 Hz that units are usually set to. The duty is a sag of 0.3 s to any residual
    (1.0 s for single-phase units). The angle of a two-phase short may jump by 41 degrees, of which the
    positive sequence moves by less.

    Args:
        frequency_hz: 50 or 60.

    Raises:
        ValueError: another frequency.
    """
    edges = {50.0: (47.5, 51.5), 60.0: (57.0, 61.8)}
    if frequency_hz not in edges:
        raise ValueError(f"japan_frt: frequency_hz={frequency_hz}; allowed 50 or 60")
    low_hz, high_hz = edges[frequency_hz]
    return RideThrough(
        under_voltage=(TripStep(threshold_pu=0.80, clearing_s=1.0, name="uvr"),),
        over_voltage=(TripStep(threshold_pu=1.15, clearing_s=1.0, name="ovr"),),
        under_frequency=(FrequencyTrip(threshold_hz=low_hz, clearing_s=1.0, name="ufr"),),
        over_frequency=(FrequencyTrip(threshold_hz=high_hz, clearing_s=1.0, name="ofr"),),
        bands=(
            # A hair below 20 %, so that a source set to exactly 20 % with its impedance drop does not block.
            RideBand(low_pu=0.0, high_pu=0.19, mode=RideMode.MOMENTARY_CESSATION, recovery_s=0.8),
            RideBand(low_pu=0.19, high_pu=0.80, mode=RideMode.MANDATORY),
            RideBand(low_pu=0.80, high_pu=1.15, mode=RideMode.CONTINUOUS),
        ),
        duties=(Duty(low_pu=0.0, high_pu=0.80, minimum_s=0.3),),
    )


def ieee1547_duties(category: str) -> tuple[Duty, ...]:
    """Duties of a category of IEEE 1547-2018, ``I`` to ``III``."""
    made = {"I": ieee1547_category_1, "II": ieee1547_category_2, "III": ieee1547_category_3}
    return made[category]().duties
