"""``rackproof``: each command does what its help says, and says what is wrong in a line."""

from __future__ import annotations

import inspect
import os
import re
import signal
from pathlib import Path

import pytest

from harness.cli import main, on_reading_bench, readings_of
from harness.errors import Unsafe
from harness.rig.bench import Bench
from harness.rig.driver_folders import find_driver
from harness.rig.emulation import pointed_at
from harness.rig.files import load_product, load_rig, write_rig
from harness.roles import ROLES
from harness.safety.lease import UNSAFE, Lease

from .processes import FOR_ALL_PLANS, LAB1, LFP_RACK, REPOSITORY, Home, changed, finish


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


TOO_WEAK = ("power_w = 15000.0\ncan_sink", "power_w = 10500.0\ncan_sink")
"""A source that cannot feed a charge and the critical load."""


def served(path: Path, *changes: tuple[str, str]) -> Path:
    """Write a copy of lab1 as ``rackproof emulate`` would, at ports where nobody listens."""
    rig = load_rig(changed(LAB1, path.with_name("by_hand.toml"), *changes))
    addresses = {wire: ("127.0.0.1", 40000 + count) for count, wire in enumerate(rig.wires)}
    write_rig(pointed_at(rig, addresses), path)
    return path


# read


def test_reads_a_value_of_a_role_or_of_a_device(capsys):
    assert main(["read", "lab1", "battery.soc", "--emulate"]) == 0
    by_role = capsys.readouterr().out
    assert main(["read", "lab1", "bms.soc", "--emulate"]) == 0
    assert capsys.readouterr().out == by_role
    assert re.fullmatch(r"bms\.soc = 0\.\d+  at \d+\.\d{3} s\n", by_role)


