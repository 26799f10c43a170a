"""The end of a plan: zero power, no inserted fault, steady mains, the product's settings as they were.

Settings are restored, never power. Every step is tried although an earlier one raised, whatever it raised: a
driver of somebody's own has errors of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from harness.clock import now_s
from harness.errors import BenchError, NotTestable, told
from harness.rig.bench import Bench

_REST_WITHIN_S = 30.0
"""Longest way to zero power that is waited for; a converter's ramp from rated power takes seconds."""

_STEP_WITHIN_S = 60.0
"""After which a step is given up: twice the longest wait within one; ours."""


class _Steps:
    """Steps that are all tried, and what those did that failed."""

    def __init__(self) -> None:
        self._findings: list[str] = []

    async def tried(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(_STEP_WITHIN_S) as bound:
                await step()
        except Exception as error:  # noqa: BLE001 - no step may be lost to a fault of another one's driver
            why = f"not done within {_STEP_WITHIN_S:g} s" if bound.expired() else told(error)
            self._findings.append(f"{what}: {why}")

    def check(self, what: str) -> None:
        if self._findings:
            raise BenchError(f"{what}: {'; '.join(self._findings)}")


def _device(bench: Bench, role: str) -> Any | None:
    try:
        return bench.role(role)
    except NotTestable:
        return None


async def snapshot(bench: Bench) -> Mapping[str, float]:
    """Read every writable setting of the product, before a plan changes any."""
    inverter = _device(bench, "inverter")
    return {} if inverter is None else await inverter.settings()


async def come_to_rest(bench: Bench, settings: Mapping[str, float]) -> None:
    """Bring the rig from wherever a plan left it to zero power and the settings of ``settings``.

    Raises:
        BenchError: what could not be done or did not come true, all of it.
    """
    steps = _Steps()
    inserter, grid, inverter = (_device(bench, r) for r in ("fault_inserter", "grid_source", "inverter"))
    manager = _device(bench, "energy_manager")
    if manager is not None:
        # First of all: it would command the power again.
        await steps.tried("energy manager off", manager.turn_off)
    if inserter is not None:
        await steps.tried("removing inserted faults", lambda: _remove_faults(inserter))
    if inverter is not None:
        await steps.tried("zero power", lambda: inverter.set_power_w(0.0))
    if grid is not None:
        await steps.tried("steady mains", lambda: _steady(grid, bench))
    if inverter is not None:
        await steps.tried("power gone", lambda: _wait_for_zero(inverter, bench))
        # The driver reads back what it wrote, and raises where the product did not take it.
        await steps.tried("settings not restored", lambda: inverter.restore(settings))
    steps.check("the rig did not come to rest")


async def switch_off(bench: Bench) -> None:
    """De-energise: converter first, then the source.

    Raises:
        BenchError: what could not be done, all of it.
    """
    steps = _Steps()
    inverter, grid = _device(bench, "inverter"), _device(bench, "grid_source")
    if inverter is not None:
        await steps.tried(f"{inverter.name}: zero power", lambda: inverter.set_power_w(0.0))
        await steps.tried(f"{inverter.name}: off", inverter.turn_off)
    if grid is not None:
        await steps.tried(f"{grid.name}: off", grid.turn_off)
    steps.check("the rig could not be switched off")


async def _remove_faults(inserter: Any) -> None:
    for fault in sorted((await inserter.inserted()).value):
        await inserter.remove(fault)


async def _steady(grid: Any, bench: Bench) -> None:
    await grid.stop_profile()
    await grid.set_voltage_v(bench.rig.nominal_voltage_v)


async def _wait_for_zero(inverter: Any, bench: Bench) -> None:
    deadband_w = bench.product.limits.power_deadband_w
    until_s = now_s() + _REST_WITHIN_S
    while abs((power := await inverter.ac_power_w()).value) > deadband_w:
        if (await inverter.is_grid_forming()).value:
            return  # it carries the critical load, which is not for a plan's end to drop
        if now_s() >= until_s:
            raise BenchError(
                f"{power.source} is {power.value:.0f} W, {_REST_WITHIN_S:.0f} s after zero was commanded; "
                f"allowed: {deadband_w:.0f} W"
            )
        await asyncio.sleep(0.5)
