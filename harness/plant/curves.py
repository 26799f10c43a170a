"""A chemistry's curves, looked up for all cells of a string at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from harness.plant.chemistries import GRID_FIRST, GRID_PER_UNIT, Chemistry

FloatArray = NDArray[np.float64]

WINDOW = 0.01
"""State of charge over which a secant stands for a curve, at most."""

GASSING = 0.01
"""Rise of the hydrogen's share of a charge current over which its mean stands for it, at most; ours."""

NEAR = 5e-4
"""State of charge by which a bend is near: no stretch ends there."""

REACH_K = 0.3
"""Temperature within which a bend of the resistance counts as near."""


class Line:
    """Where cells are on their curves.

    Value, slope, how much state of charge lies ahead until the first and the second node, and the next slope.
    """

    __slots__ = ("first", "next_slope", "second", "slope", "value")

    def __init__(
        self,
        value: FloatArray,
        slope: FloatArray,
        first: FloatArray,
        second: FloatArray,
        next_slope: FloatArray,
    ) -> None:
        self.value, self.slope, self.first, self.second, self.next_slope = (
            value,
            slope,
            first,
            second,
            next_slope,
        )


class Curves:
    """A chemistry's curves; beyond the last node of the open-circuit voltage the last line goes on."""

    def __init__(self, cell: Chemistry, window: float = WINDOW) -> None:
        self._cell, self._window = cell, window
        self._nodes, self._node_v = cell.nodes, cell.node_v
        widths = np.diff(cell.nodes)
        self._slopes = np.diff(cell.node_v) / widths
        self._inner = cell.nodes[1:-1]
        # For each segment: value at its lower node less slope times that; the two nodes below and above it.
        self._offset = cell.node_v[:-1] - self._slopes * cell.nodes[:-1]
        infinite = np.array([np.inf])
        low = np.concatenate((-infinite, self._inner))
        high = np.concatenate((self._inner, infinite))
        below = np.concatenate((self._slopes[:1], self._slopes[:-1]))
        above = np.concatenate((self._slopes[1:], self._slopes[-1:]))
        low_2 = np.concatenate((-infinite, low[:-1]))
        high_2 = np.concatenate((high[1:], infinite))
        self._falling = np.array((self._offset, self._slopes, low, low_2, below))
        self._rising = np.array((self._offset, self._slopes, high, high_2, above))
        pieces = 0.5 * (cell.node_v[1:] + cell.node_v[:-1]) * widths
        self._energy = np.concatenate(([0.0], np.cumsum(pieces)))
        # All that lies on the even grid, one row a point: resistances over temperature, hysteresis, hydrogen.
        self._grids = {
            is_charging: _steps(np.vstack((ohm, cell.half_gap_v, cell.hydrogen_share)).T)
            for is_charging, ohm in ((True, cell.charge_ohm), (False, cell.discharge_ohm))
        }
        self._degc = cell.temperature_degc
        self._degc_list: list[float] = cell.temperature_degc.tolist()
        gap, gas = cell.file.hysteresis, cell.file.hydrogen
        self._grid_bends = sorted(
            {*cell.file.resistance.soc, *(gap.soc if gap else ()), *(gas.soc if gas else ())}
        )

    def line(self, socs: FloatArray, *, is_charging: bool) -> Line:
        """Look the cells' lines up; a cell on a node is on the line ahead of it."""
        if is_charging:
            segment = self._inner.searchsorted(socs, side="right")
            offset, slope, first, second, beyond = self._rising.take(segment, axis=1)
            return Line(offset + slope * socs, slope, first - socs, second - socs, beyond)
        segment = self._inner.searchsorted(socs, side="left")
        offset, slope, first, second, beyond = self._falling.take(segment, axis=1)
        return Line(offset + slope * socs, slope, socs - first, socs - second, beyond)

    def grid(self, socs: FloatArray, *, is_charging: bool) -> FloatArray:
        """Everything on the even grid: for each state of charge a row of temperatures + 2."""
        values, steps = self._grids[is_charging]
        place = socs * GRID_PER_UNIT
        place -= GRID_FIRST
        np.maximum(place, 0.0, out=place)
        np.minimum(place, len(steps) - 1e-9, out=place)
        whole = place.astype(np.intp)
        place -= whole
        found: FloatArray = steps.take(whole, axis=0)
        found *= place[..., np.newaxis]
        found += values.take(whole, axis=0)
        return found

    def resistance(self, grid: FloatArray, degc: FloatArray) -> tuple[FloatArray, FloatArray, bool]:
        """Resistances of new cells, here and ahead, and what they rise by for each kelvin.

        Args:
            grid: of the cells here and ahead, shape (2, n, temperatures + 2).
            degc: of the cells.

        Returns:
            Both of shape (2, n), and whether the rise changes near by.
        """
        nodes, listed = self._degc, self._degc_list
        coldest, warmest = float(degc.min()), float(degc.max())
        is_bend = any(coldest - REACH_K <= node <= warmest + REACH_K for node in listed)
        last = len(listed) - 1
        first, final = bisect_right(listed, coldest), bisect_right(listed, warmest)
        if first == final:
            if first in {0, last + 1}:
                column = grid[..., min(first, last)]
                return column, np.zeros_like(column), is_bend
            low = grid[..., first - 1]
            rise = (grid[..., first] - low) * (1.0 / (listed[first] - listed[first - 1]))
            return low + rise * (degc - listed[first - 1]), rise, is_bend
        band = nodes.searchsorted(degc, side="right")
        here, there = np.clip(band - 1, 0, last), np.clip(band, 0, last)
        width = np.where(here == there, np.inf, nodes[there] - nodes[here])
        cells = np.arange(len(degc))
        low = grid[:, cells, here]
        rise = (grid[:, cells, there] - low) / width
        return low + rise * (degc - nodes[here]), rise, is_bend

    def stretch(self, soc: float, *, is_charging: bool) -> float:
        """State of charge from here to the next bend of a curve on the even grid, no more than the window."""
        bends = self._grid_bends
        if is_charging:
            place = bisect_right(bends, soc + NEAR)
            return min(bends[place] - soc, self._window) if place < len(bends) else self._window
        place = bisect_left(bends, soc - NEAR)
        return min(soc - bends[place - 1], self._window) if place > 0 else self._window

    def gassing_stretch(self, soc: float) -> float:
        """State of charge over which the hydrogen's share of a charge current rises by ``GASSING`` at most.

        Args:
            soc: of the cell that is ahead of all others.
        """
        cell = self._cell
        here, ahead = np.interp((soc, soc + WINDOW), cell.soc, cell.hydrogen_share).tolist()
        return WINDOW * min(GASSING / max(ahead - here, 1e-9), 1.0)

    def refused(self, soc: float) -> float:
        """Part of a charge current that does not stay."""
        cell = self._cell
        gas = float(np.interp(soc, cell.soc, cell.hydrogen_share))
        return min(1.0 - cell.coulombic_efficiency + gas, 1.0)

    def energy_j_per_c(self, socs: FloatArray) -> FloatArray:
        """Integral of the open-circuit voltage over state of charge, J of a cell of 1 C."""
        segment = self._inner.searchsorted(socs, side="right")
        part = socs - self._nodes[segment]
        mean_v = self._node_v[segment] + 0.5 * part * self._slopes[segment]
        found: FloatArray = self._energy[segment] + part * mean_v
        return found


def _steps(grid: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Values and the steps to the next, for rows of a grid."""
    return np.ascontiguousarray(grid[:-1]), np.ascontiguousarray(np.diff(grid, axis=0))
