"""What time and use take from a cell's capacity and add to its resistance.

By time, a cell at a time, after Naumann et al. (J. Energy Storage 17 (2018) 153), in the form that SimSES
2.1.1 has:

    loss       = k(T) (a (SoC - 1/2)^3 + b) sqrt(t)          k(T) = k exp(-E/R (1/T - 1/298.15 K))
    resistance = k_R(T) (a_R (SoC - 1/2)^2 + b_R) t

By use, half cycle by half cycle, after Naumann et al. (J. Power Sources 451 (2020) 227666):

    loss       = (a C + b) (c (DoD - 0.6)^3 + d) sqrt(N)     N full equivalent cycles, C in capacities an hour
    resistance = (a_R C + b_R) (c_R (DoD - 1/2)^3 + d_R) N

Both losses add. Under changing conditions the loss goes on from what is lost, as if it had come about under
the present ones: the squares of the losses add. A half cycle ends where the charge turns back by more than
``TURN`` of capacity.

Inactive metal (zinc): each unit of charge that goes in leaves a part behind; below a voltage it dissolves
exponentially.

Not modelled: a knee, sudden death, ageing of connections, half cycles within half cycles (rainflow),
differences in the depth of discharge between cells of a string.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.plant.chemistries import (
    GAS_J_PER_MOL_K,
    ZERO_DEGC_K,
    CalendarAgeing,
    ChemistryFile,
    CyclicAgeing,
)

FloatArray = NDArray[np.float64]

TURN = 0.005
"""Part of capacity by which charge turns back until a half cycle is done; ours: above what noise moves."""

REFERENCE_K = 298.15

_DAY_S = 86_400.0


class Ageing:
    """Age of the cells of one string.

    Attributes:
        capacity: of each cell, part of what it had at time zero, shape (n,).
        resistance: of each cell, over what it had at time zero, shape (n,).
        calendar_loss: by time, since the cells were made, shape (n,).
        cyclic_loss: by cycles, since the cells were made.
        full_cycles: full equivalent cycles since the cells were made.
        inactive: part of the capacity in inactive metal, shape (n,).
    """

    def __init__(
        self, file: ChemistryFile, count: int, *, soc: float, age_days: float, full_cycles: float
    ) -> None:
        """Let the cells have an age.

        Args:
            file: the chemistry.
            count: of cells.
            soc: at time zero.
            age_days: since they were made, at half charge and 25 degC.
            full_cycles: full cycles of half a capacity an hour that are behind them.
        """
        self._calendar, self._cyclic, self._metal = (
            file.calendar_ageing,
            file.cyclic_ageing,
            file.inactive_metal,
        )
        self._ones = np.ones(count)
        self._calendar_square = np.zeros(count)
        self._calendar_ohm = np.zeros(count)
        self._cyclic_square = self._cyclic_ohm = 0.0
        self._rates: tuple[FloatArray, FloatArray] | None = None
        if self._calendar is not None:
            loss, ohm = _calendar_rates(
                self._calendar, np.array([0.5]), np.array([REFERENCE_K - ZERO_DEGC_K])
            )
            self._calendar_square += loss[0] * age_days * _DAY_S
            self._calendar_ohm += ohm[0] * age_days * _DAY_S
        self.full_cycles = 0.0
        self._count(1.0, 0.5, full_cycles)
        self._lost_before = np.sqrt(self._calendar_square) + math.sqrt(self._cyclic_square)
        self._ohm_before = self._calendar_ohm + self._cyclic_ohm
        self.inactive = np.zeros(count)
        self.capacity, self.resistance = self._ones, self._ones
        # The half cycle that runs: where it began, its far point, and the seconds with current up to there.
        self._began, self._far, self._direction = soc, soc, 0.0
        self._far_s = self._flow_s = 0.0
        self._moved = soc
        self._plated = 0.0

    @property
    def calendar_loss(self) -> FloatArray:
        """By time, since the cells were made, shape (n,)."""
        return np.sqrt(self._calendar_square)

    @property
    def cyclic_loss(self) -> float:
        """By cycles, since the cells were made."""
        return math.sqrt(self._cyclic_square)

    def move(self, charge: float, flow_s: float) -> None:
        """Count charge that went in and stayed, a part of capacity (negative: came out), and its time."""
        if charge == 0.0:
            return
        if charge > 0.0:
            self._plated += charge
        self._moved += charge
        self._flow_s += flow_s
        if self._direction == 0.0:
            self._direction = math.copysign(1.0, charge)
        if (self._moved - self._far) * self._direction >= 0.0:
            self._far, self._far_s = self._moved, self._flow_s
        elif abs(self._moved - self._far) > TURN:
            depth = abs(self._far - self._began)
            if self._far_s > 0.0:
                self._count(depth, depth * 3600.0 / self._far_s, 0.5 * depth)
            self._began, self._flow_s = self._far, self._flow_s - self._far_s
            self._far, self._far_s = self._moved, self._flow_s
            self._direction = -self._direction

    def live(self, socs: FloatArray, degc: FloatArray, cells_v: FloatArray, duration_s: float) -> None:
        """Let time pass up to here, and bring ``capacity`` and ``resistance`` up to date.

        Args:
            socs: of the cells, now; calendar ageing takes the mean of its rates now and at the last call.
            degc: their temperatures.
            cells_v: their voltages.
            duration_s: since the last call.
        """
        if self._calendar is not None:
            now = _calendar_rates(self._calendar, socs, degc)
            loss, ohm = now if self._rates is None else self._rates
            self._calendar_square += (0.5 * duration_s) * (loss + now[0])
            self._calendar_ohm += (0.5 * duration_s) * (ohm + now[1])
            self._rates = now
        if self._metal is not None:
            left = math.exp(-duration_s / self._metal.strip_time_constant_s)
            self.inactive = self.inactive + self._metal.loss_per_charge * self._plated * (1.0 - self.inactive)
            self.inactive = np.where(cells_v < self._metal.strip_below_v, left * self.inactive, self.inactive)
        self._plated = 0.0
        lost = np.sqrt(self._calendar_square)
        lost += math.sqrt(self._cyclic_square)
        self.capacity = self._ones - (lost - self._lost_before) - self.inactive
        self.resistance = self._ones + (self._calendar_ohm + (self._cyclic_ohm - self._ohm_before))

    def _count(self, depth: float, rate: float, cycles: float) -> None:
        """Count full equivalent cycles of one depth and rate."""
        self.full_cycles += cycles
        if self._cyclic is not None:
            loss, ohm = cyclic_rates(self._cyclic, depth, rate)
            self._cyclic_square += loss * loss * cycles
            self._cyclic_ohm += ohm * cycles


def _calendar_rates(law: CalendarAgeing, socs: FloatArray, degc: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What the square of the loss, and the resistance, grow by in a second."""
    per_k = (1.0 / REFERENCE_K - 1.0 / (degc + ZERO_DEGC_K)) / GAS_J_PER_MOL_K
    off = socs - 0.5
    square = off * off
    (cubic, fixed), (quadratic, fixed_ohm) = law.loss_soc, law.resistance_soc
    # A cubic may turn negative outside of where it was fitted: no cell grows younger.
    loss = np.maximum(cubic * off * square + fixed, 0.0)
    loss *= loss
    loss *= np.exp(2.0 * law.loss_activation_j_per_mol * per_k)
    loss *= law.loss_per_sqrt_s * law.loss_per_sqrt_s
    ohm = np.maximum(quadratic * square + fixed_ohm, 0.0)
    ohm *= np.exp(law.resistance_activation_j_per_mol * per_k)
    ohm *= law.resistance_per_s
    return loss, ohm


def cyclic_rates(law: CyclicAgeing, depth: float, rate: float) -> tuple[float, float]:
    """Loss for the square root of one cycle, and growth of the resistance for one cycle."""
    per_rate, fixed = law.loss_rate
    cubic, constant = law.loss_depth
    loss = (per_rate * rate + fixed) * (cubic * (depth - 0.6) ** 3 + constant)
    per_rate, fixed = law.resistance_rate
    cubic, constant = law.resistance_depth
    ohm = (per_rate * rate + fixed) * (cubic * (depth - 0.5) ** 3 + constant)
    return max(loss, 0.0), max(ohm, 0.0)
