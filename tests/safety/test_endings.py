"""However a run ends, the rig is off, that is verified, and it is on record.

Each row ends a run that discharges kilowatts on a rig in another process, whose plant writes what really
happens: which current flows, whether the contactor is closed, and what it broke when it opened. The guard's
own word is compared with that truth.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from harness.rig.files import load_product, load_rig
from harness.rig.reaction import reactions_s, stale_after_s
from harness.safety.guard_link import BEATS_A_HEARTBEAT
from harness.safety.unsafe import HEADLINE
from harness.safety.watch import CHECKS_A_PERIOD

from ..processes import LAB1, LFP_RACK, Ended, Home, side_by_side
from .discharging import (
    GONE_WITHIN_S,
    World,
    drills,
    opened_at_a,
    since_s,
    wait_for_rest,
    wait_for_seal,
    world,
)

RIG, PRODUCT = load_rig(LAB1), load_product(LFP_RACK)


def gone_s() -> Mapping[str, float]:
    """From an ending until the current is gone, as the rig file promises it, by what takes it away."""
    part, envelope, safe = RIG.interlock, RIG.envelope, RIG.safe_state
    assert part is not None
    assert envelope is not None
    assert safe is not None
    acts_s = part.latency_s + part.actuator_s
    look_s = min(part.periods_s.values()) / CHECKS_A_PERIOD
    stale = {
        f"the stale rule: {name}": stale_after_s(period_s, envelope.stale_s.value) + look_s + acts_s
        for name, period_s in part.periods_s.items()
    }
    inverter = PRODUCT.inverter
    return {
        "the plan's end": PRODUCT.ratings.discharge_power_w / inverter.ramp_w_per_s + inverter.response_s,
        "the guard at once": acts_s,
        # It looks ten times in that time; the age of the loop's last turn comes with a beat.
        "the guard after silence": 1.1 * part.heartbeat_s + acts_s,
        "the guard after a hang": part.loop_hang_s
        + (0.1 + 1.0 / BEATS_A_HEARTBEAT) * part.heartbeat_s
        + acts_s,
        **stale,
        "the limit": reactions_s(RIG)["battery_current_a"][0],
        "the chain": part.actuator_s,
        "a hardware layer": min(layer.measured_s for layer in safe.hardware_layers.values()),
    }


GONE_S = gone_s()

CROWDED_S = 5.0
"""What a machine with three rigs on two cores may take longer: a sound process was silent there for 1.1 s,
and up to four have their turns one after the other. What is never done takes for ever."""

SESSION_ENDS_S = 20.0
"""A plan that ended by itself is at zero power; the guard has its turn when the session has ended. Ours: that
takes a second of an ordinary process's work, and ten on a machine that does ten things at once.
"""


@dataclass(frozen=True)
class Row:
    """One way to end, and what has to come.

    Attributes:
        name: of the way.
        code_at: code at the places of the plan's file; at its ``ending`` it waits, where nothing is said.
        from_outside: what is done to the world while the plan waits.
        flows: whether a current flows before it ends.
        code: of pytest's exit.
        verdict: of the plan.
        said: in the plan's message.
        is_verified: whether the rig is known to be safe; else it is closed for the next run.
        has_guard: whether a guard lived long enough to say so.
        told: on the terminal, by whoever was left to tell.
        is_sealed: whether somebody was left to seal the run; else a person does.
        breaks_at_most_a: current that the contactor may have opened under: none under load, but where
            nothing is left to the harness the chain's own breaker acts.
        by: what takes the current away, in the words of ``GONE_S``.
        waits_s: for devices that do not answer, before the contactor's turn comes.
    """

    name: str
    code: int
    verdict: str
    said: str
    code_at: Mapping[str, str] = field(default_factory=dict)
    from_outside: Callable[[World], None] | None = None
    flows: bool = True
    is_verified: bool = True
    has_guard: bool = True
    told: str = ""
    is_sealed: bool = True
    breaks_at_most_a: float = 10.0
    by: str = "the plan's end"
    waits_s: float = 0.0


def sends(number: signal.Signals) -> Callable[[World], None]:
    return lambda stand: stand.run.send_signal(number)


def kills_guard(stand: World) -> None:
    os.kill(stand.guard_pid(), signal.SIGKILL)


def stops_guard(stand: World) -> None:
    os.kill(stand.guard_pid(), signal.SIGSTOP)


def kills_both(stand: World) -> None:
    """Neither may see the other's end."""
    pids = (stand.run.pid, stand.guard_pid())
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


