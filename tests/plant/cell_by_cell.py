"""The string's equations once more, cell by cell in fine steps and without any of its short cuts."""

from __future__ import annotations

import numpy as np

from harness.plant.battery import BatteryString
from harness.plant.keyed import normal


def draws(seed: int, quantity: str, count: int, deviation: float) -> np.ndarray:
    """Draw the spread between cells, as the string does."""
    return deviation * np.clip([normal(seed, f"cell {quantity}", n) for n in range(count)], -3.0, 3.0)


class CellByCell:
    """Every cell of a string for itself, by explicit steps; no ageing, no hydrogen.

    Attributes:
        soc: of each cell.
        degc: temperature of each cell.
        module_degc: of each module.
        hysteresis: state of each cell's own.
    """

    def __init__(self, string: BatteryString, ambient_degc: float, seed: int, step_s: float) -> None:
        spec, self.cell = string.spec, string.chemistry
        self.spec, self.ambient_degc, self.step_s = spec, ambient_degc, step_s
        count, spread = spec.cells_in_series, spec.spread
        new_c = 3600.0 * self.cell.capacity_ah * spec.cells_in_parallel
        self.capacity_c = new_c * (1.0 + draws(seed, "capacity", count, spread.capacity))
        self.scale = (1.0 + draws(seed, "resistance", count, spread.resistance)) / spec.cells_in_parallel
        worse = 1.0 + draws(seed, "thermal", count, spread.thermal)
        size = spec.cells_per_module or count
        self.worse = worse * np.repeat((1.0 / worse).reshape(-1, size).mean(axis=1), size)
        self.soc = spec.soc + draws(seed, "soc", count, spread.soc)
        self.degc = np.full(count, ambient_degc)
        self.module_degc = np.full(count // size, ambient_degc)
        self.hysteresis = np.zeros(count)
        self.branches_v = np.zeros((2, count))
        self.bled = np.zeros(count, dtype=bool)

    def resistance_ohm(self, current_a: float) -> np.ndarray:
        cell = self.cell
        rows = cell.charge_ohm if current_a < 0.0 else cell.discharge_ohm
        over_soc = np.array([np.interp(self.soc, cell.soc, row) for row in rows])
        nodes = cell.temperature_degc
        hot = np.array([np.interp(t, nodes, column) for t, column in zip(self.degc, over_soc.T, strict=True)])
        return hot * self.scale

    def ocv_v(self) -> np.ndarray:
        return np.interp(self.soc, self.cell.soc, self.cell.ocv)

    def voltages_v(self, current_a: float) -> np.ndarray:
        cell = self.cell
        gap_v = np.interp(self.soc, cell.soc, cell.half_gap_v)
        at_once_v = current_a * cell.series_share * self.resistance_ohm(current_a)
        return self.ocv_v() + self.hysteresis * gap_v - self.branches_v.sum(axis=0) - at_once_v

    def run(self, current_a: float, seconds: float, *, is_cooled: bool = True) -> None:
        cell, spec, step_s, parallel = self.cell, self.spec, self.step_s, self.spec.cells_in_parallel
        conductance = cell.heat_conductance_w_per_k * parallel
        out = spec.module_conductance_w_per_k
        if is_cooled:
            if spec.cells_per_module is None:
                conductance += spec.cooling_conductance_w_per_k
            else:
                out += spec.cooling_conductance_w_per_k
        capacity_j_per_k = cell.heat_capacity_j_per_k * parallel
        leak_per_s = cell.self_discharge_per_day / 86_400.0
        rate = 0.0 if cell.file.hysteresis is None else cell.file.hysteresis.rate
        size = spec.cells_per_module or len(self.soc)
        for _ in range(round(seconds / step_s)):
            ohm = self.resistance_ohm(current_a)
            ocv_v = self.ocv_v()
            kept_a = current_a * (cell.coulombic_efficiency if current_a < 0.0 else 1.0)
            leak_a = leak_per_s * self.capacity_c * (self.soc > 0.0)
            bled_a = np.where(self.bled, self.voltages_v(current_a), 0.0) / (spec.bleed_resistance_ohm or 1.0)
            drop_v = current_a * cell.series_share * ohm + self.branches_v.sum(axis=0)
            gap_v = np.interp(self.soc, cell.soc, cell.half_gap_v)
            heat_w = current_a * drop_v + (kept_a - current_a + leak_a) * ocv_v
            heat_w = heat_w + abs(current_a) * gap_v * self.hysteresis**2
            for place, law in enumerate(cell.file.resistance.branches):
                missing_v = current_a * law.share * ohm - self.branches_v[place]
                self.branches_v[place] += missing_v * -np.expm1(-step_s / law.time_constant_s)
            driven = abs(current_a) * rate / self.capacity_c
            self.hysteresis = self.hysteresis + step_s * driven * (-np.sign(current_a) - self.hysteresis)
            module_degc = np.repeat(self.module_degc, size) if spec.cells_per_module else self.ambient_degc
            gone_w = conductance * (self.degc - module_degc)
            self.degc = self.degc + step_s * (self.worse * heat_w - gone_w) / capacity_j_per_k
            if spec.cells_per_module:
                into_w = (gone_w / self.worse).reshape(-1, size).sum(axis=1)
                into_w -= out * (self.module_degc - self.ambient_degc)
                self.module_degc = self.module_degc + step_s * into_w / spec.module_heat_capacity_j_per_k
            self.soc = self.soc - step_s * (kept_a + leak_a + bled_a) / self.capacity_c
