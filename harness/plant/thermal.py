"""Heat from cells by way of their modules to the air, solved exactly for constant heat.

A cell of warmth w above ambient stands in a module of warmth m:

    C dw/dt   = g P - G (w - m)                  g: how much worse than its neighbours the cell is cooled
    C_m dm/dt = sum over cells G (w - m) / g - G_m m          G_m: to ambient, with or without cooling

Without modules m is zero throughout, and G is the cells' own conductance to ambient. The sums of all modules
follow the same two equations, so that three decaying exponentials and their three responses to the string's
heat tell every cell's warmth: ``w = own d + share F`` for each, with d = exp(-rate t) and dF/dt = P - rate F.

A cell that is cooled worse keeps its time constant (its heat capacity counts as smaller by as much): what
differs is how far it warms. Not modelled: heat between neighbouring cells and between modules, air that warms
along its way, a fan's own heat, a conductance that depends on temperature.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class ThermalNetwork:
    """Cells, modules and ambient of one string.

    Attributes:
        warmth_k: sum of the cells' temperatures above ambient.
        fastest_s: its shortest time constant.
    """

    def __init__(
        self,
        count: int,
        *,
        cell_j_per_k: float,
        cell_w_per_k: float,
        cells_per_module: int | None = None,
        module_j_per_k: float = 0.0,
        module_w_per_k: float = 0.0,
        worse: FloatArray,
    ) -> None:
        """Build it at ambient temperature.

        Args:
            count: cells in the string.
            cell_j_per_k: heat capacity of a place of the string.
            cell_w_per_k: its conductance to its module, or to ambient where there are no modules.
            cells_per_module: None: no modules.
            module_j_per_k: heat capacity of a module without its cells.
            module_w_per_k: conductance of a module to ambient.
            worse: factor on each cell's warming, shape (n,); its inverse has a mean of one in each module.
        """
        self._count = count
        self._cell_j_per_k, self._cell_w_per_k = cell_j_per_k, cell_w_per_k
        self._per_module = cells_per_module
        self._module_j_per_k, self._module_w_per_k = module_j_per_k, module_w_per_k
        self._worse = worse
        self._duration_s = -1.0
        self.cells_k = np.zeros(count)
        self.modules_k = np.zeros(count // cells_per_module if cells_per_module else 0)
        self.warmth_k = 0.0
        self._find_rates()

    def set_conductance(self, cell_w_per_k: float, module_w_per_k: float) -> None:
        """Change the conductances; the next ``look`` is to follow at once."""
        self._cell_w_per_k, self._module_w_per_k = cell_w_per_k, module_w_per_k
        self._find_rates()

    def look(self, shares: FloatArray) -> None:
        """Begin anew from the present temperatures.

        Args:
            shares: of the string's heat that each cell makes from here on, shape (n,).
        """
        cells_k = self.cells_k
        cell_drive = self._worse * shares / self._cell_j_per_k
        if self._per_module is None:
            own_rows = cells_k[np.newaxis, :]
            share_rows = cell_drive[np.newaxis, :]
        else:
            size = self._per_module
            mean_k = (cells_k / self._worse).reshape(-1, size).sum(axis=1) / size
            drive = shares.reshape(-1, size).sum(axis=1) / (size * self._cell_j_per_k)
            # Modal coordinates of (mean of cells, module), shape (2, modules).
            own = self._inverse @ np.array((mean_k, self.modules_k))
            share = self._inverse[:, :1] * drive
            self._module_own, self._module_share = own, share
            of_cells = self._vectors[0][:, np.newaxis]
            own_rows = np.vstack((cells_k - np.repeat(mean_k, size), np.repeat(of_cells * own, size, axis=1)))
            share_rows = np.vstack(
                (cell_drive - np.repeat(drive, size), np.repeat(of_cells * share, size, axis=1))
            )
        self._rows = np.concatenate((own_rows, share_rows))
        self._spans: tuple[list[float], list[float]] | None = None
        sums: list[float] = self._rows.sum(axis=1).tolist()
        self._sums = list(zip(sums[: len(sums) // 2], sums[len(sums) // 2 :], strict=True))
        self._left = [1.0] * len(self._rates)
        self._driven = [0.0] * len(self._rates)
        self.warmth_k = float(cells_k.sum())

    def advance(self, heat_w: float, duration_s: float) -> None:
        """Let the string make heat for a time."""
        if duration_s != self._duration_s:
            self._duration_s = duration_s
            self._steps = [
                (math.exp(-rate * duration_s), -math.expm1(-rate * duration_s) / rate) for rate in self._rates
            ]
        left, driven, warmth_k = self._left, self._driven, 0.0
        if len(left) == 1:
            decay, gain = self._steps[0]
            left[0] = now = left[0] * decay
            driven[0] = then = driven[0] * decay + heat_w * gain
            own, share = self._sums[0]
            self.warmth_k = own * now + share * then
            return
        for mode, (decay, gain) in enumerate(self._steps):
            left[mode] = now = left[mode] * decay
            driven[mode] = then = driven[mode] * decay + heat_w * gain
            own, share = self._sums[mode]
            warmth_k += own * now + share * then
        self.warmth_k = warmth_k

    def cells(self) -> FloatArray:
        """Warmth of each cell above ambient now, shape (n,)."""
        found: FloatArray = np.array(self._left + self._driven).dot(self._rows)
        return found

    def modules(self) -> FloatArray:
        """Warmth of each module above ambient now, shape (modules,)."""
        if self._per_module is None:
            return self.modules_k
        of_module = self._vectors[1]
        left, driven = np.array(self._left[1:]), np.array(self._driven[1:])
        found: FloatArray = (of_module * left).dot(self._module_own) + (of_module * driven).dot(
            self._module_share
        )
        return found

    def bounds_k(self) -> tuple[float, float]:
        """Bounds of all cells' warmth, a fraction of a kelvin wide."""
        if self._spans is None:
            self._spans = (self._rows.min(axis=1).tolist(), self._rows.max(axis=1).tolist())
        if len(self._left) == 1:
            # The usual case, written out: asked for at every step.
            (own_low, low), (own_high, high) = self._spans
            own, driven = self._left[0], self._driven[0]
            if driven < 0.0:
                low, high = high, low
            return own * own_low + driven * low, own * own_high + driven * high
        low = high = 0.0
        for weight, least, most in zip(self._left + self._driven, *self._spans, strict=True):
            if weight < 0.0:
                least, most = most, least  # noqa: PLW2901
            low += weight * least
            high += weight * most
        return low, high

    def _find_rates(self) -> None:
        own_rate = self._cell_w_per_k / self._cell_j_per_k
        self._duration_s = -1.0
        if self._per_module is None:
            self._rates = [own_rate]
        else:
            into = self._per_module * self._cell_w_per_k / self._module_j_per_k
            out = self._module_w_per_k / self._module_j_per_k
            matrix = np.array(((-own_rate, own_rate), (into, -into - out)))
            values, self._vectors = np.linalg.eig(matrix)
            self._inverse = np.linalg.inv(self._vectors)
            self._rates = [own_rate, *(-values).tolist()]
        self.fastest_s = 1.0 / max(self._rates)
