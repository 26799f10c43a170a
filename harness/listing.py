"""The list of test plans, as pytest collects them, and what each asks of a rig."""

from __future__ import annotations

import contextlib
import inspect
import io
from pathlib import Path
from typing import Any

import pytest

from harness.plans import PlanSpec, spec_of
from harness.rig.rig_file import RigFile

_ROLE_OF_FIXTURE = {
    "battery": "battery",
    "inverter": "inverter",
    "grid": "grid_source",
    "analyzer": "power_analyzer",
    "recorder": "recorder",
    "fault_inserter": "fault_inserter",
}


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
    """Give each plan under a folder with the roles that it asks for, by id."""
    collected = _Collected()
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "-q", str(testplans)], plugins=[collected])
    found = []
    for function in collected.functions.values():
        spec = spec_of(function)
        if spec is not None:
            roles = {
                _ROLE_OF_FIXTURE[name]
                for name in inspect.signature(function).parameters
                if name in _ROLE_OF_FIXTURE
            }
            found.append((spec, frozenset(roles)))
    return sorted(found, key=lambda pair: pair[0].plan_id)


def list_plans(testplans: Path, rig: RigFile | None) -> int:
    """Print the plans; gives 1 where there is none."""
    plans = collect(testplans)
    for spec, roles in plans:
        print(f"{spec.plan_id:<6} {spec.title}")  # noqa: T201 - a listing
        limits = ", ".join(f"{form} up to {limit:g} s" for form, limit in spec.limit_s.items())
        print(f"       {spec.hazard}; {spec.standard}; rig time: {limits}")  # noqa: T201
        if rig is not None:
            have = {device.role for device in rig.devices.values()}
            lacking = ", ".join(sorted(roles - have))
            is_for = not rig.plans or spec.plan_id in rig.plans
            word = (
                f"NOT TESTABLE: no {lacking}"
                if lacking
                else "runs"
                if is_for
                else "left out: the rig file does not list it"
            )
            print(f"       on {rig.name}: {word}")  # noqa: T201
    if not plans:
        print(f"no plans under {testplans}")  # noqa: T201
    return 0 if plans else 1
