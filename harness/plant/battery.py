"""A string of cells as equivalent circuits.

Each place of the string (``cells_in_parallel`` equal cells) follows

    U       = OCV(SoC) + M(SoC) h - I R0 - U1 - U2      I positive out of the battery
    dUk/dt  = (I Rk - Uk) / tau_k                       solved exactly for a constant current
    dh/dt   = gamma |I| / Q (sign(-I) - h)
    dSoC/dt = -eta I / Q - k - i_b / Q                  eta < 1 while charging
    C dT/dt = heat - G (T - T_module)                   see ``thermal``

with OCV, M and R = R0 + R1 + R2 from the chemistry's tables, R over state of charge, direction and
temperature. h is the state of Plett's one-state hysteresis (J. Power Sources 134 (2004) 262). 1 - eta is the
chemistry's lumped loss and its hydrogen's share: n = I_side / (2 F), two electrons a molecule (Faraday). i_b
flows through a bleed resistor that balancing has switched on. Capacity and resistance follow ``ageing``.

Heat is Bernardi's irreversible term (Bernardi, Pawlikowski, Newman 1985) with the charge that did not stay;
what RC branches store is counted as heat when it goes in. The hysteresis stores M Q h^2 / (2 gamma) and turns
|I| M h^2 into heat, which is never negative; any other way to divide its work would make heat of nothing on
one side of a reversal.

All cells carry one current, and between two *looks* at all cells each follows lines: the open-circuit voltage
that of its segment, the resistance the secant over the stretch ahead. So the sums over the string follow the
same equations, and a step is a handful of scalars, whatever the number of cells. Where a cell passes a node
of its curve the string's line bends: the bends are listed at the look. What a cell does follows from its
lines and the sums. A new look is taken where the current changes its direction, after ``WINDOW`` of charge,
where the resistance of a mean cell bends, before a cell passes a second node, when the cells have warmed or
cooled by ``WARMING_K``, and after some time at rest. Open-circuit voltages and states of charge are exact in
between. A cell that is ahead of the mean one has its resistance off by a quarter of a bend at most, and 2 %
of spread in capacity puts its hysteresis off by 0.4 mV for a moment: 0.6 mV of a cell at 1 C, and 0.07 mV of
the mean cell.

Not modelled: entropic heat, energy that leaves as hydrogen (286 kJ a mole, its enthalpy of formation: all
that does not stay heats the cell, on full overcharge three times too much), differences between parallel
cells, hysteresis that differs between the cells of a string, a cell that is driven below zero volts beyond
its curve's last line, a bleed current that follows the voltage between two looks, diffusion beyond two
branches, pressure and venting, resistance that goes on beyond the table's coldest and hottest points (it is
held), temperature in open-circuit voltage, capacity and self-discharge.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.plant.ageing import Ageing
from harness.plant.chemistries import FARADAY_C_PER_MOL, Chemistry, load
from harness.plant.curves import REACH_K, WINDOW, Curves, Line
from harness.plant.keyed import normal
from harness.plant.spec import BatterySpec
from harness.plant.thermal import ThermalNetwork

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]

_SECONDS_A_DAY = 86_400.0

WARMING_K = REACH_K
"""Warming or cooling between two looks at most; where a resistance bends, a sixth of it."""

_LEAK = 1e-4
"""State of charge that may leak or be bled between two looks."""

_LEAST_S = 1e-6
"""Part of a step that is not worth a look of its own: a microampere-hour at the largest currents; ours."""

_IDLE_S = 21_600.0
"""Time between two looks at most: calendar ageing is then up to date to a thousandth of a year's."""

_AGEING_S = 600.0
"""Time between two looks at the cells' age at least."""

_STRIP_S = 60.0
"""Time between two looks while a cell is being stripped: a sixtieth of the time constant."""

MOL_VOLUME_M3 = 0.024465
"""Of a gas at 25 degC and 101.325 kPa: R T / p."""

Range = tuple[float, float]
"""Least and largest."""

Source = tuple[float, float, float, float]


