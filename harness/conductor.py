"""Between pytest and a rig: begins each plan, turns its verdict into an outcome, ends the run."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TextIO

import pytest

from harness.clock import rig_loop
from harness.errors import Aborted, BenchError, ConfigurationError, RackproofError, near_miss
from harness.judge import Verdict
from harness.loose_ends import real_sleeps_refused
from harness.plan_run import Caught, PlanRun, ctrl_c_held_back
from harness.plans import PLAN_FIXTURES, ROLE_OF_FIXTURE, PlanSpec, spec_of
from harness.plugin import EXIT_NOT_TESTABLE
from harness.record.logbook import STATION_KEY, config_folder
from harness.record.record import Record, first_cause
from harness.report.terminal import LiveView, write_summary, write_unsafe
from harness.rig.bench import Bench
from harness.session import Choice, RigSession

_Outcome = Literal["passed", "failed", "skipped"]
_OUTCOMES: Mapping[Verdict, _Outcome] = {Verdict.PASS: "passed", Verdict.NOT_TESTABLE: "skipped"}

_TOLD_IN_WORDS = (RackproofError, Caught, pytest.skip.Exception)
"""What ends a plan and says all by its message: where in the harness it was raised helps nobody."""

PLAN_RUN = pytest.StashKey[PlanRun]()

LONGEST_SERIAL = 64
"""It is a part of a folder's name, of which Linux allows 255 bytes; ours."""


