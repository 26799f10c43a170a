"""What every FaultInserter must do, whatever its maker: run it over an emulator, and over the hardware.

A driver's test gives the class a bench::

    class TestContract(FaultInserterContract):
        def bench(self) -> AbstractAsyncContextManager[tuple[FaultInserter, FaultInserterWorld]]:
            return bench()

The suite makes every fault that the device has and takes it away again: on hardware, with nothing behind its
contacts that minds, and a continuity tester at each of them.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from harness.clock import now_s
from harness.errors import DeviceFault, DeviceRefused, WireError
from harness.roles import FaultInserter
from harness.testing.suite import ContractSuite


class FaultInserterWorld(Protocol):
    """What the faults act on, looked at and steered past the driver."""

    async def present(self) -> frozenset[str]:
        """Faults that are there, by somebody else's look."""

    async def jam(self) -> None:
        """Let the device take commands and do nothing; ``silence`` and this need not be undone."""

    async def silence(self) -> None:
        """Let the device answer no more."""


class FaultInserterContract(ContractSuite[FaultInserter, FaultInserterWorld]):
    """The suite; ``bench`` is the one thing that a driver's test gives."""

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[tuple[FaultInserter, FaultInserterWorld]]:
        """Give an opened device with two faults or more, none of them there."""

    def test_is_a_fault_inserter_with_an_identity(self) -> None:
        """It has all of the role's calls, and says whose it is and what it can."""

        async def check(inserter: FaultInserter, _: FaultInserterWorld) -> None:
            assert isinstance(inserter, FaultInserter)
            identity = await inserter.identity()
            assert identity.maker
            assert identity.model
            assert len(await inserter.faults()) >= 2

        self.on_bench(check)

    def test_opens_without_a_fault(self) -> None:
        """Opening touches nothing."""

        async def check(inserter: FaultInserter, world: FaultInserterWorld) -> None:
            reading = await inserter.inserted()
            assert reading.value == frozenset()
            assert reading.source == f"{inserter.name}.inserted"
            assert reading.at_s == pytest.approx(now_s(), abs=1.0)
            assert await world.present() == frozenset()

        self.on_bench(check)

    def test_makes_each_fault_alone_and_takes_it_away(self) -> None:
        """What is said to be there is there, and nothing else is."""

        async def check(inserter: FaultInserter, world: FaultInserterWorld) -> None:
            for fault in sorted(await inserter.faults()):
                await inserter.insert(fault)
                assert (await inserter.inserted()).value == {fault}
                assert await world.present() == {fault}
                await inserter.remove(fault)
                assert (await inserter.inserted()).value == frozenset()
                assert await world.present() == frozenset()

        self.on_bench(check)

    def test_faults_add_up(self) -> None:
        """Each leaves the others as they are; making one twice changes nothing."""

        async def check(inserter: FaultInserter, world: FaultInserterWorld) -> None:
            first, second, *_ = sorted(await inserter.faults())
            await inserter.insert(first)
            await inserter.insert(second)
            await inserter.insert(second)
            assert (await inserter.inserted()).value == {first, second}
            assert await world.present() == {first, second}
            await inserter.remove(first)
            assert await world.present() == {second}
            await inserter.remove(second)
            assert await world.present() == frozenset()

        self.on_bench(check)

    def test_refuses_a_fault_that_it_does_not_have(self) -> None:
        """The message names those that it has; nothing is touched."""

        async def check(inserter: FaultInserter, world: FaultInserterWorld) -> None:
            first = min(await inserter.faults())
            for ask in (inserter.insert, inserter.remove):
                with pytest.raises(DeviceRefused, match=first):
                    await ask("no such fault")
            assert await world.present() == frozenset()

        self.on_bench(check)

    def test_a_fault_that_does_not_come_is_no_success(self) -> None:
        """Read back, the fault is not there, and that raises."""

        async def check(inserter: FaultInserter, world: FaultInserterWorld) -> None:
            first = min(await inserter.faults())
            await world.jam()
            with pytest.raises(DeviceFault, match=first):
                await inserter.insert(first)

        self.on_bench(check)

    def test_a_fault_that_does_not_go_is_no_success(self) -> None:
        """Read back, the fault is still there, and that raises."""

        async def check(inserter: FaultInserter, world: FaultInserterWorld) -> None:
            first = min(await inserter.faults())
            await inserter.insert(first)
            await world.jam()
            with pytest.raises(DeviceFault, match=first):
                await inserter.remove(first)

        self.on_bench(check)

    def test_silence_raises(self) -> None:
        """A device that does not answer neither makes a fault nor tells of one."""

        async def check(inserter: FaultInserter, world: FaultInserterWorld) -> None:
            first = min(await inserter.faults())
            await world.silence()
            with pytest.raises(WireError):
                await inserter.insert(first)
            with pytest.raises(WireError):
                await inserter.inserted()

        self.on_bench(check)

    def test_closes_twice_and_leaves_faults(self) -> None:
        """Closing touches nothing."""

        async def check(inserter: FaultInserter, world: FaultInserterWorld) -> None:
            first = min(await inserter.faults())
            await inserter.insert(first)
            await inserter.close()
            await inserter.close()
            assert await world.present() == {first}

        self.on_bench(check)
