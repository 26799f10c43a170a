"""A rig, opened: its lines and devices, and in an emulated run the plant and emulators behind them.

A bench opens everything or says, device by device, why it could not; it closes in reverse.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from harness.clock import VirtualLoop, rig_loop
from harness.errors import BenchError, ConfigurationError, NotTestable, RackproofError, WireError
from harness.readings import Note, Observe, Voice, ignore_command, ignore_readings
from harness.rig.driver_folders import FindDriver, find_driver
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import CanWire, Device, ModbusTcpWire, RigFile, VisaWire, options_of
from harness.rig.stand_in import standing_in
from harness.roles import ROLES
from harness.wires.traffic import Traffic

if TYPE_CHECKING:
    from harness.plant import RigPlant
    from harness.wires.can import CanLine


class Emulator(Protocol):
    """What every emulator shows, whatever its wire."""

    frozen: bool
    swapped_sign: bool
    silent: bool

    async def start(self) -> None:
        """Begin what it does by itself."""

    async def stop(self) -> None:
        """End what it does by itself."""


@dataclass(slots=True)
class FarSide:
    """The emulated world behind a rig's lines.

    Attributes:
        plant: the physics that all emulators share.
        emulators: by device.
        addresses: of the loopback ports, by wire: (host, port); CAN lines inside the loop have none.
        can_lines: the loopback CAN lines, by wire.
    """

    plant: RigPlant
    emulators: dict[str, Emulator] = field(default_factory=dict)
    addresses: dict[str, tuple[str, int]] = field(default_factory=dict)
    can_lines: dict[str, CanLine] = field(default_factory=dict)

    def advance(self) -> None:
        """Bring the plant to the present."""
        self.plant.advance(rig_loop().time())


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a bench is opened with.

    Attributes:
        rig: the rig file.
        product: the product file.
        f0_hz: nominal frequency of this run.
        seed: of everything random in an emulated run.
        observe: takes every reading.
        note: takes every command, before it is sent; what it raises keeps it from being sent.
        traffic: logs what the lines carry.
        on_far_side: is shown the emulated world before anything is opened (seeded faults).
        find_driver: looks a driver's folder up.
        stand_ins: devices that are emulated although the others are real.
    """

    rig: RigFile
    product: ProductFile
    f0_hz: float
    seed: int = 0
    observe: Observe = ignore_readings
    note: Note = ignore_command
    traffic: Traffic = field(default_factory=Traffic)
    on_far_side: Callable[[FarSide], None] | None = None
    find_driver: FindDriver = find_driver
    stand_ins: tuple[str, ...] = ()

    def voice(self, device: str) -> Voice:
        """Give a device its way to the record."""
        return Voice(device, self.observe, self.note)


@contextlib.asynccontextmanager
async def far_side(
    setup: Setup, *, expose_can: bool = False, is_enabled: bool = True, without: Collection[str] = ()
) -> AsyncIterator[FarSide]:
    """Stand every device of the rig on its emulator, over one plant, and serve it on loopback.

    Args:
        setup: the rig and its product.
        expose_can: also serve CAN lines as socketcand on TCP, for a harness in another process.
        is_enabled: whether the outputs of a rig's safety chain are on, and battery and source connected, at
            the beginning; otherwise they are off until somebody drives them. A rig without one has no say.
        without: devices on CAN that are left out; who is at the line's other end stands in for them.

    Yields:
        The FarSide.
    """
    from harness.plant import RigPlant  # noqa: PLC0415 - numpy loads with the plant
    from harness.rig.plant_spec import plant_spec  # noqa: PLC0415

    rig = setup.rig
    is_enabled = is_enabled or rig.topology.safety_chain is None
    plant = RigPlant(plant_spec(rig, setup.product, setup.f0_hz, setup.seed, is_enabled=is_enabled))
    side = FarSide(plant)
    async with contextlib.AsyncExitStack() as stack:
        for name, device in rig.devices.items():
            if name in without:
                continue
            folder = setup.find_driver(device.driver)
            options = options_of(device, folder)
            side.emulators[name] = folder.Emulator(name, plant, options)
        await _serve_can(setup, side, stack, expose_can=expose_can)
        for wire_name, wire in rig.wires.items():
            on_it = {n: d for n, d in rig.devices.items() if d.wire == wire_name}
            if isinstance(wire, ModbusTcpWire) and on_it:
                await _serve_modbus(wire_name, on_it, side, stack)
            elif isinstance(wire, VisaWire) and on_it:
                await _serve_visa(wire_name, wire, on_it, side, stack)
        _connect_relays(rig, side)
        _connect_triggers(rig, side)
        _connect_safety_chain(rig, side, is_enabled=is_enabled)
        if setup.on_far_side is not None:
            setup.on_far_side(side)
        for emulator in side.emulators.values():
            await emulator.start()
            stack.push_async_callback(emulator.stop)
        yield side


