"""The role's suite over this driver and its emulator."""

import contextlib

from harness.testing.safety_inputs import SafetyInputsContract

from .coupler_bench import stand


class CouplerWorld:
    """The terminals of the emulated coupler."""

    def __init__(self, at):
        self._at = at

    async def driven(self):
        return self._at.emulator.outputs

    async def set_input(self, name, *, is_on):
        self._at.emulator.set_input(name, is_on)

    async def jam(self):
        self._at.emulator.jammed = True

    async def silence(self):
        self._at.emulator.silent = True


class TestContract(SafetyInputsContract):
    late_s = 0.0
    wrong_timeouts_s = (0.0, -0.1, 0.05, 0.25, 6553.6)

    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand() as at:
            await at.driver.open()
            yield at.driver, CouplerWorld(at)
