"""What ``rackproof commission`` tries, in its order, and what each check finds.

Nothing is energised before the contactor and the hardware layer have proved that they open; nothing moves
power before the voltages agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from harness.clock import now_s
from harness.errors import NotTestable, StaleReading
from harness.judge.waveforms import deviation_from_projection
from harness.readings import Waveform
from harness.rig.rig_file import RigFile
from harness.rig.safety_part import HardwareLayer
from harness.roles import GridStep, OperatingState, SafetyInputs, Watchdog
from harness.safety.commissioning import Check, CheckFailed, Commissioning
from harness.safety.safe_state import ask, silenced_within_s, silencing_fault
from harness.safety.watch import watchdog_of

SCALE_WITHIN = 0.05
"""How far sensors of one quantity may be apart: a ratio or range that was mistaken is a tenth off at least,
and those that are right differ by 1 to 3 %, the battery's own the most; ours."""

POWER_FLOOR_W = 100.0
"""Differences of power that are no finding: what a converter of 10 kVA and its sensors are off at no power;
ours."""

SAFE_TO_TOUCH_V = 60.0
"""Direct voltage below which parts may be touched (IEC 61140, extra-low voltage for DC)."""

DEAD_LINK = 0.1
"""Of the battery's voltage: a link that still has more is not empty, however low that voltage is; ours."""

PERSON_WITHIN_S = 120.0
"""How long a person has to press or to open something; ours."""

RUNS_WITHIN_S = 400.0
"""From the command to a converter that runs: it may have to see good mains for 300 s first (Japanese grid
operators ask for up to that, from memory), and starts; the rest ours."""

CHAIN_WITHIN_S = 5.0
"""How long the chain may take to take the current away before the check gives it up: many times the delay of
a safety relay; ours."""

COMES_BACK_WITHIN_S = 1.0
"""What comes back by itself when an E-stop is released, or a door closed, does so at once; ours."""

REFRESH_WITHIN_S = 1.0
"""Plans poll once a second: a register that is renewed less often is read twice; ours."""

FOLLOWS_WITHIN_S = 10.0
"""A register that has not moved by then does not follow at all; ours."""

AC_NODES = ("grid_ac", "pcs_ac", "load_ac")
PHASES = (1, 2, 3)


async def _identities(work: Commissioning) -> str:
    found = []
    for name, driver in work.bench.devices.items():
        who = await driver.identity()
        expected = work.bench.rig.devices[name].serial
        if expected and who.serial and who.serial != expected:
            raise CheckFailed(f"{name}: serial number {who.serial}; the rig file says {expected}")
        found.append(f"{name} is {who.maker} {who.model} {who.serial}".rstrip())
    return "; ".join(found)


async def _contactor(work: Commissioning) -> str:
    """The auxiliary contact follows each way, and is the battery's: the converter sees its voltage."""
    chain, device = work.chain, work.role("safety_inputs")
    await work.close_chain()
    for is_on in (False, True):
        await device.set_output(chain.battery_enable, is_on=is_on)
        took_s = await work.contactor_becomes(is_closed=is_on)
        work.values["closes_s" if is_on else "opens_s"] = took_s
    await _link_is_battery(work)
    return f"opens in {work.values['opens_s']:.3g} s, closes in {work.values['closes_s']:.3g} s"


async def _link_is_battery(work: Commissioning) -> None:
    """Wait until the converter sees the battery's voltage at its terminals."""
    inverter, battery = work.role("inverter"), work.role("battery")
    volts: dict[str, float] = {}

    async def agree() -> bool:
        link_v: float = (await inverter.dc_voltage_v()).value
        battery_v: float = (await battery.voltage_v()).value
        volts.update({f"{inverter.name}.dc_voltage_v": link_v, f"{battery.name}.voltage_v": battery_v})
        work.values |= volts
        return abs(link_v - battery_v) <= SCALE_WITHIN * abs(battery_v)

    await work.until(
        agree,
        FOLLOWS_WITHIN_S,
        lambda: (
            f"contactor: closed by its feedback, and {_spelled(volts)}; allowed: {SCALE_WITHIN:.0%} "
            "apart: the feedback is another contactor's, or the leads to the converter are open"
        ),
    )


