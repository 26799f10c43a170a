"""What the emulated WT1800E makes of a plant's totals: numeric items with this instrument's errors.

All of an update is computed at once and at most once, and what only settings change is computed when they
do: a long plan asks for some forty items a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from drivers.yokogawa_wt1800e import points
from drivers.yokogawa_wt1800e.options import Wiring

if TYPE_CHECKING:
    from harness.plant import NodeTotals

MOMENTARY = frozenset({"U", "I", "URMS", "IRMS", "UDC", "IDC", "P", "S", "Q", "LAMBDA", "PHI", "FU"})
INTEGRATED = frozenset({"WH", "WHP", "WHM", "AH", "AHP", "AHM", "TIME"})

_QUANTITIES = "uipqf"
_DRAWS = Struct(f"<{6 * len(_QUANTITIES)}h")
"""One number for each quantity of six elements: as much as one hash gives."""
_FULL_DRAW = 32768.0


@dataclass(slots=True)
class Element:
    """One input element, and where it is connected."""

    number: int
    node: str = ""
    phase: int = 0
    wiring: Wiring | None = None
    u_range_v: float = 1000.0
    i_range_a: float = 50.0
    ratio: float = 1.0
    is_scaled: bool = False

    @property
    def is_dc(self) -> bool:
        """Whether direct current is connected."""
        return self.node.endswith("_dc")

    @property
    def current_range_a(self) -> float:
        """Range in what the element shows: primary ampere where it scales."""
        return self.i_range_a * (self.ratio if self.is_scaled else 1.0)


class Sums(NamedTuple):
    """What one node integrated before the stretch that is running."""

    out_j: float = 0.0
    in_j: float = 0.0
    charge_out_c: float = 0.0
    charge_in_c: float = 0.0

    def plus(self, since: NodeTotals, now: NodeTotals) -> Sums:
        """Add a stretch."""
        return Sums(
            self.out_j + now.energy_out_j - since.energy_out_j,
            self.in_j + now.energy_in_j - since.energy_in_j,
            self.charge_out_c + now.charge_out_c - since.charge_out_c,
            self.charge_in_c + now.charge_in_c - since.charge_in_c,
        )


Error = tuple[float, float, float]
"""What a channel makes of a true value: factor, offset, and what the noise's draw is multiplied by."""


class _Channel(NamedTuple):
    """One connected element as its settings have it."""

    node: str
    phase: int
    sign: int
    is_dc: bool
    factor: float
    most_v: float
    most_a: float
    first_draw: int
    u: Error
    i: Error
    p: Error
    q: Error
    f: Error


_Flow = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], float, float, float, float]
"""Means at one node over an update: volts, amperes and shares of the phases, W, var, A (direct) and Hz."""


class _Counting(NamedTuple):
    """How one element or wiring unit counts energy and charge: factors, and what its offset adds a second."""

    is_dc: bool
    sign: int
    wh: float
    wh_drift: float
    ah: float
    ah_drift: float


