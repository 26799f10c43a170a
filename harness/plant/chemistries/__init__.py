"""Cell chemistries as data: one TOML file each, every number with its origin beside it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigurationError

FloatArray = NDArray[np.float64]

GRID_PER_UNIT = 1000
"""Steps of the state-of-charge grid in one unit; published tables lie on it: their nodes stay exact."""

GRID_FIRST = -50
GRID_LAST = 1050

NODE_ERROR = np.array([4e-5, 1e-8, 1e-8])
"""Most by which lines between nodes leave the grid's curves: 0.04 mV, and 10 nOhm of a cell."""


@dataclass(frozen=True, slots=True)
class Chemistry:
    """One cell's parameters on an even grid of state of charge, from -0.05 to 1.05.

    Attributes:
        name: file name without suffix.
        description: for people.
        capacity_ah: of a new cell.
        minimum_v: lower end of the maker's window.
        maximum_v: upper end of the maker's window.
        heat_capacity_j_per_k: of a cell.
        heat_conductance_w_per_k: of a cell to ambient.
        coulombic_efficiency: charge that is kept of the charge put in.
        self_discharge_per_day: of capacity.
        series_share: part of the resistance that acts at once.
        time_constant_s: of the RC branch with the other part.
        soc: the grid, shape (n,).
        curves: shape (n, 3): open-circuit voltage, charge and discharge resistance at 25 degC, total.
        nodes: the few states of charge, 0 among them, between which all curves are lines (``NODE_ERROR``; a
            table's own nodes, so that a table stays exact), shape (m,).
        node_values: the curves there, shape (3, m).
        temperature_degc: nodes of ``temperature_factor``.
        temperature_factor: of the resistance; linear between, constant outside.
    """

    name: str
    description: str
    capacity_ah: float
    minimum_v: float
    maximum_v: float
    heat_capacity_j_per_k: float
    heat_conductance_w_per_k: float
    coulombic_efficiency: float
    self_discharge_per_day: float
    series_share: float
    time_constant_s: float
    soc: FloatArray
    curves: FloatArray
    nodes: FloatArray
    node_values: FloatArray
    temperature_degc: FloatArray
    temperature_factor: FloatArray

    def ocv_v(self, soc: float) -> float:
        """Open-circuit voltage of one cell."""
        return float(np.interp(soc, self.soc, self.curves[:, 0]))

    def resistance_ohm(self, soc: float, *, is_charging: bool, temperature_degc: float = 25.0) -> float:
        """Total resistance of one cell, once the RC branch has settled."""
        column = 1 if is_charging else 2
        factor = float(np.interp(temperature_degc, self.temperature_degc, self.temperature_factor))
        return factor * float(np.interp(soc, self.soc, self.curves[:, column]))


def names() -> tuple[str, ...]:
    """Chemistries that there are."""
    suffix = ".toml"
    entries = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(suffix) for name in entries if name.endswith(suffix)))


@cache
def load(name: str) -> Chemistry:
    """Read a chemistry.

    Raises:
        ConfigurationError: no such chemistry, or a key is missing in its file.
    """
    if name not in names():
        raise ConfigurationError(f"chemistry {name!r}: no such file; there are {', '.join(names())}")
    table = tomllib.loads((files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))
    try:
        return _chemistry(name, table)
    except KeyError as missing:
        raise ConfigurationError(f"chemistries/{name}.toml: key {missing} is missing") from missing


def _chemistry(name: str, table: dict[str, Any]) -> Chemistry:
    cell, resistance = table["cell"], table["resistance"]
    soc = np.arange(GRID_FIRST, GRID_LAST + 1) / GRID_PER_UNIT
    ocv_v = _ocv_v(table["ocv"], soc)
    curves = np.column_stack(
        [
            ocv_v,
            np.interp(soc, resistance["soc"], resistance["charge_ohm"]),
            np.interp(soc, resistance["soc"], resistance["discharge_ohm"]),
        ]
    )
    empty = -GRID_FIRST
    nodes = [*_bends(curves, 0, empty), *_bends(curves, empty, len(soc) - 1), len(soc) - 1]
    return Chemistry(
        name=name,
        description=table["description"],
        capacity_ah=cell["capacity_ah"],
        minimum_v=cell["minimum_v"],
        maximum_v=cell["maximum_v"],
        heat_capacity_j_per_k=cell["mass_kg"] * cell["heat_capacity_j_per_kgk"],
        heat_conductance_w_per_k=cell["heat_transfer_w_per_m2k"] * cell["area_m2"],
        coulombic_efficiency=cell["coulombic_efficiency"],
        self_discharge_per_day=cell["self_discharge_per_day"],
        series_share=resistance["series_share"],
        time_constant_s=resistance["time_constant_s"],
        soc=soc,
        curves=curves,
        nodes=soc[nodes],
        node_values=np.ascontiguousarray(curves[nodes].T),
        temperature_degc=np.array(resistance["temperature_degc"]),
        temperature_factor=np.array(resistance["temperature_factor"]),
    )


def _bends(curves: FloatArray, first: int, last: int) -> list[int]:
    """Find where the curves bend between two points, by halving at the farthest bend (Douglas, Peucker 1973).

    Returns:
        Rows in rising order, the first among them and the last not.
    """
    part = np.linspace(0.0, 1.0, last - first + 1)[:, np.newaxis]
    off = np.abs(curves[first : last + 1] - (curves[first] + part * (curves[last] - curves[first])))
    farthest = int((off / NODE_ERROR).max(axis=1).argmax())
    if np.all(off[farthest] <= NODE_ERROR):
        return [first]
    return [*_bends(curves, first, first + farthest), *_bends(curves, first + farthest, last)]


def _ocv_v(ocv: dict[str, Any], soc: FloatArray) -> FloatArray:
    """Open-circuit voltage on the grid, with the two ends beyond the table.

    A Nernst chemistry follows U = U_ref + s log10(c / 1 mol/l), c linear in state of charge.
    """
    if ocv["kind"] == "nernst":
        inside = np.clip(soc, 0.0, 1.0)
        empty, full = ocv["empty_mol_per_l"], ocv["full_mol_per_l"]
        voltage_v = ocv["reference_v"] + ocv["slope_v_per_decade"] * np.log10(empty + inside * (full - empty))
    else:
        voltage_v = np.interp(soc, ocv["soc"], ocv["voltage_v"])
    below, above = ocv["below"], ocv["above"]
    first = voltage_v[-GRID_FIRST]
    last = voltage_v[GRID_PER_UNIT - GRID_FIRST]
    beneath = first + (below["voltage_v"] - first) * soc / below["soc"]
    beyond = last + (above["voltage_v"] - last) * (soc - 1.0) / (above["soc"] - 1.0)
    return np.asarray(np.where(soc < 0.0, beneath, np.where(soc > 1.0, beyond, voltage_v)), dtype=np.float64)
