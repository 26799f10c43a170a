"""With one seeded fault at a time, none of the six plans passes: a check that cannot fail proves nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from xml.etree import ElementTree as ET

import pytest

from harness.record.record import read_document
from harness.rig.files import load_rig

from ..processes import FOR_ALL_PLANS, LAB1, Ended, Home, changed, side_by_side

PLANS = {"CC-02", "CC-03", "CM-06", "FO-15", "RT-08"} | {
    f"RT-01[{f0_hz}Hz-{residual}pct]" for f0_hz in (50, 60) for residual in (0, 20)
}
"""The six plans, RT-01 in its four forms."""

FAULTS: Mapping[str, str] = {
    "dead:pcs": r"pcs \(sunspec_storage\).*no answer",
    "powerless:pcs": r"pcs\.ac_power_w is",
    "frozen:bms": r"telemetry \[battery",
    "frozen:pcs": r"pcs\.",
    "frozen:analyzer": r"against the analyzer",
    "frozen:grid": r"source.s voltage against",
    "frozen:recorder": r"recorder.s .* against",
    "swapped:pcs": r"pcs\.|telemetry \[converter",
    "swapped:bms": r"telemetry \[battery",
    "swapped:analyzer": r"against the analyzer",
    "swapped:recorder": r"recorder.s power against",
    "frozen:shunt": r"current sensor.s current against|interlock: shunt\.current_a is",
    "swapped:shunt": r"current sensor.s current against|interlock: shunt\.current_a is",
    "silent:bms": r"bms\b",
    "silent:analyzer": r"analyzer \(yokogawa_wt1800e\).*no complete answer",
    "silent:recorder": r"recorder \(generic_daq\).*no complete answer",
    "silent:grid": r"grid \(ametek_sequoia\).*no complete answer",
}
"""Each fault, and what every plan's message has to say: the fault was caught, and not something else."""
ONE_PLAN = {
    "frozen:relay": ("CM-06", r"relay: insert.* answered and not done"),
}
"""Faults of a device that the other plans do not look at, and what the plan that does has to say."""
CONTACTOR = """
import asyncio

from harness.plans import plan


@plan("SA-01", "its feedback follows", hazard="energises", measures=("open", "closed"), limit_s=60.0)
async def test_follows(bench, judge):
    for measure, is_on in (("open", False), ("closed", True)):
        await bench.devices["safety"].set_output("battery_enable", is_on=is_on)
        await asyncio.sleep(5.0)
        inputs = (await bench.devices["safety"].inputs()).value
        judge(measure, inputs["battery_contactor_closed"] is is_on, "rackproof_bench.is_true")
"""
"""No plan of the project moves the safety chain: on the wall clock it is the guard's."""


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Future[Ended]]:
    """One process a fault that was chosen, two at a time; each runs all plans to their first miss."""
    chosen = [
        item.callspec.params["fault"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and hasattr(item, "callspec")
        and "fault" in item.callspec.params
    ]
    faults = list(dict.fromkeys(chosen))

    def run(fault: str) -> Callable[[], Ended]:
        home = Home(tmp_path_factory.mktemp(re.sub(r"\W", "_", fault)))
        choice = ("-k", ONE_PLAN[fault][0]) if fault in ONE_PLAN else ()
        return lambda: home.pytest("testplans", "--rig=lab1", "--emulate", f"--seed-fault={fault}", *choice)

    return dict(zip(faults, side_by_side([run(fault) for fault in faults]), strict=True))


@pytest.mark.parametrize("fault", [*FAULTS, *ONE_PLAN])
def test_no_plan_passes_with_a_seeded_fault(runs, fault):
    ended = runs[fault].result()
    expected = {ONE_PLAN[fault][0]} if fault in ONE_PLAN else PLANS
    assert set(ended.verdicts) == expected
    passed = {
        plan
        for plan, verdict in ended.verdicts.items()
        if verdict not in {"ABORTED", "FAIL", "ERROR", "INCONCLUSIVE"}
    }
    assert passed == set()
    assert ended.code == 1
    junit = ET.parse(ended.folder / "junit.xml").getroot()  # noqa: S314 - our own
    assert int(junit.get("failures", "0")) + int(junit.get("errors", "0")) == len(expected)


@pytest.mark.parametrize("fault", [*FAULTS, *ONE_PLAN])
def test_each_plan_says_what_the_fault_shows(runs, fault):
    """A plan that ends for another reason has not caught this fault."""
    said = runs[fault].result().messages
    pattern = ONE_PLAN[fault][1] if fault in ONE_PLAN else FAULTS[fault]
    assert {plan: message for plan, message in said.items() if not re.search(pattern, message)} == {}


@pytest.mark.parametrize(
    ("sown", "verdict", "said"), [((), "PASS", ""), (("--seed-fault=frozen:safety",), "ERROR", "safety: ")]
)
def test_a_plan_that_moves_the_safety_chain_finds_it_frozen(tmp_path, sown, verdict, said):
    home = Home(tmp_path)
    rig = changed(LAB1, tmp_path / "lab1.toml", FOR_ALL_PLANS)
    ended = home.pytest(*home.plans(CONTACTOR), f"--rig={rig}", "--emulate", *sown)
    assert ended.verdicts == {"SA-01": verdict}
    assert ended.messages["SA-01"].startswith(said)


def test_frozen_telemetry_of_each_device_is_tried():
    """A device that joins the rig joins this list."""
    tried = {fault for fault in (*FAULTS, *ONE_PLAN, "frozen:safety") if fault.startswith("frozen:")}
    assert tried == {f"frozen:{device}" for device in load_rig(str(LAB1)).devices}


def test_a_frozen_relay_is_told_from_a_battery_that_would_not_be_silenced(runs):
    """CM-06 finds that its stimulus missed, which is the bench's fault."""
    ended = runs["frozen:relay"].result() if "frozen:relay" in runs else pytest.skip("not chosen")
    assert ended.verdicts == {"CM-06": "ERROR"}


@pytest.mark.parametrize("fault", ["silent:analyzer", "silent:recorder", "silent:grid"])
def test_an_instrument_that_is_silent_is_never_held_against_the_product(runs, fault):
    assert set(runs[fault].result().verdicts.values()) == {"ERROR"}


def test_a_seeded_fault_is_written_wherever_a_reader_looks(runs):
    """A run on a broken world must never be taken for one on a sound world."""
    for fault, future in runs.items() or pytest.skip("none chosen"):
        ended = future.result()
        header, summary = re.findall(f"^seeded faults: {fault}: (.+)$", ended.out, re.MULTILINE)
        assert header == "a plan that looks there and passes is a defect"
        assert summary == "these verdicts judge the plans, no product"
        assert f"<strong>Seeded faults: {fault}.</strong>" in (ended.folder / "report.html").read_text()
        junit = ET.parse(ended.folder / "junit.xml").getroot()  # noqa: S314 - our own
        (property_,) = junit.findall(".//testsuite/properties/property[@name='seeded_faults']")
        assert property_.get("value") == fault
        assert read_document(ended.folder / "logbook.json")["seeded_faults"] == [fault]
        assert ended.record.seeded_faults == (fault,)
