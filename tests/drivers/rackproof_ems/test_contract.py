"""The role's suite over this driver and its emulator."""

import contextlib

from harness.testing.energy_manager import EnergyManagerContract

from .ems_bench import PlantWorld, stand


class TestContract(EnergyManagerContract):
    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand() as at:
            yield at.driver, PlantWorld(at)
