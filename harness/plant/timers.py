"""Conditions that must hold for a time: exact due times, so that a step can end on them."""

from __future__ import annotations

import math


class Timers:
    """Named timers that start when their condition becomes true and vanish when it is not."""

    def __init__(self) -> None:
        self._due_s: dict[str, float] = {}
        self._fired: set[str] = set()

    @property
    def next_due_s(self) -> float:
        """Earliest time at which a running timer is due; infinite if none runs."""
        if not self._due_s:
            return math.inf
        return min((due for name, due in self._due_s.items() if name not in self._fired), default=math.inf)

    def is_running(self, name: str) -> bool:
        """Whether the condition of a timer is true."""
        return name in self._due_s

    def due_s(self, name: str) -> float | None:
        """When a timer is due; None if it does not run."""
        return self._due_s.get(name)

    def held(
        self, name: str, now_s: float, duration_s: float, *, is_true: bool, began_s: float | None = None
    ) -> bool:
        """Whether the condition has been true for the duration without a break.

        Args:
            name: of the timer.
            now_s: this instant.
            duration_s: for how long it must be true.
            is_true: whether it is.
            began_s: since when, where that was found only now; else since now.
        """
        if not is_true:
            if name in self._due_s:
                del self._due_s[name]
                self._fired.discard(name)
            return False
        due_s = self._due_s.setdefault(name, (now_s if began_s is None else began_s) + duration_s)
        if now_s < due_s:
            return False
        self._fired.add(name)
        return True

    def clear(self, *names: str) -> None:
        """Stop these timers, or all."""
        for name in names or tuple(self._due_s):
            self._due_s.pop(name, None)
            self._fired.discard(name)
