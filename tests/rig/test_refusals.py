"""A rig that would burn, or that nobody watches, is refused before it is energised."""

from __future__ import annotations

import pytest

from harness.rig.files import load_product, load_rig
from harness.rig.refusals import refusals

from ..processes import LAB1, LFP_RACK


def _without_sink(table):
    table["topology"]["source"] |= {"can_sink": False, "sink_power_w": 0.0}


def _with_small_sink(table):
    table["topology"]["source"]["sink_power_w"] = 9000.0


def _with_small_source(table):
    table["topology"]["source"]["power_w"] = 10_500.0


def _without_source(table):
    del table["topology"]["source"], table["devices"]["grid"], table["triggers"]


def _with_two_monitors(table):
    table["topology"]["systems"]["dc"]["insulation_monitors"] = ["bench", "bms"]


def _without_monitor(table):
    table["topology"]["systems"]["dc"]["insulation_monitors"] = []


def _without_dc_system(table):
    del table["topology"]["systems"]["dc"]


def _without_envelope(table):
    del table["envelope"]


def _with_narrow_voltage(table):
    table["envelope"]["battery_voltage_v"]["value"] = [46.0, 58.4]


def _with_small_current(table):
    table["envelope"]["battery_current_a"]["value"] = 200.0


def _that_only_reads(table):
    table["allowed_hazards"] = ["reads"]


def _with_one_phase(table):
    table["phases"] = 1


def _at_another_voltage(table):
    table["nominal_voltage_v"] = 230.0


def _with_a_large_load(table):
    table["topology"]["source"]["power_w"] = 40_000.0
    table["topology"]["critical_load"]["power_w"] = 12_000.0


def _without_interlock(table):
    del table["interlock"]


def _without_a_watch(table):
    del table["interlock"]["watch"]["battery_current_a"]


def _with_a_limit_of_the_source(table):
    table["envelope"]["ac_current_a"] = {"value": 40.0, "within_s": 0.1}


def _watched_by_the_product(table):
    table["interlock"]["watch"]["battery_voltage_v"] = ["bms.voltage_v"]
    table["interlock"]["periods_s"]["bms"] = 0.04


def _with_a_slow_sensor(table):
    table["interlock"]["periods_s"]["shunt"] = 0.05


def _without_safe_state(table):
    del table["safe_state"]


def _verified_by_one_device(table):
    table["safe_state"]["verified"]["battery_current"]["sensors"] = ["shunt.current_a", "shunt.voltage_v"]


def _without_hardware_layer(table):
    del table["safe_state"]["hardware_layers"]


def _without_safety_chain(table):
    del table["topology"]["safety_chain"]


def test_a_sound_rig_is_not_refused(project, lfp_rack):
    assert refusals(project.load(project.table()), lfp_rack) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without_sink, "source 'grid' cannot sink, and a discharge may return 10000.0 W"),
        (_with_small_sink, "source 'grid' sinks 9000.0 W, and a discharge may return 10000.0 W"),
        (_with_small_source, "source 'grid' gives 10500.0 W; charge and critical load draw 11000.0 W"),
        (_without_source, "no topology.source: it stands on the public mains, which no command takes away"),
        (_with_two_monitors, "2 insulation monitors stand on the IT system 'dc' (bench, bms)"),
        (_without_monitor, "no insulation monitor stands on the IT system 'dc'"),
        (_without_dc_system, "no system of the topology holds battery_dc"),
        (_without_envelope, "no envelope: the interlock would have no limit to watch"),
        (_with_narrow_voltage, "the product works from 43.2 to 57.6 V, the rig survives 46.0 to 58.4 V"),
        (_with_small_current, "the product works up to 250.0 A, the rig survives 200.0 A"),
        (_that_only_reads, "allowed_hazards is reads alone"),
        (_with_one_phase, "the rig has 1 phases, the product 3"),
        (_at_another_voltage, "the rig's nominal voltage is 230.0 V line to neutral, the product's 115.47 V"),
        (_with_a_large_load, "the critical load draws 12000.0 W, the product carries 10000.0 W in an island"),
        (_without_interlock, "no interlock: nobody would watch the envelope"),
        (_without_a_watch, "envelope.battery_current_a is watched by nobody"),
        (_with_a_limit_of_the_source, "envelope.ac_current_a is watched by nobody"),
        (_watched_by_the_product, "bms.voltage_v is no sensor of the bench's own"),
        (_without_safe_state, "no safe_state: nobody would know how to make it safe"),
        (
            _verified_by_one_device,
            "shunt.current_a, shunt.voltage_v are one device; allowed: two different ones",
        ),
        (_without_hardware_layer, "no hardware layer: a dead PC would leave it energised"),
        (_without_safety_chain, "no topology.safety_chain: nothing opens the battery's contactor"),
    ],
)
def test_a_rig_is_refused_with_its_one_reason(project, lfp_rack, change, said):
    table = project.table()
    change(table)
    (reason,) = refusals(project.load(table), lfp_rack)
    assert reason.startswith("rig 'small' with product 'lfp_rack': ")
    assert said in reason


