"""Racks that are used to their ends, twice side by side: with the steps as they are, and with all halved."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from harness.plant import RigPlant
from harness.plant.spec import PlantSpec
from harness.plant.stated_error import CELLS, CONVERTER
from harness.rig.files import load_product, load_rig
from harness.rig.plant_spec import plant_spec

REPORT_S = 1.0
"""Between two reports of the battery to the converter, as on lab1."""


@cache
def product_spec(name: str) -> PlantSpec:
    return plant_spec(load_rig("lab1"), load_product(name), 60.0, 5)


class Reported:
    """A rig whose converter hears its battery each second.

    Attributes:
        rig: it.
        turns: when it was told that directions open or close, and the current until then.
    """

    def __init__(self, spec, scale) -> None:
        self.rig = RigPlant(spec, step_scale=scale)
        self.turns = []
        self.is_heard = True
        self.rig.converter.turn_on()
        self.report()

    def report(self) -> None:
        rig, bms = self.rig, self.rig.bms
        may = (bms.is_charge_allowed, bms.is_discharge_allowed)
        if not self.turns or self.turns[-1][1] != may:
            self.turns.append((rig.now_s, may, abs(rig.string.current_a)))
        rig.converter.hear_bms(
            bms.charge_current_limit_a, bms.discharge_current_limit_a, bms.charge_voltage_limit_v
        )
        if self.is_heard:
            rig.at(rig.now_s + REPORT_S, self.report)


class Pair:
    """Two equal rigs, of which one makes all its steps half as long.

    Attributes:
        one: with steps as they are.
        two: with steps halved.
        worst: by name, the largest part of the stated error that anything has moved.
    """

    def __init__(self, product, *, seed=5, **battery) -> None:
        spec = product_spec(product)
        spec = replace(spec, seed=seed, battery=replace(spec.battery, **battery))
        self.both = [Reported(spec, scale) for scale in (1.0, 0.5)]
        self.one, self.two = (each.rig for each in self.both)
        self.stated = CELLS[spec.battery.chemistry]
        self.rated_va = spec.converter.rated_apparent_power_va
        self.worst = {}
        self._changes = 0

    def command(self, power_w) -> None:
        self._changes += 1
        for each in self.both:
            each.rig.converter.set_power_w(power_w)

    def run(self, seconds) -> None:
        for each in self.both:
            each.rig.advance(each.rig.now_s + seconds)
        self.note()

    def late_c(self) -> float:
        """Charge of the reports by which one of them was told later; twice as many would be another story."""
        first, second = (each.turns for each in self.both)
        assert [turn[1] for turn in first] == [turn[1] for turn in second]
        charge_c = 0.0
        for (one_s, _, one_a), (two_s, _, two_a) in zip(first, second, strict=True):
            assert abs(one_s - two_s) < 1.5 * REPORT_S
            charge_c += abs(one_s - two_s) * max(one_a, two_a)
        return charge_c

    def note(self) -> None:
        """Compare everything at this instant with what is stated."""
        one, two, stated = self.one.string, self.two.string, self.stated
        late_c = self.late_c()
        late = late_c / (3600.0 * one.capacity_ah)
        cells_v = np.abs(two.cell_voltages_v - one.cell_voltages_v).max()
        cells_k = np.abs(two.cell_temperatures_degc - one.cell_temperatures_degc).max()
        away_v = abs(one.voltage_v - self.one.bms.charge_voltage_limit_v)
        is_held = one.current_a < -1.0 and away_v < 0.02
        found = {
            "soc": (two.soc - one.soc, stated.soc + late),
            "estimate": (self.two.bms.soc - self.one.bms.soc, stated.estimate + late),
            "temperature": (cells_k, stated.temperature_k),
            "capacity": (two.capacity_ah / one.capacity_ah - 1.0, stated.capacity),
            "power": (
                self.two.converter.power_w - self.one.converter.power_w,
                (CONVERTER.held_pu if is_held else CONVERTER.power_pu) * self.rated_va,
            ),
        }
        if late_c == 0.0:
            # A volt where one has gone a second further is the curve's slope, no error of a step.
            found["cell"] = (cells_v, stated.cell_v)
            found["string"] = (
                two.voltage_v - one.voltage_v,
                stated.held_v if is_held else stated.string_v,
            )
        if one.hydrogen_mol > 0.0:
            found["hydrogen"] = (two.hydrogen_mol / one.hydrogen_mol - 1.0, stated.hydrogen + 100.0 * late)
        a, b = self.one.totals("battery_dc"), self.two.totals("battery_dc")
        least_j = CONVERTER.change_s * self.rated_va * (1.0 + self._changes) + late_c * one.voltage_v
        most_j = CONVERTER.energy * (a.energy_out_j + a.energy_in_j) + least_j
        found["energy out"] = (b.energy_out_j - a.energy_out_j, most_j)
        found["energy in"] = (b.energy_in_j - a.energy_in_j, most_j)
        for name, (apart, most) in found.items():
            self.worst[name] = max(self.worst.get(name, 0.0), abs(float(apart)) / most)

    def beyond(self) -> dict[str, float]:
        """What has moved by more than its stated error, in parts of that."""
        return {name: round(part, 2) for name, part in self.worst.items() if part > 1.0}