async def _hardware_layers(work: Commissioning) -> str:
    """Silence on purpose: each watchdog runs out in its time, and the chain's drops the battery with it.

    The converter is off meanwhile: what its own have stopped is armed anew afterwards.
    """
    said = []
    await work.role("inverter").turn_off()
    for name, layer in work.safe_state.hardware_layers.items():
        watchdog, device = watchdog_of(work.bench, name, layer), work.bench.devices[layer.device]
        await work.close_chain()
        await watchdog.arm_watchdog(layer.timeout_s)

        async def has_acted(watchdog: Watchdog = watchdog) -> bool:
            return not (await watchdog.is_watchdog_running()).value

        took_s = await work.until(has_acted, layer.measured_s, partial(_still_runs, name, layer))
        await watchdog.disarm_watchdog()
        if not isinstance(device, SafetyInputs):
            work.values[f"{name}_s"] = took_s
            said.append(f"{name} ran out after {took_s:.3g} s of silence")
            continue
        driven = [output for output, is_on in (await device.outputs()).value.items() if is_on]
        if driven:
            raise CheckFailed(f"{name}: {layer.device}'s watchdog ran out and left {', '.join(driven)} on")
        await work.input_becomes(work.chain.contactor_feedback, is_on=False, within_s=CHAIN_WITHIN_S)
        work.values[f"{name}_s"] = took_s
        said.append(f"{name} dropped the chain after {took_s:.3g} s of silence")
    if not said:
        raise CheckFailed("the rig file names no hardware layer")
    await work.arm_hardware_layers()
    return f"{'; '.join(said)}; armed from now on"


def _still_runs(name: str, layer: HardwareLayer) -> str:
    return (
        f"{name}: {layer.spelled} still runs after {layer.measured_s:g} s of silence, which is "
        "what the rig file declares (measured_s)"
    )


async def _voltage(work: Commissioning) -> str:
    """Source, converter and analyzer measure one AC voltage."""
    await work.close_chain()
    await _energise(work)
    grid, inverter = work.role("grid_source"), work.role("inverter")
    volts = {f"{grid.name}.voltage_v({phase})": (await grid.voltage_v(phase)).value for phase in PHASES}
    volts[f"{inverter.name}.ac_voltage_v"] = (await inverter.ac_voltage_v()).value
    for node, values in (await _analyzed(work)).items():
        if node in AC_NODES:
            volts[f"{node}.voltage_v"] = values.voltage_v.value
    _agree(work, "AC voltage", volts, 0.0)
    return _spelled(volts)


async def _energise(work: Commissioning) -> None:
    """Source to nominal voltage, converter on, no power."""
    grid, inverter = work.role("grid_source"), work.role("inverter")
    await grid.set_frequency_hz(work.f0_hz)
    await grid.set_voltage_v(await grid.nominal_voltage_v())
    await grid.turn_on()
    await inverter.set_power_w(0.0)
    await inverter.turn_on()
    running = {OperatingState.RUNNING, OperatingState.THROTTLED}

    async def runs() -> bool:
        return (await inverter.is_on()).value and (await inverter.state()).value in running

    await work.until(
        runs, RUNS_WITHIN_S, lambda: f"{inverter.name} does not run after {RUNS_WITHIN_S:g} s on good mains"
    )


async def _rotation(work: Commissioning) -> str:
    """Each node turns 1-2-3, phase 1 is the same one at all nodes of a system, and every lead is as large."""
    nodes = await _recorded_nodes(work, "v")
    waves = await _capture(work, [f"{node}.u{phase}_v" for node in nodes for phase in PHASES], 10_000.0)
    phasors = {name: _phasor(wave, work.f0_hz) for name, wave in waves.items()}
    _agree(work, "recorded voltage", {name: abs(phasor) for name, phasor in phasors.items()}, 0.0)
    for node in nodes:
        u1, u2, u3 = (phasors[f"{node}.u{phase}_v"] for phase in PHASES)
        lags = [_angle_deg(u1, u2), _angle_deg(u2, u3)]
        work.values |= {f"{node}.lag_{i}_deg": lag for i, lag in enumerate(lags, 1)}
        if any(abs(lag - 120.0) > 10.0 for lag in lags):
            are_swapped = all(abs(lag - 240.0) <= 10.0 for lag in lags)
            why = "two phases are swapped" if are_swapped else "a lead is reversed"
            raise CheckFailed(
                f"{node}: phase 2 lags phase 1 by {lags[0]:.1f} degrees, phase 3 lags phase 2 by "
                f"{lags[1]:.1f}; allowed: 120: {why}"
            )
    _same_phase_one(work.bench.rig, {node: phasors[f"{node}.u1_v"] for node in nodes})
    return f"1-2-3 at {', '.join(nodes)}"


