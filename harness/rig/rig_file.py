"""The rig file: one physical set-up as data, checked whole, nothing opened."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import Field, field_validator

from harness.errors import ConfigurationError, near_miss
from harness.hazards import Hazard
from harness.rig.driver_folders import DriverFolder, FindDriver, find_driver
from harness.rig.safety_part import Interlock, SafeState
from harness.rig.toml_file import (
    Count,
    Frequencies,
    Name,
    Part,
    Positive,
    mistakes_of,
    read_part,
    unknown,
)
from harness.rig.topology import Envelope, Phases, SafetyChain, Source, Topology, Trigger
from harness.roles import ROLES, Watchdog

_PartT = TypeVar("_PartT", bound=Part)

Sharing = Literal["shared", "exclusive"]

# The interface names of python-can 4.6, docs/configuration.rst; plug-ins announce theirs as entry points.
CAN_INTERFACES = frozenset(
    {
        "canalystii", "cantact", "etas", "gs_usb", "iscan", "ixxat", "kvaser", "neousys", "neovi", "nican",
        "nixnet", "pcan", "robotell", "seeedstudio", "serial", "slcan", "socketcan", "socketcand", "systec",
        "udp_multicast", "usb2can", "vector", "virtual",
    }
)  # fmt: skip


class CanWire(Part):
    """A CAN line.

    Attributes:
        interface: python-can's name of the adapter's interface.
        channel: the adapter's channel, for example ``can0``.
        bitrate: bit/s.
        options: further arguments of the interface, for example ``host`` and ``port`` of socketcand.
        sharing: whether several devices may stand on the wire.
        clients: how many devices at most.
    """

    kind: Literal["can"]
    interface: str
    channel: str
    bitrate: Count = 500_000
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    sharing: Sharing = "shared"
    clients: Count = 8

    @field_validator("interface")
    @classmethod
    def _is_known(cls, interface: str) -> str:
        if interface in CAN_INTERFACES:  # asking every distribution for others takes milliseconds
            return interface
        known = CAN_INTERFACES | {entry.name for entry in entry_points(group="can.interface")}
        if interface not in known:
            raise ValueError(unknown("python-can interface", interface, known))
        return interface


class ModbusTcpWire(Part):
    """A Modbus TCP line: one connection, many units.

    Attributes:
        host: numeric address or host name; numeric in an emulated rig.
        port: TCP port.
        timeout_s: bound of each exchange.
        sharing: whether several devices may stand on the wire.
        clients: how many devices at most.
    """

    kind: Literal["modbus_tcp"]
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    timeout_s: Positive = 1.0
    sharing: Sharing = "shared"
    clients: Count = 32

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: str) -> str:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            # A name has letters in it (RFC 1123, 2.1): what has none was to be an address.
            if not re.fullmatch(r"[A-Za-z0-9.-]*[A-Za-z][A-Za-z0-9.-]*", host):
                raise ValueError(
                    "no address and no host name; for example '192.168.10.21'; the port has its own key"
                ) from None
        return host


class VisaWire(Part):
    r"""A line to one message-based instrument.

    Attributes:
        resource: VISA resource string, for example ``TCPIP0::192.168.10.21::5025::SOCKET``.
        backend: PyVISA's name of the library, ``@py`` for pyvisa-py.
        timeout_s: bound of each exchange.
        terminator: what ends a message, both ways.
        sharing: whether several devices may stand on the wire.
        clients: how many devices at most.
    """

    kind: Literal["visa"]
    resource: str
    backend: str = "@py"
    timeout_s: Positive = 2.0
    terminator: Annotated[str, Field(min_length=1)] = "\n"
    sharing: Sharing = "exclusive"
    clients: Count = 1

    @field_validator("resource")
    @classmethod
    def _is_resource(cls, resource: str) -> str:
        # The resource grammar of VPP-4.3, section 4.3.1, by its first and last part.
        if not re.fullmatch(r"(TCPIP|GPIB|USB|ASRL|VXI|PXI)\d*::.*(SOCKET|INSTR|RAW)|ASRL[^:]+", resource):
            raise ValueError(
                "no VISA resource; allowed: for example 'TCPIP0::192.168.10.21::5025::SOCKET', "
                "'TCPIP0::192.168.10.21::hislip0::INSTR', 'GPIB0::5::INSTR'"
            )
        return resource


Wire = Annotated[CanWire | ModbusTcpWire | VisaWire, Field(discriminator="kind")]


class Device(Part):
    """One device of the rig.

    Attributes:
        driver: the folder under ``drivers/``.
        wire: the wire it is reached over.
        role: what plans call it; the driver's role.
        unit: its unit identifier on a Modbus wire.
        options: what the driver's own Options say.
        serial: its serial number, for the record.
        calibration_due: last day of its calibration.
        protective: whether it protects something or feeds the interlock; never emulated on hardware.
        hears: the CAN wire that it listens to by itself (an inverter at the battery's bus).
    """

    driver: str
    wire: Name
    role: str
    unit: Annotated[int, Field(ge=0, le=255)] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    serial: str | None = None
    calibration_due: dt.date | None = None
    protective: bool = False
    hears: Name | None = None


class Emulation(Part):
    """What an emulated device follows where the others are real.

    Attributes:
        battery_current: the reading that is the battery's current, ``<power analyzer>.battery_dc.current_a``.
        poll_s: how often it is asked for.
        stale_s: how long a value holds; an older one counts as zero.
    """

    battery_current: str
    poll_s: Positive = 1.0
    stale_s: Positive = 3.0


class RigFile(Part):
    """One physical set-up.

    Attributes:
        name: what the record calls it.
        station: where it stands.
        description: one line for people.
        emulated: whether emulators stand at the far ends; written by ``rackproof emulate`` alone, and refused
            unless every wire ends on this machine's loopback. A tunnel from there to hardware is not seen.
        product: the product that stands on it, unless another is named.
        site: the site whose rules hold, unless another is named.
        plans: ids of the plans that this rig is for; empty for all.
        frequencies_hz: of its source or of the mains; the first is used unless another is asked for.
        nominal_voltage_v: line to neutral.
        phases: of the AC side.
        allowed_hazards: classes of plans that may run here.
        seed: of everything random in an emulated run.
        topology: what hangs where.
        envelope: what the rig may survive.
        interlock: who watches it.
        safe_state: how the rig is made safe.
        emulation: what an emulated device follows where the others are real.
    """

    name: Name
    station: str
    description: str = ""
    emulated: bool = False
    product: str
    site: str
    plans: tuple[str, ...] = ()
    frequencies_hz: Frequencies
    nominal_voltage_v: Positive
    phases: Phases
    allowed_hazards: Annotated[tuple[Hazard, ...], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)]
    wires: dict[Name, Wire]
    devices: dict[Name, Device]
    topology: Topology = Field(default_factory=Topology)
    triggers: dict[Name, Trigger] = Field(default_factory=dict)
    envelope: Envelope | None = None
    interlock: Interlock | None = None
    safe_state: SafeState | None = None
    emulation: Emulation | None = None

    def named(self, word: str) -> str:
        """Give the device that a word means: by its name, or by a role that one device alone has.

        Raises:
            ConfigurationError: there is none, or there are several of that role.
        """
        if word in self.devices:
            return word
        of_role = [name for name, device in self.devices.items() if device.role == word]
        if len(of_role) == 1:
            return of_role[0]
        if of_role:
            raise ConfigurationError(
                f"rig {self.name}: {word!r} is the role of {', '.join(of_role)}: name one"
            )
        known = {*self.devices, *(device.role for device in self.devices.values())}
        raise ConfigurationError(
            f"rig {self.name} has no device {word!r}; it has: "
            f"{', '.join(self.devices)}{near_miss(word, known)}"
        )

    def summary(self) -> dict[str, Any]:
        """Everything for the record, as JSON would hold it, addresses without ports."""
        summary = self.model_dump(mode="json", exclude_none=True)
        for wire in summary["wires"].values():
            wire.pop("port", None)
            wire.get("options", {}).pop("port", None)
            if "resource" in wire:
                wire["resource"] = re.sub(r"::\d+::SOCKET$", "::SOCKET", wire["resource"])
        return summary


def read_rig(
    table: Mapping[str, Any],
    label: str,
    *,
    find_driver: FindDriver = find_driver,
    also: Collection[str] = (),
) -> RigFile:
    """Check a rig's table whole: each part against its model, then the parts against each other.

    Args:
        table: as TOML gave it.
        label: the file's name.
        find_driver: looks a driver's folder up.
        also: mistakes that the caller found, to be told with these.

    Raises:
        ConfigurationError: with every mistake.
    """
    mistakes = [
        *also,
        *mistakes_of(RigFile, table, label),
        *(f"{label}: {mistake}" for mistake in _Parts.of(table).disagreements(find_driver)),
    ]
    if mistakes:
        raise ConfigurationError(*mistakes)
    return read_part(RigFile, table, label)


@dataclass(frozen=True)
class _Parts:
    """The parts of a rig's table that are sound by themselves, so that one mistake hides no other."""

    wires: Mapping[str, CanWire | ModbusTcpWire | VisaWire]
    devices: Mapping[str, Device]
    triggers: Mapping[str, Trigger]
    topology: Topology
    topology_table: Mapping[str, Any]
    wire_names: Collection[str]
    device_names: Collection[str]
    nominal_voltage_v: object
    is_emulated: bool
    interlock: Interlock | None
    safe_state: SafeState | None
    emulation: Emulation | None

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> _Parts:
        kinds: dict[str, type[CanWire | ModbusTcpWire | VisaWire]] = {
            "can": CanWire,
            "modbus_tcp": ModbusTcpWire,
            "visa": VisaWire,
        }
        wires, devices, triggers = (_tables(table, key) for key in ("wires", "devices", "triggers"))
        sound_wires: dict[str, CanWire | ModbusTcpWire | VisaWire] = {}
        for name, entry in wires.items():
            kind = entry.get("kind")
            wire = _sound(kinds[kind], entry) if isinstance(kind, str) and kind in kinds else None
            if wire is not None:
                sound_wires[name] = wire
        emulation = table.get("emulation")
        topology = table["topology"] if isinstance(table.get("topology"), Mapping) else {}
        return cls(
            wires=sound_wires,
            devices={n: d for n, entry in devices.items() if (d := _sound(Device, entry)) is not None},
            triggers={n: t for n, entry in triggers.items() if (t := _sound(Trigger, entry)) is not None},
            topology=_sound_topology(topology),
            topology_table=topology,
            wire_names=wires.keys(),
            device_names=devices.keys(),
            nominal_voltage_v=table.get("nominal_voltage_v"),
            is_emulated=table.get("emulated") is True,
            interlock=_sound(Interlock, table["interlock"]) if "interlock" in table else None,
            safe_state=_sound(SafeState, table["safe_state"]) if "safe_state" in table else None,
            emulation=_sound(Emulation, emulation) if isinstance(emulation, Mapping) else None,
        )

    def disagreements(self, find_driver: FindDriver) -> Iterator[str]:
        """Where the parts do not fit each other or their drivers."""
        for name, device in self.devices.items():
            yield from self._device_disagreements(name, device, find_driver)
        yield from self._crowded_wires()
        yield from self._one_address_twice()
        yield from self._emulated_elsewhere()
        yield from self._triggers_without_ends()
        yield from self._two_skews(find_driver)
        yield from self._current_of_nothing()
        yield from self._source_disagreements(self.topology.source)
        yield from self._topology_disagreements(self.topology)
        yield from self._unknown_nodes(self.topology, find_driver)
        yield from self._unknown_values()
        yield from self._layers_without_watchdog(find_driver)

    def _device_disagreements(self, name: str, device: Device, find_driver: FindDriver) -> Iterator[str]:
        at = f"devices.{name}"
        if device.wire not in self.wire_names:
            yield f"{at}.wire: {unknown('wire', device.wire, self.wire_names)}"
        if device.role not in ROLES:
            yield f"{at}.role: {unknown('role', device.role, ROLES)}"
        folder: DriverFolder | None = None
        try:
            folder = find_driver(device.driver)
        except ConfigurationError as error:
            yield from (f"{at}.driver: {mistake}" for mistake in error.mistakes)
        wire = self.wires.get(device.wire)
        if folder is not None:
            yield from _driver_disagreements(at, device, wire, folder)
        if isinstance(wire, ModbusTcpWire) and device.unit is None:
            yield f"{at}.unit is missing; allowed: 0 to 255, since wire {device.wire!r} is modbus_tcp"
        if wire is not None and not isinstance(wire, ModbusTcpWire) and device.unit is not None:
            yield (
                f"{at}.unit = {device.unit}: no such key here: "
                f"a unit stands on a modbus_tcp wire, and {device.wire!r} is {wire.kind}"
            )
        if device.hears is not None:
            yield from self._hears(at, device.hears)

    def _hears(self, at: str, hears: str) -> Iterator[str]:
        if hears not in self.wire_names:
            yield f"{at}.hears: {unknown('wire', hears, self.wire_names)}"
        elif hears in self.wires and not isinstance(self.wires[hears], CanWire):
            yield f"{at}.hears = {hears!r}: that wire is {self.wires[hears].kind}; allowed: a can wire"

    def _crowded_wires(self) -> Iterator[str]:
        for name, wire in self.wires.items():
            on_it = [device_name for device_name, device in self.devices.items() if device.wire == name]
            names = ", ".join(on_it)
            allowed = 1 if wire.sharing == "exclusive" else wire.clients
            if len(on_it) > allowed:
                why = "it is exclusive" if wire.sharing == "exclusive" else f"clients = {wire.clients}"
                yield (
                    f"wires.{name}: {len(on_it)} devices stand on it ({names}); "
                    f"allowed: {allowed}, since {why}"
                )
            elif isinstance(wire, VisaWire) and len(on_it) > 1:
                yield f"wires.{name}: {names} stand on it; allowed: one instrument on a VISA resource"
            units = Counter(unit for n in on_it if (unit := self.devices[n].unit) is not None)
            for unit, count in units.items():
                if count > 1:
                    same = ", ".join(n for n in on_it if self.devices[n].unit == unit)
                    yield f"wires.{name}: unit {unit} is given to {same}; allowed: one device a unit"

    def _one_address_twice(self) -> Iterator[str]:
        taken: dict[tuple[object, ...], str] = {}
        for name, wire in self.wires.items():
            address: tuple[object, ...]
            match wire:
                case CanWire():
                    address = (
                        wire.interface,
                        wire.channel,
                        wire.options.get("host"),
                        wire.options.get("port"),
                    )
                case ModbusTcpWire():
                    address = (wire.host, wire.port)
                case VisaWire():
                    address = (wire.resource,)
            if address in taken:
                other = f"wires.{taken[address]}"
                yield f"wires.{name}: the same address as {other}; allowed: one wire a physical line"
            taken.setdefault(address, name)

    def _emulated_elsewhere(self) -> Iterator[str]:
        """An emulated rig is armed without commissioning: no wire of it may reach hardware."""
        for name, wire in self.wires.items() if self.is_emulated else ():
            match wire:
                case CanWire():
                    host = str(wire.options.get("host", "")) if wire.interface == "socketcand" else ""
                    at, allowed = "", "interface = 'socketcand' with options.host = '127.0.0.1'"
                    there = f"interface {wire.interface}, channel {wire.channel}" + (
                        f", {host}" if host else ""
                    )
                case ModbusTcpWire():
                    host, at, there, allowed = wire.host, ".host", repr(wire.host), "'127.0.0.1'"
                case VisaWire():
                    resource = re.fullmatch(r"TCPIP\d*::([^:]+)::.*", wire.resource)
                    host = resource[1] if resource else ""
                    at, there = ".resource", repr(wire.resource)
                    allowed = "'TCPIP0::127.0.0.1::PORT::SOCKET'"
            if not _is_loopback(host):
                yield (
                    f"wires.{name}{at} = {there}: emulated = true, and this may reach hardware; allowed: "
                    f"{allowed}, as 'rackproof emulate' writes it; leave emulated out of a rig of hardware"
                )

    def _triggers_without_ends(self) -> Iterator[str]:
        for name, trigger in self.triggers.items():
            for end, device in (("from_device", trigger.from_device), ("to_device", trigger.to_device)):
                if device not in self.device_names:
                    yield f"triggers.{name}.{end}: {unknown('device', device, self.device_names)}"
            if trigger.from_device == trigger.to_device:
                yield f"triggers.{name}: from_device and to_device are both {trigger.to_device!r}"

    def _unknown_values(self) -> Iterator[str]:
        """Values and devices that interlock and safe state name, and that the rig does not have."""
        for at, value in self._named_values():
            device, _, rest = value.partition(".")
            quantity = re.split(r"[(.]", rest)[0]
            if device not in self.device_names:
                yield f"{at}: {value}: {unknown('device', device, self.device_names)}"
            elif device in self.devices and (role := ROLES.get(self.devices[device].role)) is not None:
                known = [name for name in dir(role) if not name.startswith("_")]
                if quantity not in known:
                    yield f"{at}: {value}: {unknown(f'{self.devices[device].role} value', quantity, known)}"
        yield from self._interlock_disagreements()

    def _layers_without_watchdog(self, find_driver: FindDriver) -> Iterator[str]:
        """A hardware layer is a watchdog of a device, and its driver says which ones there are."""
        watchdogs: dict[str, list[str]] = {}
        for name, device in self.devices.items():
            with contextlib.suppress(ConfigurationError):  # told at the device
                watchdogs[name] = watchdogs_of(find_driver(device.driver).Driver)
        for name, layer in self.safe_state.hardware_layers.items() if self.safe_state else ():
            at = f"safe_state.hardware_layers.{name}"
            if layer.device not in self.device_names:
                yield f"{at}.device: {unknown('device', layer.device, self.device_names)}"
            elif layer.watchdog in watchdogs.get(layer.device, [layer.watchdog]):
                continue
            elif layer.watchdog:
                beside = [each for each in watchdogs[layer.device] if each]
                noun = f"watchdog of device {layer.device!r}"
                yield f"{at}.watchdog: {unknown(noun, layer.watchdog, beside)}"
            else:
                having = ", ".join(sorted(device for device, own in watchdogs.items() if "" in own)) or "none"
                yield f"{at}.device = {layer.device!r}: it is no watchdog itself; devices that are: {having}"

    def _interlock_disagreements(self) -> Iterator[str]:
        part = self.interlock
        if part is None:
            return
        watched = {
            value.partition(".")[0]
            for at, value in self._named_values()
            if at.startswith(("interlock.watch", "interlock.agreement"))
        }
        for contact in part.contacts:
            device, _, name = contact.partition(".")
            watched.add(device)
            inputs = self.devices[device].options.get("inputs", {}) if device in self.devices else {}
            if name not in inputs:
                yield f"interlock.contacts: {contact}: {unknown('input', name, inputs)}"
        for device in sorted(watched - part.periods_s.keys()):
            yield f"interlock.periods_s.{device} is missing; allowed: the interval of its reports, in s"

    def _named_values(self) -> Iterator[tuple[str, str]]:
        """Give each value that is named, and where."""
        if self.interlock is not None:
            for limit, sensors in self.interlock.watch.items():
                yield from ((f"interlock.watch.{limit}", sensor) for sensor in sensors)
            for limit, value in self.interlock.guarded_by_instrument.items():
                yield f"interlock.guarded_by_instrument.{limit}", value
            for name, pair in self.interlock.agreement.items():
                yield f"interlock.agreement.{name}.bench", pair.bench
                yield f"interlock.agreement.{name}.product", pair.product
        if self.safe_state is not None:
            yield "safe_state.current", self.safe_state.current
            for node, check in self.safe_state.verified.items():
                yield from ((f"safe_state.verified.{node}", sensor) for sensor in check.sensors)

    def _two_skews(self, find_driver: FindDriver) -> Iterator[str]:
        """A recorder's driver has to know the skew of its trigger, which the rig file says of the wire."""
        for name, trigger in self.triggers.items():
            device = self.devices.get(trigger.to_device)
            if device is None:
                continue
            try:
                field = find_driver(device.driver).Options.model_fields.get("trigger_skew_s")
            except ConfigurationError:
                continue  # told at the device
            if field is None:
                continue
            skew_s = device.options.get("trigger_skew_s", field.default)
            if skew_s != trigger.skew_s:
                yield (
                    f"triggers.{name}.skew_s = {trigger.skew_s!r}, and "
                    f"devices.{trigger.to_device}.options.trigger_skew_s = {skew_s!r}: "
                    "allowed: the same, as commissioned"
                )

    def _current_of_nothing(self) -> Iterator[str]:
        if self.emulation is None:
            return
        at, asked = "emulation.battery_current", self.emulation.battery_current
        device, _, reading = asked.partition(".")
        if device not in self.device_names:
            yield f"{at} = {asked!r}: {unknown('device', device, self.device_names)}"
        elif reading != "battery_dc.current_a":
            yield f"{at} = {asked!r}: allowed: '{device}.battery_dc.current_a'"
        else:
            yield from self._of_role(at, device, "power_analyzer")

    def _source_disagreements(self, source: Source | None) -> Iterator[str]:
        """A source is a device of the rig, and of each such device something is said."""
        table = self.topology_table.get("source")
        device = table.get("device") if isinstance(table, Mapping) else None
        if isinstance(device, str):
            for mistake in self._of_role("topology.source.device", device, "grid_source"):
                yield f"{mistake}; without topology.source the rig stands on the public mains"
        if source is not None:
            yield from self._source_says_otherwise(source)
        if "source" in self.topology_table:
            if "critical_load" not in self.topology_table:
                yield (
                    "topology.critical_load is missing: nobody says what the source also feeds; "
                    "allowed: a table, with power_w = 0.0 where nothing hangs at load_ac"
                )
        else:
            for name, each in self.devices.items():
                if each.role == "grid_source":
                    yield (
                        f"topology.source is missing: nobody says what device {name!r} gives and sinks; "
                        "allowed: a table, or no device of role grid_source, on the public mains"
                    )

    def _topology_disagreements(self, topology: Topology) -> Iterator[str]:
        for name, system in topology.systems.items():
            owners = {*self.device_names, "bench"}
            for owner in system.insulation_monitors:
                if owner not in owners:
                    yield f"topology.systems.{name}.insulation_monitors: {unknown('owner', owner, owners)}"
        homes = Counter(node for system in topology.systems.values() for node in system.nodes)
        for node, count in homes.items():
            if count > 1:
                yield f"topology.systems: node {node} stands in {count} systems; allowed: one"
        for name, fault in topology.faults.items():
            at = f"topology.faults.{name}"
            yield from self._of_role(f"{at}.device", fault.device, "fault_inserter")
            yield from self._without_channel(at, name, fault.device)
            if fault.wire not in self.wire_names:
                yield f"{at}.wire: {unknown('wire', fault.wire, self.wire_names)}"
                continue
            leads = [n for n, device in self.devices.items() if fault.wire in {device.wire, device.hears}]
            is_unsound = fault.lead in self.device_names and fault.lead not in self.devices
            if fault.lead not in leads and not is_unsound:
                yield f"{at}.lead: {unknown('lead of wire ' + repr(fault.wire), fault.lead, leads)}"
        if topology.safety_chain is not None:
            yield from self._chain_disagreements(topology.safety_chain)

    def _unknown_nodes(self, topology: Topology, find_driver: FindDriver) -> Iterator[str]:
        """Nodes that an instrument's options name, and that the rig does not have."""
        if "systems" in self.topology_table and "systems" not in topology.model_fields_set:
            return  # told at the systems
        known = {node for system in topology.systems.values() for node in system.nodes}
        for name, device in self.devices.items():
            try:
                options = options_of(device, find_driver(device.driver))
            except ConfigurationError:
                continue  # told at the device
            for node in getattr(options, "measured_nodes", ()):
                if node not in known:
                    yield f"devices.{name}.options: {unknown('node of topology.systems', node, known)}"

    def _chain_disagreements(self, chain: SafetyChain) -> Iterator[str]:
        """The chain's names are those that its device's options give channels."""
        at = "topology.safety_chain"
        yield from self._of_role(f"{at}.device", chain.device, "safety_inputs")
        options = self.devices[chain.device].options if chain.device in self.devices else {}
        for key, name, kind in (
            ("chain", chain.chain, "output"),
            ("battery_enable", chain.battery_enable, "output"),
            ("contactor_feedback", chain.contactor_feedback, "input"),
            *(("opened_by", name, "input") for name in chain.opened_by),
        ):
            known = options.get(f"{kind}s", {})
            if isinstance(known, Mapping) and known and name not in known:
                yield f"{at}.{key}: {unknown(f'{kind} of device {chain.device!r}', name, list(known))}"
        if chain.chain == chain.battery_enable:
            yield f"{at}: chain and battery_enable are both {chain.chain!r}; allowed: an output each"

    def _source_says_otherwise(self, source: Source) -> Iterator[str]:
        """A source's options repeat what the rig says of it, where its driver has to know."""
        options = self.devices[source.device].options if source.device in self.devices else {}
        for option, key, value in (
            ("nominal_voltage_v", "nominal_voltage_v", self.nominal_voltage_v),
            ("sinks", "topology.source.can_sink", source.can_sink),
        ):
            if option in options and options[option] != value:
                at = f"devices.{source.device}.options.{option}"
                yield f"{at} = {options[option]!r}: allowed: {value!r}, as {key} says"

    def _without_channel(self, at: str, fault: str, inserter: str) -> Iterator[str]:
        """A fault inserter gives each of its faults a channel, in its options."""
        channels = self.devices[inserter].options.get("faults", {}) if inserter in self.devices else {}
        if isinstance(channels, Mapping) and channels and fault not in channels:
            yield f"{at}: {unknown(f'fault of device {inserter!r}', fault, list(channels))}"

    def _of_role(self, at: str, name: str, role: str) -> Iterator[str]:
        if name not in self.device_names:
            yield f"{at}: {unknown('device', name, self.device_names)}"
        elif name in self.devices and self.devices[name].role != role:
            yield f"{at} = {name!r}: that device's role is {self.devices[name].role}; allowed: {role}"


def watchdogs_of(driver: Callable[..., Any]) -> list[str]:
    """Name the watchdogs that a driver has: those that its class declares beside it, and "" for its own."""
    beside = get_type_hints(driver)
    own = [""] if isinstance(driver, type) and issubclass(driver, Watchdog) else []
    return own + [
        name for name, kind in beside.items() if isinstance(kind, type) and issubclass(kind, Watchdog)
    ]


def _is_loopback(host: str) -> bool:
    """Whether it is a numeric address of this machine's loopback (127.0.0.0/8 or ::1)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _driver_disagreements(
    at: str, device: Device, wire: CanWire | ModbusTcpWire | VisaWire | None, folder: DriverFolder
) -> Iterator[str]:
    """Where a device does not fit its driver."""
    if device.role in ROLES and device.role != folder.ROLE:
        yield f"{at}.role = {device.role!r}: allowed: {folder.ROLE!r}, as driver {device.driver!r} says"
    if wire is not None and wire.kind != folder.WIRE:
        yield (
            f"{at}.wire = {device.wire!r}: that wire is {wire.kind}; "
            f"driver {device.driver!r} speaks over {folder.WIRE}"
        )
    if "unit" in device.options:
        yield f"{at}.options.unit = {device.options['unit']}: a unit stands beside the driver: {at}.unit"
        return
    # The label stands before every disagreement already, so it is left out here.
    for mistake in mistakes_of(folder.Options, _options_table(device), "", (*at.split("."), "options")):
        yield mistake.removeprefix(": ")


def options_of(device: Device, folder: DriverFolder) -> Any:
    """Make a device's Options.

    Raises:
        ConfigurationError: they are not what its driver takes.
    """
    return read_part(folder.Options, _options_table(device), "")


def _options_table(device: Device) -> dict[str, Any]:
    """What a driver's Options are made of: the device's own, and on a Modbus wire its unit."""
    return {**device.options} if device.unit is None else {**device.options, "unit": device.unit}


def _tables(table: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """The sub-tables under a key; what is no table is told by the model."""
    under = table.get(key, {})
    if not isinstance(under, Mapping):
        return {}
    return {name: entry for name, entry in under.items() if isinstance(entry, Mapping)}


def _sound_topology(table: Mapping[str, Any]) -> Topology:
    """The topology, or what is left of it without the parts that are unsound: each may be left out."""
    whole = _sound(Topology, table)
    if whole is not None:
        return whole
    parts = {key: part for key, part in table.items() if _sound(Topology, {key: part}) is not None}
    return read_part(Topology, parts, "")


def _sound(model: type[_PartT], table: Mapping[str, Any]) -> _PartT | None:
    try:
        return read_part(model, table, "")
    except ConfigurationError:
        return None
