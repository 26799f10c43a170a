"""The worst verdict is the outcome: in pytest, in its exit code, in the record and in both JUnit files."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.record.record import first_cause, read_document, record_of, without_ports
from harness.session import Choice, RigSession

from .processes import FOR_ALL_PLANS, LAB1, REPOSITORY, Ended, Home, changed, finish, wait_until

ODD_PLANS = Path(__file__).with_name("odd_plans.py").read_text()
PLANS = re.findall(r'^@\w+\("(..-..)"', ODD_PLANS, re.MULTILINE)
FUNCTIONS = dict(zip(PLANS, re.findall(r"^async def (\w+)", ODD_PLANS, re.MULTILINE), strict=True))


class OddHome(Home):
    """A home with the odd plans, and a rig that runs plans of any id."""

    def run(
        self, *arguments: object, chosen: str = "", rig_changes: tuple[tuple[str, str], ...] = ()
    ) -> Ended:
        rig = changed(LAB1, self.path / "lab1.toml", *(rig_changes or (FOR_ALL_PLANS,)))
        choice = ("-k", chosen) if chosen else ()
        return self.pytest(*self.plans(ODD_PLANS), f"--rig={rig}", "--emulate", *choice, *arguments)


@pytest.fixture
def home(tmp_path: Path) -> OddHome:
    return OddHome(tmp_path)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """All odd plans, run once, in a folder named as one of ours; pytest's JUnit file lies beside the runs."""
    home = OddHome(tmp_path_factory.mktemp("harness", numbered=False))
    home.environment["COLUMNS"] = "1000"  # pytest cuts its short summary off at the terminal's edge
    return home.run(f"--junitxml={home.path / 'pytest.xml'}")


VERDICTS = {
    "AB": "ABORTED",
    "ER": "ERROR",
    "FA": "FAIL",
    "IN": "INCONCLUSIVE",
    "NT": "NOT TESTABLE",
    "OK": "PASS",
}
EXCEPTIONS = {"NT-02": "FAIL"}
"""Plans with two verdicts: the worse one holds."""


def expected(plan: str) -> str:
    return EXCEPTIONS.get(plan, VERDICTS[plan[:2]])


def test_every_plan_has_its_verdict(odd):
    assert odd.verdicts == {plan: expected(plan) for plan in PLANS}


def test_what_a_plan_left_behind_commands_nothing_while_the_rig_comes_to_rest(odd):
    journal = (odd.folder / "journal.jsonl").read_text()
    assert '"asked":5000.0' in journal.replace(" ", "")
    assert "4321.25" not in journal


def test_the_exit_code_is_pytests_own_where_something_failed(odd):
    """A failure outranks what could not be tested."""
    assert odd.code == 1


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("AB-01", "the interlock tripped"),
        ("ER-01", "the door is open"),
        ("ER-02", "declared and never judged: forgotten"),
        ("ER-03", "AssertionError: assert"),
        (
            "ER-04",
            "alive: no requirement 'rackproof_bench.is_ture'; did you mean rackproof_bench.is_true or ",
        ),
        ("ER-05", "measure 'alvie' is not declared; declared: 'alive'; did you mean 'alive'?"),
        ("ER-06", "the plan declares no measure"),
        ("ER-07", "ER-07 is not over after 5 s of rig time, which is all that it declared"),
        ("ER-08", "there is no fixture 'chamber'; a plan may ask for battery, inverter, grid, "),
        ("ER-08", "; rig lab1 has the roles battery, dc_sensor, "),
        ("ER-09", "sag: false; allowed true"),
        ("ER-10", "Skipped: not today"),
        ("ER-11", "Skipped: not today"),
        ("ER-12", "the rig did not come to rest: "),
        ("ER-14", "there is no fixture 'batery'; did you mean 'battery'?; a plan may ask for "),
        ("ER-15", "there is no fixture 'power_analyzer'; did you mean 'analyzer'?; a plan may ask for "),
        ("ER-16", "alive: Driver.is_charge_allowed() was not waited for: write await before it"),
        ("ER-17", "a plan polls without waiting; allowed: await asyncio.sleep(...) between two looks"),
        ("ER-18", "'Driver' object has no attribute 'charge'"),
        ("ER-19", "an await is missing at or before test_own.py:"),
        ("ER-19", "coroutine 'Driver.set_power_w' was never awaited"),
        ("ER-20", "a task that nobody waited for ended with ValueError: lost; await it"),
        ("ER-22", "watch still ran when the plan ended; await it"),
        ("ER-24", "what the loop called back ended with ValueError: unseen"),
        ("ER-25", "test_judges_after_its_end.<locals>.late was still to be called when the plan ended"),
        ("ER-26", "decides by the uncertainty, and what was measured has none: measure it with an "),
        ("ER-23", "time.sleep(2) lets no rig time pass; write await asyncio.sleep(2)"),
        ("FA-01", "first: false; allowed true"),
        ("FA-02", "alive: false; allowed true"),
        ("IN-01", "alive: 0.861"),
        ("NT-01", "rig lab1 has no chamber"),
    ],
)
def test_every_verdict_says_why(odd, plan, said):
    assert said in odd.messages[plan]


