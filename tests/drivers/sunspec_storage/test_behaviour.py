"""Driver against emulator over a real Modbus line: what it says, what it refuses, and what it survives."""

import asyncio
import math
import struct
from dataclasses import replace

import pytest

from drivers.sunspec_storage import Driver, Options
from harness.clock import now_s, run_virtual
from harness.errors import CodecError, DeviceFault, DeviceRefused, WireClosed, WireTimeout
from harness.plant import BatterySpec
from harness.readings import Voice
from harness.roles import GridStep, OperatingState
from harness.testing.loopback import can_pair, modbus_pair
from harness.wires.faults import StreamFaults

from .sunspec_bench import SPEC, Registers, pysunspec2_image, stand, with_converter

# Addresses of single points behind a base of 40000, from the published tables.
CONN, INV_ST, W_701, DCW_103, W_802, HB = 40186, 40238, 40244, 40101, 40592, 40563
WMAX_702, W_MAX_RATING_702, ES_703, ENTER_HIGH_703 = 40415, 40391, 40443, 40444
W_SET, W_SET_ENA, W_SET_RVRT, W_SET_RVRT_TMS, W_SET_RVRT_REM = 40484, 40482, 40486, 40491, 40493
PF_ENA, PF_RVRT_TMS, PF_VALUE, PF_EXT, VAR_PRIORITY = 40462, 40464, 40519, 40520, 40497
ENTER_DELAY_703, ENTER_LEFT_703, ENTER_RAMP_703 = 40450, 40456, 40454
LIMIT_ENA, LIMIT = 40474, 40475
LOC_REM, DER_HB, CONTROLLER_HB, OP_CTL = 40538, 40539, 40541, 40544
STOR_CTL_MOD, IN_W_RTE = 40213, 40221


def signed(register):
    return register - 0x10000 if register & 0x8000 else register


# --- exchanges ------------------------------------------------------------------------------------


def test_ten_readings_of_one_instant_cost_one_exchange_a_block():
    async def main():
        async with stand() as at:
            await asyncio.sleep(1.0)
            at.line.reads.clear()
            for ask in (
                at.driver.ac_power_w, at.driver.reactive_power_var, at.driver.ac_voltage_v,
                at.driver.ac_current_a, at.driver.frequency_hz, at.driver.state, at.driver.is_on,
                at.driver.is_grid_forming, at.driver.alarms, at.driver.dc_voltage_v, at.driver.dc_power_w,
            ):  # fmt: skip
                assert (await ask()).at_s == now_s()
            assert at.line.reads == [(1, 40234, 123), (1, 40070, 52)]
            await asyncio.sleep(1.0)
            await at.driver.ac_power_w()
            assert len(at.line.reads) == 3

    run_virtual(main)


def test_a_command_ends_what_was_read_at_that_instant():
    async def main():
        async with stand() as at:
            await at.driver.set_power_w(100.0)
            assert (await at.driver.power_setpoint_w()).value == 100.0
            await at.driver.set_power_w(200.0)
            assert (await at.driver.power_setpoint_w()).value == 200.0

    run_virtual(main)


def test_each_reading_and_each_command_passes_the_record():
    async def main():
        readings, commands = [], []
        voice = Voice("inverter", readings.append, lambda *command: commands.append(command))
        async with stand(voice=voice) as at:
            await at.driver.turn_on()
            await at.driver.set_power_w(500.0)
            await at.driver.restore({"702.WMax": 9000.0})
            reading = await at.driver.ac_power_w()
            await at.driver.turn_off()
        assert readings == [reading]
        assert commands == [
            ("inverter.turn_on", 0.0, None),
            ("inverter.set_power_w", 0.0, 500.0),
            ("inverter.restore", 0.0, {"702.WMax": 9000.0}),
            ("inverter.turn_off", 0.0, None),
        ]

    run_virtual(main)


# --- signs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power_w", [4000.0, -4000.0])
def test_sign_on_the_wire_in_charge_and_discharge(power_w):
    """Generation is positive in 701 and 103; in 802, which says nothing, discharge is."""

    async def main():
        async with stand() as at:
            await at.run_at(power_w)
            for address in (W_701, DCW_103, W_802):
                (register,) = await at.line.read_holding(1, address, 1)
                assert signed(register) == pytest.approx(power_w, rel=0.1)
            assert (await at.driver.ac_power_w()).value == pytest.approx(power_w, rel=0.01)
            assert at.now().string.current_a * power_w > 0.0

    run_virtual(main)


@pytest.mark.parametrize("power_w", [4000.0, -4000.0])
def test_swapped_sign_shows_on_both_sides(power_w):
    async def main():
        async with stand() as at:
            at.emulator.swapped_sign = True
            await at.run_at(power_w)
            assert at.now().converter.power_w == pytest.approx(power_w, rel=0.01)
            assert (await at.driver.ac_power_w()).value == pytest.approx(-power_w, rel=0.01)
            assert (await at.driver.dc_power_w()).value == pytest.approx(-power_w, rel=0.1)

    run_virtual(main)


# --- refresh ----------------------------------------------------------------------------------------


