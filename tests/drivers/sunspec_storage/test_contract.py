"""The role's suite over this driver and its emulator."""

import contextlib

from harness.testing.inverter import EmulatedInverterWorld, InverterContract

from .sunspec_bench import stand


class TestContract(InverterContract):
    other_setting = ("702.WMax", 8000.0)

    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand() as at:
            yield at.driver, EmulatedInverterWorld(at.plant, at.emulator)
