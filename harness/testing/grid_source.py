"""What every GridSource must do, whatever its maker: run it over an emulator, and over the hardware.

A driver's test gives the class a bench::

    class TestContract(GridSourceContract):
        def bench(self) -> AbstractAsyncContextManager[GridSource]:
            return bench()

On hardware the output is energised up to the nominal voltage, with nothing connected.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from harness.clock import now_s
from harness.errors import DeviceRefused
from harness.roles import GridSource, GridStep
from harness.testing.suite import Suite

POLL_S = 0.02


async def profile_end_s(source: GridSource, limit_s: float) -> float:
    """Poll until the profile is over, and give the rig time at which that was seen."""
    give_up_s = now_s() + limit_s
    while (await source.is_profile_running()).value:
        assert now_s() < give_up_s, f"the profile still runs after {limit_s:g} s"
        await asyncio.sleep(POLL_S)
    return now_s()


class GridSourceContract(Suite):
    """The suite; ``bench`` is the one thing that a driver's test gives.

    Attributes:
        tolerance_pu: how far the source's own measurement may be from what was set.
        frequency_tolerance_hz: the same for frequency.
        max_voltage_pu: beyond this the source must refuse.
        has_angles: whether its profiles turn single phases.
    """

    tolerance_pu = 0.005
    frequency_tolerance_hz = 0.02
    max_voltage_pu = 10.0
    has_angles = False

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[GridSource]:
        """Give an opened source, its relay open, at nominal voltage and 50 Hz or 60 Hz."""

    def on_bench(self, check: Callable[[GridSource], Awaitable[None]]) -> None:
        """Run a check over a fresh bench."""

        async def main() -> None:
            async with self.bench() as source:
                await check(source)

        self.run(main)

    async def steady(self, source: GridSource, frequency_hz: float = 50.0) -> float:
        """Bring the source to nominal voltage with its relay closed, and give that voltage."""
        nominal_v = await source.nominal_voltage_v()
        await source.set_voltage_v(nominal_v)
        await source.set_frequency_hz(frequency_hz)
        await source.turn_on()
        await asyncio.sleep(1.0)
        return nominal_v

    def test_is_a_grid_source_with_an_identity(self) -> None:
        """It has all of the role's calls, and says who it is."""

        async def check(source: GridSource) -> None:
            assert isinstance(source, GridSource)
            identity = await source.identity()
            assert identity.maker
            assert identity.model

        self.on_bench(check)

    @pytest.mark.parametrize("frequency_hz", [50.0, 60.0])
    def test_brings_voltage_and_frequency_to_all_phases(self, frequency_hz: float) -> None:
        """What is set is measured, on each phase, and each reading names its source."""

        async def check(source: GridSource) -> None:
            nominal_v = await self.steady(source, frequency_hz)
            for phase in (1, 2, 3):
                reading = await source.voltage_v(phase)
                assert reading.value == pytest.approx(nominal_v, abs=self.tolerance_pu * nominal_v)
                assert reading.source.startswith(f"{source.name}.")
                assert reading.at_s == pytest.approx(now_s(), abs=0.5)
            frequency = await source.frequency_hz()
            assert frequency.value == pytest.approx(frequency_hz, abs=self.frequency_tolerance_hz)

        self.on_bench(check)

    def test_limits_its_own_current_and_keeps_that_when_it_is_switched_on(self) -> None:
        """What protects the rig while software is asleep reads back, and switching on does not undo it."""

        async def check(source: GridSource) -> None:
            most_a = (await source.current_limit_a()).value
            await source.set_current_limit_a(0.5 * most_a)
            await self.steady(source)
            assert (await source.current_limit_a()).value == pytest.approx(0.5 * most_a, rel=0.01)

        self.on_bench(check)

    def test_relay_opens_and_closes(self) -> None:
        """Its state is read back, and an open relay is a loss of mains."""

        async def check(source: GridSource) -> None:
            await self.steady(source)
            assert (await source.is_on()).value is True
            await source.turn_off()
            await asyncio.sleep(1.0)
            assert (await source.is_on()).value is False

        self.on_bench(check)

    def test_plays_angles_of_phases_or_refuses_them_whole(self) -> None:
        """A source without angles says so before it moves, and one that has them keeps its voltages."""

        async def check(source: GridSource) -> None:
            nominal_v = await self.steady(source)
            full = (1.0, 1.0, 1.0)
            turned = [GridStep(2.0, full, 50.0, angle_deg=(0.0, -30.0, 30.0))]
            if not self.has_angles:
                with pytest.raises(DeviceRefused, match="allowed"):
                    await source.load_profile(turned)
                assert (await source.is_profile_running()).value is False
                return
            await source.load_profile(turned)
            await source.start_profile()
            await asyncio.sleep(1.0)
            for phase in (1, 2, 3):
                reading = await source.voltage_v(phase)
                assert reading.value == pytest.approx(nominal_v, abs=self.tolerance_pu * nominal_v)
            await source.stop_profile()

        self.on_bench(check)

    @pytest.mark.parametrize("phase", [0, 4])
    def test_refuses_a_phase_that_is_not_there(self, phase: int) -> None:
        """Phases are 1 to 3."""

        async def check(source: GridSource) -> None:
            with pytest.raises(DeviceRefused, match="1 to 3"):
                await source.voltage_v(phase)

        self.on_bench(check)

    def test_refuses_a_voltage_beyond_its_range(self) -> None:
        """The message says what is allowed, and nothing has changed."""

        async def check(source: GridSource) -> None:
            nominal_v = await self.steady(source)
            with pytest.raises(DeviceRefused, match="allowed"):
                await source.set_voltage_v(self.max_voltage_pu * nominal_v)
            with pytest.raises(DeviceRefused, match="allowed"):
                await source.set_voltage_v(-1.0)
            assert (await source.voltage_v(1)).value == pytest.approx(
                nominal_v, abs=self.tolerance_pu * nominal_v
            )

        self.on_bench(check)

    def test_refuses_a_frequency_beyond_its_range(self) -> None:
        """The message says what is allowed."""

        async def check(source: GridSource) -> None:
            for frequency_hz in (-50.0, 0.0, 1e6, float("nan")):
                with pytest.raises(DeviceRefused, match="allowed"):
                    await source.set_frequency_hz(frequency_hz)

        self.on_bench(check)

    def test_plays_a_sag_on_its_own_clock(self) -> None:
        """The level of each step is there in its middle, and the profile runs to its end and no longer."""

        async def check(source: GridSource) -> None:
            nominal_v = await self.steady(source)
            steps = [
                GridStep(1.0, (1.0, 1.0, 1.0), 50.0),
                GridStep(2.0, (0.5, 0.6, 0.7), 50.0),
                GridStep(1.0, (1.0, 1.0, 1.0), 50.0),
            ]
            await source.load_profile(steps)
            assert (await source.is_profile_running()).value is False
            began_s = now_s()
            await source.start_profile()
            await asyncio.sleep(2.0)
            for phase, level in enumerate((0.5, 0.6, 0.7), start=1):
                reading = await source.voltage_v(phase)
                assert reading.value == pytest.approx(level * nominal_v, abs=self.tolerance_pu * nominal_v)
            assert (await source.is_profile_running()).value is True
            ended_s = await profile_end_s(source, 5.0)
            assert ended_s - began_s == pytest.approx(4.0, abs=0.1)
            assert (await source.voltage_v(2)).value == pytest.approx(
                nominal_v, abs=self.tolerance_pu * nominal_v
            )

        self.on_bench(check)

    def test_plays_a_ramp_of_voltage_and_frequency(self) -> None:
        """Half-way through the time it is half-way between the levels."""

        async def check(source: GridSource) -> None:
            nominal_v = await self.steady(source)
            await source.load_profile(
                [GridStep(1.0, (1.0, 1.0, 1.0), 50.0), GridStep(4.0, (0.6, 0.6, 0.6), 52.0, is_ramp=True)]
            )
            await source.start_profile()
            await asyncio.sleep(3.0)
            reading = await source.voltage_v(1)
            assert reading.value == pytest.approx(0.8 * nominal_v, abs=0.02 * nominal_v)
            assert (await source.frequency_hz()).value == pytest.approx(51.0, abs=0.1)
            await profile_end_s(source, 5.0)
            await source.stop_profile()

        self.on_bench(check)

    def test_stops_a_profile_at_once(self) -> None:
        """Afterwards the steady voltage and frequency stand."""

        async def check(source: GridSource) -> None:
            nominal_v = await self.steady(source)
            await source.load_profile([GridStep(60.0, (0.3, 0.3, 0.3), 48.0)])
            await source.start_profile()
            await asyncio.sleep(1.0)
            assert (await source.voltage_v(1)).value < 0.4 * nominal_v
            await source.stop_profile()
            await asyncio.sleep(0.5)
            assert (await source.is_profile_running()).value is False
            assert (await source.voltage_v(1)).value == pytest.approx(
                nominal_v, abs=self.tolerance_pu * nominal_v
            )
            assert (await source.frequency_hz()).value == pytest.approx(50.0, abs=self.frequency_tolerance_hz)

        self.on_bench(check)

    def test_refuses_a_profile_without_steps_or_time(self) -> None:
        """Nothing is loaded."""

        async def check(source: GridSource) -> None:
            for steps in (
                [],
                [GridStep(0.0, (1.0, 1.0, 1.0), 50.0)],
                [GridStep(-1.0, (1.0, 1.0, 1.0), 50.0)],
            ):
                with pytest.raises(DeviceRefused, match="allowed"):
                    await source.load_profile(steps)
            level = self.max_voltage_pu
            with pytest.raises(DeviceRefused, match="allowed"):
                await source.load_profile([GridStep(1.0, (1.0, level, 1.0), 50.0)])

        self.on_bench(check)

    def test_closes_twice(self) -> None:
        """Closing touches no output."""

        async def check(source: GridSource) -> None:
            await self.steady(source)
            await source.close()
            await source.close()
            assert (await source.is_on()).value is True

        self.on_bench(check)
