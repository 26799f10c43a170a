"""A rig file is checked whole: its parts by themselves, against each other, and against their drivers."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.rig.files import load_rig, write_rig
from harness.rig.rig_file import read_rig


def test_a_sound_rig_loads(project):
    rig = project.load(project.table())
    assert rig.frequencies_hz == (60, 50)
    assert rig.wires["lan"].port == 1502
    assert rig.devices["bms"].calibration_due == dt.date(2027, 3, 31)
    assert rig.envelope is not None
    assert rig.envelope.battery_voltage_v.value == (40.0, 58.4)
    assert not rig.emulated


@pytest.mark.parametrize(
    ("wire", "changes", "is_allowed"),
    [
        ("can0", {}, True),
        ("can0", {"interface": "socketcan"}, False),
        ("can0", {"options": {"host": "192.0.2.9", "port": 28600}}, False),
        ("can0", {"options": {}}, False),
        ("lan", {"host": "127.3.2.1"}, True),
        ("lan", {"host": "::1"}, True),
        ("lan", {"host": "192.0.2.10"}, False),
        ("lan", {"host": "0.0.0.0"}, False),  # noqa: S104 - refused
        ("lan", {"host": "localhost"}, False),
        ("lan", {"host": "127.0.0.1.example"}, False),
        ("source", {"resource": "TCPIP0::192.0.2.11::5025::SOCKET"}, False),
        ("source", {"resource": "TCPIP0::127.0.0.1.example::5025::SOCKET"}, False),
        ("source", {"resource": "GPIB0::5::INSTR"}, False),
        ("source", {"resource": "ASRL3::INSTR"}, False),
        ("source", {"resource": "TCPIP::127.0.0.1::hislip0::INSTR"}, True),
    ],
)
def test_a_rig_is_emulated_only_where_every_wire_ends_on_the_loopback(project, wire, changes, is_allowed):
    """An emulated rig is armed without commissioning; names are refused, since a resolver decides on them."""
    table = project.table()
    table["emulated"] = True
    table["wires"]["can0"] |= {"interface": "socketcand", "options": {"host": "127.0.0.1", "port": 28600}}
    table["wires"]["lan"]["host"] = "127.0.0.1"
    table["wires"]["source"]["resource"] = "TCPIP0::127.0.0.1::5025::SOCKET"
    table["wires"][wire] |= changes
    if is_allowed:
        assert project.load(table).emulated
        return
    (mistake,) = project.mistakes(table)
    assert mistake.startswith(f"small.toml: wires.{wire}")
    assert "emulated = true, and this may reach hardware; allowed: " in mistake


def test_five_mistakes_in_five_places_are_told_at_once(project):
    table = project.table()
    table["wires"]["can0"]["bitrat"] = 250_000
    table["devices"]["pcs"]["wire"] = "lann"
    table["devices"]["bms"]["driver"] = "pakc"
    table["allowed_hazards"] = ["reads", "energizes"]
    table["topology"]["systems"]["dc"]["earthing"] = "ITT"
    mistakes = project.mistakes(table)
    assert len(mistakes) == 5
    assert all(mistake.startswith("small.toml: ") for mistake in mistakes)
    told = "\n".join(mistakes)
    assert "wires.can0.bitrat = 250000: no such key; allowed here: bitrate, channel" in told
    assert "did you mean 'bitrate'?" in told
    assert "devices.pcs.wire: unknown wire 'lann'; known: can0, lan, source; did you mean 'lan'?" in told
    assert "devices.bms.driver: unknown driver 'pakc'" in told
    assert "did you mean 'pack'?" in told
    assert 'allowed_hazards[1] = "energizes": allowed: reads, energises' in told
    assert "did you mean 'energises'?" in told
    assert 'topology.systems.dc.earthing = "ITT": allowed: TN-S' in told


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        ("wires.can0.interface", "soketcan", "did you mean 'socketcan'?"),
        ("wires.can0.kind", "cna", 'wires.can0.kind = "cna": allowed: can, modbus_tcp, visa; did you mean'),
        ("wires.lan.port", 70000, "wires.lan.port = 70000: allowed: less than or equal to 65535"),
        ("wires.source.resource", "192.0.2.11", "no VISA resource; allowed: for example 'TCPIP0::"),
        ("devices.bms.role", "batery", "unknown role 'batery'; known: battery"),
        ("devices.bms.role", "inverter", "devices.bms.role = 'inverter': allowed: 'battery', as driver"),
        ("devices.bms.wire", "lan", "that wire is modbus_tcp; driver 'pack' speaks over can"),
        ("devices.bms.unit", 1, "a unit stands on a modbus_tcp wire, and 'can0' is can"),
        ("devices.bms.options.perid_s", 1, "devices.bms.options.perid_s = 1: no such key; allowed here: ids"),
        (
            "devices.bms.options.period_s",
            -1.0,
            "devices.bms.options.period_s = -1.0: allowed: greater than 0",
        ),
        ("devices.pcs.options", {"unit": 1}, "a unit stands beside the driver: devices.pcs.unit"),
        ("devices.pcs.unit", 2, "wires.lan: unit 2 is given to pcs, relay; allowed: one device a unit"),
        ("devices.pcs.hears", "can1", "devices.pcs.hears: unknown wire 'can1'; known: can0"),
        (
            "devices.pcs.hears",
            "source",
            "devices.pcs.hears = 'source': that wire is visa; allowed: a can wire",
        ),
        (
            "wires.lan.sharing",
            "exclusive",
            "wires.lan: 3 devices stand on it (pcs, relay, safety); allowed: 1, since",
        ),
        (
            "wires.lan.clients",
            1,
            "wires.lan: 3 devices stand on it (pcs, relay, safety); allowed: 1, since clients = 1",
        ),
        ("triggers.sag.to_device", "grid", "triggers.sag: from_device and to_device are both 'grid'"),
        ("triggers.sag.to_device", "recoder", "triggers.sag.to_device: unknown device 'recoder'"),
        ("topology.source.device", "pcs", "that device's role is inverter; allowed: grid_source"),
        ("topology.source.sink_power_w", 0.0, "can_sink and sink_power_w disagree"),
        ("topology.source.can_sink", False, "can_sink and sink_power_w disagree"),
        ("topology.systems.dc.insulation_monitors", ["bnch"], "unknown owner 'bnch'; known: bench"),
        ("topology.systems.dc.nodes", ["pcs_ac"], "node pcs_ac stands in 2 systems; allowed: one"),
        (
            "topology.faults.bms_can_open.lead",
            "relay",
            "unknown lead of wire 'can0' 'relay'; known: bms, pcs",
        ),
        ("topology.faults.bms_can_open.wire", "can9", "faults.bms_can_open.wire: unknown wire 'can9'"),
        (
            "topology.faults.bms_can_open.device",
            "grid",
            "that device's role is grid_source; allowed: fault_ins",
        ),
        ("devices.relay.options.faults", {"bms_can": 1}, "unknown fault of device 'relay' 'bms_can_open'"),
        ("devices.grid.options", {"sinks": False}, "devices.grid.options.sinks = False: allowed: True, as"),
        ("envelope.battery_voltage_v.value", [58.0, 40.0], "lowest 58.0 is not below highest 40.0"),
        ("envelope.battery_voltage_v.value", [40.0], "envelope.battery_voltage_v.value[1] is missing"),
        ("envelope.stale_s.within_s", 0, "envelope.stale_s.within_s = 0: allowed: greater than 0"),
        ("frequencies_hz", [60, 55], "frequencies_hz[1] = 55: allowed: 50 or 60"),
        ("frequencies_hz", [], "frequencies_hz = []: allowed: 1 entry or more"),
        ("safe_state.verified.battery_current.sensors", ["shunt.current_a"], ": allowed: 2 entries or more"),
        ("wires.lan.host", "", 'wires.lan.host = "": allowed: a text that is not empty'),
        ("interlock.watch.battery_voltage_v", ["shunt voltage"], "allowed: <device>.<reading>, for example"),
        ("devices.bms.calibration_due", "soon", "allowed: a date, for example 2027-03-31, without quotes"),
        ("interlock", 5, "interlock = 5: allowed: a table"),
        ("frequencies_hz", [60, 60], "frequencies_hz = [60, 60]: 60 is there twice; allowed: each once"),
        ("envelope.battery_voltage_v.value", [1.0, 2.0, 3.0], ": allowed: 2 entries or fewer"),
        (
            "wires.lan.host",
            "192.0.2.10:502",
            'wires.lan.host = "192.0.2.10:502": no address and no host name',
        ),
        ("wires.lan.host", "192.0.2.300", 'wires.lan.host = "192.0.2.300": no address and no host name'),
        (
            "safe_state.hardware_layers.watchdog",
            {"device": "pcs", "watchdog": "hartbeat", "timeout_s": 5.0, "measured_s": 7.0, "what": "stops"},
            "watchdog.watchdog: unknown watchdog of device 'pcs' 'hartbeat'; known: heartbeat; did you mean",
        ),
        (
            "safe_state.hardware_layers.watchdog.device",
            "pcs",
            "watchdog.device = 'pcs': it is no watchdog itself; devices that are: safety",
        ),
        ("safe_state.hardware_layers.watchdog.device", "safty", "unknown device 'safty'; known: bms"),
        (
            "devices.pcs",
            {"driver": "meter", "wire": "source", "role": "power_analyzer", "options": {"node": "solar_ac"}},
            "devices.pcs.options: unknown node of topology.systems 'solar_ac'; known: battery_dc, grid_ac",
        ),
        ("seed", -1, "seed = -1: allowed: greater than or equal to 0"),
        ("product", "lfp_rak", "small.toml: product: unknown product 'lfp_rak'; known: lfp_rack"),
        ("site", "osakka", "small.toml: site: unknown site 'osakka'; known: osaka"),
        ("name", "lab9", "small.toml: name = 'lab9': allowed: 'small', as the file is called"),
        ("wires", 3, "wires = 3: allowed: a table"),
        ("devices.bms", "pack", 'devices.bms = "pack": allowed: a table'),
    ],
)
def test_a_mistake_says_key_what_came_and_what_is_allowed(project, at, value, said):
    table = project.table()
    *path, key = at.split(".")
    place = table
    for step in path:
        place = place[step]
    place[key] = value
    assert any(said in mistake for mistake in project.mistakes(table)), project.mistakes(table)


def test_an_entry_that_is_wrong_is_told_once_and_not_as_an_array_without_it(project):
    table = project.table()
    table["interlock"]["watch"]["battery_voltage_v"] = ["shunt voltage"]
    (mistake,) = project.mistakes(table)
    assert 'interlock.watch.battery_voltage_v[0] = "shunt voltage": ' in mistake


def with_chain(table, **changes):
    """Give a rig a safety chain, with some of its keys changed."""
    table.pop("interlock")  # which speaks of another safety device
    table.pop("safe_state")
    table["devices"]["safety"] = {
        "driver": "coupler",
        "wire": "lan",
        "unit": 3,
        "role": "safety_inputs",
        "options": {"inputs": {"closed": 1, "door": 2}, "outputs": {"chain": 1, "battery": 2}},
    }
    chain = {
        "device": "safety",
        "chain": "chain",
        "battery_enable": "battery",
        "contactor_feedback": "closed",
    }
    table["topology"]["safety_chain"] = {**chain, **changes}
    return table


def test_a_device_is_named_by_its_role_where_no_other_has_it(project):
    table = project.table()
    rig = project.load(table)
    assert (rig.named("pcs"), rig.named("inverter")) == ("pcs", "pcs")
    with pytest.raises(
        ConfigurationError, match=r"has no device 'invertor'; it has: bms, .*did you mean 'inverter'"
    ):
        rig.named("invertor")
    table["devices"]["meter"] = table["devices"]["shunt"]
    with pytest.raises(ConfigurationError, match="'dc_sensor' is the role of shunt, meter: name one"):
        project.load(table).named("dc_sensor")


def test_a_safety_chain_names_a_device_and_its_channels(project):
    chain = project.load(with_chain(project.table())).topology.safety_chain
    assert chain is not None
    assert (chain.device, chain.battery_enable, chain.contactor_feedback) == ("safety", "battery", "closed")
    other = project.load(project.table()).topology.safety_chain
    assert other is not None
    assert other.contactor_feedback == "contactor"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "safty"}, "safety_chain.device: unknown device 'safty'; known: bms, .*mean 'safety'"),
        ({"device": "relay"}, "that device's role is fault_inserter; allowed: safety_inputs"),
        ({"chain": "chian"}, "safety_chain.chain: unknown output of device 'safety' 'chian'; .*mean 'chain'"),
        (
            {"battery_enable": "closed"},
            "safety_chain.battery_enable: unknown output of device 'safety' 'closed'",
        ),
        (
            {"contactor_feedback": "dor"},
            "contactor_feedback: unknown input of device 'safety' 'dor'; .*mean 'door'",
        ),
        ({"battery_enable": "chain"}, "chain and battery_enable are both 'chain'; allowed: an output each"),
        ({"feedback": "closed"}, "safety_chain.feedback = .*: no such key"),
    ],
    ids=str,
)
def test_a_safety_chain_that_cannot_be_says_what_is_allowed(project, changes, said):
    (mistake,) = project.mistakes(with_chain(project.table(), **changes))
    assert re.search(said, mistake), mistake


def test_a_modbus_device_needs_a_unit(project):
    table = project.table()
    del table["devices"]["pcs"]["unit"]
    assert any("devices.pcs.unit is missing; allowed: 0 to 255" in m for m in project.mistakes(table))


def test_two_wires_are_not_one_physical_line(project):
    table = project.table()
    table["wires"]["again"] = dict(table["wires"]["lan"])
    (mistake,) = project.mistakes(table)
    assert "wires.again: the same address as wires.lan" in mistake


def test_a_wire_with_a_mistake_is_still_a_wire_that_devices_may_name(project):
    table = project.table()
    table["wires"]["lan"]["port"] = "1502"
    assert project.mistakes(table) == ['small.toml: wires.lan.port = "1502": allowed: a whole number']


def on_the_mains(table):
    """One battery and one inverter, and nothing else that the rig file would have to describe."""
    for name in ("relay", "shunt", "safety", "grid"):
        del table["devices"][name]
    for part in ("topology", "triggers", "envelope", "interlock", "safe_state"):
        del table[part]
    del table["wires"]["source"]
    return table | {"allowed_hazards": ["reads"]}


def test_a_rig_that_only_reads_needs_neither_source_nor_topology(project, find_driver):
    """Written by ``rackproof emulate``, it loads again, equal."""
    rig = project.load(on_the_mains(project.table()))
    assert rig.topology.source is None
    assert rig.topology.critical_load.power_w == 0.0
    write_rig(rig, project.rigs / "written.toml")
    written = load_rig("fixtures/rigs/written.toml", project.root, find_driver=find_driver)
    assert written == rig


def test_a_source_needs_no_chain_and_no_trigger_to_be_left_out_for_the_mains(project):
    table = project.table()
    del table["topology"]["source"], table["devices"]["grid"], table["triggers"]
    rig = project.load(table)
    assert rig.topology.source is None
    assert rig.topology.critical_load.power_w == 3000.0
    assert rig.topology.safety_chain is not None


def test_a_grid_source_of_which_nothing_is_said_is_a_mistake(project):
    table = project.table()
    del table["topology"]["source"]
    (mistake,) = project.mistakes(table)
    assert (
        "topology.source is missing: nobody says what device 'grid' gives and sinks; allowed: a " in mistake
    )


def test_a_source_without_a_word_on_what_it_feeds_is_a_mistake(project):
    table = project.table()
    del table["topology"]["critical_load"]
    (mistake,) = project.mistakes(table)
    assert "topology.critical_load is missing" in mistake
    assert "power_w = 0.0 where nothing hangs at load_ac" in mistake


def test_an_unsound_part_of_the_topology_hides_no_mistake_of_another(project):
    """Nor one of its own, and makes none up: systems that cannot be read are not missing."""
    table = project.table()
    table["devices"]["meter"] = {"driver": "meter", "wire": "meter", "role": "power_analyzer"}
    table["devices"]["meter"]["options"] = {"node": "pcs_ac"}
    table["wires"]["meter"] = {"kind": "visa", "resource": "TCPIP0::192.0.2.13::5025::SOCKET"}
    table["topology"]["source"] = {
        "device": "pcs",
        "power_w": 15_000.0,
        "can_sink": True,
        "sink_power_w": 1.0,
    }
    table["topology"]["systems"]["dc"]["earthing"] = "ITT"
    table["topology"]["faults"]["bms_can_open"]["lead"] = "relay"
    table["topology"]["safety_chain"]["chain"] = "chian"
    mistakes = project.mistakes(table)
    told = "\n".join(mistakes)
    for words in (
        "topology.source.r_ohm is missing; allowed: a number",
        "topology.source.x_ohm is missing",
        "topology.source.rise_time_s is missing",
        "topology.source.device = 'pcs': that device's role is inverter; allowed: grid_source",
        "grid_source; without topology.source the rig stands on the public mains",
        'topology.systems.dc.earthing = "ITT"',
        "topology.faults.bms_can_open.lead: unknown lead of wire 'can0' 'relay'",
        "topology.safety_chain.chain: unknown output of device 'safety' 'chian'",
    ):
        assert told.count(words) == 1, told
    assert len(mistakes) == 7, told


def test_a_bad_name_is_refused(project):
    table = project.table()
    table["wires"]["can.0"] = dict(table["wires"]["can0"], channel="can1")
    assert any('wires."can.0": a name is lower-case letters' in m for m in project.mistakes(table))


def test_the_summary_is_json_and_holds_no_ports(project):
    table = project.table()
    table["wires"]["can0"] |= {"interface": "socketcand", "options": {"host": "192.0.2.9", "port": 29536}}
    summary = project.load(table).summary()
    written = json.dumps(summary)
    for port in ("29536", "1502", "5025"):
        assert port not in written
    assert summary["wires"]["can0"]["options"] == {"host": "192.0.2.9"}
    assert summary["wires"]["lan"]["host"] == "192.0.2.10"
    assert summary["wires"]["source"]["resource"] == "TCPIP0::192.0.2.11::SOCKET"
    assert summary["devices"]["bms"]["calibration_due"] == "2027-03-31"


_toml = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_table_makes_a_traceback(project, find_driver, data):
    """Anything may stand anywhere, or be missing (None): the answer is a rig or a list of mistakes."""
    table = project.table()
    for _ in range(data.draw(st.integers(1, 4))):
        place, steps = table, data.draw(st.integers(1, 4))
        for step in range(steps):
            key = data.draw(st.sampled_from(sorted(place)))
            if step < steps - 1 and isinstance(place[key], dict) and place[key]:
                place = place[key]
                continue
            value = data.draw(_toml)
            if value is None:
                del place[key]
            else:
                place[key] = value
            break
        if not table:
            break
    try:
        read_rig(table, "small.toml", find_driver=find_driver)
    except ConfigurationError as error:
        assert all(mistake.startswith("small.toml: ") for mistake in error.mistakes)  # noqa: PT017
