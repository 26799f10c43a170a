"""A rig is commissioned in another process, as a person does it; one that is wired otherwise is found.

For each check there is a rig that is not as its file says: the emulators stand by one file, what is
commissioned is another. These run in virtual time. Whether a rig ends safe is for the truth of the plant to
say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.clock import run_virtual
from harness.rig.bench import Setup, far_side
from harness.rig.emulation import drill as do
from harness.rig.emulation import truth_of
from harness.rig.files import load_product, load_rig, write_rig
from harness.safety.commissioned import fingerprint
from harness.safety.commissioning import opened
from harness.safety.commissioning_checks import CHECKS
from harness.seeded_faults import SeededFault

from ..processes import (
    LAB1,
    LFP_RACK,
    LONGEST_S,
    Ended,
    Home,
    changed,
    drill,
    kill,
    side_by_side,
    until_served,
)

PERSON = ("--person", "A. Tester")
PRESS, RELEASE = "press the E-stop now", "release the E-stop now"
OPEN, CLOSE = "open the door now", "close the door now"
BY_HAND = {
    PRESS: "input safety.e_stop_released off",
    RELEASE: "input safety.e_stop_released on",
    OPEN: "input safety.door_closed off",
    CLOSE: "input safety.door_closed on",
}
"""What the person does when told, as drills."""

TRANSFORMERS = "current transformers: "
"""Begins the line of a check with power on."""

FAST = ("virtual_period_s = 5.0 # virtual current", "virtual_period_s = 0.1 # virtual current")
"""The shunt reports as on a bench, so that what is waited for is seen in time."""

DEAD_WITHIN_S = 10.0
"""From the death of the process to no current: the watchdog's second, the chain's delay, a busy machine."""


@dataclass(frozen=True)
class Stand:
    """A rig in another process, and the file that is commissioned."""

    home: Home
    rig: Path
    emulators: subprocess.Popen[str]
    truth: Path

    def is_now(self) -> list[dict[str, Any]]:
        """All that was true until now, oldest first."""
        whole = []
        for line in self.truth.read_text().splitlines():
            with contextlib.suppress(ValueError):  # the last line may not be whole yet
                whole.append(json.loads(line)["is"])
        return whole

    def commission(self, does: Mapping[str, str | signal.Signals]) -> Ended:
        """Commission it; at a line with such words something is done: a drill, or a signal to the process."""
        process = self.home.start("harness.cli", "commission", self.rig, *PERSON)
        assert process.stdout is not None
        bound = threading.Timer(LONGEST_S, process.kill)
        bound.start()
        said = ""
        try:
            for line in process.stdout:
                said += line
                for words, what in does.items():
                    if words not in line:
                        continue
                    if isinstance(what, signal.Signals):
                        process.send_signal(what)
                    else:
                        drill(self.emulators, what)
            _, err = process.communicate()
        finally:
            bound.cancel()
            kill(process)
        return Ended(process.returncode, said, err, self.home.path)

    def document(self) -> dict[str, Any]:
        """What the commissioning left for this file as it stands."""
        (place,) = (self.home.path / "state" / "rackproof" / "commissioned").iterdir()
        document: dict[str, Any] = json.loads(place.read_text())
        assert document["rig_sha256"] == fingerprint(load_rig(self.rig))
        return document


@contextlib.contextmanager
def stand(home: Home) -> Iterator[Stand]:
    """Serve lab1; the file to commission has its addresses, and does not say that they are emulators."""
    served, rig, truth = (home.path / name for name in ("served.toml", "rig.toml", "truth.jsonl"))
    command = ("harness.cli", "emulate", LAB1, "--write", served, "--truth", truth, "--drill")
    emulators = home.start(*command, stdin=subprocess.PIPE)
    try:
        until_served(emulators)
        write_rig(load_rig(LAB1).model_copy(update={"wires": load_rig(served).wires}), rig)
        yield Stand(home, rig, emulators, truth)
    finally:
        kill(emulators)


def is_dead(truth: Mapping[str, Any]) -> bool:
    return abs(truth["battery_current_a"]) < 0.5 and not truth["contactor_closed"] and not truth["source_on"]


@dataclass(frozen=True)
class Fault:
    """How a rig is not as its file says, and what has to come of it.

    Attributes:
        name: in words.
        check: the one that finds it.
        says: in its finding.
        wired: changes of the rig that is served.
        drawn: changes of the file that is commissioned.
        built: changes of the product that is served.
        sown: a seeded fault of the emulated world.
        does: drills, a tenth of a second after a line with such words.
        is_verified: whether the harness can know that the rig is safe at the end.
    """

    name: str
    check: str
    says: str
    wired: tuple[tuple[str, str], ...] = ()
    drawn: tuple[tuple[str, str], ...] = ()
    built: tuple[tuple[str, str], ...] = ()
    sown: str = ""
    does: Mapping[str, str] = field(default_factory=dict)
    is_verified: bool = True


def leads(*numbers_and_quantities: tuple[int, str, str]) -> tuple[tuple[str, str], ...]:
    """Change what inputs of the recorder are wired to."""
    return tuple(
        (f'number = {number}, quantity = "{was}"', f'number = {number}, quantity = "{now}"')
        for number, was, now in numbers_and_quantities
    )


CLOSED = "battery_contactor_closed = 5"
NODE = "[devices.analyzer.options.nodes.{}]"

FAULTS = (
    Fault(
        "another device of the kind",
        "identities",
        "shunt: serial number 1; the rig file says 4711",
        drawn=(('role = "dc_sensor"', 'role = "dc_sensor"\nserial = "4711"'),),
    ),
    Fault(
        "a feedback contact with a broken wire",
        "contactor feedback",
        "battery_contactor_closed is not on",
        wired=((CLOSED, "battery_contactor_closed = 6"),),
    ),
    Fault(
        "the feedback of another contactor",
        "contactor feedback",
        "battery_contactor_closed is not off",
        is_verified=False,  # it says closed for ever
        wired=((CLOSED, "battery_contactor_closed = 6\nother_contactor_closed = 5"),),
    ),
    Fault(
        "a watchdog that does not act in its time",
        "hardware layer",
        r"safety's watchdog still runs after 1\.2 s of silence",
        drawn=(("timeout_s = 1.0\nmeasured_s = 1.2", "timeout_s = 3.0\nmeasured_s = 1.2"),),
    ),
    Fault(
        "a converter that nobody set up to miss a heartbeat",
        "hardware layer",
        "pcs's heartbeat still runs after 7 s of silence",
        wired=(("options = { heartbeat_timeout_s = 5.0 }", ""),),
    ),
    Fault(
        "a converter whose heartbeat stands still",
        "hardware layer",
        r"715\.DERHb\) stands at \d+ for 3 s",
        does={"hardware layer: ": "lifeless pcs on"},
    ),
    Fault(
        "a transformer behind the source with another ratio",
        "AC voltage",
        r"AC voltage: scale differs: grid\.voltage_v\(1\) = 115\..*, pcs\.ac_voltage_v = 108\.",
        wired=(("[devices.grid.options]", "[devices.grid.options]\noutput_ratio = 0.94"),),
    ),
    Fault(
        "two phases that are swapped",
        "phase rotation",
        r"grid_ac: phase 2 lags phase 1 by 240\.\d .*two phases are swapped",
        wired=leads((5, "grid_ac.u2_v", "grid_ac.u3_v"), (6, "grid_ac.u3_v", "grid_ac.u2_v")),
    ),
    Fault(
        "leads that begin with another phase",
        "phase rotation",
        "pcs_ac: its phase 1 lags that of grid_ac",
        wired=leads(
            (12, "pcs_ac.u1_v", "pcs_ac.u2_v"),
            (13, "pcs_ac.u2_v", "pcs_ac.u3_v"),
            (14, "pcs_ac.u3_v", "pcs_ac.u1_v"),
        ),
    ),
    Fault(
        "a shunt with its poles swapped",
        "polarity and scale",
        r"polarity: shunt\.current_a: the change is",
        wired=(("sign = 1 # to be found", "sign = -1 # to be found"),),
    ),
    Fault(
        "a battery that counts its current the other way",
        "polarity and scale",
        r"polarity: bms\.current_a: the change is",
        sown="swapped:bms",
    ),
    Fault(
        "a converter that counts its power the other way",
        "polarity and scale",
        r"AC power: polarity differs: asked = -1000, pcs\.ac_power_w = 1000",
        sown="swapped:pcs",
    ),
    Fault(
        "a transducer of another ratio",
        "polarity and scale",
        r"scale: analyzer\.values\(battery_dc\)\.current_a is furthest",
        wired=(("ct_ratio = 2000.0", "ct_ratio = 1800.0"),),
    ),
    Fault(
        "a current transformer the wrong way round",
        "current transformers",
        "load_ac's transformers are the wrong way round",
        wired=((NODE.format("load_ac"), NODE.format("load_ac") + "\nsign = -1"),),
    ),
    Fault(
        "one phase's current transformer the wrong way round",
        "current transformers",
        "pcs_ac: the recorder sees -3",
        wired=(
            (
                '"pcs_ac.i1_a", full_scale = 100.0',
                '"pcs_ac.i1_a", full_scale = 100.0, is_reversed = true',
            ),
        ),
    ),
    Fault(
        "registers that are stale",
        "register refresh",
        r"pcs\.ac_power_w shows a command after 3 s",
        wired=(("heartbeat_timeout_s = 5.0", "heartbeat_timeout_s = 5.0, refresh_s = 3.0"),),
    ),
    Fault(
        "registers that stand still",
        "register refresh",
        r"pcs\.ac_power_w does not follow a command within 10 s: is it frozen",
        does={"register refresh: ": "frozen pcs on"},
        is_verified=False,  # it shows the voltage of then for ever
    ),
    Fault(
        "a current beyond the envelope",
        "trigger skew",
        r"shunt\.current_a is (399|4\d\d)\.?\d*; the rig survives at most 280",
        does={"trigger skew: ": "disturb shunt.current_a 400"},
        is_verified=False,
    ),
    Fault(
        "a trigger whose lead is cut",
        "trigger skew",
        "recorder: no capture within 10 s: the trigger's lead",
        wired=(
            ('[triggers.profile_start]\nfrom_device = "grid"\nto_device = "recorder"\nskew_s = 20e-6', ""),
        ),
    ),
    Fault(
        "a trigger that comes late",
        "trigger skew",
        r"the step stands -(19|20)\d\d us from the trigger",
        wired=(("[devices.grid.options]", "[devices.grid.options]\ntrigger_skew_s = 0.002"),),
    ),
    Fault(
        "a converter that misses no battery",
        "battery's silence",
        r"shunt\.current_a still flows 4\.15 s after bms_can_open was inserted.*pcs misses no battery",
        built=(("bms_timeout_s = 3.0", "bms_timeout_s = 30.0"),),
    ),
    Fault(
        "a door that is not in the chain",
        "door",
        r"shunt\.current_a still flows 5 s after safety\.door_closed opened",
        wired=(('opened_by = ["e_stop_released", "door_closed"]', 'opened_by = ["e_stop_released"]'),),
        does=BY_HAND,
    ),
    Fault(
        "an E-stop that is not in the chain",
        "E-stop",
        r"shunt\.current_a still flows 5 s after safety\.e_stop_released opened",
        wired=(('opened_by = ["e_stop_released", "door_closed"]', 'opened_by = ["door_closed"]'),),
        does=BY_HAND,
    ),
    Fault(
        "a meter that shows a current that is not there",
        "safe-state drill",
        r"shunt\.current_a is 15\.\d*, dead is at most 1",
        does={**BY_HAND, "safe-state drill: ": "disturb shunt.current_a 15"},
        is_verified=False,
    ),
    Fault(
        "a DC link that stays charged",
        "discharge time",
        r"pcs\.dc_voltage_v is \d\d\.\d* V .* its discharge resistor is open",
        built=(("discharge_resistance_ohm = 100.0", "discharge_resistance_ohm = 1000.0"),),
        does=BY_HAND,
    ),
)


@dataclass(frozen=True)
class Found:
    """What came of one commissioning.

    Attributes:
        results: by check, and of the way to safe: (result, what was found).
        truth: what the rig is at its end.
    """

    results: Mapping[str, tuple[str, str]]
    truth: Mapping[str, Any]


def commission_with(fault: Fault, folder: Path) -> Found:
    """Commission one file, where another says how the rig is wired."""
    wired = load_rig(changed(LAB1, folder / "wired.toml", FAST, *fault.wired))
    drawn = load_rig(changed(LAB1, folder / "drawn.toml", FAST, *fault.drawn))
    built = load_product(changed(LFP_RACK, folder / "lfp_rack.toml", *fault.built))

    async def main() -> Found:
        async with far_side(Setup(rig=wired, product=built, f0_hz=60.0), is_enabled=False) as side:
            if fault.sown:
                SeededFault.parse(fault.sown, wired).sow(side)

            def tell(line: str) -> None:
                for words, drilled in fault.does.items():
                    if words in line:
                        asyncio.get_running_loop().call_later(0.1, do, side, drilled)

            async with opened(drawn, load_product(LFP_RACK), tell, side) as walk:
                results = await walk.run(CHECKS)
            side.advance()
            return Found({each.name: (each.result, each.found) for each in results}, truth_of(side))

    return run_virtual(main)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_is_wired_otherwise_is_found_by_its_check_and_the_rig_ends_safe(tmp_path, fault):
    found = commission_with(fault, tmp_path)
    result, said = found.results[fault.check]
    assert result == "failed"
    assert re.search(fault.says, said), said
    names = [check.name for check in CHECKS]
    at = names.index(fault.check)
    assert {found.results[name][0] for name in names[:at]} <= {"passed"}, found.results
    assert {found.results[name] for name in names[at + 1 :]} <= {("not run", f"after {fault.check}")}
    assert (found.results["safe at the end"][0] == "passed") is fault.is_verified, found.results
    assert is_dead(found.truth), found.truth


def test_a_converter_that_stood_connected_is_off_while_its_layers_are_tried_and_armed(tmp_path):
    """One that missed its heartbeat is started anew by arming it, which nothing may follow."""
    rig, product = load_rig(changed(LAB1, tmp_path / "rig.toml", FAST)), load_product(LFP_RACK)

    async def main() -> tuple[list[str], Mapping[str, Any]]:
        async with far_side(Setup(rig=rig, product=product, f0_hz=60.0), is_enabled=False) as side:
            async with opened(rig, product, lambda _: None, side) as walk:
                await walk.role("inverter").turn_on()
                found = [each.found for each in await walk.run(CHECKS[:3]) if not each.is_good]
            side.advance()
            return found, truth_of(side)

    found, truth = run_virtual(main)
    assert found == []
    assert is_dead(truth)
    assert not truth["converter_on"]


@dataclass(frozen=True)
class Seen:
    """What is left of a commissioning in another process.

    Attributes:
        ended: the process.
        truth: all that was true on the rig until the process had ended.
        came: what came of what was done afterwards, by name.
    """

    ended: Ended
    truth: list[dict[str, Any]]
    came: dict[str, Any]


def passes(home: Home) -> Seen:
    """From the dry run to the arming, and to an edit."""
    with stand(home) as at:
        came: dict[str, Any] = {
            "shown": home.rackproof("commission", at.rig, "--dry-run"),
            "truth when shown": at.is_now(),
            "armed before": home.rackproof("arm", at.rig, *PERSON),
        }
        ended = at.commission(BY_HAND)
        truth, document = at.is_now(), at.document()
        edited = changed(at.rig, home.path / "edited.toml", ("actuator_s = 0.15", "actuator_s = 0.16"))
        came |= {
            "document": document,
            "armed": home.rackproof("arm", at.rig, *PERSON),
            "armed after an edit": home.rackproof("arm", edited, *PERSON),
        }
        return Seen(ended, truth, came)


def is_stopped(home: Home) -> Seen:
    """A person's Ctrl-C from another terminal."""
    with stand(home) as at:
        ended = at.commission({TRANSFORMERS: signal.SIGTERM})
        truth, document = at.is_now(), at.document()
        return Seen(ended, truth, {"document": document, "armed": home.rackproof("arm", at.rig, *PERSON)})


