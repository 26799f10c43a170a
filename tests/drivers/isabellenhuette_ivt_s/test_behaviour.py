"""The driver against the emulator over a CAN line: order, time, silence, damage, signs, negative controls."""

import asyncio

import pytest
from pydantic import ValidationError

from drivers.isabellenhuette_ivt_s import Driver, Options
from harness.clock import now_s, run_virtual, run_wall
from harness.errors import CodecError, DeviceFault, DeviceRefused, StaleReading, WireClosed, WireTimeout
from harness.plant import RigPlant
from harness.readings import Voice
from harness.roles import Identity
from harness.testing.loopback import can_pair

from ..stands import stale_after_three_periods, until
from .shunt_bench import SPEC, SetByHand, stand

EXACT = {"gain_error": 0.0, "offset_a": 0.0}


def test_a_set_comes_in_order_at_exact_multiples_and_counts():
    async def main():
        async with stand(period_s=0.1) as at:
            await until(30.05)
            return at.frames

    frames = run_virtual(main)
    assert sorted({at_s for at_s, _, _ in frames}) == [n * 0.1 for n in range(301)]
    assert [identifier for _, identifier, _ in frames[:6]] == [0x521, 0x522, 0x525] * 2
    assert [data[1] for _, identifier, data in frames if identifier == 0x522][:18] == [*range(16), 0, 1]


def test_each_frame_is_a_reading_at_its_arrival():
    async def main():
        async with stand(SetByHand(current_a=12.345), **EXACT) as at:
            at.line.delay(0x521, 0.03)
            await until(0.25)
            return at.said("current_a"), at.said("voltage_v"), at.said("temperature_degc")

    current, voltage, temperature = run_virtual(main)
    assert current == [(0.03, 12.345), (0.1, 12.345), (0.2, 12.345)]
    assert voltage == [(n * 0.1, 52.345) for n in range(3)]
    assert temperature == [(n * 0.1, 24.6) for n in range(3)]


def test_asking_says_nothing_anew():
    async def main():
        async with stand() as at:
            await until(0.55)
            reading = await at.driver.current_a()
            return at.seen.count(reading), len(at.seen), reading.at_s, now_s()

    assert run_virtual(main) == (1, 18, 0.5, 0.55)


@pytest.mark.parametrize(("sign", "wire"), [(1, 12_300), (-1, -12_300)])
@pytest.mark.parametrize("direction", [1, -1], ids=["discharge", "charge"])
def test_a_shunt_mounted_the_other_way_reads_the_same(sign, wire, direction):
    async def main():
        async with stand(SetByHand(current_a=direction * 12.3), sign=sign, **EXACT) as at:
            value = (await at.driver.current_a()).value
            data = next(data for _, identifier, data in at.frames if identifier == 0x521)
            return value, int.from_bytes(data[2:], "big", signed=True)

    assert run_virtual(main) == (direction * 12.3, direction * wire)


@pytest.mark.parametrize("power_w", [6000.0, -5000.0], ids=["discharge", "charge"])
def test_current_of_the_plant_arrives_with_its_sign(power_w):
    async def main():
        plant = RigPlant(SPEC)
        async with stand(plant) as at:
            plant.converter.turn_on()
            plant.converter.set_power_w(power_w)
            await until(60.05)
            return (await at.driver.current_a()).value, plant.string.current_a

    reported_a, true_a = run_virtual(main)
    assert reported_a == pytest.approx(true_a, rel=1e-3, abs=0.03)
    assert reported_a * power_w > 0.0
    assert abs(reported_a) > 80.0


def test_it_sees_the_battery_behind_open_contactors():
    async def main():
        plant = RigPlant(SPEC)
        async with stand(plant) as at:
            plant.converter.turn_on()
            plant.converter.set_power_w(4000.0)
            await until(20.05)
            under_load_a = (await at.driver.current_a()).value
            plant.advance(now_s())
            plant.bms.open_contactors()
            await until(20.15)
            return under_load_a, (await at.driver.current_a()).value, (await at.driver.voltage_v()).value

    under_load_a, open_a, open_v = run_virtual(main)
    assert under_load_a > 50.0
    assert open_a == pytest.approx(0.02, abs=1e-3)  # its offset
    assert open_v > 45.0


@pytest.mark.parametrize("channel", [1, 2, 3])
def test_the_wired_voltage_channel_is_the_voltage(channel):
    async def main():
        async with stand(voltage_channel=channel, **EXACT) as at:
            return (await at.driver.voltage_v()).value, {identifier for _, identifier, _ in at.frames}

    assert run_virtual(main) == (52.345, {0x521, 0x521 + channel, 0x525})


def test_another_base_moves_all_results():
    async def main():
        async with stand(base_id=0x3C3, **EXACT) as at:
            await at.driver.temperature_degc()
            return [identifier for _, identifier, _ in at.frames]

    assert run_virtual(main) == [0x3C3, 0x3C4, 0x3C7]


