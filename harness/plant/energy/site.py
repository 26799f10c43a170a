"""A site for an energy manager: meter, battery, sun and demand as powers, exact between breakpoints.

    grid = battery + solar - demand        dE/dt = -P / eta_d (discharging), -eta_c P (charging)

The battery does as it was told at the last decision, within its rating and its two ends; without mains it
balances demand and sun at once. Powers are linear between breakpoints, so energies are exact; an end of the
battery is met exactly. What cannot be served is counted, never forgotten.

Not modelled: voltages, ramps of the converter, the meter's and the sensors' errors, delay of the commands.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from harness.plant.energy.controller import Decision, EnergyManager, SiteState
from harness.plant.server_rack.ai_load import Piece, Profile

KEPT_DECISIONS = 8640
"""A day of decisions each 10 s, 5 MB: with all of them memory would grow as long as a run goes on. Ours."""


@dataclass(frozen=True, slots=True)
class SiteLedger:
    """Energies since time zero, in J, all positive.

    Attributes:
        imported_j: over the meter into the site.
        exported_j: over the meter out of it.
        solar_j: taken from the sun.
        curtailed_j: offered by the sun and not taken.
        served_j: given to the demand.
        unserved_j: asked for and not given.
        charged_j: into the battery's terminals.
        discharged_j: out of them.
        battery_loss_j: lost in the battery.
    """

    imported_j: float
    exported_j: float
    solar_j: float
    curtailed_j: float
    served_j: float
    unserved_j: float
    charged_j: float
    discharged_j: float
    battery_loss_j: float


class EnergySite:
    """A site that asks its manager at each interval.

    Attributes:
        now_s: its time.
        soc: of the battery.
        is_islanded: whether the mains are gone.
        decisions: the last ``KEPT_DECISIONS``, in order.
        windows_w: mean import of each demand window that is over; 48 numbers a day.
        grid_w: at the meter at this instant, positive out of the site.
        most_ramp_w: largest change of ``grid_w`` at a decision.
    """

    def __init__(self, manager: EnergyManager, *, demand: Profile, solar: Profile, soc: float) -> None:
        self.manager = manager
        self.now_s = 0.0
        self.soc = soc
        self.is_islanded = False
        self.decisions: deque[Decision] = deque(maxlen=KEPT_DECISIONS)
        self.windows_w: list[float] = []
        self.grid_w = 0.0
        self._demand, self._solar = demand, solar
        self._pieces = [next(demand), next(solar)]
        self._sums = [0.0] * 9
        self._outages: list[tuple[float, float]] = []
        self._window_start_j = 0.0
        self._start_soc = soc

    def lose_mains(self, from_s: float, until_s: float) -> None:
        """Plan an outage."""
        self._outages.append((from_s, until_s))

    def ledger(self) -> SiteLedger:
        """Account for all energy since time zero."""
        return SiteLedger(*self._sums)

    def residual_j(self) -> float:
        """What the accounts leave over: sources less sinks less what is stored."""
        book = self.ledger()
        stored_j = (self.soc - self._start_soc) * self.manager.spec.capacity_j
        site_j = (
            book.imported_j
            + book.solar_j
            + book.discharged_j
            - book.exported_j
            - book.served_j
            - book.charged_j
        )
        battery_j = book.charged_j - book.discharged_j - book.battery_loss_j - stored_j
        return abs(site_j) + abs(battery_j)

    def run(self, until_s: float) -> None:
        """Run to a time, which is a multiple of the interval."""
        spec = self.manager.spec
        while self.now_s < until_s - 1e-9:
            decision = self._decide()
            end_s = min(decision.time_s + spec.interval_s, until_s)
            while self.now_s < end_s - 1e-9:
                self._step(decision, end_s)

    def _decide(self) -> Decision:
        self.is_islanded = any(a <= self.now_s < b for a, b in self._outages)
        self._turn_pages()
        demand_w, solar_w = (piece.at_w(self.now_s) for piece in self._pieces)
        state = SiteState(
            time_s=self.now_s,
            demand_w=demand_w,
            solar_w=solar_w,
            grid_w=self.grid_w,
            soc=self.soc,
            imported_j=self._sums[0],
            is_islanded=self.is_islanded,
        )
        decision = self.manager.decide(state)
        self.decisions.append(decision)
        return decision

    def _turn_pages(self) -> None:
        for place, profile in enumerate((self._demand, self._solar)):
            while self._pieces[place].end_s <= self.now_s:
                self._pieces[place] = next(profile)

    def _step(self, decision: Decision, end_s: float) -> None:
        """Go to the next breakpoint or the end."""
        self._turn_pages()
        spec, now_s = self.manager.spec, self.now_s
        window_s = spec.window_s
        edges = [edge for outage in self._outages for edge in outage if edge > now_s]
        to_s = min(end_s, *(piece.end_s for piece in self._pieces), *edges)
        to_s = min(to_s, (math.floor(now_s / window_s + 1e-9) + 1) * window_s)
        self.is_islanded = any(a <= now_s < b for a, b in self._outages)
        demand_w, solar_w = (_mean_w(piece, now_s, to_s) for piece in self._pieces)
        taken_w = min(solar_w, decision.solar_limit_w)
        battery_w = decision.battery_w
        if self.is_islanded:
            battery_w = demand_w - solar_w
            taken_w = solar_w
        battery_w = min(max(battery_w, -spec.charge_limit_w), spec.discharge_limit_w)
        span_s = to_s - now_s
        battery_w, span_s = self._within_ends(battery_w, span_s)
        if self.is_islanded:
            served_w = min(demand_w, battery_w + taken_w) if battery_w > 0.0 else min(demand_w, taken_w)
            taken_w = max(served_w - battery_w, 0.0)
            self.grid_w = 0.0
        else:
            served_w = demand_w
            self.grid_w = battery_w + taken_w - demand_w
        out_w, in_w = max(battery_w, 0.0), max(-battery_w, 0.0)
        loss_w = out_w * (1.0 / spec.discharge_efficiency - 1.0) + in_w * (1.0 - spec.charge_efficiency)
        powers_w = (
            *(max(-self.grid_w, 0.0), max(self.grid_w, 0.0), taken_w, solar_w - taken_w),
            *(served_w, demand_w - served_w, in_w, out_w, loss_w),
        )
        for place, power_w in enumerate(powers_w):
            self._sums[place] += power_w * span_s
        self.soc -= (
            (out_w / spec.discharge_efficiency - in_w * spec.charge_efficiency) * span_s / spec.capacity_j
        )
        self.soc = min(max(self.soc, 0.0), 1.0)
        self.now_s = now_s + span_s if span_s < to_s - now_s else to_s
        if self.now_s % window_s < 1e-6 or window_s - self.now_s % window_s < 1e-6:
            self.windows_w.append((self._sums[0] - self._window_start_j) / window_s)
            self._window_start_j = self._sums[0]

    def _within_ends(self, battery_w: float, span_s: float) -> tuple[float, float]:
        """Stop at empty and full, physically: no power, or a step that ends there."""
        spec = self.manager.spec
        if battery_w > 0.0:
            left_s = self.soc * spec.capacity_j * spec.discharge_efficiency / battery_w
        elif battery_w < 0.0:
            left_s = (1.0 - self.soc) * spec.capacity_j / spec.charge_efficiency / -battery_w
        else:
            return 0.0, span_s
        if left_s < 1e-6:
            return 0.0, span_s
        return battery_w, min(span_s, left_s)


def _mean_w(piece: Piece, from_s: float, to_s: float) -> float:
    return 0.5 * (piece.at_w(from_s) + piece.at_w(to_s))
