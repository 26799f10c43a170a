"""A run that discharges kilowatts on a rig in another process, whose plant writes what really happens."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.clock import run_wall
from harness.rig.bench import Bench, Setup, open_bench
from harness.rig.files import load_product, load_rig

from ..processes import (
    FOR_ALL_PLANS,
    LAB1,
    LFP_RACK,
    Ended,
    Home,
    changed,
    drill,
    finish,
    kill,
    until_served,
    wait_until,
)

PLAN = """
import asyncio, ctypes, os, resource, signal, socket, time
from pathlib import Path

import pytest

from harness.plans import plan
from rackproof_fixtures.steps import energise

HERE = Path(__file__).parent


def setup_module():
    {module_set_up}


def teardown_module():
    {module_clean_up}


@pytest.fixture
def set_up():
    {set_up}
    yield
    {clean_up}


@plan("EN-01", "discharges", hazard="energises", measures=("alive",), limit_s=500.0)
async def test_discharges(grid, inverter, battery, set_up, judge):
    await energise(grid, inverter, f0_hz=60.0)
    await inverter.restore({settings})
    await inverter.set_power_w(5000.0)
    while abs((await battery.current_a()).value) < 80.0:
        await asyncio.sleep(0.1)
    (HERE / "begins").write_text(repr(time.monotonic()))
    (HERE / "begins").rename(HERE / "flows")
    {ending}
    await asyncio.sleep(60.0)


@plan("EN-02", "comes after", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_comes_after(judge):
    judge("alive", True, "rackproof_bench.is_true")
"""

GONE_WITHIN_S = 8.0
"""From the ending to no current: the longest stale rule (3 s), the fence, the recipe, and a busy machine."""


@dataclass
class World:
    """A rig in another process, its truth, and a run on it."""

    home: Home
    rig: Path
    emulators: subprocess.Popen[str]
    truth: Path
    run: subprocess.Popen[str]
    runs: Path

    def drill(self, words: str) -> None:
        """Do something to the rig, and wait until it is done."""
        drill(self.emulators, words)

    def guard_pid(self) -> int:
        """The guard's process, by its own journal."""
        (journal,) = self.runs.glob("20*/guard.jsonl")
        pid = json.loads(journal.read_text().splitlines()[0])[3]["pid"]
        assert isinstance(pid, int)
        return pid

    def settings(self) -> Mapping[str, float]:
        """The product's settings, read over a wire of one's own."""
        setup = Setup(rig=load_rig(self.rig), product=load_product(LFP_RACK), f0_hz=60.0)

        async def read() -> Mapping[str, float]:
            bench: Bench
            async with open_bench(setup, emulate=False, only=frozenset({"pcs"})) as bench:
                found: Mapping[str, float] = await bench.role("inverter").settings()
                return found

        return run_wall(read)

    def is_now(self, last: int = 0) -> list[dict[str, Any]]:
        """All that was true until now, oldest first, or the last lines; times are of the monotonic clock."""
        lines = self.truth.read_text().splitlines()
        whole = []
        for line in lines[-last:]:
            with contextlib.suppress(ValueError):
                whole.append(json.loads(line))
        return whole

    def ends(self) -> Ended:
        return finish(self.run, self.runs)


@contextlib.contextmanager
def world(
    home: Home,
    *changes: tuple[str, str],
    begins: bool = True,
    settings: Mapping[str, float] | None = None,
    **code: str,
) -> Iterator[World]:
    """Discharge on a rig of its own until the block's end.

    Args:
        home: of all its processes.
        changes: of the rig file.
        begins: whether current will flow: the block begins once it does.
        settings: that the plan changes before.
        code: at its place in ``PLAN``; nothing where it is not given.
    """
    rig, truth = home.path / "emulated.toml", home.path / "truth.jsonl"
    source = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS, *changes)
    places = ("module_set_up", "module_clean_up", "set_up", "clean_up", "ending")
    text = PLAN.format(settings=settings or {}, **(dict.fromkeys(places, "pass") | code))
    command = ("harness.cli", "emulate", source, "--write", rig, "--truth", truth, "--drill")
    emulators = home.start(*command, stdin=subprocess.PIPE)
    run: subprocess.Popen[str] | None = None
    try:
        assert str(rig) in until_served(emulators)
        assert home.rackproof("arm", rig, "--person", "A. Tester", "--minutes", "10").code == 0
        plans = home.plans(text)
        command, runs = home.pytest_command(*plans, f"--rig={rig}")
        run = home.start(*command)
        stand = World(home, rig, emulators, truth, run, runs)
        if begins:
            wait_until(run, (home.path / "plans" / "flows").exists)
        yield stand
    finally:
        for process in (run, emulators):
            if process is not None:
                kill(process)


def wait_for_rest(stand: World, within_s: float = 30.0) -> None:
    """Wait until the truth has stood still at no current for a moment: whoever acts has acted."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        last = stand.is_now(last=2)[-1]["is"]  # the very last may not be whole
        if abs(last["battery_current_a"]) < 0.5 and not last["contactor_closed"] and not last["source_on"]:
            return
        time.sleep(0.05)
    raise AssertionError(f"still {stand.is_now()[-1]['is']} after {within_s:g} s")


def drills(*words: str) -> Callable[[World], None]:
    """Give what does one drill after another."""

    def do(stand: World) -> None:
        for each in words:
            stand.drill(each)

    return do


def since_s(truth: Sequence[dict[str, Any]], holds: Callable[[dict[str, Any]], bool]) -> float:
    """Since when something holds for good, on the truth's clock."""
    last = max((place for place, each in enumerate(truth) if not holds(each["is"])), default=-1)
    at_s: float = truth[last + 1]["at_s"]
    return at_s


def opened_at_a(truth: Sequence[dict[str, Any]]) -> list[float]:
    """The currents that the contactor broke, by the sample before it was open."""
    return [
        abs(before["is"]["battery_current_a"])
        for before, after in pairwise(truth)
        if before["is"]["contactor_closed"] and not after["is"]["contactor_closed"]
    ]


def wait_for_seal(ended: Ended, within_s: float = 30.0) -> Path:
    """Wait until the run is sealed, by whoever is left to do it."""
    end_s = time.monotonic() + within_s
    while not (ended.folder / "logbook.json").exists():
        assert time.monotonic() < end_s, ended.said
        time.sleep(0.05)
    return ended.folder
