"""Cell chemistries as data: one TOML file each, every number with its origin beside it.

A new chemistry is one file in this folder. What it may hold, and in which unit, is said at ``ChemistryFile``
and the parts below it; a file is checked whole, and every mistake is named.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import ConfigurationError, near_miss

FloatArray = NDArray[np.float64]

GRID_PER_UNIT = 1000
"""Steps of the state-of-charge grid in one unit; published tables lie on it: their nodes stay exact."""

GRID_FIRST = -50
GRID_LAST = 1050

NODE_ERROR_V = 4e-5
"""Most by which lines between nodes leave the open-circuit voltage of the grid."""

FARADAY_C_PER_MOL = 96_485.332
"""CODATA 2018."""

GAS_J_PER_MOL_K = 8.314_462_6
"""CODATA 2018."""

ZERO_DEGC_K = 273.15


class Part(BaseModel):
    """A table of a chemistry file: unknown keys are refused, and no text passes for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Numbers = Annotated[list[float], Field(min_length=2)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
PositiveNumbers = Annotated[list[Positive], Field(min_length=2)]


class Cell(Part):
    """What a cell is.

    Attributes:
        capacity_ah: of a new cell.
        minimum_v: lower end of the maker's window.
        maximum_v: upper end of the maker's window.
        charge_c_rate: largest charge current, in capacities an hour; products that ask for more are refused.
        discharge_c_rate: largest discharge current, in capacities an hour.
        mass_kg: of a cell.
        heat_capacity_j_per_kgk: of its mass.
        heat_transfer_w_per_m2k: from its surface to the air of its module.
        area_m2: of its surface.
        coulombic_efficiency: charge that is kept of the charge put in, gas aside.
        self_discharge_per_day: of capacity, at any state of charge above empty.
    """

    capacity_ah: Positive
    minimum_v: NonNegative
    maximum_v: Positive
    charge_c_rate: Positive
    discharge_c_rate: Positive
    mass_kg: Positive
    heat_capacity_j_per_kgk: Positive
    heat_transfer_w_per_m2k: Positive
    area_m2: Positive
    coulombic_efficiency: Annotated[float, Field(gt=0.0, le=1.0)]
    self_discharge_per_day: NonNegative


class End(Part):
    """A point beyond the end of the curve; the line to it goes on further.

    Attributes:
        soc: below 0, or above 1.
        voltage_v: there.
    """

    soc: float
    voltage_v: float


class _Ocv(Part):
    below: End
    above: End

    @model_validator(mode="after")
    def _lies_outside(self) -> Self:
        if not (self.below.soc < 0.0 and self.above.soc > 1.0):
            raise ValueError(f"below.soc={self.below.soc}, above.soc={self.above.soc}; allowed < 0 and > 1")
        return self


class TableOcv(_Ocv):
    """Open-circuit voltage as a table, lines between its points.

    Attributes:
        kind: ``table``.
        soc: rising, from 0 to 1.
        voltage_v: rising, at each of them.
        below: a point below empty.
        above: a point above full.
    """

    kind: Literal["table"]
    soc: Numbers
    voltage_v: Numbers

    @model_validator(mode="after")
    def _is_curve(self) -> Self:
        _check_soc("soc", self.soc)
        _check_length("voltage_v", self.voltage_v, len(self.soc))
        if any(high <= low for low, high in itertools.pairwise(self.voltage_v)):
            raise ValueError("voltage_v does not rise throughout; allowed only a rising curve")
        return self


class NernstOcv(_Ocv):
    """Open-circuit voltage by Nernst's equation: U = reference + slope log10(c / 1 mol/l).

    The concentration c is linear in the state of charge.

    Attributes:
        kind: ``nernst``.
        reference_v: at 1 mol/l.
        slope_v_per_decade: R T ln(10) / (z F).
        empty_mol_per_l: concentration at state of charge 0.
        full_mol_per_l: at 1.
        below: a point below empty.
        above: a point above full.
    """

    kind: Literal["nernst"]
    reference_v: Positive
    slope_v_per_decade: Positive
    empty_mol_per_l: Positive
    full_mol_per_l: Positive

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.full_mol_per_l <= self.empty_mol_per_l:
            raise ValueError(
                f"full_mol_per_l={self.full_mol_per_l}; allowed above empty_mol_per_l={self.empty_mol_per_l}"
            )
        return self


class Hysteresis(Part):
    """One-state hysteresis of the open-circuit voltage.

    Attributes:
        soc: rising, from 0 to 1.
        half_gap_v: half of what lies between the curves of charge and discharge, at each of them.
        rate: gamma: capacities to pass until all but 1/e of the way to the other curve is gone, inverted.
    """

    soc: Numbers
    half_gap_v: Annotated[list[NonNegative], Field(min_length=2)]
    rate: Positive

    @model_validator(mode="after")
    def _is_curve(self) -> Self:
        _check_soc("soc", self.soc)
        _check_length("half_gap_v", self.half_gap_v, len(self.soc))
        return self


class Branch(Part):
    """An RC pair in series with R0.

    Attributes:
        share: of the total resistance.
        time_constant_s: R C.
    """

    share: Fraction
    time_constant_s: Positive


class Resistance(Part):
    """Total resistance, over state of charge, temperature and direction, and how it divides.

    Attributes:
        soc: rising, from 0 to 1.
        temperature_degc: rising; constant outside.
        charge_ohm: a row for each temperature, a number for each state of charge.
        discharge_ohm: likewise.
        branches: the two RC pairs; what they leave of the total acts at once (R0).
    """

    soc: Numbers
    temperature_degc: Numbers
    charge_ohm: list[PositiveNumbers]
    discharge_ohm: list[PositiveNumbers]
    branches: Annotated[list[Branch], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _is_table(self) -> Self:
        _check_soc("soc", self.soc)
        _check_rising("temperature_degc", self.temperature_degc)
        for name, rows in (("charge_ohm", self.charge_ohm), ("discharge_ohm", self.discharge_ohm)):
            if len(rows) != len(self.temperature_degc):
                raise ValueError(
                    f"{name} has {len(rows)} rows; allowed {len(self.temperature_degc)}, one a temperature"
                )
            for place, row in enumerate(rows):
                _check_length(f"{name}[{place}]", row, len(self.soc))
        taken = sum(branch.share for branch in self.branches)
        if taken >= 1.0:
            raise ValueError(f"branches share {taken} of the resistance; allowed below 1, the rest is R0")
        return self


class Hydrogen(Part):
    """The part of the charge current that makes hydrogen instead of charging, beside the lumped efficiency.

    Attributes:
        soc: rising; constant outside.
        current_share: at each of them.
    """

    soc: Numbers
    current_share: Annotated[list[Fraction], Field(min_length=2)]

    @model_validator(mode="after")
    def _is_curve(self) -> Self:
        _check_rising("soc", self.soc)
        _check_length("current_share", self.current_share, len(self.soc))
        return self


class CalendarAgeing(Part):
    """Loss by time, and growth of the resistance.

        loss = k(T) (a (SoC - 1/2)^3 + b) sqrt(t)           k(T) = k exp(-E/R (1/T - 1/298.15 K))
        growth = k_R(T) (a_R (SoC - 1/2)^2 + b_R) t

    Attributes:
        loss_per_sqrt_s: k.
        loss_activation_j_per_mol: E.
        loss_soc: a and b.
        resistance_per_s: k_R.
        resistance_activation_j_per_mol: E_R.
        resistance_soc: a_R and b_R.
    """

    loss_per_sqrt_s: NonNegative
    loss_activation_j_per_mol: NonNegative
    loss_soc: Pair
    resistance_per_s: NonNegative
    resistance_activation_j_per_mol: NonNegative
    resistance_soc: Pair


class CyclicAgeing(Part):
    """Loss by cycles, and growth of the resistance.

        loss = (a C + b) (c (DoD - 0.6)^3 + d) sqrt(N)
        growth = (a_R C + b_R) (c_R (DoD - 1/2)^3 + d_R) N

    C is the rate in capacities an hour, DoD the depth, N the number of full equivalent cycles.

    Attributes:
        loss_rate: a and b, as fractions of capacity.
        loss_depth: c and d.
        resistance_rate: a_R and b_R, as fractions of the resistance.
        resistance_depth: c_R and d_R.
    """

    loss_rate: Pair
    loss_depth: Pair
    resistance_rate: Pair
    resistance_depth: Pair


class InactiveMetal(Part):
    """Plated metal that no discharge reaches: capacity that a strip to zero volts brings back.

    Each full charge leaves a part of the active capacity behind; below a voltage it dissolves exponentially.

    Attributes:
        loss_per_charge: part of the capacity that a full charge leaves behind.
        strip_below_v: cell voltage below which it dissolves.
        strip_time_constant_s: of that.
    """

    loss_per_charge: Fraction
    strip_below_v: Positive
    strip_time_constant_s: Positive


class ChemistryFile(Part):
    """A chemistry file as it is read.

    Attributes:
        name: as the file's, without suffix.
        description: for people.
        cell: what a cell is.
        ocv: open-circuit voltage.
        hysteresis: of it; without it there is none.
        resistance: total, and how it divides.
        hydrogen: on overcharge; without it there is none.
        calendar_ageing: by time; without it there is none.
        cyclic_ageing: by cycles; without it there is none.
        inactive_metal: and its strip; without it there is none.
    """

    name: str
    description: str
    cell: Cell
    ocv: Annotated[TableOcv | NernstOcv, Field(discriminator="kind")]
    resistance: Resistance
    hysteresis: Hysteresis | None = None
    hydrogen: Hydrogen | None = None
    calendar_ageing: CalendarAgeing | None = None
    cyclic_ageing: CyclicAgeing | None = None
    inactive_metal: InactiveMetal | None = None

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        if self.cell.maximum_v <= self.cell.minimum_v:
            raise ValueError(
                f"cell.maximum_v={self.cell.maximum_v}; allowed above cell.minimum_v={self.cell.minimum_v}"
            )
        return self


@dataclass(frozen=True, slots=True)
class Chemistry:
    """One cell's parameters, its curves on an even grid of state of charge from -0.05 to 1.05.

    Attributes:
        file: as it was read.
        name: file name without suffix.
        capacity_ah: of a new cell.
        heat_capacity_j_per_k: of a cell.
        heat_conductance_w_per_k: of a cell to the air of its module.
        series_share: part of the resistance that acts at once.
        soc: the grid, shape (n,).
        ocv: open-circuit voltage on it, shape (n,).
        nodes: the few states of charge, 0 among them, between which the open-circuit voltage is a line
            (``NODE_ERROR_V``; a table's own nodes, so that a table stays exact), shape (m,).
        node_v: the voltage there, shape (m,).
        charge_ohm: resistance on the grid, shape (temperatures, n).
        discharge_ohm: likewise.
        half_gap_v: of the hysteresis, on the grid, shape (n,).
        hydrogen_share: of the charge current, on the grid, shape (n,).
        temperature_degc: of the rows of resistance; linear between, constant outside.
    """

    file: ChemistryFile
    name: str
    capacity_ah: float
    heat_capacity_j_per_k: float
    heat_conductance_w_per_k: float
    series_share: float
    soc: FloatArray
    ocv: FloatArray
    nodes: FloatArray
    node_v: FloatArray
    charge_ohm: FloatArray
    discharge_ohm: FloatArray
    half_gap_v: FloatArray
    hydrogen_share: FloatArray
    temperature_degc: FloatArray

    @property
    def coulombic_efficiency(self) -> float:
        """Charge that is kept of the charge put in, gas aside."""
        return self.file.cell.coulombic_efficiency

    @property
    def self_discharge_per_day(self) -> float:
        """Of capacity."""
        return self.file.cell.self_discharge_per_day

    def ocv_v(self, soc: float) -> float:
        """Open-circuit voltage of one cell, midway between charge and discharge."""
        return float(np.interp(soc, self.soc, self.ocv))

    def resistance_ohm(self, soc: float, *, is_charging: bool, temperature_degc: float = 25.0) -> float:
        """Total resistance of one cell, once the RC branches have settled."""
        rows = self.charge_ohm if is_charging else self.discharge_ohm
        column = [np.interp(soc, self.soc, row) for row in rows]
        return float(np.interp(temperature_degc, self.temperature_degc, column))


def names() -> tuple[str, ...]:
    """Chemistries that there are."""
    suffix = ".toml"
    entries = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(suffix) for name in entries if name.endswith(suffix)))


