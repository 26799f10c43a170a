"""FO-15: the mains go, the battery carries the critical load, the mains come back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from harness.clock import now_s
from harness.judge import Judge
from harness.judge.uncertainty import difference, measured, ratio, scaled
from harness.judge.waveforms import (
    closing,
    frequency_series,
    half_cycle_marks,
    longest_interruption,
    maximum,
    mean_frequency_hz,
    minimum,
    rms_across_phases,
    rms_half_cycle,
)
from harness.plans import Form, plan
from harness.readings import Measured, Waveform
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile
from harness.roles import Battery, GridSource, Inverter, PowerAnalyzer, Recorder
from rackproof_fixtures.run import Keep
from rackproof_fixtures.steps import RUNNING, capture, channels, energise, hold_power, wait_until
from rackproof_fixtures.telemetry import MEASURES as TELEMETRY
from rackproof_fixtures.telemetry import Telemetry

LOSS_AFTER_S = 0.5
LOSS_CAPTURE_S = 2.0
"""Captured: half a second before the loss, and a second and a half after it; ours."""
LOSS_RATE_HZ = 20_000.0
"""Transfer times of milliseconds need 10 kS/s or more."""
RETURN_RATE_HZ = 4_000.0
"""The return is told by half cycles: sixty samples in one are enough, and its capture is long; ours."""
HOLD_S = {"ci": 60.0, "full": 600.0}
"""Of the island, from its first waveforms to the return: what it shows is steady within a minute; ours."""
RETURN_OFF_HZ = 0.05
"""By which the mains come back too fast, so that an island at nominal turns against them once in 20 s: half
of 0.1 Hz, the least upper edge that IEEE 1547-2018, table 4 allows for enter service (as OpenDER 2.2 has
it): every product has to take such mains for good."""
FREQUENCY_WINDOW_S = 0.2
"""As IEC 61000-4-30 aggregates (10 or 12 cycles, from memory)."""
ALIVE_SHARE = 0.5
"""Of nominal: below it an instant counts as interrupted."""


@plan(
    "FO-15",
    "The battery carries the critical load through a loss of mains",
    hazard="stresses",
    measures=(
        "interruption at the loss", "interruption at the return", "island voltage", "island frequency",
        "load carried", "forms the island", "angle at the return", "frequency step at the return",
        "voltage step at the return", "load voltage at the return", "load frequency at the return",
        "back on the mains", "power restored", "alarms", *TELEMETRY,
    ),
    limit_s={"ci": 1200.0, "full": 1800.0},
    standard="IEC 62040-3 procedure, limits of the product",
    ci_form_omits="nine of ten minutes on the battery",
)  # fmt: skip
async def test_carries_the_critical_load_through_a_loss_of_mains(
    battery: Battery,
    inverter: Inverter,
    grid: GridSource,
    analyzer: PowerAnalyzer,
    recorder: Recorder,
    telemetry: Telemetry,
    judge: Judge,
    product: ProductFile,
    rig: RigFile,
    keep: Keep,
    form: Form,
    nominal_hz: float,
) -> None:
    """No interruption beyond what the load survives, its whole power from the battery, a return in phase.

    The mains go by the source's relay opening. Not shown: mains that collapse and stay connected, as by a
    short circuit upstream, where the load may be without voltage until the product leaves them; an island
    that is not noticed, since the load takes just what the converter gives. The mains come back a little too
    fast, so that the island has to be brought in phase with them; a product that closes at any angle is
    within 20 degrees of them by chance once in nine times.
    """
    rated_w = product.ratings.discharge_power_w
    nominal_v = await grid.nominal_voltage_v()
    load_w = Measured(rig.topology.critical_load.power_w, 0.0, "W")
    power_w = 0.3 * rated_w

    def per_unit(voltage: Measured) -> Measured:
        return scaled(voltage, 1.0 / nominal_v, "1")

    await energise(grid, inverter, f0_hz=nominal_hz)
    await telemetry.look_through_a_voltage_step()
    await hold_power(inverter, power_w, tolerance_w=0.05 * rated_w)
    await telemetry.look("before the loss")
    before = await analyzer.values("pcs_ac")
    carried = await analyzer.values("load_ac")
    judge.stimulus("critical load", ratio(carried.power_w, load_w), "rackproof_bench.stimulus_load")

    # The mains go.
    names = (*channels("load_ac", currents=False), *channels("grid_ac", currents=False))
    async with capture(
        recorder, names, sample_rate_hz=LOSS_RATE_HZ, before_s=0.0, after_s=LOSS_CAPTURE_S, trigger="now"
    ) as complete:
        await asyncio.sleep(LOSS_AFTER_S)
        await grid.turn_off()
        off_s = now_s()
        waves = await complete()
    keep("loss of mains", waves)
    gone = waves["grid_ac.u1_v"]
    mains = rms_half_cycle(gone, nominal_hz, marks=half_cycle_marks(gone, nominal_hz, from_crossings=False))
    left_v = maximum(mains, (off_s + 0.1, off_s + 1.0))
    judge.stimulus("mains gone", per_unit(left_v), "rackproof_bench.stimulus_interruption")
    load = rms_across_phases([waves[name] for name in names[:3]])
    start_s = waves[names[0]].start_s
    judge.stimulus(
        "load alive before the loss",
        per_unit(minimum(load, (start_s, start_s + LOSS_AFTER_S / 2))),
        "rackproof_bench.stimulus_steady_voltage",
    )
    judge(
        "interruption at the loss",
        longest_interruption(load, ALIVE_SHARE * nominal_v),
        "product_limits.transfer_time",
    )

    # The battery carries the load.
    await asyncio.sleep(HOLD_S[form])
    forming = await inverter.is_grid_forming()
    judge("forms the island", forming, "rackproof_bench.is_true")
    await telemetry.look("on the island", with_grid=False)
    island = await analyzer.values("load_ac")
    judge("load carried", ratio(island.power_w, load_w), "rackproof_bench.delivered_power")
    async with capture(
        recorder, names[:3], sample_rate_hz=5000.0, before_s=0.0, after_s=1.0, trigger="now"
    ) as complete:
        waves = await complete()
    start_s = waves[names[0]].start_s
    for phase, name in enumerate(names[:3], 1):
        rms = rms_half_cycle(waves[name], nominal_hz)
        judge(
            "island voltage",
            per_unit(minimum(rms)),
            "product_limits.load_voltage",
            case=f"phase {phase}, lowest",
        )
        judge(
            "island voltage",
            per_unit(maximum(rms)),
            "product_limits.load_voltage",
            case=f"phase {phase}, highest",
        )
    frequency = mean_frequency_hz([waves[n] for n in names[:3]], nominal_hz, between=(start_s, start_s + 1.0))
    judge("island frequency", frequency, "product_limits.load_frequency")

    # The mains come back, and turn against the island.
    wait_s = product.inverter.enter_service.delay_s + 30.0
    names = (*names[:3], "grid_ac.u1_v")
    await grid.set_frequency_hz(nominal_hz + RETURN_OFF_HZ)
    async with capture(
        recorder, names, sample_rate_hz=RETURN_RATE_HZ, before_s=0.0, after_s=wait_s, trigger="now"
    ) as complete:
        await grid.turn_on()
        await asyncio.sleep(wait_s)
        waves = await complete()
    _judge_return(judge, [waves[name] for name in names[:3]], waves[names[3]], nominal_hz, nominal_v, product)
    forming = await wait_until(
        "back on the mains", inverter.is_grid_forming, lambda now: not now, within_s=60.0
    )
    judge("back on the mains", (await inverter.state()).value in RUNNING, "rackproof_bench.is_true")
    await hold_power(inverter, power_w, tolerance_w=0.05 * rated_w)
    after = await analyzer.values("pcs_ac")
    judge("power restored", ratio(after.power_w, before.power_w), "rackproof_bench.restored_power")
    await telemetry.look("after the return")
    await grid.set_frequency_hz(nominal_hz)
    alarms = await battery.alarms()
    for source in (alarms, await inverter.alarms()):
        judge(
            "alarms",
            measured(float(len(source.value)), "count", {}, sources=(source.source,)),
            "rackproof_bench.no_alarm",
            case=source.source,
        )
    telemetry.judge_changes()


def _judge_return(
    judge: Judge,
    load: Sequence[Waveform],
    mains: Waveform,
    nominal_hz: float,
    nominal_v: float,
    product: ProductFile,
) -> None:
    """Judge how the load went back to the mains, which turned against it.

    Args:
        load: the three voltages of the critical load.
        mains: phase 1 of the mains, on the other side of the product's switch.
    """
    start_s, gap_s = mains.start_s, product.limits.retransfer_time_max_s
    end_s = start_s + len(mains.samples) / mains.sample_rate_hz

    def per_unit(value: Measured) -> Measured:
        return scaled(value, 1.0 / nominal_v, "1") if value.unit == "V" else value

    judge.stimulus(
        "mains off nominal",
        difference(
            mean_frequency_hz([mains], nominal_hz, between=(end_s - 1.0, end_s)),
            measured(nominal_hz + RETURN_OFF_HZ, "Hz", {}),
        ),
        "rackproof_bench.stimulus_frequency",
    )
    judge(
        "interruption at the return",
        longest_interruption(rms_across_phases(load), ALIVE_SHARE * nominal_v),
        "product_limits.retransfer_time",
    )
    joined = closing(load[0], mains, nominal_hz, nominal_v=nominal_v, gap_s=gap_s)
    judge("angle at the return", joined.angle, "rackproof_bench.synchronism_angle")
    judge("frequency step at the return", joined.frequency, "rackproof_bench.synchronism_frequency")
    judge("voltage step at the return", per_unit(joined.voltage), "rackproof_bench.synchronism_voltage")
    # The break that is allowed has been judged: here counts what is before and after it.
    parts = [(start_s, end_s)]
    if joined.at_s < end_s:
        margin_s = gap_s + 1.0 / nominal_hz
        around = (start_s, joined.at_s - margin_s), (joined.at_s + margin_s, end_s)
        parts = [part for part in around if part[1] - part[0] > FREQUENCY_WINDOW_S]
    voltage_v = [rms_half_cycle(voltage, nominal_hz) for voltage in load]
    frequency_hz = [frequency_series(load, nominal_hz, window_s=FREQUENCY_WINDOW_S)]
    for case, extreme, furthest in (("lowest", minimum, min), ("highest", maximum, max)):
        for measure, found, requirement in (
            ("load voltage at the return", voltage_v, "product_limits.load_voltage"),
            ("load frequency at the return", frequency_hz, "product_limits.load_frequency"),
        ):
            values = [extreme(series, part) for series in found for part in parts]
            judge(measure, per_unit(furthest(values, key=lambda each: each.value)), requirement, case=case)