def kills_on_a_full_disk(stand: World) -> None:
    resource.prlimit(stand.guard_pid(), resource.RLIMIT_FSIZE, (1024, 1024))
    stand.run.send_signal(signal.SIGKILL)


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
JUDGED = {"ending": "judge('alive', True, 'rackproof_bench.is_true'); return"}
GREEDY = "resource.setrlimit(resource.RLIMIT_AS, (1 << 31, -1)); bytearray(1 << 32)"
MISHEARD = """
    for name in os.listdir("/proc/self/fd"):
        try:
            if socket.socket(fileno=os.dup(int(name))).family is socket.AF_UNIX:
                os.write(int(name), b'{"excused": 3}\\n')
        except OSError:
            pass
    await asyncio.sleep(120.0)
"""
"""A plan that writes to descriptors that are not its own: the guard hears what its interlock cannot take."""
FULL = "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, -1)); await battery.voltage_v()"
NOTHING_BEGAN = {"flows": False, "has_guard": False}
CHAIN = {"breaks_at_most_a": 200.0}
"""Where the chain acts: its breaker is rated for the battery's full current."""

ROWS = [
    Row("SIGINT", 2, "ABORTED", KEYBOARD, from_outside=sends(signal.SIGINT)),
    Row("SIGTERM", 2, "ABORTED", KEYBOARD, from_outside=sends(signal.SIGTERM)),
    Row("SIGHUP", 2, "ABORTED", KEYBOARD, from_outside=sends(signal.SIGHUP)),
    Row(
        "SIGKILL",
        -9,
        "ABORTED",
        KILLED,
        from_outside=sends(signal.SIGKILL),
        told="guard: the run is sealed; 'rackproof seal ",
        by="the guard at once",
    ),
    Row(
        "SIGSTOP",
        -9,
        "ABORTED",
        KILLED,
        from_outside=sends(signal.SIGSTOP),
        by="the guard after silence",
    ),
    Row("an exception in the plan", 1, "ERROR", "ValueError: no", {"ending": NO}),
    Row("an exception in set-up", 1, "ERROR", "ValueError: no", {"module_set_up": NO}, **NOTHING_BEGAN),
    Row("an exception in a fixture", 1, "ERROR", "ValueError: no", {"set_up": NO}, **NOTHING_BEGAN),
    Row("an exception in a fixture's end", 1, "ERROR", "ValueError: no", JUDGED | {"clean_up": NO}),
    # It belongs to the last plan of the file, which is another one.
    Row("an exception in clean-up", 1, "PASS", "", JUDGED | {"module_clean_up": NO}),
    Row(
        "an exception in the interlock",
        1,
        "ABORTED",
        "guard itself failed: TypeError",
        {"ending": MISHEARD},
        by="the guard at once",
    ),
    Row(
        "os._exit",
        3,
        "ABORTED",
        KILLED,
        {"ending": "os._exit(3)"},
        by="the guard at once",
    ),
    Row(
        "a crash of the interpreter",
        -11,
        "ABORTED",
        KILLED,
        {"ending": "ctypes.string_at(0)"},
        by="the guard at once",
    ),
    Row(
        "a hung event loop",
        -9,
        "ABORTED",
        KILLED,
        {"ending": "while True: pass"},
        by="the guard after a hang",
    ),
    Row(
        "a blocked event loop",
        -9,
        "ABORTED",
        KILLED,
        {"ending": "time.sleep(300.0)"},
        by="the guard after a hang",
    ),
    Row("out of memory", 1, "ERROR", "MemoryError", {"ending": GREEDY}),
    # Its last word was lost with the disk; the guard, which has its own files, seals the run.
    Row("a full disk", 1, "ABORTED", KILLED, {"ending": FULL}),
    Row(
        "a disk that is full for the guard too",
        -9,
        "ABORTED",
        KILLED,
        from_outside=kills_on_a_full_disk,
        has_guard=False,
        told="guard: rig safe, verified at battery_current, ac_voltage",
        is_sealed=False,
        by="the guard at once",
    ),
    Row(
        "a cut cable to the battery",
        1,
        "ABORTED",
        "bms.* is silent",
        from_outside=drills("silent bms on"),
        by="the stale rule: bms",
    ),
    Row(
        "a cut cable to the converter",
        1,
        "ABORTED",
        "door_closed is off",
        from_outside=drills("silent pcs on", "input safety.door_closed off"),
        **CHAIN,
        by="the chain",
    ),
    Row(
        "a cut cable to the shunt",
        1,
        "ABORTED",
        "shunt.* is silent",
        from_outside=drills("silent shunt on"),
        **CHAIN,
        by="the stale rule: shunt",
    ),
    Row(
        "a cut cable to the safety chain",
        1,
        "ABORTED",
        "safety.inputs is silent",
        from_outside=drills("silent safety on"),
        is_verified=False,
        **CHAIN,
        by="the stale rule: safety",
    ),
    Row(
        "a cut cable to the source",
        2,
        "ABORTED",
        KEYBOARD,
        from_outside=after("silent grid on", signal.SIGINT),
        **CHAIN,
        by="the plan's end",
        waits_s=12.0,
    ),
    Row(
        "an instrument that hangs",
        -9,
        "ABORTED",
        KILLED,
        from_outside=after("silent analyzer on", signal.SIGKILL),
        by="the guard at once",
        waits_s=5.0,
    ),
    Row(
        "a door that opens",
        1,
        "ABORTED",
        "safety.door_closed is off",
        from_outside=drills("input safety.door_closed off"),
        **CHAIN,
        by="the chain",
    ),
    Row(
        "the E-stop",
        1,
        "ABORTED",
        "safety.e_stop_released is off",
        from_outside=drills("input safety.e_stop_released off"),
        **CHAIN,
        by="the chain",
    ),
    Row(
        "a current beyond the envelope",
        1,
        "ABORTED",
        r"shunt.current_a is 4\d\d",
        from_outside=drills("disturb shunt.current_a 400"),
        is_verified=False,
        **CHAIN,
        by="the limit",
    ),
    Row(
        "a guard that is killed",
        1,
        "ABORTED",
        "the guard died",
        from_outside=kills_guard,
        has_guard=False,
        **CHAIN,
        by="a hardware layer",
    ),
    Row(
        "a guard that stands still",
        1,
        "ABORTED",
        r"the guard was silent for \d\.\d s, and was killed",
        from_outside=stops_guard,
        has_guard=False,
        **CHAIN,
        by="a hardware layer",
    ),
    Row(
        "a run and a guard that are killed",
        -9,
        "ABORTED",
        KILLED,
        from_outside=kills_both,
        has_guard=False,
        is_sealed=False,
        **CHAIN,
        by="a hardware layer",
    ),
    Row(
        "a guard that is told to",
        1,
        "ABORTED",
        "SIGTERM to the guard",
        from_outside=tells_guard,
        by="the guard at once",
    ),
    Row(
        "power restored in the middle",
        -9,
        "ABORTED",
        KILLED,
        from_outside=kills_and_restores_power,
        by="the guard at once",
    ),
]
"""The table of all endings."""


