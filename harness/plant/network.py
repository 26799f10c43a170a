"""The rig's AC network: source impedance, transfer switch, converter and load, solved for phasors.

Kirchhoff's laws phase by phase, neutral stiff; phasors are RMS in a frame that turns with the source (mains
connected) or with the island. Harmonics of the source are solved apart, order by order, with h times its
reactance and the load's admittance at that order: converter, solar array and constant-power loads draw no
harmonic current. Powers and squares of all orders add (Parseval), so that totals hold distortion too; what
is protected or controlled by voltage sees the fundamental. Not modelled: cables inside the site, filters, the
transfer switch's own drop, harmonics in step with each other over a ramp of the frequency.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from harness.plant.load import CriticalLoad
    from harness.plant.spec import Harmonic

Phasors = tuple[complex, complex, complex]

Triple = tuple[float, float, float]

OPERATOR = cmath.exp(2j * cmath.pi / 3.0)
"""Turn by 120 degrees."""

SEQUENCE: Phasors = (1.0 + 0j, OPERATOR**2, OPERATOR)
"""A balanced set of positive sequence: phase 2 lags by 120 degrees."""

ZERO: Phasors = (0j, 0j, 0j)

NODES = ("grid_ac", "pcs_ac", "load_ac")
"""Nodes that every rig has."""

EMF = "emf"
"""The source behind its impedance, beside the nodes."""

STANDBY = "standby_ac"
"""Terminals of the second source of a rig that has one; positive into it."""

SOLAR = "solar_ac"
"""Terminals of the solar array of a rig that has one; positive out of it."""


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


class Sequences(NamedTuple):
    """Symmetric components of three phasors, each as that of phase 1 (Fortescue 1918).

    Attributes:
        zero: (a + b + c) / 3.
        positive: (a + w b + w² c) / 3 with w the turn by 120 degrees.
        negative: (a + w² b + w c) / 3.
    """

    zero: complex
    positive: complex
    negative: complex

    @property
    def unbalance(self) -> float:
        """Negative over positive sequence (IEC 61000-4-30, from memory); infinite without the latter."""
        return abs(self.negative) / abs(self.positive) if self.positive else float("inf")

    def phasors(self) -> Phasors:
        """Three phases again."""
        zero, positive, negative = self
        back, ahead = SEQUENCE[1], OPERATOR
        return (
            zero + positive + negative,
            zero + back * positive + ahead * negative,
            zero + ahead * positive + back * negative,
        )


def sequences(phasors: Phasors) -> Sequences:
    """Take three phasors apart into symmetric components."""
    one, two, three = phasors
    ahead, back = OPERATOR, SEQUENCE[1]
    return Sequences(
        (one + two + three) / 3.0,
        (one + ahead * two + back * three) / 3.0,
        (one + back * two + ahead * three) / 3.0,
    )


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
        standby_v: at the terminals of the second source.
        standby_a: out of the site into the second source.
        solar_a: out of the solar array.
        overtones: (order, flow) of the source's harmonics, in a frame that turns order times as fast.
        power_va: P + jQ out of the converter.
        positive_v: positive sequence of the bus voltage.
    """

    emf_v: Phasors
    grid_v: Phasors
    bus_v: Phasors
    pcs_a: Phasors
    load_a: Phasors
    grid_a: Phasors
    standby_v: Phasors = ZERO
    standby_a: Phasors = ZERO
    solar_a: Phasors = ZERO
    overtones: tuple[tuple[int, Flow], ...] = ()
    power_va: complex = field(init=False)
    positive_v: complex = field(init=False)
    _means: tuple[Means, ...] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Derive what every solution is asked for."""
        one, two, three = self.bus_v
        self.positive_v = (one + OPERATOR * two + SEQUENCE[1] * three) / 3.0
        self.power_va = power_va(self.bus_v, self.pcs_a)

    @property
    def negative_v(self) -> complex:
        """Negative sequence of the bus voltage."""
        return sequences(self.bus_v).negative

    def at(self, node: str) -> tuple[Phasors, Phasors]:
        """Voltages and currents at one of ``NODES``, at ``EMF``, ``STANDBY`` or ``SOLAR``."""
        if node == "pcs_ac":
            return self.bus_v, self.pcs_a
        if node == "load_ac":
            return self.bus_v, self.load_a
        if node == STANDBY:
            return self.standby_v, self.standby_a
        if node == SOLAR:
            return self.bus_v, self.solar_a
        return (self.grid_v if node == "grid_ac" else self.emf_v), self.grid_a

    def means(self, nodes: Sequence[str]) -> tuple[Means, ...]:
        """Means while nothing changes.

        Args:
            nodes: of this rig, always the same ones: ``NODES`` first, ``EMF`` last.
        """
        if self._means is None:
            bus_v2, grid_a2 = _squares(self.bus_v), _squares(self.grid_a)
            grid_v2 = bus_v2 if self.grid_v is self.bus_v else _squares(self.grid_v)
            means: tuple[Means, ...] = (
                Means(power_va(self.grid_v, self.grid_a), grid_v2, grid_a2),
                Means(self.power_va, bus_v2, _squares(self.pcs_a)),
                Means(power_va(self.bus_v, self.load_a), bus_v2, _squares(self.load_a)),
            )
            for node in nodes[3:-1]:
                voltage_v, current_a = self.at(node)
                means = (
                    *means,
                    Means(power_va(voltage_v, current_a), _squares(voltage_v), _squares(current_a)),
                )
            means = (*means, Means(power_va(self.emf_v, self.grid_a), _squares(self.emf_v), grid_a2))
            for _, flow in self.overtones:
                means = _added(means, flow.means(nodes))
            self._means = means
        return self._means


def means_between(before: Flow, after: Flow, nodes: Sequence[str]) -> tuple[Means, ...]:
    """Means while all phasors run linearly from one flow to the other: exact, by Simpson's weights."""
    if before is after:
        return after.means(nodes)
    found = []
    v0 = v1 = middle_v = ZERO
    square_v2 = (0.0, 0.0, 0.0)
    for node, first, last in zip(nodes, before.means(nodes), after.means(nodes), strict=True):
        last_v0, last_v1 = v0, v1
        (v0, i0), (v1, i1) = before.at(node), after.at(node)
        # Neighbours share the bus.
        if v0 is not last_v0 or v1 is not last_v1:
            middle_v = _sum(v0, v1)
            square_v2 = _squares(middle_v)
        middle_a = _sum(i0, i1)
        found.append(
            Means(
                (first.power_va + last.power_va + power_va(middle_v, middle_a)) / 6.0,
                _sixth(first.voltage_square_v2, last.voltage_square_v2, square_v2),
                _sixth(first.current_square_a2, last.current_square_a2, _squares(middle_a)),
            )
        )
    means = tuple(found)
    if not (before.overtones or after.overtones):
        return means
    for first_flow, last_flow in _pairs(before, after):
        middle = tuple(_middle(first_flow, last_flow, node) for node in nodes)
        means = _added(means, middle)
    return means


