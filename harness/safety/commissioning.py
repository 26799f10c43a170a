"""``rackproof commission``: is the rig wired as its file says? Tried at low energy, with a person beside it.

Each check says beforehand what a person does, what is commanded, and what has to come. A mistake that these
checks are for (a swapped phase, a current transformer the wrong way round, a feedback contact of another
contactor) makes every later number plausible and wrong, so a rig of hardware is not armed before all of them
have passed.

The harness watches the envelope meanwhile, in this process: the person with a hand at the E-stop is the
second means.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.clock import now_s
from harness.errors import BenchError, NotTestable, RackproofError
from harness.rig.bench import Bench
from harness.rig.rig_file import RigFile
from harness.rig.topology import SafetyChain
from harness.roles import GridStep
from harness.safety.interlock import Breach, Interlock
from harness.safety.safe_state import MakeSafe, ask
from harness.safety.watch import watching

LOW_POWER = 0.1
"""Of the rating: far beyond every sensor's offset, and a tenth of the energy of a mistake at full power."""

SCALE_WITHIN = 0.05
"""Sensors of one quantity may differ by that at low power: BMS sensors are good to 1 to 3 % of range."""

SAFE_TO_TOUCH_V = 60.0
"""Direct voltage below which parts may be touched (IEC 61140, extra-low voltage for DC)."""

PERSON_WITHIN_S = 120.0
"""How long a person has to press or to open something."""

SETTLED_S = 5.0
"""After a change of power: the slowest reporter's three periods, and a converter's ramp."""


@dataclass(slots=True)
class Result:
    """How one check went.

    Attributes:
        name: of the check.
        result: ``passed``, ``failed``, or ``not there`` where the rig has no such part.
        found: what was seen, in words.
        values: what was measured.
    """

    name: str
    result: str
    found: str
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: of the check.
        commands: what the harness commands.
        expects: what has to come.
        run: carries it out; gives what was found, and raises BenchError where it is wrong.
        person: what a person does; empty where nothing.
    """

    name: str
    commands: str
    expects: str
    run: Callable[[Commissioning], Awaitable[str]]
    person: str = ""


class Commissioning:
    """One commissioning of one rig."""

    def __init__(self, bench: Bench, tell: Callable[[str], None], interlock: Interlock) -> None:
        """Prepare.

        Args:
            bench: all devices open, their readings shown to the interlock.
            tell: shows a line to the person.
            interlock: watches meanwhile.
        """
        self.bench = bench
        self.tell = tell
        self.values: dict[str, float] = {}
        self._interlock = interlock

    async def run(self) -> list[Result]:
        """Carry all checks out; after a failed one, or a breach, the rest is left. The rig ends safe."""
        results: list[Result] = []
        checks = asyncio.create_task(self._all(results), name="commissioning")
        breaches: list[Breach] = []

        def stop(breach: Breach) -> None:
            breaches.append(breach)
            checks.cancel()

        try:
            async with watching(self.bench, self._interlock, stop):
                await asyncio.wait({checks})
            if breaches:
                results.append(Result("envelope", "failed", breaches[0].text))
                self.tell(f"envelope: {breaches[0].text}")
            else:
                checks.result()
        finally:
            checks.cancel()
            outcome = await MakeSafe(self.bench, "command", "commissioning", lambda _, __: None).run({})
            self.tell(f"rig: {outcome.text}")
            results.append(Result("safe at the end", "passed" if outcome.is_safe else "failed", outcome.text))
        return results

    async def _all(self, results: list[Result]) -> None:
        failed = ""
        for check in CHECKS:
            if failed:
                results.append(Result(check.name, "not run", f"after {failed}"))
                continue
            self.tell(f"{check.name}: {check.expects}")
            if check.person:
                self.tell(f"  please: {check.person}")
            results.append(await self._one(check))
            self.tell(f"  {results[-1].result}: {results[-1].found}")
            failed = check.name if results[-1].result == "failed" else ""

    async def _one(self, check: Check) -> Result:
        self.values = {}
        try:
            found = await check.run(self)
        except NotTestable as error:
            return Result(check.name, "not there", str(error), self.values)
        except (RackproofError, TimeoutError) as error:
            return Result(check.name, "failed", str(error) or type(error).__name__, self.values)
        return Result(check.name, "passed", found, self.values)

    # What the checks share

    def role(self, role: str) -> Any:
        """Give the one device of a role."""
        return self.bench.role(role)

    async def input_becomes(self, name: str, *, is_on: bool, within_s: float) -> float:
        """Wait for an input of the safety chain; gives how long it took."""
        start_s = now_s()
        device = self.role("safety_inputs")
        while (await device.inputs()).value.get(name) is not is_on:
            if now_s() - start_s > within_s:
                raise BenchError(
                    f"{device.name}.{name} is not {'on' if is_on else 'off'} after {within_s:g} s: "
                    "wrong input, broken "
                    "wire, or nobody did it"
                )
            await asyncio.sleep(0.02)
        return now_s() - start_s

    async def close_chain(self, chain: SafetyChain) -> None:
        """Drive the chain and the battery's contactor, and wait for its auxiliary contact."""
        device = self.role("safety_inputs")
        await device.set_output(chain.chain, is_on=True)
        await device.set_output(chain.battery_enable, is_on=True)
        await self.input_becomes(chain.contactor_feedback, is_on=True, within_s=15.0)

    async def power(self, fraction: float) -> float:
        """Bring the converter to a part of its rating; gives the power that was asked for."""
        inverter = self.role("inverter")
        power_w = fraction * self.bench.product.ratings.discharge_power_w
        await inverter.set_power_w(power_w)
        await asyncio.sleep(SETTLED_S)
        return power_w

    def agree(self, what: str, values: dict[str, float], floor: float) -> None:
        """Refuse values of one quantity that differ in sign or by more than the scale's tolerance."""
        self.values |= values
        low, high = min(values.values()), max(values.values())
        if high - low > max(SCALE_WITHIN * max(abs(low), abs(high)), floor):
            spelled = ", ".join(f"{name} = {value:.4g}" for name, value in values.items())
            why = "polarity" if low < 0.0 < high else "scale"
            raise BenchError(
                f"{what}: {why} differs: {spelled}; allowed: {SCALE_WITHIN:.0%} apart, or {floor:g}"
            )


