"""The driver against the emulator over a CAN line: order, time, silence, damage, signs, negative controls."""

import asyncio

import pytest
from pydantic import ValidationError

from drivers.pylontech_lv import Driver, Emulator, Options
from drivers.pylontech_lv.emulator import WORDS
from harness.clock import now_s, run_virtual
from harness.errors import CodecError, StaleReading, WireClosed, WireTimeout
from harness.plant import RigPlant
from harness.plant.bms import ALARMS
from harness.readings import Voice
from harness.roles import Identity
from harness.testing.loopback import can_pair
from harness.wires.can import CanLine

from ..stands import stale_after_three_periods, until
from .lv_bench import SPEC, SetByHand, stand

VARIANTS = ("359_35c", "35a_35f")


def identifiers(heard, at_s):
    return [arbitration_id for time_s, arbitration_id, _ in heard if time_s == at_s]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("359_35c", [0x351, 0x355, 0x356, 0x359, 0x35C, 0x35E]),
        ("35a_35f", [0x351, 0x355, 0x356, 0x35A, 0x35E, 0x35F]),
    ],
)
def test_frames_of_a_set_come_in_order_at_exact_multiples(variant, expected):
    async def main():
        async with stand(variant=variant, period_s=0.1) as at:
            await until(300.05)
            return [entry for entry in at.heard if entry[1] != 0x305]

    heard = run_virtual(main)
    times = sorted({at_s for at_s, _, _ in heard})
    assert times == [n * 0.1 for n in range(3_001)]
    assert identifiers(heard, 700 * 0.1) == expected


def test_keep_alive_comes_each_second_while_open():
    async def main():
        async with stand(period_s=0.5) as at:
            await until(10.5)
            await at.driver.close()
            await until(20.0)
            return [(at_s, data) for at_s, arbitration_id, data in at.heard if arbitration_id == 0x305]

    assert run_virtual(main) == [(float(n), bytes(8)) for n in range(11)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("current_a", "wire"), [(12.3, -123), (-45.6, 456)], ids=["discharge", "charge"])
def test_charging_is_positive_on_the_wire_and_negative_inside(variant, current_a, wire):
    async def main():
        async with stand(SetByHand(current_a=current_a), variant=variant) as at:
            reading = await at.driver.current_a()
            raw = [data for _, arbitration_id, data in at.heard if arbitration_id == 0x356][-1]
            return reading.value, int.from_bytes(raw[2:4], "little", signed=True)

    assert run_virtual(main) == (current_a, wire)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("power_w", [6000.0, -5000.0], ids=["discharge", "charge"])
def test_current_of_the_plant_arrives_with_its_sign(variant, power_w):
    async def main():
        plant = RigPlant(SPEC)
        async with stand(plant, variant=variant) as at:
            plant.converter.turn_on()
            plant.converter.set_power_w(power_w)
            await until(60.5)
            return (await at.driver.current_a()).value, plant.string.current_a

    reported_a, true_a = run_virtual(main)
    assert reported_a == pytest.approx(true_a, abs=0.3)
    assert reported_a * power_w > 0.0
    assert abs(reported_a) > 80.0


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_quantity_arrives(variant):
    async def main():
        plant = SetByHand(is_discharge_allowed=False, discharge_current_limit_a=0.0)
        async with stand(plant, variant=variant) as at:
            driver = at.driver
            return {
                quantity: (await getattr(driver, quantity)()).value
                for quantity in (
                    "voltage_v",
                    "soc",
                    "soh",
                    "temperature_degc",
                    "charge_voltage_limit_v",
                    "charge_current_limit_a",
                    "discharge_current_limit_a",
                    "is_charge_allowed",
                    "is_discharge_allowed",
                )
            }

    assert run_virtual(main) == {
        "voltage_v": 52.34,
        "soc": 0.63,
        "soh": 0.98,
        "temperature_degc": 24.6,
        "charge_voltage_limit_v": 56.0,
        "charge_current_limit_a": 130.0,
        "discharge_current_limit_a": 0.0,
        "is_charge_allowed": True,
        "is_discharge_allowed": False,
    }