def _middle(before: Flow, after: Flow, node: str) -> Means:
    """Four sixths of a harmonic at the middle: the ends stand in the means of the flows already."""
    (v0, i0), (v1, i1) = before.at(node), after.at(node)
    middle_v, middle_a = _sum(v0, v1), _sum(i0, i1)
    return Means(
        power_va(middle_v, middle_a) / 6.0,
        _sixth((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), _squares(middle_v)),
        _sixth((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), _squares(middle_a)),
    )


def _pairs(before: Flow, after: Flow) -> list[tuple[Flow, Flow]]:
    """Harmonics at both ends, nothing where an end has none."""
    first, last = dict(before.overtones), dict(after.overtones)
    return [(first.get(order, DEAD), last.get(order, DEAD)) for order in {**first, **last}]


def mean_power_va(before: Flow, after: Flow) -> complex:
    """Mean of P + jQ out of the converter while all phasors run linearly from one flow to the other."""
    if before is after:
        return after.power_va
    middle_va = power_va(_sum(before.bus_v, after.bus_v), _sum(before.pcs_a, after.pcs_a))
    return (before.power_va + after.power_va + middle_va) / 6.0


class Tie(NamedTuple):
    """The bus at a source: its voltages and what flows.

    Attributes:
        bus_v: voltages of the bus.
        load_a: into the load.
        source_a: out of the site into the source.
        solar_a: out of the solar array.
    """

    bus_v: Phasors
    load_a: Phasors
    source_a: Phasors
    solar_a: Phasors


