"""The folder of one run, ``runs/<time>_<rig>_<serial>/``, and the recorder of one plan.

journal.jsonl     as it happened; all that is needed to seal
traces/           one file of readings a plan, one of waveforms a capture
traffic/          what the wires write, where they do
record.json       sealed: what another run of the same plans would repeat
logbook.json      sealed: when, where, by whom, with which versions; signed
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from platform import node
from typing import Any, Self

from harness.clock import wall_time
from harness.errors import BenchError
from harness.judge.verdicts import Judgement
from harness.readings import Waveform
from harness.record.canonical import plain
from harness.record.journal import GUARD_JOURNAL, Journal, read_journal
from harness.record.logbook import JOURNAL, LOGBOOK, RECORD, versions, write_logbook, write_whole
from harness.record.record import Record, left_unsafe, seal, spell_document, stretches, verdict_word
from harness.record.traces import digest_of_capture, write_capture, write_readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The thing under test, by the names it carries.

    Attributes:
        sub_units: serial numbers by position within the unit (``module 3``).
    """

    serial: str
    sub_units: Mapping[str, str] = field(default_factory=dict)
    lot: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is tested, and on what; the same for every repetition of a run.

    Attributes:
        clock: ``simulated`` or ``wall``.
        more: whatever else belongs to it, such as the hashes of the rig's and the product's files.
    """

    rig: str
    product: str
    unit: Unit
    is_emulated: bool
    clock: str
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """By whom, where and for what; differs between repetitions.

    Attributes:
        number: attempt n at this unit, from 1; every attempt keeps its own folder. None counts the
            folders, 0 says that no unit was named.
        of: how many the order allows; 0 where nobody said.
    """

    station: str = ""
    operator: str = ""
    order: str = ""
    number: int | None = None
    of: int = 0


OWN_KINDS = frozenset(
    {"r", "run", "end", "wall", "plan", "outcome", "closing", "readings", "verdict", "judgement", "capture"}
)
"""Kinds of events that the record gives a meaning to."""


def _refuse_own(kind: str) -> None:
    if kind in OWN_KINDS:
        raise BenchError(f"note {kind!r}: a word of the record's own; choose another")


def slug(text: str) -> str:
    """Give ``text`` as a piece of a file name, without ``_``, letters of all scripts kept.

    Unequal texts may give equal slugs.
    """
    return re.sub(r"(?:[^\w.+-]|_)+", "-", text).strip("-.") or "x"


def trace_stems(plans: Iterable[str]) -> list[str]:
    """Give each plan of a run, in order, the beginning of its trace files' names."""
    seen: dict[str, int] = {}
    stems = []
    for plan in plans:
        stem = slug(plan)
        seen[stem] = seen.get(stem, 0) + 1
        stems.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return stems


def capture_file(stem: str, capture: str) -> str:
    """Give the name of a capture's file within ``traces``."""
    return f"{stem}_{slug(capture)}.parquet"


class PlanRecorder:
    """Records what belongs to one plan, and its outcome. What devices say and are told goes to the run.

    Times default to the running loop's; outside a loop, to the last time that the journal saw.
    """

    def __init__(self, run: Run, plan: str, stem: str) -> None:
        self.plan = plan
        self._run = run
        self._journal = run.journal
        self._stem = stem
        self._captures: set[str] = set()
        self._is_over = False

    def judgement(self, judgement: Judgement | Mapping[str, object], at_s: float | None = None) -> None:
        """Record a judgement at its birth; fits ``Judge``'s ``on_judgement``.

        Raises:
            BenchError: its verdict is none of the six, or it names no measure.
        """
        body = plain(judgement)
        if isinstance(judgement, Judgement):
            body["provenance"] = judgement.requirement.provenance
        if not body.get("measure"):
            raise BenchError(f"{self.plan}: a judgement names its measure; this has {sorted(body)}")
        body["verdict"] = verdict_word(body.get("verdict"))
        self._event("judgement", body, at_s)

    def note(self, kind: str, body: object, at_s: float | None = None) -> None:
        """Record anything else: ``identity``, ``precondition``, ``balance``, ``traffic``, ``error`` ...

        Raises:
            BenchError: a kind that the record itself uses.
        """
        _refuse_own(kind)
        self._event(kind, body, at_s)

    def capture(self, name: str, channels: Mapping[str, Waveform], trigger_s: float | None = None) -> None:
        """Write waveforms beside the journal at once; a second capture of a name becomes ``<name> 2``.

        Raises:
            BenchError: they could not be written.
        """
        taken, count = name, 1
        while slug(taken) in self._captures:
            count += 1
            taken = f"{name} {count}"
        self._captures.add(slug(taken))
        path = self._run.folder / "traces" / capture_file(self._stem, taken)
        path.parent.mkdir(exist_ok=True)
        write_capture(path, channels, trigger_s)
        digests = digest_of_capture(channels)
        about = {
            channel: {
                "start_s": each.start_s,
                "sample_rate_hz": each.sample_rate_hz,
                "count": len(each.samples),
                "sha256": digests[channel],
            }
            for channel, each in channels.items()
        }
        self._event("capture", {"capture": taken, "trigger_s": trigger_s, "channels": about}, None)

    def outcome(self, verdict: object, message: str = "", rig_time_s: float | None = None) -> None:
        """End the plan; its verdict in the record is never better than its worst judgement.

        Raises:
            BenchError: it has one already, the verdict is none of the six, or events were lost.
        """
        if self._is_over:
            raise BenchError(f"{self.plan}: has its outcome already")
        word = verdict_word(verdict)
        self._is_over = True
        self._run.recorder = None
        self._event("outcome", {"verdict": word, "message": message}, rig_time_s)
        if not self._run.subject.is_emulated:
            self._journal.sync()
        self._journal.check()

    def _event(self, kind: str, body: object, at_s: float | None) -> None:
        if at_s is None:
            try:
                at_s = asyncio.get_running_loop().time()
            except RuntimeError:
                at_s = self._journal.last_s
        self._journal.event(kind, body, at_s)