def is_killed(home: Home) -> Seen:
    with stand(home) as at:
        ended = at.commission({TRANSFORMERS: signal.SIGKILL})
        end_s = time.monotonic() + DEAD_WITHIN_S
        while not is_dead(at.is_now()[-1]):
            assert time.monotonic() < end_s, at.is_now()[-1]
            time.sleep(0.05)
        truth = at.is_now()
        came = {
            "commissioned again": home.rackproof("commission", at.rig, *PERSON),
            "armed": home.rackproof("arm", at.rig, *PERSON),
            "safe": home.rackproof("safe", at.rig),
        }
        return Seen(ended, truth, came)


@pytest.fixture(scope="module", autouse=True)
def in_other_processes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Future[Seen]]:
    """What takes real time, begun side by side before all that does not."""
    chosen = {
        work.__name__: work
        for item in request.session.items
        for work in (passes, is_stopped, is_killed)
        if item.name.endswith(f"_{work.__name__}")
    }

    def on_its_own(work: Callable[[Home], Seen]) -> Callable[[], Seen]:
        home = Home(tmp_path_factory.mktemp(work.__name__))
        return lambda: work(home)

    works = [on_its_own(work) for work in chosen.values()]
    return dict(zip(chosen, side_by_side(works, 3), strict=True))


