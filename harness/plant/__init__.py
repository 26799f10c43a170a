"""The physics that all emulators of a rig share: cells, management, converter, grid and load.

Pure Python and numpy, no asyncio. ``RigPlant(spec)`` is advanced to the present whenever somebody looks.
"""

from __future__ import annotations

from harness.plant.battery import BatteryString
from harness.plant.bms import Bms
from harness.plant.bms_spec import BmsSpec
from harness.plant.converter import Converter
from harness.plant.converter_spec import ConverterSpec, EnterService
from harness.plant.generator import Generator, GeneratorState
from harness.plant.grid import Grid
from harness.plant.grid_support import (
    ConstantPowerFactor,
    FrequencyDroop,
    GridSupportSpec,
    Priority,
    VoltVar,
    VoltWatt,
    WattVar,
)
from harness.plant.history import NodeTotals
from harness.plant.load import CriticalLoad
from harness.plant.ride_through import (
    Duty,
    FrequencyTrip,
    RideBand,
    RideMode,
    RideThrough,
    RocofTrip,
    TripStep,
    ieee1547_category_1,
    ieee1547_category_2,
    ieee1547_category_3,
    japan_frt,
)
from harness.plant.rig_plant import EnergyBalance, RigPlant
from harness.plant.solar import SolarArray
from harness.plant.spec import (
    BatterySpec,
    CellSpread,
    GeneratorSpec,
    GridSpec,
    Harmonic,
    LoadKind,
    LoadSpec,
    PlantSpec,
    RlcSpec,
    SolarSpec,
    TransferSwitchSpec,
)
from harness.plant.transfer_switch import Side, TransferSwitch

__all__ = [
    "BatterySpec",
    "BatteryString",
    "Bms",
    "BmsSpec",
    "CellSpread",
    "ConstantPowerFactor",
    "Converter",
    "ConverterSpec",
    "CriticalLoad",
    "Duty",
    "EnergyBalance",
    "EnterService",
    "FrequencyDroop",
    "FrequencyTrip",
    "Generator",
    "GeneratorSpec",
    "GeneratorState",
    "Grid",
    "GridSpec",
    "GridSupportSpec",
    "Harmonic",
    "LoadKind",
    "LoadSpec",
    "NodeTotals",
    "PlantSpec",
    "Priority",
    "RideBand",
    "RideMode",
    "RideThrough",
    "RigPlant",
    "RlcSpec",
    "RocofTrip",
    "Side",
    "SolarArray",
    "SolarSpec",
    "TransferSwitch",
    "TransferSwitchSpec",
    "TripStep",
    "VoltVar",
    "VoltWatt",
    "WattVar",
    "ieee1547_category_1",
    "ieee1547_category_2",
    "ieee1547_category_3",
    "japan_frt",
]