def test_measurements_change_on_the_refresh_grid_only():
    """Polled every 10 ms through a ramp, power steps at multiples of 0.5 s and at no other time."""

    async def main():
        async with stand(with_converter(ramp_w_per_s=2000.0), refresh_s=0.5) as at:
            await at.driver.turn_on()
            await asyncio.sleep(5.0)
            await at.driver.set_power_w(8000.0)
            changes, last = [], (await at.driver.ac_power_w()).value
            for _ in range(300):
                await asyncio.sleep(0.01)
                power_w = (await at.driver.ac_power_w()).value
                if power_w != last:
                    changes.append(now_s())
                    last = power_w
            assert len(changes) >= 5
            # Seen at the first poll at or after the refresh.
            assert all((change_s + 1e-6) % 0.5 < 0.0101 for change_s in changes), changes

    run_virtual(main)


@pytest.mark.parametrize("looks_between", [False, True])
def test_a_measurement_is_the_truth_of_its_refresh(looks_between):
    """Polled every 0.7 s: each value is power as it was at the refresh before, whoever else looks."""

    async def main():
        async with stand(with_converter(ramp_w_per_s=1000.0), refresh_s=0.5) as at:
            await at.driver.turn_on()
            await asyncio.sleep(4.93)
            truths = {}

            def note():
                truths[round(at.plant.now_s / 0.5)] = at.plant.converter.power_w

            for step in range(10, 40):
                at.plant.at(0.5 * step, note)
            await at.driver.set_power_w(8000.0)
            await at.driver.ac_power_w()
            for look in range(8):
                await asyncio.sleep(0.7)
                if looks_between:
                    at.now()
                reading = await at.driver.ac_power_w()
                if look:  # the first has no rhythm yet
                    assert reading.value == pytest.approx(truths[int(now_s() / 0.5)], abs=0.6)
            assert reading.value > 4000.0

    run_virtual(main)


def test_after_a_long_pause_the_first_measurement_is_fresh():
    async def main():
        async with stand() as at:
            await at.run_at(1000.0)
            await at.driver.ac_power_w()
            await at.driver.set_power_w(3000.0)
            await asyncio.sleep(600.0)
            assert (await at.driver.ac_power_w()).value == pytest.approx(3000.0, rel=0.01)
            await at.driver.set_power_w(-3000.0)
            await asyncio.sleep(2.0)
            assert (await at.driver.ac_power_w()).value == pytest.approx(-3000.0, rel=0.01)

    run_virtual(main)


def test_frozen_telemetry_stands_while_commands_act():
    async def main():
        async with stand() as at:
            await at.run_at(1000.0)
            before_w = (await at.driver.ac_power_w()).value
            at.emulator.frozen = True
            await at.driver.set_power_w(-3000.0)
            await asyncio.sleep(30.0)
            assert at.now().converter.power_w == pytest.approx(-3000.0, rel=0.01)
            assert (await at.driver.ac_power_w()).value == before_w
            at.emulator.frozen = False
            await asyncio.sleep(0.5)
            assert (await at.driver.ac_power_w()).value == pytest.approx(-3000.0, rel=0.01)

    run_virtual(main)


def test_heartbeat_counts_seconds():
    async def main():
        async with stand() as at:
            await asyncio.sleep(3.0)
            (first,) = await at.line.read_holding(1, HB, 1)
            await asyncio.sleep(10.0)
            (second,) = await at.line.read_holding(1, HB, 1)
            assert (first, second) == (3, 13)

    run_virtual(main)


# --- commands ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("power_w", [10_001.0, -10_001.0, float("nan")])
def test_a_command_beyond_the_rating_never_leaves_the_driver(power_w):
    async def main():
        async with stand() as at:
            at.line.reads.clear()
            with pytest.raises(DeviceRefused, match=r"set_power_w\(.*-10000 to 10000 W is allowed"):
                await at.driver.set_power_w(power_w)
            assert at.line.reads == []
            assert at.line.writes == []

    run_virtual(main)


def test_a_command_that_is_answered_and_not_taken_is_an_error():
    """The unit acknowledges each write and keeps its registers."""

    class Deaf(Registers):
        def write(self, table, address, values):
            pass

    async def main():
        async with modbus_pair({1: Deaf(40000, pysunspec2_image())}) as line:
            driver = Driver("deaf", line, Options(), Voice("deaf"))
            await driver.open()
            with pytest.raises(DeviceRefused, match=r"deaf: set_power_w.*not taken.*WSetMod=0"):
                await driver.set_power_w(1000.0)
            with pytest.raises(DeviceRefused, match="turn_off was answered and not taken"):
                await driver.turn_off()
            with pytest.raises(DeviceRefused, match=r"702.WMax is 45000 for 40000"):
                await driver.restore({"702.WMax": 40_000.0})

    run_virtual(main)


def test_no_command_is_no_set_point():
    async def main():
        async with stand() as at:
            await at.line.write_holding(1, W_SET_ENA, [0])
            with pytest.raises(DeviceRefused, match="WSetEna is DISABLED"):
                await at.driver.power_setpoint_w()

    run_virtual(main)


