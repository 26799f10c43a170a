"""The rig's AC network: source impedance, transfer switch, converter and load, solved for phasors.

Kirchhoff's laws phase by phase, neutral stiff; phasors are RMS in a frame that turns with the source (mains
connected) or with the island. Not modelled: cables inside the site, filters, the transfer switch's own drop.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.plant.load import CriticalLoad
from harness.plant.spec import LoadKind

Phasors = tuple[complex, complex, complex]

OPERATOR = cmath.exp(2j * cmath.pi / 3.0)
"""Turn by 120 degrees."""

SEQUENCE: Phasors = (1.0 + 0j, OPERATOR**2, OPERATOR)
"""A balanced set of positive sequence: phase 2 lags by 120 degrees."""

ZERO: Phasors = (0j, 0j, 0j)

NODES = ("grid_ac", "pcs_ac", "load_ac")


@dataclass(slots=True, eq=False)
class Flow:
    """Phasors at one instant, RMS.

    Attributes:
        emf_v: behind the source impedance; zero with the relay open.
        grid_v: at grid_ac.
        bus_v: at pcs_ac and load_ac.
        pcs_a: out of the converter.
        load_a: into the load.
        grid_a: out of the site into the source.
    """

    emf_v: Phasors
    grid_v: Phasors
    bus_v: Phasors
    pcs_a: Phasors
    load_a: Phasors
    grid_a: Phasors
    _arrays: tuple[NDArray[np.complex128], NDArray[np.complex128]] | None = field(default=None)
    _power_va: complex | None = field(default=None)

    @property
    def positive_v(self) -> complex:
        """Positive sequence of the bus voltage."""
        one, two, three = self.bus_v
        return (one + OPERATOR * two + SEQUENCE[1] * three) / 3.0

    @property
    def power_va(self) -> complex:
        """P + jQ out of the converter."""
        if self._power_va is None:
            phases = zip(self.bus_v, self.pcs_a, strict=True)
            self._power_va = sum((v * i.conjugate() for v, i in phases), start=0j)
        return self._power_va

    def arrays(self) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Voltages and currents, each of shape (4, 3): the three nodes, then the source's EMF."""
        if self._arrays is None:
            self._arrays = (
                np.array((self.grid_v, self.bus_v, self.bus_v, self.emf_v)),
                np.array((self.grid_a, self.pcs_a, self.load_a, self.grid_a)),
            )
        return self._arrays


def mean_power_va(before: Flow, after: Flow) -> complex:
    """Mean of P + jQ out of the converter while all phasors run linearly from one flow to the other."""
    if before is after:
        return after.power_va
    total = 0j
    for v0, v1, i0, i1 in zip(before.bus_v, after.bus_v, before.pcs_a, after.pcs_a, strict=True):
        total += (v0 + v1) * (i0 + i1).conjugate() + v0 * i0.conjugate() + v1 * i1.conjugate()
    return total / 6.0


def connected(
    emf_v: tuple[float, float, float], impedance_ohm: complex, pcs_a: complex, load: CriticalLoad
) -> Flow:
    """Solve with the mains connected; ``pcs_a`` is the positive-sequence current of the converter."""
    emf = _balanced(emf_v)
    pcs = (pcs_a, pcs_a * SEQUENCE[1], pcs_a * SEQUENCE[2])
    if load.spec.kind is LoadKind.RESISTIVE:
        conductance_s = load.conductance_s()
        divisor = 1.0 + impedance_ohm * conductance_s
        bus = _three((e + impedance_ohm * i) / divisor for e, i in zip(emf, pcs, strict=True))
        load_a = _three(v * conductance_s for v in bus)
    else:
        bus = emf
        # A contraction by |Z I / V|, below 1 % for any source worth the name: six rounds are below 1e-12.
        for _ in range(6):
            load_a = _three(load.phase_current_a(v) for v in bus)
            bus = _three(e + impedance_ohm * (i - j) for e, i, j in zip(emf, pcs, load_a, strict=True))
        load_a = _three(load.phase_current_a(v) for v in bus)
    grid_a = _three(i - j for i, j in zip(pcs, load_a, strict=True))
    return Flow(emf, bus, bus, pcs, load_a, grid_a)


def islanded(emf_v: tuple[float, float, float], formed_v: float, load: CriticalLoad) -> Flow:
    """Solve with the mains disconnected: the load alone on the voltage that the converter forms."""
    bus = _balanced((formed_v, formed_v, formed_v))
    load_a = _three(load.phase_current_a(v) for v in bus)
    emf = _balanced(emf_v)
    return Flow(emf, emf, bus, load_a, load_a, ZERO)


DEAD = Flow(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)


def _balanced(voltage_v: tuple[float, float, float]) -> Phasors:
    one, two, three = voltage_v
    return (one + 0j, two * SEQUENCE[1], three * SEQUENCE[2])


def _three(phasors: Iterable[complex]) -> Phasors:
    one, two, three = phasors
    return (one, two, three)
