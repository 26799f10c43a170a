"""Sealing: of a journal, the record (reproducible) and the logbook (when, where, by whom), signed.

The record holds nothing that two equal runs would not share: rig time, sequence numbers within each
plan, commands, judgements, digests of what was read. Each plan's entries are chained by hash from a fixed
beginning, so that a plan is the same byte for byte alone and within a whole run; the head of the record
chains what was tested and the heads of the plans. The logbook holds everything else and the hashes of
all files; it is signed whole, and the head of the record is in it.

    entry hash  = SHA-256(hash before || canonical {at_s, body, kind, seq})
    plan's head = its last entry's hash
    head        = SHA-256(canonical subject || each plan's head in order)
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

from harness.errors import BenchError
from harness.judge.verdicts import Verdict
from harness.record.canonical import canonical, digest, plain, spell
from harness.record.journal import READING, SAFE_STATE, Event
from harness.record.traces import digest_of_readings, number_of

SCHEMA = 1
GENESIS = digest(b"rackproof plan, schema 1")
"""What every plan's chain begins with."""

WORST_FIRST = tuple(verdict.words for verdict in Verdict)
LETTERS: Mapping[str, str] = {verdict.words: verdict.letter for verdict in Verdict}

_LOOPBACK_PORT = re.compile(r"(\b127(?:\.\d{1,3}){3}|\blocalhost|\[::1\])::?\d+")  # VISA has two colons
_ANY_PORT = re.compile(r"(?<=[\w\].]):\d{1,5}(?=/|$)")
_RESOURCE_PORT = re.compile(r"^(TCPIP\d*::[^:]+)::\d+::SOCKET$", re.IGNORECASE)
_ADDRESS_KEYS = frozenset({"address", "host", "resource", "url"})


def verdict_word(verdict: object) -> str:
    """Give a verdict in words; takes the enum, its letter or its words.

    Raises:
        BenchError: it is none of the six.
    """
    if isinstance(verdict, Verdict):
        return verdict.words
    for known in Verdict:
        if verdict in {known.letter, known.words, known.name}:
            return known.words
    raise BenchError(
        f"{verdict!r} is no verdict; allowed {', '.join(WORST_FIRST)}, or {''.join(LETTERS.values())}"
    )


def worst(verdicts: Iterable[str]) -> str:
    """Pick the worst of verdicts; PASS where there is none."""
    return min(verdicts, key=WORST_FIRST.index, default="PASS")


def first_cause(message: str) -> str:
    """Put what came first into one line; of an outline also its first point, and how many follow."""
    lines = message.splitlines() or [""]
    points = list(itertools.takewhile(lambda line: line.startswith("  "), lines[1:]))
    if not points:
        return lines[0]
    others = f"; and {len(points) - 1} more" if len(points) > 1 else ""
    return f"{lines[0]} {points[0].strip()}{others}"


