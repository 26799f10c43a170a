"""The way back from a sag: what a plan asks of a capture around one event."""

from __future__ import annotations

import math

import numpy as np

from harness.judge.uncertainty import measured
from harness.judge.waveforms import Series, Window, mean, time_until
from harness.readings import Measured


def share_of_before(power: Series, *, before: Window, commanded_w: float) -> Series:
    """Power as a share of the power before an event, positive where the direction is the same.

    A unit that gave less than half of what it was commanded has nothing to be a share of: its share is
    zero throughout, so that a dead unit never comes back to "80 % of before".
    """
    reference = mean(power, before).value
    is_dead = math.isnan(reference) or reference * commanded_w <= 0.0
    is_dead = is_dead or abs(reference) < 0.5 * abs(commanded_w)
    return Series(
        power.at_s,
        np.zeros(len(power.values)) if is_dead else power.values / reference,
        "1",
        power.window_s,
        power.step_s,
        power.source,
        # Numerator and reference share the gain, so it cancels.
        0.0,
        0.0 if is_dead else math.sqrt(2.0) * power.offset_u / abs(reference),
        power.trigger_skew_s,
    )


def restore_time(
    power: Series,
    *,
    before: Window,
    commanded_w: float,
    recovery_s: float,
    share: float,
    dwell_s: float,
    is_same_clock: bool = False,
) -> Measured:
    """Time from the recovery of the voltage until the power is back, and stays for ``dwell_s``.

    Works for both directions of power. Infinite for a unit that never comes back, and for one that gave
    nothing before.

    Args:
        power: one-cycle values.
        before: steady stretch before the event.
        commanded_w: power that the unit was commanded to give then.
        recovery_s: rig time at which the voltage came back.
        share: of the power before that counts as back (0.8).
        dwell_s: how long it has to stay there.
        is_same_clock: whether ``recovery_s`` was taken from the same capture.
    """
    if not math.isfinite(recovery_s):
        return measured(math.nan, "s", {}, sources=power.source)
    return time_until(
        share_of_before(power, before=before, commanded_w=commanded_w),
        share,
        start_s=recovery_s,
        rising=True,
        dwell_s=dwell_s,
        is_same_clock=is_same_clock,
    )
