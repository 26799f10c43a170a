"""What the terminal shows: a live view while a plan is on, one plain line a plan elsewhere, and the summary.

Nothing here has a thread or a clock of its own: whoever runs the loop calls ``refresh`` between two of
its turns (``loop.ticker``), and gives the real time.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from harness.clock import real_s
from harness.readings import Reading
from harness.record.record import LETTERS, PlanRecord, Record, first_cause
from harness.report.figures import TONES, UNITS, duration, figure, in_words, scale_of, suffix_of
from harness.safety.unsafe import unsafe_lines

if TYPE_CHECKING:
    from rich.console import Console, ConsoleDimensions, RenderableType
    from rich.live import Live

STYLES = {
    "A": "bold magenta",
    "E": "bold dark_orange",
    "F": "bold red",
    "I": "yellow",
    "N": "bright_black",
    "P": "green",
}
"""Colours of the verdicts by the page's own tones."""

BETWEEN_S = 0.1
"""Least real time between two pictures: faster than that nobody reads."""

SHORTEST_BAR, LONGEST_BAR = 4, 32
"""Columns of a bar of progress: a shorter one says nothing, a longer one no more; ours."""


@dataclass(slots=True)
class LiveView:
    """The plan that is on, fed by plain attributes and drawn by ``refresh``.

    Attributes:
        watched: the few sources whose latest values are shown, in this order; empty shows none.
        is_terminal: None asks the stream.
        plan: its id; ``begin`` and ``end`` set it.
        rig_s: rig time of the plan so far.
        declared_s: rig time that it may take; 0 where it does not say.
        planned: plans that were chosen; 0 where nobody said.
        begun: plans that have begun, this one among them.
    """

    watched: Sequence[str] = ()
    stream: TextIO = field(default_factory=lambda: sys.stdout)
    is_terminal: bool | None = None
    real: Callable[[], float] = real_s
    plan: str = ""
    title: str = ""
    rig_s: float = 0.0
    declared_s: float = 0.0
    planned: int = 0
    begun: int = 0
    letters: str = ""
    values: dict[str, Reading[Any]] = field(default_factory=dict)
    _live: Live | None = None
    _began_s: float = 0.0
    _drawn_s: float = -1.0

    def begin(self, plan: str, title: str = "", declared_s: float | None = None) -> None:
        """Show a plan from its beginning."""
        self.plan, self.title = plan, title
        self.begun += 1
        self.rig_s, self.declared_s = 0.0, declared_s or 0.0
        self.values.clear()
        self._began_s, self._drawn_s = self.real(), -1.0
        if _is_live(self.stream, self.is_terminal):
            from rich.live import Live  # noqa: PLC0415 - 60 ms, and only for people who watch

            self._live = Live(
                console=_console(self.stream),
                auto_refresh=False,
                transient=True,
                # pytest captures what plans print, and swaps the streams while the view is on.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
            self.refresh()

    def observe(self, reading: Reading[Any]) -> None:
        """Take a reading, cheaply; fits ``Voice.observe`` beside the record."""
        if reading.source in self.watched:
            self.values[reading.source] = reading

    def refresh(self, rig_s: float | None = None) -> None:
        """Draw, at most once in ``BETWEEN_S`` of real time; nothing where there is no terminal."""
        if rig_s is not None:
            self.rig_s = rig_s
        if self._live is None:
            return
        now = self.real()
        if now - self._drawn_s >= BETWEEN_S:
            self._drawn_s = now
            self._live.console.size = _size(self.stream)
            self._live.update(self.picture(), refresh=True)

    def end(self, verdict: str, message: str = "", rig_s: float | None = None) -> None:
        """Take the live picture away, and leave one line of the plan."""
        if rig_s is not None:
            self.rig_s = rig_s
        if self._live is not None:
            self._live.stop()
            self._live = None
        self.letters += LETTERS[verdict]
        cause = f"  {first_cause(message)}" if message else ""
        self.note(verdict, f"{self.plan}  {self.title}  ({duration(self.rig_s)}, {self._speed()}){cause}")
        self.plan = ""

    def note(self, word: str, words: str) -> None:
        """Leave a line; beside those of the plans: what went wrong when the bench closed."""
        if _is_live(self.stream, self.is_terminal):
            from rich.table import Table  # noqa: PLC0415 - with begin
            from rich.text import Text  # noqa: PLC0415 - with begin

            line = Table.grid()
            line.add_column(width=13)
            line.add_column(overflow="fold")
            line.add_row(Text(word, STYLES[TONES.get(word, "F")]), Text(words))
            _console(self.stream).print(line)
        else:
            self.stream.write(f"{word:<13}{words}\n")
            self.stream.flush()

    def picture(self) -> RenderableType:
        """What is drawn now: title, progress, values, and how many plans are behind it, a letter each."""
        from rich.console import Group  # noqa: PLC0415 - with begin
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - with begin
        from rich.table import Table  # noqa: PLC0415 - with begin
        from rich.text import Text  # noqa: PLC0415 - with begin

        head = Text.assemble((self.plan, "bold"), f"  {self.title}", no_wrap=True, overflow="ellipsis")
        progress = Table.grid(padding=(0, 2))
        declared = f" of at most {duration(self.declared_s)}" if self.declared_s else ""
        cells: list[RenderableType] = [f"{duration(self.rig_s)}{declared}", self._speed()]
        # What words and the spaces behind three columns leave; on a narrow terminal words come first.
        free = _size(self.stream).width - sum(len(str(cell)) for cell in cells) - 6
        if self.declared_s and free >= SHORTEST_BAR:
            done_s = min(self.rig_s, self.declared_s)
            bar = ProgressBar(total=self.declared_s, completed=done_s, width=min(free, LONGEST_BAR))
            cells.insert(0, bar)
        for _ in cells:
            progress.add_column(no_wrap=True)
        progress.add_row(*cells)
        values = Table.grid(padding=(0, 2))
        values.add_column(style="bright_black", no_wrap=True)
        values.add_column(justify="right", no_wrap=True)
        for source in self.watched:
            if source in self.values:
                values.add_row(source, said(self.values[source]))
        count = f"plan {self.begun} of {self.planned}  " if self.planned else ""
        marks = Text(count, no_wrap=True, overflow="ellipsis")
        for letter in self.letters:
            marks.append(letter, STYLES["P" if letter == "." else letter])
        return Group(head, progress, values, marks)

    def _speed(self) -> str:
        real = self.real() - self._began_s
        if real <= 0.0 or self.rig_s <= 0.0:
            return "not moving"
        speed = self.rig_s / real
        return f"{figure(speed, speed)} x real time"


def _is_live(stream: TextIO, is_terminal: bool | None) -> bool:
    """Whether somebody watches: the stream's own word, where nobody else has one."""
    return stream.isatty() if is_terminal is None else is_terminal


def _write_lines(lines: Sequence[str], stream: TextIO, *, is_live: bool, style: str = STYLES["F"]) -> None:
    """Write lines that nobody may miss: red, and broken at spaces, where somebody watches; whole in a log."""
    if not is_live:
        stream.writelines(f"{line}\n" for line in lines)
        return
    from rich.text import Text  # noqa: PLC0415 - only for people who watch

    console = _console(stream)
    for line in lines:
        console.print(Text(line, style))


def _console(stream: TextIO) -> Console:
    from rich.console import Console  # noqa: PLC0415 - only for people who watch

    columns, lines = _size(stream)
    return Console(file=stream, force_terminal=True, highlight=False, width=columns, height=lines)


def _size(stream: TextIO) -> ConsoleDimensions:
    """Columns and lines of the terminal behind a stream: pytest holds the three that rich would ask."""
    from rich.console import ConsoleDimensions  # noqa: PLC0415 - as above

    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # no terminal, or no file at all
        columns = lines = 0
    fallback = shutil.get_terminal_size()
    # A pseudo-terminal that nobody gave a size has none.
    return ConsoleDimensions(columns or fallback.columns, lines or fallback.lines)


def said(reading: Reading[Any]) -> str:
    """Write the value of a reading with the unit of its source's suffix."""
    value = reading.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        suffix = suffix_of(reading.source)
        factor, unit = (100.0, "%") if suffix == "fraction" else scale_of([float(value)], UNITS[suffix][1])
        number = float(value) * factor
        return f"{figure(number, max(abs(number) / 50.0, 1e-9))} {unit}".rstrip()
    return in_words(value)


def write_unsafe(live: tuple[str, ...], rig: str, stream: TextIO, *, is_terminal: bool | None = None) -> None:
    """Write what is live and what to do where a rig was left unsafe; nothing where it was not."""
    lines = unsafe_lines(live, rig)
    if lines:
        _write_lines(["", *lines], stream, is_live=_is_live(stream, is_terminal))
        stream.flush()


def write_summary(
    record: Record, report: Path | None, stream: TextIO, *, is_terminal: bool | None = None
) -> None:
    """Write the table of all plans, worst first, how many never began, and where the report is."""
    live = _is_live(stream, is_terminal)
    rows = [_summary_row(plan) for plan in record.worst_first()]
    if live:
        _draw(rows, stream)
    else:
        stream.writelines(_aligned([_COLUMNS, *rows]))
    counts = ", ".join(f"{count} {word}" for word, count in record.counts().items()) or "no plan was begun"
    if record.not_begun:
        counts += f"; {record.said_not_begun}"
    emulated = "emulated, " if record.subject["is_emulated"] else ""
    unit = f"{record.subject['product']} {record.subject['unit']['serial']} on {record.subject['rig']}"
    _write_lines(
        [f"{unit} ({emulated}{record.subject['clock']} clock): {counts}"], stream, is_live=live, style=""
    )
    if record.seeded_faults:
        faults = ", ".join(record.seeded_faults)
        words = f"seeded faults: {faults}: these verdicts judge the plans, no product"
        _write_lines([words], stream, is_live=live)
    if report is not None:
        stream.write(f"report: {report}\n")
    stream.flush()


_COLUMNS = ("verdict", "plan", "rig time", "title", "why")
_Row = tuple[str, str, str, str, str]


def _summary_row(plan: PlanRecord) -> _Row:
    bad = [f"{each['measure']} {each['verdict']}" for each in plan.judgements if each["verdict"] != "PASS"]
    why = plan.cause or "; ".join(bad)
    return plan.verdict, plan.plan, duration(plan.duration_s), str(plan.facts.get("title") or ""), why


def _aligned(rows: Sequence[_Row]) -> Iterator[str]:
    """Write one line a row: what a log keeps, and ``grep`` finds whole."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for verdict, plan, time, title, why in rows:
        head = f"{verdict:<{widths[0]}}  {plan:<{widths[1]}}  {time:>{widths[2]}}"
        yield f"{head}  {title:<{widths[3]}}  {why}".rstrip() + "\n"


def _draw(rows: Sequence[_Row], stream: TextIO) -> None:
    """Draw the table as wide as the terminal, in colour."""
    from rich.table import Table  # noqa: PLC0415 - only at the end of a run that somebody watches
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, header_style="bright_black", padding=(0, 2, 0, 0))
    filled = [place for place in range(len(_COLUMNS)) if any(row[place] for row in rows)]
    for name in (_COLUMNS[place] for place in filled):
        is_text = name in {"title", "why"}
        justify: Literal["left", "right"] = "right" if name == "rig time" else "left"
        table.add_column(name, no_wrap=not is_text, overflow="fold", justify=justify)
    for row in rows:
        styles = (STYLES[TONES[row[0]]], *[""] * len(row))
        table.add_row(*(Text(row[place], styles[place]) for place in filled))
    _console(stream).print(table)
