"""The driver against the emulator over a real socket: what goes well, and all that does not."""

from __future__ import annotations

import asyncio
import itertools
import math

import pytest
from pydantic import ValidationError

from drivers.yokogawa_wt1800e import Emulator, Options, points
from harness.clock import now_s, run_virtual
from harness.errors import CodecError, DeviceFault, DeviceRefused, StaleReading, WireTimeout
from harness.readings import Voice
from harness.wires.faults import StreamFaults


def power(plant, power_w):
    plant.advance(now_s())
    plant.converter.turn_on()
    plant.converter.set_power_w(power_w)


def on_bench(bench, check, **changes):
    async def main():
        async with bench(**changes) as (driver, emulator, plant):
            return await check(driver, emulator, plant)

    return run_virtual(main)


@pytest.mark.parametrize("power_w", [4000.0, -4000.0], ids=["discharge", "charge"])
def test_every_node_has_the_rigs_sign(bench, power_w):
    """pcs_ac is wired with its clamps turned, the others are not: all come out in the rig's convention."""

    async def check(driver, emulator, plant):
        power(plant, power_w)
        await asyncio.sleep(5.0)
        return {node: await driver.values(node) for node in await driver.nodes()}

    values = on_bench(bench, check)
    assert values["pcs_ac"].power_w.value == pytest.approx(power_w, abs=20.0)
    assert math.copysign(1.0, values["battery_dc"].current_a.value) == math.copysign(1.0, power_w)
    assert math.copysign(1.0, values["battery_dc"].power_w.value) == math.copysign(1.0, power_w)
    assert values["load_ac"].power_w.value == pytest.approx(2000.0, abs=25.0)
    assert values["grid_ac"].power_w.value == pytest.approx(power_w - 2000.0, abs=60.0)


def test_swapped_sign_shows_in_power_current_and_energy(bench):
    async def check(driver, emulator, plant):
        power(plant, 4000.0)
        emulator.swapped_sign = True
        await driver.start_integration()
        await asyncio.sleep(10.0)
        return await driver.values("battery_dc"), await driver.energy("battery_dc")

    values, energy = on_bench(bench, check)
    assert values.power_w.value < -3000.0
    assert values.current_a.value < -50.0
    assert values.voltage_v.value > 45.0
    assert energy.in_j.value > 20_000.0
    assert energy.charge_in_c.value > 400.0
    assert energy.out_j.value == 0.0


def heard(emulator):
    """Give the list of what the instrument is asked from now on."""
    messages, answer = [], emulator.answer

    async def keep(message):
        messages.append(message)
        return await answer(message)

    emulator.answer = keep
    return messages


def test_all_nodes_of_an_update_cost_two_queries(bench):
    """One look at the events, one read-out; a plan polls with this at 1 Hz."""

    async def check(driver, emulator, plant):
        messages = heard(emulator)
        await driver.values("pcs_ac")
        messages.clear()
        for _ in range(10):
            for node in ("pcs_ac", "battery_dc", "load_ac", "grid_ac"):
                await driver.values(node)
        assert messages == [points.EVENTS.encode(), points.VALUES.encode()] * 10

    on_bench(bench, check)


def test_an_update_that_is_looked_for_seldom_costs_three_queries(bench):
    """The look that clears an old event, wherever in an interval it falls, costs no search for the next."""

    async def check(driver, emulator, plant):
        messages = heard(emulator)
        await asyncio.sleep(math.ceil(now_s()) + 0.04 - now_s())  # the moment is found 40 ms late
        await driver.values("pcs_ac")
        start_s = now_s()
        messages.clear()
        # All phases of an interval within four minutes, after which the moment is found anew.
        for number in range(1, 81):
            await asyncio.sleep(start_s + 3.0125 * number - now_s())
            read = await driver.values("pcs_ac")
            assert now_s() - read.power_w.window_s[1] < 0.1
        assert messages == [points.EVENTS.encode(), points.EVENTS.encode(), points.VALUES.encode()] * 80

    on_bench(bench, check)


