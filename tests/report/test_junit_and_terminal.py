import io
import itertools
import os
import pty
import re
import termios
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from harness.readings import Reading
from harness.record.record import read_document, record_of
from harness.report.junit import draw_junit
from harness.report.terminal import LiveView, said, write_summary


@pytest.fixture
def suite(sealed):
    return ET.fromstring(draw_junit(sealed)).find("testsuite")  # noqa: S314 - our own


def test_each_verdict_has_its_element_and_type(suite):
    found = {}
    for case in suite.iter("testcase"):
        marks = [
            (child.tag, child.get("type")) for child in case if child.tag in {"failure", "error", "skipped"}
        ]
        found[case.get("name").split(" ")[0]] = marks
    assert found == {
        "RT-01[50": [],
        "RT-01[60": [("failure", "fail")],
        "CC-02": [("failure", "inconclusive")],
        "PR-04": [("skipped", "not testable")],
        "CO-01": [("error", "error")],
        "FO-01": [("error", "aborted")],
    }
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["6", "2", "2", "1"]


def test_properties_say_where_it_comes_from(suite):
    found = {each.get("name"): each.get("value") for each in suite.find("properties")}
    assert (found["rig"], found["product"], found["serial"]) == ("lab1", "pcs_10kva_48v", "RP-2026-0042")
    assert (found["emulated"], found["attempt"]) == ("true", "2 of 3")


def test_a_failure_says_the_value_the_limit_and_the_requirement(suite):
    (failure,) = [each for each in suite.iter("failure") if each.get("type") == "fail"]
    assert "time to restore: 131.0 ± 2.2 ms, allowed ≤ 100 ms (jeac9701_2024.time_to_restore" in failure.text


def test_bytes_that_xml_forbids_are_replaced(run):
    plan = run.plan("XX-01")
    plan.outcome("E", "CodecError: \x00\x1b[31m ]]> <&", 1.0)
    run.seal()
    root = ET.fromstring(draw_junit(run.folder))  # noqa: S314 - our own
    assert root.find(".//error").text == "CodecError: \ufffd\ufffd[31m ]]> <&"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_where_there_is_no_terminal_a_plan_is_one_plain_line():
    stream, clock = io.StringIO(), Clock()
    view = LiveView(stream=stream, real=clock)
    view.begin("RT-01", "A sag", 120.0)
    clock.now = 2.0
    view.refresh(60.0)
    assert stream.getvalue() == ""
    view.end("FAIL", "too late\nmore", 60.0)
    assert stream.getvalue() == "FAIL         RT-01  A sag  (1 min 00 s, 30 x real time)  too late\n"
    assert view.letters == "F"


def test_the_summary_counts_what_never_began(sealed):
    record = record_of(read_document(sealed / "record.json"))
    stream = io.StringIO()
    write_summary(replace(record, not_begun=("CC-02", "CC-03")), None, stream)
    assert f"; 2 of {len(record.plans) + 2} plans were not begun: CC-02, CC-03\n" in stream.getvalue()
    stream = io.StringIO()
    write_summary(record, None, stream)
    assert "not begun" not in stream.getvalue()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_summary_says_every_cause_whole_within_the_width_of_the_terminal(sealed, monkeypatch, columns):
    """Broken at spaces, and a word that is too long for its column within it: nothing is left out."""
    monkeypatch.setenv("COLUMNS", str(columns))
    record = record_of(read_document(sealed / "record.json"))
    stream = io.StringIO()
    write_summary(record, None, stream, is_terminal=True)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= columns
    head, *rows = lines
    cells: list[str] = []
    for row in rows[: next(place for place, row in enumerate(rows) if " on lab1 " in row)]:
        if row[0] != " ":
            cells.append("")
        cells[-1] += row[head.index("why") :].replace(" ", "")
    judged = {"INCONCLUSIVE": "round-trip efficiency INCONCLUSIVE", "PASS": ""}
    whys = [plan.cause or judged[plan.verdict] for plan in record.worst_first()]
    assert cells == [why.replace(" ", "") for why in whys]