def test_what_ended_a_plan_is_told_before_what_went_wrong_on_the_way_to_rest(odd):
    first, second, third = odd.messages["ER-13"].splitlines()
    assert first == "the door is open"
    assert second.startswith("the rig did not come to rest: ")
    assert third.startswith("closing the bench: ")


def test_the_judge_records_and_goes_on_after_a_fail(odd):
    (plan,) = (each for each in odd.record.plans if each.plan == "FA-01")
    assert [(each["measure"], each["verdict"]) for each in plan.judgements] == [
        ("first", "FAIL"),
        ("second", "PASS"),
    ]


def test_a_traceback_begins_with_the_plan_and_an_error_in_words_has_none(odd):
    told = odd.out[odd.out.index("= ERRORS =") :]
    assert "await battery.charge()" in told
    for hidden in ("harness/session.py", "harness/clock.py", "FixtureLookupError", "available fixtures"):
        assert hidden not in told, hidden


def test_a_time_that_was_overrun_ends_there(odd):
    (plan,) = (each for each in odd.record.plans if each.plan == "ER-07")
    assert 5.0 <= plan.duration_s < 10.0


def test_the_terminal_has_a_line_for_each_plan_and_the_worst_first_in_its_table(odd):
    for plan, verdict in odd.verdicts.items():
        assert re.search(rf"^{verdict} +{plan}  An odd plan", odd.out, re.MULTILINE), plan
    table = odd.out[odd.out.index("verdict  ") :]
    order = [word for word in re.findall(r"^([A-Z ]+?)  ", table, re.MULTILINE) if word in VERDICTS.values()]
    assert order == sorted(order, key=list(VERDICTS.values()).index)
    assert len(order) == len(odd.verdicts)


OUTCOMES = {
    "ABORTED": ["error"],
    "ERROR": ["error"],
    "FAIL": ["failure"],
    "INCONCLUSIVE": ["failure"],
    "NOT TESTABLE": ["skipped"],
    "PASS": [],
}


def test_the_runs_junit_file_has_failures_of_the_product_and_errors_of_the_bench(odd):
    root = ET.parse(odd.folder / "junit.xml").getroot()  # noqa: S314 - our own
    found = {
        case.get("name", "").split()[0]: [
            each.tag for each in case if each.tag in {"failure", "error", "skipped"}
        ]
        for case in root.iter("testcase")
    }
    assert found == {plan: OUTCOMES[verdict] for plan, verdict in odd.verdicts.items()}


