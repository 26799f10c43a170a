"""The pytest plugin: options, which plans run, and how verdicts become outcomes.

It loads with every pytest of an environment that has Rackproof installed, so it imports nothing heavy:
the rig's side comes with ``--rig``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

if TYPE_CHECKING:
    from harness.conductor import Conductor

EXIT_NOT_TESTABLE = 10
"""Exit code of a run in which nothing failed and something could not be tested."""

CONDUCTOR: pytest.StashKey[Conductor] = pytest.StashKey()
TERMINAL = pytest.StashKey[TextIO]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare Rackproof's options."""
    group = parser.getgroup("rackproof", "Rackproof: test plans on a rig")
    add = group.addoption
    add("--rig", metavar="NAME|PATH", help="rig file to run on: a name in fixtures/rigs/, or a path")
    add("--product", metavar="NAME|PATH", help="product under test, if not the rig's own")
    add("--site", metavar="NAME|PATH", help="site whose rules hold, if not the rig's own")
    add(
        "--emulate",
        nargs="?",
        const="all",
        metavar="DEVICES",
        help="stand all devices on emulators in virtual time; with names, some of them on the wall clock",
    )
    add("--form", choices=("ci", "full"), help="form of long plans; 'ci' by default when emulated")
    add("--serial", help="serial number of the unit under test")
    add("--operator", default="", help="who runs it")
    add("--order", default="", help="for which order")
    add("--seed", type=int, help="of everything random in an emulated run, if not the rig's own")
    add("--runs", default="runs", metavar="DIR", help="folder of all runs (default: runs)")
    add(
        "--store",
        metavar="URL",
        help="database for the run's row (default: SQLite in the folder of all runs; in virtual time none)",
    )
    add(
        "--allow-not-testable",
        action="store_true",
        help=f"exit with 0 instead of {EXIT_NOT_TESTABLE} when a plan could not be tested on this rig",
    )
    add(
        "--seed-fault",
        action="append",
        default=[],
        metavar="KIND:DEVICE",
        help="emulated only: put a fault into the emulated world, to see whether the plans catch it",
    )
    add("--no-live", action="store_true", help="plain lines instead of the live view")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Keep the terminal for the live view, before pytest captures the output of plans."""
    if getattr(early_config.known_args_namespace, "rig", None) is not None:
        gc.disable()  # until pytest_configure has loaded what stays
        early_config.stash[TERMINAL] = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    yield


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the rig's files, all mistakes at once, before anything is collected."""
    config.addinivalue_line("markers", "plan(id): a Rackproof test plan")
    if config.option.rig is None:
        if config.option.emulate is not None or config.option.seed_fault:
            raise pytest.UsageError("--emulate and --seed-fault go with --rig=NAME")
        return
    plans = config.rootpath / "testplans"
    if config.args_source is config.ArgsSource.TESTPATHS and plans.is_dir():
        config.args = [
            str(plans)
        ]  # who names a rig and no folder means its plans, and not the project's tests
    # The fixtures of plans say what loop they are for; pytest-asyncio asks every folder to choose.
    warnings.filterwarnings("ignore", 'The configuration option "asyncio_default_fixture_loop_scope"')
    try:
        with _imported_as_written(config):
            _configure_rig(config)
    finally:
        # What has been loaded stays to the end. Looking through it for garbage, again and again, took
        # 0.3 s of a short plan's 2 s, and found nothing.
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _imported_as_written(config: pytest.Config) -> Iterator[None]:
    """Import as Python does, without pytest's search for asserts in every module of a plugin.

    It rewrites what stands in the same package as the plugin. There is no assert in it, and it took 0.12 s
    of a short plan's 1.75 s. Plans are collected later, and theirs are rewritten.
    """
    hook = config.pluginmanager.rewrite_hook
    finders: list[Any] = sys.meta_path
    if hook not in finders:  # --assert=plain
        yield
        return
    finders.remove(hook)
    try:
        yield
    finally:
        finders.insert(0, hook)


def _configure_rig(config: pytest.Config) -> None:
    from harness.conductor import Conductor  # noqa: PLC0415 - heavy, and for rigs alone
    from harness.errors import ConfigurationError  # noqa: PLC0415

    try:
        terminal = config.stash.get(TERMINAL, None) or sys.__stdout__ or sys.stdout
        conductor = Conductor.from_options(config.option, Path(config.rootpath), terminal)
    except ConfigurationError as error:
        lines = "\n  ".join(error.mistakes)
        count = len(error.mistakes)
        raise pytest.UsageError(f"{count} mistake{'s' if count > 1 else ''}:\n  {lines}") from None
    config.stash[CONDUCTOR] = conductor
    config.pluginmanager.register(conductor, "rackproof-conductor")
    for module in conductor.fixture_modules():
        config.pluginmanager.import_plugin(module)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say on what the plans run."""
    conductor = config.stash.get(CONDUCTOR, None)
    return conductor.header() if conductor is not None else []


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """Mark plans for pytest-asyncio, with the loop that their bench lives on."""
    from harness.plans import spec_of  # noqa: PLC0415

    if name.startswith("test") and spec_of(obj) is not None:
        conductor = collector.config.stash.get(CONDUCTOR, None)
        scope = "function" if conductor is None else conductor.scope
        pytest.mark.asyncio(loop_scope=scope)(obj)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let ``-k`` choose a plan by its id."""
    marker = item.get_closest_marker("plan")
    if marker is not None:
        item.extra_keyword_matches.update(map(str, marker.args))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a rig a plan cannot run: say so once, as a usage error."""
    if config.stash.get(CONDUCTOR, None) is not None:
        return
    plans = [item for item in items if item.get_closest_marker("plan")]
    if plans and not config.option.collectonly:
        raise pytest.UsageError(
            f"{len(plans)} test plans were collected and no rig is named: add --rig=NAME, "
            "and --emulate to stand its devices on emulators"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: Any) -> tuple[str, str, tuple[str, Mapping[str, bool]]] | None:
    """Show a plan's verdict as its own category and word."""
    verdict = getattr(report, "rackproof_verdict", None)
    if verdict is None:
        return None
    if getattr(report, "rackproof_is_counted", False):
        return "", "", ("", {})
    category = {
        "PASS": "passed",
        "FAIL": "failed",
        "INCONCLUSIVE": "failed",
        "ERROR": "error",
        "ABORTED": "error",
        "NOT TESTABLE": "not testable",
    }[verdict]
    colour = {"PASS": "green", "NOT TESTABLE": "yellow"}.get(verdict, "red")
    return category, "", (verdict, {colour: True})  # no letter: the conductor writes a line for each plan


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Seal the record after the last bench has closed, and write the report."""
    from harness.errors import RackproofError  # noqa: PLC0415 - the plugin loads with every pytest

    conductor = session.config.stash.get(CONDUCTOR, None)
    if conductor is None:
        yield
        return
    try:
        yield
    except RackproofError as error:
        conductor.could_not_close(session, error)
    finally:
        conductor.finish(session)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the terminal back."""
    terminal = config.stash.get(TERMINAL, None)
    if terminal is not None:
        terminal.close()
