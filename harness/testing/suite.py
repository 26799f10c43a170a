"""What all contract suites share: a fresh bench for each check, on whichever loop the bench needs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from harness.clock import run_virtual

DeviceT = TypeVar("DeviceT")
WorldT = TypeVar("WorldT")


class Suite:
    """Checks that run on a loop."""

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run on a loop; the wall loop on hardware."""
        run_virtual(main)


class ContractSuite(Suite, Generic[DeviceT, WorldT]):
    """Checks of a device and the world around it."""

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[tuple[DeviceT, WorldT]]:
        """Give an opened device, and its world."""

    async def leave(self, world: WorldT) -> None:
        """Leave the world at rest, however the check ended; nothing moves by itself."""

    def on_bench(self, check: Callable[[DeviceT, WorldT], Awaitable[None]]) -> None:
        """Run a check over a fresh bench, and leave its world at rest."""

        async def main() -> None:
            async with self.bench() as (device, world):
                try:
                    await check(device, world)
                finally:
                    await self.leave(world)

        self.run(main)