@pytest.mark.parametrize(
    ("bit", "word"), [(1, "channel error"), (2, "measurement error"), (3, "system error")], ids=str
)
def test_error_bits_make_no_reading_and_a_fault_for_whoever_asks(bit, word):
    async def main():
        async with stand() as at:
            await until(1.05)
            await at.driver.current_a()
            at.emulator.state = 1 << bit
            said = len(at.seen)
            await until(1.15)
            with pytest.raises(DeviceFault, match=rf"shunt: frame 0x521 \(current_a\) says: {word}"):
                await at.driver.current_a()
            await until(9.05)
            assert len(at.seen) == said
            with pytest.raises(DeviceFault, match=r"0x522 \(voltage_v\)"):
                await at.driver.voltage_v()
            at.emulator.state = 0
            await until(9.15)
            return (await at.driver.current_a()).at_s, at.driver.counter_jumps

    assert run_virtual(main) == (pytest.approx(9.1), 0)


def test_an_old_fault_is_stale_as_anything_else():
    async def main():
        async with stand() as at:
            at.emulator.state = 8
            await until(1.05)
            at.emulator.silent = True
            await until(1.31)
            with pytest.raises(StaleReading, match="0x521"):
                await at.driver.current_a()

    run_virtual(main)


def test_the_over_current_signal_is_no_error():
    async def main():
        async with stand(SetByHand(current_a=299.0), **EXACT) as at:
            at.emulator.state = 1
            await until(0.15)
            return (await at.driver.current_a()).value

    assert run_virtual(main) == 299.0


@pytest.mark.parametrize("period_s", [0.1, 0.02, 1.0])
def test_three_periods_make_a_frame_stale_and_no_less(period_s):
    assert "shunt: frame 0x522 (voltage_v)" in stale_after_three_periods(stand, period_s)


def test_a_frame_that_never_comes_is_a_timeout_that_names_it():
    async def main():
        async with can_pair() as (near, _):
            driver = Driver("shunt", near, Options(), Voice("shunt"))
            await driver.open()
            with pytest.raises(
                WireTimeout, match=r"shunt: frame 0x525 \(temperature_degc\) never came.* 0\.3 s"
            ):
                await driver.temperature_degc()
            waited_s = now_s()
            with pytest.raises(WireTimeout, match=r"command 0x79 \(0x411\) had no answer within 0\.5 s"):
                await driver.identity()
            await driver.close()
            for ask in (driver.current_a, driver.identity):
                with pytest.raises(WireClosed, match="shunt: not open"):
                    await ask()
            return waited_s

    assert run_virtual(main) == pytest.approx(0.3)


def test_a_lost_frame_is_counted_and_leaves_the_others():
    async def main():
        async with stand() as at:
            await until(1.05)
            at.line.drop(0x521, 2)
            await until(2.05)
            return at.driver.counter_jumps, len(at.said("current_a")), len(at.said("voltage_v"))

    assert run_virtual(main) == (1, 19, 21)


def test_a_frame_that_comes_twice_is_one_reading():
    async def main():
        async with stand() as at:
            await until(1.05)
            at.line.duplicate(0x522)
            await until(1.15)
            return at.driver.counter_jumps, [at_s for at_s, _ in at.said("voltage_v")][-2:]

    assert run_virtual(main) == (1, [1.0, pytest.approx(1.1)])


def test_a_counter_that_stands_still_becomes_stale():
    async def main():
        async with can_pair() as (near, far):
            driver = Driver("shunt", near, Options(), Voice("shunt"))
            await driver.open()
            for n in range(6):
                await until(n * 0.1)
                far.send(0x521, bytes.fromhex("0007000493E0"))
            await asyncio.sleep(0.0)
            with pytest.raises(StaleReading):
                await driver.current_a()
            await driver.close()
            return driver.counter_jumps

    assert run_virtual(main) == 5


@pytest.mark.parametrize(
    ("identifier", "quantity"), [(0x521, "current_a"), (0x522, "voltage_v"), (0x525, "temperature_degc")]
)
def test_a_damaged_frame_is_no_reading_and_is_named(identifier, quantity):
    async def main():
        async with stand() as at:
            await until(1.05)
            ask = getattr(at.driver, quantity)
            await ask()
            at.line.corrupt(identifier)
            await until(1.15)
            with pytest.raises(CodecError, match=f"shunt: frame 0x{identifier:03X}.*5 bytes came"):
                await ask()
            await until(1.25)
            await ask()
            return len(at.said(quantity))

    assert run_virtual(main) == 12


def test_an_open_lead_makes_it_stale():
    async def main():
        async with stand() as at:
            await until(1.05)
            at.line.open_lead("shunt")
            await until(1.45)
            with pytest.raises(StaleReading):
                await at.driver.current_a()
            at.line.close_lead("shunt")
            await until(1.55)
            return (await at.driver.current_a()).at_s

    assert run_virtual(main) == pytest.approx(1.5)