def _same_phase_one(rig: RigFile, phasors: Mapping[str, complex]) -> None:
    """Refuse leads that turn 1-2-3 and begin with another phase."""
    for system in rig.topology.systems.values():
        here = [node for node in phasors if node in system.nodes]
        for other in here[1:]:
            first = here[0]
            lag_deg = _angle_deg(phasors[first], phasors[other])
            if min(lag_deg, 360.0 - lag_deg) > 10.0:
                raise CheckFailed(
                    f"{other}: its phase 1 lags that of {first} by {lag_deg:.1f} degrees; allowed: none: "
                    "it is another phase, or its leads are reversed"
                )


async def _polarity(work: Commissioning) -> str:
    """From power in to power out every current sensor moves the same way, by the same amount.

    The change has no offset in it, so that a scale shows at a tenth of the rating too.
    """
    inverter = work.role("inverter")
    powers, currents, volts = f"{inverter.name}.ac_power_w", *_battery_values(work)
    if len(currents) < 2:
        raise CheckFailed(
            f"{', '.join(currents)} alone measures the battery's current, so that its scale cannot be found; "
            "allowed: another one beside it, in safe_state.verified or interlock.agreement"
        )
    levels: list[dict[str, float]] = []
    for power_w in (-work.low_power_w, work.low_power_w):
        await work.power(power_w)
        found = {value: float(await ask(work.bench, value)) for value in (powers, *currents, *volts)}
        levels.append(found)
        _agree(work, "AC power", {"asked": power_w, powers: found[powers]}, 0.5 * POWER_FLOOR_W)
        _agree(work, "battery voltage", {value: found[value] for value in volts}, 0.0)
    changes = {value: levels[1][value] - levels[0][value] for value in currents}
    work.values |= {f"{value} changes by": change for value, change in changes.items()}
    said = f"{_spelled(changes)} from {-work.low_power_w:g} W to {work.low_power_w:g} W"
    if reversed_ones := [value for value, change in changes.items() if change <= 0.0]:
        raise CheckFailed(
            f"polarity: {', '.join(reversed_ones)}: the change is {said}; allowed: positive, "
            "out of the battery"
        )
    middle = median(changes.values())
    if max(changes.values()) - min(changes.values()) > SCALE_WITHIN * middle:
        worst = max(currents, key=lambda value: abs(changes[value] - middle))
        raise CheckFailed(
            f"scale: {worst} is furthest from the others: the change is {said}; "
            f"allowed: {SCALE_WITHIN:.0%} apart"
        )
    for name, pair in work.interlock.agreement.items():
        for found in levels:
            if {pair.bench, pair.product} <= found.keys():
                apart = abs(found[pair.bench] - found[pair.product])
                if apart > pair.within:
                    raise CheckFailed(
                        f"offset: {name}: {pair.bench} = {found[pair.bench]:.4g}, "
                        f"{pair.product} = {found[pair.product]:.4g}; allowed: {pair.within:g} apart"
                    )
    return f"the current out of the battery changes by {said}"


def _battery_values(work: Commissioning) -> tuple[list[str], list[str]]:
    """Everything that measures the battery's current, and everything that measures its voltage."""
    current = work.safe_state.current
    named = [current]
    for check in work.safe_state.verified.values():
        if current in check.sensors:
            named += check.sensors
    for pair in work.interlock.agreement.values():
        named += (pair.bench, pair.product)
    named.append(f"{work.role('inverter').name}.dc_voltage_v")
    parts = {value: value.rpartition(".")[2] for value in named}
    currents = [value for value, part in parts.items() if part == "current_a"]
    return currents, [value for value, part in parts.items() if part in {"voltage_v", "dc_voltage_v"}]


