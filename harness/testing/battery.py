"""What every Battery must do, whatever its maker: run it over an emulator, and over the hardware.

A driver's test gives the class a bench::

    class TestContract(BatteryContract):
        def bench(self) -> AbstractAsyncContextManager[tuple[Battery, BatteryWorld]]:
            return bench()

The suite moves up to ``power_w`` in both directions, for ``swing_s`` each. On hardware ``BatteryWorld`` is a
bidirectional source, a meter at the battery's terminals and somebody who pulls a plug; emulated it is
``EmulatedBatteryWorld``.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest

from harness.clock import now_s
from harness.errors import BenchError, StaleReading, WireTimeout
from harness.plant import RigPlant
from harness.readings import Reading
from harness.roles import Battery
from harness.testing.suite import ContractSuite

QUANTITIES = (
    "voltage_v",
    "current_a",
    "soc",
    "soh",
    "temperature_degc",
    "charge_voltage_limit_v",
    "charge_current_limit_a",
    "discharge_current_limit_a",
    "is_charge_allowed",
    "is_discharge_allowed",
    "alarms",
    "warnings",
)


class BatteryWorld(Protocol):
    """What lies around the battery, steered and measured past its driver."""

    async def set_power_w(self, power_w: float) -> None:
        """Take this power out of the battery; negative charges it."""

    async def voltage_v(self) -> float:
        """Voltage at the battery's terminals, by somebody else's measurement."""

    async def current_a(self) -> float:
        """Current out of the battery, by somebody else's measurement."""

    async def silence(self) -> None:
        """Let the battery speak no more."""

    async def speak(self) -> None:
        """Let the battery speak again."""


class Silenceable(Protocol):
    """An emulator that can fall silent."""

    silent: bool


class EmulatedBatteryWorld:
    """The plant around an emulated battery; its converter moves the power.

    Args:
        plant: whose converter does not supervise the battery (``bms_timeout_s=None``).
        emulator: the battery itself.
    """

    def __init__(self, plant: RigPlant, emulator: Silenceable) -> None:
        self._plant = plant
        self._emulator = emulator

    async def set_power_w(self, power_w: float) -> None:
        """Command the converter."""
        self._plant.advance(now_s())
        self._plant.converter.turn_on()
        self._plant.converter.set_power_w(power_w)

    async def voltage_v(self) -> float:
        """Voltage of the string, as it is."""
        self._plant.advance(now_s())
        return self._plant.string.voltage_v

    async def current_a(self) -> float:
        """Current of the string, as it is."""
        self._plant.advance(now_s())
        return self._plant.string.current_a

    async def silence(self) -> None:
        """Let the emulator fall silent."""
        self._emulator.silent = True

    async def speak(self) -> None:
        """Let the emulator speak again."""
        self._emulator.silent = False


