"""RT-08 and RT-09: the consecutive low-voltage signals of IEEE 1547.1-2020, categories II and III."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pytest

from harness.errors import NotTestable
from harness.judge import Judge
from harness.judge.segments import MEASURES as SEGMENTS
from harness.judge.segments import examine, judge_findings, output, segments, steps, unit
from harness.judge.uncertainty import difference, measured, scaled
from harness.judge.waveforms import mean
from harness.plans import Form, plan
from harness.readings import Measured
from harness.requirements import Requirements
from harness.rig.product_file import ProductFile
from harness.roles import GridSource, Inverter, Recorder
from rackproof_fixtures.run import Keep
from rackproof_fixtures.steps import RUNNING, capture, channels, energise, hold_power
from rackproof_fixtures.telemetry import MEASURES as TELEMETRY
from rackproof_fixtures.telemetry import Telemetry

Category = Literal["II", "III"]

SEQUENCES: dict[Category, str] = {"II": "lvrt_2", "III": "lvrt_3"}
MEASURES = (*SEGMENTS, "trips", "running afterwards", *TELEMETRY)
OMITTED = "the low power level and the one- and two-phase signals"
SAMPLE_RATE_HZ = 5000.0
BEFORE_S = 0.5
AFTER_S = 1.0
SOURCE_ACCURACY_PU = 0.005
"""Half the stimulus tolerance: the level that the duty ends at is played this much above it."""


@dataclass(frozen=True, kw_only=True)
class LowVoltageSignal:
    """Plays the signal of a category to the inverter, and judges what it does in each segment."""

    inverter: Inverter
    grid: GridSource
    recorder: Recorder
    telemetry: Telemetry
    judge: Judge
    product: ProductFile
    requirements: Requirements
    keep: Keep
    form: Form
    f0_hz: float

    async def play(self, category: Category) -> None:
        """Play it at each power level and on each set of phases of the form.

        Raises:
            NotTestable: the product claims another category, whose duties are others.
        """
        claimed = self.product.inverter.ride_through.category
        if claimed != category:
            raise NotTestable(
                f"product {self.product.name} claims category {claimed} of IEEE 1547-2018; the signal is for "
                f"category {category}"
            )
        rated_w = self.product.ratings.discharge_power_w
        powers = {"high power": 0.91 * rated_w}
        phase_sets: dict[str, tuple[int, ...]] = {"three phases": (1, 2, 3)}
        if self.form == "full":
            powers["low power"] = 0.5 * rated_w
            phase_sets |= {"phase 1": (1,), "phases 1, 2": (1, 2)}
        await energise(self.grid, self.inverter, f0_hz=self.f0_hz)
        await self.telemetry.look_through_a_voltage_step()
        for power_name, power_w in powers.items():
            await hold_power(self.inverter, power_w, tolerance_w=0.05 * rated_w)
            await self.telemetry.look(power_name)
            for phases_name, phases in phase_sets.items():
                await self._play_once(category, power_w, phases, f"{power_name}, {phases_name}")
        state = await self.inverter.state()
        self.judge("running afterwards", state.value in RUNNING, "rackproof_bench.is_true")
        self.telemetry.judge_changes()

    async def _play_once(self, category: Category, power_w: float, phases: Sequence[int], case: str) -> None:
        ratings = self.product.ratings
        table = self.requirements.sequence(SEQUENCES[category])
        sequence = segments(table, SOURCE_ACCURACY_PU)
        total_s = sequence[-1].end_s
        await self.grid.load_profile(steps(sequence, self.f0_hz, phases=phases))
        names = (*channels("grid_ac", currents=False), *channels("pcs_ac", voltages=False))
        async with capture(
            self.recorder, names, sample_rate_hz=SAMPLE_RATE_HZ, before_s=BEFORE_S, after_s=total_s + AFTER_S
        ) as complete:
            await self.grid.start_profile()
            await asyncio.sleep(total_s)
            waves = await complete()
        self.keep(f"low-voltage signal, {case}", waves)
        start_s = waves[names[0]].start_s + BEFORE_S
        given = output(waves, "pcs_ac", self.f0_hz, voltage_node="grid_ac")
        before_w = mean(given.power_w, (start_s - 0.4, start_s))
        self.judge.stimulus(
            "power before the signal",
            scaled(difference(before_w, Measured(power_w, 0.0, "W")), 1.0 / ratings.discharge_power_w, "1"),
            "rackproof_bench.stimulus_power_level",
            case=case,
        )
        findings = examine(
            sequence,
            table,
            given,
            unit(
                self.requirements,
                rated_va=ratings.apparent_power_va,
                nominal_v=ratings.ac_voltage_v,
                f0_hz=self.f0_hz,
            ),
            start_s=start_s,
            f0_hz=self.f0_hz,
            bands=self.requirements.bands(category),
            phases=phases,
        )
        judge_findings(self.judge, findings, case=case)
        alarms = await self.inverter.alarms()
        self.judge(
            "trips",
            measured(float(len(alarms.value)), "count", {}, sources=(alarms.source,)),
            "rackproof_bench.no_trip",
            case=case,
        )


@pytest.fixture
def signal(
    inverter: Inverter,
    grid: GridSource,
    recorder: Recorder,
    telemetry: Telemetry,
    judge: Judge,
    product: ProductFile,
    requirements: Requirements,
    keep: Keep,
    form: Form,
    nominal_hz: float,
) -> LowVoltageSignal:
    """The signal, ready for both plans."""
    return LowVoltageSignal(
        inverter=inverter,
        grid=grid,
        recorder=recorder,
        telemetry=telemetry,
        judge=judge,
        product=product,
        requirements=requirements,
        keep=keep,
        form=form,
        f0_hz=nominal_hz,
    )


@plan(
    "RT-08",
    "Rides through the consecutive low-voltage signal of category II",
    hazard="stresses",
    measures=MEASURES,
    limit_s={"ci": 900.0, "full": 3600.0},
    standard="IEEE 1547.1-2020, 5.4.4",
    ci_form_omits=OMITTED,
)
async def test_rides_through_the_low_voltage_signal_of_category_2(signal: LowVoltageSignal) -> None:
    """Hold at least 80 % of the current where that is mandatory, cease only where allowed, never trip."""
    await signal.play("II")


@plan(
    "RT-09",
    "Rides through the consecutive low-voltage signal of category III",
    hazard="stresses",
    measures=MEASURES,
    limit_s={"ci": 900.0, "full": 3600.0},
    standard="IEEE 1547.1-2020, 5.4.4",
    ci_form_omits=OMITTED,
)
async def test_rides_through_the_low_voltage_signal_of_category_3(signal: LowVoltageSignal) -> None:
    """Cease within 83 ms where the voltage is gone, carry at 50 % and come back at once, never trip."""
    await signal.play("III")
