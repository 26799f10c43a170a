"""The SunSpec models that this driver and its emulator speak, read from the official definitions.

Every address, type, scale factor, unit and symbol comes from "model_NNN.json" of SunSpec's model
repository, in the copy that pysunspec2 carries; nothing is typed here a second time. A model is read
when it is first asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from harness.roles import OperatingState


@dataclass(frozen=True, slots=True)
class Kind:
    """How a point type lies in registers (SunSpec Device Information Model Specification, 4.2).

    Attributes:
        is_signed: two's complement.
        registers: how many; 0 where each point says it (strings).
        unimplemented: the raw value that means "this point is not there".
    """

    is_signed: bool
    registers: int
    unimplemented: int

    @property
    def lowest(self) -> int:
        """Lowest raw value that is a value."""
        return -(1 << 16 * self.registers - 1) + 1 if self.is_signed else 0

    @property
    def highest(self) -> int:
        """Highest raw value that is a value."""
        bits = 16 * self.registers
        if self.is_signed:
            return (1 << bits - 1) - 1
        return (1 << bits) - (1 if self.unimplemented == 0 else 2)


KINDS: Mapping[str, Kind] = {
    "int16": Kind(is_signed=True, registers=1, unimplemented=-0x8000),
    "int32": Kind(is_signed=True, registers=2, unimplemented=-0x8000_0000),
    "int64": Kind(is_signed=True, registers=4, unimplemented=-0x8000_0000_0000_0000),
    "uint16": Kind(is_signed=False, registers=1, unimplemented=0xFFFF),
    "uint32": Kind(is_signed=False, registers=2, unimplemented=0xFFFF_FFFF),
    "uint64": Kind(is_signed=False, registers=4, unimplemented=0xFFFF_FFFF_FFFF_FFFF),
    "acc32": Kind(is_signed=False, registers=2, unimplemented=0),
    "enum16": Kind(is_signed=False, registers=1, unimplemented=0xFFFF),
    "bitfield16": Kind(is_signed=False, registers=1, unimplemented=0xFFFF),
    "bitfield32": Kind(is_signed=False, registers=2, unimplemented=0xFFFF_FFFF),
    "sunssf": Kind(is_signed=True, registers=1, unimplemented=-0x8000),
    "pad": Kind(is_signed=True, registers=1, unimplemented=-0x8000),
    "string": Kind(is_signed=False, registers=0, unimplemented=0),
}


@dataclass(frozen=True, slots=True)
class Point:
    """One addressable value of a model.

    Attributes:
        model: number of the model.
        name: as the definition writes it; a point of a group is ``<group>.<point>``.
        offset: registers from the model's ID register.
        size: registers.
        type: as the definition writes it, a key of KINDS.
        scale: point that holds the power of ten, empty where there is none.
        unit: as the definition writes it.
        symbols: names of an enumeration's codes, or of a bit field's bits.
    """

    model: int
    name: str
    offset: int
    size: int
    type: str
    scale: str
    unit: str
    is_writable: bool
    is_mandatory: bool
    symbols: Mapping[int, str]

    @property
    def kind(self) -> Kind:
        """How it lies in registers."""
        return KINDS[self.type]

    @property
    def is_bitfield(self) -> bool:
        """Whether ``symbols`` name bits, not codes."""
        return self.type.startswith("bitfield")

    def __str__(self) -> str:
        return f"{self.model}.{self.name}"

    def code(self, symbol: str) -> int:
        """Look up a code, or a bit's number, by its name."""
        for code, name in self.symbols.items():
            if name == symbol:
                return code
        raise KeyError(f"{self}: no symbol {symbol!r} among {sorted(self.symbols.values())}")


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the map.

    Attributes:
        length: registers after ID and length, as a device must give it.
        points: by name, in the order of their addresses.
    """

    number: int
    label: str
    length: int
    points: Mapping[str, Point]

    @property
    def size(self) -> int:
        """Registers with ID and length."""
        return self.length + 2


MARKER = (0x5375, 0x6E53)
"""``SunS``: what the map starts with."""

BASES = (40000, 0, 50000)
"""Where the map may start, in the order in which pysunspec2 looks."""

END = 0xFFFF
"""The ID that ends the chain of models."""

MODELS = (1, 103, 120, 121, 123, 124, 701, 702, 703, 704, 713, 715, 802)
"""Models of the map here: identity, inverter, ratings, settings, controls, storage, and the DER models
of IEEE 1547-2018."""

SETTINGS_MODELS = (121, 123, 124, 702, 703, 704)
"""Models whose writable points are the product's settings."""