class Meter:
    """The elements' common sense.

    Args:
        key: of all its errors; equal keys err alike.
        elements: by number; call ``forget_settings`` after changing one.
    """

    def __init__(self, key: str, elements: Mapping[int, Element]) -> None:
        self._key = key
        self._elements = elements
        self._systematic: dict[tuple[int, str], tuple[float, float]] = {}
        self._channels: dict[int, _Channel] = {}
        self._countings: dict[tuple[int, int], _Counting] = {}
        self._update = -1
        self._before: Mapping[str, NodeTotals] = {}
        self._after: Mapping[str, NodeTotals] = {}
        self._turn = 1
        self._noise: tuple[float, ...] = ()
        self._flows: dict[str, _Flow] = {}

    def forget_settings(self) -> None:
        """Take ranges and ratios anew."""
        self._channels.clear()
        self._countings.clear()

    def show(
        self,
        update: int,
        before: Mapping[str, NodeTotals],
        after: Mapping[str, NodeTotals],
        *,
        swapped_sign: bool,
    ) -> None:
        """Choose the update that items are computed for: its number, and the totals at its ends."""
        self._turn = -1 if swapped_sign else 1
        if update == self._update:
            return
        self._update, self._before, self._after = update, before, after
        self._flows.clear()
        # One hash an update: a draw for each quantity by a hash of its own took longer than all the rest.
        key = f"{self._key}/noise/{update}".encode()
        self._noise = _DRAWS.unpack(blake2b(key, digest_size=_DRAWS.size).digest())

    def momentary(self, elements: Sequence[Element]) -> Mapping[str, float]:
        """Items of one element or wiring unit that are no integrals; all INF beyond a range."""
        u_v = i_a = u_dc_v = i_dc_a = p_w = q_var = s_va = f_hz = 0.0
        for element in elements:
            channel = self._channels.get(element.number) or self._channel(element)
            node, phase, sign, is_dc, factor, most_v, most_a, first, u, i, p, q, f = channel
            flow = self._flows.get(node) or self._flow(node)
            phase_volts, phase_amperes, shares, node_w, node_var, direct_a, node_hz = flow
            u_draw, i_draw, p_draw, q_draw, f_draw = self._noise[first : first + 5]
            sign *= self._turn
            # Behind a current sensor that is not scaled back the element sees the secondary current.
            through = shares[phase] * factor * sign
            p_w += p[0] * node_w * through + p[1] + p[2] * p_draw
            volts = u[0] * phase_volts[phase] + u[1] + u[2] * u_draw
            if is_dc:
                current_a = i[0] * direct_a * factor * sign + i[1] + i[2] * i_draw
                u_dc_v += volts
                i_dc_a += current_a
                amperes = abs(current_a)
            else:
                volts = max(volts, 0.0)
                amperes = max(i[0] * phase_amperes[phase] * factor + i[1] + i[2] * i_draw, 0.0)
                q_var += q[0] * node_var * through + q[1] + q[2] * q_draw
                f_hz = f[0] * node_hz + f[1] + f[2] * f_draw
            if abs(volts) > most_v or amperes > most_a:
                return dict.fromkeys(MOMENTARY, math.inf)
            u_v += volts
            i_a += amperes
            s_va += volts * amperes
        count = len(elements)
        return {
            "U": u_v / count,
            "URMS": u_v / count,
            "I": i_a / count,
            "IRMS": i_a / count,
            "UDC": u_dc_v / count,
            "IDC": i_dc_a / count,
            "P": p_w,
            "S": s_va,
            "Q": q_var,
            "LAMBDA": p_w / s_va if s_va > 0.0 else math.nan,
            "PHI": math.degrees(math.atan2(q_var, p_w)),
            # A wiring unit has no frequency, and neither has a direct voltage.
            "FU": f_hz if count == 1 and f_hz > 0.0 else math.nan,
        }

    def integrated(self, elements: Sequence[Element], sums: Sums, seconds: float) -> Mapping[str, float]:
        """Integrated items of one element or wiring unit, in Wh, Ah and s.

        Args:
            elements: all at one node.
            sums: what the node integrated in ``seconds``.
        """
        key = elements[0].number, len(elements)
        is_dc, sign, wh, wh_drift, ah, ah_drift = self._countings.get(key) or self._counting(elements)
        sign *= self._turn
        wh_plus, wh_minus = _both_ways(sums.out_j, sums.in_j, wh, wh_drift * seconds, sign)
        # Of alternating current only a direct part is charge.
        charge_out_c, charge_in_c = (sums.charge_out_c, sums.charge_in_c) if is_dc else (0.0, 0.0)
        ah_plus, ah_minus = _both_ways(charge_out_c, charge_in_c, ah, ah_drift * seconds, sign)
        return {
            "WH": wh_plus - wh_minus,
            "WHP": wh_plus,
            "WHM": -wh_minus,
            "AH": ah_plus - ah_minus,
            "AHP": ah_plus,
            "AHM": -ah_minus,
            "TIME": seconds,
        }

    def _counting(self, elements: Sequence[Element]) -> _Counting:
        """Compute what only settings change."""
        element = elements[0]
        channel = self._channels.get(element.number) or self._channel(element)
        share = len(elements) / (1 if channel.is_dc else 3) * channel.factor / 3600.0
        limits = points.DC_POWER if channel.is_dc else points.AC_POWER
        range_w = sum(each.u_range_v * each.current_range_a for each in elements)
        p_gain, p_offset = self._systematics(element, "p")
        i_gain, i_offset = self._systematics(element, "i")
        counting = self._countings[element.number, len(elements)] = _Counting(
            channel.is_dc,
            channel.sign,
            share * (1.0 + p_gain * limits.of_reading),
            p_offset * limits.of_range * range_w / 3600.0,
            share * (1.0 + i_gain * limits.of_reading),
            i_offset * limits.of_range * element.current_range_a / 3600.0,
        )
        return counting

    def _flow(self, node: str) -> _Flow:
        """Compute what flowed at a node in the update."""
        flow = self._flows[node] = _flow_between(self._before[node], self._after[node])
        return flow

    def _channel(self, element: Element) -> _Channel:
        """Compute what only settings change."""
        wiring = element.wiring
        if wiring is None:
            raise ValueError(f"element {element.number} is not connected")
        is_dc = element.is_dc
        of_u = points.DC_VOLTAGE if is_dc else points.AC_VOLTAGE
        of_i = points.DC_CURRENT if is_dc else points.AC_CURRENT
        of_p = points.DC_POWER if is_dc else points.AC_POWER
        of_f = points.Accuracy(points.FREQUENCY_OF_READING / 4, 0.0)
        range_w = element.u_range_v * element.current_range_a
        channel = self._channels[element.number] = _Channel(
            element.node,
            element.phase,
            wiring.sign,
            is_dc,
            (element.ratio if element.is_scaled else 1.0) / wiring.ct_ratio,
            points.OVER_RANGE * element.u_range_v,
            points.OVER_RANGE * element.current_range_a,
            len(_QUANTITIES) * (element.number - 1),
            self._error(element, "u", of_u, element.u_range_v),
            self._error(element, "i", of_i, element.current_range_a),
            self._error(element, "p", of_p, range_w),
            self._error(element, "q", of_p, range_w),
            self._error(element, "f", of_f, 0.0),
        )
        return channel

    def _error(self, element: Element, quantity: str, limits: points.Accuracy, range_: float) -> Error:
        """Error within the accuracy: most of it stays for the instrument's life, some of it is noise."""
        gain, offset = self._systematics(element, quantity)
        of_range = limits.of_range * range_
        return 1.0 + gain * limits.of_reading, offset * of_range, 0.1 * of_range / _FULL_DRAW

    def _systematics(self, element: Element, quantity: str) -> tuple[float, float]:
        """Gain and offset of one channel, as shares of their limits."""
        key = element.number, quantity
        found = self._systematic.get(key)
        if found is None:
            name = f"{element.number}{quantity}"
            found = 0.7 * self._draw(f"{name} gain"), 0.5 * self._draw(f"{name} offset")
            self._systematic[key] = found
        return found

    def _draw(self, quantity: str) -> float:
        """Draw from -1 to 1, evenly, by key."""
        key = f"{self._key}/{quantity}/0".encode()
        return int.from_bytes(blake2b(key, digest_size=7).digest()) / 2.0**55 - 1.0