def without_ports(value: Any, key: str = "") -> Any:
    """Take port numbers out of a plain value: they differ from run to run.

    Loopback addresses lose them anywhere in a text; under the keys ``address``, ``host``, ``resource`` and
    ``url`` every address does, and a number under ``port`` goes.
    """
    if isinstance(value, str):
        value = _LOOPBACK_PORT.sub(r"\1", value)
        if key in _ADDRESS_KEYS:
            value = _RESOURCE_PORT.sub(r"\1::SOCKET", value)
            # A bare IPv6 address has colons of its own; one with a port stands in brackets.
            if value.count(":") < 2 or "://" in value or "]:" in value:
                value = _ANY_PORT.sub("", value)
        return value
    if isinstance(value, dict):
        return {name: without_ports(each, name) for name, each in value.items() if name != "port"}
    if isinstance(value, list):
        return [without_ports(each, key) for each in value]
    return value


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """One plan as it was sealed.

    Attributes:
        entries: ``{"seq", "at_s", "kind", "body", "hash"}``, in order. The first has kind ``plan``, the last
            two ``readings`` and ``verdict``.
    """

    plan: str
    entries: tuple[Mapping[str, Any], ...]
    head: str

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was fixed before it began: title, params, f0, form, seed, product, rig."""
        return self.entries[0]["body"]  # type: ignore[no-any-return]  # out of JSON

    @property
    def verdict(self) -> str:
        """The worst verdict, as a word."""
        return self.entries[-1]["body"]["verdict"]  # type: ignore[no-any-return]  # out of JSON

    @property
    def message(self) -> str:
        """What it ended with: the first cause before all others; empty after a PASS."""
        return self.entries[-1]["body"]["message"]  # type: ignore[no-any-return]  # out of JSON

    @property
    def cause(self) -> str:
        """The first cause in one line."""
        return first_cause(self.message)

    @property
    def end_s(self) -> float:
        """Rig time at which it ended."""
        return self.entries[-1]["at_s"]  # type: ignore[no-any-return]  # out of JSON

    @property
    def duration_s(self) -> float:
        """Rig time that it took."""
        return self.end_s - float(self.entries[0]["at_s"])

    def of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        """Bodies of the entries of one kind, in order."""
        return [each["body"] for each in self.entries if each["kind"] == kind]

    @property
    def judgements(self) -> list[Mapping[str, Any]]:
        """Every judgement, in the order of the plan."""
        return self.of_kind("judgement")


@dataclass(frozen=True, slots=True)
class Record:
    """The reproducible document of a run.

    Attributes:
        subject: what was tested, and on what: rig, product, unit, emulated or not, clock.
        guard: the events of the guard's own journal; it stands beside the chain, signed with the whole file.
        unsafe: what was live when the run ended, or what nobody could verify; beside the chain too. Empty
            where the rig was left safe, and in virtual time.
        not_begun: the plans that the run was to do and did not begin, by name; beside the chain too.
    """

    subject: Mapping[str, Any]
    plans: tuple[PlanRecord, ...]
    head: str
    guard: tuple[Any, ...] = ()
    unsafe: tuple[str, ...] = ()
    not_begun: tuple[str, ...] = ()

    @property
    def seeded_faults(self) -> tuple[str, ...]:
        """Faults that were put into the emulated world on purpose: its verdicts are of no sound world."""
        return tuple(self.subject["more"].get("seeded_faults", ()))

    @property
    def verdict(self) -> str:
        """The worst verdict of all plans; ABORTED where nothing went wrong and some were not begun."""
        found = worst(each.verdict for each in self.plans) if self.plans else "ABORTED"
        return "ABORTED" if self.not_begun and found in {"NOT TESTABLE", "PASS"} else found

    @property
    def said_not_begun(self) -> str:
        """How many plans were not begun, and which; empty where all were."""
        left, all_ = len(self.not_begun), len(self.not_begun) + len(self.plans)
        return f"{left} of {all_} plans were not begun: {', '.join(self.not_begun)}" if left else ""

    def counts(self) -> dict[str, int]:
        """How many plans ended with each verdict, worst first, zeros left out."""
        verdicts = [each.verdict for each in self.plans]
        return {word: verdicts.count(word) for word in WORST_FIRST if word in verdicts}

    def worst_first(self) -> list[PlanRecord]:
        """The plans, the worst verdict first; equals in order of running."""
        return sorted(self.plans, key=lambda each: WORST_FIRST.index(each.verdict))

    def document(self) -> dict[str, Any]:
        """The plain value that ``record.json`` is."""
        return {
            "schema": SCHEMA,
            "subject": self.subject,
            "plans": [
                {"plan": each.plan, "entries": list(each.entries), "head": each.head} for each in self.plans
            ],
            "head": self.head,
            **({"guard": list(self.guard)} if self.guard else {}),
            **({"unsafe": list(self.unsafe)} if self.unsafe else {}),
            **({"not_begun": list(self.not_begun)} if self.not_begun else {}),
        }


def spell_document(document: Mapping[str, Any]) -> bytes:
    """Spell ``record.json`` or ``logbook.json``: sorted, one value a line."""
    return (spell(document, indent=1) + "\n").encode()


def chain(entries: Iterable[tuple[float, str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Number and hash entries ``(rig time, kind, body)``; gives them and the head."""
    head, made = GENESIS, []
    for sequence, (at_s, kind, body) in enumerate(entries):
        entry = {"seq": sequence, "at_s": plain(at_s), "kind": kind, "body": body}
        head = digest(head.encode(), canonical(entry))
        made.append({**entry, "hash": head})
    return made, head


