"""A rig that was left unsafe is told before all else: what is live, node by node, and what to do."""

from __future__ import annotations

import io
from xml.etree import ElementTree as ET

import pytest

from harness.record.journal import GUARD_JOURNAL, Journal
from harness.record.record import Record, first_cause, read_document, record_of
from harness.record.run import Attempt, Run, Subject, Unit
from harness.report.html import draw_report
from harness.report.junit import draw_junit
from harness.report.terminal import write_unsafe
from harness.safety.guard import last_words
from harness.safety.safe_state import Outcome
from harness.safety.unsafe import HEADLINE, unsafe_lines

LIVE = (
    "ac_voltage is live: analyzer.values(pcs_ac).voltage_v is 115.5, dead is at most 25",
    "battery_current is not verified by two sensors: shunt.current_a: stale; bms.current_a: WireClosed",
)
UNSAFE = {"is_safe": False, "outcome": f"UNSAFE after the run's end: {'; '.join(LIVE)}"}
SAFE = {"is_safe": True, "outcome": "safe, verified at ac_voltage"}


@pytest.fixture
def new(station):
    def make(clock="wall"):
        subject = Subject(rig="lab1", product="rack", unit=Unit(serial="1"), is_emulated=False, clock=clock)
        return Run(station / "runs", subject, Attempt()).open()

    return make


def ended(run: Run, *words: object, guard: tuple[tuple[str, object], ...] = ()) -> Record:
    """Seal a run of one plan that was in error, with its own and its guard's words of the safe state."""
    plan = run.plan("FO-15", title="Loss of mains")
    plan.outcome("E", "analyzer_lan: no connection", 1.0)
    for word in words:
        run.note("safe state", word, 2.0)
    if guard:
        journal = Journal(run.folder / GUARD_JOURNAL)
        journal.open()
        for kind, body in guard:
            journal.event(kind, body, 2.0)
        journal.close()
    run.seal()
    return record_of(read_document(run.folder / "record.json"))


def test_the_runs_own_word_says_what_is_live(new):
    assert ended(new(), UNSAFE | {"live": LIVE}).unsafe == LIVE


def test_where_the_run_has_no_words_for_it_the_guards_are_taken(new):
    """And where the test process is dead, they are all there is."""
    of_guard = (("guard", {}), ("safe state", UNSAFE | {"live": LIVE}))
    assert ended(new(), UNSAFE, guard=of_guard).unsafe == LIVE
    assert ended(new(), guard=of_guard).unsafe == LIVE


def test_the_last_word_counts(new):
    assert ended(new(), UNSAFE | {"live": LIVE}, SAFE).unsafe == ()
    assert ended(new(), SAFE, UNSAFE).unsafe == (UNSAFE["outcome"],)


def test_a_rig_that_a_guard_enabled_and_nobody_spoke_of_again_is_unsafe(new):
    assert ended(new(), guard=(("guard", {}),)).unsafe == (
        "nothing on record says that the rig was left safe",
    )
    assert ended(new(), guard=(("guard", {}), ("refused", "its sensors are silent"))).unsafe == ()
    assert ended(new()).unsafe == ()


def test_in_virtual_time_there_is_no_rig_that_is_left(new):
    assert ended(new("simulated"), UNSAFE | {"live": LIVE}).unsafe == ()


def test_the_terminal_says_it_node_by_node_and_how_to_get_on():
    stream = io.StringIO()
    write_unsafe(LIVE, "lab1.toml", stream)
    first, *lines = stream.getvalue().strip().splitlines()
    assert first.startswith("UNSAFE: ")
    assert lines[:5] == [
        f"  {LIVE[0]}",
        "  battery_current is not verified by two sensors:",
        "    shunt.current_a: stale",
        "    bms.current_a: WireClosed",
        "What to do:",
    ]
    assert "'rackproof safe lab1.toml'" in stream.getvalue()
    assert "'rackproof clear lab1.toml --person NAME'" in stream.getvalue()


def test_a_rig_that_was_left_safe_leaves_no_word():
    stream = io.StringIO()
    write_unsafe((), "lab1", stream)
    assert stream.getvalue() == ""


def test_the_page_begins_with_it(new):
    run = new()
    ended(run, UNSAFE | {"live": LIVE})
    page = draw_report(run.folder).decode()
    body = page[page.index("<body>") :]
    places = [
        body.index(words) for words in ("UNSAFE: ", LIVE[0], "bms.current_a", "safe RIG", "<h1>", "FO-15")
    ]
    assert places == sorted(places)
    assert "<title>UNSAFE, ERROR: rack" in page


def test_junit_has_a_case_of_its_own_for_it_before_all_plans(new):
    run = new()
    ended(run, UNSAFE | {"live": LIVE})
    suite = ET.fromstring(draw_junit(run.folder)).find("testsuite")  # noqa: S314 - our own
    first, second = suite.iter("testcase")
    assert first.get("name") == "the rig is left safe"
    assert first.find("error").get("message").startswith("UNSAFE: ")
    assert all(words in first.find("error").text for words in (LIVE[0], "bms.current_a", "safe RIG"))
    assert second.get("name") == "FO-15 Loss of mains"
    assert (suite.get("tests"), suite.get("errors")) == ("2", "2")


def test_a_run_that_was_left_safe_has_none_of_it(new):
    run = new()
    ended(run, SAFE)
    assert "UNSAFE" not in draw_report(run.folder).decode()
    suite = ET.fromstring(draw_junit(run.folder)).find("testsuite")  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("", ""),
        ("the door is open", "the door is open"),
        ("the door is open\nthe rig did not come to rest", "the door is open"),
        (
            "2 of 6 devices cannot be opened:\n  pcs: refused\n  relay: silent\nclosing the bench: no",
            "2 of 6 devices cannot be opened: pcs: refused; and 1 more",
        ),
        ("1 of 6 devices cannot be opened:\n  pcs: refused", "1 of 6 devices cannot be opened: pcs: refused"),
    ],
)
def test_an_outline_is_not_cut_off_before_its_first_point(message, cause):
    assert first_cause(message) == cause


def test_a_guard_that_is_alone_tells_all_of_it_and_beside_a_run_no_more_than_the_headline():
    unsafe = Outcome("the run was killed", live=list(LIVE))
    alone = last_words(unsafe, "lab1", is_alone=True)
    assert alone == ["guard: after the run was killed", *unsafe_lines(LIVE, "lab1")]
    assert "  2. 'rackproof safe lab1' tries once more" in "\n".join(alone)
    assert last_words(unsafe, "lab1", is_alone=False) == [f"guard: {HEADLINE}"]
    assert last_words(Outcome("no sensor", is_safe=True), "lab1", is_alone=True) == [
        "guard: rig not energised: no sensor"
    ]
    safe = Outcome("the run's end", is_safe=True, seen={"ac_voltage": {}})
    assert last_words(safe, "lab1", is_alone=False) == []
    (line,) = last_words(safe, "lab1", is_alone=True)
    assert line == "guard: rig safe, verified at ac_voltage, after the run's end"