class Run:
    """An open run. ``open`` makes its folder; nothing is touched before.

    Args:
        runs: the folder of all runs.
        wall: tells wall-clock time; the record never sees it.
        planned: names of the plans that it is to do.
    """

    def __init__(
        self,
        runs: Path,
        subject: Subject,
        attempt: Attempt,
        *,
        wall: Callable[[], datetime] = wall_time,
        planned: Sequence[str] = (),
    ) -> None:
        self.runs = runs
        self.subject = subject
        self.attempt = attempt
        self.recorder: PlanRecorder | None = None
        self.run_id = str(uuid.uuid4())
        self._wall = wall
        self._planned = list(planned)
        self._plans: list[str] = []

    def open(self) -> Self:
        """Make the folder, point ``runs/latest`` at it, and begin the journal.

        Raises:
            BenchError: the folder could not be made.
        """
        started = self._wall()
        # First, since it takes its time: a folder whose journal has no first line cannot be sealed.
        host, libraries = node(), versions()
        number = self._attempts() + 1 if self.attempt.number is None else self.attempt.number
        name = f"{started:%Y-%m-%dT%H%M%S}_{slug(self.subject.rig)}_{slug(self.subject.unit.serial)}"
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            self.folder = _new_folder(self.runs, name)
            self.journal = Journal(self.folder / JOURNAL)
            self.journal.open()
            _point(self.runs / "latest", self.folder)
        except OSError as error:
            raise BenchError(
                f"{self.runs / name}: the run's folder could not be made: {error.strerror}"
            ) from error
        logbook = {
            "run_id": self.run_id,
            "folder": self.folder.name,
            "started": started.isoformat(timespec="milliseconds"),
            "host": host,
            "station": self.attempt.station,
            "operator": self.attempt.operator,
            "order": self.attempt.order,
            "attempt": {"number": number, "of": self.attempt.of},
            "versions": libraries,
        }
        begun = {"subject": plain(self.subject), "logbook": logbook, "planned": self._planned}
        self.journal.event("run", begun, 0.0)
        return self

    def _attempts(self) -> int:
        """Count the earlier runs of this unit beside this one, whatever came of them; emulated ones apart."""
        wanted = self._unit_of(plain(self.subject))
        end = slug(self.subject.unit.serial)
        count = 0
        for journal in self.runs.glob(f"*_*_*/{JOURNAL}"):
            if journal.parent.name.split("_")[2] != end or journal.parent.is_symlink():
                continue
            with (
                contextlib.suppress(OSError, ValueError, LookupError, TypeError),
                journal.open("rb") as lines,
            ):
                count += self._unit_of(json.loads(lines.readline())[3]["subject"]) == wanted
        return count

    @staticmethod
    def _unit_of(subject: Mapping[str, Any]) -> tuple[str, str, bool]:
        return subject["product"], subject["unit"]["serial"], subject["is_emulated"]

    def plan(
        self,
        plan: str,
        params: Mapping[str, object] | None = None,
        *,
        title: str = "",
        purpose: str = "",
        f0_hz: float | None = None,
        form: str = "",
        does_not_show: str = "",
        seed: int | None = None,
        hazard: str = "",
        measures: Sequence[str] = (),
        declared_s: float | None = None,
        requirements: Sequence[Mapping[str, object]] = (),
        at_s: float = 0.0,
    ) -> PlanRecorder:
        """Begin a plan; what devices say and are told belongs to it until its outcome.

        Args:
            plan: its id, with parameters where one function makes several plans (``RT-01[50 Hz]``).
            params: what it was called with.
            does_not_show: what this form of the plan leaves out; empty for the full form.
            declared_s: rig time that it may take.
            requirements: versions of the requirement files that it judges by.
            at_s: rig time of the beginning.

        Raises:
            BenchError: the plan before has no outcome yet, or events were lost.
        """
        self.journal.check()
        if self.recorder is not None:
            raise BenchError(
                f"{plan}: {self.recorder.plan} has no outcome yet: plans run one after the other"
            )
        self._plans.append(plan)
        self.journal.event(
            "wall", {"plan": plan, "started": self._wall().isoformat(timespec="milliseconds")}, at_s
        )
        facts = {
            "plan": plan,
            "params": params or {},
            "title": title,
            "purpose": purpose,
            "f0_hz": f0_hz,
            "form": form,
            "does_not_show": does_not_show,
            "seed": seed,
            "hazard": hazard,
            "measures": measures,
            "declared_s": declared_s,
            "requirements": requirements,
        }
        self.journal.event("plan", facts, at_s)
        self.recorder = PlanRecorder(self, plan, trace_stems(self._plans)[-1])
        return self.recorder

    def command(self, name: str, at_s: float, asked: object = None) -> None:
        """Record that the bench is about to do ``<device>.<verb>``; fits ``Voice.note``."""
        self.journal.event("command", {"command": name, "asked": asked}, at_s)

    def note(self, kind: str, body: object, at_s: float = 0.0) -> None:
        """Record something between plans; only the journal keeps it.

        Raises:
            BenchError: a kind that the record itself uses.
        """
        _refuse_own(kind)
        self.journal.event(kind, body, at_s)

    def closing_failed(self, message: str) -> None:
        """Record that the bench did not close after the last plan: an ERROR of that plan, whatever it was."""
        self.journal.event("closing", {"verdict": "ERROR", "message": message}, self.journal.last_s)

    def seal(self) -> Record:
        """End the run, close the journal, and write traces, record and logbook.

        Raises:
            BenchError: events were lost (what there is has been sealed), or a file could not be written.
        """
        self.journal.event("end", {}, self.journal.last_s)
        self.journal.close()
        record = seal_folder(self.folder, self._wall())
        self.journal.check()
        return record


