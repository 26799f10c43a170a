"""The driver against its emulator over a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from drivers import ametek_sequoia
from harness.clock import now_s, real_s, run_virtual
from harness.errors import DeviceFault, DeviceRefused, WireTimeout
from harness.readings import Reading, Voice
from harness.roles import GridStep
from harness.testing.loopback import visa_pair
from harness.testing.recorder import completed

from ..stands import refuses

U1 = "grid_ac.u1_v"
ALL = [
    f"{node}{phase}_{unit}"
    for node, unit in (("grid_ac.u", "v"), ("pcs_ac.u", "v"), ("load_ac.i", "a"))
    for phase in (1, 2, 3)
]


def rms(samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


def test_a_sag_is_there_to_the_sample(bench):
    """Five cycles at 40 % from the edge on, 5 kS/s: depth, begin and end."""

    async def main():
        async with bench() as (driver, emulator, plant):
            await driver.arm([U1], sample_rate_hz=5_000.0, before_s=0.1, after_s=0.3)
            await asyncio.sleep(1.23404)
            edge_s = now_s()
            plant.advance(edge_s)
            low, full = (0.4, 0.4, 0.4), (1.0, 1.0, 1.0)
            plant.grid.play([GridStep(0.1, low, 50.0), GridStep(1.0, full, 50.0)])
            emulator.trigger(edge_s)
            await completed(driver, 2.0)
            return edge_s, (await driver.waveforms())[U1]

    edge_s, wave = run_virtual(main)
    times_s = wave.start_s + np.arange(len(wave.samples)) / 5_000.0
    before, during, after = (
        wave.samples[(times_s >= begin_s - 1e-6) & (times_s < begin_s + 0.08 - 1e-6)]
        for begin_s in (edge_s - 0.09, edge_s + 0.01, edge_s + 0.11)
    )
    assert [rms(before), rms(during), rms(after)] == pytest.approx([100.0, 40.0, 100.0], rel=0.002)
    # The analytic sine continues through the jump: the ratio to it says which level each sample has.
    sine = wave.samples[:500] @ np.exp(-2j * np.pi * 50.0 * (times_s[:500] - edge_s)) / 250.0
    expected = (sine * np.exp(2j * np.pi * 50.0 * (times_s - edge_s))).real
    is_clear = np.abs(expected) > 40.0
    level = wave.samples[is_clear] / expected[is_clear]
    is_low = (times_s[is_clear] >= edge_s - 1e-9) & (times_s[is_clear] < edge_s + 0.1 - 1e-9)
    assert level[is_low] == pytest.approx(0.4, abs=0.01)
    assert level[~is_low] == pytest.approx(1.0, abs=0.01)


def test_the_edge_of_a_source_marks_the_begin_of_its_sag(bench):
    """Source and recorder on one plant, wired as a rig wires them: the sag begins at the trigger."""

    async def main():
        async with bench() as (driver, emulator, plant):
            options = ametek_sequoia.Options(nominal_voltage_v=100.0, trigger_latency_s=0.0037)
            far = ametek_sequoia.Emulator("grid", plant, options)
            far.on_trigger = emulator.trigger
            async with visa_pair(far) as line:
                source = ametek_sequoia.Driver("grid", line, options, Voice("grid"))
                await source.open()
                await source.load_profile([GridStep(0.2, (0.4, 0.4, 0.4), 50.0)])
                await driver.arm([U1], sample_rate_hz=10_000.0, before_s=0.1, after_s=0.2)
                await source.start_profile()
                start_s = now_s()
                await completed(driver, 2.0)
                return start_s, (await driver.waveforms())[U1]

    start_s, wave = run_virtual(main)
    assert wave.start_s + 0.1 == pytest.approx(start_s + 0.0037, abs=1.01e-4)
    assert rms(wave.samples[:1_000]) == pytest.approx(100.0, rel=0.002)
    # The source takes 0.17 ms for the 60 V at 0.5 V/us of the peak: two samples.
    assert rms(wave.samples[1_003:2_803]) == pytest.approx(40.0, rel=0.002)


def test_the_first_sample_is_at_or_just_behind_the_time_asked_for(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            await driver.arm([U1], sample_rate_hz=1_000.0, before_s=0.05, after_s=0.1)
            await asyncio.sleep(0.30037)
            emulator.trigger(now_s())
            edge_s = now_s()
            await completed(driver, 2.0)
            wave = (await driver.waveforms())[U1]
            assert -1e-9 <= wave.start_s - (edge_s - 0.05) < 1e-3

    run_virtual(main)


def test_a_long_wait_for_the_edge_keeps_only_what_comes_before_it(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            await driver.arm([U1], sample_rate_hz=1_000.0, before_s=0.5, after_s=0.5)
            await asyncio.sleep(600.0)
            await driver.is_complete()
            emulator.trigger(now_s())
            edge_s = now_s()
            await completed(driver, 2.0)
            wave = (await driver.waveforms())[U1]
            assert len(wave.samples) == 1_000
            assert wave.start_s == pytest.approx(edge_s - 0.5, abs=1e-3)
            assert rms(wave.samples) == pytest.approx(100.0, rel=0.002)

    run_virtual(main)


def test_samples_are_quantised_to_16_bits(bench):
    async def main():
        async with bench() as (driver, _, _):
            await driver.arm([U1], sample_rate_hz=5_000.0, before_s=0.0, after_s=0.1, trigger="now")
            await completed(driver, 2.0)
            return (await driver.waveforms())[U1].samples

    steps = run_virtual(main) / (400.0 / 32_768)
    assert steps == pytest.approx(np.rint(steps), abs=1e-6)
    assert len(set(steps)) > 20


def test_an_edge_before_the_memory_is_full_is_ignored(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            arming = asyncio.ensure_future(
                driver.arm([U1], sample_rate_hz=1_000.0, before_s=0.5, after_s=0.1)
            )
            await asyncio.sleep(0.2)
            emulator.trigger(now_s())
            await arming
            assert now_s() == pytest.approx(0.5, abs=0.05)
            await asyncio.sleep(1.0)
            assert (await driver.is_complete()).value is False

    run_virtual(main)


def test_a_second_edge_changes_nothing(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            await driver.arm([U1], sample_rate_hz=1_000.0, before_s=0.1, after_s=0.5)
            emulator.trigger(now_s())
            edge_s = now_s()
            await asyncio.sleep(0.2)
            emulator.trigger(now_s())
            await completed(driver, 2.0)
            wave = (await driver.waveforms())[U1]
            assert wave.start_s == pytest.approx(edge_s - 0.1, abs=1e-3)

    run_virtual(main)


def test_over_range_is_a_fault_that_names_the_channel(bench):
    channels = (
        {"number": 1, "quantity": U1, "full_scale": 120.0},
        {"number": 2, "quantity": "grid_ac.u2_v", "full_scale": 400.0},
    )

    async def main() -> None:
        async with bench(channels=channels) as (driver, _, _):
            await driver.arm(
                [U1, "grid_ac.u2_v"], sample_rate_hz=1_000.0, before_s=0.0, after_s=0.1, trigger="now"
            )
            await completed(driver, 2.0)
            with pytest.raises(DeviceFault, match=r"grid_ac.u1_v \(beyond 120\);"):
                await driver.waveforms()

    run_virtual(main)


def test_frozen_samples_repeat_the_first(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            emulator.frozen = True
            await driver.arm([U1], sample_rate_hz=1_000.0, before_s=0.0, after_s=0.1, trigger="now")
            await completed(driver, 2.0)
            assert len(set((await driver.waveforms())[U1].samples)) == 1

    run_virtual(main)


def test_a_swapped_sign_turns_currents_only(bench):
    async def waves(*, swapped: bool):
        async with bench() as (driver, emulator, _):
            emulator.swapped_sign = swapped
            await driver.arm(
                ["load_ac.i1_a", U1], sample_rate_hz=1_000.0, before_s=0.0, after_s=0.1, trigger="now"
            )
            await completed(driver, 2.0)
            found = await driver.waveforms()
            return found["load_ac.i1_a"].samples, found[U1].samples

    current, voltage = run_virtual(lambda: waves(swapped=False))
    turned, same = run_virtual(lambda: waves(swapped=True))
    assert rms(current) > 1.0
    assert turned == pytest.approx(-current, abs=0.1)
    assert same == pytest.approx(voltage)


@pytest.mark.parametrize(("power_w", "sign"), [(3_000.0, 1.0), (-3_000.0, -1.0)])
def test_current_out_of_the_battery_is_positive(bench, power_w: float, sign: float):
    """Discharge at 3 kW and charge at 3 kW, on the DC side and, in phase with the voltage, on the AC side."""
    channels = (
        {"number": 1, "quantity": "battery_dc.i_a", "full_scale": 300.0},
        {"number": 2, "quantity": "pcs_ac.u1_v", "full_scale": 400.0},
        {"number": 3, "quantity": "pcs_ac.i1_a", "full_scale": 100.0},
    )

    async def main():
        async with bench(channels=channels) as (driver, _, plant):
            await asyncio.sleep(5.0)
            plant.advance(now_s())
            plant.converter.set_power_w(power_w)
            await asyncio.sleep(5.0)
            names = [str(channel["quantity"]) for channel in channels]
            await driver.arm(names, sample_rate_hz=5_000.0, before_s=0.0, after_s=0.2, trigger="now")
            await completed(driver, 2.0)
            waves = await driver.waveforms()
            return [waves[name].samples for name in names]

    battery_a, volts, amps = run_virtual(main)
    assert float(np.mean(battery_a)) * sign > 40.0
    assert float(np.mean(volts * amps)) == pytest.approx(power_w / 3.0, rel=0.02)


def test_a_reversed_probe_measures_the_same(bench):
    async def wave(*, is_reversed: bool):
        channel = {"number": 1, "quantity": U1, "full_scale": 400.0, "is_reversed": is_reversed}
        async with bench(channels=(channel,)) as (driver, _, _):
            await driver.arm([U1], sample_rate_hz=1_000.0, before_s=0.0, after_s=0.1, trigger="now")
            await completed(driver, 2.0)
            return (await driver.waveforms())[U1].samples

    straight = run_virtual(lambda: wave(is_reversed=False))
    assert run_virtual(lambda: wave(is_reversed=True)) == pytest.approx(straight, abs=0.5)


def test_a_silent_recorder_times_out(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            emulator.silent = True
            with pytest.raises(WireTimeout):
                await driver.is_complete()

    run_virtual(main)


def test_the_emulator_refuses_what_does_not_fit(bench):
    async def main() -> None:
        async with bench(memory_samples=1_000) as (driver, emulator, _):
            await emulator.answer(b"ACQ:PRE 500;:ACQ:POST 501;:ACQ:ARM")
            assert await emulator.answer(b"SYST:ERR?") == b'-225,"Out of memory"'
            with pytest.raises(DeviceRefused, match="1001 samples a channel; 1000 are allowed"):
                await driver.arm([U1], sample_rate_hz=1_000.0, before_s=0.5, after_s=0.501)

    run_virtual(main)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"WAV:DATA? 1,0,10", -230),
        (b"CHAN:RANG 12,5", -224),
        (b"CHAN:RANG 1", -109),
        (b"ACQ:SRAT 1E9", -222),
        (b"TRIG:SOUR MAYBE", -224),
        (b"WAV:FORM?", -113),
    ],
)
def test_the_emulator_says_what_it_does_not_understand(bench, message: bytes, code: int):
    async def main() -> None:
        async with bench() as (_, emulator, _):
            await refuses(emulator, message, code)

    run_virtual(main)


def test_commands_and_readings_pass_the_voice(bench):
    readings: list[Reading[Any]] = []
    commands: list[str] = []
    voice = Voice("daq", readings.append, lambda command, at_s, asked: commands.append(command))

    async def main() -> None:
        async with bench(voice) as (driver, _, _):
            await driver.arm([U1], sample_rate_hz=1_000.0, before_s=0.0, after_s=0.1, trigger="now")
            await asyncio.sleep(1.0)
            await driver.is_complete()

    run_virtual(main)
    assert commands == ["daq.arm"]
    assert [(reading.source, reading.value) for reading in readings] == [("daq.is_complete", True)]


def test_reads_288_s_of_nine_channels_within_two_seconds_of_real_time(bench):
    async def main() -> float:
        async with bench() as (driver, emulator, _):
            await driver.arm(ALL, sample_rate_hz=5_000.0, before_s=1.0, after_s=287.0)
            emulator.trigger(now_s())
            await completed(driver, 300.0, poll_s=5.0)
            began_s = real_s()
            waves = await driver.waveforms()
            took_s = real_s() - began_s
            assert all(len(wave.samples) == 1_440_000 for wave in waves.values())
            assert len(waves) == 9
            return took_s

    took_s = run_virtual(main)
    assert took_s < 2.0