async def _serve_can(
    setup: Setup,
    side: FarSide,
    stack: contextlib.AsyncExitStack,
    *,
    expose_can: bool,
) -> None:
    from harness.wires.can import CanLine  # noqa: PLC0415 - vendors load when named

    rig = setup.rig
    for wire_name, wire in rig.wires.items():
        if not isinstance(wire, CanWire):
            continue
        line = CanLine(wire_name, setup.traffic.line(wire_name, is_can=True))
        await line.open()
        stack.push_async_callback(line.close)
        side.can_lines[wire_name] = line
        for name, device in rig.devices.items():
            if wire_name in (device.wire, device.hears) and name in side.emulators:
                cast("Any", side.emulators[name]).attach(line.port(name))
        if expose_can:
            from harness.wires.socketcand import SocketcandServer  # noqa: PLC0415 - loads an XML parser

            server = SocketcandServer(line, wire.channel)
            await server.start()
            stack.push_async_callback(server.stop)
            side.addresses[wire_name] = ("127.0.0.1", server.port)


async def _serve_modbus(
    wire_name: str,
    on_it: Mapping[str, Device],
    side: FarSide,
    stack: contextlib.AsyncExitStack,
) -> None:
    from harness.wires.modbus import ModbusTcpServer  # noqa: PLC0415

    units = {device.unit or 0: cast("Any", side.emulators[name]) for name, device in on_it.items()}
    server = ModbusTcpServer(wire_name, units)
    await server.start()
    stack.push_async_callback(server.stop)
    side.addresses[wire_name] = ("127.0.0.1", server.port)


async def _serve_visa(
    wire_name: str,
    wire: VisaWire,
    on_it: Mapping[str, Device],
    side: FarSide,
    stack: contextlib.AsyncExitStack,
) -> None:
    from harness.wires.visa import InstrumentServer  # noqa: PLC0415

    (name,) = on_it
    server = InstrumentServer(wire_name, cast("Any", side.emulators[name]), wire.terminator.encode())
    await server.start()
    stack.push_async_callback(server.stop)
    side.addresses[wire_name] = ("127.0.0.1", server.port)


def _connect_relays(rig: RigFile, side: FarSide) -> None:
    """Let each relay channel do to its CAN lead what the topology says."""
    for inserter in {fault.device for fault in rig.topology.faults.values()}:
        emulator = cast("Any", side.emulators[inserter])
        faults: Mapping[str, int] = emulator.options.faults
        leads = {
            faults[name]: (side.can_lines[fault.wire], fault.lead)
            for name, fault in rig.topology.faults.items()
            if fault.device == inserter and name in faults
        }

        def switch(channel: int, is_on: bool, leads: Mapping[int, tuple[CanLine, str]] = leads) -> None:
            if channel in leads:
                line, lead = leads[channel]
                (line.open_lead if is_on else line.close_lead)(lead)

        emulator.on_change = switch


def _connect_triggers(rig: RigFile, side: FarSide) -> None:
    """Wire each trigger output to its input."""
    for trigger in rig.triggers.values():
        source = cast("Any", side.emulators[trigger.from_device])
        source.on_trigger = cast("Any", side.emulators[trigger.to_device]).trigger


CHAIN_DELAY_S = 0.2
"""After which the chain's delayed contact opens the battery, the converter stopped (stop category 1, IEC
60204-1); ours, of the usual range of a safety relay's delay."""