def _both_ways(plus: float, minus: float, factor: float, drift: float, sign: int) -> tuple[float, float]:
    """Count both directions; the instrument's own offset is counted where the energy of the channel goes."""
    if plus >= minus:
        plus, minus = max(plus * factor + drift * sign, 0.0), minus * factor
    else:
        plus, minus = plus * factor, max(minus * factor - drift * sign, 0.0)
    return (plus, minus) if sign > 0 else (minus, plus)


def _flow_between(before: NodeTotals, after: NodeTotals) -> _Flow:
    seconds = after.time_s - before.time_s
    volts = _roots(before.voltage_square_v2s, after.voltage_square_v2s, seconds)
    amperes = _roots(before.current_square_a2s, after.current_square_a2s, seconds)
    if len(volts) == 1:
        shares: tuple[float, ...] = (1.0,)
    else:
        (u1, u2, u3), (i1, i2, i3) = volts, amperes
        apparent = u1 * i1 + u2 * i2 + u3 * i3
        shares = (u1 * i1 / apparent, u2 * i2 / apparent, u3 * i3 / apparent) if apparent else _ALIKE
    energy_j = after.energy_out_j - before.energy_out_j - after.energy_in_j + before.energy_in_j
    charge_c = after.charge_out_c - before.charge_out_c - after.charge_in_c + before.charge_in_c
    return (
        volts,
        amperes,
        shares,
        energy_j / seconds,
        (after.reactive_vars - before.reactive_vars) / seconds,
        charge_c / seconds,
        (after.cycles - before.cycles) / seconds,
    )


_ALIKE = (1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0)


def _roots(before: tuple[float, ...], after: tuple[float, ...], seconds: float) -> tuple[float, ...]:
    """Root mean squares of one or three phases; rounding may leave a little less than nothing."""
    sqrt = math.sqrt
    if len(before) == 1:
        return (sqrt(abs(after[0] - before[0]) / seconds),)
    (b1, b2, b3), (a1, a2, a3) = before, after
    return sqrt(abs(a1 - b1) / seconds), sqrt(abs(a2 - b2) / seconds), sqrt(abs(a3 - b3) / seconds)
