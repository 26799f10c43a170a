"""What is done beside everything else: questions that the interlock needs, and feeding of the watchdogs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

from harness.clock import now_s
from harness.errors import BenchError, DeviceFault, RackproofError
from harness.rig.bench import Bench
from harness.rig.safety_part import HardwareLayer
from harness.roles import Watchdog
from harness.safety.interlock import Breach, Interlock
from harness.safety.safe_state import ask

FEEDS_A_TIMEOUT = 4.0
"""Feeds within a watchdog's time: two may be lost to a busy line, and one may come late."""

FEEDS_WITHIN_S = 1.0
"""However long its time is: a heartbeat has to move once a second (SunSpec model 715, ControllerHb)."""

CHECKS_A_PERIOD = 4.0
"""Looks for silence within the shortest period; the stale rule then acts a twelfth late at most."""


@contextlib.asynccontextmanager
async def watching(
    bench: Bench, interlock: Interlock, on_breach: Callable[[Breach], None]
) -> AsyncIterator[None]:
    """Ask every watched device that does not report by itself, and look for silence, until the block's end.

    The first breach goes to ``on_breach``; one that a reading shows goes there from ``Interlock.observe``'s
    caller.
    """
    tasks = []
    for value in interlock.to_ask:
        device = value.partition(".")[0]
        question = _ask_for_ever(partial(ask, bench, value), interlock.periods_s[device])
        tasks.append(asyncio.create_task(question, name=f"interlock {device}"))
    tasks.append(asyncio.create_task(_check_for_ever(interlock, on_breach), name="interlock"))

    def take_end(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            on_breach(Breach("guard", f"{task.get_name()} failed: {type(error).__name__}: {error}", now_s()))

    for task in tasks:
        task.add_done_callback(take_end)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask_for_ever(question: Callable[[], Coroutine[Any, Any, Any]], period_s: float) -> None:
    """Ask at each period; what is not answered becomes stale, which is the interlock's to see."""
    due_s = now_s()
    while True:
        with contextlib.suppress(RackproofError):
            await question()
        due_s = max(due_s + period_s, now_s())
        await asyncio.sleep(due_s - now_s())


async def _check_for_ever(interlock: Interlock, on_breach: Callable[[Breach], None]) -> None:
    period_s = min(interlock.periods_s.values()) / CHECKS_A_PERIOD
    while interlock.breach is None:
        interlock.check(now_s())
        await asyncio.sleep(period_s)
    on_breach(interlock.breach)


def watchdog_of(bench: Bench, name: str, layer: HardwareLayer) -> Watchdog:
    """Give the watchdog that a hardware layer is.

    Raises:
        BenchError: its device is not open here, or has no such watchdog.
    """
    device = bench.devices.get(layer.device)
    found = getattr(device, layer.watchdog, None) if layer.watchdog else device
    if isinstance(found, Watchdog):
        return found
    why = f"{layer.device} is not open here" if device is None else f"there is no {layer.spelled}"
    raise BenchError(f"safe_state.hardware_layers.{name}: {why}")


@contextlib.asynccontextmanager
async def fed_watchdog(
    bench: Bench, name: str, layer: HardwareLayer, on_breach: Callable[[Breach], None]
) -> AsyncIterator[None]:
    """Keep an armed hardware layer quiet until the block's end: it acts should this stop.

    One that has acted is a breach: what it took away, no plan knows of. Silence is the interlock's to see.
    """
    feeding = asyncio.create_task(_feed_for_ever(name, layer, watchdog_of(bench, name, layer), on_breach))
    try:
        yield
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _feed_for_ever(
    name: str, layer: HardwareLayer, watchdog: Watchdog, on_breach: Callable[[Breach], None]
) -> None:
    period_s = min(layer.timeout_s / FEEDS_A_TIMEOUT, FEEDS_WITHIN_S)
    while True:
        try:
            await watchdog.feed_watchdog()
        except DeviceFault as error:
            return on_breach(Breach("guard", f"hardware layer {name}: {error}", now_s()))
        except RackproofError:
            pass
        except Exception as error:  # noqa: BLE001 - a layer that nobody feeds acts, and nobody would know why
            return on_breach(
                Breach("guard", f"hardware layer {name}: {type(error).__name__}: {error}", now_s())
            )
        await asyncio.sleep(period_s)


async def disarm_watchdogs(bench: Bench) -> None:
    """Let the hardware layers rest; one that does not answer is left to act."""
    part = bench.rig.safe_state
    for name, layer in part.hardware_layers.items() if part else ():
        with contextlib.suppress(RackproofError):
            await watchdog_of(bench, name, layer).disarm_watchdog()


@contextlib.asynccontextmanager
async def armed_watchdogs(bench: Bench, on_breach: Callable[[Breach], None]) -> AsyncIterator[None]:
    """Arm all hardware layers, and feed each from its arming until the block's end; armed they stay.

    Args:
        bench: with their devices open.
        on_breach: takes one that has acted meanwhile.

    Raises:
        RackproofError: one cannot be armed.
    """
    part = bench.rig.safe_state
    async with contextlib.AsyncExitStack() as fed:
        for name, layer in part.hardware_layers.items() if part else ():
            await watchdog_of(bench, name, layer).arm_watchdog(layer.timeout_s)
            await fed.enter_async_context(fed_watchdog(bench, name, layer, on_breach))
        yield


@contextlib.asynccontextmanager
async def held_watchdogs(bench: Bench, on_breach: Callable[[Breach], None]) -> AsyncIterator[None]:
    """Do likewise, and let them rest at the block's end: with this process the energy goes."""
    try:
        async with armed_watchdogs(bench, on_breach):
            yield
    finally:
        await disarm_watchdogs(bench)
