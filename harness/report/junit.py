"""JUnit XML of a record, for build servers: F and I fail, E and A are errors, N is skipped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from harness.record.logbook import LOGBOOK, RECORD
from harness.record.record import PlanRecord, Record, first_cause, read_document, record_of
from harness.report.html import judgement_row, said_attempt
from harness.safety.unsafe import HEADLINE, unsafe_lines

NAME = "junit.xml"
OUTCOMES: Mapping[str, tuple[str, str] | None] = {
    "ABORTED": ("error", "aborted"),
    "ERROR": ("error", "error"),
    "FAIL": ("failure", "fail"),
    "INCONCLUSIVE": ("failure", "inconclusive"),
    "NOT TESTABLE": ("skipped", "not testable"),
    "PASS": None,
}
"""Element and type by verdict."""

# XML 1.0 (2.2) knows none of these, not even escaped. Named by what is left out: the set of all others takes
# 8 ms to compile.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def draw_junit(run_dir: Path) -> bytes:
    """Draw the JUnit XML of a sealed run; ``time`` is rig time.

    Raises:
        BenchError: the run is not sealed.
    """
    record = record_of(read_document(run_dir / RECORD))
    logbook = read_document(run_dir / LOGBOOK)
    suite = ET.Element("testsuite", name="rackproof", timestamp=str(logbook["started"])[:19])
    suite.set("time", f"{sum(plan.duration_s for plan in record.plans):.3f}")
    suite.set("hostname", str(logbook["host"]))
    _properties(suite, _provenance(record, logbook))
    tally = dict.fromkeys(("error", "failure", "skipped"), 0)
    if record.unsafe:
        tally["error"] += 1
        suite.append(_unsafe(record.unsafe))
    for plan in record.plans:
        outcome = OUTCOMES[plan.verdict]
        if outcome is not None:
            tally[outcome[0]] += 1
        suite.append(_case(plan, outcome))
    for name in record.not_begun:
        tally["error"] += 1
        suite.append(_not_begun(name))
    for attribute, count in zip(("errors", "failures", "skipped"), tally.values(), strict=True):
        suite.set(attribute, str(count))
    suite.set("tests", str(len(record.plans) + len(record.not_begun) + bool(record.unsafe)))
    suites = ET.Element("testsuites", dict(suite.attrib))
    suites.append(suite)
    ET.indent(suites)
    whole: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return whole + b"\n"


def _unsafe(live: tuple[str, ...]) -> ET.Element:
    """Give a case of its own, before all plans, to a rig that was left unsafe: no plan's error hides it."""
    case = ET.Element("testcase", name="the rig is left safe", classname="rackproof", time="0.000")
    child = ET.SubElement(case, "error", type="unsafe", message=_clean(HEADLINE))
    child.text = _clean("\n".join(unsafe_lines(live)))
    return case


def _not_begun(name: str) -> ET.Element:
    case = ET.Element("testcase", name=_clean(name), classname="testplans", time="0.000")
    ET.SubElement(case, "error", type="aborted", message="not begun: the run ended before this plan")
    return case


def _case(plan: PlanRecord, outcome: tuple[str, str] | None) -> ET.Element:
    title = str(plan.facts.get("title") or "")
    case = ET.Element("testcase", name=_clean(f"{plan.plan} {title}".strip()), classname="testplans")
    case.set("time", f"{plan.duration_s:.3f}")
    facts = {"plan": plan.plan, "verdict": plan.verdict, "record_head": plan.head}
    facts |= {key: plan.facts[key] for key in ("f0_hz", "form", "seed", "hazard") if plan.facts.get(key)}
    _properties(case, facts)
    lines = [_line(each) for each in plan.judgements]
    if outcome is not None:
        bad = [_line(each) for each in plan.judgements if each["verdict"] != "PASS"]
        said = plan.message or "; ".join(bad) or plan.verdict
        child = ET.SubElement(case, outcome[0], type=outcome[1], message=_clean(first_cause(said)))
        child.text = _clean("\n".join([said, *(bad if plan.message else [])]))
    if lines:
        ET.SubElement(case, "system-out").text = _clean("\n".join(lines))
    return case


def _line(judgement: Mapping[str, Any]) -> str:
    row = judgement_row(judgement)
    name = f"{row.measure} [{row.case}]" if row.case else row.measure
    mark = "" if row.is_verified else ", not verified against the text"
    return f"{row.verdict} {name}: {row.value}, allowed {row.allowed} ({row.requirement}{mark})"


def _provenance(record: Record, logbook: Mapping[str, Any]) -> dict[str, object]:
    subject, unit = record.subject, record.subject["unit"]
    return {
        "rig": subject["rig"],
        "product": subject["product"],
        "serial": unit["serial"],
        "lot": unit["lot"],
        "firmware": unit["firmware"],
        "emulated": "true" if subject["is_emulated"] else "false",
        "clock": subject["clock"],
        **({"seeded_faults": ", ".join(record.seeded_faults)} if record.seeded_faults else {}),
        "station": logbook["station"],
        "operator": logbook["operator"],
        "order": logbook["order"],
        **({"attempt": said_attempt(logbook)} if said_attempt(logbook) else {}),
        "run_id": logbook["run_id"],
        "record_head": record.head,
    }


def _properties(parent: ET.Element, pairs: Mapping[str, object]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in pairs.items():
        ET.SubElement(properties, "property", name=name, value=_clean(str(value)))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