def test_turning_on_needs_the_permit():
    """703.ES is somebody else's: the driver says so, and changes nothing."""

    async def main():
        async with stand() as at:
            await at.line.write_holding(1, ES_703, [0])
            at.line.writes.clear()
            with pytest.raises(DeviceRefused, match="ES is DISABLED"):
                await at.driver.turn_on()
            assert at.line.writes == []
            await at.line.write_holding(1, ES_703, [1])
            await at.driver.turn_on()
            assert at.line.writes[-1] == (1, CONN, [1])
            await asyncio.sleep(5.0)
            assert (await at.driver.state()).value is OperatingState.RUNNING
            await at.line.write_holding(1, ES_703, [0])
            await asyncio.sleep(1.0)
            assert (await at.driver.is_on()).value is False

    run_virtual(main)


def test_power_falls_back_when_the_reversion_timer_is_over():
    """WSetRvrtTms counts down in rig time from the last command, and WSetRvrt follows."""

    async def main():
        async with stand() as at:
            await at.line.write_holding(1, W_SET_RVRT, list(struct.unpack(">2H", struct.pack(">i", -700))))
            await at.line.write_holding(1, W_SET_RVRT_TMS, [0, 20])
            await at.run_at(2000.0)
            start_s = now_s() - 3.0
            for wait_s, left_s in ((1.0, 16), (6.5, 10)):
                await asyncio.sleep(wait_s)
                assert await at.line.read_holding(1, W_SET_RVRT_REM, 2) == [0, left_s]
            await at.driver.set_power_w(2000.0)  # a sign of life
            assert await at.line.read_holding(1, W_SET_RVRT_REM, 2) == [0, 20]
            deadline_s = start_s + 10.5 + 20.0
            await asyncio.sleep(deadline_s - 0.001 - now_s())
            assert at.now().converter.power_setpoint_w == 2000.0
            await asyncio.sleep(0.002)
            assert at.now().converter.power_setpoint_w == -700.0
            assert (await at.driver.power_setpoint_w()).value == -700.0
            assert await at.line.read_holding(1, W_SET_RVRT_REM, 2) == [0, 0]

    run_virtual(main)


def test_arming_sets_what_power_falls_back_to_before_it_starts_the_timer():
    """Zero watts with the command enabled: what a converter does without one is its maker's choice."""

    async def main():
        async with stand() as at:
            await at.line.write_holding(1, W_SET_RVRT, list(struct.unpack(">2H", struct.pack(">i", -700))))
            at.line.writes.clear()
            await at.driver.arm_watchdog(2.0)
            assert at.line.writes[0] == (1, W_SET_RVRT, [0, 0])
            assert at.line.writes[-1] == (1, W_SET_RVRT_TMS, [0, 2])
            at.line.writes.clear()
            await at.driver.feed_watchdog()
            assert at.line.writes == [(1, W_SET_RVRT_TMS, [0, 2])]  # and no command, which may be old by now

    run_virtual(main)


def test_disarming_gives_a_product_its_own_reversion_back():
    """A grid owner's 60 s to -700 W, say, which starts anew."""

    async def main():
        async with stand() as at:
            await at.line.write_holding(1, W_SET_RVRT, list(struct.unpack(">2H", struct.pack(">i", -700))))
            await at.line.write_holding(1, W_SET_RVRT_TMS, [0, 60])
            before = await at.driver.settings()
            await at.driver.arm_watchdog(2.0)
            await at.driver.arm_watchdog(3.0)
            await asyncio.sleep(10.0)
            await at.driver.disarm_watchdog()
            assert await at.driver.settings() == before
            await at.run_at(2000.0)
            await asyncio.sleep(50.0)
            assert at.now().converter.power_setpoint_w == 2000.0
            await asyncio.sleep(10.0)
            assert at.now().converter.power_setpoint_w == -700.0

    run_virtual(main)


def test_a_unit_without_reversion_points_is_no_hardware_layer():
    """They are optional in 704; what is missing is named, and nothing is written."""

    async def main():
        async with stand() as at:
            at.emulator._banks[704].put(WSetRvrtTms=0xFFFF_FFFF)
            with pytest.raises(DeviceRefused, match=r"arm_watchdog: it has no 704\.WSetRvrtTms"):
                await at.driver.arm_watchdog(2.0)
            assert at.line.writes == []
            assert (await at.driver.is_watchdog_running()).value is False

    run_virtual(main)


def test_a_locked_unit_refuses_settings_and_takes_commands():
    """Each setting that differs is tried, and each that stays is told with the refusal."""

    async def main():
        async with stand() as at:
            at.emulator.locked = True
            await at.run_at(2000.0)
            assert at.now().converter.power_setpoint_w == 2000.0
            with pytest.raises(DeviceRefused) as caught:
                await at.driver.restore({"702.WMax": 8000.0, "703.ESVHi": 112.0})
            for piece in ("702.WMax is 10000 for 8000 (", "703.ESVHi is 105 for 112 ("):
                assert piece in str(caught.value)
            with pytest.raises(DeviceRefused):
                await at.driver.arm_watchdog(2.0)

    run_virtual(main)


