"""A synthetic run of six plans: what a grid-tied storage bench would have recorded."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from harness.readings import Reading, Waveform
from harness.record.run import Attempt, Run, Subject, Unit

F0 = 50.0
RATE = 5000.0


def judgement(measure, value, u, unit, verdict, low=None, high=None, **more):  # noqa: PLR0917 - reads as a row
    written = (
        f"{low:g} to {high:g} {unit}"
        if None not in (low, high)
        else f"at most {high:g} {unit}"
        if low is None
        else f"at least {low:g} {unit}"
    )
    return {
        "measure": measure,
        "case": "",
        "value": value,
        "u": u,
        "unit": unit,
        "verdict": verdict,
        "requirement": {
            "id": f"jeac9701_2024.{measure.replace(' ', '_')}",
            "clause": "3-2",
            "version": {
                "family": "jeac9701",
                "standard": "JEAC 9701",
                "edition": "2024",
                "file": "jeac9701_2024.toml",
                "sha256": "5a" * 32,
            },
        },
        "provenance": "JEAC 9701:2024, 3-2, seen second-hand, unverified",
        "limits": {"minimum": low, "maximum": high, "unit": unit, "tolerance": 0.0, "written": written},
        "rule": "simple",
        "is_verified": False,
        "is_stimulus": False,
        "parts": [["gain", u * 0.8], ["offset", u * 0.6]],
        **more,
    }


def sag_channels(duration_s, sag_at_s, f0=F0, start_s=0.0):
    """Six channels at 5 kS/s: a sag of all phases to 20 % for 0.3 s, and the current that answers."""
    n = int(duration_s * RATE)
    t = start_s + np.arange(n) / RATE
    in_sag = (t >= sag_at_s) & (t < sag_at_s + 0.3)
    level = np.where(in_sag, 0.2, 1.0) * 115.47 * math.sqrt(2)
    after = np.clip((t - sag_at_s - 0.3) / 0.05, 0.0, 1.0)
    current = np.where(in_sag, 12.0, np.where(t < sag_at_s, 28.9, 12.0 + 16.9 * after)) * math.sqrt(2)
    noise = np.random.default_rng(7).normal(size=n)
    channels = {}
    for phase in (1, 2, 3):
        angle = 2 * math.pi * f0 * t - (phase - 1) * 2 * math.pi / 3
        for name, samples in (
            (f"pcs_ac.u{phase}_v", level * np.sin(angle) + 0.2 * noise),
            (f"pcs_ac.i{phase}_a", current * np.sin(angle) + 0.1 * noise),
        ):
            channels[name] = Waveform(samples, start_s, RATE, name, gain_u=0.001)
    return channels


def readings(run, duration_s, *, sag_at_s=None, period_s=0.5):
    t = np.arange(0.0, duration_s, period_s).tolist()
    for now in t:
        is_sag = sag_at_s is not None and sag_at_s <= now < sag_at_s + 0.3
        power = 2500.0 if is_sag else 10000.0 * min(1.0, now / 20.0)
        for source, value in (
            ("inverter.ac_power_w", power + 12 * math.sin(now)),
            ("inverter.reactive_power_var", 40 * math.sin(now / 7)),
            ("analyzer.pcs_ac.power_w", power + 3 * math.sin(now / 3)),
            ("load.power_w", 3000.0),
            ("inverter.ac_voltage_v", 23.1 if is_sag else 115.4 + 0.1 * math.sin(now)),
            ("battery.voltage_v", 51.2 - 0.004 * now - power * 2e-4),
            ("battery.current_a", power / 50.0),
            ("inverter.frequency_hz", 50.0 + 0.01 * math.sin(now / 5)),
            ("battery.temperature_degc", 25.0 + 0.01 * now),
            ("battery.soc", 0.62 - now / 5000.0),
        ):
            run.journal.reading(Reading(value, now, source))
        run.journal.reading(Reading("running" if now > 4 else "starting", now, "inverter.state"))
        run.journal.reading(
            Reading(frozenset({"grid_undervoltage"} if is_sag else ()), now, "inverter.alarms")
        )
        run.journal.reading(Reading(True, now, "battery.is_discharge_allowed"))


def identities(recorder):
    for device, maker, model, serial, address in (
        ("inverter", "SunSpec", "704 storage", "PCS-0007", "127.0.0.1:40123"),
        ("analyzer", "Yokogawa", "WT1804E", "91K225", "TCPIP0::127.0.0.1::40124::SOCKET"),
    ):
        identity = {"device": device, "maker": maker, "model": model, "serial": serial, "address": address}
        recorder.note("identity", {**identity, "tried": "never on hardware"}, 0.0)


def ride_through(run, plan, f0, verdict, *, duration_s=60.0, message=""):
    recorder = run.plan(
        plan,
        {"residual": 0.2, "duration_ms": 300},
        title="Rides through a three-phase sag to 20 % for 0.3 s",
        purpose="The converter stays connected, and is back at its power within the time allowed.",
        f0_hz=f0,
        form="ci",
        does_not_show="the 60 s rest before the second sag",
        seed=20261121,
        hazard="stresses",
        measures=("power before", "time to restore"),
        declared_s=120.0,
    )
    identities(recorder)
    run.command("inverter.set_power_w", 0.5, 10000.0)
    run.command("grid.load_profile", 20.0, [{"duration_s": 0.3, "voltage_pu": [0.2, 0.2, 0.2]}])
    run.command("grid.start_profile", 30.0, None)
    readings(run, duration_s, sag_at_s=30.0)
    recorder.capture("sag", sag_channels(4.0, 30.0, f0, 28.0))
    recorder.judgement(
        judgement("residual voltage", 0.2003, 0.0004, "1", ".", 0.19, 0.21, is_stimulus=True), 40.0
    )
    recorder.judgement(judgement("power before", 9987.0, 8.2, "W", ".", 9500.0, 10500.0), 41.0)
    restore = 0.0884 if verdict == "." else 0.131
    recorder.judgement(judgement("time to restore", restore, 0.0011, "s", verdict, None, 0.1), 42.0)
    recorder.judgement(judgement("stays connected", 1.0, 0.0, "bool", ".", 1.0, 1.0), 43.0)
    recorder.note(
        "balance", {"in_j": 612344.2, "out_j": 580123.9, "losses_j": 32219.8, "residual": 8.2e-7}, 59.0
    )
    recorder.outcome(verdict, message, duration_s)


@pytest.fixture
def run(station):
    subject = Subject(
        rig="lab1",
        product="pcs_10kva_48v",
        unit=Unit(
            serial="RP-2026-0042",
            lot="2026-47",
            firmware="1.4.2",
            sub_units={"module 1": "ZM-1107", "module 2": "ZM-1108", "module 3": "ZM-1131"},
        ),
        is_emulated=True,
        clock="simulated",
    )
    attempt = Attempt(station="bench 3", operator="M. Sato", order="PO-5521", number=2, of=3)
    moment = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    return Run(station / "runs", subject, attempt, wall=lambda: moment).open()


@pytest.fixture
def sealed(run):
    """The folder of a sealed run in which every verdict occurs."""
    ride_through(run, "RT-01[50 Hz]", 50.0, ".")
    ride_through(run, "RT-01[60 Hz]", 60.0, "F", message="time to restore: 131.0 ms; allowed at most 100 ms")
    plan = run.plan(
        "CC-02",
        title="Round-trip efficiency over one full cycle",
        f0_hz=50.0,
        form="ci",
        measures=("efficiency",),
    )
    readings(run, 7200.0, period_s=30.0)
    plan.judgement(
        judgement(
            "round-trip efficiency",
            0.8513,
            0.0031,
            "1",
            "I",
            0.85,
            None,
            rule="guard_band",
            is_verified=True,
            provenance="maker's own limit",
        ),
        7100.0,
    )
    plan.outcome("I", "", 7200.0)
    plan = run.plan("PR-04", title="Isolation fault trips the string", form="full")
    plan.outcome("NOT_TESTABLE", "lab1 has no role fault_inserter", 0.0)
    plan = run.plan("CO-01", title="A silent battery brings the converter to zero power", form="full")
    readings(run, 12.0)
    plan.outcome(
        "E", "WireTimeout: battery: no answer to 0x0351 within 1 s\nwhile waiting for battery.soc", 12.0
    )
    plan = run.plan("FO-01", title="AC loss at full load", form="full")
    readings(run, 20.0, sag_at_s=10.0)
    plan.outcome("A", "interlock: battery_dc.i_a 312.4 A above the envelope 300 A for 20 ms", 20.0)
    run.seal()
    return run.folder