async def _transformers(work: Commissioning) -> str:
    """Power has the right sign at each node and in each phase, and what goes in comes out."""
    await work.power(work.low_power_w)
    tried = []
    for balance in (_analyzer_balance, _recorder_balance):
        try:
            tried.append(await balance(work))
        except NotTestable:
            continue
    if not tried:
        raise NotTestable("neither analyzer nor recorder sees a current")
    return "; ".join(tried)


async def _analyzer_balance(work: Commissioning) -> str:
    found = {node: values.power_w.value for node, values in (await _analyzed(work)).items()}
    if not found:
        raise NotTestable("the rig has no analyzer")
    for node in ("pcs_ac", "battery_dc"):
        if node in found and found[node] <= 0.0:
            raise CheckFailed(
                f"{node}: {found[node]:.4g} W while the battery gives {work.low_power_w:.0f} W: a current "
                "transformer or a pair of voltage leads is the wrong way round"
            )
    _balance(work, "analyzer", found)
    return f"analyzer, in W: {_spelled(found)}"


async def _recorder_balance(work: Commissioning) -> str:
    nodes = await _recorded_nodes(work, "a")
    names = [f"{node}.{kind}" for node in nodes for p in PHASES for kind in (f"u{p}_v", f"i{p}_a")]
    phasors = {k: _phasor(wave, work.f0_hz) for k, wave in (await _capture(work, names, 10_000.0)).items()}
    found: dict[str, float] = {}
    for node in nodes:
        powers = [(phasors[f"{node}.u{p}_v"] * phasors[f"{node}.i{p}_a"].conjugate()).real for p in PHASES]
        found[node] = sum(powers)
        work.values |= {f"{node}.p{phase}_w": power_w for phase, power_w in zip(PHASES, powers, strict=True)}
        # Phases are loaded alike; a reversed one shows minus, a swapped one half and minus.
        if any(abs(power_w - median(powers)) > 0.5 * abs(median(powers)) for power_w in powers):
            raise CheckFailed(
                f"{node}: the recorder sees {', '.join(f'{power_w:.4g}' for power_w in powers)} W in "
                "phases 1 to 3; allowed: alike: a current transformer is reversed, or in another phase"
            )
    if found.get("pcs_ac", 1.0) <= 0.0:
        raise CheckFailed(
            f"pcs_ac: the recorder sees {found['pcs_ac']:.4g} W while the battery gives "
            f"{work.low_power_w:.0f} W: its current transformers are the wrong way round"
        )
    _balance(work, "recorder", found)
    return f"recorder, in W: {_spelled(found)}"


def _balance(work: Commissioning, instrument: str, found: Mapping[str, float]) -> None:
    """Refuse powers whose sum at the bus is not zero; names the one that would be right reversed."""
    work.values |= {f"{instrument} {node} power_w": power_w for node, power_w in found.items()}
    if not set(AC_NODES) <= found.keys():
        return
    turned = {node: found[node] * (1.0 if node == "pcs_ac" else -1.0) for node in AC_NODES}
    left_w = sum(turned.values())
    allowed_w = max(SCALE_WITHIN * max(map(abs, turned.values())), POWER_FLOOR_W)
    if abs(left_w) > allowed_w:
        suspects = [node for node in AC_NODES if abs(left_w - 2.0 * turned[node]) <= allowed_w]
        why = (
            f"{suspects[0]}'s transformers are the wrong way round"
            if len(suspects) == 1
            else "a transformer's direction or ratio is wrong at one of them"
        )
        raise CheckFailed(
            f"{instrument}: {_spelled(found)}: pcs_ac - load_ac - grid_ac is {left_w:.4g} W; "
            f"allowed: {allowed_w:.4g} W: {why}"
        )