def seal_folder(folder: Path, sealed: datetime) -> Record:
    """Seal a run from its journal, whole or torn; the way to seal one whose process was killed.

    Args:
        folder: the run's; ``traces`` already has its captures.
        sealed: wall-clock time.

    Raises:
        BenchError: it is sealed already, its journal is damaged, or a file could not be written.
    """
    if (folder / LOGBOOK).exists():
        raise BenchError(f"{folder}: is sealed already; a sealed run is never sealed again")
    journal = read_journal(folder / JOURNAL)
    plans = stretches(journal.events)
    guard = _guard_events(folder / GUARD_JOURNAL)
    record = replace(seal(journal.events, plans), guard=guard, unsafe=left_unsafe(journal.events, guard))
    for stem, stretch in zip(trace_stems(each.plan for each in plans), plans, strict=True):
        if stretch.points:
            (folder / "traces").mkdir(exist_ok=True)
            write_readings(folder / "traces" / f"{stem}.parquet", stretch.points)
    write_whole(folder / RECORD, spell_document(record.document()))
    write_logbook(folder, record, journal.events, sealed=sealed, torn_bytes=len(journal.tail))
    return record


def _guard_events(path: Path) -> tuple[Any, ...]:
    """Give the guard's own journal, as far as it came; nothing where no guard stood beside the run."""
    if not path.exists():
        return ()
    return tuple(
        {"at_s": event.rig_s, "kind": event.kind, "body": plain(event.body)}
        for event in read_journal(path).events
    )


def _new_folder(runs: Path, name: str) -> Path:
    count = 1
    while True:
        folder = runs / (name if count == 1 else f"{name}_{count}")
        try:
            folder.mkdir()
        except FileExistsError:
            count += 1
        else:
            return folder


def _point(link: Path, folder: Path) -> None:
    partial = link.with_name(f".latest-{folder.name}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(folder.name)
    partial.replace(link)