class BatteryString:
    """Cells in series, advanced by steps of constant current.

    Attributes:
        chemistry: its parameters.
        current_a: out of the battery.
        capacity_ah: charge between empty and full now, mean of the places.
        voltage_v: at the string's terminals, before the contactors.
        start_voltage_v: there at the start of the last step, with its current flowing.
        hysteresis: state of it, -1 (discharged to here) to 1 (charged to here).
        heat_j: heat of resistances and hysteresis since time zero, connections included.
        coulombic_loss_j: energy of charge that did not stay, while charging.
        self_discharge_j: energy of charge that leaked.
        balancing_j: energy that went into bleed resistors.
        ageing_j: energy of charge that went with lost capacity, less what came back with it.
        hydrogen_mol: that was made since time zero.
        touched: whether cells were changed from outside.
    """

    _charge_source: Source | None
    _discharge_source: Source | None
    _other: tuple[float, float] | None
    _resistance_ohm: float
    _rest_v: float
    _dropped_v: float
    _line_v: float
    _line_per_c: float
    _line_per_s: float
    _leak_line: Range
    _bleed_line: Range
    _refused_line: Range
    _most_leak_a: float
    _gas_line: Range
    _ohm_line: tuple[float, float, float, float]
    _gap_line: Range
    _soc_line: tuple[float, float, float]
    _warmth_range_k: Range
    _knot: int
    _next_c: float
    _ahead_ohm: FloatArray
    _voltage_spans: tuple[float, ...] | None
    _bends: list[tuple[float, float, float]]

    def __init__(
        self,
        spec: BatterySpec,
        ambient_degc: float,
        seed: int,
        *,
        place: int = 0,
        chemistry: Chemistry | None = None,
        step_scale: float = 1.0,
    ) -> None:
        """Build it at time zero.

        Args:
            spec: what it is made of.
            ambient_degc: around its modules.
            seed: keys the spread between cells.
            place: which string of its rack it is.
            chemistry: other than that which ``spec`` names.
            step_scale: of all that ends a stretch between two looks; for tests of the numerical error.
        """
        self.spec = spec
        self.chemistry: Chemistry = load(spec.chemistry) if chemistry is None else chemistry
        self.touched = False
        self._ambient_degc = ambient_degc
        count, cell = spec.cells_in_series, self.chemistry

        def spread(quantity: str, deviation: float) -> FloatArray:
            first = place * count
            draws = [normal(seed, f"cell {quantity}", first + index) for index in range(count)]
            scaled: FloatArray = deviation * np.clip(np.array(draws), -3.0, 3.0)
            return scaled

        self._count = count
        new_c = 3600.0 * cell.capacity_ah * spec.cells_in_parallel
        self._new_c = new_c * (1.0 + spread("capacity", spec.spread.capacity))
        self._new_mean_c = float(self._new_c.mean())
        self._new_scale = (1.0 + spread("resistance", spec.spread.resistance)) / spec.cells_in_parallel
        self._tables = Curves(cell, WINDOW * step_scale)
        self._step_scale = step_scale
        self._gases = cell.file.hydrogen is not None
        self._series_share = cell.series_share
        (self._share_1, self._tau_1), (self._share_2, self._tau_2) = (
            (branch.share, branch.time_constant_s) for branch in cell.file.resistance.branches
        )
        self._connection_ohm = spec.connection_resistance_ohm
        self._leak_per_s = cell.self_discharge_per_day / _SECONDS_A_DAY
        self._bled: BoolArray | None = None
        gap = cell.file.hysteresis
        self._gap_rate_per_c = 0.0 if gap is None else gap.rate / (new_c * spec.soh)
        metal = cell.file.inactive_metal
        self._strip_below_v = -math.inf if metal is None else metal.strip_below_v
        # Each charge leaves metal behind: capacity follows it look by look.
        self._plates = metal is not None

        self._ageing = Ageing(
            cell.file, count, soc=spec.soc, age_days=spec.age_days, full_cycles=spec.full_cycles
        )
        self._lived_s = 0.0
        self._take_age()

        self.current_a = self.voltage_v = self.start_voltage_v = self.hysteresis = 0.0
        self.heat_j = self.coulombic_loss_j = self.self_discharge_j = 0.0
        self.balancing_j = self.ageing_j = self.hydrogen_mol = 0.0
        # Since the last look: charge out of the terminals, time, and time with current.
        self._gone_c = self._passed_s = self._flow_s = 0.0
        # Sums over the string: open-circuit voltage, both RC branches, energy in the hysteresis.
        self._ocv_v = self._one_v = self._two_v = self._gap_j = 0.0
        self._direction = 1.0
        self._note_duration(1.0)
        self._is_cooled = True
        self._thermal = ThermalNetwork(
            count,
            cell_j_per_k=cell.heat_capacity_j_per_k * spec.cells_in_parallel,
            cell_w_per_k=self._conductances()[0],
            cells_per_module=spec.cells_per_module,
            module_j_per_k=spec.module_heat_capacity_j_per_k,
            module_w_per_k=self._conductances()[1],
            worse=_worse(spread("thermal", spec.spread.thermal), spec.cells_per_module or count),
        )
        start_degc = ambient_degc if spec.temperature_degc is None else spec.temperature_degc
        self._thermal.cells_k = np.full(count, start_degc - ambient_degc)
        self._thermal.modules_k = np.full(len(self._thermal.modules_k), start_degc - ambient_degc)
        zeros = np.zeros(count)
        socs: FloatArray = spec.soc + spread("soc", spec.spread.soc)
        self._look(socs, zeros, zeros, 0.0)
        self._refresh()
        self._stored_at_start_j = self._energy_j()

    @property
    def soc(self) -> float:
        """State of charge of the string: the mean of its places, weighted with their capacity."""
        at_look, per_c, per_s = self._soc_line
        return at_look - self._gone_c * per_c - self._passed_s * per_s

    @property
    def soh(self) -> float:
        """Capacity left as a fraction of the new string's."""
        return self._mean_c / self._new_mean_c

    @property
    def resistance_growth(self) -> float:
        """Resistance of the cells over what it would be at time zero."""
        return float(self._ageing.resistance.mean())

    @property
    def ageing(self) -> Ageing:
        """What time and use have taken; not to be changed from outside."""
        return self._ageing

    @property
    def ambient_degc(self) -> float:
        """Around the modules."""
        return self._ambient_degc

    @ambient_degc.setter
    def ambient_degc(self, degc: float) -> None:
        cells_degc, modules_degc = self.cell_temperatures_degc, self.module_temperatures_degc
        branches = self._cell_branches_v()
        self._ambient_degc = degc
        self._thermal.cells_k, self._thermal.modules_k = cells_degc - degc, modules_degc - degc
        self._begin(branches)

    @property
    def temperature_degc(self) -> float:
        """Mean temperature of the cells."""
        return self._ambient_degc + self._thermal.warmth_k / self._count

    @property
    def cell_socs(self) -> FloatArray:
        """State of charge at each place, shape (n,)."""
        found: FloatArray = self._socs - self._gone_c * self._per_c - self._passed_s * self._leaks_per_s
        return found

    @property
    def cell_temperatures_degc(self) -> FloatArray:
        """Temperature at each place, shape (n,)."""
        return self._thermal.cells() + self._ambient_degc

    @cell_temperatures_degc.setter
    def cell_temperatures_degc(self, degc: FloatArray) -> None:
        branches, modules_k = self._cell_branches_v(), self._thermal.modules()
        self._thermal.cells_k = np.array(degc, dtype=np.float64) - self._ambient_degc
        self._thermal.modules_k = modules_k
        self._begin(branches)

    @property
    def module_temperatures_degc(self) -> FloatArray:
        """Temperature of each module, shape (modules,); empty where the cells stand in the open."""
        return self._thermal.modules() + self._ambient_degc

    @property
    def module_voltages_v(self) -> FloatArray:
        """Voltage of each module, shape (modules,); without modules the cells' sum."""
        size = self.spec.cells_per_module or self._count
        found: FloatArray = self.cell_voltages_v.reshape(-1, size).sum(axis=1)
        return found

    @property
    def cell_voltages_v(self) -> FloatArray:
        """Voltage at each place, shape (n,)."""
        left_1, left_2, driven_1, driven_2, lag_1, lag_2 = self._branch_parts()
        gone_c, hysteresis = self._gone_c, self.hysteresis
        at_once = self.current_a * self._series_share * self._warmed()
        parts = np.array(
            (
                1.0,
                -gone_c,
                -self._passed_s,
                -left_1,
                -left_2,
                -(driven_1 + driven_2 + at_once),
                driven_1 * lag_1 + driven_2 * lag_2 + at_once * gone_c,
                hysteresis,
                -hysteresis * gone_c,
            )
        )
        found: FloatArray = parts.dot(self._rows)
        if self._knot > 0:
            # Cells beyond their node are on the next line.
            over_c = self._direction * gone_c - self._knots_c
            np.maximum(over_c, 0.0, out=over_c)
            over_c *= self._knot_per_c
            found -= over_c
        return found

    @property
    def hysteresis_v(self) -> float:
        """What hysteresis adds to the string's voltage."""
        return self.hysteresis * self._gap_v()

    @property
    def loss_j(self) -> float:
        """All energy that went into heat, gas, bleed resistors or was lost with capacity since time zero."""
        return self.heat_j + self.coulombic_loss_j + self.self_discharge_j + self.balancing_j + self.ageing_j

    @property
    def hydrogen_mol_per_s(self) -> float:
        """Hydrogen that all cells make now."""
        cells, per_c = self._gas_line
        return max(-self.current_a, 0.0) * (cells - self._gone_c * per_c) / (2.0 * FARADAY_C_PER_MOL)

    @property
    def hydrogen_m3_per_h(self) -> float:
        """Hydrogen that all cells make now, at 25 degC and 101.325 kPa."""
        return 3600.0 * MOL_VOLUME_M3 * self.hydrogen_mol_per_s

    @property
    def balancing(self) -> BoolArray:
        """At which places the bleed resistor is switched on, shape (n,)."""
        return np.zeros(self._count, dtype=np.bool_) if self._bled is None else self._bled.copy()

    def set_balancing(self, mask: BoolArray) -> None:
        """Switch the bleed resistors; each takes U / R from its place.

        Raises:
            ValueError: this string has no bleed resistors, or the mask does not fit it.
        """
        wanted = np.array(mask, dtype=np.bool_)
        if wanted.shape != (self._count,):
            raise ValueError(f"string: set_balancing with shape {wanted.shape}; allowed ({self._count},)")
        is_any = bool(wanted.any())
        if is_any and self.spec.bleed_resistance_ohm is None:
            raise ValueError("string: set_balancing without bleed resistors; give bleed_resistance_ohm")
        if is_any or self._bled is not None:
            self._bled = wanted if is_any else None
            self._touch()

    def set_cooling(self, *, is_on: bool) -> None:
        """Switch fan or pump."""
        if is_on != self._is_cooled:
            self._is_cooled = is_on
            branches = self._cell_branches_v()
            self._thermal.cells_k, self._thermal.modules_k = self._thermal.cells(), self._thermal.modules()
            self._thermal.set_conductance(*self._conductances())
            self._begin(branches)

    def voltage_bounds_v(self) -> Range:
        """Bounds of all cell voltages, some millivolts wide, that cost next to nothing."""
        spans = self._voltage_spans
        if spans is None:
            self._voltage_spans = spans = self._find_spans()
        ocv_low, ocv_high, slope_low, slope_high, own_low, own_high = spans[:6]
        share_low, share_high, gap_low, gap_high = spans[6:]
        gone, drop_v = self._gone_c + self._passed_s * self._most_leak_a, self._dropped_v
        if gone < 0.0:
            slope_low, slope_high = slope_high, slope_low
        if drop_v < 0.0:
            share_low, share_high = share_high, share_low
        hysteresis = self.hysteresis
        if hysteresis < 0.0:
            gap_low, gap_high = gap_high, gap_low
        return (
            ocv_low - slope_high * gone - own_high - share_high * drop_v + gap_low * hysteresis,
            ocv_high - slope_low * gone - own_low - share_low * drop_v + gap_high * hysteresis,
        )

    def temperature_bounds_degc(self) -> Range:
        """Bounds of all cell temperatures, a fraction of a kelvin wide, that cost next to nothing."""
        low_k, high_k = self._thermal.bounds_k()
        return self._ambient_degc + low_k, self._ambient_degc + high_k

    @property
    def at_once_ohm(self) -> float:
        """What the voltage falls by at once for an ampere more, in the present direction."""
        return self._connection_ohm + self._series_share * self._resistance_ohm

    def voltage_at_v(self, current_a: float) -> float:
        """Terminal voltage at this instant, were the current so."""
        return self._rest_v - self._drop_v(current_a) - current_a * self._connection_ohm

    def source(self, duration_s: float, *, is_charging: bool) -> Source:
        """Voltage and resistance of the string as a source over a coming step: U = a - b I.

        Linear in a constant current: the RC branches exactly, open-circuit voltage and hysteresis by their
        slopes.

        Returns:
            (a, b) for the mean voltage over the step, then (a, b) for the voltage at its end.
        """
        if duration_s != self._duration_s:
            self._note_duration(duration_s)
        known = self._charge_source if is_charging else self._discharge_source
        if known is not None:
            return known
        mean_1, mean_2, end_1, end_2 = self._mean_1, self._mean_2, self._end_1, self._end_2
        if is_charging == (self._direction < 0.0):
            resistance_ohm, per_c = self._resistance_ohm, self._line_per_c
        else:
            resistance_ohm, per_c = self._other_line(is_charging=is_charging)
        # The hysteresis goes towards where the current drives it, by a part for each ampere.
        drift = 1.0 - self.hysteresis if is_charging else 1.0 + self.hysteresis
        slope_ohm = duration_s * (per_c + self._gap_line[0] * drift * self._gap_rate_per_c)
        fixed_ohm = self._connection_ohm + resistance_ohm
        ohm_1, ohm_2 = self._share_1 * resistance_ohm, self._share_2 * resistance_ohm
        rest_v, one_v, two_v = self._rest_v, self._one_v, self._two_v
        found = (
            rest_v - mean_1 * one_v - mean_2 * two_v,
            fixed_ohm - mean_1 * ohm_1 - mean_2 * ohm_2 + 0.5 * slope_ohm,
            rest_v - end_1 * one_v - end_2 * two_v,
            fixed_ohm - end_1 * ohm_1 - end_2 * ohm_2 + slope_ohm,
        )
        if is_charging:
            self._charge_source = found
        else:
            self._discharge_source = found
        return found

    def current_for_power_a(self, power_w: float, duration_s: float) -> float:
        """Constant current that gives this mean power over a coming step: the smaller root of P = a I - b I².

        Beyond the largest power the string has, the current of that largest power.
        """
        if power_w == 0.0:
            return 0.0
        a, b, _, _ = self.source(duration_s, is_charging=power_w < 0.0)
        square = a * a - 4.0 * b * power_w
        if square <= 0.0:
            return a / (2.0 * b)
        return 2.0 * power_w / (a + math.sqrt(square))

    def step(self, current_a: float, duration_s: float) -> float:
        """Let a constant current flow.

        Returns:
            Energy out of the terminals, in J.
        """
        if current_a * self._direction < 0.0:
            self._look_again(current_a)
            self._refresh()
        direction, gone_c = self._direction, self._gone_c + current_a * duration_s
        at_c, passed_s = direction * gone_c, self._passed_s + duration_s
        if (at_c > self._end_c or passed_s > self._empty_s) and self._left_s(
            current_a
        ) < duration_s - _LEAST_S:
            return self._step_over(current_a, duration_s)
        if duration_s != self._duration_s:
            self._note_duration(duration_s)
        before_v, one_v, two_v = self._ocv_v, self._one_v, self._two_v
        full_v = current_a * self._resistance_ohm
        series_v = self._series_share * full_v
        final_1, final_2 = self._share_1 * full_v, self._share_2 * full_v
        swing_1, swing_2 = one_v - final_1, two_v - final_2
        self._one_v = final_1 + self._end_1 * swing_1
        self._two_v = final_2 + self._end_2 * swing_2
        drop_v = series_v + final_1 + self._mean_1 * swing_1 + final_2 + self._mean_2 * swing_2
        self.start_voltage_v = self._rest_v - one_v - two_v - series_v - current_a * self._connection_ohm

        self._gone_c = gone_c
        self._passed_s = passed_s
        if at_c > self._next_c:
            self._pass_knots(at_c)
        self._ocv_v = after_v = self._line_v - gone_c * self._line_per_c - passed_s * self._line_per_s
        ocv_j = duration_s * 0.5 * (before_v + after_v)
        heat_j = duration_s * current_a * drop_v
        out_j = current_a * ocv_j - heat_j
        lost_j = self._lose(current_a, duration_s)
        if current_a != 0.0:
            self._flow_s += duration_s
            if self._gap_rate_per_c > 0.0:
                work_j, spent_j = self._drive_hysteresis(current_a * duration_s)
                heat_j += spent_j
                out_j += work_j
            connection_j = current_a * current_a * self._connection_ohm * duration_s
            out_j -= connection_j
            self.heat_j += heat_j + connection_j
        thermal = self._thermal
        thermal.advance((heat_j + lost_j) / duration_s, duration_s)
        self.current_a = current_a

        least_k, most_k = self._warmth_range_k
        if at_c > self._end_c or passed_s >= self._end_s or not least_k <= thermal.warmth_k <= most_k:
            self._look_again(current_a)
        self._refresh()
        return out_j

    def _left_s(self, current_a: float) -> float:
        """Time until the stretch ends, where the lines bend; no less than is worth a look."""
        left_s = self._empty_s - self._passed_s
        if current_a != 0.0:
            left_s = min(left_s, (self._end_c - self._direction * self._gone_c) / abs(current_a))
        return max(left_s, _LEAST_S)

    def _step_over(self, current_a: float, duration_s: float) -> float:
        """Make a step in parts: to the end of each stretch, and on from a new look."""
        out_j, left_s, start_v = 0.0, duration_s, math.nan
        while left_s > 0.0:
            part_s = self._left_s(current_a)
            if part_s > left_s - _LEAST_S:
                part_s = left_s
            out_j += self.step(current_a, part_s)
            if math.isnan(start_v):
                start_v = self.start_voltage_v
            left_s -= part_s
            if left_s > 0.0 and self._passed_s > 0.0:
                self._look_again(current_a)
                self._refresh()
        self.start_voltage_v = start_v
        return out_j

    def _lose(self, current_a: float, duration_s: float) -> float:
        """Count charge that leaks, is bled or does not stay; returns the heat in the cells, in J."""
        middle_c = self._gone_c - 0.5 * current_a * duration_s
        leak_w, leak_w_per_c = self._leak_line
        lost_j = duration_s * (leak_w - middle_c * leak_w_per_c)
        self.self_discharge_j += lost_j
        if current_a < 0.0:
            refused_v, refused_v_per_c = self._refused_line
            charge_c = -current_a * duration_s
            refused_j = charge_c * (refused_v - middle_c * refused_v_per_c)
            self.coulombic_loss_j += refused_j
            cells, per_c = self._gas_line
            self.hydrogen_mol += charge_c * (cells - middle_c * per_c) / (2.0 * FARADAY_C_PER_MOL)
            lost_j += refused_j
        if self._bled is not None:
            bleed_w, bleed_w_per_c = self._bleed_line
            self.balancing_j += duration_s * (bleed_w - middle_c * bleed_w_per_c)
        return lost_j

    def _drive_hysteresis(self, charge_c: float) -> Range:
        """Let charge out of the terminals pass.

        Returns:
            Work out of the terminals, and heat, in J.
        """
        gap_v, gap_per_c = self._gap_line
        gap_v -= gap_per_c * self._gone_c
        direction = self._direction
        passing = direction * charge_c * self._gap_rate_per_c
        # From where it stands it goes towards -1 on discharge.
        swing, left = self.hysteresis + direction, math.exp(-passing)
        self.hysteresis = end = swing * left - direction
        work_j = charge_c * gap_v * (swing * -math.expm1(-passing) / passing - direction)
        stored_j = 0.5 * gap_v * end * end / self._gap_rate_per_c
        heat_j = self._gap_j - stored_j - work_j
        self._gap_j = stored_j
        return work_j, heat_j

    @property
    def string_currents_a(self) -> tuple[float, ...]:
        """Current out of each string: of this one."""
        return (self.current_a,)

    @property
    def connected_places(self) -> tuple[int, ...]:
        """Which strings hang at the node: a single one always does."""
        return (0,)

    def interrupt(self) -> float:
        """Stop the current at this instant (a contactor opens).

        What is told at the same instant may make a look before this or after it: with looks of its own it
        comes to the same.

        Returns:
            The voltage until then.
        """
        if self.current_a == 0.0:
            return self.voltage_v
        self._look_again(self.current_a)
        self._refresh()
        loaded_v, self.current_a = self.voltage_v, 0.0
        self._look_again(0.0)
        self._refresh()
        return loaded_v

    def stored_change_j(self) -> float:
        """Energy stored now less that at time zero, from charge, capacity and hysteresis alone."""
        return self._energy_j() - self._stored_at_start_j

    def _energy_j(self) -> float:
        return float(self._tables.energy_j_per_c(self.cell_socs).dot(self._capacity_c)) + self._gap_j

    def _conductances(self) -> tuple[float, float]:
        """Of a place of the string and of a module, with cooling as it is switched."""
        spec = self.spec
        own = self.chemistry.heat_conductance_w_per_k * spec.cells_in_parallel
        cooling = spec.cooling_conductance_w_per_k if self._is_cooled else 0.0
        if spec.cells_per_module is None:
            return own + cooling, 0.0
        return own, spec.module_conductance_w_per_k + cooling

    def _note_duration(self, duration_s: float) -> None:
        """Note what depends on a step's length alone."""
        self._duration_s = duration_s
        ratio_1, ratio_2 = duration_s / self._tau_1, duration_s / self._tau_2
        self._end_1, self._end_2 = math.exp(-ratio_1), math.exp(-ratio_2)
        # Mean of exp(-t/tau) over the step.
        self._mean_1 = 1.0 if ratio_1 < 1e-9 else -math.expm1(-ratio_1) / ratio_1
        self._mean_2 = 1.0 if ratio_2 < 1e-9 else -math.expm1(-ratio_2) / ratio_2
        self._charge_source = self._discharge_source = None

    def _refresh(self) -> None:
        """Bring the string's voltage to the present state."""
        self._charge_source = self._discharge_source = None
        ohm, per_c, per_k, warmth_k = self._ohm_line
        gone_c = self._gone_c
        self._resistance_ohm = ohm - per_c * gone_c + per_k * (self._thermal.warmth_k - warmth_k)
        gap_v, gap_per_c = self._gap_line
        self._rest_v = self._ocv_v + self.hysteresis * (gap_v - gap_per_c * gone_c)
        current_a = self.current_a
        # With a current against the direction of the look, a new look has come before.
        self._dropped_v = dropped_v = (
            self._one_v + self._two_v + current_a * self._series_share * self._resistance_ohm
        )
        self.voltage_v = self._rest_v - dropped_v - current_a * self._connection_ohm

    def _gap_v(self) -> float:
        gap_v, gap_per_c = self._gap_line
        return gap_v - gap_per_c * self._gone_c

    def _drop_v(self, current_a: float) -> float:
        """Sum of the cells' drops at this instant, were the current so."""
        ohm = self._resistance_ohm
        if current_a * self._direction < 0.0:
            ohm, _ = self._other_line(is_charging=current_a < 0.0)
        return self._one_v + self._two_v + current_a * self._series_share * ohm

    def _pass_knots(self, at_c: float) -> None:
        """Go on to the line after the nodes that cells have passed."""
        knots = self._bends
        place = self._knot
        while place < len(knots) and at_c > knots[place][0]:
            _, self._line_v, self._line_per_c = knots[place]
            place += 1
        self._knot = place
        self._next_c = knots[place][0] if place < len(knots) else math.inf

    def _other_line(self, *, is_charging: bool) -> tuple[float, float]:
        """Resistance and slope of the string against the direction of the look, from its means."""
        if self._other is None:
            soc, degc = self.soc, self.temperature_degc
            ohm = self.chemistry.resistance_ohm(soc, is_charging=is_charging, temperature_degc=degc)
            scale = float(self._scale.sum())
            kept = 1.0 - self._tables.refused(soc) if is_charging else 1.0
            forth = self._soc_line[1] * self._mean_c
            self._other = (ohm * scale, self._line_per_c * kept / max(forth, 1e-9))
        return self._other

    def _warmed(self) -> float:
        """Factor of warming on the resistance since the look."""
        ohm, per_c, _, _ = self._ohm_line
        return self._resistance_ohm / (ohm - per_c * self._gone_c)

    def _branch_parts(self) -> tuple[float, float, float, float, float, float]:
        """Find how the branches' voltages divide over the cells.

        The lag is the charge that had gone when the current in a branch, weighted as it is still there,
        flowed: exact for a constant current; differences between cells' slopes are all that it acts on.

        Returns:
            For each branch what is left of its voltages at the look; the current that has since gone into
            each; and its lag.
        """
        ohm, per_c, _, _ = self._ohm_line
        passed_s, gone_c = self._passed_s, self._gone_c
        found: list[float] = []
        for tau_s, now_v, then_v in (
            (self._tau_1, self._one_v, self._one_0_v),
            (self._tau_2, self._two_v, self._two_0_v),
        ):
            ratio = passed_s / tau_s
            left = math.exp(-ratio)
            lag = gone_c * (0.5 + ratio / 12.0 if ratio < 1e-3 else 1.0 / (1.0 - left) - 1.0 / ratio)
            found += (left, (now_v - left * then_v) / (ohm - per_c * lag), lag)
        left_1, driven_1, lag_1, left_2, driven_2, lag_2 = found
        return left_1, left_2, driven_1, driven_2, lag_1, lag_2

    def _cell_branches_v(self) -> tuple[FloatArray, FloatArray]:
        left_1, left_2, driven_1, driven_2, lag_1, lag_2 = self._branch_parts()
        rows = self._rows
        ohm, per_c = rows[5], rows[6]
        return (
            left_1 * rows[3] + driven_1 * (ohm - lag_1 * per_c),
            left_2 * rows[4] + driven_2 * (ohm - lag_2 * per_c),
        )

    def _touch(self) -> None:
        branches = self._cell_branches_v()
        self._thermal.cells_k, self._thermal.modules_k = self._thermal.cells(), self._thermal.modules()
        self._begin(branches)

    def _begin(self, branches: tuple[FloatArray, FloatArray]) -> None:
        """Look anew after a change from outside."""
        self._look(self._note_age(self.cell_socs), *branches, self.current_a)
        self._refresh()
        self.touched = True

    def _look_again(self, current_a: float) -> None:
        socs, branches = self.cell_socs, self._cell_branches_v()
        thermal = self._thermal
        thermal.cells_k, thermal.modules_k = thermal.cells(), thermal.modules()
        self._look(self._note_age(socs), *branches, current_a)

    def _note_age(self, socs: FloatArray) -> FloatArray:
        """Count what has passed since the look, and let the cells age where that is due.

        Returns:
            States of charge at the places, of the capacities that are left.
        """
        _, per_c, _ = self._soc_line
        charge = -self._gone_c * per_c
        self._ageing.move(charge, self._flow_s)
        self._lived_s += self._passed_s
        if self._plates and charge > 0.0:
            return self._live(socs, charge)
        if self._lived_s >= self._step_scale * (_STRIP_S if self._is_stripping else _AGEING_S):
            return self._live(socs, 0.0)
        return socs

    def _live(self, socs: FloatArray, charge: float) -> FloatArray:
        """Let the cells age to here, and count a charge by the capacity that was left half-way through it."""
        self._ageing.live(
            socs, self._thermal.cells_k + self._ambient_degc, self.cell_voltages_v, self._lived_s
        )
        self._lived_s = 0.0
        before_c = self._capacity_c
        stored_j = float(self._tables.energy_j_per_c(socs).dot(before_c))
        self._take_age()
        socs = socs + 0.5 * charge * (before_c / self._capacity_c - 1.0)
        self.ageing_j += stored_j - float(self._tables.energy_j_per_c(socs).dot(self._capacity_c))
        return socs

    def _take_age(self) -> None:
        self._capacity_c = self._new_c * (self._ageing.capacity + (self.spec.soh - 1.0))
        self._scale = self._new_scale * self._ageing.resistance
        self._of_c = 1.0 / self._capacity_c
        self._mean_c = float(self._capacity_c.mean())
        self._weight = self._capacity_c / (self._mean_c * self._count)
        self.capacity_ah = self._mean_c / 3600.0

    def _look(self, socs: FloatArray, ones_v: FloatArray, twos_v: FloatArray, current_a: float) -> None:
        """Look at all cells, begin their sums anew, and note how they go on from here.

        Args:
            socs: state of charge at each place.
            ones_v: over each place's first RC branch.
            twos_v: over its second.
            current_a: that flows from here on; at zero the direction stays.
        """
        tables, thermal, of_c, scale = self._tables, self._thermal, self._of_c, self._scale
        degc = thermal.cells_k + self._ambient_degc
        if current_a != 0.0:
            self._direction = math.copysign(1.0, current_a)
        direction = self._direction
        is_charging, makes_gas = direction < 0.0, direction < 0.0 and self._gases
        self._socs, self._gone_c, self._passed_s, self._flow_s = socs, 0.0, 0.0, 0.0
        line = tables.line(socs, is_charging=is_charging)
        # The stretch ends where the resistance of a mean cell bends, unless that is very near.
        soc = float(socs.dot(self._weight))
        ahead_soc = direction * self._stretch(socs, soc, is_charging=is_charging)
        grid = tables.grid(np.array((socs, socs - ahead_soc)), is_charging=is_charging)
        ohms, ohms_per_k, is_bend = tables.resistance(grid, degc)
        ohm, ohm_ahead = ohms * scale
        gaps, gases = grid[..., -2], grid[..., -1]
        # A cell reaches the place ahead after its own charge; all per coulomb out of the terminals.
        if is_charging:
            efficiency = self.chemistry.coulombic_efficiency
            gases = np.minimum(gases, efficiency)
            # All but a trace: a cell that takes no charge at all would never reach the place ahead.
            refused = np.minimum(0.5 * (gases[0] + gases[1]) + (1.0 - efficiency), 1.0 - 1e-9)
            self._per_c = per_c = of_c * (1.0 - refused)
        else:
            refused = None
            self._per_c = per_c = of_c
        ocv_per_c = line.slope * per_c
        per_soc = per_c / ahead_soc
        ohm_per_c = (ohm - ohm_ahead) * per_soc
        self._gas_line = (0.0, 0.0) if not makes_gas else _sums(gases[0], (gases[0] - gases[1]) * per_soc)
        gap = gaps[0]
        gap_per_c = (gap - gaps[1]) * per_soc
        leaks_a = (self._leak_per_s * (socs > 0.0)) * self._capacity_c
        bled_a = self._bleed(line.value - ones_v - twos_v + self.hysteresis * gap, current_a, ohm)
        self._leaks_per_s = leaks_per_s = (leaks_a if bled_a is None else leaks_a + bled_a) * of_c
        self._soc_line = (soc, float(per_c.dot(self._weight)), float(leaks_per_s.dot(self._weight)))
        self._rows = rows = np.array(
            (line.value, ocv_per_c, line.slope * leaks_per_s, ones_v, twos_v, ohm, ohm_per_c, gap, gap_per_c)
        )
        sums: list[float] = rows.sum(axis=1).tolist()
        self._ocv_v, self._line_per_c, self._line_per_s, self._one_v, self._two_v = sums[:5]
        self._line_v, self._one_0_v, self._two_0_v = self._ocv_v, self._one_v, self._two_v
        ohm_sum, ohm_sum_per_c, gap_v, gap_sum_per_c = sums[5:]
        self._gap_line = (gap_v, gap_sum_per_c)
        self._other = None
        self._leak_line, self._bleed_line, self._refused_line = (
            (0.0, 0.0) if lost is None else _line_of(rows[:2].dot(lost))
            for lost in (leaks_a, bled_a, refused)
        )
        thermal.look(self._heat_shares(abs(current_a), line.value, leaks_a, refused))
        self._ohm_line = (
            ohm_sum,
            ohm_sum_per_c,
            float(ohms_per_k[0].dot(scale)) / self._count,
            thermal.warmth_k,
        )
        far_k = self._step_scale * self._count * (WARMING_K / 6.0 if is_bend else WARMING_K)
        self._warmth_range_k = (thermal.warmth_k - far_k, thermal.warmth_k + far_k)

        self._list_bends(line, abs(ahead_soc))
        self._end_idle(current_a, socs, leaks_per_s, float(line.value.min()))
        self._ahead_ohm = ohm_ahead
        self._voltage_spans = None

    def _stretch(self, socs: FloatArray, soc: float, *, is_charging: bool) -> float:
        """State of charge that lines reach, for a mean cell."""
        stretch = self._tables.stretch(soc, is_charging=is_charging)
        if is_charging and self._gases:
            return min(stretch, self._step_scale * self._tables.gassing_stretch(float(socs.max())))
        return stretch

    def _bleed(self, rest_v: FloatArray, current_a: float, ohm: FloatArray) -> FloatArray | None:
        """Current through each bleed resistor; None where none is switched on."""
        resistance_ohm = self.spec.bleed_resistance_ohm
        if self._bled is None or resistance_ohm is None:
            return None
        cells_v = rest_v - (current_a * self._series_share) * ohm
        return np.where(self._bled, cells_v / resistance_ohm, 0.0)

    def _heat_shares(
        self, size_a: float, ocv_v: FloatArray, leaks_a: FloatArray, refused: FloatArray | None
    ) -> FloatArray:
        """Shares of the string's heat, at this size of the current."""
        heats_w = (size_a * size_a + 1e-12) * self._rows[5] + leaks_a * ocv_v
        if refused is not None:
            heats_w += size_a * (refused * ocv_v)
        found: FloatArray = heats_w / heats_w.sum()
        return found

    def _end_idle(self, current_a: float, socs: FloatArray, leaks_per_s: FloatArray, lowest_v: float) -> None:
        """Note until when nobody needs to look, as long as no more than this current flows."""
        most_leak_per_s = float(leaks_per_s.max())
        self._most_leak_a = most_leak_per_s * float(self._capacity_c.max())
        self._is_stripping = lowest_v < self._strip_below_v + 0.1
        self._end_s = self._step_scale * (_STRIP_S if self._is_stripping else _IDLE_S)
        self._empty_s = math.inf
        if most_leak_per_s == 0.0:
            return
        self._end_s = min(self._end_s, self._step_scale * _LEAK / most_leak_per_s)
        falls_per_s = leaks_per_s + current_a * self._per_c
        # An empty cell leaks no more.
        emptying = (socs > 0.0) & (socs < falls_per_s * self._end_s)
        if emptying.any():
            self._empty_s = max(float((socs[emptying] / falls_per_s[emptying]).min()), _LEAST_S)
            self._end_s = min(self._end_s, self._empty_s)

    def _find_spans(self) -> tuple[float, ...]:
        """Least and most, among the cells and as far as the lines of this look go.

        Of the open-circuit voltage, its fall for each coulomb, the drop beside the share of the string's,
        that share, and half the gap of the hysteresis.
        """
        ocv_v, ocv_per_c, _, ones_v, twos_v, ohm, _, gap, _ = self._rows
        low, high = _span(ocv_per_c)
        if self._bends:
            turned_low, turned_high = _span(ocv_per_c + self._direction * self._knot_per_c)
            low, high = min(low, turned_low), max(high, turned_high)
        share = ohm / self._ohm_line[0]
        own_low, own_high = _span(ones_v + twos_v - share * (self._one_0_v + self._two_0_v))
        (least, most), (ahead_least, ahead_most) = (
            _span(share),
            _span(self._ahead_ohm / self._ahead_ohm.sum()),
        )
        least, most = min(least, ahead_least), max(most, ahead_most)
        margin_v = (most - least) * (abs(self._one_0_v) + abs(self._two_0_v))
        own_low, own_high = min(own_low, 0.0) - margin_v, max(own_high, 0.0) + margin_v
        return (*_span(ocv_v), low, high, own_low, own_high, least, most, *_span(gap))

    def _list_bends(self, line: Line, window: float) -> None:
        """List the nodes that cells will pass within the stretch ahead, and how far that goes.

        Args:
            line: where the cells are.
            window: state of charge that the stretch has at most; it ends before a cell passes a second node.
        """
        per_c, direction = self._per_c, self._direction
        _, mean_per_c, _ = self._soc_line
        self._knots_c = knots_c = line.first / per_c
        self._knot_per_c = (line.next_slope - line.slope) * per_c * direction
        self._end_c = end_c = min(window / mean_per_c, float((line.second / per_c).min()))
        self._bends, self._knot, self._next_c = [], 0, math.inf
        passing = np.flatnonzero(knots_c < end_c)
        if len(passing) == 0:
            return
        order = passing[knots_c[passing].argsort(kind="stable")]
        at_c, turn = knots_c[order], self._knot_per_c[order]
        values = self._line_v + (turn * at_c).cumsum()
        slopes = self._line_per_c + direction * turn.cumsum()
        self._bends = list(zip(at_c.tolist(), values.tolist(), slopes.tolist(), strict=True))
        self._next_c = self._bends[0][0]


def _line_of(sums: FloatArray) -> Range:
    """Value, and its fall for each coulomb."""
    value, per_c = sums.tolist()
    return value, per_c


def _sums(value: FloatArray, per_c: FloatArray) -> Range:
    """Value, and its fall for each coulomb, over the string."""
    return float(value.sum()), float(per_c.sum())


def _span(values: FloatArray) -> Range:
    return float(values.min()), float(values.max())


def _worse(spread: FloatArray, size: int) -> FloatArray:
    """Factors on the cells' warming whose inverses have a mean of one in each module."""
    better = 1.0 / (1.0 + spread)
    mean = better.reshape(-1, size).mean(axis=1)
    found: FloatArray = np.repeat(mean, size) / better
    return found
