"""What every Inverter must do, whatever its maker: run it over an emulator, and over the hardware.

A driver's test gives the class a bench::

    class TestContract(InverterContract):
        def bench(self) -> AbstractAsyncContextManager[tuple[Inverter, InverterWorld]]:
            return bench()

The suite connects and disconnects the inverter, runs it at up to half its rating in both directions, and
takes its mains away. On hardware ``InverterWorld`` is a power analyzer, a grid source and somebody who
pulls a plug; emulated it is ``EmulatedInverterWorld``.
"""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from harness.clock import now_s
from harness.errors import BenchError, DeviceRefused, WireTimeout
from harness.plant import RigPlant
from harness.roles import Inverter, OperatingState
from harness.testing.suite import ContractSuite

POLL_S = 0.1


class InverterWorld(Protocol):
    """What lies around the inverter, steered and measured past its driver."""

    async def ac_power_w(self) -> float:
        """Active power out of its AC terminals, by somebody else's measurement."""

    async def dc_power_w(self) -> float:
        """Power out of the battery, by somebody else's measurement."""

    async def lose_mains(self) -> None:
        """Take the mains away."""

    async def restore_mains(self) -> None:
        """Give the mains back."""

    async def silence(self) -> None:
        """Let the inverter answer no more."""


class Silenceable(Protocol):
    """An emulator that can fall silent."""

    silent: bool


class EmulatedInverterWorld:
    """The plant behind an emulated inverter.

    Args:
        plant: what the inverter stands in.
        emulator: the inverter itself.
    """

    def __init__(self, plant: RigPlant, emulator: Silenceable) -> None:
        self._plant = plant
        self._emulator = emulator

    async def ac_power_w(self) -> float:
        """Active power out of its AC terminals, as it is."""
        self._plant.advance(now_s())
        return self._plant.converter.power_w

    async def dc_power_w(self) -> float:
        """Power out of the battery, as it is."""
        self._plant.advance(now_s())
        return self._plant.converter.dc_power_w

    async def lose_mains(self) -> None:
        """Open the source's relay."""
        self._plant.advance(now_s())
        self._plant.grid.open_relay()

    async def restore_mains(self) -> None:
        """Close the source's relay."""
        self._plant.advance(now_s())
        self._plant.grid.close_relay()

    async def silence(self) -> None:
        """Let the emulator answer no more."""
        self._emulator.silent = True