def test_a_rig_is_commissioned_and_armed_as_its_file_stands_where_it_passes(in_other_processes):
    """From the dry run to the arming of a rig that is no emulated one by its file."""
    seen = in_other_processes["passes"].result()
    shown = seen.came["shown"]
    assert shown.code == 0
    places = [shown.out.index(f"{number:2}. {check.name}: ") for number, check in enumerate(CHECKS, 1)]
    assert places == sorted(places)
    assert "1000 W at most" in shown.out
    assert not any(truth["source_on"] or truth["contactor_closed"] for truth in seen.came["truth when shown"])

    assert seen.ended.code == 0, seen.ended.said
    document = seen.came["document"]
    assert [each["name"] for each in document["checks"]] == [*(c.name for c in CHECKS), "safe at the end"]
    assert {each["result"] for each in document["checks"]} == {"passed"}
    assert (document["person"], document["rig"]) == ("A. Tester", "lab1")
    assert document["at"] < document["valid_until"]

    assert is_dead(seen.truth[-1])
    # At low energy throughout, and both ways.
    powers_w = [each["converter_power_w"] for each in seen.truth]
    assert (min(powers_w), max(powers_w)) == pytest.approx((-1000.0, 1000.0), rel=0.02)

    assert seen.came["armed"].code == 0
    for when in ("armed before", "armed after an edit"):
        refused = seen.came[when]
        assert refused.code == 1, when
        assert "never commissioned as its file stands" in refused.err, when


def test_the_rig_ends_safe_where_it_is_stopped(in_other_processes):
    """The way to safe is walked to its end, and what came until then is signed as failed."""
    seen = in_other_processes["is_stopped"].result()
    results = {check["name"]: (check["result"], check["found"]) for check in seen.came["document"]["checks"]}
    assert results["current transformers"] == ("failed", "stopped from outside (SIGTERM)")
    assert results["safe at the end"][0] == "passed", results
    assert is_dead(seen.truth[-1])
    assert seen.ended.code == 1
    assert "commissioning did not pass: current transformers" in seen.came["armed"].err


def test_the_hardware_layer_takes_the_energy_away_where_it_is_killed(in_other_processes):
    """The watchdog was tried before anything was energised; nothing is signed, and the rig stays closed."""
    seen = in_other_processes["is_killed"].result()
    assert seen.ended.code == -signal.SIGKILL
    assert any(abs(truth["battery_current_a"]) > 15.0 for truth in seen.truth)
    assert is_dead(seen.truth[-1])
    again = seen.came["commissioned again"]
    assert (again.code, "was left energised" in again.err) == (1, True), again.said
    assert "never commissioned" in seen.came["armed"].err
    assert seen.came["safe"].code == 0, seen.came["safe"].said
