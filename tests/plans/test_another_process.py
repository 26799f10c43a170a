"""A rig whose devices stand in another process is a rig like any other: wall clock, arming, real wires."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.rig.files import load_rig

from ..processes import (
    FOR_ALL_PLANS,
    LAB1,
    REPOSITORY,
    Ended,
    Home,
    changed,
    finish,
    kill,
    side_by_side,
    until_served,
    wait_until,
)


@dataclass(frozen=True)
class Emulated:
    """A rig's emulators in a process, and the rig file that points at them."""

    process: subprocess.Popen[str]
    rig: Path

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; gives exit code and what was said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60.0)
        return self.process.returncode, said


@contextlib.contextmanager
def emulating(home: Home, rig: Path | str = "lab1", *options: str) -> Iterator[Emulated]:
    """Run ``rackproof emulate`` until the end of the block."""
    home.count += 1
    written = home.path / f"emulated{home.count}.toml"
    process = home.start("harness.cli", "emulate", rig, "--write", written, *options)
    try:
        assert str(written) in until_served(process)
        yield Emulated(process, written)
    finally:
        kill(process)


def armed(home: Home, rig: Path) -> None:
    ended = home.rackproof("arm", rig, "--person", "A. Tester", "--minutes", "10")
    assert ended.code == 0, ended.said


HOW_TO = REPOSITORY / "docs" / "how-to" / "point-at-hardware.md"
BENCH_SOURCE = ("[topology.source]", '[topology]\nbattery_side = "bench_source"\n\n[topology.source]')
FOLLOWS = 'emulation.battery_current = "analyzer.battery_dc.current_a"\n'


@contextlib.contextmanager
def without_battery(home: Home) -> Iterator[Emulated]:
    """All devices of lab1 but its battery in another process: they stand for the real ones."""
    text = LAB1.read_text()
    head, rest = text.split("[wires.battery_can]", 1)
    rig = home.path / "lab1.toml"
    rig.write_text(
        head.replace(*FOR_ALL_PLANS) + FOLLOWS + "[wires.battery_can]" + rest.replace(*BENCH_SOURCE)
    )
    with emulating(home, rig, "--without", "battery") as emulated:  # by its role
        yield emulated


PASSING = {
    "RT-01 and 60Hz-20": "RT-01[60Hz-20pct]",
    "RT-01 and 60Hz-0": "RT-01[60Hz-0pct]",
    "CM-06": "CM-06",
}
"""The Japanese sag and the silence of the battery, by the choice that finds them."""
STAND_IN = "RT-01 and 60Hz-0"
"""The one that runs beside an emulated battery; the other process serves a converter for 60 Hz."""


@pytest.fixture(scope="module", autouse=True)
def passing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Future[Ended]]:
    """All on rigs of their own, from the module's beginning: they take real time and hardly work."""
    names = {item.originalname for item in request.session.items if isinstance(item, pytest.Function)}
    if test_passes_over_the_hardware_path.__name__ not in names:
        return {}

    def work(choice: str) -> Callable[[], Ended]:
        home = Home(tmp_path_factory.mktemp("passing"))

        def run() -> Ended:
            is_stand_in = choice == STAND_IN
            with without_battery(home) if is_stand_in else emulating(home) as emulated:
                armed(home, emulated.rig)
                some = ("--emulate=bms",) if is_stand_in else ()
                ended = home.pytest("testplans", f"--rig={emulated.rig}", *some, "-k", choice)
                assert emulated.stop() == (0, "")
                return ended

        return run

    return dict(zip(PASSING, side_by_side([work(choice) for choice in PASSING]), strict=True))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """Emulators that the tests share which leave them as they are, of a rig for plans of any id."""
    home = Home(tmp_path_factory.mktemp("served"))
    with emulating(home, changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)) as emulated:
        yield emulated


TWO_HAZARDS = """
from harness.plans import plan


@plan("RD-01", "reads", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_reads(battery, judge):
    judge("alive", (await battery.voltage_v()).value > 40.0, "rackproof_bench.is_true")


@plan("EN-01", "energises", hazard="energises", measures=("alive",), limit_s=60.0)
async def test_energises(grid, judge):
    await grid.turn_on()
    judge("alive", True, "rackproof_bench.is_true")
"""