def test_a_power_factor_acts_until_its_timer_is_over():
    """704.PFWInj: under-excited 0.9 while it injects active power, and nothing while it charges."""

    async def main():
        async with stand() as at:
            await at.run_at(4000.0)
            await at.line.write_holding(1, PF_VALUE, [900, 1])
            await at.line.write_holding(1, PF_RVRT_TMS, [0, 20])
            await at.line.write_holding(1, PF_ENA, [1])
            await asyncio.sleep(3.0)
            ratio = math.tan(math.acos(0.9))
            assert at.now().converter.reactive_power_var == pytest.approx(-4000.0 * ratio, rel=1e-3)
            await at.driver.set_power_w(-3000.0)
            await asyncio.sleep(5.0)
            assert at.now().converter.reactive_power_var == pytest.approx(0.0, abs=1.0)
            await at.driver.set_power_w(4000.0)
            await asyncio.sleep(5.0)
            assert at.now().converter.reactive_power_var == pytest.approx(-4000.0 * ratio, rel=1e-3)
            await asyncio.sleep(10.0)
            assert at.now().converter.reactive_power_var == pytest.approx(0.0, abs=1.0)

    run_virtual(main)


def test_reactive_power_may_have_the_priority():
    async def main():
        async with stand() as at:
            at.plant.converter.set_power_w(0.0)
            await at.line.write_holding(1, VAR_PRIORITY, [1])
            # VarSetEna, VarSetMod VARS, then VarSet: 6 kvar.
            await at.line.write_holding(1, VAR_PRIORITY - 2, [1, 4])
            raw = round(6000.0 * 10.0 ** -at.emulator._banks[704].exponent("VarSet"))
            await at.line.write_holding(1, VAR_PRIORITY + 1, [raw >> 16, raw & 0xFFFF])
            await at.run_at(9500.0)
            converter = at.now().converter
            assert converter.reactive_power_var == pytest.approx(6000.0, rel=1e-3)
            assert converter.power_w == pytest.approx(8000.0, rel=1e-3)

    run_virtual(main)


def test_enter_service_is_what_703_says():
    """Delay, what is left of it, and the ramp behind it."""

    async def main():
        async with stand(with_converter(islanding=False)) as at:
            await at.line.write_holding(1, ENTER_DELAY_703, [0, 30])
            await at.line.write_holding(1, ENTER_RAMP_703, [0, 100])
            await at.run_at(5000.0)
            start_s = now_s()
            at.now().grid.play([GridStep(0.4, (0.3,) * 3, 60.0), GridStep(500.0, (1.0,) * 3, 60.0)])
            await asyncio.sleep(0.4 + 10.0)
            assert at.now().converter.alarms
            assert await at.line.read_holding(1, ENTER_LEFT_703, 2) == [0, 20]
            await asyncio.sleep(start_s + 30.4 + 20.0 - now_s())
            assert at.now().converter.power_w == pytest.approx(2000.0, abs=5.0)
            assert await at.line.read_holding(1, ENTER_LEFT_703, 2) == [0, 0]

    run_virtual(main)


def test_limits_bind_the_command():
    """WMaxLimPct, 702.WMax and the storage limits of 124 act on what is commanded, each way."""

    async def main():
        async with stand() as at:
            await at.driver.set_power_w(8000.0)
            await at.line.write_holding(1, LIMIT_ENA, [1, 500])
            assert at.now().converter.power_setpoint_w == 5000.0
            await at.line.write_holding(1, LIMIT_ENA, [0])
            assert at.now().converter.power_setpoint_w == 8000.0
            await at.line.write_holding(1, WMAX_702, [6000])
            assert at.now().converter.power_setpoint_w == 6000.0
            await at.driver.set_power_w(-4000.0)
            await at.line.write_holding(1, IN_W_RTE, [2500])
            assert at.now().converter.power_setpoint_w == -4000.0
            await at.line.write_holding(1, STOR_CTL_MOD, [1])
            assert at.now().converter.power_setpoint_w == -2500.0

    run_virtual(main)


# --- what the unit refuses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "registers", "word"),
    [
        (CONN, [2], "illegal value"),  # an enumeration knows 0 and 1
        (LIMIT, [1001], "illegal value"),  # more than 100 %
        (W_SET, [0, 10_001], "illegal value"),  # beyond the rating
        (W_SET, [0x8000, 0], "illegal value"),  # "not implemented" is no command
        (W_SET, [0], "illegal address"),  # half of a 32-bit point
        (W_SET_ENA, [1, 1, 0], "illegal address"),  # ends within a point
        (W_SET_RVRT_REM, [0, 1], "illegal address"),  # read-only
        (W_701, [1], "illegal address"),
        (40001, [1], "illegal address"),
        (40602, [1], "illegal address"),
        (39999, [1], "illegal address"),
        (40468, [1], "illegal address"),  # 704.PFWAbsEna is not implemented
    ],
)
def test_the_unit_refuses(address, registers, word):
    async def main():
        async with stand() as at:
            with pytest.raises(DeviceRefused, match=word):
                await at.line.write_holding(1, address, registers)

    run_virtual(main)


