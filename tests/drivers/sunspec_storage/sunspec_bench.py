"""A SunSpec inverter over a plant, behind a real Modbus line, for the tests beside this file."""

import asyncio
import contextlib
from dataclasses import dataclass, replace

import sunspec2.device

from drivers.sunspec_storage import Driver, Emulator, Options
from harness.plant import BatterySpec, CellSpread, ConverterSpec, PlantSpec, RigPlant
from harness.readings import Voice
from harness.testing.loopback import modbus_pair
from harness.wires import ModbusRefusal, Refusal, Table

# Cells without spread: what the registers must hold can then be computed by hand.
BATTERY = BatterySpec(soc=0.5, spread=CellSpread(capacity=0.0, resistance=0.0), cells_in_parallel=100)
SPEC = PlantSpec(battery=BATTERY, converter=ConverterSpec(bms_timeout_s=None))


class CountingLine:
    """A Modbus line that keeps what passes over it."""

    def __init__(self, line):
        self.name = line.name
        self.line = line
        self.reads = []
        self.writes = []

    async def read_holding(self, unit, address, count):
        self.reads.append((unit, address, count))
        return await self.line.read_holding(unit, address, count)

    async def write_holding(self, unit, address, values):
        self.writes.append((unit, address, list(values)))
        await self.line.write_holding(unit, address, values)

    async def read_coils(self, unit, address, count):
        return await self.line.read_coils(unit, address, count)

    async def write_coil(self, unit, address, value):
        await self.line.write_coil(unit, address, value)


@dataclass
class Stand:
    plant: RigPlant
    emulator: Emulator
    line: CountingLine
    driver: Driver

    async def run_at(self, power_w):
        await self.driver.turn_on()
        await asyncio.sleep(5.0)
        await self.driver.set_power_w(power_w)
        await asyncio.sleep(3.0)

    def now(self):
        """The plant, brought to the present."""
        self.plant.advance(asyncio.get_running_loop().time())
        return self.plant


@contextlib.asynccontextmanager
async def stand(spec=SPEC, voice=None, port=None, **options):
    plant = RigPlant(spec)
    emulator = Emulator("inverter", plant, Options(**options))
    if port is not None:
        emulator.attach(port)
    await emulator.start()
    async with modbus_pair({options.get("unit", 1): emulator}) as line:
        counting = CountingLine(line)
        driver = Driver("inverter", counting, Options(**options), voice or Voice("inverter"))
        await driver.open()
        yield Stand(plant, emulator, counting, driver)
        await driver.close()
    await emulator.stop()


def with_converter(**fields):
    return replace(SPEC, converter=replace(SPEC.converter, **fields))


class Registers:
    """A unit that answers from a list, whatever is in it."""

    def __init__(self, base, registers):
        self.base = base
        self.registers = registers

    def read(self, table, address, count):
        first = address - self.base
        if table is not Table.HOLDING or first < 0 or first + count > len(self.registers):
            raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
        return self.registers[first : first + count]

    def write(self, table, address, values):
        first = address - self.base
        self.registers[first : first + len(values)] = values


def pysunspec2_image():
    """A map that pysunspec2 encodes, of a unit with other scale factors and many points left out."""
    device = sunspec2.device.Device()
    contents = {
        1: {"Mn": "Another maker", "Md": "ESS 50", "Vr": "7.1", "SN": "A-17", "DA": 1},
        103: {"DCV": 7125, "DCV_SF": -1, "DCW": -2310, "DCW_SF": 1, "St": 4},
        # A model that this driver does not know stands in the middle and is skipped.
        122: {"PVConn": 1},
        123: {"Conn": 1, "WMaxLimPct": 1000, "WMaxLimPct_SF": -1, "WMaxLim_Ena": 0},
        701: {
            "ACType": 2, "InvSt": 4, "ConnSt": 1, "Alrm": (1 << 7) | (1 << 11), "DERMode": 1,
            "W": -2300, "W_SF": 1, "Var": 15, "Var_SF": 1, "A": 8012, "A_SF": -2,
            "LNV": 2871, "V_SF": -1, "Hz": 5001, "Hz_SF": -2,
        },
        702: {"WMaxRtg": 500, "WChaRteMaxRtg": 300, "W_SF": 2, "WMax": 450},
        704: {"WSetEna": 1, "WSetMod": 0, "WSet": 0, "WSet_SF": 1, "WSetPct": -400, "WSetPct_SF": -1},
    }  # fmt: skip
    for number, values in contents.items():
        device.add_model(sunspec2.device.Model(model_id=number, data={"ID": number, **values}))
    octets = b"SunS" + device.get_mb() + b"\xff\xff\x00\x00"
    return [int.from_bytes(octets[place : place + 2], "big") for place in range(0, len(octets), 2)]
