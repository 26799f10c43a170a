"""What demand and solar power will be: a profile of the day, and how far the present is from it.

    s[k] <- s[k] + alpha (x - s[k])            exponential smoothing of each slot of the day (Brown 1959)
    x(t + h) = s[k + h] + phi^h (x(t) - s[k])  the present deviation fades (an AR(1) of the residue)
    v[k] <- v[k] + alpha ((x - s[k])² - v[k])  what each slot of the day was off by, in the mean square
    spread(t + h)² = v[k + h] (1 - phi^2h)     an AR(1)'s variance, h steps ahead (Box and Jenkins)

A slot that was never seen takes the present value: on its first day the forecast is persistence. Each
forecast is kept until its time has come, and its error stands beside that of plain persistence, which any
forecast has to beat.

Not modelled: weekdays, weather, calendars, knowledge of what will be computed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class ForecastError:
    """How far forecasts were off at one horizon, forecast less what came.

    Attributes:
        horizon_s: how far ahead they were made.
        count: how many have been judged.
        bias_w: mean.
        mean_absolute_w: mean of the size.
        rms_w: root of the mean square.
        persistence_mean_absolute_w: mean size of the error of "as it is now".
    """

    horizon_s: float
    count: int
    bias_w: float
    mean_absolute_w: float
    rms_w: float
    persistence_mean_absolute_w: float


class Forecast:
    """Forecasts of one quantity, in equal slots of the day.

    Attributes:
        interval_s: of a slot.
    """

    def __init__(
        self,
        interval_s: float = 1800.0,
        *,
        smoothing: float = 0.3,
        persistence: float = 0.7,
        judged_steps: Sequence[int] = (1, 4, 24),
    ) -> None:
        """Begin with nothing known.

        Args:
            interval_s: of a slot; a whole number of them makes a day.
            smoothing: alpha, above 0 and up to 1. Ours: of a change for good three days leave a third, and
                one odd day moves the profile by less than a third of itself.
            persistence: phi, from 0 to 1. Ours: of half an hour's deviation a quarter is left after two
                hours, about as long as clouds and jobs last.
            judged_steps: horizons whose errors are kept.

        Raises:
            ValueError: a number outside of its range.
        """
        slots = DAY_S / interval_s if interval_s > 0.0 else 0.5
        if slots != round(slots) or not 0.0 < smoothing <= 1.0 or not 0.0 <= persistence <= 1.0:
            raise ValueError(
                f"forecast: interval_s={interval_s}, smoothing={smoothing}, persistence={persistence}; "
                "allowed: a whole number of intervals in a day, above 0 to 1, 0 to 1"
            )
        self.interval_s = interval_s
        self._smoothing = smoothing
        self._persistence = persistence
        self._profile_w: list[float | None] = [None] * round(slots)
        self._squares_w2: list[float | None] = [None] * round(slots)
        self._slot = 0
        self._last_w = 0.0
        self._deviation_w = 0.0
        self._waiting = {steps: deque[tuple[float, float]]() for steps in judged_steps}
        self._errors: dict[int, list[float]] = {steps: [0.0] * 5 for steps in judged_steps}

    def observe(self, slot: int, mean_w: float) -> None:
        """Take the mean of a slot that is over; slots come one after another.

        Args:
            slot: counted from the first midnight.
            mean_w: its mean.
        """
        for steps, waiting in self._waiting.items():
            if len(waiting) == steps:
                self._judge(steps, *waiting.popleft(), mean_w)
        place = slot % len(self._profile_w)
        known_w = self._profile_w[place]
        self._deviation_w = 0.0 if known_w is None else mean_w - known_w
        if known_w is not None:
            square_w2, before_w2 = self._deviation_w**2, self._squares_w2[place]
            before_w2 = square_w2 if before_w2 is None else before_w2
            self._squares_w2[place] = before_w2 + self._smoothing * (square_w2 - before_w2)
        self._profile_w[place] = mean_w if known_w is None else known_w + self._smoothing * (mean_w - known_w)
        # The deviation is from the profile as it is now, so that it fades into the profile and not past it.
        self._deviation_w *= 1.0 - self._smoothing
        self._slot, self._last_w = slot, mean_w
        furthest = max(self._waiting, default=0)
        ahead_w = self.ahead_w(furthest)
        for steps, waiting in self._waiting.items():
            waiting.append((ahead_w[steps - 1], mean_w))

    def ahead_w(self, steps: int) -> tuple[float, ...]:
        """Forecast the means of the coming slots, none below zero."""
        found = []
        for step in range(1, steps + 1):
            known_w = self._profile_w[(self._slot + step) % len(self._profile_w)]
            if known_w is None:
                found.append(self._last_w)
            else:
                found.append(max(known_w + self._deviation_w * self._persistence**step, 0.0))
        return tuple(found)

    def spread_w(self, steps: int) -> tuple[float, ...]:
        """Standard deviations of ``ahead_w``; zero where a slot was seen less than twice."""
        found = []
        for step in range(1, steps + 1):
            square_w2 = self._squares_w2[(self._slot + step) % len(self._squares_w2)] or 0.0
            found.append(math.sqrt(square_w2 * (1.0 - self._persistence ** (2 * step))))
        return tuple(found)

    def errors(self) -> tuple[ForecastError, ...]:
        """Give the errors so far, nearest horizon first; horizons that nothing was judged at are left out."""
        found = []
        for steps, (count, total, size, square, naive) in sorted(self._errors.items()):
            if count:
                found.append(
                    ForecastError(
                        steps * self.interval_s,
                        int(count),
                        total / count,
                        size / count,
                        math.sqrt(square / count),
                        naive / count,
                    )
                )
        return tuple(found)

    def _judge(self, steps: int, forecast_w: float, was_w: float, came_w: float) -> None:
        off_w = forecast_w - came_w
        sums = self._errors[steps]
        for place, term in enumerate((1.0, off_w, abs(off_w), off_w * off_w, abs(was_w - came_w))):
            sums[place] += term
