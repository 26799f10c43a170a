"""The role's suite over this driver and its emulator, mounted either way."""

import contextlib

from harness.plant import RigPlant
from harness.testing.dc_sensor import DcSensorContract, EmulatedDcSensorWorld

from .shunt_bench import SPEC, stand


class TestContract(DcSensorContract):
    sign = 1

    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand(RigPlant(SPEC), sign=self.sign) as at:
            yield at.driver, EmulatedDcSensorWorld(at.plant, at.emulator, at.seen)


class TestMountedTheOtherWay(TestContract):
    sign = -1
