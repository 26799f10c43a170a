"""What the emulated WT1800E makes of a plant's totals: numeric items with this instrument's errors.

All of an update is computed at once and at most once, and what only settings change is computed when they
do: a long plan asks for some forty items a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, repeat
from operator import add, mul, sub, truediv
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from drivers.yokogawa_wt1800e import points
from drivers.yokogawa_wt1800e.options import Wiring

if TYPE_CHECKING:
    from harness.plant import NodeTotals

MOMENTARY = frozenset({"U", "I", "URMS", "IRMS", "UDC", "IDC", "P", "S", "Q", "LAMBDA", "PHI", "FU"})
INTEGRATED = frozenset({"WH", "WHP", "WHM", "AH", "AHP", "AHM", "TIME"})

_QUANTITIES = "uipqf"
_ELEMENTS = 6
"""Most elements that an instrument of this family has."""
_DRAWS = Struct(f"<{_ELEMENTS * len(_QUANTITIES)}h")
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


NO_SUMS = Sums()


class _Channel(NamedTuple):
    """One connected element as its settings have it; what it makes of a true value, for each quantity.

    It shows ``gain * value + offset + noise * draw``. Signs and scaling are in the gains: behind a current
    sensor that is not scaled back the element sees the secondary current.
    """

    node: str
    phase: int
    is_dc: bool
    sign: int
    factor: float
    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    noises: tuple[float, ...]


class _Table(NamedTuple):
    """All elements' channels in a row, five quantities each, so that one pass computes an update."""

    places: tuple[tuple[str, int], ...]
    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    noises: tuple[float, ...]


_Flow = tuple[tuple[float, ...], ...]
"""Means over an update of each phase of a node: V, A (direct or rms), W, var and Hz."""

_NOTHING = (0.0,) * len(_QUANTITIES)
_OVER_RANGE = dict.fromkeys(MOMENTARY, math.inf)


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
        self._limits: dict[int, tuple[bool, float, float]] = {}
        self._countings: dict[tuple[int, int], _Counting] = {}
        self._update = -1
        self._before: Mapping[str, NodeTotals] = {}
        self._after: Mapping[str, NodeTotals] = {}
        self._turn = 1
        self._draws: tuple[int, ...] = ()
        self._table: _Table | None = None
        self._shown: list[float] = []

    def forget_settings(self) -> None:
        """Take ranges and ratios anew."""
        self._channels.clear()
        self._limits.clear()
        self._countings.clear()
        self._table = None
        self._shown.clear()

    def show(
        self,
        update: int,
        before: Mapping[str, NodeTotals],
        after: Mapping[str, NodeTotals],
        *,
        swapped_sign: bool,
    ) -> None:
        """Choose the update that items are computed for: its number, and the totals at its ends."""
        turn = -1 if swapped_sign else 1
        if turn != self._turn:
            self._turn = turn
            self.forget_settings()
        if update == self._update:
            return
        self._update, self._before, self._after = update, before, after
        self._shown.clear()
        # One hash an update: a draw for each quantity by a hash of its own took longer than all the rest.
        key = f"{self._key}/noise/{update}".encode()
        self._draws = _DRAWS.unpack(blake2b(key, digest_size=_DRAWS.size).digest())

    def momentary(self, elements: Sequence[Element]) -> Mapping[str, float]:
        """Items of one element or wiring unit that are no integrals; all INF beyond a range."""
        shown = self._shown or self._compute()
        u_v = i_a = u_dc_v = i_dc_a = p_w = q_var = s_va = hertz = 0.0
        for element in elements:
            number = element.number
            volts, amperes, power_w, reactive_var, hertz = shown[5 * number - 5 : 5 * number]
            is_dc, most_v, most_a = self._limits[number]
            if is_dc:
                u_dc_v += volts
                i_dc_a += amperes
                amperes = abs(amperes)
            elif volts < 0.0 or amperes < 0.0:  # errors around zero: rms values have no sign
                volts, amperes = max(volts, 0.0), max(amperes, 0.0)
            if amperes > most_a or abs(volts) > most_v:
                return _OVER_RANGE
            u_v += volts
            i_a += amperes
            p_w += power_w
            q_var += reactive_var
            s_va += volts * amperes
        count = len(elements)
        u_v, i_a = u_v / count, i_a / count
        return {
            "U": u_v,
            "URMS": u_v,
            "I": i_a,
            "IRMS": i_a,
            "UDC": u_dc_v / count,
            "IDC": i_dc_a / count,
            "P": p_w,
            "S": s_va,
            "Q": q_var,
            "LAMBDA": p_w / s_va if s_va > 0.0 else math.nan,
            "PHI": math.degrees(math.atan2(q_var, p_w)),
            # A wiring unit has no frequency, and neither has a direct voltage.
            "FU": hertz if count == 1 and hertz > 0.0 else math.nan,
        }

    def _compute(self) -> list[float]:
        """Compute what all elements show of the update, five quantities each."""
        table = self._table or self._lay_out()
        flows = _flows(self._before, self._after)
        true: list[float] = []
        for node, phase in table.places:
            true += flows[node][phase] if node else _NOTHING
        errors = map(add, table.offsets, map(mul, table.noises, self._draws))
        self._shown = list(map(add, map(mul, table.gains, true), errors))
        return self._shown

    def _lay_out(self) -> _Table:
        """Put all elements' channels in a row; those that are not connected show nothing."""
        idle = _Channel("", 0, False, 1, 0.0, _NOTHING, _NOTHING, _NOTHING)
        row = [
            self._channel(self._elements[n]) if n in self._elements and self._elements[n].wiring else idle
            for n in range(1, _ELEMENTS + 1)
        ]
        self._table = _Table(
            tuple((each.node, each.phase) for each in row),
            tuple(chain.from_iterable(each.gains for each in row)),
            tuple(chain.from_iterable(each.offsets for each in row)),
            tuple(chain.from_iterable(each.noises for each in row)),
        )
        return self._table

    def integrated(self, elements: Sequence[Element], sums: Sums, seconds: float) -> Mapping[str, float]:
        """Integrated items of one element or wiring unit, in Wh, Ah and s.

        Args:
            elements: all at one node.
            sums: what the node integrated in ``seconds``.
        """
        key = elements[0].number, len(elements)
        is_dc, sign, wh, wh_drift, ah, ah_drift = self._countings.get(key) or self._counting(elements)
        sign *= self._turn
        out_j, in_j, charge_out_c, charge_in_c = sums
        wh_plus, wh_minus = _both_ways(out_j, in_j, wh, wh_drift * seconds, sign)
        # Of alternating current only a direct part is charge.
        if not is_dc:
            charge_out_c = charge_in_c = 0.0
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
        range_a = element.current_range_a
        range_w = element.u_range_v * range_a
        factor = (element.ratio if element.is_scaled else 1.0) / wiring.ct_ratio
        signed = factor * wiring.sign * self._turn
        gains, offsets, noises = [], [], []
        for quantity, limits, range_, scale in (
            ("u", of_u, element.u_range_v, 1.0),
            ("i", of_i, range_a, signed if is_dc else factor),
            ("p", of_p, range_w, signed),
            ("q", of_p, range_w, 0.0 if is_dc else signed),
            ("f", of_f, 0.0, 0.0 if is_dc else 1.0),
        ):
            # Within the accuracy: most of an error stays for the instrument's life, some of it is noise.
            gain, offset = self._systematics(element, quantity)
            of_range = limits.of_range * range_ if scale else 0.0
            gains.append((1.0 + gain * limits.of_reading) * scale)
            offsets.append(offset * of_range)
            noises.append(0.1 * of_range / _FULL_DRAW)
        over = points.OVER_RANGE
        self._limits[element.number] = is_dc, over * element.u_range_v, over * range_a
        channel = self._channels[element.number] = _Channel(
            element.node,
            element.phase,
            is_dc,
            wiring.sign,
            factor,
            tuple(gains),
            tuple(offsets),
            tuple(noises),
        )
        return channel

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


