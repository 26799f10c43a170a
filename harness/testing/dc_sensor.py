"""What every DcSensor must do, whatever its maker: run it over an emulator, and over the hardware.

A driver's test gives the class a bench::

    class TestContract(DcSensorContract):
        def bench(self) -> AbstractAsyncContextManager[tuple[DcSensor, DcSensorWorld]]:
            return bench()

The suite moves up to ``power_w`` in both directions, for a few seconds each. On hardware ``DcSensorWorld`` is
a bidirectional source, a meter at the battery's terminals and somebody who pulls a plug; emulated it is
``EmulatedDcSensorWorld``.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest

from harness.clock import now_s
from harness.errors import BenchError, StaleReading, WireTimeout
from harness.plant import RigPlant
from harness.readings import Reading
from harness.roles import DcSensor
from harness.testing.battery import BatteryWorld, EmulatedBatteryWorld, Silenceable
from harness.testing.suite import ContractSuite

QUANTITIES = ("voltage_v", "current_a", "temperature_degc")


class DcSensorWorld(BatteryWorld, Protocol):
    """What lies around the sensor, steered and measured past its driver."""

    async def observed(self) -> Sequence[Reading[Any]]:
        """Every reading that the driver's voice has said so far."""


class EmulatedDcSensorWorld(EmulatedBatteryWorld):
    """The plant around an emulated sensor; its converter moves the power.

    Args:
        plant: whose converter does not supervise the battery (``bms_timeout_s=None``).
        emulator: the sensor itself.
        heard: what the driver's voice says to.
    """

    def __init__(self, plant: RigPlant, emulator: Silenceable, heard: Sequence[Reading[Any]]) -> None:
        super().__init__(plant, emulator)
        self._heard = heard

    async def observed(self) -> Sequence[Reading[Any]]:
        """Give what the voice was given."""
        return tuple(self._heard)


class DcSensorContract(ContractSuite[DcSensor, DcSensorWorld]):
    """The suite; ``bench`` is the one thing that a driver's test gives.

    Attributes:
        power_w: that the battery and its converter can do in both directions.
        settle_s: after which power has followed a command, and the sensor has followed power.
        voltage_tolerance_v: how far the sensor may be from the truth.
        current_tolerance_a: the same for current.
    """

    power_w = 4000.0
    settle_s = 15.0
    voltage_tolerance_v = 0.1
    current_tolerance_a = 0.5

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[tuple[DcSensor, DcSensorWorld]]:
        """Give an opened sensor at a healthy battery, about half full, near 25 degC, at rest."""

    async def leave(self, world: DcSensorWorld) -> None:
        """Leave the battery at rest."""
        await world.set_power_w(0.0)

    async def read(self, sensor: DcSensor, quantity: str) -> Reading[float]:
        """Read a quantity by its name."""
        ask: Callable[[], Awaitable[Reading[float]]] = getattr(sensor, quantity)
        return await ask()

    def test_is_a_dc_sensor_with_an_identity(self) -> None:
        """It has all of the role's calls, and says whose it is."""

        async def check(sensor: DcSensor, _: DcSensorWorld) -> None:
            assert isinstance(sensor, DcSensor)
            assert await sensor.period_s() > 0.0
            identity = await sensor.identity()
            assert identity.maker
            assert identity.model
            assert identity.serial

        self.on_bench(check)

    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_reports_by_itself_each_period(self, quantity: str) -> None:
        """A reading a period although nobody asks, each said once, each later than the one before."""

        async def check(sensor: DcSensor, world: DcSensorWorld) -> None:
            period_s = await sensor.period_s()
            await asyncio.sleep(self.settle_s)
            before = len(await world.observed())
            await asyncio.sleep(10.0 * period_s)
            source = f"{sensor.name}.{quantity}"
            times = [each.at_s for each in (await world.observed())[before:] if each.source == source]
            assert 9 <= len(times) <= 11
            assert times == sorted(set(times))

        self.on_bench(check)

    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_gives_what_it_reported_last(self, quantity: str) -> None:
        """Whoever asks is given the last report, dated as it was, and nothing is said twice."""

        async def check(sensor: DcSensor, world: DcSensorWorld) -> None:
            period_s = await sensor.period_s()
            await asyncio.sleep(self.settle_s)
            reading = await self.read(sensor, quantity)
            again = await self.read(sensor, quantity)
            observed = [each for each in await world.observed() if each.source == reading.source]
            assert observed.count(reading) == 1
            assert reading == again == observed[-1]
            assert now_s() - 2.0 * period_s <= reading.at_s <= now_s()

        self.on_bench(check)

    @pytest.mark.parametrize("direction", [1.0, -1.0], ids=["discharge", "charge"])
    def test_current_has_the_sign_of_power_out_of_the_battery(self, direction: float) -> None:
        """Positive discharges, negative charges, as a meter at the terminals says."""

        async def check(sensor: DcSensor, world: DcSensorWorld) -> None:
            await world.set_power_w(direction * self.power_w)
            await asyncio.sleep(self.settle_s)
            current, voltage = await sensor.current_a(), await sensor.voltage_v()
            true_a = await world.current_a()
            assert direction * true_a > 10.0 * self.current_tolerance_a, "the world moves no current"
            assert current.value == pytest.approx(true_a, abs=self.current_tolerance_a)
            assert voltage.value == pytest.approx(await world.voltage_v(), abs=self.voltage_tolerance_v)

        self.on_bench(check)

    def test_reads_no_current_at_rest(self) -> None:
        """At rest current is zero within its tolerance, and voltage is the battery's."""

        async def check(sensor: DcSensor, world: DcSensorWorld) -> None:
            await asyncio.sleep(self.settle_s)
            assert (await sensor.current_a()).value == pytest.approx(0.0, abs=self.current_tolerance_a)
            voltage = await sensor.voltage_v()
            assert voltage.value == pytest.approx(await world.voltage_v(), abs=self.voltage_tolerance_v)
            assert 10.0 <= (await sensor.temperature_degc()).value <= 40.0

        self.on_bench(check)

    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_silence_raises_within_three_periods_and_ends(self, quantity: str) -> None:
        """A sensor that fell silent says nothing and gives nothing; later it does again."""

        async def check(sensor: DcSensor, world: DcSensorWorld) -> None:
            period_s = await sensor.period_s()
            await asyncio.sleep(self.settle_s)
            before = await self.read(sensor, quantity)
            await world.silence()
            await asyncio.sleep(3.5 * period_s)
            said = len(await world.observed())
            with pytest.raises((StaleReading, WireTimeout), match=sensor.name):
                await self.read(sensor, quantity)
            assert len(await world.observed()) == said
            await world.speak()
            await asyncio.sleep(2.0 * period_s)
            assert (await self.read(sensor, quantity)).at_s > before.at_s

        self.on_bench(check)

    def test_closes_twice_and_opens_again(self) -> None:
        """Closed it says and gives nothing; opened again it does, and never an old report."""

        async def check(sensor: DcSensor, world: DcSensorWorld) -> None:
            await sensor.voltage_v()
            await sensor.close()
            await sensor.close()
            said = len(await world.observed())
            await asyncio.sleep(self.settle_s)
            assert len(await world.observed()) == said
            with pytest.raises(BenchError, match=sensor.name):
                await sensor.voltage_v()
            again_s = now_s()
            await sensor.open()
            assert (await sensor.voltage_v()).at_s >= again_s

        self.on_bench(check)