@pytest.mark.parametrize(("pause_s", "apart_s", "count"), [(0.0, 1.0, 300), (0.3, 1.0, 60), (6.2, 7.0, 60)])
def test_no_update_is_missed_or_read_twice_in_a_long_run(bench, pause_s, apart_s, count):
    """The moment of the updates is found anew now and then, whatever the caller does between."""

    async def check(driver, emulator, plant):
        ends_s = []
        for _ in range(count):
            ends_s.append((await driver.values("load_ac")).power_w.window_s[1])
            await asyncio.sleep(pause_s)
        return ends_s

    ends_s = on_bench(bench, check)
    steps_s = [after - before for before, after in itertools.pairwise(ends_s)]
    assert max(abs(step_s - apart_s) for step_s in steps_s) < 0.06


def test_values_are_the_means_between_exact_boundaries(bench):
    """Power that is there for a quarter of an update shows as a quarter."""

    async def check(driver, emulator, plant):
        await driver.values("load_ac")  # ends at 1 s
        await asyncio.sleep(1.75 - now_s())
        plant.advance(now_s())
        plant.load.set_power_w(4000.0)
        return await driver.values("load_ac"), await driver.values("load_ac")

    during, after = on_bench(bench, check)
    assert during.power_w.window_s[1] == pytest.approx(2.0)
    assert during.power_w.value == pytest.approx(2500.0, abs=25.0)
    assert after.power_w.value == pytest.approx(4000.0, abs=25.0)


def test_over_range_is_a_fault_that_names_the_item(bench, nodes):
    small = {**nodes, "load_ac": {**nodes["load_ac"], "i_range_a": 2}}

    async def check(driver, emulator, plant):
        await driver.values("pcs_ac")
        with pytest.raises(DeviceFault, match=r"analyzer: URMS,5 at load_ac: over-range \(inf\)"):
            await driver.values("load_ac")

    on_bench(bench, check, nodes=small)


def test_a_dead_line_has_a_voltage_and_no_frequency(bench):
    async def check(driver, emulator, plant):
        plant.advance(now_s())
        plant.grid.open_relay()
        await asyncio.sleep(3.0)
        dead = await driver.values("grid_ac")
        assert dead.voltage_v.value == pytest.approx(0.0, abs=0.1)
        with pytest.raises(DeviceFault, match=r"analyzer\.grid_ac\.frequency_hz: no value"):
            _ = dead.frequency_hz

    on_bench(bench, check)


def test_held_on_the_front_panel_is_stale(bench):
    async def check(driver, emulator, plant):
        await driver.values("pcs_ac")
        await emulator.answer(b":HOLD ON")
        asked_s = now_s()
        with pytest.raises(StaleReading, match=r"no update within 3 intervals of 1 s.*held"):
            await driver.values("pcs_ac")
        assert now_s() - asked_s < 4.5
        await emulator.answer(b":HOLD OFF")
        assert (await driver.values("pcs_ac")).voltage_v.value > 100.0

    on_bench(bench, check)


def test_the_event_of_an_older_update_is_no_news(bench):
    """Updates went on while nobody asked, and ended before somebody did."""

    async def check(driver, emulator, plant):
        await driver.values("pcs_ac")
        await asyncio.sleep(5.5)
        await emulator.answer(b":HOLD ON")
        await asyncio.sleep(5.0)
        with pytest.raises(StaleReading):
            await driver.values("pcs_ac")

    on_bench(bench, check)


def test_frozen_values_stay_while_updates_go_on(bench):
    async def check(driver, emulator, plant):
        before = await driver.values("load_ac")
        emulator.frozen = True
        plant.advance(now_s())
        plant.load.set_power_w(500.0)
        await asyncio.sleep(5.0)
        after = await driver.values("load_ac")
        assert after.power_w.value == before.power_w.value
        assert after.power_w.window_s[0] > before.power_w.window_s[1]
        emulator.frozen = False
        assert (await driver.values("load_ac")).power_w.value == pytest.approx(500.0, abs=25.0)

    on_bench(bench, check)


