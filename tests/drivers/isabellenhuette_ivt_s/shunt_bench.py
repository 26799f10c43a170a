"""A shunt sensor on a loopback CAN line, over a plant or over values set by hand."""

import contextlib
from dataclasses import dataclass, field

from drivers.isabellenhuette_ivt_s import Driver, Emulator, Options
from harness.plant import BatterySpec, ConverterSpec, PlantSpec, RigPlant
from harness.readings import Voice
from harness.wires.can import CanLine

SPEC = PlantSpec(
    battery=BatterySpec(soc=0.5, cells_in_parallel=100), converter=ConverterSpec(bms_timeout_s=None)
)


@dataclass
class SetByHand:
    """A plant whose string says what it is told (a stub)."""

    voltage_v: float = 52.345
    current_a: float = 0.0
    temperature_degc: float = 24.6
    now_s: float = 0.0

    @property
    def string(self):
        return self

    def advance(self, to_s):
        assert to_s >= self.now_s
        self.now_s = to_s


@dataclass
class Stand:
    plant: RigPlant | SetByHand
    line: CanLine
    emulator: Emulator
    driver: Driver
    seen: list = field(default_factory=list)
    frames: list = field(default_factory=list)

    def said(self, quantity):
        """The readings of one quantity, as (time, value)."""
        return [(each.at_s, each.value) for each in self.seen if each.source == f"shunt.{quantity}"]


@contextlib.asynccontextmanager
async def stand(plant=None, **options):
    """A sensor that speaks, and a driver that listens; ``frames`` is what a third node hears."""
    plant = plant or SetByHand()
    settings = Options(**options)
    line = CanLine("can1")
    await line.open()
    emulator = Emulator("shunt", plant, settings)
    emulator.attach(line.port("shunt"))
    seen = []
    driver = Driver("shunt", line.port("harness"), settings, Voice("shunt", seen.append))
    at = Stand(plant, line, emulator, driver, seen)
    line.port("spy").listen(
        range(0x800), lambda frame: at.frames.append((frame.at_s, frame.arbitration_id, frame.data))
    )
    await driver.open()
    await emulator.start()
    try:
        yield at
    finally:
        await driver.close()
        await emulator.stop()
        await line.close()