async def _identities(work: Commissioning) -> str:
    found = []
    for name, driver in work.bench.devices.items():
        who = await driver.identity()
        found.append(f"{name} is {who.maker} {who.model} {who.serial}".rstrip())
    return "; ".join(found)


async def _contactor(work: Commissioning) -> str:
    chain = work.bench.rig.topology.safety_chain
    if chain is None:
        raise NotTestable(f"rig {work.bench.rig.name} has no safety chain")
    device = work.role("safety_inputs")
    await device.set_output(chain.chain, is_on=True)
    for is_on in (True, False, True):
        await device.set_output(chain.battery_enable, is_on=is_on)
        took_s = await work.input_becomes(chain.contactor_feedback, is_on=is_on, within_s=15.0)
        work.values["closes_s" if is_on else "opens_s"] = took_s
    return f"opens in {work.values['opens_s']:.3g} s, closes in {work.values['closes_s']:.3g} s"


async def _energise(work: Commissioning) -> str:
    grid, inverter = work.role("grid_source"), work.role("inverter")
    nominal_v = await grid.nominal_voltage_v()
    await grid.set_frequency_hz(float(work.bench.rig.frequencies_hz[0]))
    await grid.set_voltage_v(nominal_v)
    await grid.turn_on()
    await inverter.set_power_w(0.0)
    await inverter.turn_on()
    end_s = now_s() + 400.0  # a converter may have to see good mains for 300 s first
    while not (await inverter.is_on()).value or (await inverter.state()).value.value not in {
        "running",
        "throttled",
    }:
        if now_s() >= end_s:
            raise BenchError(f"{inverter.name} does not run after 400 s on good mains")
        await asyncio.sleep(0.5)
    volts = {f"{grid.name}.u{phase}_v": (await grid.voltage_v(phase)).value for phase in (1, 2, 3)}
    volts[f"{inverter.name}.ac_voltage_v"] = (await inverter.ac_voltage_v()).value
    work.agree("AC voltage", volts, 2.0)
    return ", ".join(f"{name} = {value:.4g}" for name, value in volts.items())


async def _polarity(work: Commissioning) -> str:
    part = work.bench.rig.interlock
    if part is None:
        raise NotTestable("the rig file has no interlock")
    said = []
    for fraction in (LOW_POWER, -LOW_POWER):
        asked_w = await work.power(fraction)
        inverter = work.role("inverter")
        power_w = (await inverter.ac_power_w()).value
        work.agree(
            "power", {"asked": asked_w, f"{inverter.name}.ac_power_w": power_w}, 0.02 * abs(asked_w) + 50.0
        )
        for name, pair in part.agreement.items():
            values = {each: float(await ask(work.bench, each)) for each in (pair.bench, pair.product)}
            work.agree(name, values, 0.2 * pair.within)
        current_a = float(await ask(work.bench, work.bench.rig.safe_state.current))  # type: ignore[union-attr]
        if current_a * asked_w <= 0.0:
            raise BenchError(
                f"polarity: {work.bench.rig.safe_state.current} is {current_a:.4g} A at {asked_w:.0f} W; "  # type: ignore[union-attr]
                "allowed: positive out of the battery"
            )
        said.append(f"{asked_w:.0f} W is {current_a:.4g} A out of the battery")
    return "; ".join(said)


