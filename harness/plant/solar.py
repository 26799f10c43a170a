"""A solar array with its inverter, as active power at the bus.

The sun by the clock: declination and equation of time from the Fourier series of Spencer (1971), hour angle
from clock and longitude, and cos z = sin(lat) sin(dec) + cos(lat) cos(dec) cos(hour). A clear sky gives the
horizontal plane, after Haurwitz (1945),

    G = 1098 W/m2 cos z exp(-0.057 / cos z)

(both series and formula from memory, as the field's open libraries use them). A cloud lets a part of it
through: one keyed draw a period says whether there is one and how thick, and its edge is a linear ramp at the
period's start. Then

    T_cell = T_air + (NOCT - 20 K) G / 800 W/m2            Ross (1976)
    P_dc = P_rated G / 1000 W/m2 (1 + gamma (T_cell - 25 degC))
    P_free = min(efficiency P_dc, rating of the inverter, curtailment)
    P_ac = P_free - P_rated,ac (f - f0 - dead band) / (f0 droop)    above f0 + dead band, not below zero

(IEEE 1547-2018, 6.5.2.7, where for P_free stands the power before the disturbance: here it follows the sun.
What is taken away answers with a first order, 90 % of a step at Tr, looking at the frequency each 0.1 s.)

The power is held over each interval at the mean of it (Simpson), so that energy is kept and the network is
solved once an interval; what ramps within one is a stair. Its current is balanced, in phase with the positive
sequence, and at most its rating's: in a sag the power falls with the voltage. It stops when the bus has no
source, and starts ``restart_s`` after one is back.

Not modelled: tilted modules, diffuse light by itself, shading, soiling, thermal inertia, a curve of the
inverter's efficiency, its voltage and frequency protections, the ramp of enter service (IEEE 1547-2018,
4.10.3: it starts with what the sun gives, in one step), more power at a low frequency, reactive power.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from importlib import resources
from statistics import NormalDist

from harness.plant.keyed import normal
from harness.plant.spec import SolarSpec
from harness.plant.timers import Timers

DAY_S = 86_400.0
LOOK_S = 0.1
"""Between two looks at a frequency that takes power away (ours: a frequency meter's tenth of a second)."""
SAME = 1e-6
"""Part of the rating by which what is taken away may be off once it stands."""
NIGHT_S = 60.0
"""Longest step into the sunrise: a minute of it is below a thousandth of the rating."""


@dataclass(frozen=True, slots=True)
class Sky:
    """Where an array stands, and what passes over it.

    Attributes:
        latitude_deg: north.
        longitude_deg: east.
        meridian_deg: of the local clock.
        air_degc: around the modules.
        period_s: between two draws of the clouds.
        cloudy_fraction: of the periods.
        edge_s: of a change at a period's start.
        light_left: thickest and thinnest cloud.
    """

    latitude_deg: float
    longitude_deg: float
    meridian_deg: float
    air_degc: float
    period_s: float
    cloudy_fraction: float
    edge_s: float
    light_left: tuple[float, float]

    @classmethod
    def load(cls, name: str) -> Sky:
        """Read a sky by its name.

        Raises:
            ValueError: there is no such sky.
        """
        folder = resources.files("harness.plant.skies")
        file = folder / f"{name}.toml"
        if not file.is_file():
            known = ", ".join(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))
            raise ValueError(f"solar: no sky {name!r}; there are {known}")
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        clouds = table["clouds"]
        thick, thin = clouds["light_left"]
        return cls(
            latitude_deg=table["latitude_deg"],
            longitude_deg=table["longitude_deg"],
            meridian_deg=table["meridian_deg"],
            air_degc=table["air_degc"],
            period_s=clouds["period_s"],
            cloudy_fraction=clouds["cloudy_fraction"],
            edge_s=clouds["edge_s"],
            light_left=(thick, thin),
        )

    def cos_zenith(self, day_of_year: float, clock_s: float) -> float:
        """Cosine of the sun's angle from the vertical; negative at night.

        Args:
            day_of_year: 1 for the first of January.
            clock_s: local clock after midnight.
        """
        year = 2.0 * math.pi * (day_of_year - 1.0) / 365.0
        declination = (
            0.006918
            - 0.399912 * math.cos(year)
            + 0.070257 * math.sin(year)
            - 0.006758 * math.cos(2.0 * year)
            + 0.000907 * math.sin(2.0 * year)
            - 0.002697 * math.cos(3.0 * year)
            + 0.00148 * math.sin(3.0 * year)
        )
        equation_of_time_s = (
            60.0
            * 229.18
            * (
                0.000075
                + 0.001868 * math.cos(year)
                - 0.032077 * math.sin(year)
                - 0.014615 * math.cos(2.0 * year)
                - 0.040849 * math.sin(2.0 * year)
            )
        )
        solar_s = clock_s + equation_of_time_s + 240.0 * (self.longitude_deg - self.meridian_deg)
        hour = 2.0 * math.pi * (solar_s / DAY_S - 0.5)
        latitude = math.radians(self.latitude_deg)
        return math.sin(latitude) * math.sin(declination) + (
            math.cos(latitude) * math.cos(declination) * math.cos(hour)
        )


def clear_sky_w_per_m2(cos_zenith: float) -> float:
    """Light on the horizontal plane under a clear sky (Haurwitz 1945); none at night."""
    if cos_zenith <= 0.0:
        return 0.0
    return 1098.0 * cos_zenith * math.exp(-0.057 / cos_zenith)


