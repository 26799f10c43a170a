"""The role's suite over this driver and its emulator."""

import contextlib

from harness.testing.fault_inserter import FaultInserterContract

from .relay_bench import FAULTS, stand


class RelayWorld:
    """The leads behind the emulated board."""

    def __init__(self, at):
        self._at = at

    async def present(self):
        by_channel = {channel: name for name, channel in FAULTS.items()}
        open_leads = set()
        for _, channel, is_on in self._at.changes:
            (open_leads.add if is_on else open_leads.discard)(by_channel[channel])
        return frozenset(open_leads)

    async def jam(self):
        self._at.emulator.jammed = True

    async def silence(self):
        self._at.emulator.silent = True


class TestContract(FaultInserterContract):
    @contextlib.asynccontextmanager
    async def bench(self):
        async with stand() as at:
            await at.driver.open()
            yield at.driver, RelayWorld(at)