def _connect_safety_chain(rig: RigFile, side: FarSide, *, is_enabled: bool) -> None:
    """Let the safety device's outputs do to the plant what the topology says, and its feedback follow."""
    chain = rig.topology.safety_chain
    if chain is None:
        return
    emulator, plant = cast("Any", side.emulators[chain.device]), side.plant
    has_source = rig.topology.source is not None  # no chain opens the public mains

    # The chain conducts while its relay is driven and every contact in it is closed.
    closed = dict.fromkeys((chain.chain, *chain.opened_by), True)

    def conduct(name: str, is_closed: bool) -> None:
        if name not in closed:
            return
        side.advance()
        closed[name] = is_closed
        is_on = all(closed.values())
        plant.converter.enable(is_enabled=is_on)
        if has_source:
            plant.grid.enable(is_enabled=is_on)
        if not is_on:
            plant.at(plant.now_s + CHAIN_DELAY_S, plant.bms.open_contactors)

    def switch(output: str, is_on: bool) -> None:
        if output == chain.chain:
            conduct(output, is_on)
        elif output == chain.battery_enable:
            (plant.bms.close_contactors if is_on else plant.bms.open_contactors)()

    emulator.on_output = switch
    emulator.on_input = conduct
    emulator.feedback[chain.contactor_feedback] = lambda: plant.bms.contactor_closed
    if is_enabled:
        emulator.enable()
    else:
        switch(chain.chain, False)


class Bench:
    """A rig's devices, open, by name and by role.

    Attributes:
        far_side: the emulated world, where it is in this process.
        has_energised: whether a plan ran on it that may have.
        devices: drivers by name, those that are open.
        lines: near ends by wire, those that are open.
        is_fenced: whether its lines were taken away from its devices.
    """

    def __init__(self, setup: Setup, side: FarSide | None) -> None:
        self.setup = setup
        self.rig = setup.rig
        self.product = setup.product
        self.far_side = side
        self.has_energised = False
        self.devices: dict[str, Any] = {}
        self.lines: dict[str, Any] = {}
        self.is_fenced = False

    def fence(self) -> None:
        """Take every line away from the devices, from any thread: nothing is commanded any more."""
        self.is_fenced = True
        for line in self.lines.values():
            line.fence()

    def role(self, role: str) -> Any:
        """Give the device that fulfils a role.

        Raises:
            NotTestable: the rig has none, or more than one, or it is not open: another process holds it, or
                it did not answer.
        """
        names = [name for name, device in self.rig.devices.items() if device.role == role]
        if len(names) != 1:
            there = ", ".join(names) if names else "none"
            have = ", ".join(sorted({device.role for device in self.rig.devices.values()}))
            raise NotTestable(
                f"rig {self.rig.name}: the plan asks for one {role}, there is {there}; it has: {have}"
            )
        (name,) = names
        if name not in self.devices:
            there = ", ".join(self.devices) or "none"
            raise NotTestable(f"{role}: {name} is not open here; open are: {there}")
        return self.devices[name]


def line_of(name: str, bench: Bench) -> Any:
    """Make the near end of a wire; not open yet."""
    setup, side = bench.setup, bench.far_side
    wire = setup.rig.wires[name]
    traffic = setup.traffic.line(name, is_can=isinstance(wire, CanWire))
    match wire:
        case CanWire():
            from harness.wires.can import CanBusLine  # noqa: PLC0415 - vendors load when a rig names them

            if side is not None:
                return side.can_lines[name]
            options = dict(wire.options)
            if wire.interface == "socketcan":
                options.setdefault("receive_own_messages", False)
            return CanBusLine(name, wire.interface, wire.channel, options, traffic=traffic)
        case ModbusTcpWire():
            from harness.wires.modbus import ModbusTcpLine  # noqa: PLC0415

            host, port = side.addresses[name] if side is not None else (wire.host, wire.port)
            return ModbusTcpLine(name, host, port, timeout_s=wire.timeout_s, traffic=traffic)
        case VisaWire():
            from harness.wires.visa import open_line  # noqa: PLC0415

            resource = wire.resource
            if side is not None:
                host, port = side.addresses[name]
                resource = f"TCPIP0::{host}::{port}::SOCKET"
            return open_line(
                name,
                resource,
                backend=wire.backend if side is None else "@py",
                timeout_s=wire.timeout_s,
                terminator=wire.terminator,
                traffic=traffic,
            )