def test_pytests_own_junit_file_counts_all_four_as_failures(odd):
    root = ET.parse(odd.runs.parent / "pytest.xml").getroot()  # noqa: S314 - our own
    bad = {case.get("name") for case in root.iter("testcase") if case.find("failure") is not None}
    bad |= {case.get("name") for case in root.iter("testcase") if case.find("error") is not None}
    skipped = {case.get("name") for case in root.iter("testcase") if case.find("skipped") is not None}
    assert skipped == {"test_needs_what_is_missing"}
    assert len(bad) == sum(OUTCOMES[verdict] in (["failure"], ["error"]) for verdict in odd.verdicts.values())


def test_a_run_of_all_verdicts_is_sealed_and_sound(odd):
    home = Home(odd.runs.parent)
    verified = home.rackproof("verify", odd.folder)
    assert (verified.code, verified.out.strip()) == (0, f"{odd.folder}: sealed, whole and signed")
    assert (odd.folder / "report.html").stat().st_size > 0


# What pytest does with failures


def test_maxfail_counts_f_i_e_and_a_and_not_n(home):
    ended = home.run("--maxfail=4")
    assert list(ended.verdicts) == ["NT-01", "IN-01", "FA-01", "ER-01", "AB-01"]


def test_x_stops_at_the_mildest_failure(home):
    ended = home.run("-x", chosen="NT-01 or IN-01 or OK-01")
    assert ended.verdicts == {"NT-01": "NOT TESTABLE", "IN-01": "INCONCLUSIVE"}
    assert ended.code == 1


def test_lf_runs_what_failed_and_nothing_else(home):
    cache = f"-ocache_dir={home.path / 'cache'}"
    chosen = "NT-01 or IN-01 or FA-01 or ER-01 or AB-01 or OK-01"
    assert len(home.run(cache, chosen=chosen).verdicts) == 6
    again = home.run(cache, "--lf", chosen=chosen)
    assert list(again.verdicts) == ["IN-01", "FA-01", "ER-01", "AB-01"]


# What this rig cannot show


def without_recorder(target: Path) -> Path:
    """Copy lab1 as a rig that has no recorder."""
    text = LAB1.read_text()
    for begin, end in (("[wires.recorder_lan]", "[devices.bms]"), ("[devices.recorder]", "[topology.source]"),
                       ("[triggers.profile_start]", "[envelope.")):  # fmt: skip
        text = text[: text.index(begin)] + text[text.index(end) :]
    target.write_text(text)
    return target


def test_a_missing_role_makes_a_plan_not_testable_names_it_and_has_an_exit_code_of_its_own(home):
    rig = without_recorder(home.path / "poor.toml")
    options = ("testplans", f"--rig={rig}", "--emulate", "-k", "CM-06")
    ended = home.pytest(*options)
    assert ended.verdicts == {"CM-06": "NOT TESTABLE"}
    assert "the plan asks for one recorder, there is none" in ended.messages["CM-06"]
    assert ended.code == 10
    assert home.pytest(*options, "--allow-not-testable").code == 0


def test_plans_that_the_rig_is_not_for_are_counted_and_named(home):
    listed = (FOR_ALL_PLANS[0], 'plans = ["OK-01", "FA-01"]')
    ended = home.run(rig_changes=(listed,), chosen="OK-01 or ER-01 or ER-02")
    assert ended.verdicts == {"OK-01": "PASS"}
    assert ended.code == 0
    left = re.search(r"(\d+) plans are not for rig lab1: (.*)", ended.out)
    assert left is not None, ended.out
    assert len(left[2].split(", ")) == int(left[1])
    assert {"ER-01", "ER-02"} <= set(left[2].split(", "))


# Stopped from outside


@pytest.mark.parametrize(("serial", "numbers"), [("SN-7", [1, 2]), (None, [0, 0])])
def test_attempts_are_counted_where_a_unit_is_named(tmp_path, serial, numbers):
    found = []
    for _ in numbers:
        choice = Choice(rig="lab1", emulate=True, serial=serial, root=REPOSITORY, runs=tmp_path / "runs")
        run = RigSession(choice).open_run()
        run.seal()
        found.append(read_document(run.folder / "logbook.json")["attempt"]["number"])
    assert found == numbers