async def _transformers(work: Commissioning) -> str:
    analyzer = work.role("power_analyzer")
    nodes = await analyzer.nodes()
    asked_w = await work.power(LOW_POWER)
    found = {}
    for node in sorted(nodes):
        found[node] = (await analyzer.values(node)).power_w.value
    work.values |= found
    for node in ("pcs_ac", "battery_dc"):
        if node in found and found[node] * asked_w <= 0.0:
            raise BenchError(
                f"{node}: {found[node]:.4g} W while the battery gives {asked_w:.0f} W: a current "
                "transformer or a pair of "
                "voltage leads is the wrong way round"
            )
    if {"pcs_ac", "load_ac", "grid_ac"} <= found.keys():
        left_w = found["pcs_ac"] - found["load_ac"] - found["grid_ac"]
        if abs(left_w) > max(SCALE_WITHIN * abs(asked_w), 100.0):
            raise BenchError(
                f"pcs_ac - load_ac - grid_ac = {left_w:.4g} W; allowed: "
                f"{max(SCALE_WITHIN * abs(asked_w), 100.0):.4g} W: "
                "a transformer's direction or ratio is wrong at one of them"
            )
    return ", ".join(f"{node} = {power_w:.4g} W" for node, power_w in found.items())


async def _rotation(work: Commissioning) -> str:
    recorder = work.role("recorder")
    f0_hz = float(work.bench.rig.frequencies_hz[0])
    known = await recorder.channels()
    said = []
    for node in ("grid_ac", "pcs_ac", "load_ac"):
        channels = [f"{node}.u{phase}_v" for phase in (1, 2, 3)]
        if not known.issuperset(channels):
            continue
        await recorder.arm(channels, sample_rate_hz=10_000.0, before_s=0.0, after_s=0.2, trigger="now")
        await _captured(recorder)
        waves = await recorder.waveforms()
        angles = [_angle_deg(waves[channel], f0_hz) for channel in channels]
        steps = [(angles[i] - angles[i + 1]) % 360.0 for i in range(2)]
        work.values |= {f"{node}.{i + 1}-{i + 2}_deg": step for i, step in enumerate(steps)}
        if any(abs(step - 120.0) > 10.0 for step in steps):
            raise BenchError(
                f"{node}: phase 2 lags phase 1 by {steps[0]:.1f} degrees, phase 3 lags phase 2 by "
                f"{steps[1]:.1f}; "
                "allowed: 120: two phases are swapped"
            )
        said.append(f"{node} turns 1-2-3")
    if not said:
        raise NotTestable("the recorder sees no three phases of one node")
    return ", ".join(said)


async def _captured(recorder: Any) -> None:
    """Wait for a capture's last sample; raises where it does not come."""
    end_s = now_s() + 10.0
    while not (await recorder.is_complete()).value:
        if now_s() >= end_s:
            raise BenchError(
                f"{recorder.name}: no capture within 10 s: the trigger's lead, or its level, is wrong"
            )
        await asyncio.sleep(0.05)


def _angle_deg(wave: Any, f0_hz: float) -> float:
    """Angle of the fundamental, by its Fourier sum over whole periods."""
    periods = math.floor(len(wave.samples) * f0_hz / wave.sample_rate_hz)
    count = math.floor(periods * wave.sample_rate_hz / f0_hz)
    turn = 2.0 * math.pi * f0_hz / wave.sample_rate_hz
    real = sum(float(wave.samples[i]) * math.cos(turn * i) for i in range(count))
    imaginary = -sum(float(wave.samples[i]) * math.sin(turn * i) for i in range(count))
    return math.degrees(math.atan2(imaginary, real))