@cache
def load(name: str) -> Chemistry:
    """Read a chemistry.

    Raises:
        ConfigurationError: no such chemistry, or mistakes in its file, all of them.
    """
    if name not in names():
        raise ConfigurationError(f"chemistry {name!r}: no such file; there are {', '.join(names())}")
    return parse((files(__name__) / f"{name}.toml").read_text(encoding="utf-8"), name)


def parse(text: str, name: str) -> Chemistry:
    """Make a chemistry of a file's text.

    Raises:
        ConfigurationError: mistakes, each with file, key, what came and what is allowed.
    """
    label = f"chemistries/{name}.toml"
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{label}: no TOML: {error}") from error
    try:
        file = ChemistryFile.model_validate(table)
    except ValidationError as error:
        raise ConfigurationError(*_mistakes(error, table, label)) from error
    if file.name != name:
        raise ConfigurationError(f"{label}: name: came {file.name!r}; allowed {name!r}, as the file's")
    return _chemistry(file)


def _mistakes(error: ValidationError, table: dict[str, Any], label: str) -> Iterator[str]:
    for detail in error.errors(include_url=False):
        # The kind of the curve, which pydantic puts into the path, is no key of the file.
        path = [step for step in detail["loc"] if step not in {"table", "nernst"}]
        key = ".".join(str(step) for step in path) or "the file"
        if detail["type"] == "missing":
            yield f"{label}: key {key!r} is missing"
        elif detail["type"] == "extra_forbidden":
            yield f"{label}: unknown key {key!r}{_near_miss(path, table)}"
        elif detail["type"] == "value_error":
            yield f"{label}: {key}: {detail['msg'].removeprefix('Value error, ')}"
        else:
            yield f"{label}: {key}: came {detail['input']!r}; {detail['msg']}"


