"""A relay board behind a real Modbus line, for the tests beside this file."""

import contextlib
from dataclasses import dataclass

from drivers.waveshare_relay import Driver, Emulator, Options
from harness.plant import PlantSpec, RigPlant
from harness.readings import Voice
from harness.testing.loopback import modbus_pair
from harness.wires.faults import StreamFaults

FAULTS = {"bms_can_open": 1, "pcs_can_open": 3, "earth_fault": 8}


@dataclass
class Stand:
    plant: RigPlant
    emulator: Emulator
    driver: Driver
    faults: StreamFaults
    changes: list


@contextlib.asynccontextmanager
async def stand(voice=None, unit=1, served=None):
    """A board and its driver; ``changes`` is what ``on_change`` was told, and when the plant stood."""
    options = Options(unit=unit, faults=FAULTS)
    plant = RigPlant(PlantSpec())
    emulator = Emulator("relay", plant, options)
    changes = []
    emulator.on_change = lambda channel, is_on: changes.append((plant.now_s, channel, is_on))
    faults = StreamFaults()
    await emulator.start()
    try:
        async with modbus_pair({served or unit: emulator}, faults=faults) as line:
            driver = Driver("relay", line, options, voice or Voice("relay"))
            yield Stand(plant, emulator, driver, faults, changes)
            await driver.close()
    finally:
        await emulator.stop()
