"""However a run ends, the rig is off, that is verified, and it is on record.

Each row ends a run that discharges kilowatts on a rig in another process, whose plant writes what really
happens: which current flows, whether the contactor is closed, and what it broke when it opened. The guard's
own word is compared with that truth.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..processes import (
    FOR_ALL_PLANS,
    LAB1,
    Ended,
    Home,
    changed,
    drill,
    finish,
    kill,
    side_by_side,
    until_served,
    wait_until,
)

PLAN = """
import asyncio, ctypes, os, resource, signal, time
from pathlib import Path

import pytest

from harness.plans import plan
from rackproof_fixtures.steps import energise

HERE = Path(__file__).parent


@pytest.fixture
def set_up():
    {set_up}
    yield
    {clean_up}


@plan("EN-01", "discharges", hazard="energises", measures=("alive",), limit_s=500.0)
async def test_discharges(grid, inverter, battery, set_up, judge):
    await energise(grid, inverter, f0_hz=60.0)
    await inverter.set_power_w(5000.0)
    while abs((await battery.current_a()).value) < 80.0:
        await asyncio.sleep(0.1)
    (HERE / "flows").touch()
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

    def is_now(self) -> list[dict[str, Any]]:
        """All that was true until now, oldest first; times are of the monotonic clock."""
        lines = self.truth.read_text().splitlines()
        whole = []
        for line in lines:
            with contextlib.suppress(ValueError):
                whole.append(json.loads(line))
        return whole

    def ends(self) -> Ended:
        return finish(self.run, self.runs)


@contextlib.contextmanager
def world(
    home: Home, ending: str = "pass", *, set_up: str = "pass", clean_up: str = "pass"
) -> Iterator[World]:
    """Discharge on a rig of its own until the block's end; begins once the current flows."""
    rig, truth = home.path / "emulated.toml", home.path / "truth.jsonl"
    source = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)
    command = ("harness.cli", "emulate", source, "--write", rig, "--truth", truth, "--drill")
    emulators = home.start(*command, stdin=subprocess.PIPE)
    run: subprocess.Popen[str] | None = None
    try:
        assert str(rig) in until_served(emulators)
        assert home.rackproof("arm", rig, "--person", "A. Tester", "--minutes", "10").code == 0
        plans = home.plans(PLAN.format(ending=ending, set_up=set_up, clean_up=clean_up))
        command, runs = home.pytest_command(*plans, f"--rig={rig}")
        run = home.start(*command)
        stand = World(home, rig, emulators, truth, run, runs)
        if set_up == "pass":
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
        last = stand.is_now()[-1]["is"]
        if abs(last["battery_current_a"]) < 0.5 and not last["contactor_closed"] and not last["source_on"]:
            return
        time.sleep(0.05)
    raise AssertionError(f"still {stand.is_now()[-1]['is']} after {within_s:g} s")


def opened_at_a(truth: Sequence[dict[str, Any]]) -> list[float]:
    """The currents that the contactor broke, by the sample before it was open."""
    return [
        abs(before["is"]["battery_current_a"])
        for before, after in pairwise(truth)
        if before["is"]["contactor_closed"] and not after["is"]["contactor_closed"]
    ]


@dataclass(frozen=True)
class Row:
    """One way to end, and what has to come.

    Attributes:
        name: of the way.
        ending: code within the plan.
        from_outside: what is done to the world while the plan waits.
        set_up: code of a fixture before the plan.
        clean_up: code of a fixture after it.
        code: of pytest's exit.
        verdict: of the plan.
        said: in the plan's message.
        is_verified: whether the rig is known to be safe; else it is closed for the next run.
        has_guard: whether a guard lived long enough to say so.
        breaks_at_most_a: current that the contactor may have opened under: none under load, but where
            nothing is left to the harness the chain's own breaker acts.
    """

    name: str
    code: int
    verdict: str
    said: str
    ending: str = "await asyncio.sleep(120.0)"
    from_outside: Callable[[World], None] | None = None
    set_up: str = "pass"
    clean_up: str = "pass"
    is_verified: bool = True
    has_guard: bool = True
    breaks_at_most_a: float = 10.0


def sends(number: signal.Signals) -> Callable[[World], None]:
    return lambda stand: stand.run.send_signal(number)