def _near_miss(path: list[int | str], table: dict[str, Any]) -> str:
    """``; did you mean 'x'?``, where a key that is not there has a name like it."""
    known: Any = ChemistryFile.model_json_schema()
    parts = {cls.__name__: set(cls.model_fields) for cls in (Cell, Resistance, Hysteresis, Hydrogen, Branch)}
    section, *_ = path
    fields = set(known["properties"]) if len(path) == 1 else parts.get(str(section).capitalize(), set())
    here = set(table) if len(path) == 1 else set(table[str(section)])
    return near_miss(str(path[-1]), sorted(fields - here))


def _check_rising(name: str, values: list[float]) -> None:
    if any(high <= low for low, high in itertools.pairwise(values)):
        raise ValueError(f"{name}={values}; allowed only rising numbers")


def _check_soc(name: str, values: list[float]) -> None:
    _check_rising(name, values)
    if values[0] != 0.0 or values[-1] != 1.0:
        raise ValueError(f"{name} runs from {values[0]} to {values[-1]}; allowed from 0 to 1")


def _check_length(name: str, values: list[float], count: int) -> None:
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} numbers; allowed {count}, one a state of charge")


def _chemistry(file: ChemistryFile) -> Chemistry:
    cell, resistance, gap, gas = file.cell, file.resistance, file.hysteresis, file.hydrogen
    soc = np.arange(GRID_FIRST, GRID_LAST + 1) / GRID_PER_UNIT
    ocv = _ocv_v(file.ocv, soc)
    empty = -GRID_FIRST
    nodes = [*_bends(ocv, 0, empty), *_bends(ocv, empty, len(soc) - 1), len(soc) - 1]
    zero = np.zeros_like(soc)
    return Chemistry(
        file=file,
        name=file.name,
        capacity_ah=cell.capacity_ah,
        heat_capacity_j_per_k=cell.mass_kg * cell.heat_capacity_j_per_kgk,
        heat_conductance_w_per_k=cell.heat_transfer_w_per_m2k * cell.area_m2,
        series_share=1.0 - sum(branch.share for branch in resistance.branches),
        soc=soc,
        ocv=ocv,
        nodes=soc[nodes],
        node_v=ocv[nodes],
        charge_ohm=np.array([np.interp(soc, resistance.soc, row) for row in resistance.charge_ohm]),
        discharge_ohm=np.array([np.interp(soc, resistance.soc, row) for row in resistance.discharge_ohm]),
        half_gap_v=zero if gap is None else np.interp(soc, gap.soc, gap.half_gap_v),
        hydrogen_share=zero if gas is None else np.interp(soc, gas.soc, gas.current_share),
        temperature_degc=np.array(resistance.temperature_degc),
    )