def test_silence_times_out_and_takes_two_virtual_seconds(bench):
    async def check(driver, emulator, plant):
        emulator.silent = True
        asked_s = now_s()
        with pytest.raises(WireTimeout):
            await driver.update_interval_s()
        assert now_s() - asked_s == pytest.approx(2.0)

    on_bench(bench, check)


def test_a_damaged_answer_is_a_codec_error_and_the_next_is_sound(bench):
    faults = StreamFaults()

    async def check(driver, emulator, plant):
        await driver.values("pcs_ac")
        faults.corrupt(1)
        with pytest.raises(CodecError):
            await driver.energy("pcs_ac")
        assert (await driver.values("pcs_ac")).voltage_v.value > 100.0

    on_bench(bench, check, faults=faults)


def test_a_refused_setting_carries_the_instruments_code_and_text(bench):
    async def check(driver, emulator, plant):
        await driver.start_integration()
        with pytest.raises(DeviceRefused, match=r"analyzer: ':RATE 500MS' refused: 813 Invalid operation"):
            await driver.set_update_interval_s(0.5)
        assert await driver.update_interval_s() == 1.0
        await driver.stop_integration()
        with pytest.raises(DeviceRefused, match="844"):
            await driver.stop_integration()
        await driver.set_update_interval_s(0.5)
        assert await driver.update_interval_s() == 0.5

    on_bench(bench, check)


def test_an_integration_that_was_left_running_is_ended_by_open(bench):
    async def check(driver, emulator, plant):
        await driver.start_integration()
        await driver.close()
        await driver.open()
        assert await emulator.answer(b":INTEGRATE:STATE?") == b"RESET"

    on_bench(bench, check)


def test_the_timer_ends_an_integration_to_the_moment(plant, nodes):
    async def main():
        emulator = Emulator("wt", plant, Options.model_validate({"nodes": nodes}))
        await emulator.start()
        for message in (
            b":COMM:HEAD OFF;:NUM:NUM 2;:NUM:ITEM1 TIME,5;ITEM2 WHP,5",
            b":INPUT:VOLT:RANG:ELEM5 150V;:INPUT:CURR:RANG:ELEM5 20A",
            b":INTEG:TIM 0,1,0",
            b":INTEG:STAR",
        ):
            assert await emulator.answer(message) is None
        await asyncio.sleep(200.0)
        return await emulator.answer(b":INTEG:STATE?"), await emulator.answer(b":NUM:VAL?")

    state, values = run_virtual(main)
    assert state == b"TIMEUP"
    seconds, watt_hours = (float(field) for field in values.decode().split(","))
    assert seconds == 60.0
    assert watt_hours == pytest.approx(2000.0 / 3.0 / 60.0, rel=0.004)


def test_the_same_rig_gives_the_same_values_and_another_name_others(bench, plant, nodes):
    async def check(driver, emulator, plant):
        return [(await driver.values("pcs_ac")).voltage_v.value for _ in range(5)]

    first = on_bench(bench, check)
    assert on_bench(bench, check) == first
    assert len(set(first)) > 1


def test_after_an_idle_hour_the_values_are_new(bench):
    """The emulator stops looking at the plant after a minute without a message, and no value is old."""

    async def check(driver, emulator, plant):
        await driver.values("load_ac")
        await asyncio.sleep(3600.0)
        plant.advance(now_s())
        plant.load.set_power_w(800.0)
        assert await emulator.answer(points.VALUES.encode()) is not None
        values = await driver.values("load_ac")
        assert values.power_w.value == pytest.approx(800.0, abs=25.0)
        assert values.power_w.window_s[0] >= 3600.0

    on_bench(bench, check)


def test_a_screen_that_is_not_full_yet_is_refused_with_the_instruments_own_word(bench):
    """The emulated screen has 50 ms of the plant's past; the instrument is silent, and its queue says why."""

    async def check(driver, emulator, plant):
        with pytest.raises(DeviceRefused, match=r":WAVeform:SEND\?' refused: 221 "):
            await driver.envelope("pcs_ac", "u", 2)
        await asyncio.sleep(1.0)
        return await driver.envelope("pcs_ac", "u", 2)

    assert len(on_bench(bench, check).lowest) == 801


