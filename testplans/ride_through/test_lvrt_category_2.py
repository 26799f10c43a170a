"""RT-08: the consecutive low-voltage ride-through signal of IEEE 1547.1-2020, category II."""

from __future__ import annotations

import asyncio

from harness.judge import Judge
from harness.judge.segments import MEASURES as SEGMENTS
from harness.judge.segments import Segment, examine, judge_findings, lvrt_category_2, output, steps, unit
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

SAMPLE_RATE_HZ = 5000.0
BEFORE_S = 0.5
AFTER_S = 1.0
SOURCE_ACCURACY_PU = 0.005
"""Half the stimulus tolerance: the level that the duty ends at is played this much above it."""


@plan(
    "RT-08",
    "Rides through the consecutive low-voltage signal of category II",
    hazard="stresses",
    measures=(*SEGMENTS, "trips", "running afterwards", *TELEMETRY),
    limit_s={"ci": 900.0, "full": 3600.0},
    standard="IEEE 1547.1-2020, 5.4.4",
    ci_form_omits="the low power level and the one- and two-phase signals",
)
async def test_rides_through_the_low_voltage_signal_of_category_2(
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
) -> None:
    """Hold at least 80 % of the current where that is mandatory, cease only where allowed, never trip."""
    rated_w = product.ratings.discharge_power_w
    powers = {"high power": 0.91 * rated_w} | ({} if form == "ci" else {"low power": 0.5 * rated_w})
    phase_sets = {"three phases": (1, 2, 3)} | (
        {} if form == "ci" else {"phase 1": (1,), "phases 1, 2": (1, 2)}
    )
    sequence = lvrt_category_2(requirements, SOURCE_ACCURACY_PU)
    await energise(grid, inverter, f0_hz=nominal_hz)
    await telemetry.look_through_a_voltage_step()
    for power_name, power_w in powers.items():
        await hold_power(inverter, power_w, tolerance_w=0.05 * rated_w)
        await telemetry.look(power_name)
        for phases_name, phases in phase_sets.items():
            await _play(
                inverter, grid, recorder, judge, product, requirements, keep, nominal_hz, sequence,
                power_w=power_w, phases=phases, case=f"{power_name}, {phases_name}",
            )  # fmt: skip
    state = await inverter.state()
    judge("running afterwards", state.value in RUNNING, "rackproof_bench.is_true")
    telemetry.judge_changes()


async def _play(
    inverter: Inverter,
    grid: GridSource,
    recorder: Recorder,
    judge: Judge,
    product: ProductFile,
    requirements: Requirements,
    keep: Keep,
    f0_hz: float,
    sequence: tuple[Segment, ...],
    *,
    power_w: float,
    phases: tuple[int, ...],
    case: str,
) -> None:
    rated_w = product.ratings.discharge_power_w
    total_s = sequence[-1].end_s
    await grid.load_profile(steps(sequence, f0_hz, phases=phases))
    names = channels("pcs_ac")
    async with capture(
        recorder, names, sample_rate_hz=SAMPLE_RATE_HZ, before_s=BEFORE_S, after_s=total_s + AFTER_S
    ) as complete:
        await grid.start_profile()
        await asyncio.sleep(total_s)
        waves = await complete()
    keep(f"low-voltage signal, {case}", waves)
    start_s = waves[names[0]].start_s + BEFORE_S
    given = output(waves, "pcs_ac", f0_hz)
    before_w = mean(given.power_w, (start_s - 0.4, start_s))
    judge.stimulus(
        "power before the signal",
        scaled(difference(before_w, Measured(power_w, 0.0, "W")), 1.0 / rated_w, "1"),
        "rackproof_bench.stimulus_power_level",
        case=case,
    )
    findings = examine(
        sequence,
        requirements.sequence("lvrt_2"),
        given,
        unit(
            requirements,
            rated_va=product.ratings.apparent_power_va,
            nominal_v=product.ratings.ac_voltage_v,
            f0_hz=f0_hz,
        ),
        start_s=start_s,
        f0_hz=f0_hz,
        bands=requirements.bands("II"),
        phases=phases,
    )
    judge_findings(judge, findings, case=case)
    alarms = await inverter.alarms()
    judge(
        "trips",
        measured(float(len(alarms.value)), "count", {}, sources=(alarms.source,)),
        "rackproof_bench.no_trip",
        case=case,
    )