async def _refresh(work: Commissioning) -> str:
    """How often the converter's registers are renewed, in answer to commands one behind the other.

    Each command follows a change that was just seen, so that it waits for a whole interval.
    """
    inverter = work.role("inverter")
    await work.power(work.low_power_w)
    took_s = []
    for target_w in (-work.low_power_w, work.low_power_w, -work.low_power_w):

        async def has_followed(target_w: float = target_w) -> bool:
            power_w: float = (await inverter.ac_power_w()).value
            return abs(power_w - target_w) < abs(target_w)

        await inverter.set_power_w(target_w)
        took_s.append(
            await work.until(
                has_followed,
                FOLLOWS_WITHIN_S,
                lambda: (
                    f"{inverter.name}.ac_power_w does not follow a command within {FOLLOWS_WITHIN_S:g} s: "
                    "is it frozen?"
                ),
            )
        )
    longest_s = work.values["refresh_s"] = max(took_s)
    if longest_s > REFRESH_WITHIN_S:
        raise CheckFailed(
            f"{inverter.name}.ac_power_w shows a command after {longest_s:.3g} s; allowed: "
            f"{REFRESH_WITHIN_S:g} s, since plans ask once a second: its registers are stale"
        )
    return f"a command shows in the registers after {longest_s:.3g} s at most"


async def _skew(work: Commissioning) -> str:
    """A step of the source stands at the trigger that it gives."""
    rig, f0_hz = work.bench.rig, work.f0_hz
    trigger, source = next(iter(rig.triggers.values()), None), rig.topology.source
    if trigger is None or source is None:
        raise NotTestable(f"rig {rig.name} has no {'trigger' if trigger is None else 'topology.source'}")
    channels = [f"grid_ac.u{phase}_v" for phase in PHASES]
    if "grid_ac" not in await _recorded_nodes(work, "v"):
        raise NotTestable("the recorder does not see the source's voltage")
    await work.power(0.0)
    grid, before_s, rate_hz = work.role("grid_source"), 6.0 / f0_hz, 50_000.0
    dip = (GridStep(0.2, (0.9, 0.9, 0.9), f0_hz), GridStep(0.2, (1.0, 1.0, 1.0), f0_hz))
    await grid.load_profile(dip)
    waves = await _capture(work, channels, rate_hz, before_s=before_s, start=grid.start_profile)
    skews_s = [_step_after_s(wave, wave.start_s + before_s, f0_hz) for wave in waves.values()]
    skew_s = min(skews_s, key=abs)
    allowed_s = 3.0 * trigger.skew_s + source.rise_time_s + 1.0 / rate_hz
    work.values |= {"skew_s": skew_s, "declared_s": trigger.skew_s}
    if not abs(skew_s) <= allowed_s:
        raise CheckFailed(
            f"the step stands {1e6 * skew_s:.0f} us from the trigger; allowed: {1e6 * allowed_s:.0f} us: "
            "three times the declared skew, the source's rise and a sample"
        )
    await asyncio.sleep(sum(step.duration_s for step in dip))
    return f"the step stands {1e6 * skew_s:.0f} us from the trigger"


def _step_after_s(wave: Waveform, trigger_s: float, f0_hz: float) -> float:
    """Time from the trigger to a step of 10 %: where the sine before it is left by a fifth of the step.

    Noise and quantisation never reach that. Of three phases one at least is far from its zero crossing.
    """
    cycles = 3
    off = deviation_from_projection(wave, f0_hz, event_s=wave.start_s + (cycles + 0.5) / f0_hz, cycles=cycles)
    there = np.flatnonzero(off.values > 0.02)
    return float(off.at_s[there[0]]) - trigger_s if len(there) else math.inf