def _flows(before: Mapping[str, NodeTotals], after: Mapping[str, NodeTotals]) -> dict[str, _Flow]:
    """Give the means of each node between two looks; power goes to the phases as apparent power does."""
    squares_before: list[float] = []
    squares_after: list[float] = []
    for node, shown in after.items():
        since = before[node]
        squares_before += since.voltage_square_v2s
        squares_before += since.current_square_a2s
        squares_after += shown.voltage_square_v2s
        squares_after += shown.current_square_a2s
        seconds = shown.time_s - since.time_s
    # Root mean squares of all nodes in one pass; rounding may leave a little less than nothing.
    means = map(truediv, map(sub, squares_after, squares_before), repeat(seconds))
    roots = list(map(math.sqrt, map(abs, means)))
    flows: dict[str, _Flow] = {}
    first = 0
    for node, shown in after.items():
        since = before[node]
        power_w = (shown.energy_out_j - since.energy_out_j - shown.energy_in_j + since.energy_in_j) / seconds
        if len(shown.voltage_square_v2s) == 1:
            charge_c = shown.charge_out_c - since.charge_out_c - shown.charge_in_c + since.charge_in_c
            flows[node] = ((roots[first], charge_c / seconds, power_w, 0.0, 0.0),)
            first += 2
            continue
        reactive_var = (shown.reactive_vars - since.reactive_vars) / seconds
        hertz = (shown.cycles - since.cycles) / seconds
        u1, u2, u3, i1, i2, i3 = roots[first : first + 6]
        first += 6
        s1, s2, s3 = u1 * i1, u2 * i2, u3 * i3
        if apparent_va := s1 + s2 + s3:
            s1, s2, s3 = s1 / apparent_va, s2 / apparent_va, s3 / apparent_va
        else:
            s1 = s2 = s3 = 1.0 / 3.0
        flows[node] = (
            (u1, i1, s1 * power_w, s1 * reactive_var, hertz),
            (u2, i2, s2 * power_w, s2 * reactive_var, hertz),
            (u3, i3, s3 * power_w, s3 * reactive_var, hertz),
        )
    return flows
