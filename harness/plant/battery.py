"""A string of cells as equivalent circuits.

Each place of the string (``cells_in_parallel`` equal cells) follows

    U      = OCV(SoC) - I R0 - U1                     I positive out of the battery
    dU1/dt = (I R1 - U1) / tau                        solved exactly for a constant current
    dSoC/dt = -eta I / Q - k                          eta = coulombic efficiency while charging, else 1
    C dT/dt = I (I R0 + U1) + lost charge x OCV - h A (T - T_ambient)     solved exactly for constant heat

with OCV and R = R0 + R1 from the chemistry's tables, R over state of charge, direction and temperature. Heat
is Bernardi's irreversible term (Bernardi, Pawlikowski, Newman 1985); what the RC branch stores is counted as
heat when it goes in.

All cells carry one current, share their two time constants, and their curves are lines between few nodes. So
the sums over the string follow the same equations, and a step is a handful of scalars. What a single cell
does follows from the sums and from what was noted at the last *anchor*, where all cells were looked at. A new
one is taken where a cell reaches a node, where the current changes its direction, after 1 % of charge or
0.3 K, and where a cell's share of the drop has moved by 5e-4 of itself. In between the sums are exact but for
the product of both drifts (4e-5 of the resistance), and each cell keeps its share.

Not modelled: hysteresis, entropic heat, more than one RC branch, ageing, balancing, differences between
parallel cells, heat between neighbours, gas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.plant.chemistries import Chemistry, load
from harness.plant.keyed import normal
from harness.plant.spec import BatterySpec

FloatArray = NDArray[np.float64]

_SECONDS_A_DAY = 86_400.0

_ANCHOR_SOC = 0.01
_ANCHOR_K = 0.3
_ANCHOR_SHARE = 5e-4

Range = tuple[float, float]
"""Least and largest."""

Line = tuple[float, float, float]
"""Value, fall for each coulomb, rise for each kelvin."""

Source = tuple[float, float, float, float]


@dataclass(slots=True)
class _Anchor:
    """What was noted when all cells were looked at; arrays have the shape (n,) or (rows, n).

    Attributes:
        ocv_v: sum of the open-circuit voltages, here.
        ocv_per_c: what it falls by for each coulomb out of every cell.
        ocv_per_s: what it falls by in a second of self-discharge.
        leak_a: self-discharge of the string, weighted with the cells' voltages.
        warmth_k: sum of the cells' temperatures above ambient, here.
        resistances: sum of the resistances, its fall for each coulomb and its rise for each kelvin of
            ``warmth_k``; index 0 (False) discharging, 1 (True) charging.
        direction: current that the shares are made for.
        charge_c: charge that may go, in and out, until a cell reaches a node.
        warmth_range_k: range of ``warmth_k`` until a cell reaches a node.
        soc: capacity-weighted mean, and what it falls by in a second of self-discharge.
        cell_socs: and what they fall by in a second.
        cell_voltages: rows of open-circuit voltage, of its fall for each coulomb and for each second, of what
            the drop has beyond its share (it decays), and of the share of the drop.
        cell_temperatures: rows of what the warmth has beyond its share (it decays), and of the share.
        voltage_spans: of open-circuit voltage, its fall for each coulomb, own drop, share.
        temperature_spans: of own warmth, share.
    """

    ocv_v: float
    ocv_per_c: float
    ocv_per_s: float
    leak_a: float
    warmth_k: float
    resistances: tuple[Line, Line]
    direction: float
    charge_c: Range
    warmth_range_k: Range
    soc: tuple[float, float]
    cell_socs: tuple[FloatArray, FloatArray]
    cell_voltages: FloatArray
    cell_temperatures: FloatArray
    voltage_spans: tuple[Range, Range, Range, Range]
    temperature_spans: tuple[Range, Range]


class BatteryString:
    """Cells in series, advanced by steps of constant current.

    Attributes:
        chemistry: its parameters.
        current_a: out of the battery.
        capacity_ah: charge between empty and full, mean of the places.
        voltage_v: at the string's terminals, before the contactors.
        start_voltage_v: there at the start of the last step, with its current flowing.
        heat_j: resistive heat since time zero, connections included.
        coulombic_loss_j: energy of charge that did not stay, while charging.
        self_discharge_j: energy of charge that leaked.
        touched: whether cells were changed from outside.
    """

    def __init__(self, spec: BatterySpec, ambient_degc: float, seed: int) -> None:
        self.spec = spec
        self.chemistry: Chemistry = load(spec.chemistry)
        self.ambient_degc = ambient_degc
        self.touched = False
        count = spec.cells_in_series
        cell = self.chemistry

        def spread(quantity: str, deviation: float) -> FloatArray:
            draws = [normal(seed, f"cell {quantity}", index) for index in range(count)]
            scaled: FloatArray = deviation * np.clip(np.array(draws), -3.0, 3.0)
            return scaled

        self._count = count
        capacity_c = 3600.0 * cell.capacity_ah * spec.cells_in_parallel * spec.soh
        self._capacity_c = capacity_c * (1.0 + spread("capacity", spec.spread.capacity))
        self._resistance_scale = (1.0 + spread("resistance", spec.spread.resistance)) / spec.cells_in_parallel
        self._kelvin_per_w = 1.0 / (cell.heat_conductance_w_per_k * spec.cells_in_parallel)
        self._thermal_time_constant_s = cell.heat_capacity_j_per_k / cell.heat_conductance_w_per_k
        self._leak_per_s = cell.self_discharge_per_day / _SECONDS_A_DAY
        self._per_c = 1.0 / self._capacity_c
        self._weight = self._capacity_c / self._capacity_c.sum()
        self._mean_per_c = float(self._per_c.dot(self._weight))
        self._most_leak_a = self._leak_per_s * float(self._capacity_c.max())
        self._ones = np.ones(count)
        self.capacity_ah = float(self._capacity_c.mean()) / 3600.0
        self._series_share = cell.series_share
        self._connection_ohm = spec.connection_resistance_ohm
        self._refused = 1.0 - cell.coulombic_efficiency
        self._tables = _Tables(cell)
        self.current_a = 0.0
        self.voltage_v = 0.0
        self.heat_j = 0.0
        self.coulombic_loss_j = 0.0
        self.self_discharge_j = 0.0
        self.start_voltage_v = 0.0
        # Since the anchor: charge out of every cell, time of leaking, what is left of own drop and warmth.
        self._gone_c = self._leaking_s = 0.0
        self._decayed = self._cooled = 1.0
        # Sums over the string.
        self._ocv_v = self._branch_v = self._warmth_k = self._dropped_v = 0.0
        self._note_duration(1.0)
        start_degc = ambient_degc if spec.temperature_degc is None else spec.temperature_degc
        socs: FloatArray = spec.soc + spread("soc", spec.spread.soc)
        self._anchor = self._look(socs, np.full(count, start_degc), np.zeros(count), 0.0)
        self._refresh()
        self._stored_at_start_j = self._energy_j()

    @property
    def soc(self) -> float:
        """State of charge of the string: the mean of its places, weighted with their capacity."""
        at_anchor, per_s = self._anchor.soc
        return at_anchor - self._gone_c * self._mean_per_c - self._leaking_s * per_s

    @property
    def soh(self) -> float:
        """Capacity left as a fraction of the new string's."""
        return self.spec.soh

    @property
    def temperature_degc(self) -> float:
        """Mean temperature of the cells."""
        return self.ambient_degc + self._warmth_k / self._count

    @property
    def cell_socs(self) -> FloatArray:
        """State of charge at each place, shape (n,)."""
        at_anchor, per_s = self._anchor.cell_socs
        found: FloatArray = at_anchor - self._gone_c * self._per_c - self._leaking_s * per_s
        return found

    @property
    def cell_temperatures_degc(self) -> FloatArray:
        """Temperature at each place, shape (n,)."""
        parts = np.array((self._cooled, self._warmth_k))
        found: FloatArray = self.ambient_degc + parts.dot(self._anchor.cell_temperatures)
        return found

    @cell_temperatures_degc.setter
    def cell_temperatures_degc(self, degc: FloatArray) -> None:
        branches_v = self._cell_branches_v()
        self._anchor = self._look(self.cell_socs, np.array(degc), branches_v, self._anchor.direction)
        self._refresh()
        self.touched = True

    @property
    def cell_voltages_v(self) -> FloatArray:
        """Voltage at each place, shape (n,)."""
        parts = np.array((1.0, -self._gone_c, -self._leaking_s, -self._decayed, -self._dropped_v))
        found: FloatArray = parts.dot(self._anchor.cell_voltages)
        return found

    def voltage_bounds_v(self) -> Range:
        """Bounds of all cell voltages, some millivolts wide, that cost next to nothing."""
        (ocv_low, ocv_high), (slope_low, slope_high), (own_low, own_high), (share_low, share_high) = (
            self._anchor.voltage_spans
        )
        gone, decayed, drop_v = (
            self._gone_c + self._leaking_s * self._most_leak_a,
            self._decayed,
            self._dropped_v,
        )
        if gone < 0.0:
            slope_low, slope_high = slope_high, slope_low
        if drop_v < 0.0:
            share_low, share_high = share_high, share_low
        return (
            ocv_low - slope_high * gone - own_high * decayed - share_high * drop_v,
            ocv_high - slope_low * gone - own_low * decayed - share_low * drop_v,
        )

    def temperature_bounds_degc(self) -> Range:
        """Bounds of all cell temperatures, a fraction of a kelvin wide, that cost next to nothing."""
        (own_low, own_high), (share_low, share_high) = self._anchor.temperature_spans
        warmth_k, cooled = self._warmth_k, self._cooled
        if warmth_k < 0.0:
            share_low, share_high = share_high, share_low
        return (
            self.ambient_degc + own_low * cooled + share_low * warmth_k,
            self.ambient_degc + own_high * cooled + share_high * warmth_k,
        )

    def voltage_at_v(self, current_a: float) -> float:
        """Terminal voltage at this instant, were the current so."""
        return self._ocv_v - self._drop_v(current_a) - current_a * self._connection_ohm

    def source(self, duration_s: float, *, is_charging: bool) -> Source:
        """Voltage and resistance of the string as a source over a coming step: U = a - b I.

        Linear in a constant current: the RC branch exactly, the open-circuit voltage by its slope.

        Returns:
            (a, b) for the mean voltage over the step, then (a, b) for the voltage at its end.
        """
        if duration_s != self._duration_s:
            self._note_duration(duration_s)
        known = self._sources[is_charging]
        if known is not None:
            return known
        mean, end = self._mean_decay, self._decay
        resistance_ohm = self._resistance_ohm(is_charging)
        slope_ohm = duration_s * self._anchor.ocv_per_c
        if is_charging:
            slope_ohm -= slope_ohm * self._refused
        fixed_ohm = self._connection_ohm + resistance_ohm
        branch_ohm = (1.0 - self._series_share) * resistance_ohm
        ocv_v, branch_v = self._ocv_v, self._branch_v
        found = (
            ocv_v - mean * branch_v,
            fixed_ohm - mean * branch_ohm + 0.5 * slope_ohm,
            ocv_v - end * branch_v,
            fixed_ohm - end * branch_ohm + slope_ohm,
        )
        self._sources[is_charging] = found
        return found

    def current_for_power_a(self, power_w: float, duration_s: float) -> float:
        """Constant current that gives this mean power over a coming step: the smaller root of P = a I - b I².

        Beyond the largest power the string has, the current of that largest power.
        """
        if power_w == 0.0:
            return 0.0
        a, b, _, _ = self.source(duration_s, is_charging=power_w < 0.0)
        square = a * a - 4.0 * b * power_w
        if square <= 0.0:
            return a / (2.0 * b)
        return 2.0 * power_w / (a + math.sqrt(square))

    def step(self, current_a: float, duration_s: float) -> float:
        """Let a constant current flow.

        Returns:
            Energy out of the terminals, in J.
        """
        if current_a != 0.0 and current_a * self._anchor.direction <= 0.0:
            self._look_again(current_a)
        if duration_s != self._duration_s:
            self._note_duration(duration_s)
        is_charging = current_a < 0.0
        refused_a = -self._refused * current_a if is_charging else 0.0
        resistance_ohm = self._resistance_ohm(is_charging)
        series_v = current_a * self._series_share * resistance_ohm
        final_v = current_a * resistance_ohm - series_v
        branch_v = self._branch_v
        swing_v = branch_v - final_v
        drop_v = series_v + final_v + self._mean_decay * swing_v
        self._branch_v = final_v + self._decay * swing_v
        self._decayed *= self._decay

        # Charge lost at each place a second: what leaks, and what of the charge current does not stay.
        before_v = self._ocv_v
        self.start_voltage_v = before_v - branch_v - series_v - current_a * self._connection_ohm
        self._gone_c = gone_c = self._gone_c + (current_a + refused_a) * duration_s
        self._leaking_s = leaking_s = self._leaking_s + duration_s
        anchor = self._anchor
        self._ocv_v = anchor.ocv_v - gone_c * anchor.ocv_per_c - leaking_s * anchor.ocv_per_s
        leak_a = anchor.leak_a
        lost_a = leak_a + refused_a
        heat_w = current_a * drop_v
        final_k = (heat_w + lost_a * 0.5 * (before_v + self._ocv_v)) * self._kelvin_per_w
        self._warmth_k = final_k + self._cooling * (self._warmth_k - final_k)
        self._cooled *= self._cooling
        self.current_a = current_a

        gone_c += leaking_s * self._most_leak_a
        (least_c, most_c), (least_k, most_k) = anchor.charge_c, anchor.warmth_range_k
        if not (least_c <= gone_c <= most_c and least_k <= self._warmth_k <= most_k):
            self._look_again(current_a)
        self._refresh()
        ocv_j = duration_s * 0.5 * (before_v + self._ocv_v)
        self.coulombic_loss_j += refused_a * ocv_j
        self.self_discharge_j += leak_a * ocv_j
        lost_w = heat_w + current_a * current_a * self._connection_ohm
        self.heat_j += duration_s * lost_w
        return current_a * ocv_j - duration_s * lost_w

    def interrupt(self) -> None:
        """Stop the current at this instant (a contactor opens)."""
        self.current_a = 0.0
        self._refresh()

    def stored_change_j(self) -> float:
        """Energy stored now less that at time zero, from the states of charge alone."""
        return self._energy_j() - self._stored_at_start_j

    def _energy_j(self) -> float:
        return float(self._tables.energy_j_per_c(self.cell_socs).dot(self._capacity_c))

    def _note_duration(self, duration_s: float) -> None:
        """Note what depends on a step's length alone."""
        self._duration_s = duration_s
        ratio = duration_s / self.chemistry.time_constant_s
        self._decay = math.exp(-ratio)
        # Mean of exp(-t/tau) over the step.
        self._mean_decay = 1.0 if ratio < 1e-9 else -math.expm1(-ratio) / ratio
        self._cooling = math.exp(-duration_s / self._thermal_time_constant_s)
        self._sources: list[Source | None] = [None, None]

    def _refresh(self) -> None:
        """Bring the string's voltage to the present state."""
        self._sources = [None, None]
        self._dropped_v = self._drop_v(self.current_a)
        self.voltage_v = self._ocv_v - self._dropped_v - self.current_a * self._connection_ohm

    def _drop_v(self, current_a: float) -> float:
        """Sum of the cells' drops at this instant, were the current so."""
        if current_a == 0.0:
            return self._branch_v
        return self._branch_v + current_a * self._series_share * self._resistance_ohm(current_a < 0.0)

    def _resistance_ohm(self, is_charging: bool) -> float:
        """Sum of the cells' total resistances."""
        anchor = self._anchor
        at_anchor, per_c, per_k = anchor.resistances[is_charging]
        return at_anchor - per_c * self._gone_c + per_k * (self._warmth_k - anchor.warmth_k)

    def _cell_branches_v(self) -> FloatArray:
        own, share = self._anchor.cell_voltages[3:]
        branches_v: FloatArray = self._decayed * own + self._branch_v * share
        return branches_v

    def _look_again(self, direction: float) -> None:
        self._anchor = self._look(
            self.cell_socs, self.cell_temperatures_degc, self._cell_branches_v(), direction
        )

    def _look(
        self, socs: FloatArray, temperatures_degc: FloatArray, branches_v: FloatArray, direction: float
    ) -> _Anchor:
        """Look at all cells, begin their sums anew, and note how they go on from here.

        Args:
            socs: state of charge at each place.
            temperatures_degc: at each place.
            branches_v: over each place's RC branch.
            direction: a current of the size and direction that flows from here on.
        """
        ones, per_c, capacity_c = self._ones, self._per_c, self._capacity_c
        values, slopes, reach = self._tables.at(socs)
        factor, factor_slope, colder_k, warmer_k = self._tables.factor(temperatures_degc)
        ocv_v, ocv_per_c = values[0], slopes[0] * per_c
        leaks_per_s: FloatArray = self._leak_per_s * np.asarray(socs > 0.0, dtype=np.float64)
        leaks_a = leaks_per_s * capacity_c
        hot_scale = factor * self._resistance_scale
        # All cells warm alike: a kelvin of their sum is a part of a kelvin of each.
        warming = factor_slope * self._resistance_scale / self._count
        hot_ohm = values[1:] * hot_scale
        above_k = temperatures_degc - self.ambient_degc
        rows = np.array((ocv_v, ocv_per_c, slopes[0] * leaks_per_s, leaks_a * ocv_v, branches_v, above_k))
        sums: list[float] = rows.dot(ones).tolist()
        ocv_sum_v, sum_per_c, sum_per_s, leak_w, branch_v, warmth_k = sums
        self._ocv_v, self._branch_v, self._warmth_k = ocv_sum_v, branch_v, warmth_k
        self._gone_c = self._leaking_s = 0.0
        self._decayed = self._cooled = 1.0

        # The tables have charging first.
        charge, discharge = zip(
            hot_ohm.dot(ones).tolist(),
            (slopes[1:] * hot_scale).dot(per_c).tolist(),
            values[1:].dot(warming).tolist(),
            strict=True,
        )
        # Shares of the string's drop and warmth; what a cell has beyond its share decays.
        row, resistance_ohm = (0, charge[0]) if direction < 0.0 else (1, discharge[0])
        share = hot_ohm[row] / resistance_ohm
        heats_w = (leaks_a + self._refused * max(-direction, 0.0)) * ocv_v
        heats_w += (direction * direction * resistance_ohm) * share
        heat_w = float(heats_w.dot(ones))
        warm_share = heats_w / heat_w if heat_w > 0.0 else ones / self._count
        own_v, own_k = branches_v - share * branch_v, above_k - warm_share * warmth_k

        drift_per_c, drift_per_k = slopes[row + 1] * per_c / values[row + 1], factor_slope / factor
        spread = np.array((ocv_v, ocv_per_c, own_v, share, own_k, warm_share, drift_per_c, drift_per_k))
        spans = list(zip(spread.min(axis=1).tolist(), spread.max(axis=1).tolist(), strict=True))
        far_c = _far(_ANCHOR_SOC * 3600.0 * self.capacity_ah, spans[6])
        far_k = self._count * _far(_ANCHOR_K, spans[7])
        reach *= capacity_c
        return _Anchor(
            ocv_v=ocv_sum_v,
            ocv_per_c=sum_per_c,
            ocv_per_s=sum_per_s,
            leak_a=leak_w / ocv_sum_v if ocv_sum_v > 0.0 else 0.0,
            warmth_k=warmth_k,
            resistances=(discharge, charge),
            direction=direction,
            charge_c=(-min(float(reach[1].min()), far_c), min(-float(reach[0].max()), far_c)),
            warmth_range_k=(
                warmth_k + max(self._count * colder_k, -far_k),
                warmth_k + min(self._count * warmer_k, far_k),
            ),
            soc=(float(socs.dot(self._weight)), float(leaks_per_s.dot(self._weight))),
            cell_socs=(socs, leaks_per_s),
            cell_voltages=np.array((ocv_v, ocv_per_c, rows[2], own_v, share)),
            cell_temperatures=spread[4:6],
            voltage_spans=(spans[0], spans[1], spans[2], spans[3]),
            temperature_spans=(spans[4], spans[5]),
        )


