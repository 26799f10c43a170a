"""Hardware layers are kept quiet by whoever lives, and one that has acted is found out."""

from __future__ import annotations

import asyncio

from harness.clock import run_virtual
from harness.rig.bench import Setup, open_bench
from harness.rig.files import load_product, load_rig
from harness.safety.watch import disarm_watchdogs, feed_watchdogs
from rackproof_fixtures.steps import energise

from ..processes import LAB1, LFP_RACK


def fed(disturb):
    """Discharge on lab1 with all layers armed and fed; gives the breaches, and the power at the end."""
    setup = Setup(rig=load_rig(LAB1), product=load_product(LFP_RACK), f0_hz=60.0, seed=1)
    layers = setup.rig.safe_state.hardware_layers

    async def main():
        breaches = []
        async with open_bench(setup, emulate=True) as bench:
            inverter = bench.role("inverter")
            await energise(bench.role("grid_source"), inverter, f0_hz=60.0)
            settings = await inverter.settings()
            for layer in layers.values():
                await bench.devices[layer.device].arm_watchdog(layer.timeout_s)
            feeding = asyncio.create_task(feed_watchdogs(bench, layers, breaches.append))
            await inverter.set_power_w(5000.0)
            await asyncio.sleep(30.0)
            await disturb(bench)
            await asyncio.sleep(10.0)
            feeding.cancel()
            await disarm_watchdogs(bench)
            after = await inverter.settings()
            left = {name for name in settings if after[name] != settings[name]} - {"704.WSet"}
            side = bench.far_side
            side.advance()
            return breaches, side.plant.converter.power_w, side.emulators["safety"].outputs, left

    return run_virtual(main)


async def not_at_all(bench):
    pass


def silent_for_5_s(device):
    async def disturb(bench):
        emulator = bench.far_side.emulators[device]
        emulator.silent = True
        await asyncio.sleep(5.0)
        emulator.silent = False

    return disturb


def test_layers_that_are_fed_take_nothing_away():
    breaches, power_w, outputs, left = fed(not_at_all)
    assert breaches == []
    assert abs(power_w - 5000.0) < 100.0
    assert all(outputs.values())
    assert not left


def test_a_converter_that_went_to_zero_by_itself_is_a_breach():
    """A plan would go on, and judge a product that was never commanded."""
    (breach,), power_w, outputs, left = fed(silent_for_5_s("pcs"))
    assert breach.cause == "guard"
    assert breach.text.startswith("hardware layer converter_reversion: pcs: ")
    assert abs(power_w) < 100.0
    assert all(outputs.values())  # the other layer stands on a wire of its own
    assert not left


def test_a_coupler_that_dropped_its_outputs_is_a_breach():
    (breach,), power_w, outputs, _ = fed(silent_for_5_s("safety"))
    assert breach.text.startswith("hardware layer coupler_watchdog: safety: ")
    assert not any(outputs.values())
    assert abs(power_w) < 100.0
