"""What every EnergyManager must do, whatever its maker: run it over an emulator, and over the hardware.

A driver's test gives the class a bench::

    class TestContract(EnergyManagerContract):
        def bench(self) -> AbstractAsyncContextManager[tuple[EnergyManager, EnergyManagerWorld]]:
            return bench()

The suite asks for demands up to ``demand_w`` and moves up to that power out of the battery and into it. The
battery stands well inside of its range.
"""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from harness.clock import now_s
from harness.errors import DeviceRefused, WireError
from harness.roles import EnergyManager
from harness.testing.suite import ContractSuite


class EnergyManagerWorld(Protocol):
    """The site, looked at and steered past the manager."""

    async def set_demand_w(self, power_w: float) -> None:
        """Let what must never drop draw this."""

    async def demand_w(self) -> float:
        """What it draws, by somebody else's measurement."""

    async def battery_power_w(self) -> float:
        """Power out of the battery's converter, by somebody else's measurement."""

    async def grid_power_w(self) -> float:
        """Power out of the site, by somebody else's measurement."""

    async def silence(self) -> None:
        """Let the manager answer no more."""


class EnergyManagerContract(ContractSuite[EnergyManager, EnergyManagerWorld]):
    """The suite; ``bench`` is the one thing that a driver's test gives.

    Attributes:
        demand_w: that the site can do.
        telling: largest difference between what is told and measured, as a fraction of ``demand_w``.
    """

    demand_w = 3000.0
    telling = 0.02

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[tuple[EnergyManager, EnergyManagerWorld]]:
        """Give an opened manager that is off, on a site with mains."""

    async def decided(self, manager: EnergyManager, times: int = 3) -> None:
        """Wait for a few decisions."""
        await asyncio.sleep(times * (await manager.interval_s()).value)

    def test_is_an_energy_manager_with_an_identity(self) -> None:
        """It has all of the role's calls, and says whose it is."""

        async def check(manager: EnergyManager, _: EnergyManagerWorld) -> None:
            assert isinstance(manager, EnergyManager)
            identity = await manager.identity()
            assert identity.maker
            assert identity.model

        self.on_bench(check)

    def test_off_it_moves_nothing_and_still_tells(self) -> None:
        """Opening and reading touch nothing; demand and grid are those of the meters."""

        async def check(manager: EnergyManager, world: EnergyManagerWorld) -> None:
            await world.set_demand_w(self.demand_w)
            await self.decided(manager)
            assert not (await manager.is_on()).value
            demand = await manager.demand_w()
            assert demand.source == f"{manager.name}.demand_w"
            assert demand.at_s == pytest.approx(now_s(), abs=1.0)
            within_w = self.telling * self.demand_w
            assert demand.value == pytest.approx(await world.demand_w(), abs=within_w)
            assert (await manager.grid_power_w()).value == pytest.approx(
                await world.grid_power_w(), abs=within_w
            )
            assert (await manager.battery_power_setpoint_w()).value == 0.0
            assert await world.battery_power_w() == pytest.approx(0.0, abs=within_w)

        self.on_bench(check)

    def test_charges_below_its_reserve_and_discharges_above_it(self) -> None:
        """Both directions, each with the sign of the role, in what it tells and in what happens."""

        async def check(manager: EnergyManager, world: EnergyManagerWorld) -> None:
            soc = (await manager.soc()).value
            within_w = self.telling * self.demand_w
            await world.set_demand_w(self.demand_w)
            for reserve, sign in ((soc + 0.2, -1.0), (soc - 0.2, 1.0)):
                await manager.set_reserve_soc(round(reserve, 2))
                await manager.turn_on()
                await self.decided(manager)
                power_w = await world.battery_power_w()
                assert sign * power_w > 0.1 * self.demand_w
                assert (await manager.battery_power_setpoint_w()).value == pytest.approx(
                    power_w, abs=within_w
                )
                grid_w = await world.grid_power_w()
                assert (await manager.grid_power_w()).value == pytest.approx(grid_w, abs=within_w)
                assert grid_w <= within_w

        self.on_bench(check)

    def test_keeps_the_import_below_its_contract(self) -> None:
        """A charge that it wants is cut to what the contract leaves, and the reason is told."""

        async def check(manager: EnergyManager, world: EnergyManagerWorld) -> None:
            contract_w = 1.2 * self.demand_w
            await world.set_demand_w(self.demand_w)
            await manager.set_reserve_soc(round((await manager.soc()).value + 0.2, 2))
            await manager.set_contract_power_w(contract_w)
            await manager.turn_on()
            await self.decided(manager)
            within_w = self.telling * self.demand_w
            assert -contract_w - within_w <= await world.grid_power_w() < -self.demand_w
            assert (await manager.window_power_w()).value <= contract_w + within_w
            assert (await manager.rule()).value == "contract"

        self.on_bench(check)

    def test_off_means_zero(self) -> None:
        """Turned off, the battery stands still."""

        async def check(manager: EnergyManager, world: EnergyManagerWorld) -> None:
            await world.set_demand_w(self.demand_w)
            await manager.set_reserve_soc(round((await manager.soc()).value - 0.2, 2))
            await manager.turn_on()
            await self.decided(manager)
            await manager.turn_off()
            await self.decided(manager)
            assert await world.battery_power_w() == pytest.approx(0.0, abs=self.telling * self.demand_w)
            assert not (await manager.is_on()).value

        self.on_bench(check)

    def test_forecasts_a_day(self) -> None:
        """Half hours, none below zero."""

        async def check(manager: EnergyManager, _: EnergyManagerWorld) -> None:
            for forecast_w in (
                (await manager.demand_forecast_w()).value,
                (await manager.solar_forecast_w()).value,
            ):
                assert len(forecast_w) == 48
                assert min(forecast_w) >= 0.0

        self.on_bench(check)

    def test_settings_are_read_back_and_restored(self) -> None:
        """What a plan changes is put back; no limit is a limit too."""

        async def check(manager: EnergyManager, _: EnergyManagerWorld) -> None:
            before = dict(await manager.settings())
            await manager.set_contract_power_w(1234.0)
            await manager.set_export_limit_w(567.0)
            await manager.set_reserve_soc(0.25)
            assert (await manager.contract_power_w()).value == 1234.0
            assert (await manager.export_limit_w()).value == 567.0
            assert (await manager.reserve_soc()).value == pytest.approx(0.25)
            await manager.set_export_limit_w(math.inf)
            assert (await manager.export_limit_w()).value == math.inf
            await manager.restore(before)
            assert dict(await manager.settings()) == before

        self.on_bench(check)

    def test_refuses_what_no_site_has(self) -> None:
        """Before it is sent."""

        async def check(manager: EnergyManager, _: EnergyManagerWorld) -> None:
            before = dict(await manager.settings())
            for ask in (
                manager.set_reserve_soc(1.5),
                manager.set_contract_power_w(-1.0),
                manager.set_export_limit_w(math.nan),
            ):
                with pytest.raises(DeviceRefused, match="allows"):
                    await ask
            assert dict(await manager.settings()) == before

        self.on_bench(check)

    def test_silence_raises(self) -> None:
        """A manager that does not answer neither tells nor takes a setting."""

        async def check(manager: EnergyManager, world: EnergyManagerWorld) -> None:
            await world.silence()
            with pytest.raises(WireError):
                await manager.demand_w()
            with pytest.raises(WireError):
                await manager.set_reserve_soc(0.5)

        self.on_bench(check)

    def test_closes_twice(self) -> None:
        """Closing touches nothing."""

        async def check(manager: EnergyManager, _: EnergyManagerWorld) -> None:
            await manager.close()
            await manager.close()

        self.on_bench(check)