def test_the_record_says_which_editions_the_grid_codes_of_the_site_are(tmp_path):
    run = RigSession(Choice(rig="lab1", emulate=True, root=REPOSITORY, runs=tmp_path / "runs")).open_run()
    run.seal()
    more = record_of(read_document(run.folder / "record.json")).subject["more"]
    assert (more["site"], more["grid_codes"]) == ("osaka", ["jeac9701_2024", "ieee1547_2018"])


def begins(home: Home, runs: Path, events: int) -> bool:
    """Whether rig time runs: so many lines are in the journal."""
    return any(path.read_bytes().count(b"\n") > events for path in runs.glob("*_*/journal.jsonl"))


@pytest.fixture
def charge(home: OddHome) -> Iterator[tuple]:
    """A long plan that is on: its process and the folder of its runs."""
    command, runs = home.pytest_command("testplans", "--rig=lab1", "--emulate", "-k", "CC-03")
    process = home.start(*command)
    wait_until(process, lambda: begins(home, runs, 300))
    try:
        yield process, runs
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            pipe.close()


@pytest.mark.parametrize(("number", "count"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 10)])
def test_a_signal_in_the_middle_leaves_a_sealed_record_that_says_aborted(home, charge, number, count):
    """Ctrl-C, a build server that has waited long enough, or somebody who presses Ctrl-C until it ends."""
    process, runs = charge
    process.send_signal(number)
    for press in range(count - 1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.0005 * 2**press)  # up to 0.13 s
        process.send_signal(number)
    ended = finish(process, runs)
    assert ended.code == 2  # pytest's own: interrupted
    assert ended.verdicts == {"CC-03": "ABORTED"}
    assert ended.messages["CC-03"] == "stopped from the keyboard"
    kinds = [entry["kind"] for entry in ended.record.plans[0].entries]
    assert {"balance", "traffic"} <= set(kinds), "it came to rest, and its books were closed"
    assert re.search(r"^ABORTED +CC-03", ended.out, re.MULTILINE)
    assert (ended.folder / "report.html").exists()
    assert (ended.folder / "junit.xml").exists()
    assert "Traceback" not in ended.said
    assert "harness/" not in ended.said, "no trace of ours"
    assert home.rackproof("verify", ended.folder).code == 0


def test_ctrl_c_comes_to_rest_before_it_ends(charge):
    process, runs = charge
    process.send_signal(signal.SIGINT)
    ended = finish(process, runs)
    (plan,) = ended.record.plans
    commands = [(each["command"], each["asked"]) for each in plan.of_kind("command")]
    assert ("pcs.set_power_w", 0.0) in commands[-6:], commands[-6:]


def test_a_killed_run_keeps_every_whole_line_and_can_be_sealed(home, charge):
    process, runs = charge
    process.send_signal(signal.SIGKILL)
    process.wait()
    ended = Ended(process.returncode, "", "", runs)
    journal = (ended.folder / "journal.jsonl").read_bytes()
    whole = journal[: journal.rindex(b"\n") + 1]
    assert home.rackproof("verify", ended.folder).code == 1
    sealed = home.rackproof("seal", ended.folder)
    report = ended.folder / "report.html"
    assert (sealed.code, sealed.out) == (0, f"{ended.folder}: sealed, ABORTED\nreport: {report}\n")
    assert "ABORTED" in report.read_text()
    assert ET.parse(ended.folder / "junit.xml").getroot().get("errors") == "1"  # noqa: S314 - our own file
    assert home.rackproof("verify", ended.folder).code == 0
    assert (ended.folder / "journal.jsonl").read_bytes() == journal
    (plan,) = ended.record.plans
    readings = plan.entries[-2]["body"]
    assert sum(each["count"] for each in readings.values()) == whole.count(b',"r",[')
    assert len(plan.of_kind("command")) == whole.count(b',"command",')
    drawn = report.read_bytes()
    report.unlink()
    again = home.rackproof("seal", ended.folder)
    said = f"{ended.folder}: sealed already, its page drawn again, ABORTED\nreport: {report}\n"
    assert (again.code, again.out) == (0, said)
    assert report.read_bytes() == drawn


