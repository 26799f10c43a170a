"""Why a rig must not be energised with a product on it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.rig.product_file import ProductFile
from harness.rig.reaction import limits_of, too_slow
from harness.rig.rig_file import RigFile

BATTERY_NODE = "battery_dc"


def refusals(rig: RigFile, product: ProductFile) -> list[str]:
    """Every reason against energising; empty where there is none. Each says what would help."""
    return [
        f"rig {rig.name!r} with product {product.name!r}: {reason}"
        for found in (
            _of_permission(rig),
            _of_envelope(rig, product),
            _of_supply(rig, product),
            _of_power(rig, product),
            _of_insulation(rig, product),
            _of_watch(rig),
            _of_safe_state(rig),
        )
        for reason in found
    ]


def _of_permission(rig: RigFile) -> Iterator[str]:
    if set(rig.allowed_hazards) == {"reads"}:
        yield "allowed_hazards is reads alone; energising needs 'energises' in the rig file"


def _of_envelope(rig: RigFile, product: ProductFile) -> Iterator[str]:
    """Without limits the interlock has nothing to watch; with limits inside the windows it trips at once."""
    if rig.envelope is None:
        yield "no envelope: the interlock would have no limit to watch; add [envelope.*] to the rig file"
        return
    lowest, highest = rig.envelope.battery_voltage_v.value
    window_lowest, window_highest = product.windows.voltage_v
    if window_lowest < lowest or window_highest > highest:
        yield (
            f"the product works from {window_lowest} to {window_highest} V, the rig survives "
            f"{lowest} to {highest} V (envelope.battery_voltage_v)"
        )
    largest = max(map(abs, product.windows.current_a))
    if largest > rig.envelope.battery_current_a.value:
        yield (
            f"the product works up to {largest} A, the rig survives "
            f"{rig.envelope.battery_current_a.value} A (envelope.battery_current_a)"
        )


def _of_supply(rig: RigFile, product: ProductFile) -> Iterator[str]:
    if rig.phases != product.ratings.phases:
        yield f"the rig has {rig.phases} phases, the product {product.ratings.phases}"
    # Supply voltages are named within 10 % of each other (IEC 60038), so more is another voltage.
    if abs(rig.nominal_voltage_v / product.ratings.ac_voltage_v - 1.0) > 0.1:
        yield (
            f"the rig's nominal voltage is {rig.nominal_voltage_v} V line to neutral, "
            f"the product's {product.ratings.ac_voltage_v} V"
        )
    unfit = [f0 for f0 in rig.frequencies_hz if f0 not in product.ratings.frequencies_hz]
    if len(unfit) == len(rig.frequencies_hz):
        yield (
            f"the rig can do {', '.join(map(str, rig.frequencies_hz))} Hz, the product is made for "
            f"{', '.join(map(str, product.ratings.frequencies_hz))} Hz"
        )


def _of_power(rig: RigFile, product: ProductFile) -> Iterator[str]:
    """All that a discharge feeds ends in the source, since the critical load may be off."""
    source = rig.topology.source
    if source is None:
        yield (
            "no topology.source: it stands on the public mains, which no command takes away, and nobody has "
            "said what they take back; energising needs an AC source of the bench's own: a device of role "
            "grid_source, and [topology.source] that says what it gives and takes back"
        )
        return
    back_w = product.ratings.discharge_power_w
    if not source.can_sink:
        yield (
            f"source {source.device!r} cannot sink, and a discharge may return {back_w} W; "
            "use a regenerative source or a load bank that is rated for it"
        )
    elif source.sink_power_w < back_w:
        yield f"source {source.device!r} sinks {source.sink_power_w} W, and a discharge may return {back_w} W"
    drawn_w = product.inverter.charge_power_w + rig.topology.critical_load.power_w
    if source.power_w < drawn_w:
        yield f"source {source.device!r} gives {source.power_w} W; charge and critical load draw {drawn_w} W"
    if rig.topology.critical_load.power_w > product.ratings.discharge_power_w:
        yield (
            f"the critical load draws {rig.topology.critical_load.power_w} W, "
            f"the product carries {product.ratings.discharge_power_w} W in an island"
        )


def _of_insulation(rig: RigFile, product: ProductFile) -> Iterator[str]:
    """Two monitors on one unearthed system measure each other (IEC 61557-8); none sees no first fault."""
    for name, system in rig.topology.systems.items():
        owners = [*system.insulation_monitors]
        if BATTERY_NODE in system.nodes and product.battery.has_insulation_monitor:
            owners.append("the product")
        if system.earthing == "IT" and len(owners) > 1:
            yield (
                f"{len(owners)} insulation monitors stand on the IT system {name!r} ({', '.join(owners)}): "
                "they disturb each other; allowed: one"
            )
        if system.earthing == "IT" and not owners:
            yield f"no insulation monitor stands on the IT system {name!r}; allowed: one"
    if not any(BATTERY_NODE in system.nodes for system in rig.topology.systems.values()):
        yield f"no system of the topology holds {BATTERY_NODE}: its earthing is not known"


def _of_watch(rig: RigFile) -> Iterator[str]:
    """Every limit of the envelope has somebody who watches it, fast enough, with means of the bench's own."""
    part = rig.interlock
    if part is None:
        yield "no interlock: nobody would watch the envelope; add [interlock] to the rig file"
        return
    if rig.envelope is None:
        return
    for limit in limits_of(rig.envelope):
        if limit in {"stale_s", "ac_voltage_v"}:
            continue  # the interlock's own rule, and a bound of commands
        if limit == "insulation_ohm" and any("insulation" in contact for contact in part.contacts):
            continue
        if limit not in part.watch and limit not in part.guarded_by_instrument:
            yield (
                f"envelope.{limit} is watched by nobody; name a sensor in interlock.watch.{limit}, or "
                f"the instrument whose own protection holds it in interlock.guarded_by_instrument.{limit}"
            )
    for limit, sensors in part.watch.items():
        for sensor in sensors:
            device = rig.devices[sensor.partition(".")[0]]
            if not device.protective:
                yield (
                    f"interlock.watch.{limit}: {sensor} is no sensor of the bench's own; allowed: "
                    "devices with protective = true, which no plan can touch"
                )
    yield from too_slow(rig)


def _of_safe_state(rig: RigFile) -> Iterator[str]:
    """There is a way to safe, two different sensors prove it, and something acts when the PC is dead."""
    part = rig.safe_state
    if part is None:
        yield "no safe_state: nobody would know how to make it safe; add [safe_state] to the rig file"
        return
    for node, check in part.verified.items():
        if len({sensor.partition(".")[0] for sensor in check.sensors}) < 2:
            yield (
                f"safe_state.verified.{node}: {', '.join(check.sensors)} are one device; allowed: two "
                "different ones, since a failed sensor reads zero"
            )
    if not part.hardware_layers:
        yield (
            "no hardware layer: a dead PC would leave it energised; name a watchdog or a heartbeat "
            "relay with its measured time in safe_state.hardware_layers"
        )
    elif all(rig.devices[layer.device].role == "inverter" for layer in part.hardware_layers.values()):
        yield (
            f"no hardware layer but {', '.join(part.hardware_layers)} of the converter, which leave the "
            "contactor closed and the source on; name one that opens the safety chain too"
        )
    if rig.topology.safety_chain is None:
        yield "no topology.safety_chain: nothing opens the battery's contactor; name its device and outputs"
