"""Equal runs make equal records, byte for byte, whatever else the machine does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..processes import Ended, Home, busy_loops, side_by_side

ON_LAB1 = ("testplans", "--rig=lab1", "--emulate")
THREE = "CM-06 or (RT-01 and (60Hz-20 or 50Hz-0))"
LAST = "RT-01 and 50Hz-0"
"""Runs last of the three: whatever the others left behind would show in it."""


def record(ended: Ended) -> bytes:
    return (ended.folder / "record.json").read_bytes()


def of_plan(ended: Ended, plan: str) -> dict:
    """One plan's part of the record: its entries with their hashes, and its head."""
    (found,) = (each for each in json.loads(record(ended))["plans"] if each["plan"] == plan)
    return found


def run_all(folder: Path, *choices: str, also: tuple[str, ...] = ()) -> list[Ended]:
    homes = [Home(folder / str(number)) for number, _ in enumerate(choices)]
    works = [
        lambda home=home, choice=choice: home.pytest(*ON_LAB1, "-k", choice, *also)
        for home, choice in zip(homes, choices, strict=True)
    ]
    return [future.result() for future in side_by_side(works)]


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> list[Ended]:
    """Two equal runs of three short plans, and one of the last of them alone."""
    return run_all(tmp_path_factory.mktemp("idle"), THREE, THREE, LAST)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> list[Ended]:
    """The three plans and the last of them alone, beside six endless loops."""
    with busy_loops(6):
        return run_all(tmp_path_factory.mktemp("busy"), THREE, LAST)


def test_the_three_plans_pass(idle):
    """What is compared below are whole plans, and no three equal errors."""
    assert idle[0].verdicts == {"CM-06": "PASS", "RT-01[60Hz-20pct]": "PASS", "RT-01[50Hz-0pct]": "PASS"}


def test_records_of_two_runs_are_equal_byte_for_byte(idle):
    assert record(idle[0]) == record(idle[1])


def test_a_plan_alone_has_the_same_record_as_in_the_whole_run(idle):
    assert of_plan(idle[2], "RT-01[50Hz-0pct]") == of_plan(idle[0], "RT-01[50Hz-0pct]")


def test_beside_six_busy_loops_the_record_is_the_same(idle, busy):
    assert record(busy[0]) == record(idle[0])
    assert of_plan(busy[1], "RT-01[50Hz-0pct]") == of_plan(idle[0], "RT-01[50Hz-0pct]")


def test_what_differs_between_two_runs_stands_in_the_logbook(idle):
    """Two equal records are two runs all the same: neither is a copy of the other."""
    first, second = (json.loads((ended.folder / "logbook.json").read_bytes()) for ended in idle[:2])
    assert first["run_id"] != second["run_id"]
    assert first["record_head"] == second["record_head"]


@pytest.mark.parametrize("fault", ["silent:grid", "silent:pcs"])
def test_runs_that_end_in_errors_are_equal_too(tmp_path, fault):
    """Their messages name addresses, and the record leaves the ports of a loopback out."""
    first, second = run_all(tmp_path, LAST, LAST, also=(f"--seed-fault={fault}",))
    assert set(first.verdicts.values()) == {"ERROR"}
    assert record(first) == record(second)


def test_another_seed_makes_another_record(tmp_path, idle):
    """Noise and spread come of the seed, so equality above is not for want of chance."""
    (other,) = run_all(tmp_path, LAST, also=("--seed=2",))
    assert set(other.verdicts.values()) == {"PASS"}
    assert of_plan(other, "RT-01[50Hz-0pct]")["head"] != of_plan(idle[0], "RT-01[50Hz-0pct]")["head"]