class Conductor:
    """Registered as a plugin when a rig is named."""

    def __init__(self, session: RigSession, option: argparse.Namespace, stream: TextIO) -> None:
        self.rig_session = session
        self.option = option
        self.left_out: list[str] = []
        self.misspelt: list[str] = []
        self.trouble = ""
        self.runs: list[PlanRun] = []
        self.sealed_in: Path | None = None
        self.record: Record | None = None
        self._until_the_end = contextlib.ExitStack()
        self._before_the_end: Any = None
        self._has_said_that_it_ends = False
        self.live = LiveView(
            watched=tuple(self._watched()), stream=stream, is_terminal=False if option.no_live else None
        )
        session.watch = self.live.observe
        session.tick = self._tick
        session.terminal = stream

    def _watched(self) -> Iterator[str]:
        """Name the few values that matter while a plan runs."""
        quantities = {
            "inverter": ("ac_power_w",),
            "battery": ("voltage_v", "current_a", "soc"),
            "grid_source": ("voltage_v", "frequency_hz"),
        }
        for name, device in self.rig_session.rig.devices.items():
            for quantity in quantities.get(device.role, ()):
                yield f"{name}.{quantity}"

    def _tick(self) -> None:
        self.live.refresh(asyncio.get_running_loop().time())

    @classmethod
    def from_options(cls, option: argparse.Namespace, root: Path, stream: TextIO) -> Conductor:
        """Read what the command line chose.

        Raises:
            ConfigurationError: with every mistake.
        """
        some = option.emulate not in (None, "all")
        if some and ("/" in option.emulate or option.emulate.endswith(".py")):
            raise ConfigurationError(
                f"--emulate {option.emulate}: a path is no device; put the path before --emulate, "
                "or write --emulate=all"
            )
        _check_places(Path(option.runs), option.serial)
        session = RigSession(
            Choice(
                rig=option.rig,
                product=option.product,
                site=option.site,
                emulate=option.emulate == "all",
                stand_ins=tuple(dict.fromkeys(option.emulate.split(","))) if some else (),
                form=option.form,
                serial=option.serial,
                seed=option.seed,
                operator=option.operator,
                order=option.order,
                seeded_faults=tuple(option.seed_fault),
                root=root,
                runs=Path(option.runs),
            )
        )
        for plugin, why in (
            ("numprocesses", "xdist"),
            ("reruns", "re-runs"),
            ("random_order_bucket", "random order"),
            ("randomly_reorganize", "random order (pytest-randomly)"),
        ):
            if getattr(option, plugin, None) and not session.is_virtual:
                raise ConfigurationError(
                    f"{why} on hardware: one rig, one order, one attempt at a time; leave it out, or switch "
                    "the plugin off (-p no:NAME)"
                )
        return cls(session, option, stream)

    @property
    def scope(self) -> Literal["function", "session"]:
        """Scope of loop and bench: fresh for each plan in virtual time, one for the session on hardware."""
        return "function" if self.rig_session.is_virtual else "session"

    def fixture_modules(self) -> Iterable[str]:
        """Name the modules that hold the fixtures of this kind of run."""
        bench = "bench_each_plan" if self.rig_session.is_virtual else "bench_all_plans"
        return (
            f"rackproof_fixtures.{module}" for module in (bench, *ROLE_OF_FIXTURE, "run", "telemetry_check")
        )

    def header(self) -> list[str]:
        """Say on what the plans run."""
        session = self.rig_session
        clock = "virtual time" if session.is_virtual else "wall clock"
        kind = "emulated" if session.choice.emulate or session.rig.emulated else "HARDWARE"
        if session.choice.stand_ins:
            kind += f", {' and '.join(session.choice.stand_ins)} emulated here"
        f0s = "/".join(f"{f0:g}" for f0 in session.frequencies_hz())
        lines = [
            (
                f"rig: {session.rig.name} ({kind}, {clock}, {f0s} Hz), product: {session.product.name}, "
                f"site: {session.site.name}, form: {session.form}, seed: {session.seed}"
            )
        ]
        if session.seeded_faults:
            faults = ", ".join(map(str, session.seeded_faults))
            lines.append(f"seeded faults: {faults}: a plan that looks there and passes is a defect")
        return lines

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """One line a plan is written here; pytest's own line of dots would stand in between."""
        if self.rig_session.is_virtual:
            self._until_the_end.enter_context(real_sleeps_refused())
        # Also where a shell started this in the background, which takes Ctrl-C away.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # As Ctrl-C: the plan comes to rest, the guard makes the rig safe, the record says ABORTED.
        for number in (signal.SIGTERM, signal.SIGHUP):
            if self.rig_session.is_virtual and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup: nothing burns, and somebody asked for it
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False
            reporter._show_progress_info = False  # noqa: SLF001 - there is no public word for it

    # What runs

    def pytest_asyncio_loop_factories(self, item: pytest.Item) -> Mapping[str, Any]:
        """Run plans on rig time; the factory is the same object at every call."""
        del item
        return {"rig": self.rig_session.loop_factory}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a plan that asks for ``f0_hz`` once for each frequency."""
        if (
            spec_of(metafunc.function) is not None
            and "f0_hz" in inspect.signature(metafunc.function).parameters
        ):
            values = self.rig_session.frequencies_hz()
            names = [f"{value:g}Hz" for value in values]
            metafunc.parametrize("f0_hz", values, ids=names, scope=self.scope)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out the plans that this rig is not for, by name."""
        wanted = set(self.rig_session.rig.plans)
        kept: list[pytest.Item] = []
        left: list[pytest.Item] = []
        for item in items:
            spec = _spec(item)
            (left if spec is not None and wanted and spec.plan_id not in wanted else kept).append(item)
        if left:
            self.left_out = sorted(_plan_ids(left))
            # Two plans of one kind are alike in four letters of five.
            alike = {
                each: get_close_matches(each, self.left_out, n=1, cutoff=0.81)
                for each in sorted(wanted - _plan_ids(kept))
            }
            self.misspelt = [
                f"{each!r}; did you mean {meant[0]!r}?" for each, meant in alike.items() if meant
            ]
            config.hook.pytest_deselected(items=left)
            items[:] = kept

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Tell the run which plans are to come, and the live view how many.

        Raises:
            UsageError: two plans have one id.
        """
        tests: dict[str, set[str]] = {}
        names: list[str] = []
        for item in session.items:
            if (spec := _spec(item)) is not None:
                names.append(_name_of(item, spec))
                tests.setdefault(spec.plan_id, set()).add(item.nodeid.partition("[")[0])
        twice = [f"{plan_id}: {', '.join(sorted(each))}" for plan_id, each in tests.items() if len(each) > 1]
        if twice:
            raise pytest.UsageError(f"one id, several plans; allowed: one each: {'; '.join(twice)}")
        again = sorted({name for name in names if names.count(name) > 1})
        if again:
            raise pytest.UsageError(f"collected twice; allowed: once: {', '.join(again)}")
        self.live.planned = len(names)
        if not hasattr(session.config, "workerinput"):  # a worker of xdist's does a part of them
            self.rig_session.planned = tuple(names)

    # One plan

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin the plan's part of the record before its bench opens."""
        spec = _spec(item)
        if spec is None:
            return
        params = _params(item)
        f0_hz = float(params.get("f0_hz", self.rig_session.frequencies_hz()[0]))
        name = _name_of(item, spec)
        with ctrl_c_held_back(), self._exits_where_nothing_is_kept():
            run = PlanRun.begin(self.rig_session, spec, name, f0_hz, params)
            item.stash[PLAN_RUN] = run
            self.runs.append(run)
        self.live.begin(name, spec.title, spec.limit_s[self.rig_session.form])

    @contextlib.contextmanager
    def _exits_where_nothing_is_kept(self) -> Iterator[None]:
        """End the session where nothing can be kept: its folder cannot be made, or its disk is full."""
        try:
            yield
        except BenchError as error:
            if self.rig_session.run is not None:
                why = f"no other plan runs, since nothing of it could be kept: {error}"
                pytest.exit(why, returncode=pytest.ExitCode.TESTS_FAILED)
            pytest.exit(f"{error}; name another one: --runs DIR", returncode=pytest.ExitCode.USAGE_ERROR)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Put the plan's frame around its function."""
        run = item.stash.get(PLAN_RUN, None)
        if run is not None:
            function: Any = item
            function.obj = run.conducted(function.obj, self.rig_session.bench)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the outcome be the worst verdict."""
        report = yield
        run = item.stash.get(PLAN_RUN, None)
        if run is None or (call.when == "setup" and call.excinfo is None):
            return report
        error = None if call.excinfo is None else call.excinfo.value
        if isinstance(error, pytest.FixtureLookupError):
            error = self._not_given(error)
        if call.when == "teardown":
            if isinstance(error, Exception):
                self._not_closed(run, error, report)
            return report
        verdict = run.conclude(error)
        report.rackproof_verdict = verdict.words  # type: ignore[attr-defined]
        report.user_properties.append(("verdict", verdict.words))
        report.outcome = _OUTCOMES.get(verdict, "failed")
        if hasattr(report, "wasxfail"):
            del report.wasxfail  # nobody may expect a product to fail
        if verdict is Verdict.NOT_TESTABLE:
            report.longrepr = (str(item.path), 0, f"NOT TESTABLE: {run.message}")
        elif verdict is not Verdict.PASS and (error is None or isinstance(error, _TOLD_IN_WORDS)):
            # pytest's short summary shows the first line.
            cause = first_cause(run.message)
            lines = [cause, f"{run.name} {run.spec.title}: {verdict.words}"]
            report.longrepr = "\n".join(lines if run.message == cause else [*lines, run.message])
        self.live.end(verdict.words, run.message, run.rig_s)
        return report

    def _not_closed(self, run: PlanRun, error: Exception, report: pytest.TestReport) -> None:
        """Take an error of closing the bench into a plan whose own function is over."""
        # Who looks at the counts sees this plan once.
        report.rackproof_is_counted = run.verdict not in {None, *_OUTCOMES}  # type: ignore[attr-defined]
        verdict = run.closing_failed(error)
        report.rackproof_verdict = verdict.words  # type: ignore[attr-defined]
        if isinstance(error, RackproofError):
            report.longrepr = f"{run.name}: closing the bench: {error}"
        if self.rig_session.left_unsafe:
            self.live.note("UNSAFE", "what is live, and what to do, stands above the table of all plans")
        else:
            self.live.note(verdict.words, f"closing the bench: {first_cause(str(error))}")

    def _not_given(self, error: pytest.FixtureLookupError) -> ConfigurationError:
        """Say what a plan asked for that there is not, and what it may ask for."""
        rig, asked = self.rig_session.rig, str(error.argname)
        of_role = {role: fixture for fixture, role in ROLE_OF_FIXTURE.items()}
        meant = f"; did you mean {of_role[asked]!r}?" if asked in of_role else near_miss(asked, PLAN_FIXTURES)
        have = ", ".join(sorted({device.role for device in rig.devices.values()}))
        return ConfigurationError(
            f"there is no fixture {asked!r}{meant}; a plan may ask for {', '.join(PLAN_FIXTURES)}, and for "
            f"what its own conftest.py defines; rig {rig.name} has the roles {have}"
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Conclude the plan that was running: it was stopped from outside. Once is enough."""
        self._hold_ctrl_c_back()
        self._abort("stopped from the keyboard")

    def _abort(self, why: str) -> None:
        for run in self.runs:
            if run.verdict is None:
                verdict = run.conclude(Aborted(why))
                self.live.end(verdict.words, run.message, run.rig_s)

    # The end

    def could_not_close(self, session: pytest.Session, error: RackproofError) -> None:
        """Take an error of closing the bench that no plan's report can carry any more: after Ctrl-C."""
        trouble = f"closing the bench: {error}"
        if not self.rig_session.left_unsafe:
            self.trouble = trouble
        run = self.rig_session.run
        if run is not None:
            run.closing_failed(trouble)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def finish(self, session: pytest.Session) -> None:
        """Seal, report, and set the exit code; from here on Ctrl-C stops nothing, since all is over."""
        self._hold_ctrl_c_back()
        run = self.rig_session.run
        if run is None:
            return
        self._abort("the session ended before the plan did")
        from harness.report.drawn import write_drawn  # noqa: PLC0415 - templates and plots load at the end

        try:
            self.record = run.seal()
            self.sealed_in = run.folder
            write_drawn(run.folder)
        except (BenchError, OSError) as error:
            self.trouble = f"the run could not be sealed: {error}; then: rackproof seal {run.folder}"
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        if session.exitstatus == pytest.ExitCode.OK and self.record.verdict == "ABORTED":
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        self._file(session, run.folder)
        verdicts = [each.verdict for each in self.runs]
        is_clean = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if is_clean and Verdict.NOT_TESTABLE in verdicts and not self.option.allow_not_testable:
            session.exitstatus = EXIT_NOT_TESTABLE

    def _hold_ctrl_c_back(self) -> None:
        if self._before_the_end is None:
            self._before_the_end = signal.signal(signal.SIGINT, self._say_that_it_ends)

    def _say_that_it_ends(self, *_: object) -> None:
        if not self._has_said_that_it_ends:
            self._has_said_that_it_ends = True
            text = (
                "the plans are over: it ends once the run is sealed and reported "
                f"(kill -9 {os.getpid()} ends it at once, and without a report)\n"
            )
            with contextlib.suppress(OSError):  # past the stream, which may be in the middle of a write
                os.write(self.live.stream.fileno(), text.encode())

    def pytest_unconfigure(self) -> None:
        """Give Ctrl-C and sleep back where pytest runs within another process; its own is over."""
        self._until_the_end.close()
        if self._before_the_end is not None:
            is_pytests_own = (
                Path(sys.argv[0]).stem in {"pytest", "py.test"} or "pytest/__main__" in sys.argv[0]
            )
            signal.signal(signal.SIGINT, signal.SIG_IGN if is_pytests_own else self._before_the_end)

    def _file(self, session: pytest.Session, folder: Path) -> None:
        """Give the database the run's row; in virtual time only if asked for: it takes half a second."""
        place: Path | str | None = self.option.store or (
            None if self.rig_session.is_virtual else folder.parent
        )
        if place is None:
            return
        from harness.record.store import file_once  # noqa: PLC0415 - SQLAlchemy, for this alone

        try:
            file_once(folder, place)
        except RackproofError as error:
            later = f"file it later: rackproof file {folder} --store URL"
            self.trouble = f"the run is sealed and not filed: {error}; {later}"
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the record is, and what was not run."""
        write = terminalreporter.write_line
        session = self.rig_session
        write_unsafe(session.left_unsafe, session.choice.rig, self.live.stream)
        if self.record is not None and self.sealed_in is not None:
            report = self.sealed_in / "report.html"
            write_summary(self.record, report, self.live.stream)
        if self.trouble:
            write(self.trouble, red=True, bold=True)
        if self.left_out:
            write(
                f"{len(self.left_out)} plan{'s are' if len(self.left_out) > 1 else ' is'} not for rig "
                f"{self.rig_session.rig.name}: {', '.join(self.left_out)}"
            )
        if self.misspelt:
            write(f"its file lists what no plan here has: {', '.join(self.misspelt)}", red=True)


def _check_places(runs: Path, serial: str | None) -> None:
    """See that the run's folder and the station's key can be made, which is done when plans begin and end.

    Raises:
        ConfigurationError: with every mistake.
    """
    mistakes = []
    if why := _why_no_folder(runs):
        mistakes.append(f"--runs {runs}: {why}")
    key = config_folder() / STATION_KEY
    if not key.exists() and (why := _why_no_folder(key.parent)):
        mistakes.append(f"{key}, which signs the run: {why}: XDG_CONFIG_HOME, or HOME")
    if serial is not None and len(serial) > LONGEST_SERIAL:
        mistakes.append(f"--serial of {len(serial)} characters; allowed up to {LONGEST_SERIAL}")
    if mistakes:
        raise ConfigurationError(*mistakes)


def _why_no_folder(folder: Path) -> str:
    """Say why a folder cannot be made or written; empty where it can."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        return f"{there} is a file; allowed: a folder, which is made where it is not"
    may_be = os.access(there, os.W_OK | os.X_OK)
    return "" if may_be else f"{there} may not be written by this account; name another folder"


