"""The reference energy manager at work on a rig, behind its register table.

It measures the plant at each interval, decides, and commands converter and solar array at once. Off, it goes
on measuring, forecasting and deciding, and commands nothing; turning it off sets the battery's power to
zero.

Does not model: errors and age of what it measures (the bus of the site's meters), the line to the converter,
settings that survive a restart, a lock against two masters.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from drivers.rackproof_ems import codec, points
from drivers.rackproof_ems.options import Options
from drivers.rackproof_ems.points import Point
from harness.clock import now_s
from harness.plant.energy import EnergyManager, ManagerSpec, SiteState
from harness.wires import ModbusRefusal, Refusal, Table

if TYPE_CHECKING:
    from harness.plant import RigPlant

IDENTITY = {"maker": "Rackproof", "model": "EMS", "serial": "EMULATED-1", "firmware": "1.0"}


class Emulator:
    """An energy manager (``wires.ModbusUnit``).

    Attributes:
        manager: what decides.
        is_on: whether it commands.
        frozen: measurements stay at their last sample, while the beat goes on and commands act.
        swapped_sign: grid and battery power are told with the wrong sign.
        silent: no answers.
    """

    def __init__(self, name: str, plant: RigPlant, options: Options) -> None:
        self.name = name
        self.is_on = False
        self.frozen = False
        self.swapped_sign = False
        self.silent = False
        self.manager = EnergyManager(
            ManagerSpec(
                capacity_j=3600.0 * options.capacity_wh,
                charge_limit_w=options.charge_limit_w,
                discharge_limit_w=options.discharge_limit_w,
                reserve_soc=options.reserve_soc,
                contract_power_w=_or_none(options.contract_power_w),
                export_limit_w=_or_none(options.export_limit_w),
                interval_s=options.interval_s,
            )
        )
        self._plant = plant
        self._options = options
        self._beat = 0
        self._task: asyncio.Task[None] | None = None
        self._registers: dict[int, int] = {}
        for point in points.IDENTITY:
            fixed = {"mark": points.MARK, "version": points.VERSION}.get(point.name)
            self._lay(point, IDENTITY[point.name] if fixed is None else fixed)
        self._lay_settings()
        self._lay_measured(dict.fromkeys((point.name for point in points.MEASURED), 0.0))
        self._lay_forecasts()

    async def start(self) -> None:
        """Decide now, and at each interval from here on."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Decide no more; the last command stands."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Answer from the last sample."""
        self._check(table)
        wanted = range(address, address + count)
        if any(register not in self._registers for register in wanted):
            raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
        return [self._registers[register] for register in wanted]

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        """Take one setting, which acts at the next decision; on and off act at once."""
        self._check(table)
        point = next((point for point in points.SETTINGS if point.address == address), None)
        if point is None or len(values) != point.count or point.range is None:
            raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
        value = codec.decode(point, values)
        low, high = point.range
        if not (low <= value <= high or (point.is_limit and value == math.inf)):
            raise ModbusRefusal(Refusal.ILLEGAL_VALUE)
        if point.name == "is_on":
            self._switch(is_on=bool(value))
        else:
            self.manager.spec = replace(self.manager.spec, **{point.name: value})
        self._lay_settings()

    def decide(self) -> None:
        """Measure, decide, and command if it is on."""
        plant = self._plant
        plant.advance(now_s())
        solar = plant.solar
        solar_w = 0.0 if solar is None or not solar.is_running else solar.available_w(plant.now_s)
        grid = plant.totals("grid_ac")
        demand_w = max(plant.load.power_w, 0.0)
        given_w = 0.0 if solar is None else solar.power_w
        is_islanded = plant.converter.is_grid_forming or not plant.grid.is_relay_closed
        grid_w = 0.0 if is_islanded else plant.converter.power_w + given_w - demand_w
        state = SiteState(
            time_s=self._options.starts_at_s + plant.now_s,
            demand_w=demand_w,
            solar_w=solar_w,
            grid_w=grid_w,
            soc=min(max(plant.bms.soc, 0.0), 1.0),
            imported_j=grid.energy_in_j,
            is_islanded=is_islanded,
        )
        decision = self.manager.decide(state)
        if self.is_on:
            plant.converter.set_power_w(decision.battery_w)
            if solar is not None:
                solar.curtail(decision.solar_limit_w)
            plant.advance(plant.now_s)
        self._beat = (self._beat + 1) % 0x1_0000
        sign = -1.0 if self.swapped_sign else 1.0
        measured = {
            "beat": self._beat,
            "interval_s": self.manager.spec.interval_s,
            "demand_w": state.demand_w,
            "solar_w": state.solar_w,
            "grid_power_w": sign * state.grid_w,
            "battery_power_setpoint_w": sign * decision.battery_w if self.is_on else 0.0,
            "soc": state.soc,
            "rule": decision.rule.value,
            "window_power_w": decision.window_mean_w,
            "is_islanded": float(state.is_islanded),
        }
        if self.frozen:
            self._lay(points.MEASURED[0], self._beat)
            return
        self._lay_measured(measured)
        self._lay_forecasts()

    async def _run(self) -> None:
        start_s, number = now_s(), 0
        while True:
            self.decide()
            number += 1
            await asyncio.sleep(start_s + number * self._options.interval_s - now_s())

    def _switch(self, *, is_on: bool) -> None:
        if self.is_on and not is_on:
            self._plant.advance(now_s())
            self._plant.converter.set_power_w(0.0)
            if self._plant.solar is not None:
                self._plant.solar.curtail(math.inf)
        self.is_on = is_on

    def _check(self, table: Table) -> None:
        if self.silent:
            raise TimeoutError(f"{self.name} is silent")
        if table is not Table.HOLDING:
            raise ModbusRefusal(Refusal.ILLEGAL_FUNCTION)

    def _lay(self, point: Point, value: float | str) -> None:
        for place, register in enumerate(codec.encode(point, value)):
            self._registers[point.address + place] = register

    def _lay_measured(self, values: dict[str, float]) -> None:
        for point in points.MEASURED:
            self._lay(point, values[point.name])

    def _lay_settings(self) -> None:
        spec = self.manager.spec
        values = {
            "is_on": float(self.is_on),
            "reserve_soc": spec.reserve_soc,
            "contract_power_w": spec.contract_power_w,
            "export_limit_w": spec.export_limit_w,
            "ramp_w_per_s": spec.ramp_w_per_s,
        }
        for point in points.SETTINGS:
            self._lay(point, values[point.name])

    def _lay_forecasts(self) -> None:
        for first, forecast in (
            (points.DEMAND_FORECAST, self.manager.demand),
            (points.SOLAR_FORECAST, self.manager.solar),
        ):
            for step, power_w in enumerate(forecast.ahead_w(points.FORECAST_STEPS)):
                self._lay(Point("forecast_w", first + 2 * step, points.Kind.S32, count=2), power_w)


def _or_none(limit: float | None) -> float:
    return math.inf if limit is None else limit
