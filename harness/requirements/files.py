"""Requirement files: TOML in, requirements and tables out, every mistake at once."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.requirements.requirement import Bound, Label, Requirement, Rule, Version
from harness.requirements.tables import Mode, RideThroughBand, SegmentRow, SequenceTable, TripSetting
from harness.requirements.units import SCALABLE, UNITS

_Category = Literal["I", "II", "III", "all"]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    # Built within the file's own model, which is the only one that meets a file.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class _FromProduct(_Strict):
    from_product: Annotated[str, Field(min_length=1)]
    times: _Number = 1.0


_ByFrequency = Annotated[dict[Literal["50", "60"], _Number], Field(min_length=1)]
_BoundRow = _Number | bool | _FromProduct | _ByFrequency


class _RequirementRow(_Strict):
    quantity: Annotated[str, Field(min_length=1)]
    min: _BoundRow | None = None
    max: _BoundRow | None = None
    unit: str
    of: str = ""
    clause: str = ""
    rule: Rule
    guard_factor: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    tolerance: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    tolerance_unit: str = ""
    label: Label
    source: Annotated[str, Field(min_length=1)]
    verified_by: str = ""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> _RequirementRow:
        mistakes = []
        if self.min is None and self.max is None:
            mistakes.append("neither min nor max: a requirement limits at least one side")
        if self.unit not in UNITS:
            mistakes.append(f"unit {self.unit!r} is not known; known: {', '.join(sorted(UNITS))}")
        if self.of and self.unit not in SCALABLE:
            mistakes.append(f"unit {self.unit!r} cannot be a share of {self.of!r}; {sorted(SCALABLE)} can")
        if (self.rule is Rule.GUARD_BAND) != (self.guard_factor is not None):
            mistakes.append("guard_factor belongs to rule 'guard_band', and to no other")
        if (self.rule is Rule.STANDARD) != (self.tolerance is not None):
            mistakes.append("tolerance belongs to rule 'standard', and to no other")
        if self.tolerance is not None and self.tolerance_unit not in UNITS:
            mistakes.append(f"tolerance_unit {self.tolerance_unit!r} is not known")
        mistakes += self._sides()
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _sides(self) -> list[str]:
        is_bool = self.unit == "bool"
        mistakes = [
            f"{side!r} does not go with unit {self.unit!r}"
            for side in (self.min, self.max)
            if side is not None and isinstance(side, bool) != is_bool
        ]
        if is_bool and self.min != self.max:
            mistakes.append("unit 'bool' wants min and max, both the same")
        if (
            isinstance(self.min, int | float)
            and isinstance(self.max, int | float)
            and float(self.min) > float(self.max)
        ):
            mistakes.append(f"min {self.min:g} is above max {self.max:g}")
        return mistakes


class _BandRow(_Strict):
    category: _Category
    low_pu: _Number
    high_pu: _Number
    mode: Literal["continuous", "mandatory", "permissive", "momentary cessation", "cease"]
    duty_s: float | None = None
    slope_s_per_pu: _Number = 0.0
    label: Label


class _TripRow(_Strict):
    category: _Category
    function: Literal["OV2", "OV1", "UV1", "UV2", "OF2", "OF1", "UF1", "UF2"]
    threshold: _Number
    threshold_range: tuple[_Number, _Number]
    unit: Literal["pu", "Hz"]
    clearing_s: Annotated[float, Field(gt=0.0)]
    clearing_range_s: tuple[_Number, _Number]
    label: Label

    @model_validator(mode="after")
    def _default_lies_in_its_range(self) -> _TripRow:
        for value, (low, high), what in (
            (self.threshold, self.threshold_range, "threshold"),
            (self.clearing_s, self.clearing_range_s, "clearing_s"),
        ):
            if not low <= value <= high:
                raise ValueError(
                    f"{self.category} {self.function}: {what} {value:g} outside {low:g} to {high:g}"
                )
        return self


class _SegmentRow(_Strict):
    low_pu: Annotated[float, Field(ge=0.0)]
    high_pu: _Number
    duration_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    level_pu: Annotated[float, Field(ge=0.0)]
    accuracies: _Number = 0.0
    ramp: bool = False
    after: dict[Mode, Annotated[list[Mode], Field(min_length=1)]]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> _SegmentRow:
        if not self.low_pu <= self.level_pu <= self.high_pu:
            raise ValueError(f"level_pu {self.level_pu:g} outside {self.low_pu:g} to {self.high_pu:g}")
        if set(self.after) != set(Mode):
            raise ValueError(f"after wants each of {[mode.value for mode in Mode]}")
        return self


class _SequenceRow(_Strict):
    category: _Category
    total_s: _Number
    cease_s: _Number
    restore_s: _Number
    transient_cycles: _Number
    order: Annotated[list[str], Field(min_length=1)]
    segment: dict[str, _SegmentRow]

    @model_validator(mode="after")
    def _adds_up(self) -> _SequenceRow:
        unknown = sorted(set(self.order) - set(self.segment))
        if unknown:
            raise ValueError(f"order names segments that are not there: {', '.join(unknown)}")
        total = math.fsum(self.segment[name].duration_s for name in self.order)
        if abs(total - self.total_s) > 1e-9:
            raise ValueError(f"segments add up to {total:g} s, total_s says {self.total_s:g} s")
        return self


class _FileRow(_Strict):
    family: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
    standard: Annotated[str, Field(min_length=1)]
    edition: Annotated[str, Field(min_length=1)]
    note: str = ""
    requirement: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], _RequirementRow]
    ride_through: list[_BandRow] = []
    trip: list[_TripRow] = []
    sequence: dict[str, _SequenceRow] = {}


@dataclass(frozen=True, slots=True)
class RequirementFile:
    """What one file holds."""

    version: Version
    requirements: tuple[Requirement, ...]
    bands: tuple[RideThroughBand, ...]
    trips: tuple[TripSetting, ...]
    sequences: tuple[SequenceTable, ...]


def read(path: Path) -> tuple[RequirementFile | None, list[str]]:
    """Read one file whole; answer with its content, or with every mistake in it."""
    raw = path.read_bytes()
    try:
        row = _FileRow.model_validate(tomllib.loads(raw.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return None, [f"{path.name}: {error}"]
    except ValidationError as error:
        return None, [_mistake(path, item["loc"], item["msg"], item["input"]) for item in error.errors()]
    if path.stem != row.family and not path.stem.startswith(row.family + "_"):
        return None, [f"{path.name}: family {row.family!r} does not begin the name of the file"]
    version = Version(row.family, row.standard, row.edition, path.name, hashlib.sha256(raw).hexdigest())
    return RequirementFile(
        version,
        tuple(_requirement(key, item, version) for key, item in row.requirement.items()),
        tuple(RideThroughBand(**dict(band)) for band in row.ride_through),
        tuple(TripSetting(**dict(trip)) for trip in row.trip),
        tuple(_sequence(name, item) for name, item in row.sequence.items()),
    ), []


def _mistake(path: Path, where: Sequence[int | str], message: str, came: object) -> str:
    value = f" (came: {came!r})" if isinstance(came, str | int | float) else ""
    return f"{path.name}: {'.'.join(str(part) for part in where)}: {message}{value}"


def _bound(row: _BoundRow | None) -> Bound | None:
    if row is None:
        return None
    if isinstance(row, _FromProduct):
        return Bound(from_product=row.from_product, times=row.times)
    if isinstance(row, dict):
        return Bound(by_f0={int(key): value for key, value in row.items()})
    return Bound(value=float(row))


def _requirement(key: str, row: _RequirementRow, version: Version) -> Requirement:
    return Requirement(
        id=f"{version.id}.{key}",
        quantity=row.quantity,
        minimum=_bound(row.min),
        maximum=_bound(row.max),
        unit=row.unit,
        of=row.of,
        clause=row.clause,
        rule=row.rule,
        guard_factor=row.guard_factor or 0.0,
        tolerance=row.tolerance or 0.0,
        tolerance_unit=row.tolerance_unit or row.unit,
        label=row.label,
        source=row.source,
        verified_by=row.verified_by,
        version=version,
    )


def _sequence(name: str, row: _SequenceRow) -> SequenceTable:
    return SequenceTable(
        name=name,
        category=row.category,
        total_s=row.total_s,
        cease_s=row.cease_s,
        restore_s=row.restore_s,
        transient_cycles=row.transient_cycles,
        rows={key: _segment(key, segment) for key, segment in row.segment.items()},
        order=tuple(row.order),
    )


def _segment(name: str, row: _SegmentRow) -> SegmentRow:
    return SegmentRow(
        name=name,
        low_pu=row.low_pu,
        high_pu=row.high_pu,
        duration_s=row.duration_s,
        level_pu=row.level_pu,
        accuracies=row.accuracies,
        is_ramp=row.ramp,
        allowed={mode: frozenset(modes) for mode, modes in row.after.items()},
        # IEEE 1547-2018, Tables 14 to 16: 0.88 to 1.10 pu is the continuous band of all categories.
        is_event=not (row.low_pu >= 0.88 and row.high_pu <= 1.10),
    )