INTERRUPTED = """
import signal
import sys


def interrupt(event, arguments):
    if event == "open" and str(arguments[0]).endswith({name!r}):
        signal.raise_signal(signal.SIGINT)


sys.addaudithook(interrupt)
"""
"""A pytest plugin that presses Ctrl-C just as a file is opened."""


def interrupted_at(home: OddHome, name: str) -> Ended:
    (home.path / "interrupted.py").write_text(INTERRUPTED.format(name=name))
    home.environment["PYTHONPATH"] = os.pathsep.join([str(home.path), os.environ.get("PYTHONPATH", "")])
    return home.run("-p", "interrupted", chosen="OK-01")


@pytest.mark.parametrize("name", ["logbook.json.part", "junit.xml.part", "report.html.part"])
def test_ctrl_c_while_a_run_is_sealed_and_reported_ends_it_after_the_summary(home, name):
    """The plans are over: what the person wants is what comes anyway."""
    ended = interrupted_at(home, name)
    assert ended.code == 0
    assert "the plans are over: it ends once the run is sealed and reported" in ended.out
    assert f"report: {ended.folder / 'report.html'}" in ended.out
    assert "Traceback" not in ended.said
    assert home.rackproof("verify", ended.folder).code == 0


def test_ctrl_c_as_the_runs_folder_appears_leaves_a_sealed_run(home):
    ended = interrupted_at(home, "/journal.jsonl")
    assert ended.code == 2
    assert ended.verdicts == {"OK-01": "ABORTED"}
    assert ended.messages["OK-01"] == "stopped from the keyboard"
    assert "Traceback" not in ended.said
    assert home.rackproof("verify", ended.folder).code == 0


STUCK = """
import asyncio

from harness.plans import plan


@plan("ST-01", "waits for ever", hazard="energises", measures=("alive",), limit_s=1e9)
async def test_waits(bench, battery, judge):
    bench.far_side.emulators["grid"].silent = True
    while True:
        await battery.voltage_v()
        await asyncio.sleep(1.0)


@plan("ST-02", "must not run", hazard="reads", measures=("alive",), limit_s=1e9)
async def test_comes_after(judge):
    judge("alive", True, "rackproof_bench.is_true")
"""


def test_after_ctrl_c_no_other_plan_runs_although_the_rig_does_not_come_to_rest(home):
    rig = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)
    command, runs = home.pytest_command(*home.plans(STUCK), f"--rig={rig}", "--emulate")
    process = home.start(*command)
    wait_until(process, lambda: begins(home, runs, 300))
    process.send_signal(signal.SIGINT)
    ended = finish(process, runs)
    assert ended.verdicts == {"ST-01": "ABORTED"}
    assert ended.code == 2
    assert "stopped from the keyboard" in ended.messages["ST-01"]
    assert "the rig did not come to rest: " in ended.messages["ST-01"]