MEASURED_701 = 123
"""Registers of model 701 up to its last scale factor; with the alarm text behind, it is no one read."""

POWER_COMMANDS = frozenset(
    {
        # What makes or bounds power at this moment. Reversion values and timers are settings.
        "123.Conn",
        *(f"123.{name}" for name in ("WMaxLimPct", "WMaxLim_Ena", "OutPFSet", "OutPFSet_Ena")),
        *(f"123.{name}" for name in ("VArWMaxPct", "VArMaxPct", "VArAvalPct", "VArPct_Mod", "VArPct_Ena")),
        *(f"124.{name}" for name in ("StorCtl_Mod", "OutWRte", "InWRte")),
        "703.ES",
        *(f"704.{name}" for name in ("WMaxLimPctEna", "WMaxLimPct")),
        *(f"704.{name}" for name in ("WSetEna", "WSetMod", "WSet", "WSetPct")),
        *(f"704.{name}" for name in ("VarSetEna", "VarSetMod", "VarSet", "VarSetPct")),
        *(f"704.{name}" for name in ("PFWInjEna", "PFWInj.PF", "PFWInj.Ext")),
        *(f"704.{name}" for name in ("PFWAbsEna", "PFWAbs.PF", "PFWAbs.Ext")),
        *(f"715.{name}" for name in ("ControllerHb", "OpCtl")),
    }
)
"""Writable points that restoring settings leaves alone."""

STATES: Mapping[str, OperatingState] = {
    "OFF": OperatingState.OFF,
    "SLEEPING": OperatingState.SLEEPING,
    "STARTING": OperatingState.STARTING,
    "RUNNING": OperatingState.RUNNING,
    "THROTTLED": OperatingState.THROTTLED,
    "SHUTTING_DOWN": OperatingState.SHUTTING_DOWN,
    "FAULT": OperatingState.FAULT,
    "STANDBY": OperatingState.STANDBY,
}
"""Words for 701.InvSt. 103.St has other numbers for the same states (running is 4, MPPT)."""


@cache
def model(number: int) -> Model:
    """Read the definition of one model."""
    text = (files("sunspec2") / "models" / "json" / f"model_{number}.json").read_text(encoding="utf-8")
    group = json.loads(text)["group"]
    points: dict[str, Point] = {}
    size = _add_points(points, number, group, prefix="", offset=0)
    return Model(number, group.get("label", group["name"]), size - 2, MappingProxyType(points))


def _add_points(points: dict[str, Point], number: int, group: Any, prefix: str, offset: int) -> int:
    """Add a group's points from ``offset`` on; give the offset behind the last one."""
    for entry in group["points"]:
        is_bitfield = entry["type"].startswith("bitfield")
        symbols = {
            int(symbol["value"]): str(symbol["name"])
            for symbol in entry.get("symbols", ())
            if not is_bitfield or int(symbol["value"]) < 16 * int(entry["size"])
        }
        point = Point(
            model=number,
            name=f"{prefix}{entry['name']}",
            offset=offset,
            size=int(entry["size"]),
            type=entry["type"],
            scale=str(entry.get("sf", "")),
            unit=entry.get("units", "").strip(),
            is_writable=entry.get("access") == "RW",
            is_mandatory=entry.get("mandatory") == "M",
            symbols=MappingProxyType(symbols),
        )
        points[point.name] = point
        offset += point.size
    for inner in group.get("groups", ()):
        if inner.get("count", 1) != 1:
            raise NotImplementedError(f"model {number}: group {inner['name']} repeats; no model here does")
        offset = _add_points(points, number, inner, prefix=f"{prefix}{inner['name']}.", offset=offset)
    return offset