def test_before_arming_what_reads_runs_and_what_energises_says_how_to_arm(home, served):
    """And nothing is energised: no command was sent."""
    ended = home.pytest(*home.plans(TWO_HAZARDS), f"--rig={served.rig}")
    assert ended.verdicts == {"RD-01": "PASS", "EN-01": "ERROR"}
    assert "it is not armed, and the plan energises" in ended.messages["EN-01"]
    assert f"rackproof arm {served.rig} --person NAME" in ended.messages["EN-01"]
    assert '"grid.turn_on"' not in (ended.folder / "journal.jsonl").read_text()


ENERGISES_THEN_READS = (
    TWO_HAZARDS
    + """

@plan("RD-02", "comes after, and energises", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_energises_too(inverter, judge):
    await inverter.turn_on()
    judge("alive", True, "rackproof_bench.is_true")
"""
)


def test_the_guard_of_one_plan_is_no_permission_for_the_next_that_only_reads(home, served):
    """A guard stands to the session's end, and a plan that reads is not brought to rest."""
    armed(home, served.rig)
    ended = home.pytest(*home.plans(ENERGISES_THEN_READS), f"--rig={served.rig}")
    assert ended.verdicts == {"RD-01": "PASS", "EN-01": "PASS", "RD-02": "ERROR"}
    assert "pcs.turn_on() refused before it was sent: the hazard of plan RD-02" in ended.messages["RD-02"]
    assert home.rackproof("disarm", served.rig).code == 0


def test_a_disarmed_rig_is_not_energised(home, served):
    armed(home, served.rig)
    first = home.pytest(*home.plans(TWO_HAZARDS), f"--rig={served.rig}", "-k", "EN-01")
    assert home.rackproof("disarm", served.rig).code == 0
    second = home.pytest(*home.plans(TWO_HAZARDS), f"--rig={served.rig}", "-k", "EN-01")
    assert (first.verdicts, second.verdicts) == ({"EN-01": "PASS"}, {"EN-01": "ERROR"})


def test_check_reaches_every_device_and_read_gives_a_value_of_any(home, served):
    checked = home.rackproof("check", served.rig)
    read = home.rackproof("read", served.rig, "battery.soc")
    of_phase = home.rackproof("read", served.rig, "grid.voltage_v", "1")
    assert checked.code == 0
    assert set(re.findall(r"^  (\w+) +\S.*never on hardware", checked.out, re.MULTILINE)) == set(
        load_rig(LAB1).devices
    )
    assert re.fullmatch(r"bms\.soc = 0\.\d+  at \d+\.\d{3} s\n", read.out), read.said
    assert re.fullmatch(r"grid\.voltage_v = \d+(\.\d+)?  at \d+\.\d{3} s\n", of_phase.out), of_phase.said


def test_the_file_that_is_written_is_the_rig_marked_as_emulated_at_other_addresses(served):
    written, lab1 = load_rig(served.rig), load_rig(LAB1)
    assert (written.emulated, lab1.emulated) == (True, False)
    assert written.devices == lab1.devices
    assert written.topology == lab1.topology
    assert all("127.0.0.1" in wire.model_dump_json() for wire in written.wires.values())


def test_it_is_no_rig_to_be_emulated_once_more(home, served):
    ended = home.pytest("testplans", f"--rig={served.rig}", "--emulate")
    assert ended.code == 4
    assert "is served by emulators in another process already" in ended.err


ON_THE_MAINS = """
from harness.plans import plan


@plan("RD-01", "reads", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_reads(battery, inverter, judge):
    judge("alive", (await battery.voltage_v()).value > 40.0, "rackproof_bench.is_true")
    judge("alive", (await inverter.ac_voltage_v()).value > 100.0, "rackproof_bench.is_true", case="mains")


@plan("EN-01", "energises", hazard="energises", measures=("alive",), limit_s=60.0)
async def test_energises(inverter, judge):
    await inverter.turn_on()
    judge("alive", True, "rackproof_bench.is_true")
"""