def test_reads_a_value_that_asks_for_a_phase(capsys):
    assert main(["read", "lab1", "grid.voltage_v", "2", "--emulate"]) == 0
    assert re.fullmatch(r"grid\.voltage_v = \d+\.?\d*  at \d+\.\d{3} s\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ("inverter.state", r"pcs\.state = off  at \d\.\d{3} s"),
        ("inverter.alarms", r"pcs\.alarms = none  at .*"),
        ("inverter.identity", r"pcs\.identity = Rackproof Emulated .*, serial EMU-0001, firmware .*"),
        ("safety.inputs", r"safety\.inputs = e_stop_released: yes, .*battery_contactor_closed: no  at .*"),
    ],
)
def test_what_is_no_number_is_read_in_words(capsys, reading, said):
    assert main(["read", "lab1", reading, "--emulate"]) == 0
    assert re.fullmatch(f"{said}\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lab1", "batery.soc"], r"rig lab1 has no device 'batery'; it has: bms, pcs, .*mean 'battery'\?"),
        (["lab1", "battery.socc"], r"bms \(pylontech_lv\) has no reading 'socc'; .*did you mean 'soc'\?"),
        (["lab1", "battery"], r"bms \(pylontech_lv\) has no reading ''"),
        (["lab1", "grid.voltage_v"], r"grid\.voltage_v asks for: phase; came: nothing"),
        (["lab1", "grid.voltage_v", "1", "2"], r"grid\.voltage_v asks for: phase; came: 1, 2"),
        (["lab1", "battery.soc", "1"], r"battery\.soc asks for: nothing; came: 1"),
        (["lab1", "inverter.set_power_w", "5000"], r"pcs \(sunspec_storage\) has no reading 'set_power_w'"),
        (["lab1", "inverter.turn_on"], r"pcs \(sunspec_storage\) has no reading 'turn_on'"),
        (["lab1", "inverter.disarm_watchdog"], r"pcs \(sunspec_storage\) has no reading 'disarm_watchdog'"),
        (["lab1", "safety.disarm_watchdog"], r"safety \(wago_750\) has no reading 'disarm_watchdog'"),
        (["lab11", "battery.soc"], r"unknown rig 'lab11'; known: .*did you mean 'lab1'\?"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_can(capsys, arguments, said):
    """And a command is no reading: nothing is set by asking. On hardware too, before anything is opened."""
    for emulated in (["--emulate"], []):
        assert main(["read", *arguments, *emulated]) == 4
        error = capsys.readouterr().err
        assert error.startswith("1 mistake:\n")
        assert re.search(said, error), error


@pytest.mark.parametrize(
    "folder", sorted(each.parent.name for each in (REPOSITORY / "drivers").glob("*/driver.py"))
)
def test_a_reading_is_what_gives_something_and_no_command_does(folder):
    """By the role's own words, so that a command of tomorrow needs no entry in a list."""
    driver = find_driver(folder)
    role = ROLES[driver.ROLE]
    words = {
        name: inspect.signature(each).return_annotation
        for name, each in inspect.getmembers(role)
        if inspect.iscoroutinefunction(each)
    }
    commands = {name for name, gives in words.items() if gives == "None"}
    readings = set(readings_of(driver.Driver))
    assert not readings & commands
    assert readings >= words.keys() - commands - {"waveforms"}


@pytest.mark.parametrize(
    ("device", "command"),
    [("safety", "disarm_watchdog"), ("pcs", "disarm_watchdog"), ("grid", "turn_off"), ("relay", "insert")],
)
def test_nothing_can_be_commanded_on_a_bench_that_was_opened_to_read(device, command):
    """Not even by a driver whose reading commands: it is refused where it would be recorded."""
    rig = load_rig("lab1")

    async def work(bench: Bench) -> int:
        arguments = ["bms_can_open"] if command == "insert" else []
        await getattr(bench.devices[device], command)(*arguments)
        return 0

    with pytest.raises(
        Unsafe, match=rf"^{device}\.{command}\(.*refused before it was sent: .*opened to read"
    ):
        on_reading_bench(rig, load_product(rig.product), work, emulate=True)


@pytest.mark.parametrize("phase", ["7", "\N{SUPERSCRIPT TWO}", "one", "9" * 5000])
def test_a_phase_that_is_none_is_refused_in_a_line(capsys, phase):
    assert main(["read", "lab1", "grid.voltage_v", phase, "--emulate"]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


# check


def test_checks_the_files_and_reaches_every_device(capsys):
    assert main(["check", "lab1", "--emulate"]) == 0
    out = capsys.readouterr().out
    assert "8 devices on 8 wires, product lfp_rack: files are sound" in out
    assert re.findall(r"^  (\w+) ", out, re.MULTILINE) == [
        "bms",
        "pcs",
        "relay",
        "shunt",
        "safety",
        "analyzer",
        "grid",
        "recorder",
    ]
    assert out.count("never on hardware") == 8


def test_says_why_a_rig_must_not_be_energised(capsys, tmp_path):
    rig = changed(LAB1, tmp_path / "lab1.toml", TOO_WEAK)
    assert main(["check", str(rig), "--emulate"]) == 0
    assert "not to be energised: " in capsys.readouterr().out


# plans


def test_lists_all_plans_with_their_hazard_and_time():
    """Its own process: it collects with pytest."""
    ended = Home(Path.cwd()).rackproof("plans")
    assert ended.code == 0
    assert re.findall(r"^([A-Z]{2}-\d\d) ", ended.out, re.MULTILINE) == [
        "CC-02", "CC-03", "CM-06", "FO-15", "RT-01", "RT-08", "RT-09",
    ]  # fmt: skip
    assert re.search(r"CM-06 +Goes to zero.*\n +stresses; .*up to 900 s", ended.out)


def test_says_which_plans_a_rig_can_run_and_why_not(tmp_path):
    text = LAB1.read_text()
    for begin, end in (
        ("[wires.recorder_lan]", "[devices.bms]"),
        ("[devices.recorder]", "[topology.source]"),
        ("[triggers.profile_start]", "[envelope."),
    ):
        text = text[: text.index(begin)] + text[text.index(end) :]
    rig = tmp_path / "poor.toml"
    rig.write_text(text)
    rig = changed(rig, rig, (FOR_ALL_PLANS[0], 'plans = ["CC-03", "CM-06"]'))
    ended = Home(tmp_path).rackproof("plans", rig)
    said = dict(re.findall(r"^([A-Z]{2}-\d\d) .*\n.*\n +on lab1: (.*)$", ended.out, re.MULTILINE))
    assert said["CM-06"] == "NOT TESTABLE: no recorder"
    assert said["FO-15"].startswith(("NOT TESTABLE", "left out"))


def test_plans_that_cannot_be_collected_are_told(tmp_path):
    """A list that leaves some out without a word would be taken for the whole.

    The folder is in no repository: pytest-asyncio's word about its missing settings is not a plan's mistake.
    """
    (tmp_path / "test_broken.py").write_text("def test(:\n")
    ended = Home(tmp_path).rackproof("plans", "--testplans", tmp_path)
    assert ended.code == 4
    assert re.search(r"pytest cannot collect the plans: =+ ERRORS =+\n.*test_broken\.py", ended.err)


def test_plans_of_a_folder_that_is_not_there_are_told_in_a_line(capsys):
    assert main(["plans", "--testplans", "testplanz"]) == 4
    assert (
        capsys.readouterr().err
        == "1 mistake:\n  testplanz: there is no such file or folder of plans; name one with --testplans\n"
    )


def test_a_folder_without_plans_is_told(tmp_path):
    ended = Home(tmp_path).rackproof("plans", "--testplans", tmp_path)
    assert (ended.code, ended.out.strip()) == (1, f"no plans under {tmp_path}")


# arm, emulate


def test_hardware_is_not_armed(capsys):
    assert main(["arm", "lab1", "--person", "A. Tester"]) == 1
    assert capsys.readouterr().err.startswith(
        "refused: rig lab1 cannot be armed: it was never commissioned as its file stands"
    )


def test_a_rig_that_must_not_be_energised_is_not_armed(capsys, tmp_path):
    rig = served(tmp_path / "lab1.toml", TOO_WEAK)
    assert main(["arm", str(rig), "--person", "A. Tester"]) == 1
    assert "charge and critical load draw 11000.0 W" in capsys.readouterr().err


def test_hardware_that_calls_itself_emulated_is_not_armed(capsys, tmp_path):
    """It would need no commissioning: the file is refused, with every wire that may reach hardware."""
    rig = changed(LAB1, tmp_path / "lab1.toml", ("plans =", "emulated = true\nplans ="))
    assert main(["arm", str(rig), "--person", "A. Tester"]) == 4
    error = capsys.readouterr().err
    assert set(re.findall(r"lab1\.toml: wires\.(\w+).*: emulated = true, and this may reach", error)) == set(
        load_rig(LAB1).wires
    )


def test_an_armed_rig_is_told_until_when_and_what_was_confirmed(capsys, tmp_path):
    rig = served(tmp_path / "lab1.toml")
    assert main(["arm", str(rig), "--person", "A. Tester", "--minutes", "5"]) == 0
    out = capsys.readouterr().out
    assert re.match(
        r"rig lab1 is armed by A\. Tester until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, who confirms:\n", out
    )
    assert out.count("\n  - ") == 3
    assert main(["disarm", str(rig)]) == 0


@pytest.mark.parametrize("command", [["arm", "--person", "A. Tester"], ["disarm"]])
def test_a_state_folder_that_cannot_be_written_is_told_in_a_line(capsys, monkeypatch, tmp_path, command):
    rig = served(tmp_path / "lab1.toml")
    monkeypatch.setenv("XDG_STATE_HOME", str(rig))
    name, *options = command
    assert main([name, str(rig), *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{rig}/rackproof/armed: cannot be written: Not a directory; ")


def test_what_a_rig_was_closed_for_is_told_line_by_line_as_it_is_cleared(capsys):
    lease = Lease.take(load_rig("lab1"))
    lease.write(UNSAFE, "ac_voltage is live: 115.5 V; battery_current: shunt.current_a is stale")
    lease.close()
    assert main(["clear", "lab1", "--person", "A. Tester"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "rig lab1 is open again on the word of A. Tester; it was closed:",
        "  ac_voltage is live: 115.5 V",
        "  battery_current: shunt.current_a is stale",
    ]


def test_a_rig_file_that_cannot_be_written_is_told(capsys, tmp_path):
    assert main(["emulate", "lab1", "--write", str(tmp_path / "nowhere" / "rig.toml")]) == 4
    assert "nowhere/rig.toml: cannot be written" in capsys.readouterr().err


def test_a_rig_file_that_somebody_wrote_is_not_written_over(capsys, tmp_path):
    mine = changed(LAB1, tmp_path / "lab1.toml")
    assert main(["emulate", "lab1", "--write", str(mine)]) == 4
    assert "lab1.toml: stands there, and rackproof emulate has not written it" in capsys.readouterr().err
    assert mine.read_bytes() == LAB1.read_bytes()


# verify, seal


@pytest.mark.parametrize("command", ["verify", "seal"])
def test_a_folder_that_is_no_run_is_told(capsys, tmp_path, command):
    assert main([command, str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert str(tmp_path) in said.out + said.err
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "lab1", "lab2"], "rackproof check: error: unrecognized arguments: lab2"),
        (
            ["read", "lab1", "battery.soc", "--emulatte"],
            "rackproof read: error: unrecognized arguments: --emulatte; did you mean '--emulate'?",
        ),
        (["verify"], "rackproof verify: error: the following arguments are required: folder"),
        (["read", "lab1"], "rackproof read: error: the following arguments are required: value\n"),
    ],
)
def test_a_wrong_command_line_is_answered_with_its_commands_own_usage(capsys, arguments, said):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"usage: rackproof {arguments[0]} ")
    assert said in error


def test_ctrl_c_while_everything_is_imported_ends_it_without_a_word(tmp_path):
    """The first module that the commands import stands in the way, and presses it."""
    home = Home(tmp_path)
    (tmp_path / "argparse.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    home.environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ended = finish(home.start("harness", "plans"), tmp_path)
    assert ended.code == -signal.SIGINT
    assert not ended.said


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "usage: rackproof" in capsys.readouterr().err


# what two files say of the same thing


def test_a_plan_that_there_is_not_is_told_by_check_with_the_key_that_names_it(capsys, tmp_path):
    product = changed(LFP_RACK, tmp_path / "rack.toml", ('"CC-02", ', '"CC-20", '))
    rig = changed(LAB1, tmp_path / "lab1.toml", ('"RT-01", ', '"RT-10", '))
    assert main(["check", str(rig), "--product", str(product), "--emulate"]) == 4
    error = capsys.readouterr().err
    assert "lab1.toml: plans: unknown plan 'RT-10'; known: CC-02" in error
    assert "rack.toml: acceptance_plans: unknown plan 'CC-20'" in error


OWN_PLAN = """
from harness.plans import plan


@plan("MY-01", "The battery answers", hazard="reads", measures=("voltage",), limit_s=60.0)
async def test_answers(battery, judge):
    judge("voltage", await battery.voltage_v(), "product_limits.voltage_window")
"""


@pytest.fixture
def own_project(tmp_path: Path) -> Home:
    """A project that has one plan, and nothing of Rackproof's."""
    (tmp_path / "testplans").mkdir()
    (tmp_path / "testplans" / "test_mine.py").write_text(OWN_PLAN)
    for kind in ("rigs", "products"):
        (tmp_path / "fixtures" / kind).mkdir(parents=True)
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("rig", "has_plans"),
    [
        ("lab1", True),
        (LAB1, True),
        ("mybench", True),
        ("fixtures/rigs/mybench.toml", True),
        ("mybench", False),
    ],
)
def test_a_project_of_its_own_need_not_have_the_plans_that_the_installed_files_list(
    own_project, rig, has_plans
):
    """Nor those that a copy of them lists, as ``rackproof emulate`` writes one."""
    changed(LAB1, own_project.path / "fixtures/rigs/mybench.toml", ('name = "lab1"', 'name = "mybench"'))
    if not has_plans:
        (own_project.path / "testplans").rename(own_project.path / "elsewhere")
    ended = own_project.rackproof("check", rig, "--emulate", cwd=own_project.path)
    assert (ended.code, ended.err) == (0, "")
    assert "files are sound" in ended.out


@pytest.mark.parametrize(
    "asked", [("mine", "my_rack"), ("fixtures/rigs/mine.toml", "fixtures/products/my_rack.toml")]
)
def test_a_plan_misspelt_in_a_projects_own_file_is_told_with_its_own_and_the_installed_ones(
    own_project, asked
):
    for source, place, name, written in (
        (LAB1, "rigs/mine.toml", "lab1", '"MY-10", '),
        (LFP_RACK, "products/my_rack.toml", "lfp_rack", '"FO-51", "MY-01", '),
    ):
        own = own_project.path / "fixtures" / place
        renamed = (f'name = "{name}"', f'name = "{own.stem}"')
        changed(source, own, renamed, ('"FO-15", ', written))
    rig, product = asked
    ended = own_project.rackproof("check", rig, "--product", product, "--emulate", cwd=own_project.path)
    assert ended.code == 4
    first, *mistakes = ended.err.splitlines()
    assert first == "2 mistakes:", ended.err
    assert "mine.toml: plans: unknown plan 'MY-10'; known: CC-02" in mistakes[0]
    assert mistakes[0].endswith("did you mean 'MY-01'?")
    assert "my_rack.toml: acceptance_plans: unknown plan 'FO-51'; known: CC-02" in mistakes[1]
    assert mistakes[1].endswith("did you mean 'FO-15'?")


def test_all_mistakes_of_all_files_are_told_together(capsys, tmp_path):
    """An unsound rig hides neither the plans that it lists nor its product's mistakes, and makes up none."""
    product = changed(LFP_RACK, tmp_path / "rack.toml", ("capacity_ah = ", "capacity_a = "))
    rig = changed(
        LAB1,
        tmp_path / "lab1.toml",
        ('"RT-01", ', '"RT-10", '),
        ('role = "battery"', 'role = "batery"'),
        ('site = "osaka"', 'site = "osaca"'),
    )
    assert main(["check", str(rig), "--product", str(product), "--emulate"]) == 4
    first, *mistakes = capsys.readouterr().err.splitlines()
    assert first == "5 mistakes:"
    for words in ("site: ", "devices.bms.role: ", "ratings.capacity_ah ", "ratings.capacity_a =", "plans: "):
        assert sum(f".toml: {words}" in mistake for mistake in mistakes) == 1, (words, mistakes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('protocol = "pylontech_1.2"', 'protocol = "pylontech_1.3"'), "options.variant = '359_35c'"),
        (("period_s = 1.0 ", "period_s = 0.5 "), "options.period_s = 1.0"),
    ],
)
def test_what_rig_and_product_say_differently_is_told_with_both_places(capsys, tmp_path, change, said):
    product = changed(LFP_RACK, tmp_path / "rack.toml", change)
    assert main(["check", "lab1", "--product", str(product), "--emulate"]) == 4
    error = capsys.readouterr().err
    assert f"rig lab1: devices.bms.{said}, and product lfp_rack: bms." in error


def test_the_skew_of_a_trigger_stands_in_two_places_and_is_the_same(capsys, tmp_path):
    rig = changed(LAB1, tmp_path / "lab1.toml", ("trigger_skew_s = 20e-6", "trigger_skew_s = 30e-6"))
    assert main(["check", str(rig), "--emulate"]) == 4
    error = capsys.readouterr().err
    assert "triggers.profile_start.skew_s = 2e-05" in error
    assert "devices.recorder.options.trigger_skew_s = 3e-05" in error


def test_a_reader_who_has_seen_enough_is_no_error_to_read_about(tmp_path):
    """As in ``rackproof plans | head``: the pipe is closed before the first line."""
    home = Home(tmp_path)
    process = home.start("harness.cli", "plans", "lab1")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=120.0) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


def test_what_the_file_system_refuses_is_one_line(tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("")
    assert main(["verify", str(taken)]) == 1
    said = capsys.readouterr()
    assert said.out + said.err == f"{taken / 'record.json'}: Not a directory\n"
