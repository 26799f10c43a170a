"""A battery alone, under a current that is measured elsewhere: an emulated one beside real devices.

The cells and their management are those of ``RigPlant``; converter, source and load are real, and so is the
current between them. A measured current holds until the next one comes, and is zero once it is stale: an old
value must not go on charging cells. While contactors or fuse are open the battery carries what its management
draws, whatever flows past it.

Not modelled: the bench source at the battery's terminals. Its voltage is its own.
"""

from __future__ import annotations

import math

from harness.plant.battery import BatteryString
from harness.plant.bms import Bms
from harness.plant.rig_plant import POWER_STEP_S, REST_STEP_S
from harness.plant.spec import PlantSpec


class FollowedBattery:
    """Cells and their management, advanced to the present whenever somebody looks.

    Attributes:
        now_s: the time that everything stands at.
        string: the cells.
        bms: their management.
    """

    def __init__(self, spec: PlantSpec, *, stale_s: float) -> None:
        """Build the battery at time zero, without current.

        Args:
            spec: its battery, management, ambient and seed.
            stale_s: how long a measured current holds.
        """
        self.spec = spec
        self.now_s = 0.0
        self.string = BatteryString(spec.battery, spec.ambient_degc, spec.seed)
        self.bms = Bms(spec.bms, self.string, spec.seed)
        self._stale_s = stale_s
        self._measured_a = 0.0
        self._until_s = -math.inf
        self.bms.settle()

    def follow(self, current_a: float, at_s: float) -> None:
        """Take a measured current, positive out of the battery; it holds from the present on.

        Args:
            current_a: as the instrument said; what is no number counts as none.
            at_s: rig time of the measurement, from which it grows old.
        """
        self.advance(max(at_s, self.now_s))
        is_number = math.isfinite(current_a)
        self._measured_a = current_a if is_number else 0.0
        self._until_s = at_s + self._stale_s if is_number else -math.inf

    def advance(self, to_s: float) -> None:
        """Bring everything to a time.

        Raises:
            ValueError: the time lies in the past.
        """
        if to_s < self.now_s:
            raise ValueError(f"battery: advance({to_s}) from {self.now_s} s; allowed the present and later")
        if self.bms.touched or self.string.touched:
            self._settle()
        while self.now_s < to_s:
            self._step(to_s)

    def _step(self, to_s: float) -> None:
        bms, now_s = self.bms, self.now_s
        is_fresh = now_s < self._until_s
        current_a = self._measured_a if is_fresh and bms.is_supplying else 0.0
        hint_s = min(POWER_STEP_S if current_a else REST_STEP_S, bms.step_hint_s)
        end_s = min(to_s, now_s + hint_s, bms.next_event_s)
        if is_fresh:
            end_s = min(end_s, self._until_s)
        if not bms.is_supplying:
            current_a = bms.own_current_a(end_s - now_s)
        self.string.step(current_a, end_s - now_s)
        bms.advance(end_s)
        self.now_s = end_s
        self._settle()

    def _settle(self) -> None:
        self.string.touched = False
        self.bms.settle()
