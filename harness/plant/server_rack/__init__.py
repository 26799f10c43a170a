"""A server rack: power shelf, battery backup unit, 48 V bus, servers, and the power of AI work over time."""

from __future__ import annotations

from harness.plant.server_rack.ai_load import (
    Piece,
    Smoothing,
    Swing,
    checkpoints,
    steady,
    through,
    total,
    tripped,
)
from harness.plant.server_rack.rack_load import RackLoad, hang_on
from harness.plant.server_rack.rack_plant import RackBalance, RackPlant
from harness.plant.server_rack.spec import (
    AcLossSign,
    BackupSpec,
    BusSpec,
    PackSpec,
    PowerShelfSpec,
    RackSpec,
    ServerSpec,
    end_of_life,
    hpr_rack,
    orv3_rack,
)

__all__ = [
    "AcLossSign",
    "BackupSpec",
    "BusSpec",
    "PackSpec",
    "Piece",
    "PowerShelfSpec",
    "RackBalance",
    "RackLoad",
    "RackPlant",
    "RackSpec",
    "ServerSpec",
    "Smoothing",
    "Swing",
    "checkpoints",
    "end_of_life",
    "hang_on",
    "hpr_rack",
    "orv3_rack",
    "steady",
    "through",
    "total",
    "tripped",
]
