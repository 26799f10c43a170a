"""The end of a plan: zero power, no inserted fault, steady mains, the product's settings as they were.

Settings are restored, never power. Every step is tried although an earlier one raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from harness.clock import now_s
from harness.errors import BenchError, NotTestable, RackproofError
from harness.rig.bench import Bench

_REST_WITHIN_S = 30.0
"""Longest way to zero power that is waited for; a converter's ramp from rated power takes seconds."""


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
    findings: list[str] = []

    async def tried(what: str, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except RackproofError as error:
            findings.append(f"{what}: {error}")

    inserter, grid, inverter = (_device(bench, r) for r in ("fault_inserter", "grid_source", "inverter"))
    manager = _device(bench, "energy_manager")
    if manager is not None:
        # First of all: it would command the power again.
        await tried("energy manager off", manager.turn_off)
    if inserter is not None:
        await tried("removing inserted faults", lambda: _remove_faults(inserter))
    if inverter is not None:
        await tried("zero power", lambda: inverter.set_power_w(0.0))
    if grid is not None:
        await tried("steady mains", lambda: _steady(grid, bench))
    if inverter is not None:
        await tried("power gone", lambda: _wait_for_zero(inverter, bench))
        # The driver reads back what it wrote, and raises where the product did not take it.
        await tried("settings not restored", lambda: inverter.restore(settings))
    if findings:
        raise BenchError(f"the rig did not come to rest: {'; '.join(findings)}")


async def switch_off(bench: Bench) -> None:
    """De-energise: converter first, then the source.

    Raises:
        BenchError: what could not be done, all of it.
    """
    findings = []
    for role in ("inverter", "grid_source"):
        device = _device(bench, role)
        if device is None:
            continue
        try:
            if role == "inverter":
                await device.set_power_w(0.0)
            await device.turn_off()
        except RackproofError as error:
            findings.append(f"{device.name}: {error}")
    if findings:
        raise BenchError(f"the rig could not be switched off: {'; '.join(findings)}")


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
