"""The promise of virtual time: the same bytes in the same order, whatever the load of the machine."""

from __future__ import annotations

import time

import pytest

from ..processes import busy_loops
from .mixed import digest

SECONDS = 2000
"""Ten exchanges a second: 20,000."""


def test_20000_mixed_exchanges_are_the_same_idle_and_beside_six_busy_loops() -> None:
    idle, count, lost = digest(SECONDS)
    assert count == 10 * SECONDS
    # Every lost answer cost its time-out in rig time, no more and no less.
    assert len(lost) == 2 * SECONDS // 100
    assert lost == pytest.approx([0.5] * len(lost), abs=1e-9)
    with busy_loops(6):
        busy, _, _ = digest(SECONDS)
    assert busy == idle


def test_a_lost_answer_costs_nothing_real() -> None:
    began = time.monotonic()
    _, _, lost = digest(100)
    real_s = time.monotonic() - began
    # 100 s of rig time and two time-outs: were any of it real, it would show.
    assert lost
    assert real_s < 50.0
