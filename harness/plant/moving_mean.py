"""The mean of a quantity over a window that moves: what a relay measures, and how late it sees.

    mean(t) = (1 / W) integral of q from t - W to t

with q linear in pieces, so the integral is quadratic in pieces and exact. After a step from a to b the mean
crosses a level c at W (a - c) / (a - b). An impulse of the integral is a jump of the angle where q is a
frequency in turns a second: 20 degrees read as 3.3 Hz in one cycle of 60 Hz, and as 0.67 Hz in five.

Not modelled: samples within the window, harmonics, noise, the resolution of what is measured.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass(slots=True)
class MovingMean:
    """A quantity's recent past, and its mean over windows that end at an instant of it.

    Attributes:
        kept_s: how far back it can be asked.
        same: by how much it may drift and still count as settled.
        settled_s: when the last change beyond that leaves the window of ``kept_s``.
    """

    kept_s: float
    same: float
    settled_s: float = 0.0
    _settled_at: float = math.nan
    # From each node on the quantity is linear: time, integral until there, value, slope.
    _times_s: list[float] = field(default_factory=list)
    _nodes: list[tuple[float, float, float]] = field(default_factory=list)

    @property
    def has_past(self) -> bool:
        """Whether there is anything to take a mean of."""
        return bool(self._nodes)

    def run(self, start_s: float, end_s: float, before: float, after: float) -> None:
        """Take the next stretch, in which the quantity runs linearly."""
        if not self._nodes:
            # Before the first stretch it stood.
            self._note(start_s - self.kept_s, 0.0, before, 0.0)
            self._settled_at = before
        _, value, slope = self._nodes[-1]
        if slope == 0.0 and before == after == value:
            return
        integral = self._integral(start_s)
        self._note(start_s, integral, before, (after - before) / (end_s - start_s))
        if before != after:
            # Beyond the stretch it stands, until the next one says otherwise.
            whole = integral + 0.5 * (before + after) * (end_s - start_s)
            self._note(end_s, whole, after, 0.0)
        self._mark(start_s if before == after else end_s, before, after)
        self._forget(end_s)

    def meet(self, now_s: float, value: float) -> None:
        """Take a step of the quantity at an instant."""
        if self._nodes and value != self._nodes[-1][1]:
            self._note(now_s, self._integral(now_s), value, 0.0)
            self._mark(now_s, value, value)

    def jump(self, now_s: float, impulse: float) -> None:
        """Add to the integral at an instant."""
        if self._nodes:
            integral, (_, value, _) = self._integral(now_s), self._nodes[-1]
            self._note(now_s, integral + impulse, value, 0.0)
            self.settled_s = now_s + self.kept_s

    def mean(self, at_s: float, window_s: float) -> float:
        """Mean over a window that ends at an instant, not earlier than ``kept_s`` less the window ago."""
        return (self._integral(at_s) - self._integral(at_s - window_s)) / window_s

    def crossing_s(self, start_s: float, end_s: float, window_s: float, level: float) -> float:
        """When the mean passes a level that lies between its values at two instants."""
        from_start = self.mean(start_s, window_s) - level
        low_s, high_s = start_s, end_s
        # Halvings of milliseconds down to a picosecond.
        for _ in range(40):
            middle_s = 0.5 * (low_s + high_s)
            if (self.mean(middle_s, window_s) - level) * from_start > 0.0:
                low_s = middle_s
            else:
                high_s = middle_s
        return high_s

    def _note(self, time_s: float, integral: float, value: float, slope: float) -> None:
        if self._times_s and self._times_s[-1] == time_s:
            self._nodes[-1] = (integral, value, slope)
            return
        self._times_s.append(time_s)
        self._nodes.append((integral, value, slope))

    def _integral(self, at_s: float) -> float:
        place = max(bisect_right(self._times_s, at_s) - 1, 0)
        integral, value, slope = self._nodes[place]
        since_s = at_s - self._times_s[place]
        return integral + since_s * (value + 0.5 * slope * since_s)

    def _mark(self, at_s: float, before: float, after: float) -> None:
        """Note a change that is worth the name."""
        if abs(after - self._settled_at) > self.same or abs(before - self._settled_at) > self.same:
            self._settled_at = after
            self.settled_s = at_s + self.kept_s

    def _forget(self, now_s: float) -> None:
        """Drop nodes that no window reaches, in lots."""
        lot = 64
        if len(self._times_s) > 2 * lot and self._times_s[lot] < now_s - self.kept_s:
            del self._times_s[:lot]
            del self._nodes[:lot]