def _far(most: float, drifts: Range) -> float:
    """How far cells may go that drift apart so, relative to each other, until their shares are off."""
    low, high = drifts
    return min(most, _ANCHOR_SHARE / (high - low)) if high > low else most


class _Tables:
    """A chemistry's curves as lines between nodes; beyond the last node the last line goes on."""

    def __init__(self, cell: Chemistry) -> None:
        self._nodes, self._values = cell.nodes, cell.node_values
        widths = np.diff(cell.nodes)
        self._slopes = np.diff(cell.node_values, axis=1) / widths
        inner = cell.nodes[1:-1]
        self._edges = np.array(([-np.inf, *inner], [*inner, np.inf]))
        pieces = 0.5 * (self._values[0, 1:] + self._values[0, :-1]) * widths
        self._energy = np.concatenate(([0.0], np.cumsum(pieces)))
        # The factor of temperature is constant outside its nodes.
        degc, factors = cell.temperature_degc, cell.temperature_factor
        self._degc, self._factors = degc, factors
        self._factor_slopes = np.concatenate(([0.0], np.diff(factors) / np.diff(degc), [0.0]))
        self._colder = np.concatenate(([-np.inf], degc))
        self._warmer = np.concatenate((degc, [np.inf]))

    def at(self, socs: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Look the cells' lines up.

        Returns:
            The three curves and their slopes, each of shape (3, n), and of shape (2, n) how far each line
            reaches from here, down (negative) and up.
        """
        segment = self._edges[1].searchsorted(socs, side="right")
        slopes = self._slopes.take(segment, axis=1)
        values = self._values.take(segment, axis=1) + slopes * (socs - self._nodes[segment])
        return values, slopes, self._edges.take(segment, axis=1) - socs

    def energy_j_per_c(self, socs: FloatArray) -> FloatArray:
        """Integral of the open-circuit voltage over state of charge, J of a cell of 1 C."""
        segment = self._edges[1].searchsorted(socs, side="right")
        part = socs - self._nodes[segment]
        mean_v = self._values[0, segment] + 0.5 * part * self._slopes[0, segment]
        found: FloatArray = self._energy[segment] + part * mean_v
        return found

    def factor(self, temperatures_degc: FloatArray) -> tuple[FloatArray, FloatArray, float, float]:
        """Factor of the resistance, its slope, and how much all may cool (negative) and warm on one line."""
        band = self._degc.searchsorted(temperatures_degc, side="right")
        return (
            np.interp(temperatures_degc, self._degc, self._factors),
            self._factor_slopes[band],
            float((self._colder[band] - temperatures_degc).max()),
            float((self._warmer[band] - temperatures_degc).min()),
        )
