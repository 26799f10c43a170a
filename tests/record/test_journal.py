import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchError
from harness.readings import Reading
from harness.record.journal import Journal, read_journal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal.jsonl")
    opened.open()
    yield opened
    opened.close()


def test_gives_back_what_was_written_without_being_closed(journal):
    journal.event("note", {"a": [1, float("inf")]}, 0.5)
    journal.reading(Reading(4.0, 1.25, "bms.u_v"))
    journal.reading(Reading(frozenset({"b", "a"}), 1.5, "bms.alarms"))
    journal.reading(Reading(True, 1.5, "bms.is_on"))
    events = read_journal(journal.path).events
    assert [tuple(event) for event in events] == [
        (0, 0.5, "note", {"a": [1, float("inf")]}),
        (1, 1.25, "r", ["bms.u_v", 4.0]),
        (2, 1.5, "r", ["bms.alarms", ["a", "b"]]),
        (3, 1.5, "r", ["bms.is_on", True]),
    ]


@given(value=st.floats(), at_s=st.floats(allow_nan=False, allow_infinity=False), source=st.text())
def test_readings_come_back_to_the_last_bit(tmp_path_factory, value, at_s, source):
    journal = Journal(tmp_path_factory.mktemp("journal") / "j")
    journal.open()
    journal.reading(Reading(value, at_s, source))
    journal.close()
    (event,) = read_journal(journal.path).events
    assert (repr(event.rig_s), event.body[0], repr(event.body[1])) == (repr(at_s), source, repr(value))


def test_never_overwrites(journal):
    with pytest.raises(FileExistsError):
        Journal(journal.path).open()


WRITER = """
import sys
from pathlib import Path
from harness.readings import Reading
from harness.record.journal import Journal
journal = Journal(Path(sys.argv[1]))
journal.open()
n = 0
while True:
    journal.reading(Reading(n * 0.1, n * 0.05, "inverter.ac_power_w"))
    n += 1
    if n == 2000:
        print("going", flush=True)
"""


def test_survives_a_kill_in_the_middle_of_writing(tmp_path):
    path = tmp_path / "journal.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(  # noqa: S603 - the program above
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=environment
    ) as writer:
        assert writer.stdout.readline() == b"going\n"
        writer.send_signal(signal.SIGKILL)
    events = read_journal(path).events
    assert len(events) >= 2000
    assert [event.rig_s for event in events] == [n * 0.05 for n in range(len(events))]


def test_leaves_a_torn_last_line_out_and_says_so(journal):
    journal.event("note", "whole", 0.0)
    journal.event("note", "torn", 1.0)
    journal.path.write_bytes(journal.path.read_bytes()[:-4])
    torn = read_journal(journal.path)
    assert [event.body for event in torn.events] == ["whole"]
    assert torn.tail == b'[1,1.0,"note","tor'


def test_names_the_line_that_was_damaged(journal):
    for n in range(3):
        journal.event("note", n, 0.0)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + b"[1,0.0,\n" + lines[2])
    with pytest.raises(BenchError, match=r"journal.jsonl:2: .*no JSON"):
        read_journal(journal.path)


def test_names_the_gap_where_a_line_was_taken_out(journal):
    for n in range(3):
        journal.event("note", n, 0.0)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + lines[2])
    with pytest.raises(BenchError, match=r":2: .*is no event 1"):
        read_journal(journal.path)


def test_several_readings_have_a_line_each(journal):
    """As when they come one by one: the record does not know which came together."""
    at_s = 2.5
    journal.reading(Reading(1.0, at_s, "meter.u_v"), Reading(False, at_s, "meter.is_on"))
    journal.reading(Reading(2.0, 3.5, "meter.u_v"))
    assert [tuple(event) for event in read_journal(journal.path).events] == [
        (0, 2.5, "r", ["meter.u_v", 1.0]),
        (1, 2.5, "r", ["meter.is_on", False]),
        (2, 3.5, "r", ["meter.u_v", 2.0]),
    ]


FILLER = """
import resource, sys
from pathlib import Path
from harness.errors import BenchError
from harness.readings import Reading
from harness.record.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
journal = Journal(Path(sys.argv[1]))
journal.open()
try:
    journal.reading(*[Reading(float(n), 1.5, "meter.u_v") for n in range(5)])
except BenchError:
    print(journal.sequence, journal.lost)
"""


def test_of_readings_that_only_partly_fit_the_disk_the_whole_lines_count(tmp_path):
    path = tmp_path / "journal.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-c", FILLER, str(path)], capture_output=True, text=True, env=environment, check=True
    )
    torn = read_journal(path)
    assert run.stdout == "3 2\n"
    assert [event.body[1] for event in torn.events] == [0.0, 1.0, 2.0]
    assert torn.tail


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_raises_once_then_lets_the_way_to_safe_pass_and_never_forgets(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal._file = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(BenchError, match="No space left on device"):
        journal.event("command", {"command": "inverter.set_power_w"}, 0.0)
    journal.event("command", {"command": "inverter.turn_off"}, 0.1)
    with pytest.raises(BenchError, match="2 events lost"):
        journal.check()
    journal.close()
