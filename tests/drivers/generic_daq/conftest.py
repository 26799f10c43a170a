"""A bench of one recorder."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from drivers import generic_daq
from drivers.generic_daq import Driver, Emulator, Options
from harness.plant import BatterySpec, ConverterSpec, GridSpec, PlantSpec, RigPlant, japan_frt
from harness.readings import Voice

from ..stands import on_visa

CHANNELS = (
    *({"number": phase, "quantity": f"grid_ac.u{phase}_v", "full_scale": 400.0} for phase in (1, 2, 3)),
    *({"number": 3 + phase, "quantity": f"pcs_ac.u{phase}_v", "full_scale": 400.0} for phase in (1, 2, 3)),
    *({"number": 6 + phase, "quantity": f"load_ac.i{phase}_a", "full_scale": 100.0} for phase in (1, 2, 3)),
    {"number": 10, "quantity": "battery_dc.u_v", "full_scale": 100.0},
    {"number": 11, "quantity": "battery_dc.i_a", "full_scale": 300.0},
)


def open_bench(
    voice: Voice | None = None, **changes: object
) -> AbstractAsyncContextManager[tuple[Driver, Emulator, RigPlant]]:
    plant = RigPlant(
        PlantSpec(
            battery=BatterySpec(cells_in_parallel=100),
            grid=GridSpec(nominal_voltage_v=100.0, frequency_hz=50.0),
            converter=ConverterSpec(
                nominal_voltage_v=100.0,
                nominal_frequency_hz=50.0,
                starts_on=True,
                bms_timeout_s=None,
                ride_through=japan_frt(50.0),
            ),
        )
    )
    plant.load.set_power_w(3_000.0)
    options = Options.model_validate({"channels": CHANNELS, **changes})
    return on_visa(generic_daq, "daq", plant, options, voice=voice)


@pytest.fixture
def bench():
    """Opens a driver over a real socket to its emulator, in an async with."""
    return open_bench
