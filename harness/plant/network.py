"""The rig's AC network: source impedance, transfer switch, converter and load, solved for phasors.

Kirchhoff's laws phase by phase, neutral stiff; phasors are RMS in a frame that turns with the source (mains
connected) or with the island. Not modelled: cables inside the site, filters, the transfer switch's own drop.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.plant.load import CriticalLoad
from harness.plant.spec import LoadKind

Phasors = tuple[complex, complex, complex]

Triple = tuple[float, float, float]

OPERATOR = cmath.exp(2j * cmath.pi / 3.0)
"""Turn by 120 degrees."""

SEQUENCE: Phasors = (1.0 + 0j, OPERATOR**2, OPERATOR)
"""A balanced set of positive sequence: phase 2 lags by 120 degrees."""

ZERO: Phasors = (0j, 0j, 0j)

NODES = ("grid_ac", "pcs_ac", "load_ac")

EMF = "emf"
"""The source behind its impedance, beside the nodes."""


class Means(NamedTuple):
    """What a node's integrals grow by in a second.

    Attributes:
        power_va: P + jQ, all phases.
        voltage_square_v2: of each phase.
        current_square_a2: of each phase.
    """

    power_va: complex
    voltage_square_v2: Triple
    current_square_a2: Triple


def power_va(voltage_v: Phasors, current_a: Phasors) -> complex:
    """P + jQ of three phases."""
    (v1, v2, v3), (i1, i2, i3) = voltage_v, current_a
    return v1 * i1.conjugate() + v2 * i2.conjugate() + v3 * i3.conjugate()


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
        power_va: P + jQ out of the converter.
        positive_v: positive sequence of the bus voltage.
    """

    emf_v: Phasors
    grid_v: Phasors
    bus_v: Phasors
    pcs_a: Phasors
    load_a: Phasors
    grid_a: Phasors
    power_va: complex = field(init=False)
    positive_v: complex = field(init=False)
    _means: tuple[Means, ...] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Derive what every solution is asked for."""
        one, two, three = self.bus_v
        self.positive_v = (one + OPERATOR * two + SEQUENCE[1] * three) / 3.0
        self.power_va = power_va(self.bus_v, self.pcs_a)

    def at(self, node: str) -> tuple[Phasors, Phasors]:
        """Voltages and currents at one of ``NODES``, or at ``EMF``."""
        if node == "pcs_ac":
            return self.bus_v, self.pcs_a
        if node == "load_ac":
            return self.bus_v, self.load_a
        return (self.grid_v if node == "grid_ac" else self.emf_v), self.grid_a

    def means(self) -> tuple[Means, ...]:
        """Means while nothing changes, at ``NODES`` and at ``EMF``."""
        if self._means is None:
            bus_v2, grid_a2 = _squares(self.bus_v), _squares(self.grid_a)
            grid_v2 = bus_v2 if self.grid_v is self.bus_v else _squares(self.grid_v)
            self._means = (
                Means(power_va(self.grid_v, self.grid_a), grid_v2, grid_a2),
                Means(self.power_va, bus_v2, _squares(self.pcs_a)),
                Means(power_va(self.bus_v, self.load_a), bus_v2, _squares(self.load_a)),
                Means(power_va(self.emf_v, self.grid_a), _squares(self.emf_v), grid_a2),
            )
        return self._means


def means_between(before: Flow, after: Flow) -> tuple[Means, ...]:
    """Means while all phasors run linearly from one flow to the other: exact, by Simpson's weights."""
    if before is after:
        return after.means()
    found = []
    for node, first, last in zip((*NODES, EMF), before.means(), after.means(), strict=True):
        (v0, i0), (v1, i1) = before.at(node), after.at(node)
        middle_v, middle_a = _sum(v0, v1), _sum(i0, i1)
        found.append(
            Means(
                (first.power_va + last.power_va + power_va(middle_v, middle_a)) / 6.0,
                _sixth(first.voltage_square_v2, last.voltage_square_v2, _squares(middle_v)),
                _sixth(first.current_square_a2, last.current_square_a2, _squares(middle_a)),
            )
        )
    return tuple(found)


def mean_power_va(before: Flow, after: Flow) -> complex:
    """Mean of P + jQ out of the converter while all phasors run linearly from one flow to the other."""
    if before is after:
        return after.power_va
    middle_va = power_va(_sum(before.bus_v, after.bus_v), _sum(before.pcs_a, after.pcs_a))
    return (before.power_va + after.power_va + middle_va) / 6.0


def connected(emf_v: Triple, impedance_ohm: complex, pcs_a: complex, load: CriticalLoad) -> Flow:
    """Solve with the mains connected; ``pcs_a`` is the positive-sequence current of the converter."""
    emf = _balanced(emf_v)
    pcs = (pcs_a, pcs_a * SEQUENCE[1], pcs_a * SEQUENCE[2])
    if load.spec.kind is LoadKind.RESISTIVE:
        conductance_s = load.conductance_s()
        share = 1.0 / (1.0 + impedance_ohm * conductance_s)
        (e1, e2, e3), (i1, i2, i3) = emf, pcs
        bus = (
            (e1 + impedance_ohm * i1) * share,
            (e2 + impedance_ohm * i2) * share,
            (e3 + impedance_ohm * i3) * share,
        )
        v1, v2, v3 = bus
        load_a = (v1 * conductance_s, v2 * conductance_s, v3 * conductance_s)
    else:
        bus = emf
        # A contraction by |Z I / V|, below 1 % for any source worth the name: six rounds are below 1e-12.
        for _ in range(6):
            load_a = _three(load.phase_current_a(v) for v in bus)
            bus = _three(e + impedance_ohm * (i - j) for e, i, j in zip(emf, pcs, load_a, strict=True))
        load_a = _three(load.phase_current_a(v) for v in bus)
    (i1, i2, i3), (j1, j2, j3) = pcs, load_a
    return Flow(emf, bus, bus, pcs, load_a, (i1 - j1, i2 - j2, i3 - j3))


def islanded(emf_v: Triple, formed_v: float, load: CriticalLoad) -> Flow:
    """Solve with the mains disconnected: the load alone on the voltage that the converter forms."""
    bus = _balanced((formed_v, formed_v, formed_v))
    load_a = _three(load.phase_current_a(v) for v in bus)
    emf = _balanced(emf_v)
    return Flow(emf, emf, bus, load_a, load_a, ZERO)


DEAD = Flow(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)


def _balanced(voltage_v: Triple) -> Phasors:
    one, two, three = voltage_v
    return (one + 0j, two * SEQUENCE[1], three * SEQUENCE[2])


def _three(phasors: Iterable[complex]) -> Phasors:
    one, two, three = phasors
    return (one, two, three)


def _sum(some: Phasors, others: Phasors) -> Phasors:
    (a1, a2, a3), (b1, b2, b3) = some, others
    return (a1 + b1, a2 + b2, a3 + b3)


def _squares(phasors: Phasors) -> Triple:
    one, two, three = phasors
    return (
        one.real * one.real + one.imag * one.imag,
        two.real * two.real + two.imag * two.imag,
        three.real * three.real + three.imag * three.imag,
    )


def _sixth(some: Triple, others: Triple, more: Triple) -> Triple:
    (a1, a2, a3), (b1, b2, b3), (c1, c2, c3) = some, others, more
    return ((a1 + b1 + c1) / 6.0, (a2 + b2 + c2) / 6.0, (a3 + b3 + c3) / 6.0)
