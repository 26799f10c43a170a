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