def test_the_enable_bits_outrank_the_limits():
    async def main():
        async with stand(SetByHand(is_charge_allowed=False, charge_current_limit_a=50.0)) as at:
            return (await at.driver.is_charge_allowed()).value, (
                await at.driver.charge_current_limit_a()
            ).value

    assert run_virtual(main) == (False, 50.0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("plant_word", "word"),
    [
        ("cell_over_voltage", "over_voltage"),
        ("cell_under_voltage", "under_voltage"),
        ("over_current_charge", "over_current_charge"),
        ("over_current_discharge", "over_current_discharge"),
        ("over_temperature", "over_temperature"),
        ("under_temperature", "under_temperature"),
    ],
)
def test_alarms_and_warnings_have_the_same_words_in_both_variants(variant, plant_word, word):
    async def main():
        plant = SetByHand()
        async with stand(plant, variant=variant) as at:
            plant.alarms = frozenset({plant_word})
            alarms, none = (await at.driver.alarms()).value, (await at.driver.warnings()).value
            plant.alarms, plant.warnings = frozenset(), frozenset({plant_word})
            await until(now_s() + 1.5)
            return alarms, none, (await at.driver.alarms()).value, (await at.driver.warnings()).value

    assert run_virtual(main) == ({word}, frozenset(), frozenset(), {word})


@pytest.mark.parametrize(
    ("plant_word", "protection", "alarm"),
    [
        ("contactor", "bms_internal", "contactor"),
        ("cell_imbalance", "bms_internal", "cell_imbalance"),
        ("precharge", "bms_internal", "bms_internal"),
        ("cell_voltage_sensor", "bms_internal", "bms_internal"),
        ("fuse", "bms_internal", "general"),
        ("insulation", "bms_internal", "general"),
    ],
)
def test_what_only_one_variant_has_a_word_for_is_general_in_the_other(plant_word, protection, alarm):
    async def main():
        found = []
        for variant in VARIANTS:
            async with stand(SetByHand(alarms=frozenset({plant_word})), variant=variant) as at:
                found.append((await at.driver.alarms()).value)
        return found

    assert run_virtual(main) == [{protection}, {alarm}]


def test_the_plant_knows_every_word_that_is_said_of_it():
    assert set(ALARMS) - set(WORDS) == {"fuse", "hydrogen", "insulation"}
    assert set(WORDS) - set(ALARMS) == {"cell_imbalance"}, "a warning alone"


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_overload_of_the_plant_becomes_an_alarm(variant):
    async def main():
        plant = RigPlant(SPEC)
        async with stand(plant, variant=variant) as at:
            await until(5.0)
            plant.string.cell_temperatures_degc = plant.string.cell_temperatures_degc + 40.0
            await until(8.5)
            return (await at.driver.alarms()).value, (await at.driver.is_discharge_allowed()).value

    alarms, is_discharge_allowed = run_virtual(main)
    assert "over_temperature" in alarms
    assert is_discharge_allowed is False


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("359_35c", Identity("ACME", "low-voltage BMS", "", "")),
        ("35a_35f", Identity("ACME", "type 0x494C", "", "1.3")),
    ],
)
def test_says_who_it_is(variant, expected):
    async def main():
        async with stand(variant=variant, maker="ACME") as at:
            return await at.driver.identity()

    assert run_virtual(main) == expected


def test_a_reading_is_dated_by_the_arrival_of_its_frame_and_costs_no_time():
    async def main():
        async with stand() as at:
            await until(7.6)
            reading = await at.driver.voltage_v()
            return reading.at_s, reading.source, now_s()

    assert run_virtual(main) == (7.0, "bms.voltage_v", 7.6)


def test_readings_pass_the_record():
    async def main():
        seen = []
        async with stand(voice=Voice("bms", seen.append)) as at:
            given = [await at.driver.soc(), await at.driver.is_charge_allowed(), await at.driver.warnings()]
        return seen, given

    seen, given = run_virtual(main)
    assert seen == given
    assert len(seen) == 3


def test_the_first_reading_waits_for_its_frame():
    async def main():
        async with can_pair() as (near, far):
            driver = Driver("bms", near, Options(), Voice("bms"))
            await driver.open()
            asyncio.get_running_loop().call_at(2.9, far.send, 0x356, bytes.fromhex("7A13F2FE6B01"))
            readings = await asyncio.gather(driver.voltage_v(), driver.current_a())
            await driver.close()
            return [(reading.value, reading.at_s) for reading in readings], now_s()

    assert run_virtual(main) == ([(49.86, 2.9), (27.0, 2.9)], 2.9)