def test_a_battery_and_an_inverter_on_the_public_mains_are_read(home):
    """The file of the how-to, as it stands there: emulated here, and in another process."""
    (written,) = re.findall(r"```toml\n(name = .*?)```", HOW_TO.read_text(), re.DOTALL)
    rig = home.path / "home1.toml"
    rig.write_text(written)
    with emulating(home, rig) as emulated:
        for file, emulate in ((rig, ["--emulate"]), (emulated.rig, [])):
            checked = home.rackproof("check", file, *emulate)
            assert (checked.code, checked.err) == (0, "")
            assert re.findall(r"^  (\w+) ", checked.out, re.MULTILINE) == ["bms", "pcs"]
            assert (
                "not to be energised: rig 'home1' with product 'lfp_rack': no topology.source" in checked.out
            )
            read = home.rackproof("read", file, "battery.soc", *emulate)
            assert re.fullmatch(r"bms\.soc = 0\.\d+  at .* s\n", read.out), read.said
            ended = home.pytest(*home.plans(ON_THE_MAINS), f"--rig={file}", *emulate)
            assert ended.verdicts == {"RD-01": "PASS", "EN-01": "ERROR"}, ended.said
            assert ended.messages["EN-01"].endswith("hazard 'energises'; rig home1 allows reads")
        refused = home.rackproof("arm", emulated.rig, "--person", "A. Tester")
        assert refused.code == 1
        assert "energising needs an AC source of the bench's own: a device of role grid_source" in refused.err


POLLING = """
import asyncio

from harness.plans import plan


@plan("PO-01", "polls", hazard="energises", measures=("alive",), limit_s=300.0)
async def test_polls({device}, judge):
    while True:
        await {device}.{reading}
        await asyncio.sleep(0.05)


@plan("PO-02", "comes after", hazard="reads", measures=("alive",), limit_s=300.0)
async def test_comes_after(judge):
    judge("alive", True, "rackproof_bench.is_true")
"""


@contextlib.contextmanager
def polling(home: Home, device: str, reading: str) -> Iterator[tuple[Emulated, subprocess.Popen[str], Path]]:
    """Poll a device in a plan of an armed rig; begins once there are readings."""
    with emulating(home, changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)) as emulated:
        armed(home, emulated.rig)
        plans = home.plans(POLLING.format(device=device, reading=reading))
        command, runs = home.pytest_command(*plans, f"--rig={emulated.rig}")
        process = home.start(*command)

        def has_begun() -> bool:
            return any(path.read_bytes().count(b',"r",[') > 20 for path in runs.glob("*_*/journal.jsonl"))

        try:
            wait_until(process, has_begun)
            yield emulated, process, runs
        finally:
            kill(process)


@pytest.mark.parametrize(
    ("device", "reading", "number", "said"),
    [
        ("inverter", "ac_power_w()", signal.SIGTERM, r"pcs_lan \(Modbus TCP 127\.0\.0\.1\)"),
        ("grid", "voltage_v(1)", signal.SIGKILL, r"source_lan \(TCPIP0::127\.0\.0\.1::SOCKET\)"),
        ("battery", "voltage_v()", signal.SIGKILL, r"battery_can|bms\.voltage_v|bms:"),
    ],
)
def test_emulators_that_stop_in_the_middle_of_a_read_are_an_error_that_names_the_wire(
    home, device, reading, number, said
):
    """What broke first is told first, what went wrong on the way to rest after it."""
    with polling(home, device, reading) as (emulated, process, runs):
        code, complaint = emulated.stop(number)
        ended = finish(process, runs)
    assert (code, complaint) == ((0, "") if number is signal.SIGTERM else (-signal.SIGKILL, ""))
    # The plan and the guard each meet the silence; whoever is first is told first.
    first, *others = ended.messages["PO-01"].splitlines()
    if ended.verdicts["PO-01"] == "ERROR":
        assert re.match(said, first), first
        assert any(each.startswith("the rig did not come to rest: ") for each in others)
    else:
        assert ended.verdicts["PO-01"] == "ABORTED"
        assert re.match(r"interlock: \S+ is silent for|made safe: UNSAFE|the guard", first), first
    # Nobody could verify a rig that does not answer: that stands before all plans, and each plan once.
    headline, table = ended.out.index("\nUNSAFE: the rig was left live"), ended.out.index("\nverdict ")
    assert headline < table
    assert "battery's contactor" in ended.out[headline:table]
    assert f"'rackproof safe {emulated.rig}'" in ended.out[headline:table]
    assert len(re.findall(r"^(?:ERROR|ABORTED) +PO-01 ", ended.out[:headline], re.MULTILINE)) == 1
    assert re.search(rf"^=+ {len(ended.verdicts)} errors? in", ended.out, re.MULTILINE), (
        "each plan counts once"
    )
    assert ended.record.unsafe
    assert "UNSAFE: the rig was left live" in (ended.folder / "report.html").read_text()
    assert ended.code == 1
    assert "INTERNALERROR" not in ended.said


