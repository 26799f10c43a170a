"""The reference energy manager: routes power between grid, battery, solar and what must never drop.

All in the project's sign: battery and grid positive when power leaves the battery and the site,

    grid = battery + solar - demand

At each interval rules narrow the span that the battery's power may lie in, most important first; a rule that
does not fit into what is left of the span gets the edge that is nearest to it.

    1  rating            what the battery's converter can do
    2  island            without mains the battery carries demand - solar, whatever it costs
    3  full, reserve     state of charge after the interval stays between reserve and full
    4  contract          mean import of the running demand window (30 min in Japan, by the clock) stays below
                         the contract: import <= (contract window - imported so far) / what is left of it,
                         where of the contract is kept back what a rise within one interval can take:
                         nobody sees it before the interval's end, and in a window's last there is no time
                         to make up for it; max(margin contract, min(largest rise, way to the highest net
                         demand) interval / window), both as seen on this day and the one before
    5  export            beyond its limit what the sun gives goes into the battery, else it is curtailed; a
                         battery never discharges into the grid
    6  ramp              the grid's power moves no faster than this

Within the span it takes what it wants: up to the reserve from the grid; what the forecast says will be
needed above the contract, just in time,

    E(t) = max(0, E(t + dt) + (net + k s - contract) dt)     filling counted with its limit and efficiency
    s² = spread of the demand's forecast² + that of the sun's²

and else no power over the grid's meter (self-consumption), with what is kept for those peaks left alone. The
decision says which rule bound, and carries every span.

Not modelled: prices, several batteries, reactive power, a loss model of the battery beyond two efficiencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from harness.plant.energy.forecast import DAY_S, Forecast

LEAST_INTERVALS = 6
"""In a demand window."""


class Rule(Enum):
    """What bound a decision; the numbers stand in the register table."""

    SELF_CONSUMPTION = 0
    """Nothing bound: no power over the grid's meter."""
    RATING = 1
    ISLAND = 2
    FULL = 3
    RESERVE = 4
    CONTRACT = 5
    EXPORT = 6
    RAMP = 7
    PREPARE = 8
    """Charges for a peak that is forecast, or up to the reserve."""
    KEEP = 9
    """Would discharge, and keeps the charge for a peak that is forecast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ManagerSpec:
    """Site and strategy.

    Attributes:
        capacity_j: of the battery, between empty and full.
        charge_limit_w: a positive number.
        discharge_limit_w: a positive number.
        charge_efficiency: stored of what goes in. Ours, like the next: lithium cells and a converter of 0.96
            to 0.98 each way; they need not be known well, since it sees the state of charge at each interval.
        discharge_efficiency: given of what is taken out.
        reserve_soc: kept for ride-through while there are mains. Ours: a site's outages decide, and three
            tenths leave most of the battery to the contract.
        full_soc: charging stops here. Ours: room for a surplus within an interval, and gentler on cells than
            full.
        contract_power_w: mean import allowed in a demand window.
        window_s: of the demand window; 30 min, as Japanese contracts count.
        margin: least part of the contract that is left unused, for what changes within an interval. Ours: a
            jump of 1.8 times the contract at the default interval.
        export_limit_w: most power into the grid.
        ramp_w_per_s: of the grid's power; infinite: none.
        interval_s: between decisions; a whole number of them, 6 and above, makes a window. Ours: where a jump
            takes more than a sixth of itself from the contract, a battery is empty before its peak.
        horizon_s: of the forecast. Ours: a day, as long as its profile is; a battery of hours forgets sooner.
        prudence: k, how many of the forecasts' own standard deviations are kept for; ours. Of four cloudy
            weeks at 60 s, with one the worst window after the second day was 4 % above the contract, with
            two none.
    """

    capacity_j: float
    charge_limit_w: float
    discharge_limit_w: float
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    reserve_soc: float = 0.3
    full_soc: float = 0.95
    contract_power_w: float = math.inf
    window_s: float = 1800.0
    margin: float = 0.01
    export_limit_w: float = math.inf
    ramp_w_per_s: float = math.inf
    interval_s: float = 10.0
    horizon_s: float = 86_400.0
    prudence: float = 2.0

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, is_right in (
                ("capacity_j", 0.0 < self.capacity_j < math.inf),
                ("charge_limit_w", 0.0 <= self.charge_limit_w < math.inf),
                ("discharge_limit_w", 0.0 <= self.discharge_limit_w < math.inf),
                ("charge_efficiency", 0.0 < self.charge_efficiency <= 1.0),
                ("discharge_efficiency", 0.0 < self.discharge_efficiency <= 1.0),
                ("reserve_soc", 0.0 <= self.reserve_soc < self.full_soc),
                ("full_soc", self.full_soc <= 1.0),
                ("contract_power_w", self.contract_power_w >= 0.0),
                ("margin", 0.0 <= self.margin < 1.0),
                ("export_limit_w", self.export_limit_w >= 0.0),
                ("ramp_w_per_s", self.ramp_w_per_s > 0.0),
                ("prudence", 0.0 <= self.prudence < math.inf),
                ("interval_s", _parts(self.window_s, self.interval_s) >= LEAST_INTERVALS),
                ("window_s", _parts(DAY_S, self.window_s) >= 1),
            )
            if not is_right
        ]
        if wrong:
            given = ", ".join(f"{name}={getattr(self, name)}" for name in wrong)
            raise ValueError(f"energy manager: {given}; allowed is what ManagerSpec's docstring says")


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteState:
    """What the manager is told at one instant.

    Attributes:
        time_s: since a midnight.
        demand_w: of rack and everything else behind the meter.
        solar_w: that the sun would give, uncurtailed.
        grid_w: at the meter, positive out of the site.
        soc: of the battery.
        imported_j: the meter's count of energy into the site.
        is_islanded: whether the mains are gone.
    """

    time_s: float
    demand_w: float
    solar_w: float
    grid_w: float
    soc: float
    imported_j: float
    is_islanded: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """Where the battery's power may lie after a rule has spoken."""

    rule: Rule
    low_w: float
    high_w: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done until the next, and why.

    Attributes:
        time_s: when.
        battery_w: power out of the battery.
        solar_limit_w: most that the sun may give; infinite: all.
        rule: what bound.
        wanted_w: battery power that it would have taken unbound.
        spans: what each rule left, most important first.
        window_mean_w: import that the running demand window will have in the mean if it goes on so.
        need_j: energy above the reserve that the forecast asks to keep.
    """

    time_s: float
    battery_w: float
    solar_limit_w: float
    rule: Rule
    wanted_w: float
    spans: tuple[Span, ...]
    window_mean_w: float
    need_j: float

    def __str__(self) -> str:
        spans = ", ".join(f"{s.rule.name.lower()} {s.low_w:.0f}..{s.high_w:.0f} W" for s in self.spans)
        return (
            f"{self.time_s:.0f} s: battery {self.battery_w:.0f} W, bound by {self.rule.name.lower()}; "
            f"wanted {self.wanted_w:.0f} W; {spans}"
        )


class EnergyManager:
    """Decides at each interval; knows nothing but what it is told.

    Attributes:
        spec: may be replaced at any time; acts at the next decision.
        demand: forecast of the demand.
        solar: forecast of the sun.
        last: the last decision; None before the first.
    """

    def __init__(self, spec: ManagerSpec) -> None:
        self.spec = spec
        self.demand = Forecast(spec.window_s)
        self.solar = Forecast(spec.window_s)
        self.last: Decision | None = None
        self._window = -1
        self._imported_at_start_j = 0.0
        self._sums = [0.0, 0.0, 0.0]
        self._before: SiteState | None = None
        # Of this day and the one before.
        self._rises_w = [0.0, 0.0]
        self._nets_w = [0.0, 0.0]

    def decide(self, state: SiteState) -> Decision:
        """Decide what holds until the next interval.

        Raises:
            ValueError: a state that no site can be in, or time that runs back.
        """
        self._check(state)
        self._watch(state)
        spec = self.spec
        net_w = state.demand_w - state.solar_w
        left_s = max((self._window + 1) * spec.window_s - state.time_s, 1e-9)
        imported_j = state.imported_j - self._imported_at_start_j
        need_j = 0.0 if state.is_islanded else self._need_j(left_s)
        spans = self._spans(state, net_w, imported_j, left_s)
        wanted_w, reason = self._wanted(state, net_w, need_j)
        last = spans[-1]
        battery_w, rule = min(max(wanted_w, last.low_w), last.high_w), reason
        if battery_w != wanted_w:
            # The first rule that cut the span to here.
            is_low = battery_w > wanted_w
            rule = next(s.rule for s in spans if (s.low_w if is_low else s.high_w) == battery_w)
        # Without mains nothing can be exported: what neither load nor battery takes is not let in.
        export_w = 0.0 if state.is_islanded else spec.export_limit_w
        spare_w = battery_w + state.solar_w - state.demand_w - export_w
        solar_limit_w = max(state.solar_w - spare_w, 0.0) if spare_w > 0.0 else math.inf
        import_w = max(state.demand_w - min(state.solar_w, solar_limit_w) - battery_w, 0.0)
        window_mean_w = (imported_j + import_w * left_s) / spec.window_s
        self.last = Decision(
            state.time_s, battery_w, solar_limit_w, rule, wanted_w, spans, window_mean_w, need_j
        )
        return self.last

    def _spans(self, state: SiteState, net_w: float, imported_j: float, left_s: float) -> tuple[Span, ...]:
        """Let each rule narrow the span."""
        spec = self.spec
        interval_s = spec.interval_s
        spans = [Span(Rule.RATING, -spec.charge_limit_w, spec.discharge_limit_w)]

        def narrow(rule: Rule, low_w: float, high_w: float) -> None:
            before = spans[-1]
            low_w = min(max(low_w, before.low_w), before.high_w)
            high_w = max(min(high_w, before.high_w), low_w)
            spans.append(Span(rule, low_w, high_w))

        if state.is_islanded:
            room_w = _room_j(spec, 1.0 - state.soc) / interval_s
            narrow(Rule.FULL, -room_w, math.inf)
            narrow(Rule.ISLAND, net_w, net_w)
            return tuple(spans)
        narrow(Rule.FULL, -_room_j(spec, spec.full_soc - state.soc) / interval_s, math.inf)
        narrow(Rule.RESERVE, -math.inf, max(self._above_reserve_j(state.soc), 0.0) / interval_s)
        contract_w = self._contract_w(net_w)
        if contract_w < math.inf:
            import_w = (contract_w * spec.window_s - imported_j) / max(left_s, interval_s)
            # Exporting would give back nothing of what has been imported.
            narrow(Rule.CONTRACT, net_w - max(import_w, 0.0), math.inf)
        narrow(Rule.EXPORT, -math.inf, max(net_w, 0.0))
        if spec.export_limit_w < math.inf:
            narrow(Rule.EXPORT, -math.inf, net_w + spec.export_limit_w)
        if spec.ramp_w_per_s < math.inf:
            move_w = spec.ramp_w_per_s * interval_s
            narrow(Rule.RAMP, state.grid_w - move_w + net_w, state.grid_w + move_w + net_w)
        return tuple(spans)

    def _wanted(self, state: SiteState, net_w: float, need_j: float) -> tuple[float, Rule]:
        """Say what it would do unbound, and why."""
        spec = self.spec
        if state.is_islanded:
            return net_w, Rule.ISLAND
        above_j = self._above_reserve_j(state.soc)
        if above_j < need_j:
            missing_j = (need_j - above_j) / (spec.charge_efficiency * spec.discharge_efficiency)
            return min(-missing_j / spec.interval_s, net_w), Rule.PREPARE
        spare_w = (above_j - need_j) / spec.interval_s
        if net_w > spare_w:
            return spare_w, (Rule.KEEP if need_j > 0.0 else Rule.RESERVE)
        return net_w, Rule.SELF_CONSUMPTION

    def _above_reserve_j(self, soc: float) -> float:
        """Energy that can be given above the reserve; negative below it."""
        return (soc - self.spec.reserve_soc) * self.spec.capacity_j * self.spec.discharge_efficiency

    def _contract_w(self, net_w: float) -> float:
        """What of the contract may be used at a demand less sun, the rest kept back for a rise."""
        spec = self.spec
        rise_w = min(max(self._rises_w), max(max(self._nets_w) - net_w, 0.0))
        kept_w = max(spec.margin * spec.contract_power_w, rise_w * spec.interval_s / spec.window_s)
        return max(spec.contract_power_w - kept_w, 0.0) if spec.contract_power_w < math.inf else math.inf

    def _need_j(self, left_s: float) -> float:
        """Energy to be given above the contract by the forecast, counted back from the horizon."""
        spec = self.spec
        if spec.contract_power_w == math.inf:
            return 0.0
        steps = round(spec.horizon_s / spec.window_s)
        ahead = zip(
            *(self.demand.ahead_w(steps), self.solar.ahead_w(steps)),
            *(self.demand.spread_w(steps), self.solar.spread_w(steps)),
            strict=True,
        )
        nets_w = [d - s + spec.prudence * math.hypot(off_d, off_s) for d, s, off_d, off_s in ahead]
        need_j = 0.0
        for number, net_w in reversed(list(enumerate(nets_w))):
            # What is decided now holds until the interval's end: that much must be there by then.
            span_s = max(left_s - spec.interval_s, 0.0) if number == 0 else spec.window_s
            over_w = min(net_w - self._contract_w(net_w), spec.discharge_limit_w)
            if over_w < 0.0:
                over_w = (
                    -min(-over_w, spec.charge_limit_w) * spec.charge_efficiency * spec.discharge_efficiency
                )
            need_j = max(0.0, need_j + over_w * span_s)
        most_j = (spec.full_soc - spec.reserve_soc) * spec.capacity_j * spec.discharge_efficiency
        return min(need_j, most_j)

    def _watch(self, state: SiteState) -> None:
        """Keep the demand window, the forecasts and the largest rise up to date.

        An interval counts with the larger demand and the lesser sun of its two ends: what changed within it
        may have done so at once.
        """
        before, self._before = self._before, state
        if before is not None:
            day = math.floor(state.time_s / DAY_S + 1e-9)
            if day != math.floor(before.time_s / DAY_S + 1e-9):
                self._rises_w, self._nets_w = [0.0, self._rises_w[0]], [0.0, self._nets_w[0]]
            net_w = state.demand_w - state.solar_w
            self._nets_w[0] = max(self._nets_w[0], net_w)
            self._rises_w[0] = max(self._rises_w[0], net_w - (before.demand_w - before.solar_w))
            end_s = (self._window + 1) * self.spec.window_s
            span_s = min(state.time_s, end_s) - before.time_s
            demand_w, solar_w = max(before.demand_w, state.demand_w), min(before.solar_w, state.solar_w)
            for place, term in enumerate((1.0, demand_w, solar_w)):
                self._sums[place] += term * span_s
        window = math.floor(state.time_s / self.spec.window_s + 1e-9)
        if window != self._window:
            seen_s, demand_j, solar_j = self._sums
            if seen_s and window == self._window + 1:
                self.demand.observe(self._window, demand_j / seen_s)
                self.solar.observe(self._window, solar_j / seen_s)
            self._window = window
            self._imported_at_start_j = state.imported_j
            self._sums = [0.0, 0.0, 0.0]

    def _check(self, state: SiteState) -> None:
        numbers = (state.time_s, state.demand_w, state.solar_w, state.grid_w, state.soc, state.imported_j)
        is_real = all(math.isfinite(number) for number in numbers)
        if not is_real or state.demand_w < 0.0 or state.solar_w < 0.0 or not 0.0 <= state.soc <= 1.0:
            raise ValueError(
                f"energy manager: {state}; allowed: finite, powers from 0, state of charge 0 to 1"
            )
        if self.last is not None and state.time_s < self.last.time_s:
            raise ValueError(f"energy manager: asked at {state.time_s} s after {self.last.time_s} s")


def _parts(whole_s: float, part_s: float) -> int:
    """How many parts make the whole; zero where they do not."""
    count = whole_s / part_s if part_s > 0.0 else 0.0
    return round(count) if abs(count - round(count)) < 1e-9 * count else 0


def _room_j(spec: ManagerSpec, soc: float) -> float:
    """Energy from outside that a rise of the state of charge takes, in J; none for a fall."""
    return max(soc, 0.0) * spec.capacity_j / spec.charge_efficiency