class Infeed(NamedTuple):
    """What gives a power to the bus whatever its voltage, up to a current.

    Attributes:
        power_w: three phases together.
        limit_a: of the positive sequence.
    """

    power_w: float
    limit_a: float

    def current_a(self, bus_v: Phasors) -> Phasors:
        """Positive sequence, in phase with that of the voltage; none where there is no voltage."""
        if self.power_w == 0.0:
            return ZERO
        positive_v = sequences(bus_v).positive
        volts = abs(positive_v)
        if volts < 1.0:
            return ZERO
        size_a = min(self.power_w / (3.0 * volts), self.limit_a)
        return balanced(positive_v * (size_a / volts))


NO_INFEED = Infeed(0.0, 0.0)


def tie(
    emf_v: Phasors,
    impedance_ohm: complex,
    pcs_a: Phasors,
    load: CriticalLoad,
    *,
    frequency_hz: float,
    solar: Infeed = NO_INFEED,
) -> Tie:
    """Solve the bus at a source."""
    admittance_s = load.admittance_s(frequency_hz)
    share = 1.0 / (1.0 + impedance_ohm * admittance_s)
    (e1, e2, e3), (i1, i2, i3) = emf_v, pcs_a
    stiff = (
        (e1 + impedance_ohm * i1) * share,
        (e2 + impedance_ohm * i2) * share,
        (e3 + impedance_ohm * i3) * share,
    )
    line_ohm = impedance_ohm * share
    without_v, solar_a = stiff, ZERO
    if solar.power_w:
        solar_a = _solar_a(stiff, line_ohm, load, solar)
        without_v = _lifted(stiff, line_ohm, solar_a)
    drawing = _drawing(without_v, line_ohm, load)
    load.live_at(magnitudes(drawing.bus_v))
    bus, drawn_a = drawing.where_it_lives(load)
    (v1, v2, v3), (d1, d2, d3), (s1, s2, s3) = bus, drawn_a, solar_a
    load_a = (v1 * admittance_s + d1, v2 * admittance_s + d2, v3 * admittance_s + d3)
    (l1, l2, l3) = load_a
    return Tie(bus, load_a, (i1 + s1 - l1, i2 + s2 - l2, i3 + s3 - l3), solar_a)


class _Drawing(NamedTuple):
    """The bus without a constant power, and with it in all phases; zero where no voltage carries it."""

    without_v: Phasors
    bus_v: Phasors

    def where_it_lives(self, load: CriticalLoad) -> tuple[Phasors, Phasors]:
        """Voltages and the constant power's currents, of phases that are dead without it."""
        without_v, bus_v = self
        if not load.constant_va:
            return without_v, ZERO
        share_va = load.constant_va / 3.0
        found = [
            (v, (share_va / v).conjugate()) if load.draws(phase, abs(v)) else (without_v[phase], 0j)
            for phase, v in enumerate(bus_v)
        ]
        return _three(v for v, _ in found), _three(i for _, i in found)


def _drawing(without_v: Phasors, line_ohm: complex, load: CriticalLoad) -> _Drawing:
    """Solve V = V_0 - Z conj(S / 3 / V), phase by phase.

    With w = V / V_0 and c = Z conj(S / 3) / |V_0|² it reads |w|² = conj(w) - c, whose imaginary part is
    linear and whose real part is a quadratic. The larger root is the one that no load leads to; without a
    real root the line cannot carry the power at any voltage.
    """
    if not load.wanted_va:
        return _Drawing(without_v, without_v)
    drop_va = line_ohm * (load.wanted_va / 3.0).conjugate()

    def solve(volts: complex) -> complex:
        square_v2 = volts.real * volts.real + volts.imag * volts.imag
        if square_v2 == 0.0:
            return 0j
        c = drop_va / square_v2
        under_root = 0.25 - c.imag * c.imag - c.real
        return volts * complex(0.5 + math.sqrt(under_root), -c.imag) if under_root >= 0.0 else 0j

    return _Drawing(without_v, _three(solve(v) for v in without_v))


