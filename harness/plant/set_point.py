"""The way of a commanded power: a ramp, then a first order of its open-loop response time.

    ramped    towards the target at the ramp's rate, active and reactive power apart
    response  tau d/dt response = ramped - response,  tau = Tr / 2.303 (90 % of a step at Tr: IEEE 1547-2018)

Both are exact in any step in which the ramp does not end; its end is an event.

Not modelled: dead time between command and ramp, the command's resolution, a ramp that depends on voltage.
"""

from __future__ import annotations

import math

from harness.plant.grid_support import follow_s

_ARRIVED = 1e-4
"""Of the rating: two orders below what any instrument of a rig resolves."""


class SetPoint:
    """Active and reactive power on their way, as P + jQ.

    Attributes:
        target: where they go.
        ramped: behind the ramp.
        response: behind the first order.
    """

    def __init__(self, response_s: float, rated_va: float) -> None:
        self.target = self.ramped = self.response = 0j
        self._tau_s = response_s / math.log(10.0)
        self._rated_va = rated_va

    @property
    def is_still(self) -> bool:
        """Whether all of it has arrived."""
        return self.ramped == self.response == self.target

    def start(self, value: complex) -> None:
        """Stand at a value; the target stays."""
        self.ramped = self.response = value

    def run(self, duration_s: float, ramp: complex) -> None:
        """Let ramp and response run; the ramp in units a second, active + j reactive."""
        target, before = self.target, self.ramped
        if self.response == before == target:
            return
        self.ramped = after = complex(
            _towards(before.real, target.real, ramp.real * duration_s),
            _towards(before.imag, target.imag, ramp.imag * duration_s),
        )
        lag = (after - before) * (self._tau_s / duration_s)
        decay = math.exp(-duration_s / self._tau_s)
        self.response = after - lag + (self.response - before + lag) * decay
        if after == target and abs(self.response - after) < _ARRIVED * self._rated_va:
            self.response = after

    def arrival_s(self, now_s: float, ramp: complex) -> float:
        """When one of the ramps ends; infinite if none runs."""
        due_s = math.inf
        for target, value, rate in (
            (self.target.real, self.ramped.real, ramp.real),
            (self.target.imag, self.ramped.imag, ramp.imag),
        ):
            if target != value:
                arrival_s = now_s + abs(target - value) / rate
                if arrival_s > now_s:
                    due_s = min(due_s, arrival_s)
        return due_s

    def step_hint_s(self, ramp: complex) -> float:
        """Longest step in which the response may be taken to run straight, and the voltage to stand."""
        slope = complex(
            _slope(self.target.real - self.ramped.real, ramp.real),
            _slope(self.target.imag - self.ramped.imag, ramp.imag),
        )
        hint_s = math.inf
        gap_pu = abs(self.ramped - slope * self._tau_s - self.response) / self._rated_va
        if gap_pu > _ARRIVED:
            hint_s = max(follow_s(gap_pu, self._tau_s), 0.001)
        slope_pu = abs(slope) / self._rated_va
        if slope_pu > 0.0:
            # A tenth of the rating at once moves the voltage behind a usual source by less than 0.1 %.
            hint_s = min(hint_s, max(0.1 / slope_pu, 0.001))
        return hint_s


def _slope(gap: float, rate: float) -> float:
    return math.copysign(rate, gap) if gap else 0.0


def _towards(value: float, target: float, most: float) -> float:
    """Move towards a target by no more than so much; arrives exactly."""
    gap = target - value
    # An ulp of slack: a step that was cut at the time of arrival arrives.
    return target if abs(gap) <= most * (1.0 + 1e-9) else value + math.copysign(most, gap)