def test_who_reads_beside_a_run_leaves_it_the_wires_that_are_its_own(home):
    """To open an analyzer is to stop its integration; a converter has a connection for each."""
    with polling(home, "inverter", "ac_power_w()") as (emulated, process, runs):
        refused = home.rackproof("read", emulated.rig, "analyzer.values", "battery_dc")
        beside = home.rackproof("read", emulated.rig, "inverter.ac_power_w")
        process.send_signal(signal.SIGINT)
        ended = finish(process, runs)
    assert refused.code == 1, refused.said
    assert "wire analyzer_lan is held by" in refused.said
    assert beside.code == 0, beside.said
    assert ended.messages == {"PO-01": "stopped from the keyboard"}


def test_ctrl_c_on_the_wall_clock_comes_to_rest_and_runs_no_other_plan(home):
    with polling(home, "inverter", "ac_power_w()") as (_, process, runs):
        process.send_signal(signal.SIGINT)
        ended = finish(process, runs)
    assert ended.code == 2
    assert ended.verdicts == {"PO-01": "ABORTED"}
    assert ended.messages == {"PO-01": "stopped from the keyboard"}
    journal = (ended.folder / "journal.jsonl").read_text()
    assert journal.index('"pcs.set_power_w"') < journal.index('"outcome"') < journal.index('"grid.turn_off"')
    assert home.rackproof("verify", ended.folder).code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_emulators_cleanly(home, number):
    with emulating(home) as emulated:
        assert emulated.stop(number) == (0, "")


@pytest.mark.parametrize("choice", PASSING)
def test_passes_over_the_hardware_path(passing, choice):
    """After arming; in real time, with another clock in another process; filed as emulated all the same."""
    ended = passing[choice].result()
    assert ended.verdicts == {PASSING[choice]: "PASS"}, ended.messages
    assert ended.code == 0
    subject = ended.record.subject
    assert (subject["is_emulated"], subject["clock"]) == (True, "wall")


# --- a battery emulated here, the other devices there ---------------------------------------------

FOLLOWED = """
import asyncio

from harness.plans import plan


@plan("SI-01", "a battery that is emulated beside real devices", hazard="energises", measures=("follows",),
      limit_s=120.0)
async def test_follows(battery, inverter, grid, analyzer, judge):
    await grid.turn_on()
    await inverter.turn_on()
    await inverter.set_power_w(4000.0)
    await asyncio.sleep(12.0)
    measured = (await analyzer.values("battery_dc")).current_a
    said = await battery.current_a()
    print(f"SAID {said.value:.1f} MEASURED {measured.value:.1f} SOC {(await battery.soc()).value:.4f}")
    is_close = measured.value > 50.0 and abs(said.value - measured.value) < 2.0
    judge("follows", is_close, "rackproof_bench.is_true")
"""


def test_a_battery_emulated_beside_real_devices_feeds_the_inverter_and_follows_the_measured_current(home):
    """The inverter there runs on the frames sent here: without them it stands still.

    The battery is named twice, by its role and by its name, and is one device.
    """
    with without_battery(home) as there:
        armed(home, there.rig)
        followed = home.pytest(*home.plans(FOLLOWED), f"--rig={there.rig}", "--emulate=battery,bms", "-s")
        alone = home.pytest(*home.plans(FOLLOWED), f"--rig={there.rig}", "-s")
    assert followed.verdicts == {"SI-01": "PASS"}, followed.said
    assert "bms emulated here" in followed.out
    assert followed.record.subject["is_emulated"] is True
    assert followed.record.subject["more"]["stand_ins"] == ["bms"]
    assert followed.record.subject["clock"] == "wall"
    assert alone.verdicts == {"SI-01": "ERROR"}, alone.said
    assert "bms" in alone.messages["SI-01"]


def test_what_stands_on_no_can_line_cannot_be_left_out(home):
    ended = home.rackproof("emulate", "lab1", "--without", "pcs")
    assert ended.code == 4
    assert "--without pcs: it stands on wire pcs_lan, which is modbus_tcp" in ended.err