TWO = """
import pytest

from harness.plans import plan


@plan("TW-01", "one of two", hazard="reads", measures=("alive",), limit_s=60.0)
@pytest.mark.parametrize("number", [1, 2])
async def test_is_alive(number, judge):
    judge("alive", True, "rackproof_bench.is_true")
"""


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        ("def pytest_runtest_logfinish():\n    raise KeyboardInterrupt\n", 2),
        ("import os\n\ndef pytest_runtest_logfinish():\n    os.kill(os.getpid(), 9)\n", -9),
    ],
    ids=["Ctrl-C", "killed"],
)
def test_a_run_that_ends_between_two_plans_says_which_it_did_not_begin(home, stop, code):
    rig = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)
    arguments = home.plans(TWO)
    (home.path / "plans" / "conftest.py").write_text(stop)
    ended = home.pytest(*arguments, f"--rig={rig}", "--emulate")
    assert ended.code == code
    if code == 2:
        assert "1 PASS; 1 of 2 plans were not begun: TW-01[2]" in ended.out
    else:
        assert home.rackproof("seal", ended.folder).out.startswith(f"{ended.folder}: sealed, ABORTED\n")
    assert ended.verdicts == {"TW-01[1]": "PASS"}
    assert ended.record.verdict == "ABORTED"
    assert ended.record.not_begun == ("TW-01[2]",)
    assert "1 of 2 plans were not begun: TW-01[2]." in (ended.folder / "report.html").read_text()
    suite = ET.parse(ended.folder / "junit.xml").getroot()  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("errors")) == ("2", "1")
    assert home.rackproof("verify", ended.folder).code == 0


def test_who_names_a_rig_and_no_folder_means_its_plans(home):
    ended = home.pytest("--rig=lab1", "--emulate", "--collect-only", "--quiet")
    assert ended.code == 0
    collected = [line for line in ended.out.splitlines() if "::" in line]
    assert collected
    assert {line.partition("/")[0] for line in collected} == {"testplans"}


FILLS_THE_DISK = TWO.replace(
    'judge("alive"',
    'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, -1))\n    judge("alive"',
)


def test_on_a_full_disk_no_other_plan_runs_and_the_reason_is_a_line(home):
    """Nothing of it could be kept."""
    rig = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)
    ended = home.pytest(*home.plans(FILLS_THE_DISK), f"--rig={rig}", "--emulate")
    assert ended.code == 1
    assert re.search(
        "Exit: no other plan runs, since nothing of it could be kept: .*File too large", ended.out
    )
    assert re.search("^ERROR +TW-01.1.", ended.out, re.MULTILINE)
    assert "could not be sealed" in ended.out
    assert "Traceback" not in ended.said
    assert "harness/" not in ended.said


def test_ctrl_c_gives_a_terminal_back_as_it_was(home):
    """The live view hides the cursor, and shows it again; nothing is written after its end by accident."""
    command, runs = home.pytest_command("testplans", "--rig=lab1", "--emulate", "-k", "CC-03")
    near, far = pty.openpty()
    process = home.start(*(each for each in command if each != "--no-live"), terminal=far)
    os.close(far)
    screen = b""
    is_stopped = False
    while True:
        try:
            piece = os.read(near, 65536)
        except OSError:  # how a pty says that nobody is left at its far end
            break
        screen += piece
        if not is_stopped and begins(home, runs, 300):
            process.send_signal(signal.SIGINT)
            is_stopped = True
    os.close(near)
    assert process.wait() == 2
    assert b"\x1b[?25l" in screen, "the live view was never on"
    assert screen.rindex(b"\x1b[?25h") > screen.rindex(b"\x1b[?25l")
    assert b"ABORTED" in screen[screen.rindex(b"\x1b[?25h") :]
    assert b"lost sys.stderr" not in screen


# What is left over

OPENINGS = 20
LEAKS = f"""
import os
import threading

import pytest

from harness.plans import plan


def left_over():
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{{name}}"))
        except FileNotFoundError:
            pass  # the listing's own
    ptys = sum("/pts/" in each or "ptmx" in each for each in links)
    print("LEFT", len(links), ptys, threading.active_count())


@plan("LK-01", "opens a bench", hazard="reads", measures=("alive",), limit_s=100.0)
@pytest.mark.parametrize("opening", range({OPENINGS}))
async def test_opens(opening, battery, inverter, grid, analyzer, recorder, fault_inserter, judge):
    judge("alive", (await battery.voltage_v()).value > 0.0, "rackproof_bench.is_true")


@pytest.fixture(autouse=True, scope="function")
def count(request):
    yield
    left_over()
"""


