"""Strings in parallel: cells make modules, modules a string, strings a rack.

Over a step each connected string is a source behind a resistance, U = a - b I (``BatteryString.source``),
exact for its resistances and RC branches; b depends on the direction of its own current. One node voltage V
fulfils

    sum over strings of (a - V) / b = I

whose left side falls throughout and bends where a string turns, so that it is solved exactly, circulating
currents included. Each string has a contactor; an open one carries nothing and rests. Closing a string onto
others at another voltage lets the current flow that their resistances leave, as it would: who may close it,
and when, is the management's (``Bms.close_string``); here are the contacts alone.

Not modelled: inductance of the busbars, resistance between the taps of the strings (each has its own
``connection_resistance_ohm``), heat between strings, delay, wear and precharge of the strings' own
contactors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from harness.plant.battery import MOL_VOLUME_M3, BatteryString, BoolArray, FloatArray, Range, Source
from harness.plant.chemistries import Chemistry
from harness.plant.spec import BatterySpec

ONSET_S = 0.001
"""Short beside every time constant of a cell; ours."""

_OPEN: Source = (0.0, 1e12, 0.0, 1e12)
"""Of a rack without a connected string."""


class Rack:
    """Strings in parallel, with what a single string shows; arrays hold all cells, string after string.

    Attributes:
        strings: each with its own cells.
        chemistry: of all.
        current_a: out of the rack.
        voltage_v: at the node where the strings meet; zero without a connected one.
        start_voltage_v: there at the start of the last step, with its current flowing.
    """

    def __init__(self, spec: BatterySpec, ambient_degc: float, seed: int, *, step_scale: float = 1.0) -> None:
        self.spec = spec
        one = replace(spec, strings=1)
        self.strings = tuple(
            BatteryString(one, ambient_degc, seed, place=place, step_scale=step_scale)
            for place in range(spec.strings)
        )
        self.chemistry: Chemistry = self.strings[0].chemistry
        self._is_closed = [True] * spec.strings
        self._was_touched = False
        # Currents of the strings since contacts moved, until a step has made them the strings' own.
        self._onset_a: tuple[float, ...] | None = None
        self.current_a = self.start_voltage_v = 0.0
        self._cells = spec.cells_in_series
        self.voltage_v = self._node_v()

    @property
    def touched(self) -> bool:
        """Whether cells or contactors were changed from outside."""
        return self._was_touched or any(string.touched for string in self.strings)

    @touched.setter
    def touched(self, is_touched: bool) -> None:
        self._was_touched = is_touched
        for string in self.strings:
            string.touched = is_touched

    def is_connected(self, place: int) -> bool:
        """Whether a string's own contactor is closed."""
        return self._is_closed[place]

    def connect(self, place: int, *, is_closed: bool) -> None:
        """Close or open a string's own contactor."""
        if self._is_closed[place] != is_closed:
            self._is_closed[place] = is_closed
            if not is_closed:
                self.strings[place].interrupt()
            self._was_touched = True
            self.voltage_v = self._node_v()
            self._onset_a = self._onset()

    @property
    def connected_places(self) -> tuple[int, ...]:
        """Which strings hang at the node."""
        return tuple(place for place, is_closed in enumerate(self._is_closed) if is_closed)

    @property
    def string_currents_a(self) -> tuple[float, ...]:
        """Current out of each string, from the instant at which a contact moved."""
        if self._onset_a is not None:
            return self._onset_a
        return tuple(string.current_a for string in self.strings)

    @property
    def capacity_ah(self) -> float:
        """Charge between empty and full of all strings now."""
        return sum(string.capacity_ah for string in self.strings)

    @property
    def soc(self) -> float:
        """State of charge of all strings, weighted with their capacity."""
        return sum(string.soc * string.capacity_ah for string in self.strings) / self.capacity_ah

    @property
    def soh(self) -> float:
        """Capacity left as a fraction of the new rack's."""
        return self._mean(lambda string: string.soh)

    @property
    def resistance_growth(self) -> float:
        """Resistance of the cells over what it would be at time zero, mean."""
        return self._mean(lambda string: string.resistance_growth)

    @property
    def temperature_degc(self) -> float:
        """Mean temperature of the cells."""
        return self._mean(lambda string: string.temperature_degc)

    @property
    def ambient_degc(self) -> float:
        """Around the modules."""
        return self.strings[0].ambient_degc

    @ambient_degc.setter
    def ambient_degc(self, degc: float) -> None:
        for string in self.strings:
            string.ambient_degc = degc

    @property
    def cell_socs(self) -> FloatArray:
        """State of charge at each place, shape (strings x n,)."""
        return np.concatenate([string.cell_socs for string in self.strings])

    @property
    def cell_temperatures_degc(self) -> FloatArray:
        """Temperature at each place, shape (strings x n,)."""
        return np.concatenate([string.cell_temperatures_degc for string in self.strings])

    @cell_temperatures_degc.setter
    def cell_temperatures_degc(self, degc: FloatArray) -> None:
        for string, part in zip(self.strings, np.split(degc, len(self.strings)), strict=True):
            string.cell_temperatures_degc = part

    @property
    def cell_voltages_v(self) -> FloatArray:
        """Voltage at each place, shape (strings x n,)."""
        return np.concatenate([string.cell_voltages_v for string in self.strings])

    @property
    def module_temperatures_degc(self) -> FloatArray:
        """Temperature of each module, string after string."""
        return np.concatenate([string.module_temperatures_degc for string in self.strings])

    @property
    def module_voltages_v(self) -> FloatArray:
        """Voltage of each module, string after string."""
        return np.concatenate([string.module_voltages_v for string in self.strings])

    @property
    def heat_j(self) -> float:
        """Heat of resistances and hysteresis of all strings since time zero."""
        return sum(string.heat_j for string in self.strings)

    @property
    def loss_j(self) -> float:
        """All losses of all strings since time zero."""
        return sum(string.loss_j for string in self.strings)

    @property
    def hydrogen_mol(self) -> float:
        """Hydrogen made since time zero."""
        return sum(string.hydrogen_mol for string in self.strings)

    @property
    def hydrogen_mol_per_s(self) -> float:
        """Hydrogen that all cells make now."""
        return sum(string.hydrogen_mol_per_s for string in self.strings)

    @property
    def hydrogen_m3_per_h(self) -> float:
        """Hydrogen that all cells make now, at 25 degC and 101.325 kPa."""
        return 3600.0 * MOL_VOLUME_M3 * self.hydrogen_mol_per_s

    @property
    def balancing(self) -> BoolArray:
        """At which places the bleed resistor is switched on, shape (strings x n,)."""
        return np.concatenate([string.balancing for string in self.strings])

    def set_balancing(self, mask: BoolArray) -> None:
        """Switch the bleed resistors of all strings.

        Raises:
            ValueError: these strings have no bleed resistors, or the mask does not fit them.
        """
        wanted, count = np.array(mask, dtype=np.bool_), len(self.strings) * self._cells
        if wanted.shape != (count,):
            raise ValueError(f"rack: set_balancing with shape {wanted.shape}; allowed ({count},)")
        for string, part in zip(self.strings, np.split(wanted, len(self.strings)), strict=True):
            string.set_balancing(part)

    def set_cooling(self, *, is_on: bool) -> None:
        """Switch fans or pumps of all strings."""
        for string in self.strings:
            string.set_cooling(is_on=is_on)

    def voltage_bounds_v(self) -> Range:
        """Bounds of all cell voltages, some millivolts wide, that cost next to nothing."""
        lows, highs = zip(*(string.voltage_bounds_v() for string in self.strings), strict=True)
        return min(lows), max(highs)

    def temperature_bounds_degc(self) -> Range:
        """Bounds of all cell temperatures, a fraction of a kelvin wide, that cost next to nothing."""
        lows, highs = zip(*(string.temperature_bounds_degc() for string in self.strings), strict=True)
        return min(lows), max(highs)

    def voltage_at_v(self, current_a: float) -> float:
        """Node voltage at this instant, were the current so."""
        closed = self._closed()
        if not closed:
            return 0.0
        rest_v = [string.voltage_at_v(0.0) for string in closed]
        turns = [current_a < 0.0] * len(closed)
        node_v = 0.0
        for _ in range(len(closed) + 2):
            ohms = [
                abs(v - string.voltage_at_v(-1.0 if turn else 1.0))
                for v, string, turn in zip(rest_v, closed, turns, strict=True)
            ]
            node_v, found = _node(list(zip(rest_v, ohms, strict=True)), current_a)
            if found == turns:
                break
            turns = found
        return node_v

    def source(self, duration_s: float, *, is_charging: bool) -> Source:
        """Voltage and resistance of the rack as a source over a coming step: U = a - b I.

        All strings in one direction.

        Returns:
            (a, b) for the mean voltage over the step, then (a, b) for the voltage at its end.
        """
        sources = [string.source(duration_s, is_charging=is_charging) for string in self._closed()]
        if not sources:
            return _OPEN
        conductance = sum(1.0 / b for _, b, _, _ in sources)
        mean_v = sum(a / b for a, b, _, _ in sources) / conductance
        # Each string's current by its mean; the end voltages, weighted alike.
        end_v = end_ohm = 0.0
        for a, b, late_a, late_b in sources:
            weight = 1.0 / (b * conductance)
            end_v += weight * (late_a - late_b * (a - mean_v) / b)
            end_ohm += weight * late_b * weight
        return mean_v, 1.0 / conductance, end_v, end_ohm

    def current_for_power_a(self, power_w: float, duration_s: float) -> float:
        """Constant current that gives this mean power over a coming step.

        Beyond the largest power the rack has, the current of that largest power.
        """
        closed = self._closed()
        if power_w == 0.0 or not closed:
            return 0.0
        turns, current_a = [power_w < 0.0] * len(closed), 0.0
        for _ in range(len(closed) + 2):
            sources = _sources(closed, duration_s, turns)
            conductance = emf_a = 0.0
            for a, b in sources:
                conductance += 1.0 / b
                emf_a += a / b
            a, b = emf_a / conductance, 1.0 / conductance
            square = a * a - 4.0 * b * power_w
            if square <= 0.0:
                return a / (2.0 * b)
            current_a = 2.0 * power_w / (a + math.sqrt(square))
            node_v = a - b * current_a
            found = [a < node_v for a, _ in sources]
            if found == turns:
                break
            turns = found
        return current_a

    def step(self, current_a: float, duration_s: float) -> float:
        """Let a constant current flow.

        Returns:
            Energy out of the node, in J.

        Raises:
            ValueError: a current without a connected string.
        """
        closed = self._closed()
        if not closed and current_a != 0.0:
            raise ValueError(f"rack: step({current_a} A) with all strings open; allowed 0 A")
        energy_j = 0.0
        currents: list[float] = []
        if closed:
            _, currents = _share(closed, current_a, duration_s)
        flowing = iter(currents)
        for string, is_closed in zip(self.strings, self._is_closed, strict=True):
            if is_closed:
                energy_j += string.step(next(flowing), duration_s)
            else:
                string.step(0.0, duration_s)
        self.current_a = current_a
        self._onset_a = None
        self.voltage_v = self._node_v()
        starts = [string.start_voltage_v for string in closed]
        self.start_voltage_v = sum(starts) / len(starts) if starts else 0.0
        return energy_j

    def interrupt(self) -> float:
        """Stop the rack's current at this instant; what circulates between strings goes on.

        Returns:
            The voltage until then.
        """
        difference_a, closed, loaded_v = self.current_a, self._closed(), self.voltage_v
        self.current_a = 0.0
        for string in closed:
            string.current_a -= difference_a / len(closed)
            string.interrupt()
        self.voltage_v = self._node_v()
        self._onset_a = self._onset()
        return loaded_v

    def stored_change_j(self) -> float:
        """Energy stored now less that at time zero."""
        return sum(string.stored_change_j() for string in self.strings)

    def _onset(self) -> tuple[float, ...]:
        """Currents with which the coming step begins: its own over a millisecond."""
        closed = self._closed()
        currents = iter(_share(closed, self.current_a, ONSET_S)[1] if closed else ())
        return tuple(next(currents) if is_closed else 0.0 for is_closed in self._is_closed)

    def _closed(self) -> list[BatteryString]:
        return [string for string, is_closed in zip(self.strings, self._is_closed, strict=True) if is_closed]

    def _mean(self, value: Callable[[BatteryString], float]) -> float:
        return sum(value(string) for string in self.strings) / len(self.strings)

    def _node_v(self) -> float:
        """Voltage of the node now: the strings', weighted with what each would carry more of."""
        closed = self._closed()
        if not closed:
            return 0.0
        weights = [1.0 / string.at_once_ohm for string in closed]
        return sum(w * string.voltage_v for w, string in zip(weights, closed, strict=True)) / sum(weights)