async def _battery_silence(work: Commissioning) -> str:
    """The converter goes to zero by itself, in its product file's time, once it misses its battery."""
    rig, inverter = work.bench.rig, work.role("inverter")
    battery, current = work.role("battery"), work.safe_state.current
    fault = silencing_fault(rig)
    if fault is None:
        raise NotTestable(
            "no relay of topology.faults cuts the line on which the converter hears the battery"
        )
    inserter, within_s = work.role("fault_inserter"), silenced_within_s(rig, work.bench.product)
    await work.power(work.low_power_w)
    work.excuse({battery.name})
    await inserter.insert(fault)
    try:
        took_s = work.values["stops_after_s"] = await work.until(
            lambda: _is_gone(work),
            within_s,
            lambda: (
                f"{current} still flows {within_s:.3g} s after {fault} was inserted, which is what the "
                f"product file's inverter.bms_timeout_s allows: {inverter.name} misses no battery"
            ),
        )
        await inverter.set_power_w(0.0)
    finally:
        await inserter.remove(fault)

    async def speaks() -> bool:
        with contextlib.suppress(StaleReading):
            await battery.voltage_v()
            return True
        return False

    await work.until(
        speaks,
        FOLLOWS_WITHIN_S,
        lambda: f"{battery.name} is still silent {FOLLOWS_WITHIN_S:g} s after {fault}",
    )
    work.excuse(())
    return f"the current was gone {took_s:.3g} s after the battery's last word could come"


async def _is_gone(work: Commissioning) -> bool:
    return abs(float(await ask(work.bench, work.safe_state.current))) <= _gone_at_most_a(work)


def _gone_at_most_a(work: Commissioning) -> float:
    """A tenth of what flows at the lowest it may be: what a converter that does nothing takes is less."""
    return 0.1 * work.low_power_w / work.bench.product.windows.voltage_v[1]


async def _emergency_stop(work: Commissioning) -> str:
    contact = _contact(work, "e_stop")
    if contact is None:
        raise CheckFailed(
            f"interlock.contacts has {', '.join(work.interlock.contacts) or 'none'}; allowed: one with "
            "e_stop in its name, since a rig that is energised has an E-stop"
        )
    return await _opened_by_hand(work, contact, "press the E-stop", "release the E-stop")


async def _door(work: Commissioning) -> str:
    contact = _contact(work, "door")
    if contact is None:
        raise NotTestable("interlock.contacts has none with door in its name")
    await work.close_chain()
    await _energise(work)
    return await _opened_by_hand(work, contact, "open the door", "close the door")


def _contact(work: Commissioning, word: str) -> str | None:
    return next((each for each in work.interlock.contacts if word in each), None)


async def _opened_by_hand(work: Commissioning, contact: str, opens: str, closes: str) -> str:
    """The chain takes everything away by itself, and nothing comes back when the contact closes."""
    name, current = contact.partition(".")[2], work.safe_state.current
    await work.power(work.low_power_w)
    work.tell(f"  please: {opens} now")
    await work.input_becomes(name, is_on=False, within_s=PERSON_WITHIN_S)
    stops_s = work.values["stops_within_s"] = await work.until(
        lambda: _is_gone(work),
        CHAIN_WITHIN_S,
        lambda: (
            f"{current} still flows {CHAIN_WITHIN_S:g} s after {contact} opened; allowed: "
            f"{_gone_at_most_a(work):.2g} A: the chain does not act by itself. De-energise at the main switch"
        ),
    )
    if not (outcome := await work.verify_dead(f"{contact} opened")).is_safe:
        raise CheckFailed(f"the chain does not act by itself: {outcome.text}")
    work.tell(f"  please: {closes} now")
    await work.input_becomes(name, is_on=True, within_s=PERSON_WITHIN_S)
    await asyncio.sleep(COMES_BACK_WITHIN_S)
    if not (outcome := await work.verify_dead(f"{contact} closed again")).is_safe:
        raise CheckFailed(f"it comes back by itself when {contact} closes: {outcome.text}")
    return f"without the harness, the current was gone {stops_s:.3g} s after the contact, and stayed away"


async def _drill(work: Commissioning) -> str:
    await work.close_chain()
    await _energise(work)
    await work.power(work.low_power_w)
    start_s = now_s()
    outcome = await work.make_safe("limit", "the drill")
    work.values["took_s"] = now_s() - start_s
    if not outcome.is_safe:
        raise CheckFailed(outcome.text)
    undone = [each for each in outcome.steps if each.outcome in {"held back", "failed"}]
    if undone:
        steps = "; ".join(f"{step.means}: {step.text}" for step in undone)
        raise CheckFailed(f"safe, and not by the whole recipe: {steps}")
    breaks_a = work.safe_state.break_current_a
    gone_s = next(at_s for at_s, _, current_a in outcome.way_down if abs(current_a) <= breaks_a)
    work.values["current_gone_within_s"] = gone_s - outcome.steps[0].at_s
    return (
        f"{outcome.text}, in {work.values['took_s']:.3g} s; the current was gone within "
        f"{work.values['current_gone_within_s']:.2g} s of the command "
        f"(actuator_s: {work.interlock.actuator_s:g} s)"
    )


