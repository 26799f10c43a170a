"""A bench of one source."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from drivers import ametek_sequoia
from drivers.ametek_sequoia import Driver, Emulator, Options
from harness.plant import GridSpec, PlantSpec, RigPlant
from harness.readings import Voice

from ..stands import on_visa

NOMINAL_V = 120.0


def open_bench(
    voice: Voice | None = None, **changes: object
) -> AbstractAsyncContextManager[tuple[Driver, Emulator, RigPlant]]:
    plant = RigPlant(PlantSpec(grid=GridSpec(nominal_voltage_v=NOMINAL_V, starts_closed=False)))
    options = Options.model_validate({"nominal_voltage_v": NOMINAL_V, **changes})
    return on_visa(ametek_sequoia, "grid", plant, options, voice=voice)


@pytest.fixture
def bench():
    """Opens a driver over a real socket to its emulator, in an async with."""
    return open_bench
