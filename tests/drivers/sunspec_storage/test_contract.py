"""The role's suite over this driver and its emulator."""

import contextlib

from harness.testing.inverter import EmulatedInverterWorld, InverterContract
from harness.testing.watchdog import InverterWatchdogContract

from .sunspec_bench import stand


class TestContract(InverterContract):
    other_setting = ("702.WMax", 8000.0)

    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand() as at:
            yield at.driver, EmulatedInverterWorld(at.plant, at.emulator)


class TestWatchdog(InverterWatchdogContract):
    wrong_timeouts_s = (0.0, -1.0, 0.5, 2.5, 1e10, float("inf"), float("nan"))

    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand() as at:
            yield at.driver, EmulatedInverterWorld(at.plant, at.emulator)