def head_of(subject: Mapping[str, Any], plan_heads: Iterable[str]) -> str:
    """Chain the heads of the plans to what was tested."""
    return digest(canonical(subject), *(each.encode() for each in plan_heads))


@dataclass(frozen=True)
class Stretch:
    """The events of one plan, from its ``plan`` to its ``outcome``, and a ``closing`` that went wrong."""

    plan: str
    events: Sequence[Event]

    @cached_property
    def points(self) -> dict[str, list[tuple[float, Any]]]:
        """Readings by source, in the order in which they came."""
        found: defaultdict[str, list[tuple[float, Any]]] = defaultdict(list)
        for _, rig_s, kind, body in self.events:
            if kind == READING:
                found[body[0]].append((rig_s, body[1]))
        return dict(found)


def stretches(events: Sequence[Event]) -> list[Stretch]:
    """Cut a journal into plans; what lies between plans belongs to none."""
    found: list[Stretch] = []
    begin: int | None = None
    for index, event in enumerate(events):
        if event.kind == "plan" and begin is None:
            begin = index
        elif event.kind == "closing" and begin is None and found:
            last = found[-1]
            found[-1] = Stretch(last.plan, [*last.events, event])
        elif event.kind == "plan" or (event.kind == "outcome" and begin is not None):
            end = index if event.kind == "plan" else index + 1
            found.append(Stretch(events[begin or 0].body["plan"], events[begin:end]))
            begin = index if event.kind == "plan" else None
    if begin is not None:
        found.append(Stretch(events[begin].body["plan"], events[begin:]))
    return found


def subject_of(events: Sequence[Event]) -> Mapping[str, Any]:
    """What was tested, from the journal's first event.

    Raises:
        BenchError: the journal does not begin with a run.
    """
    if not events or events[0].kind != "run":
        raise BenchError("the journal does not begin with a run: it was torn before anything was done")
    return without_ports(plain(events[0].body["subject"]))  # type: ignore[no-any-return]  # out of JSON


def seal(events: Sequence[Event], cut: Sequence[Stretch] | None = None) -> Record:
    """Make the record of a journal, whole or cut short.

    A plan without an outcome was stopped from outside: ABORTED. A plan's verdict is never better than its
    worst judgement, whatever its outcome says.

    Args:
        events: the journal's.
        cut: the same, cut into plans, where the caller has that.

    Raises:
        BenchError: the journal does not begin with a run.
    """
    subject = subject_of(events)
    plans = tuple(map(_seal_plan, stretches(events) if cut is None else cut))
    left = Counter(events[0].body.get("planned", ()))
    left.subtract(each.plan for each in plans)
    head = head_of(subject, (each.head for each in plans))
    return Record(subject, plans, head, not_begun=tuple(left.elements()))


