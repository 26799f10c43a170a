"""One page of a sealed run that needs nothing else: record, logbook and traces, drawn."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from math import isclose
from pathlib import Path
from typing import Any

from harness.record.canonical import revive
from harness.record.logbook import LOGBOOK, RECORD
from harness.record.record import WORST_FIRST, PlanRecord, Record, read_document, record_of
from harness.record.run import capture_file, trace_stems
from harness.record.traces import Series, read_capture, read_readings
from harness.report.figures import TONES, duration, figure, scale_of, with_uncertainty
from harness.report.plots import (
    LEFT,
    PANEL,
    RIGHT,
    TOP,
    WIDTH,
    Panel,
    capture_panels,
    disturbance,
    draw_lanes,
    gauge,
    lanes_of,
    phases_rms,
    reading_panels,
    zoom_panels,
)
from harness.safety.unsafe import HEADLINE, outline, what_to_do

PAGE = "report.html"

ZOOM_CYCLES = 40
"""As many as can be told apart across the page."""

RULES = {
    "simple": "simple acceptance",
    "guard_band": "guard band",
    "standard": "the standard's own tolerance",
}
"""Decision rules in words."""


OWN_FAMILY = "rackproof_bench."
"""How requirements begin that are this bench's own, such as telemetry that follows the instrument."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class JudgementRow:
    """One judgement as the page writes it.

    Attributes:
        allowed: the limit in the unit of the value.
        written: the limit as the standard writes it; empty where its numbers are the same in SI.
        where: standard, edition, clause and where the number was seen.
        is_verified: whether the number was read in its text.
    """

    measure: str
    case: str
    verdict: str
    value: str
    gauge: str
    allowed: str
    written: str
    requirement: str
    where: str
    is_verified: bool
    is_stimulus: bool
    rule: str
    parts: str


@dataclass(frozen=True, slots=True)
class CaptureView:
    """One capture: whole, and around the moment that matters."""

    name: str
    panels: Sequence[Panel]
    zoom: Sequence[Panel]
    zoom_words: str


@dataclass(frozen=True, slots=True)
class PlanView:
    """One plan as the page shows it."""

    anchor: str
    plan: PlanRecord
    rows: Sequence[JudgementRow]
    facts: Sequence[tuple[str, str]]
    panels: Sequence[Panel]
    lanes: str
    captures: Sequence[CaptureView]
    identities: Sequence[Mapping[str, str]]
    notes: Sequence[tuple[str, str, Sequence[tuple[str, str]]]]
    trace_error: str


def draw_report(run_dir: Path) -> bytes:
    """Draw ``report.html`` of a sealed run, the same bytes each time.

    A trace that is missing or damaged leaves a sentence in its place.

    Raises:
        BenchError: the run is not sealed.
    """
    import jinja2  # noqa: PLC0415 - only for this page

    record = record_of(read_document(run_dir / RECORD))
    logbook = read_document(run_dir / LOGBOOK)
    stems = trace_stems(each.plan for each in record.plans)
    views = [_view(run_dir, plan, stem) for plan, stem in zip(record.plans, stems, strict=True)]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_compiled(Path(__file__).parent / "__pycache__"),
    )
    page = environment.get_template("report.html.j2").render(
        record=record,
        subject=record.subject,
        logbook=logbook,
        attempt=said_attempt(logbook),
        verdict=record.verdict,
        tones=TONES,
        frame={"left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": TOP + PANEL, "width": WIDTH},
        unsafe=(HEADLINE, [outline(each) for each in record.unsafe], what_to_do()) if record.unsafe else None,
        counts=record.counts(),
        views=views,
        worst_first=sorted(views, key=lambda view: WORST_FIRST.index(view.plan.verdict)),
        not_shown=_not_shown(record),
        is_unverified=any(not row.is_verified for view in views for row in view.rows),
        f0s=_distinct(record, "f0_hz", lambda f0: f"{f0:g} Hz"),
        forms=_distinct(record, "form", str),
        requirements=_requirements(record),
        duration=duration,
        figure=figure,
    )
    return page.encode()


def said_attempt(logbook: Mapping[str, Any]) -> str:
    """Write which attempt at its unit a run was; empty where no unit was named."""
    number, of = logbook["attempt"]["number"], logbook["attempt"]["of"]
    if not number:
        return ""
    return f"{number} of {of}" if of else f"{number}"


def _compiled(folder: Path) -> Any:
    """Keep the compiled template where Python keeps its own, where it may write; it costs 0.1 s to make.

    The file holds a hash of the template and the version of Python; its name says the version of jinja2.
    """
    import jinja2  # noqa: PLC0415 - only for this page

    if sys.dont_write_bytecode or not os.access(folder, os.W_OK):
        return None
    return jinja2.FileSystemBytecodeCache(str(folder), f"%s.jinja2-{metadata.version('jinja2')}")