def _bends(curve: FloatArray, first: int, last: int) -> list[int]:
    """Find where a curve bends between two points, by halving at the farthest bend (Douglas, Peucker 1973).

    Returns:
        Places in rising order, the first among them and the last not.
    """
    part = np.linspace(0.0, 1.0, last - first + 1)
    off = np.abs(curve[first : last + 1] - (curve[first] + part * (curve[last] - curve[first])))
    farthest = int(off.argmax())
    if off[farthest] <= NODE_ERROR_V:
        return [first]
    return [*_bends(curve, first, first + farthest), *_bends(curve, first + farthest, last)]


def _ocv_v(ocv: TableOcv | NernstOcv, soc: FloatArray) -> FloatArray:
    """Open-circuit voltage on the grid, with the two ends beyond the table."""
    if isinstance(ocv, NernstOcv):
        empty, full = ocv.empty_mol_per_l, ocv.full_mol_per_l
        moles = empty + np.clip(soc, 0.0, 1.0) * (full - empty)
        voltage_v = ocv.reference_v + ocv.slope_v_per_decade * np.log10(moles)
    else:
        voltage_v = np.interp(soc, ocv.soc, ocv.voltage_v)
    first = voltage_v[-GRID_FIRST]
    last = voltage_v[GRID_PER_UNIT - GRID_FIRST]
    beneath = first + (ocv.below.voltage_v - first) * soc / ocv.below.soc
    beyond = last + (ocv.above.voltage_v - last) * (soc - 1.0) / (ocv.above.soc - 1.0)
    return np.asarray(np.where(soc < 0.0, beneath, np.where(soc > 1.0, beyond, voltage_v)), dtype=np.float64)
