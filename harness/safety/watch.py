"""Asking, beside everything else, what the interlock has to know and nobody reports by himself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

from harness.clock import now_s
from harness.errors import RackproofError
from harness.rig.bench import Bench
from harness.safety.interlock import Breach, Interlock
from harness.safety.safe_state import ask

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
    assert bench.rig.interlock is not None
    questions: list[tuple[str, Callable[[], Coroutine[Any, Any, Any]]]] = []
    inputs = {contact.partition(".")[0] for contact in bench.rig.interlock.contacts}
    questions += [(device, bench.devices[device].inputs) for device in sorted(inputs)]
    for pair in bench.rig.interlock.agreement.values():
        device = pair.product.partition(".")[0]
        questions.append((device, partial(ask, bench, pair.product)))
    tasks = [
        asyncio.create_task(_ask_for_ever(question, interlock.periods_s[device]), name=f"interlock {device}")
        for device, question in questions
    ]
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
