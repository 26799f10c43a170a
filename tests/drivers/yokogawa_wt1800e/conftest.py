"""A bench of one analyzer on an emulated rig."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from drivers import yokogawa_wt1800e
from drivers.yokogawa_wt1800e import Driver, Emulator, Options
from harness.plant import BatterySpec, ConverterSpec, LoadSpec, PlantSpec, RigPlant
from harness.readings import Voice
from harness.wires.faults import StreamFaults

from ..stands import on_visa

NODES = {
    # The analyzer's clamps point the other way round at pcs_ac: power out of the battery counts negative.
    "pcs_ac": {"elements": (1, 2, 3), "sign": -1, "u_range_v": 150, "i_range_a": 50},
    "battery_dc": {
        "elements": (4,),
        "u_range_v": 60,
        "i_range_a": 0.2,
        "element_type": 5,
        "ct_ratio": 1000,
        "sensor_of_reading": 0.0005,
    },
    "load_ac": {"elements": (5,), "u_range_v": 150, "i_range_a": 20, "balanced_phases": 3},
    "grid_ac": {"elements": (6,), "u_range_v": 150, "i_range_a": 50, "balanced_phases": 3},
}


def plant_of() -> RigPlant:
    return RigPlant(
        PlantSpec(
            battery=BatterySpec(cells_in_parallel=40, soc=0.6),
            converter=ConverterSpec(bms_timeout_s=None),
            load=LoadSpec(power_w=2000.0),
        )
    )


def open_bench(
    voice: Voice | None = None, faults: StreamFaults | None = None, **changes: object
) -> AbstractAsyncContextManager[tuple[Driver, Emulator, RigPlant]]:
    options = Options.model_validate({"nodes": NODES, **changes})
    return on_visa(yokogawa_wt1800e, "analyzer", plant_of(), options, voice=voice, faults=faults)


@pytest.fixture
def bench():
    """Opens a driver over a real socket to its emulator, in an async with."""
    return open_bench


@pytest.fixture
def plant():
    return plant_of()


@pytest.fixture
def nodes():
    """The ``nodes`` of the options, as a rig file writes them."""
    return NODES