def test_a_write_is_taken_whole_or_not_at_all():
    async def main():
        async with stand() as at:
            await at.driver.set_power_w(1000.0)
            with pytest.raises(DeviceRefused, match="illegal value"):
                await at.line.write_holding(1, LIMIT_ENA, [1, 9999])
            assert await at.line.read_holding(1, LIMIT_ENA, 2) == [0, 1000]
            assert at.now().converter.power_setpoint_w == 1000.0

    run_virtual(main)


@pytest.mark.parametrize(("address", "count"), [(40609, 3), (39999, 2), (0, 2), (50000, 2), (40611, 1)])
def test_no_register_outside_the_map_is_read(address, count):
    async def main():
        async with stand() as at:
            with pytest.raises(DeviceRefused, match="illegal address"):
                await at.line.read_holding(1, address, count)

    run_virtual(main)


def test_reads_may_begin_and_end_anywhere():
    async def main():
        async with stand() as at:
            whole = []
            for address in range(40000, 40611, 86):
                whole += await at.line.read_holding(1, address, min(86, 40611 - address))
            for first, count in ((0, 5), (68, 4), (230, 125), (387, 60), (609, 2)):
                assert await at.line.read_holding(1, 40000 + first, count) == whole[first : first + count]

    run_virtual(main)


def test_other_tables_are_refused():
    async def main():
        async with stand() as at:
            with pytest.raises(DeviceRefused, match="illegal function"):
                await at.line.read_coils(1, 40000, 1)

    run_virtual(main)


# --- model 715 ----------------------------------------------------------------------------------------

STOP, START, ENTER_STANDBY, EXIT_STANDBY = 0, 1, 2, 3


def test_the_unit_counts_its_heartbeat_whatever_its_telemetry_does():
    """One that stands is another fault than a frozen measurement."""

    async def main():
        async with stand(refresh_s=7.0) as at:
            counts = []
            for flag in ("silent", "frozen", "lifeless"):
                await asyncio.sleep(10.0)
                counts.append(await at.line.read_holding(1, DER_HB, 2))
                setattr(at.emulator, flag, flag != "silent")
            await asyncio.sleep(10.0)
            counts.append(await at.line.read_holding(1, DER_HB, 2))
            assert counts == [[0, 10], [0, 20], [0, 30], [0, 30]]

    run_virtual(main)


def test_a_stop_takes_power_down_the_ramp_and_only_a_start_brings_it_back():
    async def main():
        async with stand(with_converter(ramp_w_per_s=1000.0)) as at:
            write = at.line.write_holding
            await at.run_at(0.0)
            await at.driver.set_power_w(4000.0)
            await asyncio.sleep(6.0)
            await write(1, OP_CTL, [STOP])
            await asyncio.sleep(2.0)
            assert at.now().converter.power_w == pytest.approx(2000.0, abs=150.0)
            assert (await at.driver.state()).value is OperatingState.SHUTTING_DOWN
            await asyncio.sleep(3.0)
            assert (await at.driver.state()).value is OperatingState.OFF
            assert (await at.driver.is_on()).value is False
            for word in (ENTER_STANDBY, EXIT_STANDBY):
                with pytest.raises(DeviceRefused, match="illegal value"):
                    await write(1, OP_CTL, [word])
            await write(1, CONN, [1])
            await asyncio.sleep(10.0)
            assert at.now().converter.power_w == 0.0
            await write(1, OP_CTL, [START])
            await asyncio.sleep(15.0)
            assert at.now().converter.power_w == pytest.approx(4000.0, rel=0.01)

    run_virtual(main)


def test_a_start_on_the_way_down_is_not_turned_off_at_its_end():
    async def main():
        async with stand(with_converter(ramp_w_per_s=1000.0)) as at:
            await at.run_at(0.0)
            await at.driver.set_power_w(4000.0)
            await asyncio.sleep(6.0)
            await at.line.write_holding(1, OP_CTL, [STOP])
            await asyncio.sleep(1.0)
            await at.line.write_holding(1, OP_CTL, [START])
            await asyncio.sleep(10.0)
            assert at.now().converter.power_w == pytest.approx(4000.0, rel=0.01)

    run_virtual(main)


def test_standing_by_is_on_without_power():
    async def main():
        async with stand() as at:
            await at.run_at(-3000.0)
            await at.line.write_holding(1, OP_CTL, [ENTER_STANDBY])
            await asyncio.sleep(3.0)
            assert at.now().converter.power_w == pytest.approx(0.0, abs=1.0)
            assert (await at.driver.state()).value is OperatingState.STANDBY
            assert (await at.driver.is_on()).value is True
            await at.line.write_holding(1, OP_CTL, [EXIT_STANDBY])
            await asyncio.sleep(3.0)
            assert at.now().converter.power_w == pytest.approx(-3000.0, rel=0.01)

    run_virtual(main)