def drills(*words: str) -> Callable[[World], None]:
    def do(stand: World) -> None:
        for each in words:
            stand.drill(each)

    return do


def kills_guard(stand: World) -> None:
    os.kill(stand.guard_pid(), signal.SIGKILL)


def kills_and_restores_power(stand: World) -> None:
    stand.drill("mains off")
    stand.run.send_signal(signal.SIGKILL)
    stand.drill("mains on")


def after(words: str, number: signal.Signals) -> Callable[[World], None]:
    def do(stand: World) -> None:
        stand.drill(words)
        stand.run.send_signal(number)

    return do


def tells_guard(stand: World) -> None:
    os.kill(stand.guard_pid(), signal.SIGTERM)


KILLED = "the run ended within this plan: its process was killed"
KEYBOARD = "stopped from the keyboard"
NO = 'raise ValueError("no")'
JUDGED = "judge('alive', True, 'rackproof_bench.is_true'); return"
GREEDY = "resource.setrlimit(resource.RLIMIT_AS, (1 << 31, -1)); bytearray(1 << 32)"
FULL = "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, -1)); await battery.voltage_v()"
CHAIN = {"breaks_at_most_a": 200.0}
"""Where the chain acts: its breaker is rated for the battery's full current."""

ROWS = [
    Row("SIGINT", 2, "ABORTED", KEYBOARD, from_outside=sends(signal.SIGINT)),
    Row("SIGTERM", 2, "ABORTED", KEYBOARD, from_outside=sends(signal.SIGTERM)),
    Row("SIGHUP", 2, "ABORTED", KEYBOARD, from_outside=sends(signal.SIGHUP)),
    Row("SIGKILL", -9, "ABORTED", KILLED, from_outside=sends(signal.SIGKILL)),
    Row("SIGSTOP", -9, "ABORTED", KILLED, from_outside=sends(signal.SIGSTOP)),
    Row("an exception in the plan", 1, "ERROR", "ValueError: no", ending=NO),
    Row("an exception in set-up", 1, "ERROR", "ValueError: no", set_up=NO, has_guard=False),
    Row("an exception in clean-up", 1, "ERROR", "ValueError: no", ending=JUDGED, clean_up=NO),
    Row("os._exit", 3, "ABORTED", KILLED, ending="os._exit(3)"),
    Row("a crash of the interpreter", -11, "ABORTED", KILLED, ending="ctypes.string_at(0)"),
    Row("a hung event loop", -9, "ABORTED", KILLED, ending="while True: pass"),
    Row("a blocked event loop", -9, "ABORTED", KILLED, ending="time.sleep(300.0)"),
    Row("out of memory", 1, "ERROR", "MemoryError", ending=GREEDY),
    # Its last word was lost with the disk; the guard, which has its own files, seals the run.
    Row("a full disk", 1, "ABORTED", KILLED, ending=FULL),
    Row("a cut cable to the battery", 1, "ABORTED", "bms.* is silent", from_outside=drills("silent bms on")),
    Row(
        "a cut cable to the converter",
        1,
        "ABORTED",
        "door_closed is off",
        from_outside=drills("silent pcs on", "input safety.door_closed off"),
        **CHAIN,
    ),
    Row(
        "a cut cable to the shunt",
        1,
        "ABORTED",
        "shunt.* is silent",
        from_outside=drills("silent shunt on"),
        **CHAIN,
    ),
    Row(
        "a cut cable to the safety chain",
        1,
        "ABORTED",
        "safety.inputs is silent",
        from_outside=drills("silent safety on"),
        is_verified=False,
        **CHAIN,
    ),
    Row(
        "a cut cable to the source",
        2,
        "ABORTED",
        KEYBOARD,
        from_outside=after("silent grid on", signal.SIGINT),
        **CHAIN,
    ),
    Row(
        "an instrument that hangs",
        -9,
        "ABORTED",
        KILLED,
        from_outside=after("silent analyzer on", signal.SIGKILL),
    ),
    Row(
        "a door that opens",
        1,
        "ABORTED",
        "safety.door_closed is off",
        from_outside=drills("input safety.door_closed off"),
        **CHAIN,
    ),
    Row(
        "the E-stop",
        1,
        "ABORTED",
        "safety.e_stop_released is off",
        from_outside=drills("input safety.e_stop_released off"),
        **CHAIN,
    ),
    Row(
        "a current beyond the envelope",
        1,
        "ABORTED",
        r"shunt.current_a is 4\d\d",
        from_outside=drills("disturb shunt.current_a 400"),
        is_verified=False,
        **CHAIN,
    ),
    Row(
        "a guard that is killed",
        1,
        "ABORTED",
        "the guard died",
        from_outside=kills_guard,
        has_guard=False,
        **CHAIN,
    ),
    Row("a guard that is told to", 1, "ABORTED", "SIGTERM to the guard", from_outside=tells_guard),
    Row("power restored in the middle", -9, "ABORTED", KILLED, from_outside=kills_and_restores_power),
]
"""The table of all endings."""


