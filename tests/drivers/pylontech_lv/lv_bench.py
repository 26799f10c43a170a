"""A low-voltage battery on a loopback CAN line, over a plant or over values set by hand."""

import contextlib
from dataclasses import dataclass, field
from types import SimpleNamespace

from drivers.pylontech_lv import Driver, Emulator, Options
from harness.plant import BatterySpec, ConverterSpec, PlantSpec, RigPlant
from harness.readings import Voice
from harness.wires.can import CanLine

BATTERY = BatterySpec(soc=0.5, cells_in_parallel=100)
SPEC = PlantSpec(battery=BATTERY, converter=ConverterSpec(bms_timeout_s=None))


@dataclass
class SetByHand:
    """A plant whose battery management says what it is told (a stub)."""

    soc: float = 0.63
    soh: float = 0.98
    charge_voltage_limit_v: float = 56.0
    charge_current_limit_a: float = 130.0
    discharge_current_limit_a: float = 240.0
    discharge_voltage_limit_v: float = 44.8
    is_charge_allowed: bool = True
    is_discharge_allowed: bool = True
    alarms: frozenset = frozenset()
    warnings: frozenset = frozenset()
    voltage_v: float = 52.34
    current_a: float = 0.0
    temperature_degc: float = 24.6
    contactor_closed: bool = True
    now_s: float = 0.0
    string: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(capacity_ah=280.0))

    @property
    def bms(self):
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
    heard: list


@contextlib.asynccontextmanager
async def stand(plant=None, voice=None, **options):
    """A battery that speaks, and a driver that listens; ``heard`` is what a third node hears."""
    plant = plant or SetByHand()
    settings = Options(**options)
    line = CanLine("can0")
    await line.open()
    heard = []
    spy = line.port("spy")
    spy.listen(range(0x800), lambda frame: heard.append((frame.at_s, frame.arbitration_id, frame.data)))
    emulator = Emulator("bms", plant, settings)
    emulator.attach(line.port("bms"))
    driver = Driver("bms", line.port("harness"), settings, voice or Voice("bms"))
    await emulator.start()
    await driver.open()
    try:
        yield Stand(plant, line, emulator, driver, heard)
    finally:
        await driver.close()
        await emulator.stop()
        await line.close()