def left_unsafe(events: Sequence[Event], guard: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Find what was live when a run ended, or what nobody could verify; empty where it was left safe.

    The last word on it counts: the run's own, which has heard the guard; else the guard's, which outlives it.

    Args:
        events: the run's journal.
        guard: the guard's, plain; empty where none stood beside the run.
    """
    if subject_of(events)["clock"] != "wall":
        return ()
    words = [each["body"] for each in guard if each["kind"] == SAFE_STATE]
    words += [plain(each.body) for each in events if each.kind == SAFE_STATE]
    if not words:
        has_enabled = guard and not any(each["kind"] == "refused" for each in guard)
        return ("nothing on record says that the rig was left safe",) if has_enabled else ()
    if words[-1]["is_safe"]:
        return ()
    live = next((word["live"] for word in reversed(words) if word.get("live")), [words[-1].get("outcome")])
    return tuple(without_ports(live))


def _seal_plan(stretch: Stretch) -> PlanRecord:
    outcome = {
        "verdict": "ABORTED",
        "message": "the run ended within this plan: its process was killed, or the power failed",
    }
    end_s = max((each.rig_s for each in stretch.events), default=0.0)
    entries: list[tuple[float, str, Any]] = []
    verdicts: list[str] = []
    for _, rig_s, kind, body in stretch.events:
        if kind == READING:
            continue
        if kind == "outcome":
            outcome, end_s = without_ports(plain(body)), rig_s
            continue
        if kind == "closing":
            trouble = without_ports(plain(body))
            verdicts.append(trouble["verdict"])
            outcome["message"] = "\n".join(filter(None, [outcome["message"], trouble["message"]]))
            continue
        if kind == "judgement":
            verdicts.append(body["verdict"])
        entries.append((rig_s, kind, without_ports(plain(body))))
    outcome["verdict"] = worst([outcome["verdict"], *verdicts])
    summaries = {name: _summary(series) for name, series in sorted(stretch.points.items())}
    entries.append((end_s, "readings", summaries))
    entries.append((end_s, "verdict", outcome))
    made, head = chain(entries)
    return PlanRecord(stretch.plan, tuple(made), head)


def _summary(series: Sequence[tuple[float, Any]]) -> dict[str, Any]:
    """Sum up one source; smallest and largest leave NaN and states out."""
    numbers = [value for _, value in series]
    if set(map(type, numbers)) != {float} or any(map(isnan, numbers)):
        found = map(number_of, numbers)
        numbers = [number for number in found if number is not None and not isnan(number)]
    return {
        "count": len(series),
        "first_s": plain(series[0][0]),
        "last_s": plain(series[-1][0]),
        "first": plain(series[0][1]),
        "last": plain(series[-1][1]),
        "min": plain(min(numbers)) if numbers else None,
        "max": plain(max(numbers)) if numbers else None,
        "sha256": digest_of_readings(series),
    }


def record_of(document: Mapping[str, Any]) -> Record:
    """Read ``record.json`` back.

    Raises:
        BenchError: another schema.
    """
    if document.get("schema") != SCHEMA:
        raise BenchError(f"record.json has schema {document.get('schema')!r}; this version reads {SCHEMA}")
    plans = tuple(
        PlanRecord(each["plan"], tuple(each["entries"]), each["head"]) for each in document["plans"]
    )
    beside = (tuple(document.get(key, ())) for key in ("guard", "unsafe", "not_begun"))
    return Record(document["subject"], plans, document["head"], *beside)


def broken_links(record: Record) -> list[str]:
    """Compute every hash again, and say where they disagree; empty when none does."""
    wrong: list[str] = []
    for plan in record.plans:
        made, head = chain((each["at_s"], each["kind"], each["body"]) for each in plan.entries)
        for was, now in zip(plan.entries, made, strict=True):
            if was != now:
                wrong.append(
                    f"record.json: plan {plan.plan}, entry {was.get('seq')} ({was.get('kind')}) is not what "
                    f"was sealed: hash {str(was.get('hash'))[:12]}..., computed {now['hash'][:12]}..."
                )
                break
        else:
            if head != plan.head:
                wrong.append(
                    f"record.json: plan {plan.plan} has entries added, taken away or moved at its end"
                )
        if not plan.entries or plan.entries[0]["body"].get("plan") != plan.plan:
            wrong.append(f"record.json: plan {plan.plan} is filed under another name than it ran as")
    if head_of(record.subject, (each.head for each in record.plans)) != record.head:
        wrong.append(
            "record.json: head does not follow from the subject and the plans: one was changed or moved"
        )
    return wrong


def read_document(path: Path) -> Mapping[str, Any]:
    """Read ``record.json`` or ``logbook.json``.

    Raises:
        BenchError: it is not there, or no JSON object.
    """
    import json  # noqa: PLC0415 - nothing else here reads JSON

    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BenchError(
            f"{path}: not there; a run that was never sealed can be sealed from its journal"
        ) from None
    except ValueError as error:
        raise BenchError(f"{path}: no JSON ({error})") from error
    if not isinstance(found, dict):
        raise BenchError(f"{path}: {type(found).__name__} where an object is expected")
    return found