def test_the_waveform_is_801_pairs_that_bracket_the_sine(bench):
    async def check(driver, emulator, plant):
        await asyncio.sleep(1.0)
        with pytest.raises(DeviceRefused, match="phase 1 to 1"):
            await driver.envelope("battery_dc", "u", 2)
        return await driver.envelope("pcs_ac", "u", 2)

    envelope = on_bench(bench, check)
    assert len(envelope.lowest) == len(envelope.highest) == 801
    assert (envelope.lowest <= envelope.highest).all()
    assert envelope.highest.max() == pytest.approx(115.47 * math.sqrt(2.0), rel=0.003)
    assert envelope.lowest.min() == pytest.approx(-115.47 * math.sqrt(2.0), rel=0.003)
    assert envelope.column_s * 801 == pytest.approx(0.05)
    assert envelope.source == "analyzer.pcs_ac.u2"


def test_every_value_is_a_reading_and_every_setting_a_command(bench):
    readings, commands = [], []
    voice = Voice(
        "analyzer",
        lambda *each: readings.extend(each),
        lambda command, at_s, asked: commands.append((command, asked)),
    )

    async def check(driver, emulator, plant):
        values = await driver.values("battery_dc")
        await driver.set_update_interval_s(0.5)
        await driver.start_integration()
        await asyncio.sleep(1.0)
        await driver.stop_integration()
        await driver.energy("battery_dc")
        return values

    values = on_bench(bench, check, voice=voice)
    power_w = next(reading for reading in readings if reading.source == "analyzer.battery_dc.power_w")
    assert (power_w.value, power_w.at_s) == (values.power_w.value, values.power_w.window_s[1])
    assert any(reading.source == "analyzer.battery_dc.out_j" for reading in readings)
    assert commands == [
        ("analyzer.set_update_interval_s", 0.5),
        ("analyzer.start_integration", None),
        ("analyzer.stop_integration", None),
    ]


def test_uncertainty_is_the_accuracy_written_out(bench):
    """Voltage at one element, by hand: 0.05 % x 1.5 of 115.4 V and 0.05 % of 150 V, evenly spread."""

    async def check(driver, emulator, plant):
        return await driver.values("grid_ac")

    values = on_bench(bench, check)
    by_hand = (0.0005 * 1.5 * values.voltage_v.value + 0.0005 * 150.0) / math.sqrt(3.0)
    assert values.voltage_v.u == pytest.approx(by_hand, rel=0.01)
    assert dict(values.voltage_v.parts)["reading and range"] == pytest.approx(by_hand)


def test_a_short_interval_is_less_accurate(bench):
    async def check(driver, emulator, plant):
        return (await driver.values("load_ac")).power_w.u

    assert on_bench(bench, check, update_interval_s=0.05) > 1.2 * on_bench(bench, check)


@pytest.mark.parametrize(
    ("node", "change", "message"),
    [
        ("pcs_ac", {"elements": (1, 2)}, "three neighbours"),
        ("pcs_ac", {"elements": (5, 6, 7)}, "1 to 6"),
        ("load_ac", {"elements": (4,)}, "element 4 measures battery_dc and load_ac"),
        ("load_ac", {"u_range_v": 120}, "u_range_v = 120"),
        ("load_ac", {"i_range_a": 0.5}, "50 A element"),
        ("pcs_ac", {"balanced_phases": 3}, "one element"),
        ("pcs_ac", {"sign": 0}, "sign"),
        ("pcs_ac", {"colour": "red"}, "colour"),
    ],
)
def test_options_that_cannot_be_are_refused(nodes, node, change, message):
    with pytest.raises(ValidationError, match=message):
        Options.model_validate({"nodes": {**nodes, node: {**nodes[node], **change}}})


def test_an_interval_or_node_that_does_not_exist_is_refused(nodes):
    with pytest.raises(ValidationError, match="update_interval_s"):
        Options.model_validate({"nodes": nodes, "update_interval_s": 0.3})
    with pytest.raises(ValidationError, match="nowhere"):
        Options.model_validate({"nodes": {"nowhere": nodes["load_ac"]}})
