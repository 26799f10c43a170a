"""What may be emulated beside real devices, and what may not, with a way out each time."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from harness.clock import run_wall
from harness.errors import BenchError, ConfigurationError
from harness.rig.bench import Setup, open_bench
from harness.rig.files import load_product, load_rig
from harness.rig.rig_file import RigFile
from harness.rig.stand_in import stand_in_refusals
from harness.rig.toml_file import toml_text

from ..processes import LAB1, LFP_RACK

EMULATION = {"battery_current": "analyzer.battery_dc.current_a"}


def bench_source(tmp_path: Path, *, emulation: object = EMULATION, **more: object) -> RigFile:
    """lab1 with a bench source in place of its battery."""
    table = tomllib.loads(LAB1.read_text())
    table["topology"]["battery_side"] = "bench_source"
    if emulation is not None:
        table["emulation"] = emulation
    table |= more
    path = tmp_path / "bench.toml"
    path.write_text(toml_text(table))
    return load_rig(path)


def test_a_battery_can_be_emulated_where_a_bench_source_hangs_in_its_place(tmp_path):
    assert stand_in_refusals(bench_source(tmp_path), ["bms"]) == []
    assert stand_in_refusals(bench_source(tmp_path), []) == []


def test_a_battery_that_hangs_there_is_not_left_without_its_management():
    (refusal,) = stand_in_refusals(load_rig(LAB1), ["bms"])
    assert refusal.startswith("--emulate=bms: it protects the battery at battery_dc")
    assert 'topology.battery_side = "bench_source"' in refusal


def test_without_a_current_to_follow_it_says_what_to_write(tmp_path):
    (refusal,) = stand_in_refusals(bench_source(tmp_path, emulation=None), ["bms"])
    assert 'write [emulation] with battery_current = "analyzer.battery_dc.current_a"' in refusal


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("pcs", "inverter beside real devices: it would move no power"),
        ("grid", "grid_source beside real devices: it would feed nothing"),
        ("recorder", "recorder beside real devices: it would record a world that is not there"),
        ("relay", "fault_inserter beside real devices: a real lead cannot be opened"),
        ("analyzer", "power_analyzer beside real devices: it would measure a world that is not there"),
        ("shunt", "protects the rig or feeds the interlock (protective = true)"),
        ("safety", "protects the rig or feeds the interlock (protective = true)"),
    ],
)
def test_nothing_else_can_and_each_refusal_names_device_reason_and_way_out(tmp_path, device, why):
    (refusal,) = stand_in_refusals(bench_source(tmp_path), [device])
    assert refusal.startswith(f"--emulate={device}: ")
    assert why in refusal
    assert refusal.endswith("leave it real, or emulate all devices with --emulate alone")


def test_what_protects_is_refused_for_that(tmp_path):
    devices = tomllib.loads(LAB1.read_text())["devices"]
    devices["relay"]["protective"] = True
    (refusal,) = stand_in_refusals(bench_source(tmp_path, devices=devices), ["relay"])
    assert "it protects the rig or feeds the interlock (protective = true)" in refusal
    assert refusal.endswith("leave it real, or emulate all devices with --emulate alone")


def test_all_refusals_are_told_together(tmp_path):
    refusals = stand_in_refusals(bench_source(tmp_path), ["grid", "pcs", "bms"])
    assert [each.partition(":")[0] for each in refusals] == ["--emulate=grid", "--emulate=pcs"]


def test_all_devices_of_a_rig_are_the_option_alone(tmp_path):
    rig = bench_source(tmp_path)
    (refusal,) = stand_in_refusals(rig, list(rig.devices))
    assert refusal.endswith("write --emulate alone")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("analyser.battery_dc.current_a", "unknown device 'analyser'"),
        ("grid.battery_dc.current_a", "that device's role is grid_source; allowed: power_analyzer"),
        ("analyzer.pcs_ac.current_a", "allowed: 'analyzer.battery_dc.current_a'"),
        ("analyzer", "allowed: 'analyzer.battery_dc.current_a'"),
    ],
)
def test_the_current_it_follows_is_checked_with_the_rig_file(tmp_path, asked, said):
    with pytest.raises(ConfigurationError) as caught:
        bench_source(tmp_path, emulation={"battery_current": asked})
    (mistake,) = caught.value.mistakes
    assert "emulation.battery_current" in mistake
    assert said in mistake


def test_a_line_that_cannot_be_opened_is_told_for_its_device_also_where_that_is_emulated(tmp_path):
    wires = tomllib.loads(LAB1.read_text())["wires"]
    wires["battery_can"] |= {"interface": "serial", "channel": "/dev/nowhere"}
    rig = bench_source(tmp_path, wires=wires)
    setup = Setup(rig=rig, product=load_product(LFP_RACK), f0_hz=60.0, stand_ins=("bms",))

    async def main():
        async with open_bench(setup, emulate=False, only=frozenset({"bms"})):
            pass

    with pytest.raises(BenchError) as caught:
        run_wall(main)
    assert str(caught.value).startswith(
        "rig lab1: 1 of 1 devices cannot be opened: bms (pylontech_lv): battery_can (serial /dev/nowhere): "
        "cannot be opened: "
    )