def test_20_plans_in_one_process_leave_no_more_descriptors_threads_or_ptys(home):
    """Counted after each bench has closed."""
    rig = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)
    ended = home.pytest(*home.plans(LEAKS), f"--rig={rig}", "--emulate", "-s")
    assert set(ended.verdicts.values()) == {"PASS"}
    counts = re.findall(r"LEFT (\d+) (\d+) (\d+)", ended.out)
    assert len(counts) == OPENINGS
    assert counts[-1] == counts[1], counts  # the first loads libraries


MINE = """
from harness.plans import plan


@plan("MY-01", "of a user's own folder", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_mine(battery, judge):
    judge("alive", (await battery.voltage_v()).value > 40.0, "rackproof_bench.is_true")
"""


def test_a_plan_runs_in_a_folder_of_its_own_without_a_word_of_settings(home):
    rig = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)
    (home.path / "myplan.py").write_text(MINE)
    ended = home.pytest("myplan.py", f"--rig={rig}", "--emulate", cwd=home.path)
    assert ended.code == 0, ended.said
    assert not ended.err
    assert "arning" not in ended.out


def test_a_pytest_without_rackproofs_options_is_left_alone(home):
    """The plugin loads in every pytest of its environment, and imports nothing heavy by that."""
    (home.path / "test_mine.py").write_text(
        "import sys\n\n\ndef test_mine():\n"
        "    assert 'harness.plugin' in sys.modules\n"
        "    assert not {'numpy', 'pydantic', 'pymodbus', 'can', 'pyvisa', 'rich'} & set(sys.modules)\n"
    )
    ended = finish(
        home.start("pytest", "-p", "no:cacheprovider", "-p", "no:anyio", "test_mine.py", cwd=home.path),
        home.path / "runs",
    )
    assert ended.code == 0, ended.said
    assert "1 passed" in ended.out
    assert not (home.path / "runs").exists()


def test_a_run_never_imports_pandas(home):
    """pyarrow looks for it in its conversions, and imports it where it is installed, for 0.25 s a process."""
    bait = home.path / "bait"
    bait.mkdir()
    bitten = home.path / "bitten"
    (bait / "pandas.py").write_text(f"open({str(bitten)!r}, 'w').close()\nraise ImportError\n")
    path = os.pathsep.join([str(bait), *filter(None, [os.environ.get("PYTHONPATH")])])
    home.environment["PYTHONPATH"] = path
    ended = home.pytest("testplans/ride_through", "--rig=lab1", "--emulate", "-k", "60Hz and 20")
    assert set(ended.verdicts.values()) == {"PASS"}
    assert list((ended.folder / "traces").glob("*_*.parquet")), "no capture was written, nor read back"
    assert not bitten.exists()
    finish(home.start("timeit", "-n1", "-r1", "import pyarrow; pyarrow.array([1.0])"), home.path)
    assert bitten.exists(), "the bait does not work"


DOES_NOT_CLOSE = """
import asyncio

from harness.plans import plan


@plan("CL-01", "its bench does not close", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_passes(bench, battery, judge):
    judge("alive", (await battery.voltage_v()).value > 40.0, "rackproof_bench.is_true")
    bench.far_side.emulators["bms"]._port.close()  # its next frame ends the emulator, and its stop says so
    await asyncio.sleep(2.0)


@plan("CL-02", "comes after", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_passes_too(battery, judge):
    judge("alive", (await battery.voltage_v()).value > 40.0, "rackproof_bench.is_true")
"""


