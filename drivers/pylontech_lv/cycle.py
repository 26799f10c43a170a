"""Does something at exact multiples of a period of rig time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Cycle:
    """Acts at ``start_s``, and at ``start_s + n * period_s`` until it is stopped; past times are left out.

    Each time is computed from the start, so nothing drifts and no rounding adds up. What an act raises ends
    the cycle, and is raised again by ``check`` and ``stop``.

    Args:
        period_s: in rig time.
        start_s: rig time of the first act.
        act: called by the loop itself: a task that wakes up for it would cost two more turns of the loop.
    """

    def __init__(self, period_s: float, start_s: float, act: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._period_s = period_s
        self._start_s = start_s
        self._act = act
        self._count = 0
        self._error: Exception | None = None
        self._is_over = False
        self._timer = self._loop.call_at(start_s, self._due)

    def _due(self) -> None:
        try:
            self._act()
        except Exception as error:  # noqa: BLE001 - told to whoever asks next
            self._error = error
            self._is_over = True
        if self._is_over:
            return
        passed = int((self._loop.time() - self._start_s) / self._period_s)
        self._count = max(self._count, passed) + 1
        self._timer = self._loop.call_at(self._start_s + self._count * self._period_s, self._due)

    def check(self) -> None:
        """Raise what ended it, if anything did."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Act no more; raises as ``check`` does."""
        self._is_over = True
        self._timer.cancel()
        self.check()
