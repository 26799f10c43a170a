"""Does something at exact multiples of a period of rig time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn


async def every(period_s: float, start_s: float, act: Callable[[], None]) -> NoReturn:
    """Act at ``start_s``, and at ``start_s + n * period_s`` for ever; times that are past are left out.

    Each time is computed from the start, so nothing drifts and no rounding adds up.
    """
    loop = asyncio.get_running_loop()
    count = 0
    while True:
        due = asyncio.Event()
        timer = loop.call_at(start_s + count * period_s, due.set)
        try:
            await due.wait()
        finally:
            timer.cancel()
        act()
        count = max(count, int((loop.time() - start_s) / period_s)) + 1


async def end(task: asyncio.Task[None]) -> None:
    """Cancel and wait; raises what ended the task before, if anything did."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