@dataclass(frozen=True)
class Evidence:
    """What is left of one ending.

    Attributes:
        ended: the test process.
        truth: all that was true on the rig.
        began_s: when the ending began, on the truth's clock.
        wrong: what verification finds wrong with the run.
        after: what ``rackproof safe`` said of the rig, with its emulators still there.
    """

    ended: Ended
    truth: list[dict[str, Any]]
    began_s: float
    wrong: tuple[str, ...]
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


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines of a table that is printed at the end, with how late the machine itself was meanwhile."""
    lines: list[str] = []
    delays_s: list[float] = []
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.is_set():
            due_s = time.monotonic() + 0.005
            is_over.wait(0.005)
            delays_s.append(time.monotonic() - due_s)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    yield lines
    is_over.set()
    sampler.join(5.0)
    delays_s.sort()
    lines.append(
        f"the machine alone wakes a process {1e3 * delays_s[int(0.99 * (len(delays_s) - 1))]:.0f} ms late at "
        f"p99, {1e3 * delays_s[-1]:.0f} ms at most"
    )
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


class NO_PARAMETERS:  # noqa: N801 - stands for an object without any
    params: ClassVar[dict[str, Any]] = {}


def end(home: Home, row: Row) -> Evidence:
    """Discharge, end as the row says, and wait until whoever acts has acted."""
    with world(home, begins=row.flows, **({"ending": "await asyncio.sleep(120.0)"} | row.code_at)) as stand:
        # What the plan's own code does begins when it says that the current flows.
        began_s = float((home.path / "plans" / "flows").read_text()) if row.flows else time.monotonic()
        if row.from_outside is not None:
            began_s = time.monotonic()
            row.from_outside(stand)
        wait_for_rest(stand)
        ended = stand.ends()
        if not row.is_sealed:
            assert home.rackproof("seal", ended.folder).code == 0
        folder = wait_for_seal(ended)
        return Evidence(
            ended,
            stand.is_now(),
            began_s,
            home.wrong_with(folder),
            home.rackproof("safe", stand.rig),
        )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_rig_is_off_verified_and_on_record(evidence, figures, row):
    """The truth of the plant decides, not what the harness says of itself."""
    found = evidence[row.name].result()
    truth, ended = found.truth, found.ended
    if row.flows:
        assert any(each["is"]["battery_current_a"] > 50.0 for each in truth), "no current: nothing was shown"
        late = [each for each in truth if each["at_s"] > found.began_s + GONE_WITHIN_S]
        assert all(abs(each["is"]["battery_current_a"]) < 0.5 for each in late), late[0]
        figures.append(in_time(row, found))
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
    assert row.told in ended.said
    (plan,) = (each for each in ended.record.plans if each.plan == "EN-01")
    assert plan.verdict == row.verdict, plan.message
    assert re.search(row.said, plan.message), plan.message
    outcomes = [event["body"] for event in ended.record.guard if event["kind"] == "outcome"]
    if row.has_guard:
        assert [each["is_safe"] for each in outcomes] == [row.is_verified], ended.record.guard
    assert found.wrong == ()
    assert (found.after.code == 0) is row.is_verified, found.after.said


def in_time(row: Row, found: Evidence) -> str:
    """Check when the current was gone and the contactor open, against the rig file's own figures."""
    safe = RIG.safe_state
    assert safe is not None
    breaks_a, promised_s = safe.break_current_a, GONE_S[row.by]
    gone = since_s(found.truth, lambda now: abs(now["battery_current_a"]) <= breaks_a) - found.began_s
    opened = since_s(found.truth, lambda now: not now["contactor_closed"]) - found.began_s
    # The contactor waits for the current, and then takes its own time.
    waits_s = row.waits_s + (SESSION_ENDS_S if row.by == "the plan's end" else 0.0)
    open_s = promised_s + safe.current_gone_within_s + safe.open_within_s + waits_s
    figures = (
        f"{row.name:38} {row.by:24} current gone {1e3 * gone:5.0f} ms (promised {1e3 * promised_s:5.0f}), "
        f"contactor open {1e3 * opened:5.0f} ms (promised {1e3 * open_s:5.0f})"
    )
    assert gone <= promised_s + CROWDED_S, figures
    assert opened <= open_s + CROWDED_S, figures
    return figures


