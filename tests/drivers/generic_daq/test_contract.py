"""The role's suite over the emulated recorder."""

from __future__ import annotations

import contextlib

import pytest

from harness.clock import now_s
from harness.testing.recorder import RecorderBench, RecorderContract


class TestRecorder(RecorderContract):
    @pytest.fixture(autouse=True)
    def _on_emulator(self, bench):
        self._open_bench = bench

    @contextlib.asynccontextmanager
    async def bench(self):
        async with self._open_bench() as (driver, emulator, plant):
            plant.load.set_power_w(0.0)

            def edge() -> float:
                emulator.trigger(now_s())
                return now_s()

            yield RecorderBench(driver, edge, "grid_ac.u1_v", 100.0 * 2.0**0.5, 50.0)