def test_a_bench_that_does_not_close_makes_an_error_of_a_plan_that_had_passed(home):
    """In pytest's outcome, the record, both JUnit files and the terminal alike."""
    rig = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)
    xml = home.path / "pytest.xml"
    ended = home.pytest(*home.plans(DOES_NOT_CLOSE), f"--rig={rig}", "--emulate", f"--junitxml={xml}")
    assert ended.code == 1
    assert ended.verdicts == {"CL-01": "ERROR", "CL-02": "PASS"}
    assert "closing the bench: " in ended.messages["CL-01"]
    assert re.search(r"^ERROR +CL-01 .*closing the bench", ended.out, re.MULTILINE)
    assert ET.parse(xml).getroot().find("testsuite").get("errors") == "1"  # noqa: S314 - our own file
    assert ET.parse(ended.folder / "junit.xml").getroot().get("errors") == "1"  # noqa: S314 - our own file
    assert home.rackproof("verify", ended.folder).code == 0


def test_pytests_short_summary_says_the_verdict_and_its_cause_in_a_line(odd):
    lines = odd.out.partition("short test summary")[2].splitlines()
    assert {without_ports(line) for line in lines if "::" in line} == {
        f"{verdict} test_own.py::{FUNCTIONS[plan]} - {first_cause(odd.messages[plan])}"
        for plan, verdict in odd.verdicts.items()
        if verdict not in {"PASS", "NOT TESTABLE"}
    }
    assert "2 of 6 devices do not answer: pcs: refused; and 1 more" in "\n".join(lines)
    assert "\n  pcs: refused\n  relay: silent\n" in odd.out, "all of it stands above"


REORDERING = """
def pytest_addoption(parser):
    parser.addoption("--{flag}", default={default!r})
"""


@pytest.mark.parametrize(
    ("flag", "default", "given", "why"),
    [
        ("numprocesses", None, "--numprocesses=2", "xdist"),
        ("reruns", None, "--reruns=3", "re-runs"),
        ("random_order_bucket", None, "--random_order_bucket=all", "random order"),
        ("randomly_reorganize", True, "", "random order (pytest-randomly)"),
    ],
)
def test_what_reorders_or_repeats_is_refused_on_hardware_alone(home, flag, default, given, why):
    """The options are kept where xdist, rerunfailures, random-order and randomly keep theirs."""
    name = f"like_{flag}"
    (home.path / f"{name}.py").write_text(REORDERING.format(flag=flag, default=default))
    home.environment["PYTHONPATH"] = os.pathsep.join([str(home.path), os.environ.get("PYTHONPATH", "")])
    arguments = ("-p", name, "testplans", "--rig=lab1", "--collect-only", *filter(None, [given]))
    refused = home.pytest(*arguments)
    assert refused.code == 4
    assert f"{why}" in refused.err
    assert "one rig, one order, one attempt at a time" in refused.err
    assert home.pytest(*arguments, "--emulate").code == 0


def test_a_run_is_filed_in_the_database_that_is_named_once(home):
    """In virtual time only where it is asked for; without its database a run is sealed, and ends with 1."""
    url = f"sqlite:///{home.path / 'all.sqlite'}"
    plans = home.plans(DOES_NOT_CLOSE)
    rig = changed(LAB1, home.path / "lab1.toml", FOR_ALL_PLANS)
    filed = home.pytest(*plans, f"--rig={rig}", "--emulate", "-k", "CL-02", f"--store={url}")
    unfiled = home.pytest(*plans, f"--rig={rig}", "--emulate", "-k", "CL-02")
    lost = home.pytest(
        *plans, f"--rig={rig}", "--emulate", "-k", "CL-02", "--store=sqlite:////nowhere/at/all.sqlite"
    )
    assert (filed.code, unfiled.code, lost.code) == (0, 0, 1)
    assert "the run is sealed and not filed" in lost.out
    assert not list(unfiled.runs.glob("*.sqlite"))
    assert home.rackproof("file", unfiled.folder, "--store", url).code == 0
    assert home.rackproof("file", unfiled.folder, "--store", url).code == 0
    with contextlib.closing(sqlite3.connect(home.path / "all.sqlite")) as database:
        rows = database.execute("select folder, verdict, is_emulated from runs").fetchall()
    assert sorted(rows) == sorted((each.folder.name, "PASS", 1) for each in (filed, unfiled))
