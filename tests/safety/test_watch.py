"""Hardware layers are kept quiet by whoever lives, and one that has acted is found out."""

from __future__ import annotations

import asyncio

import pytest

from harness.clock import run_virtual
from harness.errors import BenchError
from harness.rig.bench import Setup, open_bench
from harness.rig.files import load_product, load_rig
from harness.safety.watch import held_watchdogs
from rackproof_fixtures.steps import energise

from ..processes import LAB1, LFP_RACK


def fed(disturb):
    """Discharge on lab1 with all layers armed and fed; gives the breaches, and the power at the end."""
    setup = Setup(rig=load_rig(LAB1), product=load_product(LFP_RACK), f0_hz=60.0, seed=1)

    async def main():
        breaches = []
        async with open_bench(setup, emulate=True) as bench:
            inverter = bench.role("inverter")
            await energise(bench.role("grid_source"), inverter, f0_hz=60.0)
            settings = await inverter.settings()
            side = bench.far_side
            async with held_watchdogs(bench, breaches.append):
                await inverter.set_power_w(5000.0)
                await asyncio.sleep(30.0)
                await disturb(bench)
                await asyncio.sleep(10.0)
                side.advance()
                power_w = side.plant.converter.power_w
            after = await inverter.settings()
            left = {name for name in settings if after[name] != settings[name]} - {"704.WSet"}
            return breaches, power_w, side.emulators["safety"].outputs, left

    return run_virtual(main)


async def not_at_all(bench):
    pass


def silent_for(duration_s, device):
    async def disturb(bench):
        emulator = bench.far_side.emulators[device]
        emulator.silent = True
        await asyncio.sleep(duration_s)
        emulator.silent = False

    return disturb


async def lifeless(bench):
    bench.far_side.emulators["pcs"].lifeless = True


def test_layers_that_are_fed_take_nothing_away():
    breaches, power_w, outputs, left = fed(not_at_all)
    assert breaches == []
    assert abs(power_w - 5000.0) < 100.0
    assert all(outputs.values())
    assert not left


def test_a_converter_that_went_to_zero_by_itself_is_a_breach():
    """A plan would go on, and judge a product that was never commanded."""
    (breach,), power_w, outputs, left = fed(silent_for(2.2, "pcs"))
    assert breach.cause == "guard"
    assert breach.text.startswith("hardware layer converter_reversion: pcs: ")
    assert abs(power_w) < 100.0
    assert all(outputs.values())  # the other layer stands on a wire of its own
    assert not left


def test_a_converter_that_missed_its_controller_stops_and_is_a_breach():
    """Later than its power went to zero, and for good: it is off."""
    breaches, power_w, outputs, left = fed(silent_for(6.0, "pcs"))
    said = sorted(breach.text for breach in breaches)
    assert [text.partition(":")[0] for text in said] == [
        "hardware layer converter_heartbeat",
        "hardware layer converter_reversion",
    ]
    assert "715.OpCtl is STOP" in said[0]
    assert power_w == 0.0
    assert all(outputs.values())
    assert not left


def test_a_converter_that_would_miss_nobody_is_a_breach():
    """The layer is lost while all else goes on: telemetry, commands, and the layers beside it."""
    (breach,), power_w, outputs, left = fed(lifeless)
    assert breach.text.startswith("hardware layer converter_heartbeat: pcs: ")
    assert "715.DERHb) stands at" in breach.text
    assert abs(power_w - 5000.0) < 100.0
    assert all(outputs.values())
    assert not left


def test_a_coupler_that_dropped_its_outputs_is_a_breach():
    (breach,), power_w, outputs, _ = fed(silent_for(5.0, "safety"))
    assert breach.text.startswith("hardware layer coupler_watchdog: safety: ")
    assert not any(outputs.values())
    assert abs(power_w) < 100.0


def test_a_layer_that_nobody_has_is_named():
    """A rig file's slip of the pen shows when it is armed, and nothing is energised."""
    rig = load_rig(LAB1)
    layers = rig.safe_state.hardware_layers
    slip = layers["converter_heartbeat"].model_copy(update={"watchdog": "heartbeet"})
    part = rig.safe_state.model_copy(update={"hardware_layers": {"converter_heartbeat": slip}})
    rig = rig.model_copy(update={"safe_state": part})
    setup = Setup(rig=rig, product=load_product(LFP_RACK), f0_hz=60.0)

    async def main():
        async with open_bench(setup, emulate=True) as bench, held_watchdogs(bench, print):
            pass

    with pytest.raises(
        BenchError, match=r"hardware_layers\.converter_heartbeat: there is no pcs's heartbeet"
    ):
        run_virtual(main)