Battery = BatteryString | Rack
"""What stands behind the contactors."""


def battery(spec: BatterySpec, ambient_degc: float, seed: int, *, step_scale: float = 1.0) -> Battery:
    """Build a rack; one of a single string is that string."""
    if spec.strings == 1:
        return BatteryString(spec, ambient_degc, seed, step_scale=step_scale)
    return Rack(spec, ambient_degc, seed, step_scale=step_scale)


def _sources(closed: list[BatteryString], duration_s: float, turns: list[bool]) -> list[tuple[float, float]]:
    """Mean voltage of each over a step, and its resistance, where those that turn charge."""
    return [
        string.source(duration_s, is_charging=turn)[:2] for string, turn in zip(closed, turns, strict=True)
    ]


def _node(sources: list[tuple[float, float]], current_a: float) -> tuple[float, list[bool]]:
    """Voltage of the node for a current out of it, and which sources charge there."""
    conductance = emf_a = 0.0
    for a, b in sources:
        conductance += 1.0 / b
        emf_a += a / b
    node_v = (emf_a - current_a) / conductance
    return node_v, [a < node_v for a, _ in sources]


def _share(closed: list[BatteryString], current_a: float, duration_s: float) -> tuple[float, list[float]]:
    """Mean voltage of the node over a coming step, and the current out of each string.

    The first guess is that all strings go on as they do; each round turns those that were guessed wrong.
    """
    turns = [string.current_a < 0.0 or (string.current_a == 0.0 and current_a < 0.0) for string in closed]
    for _ in range(len(closed) + 2):
        sources = _sources(closed, duration_s, turns)
        node_v, found = _node(sources, current_a)
        if found == turns:
            break
        turns = found
    return node_v, [(a - node_v) / b for a, b in sources]
