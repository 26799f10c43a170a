"""Curves given by points: straight between them, on linear or on logarithmic scales."""

from __future__ import annotations

import math
from bisect import bisect_right


class Line:
    """Lines between points, constant outside."""

    def __init__(self, points: tuple[tuple[float, float], ...]) -> None:
        self._x = [x for x, _ in points]
        self._y = [y for _, y in points]

    def at(self, x: float) -> float:
        """Value at a place."""
        place = bisect_right(self._x, x)
        if place == 0:
            return self._y[0]
        y = self._y[place - 1]
        if place == len(self._x) or self._y[place] == y:
            return y
        x0 = self._x[place - 1]
        return y + (self._y[place] - y) * (x - x0) / (self._x[place] - x0)


def log_line_at(points: tuple[tuple[float, float], ...], x: float) -> float:
    """Value of straight lines between points on logarithmic scales; ``x`` lies between first and last."""
    place = min(max(bisect_right([at for at, _ in points], x), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[place - 1 : place + 1]
    return float(y0 * (y1 / y0) ** (math.log(x / x0) / math.log(x1 / x0)))