async def _skew(work: Commissioning) -> str:
    rig = work.bench.rig
    trigger = next(iter(rig.triggers.values()), None)
    if trigger is None:
        raise NotTestable(f"rig {rig.name} has no trigger")
    grid, recorder = work.role("grid_source"), work.role("recorder")
    await work.power(0.0)
    channel = "grid_ac.u1_v"
    f0_hz = float(rig.frequencies_hz[0])
    rate_hz = 50_000.0
    await recorder.arm([channel], sample_rate_hz=rate_hz, before_s=0.1, after_s=0.2)
    step = GridStep(0.2, (0.9, 0.9, 0.9), f0_hz)
    await grid.load_profile((step,))
    await grid.start_profile()
    await _captured(recorder)
    wave = (await recorder.waveforms())[channel]
    seen_s = _step_s(wave, f0_hz)
    trigger_s = wave.start_s + 0.1
    allowed_s = 3.0 * trigger.skew_s + rig.topology.source.rise_time_s + 1.0 / rate_hz
    work.values |= {"skew_s": seen_s - trigger_s, "declared_s": trigger.skew_s}
    if abs(seen_s - trigger_s) > allowed_s:
        raise BenchError(
            f"the step stands {seen_s - trigger_s:.6f} s from the trigger; allowed {allowed_s:.6f} s: "
            "three times the "
            "declared skew, the source's rise and a sample"
        )
    return f"the step stands {1e6 * (seen_s - trigger_s):.0f} us from the trigger"


def _step_s(wave: Any, f0_hz: float) -> float:
    """Time of a step of the amplitude: the first sample that leaves the sine of the samples before it.

    Found against the sample one period earlier, beyond a fifth of the step, which noise and quantisation
    never reach.
    """
    period = round(wave.sample_rate_hz / f0_hz)
    samples = wave.samples
    amplitude = float(abs(samples[: 2 * period]).max())
    threshold = 0.02 * amplitude
    for i in range(period, len(samples)):
        if abs(float(samples[i]) - float(samples[i - period])) > threshold:
            return float(wave.start_s + i / wave.sample_rate_hz)
    raise BenchError(
        "no step of 10 % is to be seen in the capture: the source played nothing, or the lead is open"
    )


async def _refresh(work: Commissioning) -> str:
    """How often the converter's registers change: what is read faster is read twice."""
    inverter = work.role("inverter")
    power_w = await work.power(LOW_POWER)
    start_s = now_s()
    before = (await inverter.ac_power_w()).value
    await inverter.set_power_w(-power_w)
    while abs((await inverter.ac_power_w()).value - before) < 0.05 * power_w:
        if now_s() - start_s > 10.0:
            raise BenchError(
                f"{inverter.name}.ac_power_w does not follow a command within 10 s: is it frozen?"
            )
        await asyncio.sleep(0.02)
    work.values["refresh_s"] = now_s() - start_s
    return f"a command shows in the registers after {work.values['refresh_s']:.3g} s"


async def _emergency_stop(work: Commissioning) -> str:
    part = work.bench.rig.interlock
    contact = next((each for each in part.contacts if "e_stop" in each), None) if part else None
    if contact is None:
        raise NotTestable("the interlock names no E-stop contact")
    name = contact.partition(".")[2]
    asked_w = await work.power(LOW_POWER)
    await work.input_becomes(name, is_on=False, within_s=PERSON_WITHIN_S)
    start_s = now_s()
    current = work.bench.rig.safe_state.current if work.bench.rig.safe_state else ""
    limit_a = 0.1 * abs(asked_w) / work.bench.product.windows.voltage_v[1]
    while abs(float(await ask(work.bench, current))) > limit_a:
        if now_s() - start_s > 5.0:
            raise BenchError(
                f"{current} still flows 5 s after the E-stop opened: the chain does not act by "
                "itself. De-energise at the "
                "main switch"
            )
        await asyncio.sleep(0.02)
    work.values["stops_within_s"] = now_s() - start_s
    work.tell("  please: release the E-stop")
    await work.input_becomes(name, is_on=True, within_s=PERSON_WITHIN_S)
    took_s = work.values["stops_within_s"]
    return f"without the harness, the current was gone {took_s:.3g} s after the contact opened"


async def _hardware_layers(work: Commissioning) -> str:
    part = work.bench.rig.safe_state
    said = []
    for name, layer in part.hardware_layers.items() if part else ():
        device = work.bench.devices[layer.device]
        chain = work.bench.rig.topology.safety_chain
        if chain is None or chain.device != layer.device:
            raise NotTestable(f"{name}: {layer.device} is not the safety chain's device")
        await work.close_chain(chain)
        await device.arm_watchdog(layer.timeout_s)
        await asyncio.sleep(layer.measured_s + 0.5)  # silence, on purpose
        if (await device.outputs()).value.get(chain.chain) or (await device.is_watchdog_running()).value:
            raise BenchError(
                f"{name}: {layer.device} kept its outputs {layer.measured_s + 0.5:g} s after the last "
                "exchange; "
                f"declared: {layer.measured_s:g} s"
            )
        await device.disarm_watchdog()
        said.append(f"{name} dropped the chain within {layer.measured_s + 0.5:.3g} s of silence")
    if not said:
        raise BenchError("the rig file names no hardware layer")
    return "; ".join(said)


