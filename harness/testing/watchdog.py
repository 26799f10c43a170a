"""What every inverter must do that takes its power to zero by itself: its hardware layers.

A driver's test gives the class the bench of ``InverterContract``, and says which watchdog is meant where the
inverter is not one itself::

    class TestHeartbeat(InverterWatchdogContract):
        part = "heartbeat"

        def bench(self) -> AbstractAsyncContextManager[tuple[Inverter, InverterWorld]]:
            return bench()

``ReversionContract`` adds what holds for one that keeps its time in settings, and can be disarmed. The suites
run the inverter at up to half its rating in both directions, and leave it alone.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from harness.clock import now_s
from harness.errors import DeviceFault, DeviceRefused, WireError
from harness.roles import Inverter, OperatingState, Watchdog
from harness.testing.inverter import POLL_S, InverterWorld
from harness.testing.suite import ContractSuite


class InverterWatchdogContract(ContractSuite[Inverter, InverterWorld]):
    """The suite; ``bench`` is the one thing that a driver's test has to give.

    Attributes:
        part: of the inverter that is the watchdog; empty where it is one itself.
        timeout_s: of the watchdog, where it is armed.
        late_s: how much later than that power may be gone: the ramp from half the rating.
        limit_s: within which the inverter starts.
        wrong_timeouts_s: for which the device has no step.
    """

    part = ""
    timeout_s = 2.0
    late_s = 0.5
    limit_s = 60.0
    wrong_timeouts_s: tuple[float, ...] = (0.0, -1.0, 1e12)

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[tuple[Inverter, InverterWorld]]:
        """Give an opened inverter, off, not armed, with a battery half full and mains present."""

    def watchdog(self, inverter: Inverter) -> Watchdog:
        """Give the watchdog that is meant."""
        watchdog = getattr(inverter, self.part) if self.part else inverter
        assert isinstance(watchdog, Watchdog)
        return watchdog

    async def running(self, inverter: Inverter, share: float) -> float:
        """Bring the inverter to a share of its rating; gives that power."""
        power_w = share * (await inverter.rated_power_w()).value
        await self.bring_back(inverter, power_w)
        await asyncio.sleep(self.late_s)
        return power_w

    async def bring_back(self, inverter: Inverter, power_w: float) -> None:
        """Bring it to a power, from off or from what its watchdog left."""
        await inverter.turn_on()
        give_up_s = now_s() + self.limit_s
        while (await inverter.state()).value is not OperatingState.RUNNING:
            assert now_s() < give_up_s, f"not RUNNING within {self.limit_s:g} s"
            await asyncio.sleep(POLL_S)
        await inverter.set_power_w(power_w)

    def test_opens_without_arming_it(self) -> None:
        """Nobody's power goes to zero because somebody had a look."""

        async def check(inverter: Inverter, _: InverterWorld) -> None:
            reading = await self.watchdog(inverter).is_watchdog_running()
            assert reading.value is False
            source = f"{inverter.name}.{self.part}.is_watchdog_running".replace("..", ".")
            assert reading.source == source

        self.on_bench(check)

    @pytest.mark.parametrize("share", [0.5, -0.5])
    def test_power_goes_to_zero_in_time_and_not_before(self, share: float) -> None:
        """Out of discharge and of charge; it then says that it runs no more, and is not fed back to life."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            watchdog, power_w = self.watchdog(inverter), await self.running(inverter, share)
            await watchdog.arm_watchdog(self.timeout_s)
            assert (await watchdog.is_watchdog_running()).value is True
            await asyncio.sleep(0.9 * self.timeout_s)
            assert await world.ac_power_w() == pytest.approx(power_w, rel=0.05)
            await asyncio.sleep(0.1 * self.timeout_s + self.late_s)
            assert abs(await world.ac_power_w()) < 0.02 * abs(power_w)
            assert (await watchdog.is_watchdog_running()).value is False
            with pytest.raises(DeviceFault, match=inverter.name):
                await watchdog.feed_watchdog()
            await asyncio.sleep(self.timeout_s)
            assert abs(await world.ac_power_w()) < 0.02 * abs(power_w)

        self.on_bench(check)

    def test_feeding_keeps_whatever_power_is_commanded(self) -> None:
        """Whoever feeds does not have to know the command, and does not bring an older one back."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            watchdog, power_w = self.watchdog(inverter), await self.running(inverter, 0.5)
            await watchdog.arm_watchdog(self.timeout_s)
            for step in range(12):
                await asyncio.sleep(0.4 * self.timeout_s)
                await watchdog.feed_watchdog()
                assert await world.ac_power_w() == pytest.approx(power_w, rel=0.05)
                if step == 5:
                    power_w /= 2.0
                    await inverter.set_power_w(power_w)
            assert (await watchdog.is_watchdog_running()).value is True

        self.on_bench(check)

    def test_power_goes_to_zero_when_it_hears_nobody(self) -> None:
        """A cut line is what it is for."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            power_w = await self.running(inverter, 0.5)
            await self.watchdog(inverter).arm_watchdog(self.timeout_s)
            await world.silence()
            await asyncio.sleep(self.timeout_s + self.late_s)
            assert abs(await world.ac_power_w()) < 0.02 * abs(power_w)

        self.on_bench(check)

    def test_a_new_command_brings_power_back_and_is_watched_again(self) -> None:
        """What was taken away comes back by command alone, and goes once more when that is left alone."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            watchdog, power_w = self.watchdog(inverter), await self.running(inverter, 0.5)
            await watchdog.arm_watchdog(self.timeout_s)
            await asyncio.sleep(self.timeout_s + self.late_s)
            came_back_s = now_s()
            await self.bring_back(inverter, power_w)
            await asyncio.sleep(came_back_s + 0.9 * self.timeout_s - now_s())
            assert await world.ac_power_w() == pytest.approx(power_w, rel=0.05)
            assert (await watchdog.is_watchdog_running()).value is True
            await asyncio.sleep(0.1 * self.timeout_s + self.late_s)
            assert abs(await world.ac_power_w()) < 0.02 * abs(power_w)

        self.on_bench(check)

    def test_refuses_a_time_that_it_cannot_do(self) -> None:
        """The message says what is allowed; no watchdog starts."""

        async def check(inverter: Inverter, _: InverterWorld) -> None:
            watchdog = self.watchdog(inverter)
            for timeout_s in self.wrong_timeouts_s:
                with pytest.raises(DeviceRefused, match="allowed"):
                    await watchdog.arm_watchdog(timeout_s)
            assert (await watchdog.is_watchdog_running()).value is False

        self.on_bench(check)

    def test_silence_raises(self) -> None:
        """One that does not answer is neither armed nor fed."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            watchdog = self.watchdog(inverter)
            await world.silence()
            asks: tuple[Callable[[], Awaitable[object]], ...] = (
                watchdog.is_watchdog_running,
                watchdog.feed_watchdog,
                lambda: watchdog.arm_watchdog(self.timeout_s),
            )
            for ask in asks:
                with pytest.raises(WireError):
                    await ask()

        self.on_bench(check)


class ReversionContract(InverterWatchdogContract):
    """The suite of a watchdog whose time stands in the product's settings, and which can be disarmed."""

    async def bring_back(self, inverter: Inverter, power_w: float) -> None:
        """Bring it to a power; what its watchdog left is on, at zero."""
        if (await inverter.is_on()).value:
            await inverter.set_power_w(power_w)
        else:
            await super().bring_back(inverter, power_w)

    def test_disarmed_it_takes_nothing_away_and_settings_are_as_before(self) -> None:
        """Arming is a visit: the product keeps nothing of it."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            watchdog, power_w = self.watchdog(inverter), await self.running(inverter, 0.5)
            before = await inverter.settings()
            await watchdog.arm_watchdog(self.timeout_s)
            assert await inverter.settings() != before
            await watchdog.disarm_watchdog()
            assert await inverter.settings() == before
            assert (await watchdog.is_watchdog_running()).value is False
            await asyncio.sleep(5.0 * self.timeout_s)
            assert await world.ac_power_w() == pytest.approx(power_w, rel=0.05)
            with pytest.raises(DeviceFault, match=inverter.name):
                await watchdog.feed_watchdog()

        self.on_bench(check)

    def test_arming_anew_sets_the_new_time(self) -> None:
        """A shorter time than before holds at once; disarming knows the settings from before the first."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            watchdog, before = self.watchdog(inverter), await inverter.settings()
            await watchdog.arm_watchdog(100.0 * self.timeout_s)
            power_w = await self.running(inverter, 0.5)
            await asyncio.sleep(2.0 * self.timeout_s)
            assert await world.ac_power_w() == pytest.approx(power_w, rel=0.05)
            await watchdog.arm_watchdog(self.timeout_s)
            await asyncio.sleep(self.timeout_s + self.late_s)
            assert abs(await world.ac_power_w()) < 0.02 * abs(power_w)
            await watchdog.disarm_watchdog()
            after = await inverter.settings()
            await inverter.restore(before)
            assert await inverter.settings() == after  # nothing but power differs, which is never restored

        self.on_bench(check)

    def test_one_that_does_not_answer_is_not_disarmed(self) -> None:
        """Whoever asked is told that it still runs."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            await world.silence()
            with pytest.raises(WireError):
                await self.watchdog(inverter).disarm_watchdog()

        self.on_bench(check)