def test_a_reaction_that_is_longer_than_the_envelope_allows_is_refused_limit_by_limit(project, lfp_rack):
    """Three periods of 0.05 s until silence counts, 0.02 s of latency, 0.05 s until the current is gone."""
    table = project.table()
    _with_a_slow_sensor(table)
    reasons = refusals(project.load(table), lfp_rack)
    assert len(reasons) == 2
    for limit, reason in zip(("battery_voltage_v", "battery_current_a"), reasons, strict=True):
        assert f"envelope.{limit}: the reaction takes 0.22 s end to end, the rig survives 0.2 s" in reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda table: table["interlock"]["watch"].update(battery_voltage_v=["shunk.voltage_v"]),
            "interlock.watch.battery_voltage_v: shunk.voltage_v: unknown device 'shunk'",
        ),
        (
            lambda table: table["safe_state"].update(current="shunt.curent_a"),
            "safe_state.current: shunt.curent_a: unknown dc_sensor value 'curent_a'",
        ),
        (
            lambda table: table["interlock"].update(contacts=["safety.e_stop"]),
            "interlock.contacts: safety.e_stop: unknown input 'e_stop'; known: contactor, e_stop_released",
        ),
        (
            lambda table: table["interlock"]["periods_s"].pop("shunt"),
            "interlock.periods_s.shunt is missing",
        ),
        (
            lambda table: table["safe_state"]["hardware_layers"]["watchdog"].update(device="dog"),
            "safe_state.hardware_layers.watchdog.device: unknown device 'dog'",
        ),
    ],
)
def test_a_name_in_the_safety_parts_that_the_rig_does_not_have_is_a_mistake(project, change, said):
    table = project.table()
    change(table)
    assert any(said in mistake for mistake in project.mistakes(table)), project.mistakes(table)


def test_the_products_own_insulation_monitor_counts(project, lfp_rack):
    battery = lfp_rack.battery.model_copy(update={"has_insulation_monitor": True})
    product = lfp_rack.model_copy(update={"battery": battery})
    (reason,) = refusals(project.load(project.table()), product)
    assert "2 insulation monitors stand on the IT system 'dc' (bench, the product)" in reason


def test_a_product_for_another_frequency_is_refused(project, lfp_rack):
    table = project.table()
    table["frequencies_hz"] = [50]
    ratings = lfp_rack.ratings.model_copy(update={"frequencies_hz": (60,)})
    (reason,) = refusals(project.load(table), lfp_rack.model_copy(update={"ratings": ratings}))
    assert "the rig can do 50 Hz, the product is made for 60 Hz" in reason


def test_all_reasons_are_told(project, lfp_rack):
    table = project.table()
    for change in (_without_sink, _without_envelope, _with_two_monitors):
        change(table)
    assert len(refusals(project.load(table), lfp_rack)) == 3


def test_a_rig_with_the_layers_of_its_converter_alone_is_refused():
    """After a dead PC they leave the battery connected and the source on."""
    rig, product = load_rig(LAB1), load_product(LFP_RACK)
    layers = {name: each for name, each in rig.safe_state.hardware_layers.items() if each.device == "pcs"}
    part = rig.safe_state.model_copy(update={"hardware_layers": layers})
    (reason,) = refusals(rig.model_copy(update={"safe_state": part}), product)
    assert "no hardware layer but converter_reversion, converter_heartbeat of the converter" in reason
