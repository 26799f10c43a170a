"""The register table: ours, so that an energy manager of any make can be given it by a small gateway.

Holding registers, read by function 3, written by 6 and 16; numbers are big-endian, two registers the high
word first. Positive battery and grid power leave the battery and the site.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a point lies in its registers."""

    U16 = "u16"
    U32 = "u32"
    S32 = "s32"
    TEXT = "text"


NO_LIMIT = 0xFFFF_FFFF
"""In a U32 limit: none."""

MARK = 0x454D
"""The first register of every map: "EM"."""

VERSION = 1


@dataclass(frozen=True, slots=True)
class Point:
    """One value.

    Attributes:
        name: of the value.
        address: of its first register.
        kind: how it lies there.
        scale: of one count, in ``unit``.
        unit: after scaling.
        count: registers.
        range: allowed in a write, after scaling; None: not writable.
        is_limit: whether ``NO_LIMIT`` stands for none.
    """

    name: str
    address: int
    kind: Kind
    scale: float = 1.0
    unit: str = ""
    count: int = 1
    range: tuple[float, float] | None = None
    is_limit: bool = False


IDENTITY = (
    Point("mark", 0x0000, Kind.U16),
    Point("version", 0x0001, Kind.U16),
    Point("maker", 0x0002, Kind.TEXT, count=8),
    Point("model", 0x000A, Kind.TEXT, count=8),
    Point("serial", 0x0012, Kind.TEXT, count=8),
    Point("firmware", 0x001A, Kind.TEXT, count=4),
)

MEASURED = (
    Point("beat", 0x0100, Kind.U16),  # counts decisions, modulo 65,536
    Point("interval_s", 0x0101, Kind.U16, 0.1, "s"),
    Point("demand_w", 0x0102, Kind.S32, 1.0, "W", 2),
    Point("solar_w", 0x0104, Kind.S32, 1.0, "W", 2),
    Point("grid_power_w", 0x0106, Kind.S32, 1.0, "W", 2),
    Point("battery_power_setpoint_w", 0x0108, Kind.S32, 1.0, "W", 2),
    Point("soc", 0x010A, Kind.U16, 0.0001, "1"),
    Point("rule", 0x010B, Kind.U16),
    Point("window_power_w", 0x010C, Kind.S32, 1.0, "W", 2),
    Point("is_islanded", 0x010E, Kind.U16),
)

FORECAST_STEPS = 48
"""Half hours ahead."""

DEMAND_FORECAST = 0x0200
SOLAR_FORECAST = 0x0300
"""First of ``FORECAST_STEPS`` S32, in W, the running half hour first."""

SETTINGS = (
    Point("is_on", 0x0400, Kind.U16, range=(0.0, 1.0)),
    Point("reserve_soc", 0x0401, Kind.U16, 0.0001, "1", range=(0.0, 0.9)),
    Point("contract_power_w", 0x0402, Kind.U32, 1.0, "W", 2, (0.0, 4e9), is_limit=True),
    Point("export_limit_w", 0x0404, Kind.U32, 1.0, "W", 2, (0.0, 4e9), is_limit=True),
    Point("ramp_w_per_s", 0x0406, Kind.U32, 1.0, "W/s", 2, (1.0, 4e9), is_limit=True),
)

RULES = (
    "self_consumption",
    "rating",
    "island",
    "full",
    "reserve",
    "contract",
    "export",
    "ramp",
    "prepare",
    "keep",
)
"""What bound a decision, by the number in ``rule``."""


def named(points: tuple[Point, ...], name: str) -> Point:
    """Find a point of a block."""
    return next(point for point in points if point.name == name)


def extent(points: tuple[Point, ...]) -> tuple[int, int]:
    """Give the first register of a block, and how many it has."""
    first, last = points[0], points[-1]
    return first.address, last.address + last.count - first.address
