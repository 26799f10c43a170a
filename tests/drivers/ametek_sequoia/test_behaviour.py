"""The driver against its emulator over a socket, and the emulator's own traps."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from harness.clock import now_s, run_virtual
from harness.errors import DeviceRefused, WireTimeout
from harness.readings import Reading, Voice
from harness.roles import GridStep

from ..stands import refuses

NOMINAL_V = 120.0
FLAT = (1.0, 1.0, 1.0)
HALF = (0.5, 0.5, 0.5)


async def ready(driver, frequency_hz: float = 60.0) -> None:
    await driver.set_voltage_v(NOMINAL_V)
    await driver.set_frequency_hz(frequency_hz)
    await driver.turn_on()


async def levels_at(plant, times_s) -> list[float]:
    """Voltage of phase 1 at rig times to come."""
    found = []
    for time_s in times_s:
        await asyncio.sleep(time_s - now_s())
        plant.advance(now_s())
        found.append(plant.grid.voltage_v(1) / NOMINAL_V)
    return found


def test_a_sag_begins_and_ends_where_it_was_asked(bench):
    async def main() -> None:
        async with bench() as (driver, _, plant):
            await ready(driver)
            await driver.load_profile(
                [GridStep(0.5, FLAT, 60.0), GridStep(0.16, HALF, 60.0), GridStep(1.0, FLAT, 60.0)]
            )
            start_s = now_s()
            await driver.start_profile()
            edges = [start_s + offset for offset in (0.499, 0.501, 0.659, 0.661)]
            assert await levels_at(plant, edges) == pytest.approx([1.0, 0.5, 0.5, 1.0], abs=0.002)

    run_virtual(main)


def test_a_step_takes_the_machines_rise_time(bench):
    """0.05 V/us of the peak: 60 V RMS take 1.7 ms, and half of them half of that."""

    async def main() -> None:
        async with bench(voltage_slew_v_per_us=0.05) as (driver, _, plant):
            await ready(driver)
            await driver.load_profile([GridStep(0.5, FLAT, 60.0), GridStep(0.5, HALF, 60.0)])
            start_s = now_s()
            await driver.start_profile()
            rise_s = 60.0 * 2.0**0.5 / 0.05e6
            times = [start_s + 0.5 + rise_s / 2.0, start_s + 0.5 + rise_s * 1.01]
            assert await levels_at(plant, times) == pytest.approx([0.75, 0.5], abs=0.003)

    run_virtual(main)


def test_unbalanced_lists_reach_their_own_phase_only(bench):
    async def main() -> None:
        async with bench() as (driver, _, plant):
            await ready(driver)
            await driver.load_profile([GridStep(1.0, (0.2, 1.0, 0.8), 60.0)])
            await driver.start_profile()
            await asyncio.sleep(0.5)
            plant.advance(now_s())
            found = [plant.grid.voltage_v(phase) / NOMINAL_V for phase in (1, 2, 3)]
            assert found == pytest.approx([0.2, 1.0, 0.8], abs=0.002)

    run_virtual(main)


def test_a_frequency_ramp_runs_at_its_slew(bench):
    async def main() -> None:
        async with bench() as (driver, _, plant):
            await ready(driver)
            await driver.load_profile([GridStep(1.0, FLAT, 60.0), GridStep(2.0, FLAT, 57.0, is_ramp=True)])
            await driver.start_profile()
            for after_s, hertz in ((1.0, 60.0), (1.0, 58.5), (0.5, 57.75)):
                await asyncio.sleep(after_s)
                plant.advance(now_s())
                assert plant.grid.frequency_hz == pytest.approx(hertz, abs=0.01)

    run_virtual(main)


def test_it_runs_to_the_end_of_a_long_last_step(bench):
    """TRIG:STAT? alone would say IDLE at the begin of the last step: the short last point holds it."""

    async def main() -> None:
        async with bench() as (driver, emulator, _):
            await ready(driver)
            await driver.load_profile([GridStep(0.5, HALF, 60.0), GridStep(5.0, FLAT, 60.0)])
            await driver.start_profile()
            await asyncio.sleep(5.4)
            assert (await driver.is_profile_running()).value is True
            await asyncio.sleep(0.2)
            assert (await driver.is_profile_running()).value is False
            await emulator.answer(b":list:rep 0,0;:list:dwel 0.5,5;:list:freq 60,60;:list:freq:slew MAX,MAX")
            for phase in b"123":
                await emulator.answer(b":inst:nsel %c;:list:volt 60,120;:list:volt:slew MAX,MAX" % phase)
                await emulator.answer(b":list:func SINE,SINE")
            await emulator.answer(b":init")
            await asyncio.sleep(2.0)
            assert await emulator.answer(b":trig:stat?;:syst:err?") == b'IDLE;0,"No error"'

    run_virtual(main)


def test_the_edge_leaves_when_the_list_starts(bench):
    async def main() -> None:
        async with bench(trigger_latency_s=0.0125) as (driver, emulator, _):
            edges: list[float] = []
            emulator.on_trigger = edges.append
            await ready(driver)
            await driver.load_profile([GridStep(1.0, HALF, 60.0)])
            assert edges == []
            start_s = now_s()
            await driver.start_profile()
            await asyncio.sleep(0.5)
            assert edges == [start_s + 0.0125]
            assert (await driver.voltage_v(1)).value == pytest.approx(60.0, rel=0.005)

    run_virtual(main)


def test_no_edge_unless_the_output_is_switched_on(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            edges: list[float] = []
            emulator.on_trigger = edges.append
            await driver.load_profile([GridStep(1.0, HALF, 60.0)])
            await emulator.answer(b":outp:ttlt off")
            await driver.start_profile()
            assert edges == []

    run_virtual(main)


def test_a_stopped_start_never_comes(bench):
    async def main() -> None:
        async with bench(trigger_latency_s=0.5) as (driver, emulator, _):
            edges: list[float] = []
            emulator.on_trigger = edges.append
            await ready(driver)
            await driver.load_profile([GridStep(1.0, HALF, 60.0)])
            await driver.start_profile()
            await driver.stop_profile()
            await asyncio.sleep(1.0)
            assert edges == []
            assert (await driver.voltage_v(1)).value == pytest.approx(NOMINAL_V, rel=0.005)

    run_virtual(main)


def test_unequal_lists_are_refused_at_the_start(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            await ready(driver)
            await driver.load_profile([GridStep(1.0, HALF, 60.0), GridStep(1.0, FLAT, 60.0)])
            await emulator.answer(b":inst:nsel 2;:list:volt 1,2,3,4")
            with pytest.raises(DeviceRefused, match="-226 Lists not same length"):
                await driver.start_profile()
            await asyncio.sleep(0.5)
            assert (await driver.voltage_v(1)).value == pytest.approx(NOMINAL_V, rel=0.005)

    run_virtual(main)


def test_a_list_of_one_stands_for_all_points(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            await ready(driver)
            await driver.load_profile([GridStep(1.0, HALF, 60.0), GridStep(1.0, FLAT, 60.0)])
            await emulator.answer(b":inst:coup none;:inst:nsel 1;:list:volt 30")
            await driver.start_profile()
            await asyncio.sleep(1.5)
            assert (await driver.voltage_v(1)).value == pytest.approx(30.0, rel=0.005)
            assert (await driver.voltage_v(2)).value == pytest.approx(120.0, rel=0.005)

    run_virtual(main)


def test_a_second_start_while_it_plays_is_refused(bench):
    async def main() -> None:
        async with bench() as (driver, _, _):
            await driver.load_profile([GridStep(10.0, HALF, 60.0)])
            await driver.start_profile()
            with pytest.raises(DeviceRefused, match="-213"):
                await driver.start_profile()

    run_virtual(main)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b":volt 151", -222),
        (b":freq 15", -222),
        (b":list:dwel 0.5,0.0005", -222),
        (b":list:volt " + b",".join([b"1"] * 101), -223),
        (b":volt:levle 3", -113),
        (b":list:phas 0,20", -113),
        (b":volt twelve", -104),
        (b":volt", -109),
        (b":volt:mode maybe", -224),
    ],
)
def test_the_emulator_says_what_it_does_not_understand(bench, message: bytes, code: int):
    async def main() -> None:
        async with bench() as (_, emulator, _):
            await refuses(emulator, message, code)

    run_virtual(main)


def test_coupled_phases_take_each_others_lists(bench):
    async def main() -> None:
        async with bench() as (_, emulator, _):
            await emulator.answer(b":inst:coup all;:inst:nsel 1;:volt 100")
            assert await emulator.answer(b":inst:nsel 3;:volt?") == b"100.000"
            await emulator.answer(b":inst:coup none;:inst:nsel 1;:volt 90")
            assert await emulator.answer(b":inst:nsel 3;:volt?;:inst:nsel 1;:volt?") == b"100.000;90.000"

    run_virtual(main)


def test_a_phase_jump_reaches_the_plant_once(bench):
    """60 Hz for 1.5 s are 90 turns; the jump of 20 degrees adds 1/18 of one."""

    async def main() -> None:
        async with bench(phase_list=True) as (driver, _, plant):
            await ready(driver)
            await driver.load_profile(
                [GridStep(1.0, FLAT, 60.0), GridStep(2.0, FLAT, 60.0, phase_jump_deg=20.0)]
            )
            plant.advance(now_s())
            before = plant.grid.turns
            await driver.start_profile()
            await asyncio.sleep(1.5)
            plant.advance(now_s())
            assert plant.grid.turns - before == pytest.approx(90.0 + 20.0 / 360.0, abs=1e-6)

    run_virtual(main)


def test_the_output_stays_at_the_last_point_until_it_is_stopped(bench):
    async def main() -> None:
        async with bench() as (driver, _, _):
            await ready(driver)
            await driver.load_profile([GridStep(1.0, HALF, 58.0)])
            await driver.start_profile()
            await asyncio.sleep(10.0)
            assert (await driver.is_profile_running()).value is False
            assert (await driver.voltage_v(1)).value == pytest.approx(60.0, rel=0.005)
            await driver.stop_profile()
            assert (await driver.voltage_v(1)).value == pytest.approx(NOMINAL_V, rel=0.005)
            assert (await driver.frequency_hz()).value == pytest.approx(60.0, abs=0.01)

    run_virtual(main)


def test_reset_opens_the_relay(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, _):
            await ready(driver)
            await emulator.answer(b"*RST")
            assert (await driver.is_on()).value is False

    run_virtual(main)


def test_frozen_telemetry_hides_a_change(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, plant):
            await ready(driver)
            before = await driver.voltage_v(1)
            emulator.frozen = True
            await driver.set_voltage_v(60.0)
            assert (await driver.voltage_v(1)).value == before.value
            plant.advance(now_s())
            assert plant.grid.voltage_v(1) == pytest.approx(60.0, rel=0.005)

    run_virtual(main)


def test_a_silent_source_times_out_and_does_nothing(bench):
    async def main() -> None:
        async with bench() as (driver, emulator, plant):
            await ready(driver)
            emulator.silent = True
            began_s = now_s()
            with pytest.raises(WireTimeout):
                await driver.turn_off()
            assert now_s() - began_s == pytest.approx(2.0)
            plant.advance(now_s())
            assert plant.grid.is_relay_closed

    run_virtual(main)


def test_every_reading_and_command_passes_the_voice(bench):
    readings: list[Reading[Any]] = []
    commands: list[str] = []
    voice = Voice("grid", readings.append, lambda command, at_s, asked: commands.append(command))

    async def main() -> None:
        async with bench(voice) as (driver, _, _):
            await ready(driver)
            await driver.load_profile([GridStep(1.0, HALF, 60.0)])
            await driver.start_profile()
            await driver.voltage_v(3)
            await driver.frequency_hz()
            await driver.is_profile_running()
            await driver.stop_profile()
            await driver.is_on()
            await driver.turn_off()

    run_virtual(main)
    assert [reading.source for reading in readings] == [
        "grid.u3_v",
        "grid.frequency_hz",
        "grid.is_profile_running",
        "grid.is_on",
    ]
    assert commands == [
        f"grid.{verb}"
        for verb in (
            "set_voltage_v",
            "set_frequency_hz",
            "turn_on",
            "load_profile",
            "start_profile",
            "stop_profile",
            "turn_off",
        )
    ]


def test_measurement_noise_is_the_same_in_each_run(bench):
    async def main() -> list[float]:
        async with bench() as (driver, _, _):
            await ready(driver)
            return [(await driver.voltage_v(1)).value for _ in range(4)]

    first, second = run_virtual(main), run_virtual(main)
    assert first == second
    assert len(set(first)) > 1


def test_angles_of_phases_reach_the_plant_and_end_with_the_profile(bench):
    """A two-phase sag: phases 2 and 3 drawn together by 41 degrees, with a jump of all by 10 before it."""

    async def main() -> None:
        async with bench(phase_list=True) as (driver, _, plant):
            await ready(driver)
            low = GridStep(1.0, (1.0, 0.53, 0.53), 60.0, phase_jump_deg=10.0, angle_deg=(5.0, -41.0, 41.0))
            await driver.load_profile([GridStep(1.0, FLAT, 60.0), low])
            await driver.start_profile()
            plant.advance(now_s())
            before, straight = plant.grid.turns, plant.grid.emf_v
            await asyncio.sleep(1.5)
            plant.advance(now_s())
            # Phase 1's own angle moves the frame, the others are programmed relative to it.
            assert plant.grid.turns - before == pytest.approx(90.0 + 15.0 / 360.0, abs=1e-6)
            turned = [np.angle(v / s, deg=True) for v, s in zip(plant.grid.emf_v, straight, strict=True)]
            assert turned == pytest.approx([0.0, -46.0, 36.0], abs=0.01)
            await driver.stop_profile()
            plant.advance(now_s())
            assert plant.grid.emf_v == pytest.approx(straight)

    run_virtual(main)
