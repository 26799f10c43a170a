"""The role's suite over this driver and its emulator, in both variants."""

import contextlib

from harness.plant import RigPlant
from harness.testing.battery import BatteryContract, EmulatedBatteryWorld

from .lv_bench import SPEC, stand


class TestOlderVariant(BatteryContract):
    variant = "359_35c"

    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand(RigPlant(SPEC), variant=self.variant) as at:
            yield at.driver, EmulatedBatteryWorld(at.plant, at.emulator)


class TestNewerVariant(TestOlderVariant):
    variant = "35a_35f"