async def _discharge(work: Commissioning) -> str:
    """The DC link empties by itself once the contactor is open, as its resistor and capacitor say."""
    chain, device, inverter = work.chain, work.role("safety_inputs"), work.role("inverter")
    await work.close_chain()
    await _link_is_battery(work)
    full_v: float = (await inverter.dc_voltage_v()).value
    empty_v = min(SAFE_TO_TOUCH_V, DEAD_LINK * full_v)
    link = work.bench.product.bms.precharge
    time_constant_s = link.discharge_resistance_ohm * link.link_capacitance_f
    # Twice: the tolerances of both parts; and the time that a register may be old.
    allowed_s = 2.0 * time_constant_s * math.log(full_v / empty_v) + REFRESH_WITHIN_S
    await device.set_output(chain.battery_enable, is_on=False)
    await work.input_becomes(chain.contactor_feedback, is_on=False, within_s=CHAIN_WITHIN_S)

    async def is_empty() -> bool:
        left_v: float = (await inverter.dc_voltage_v()).value
        work.values["left_v"] = left_v
        return left_v <= empty_v

    took_s = work.values["discharged_after_s"] = await work.until(
        is_empty,
        allowed_s,
        lambda: (
            f"{inverter.name}.dc_voltage_v is {work.values['left_v']:.4g} V {allowed_s:.3g} s after the "
            f"contactor opened; allowed: {empty_v:.3g} V: something feeds it, or its discharge resistor is "
            "open"
        ),
    )
    return f"the DC link falls from {full_v:.4g} V to {empty_v:.3g} V in {took_s:.3g} s"


# What the checks measure with


def _agree(work: Commissioning, what: str, values: Mapping[str, float], floor: float) -> None:
    """Refuse values of one quantity that differ in sign or by more than the scale's tolerance."""
    work.values |= values
    low, high = min(values.values()), max(values.values())
    if high - low > max(SCALE_WITHIN * max(abs(low), abs(high)), floor):
        why = "polarity" if low < 0.0 < high else "scale"
        raise CheckFailed(
            f"{what}: {why} differs: {_spelled(values)}; allowed: {SCALE_WITHIN:.0%} apart"
            + (f", or {floor:g}" if floor else "")
        )


def _spelled(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:.4g}" for name, value in values.items())


async def _analyzed(work: Commissioning) -> dict[str, Any]:
    """What the analyzer measures at each node, over an interval that began after now."""
    try:
        analyzer = work.role("power_analyzer")
    except NotTestable:
        return {}
    nodes = sorted(await analyzer.nodes())
    await analyzer.values(nodes[0])
    return {node: await analyzer.values(node) for node in nodes}


async def _recorded_nodes(work: Commissioning, unit: str) -> list[str]:
    """AC nodes of which the recorder sees all voltages, and for unit ``a`` all currents too."""
    known = await work.role("recorder").channels()
    kinds = ("u{}_v",) if unit == "v" else ("u{}_v", "i{}_a")
    nodes = [
        node
        for node in AC_NODES
        if known.issuperset(f"{node}.{kind.format(phase)}" for kind in kinds for phase in PHASES)
    ]
    if not nodes:
        raise NotTestable("the recorder sees no three phases of one node")
    return nodes