def test_says_who_it_is():
    async def main():
        async with stand(range_a=500, serial=20_260_001) as at:
            return await at.driver.identity(), now_s()

    assert run_virtual(main) == (Identity("Isabellenhuette", "IVT-S 500 A", "20260001", "1.2.0"), 0.0)


def test_another_variant_than_the_rig_files_is_a_fault():
    async def main():
        async with stand(range_a=100) as at:
            wrong = Driver("other", at.line.port("other"), Options(range_a=300), Voice("other"))
            await wrong.open()
            try:
                await wrong.identity()
            finally:
                await wrong.close()

    with pytest.raises(DeviceFault, match="a sensor of 100 A; allowed: range_a = 300"):
        run_virtual(main)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ("FF79000000000000", DeviceRefused, "command 0x79 refused"),
        ("B902", CodecError, "shunt: response 0xB9: 2 bytes came"),
    ],
    ids=["refused", "damaged"],
)
def test_a_wrong_answer_is_no_identity(answer, error, said):
    async def main():
        async with can_pair() as (near, far):
            driver = Driver("shunt", near, Options(), Voice("shunt"))
            await driver.open()
            far.listen({0x411}, lambda _: far.send(0x511, bytes.fromhex(answer)))
            try:
                await driver.identity()
            finally:
                await driver.close()

    with pytest.raises(error, match=said):
        run_virtual(main)


def test_the_emulator_refuses_what_it_does_not_know():
    async def main():
        async with stand() as at:
            at.line.port("somebody").send(0x411, bytes.fromhex("34000100000000") + b"\0")
            at.line.port("somebody").send(0x411, b"\x79")
            await until(0.05)
            return [data.hex() for _, identifier, data in at.frames if identifier == 0x511]

    assert run_virtual(main) == ["ff34000000000000"]


def test_frozen_values_stand_while_frames_come():
    async def main():
        plant = SetByHand(current_a=10.0)
        async with stand(plant, **EXACT) as at:
            await until(1.05)
            at.emulator.frozen = True
            plant.current_a = plant.voltage_v = 99.0
            await until(60.05)
            frozen = await at.driver.current_a()
            found = frozen.value, (await at.driver.voltage_v()).value, frozen.at_s
            at.emulator.frozen = False
            await until(60.15)
            return found, (await at.driver.current_a()).value, at.driver.counter_jumps

    assert run_virtual(main) == ((10.0, 52.345, pytest.approx(60.0)), 99.0, 0)


def test_a_swapped_sign_turns_the_current_alone():
    async def main():
        async with stand(SetByHand(current_a=10.0), **EXACT) as at:
            at.emulator.swapped_sign = True
            await until(0.15)
            return (await at.driver.current_a()).value, (await at.driver.voltage_v()).value

    assert run_virtual(main) == (-10.0, 52.345)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_disturbance_is_added_in_the_roles_sign(sign):
    async def main():
        async with stand(SetByHand(current_a=-10.0), sign=sign, **EXACT) as at:
            at.emulator.disturbance["current_a"] = 400.0
            at.emulator.disturbance["temperature_degc"] = 60.0
            await until(0.15)
            driver = at.driver
            return [
                (await ask()).value for ask in (driver.current_a, driver.voltage_v, driver.temperature_degc)
            ]

    assert run_virtual(main) == [390.0, 52.345, 84.6]


def test_both_ends_use_the_virtual_period_in_virtual_time():
    async def main():
        async with stand(virtual_period_s=5.0) as at:
            await until(17.0)
            at.emulator.silent = True
            assert await at.driver.period_s() == 5.0
            assert [at_s for at_s, _ in at.said("current_a")] == [0.0, 5.0, 10.0, 15.0]
            await until(29.9)
            await at.driver.current_a()
            await until(30.1)
            with pytest.raises(StaleReading):
                await at.driver.current_a()

    run_virtual(main)


def test_nobody_uses_the_virtual_period_in_real_time():
    async def main():
        async with stand(period_s=0.5, virtual_period_s=5.0) as at:
            return await at.driver.period_s(), at.emulator.options.period_here_s()

    assert run_wall(main) == (0.5, 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"period_s": 0.0},
        {"period_s": 0.002},
        {"period_s": 0.1005},
        {"period_s": 66.0},
        {"virtual_period_s": 0.0},
        {"base_id": 0x7FC},
        {"base_id": 0x50F},
        {"command_id": 0x511},
        {"sign": 0},
        {"range_a": 200},
        {"voltage_channel": 4},
        {"cycle": 1},
    ],
    ids=str,
)
def test_options_refuse_what_cannot_be(wrong):
    with pytest.raises(ValidationError):
        Options(**wrong)