async def _drill(work: Commissioning) -> str:
    chain = work.bench.rig.topology.safety_chain
    if chain is not None:
        await work.close_chain(chain)
    await _energise(work)
    await work.power(LOW_POWER)
    start_s = now_s()
    outcome = await MakeSafe(work.bench, "limit", "the drill", lambda _, __: None).run({})
    work.values["took_s"] = now_s() - start_s
    if not outcome.is_safe:
        raise BenchError(outcome.text)
    held = [step.text for step in outcome.steps if step.outcome == "held back"]
    if held:
        raise BenchError(f"the contactor's gate stayed shut at low power: {held[0]}")
    return f"{outcome.text}, in {work.values['took_s']:.3g} s"


async def _discharge(work: Commissioning) -> str:
    inverter = work.role("inverter")
    start_s = now_s()
    while (volts := (await inverter.dc_voltage_v()).value) > SAFE_TO_TOUCH_V:
        if now_s() - start_s > 600.0:
            raise BenchError(
                f"{inverter.name}.dc_voltage_v is {volts:.4g} V after 600 s; allowed: {SAFE_TO_TOUCH_V:g} V"
            )
        await asyncio.sleep(0.5)
    work.values["below_60_v_after_s"] = now_s() - start_s
    took_s = work.values["below_60_v_after_s"]
    return f"the DC link is below {SAFE_TO_TOUCH_V:g} V {took_s:.3g} s after the safe state"


CHECKS: Sequence[Check] = (
    Check(
        name="identities",
        commands="questions alone",
        expects="every device says who it is",
        run=_identities,
    ),
    Check(
        name="contactor feedback",
        commands="the chain closes; the battery's contactor closes, opens and closes, without current",
        expects="its auxiliary contact follows each time",
        run=_contactor,
    ),
    Check(
        name="AC voltage",
        commands="source to nominal voltage, converter on at zero power",
        expects="source and converter measure the same voltage",
        run=_energise,
    ),
    Check(
        name="phase rotation",
        commands="nothing",
        expects="each three phases turn 1-2-3",
        run=_rotation,
    ),
    Check(
        name="polarity and scale",
        commands="a tenth of the rating out of the battery, then into it",
        expects="bench and product agree on current, voltage and sign",
        run=_polarity,
    ),
    Check(
        name="current transformers",
        commands="a tenth of the rating out of the battery",
        expects="power has the right sign at each node, and what goes in comes out",
        run=_transformers,
    ),
    Check(
        name="register refresh",
        commands="a tenth of the rating, reversed",
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
        name="E-stop",
        person="press the E-stop when told, and release it afterwards",
        commands="a tenth of the rating",
        expects="the chain takes the current away by itself",
        run=_emergency_stop,
    ),
    Check(
        name="safe-state drill",
        commands="a tenth of the rating, then the recipe",
        expects="safe, verified, the contactor opened without current",
        run=_drill,
    ),
    Check(
        name="discharge time",
        commands="nothing",
        expects="the DC link falls below 60 V",
        run=_discharge,
    ),
    Check(
        name="hardware layer",
        commands="the chain closes, then silence on purpose",
        expects="the watchdog drops the chain in its declared time",
        run=_hardware_layers,
    ),
)


def interlock_for(rig: RigFile, start_s: float) -> Interlock:
    """Give an interlock for the limits; the contacts are what a person opens during the checks."""
    assert rig.interlock is not None
    part = rig.interlock.model_copy(update={"contacts": ()})
    return Interlock(rig.model_copy(update={"interlock": part}), start_s)


def programme() -> list[str]:
    """Say everything beforehand, as ``--dry-run`` shows it."""
    lines = []
    for number, check in enumerate(CHECKS, 1):
        lines.append(f"{number:2}. {check.name}: {check.expects}")
        if check.person:
            lines.append(f"      a person: {check.person}")
        lines.append(f"      commanded: {check.commands}")
    return lines


def as_documents(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Give results as plain values."""
    return [asdict(result) for result in results]