class InverterContract(ContractSuite[Inverter, InverterWorld]):
    """The suite; ``bench`` is the one thing that a driver's test gives.

    Attributes:
        settle_s: after which power has followed a command and telemetry has followed power.
        limit_s: within which it starts, stops, forms an island and comes back to the mains.
        tolerance_pu: how far its telemetry may be from the truth, of its rating.
        voltage_v: nominal line-to-neutral voltage of the bench.
        frequency_hz: of the bench's mains.
        other_setting: a writable setting and another value that it takes; None where there is none.
    """

    settle_s = 3.0
    limit_s = 60.0
    tolerance_pu = 0.01
    voltage_v = 200.0 / math.sqrt(3.0)
    frequency_hz = 60.0
    other_setting: tuple[str, float] | None = None

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[tuple[Inverter, InverterWorld]]:
        """Give an opened inverter, off, with a battery half full and mains present."""

    async def until(self, what: str, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Poll until something is so, for ``limit_s`` at most."""
        give_up_s = now_s() + self.limit_s
        while not await is_so():
            assert now_s() < give_up_s, f"{what}: not within {self.limit_s:g} s"
            await asyncio.sleep(POLL_S)

    async def running(self, inverter: Inverter, power_w: float = 0.0) -> None:
        """Turn the inverter on, and bring it to a power."""
        await inverter.turn_on()

        async def runs() -> bool:
            return (await inverter.state()).value is OperatingState.RUNNING

        await self.until("state RUNNING after turn_on", runs)
        await inverter.set_power_w(power_w)
        await asyncio.sleep(self.settle_s)

    def test_is_an_inverter_with_an_identity_and_a_rating(self) -> None:
        """It has all of the role's calls, and says who it is and what it can."""

        async def check(inverter: Inverter, _: InverterWorld) -> None:
            assert isinstance(inverter, Inverter)
            identity = await inverter.identity()
            assert identity.maker
            assert identity.model
            assert identity.serial
            assert (await inverter.rated_power_w()).value > 0.0

        self.on_bench(check)

    def test_names_and_dates_each_reading(self) -> None:
        """A reading says which device and quantity it is, and when it was true."""

        async def check(inverter: Inverter, _: InverterWorld) -> None:
            await self.running(inverter)
            for quantity in ("ac_power_w", "dc_voltage_v", "frequency_hz", "state", "is_on", "alarms"):
                reading = await getattr(inverter, quantity)()
                assert reading.source == f"{inverter.name}.{quantity}"
                assert reading.at_s == pytest.approx(now_s(), abs=1.0)

        self.on_bench(check)

    def test_turns_on_and_off(self) -> None:
        """Off means that no power flows although one is still commanded; on again, it flows."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            power_w = 0.3 * (await inverter.rated_power_w()).value
            assert (await inverter.is_on()).value is False
            await self.running(inverter, power_w)
            assert (await inverter.is_on()).value is True
            assert await world.ac_power_w() == pytest.approx(power_w, rel=0.05)
            await inverter.turn_off()

            async def is_off() -> bool:
                return not (await inverter.is_on()).value

            await self.until("is_on false after turn_off", is_off)
            await asyncio.sleep(self.settle_s)
            assert await world.ac_power_w() == 0.0
            assert (await inverter.ac_power_w()).value == 0.0
            assert (await inverter.state()).value in {OperatingState.OFF, OperatingState.STANDBY}

        self.on_bench(check)

    @pytest.mark.parametrize("share", [0.5, 0.1, -0.1, -0.5])
    def test_power_follows_the_command_with_its_sign(self, share: float) -> None:
        """Positive leaves the battery: on the AC side, on the DC side, and in the set-point."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            rating_w = (await inverter.rated_power_w()).value
            power_w = share * rating_w
            tolerance_w = self.tolerance_pu * rating_w
            await self.running(inverter, power_w)
            assert (await inverter.power_setpoint_w()).value == pytest.approx(power_w, abs=tolerance_w)
            assert await world.ac_power_w() == pytest.approx(power_w, abs=tolerance_w)
            assert (await inverter.ac_power_w()).value == pytest.approx(
                await world.ac_power_w(), abs=tolerance_w
            )
            dc_power_w = (await inverter.dc_power_w()).value
            assert dc_power_w == pytest.approx(await world.dc_power_w(), abs=tolerance_w)
            # The converter's losses come out of the battery, whichever way power flows.
            assert dc_power_w > (await inverter.ac_power_w()).value

        self.on_bench(check)

    def test_voltage_current_and_power_agree(self) -> None:
        """At unity power factor, active power is line-to-neutral voltage times the sum of the currents."""

        async def check(inverter: Inverter, _: InverterWorld) -> None:
            rating_w = (await inverter.rated_power_w()).value
            await self.running(inverter, 0.5 * rating_w)
            voltage_v = (await inverter.ac_voltage_v()).value
            assert voltage_v == pytest.approx(self.voltage_v, rel=0.02)
            assert (await inverter.frequency_hz()).value == pytest.approx(self.frequency_hz, abs=0.05)
            current_a = (await inverter.ac_current_a()).value
            assert abs(voltage_v * current_a) == pytest.approx(0.5 * rating_w, rel=0.03)
            assert (await inverter.reactive_power_var()).value == pytest.approx(0.0, abs=0.02 * rating_w)
            assert (await inverter.dc_voltage_v()).value > 0.0

        self.on_bench(check)

    @pytest.mark.parametrize("share", [1.01, 100.0, -1.01, -100.0, math.nan, math.inf])
    def test_refuses_power_beyond_its_rating(self, share: float) -> None:
        """The message says what is allowed, and the command before it stands."""

        async def check(inverter: Inverter, _: InverterWorld) -> None:
            rating_w = (await inverter.rated_power_w()).value
            await inverter.set_power_w(0.1 * rating_w)
            with pytest.raises(DeviceRefused, match="allowed"):
                await inverter.set_power_w(share * rating_w)
            assert (await inverter.power_setpoint_w()).value == pytest.approx(0.1 * rating_w, rel=0.01)

        self.on_bench(check)

    def test_forms_an_island_and_comes_back(self) -> None:
        """Without mains it forms the voltage, says so, and says it no more once it is back."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            await self.running(inverter)
            assert (await inverter.is_grid_forming()).value is False

            async def forms() -> bool:
                return (await inverter.is_grid_forming()).value

            async def follows() -> bool:
                return not (await inverter.is_grid_forming()).value

            await world.lose_mains()
            await self.until("is_grid_forming after the loss of mains", forms)
            assert (await inverter.ac_voltage_v()).value == pytest.approx(self.voltage_v, rel=0.05)
            assert (await inverter.is_on()).value is True
            await world.restore_mains()
            await self.until("is_grid_forming false after the return of mains", follows)

        self.on_bench(check)

    def test_restores_settings(self) -> None:
        """A setting that was changed is as in the snapshot afterwards."""
        if self.other_setting is None:
            pytest.skip("this driver's test names no setting that can be changed")
        name, value = self.other_setting

        async def check(inverter: Inverter, _: InverterWorld) -> None:
            before = await inverter.settings()
            assert before[name] != value
            await inverter.restore({name: value})
            assert (await inverter.settings())[name] == value
            await inverter.restore(before)
            assert await inverter.settings() == before

        self.on_bench(check)

    def test_restore_leaves_power_alone(self) -> None:
        """A snapshot with another power in it changes neither the command nor the connection."""

        async def check(inverter: Inverter, _: InverterWorld) -> None:
            rating_w = (await inverter.rated_power_w()).value
            before = await inverter.settings()
            await self.running(inverter, 0.2 * rating_w)
            await inverter.restore(before)
            await asyncio.sleep(self.settle_s)
            assert (await inverter.power_setpoint_w()).value == pytest.approx(0.2 * rating_w, rel=0.01)
            assert (await inverter.ac_power_w()).value == pytest.approx(0.2 * rating_w, rel=0.05)
            assert (await inverter.is_on()).value is True

        self.on_bench(check)

    def test_refuses_to_restore_what_it_does_not_have(self) -> None:
        """The message names the setting."""

        async def check(inverter: Inverter, _: InverterWorld) -> None:
            with pytest.raises(DeviceRefused, match="no such setting at all"):
                await inverter.restore({"no such setting at all": 1.0})

        self.on_bench(check)

    def test_silence_raises(self) -> None:
        """A device that answers no more gives no value, and takes no command."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            await self.running(inverter)
            await world.silence()
            for ask in (inverter.ac_power_w, inverter.dc_power_w, inverter.state, inverter.turn_off):
                with pytest.raises(WireTimeout):
                    await ask()

        self.on_bench(check)

    def test_closes_twice_and_opens_again(self) -> None:
        """Closing touches no output; a closed driver gives no value, and an opened one does again."""

        async def check(inverter: Inverter, world: InverterWorld) -> None:
            power_w = 0.2 * (await inverter.rated_power_w()).value
            await self.running(inverter, power_w)
            await inverter.close()
            await inverter.close()
            with pytest.raises(BenchError):
                await inverter.ac_power_w()
            assert await world.ac_power_w() == pytest.approx(power_w, rel=0.05)
            await inverter.open()
            assert (await inverter.ac_power_w()).value == pytest.approx(power_w, rel=0.05)

        self.on_bench(check)
