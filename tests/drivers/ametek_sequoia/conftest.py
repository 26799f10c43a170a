"""A bench of one source."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from drivers.ametek_sequoia import Driver, Emulator, Options
from harness.plant import GridSpec, PlantSpec, RigPlant
from harness.readings import Voice
from harness.testing.loopback import visa_pair

NOMINAL_V = 120.0


@contextlib.asynccontextmanager
async def open_bench(
    voice: Voice | None = None, **changes: object
) -> AsyncIterator[tuple[Driver, Emulator, RigPlant]]:
    plant = RigPlant(PlantSpec(grid=GridSpec(nominal_voltage_v=NOMINAL_V, starts_closed=False)))
    options = Options.model_validate({"nominal_voltage_v": NOMINAL_V, **changes})
    emulator = Emulator("grid", plant, options)
    await emulator.start()
    try:
        async with visa_pair(emulator) as line:
            driver = Driver("grid", line, options, voice or Voice("grid"))
            await driver.open()
            yield driver, emulator, plant
            await driver.close()
    finally:
        await emulator.stop()


@pytest.fixture
def bench():
    """Opens a driver over a real socket to its emulator, in an async with."""
    return open_bench