def test_a_unit_at_its_own_panel_takes_no_command_and_misses_no_controller():
    """The model's word for it: it has to be left before the unit is controlled remotely."""

    async def main():
        async with stand(heartbeat_timeout_s=4.0) as at:
            await at.run_at(2000.0)
            await at.driver.heartbeat.arm_watchdog(4.0)
            at.emulator.local = True
            assert await at.line.read_holding(1, LOC_REM, 1) == [1]
            await asyncio.sleep(20.0)
            for address, word in ((OP_CTL, STOP), (CONN, 0)):
                with pytest.raises(DeviceRefused):
                    await at.line.write_holding(1, address, [word])
            with pytest.raises(DeviceRefused, match="LocRemCtl is LOCAL"):
                await at.driver.heartbeat.arm_watchdog(4.0)
            assert at.now().converter.power_w == pytest.approx(2000.0, rel=0.01)
            at.emulator.local = False
            await asyncio.sleep(1.0)
            await at.driver.heartbeat.arm_watchdog(4.0)
            await asyncio.sleep(6.0)
            assert at.now().converter.power_w == 0.0

    run_virtual(main)


def test_a_unit_that_nobody_set_up_runs_on_without_a_controller():
    """The text of model 715 asks for two counters, and says nothing of what follows where one stands."""

    async def main():
        async with stand() as at:
            await at.run_at(2000.0)
            await at.line.write_holding(1, CONTROLLER_HB, [0, 17])
            await asyncio.sleep(600.0)
            assert at.now().converter.power_w == pytest.approx(2000.0, rel=0.01)
            with pytest.raises(DeviceRefused, match=r"allowed none, .* options\.heartbeat_timeout_s"):
                await at.driver.heartbeat.arm_watchdog(4.0)

    run_virtual(main)


def test_a_count_that_stands_is_no_heartbeat():
    async def main():
        async with stand(heartbeat_timeout_s=4.0) as at:
            await at.run_at(2000.0)
            for _ in range(4):
                await at.line.write_holding(1, CONTROLLER_HB, [0, 17])
                await asyncio.sleep(1.0)
            assert at.now().converter.is_on
            await asyncio.sleep(1.0)
            assert await at.line.read_holding(1, OP_CTL, 1) == [STOP]
            assert not at.now().converter.is_on

    run_virtual(main)


def test_the_controllers_heartbeat_counts_seconds():
    """However often whoever feeds looks after it, and from wherever it stands."""

    async def main():
        async with stand(heartbeat_timeout_s=4.0) as at:
            await at.line.write_holding(1, CONTROLLER_HB, [0xFFFF, 0xFFFD])
            await at.driver.heartbeat.arm_watchdog(4.0)
            counts = []
            for _ in range(9):
                await at.driver.heartbeat.feed_watchdog()
                counts.append(await at.line.read_holding(1, CONTROLLER_HB, 2))
                await asyncio.sleep(0.5)
            assert [low for _, low in counts[:-1]] == [0xFFFE, 0xFFFE, 0, 0, 1, 1, 2, 2]

    run_virtual(main)


def test_a_unit_without_a_heartbeat_of_its_own_is_no_hardware_layer():
    """It answers and obeys, and would miss no controller: found at arming, and while it is fed."""

    async def main():
        async with stand(heartbeat_timeout_s=4.0) as at:
            await at.run_at(2000.0)
            assert await at.line.read_holding(1, DER_HB, 2) == [0, 8]
            at.emulator.lifeless = True
            with pytest.raises(DeviceFault, match=r"715\.DERHb\) stands at 8 for 3 s"):
                await at.driver.heartbeat.arm_watchdog(4.0)
            at.emulator.lifeless = False
            await at.driver.heartbeat.arm_watchdog(4.0)
            at.emulator.lifeless = True
            for _ in range(3):
                await asyncio.sleep(1.0)
                await at.driver.heartbeat.feed_watchdog()
            await asyncio.sleep(1.0)
            with pytest.raises(DeviceFault, match=r"715\.DERHb\) stands at \d+ for \d\.\d s; allowed 3 s"):
                await at.driver.heartbeat.feed_watchdog()
            at.emulator._banks[715].put(DERHb=0xFFFF_FFFF)
            await asyncio.sleep(1.0)
            with pytest.raises(DeviceRefused, match=r"it has no 715\.DERHb"):
                await at.driver.heartbeat.arm_watchdog(4.0)

    run_virtual(main)


def test_arming_starts_nothing():
    """What ends the stop of a unit that missed its controller would start it, unless it is disconnected."""

    async def main():
        async with stand(heartbeat_timeout_s=4.0) as at:
            await at.run_at(2000.0)
            await at.driver.heartbeat.arm_watchdog(4.0)
            await asyncio.sleep(10.0)
            with pytest.raises(DeviceRefused, match="stands stopped and connected"):
                await at.driver.heartbeat.arm_watchdog(4.0)
            await at.driver.turn_off()
            await at.driver.heartbeat.arm_watchdog(4.0)
            await asyncio.sleep(3.0)
            assert at.now().converter.power_w == 0.0
            assert (await at.driver.heartbeat.is_watchdog_running()).value is True
            await at.driver.heartbeat.disarm_watchdog()
            assert (await at.driver.heartbeat.is_watchdog_running()).value is False
            with pytest.raises(DeviceFault, match="nobody armed it"):
                await at.driver.heartbeat.feed_watchdog()

    run_virtual(main)


