"""CC-02: round-trip efficiency of a cycle that is closed by the same physical end condition."""

from __future__ import annotations

import asyncio

from harness.judge import Judge
from harness.judge.uncertainty import as_measured, difference, ratio
from harness.plans import Form, plan
from harness.rig.product_file import ProductFile
from harness.roles import Battery, GridSource, Inverter, PowerAnalyzer
from rackproof_fixtures.cycles import CHARGE_WITHIN_S, DISCHARGE_WITHIN_S, UNJUDGED_POLL_S, run_to_end
from rackproof_fixtures.steps import energise, hold_power
from rackproof_fixtures.telemetry import MEASURES as TELEMETRY
from rackproof_fixtures.telemetry import Telemetry

UPDATE_S = 1.0
CYCLES = {"ci": 1, "full": 3}
POLL_S: dict[Form, float] = {"ci": 2.0, "full": 1.0}
"""Between two looks at a running course. Energies are the analyzer's own; looks say how the course ended."""


@plan(
    "CC-02",
    "Gives back what its round-trip efficiency promises",
    hazard="energises",
    measures=(
        "round-trip efficiency", "efficiency at the battery", "closing temperature", "closing end",
        "charge given", *TELEMETRY,
    ),
    limit_s={"ci": 80_000.0, "full": 200_000.0},
    standard="PNNL-22010 Rev 2 procedure, limits of the product",
    ci_form_omits="two of three cycles, the full rest between charge and discharge, every other look",
)  # fmt: skip
async def test_gives_back_what_its_round_trip_efficiency_promises(
    battery: Battery,
    inverter: Inverter,
    grid: GridSource,
    analyzer: PowerAnalyzer,
    telemetry: Telemetry,
    judge: Judge,
    product: ProductFile,
    form: Form,
    nominal_hz: float,
) -> None:
    """Full to empty to full, each full by its taper; energies at the AC terminals, rests included.

    The first charge only brings the closing condition about and is not counted. The boundary is the
    converter's AC terminals: its own losses, also at rest, are in the energies; nothing else is.
    """
    rest_s, poll_s = 600.0 if form == "ci" else product.reference.rest_s, POLL_S[form]
    await energise(grid, inverter, f0_hz=nominal_hz)
    await telemetry.look_through_a_voltage_step()
    tolerance_w = 0.05 * product.ratings.discharge_power_w
    await hold_power(inverter, 0.5 * product.ratings.discharge_power_w, tolerance_w=tolerance_w)
    await telemetry.look("discharging")
    await hold_power(inverter, -0.5 * product.ratings.charge_power_w, tolerance_w=tolerance_w)
    await telemetry.look("charging")
    await analyzer.set_update_interval_s(UPDATE_S)
    first = await run_to_end(
        "charge", battery, inverter, analyzer, product, within_s=CHARGE_WITHIN_S, poll_s=UNJUDGED_POLL_S
    )
    full = product.charge_profile.end_cause
    judge("closing end", first.end_cause == full, "rackproof_bench.is_true", case="the charge before")
    await asyncio.sleep(rest_s)
    for cycle in range(1, CYCLES[form] + 1):
        case = f"cycle {cycle}"
        opening_degc = as_measured(await battery.temperature_degc())
        await analyzer.start_integration()
        emptied = await run_to_end(
            "discharge", battery, inverter, analyzer, product, within_s=DISCHARGE_WITHIN_S, poll_s=poll_s
        )
        given = await analyzer.energy("battery_dc")
        await asyncio.sleep(rest_s)
        last = await run_to_end(
            "charge", battery, inverter, analyzer, product, within_s=CHARGE_WITHIN_S, poll_s=poll_s
        )
        await asyncio.sleep(rest_s)
        await analyzer.stop_integration()
        ac, dc = await analyzer.energy("pcs_ac"), await analyzer.energy("battery_dc")
        closing_degc = as_measured(await battery.temperature_degc())
        for end, found, meant in (("discharge", emptied, "battery_limit"), ("charge", last, full)):
            judge("closing end", found.end_cause == meant, "rackproof_bench.is_true", case=f"{case}, {end}")
        judge(
            "closing temperature",
            difference(closing_degc, opening_degc),
            "rackproof_bench.closure_temperature",
            case=case,
        )
        judge("charge given", given.charge_out_c, "product_limits.capacity", case=case)
        judge("round-trip efficiency", ratio(ac.out_j, ac.in_j), "product_limits.rte_ac", case=case)
        judge("efficiency at the battery", ratio(dc.out_j, dc.in_j), "product_limits.rte_dc", case=case)
    await telemetry.look("after the cycle")
    telemetry.judge_changes()