def _solar_a(stiff_v: Phasors, line_ohm: complex, load: CriticalLoad, solar: Infeed) -> Phasors:
    """Find the current that belongs to the voltage that it makes; none where it cannot lock to any."""
    solar_a = ZERO
    # A contraction by |Z I / V|: below 1 % behind a line, 20 % behind a generator.
    for _ in range(_ROUNDS):
        before = solar_a[0]
        bus, _ = _drawing(_lifted(stiff_v, line_ohm, solar_a), line_ohm, load).where_it_lives(load)
        solar_a = solar.current_a(bus)
        if abs(solar_a[0] - before) <= 1e-12 * abs(before):
            return solar_a
    return ZERO


_ROUNDS = 200
"""Enough for a contraction by 0.85."""


def _lifted(voltage_v: Phasors, line_ohm: complex, solar_a: Phasors) -> Phasors:
    return _three(v + line_ohm * i for v, i in zip(voltage_v, solar_a, strict=True))


def overtones(
    emf_v: Phasors,
    impedance_ohm: complex,
    load: CriticalLoad,
    frequency_hz: float,
    harmonics: Sequence[Harmonic],
    *,
    is_standby: bool,
) -> tuple[tuple[int, Flow], ...]:
    """Solve the harmonics of the source that feeds, order by order."""
    found = []
    for harmonic in harmonics:
        order = harmonic.order
        turn = cmath.exp(1j * cmath.pi * harmonic.angle_deg / 180.0) * harmonic.fraction
        emf = _three(turn * abs(v) * cmath.exp(1j * order * cmath.phase(v)) if v else 0j for v in emf_v)
        line_ohm = complex(impedance_ohm.real, impedance_ohm.imag * order)
        admittance_s = load.admittance_s(frequency_hz * order, is_harmonic=True)
        bus = _three(v / (1.0 + line_ohm * admittance_s) for v in emf)
        load_a = _three(v * admittance_s for v in bus)
        grid_a = _three(-i for i in load_a)
        if is_standby:
            flow = Flow(ZERO, ZERO, bus, ZERO, load_a, ZERO, standby_v=bus, standby_a=grid_a)
        else:
            flow = Flow(emf, bus, bus, ZERO, load_a, grid_a)
        found.append((order, flow))
    return tuple(found)


def formed(formed_v: float, load: CriticalLoad, frequency_hz: float, solar: Infeed = NO_INFEED) -> Tie:
    """Solve a bus that the converter forms; ``source_a`` is what it takes in."""
    bus = balanced(formed_v)
    admittance_s = load.admittance_s(frequency_hz)
    load.live_at(magnitudes(bus))
    _, drawn_a = _Drawing(bus, bus).where_it_lives(load)
    load_a = _three(v * admittance_s + i for v, i in zip(bus, drawn_a, strict=True))
    solar_a = solar.current_a(bus)
    return Tie(bus, load_a, _three(s - i for s, i in zip(solar_a, load_a, strict=True)), solar_a)


DEAD = Flow(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)


def balanced(voltage: complex) -> Phasors:
    """Three phases of positive sequence."""
    return (voltage + 0j, voltage * SEQUENCE[1], voltage * SEQUENCE[2])


def negated(phasors: Phasors) -> Phasors:
    """Turned round."""
    one, two, three = phasors
    return (-one, -two, -three)


def magnitudes(phasors: Phasors) -> Triple:
    """Without angles."""
    one, two, three = phasors
    return (abs(one), abs(two), abs(three))


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


def _added(some: Iterable[Means], others: Iterable[Means]) -> tuple[Means, ...]:
    return tuple(
        Means(
            a.power_va + b.power_va,
            _total(a.voltage_square_v2, b.voltage_square_v2),
            _total(a.current_square_a2, b.current_square_a2),
        )
        for a, b in zip(some, others, strict=True)
    )


def _total(some: Triple, others: Triple) -> Triple:
    (a1, a2, a3), (b1, b2, b3) = some, others
    return (a1 + b1, a2 + b2, a3 + b3)
