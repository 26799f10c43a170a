"""The roles' suites over this driver and its emulator."""

import contextlib

from harness.testing.inverter import EmulatedInverterWorld, InverterContract
from harness.testing.watchdog import InverterWatchdogContract, ReversionContract

from .sunspec_bench import stand


class TestContract(InverterContract):
    other_setting = ("702.WMax", 8000.0)

    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand() as at:
            yield at.driver, EmulatedInverterWorld(at.plant, at.emulator)


class TestReversion(ReversionContract):
    wrong_timeouts_s = (0.0, -1.0, 0.5, 2.5, 1e10, float("inf"), float("nan"))

    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand() as at:
            yield at.driver, EmulatedInverterWorld(at.plant, at.emulator)


class TestHeartbeat(InverterWatchdogContract):
    """Its time is long enough to start in: what stopped has to be started anew."""

    part = "heartbeat"
    timeout_s = 10.0
    wrong_timeouts_s = (0.0, -1.0, 9.0, 10.5, float("inf"), float("nan"))

    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand(heartbeat_timeout_s=10.0) as at:
            yield at.driver, EmulatedInverterWorld(at.plant, at.emulator)
