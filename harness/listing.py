"""The list of test plans, as pytest collects them, and what each asks of a rig."""

from __future__ import annotations

import contextlib
import inspect
import io
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigurationError
from harness.plans import ROLE_OF_FIXTURE, PlanSpec, spec_of
from harness.rig.rig_file import RigFile


class _Collected:
    """Keeps what pytest collects, and runs nothing."""

    def __init__(self) -> None:
        self.functions: dict[str, Any] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        function = getattr(item, "function", None)
        spec = spec_of(function)
        if spec is not None:
            self.functions[spec.plan_id] = function


def collect(testplans: Path) -> list[tuple[PlanSpec, frozenset[str]]]:
    """Give each plan under a folder with the roles that it asks for, by id.

    Raises:
        ConfigurationError: pytest cannot collect them; with what it says.
    """
    collected = _Collected()
    # This process imported the harness before pytest could rewrite its asserts, of which it has none.
    quiet = ("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")
    # In a folder without settings pytest-asyncio asks to choose.
    chosen = ("-o", "asyncio_default_fixture_loop_scope=function")
    if not testplans.exists():
        raise ConfigurationError(
            f"{testplans}: there is no such file or folder of plans; name one with --testplans"
        )
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(["--collect-only", "-q", *quiet, *chosen, str(testplans)], plugins=[collected])
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        raise ConfigurationError(f"{testplans}: pytest cannot collect the plans: {said.getvalue().strip()}")
    found = []
    for function in collected.functions.values():
        spec = spec_of(function)
        if spec is not None:
            roles = {
                ROLE_OF_FIXTURE[name]
                for name in inspect.signature(function).parameters
                if name in ROLE_OF_FIXTURE
            }
            found.append((spec, frozenset(roles)))
    return sorted(found, key=lambda pair: pair[0].plan_id)


def _on_rig(spec: PlanSpec, roles: frozenset[str], rig: RigFile, *, emulate: bool) -> str:
    """Say what would become of a plan on a rig."""
    have = {device.role for device in rig.devices.values()}
    if rig.plans and spec.plan_id not in rig.plans:
        return "left out: the rig file does not list it"
    if roles - have:
        return f"NOT TESTABLE: no {', '.join(sorted(roles - have))}"
    if spec.hazard not in rig.allowed_hazards:
        return f"refused: {spec.hazard}; the rig allows {', '.join(rig.allowed_hazards)}"
    if emulate:
        return "runs, emulated"
    return "runs once the rig is armed (rackproof arm)" if spec.energises else "runs"


def list_plans(testplans: Path, rig: RigFile | None, *, emulate: bool = False) -> int:
    """Print the plans; gives 1 where there is none."""
    plans = collect(testplans)
    for spec, roles in plans:
        print(f"{spec.plan_id:<6} {spec.title}")  # noqa: T201 - a listing
        limits = ", ".join(f"{form} up to {limit:g} s" for form, limit in spec.limit_s.items())
        about = filter(None, (spec.hazard, spec.standard, f"rig time: {limits}"))
        print(f"       {'; '.join(about)}")  # noqa: T201
        if rig is not None:
            word = _on_rig(spec, roles, rig, emulate=emulate)
            print(f"       on {rig.name}: {word}")  # noqa: T201
    if not plans:
        print(f"no plans under {testplans}")  # noqa: T201
    return 0 if plans else 1
