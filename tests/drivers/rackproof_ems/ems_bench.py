"""The reference manager on a plant, behind a real Modbus line, for the tests beside this file."""

import asyncio
import contextlib
from dataclasses import dataclass

from drivers.rackproof_ems import Driver, Emulator, Options
from harness.clock import now_s
from harness.plant import BatterySpec, ConverterSpec, LoadSpec, PlantSpec, RigPlant, SolarSpec
from harness.readings import Voice
from harness.testing.loopback import modbus_pair
from harness.wires.faults import StreamFaults

SITE = PlantSpec(
    battery=BatterySpec(cells_in_parallel=67, soc=0.5),
    converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
    load=LoadSpec(power_w=2000.0),
)
SUNNY = SolarSpec(
    rated_dc_w=8000.0, rated_ac_w=8000.0, starts_at_s=12 * 3600.0, has_clouds=False, restart_s=1.0
)


@dataclass
class Stand:
    plant: RigPlant
    emulator: Emulator
    driver: Driver
    faults: StreamFaults


@contextlib.asynccontextmanager
async def stand(voice=None, site=SITE, opened=True, **options):
    chosen = Options(unit=1, **options)
    plant = RigPlant(site)
    emulator = Emulator("ems", plant, chosen)
    faults = StreamFaults()
    async with modbus_pair({1: emulator}, faults=faults) as line:
        await emulator.start()
        try:
            driver = Driver("ems", line, chosen, voice or Voice("ems"))
            if opened:
                await driver.open()
            yield Stand(plant, emulator, driver, faults)
            await driver.close()
        finally:
            await emulator.stop()


class PlantWorld:
    """The site of an emulated manager."""

    def __init__(self, at):
        self._at = at

    def _now(self):
        self._at.plant.advance(now_s())
        return self._at.plant

    async def set_demand_w(self, power_w):
        self._now().load.set_power_w(power_w)

    async def demand_w(self):
        return self._now().load.power_w

    async def battery_power_w(self):
        return self._now().converter.power_w

    async def grid_power_w(self):
        """Mean of the last half second, by the node's energy."""
        began = self._now().totals("grid_ac")
        await asyncio.sleep(0.5)
        flowed = self._now().totals("grid_ac") - began
        return (flowed.energy_out_j - flowed.energy_in_j) / flowed.time_s

    async def silence(self):
        self._at.emulator.silent = True
