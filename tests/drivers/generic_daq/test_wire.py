"""Bytes of the recorder against a transcript written by hand, and answers that are no answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.generic_daq import Driver, Options
from harness.errors import CodecError, DeviceFault, DeviceRefused, WireTimeout
from harness.readings import Voice

from ..stands import Answering, Tape, meets_only_bench_errors, over

HERE = Path(__file__).parent
CHANNEL = {"number": 2, "quantity": "grid_ac.u1_v", "full_scale": 400.0}


def options(**changes: object) -> Options:
    return Options.model_validate({"channels": (CHANNEL,), **changes})


async def capture(driver: Driver):
    await driver.arm(["grid_ac.u1_v"], sample_rate_hz=1_000.0, before_s=0.004, after_s=0.006)
    assert (await driver.is_complete()).value is False
    assert (await driver.is_complete()).value is True
    return (await driver.waveforms())["grid_ac.u1_v"]


def captured(changes: dict[str, str] | None = None, **of_channel: object):
    """Play the tape, with other answers to some queries."""
    tape = Tape(HERE / "capture.txt", changes)
    chosen = options(channels=({**CHANNEL, **of_channel},))
    wave = over(tape, lambda line: Driver("daq", line, chosen, Voice("daq")), capture)
    tape.check()
    return wave


VOLTS = np.array(
    [0.0, 200.0, 32767 / 32768 * 400, -200.0, -32767 / 32768 * 400, 0.0, 1 / 81.92, -1 / 81.92, 0, 0]
)


def test_codes_become_volts_on_rig_time():
    wave = captured()
    assert wave.samples == pytest.approx(VOLTS)
    assert wave.start_s == pytest.approx(12.342, abs=1e-9)
    assert (wave.sample_rate_hz, wave.channel) == (1_000.0, "grid_ac.u1_v")


def test_a_reversed_probe_is_turned_round():
    assert captured(is_reversed=True).samples == pytest.approx(-VOLTS)


def test_uncertainties_are_limits_over_the_root_of_three():
    wave = captured()
    assert wave.gain_u == pytest.approx(0.001 / 3**0.5)
    assert wave.offset_u == pytest.approx(0.0005 * 400 / 3**0.5, rel=0.01)
    assert wave.trigger_skew_s == pytest.approx(20e-6)


@pytest.mark.parametrize(
    ("query", "answer", "error", "says"),
    [
        ("WAV:OVER?", "2", DeviceFault, "over range.*grid_ac.u1_v"),
        ("WAV:OVER?", "two", CodecError, "WAV:OVER"),
        ("WAV:COUN?", "11", CodecError, "11 samples and 10"),
        ("WAV:TRIG?", "yesterday", CodecError, "WAV:TRIG"),
        ("WAV:STAR?", "inf", CodecError, "finite"),
        ("WAV:DATA? 2,0,10", "#14abcd", CodecError, "4 bytes: 20"),
        ("WAV:DATA? 2,0,10", "no block", CodecError, "block"),
        ("ACQ:SRAT?", "999.5", DeviceRefused, "chose 999.5"),
        ("ACQ:STAT?", "PREFILL", DeviceFault, "still filling"),
        ("ACQ:STAT?", "BUSY", CodecError, "ACQ:STAT"),
        ("SYST:ERR?", '-225,"Out of memory"', CodecError, "finds no end"),
    ],
)
def test_another_answer_is_named(query: str, answer: str, error: type[Exception], says: str):
    with pytest.raises(error, match=says):
        captured({query: answer})


def on_answer(answer: bytes | None, main) -> Answering:
    instrument = Answering(answer)
    over(instrument, lambda line: Driver("daq", line, options(), Voice("daq")), main)
    return instrument


@given(st.binary(max_size=40).filter(lambda data: b"\n" not in data))
def test_no_answer_brings_anything_but_a_bench_error(answer: bytes):
    async def main(driver: Driver) -> None:
        await meets_only_bench_errors(
            driver.open, driver.identity, driver.is_complete, lambda: capture(driver), driver.waveforms
        )

    on_answer(answer, main)


def test_silence_times_out():
    async def main(driver: Driver) -> None:
        with pytest.raises(WireTimeout):
            await driver.open()
        with pytest.raises(WireTimeout):
            await driver.is_complete()

    on_answer(None, main)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"channels": ["load_ac.u1_v"]}, "load_ac.u1_v; each once of grid_ac.u1_v is allowed"),
        ({"sample_rate_hz": 300_000.0}, "300000 samples/s; up to 200000 is allowed"),
        (
            {"sample_rate_hz": 100_000.0, "after_s": 60.0},
            "6000000 samples.*4000000 are allowed, which is 40 s",
        ),
        ({"after_s": float("nan")}, "nan s after"),
        ({"trigger": "edge"}, "'edge'; external or now is allowed"),
    ],
)
def test_refuses_before_a_byte_is_sent(asked: dict[str, object], says: str):
    async def main(driver: Driver) -> None:
        call = {
            "channels": ["grid_ac.u1_v"],
            "sample_rate_hz": 1_000.0,
            "before_s": 0.0,
            "after_s": 0.1,
            **asked,
        }
        with pytest.raises(DeviceRefused, match=says):
            await driver.arm(call.pop("channels"), **call)

    assert on_answer(b"0", main).messages == []


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        ((), "at least 1"),
        ((CHANNEL, CHANNEL), "number 2 is there twice"),
        ((CHANNEL, {**CHANNEL, "number": 3}), "quantity grid_ac.u1_v is there twice"),
        (({**CHANNEL, "quantity": "u1"},), "no rig has it; allowed: grid_ac, pcs_ac"),
        (({**CHANNEL, "quantity": "load_ac.u9_v"},), "did you mean 'load_ac.u3_v'"),
        (({**CHANNEL, "full_scale": 0.0},), "greater than 0"),
        (({**CHANNEL, "gain": 2.0},), "[Ee]xtra"),
    ],
)
def test_options_refuse_a_table_that_cannot_be(channels: tuple[object, ...], says: str):
    with pytest.raises(ValidationError, match=says):
        options(channels=channels)
