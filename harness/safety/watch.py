"""What is done beside everything else: questions that the interlock needs, and feeding of the watchdogs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from harness.clock import now_s
from harness.errors import DeviceFault, RackproofError
from harness.rig.bench import Bench
from harness.rig.safety_part import HardwareLayer
from harness.roles import Watchdog
from harness.safety.interlock import Breach, Interlock
from harness.safety.safe_state import ask

FEEDS_A_TIMEOUT = 4.0
"""Feeds within a watchdog's time: two may be lost to a busy line, and one may come late."""

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


async def feed_watchdogs(
    bench: Bench, layers: Mapping[str, HardwareLayer], on_breach: Callable[[Breach], None]
) -> None:
    """Keep hardware layers quiet until it is cancelled: they act should it stop.

    One that has acted is a breach: what it took away, no plan knows of. Silence is the interlock's to see.
    """
    await asyncio.gather(
        *(
            _feed_for_ever(name, device, layer.timeout_s / FEEDS_A_TIMEOUT, on_breach)
            for name, layer in layers.items()
            if (device := bench.devices.get(layer.device)) is not None
        )
    )


async def _feed_for_ever(
    name: str, device: Watchdog, period_s: float, on_breach: Callable[[Breach], None]
) -> None:
    while True:
        try:
            await device.feed_watchdog()
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
    for layer in part.hardware_layers.values() if part else ():
        with contextlib.suppress(RackproofError, KeyError):
            await bench.devices[layer.device].disarm_watchdog()


@contextlib.asynccontextmanager
async def held_watchdogs(bench: Bench, on_breach: Callable[[Breach], None]) -> AsyncIterator[None]:
    """Arm all hardware layers, and feed them until the block's end: with this process the energy goes.

    One that has acted meanwhile goes to ``on_breach``.

    Raises:
        RackproofError: one cannot be armed.
    """
    layers = bench.rig.safe_state.hardware_layers if bench.rig.safe_state else {}
    for layer in layers.values():
        await bench.devices[layer.device].arm_watchdog(layer.timeout_s)
    feeding = asyncio.create_task(feed_watchdogs(bench, layers, on_breach), name="watchdogs")
    try:
        yield
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await disarm_watchdogs(bench)