async def _capture(
    work: Commissioning,
    channels: Sequence[str],
    rate_hz: float,
    *,
    before_s: float = 0.0,
    start: Callable[[], Any] | None = None,
) -> Mapping[str, Waveform]:
    """Record ten cycles, at once or from a trigger that ``start`` brings about."""
    recorder = work.role("recorder")
    after_s = 10.0 / work.f0_hz
    trigger = "now" if start is None else "external"
    await recorder.arm(channels, sample_rate_hz=rate_hz, before_s=before_s, after_s=after_s, trigger=trigger)
    if start is not None:
        await start()

    async def is_complete() -> bool:
        return bool((await recorder.is_complete()).value)

    await work.until(
        is_complete,
        FOLLOWS_WITHIN_S,
        lambda: (
            f"{recorder.name}: no capture within {FOLLOWS_WITHIN_S:g} s: the trigger's lead, or its level, "
            "is wrong"
        ),
    )
    waves: Mapping[str, Waveform] = await recorder.waveforms()
    return waves


def _phasor(wave: Waveform, f0_hz: float) -> complex:
    """RMS phasor of the fundamental, by its Fourier sum over whole cycles."""
    cycles = math.floor(len(wave.samples) * f0_hz / wave.sample_rate_hz + 1e-6)
    count = round(cycles * wave.sample_rate_hz / f0_hz)
    turns = np.exp(-2j * math.pi * f0_hz / wave.sample_rate_hz * np.arange(count))
    return complex(math.sqrt(2.0) / count * np.dot(wave.samples[:count], turns))


def _angle_deg(ahead: complex, behind: complex) -> float:
    """Angle by which one phasor lags another, 0 to 360."""
    return math.degrees(float(np.angle(ahead / behind))) % 360.0


CHECKS: Sequence[Check] = (
    Check(
        name="identities",
        commands="questions alone",
        expects="every device says who it is, and is the one that the file names",
        run=_identities,
    ),
    Check(
        name="contactor feedback",
        commands="the chain closes; the battery's contactor closes, opens and closes, without current",
        expects="its auxiliary contact follows each time, and the converter sees the battery's voltage",
        run=_contactor,
    ),
    Check(
        name="hardware layer",
        commands="converter off; the chain closes, then silence on purpose, without current",
        expects="each watchdog acts in its declared time, and the chain's drops the chain",
        run=_hardware_layers,
    ),
    Check(
        name="AC voltage",
        commands="source to nominal voltage, converter on at zero power",
        expects="source, converter and analyzer measure the same voltage",
        run=_voltage,
    ),
    Check(
        name="phase rotation",
        commands="nothing",
        expects="three phases turn 1-2-3 at each node, and are the same ones at all",
        run=_rotation,
    ),
    Check(
        name="polarity and scale",
        commands="a tenth of the rating into the battery, then out of it",
        expects="bench and product agree on current, voltage and sign",
        run=_polarity,
    ),
    Check(
        name="current transformers",
        commands="a tenth of the rating out of the battery",
        expects="power has the right sign at each node and phase, and what goes in comes out",
        run=_transformers,
    ),
    Check(
        name="register refresh",
        commands="a tenth of the rating, reversed three times",
        expects="the converter's registers follow",
        run=_refresh,
    ),
    Check(
        name="trigger skew",
        commands="a dip to 90 % for 0.2 s at zero power",
        expects="the step stands at the trigger, within the declared skew",
        run=_skew,
    ),
    Check(
        name="battery's silence",
        commands="a tenth of the rating, then the battery's line is cut, and closed again",
        expects="the converter misses its battery and goes to zero by itself, in the product file's time",
        run=_battery_silence,
    ),
    Check(
        name="E-stop",
        person="press the E-stop when told, and release it when told",
        commands="a tenth of the rating",
        expects="the chain takes everything away by itself, and nothing comes back",
        run=_emergency_stop,
    ),
    Check(
        name="door",
        person="open the door when told, and close it when told",
        commands="the chain closes, source and converter on, a tenth of the rating",
        expects="the chain takes everything away by itself, and nothing comes back",
        run=_door,
    ),
    Check(
        name="safe-state drill",
        commands="a tenth of the rating, then the recipe",
        expects="safe, verified, the contactor opened without current",
        run=_drill,
    ),
    Check(
        name="discharge time",
        commands="the battery's contactor closes and opens, source and converter off",
        expects="the DC link empties by itself, to what may be touched",
        run=_discharge,
    ),
)