def test_the_guard_is_of_the_house_that_runs_whatever_lies_where_it_starts(home):
    """Another checkout, or somebody's helper called as a module of Python's, would stand in its place."""
    decoys = home.path / "decoys"
    (decoys / "harness").mkdir(parents=True)
    for name in ("harness/__init__.py", "signal.py"):
        (decoys / name).write_text("raise SystemExit(3)\n")
    with world(home, begins=False, module_set_up=f"os.chdir({str(decoys)!r})", **JUDGED) as stand:
        ended = stand.ends()
    assert ended.verdicts["EN-01"] == "PASS", ended.said


def test_a_rig_that_is_gone_is_unsafe_until_a_person_clears_it(home):
    """With nobody left to ask nothing is verified, and nobody may find that out by energising it again."""
    with world(home, ending="await asyncio.sleep(120.0)") as stand:
        stand.emulators.kill()
        ended = stand.ends()
        folder = wait_for_seal(ended)
        rig = stand.rig
    assert ended.code == 1, ended.said
    assert "UNSAFE" in ended.said
    (plan,) = (each for each in ended.record.plans if each.plan == "EN-01")
    assert plan.verdict == "ABORTED"
    assert "is silent" in plan.message
    (outcome,) = (event["body"] for event in ended.record.guard if event["kind"] == "outcome")
    assert outcome["is_safe"] is False
    for node in ("battery_current", "ac_voltage", "battery's contactor"):
        assert node in outcome["text"]
    assert home.rackproof("verify", folder).code == 0
    after = home.rackproof("safe", rig)
    assert after.code != 0
    for said in (ended.said, after.said):
        assert HEADLINE in said
        assert "1. keep everybody away from it" in said
    again = home.pytest(home.path / "plans", f"--rig={rig}")
    assert again.code == 1
    assert "was left UNSAFE by" in again.said
    cleared = home.rackproof("clear", rig, "--person", "A. Tester")
    assert cleared.code == 0, cleared.said
    after_that = home.pytest(home.path / "plans", f"--rig={rig}")
    assert "cannot be opened" in after_that.said  # nobody is there, and nothing else keeps it from running
    assert "UNSAFE" not in after_that.said