class SolarArray:
    """Modules and inverter.

    Attributes:
        power_w: that the inverter gives at this instant at nominal voltage; zero while it does not run.
        curtailment_w: highest power that it is allowed.
        is_running: whether it feeds.
        limit_a: of a phase's current.
        touched: whether a command awaits ``settle``.
    """

    is_steady = True
    step_hint_s = math.inf

    def __init__(
        self, spec: SolarSpec, seed: int, nominal_voltage_v: float, nominal_frequency_hz: float
    ) -> None:
        self.spec = spec
        self.sky = Sky.load(spec.sky)
        self.power_w = 0.0
        self.curtailment_w = math.inf
        self.is_running = False
        self.limit_a = spec.rated_ac_w / (3.0 * nominal_voltage_v)
        self.touched = False
        self._seed = seed
        self._now_s = 0.0
        self._sample_s = 0.0
        self._mean_w = 0.0
        self._timers = Timers()
        self._nominal_hz = nominal_frequency_hz
        self._away_w = self._to_take_w = 0.0
        self._look_s = math.inf
        self._draws: tuple[int, float] = (-1, 1.0)

    @property
    def next_event_s(self) -> float:
        """Next interval, look at the frequency, or the start that is due."""
        return min(self._sample_s, self._look_s, self._timers.next_due_s)

    def curtail(self, power_w: float) -> None:
        """Allow no more than this; infinite allows all.

        Raises:
            ValueError: below zero.
        """
        if not power_w >= 0.0:
            raise ValueError(f"solar: curtail({power_w}); allowed 0 and above")
        self.curtailment_w = power_w
        self.touched = True

    def available_w(self, time_s: float) -> float:
        """AC power that the sky gives at a time, clipped by the inverter, curtailment apart."""
        spec, sky = self.spec, self.sky
        clock_s = spec.starts_at_s + time_s
        day = spec.day_of_year + clock_s // DAY_S
        light = clear_sky_w_per_m2(sky.cos_zenith(day, clock_s % DAY_S))
        if light == 0.0:
            return 0.0
        light *= self.light_left(time_s)
        cell_degc = sky.air_degc + (spec.nominal_cell_temperature_degc - 20.0) * light / 800.0
        warm = 1.0 + spec.temperature_coefficient_per_k * (cell_degc - 25.0)
        return min(spec.inverter_efficiency * spec.rated_dc_w * light / 1000.0 * warm, spec.rated_ac_w)

    def light_left(self, time_s: float) -> float:
        """Part of the clear sky's light that clouds let through."""
        if not self.spec.has_clouds:
            return 1.0
        period = math.floor(time_s / self.sky.period_s)
        after = self._cloud(period)
        since_s = time_s - period * self.sky.period_s
        if since_s >= self.sky.edge_s or period == 0:
            return after
        before = self._cloud(period - 1)
        return before + (after - before) * since_s / self.sky.edge_s

    def advance(self, to_s: float) -> None:
        """Let time pass: the power is held."""
        self._now_s = to_s

    def settle(self) -> None:
        """Take the mean of the interval that begins now, and away what the last look asked for."""
        self.touched = False
        now_s = self._now_s
        if now_s >= self._look_s and self.spec.frequency_watt is not None:
            left = 10.0 ** (-LOOK_S / self.spec.frequency_watt.response_s)
            self._away_w = self._to_take_w + left * (self._away_w - self._to_take_w)
            self._look_s = math.inf
        if now_s >= self._sample_s:
            span_s = self.spec.interval_s
            ends = (self.available_w(now_s), self.available_w(now_s + span_s))
            if ends == (0.0, 0.0):
                span_s = max(span_s, NIGHT_S)
                ends = (0.0, self.available_w(now_s + span_s))
            middle = self.available_w(now_s + 0.5 * span_s)
            self._mean_w = (ends[0] + 4.0 * middle + ends[1]) / 6.0
            self._sample_s = now_s + span_s
        free_w = min(self._mean_w, self.curtailment_w)
        self.power_w = max(free_w - self._away_w, 0.0) if self.is_running else 0.0

    def judge(self, *, is_fed: bool, frequency_hz: float) -> None:
        """Look whether the bus has a source: stop at once, start after a while; and at its frequency."""
        if self._look_s == math.inf:
            self._look(frequency_hz)
        started = self._now_s == 0.0 and is_fed
        ready = self._timers.held("restart", self._now_s, self.spec.restart_s, is_true=is_fed)
        should_run = is_fed and (self.is_running or ready or started)
        if should_run != self.is_running:
            self.is_running = should_run
            self.touched = True

    def _look(self, frequency_hz: float) -> None:
        """Find what the frequency takes away, and whether that has to be looked at again."""
        droop, spec = self.spec.frequency_watt, self.spec
        if droop is None:
            return
        deviation_hz = max(frequency_hz - self._nominal_hz, 0.0)
        self._to_take_w = -spec.rated_ac_w * droop.value(deviation_hz, self._nominal_hz)
        if abs(self._to_take_w - self._away_w) > SAME * spec.rated_ac_w:
            self._look_s = self._now_s + LOOK_S

    def _cloud(self, period: int) -> float:
        kept, light = self._draws
        if kept == period:
            return light
        share = NormalDist().cdf(normal(self._seed, "cloud", period))
        thick, thin = self.sky.light_left
        cloudy = self.sky.cloudy_fraction
        light = thick + (thin - thick) * share / cloudy if share < cloudy else 1.0
        self._draws = (period, light)
        return light
