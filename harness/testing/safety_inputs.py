"""What every SafetyInputs must do, whatever its maker: run it over an emulator, and over the hardware.

A driver's test gives the class a bench::

    class TestContract(SafetyInputsContract):
        def bench(self) -> AbstractAsyncContextManager[tuple[SafetyInputs, SafetyInputsWorld]]:
            return bench()

The suite drives every output, and lets the watchdog drop them: on hardware, with nothing behind them that
minds, and a meter at each.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from harness.clock import now_s
from harness.errors import DeviceFault, DeviceRefused, WireError
from harness.roles import SafetyInputs
from harness.testing.suite import ContractSuite


class SafetyInputsWorld(Protocol):
    """What lies at the terminals, looked at and steered past the driver."""

    async def driven(self) -> Mapping[str, bool]:
        """Outputs as somebody else sees them, by name."""

    async def set_input(self, name: str, *, is_on: bool) -> None:
        """Close or open a contact."""

    async def jam(self) -> None:
        """Let the device take commands of outputs and do nothing; ``silence`` and this need not be undone."""

    async def silence(self) -> None:
        """Let the device answer no more."""


class SafetyInputsContract(ContractSuite[SafetyInputs, SafetyInputsWorld]):
    """The suite; ``bench`` is the one thing that a driver's test gives.

    Attributes:
        timeout_s: of the watchdog, where it is armed.
        late_s: how much later than that the outputs may fall.
        wrong_timeouts_s: for which the device has no step.
    """

    timeout_s = 1.0
    late_s = 0.2
    wrong_timeouts_s: tuple[float, ...] = (0.0, -1.0, 1e9)

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[tuple[SafetyInputs, SafetyInputsWorld]]:
        """Give an opened device with two inputs or more, all on, two outputs or more, all off, not armed."""

    async def switch_all_on(self, safety: SafetyInputs) -> frozenset[str]:
        """Drive every output, and give their names."""
        names = frozenset((await safety.outputs()).value)
        for name in sorted(names):
            await safety.set_output(name, is_on=True)
        return names

    def test_is_a_safety_device_with_an_identity(self) -> None:
        """It has all of the role's calls, and says whose it is."""

        async def check(safety: SafetyInputs, _: SafetyInputsWorld) -> None:
            assert isinstance(safety, SafetyInputs)
            identity = await safety.identity()
            assert identity.maker
            assert identity.model

        self.on_bench(check)

    def test_opens_without_driving_anything(self) -> None:
        """Opening touches no output and starts no watchdog; readings are named and dated."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            for quantity in ("inputs", "outputs", "is_watchdog_running"):
                reading = await getattr(safety, quantity)()
                assert reading.source == f"{safety.name}.{quantity}"
                assert reading.at_s == pytest.approx(now_s(), abs=1.0)
            outputs = (await safety.outputs()).value
            assert len(outputs) >= 2
            assert set(outputs.values()) == {False}
            assert await world.driven() == outputs
            assert (await safety.is_watchdog_running()).value is False

        self.on_bench(check)

    def test_reads_each_contact_by_its_name(self) -> None:
        """One that opens shows, and no other does."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            names = sorted((await safety.inputs()).value)
            assert len(names) >= 2
            for name in names:
                await world.set_input(name, is_on=False)
                assert (await safety.inputs()).value == {each: each != name for each in names}
                await world.set_input(name, is_on=True)
                assert (await safety.inputs()).value == dict.fromkeys(names, True)

        self.on_bench(check)

    def test_drives_each_output_alone(self) -> None:
        """What is said to be driven is driven, and nothing else is; twice is as good as once."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            names = sorted((await safety.outputs()).value)
            for name in names:
                await safety.set_output(name, is_on=True)
                await safety.set_output(name, is_on=True)
                alone = {each: each == name for each in names}
                assert (await safety.outputs()).value == alone
                assert await world.driven() == alone
                await safety.set_output(name, is_on=False)
                assert await world.driven() == dict.fromkeys(names, False)

        self.on_bench(check)

    def test_refuses_an_output_that_it_does_not_have(self) -> None:
        """The message names those that it has; nothing is touched."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            names = sorted((await safety.outputs()).value)
            with pytest.raises(DeviceRefused, match=names[0]):
                await safety.set_output("no such output", is_on=True)
            assert not any((await world.driven()).values())

        self.on_bench(check)

    @pytest.mark.parametrize("is_on", [True, False], ids=["on", "off"])
    def test_an_output_that_does_not_follow_is_no_success(self, is_on: bool) -> None:
        """Read back, the output is not as commanded, and that raises."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            name = min((await safety.outputs()).value)
            await safety.set_output(name, is_on=not is_on)
            await world.jam()
            with pytest.raises(DeviceFault, match=name):
                await safety.set_output(name, is_on=is_on)

        self.on_bench(check)

    def test_the_watchdog_drops_all_outputs_in_time(self) -> None:
        """Not before its time, at the latest a little after, and it then says that it runs no more."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            names = await self.switch_all_on(safety)
            await safety.arm_watchdog(self.timeout_s)
            assert (await safety.is_watchdog_running()).value is True
            assert (await safety.inputs()).value
            await asyncio.sleep(0.9 * self.timeout_s)
            assert await world.driven() == dict.fromkeys(names, True)
            await asyncio.sleep(0.1 * self.timeout_s + self.late_s)
            assert await world.driven() == dict.fromkeys(names, False)
            assert (await safety.is_watchdog_running()).value is False

        self.on_bench(check)

    def test_exchanges_keep_the_outputs(self) -> None:
        """Whoever reads the inputs in time keeps the outputs, for as long as that goes on."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            names = await self.switch_all_on(safety)
            await safety.arm_watchdog(self.timeout_s)
            for _ in range(10):
                await asyncio.sleep(0.5 * self.timeout_s)
                await safety.inputs()
            assert await world.driven() == dict.fromkeys(names, True)
            assert (await safety.is_watchdog_running()).value is True

        self.on_bench(check)

    def test_feeding_keeps_the_outputs_and_brings_none_back(self) -> None:
        """Fed in time they stay; not armed, or too late, feeding raises."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            with pytest.raises(DeviceFault, match=safety.name):
                await safety.feed_watchdog()
            names = await self.switch_all_on(safety)
            await safety.arm_watchdog(self.timeout_s)
            for _ in range(10):
                await asyncio.sleep(0.5 * self.timeout_s)
                await safety.feed_watchdog()
            assert await world.driven() == dict.fromkeys(names, True)
            await asyncio.sleep(self.timeout_s + self.late_s)
            with pytest.raises(DeviceFault, match=safety.name):
                await safety.feed_watchdog()
            assert await world.driven() == dict.fromkeys(names, False)

        self.on_bench(check)

    def test_the_watchdog_drops_the_outputs_of_a_device_that_hears_nobody(self) -> None:
        """A cut line is what it is for."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            await self.switch_all_on(safety)
            await safety.arm_watchdog(self.timeout_s)
            await world.silence()
            await asyncio.sleep(self.timeout_s + self.late_s)
            assert not any((await world.driven()).values())

        self.on_bench(check)

    @pytest.mark.parametrize("verb", ["arm_watchdog", "disarm_watchdog"])
    def test_what_was_dropped_comes_back_by_command_alone(self, verb: str) -> None:
        """Outputs are refused until the watchdog is armed or disarmed, and stay off then until driven."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            names = await self.switch_all_on(safety)
            await safety.arm_watchdog(self.timeout_s)
            await asyncio.sleep(self.timeout_s + self.late_s)
            first = min(names)
            with pytest.raises((DeviceFault, DeviceRefused), match=safety.name):
                await safety.set_output(first, is_on=True)
            assert not any((await world.driven()).values())
            await safety.close()
            await safety.open()
            await (
                safety.arm_watchdog(self.timeout_s) if verb == "arm_watchdog" else safety.disarm_watchdog()
            )
            assert not any((await world.driven()).values())
            await safety.set_output(first, is_on=True)
            assert await world.driven() == {name: name == first for name in names}
            assert (await safety.is_watchdog_running()).value is (verb == "arm_watchdog")

        self.on_bench(check)

    def test_a_disarmed_watchdog_drops_nothing(self) -> None:
        """The outputs stay, then and later."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            names = await self.switch_all_on(safety)
            await safety.arm_watchdog(self.timeout_s)
            await safety.disarm_watchdog()
            assert (await safety.is_watchdog_running()).value is False
            await asyncio.sleep(10.0 * self.timeout_s)
            assert await world.driven() == dict.fromkeys(names, True)

        self.on_bench(check)

    def test_arming_anew_sets_the_new_time(self) -> None:
        """A shorter time than before holds at once."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            await self.switch_all_on(safety)
            await safety.arm_watchdog(100.0 * self.timeout_s)
            await asyncio.sleep(2.0 * self.timeout_s)
            assert all((await world.driven()).values())
            await safety.arm_watchdog(self.timeout_s)
            await asyncio.sleep(self.timeout_s + self.late_s)
            assert not any((await world.driven()).values())

        self.on_bench(check)

    def test_refuses_a_time_that_it_cannot_do(self) -> None:
        """The message says what is allowed; no watchdog starts."""

        async def check(safety: SafetyInputs, _: SafetyInputsWorld) -> None:
            for timeout_s in self.wrong_timeouts_s:
                with pytest.raises(DeviceRefused, match="allowed"):
                    await safety.arm_watchdog(timeout_s)
            assert (await safety.is_watchdog_running()).value is False

        self.on_bench(check)

    def test_silence_raises(self) -> None:
        """A device that does not answer neither drives nor tells anything."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            name = min((await safety.outputs()).value)
            await world.silence()
            asks: tuple[Callable[[], Awaitable[object]], ...] = (
                safety.inputs,
                safety.outputs,
                safety.is_watchdog_running,
                safety.disarm_watchdog,
                lambda: safety.arm_watchdog(self.timeout_s),
                lambda: safety.set_output(name, is_on=True),
            )
            for ask in asks:
                with pytest.raises(WireError):
                    await ask()
            assert not any((await world.driven()).values())

        self.on_bench(check)

    def test_closes_twice_and_leaves_outputs_and_watchdog(self) -> None:
        """Closing touches nothing: the watchdog goes on, and drops what nobody looks after."""

        async def check(safety: SafetyInputs, world: SafetyInputsWorld) -> None:
            names = await self.switch_all_on(safety)
            await safety.arm_watchdog(self.timeout_s)
            await safety.close()
            await safety.close()
            assert await world.driven() == dict.fromkeys(names, True)
            await asyncio.sleep(self.timeout_s + self.late_s)
            assert await world.driven() == dict.fromkeys(names, False)

        self.on_bench(check)
