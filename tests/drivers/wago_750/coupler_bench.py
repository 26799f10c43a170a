"""A coupler behind a real Modbus line, for the tests beside this file."""

import contextlib
from dataclasses import dataclass

from drivers.wago_750 import Driver, Emulator, Options
from harness.plant import PlantSpec, RigPlant
from harness.readings import Voice
from harness.testing.loopback import modbus_pair
from harness.wires.faults import StreamFaults

INPUTS = {"e_stop_released": 1, "door_closed": 2, "battery_contactor_closed": 8}
OUTPUTS = {"chain": 1, "battery_enable": 3}


@dataclass
class Stand:
    plant: RigPlant
    emulator: Emulator
    driver: Driver
    faults: StreamFaults
    changes: list


@contextlib.asynccontextmanager
async def stand(voice=None, unit=1, served=None):
    """A coupler and its driver; ``changes`` is what ``on_output`` was told, and when the plant stood."""
    options = Options(unit=unit, inputs=INPUTS, outputs=OUTPUTS)
    plant = RigPlant(PlantSpec())
    emulator = Emulator("safety", plant, options)
    changes = []
    emulator.on_output = lambda output, is_on: changes.append((plant.now_s, output, is_on))
    faults = StreamFaults()
    await emulator.start()
    try:
        async with modbus_pair({served or unit: emulator}, faults=faults) as line:
            driver = Driver("safety", line, options, voice or Voice("safety"))
            yield Stand(plant, emulator, driver, faults, changes)
            await driver.close()
    finally:
        await emulator.stop()