@contextlib.asynccontextmanager
async def open_bench(
    setup: Setup, *, emulate: bool, only: frozenset[str] | None = None, side: FarSide | None = None
) -> AsyncIterator[Bench]:
    """Open a rig: its lines, then its devices; close in reverse.

    Args:
        setup: the rig and what records it.
        emulate: stand all devices on emulators inside this loop.
        only: open these devices alone (a reading from one of them).
        side: the emulators, where they stand already: of a rig that is wired otherwise than its file says.

    Yields:
        The Bench.

    Raises:
        BenchError: one or more devices cannot be reached: each is named with wire, address and cause.
    """
    rig = setup.rig
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(setup.traffic.close)
        if emulate:
            loop = rig_loop()
            if isinstance(loop, VirtualLoop):
                stack.push_async_callback(loop.settle)
            side = side or await stack.enter_async_context(far_side(setup))
        bench = Bench(setup, side)
        wanted = {n: d for n, d in rig.devices.items() if only is None or n in only}
        troubles: list[str] = []
        broken = await _open_lines(bench, wanted, stack)
        stand_in = await stack.enter_async_context(standing_in(bench)) if setup.stand_ins else None
        for name, device in wanted.items():
            if device.wire in broken:
                troubles.append(f"{name} ({device.driver}): {broken[device.wire]}")
                continue
            try:
                await open_device(name, bench.lines[device.wire], bench, stack)
            except RackproofError as error:
                troubles.append(f"{name} ({device.driver}): {error}")
        if troubles:
            outline = f" {troubles[0]}" if len(troubles) == 1 else "\n  " + "\n  ".join(troubles)
            raise BenchError(
                f"rig {rig.name}: {len(troubles)} of {len(wanted)} devices cannot be opened:{outline}"
            )
        if stand_in is not None:
            await stack.enter_async_context(stand_in.following())
        yield bench


async def _open_lines(
    bench: Bench, wanted: Mapping[str, Device], stack: contextlib.AsyncExitStack
) -> dict[str, WireError]:
    """Put the near end of each wire that is wanted on the bench, open; gives why the others are not."""
    broken: dict[str, WireError] = {}
    side = bench.far_side
    for name in bench.rig.wires:
        if all(device.wire != name for device in wanted.values()):
            continue
        line = line_of(name, bench)
        if side is None or name not in side.can_lines:  # a loopback line was opened with the far side
            stack.push_async_callback(line.close)
            try:
                await line.open()
            except WireError as error:
                broken[name] = error
                continue
        bench.lines[name] = line
    return broken


async def open_device(name: str, line: Any, bench: Bench, stack: contextlib.AsyncExitStack) -> None:
    """Open a device on its line, and put it on the bench; the stack closes it.

    Raises:
        RackproofError: it cannot be reached, or its driver does not fulfil its role.
    """
    setup = bench.setup
    device = setup.rig.devices[name]
    folder = setup.find_driver(device.driver)
    options = options_of(device, folder)
    wire = setup.rig.wires[device.wire]
    near = line.port(f"harness/{name}") if isinstance(wire, CanWire) else line
    driver = folder.Driver(name, near, options, setup.voice(name))
    role = ROLES[device.role]
    fulfils = isinstance(driver, role)
    if not fulfils:
        missing = [word for word in dir(role) if not word.startswith("_") and not hasattr(driver, word)]
        raise ConfigurationError(
            f"driver {device.driver} does not fulfil the role {device.role}: it lacks {', '.join(missing)}"
        )
    stack.push_async_callback(_close, driver, bench)
    await driver.open()
    bench.devices[name] = driver


async def reach(name: str, bench: Bench, stack: contextlib.AsyncExitStack) -> None:
    """Open a device, and its line where that is not open yet; the stack closes both.

    Raises:
        RackproofError: line or device cannot be reached.
    """
    wire = bench.rig.devices[name].wire
    if wire not in bench.lines:
        line = line_of(wire, bench)
        await line.open()
        stack.push_async_callback(line.close)
        bench.lines[wire] = line
    await open_device(name, bench.lines[wire], bench, stack)


async def _close(driver: Any, bench: Bench) -> None:
    """Close a device; one whose line was fenced cannot be given back, and need not."""
    try:
        await driver.close()
    except WireError:
        if not bench.is_fenced:
            raise