def test_a_summary_in_which_all_passed_asks_no_why(run):
    plan = run.plan("RT-01", title="A sag")
    plan.outcome(".", "", 1.0)
    run.seal()
    stream = io.StringIO()
    write_summary(record_of(read_document(run.folder / "record.json")), None, stream, is_terminal=True)
    head, *_ = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert head.split() == ["verdict", "plan", "rig", "time", "title"]


def test_draws_at_most_ten_pictures_a_real_second():
    stream, clock = io.StringIO(), Clock()
    view = LiveView(watched=("inverter.ac_power_w",), stream=stream, is_terminal=True, real=clock)
    view.begin("RT-01", "A sag", 120.0)
    view.observe(Reading(5000.0, 1.0, "inverter.ac_power_w"))
    view.observe(Reading(1.0, 1.0, "inverter.unwatched_w"))
    sizes = []
    for turn in range(1000):
        clock.now = turn / 1000
        view.refresh(turn * 0.1)
        sizes.append(len(stream.getvalue()))
    pictures = sum(before != after for before, after in itertools.pairwise(sizes))
    view.end("PASS", "", 100.0)
    assert 8 <= pictures <= 10
    text = stream.getvalue()
    assert "5.00 kW" in text
    assert "unwatched" not in text


def test_the_picture_is_as_wide_as_the_terminal_also_after_a_change():
    """A real terminal: pytest holds the process's own streams, whose size says nothing."""
    near, far = pty.openpty()
    with os.fdopen(near, "rb", buffering=0) as screen, os.fdopen(far, "w", encoding="utf-8") as stream:

        def shown() -> str:
            """All that was written by now, in however many pieces it comes; a mark of ours follows it."""
            stream.write("\f")
            stream.flush()
            text = b""
            while not text.endswith(b"\f"):
                text += screen.read(65536)
            return text.decode()

        clock = Clock()
        view = LiveView(stream=stream, real=clock, planned=9)
        termios.tcsetwinsize(far, (40, 56))
        view.begin("CC-02", "Gives back what its round-trip efficiency promises", 80_000.0)
        clock.now = 1.0
        view.refresh(10_000.0)
        narrow = shown()
        termios.tcsetwinsize(far, (40, 120))
        clock.now = 25.0
        view.refresh(10_000.0)
        wide = shown()
        termios.tcsetwinsize(far, (40, 50))
        view.end("FAIL", "power delivered: 0.86; allowed 0.95 to 1.05", 80_000.0)
        left = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown())
    assert "2 h 46 min of at most 22 h 13 min  10000 x real time" in narrow
    assert [line.rstrip() for line in left.splitlines() if line.startswith(("FAIL", " " * 13))] == [
        "FAIL         CC-02  Gives back what its round-trip",
        "             efficiency promises  (22 h 13 min,",
        "             3200 x real time)  power delivered:",
        "             0.86; allowed 0.95 to 1.05",
    ]
    assert "promises" not in narrow
    assert "Gives back what its round-trip efficiency promises" in wide
    assert "2 h 46 min of at most 22 h 13 min  400 x real time" in wide
    assert "plan 1 of 9" in wide


def test_the_summary_has_the_worst_first_and_says_where_the_report_is(sealed, tmp_path):
    stream = io.StringIO()
    write_summary(record_of(read_document(sealed / "record.json")), tmp_path / "report.html", stream)
    lines = stream.getvalue().splitlines()
    plans = [
        line.split()[0]
        for line in lines
        if any(each in line for each in ("-01", "-02", "-04")) and "lab1 (" not in line
    ]
    assert plans[:6] == ["ABORTED", "ERROR", "FAIL", "INCONCLUSIVE", "NOT", "PASS"]
    assert "emulated, simulated clock" in stream.getvalue()
    assert "report.html" in lines[-1]


@pytest.mark.parametrize(
    ("source", "value", "text"),
    [
        ("battery.soc", 0.5, "50.0 %"),
        ("inverter.ac_power_w", -5000.0, "\N{MINUS SIGN}5.00 kW"),
        ("battery.alarms", frozenset({"b", "a"}), "a, b"),
        ("inverter.is_on", True, "yes"),
    ],
)
def test_readings_are_written_with_their_unit(source, value, text):
    assert said(Reading(value, 0.0, source)) == text
