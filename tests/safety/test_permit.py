"""What would energise without a guard, or beyond the envelope, never reaches the wire."""

from __future__ import annotations

import pytest

from harness.errors import Unsafe
from harness.rig.files import load_product, load_rig
from harness.roles import GridStep
from harness.safety.permit import Permit

from ..processes import FOR_ALL_PLANS, LAB1, changed


class Wire:
    """Takes what is sent."""

    def __init__(self, why_not: str) -> None:
        self.sent: list[str] = []
        rig = load_rig(LAB1)
        self.permit = Permit(
            rig, load_product("lfp_rack"), lambda: why_not, lambda command, _, __: self.sent.append(command)
        )

    def send(self, command: str, asked: object = None) -> None:
        self.permit(command, 1.0, asked)


ENERGISING = [
    ("pcs.turn_on", None),
    ("pcs.set_power_w", 1000.0),
    ("pcs.set_power_w", -1.0),
    ("grid.turn_on", None),
    ("grid.set_voltage_v", 115.0),
    ("grid.start_profile", None),
    ("relay.insert", "bms_can_open"),
    ("safety.set_output", {"chain": True}),
]
HARMLESS = [
    ("pcs.turn_off", None),
    ("pcs.set_power_w", 0.0),
    ("pcs.restore", {"704.WMaxLimPct": 100.0}),
    ("safety.set_output", {"chain": False}),
    ("grid.turn_off", None),
    ("grid.stop_profile", None),
    ("relay.remove", "bms_can_open"),
    ("analyzer.start_integration", None),
    ("recorder.arm", {"before_s": 1.0}),
]


@pytest.mark.parametrize(("command", "asked"), ENERGISING)
def test_nothing_is_energised_without_a_guard(command, asked):
    wire = Wire("no guard stands beside this run")
    with pytest.raises(Unsafe, match=r"refused before it was sent: no guard stands beside this run"):
        wire.send(command, asked)
    assert wire.sent == []


@pytest.mark.parametrize(("command", "asked"), HARMLESS)
def test_what_switches_off_or_measures_always_passes(command, asked):
    wire = Wire("no guard stands beside this run")
    wire.send(command, asked)
    assert wire.sent == [command]


@pytest.mark.parametrize(("command", "asked"), ENERGISING)
def test_with_a_guard_all_of_it_passes(command, asked):
    wire = Wire("")
    wire.send(command, asked)
    assert wire.sent == [command]


@pytest.mark.parametrize(
    ("command", "inside", "outside", "limit"),
    [
        # 280 A at the product's lowest 43.2 V.
        ("pcs.set_power_w", 12096.0, 12097.0, "envelope.battery_current_a"),
        ("pcs.set_power_w", -12096.0, -12097.0, "envelope.battery_current_a"),
        ("grid.set_voltage_v", 145.0, 145.1, "envelope.ac_voltage_v"),
        (
            "grid.load_profile",
            (GridStep(1.0, (1.2, 1.0, 1.0), 60.0),),
            (GridStep(1.0, (1.0, 1.0, 1.0), 60.0), GridStep(0.1, (1.0, 1.26, 1.0), 60.0)),
            "envelope.ac_voltage_v",
        ),
    ],
)
def test_a_command_beyond_the_envelope_is_not_sent(command, inside, outside, limit):
    wire = Wire("")
    wire.send(command, inside)
    with pytest.raises(Unsafe, match=limit):
        wire.send(command, outside)
    assert wire.sent == [command]


FIXTURE_THAT_ENERGISES = """
import pytest_asyncio

from harness.plans import plan
from rackproof_fixtures.steps import energise


@pytest_asyncio.fixture(loop_scope="function")
async def running(grid, inverter):
    await energise(grid, inverter, f0_hz=60.0)
    raise ValueError("nobody would come to rest now")


@plan("FX-01", "runs already", hazard="energises", measures=("alive",), limit_s=60.0)
async def test_runs_already(running, judge):
    judge("alive", True, "rackproof_bench.is_true")
"""


def test_a_fixture_cannot_energise(home):
    """One that raised would leave the rig running: only a plan's own function ends at rest."""
    rig = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)
    ended = home.pytest(*home.plans(FIXTURE_THAT_ENERGISES), f"--rig={rig}", "--emulate")
    assert ended.verdicts == {"FX-01": "ERROR"}
    assert "grid.set_frequency_hz(60.0) refused" in ended.messages["FX-01"]
    assert "no plan runs: fixtures prepare" in ended.messages["FX-01"]


READS_AND_ENERGISES = """
import pytest

from harness.errors import Unsafe
from harness.plans import plan
from rackproof_fixtures.steps import energise


@plan("RD-01", "delivers", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_delivers(grid, inverter, judge):
    await energise(grid, inverter, f0_hz=60.0)
    await inverter.set_power_w(10_000.0)
    judge("alive", True, "rackproof_bench.is_true")


@plan("RD-02", "tries all that energises", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_tries(bench, inverter, grid, fault_inserter, judge):
    for command in (
        inverter.turn_on(),
        inverter.set_power_w(-1.0),
        grid.turn_on(),
        fault_inserter.insert("bms_can_open"),
        bench.devices["safety"].set_output("chain", is_on=True),
    ):
        with pytest.raises(Unsafe):
            await command
    await inverter.set_power_w(0.0)
    await inverter.turn_off()
    judge("alive", bench.far_side.plant.converter.power_w == 0.0, "rackproof_bench.is_true")


@plan("EN-01", "energises", hazard="energises", measures=("alive",), limit_s=60.0)
async def test_energises(grid, judge):
    await grid.turn_on()
    judge("alive", True, "rackproof_bench.is_true")
"""


def test_a_plan_that_says_it_reads_energises_nothing_in_virtual_time_either(home):
    """A hazard that only hardware checks is found wrong on the day on which it matters."""
    rig = changed(
        LAB1, home.path / "lab1.toml", FOR_ALL_PLANS, ('["reads", "energises", "stresses"]', '["reads"]')
    )
    ended = home.pytest(*home.plans(READS_AND_ENERGISES), f"--rig={rig}", "--emulate")
    assert ended.verdicts == {"RD-01": "ERROR", "RD-02": "PASS", "EN-01": "ERROR"}
    assert "refused before it was sent: the hazard of plan RD-01 is 'reads'" in ended.messages["RD-01"]
    assert "hazard 'energises'; rig lab1 allows reads" in ended.messages["EN-01"]
    sent = [
        entry["body"] for plan in ended.record.plans for entry in plan.entries if entry["kind"] == "command"
    ]
    assert [(each["command"], each["asked"]) for each in sent] == [
        ("pcs.set_power_w", 0.0),
        ("pcs.turn_off", None),
    ]
