"""CM-06: the battery falls silent; the converter must find out by itself and go to zero."""

from __future__ import annotations

import asyncio

from harness.clock import now_s
from harness.errors import StaleReading, StimulusMissed
from harness.judge import Judge
from harness.judge.uncertainty import ratio, scaled
from harness.judge.waveforms import mean, power_one_cycle_w, time_until
from harness.plans import plan
from harness.readings import Measured
from harness.rig.product_file import ProductFile
from harness.roles import Battery, FaultInserter, GridSource, Inverter, PowerAnalyzer, Recorder
from rackproof_fixtures.run import Keep
from rackproof_fixtures.steps import capture, channels, energise, hold_power
from rackproof_fixtures.telemetry import MEASURES as TELEMETRY
from rackproof_fixtures.telemetry import Telemetry

FAULT = "bms_can_open"
SHORTEST_CAPTURE_S = 8.0
"""Ours: twice what the quickest of the known products takes (Victron: three seconds), so that more shows."""
BEYOND_S = 2.0
"""Beyond the time that a product has: a second of rest or of power, and room for the means over it; ours."""
SAMPLE_RATE_HZ = 5000.0
ZERO_SHARE = 0.02
"""Of the rating: below it there is no power (response ends at 2 % of rated, PNNL-22010)."""


@plan(
    "CM-06",
    "Goes to zero by itself when the battery falls silent",
    hazard="stresses",
    measures=(
        "power delivered", "time to zero", "power at rest", "time to return", "power restored",
        "silence is noticed", *TELEMETRY,
    ),
    limit_s=900.0,
    standard="Victron: no charge or discharge when 0x351 is missing for 3 s",
)  # fmt: skip
async def test_goes_to_zero_by_itself_when_the_battery_falls_silent(
    battery: Battery,
    inverter: Inverter,
    grid: GridSource,
    analyzer: PowerAnalyzer,
    recorder: Recorder,
    fault_inserter: FaultInserter,
    telemetry: Telemetry,
    judge: Judge,
    product: ProductFile,
    keep: Keep,
    nominal_hz: float,
) -> None:
    """Open the battery's CAN lead under power and command nothing: zero in time, not too early, and back."""
    rated_w = product.ratings.discharge_power_w
    power_w = 0.5 * rated_w
    await energise(grid, inverter, f0_hz=nominal_hz)
    await telemetry.look_through_a_voltage_step()
    await hold_power(inverter, power_w, tolerance_w=0.05 * rated_w)
    await telemetry.look("half power")
    before = await analyzer.values("pcs_ac")
    judge(
        "power delivered",
        ratio(before.power_w, Measured(power_w, 0.0, "W")),
        "rackproof_bench.delivered_power",
    )

    names = channels("pcs_ac")
    stops_s = max(SHORTEST_CAPTURE_S, product.limits.bms_loss_stop_max_s + BEYOND_S)
    async with capture(
        recorder, names, sample_rate_hz=SAMPLE_RATE_HZ, before_s=0.0, after_s=stops_s, trigger="now"
    ) as complete:
        await fault_inserter.insert(FAULT)
        last_frame_s = (await battery.voltage_v()).at_s
        waves = await complete()
    keep("power after the battery fell silent", waves)
    try:
        late = await battery.voltage_v()
    except StaleReading:
        judge.stimulus("the battery is silent", True, "rackproof_bench.is_true")
    else:
        raise StimulusMissed(
            f"{late.source} still comes, {now_s() - last_frame_s:.1f} s after its lead was opened"
        )
    power = power_one_cycle_w([waves[n] for n in names[:3]], [waves[n] for n in names[3:]], nominal_hz)
    end_s = float(power.at_s[-1])
    judge(
        "time to zero",
        time_until(power, ZERO_SHARE * rated_w, start_s=last_frame_s, rising=False, dwell_s=1.0),
        "product_limits.bms_loss_stop",
    )
    judge(
        "power at rest",
        scaled(mean(power, (end_s - 1.0, end_s)), 1.0 / rated_w, "1"),
        "rackproof_bench.zero_power",
    )
    alarms = await inverter.alarms()
    judge("silence is noticed", len(alarms.value) > 0, "rackproof_bench.is_true")

    returns_s = max(SHORTEST_CAPTURE_S, product.limits.bms_loss_recover_max_s + BEYOND_S)
    async with capture(
        recorder, names, sample_rate_hz=SAMPLE_RATE_HZ, before_s=0.0, after_s=returns_s, trigger="now"
    ) as complete:
        await fault_inserter.remove(FAULT)
        whole_s = now_s()
        waves = await complete()
    power = power_one_cycle_w([waves[n] for n in names[:3]], [waves[n] for n in names[3:]], nominal_hz)
    judge(
        "time to return",
        time_until(power, 0.95 * power_w, start_s=whole_s, rising=True, dwell_s=1.0),
        "product_limits.bms_loss_recover",
    )
    await asyncio.sleep(3.0)
    after = await analyzer.values("pcs_ac")
    judge("power restored", ratio(after.power_w, before.power_w), "rackproof_bench.restored_power")
    await telemetry.look("after the return")
    telemetry.judge_changes()
