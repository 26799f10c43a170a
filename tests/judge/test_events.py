"""A sag and the way back, drawn in closed form, at 50 and 60 Hz, discharging and charging."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.judge import Judge, Verdict
from harness.judge.events import restore_time
from harness.judge.waveforms import half_cycle_marks, longest_interruption, power_one_cycle_w, rms_half_cycle
from harness.readings import Waveform
from harness.requirements import Requirements

REQUIREMENTS = Requirements.load()
RATE = 10_000.0
SAG_S = (0.5, 0.8)
BOTH = pytest.mark.parametrize("f0_hz", [50.0, 60.0])


def shapes(f0_hz, *, residual=0.2, back_after_s=0.05, power=1.0, sag_s=SAG_S, length_s=3.0):
    """Three voltages with a sag, three currents that are gone in it and come back late."""
    t = np.arange(round(length_s * RATE)) / RATE
    is_sag = (t >= sag_s[0] - 1e-9) & (t < sag_s[1] - 1e-9)
    is_gone = (t >= sag_s[0] - 1e-9) & (t < sag_s[1] + back_after_s - 1e-9)
    volts, amps = [], []
    for k in range(3):
        shape = math.sqrt(2) * np.sin(2 * math.pi * f0_hz * t - k * 2 * math.pi / 3)
        volts.append(Waveform(np.where(is_sag, residual, 1.0) * 100 * shape, 0.0, RATE, f"pcs_ac.u{k + 1}_v"))
        amps.append(Waveform(np.where(is_gone, 0.0, power) * 10 * shape, 0.0, RATE, f"pcs_ac.i{k + 1}_a"))
    return volts, amps


def restored(f0_hz, *, commanded_w=3000.0, **more):
    volts, amps = shapes(f0_hz, **more)
    marks = half_cycle_marks(volts[0], f0_hz)
    sag = longest_interruption(rms_half_cycle(volts[0], f0_hz, marks=marks), 90.0)
    return restore_time(
        power_one_cycle_w(volts, amps, f0_hz, marks=marks),
        before=(0.1, 0.4),
        commanded_w=commanded_w,
        recovery_s=sag.window_s[1] if sag.value and sag.window_s else math.inf,
        share=0.8,
        dwell_s=0.1,
        is_same_clock=True,
    )


@BOTH
@given(residual=st.floats(0.0, 0.8), length_s=st.floats(0.1, 1.0), at_s=st.floats(0.3, 0.5))
@settings(max_examples=30)
def test_a_sag_is_as_long_as_it_was(f0_hz, residual, length_s, at_s):
    volts, _ = shapes(f0_hz, residual=residual, sag_s=(at_s, at_s + length_s))
    sag = longest_interruption(rms_half_cycle(volts[0], f0_hz), 90.0)
    assert sag.value == pytest.approx(length_s, abs=1.0 / f0_hz)
    assert sag.window_s[0] == pytest.approx(at_s, abs=0.6 / f0_hz)


def test_no_sag_has_no_length():
    volts, _ = shapes(50.0, residual=1.0)
    assert longest_interruption(rms_half_cycle(volts[0], 50.0), 90.0).value == 0.0
    assert math.isnan(restored(50.0, residual=1.0).value)


def test_a_sag_that_does_not_end_is_infinite():
    volts, _ = shapes(50.0, sag_s=(0.5, 9.0))
    assert longest_interruption(rms_half_cycle(volts[0], 50.0), 90.0).value == math.inf


@BOTH
@pytest.mark.parametrize("power", [1.0, -1.0])
@given(back_after_s=st.floats(0.03, 0.9))
@settings(max_examples=20)
def test_restore_time_in_both_directions(f0_hz, power, back_after_s):
    found = restored(f0_hz, power=power, commanded_w=3000.0 * power, back_after_s=back_after_s)
    assert found.value == pytest.approx(back_after_s, abs=1.0 / f0_hz)
    assert found.u >= 0.5 / f0_hz / math.sqrt(3) * 0.99


@BOTH
@pytest.mark.parametrize("power", [0.0, 0.01, -1.0])
def test_dead_and_reversed_units_never_come_back(f0_hz, power):
    found = restored(f0_hz, power=power)
    assert found.value == math.inf
    judge = Judge(["restore time"], REQUIREMENTS, f0_hz=f0_hz, given={})
    assert judge("restore time", found, "jeac9701.sag_0_restore").verdict is Verdict.FAIL


@BOTH
@pytest.mark.parametrize(
    ("requirement", "limit_s"), [("jeac9701.sag_20_restore", 0.1), ("jeac9701.sag_0_restore", 1.0)]
)
def test_the_verdict_flips_at_the_limit_within_half_a_cycle(f0_hz, requirement, limit_s):
    half_s = 0.5 / f0_hz
    judge = Judge(["restore time"], REQUIREMENTS, f0_hz=f0_hz, given={})
    inside = restored(f0_hz, back_after_s=limit_s - half_s - 1e-3)
    outside = restored(f0_hz, back_after_s=limit_s + half_s + 1e-3)
    assert judge("restore time", inside, requirement, case="inside").verdict is Verdict.PASS
    assert judge("restore time", outside, requirement, case="outside").verdict is Verdict.FAIL