def test_a_frame_that_never_comes_is_a_timeout_that_names_it():
    async def main():
        async with can_pair() as (near, far):
            driver = Driver("bms", near, Options(), Voice("bms"))
            await driver.open()
            far.send(0x355, bytes.fromhex("58005E00"))
            assert (await driver.soc()).value == 0.88
            began_s = now_s()
            with pytest.raises(WireTimeout, match=r"bms: frame 0x356 \(measurements\) never came.* 3 s"):
                await driver.voltage_v()
            waited_s = now_s() - began_s
            with pytest.raises(WireTimeout, match="0x35A"):
                await driver.alarms()
            with pytest.raises(WireTimeout, match="0x35E"):
                await driver.identity()
            await driver.close()
            return waited_s

    assert run_virtual(main) == 3.0


def test_a_battery_that_never_speaks_is_a_timeout():
    async def main():
        async with stand() as at:
            at.emulator.silent = True
            with pytest.raises(WireTimeout, match="no frame of the battery"):
                await at.driver.alarms()
            return now_s()

    # The set at zero had gone out before the driver listened.
    assert run_virtual(main) == 3.0


@pytest.mark.parametrize("period_s", [1.0, 0.1])
def test_three_periods_make_a_frame_stale_and_no_less(period_s):
    assert "bms: frame 0x356 (measurements)" in stale_after_three_periods(stand, period_s)


def test_one_lost_kind_leaves_the_others():
    async def main():
        async with stand() as at:
            await until(5.5)
            at.line.drop(0x355, 4)
            await until(9.5)
            with pytest.raises(StaleReading, match="0x355"):
                await at.driver.soc()
            return (await at.driver.voltage_v()).at_s

    assert run_virtual(main) == 9.0


@pytest.mark.parametrize(
    ("variant", "arbitration_id", "quantity"),
    [
        ("359_35c", 0x351, "charge_current_limit_a"),
        ("359_35c", 0x355, "soc"),
        ("359_35c", 0x356, "current_a"),
        ("359_35c", 0x359, "alarms"),
        ("359_35c", 0x35C, "is_charge_allowed"),
        ("359_35c", 0x35E, "identity"),
        ("35a_35f", 0x355, "soh"),
        ("35a_35f", 0x35A, "warnings"),
        ("35a_35f", 0x351, "is_discharge_allowed"),
        ("35a_35f", 0x35F, "identity"),
    ],
)
def test_a_damaged_frame_is_no_reading_and_is_named(variant, arbitration_id, quantity):
    async def main():
        async with stand(variant=variant) as at:
            await until(5.5)
            ask = getattr(at.driver, quantity)
            await ask()
            at.line.corrupt(arbitration_id)
            await until(6.5)
            with pytest.raises(CodecError, match=f"bms: frame 0x{arbitration_id:03X}.*bytes came"):
                await ask()
            await until(7.5)
            await ask()

    run_virtual(main)


def test_a_late_frame_is_dated_late():
    async def main():
        async with stand() as at:
            await until(5.5)
            at.line.delay(0x356, 0.25)
            await until(6.5)
            return (await at.driver.voltage_v()).at_s, (await at.driver.soc()).at_s

    assert run_virtual(main) == (6.25, 6.0)