@dataclass(frozen=True)
class Evidence:
    """What is left of one ending.

    Attributes:
        ended: the test process.
        truth: all that was true on the rig.
        began_s: when the ending began, on the truth's clock.
        verified: what ``rackproof verify`` said of the run.
        after: what ``rackproof safe`` said of the rig, with its emulators still there.
    """

    ended: Ended
    truth: list[dict[str, Any]]
    began_s: float
    verified: Ended
    after: Ended


@pytest.fixture(scope="module")
def evidence(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Future[Evidence]]:
    """All endings that were chosen, on rigs of their own, three at a time: they mostly wait."""
    chosen = {
        item.callspec.params["row"].name: item.callspec.params["row"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "row" in getattr(item, "callspec", NO_PARAMETERS).params
    }

    def work(row: Row) -> Callable[[], Evidence]:
        home = Home(tmp_path_factory.mktemp("ending"))
        return lambda: end(home, row)

    return dict(zip(chosen, side_by_side([work(row) for row in chosen.values()], 3), strict=True))


class NO_PARAMETERS:  # noqa: N801 - stands for an object without any
    params: ClassVar[dict[str, Any]] = {}


def end(home: Home, row: Row) -> Evidence:
    """Discharge, end as the row says, and wait until whoever acts has acted."""
    with world(home, row.ending, set_up=row.set_up, clean_up=row.clean_up) as stand:
        began_s = time.monotonic()
        if row.from_outside is not None:
            row.from_outside(stand)
        wait_for_rest(stand)
        ended = stand.ends()
        folder = wait_for_seal(ended)
        return Evidence(
            ended,
            stand.is_now(),
            began_s,
            home.rackproof("verify", folder),
            home.rackproof("safe", stand.rig),
        )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_rig_is_off_verified_and_on_record(evidence, row):
    """The truth of the plant decides, not what the harness says of itself."""
    found = evidence[row.name].result()
    truth, ended = found.truth, found.ended
    if row.set_up == "pass":
        assert any(each["is"]["battery_current_a"] > 50.0 for each in truth), "no current: nothing was shown"
        late = [each for each in truth if each["at_s"] > found.began_s + GONE_WITHIN_S]
        assert all(abs(each["is"]["battery_current_a"]) < 0.5 for each in late), late[0]
    last = truth[-1]["is"]
    assert (abs(last["battery_current_a"]) < 0.5, last["contactor_closed"], last["source_on"]) == (
        True,
        False,
        False,
    )
    assert all(current_a <= row.breaks_at_most_a for current_a in opened_at_a(truth)), opened_at_a(truth)
    assert ended.code == row.code, (
        f"{ended.said}\n{[event for event in ended.record.guard if event['kind'] == 'breach']}"
    )
    (plan,) = (each for each in ended.record.plans if each.plan == "EN-01")
    assert plan.verdict == row.verdict, plan.message
    assert re.search(row.said, plan.message), plan.message
    outcomes = [event["body"] for event in ended.record.guard if event["kind"] == "outcome"]
    if row.has_guard:
        assert [each["is_safe"] for each in outcomes] == [row.is_verified], ended.record.guard
    assert found.verified.code == 0, found.verified.said


def wait_for_seal(ended: Ended, within_s: float = 30.0) -> Path:
    """Wait until the run is sealed, by whoever is left to do it."""
    end_s = time.monotonic() + within_s
    while not (ended.folder / "logbook.json").exists():
        assert time.monotonic() < end_s, ended.said
        time.sleep(0.05)
    return ended.folder
