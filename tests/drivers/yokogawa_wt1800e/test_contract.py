"""The role's suite over the emulated analyzer."""

from __future__ import annotations

import contextlib

import pytest

from harness.testing.power_analyzer import EmulatedAnalyzerWorld, PowerAnalyzerContract


class TestPowerAnalyzer(PowerAnalyzerContract):
    @pytest.fixture(autouse=True)
    def _on_emulator(self, bench):
        self._open_bench = bench

    @contextlib.asynccontextmanager
    async def bench(self):
        async with self._open_bench() as (driver, emulator, plant):
            yield driver, EmulatedAnalyzerWorld(plant, emulator)