def test_either_flag_frame_counts_where_both_come():
    async def main():
        async with can_pair() as (near, far):
            driver = Driver("bms", near, Options(), Voice("bms"))
            await driver.open()
            far.send(0x359, bytes.fromhex("0200000006504E"))
            await until(0.5)
            far.send(0x35A, bytes.fromhex("4000000000000000"))
            reading = await driver.alarms()
            await driver.close()
            return reading.value, reading.at_s

    assert run_virtual(main) == ({"over_voltage", "over_temperature"}, 0.0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_battery_warns_when_nobody_keeps_it_company(variant):
    async def main():
        async with stand(variant=variant, keep_alive_timeout_s=60.0) as at:
            listener = Driver("listener", at.line.port("listener"), Options(), Voice("listener"))
            await until(100.5)
            before = (await at.driver.warnings()).value
            await at.driver.close()
            await at.emulator.stop()
            await at.emulator.start()
            # A node that listens and does not speak: its keep-alive is lost on the way.
            at.line.drop(0x305, 1_000_000)
            await listener.open()
            await until(now_s() + 58.0)
            still = (await listener.warnings()).value
            await until(now_s() + 4.0)
            lost = (await listener.warnings()).value
            await listener.close()
            return before, still, lost

    assert run_virtual(main) == (frozenset(), frozenset(), {"bms_internal"})


def test_an_open_lead_silences_both_ways():
    async def main():
        async with stand(keep_alive_timeout_s=5.0) as at:
            await until(5.5)
            await at.driver.voltage_v()
            at.line.open_lead("bms")
            await until(12.5)
            with pytest.raises(StaleReading):
                await at.driver.voltage_v()
            at.line.close_lead("bms")
            await until(13.5)
            warnings = (await at.driver.warnings()).value
            await until(15.5)
            return warnings, (await at.driver.warnings()).value

    assert run_virtual(main) == ({"bms_internal"}, frozenset())


def test_frozen_telemetry_stays_at_its_last_sample():
    async def main():
        plant = SetByHand(current_a=10.0)
        async with stand(plant) as at:
            await until(5.5)
            at.emulator.frozen = True
            plant.current_a, plant.soc, plant.alarms = 99.0, 0.2, frozenset({"over_temperature"})
            await until(60.5)
            driver = at.driver
            frozen = await driver.current_a()
            found = frozen.value, (await driver.soc()).value, (await driver.alarms()).value, frozen.at_s
            at.emulator.frozen = False
            await until(61.5)
            return found, (await driver.current_a()).value

    assert run_virtual(main) == ((10.0, 0.63, frozenset(), 60.0), 99.0)


def test_a_battery_frozen_from_the_start_froze_after_its_contactors_closed():
    async def main():
        plant = RigPlant(SPEC)
        async with stand(plant) as at:
            at.emulator.frozen = True
            await until(10.5)
            plant.advance(now_s())
            plant.converter.turn_on()
            plant.converter.set_power_w(5000.0)
            await until(60.5)
            plant.advance(now_s())
            true_a = plant.string.current_a
            return (await at.driver.is_discharge_allowed()).value, (await at.driver.current_a()).value, true_a

    is_allowed, reported_a, true_a = run_virtual(main)
    assert is_allowed is True
    assert abs(reported_a) < 1.0
    assert true_a > 50.0


def test_a_swapped_sign_swaps_current_alone():
    async def main():
        async with stand(SetByHand(current_a=10.0)) as at:
            at.emulator.swapped_sign = True
            return (await at.driver.current_a()).value, (await at.driver.voltage_v()).value

    assert run_virtual(main) == (-10.0, 52.34)


def test_a_driver_that_is_not_open_says_so():
    async def main():
        async with can_pair() as (near, _):
            driver = Driver("bms", near, Options(), Voice("bms"))
            with pytest.raises(WireClosed, match="bms: not open"):
                await driver.voltage_v()

    run_virtual(main)


def test_a_line_that_closed_shows_at_the_next_reading():
    async def main():
        line = CanLine("can0")
        await line.open()
        driver = Driver("bms", line.port("harness"), Options(), Voice("bms"))
        await driver.open()
        await until(0.5)
        line.port("bms").send(0x356, bytes.fromhex("7A13F2FE6B01"))
        await driver.voltage_v()
        await line.close()
        await until(1.5)
        with pytest.raises(WireClosed, match="0x305 not sent"):
            await driver.voltage_v()
        await driver.close()

    run_virtual(main)


def test_an_emulator_without_a_plug_does_nothing():
    async def main():
        emulator = Emulator("bms", SetByHand(), Options())
        await emulator.start()
        await emulator.stop()

    run_virtual(main)


@pytest.mark.parametrize(
    "wrong",
    [{"period_s": 0.0}, {"variant": "359"}, {"maker": "far too long"}, {"speed": 1}, {"module_count": 256}],
    ids=str,
)
def test_options_refuse_what_they_do_not_know(wrong):
    with pytest.raises(ValidationError):
        Options(**wrong)
