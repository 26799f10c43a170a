"""A string of cells as equivalent circuits.

Each place of the string (``cells_in_parallel`` equal cells) follows

    U      = OCV(SoC) - I R0 - U1                     I positive out of the battery
    dU1/dt = (I R1 - U1) / tau                        solved exactly for a constant current
    dSoC/dt = -eta I / Q - k                          eta = coulombic efficiency while charging, else 1
    C dT/dt = I (I R0 + U1) + lost charge x OCV - h A (T - T_ambient)     solved exactly for constant heat

with OCV and R = R0 + R1 from the chemistry's tables, R over state of charge, direction and temperature. Heat
is Bernardi's irreversible term (Bernardi, Pawlikowski, Newman 1985); what the RC branch stores is counted as
heat when it goes in.

Not modelled: hysteresis, entropic heat, more than one RC branch, ageing, balancing, differences between
parallel cells, heat between neighbours, gas.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.plant.chemistries import GRID_FIRST, GRID_PER_UNIT, Chemistry, load
from harness.plant.keyed import normal
from harness.plant.spec import BatterySpec

FloatArray = NDArray[np.float64]

_SECONDS_A_DAY = 86_400.0


class BatteryString:
    """Cells in series, advanced by steps of constant current.

    Attributes:
        chemistry: its parameters.
        current_a: out of the battery.
        capacity_ah: charge between empty and full, mean of the places.
        cell_socs: state of charge at each place, shape (n,).
        cell_temperatures_degc: shape (n,).
        heat_j: resistive heat since time zero, connections included.
        coulombic_loss_j: energy of charge that did not stay, while charging.
        self_discharge_j: energy of charge that leaked.
    """

    def __init__(self, spec: BatterySpec, ambient_degc: float, seed: int) -> None:
        self.spec = spec
        self.chemistry: Chemistry = load(spec.chemistry)
        self.ambient_degc = ambient_degc
        count = spec.cells_in_series
        cell = self.chemistry

        def spread(quantity: str, deviation: float) -> FloatArray:
            draws = [normal(seed, f"cell {quantity}", index) for index in range(count)]
            scaled: FloatArray = deviation * np.clip(np.array(draws), -3.0, 3.0)
            return scaled

        capacity_c = 3600.0 * cell.capacity_ah * spec.cells_in_parallel * spec.soh
        self._capacity_c = capacity_c * (1.0 + spread("capacity", spec.spread.capacity))
        self._resistance_scale = (1.0 + spread("resistance", spec.spread.resistance)) / spec.cells_in_parallel
        self.cell_socs: FloatArray = spec.soc + spread("soc", spec.spread.soc)
        self.cell_temperatures_degc: FloatArray = np.full(
            count, ambient_degc if spec.temperature_degc is None else spec.temperature_degc
        )
        self._branch_v: FloatArray = np.zeros(count)
        self._kelvin_per_w = 1.0 / (cell.heat_conductance_w_per_k * spec.cells_in_parallel)
        self._thermal_time_constant_s = cell.heat_capacity_j_per_k / cell.heat_conductance_w_per_k
        self._leak_a = self._capacity_c * (cell.self_discharge_per_day / _SECONDS_A_DAY)
        self._per_c = 1.0 / self._capacity_c
        self._weight = self._capacity_c / self._capacity_c.sum()
        self._ones = np.ones(count)
        self.capacity_ah = float(self._capacity_c.mean()) / 3600.0
        self._curves = np.ascontiguousarray(cell.curves.T)
        self._rises = np.diff(self._curves, axis=1)
        self._last_place = self._rises.shape[1]
        self.current_a = 0.0
        self.heat_j = 0.0
        self.coulombic_loss_j = 0.0
        self.self_discharge_j = 0.0
        self._refresh()
        self._stored_at_start_j = self._energy_j()

    @property
    def voltage_v(self) -> float:
        """Voltage at the string's terminals, before the contactors."""
        return self.voltage_at_v(self.current_a)

    @property
    def soc(self) -> float:
        """State of charge of the string: the mean of its places, weighted with their capacity."""
        return float(self.cell_socs.dot(self._weight))

    @property
    def soh(self) -> float:
        """Capacity left as a fraction of the new string's."""
        return self.spec.soh

    @property
    def temperature_degc(self) -> float:
        """Mean temperature of the cells."""
        return float(self.cell_temperatures_degc.dot(self._ones)) / self.spec.cells_in_series

    @property
    def cell_voltages_v(self) -> FloatArray:
        """Voltage at each place, shape (n,)."""
        return self._cell_voltages_v

    def voltage_at_v(self, current_a: float) -> float:
        """Terminal voltage at this instant, were the current so."""
        series_ohm = self.chemistry.series_share * self._resistance_sum_ohm[current_a < 0.0]
        connected_ohm = series_ohm + self.spec.connection_resistance_ohm
        return self._ocv_sum_v - self._branch_sum_v - current_a * connected_ohm

    def source(self, duration_s: float, *, is_charging: bool) -> tuple[float, float, float, float]:
        """Voltage and resistance of the string as a source over a coming step: U = a - b I.

        Linear in a constant current: the RC branch exactly, the open-circuit voltage by its slope.

        Returns:
            (a, b) for the mean voltage over the step, then (a, b) for the voltage at its end.
        """
        known = self._sources.get((duration_s, is_charging))
        if known is not None:
            return known
        ratio = duration_s / self.chemistry.time_constant_s
        mean, end = _mean_decay(ratio), math.exp(-ratio)
        share = self.chemistry.series_share
        resistance_ohm = self._resistance_sum_ohm[is_charging]
        slope_ohm = duration_s * self._slope_sum_v_per_c
        if is_charging:
            slope_ohm *= self.chemistry.coulombic_efficiency
        fixed_ohm = self.spec.connection_resistance_ohm + resistance_ohm
        branch_ohm = (1.0 - share) * resistance_ohm
        found = (
            self._ocv_sum_v - mean * self._branch_sum_v,
            fixed_ohm - mean * branch_ohm + 0.5 * slope_ohm,
            self._ocv_sum_v - end * self._branch_sum_v,
            fixed_ohm - end * branch_ohm + slope_ohm,
        )
        self._sources[duration_s, is_charging] = found
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
        cell = self.chemistry
        is_charging = current_a < 0.0
        ratio = duration_s / cell.time_constant_s
        decay = math.exp(-ratio)
        if current_a == 0.0:
            self._branch_v = decay * self._branch_v
            drop_v: FloatArray | None = None
        else:
            resistance_ohm = self._resistance_ohm[is_charging]
            final_v = (current_a * (1.0 - cell.series_share)) * resistance_ohm
            swing_v = self._branch_v - final_v
            self._branch_v = final_v + decay * swing_v
            drop_v = (current_a * cell.series_share) * resistance_ohm
            drop_v += final_v
            drop_v += _mean_decay(ratio) * swing_v
        start_ocv_v = self._ocv_v
        # Charge lost at each place a second: what leaks, and what of the charge current does not stay.
        leak_a = self._leak_a if self._lowest_soc > 0.0 else self._leak_a * (self.cell_socs > 0.0)
        refused_a = -(1.0 - cell.coulombic_efficiency) * current_a if is_charging else 0.0
        self.cell_socs = self.cell_socs - (current_a + refused_a + leak_a) * (duration_s * self._per_c)
        self.current_a = current_a
        self._refresh_ocv()
        mean_ocv_v = 0.5 * (start_ocv_v + self._ocv_v)
        ocv_j = duration_s * float(mean_ocv_v.dot(self._ones))
        self.coulombic_loss_j += refused_a * ocv_j
        self.self_discharge_j += duration_s * float(mean_ocv_v.dot(leak_a))
        warmth_w = (leak_a + refused_a) * mean_ocv_v
        energy_j = 0.0
        if drop_v is not None:
            warmth_w += current_a * drop_v
            lost_v = float(drop_v.dot(self._ones)) + current_a * self.spec.connection_resistance_ohm
            self.heat_j += duration_s * current_a * lost_v
            energy_j = current_a * (ocv_j - duration_s * lost_v)
        final_degc = self.ambient_degc + warmth_w * self._kelvin_per_w
        cooling = math.exp(-duration_s / self._thermal_time_constant_s)
        self.cell_temperatures_degc = final_degc + cooling * (self.cell_temperatures_degc - final_degc)
        self._refresh_resistance()
        return energy_j

    def interrupt(self) -> None:
        """Stop the current at this instant (a contactor opens)."""
        self.current_a = 0.0
        self._refresh_voltages()

    def stored_change_j(self) -> float:
        """Energy stored now less that at time zero, from the states of charge alone."""
        return self._energy_j() - self._stored_at_start_j

    def _energy_j(self) -> float:
        cell = self.chemistry
        place = self.cell_socs * GRID_PER_UNIT - GRID_FIRST
        index = np.clip(place.astype(np.int64), 0, len(cell.soc) - 2)
        part = place - index
        piece = (part * cell.curves[index, 0] + 0.5 * part * part * self._rises[0, index]) / GRID_PER_UNIT
        return float(np.dot(cell.energy_j_per_c[index] + piece, self._capacity_c))

    def _refresh(self) -> None:
        self._refresh_ocv()
        self._refresh_resistance()

    def _refresh_ocv(self) -> None:
        """Look the tables up at the present states of charge."""
        place = self.cell_socs * GRID_PER_UNIT - GRID_FIRST
        places = place.tolist()
        lowest, highest = min(places), max(places)
        self._lowest_soc = (lowest + GRID_FIRST) / GRID_PER_UNIT
        index = place.astype(np.int64)
        if lowest < 0.0 or highest >= self._last_place:
            index = np.clip(index, 0, self._last_place - 1)
        rises = self._rises.take(index, axis=1)
        self._rows = self._curves.take(index, axis=1)
        self._rows += (place - index) * rises
        self._ocv_v: FloatArray = self._rows[0]
        self._ocv_sum_v = float(self._ocv_v.dot(self._ones))
        self._slope_sum_v_per_c = float(rises[0].dot(self._per_c)) * GRID_PER_UNIT

    def _refresh_resistance(self) -> None:
        """Bring resistances and voltages to the present state of charge and temperature."""
        cell = self.chemistry
        factor = np.interp(self.cell_temperatures_degc, cell.temperature_degc, cell.temperature_factor)
        charge, discharge = self._rows[1:] * (factor * self._resistance_scale)
        # By direction: index 0 (False) discharging, 1 (True) charging.
        self._resistance_ohm: tuple[FloatArray, FloatArray] = (discharge, charge)
        self._resistance_sum_ohm = (float(discharge.dot(self._ones)), float(charge.dot(self._ones)))
        self._branch_sum_v = float(self._branch_v.dot(self._ones))
        # By step length and direction, for the present state.
        self._sources: dict[tuple[float, bool], tuple[float, float, float, float]] = {}
        self._refresh_voltages()

    def _refresh_voltages(self) -> None:
        share = self.current_a * self.chemistry.series_share
        resistance_ohm = self._resistance_ohm[self.current_a < 0.0]
        self._cell_voltages_v: FloatArray = self._ocv_v - self._branch_v - share * resistance_ohm


def _mean_decay(ratio: float) -> float:
    """Mean of exp(-t/tau) over a step of ``ratio`` time constants."""
    return 1.0 if ratio < 1e-9 else -math.expm1(-ratio) / ratio
