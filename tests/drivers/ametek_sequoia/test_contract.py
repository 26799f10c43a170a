"""The role's suite over the emulated source."""

from __future__ import annotations

import contextlib

import pytest

from harness.testing.grid_source import GridSourceContract


class TestGridSource(GridSourceContract):
    @pytest.fixture(autouse=True)
    def _on_emulator(self, bench):
        self._open_bench = bench

    @contextlib.asynccontextmanager
    async def bench(self):
        async with self._open_bench() as (driver, _, _):
            await driver.set_frequency_hz(50.0)
            yield driver


class TestGridSourceWithPhaseLists(TestGridSource):
    """Firmware that takes lists of angles."""

    has_angles = True

    @contextlib.asynccontextmanager
    async def bench(self):
        async with self._open_bench(phase_list=True) as (driver, _, _):
            await driver.set_frequency_hz(50.0)
            yield driver