# --- settings -----------------------------------------------------------------------------------------


def test_settings_are_the_writable_points_that_are_there():
    async def main():
        async with stand() as at:
            settings = await at.driver.settings()
            assert settings["702.WMax"] == 10_000.0
            assert settings["703.ESVHi"] == pytest.approx(105.0)
            assert settings["704.WSet"] == 0.0
            assert settings["123.WMaxLimPct"] == 100.0
            assert "704.PFWAbs.PF" not in settings  # not implemented
            assert "701.W" not in settings  # no setting
            assert "702.WMaxRtg" not in settings  # read-only

    run_virtual(main)


def test_restore_writes_what_differs_and_no_power_command():
    async def main():
        async with stand() as at:
            before = await at.driver.settings()
            await at.line.write_holding(1, WMAX_702, [7000])
            await at.line.write_holding(1, ENTER_HIGH_703, [1100])
            await at.driver.turn_on()
            await at.driver.set_power_w(-1500.0)
            await at.line.write_holding(1, LIMIT_ENA, [1, 900])
            at.line.writes.clear()
            await at.driver.restore(before)
            assert at.line.writes == [(1, WMAX_702, [10_000]), (1, ENTER_HIGH_703, [1050])]
            now = await at.driver.settings()
            assert {name for name in now if now[name] != before[name]} == {
                "123.Conn",
                "704.WSet",
                "704.WMaxLimPctEna",
                "704.WMaxLimPct",
            }

    run_virtual(main)


def test_restore_suggests_the_near_miss_and_sends_nothing():
    async def main():
        async with stand() as at:
            with pytest.raises(DeviceRefused, match=r"no setting '702.WMx'; did you mean '702.WMax'\?"):
                await at.driver.restore({"702.WMax": 5000.0, "702.WMx": 5000.0})
            assert at.line.writes == []

    run_virtual(main)


def test_restore_passes_the_units_refusal_on():
    async def main():
        async with stand() as at:
            with pytest.raises(DeviceRefused, match="illegal value"):
                await at.driver.restore({"702.WMax": 20_000.0})

    run_virtual(main)


# --- the battery on CAN ---------------------------------------------------------------------------------


def limits_frame(volt, charge_a, discharge_a):
    return struct.pack("<HhhH", round(volt * 10), round(charge_a * 10), round(discharge_a * 10), 448)


def test_the_inverter_obeys_the_limits_it_hears():
    """0x351 says 20 A of discharge: 8 kW is commanded, and 20 A flow."""

    async def main():
        async with can_pair() as (battery, inverter), stand(with_converter(), port=inverter) as at:
            battery.send(0x351, limits_frame(56.0, 30.0, 20.0))
            battery.send(0x355, struct.pack("<HH", 73, 98))
            await at.run_at(8000.0)
            assert at.now().string.current_a == pytest.approx(20.0, rel=0.02)
            await at.driver.set_power_w(-8000.0)
            await asyncio.sleep(3.0)
            assert at.now().string.current_a == pytest.approx(-30.0, rel=0.02)
            # 713.SoC and SoH are what it heard, not what the plant has.
            assert await at.line.read_holding(1, 40531, 2) == [730, 980]
            # A frame cut short changes nothing.
            battery.send(0x351, b"\x00\x00\x00")
            battery.send(0x355, b"\x01")
            await asyncio.sleep(1.0)
            assert at.now().string.current_a == pytest.approx(-30.0, rel=0.02)
            assert await at.line.read_holding(1, 40531, 2) == [730, 980]

    run_virtual(main)


def test_without_frames_there_is_no_state_of_charge():
    async def main():
        async with can_pair() as (_, inverter), stand(port=inverter) as at:
            await asyncio.sleep(1.0)
            assert await at.line.read_holding(1, 40531, 2) == [0xFFFF, 0xFFFF]

    run_virtual(main)


def test_a_silent_battery_brings_the_inverter_to_zero_with_an_alarm():
    """Frames stop: within the time-out power is gone, and the alarm has its own words."""

    async def main():
        spec = with_converter(bms_timeout_s=5.0)
        async with can_pair() as (battery, inverter), stand(spec, port=inverter) as at:
            for second in range(10):
                battery.send(0x351, limits_frame(56.0, 200.0, 200.0))
                if second == 0:
                    await at.driver.turn_on()
                    await at.driver.set_power_w(3000.0)
                await asyncio.sleep(1.0)
            assert (await at.driver.ac_power_w()).value == pytest.approx(3000.0, rel=0.01)
            assert (await at.driver.alarms()).value == frozenset()
            await asyncio.sleep(6.0)
            assert (await at.driver.ac_power_w()).value == pytest.approx(0.0, abs=50.0)
            assert "bms_timeout" in (await at.driver.alarms()).value
            for _ in range(15):
                battery.send(0x351, limits_frame(56.0, 200.0, 200.0))
                await asyncio.sleep(1.0)
            assert (await at.driver.ac_power_w()).value == pytest.approx(3000.0, rel=0.01)

    run_virtual(main)


