"""A project with one rig, and drivers that are declarations alone."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from harness.errors import ConfigurationError
from harness.rig.driver_folders import FindDriver
from harness.rig.files import load_product, load_rig
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile
from harness.rig.toml_file import toml_text, unknown
from harness.roles import SafetyInputs, Watchdog

REPOSITORY = Path(__file__).parents[2]

RIG = """
name = "small"
station = "bay 1"
product = "lfp_rack"
site = "osaka"
frequencies_hz = [60, 50]
nominal_voltage_v = 115.47
phases = 3
allowed_hazards = ["reads", "energises"]
seed = 7

[wires.can0]
kind = "can"
interface = "socketcan"
channel = "can0"

[wires.lan]
kind = "modbus_tcp"
host = "192.0.2.10"
port = 1502

[wires.source]
kind = "visa"
resource = "TCPIP0::192.0.2.11::5025::SOCKET"

[devices.bms]
driver = "pack"
wire = "can0"
role = "battery"
options = {period_s = 1.0, ids = [1, 2]}
calibration_due = 2027-03-31

[devices.pcs]
driver = "converter"
wire = "lan"
unit = 1
role = "inverter"
hears = "can0"

[devices.relay]
driver = "relay"
wire = "lan"
unit = 2
role = "fault_inserter"
protective = true
options = {faults = {bms_can_open = 3}}

[devices.shunt]
driver = "shunt"
wire = "can0"
role = "dc_sensor"
protective = true

[devices.safety]
driver = "coupler"
wire = "lan"
unit = 3
role = "safety_inputs"
protective = true
options = {inputs = {e_stop_released = 1, contactor = 2}, outputs = {chain = 1, battery = 2}}

[devices.grid]
driver = "source"
wire = "source"
role = "grid_source"

[topology.source]
device = "grid"
power_w = 15000.0
can_sink = true
sink_power_w = 15000.0
r_ohm = 0.02
x_ohm = 0.02
rise_time_s = 0.0002

[topology.critical_load]
power_w = 3000.0

[topology.systems.ac]
nodes = ["grid_ac", "pcs_ac", "load_ac"]
earthing = "TN-S"

[topology.systems.dc]
nodes = ["battery_dc"]
earthing = "IT"
insulation_monitors = ["bench"]

[topology.faults.bms_can_open]
device = "relay"
wire = "can0"
lead = "bms"

[topology.safety_chain]
device = "safety"
chain = "chain"
battery_enable = "battery"
contactor_feedback = "contactor"

[triggers.sag]
from_device = "grid"
to_device = "relay"
skew_s = 1e-5

[envelope.battery_voltage_v]
value = [40.0, 58.4]
within_s = 0.2

[envelope.battery_current_a]
value = 260.0
within_s = 0.2

[envelope.stale_s]
value = 0.5
within_s = 0.5

[interlock]
actuator_s = 0.05
contacts = ["safety.e_stop_released"]

[interlock.watch]
battery_voltage_v = ["shunt.voltage_v"]
battery_current_a = ["shunt.current_a"]

[interlock.periods_s]
shunt = 0.04
safety = 0.05

[safe_state]
break_current_a = 5.0
current = "shunt.current_a"

[safe_state.verified.battery_current]
sensors = ["shunt.current_a", "bms.current_a"]
at_most = 1.0

[safe_state.hardware_layers.watchdog]
device = "safety"
timeout_s = 1.0
measured_s = 1.1
what = "drops the chain"
"""


class PackOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    period_s: float = Field(default=1.0, gt=0.0)
    ids: list[int] = []


class NoOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UnitOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: int


class RelayOptions(UnitOptions):
    faults: dict[str, int]


class CouplerOptions(UnitOptions):
    inputs: dict[str, int]
    outputs: dict[str, int]


class MeterOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    node: str

    @property
    def measured_nodes(self) -> list[str]:
        return [self.node]


class ConverterDriver:
    heartbeat: Watchdog


@dataclass(frozen=True)
class Declared:
    """A driver's folder that says what it is, and has nothing behind it."""

    ROLE: str
    WIRE: str
    Options: type[BaseModel] = NoOptions
    TRIED: str = "never on hardware"
    Driver: Callable[..., Any] = object
    Emulator: Callable[..., Any] = object


DECLARED = {
    "pack": Declared("battery", "can", PackOptions),
    "converter": Declared("inverter", "modbus_tcp", UnitOptions, Driver=ConverterDriver),
    "meter": Declared("power_analyzer", "visa", MeterOptions),
    "relay": Declared("fault_inserter", "modbus_tcp", RelayOptions),
    "shunt": Declared("dc_sensor", "can"),
    "source": Declared("grid_source", "visa"),
    "coupler": Declared("safety_inputs", "modbus_tcp", CouplerOptions, Driver=SafetyInputs),
}


def find_declared(name: str) -> Declared:
    if name not in DECLARED:
        raise ConfigurationError(unknown("driver", name, DECLARED))
    return DECLARED[name]


class Project:
    """A project's folder with rig files in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rigs = root / "fixtures" / "rigs"
        for kind in ("rigs", "products", "sites"):
            (root / "fixtures" / kind).mkdir(parents=True)
        for path in ("products/lfp_rack.toml", "sites/osaka.toml"):
            (root / "fixtures" / path).write_text((REPOSITORY / "fixtures" / path).read_text())
        self.write("small", self.table())

    def table(self) -> dict[str, Any]:
        return copy.deepcopy(tomllib.loads(RIG))

    def write(self, name: str, table: dict[str, Any]) -> None:
        (self.rigs / f"{name}.toml").write_text(toml_text(table))

    def load(self, table: dict[str, Any]) -> RigFile:
        self.write("small", table)
        return load_rig("small", self.root, find_driver=find_declared)

    def mistakes(self, table: dict[str, Any]) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            self.load(table)
        return list(caught.value.mistakes)


@pytest.fixture
def find_driver() -> FindDriver:
    return find_declared


@pytest.fixture
def lfp_rack() -> ProductFile:
    return load_product("lfp_rack", REPOSITORY)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
