"""CC-03: a full charge, its profile judged."""

from __future__ import annotations

import asyncio

from harness.judge import Judge
from harness.judge.uncertainty import measured, scaled
from harness.plans import plan
from harness.readings import Measured
from harness.rig.product_file import ProductFile
from harness.roles import Battery, GridSource, Inverter, PowerAnalyzer
from rackproof_fixtures.cycles import (
    CHARGE_WITHIN_S,
    DISCHARGE_WITHIN_S,
    UNJUDGED_POLL_S,
    Course,
    run_to_end,
)
from rackproof_fixtures.steps import energise, hold_power
from rackproof_fixtures.telemetry import MEASURES as TELEMETRY
from rackproof_fixtures.telemetry import Telemetry

POLL_S = 2.0
"""Nothing in a charge of hours moves faster; also the analyzer's update interval."""


@plan(
    "CC-03",
    "Charges fully along its profile",
    hazard="energises",
    measures=(
        "charge current", "charge voltage", "charge current allowed", "charge time", "ends as promised",
        "battery voltage", "taper current", "state of charge at the end", *TELEMETRY,
    ),
    limit_s=40_000.0,
    standard="profile of the product",
)  # fmt: skip
async def test_charges_fully_along_its_profile(
    battery: Battery,
    inverter: Inverter,
    grid: GridSource,
    analyzer: PowerAnalyzer,
    telemetry: Telemetry,
    judge: Judge,
    product: ProductFile,
    nominal_hz: float,
) -> None:
    """From empty: constant current, constant voltage, taper; ended as its profile says."""
    await energise(grid, inverter, f0_hz=nominal_hz)
    await telemetry.look_through_a_voltage_step()
    await hold_power(
        inverter,
        0.5 * product.ratings.discharge_power_w,
        tolerance_w=0.05 * product.ratings.discharge_power_w,
    )
    await telemetry.look("discharging")
    await analyzer.set_update_interval_s(POLL_S)
    emptied = await run_to_end(
        "discharge", battery, inverter, analyzer, product, within_s=DISCHARGE_WITHIN_S, poll_s=UNJUDGED_POLL_S
    )
    ended_empty = emptied.end_cause == "battery_limit"
    judge("ends as promised", ended_empty, "rackproof_bench.is_true", case="the discharge before")
    await asyncio.sleep(600.0)

    course = await run_to_end(
        "charge", battery, inverter, analyzer, product, within_s=CHARGE_WITHIN_S, poll_s=POLL_S
    )
    _judge_profile(course, judge, product)
    soc = await battery.soc()
    judge(
        "state of charge at the end",
        measured(soc.value - 1.0, "1", {}, sources=(soc.source,)),
        "product_limits.soc_error",
    )
    await telemetry.look("after the charge")
    telemetry.judge_changes()


def _judge_profile(course: Course, judge: Judge, product: ProductFile) -> None:
    profile = product.charge_profile
    held_v = profile.constant_voltage_v * (1.0 - 0.002)
    # Constant current: after the soft start and before the voltage is reached.
    flowing = [each for each in course.samples if each.at_s > course.start_s + 30.0] or course.samples[-1:]
    constant = [each for each in flowing if each.voltage_v.value < held_v]
    held = [
        each for each in flowing[len(constant) :] if -each.current_a.value > 0.5 * profile.taper_current_a
    ]
    # A charge without one of the two stages is judged by where that stage ought to have been.
    constant, held = constant or flowing[:1], held or flowing[-1:]
    for name, pick in (("lowest", min), ("highest", max)):
        current = pick((each.current_a for each in constant), key=lambda m: -m.value)
        judge("charge current", scaled(current, -1.0, "A"), "product_limits.charge_current", case=name)
        voltage = pick((each.voltage_v for each in held), key=lambda m: m.value)
        judge("charge voltage", voltage, "product_limits.charge_voltage", case=name)
    most = min((each.current_a for each in course.samples), key=lambda m: m.value)
    judge("charge current allowed", scaled(most, -1.0, "A"), "product_limits.charge_current_allowed")
    for name, pick in (("lowest", min), ("highest", max)):
        voltage = pick((each.voltage_v for each in course.samples), key=lambda m: m.value)
        judge("battery voltage", voltage, "product_limits.battery_voltage", case=name)
    judge(
        "charge time",
        Measured(course.duration_s, 0.5 * POLL_S, "s", (course.start_s, course.end_s)),
        "product_limits.charge_time",
    )
    judge("ends as promised", course.end_cause == profile.end_cause, "rackproof_bench.is_true")
    judge("taper current", scaled(held[-1].current_a, -1.0, "A"), "product_limits.taper_current")