def _distinct(record: Record, key: str, write: Any) -> str:
    found = {write(plan.facts[key]): None for plan in record.plans if plan.facts.get(key)}
    return ", ".join(found)


def _not_shown(record: Record) -> list[tuple[str, str]]:
    """What the forms of the plans leave out: (plans, what), equal texts together."""
    found: dict[str, list[str]] = {}
    for plan in record.plans:
        if plan.facts.get("does_not_show"):
            found.setdefault(str(plan.facts["does_not_show"]), []).append(plan.plan)
    return [(", ".join(plans), words) for words, plans in found.items()]


def _requirements(record: Record) -> list[Mapping[str, str]]:
    """Versions of every text that was judged by, each once."""
    found: dict[str, Mapping[str, str]] = {}
    for plan in record.plans:
        declared = list(plan.facts.get("requirements") or [])
        used = [_requirement(each).get("version") for each in plan.judgements]
        for version in [*declared, *used]:
            if isinstance(version, dict) and version.get("file"):
                found[str(version["file"])] = version
    return [found[name] for name in sorted(found)]


def _requirement(judgement: Mapping[str, Any]) -> Mapping[str, Any]:
    requirement = judgement.get("requirement")
    return requirement if isinstance(requirement, dict) else {"id": requirement or ""}


def _view(run_dir: Path, plan: PlanRecord, stem: str) -> PlanView:
    folder = run_dir / "traces"
    f0_hz = plan.facts.get("f0_hz")
    errors: list[str] = []
    series: Mapping[str, Series] = {}
    captures: list[CaptureView] = []
    try:
        if plan.entries[-2]["body"]:
            series = read_readings(folder / f"{stem}.parquet")
    except (OSError, ValueError, KeyError) as error:
        errors.append(f"Readings cannot be drawn: {error}")
    for capture in plan.of_kind("capture"):
        name = str(capture["capture"])
        try:
            captures.append(_capture(folder / capture_file(stem, name), name, f0_hz))
        except (OSError, ValueError, KeyError) as error:
            errors.append(f"Capture {name} cannot be drawn: {error}")
    start_s, end_s = float(plan.entries[0]["at_s"]), plan.end_s
    commands = [
        (float(each["at_s"]), f"{each['body']['command']} {_asked(each['body']['asked'])}".strip())
        for each in plan.entries
        if each["kind"] == "command"
    ]
    return PlanView(
        anchor=stem,
        plan=plan,
        rows=[judgement_row(each) for each in _worst_first(plan.judgements)],
        facts=_facts(plan),
        panels=reading_panels(series, start_s, end_s),
        lanes=draw_lanes(lanes_of(series, end_s), commands, start_s, end_s),
        captures=captures,
        identities=[{key: _say(value) for key, value in each.items()} for each in plan.of_kind("identity")],
        notes=_notes(plan),
        trace_error=" ".join(errors),
    )