def test_zinc_is_no_lithium():
    """802.Typ: 99 OTHER, since no number of the model means zinc-bromine."""

    async def main():
        spec = replace(SPEC, battery=BatterySpec(chemistry="zinc_halogen", cells_in_series=28))
        async with stand(spec) as at:
            assert await at.line.read_holding(1, 40566, 1) == [99]

    run_virtual(main)


# --- silence and rubbish ----------------------------------------------------------------------------------


def test_a_silent_unit_is_a_time_out():
    async def main():
        async with stand() as at:
            at.emulator.silent = True
            before_s = now_s()
            with pytest.raises(WireTimeout):
                await at.driver.ac_power_w()
            assert now_s() - before_s == pytest.approx(1.0)
            at.emulator.silent = False
            assert (await at.driver.ac_power_w()).value == 0.0

    run_virtual(main)


def test_an_unknown_unit_is_a_time_out_when_it_is_opened():
    async def main():
        async with stand() as at:
            driver = Driver("absent", at.line, Options(unit=9), Voice("absent"))
            with pytest.raises(WireTimeout):
                await driver.open()

    run_virtual(main)


def test_a_lost_answer_is_a_time_out_and_the_next_one_is_right():
    async def main():
        unit = Registers(40000, pysunspec2_image())
        faults = StreamFaults()
        async with modbus_pair({1: unit}, faults=faults) as line:
            driver = Driver("other", line, Options(), Voice("other"))
            await driver.open()
            faults.drop()
            with pytest.raises(WireTimeout):
                await driver.ac_power_w()
            assert (await driver.ac_power_w()).value == -23_000.0

    run_virtual(main)


async def opened(registers):
    async with modbus_pair({1: Registers(40000, registers)}) as line:
        driver = Driver("rubbish", line, Options(), Voice("rubbish"))
        await driver.open()
        return driver


def test_no_marker_names_what_came_at_each_base():
    with pytest.raises(
        CodecError, match=r"rubbish: no SunSpec map.*at 40000: 0xDEAD 0xBEEF.*at 0:.*at 50000:"
    ):
        run_virtual(lambda: opened([0xDEAD, 0xBEEF, 1, 66]))


def test_a_wrong_length_names_the_model_and_both_lengths():
    registers = pysunspec2_image()
    registers[71] = 51  # model 103's length register: 2 of marker, 68 of model 1, ID
    with pytest.raises(CodecError, match="rubbish: model 103 of 51 registers came where model 103 has 50"):
        run_virtual(lambda: opened(registers))


def test_a_common_model_may_lack_its_pad():
    registers = pysunspec2_image()
    registers[3] = 65
    del registers[69]
    assert run_virtual(lambda: opened(registers)).name == "rubbish"


@pytest.mark.parametrize(
    ("registers", "message"),
    [
        ([0x5375, 0x6E53, 103, 50], "starts with model 103; model 1 is due"),
        ([0x5375, 0x6E53, 1, 66, *[0] * 66, 999, 60000, *[0] * 4], "999 of 60000 registers leads to 100072"),
        ([0x5375, 0x6E53, 1, 66, *[0] * 66, *[900, 0] * 200], "no end after 100"),
    ],
)
def test_a_broken_chain_is_named(registers, message):
    with pytest.raises(CodecError, match=message):
        run_virtual(lambda: opened(registers))


def test_a_map_without_controls_is_refused():
    registers = [0x5375, 0x6E53, 1, 66, *[0] * 66, 0xFFFF, 0]
    with pytest.raises(DeviceRefused, match=r"has no model 103 \(the DC side\); it has 1"):
        run_virtual(lambda: opened(registers))


def test_a_map_that_moved_is_noticed_at_the_next_reading():
    async def main():
        unit = Registers(40000, pysunspec2_image())
        async with modbus_pair({1: unit}) as line:
            driver = Driver("other", line, Options(), Voice("other"))
            await driver.open()
            await asyncio.sleep(1.0)
            unit.registers[70:70] = [120, 26, *[0] * 26]
            with pytest.raises(CodecError, match="model 120 of 26 registers came where model 103 has 50"):
                await driver.dc_power_w()

    run_virtual(main)


def test_what_is_not_implemented_is_no_reading():
    async def main():
        unit = Registers(40000, pysunspec2_image())
        async with modbus_pair({1: unit}) as line:
            driver = Driver("other", line, Options(), Voice("other"))
            await driver.open()
            await asyncio.sleep(1.0)
            first = unit.registers.index(701) + 10
            unit.registers[first] = 0x8000
            with pytest.raises(DeviceRefused, match=r"other: point 701.W is not implemented"):
                await driver.ac_power_w()
            unit.registers[first - 6] = 12
            await asyncio.sleep(1.0)
            with pytest.raises(CodecError, match=r"701.InvSt is 12; 0 OFF, 1 SLEEPING"):
                await driver.state()

    run_virtual(main)


def test_a_closed_driver_says_so():
    async def main():
        async with stand() as at:
            await at.driver.close()
            for ask in (at.driver.ac_power_w, at.driver.turn_off, at.driver.identity):
                with pytest.raises(WireClosed, match="is not open"):
                    await ask()

    run_virtual(main)