def _spec(item: pytest.Item) -> PlanSpec | None:
    return spec_of(getattr(item, "function", None))


def _params(item: pytest.Item) -> dict[str, Any]:
    """What a plan is called with, parameters of pytest's plugins left out."""
    params = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    asked = inspect.signature(item.function).parameters if isinstance(item, pytest.Function) else {}
    return {name: value for name, value in params.items() if name in asked or not name.startswith("_")}


def _name_of(item: pytest.Item, spec: PlanSpec) -> str:
    """Name a plan as the record does: its id, and its parameters in brackets."""
    return spec.plan_id + (f"[{item.callspec.id}]" if hasattr(item, "callspec") and _params(item) else "")


def _plan_ids(items: Iterable[pytest.Item]) -> set[str]:
    return {spec.plan_id for item in items if (spec := _spec(item)) is not None}


def plan_run(request: pytest.FixtureRequest) -> PlanRun:
    """Give the plan that a fixture serves.

    Raises:
        ConfigurationError: the test is no plan.
    """
    run = request.node.stash.get(PLAN_RUN, None)
    if run is None:
        raise ConfigurationError(f"{request.node.nodeid} is no plan: decorate it with @plan(...)")
    return run  # type: ignore[no-any-return]  # the stash is typed, the node is not


async def open_bench_for(conductor: Conductor, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Open the bench that plans of this session share, or that one plan has to itself."""
    session = conductor.rig_session
    f0_hz = session.frequencies_hz()[0]
    folder: Path | None = session.open_run().folder / "traffic"
    run = request.node.stash.get(PLAN_RUN, None)
    if run is not None:
        f0_hz, folder = run.f0_hz, run.traffic_folder
    rig_loop()
    async with session.open_bench(f0_hz, folder) as bench:
        yield bench