def without(layer: str) -> tuple[str, str]:
    """Take a hardware layer out of the rig file."""
    table = re.search(
        rf"\n\[safe_state\.hardware_layers\.{layer}\].*?(?=\n\[|\n\n|\Z)", LAB1.read_text(), re.DOTALL
    )
    assert table is not None
    return table[0], ""


@pytest.mark.parametrize("other", ["converter_reversion", "converter_heartbeat"])
def test_the_converter_alone_takes_the_current_away_when_nobody_is_left(home, other):
    """With a patient coupler, and no process of ours: by one of its own, the chain still closed."""
    patient = ("timeout_s = 1.0\nmeasured_s = 1.2", "timeout_s = 60.0\nmeasured_s = 60.2")
    changes = (patient, without(other))
    with world(home, *changes, ending="await asyncio.sleep(120.0)") as stand:
        began_s = time.monotonic()
        kills_both(stand)
        assert stand.ends().code == -9
        while time.monotonic() < began_s + GONE_WITHIN_S:
            time.sleep(0.1)
        truth = stand.is_now()
        refused = home.pytest(home.path / "plans", f"--rig={stand.rig}")
        after = home.rackproof("safe", stand.rig)
        rest = stand.is_now()[-1]["is"]
    flowing = [each["at_s"] for each in truth if each["is"]["converter_power_w"] > 100.0]
    assert flowing[-1] > began_s, "it stopped before anybody was killed"
    last = truth[-1]["is"]
    assert abs(last["converter_power_w"]) < 20.0, last
    assert abs(last["battery_current_a"]) < 5.0  # what the converter needs for itself
    assert (last["contactor_closed"], last["source_on"]) == (True, True)
    assert "left energised by" in refused.said
    assert after.code == 0, after.said
    assert (rest["battery_current_a"], rest["contactor_closed"], rest["source_on"]) == (0.0, False, False)
