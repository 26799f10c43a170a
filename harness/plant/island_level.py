"""How high a grid-forming converter can hold the voltage of its island.

With u the part of nominal voltage V, Y the load's admittance, S_c what it draws at any voltage and P_sun what
a solar array gives (see ``load.py`` and ``network.Infeed``), the converter itself carries

    S(u) = 3 V² u² conj(Y) + S_c - P_sun(u)

within its current and what the battery gives:

    |S(u)| <= 3 V u I_max        Re S(u) <= P_battery

A filter capacitor discharges until both hold, so the voltage falls from nominal to the highest such u, and
stays. With a constant power less voltage means more current, so that there may be no u above the level at
which the load gives up; and where it has given up the voltage may rise and wake it again. Then the voltage
has collapsed.

Not modelled: the fall itself (a filter's, below a millisecond), a load that the voltage finds asleep though
there is a higher level with it awake, motors.
"""

from __future__ import annotations

import math

from harness.plant.load import CriticalLoad
from harness.plant.network import Infeed

_ROUNDS = 100
"""Of a sun that falls with the voltage: each round goes lower, and not to settle is to collapse."""


def carried_va(
    level: float, nominal_v: float, frequency_hz: float, load: CriticalLoad, sun: Infeed
) -> complex:
    """P + jQ out of the converter at a part of nominal voltage, positive sequence, three phases together."""
    volts = level * nominal_v
    current_a = volts * load.admittance_s(frequency_hz) + load.constant_power_a(complex(volts))
    return 3.0 * volts * current_a.conjugate() - _sun_w(level, nominal_v, sun)


def highest_level(
    nominal_v: float, frequency_hz: float, load: CriticalLoad, sun: Infeed, *, most_a: float, most_w: float
) -> float:
    """Highest part of nominal voltage, up to 1, within current and battery; 0 where it collapses.

    Args:
        nominal_v: line to neutral.
        frequency_hz: of the island.
        load: that it feeds, as it stands.
        sun: beside it.
        most_a: of a phase.
        most_w: AC power that the battery can give.
    """
    impedance_va = 3.0 * nominal_v * nominal_v * load.admittance_s(frequency_hz).conjugate()
    most_va = 3.0 * nominal_v * most_a

    def under(constant_va: complex) -> float:
        level = 1.0
        for _ in range(_ROUNDS):
            net_va = constant_va - _sun_w(level, nominal_v, sun)
            lower = _highest(impedance_va, net_va, most_va, most_w)
            if lower == 0.0:
                return 0.0
            if lower >= level - 1e-12:
                # Where the array feeds the converter, less sun would leave more room.
                return lower if lower <= level else 0.0
            level = lower
        return 0.0

    awake = under(load.constant_va)
    if not load.constant_va or load.constant_power_a(complex(awake * nominal_v)):
        return awake
    asleep = under(0j)
    return 0.0 if load.constant_power_a(complex(asleep * nominal_v)) else asleep


def _sun_w(level: float, nominal_v: float, sun: Infeed) -> float:
    return min(sun.power_w, 3.0 * level * nominal_v * sun.limit_a)


def _highest(impedance_va: complex, constant_va: complex, most_va: float, most_w: float) -> float:
    """Highest level of an impedance and a power: the larger root of a quadratic in its square; 0 without."""
    square = 1.0
    if impedance_va.real + constant_va.real > most_w:
        square = (most_w - constant_va.real) / impedance_va.real if impedance_va.real > 0.0 else 0.0
        if square <= 0.0:
            return 0.0
    if abs(square * impedance_va + constant_va) > math.sqrt(square) * most_va:
        # |Z w + S|² = most² w
        a = abs(impedance_va) ** 2
        b = 2.0 * (impedance_va * constant_va.conjugate()).real - most_va * most_va
        c = abs(constant_va) ** 2
        under_root = b * b - 4.0 * a * c
        if a == 0.0 or b >= 0.0 or under_root < 0.0:
            return 0.0
        root = 0.5 * (math.sqrt(under_root) - b) / a
        if root >= square:
            return 0.0
        square = root
    return math.sqrt(square)