class BatteryContract(ContractSuite[Battery, BatteryWorld]):
    """The suite; ``bench`` is the one thing that a driver's test gives.

    Attributes:
        power_w: that the battery and its converter can do in both directions.
        settle_s: after which power has followed a command, and telemetry has followed power.
        swing_s: at ``power_w``, long enough to move the state of charge by three of its steps.
        stale_s: a reading is never older than this.
        voltage_tolerance_v: how far its telemetry may be from the truth.
        current_tolerance_a: the same for current.
    """

    power_w = 4000.0
    settle_s = 15.0
    swing_s = 900.0
    stale_s = 3.0
    voltage_tolerance_v = 0.1
    current_tolerance_a = 0.5

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[tuple[Battery, BatteryWorld]]:
        """Give an opened battery, healthy, about half full, near 25 degC, at rest."""

    async def leave(self, world: BatteryWorld) -> None:
        """Leave the battery at rest."""
        await world.set_power_w(0.0)

    async def read(self, battery: Battery, quantity: str) -> Reading[Any]:
        """Read a quantity by its name."""
        ask: Callable[[], Awaitable[Reading[Any]]] = getattr(battery, quantity)
        return await ask()

    async def moving(self, world: BatteryWorld, power_w: float) -> None:
        """Bring the battery to a power."""
        await world.set_power_w(power_w)
        await asyncio.sleep(self.settle_s)

    def test_is_a_battery_with_an_identity(self) -> None:
        """It has all of the role's calls, and says whose it is."""

        async def check(battery: Battery, _: BatteryWorld) -> None:
            assert isinstance(battery, Battery)
            identity = await battery.identity()
            assert identity.maker
            assert identity.model

        self.on_bench(check)

    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_names_and_dates_each_reading(self, quantity: str) -> None:
        """A reading says which device and quantity it is, and later readings are of later times."""

        async def check(battery: Battery, _: BatteryWorld) -> None:
            first = await self.read(battery, quantity)
            assert first.source == f"{battery.name}.{quantity}"
            assert now_s() - self.stale_s <= first.at_s <= now_s()
            await asyncio.sleep(self.stale_s)
            second = await self.read(battery, quantity)
            assert second.at_s > first.at_s
            assert now_s() - self.stale_s <= second.at_s <= now_s()

        self.on_bench(check)

    @pytest.mark.parametrize("direction", [1.0, -1.0], ids=["discharge", "charge"])
    def test_current_has_the_sign_of_power_out_of_the_battery(self, direction: float) -> None:
        """Positive discharges, negative charges, as a meter at the terminals says."""

        async def check(battery: Battery, world: BatteryWorld) -> None:
            await self.moving(world, direction * self.power_w)
            current = await battery.current_a()
            voltage = await battery.voltage_v()
            true_a = await world.current_a()
            assert direction * true_a > 10.0 * self.current_tolerance_a, "the world moves no current"
            assert current.value == pytest.approx(true_a, abs=self.current_tolerance_a)
            assert voltage.value == pytest.approx(await world.voltage_v(), abs=self.voltage_tolerance_v)

        self.on_bench(check)

    def test_reads_no_current_at_rest(self) -> None:
        """At rest current is zero within its tolerance, and voltage is the terminals'."""

        async def check(battery: Battery, world: BatteryWorld) -> None:
            await asyncio.sleep(self.settle_s)
            assert (await battery.current_a()).value == pytest.approx(0.0, abs=self.current_tolerance_a)
            voltage = await battery.voltage_v()
            assert voltage.value == pytest.approx(await world.voltage_v(), abs=self.voltage_tolerance_v)

        self.on_bench(check)

    def test_state_of_charge_falls_and_rises(self) -> None:
        """A fraction, which falls while discharging and rises while charging."""

        async def check(battery: Battery, world: BatteryWorld) -> None:
            await asyncio.sleep(self.settle_s)
            start = (await battery.soc()).value
            assert 0.2 <= start <= 0.8
            await world.set_power_w(self.power_w)
            await asyncio.sleep(self.swing_s)
            low = (await battery.soc()).value
            assert low < start
            await world.set_power_w(-self.power_w)
            await asyncio.sleep(self.swing_s)
            assert low < (await battery.soc()).value <= 1.0

        self.on_bench(check)

    def test_health_and_temperature_are_in_their_units(self) -> None:
        """Health is a fraction, temperature is in degrees Celsius."""

        async def check(battery: Battery, _: BatteryWorld) -> None:
            assert 0.5 <= (await battery.soh()).value <= 1.0
            assert 10.0 <= (await battery.temperature_degc()).value <= 40.0

        self.on_bench(check)

    def test_limits_allow_both_directions_when_half_full(self) -> None:
        """Limits are positive numbers, above what stands at the terminals, and agree with what is allowed."""

        async def check(battery: Battery, world: BatteryWorld) -> None:
            await asyncio.sleep(self.settle_s)
            assert (await battery.charge_current_limit_a()).value > 0.0
            assert (await battery.discharge_current_limit_a()).value > 0.0
            assert (await battery.charge_voltage_limit_v()).value > await world.voltage_v()
            assert (await battery.is_charge_allowed()).value is True
            assert (await battery.is_discharge_allowed()).value is True

        self.on_bench(check)

    def test_a_healthy_battery_has_no_alarms(self) -> None:
        """Neither alarms nor warnings, as sets."""

        async def check(battery: Battery, _: BatteryWorld) -> None:
            await asyncio.sleep(self.settle_s)
            assert (await battery.alarms()).value == frozenset()
            assert (await battery.warnings()).value == frozenset()

        self.on_bench(check)

    @pytest.mark.parametrize("quantity", QUANTITIES)
    def test_silence_raises_and_ends(self, quantity: str) -> None:
        """A battery that fell silent gives no reading, and the message says whose; later it does again."""

        async def check(battery: Battery, world: BatteryWorld) -> None:
            before = await self.read(battery, quantity)
            await world.silence()
            await asyncio.sleep(self.stale_s + self.settle_s)
            with pytest.raises((StaleReading, WireTimeout), match=battery.name):
                await self.read(battery, quantity)
            await world.speak()
            await asyncio.sleep(self.settle_s)
            assert (await self.read(battery, quantity)).at_s > before.at_s

        self.on_bench(check)

    def test_closes_twice_and_opens_again(self) -> None:
        """Closed it gives no reading; opened again it does, and never an old one."""

        async def check(battery: Battery, _: BatteryWorld) -> None:
            await battery.voltage_v()
            await battery.close()
            await battery.close()
            with pytest.raises(BenchError, match=battery.name):
                await battery.voltage_v()
            await asyncio.sleep(self.settle_s)
            again_s = now_s()
            await battery.open()
            assert (await battery.voltage_v()).at_s >= again_s

        self.on_bench(check)