def _worst_first(judgements: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort: among equals the product's before the bench's, a text's limits before our own."""
    return sorted(
        judgements,
        key=lambda each: (
            WORST_FIRST.index(each["verdict"]),
            bool(each.get("is_stimulus")),
            str(_requirement(each).get("id", "")).startswith(OWN_FAMILY),
        ),
    )


def _capture(path: Path, name: str, f0_hz: float | None) -> CaptureView:
    channels, trigger_s = read_capture(path)
    rms = phases_rms(channels, f0_hz)
    panels = capture_panels(channels, rms)
    cycle_s = 1.0 / (f0_hz or 50.0)
    span = disturbance(rms)
    why = "the disturbance"
    if trigger_s is not None and (span is None or not span[0] - cycle_s <= trigger_s <= span[1]):
        span, why = (trigger_s, trigger_s), "the trigger"
    longest = max((wave.end_s - wave.start_s for wave in channels.values()), default=0.0)
    if span is None or longest < 2 * ZOOM_CYCLES * cycle_s:
        return CaptureView(name, panels, (), "")
    low_s = span[0] - 5 * cycle_s
    high_s = min(span[1] + 10 * cycle_s, low_s + ZOOM_CYCLES * cycle_s)
    words = f"Waveforms around {why}, at {figure(span[0])} s"
    return CaptureView(name, panels, zoom_panels(channels, low_s, high_s), words)


def judgement_row(judgement: Mapping[str, Any]) -> JudgementRow:
    """Write one judgement of a record."""
    body = revive(dict(judgement))
    requirement, limits = _requirement(body), body.get("limits") or {}
    value, u, unit = (
        float(body.get("value", float("nan"))),
        float(body.get("u", 0.0)),
        str(body.get("unit", "")),
    )
    minimum, maximum = limits.get("minimum"), limits.get("maximum")
    bounds = [each for each in (minimum, maximum) if each is not None]
    tolerance = float(limits.get("tolerance") or 0.0) if body.get("rule") == "standard" else 0.0
    parts = ", ".join(
        f"{name} {figure(float(part), abs(float(part)))}" for name, part in body.get("parts") or ()
    )
    return JudgementRow(
        measure=str(body["measure"]),
        case=str(body.get("case") or ""),
        verdict=body["verdict"],
        value=_flag(value) if unit == "bool" else with_uncertainty(value, u, unit, bounds),
        gauge="" if unit == "bool" else gauge(value, u, minimum, maximum, TONES[body["verdict"]]),
        allowed=_allowed(minimum, maximum, tolerance, value, unit),
        written=""
        if unit == "bool"
        else _in_other_numbers(str(limits.get("written") or ""), list(dict.fromkeys(bounds))),
        requirement=str(requirement.get("id", "")),
        where=str(body.get("provenance") or ""),
        is_verified=bool(body.get("is_verified")),
        is_stimulus=bool(body.get("is_stimulus")),
        rule=RULES.get(str(body.get("rule")), str(body.get("rule") or "")),
        parts=f"u: {parts} {unit}".rstrip() if parts else "",
    )


def _in_other_numbers(written: str, numbers: Sequence[float]) -> str:
    """Give the limit as its text has it where it counts in cycles, say; else what it says beside its numbers.

    What it grants stands with the limit in SI.
    """
    limit, *more = written.split(", ")
    found = [float(each) for each in _NUMBER.findall(limit)]
    is_same = len(found) == len(numbers) and all(
        isclose(one, other, rel_tol=1e-5) for one, other in zip(found, numbers, strict=True)
    )
    return ", ".join(each for each in more if not each.endswith(" granted")) if is_same else written


def _flag(value: float) -> str:
    return "true" if value else "false"


def _allowed(minimum: float | None, maximum: float | None, tolerance: float, value: float, unit: str) -> str:
    if unit == "bool":
        return _flag(minimum if minimum is not None else maximum or 0.0)
    bounds = [each for each in (minimum, maximum) if each is not None]
    factor, written = scale_of([value, *bounds], unit)
    said = [figure(each * factor) for each in bounds]
    if not said:
        return ""
    if minimum is None:
        words = f"≤ {said[0]}"
    elif maximum is None:
        words = f"≥ {said[0]}"
    else:
        words = said[0] if said[0] == said[1] else f"{said[0]} … {said[1]}"
    granted = f" (± {figure(tolerance * factor)} granted)" if tolerance else ""
    return f"{words} {written}".rstrip() + granted


def _facts(plan: PlanRecord) -> list[tuple[str, str]]:
    facts = plan.facts
    f0_hz = facts.get("f0_hz")
    pairs = [
        ("Frequency", f"{f0_hz:g} Hz" if f0_hz else ""),
        ("Form", str(facts.get("form") or "")),
        ("Rig time", duration(plan.duration_s)),
        ("Declared", duration(facts["declared_s"]) if facts.get("declared_s") else ""),
        ("Hazard", str(facts.get("hazard") or "")),
        ("Seed", _say(facts.get("seed"))),
        *((str(key), _say(value)) for key, value in (facts.get("params") or {}).items()),
    ]
    return [(name, words) for name, words in pairs if words]


_SHOWN_ELSEWHERE = frozenset({"plan", "command", "judgement", "capture", "identity", "readings", "verdict"})


def _notes(plan: PlanRecord) -> list[tuple[str, str, Sequence[tuple[str, str]]]]:
    """Give everything else: kind, rig time, and what was noted, as pairs."""
    return [
        (str(each["kind"]), f"{figure(float(each['at_s']))} s", _pairs(each["body"]))
        for each in plan.entries
        if each["kind"] not in _SHOWN_ELSEWHERE
    ]


def _pairs(body: Any) -> list[tuple[str, str]]:
    if isinstance(body, dict):
        return [(str(key), _say(value)) for key, value in body.items()]
    return [("", _say(body))]


def _asked(asked: Any) -> str:
    said = _say(asked)
    return said if len(said) <= 80 else f"{said[:77]}..."


def _say(value: Any) -> str:
    """Write a plain value in a line: numbers short, nothing for None, the rest as JSON without quotes."""
    value = revive(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_say(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(_say(each) for each in value)
    return str(value)
