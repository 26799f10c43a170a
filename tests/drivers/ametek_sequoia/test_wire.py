"""Bytes of the source against transcripts written by hand, and answers that are no answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.ametek_sequoia import Driver, Options
from harness.clock import run_virtual
from harness.errors import CodecError, DeviceRefused, PreconditionFailed, WireTimeout
from harness.readings import Voice
from harness.roles import GridStep
from harness.testing.loopback import visa_pair

from ..stands import Answering, Tape, meets_only_bench_errors, over

HERE = Path(__file__).parent


def options(**changes: object) -> Options:
    return Options.model_validate({"nominal_voltage_v": 120.0, **changes})


def on_tape(name: str, main):
    tape = Tape(HERE / name)
    over(tape, lambda line: Driver("grid", line, options(), Voice("grid")), main)
    tape.check()


def on_answer(answer: bytes | None, main, **changes: object) -> Answering:
    instrument = Answering(answer)
    over(instrument, lambda line: Driver("grid", line, options(**changes), Voice("grid")), main)
    return instrument


def test_sag_as_the_manual_wants_it():
    async def main(driver: Driver) -> None:
        full, half = (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)
        await driver.load_profile(
            [GridStep(0.5, full, 60.0), GridStep(0.16, half, 60.0), GridStep(1.0, full, 60.0)]
        )
        await driver.start_profile()
        assert (await driver.is_profile_running()).value is True
        assert (await driver.is_profile_running()).value is False
        await driver.stop_profile()

    on_tape("sag.txt", main)


def test_ramp_as_targets_and_slews():
    async def main(driver: Driver) -> None:
        low = (0.5, 0.5, 1.0)
        await driver.load_profile([GridStep(2.0, low, 59.0, is_ramp=True), GridStep(1.0, low, 59.0)])

    on_tape("ramp.txt", main)


def test_steady_voltage_and_relay():
    async def main(driver: Driver) -> None:
        await driver.open()
        identity = await driver.identity()
        assert (identity.maker, identity.serial) == ("CALIFORNIA INSTRUMENTS", "12345")
        await driver.set_voltage_v(115.47)
        await driver.set_frequency_hz(50.0)
        await driver.turn_on()
        assert (await driver.is_on()).value is True
        assert (await driver.voltage_v(2)).value == 115.42
        assert (await driver.frequency_hz()).value == 50.01
        await driver.turn_off()
        assert (await driver.is_on()).value is False

    on_tape("steady.txt", main)


def test_refusal_carries_every_code_and_text():
    class Refusing(Answering):
        def __init__(self) -> None:
            super().__init__(None)
            self.errors = [b'-222,"Data out of range"', b"-113,Undefined header", b'0,"No error"']

        async def answer(self, message: bytes) -> bytes | None:
            return self.errors.pop(0) if message == b":syst:err?" else None

    async def main() -> None:
        async with visa_pair(Refusing()) as line:
            driver = Driver("grid", line, options(), Voice("grid"))
            with pytest.raises(DeviceRefused, match=r"grid.*-222 Data out of range; -113 Undefined header"):
                await driver.set_voltage_v(100.0)

    run_virtual(main)


@pytest.mark.parametrize("answer", [b"", b"?", b"No error", b"\x00\x01", b"\xff\xfe", b"nan", b"1,2"])
def test_rubbish_is_a_codec_error(answer: bytes):
    async def main(driver: Driver) -> None:
        with pytest.raises(CodecError):
            await driver.voltage_v(1)
        with pytest.raises(CodecError):
            await driver.is_profile_running()
        with pytest.raises(CodecError):
            await driver.is_on()
        with pytest.raises(CodecError):
            await driver.identity()

    on_answer(answer, main)


@pytest.mark.parametrize("answer", [b"", b"No error", b"-350,Too Many Errors"])
def test_an_error_queue_that_makes_no_sense_is_a_codec_error(answer: bytes):
    async def main(driver: Driver) -> None:
        with pytest.raises(CodecError, match="syst:err"):
            await driver.set_frequency_hz(50.0)

    on_answer(answer, main)


@given(st.binary(max_size=40).filter(lambda data: b"\n" not in data))
def test_no_answer_brings_anything_but_a_bench_error(answer: bytes):
    async def main(driver: Driver) -> None:
        await meets_only_bench_errors(
            driver.frequency_hz, driver.is_on, driver.is_profile_running, driver.identity, driver.turn_on
        )

    on_answer(answer, main)


def test_silence_times_out():
    async def main(driver: Driver) -> None:
        with pytest.raises(WireTimeout):
            await driver.frequency_hz()
        with pytest.raises(WireTimeout):
            await driver.turn_off()

    on_answer(None, main)


def test_another_range_than_the_rig_file_says():
    class Standing(Answering):
        async def answer(self, message: bytes) -> bytes | None:
            return {b":syst:err?": b'0,"No error"', b":volt:rang?": b"300"}.get(message)

    async def main() -> None:
        async with visa_pair(Standing(None)) as line:
            with pytest.raises(PreconditionFailed, match=r"300 V.*150 V"):
                await Driver("grid", line, options(), Voice("grid")).open()

    run_virtual(main)


FLAT = (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([], "0 steps; 1 to 99 are allowed"),
        ([GridStep(1.0, FLAT, 60.0)] * 100, "100 steps; 1 to 99 are allowed"),
        ([GridStep(0.0005, FLAT, 60.0)], "0.0005 s; 0.001 to 90000 s is allowed"),
        ([GridStep(1e5, FLAT, 60.0)], "100000 s; 0.001 to 90000 s is allowed"),
        ([GridStep(1.0, (1.0, 1.3, 1.0), 60.0)], "step 1: 156 V; 0 to 150 V is allowed"),
        ([GridStep(1.0, (1.0, -0.1, 1.0), 60.0)], "-12 V; 0 to 150 V is allowed"),
        ([GridStep(1.0, (1.0, float("nan"), 1.0), 60.0)], "nan V; 0 to 150 V is allowed"),
        ([GridStep(1.0, FLAT, 15.0)], "15 Hz; 16 to 819 Hz is allowed"),
        ([GridStep(1.0, FLAT, 60.0, phase_jump_deg=20.0)], "phase jump of 20 deg.*phase_list"),
        ([GridStep(1.0, FLAT, 60.0, angle_deg=(0.0, -41.0, 41.0))], "angles of .*phase_list"),
        ([GridStep(1.0, FLAT, 60.0, starts_at_deg=90.0)], "start at 90 deg.*None is allowed"),
        (
            [GridStep(1.0, FLAT, 60.0), GridStep(0.001, FLAT, 70.0, is_ramp=True)],
            "step 2: 10000 Hz/s; 0.001 to 2000 Hz/s is allowed",
        ),
        (
            [GridStep(1.0, FLAT, 60.0), GridStep(9e4, (1.001, 1.0, 1.0), 60.0, is_ramp=True)],
            "step 2: 1.33333e-06 V/s; 0.01 to 500000 V/s is allowed",
        ),
    ],
)
def test_refuses_a_profile_before_a_byte_is_sent(steps: list[GridStep], says: str):
    async def main(driver: Driver) -> None:
        with pytest.raises(DeviceRefused, match=says):
            await driver.load_profile(steps)

    assert on_answer(b"0", main).messages == []


def test_refuses_levels_before_a_byte_is_sent():
    async def main(driver: Driver) -> None:
        with pytest.raises(DeviceRefused, match="151 V; 0 to 150 V is allowed"):
            await driver.set_voltage_v(151.0)
        with pytest.raises(DeviceRefused, match="820 Hz; 16 to 819 Hz is allowed"):
            await driver.set_frequency_hz(820.0)
        with pytest.raises(DeviceRefused, match="1 to 3"):
            await driver.voltage_v(4)

    assert on_answer(b"0", main).messages == []


def test_fewer_points_on_a_smaller_model():
    async def main(driver: Driver) -> None:
        with pytest.raises(DeviceRefused, match="32 steps; 1 to 31 are allowed"):
            await driver.load_profile([GridStep(1.0, FLAT, 60.0)] * 32)

    on_answer(b"0", main, max_points=32)


def test_ends_of_steps_move_to_the_grid_of_a_millisecond_without_adding_up():
    """Five cycles of 60 Hz are 83.33 ms: three of them end at 83, 167 and 250 ms."""

    async def main(driver: Driver) -> None:
        await driver.load_profile([GridStep(5 / 60, FLAT, 60.0)] * 3)

    assert b":list:dwel 0.083,0.084,0.083,0.001" in on_answer(b"0,No Error", main).messages


def test_phase_jumps_add_up_in_the_list_of_phase_one():
    """Phases 2 and 3 are programmed relative to phase 1 (Sequoia manual p. 101)."""

    async def main(driver: Driver) -> None:
        steps = [GridStep(1.0, FLAT, 60.0, phase_jump_deg=jump) for jump in (0.0, 170.0, 20.0, -60.0)]
        await driver.load_profile(steps)
        await driver.stop_profile()

    messages = on_answer(b"0,No Error", main, phase_list=True).messages
    assert b":inst:nsel 1;:phas:mode list" in messages
    assert b":inst:nsel 1;:list:phas 0.0,170.0,-170.0,130.0,130.0" in messages
    assert messages[-2:] == [b":inst:coup none;:inst:nsel 1;:phas:mode fix", b":syst:err?"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"voltage_range_v": 200.0}, "150, 300 or 600"),
        ({"max_voltage_v": 200.0}, "at most voltage_range_v"),
        ({"nominal_voltage_v": 151.0}, "at most max_voltage_v"),
        ({"phase_angles_deg": (0.0, 400.0, 120.0)}, "-360 to 360 deg"),
        ({"max_points": 101}, "100"),
        ({"volts": 1.0}, "[Ee]xtra"),
    ],
)
def test_options_refuse_what_the_machine_cannot_be(changes: dict[str, object], says: str):
    with pytest.raises(ValidationError, match=says):
        options(**changes)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([GridStep(1.0, FLAT, 60.0, angle_deg=(0.0, -61.0, 0.0))], "-60 to 60 deg"),
        (
            [
                GridStep(1.0, FLAT, 60.0, angle_deg=(0.0, -41.0, 41.0)),
                GridStep(1.0, FLAT, 60.0, is_ramp=True),
            ],
            "step 2: a ramp from angles of",
        ),
    ],
)
def test_refuses_angles_that_no_list_can_play(steps: list[GridStep], says: str):
    async def main(driver: Driver) -> None:
        with pytest.raises(DeviceRefused, match=says):
            await driver.load_profile(steps)

    on_answer(b"0,No Error", main, phase_list=True)


def test_angles_go_to_the_lists_of_their_phases():
    """Phase 1's own angle leads the frame; phases 2 and 3 stand at their base of 240 and 120 degrees."""

    async def main(driver: Driver) -> None:
        await driver.load_profile([GridStep(1.0, FLAT, 60.0, angle_deg=(5.0, -41.0, 41.0))])
        await driver.stop_profile()

    messages = on_answer(b"0,No Error", main, phase_list=True).messages
    assert b":inst:nsel 3;:phas:mode list" in messages
    assert b":inst:nsel 1;:list:phas 5.0,5.0" in messages
    assert b":inst:nsel 2;:list:phas 194.0,194.0" in messages
    assert b":inst:nsel 3;:list:phas 156.0,156.0" in messages
    assert b":inst:coup none;:inst:nsel 3;:phas:mode fix" in messages
