"""What every test has: a station of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ours", deadline=None, derandomize=True, database=None)
settings.load_profile("ours")  # the same examples every time, however busy the machine

# A shell that starts the tests in the background takes Ctrl-C away, from the runs that they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST_FIRST = (
    "safety/test_endings.py",
    "plans/test_another_process.py",
    "plans/test_negative_controls.py",
    "test_plugin.py",
    "safety/test_commissioning.py",
    "test_bad_input.py",
    "plans/test_category_3.py",
    "plant/server_rack/test_rack_plant.py",
    "plant/energy/test_controller.py",
    "plans/test_determinism.py",
    "plant/test_battery.py",
    "plant/test_stated_error.py",
    "safety/test_latency.py",
    "plant/test_strip.py",
    "plant/test_order.py",
    "safety/test_settings.py",
    "plant/test_everything_on.py",
    "oracles/test_opender.py",
    "plant/test_bms.py",
    "wires/test_determinism.py",
    "test_cli.py",
    "plant/server_rack/test_backup_unit.py",
    "test_documents.py",
    "plans/test_defective_products.py",
    "plant/server_rack/test_rack_load.py",
    "test_project.py",
)
"""Files that take ten seconds or more on two cores; what begins last keeps one core waiting for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; all others stay in their order behind them."""
    folder = Path(__file__).parent
    rank = {folder / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(autouse=True)
def ordinary() -> Iterator[None]:
    """See that no test makes this process, and with it all that come after, more urgent than others."""
    yield
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.fixture(autouse=True)
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep leases, arming and keys in the test's own folder, also of the processes that it starts.

    A test that is killed in the middle leaves a rig that nobody may energise before a person has looked: it
    must never be the rig of this computer.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path
