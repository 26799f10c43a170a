"""Servers on the bus: constant power inside a window, an inner store, a throttle, a reset.

A server draws its power from the bus while its input is closed. Outside of the window its input opens, and
its inner store gives the power: t = E / P. Gone, the server resets, draws nothing, and boots once the bus
has been good for a while. Below the throttle's level it cuts its own power; so does a cap that is set from
outside.

Numbers: ``spec``. Not modelled: the power's way over milliseconds after a throttle, inrush at the closing of
the input, what a reset does to the work, efficiency of the server's own converters over load.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.plant.keyed import normal
from harness.plant.server_rack.spec import ServerSpec
from harness.plant.timers import Timers


class Draw(NamedTuple):
    """Power over a coming step, linear until a time from now."""

    power_w: float
    slope_w_per_s: float
    until_s: float


class Server:
    """One server.

    Attributes:
        is_up: whether it works or boots.
        is_input_closed: whether it draws from the bus.
        is_throttled: whether it has slowed itself down.
        resets: how often it has lost what it did.
        last_reset_s: rig time of the last; None: never.
        store_j: inner store.
        cap_w: set from outside; infinite: none.
        used_j: energy that it has turned to heat since time zero.
    """

    def __init__(self, number: int, spec: ServerSpec, seed: int) -> None:
        self.number = number
        self.spec = spec
        draw = max(-3.0, min(3.0, normal(seed, "server thresholds", number)))
        self._shift_v = spec.threshold_sigma_v * draw
        self.is_up = True
        self.is_input_closed = True
        self.is_throttled = False
        self.resets = 0
        self.last_reset_s: float | None = None
        self.store_j = spec.hold_up_j
        self.cap_w = math.inf
        self.used_j = 0.0
        self._is_booting = False
        self._timers = Timers()

    @property
    def is_booting(self) -> bool:
        """Whether it is on its way up after a reset."""
        return self._is_booting

    @property
    def levels_v(self) -> tuple[float, ...]:
        """Voltages of the bus at which something changes."""
        spec, shift_v = self.spec, self._shift_v
        return (
            spec.minimum_v + shift_v,
            spec.minimum_v + spec.reconnect_v + shift_v,
            spec.throttle_v + shift_v,
            spec.release_v + shift_v,
            spec.maximum_v - spec.reconnect_v + shift_v,
            spec.maximum_v + shift_v,
        )

    @property
    def next_due_s(self) -> float:
        """Rig time of its next timer."""
        return self._timers.next_due_s

    def use(self, power_w: float, slope_w_per_s: float) -> Draw:
        """What it turns to heat, of a demand that moves along a line."""
        if not self.is_up:
            return Draw(0.0, 0.0, math.inf)
        spec = self.spec
        if self._is_booting:
            return Draw(spec.boot_power * spec.rated_power_w, 0.0, math.inf)
        cap_w = self.cap_w
        if self.is_throttled:
            cap_w = min(cap_w, spec.throttled_power * spec.rated_power_w)
        if slope_w_per_s == 0.0 or math.isinf(cap_w):
            return Draw(min(power_w, cap_w), slope_w_per_s if power_w < cap_w else 0.0, math.inf)
        ahead_s = (cap_w - power_w) / slope_w_per_s
        until_s = ahead_s if ahead_s > 1e-12 else math.inf
        is_below = power_w < cap_w or (power_w == cap_w and slope_w_per_s < 0.0)
        if abs(ahead_s) <= 1e-12:
            is_below = slope_w_per_s < 0.0
        return Draw(power_w, slope_w_per_s, until_s) if is_below else Draw(cap_w, 0.0, until_s)

    def draw(self, use: Draw) -> Draw:
        """What it takes from the bus, for a use."""
        if not self.is_input_closed or not self.is_up:
            return Draw(0.0, 0.0, math.inf)
        if self.store_j < self.spec.hold_up_j:
            return Draw(use.power_w + self.spec.refill_power_w, use.slope_w_per_s, use.until_s)
        return use

    def until_s(self, use: Draw) -> float:
        """Time until its store may be empty or full."""
        if not self.is_up:
            return math.inf
        if not self.is_input_closed:
            most_w = max(use.power_w, 1e-6)
            return max(self.store_j / most_w, 1e-12)
        if self.store_j < self.spec.hold_up_j:
            return max((self.spec.hold_up_j - self.store_j) / self.spec.refill_power_w, 1e-12)
        return math.inf

    def step(self, use: Draw, duration_s: float) -> None:
        """Use power for a time."""
        if not self.is_up:
            return
        used_j = (use.power_w + 0.5 * use.slope_w_per_s * duration_s) * duration_s
        self.used_j += used_j
        if not self.is_input_closed:
            self.store_j -= used_j
        elif self.store_j < self.spec.hold_up_j:
            self.store_j = min(self.store_j + self.spec.refill_power_w * duration_s, self.spec.hold_up_j)

    def settle(self, now_s: float, bus_v: float) -> bool:
        """Let what is due at this instant happen; say whether anything did."""
        spec, timers, shift_v = self.spec, self._timers, self._shift_v
        before = (self.is_up, self.is_input_closed, self.is_throttled, self._is_booting)
        inner_v = bus_v - shift_v
        if self.is_input_closed:
            self.is_input_closed = spec.minimum_v <= inner_v <= spec.maximum_v
        else:
            low_v, high_v = spec.minimum_v + spec.reconnect_v, spec.maximum_v - spec.reconnect_v
            self.is_input_closed = low_v <= inner_v <= high_v
        # A billionth of the store is what rounding leaves of it.
        if self.is_up and not self.is_input_closed and self.store_j <= 1e-9 * spec.hold_up_j:
            self.is_up = self._is_booting = False
            self.store_j = 0.0
            self.resets += 1
            self.last_reset_s = now_s
        is_low = self.is_up and inner_v < spec.throttle_v
        if timers.held("throttle", now_s, spec.throttle_s, is_true=is_low):
            self.is_throttled = True
        is_high = self.is_throttled and inner_v > spec.release_v
        if timers.held("release", now_s, spec.release_s, is_true=is_high) or not self.is_up:
            self.is_throttled = False
        if timers.held("power on", now_s, spec.power_on_s, is_true=not self.is_up and self.is_input_closed):
            self.is_up = self._is_booting = True
        if timers.held("boot", now_s, spec.boot_s, is_true=self._is_booting):
            self._is_booting = False
        return before != (self.is_up, self.is_input_closed, self.is_throttled, self._is_booting)
